//! Connecting, TLS and binding: what is refused, and by which step it is called.

#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use smpp_bench::load::{LoadError, Step};
use smpp_pdu::command::CommandId;
use smpp_pdu::{CommandStatus, encode};
use support::{Esme, load, smsc, try_load};

/// A self-signed certificate for localhost and 127.0.0.1 in a folder that goes with the value.
struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("smpp-bench-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { folder }
    }

    fn path(&self, file: &str) -> String {
        self.folder.join(file).to_str().unwrap().to_owned()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn failed_step(result: Result<smpp_bench::load::LoadReport, LoadError>) -> Step {
    match result {
        Err(LoadError::Session { step, .. }) => step,
        other => panic!("no failing session: {other:?}"),
    }
}

#[test]
fn a_wrong_password_is_refused_with_its_status() {
    let smsc = smsc(&["--system-id", "load", "--password", "right"]);
    let error = try_load(smsc.address(), &["--password", "wrong", "--count", "1"]).unwrap_err();
    assert!(matches!(error, LoadError::Refused { status: CommandStatus::ESME_RINVPASWD, .. }), "{error}");
    assert!(error.to_string().contains("bind refused with ESME_RINVPASWD"), "{error}");
}

#[test]
fn a_wrong_system_id_is_refused_with_its_status() {
    let smsc = smsc(&["--system-id", "somebody"]);
    let error = try_load(smsc.address(), &["--count", "1"]).unwrap_err();
    assert!(matches!(error, LoadError::Refused { status: CommandStatus::ESME_RINVSYSID, .. }), "{error}");
}

#[test]
fn binds_are_refused_for_a_while() {
    let smsc = smsc(&["--refuse-binds-for", "600"]);
    let error = try_load(smsc.address(), &["--count", "1"]).unwrap_err();
    assert!(matches!(error, LoadError::Refused { status: CommandStatus::ESME_RBINDFAIL, .. }), "{error}");
}

#[test]
fn a_closed_port_is_a_failure_of_tcp() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(failed_step(try_load(address, &["--count", "1"])), Step::Tcp);
}

#[test]
fn a_server_that_does_not_answer_is_a_failure_of_bind() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let arguments = ["--count", "1", "--sessions", "1", "--bind-timeout", "0.3"];
    assert_eq!(failed_step(try_load(listener.local_addr().unwrap(), &arguments)), Step::Bind);
}

#[test]
fn tls_with_the_right_authority_carries_messages_and_receipts() {
    let certificate = Certificate::new("right");
    let smsc = smsc(&["--tls-cert", &certificate.path("cert.pem"), "--tls-key", &certificate.path("key.pem")]);
    let arguments = ["--tls", "--tls-ca", &certificate.path("cert.pem"), "--count", "5000", "--receipts"];
    let report = load(&smsc, &arguments);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.totals.accepted, report.totals.receipts), (5000, 5000));
}

#[test]
fn tls_with_large_messages_survives_full_sockets() {
    let certificate = Certificate::new("large");
    let smsc = smsc(&["--tls-cert", &certificate.path("cert.pem"), "--tls-key", &certificate.path("key.pem")]);
    let report = load(&smsc, &["--tls", "--tls-insecure", "--count", "500", "--body", "50000", "--sessions", "2"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.totals.accepted, 500);
}

#[test]
fn tls_with_another_authority_is_a_failure_of_tls() {
    let (certificate, other) = (Certificate::new("one"), Certificate::new("other"));
    let smsc = smsc(&["--tls-cert", &certificate.path("cert.pem"), "--tls-key", &certificate.path("key.pem")]);
    let arguments = ["--tls", "--tls-ca", &other.path("cert.pem"), "--count", "1"];
    assert_eq!(failed_step(try_load(smsc.address(), &arguments)), Step::Tls);
}

#[test]
fn tls_to_a_plain_server_is_a_failure_of_tls() {
    let smsc = smsc(&[]);
    let result = try_load(smsc.address(), &["--tls", "--tls-insecure", "--count", "1"]);
    assert_eq!(failed_step(result), Step::Tls);
}

#[test]
fn the_simulator_refuses_what_is_out_of_order() {
    let smsc = smsc(&[]);
    let mut esme = Esme::connect(smsc.address());
    esme.submit(0);
    assert_eq!(esme.receive().unwrap().0.command_status, CommandStatus::ESME_RINVBNDSTS);
    assert_eq!(esme.bind(CommandId::BIND_RECEIVER), CommandStatus::ESME_ROK);
    esme.submit(0);
    assert_eq!(esme.receive().unwrap().0.command_status, CommandStatus::ESME_RINVBNDSTS);
    assert_eq!(esme.bind(CommandId::BIND_TRANSCEIVER), CommandStatus::ESME_RALYBND);
    let mut query = Vec::new();
    encode::header_only(&mut query, CommandId::QUERY_SM, CommandStatus::ESME_ROK, 77);
    esme.send(&query);
    let (header, _) = esme.receive().unwrap();
    assert_eq!((header.command_id, header.sequence_number), (CommandId::GENERIC_NACK, 77));
    assert_eq!(header.command_status, CommandStatus::ESME_RINVCMDID);
}

#[test]
fn the_simulator_closes_when_the_framing_is_lost() {
    let smsc = smsc(&[]);
    let mut esme = Esme::bound(smsc.address(), CommandId::BIND_TRANSCEIVER);
    esme.send(&[0, 0, 0, 15, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 8]);
    let (header, _) = esme.receive().unwrap();
    assert_eq!(header.command_id, CommandId::GENERIC_NACK);
    assert_eq!(header.command_status, CommandStatus::ESME_RINVCMDLEN);
    assert!(esme.receive().is_none());
}

#[test]
fn a_peer_that_never_reads_is_not_read_for_ever() {
    let smsc = smsc(&[]);
    let mut esme = Esme::bound(smsc.address(), CommandId::BIND_TRANSCEIVER);
    let sent = esme.send_until_stuck();
    assert!(sent < 100 << 20, "{sent} octets were taken");
    // Once it reads again it has every answer.
    for _ in 0..sent / 16 {
        assert_eq!(esme.receive().unwrap().0.command_id, CommandId::ENQUIRE_LINK_RESP);
    }
    assert_eq!(smsc.stop().unwrap().enquire_links, sent as u64 / 16);
}

#[test]
fn a_pdu_that_comes_octet_by_octet_is_one_pdu() {
    let smsc = smsc(&[]);
    let mut esme = Esme::bound(smsc.address(), CommandId::BIND_TRANSCEIVER);
    let mut enquire = Vec::new();
    encode::header_only(&mut enquire, CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, 5);
    enquire.iter().for_each(|octet| esme.send(&[*octet]));
    assert_eq!(esme.receive().unwrap().0.command_id, CommandId::ENQUIRE_LINK_RESP);
}
