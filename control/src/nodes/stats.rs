//! What the nodes' tasks have done: written by them, read by metrics and by each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use smpp_shards::LimitKey;

/// Counters and the latest figures.
#[derive(Debug, Default)]
pub(crate) struct NodesStats {
    /// Rounds of leases that Redis has answered.
    pub(crate) renewals: Counter,
    /// Rounds that came to nothing.
    pub(crate) failures: Counter,
    /// Limits of the last round.
    pub(crate) limits: Counter,
    /// Nodes that are alive, this one included; 0 before the first round.
    pub(crate) nodes: Counter,
    /// Binds counted and let pass.
    pub(crate) binds_admitted: Counter,
    /// Binds that were too many over all nodes.
    pub(crate) binds_refused: Counter,
    /// Binds let pass uncounted: Redis did not answer in time.
    pub(crate) binds_unchecked: Counter,
    /// How often this node found that the others had taken it for dead, or Redis had forgotten it.
    pub(super) forgotten: Counter,
    shares: Mutex<BTreeMap<LimitKey, u16>>,
}

impl NodesStats {
    /// Of each limit that was ever leased: this node's share at the last round in which it was looked at, in thousandths.
    pub(crate) fn shares(&self) -> MutexGuard<'_, BTreeMap<LimitKey, u16>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that one task writes and anybody reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// The present value.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds one.
    pub(super) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Puts another value in its place.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}
