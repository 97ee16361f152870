//! Where a text stands: in short_message or in message_payload, never in both, and no longer than the peer's version has it.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::message::Address;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, Tag, Tlvs};

/// message_payload with so much in it.
fn payload(text: &[u8]) -> Vec<u8> {
    [&[0x04, 0x24, 0, text.len() as u8], text].concat()
}

/// Where a text stands in a PDU: short_message, message_payload.
fn texts(pdu: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let seen = ShortMessage::decode(pdu).unwrap();
    (seen.short_message.to_vec(), seen.tlvs.find(Tag::MESSAGE_PAYLOAD).map(|tlv| tlv.value.to_vec()))
}

#[test]
fn a_second_text_that_is_empty_does_not_go_to_the_vendor() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let empty = payload(b"");
    stage.feed(customer, &submit(1, &ShortMessage { tlvs: Tlvs::new(&empty), ..message(b"hello") }));
    assert_eq!(texts(&stage.pdu(links[0]).bytes), (b"hello".to_vec(), None));
    let full = payload(b"other");
    stage.feed(customer, &submit(2, &ShortMessage { tlvs: Tlvs::new(&full), ..message(b"hello") }));
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RINVMSGLEN, "which one is meant?");
}

#[test]
fn a_text_of_255_octets_is_a_short_message_for_version_5_alone() {
    let text = [b'x'; 255];
    for (version, expected) in [(0x50, (text.to_vec(), None)), (0x34, (Vec::new(), Some(text.to_vec())))] {
        let mut settings = settings();
        settings.vendors[0].interface_version = version;
        let (mut stage, links) = Stage::with_vendors(settings);
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        stage.feed(customer, &submit(1, &message(&text)));
        assert_eq!(texts(&stage.pdu(links[0]).bytes), expected, "{version:#x}");
    }
}

#[test]
fn a_vendors_second_text_does_not_reach_the_customer() {
    let settings = settings_with_inbound("12025550100");
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let dest = Address { ton: 1, npi: 1, addr: b"12025550100" };
    let both = [payload(b"other"), b"\x14\x00\x00\x02zz".to_vec()].concat();
    stage.feed(links[0], &deliver(71, &ShortMessage { dest, tlvs: Tlvs::new(&both), ..message(b"hello") }));
    let came = stage.pdu(customer);
    assert_eq!(texts(&came.bytes), (b"hello".to_vec(), None));
    let seen = ShortMessage::decode(&came.bytes).unwrap();
    assert!(seen.tlvs.find(Tag(0x1400)).is_some(), "what else it has stays");
}
