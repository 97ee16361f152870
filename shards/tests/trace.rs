//! Traced sessions: what the control thread reads of them, in which order, and when it ends.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::bounds::{PDU_BYTES_MAX, TRACE_RING_BYTES, TRACES_MAX};
use smpp_shards::trace::{Direction, TraceEnd};
use smpp_shards::{
    CloseCause, Command, Conn, CustomerId, Reply, SessionName, Settings, TraceOrder, TraceReader, TraceRecord,
    TraceTarget, VendorId, trace_ring,
};

use Direction::{Received, Sent};
use TraceTarget::{Session, Vendor};

/// What a reader has got, without borrowing.
#[derive(Debug, Default)]
struct Seen {
    /// Way, milliseconds since the trace began, octets.
    pdus: Vec<(Direction, u64, Vec<u8>)>,
    dropped: u64,
    end: Option<TraceEnd>,
}

impl Seen {
    fn ways(&self) -> Vec<(Direction, CommandId)> {
        self.pdus.iter().map(|(way, _, pdu)| (*way, header(pdu).command_id)).collect()
    }
}

/// A PDU that long which is answered and otherwise nothing.
fn unknown_pdu(length: usize) -> Vec<u8> {
    let mut pdu = header_only(CommandId(0x0777), 1);
    pdu.resize(length, b'x');
    pdu[..4].copy_from_slice(&(length as u32).to_be_bytes());
    pdu
}

impl Stage {
    fn name(&mut self, conn: Conn) -> SessionName {
        let command = Command::ListSessions { customer: None, from: conn.0, limit: 1 };
        self.shard.command(1, command, self.now, &mut self.out);
        self.drain_actions();
        match self.actions.pop() {
            Some(smpp_shards::Action::Reply { reply: Reply::Sessions { sessions, .. }, .. }) => sessions[0].name,
            other => panic!("no list: {other:?}"),
        }
    }

    fn order(&mut self, target: TraceTarget, millis: u64) -> (Option<(Conn, Option<CustomerId>)>, TraceReader) {
        let (tap, reader) = trace_ring();
        let order = TraceOrder { target, millis, tap };
        (self.shard.trace(order, self.now, &mut self.out), reader)
    }

    fn traced(&mut self, conn: Conn, millis: u64) -> TraceReader {
        let name = self.name(conn);
        let (begun, reader) = self.order(Session(name), millis);
        assert_eq!(begun, Some((conn, Some(CustomerId(0)))));
        reader
    }

    /// The end of a turn, and what the reader has then.
    fn seen(&mut self, reader: &mut TraceReader) -> Seen {
        self.shard.read_back(self.now, &mut self.out);
        let mut seen = Seen::default();
        reader.take(usize::MAX, |record| match record {
            TraceRecord::Pdu { direction, at_unix_nanos, pdu, dropped, .. } => {
                seen.pdus.push((direction, at_unix_nanos / 1_000_000 - 1_700_000_000_000, pdu.to_vec()));
                seen.dropped = dropped;
            }
            TraceRecord::Ended { reason, dropped } => (seen.end, seen.dropped) = (Some(reason), dropped),
        });
        seen
    }
}

#[test]
fn both_directions_come_out_in_their_order_with_their_times() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    let one = ShortMessage { registered_delivery: 1, ..message(b"hello") };
    let submits = [submit(5, &one), header_only(CommandId::ENQUIRE_LINK, 6)].concat();
    stage.feed(customer, &submits);
    stage.pass_ms(30);
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(sent.sequence, b"0000ABC1"));
    let text = b"id:0000abc1 sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000 text:x";
    stage.feed(links[0], &deliver(1, &ShortMessage { esm_class: 4, ..message(text) }));
    let seen = stage.seen(&mut reader);
    let expected = [
        (Received, CommandId::SUBMIT_SM),
        (Received, CommandId::ENQUIRE_LINK),
        (Sent, CommandId::ENQUIRE_LINK_RESP),
        (Sent, CommandId::SUBMIT_SM_RESP),
        (Sent, CommandId::DELIVER_SM),
    ];
    assert_eq!(seen.ways(), expected);
    let times: Vec<u64> = seen.pdus.iter().map(|(_, at, _)| *at).collect();
    assert_eq!(times, [0, 0, 30, 30, 30]);
    assert_eq!(seen.pdus[0].2, submit(5, &one));
    let written: Vec<Vec<u8>> = stage.pdus(customer).into_iter().map(|pdu| pdu.bytes).collect();
    assert_eq!(written, seen.pdus[2..].iter().map(|(_, _, pdu)| pdu.clone()).collect::<Vec<_>>());
    // A later turn, after what was written has been taken to be sent.
    let delivered = header(&written[2]).sequence_number;
    stage.feed(customer, &deliver_resp(delivered, CommandStatus::ESME_ROK));
    stage.feed(customer, &header_only(CommandId::ENQUIRE_LINK, 7));
    let ways = stage.seen(&mut reader).ways();
    let expected = [
        (Received, CommandId::DELIVER_SM_RESP),
        (Received, CommandId::ENQUIRE_LINK),
        (Sent, CommandId::ENQUIRE_LINK_RESP),
    ];
    assert_eq!(ways, expected);
    assert!(stage.seen(&mut reader).pdus.is_empty(), "nothing is told twice");
}

#[test]
fn an_answer_stands_in_front_of_what_came_after_it() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    (1..4).for_each(|sequence| stage.feed(customer, &header_only(CommandId::ENQUIRE_LINK, sequence)));
    let pair = [(Received, CommandId::ENQUIRE_LINK), (Sent, CommandId::ENQUIRE_LINK_RESP)];
    assert_eq!(stage.seen(&mut reader).ways(), [pair; 3].concat());
}

#[test]
fn a_trace_has_whole_pdus_also_of_what_was_cut_when_it_began_and_nothing_of_before() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &header_only(CommandId::ENQUIRE_LINK, 1));
    let second = header_only(CommandId::ENQUIRE_LINK, 2);
    stage.feed(customer, &second[..7]);
    let mut reader = stage.traced(customer, 60_000);
    assert!(stage.seen(&mut reader).pdus.is_empty());
    second[7..].iter().for_each(|octet| stage.feed(customer, &[*octet]));
    let seen = stage.seen(&mut reader);
    let sequences: Vec<u32> = seen.pdus.iter().map(|(_, _, pdu)| header(pdu).sequence_number).collect();
    assert_eq!((seen.ways().len(), sequences), (2, vec![2, 2]));
}

#[test]
fn only_the_session_that_is_meant_is_traced() {
    let (mut stage, _) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let other = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    stage.feed(other, &submit(1, &message(b"not this one")));
    stage.feed(other, &header_only(CommandId::UNBIND, 2));
    assert!(stage.seen(&mut reader).pdus.is_empty());
    stage.shard.closed(other, CloseCause::Reset, stage.now, &mut stage.out);
    assert_eq!(stage.seen(&mut reader).end, None);
}

#[test]
fn a_trace_ends_when_its_time_is_up() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 1_000);
    stage.pass_ms(999);
    stage.feed(customer, &header_only(CommandId::ENQUIRE_LINK, 1));
    assert_eq!((stage.seen(&mut reader).pdus.len(), stage.seen(&mut reader).end), (2, None));
    stage.pass_ms(1);
    stage.feed(customer, &header_only(CommandId::ENQUIRE_LINK, 2));
    let seen = stage.seen(&mut reader);
    assert_eq!((seen.pdus.len(), seen.end), (0, Some(TraceEnd::Time)));
    assert!(reader.is_over());
    assert_eq!(stage.shard.report().sessions, 1, "the session itself goes on");
}

#[test]
fn a_trace_ends_with_its_session_and_has_the_last_answer() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let name = stage.name(customer);
    let mut reader = stage.traced(customer, 60_000);
    stage.feed(customer, &header_only(CommandId::UNBIND, 1));
    assert!(stage.was_closed(customer));
    assert!(stage.shard.read_back(stage.now, &mut stage.out), "the control thread is told of the end");
    let seen = stage.seen(&mut reader);
    assert_eq!(seen.ways(), [(Received, CommandId::UNBIND), (Sent, CommandId::UNBIND_RESP)]);
    assert_eq!(seen.end, Some(TraceEnd::Session));
    assert!(stage.order(Session(name), 60_000).0.is_none(), "there is no such session any more");
    assert!(!stage.shard.read_back(stage.now, &mut stage.out));
}

#[test]
fn a_session_that_is_lost_ends_its_trace() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    stage.shard.closed(customer, CloseCause::Reset, stage.now, &mut stage.out);
    assert_eq!(stage.seen(&mut reader).end, Some(TraceEnd::Session));
}

#[test]
fn what_a_full_ring_has_no_room_for_is_counted_and_the_session_notices_nothing() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    let large = unknown_pdu(PDU_BYTES_MAX);
    let count = TRACE_RING_BYTES / PDU_BYTES_MAX + 3;
    (0..count).for_each(|_| stage.feed(customer, &large));
    assert_eq!(stage.pdus(customer).len(), count, "each is answered");
    assert!(!stage.was_closed(customer));
    let seen = stage.seen(&mut reader);
    let received = seen.pdus.iter().filter(|(way, _, _)| *way == Received).count();
    assert!(received < count, "{received}");
    stage.feed(customer, &header_only(CommandId::ENQUIRE_LINK, 2));
    let seen = stage.seen(&mut reader);
    assert_eq!((seen.pdus.len(), seen.dropped), (2, (count - received) as u64));
}

#[test]
fn the_control_thread_is_woken_when_half_of_a_ring_is_taken() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    let large = unknown_pdu(50_000);
    for _ in 0..TRACE_RING_BYTES / 2 / 50_100 {
        stage.feed(customer, &large);
        assert!(!stage.shard.read_back(stage.now, &mut stage.out));
    }
    stage.feed(customer, &large);
    assert!(stage.shard.read_back(stage.now, &mut stage.out));
    assert_eq!(stage.seen(&mut reader).dropped, 0);
    assert!(!stage.shard.read_back(stage.now, &mut stage.out));
}

#[test]
fn where_the_framing_is_lost_the_trace_shows_what_was_no_header() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    let mut wrong = header_only(CommandId::SUBMIT_SM, 9);
    wrong[..4].copy_from_slice(&1_000_000u32.to_be_bytes());
    wrong.extend_from_slice(b"whatever");
    stage.feed(customer, &wrong[..3]);
    stage.feed(customer, &wrong[3..]);
    assert!(stage.was_closed(customer));
    let seen = stage.seen(&mut reader);
    assert_eq!(seen.ways(), [(Received, CommandId::SUBMIT_SM), (Sent, CommandId::GENERIC_NACK)]);
    assert_eq!((&seen.pdus[0].2[..], seen.end), (&wrong[..16], Some(TraceEnd::Session)));
}

#[test]
fn a_second_bind_is_in_the_trace_without_its_password() {
    let mut stage = Stage::new(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut reader = stage.traced(customer, 60_000);
    stage.feed(customer, &bind_pdu(CommandId::BIND_TRANSMITTER, 2, 0x34));
    let seen = stage.seen(&mut reader);
    assert_eq!(seen.ways(), [(Received, CommandId::BIND_TRANSMITTER), (Sent, CommandId::BIND_TRANSMITTER_RESP)]);
    let text = seen.pdus[0].2.escape_ascii().to_string();
    assert!(text.contains("acme\\x00********\\x00") && !text.contains("secret12"), "{text}");
}

#[test]
fn a_trace_whose_reader_has_gone_makes_room_for_another() {
    let mut stage = Stage::new(settings());
    let conns: Vec<Conn> = (0..=TRACES_MAX).map(|_| stage.bound(0, CommandId::BIND_TRANSCEIVER)).collect();
    let mut readers: Vec<TraceReader> = conns[..TRACES_MAX].iter().map(|conn| stage.traced(*conn, 60_000)).collect();
    let (first, last) = (stage.name(conns[0]), stage.name(conns[TRACES_MAX]));
    assert!(stage.order(Session(last), 60_000).0.is_none(), "there are as many as may be");
    assert!(stage.order(Session(first), 60_000).0.is_none(), "it is traced already");
    readers.remove(0);
    let mut reader = stage.traced(conns[TRACES_MAX], 60_000);
    stage.feed(conns[TRACES_MAX], &header_only(CommandId::ENQUIRE_LINK, 1));
    assert_eq!(stage.seen(&mut reader).pdus.len(), 2);
    drop((reader, readers));
    stage.shard.read_back(stage.now, &mut stage.out);
    assert!(!stage.shard.read_back(stage.now, &mut stage.out), "nothing is traced any more");
}

#[test]
fn a_session_that_is_not_there_is_not_traced() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let name = stage.name(customer);
    for wrong in [
        SessionName { generation: name.generation + 1, ..name },
        SessionName { conn: Conn(70_000), ..name },
        SessionName { conn: links[0], generation: 0 },
    ] {
        assert!(stage.order(Session(wrong), 60_000).0.is_none(), "{wrong:?}");
    }
}

#[test]
fn a_vendor_s_bind_is_traced_until_its_connection_is_over() {
    let two = smpp_shards::settings::VendorSettings { binds: 2, ..vendor("north") };
    let (mut stage, links) = Stage::with_vendors(Settings { vendors: vec![two], ..settings() });
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let (begun, mut reader) = stage.order(Vendor(VendorId(0), 0), 60_000);
    assert_eq!(begun, Some((links[0], None)));
    stage.feed(customer, &submit(1, &message(b"over the first bind")));
    let sent = stage.seen(&mut reader);
    assert_eq!(sent.ways(), [(Sent, CommandId::SUBMIT_SM)]);
    stage.feed(links[0], &submit_resp(header(&sent.pdus[0].2).sequence_number, b"v1"));
    assert_eq!(stage.seen(&mut reader).ways(), [(Received, CommandId::SUBMIT_SM_RESP)]);
    assert_eq!(stage.order(Vendor(VendorId(0), 1), 60_000).0, Some((links[1], None)));
    for (vendor, bind) in [(0, 0), (0, 2), (9, 0)] {
        assert_eq!(stage.order(Vendor(VendorId(vendor), bind), 60_000).0, None, "{vendor} {bind}");
    }
    stage.shard.closed(links[0], CloseCause::Reset, stage.now, &mut stage.out);
    assert_eq!(stage.seen(&mut reader).end, Some(TraceEnd::Session));
    assert_eq!(stage.order(Vendor(VendorId(0), 0), 60_000).0, None, "it is not connected");
}

#[test]
fn a_trace_that_is_there_when_a_vendor_is_bound_has_no_password() {
    let mut stage = Stage::new(settings());
    let link = stage.connects()[0];
    let conn = stage.connect_link(link);
    stage.pdus(conn);
    let (begun, mut reader) = stage.order(Vendor(VendorId(0), 0), 60_000);
    assert_eq!(begun, Some((conn, None)));
    assert!(stage.seen(&mut reader).pdus.is_empty(), "the bind was sent before");
    stage.feed(conn, &bind_pdu(CommandId::BIND_RECEIVER, 1, 0x34));
    let text = stage.seen(&mut reader).pdus[0].2.escape_ascii().to_string();
    assert!(text.contains("********") && !text.contains("secret12"), "{text}");
}
