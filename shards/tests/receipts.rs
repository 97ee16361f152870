//! Receipts and MO: matched in every form, to the right customer, kept for a while, acknowledged when taken.

mod common;

use common::*;
use proptest::prelude::*;
use smpp_pdu::message::{SHORT_MESSAGE_MAX, resp_message_id};
use smpp_pdu::receipt::Receipt;
use smpp_pdu::{Address, CommandId, CommandStatus, ShortMessage, Tag, Tlvs};
use smpp_shards::settings::{CustomerSettings, MessageIdFormat, RuleSettings, VendorIdFormat};
use smpp_shards::{CloseCause, Conn, Settings};

const OK: CommandStatus = CommandStatus::ESME_ROK;

/// A message with a receipt asked for, answered by the vendor with `id`; our own id for it.
fn sent_with_receipt(stage: &mut Stage, link: Conn, customer: Conn, id: &[u8]) -> Vec<u8> {
    stage.feed(customer, &submit(5, &ShortMessage { registered_delivery: 1, ..message(b"hello") }));
    let sent = stage.pdu(link);
    stage.feed(link, &submit_resp(sent.sequence, id));
    let answer = stage.pdu(customer);
    assert_eq!(answer.status, OK);
    resp_message_id(&answer.bytes).to_vec()
}

fn stage_with(settings: Settings) -> (Stage, Conn, Conn) {
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    (stage, links[0], customer)
}

fn receipt_pdu(sequence: u32, text: &[u8], tlvs: &[u8]) -> Vec<u8> {
    let receipt = ShortMessage {
        esm_class: 0x04,
        source: Address { ton: 1, npi: 1, addr: b"15551234567" },
        dest: Address { ton: 0, npi: 0, addr: b"rewritten" },
        tlvs: Tlvs::new(tlvs),
        ..message(text)
    };
    deliver(sequence, &receipt)
}

fn text_of(id: &str, stat: &str) -> Vec<u8> {
    format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:{stat} err:000 text:hello")
        .into_bytes()
}

#[test]
fn a_receipt_carries_our_id_and_the_customers_addresses_and_is_acknowledged_when_taken() {
    let (mut stage, link, customer) = stage_with(settings());
    let ours = sent_with_receipt(&mut stage, link, customer, b"abc1");
    stage.feed(link, &receipt_pdu(70, &text_of("ABC1", "DELIVRD"), b""));
    assert!(stage.pdus(link).is_empty(), "not before the customer has it");
    let delivered = stage.pdu(customer);
    let seen = ShortMessage::decode(&delivered.bytes).unwrap();
    assert_eq!(delivered.command, CommandId::DELIVER_SM);
    assert_eq!(Receipt::parse(seen.short_message).id, Some(&ours[..]));
    assert_eq!(seen.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).unwrap().c_octets(), &ours[..]);
    assert_eq!((seen.source.addr, seen.dest.addr, seen.dest.ton), (&b"15551234567"[..], &b"ACME"[..], 5));
    stage.feed(customer, &deliver_resp(delivered.sequence, OK));
    let taken = stage.pdu(link);
    assert_eq!((taken.command, taken.status, taken.sequence), (CommandId::DELIVER_SM_RESP, OK, 70));
    assert_eq!(stage.shard.report().receipts_awaited, 0);
}

#[test]
fn tlvs_of_version_5_come_to_customers_of_version_5_alone() {
    let tlvs = b"\x04\x28\x00\x01\x10\x14\x00\x00\x02zz";
    for (version, has_version_5, has_other) in [(0x50, true, true), (0x34, false, true), (0x33, false, false)] {
        let settings = settings_with_inbound("12025550100");
        let (mut stage, links) = Stage::with_vendors(settings);
        let customer = stage.accept();
        stage.bind(customer, 0, CommandId::BIND_TRANSCEIVER, version);
        let ours = sent_with_receipt(&mut stage, links[0], customer, b"abc1");
        stage.feed(links[0], &receipt_pdu(70, &text_of("ABC1", "DELIVRD"), tlvs));
        let dest = Address { ton: 1, npi: 1, addr: b"12025550100" };
        stage.feed(links[0], &deliver(71, &ShortMessage { dest, tlvs: Tlvs::new(tlvs), ..message(b"hello") }));
        let came = stage.pdus(customer);
        assert_eq!(came.len(), 2, "{version:#x}");
        for pdu in &came {
            let seen = ShortMessage::decode(&pdu.bytes).unwrap();
            assert_eq!((pdu.status, seen.tlvs.has_version_5()), (OK, has_version_5), "{version:#x}");
            assert_eq!(seen.tlvs.find(Tag(0x1400)).is_some(), has_other, "{version:#x}");
        }
        let receipt = ShortMessage::decode(&came[0].bytes).unwrap();
        assert_eq!(Receipt::parse(receipt.short_message).id, Some(&ours[..]));
        assert_eq!(receipt.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).is_some(), has_other);
    }
}

#[test]
fn a_text_of_255_octets_comes_to_customers_before_version_5_as_message_payload() {
    let text = [b'z'; 255];
    for (version, in_place) in [(0x50, 255), (0x34, 0)] {
        let (mut stage, links) = Stage::with_vendors(settings_with_inbound("12025550100"));
        let customer = stage.accept();
        stage.bind(customer, 0, CommandId::BIND_TRANSCEIVER, version);
        let dest = Address { ton: 1, npi: 1, addr: b"12025550100" };
        let tlvs = Tlvs::new(b"\x14\x00\x00\x01z");
        stage.feed(links[0], &deliver(1, &ShortMessage { dest, tlvs, ..message(&text) }));
        let came = stage.pdu(customer);
        let seen = ShortMessage::decode(&came.bytes).unwrap();
        assert_eq!((seen.short_message.len(), seen.text()), (in_place, &text[..]), "{version:#x}");
        assert_eq!(seen.tlvs.find(Tag(0x1400)).unwrap().value, b"z");
    }
}

#[test]
fn a_part_told_by_sar_tlvs_is_told_by_a_header_to_customers_of_version_3_3() {
    let (mut stage, links) = Stage::with_vendors(settings_with_inbound("12025550100"));
    let customer = stage.accept();
    stage.bind(customer, 0, CommandId::BIND_TRANSCEIVER, 0x33);
    let dest = Address { ton: 1, npi: 1, addr: b"12025550100" };
    let tlvs = Tlvs::new(b"\x02\x0c\x00\x02\x01\x02\x02\x0e\x00\x01\x03\x02\x0f\x00\x01\x02");
    stage.feed(links[0], &deliver(1, &ShortMessage { dest, tlvs, ..message(b"hello") }));
    let came = stage.pdu(customer);
    let seen = ShortMessage::decode(&came.bytes).unwrap();
    assert_eq!((seen.esm_class, seen.short_message), (0x40, &b"\x06\x08\x04\x01\x02\x03\x02hello"[..]));
    assert_eq!(seen.tlvs.as_bytes(), b"");
}

#[test]
fn ids_match_across_hex_decimal_zeros_and_case() {
    type Case = (VendorIdFormat, &'static [u8], VendorIdFormat, &'static str);
    let cases: [Case; 4] = [
        (VendorIdFormat::Hex, b"00FF", VendorIdFormat::Decimal, "255"),
        (VendorIdFormat::Decimal, b"3735928559", VendorIdFormat::Hex, "DEADBEEF"),
        (VendorIdFormat::Text, b"0000abcd", VendorIdFormat::Text, "ABCD"),
        (VendorIdFormat::Text, b"ABCD", VendorIdFormat::Text, "00abcd"),
    ];
    for (resp_format, resp, receipt_format, receipt) in cases {
        let mut settings = settings();
        settings.vendors[0].message_id_format = resp_format;
        settings.vendors[0].receipt_id_format = receipt_format;
        let (mut stage, link, customer) = stage_with(settings);
        sent_with_receipt(&mut stage, link, customer, resp);
        stage.feed(link, &receipt_pdu(1, &text_of(receipt, "DELIVRD"), b""));
        assert_eq!(stage.pdus(customer).len(), 1, "{receipt}");
    }
}

#[test]
fn an_intermediate_notification_never_ends_the_wait_for_the_receipt() {
    for stat in ["BUFFRED", "UNDELIV", "UNKNOWN"] {
        let (mut stage, link, customer) = stage_with(settings());
        let ours = sent_with_receipt(&mut stage, link, customer, b"77");
        let text = text_of("77", stat);
        stage.feed(link, &deliver(1, &ShortMessage { esm_class: 0x20, ..message(&text) }));
        assert_eq!((stage.pdu(link).status, stage.pdus(customer).len()), (OK, 0), "{stat}: nobody asked for it");
        stage.feed(link, &receipt_pdu(2, &text_of("77", "DELIVRD"), b""));
        let delivered = stage.pdu(customer);
        let seen = ShortMessage::decode(&delivered.bytes).unwrap();
        assert_eq!(Receipt::parse(seen.short_message).id, Some(&ours[..]), "{stat}");
    }
}

/// A C-octet string of at most so many octets.
fn c_octets(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1..=u8::MAX, 0..=most)
}

fn an_address(least: usize) -> impl Strategy<Value = (u8, u8, Vec<u8>)> {
    (any::<u8>(), any::<u8>(), prop::collection::vec(1..=u8::MAX, least..=20))
}

fn address((ton, npi, addr): &(u8, u8, Vec<u8>)) -> Address<'_> {
    Address { ton: *ton, npi: *npi, addr }
}

/// Nothing, or sixteen characters.
fn a_time() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), Just(b"261129231500000+".to_vec())]
}

proptest! {
    /// Whatever a vendor's receipt looks like, its customer gets the same fields, with our id and the addresses of the message.
    #[test]
    fn of_a_receipt_the_ids_and_the_addresses_alone_are_changed(
        format in prop_oneof![Just(MessageIdFormat::Uuid), Just(MessageIdFormat::Hex), Just(MessageIdFormat::Decimal)],
        submitted_type in c_octets(5), source in an_address(0), dest in an_address(1),
        service_type in c_octets(5), theirs in an_address(0),
        numbers in any::<[u8; 4]>(), data_coding in any::<u8>(), times in (a_time(), a_time()),
        id_length in 1usize..40, author in prop::collection::vec(any::<u8>(), 0..=140), is_in_payload in any::<bool>(),
        other in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
    ) {
        let customer = CustomerSettings { message_id_format: format, ..customer("acme") };
        let everywhere = RuleSettings { vendor: "north".into(), ..RuleSettings::default() };
        let settings = Settings { customers: vec![customer], routing_rules: vec![everywhere], ..settings() };
        let (mut stage, link, customer) = stage_with(settings);
        let submission = ShortMessage {
            service_type: &submitted_type,
            source: address(&source),
            dest: address(&dest),
            registered_delivery: 1,
            ..message(b"hello")
        };
        stage.feed(customer, &submit(5, &submission));
        let id = "7a".repeat(20).as_bytes()[..id_length].to_vec();
        let sent = stage.pdu(link);
        stage.feed(link, &submit_resp(sent.sequence, &id));
        let ours = resp_message_id(&stage.pdu(customer).bytes).to_vec();

        let text = |id: &[u8]| [b"id:", id, b" stat:DELIVRD err:000 text:", &author].concat();
        let (theirs_text, ours_text) = (text(&id), text(&ours));
        let is_in_payload = is_in_payload || theirs_text.len() > SHORT_MESSAGE_MAX;
        let mut tlvs = Vec::new();
        let mut add = |tag: Tag, value: &[u8]| {
            tlvs.extend_from_slice(&tag.0.to_be_bytes());
            tlvs.extend_from_slice(&(value.len() as u16).to_be_bytes());
            tlvs.extend_from_slice(value);
        };
        if is_in_payload {
            add(Tag::MESSAGE_PAYLOAD, &theirs_text);
        }
        if let Some(other) = &other {
            add(Tag::NETWORK_ERROR_CODE, other);
        }
        let receipt = ShortMessage {
            service_type: &service_type,
            source: address(&theirs),
            esm_class: 0x04,
            protocol_id: numbers[0],
            priority_flag: numbers[1],
            schedule_delivery_time: &times.0,
            validity_period: &times.1,
            registered_delivery: numbers[2],
            replace_if_present_flag: numbers[3],
            data_coding,
            short_message: if is_in_payload { b"" } else { &theirs_text },
            tlvs: Tlvs::new(&tlvs),
            ..ShortMessage::default()
        };
        stage.feed(link, &deliver(9, &receipt));
        let delivered = stage.pdu(customer);
        let seen = ShortMessage::decode(&delivered.bytes).unwrap();
        let expected = ShortMessage {
            source: submission.dest,
            dest: submission.source,
            short_message: &ours_text[..ours_text.len().min(SHORT_MESSAGE_MAX)],
            tlvs: seen.tlvs,
            offsets: seen.offsets,
            ..receipt
        };
        prop_assert_eq!(seen, expected);
        let found: Vec<(Tag, Vec<u8>)> = seen.tlvs.into_iter().map(|tlv| (tlv.tag, tlv.value.to_vec())).collect();
        let other = other.map(|value| (Tag::NETWORK_ERROR_CODE, value));
        let ours = (Tag::RECEIPTED_MESSAGE_ID, [&ours[..], b"\0"].concat());
        let expected: Vec<_> = other.into_iter().chain([ours, (Tag::MESSAGE_STATE, vec![2])]).collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_receipt_by_tlv_alone_gets_a_text_of_ours() {
    let (mut stage, link, customer) = stage_with(settings());
    let ours = sent_with_receipt(&mut stage, link, customer, b"77");
    stage.feed(link, &receipt_pdu(1, b"", b"\x00\x1e\x00\x0377\0\x04\x27\x00\x01\x02"));
    let delivered = stage.pdu(customer);
    let seen = ShortMessage::decode(&delivered.bytes).unwrap();
    let receipt = Receipt::parse(seen.short_message);
    assert_eq!((receipt.id, receipt.stat), (Some(&ours[..]), Some(&b"DELIVRD"[..])));
    assert_eq!(seen.tlvs.find(Tag::MESSAGE_STATE).unwrap().integer(), Some(2));
}

#[test]
fn a_text_of_ours_is_told_as_what_it_is_whatever_the_vendors_was() {
    let tlvs = Tlvs::new(b"\x00\x1e\x00\x0377\0\x04\x27\x00\x01\x02");
    for (esm_class, data_coding, text) in
        [(0x04, 8, &b"\0i\0d\0:\x007\x007"[..]), (0x44, 0, b"\x05\0\x03\x01\x01\x01ok")]
    {
        let (mut stage, link, customer) = stage_with(settings());
        let ours = sent_with_receipt(&mut stage, link, customer, b"77");
        stage.feed(link, &deliver(1, &ShortMessage { esm_class, data_coding, tlvs, ..message(text) }));
        let delivered = stage.pdu(customer);
        let seen = ShortMessage::decode(&delivered.bytes).unwrap();
        assert_eq!(Receipt::parse(seen.short_message).id, Some(&ours[..]));
        assert_eq!((seen.esm_class, seen.data_coding), (0x04, 0));
    }
}

#[test]
fn a_receipt_that_overtakes_its_answer_waits_for_it() {
    let (mut stage, link, customer) = stage_with(settings());
    stage.feed(customer, &submit(5, &ShortMessage { registered_delivery: 1, ..message(b"hello") }));
    let sent = stage.pdu(link);
    let mut segment = receipt_pdu(9, &text_of("5a", "DELIVRD"), b"");
    segment.extend(submit_resp(sent.sequence, b"5A"));
    stage.feed(link, &segment);
    let commands: Vec<_> = stage.pdus(customer).iter().map(|pdu| pdu.command).collect();
    assert!(commands.contains(&CommandId::SUBMIT_SM_RESP) && commands.contains(&CommandId::DELIVER_SM));
    assert_eq!(stage.shard.report().vendors[0].receipts_early, 1);
}

#[test]
fn a_receipt_that_nobody_waits_for_is_acknowledged_and_counted() {
    let (mut stage, link, customer) = stage_with(settings());
    stage.feed(link, &receipt_pdu(3, &text_of("nobody", "DELIVRD"), b""));
    assert_eq!(stage.pdu(link).status, OK);
    // While an answer is due it may be an early one: it is acknowledged only when that has come, or after a while.
    stage.feed(customer, &submit(5, &message(b"x")));
    stage.pdu(link);
    stage.feed(link, &receipt_pdu(4, &text_of("nobody", "DELIVRD"), b""));
    assert!(stage.pdus(link).is_empty());
    stage.pass_ms(5_050);
    assert_eq!(stage.pdu(link).status, OK);
    assert!(!stage.pdus(customer).iter().any(|pdu| pdu.command == CommandId::DELIVER_SM));
    assert_eq!(stage.shard.report().vendors[0].receipts_unknown, 2);
}

#[test]
fn an_unknown_receipt_waits_only_for_the_submits_that_were_open_when_it_came() {
    let (mut stage, link, customer) = stage_with(settings());
    let send = |stage: &mut Stage| {
        stage.feed(customer, &submit(5, &message(b"x")));
        stage.pdu(link).sequence
    };
    let first = send(&mut stage);
    stage.feed(link, &receipt_pdu(1, &text_of("nobody", "DELIVRD"), b""));
    let second = send(&mut stage);
    stage.feed(link, &receipt_pdu(2, &text_of("nobody", "DELIVRD"), b""));
    let third = send(&mut stage);
    assert!(stage.pdus(link).is_empty());
    stage.feed(link, &submit_resp(third, b"3"));
    assert!(stage.pdus(link).is_empty(), "the third came later than either");
    stage.feed(link, &submit_resp(first, b"1"));
    assert_eq!(stage.pdu(link).sequence, 1);
    stage.feed(link, &submit_resp(second, b"2"));
    assert_eq!(stage.pdu(link).sequence, 2);
}

#[test]
fn registered_delivery_decides_which_receipts_a_customer_gets() {
    for (registered, stat, wanted) in [
        (0, "DELIVRD", false),
        (1, "DELIVRD", true),
        (1, "UNDELIV", true),
        (2, "DELIVRD", false),
        (2, "EXPIRED", true),
        (3, "DELIVRD", true),
        (3, "UNDELIV", false),
        (1, "ENROUTE", false),
        (0x11, "ENROUTE", true),
    ] {
        let (mut stage, link, customer) = stage_with(settings());
        stage.feed(customer, &submit(5, &ShortMessage { registered_delivery: registered, ..message(b"x") }));
        let sent = stage.pdu(link);
        stage.feed(link, &submit_resp(sent.sequence, b"5"));
        stage.pdu(customer);
        stage.feed(link, &receipt_pdu(1, &text_of("5", stat), b""));
        assert_eq!(!stage.pdus(customer).is_empty(), wanted, "registered_delivery {registered}, {stat}");
        if !wanted {
            assert_eq!(stage.pdu(link).status, OK);
        }
    }
}

#[test]
fn an_enroute_receipt_is_not_the_last_one() {
    let (mut stage, link, customer) = stage_with(settings());
    stage.feed(customer, &submit(5, &ShortMessage { registered_delivery: 0x11, ..message(b"x") }));
    let sent = stage.pdu(link);
    stage.feed(link, &submit_resp(sent.sequence, b"5"));
    stage.pdu(customer);
    for stat in ["ENROUTE", "DELIVRD"] {
        stage.feed(link, &receipt_pdu(1, &text_of("5", stat), b""));
        let delivered = stage.pdu(customer);
        stage.feed(customer, &deliver_resp(delivered.sequence, OK));
    }
    assert_eq!(stage.shard.report().receipts_awaited, 0);
}

#[test]
fn a_receipt_for_an_absent_customer_is_held_then_given_back_and_others_pass() {
    let mut settings = settings();
    settings.customers.push(customer("other"));
    let (mut stage, link, absent) = stage_with(settings);
    let present = stage.bound(1, CommandId::BIND_TRANSCEIVER);
    sent_with_receipt(&mut stage, link, absent, b"1");
    sent_with_receipt(&mut stage, link, present, b"2");
    stage.shard.closed(absent, CloseCause::EndOfStream, stage.now, &mut stage.out);
    stage.feed(link, &receipt_pdu(1, &text_of("1", "DELIVRD"), b""));
    stage.feed(link, &receipt_pdu(2, &text_of("2", "DELIVRD"), b""));
    let delivered = stage.pdu(present);
    stage.feed(present, &deliver_resp(delivered.sequence, OK));
    assert_eq!(stage.pdu(link).sequence, 2);
    stage.pass_ms(4_900);
    assert!(stage.pdus(link).is_empty());
    stage.pass_ms(200);
    let given_back = stage.pdu(link);
    assert_eq!((given_back.sequence, given_back.status), (1, CommandStatus::ESME_RX_T_APPN));
    // The vendor sends it again; the customer is back, and on a receiver bind now.
    let back = stage.bound(0, CommandId::BIND_RECEIVER);
    stage.feed(link, &receipt_pdu(3, &text_of("1", "DELIVRD"), b""));
    let delivered = stage.pdu(back);
    stage.feed(back, &deliver_resp(delivered.sequence, OK));
    assert_eq!((stage.pdu(link).status, stage.shard.report().receipts_awaited), (OK, 0));
}

#[test]
fn what_is_held_reaches_a_customer_that_binds_in_time() {
    let (mut stage, link, customer) = stage_with(settings());
    sent_with_receipt(&mut stage, link, customer, b"1");
    stage.shard.closed(customer, CloseCause::Reset, stage.now, &mut stage.out);
    stage.feed(link, &receipt_pdu(1, &text_of("1", "DELIVRD"), b""));
    stage.pass_ms(2_000);
    let back = stage.accept();
    stage.feed(back, &bind_pdu(CommandId::BIND_TRANSCEIVER, 1, 0x34));
    stage.verdict(Ok(Default::default()));
    let commands: Vec<_> = stage.pdus(back).iter().map(|pdu| pdu.command).collect();
    assert_eq!(commands, [CommandId::BIND_TRANSCEIVER_RESP, CommandId::DELIVER_SM]);
}

#[test]
fn an_unanswered_delivery_of_a_session_that_ends_goes_to_another() {
    let (mut stage, link, customer) = stage_with(settings());
    sent_with_receipt(&mut stage, link, customer, b"1");
    stage.feed(link, &receipt_pdu(1, &text_of("1", "DELIVRD"), b""));
    let first = stage.pdu(customer);
    let other = stage.accept();
    let commands = stage.bind(other, 0, CommandId::BIND_RECEIVER, 0x34);
    assert_eq!(commands.status, OK);
    stage.shard.closed(customer, CloseCause::Reset, stage.now, &mut stage.out);
    let second = stage.pdu(other);
    assert_eq!(second.bytes[16..], first.bytes[16..]);
}

#[test]
fn a_customer_that_never_answers_gives_its_receipts_back_and_keeps_its_window() {
    let mut settings = settings();
    settings.gateway.deliver_window = 2;
    let (mut stage, link, customer) = stage_with(settings);
    for id in 1..=3u8 {
        sent_with_receipt(&mut stage, link, customer, &[b'0' + id]);
    }
    for id in 1..=3u32 {
        stage.feed(link, &receipt_pdu(id, &text_of(&id.to_string(), "DELIVRD"), b""));
    }
    assert_eq!(stage.pdus(customer).len(), 2, "the deliver window");
    stage.pass_ms(5_100);
    let given_back = stage.pdus(link);
    assert_eq!(given_back.len(), 3);
    assert!(given_back.iter().all(|pdu| pdu.status == CommandStatus::ESME_RX_T_APPN));
    assert!(stage.pdus(customer).is_empty(), "two are still unanswered");
}

#[test]
fn the_customers_refusal_is_the_vendors_answer() {
    let (mut stage, link, customer) = stage_with(settings());
    sent_with_receipt(&mut stage, link, customer, b"1");
    stage.feed(link, &receipt_pdu(1, &text_of("1", "DELIVRD"), b""));
    let delivered = stage.pdu(customer);
    stage.feed(customer, &deliver_resp(delivered.sequence, CommandStatus::ESME_RX_T_APPN));
    assert_eq!(stage.pdu(link).status, CommandStatus::ESME_RX_T_APPN);
    assert_eq!(stage.shard.report().receipts_awaited, 1, "it comes again");
}

#[test]
fn a_3_3_customer_gets_its_receipt_without_tlvs() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.accept();
    stage.bind(customer, 0, CommandId::BIND_TRANSCEIVER, 0x33);
    sent_with_receipt(&mut stage, links[0], customer, b"1");
    stage.feed(links[0], &receipt_pdu(1, &text_of("1", "DELIVRD"), b""));
    let delivered = stage.pdu(customer);
    assert!(ShortMessage::decode(&delivered.bytes).unwrap().tlvs.as_bytes().is_empty());
}

#[test]
fn mobile_originated_messages_reach_the_customer_whose_number_it_is() {
    let settings = settings_with_inbound("+15550001111");
    let (mut stage, link, customer) = stage_with(settings);
    let to = |addr| ShortMessage { dest: Address { ton: 1, npi: 1, addr }, ..message(b"STOP") };
    stage.feed(link, &deliver(1, &to(b"15550001111")));
    let delivered = stage.pdu(customer);
    assert!(delivered.bytes.ends_with(b"STOP"));
    stage.feed(customer, &deliver_resp(delivered.sequence, OK));
    assert_eq!((stage.pdu(link).sequence, stage.shard.report().vendors[0].mobile_originated), (1, 1));
    stage.feed(link, &deliver(2, &to(b"15559999999")));
    assert_eq!(stage.pdu(link).status, CommandStatus::ESME_RX_P_APPN);
}

#[test]
fn a_receipt_that_comes_again_while_its_customer_has_not_answered_is_given_on_once() {
    let mut settings = settings();
    settings.vendors[0].binds = 2;
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(5, &ShortMessage { registered_delivery: 1, ..message(b"hello") }));
    let sent = links.iter().find_map(|link| Some((*link, stage.pdus(*link).pop()?.sequence)));
    let (link, sequence) = sent.unwrap();
    stage.feed(link, &submit_resp(sequence, b"abc1"));
    assert_eq!(stage.pdu(customer).status, OK);
    let receipt = |sequence| receipt_pdu(sequence, &text_of("ABC1", "DELIVRD"), b"");
    let again = |stage: &mut Stage, sequence| {
        stage.feed(links[1], &receipt(sequence));
        let answer = stage.pdu(links[1]);
        assert_eq!(answer.sequence, sequence);
        answer.status
    };
    stage.feed(links[0], &receipt(70));
    let delivered = stage.pdu(customer);
    // As over a bind that is there instead of the first one.
    assert_eq!(again(&mut stage, 71), CommandStatus::ESME_RX_T_APPN);
    assert!(stage.pdus(customer).is_empty());
    stage.feed(customer, &deliver_resp(delivered.sequence, CommandStatus::ESME_RX_T_APPN));
    assert_eq!(stage.pdu(links[0]).status, CommandStatus::ESME_RX_T_APPN);
    // The customer has not taken it, so that it gets the next one.
    stage.feed(links[1], &receipt(72));
    let delivered = stage.pdu(customer);
    stage.feed(customer, &deliver_resp(delivered.sequence, OK));
    assert_eq!(stage.pdu(links[1]).status, OK);
    assert_eq!(again(&mut stage, 73), OK);
    assert!(stage.pdus(customer).is_empty(), "it has it");
}
