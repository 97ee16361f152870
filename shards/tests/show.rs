//! PDUs shown in the log while a component is at DEBUG.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::CommandId;
use smpp_shards::bounds::{SAMPLE_BYTES_MAX, SHOWN_PER_SECOND_MAX};
use smpp_shards::{Action, CustomerId, Event, PduSender, Settings, VendorId};

fn settings_of_one() -> Settings {
    Settings {
        customers: vec![customer("acme")],
        vendors: vec![vendor("north")],
        routing_rules: vec![rule("", "north")],
        ..settings()
    }
}

impl Stage {
    /// What was shown since the last look: who sent it, what it is, its octets.
    fn shown(&mut self) -> Vec<(PduSender, CommandId, Vec<u8>)> {
        self.drain_actions();
        let actions = self.actions.drain(..);
        actions
            .filter_map(|action| match action {
                Action::Log(Event::PduReceived { from, command, pdu, .. }) => Some((from, command, pdu.to_vec())),
                _ => None,
            })
            .collect()
    }
}

const CUSTOMER: PduSender = PduSender::Customer(CustomerId(0));
const VENDOR: PduSender = PduSender::Vendor(VendorId(0));

#[test]
fn what_is_asked_for_is_shown_and_nothing_else() {
    let (mut stage, links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let exchange = |stage: &mut Stage, sequence| {
        let octets = submit(sequence, &message(b"hello"));
        stage.feed(session, &octets);
        let sent = stage.pdu(links[0]);
        let answer = submit_resp(header(&sent.bytes).sequence_number, b"7");
        stage.feed(links[0], &answer);
        (octets, answer)
    };
    exchange(&mut stage, 2);
    assert_eq!(stage.shown(), []);
    stage.shard.show_pdus(true, false);
    let (octets, _) = exchange(&mut stage, 3);
    assert_eq!(stage.shown(), [(CUSTOMER, CommandId::SUBMIT_SM, octets)]);
    stage.shard.show_pdus(false, true);
    let (_, answer) = exchange(&mut stage, 4);
    assert_eq!(stage.shown(), [(VENDOR, CommandId::SUBMIT_SM_RESP, answer)]);
    stage.shard.show_pdus(true, true);
    exchange(&mut stage, 5);
    assert_eq!(stage.shown().len(), 2);
    stage.shard.show_pdus(false, false);
    exchange(&mut stage, 6);
    assert_eq!(stage.shown(), []);
}

#[test]
fn as_many_a_second_are_shown_as_a_log_can_bear() {
    let (mut stage, _links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.shard.show_pdus(true, false);
    let enquiries: Vec<u8> =
        (0..3 * SHOWN_PER_SECOND_MAX).flat_map(|it| header_only(CommandId::ENQUIRE_LINK, it + 2)).collect();
    stage.feed(session, &enquiries);
    assert_eq!(stage.shown().len(), SHOWN_PER_SECOND_MAX as usize);
    assert_eq!(stage.pdus(session).len(), 3 * SHOWN_PER_SECOND_MAX as usize, "all are answered");
    stage.pass_ms(1_000);
    stage.feed(session, &enquiries);
    assert!(!stage.shown().is_empty());
}

#[test]
fn a_long_pdu_is_cut_and_a_password_is_not_shown() {
    let (mut stage, _links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.shard.show_pdus(true, true);
    stage.feed(session, &submit_payload(2, &[b'x'; 3_000]));
    assert_eq!(stage.shown()[0].2.len(), SAMPLE_BYTES_MAX);
    let bind = bind_pdu(CommandId::BIND_TRANSMITTER, 3, 0x34);
    stage.feed(session, &bind);
    let shown = stage.shown();
    let (_, command, octets) = &shown[0];
    assert_eq!((*command, octets.len()), (CommandId::BIND_TRANSMITTER, bind.len()));
    assert_ne!(*octets, bind, "the password is masked");
    let differing: Vec<u8> =
        octets.iter().zip(&bind).filter(|(shown, sent)| shown != sent).map(|(shown, _)| *shown).collect();
    assert!(!differing.is_empty() && differing.iter().all(|octet| *octet == b'*'), "{differing:?}");
}
