//! Traces as an operator sees them, with the test in the shard's place.

use smpp_shards::trace::{Direction, TraceEnd};
use smpp_shards::{Conn, Reply, SessionName, TraceOrder, TraceTarget, Traced, VendorId};

use serde_json::Value::Null;

use super::*;
use crate::channel::ToShard;
use crate::control::tests::exchange_octets;

const PATH: &str = "/api/v1/sessions/0-17-3/trace";

/// Asks for a trace, while this thread plays the shard.
fn begun(bench: &Bench, body: &str, traced: Option<Traced>) -> (Answer, TraceOrder) {
    begun_at(bench, PATH, body, traced)
}

fn begun_at(bench: &Bench, path: &str, body: &str, traced: Option<Traced>) -> (Answer, TraceOrder) {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| bench.post(path, body));
        let order = match bench.verdicts.recv_timeout(Duration::from_secs(10)).unwrap() {
            ToShard::Trace(ticket, order) => {
                bench.sender.reply(ticket, Reply::Traced(traced));
                *order
            }
            other => panic!("no order: {other:?}"),
        };
        (asking.join().unwrap(), order)
    })
}

fn traced() -> Option<Traced> {
    let (peer, local) = ("192.0.2.1:40000".parse().unwrap(), "192.0.2.2:2775".parse().unwrap());
    Some(Traced { customer: Some(CustomerId(0)), peer, local })
}

/// Head and body of a download.
fn download(bench: &Bench, path: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = exchange_octets(bench.control.control_address(), &request);
    let end = answer.windows(4).position(|octets| octets == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_trace_is_begun_downloaded_while_it_runs_listed_and_ended() {
    let bench = Bench::start("");
    let (answer, mut order) = begun(&bench, r#"{"seconds": 5, "max_bytes": 100000.0}"#, traced());
    assert_eq!(answer.status, 201);
    let expected = serde_json::json!({
        "success": true, "session_id": "0-17-3", "customer_id": "acme", "smpp_system_id": "acme", "vendor_id": null,
        "peer": "192.0.2.1:40000", "local": "192.0.2.2:2775", "began_at": answer.json()["began_at"], "seconds": 5,
        "max_bytes": 100_000, "is_running": true, "ended": null, "pdus": 0, "pdus_dropped": 0, "bytes": 24,
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(
        (order.target, order.millis),
        (TraceTarget::Session(SessionName { conn: Conn(17), generation: 3 }), 5_000)
    );
    order.tap.put(Direction::Received, 1, b"sixteen octets..");
    let (head, file) = download(&bench, PATH);
    assert!(head.contains("content-type: application/vnd.tcpdump.pcap"), "{head}");
    assert!(head.contains("content-disposition: attachment; filename=\"session-0-17-3.pcap\""), "{head}");
    assert_eq!((file.len(), &file[file.len() - 16..]), (24 + 56 + 16, &b"sixteen octets.."[..]));
    order.tap.end(TraceEnd::Session);
    let list = bench.ask("GET /api/v1/traces", "").json();
    let trace = &list["traces"][0];
    assert_eq!((&list["count"], &trace["is_running"], &trace["ended"]), (&1.into(), &false.into(), &"session".into()));
    assert_eq!((&trace["pdus"], &trace["bytes"]), (&1.into(), &file.len().into()));
    assert_eq!(download(&bench, PATH).1, file, "it is kept");
    let ended = bench.send("DELETE", PATH, "");
    assert_eq!((ended.status, &ended.json()["ended"]), (200, &"session".into()));
    for method in ["DELETE", "GET"] {
        assert_eq!(code(&bench.send(method, PATH, "")), (404, "not_found".to_owned()), "{method}");
    }
    assert_eq!(bench.ask("GET /api/v1/traces", "").json()["count"], 0);
}

#[test]
fn without_a_body_a_trace_has_the_usual_bounds() {
    let bench = Bench::start("");
    let (answer, order) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| bench.ask(&format!("POST {PATH}"), "Content-Length: 0\r\n"));
        let Ok(ToShard::Trace(ticket, order)) = bench.verdicts.recv_timeout(Duration::from_secs(10)) else {
            panic!("no order")
        };
        bench.sender.reply(ticket, Reply::Traced(traced()));
        (asking.join().unwrap(), order)
    });
    assert_eq!((answer.status, &answer.json()["seconds"]), (201, &60.into()));
    assert_eq!((&answer.json()["max_bytes"], order.millis), (&1_048_576.into(), 60_000));
}

#[test]
fn what_is_wrong_with_a_trace_is_told() {
    let bench = Bench::start("");
    for (body, field) in [
        (r#"{"seconds": 0}"#, "seconds"),
        (r#"{"seconds": 3601}"#, "seconds"),
        (r#"{"seconds": -1}"#, "seconds"),
        (r#"{"seconds": 1e300}"#, "seconds"),
        (r#"{"max_bytes": 4095}"#, "max_bytes"),
        (r#"{"max_bytes": 16777217}"#, "max_bytes"),
    ] {
        let answer = bench.post(PATH, body);
        assert_eq!(code(&answer), (400, "invalid_field".to_owned()), "{body}");
        assert_eq!(answer.json()["error"]["fields"][0]["field"], field);
    }
    for body in [r#"{"seconds": 1.5}"#, r#"{"seconds": "1"}"#, r#"{"minutes": 1}"#, "[]"] {
        assert_eq!(code(&bench.post(PATH, body)), (400, "invalid_body".to_owned()), "{body}");
    }
    for id in ["nonsense", "9-1-1", "0-1"] {
        let path = format!("/api/v1/sessions/{id}/trace");
        for method in ["POST", "GET", "DELETE"] {
            assert_eq!(code(&bench.send(method, &path, "{}")), (404, "not_found".to_owned()), "{method} {id}");
        }
    }
    let (answer, order) = begun(&bench, "{}", None);
    assert_eq!(code(&answer), (404, "not_found".to_owned()));
    assert!(!order.tap.is_wanted() && bench.ask("GET /api/v1/traces", "").json()["count"] == 0);
}

#[test]
fn a_second_trace_of_a_session_and_too_many_in_all_are_refused() {
    let bench = Bench::start("");
    let _running: Vec<_> = (0..4)
        .map(|number| {
            let (answer, order) = begun_at(&bench, &format!("/api/v1/sessions/0-{number}-0/trace"), "{}", traced());
            assert_eq!(answer.status, 201);
            order
        })
        .collect();
    assert_eq!(code(&bench.post("/api/v1/sessions/0-1-0/trace", "{}")), (409, "trace_running".to_owned()));
    assert_eq!(code(&bench.post(PATH, "{}")), (429, "busy".to_owned()));
    assert_eq!(bench.send("DELETE", "/api/v1/sessions/0-1-0/trace", "").json()["ended"], "stopped");
    assert_eq!(begun(&bench, "{}", traced()).0.status, 201);
}

#[test]
fn a_vendor_s_bind_is_traced_by_the_vendor_s_name() {
    let bench = Bench::start("");
    let path = "/api/v1/vendors/north/trace";
    let of_vendor = traced().map(|traced| Traced { customer: None, ..traced });
    let (answer, mut order) = begun_at(&bench, path, r#"{"bind": 1, "seconds": 5}"#, of_vendor);
    assert_eq!((answer.status, order.target), (201, TraceTarget::Vendor(VendorId(0), 1)));
    let trace = answer.json();
    assert_eq!((&trace["vendor_id"], &trace["session_id"], &trace["customer_id"]), (&"north".into(), &Null, &Null));
    order.tap.put(Direction::Received, 1, b"sixteen octets..");
    let (head, file) = download(&bench, path);
    assert!(head.contains("filename=\"vendor-north.pcap\"") && file.len() == 24 + 56 + 16, "{head}");
    assert_eq!(code(&bench.post(path, "{}")), (409, "trace_running".to_owned()));
    assert_eq!(bench.send("DELETE", path, "").json()["ended"], "stopped");
    assert_eq!(code(&bench.send("DELETE", path, "")), (404, "not_found".to_owned()));
    assert_eq!(code(&begun_at(&bench, path, "{}", None).0), (409, "not_bound".to_owned()));
    let refused = bench.post(path, r#"{"bind": 64}"#);
    assert_eq!(
        (code(&refused), &refused.json()["error"]["fields"][0]["field"]),
        ((400, "invalid_field".to_owned()), &"bind".into())
    );
    for method in ["POST", "GET", "DELETE"] {
        assert_eq!(code(&bench.send(method, "/api/v1/vendors/nobody/trace", "{}")), (404, "not_found".to_owned()));
    }
}

#[test]
fn who_traced_and_who_downloaded_is_in_the_log() {
    let bench = Bench::start("");
    let (_, _order) = begun(&bench, "{}", traced());
    download(&bench, PATH);
    bench.send("DELETE", PATH, "");
    bench.ask("GET /api/v1/traces", "");
    let Bench { control, page, .. } = bench;
    assert!(control.stop());
    let lines = page.lines();
    let calls = lines.iter().filter(|line| line["message"] == "control port called");
    let calls: Vec<_> = calls.map(|line| (line["method"].as_str().unwrap(), line["path"].as_str().unwrap())).collect();
    assert_eq!(calls, [("POST", PATH), ("GET", PATH), ("DELETE", PATH)]);
}

#[test]
fn a_trace_wants_the_token() {
    let bench = Bench::start(TOKEN);
    for request in ["GET /api/v1/traces".to_owned(), format!("GET {PATH}"), format!("POST {PATH}")] {
        assert_eq!(bench.ask(&request, "").status, 401, "{request}");
    }
}
