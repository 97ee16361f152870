//! Byte rings between shards: one for each ordered pair, a stream of records of variable length.
//!
//! What a turn has for another shard is put together in memory of its own and goes into the ring as a whole, and the
//! receiving shard takes it out as a whole as well. The lines of a ring are in the other core's cache whenever they
//! are wanted; one large copy fetches many of them at a time, records written and read one by one would wait for each.
//!
//! What the ring has no room for waits in front of it: the ring is never a reason to drop a record, and taking records
//! out never depends on putting some in. How much may wait is bounded by the callers: a request spends credit that
//! covers its answer (`bounds::RING_OUTSTANDING_MAX`, `bounds::RING_STAGED_BYTES_MAX`).

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::bounds::{RING_BYTES, RING_COPY_BYTES, RING_TURN_BYTES};
use crate::names::ShardId;
use crate::wire::{Await, PREFIX, Record, Submit, SubmitAnswer};

/// One shard's rings towards and from every other one.
pub struct Rings {
    outbound: Vec<Option<Outbound>>,
    inbound: Vec<Option<Inbound>>,
}

struct Outbound {
    producer: HeapProd<u8>,
    /// Records that are not in the ring yet.
    staged: Vec<u8>,
    /// How much of `staged` is in the ring already.
    moved: usize,
    /// The ring had no room for all that was staged.
    is_full: bool,
    /// The other side has not been told yet that something is in the ring.
    is_untold: bool,
}

/// The receiving end of one ring. A shard takes it out of its [`Rings`] while it handles the records.
pub(crate) struct Inbound {
    consumer: HeapCons<u8>,
    /// What was taken out of the ring and not handled yet stands in front.
    batch: Vec<u8>,
    /// So much of `batch` was taken out of the ring.
    filled: usize,
}

/// The rings of all shards of a process, in the order of the shards.
pub fn mesh(shards: u16) -> Vec<Rings> {
    let count = usize::from(shards);
    let mut producers: Vec<Vec<Option<HeapProd<u8>>>> = Vec::new();
    let mut consumers: Vec<Vec<Option<HeapCons<u8>>>> = (0..count).map(|_| Vec::new()).collect();
    for from in 0..count {
        let mut row = Vec::new();
        for (to, column) in consumers.iter_mut().enumerate() {
            if from == to {
                row.push(None);
                column.push(None);
                continue;
            }
            let (producer, consumer) = HeapRb::<u8>::new(RING_BYTES).split();
            row.push(Some(producer));
            column.push(Some(consumer));
        }
        producers.push(row);
    }
    producers
        .into_iter()
        .zip(consumers)
        .map(|(row, column)| Rings {
            outbound: row.into_iter().map(|producer| producer.map(Outbound::new)).collect(),
            inbound: column.into_iter().map(|consumer| consumer.map(Inbound::new)).collect(),
        })
        .collect()
}

impl Rings {
    /// How many shards there are, this one included.
    pub fn shards(&self) -> usize {
        self.outbound.len()
    }

    /// Octets that wait in front of the ring towards `to`; 0 for this shard itself.
    #[inline]
    pub fn staged_bytes(&self, to: ShardId) -> usize {
        self.outbound.get(to.index()).and_then(Option::as_ref).map_or(0, |peer| peer.staged.len() - peer.moved)
    }

    /// Puts one record for `to` among those that go into the ring with the next [`Rings::flush`], or before when they
    /// are many. A record for this shard itself or for one that does not exist is a mistake of the caller.
    ///
    /// # Panics
    /// When there is no ring to `to`.
    #[inline]
    pub fn send(&mut self, to: ShardId, record: &Record<'_>) {
        self.stage(to, |staged| record.write(staged));
    }

    /// As [`Rings::send`].
    #[inline]
    pub(crate) fn send_submit(&mut self, to: ShardId, submit: &Submit<'_>) {
        self.stage(to, |staged| submit.write(staged));
    }

    /// As [`Rings::send`].
    #[inline]
    pub(crate) fn send_answer(&mut self, to: ShardId, answer: &SubmitAnswer<'_>) {
        self.stage(to, |staged| answer.write(staged));
    }

    /// As [`Rings::send`].
    pub(crate) fn send_await(&mut self, to: ShardId, awaited: &Await<'_>) {
        self.stage(to, |staged| awaited.write(staged));
    }

    #[inline]
    fn stage(&mut self, to: ShardId, write: impl FnOnce(&mut Vec<u8>)) {
        let peer = self.outbound[to.index()].as_mut().expect("a ring leads to every other shard");
        write(&mut peer.staged);
        if peer.staged.len() >= RING_COPY_BYTES && !peer.is_full {
            peer.move_staged();
        }
    }

    /// Moves what is staged into the rings, as far as there is room. The shards that have got something are
    /// pushed to `ring_bell`: their doorbells are to be rung if they sleep.
    pub fn flush(&mut self, ring_bell: &mut Vec<ShardId>) {
        for (index, peer) in self.outbound.iter_mut().enumerate() {
            let Some(peer) = peer else { continue };
            if !peer.staged.is_empty() {
                peer.move_staged();
            }
            if core::mem::take(&mut peer.is_untold) {
                ring_bell.push(ShardId(index as u16));
            }
        }
    }

    /// Whether something is staged that found no room: flush again soon.
    pub fn is_backed_up(&self) -> bool {
        self.outbound.iter().flatten().any(|peer| peer.is_full)
    }

    /// Whether another shard has put something into a ring for this one.
    pub fn has_incoming(&self) -> bool {
        self.inbound.iter().flatten().any(|peer| !peer.consumer.is_empty())
    }

    /// The receiving end of the ring from `from`, to be given back with [`Rings::give_back`]; `None` when nothing has
    /// come or there is no such ring.
    pub(crate) fn take(&mut self, from: ShardId) -> Option<Inbound> {
        self.inbound.get_mut(from.index())?.take_if(|inbound| !inbound.consumer.is_empty())
    }

    /// Puts a receiving end back.
    pub(crate) fn give_back(&mut self, from: ShardId, inbound: Inbound) {
        self.inbound[from.index()] = Some(inbound);
    }
}

impl Outbound {
    fn new(producer: HeapProd<u8>) -> Self {
        Self { producer, staged: Vec::new(), moved: 0, is_full: false, is_untold: false }
    }

    fn move_staged(&mut self) {
        let moved = self.producer.push_slice(&self.staged[self.moved..]);
        self.is_untold |= moved > 0;
        self.moved += moved;
        self.is_full = self.moved < self.staged.len();
        if !self.is_full {
            self.staged.clear();
            self.moved = 0;
        } else if self.moved >= RING_BYTES {
            self.staged.drain(..self.moved);
            self.moved = 0;
        }
    }
}

impl Inbound {
    fn new(consumer: HeapCons<u8>) -> Self {
        Self { consumer, batch: vec![0; RING_COPY_BYTES], filled: 0 }
    }

    /// Handles whole records one after the other, about `bounds::RING_TURN_BYTES` of them at the most. A record whose
    /// end has not come yet stays.
    #[inline]
    pub(crate) fn for_each(&mut self, mut handle: impl FnMut(&[u8])) {
        let mut budget = RING_TURN_BYTES;
        while budget > 0 {
            let taken = self.consumer.pop_slice(&mut self.batch[self.filled..]);
            if taken == 0 {
                return;
            }
            self.filled += taken;
            budget = budget.saturating_sub(taken);
            let mut rest = &self.batch[..self.filled];
            while let Some(record) = split_record(&mut rest) {
                handle(record);
            }
            let left = rest.len();
            self.batch.copy_within(self.filled - left..self.filled, 0);
            self.filled = left;
            if left == self.batch.len() {
                // One record is larger than the whole batch.
                self.batch.resize(2 * left, 0);
            }
        }
    }
}

/// Takes the record at the front of `rest` off, if it is there as a whole.
#[inline]
fn split_record<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = PREFIX + u32::from_le_bytes(*rest.first_chunk::<PREFIX>()?) as usize;
    let record = rest.get(PREFIX..end)?;
    *rest = &rest[end..];
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::KeptRef;
    use crate::names::{CustomerId, VendorId};
    use crate::wire::{Deliver, DeliveryOrigin};

    fn record(number: u32, octets: &[u8]) -> Record<'_> {
        let origin = DeliveryOrigin { sequence: number, ..DeliveryOrigin::default() };
        let length = (number as usize * 7919) % (octets.len() + 1);
        Record::Deliver(Deliver {
            origin,
            vendor: VendorId(1),
            customer: CustomerId(2),
            kept: KeptRef::NONE,
            is_final: false,
            has_version_5: false,
            is_double: false,
            pdu: &octets[..length],
        })
    }

    #[test]
    fn what_is_not_flushed_is_not_seen() {
        let mut rings = mesh(2);
        rings[0].send(ShardId(1), &record(1, b"x"));
        assert!(!rings[1].has_incoming());
        rings[0].flush(&mut Vec::new());
        assert!(rings[1].has_incoming());
    }

    #[test]
    fn records_of_any_length_come_out_in_order_across_the_wrap() {
        let mut rings = mesh(2);
        let mut bells = Vec::new();
        let octets: Vec<u8> = (0..900u32).map(|octet| octet as u8).collect();
        let mut expected = 0u32;
        let mut sent = 0u32;
        while expected < 20_000 {
            for _ in 0..700 {
                rings[0].send(ShardId(1), &record(sent, &octets));
                sent += 1;
            }
            rings[0].flush(&mut bells);
            while let Some(mut inbound) = rings[1].take(ShardId(0)) {
                inbound.for_each(|bytes| {
                    assert_eq!(Record::read(bytes), record(expected, &octets));
                    expected += 1;
                });
                rings[1].give_back(ShardId(0), inbound);
                rings[0].flush(&mut bells);
            }
        }
        assert_eq!(expected, sent);
        assert!(bells.iter().all(|shard| *shard == ShardId(1)));
    }

    #[test]
    fn what_a_full_ring_has_no_room_for_stays_staged() {
        let mut rings = mesh(2);
        let octets = vec![7; 1000];
        let count = 2 * RING_BYTES as u32 / 1000;
        for number in 0..count {
            rings[0].send(ShardId(1), &record(number, &octets));
        }
        rings[0].flush(&mut Vec::new());
        assert!(rings[0].is_backed_up());
        let mut seen = 0;
        while rings[1].has_incoming() {
            if let Some(mut inbound) = rings[1].take(ShardId(0)) {
                inbound.for_each(|_| seen += 1);
                rings[1].give_back(ShardId(0), inbound);
            }
            rings[0].flush(&mut Vec::new());
        }
        assert_eq!(seen, count);
        assert!(!rings[0].is_backed_up());
    }

    #[test]
    fn records_larger_than_a_copy_pass_one_by_one_and_in_bulk() {
        let mut rings = mesh(2);
        let octets = vec![7; RING_COPY_BYTES * 2 - 100];
        let origin = DeliveryOrigin::default();
        let deliver = Deliver {
            origin,
            vendor: VendorId(1),
            customer: CustomerId(2),
            kept: KeptRef::NONE,
            is_final: false,
            has_version_5: false,
            is_double: false,
            pdu: &octets,
        };
        let mut seen = 0;
        for sent in 0..200 {
            rings[0].send(ShardId(1), &Record::Deliver(deliver));
            rings[0].flush(&mut Vec::new());
            if sent % 7 != 0 {
                while rings[1].has_incoming() {
                    if let Some(mut inbound) = rings[1].take(ShardId(0)) {
                        inbound.for_each(|_| seen += 1);
                        rings[1].give_back(ShardId(0), inbound);
                    }
                    rings[0].flush(&mut Vec::new());
                }
                assert_eq!(seen, sent + 1);
            }
        }
    }
}
