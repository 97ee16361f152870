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

/// The index of one shard, oldest first; bounded.
#[derive(Debug)]
pub(crate) struct AwaitedReceipts {
    table: HashTable<u64>,
    entries: VecDeque<Option<Awaited>>,
    /// The position of `entries[0]`; positions count up for ever.
    first: u64,
    max: usize,
}

impl AwaitedReceipts {
    pub(crate) fn new(max: usize) -> Self {
        Self { table: HashTable::new(), entries: VecDeque::new(), first: 0, max }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Adds an entry; one of the same key is replaced, for a vendor that uses an id again means the newer message.
    /// Gives the vendor-key of an entry that had to go to make room.
    pub(crate) fn insert(&mut self, awaited: Awaited) -> Option<Awaited> {
        if let Some(position) = self.find(awaited.key) {
            self.remove(position);
        }
        let mut forgotten = None;
        while self.entries.len() >= self.max {
            if let Some(oldest) = self.entries.front().copied().flatten() {
                self.remove(self.first);
                forgotten = Some(oldest);
            } else {
                self.trim();
            }
        }
        let position = self.first + self.entries.len() as u64;
        let (entries, first) = (&self.entries, self.first);
        let hash = |position: &u64| hash_of(entries, first, *position);
        self.table.insert_unique(awaited.key as u64, position, hash);
        self.entries.push_back(Some(awaited));
        forgotten
    }

    /// The position of the entry with that key.
    #[inline]
    pub(crate) fn find(&self, key: u128) -> Option<u64> {
        let (entries, first) = (&self.entries, self.first);
        self.table.find(key as u64, |position| key_at(entries, first, *position) == Some(key)).copied()
    }

    /// The entry at that position; `None` when it has gone.
    #[inline]
    pub(crate) fn get(&self, position: u64) -> Option<&Awaited> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.entries.get(index)?.as_ref()
    }

    /// Forgets the entry at that position, if it is there.
    pub(crate) fn remove(&mut self, position: u64) {
        let Some(key) = self.get(position).map(|awaited| awaited.key) else { return };
        if let Ok(found) = self.table.find_entry(key as u64, |other| *other == position) {
            found.remove();
        }
        self.entries[(position - self.first) as usize] = None;
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
    }
}

fn key_at(entries: &VecDeque<Option<Awaited>>, first: u64, position: u64) -> Option<u128> {
    entries.get((position - first) as usize)?.as_ref().map(|awaited| awaited.key)
}

fn hash_of(entries: &VecDeque<Option<Awaited>>, first: u64, position: u64) -> u64 {
    key_at(entries, first, position).unwrap_or_default() as u64
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
