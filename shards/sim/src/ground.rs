//! What everybody in a run stands on: the clock, the network, the reference model and the trace. Single thread.

use std::rc::Rc;

use smpp_shards::{Event as Logged, Now};

use crate::disk::Disk;
use crate::model::Model;
use crate::network::Network;
use crate::random::Stream;
use crate::scenario::Scenario;
use crate::schedule::Schedule;
use crate::trace::Trace;

/// Lent to whoever acts.
pub(crate) struct Ground {
    /// The run's seed.
    pub seed: u64,
    /// Clock and events.
    pub schedule: Schedule,
    /// The byte streams.
    pub network: Network,
    /// What must hold.
    pub model: Model,
    /// What has happened.
    pub trace: Trace,
    /// The scenario drawn from the seed.
    pub scenario: Rc<Scenario>,
    /// The hosts' own stream: how long turns and wake-ups take.
    pub turns: Stream,
    /// Wake-ups, in a thousand, that are late by up to 20 ms.
    pub turn_pauses: u64,
    /// Octets of one receive at the most.
    pub receive_bytes: usize,
    /// By vendor: whether a TCP connection to it comes about.
    pub vendor_is_reachable: Vec<bool>,
    /// Whether faults are over and every peer behaves.
    pub healed: bool,
    /// In journal mode.
    pub disk: Option<Disk>,
    /// How often the process has been started before.
    pub life: u32,
    /// Milliseconds that the calendar has gone on while the process was down, beside those that the clock tells.
    pub ahead_ms: u64,
    /// Alerts that shards have given.
    pub alerts: u64,
}

/// The virtual clock's beginning, Unix milliseconds.
const EPOCH_UNIX_MS: u64 = 1_700_000_000_000;

impl Ground {
    /// The present, as a host tells it to its shard.
    pub(crate) fn now(&self) -> Now {
        let mono = self.schedule.now();
        Now { mono, unix_ms: EPOCH_UNIX_MS + self.ahead_ms + mono.0 / 1_000_000 }
    }

    /// A line of a shard's log.
    pub(crate) fn log(&mut self, host: usize, event: &Logged) {
        self.alerts += u64::from(matches!(event, Logged::VendorAlert { .. }));
        if self.trace.is_verbose() {
            self.trace.line(self.schedule.now(), format_args!("shard {host}: {event:?}"));
        }
    }
}
