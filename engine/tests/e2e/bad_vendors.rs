//! Vendors that misbehave: silent, late, doubled, cut off, refusing, away. Customers get exactly one answer to each
//! submit, and traffic flows again when the vendor does.

use std::time::{Duration, Instant};

use smpp_pdu::encode::Encoder;
use smpp_pdu::{CommandId, CommandStatus};

use crate::harness::bench::{assert_clean, clean_load, smsc_at};
use crate::harness::message::submit_sm;
use crate::harness::setup::free_address;
use crate::harness::{Esme, Gateway, Link, Setup, Shards, Vendor, load, message, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    a_vendor_that_never_answers_leaves_the_outcome_unknown,
    an_answer_that_comes_too_late_is_counted_and_dropped,
    an_answer_that_comes_twice_reaches_the_customer_once,
    an_answer_under_an_unknown_sequence_reaches_nobody,
    a_vendor_that_closes_inside_a_pdu_is_bound_again,
    garbage_from_a_vendor_ends_its_link_alone,
    a_vendor_that_refuses_binds_is_asked_again_and_messages_wait,
    a_vendor_that_unbinds_is_answered_and_bound_again,
    a_vendor_that_comes_back_carries_traffic_within_five_seconds,
    a_vendor_that_answers_no_enquire_link_is_bound_again,
    a_vendor_that_never_reads_fills_its_queue_and_no_more,
    messages_of_a_vendor_that_is_down_go_to_the_next_one,
    messages_that_a_vendor_refuses_for_now_go_to_the_next_one,
    a_permanent_refusal_is_the_customers_answer,
    a_throttled_message_is_sent_again_and_its_lane_rests,
    a_lost_generic_nack_counts_as_the_answer,
    a_vendor_with_every_fault_at_once_costs_no_answer,
    the_vendors_rate_is_kept_and_used,
    the_vendors_window_is_kept_and_filled,
];

fn scripted(shards: Shards, gateway_keys: &str, vendor_keys: &str) -> (Vendor, Gateway, Link, Esme) {
    let vendor = Vendor::listen();
    let gateway = Setup::new(shards)
        .gateway(gateway_keys)
        .customer("acme", "")
        .vendor("north", vendor.address(), vendor_keys)
        .rule("north", "")
        .launch();
    let link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let esme = Esme::bound(&gateway, "acme");
    (vendor, gateway, link, esme)
}

fn a_vendor_that_never_answers_leaves_the_outcome_unknown(shards: Shards) {
    let (_vendor, gateway, mut link, mut esme) = scripted(shards, "", "response_timeout_ms = 500");
    let start = Instant::now();
    let sequence = esme.submit(&message(b"anybody there?"));
    link.take_submit();
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RUNKNOWNERR);
    assert!(start.elapsed() >= Duration::from_millis(480), "{:?}", start.elapsed());
    // It is not sent again, and the next message goes its way.
    let sequence = esme.submit(&message(b"and now?"));
    assert_eq!(link.accept_submit("2").text(), "and now?");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.wait_for_metric("smpp_gateway_unknown_outcomes_total", &[], |count| count == 1.0);
    gateway.end_well_without((esme, link));
}

fn an_answer_that_comes_too_late_is_counted_and_dropped(shards: Shards) {
    let (_vendor, gateway, mut link, mut esme) = scripted(shards, "", "response_timeout_ms = 300");
    let sequence = esme.submit(&message(b"slow"));
    let submit = link.take_submit();
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RUNKNOWNERR);
    link.answer_submit(&submit, "late");
    gateway.wait_for_metric("smpp_gateway_stray_answers_total", &[], |count| count == 1.0);
    esme.expect_nothing_more();
    gateway.end_well_without((esme, link));
}

fn an_answer_that_comes_twice_reaches_the_customer_once(shards: Shards) {
    let (_vendor, gateway, mut link, mut esme) = scripted(shards, "", "");
    for round in 0..5 {
        let sequence = esme.submit(&message(b"twice"));
        let submit = link.take_submit();
        link.answer_submit(&submit, &format!("{round}"));
        link.answer_submit(&submit, &format!("{round}"));
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    }
    gateway.wait_for_metric("smpp_gateway_stray_answers_total", &[], |count| count == 5.0);
    esme.expect_nothing_more();
    gateway.end_well_without((esme, link));
}

fn an_answer_under_an_unknown_sequence_reaches_nobody(shards: Shards) {
    let (_vendor, gateway, mut link, mut esme) = scripted(shards, "", "");
    let sequence = esme.submit(&message(b"hello"));
    let submit = link.take_submit();
    for strange in [0, submit.sequence + 1, submit.sequence + 100, 0x7FFF_FFFF, u32::MAX] {
        link.answer_sequence(strange, "nobody");
    }
    link.answer_submit(&submit, "42");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    esme.expect_nothing_more();
    gateway.wait_for_metric("smpp_gateway_stray_answers_total", &[], |count| count == 5.0);
    gateway.end_well_without((esme, link));
}

fn a_vendor_that_closes_inside_a_pdu_is_bound_again(shards: Shards) {
    let (vendor, gateway, mut link, mut esme) = scripted(shards, "", "");
    let sequence = esme.submit(&message(b"cut off"));
    let submit = link.take_submit();
    let mut answer = Vec::new();
    smpp_pdu::encode::submit_sm_resp(&mut answer, submit.sequence, b"0123456789");
    link.send(&answer[..20]);
    drop(link);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RUNKNOWNERR);
    let mut link = vendor.accept_bound();
    let sequence = esme.submit(&message(b"whole again"));
    assert_eq!(link.accept_submit("1").text(), "whole again", "what was cut off is not sent again");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn garbage_from_a_vendor_ends_its_link_alone(shards: Shards) {
    let (vendor, gateway, mut link, mut esme) = scripted(shards, "", "");
    let sequence = esme.submit(&message(b"hello"));
    link.take_submit();
    link.send(b"\xFF\xFFnot SMPP at all, and long enough for a header");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RUNKNOWNERR);
    let mut link = vendor.accept_bound();
    let mut unknown = Vec::new();
    Encoder::new(&mut unknown, CommandId(0x0000_0999), CommandStatus::ESME_ROK, 5).octets(&[0; 9]).finish();
    link.send(&unknown);
    link.expect_answer(CommandId::GENERIC_NACK, 5, CommandStatus::ESME_RINVCMDID);
    let sequence = esme.submit(&message(b"hello"));
    link.accept_submit("1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

/// Two refusals take about three seconds; the messages wait within `relay_deadline_ms`.
fn a_vendor_that_refuses_binds_is_asked_again_and_messages_wait(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::usual(shards, vendor.address()).gateway("relay_deadline_ms = 20000").launch();
    let mut esme = {
        gateway.wait_until_accepting();
        Esme::bound(&gateway, "acme")
    };
    let sequence = esme.submit(&message(b"patience"));
    for _ in 0..2 {
        let mut link = vendor.accept();
        let bind = link.take_bind();
        link.refuse_bind(&bind, CommandStatus::ESME_RBINDFAIL);
        link.expect_end();
    }
    gateway.log.wait_for(2, &["vendor's link is down", "bind refused with ESME_RBINDFAIL", "again_ms"]);
    let mut link = vendor.accept_bound();
    assert_eq!(link.accept_submit("1").text(), "patience");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn a_vendor_that_unbinds_is_answered_and_bound_again(shards: Shards) {
    let (vendor, gateway, mut link, mut esme) = scripted(shards, "", "");
    let sequence = link.sequence();
    link.send_header(CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
    link.expect_answer(CommandId::UNBIND_RESP, sequence, CommandStatus::ESME_ROK);
    link.expect_end();
    let sequence = esme.submit(&message(b"wait for me"));
    let mut link = vendor.accept_bound();
    assert_eq!(link.accept_submit("1").text(), "wait for me");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

/// Away for so long that the gateway only probes; messages that come meanwhile are carried too.
fn a_vendor_that_comes_back_carries_traffic_within_five_seconds(shards: Shards) {
    let address = free_address();
    let vendor = smsc_at(&address.to_string(), &[]);
    let gateway = Setup::usual(shards, address).gateway("relay_deadline_ms = 20000").start();
    clean_load(gateway.address(), &["--count", "100"]);
    vendor.stop().unwrap();
    gateway.log.wait_for(3, &["vendor could not be connected"]);
    let mut esme = Esme::bound(&gateway, "acme");
    let sequence = esme.submit(&message(b"hurry"));
    let back = Instant::now();
    let vendor = smsc_at(&address.to_string(), &[]);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    let took = back.elapsed();
    println!("{shards:?}: traffic {took:?} after the vendor came back");
    assert!(took < Duration::from_secs(5), "{took:?}");
    clean_load(gateway.address(), &["--count", "100", "--receipts"]);
    gateway.end_well_without(esme);
    vendor.stop().unwrap();
}

fn a_vendor_that_answers_no_enquire_link_is_bound_again(shards: Shards) {
    let (vendor, gateway, mut link, mut esme) =
        scripted(shards, "", "enquire_link_ms = 300\nresponse_timeout_ms = 500");
    link.expect(CommandId::ENQUIRE_LINK);
    let mut link = vendor.accept_bound();
    let sequence = esme.submit(&message(b"over the new link"));
    let submit = loop {
        let pdu = link.pdu();
        if pdu.command == CommandId::SUBMIT_SM {
            break pdu;
        }
        link.send_header(pdu.command.response(), CommandStatus::ESME_ROK, pdu.sequence);
    };
    link.answer_submit(&submit, "1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

/// What does not fit the vendor's window and queue is refused at once; the rest is answered when the deadline ends it.
fn a_vendor_that_never_reads_fills_its_queue_and_no_more(shards: Shards) {
    let (_vendor, gateway, link, mut esme) = scripted(
        shards,
        "relay_deadline_ms = 3000",
        "window_size = 1000\nqueue_messages = 2000\nresponse_timeout_ms = 2000",
    );
    let before = gateway.resident_bytes();
    const COUNT: u32 = 9000;
    let octets: Vec<u8> = (1..=COUNT).flat_map(|sequence| submit_sm(sequence, &message(&[b'x'; 200]))).collect();
    esme.send(&octets);
    let mut outcomes = std::collections::BTreeMap::new();
    for _ in 0..COUNT {
        let answer = esme.expect(CommandId::SUBMIT_SM_RESP);
        *outcomes.entry(answer.status.to_string()).or_insert(0) += 1;
    }
    println!("{shards:?}: {outcomes:?}, grown by {} KiB", (gateway.resident_bytes_max() - before) / 1024);
    let count = |status: CommandStatus| outcomes.get(&status.to_string()).copied().unwrap_or(0);
    assert!(count(CommandStatus::ESME_RMSGQFUL) >= COUNT - 1000 - 2000 - 1000, "{outcomes:?}");
    assert!(count(CommandStatus::ESME_RUNKNOWNERR) >= 1000, "{outcomes:?}");
    assert_eq!(count(CommandStatus::ESME_ROK), 0, "{outcomes:?}");
    assert!(gateway.resident_bytes_max() - before < 32 << 20);
    esme.expect_nothing_more();
    gateway.end_well_without((esme, link));
}

fn two_vendors(shards: Shards, first: &Vendor, second: &Vendor) -> Setup {
    Setup::new(shards)
        .gateway("retry_interval_ms = 50")
        .customer("acme", "")
        .vendor("first", first.address(), "")
        .vendor("second", second.address(), "")
        .rule("first", "priority = 1")
        .rule("second", "priority = 2")
}

fn messages_of_a_vendor_that_is_down_go_to_the_next_one(shards: Shards) {
    let (first, second) = (Vendor::listen(), Vendor::listen());
    let gateway = two_vendors(shards, &first, &second).launch();
    let (mut one, mut two) = (first.accept_bound(), second.accept_bound());
    gateway.wait_until_bound(2);
    let mut esme = Esme::bound(&gateway, "acme");
    let sequence = esme.submit(&message(b"to the first"));
    one.accept_submit("1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    drop((one, first));
    gateway.log.wait_for(1, &["vendor's link is down", "first"]);
    let sequence = esme.submit(&message(b"to the second"));
    assert_eq!(two.accept_submit("2").text(), "to the second");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, two));
}

/// Three tries at the first, then one at the second, which takes it.
fn messages_that_a_vendor_refuses_for_now_go_to_the_next_one(shards: Shards) {
    let (first, second) = (Vendor::listen(), Vendor::listen());
    let gateway = two_vendors(shards, &first, &second).launch();
    let (mut one, mut two) = (first.accept_bound(), second.accept_bound());
    gateway.wait_until_bound(2);
    let mut esme = Esme::bound(&gateway, "acme");
    let sequence = esme.submit(&message(b"somebody"));
    for _ in 0..3 {
        let submit = one.take_submit();
        one.refuse_submit(&submit, CommandStatus::ESME_RSYSERR);
    }
    two.accept_submit("2");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    one.expect_nothing_more();
    // Where both refuse, the last refusal is the answer.
    let sequence = esme.submit(&message(b"nobody"));
    for link in [&mut one, &mut two] {
        for _ in 0..3 {
            let submit = link.take_submit();
            link.refuse_submit(&submit, CommandStatus::ESME_RSUBMITFAIL);
        }
    }
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RSUBMITFAIL);
    esme.expect_nothing_more();
    gateway.end_well_without((esme, one, two));
}

fn a_permanent_refusal_is_the_customers_answer(shards: Shards) {
    let (first, second) = (Vendor::listen(), Vendor::listen());
    let gateway = two_vendors(shards, &first, &second).launch();
    let (mut one, mut two) = (first.accept_bound(), second.accept_bound());
    gateway.wait_until_bound(2);
    let mut esme = Esme::bound(&gateway, "acme");
    for status in [CommandStatus::ESME_RINVDSTADR, CommandStatus(0x0000_0400)] {
        let sequence = esme.submit(&message(b"never"));
        let submit = one.take_submit();
        one.refuse_submit(&submit, status);
        let answer = esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, status);
        assert_eq!(answer.bytes.len(), 16, "a refusal has no body");
    }
    one.expect_nothing_more();
    two.expect_nothing_more();
    gateway.end_well_without((esme, one, two));
}

fn a_throttled_message_is_sent_again_and_its_lane_rests(shards: Shards) {
    let (_vendor, gateway, mut link, mut esme) = scripted(shards, "", "window_size = 1");
    let first = esme.submit(&message(b"first"));
    let submit = link.take_submit();
    link.refuse_submit(&submit, CommandStatus::ESME_RTHROTTLED);
    let refused = Instant::now();
    let second = esme.submit(&message(b"second"));
    assert_eq!(link.accept_submit("1").text(), "first", "the order is kept");
    assert!(refused.elapsed() >= Duration::from_millis(45), "{:?}", refused.elapsed());
    assert_eq!(link.accept_submit("2").text(), "second");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, first, CommandStatus::ESME_ROK);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, second, CommandStatus::ESME_ROK);
    gateway.end_well_without((esme, link));
}

fn a_lost_generic_nack_counts_as_the_answer(shards: Shards) {
    let (_vendor, gateway, mut link, mut esme) = scripted(shards, "retry_count = 1", "");
    let sequence = esme.submit(&message(b"what?"));
    let submit = link.take_submit();
    link.send_header(CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID, submit.sequence);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RINVCMDID);
    gateway.end_well_without((esme, link));
}

/// Every submit gets exactly one answer, and the customer's sessions stand.
fn a_vendor_with_every_fault_at_once_costs_no_answer(shards: Shards) {
    let vendor = smsc(&[
        "--answer-delay-ms",
        "0..20",
        "--throttle-percent",
        "2",
        "--fail-percent",
        "2",
        "--silent-percent",
        "1",
        "--twice-percent",
        "5",
        "--unknown-sequence-percent",
        "2",
        "--drop-every",
        "1.5",
        "--cut-after",
        "700",
    ]);
    let gateway = Setup::new(shards)
        .gateway("relay_deadline_ms = 4000")
        .customer("acme", "")
        .vendor("north", vendor.address(), "binds = 3\nresponse_timeout_ms = 1000\nwindow_size = 50")
        .rule("north", "")
        .start();
    let report = load(gateway.address(), &["--sessions", "5", "--window", "40", "--duration", "5"]);
    assert_eq!(report.problems, [""; 0], "{}", report.to_text());
    assert_eq!(report.totals.sent, report.totals.answered);
    assert!(report.totals.accepted > report.totals.sent / 2, "{}", report.to_text());
    gateway.wait_for_metric("smpp_gateway_messages_open", &[], |count| count == 0.0);
    gateway.end_well();
}

fn the_vendors_rate_is_kept_and_used(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .vendor("north", vendor.address(), "throughput = 300\nburst = 30")
        .rule("north", "")
        .start();
    let report = load(gateway.address(), &["--sessions", "4", "--window", "25", "--duration", "3"]);
    assert_clean(&report);
    let most = 30.0 + 300.0 * (report.whole_seconds + 0.1);
    assert!((report.totals.accepted as f64) <= most, "{}", report.to_text());
    // A machine that stands still for longer than a burst lasts loses what would have been sent meanwhile.
    assert!((report.totals.accepted as f64) >= 300.0 * 3.0 * 0.5, "{}", report.to_text());
    gateway.end_well();
}

fn the_vendors_window_is_kept_and_filled(shards: Shards) {
    let vendor = smsc(&["--answer-delay-ms", "20"]);
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .vendor("north", vendor.address(), "window_size = 7")
        .rule("north", "")
        .start();
    let report = load(gateway.address(), &["--sessions", "4", "--window", "25", "--duration", "1"]);
    assert_clean(&report);
    gateway.end_well();
    let counters = vendor.stop().unwrap();
    assert_eq!(counters.unanswered_max, 7);
}
