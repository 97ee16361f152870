//! Bad input from a customer gets the exact answer, and nothing more than that happens.

mod common;

use common::*;
use smpp_pdu::{Address, CommandId, CommandStatus};
use smpp_shards::ReadMode;

fn stage() -> Stage {
    Stage::with_vendors(settings()).0
}

#[test]
fn garbage_is_answered_with_generic_nack_and_the_connection_closed() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(conn, b"GET / HTTP/1.1\r\n\r\n");
    let nack = stage.pdu(conn);
    assert_eq!((nack.command, nack.status), (CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDLEN));
    assert!(stage.was_closed(conn));
}

#[test]
fn a_command_length_that_cannot_be_closes_the_connection() {
    for length in [0u32, 1, 15, 70_001, 0x8000_0000, u32::MAX] {
        let mut stage = stage();
        let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 9]);
        stage.feed(conn, &bytes);
        let nack = stage.pdu(conn);
        assert_eq!((nack.status, nack.sequence), (CommandStatus::ESME_RINVCMDLEN, 9), "command_length {length}");
        assert!(stage.was_closed(conn));
    }
}

#[test]
fn half_a_header_is_waited_for_and_the_bind_timer_ends_it() {
    let mut stage = stage();
    let conn = stage.accept();
    stage.feed(conn, &[0, 0, 0, 16, 0, 0]);
    assert_eq!(stage.read_mode(conn), Some(ReadMode::Once));
    stage.pass_ms(9_900);
    assert!(!stage.was_closed(conn));
    stage.pass_ms(300);
    assert!(stage.was_closed(conn));
}

#[test]
fn who_does_not_take_his_answers_before_a_bind_is_not_read_any_more_until_he_does() {
    let mut stage = stage();
    let conn = stage.accept();
    let asked: Vec<u8> = (1..=1_000).flat_map(|sequence| header_only(CommandId::ENQUIRE_LINK, sequence)).collect();
    stage.feed(conn, &asked[..16]);
    assert_eq!(stage.read_mode(conn), Some(ReadMode::Once));
    stage.actions.clear();
    stage.feed(conn, &asked[16..]);
    assert_eq!(stage.read_mode(conn), None, "16,000 octets wait");
    assert_eq!(stage.pdus(conn).len(), 1_000);
    stage.shard.sent(conn, stage.now, &mut stage.out);
    assert_eq!(stage.read_mode(conn), Some(ReadMode::Once));
    assert_eq!(stage.bind(conn, 0, CommandId::BIND_TRANSCEIVER, 0x34).status, CommandStatus::ESME_ROK);
}

#[test]
fn one_octet_at_a_time_is_as_good_as_any_other_way() {
    let mut stage = stage();
    let conn = stage.accept();
    for octet in bind_pdu(CommandId::BIND_TRANSMITTER, 3, 0x34) {
        stage.feed(conn, &[octet]);
    }
    stage.verdict(Ok(Default::default()));
    assert_eq!(stage.pdu(conn).command, CommandId::BIND_TRANSMITTER_RESP);
}

#[test]
fn an_unknown_command_is_refused_and_the_session_stays() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(conn, &header_only(CommandId(0x0000_0FFF), 5));
    let nack = stage.pdu(conn);
    assert_eq!((nack.command, nack.status, nack.sequence), (CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID, 5));
    stage.feed(conn, &header_only(CommandId::ENQUIRE_LINK, 6));
    assert_eq!(stage.pdu(conn).command, CommandId::ENQUIRE_LINK_RESP);
}

#[test]
fn commands_that_are_not_served_are_refused_under_their_own_response() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for command in
        [CommandId::DATA_SM, CommandId::SUBMIT_MULTI, CommandId::QUERY_SM, CommandId::CANCEL_SM, CommandId::REPLACE_SM]
    {
        stage.feed(conn, &header_only(command, 8));
        let answer = stage.pdu(conn);
        assert_eq!((answer.command, answer.status), (command.response(), CommandStatus::ESME_RINVCMDID));
    }
}

#[test]
fn outbind_and_alert_notification_have_no_answer_and_change_nothing() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let lobby = stage.accept();
    for conn in [customer, lobby, links[0]] {
        for command in [CommandId::OUTBIND, CommandId::ALERT_NOTIFICATION] {
            stage.feed(conn, &header_only(command, 3));
            assert!(stage.pdus(conn).is_empty(), "{command}");
            stage.feed(conn, &header_only(CommandId::ENQUIRE_LINK, 4));
            let answer = stage.pdu(conn);
            assert_eq!((answer.command, answer.sequence), (CommandId::ENQUIRE_LINK_RESP, 4), "{command}");
        }
    }
}

#[test]
fn a_pdu_before_the_bind_is_refused_and_enquire_link_is_answered() {
    let mut stage = stage();
    let conn = stage.accept();
    stage.feed(conn, &submit(4, &message(b"early")));
    let answer = stage.pdu(conn);
    assert_eq!((answer.command, answer.status), (CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVBNDSTS));
    stage.feed(conn, &header_only(CommandId::ENQUIRE_LINK, 5));
    assert_eq!(stage.pdu(conn).status, CommandStatus::ESME_ROK);
    assert_eq!(stage.bind(conn, 0, CommandId::BIND_TRANSCEIVER, 0x34).status, CommandStatus::ESME_ROK);
}

#[test]
fn a_second_bind_is_refused_and_the_first_stays() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(conn, &bind_pdu(CommandId::BIND_TRANSCEIVER, 2, 0x34));
    assert_eq!(stage.pdu(conn).status, CommandStatus::ESME_RALYBND);
    stage.feed(conn, &header_only(CommandId::ENQUIRE_LINK, 3));
    assert_eq!(stage.pdu(conn).status, CommandStatus::ESME_ROK);
}

#[test]
fn submit_on_a_receiver_bind_is_refused() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_RECEIVER);
    stage.feed(conn, &submit(2, &message(b"x")));
    assert_eq!(stage.pdu(conn).status, CommandStatus::ESME_RINVBNDSTS);
}

#[test]
fn a_refused_bind_is_answered_and_closed() {
    for status in [CommandStatus::ESME_RINVSYSID, CommandStatus::ESME_RINVPASWD, CommandStatus::ESME_RBINDFAIL] {
        let mut stage = stage();
        let conn = stage.accept();
        stage.feed(conn, &bind_pdu(CommandId::BIND_RECEIVER, 7, 0x34));
        stage.verdict(Err(status));
        let answer = stage.pdu(conn);
        assert_eq!((answer.command, answer.status, answer.sequence), (CommandId::BIND_RECEIVER_RESP, status, 7));
        assert_eq!(answer.bytes.len(), 16, "no body on an error");
        assert!(stage.was_closed(conn));
    }
}

#[test]
fn one_bind_more_than_allowed_is_refused_until_one_leaves() {
    let mut settings = settings();
    settings.customers[0].smpp_max_binds = 2;
    let mut stage = Stage::new(settings);
    let first = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.bound(0, CommandId::BIND_RECEIVER);
    let third = stage.accept();
    assert_eq!(stage.bind(third, 0, CommandId::BIND_TRANSCEIVER, 0x34).status, CommandStatus::ESME_RBINDFAIL);
    assert!(stage.was_closed(third));
    stage.feed(first, &header_only(CommandId::UNBIND, 9));
    assert_eq!(stage.pdu(first).command, CommandId::UNBIND_RESP);
    stage.bound(0, CommandId::BIND_TRANSCEIVER);
}

#[test]
fn each_field_that_is_wrong_has_its_own_status() {
    let blank = message(b"text");
    let cases: Vec<(Vec<u8>, CommandStatus)> = vec![
        (
            submit(1, &smpp_pdu::ShortMessage { dest: Address { addr: b"", ..blank.dest }, ..blank }),
            CommandStatus::ESME_RINVDSTADR,
        ),
        (
            submit(1, &smpp_pdu::ShortMessage { dest: Address { addr: b"999", ..blank.dest }, ..blank }),
            CommandStatus::ESME_RINVDSTADR,
        ),
        (submit(1, &smpp_pdu::ShortMessage { priority_flag: 4, ..blank }), CommandStatus::ESME_RINVPRTFLG),
        (
            submit(1, &smpp_pdu::ShortMessage { validity_period: b"200101000000000+", ..blank }),
            CommandStatus::ESME_RINVEXPIRY,
        ),
        (
            submit(1, &smpp_pdu::ShortMessage { validity_period: b"not a time at al", ..blank }),
            CommandStatus::ESME_RINVEXPIRY,
        ),
        (
            submit(1, &smpp_pdu::ShortMessage { schedule_delivery_time: b"000001000000000R", ..blank }),
            CommandStatus::ESME_RINVSCHED,
        ),
    ];
    for (pdu, status) in cases {
        let mut stage = stage();
        let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        stage.feed(conn, &pdu);
        let answer = stage.pdu(conn);
        assert_eq!((answer.status, answer.bytes.len()), (status, 16));
    }
}

#[test]
fn sm_length_beyond_the_pdu_is_an_invalid_message_length() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut pdu = submit(1, &message(b"0123456789"));
    pdu.truncate(pdu.len() - 4);
    let length = (pdu.len() as u32).to_be_bytes();
    pdu[..4].copy_from_slice(&length);
    stage.feed(conn, &pdu);
    assert_eq!(stage.pdu(conn).status, CommandStatus::ESME_RINVMSGLEN);
}

#[test]
fn a_sender_that_is_not_the_customers_is_refused() {
    let mut settings = settings();
    settings.customers[0].allowed_source_addresses = vec!["ACM".into(), "1555*".into()];
    let mut stage = Stage::new(settings);
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(conn, &submit(1, &message(b"x")));
    assert_eq!(stage.pdu(conn).status, CommandStatus::ESME_RINVSRCADR);
}

#[test]
fn a_flood_beyond_the_window_is_throttled_and_the_rest_still_answered() {
    let mut settings = settings();
    settings.customers[0].smpp_window = 3;
    let (mut stage, links) = Stage::with_vendors(settings);
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for sequence in 1..=5 {
        stage.feed(conn, &submit(sequence, &message(b"x")));
    }
    let throttled: Vec<_> = stage.pdus(conn).iter().map(|pdu| (pdu.sequence, pdu.status)).collect();
    assert_eq!(throttled, [(4, CommandStatus::ESME_RTHROTTLED), (5, CommandStatus::ESME_RTHROTTLED)]);
    for pdu in stage.pdus(links[0]) {
        stage.feed(links[0], &submit_resp(pdu.sequence, b"v"));
    }
    assert_eq!(stage.pdus(conn).len(), 3);
}

#[test]
fn a_flood_above_the_rate_is_throttled_and_a_burst_is_not() {
    let mut settings = settings();
    settings.customers[0].smpp_throughput = 10;
    let (mut stage, _) = Stage::with_vendors(settings);
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for sequence in 1..=15 {
        stage.feed(conn, &submit(sequence, &message(b"x")));
    }
    assert_eq!(stage.pdus(conn).len(), 5);
    stage.pass_ms(500);
    for sequence in 16..=25 {
        stage.feed(conn, &submit(sequence, &message(b"x")));
    }
    assert_eq!(stage.pdus(conn).len(), 5);
}

#[test]
fn a_customer_that_reads_nothing_is_read_from_no_more_until_it_does() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let flood: Vec<u8> = (0..2000).flat_map(|sequence| header_only(CommandId::ENQUIRE_LINK, sequence)).collect();
    for _ in 0..9 {
        stage.feed(conn, &flood);
    }
    assert_eq!(stage.read_mode(conn), Some(ReadMode::Stop));
    assert!(stage.out.queued_bytes(conn) < 320 * 1024);
    stage.pdus(conn);
    stage.shard.sent(conn, stage.now, &mut stage.out);
    assert_eq!(stage.read_mode(conn), Some(ReadMode::Stream));
}

#[test]
fn a_silent_customer_is_asked_then_unbound() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.pass_ms(30_500);
    assert_eq!(stage.pdu(conn).command, CommandId::ENQUIRE_LINK);
    stage.pass_ms(95_000);
    assert!(stage.pdus(conn).iter().any(|pdu| pdu.command == CommandId::UNBIND));
    assert!(stage.was_closed(conn));
}

#[test]
fn a_customer_that_answers_enquire_link_stays() {
    let mut stage = stage();
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    for _ in 0..10 {
        stage.pass_ms(30_500);
        let asked = stage.pdu(conn);
        assert_eq!(asked.command, CommandId::ENQUIRE_LINK);
        stage.feed(conn, &header_only(CommandId::ENQUIRE_LINK_RESP, asked.sequence));
    }
    assert!(!stage.was_closed(conn));
}

#[test]
fn octets_behind_the_bind_are_handled_after_it() {
    let mut stage = stage();
    let conn = stage.accept();
    let mut bytes = bind_pdu(CommandId::BIND_TRANSCEIVER, 1, 0x34);
    bytes.extend(header_only(CommandId::ENQUIRE_LINK, 2));
    bytes.extend(header_only(CommandId::ENQUIRE_LINK, 3));
    stage.feed(conn, &bytes);
    assert!(stage.pdus(conn).is_empty());
    stage.verdict(Ok(Default::default()));
    let answers: Vec<_> = stage.pdus(conn).iter().map(|pdu| pdu.sequence).collect();
    assert_eq!(answers, [1, 2, 3]);
}

#[test]
fn unbind_is_answered_at_once_and_the_open_window_still_drains() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let conn = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(conn, &submit(2, &message(b"x")));
    stage.feed(conn, &header_only(CommandId::UNBIND, 3));
    assert_eq!(stage.pdu(conn).command, CommandId::UNBIND_RESP);
    assert!(!stage.was_closed(conn));
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    assert_eq!(stage.pdu(conn).command, CommandId::SUBMIT_SM_RESP);
    assert!(stage.was_closed(conn));
}

#[test]
fn a_3_3_bind_gets_no_tlv_and_a_short_id() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let conn = stage.accept();
    let answer = stage.bind(conn, 0, CommandId::BIND_TRANSMITTER, 0x33);
    assert_eq!(answer.bytes.len(), 16 + "smpp-gateway".len() + 1);
    stage.feed(conn, &submit(2, &message(b"x")));
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(sent.sequence, b"1"));
    let answer = stage.pdu(conn);
    let id = smpp_pdu::message::resp_message_id(&answer.bytes);
    assert!((1..=8).contains(&id.len()), "{id:?}");
}

#[test]
fn no_debug_form_shows_a_password() {
    let text = format!("{:?}", settings());
    assert!(!text.contains("secret12") && !text.contains("gateway1"), "{text}");
}
