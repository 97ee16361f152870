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
    peers: Vec<Option<Peer>>,
    scratch: Vec<u8>,
}

struct Peer {
    producer: HeapProd<u8>,
    staged: Vec<u8>,
    /// How much of `staged` is in the ring already.
    moved: usize,
    consumer: HeapCons<u8>,
    taken: Vec<u8>,
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
            peers: row
                .into_iter()
                .zip(column)
                .map(|(producer, consumer)| {
                    let (producer, consumer) = producer.zip(consumer)?;
                    Some(Peer { producer, staged: Vec::new(), moved: 0, consumer, taken: Vec::new() })
                })
                .collect(),
            scratch: Vec::new(),
        })
        .collect()
}

impl Rings {
    /// How many shards there are, this one included.
    pub fn shards(&self) -> usize {
        self.peers.len()
    }

    /// Octets that wait in front of the ring towards `to`; 0 for this shard itself.
    #[inline]
    pub fn staged_bytes(&self, to: ShardId) -> usize {
        self.peers.get(to.index()).and_then(Option::as_ref).map_or(0, |peer| peer.staged.len() - peer.moved)
    }

    /// Stages one record for `to`: `write` appends it to the buffer. A record for this shard itself or for
    /// one that does not exist is a mistake of the caller.
    ///
    /// # Panics
    /// When there is no ring to `to`.
    #[inline]
    pub fn stage(&mut self, to: ShardId, write: impl FnOnce(&mut Vec<u8>)) {
        let staged = &mut self.peers[to.index()].as_mut().expect("a ring leads to every other shard").staged;
        let start = staged.len();
        staged.extend_from_slice(&[0; PREFIX]);
        write(staged);
        let length = (staged.len() - start - PREFIX) as u32;
        staged[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
    }

    /// Moves what is staged into the rings, as far as there is room. The shards that have got something are
    /// pushed to `ring_bell`: their doorbells are to be rung if they sleep.
    pub fn flush(&mut self, ring_bell: &mut Vec<ShardId>) {
        for (index, peer) in self.peers.iter_mut().enumerate() {
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
        self.peers.iter().flatten().any(|peer| !peer.staged.is_empty())
    }

    /// Whether another shard has put something into a ring for this one.
    pub fn has_incoming(&self) -> bool {
        self.peers.iter().flatten().any(|peer| !peer.consumer.is_empty())
    }

    /// Takes the records that have come from `from`, at most `bounds::RING_TURN_BYTES` of them, as one run of
    /// whole records for [`records`]. Give the buffer back with [`Rings::give_back`].
    pub(crate) fn take(&mut self, from: ShardId) -> Option<Vec<u8>> {
        let peer = self.peers.get_mut(from.index())?.as_mut()?;
        let available = peer.consumer.occupied_len().min(RING_TURN_BYTES);
        if available == 0 {
            return None;
        }
        let start = peer.taken.len();
        peer.taken.resize(start + available, 0);
        let moved = peer.consumer.pop_slice(&mut peer.taken[start..]);
        peer.taken.truncate(start + moved);
        let whole = whole_records(&peer.taken);
        if whole == 0 {
            return None;
        }
        let mut run = core::mem::take(&mut self.scratch);
        core::mem::swap(&mut run, &mut peer.taken);
        peer.taken.clear();
        peer.taken.extend_from_slice(&run[whole..]);
        run.truncate(whole);
        Some(run)
    }

    /// Returns the buffer of [`Rings::take`], so that it is used again.
    pub(crate) fn give_back(&mut self, mut run: Vec<u8>) {
        run.clear();
        self.scratch = run;
    }
}

/// The records of a run that [`Rings::take`] gave.
pub(crate) fn records(mut run: &[u8]) -> impl Iterator<Item = &[u8]> {
    core::iter::from_fn(move || {
        let length = u32::from_le_bytes(*run.first_chunk::<PREFIX>()?) as usize;
        let record = run.get(PREFIX..PREFIX + length)?;
        run = &run[PREFIX + length..];
        Some(record)
    })
}

fn whole_records(bytes: &[u8]) -> usize {
    let mut whole = 0;
    while let Some(prefix) = bytes[whole..].first_chunk::<PREFIX>() {
        let end = whole + PREFIX + u32::from_le_bytes(*prefix) as usize;
        if end > bytes.len() {
            break;
        }
        whole = end;
    }
    whole
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
            while let Some(run) = rings[1].take(ShardId(0)) {
                for record in records(&run) {
                    assert_eq!(record[..4], expected.to_le_bytes());
                    assert_eq!(record.len(), 4 + (expected as usize * 7919) % 900);
                    expected += 1;
                }
                rings[1].give_back(run);
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
            if let Some(run) = rings[1].take(ShardId(0)) {
                seen += records(&run).count();
                rings[1].give_back(run);
            }
            rings[0].flush(&mut Vec::new());
        }
        assert_eq!(seen, 2 * RING_BYTES / record.len());
        assert!(!rings[0].is_backed_up());
    }
}
