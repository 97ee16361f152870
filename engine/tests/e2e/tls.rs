//! TLS on both sides: certificates by name, garbage, vendors, and certificates that change while sessions stand.

use rustix::process::Signal;
use smpp_pdu::{CommandId, CommandStatus};

use crate::harness::bench::{assert_clean, clean_load};
use crate::harness::certificates::{Certificate, connect_tls};
use crate::harness::setup::PASSWORD;
use crate::harness::{Background, Esme, Setup, Shards, message, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    the_certificate_follows_the_name_that_the_client_asks_for,
    messages_and_receipts_pass_over_tls,
    garbage_on_the_tls_port_closes_its_connection_alone,
    plain_smpp_on_the_tls_port_gets_no_session,
    a_handshake_that_does_not_go_on_is_cut_off_by_the_bind_timer,
    a_vendor_is_reached_over_tls,
    a_vendor_whose_authorities_cannot_be_read_any_more_stays_bound,
    a_vendor_with_a_wrong_certificate_is_not_bound,
    a_hangup_signal_changes_the_certificates_and_leaves_sessions_alone,
    a_certificate_that_cannot_be_read_leaves_the_old_one_in_force,
];

const ONE: &str = "one.example.com";
const TWO: &str = "two.example.com";

/// Two certificates, `one` first.
fn with_certificates(setup: Setup) -> (Setup, Certificate, Certificate) {
    let one = Certificate::make(&setup.folder, "one", ONE);
    let two = Certificate::make(&setup.folder, "two", TWO);
    let setup = setup.certificate(ONE, &one.cert, &one.key).certificate(TWO, &two.cert, &two.key);
    (setup, one, two)
}

fn bind(mut esme: Esme) -> Esme {
    assert_eq!(esme.bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD).status, CommandStatus::ESME_ROK);
    esme
}

fn the_certificate_follows_the_name_that_the_client_asks_for(shards: Shards) {
    let (setup, one, two) = with_certificates(Setup::new(shards).customer("acme", ""));
    let gateway = setup.start_without_vendors();
    let address = gateway.ports.tls;
    bind(connect_tls(address, ONE, &one).unwrap()).unbind();
    bind(connect_tls(address, TWO, &two).unwrap()).unbind();
    assert!(connect_tls(address, ONE, &two).is_err());
    assert!(connect_tls(address, TWO, &one).is_err());
    // A name that is nobody's is shown the first certificate.
    let error = connect_tls(address, "three.example.com", &one).err().unwrap();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    gateway.end_well();
}

fn messages_and_receipts_pass_over_tls(shards: Shards) {
    let vendor = smsc(&[]);
    let (setup, one, _two) = with_certificates(Setup::usual(shards, vendor.address()));
    let gateway = setup.start();
    clean_load(gateway.ports.tls, &["--tls", "--tls-insecure", "--sessions", "8", "--count", "4000", "--receipts"]);
    // Plain customers are served beside it, and large payloads too.
    clean_load(gateway.address(), &["--count", "1000", "--receipts"]);
    clean_load(gateway.ports.tls, &["--tls", "--tls-insecure", "--count", "200", "--body", "60000", "--window", "5"]);
    let mut esme = bind(connect_tls(gateway.ports.tls, ONE, &one).unwrap());
    assert_eq!(esme.submitted(&message(b"hello")).status, CommandStatus::ESME_ROK);
    esme.unbind();
    gateway.end_well();
}

fn garbage_on_the_tls_port_closes_its_connection_alone(shards: Shards) {
    let (setup, one, _two) = with_certificates(Setup::new(shards).customer("acme", ""));
    let gateway = setup.start_without_vendors();
    let mut witness = bind(connect_tls(gateway.ports.tls, ONE, &one).unwrap());
    for octets in [&[0xFF; 500][..], &[0; 500], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 0x7F, 0xFF, 1, 2, 3], &[0x16]]
    {
        let mut stream = std::net::TcpStream::connect(gateway.ports.tls).unwrap();
        use std::io::{Read, Write};
        stream.write_all(octets).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
        let mut answer = Vec::new();
        // Perhaps an alert, then the end or a reset.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 100);
        witness.expect_nothing_more();
    }
    witness.unbind();
    gateway.end_well();
}

fn plain_smpp_on_the_tls_port_gets_no_session(shards: Shards) {
    let (setup, _one, _two) = with_certificates(Setup::new(shards).customer("acme", ""));
    let gateway = setup.start_without_vendors();
    let mut stream = std::net::TcpStream::connect(gateway.ports.tls).unwrap();
    use std::io::{Read, Write};
    let bind = crate::harness::esme::bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "acme", PASSWORD, 0x34);
    stream.write_all(&bind).unwrap();
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(answer.len() < 16, "an alert at the most: {answer:?}");
    assert_eq!(gateway.log.count(&["customer bound"]), 0);
    gateway.end_well();
}

fn a_handshake_that_does_not_go_on_is_cut_off_by_the_bind_timer(shards: Shards) {
    let (setup, _one, _two) = with_certificates(Setup::new(shards).customer("acme", ""));
    let gateway = setup.smpp("bind_timeout_ms = 600").start_without_vendors();
    let mut stream = std::net::TcpStream::connect(gateway.ports.tls).unwrap();
    use std::io::{Read, Write};
    stream.write_all(&[0x16, 3, 1, 0, 200, 1]).unwrap();
    stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let start = std::time::Instant::now();
    let outcome = stream.read_to_end(&mut answer);
    assert!(!matches!(&outcome, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock), "{outcome:?}");
    assert!(start.elapsed() >= std::time::Duration::from_millis(500), "{:?}", start.elapsed());
    gateway.end_well();
}

fn a_vendor_is_reached_over_tls(shards: Shards) {
    let setup = Setup::new(shards).customer("acme", "");
    let certificate = Certificate::make(&setup.folder, "vendor", "127.0.0.1");
    let (cert, key) = (certificate.cert.to_str().unwrap(), certificate.key.to_str().unwrap());
    let vendors = [(); 2].map(|()| smsc(&["--tls-cert", cert, "--tls-key", key]));
    let gateway = setup
        .vendor("checked", vendors[0].address(), &format!("use_tls = true\ntls_ca = {cert:?}\nbinds = 2"))
        .vendor("trusted", vendors[1].address(), "use_tls = true\ntls_verify = false")
        .rule("checked", "dest_pattern = \"^10\"")
        .rule("trusted", "dest_pattern = \"^11\"")
        .start();
    gateway.wait_until_bound(3);
    for prefix in ["10", "11"] {
        clean_load(gateway.address(), &["--count", "2000", "--receipts", "--destination-prefix", prefix]);
    }
    clean_load(
        gateway.address(),
        &["--count", "100", "--body", "60000", "--window", "5", "--sessions", "2", "--destination-prefix", "10"],
    );
    gateway.end_well();
}

/// Its file is garbage now, its row is the same: that is told, and nothing else of it changes until the file is right.
fn a_vendor_whose_authorities_cannot_be_read_any_more_stays_bound(shards: Shards) {
    let setup = Setup::new(shards).customer("acme", "");
    let certificate = Certificate::make(&setup.folder, "vendor", "127.0.0.1");
    let (cert, key) = (certificate.cert.to_str().unwrap(), certificate.key.to_str().unwrap());
    let vendor = smsc(&["--tls-cert", cert, "--tls-key", key]);
    let pem = std::fs::read_to_string(&certificate.cert).unwrap();
    let ca = setup.folder.write("ca.pem", &pem);
    let gateway = setup
        .vendor("checked", vendor.address(), &format!("use_tls = true\ntls_ca = {ca:?}"))
        .rule("checked", "")
        .start();
    gateway.wait_until_bound(1);
    gateway.folder.write("ca.pem", "this is no certificate");
    gateway.signal(Signal::HUP);
    gateway.log.wait_for(1, &["a row is wrong", "vendors", "checked", "tls_ca", "ca.pem"]);
    clean_load(gateway.address(), &["--count", "200", "--receipts"]);
    gateway.folder.write("ca.pem", &pem);
    gateway.signal(Signal::HUP);
    gateway.log.wait_for(1, &["no row is wrong any more"]);
    clean_load(gateway.address(), &["--count", "200", "--receipts"]);
    assert_eq!(gateway.log.count(&["\"vendor bound\""]), 1);
    gateway.end_well();
}

/// The step at which it fails and the reason are told; a vendor of another name does as well as a stranger.
fn a_vendor_with_a_wrong_certificate_is_not_bound(shards: Shards) {
    let setup = Setup::new(shards).customer("acme", "");
    let certificate = Certificate::make(&setup.folder, "vendor", "somebody-else.example.com");
    let stranger = Certificate::make(&setup.folder, "stranger", "127.0.0.1");
    let (cert, key) = (certificate.cert.to_str().unwrap(), certificate.key.to_str().unwrap());
    let vendor = smsc(&["--tls-cert", cert, "--tls-key", key]);
    let plain = smsc(&[]);
    let gateway = setup
        .vendor("wrong-name", vendor.address(), &format!("use_tls = true\ntls_ca = {cert:?}"))
        .vendor("stranger", vendor.address(), &format!("use_tls = true\ntls_ca = {:?}", stranger.cert))
        .vendor("no-tls", plain.address(), "use_tls = true\nbind_timeout_ms = 1000")
        .start_without_vendors();
    for name in ["wrong-name", "stranger", "no-tls"] {
        gateway.log.wait_for(1, &["vendor could not be connected", name, "\"step\":\"tls\""]);
    }
    assert_eq!(gateway.log.count(&["vendor bound"]), 0);
    gateway.end_well();
}

fn a_hangup_signal_changes_the_certificates_and_leaves_sessions_alone(shards: Shards) {
    let vendor = smsc(&[]);
    let (setup, one, two) = with_certificates(Setup::usual(shards, vendor.address()));
    let gateway = setup.start();
    let mut session = bind(connect_tls(gateway.ports.tls, ONE, &one).unwrap());
    let load = Background::start(
        gateway.ports.tls,
        &["--tls", "--tls-insecure", "--sessions", "4", "--rate", "1000", "--duration", "3"],
    );
    let renewed = Certificate::make(&gateway.folder, "one", ONE);
    gateway.signal(Signal::HUP);
    gateway.log.wait_for(1, &["certificates reloaded"]);
    // Each shard takes it up with its next turn.
    crate::harness::ask_until("the new certificate", || connect_tls(gateway.ports.tls, ONE, &renewed).ok());
    for _ in 0..8 {
        bind(crate::harness::ask_until("the new certificate on each shard", || {
            connect_tls(gateway.ports.tls, ONE, &renewed).ok()
        }))
        .unbind();
    }
    assert!(connect_tls(gateway.ports.tls, ONE, &one).is_err(), "the old one is not shown any more");
    bind(connect_tls(gateway.ports.tls, TWO, &two).unwrap()).unbind();
    assert_eq!(session.submitted(&message(b"still here")).status, CommandStatus::ESME_ROK);
    session.unbind();
    assert_clean(&load.wait());
    gateway.end_well();
}

fn a_certificate_that_cannot_be_read_leaves_the_old_one_in_force(shards: Shards) {
    let (setup, one, _two) = with_certificates(Setup::new(shards).customer("acme", ""));
    let gateway = setup.start_without_vendors();
    gateway.folder.write("one.pem", "this is no certificate");
    gateway.signal(Signal::HUP);
    let line = gateway.log.wait_for(1, &["certificates not reloaded"]);
    assert!(line.contains("one.pem"), "{line}");
    bind(connect_tls(gateway.ports.tls, ONE, &one).unwrap()).unbind();
    gateway.end_well();
}
