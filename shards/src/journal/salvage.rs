//! Finding batches and records again where octets are bad.
//!
//! Works on the octets of one segment, on whichever thread reads them. What it takes for a batch or a record has the crc
//! of one, salted with the very place, so that neither stale octets nor a customer's own make it see what is not there.
//! Its work is bounded by a multiple of the octets that it searches.

use super::batch::{BATCH_HEADER, BatchHeader, valid_record};
use super::record::{PREFIX, is_plausible, kind_and_length};
use super::{BLOCK, LogName, whole_blocks};

/// A batch in a segment's octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where the header stands, or should.
    pub(super) at: usize,
    /// Where the records begin.
    pub(super) records: usize,
    /// Where they end, as far as there are octets.
    pub(super) end: usize,
    /// Where they were to end.
    pub(super) claimed_end: usize,
    /// The batch's number.
    pub(super) batch: u64,
    /// The header is good. If not, the first record is, under the number that the batch must have.
    pub(super) has_header: bool,
    /// Where octets that belong to no batch begin, if some stand in front; else `at`.
    pub(super) gap_at: usize,
    /// Batches that are missing in front.
    pub(super) missing: u64,
}

/// All batches of a segment, in the order of their places. `expected` is the number of the next batch of the log.
pub(super) fn batches(log: LogName, segment: u32, octets: &[u8], expected: Option<u64>) -> Vec<Found> {
    let mut search = Search { log, segment, octets, found: Vec::new(), at: BLOCK, gap_at: BLOCK, is_place_known: true };
    let mut expected = expected;
    let segment_seed = log.segment_seed(segment);
    let mut record_seed = expected.map(|batch| log.record_seed(segment, batch));
    while let Some(rest) = octets.get(search.at..)
        && rest.len() >= BATCH_HEADER
    {
        let batch = if let Some(header) = BatchHeader::read(segment_seed, rest) {
            search.take(header, expected);
            header.batch.max(expected.map_or(0, |expected| expected.saturating_sub(1)))
        } else if let Some((batch, seed)) = expected.zip(record_seed)
            && search.is_place_known
            && valid_record(seed, &rest[BATCH_HEADER..]).is_some()
        {
            search.take_without_header(batch);
            batch
        } else {
            search.skip();
            continue;
        };
        expected = batch.checked_add(1);
        record_seed = expected.map(|batch| log.record_seed(segment, batch));
    }
    search.finish()
}

struct Search<'a> {
    log: LogName,
    segment: u32,
    octets: &'a [u8],
    found: Vec<Found>,
    at: usize,
    gap_at: usize,
    /// A batch must begin at `at`. Elsewhere a record where the first one of a batch would be proves nothing: one
    /// from the middle of a torn batch may stand there.
    is_place_known: bool,
}

impl Search<'_> {
    fn skip(&mut self) {
        self.at += BLOCK;
        self.is_place_known = false;
    }

    fn take(&mut self, header: BatchHeader, expected: Option<u64>) {
        let records = self.at + BATCH_HEADER;
        let claimed_end = records.saturating_add(header.length);
        if expected.is_none() && self.found.is_empty() {
            self.take_the_one_before(header.batch);
        }
        let expected = self.found.last().map_or(expected, |last| last.batch.checked_add(1).max(expected));
        self.found.push(Found {
            at: self.at,
            records,
            end: claimed_end.min(self.octets.len()),
            claimed_end,
            batch: header.batch,
            has_header: true,
            gap_at: self.gap_at,
            missing: expected.map_or(0, |expected| header.batch.saturating_sub(expected)),
        });
        self.at = whole_blocks(claimed_end.min(self.octets.len()));
        self.gap_at = self.at;
        self.is_place_known = true;
    }

    /// Where no batch is expected yet, a later one tells which number the first one of the segment must have had.
    fn take_the_one_before(&mut self, batch: u64) {
        if let Some(before) = batch.checked_sub(1)
            && self.at > BLOCK
            && let Some(octets) = self.octets.get(BLOCK + BATCH_HEADER..)
            && valid_record(self.log.record_seed(self.segment, before), octets).is_some()
        {
            let at = core::mem::replace(&mut self.at, BLOCK);
            self.take_without_header(before);
            self.at = at;
        }
    }

    /// How far it goes is not known: to the next batch at the most.
    fn take_without_header(&mut self, batch: u64) {
        let end = self.octets.len();
        let records = self.at + BATCH_HEADER;
        let (at, gap_at) = (self.at, self.gap_at);
        self.found.push(Found { at, records, end, claimed_end: end, batch, has_header: false, gap_at, missing: 0 });
        self.skip();
    }

    fn finish(mut self) -> Vec<Found> {
        let ends: Vec<usize> = self.found.iter().skip(1).map(|next| next.at).collect();
        for (found, end) in self.found.iter_mut().zip(ends) {
            if !found.has_header {
                (found.end, found.claimed_end) = (end, end);
            }
        }
        // Blocks of a batch without a header count as its own, not as a gap in front of the next one.
        for index in 1..self.found.len() {
            if !self.found[index - 1].has_header {
                self.found[index].gap_at = self.found[index].at;
            }
        }
        self.found
    }
}

/// Whether zeros stand where the next record would begin, as behind the last one of a batch.
pub(super) fn is_padding(octets: &[u8]) -> bool {
    octets.iter().take(PREFIX).all(|octet| *octet == 0)
}

/// Where the next good record begins behind a bad one at the front of `octets`, which end with the batch; their length
/// when there is none. `budget` is how many octets may still be looked at for this batch; every try takes from it.
pub(super) fn next_record(seed: u32, octets: &[u8], budget: &mut usize) -> usize {
    if let Some(prefix) = octets.first_chunk::<PREFIX>() {
        let next = PREFIX + kind_and_length(prefix).1;
        if next == octets.len() || octets.get(next..).is_some_and(|rest| valid_record(seed, rest).is_some()) {
            return next;
        }
    }
    (1..octets.len())
        .take_while(|at| match cost(&octets[*at..]) {
            0 => true,
            cost => {
                let has_budget = *budget >= cost;
                *budget = budget.saturating_sub(cost);
                has_budget
            }
        })
        .find(|at| valid_record(seed, &octets[*at..]).is_some())
        .unwrap_or(octets.len())
}

/// Octets to be looked at in order to tell whether a record stands here; 0 when there is none by the first look.
fn cost(octets: &[u8]) -> usize {
    let Some(prefix) = octets.first_chunk::<PREFIX>() else { return 0 };
    let (kind, length) = kind_and_length(prefix);
    if is_plausible(kind, length) && length <= octets.len() - PREFIX { PREFIX + length } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::one_of_each;
    use super::*;
    use crate::journal::{Accepted, BatchWriter, Entry, segment_header};

    const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 0 };

    fn segment(numbers: &[u64]) -> Vec<u8> {
        let mut octets = Vec::new();
        segment_header(LOG, 2, 1 << 20, &mut octets);
        let mut writer = BatchWriter::new(LOG);
        for number in numbers {
            one_of_each().iter().for_each(|entry| writer.append(entry));
            writer.finish(2, *number, &mut octets);
        }
        octets
    }

    #[test]
    fn batches_are_found_where_they_stand() {
        let found = batches(LOG, 2, &segment(&[5, 6, 7]), None);
        let places: Vec<_> = found.iter().map(|found| (found.at, found.batch, found.missing)).collect();
        assert_eq!(places, [(BLOCK, 5, 0), (2 * BLOCK, 6, 0), (3 * BLOCK, 7, 0)]);
    }

    #[test]
    fn a_batch_without_its_header_is_found_by_its_number() {
        for broken in 1..=3 {
            let mut octets = segment(&[5, 6, 7]);
            octets[broken * BLOCK + 9] ^= 1;
            for expected in [Some(5), None] {
                let found = batches(LOG, 2, &octets, expected);
                let kept: Vec<_> = found.iter().map(|found| (found.batch, found.has_header)).collect();
                assert_eq!(kept, [(5, broken != 1), (6, broken != 2), (7, broken != 3)]);
                assert!(found.iter().all(|found| found.gap_at == found.at && found.missing == 0));
            }
        }
    }

    #[test]
    fn a_batch_that_is_gone_is_missed() {
        let mut octets = segment(&[5, 6, 7]);
        octets[2 * BLOCK..3 * BLOCK].fill(0);
        let found = batches(LOG, 2, &octets, None);
        assert_eq!(found.len(), 2);
        assert_eq!((found[1].gap_at, found[1].missing), (2 * BLOCK, 1));
        assert_eq!(batches(LOG, 2, &octets, Some(3))[0].missing, 2);
    }

    #[test]
    fn a_record_from_the_middle_of_a_torn_batch_is_not_taken_for_a_first_one() {
        let Entry::Accepted(accepted) = one_of_each()[0] else { panic!("the first one is an accepted message") };
        let pdu = [7; BLOCK - 48];
        let mut writer = BatchWriter::new(LOG);
        writer.append(&Entry::Accepted(Accepted { pdu: &pdu, ..accepted }));
        let first = writer.len();
        writer.append(&Entry::Accepted(accepted));
        assert_eq!(first, BLOCK + BATCH_HEADER, "the second record stands where one would begin a batch");
        let mut octets = segment(&[5]);
        writer.finish(2, 6, &mut octets);
        octets[2 * BLOCK..3 * BLOCK].fill(0);
        assert_eq!(batches(LOG, 2, &octets, Some(5)).len(), 1);
    }

    #[test]
    fn searching_octets_that_all_look_like_records_ends() {
        let octets = vec![1; 1 << 20];
        let mut budget = 4 << 20;
        assert_eq!(next_record(7, &octets, &mut budget), octets.len());
        assert_eq!(budget, 0);
    }
}
