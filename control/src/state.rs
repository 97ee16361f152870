//! What the control thread knows of the running gateway: the shards' latest reports and the phase of its life.
//!
//! Written by the control thread, read by it and by the program's main thread; behind a lock that no shard ever
//! sees.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use smpp_shards::settings::BindType;
use smpp_shards::{Report, Snapshot, Vendor, VendorCounters, VendorState};

use crate::log::Log;
use crate::store::Store;

/// A shard that has not reported for that long counts as degraded; it reports once a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Failures in a row from which on a vendor counts as degraded even while other binds of it are up.
const FAILURES_MAX: u32 = 5;

/// In which part of its life the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not every shard has reported yet.
    Starting,
    /// Every shard is at work.
    Accepting,
    /// On its way down: no new binds, no new messages.
    Draining,
}

impl Phase {
    /// As it stands in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Accepting => "accepting",
            Self::Draining => "draining",
        }
    }
}

/// Everything that the control thread's parts share.
pub(crate) struct State {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) node_id: String,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) log: Log,
    pub(crate) dropped_events: Arc<AtomicU64>,
    pub(crate) dropped_verdicts: AtomicU64,
    draining: AtomicBool,
    store: OnceLock<Store>,
    shards: Mutex<Vec<ShardState>>,
}

/// What one shard has told.
#[derive(Clone, Default)]
pub(crate) struct ShardState {
    /// The latest report.
    pub(crate) report: Option<Report>,
    /// When it came.
    received: Option<Instant>,
    /// Reports so far.
    count: u64,
    /// By vendor: submit_sm a second between the latest two reports.
    pub(crate) throughput: Vec<f64>,
}

impl ShardState {
    fn take(&mut self, report: Report, now: Instant) {
        if let (Some(before), Some(received)) = (&self.report, self.received) {
            let seconds = now.duration_since(received).as_secs_f64().max(0.001);
            let submits = |index: usize| before.vendors.get(index).map_or(0, |vendor| vendor.submits);
            let rate = |(index, vendor): (usize, &VendorCounters)| {
                vendor.submits.saturating_sub(submits(index)) as f64 / seconds
            };
            self.throughput = report.vendors.iter().enumerate().map(rate).collect();
        }
        self.report = Some(report);
        self.received = Some(now);
        self.count += 1;
    }
}

impl State {
    pub(crate) fn new(
        snapshot: Arc<Snapshot>,
        node_id: String,
        log: Log,
        shards: usize,
        dropped_events: Arc<AtomicU64>,
    ) -> Self {
        Self {
            snapshot,
            node_id,
            started: Instant::now(),
            started_at: SystemTime::now(),
            log,
            dropped_events,
            dropped_verdicts: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            store: OnceLock::new(),
            shards: Mutex::new(vec![ShardState::default(); shards]),
        }
    }

    /// Once, before anybody asks for it.
    pub(crate) fn set_store(&self, store: Store) {
        let _ = self.store.set(store);
    }

    /// The message store, where there is one.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.get()
    }

    /// Keeps a report; one of a shard that is not there is passed over.
    pub(crate) fn take_report(&self, report: Report) {
        let now = Instant::now();
        if let Some(shard) = self.shards().get_mut(report.shard.index()) {
            shard.take(report, now);
        }
    }

    /// By shard.
    pub(crate) fn shards(&self) -> MutexGuard<'_, Vec<ShardState>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By shard: how many reports have come.
    pub(crate) fn report_counts(&self) -> Vec<u64> {
        self.shards().iter().map(|shard| shard.count).collect()
    }

    /// Whether each shard has reported at least twice since those counts were taken, and is quiet. Of two
    /// reports at least the second was made after the counts were taken.
    pub(crate) fn is_quiet_since(&self, counts: &[u64]) -> bool {
        let is_quiet = |(shard, count): (&ShardState, &u64)| {
            shard.count >= count + 2 && shard.report.as_ref().is_some_and(|report| report.is_quiet)
        };
        self.shards().iter().zip(counts).all(is_quiet)
    }

    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn phase(&self) -> Phase {
        if self.draining.load(Ordering::Acquire) {
            return Phase::Draining;
        }
        match self.shards().iter().all(|shard| shard.report.is_some()) {
            true => Phase::Accepting,
            false => Phase::Starting,
        }
    }

    /// Whether at least one vendor can be given messages.
    pub(crate) fn has_vendor(&self) -> bool {
        let is_bound = |vendor: &VendorCounters| vendor.state == VendorState::Bound;
        self.shards().iter().filter_map(|shard| shard.report.as_ref()).any(|report| report.vendors.iter().any(is_bound))
    }

    /// What is not as it should be.
    pub(crate) fn degraded(&self) -> Vec<Degraded> {
        let shards = self.shards();
        let mut found = Vec::new();
        for (index, shard) in shards.iter().enumerate() {
            if shard.received.is_none_or(|received| received.elapsed() > SILENCE_MAX) {
                found.push(Degraded { part: "shard", name: index.to_string(), reason: "does not report".into() });
            }
            let journal = shard.report.as_ref().and_then(|report| report.journal);
            if journal.is_some_and(|journal| journal.is_failing) {
                let reason = "cannot be written, or is full: new messages are refused".into();
                found.push(Degraded { part: "journal", name: index.to_string(), reason });
            }
        }
        if let Some(stats) = self.store().map(Store::stats)
            && let Some(reason) = stats.trouble()
        {
            found.push(Degraded { part: "service", name: stats.name().into(), reason });
        }
        for vendor in self.snapshot.vendors.iter().filter(|vendor| vendor.settings.is_active) {
            let report = shards.get(vendor.home.index()).and_then(|shard| shard.report.as_ref());
            let Some(counters) = report.and_then(|report| report.vendors.get(vendor.id.index())) else { continue };
            if let Some(reason) = complaint(vendor, counters) {
                let name = vendor.settings.instance_name.clone();
                found.push(Degraded { part: "vendor", name, reason });
            }
        }
        found
    }
}

/// One thing that is not as it should be.
pub(crate) struct Degraded {
    /// `shard`, `journal`, `service` or `vendor`.
    pub(crate) part: &'static str,
    /// The number of the shard or of the journal's, `redis` or `store`, the vendor's instance_name.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

fn complaint(vendor: &Vendor, counters: &VendorCounters) -> Option<String> {
    let is_up = match counters.state {
        VendorState::Bound => true,
        VendorState::ReceiverOnly => vendor.settings.bind_type == BindType::Receiver,
        VendorState::Off | VendorState::Connecting => false,
    };
    if is_up && counters.failures_in_a_row < FAILURES_MAX {
        return None;
    }
    let mut reason = match counters.state {
        _ if is_up => "is up, but a bind keeps failing".to_owned(),
        VendorState::ReceiverOnly => "has receiver binds only".to_owned(),
        _ => "is not bound".to_owned(),
    };
    if counters.failures_in_a_row > 0 {
        reason.push_str(&format!("; {} failures in a row", counters.failures_in_a_row));
    }
    if let Some(end) = counters.last_end {
        reason.push_str(&format!("; last: {}", crate::log::reason_text(end)));
    }
    Some(reason)
}
