//! One worker's run from the first connect to the last unbind, phase by phase.
//!
//! Runs on a thread of its own; tells the watching thread when its sessions are bound, starts when told, and
//! hands back what it has counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use super::book::{Book, Progress, Totals};
use super::error::LoadError;
use super::fleet::{Buffers, Fleet, Setup};
use super::message::Composer;
use super::pacer::Pacer;
use super::session::{Session, State};
use crate::clock::{self, MICROSECOND, MILLISECOND, SECOND};

/// How long unbind_resp is waited for.
const UNBIND_WAIT: u64 = 2 * SECOND;

/// What workers and the watching thread tell each other.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// When sending begins (nanoseconds of the clock); 0 as long as it is not known.
    pub(super) start: AtomicU64,
    /// Another worker has failed.
    pub(super) abort: AtomicBool,
}

/// What a worker tells the watching thread.
#[derive(Debug)]
pub(super) enum Told {
    /// All sessions are bound; this many nanoseconds after the first connect.
    Bound,
    /// The worker is through, for good or ill.
    Done,
}

/// One worker's share of the load.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) sessions: Vec<Session>,
    pub(super) composer: Composer,
    /// Messages in all; `u64::MAX` for no end.
    pub(super) budget: u64,
    /// Messages a second.
    pub(super) rate: Option<f64>,
}

/// What came of a worker's run.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) book: Book,
    /// The counters when the measurement began and ended.
    pub(super) measured: [Totals; 2],
    /// Nanoseconds of the measurement.
    pub(super) wall: u64,
    /// Nanoseconds of CPU that this thread used meanwhile.
    pub(super) cpu: u64,
    /// Submits open at the end, beside those counted as unanswered and cut off.
    pub(super) still_open: u64,
    /// How the last session that broke was lost.
    pub(super) last_loss: Option<String>,
}

/// Runs one worker to its end.
pub(super) fn run(
    setup: &Setup<'_>,
    progress: &Progress,
    share: Share,
    signals: &Signals,
    told: &Sender<Told>,
) -> Result<Outcome, LoadError> {
    let result = Fleet::new(setup, progress, share.sessions, share.composer).and_then(|fleet| {
        Run { setup, signals, fleet, buffers: Buffers::new() }.through(share.budget, share.rate, told)
    });
    if result.is_err() {
        signals.abort.store(true, Ordering::Release);
    }
    // The watching thread outlives its workers.
    let _ = told.send(Told::Done);
    result
}

/// What had been done by one end of the measurement, and when that was.
struct Mark {
    totals: Totals,
    wall: u64,
    cpu: u64,
}

impl Mark {
    fn now(fleet: &Fleet<'_>) -> Self {
        Self { totals: fleet.book.totals, wall: clock::now(), cpu: clock::thread_cpu() }
    }
}

struct Run<'a> {
    setup: &'a Setup<'a>,
    signals: &'a Signals,
    fleet: Fleet<'a>,
    buffers: Buffers,
}

impl Run<'_> {
    fn through(mut self, budget: u64, rate: Option<f64>, told: &Sender<Told>) -> Result<Outcome, LoadError> {
        self.bind_all()?;
        let _ = told.send(Told::Bound);
        let start = self.wait_for_start()?;
        let options = self.setup.options;
        self.fleet.setting_up = false;
        self.fleet.budget = budget;
        self.fleet.sending = true;
        let mut begin = Mark::now(&self.fleet);
        match rate {
            Some(rate) => {
                self.fleet.pacer = Some(Pacer::new(start, rate, options.tick_us * MICROSECOND));
                // The first ones are due now, and no event tells of them.
                self.fleet.pace(clock::now())?;
            }
            None => self.fleet.refill_all(),
        }
        let measure_from = start + clock::from_seconds(options.warmup);
        if options.warmup > 0.0 {
            self.go_on_until(measure_from)?;
            self.fleet.book.answers.reset();
            self.fleet.book.receipts.reset();
            begin = Mark::now(&self.fleet);
        }
        self.measure(measure_from)?;
        let end = Mark::now(&self.fleet);
        self.fleet.sending = false;
        if !options.misbehaves() {
            self.drain()?;
            self.wait_for_receipts()?;
        }
        let still_open = self.fleet.outstanding();
        self.unbind_all()?;
        self.fleet.publish();
        Ok(Outcome {
            last_loss: self.fleet.last_loss,
            book: self.fleet.book,
            measured: [begin.totals, end.totals],
            wall: end.wall - begin.wall,
            cpu: end.cpu - begin.cpu,
            still_open: if options.misbehaves() { 0 } else { still_open },
        })
    }

    fn bind_all(&mut self) -> Result<(), LoadError> {
        while (self.fleet.bound as usize) < self.fleet.sessions.len() {
            self.check_abort()?;
            self.fleet.connect_waiting(clock::now());
            self.fleet.turn(&mut self.buffers, u64::MAX)?;
        }
        self.fleet.publish();
        Ok(())
    }

    fn wait_for_start(&mut self) -> Result<u64, LoadError> {
        loop {
            self.check_abort()?;
            let start = self.signals.start.load(Ordering::Acquire);
            if start != 0 {
                return Ok(start);
            }
            self.fleet.turn(&mut self.buffers, clock::now() + MILLISECOND)?;
        }
    }

    /// Goes on until `until` or until asked to stop.
    fn go_on_until(&mut self, until: u64) -> Result<(), LoadError> {
        while !self.stopped() && !self.fleet.all_lost() && self.fleet.turn(&mut self.buffers, until)? < until {}
        Ok(())
    }

    fn measure(&mut self, from: u64) -> Result<(), LoadError> {
        let options = self.setup.options;
        if options.count.is_none() {
            return self.go_on_until(from + clock::from_seconds(options.duration.unwrap_or(10.0)));
        }
        while !self.stopped() && !self.fleet.all_lost() && (self.fleet.budget > 0 || self.fleet.outstanding() > 0) {
            self.fleet.turn(&mut self.buffers, u64::MAX)?;
        }
        Ok(())
    }

    /// Waits for the answers to what was sent.
    fn drain(&mut self) -> Result<(), LoadError> {
        let until = clock::now() + clock::from_seconds(self.setup.options.answer_timeout) + 2 * SECOND;
        while self.fleet.outstanding() > 0 && self.fleet.turn(&mut self.buffers, until)? < until {}
        Ok(())
    }

    /// Waits for the receipts of what was accepted, as long as some keep coming.
    fn wait_for_receipts(&mut self) -> Result<(), LoadError> {
        let patience = clock::from_seconds(self.setup.options.receipt_wait);
        let mut until = clock::now() + patience;
        let mut seen = self.fleet.book.totals.receipts;
        while self.fleet.book.tracker.as_ref().is_some_and(|tracker| tracker.open() > 0) {
            let now = self.fleet.turn(&mut self.buffers, until)?;
            if self.fleet.book.totals.receipts > seen {
                seen = self.fleet.book.totals.receipts;
                until = now + patience;
            } else if now >= until {
                break;
            }
        }
        Ok(())
    }

    /// Unbinds what is bound; a client that neither reads nor writes properly just goes.
    fn unbind_all(&mut self) -> Result<(), LoadError> {
        if self.setup.options.never_read || self.setup.options.slow_bytes {
            return Ok(());
        }
        for session in &mut self.fleet.sessions {
            if session.state == State::Waiting {
                session.state = State::Closed;
            }
        }
        self.fleet.closing = true;
        self.fleet.unbind_all();
        let until = clock::now() + UNBIND_WAIT;
        while self.fleet.is_unbinding() && self.fleet.turn(&mut self.buffers, until)? < until {}
        Ok(())
    }

    fn stopped(&self) -> bool {
        self.setup.stop.asked() || self.signals.abort.load(Ordering::Acquire)
    }

    fn check_abort(&self) -> Result<(), LoadError> {
        if self.stopped() { Err(LoadError::Stopped) } else { Ok(()) }
    }
}
