//! The virtual clock and the heap of what is to happen, ordered by time and then by the order of being scheduled.
//! Single thread; time moves only when the next event is taken out.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use smpp_shards::{LinkId, Time, Verdict};

use crate::customer::SessionStep;
use crate::network::{NetId, Side};
use crate::vendor::VendorStep;

/// Something that happens at a point in time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A shard's host runs one turn, if it still means to at that time.
    Turn(usize),
    /// Something has come to one end of a connection: octets, its end, or a reset.
    Arrive(NetId, Side),
    /// One end of a connection may write again.
    Room(NetId, Side),
    /// A host looks whether a connection still takes nothing.
    Stall(NetId),
    /// A host gives up flushing a connection that is being closed.
    CloseNow(NetId),
    /// A host's attempt to connect comes to its end.
    Connected {
        /// The host.
        host: usize,
        /// For which link.
        link: LinkId,
        /// Tells this attempt from earlier ones.
        ticket: u64,
        /// Of which process.
        life: u32,
    },
    /// The control thread has checked a bind.
    Checked {
        /// The asking shard's host.
        host: usize,
        /// What came of it.
        verdict: Verdict,
        /// Of which process.
        life: u32,
    },
    /// A model customer's session does its next step, if the connection is still that one.
    Session {
        /// Which session.
        session: usize,
        /// Of which of its connections.
        epoch: u32,
        /// What.
        step: SessionStep,
    },
    /// A model vendor does something.
    Vendor {
        /// Which vendor.
        vendor: usize,
        /// What.
        step: VendorStep,
    },
    /// A host's write to the journal ends.
    Disk {
        /// The host.
        host: usize,
        /// Of which process.
        life: u32,
    },
    /// The run's own next step.
    Phase(Phase),
}

/// The run's own steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The configuration is built anew and handed out.
    Reload,
    /// Every now and then: reports are read and bounds checked.
    Look,
    /// The process is killed.
    Crash,
    /// It is started again.
    Restart,
}

struct Entry {
    at: Time,
    order: u64,
    event: Event,
}

/// The clock and the heap.
#[derive(Default)]
pub(crate) struct Schedule {
    now: Time,
    order: u64,
    heap: BinaryHeap<Reverse<Entry>>,
}

impl Schedule {
    /// The present.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// Lets `event` happen at `at`, or now where that is over.
    pub(crate) fn at(&mut self, at: Time, event: Event) {
        self.order += 1;
        let entry = Entry { at: at.max(self.now), order: self.order, event };
        self.heap.push(Reverse(entry));
    }

    /// Lets `event` happen in that many microseconds.
    pub(crate) fn in_micros(&mut self, micros: u64, event: Event) {
        self.at(Time(self.now.0 + micros * 1_000), event);
    }

    /// Lets `event` happen in that many milliseconds.
    pub(crate) fn in_millis(&mut self, millis: u64, event: Event) {
        self.at(self.now.after_ms(millis), event);
    }

    /// Nobody does anything for so many milliseconds; what was due meanwhile happens then, in its order.
    pub(crate) fn hold(&mut self, millis: u64) {
        self.now = self.now.after_ms(millis);
    }

    /// Moves the clock to the next event that is due by `until` and takes it out; with none, moves the clock to
    /// `until`.
    pub(crate) fn next(&mut self, until: Time) -> Option<Event> {
        if self.heap.peek().is_none_or(|Reverse(entry)| entry.at > until) {
            self.now = self.now.max(until);
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = self.now.max(entry.at);
        Some(entry.event)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
