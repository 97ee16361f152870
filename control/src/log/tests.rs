//! The shape of the lines, what is let through, and that nobody waits for the reader.

use super::*;
use crate::config;
use serde_json::Value;
use smpp_pdu::{CommandId, CommandStatus};
use smpp_shards::trace::Direction;
use smpp_shards::{CloseCause, ConnectFailure, ConnectStep, CustomerId, EndReason, LinkId, PduPeer, VendorId};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn log(&self, level: LogLevel) -> Log {
        Log::to(LogSettings { level }, Box::new(self.clone())).unwrap()
    }

    fn lines(&self, log: &Log) -> Vec<Value> {
        assert!(log.flush(PATIENCE));
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn snapshot() -> Snapshot {
    let text = r#"
        gateway.accept = "relay"
        [[customers]]
        smpp_system_id = "acme"
        account_id = "account-7"
        smpp_password = "secret12"
        [[vendors]]
        instance_name = "north"
        host = "127.0.0.1"
        port = 3601
        password = "gateway1""#;
    config::parse(Path::new("test.toml"), text, &|_| None).unwrap().snapshot(1, 1).unwrap()
}

fn every_event() -> Vec<(Event, &'static str, &'static str)> {
    let (customer, vendor, link) = (CustomerId(0), VendorId(0), LinkId(3));
    let local = Some("127.0.0.1:40000".parse().unwrap());
    let failure = ConnectFailure { step: ConnectStep::Tls, local, reason: "certificate \"expired\"".into() };
    vec![
        (
            Event::SessionBound { customer, peer: PEER, bind: "bind_transceiver", interface_version: 0x34 },
            "INFO",
            "customer bound",
        ),
        (
            Event::BindRejected {
                system_id: "ev\\x00il\"".into(),
                peer: PEER,
                status: CommandStatus::ESME_RINVPASWD,
                reason: "wrong password",
            },
            "WARN",
            "bind rejected",
        ),
        (Event::LobbyClosed { peer: PEER, reason: EndReason::BindTimer }, "WARN", "connection closed before a bind"),
        (Event::SessionClosed { customer, peer: PEER, reason: EndReason::Unbound }, "INFO", "customer's session ended"),
        (
            Event::SessionClosed { customer, peer: PEER, reason: EndReason::Connection(CloseCause::Reset) },
            "WARN",
            "customer's session ended",
        ),
        (Event::LinkBound { vendor, link, local }, "INFO", "vendor bound"),
        (Event::LinkConnectFailed { vendor, link, failure, again_ms: 2_000 }, "WARN", "vendor could not be connected"),
        (
            Event::LinkDown {
                vendor,
                link,
                local,
                reason: EndReason::BindRefused(CommandStatus(0x444)),
                again_ms: None,
                unanswered: 4,
            },
            "WARN",
            "vendor's link is down",
        ),
        (Event::VendorAlert { vendor, failures: 5 }, "ERROR", "vendor keeps failing"),
        (Event::ReceiptUnknown { vendor, message_id: "abc".into() }, "WARN", "receipt matches no message"),
        (
            Event::DeliverRejected { vendor, dest: "4711".into(), status: CommandStatus::ESME_RINVDSTADR },
            "WARN",
            "deliver_sm rejected",
        ),
        (Event::JournalFull { bytes: 64, bytes_max: 60 }, "ERROR", "the journal is full: new messages are refused"),
        (
            Event::JournalHasRoom { bytes: 56, bytes_max: 60 },
            "INFO",
            "the journal has room: new messages are accepted again",
        ),
        (sample(customer, vendor, CommandStatus::ESME_ROK), "INFO", "message sent"),
        (sample(customer, vendor, CommandStatus::ESME_RINVDSTADR), "INFO", "message refused by its vendor"),
    ]
}

/// One message out of so many.
fn sample(customer: CustomerId, vendor: VendorId, status: CommandStatus) -> Event {
    Event::MessageAnswered {
        customer,
        vendor,
        message_id: "018bcfe5-6800-73cd-8040-0dd7044c3cd8".into(),
        source: "ACME".into(),
        dest: "4711".into(),
        segments: 2,
        latency_ms: 31,
        status,
        pdu: [0, 0, 0, 4, 0xAB].into(),
    }
}

#[test]
fn debug_shows_the_pdu() {
    let snapshot = snapshot();
    let page = Page::default();
    let event = sample(CustomerId(0), VendorId(0), CommandStatus::ESME_ROK);
    let log = page.log(LogLevel::Info);
    log.event(ShardId(0), &event, &snapshot);
    assert!(page.lines(&log).iter().all(|line| line["pdu"].is_null()));
    assert!(log.set_level(Some("smpp_client"), LogLevel::Debug));
    log.event(ShardId(0), &event, &snapshot);
    let lines = page.lines(&log);
    let line = lines.last().unwrap();
    assert_eq!(
        (&line["level"], &line["message"], &line["pdu"]),
        (&"DEBUG".into(), &"submit_sm".into(), &"00000004ab".into())
    );
    assert_eq!(line["message_id"], "018bcfe5-6800-73cd-8040-0dd7044c3cd8");
}

#[test]
fn a_pdu_s_line_tells_with_whom_it_is_exchanged_and_which_way() {
    let snapshot = snapshot();
    let page = Page::default();
    let log = page.log(LogLevel::Debug);
    let shown = |direction, peer, command| Event::PduShown {
        direction,
        peer,
        command,
        status: CommandStatus::ESME_ROK,
        sequence_number: 7,
        pdu: [0, 0xAB].into(),
    };
    let (customer, vendor) = (PduPeer::Customer(CustomerId(0)), PduPeer::Vendor(VendorId(0)));
    let (submit, answer) = (CommandId::SUBMIT_SM, CommandId::SUBMIT_SM_RESP);
    for event in [
        shown(Direction::Received, customer, submit),
        shown(Direction::Sent, vendor, submit),
        shown(Direction::Received, vendor, answer),
        shown(Direction::Sent, customer, answer),
    ] {
        log.event(ShardId(1), &event, &snapshot);
    }
    let lines = page.lines(&log);
    assert_eq!(lines.len(), 4);
    for (line, (component, name, who, message, command)) in lines.iter().zip([
        ("smpp_server", "customer_id", "account-7", "PDU received", "submit_sm"),
        ("smpp_client", "vendor_id", "north", "PDU sent", "submit_sm"),
        ("smpp_client", "vendor_id", "north", "PDU received", "submit_sm_resp"),
        ("smpp_server", "customer_id", "account-7", "PDU sent", "submit_sm_resp"),
    ]) {
        for (field, value) in [
            ("level", "DEBUG".into()),
            ("component", component.into()),
            ("message", message.into()),
            (name, who.into()),
            ("command", command.into()),
            ("sequence_number", Value::from(7)),
            ("pdu", "00ab".into()),
        ] {
            assert_eq!(line[field], value, "{line}");
        }
    }
}

#[test]
fn pdus_are_shown_at_debug_of_their_component() {
    let log = Page::default().log(LogLevel::Info);
    assert_eq!(log.shows_pdus(), (false, false));
    assert!(log.set_level(Some("smpp_server"), LogLevel::Debug));
    assert_eq!(log.shows_pdus(), (true, false));
    assert!(log.set_level(None, LogLevel::Debug));
    assert_eq!(log.shows_pdus(), (true, true));
}

#[test]
fn a_message_s_line_has_the_fields_of_the_contract() {
    let snapshot = snapshot();
    let page = Page::default();
    let log = page.log(LogLevel::Info);
    log.event(ShardId(0), &sample(CustomerId(0), VendorId(0), CommandStatus::ESME_ROK), &snapshot);
    let line = &page.lines(&log)[0];
    for (field, value) in [
        ("component", "smpp_client".into()),
        ("message_id", "018bcfe5-6800-73cd-8040-0dd7044c3cd8".into()),
        ("source", "ACME".into()),
        ("dest", "4711".into()),
        ("segments", serde_json::Value::from(2)),
        ("latency_ms", 31.into()),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert_eq!((&line["customer_id"], &line["vendor_id"]), (&"account-7".into(), &"north".into()));
}

#[test]
fn every_event_is_one_object_with_the_promised_fields() {
    let (page, snapshot) = (Page::default(), snapshot());
    let log = page.log(LogLevel::Info);
    let events = every_event();
    for (event, ..) in &events {
        log.event(ShardId(2), event, &snapshot);
    }
    let lines = page.lines(&log);
    assert_eq!(lines.len(), events.len());
    for (line, (event, level, message)) in lines.iter().zip(&events) {
        assert_eq!((line["level"].as_str(), line["message"].as_str()), (Some(*level), Some(*message)), "{event:?}");
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.len() == 24 && timestamp.ends_with('Z'), "{timestamp}");
        assert!(line["component"].is_string());
        assert_eq!(line["shard"], 2);
    }
    assert_eq!(lines[0]["customer_id"], "account-7");
    assert_eq!(lines[1]["system_id"], "ev\\x00il\"");
    assert_eq!(lines[1]["status"], "ESME_RINVPASWD");
    assert_eq!(lines[6]["vendor_id"], "north");
    assert_eq!((&lines[6]["step"], &lines[6]["again_ms"]), (&"tls".into(), &2_000.into()));
    assert_eq!(lines[6]["reason"], "certificate \"expired\"");
    assert_eq!(lines[7]["reason"], "bind refused with 0x00000444");
    assert_eq!(lines[7]["unanswered"], 4);
    assert!(lines[7].get("again_ms").is_none());
    assert_eq!(lines[10]["dest"], "4711");
    for line in &lines[11..13] {
        assert_eq!(line["bytes_max"], 60);
        assert!(line["cure"].as_str().unwrap().contains("max_mb"), "{line}");
    }
}

#[test]
fn lines_below_the_level_are_left_out() {
    let (page, snapshot) = (Page::default(), snapshot());
    let log = page.log(LogLevel::Warn);
    for (event, ..) in every_event() {
        log.event(ShardId(0), &event, &snapshot);
    }
    let lines = page.lines(&log);
    assert_eq!(lines.len(), every_event().iter().filter(|(_, level, _)| *level != "INFO").count());
}

#[test]
fn a_flood_is_cut_and_counted_while_other_lines_pass() {
    let page = Page::default();
    let log = page.log(LogLevel::Info);
    for _ in 0..LINES_PER_SECOND_MAX + 7 {
        log.write(LogLevel::Warn, "smpp_server", "bind rejected", &[]);
    }
    log.write(LogLevel::Info, "smpp_server", "customer bound", &[]);
    log.end_second();
    log.end_second();
    log.write(LogLevel::Warn, "smpp_server", "bind rejected", &[]);
    let lines = page.lines(&log);
    assert_eq!(lines.len(), LINES_PER_SECOND_MAX as usize + 3);
    let told = &lines[lines.len() - 2];
    assert_eq!((&told["message"], &told["suppressed"]), (&"lines suppressed".into(), &7.into()));
    assert_eq!(told["suppressed_message"], "bind rejected");
    assert_eq!(lines[lines.len() - 1]["message"], "bind rejected");
}

#[test]
fn errors_are_never_suppressed() {
    let page = Page::default();
    let log = page.log(LogLevel::Info);
    for _ in 0..LINES_PER_SECOND_MAX * 2 {
        log.write(LogLevel::Error, "smpp_client", "vendor keeps failing", &[]);
    }
    assert_eq!(page.lines(&log).len(), LINES_PER_SECOND_MAX as usize * 2);
}

/// Takes nothing until the gate opens.
struct Stuck(crossbeam_channel::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_is_stuck_costs_lines_and_not_time() {
    let (gate, stuck) = crossbeam_channel::bounded::<()>(0);
    let log = Log::to(LogSettings::default(), Box::new(Stuck(stuck))).unwrap();
    for _ in 0..20_000 {
        log.write(LogLevel::Error, "test", "line", &[]);
    }
    assert!(log.dropped_lines() > 0);
    assert!(!log.flush(Duration::from_millis(1)));
    drop(gate);
    assert!(log.flush(PATIENCE));
}
