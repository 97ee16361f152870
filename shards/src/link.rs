//! One bind towards a vendor: its state. Lives on the vendor's home shard, and comes back after every loss.

use std::net::SocketAddr;

use crate::bounds::{PROBE_MS, REBIND_SECONDS};
use crate::event::EndReason;
use crate::names::{Conn, VendorId};
use crate::random::Random;
use crate::settings::BindType;
use crate::time::Time;
use crate::window::Window;

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// Waits for its next attempt.
    Waiting,
    /// The host connects it.
    Connecting,
    /// The bind has been sent.
    Binding,
    /// In use.
    Bound,
    /// The vendor has unbound; answers that are due may still come.
    Leaving,
    /// To be unbound when its window is empty: nothing more is submitted, receipts are still taken.
    Retiring,
    /// We have unbound and wait for the answer.
    Unbinding,
    /// Not to come back.
    Off,
}

/// What becomes of a link when its connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// It comes back after a while.
    ComesBack,
    /// It is connected at once: its settings have changed.
    Rebinds,
    /// It is no more.
    Goes,
}

/// A bind towards a vendor.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) vendor: VendorId,
    pub(crate) bind_type: BindType,
    pub(crate) state: LinkState,
    pub(crate) afterwards: Afterwards,
    pub(crate) conn: Option<Conn>,
    pub(crate) local: Option<SocketAddr>,
    /// Submits without an answer, and how many there may be.
    pub(crate) window: Window,
    pub(crate) window_size: u32,
    pub(crate) last_received: Time,
    /// When its bind was answered last.
    pub(crate) bound_at: Time,
    pub(crate) enquired_at: Option<Time>,
    pub(crate) is_reading: bool,
    /// Binds that were refused or dropped in a row, for the waiting time.
    pub(crate) refusals: u32,
    /// Why it is being left.
    pub(crate) leaving: EndReason,
    /// Attempts in a row that did not reach the vendor.
    pub(crate) unreached: u32,
}

impl Link {
    pub(crate) fn new(vendor: VendorId, bind_type: BindType, window_size: u32) -> Self {
        Self {
            vendor,
            bind_type,
            state: LinkState::Waiting,
            afterwards: Afterwards::ComesBack,
            conn: None,
            local: None,
            window: Window::default(),
            window_size,
            last_received: Time::default(),
            bound_at: Time::default(),
            enquired_at: None,
            is_reading: true,
            refusals: 0,
            leaving: EndReason::Unbound,
            unreached: 0,
        }
    }

    /// Bound for submits, and the window has room.
    #[inline]
    pub(crate) fn can_take(&self) -> bool {
        self.can_submit() && self.window.open() < self.window_size
    }

    /// Bound for submits.
    #[inline]
    pub(crate) fn can_submit(&self) -> bool {
        self.state == LinkState::Bound && self.bind_type != BindType::Receiver
    }

    /// Milliseconds to the next attempt after a bind that was refused or dropped.
    pub(crate) fn rebind_ms(&mut self, random: &mut Random) -> u64 {
        let last = REBIND_SECONDS.len() - 1;
        let seconds = REBIND_SECONDS[(self.refusals as usize).min(last)];
        self.refusals = self.refusals.saturating_add(1);
        random.jitter(seconds * 1000)
    }

    /// Milliseconds to the next attempt after one that did not reach the vendor: short at first, then the
    /// probing interval.
    pub(crate) fn probe_ms(&mut self, random: &mut Random) -> u64 {
        let millis = (1000 << self.unreached.min(8)).min(PROBE_MS);
        self.unreached = self.unreached.saturating_add(1);
        random.jitter(millis)
    }
}
