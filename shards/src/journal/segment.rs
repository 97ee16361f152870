//! Segment files: their names, their header, and reading what is in them.
//!
//! Reading works on the octets of a whole file, step by step, on whichever thread has them: a shard's when it
//! carries live entries forward, the starting one when it replays. It holds a few octets for each batch and none of the
//! file.

use core::fmt;
use core::ops::Range;

use super::batch::valid_record;
use super::record::{Entry, PREFIX, kind_and_length};
use super::salvage::{self, Found};
use super::{BLOCK, LogName, VERSION};

const MAGIC: [u8; 8] = *b"smppjrnl";

/// Octets of the header that mean something; its crc stands behind them.
const HEADER: usize = 32;

/// Octets that may be looked at in search of records of a batch, for each octet of it.
const SEARCH_FACTOR: usize = 16;

/// The name of a segment's file in the folder of its start.
pub fn segment_file(shard: u16, segment: u32) -> String {
    format!("shard-{shard}-{segment:08}.seg")
}

/// Shard and segment of a file's name; `None` when it is no segment's.
pub fn parse_segment_file(name: &str) -> Option<(u16, u32)> {
    let (shard, segment) = name.strip_prefix("shard-")?.strip_suffix(".seg")?.split_once('-')?;
    let (shard, segment) = (shard.parse().ok()?, segment.parse().ok()?);
    (segment_file(shard, segment) == name).then_some((shard, segment))
}

/// Appends the header of a segment, one block. It is written with the segment's first batch.
pub fn segment_header(log: LogName, segment: u32, segment_bytes: u64, into: &mut Vec<u8>) {
    let start = into.len();
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&VERSION.to_le_bytes());
    into.extend_from_slice(&log.shard.to_le_bytes());
    into.extend_from_slice(&segment.to_le_bytes());
    into.extend_from_slice(&log.start.to_le_bytes());
    into.extend_from_slice(&segment_bytes.to_le_bytes());
    debug_assert_eq!(into.len() - start, HEADER);
    let crc = crc32c::crc32c(&into[start..]);
    into.extend_from_slice(&crc.to_le_bytes());
    into.resize(start + BLOCK, 0);
}

/// What was found at the front of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    Ours,
    /// Written by another version of the gateway.
    Version(u16),
    /// None, or one of an older use of the file.
    Absent,
}

fn read_header(log: LogName, segment: u32, octets: &[u8]) -> Header {
    let Some((header, rest)) = octets.split_first_chunk::<HEADER>() else { return Header::Absent };
    let mut ours = Vec::with_capacity(BLOCK);
    segment_header(log, segment, 0, &mut ours);
    let is_whole = rest.starts_with(&crc32c::crc32c(header).to_le_bytes());
    // Magic, then the version, then what tells this segment from others, then its size.
    if !is_whole || header[..8] != ours[..8] || header[10..24] != ours[10..24] {
        return Header::Absent;
    }
    match u16::from_le_bytes([header[8], header[9]]) {
        VERSION => Header::Ours,
        version => Header::Version(version),
    }
}

/// Octets of a segment that are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file.
    pub offset: u64,
    /// How many octets are of no use; 0 where it is only known that something is missing here.
    pub length: u64,
    /// What is wrong.
    pub reason: Reason,
}

/// Why octets are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The segment's header is not good; its batches are read all the same.
    SegmentHeader,
    /// Another version of the gateway wrote it: nothing of the file is read.
    Version(u16),
    /// The batch's header is not good; its records were found without it.
    BatchHeader,
    /// So many batches are missing here; 0 when it is not known how many.
    Batches(u64),
    /// One or several records whose octets are not those that were written.
    Record,
    /// A record that is good and means nothing to this version.
    Content,
    /// The file ends within the batch.
    CutShort,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SegmentHeader => f.write_str("the segment's header is damaged; its batches were read all the same"),
            Self::Version(version) => {
                write!(f, "format version {version} is not known here, {VERSION} is; nothing of the file was read")
            }
            Self::BatchHeader => f.write_str("a batch's header is damaged; its records were read all the same"),
            Self::Batches(0) => f.write_str("octets that belong to no batch"),
            Self::Batches(1) => f.write_str("one batch is missing"),
            Self::Batches(missing) => write!(f, "{missing} batches are missing"),
            Self::Record => f.write_str("a record is damaged"),
            Self::Content => f.write_str("a record means nothing to this version"),
            Self::CutShort => f.write_str("the file ends within a batch"),
        }
    }
}

/// One step through a segment.
#[derive(Debug)]
pub enum Step<'a> {
    /// A good record.
    Entry {
        /// Where it stands in the file.
        offset: u64,
        /// What it says.
        entry: Entry<'a>,
    },
    /// Something is bad; reading goes on behind it.
    Damage(Damage),
    /// The last batch of the segment is bad from somewhere on. Whether that is a torn tail or damage depends
    /// on what follows in the log. It is the last step.
    Doubt(Doubt),
}

/// The end of a segment whose last batch is not good as a whole.
#[derive(Debug)]
pub struct Doubt {
    /// The batch. If a later one of the log is good, this one was written and is damaged; if this one comes again, the
    /// first write of it had failed; if none comes, it is the torn tail.
    pub batch: u64,
    /// Which of the segment's octets are in doubt.
    pub octets: Range<usize>,
    /// Octets that are cut off if it is the torn tail.
    pub torn: u64,
    /// Reads those octets alone, as damage.
    pub reader: SegmentReader,
}

/// Reads a segment step by step. It does not hold the octets: every step is given the same ones.
#[derive(Debug)]
pub struct SegmentReader {
    log: LogName,
    segment: u32,
    /// Where the octets begin in the file.
    base: usize,
    header: Header,
    is_header_told: bool,
    batches: Vec<Found>,
    /// The batch that is being read.
    index: usize,
    /// Where in the octets the next record begins; `None` before the first one of the batch.
    at: Option<usize>,
    /// Reading goes on behind bad octets to the very end, for a later batch of the log is good.
    is_followed: bool,
    /// What the crcs of the batch's records begin with.
    seed: u32,
    budget: usize,
}

impl SegmentReader {
    /// For that segment of a log. `expected` is the number of the log's next batch, where it is known, and
    /// `is_followed` says that a later segment of the log has batches (as for every one that a running shard asks for);
    /// there will be no [`Step::Doubt`] then.
    pub fn new(log: LogName, segment: u32, octets: &[u8], expected: Option<u64>, is_followed: bool) -> Self {
        let header = read_header(log, segment, octets);
        let batches = match header {
            Header::Version(_) => Vec::new(),
            _ => salvage::batches(log, segment, octets, expected),
        };
        let is_header_told = header == Header::Ours || header == Header::Absent && batches.is_empty();
        let (base, index, at, seed, budget) = (0, 0, None, 0, 0);
        Self { log, segment, base, header, is_header_told, batches, index, at, is_followed, seed, budget }
    }

    /// The number of the first batch that was found.
    pub fn first_batch(&self) -> Option<u64> {
        self.batches.first().map(|found| found.batch)
    }

    /// The number after that of the last batch that was found.
    pub fn next_batch(&self) -> Option<u64> {
        self.batches.iter().map(|found| found.batch).max()?.checked_add(1)
    }

    /// How many batches were found.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Where the last batch ends in the file, and nothing that is known of follows.
    pub fn end(&self) -> u64 {
        self.batches.last().map_or(BLOCK, |last| super::whole_blocks(last.end)) as u64
    }

    /// The next step; `None` behind the last one. `octets` are those that the reader was made with.
    pub fn step<'a>(&mut self, octets: &'a [u8]) -> Option<Step<'a>> {
        if let Some(damage) = self.header_damage() {
            return Some(Step::Damage(damage));
        }
        while let Some(found) = self.batches.get(self.index).copied() {
            let Some(at) = self.at else {
                if let Some(damage) = self.enter(&found) {
                    return Some(Step::Damage(damage));
                }
                continue;
            };
            let rest = octets.get(at..found.end).unwrap_or_default();
            if let Some(length) = valid_record(self.seed, rest) {
                return Some(self.good(at, &rest[..length]));
            }
            if self.is_end(&found, at, rest) {
                if let Some(step) = self.leave(&found, at) {
                    return Some(step);
                }
            } else {
                return Some(self.bad(&found, at, rest));
            }
        }
        None
    }

    /// What is wrong with the segment's header, once, when it is certain that it was written.
    fn header_damage(&mut self) -> Option<Damage> {
        let is_certain = self.is_followed || self.batches.len() != 1;
        if self.is_header_told || !is_certain {
            return None;
        }
        self.is_header_told = true;
        let reason = match self.header {
            Header::Version(version) => Reason::Version(version),
            _ => Reason::SegmentHeader,
        };
        Some(Damage { offset: 0, length: BLOCK as u64, reason })
    }

    /// Begins a batch; tells what is wrong in front of its records.
    fn enter(&mut self, found: &Found) -> Option<Damage> {
        self.at = Some(found.records);
        self.seed = self.log.record_seed(self.segment, found.batch);
        self.budget = (found.end - found.records).saturating_mul(SEARCH_FACTOR).saturating_add(1 << 20);
        if found.gap_at < found.at || found.missing > 0 {
            let reason = Reason::Batches(found.missing);
            return Some(self.damage(found.gap_at, found.at, reason));
        }
        (!found.has_header && !self.is_last_in_doubt())
            .then(|| self.damage(found.at, found.records, Reason::BatchHeader))
    }

    fn good<'a>(&mut self, at: usize, record: &'a [u8]) -> Step<'a> {
        self.at = Some(at + record.len());
        let entry = record.split_first_chunk::<PREFIX>();
        match entry.and_then(|(prefix, payload)| Entry::read(kind_and_length(prefix).0, payload)) {
            Some(entry) => Step::Entry { offset: (self.base + at) as u64, entry },
            None => Step::Damage(self.damage(at, at + record.len(), Reason::Content)),
        }
    }

    /// Whether the batch ends here: where it said, or, without a header, where its zeros begin or a block that holds
    /// something else.
    fn is_end(&self, found: &Found, at: usize, rest: &[u8]) -> bool {
        rest.is_empty() || !found.has_header && (salvage::is_padding(rest) || (self.base + at).is_multiple_of(BLOCK))
    }

    /// Goes on with the next batch; tells what is wrong with the end of this one.
    fn leave<'a>(&mut self, found: &Found, at: usize) -> Option<Step<'a>> {
        let is_cut = found.end < found.claimed_end;
        if self.is_last_in_doubt() && (is_cut || !found.has_header || !self.is_header_told) {
            return Some(self.doubt(found, at));
        }
        self.index += 1;
        self.at = None;
        is_cut.then(|| Step::Damage(self.damage(found.end, found.claimed_end, Reason::CutShort)))
    }

    fn bad<'a>(&mut self, found: &Found, at: usize, rest: &[u8]) -> Step<'a> {
        if self.is_last_in_doubt() {
            return self.doubt(found, at);
        }
        let next = at + salvage::next_record(self.seed, rest, &mut self.budget);
        self.at = Some(next);
        Step::Damage(self.damage(at, next, Reason::Record))
    }

    fn is_last_in_doubt(&self) -> bool {
        !self.is_followed && self.index + 1 == self.batches.len()
    }

    /// Ends the reading; what is left of the batch can be read by itself.
    fn doubt<'a>(&mut self, found: &Found, at: usize) -> Step<'a> {
        self.index = self.batches.len();
        // Where a batch without a header ends is not known, so that what follows its last good record is not its own.
        let (end, claimed_end) = if found.has_header { (found.end, found.claimed_end) } else { (at, at) };
        let records = if found.has_header { 0 } else { found.records - found.at };
        let rest = Found {
            at: 0,
            records,
            end: records + end - at,
            claimed_end: records + claimed_end - at,
            gap_at: 0,
            missing: 0,
            ..*found
        };
        let reader = Self {
            log: self.log,
            segment: self.segment,
            base: self.base + if found.has_header { at } else { found.at },
            header: self.header,
            is_header_told: self.is_header_told,
            batches: vec![rest],
            index: 0,
            at: None,
            is_followed: true,
            seed: self.seed,
            budget: 0,
        };
        Step::Doubt(Doubt { batch: found.batch, octets: at..end, torn: (claimed_end - at) as u64, reader })
    }

    fn damage(&self, from: usize, to: usize, reason: Reason) -> Damage {
        Damage { offset: (self.base + from) as u64, length: (to - from) as u64, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::BatchWriter;
    use crate::journal::record::tests::one_of_each;

    const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 7 };

    fn segment(batches: u64) -> Vec<u8> {
        let mut octets = Vec::new();
        segment_header(LOG, 0, 1 << 20, &mut octets);
        let mut writer = BatchWriter::new(LOG);
        for number in 1..=batches {
            one_of_each().iter().for_each(|entry| writer.append(entry));
            writer.finish(0, number, &mut octets);
        }
        octets
    }

    fn read(octets: &[u8], is_followed: bool) -> (usize, Vec<Damage>, Option<Doubt>) {
        let mut reader = SegmentReader::new(LOG, 0, octets, None, is_followed);
        let (mut entries, mut damages, mut doubt) = (0, Vec::new(), None);
        while let Some(step) = reader.step(octets) {
            match step {
                Step::Entry { .. } => entries += 1,
                Step::Damage(damage) => damages.push(damage),
                Step::Doubt(last) => doubt = Some(last),
            }
        }
        (entries, damages, doubt)
    }

    #[test]
    fn file_names_read_back_and_others_are_none() {
        assert_eq!(segment_file(3, 42), "shard-3-00000042.seg");
        for segment in [0, 42, 99_999_999, u32::MAX] {
            assert_eq!(parse_segment_file(&segment_file(65_535, segment)), Some((65_535, segment)));
        }
        for name in ["shard-3-42.seg", "shard-+3-00000042.seg", "shard-3-00000042.seg.new", "lock", "shard--1.seg"] {
            assert_eq!(parse_segment_file(name), None, "{name}");
        }
    }

    #[test]
    fn a_whole_segment_is_read_without_complaint() {
        let (entries, damages, doubt) = read(&segment(3), false);
        assert_eq!((entries, damages, doubt.is_none()), (18, Vec::new(), true));
    }

    #[test]
    fn a_file_of_zeros_and_an_empty_one_hold_nothing() {
        for octets in [vec![0; 8 * BLOCK], Vec::new(), vec![0; 17]] {
            let (entries, damages, doubt) = read(&octets, false);
            assert_eq!((entries, damages, doubt.is_none()), (0, Vec::new(), true));
        }
    }

    #[test]
    fn a_file_of_another_version_is_not_read() {
        let mut octets = segment(2);
        octets[8] = 9;
        let crc = crc32c::crc32c(&octets[..HEADER]);
        octets[HEADER..HEADER + 4].copy_from_slice(&crc.to_le_bytes());
        let (entries, damages, _) = read(&octets, false);
        assert_eq!((entries, damages[0].reason), (0, Reason::Version(9)));
    }

    #[test]
    fn a_bad_length_costs_one_record() {
        let mut octets = segment(2);
        let first = BLOCK + super::super::BATCH_HEADER;
        octets[first + 4] ^= 0x10;
        let (entries, damages, _) = read(&octets, false);
        assert_eq!(entries, 11);
        assert_eq!((damages.len(), damages[0].offset, damages[0].reason), (1, first as u64, Reason::Record));
    }

    #[test]
    fn bad_octets_in_the_last_batch_are_in_doubt_unless_it_is_followed() {
        let mut octets = segment(2);
        let first = 2 * BLOCK + super::super::BATCH_HEADER;
        octets[first + PREFIX] ^= 1;
        let (entries, damages, doubt) = read(&octets, false);
        let mut doubt = doubt.unwrap();
        assert_eq!((entries, damages.len(), doubt.batch, doubt.octets.start), (6, 0, 2, first));
        let rest = &octets[doubt.octets.clone()];
        let steps: Vec<_> = core::iter::from_fn(|| doubt.reader.step(rest)).collect();
        assert_eq!(steps.len(), 6);
        assert!(matches!(&steps[0], Step::Damage(damage) if damage.offset == first as u64));
        let (entries, damages, doubt) = read(&octets, true);
        assert_eq!((entries, damages.len(), doubt.is_none()), (11, 1, true));
    }
}
