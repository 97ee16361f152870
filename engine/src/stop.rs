//! Signals, and the way down: no new work, what is open to its end, customers, vendors, and out.
//!
//! Runs on the main thread for as long as the gateway does.

use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use smpp_control::config::LogLevel;
use smpp_control::{Control, Field, Log, ShardHandle, ToShard};
use smpp_shards::DrainPhase;

use crate::start::Gateway;

/// From the signal on: until when each phase may take. The last one leaves time to close within 30 s.
const PHASES: [(DrainPhase, Duration); 4] = [
    (DrainPhase::Refuse, Duration::from_secs(25)),
    (DrainPhase::Settle, Duration::from_millis(25_500)),
    (DrainPhase::UnbindCustomers, Duration::from_millis(27_500)),
    (DrainPhase::UnbindVendors, Duration::from_millis(28_500)),
];

/// How long the shards' threads may take to close their last connections.
const END_MAX: Duration = Duration::from_millis(1_200);

/// How long the thread that makes the journal's files may take to end after the shards: it may be making one.
const JOURNAL_END_MAX: Duration = Duration::from_secs(2);

/// From the signal on: when nothing of that is waited for any more.
const ALL_MAX: Duration = Duration::from_millis(29_800);

/// From one look at the signals to the next while waiting for the shards, or for a start.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// As what these lines stand in the log.
const COMPONENT: &str = "gateway";

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Everything was drained, or its time had passed.
    Drained,
    /// A second signal cut the draining short.
    Cut,
}

/// The signals that the gateway minds, caught from here on.
///
/// # Errors
/// When they cannot be caught.
pub fn catch_signals() -> io::Result<Signals> {
    Signals::new([SIGTERM, SIGINT, SIGHUP])
}

/// The signals that come while the gateway starts.
#[derive(Debug)]
pub struct StartSignals<'a> {
    signals: &'a mut Signals,
    /// SIGHUP came: the gateway reads its configuration again once it has started.
    has_to_reload: bool,
}

impl<'a> StartSignals<'a> {
    /// None has come yet.
    pub fn new(signals: &'a mut Signals) -> Self {
        Self { signals, has_to_reload: false }
    }

    /// Whether the start is to be given up.
    pub(crate) fn is_stopped(&mut self) -> bool {
        let mut is_stopped = false;
        for signal in self.signals.pending() {
            match signal {
                SIGHUP => self.has_to_reload = true,
                _ => is_stopped = true,
            }
        }
        is_stopped
    }
}

/// Minds the signals until one of them ends the gateway, then takes it down.
pub fn run_until_stopped(gateway: Gateway, signals: StartSignals<'_>) -> Ending {
    let StartSignals { signals, has_to_reload } = signals;
    if has_to_reload {
        reload(&gateway);
    }
    loop {
        for signal in signals.wait() {
            if signal != SIGHUP {
                return drain(gateway, signals);
            }
            reload(&gateway);
        }
    }
}

/// Has the configuration and the certificates read again; what comes of it is in the log.
fn reload(gateway: &Gateway) {
    if let Err(error) = gateway.control.reload_handle().request() {
        let reason = error.to_string();
        gateway.control.log().write(LogLevel::Warn, COMPONENT, "not reloaded", &[("reason", Field::Text(&reason))]);
    }
}

fn tell(log: &Log, level: LogLevel, message: &'static str) {
    log.write(level, COMPONENT, message, &[]);
}

fn drain(gateway: Gateway, signals: &mut Signals) -> Ending {
    let start = Instant::now();
    let log = gateway.control.log();
    gateway.control.begin_drain();
    let mut ending = Ending::Drained;
    for (phase, until) in PHASES {
        let message = match phase {
            DrainPhase::Refuse => "draining: no new binds and submits",
            DrainPhase::Settle => "draining: settling what is still open",
            DrainPhase::UnbindCustomers => "draining: unbinding customers",
            DrainPhase::UnbindVendors => "draining: unbinding vendors",
        };
        send_all(&gateway.shards, || ToShard::Drain(phase));
        let mut progress = Progress::new(gateway.shards.len());
        let is_in_force =
            wait_for(&gateway, phase, start + until, signals, &mut progress, |progress| &progress.entered);
        // In force on every shard, so that whoever reads this line can rely on it.
        tell(&log, LogLevel::Info, message);
        if !is_in_force
            || !wait_for(&gateway, phase, start + until, signals, &mut progress, |progress| &progress.through)
        {
            ending = Ending::Cut;
            break;
        }
    }
    send_all(&gateway.shards, || ToShard::Stop);
    wait_for_shards(&gateway.ended, &log);
    let journal_end = (Instant::now() + JOURNAL_END_MAX).min(start + ALL_MAX);
    if gateway.journal.is_some_and(|journal| !journal.end(journal_end)) {
        tell(&log, LogLevel::Warn, "the journal's thread did not end in time");
    }
    tell(&log, LogLevel::Info, "stopped");
    gateway.control.stop();
    ending
}

/// The way down of a start that is given up: the shards have taken nothing yet but what an older journal holds.
pub(crate) fn give_up_start(control: Control, shards: &[ShardHandle], ended: &Receiver<()>) {
    let log = control.log();
    send_all(shards, || ToShard::Stop);
    wait_for_shards(ended, &log);
    tell(&log, LogLevel::Info, "stopped before the journal was taken over: the older one stays as it is");
    control.stop();
}

fn wait_for_shards(ended: &Receiver<()>, log: &Log) {
    let end = Instant::now() + END_MAX;
    // Nothing is ever sent here: it ends when the last shard's thread has.
    while let Err(RecvTimeoutError::Timeout) = ended.recv_deadline(end) {
        if Instant::now() >= end {
            tell(log, LogLevel::Warn, "a shard did not end in time");
            break;
        }
    }
}

fn send_all(shards: &[ShardHandle], mut command: impl FnMut() -> ToShard) {
    for shard in shards {
        // The channel has room for thousands; a shard that has not emptied it is beyond being told.
        let _ = shard.send(command());
    }
}

/// Which shards have entered a phase, and which are through with it.
struct Progress {
    entered: Vec<bool>,
    through: Vec<bool>,
}

impl Progress {
    fn new(shards: usize) -> Self {
        Self { entered: vec![false; shards], through: vec![false; shards] }
    }
}

/// Waits until all shards are where `marks` says, or the phase's time has passed; `false` when a signal cut it short.
fn wait_for(
    gateway: &Gateway,
    phase: DrainPhase,
    until: Instant,
    signals: &mut Signals,
    progress: &mut Progress,
    marks: fn(&Progress) -> &[bool],
) -> bool {
    while !marks(progress).iter().all(|is_there| *is_there) && Instant::now() < until {
        if signals.pending().any(|signal| signal != SIGHUP) {
            return false;
        }
        if let Ok(news) = gateway.drain_news.recv_deadline((Instant::now() + LOOK).min(until))
            && news.phase == phase
        {
            progress.entered[news.shard.index()] = true;
            progress.through[news.shard.index()] |= news.is_through;
        }
    }
    true
}
