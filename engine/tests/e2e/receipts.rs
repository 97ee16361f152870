//! Delivery receipts and mobile-originated messages: each finds its customer, in every form that vendors write, and
//! waits or goes back where the customer cannot take it.

use std::time::{Duration, Instant};

use smpp_pdu::{Address, CommandId, CommandStatus, Receipt, ShortMessage};

use crate::harness::bench::clean_load;
use crate::harness::setup::PASSWORD;
use crate::harness::{
    Background, Esme, Gateway, Link, Setup, Shards, Vendor, message, receipt, smsc, with_one_shard_and_with_two,
};

with_one_shard_and_with_two![
    receipts_of_every_form_find_their_message,
    receipts_that_come_before_their_answer_find_their_message,
    a_receipt_that_comes_again_after_it_was_taken_is_not_delivered_again,
    receipts_reach_the_customer_that_submitted_and_no_other,
    a_receipt_that_matches_nothing_is_acknowledged_and_counted,
    a_receipt_that_was_not_asked_for_is_not_delivered,
    a_receipt_for_an_absent_customer_goes_back_and_is_delivered_later,
    a_receipt_waits_for_a_customer_that_comes_back_soon,
    more_receipts_than_may_wait_for_an_absent_customer_go_back_at_once,
    a_receipt_that_a_lost_bind_did_not_answer_goes_to_another_bind,
    a_refused_receipt_is_refused_to_the_vendor,
    the_customers_deliver_window_is_kept,
    receipts_carry_the_id_in_the_customers_form,
    a_mobile_originated_message_reaches_the_customer_of_its_number,
    a_mobile_originated_message_to_an_unknown_number_is_refused,
    a_stream_of_mobile_originated_messages_is_acknowledged,
];

fn receipts_of_every_form_find_their_message(shards: Shards) {
    const FORMS: [&str; 8] = [
        "standard",
        "no-sub",
        "short-dates",
        "hex-in-resp-decimal-in-receipt",
        "tlv-only",
        "text-only",
        "odd-case",
        "leading-zeros",
    ];
    let vendors = FORMS.map(|form| smsc(&["--receipt-format", form]));
    let mut setup = Setup::new(shards).customer("acme", "");
    for (number, (form, vendor)) in FORMS.iter().zip(&vendors).enumerate() {
        let keys = match *form {
            "hex-in-resp-decimal-in-receipt" => "message_id_format = \"hex\"\nreceipt_id_format = \"decimal\"",
            _ => "",
        };
        setup = setup.vendor(form, vendor.address(), keys).rule(form, &format!("dest_pattern = \"^1{number}\""));
    }
    let gateway = setup.start();
    gateway.wait_until_bound(FORMS.len());
    for (number, form) in FORMS.iter().enumerate() {
        let prefix = format!("1{number}55");
        let report = clean_load(gateway.address(), &["--count", "300", "--receipts", "--destination-prefix", &prefix]);
        assert_eq!(report.totals.receipts, 300, "{form}");
    }
    gateway.end_well();
}

fn receipts_that_come_before_their_answer_find_their_message(shards: Shards) {
    let vendor = smsc(&["--receipts-early", "--answer-delay-ms", "1..30", "--deliver-window", "1000"]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let report = clean_load(gateway.address(), &["--count", "3000", "--receipts", "--window", "20"]);
    assert_eq!(report.totals.receipts, 3000);
    gateway.wait_for_metric("smpp_gateway_receipts_early_total", &[], |count| count > 1000.0);
    gateway.end_well();
}

fn receipts_reach_the_customer_that_submitted_and_no_other(shards: Shards) {
    let vendors = [smsc(&["--receipt-delay-ms", "0..50"]), smsc(&["--receipt-delay-ms", "0..50"])];
    let mut setup = Setup::new(shards)
        .vendor("north", vendors[0].address(), "binds = 2")
        .vendor("south", vendors[1].address(), "")
        .rule("north", "weight = 1")
        .rule("south", "weight = 1");
    for number in 1..=6 {
        setup = setup.customer(&format!("c{number}"), "");
    }
    let gateway = setup.start();
    gateway.wait_until_bound(3);
    // The load matches every receipt to the message of its own session's customer.
    clean_load(gateway.address(), &["--customers", "6", "--sessions", "12", "--count", "6000", "--receipts"]);
    gateway.end_well();
    for vendor in vendors {
        assert!(vendor.stop().unwrap().submits > 1500, "both vendors get their share");
    }
}

/// A scripted vendor, one customer with one bind.
fn scripted(shards: Shards, gateway_keys: &str) -> (Gateway, Link, Esme) {
    let vendor = Vendor::listen();
    let gateway = Setup::usual(shards, vendor.address())
        .customer("other", "")
        .gateway(gateway_keys)
        .inbound("12025550123", "acme")
        .launch();
    let link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let esme = Esme::bound(&gateway, "acme");
    (gateway, link, esme)
}

/// A message that asks for receipts has been accepted, under that id at the vendor; our id.
fn accepted(esme: &mut Esme, link: &mut Link, registered_delivery: u8, vendor_id: &str) -> String {
    let sequence = esme.submit(&ShortMessage { registered_delivery, ..message(b"hello") });
    link.accept_submit(vendor_id);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK).message_id()
}

fn receipt_text(vendor_id: &str, stat: &str) -> Vec<u8> {
    format!("id:{vendor_id} sub:001 dlvrd:001 submit date:2401021504 done date:2401021505 stat:{stat} err:000 text:hi")
        .into_bytes()
}

fn a_receipt_that_matches_nothing_is_acknowledged_and_counted(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "");
    let stranger = link.deliver(&receipt(&receipt_text("nobody", "DELIVRD")));
    link.expect_delivered(stranger, CommandStatus::ESME_ROK);
    let empty = link.deliver(&receipt(b""));
    link.expect_delivered(empty, CommandStatus::ESME_ROK);
    gateway.wait_for_metric("smpp_gateway_receipts_unknown_total", &[], |count| count == 2.0);
    gateway.log.wait_for(1, &["receipt matches no message", "nobody"]);
    esme.expect_nothing_more();
    gateway.end_well_without((esme, link));
}

fn a_receipt_that_comes_again_after_it_was_taken_is_not_delivered_again(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "");
    accepted(&mut esme, &mut link, 1, "1");
    let first = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
    esme.take_delivery();
    link.expect_delivered(first, CommandStatus::ESME_ROK);
    let second = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
    link.expect_delivered(second, CommandStatus::ESME_ROK);
    esme.expect_nothing_more();
    gateway.end_well_without((esme, link));
}

fn a_receipt_that_was_not_asked_for_is_not_delivered(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "");
    accepted(&mut esme, &mut link, 0, "100");
    accepted(&mut esme, &mut link, 2, "200");
    let ours = accepted(&mut esme, &mut link, 2, "201");
    for (id, stat) in [("100", "DELIVRD"), ("200", "DELIVRD")] {
        let sequence = link.deliver(&receipt(&receipt_text(id, stat)));
        link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    }
    esme.expect_nothing_more();
    let sequence = link.deliver(&receipt(&receipt_text("201", "UNDELIV")));
    let delivery = esme.take_delivery();
    assert_eq!(Receipt::parse(delivery.message().text()).id, Some(ours.as_bytes()));
    link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn a_receipt_for_an_absent_customer_goes_back_and_is_delivered_later(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "receipt_hold_ms = 500");
    let ours = accepted(&mut esme, &mut link, 1, "1");
    esme.unbind();
    let start = Instant::now();
    let sequence = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
    link.expect_delivered(sequence, CommandStatus::ESME_RX_T_APPN);
    assert!(start.elapsed() >= Duration::from_millis(480), "{:?}", start.elapsed());
    let mut esme = Esme::bound_as(&gateway, "acme", CommandId::BIND_RECEIVER);
    esme.expect_nothing_more();
    let sequence = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
    let delivery = esme.take_delivery();
    assert_eq!(Receipt::parse(delivery.message().text()).id, Some(ours.as_bytes()));
    link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn a_receipt_waits_for_a_customer_that_comes_back_soon(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "receipt_hold_ms = 20000");
    accepted(&mut esme, &mut link, 1, "1");
    esme.unbind();
    let sequence = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
    gateway.wait_for_metric("smpp_gateway_deliveries_waiting", &[], |count| count == 1.0);
    // A transmitter and another customer cannot take it.
    let mut transmitter = Esme::bound_as(&gateway, "acme", CommandId::BIND_TRANSMITTER);
    let mut other = Esme::bound(&gateway, "other");
    transmitter.expect_nothing_more();
    other.expect_nothing_more();
    let mut esme = Esme::bound(&gateway, "acme");
    esme.take_delivery();
    link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, transmitter, other, link));
}

fn more_receipts_than_may_wait_for_an_absent_customer_go_back_at_once(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "receipt_hold_ms = 20000");
    let mut other = Esme::bound(&gateway, "other");
    for number in 0..20 {
        accepted(&mut esme, &mut link, 1, &format!("{number}"));
    }
    accepted(&mut other, &mut link, 1, "other");
    esme.unbind();
    let held: Vec<u32> =
        (0..20).map(|number| link.deliver(&receipt(&receipt_text(&format!("{number}"), "DELIVRD")))).collect();
    let back: Vec<u32> = (0..12).map(|_| link.expect(CommandId::DELIVER_SM_RESP).sequence).collect();
    assert_eq!(back, held[8..], "eight wait, the others do not");
    // Another customer's receipt passes meanwhile.
    let sequence = link.deliver(&receipt(&receipt_text("other", "DELIVRD")));
    other.take_delivery();
    link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    let mut esme = Esme::bound(&gateway, "acme");
    for sequence in &held[..8] {
        esme.take_delivery();
        link.expect_delivered(*sequence, CommandStatus::ESME_ROK);
    }
    gateway.end_well_without((esme, other, link));
}

fn a_receipt_that_a_lost_bind_did_not_answer_goes_to_another_bind(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "");
    let ours = accepted(&mut esme, &mut link, 1, "1");
    let sequence = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
    esme.expect(CommandId::DELIVER_SM);
    let mut second = Esme::bound_as(&gateway, "acme", CommandId::BIND_RECEIVER);
    drop(esme);
    let delivery = second.take_delivery();
    assert_eq!(Receipt::parse(delivery.message().text()).id, Some(ours.as_bytes()));
    link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((second, link));
}

fn a_refused_receipt_is_refused_to_the_vendor(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "");
    accepted(&mut esme, &mut link, 1, "1");
    for status in [CommandStatus::ESME_RX_T_APPN, CommandStatus::ESME_RSYSERR] {
        let sequence = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
        let delivery = esme.expect(CommandId::DELIVER_SM);
        esme.answer_delivery(&delivery, status);
        link.expect_delivered(sequence, status);
    }
    let sequence = link.deliver(&receipt(&receipt_text("1", "DELIVRD")));
    esme.take_delivery();
    link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn the_customers_deliver_window_is_kept(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::usual(shards, vendor.address()).smpp("deliver_window = 3").launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    for number in 0..7 {
        accepted(&mut esme, &mut link, 1, &format!("{number}"));
    }
    let sequences: Vec<u32> =
        (0..7).map(|number| link.deliver(&receipt(&receipt_text(&format!("{number}"), "DELIVRD")))).collect();
    let mut open: std::collections::VecDeque<_> = (0..3).map(|_| esme.expect(CommandId::DELIVER_SM)).collect();
    esme.expect_nothing_more();
    for sequence in sequences {
        let first = open.pop_front().unwrap();
        esme.answer_delivery(&first, CommandStatus::ESME_ROK);
        link.expect_delivered(sequence, CommandStatus::ESME_ROK);
        if sequence + 3 <= 7 {
            open.push_back(esme.expect(CommandId::DELIVER_SM));
        }
    }
    gateway.end_well_without((esme, link));
}

fn receipts_carry_the_id_in_the_customers_form(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::new(shards)
        .customer("hex", "message_id_format = \"hex\"")
        .customer("decimal", "message_id_format = \"decimal\"")
        .customer("old", "")
        .vendor("north", vendor.address(), "")
        .rule("north", "")
        .start();
    let is_hex = |id: &str| id.bytes().all(|octet| octet.is_ascii_hexdigit());
    let is_decimal = |id: &str| id.bytes().all(|octet| octet.is_ascii_digit());
    type Check<'a> = &'a dyn Fn(&str) -> bool;
    let cases: [(&str, u8, Check<'_>); 3] = [
        ("hex", 0x34, &|id| id.len() == 16 && is_hex(id)),
        ("decimal", 0x34, &|id| (1..=19).contains(&id.len()) && is_decimal(id)),
        ("old", 0x33, &|id| (1..=8).contains(&id.len()) && is_hex(id)),
    ];
    for (customer, version, is_right) in cases {
        let mut esme = Esme::connect(gateway.address());
        let answer = esme.bind_version(CommandId::BIND_TRANSCEIVER, customer, PASSWORD, version);
        assert_eq!(answer.status, CommandStatus::ESME_ROK);
        let asked = ShortMessage { registered_delivery: 1, ..message(b"hello") };
        let id = esme.submitted(&asked).message_id();
        assert!(is_right(&id), "{customer}: {id}");
        let delivery = esme.take_delivery();
        assert_eq!(Receipt::parse(delivery.message().text()).id, Some(id.as_bytes()));
        assert_eq!(delivery.message().tlvs.as_bytes().is_empty(), version == 0x33, "3.3 knows no TLVs");
        esme.unbind();
    }
    gateway.end_well();
}

fn inbound(dest: &'static [u8]) -> ShortMessage<'static> {
    ShortMessage {
        source: Address { ton: 1, npi: 1, addr: b"15557654321" },
        dest: Address { ton: 1, npi: 1, addr: dest },
        ..message(b"a word from the street")
    }
}

fn a_mobile_originated_message_reaches_the_customer_of_its_number(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "");
    let mut other = Esme::bound(&gateway, "other");
    for dest in [&b"12025550123"[..], b"+12025550123"] {
        let sequence = link.deliver(&inbound(dest));
        let delivery = esme.take_delivery();
        let message = delivery.message();
        assert!(!message.is_receipt());
        assert_eq!((message.source.addr, message.dest.addr), (&b"15557654321"[..], dest));
        assert_eq!(message.text(), b"a word from the street");
        link.expect_delivered(sequence, CommandStatus::ESME_ROK);
    }
    other.expect_nothing_more();
    gateway.end_well_without((esme, other, link));
}

fn a_mobile_originated_message_to_an_unknown_number_is_refused(shards: Shards) {
    let (gateway, mut link, mut esme) = scripted(shards, "");
    let sequence = link.deliver(&inbound(b"12025550199"));
    link.expect_delivered(sequence, CommandStatus::ESME_RX_P_APPN);
    gateway.log.wait_for(1, &["deliver_sm rejected", "12025550199"]);
    esme.expect_nothing_more();
    gateway.end_well_without((esme, link));
}

fn a_stream_of_mobile_originated_messages_is_acknowledged(shards: Shards) {
    let vendor = smsc(&["--mo-rate", "500", "--mo-to", "12025550123"]);
    let gateway = Setup::usual(shards, vendor.address()).inbound("12025550123", "acme").start();
    let report = Background::start(gateway.address(), &["--rate", "200", "--duration", "3", "--receipts"]).wait();
    assert_eq!(report.lost(), 0);
    assert!(report.totals.messages > 500, "{}", report.to_text());
    gateway.end_well();
    let counters = vendor.stop().unwrap();
    assert!(counters.messages_acknowledged > 500, "{}", counters.to_text());
}
