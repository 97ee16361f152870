//! Batches: what is written to a segment at a time.
//!
//! Records are collected in a shard's own memory, where they stay in its core's cache, and go into the batch's once a turn. Sealing
//! lives on whichever thread writes the batch, so that the shard does not spend its time on the crcs; reading wherever a segment
//! is read. What was sealed is never changed, but for one that is sealed anew for another segment.

use super::aligned::AlignedBuffer;
use super::record::{CRC, Entry, PREFIX, is_plausible, kind_and_length};
use super::segment::segment_header;
use super::{BLOCK, LogName, whole_blocks};
use crate::bounds::JOURNAL_BATCH_BYTES;
use crate::pending::Pending;

/// Octets of a batch's header.
pub const BATCH_HEADER: usize = 24;

const MAGIC: [u8; 4] = *b"smpB";

/// Where the header's crc stands, behind all that it covers.
const CRC_AT: usize = BATCH_HEADER - 4;

/// Where a batch's records begin in its memory: room for a segment's header, then for the batch's.
const RECORDS_AT: usize = BLOCK + BATCH_HEADER;

/// Records that were collected one after the other, their crcs still open, and whoever waits for them to be on disk.
#[derive(Debug, Default)]
pub(crate) struct Part {
    octets: Vec<u8>,
    records: u32,
    pub(crate) pending: Vec<Pending>,
}

impl Part {
    /// Adds a record.
    ///
    /// # Panics
    /// When it is longer than a record can be: its PDU is longer than any that the gateway takes.
    #[inline]
    pub(crate) fn append(&mut self, entry: &Entry<'_>) {
        entry.write(&mut self.octets);
        self.records += 1;
    }

    /// Whether it holds no record.
    pub(crate) const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Its records.
    pub(crate) const fn records(&self) -> u32 {
        self.records
    }

    /// Octets of its records.
    pub(crate) const fn len(&self) -> usize {
        self.octets.len()
    }

    /// Empties it; it keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.records = 0;
        self.pending.clear();
    }
}

/// What a shard gives its host to write: one batch, or the first one of a segment with the segment's header in front. Whoever
/// has it brings what [`Batch::seal`] makes of it to stable storage, at its offset of its segment.
#[derive(Debug)]
pub struct Batch {
    log: LogName,
    /// Octets of a segment.
    segment_bytes: u64,
    segment: u32,
    offset: u64,
    /// One more than that of the batch before it in this log, whatever segment that is in; the first one may have any.
    number: u64,
    memory: AlignedBuffer,
    /// Octets of its records.
    length: usize,
    records: u32,
    pub(crate) pending: Vec<Pending>,
}

impl Batch {
    /// An empty one, to stand at the front of the first segment.
    pub fn new(log: LogName, segment_bytes: u64) -> Self {
        Self {
            log,
            segment_bytes,
            segment: 0,
            offset: 0,
            number: 0,
            memory: AlignedBuffer::default(),
            length: 0,
            records: 0,
            pending: Vec::new(),
        }
    }

    /// Where it is to stand, and its number.
    #[must_use]
    pub fn at(self, segment: u32, offset: u64, number: u64) -> Self {
        Self { segment, offset, number, ..self }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// When it is longer than a record can be.
    pub fn append(&mut self, entry: &Entry<'_>) {
        let mut part = Part::default();
        part.append(entry);
        self.add(&part);
    }

    /// Whether that part may be added: the first one is, however large.
    pub(crate) const fn has_room_for(&self, part: &Part) -> bool {
        self.length == 0 || self.length + part.len() <= JOURNAL_BATCH_BYTES
    }

    pub(crate) fn add(&mut self, part: &Part) {
        self.memory.resize(RECORDS_AT + self.length);
        self.memory.extend(&part.octets);
        self.length += part.len();
        self.records += part.records();
        self.pending.extend_from_slice(&part.pending);
    }

    /// Into which segment of the shard's log.
    pub const fn segment(&self) -> u32 {
        self.segment
    }

    /// Where in its file; a multiple of [`BLOCK`].
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Its records.
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Octets that it takes in its segment, a multiple of [`BLOCK`].
    pub const fn whole_len(&self) -> usize {
        let header = if self.offset == 0 { BLOCK } else { 0 };
        header + self.len_behind_others()
    }

    /// Octets that it takes where it is not the first one of its segment.
    pub(crate) const fn len_behind_others(&self) -> usize {
        whole_blocks(BATCH_HEADER + self.length)
    }

    /// Its records.
    #[cfg(test)]
    pub(crate) fn octets(&self) -> &[u8] {
        &self.memory.as_slice()[RECORDS_AT..]
    }

    /// Empties it; it keeps its memory up to so many octets.
    pub(crate) fn clear(&mut self, capacity: usize) {
        self.memory.clear(capacity);
        self.length = 0;
        self.records = 0;
        self.pending.clear();
    }

    /// Makes it what is to stand on the disk, [`Batch::whole_len`] octets that begin on a boundary of [`BLOCK`]: at the front of
    /// a segment that one's header, then the batch's, the records with their crcs, zeros to the end of the block.
    pub fn seal(&mut self) -> &[u8] {
        self.memory.resize(RECORDS_AT + self.length);
        self.memory.resize(BLOCK + self.len_behind_others());
        let (front, batch) = self.memory.as_mut_slice().split_at_mut(BLOCK);
        seal(self.log, self.segment, self.number, self.length, self.records, batch);
        if self.offset > 0 {
            return &self.memory.as_slice()[BLOCK..];
        }
        let mut header = Vec::with_capacity(BLOCK);
        segment_header(self.log, self.segment, self.segment_bytes, &mut header);
        front.copy_from_slice(&header);
        self.memory.as_slice()
    }
}

/// Collects records and makes a batch of them that stands by itself, for whoever writes a log without a shard.
#[derive(Debug)]
pub struct BatchWriter {
    log: LogName,
    part: Part,
}

impl BatchWriter {
    /// Of that log.
    pub fn new(log: LogName) -> Self {
        Self { log, part: Part::default() }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// When it is longer than a record can be: its PDU is longer than any that the gateway takes.
    pub fn append(&mut self, entry: &Entry<'_>) {
        self.part.append(entry);
    }

    /// Whether nothing has been added since the last batch.
    pub const fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// Octets so far, the header included.
    pub const fn len(&self) -> usize {
        BATCH_HEADER + self.part.len()
    }

    /// Moves the batch out, behind what `into` holds already (the segment header, or nothing): header, records,
    /// zeros to the end of the block.
    pub fn finish(&mut self, segment: u32, batch: u64, into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + BATCH_HEADER, 0);
        into.extend_from_slice(&self.part.octets);
        into.resize(start + whole_blocks(self.len()), 0);
        seal(self.log, segment, batch, self.part.len(), self.part.records(), &mut into[start..]);
        self.part.clear();
    }
}

/// Seals a finished batch anew for another segment, as one is whose write failed. `octets` are those of the batch alone, without
/// a segment header in front.
///
/// # Panics
/// When the octets are not those of a batch.
pub fn reseal(log: LogName, segment: u32, batch: u64, octets: &mut [u8]) {
    let header = octets.first_chunk().expect("a batch has a header");
    let (length, records) = (field(header, 4) as usize, field(header, 16));
    seal(log, segment, batch, length, records, octets);
}

/// Fills in the header and the crc of every record.
fn seal(log: LogName, segment: u32, batch: u64, length: usize, records: u32, octets: &mut [u8]) {
    let (header, behind) = octets.split_first_chunk_mut().expect("a batch has a header");
    seal_records(log.record_seed(segment, batch), &mut behind[..length]);
    seal_header(log, segment, batch, length, records, header);
}

/// Fills in the crc of every record.
fn seal_records(seed: u32, mut records: &mut [u8]) {
    while let Some(prefix) = records.first_chunk::<PREFIX>() {
        let (_, length) = kind_and_length(prefix);
        let (record, behind) = records.split_at_mut(PREFIX + length);
        let crc = crc32c::crc32c_append(seed, &record[CRC..]);
        record[..CRC].copy_from_slice(&crc.to_le_bytes());
        records = behind;
    }
}

fn seal_header(log: LogName, segment: u32, batch: u64, length: usize, records: u32, header: &mut [u8; BATCH_HEADER]) {
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&u32::try_from(length).expect("a batch is shorter than 4 GiB").to_le_bytes());
    header[8..16].copy_from_slice(&batch.to_le_bytes());
    header[16..CRC_AT].copy_from_slice(&records.to_le_bytes());
    let crc = crc32c::crc32c_append(log.segment_seed(segment), &header[..CRC_AT]);
    header[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// A batch's header as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// The batch's number.
    pub(super) batch: u64,
    /// Octets of all records.
    pub(super) length: usize,
}

impl BatchHeader {
    /// The header at the front of `octets`, when it was written there under that seed.
    pub(super) fn read(segment_seed: u32, octets: &[u8]) -> Option<Self> {
        let header: &[u8; BATCH_HEADER] = octets.first_chunk()?;
        if header[..4] != MAGIC || crc32c::crc32c_append(segment_seed, &header[..CRC_AT]) != field(header, CRC_AT) {
            return None;
        }
        let batch = u64::from(field(header, 8)) | u64::from(field(header, 12)) << 32;
        Some(Self { batch, length: field(header, 4) as usize })
    }
}

/// Octets of the record at the front of `octets`, the prefix included, when it was written there under that seed.
#[inline]
pub(super) fn valid_record(seed: u32, octets: &[u8]) -> Option<usize> {
    let (kind, length) = kind_and_length(octets.first_chunk()?);
    if !is_plausible(kind, length) {
        return None;
    }
    let (crc, covered) = octets.get(..PREFIX + length)?.split_first_chunk::<CRC>()?;
    (crc32c::crc32c_append(seed, covered).to_le_bytes() == *crc).then_some(PREFIX + length)
}

fn field(header: &[u8; BATCH_HEADER], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::super::BLOCK;
    use super::super::record::tests::one_of_each;
    use super::*;

    const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 3 };

    fn batch(segment: u32, number: u64) -> Vec<u8> {
        let mut writer = BatchWriter::new(LOG);
        one_of_each().iter().for_each(|entry| writer.append(entry));
        let mut octets = Vec::new();
        writer.finish(segment, number, &mut octets);
        assert!(writer.is_empty());
        octets
    }

    #[test]
    fn a_batch_is_whole_blocks_and_its_header_reads_back() {
        let octets = batch(4, u64::MAX - 1);
        assert_eq!(octets.len(), BLOCK);
        let header = BatchHeader::read(LOG.segment_seed(4), &octets).unwrap();
        assert_eq!(header.batch, u64::MAX - 1);
        assert!(octets[BATCH_HEADER + header.length..].iter().all(|octet| *octet == 0));
    }

    #[test]
    fn a_header_of_another_start_shard_or_segment_is_none() {
        let octets = batch(4, 9);
        for (start, shard, segment) in [(LOG.start + 1, 3, 4), (LOG.start, 2, 4), (LOG.start, 3, 5)] {
            assert_eq!(BatchHeader::read(LogName { start, shard }.segment_seed(segment), &octets), None);
        }
    }

    #[test]
    fn a_record_of_another_batch_never_validates() {
        let octets = batch(4, 9);
        assert!(valid_record(LOG.record_seed(4, 9), &octets[BATCH_HEADER..]).is_some());
        for (segment, number) in [(4, 8), (4, 10), (3, 9), (5, 9)] {
            assert_eq!(valid_record(LOG.record_seed(segment, number), &octets[BATCH_HEADER..]), None);
        }
    }

    #[test]
    fn a_batch_sealed_anew_is_the_one_that_would_have_been_written_there() {
        let mut octets = batch(4, 9);
        reseal(LOG, 5, 9, &mut octets);
        assert_eq!(octets, batch(5, 9));
    }

    #[test]
    fn a_batch_of_parts_is_the_one_that_would_have_been_written_at_once() {
        let mut parts = Batch::new(LOG, 1 << 20).at(4, 8 * BLOCK as u64, 9);
        for use_of_memory in 1..3 {
            one_of_each().iter().for_each(|entry| parts.append(entry));
            assert_eq!(parts.seal(), batch(4, 9), "use {use_of_memory}");
            assert_eq!(parts.records() as usize, one_of_each().len());
            parts.clear(usize::MAX);
        }
    }

    #[test]
    fn the_first_batch_of_a_segment_has_that_ones_header_in_front() {
        let mut first = Batch::new(LOG, 1 << 20).at(4, 0, 9);
        one_of_each().iter().for_each(|entry| first.append(entry));
        let mut expected = Vec::new();
        segment_header(LOG, 4, 1 << 20, &mut expected);
        expected.extend_from_slice(&batch(4, 9));
        assert_eq!(first.seal(), expected);
        assert_eq!(first.whole_len(), expected.len());
    }

    #[test]
    fn a_batch_can_be_sealed_for_another_place() {
        let mut octets = Batch::new(LOG, 1 << 20).at(4, 8 * BLOCK as u64, 9);
        one_of_each().iter().for_each(|entry| octets.append(entry));
        octets.seal();
        assert_eq!(octets.at(5, 8 * BLOCK as u64, 9).seal(), batch(5, 9));
    }
}
