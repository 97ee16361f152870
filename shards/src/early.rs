//! Receipts that may have overtaken the submit_sm_resp of their message: in the order in which they came, and found by the id they
//! name. A vendor with several binds sends many of its receipts so.
//!
//! Lives on the vendor's home shard, part of its lane. Once as many have waited as ever do, nothing is allocated.

use crate::bounds::{BODY_KEEP_BYTES, EARLY_RECEIPTS_MAX};
use crate::names::Conn;
use crate::receipts::ReceiptKey;
use crate::time::Time;

/// A receipt that waits for its message's vendor id to become known.
#[derive(Debug)]
pub(crate) struct EarlyReceipt {
    pub(crate) key: ReceiptKey,
    /// The link's connection, and which use of it.
    pub(crate) conn: Conn,
    pub(crate) generation: u32,
    pub(crate) until: Time,
    /// The epoch whose submits must all have been answered before this receipt is known to match none; `None` while an
    /// older epoch is still being waited for.
    pub(crate) epoch: Option<u8>,
    pub(crate) pdu: Vec<u8>,
}

/// Where one of them stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EarlyPlace(u16);

const NOBODY: u16 = u16::MAX;

/// Buckets of the index by key.
const BUCKETS: usize = EARLY_RECEIPTS_MAX.next_power_of_two();

/// The early receipts of one vendor, at most [`EARLY_RECEIPTS_MAX`].
#[derive(Debug)]
pub(crate) struct EarlyReceipts {
    places: Vec<Place>,
    free: Vec<u16>,
    /// The newest of each bucket; nothing until the first one comes.
    heads: Vec<u16>,
    oldest: u16,
    newest: u16,
    /// Memory of PDUs for the next ones.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Place {
    receipt: Option<EarlyReceipt>,
    /// The next older one in its bucket.
    next: u16,
    older: u16,
    newer: u16,
}

impl EarlyReceipts {
    pub(crate) const fn new() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            heads: Vec::new(),
            oldest: NOBODY,
            newest: NOBODY,
            spare: Vec::new(),
        }
    }

    /// How many wait.
    pub(crate) const fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    #[inline]
    pub(crate) const fn is_empty(&self) -> bool {
        self.oldest == NOBODY
    }

    /// Memory for the PDU of the next one, empty.
    pub(crate) fn memory(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes the memory of one that is through back.
    pub(crate) fn give_back(&mut self, mut memory: Vec<u8>) {
        if memory.capacity() <= BODY_KEEP_BYTES && self.spare.len() < EARLY_RECEIPTS_MAX {
            memory.clear();
            self.spare.push(memory);
        }
    }

    /// Adds the newest. The caller looks at [`EarlyReceipts::len`] first.
    ///
    /// # Panics
    /// When there are as many as there may be.
    pub(crate) fn push(&mut self, receipt: EarlyReceipt) {
        if self.heads.is_empty() {
            self.heads = vec![NOBODY; BUCKETS];
        }
        let bucket = bucket(receipt.key);
        let place = Place { receipt: Some(receipt), next: self.heads[bucket], older: self.newest, newer: NOBODY };
        let at = match self.free.pop() {
            Some(at) => {
                self.places[usize::from(at)] = place;
                at
            }
            None => {
                assert!(self.places.len() < EARLY_RECEIPTS_MAX, "the caller looks first");
                self.places.push(place);
                (self.places.len() - 1) as u16
            }
        };
        match self.newest {
            NOBODY => self.oldest = at,
            newest => self.places[usize::from(newest)].newer = at,
        }
        self.newest = at;
        self.heads[bucket] = at;
    }

    /// The oldest with that key.
    #[inline]
    pub(crate) fn find(&self, key: ReceiptKey) -> Option<EarlyPlace> {
        let mut at = *self.heads.get(bucket(key))?;
        let mut found = None;
        while let Some(place) = self.places.get(usize::from(at)) {
            if place.receipt.as_ref().is_some_and(|receipt| receipt.key == key) {
                found = Some(EarlyPlace(at));
            }
            at = place.next;
        }
        found
    }

    /// The oldest of which that holds.
    pub(crate) fn first(&self, holds: impl Fn(&EarlyReceipt) -> bool) -> Option<EarlyPlace> {
        self.walk().find(|(_, receipt)| holds(receipt)).map(|(place, _)| place)
    }

    /// All of them, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &EarlyReceipt> {
        self.walk().map(|(_, receipt)| receipt)
    }

    /// All of them, in any order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut EarlyReceipt> {
        self.places.iter_mut().filter_map(|place| place.receipt.as_mut())
    }

    /// Takes one out; `None` when it has gone.
    pub(crate) fn take(&mut self, place: EarlyPlace) -> Option<EarlyReceipt> {
        let EarlyPlace(at) = place;
        let place = self.places.get_mut(usize::from(at))?;
        let receipt = place.receipt.take()?;
        let (next, older, newer) = (place.next, place.older, place.newer);
        match self.places.get_mut(usize::from(older)) {
            Some(place) => place.newer = newer,
            None => self.oldest = newer,
        }
        match self.places.get_mut(usize::from(newer)) {
            Some(place) => place.older = older,
            None => self.newest = older,
        }
        let head = &mut self.heads[bucket(receipt.key)];
        if *head == at {
            *head = next;
        } else {
            let mut before = *head;
            while let Some(place) = self.places.get_mut(usize::from(before)) {
                before = place.next;
                if place.next == at {
                    place.next = next;
                    break;
                }
            }
        }
        self.free.push(at);
        Some(receipt)
    }

    fn walk(&self) -> impl Iterator<Item = (EarlyPlace, &EarlyReceipt)> {
        let mut at = self.oldest;
        core::iter::from_fn(move || {
            let place = self.places.get(usize::from(at))?;
            let here = EarlyPlace(at);
            at = place.newer;
            Some((here, place.receipt.as_ref()?))
        })
    }
}

#[inline]
fn bucket(key: ReceiptKey) -> usize {
    key.hash(0) as usize & (BUCKETS - 1)
}

const _: () = assert!(EARLY_RECEIPTS_MAX < NOBODY as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::VendorId;
    use crate::settings::VendorIdFormat;

    fn key(number: u32) -> ReceiptKey {
        ReceiptKey::new(VendorId(0), number.to_string().as_bytes(), VendorIdFormat::Decimal).unwrap()
    }

    fn early(number: u32, generation: u32) -> EarlyReceipt {
        let pdu = vec![0; 200];
        EarlyReceipt { key: key(number), conn: Conn(0), generation, until: Time(1), epoch: None, pdu }
    }

    #[test]
    fn of_equal_ids_the_oldest_is_found() {
        let mut waiting = EarlyReceipts::new();
        for generation in 0..3 {
            waiting.push(early(5, generation));
            waiting.push(early(6, generation));
        }
        for generation in 0..3 {
            let place = waiting.find(key(5)).unwrap();
            assert_eq!(waiting.take(place).unwrap().generation, generation);
            assert!(waiting.take(place).is_none());
        }
        assert_eq!(waiting.find(key(5)), None);
        assert_eq!(waiting.len(), 3);
    }

    #[test]
    fn the_order_is_kept_whatever_is_taken_out() {
        let mut waiting = EarlyReceipts::new();
        let mut expected = Vec::new();
        for round in 0..50u32 {
            for number in 0..40 {
                let generation = round * 100 + number;
                waiting.push(early(number % 30, generation));
                expected.push(generation);
            }
            for step in 0..40 {
                let place = expected.remove((step * 7 + round as usize) % expected.len());
                let found = waiting.first(|receipt| receipt.generation == place).unwrap();
                let memory = waiting.take(found).unwrap().pdu;
                waiting.give_back(memory);
                let left: Vec<u32> = waiting.iter().map(|receipt| receipt.generation).collect();
                assert_eq!(left, expected);
            }
        }
        assert!(waiting.is_empty() && waiting.places.len() <= 80);
        assert_eq!(waiting.memory().capacity(), 200);
    }

    #[test]
    fn as_many_as_there_may_be_are_each_found() {
        let mut waiting = EarlyReceipts::new();
        for number in 0..EARLY_RECEIPTS_MAX as u32 {
            waiting.push(early(number, number));
        }
        assert_eq!(waiting.len(), EARLY_RECEIPTS_MAX);
        for number in (0..EARLY_RECEIPTS_MAX as u32).rev() {
            let place = waiting.find(key(number)).unwrap();
            assert_eq!(waiting.take(place).unwrap().generation, number);
        }
        assert!(waiting.is_empty());
    }
}
