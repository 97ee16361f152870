//! The threads on which bcrypt runs: few, with a bounded queue.
//!
//! They hold passwords only while one is checked, and talk to nobody but the control thread.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Proof;
use crate::channel::ControlWaker;

/// Checks that may wait for a thread. Beyond it ESME_RSYSERR.
pub(super) const JOBS_MAX: usize = 1_024;

/// Threads at the most.
const THREADS_MAX: usize = 2;

/// One check.
pub(super) struct Job {
    /// Tells the result's waiters.
    pub(super) proof: Proof,
    /// As sent by the peer.
    pub(super) password: Vec<u8>,
    /// bcrypt's.
    pub(super) hash: Arc<str>,
    /// Not worth doing afterwards: the peer has given up.
    pub(super) deadline: Instant,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The password is that hash's.
    Right,
    /// It is not.
    Wrong,
    /// Nobody waits for it any more; it was not looked at.
    TooLate,
}

/// The threads and their queues. They end when it is dropped.
pub(super) struct Pool {
    jobs: Sender<Job>,
    results: Receiver<(Proof, Outcome)>,
}

impl Pool {
    /// Starts the threads; `waker` is woken with every result.
    pub(super) fn start(waker: ControlWaker) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let (jobs, queue) = bounded(JOBS_MAX);
        // Room for every job that can be under way, so that a thread never waits to tell its result.
        let (teller, results) = bounded(JOBS_MAX + threads);
        for number in 0..threads {
            let (queue, teller, waker) = (queue.clone(), teller.clone(), waker.clone());
            thread::Builder::new().name(format!("bcrypt-{number}")).spawn(move || work(&queue, &teller, &waker))?;
        }
        Ok(Self { jobs, results })
    }

    /// Queues a check; `false` when there is no room.
    pub(super) fn submit(&self, job: Job) -> bool {
        // Results that nobody has taken yet keep their room too.
        self.results.len() + self.jobs.len() < JOBS_MAX && self.jobs.try_send(job).is_ok()
    }

    /// The next result, if there is one.
    pub(super) fn take_result(&self) -> Option<(Proof, Outcome)> {
        self.results.try_recv().ok()
    }
}

fn work(queue: &Receiver<Job>, teller: &Sender<(Proof, Outcome)>, waker: &ControlWaker) {
    while let Ok(job) = queue.recv() {
        let outcome = match Instant::now() > job.deadline {
            true => Outcome::TooLate,
            false => check(&job),
        };
        if teller.send((job.proof, outcome)).is_err() {
            return;
        }
        waker.wake();
    }
}

/// A hash that bcrypt cannot use fits no password; the configuration refuses such hashes beforehand.
fn check(job: &Job) -> Outcome {
    match bcrypt::verify(&job.password, &job.hash) {
        Ok(true) => Outcome::Right,
        Ok(false) | Err(_) => Outcome::Wrong,
    }
}
