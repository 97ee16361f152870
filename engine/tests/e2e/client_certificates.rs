//! Customers that must show a certificate of their own: the right one, a wrong one, none, one that nobody vouches for, and what a
//! reload changes.

use std::net::SocketAddr;

use rustix::process::Signal;
use smpp_pdu::{CommandId, CommandStatus};

use crate::harness::certificates::{Authority, Certificate, ClientCertificate, connect_tls_as, is_turned_away};
use crate::harness::setup::PASSWORD;
use crate::harness::{Esme, Gateway, Setup, Shards, ask_until, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    a_customer_with_fingerprints_binds_with_one_of_those_certificates_only,
    a_customer_with_names_binds_with_a_certificate_made_out_for_one_only,
    a_certificate_that_nobody_vouches_for_ends_the_connection,
    where_one_is_required_a_client_without_ends_with_the_handshake,
    a_reload_changes_who_must_show_what_and_who_vouches_for_it,
];

const DOMAIN: &str = "smpp.example.com";

/// A gateway's certificate, and a setup that shows it and trusts that authority.
fn with_authority(setup: Setup, authority: &str) -> (Setup, Certificate, Authority) {
    let own = Certificate::make(&setup.folder, "own", DOMAIN);
    let authority = Authority::make(&setup.folder, authority);
    let setup = setup.certificate(DOMAIN, &own.cert, &own.key).smpp(&format!("tls_client_ca = {:?}", authority.ca));
    (setup, own, authority)
}

fn bind(
    address: SocketAddr,
    own: &Certificate,
    shown: Option<&ClientCertificate>,
    system_id: &str,
    password: &str,
) -> (CommandStatus, Esme) {
    let mut esme = connect_tls_as(address, DOMAIN, own, shown).unwrap();
    let status = esme.bind(CommandId::BIND_TRANSCEIVER, system_id, password).status;
    (status, esme)
}

/// In: bound, and unbound again.
fn assert_is_let_in(gateway: &Gateway, own: &Certificate, shown: Option<&ClientCertificate>, system_id: &str) {
    let (status, esme) = bind(gateway.ports.tls, own, shown, system_id, PASSWORD);
    assert_eq!(status, CommandStatus::ESME_ROK, "{system_id}");
    esme.unbind();
}

/// Out: as with a wrong password, and the log tells why.
fn assert_is_refused(
    gateway: &Gateway,
    own: &Certificate,
    shown: Option<&ClientCertificate>,
    system_id: &str,
    reason: &str,
) {
    let (status, mut esme) = bind(gateway.ports.tls, own, shown, system_id, PASSWORD);
    assert_eq!(status, CommandStatus::ESME_RINVPASWD, "{system_id}: {reason}");
    esme.expect_end();
    gateway.log.wait_for(1, &["bind rejected", system_id, reason]);
}

fn a_customer_with_fingerprints_binds_with_one_of_those_certificates_only(shards: Shards) {
    let (setup, own, authority) = with_authority(Setup::new(shards), "customers");
    let [old, new, other] = ["a.example", "a.example", "a.example"].map(|domain| authority.sign(domain));
    let fingerprints = [old.fingerprint(&setup.folder), new.fingerprint(&setup.folder).replace(':', "").to_lowercase()];
    let gateway = setup
        .customer("pinned", &format!("tls_client_certificate_sha256 = {fingerprints:?}"))
        .customer("free", "")
        .start_without_vendors();
    assert_is_let_in(&gateway, &own, Some(&old), "pinned");
    assert_is_let_in(&gateway, &own, Some(&new), "pinned");
    assert_is_refused(&gateway, &own, Some(&other), "pinned", "the client certificate is not one of the customer's");
    assert_is_refused(&gateway, &own, None, "pinned", "present a client certificate, and there was none");
    let mut plain = Esme::connect(gateway.address());
    assert_eq!(plain.bind(CommandId::BIND_RECEIVER, "pinned", PASSWORD).status, CommandStatus::ESME_RINVPASWD);
    gateway.log.wait_for(1, &["bind rejected", "pinned", "the bind came without TLS"]);
    // A right certificate is no password.
    let (status, _esme) = bind(gateway.ports.tls, &own, Some(&old), "pinned", "wrong");
    assert_eq!(status, CommandStatus::ESME_RINVPASWD);
    for shown in [None, Some(&other)] {
        assert_is_let_in(&gateway, &own, shown, "free");
    }
    gateway.end_well();
}

fn a_customer_with_names_binds_with_a_certificate_made_out_for_one_only(shards: Shards) {
    let (setup, own, authority) = with_authority(Setup::new(shards), "customers");
    let gateway = setup
        .customer("named", "tls_client_certificate_names = [\"one.acme.example\", \"two.acme.example\"]")
        .start_without_vendors();
    for name in ["one.acme.example", "two.acme.example"] {
        assert_is_let_in(&gateway, &own, Some(&authority.sign(name)), "named");
    }
    for name in ["three.acme.example", "acme.example", "one.acme.example.evil.example"] {
        let reason = "the client certificate is not one of the customer's";
        assert_is_refused(&gateway, &own, Some(&authority.sign(name)), "named", reason);
        // A right bind between them, so that refusals need not wait.
        assert_is_let_in(&gateway, &own, Some(&authority.sign("one.acme.example")), "named");
    }
    gateway.end_well();
}

fn a_certificate_that_nobody_vouches_for_ends_the_connection(shards: Shards) {
    let (setup, own, authority) = with_authority(Setup::new(shards), "customers");
    let stranger = Authority::make(&setup.folder, "stranger");
    let names = "tls_client_certificate_names = [\"one.acme.example\"]";
    let gateway = setup.customer("named", names).start_without_vendors();
    for (shown, reason) in [
        (stranger.sign("one.acme.example"), "UnknownIssuer"),
        (authority.sign_until("one.acme.example", 2020), "xpired"),
    ] {
        assert!(is_turned_away(gateway.ports.tls, DOMAIN, &own, Some(&shown)), "{reason}");
        gateway.log.wait_for(1, &["TLS handshake failed", "127.0.0.1", reason]);
    }
    assert_eq!(gateway.log.count(&["customer bound"]), 0);
    assert_is_let_in(&gateway, &own, Some(&authority.sign("one.acme.example")), "named");
    gateway.end_well();
}

fn where_one_is_required_a_client_without_ends_with_the_handshake(shards: Shards) {
    let (setup, own, authority) = with_authority(Setup::new(shards), "customers");
    let gateway = setup.smpp("tls_client_certificates = \"required\"").customer("free", "").start_without_vendors();
    assert!(is_turned_away(gateway.ports.tls, DOMAIN, &own, None));
    gateway.log.wait_for(1, &["TLS handshake failed", "127.0.0.1"]);
    assert_is_let_in(&gateway, &own, Some(&authority.sign("any.example")), "free");
    // Plain connections are none of its business.
    Esme::bound(&gateway, "free").unbind();
    gateway.end_well();
}

fn a_reload_changes_who_must_show_what_and_who_vouches_for_it(shards: Shards) {
    let (setup, own, first) = with_authority(Setup::new(shards), "customers");
    let shown = first.sign("one.acme.example");
    let rows = |keys: &str| format!("tls_client_certificate_names = [\"{keys}\"]");
    let setup = setup.customer("named", &rows("one.acme.example"));
    let text = setup.text();
    let gateway = setup.start_without_vendors();
    let (status, mut standing) = bind(gateway.ports.tls, &own, Some(&shown), "named", PASSWORD);
    assert_eq!(status, CommandStatus::ESME_ROK);
    // The customer's row.
    gateway.folder.write("gateway.toml", &text.replace("one.acme.example", "two.acme.example"));
    gateway.signal(Signal::HUP);
    gateway.log.wait_for(1, &["configuration in force"]);
    ask_until("the row in force", || {
        let (status, _esme) = bind(gateway.ports.tls, &own, Some(&shown), "named", PASSWORD);
        (status == CommandStatus::ESME_RINVPASWD).then_some(())
    });
    assert_is_let_in(&gateway, &own, Some(&first.sign("two.acme.example")), "named");
    // The authority's file, under the same name.
    let second = Authority::make(&gateway.folder, "customers");
    gateway.signal(Signal::HUP);
    gateway.log.wait_for(2, &["certificates reloaded"]);
    let renewed = second.sign("two.acme.example");
    ask_until("the new authority on each shard", || {
        let others = (0..8).all(|_| is_turned_away(gateway.ports.tls, DOMAIN, &own, Some(&shown)));
        others.then_some(())
    });
    assert_is_let_in(&gateway, &own, Some(&renewed), "named");
    // A file of authorities that cannot be read leaves the one before in force.
    gateway.folder.write("customers.pem", "no certificate");
    gateway.signal(Signal::HUP);
    assert!(gateway.log.wait_for(1, &["certificates not reloaded"]).contains("customers.pem"));
    assert_is_let_in(&gateway, &own, Some(&renewed), "named");
    standing.expect_nothing_more();
    standing.unbind();
    gateway.end_well();
}
