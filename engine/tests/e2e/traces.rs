//! A trace of one session, as Wireshark's dissector reads the file that is downloaded.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, Tag, Tlvs};

use crate::dissector::{FILTERS, tshark, tshark_with};
use crate::harness::bench::assert_clean;
use crate::harness::certificates::{Certificate, connect_tls};
use crate::harness::setup::PASSWORD;
use crate::harness::{
    Background, Esme, Gateway, PATIENCE, Setup, Shards, ask_until, message, smsc, with_one_shard_and_with_two,
};
use crate::http::call;

with_one_shard_and_with_two![
    tshark_reads_both_directions_of_a_traced_session,
    over_tls_the_trace_holds_what_was_said,
    a_vendor_s_bind_is_traced,
    a_busy_session_is_traced_and_no_message_waits_for_it,
    a_trace_ends_by_itself_and_another_session_s_pdus_are_not_in_it,
];

/// The only session that there is.
fn the_session(gateway: &Gateway) -> String {
    let (status, list) = call(gateway, "GET", "/api/v1/sessions", &Value::Null);
    assert_eq!((status, &list["count"]), (200, &1.into()), "{list}");
    list["sessions"][0]["session_id"].as_str().unwrap().to_owned()
}

fn begin(gateway: &Gateway, session: &str, body: &Value) -> Value {
    begin_at(gateway, &format!("/api/v1/sessions/{session}/trace"), body)
}

fn begin_at(gateway: &Gateway, path: &str, body: &Value) -> Value {
    let (status, begun) = call(gateway, "POST", path, body);
    assert_eq!((status, &begun["is_running"]), (201, &true.into()), "{begun}");
    begun
}

/// Downloads a trace into the gateway's folder.
fn download(gateway: &Gateway, session: &str) -> PathBuf {
    download_from(gateway, &format!("/api/v1/sessions/{session}/trace"))
}

fn download_from(gateway: &Gateway, path: &str) -> PathBuf {
    let mut stream = TcpStream::connect(gateway.ports.control).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|octets| octets == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer[..end].escape_ascii());
    let file = gateway.folder.path().join("session.pcap");
    std::fs::write(&file, &answer[end..]).unwrap();
    file
}

/// Nothing in a file is malformed or marked as an error.
fn check(file: &Path, port: u16) {
    for filter in FILTERS {
        let found = tshark(file, port, filter, &["frame.number", "_ws.col.Info", "_ws.expert.message"]);
        assert!(found.is_empty(), "{filter}: {found:?}");
    }
}

/// The port of an address with one.
fn port_of(address: &Value) -> u16 {
    address.as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Of each PDU: which way it went, and its operation.
fn operations(file: &Path, port: u16) -> Vec<(bool, u32)> {
    let lines = tshark(file, port, "smpp", &["tcp.srcport", "smpp.command_id"]);
    let pdu = |line: &String| {
        let (from, command) = line.split_once('\t').unwrap();
        let command = u32::from_str_radix(command.trim_start_matches("0x"), 16).unwrap();
        (from.parse::<u16>().unwrap() != port, command)
    };
    lines.iter().map(pdu).collect()
}

/// In the form of [`operations`].
fn expected<const N: usize>(pdus: [(bool, CommandId); N]) -> Vec<(bool, u32)> {
    pdus.map(|(is_received, command)| (is_received, command.0)).to_vec()
}

fn tshark_reads_both_directions_of_a_traced_session(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    let session = the_session(&gateway);
    let begun = begin(&gateway, &session, &json!({"seconds": 600}));
    let port = gateway.address().port();
    assert_eq!((port_of(&begun["local"]), port_of(&begun["peer"])), (port, esme.tcp().local_addr().unwrap().port()));
    esme.submitted(&ShortMessage { registered_delivery: 1, ..message(b"hello") });
    esme.take_delivery();
    let mut payload = Tag::MESSAGE_PAYLOAD.0.to_be_bytes().to_vec();
    payload.extend(65_400_u16.to_be_bytes());
    payload.resize(4 + 65_400, b'p');
    esme.submitted(&ShortMessage { tlvs: Tlvs::new(&payload), ..message(b"") });
    assert_eq!(esme.bind(CommandId::BIND_TRANSMITTER, "acme", PASSWORD).status, CommandStatus::ESME_RALYBND);
    let file = download(&gateway, &session);
    check(&file, port);
    let said = [
        (true, CommandId::SUBMIT_SM),
        (false, CommandId::SUBMIT_SM_RESP),
        (false, CommandId::DELIVER_SM),
        (true, CommandId::DELIVER_SM_RESP),
        (true, CommandId::SUBMIT_SM),
        (false, CommandId::SUBMIT_SM_RESP),
        (true, CommandId::BIND_TRANSMITTER),
        (false, CommandId::BIND_TRANSMITTER_RESP),
    ];
    assert_eq!(operations(&file, port), expected(said));
    let lengths = tshark(&file, port, "smpp.command_id == 0x00000004", &["smpp.command_length"]);
    assert!(lengths[1].parse::<u32>().unwrap() > 65_400, "the long one is put together: {lengths:?}");
    assert_eq!(tshark(&file, port, "smpp.password", &["smpp.password"]), ["********"]);
    let octets = std::fs::read(&file).unwrap();
    assert!(!octets.windows(PASSWORD.len()).any(|octets| octets == PASSWORD.as_bytes()));
    let checked = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"];
    let right = "ip.checksum.status == \"Good\" && tcp.checksum.status == \"Good\"";
    let frames = tshark(&file, port, "frame", &["frame.number"]).len();
    assert_eq!(tshark_with(&checked, &file, port, right, &["frame.number"]).len(), frames);
    assert_eq!(frames, said.len() + 1, "the long one takes two packets");
    assert!(
        tshark(&file, port, "tcp.analysis.flags", &["frame.number"]).is_empty(),
        "sequence numbers follow each other"
    );
    esme.unbind();
    let ended = ended(&gateway);
    assert_eq!((&ended["ended"], &ended["pdus"]), (&"session".into(), &(said.len() + 2).into()), "{ended}");
    let file = download(&gateway, &session);
    let last = [(true, CommandId::UNBIND), (false, CommandId::UNBIND_RESP)];
    assert_eq!(operations(&file, port)[said.len()..], expected(last));
    gateway.log.wait_for(3, &["control port called", "/trace"]);
    gateway.end_well();
}

/// How the only trace stands, when it has ended.
fn ended(gateway: &Gateway) -> Value {
    ask_until("the end of a trace", || {
        let (_, list) = call(gateway, "GET", "/api/v1/traces", &Value::Null);
        assert_eq!(list["count"], 1, "{list}");
        (list["traces"][0]["is_running"] == false).then(|| list["traces"][0].clone())
    })
}

fn over_tls_the_trace_holds_what_was_said(shards: Shards) {
    let vendor = smsc(&[]);
    let setup = Setup::usual(shards, vendor.address());
    let certificate = Certificate::make(&setup.folder, "one", "one.example.com");
    let gateway = setup.certificate("one.example.com", &certificate.cert, &certificate.key).start();
    let mut esme = connect_tls(gateway.ports.tls, "one.example.com", &certificate).unwrap();
    assert_eq!(esme.bind(CommandId::BIND_TRANSMITTER, "acme", PASSWORD).status, CommandStatus::ESME_ROK);
    let session = the_session(&gateway);
    begin(&gateway, &session, &Value::Null);
    esme.submitted(&message(b"said over TLS"));
    let (file, port) = (download(&gateway, &session), gateway.ports.tls.port());
    let said = [(true, CommandId::SUBMIT_SM), (false, CommandId::SUBMIT_SM_RESP)];
    assert_eq!(operations(&file, port), expected(said));
    let octets = std::fs::read(&file).unwrap();
    assert!(octets.windows(13).any(|octets| octets == b"said over TLS"));
    let path = format!("/api/v1/sessions/{session}/trace");
    let (status, stopped) = call(&gateway, "DELETE", &path, &Value::Null);
    assert_eq!((status, &stopped["ended"], &stopped["pdus"]), (200, &"stopped".into(), &2.into()), "{stopped}");
    assert_eq!(call(&gateway, "GET", &path, &Value::Null).0, 404);
    esme.submitted(&message(b"not traced"));
    gateway.end_well_without(esme);
}

fn a_trace_ends_by_itself_and_another_session_s_pdus_are_not_in_it(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    let session = the_session(&gateway);
    let mut other = Esme::bound(&gateway, "acme");
    begin(&gateway, &session, &json!({"seconds": 1, "max_bytes": 4096}));
    other.submitted(&message(b"of another session"));
    let ended = ended(&gateway);
    assert_eq!((&ended["ended"], &ended["pdus"]), (&"time".into(), &0.into()), "{ended}");
    begin(&gateway, &session, &json!({"seconds": 600, "max_bytes": 4096}));
    (0..40).for_each(|_| drop(esme.submitted(&message(b"of this session"))));
    let ended = self::ended(&gateway);
    assert_eq!(ended["ended"], "size");
    assert!(ended["bytes"].as_u64().unwrap() <= 4_096, "{ended}");
    assert!(!operations(&download(&gateway, &session), gateway.address().port()).is_empty());
    esme.unbind();
    other.unbind();
    gateway.end_well();
}

fn a_vendor_s_bind_is_traced(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    gateway.wait_until_bound(1);
    let (path, port) = ("/api/v1/vendors/north/trace", vendor.address().port());
    let begun = begin_at(&gateway, path, &json!({"bind": 0, "seconds": 600}));
    assert_eq!((port_of(&begun["peer"]), &begun["vendor_id"]), (port, &"north".into()));
    let mut esme = Esme::bound(&gateway, "acme");
    esme.submitted(&ShortMessage { registered_delivery: 1, ..message(b"hello") });
    esme.take_delivery();
    // Our deliver_sm_resp may still be on its way to the vendor.
    let file = ask_until("a trace of four PDUs", || {
        let (_, list) = call(&gateway, "GET", "/api/v1/traces", &Value::Null);
        (list["traces"][0]["pdus"] == 4).then(|| download_from(&gateway, path))
    });
    check(&file, port);
    // The vendor has the port here.
    let said = [
        (true, CommandId::SUBMIT_SM),
        (false, CommandId::SUBMIT_SM_RESP),
        (false, CommandId::DELIVER_SM),
        (true, CommandId::DELIVER_SM_RESP),
    ];
    assert_eq!(operations(&file, port), expected(said));
    vendor.stop().unwrap();
    assert_eq!(ended(&gateway)["ended"], "session");
    let (status, refused) = call(&gateway, "POST", path, &Value::Null);
    assert_eq!((status, &refused["error"]["code"]), (409, &"not_bound".into()), "{refused}");
    esme.unbind();
    gateway.end_well();
}

fn a_busy_session_is_traced_and_no_message_waits_for_it(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let load =
        Background::start(gateway.address(), &["--duration", "4", "--receipts", "--sessions", "1", "--window", "50"]);
    let session = ask_until("a session", || {
        let (_, list) = call(&gateway, "GET", "/api/v1/sessions", &Value::Null);
        list["sessions"][0]["session_id"].as_str().map(str::to_owned)
    });
    begin(&gateway, &session, &json!({"max_bytes": 2_000_000}));
    assert_clean(&load.wait());
    let ended = ended(&gateway);
    assert!(ended["pdus"].as_u64().unwrap() > 1_000, "{ended}");
    check(&download(&gateway, &session), gateway.address().port());
    gateway.end_well();
}
