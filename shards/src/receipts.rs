//! The receipts that are awaited: by vendor and the vendor's message id, in whatever form it comes back.

use core::hash::{Hash, Hasher};
use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;

use hashbrown::HashTable;
use smpp_pdu::Address;
use smpp_pdu::id::{IdForm, NormalId};
use smpp_pdu::message::ADDRESS_MAX;

use crate::message_id::{IdStyle, MessageId};
use crate::names::{CustomerId, ShardId, VendorId};
use crate::settings::VendorIdFormat;

/// The vendor and its message id, normalised, as 128 bits of hash: two that differ never meet in practice.
pub(crate) fn receipt_key(vendor: VendorId, raw: &[u8], format: VendorIdFormat) -> Option<u128> {
    let form = match format {
        VendorIdFormat::Text => IdForm::Text,
        VendorIdFormat::Hex => IdForm::Hex,
        VendorIdFormat::Decimal => IdForm::Decimal,
    };
    let id = NormalId::new(raw, form);
    if id.is_empty() {
        return None;
    }
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, vendor.0, matches!(id, NormalId::Number(_))).hash(&mut hasher);
        hasher.write(&id.canonical());
        hasher.finish()
    };
    Some(u128::from(half(0x5245_4345)) << 64 | u128::from(half(0x4950_5453)))
}

/// An address of the message, for its receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct KeptAddress {
    ton: u8,
    npi: u8,
    length: u8,
    octets: [u8; ADDRESS_MAX],
}

impl KeptAddress {
    #[inline]
    pub(crate) fn new(address: Address<'_>) -> Self {
        let length = address.addr.len().min(ADDRESS_MAX);
        let mut octets = [0; ADDRESS_MAX];
        octets[..length].copy_from_slice(&address.addr[..length]);
        Self { ton: address.ton, npi: address.npi, length: length as u8, octets }
    }

    #[inline]
    pub(crate) fn address(&self) -> Address<'_> {
        Address { ton: self.ton, npi: self.npi, addr: &self.octets[..usize::from(self.length)] }
    }
}

/// A message whose receipt is awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    pub(crate) key: u128,
    pub(crate) id: MessageId,
    pub(crate) style: IdStyle,
    /// registered_delivery as the customer sent it: which receipts it gets.
    pub(crate) registered_delivery: u8,
    pub(crate) customer: CustomerId,
    pub(crate) customer_home: ShardId,
    pub(crate) submitted_unix_ms: u64,
    /// As the customer gave them.
    pub(crate) source: KeptAddress,
    pub(crate) dest: KeptAddress,
}

/// Entries of one chunk: memory comes and goes in pieces of a few hundred kibibytes, and nothing is ever copied to
/// grow.
const CHUNK: usize = 4096;

/// The index of one shard, oldest first; bounded.
#[derive(Debug)]
pub(crate) struct AwaitedReceipts {
    /// Positions, by key. Sized for the bound at the start, so that it is never built anew on a message's way.
    table: HashTable<u64>,
    chunks: VecDeque<Vec<Option<Awaited>>>,
    spare: Vec<Option<Awaited>>,
    /// The position of the first entry of `chunks[0]`, a multiple of [`CHUNK`]; positions count up for ever.
    base: u64,
    /// The position of the oldest entry that may still be there.
    oldest: u64,
    /// The position of the next entry.
    next: u64,
    max: u64,
}

impl AwaitedReceipts {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            table: HashTable::with_capacity(max),
            chunks: VecDeque::new(),
            spare: Vec::new(),
            base: 0,
            oldest: 0,
            next: 0,
            max: max as u64,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds an entry; one of the same key is replaced, for a vendor that uses an id again means the newer message.
    /// Gives the entry that had to go to make room.
    pub(crate) fn insert(&mut self, awaited: Awaited) -> Option<Awaited> {
        if let Some(position) = self.find(awaited.key) {
            self.remove(position);
        }
        let mut forgotten = None;
        if self.next - self.oldest >= self.max {
            forgotten = self.get(self.oldest).copied();
            self.remove(self.oldest);
        }
        let position = self.next;
        if (position - self.base) as usize == self.chunks.len() * CHUNK {
            let mut chunk = core::mem::take(&mut self.spare);
            chunk.reserve_exact(CHUNK);
            self.chunks.push_back(chunk);
        }
        self.chunks.back_mut().expect("there is a chunk with room").push(Some(awaited));
        self.next += 1;
        let Self { table, chunks, base, .. } = self;
        table.insert_unique(awaited.key as u64, position, |position| {
            entry(chunks, *base, *position).map_or(0, |awaited| awaited.key as u64)
        });
        forgotten
    }

    /// The position of the entry with that key.
    #[inline]
    pub(crate) fn find(&self, key: u128) -> Option<u64> {
        let is_it = |position: &u64| self.get(*position).is_some_and(|awaited| awaited.key == key);
        self.table.find(key as u64, is_it).copied()
    }

    /// The entry at that position; `None` when it has gone.
    #[inline]
    pub(crate) fn get(&self, position: u64) -> Option<&Awaited> {
        entry(&self.chunks, self.base, position)
    }

    /// Forgets the entry at that position, if it is there.
    pub(crate) fn remove(&mut self, position: u64) {
        let Some(key) = self.get(position).map(|awaited| awaited.key) else { return };
        if let Ok(found) = self.table.find_entry(key as u64, |other| *other == position) {
            found.remove();
        }
        let index = (position - self.base) as usize;
        self.chunks[index / CHUNK][index % CHUNK] = None;
        if position == self.oldest {
            self.trim();
        }
    }

    /// Moves `oldest` on to an entry that is there, and gives chunks back that it has left behind.
    fn trim(&mut self) {
        while self.oldest < self.next && self.get(self.oldest).is_none() {
            self.oldest += 1;
        }
        while self.oldest - self.base >= CHUNK as u64
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            self.base += CHUNK as u64;
            chunk.clear();
            self.spare = chunk;
        }
    }
}

#[inline]
fn entry(chunks: &VecDeque<Vec<Option<Awaited>>>, base: u64, position: u64) -> Option<&Awaited> {
    let index = usize::try_from(position.checked_sub(base)?).ok()?;
    chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited(key: u128) -> Awaited {
        Awaited {
            key,
            id: MessageId(key),
            style: IdStyle::Uuid,
            registered_delivery: 1,
            customer: CustomerId(0),
            customer_home: ShardId(0),
            submitted_unix_ms: 0,
            source: KeptAddress::default(),
            dest: KeptAddress::default(),
        }
    }

    #[test]
    fn an_entry_is_found_until_it_is_removed() {
        let mut index = AwaitedReceipts::new(100);
        for key in 1..=50 {
            assert!(index.insert(awaited(key)).is_none());
        }
        for key in (1..=50).rev().step_by(2) {
            let position = index.find(key).unwrap();
            assert_eq!(index.get(position).unwrap().id, MessageId(key));
            index.remove(position);
            assert_eq!(index.find(key), None);
            assert!(index.get(position).is_none());
        }
        assert_eq!(index.len(), 25);
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        let mut index = AwaitedReceipts::new(10);
        for key in 1..=10 {
            index.insert(awaited(key));
        }
        assert_eq!(index.insert(awaited(11)).unwrap().key, 1);
        assert_eq!(index.find(1), None);
        assert!(index.find(2).is_some());
        assert!(index.find(11).is_some());
        assert_eq!(index.len(), 10);
    }

    #[test]
    fn memory_of_what_has_gone_is_used_again() {
        let mut index = AwaitedReceipts::new(3 * CHUNK);
        for key in 1..=20 * CHUNK as u128 {
            index.insert(awaited(key));
            if key % 3 != 0 {
                index.remove(index.find(key).unwrap());
            }
        }
        assert!(index.chunks.len() <= 4, "{} chunks", index.chunks.len());
        assert_eq!(index.len(), index.chunks.iter().flatten().flatten().count());
        assert!(size_of::<Option<Awaited>>() <= 112, "{} octets an entry", size_of::<Option<Awaited>>());
    }

    #[test]
    fn an_id_used_again_means_the_newer_message() {
        let mut index = AwaitedReceipts::new(10);
        index.insert(awaited(5));
        let newer = Awaited { id: MessageId(99), ..awaited(5) };
        index.insert(newer);
        assert_eq!(index.get(index.find(5).unwrap()).unwrap().id, MessageId(99));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn hex_decimal_zeros_and_case_make_one_key() {
        let vendor = VendorId(3);
        let key = |raw: &[u8], format| receipt_key(vendor, raw, format).unwrap();
        assert_eq!(key(b"00FF", VendorIdFormat::Hex), key(b"255", VendorIdFormat::Decimal));
        assert_eq!(key(b"00aB-c", VendorIdFormat::Text), key(b"AB-C", VendorIdFormat::Text));
        assert_ne!(key(b"12", VendorIdFormat::Hex), key(b"12", VendorIdFormat::Decimal));
        assert_ne!(Some(key(b"12", VendorIdFormat::Text)), receipt_key(VendorId(4), b"12", VendorIdFormat::Text));
        assert_eq!(receipt_key(vendor, b" ", VendorIdFormat::Text), None);
    }
}
