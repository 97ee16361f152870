//! What implementations get wrong in the protocol, as far as it is a matter of octets: one test for each trap that
//! peers in the field are known for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use smpp_pdu::bind::{Bind, BindResp};
use smpp_pdu::concat::{Part, PartError, Reference};
use smpp_pdu::data::DataSm;
use smpp_pdu::frame::{self, SEQUENCE_MAX};
use smpp_pdu::manage::{CancelSm, QuerySmResp, ReplaceSm};
use smpp_pdu::message::{self, MessageResp, wants_receipt};
use smpp_pdu::multi::{Dest, SubmitMulti, SubmitMultiResp};
use smpp_pdu::time::SmppTime;
use smpp_pdu::{
    Address, CommandId, CommandStatus, DecodeError, Deframed, Encoder, MessageState, Receipt, ShortMessage, Tag, Tlvs,
    deframe, encode,
};

const OK: CommandStatus = CommandStatus::ESME_ROK;
const PDU_BYTES_MAX: usize = 65_536;

/// A PDU of these octets behind a header.
fn pdu(command: CommandId, status: CommandStatus, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out, command, status, 1).octets(body).finish();
    out
}

fn submit(message: &ShortMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::short_message(&mut out, CommandId::SUBMIT_SM, 1, message);
    out
}

#[test]
fn submit_sm_resp_with_an_error_is_read_with_any_body_and_written_with_none() {
    let status = CommandStatus::ESME_RTHROTTLED;
    let forms: [(&[u8], &[u8], usize); 6] = [
        (b"", b"", 0),
        (b"\0", b"", 0),
        (b"77\0", b"77", 0),
        (b"77", b"77", 0),
        (b"\0\x04\x25\0\x01\x01", b"", 1),
        (b"77\0\x04\x25\0\x01\x01", b"77", 1),
    ];
    for (body, message_id, tlvs) in forms {
        let octets = pdu(CommandId::SUBMIT_SM_RESP, status, body);
        let response = MessageResp::decode(&octets);
        assert_eq!(response.message_id, message_id);
        assert_eq!(message::resp_message_id(&octets), message_id);
        assert_eq!(response.tlvs.into_iter().count(), tlvs);
    }
    let mut out = Vec::new();
    encode::header_only(&mut out, CommandId::SUBMIT_SM_RESP, status, 1);
    assert_eq!(out.len(), 16);
}

#[test]
fn bind_resp_with_an_error_may_have_no_body() {
    let refused = CommandStatus::ESME_RBINDFAIL;
    for (body, system_id) in [(&b""[..], &b""[..]), (b"\0", b""), (b"SMSC", b"SMSC"), (b"SMSC\0", b"SMSC")] {
        let octets = pdu(CommandId::BIND_TRANSCEIVER_RESP, refused, body);
        assert_eq!(BindResp::decode(&octets), BindResp { system_id, sc_interface_version: None });
    }
}

#[test]
fn deliver_sm_resp_has_a_single_nul() {
    let mut out = Vec::new();
    encode::deliver_sm_resp(&mut out, OK, 5);
    assert_eq!(out[16..], [0]);
    assert_eq!(out[..4], [0, 0, 0, 17]);
}

#[test]
fn message_state_is_a_field_of_query_sm_resp_and_a_tlv_elsewhere() {
    let octets = pdu(CommandId::QUERY_SM_RESP, OK, b"77\0\0\x02\0");
    assert_eq!(QuerySmResp::decode(&octets).state(), Some(MessageState::Delivered));
    let tlvs = Tlvs::new(&[0x04, 0x27, 0, 1, 5]);
    let state = tlvs.find(Tag::MESSAGE_STATE).and_then(|tlv| MessageState::from_wire(tlv.value[0]));
    assert_eq!(state, Some(MessageState::Undeliverable));
}

#[test]
fn a_receipt_may_come_in_message_payload() {
    let tlvs = [&[0x04, 0x24, 0, 17][..], b"id:1 stat:DELIVRD"].concat();
    let message = ShortMessage { esm_class: 4, tlvs: Tlvs::new(&tlvs), ..ShortMessage::default() };
    let octets = submit(&message);
    let read = ShortMessage::decode(&octets).unwrap();
    assert!(read.is_receipt() && !read.has_two_texts());
    assert_eq!(Receipt::parse(read.text()).state(), Some(MessageState::Delivered));
}

#[test]
fn short_message_and_message_payload_together_are_told() {
    let tlvs = Tlvs::new(&[0x04, 0x24, 0, 1, b'B']);
    let octets = submit(&ShortMessage { short_message: b"A", tlvs, ..ShortMessage::default() });
    let read = ShortMessage::decode(&octets).unwrap();
    assert!(read.has_two_texts());
    assert_eq!(read.text(), b"A");
}

#[test]
fn sar_tlvs_and_a_user_data_header_together_are_an_error() {
    let tlvs = Tlvs::new(&[2, 12, 0, 2, 0, 7, 2, 14, 0, 1, 2, 2, 15, 0, 1, 1]);
    let with_header = [5, 0, 3, 7, 2, 1, b'x'];
    let both = ShortMessage { esm_class: 0x40, short_message: &with_header, tlvs, ..ShortMessage::default() };
    assert_eq!(Part::of(&both), Err(PartError::Both));
    let part = |reference| Ok(Some(Part { reference, total: 2, number: 1 }));
    assert_eq!(Part::of(&ShortMessage { tlvs: Tlvs::default(), ..both }), part(Reference::Eight(7)));
    assert_eq!(Part::of(&ShortMessage { esm_class: 0, ..both }), part(Reference::Sixteen(7)));
}

#[test]
fn data_sm_has_its_text_in_message_payload_and_may_be_a_receipt() {
    let tlvs = [&[0x04, 0x24, 0, 17][..], b"id:1 stat:EXPIRED"].concat();
    let mut octets = Vec::new();
    encode::data_sm(&mut octets, 1, &DataSm { esm_class: 4, tlvs: Tlvs::new(&tlvs), ..DataSm::default() });
    let read = DataSm::decode(&octets).unwrap();
    assert!(read.is_receipt());
    assert_eq!(Receipt::parse(read.text()).state(), Some(MessageState::Expired));
    assert_eq!(DataSm { tlvs: Tlvs::default(), ..read }.text(), b"");
}

#[test]
fn sm_length_up_to_255_is_taken() {
    for length in [0, 1, 140, 160, 254, 255] {
        let text = vec![b'x'; length];
        let octets = submit(&ShortMessage { short_message: &text, ..ShortMessage::default() });
        assert_eq!(ShortMessage::decode(&octets).unwrap().short_message.len(), length);
    }
}

#[test]
fn octets_behind_what_sm_length_says_are_no_text() {
    let mut octets = submit(&ShortMessage { short_message: b"Hello, world", ..ShortMessage::default() });
    let at = ShortMessage::decode(&octets).unwrap().offsets.short_message;
    octets[at - 1] = 5;
    let read = ShortMessage::decode(&octets).unwrap();
    assert_eq!(read.short_message, b"Hello");
}

#[test]
fn a_nul_behind_the_text_is_no_tlv() {
    for stray in [&[0][..], &[0, 0], &[0, 0, 0]] {
        let mut octets = submit(&ShortMessage { short_message: b"Hello", ..ShortMessage::default() });
        octets.extend_from_slice(stray);
        let read = ShortMessage::decode(&octets).unwrap();
        assert_eq!(read.short_message, b"Hello");
        assert_eq!(read.tlvs.into_iter().count(), 0);
        assert_eq!(read.tlvs.whole_length(), 0);
    }
}

#[test]
fn integers_in_tlvs_of_another_length_keep_their_octets() {
    let tlvs = Tlvs::new(&[2, 4, 0, 1, 7, 2, 10, 0, 4, 0, 0, 1, 2, 0x14, 0, 0, 2, 0, 9]);
    let values: Vec<_> = tlvs.into_iter().map(|tlv| (tlv.integer(), tlv.value.len())).collect();
    assert_eq!(values, [(Some(7), 1), (Some(258), 4), (Some(9), 2)]);
    let written = pdu(CommandId::SUBMIT_SM, OK, tlvs.as_bytes());
    assert_eq!(&written[16..], tlvs.as_bytes());
}

#[test]
fn an_unknown_tlv_is_kept_and_a_truncated_one_costs_nothing_else() {
    let octets = [0x14, 0x00, 0, 1, 9, 0x04, 0x27, 0, 1, 2, 0x02, 0x04, 0, 9, 1];
    let tlvs = Tlvs::new(&octets);
    assert_eq!(tlvs.find(Tag(0x1400)).unwrap().value, [9]);
    assert_eq!(tlvs.find(Tag::MESSAGE_STATE).unwrap().value, [2]);
    assert_eq!(tlvs.find(Tag::USER_MESSAGE_REFERENCE), None);
    let message = ShortMessage { short_message: b"x", tlvs, ..ShortMessage::default() };
    let written = submit(&message);
    assert_eq!(ShortMessage::decode(&written).unwrap().tlvs.as_bytes(), &octets[..10]);
}

#[test]
fn tlvs_of_version_5_go_to_peers_of_version_5_only() {
    let octets = [0x04, 0x28, 0, 1, 50, 0x06, 0x0B, 0, 1, 1, 0x14, 0x00, 0, 1, 9];
    let sent = |version| {
        let mut out = Vec::new();
        Encoder::new(&mut out, CommandId::SUBMIT_SM, OK, 1).tlvs_for(Tlvs::new(&octets), version).finish();
        out.split_off(16)
    };
    assert_eq!(sent(0x50), octets);
    assert_eq!(sent(0x34), octets[10..]);
    assert_eq!(sent(0x33), []);
    assert_eq!(sent(0x00), []);
}

#[test]
fn sc_interface_version_is_told_only_when_asked_for() {
    let mut out = Vec::new();
    encode::bind_resp(&mut out, CommandId::BIND_RECEIVER_RESP, 1, b"SMSC", Some(0x34));
    assert_eq!(BindResp::decode(&out).sc_interface_version, Some(0x34));
    out.clear();
    encode::bind_resp(&mut out, CommandId::BIND_RECEIVER_RESP, 1, b"SMSC", None);
    assert_eq!(&out[16..], b"SMSC\0");
}

#[test]
fn esm_class_bits_are_the_specifications() {
    for (esm_class, receipt) in [(0x04, true), (0x20, true), (0x44, true), (0x00, false), (0x08, false), (0x40, false)]
    {
        let message = ShortMessage { esm_class, ..ShortMessage::default() };
        assert_eq!(message.is_receipt(), receipt, "{esm_class:#04x}");
    }
    assert_eq!((message::ESM_UDHI, message::ESM_REPLY_PATH), (0x40, 0x80));
    assert_eq!(message::REGISTERED_INTERMEDIATE, 0x10);
}

#[test]
fn registered_delivery_0_asks_for_no_receipt() {
    let asked = |registered| (wants_receipt(registered, true), wants_receipt(registered, false));
    assert_eq!(asked(0), (false, false));
    assert_eq!(asked(1), (true, true));
    assert_eq!(asked(2), (false, true));
    assert_eq!(asked(3), (true, false));
    assert_eq!(asked(0x10), (false, false));
    assert_eq!(asked(0x11), (true, true));
}

#[test]
fn the_err_field_of_a_receipt_is_text() {
    assert_eq!(Receipt::parse(b"id:1 stat:UNDELIV err:E0A1").err, Some(&b"E0A1"[..]));
}

#[test]
fn an_absolute_time_in_the_past_can_be_told() {
    let now = 1_795_196_681_000;
    assert!(SmppTime::parse(b"251120174441000+").unwrap().unix_millis(now) < now);
    assert!(SmppTime::parse(b"271120174441000+").unwrap().unix_millis(now) > now);
    assert!(SmppTime::parse(b"000000000001000R").unwrap().unix_millis(now) > now);
}

#[test]
fn field_lengths_are_the_specifications() {
    let longest = ShortMessage {
        service_type: &[b's'; 5],
        source: Address { ton: 1, npi: 1, addr: &[b'1'; 20] },
        dest: Address { ton: 1, npi: 1, addr: &[b'2'; 20] },
        ..ShortMessage::default()
    };
    let octets = submit(&longest);
    let read = ShortMessage::decode(&octets).unwrap();
    assert_eq!((read.service_type, read.source, read.dest), (longest.service_type, longest.source, longest.dest));
    let mut out = Vec::new();
    encode::submit_sm_resp(&mut out, 1, &[b'9'; 70]);
    assert_eq!(message::resp_message_id(&out), [b'9'; 64]);
    assert_eq!(out.len(), 16 + 65);
}

#[test]
fn passwords_longer_than_8_octets_are_taken() {
    let body = Bind {
        system_id: b"customer",
        password: b"a password of thirty octets ok",
        system_type: b"",
        interface_version: 0x34,
        addr_ton: 0,
        addr_npi: 0,
        address_range: b"",
    };
    let mut octets = Vec::new();
    encode::bind(&mut octets, CommandId::BIND_TRANSCEIVER, 1, &body);
    assert_eq!(Bind::decode(&octets), Ok(body));
}

#[test]
fn an_address_is_kept_as_the_peer_wrote_it() {
    for addr in [&b"+447700900123"[..], b"00447700900123", b"(0) 77 00", b"ALPHA sender"] {
        let dest = Address { ton: 1, npi: 1, addr };
        let octets = submit(&ShortMessage { dest, ..ShortMessage::default() });
        assert_eq!(ShortMessage::decode(&octets).unwrap().dest, dest);
    }
}

#[test]
fn sequence_numbers_wrap_at_31_bits_and_the_peers_are_echoed_whatever_they_are() {
    assert_eq!(frame::next_sequence(1), 2);
    assert_eq!(frame::next_sequence(SEQUENCE_MAX), 1);
    assert_eq!(frame::next_sequence(u32::MAX), 1);
    for sequence_number in [0, SEQUENCE_MAX, 0x8000_0000, u32::MAX] {
        let mut out = Vec::new();
        encode::header_only(&mut out, CommandId::ENQUIRE_LINK, OK, 3);
        frame::patch_sequence(&mut out, sequence_number);
        let Deframed::Pdu { header, .. } = deframe(&out, PDU_BYTES_MAX) else { panic!("no PDU") };
        assert_eq!(header.sequence_number, sequence_number);
    }
}

#[test]
fn a_command_length_out_of_bounds_is_fatal_and_an_unknown_command_is_not() {
    let with_length = |length: u32| {
        let mut octets = pdu(CommandId::ENQUIRE_LINK, OK, b"");
        octets[..4].copy_from_slice(&length.to_be_bytes());
        octets
    };
    for length in [0, 15, 65_537, u32::MAX] {
        let expected = Deframed::Fatal { command_length: length, sequence_number: 1 };
        assert_eq!(deframe(&with_length(length), PDU_BYTES_MAX), expected);
        // It is told as soon as the length is there.
        let expected = Deframed::Fatal { command_length: length, sequence_number: 0 };
        assert_eq!(deframe(&with_length(length)[..4], PDU_BYTES_MAX), expected);
    }
    assert_eq!(deframe(&with_length(65_536), PDU_BYTES_MAX), Deframed::NeedMore { missing: 65_520 });
    let unknown = pdu(CommandId(0x0000_0999), OK, b"abc");
    assert!(matches!(deframe(&unknown, PDU_BYTES_MAX), Deframed::Pdu { .. }));
    assert_eq!(CommandId(0x0000_0999).name(), None);
}

#[test]
fn statuses_that_retries_depend_on_have_their_values() {
    let statuses = [
        ("ESME_RTHROTTLED", 0x58),
        ("ESME_RMSGQFUL", 0x14),
        ("ESME_RSUBMITFAIL", 0x45),
        ("ESME_RSYSERR", 0x08),
        ("ESME_RUNKNOWNERR", 0xFF),
    ];
    for (name, value) in statuses {
        assert_eq!(CommandStatus::from_name(name), Some(CommandStatus(value)));
    }
    assert_eq!(CommandStatus(0x400).name(), None);
}

#[test]
fn cancel_sm_may_have_no_message_id_and_replace_sm_no_times() {
    let cancel = CancelSm { source: Address { ton: 1, npi: 1, addr: b"1" }, ..CancelSm::default() };
    let mut octets = Vec::new();
    encode::cancel_sm(&mut octets, 1, &cancel);
    assert_eq!(CancelSm::decode(&octets), Ok(cancel));
    let replace = ReplaceSm { message_id: b"7", short_message: b"New", ..ReplaceSm::default() };
    octets.clear();
    encode::replace_sm(&mut octets, 1, &replace);
    assert_eq!(ReplaceSm::decode(&octets), Ok(replace));
}

#[test]
fn submit_multi_takes_255_destinations_sends_254_and_refuses_none() {
    let dest = Dest::Address(Address { ton: 1, npi: 1, addr: b"1" });
    let mut octets = Vec::new();
    let message = ShortMessage::default();
    encode::submit_multi(&mut octets, 1, &message, std::iter::repeat_n(dest, 300));
    assert_eq!(SubmitMulti::decode(&octets).unwrap().dests.len(), 254);
    let count_at = SubmitMulti::decode(&octets).unwrap().message.offsets.dest;
    octets[count_at] = 255;
    octets.splice(count_at + 1..count_at + 1, [1, 1, 1, b'2', 0]);
    assert_eq!(SubmitMulti::decode(&octets).unwrap().dests.into_iter().count(), 255);
    octets[count_at] = 0;
    assert_eq!(SubmitMulti::decode(&octets), Err(DecodeError::NumberOfDests));
}

#[test]
fn submit_multi_resp_cut_short_keeps_its_whole_entries() {
    let body = b"77\0\x02\x01\x01123\0\0\0\0\x0B\x01\x0112";
    let octets = pdu(CommandId::SUBMIT_MULTI_RESP, OK, body);
    let response = SubmitMultiResp::decode(&octets);
    assert_eq!((response.message_id, response.unsuccess.len()), (&b"77"[..], 1));
    assert_eq!(response.unsuccess.into_iter().count(), 1);
    let empty = pdu(CommandId::SUBMIT_MULTI_RESP, CommandStatus::ESME_RSUBMITFAIL, b"");
    assert_eq!(SubmitMultiResp::decode(&empty), SubmitMultiResp::default());
}

#[test]
fn congestion_state_is_read_in_any_response() {
    let octets = pdu(CommandId::SUBMIT_SM_RESP, OK, b"77\0\x04\x28\0\x01\x5A");
    let response = MessageResp::decode(&octets);
    assert_eq!(response.message_id, b"77");
    assert_eq!(response.tlvs.find(Tag::CONGESTION_STATE).unwrap().integer(), Some(90));
}

#[test]
fn outbind_alert_notification_and_generic_nack_have_no_response() {
    let without: Vec<_> = CommandId::ALL.iter().filter(|id| !id.is_response() && !id.has_response()).collect();
    assert_eq!(without, [&CommandId::OUTBIND, &CommandId::ALERT_NOTIFICATION]);
    assert!(!CommandId::GENERIC_NACK.has_response());
    assert!(CommandId::GENERIC_NACK.is_response());
}
