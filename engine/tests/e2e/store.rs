//! The message store without any service: what a node remembers in its folder after the process has gone.

use smpp_pdu::message::resp_message_id;
use smpp_pdu::{CommandStatus, Receipt, ShortMessage};

use crate::harness::{Esme, Gateway, Setup, Shards, Vendor, message, receipt, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    after_a_kill_a_receipt_finds_its_message_through_the_embedded_store,
    what_was_not_written_yet_is_written_when_the_gateway_stops,
    a_receipt_that_the_store_does_not_know_is_acknowledged_and_counted,
    a_folder_that_cannot_be_used_is_told_and_stops_no_message,
];

const STORE: &str = "[store]\nkind = \"embedded\"";

/// Has a message submitted and taken by the vendor as `theirs`; our id for it.
pub(crate) fn sent(esme: &mut Esme, link: &mut crate::harness::Link, theirs: &str) -> String {
    let sequence = esme.submit(&ShortMessage { registered_delivery: 1, ..message(b"hello") });
    link.accept_submit(theirs);
    let answer = esme.expect(smpp_pdu::CommandId::SUBMIT_SM_RESP);
    assert_eq!((answer.sequence, answer.status), (sequence, CommandStatus::ESME_ROK));
    String::from_utf8(resp_message_id(&answer.bytes).to_vec()).unwrap()
}

/// Sends the receipt of `theirs` and has the customer take it; it carries our id.
pub(crate) fn receipt_reaches(esme: &mut Esme, link: &mut crate::harness::Link, theirs: &str, ours: &str) {
    let delivered = link.deliver(&receipt(format!("id:{theirs} stat:DELIVRD err:000").as_bytes()));
    let delivery = esme.take_delivery();
    let seen = ShortMessage::decode(&delivery.bytes).unwrap();
    assert_eq!(Receipt::parse(seen.text()).id, Some(ours.as_bytes()));
    link.expect_delivered(delivered, CommandStatus::ESME_ROK);
}

/// Waits until so many notes are in the store.
pub(crate) fn wait_until_stored(gateway: &Gateway, records: u32) {
    gateway.wait_for_metric("smpp_gateway_store_records_total", &[], |stored| stored >= f64::from(records));
}

fn after_a_kill_a_receipt_finds_its_message_through_the_embedded_store(shards: Shards) {
    let vendor = Vendor::listen();
    let setup = Setup::usual(shards, vendor.address()).rows(STORE);
    let text = setup.text();
    let gateway = setup.launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let ours = sent(&mut esme, &mut link, "0077");
    wait_until_stored(&gateway, 1);
    let (folder, ports) = gateway.kill();
    drop((link, esme));
    let gateway = Gateway::launch(folder, ports, &text, None);
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    receipt_reaches(&mut esme, &mut link, "77", &ours);
    gateway.wait_for_metric("smpp_gateway_store_found_total", &[], |found| found == 1.0);
    gateway.end_well_without((esme, link));
}

fn what_was_not_written_yet_is_written_when_the_gateway_stops(shards: Shards) {
    let vendor = Vendor::listen();
    let setup = Setup::usual(shards, vendor.address()).rows(STORE);
    let text = setup.text();
    let mut gateway = setup.launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let ours = sent(&mut esme, &mut link, "8001");
    drop((esme, link));
    assert_eq!(gateway.terminate().status.code(), Some(0));
    let (folder, ports) = gateway.kill();
    let gateway = Gateway::launch(folder, ports, &text, None);
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    receipt_reaches(&mut esme, &mut link, "8001", &ours);
    gateway.end_well_without((esme, link));
}

fn a_receipt_that_the_store_does_not_know_is_acknowledged_and_counted(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::usual(shards, vendor.address()).rows(STORE).launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let delivered = link.deliver(&receipt(b"id:404 stat:DELIVRD err:000"));
    link.expect_delivered(delivered, CommandStatus::ESME_ROK);
    gateway.wait_for_metric("smpp_gateway_receipts_unknown_total", &[], |unknown| unknown == 1.0);
    gateway.end_well_without(link);
}

fn a_folder_that_cannot_be_used_is_told_and_stops_no_message(shards: Shards) {
    let vendor = Vendor::listen();
    let setup = Setup::usual(shards, vendor.address()).rows(STORE);
    std::fs::create_dir(setup.folder.path().join("data")).unwrap();
    let in_the_way = setup.folder.write("data/store", "no folder");
    let gateway = setup.launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    gateway.wait_until_told(Some("\"store\""));
    let mut esme = Esme::bound(&gateway, "acme");
    sent(&mut esme, &mut link, "1");
    std::fs::remove_file(in_the_way).unwrap();
    gateway.wait_until_told(None);
    wait_until_stored(&gateway, 1);
    gateway.end_well_without((esme, link));
}
