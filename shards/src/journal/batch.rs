//! Batches: what is written to a segment at a time.
//!
//! Writing lives on the shard's thread, reading wherever a segment is read. A batch that this file finishes is never
//! changed by it again, but for one that is sealed anew for another segment.

use super::record::{CRC, Entry, PREFIX, is_plausible, kind_and_length};
use super::{LogName, whole_blocks};

/// Octets of a batch's header.
pub const BATCH_HEADER: usize = 24;

const MAGIC: [u8; 4] = *b"smpB";

/// Where the header's crc stands, behind all that it covers.
const CRC_AT: usize = BATCH_HEADER - 4;

/// Collects the records of one shard's next batch.
#[derive(Debug)]
pub struct BatchWriter {
    log: LogName,
    /// Room for the header, then the records, their crcs still open. Kept for its memory.
    octets: Vec<u8>,
    records: u32,
}

impl BatchWriter {
    /// Of that log.
    pub fn new(log: LogName) -> Self {
        Self { log, octets: vec![0; BATCH_HEADER], records: 0 }
    }

    /// Adds a record.
    ///
    /// # Panics
    /// When it is longer than a record can be: its PDU is longer than any that the gateway takes.
    #[inline]
    pub fn append(&mut self, entry: &Entry<'_>) {
        entry.write(&mut self.octets);
        self.records += 1;
    }

    /// Whether nothing has been added since the last batch.
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Records added since the last batch.
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Octets so far, the header included.
    pub const fn len(&self) -> usize {
        self.octets.len()
    }

    /// Octets that the batch will take in its segment, were it finished now: whole blocks.
    pub const fn whole_len(&self) -> usize {
        whole_blocks(self.octets.len())
    }

    /// Moves the batch out, behind what `into` holds already (the segment header, or nothing): header, records,
    /// zeros to the end of the block. `batch` is one more than that of the batch before it in this log, whatever segment
    /// that is in; the first one may have any.
    pub fn finish(&mut self, segment: u32, batch: u64, into: &mut Vec<u8>) {
        seal(self.log, segment, batch, self.records, &mut self.octets);
        let whole = self.whole_len();
        into.reserve(whole);
        into.extend_from_slice(&self.octets);
        into.resize(into.len() + whole - self.octets.len(), 0);
        self.octets.truncate(BATCH_HEADER);
        self.records = 0;
    }

    /// As [`BatchWriter::finish`], without a copy: the batch, and nothing else, stands in `memory` afterwards, and what that
    /// was before is the memory of the next batch.
    pub fn swap_out(&mut self, segment: u32, batch: u64, memory: &mut Vec<u8>) {
        seal(self.log, segment, batch, self.records, &mut self.octets);
        self.octets.resize(self.whole_len(), 0);
        core::mem::swap(&mut self.octets, memory);
        self.octets.clear();
        self.octets.resize(BATCH_HEADER, 0);
        self.records = 0;
    }
}

/// Seals a finished batch anew for another segment: its write failed, and the file is never written again. The
/// batch keeps its number. `octets` are those of the batch alone, without a segment header in front.
///
/// # Panics
/// When the octets are not those of a batch that [`BatchWriter::finish`] made.
pub fn reseal(log: LogName, segment: u32, batch: u64, octets: &mut [u8]) {
    let header: &[u8; BATCH_HEADER] = octets.first_chunk().expect("a batch has a header");
    let (length, records) = (field(header, 4), field(header, 16));
    seal(log, segment, batch, records, &mut octets[..BATCH_HEADER + length as usize]);
}

/// Fills in the header and the crc of every record.
fn seal(log: LogName, segment: u32, batch: u64, records: u32, octets: &mut [u8]) {
    let seed = log.record_seed(segment, batch);
    let mut rest = &mut octets[BATCH_HEADER..];
    while let Some(prefix) = rest.first_chunk::<PREFIX>() {
        let (_, length) = kind_and_length(prefix);
        let (record, behind) = rest.split_at_mut(PREFIX + length);
        let crc = crc32c::crc32c_append(seed, &record[CRC..]);
        record[..CRC].copy_from_slice(&crc.to_le_bytes());
        rest = behind;
    }
    let length = octets.len() - BATCH_HEADER;
    let header: &mut [u8; BATCH_HEADER] = octets.first_chunk_mut().expect("a batch has a header");
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
    fn a_batch_swapped_out_is_the_one_that_would_have_been_copied() {
        let (mut writer, mut memory) = (BatchWriter::new(LOG), vec![0xFF; 3 * BLOCK]);
        for number in [9, 10] {
            one_of_each().iter().for_each(|entry| writer.append(entry));
            writer.swap_out(4, number, &mut memory);
            assert_eq!(memory, batch(4, number));
            assert!(writer.is_empty() && writer.octets.capacity() > BATCH_HEADER);
        }
    }

    #[test]
    fn memory_is_kept_from_batch_to_batch() {
        let mut writer = BatchWriter::new(LOG);
        for _ in 0..100 {
            one_of_each().iter().for_each(|entry| writer.append(entry));
        }
        let (capacity, mut into) = (writer.octets.capacity(), Vec::new());
        writer.finish(0, 1, &mut into);
        assert_eq!((writer.octets.capacity(), writer.len()), (capacity, BATCH_HEADER));
    }
}
