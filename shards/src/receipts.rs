//! The receipts that are awaited: by vendor and the vendor's message id, in whatever form it comes back.

use core::hash::{Hash, Hasher};
use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;

use smpp_pdu::Address;
use smpp_pdu::id::{IdForm, NormalId, in_lower_case, parse_uuid};
use smpp_pdu::message::ADDRESS_MAX;

use crate::amount::Amount;
use crate::heads::{Heads, NOBODY};
use crate::kept::KeptRef;
use crate::message_id::{IdStyle, MessageId};
use crate::names::{CustomerId, ShardId, VendorId};
use crate::settings::VendorIdFormat;

/// The vendor and its message id, normalised. Numbers, UUIDs and short texts are kept as they are; of a longer text 128
/// bits of hash, so that two that differ never meet in practice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReceiptKey {
    /// The low and the high half, so that an entry needs no more than the alignment of words.
    value: [u64; 2],
    vendor: VendorId,
    kind: KeyKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyKind {
    Number,
    Uuid,
    Short(u8),
    Hashed,
}

impl ReceiptKey {
    /// Of no id: no receipt has it, for an empty id has no key.
    pub(crate) const UNKNOWN: Self = Self { value: [0; 2], vendor: VendorId(0), kind: KeyKind::Short(0) };

    /// The key for an id that this vendor wrote in that form; `None` for an empty one.
    #[inline]
    pub(crate) fn new(vendor: VendorId, raw: &[u8], format: VendorIdFormat) -> Option<Self> {
        let form = match format {
            VendorIdFormat::Text => IdForm::Text,
            VendorIdFormat::Hex => IdForm::Hex,
            VendorIdFormat::Decimal => IdForm::Decimal,
        };
        let (value, kind) = match NormalId::new(raw, form) {
            NormalId::Number(number) => (number, KeyKind::Number),
            NormalId::Text([]) => return None,
            NormalId::Text(text) if text.len() <= size_of::<u128>() => {
                let word = word_of(text);
                let (low, high) = (in_lower_case(word as u64), in_lower_case((word >> 64) as u64));
                (u128::from(high) << 64 | u128::from(low), KeyKind::Short(text.len() as u8))
            }
            NormalId::Text(text) => match parse_uuid(text) {
                Some(number) => (number, KeyKind::Uuid),
                None => (hash_text(text), KeyKind::Hashed),
            },
        };
        Some(Self { value: [value as u64, (value >> 64) as u64], vendor, kind })
    }

    /// For an index: equality is decided by the key itself.
    #[inline]
    pub(crate) fn hash(self, seed: u64) -> u64 {
        let kind = match self.kind {
            KeyKind::Number => 0,
            KeyKind::Uuid => 1,
            KeyKind::Hashed => 2,
            KeyKind::Short(length) => u64::from(length) + 3,
        };
        let other = u64::from(self.vendor.0) << 8 | kind;
        let [low, high] = self.value;
        let low = folded(low ^ seed, 0x9E37_79B9_7F4A_7C15 ^ other);
        folded(low ^ high, 0xC2B2_AE3D_27D4_EB4F ^ seed)
    }
}

/// At most sixteen octets as a number, the first one lowest. Eight and more, as ids usually have, are two words that overlap.
#[inline]
fn word_of(text: &[u8]) -> u128 {
    let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) else {
        let mut octets = [0; size_of::<u128>()];
        octets[..text.len()].copy_from_slice(text);
        return u128::from_le_bytes(octets);
    };
    let behind = 8 * (text.len() - 8);
    u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << behind
}

/// The 128-bit product of two words, folded to 64.
#[inline]
fn folded(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right | 1);
    product as u64 ^ (product >> 64) as u64
}

#[cold]
fn hash_text(text: &[u8]) -> u128 {
    let half = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        text.iter().for_each(|octet| hasher.write_u8(octet.to_ascii_lowercase()));
        hasher.finish()
    };
    u128::from(half(0x5245_4345)) << 64 | u128::from(half(0x4950_5453))
}

/// An address of the message, for its receipts: as it stands in a PDU.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeptAddress {
    /// Octets of the address.
    length: u8,
    /// ton, npi and the address. What is behind it means nothing.
    octets: [u8; 2 + ADDRESS_MAX],
}

impl KeptAddress {
    #[inline]
    pub(crate) fn new(address: Address<'_>) -> Self {
        let length = address.addr.len().min(ADDRESS_MAX);
        let mut octets = [0; 2 + ADDRESS_MAX];
        octets[..2].copy_from_slice(&[address.ton, address.npi]);
        octets[2..2 + length].copy_from_slice(&address.addr[..length]);
        Self { length: length as u8, octets }
    }

    /// The one that stands in a PDU from there on (its ton, to be exact) and has so many octets; `None` where that cannot be.
    #[inline]
    pub(crate) fn in_pdu(pdu: &[u8], (at, length): (usize, usize)) -> Option<Self> {
        let rest = pdu.get(at..)?;
        // Nearly always as much follows as the longest address has: of fixed length it is a few loads and stores.
        let octets = match rest.first_chunk() {
            Some(octets) if length <= ADDRESS_MAX => *octets,
            _ => {
                let mut octets = [0; 2 + ADDRESS_MAX];
                octets.get_mut(..2 + length)?.copy_from_slice(rest.get(..2 + length)?);
                octets
            }
        };
        Some(Self { length: length as u8, octets })
    }

    #[inline]
    pub(crate) fn address(&self) -> Address<'_> {
        let [ton, npi, ..] = self.octets;
        Address { ton, npi, addr: &self.octets[2..2 + usize::from(self.length)] }
    }

    /// Writes ton, npi, the address and its NUL at the end of `out`; see [`IdText::append`](smpp_pdu::id::IdText::append).
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        let end = out.len() + 2 + usize::from(self.length);
        out.extend_from_slice(&self.octets);
        out.truncate(end);
        out.push(0);
    }
}

/// What the message costs, in six octets, so that an entry keeps to its two cache lines; more than they hold is the most
/// they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct KeptCost([u8; 6]);

impl KeptCost {
    #[inline]
    pub(crate) fn new(cost: Amount) -> Self {
        let [low @ .., _, _] = cost.millionths().min((1 << 48) - 1).to_le_bytes();
        Self(low)
    }

    #[inline]
    pub(crate) fn amount(self) -> Amount {
        let mut octets = [0; 8];
        octets[..6].copy_from_slice(&self.0);
        Amount::of_millionths(u64::from_le_bytes(octets))
    }
}

/// A message whose receipt is awaited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Awaited {
    pub(crate) key: ReceiptKey,
    pub(crate) id: MessageId,
    pub(crate) style: IdStyle,
    /// registered_delivery as the customer sent it: which receipts it gets.
    pub(crate) registered_delivery: u8,
    /// data_coding as the customer sent it, how many short messages it makes and what these cost: for the message store.
    pub(crate) data_coding: u8,
    pub(crate) segments: u8,
    pub(crate) cost: KeptCost,
    pub(crate) customer: CustomerId,
    pub(crate) customer_home: ShardId,
    pub(crate) kept: KeptRef,
    /// It was sent more than once: a receipt may come of each time, and one is enough.
    pub(crate) is_double: bool,
    /// Its final receipt is on its way to the customer, and the vendor has no answer to it yet.
    pub(crate) is_passed_on: bool,
    pub(crate) submitted_unix_ms: u64,
    /// As the customer gave them.
    pub(crate) source: KeptAddress,
    pub(crate) dest: KeptAddress,
}

/// Entries of one chunk: memory comes and goes in pieces of 32 KiB, and nothing is ever copied to grow. Entries go through the
/// chunks one after the other, so that all of a chunk is in the cache though a few of its entries be there: it is not larger
/// than that.
const CHUNK: usize = 256;

/// Chunks whose memory is kept when their entries have gone: what comes and goes at full load.
const SPARE_CHUNKS: usize = 16;

/// Buckets for an entry at the most, where there are more than the fewest.
const BUCKETS_MOST: usize = 8;

/// Buckets that go with one entry at the most: enough to stay within that.
const MERGES: usize = BUCKETS_MOST;

/// An entry, and the next one in its bucket. As two whole cache lines, no entry reaches into a third.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Place {
    awaited: Awaited,
    next: u32,
}

/// The index of one shard, oldest first; bounded.
#[derive(Debug)]
pub(crate) struct AwaitedReceipts {
    /// By key. An entry's name there is the low half of its position.
    heads: Heads,
    count: usize,
    chunks: VecDeque<Vec<Option<Place>>>,
    /// Empty chunks, for their memory, the last one used last; at most [`SPARE_CHUNKS`].
    spare: Vec<Vec<Option<Place>>>,
    /// The position of the first entry of `chunks[0]`, a multiple of [`CHUNK`]; positions count up for ever.
    base: u64,
    /// The position of the oldest entry that may still be there.
    oldest: u64,
    /// The position of the next entry.
    next: u64,
    max: u64,
    seed: u64,
}

impl AwaitedReceipts {
    pub(crate) fn new(max: usize, seed: u64) -> Self {
        Self {
            heads: Heads::new(),
            count: 0,
            chunks: VecDeque::new(),
            spare: Vec::new(),
            base: 0,
            oldest: 0,
            next: 0,
            max: max as u64,
            seed,
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Adds an entry; one of the same key is replaced, for a vendor that uses an id again means the newer message.
    /// Gives the entry that had to go to make room.
    pub(crate) fn insert(&mut self, awaited: Awaited) -> Option<Awaited> {
        let hash = awaited.key.hash(self.seed);
        if let Some(position) = self.find_hashed(awaited.key, hash) {
            self.remove(position);
        }
        let mut forgotten = None;
        if self.next - self.oldest >= self.max {
            forgotten = self.get(self.oldest).copied();
            self.remove(self.oldest);
        }
        if self.next as u32 == NOBODY {
            // A position without a name stays empty.
            self.push(None);
            self.trim();
        }
        let name = self.next as u32;
        let bucket = self.heads.bucket(hash);
        self.push(Some(Place { awaited, next: self.heads.first(bucket) }));
        self.heads.set_first(bucket, name);
        self.count += 1;
        if self.count * 2 > self.heads.len() {
            self.grow();
        }
        forgotten
    }

    /// The position of the entry with that key.
    #[inline]
    pub(crate) fn find(&self, key: ReceiptKey) -> Option<u64> {
        self.find_hashed(key, key.hash(self.seed))
    }

    #[inline]
    fn find_hashed(&self, key: ReceiptKey, hash: u64) -> Option<u64> {
        let mut name = self.heads.first(self.heads.bucket(hash));
        while name != NOBODY {
            let position = self.position(name);
            let place = self.place(position)?;
            if place.awaited.key == key {
                return Some(position);
            }
            name = place.next;
        }
        None
    }

    /// The entry at that position; `None` when it has gone.
    #[inline]
    pub(crate) fn get(&self, position: u64) -> Option<&Awaited> {
        self.place(position).map(|place| &place.awaited)
    }

    /// Reads of the entry at that position what its end needs, so that its memory is on its way from far when that comes.
    #[inline]
    pub(crate) fn warm(&self, position: u64) -> u32 {
        self.place(position).map_or(0, |place| place.next ^ u32::from(place.awaited.is_passed_on))
    }

    /// Notes of the entry at that position, if it is there, whether its final receipt is on its way.
    #[inline]
    pub(crate) fn set_passed_on(&mut self, position: u64, is_passed_on: bool) {
        if let Some(place) = self.place_mut(position) {
            place.awaited.is_passed_on = is_passed_on;
        }
    }

    /// A number by which a key is known again after its entry has gone.
    #[inline]
    pub(crate) fn mark_of(&self, key: ReceiptKey) -> u64 {
        key.hash(self.seed)
    }

    /// Forgets the entry at that position, if it is there.
    pub(crate) fn remove(&mut self, position: u64) {
        let Some(&Place { awaited, next }) = self.place(position) else { return };
        let bucket = self.heads.bucket(awaited.key.hash(self.seed));
        let mut before = self.heads.first(bucket);
        if before == position as u32 {
            self.heads.set_first(bucket, next);
        } else {
            loop {
                let place = self.named(before);
                if place.next == position as u32 {
                    place.next = next;
                    break;
                }
                before = place.next;
            }
        }
        let index = (position - self.base) as usize;
        self.chunks[index / CHUNK][index % CHUNK] = None;
        self.count -= 1;
        if position == self.oldest {
            self.trim();
        }
        for _ in 0..MERGES {
            if self.count * BUCKETS_MOST < self.heads.len() && self.heads.can_merge() {
                self.shrink();
            }
        }
    }

    fn push(&mut self, place: Option<Place>) {
        if (self.next - self.base) as usize == self.chunks.len() * CHUNK {
            let mut chunk = self.spare.pop().unwrap_or_default();
            chunk.reserve_exact(CHUNK);
            self.chunks.push_back(chunk);
        }
        self.chunks.back_mut().expect("there is a chunk with room").push(place);
        self.next += 1;
    }

    /// One bucket more.
    fn grow(&mut self) {
        let shared = self.heads.split();
        let mut name = self.heads.first(shared);
        self.heads.set_first(shared, NOBODY);
        while name != NOBODY {
            let hash = self.named(name).awaited.key.hash(self.seed);
            let bucket = self.heads.bucket(hash);
            let first = self.heads.first(bucket);
            self.heads.set_first(bucket, name);
            name = core::mem::replace(&mut self.named(name).next, first);
        }
    }

    /// One bucket less.
    fn shrink(&mut self) {
        let (bucket, mut name) = self.heads.merge();
        while name != NOBODY {
            let first = self.heads.first(bucket);
            self.heads.set_first(bucket, name);
            name = core::mem::replace(&mut self.named(name).next, first);
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
            if self.spare.len() < SPARE_CHUNKS {
                chunk.clear();
                self.spare.push(chunk);
            }
        }
    }

    /// The position of an entry that is there, of its name.
    #[inline]
    const fn position(&self, name: u32) -> u64 {
        self.base + name.wrapping_sub(self.base as u32) as u64
    }

    #[inline]
    fn place(&self, position: u64) -> Option<&Place> {
        let index = usize::try_from(position.checked_sub(self.base)?).ok()?;
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)?.as_ref()
    }

    #[inline]
    fn place_mut(&mut self, position: u64) -> Option<&mut Place> {
        let index = usize::try_from(position.checked_sub(self.base)?).ok()?;
        self.chunks.get_mut(index / CHUNK)?.get_mut(index % CHUNK)?.as_mut()
    }

    #[inline]
    fn named(&mut self, name: u32) -> &mut Place {
        let index = (self.position(name) - self.base) as usize;
        self.chunks[index / CHUNK][index % CHUNK].as_mut().expect("what is chained is there")
    }
}

#[cfg(test)]
impl Awaited {
    /// One for tests, under that key and with that id.
    pub(crate) fn sample(key: ReceiptKey, id: MessageId) -> Self {
        Self {
            key,
            id,
            style: IdStyle::Uuid,
            registered_delivery: 1,
            data_coding: 0,
            segments: 1,
            cost: KeptCost::default(),
            customer: CustomerId(0),
            customer_home: ShardId(0),
            kept: KeptRef::NONE,
            is_double: false,
            is_passed_on: false,
            submitted_unix_ms: 0,
            source: KeptAddress::default(),
            dest: KeptAddress::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> ReceiptKey {
        ReceiptKey::new(VendorId(0), number.to_string().as_bytes(), VendorIdFormat::Decimal).unwrap()
    }

    fn awaited(number: u128) -> Awaited {
        Awaited::sample(key(number), MessageId(number))
    }

    #[test]
    fn short_texts_become_words() {
        let text = *b"0aZ@[`{zA-_9xyzQ";
        for length in 0..=text.len() {
            let mut octets = [0; 16];
            octets[..length].copy_from_slice(&text[..length]);
            assert_eq!(word_of(&text[..length]), u128::from_le_bytes(octets));
        }
    }

    #[test]
    fn an_entry_is_found_until_it_is_removed() {
        let mut index = AwaitedReceipts::new(100, 1);
        for number in 1..=50 {
            assert!(index.insert(awaited(number)).is_none());
        }
        for number in (1..=50).rev().step_by(2) {
            let position = index.find(key(number)).unwrap();
            assert_eq!(index.get(position).unwrap().id, MessageId(number));
            index.remove(position);
            assert_eq!(index.find(key(number)), None);
            assert!(index.get(position).is_none());
        }
        assert_eq!(index.len(), 25);
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        let mut index = AwaitedReceipts::new(10, 2);
        for number in 1..=10 {
            index.insert(awaited(number));
        }
        assert_eq!(index.insert(awaited(11)).unwrap().id, MessageId(1));
        assert_eq!(index.find(key(1)), None);
        assert!(index.find(key(2)).is_some());
        assert!(index.find(key(11)).is_some());
        assert_eq!(index.len(), 10);
    }

    #[test]
    fn memory_of_what_has_gone_is_used_again() {
        let mut index = AwaitedReceipts::new(3 * CHUNK, 3);
        for number in 1..=20 * CHUNK as u128 {
            index.insert(awaited(number));
            if number % 3 != 0 {
                index.remove(index.find(key(number)).unwrap());
            }
        }
        assert!(index.chunks.len() <= 4, "{} chunks", index.chunks.len());
        assert_eq!(index.len(), index.chunks.iter().flatten().flatten().count());
        assert!(size_of::<Option<Place>>() <= 128, "{} octets an entry", size_of::<Option<Place>>());
    }

    #[test]
    fn every_entry_is_found_while_the_index_grows_and_shrinks() {
        let mut index = AwaitedReceipts::new(1 << 20, 4);
        let most = 5 * CHUNK as u128;
        for number in 1..=most {
            index.insert(awaited(number));
        }
        assert!(index.heads.len() >= index.len());
        for number in 1..=most {
            index.remove(index.find(key(number)).unwrap());
            for other in
                [number + 1, (number + most) / 2, most].into_iter().filter(|other| (number + 1..=most).contains(other))
            {
                assert_eq!(index.get(index.find(key(other)).unwrap()).unwrap().id, MessageId(other));
            }
        }
        assert!(!index.heads.can_merge());
        assert_eq!(index.len(), 0);
    }

    #[test]
    fn positions_outgrow_32_bits() {
        let start = (1 << 32) - CHUNK as u64;
        let mut index = AwaitedReceipts { base: start, oldest: start, next: start, ..AwaitedReceipts::new(100, 5) };
        for number in 1..=2 * CHUNK as u128 {
            assert!(index.insert(awaited(number)).is_none());
            if number > 50 {
                let position = index.find(key(number - 50)).unwrap();
                assert_eq!(index.get(position).unwrap().id, MessageId(number - 50));
                index.remove(position);
            }
        }
        assert!(index.next > 1 << 32);
        assert!(index.len() == 50 && index.chunks.len() <= 2);
    }

    #[test]
    fn a_cost_is_kept_as_it_is_and_what_no_rule_makes_as_the_most_there_is() {
        for millionths in [0, 7_500, Amount::RATE_MAX.times(u8::MAX).millionths()] {
            assert_eq!(KeptCost::new(Amount::of_millionths(millionths)).amount().millionths(), millionths);
        }
        assert_eq!(KeptCost::new(Amount::of_millionths(u64::MAX)).amount().millionths(), (1 << 48) - 1);
    }

    #[test]
    fn an_id_used_again_means_the_newer_message() {
        let mut index = AwaitedReceipts::new(10, 2);
        index.insert(awaited(5));
        let newer = Awaited { id: MessageId(99), ..awaited(5) };
        index.insert(newer);
        assert_eq!(index.get(index.find(key(5)).unwrap()).unwrap().id, MessageId(99));
        assert_eq!(index.len(), 1);
    }

    #[test]
    fn hex_decimal_zeros_and_case_make_one_key() {
        let vendor = VendorId(3);
        let key = |raw: &[u8], format| ReceiptKey::new(vendor, raw, format).unwrap();
        assert_eq!(key(b"00FF", VendorIdFormat::Hex), key(b"255", VendorIdFormat::Decimal));
        assert_eq!(key(b"00aB-c", VendorIdFormat::Text), key(b"AB-C", VendorIdFormat::Text));
        let uuid = b"0192A456-789a-7def-8123-456789abcdef";
        assert_eq!(key(uuid, VendorIdFormat::Text), key(&uuid.to_ascii_lowercase(), VendorIdFormat::Text));
        let long = b"An-id-of-more-than-sixteen-octets";
        assert_eq!(key(long, VendorIdFormat::Text), key(&long.to_ascii_uppercase(), VendorIdFormat::Text));
        assert_ne!(key(long, VendorIdFormat::Text), key(&long[1..], VendorIdFormat::Text));
        assert_ne!(key(b"12", VendorIdFormat::Hex), key(b"12", VendorIdFormat::Decimal));
        assert_ne!(Some(key(b"12", VendorIdFormat::Text)), ReceiptKey::new(VendorId(4), b"12", VendorIdFormat::Text));
        assert_eq!(ReceiptKey::new(vendor, b" ", VendorIdFormat::Text), None);
    }
}
