//! Binds: what is taken, what is refused and how, and a first message with its receipt.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use smpp_pdu::bind::BindResp;
use smpp_pdu::{CommandId, CommandStatus, Receipt, ShortMessage, Tag};

use crate::harness::bench::clean_load;
use crate::harness::esme::bind_pdu;
use crate::harness::gateway::PROGRAM;
use crate::harness::setup::PASSWORD;
use crate::harness::{Esme, Gateway, PATIENCE, Setup, Shards, message, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    the_smallest_real_configuration_works,
    a_transceiver_submits_and_gets_its_receipt,
    a_receiver_gets_the_receipt_of_what_a_transmitter_submitted,
    a_wrong_password_is_refused,
    an_unknown_system_id_is_refused,
    an_inactive_customer_is_refused,
    a_hashed_password_is_checked,
    one_bind_too_many_is_refused_until_another_one_ends,
    a_bind_from_a_wrong_address_is_refused,
    binds_of_version_3_3_and_5_0_are_taken,
    enquire_link_is_answered_before_the_bind,
    a_connection_that_does_not_bind_is_closed,
    a_refused_bind_disturbs_no_other_session,
    an_address_that_keeps_failing_waits_for_its_refusals_and_nobody_else_does,
];

/// As in the documentation: all keys but addresses and the folder, and pinned cores.
fn the_smallest_real_configuration_works(shards: Shards) {
    let vendor = smsc(&["--system-id", "gateway", "--password", "gateway1"]);
    let setup = Setup::new(shards);
    let (ports, port) = (setup.ports, vendor.address().port());
    let text = format!(
        r#"
[gateway]
node_id = "gw-1"
accept = "journal"
data_dir = {data_dir:?}

[shards]
cores = {cores}

[smpp]
listen = "{smpp}"

[control]
listen = "{control}"
metrics_listen = "{metrics}"

[[customers]]
smpp_system_id = "acme"
smpp_password = "secret12"
allowed_source_addresses = ["*"]

[[vendors]]
instance_name = "north"
host = "127.0.0.1"
port = {port}
username = "gateway"
password = "gateway1"
bind_type = "transceiver"
binds = 2
window_size = 1000

[[routing_rules]]
priority = 10
dest_pattern = "^1.*"
vendor = "north"
"#,
        data_dir = setup.folder.path().join("data"),
        cores = shards.cores(),
        smpp = ports.smpp,
        control = ports.control,
        metrics = ports.metrics,
    );
    let gateway = Gateway::launch(setup.folder, ports, &text, None);
    gateway.wait_until_ready();
    clean_load(gateway.address(), &["--count", "2000", "--receipts"]);
    gateway.end_well();
    assert_eq!(vendor.stop().unwrap().submits, 2000);
}

fn a_transceiver_submits_and_gets_its_receipt(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    let asked = ShortMessage { registered_delivery: 1, ..message(b"hello") };
    let answer = esme.submitted(&asked);
    assert_eq!(answer.status, CommandStatus::ESME_ROK);
    assert_receipt(&mut esme, &answer.message_id());
    esme.unbind();
    gateway.end_well();
}

fn a_receiver_gets_the_receipt_of_what_a_transmitter_submitted(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut receiver = Esme::bound_as(&gateway, "acme", CommandId::BIND_RECEIVER);
    let mut transmitter = Esme::bound_as(&gateway, "acme", CommandId::BIND_TRANSMITTER);
    let asked = ShortMessage { registered_delivery: 1, ..message(b"hello") };
    let answer = transmitter.submitted(&asked);
    assert_receipt(&mut receiver, &answer.message_id());
    transmitter.expect_nothing_more();
    transmitter.unbind();
    receiver.unbind();
    gateway.end_well();
}

/// The next PDU is the receipt of the message with that id: our id in the text and in the TLV.
fn assert_receipt(esme: &mut Esme, message_id: &str) {
    assert_eq!(message_id.len(), 36);
    let delivery = esme.take_delivery();
    let message = delivery.message();
    assert!(message.is_receipt());
    let receipt = Receipt::parse(message.text());
    assert_eq!(receipt.id, Some(message_id.as_bytes()));
    assert_eq!(receipt.stat, Some(&b"DELIVRD"[..]));
    assert_eq!(message.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).unwrap().c_octets(), message_id.as_bytes());
    assert_eq!((message.source.addr, message.dest.addr), (&b"15551234567"[..], &b"ACME"[..]));
}

/// A gateway that needs no vendor: these tests end at the bind.
fn gateway_for_binds(shards: Shards, customer_keys: &str) -> Gateway {
    Setup::new(shards).customer("acme", customer_keys).start_without_vendors()
}

/// The answer to a bind, behind which the connection is closed.
fn refusal(gateway: &Gateway, system_id: &str, password: &str) -> CommandStatus {
    let mut esme = Esme::connect(gateway.address());
    let answer = esme.bind(CommandId::BIND_TRANSCEIVER, system_id, password);
    assert_eq!(answer.bytes.len(), 16, "a refusal has no body");
    esme.expect_end();
    answer.status
}

fn a_wrong_password_is_refused(shards: Shards) {
    let gateway = gateway_for_binds(shards, "");
    assert_eq!(refusal(&gateway, "acme", "secret13"), CommandStatus::ESME_RINVPASWD);
    assert_eq!(refusal(&gateway, "acme", ""), CommandStatus::ESME_RINVPASWD);
    assert!(gateway.log.wait_for(1, &["bind rejected", "acme"]).contains("ESME_RINVPASWD"));
    assert_eq!(gateway.log.count(&["secret13"]), 0, "the log shows no password");
    gateway.end_well();
}

fn an_unknown_system_id_is_refused(shards: Shards) {
    let gateway = gateway_for_binds(shards, "");
    assert_eq!(refusal(&gateway, "nobody", PASSWORD), CommandStatus::ESME_RINVSYSID);
    assert_eq!(refusal(&gateway, "", PASSWORD), CommandStatus::ESME_RINVSYSID);
    gateway.end_well();
}

fn an_inactive_customer_is_refused(shards: Shards) {
    let gateway = gateway_for_binds(shards, "active = false");
    assert_eq!(refusal(&gateway, "acme", PASSWORD), CommandStatus::ESME_RINVSYSID);
    gateway.end_well();
}

fn a_hashed_password_is_checked(shards: Shards) {
    let mut child =
        Command::new(PROGRAM).arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"correct horse\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    let gateway = gateway_for_binds(shards, &format!("smpp_password_hash = {:?}", hash.trim_end()));
    assert_eq!(refusal(&gateway, "acme", "wrong horse"), CommandStatus::ESME_RINVPASWD);
    let mut esme = Esme::connect(gateway.address());
    let answer = esme.bind(CommandId::BIND_TRANSCEIVER, "acme", "correct horse");
    assert_eq!(answer.status, CommandStatus::ESME_ROK);
    gateway.end_well_without(esme);
}

fn one_bind_too_many_is_refused_until_another_one_ends(shards: Shards) {
    let gateway = gateway_for_binds(shards, "smpp_max_binds = 2");
    let first = Esme::bound(&gateway, "acme");
    let _second = Esme::bound_as(&gateway, "acme", CommandId::BIND_RECEIVER);
    assert_eq!(refusal(&gateway, "acme", PASSWORD), CommandStatus::ESME_RBINDFAIL);
    first.unbind();
    let third = Esme::bound(&gateway, "acme");
    assert_eq!(refusal(&gateway, "acme", PASSWORD), CommandStatus::ESME_RBINDFAIL);
    drop(third);
    gateway.log.wait_for(2, &["customer's session ended"]);
    Esme::bound(&gateway, "acme").unbind();
    gateway.end_well();
}

fn a_bind_from_a_wrong_address_is_refused(shards: Shards) {
    let gateway = Setup::new(shards)
        .customer("far", "smpp_allowed_ips = [\"10.0.0.0/8\", \"192.0.2.1\"]")
        .customer("near", "smpp_allowed_ips = [\"10.0.0.0/8\", \"127.0.0.0/8\"]")
        .start_without_vendors();
    assert_eq!(refusal(&gateway, "far", PASSWORD), CommandStatus::ESME_RBINDFAIL);
    Esme::bound(&gateway, "near").unbind();
    gateway.end_well();
}

fn binds_of_version_3_3_and_5_0_are_taken(shards: Shards) {
    let gateway = gateway_for_binds(shards, "");
    for (version, told) in [(0x33, None), (0x34, Some(0x34)), (0x50, Some(0x34))] {
        let mut esme = Esme::connect(gateway.address());
        let answer = esme.bind_version(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD, version);
        assert_eq!(answer.status, CommandStatus::ESME_ROK);
        let body = BindResp::decode(&answer.bytes);
        assert_eq!((body.system_id, body.sc_interface_version), (&b"smpp-gateway"[..], told));
        esme.unbind();
    }
    gateway.end_well();
}

fn enquire_link_is_answered_before_the_bind(shards: Shards) {
    let gateway = gateway_for_binds(shards, "");
    let mut esme = Esme::connect(gateway.address());
    esme.expect_nothing_more();
    assert_eq!(esme.bind(CommandId::BIND_TRANSMITTER, "acme", PASSWORD).status, CommandStatus::ESME_ROK);
    esme.expect_nothing_more();
    esme.unbind();
    gateway.end_well();
}

fn a_connection_that_does_not_bind_is_closed(shards: Shards) {
    let gateway = Setup::new(shards).customer("acme", "").smpp("bind_timeout_ms = 500").start_without_vendors();
    let mut esme = Esme::connect(gateway.address());
    let start = std::time::Instant::now();
    esme.expect_end();
    assert!((400..PATIENCE.as_millis()).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    gateway.end_well();
}

fn a_refused_bind_disturbs_no_other_session(shards: Shards) {
    let gateway = gateway_for_binds(shards, "smpp_max_binds = 1");
    let mut esme = Esme::bound(&gateway, "acme");
    for _ in 0..20 {
        refusal(&gateway, "acme", "wrong");
        refusal(&gateway, "nobody", PASSWORD);
        refusal(&gateway, "acme", PASSWORD);
        esme.expect_nothing_more();
    }
    esme.unbind();
    gateway.end_well();
}

fn an_address_that_keeps_failing_waits_for_its_refusals_and_nobody_else_does(shards: Shards) {
    const DELAY: Duration = Duration::from_millis(700);
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .rows("[auth]\nfailures_undelayed = 1\nfailure_delay_ms = 700\nfailure_delay_max_ms = 700")
        .start_without_vendors();
    let stranger = Ipv4Addr::new(127, 0, 0, 2);
    for least in [Duration::ZERO, DELAY, DELAY, DELAY] {
        let mut esme = Esme::connect_from(stranger, gateway.address());
        let start = Instant::now();
        let answer = esme.bind(CommandId::BIND_TRANSCEIVER, "acme", "wrong");
        assert_eq!(answer.status, CommandStatus::ESME_RINVPASWD);
        assert!(start.elapsed() >= least, "{:?}", start.elapsed());
        esme.expect_end();
    }
    // The fifth waits; another address comes in meanwhile and is not held up by it.
    let mut waiting = Esme::connect_from(stranger, gateway.address());
    waiting.send(&bind_pdu(CommandId::BIND_TRANSCEIVER, 9, "nobody", PASSWORD, 0x34));
    Esme::bound(&gateway, "acme").unbind();
    waiting.expect_answer(CommandId::BIND_TRANSCEIVER_RESP, 9, CommandStatus::ESME_RINVSYSID);
    waiting.expect_end();
    let line = gateway.log.wait_for(1, &["binds from an address keep failing"]);
    assert!(line.contains("127.0.0.2") && line.contains("\"failures\":5"), "{line}");
    assert_eq!(gateway.metric("smpp_gateway_auth_failures_total", &[]), 5.0);
    assert_eq!(gateway.metric("smpp_gateway_auth_failures_delayed_total", &[]), 4.0);
    gateway.wait_for_metric("smpp_gateway_auth_failing_addresses", &[], |count| count == 1.0);
    // Whoever knows the password gets in at once, and its address is as new.
    let mut esme = Esme::connect_from(stranger, gateway.address());
    assert_eq!(esme.bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD).status, CommandStatus::ESME_ROK);
    esme.unbind();
    gateway.wait_for_metric("smpp_gateway_auth_failing_addresses", &[], |count| count == 0.0);
    gateway.end_well();
}
