//! Every metric of the contract, its figure, and the text format's rules.

use super::*;
use crate::config::{self, LogSettings};
use crate::log::Log;
use crate::nodes::NodesStats;
use smpp_shards::{Amount, CustomerId, LimitKey, Report, ShardId, VendorId, VendorState};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The contract's names that break the rule that counters, and only they, end in `_total`.
const ODD_NAMES: [&str; 4] = [
    "smpp_server_active_sessions_total",
    "sms_sent_per_customer",
    "sms_received_per_customer",
    "sms_cost_per_customer",
];

fn state() -> State {
    let text = r#"
        gateway.accept = "relay"
        gateway.node_id = "node \"1\"\\ "
        [[customers]]
        smpp_system_id = "acme"
        account_id = "a\"b\\c\nd"
        smpp_password = "secret12"
        [[customers]]
        smpp_system_id = "bolt"
        smpp_password = "secret12"
        [[customers]]
        smpp_system_id = "idle"
        smpp_password = "secret12"
        [[vendors]]
        instance_name = "north"
        host = "127.0.0.1"
        port = 3601
        [[vendors]]
        instance_name = "south"
        host = "127.0.0.1"
        port = 3602"#;
    let configuration = config::parse(Path::new("test.toml"), text, &|_| None).unwrap();
    let snapshot = Arc::new(configuration.snapshot(2, 1).unwrap());
    let log = Log::to(LogSettings::default(), Box::new(std::io::sink())).unwrap();
    State::new(snapshot, configuration.gateway.node_id, log, 2, Arc::new(AtomicU64::new(4)))
}

/// North lives on shard 0 and has `acme` there, south on shard 1 and has `bolt`.
fn reports() -> [Report; 2] {
    let mut zero = Report { shard: ShardId(0), snapshot_version: 1, sessions: 3, lobby: 1, ..Report::default() };
    zero.customers = vec![CustomerCounters::default(); 3];
    zero.vendors = vec![VendorCounters::default(); 2];
    let mut one = Report { shard: ShardId(1), ..zero.clone() };
    zero.binds_refused = 5;
    zero.answers_without_session = 1;
    [0, 1, 3, 40].into_iter().for_each(|it| zero.latencies.submit_response.add_ms(it));
    zero.latencies.vendor_answer.add_ms(200_000);
    zero.turns.add_nanos(1_500_000);
    zero.customers[0] = CustomerCounters {
        binds: 4,
        submits: 100,
        submits_ok: 90,
        submits_failed: 10,
        cost: Amount::of_millionths(12_007_500),
        throttled_rate: 6,
        throttled_window: 2,
        delivered: 33,
        ..CustomerCounters::default()
    };
    zero.vendors[0] = VendorCounters {
        state: VendorState::Bound,
        connects: 2,
        disconnects: 1,
        submits: 95,
        submits_ok: 90,
        submits_failed: 2,
        throttled: 2,
        unknown_outcomes: 1,
        queued: 7,
        queued_by_priority: [4, 2, 0, 1],
        routed_ms: 1_900,
        receipts: [1, 30, 0, 0, 2, 0, 0, 0],
        receipts_matched: 31,
        mobile_originated: 4,
        ..VendorCounters::default()
    };
    one.binds_refused = 2;
    one.latencies.submit_response.add_ms(3);
    one.customers[1].binds = 1;
    one.vendors[1].queued = 5;
    one.vendors[1].queued_by_priority = [5, 0, 0, 0];
    one.vendors[1].receipts_matched = 2;
    [zero, one]
}

fn rendered() -> String {
    let state = state();
    reports().into_iter().for_each(|report| state.take_report(report));
    render(&state)
}

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn every_metric_of_the_contract_has_its_figure() {
    let text = rendered();
    let acme = r#"customer_id="a\"b\\c\nd""#;
    for (series, expected) in [
        ("smpp_server_active_sessions_total".to_owned(), 6.0),
        (r#"smpp_server_bind_requests_total{status="success"}"#.into(), 5.0),
        (r#"smpp_server_bind_requests_total{status="failure"}"#.into(), 7.0),
        (format!("smpp_server_submit_sm_total{{{acme}}}"), 100.0),
        (r#"smpp_server_deliver_sm_total{vendor_id="north"}"#.into(), 37.0),
        (r#"smpp_client_connections_total{vendor_id="north",status="connected"}"#.into(), 2.0),
        (r#"smpp_client_connections_total{vendor_id="north",status="disconnected"}"#.into(), 1.0),
        (r#"smpp_client_submit_sm_total{vendor_id="north",status="success"}"#.into(), 90.0),
        (r#"smpp_client_submit_sm_total{vendor_id="north",status="failure"}"#.into(), 5.0),
        (r#"smpp_client_dlr_received_total{vendor_id="north",dlr_status="delivered"}"#.into(), 30.0),
        (r#"smpp_client_dlr_received_total{vendor_id="south",dlr_status="rejected"}"#.into(), 0.0),
        (r#"smpp_client_throughput_current{vendor_id="north"}"#.into(), 0.0),
        (r#"message_queue_depth{priority="0"}"#.into(), 9.0),
        (r#"message_queue_depth{priority="1"}"#.into(), 2.0),
        (r#"message_queue_depth{priority="2"}"#.into(), 0.0),
        (r#"message_queue_depth{priority="3"}"#.into(), 1.0),
        ("dlr_tracking_hits_total".into(), 33.0),
        (r#"rate_limit_exceeded_total{type="customer"}"#.into(), 6.0),
        (r#"rate_limit_exceeded_total{type="vendor"}"#.into(), 2.0),
        (format!("sms_sent_per_customer{{{acme}}}"), 90.0),
        (format!("sms_cost_per_customer{{{acme}}}"), 12.0075),
        (r#"sms_cost_per_customer{customer_id="bolt"}"#.into(), 0.0),
        (format!("sms_received_per_customer{{{acme}}}"), 33.0),
        // Of 30 delivered and 2 undeliverable; the one that is enroute may be either yet.
        ("sms_delivery_rate".into(), 0.9375),
        (r#"message_routing_duration_seconds_count{route="north"}"#.into(), 95.0),
        (r#"message_routing_duration_seconds_sum{route="north"}"#.into(), 1.9),
        (r#"smpp_gateway_snapshot_version{shard="1"}"#.into(), 1.0),
        (r#"smpp_gateway_vendor_state{vendor_id="north",state="connected"}"#.into(), 1.0),
        (r#"smpp_gateway_submit_response_seconds_bucket{le="0.001"}"#.into(), 1.0),
        (r#"smpp_gateway_submit_response_seconds_bucket{le="0.002"}"#.into(), 2.0),
        (r#"smpp_gateway_submit_response_seconds_bucket{le="0.004"}"#.into(), 4.0),
        (r#"smpp_gateway_submit_response_seconds_bucket{le="+Inf"}"#.into(), 5.0),
        ("smpp_gateway_submit_response_seconds_count".into(), 5.0),
        ("smpp_gateway_submit_response_seconds_sum".into(), 0.047),
        (r#"smpp_gateway_vendor_answer_seconds_bucket{le="131.072"}"#.into(), 0.0),
        (r#"smpp_gateway_vendor_answer_seconds_bucket{le="+Inf"}"#.into(), 1.0),
        ("smpp_gateway_delivery_seconds_count".into(), 0.0),
        (r#"smpp_gateway_turn_seconds_bucket{shard="0",le="0.001048576"}"#.into(), 0.0),
        (r#"smpp_gateway_turn_seconds_bucket{shard="0",le="0.002097152"}"#.into(), 1.0),
        (r#"smpp_gateway_turn_seconds_sum{shard="0"}"#.into(), 0.0015),
        (r#"smpp_gateway_turn_seconds_count{shard="1"}"#.into(), 0.0),
        (r#"smpp_gateway_vendor_info{vendor_id="north",instance_name="north"}"#.into(), 1.0),
        ("smpp_gateway_answers_without_session_total".into(), 1.0),
        ("smpp_gateway_window_exceeded_total".into(), 2.0),
        ("smpp_gateway_log_events_dropped_total".into(), 4.0),
    ] {
        assert_eq!(value(&text, &series), Some(expected), "{series}");
    }
    assert!(value(&text, "process_resident_memory_bytes").is_some_and(|bytes| bytes > 100_000.0));
    assert!(value(&text, "process_cpu_seconds_total").is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn customers_that_never_came_have_no_series() {
    let text = rendered();
    assert!(text.contains("customer_id=\"bolt\""));
    assert!(!text.contains("customer_id=\"idle\""));
}

#[test]
fn a_row_that_got_another_name_has_its_series_once_and_counts_in_sums() {
    let state = state();
    let before = state.snapshot();
    let customer = smpp_shards::settings::CustomerSettings {
        smpp_system_id: "acme-2".into(),
        smpp_password: Some("secret12".into()),
        account_id: Some("a\"b\\c\nd".into()),
        ..Default::default()
    };
    let mut vendor = smpp_shards::settings::VendorSettings { instance_name: "north-2".into(), ..Default::default() };
    (vendor.host, vendor.port, vendor.id) = ("h".into(), 1, Some("north".into()));
    let settings = smpp_shards::Settings {
        gateway: before.gateway.clone(),
        customers: vec![customer],
        vendors: vec![vendor],
        ..Default::default()
    };
    state.replace_snapshot(Arc::new(before.succeed(settings, &mut Default::default()).unwrap()));
    for mut report in reports() {
        let binds = if report.shard == ShardId(0) { 9 } else { 0 };
        report.customers.push(CustomerCounters { binds, submits: 1, ..CustomerCounters::default() });
        report.vendors.push(VendorCounters { receipts_matched: 5, ..VendorCounters::default() });
        state.take_report(report);
    }
    let text = render(&state);
    lint(&text);
    assert_eq!(value(&text, r#"smpp_server_submit_sm_total{customer_id="a\"b\\c\nd"}"#), Some(1.0));
    assert_eq!(value(&text, r#"smpp_server_bind_requests_total{status="success"}"#), Some(14.0));
    assert_eq!(value(&text, "dlr_tracking_hits_total"), Some(38.0));
}

#[test]
fn a_vendor_that_is_not_in_use_keeps_failing_no_more() {
    let state = state();
    let before = state.snapshot();
    let mut vendors: Vec<_> = before.vendors.iter().map(|vendor| vendor.settings.clone()).collect();
    vendors[0].is_active = false;
    vendors.truncate(1);
    let settings = smpp_shards::Settings { gateway: before.gateway.clone(), vendors, ..Default::default() };
    let report = |shard| {
        let vendor = VendorCounters { failures_in_a_row: 7, ..VendorCounters::default() };
        Report { shard: ShardId(shard), vendors: vec![vendor; 2], ..Report::default() }
    };
    [0, 1].map(report).into_iter().for_each(|report| state.take_report(report));
    let failures = |vendor| value(&render(&state), &format!("smpp_gateway_vendor_failures{{vendor_id=\"{vendor}\"}}"));
    assert_eq!((failures("north"), failures("south")), (Some(7.0), Some(7.0)));
    state.replace_snapshot(Arc::new(before.succeed(settings, &mut Default::default()).unwrap()));
    assert_eq!((failures("north"), failures("south")), (Some(0.0), Some(0.0)), "switched off, and removed");
}

#[test]
fn throughput_is_what_was_sent_between_two_reports() {
    let state = state();
    let [zero, _] = reports();
    state.take_report(zero.clone());
    assert_eq!(value(&render(&state), r#"smpp_client_throughput_current{vendor_id="north"}"#), Some(0.0));
    let mut later = zero;
    later.vendors[0].submits += 1_000;
    state.take_report(later);
    assert!(value(&render(&state), r#"smpp_client_throughput_current{vendor_id="north"}"#).is_some_and(|it| it > 0.0));
}

#[test]
fn before_the_first_report_there_is_something_to_read_already() {
    let text = render(&state());
    lint(&text);
    assert_eq!(value(&text, "smpp_server_active_sessions_total"), Some(0.0));
}

#[test]
fn the_text_keeps_the_format_s_rules() {
    lint(&rendered());
}

/// What `promtool check metrics` looks at.
fn lint(text: &str) {
    assert!(text.ends_with('\n'));
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let (mut seen, mut helped, mut family) = (HashSet::new(), "", "");
    let mut buckets: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.') && help.len() > 10, "{line}");
            assert!(!kinds.contains_key(name), "two families of one name: {line}");
            helped = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, helped, "TYPE without HELP");
            let is_counter = kind == "counter";
            assert!(is_counter || ["gauge", "histogram", "summary"].contains(&kind), "{line}");
            let is_of_times = kind == "histogram" || kind == "summary";
            assert!(!is_of_times || name.ends_with("_seconds"), "a histogram or summary of another unit: {line}");
            assert!(ODD_NAMES.contains(&name) || name.ends_with("_total") == is_counter, "{line}");
            kinds.insert(name, kind);
            family = name;
        } else {
            let name_end = line.find(['{', ' ']).unwrap();
            let suffix =
                line[..name_end].strip_prefix(family).unwrap_or_else(|| panic!("outside of its family: {line}"));
            let suffixes: &[&str] = match kinds[family] {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "a sample outside of its family: {line}");
            assert!(family.bytes().all(|it| it == b'_' || it.is_ascii_lowercase() || it.is_ascii_digit()), "{line}");
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok_and(|value| value >= 0.0), "{line}");
            assert!(seen.insert(series.to_owned()), "twice: {line}");
            lint_labels(&series[name_end..]);
            if kinds[family] == "histogram" {
                lint_bucket(&mut buckets, family, suffix, &series[name_end..], value.parse().unwrap());
            }
        }
    }
    assert!(!kinds.is_empty());
}

/// A histogram's buckets go up, in bound and in count, to the one without bound, which is its count.
fn lint_bucket(buckets: &mut BTreeMap<String, (f64, f64)>, family: &str, suffix: &str, labels: &str, value: f64) {
    let labels = labels.trim_matches(['{', '}']);
    let (others, bound) = match labels.rsplit_once("le=\"") {
        Some((others, bound)) => (others.trim_end_matches(','), bound.trim_end_matches('"').parse::<f64>().ok()),
        None => (labels, None),
    };
    let key = format!("{family}{{{others}}}");
    match suffix {
        "_bucket" => {
            let bound = bound.unwrap_or_else(|| panic!("a bucket of {key} without a bound"));
            let (before, count) = buckets.insert(key.clone(), (bound, value)).unwrap_or((f64::NEG_INFINITY, 0.0));
            assert!(bound > before && value >= count, "buckets of {key} out of order");
        }
        "_count" => assert_eq!(buckets[&key], (f64::INFINITY, value), "{key}"),
        _ => assert!(bound.is_none(), "le is for buckets: {key}"),
    }
}

#[test]
fn the_page_for_operators_names_every_metric() {
    let page = include_str!("../../../deploy/metrics.md");
    let text = rendered();
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    for name in names {
        assert!(page.contains(&format!("`{name}")), "deploy/metrics.md does not tell of {name}");
    }
}

/// `{name="value",…}` or nothing, with backslash, quote and line end escaped.
fn lint_labels(labels: &str) {
    if labels.is_empty() {
        return;
    }
    let mut rest = labels.strip_prefix('{').unwrap();
    loop {
        let (name, value) = rest.split_once("=\"").unwrap();
        assert!(name.bytes().all(|it| it == b'_' || it.is_ascii_lowercase()), "{labels}");
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next().unwrap() {
                (_, '\\') => assert!(matches!(letters.next(), Some((_, '\\' | '"' | 'n'))), "{labels}"),
                (at, '"') => break at,
                (_, letter) => assert!(!letter.is_control(), "{labels}"),
            }
        };
        match &value[end + 1..] {
            "}" => return,
            more => rest = more.strip_prefix(',').unwrap(),
        }
    }
}

#[test]
fn what_is_counted_over_nodes_has_its_figures_where_there_is_redis() {
    let state = state();
    assert_eq!(value(&render(&state), "smpp_gateway_nodes"), None);
    let stats = Arc::new(NodesStats::default());
    state.set_nodes(Arc::clone(&stats));
    stats.shares().insert(LimitKey::Customer(CustomerId(1)), 250);
    stats.shares().insert(LimitKey::Vendor(VendorId(0)), 1_000);
    let text = render(&state);
    lint(&text);
    for (series, wanted) in [
        ("smpp_gateway_nodes", 0.0),
        ("smpp_gateway_lease_renewals_total", 0.0),
        ("smpp_gateway_lease_share_ratio{customer_id=\"bolt\"}", 0.25),
        ("smpp_gateway_lease_share_ratio{vendor_id=\"north\"}", 1.0),
        ("smpp_gateway_binds_counted_total{outcome=\"refused\"}", 0.0),
    ] {
        assert_eq!(value(&text, series), Some(wanted), "{series}");
    }
}
