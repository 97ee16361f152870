//! PDUs shown in the log while a component is at DEBUG.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::CommandId;
use smpp_shards::bounds::{SAMPLE_BYTES_MAX, SHOWN_PER_SECOND_MAX};
use smpp_shards::trace::Direction;
use smpp_shards::{
    Action, Command, Conn, CustomerId, Event, PduPeer, Reply, SessionSeed, Settings, TraceOrder, TraceRecord,
    TraceTarget, VendorId, trace_ring,
};

use Direction::{Received, Sent};

fn settings_of_one() -> Settings {
    Settings {
        customers: vec![customer("acme")],
        vendors: vec![vendor("north")],
        routing_rules: vec![rule("", "north")],
        ..settings()
    }
}

/// Which way, with whom, what it is, its octets.
type Shown = (Direction, PduPeer, CommandId, Vec<u8>);

impl Stage {
    /// From now on.
    fn show(&mut self, of_customers: bool, of_vendors: bool) {
        self.shard.show_pdus(of_customers, of_vendors, &mut self.out);
    }

    /// The end of a turn: what is written is read back before anything is sent.
    fn end_turn(&mut self) -> bool {
        self.shard.read_back(self.now, &mut self.out)
    }

    /// The end of a turn, and what was shown since the last look.
    fn shown(&mut self) -> Vec<Shown> {
        self.end_turn();
        self.drain_actions();
        let actions = self.actions.drain(..);
        actions
            .filter_map(|action| match action {
                Action::Log(Event::PduShown { direction, peer, command, pdu, .. }) => {
                    Some((direction, peer, command, pdu.to_vec()))
                }
                _ => None,
            })
            .collect()
    }

    /// The same without the octets.
    fn ways(&mut self) -> Vec<(Direction, PduPeer, CommandId)> {
        self.shown().into_iter().map(|(way, peer, command, _)| (way, peer, command)).collect()
    }
}

const CUSTOMER: PduPeer = PduPeer::Customer(CustomerId(0));
const VENDOR: PduPeer = PduPeer::Vendor(VendorId(0));

/// One message to the vendor and back, in two turns: what the customer sent and was sent, and the vendor likewise.
fn exchange(stage: &mut Stage, session: Conn, link: Conn, sequence: u32) -> [Vec<u8>; 4] {
    let submit = submit(sequence, &message(b"hello"));
    stage.feed(session, &submit);
    stage.end_turn();
    let submitted = stage.pdu(link).bytes;
    let answer = submit_resp(header(&submitted).sequence_number, b"7");
    stage.feed(link, &answer);
    stage.end_turn();
    [submit, stage.pdu(session).bytes, answer, submitted]
}

#[test]
fn what_is_asked_for_is_shown_both_ways_and_nothing_else() {
    let (mut stage, links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    exchange(&mut stage, session, links[0], 2);
    assert_eq!(stage.shown(), []);
    let (submit, answer) = (CommandId::SUBMIT_SM, CommandId::SUBMIT_SM_RESP);
    stage.show(true, false);
    let [received, sent, ..] = exchange(&mut stage, session, links[0], 3);
    assert_eq!(stage.shown(), [(Received, CUSTOMER, submit, received), (Sent, CUSTOMER, answer, sent)]);
    stage.show(false, true);
    let [_, _, received, sent] = exchange(&mut stage, session, links[0], 4);
    assert_eq!(stage.shown(), [(Sent, VENDOR, submit, sent), (Received, VENDOR, answer, received)]);
    stage.show(true, true);
    exchange(&mut stage, session, links[0], 5);
    let all =
        [(Received, CUSTOMER, submit), (Sent, VENDOR, submit), (Received, VENDOR, answer), (Sent, CUSTOMER, answer)];
    assert_eq!(stage.ways(), all);
    stage.show(false, false);
    exchange(&mut stage, session, links[0], 6);
    assert_eq!(stage.shown(), []);
}

#[test]
fn the_host_is_told_of_lines_of_what_was_written() {
    let (mut stage, _links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.feed(session, &header_only(CommandId::ENQUIRE_LINK, 2));
    assert!(!stage.end_turn());
    stage.show(true, false);
    assert!(!stage.end_turn(), "it was written before");
    stage.feed(session, &header_only(CommandId::ENQUIRE_LINK, 3));
    assert!(stage.end_turn());
    assert!(!stage.end_turn(), "nothing is shown twice");
    let enquire = (Received, CUSTOMER, CommandId::ENQUIRE_LINK);
    assert_eq!(stage.ways(), [enquire, (Sent, CUSTOMER, CommandId::ENQUIRE_LINK_RESP)]);
    assert_eq!(stage.pdus(session).len(), 2);
}

#[test]
fn what_waits_to_be_sent_when_it_is_switched_on_is_not_shown_later() {
    let (mut stage, _links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    let enquire = |stage: &mut Stage, sequence| stage.feed(session, &header_only(CommandId::ENQUIRE_LINK, sequence));
    let sent_numbers = |stage: &mut Stage| -> Vec<u32> {
        let shown = stage.shown().into_iter().filter(|(way, ..)| *way == Sent);
        shown.map(|(_, _, _, pdu)| header(&pdu).sequence_number).collect()
    };
    enquire(&mut stage, 2);
    stage.end_turn();
    stage.show(true, false);
    enquire(&mut stage, 3);
    assert_eq!(sent_numbers(&mut stage), [3]);
    stage.show(false, false);
    stage.end_turn();
    enquire(&mut stage, 4);
    stage.end_turn();
    stage.show(true, false);
    enquire(&mut stage, 5);
    assert_eq!(sent_numbers(&mut stage), [5]);
    assert_eq!(stage.pdus(session).len(), 4, "nothing was taken to be sent meanwhile");
}

#[test]
fn the_last_answer_of_a_session_is_shown() {
    let (mut stage, _links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.show(true, false);
    stage.feed(session, &header_only(CommandId::UNBIND, 2));
    let expected = [(Received, CUSTOMER, CommandId::UNBIND), (Sent, CUSTOMER, CommandId::UNBIND_RESP)];
    assert_eq!(stage.ways(), expected);
}

#[test]
fn a_session_that_is_traced_is_shown_as_well_and_each_has_everything_once() {
    let (mut stage, _links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.show(true, false);
    let list = Command::ListSessions { customer: None, from: session.0, limit: 1 };
    stage.shard.command(1, list, stage.now, &mut stage.out);
    stage.drain_actions();
    let Some(Action::Reply { reply: Reply::Sessions { sessions, .. }, .. }) = stage.actions.pop() else { panic!() };
    stage.feed(session, &header_only(CommandId::ENQUIRE_LINK, 2));
    let (tap, mut reader) = trace_ring();
    let order = TraceOrder { target: TraceTarget::Session(sessions[0].name), millis: 60_000, tap };
    assert!(stage.shard.trace(order, stage.now, &mut stage.out).is_some());
    for sequence in 3..5 {
        stage.feed(session, &header_only(CommandId::ENQUIRE_LINK, sequence));
    }
    let shown: Vec<(Direction, u32)> =
        stage.shown().iter().map(|(way, _, _, pdu)| (*way, header(pdu).sequence_number)).collect();
    assert_eq!(shown, [(Received, 2), (Sent, 2), (Received, 3), (Sent, 3), (Received, 4), (Sent, 4)]);
    let mut traced = Vec::new();
    reader.take(usize::MAX, |record| {
        if let TraceRecord::Pdu { direction, pdu, .. } = record {
            traced.push((direction, header(pdu).sequence_number));
        }
    });
    assert_eq!(traced, shown[2..]);
}

#[test]
fn what_another_shard_has_left_to_be_sent_is_not_shown() {
    let mut stage = Stage::new(settings_of_one());
    stage.show(true, true);
    let conn = stage.conn();
    stage.out.buffer(conn).extend_from_slice(&header_only(CommandId::ENQUIRE_LINK_RESP, 1)[7..]);
    let seed = SessionSeed {
        customer: CustomerId(0),
        command: CommandId::BIND_TRANSMITTER,
        sequence_number: 2,
        interface_version: 0x34,
        peer: "192.0.2.1".parse().unwrap(),
        leftover: header_only(CommandId::ENQUIRE_LINK, 3),
    };
    stage.shard.adopted(conn, Box::new(seed), stage.now, &mut stage.out);
    let expected = [
        (Received, CUSTOMER, CommandId::ENQUIRE_LINK),
        (Sent, CUSTOMER, CommandId::BIND_TRANSMITTER_RESP),
        (Sent, CUSTOMER, CommandId::ENQUIRE_LINK_RESP),
    ];
    assert_eq!(stage.ways(), expected);
}

#[test]
fn as_many_a_second_are_shown_each_way_as_a_log_can_bear() {
    let (mut stage, _links) = Stage::with_vendors(settings_of_one());
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.show(true, false);
    let many = 3 * SHOWN_PER_SECOND_MAX;
    let enquiries: Vec<u8> = (0..many).flat_map(|it| header_only(CommandId::ENQUIRE_LINK, it + 2)).collect();
    stage.feed(session, &enquiries);
    let ways = stage.ways();
    for way in [Received, Sent] {
        assert_eq!(ways.iter().filter(|shown| shown.0 == way).count(), SHOWN_PER_SECOND_MAX as usize, "{way:?}");
    }
    assert_eq!(stage.pdus(session).len(), many as usize, "all are answered");
    stage.pass_ms(1_000);
    stage.feed(session, &enquiries);
    let ways = stage.ways();
    assert!([Received, Sent].iter().all(|way| ways.iter().any(|shown| shown.0 == *way)), "{ways:?}");
}

/// What stands in `shown` where `octets` has something else.
fn differing(shown: &[u8], octets: &[u8]) -> Vec<u8> {
    assert_eq!(shown.len(), octets.len());
    shown.iter().zip(octets).filter(|(shown, octet)| shown != octet).map(|(shown, _)| *shown).collect()
}

#[test]
fn a_long_pdu_is_cut_and_a_password_is_not_shown() {
    let mut stage = Stage::new(settings_of_one());
    stage.show(true, true);
    let link = stage.connects()[0];
    let conn = stage.connect_link(link);
    let shown = stage.shown();
    let bind = stage.pdu(conn);
    assert_eq!((shown.len(), &shown[0].0, &shown[0].1, shown[0].2), (1, &Sent, &VENDOR, bind.command));
    assert_eq!(differing(&shown[0].3, &bind.bytes), b"********");
    stage.feed(conn, &answer(bind.command.response(), smpp_pdu::CommandStatus::ESME_ROK, bind.sequence));
    let session = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.shown();
    stage.feed(session, &submit_payload(2, &[b'x'; 3_000]));
    let lengths: Vec<(Direction, usize)> = stage.shown().iter().map(|shown| (shown.0, shown.3.len())).collect();
    assert_eq!(lengths, [(Received, SAMPLE_BYTES_MAX), (Sent, SAMPLE_BYTES_MAX)]);
    let bind = bind_pdu(CommandId::BIND_TRANSMITTER, 3, 0x34);
    stage.feed(session, &bind);
    let shown = stage.shown();
    assert_eq!((&shown[0].0, shown[0].2), (&Received, CommandId::BIND_TRANSMITTER));
    assert_eq!(differing(&shown[0].3, &bind), b"********");
}
