//! Byte rings between shards: one for each ordered pair, a stream of records of variable length.
//!
//! A sender stages records in its own buffer and moves them into the ring once a turn, so that the other core's
//! cache line is touched once for a batch. What the ring has no room for stays staged: the ring is never a reason
//! to drop a record, and taking records out never depends on putting some in. How much may be staged is bounded by the
//! callers: a request spends credit that covers its answer (`bounds::RING_OUTSTANDING_MAX`,
//! `bounds::RING_STAGED_BYTES_MAX`).

use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use crate::bounds::{RING_BYTES, RING_TURN_BYTES};
use crate::names::ShardId;

/// Octets of the length in front of each record.
const PREFIX: usize = 4;

/// One shard's rings towards and from every other one.
pub struct Rings {
    outbound: Vec<Option<Outbound>>,
    inbound: Vec<Option<Inbound>>,
}

struct Outbound {
    producer: HeapProd<u8>,
    staged: Vec<u8>,
    /// How much of `staged` is in the ring already.
    moved: usize,
}

/// The receiving end of one ring. A shard takes it out of its [`Rings`] while it handles the records, which lie in
/// the ring itself until they have been handled.
pub(crate) struct Inbound {
    consumer: HeapCons<u8>,
    /// A record that lies across the ring's end is put together here.
    whole: Vec<u8>,
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
            outbound: row
                .into_iter()
                .map(|producer| producer.map(|producer| Outbound { producer, staged: Vec::new(), moved: 0 }))
                .collect(),
            inbound: column
                .into_iter()
                .map(|consumer| consumer.map(|consumer| Inbound { consumer, whole: Vec::new() }))
                .collect(),
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

    /// Stages one record for `to`: `write` appends it to the buffer. A record for this shard itself or for
    /// one that does not exist is a mistake of the caller.
    ///
    /// # Panics
    /// When there is no ring to `to`.
    #[inline]
    pub fn stage(&mut self, to: ShardId, write: impl FnOnce(&mut Vec<u8>)) {
        let staged = &mut self.outbound[to.index()].as_mut().expect("a ring leads to every other shard").staged;
        let start = staged.len();
        staged.extend_from_slice(&[0; PREFIX]);
        write(staged);
        let length = (staged.len() - start - PREFIX) as u32;
        staged[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    }

    /// Moves what is staged into the rings, as far as there is room. The shards that have got something are
    /// pushed to `ring_bell`: their doorbells are to be rung if they sleep.
    pub fn flush(&mut self, ring_bell: &mut Vec<ShardId>) {
        for (index, peer) in self.outbound.iter_mut().enumerate() {
            let Some(peer) = peer else { continue };
            if peer.staged.is_empty() {
                continue;
            }
            let moved = peer.producer.push_slice(&peer.staged[peer.moved..]);
            if moved > 0 {
                ring_bell.push(ShardId(index as u16));
            }
            peer.moved += moved;
            if peer.moved == peer.staged.len() {
                peer.staged.clear();
                peer.moved = 0;
            } else if peer.moved >= RING_BYTES {
                peer.staged.drain(..peer.moved);
                peer.moved = 0;
            }
        }
    }

    /// Whether something is staged that found no room: flush again soon.
    pub fn is_backed_up(&self) -> bool {
        self.outbound.iter().flatten().any(|peer| !peer.staged.is_empty())
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

impl Inbound {
    /// Handles whole records one after the other, at most `bounds::RING_TURN_BYTES` of them. A record whose end has
    /// not come yet stays.
    #[inline]
    pub(crate) fn for_each(&mut self, mut handle: impl FnMut(&[u8])) {
        let mut budget = RING_TURN_BYTES;
        loop {
            let (first, second) = self.consumer.as_slices();
            let mut rest = &first[..first.len().min(budget)];
            while let Some(record) = split_record(&mut rest) {
                handle(record);
            }
            let used = first.len().min(budget) - rest.len();
            let taken = if used > 0 { used } else { join(first, second, &mut self.whole) };
            if taken == 0 {
                return;
            }
            if used == 0 {
                handle(&self.whole[PREFIX..]);
            }
            self.consumer.skip(taken);
            budget = budget.saturating_sub(taken);
            if budget == 0 {
                return;
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

/// Puts the one record at the front of two slices together in `whole`, prefix first, and gives its octets; 0 when it
/// is not there as a whole.
#[cold]
fn join(first: &[u8], second: &[u8], whole: &mut Vec<u8>) -> usize {
    whole.clear();
    whole.extend(first.iter().chain(second).take(PREFIX));
    let Some(prefix) = whole.first_chunk::<PREFIX>() else { return 0 };
    let end = PREFIX + u32::from_le_bytes(*prefix) as usize;
    if first.len() + second.len() < end {
        return 0;
    }
    whole.clear();
    let from_first = first.len().min(end);
    whole.extend_from_slice(&first[..from_first]);
    whole.extend_from_slice(&second[..end - from_first]);
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_any_length_come_out_in_order_across_the_wrap() {
        let mut rings = mesh(2);
        let mut bells = Vec::new();
        let mut expected = 0u32;
        let mut sent = 0u32;
        while expected < 20_000 {
            for _ in 0..700 {
                let length = (sent as usize * 7919) % 900;
                rings[0].stage(ShardId(1), |out| {
                    out.extend_from_slice(&sent.to_le_bytes());
                    out.resize(out.len() + length, sent as u8);
                });
                sent += 1;
            }
            rings[0].flush(&mut bells);
            while let Some(mut inbound) = rings[1].take(ShardId(0)) {
                inbound.for_each(|record| {
                    assert_eq!(record[..4], expected.to_le_bytes());
                    assert_eq!(record.len(), 4 + (expected as usize * 7919) % 900);
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
        let record = vec![7; 1000];
        for _ in 0..2 * RING_BYTES / record.len() {
            rings[0].stage(ShardId(1), |out| out.extend_from_slice(&record));
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
        assert_eq!(seen, 2 * RING_BYTES / record.len());
        assert!(!rings[0].is_backed_up());
    }
}
