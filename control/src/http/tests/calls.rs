//! What the calls answer, with a pretended shard, store and reloader behind them.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use smpp_pdu::{CommandStatus, ShortMessage};
use smpp_shards::message_id::{IdStyle, MessageId};
use smpp_shards::{Command, Conn, CustomerId, Reply, SessionFacts, SessionName, VendorId, VendorState};

use super::*;
use crate::attachments::Attachments;
use crate::channel::ToShard;
use crate::live::{ReloadError, ReloadHandle, Reloaded, RowFault};
use crate::store_lookup::{Lookup, MessageLookup, StoredMessage};

const ID: &str = "018bcfe5-6800-73cd-8040-0dd7044c3cd8";
const MESSAGE: &str = r#"{"to": "+15551234567", "from": "ACME", "content": "hello", "customer_id": "acme"}"#;

/// Asks on a thread of its own, while this one plays the shard.
fn with_shard(
    bench: &Bench,
    ask: impl FnOnce(&Bench) -> Answer + Send,
    answers: impl FnOnce(Command) -> Vec<Reply>,
) -> Answer {
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(bench));
        bench.answer(answers);
        asking.join().unwrap()
    })
}

fn accepted(part: u16) -> Reply {
    Reply::Submitted { part, result: Ok((MessageId(0xABC + u128::from(part)), IdStyle::Hex)) }
}

fn refused(part: u16, status: CommandStatus) -> Reply {
    Reply::Submitted { part, result: Err(status) }
}

#[test]
fn vendors_are_listed_in_the_platform_s_shape() {
    let bench = Bench::start("");
    bench.report(VendorState::Bound, false);
    let list = bench.ask("GET /api/v1/vendors", "").json();
    assert_eq!((&list["success"], &list["count"], &list["next_cursor"]), (&true.into(), &1.into(), &Value::Null));
    let vendor = &list["vendors"]["north"];
    assert_eq!((&vendor["vendor_id"], &vendor["status"]), (&"north".into(), &"connected".into()));
    for key in [
        "vendor_name",
        "connected_at",
        "last_error",
        "messages_sent",
        "messages_success",
        "messages_failed",
        "dlrs_received",
        "throughput",
        "throughput_current",
        "window_size",
        "error_rate",
        "queue_depth",
    ] {
        assert!(vendor.get(key).is_some(), "{key}: {vendor}");
    }
    assert_eq!(bench.ask("GET /api/v1/vendors?search=NOR", "").json()["count"], 1);
    assert_eq!(bench.ask("GET /api/v1/vendors?search=south", "").json()["count"], 0);
    assert_eq!(bench.ask("GET /api/v1/vendors?cursor=1", "").json()["count"], 0);
    assert_eq!(bench.ask("GET /api/v1/vendors?limit=1001", "").status, 400);
    let status = bench.ask("GET /api/v1/vendors/north/status", "").json();
    assert_eq!(status["detail"]["failures_in_a_row"], 5);
    assert_eq!(bench.ask("GET /api/v1/vendors/nobody/status", "").status, 404);
}

#[test]
fn customers_and_figures_are_told_from_the_reports() {
    let bench = Bench::start("");
    bench.report(VendorState::Bound, false);
    let customers = bench.ask("GET /api/v1/customers?order=activity&search=ac", "").json();
    assert_eq!((&customers["count"], &customers["total"]), (&1.into(), &1.into()));
    assert_eq!(customers["customers"][0]["customer_id"], "acme");
    let stats = bench.ask("GET /api/v1/stats", "").json();
    assert_eq!((&stats["phase"], &stats["vendors"]["connected"]), (&"accepting".into(), &1.into()));
    assert!(stats["process"]["resident_bytes"].as_u64().is_some_and(|bytes| bytes > 100_000));
}

#[test]
fn a_vendor_is_reconnected_by_its_shard() {
    let bench = Bench::start("");
    let answer = with_shard(
        &bench,
        |bench| bench.post("/api/v1/vendors/north/reconnect", ""),
        |command| {
            assert_eq!(command, Command::Reconnect { vendor: VendorId(0) });
            vec![Reply::Reconnecting { unbound: 2, hastened: 1, busy: 0 }]
        },
    );
    assert_eq!((answer.status, &answer.json()["unbound"]), (200, &2.into()));
    assert_eq!(bench.post("/api/v1/vendors/nobody/reconnect", "").status, 404);
}

#[test]
fn a_shard_that_does_not_answer_is_told_as_such() {
    let bench = Bench::start("");
    let answer = with_shard(&bench, |bench| bench.ask("GET /api/v1/sessions", ""), |_| Vec::new());
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &"shard_silent".into()));
}

#[test]
fn sessions_are_listed_and_ended_by_their_ids() {
    let bench = Bench::start("");
    let name = SessionName { conn: Conn(17), generation: 3 };
    let facts = SessionFacts {
        name,
        customer: CustomerId(0),
        bind: "bind_transceiver",
        interface_version: 0x34,
        peer: "192.0.2.1".parse().unwrap(),
        state: "bound",
        bound_unix_ms: 0,
        silent_ms: 5,
        unanswered: 1,
        window: 100,
        deliveries_unanswered: 0,
        is_reading: true,
    };
    let path = "GET /api/v1/sessions?limit=1&customer_id=acme";
    let list = with_shard(
        &bench,
        |bench| bench.ask(path, ""),
        |command| {
            assert_eq!(command, Command::ListSessions { customer: Some(CustomerId(0)), from: 0, limit: 1 });
            vec![Reply::Sessions { sessions: vec![facts], next: Some(18) }]
        },
    );
    let list = list.json();
    assert_eq!((&list["count"], &list["next_cursor"]), (&1.into(), &"0-18".into()));
    let session = &list["sessions"][0];
    assert_eq!((&session["session_id"], &session["peer"]), (&"0-17-3".into(), &"192.0.2.1".into()));
    assert_eq!(
        (&session["interface_version"], &session["bound_at"]),
        (&"0x34".into(), &"1970-01-01T00:00:00.000Z".into())
    );
    for (is_there, status) in [(true, 200), (false, 404)] {
        let ended = with_shard(
            &bench,
            |bench| bench.send("DELETE", "/api/v1/sessions/0-17-3", ""),
            |command| {
                assert_eq!(command, Command::EndSession { session: name });
                vec![Reply::Ended(is_there)]
            },
        );
        assert_eq!(ended.status, status);
    }
    assert_eq!(bench.send("DELETE", "/api/v1/sessions/9-17-3", "").status, 404);
    assert_eq!(bench.ask("GET /api/v1/sessions?cursor=9-0", "").json()["count"], 0);
    assert_eq!(bench.ask("GET /api/v1/sessions?cursor=x", "").status, 400);
    assert_eq!(bench.ask("GET /api/v1/sessions?customer_id=nobody", "").status, 404);
}

#[test]
fn a_message_is_encoded_and_accepted_by_its_customer_s_shard() {
    let bench = Bench::start("");
    let answer = with_shard(
        &bench,
        |bench| bench.post("/api/v1/messages", MESSAGE),
        |command| {
            let Command::Submit { customer: CustomerId(0), parts } = command else { panic!("{command:?}") };
            let message = ShortMessage::decode(&parts[0]).unwrap();
            assert_eq!((message.short_message, message.registered_delivery), (&b"hello"[..], 0));
            vec![accepted(0)]
        },
    );
    let value = answer.json();
    assert_eq!((answer.status, &value["segments"], &value["encoding"]), (202, &1.into(), &"gsm7".into()));
    assert_eq!(value["message_id"], "00000000-0000-0000-0000-000000000abc");
    assert_eq!(value["smpp_message_ids"], json!(["abc"]));
}

#[test]
fn a_refusal_is_an_http_error_that_names_the_command_status() {
    let bench = Bench::start("");
    for (status, http, code) in [
        (CommandStatus::ESME_RINVSRCADR, 403, "source_not_allowed"),
        (CommandStatus::ESME_RINVDSTADR, 422, "no_route"),
        (CommandStatus::ESME_RTHROTTLED, 429, "throttled"),
        (CommandStatus::ESME_RMSGQFUL, 503, "queue_full"),
        (CommandStatus::ESME_RSYSERR, 503, "unavailable"),
        (CommandStatus::ESME_RUNKNOWNERR, 504, "outcome_unknown"),
        (CommandStatus::ESME_RINVMSGLEN, 422, "refused"),
    ] {
        let answer = with_shard(&bench, |bench| bench.post("/api/v1/messages", MESSAGE), |_| vec![refused(0, status)]);
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["code"]), (http, &code.into()));
        assert_eq!(error["command_status"], status.name().unwrap());
        assert!(error["message"].as_str().is_some_and(|it| it.contains(status.name().unwrap())), "{error}");
    }
}

#[test]
fn the_parts_that_were_accepted_before_one_was_refused_are_named() {
    let bench = Bench::start("");
    let long = MESSAGE.replace("hello", &"x".repeat(400));
    let answer = with_shard(
        &bench,
        |bench| bench.post("/api/v1/messages", &long),
        |command| {
            let Command::Submit { parts, .. } = command else { panic!("{command:?}") };
            assert_eq!(parts.len(), 3);
            let throttled = CommandStatus::ESME_RTHROTTLED;
            vec![refused(1, throttled), refused(2, throttled), accepted(0)]
        },
    );
    assert_eq!(answer.status, 429);
    assert_eq!(answer.json()["error"]["accepted_message_ids"], json!(["00000000-0000-0000-0000-000000000abc"]));
}

#[test]
fn a_message_that_cannot_be_names_the_field() {
    let bench = Bench::start("");
    for (body, status, field) in [
        (MESSAGE.replace("+15551234567", "someone"), 400, "to"),
        (MESSAGE.replace("ACME", "much too long a name"), 400, "from"),
        (MESSAGE.replace("hello", ""), 400, "content"),
    ] {
        let answer = bench.post("/api/v1/messages", &body);
        assert_eq!((answer.status, &answer.json()["error"]["fields"][0]["field"]), (status, &field.into()));
    }
    assert_eq!(bench.post("/api/v1/messages", &MESSAGE.replace("acme", "nobody")).status, 404);
    assert_eq!(bench.post("/api/v1/messages", &MESSAGE.replace("content", "text")).status, 400);
}

/// Knows one message; another id is unknown, and a third is more than it can tell.
struct Store;

impl MessageLookup for Store {
    fn message<'a>(&'a self, id: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            match id {
                ID => Ok(Some(StoredMessage { id: id.into(), status: "delivered".into(), ..StoredMessage::default() })),
                "00000000-0000-0000-0000-000000000000" => Err("The store is away.".into()),
                _ => Ok(None),
            }
        })
    }
}

#[test]
fn messages_and_receipts_are_looked_up_in_the_store() {
    let attachments = Attachments { messages: Some(Arc::new(Store)), ..Attachments::default() };
    let bench = Bench::start_attached("", attachments);
    let found = bench.ask(&format!("GET /api/v1/messages/{}", ID.to_uppercase()), "").json();
    assert_eq!((&found["message"]["id"], &found["message"]["status"]), (&ID.into(), &"delivered".into()));
    let receipt = bench.ask(&format!("GET /api/v1/messages/{ID}/dlr"), "").json();
    assert_eq!((&receipt["message_id"], &receipt["dlr_status"]), (&ID.into(), &Value::Null));
    for (id, status, code) in [
        ("00000000-0000-0000-0000-000000000001", 404, "not_found"),
        ("00000000-0000-0000-0000-000000000000", 503, "store_unavailable"),
        ("something", 404, "not_found"),
    ] {
        let answer = bench.ask(&format!("GET /api/v1/messages/{id}"), "");
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &code.into()), "{id}");
    }
}

#[test]
fn without_a_store_look_ups_say_so() {
    let bench = Bench::start("");
    let answer = bench.ask(&format!("GET /api/v1/messages/{ID}"), "");
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &"store_unavailable".into()));
}

#[test]
fn a_reload_tells_version_and_faults() {
    let (handle, mut requests) = ReloadHandle::new();
    let reloader = std::thread::spawn(move || {
        let fault = RowFault { table: "vendors", key: "north".into(), column: "port".into(), reason: "is 0".into() };
        let reloaded = Reloaded { version: 7, is_changed: true, faults: vec![fault] };
        for outcome in [Ok(reloaded), Err(ReloadError::Source("the file is gone".into()))] {
            requests.blocking_recv().unwrap().outcome.send(outcome).unwrap();
        }
    });
    let bench = Bench::start_attached("", Attachments { reload: Some(handle), ..Attachments::default() });
    let done = bench.post("/api/v1/admin/reload-vendors", "").json();
    assert_eq!((&done["version"], &done["faults"][0]["column"]), (&7.into(), &"port".into()));
    let failed = bench.post("/api/v1/admin/reload", "");
    assert_eq!((failed.status, &failed.json()["error"]["code"]), (502, &"source_unreadable".into()));
    reloader.join().unwrap();
    let stopping = bench.post("/api/v1/admin/reload", "");
    assert_eq!((stopping.status, &stopping.json()["error"]["code"]), (503, &"stopping".into()));
}

#[test]
fn log_levels_are_set_for_one_component_or_all() {
    let bench = Bench::start("");
    let put = |body: &str| bench.send("PUT", "/api/v1/admin/log-level", body);
    assert_eq!(put(r#"{"component": "dlr", "level": "error"}"#).json()["levels"]["dlr"], "error");
    let levels = bench.ask("GET /api/v1/admin/log-level", "").json();
    assert_eq!((&levels["levels"]["dlr"], &levels["levels"]["journal"]), (&"error".into(), &"info".into()));
    assert_eq!(put(r#"{"level": "debug"}"#).json()["levels"]["dlr"], "debug");
    assert_eq!(put(r#"{"component": "nothing", "level": "info"}"#).status, 400);
    assert_eq!(put(r#"{"level": "loud"}"#).status, 400);
}

#[test]
fn a_route_is_explained_without_sending_anything() {
    let bench = Bench::start("");
    let body = r#"{"from": "ACME", "to": "15551234567", "customer_id": "acme"}"#;
    let found = bench.post("/api/v1/routes/test", body).json();
    assert_eq!((&found["vendor_id"], &found["rules_total"]), (&Value::Null, &0.into()));
    assert_eq!(found["checks"][1]["passed"], false, "its list of senders is empty");
    assert!(bench.verdicts.try_recv().is_err());
}

#[test]
fn calls_that_cause_something_leave_a_line_each() {
    let bench = Bench::start(TOKEN);
    let put = "PUT /api/v1/admin/log-level HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let body = "Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"level\":\"error\"}";
    let address = bench.control.control_address();
    exchange(address, &format!("{put}Authorization: Bearer opensesame\r\n{body}"));
    exchange(address, &format!("{put}Authorization: Bearer wrong\r\n{body}"));
    let Bench { control, page, .. } = bench;
    assert!(control.stop());
    let lines = page.lines();
    let audit: Vec<_> = lines.iter().filter(|line| line["component"] == "control").collect();
    // The second one is told at a level that the first has switched off.
    assert_eq!(audit.len(), 1, "{lines:?}");
    let line = audit[0];
    assert_eq!((&line["who"], &line["method"], &line["status"]), (&"token".into(), &"PUT".into(), &200.into()));
    assert_eq!(line["path"], "/api/v1/admin/log-level");
    assert!(line["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")));
    assert!(!lines.iter().any(|line| line.to_string().contains("opensesame")));
}

#[test]
fn a_call_whose_caller_goes_away_leaves_its_line() {
    let bench = Bench::start("");
    let mut caller = TcpStream::connect(bench.control.control_address()).unwrap();
    write!(
        caller,
        "POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{MESSAGE}",
        MESSAGE.len()
    )
    .unwrap();
    // The message is at the shard, and nobody has answered the caller.
    assert!(matches!(bench.verdicts.recv_timeout(Duration::from_secs(10)), Ok(ToShard::Command(..))));
    drop(caller);
    let is_told = || {
        let lines = bench.page.lines();
        let called = lines.into_iter().find(|line| line["message"] == "control port called")?;
        Some((called["path"].clone(), called["reason"].clone(), called.get("status").cloned()))
    };
    let end = Instant::now() + Duration::from_secs(10);
    while is_told().is_none() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    let reason = "the connection ended before the answer";
    assert_eq!(is_told(), Some(("/api/v1/messages".into(), reason.into(), None)));
}

#[test]
fn the_document_names_every_path_and_its_own_schemas() {
    let bench = Bench::start("");
    let document = bench.ask("GET /api/v1/openapi.json", "").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/api/v1/vendors/{vendor_id}/test") && paths.len() >= 20, "{}", paths.len());
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let name = reference.split('"').next().unwrap().strip_prefix("#/components/schemas/").unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[test]
fn the_page_runs_nothing_but_its_own_script() {
    let bench = Bench::start("");
    let first = bench.ask("GET /", "");
    assert!(first.head.contains("content-type: text/html; charset=utf-8"), "{}", first.head);
    let nonce = first.head.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(nonce.len(), 32);
    assert_eq!(first.body.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "script and style");
    assert!(!first.body.contains("http://") && !first.body.contains("https://") && !first.body.contains(" style="));
    assert!(!bench.ask("GET /", "").body.contains(nonce), "each page has its own");
}
