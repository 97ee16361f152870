//! A shard's side of its journal: what goes into the next batch, where that is written, which segments are still wanted.
//!
//! Lives on the shard's thread and does no I/O: the host takes a batch, writes it, and says how that went. One batch is
//! being written at a time, and all that comes meanwhile is the next one (group commit). A batch that could not be
//! written is given out again for a new segment, after a rest, with the file that failed never used again. A small
//! batch, which is mostly empty as the disk writes whole blocks, waits a little while others keep coming.
//!
//! Segments are freed in order, the oldest first, when every message and receipt that began in it has ended: so a record
//! that ends something is never gone before the one that began it.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::bounds::{
    JOURNAL_BATCH_BYTES, JOURNAL_BATCHES_WAITING, JOURNAL_COMPANY_BYTES, JOURNAL_COMPANY_FREE_BYTES,
    JOURNAL_COMPANY_US, JOURNAL_REST_MS, JOURNAL_ROOM_MS,
};
use crate::event::Event;
use crate::journal::{BLOCK, Batch, BatchWriter, Entry, FIRST_BATCH, LogName, reseal, segment_header};
use crate::kept::KeptRef;
use crate::lane::Ticket;
use crate::report::JournalReport;
use crate::time::Time;

/// Something whose record is in a batch, and that wants to know when it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// An accepted message.
    Message(KeptRef),
    /// A vendor's id for a message.
    Sent(KeptRef),
    /// A receipt or MO taken from a vendor.
    Delivery(Ticket),
}

impl Pending {
    /// The kept message, where it is one.
    #[inline]
    pub(crate) const fn message(&self) -> Option<KeptRef> {
        match self {
            Self::Message(meant) | Self::Sent(meant) => Some(*meant),
            Self::Delivery(_) => None,
        }
    }
}

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
    /// What is being collected, and batches that are full and wait for the disk.
    collecting: Collected,
    full: VecDeque<Collected>,
    committing: Vec<Pending>,
    /// The batch that is being written, without a segment's header, until it is known to be on disk.
    flying: Arc<Vec<u8>>,
    /// What a batch holds that nobody has to write any more: no octets.
    nothing: Arc<Vec<u8>>,
    state: Flight,
    /// What the next batch waits for, where it does.
    company: Option<Company>,
    last_number: u64,
    batch: u64,
    segment: u32,
    /// Where the next batch goes in the segment; 0 for a new one.
    offset: u64,
    /// Of the segments from `first` on: how much that began there has not ended. The last one is the present one.
    live: VecDeque<Segment>,
    first: u32,
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

/// A batch to come.
#[derive(Debug)]
struct Collected {
    writer: BatchWriter,
    pending: Vec<Pending>,
}

impl Collected {
    fn new(log: LogName) -> Self {
        Self { writer: BatchWriter::new(log), pending: Vec::new() }
    }
}

/// What began in one segment.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    /// How much.
    begun: u32,
    /// How much of it has not ended, nor been carried forward.
    live: u32,
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

/// What the batch that was given out last is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flight {
    None,
    Writing,
    /// It failed; to be given out again then.
    Failed(Time),
    /// It failed before, and is being written again.
    WritingAgain,
}

impl Ledger {
    pub(crate) fn new(log: LogName, bounds: LedgerBounds) -> Self {
        debug_assert!(bounds.segment_bytes.is_multiple_of(BLOCK as u64));
        Self {
            log,
            bounds,
            collecting: Collected::new(log),
            full: VecDeque::new(),
            committing: Vec::new(),
            flying: Arc::default(),
            nothing: Arc::default(),
            state: Flight::None,
            company: None,
            last_number: 0,
            batch: FIRST_BATCH - 1,
            segment: 0,
            offset: 0,
            live: VecDeque::from([Segment::default()]),
            first: 0,
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
        if self.collecting.writer.len() >= JOURNAL_BATCH_BYTES {
            self.begin_another();
        }
        self.collecting.writer.append(entry);
    }

    /// Adds a record with which something begins; it is told of by [`Ledger::written`].
    #[inline]
    pub(crate) fn begin(&mut self, entry: &Entry<'_>, pending: Pending) {
        self.append(entry);
        self.collecting.pending.push(pending);
    }

    #[cold]
    fn begin_another(&mut self) {
        let full = core::mem::replace(&mut self.collecting, Collected::new(self.log));
        self.full.push_back(full);
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
        self.is_failing() || self.is_short || self.full.len() >= JOURNAL_BATCHES_WAITING
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

    /// The oldest segment, when the journal has taken up half of its room and so little of that segment is still live that
    /// writing it again is worth it: half of what began there, or nine tenths when three quarters of the room are taken.
    #[inline]
    pub(crate) fn to_carry(&self) -> Option<u32> {
        let (bytes, most) = (self.bytes(), self.bounds.bytes_max);
        if self.live.len() <= 2 || bytes <= most / 2 {
            return None;
        }
        let Segment { begun, live } = self.live[0];
        let tenths = if bytes > most / 4 * 3 { 9 } else { 5 };
        (u64::from(live) * 10 <= u64::from(begun) * tenths).then_some(self.first)
    }

    /// Whether full batches wait for the disk: taking over waits as well.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_failing() || !self.full.is_empty()
    }

    /// Octets of all segments, the present one as a whole.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.live.len() as u64 * self.bounds.segment_bytes
    }

    /// Whether everything that was recorded is on disk.
    pub(crate) fn is_idle(&self) -> bool {
        self.state == Flight::None && self.full.is_empty() && self.collecting.writer.is_empty()
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
            Flight::None => self.company.map_or(told_at, |company| company.due.min(told_at)),
            _ => told_at,
        }
    }

    /// Whether the batch that is being collected is small, and its last record came so shortly before that more can be expected
    /// before that matters to anybody.
    #[inline]
    fn waits_for_company(&mut self, now: Time) -> bool {
        let writer = &self.collecting.writer;
        let (records, octets) = (writer.records(), writer.len());
        let is_small = octets < JOURNAL_COMPANY_BYTES && writer.whole_len() - octets > JOURNAL_COMPANY_FREE_BYTES;
        if self.bounds.commit_wait.is_zero() || records == 0 || !is_small {
            self.company = None;
            return false;
        }
        let until = self.company.map_or(now + self.bounds.commit_wait, |company| company.until);
        let due = match self.company {
            Some(company) if company.records == records => company.due,
            _ => until.min(now + Duration::from_micros(JOURNAL_COMPANY_US)),
        };
        let waits = now < due;
        self.company = waits.then_some(Company { records, until, due });
        waits
    }

    /// Fills in the next batch to be written; `false` when there is none, or one is being written.
    #[inline]
    pub(crate) fn take(&mut self, now: Time, into: &mut Batch) -> bool {
        match self.state {
            Flight::None => {}
            Flight::Failed(at) if at <= now => {
                self.state = Flight::WritingAgain;
                self.next_segment();
                into.bytes = self.nothing.clone();
                let flying: &mut Vec<u8> = Arc::make_mut(&mut self.flying);
                reseal(self.log, self.segment, self.batch, flying);
                self.give(into);
                return true;
            }
            _ => return false,
        }
        if self.full.is_empty() && self.waits_for_company(now) {
            return false;
        }
        let mut first = self.full.pop_front();
        let next = first.as_mut().unwrap_or(&mut self.collecting);
        if next.writer.is_empty() {
            return false;
        }
        self.state = Flight::Writing;
        self.batch += 1;
        if self.offset > 0 && self.offset + next.writer.whole_len() as u64 > self.bounds.segment_bytes {
            self.segment += 1;
            self.offset = 0;
            self.live.push_back(Segment::default());
        }
        self.report.records += u64::from(next.writer.records());
        into.bytes = self.nothing.clone();
        if Arc::get_mut(&mut self.flying).is_none() {
            // The host holds on to the batch before.
            self.flying = Arc::default();
        }
        next.writer.swap_out(self.segment, self.batch, Arc::make_mut(&mut self.flying));
        core::mem::swap(&mut next.pending, &mut self.committing);
        self.give(into);
        true
    }

    fn next_segment(&mut self) {
        self.segment += 1;
        self.offset = 0;
        self.live.push_back(Segment::default());
    }

    fn give(&mut self, into: &mut Batch) {
        into.segment = self.segment;
        into.offset = self.offset;
        into.bytes = if self.offset == 0 {
            let mut octets = Vec::with_capacity(BLOCK + self.flying.len());
            segment_header(self.log, self.segment, self.bounds.segment_bytes, &mut octets);
            octets.extend_from_slice(&self.flying);
            Arc::new(octets)
        } else {
            self.flying.clone()
        };
        self.offset += into.bytes.len() as u64;
        self.report.bytes_written += into.bytes.len() as u64;
    }

    /// The batch is on disk: swaps those whose records are in it into `pending`, which must be empty, and gives the
    /// segment. Each that has not ended is to be counted with [`Ledger::count`].
    pub(crate) fn written(&mut self, pending: &mut Vec<Pending>) -> u32 {
        debug_assert!(pending.is_empty() && matches!(self.state, Flight::Writing | Flight::WritingAgain));
        self.state = Flight::None;
        self.report.batches += 1;
        self.is_stalled = false;
        core::mem::swap(pending, &mut self.committing);
        self.segment
    }

    /// The batch could not be written; nobody knows how much of it is there.
    pub(crate) fn failed(&mut self, now: Time) {
        debug_assert!(matches!(self.state, Flight::Writing | Flight::WritingAgain));
        self.report.failures += 1;
        self.state = Flight::Failed(now.after_ms(JOURNAL_REST_MS));
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

    /// Something that began in that segment has not ended yet.
    #[inline]
    pub(crate) fn count(&mut self, segment: u32) {
        let segment = &mut self.live[(segment - self.first) as usize];
        segment.begun += 1;
        segment.live += 1;
    }

    /// Something that began in that segment, and was counted, has ended.
    #[inline]
    pub(crate) fn discount(&mut self, segment: u32) {
        self.live[(segment - self.first) as usize].live -= 1;
    }

    /// The first segment that is still wanted, when that has changed since the last call.
    pub(crate) fn freed(&mut self) -> Option<u32> {
        let before = self.first;
        // The one before the present one may be that of the batch that is being written.
        while self.live.len() > 2 && self.live[0].live == 0 {
            self.live.pop_front();
            self.first += 1;
        }
        (self.first != before).then_some(self.first)
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

    /// Adds a record and takes what there is to be written: how many records.
    fn record(ledger: &mut Ledger, now: Time) -> Option<u64> {
        ledger.append(&Entry::Done(Done { number: 1, state: None }));
        taken(ledger, now)
    }

    fn taken(ledger: &mut Ledger, now: Time) -> Option<u64> {
        let before = ledger.report().records;
        ledger.take(now, &mut Batch::default()).then(|| ledger.report().records - before)
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
        assert_eq!(record(&mut ledger, at(1_000)), Some(21));
        // What comes while that is written waits for as long again.
        assert_eq!(record(&mut ledger, at(1_010)), None);
        ledger.written(&mut Vec::new());
        assert_eq!(record(&mut ledger, at(1_300)), None);
        assert_eq!(ledger.again_at(), at(1_500));
        assert_eq!(taken(&mut ledger, at(1_500)), Some(2));
    }

    #[test]
    fn a_block_that_is_as_good_as_full_is_written_at_once() {
        let mut ledger = ledger(WAIT);
        let written = (1..).find_map(|_| record(&mut ledger, at(0)));
        assert!(written.is_some_and(|records| records > 1), "{written:?}");
        let octets = ledger.report().bytes_written;
        assert_eq!(octets, 2 * BLOCK as u64, "the segment's header and one block");
    }

    #[test]
    fn two_blocks_are_written_at_once() {
        let mut ledger = ledger(WAIT);
        while ledger.collecting.writer.len() <= 2 * BLOCK {
            ledger.append(&Entry::Done(Done { number: 1, state: None }));
        }
        assert!(taken(&mut ledger, at(0)).is_some());
    }

    #[test]
    fn without_a_wait_a_record_is_written_at_once() {
        assert_eq!(record(&mut ledger(Duration::ZERO), at(0)), Some(1));
    }
}
