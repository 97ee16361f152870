//! A shard's side of its journal: what goes into the next batch, where that is written, which segments are still wanted.
//!
//! Lives on the shard's thread and does no I/O: the host takes a batch, writes it, and gives it back with how that went. One batch
//! is being written at a time, and all that comes meanwhile is the next one (group commit). That one the host has as well, so that
//! it can begin it the moment it is through with the first, whatever the shard does then; as long as it has not begun it, it gives
//! it back for what has come since to be added. A batch that could not be written is given out again for a new segment, after
//! a rest, with the file that failed never used again. A small batch, which is mostly empty as the disk writes whole
//! blocks, waits a little while others keep coming.
//!
//! Which segments are still wanted is [`Segments`]' business.

use core::time::Duration;
use std::collections::VecDeque;

use crate::bounds::{
    JOURNAL_BATCH_BYTES, JOURNAL_BATCH_BYTES_KEPT, JOURNAL_BATCHES_OUT, JOURNAL_COMPANY_BYTES,
    JOURNAL_COMPANY_FREE_BYTES, JOURNAL_COMPANY_US, JOURNAL_REST_MS, JOURNAL_ROOM_MS, JOURNAL_WAITING_BYTES,
};
use crate::event::Event;
use crate::journal::{BATCH_HEADER, BLOCK, Batch, Entry, FIRST_BATCH, LogName, Part};
use crate::pending::Pending;
use crate::report::JournalReport;
use crate::segments::Segments;
use crate::time::Time;

/// How large a shard's journal may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LedgerBounds {
    /// Octets of one segment, a multiple of [`BLOCK`].
    pub(crate) segment_bytes: u64,
    /// Octets of all segments together; beyond it nothing new is accepted.
    pub(crate) bytes_max: u64,
    /// For how long a small batch waits for more.
    pub(crate) commit_wait: Duration,
}

/// One shard's journal.
#[derive(Debug)]
pub(crate) struct Ledger {
    log: LogName,
    bounds: LedgerBounds,
    /// What is being collected.
    collecting: Part,
    /// The batch that was given back, to be given out again with more.
    given_back: Option<Batch>,
    /// What was collected after that, and is more than a batch holds.
    waiting: VecDeque<Part>,
    /// Octets of `waiting`.
    waiting_bytes: usize,
    /// Empty ones, for their memory.
    spare: Vec<Batch>,
    /// Batches that the host has.
    out: usize,
    /// The batch that could not be written.
    failed: Option<Batch>,
    state: Flight,
    /// What the next batch waits for, where it does.
    company: Option<Company>,
    last_number: u64,
    /// The number of the batch that was given out last.
    batch: u64,
    segment: u32,
    /// Where the next batch goes in the segment; 0 for a new one.
    offset: u64,
    segments: Segments,
    is_stalled: bool,
    /// There is no file for the segment after the next: what is left is for what was accepted before.
    is_short: bool,
    room: Room,
    report: JournalReport,
}

/// What has been told of the room that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// There is some.
    Left,
    /// There is none, and nothing new is accepted.
    Full,
    /// There is some again; told then, if there is still some.
    LeftAgain(Time),
}

/// A batch that could be written waits for more records.
#[derive(Clone, Copy, Debug)]
struct Company {
    /// Records when it was looked at last.
    records: u32,
    /// It waits no longer than until then, whatever comes.
    until: Time,
    /// It waits until then if nothing comes.
    due: Time,
}

/// Whether batches are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    Good,
    /// The last one failed; to be given out again then.
    Failed(Time),
    /// One that failed before is being written again.
    WritingAgain,
}

impl Ledger {
    pub(crate) fn new(log: LogName, bounds: LedgerBounds) -> Self {
        debug_assert!(bounds.segment_bytes.is_multiple_of(BLOCK as u64));
        Self {
            log,
            bounds,
            collecting: Part::default(),
            given_back: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            spare: Vec::new(),
            out: 0,
            failed: None,
            state: Flight::Good,
            company: None,
            last_number: 0,
            batch: FIRST_BATCH - 1,
            segment: 0,
            offset: 0,
            segments: Segments::new(),
            is_stalled: false,
            is_short: false,
            room: Room::Left,
            report: JournalReport::default(),
        }
    }

    /// A number for a message or receipt that begins.
    #[inline]
    pub(crate) fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds a record to the next batch.
    #[inline]
    pub(crate) fn append(&mut self, entry: &Entry<'_>) {
        if self.collecting.len() >= JOURNAL_BATCH_BYTES {
            self.begin_another();
        }
        self.collecting.append(entry);
    }

    /// Adds a record with which something begins; who is meant is in the batch that is told as written.
    #[inline]
    pub(crate) fn begin(&mut self, entry: &Entry<'_>, pending: Pending) {
        self.append(entry);
        self.collecting.pending.push(pending);
    }

    #[cold]
    fn begin_another(&mut self) {
        let full = core::mem::take(&mut self.collecting);
        self.waiting_bytes += full.len();
        self.waiting.push_back(full);
    }

    /// Whether the disk takes what it is given.
    #[inline]
    pub(crate) const fn is_failing(&self) -> bool {
        self.is_stalled || matches!(self.state, Flight::Failed(_) | Flight::WritingAgain)
    }

    /// Whether there is no file for a segment to come.
    pub(crate) const fn is_short(&self) -> bool {
        self.is_short
    }

    /// Whether it fails or runs short of files. It is told once when that begins, whichever comes first, and once when it is over.
    pub(crate) const fn is_in_trouble(&self) -> bool {
        self.is_failing() || self.is_short
    }

    /// Whether something new may be accepted: the disk works and keeps up, and there is room.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        !self.is_unwritten() && !self.is_full()
    }

    #[inline]
    fn is_unwritten(&self) -> bool {
        self.is_failing() || self.is_short || self.waiting_bytes >= JOURNAL_WAITING_BYTES
    }

    /// Whether the segments take up all of their room.
    #[inline]
    fn is_full(&self) -> bool {
        self.bytes() >= self.bounds.bytes_max
    }

    /// What is to be told of the room that is left, once a turn.
    #[inline]
    pub(crate) fn look_at_room(&mut self, now: Time) -> Option<Event> {
        let is_full = self.is_full();
        if !is_full && self.room == Room::Left {
            return None;
        }
        self.room_changed(is_full, now)
    }

    #[cold]
    fn room_changed(&mut self, is_full: bool, now: Time) -> Option<Event> {
        let (bytes, bytes_max) = (self.bytes(), self.bounds.bytes_max);
        let (room, event) = match (self.room, is_full) {
            (Room::Left, true) => (Room::Full, Some(Event::JournalFull { bytes, bytes_max })),
            (Room::Full | Room::LeftAgain(_), true) => (Room::Full, None),
            (Room::Full, false) => (Room::LeftAgain(now.after_ms(JOURNAL_ROOM_MS)), None),
            (Room::LeftAgain(at), false) if at <= now => (Room::Left, Some(Event::JournalHasRoom { bytes, bytes_max })),
            (before @ (Room::Left | Room::LeftAgain(_)), false) => (before, None),
        };
        self.room = room;
        event
    }

    /// Which log this is.
    pub(crate) const fn log(&self) -> LogName {
        self.log
    }

    /// The oldest segment, when the journal has taken up half of its room and so little is still live, there or in all segments,
    /// that writing it again is worth it: half of what began, or nine tenths when three quarters of the room are taken.
    #[inline]
    pub(crate) fn to_carry(&self) -> Option<u32> {
        let (bytes, most) = (self.bytes(), self.bounds.bytes_max);
        if bytes <= most / 2 {
            return None;
        }
        self.segments.to_carry(if bytes > most / 4 * 3 { 9 } else { 5 })
    }

    /// Whether more waits for the disk than one batch: taking over waits as well.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_failing() || !self.waiting.is_empty()
    }

    /// Octets of all segments, the present one as a whole.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.len() as u64 * self.bounds.segment_bytes
    }

    /// Whether everything that was recorded is on disk.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == Flight::Good && self.out == 0 && !self.has_more()
    }

    /// When [`Ledger::take`] or [`Ledger::look_at_room`] has something again that it has not now; [`Time::NEVER`] when that
    /// takes something new.
    #[inline]
    pub(crate) fn again_at(&self) -> Time {
        let told_at = match self.room {
            Room::LeftAgain(at) => at,
            Room::Left | Room::Full => Time::NEVER,
        };
        match self.state {
            Flight::Failed(at) => at.min(told_at),
            Flight::Good => self.company.map_or(told_at, |company| company.due.min(told_at)),
            Flight::WritingAgain => told_at,
        }
    }

    /// Whether what is being collected would be a small batch, mostly empty.
    #[inline]
    fn is_small(&self) -> bool {
        let octets = BATCH_HEADER + self.collecting.len();
        let free = octets.next_multiple_of(BLOCK) - octets;
        octets < JOURNAL_COMPANY_BYTES && free > JOURNAL_COMPANY_FREE_BYTES && !self.bounds.commit_wait.is_zero()
    }

    /// Whether the batch that is being collected is small, and its last record came so shortly before that more can be expected
    /// before that matters to anybody.
    #[inline]
    fn waits_for_company(&mut self, now: Time) -> bool {
        if !self.is_small() {
            self.company = None;
            return false;
        }
        let records = self.collecting.records();
        let until = self.company.map_or(now + self.bounds.commit_wait, |company| company.until);
        let due = match self.company {
            Some(company) if company.records == records => company.due,
            _ => until.min(now + Duration::from_micros(JOURNAL_COMPANY_US)),
        };
        let waits = now < due;
        self.company = waits.then_some(Company { records, until, due });
        waits
    }

    /// Whether there are records that are with nobody.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        !self.collecting.is_empty() || self.given_back.is_some() || !self.waiting.is_empty()
    }

    /// The next batch to be written; `None` when there is none to be begun now, or after those that the host has.
    #[inline]
    pub(crate) fn take(&mut self, now: Time) -> Option<Batch> {
        match self.state {
            Flight::Good => {}
            Flight::Failed(at) if at <= now => return self.take_again(),
            Flight::Failed(_) | Flight::WritingAgain => return None,
        }
        if self.out == JOURNAL_BATCHES_OUT || !self.has_more() {
            return None;
        }
        if self.given_back.is_none() && self.waiting.is_empty() {
            // A small one is not given out beforehand: it would be written however much comes until then.
            let waits = if self.out > 0 { self.is_small() } else { self.waits_for_company(now) };
            if waits {
                return None;
            }
        }
        self.company = None;
        let (log, segment_bytes) = (self.log, self.bounds.segment_bytes);
        let begun = self.given_back.take().or_else(|| self.spare.pop());
        let mut batch = begun.unwrap_or_else(|| Batch::new(log, segment_bytes));
        while let Some(part) = self.waiting.front().filter(|part| batch.has_room_for(part)) {
            batch.add(part);
            self.waiting_bytes -= part.len();
            self.waiting.pop_front();
        }
        if self.waiting.is_empty() && batch.has_room_for(&self.collecting) {
            batch.add(&self.collecting);
            self.collecting.clear();
        }
        self.batch += 1;
        if self.offset > 0 && self.offset + batch.len_behind_others() as u64 > self.bounds.segment_bytes {
            self.next_segment();
        }
        Some(self.placed(batch, self.batch))
    }

    /// The batch that failed, for another segment.
    #[cold]
    fn take_again(&mut self) -> Option<Batch> {
        let batch = self.failed.take()?;
        self.state = Flight::WritingAgain;
        // Unless one was begun for the batch after it, which was not written.
        if self.segment == batch.segment() {
            self.next_segment();
        }
        debug_assert_eq!(self.offset, 0, "nothing was written behind a batch that failed");
        let number = batch.number();
        Some(self.placed(batch, number))
    }

    fn next_segment(&mut self) {
        self.segment += 1;
        self.offset = 0;
        self.segments.begin();
    }

    /// A batch at the place that is the next one.
    fn placed(&mut self, batch: Batch, number: u64) -> Batch {
        let batch = batch.at(self.segment, self.offset, number);
        self.offset += batch.whole_len() as u64;
        self.out += 1;
        batch
    }

    /// The host has not begun the batch that it was given last, nor will it: what is in it is given out again, with what has
    /// come since.
    pub(crate) fn give_back(&mut self, batch: Batch) {
        debug_assert!(batch.number() == self.batch && self.out > 0, "the last one is given back");
        self.out -= 1;
        self.batch -= 1;
        self.offset = batch.offset();
        self.given_back = Some(batch);
    }

    /// The batch is on disk. What began in it is to be counted with [`Segments::count`] unless it has ended.
    pub(crate) fn written(&mut self, batch: &Batch) {
        debug_assert!(self.out > 0, "what was written was given out");
        self.out -= 1;
        self.state = Flight::Good;
        self.is_stalled = false;
        self.report.batches += 1;
        self.report.records += u64::from(batch.records());
        self.report.bytes_written += batch.whole_len() as u64;
    }

    /// Takes the memory of a batch that was written.
    pub(crate) fn recycle(&mut self, mut batch: Batch) {
        if self.spare.len() < JOURNAL_BATCHES_OUT {
            batch.clear(JOURNAL_BATCH_BYTES_KEPT);
            self.spare.push(batch);
        }
    }

    /// The batch could not be written; nobody knows how much of it is there. The one after it has been given back.
    pub(crate) fn failed(&mut self, batch: Batch, now: Time) {
        debug_assert_eq!(self.out, 1, "the one after it is given back first");
        self.out -= 1;
        self.report.failures += 1;
        self.state = Flight::Failed(now.after_ms(JOURNAL_REST_MS));
        self.failed = Some(batch);
    }

    /// There is nowhere to write to at present, until something is written again.
    pub(crate) const fn stall(&mut self) {
        self.is_stalled = true;
    }

    /// Whether files can be made for the segments to come; tells whether that has changed.
    pub(crate) const fn set_short(&mut self, is_short: bool) -> bool {
        let has_changed = self.is_short != is_short;
        self.is_short = is_short;
        has_changed
    }

    /// What it has done so far.
    pub(crate) fn report(&self) -> JournalReport {
        JournalReport { bytes: self.bytes(), is_unwritten: self.is_unwritten(), is_full: self.is_full(), ..self.report }
    }

    /// What began in the segments, for what begins and ends there to be counted.
    #[inline]
    pub(crate) const fn segments(&mut self) -> &mut Segments {
        &mut self.segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Done;

    const WAIT: Duration = Duration::from_millis(1);

    fn ledger(commit_wait: Duration) -> Ledger {
        let bounds = LedgerBounds { segment_bytes: 8 << 20, bytes_max: 64 << 20, commit_wait };
        Ledger::new(LogName { start: 1, shard: 0 }, bounds)
    }

    fn at(micros: u64) -> Time {
        Time(micros * 1_000)
    }

    fn append(ledger: &mut Ledger) {
        ledger.append(&Entry::Done(Done { number: 1, state: None }));
    }

    /// Adds a record and takes what there is to be written: how many records.
    fn record(ledger: &mut Ledger, now: Time) -> Option<u32> {
        append(ledger);
        taken(ledger, now)
    }

    fn taken(ledger: &mut Ledger, now: Time) -> Option<u32> {
        ledger.take(now).map(|batch| batch.records())
    }

    /// Adds records for so many octets or a few more, and takes them.
    fn large(ledger: &mut Ledger, octets: usize) -> Batch {
        while ledger.collecting.len() < octets {
            append(ledger);
        }
        ledger.take(at(0)).expect("a large batch waits for nothing")
    }

    #[test]
    fn a_record_that_comes_alone_waits_a_moment() {
        let mut ledger = ledger(WAIT);
        assert_eq!(taken(&mut ledger, at(0)), None);
        assert_eq!(ledger.again_at(), Time::NEVER);
        assert_eq!(record(&mut ledger, at(10)), None);
        assert_eq!(ledger.again_at(), at(210));
        assert_eq!(taken(&mut ledger, at(209)), None);
        assert_eq!(taken(&mut ledger, at(210)), Some(1));
        assert_eq!(ledger.again_at(), Time::NEVER);
    }

    #[test]
    fn records_that_keep_coming_are_one_batch_until_the_wait_is_over() {
        let mut ledger = ledger(WAIT);
        for step in 0..20 {
            assert_eq!(record(&mut ledger, at(step * 50)), None, "after {} us", step * 50);
        }
        assert_eq!(ledger.again_at(), at(1_000));
        append(&mut ledger);
        let batch = ledger.take(at(1_000)).unwrap();
        assert_eq!(batch.records(), 21);
        // What comes while that is written waits for as long again.
        assert_eq!(record(&mut ledger, at(1_010)), None);
        assert_eq!(ledger.again_at(), Time::NEVER);
        ledger.written(&batch);
        assert_eq!(record(&mut ledger, at(1_300)), None);
        assert_eq!(ledger.again_at(), at(1_500));
        assert_eq!(taken(&mut ledger, at(1_500)), Some(2));
    }

    #[test]
    fn a_block_that_is_as_good_as_full_is_written_at_once() {
        let mut ledger = ledger(WAIT);
        let batch = (1..).find_map(|_| {
            append(&mut ledger);
            ledger.take(at(0))
        });
        let batch = batch.unwrap();
        assert!(batch.records() > 1);
        assert_eq!(batch.whole_len(), 2 * BLOCK, "the segment's header and one block");
    }

    #[test]
    fn two_blocks_are_written_at_once() {
        large(&mut ledger(WAIT), 2 * BLOCK);
    }

    #[test]
    fn without_a_wait_a_record_is_written_at_once() {
        assert_eq!(record(&mut ledger(Duration::ZERO), at(0)), Some(1));
    }

    #[test]
    fn the_host_has_two_batches_at_the_most() {
        let mut ledger = ledger(WAIT);
        let first = large(&mut ledger, 3 * BLOCK);
        let second = large(&mut ledger, 3 * BLOCK);
        assert_eq!(second.offset(), first.whole_len() as u64, "they follow one another");
        large_is_kept_back(&mut ledger);
        ledger.written(&first);
        assert!(ledger.take(at(0)).is_some());
    }

    fn large_is_kept_back(ledger: &mut Ledger) {
        while ledger.collecting.len() < 3 * BLOCK {
            append(ledger);
        }
        assert_eq!(taken(ledger, at(0)), None);
    }

    #[test]
    fn a_small_batch_is_not_given_out_beforehand() {
        let mut ledger = ledger(WAIT);
        let first = large(&mut ledger, 3 * BLOCK);
        assert_eq!(record(&mut ledger, at(50_000)), None);
        ledger.written(&first);
        assert_eq!(taken(&mut ledger, at(50_000)), None, "now it waits for company");
        assert_eq!(taken(&mut ledger, at(50_200)), Some(1));
    }

    #[test]
    fn a_batch_given_back_comes_again_at_its_place_with_what_has_come_since() {
        let mut ledger = ledger(WAIT);
        let first = large(&mut ledger, 3 * BLOCK);
        let second = large(&mut ledger, 3 * BLOCK);
        let before = (second.segment(), second.offset(), second.number());
        let (records, octets) = (second.records(), second.octets().to_vec());
        append(&mut ledger);
        assert!(ledger.has_more());
        ledger.give_back(second);
        let again = ledger.take(at(0)).unwrap();
        assert!(!ledger.has_more());
        assert_eq!((again.segment(), again.offset(), again.number()), before);
        assert_eq!(again.records(), records + 1);
        assert!(again.octets().starts_with(&octets), "in the order in which they came");
        ledger.written(&first);
        ledger.written(&again);
        assert!(ledger.is_idle());
        let report = ledger.report();
        assert_eq!(report.batches, 2);
        assert_eq!(report.records, u64::from(first.records() + again.records()));
        assert_eq!(report.bytes_written, (first.whole_len() + again.whole_len()) as u64);
    }

    #[test]
    fn a_batch_that_grew_too_long_for_its_segment_begins_the_next_one() {
        let mut ledger = ledger(WAIT);
        let first = large(&mut ledger, JOURNAL_BATCH_BYTES);
        let second = large(&mut ledger, JOURNAL_BATCH_BYTES / 2);
        assert_eq!(second.segment(), 0);
        while ledger.collecting.len() < JOURNAL_BATCH_BYTES / 2 - BLOCK {
            append(&mut ledger);
        }
        ledger.give_back(second);
        let second = ledger.take(at(0)).unwrap();
        assert_eq!((second.segment(), second.offset()), (1, 0));
        append(&mut ledger);
        ledger.give_back(second);
        let second = ledger.take(at(0)).unwrap();
        assert_eq!((second.segment(), second.offset()), (1, 0), "it stays there");
        ledger.written(&first);
        ledger.written(&second);
        assert_eq!(ledger.segments.freed(), None, "the last two segments stay");
    }

    #[test]
    fn a_batch_that_failed_comes_again_in_a_new_segment_and_the_one_after_it_behind_it() {
        for opens_another in [false, true] {
            let mut ledger = ledger(WAIT);
            let first = large(&mut ledger, JOURNAL_BATCH_BYTES);
            let second = large(&mut ledger, if opens_another { JOURNAL_BATCH_BYTES } else { 3 * BLOCK });
            assert_eq!(second.segment(), u32::from(opens_another));
            let (number, records) = (first.number(), [first.records(), second.records()]);
            ledger.give_back(second);
            ledger.failed(first, at(0));
            assert!(ledger.is_failing() && !ledger.has_room());
            assert!(ledger.take(at(1_000)).is_none(), "the disk has its rest");
            let again = ledger.take(ledger.again_at()).unwrap();
            assert_eq!((again.segment(), again.offset(), again.number()), (1, 0, number), "{opens_another}");
            assert!(ledger.take(at(10_000_000)).is_none(), "one at a time until one is written");
            ledger.written(&again);
            assert!(!ledger.is_failing());
            let second = ledger.take(at(10_000_000)).unwrap();
            assert_eq!([again.records(), second.records()], records);
            assert_eq!(second.number(), number + 1);
        }
    }

    #[test]
    fn more_than_one_batch_holds_waits_and_beyond_the_bound_nothing_new_is_taken() {
        let mut ledger = ledger(WAIT);
        let first = large(&mut ledger, JOURNAL_BATCH_BYTES);
        large(&mut ledger, JOURNAL_BATCH_BYTES);
        assert!(!ledger.is_behind());
        while ledger.has_room() {
            append(&mut ledger);
            assert!(ledger.waiting_bytes <= JOURNAL_WAITING_BYTES + JOURNAL_BATCH_BYTES);
        }
        assert!(ledger.is_behind());
        ledger.written(&first);
        let third = ledger.take(at(0)).unwrap();
        assert!(third.whole_len() <= JOURNAL_BATCH_BYTES + 3 * BLOCK, "{}", third.whole_len());
        assert!(ledger.has_room());
    }

    #[test]
    fn memory_comes_back_with_what_was_written() {
        let mut ledger = ledger(WAIT);
        let first = large(&mut ledger, 3 * BLOCK);
        ledger.written(&first);
        ledger.recycle(first);
        assert_eq!(ledger.spare.len(), 1);
        let second = large(&mut ledger, 3 * BLOCK);
        assert!(ledger.spare.is_empty());
        ledger.written(&second);
        ledger.recycle(second);
        assert_eq!(ledger.spare.len(), 1);
    }
}
