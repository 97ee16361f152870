//! A trace of one session, a customer's or one with a vendor: copies of its PDUs, both ways, in a byte ring of its own from
//! the shard to the control thread.
//!
//! The control thread makes the ring and sends one end of it with its [`TraceOrder`]. The shard's end never waits: a PDU
//! that finds no room is left out and counted. Either side ends a trace by dropping its end. No password of a bind gets in.

use core::net::SocketAddr;

use ringbuf::traits::{Observer, Producer, Split};
use ringbuf::{HeapProd, HeapRb};
use smpp_pdu::bind::Bind;
use smpp_pdu::frame::HEADER_LENGTH;
use smpp_pdu::{CommandId, Header};

use crate::bounds::{PDU_BYTES_MAX, TRACE_RING_BYTES};
use crate::command::SessionName;
use crate::names::{CustomerId, VendorId};
use crate::records::{Fields, Filled, PREFIX, RecordReader};

/// Octets of a record in front of its PDU, the length included: kind, reason, time, PDUs and octets that were left out.
const FIXED: usize = PREFIX + 2 + 8 + 8 + 4;

const _: () = assert!(TRACE_RING_BYTES > 2 * (PDU_BYTES_MAX + FIXED));

/// Which session is to be traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceTarget {
    /// A customer's.
    Session(SessionName),
    /// One of a vendor's binds, counted from 0. The shard must be the vendor's home.
    Vendor(VendorId, u32),
}

/// A trace to begin.
pub struct TraceOrder {
    /// Of which session.
    pub target: TraceTarget,
    /// For how long at the most.
    pub millis: u64,
    /// The shard's end of its ring.
    pub tap: TraceTap,
}

/// Whose session is being traced, and the two ends of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Whose, if it is a customer's.
    pub customer: Option<CustomerId>,
    /// The customer's end, or the vendor's.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

/// Which way a PDU went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer.
    Received,
    /// To the peer.
    Sent,
}

/// Why a shard has ended a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceEnd {
    /// Its time was up.
    Time,
    /// The session is over.
    Session,
}

/// One record of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceRecord<'a> {
    /// A PDU. A bind's password is `*` throughout; of one that cannot be read it is the whole body, and nothing more of that
    /// direction follows. Where the framing was lost, at most 16 octets of what should have been a header.
    Pdu {
        /// Which way.
        direction: Direction,
        /// When, nanoseconds since 1970.
        at_unix_nanos: u64,
        /// PDUs left out so far.
        dropped: u64,
        /// Octets of this direction that were left out directly before it.
        skipped: u32,
        /// All of it.
        pdu: &'a [u8],
    },
    /// Nothing more comes.
    Ended {
        /// Why.
        reason: TraceEnd,
        /// PDUs left out in all.
        dropped: u64,
    },
}

/// The shard's end of a trace.
pub struct TraceTap {
    producer: HeapProd<u8>,
    dropped: u64,
    /// By direction.
    skipped: [u32; 2],
    /// By direction: a bind came that could not be read, so that what follows may be its password.
    is_muted: [bool; 2],
    masked: Vec<u8>,
}

/// The control thread's end of a trace.
pub struct TraceReader {
    records: RecordReader,
}

/// The ring of one trace, [`TRACE_RING_BYTES`] large.
pub fn trace_ring() -> (TraceTap, TraceReader) {
    let (producer, consumer) = HeapRb::<u8>::new(TRACE_RING_BYTES).split();
    let tap = TraceTap { producer, dropped: 0, skipped: [0; 2], is_muted: [false; 2], masked: Vec::new() };
    (tap, TraceReader { records: RecordReader::new(consumer) })
}

impl TraceTap {
    /// Puts a PDU into the ring; left out and counted when there is no room, which there always is for the end.
    pub fn put(&mut self, direction: Direction, at_unix_nanos: u64, pdu: &[u8]) {
        let way = direction as usize;
        let has_room = self.producer.vacant_len() >= pdu.len() + 2 * FIXED;
        if !has_room || self.is_muted[way] {
            self.dropped += 1;
            self.skipped[way] = self.skipped[way].saturating_add(pdu.len() as u32);
            return;
        }
        let mut masked = core::mem::take(&mut self.masked);
        let (pdu, is_readable) = without_password(pdu, &mut masked);
        self.is_muted[way] = !is_readable;
        let skipped = core::mem::take(&mut self.skipped[way]);
        self.push([way as u8, 0], at_unix_nanos, skipped, pdu);
        self.masked = masked;
    }

    /// The last record.
    pub fn end(mut self, reason: TraceEnd) {
        self.push([ENDED, reason as u8], 0, 0, &[]);
    }

    /// Whether there is still a reader.
    pub fn is_wanted(&self) -> bool {
        self.producer.read_is_held()
    }

    /// Whether it is time to read what there is: half of the ring is taken.
    pub fn is_filling(&self) -> bool {
        self.producer.occupied_len() > TRACE_RING_BYTES / 2
    }

    fn push(&mut self, kind: [u8; 2], at_unix_nanos: u64, skipped: u32, pdu: &[u8]) {
        let mut fixed = Filled::<FIXED>::new();
        fixed.put(((FIXED - PREFIX + pdu.len()) as u32).to_le_bytes());
        fixed.put(kind);
        fixed.put(at_unix_nanos.to_le_bytes());
        fixed.put(self.dropped.to_le_bytes());
        fixed.put(skipped.to_le_bytes());
        self.producer.push_slice(fixed.octets());
        self.producer.push_slice(pdu);
    }
}

impl TraceReader {
    /// Hands out the records that have come, about so many octets of them at the most; tells how many octets it took.
    pub fn take(&mut self, bytes_max: usize, mut handle: impl FnMut(TraceRecord<'_>)) -> usize {
        self.records.take(bytes_max, |record| handle(TraceRecord::read(record)))
    }

    /// Whether nothing more will come.
    pub fn is_over(&self) -> bool {
        // In this order: what was written before the writer went is in the ring.
        !self.records.has_writer() && self.records.waiting_bytes() == 0
    }
}

/// Behind the two directions.
const ENDED: u8 = 2;

impl<'a> TraceRecord<'a> {
    fn read(record: &'a [u8]) -> Self {
        let mut fields = Fields::new(record);
        let [kind, reason] = fields.array();
        let at_unix_nanos = u64::from_le_bytes(fields.array());
        let dropped = u64::from_le_bytes(fields.array());
        let skipped = u32::from_le_bytes(fields.array());
        if kind == ENDED {
            let reason = if reason == TraceEnd::Time as u8 { TraceEnd::Time } else { TraceEnd::Session };
            return Self::Ended { reason, dropped };
        }
        let direction = if kind == Direction::Sent as u8 { Direction::Sent } else { Direction::Received };
        Self::Pdu { direction, at_unix_nanos, dropped, skipped, pdu: fields.rest() }
    }
}

/// The PDU with every octet of a bind's password as `*`; `false` where it is a bind that cannot be read.
pub(crate) fn without_password<'a>(pdu: &'a [u8], masked: &'a mut Vec<u8>) -> (&'a [u8], bool) {
    let command = Header::read(pdu).map_or(CommandId::GENERIC_NACK, |header| header.command_id);
    if !command.is_bind() && command != CommandId::OUTBIND {
        return (pdu, true);
    }
    let bind = Some(pdu).filter(|_| command.is_bind()).and_then(|pdu| Bind::decode(pdu).ok());
    masked.clear();
    masked.extend_from_slice(pdu);
    let (hidden, is_readable) = match bind {
        Some(bind) => {
            let start = HEADER_LENGTH + bind.system_id.len() + 1;
            (start..start + bind.password.len(), true)
        }
        None => (HEADER_LENGTH..pdu.len(), false),
    };
    masked[hidden].fill(b'*');
    (masked, is_readable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use smpp_pdu::{CommandStatus, encode};

    fn bind(system_id: &[u8], password: &[u8]) -> Vec<u8> {
        let (mut pdu, empty) = (Vec::new(), &b""[..]);
        let fields = Bind {
            system_id,
            password,
            system_type: empty,
            interface_version: 0x34,
            addr_ton: 0,
            addr_npi: 0,
            address_range: empty,
        };
        encode::bind(&mut pdu, CommandId::BIND_TRANSCEIVER, 7, &fields);
        pdu
    }

    fn enquire(sequence: u32) -> Vec<u8> {
        let mut pdu = Vec::new();
        encode::header_only(&mut pdu, CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence);
        pdu
    }

    /// Direction, time, PDUs and octets left out, octets.
    type Seen = (Direction, u64, u64, u32, Vec<u8>);

    fn taken(reader: &mut TraceReader) -> (Vec<Seen>, Option<(TraceEnd, u64)>) {
        let (mut seen, mut end) = (Vec::new(), None);
        reader.take(usize::MAX, |record| match record {
            TraceRecord::Pdu { direction, at_unix_nanos, dropped, skipped, pdu } => {
                seen.push((direction, at_unix_nanos, dropped, skipped, pdu.to_vec()));
            }
            TraceRecord::Ended { reason, dropped } => end = Some((reason, dropped)),
        });
        (seen, end)
    }

    #[test]
    fn pdus_come_out_as_they_were_put_in_and_the_end_behind_them() {
        for reason in [TraceEnd::Time, TraceEnd::Session] {
            let (mut tap, mut reader) = trace_ring();
            tap.put(Direction::Received, 5, &enquire(1));
            tap.put(Direction::Sent, 6, &enquire(2));
            assert!(!reader.is_over());
            tap.end(reason);
            assert!(!reader.is_over(), "what is there is still to be read");
            let (seen, end) = taken(&mut reader);
            let expected = [(Direction::Received, 5, 0, 0, enquire(1)), (Direction::Sent, 6, 0, 0, enquire(2))];
            assert_eq!((seen, end), (expected.to_vec(), Some((reason, 0))));
            assert!(reader.is_over());
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_leaves_a_gap_of_its_direction_and_the_end_has_room() {
        let (mut tap, mut reader) = trace_ring();
        let large = vec![0; PDU_BYTES_MAX];
        let fitting = (TRACE_RING_BYTES - FIXED) / (PDU_BYTES_MAX + FIXED);
        (0..fitting + 2).for_each(|_| tap.put(Direction::Sent, 1, &large));
        let (seen, _) = taken(&mut reader);
        assert_eq!(seen.len(), fitting);
        tap.put(Direction::Received, 2, &enquire(1));
        tap.put(Direction::Sent, 2, &enquire(2));
        tap.put(Direction::Sent, 2, &enquire(3));
        let (seen, _) = taken(&mut reader);
        let counts: Vec<_> = seen.iter().map(|(_, _, dropped, skipped, _)| (*dropped, *skipped)).collect();
        assert_eq!(counts, [(2, 0), (2, 2 * PDU_BYTES_MAX as u32), (2, 0)]);
        let small = enquire(4);
        while tap.dropped == 2 {
            tap.put(Direction::Sent, 3, &small);
        }
        tap.end(TraceEnd::Session);
        assert_eq!(taken(&mut reader).1, Some((TraceEnd::Session, 3)));
    }

    #[test]
    fn a_reader_that_has_gone_is_noticed() {
        let (tap, reader) = trace_ring();
        assert!(tap.is_wanted());
        drop(reader);
        assert!(!tap.is_wanted());
    }

    #[test]
    fn a_password_is_masked_and_nothing_else() {
        let (mut tap, mut reader) = trace_ring();
        tap.put(Direction::Received, 1, &bind(b"acme", b"secret12"));
        tap.put(Direction::Received, 2, &enquire(8));
        let (seen, _) = taken(&mut reader);
        assert_eq!(seen[0].4, bind(b"acme", b"********"));
        assert_eq!(seen[1].4, enquire(8));
    }

    #[test]
    fn behind_a_bind_that_cannot_be_read_nothing_more_of_its_direction_is_told() {
        let mut whole = bind(b"", b"");
        whole.splice(16..16, *b"a-name-that-is-far-too-long\0secret12");
        let mut outbind = bind(b"acme", b"secret12");
        outbind[7] = 0x0B;
        for unreadable in [&whole[..], &whole[..20], &bind(b"acme", b"secret12")[..24], &outbind] {
            let (mut tap, mut reader) = trace_ring();
            tap.put(Direction::Received, 1, unreadable);
            tap.put(Direction::Received, 2, b"\0secret12\0");
            tap.put(Direction::Sent, 2, &enquire(8));
            let (seen, _) = taken(&mut reader);
            assert_eq!(seen.len(), 2);
            assert_eq!(seen[0].4[..HEADER_LENGTH], unreadable[..HEADER_LENGTH]);
            assert!(seen[0].4[HEADER_LENGTH..].iter().all(|octet| *octet == b'*'));
            assert_eq!((seen[1].0, seen[1].2), (Direction::Sent, 1));
        }
    }
}
