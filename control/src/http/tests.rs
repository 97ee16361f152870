//! The ports over real sockets: paths, methods, token, probes, bounds. What each call answers is in `tests/`.

mod calls;
mod traces;
mod vendor_changes;

use super::{AtomicBool, SILENCE_MAX, Semaphore, Silent, VecDeque, place};
use crate::attachments::Attachments;
use crate::control::tests::{Bench, exchange};
use crate::recovery::RecoveryProgress;
use serde_json::Value;
use smpp_shards::report::JournalReport;
use smpp_shards::{
    ConnectFailure, ConnectStep, CustomerId, EndReason, Event, LinkId, Report, ShardId, VendorCounters, VendorId,
    VendorState,
};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

const TOKEN: &str = "token = \"opensesame\"";

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

fn parsed(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

impl Bench {
    fn ask(&self, request_line: &str, headers: &str) -> Answer {
        let request = format!("{request_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        parsed(&exchange(self.control.control_address(), &request))
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, body)
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        parsed(&exchange(self.control.control_address(), &request))
    }

    fn ask_metrics_port(&self, request_line: &str) -> Answer {
        let request = format!("{request_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        parsed(&exchange(self.control.metrics_address(), &request))
    }
}

#[test]
fn health_says_alive_and_names_what_is_degraded() {
    let bench = Bench::start("");
    let answer = bench.ask("GET /health", "");
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
    let value = answer.json();
    assert_eq!(
        (&value["success"], &value["status"], &value["phase"]),
        (&true.into(), &"degraded".into(), &"starting".into())
    );
    assert_eq!(value["degraded"][0]["part"], "shard");
    bench.report(VendorState::Connecting, false);
    let value = bench.ask("GET /health", "").json();
    assert_eq!(value["degraded"][0]["name"], "north");
    assert_eq!(value["degraded"][0]["reason"], "is not bound; 5 failures in a row");
    assert_eq!(value["shards"][0]["snapshot_version"], 1);
    assert_eq!(value["version"], env!("CARGO_PKG_VERSION"));
    assert!(value["uptime_seconds"].is_u64() && value["started_at"].is_string());
}

#[test]
fn health_tells_what_went_wrong_with_a_vendor_last() {
    let bench = Bench::start("");
    let refused = ConnectFailure { step: ConnectStep::Tcp, local: None, reason: "connection refused".into() };
    let (vendor, link) = (VendorId(0), LinkId(0));
    let events = [
        Event::LinkDown {
            vendor,
            link,
            local: None,
            reason: EndReason::BindUnanswered,
            again_ms: Some(1),
            unanswered: 0,
        },
        Event::LinkConnectFailed { vendor, link, failure: refused, again_ms: 1 },
    ];
    events.into_iter().for_each(|event| bench.sender.event(ShardId(0), event));
    let last_end = Some(EndReason::BindUnanswered);
    let counters =
        VendorCounters { state: VendorState::Connecting, failures_in_a_row: 2, last_end, ..VendorCounters::default() };
    bench.take(Report { snapshot_version: 1, vendors: vec![counters], ..Report::default() });
    let health = bench.ask("GET /health", "").json();
    let reason = "is not bound; 2 failures in a row; last: tcp: connection refused";
    assert_eq!(health["degraded"][0]["reason"], reason);
}

#[test]
fn a_journal_that_is_full_is_told_apart_from_one_that_cannot_be_written() {
    for (is_unwritten, is_full, reasons) in [
        (true, false, &["cannot be written"][..]),
        (false, true, &["is full with 4096 octets"]),
        (true, true, &["cannot be written", "is full"]),
        (false, false, &[]),
    ] {
        let bench = Bench::start("");
        let journal = JournalReport { bytes: 4096, is_unwritten, is_full, ..JournalReport::default() };
        bench.take(Report { journal: Some(journal), ..Report::default() });
        let health = bench.ask("GET /health", "").json();
        let told = health["degraded"].as_array().unwrap().iter().filter(|it| it["part"] == "journal");
        let told: Vec<&str> = told.map(|it| it["reason"].as_str().unwrap()).collect();
        assert_eq!(told.len(), reasons.len(), "{told:?}");
        assert!(told.iter().zip(reasons).all(|(told, reason)| told.starts_with(reason)), "{told:?}");
        let metrics = bench.ask("GET /metrics", "").body;
        let line = format!("smpp_gateway_journal_full{{shard=\"0\"}} {}\n", u8::from(is_full));
        assert!(metrics.contains(&line), "{metrics}");
    }
}

#[test]
fn while_a_journal_is_taken_over_the_probes_tell_how_far_that_is_and_nothing_goes_in() {
    let progress = Arc::new(RecoveryProgress::new(3, 3_000, 1));
    let attachments = Attachments { recovery: Some(Arc::clone(&progress)), ..Attachments::default() };
    let bench = Bench::start_attached("", attachments);
    progress.read(1_000, 40);
    progress.read(1_500, 70);
    progress.recorded(0, 12);
    progress.recorded(1, 7);
    let health = bench.ask("GET /health", "").json();
    assert_eq!((&health["status"], &health["phase"]), (&"ok".into(), &"recovering".into()));
    let expected = serde_json::json!({
        "segments": 3, "segments_read": 2, "bytes": 3_000, "bytes_read": 2_500, "entries_live": 70, "entries_recorded": 12,
    });
    assert_eq!(health["recovery"], expected);
    progress.hold_up(0, true);
    let health = bench.ask("GET /health", "").json();
    assert_eq!((&health["status"], &health["degraded"][0]["part"]), (&"degraded".into(), &"journal".into()));
    assert!(bench.ask("GET /metrics", "").body.contains("smpp_gateway_journal_failing{shard=\"0\"} 1\n"));
    progress.hold_up(0, false);
    assert_eq!(bench.ask("GET /health", "").json()["status"], "ok");
    let ready = bench.ask("GET /ready", "");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("journal"), "{}", ready.body);
    let metrics = bench.ask("GET /metrics", "").body;
    for line in [
        "smpp_gateway_recovering 1\n",
        "smpp_gateway_recovery_bytes 3000\n",
        "smpp_gateway_recovery_read_bytes 2500\n",
        "smpp_gateway_recovery_entries 70\n",
        "smpp_gateway_recovery_recorded_entries 12\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let message =
        r#"{"from": "ACME", "to": "15551234567", "content": "x", "dlr_requested": false, "customer_id": "acme"}"#;
    let refused = bench.post("/api/v1/messages", message);
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &"not_ready".into()));
    bench.control.fix_homes(&[(CustomerId(0), ShardId(0))]);
    progress.end();
    bench.report(VendorState::Bound, false);
    let health = bench.ask("GET /health", "").json();
    assert_eq!((&health["phase"], health.get("recovery")), (&"accepting".into(), None));
    assert_eq!(bench.ask("GET /ready", "").status, 200);
    assert!(bench.ask("GET /metrics", "").body.contains("smpp_gateway_recovering 0\n"));
}

#[test]
fn ready_follows_the_vendors_and_the_way_down() {
    let bench = Bench::start("");
    assert_eq!(bench.ask("GET /ready", "").status, 503);
    bench.report(VendorState::Connecting, false);
    let answer = bench.ask("GET /ready", "");
    assert_eq!((answer.status, &answer.json()["error"]["message"]), (503, &"No vendor is bound.".into()));
    bench.report(VendorState::Bound, false);
    let answer = bench.ask("GET /ready", "");
    assert_eq!((answer.status, &answer.json()["ready"]), (200, &true.into()));
    bench.control.begin_drain();
    assert_eq!(bench.ask("GET /ready", "").status, 503);
}

#[test]
fn ready_may_do_without_a_vendor() {
    let bench = Bench::start("ready_requires_vendor = false");
    assert_eq!(bench.ask("GET /ready", "").status, 503);
    bench.report(VendorState::Connecting, false);
    assert_eq!(bench.ask("GET /ready", "").status, 200);
}

#[test]
fn metrics_are_on_both_ports() {
    let bench = Bench::start("");
    for answer in [bench.ask("GET /metrics", ""), bench.ask_metrics_port("GET /metrics")] {
        assert_eq!(answer.status, 200);
        assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
        assert!(answer.body.contains("# TYPE smpp_server_bind_requests_total counter\n"));
    }
}

#[test]
fn other_paths_and_methods_are_refused_in_json() {
    let bench = Bench::start("");
    for (request_line, status, code, allow) in [
        ("GET /nowhere", 404, "not_found", None),
        ("GET /api/v1/vendors/", 404, "not_found", None),
        ("GET /health/", 404, "not_found", None),
        ("POST /nowhere", 404, "not_found", None),
        ("POST /health", 405, "method_not_allowed", Some("allow: get, head\r\n")),
        ("DELETE /metrics", 405, "method_not_allowed", Some("allow: get, head\r\n")),
        ("OPTIONS /api/v1/messages", 405, "method_not_allowed", Some("allow: post\r\n")),
        ("BREW /api/v1/vendors", 405, "method_not_allowed", Some("allow: get, head, post\r\n")),
        ("GET /api/v1/vendors/north", 405, "method_not_allowed", Some("allow: put, patch, delete\r\n")),
        ("HEAD /api/v1/admin/reload", 405, "", Some("allow: post\r\n")),
    ] {
        let answer = bench.ask(request_line, "Content-Length: 0\r\n");
        assert_eq!(answer.status, status, "{request_line}");
        assert_eq!(
            allow.map(|allow| answer.head.contains(allow)),
            allow.map(|_| true),
            "{request_line}: {}",
            answer.head
        );
        if !code.is_empty() {
            let value = answer.json();
            assert_eq!((&value["success"], &value["error"]["code"]), (&false.into(), &code.into()), "{request_line}");
            assert!(value["error"]["message"].as_str().is_some_and(|it| it.ends_with('.')), "{request_line}");
        }
    }
    assert_eq!(bench.ask_metrics_port("GET /health").status, 404);
    assert_eq!(bench.ask_metrics_port("POST /metrics").status, 405);
    let head = bench.ask("HEAD /api/v1/vendors", "");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(bench.ask("GET /health?verbose=1", "").status, 200);
}

#[test]
fn a_token_is_wanted_everywhere_but_for_probes_and_prometheus() {
    let bench = Bench::start(TOKEN);
    bench.report(VendorState::Bound, false);
    for headers in
        ["", "Authorization: Bearer opensesam\r\n", "Authorization: Basic opensesame\r\n", "Authorization: B\r\n"]
    {
        for path in ["/metrics", "/nowhere", "/api/v1/vendors", "/api/v1/openapi.json"] {
            let answer = bench.ask(&format!("GET {path}"), headers);
            assert_eq!((answer.status, &answer.json()["error"]["code"]), (401, &"unauthorized".into()), "{headers}");
            assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        }
    }
    for headers in ["Authorization: Bearer opensesame\r\n", "authorization: bearer  opensesame\r\n"] {
        assert_eq!(bench.ask("GET /metrics", headers).status, 200, "{headers}");
        assert_eq!(bench.ask("GET /nowhere", headers).status, 404, "{headers}");
    }
    assert_eq!(bench.ask("GET /ready", "").status, 200);
    assert_eq!(bench.ask("GET /", "").status, 200, "the page holds nothing but itself");
    assert_eq!(bench.ask_metrics_port("GET /metrics").status, 200);
}

#[test]
fn without_the_token_health_names_nothing() {
    let bench = Bench::start(TOKEN);
    bench.report(VendorState::Connecting, false);
    let answer = bench.ask("GET /health", "");
    assert_eq!((answer.status, &answer.json()["status"]), (200, &"degraded".into()));
    assert!(!answer.body.contains("north"), "{}", answer.body);
    assert!(bench.ask("GET /health", "Authorization: Bearer opensesame\r\n").body.contains("north"));
}

#[test]
fn what_is_too_large_is_refused() {
    let bench = Bench::start("");
    let answer = bench.ask("POST /api/v1/admin/reload", "Content-Length: 10000000\r\n");
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &"body_too_large".into()));
    assert_eq!(bench.ask("GET /health", &format!("X: {}\r\n", "x".repeat(40_000))).status, 431);
    assert_eq!(bench.ask("GET /health", &"X: y\r\n".repeat(100)).status, 431);
}

#[test]
fn without_a_token_a_page_of_another_site_changes_nothing() {
    let bench = Bench::start("");
    let ask = |request: &str, headers: &str| {
        let answer = bench.ask(request, headers);
        (answer.status, answer.json()["error"]["code"].as_str().map(str::to_owned))
    };
    let refused = (403, Some("cross_site".to_owned()));
    let reload = "POST /api/v1/admin/reload";
    assert_eq!(ask(reload, "Sec-Fetch-Site: cross-site\r\n"), refused);
    assert_eq!(ask(reload, "Origin: http://elsewhere.example\r\n"), refused);
    assert_eq!(ask(reload, "Origin: null\r\n"), refused);
    let own = ask(reload, "Origin: http://x\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(own, ask(reload, ""));
    assert_ne!(own, refused);
    assert_eq!(ask("GET /health", "Origin: http://elsewhere.example\r\n").0, 200);
    let guarded = Bench::start(TOKEN);
    let answer = guarded.ask(reload, "Authorization: Bearer opensesame\r\nOrigin: http://elsewhere.example\r\n");
    assert_ne!(answer.status, 403);
}

#[test]
fn a_body_is_read_within_its_bounds() {
    let bench = Bench::start("");
    let post = |headers: &str, body: &str| {
        let request = format!("POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}");
        let answer = parsed(&exchange(bench.control.control_address(), &request));
        (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
    };
    let json = "Content-Type: application/json; charset=utf-8\r\n";
    let of = |status, code: &str| (status, code.to_owned());
    assert_eq!(post("", ""), of(400, "no_body"));
    assert_eq!(post("Content-Length: 2\r\n", "{}"), of(415, "not_json"));
    assert_eq!(post("Content-Length: 2\r\nContent-Type: text/plain\r\n", "{}"), of(415, "not_json"));
    assert_eq!(post(&format!("Content-Length: 5\r\n{json}"), "{\"to\""), of(400, "malformed_json"));
    assert_eq!(post(&format!("Content-Length: 2\r\n{json}"), "{}"), of(400, "invalid_body"));
    let chunk = format!("10000\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(0x10000));
    assert_eq!(post(&format!("Transfer-Encoding: chunked\r\n{json}"), &chunk), of(413, "body_too_large"));
    assert_eq!(post(&format!("Content-Length: 9\r\n{json}"), "{"), of(408, "body_too_slow"));
}

#[test]
fn malformed_json_is_told_with_its_place() {
    let bench = Bench::start("");
    let answer = bench.post("/api/v1/messages", "{\"to\": \"1\",\n \"from\" 2}");
    let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("line 2 column 9"), "{message}");
}

#[test]
fn garbage_and_silent_clients_leave_the_port_quick() {
    let bench = Bench::start("");
    let address = bench.control.control_address();
    let silent: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut garbage = TcpStream::connect(address).unwrap();
    garbage.write_all(b"\x00\x00\x00\x10\x00\x00\x00\x15\r\n\r\n").unwrap();
    garbage.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = Vec::new();
    garbage.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", answer.escape_ascii());
    assert_eq!(bench.ask("GET /health", "").status, 200);
    drop(silent);
}

#[test]
fn who_asks_nothing_makes_room_and_who_has_asked_does_not() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        // Whoever has the only place never gives it up.
        for (has_asked, patience, is_given) in [(false, 600 * SILENCE_MAX, true), (true, 2 * SILENCE_MAX, false)] {
            let places = Arc::new(Semaphore::new(1));
            let taken = Arc::clone(&places).acquire_owned().await.unwrap();
            let connection = tokio::spawn(async move {
                std::future::pending::<()>().await;
                drop(taken);
            });
            let (has_asked, connection) = (Arc::new(AtomicBool::new(has_asked)), connection.abort_handle());
            let mut silent = VecDeque::from([Silent { since: tokio::time::Instant::now(), has_asked, connection }]);
            let given = tokio::time::timeout(patience, place(&places, &mut silent)).await;
            assert_eq!(given.is_ok_and(|place| place.is_ok()), is_given);
        }
    });
}
