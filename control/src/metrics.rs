//! The metrics as Prometheus' text format has them, out of the shards' latest reports.
//!
//! Lives on the control thread. The names without the prefix `smpp_gateway_` are a contract with the platform's
//! dashboards; a few of them break Prometheus' own naming rules and must not be mended. Label values come from the
//! configuration alone, so their number is bounded; customers that never bound have no series.

mod exposition;
mod gateway;
mod latency;
mod nodes;
mod store;

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use smpp_pdu::MessageState;
use smpp_shards::histogram::{Histogram, Latencies};
use smpp_shards::report::JournalReport;
use smpp_shards::{Customer, CustomerCounters, Snapshot, Vendor, VendorCounters};

use crate::state::State;
use exposition::{Exposition, Kind};

/// What Content-Type says of it.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The receipt states in the order in which a vendor's counters have them.
pub(crate) const RECEIPT_STATES: [&str; 8] =
    ["enroute", "delivered", "expired", "deleted", "undeliverable", "accepted", "unknown", "rejected"];

/// All metrics as text.
pub(crate) fn render(state: &State) -> String {
    let snapshot = state.snapshot();
    let picture = Picture::of(state, &snapshot);
    // About as long as the last time.
    let before = state.exposition_octets.load(Ordering::Relaxed);
    let mut out = Exposition::with_room(before + before / 16);
    write_server(&mut out, &picture);
    write_client(&mut out, &picture);
    write_business(&mut out, &picture);
    latency::write(&mut out, &picture);
    gateway::write(&mut out, &picture, state);
    store::write(&mut out, state);
    nodes::write(&mut out, state);
    let text = out.finish();
    state.exposition_octets.store(text.len(), Ordering::Relaxed);
    text
}

/// By place, of rows that were removed or not, and their names: whether it has series of its own. A row that was given
/// another smpp_system_id or instance_name has another place and the same account_id or id, and no series may stand twice.
fn have_series<'s>(rows: impl Iterator<Item = (bool, &'s str)> + Clone) -> Vec<bool> {
    let mut last: HashMap<&str, usize> = HashMap::new();
    if rows.clone().any(|(is_removed, _)| is_removed) {
        // Those that are there come behind, so that theirs is the last word.
        let placed = rows.clone().enumerate();
        let removed = placed.clone().filter(|(_, (is_removed, _))| *is_removed);
        let present = placed.filter(|(_, (is_removed, _))| !is_removed);
        last = removed.chain(present).map(|(place, (_, name))| (name, place)).collect();
    }
    rows.enumerate().map(|(place, (_, name))| last.get(name).is_none_or(|known| *known == place)).collect()
}

/// The reports of all shards put together.
struct Picture<'s> {
    customers: Vec<(&'s Customer, CustomerCounters)>,
    /// Those that count in sums alone.
    customers_before: Vec<(&'s Customer, CustomerCounters)>,
    vendors: Vec<(&'s Vendor, VendorCounters, f64)>,
    /// Those that count in sums alone.
    vendors_before: Vec<(&'s Vendor, VendorCounters, f64)>,
    shards: Vec<ShardFigures>,
    latencies: Latencies,
    binds_refused: u64,
    answers_without_session: u64,
}

struct ShardFigures {
    shard: String,
    snapshot_version: u64,
    sessions: u64,
    lobby: u64,
    messages_open: u64,
    deliveries_open: u64,
    receipts_awaited: u64,
    messages_kept: u64,
    possible_duplicates: u64,
    late_answers_reconciled: u64,
    turns: Histogram,
    journal: Option<JournalReport>,
}

impl<'s> Picture<'s> {
    /// A customer's counters stand with its home shard and are zero on the others, a vendor's likewise.
    fn of(state: &State, snapshot: &'s Snapshot) -> Self {
        let shards = state.shards();
        let reports = || shards.iter().filter_map(|shard| shard.report.as_ref());
        let customers = snapshot.customers.iter().filter_map(|customer| {
            let mut counters = reports().filter_map(|report| report.customers.get(customer.id.index()));
            let at_home = counters.find(|counters| **counters != CustomerCounters::default())?;
            Some((customer, at_home.clone()))
        });
        let vendors = snapshot.vendors.iter().map(|vendor| {
            let home = shards.get(vendor.home.index());
            let report = home.and_then(|shard| shard.report.as_ref());
            let counters = report.and_then(|report| report.vendors.get(vendor.id.index())).cloned();
            let throughput = home.and_then(|shard| shard.throughput.get(vendor.id.index())).copied();
            (vendor, counters.unwrap_or_default(), throughput.unwrap_or(0.0))
        });
        let figures = reports().map(|report| ShardFigures {
            shard: report.shard.to_string(),
            snapshot_version: shards.get(report.shard.index()).map_or(0, |shard| shard.in_force),
            sessions: u64::from(report.sessions),
            lobby: u64::from(report.lobby),
            messages_open: u64::from(report.messages_open),
            deliveries_open: u64::from(report.deliveries_open),
            receipts_awaited: u64::from(report.receipts_awaited),
            messages_kept: report.messages_kept,
            possible_duplicates: report.possible_duplicates,
            late_answers_reconciled: report.late_answers_reconciled,
            turns: report.turns,
            journal: report.journal,
        });
        let rows = snapshot.customers.iter().map(|customer| (customer.is_removed, customer.name.as_str()));
        let customers_shown = have_series(rows);
        let (customers, customers_before) = customers.partition(|(customer, _)| customers_shown[customer.id.index()]);
        let rows = snapshot.vendors.iter().map(|vendor| (vendor.is_removed, vendor.settings.vendor_id()));
        let vendors_shown = have_series(rows);
        let (vendors, vendors_before) = vendors.partition(|(vendor, _, _)| vendors_shown[vendor.id.index()]);
        let mut latencies = Latencies::default();
        reports().for_each(|report| latencies.merge(&report.latencies));
        Self {
            latencies,
            customers,
            customers_before,
            vendors,
            vendors_before,
            shards: figures.collect(),
            binds_refused: reports().map(|report| report.binds_refused).sum(),
            answers_without_session: reports().map(|report| report.answers_without_session).sum(),
        }
    }

    fn customer_sum(&self, value: impl Fn(&CustomerCounters) -> u64) -> u64 {
        self.customers.iter().chain(&self.customers_before).map(|(_, counters)| value(counters)).sum()
    }

    fn vendor_sum(&self, value: impl Fn(&VendorCounters) -> u64) -> u64 {
        self.vendors.iter().chain(&self.vendors_before).map(|(_, counters, _)| value(counters)).sum()
    }

    fn per_customer(
        &self,
        out: &mut Exposition,
        name: &'static str,
        kind: Kind,
        help: &str,
        value: impl Fn(&CustomerCounters) -> u64,
    ) {
        out.family(name, kind, help);
        for (customer, counters) in &self.customers {
            out.sample(&[("customer_id", &customer.name)], value(counters));
        }
    }

    fn per_vendor(
        &self,
        out: &mut Exposition,
        name: &'static str,
        kind: Kind,
        help: &str,
        value: impl Fn(&VendorCounters) -> u64,
    ) {
        out.family(name, kind, help);
        for (vendor, counters, _) in &self.vendors {
            out.sample(&[("vendor_id", vendor.settings.vendor_id())], value(counters));
        }
    }
}

fn write_server(out: &mut Exposition, picture: &Picture<'_>) {
    out.family("smpp_server_active_sessions_total", Kind::Gauge, "Customer sessions that are bound now.");
    out.sample(&[], picture.shards.iter().map(|shard| shard.sessions).sum::<u64>());
    out.family("smpp_server_bind_requests_total", Kind::Counter, "Binds of customers, by how they were answered.");
    out.sample(&[("status", "success")], picture.customer_sum(|customer| customer.binds));
    out.sample(&[("status", "failure")], picture.binds_refused);
    let help = "submit_sm taken in from customers.";
    picture.per_customer(out, "smpp_server_submit_sm_total", Kind::Counter, help, |customer| customer.submits);
    let help = "Receipts and mobile-originated messages taken in from vendors for customers.";
    picture.per_vendor(out, "smpp_server_deliver_sm_total", Kind::Counter, help, |vendor| {
        vendor.receipts.iter().sum::<u64>() + vendor.mobile_originated
    });
}

fn write_client(out: &mut Exposition, picture: &Picture<'_>) {
    let name = |vendor: &Vendor| vendor.settings.vendor_id().to_owned();
    out.family("smpp_client_connections_total", Kind::Counter, "Binds to vendors that came up, and that ended.");
    for (vendor, counters, _) in &picture.vendors {
        out.sample(&[("vendor_id", &name(vendor)), ("status", "connected")], counters.connects);
        out.sample(&[("vendor_id", &name(vendor)), ("status", "disconnected")], counters.disconnects);
    }
    let help = "submit_sm sent to vendors, by outcome; a throttle and an unknown outcome count as failures.";
    out.family("smpp_client_submit_sm_total", Kind::Counter, help);
    for (vendor, counters, _) in &picture.vendors {
        let failed = counters.submits_failed + counters.throttled + counters.unknown_outcomes;
        out.sample(&[("vendor_id", &name(vendor)), ("status", "success")], counters.submits_ok);
        out.sample(&[("vendor_id", &name(vendor)), ("status", "failure")], failed);
    }
    out.family("smpp_client_dlr_received_total", Kind::Counter, "Receipts from vendors, by the state they tell.");
    for (vendor, counters, _) in &picture.vendors {
        for (dlr_status, count) in RECEIPT_STATES.iter().zip(counters.receipts) {
            out.sample(&[("vendor_id", &name(vendor)), ("dlr_status", dlr_status)], count);
        }
    }
    let help = "submit_sm sent to a vendor a second, over the last reporting interval.";
    out.family("smpp_client_throughput_current", Kind::Gauge, help);
    for (vendor, _, throughput) in &picture.vendors {
        out.sample_real(&[("vendor_id", &name(vendor))], *throughput);
    }
}

fn write_business(out: &mut Exposition, picture: &Picture<'_>) {
    let help = "From a submit_sm to its message's way to a vendor (the route), queues and retries included, in whole milliseconds.";
    out.family("message_routing_duration_seconds", Kind::Summary, help);
    let name = |vendor: &Vendor| vendor.settings.vendor_id().to_owned();
    for (vendor, counters, _) in &picture.vendors {
        out.summary(&[("route", &name(vendor))], counters.submits, counters.routed_ms as f64 / 1e3);
    }
    let help = "Messages that wait in vendors' queues, by their priority_flag.";
    out.family("message_queue_depth", Kind::Gauge, help);
    for (priority, label) in ["0", "1", "2", "3"].into_iter().enumerate() {
        let queued = picture.vendor_sum(|vendor| u64::from(vendor.queued_by_priority[priority]));
        out.sample(&[("priority", label)], queued);
    }
    out.family(
        "dlr_tracking_hits_total",
        Kind::Counter,
        "Receipts that found their message, before or after its submit_sm_resp.",
    );
    out.sample(&[], picture.vendor_sum(|vendor| vendor.receipts_matched));
    let help = "Submits above a rate limit: a customer's own here, or one that a vendor enforces.";
    out.family("rate_limit_exceeded_total", Kind::Counter, help);
    out.sample(&[("type", "customer")], picture.customer_sum(|customer| customer.throttled_rate));
    out.sample(&[("type", "vendor")], picture.vendor_sum(|vendor| vendor.throttled));
    let help = "Messages of a customer that were accepted.";
    picture.per_customer(out, "sms_sent_per_customer", Kind::Counter, help, |customer| customer.submits_ok);
    let help = "What a customer's messages cost that vendors have taken, in the currency of rate_per_msg.";
    out.family("sms_cost_per_customer", Kind::Counter, help);
    for (customer, counters) in &picture.customers {
        out.sample_amount(&[("customer_id", &customer.name)], counters.cost);
    }
    let help = "Receipts and mobile-originated messages that a customer took.";
    picture.per_customer(out, "sms_received_per_customer", Kind::Counter, help, |customer| customer.delivered);
    let help = "Of the final receipts since the start, the share that says DELIVRD; 0 before the first one.";
    out.family("sms_delivery_rate", Kind::Gauge, help);
    let of = |state: MessageState| picture.vendor_sum(|vendor| vendor.receipts[usize::from(state.wire()) - 1]);
    let final_ones: u64 = MessageState::ALL.into_iter().filter(|state| state.is_final()).map(of).sum();
    out.sample_real(&[], of(MessageState::Delivered) as f64 / final_ones.max(1) as f64);
}

#[cfg(test)]
mod tests;
