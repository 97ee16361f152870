//! Records of varying length in a byte ring, each with its length in front: read out whole, however the ring's octets come.
//!
//! The reading end lives on whatever thread reads; the fields on both.

use ringbuf::HeapCons;
use ringbuf::traits::{Consumer, Observer};

/// Octets of the length in front of each record.
pub(crate) const PREFIX: usize = 4;

/// The reading end of a ring of records.
pub(crate) struct RecordReader {
    consumer: HeapCons<u8>,
    /// The beginning of a record whose end has not been taken out of the ring yet.
    batch: Vec<u8>,
}

impl RecordReader {
    pub(crate) fn new(consumer: HeapCons<u8>) -> Self {
        Self { consumer, batch: Vec::new() }
    }

    /// Hands out the records that have come, without their lengths, about so many octets of them at the most; tells how many
    /// octets it took.
    pub(crate) fn take(&mut self, bytes_max: usize, mut handle: impl FnMut(&[u8])) -> usize {
        let already = self.batch.len();
        let wanted = self.consumer.occupied_len().min(bytes_max);
        self.batch.resize(already + wanted, 0);
        let taken = self.consumer.pop_slice(&mut self.batch[already..]);
        self.batch.truncate(already + taken);
        let mut rest = &self.batch[..];
        while let Some((record, behind)) = split(rest) {
            handle(record);
            rest = behind;
        }
        let left = rest.len();
        let handled = self.batch.len() - left;
        self.batch.copy_within(handled.., 0);
        self.batch.truncate(left);
        taken
    }

    /// Octets that wait in the ring.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.consumer.occupied_len()
    }

    /// Whether anybody can still write.
    pub(crate) fn has_writer(&self) -> bool {
        self.consumer.write_is_held()
    }
}

/// The first record, without its length, and what is behind it; `None` where it is not there as a whole.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = PREFIX + u32::from_le_bytes(*bytes.first_chunk::<PREFIX>()?) as usize;
    Some((bytes.get(PREFIX..end)?, &bytes[end..]))
}

/// Fills an array from the front; every place is known when this is compiled.
pub(crate) struct Filled<const N: usize> {
    octets: [u8; N],
    at: usize,
}

impl<const N: usize> Filled<N> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { octets: [0; N], at: 0 }
    }

    #[inline(always)]
    pub(crate) fn put<const M: usize>(&mut self, field: [u8; M]) {
        self.octets[self.at..self.at + M].copy_from_slice(&field);
        self.at += M;
    }

    /// All of it.
    #[inline(always)]
    pub(crate) fn octets(&self) -> &[u8; N] {
        debug_assert_eq!(self.at, N);
        &self.octets
    }
}

/// Takes the fields of a record apart, from the front.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let (value, rest) = self.0.split_first_chunk::<N>().expect("a record holds all of its fields");
        self.0 = rest;
        *value
    }

    pub(crate) fn u8(&mut self) -> u8 {
        let [octet] = self.array();
        octet
    }

    pub(crate) fn text(&mut self, length: u8) -> &'a [u8] {
        let (text, rest) = self.0.split_at(usize::from(length));
        self.0 = rest;
        text
    }

    /// What is behind the fields that were taken.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }
}
