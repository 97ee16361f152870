//! The gateway in figures: totals, rates, shards, the process.

use schemars::JsonSchema;
use serde::Serialize;
use smpp_shards::report::JournalReport;
use smpp_shards::{CustomerCounters, VendorCounters, VendorState};

use super::answer::{self, Answer};
use super::call::Call;
use crate::process;
use crate::rates::{RecentLatencies, RecentTimes};
use crate::state::{ShardState, State};

/// Everything in sum.
#[derive(Serialize, JsonSchema)]
pub(super) struct Stats {
    success: bool,
    node_id: String,
    /// Of the program.
    version: &'static str,
    /// `starting`, `accepting` or `draining`.
    phase: &'static str,
    uptime_seconds: u64,
    customers: CustomerTotals,
    vendors: VendorTotals,
    latencies: LatencyStats,
    shards: Vec<ShardStats>,
    process: ProcessStats,
    /// What is not as it should be; at most 20 of them.
    degraded: Vec<String>,
}

#[derive(Default, Serialize, JsonSchema)]
struct CustomerTotals {
    /// Configured.
    count: usize,
    sessions: u64,
    /// Connections that are not bound yet.
    connections_unbound: u64,
    binds: u64,
    binds_refused: u64,
    /// submit_sm since the start, those accepted, and those refused.
    messages_submitted: u64,
    messages_accepted: u64,
    messages_refused: u64,
    /// Of those refused: above a limit, and beyond a session's window.
    throttled_rate: u64,
    throttled_window: u64,
    /// submit_sm a second now.
    throughput_current: f64,
    /// Receipts and messages taken, and those that wait.
    deliveries_taken: u64,
    deliveries_waiting: u64,
}

#[derive(Default, Serialize, JsonSchema)]
struct VendorTotals {
    /// Configured.
    count: usize,
    /// Those that can be given messages now.
    connected: usize,
    binds_bound: u64,
    messages_sent: u64,
    messages_success: u64,
    messages_failed: u64,
    /// submit_sm a second now.
    throughput_current: f64,
    /// Submits without an answer.
    in_flight: u64,
    /// Messages and octets that wait.
    queue_depth: u64,
    queue_depth_bytes: u64,
    dlrs_received: u64,
    dlrs_unknown: u64,
    mobile_originated: u64,
    possible_duplicates: u64,
}

/// What messages had to wait for in the last while (what is 20 s old counts half); null where there were none.
#[derive(Serialize, JsonSchema)]
struct LatencyStats {
    /// From a submit_sm that passed every check to its submit_sm_resp.
    submit_response: Option<Quantiles>,
    /// From a customer's submit_sm to each answer of a vendor to it.
    vendor_answer: Option<Quantiles>,
    /// From a receipt or MO at hand to its deliver_sm to the customer.
    delivery: Option<Quantiles>,
}

/// Milliseconds that half, 95 and 99 of a hundred times are not above: estimated within buckets that double in width.
#[derive(Serialize, JsonSchema)]
struct Quantiles {
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
}

#[derive(Serialize, JsonSchema)]
struct ShardStats {
    shard: usize,
    /// Of the configuration in force there; null until its first report, as are the rest.
    snapshot_version: Option<u64>,
    sessions: u32,
    /// Messages that wait for a vendor.
    messages_open: u32,
    /// Receipts and messages that wait for customers.
    deliveries_open: u32,
    receipts_awaited: u32,
    /// Messages in the journal that have not reached their end.
    messages_kept: u64,
    journal: Option<JournalStats>,
}

#[derive(Serialize, JsonSchema)]
struct JournalStats {
    batches: u64,
    records: u64,
    bytes_written: u64,
    failures: u64,
    /// Octets of the segments that are wanted.
    bytes: u64,
    /// New messages are refused: it cannot be written, does not keep up, or is full.
    is_failing: bool,
    /// New messages are refused because the segments take up their part of max_mb.
    is_full: bool,
}

#[derive(Serialize, JsonSchema)]
struct ProcessStats {
    resident_bytes: Option<u64>,
    /// Processor time of all threads since the start.
    cpu_seconds: f64,
}

/// How many complaints are told.
const DEGRADED_MAX: usize = 20;

pub(super) async fn stats(call: Call) -> Answer {
    let state = &call.site.state;
    let snapshot = call.site.snapshot();
    let degraded = state.degraded().into_iter().take(DEGRADED_MAX);
    let degraded = degraded.map(|it| format!("{} {} {}", it.part, it.name, it.reason)).collect();
    let shards = state.shards();
    let mut customers = CustomerTotals { count: snapshot.present_customers().count(), ..CustomerTotals::default() };
    let mut vendors = VendorTotals { count: snapshot.present_vendors().count(), ..VendorTotals::default() };
    let mut latencies = RecentLatencies::default();
    for shard in shards.iter() {
        latencies.merge(&shard.recent_latencies);
        let Some(report) = &shard.report else { continue };
        customers.sessions += u64::from(report.sessions);
        customers.connections_unbound += u64::from(report.lobby);
        customers.binds_refused += report.binds_refused;
        customers.throughput_current += shard.submit_rates.iter().sum::<f64>();
        vendors.throughput_current += shard.throughput.iter().sum::<f64>();
        vendors.possible_duplicates += report.possible_duplicates;
        report.customers.iter().for_each(|counters| customers.add(counters));
        report.vendors.iter().for_each(|counters| vendors.add(counters));
    }
    let stats = Stats {
        success: true,
        node_id: state.node_id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        phase: phase(state, &shards),
        uptime_seconds: state.started.elapsed().as_secs(),
        customers,
        vendors,
        latencies: latency_stats(&latencies),
        shards: shards.iter().enumerate().map(|(shard, known)| shard_stats(shard, known)).collect(),
        process: ProcessStats {
            resident_bytes: process::resident_bytes(),
            cpu_seconds: process::cpu_time().as_secs_f64(),
        },
        degraded,
    };
    answer::ok(&stats)
}

/// The state's own answer takes the lock that is held here.
fn phase(state: &State, shards: &[ShardState]) -> &'static str {
    state.phase_with(shards).name()
}

impl CustomerTotals {
    fn add(&mut self, counters: &CustomerCounters) {
        self.binds += counters.binds;
        self.messages_submitted += counters.submits;
        self.messages_accepted += counters.submits_ok;
        self.messages_refused += counters.submits_failed;
        self.throttled_rate += counters.throttled_rate;
        self.throttled_window += counters.throttled_window;
        self.deliveries_taken += counters.delivered;
        self.deliveries_waiting += u64::from(counters.deliveries_waiting);
    }
}

impl VendorTotals {
    fn add(&mut self, counters: &VendorCounters) {
        self.connected += usize::from(counters.state == VendorState::Bound);
        self.binds_bound += u64::from(counters.links_bound);
        self.messages_sent += counters.submits;
        self.messages_success += counters.submits_ok;
        self.messages_failed += counters.submits_failed + counters.throttled + counters.unknown_outcomes;
        self.in_flight += u64::from(counters.in_flight);
        self.queue_depth += u64::from(counters.queued);
        self.queue_depth_bytes += counters.queued_bytes;
        self.dlrs_received += counters.receipts.iter().sum::<u64>();
        self.dlrs_unknown += counters.receipts_unknown;
        self.mobile_originated += counters.mobile_originated;
    }
}

fn latency_stats(recent: &RecentLatencies) -> LatencyStats {
    let quantiles = |times: &RecentTimes| {
        let tenths = |share| Some((times.quantile_ms(share)? * 10.0).round() / 10.0);
        Some(Quantiles { p50_ms: tenths(0.5)?, p95_ms: tenths(0.95)?, p99_ms: tenths(0.99)? })
    };
    LatencyStats {
        submit_response: quantiles(&recent.submit_response),
        vendor_answer: quantiles(&recent.vendor_answer),
        delivery: quantiles(&recent.delivery),
    }
}

fn shard_stats(shard: usize, known: &ShardState) -> ShardStats {
    let report = known.report.as_ref();
    ShardStats {
        shard,
        snapshot_version: report.map(|report| report.snapshot_version),
        sessions: report.map_or(0, |report| report.sessions),
        messages_open: report.map_or(0, |report| report.messages_open),
        deliveries_open: report.map_or(0, |report| report.deliveries_open),
        receipts_awaited: report.map_or(0, |report| report.receipts_awaited),
        messages_kept: report.map_or(0, |report| report.messages_kept),
        journal: report.and_then(|report| report.journal).map(journal_stats),
    }
}

fn journal_stats(journal: JournalReport) -> JournalStats {
    let JournalReport { batches, records, bytes_written, failures, bytes, is_full, .. } = journal;
    JournalStats { batches, records, bytes_written, failures, bytes, is_failing: journal.is_failing(), is_full }
}
