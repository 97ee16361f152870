//! `/health`, `/ready` and `/metrics`.

use serde_json::Value;
use smpp_pdu::CommandStatus;

use crate::harness::bench::clean_load;
use crate::harness::setup::free_address;
use crate::harness::{Setup, Shards, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    health_tells_of_every_shard,
    ready_follows_the_vendor,
    ready_needs_no_vendor_where_the_setting_says_so,
    metrics_count_messages_and_receipts,
    metrics_have_the_names_that_the_platform_knows,
    a_vendor_that_keeps_failing_is_told_in_health_and_log,
    a_token_guards_what_tells_names,
    other_paths_and_methods_are_refused,
];

fn health_tells_of_every_shard(shards: Shards) {
    let gateway = Setup::new(shards).customer("acme", "").start_without_vendors();
    let (status, body) = gateway.get("/health");
    assert_eq!(status, 200);
    let health: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&health["success"], &health["status"]), (&Value::from(true), &Value::from("ok")));
    let count = if shards == Shards::One { 1 } else { 2 };
    assert_eq!(health["shards"].as_array().unwrap().len(), count);
    assert!(health["shards"].as_array().unwrap().iter().all(|shard| shard["snapshot_version"] == 1));
    gateway.end_well();
}

fn ready_follows_the_vendor(shards: Shards) {
    let address = free_address();
    let gateway = Setup::usual(shards, address).start_without_vendors();
    let (status, body) = gateway.get("/ready");
    assert_eq!(status, 503);
    assert!(body.contains("No vendor is bound."), "{body}");
    let vendor = crate::harness::bench::smsc_at(&address.to_string(), &[]);
    gateway.wait_until_ready();
    vendor.stop().unwrap();
    crate::harness::ask_until("a gateway that is not ready", || (gateway.get("/ready").0 == 503).then_some(()));
    gateway.end_well();
}

fn ready_needs_no_vendor_where_the_setting_says_so(shards: Shards) {
    let gateway = Setup::new(shards)
        .control("ready_requires_vendor = false")
        .customer("acme", "")
        .vendor("north", free_address(), "")
        .start();
    gateway.end_well();
}

fn metrics_count_messages_and_receipts(shards: Shards) {
    let vendor = smsc(&["--fail-percent", "20", "--fail-status", "ESME_RINVDSTADR"]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let report = crate::harness::load(gateway.address(), &["--count", "1000", "--receipts"]);
    let refused = report.statuses[&CommandStatus::ESME_RINVDSTADR.0] as f64;
    let accepted = report.totals.accepted as f64;
    assert_eq!((refused + accepted, report.lost()), (1000.0, 0));
    let expected: [(&str, &[&str], f64); 8] = [
        ("smpp_server_submit_sm_total", &["customer_id=\"acme\""], 1000.0),
        ("smpp_gateway_submit_sm_answered_total", &["acme", "success"], accepted),
        ("smpp_gateway_submit_sm_answered_total", &["acme", "failure"], refused),
        ("smpp_client_submit_sm_total", &["vendor_id=\"north\"", "status=\"success\""], accepted),
        ("smpp_client_submit_sm_total", &["vendor_id=\"north\"", "status=\"failure\""], refused),
        ("smpp_client_dlr_received_total", &["north", "delivered"], accepted),
        ("dlr_tracking_hits_total", &[], accepted),
        ("sms_received_per_customer", &["acme"], accepted),
    ];
    for (name, labels, value) in expected {
        gateway.wait_for_metric(name, labels, |found| found == value);
    }
    gateway.end_well();
}

fn metrics_have_the_names_that_the_platform_knows(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    clean_load(gateway.address(), &["--count", "10"]);
    for name in [
        "smpp_server_active_sessions_total",
        "smpp_server_bind_requests_total",
        "smpp_server_submit_sm_total",
        "smpp_client_connections_total",
        "smpp_client_submit_sm_total",
        "smpp_client_dlr_received_total",
        "smpp_client_throughput_current",
        "message_queue_depth",
        "dlr_tracking_hits_total",
        "rate_limit_exceeded_total",
        "sms_sent_per_customer",
        "sms_received_per_customer",
        "sms_cost_per_customer",
    ] {
        gateway.metric(name, &[]);
    }
    // The control port has them too.
    assert!(gateway.get("/metrics").1.contains("# TYPE smpp_server_submit_sm_total counter"));
    assert_eq!(gateway.try_get(gateway.ports.metrics, "/health", "").unwrap().0, 404);
    gateway.end_well();
}

fn a_vendor_that_keeps_failing_is_told_in_health_and_log(shards: Shards) {
    let gateway =
        Setup::new(shards).customer("acme", "").vendor("north", free_address(), "binds = 5").start_without_vendors();
    gateway.log.wait_for(1, &["\"ERROR\"", "vendor keeps failing", "north"]);
    let health = crate::harness::ask_until("a degraded vendor", || {
        let health: Value = serde_json::from_str(&gateway.get("/health").1).unwrap();
        (health["status"] == "degraded").then_some(health)
    });
    assert_eq!(health["degraded"][0]["name"], "north");
    gateway.end_well();
}

fn a_token_guards_what_tells_names(shards: Shards) {
    let gateway = Setup::new(shards).control("token = \"abc123\"").customer("acme", "").start_without_vendors();
    let get = |path: &str, headers: &str| gateway.try_get(gateway.ports.control, path, headers).unwrap();
    assert_eq!(get("/metrics", "").0, 401);
    assert_eq!(get("/metrics", "Authorization: Bearer abc124\r\n").0, 401);
    assert_eq!(get("/metrics", "Authorization: Bearer abc123\r\n").0, 200);
    let (status, open) = get("/health", "");
    assert!(status == 200 && !open.contains("node_id"), "{open}");
    assert!(get("/health", "Authorization: Bearer abc123\r\n").1.contains("\"node_id\":\"test\""));
    gateway.end_well();
}

fn other_paths_and_methods_are_refused(shards: Shards) {
    use std::io::{Read, Write};
    let gateway = Setup::new(shards).customer("acme", "").start_without_vendors();
    assert_eq!(gateway.get("/nowhere").0, 404);
    assert_eq!(gateway.get("/api/v1/nowhere").0, 404);
    let mut stream = std::net::TcpStream::connect(gateway.ports.control).unwrap();
    stream.write_all(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    gateway.end_well();
}
