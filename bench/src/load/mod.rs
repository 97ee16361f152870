//! The load generator: a fleet of ESMEs against any SMPP 3.4 server.
//!
//! [`run`] looks the target up, spreads the sessions over worker threads (one unless told), starts them
//! together, watches them, and makes the report. The calling thread only watches: it sleeps in a channel and
//! wakes once a second.
//!
//! How latency is measured: the clock is read after every read from a socket, and that time stands for all
//! answers in it. In closed loop a submit's own time is the one at which its batch was put together, just
//! before the write; at a steady rate it is the time at which it was due (see `pacer`). So waiting in the
//! generator, in the sockets and for the scheduler counts, and no latency is left out, also not those of
//! answers that come after the end of the measurement.

mod book;
mod connecting;
mod error;
mod fleet;
mod message;
mod options;
mod pacer;
mod receipts;
mod report;
mod sending;
mod session;
mod worker;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

pub use book::Totals;
pub use error::{LoadError, Step};
pub use options::{BindType, LoadOptions};
pub use report::LoadReport;

use crate::clock;
use crate::stop::Stop;
use crate::tls::{self, Trust};
use book::Progress;
use fleet::Setup;
use message::Composer;
use session::{Role, Session};
use worker::{Outcome, Share, Signals, Told};

/// What a flood takes for its window.
const FLOOD_WINDOW: u32 = 65_536;

/// How a run stands, told once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tick {
    /// Seconds since the sessions began to send; 0 while they are being bound.
    pub seconds: f64,
    /// Sessions bound.
    pub bound: u64,
    /// Sessions wanted.
    pub sessions: u64,
    /// submit_sm sent so far.
    pub sent: u64,
    /// Answers so far.
    pub answered: u64,
    /// Of these, ESME_ROK.
    pub accepted: u64,
    /// Submits given up, or cut off by a broken session.
    pub lost: u64,
    /// Final receipts matched so far.
    pub receipts: u64,
    /// Answers a second since the last tick.
    pub rate: f64,
    /// Median latency of the last second, nanoseconds; of the slowest worker.
    pub p50: u64,
    /// 99th percentile of the last second, nanoseconds; of the slowest worker.
    pub p99: u64,
}

/// Runs a load to its end. `watch` is called about once a second.
///
/// # Errors
/// A wrong option, or a session that could not be bound at the start: see [`LoadError`].
pub fn run(options: &LoadOptions, stop: &Stop, watch: &mut dyn FnMut(&Tick)) -> Result<LoadReport, LoadError> {
    options.check().map_err(LoadError::Options)?;
    raise_descriptor_limit();
    let setup = Setup { options, address: look_up(options)?, tls: tls_settings(options)?, stop };
    let shares = shares(options)?;
    let workers = shares.len();
    let signals = Signals::default();
    let progress: Vec<Progress> = (0..workers).map(|_| Progress::default()).collect();
    let began = Instant::now();
    let outcomes: Vec<Result<Outcome, LoadError>> = thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let mut threads = Vec::new();
        for (share, progress) in shares.into_iter().zip(&progress) {
            let (setup, signals, sender) = (&setup, &signals, sender.clone());
            let body = move || worker::run(setup, progress, share, signals, &sender);
            match thread::Builder::new().name("load".into()).spawn_scoped(scope, body) {
                Ok(handle) => threads.push(handle),
                Err(error) => {
                    signals.abort.store(true, Ordering::Release);
                    return vec![Err(LoadError::System { what: "starting a thread", error })];
                }
            }
        }
        watch_workers(options, workers, &receiver, &signals, &progress, watch);
        threads.into_iter().map(|handle| handle.join().unwrap_or(Err(LoadError::Stopped))).collect()
    });
    let outcomes = first_error_or_all(outcomes)?;
    Ok(LoadReport::new(options, began.elapsed().as_secs_f64(), outcomes))
}

/// Starts the workers when all are bound, and tells `watch` once a second until all are through.
fn watch_workers(
    options: &LoadOptions,
    workers: usize,
    receiver: &Receiver<Told>,
    signals: &Signals,
    progress: &[Progress],
    watch: &mut dyn FnMut(&Tick),
) {
    let (mut bound, mut done) = (0, 0);
    let mut start = 0;
    let mut last = Tick { sessions: u64::from(options.sessions + options.idle_sessions), ..Tick::default() };
    let mut last_at = Instant::now();
    while done < workers {
        match receiver.recv_timeout(Duration::from_secs(1).saturating_sub(last_at.elapsed())) {
            Ok(Told::Bound) => {
                bound += 1;
                if bound == workers {
                    start = clock::now();
                    signals.start.store(start, Ordering::Release);
                }
            }
            Ok(Told::Done) => done += 1,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = if start == 0 { 0.0 } else { clock::to_seconds(clock::now() - start) };
                last = tick(&last, seconds, last_at.elapsed().as_secs_f64(), progress);
                last_at = Instant::now();
                watch(&last);
            }
        }
    }
}

fn tick(last: &Tick, seconds: f64, elapsed: f64, progress: &[Progress]) -> Tick {
    let sum = |pick: fn(&Progress) -> u64| progress.iter().map(pick).sum::<u64>();
    let worst = |pick: fn(&Progress) -> u64| progress.iter().map(pick).max().unwrap_or(0);
    let answered = sum(|one| one.answered.load(Ordering::Relaxed));
    Tick {
        seconds,
        bound: sum(|one| one.bound.load(Ordering::Relaxed)),
        sessions: last.sessions,
        sent: sum(|one| one.sent.load(Ordering::Relaxed)),
        answered,
        accepted: sum(|one| one.accepted.load(Ordering::Relaxed)),
        lost: sum(|one| one.lost.load(Ordering::Relaxed)),
        receipts: sum(|one| one.receipts.load(Ordering::Relaxed)),
        rate: (answered - last.answered.min(answered)) as f64 / elapsed.max(1e-3),
        p50: worst(|one| one.p50.load(Ordering::Relaxed)),
        p99: worst(|one| one.p99.load(Ordering::Relaxed)),
    }
}

/// A worker that was only stopped because another failed is not the one to report.
fn first_error_or_all(outcomes: Vec<Result<Outcome, LoadError>>) -> Result<Vec<Outcome>, LoadError> {
    let mut good = Vec::new();
    let mut stopped = None;
    for outcome in outcomes {
        match outcome {
            Ok(outcome) => good.push(outcome),
            Err(LoadError::Stopped) => stopped = Some(LoadError::Stopped),
            Err(error) => return Err(error),
        }
    }
    match stopped {
        Some(error) => Err(error),
        None => Ok(good),
    }
}

fn look_up(options: &LoadOptions) -> Result<SocketAddr, LoadError> {
    let fail = |detail: String| LoadError::Session {
        target: options.target.clone(),
        system_id: options.customer_name(0),
        step: Step::Name,
        detail,
    };
    let mut found = options.target.to_socket_addrs().map_err(|error| fail(error.to_string()))?;
    found.next().ok_or_else(|| fail("the name has no address".to_owned()))
}

type TlsSettings = (std::sync::Arc<rustls::ClientConfig>, rustls::pki_types::ServerName<'static>);

fn tls_settings(options: &LoadOptions) -> Result<Option<TlsSettings>, LoadError> {
    if !options.tls {
        return Ok(None);
    }
    let trust = options.tls_ca.as_deref().map_or(Trust::Insecure, Trust::Authority);
    let host = options.target.rsplit_once(':').map_or(options.target.as_str(), |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let config = tls::client(trust).map_err(LoadError::Options)?;
    let name = tls::server_name(host).map_err(LoadError::Options)?;
    Ok(Some((config, name)))
}

/// Spreads the sessions: session n belongs to customer n modulo customers, and a customer's sessions all go to
/// one worker, since its receipts may come on any of them.
fn shares(options: &LoadOptions) -> Result<Vec<Share>, LoadError> {
    let total = options.sessions + options.idle_sessions;
    let groups = if options.receipts { options.customers.min(total) } else { total };
    let workers = options.threads.min(groups).max(1);
    let window = if options.flood { FLOOD_WINDOW } else { options.window };
    let mut shares = Vec::new();
    for index in 0..workers {
        shares.push(Share {
            sessions: Vec::new(),
            composer: Composer::new(options, index, workers).map_err(LoadError::Options)?,
            budget: options.count.map_or(u64::MAX, |count| part(count, index, workers)),
            rate: options.rate.map(|rate| rate / f64::from(workers)),
        });
    }
    let mut place = |number: u32, role: Role, window: u32| {
        let customer = number % options.customers;
        let worker = if options.receipts { customer % workers } else { number % workers };
        shares[worker as usize].sessions.push(Session::new(customer, role, window));
    };
    for number in 0..options.sessions {
        match options.bind_type {
            BindType::Rx => place(number, Role::Receiver, 0),
            _ => place(number, Role::Submitter, window),
        }
    }
    if options.receipts && options.bind_type == BindType::Tx {
        (0..options.customers.min(options.sessions)).for_each(|number| place(number, Role::Receiver, 0));
    }
    (0..options.idle_sessions).for_each(|number| place(number, Role::Idle, 0));
    Ok(shares)
}

/// Part `index` of `parts` of a whole number, the remainder to the first ones.
fn part(whole: u64, index: u32, parts: u32) -> u64 {
    whole / u64::from(parts) + u64::from(u64::from(index) < whole % u64::from(parts))
}

/// Thousands of sessions need more descriptors than the usual soft limit: the hard one is ours to take.
pub(crate) fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // What cannot be raised shows itself, with its reason, when a socket cannot be opened.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        assert_eq!((0..3).map(|index| part(10, index, 3)).collect::<Vec<_>>(), [4, 3, 3]);
    }

    #[test]
    fn a_customers_sessions_are_on_one_worker_when_receipts_are_asked_for() {
        let options = LoadOptions::from_arguments(&[
            "--target",
            "h:1",
            "--customers",
            "3",
            "--sessions",
            "8",
            "--threads",
            "2",
            "--receipts",
        ]);
        let shares = shares(&options.unwrap()).unwrap();
        let customers = |share: &Share| share.sessions.iter().map(|session| session.customer).collect::<Vec<_>>();
        assert!(customers(&shares[0]).iter().all(|customer| customer % 2 == 0));
        assert!(customers(&shares[1]).iter().all(|customer| customer % 2 == 1));
    }
}
