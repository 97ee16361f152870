//! Vendors that throttle, refuse, keep silent, answer twice or go away: what the customer is told, and what is sent
//! again.

mod common;

use common::*;
use smpp_pdu::message::resp_message_id;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, Tag, Tlvs};
use smpp_shards::settings::{BindType, LongMessages, RequestReceipts, VendorSettings};
use smpp_shards::{Action, CloseCause, Conn, ConnectFailure, ConnectStep, Settings};

const OK: CommandStatus = CommandStatus::ESME_ROK;

fn two_vendors() -> Settings {
    let mut settings = settings();
    settings.vendors.push(vendor("south"));
    settings.routing_rules.push(smpp_shards::settings::RuleSettings { priority: 200, ..rule("^1.*", "south") });
    settings
}

/// A stage with one customer session that has submitted one message; the link it went to.
fn submitted(settings: Settings) -> (Stage, Vec<Conn>, Conn) {
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(5, &message(b"hello")));
    (stage, links, customer)
}

#[test]
fn the_customers_message_reaches_the_vendor_octet_for_octet() {
    let (mut stage, links, customer) = submitted(settings());
    let sent = stage.pdu(links[0]);
    let original = submit(sent.sequence, &message(b"hello"));
    assert_eq!(sent.bytes, original);
    stage.feed(links[0], &submit_resp(sent.sequence, b"77"));
    let answer = stage.pdu(customer);
    assert_eq!((answer.command, answer.status, answer.sequence), (CommandId::SUBMIT_SM_RESP, OK, 5));
    assert_eq!(resp_message_id(&answer.bytes).len(), 36);
}

#[test]
fn stray_octets_behind_a_message_are_not_passed_on() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut pdu = submit(5, &message(b"hello"));
    let tidy = pdu.len();
    pdu.extend_from_slice(&[0, 0]);
    let length = (pdu.len() as u32).to_be_bytes();
    pdu[..4].copy_from_slice(&length);
    stage.feed(customer, &pdu);
    assert_eq!(stage.pdu(links[0]).bytes.len(), tidy);
}

#[test]
fn a_permanent_refusal_is_the_customers_answer() {
    let (mut stage, links, customer) = submitted(two_vendors());
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVDSTADR, sent.sequence));
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RINVDSTADR);
    stage.pass_ms(2_000);
    assert!(stage.pdus(links[1]).is_empty());
}

#[test]
fn an_error_answer_may_carry_any_body() {
    for body in [&b""[..], b"\0", b"id\0", b"id\0\x04\x25\x00\x01\x00"] {
        let (mut stage, links, customer) = submitted(settings());
        let sent = stage.pdu(links[0]);
        let mut pdu = answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVDSTADR, sent.sequence);
        pdu.extend_from_slice(body);
        let length = (pdu.len() as u32).to_be_bytes();
        pdu[..4].copy_from_slice(&length);
        stage.feed(links[0], &pdu);
        assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RINVDSTADR);
    }
}

#[test]
fn a_temporary_refusal_is_tried_three_times_then_at_the_next_vendor() {
    let (mut stage, links, customer) = submitted(two_vendors());
    for attempt in 0..3 {
        let sent = stage.pdu(links[0]);
        stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RSYSERR, sent.sequence));
        if attempt < 2 {
            stage.pass_ms(480);
            assert!(stage.pdus(links[0]).is_empty(), "not before 500 ms");
            stage.pass_ms(40);
        }
    }
    let sent = stage.pdu(links[1]);
    assert!(stage.pdus(customer).is_empty());
    stage.feed(links[1], &submit_resp(sent.sequence, b"1"));
    assert_eq!(stage.pdu(customer).status, OK);
}

#[test]
fn when_all_vendors_refuse_for_now_the_last_refusal_is_the_answer() {
    let (mut stage, links, customer) = submitted(settings());
    for _ in 0..3 {
        let sent = stage.pdu(links[0]);
        stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RSUBMITFAIL, sent.sequence));
        stage.pass_ms(520);
    }
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RSUBMITFAIL);
}

#[test]
fn a_throttle_rests_the_lane_keeps_the_order_and_uses_up_no_try() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(1, &message(b"first")));
    for _ in 0..4 {
        let sent = stage.pdu(links[0]);
        assert!(sent.bytes.ends_with(b"first"));
        stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RTHROTTLED, sent.sequence));
        assert!(stage.pdus(links[0]).is_empty(), "the lane rests");
        stage.pass_ms(500);
    }
    stage.feed(customer, &submit(2, &message(b"second")));
    let sent = stage.pdus(links[0]);
    assert!(sent[0].bytes.ends_with(b"first") && sent[1].bytes.ends_with(b"second"));
    assert!(stage.pdus(customer).is_empty());
}

#[test]
fn throttled_until_the_deadline_is_told_to_the_customer() {
    let (mut stage, links, customer) = submitted(settings());
    for _ in 0..100 {
        for sent in stage.pdus(links[0]) {
            stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RTHROTTLED, sent.sequence));
        }
        stage.pass_ms(120);
    }
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RTHROTTLED);
}

#[test]
fn a_vendor_that_never_answers_leaves_the_outcome_unknown_and_nothing_is_sent_again() {
    let (mut stage, links, customer) = submitted(two_vendors());
    let sent = stage.pdu(links[0]);
    stage.pass_ms(9_900);
    assert!(stage.pdus(customer).is_empty());
    stage.pass_ms(200);
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RUNKNOWNERR);
    // The late answer finds nothing, and disturbs nothing.
    stage.feed(links[0], &submit_resp(sent.sequence, b"late"));
    stage.pass_ms(2_000);
    assert!(stage.pdus(customer).is_empty());
    assert!(stage.pdus(links[1]).is_empty());
    assert_eq!(stage.shard.report().vendors[0].stray_answers, 1);
}

#[test]
fn a_doubled_answer_and_an_unknown_number_count_and_do_nothing() {
    let (mut stage, links, customer) = submitted(settings());
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    stage.feed(links[0], &submit_resp(0x7FFF_0000, b"1"));
    stage.feed(links[0], &submit_resp(0, b"1"));
    assert_eq!(stage.pdus(customer).len(), 1);
    assert_eq!(stage.shard.report().vendors[0].stray_answers, 3);
}

#[test]
fn generic_nack_counts_as_the_answer_to_the_submit() {
    let (mut stage, links, customer) = submitted(settings());
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &answer(CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDLEN, sent.sequence));
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RINVCMDLEN);
}

#[test]
fn a_link_lost_in_the_middle_of_a_pdu_leaves_its_submits_unknown_and_comes_back() {
    let (mut stage, links, customer) = submitted(settings());
    let sent = stage.pdu(links[0]);
    let half = submit_resp(sent.sequence, b"1");
    stage.feed(links[0], &half[..9]);
    stage.shard.closed(links[0], CloseCause::Reset, stage.now, &mut stage.out);
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RUNKNOWNERR);
    assert!(stage.connects().is_empty());
    stage.pass_ms(1_300);
    assert_eq!(stage.bind_links().len(), 1);
    stage.feed(customer, &submit(6, &message(b"again")));
}

#[test]
fn the_time_of_the_last_bind_is_of_whichever_came_up_last() {
    let mut stage =
        Stage::new(Settings { vendors: vec![VendorSettings { binds: 2, ..vendor("north") }], ..settings() });
    let times = |stage: &Stage| {
        let counters = &stage.shard.report().vendors[0];
        [counters.connected_unix_ms, counters.last_bind_unix_ms].map(|at| at.saturating_sub(1_700_000_000_000))
    };
    let conns: Vec<Conn> = stage.connects().into_iter().map(|link| stage.connect_link(link)).collect();
    assert_eq!(times(&stage), [0, 0]);
    for (conn, expected) in conns.iter().zip([[250, 250], [250, 500]]) {
        stage.pass_ms(250);
        let bind = stage.pdu(*conn);
        stage.feed(*conn, &answer(bind.command.response(), OK, bind.sequence));
        assert_eq!(times(&stage), expected);
    }
    stage.pass_ms(250);
    stage.shard.closed(conns[0], CloseCause::Reset, stage.now, &mut stage.out);
    assert_eq!(times(&stage), [250, 500], "an end is no bind");
    stage.pass_ms(1_300);
    stage.bind_links();
    let again = times(&stage);
    assert_eq!(again, [250, stage.now.unix_ms - 1_700_000_000_000], "beside the one that stayed up");
}

#[test]
fn with_no_vendor_up_messages_wait_and_go_when_one_comes() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(5, &message(b"hello")));
    assert!(stage.pdus(customer).is_empty());
    stage.pass_ms(3_000);
    let links = stage.bind_links();
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    assert_eq!(stage.pdu(customer).status, OK);
}

#[test]
fn with_no_vendor_up_until_the_deadline_the_queue_counts_as_full() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(5, &message(b"hello")));
    stage.pass_ms(10_100);
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RMSGQFUL);
}

#[test]
fn a_message_whose_validity_ends_while_it_waits_is_told_so() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let expiring = ShortMessage { validity_period: b"000000000002000R", ..message(b"x") };
    stage.feed(customer, &submit(5, &expiring));
    stage.pass_ms(2_100);
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RINVEXPIRY);
}

#[test]
fn what_has_passed_of_a_relative_validity_is_not_given_to_the_vendor_again() {
    for (validity, expected) in [
        (&b"000000000100000R"[..], &b"000000000056000R"[..]),
        (b"000001000000000R", b"000000235956000R"),
        (b"491231235959000+", b"491231235959000+"),
        (b"", b""),
    ] {
        let mut stage = Stage::new(settings());
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        stage.feed(customer, &submit(5, &ShortMessage { validity_period: validity, ..message(b"x") }));
        stage.pass_ms(4_000);
        let links = stage.bind_links();
        let sent = stage.pdu(links[0]);
        let text = |octets: &'static [u8]| String::from_utf8_lossy(octets);
        let there = ShortMessage::decode(&sent.bytes).unwrap().validity_period.to_vec();
        assert_eq!(String::from_utf8_lossy(&there), text(expected), "{}", text(validity));
    }
}

#[test]
fn a_full_queue_goes_to_the_next_vendor_then_is_refused() {
    let mut settings = two_vendors();
    for vendor in &mut settings.vendors {
        vendor.queue_messages = 2;
    }
    let mut stage = Stage::new(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for sequence in 1..=5 {
        stage.feed(customer, &submit(sequence, &message(b"x")));
    }
    let refused = stage.pdu(customer);
    assert_eq!((refused.sequence, refused.status), (5, CommandStatus::ESME_RMSGQFUL));
    let report = stage.shard.report();
    assert_eq!((report.vendors[0].queued, report.vendors[1].queued), (2, 2));
}

#[test]
fn a_vendors_window_is_never_exceeded_and_refills_as_answers_come() {
    let mut settings = settings();
    settings.vendors[0].window_size = 3;
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for sequence in 1..=10 {
        stage.feed(customer, &submit(sequence, &message(b"x")));
    }
    let mut seen = 0;
    while seen < 10 {
        let sent = stage.pdus(links[0]);
        assert!((1..=3).contains(&sent.len()));
        seen += sent.len();
        for pdu in sent {
            stage.feed(links[0], &submit_resp(pdu.sequence, b"1"));
        }
    }
    assert_eq!(stage.pdus(customer).len(), 10);
}

#[test]
fn higher_priority_goes_first_out_of_the_queue() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for (sequence, priority_flag) in [(1, 0), (2, 3), (3, 1), (4, 3)] {
        stage.feed(customer, &submit(sequence, &ShortMessage { priority_flag, ..message(&[sequence as u8]) }));
    }
    assert_eq!(stage.shard.report().vendors[0].queued_by_priority, [1, 1, 0, 2]);
    let links = stage.bind_links();
    let order: Vec<u8> = stage.pdus(links[0]).iter().map(|pdu| *pdu.bytes.last().unwrap()).collect();
    assert_eq!(order, [2, 4, 3, 1]);
    assert_eq!(stage.shard.report().vendors[0].queued_by_priority, [0; 4]);
}

#[test]
fn a_vendors_rate_is_kept_to_and_its_burst_goes_at_once() {
    let mut settings = settings();
    settings.vendors[0].throughput = 20;
    settings.vendors[0].burst = 5;
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for sequence in 1..=30 {
        stage.feed(customer, &submit(sequence, &message(b"x")));
    }
    assert_eq!(stage.pdus(links[0]).len(), 5);
    stage.pass_ms(500);
    assert_eq!(stage.pdus(links[0]).len(), 10);
    stage.pass_ms(1_000);
    assert_eq!(stage.pdus(links[0]).len(), 15);
}

#[test]
fn refused_binds_are_tried_again_after_longer_and_longer_times() {
    let mut stage = Stage::new(settings());
    for wait_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000u64] {
        let links = stage.connects();
        assert_eq!(links.len(), 1, "before waiting {wait_ms}");
        let conn = stage.connect_link(links[0]);
        let bind = stage.pdu(conn);
        stage.feed(conn, &answer(bind.command.response(), CommandStatus::ESME_RINVPASWD, bind.sequence));
        assert!(stage.was_closed(conn));
        stage.pass_ms(wait_ms * 4 / 5 - 10);
        assert!(stage.connects().is_empty(), "not before {wait_ms} less jitter");
        stage.pass_ms(wait_ms * 2 / 5 + 20);
    }
    assert_eq!(stage.shard.report().vendors[0].failures_in_a_row, 7);
    let alerts = stage.actions.iter().filter(|action| format!("{action:?}").contains("VendorAlert")).count();
    assert_eq!(alerts, 1);
}

#[test]
fn binds_that_are_taken_and_dropped_at_once_are_tried_again_after_longer_and_longer_times() {
    let mut stage = Stage::new(settings());
    let take_and_drop = |stage: &mut Stage, stands_ms| {
        let conn = stage.bind_links()[0];
        stage.pass_ms(stands_ms);
        stage.shard.closed(conn, CloseCause::EndOfStream, stage.now, &mut stage.out);
    };
    for wait_ms in [1_000, 2_000, 4_000u64] {
        take_and_drop(&mut stage, 100);
        stage.pass_ms(wait_ms * 4 / 5 - 10);
        assert!(stage.connects().is_empty(), "not before {wait_ms} less jitter");
        stage.pass_ms(wait_ms * 2 / 5 + 20);
    }
    take_and_drop(&mut stage, 15_000);
    stage.pass_ms(1_210);
    assert_eq!(stage.connects().len(), 1, "soon again after a bind that stood");
}

#[test]
fn a_vendor_that_drops_every_bind_at_once_is_an_alert_until_one_stands() {
    let mut settings = settings();
    settings.vendors[0].enquire_link_ms = 0;
    let mut stage = Stage::new(settings);
    for _ in 0..7 {
        let conn = stage.bind_links()[0];
        stage.pass_ms(100);
        stage.shard.closed(conn, CloseCause::EndOfStream, stage.now, &mut stage.out);
        stage.pass_ms(36_100);
    }
    assert_eq!(stage.shard.report().vendors[0].failures_in_a_row, 7);
    let alerts = stage.actions.iter().filter(|action| format!("{action:?}").contains("VendorAlert")).count();
    assert_eq!(alerts, 1);
    stage.bind_links();
    stage.pass_ms(5_000);
    assert_eq!(stage.shard.report().vendors[0].failures_in_a_row, 7, "it may be dropped as the others were");
    stage.pass_ms(5_100);
    assert_eq!(stage.shard.report().vendors[0].failures_in_a_row, 0);
}

#[test]
fn tlvs_of_version_5_go_to_vendors_of_version_5_alone() {
    let tlvs = b"\x04\x28\x00\x01\x10\x14\x00\x00\x02zz\x06\x00\x00\x01\x01";
    for (version, expected) in [(0x50, &tlvs[..]), (0x34, b"\x14\x00\x00\x02zz"), (0x33, b"")] {
        let mut settings = settings();
        settings.vendors[0].interface_version = version;
        let (mut stage, links) = Stage::with_vendors(settings);
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        stage.feed(customer, &submit(1, &ShortMessage { tlvs: Tlvs::new(tlvs), ..message(b"hello") }));
        let sent = stage.pdu(links[0]);
        let seen = ShortMessage::decode(&sent.bytes).unwrap();
        assert_eq!((seen.short_message, seen.tlvs.as_bytes()), (&b"hello"[..], expected), "{version:#x}");
    }
}

#[test]
fn a_vendor_that_cannot_be_reached_is_probed_every_three_seconds() {
    let mut stage = Stage::new(settings());
    for round in 0..6 {
        let links = stage.connects();
        assert_eq!(links.len(), 1, "round {round}");
        let failure = ConnectFailure { step: ConnectStep::Tcp, local: None, reason: "refused".into() };
        stage.shard.connect_failed(links[0], failure, stage.now, &mut stage.out);
        stage.pass_ms(3_700);
    }
}

#[test]
fn a_bind_that_is_never_answered_is_given_up() {
    let mut stage = Stage::new(settings());
    let links = stage.connects();
    let conn = stage.connect_link(links[0]);
    stage.pass_ms(10_050);
    assert!(stage.was_closed(conn));
}

#[test]
fn a_vendor_that_answers_no_enquire_link_is_dropped() {
    let (mut stage, links) = Stage::with_vendors(settings());
    stage.pass_ms(30_050);
    assert_eq!(stage.pdu(links[0]).command, CommandId::ENQUIRE_LINK);
    stage.pass_ms(10_050);
    assert!(stage.was_closed(links[0]));
}

#[test]
fn a_vendors_unbind_is_answered_and_its_last_answers_taken() {
    let (mut stage, links, customer) = submitted(settings());
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &header_only(CommandId::UNBIND, 9));
    assert_eq!(stage.pdu(links[0]).command, CommandId::UNBIND_RESP);
    stage.feed(customer, &submit(6, &message(b"queued")));
    assert!(stage.pdus(links[0]).is_empty(), "nothing more is submitted");
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    assert_eq!(stage.pdu(customer).status, OK);
    assert!(stage.was_closed(links[0]));
    stage.pass_ms(1_300);
    let links = stage.bind_links();
    assert!(stage.pdu(links[0]).bytes.ends_with(b"queued"));
}

#[test]
fn a_vendors_ways_are_settings() {
    let mut settings = settings();
    settings.vendors[0] = VendorSettings {
        source_ton: Some(0),
        dest_npi: Some(0),
        service_type: Some("OTP".into()),
        default_data_coding: Some(3),
        request_receipts: RequestReceipts::Always,
        long_messages: LongMessages::Sar,
        ..settings.vendors[0].clone()
    };
    settings.customers[0].force_source_address = Some("BRAND".into());
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let part = ShortMessage { esm_class: 0x40, ..message(b"\x05\x00\x03\x2a\x02\x01part") };
    stage.feed(customer, &submit(1, &part));
    let sent = stage.pdu(links[0]);
    let seen = ShortMessage::decode(&sent.bytes).unwrap();
    assert_eq!((seen.source.ton, seen.source.addr, seen.dest.npi), (0, &b"BRAND"[..], 0));
    assert_eq!((seen.service_type, seen.data_coding, seen.registered_delivery), (&b"OTP"[..], 3, 1));
    assert_eq!((seen.esm_class, seen.short_message), (0, &b"part"[..]));
    assert_eq!(seen.tlvs.find(Tag::SAR_MSG_REF_NUM).unwrap().integer(), Some(0x2A));
    assert_eq!(seen.tlvs.find(Tag::SAR_TOTAL_SEGMENTS).unwrap().integer(), Some(2));
    assert_eq!(seen.tlvs.find(Tag::SAR_SEGMENT_SEQNUM).unwrap().integer(), Some(1));
}

#[test]
fn where_receipts_are_always_asked_for_they_are_of_every_end() {
    for long_messages in [LongMessages::AsSent, LongMessages::Udh] {
        let mut settings = settings();
        settings.vendors[0].request_receipts = RequestReceipts::Always;
        settings.vendors[0].long_messages = long_messages;
        let (mut stage, links) = Stage::with_vendors(settings);
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        for (registered_delivery, expected) in [(0, 1), (1, 1), (2, 1), (3, 1), (0x12, 0x11)] {
            stage.feed(customer, &submit(1, &ShortMessage { registered_delivery, ..message(b"hello") }));
            let sent = stage.pdu(links[0]);
            let seen = ShortMessage::decode(&sent.bytes).unwrap();
            assert_eq!(seen.registered_delivery, expected, "asked for {registered_delivery:#x}");
        }
    }
}

/// One vendor that takes long messages in that form, and a customer.
fn with_long_messages(form: LongMessages) -> (Stage, Conn, Conn) {
    let mut settings = settings();
    settings.vendors[0].long_messages = form;
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    (stage, links[0], customer)
}

#[test]
fn a_payload_goes_in_parts_behind_headers_one_after_the_other() {
    let (mut stage, link, customer) = with_long_messages(LongMessages::Udh);
    let text: Vec<u8> = (0..400).map(|at| b'a' + (at % 26) as u8).collect();
    stage.feed(customer, &submit_payload(5, &text));
    let (mut got, mut references) = (Vec::new(), Vec::new());
    for number in 1..=3 {
        assert!(stage.pdus(customer).is_empty(), "answered when the vendor has all of it");
        let sent = stage.pdu(link);
        let part = ShortMessage::decode(&sent.bytes).unwrap();
        assert_eq!((part.esm_class, part.registered_delivery), (0x40, u8::from(number == 3)));
        assert_eq!(part.tlvs.find(Tag::MESSAGE_PAYLOAD), None);
        assert_eq!((&part.short_message[..3], &part.short_message[4..6]), (&[5, 0, 3][..], &[3, number][..]));
        references.push(part.short_message[3]);
        got.extend_from_slice(&part.short_message[6..]);
        stage.feed(link, &submit_resp(sent.sequence, &[b'0' + number]));
    }
    assert_eq!(got, text);
    assert!(references.iter().all(|reference| *reference == references[0]));
    let answer = stage.pdu(customer);
    assert_eq!((answer.command, answer.status, answer.sequence), (CommandId::SUBMIT_SM_RESP, OK, 5));
    assert_eq!(stage.shard.report().receipts_awaited, 1);
}

#[test]
fn a_payload_goes_in_parts_told_by_sar_parameters() {
    let (mut stage, link, customer) = with_long_messages(LongMessages::Sar);
    stage.feed(customer, &submit_payload(5, &[b'x'; 200]));
    for (number, length) in [(1, 152), (2, 48)] {
        let sent = stage.pdu(link);
        let part = ShortMessage::decode(&sent.bytes).unwrap();
        assert_eq!((part.esm_class, part.short_message.len()), (0, length));
        assert_eq!(part.tlvs.find(Tag::SAR_TOTAL_SEGMENTS).unwrap().integer(), Some(2));
        assert_eq!(part.tlvs.find(Tag::SAR_SEGMENT_SEQNUM).unwrap().integer(), Some(number));
        stage.feed(link, &submit_resp(sent.sequence, b"1"));
    }
    assert_eq!(stage.pdu(customer).status, OK);
}

#[test]
fn a_payload_that_fits_one_short_message_goes_as_one() {
    for form in [LongMessages::Udh, LongMessages::Sar] {
        let (mut stage, link, customer) = with_long_messages(form);
        stage.feed(customer, &submit_payload(5, &[b'x'; 160]));
        let sent = stage.pdu(link);
        let seen = ShortMessage::decode(&sent.bytes).unwrap();
        assert_eq!((seen.esm_class, seen.short_message, seen.registered_delivery), (0, &[b'x'; 160][..], 1));
        assert!(seen.tlvs.as_bytes().is_empty());
        stage.feed(link, &submit_resp(sent.sequence, b"1"));
        assert_eq!(stage.pdu(customer).status, OK);
    }
}

#[test]
fn a_part_that_is_refused_for_now_is_tried_again_and_another_vendor_begins_with_the_first() {
    let mut settings = two_vendors();
    for vendor in &mut settings.vendors {
        vendor.long_messages = LongMessages::Udh;
    }
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit_payload(5, &[b'x'; 200]));
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    for _ in 0..3 {
        let sent = stage.pdu(links[0]);
        assert_eq!(ShortMessage::decode(&sent.bytes).unwrap().short_message[5], 2);
        stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RSYSERR, sent.sequence));
        stage.pass_ms(600);
    }
    for number in [1, 2] {
        let sent = stage.pdu(links[1]);
        assert_eq!(ShortMessage::decode(&sent.bytes).unwrap().short_message[5], number);
        stage.feed(links[1], &submit_resp(sent.sequence, b"1"));
    }
    assert_eq!(stage.pdu(customer).status, OK);
}

#[test]
fn a_payload_of_more_parts_than_there_can_be_is_refused() {
    let (mut stage, link, customer) = with_long_messages(LongMessages::Udh);
    stage.feed(customer, &submit_payload(5, &[b'x'; 153 * 255 + 1]));
    assert!(stage.pdus(link).is_empty());
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RINVMSGLEN);
    stage.feed(customer, &submit_payload(6, &[b'x'; 153 * 255]));
    assert_eq!(stage.pdus(link).len(), 1);
}

#[test]
fn what_is_open_when_the_drains_time_is_up_is_answered() {
    use smpp_shards::DrainPhase;
    let mut settings = settings();
    settings.vendors[0].window_size = 1;
    let (mut stage, links, customer) = submitted(settings);
    stage.feed(customer, &submit(6, &message(b"waits for the window")));
    assert_eq!(stage.pdus(links[0]).len(), 1);
    stage.shard.drain(DrainPhase::Refuse, stage.now, &mut stage.out);
    assert!(!stage.shard.is_quiet() && stage.pdus(customer).is_empty());
    stage.shard.drain(DrainPhase::Settle, stage.now, &mut stage.out);
    stage.pass_ms(100);
    let mut told: Vec<_> = stage.pdus(customer).iter().map(|pdu| (pdu.sequence, pdu.status)).collect();
    told.sort_unstable_by_key(|(sequence, _)| *sequence);
    assert_eq!(told, [(5, CommandStatus::ESME_RUNKNOWNERR), (6, CommandStatus::ESME_RMSGQFUL)]);
    assert!(stage.shard.is_quiet());
}

#[test]
fn a_drain_refuses_new_work_finishes_what_is_open_and_unbinds_everyone() {
    use smpp_shards::DrainPhase;
    let (mut stage, links, customer) = submitted(settings());
    let sent = stage.pdu(links[0]);
    stage.shard.drain(DrainPhase::Refuse, stage.now, &mut stage.out);
    assert!(!stage.shard.report().is_quiet);
    stage.feed(customer, &submit(6, &message(b"late")));
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RSYSERR);
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    assert_eq!(stage.pdu(customer).status, OK);
    assert!(stage.shard.report().is_quiet);
    stage.shard.drain(DrainPhase::UnbindCustomers, stage.now, &mut stage.out);
    let unbind = stage.pdu(customer);
    assert_eq!(unbind.command, CommandId::UNBIND);
    stage.feed(customer, &header_only(CommandId::UNBIND_RESP, unbind.sequence));
    assert!(stage.was_closed(customer) && stage.shard.report().is_quiet);
    stage.shard.drain(DrainPhase::UnbindVendors, stage.now, &mut stage.out);
    let unbind = stage.pdu(links[0]);
    stage.feed(links[0], &header_only(CommandId::UNBIND_RESP, unbind.sequence));
    assert!(stage.was_closed(links[0]) && stage.shard.report().is_quiet);
    stage.pass_ms(60_000);
    stage.drain_actions();
    assert!(!stage.actions.iter().any(|action| matches!(action, Action::Connect { .. })));
}

#[test]
fn nothing_waits_for_a_vendor_that_is_only_received_from() {
    let mut settings = settings();
    settings.vendors[0].bind_type = BindType::Receiver;
    settings.vendors.push(vendor("south"));
    settings.routing_rules.push(rule("^1.*", "south"));
    let mut stage = Stage::new(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(1, &message(b"hello")));
    let links = stage.bind_links();
    let sent: Vec<_> = links.iter().map(|link| stage.pdus(*link).len()).collect();
    assert_eq!(sent, [0, 1], "the first vendor of the route never takes one");
}
