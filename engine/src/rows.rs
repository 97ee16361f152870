//! The rows that a start begins with, where they come from PostgreSQL: read there, or kept from before, or waited for with
//! the SMPP listeners closed.
//!
//! Runs on the main thread, once, before anything else of the gateway.

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use signal_hook::consts::SIGHUP;
use signal_hook::iterator::Signals;
use smpp_control::config::PostgresSettings;
use smpp_control::postgres::{self, Opened, PostgresError};
use smpp_control::{Configuration, Control, Log, Waiting};

/// From one look at the signals to the next.
const LOOK: Duration = Duration::from_millis(50);

/// A first reading that takes longer than this is told on the control port.
const UNTOLD_MAX: Duration = Duration::from_millis(500);

/// Between two tries: 1, 2, 4 ... seconds, and this at the most.
const REST_MAX: Duration = Duration::from_secs(30);

/// What came of it.
pub enum Rows {
    /// They are in the file.
    OfFile,
    /// They are PostgreSQL's, or were.
    OfPostgres(Box<Opened>),
    /// A signal came first.
    Stopped,
}

/// Why there is nothing to wait with.
#[derive(Debug)]
pub struct WaitError(io::Error);

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the control thread did not start: {}", self.0)
    }
}

impl std::error::Error for WaitError {}

/// Reads the rows, and waits until there are some or a signal ends it. Meanwhile the control port tells why.
///
/// # Errors
/// When the control port cannot be had.
pub fn open(configuration: &Configuration, signals: &mut Signals) -> Result<Rows, WaitError> {
    let Some(settings) = &configuration.postgres else { return Ok(Rows::OfFile) };
    let mut waiting: Option<Waiting> = None;
    let mut rest = Duration::from_secs(1);
    loop {
        let attempt = begin(configuration, settings).map_err(WaitError)?;
        let outcome = match attempt.recv_timeout(UNTOLD_MAX) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Disconnected) => return Ok(Rows::Stopped),
            Err(RecvTimeoutError::Timeout) => {
                tell(&mut waiting, configuration, None)?;
                match wait_for(&attempt, signals, waiting.as_ref()) {
                    Some(outcome) => outcome,
                    None => return Ok(end(waiting)),
                }
            }
        };
        match outcome {
            Ok(opened) => {
                end(waiting);
                return Ok(Rows::OfPostgres(Box::new(opened)));
            }
            Err(error) => tell(&mut waiting, configuration, Some(&error.to_string()))?,
        }
        let until = Instant::now() + rest;
        rest = (rest * 2).min(REST_MAX);
        while Instant::now() < until {
            if is_stopped(signals, waiting.as_ref()) {
                return Ok(end(waiting));
            }
            thread::sleep(LOOK);
        }
    }
}

type Attempt = Receiver<Result<Opened, PostgresError>>;

/// Reads on a thread of its own, for it may take as long as the timeouts allow.
fn begin(configuration: &Configuration, settings: &PostgresSettings) -> io::Result<Attempt> {
    let (sender, attempt) = bounded(1);
    let (configuration, settings) = (configuration.clone(), settings.clone());
    thread::Builder::new().name("rows".into()).spawn(move || {
        // Nobody waits for it any more when a signal has ended the wait.
        let _ = sender.send(postgres::open(&configuration, &settings));
    })?;
    Ok(attempt)
}

/// `None`: a signal came first.
fn wait_for(
    attempt: &Attempt,
    signals: &mut Signals,
    waiting: Option<&Waiting>,
) -> Option<Result<Opened, PostgresError>> {
    loop {
        match attempt.recv_timeout(LOOK) {
            Ok(outcome) => return Some(outcome),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) if is_stopped(signals, waiting) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Whether a signal ends the wait. One that asks for a reload has its line in the log.
fn is_stopped(signals: &mut Signals, waiting: Option<&Waiting>) -> bool {
    let mut is_stopped = false;
    for signal in signals.pending() {
        match signal {
            SIGHUP => waiting.iter().for_each(|waiting| waiting.refuse_reload()),
            _ => is_stopped = true,
        }
    }
    is_stopped
}

/// Opens the control port where it is not open, and tells why there is nothing yet.
fn tell(waiting: &mut Option<Waiting>, configuration: &Configuration, reason: Option<&str>) -> Result<(), WaitError> {
    let opened = match waiting.take() {
        Some(opened) => opened,
        None => {
            let log = Log::to_stdout(configuration.log).map_err(WaitError)?;
            Control::start_waiting(configuration, log).map_err(WaitError)?
        }
    };
    let opened = waiting.insert(opened);
    if let Some(reason) = reason {
        opened.tell(reason);
    }
    Ok(())
}

/// Closes the control port, which is another's soon or nobody's.
fn end(waiting: Option<Waiting>) -> Rows {
    if let Some(waiting) = waiting {
        waiting.stop();
    }
    Rows::Stopped
}
