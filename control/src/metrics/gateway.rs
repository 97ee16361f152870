//! The gateway's own metrics, beyond those that the platform asks for.

use std::time::UNIX_EPOCH;

use smpp_shards::report::JournalReport;

use super::{Exposition, Kind, Ordering, Picture, ShardFigures, State};
use crate::process;

/// Tables of which faults are told though there are none.
const FAULT_TABLES: [&str; 4] = ["customers", "vendors", "routing_rules", "inbound_routes"];

/// Writes them all.
pub(super) fn write(out: &mut Exposition, picture: &Picture<'_>, state: &State) {
    let family = "smpp_gateway_info";
    out.family(family, Kind::Gauge, "Always 1; the labels tell the version and the node.");
    out.sample(&[("version", env!("CARGO_PKG_VERSION")), ("node_id", &state.node_id)], 1);
    write_configuration(out, state);
    write_shards(out, picture);
    write_journal(out, picture);
    write_recovery(out, state);
    write_customers(out, picture);
    write_vendors(out, picture);
    write_receipts(out, picture);
    write_control(out, state);
    write_failing(out, state);
    write_services(out, state);
    write_process(out, state);
}

fn write_configuration(out: &mut Exposition, state: &State) {
    let help = "Version of the newest configuration; the shards' own tell what is in force.";
    out.single("smpp_gateway_configuration_version", Kind::Gauge, help, state.snapshot().version);
    let help = "What is wrong in the configuration, by table; the last good version of each row stays in force.";
    out.family("smpp_gateway_configuration_faults", Kind::Gauge, help);
    let counts = state.fault_counts();
    for table in FAULT_TABLES {
        out.sample(&[("table", table)], counts.get(table).copied().unwrap_or(0));
    }
    for (table, count) in counts.iter().filter(|(table, _)| !FAULT_TABLES.contains(table)) {
        out.sample(&[("table", table)], *count);
    }
}

fn write_shards(out: &mut Exposition, picture: &Picture<'_>) {
    type Figure = fn(&ShardFigures) -> u64;
    let families: [(&'static str, &str, Figure); 6] = [
        ("smpp_gateway_snapshot_version", "Version of the configuration in force.", |it| it.snapshot_version),
        ("smpp_gateway_sessions", "Customer sessions that are bound now.", |it| it.sessions),
        ("smpp_gateway_lobby_connections", "Connections that are not bound yet.", |it| it.lobby),
        ("smpp_gateway_messages_open", "Messages that wait for a vendor.", |it| it.messages_open),
        ("smpp_gateway_deliveries_open", "Receipts and MO that wait for customers.", |it| it.deliveries_open),
        ("smpp_gateway_receipts_awaited", "Messages for which a receipt is awaited.", |it| it.receipts_awaited),
    ];
    for (name, help, figure) in families {
        out.family(name, Kind::Gauge, help);
        for shard in &picture.shards {
            out.sample(&[("shard", &shard.shard)], figure(shard));
        }
    }
}

/// Told by the shards, and by a start that waits for a disk.
const FAILING: &str = "smpp_gateway_journal_failing";
const FAILING_HELP: &str = "1 while it takes nothing new.";

/// Nothing where customers' answers are the vendors'.
fn write_journal(out: &mut Exposition, picture: &Picture<'_>) {
    if picture.shards.iter().all(|shard| shard.journal.is_none()) {
        return;
    }
    type Figure = fn(&ShardFigures, JournalReport) -> u64;
    let families: [(&'static str, Kind, &str, Figure); 10] = [
        ("smpp_gateway_messages_kept", Kind::Gauge, "Messages that have not reached their end.", |it, _| {
            it.messages_kept
        }),
        (
            "smpp_gateway_possible_duplicates_total",
            Kind::Counter,
            "At most so many submits that a vendor may have had before; after a start also of messages that had only waited.",
            |it, _| it.possible_duplicates,
        ),
        (
            "smpp_gateway_late_answers_reconciled_total",
            Kind::Counter,
            "Messages settled by a vendor's answer that came after the response timer.",
            |it, _| it.late_answers_reconciled,
        ),
        ("smpp_gateway_journal_bytes", Kind::Gauge, "Octets of the segments in use.", |_, it| it.bytes),
        ("smpp_gateway_journal_written_bytes_total", Kind::Counter, "Octets written.", |_, it| it.bytes_written),
        ("smpp_gateway_journal_records_total", Kind::Counter, "Records given to be written.", |_, it| it.records),
        ("smpp_gateway_journal_commits_total", Kind::Counter, "Batches on stable storage.", |_, it| it.batches),
        ("smpp_gateway_journal_failures_total", Kind::Counter, "Batches that failed.", |_, it| it.failures),
        (FAILING, Kind::Gauge, FAILING_HELP, |_, it| u64::from(it.is_failing())),
        (
            "smpp_gateway_journal_full",
            Kind::Gauge,
            "1 while it takes nothing new because its room is used up.",
            |_, it| u64::from(it.is_full),
        ),
    ];
    for (name, kind, help, figure) in families {
        out.family(name, kind, help);
        for (shard, journal) in picture.shards.iter().filter_map(|shard| Some((shard, shard.journal?))) {
            out.sample(&[("shard", &shard.shard)], figure(shard, journal));
        }
    }
}

/// Nothing where there is no journal to take over.
fn write_recovery(out: &mut Exposition, state: &State) {
    let Some(figures) = state.recovery() else { return };
    let families = [
        (
            "smpp_gateway_recovering",
            "1 while what the journal holds is being taken over.",
            u64::from(state.is_recovering()),
        ),
        ("smpp_gateway_recovery_bytes", "Octets of the journal that the start found.", figures.bytes),
        ("smpp_gateway_recovery_read_bytes", "Octets of it that have been read.", figures.bytes_read),
        ("smpp_gateway_recovery_entries", "Messages, receipts and MO that were live in it.", figures.entries_live),
        ("smpp_gateway_recovery_recorded_entries", "Those of them in the new journal.", figures.entries_recorded),
    ];
    for (name, help, value) in families {
        out.single(name, Kind::Gauge, help, value);
    }
    // The shards tell nothing by themselves before that is over.
    if state.is_recovering() {
        out.family(FAILING, Kind::Gauge, FAILING_HELP);
        for (shard, is_held_up) in state.held_up().enumerate() {
            out.sample(&[("shard", &shard.to_string())], u64::from(is_held_up));
        }
    }
}

fn write_customers(out: &mut Exposition, picture: &Picture<'_>) {
    let help = "submit_sm of a customer that were answered, by outcome.";
    out.family("smpp_gateway_submit_sm_answered_total", Kind::Counter, help);
    for (customer, counters) in &picture.customers {
        out.sample(&[("customer_id", &customer.name), ("status", "success")], counters.submits_ok);
        out.sample(&[("customer_id", &customer.name), ("status", "failure")], counters.submits_failed);
    }
    let help = "submit_sm refused because the session's window was full.";
    out.family("smpp_gateway_window_exceeded_total", Kind::Counter, help);
    out.sample(&[], picture.customer_sum(|customer| customer.throttled_window));
    let help = "Receipts and MO handed back to the vendor: the customer was absent, silent or refused.";
    picture.per_customer(out, "smpp_gateway_handed_back_total", Kind::Counter, help, |it| it.undelivered);
    let help = "Answers that came when the customer's session was gone.";
    let count = picture.answers_without_session;
    out.single("smpp_gateway_answers_without_session_total", Kind::Counter, help, count);
}

fn write_vendors(out: &mut Exposition, picture: &Picture<'_>) {
    out.family("smpp_gateway_vendor_info", Kind::Gauge, "Always 1; tells the name that goes with a vendor_id.");
    for (vendor, _, _) in &picture.vendors {
        let settings = &vendor.settings;
        out.sample(&[("vendor_id", settings.vendor_id()), ("instance_name", &settings.instance_name)], 1);
    }
    let name = "smpp_gateway_vendor_state";
    out.family(name, Kind::Gauge, "Always 1; the label tells the vendor's state.");
    for (vendor, counters, _) in &picture.vendors {
        out.sample(&[("vendor_id", vendor.settings.vendor_id()), ("state", counters.state.name())], 1);
    }
    let help = "Binds to a vendor that are up now.";
    picture.per_vendor(out, "smpp_gateway_vendor_binds", Kind::Gauge, help, |it| u64::from(it.links_bound));
    let help = "Failed attempts to bind in a row; 0 for a vendor that is not in use.";
    out.family("smpp_gateway_vendor_failures", Kind::Gauge, help);
    for (vendor, counters, _) in &picture.vendors {
        // Of one that is gone the last attempt may have been one of many that failed: nobody is to be called for that any more.
        let failures = if vendor.is_active() { counters.failures_in_a_row } else { 0 };
        out.sample(&[("vendor_id", vendor.settings.vendor_id())], u64::from(failures));
    }
    let help = "submit_sm that a vendor has not answered yet.";
    picture.per_vendor(out, "smpp_gateway_vendor_in_flight", Kind::Gauge, help, |it| u64::from(it.in_flight));
    let help = "Messages that wait in a vendor's queue.";
    picture.per_vendor(out, "smpp_gateway_vendor_queued", Kind::Gauge, help, |it| u64::from(it.queued));
    let help = "Octets that wait in a vendor's queue.";
    picture.per_vendor(out, "smpp_gateway_vendor_queued_bytes", Kind::Gauge, help, |it| it.queued_bytes);
    let help = "submit_sm sent to a vendor, retries included.";
    picture.per_vendor(out, "smpp_gateway_vendor_submit_sm_total", Kind::Counter, help, |it| it.submits);
    let help = "submit_sm that a vendor throttled.";
    picture.per_vendor(out, "smpp_gateway_vendor_throttled_total", Kind::Counter, help, |it| it.throttled);
    let help = "Submits whose outcome is unknown: not answered in time, or the link broke.";
    picture.per_vendor(out, "smpp_gateway_unknown_outcomes_total", Kind::Counter, help, |it| it.unknown_outcomes);
    let help = "Answers of a vendor to no submit that waits for one: late, doubled or never asked for.";
    picture.per_vendor(out, "smpp_gateway_stray_answers_total", Kind::Counter, help, |it| it.stray_answers);
    let help = "Messages that found a vendor's queue full.";
    picture.per_vendor(out, "smpp_gateway_queue_full_total", Kind::Counter, help, |it| it.queue_full);
}

fn write_receipts(out: &mut Exposition, picture: &Picture<'_>) {
    let help = "Receipts that were there before the submit_sm_resp that names their message.";
    picture.per_vendor(out, "smpp_gateway_receipts_early_total", Kind::Counter, help, |it| it.receipts_early);
    let help = "Receipts that match no message.";
    picture.per_vendor(out, "smpp_gateway_receipts_unknown_total", Kind::Counter, help, |it| it.receipts_unknown);
    let help = "Awaited receipts that were forgotten because the index was full.";
    picture.per_vendor(out, "smpp_gateway_receipts_forgotten_total", Kind::Counter, help, |it| it.receipts_forgotten);
    let help = "Mobile-originated messages taken in.";
    picture.per_vendor(out, "smpp_gateway_mobile_originated_total", Kind::Counter, help, |it| it.mobile_originated);
    let help = "Receipts and MO of a vendor that wait for customers.";
    picture
        .per_vendor(out, "smpp_gateway_deliveries_waiting", Kind::Gauge, help, |it| u64::from(it.deliveries_waiting));
}

fn write_control(out: &mut Exposition, state: &State) {
    let help = "Log lines of shards that were dropped because the control thread was behind.";
    let dropped = state.dropped_events.load(Ordering::Relaxed);
    out.single("smpp_gateway_log_events_dropped_total", Kind::Counter, help, dropped);
    let help = "Log lines that were dropped because standard output was behind.";
    out.single("smpp_gateway_log_lines_dropped_total", Kind::Counter, help, state.log.dropped_lines());
    let help = "Answers to binds that found a shard's channel full.";
    let dropped = state.dropped_verdicts.load(Ordering::Relaxed);
    out.single("smpp_gateway_verdicts_dropped_total", Kind::Counter, help, dropped);
}

fn write_failing(out: &mut Exposition, state: &State) {
    let figures = &state.failing;
    let families = [
        ("smpp_gateway_auth_failures_total", Kind::Counter, "Binds that failed authentication.", &figures.failed),
        (
            "smpp_gateway_auth_failures_delayed_total",
            Kind::Counter,
            "Refusals that were held back because binds from their address keep failing.",
            &figures.delayed,
        ),
        (
            "smpp_gateway_auth_failures_undelayed_total",
            Kind::Counter,
            "Refusals that left at once because as many as can be were held back already.",
            &figures.undelayed,
        ),
        ("smpp_gateway_auth_failures_held", Kind::Gauge, "Refusals that are held back now.", &figures.held),
        (
            "smpp_gateway_auth_failing_addresses",
            Kind::Gauge,
            "Addresses whose failed binds are remembered.",
            &figures.addresses,
        ),
    ];
    for (name, kind, help, figure) in families {
        out.single(name, kind, help, figure.load(Ordering::Relaxed));
    }
}

/// Nothing where the gateway needs none.
fn write_services(out: &mut Exposition, state: &State) {
    let services = state.services();
    if services.is_empty() {
        return;
    }
    out.family("service_up", Kind::Gauge, "1 while a service beside the gateway is there and answers.");
    for (service, complaint) in services {
        out.sample(&[("service", service)], u64::from(complaint.is_none()));
    }
}

fn write_process(out: &mut Exposition, state: &State) {
    if let Some(bytes) = process::resident_bytes() {
        out.single("process_resident_memory_bytes", Kind::Gauge, "Resident memory in octets.", bytes);
    }
    if let Some(count) = process::open_descriptors() {
        out.single("process_open_fds", Kind::Gauge, "Open file descriptors.", count);
    }
    out.family("process_cpu_seconds_total", Kind::Counter, "Processor time used, in seconds.");
    out.sample_real(&[], process::cpu_time().as_secs_f64());
    let started = state.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    out.family("process_start_time_seconds", Kind::Gauge, "When the process started, in seconds since 1970.");
    out.sample_real(&[], (started.as_secs_f64() * 1_000.0).round() / 1_000.0);
}
