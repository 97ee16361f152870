//! A second opinion on every PDU: whole sessions, on both sides of the gateway, read by tshark's SMPP dissector.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use smpp_pdu::{CommandId, CommandStatus, ShortMessage};

use crate::harness::bench::{clean_load, load};
use crate::harness::capture::Capture;
use crate::harness::folder::Folder;
use crate::harness::message::submit_sm;
use crate::harness::setup::PASSWORD;
use crate::harness::{Esme, Setup, Shards, message, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![tshark_finds_no_malformed_packet_in_whole_sessions];

/// What tshark would show if a PDU were wrong.
pub(crate) const FILTERS: [&str; 3] =
    ["_ws.malformed", "smpp && _ws.expert.severity == \"Error\"", "smpp && _ws.expert.group == \"Malformed\""];

#[test]
fn tshark_does_find_a_malformed_packet_where_there_is_one() {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    let capture = Capture::before(sink.local_addr().unwrap());
    let mut stream = TcpStream::connect(capture.address()).unwrap();
    let mut cut = submit_sm(1, &message(b"a message that is cut"));
    cut.truncate(40);
    cut[..4].copy_from_slice(&40_u32.to_be_bytes());
    stream.write_all(&cut).unwrap();
    drop(stream);
    let mut passed = Vec::new();
    sink.accept().unwrap().0.read_to_end(&mut passed).unwrap();
    assert_eq!(passed, cut);
    let folder = Folder::new();
    let file = folder.path().join("malformed.pcap");
    capture.write(&file);
    let found = |filter: &&str| !tshark(&file, capture.address().port(), filter, &["frame.number"]).is_empty();
    assert!(FILTERS.iter().any(found));
}

/// What tshark prints of the packets of a capture that pass a filter, one line each.
pub(crate) fn tshark(file: &Path, port: u16, filter: &str, fields: &[&str]) -> Vec<String> {
    tshark_with(&[], file, port, filter, fields)
}

/// [`tshark`] with more arguments, such as preferences.
pub(crate) fn tshark_with(arguments: &[&str], file: &Path, port: u16, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(arguments).args(["-n", "-r"]).arg(file).args([
        "-d",
        &format!("tcp.port=={port},smpp"),
        "-Y",
        filter,
        "-T",
        "fields",
    ]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark is not there: run `make test-packages`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The command_ids in a capture, as tshark writes them. A packet may hold several.
fn operations(file: &Path, port: u16) -> BTreeSet<String> {
    let lines = tshark(file, port, "smpp", &["smpp.command_id"]);
    lines.iter().flat_map(|line| line.split(',')).map(str::to_owned).collect()
}

fn tshark_finds_no_malformed_packet_in_whole_sessions(shards: Shards) {
    let vendor = smsc(&[
        "--mo-rate",
        "20",
        "--mo-to",
        "12025550123",
        "--throttle-percent",
        "5",
        "--fail-percent",
        "5",
        "--enquire-interval",
        "0.3",
    ]);
    let behind = Capture::before(vendor.address());
    let gateway = Setup::new(shards)
        .gateway("retry_interval_ms = 20\nretry_count = 1")
        .customer("acme", "")
        .customer("decimal", "message_id_format = \"decimal\"")
        .vendor("north", behind.address(), "binds = 2\nenquire_link_ms = 300")
        .rule("north", "dest_pattern = \"^1\"")
        .inbound("12025550123", "acme")
        .smpp("enquire_link_ms = 300")
        .start();
    gateway.wait_until_bound(2);
    let front = Capture::before(gateway.address());
    refusals(&front);
    for arguments in [
        &["--count", "300", "--receipts", "--sessions", "3"][..],
        &["--count", "100", "--receipts", "--bind-type", "tx", "--system-id", "decimal"],
        &["--count", "20", "--body", "5000", "--window", "2"],
        &["--count", "50", "--data-coding", "8", "--text", "Привет", "--enquire-interval", "0.1"],
    ] {
        let report = load(front.address(), arguments);
        assert_eq!(report.lost(), 0, "{}", report.to_text());
    }
    clean_load(gateway.address(), &["--count", "1", "--destination-prefix", "1999"]);
    gateway.end_well();
    check(&front, &[0x8000_0000]);
    check(&behind, &[]);
}

/// Everything that the gateway refuses or answers without a vendor.
fn refusals(front: &Capture) {
    let mut esme = Esme::connect(front.address());
    assert_eq!(esme.bind(CommandId::BIND_RECEIVER, "acme", "wrong").status, CommandStatus::ESME_RINVPASWD);
    esme.expect_end();
    let mut esme = Esme::connect(front.address());
    assert_eq!(esme.bind(CommandId::BIND_TRANSMITTER, "acme", PASSWORD).status, CommandStatus::ESME_ROK);
    assert_eq!(esme.bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD).status, CommandStatus::ESME_RALYBND);
    let nowhere = ShortMessage { dest: smpp_pdu::Address { ton: 1, npi: 1, addr: b"44" }, ..message(b"nowhere") };
    assert_eq!(esme.submitted(&nowhere).status, CommandStatus::ESME_RINVDSTADR);
    let sequence = esme.sequence();
    esme.send_header(CommandId(0x0777), CommandStatus::ESME_ROK, sequence);
    esme.expect_answer(CommandId::GENERIC_NACK, sequence, CommandStatus::ESME_RINVCMDID);
    esme.expect_nothing_more();
    esme.unbind();
}

/// No packet is malformed or marked as an error, and all operations that belong to a session are there.
fn check(capture: &Capture, also: &[u32]) {
    let folder = Folder::new();
    let file = folder.path().join("session.pcap");
    capture.write(&file);
    let port = capture.address().port();
    for filter in FILTERS {
        let found = tshark(&file, port, filter, &["frame.number", "_ws.col.Info", "_ws.expert.message"]);
        assert!(found.is_empty(), "{filter}: {found:?}");
    }
    let there = operations(&file, port);
    let expected = [
        CommandId::SUBMIT_SM,
        CommandId::SUBMIT_SM_RESP,
        CommandId::DELIVER_SM,
        CommandId::DELIVER_SM_RESP,
        CommandId::ENQUIRE_LINK,
        CommandId::ENQUIRE_LINK_RESP,
        CommandId::UNBIND,
        CommandId::UNBIND_RESP,
        CommandId::BIND_TRANSCEIVER,
        CommandId::BIND_TRANSCEIVER_RESP,
    ];
    for command in expected.iter().map(|command| command.0).chain(also.iter().copied()) {
        assert!(there.contains(&format!("0x{command:08x}")), "0x{command:08x} is not among {there:?}");
    }
}
