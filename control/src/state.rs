//! What the control thread knows of the running gateway: the shards' latest reports and the phase of its life.
//!
//! Written by the control thread, read by it and by the program's main thread; behind a lock that no shard ever
//! sees.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use smpp_shards::report::JournalReport;
use smpp_shards::settings::BindType;
use smpp_shards::{Report, ShardId, Snapshot, Vendor, VendorCounters, VendorState};
use tokio::sync::Notify;

use crate::auth::FailingFigures;
use crate::live::{RowFault, TableName};
use crate::log::{Log, ROOM_CURE};
use crate::nodes::NodesStats;
use crate::postgres::VendorHealth;
use crate::rates::{self, RecentAnswers, RecentLatencies};
use crate::recovery::{RecoveryFigures, RecoveryProgress};
use crate::service::Service;
use crate::store::Store;
use crate::vendor_news::{Trouble, VendorNews};

/// A shard that has not reported for that long counts as degraded; it reports once a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Failures in a row from which on a vendor counts as degraded even while other binds of it are up.
const FAILURES_MAX: u32 = 5;

/// Wrong rows that `/health` names; the metric counts all of them.
const COMPLAINTS_MAX: usize = 100;

/// In which part of its life the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// What the journal holds is being taken over; nobody is let in yet.
    Recovering,
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
            Self::Recovering => "recovering",
            Self::Starting => "starting",
            Self::Accepting => "accepting",
            Self::Draining => "draining",
        }
    }
}

/// Everything that the control thread's parts share.
pub(crate) struct State {
    snapshot: Mutex<Arc<Snapshot>>,
    configuration: Mutex<ConfigurationState>,
    shard_changed: Notify,
    pub(crate) node_id: String,
    pub(crate) started: Instant,
    pub(crate) started_at: SystemTime,
    pub(crate) log: Log,
    pub(crate) dropped_events: Arc<AtomicU64>,
    pub(crate) dropped_verdicts: AtomicU64,
    /// Octets of the metrics' text when it was asked for last.
    pub(crate) exposition_octets: AtomicUsize,
    pub(crate) failing: Arc<FailingFigures>,
    pub(crate) vendor_news: VendorNews,
    draining: AtomicBool,
    store: OnceLock<Store>,
    nodes: OnceLock<Arc<NodesStats>>,
    recovery: OnceLock<Arc<RecoveryProgress>>,
    services: Mutex<Vec<Arc<Service>>>,
    shards: Mutex<Vec<ShardState>>,
}

/// What is wrong with the configuration's source.
#[derive(Default)]
struct ConfigurationState {
    faults: Vec<RowFault>,
    table_name: Option<TableName>,
    /// It could not be read at all the last time.
    source: Option<String>,
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
    /// The version of the configuration in force.
    pub(crate) in_force: u64,
    /// By vendor: submit_sm a second between the latest two reports.
    pub(crate) throughput: Vec<f64>,
    /// By customer: submit_sm a second between the latest two reports.
    pub(crate) submit_rates: Vec<f64>,
    /// By vendor.
    pub(crate) recent_answers: Vec<RecentAnswers>,
    /// What messages had to wait for.
    pub(crate) recent_latencies: RecentLatencies,
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
            self.submit_rates = rates::submit_rates(&before.customers, &report.customers, seconds);
            self.recent_latencies.add(&before.latencies, &report.latencies, seconds);
            rates::add_answers(&mut self.recent_answers, &before.vendors, &report.vendors, seconds);
        }
        self.in_force = self.in_force.max(report.snapshot_version);
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
            snapshot: Mutex::new(snapshot),
            configuration: Mutex::default(),
            shard_changed: Notify::new(),
            node_id,
            started: Instant::now(),
            started_at: SystemTime::now(),
            log,
            dropped_events,
            dropped_verdicts: AtomicU64::new(0),
            exposition_octets: AtomicUsize::new(0),
            failing: Arc::default(),
            vendor_news: VendorNews::default(),
            draining: AtomicBool::new(false),
            store: OnceLock::new(),
            nodes: OnceLock::new(),
            recovery: OnceLock::new(),
            services: Mutex::default(),
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

    /// Once, before anybody asks for it.
    pub(crate) fn set_nodes(&self, stats: Arc<NodesStats>) {
        let _ = self.nodes.set(stats);
    }

    /// What is counted over all nodes, where there is Redis.
    pub(crate) fn nodes(&self) -> Option<&NodesStats> {
        self.nodes.get().map(Arc::as_ref)
    }

    /// Once, before anybody asks for it.
    pub(crate) fn set_recovery(&self, recovery: Arc<RecoveryProgress>) {
        let _ = self.recovery.set(recovery);
    }

    /// How far the start is, or was, with the journal, where there is one.
    pub(crate) fn recovery(&self) -> Option<RecoveryFigures> {
        self.recovery.get().map(|recovery| recovery.figures())
    }

    /// By shard, while what the journal holds is being taken over: whether the new one cannot be written. Nothing otherwise.
    pub(crate) fn held_up(&self) -> impl Iterator<Item = bool> {
        self.recovery.get().filter(|recovery| !recovery.is_over()).into_iter().flat_map(|recovery| recovery.held_up())
    }

    /// Whether what the journal holds is still being taken over.
    pub(crate) fn is_recovering(&self) -> bool {
        self.recovery.get().is_some_and(|recovery| !recovery.is_over())
    }

    /// Keeps a report; one of a shard that is not there is passed over.
    pub(crate) fn take_report(&self, report: Report) {
        let now = Instant::now();
        if let Some(shard) = self.shards().get_mut(report.shard.index()) {
            shard.take(report, now);
        }
        self.shard_changed.notify_waiters();
    }

    /// The newest configuration; shards may be on their way to it still.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another one in its place; gives the one before, which takes a while to free.
    pub(crate) fn replace_snapshot(&self, snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
        core::mem::replace(&mut *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner), snapshot)
    }

    /// A shard has taken a configuration over.
    pub(crate) fn shard_has(&self, shard: ShardId, version: u64) {
        if let Some(shard) = self.shards().get_mut(shard.index()) {
            shard.in_force = shard.in_force.max(version);
        }
        self.shard_changed.notify_waiters();
    }

    /// The oldest version that is in force on a shard.
    pub(crate) fn in_force_everywhere(&self) -> u64 {
        self.shards().iter().map(|shard| shard.in_force).min().unwrap_or(u64::MAX)
    }

    /// Waits until that version, or a later one, is in force on every shard.
    pub(crate) async fn wait_in_force(&self, version: u64) {
        loop {
            let mut changed = std::pin::pin!(self.shard_changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.in_force_everywhere() >= version {
                return;
            }
            changed.await;
        }
    }

    /// What is wrong with the configuration's rows.
    pub(crate) fn set_faults(&self, faults: Vec<RowFault>) {
        self.configuration().faults = faults;
    }

    /// What the tables of those rows are called where they are.
    pub(crate) fn set_table_name(&self, table_name: TableName) {
        self.configuration().table_name = Some(table_name);
    }

    /// Why the configuration could not be read; `None` when it could.
    pub(crate) fn set_source_fault(&self, reason: Option<String>) {
        self.configuration().source = reason;
    }

    /// What is wrong with the configuration's rows, by table: how many.
    pub(crate) fn fault_counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for fault in &self.configuration().faults {
            *counts.entry(fault.table).or_default() += 1;
        }
        counts
    }

    fn configuration(&self) -> MutexGuard<'_, ConfigurationState> {
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this service is told of.
    pub(crate) fn watch_service(&self, service: Arc<Service>) {
        self.services.lock().unwrap_or_else(PoisonError::into_inner).push(service);
    }

    /// By service: its name, and why it counts as degraded.
    pub(crate) fn services(&self) -> Vec<(&'static str, Option<String>)> {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.iter().map(|service| (service.name, service.complaint())).collect()
    }

    /// The health of every vendor that a shard has told of, to be written back to where vendors come from.
    pub(crate) fn vendor_health(&self) -> Vec<VendorHealth> {
        let (snapshot, shards) = (self.snapshot(), self.shards());
        let present = snapshot.vendors.iter().filter(|vendor| !vendor.is_removed);
        let told = present.filter_map(|vendor| {
            let report = shards.get(vendor.home.index())?.report.as_ref()?;
            Some(VendorHealth::of(&vendor.settings, report.vendors.get(vendor.id.index())?))
        });
        told.collect()
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
        self.phase_with(&self.shards())
    }

    /// [`State::phase`] for whoever has looked at the shards already.
    pub(crate) fn phase_with(&self, shards: &[ShardState]) -> Phase {
        if self.draining.load(Ordering::Acquire) {
            return Phase::Draining;
        }
        if self.is_recovering() {
            return Phase::Recovering;
        }
        match !shards.is_empty() && shards.iter().all(|shard| shard.report.is_some()) {
            true => Phase::Accepting,
            false => Phase::Starting,
        }
    }

    /// Whether what is accepted goes into a journal, as far as reports tell.
    pub(crate) fn has_journal(&self) -> bool {
        self.shards().iter().any(|shard| shard.report.as_ref().is_some_and(|report| report.journal.is_some()))
    }

    /// Whether at least one vendor can be given messages.
    pub(crate) fn has_vendor(&self) -> bool {
        let is_bound = |vendor: &VendorCounters| vendor.state == VendorState::Bound;
        self.shards().iter().filter_map(|shard| shard.report.as_ref()).any(|report| report.vendors.iter().any(is_bound))
    }

    /// What is not as it should be.
    pub(crate) fn degraded(&self) -> Vec<Degraded> {
        let snapshot = self.snapshot();
        let mut found = self.configuration_complaints();
        found.extend(self.service_complaints());
        let shards = self.shards();
        // Shards have nothing to tell before everything is taken over.
        let are_silent = self.is_recovering();
        for (index, _) in self.held_up().enumerate().filter(|(_, is_held_up)| *is_held_up) {
            let reason = "cannot be written: the start waits until it can".to_owned();
            found.push(Degraded::new("journal", index.to_string(), reason));
        }
        for (index, shard) in shards.iter().enumerate().filter(|_| !are_silent) {
            if shard.received.is_none_or(|received| received.elapsed() > SILENCE_MAX) {
                found.push(Degraded::new("shard", index.to_string(), "does not report".into()));
            }
            let journal = shard.report.as_ref().and_then(|report| report.journal);
            for reason in journal.as_ref().map(journal_complaints).into_iter().flatten() {
                found.push(Degraded::new("journal", index.to_string(), reason));
            }
        }
        for vendor in snapshot.vendors.iter().filter(|vendor| vendor.is_active()) {
            let report = shards.get(vendor.home.index()).and_then(|shard| shard.report.as_ref());
            let Some(counters) = report.and_then(|report| report.vendors.get(vendor.id.index())) else { continue };
            let trouble = self.vendor_news.of(vendor.id).trouble;
            if let Some(reason) = complaint(vendor, counters, trouble) {
                let name = vendor.settings.instance_name.clone();
                found.push(Degraded::new("vendor", name, reason));
            }
        }
        found
    }

    /// One for each service, with what each of those who use it has to say.
    fn service_complaints(&self) -> Vec<Degraded> {
        let mut found: Vec<Degraded> = Vec::new();
        for (name, complaint) in self.services() {
            found.extend(complaint.map(|reason| Degraded::new("service", name.to_owned(), reason)));
        }
        let Some(stats) = self.store().map(Store::stats) else { return found };
        let Some(reason) = stats.trouble() else { return found };
        match found.iter_mut().find(|known| known.name == stats.name()) {
            Some(known) if known.reason.starts_with(&reason) => known.reason.push_str("; what happens is stored later"),
            Some(known) => known.reason.push_str(&format!("; the message store: {reason}")),
            None => found.push(Degraded::new("service", stats.name().to_owned(), reason)),
        }
        found
    }

    fn configuration_complaints(&self) -> Vec<Degraded> {
        let configuration = self.configuration();
        let source = configuration.source.iter();
        let source = source.map(|reason| Degraded::new("configuration", "source".into(), reason.clone()));
        let table_name = configuration.table_name.unwrap_or(|table| table);
        let rows = configuration.faults.iter().map(|fault| Degraded {
            table: Some(table_name(fault.table)),
            ..Degraded::new("configuration", fault.key.clone(), format!("{} {}", fault.column, fault.reason))
        });
        source.chain(rows.take(COMPLAINTS_MAX)).collect()
    }
}

/// One thing that is not as it should be.
pub(crate) struct Degraded {
    /// `configuration`, `shard`, `journal`, `service` or `vendor`.
    pub(crate) part: &'static str,
    /// The number of the shard or of the journal's, `redis` or `store`, the vendor's instance_name; of the configuration the
    /// wrong row's key, or `source` where it cannot be read at all.
    pub(crate) name: String,
    /// The wrong row's table.
    pub(crate) table: Option<&'static str>,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Degraded {
    fn new(part: &'static str, name: String, reason: String) -> Self {
        Self { part, name, table: None, reason }
    }
}

/// A disk that fails and a bound that is reached have cures of their own.
fn journal_complaints(journal: &JournalReport) -> Vec<String> {
    let unwritten = "cannot be written, or does not keep up: new messages are refused";
    let full = format!("is full with {} octets: new messages are refused; {ROOM_CURE}", journal.bytes);
    let found = [(journal.is_unwritten, unwritten.to_owned()), (journal.is_full, full)];
    found.into_iter().filter(|(is_so, _)| *is_so).map(|(_, reason)| reason).collect()
}

fn complaint(vendor: &Vendor, counters: &VendorCounters, trouble: Option<Trouble>) -> Option<String> {
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
    // Why a link ended may be long ago: since then it may not even have been connected.
    let last = trouble.map(|trouble| format!("{}: {}", trouble.step, trouble.reason));
    if let Some(last) = last.or_else(|| counters.last_end.map(crate::log::reason_text)) {
        reason.push_str(&format!("; last: {last}"));
    }
    Some(reason)
}
