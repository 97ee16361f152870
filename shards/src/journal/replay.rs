//! Replay: folds the segments of any number of logs into what is still live in them.
//!
//! Runs on the starting thread (or the operator's command) before there is a shard. It is given one file's octets at a
//! time and keeps none of them but the live entries; it never decides what becomes of those.

use hashbrown::HashMap;

use super::live::{Live, LiveMessage, LiveReceipt, LiveSent, Table};
use super::record::{Accepted, Delivered, Done, Entry, Receipt, Sent};
use super::segment::{Damage, Doubt, Reason, SegmentReader, Step};
use super::summary::{Counts, LogSummary, Problem};
use super::{BLOCK, FIRST_BATCH, LogName};
use crate::bounds::PROBLEMS_KEPT_MAX;

/// Folds logs into what is live. Add the segments of one log in ascending order, one log after the other, then finish.
#[derive(Debug)]
pub struct Replay {
    keeps_pdus: bool,
    live: Live,
    log: Option<OneLog>,
}

/// The log that is being read.
#[derive(Debug)]
struct OneLog {
    summary: LogSummary,
    messages: Table<LiveMessage>,
    /// Sent records of messages whose accepted record has not come, by number.
    sent_before: HashMap<u64, Box<LiveSent>>,
    receipts: Table<Kept>,
    /// The number of the next batch.
    expected: Option<u64>,
    doubt: Option<Doubtful>,
    last: Option<LastFile>,
}

/// A receipt and the number of its message.
#[derive(Debug)]
struct Kept {
    receipt: LiveReceipt,
    message: u64,
}

impl super::live::Numbered for Kept {
    fn number(&self) -> u64 {
        self.receipt.number
    }
}

/// The end of a file of which it is not known yet whether it is torn or damaged.
#[derive(Debug)]
struct Doubtful {
    file: String,
    doubt: Doubt,
    /// A copy of the octets in doubt: not more than one batch.
    octets: Vec<u8>,
}

/// The file before, for what is missing at its end.
#[derive(Debug)]
struct LastFile {
    file: String,
    end: u64,
    length: u64,
}

impl Default for Replay {
    fn default() -> Self {
        Self::new()
    }
}

impl Replay {
    /// Of nothing so far.
    pub fn new() -> Self {
        Self { keeps_pdus: true, live: Live::default(), log: None }
    }

    /// As [`Replay::new`], but the live entries have empty PDUs: for counting.
    pub(super) fn without_pdus() -> Self {
        Self { keeps_pdus: false, ..Self::new() }
    }

    /// Adds one segment of a log: the octets of its whole file, which `file` names in problems. A log's segments are
    /// added in ascending order; the first of another log ends the one before.
    pub fn add(&mut self, log: LogName, segment: u32, file: &str, octets: &[u8]) {
        if self.log.as_ref().is_some_and(|one| one.summary.log != log) {
            self.end_log();
        }
        let mut one = self.log.take().unwrap_or_else(|| OneLog::new(log));
        one.summary.file_octets += octets.len() as u64;
        // A log begins with the same numbers, so that its very first batch needs none behind it to be known without a header.
        let expected = one.expected.or((segment == 0).then_some(FIRST_BATCH));
        let mut reader = SegmentReader::new(log, segment, octets, expected, false);
        let (end, batches, next) = (reader.end(), reader.batches(), reader.next_batch());
        if let Some(first) = reader.first_batch() {
            self.settle(&mut one, first);
        }
        while let Some(step) = reader.step(octets) {
            self.take(&mut one, file, octets, step);
        }
        if batches == 0 {
            one.summary.unused_segments += 1;
        } else {
            one.summary.segments += 1;
            one.summary.batches += batches as u64;
            one.summary.octets += end.min(octets.len() as u64);
            one.expected = one.expected.max(next);
            one.last = Some(LastFile { file: file.into(), end, length: octets.len() as u64 });
        }
        self.log = Some(one);
    }

    /// How many messages are live in the log that is being read and in those before it.
    pub fn live_messages(&self) -> usize {
        self.live.messages.len() + self.log.as_ref().map_or(0, |one| one.messages.len())
    }

    /// How many messages, receipts and MO are live in the log that is being read and in those before it.
    pub fn live_entries(&self) -> usize {
        let receipts = self.live.receipts.len() + self.log.as_ref().map_or(0, |one| one.receipts.len());
        self.live_messages() + receipts
    }

    /// What is live in all of it.
    pub fn finish(mut self) -> Live {
        self.end_log();
        self.live
    }

    /// A later batch has come: what was in doubt is either damaged or was written again.
    fn settle(&mut self, one: &mut OneLog, later: u64) {
        let Some(mut doubtful) = one.doubt.take() else { return };
        if later <= doubtful.doubt.batch {
            one.summary.torn_octets += doubtful.doubt.torn;
            return;
        }
        while let Some(step) = doubtful.doubt.reader.step(&doubtful.octets) {
            self.take(one, &doubtful.file, &doubtful.octets, step);
        }
    }

    fn take(&mut self, one: &mut OneLog, file: &str, octets: &[u8], step: Step<'_>) {
        match step {
            Step::Entry { entry, .. } => self.apply(one, &entry),
            Step::Damage(damage) => self.report(one, file, damage),
            Step::Doubt(doubt) => {
                let octets = octets[doubt.octets.clone()].to_vec();
                one.doubt = Some(Doubtful { file: file.into(), doubt, octets });
            }
        }
    }

    fn apply(&mut self, one: &mut OneLog, entry: &Entry<'_>) {
        let records = &mut one.summary.records;
        match entry {
            Entry::Accepted(accepted) => {
                records.accepted += 1;
                one.messages.insert_with(accepted.number, || self.message(accepted));
                // Carried forward on its own, it may stand behind what became of it.
                if let Some(sent) = one.sent_before.remove(&accepted.number)
                    && let Some(message) = one.messages.get_mut(accepted.number)
                    && message.sent.as_ref().is_none_or(|known| known.sent_unix_ms <= sent.sent_unix_ms)
                {
                    message.sent = Some(sent);
                }
            }
            Entry::Sent(sent) => {
                records.sent += 1;
                if let Some(message) = one.messages.get_mut(sent.number) {
                    self.note_sent(message, sent);
                } else if !one.messages.has_ended(sent.number) {
                    let known = one.sent_before.get(&sent.number);
                    if known.is_none_or(|known| known.sent_unix_ms <= sent.sent_unix_ms) {
                        one.sent_before.insert(sent.number, Box::new(self.live_sent(sent)));
                    }
                }
            }
            Entry::Done(Done { number, .. }) => {
                records.done += 1;
                one.end_message(*number);
            }
            Entry::Receipt(receipt) => {
                records.receipts += 1;
                one.receipts.insert_with(receipt.number, || self.receipt(receipt));
            }
            Entry::Delivered(delivered) => {
                records.delivered += 1;
                one.end_receipt(delivered);
            }
        }
    }

    fn message(&mut self, accepted: &Accepted<'_>) -> LiveMessage {
        LiveMessage {
            number: accepted.number,
            id: accepted.id,
            style: accepted.style,
            accepted_unix_ms: accepted.accepted_unix_ms,
            expires_unix_ms: accepted.expires_unix_ms,
            customer: self.live.names.id(accepted.customer),
            pdu: self.kept_pdu(accepted.pdu),
            sent: None,
        }
    }

    /// The one sent last counts, and a record that was carried forward may stand behind a newer one.
    fn note_sent(&mut self, message: &mut LiveMessage, sent: &Sent<'_>) {
        if message.sent.as_ref().is_some_and(|known| known.sent_unix_ms > sent.sent_unix_ms) {
            return;
        }
        message.sent = Some(Box::new(self.live_sent(sent)));
    }

    fn live_sent(&mut self, sent: &Sent<'_>) -> LiveSent {
        LiveSent {
            vendor: self.live.names.id(sent.vendor),
            vendor_message_id: sent.vendor_message_id.into(),
            sent_unix_ms: sent.sent_unix_ms,
        }
    }

    fn receipt(&mut self, receipt: &Receipt<'_>) -> Kept {
        let customer = self.live.names.id(receipt.customer);
        let vendor = self.live.names.id(receipt.vendor);
        let kept = LiveReceipt {
            number: receipt.number,
            message: None,
            is_final: receipt.is_final,
            taken_unix_ms: receipt.taken_unix_ms,
            expires_unix_ms: receipt.expires_unix_ms,
            customer,
            vendor,
            pdu: self.kept_pdu(receipt.pdu),
        };
        Kept { receipt: kept, message: receipt.message }
    }

    fn kept_pdu(&self, pdu: &[u8]) -> Box<[u8]> {
        if self.keeps_pdus { pdu.into() } else { Box::default() }
    }

    fn report(&mut self, one: &mut OneLog, file: &str, damage: Damage) {
        one.summary.problems += 1;
        self.live.problem_count += 1;
        if self.live.problems.len() >= PROBLEMS_KEPT_MAX {
            return;
        }
        let Damage { mut offset, mut length, reason } = damage;
        let mut file = file;
        // Batches that are missing in front of a file's first one stood at the end of the file before.
        if let (Reason::Batches(_), Some(last), true) = (reason, &one.last, length == 0 && offset == BLOCK as u64) {
            (file, offset, length) = (&last.file, last.end, last.length.saturating_sub(last.end));
        }
        self.live.problems.push(Problem { log: one.summary.log, file: file.into(), offset, length, reason });
    }

    fn end_log(&mut self) {
        let Some(mut one) = self.log.take() else { return };
        if let Some(doubtful) = one.doubt.take() {
            one.summary.torn_octets += doubtful.doubt.torn;
        }
        let mut messages = one.messages.into_sorted();
        let first = self.live.messages.len();
        let first_receipt = self.live.receipts.len();
        self.live.receipts.extend(one.receipts.into_sorted().into_iter().map(|kept| {
            let place = messages.binary_search_by_key(&kept.message, |message| message.number).ok();
            LiveReceipt { message: place.and_then(|place| u32::try_from(first + place).ok()), ..kept.receipt }
        }));
        one.summary.sent = messages.iter().filter(|message| message.sent.is_some()).count() as u64;
        one.summary.waiting = messages.len() as u64 - one.summary.sent;
        let receipts = &self.live.receipts[first_receipt..];
        one.summary.receipts = receipts.len() as u64;
        let accepted = messages.iter().map(|message| message.accepted_unix_ms);
        one.summary.oldest_unix_ms = accepted.chain(receipts.iter().map(|receipt| receipt.taken_unix_ms)).min();
        self.live.logs.push(one.summary);
        if self.live.messages.is_empty() {
            self.live.messages = messages;
        } else {
            self.live.messages.append(&mut messages);
        }
    }
}

impl OneLog {
    fn new(log: LogName) -> Self {
        let summary = LogSummary {
            log,
            segments: 0,
            unused_segments: 0,
            file_octets: 0,
            octets: 0,
            batches: 0,
            records: Counts::default(),
            waiting: 0,
            sent: 0,
            receipts: 0,
            oldest_unix_ms: None,
            torn_octets: 0,
            problems: 0,
        };
        let (messages, receipts) = (Table::default(), Table::default());
        Self { summary, messages, receipts, sent_before: HashMap::new(), expected: None, doubt: None, last: None }
    }

    /// A receipt has ended, and with a final one its message.
    fn end_receipt(&mut self, delivered: &Delivered) {
        let ended = self.receipts.end(delivered.number);
        let message = match ended {
            Some(kept) if kept.receipt.is_final => kept.message,
            _ => delivered.message,
        };
        if message != 0 {
            self.end_message(message);
        }
    }

    fn end_message(&mut self, number: u64) {
        self.messages.end(number);
        self.sent_before.remove(&number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::one_of_each;
    use super::super::{BATCH_HEADER, BatchWriter, segment_header};
    use super::*;

    const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 0 };

    /// A segment with those batches; each accepts a message and does not end it.
    fn segment(segment: u32, batches: &[u64]) -> Vec<u8> {
        let mut octets = Vec::new();
        segment_header(LOG, segment, 1 << 20, &mut octets);
        let mut writer = BatchWriter::new(LOG);
        for batch in batches {
            let Entry::Accepted(accepted) = one_of_each()[0] else { panic!("the first one is an accepted message") };
            writer.append(&Entry::Accepted(Accepted { number: *batch + 100, ..accepted }));
            writer.finish(segment, *batch, &mut octets);
        }
        octets
    }

    /// File, offset, length, reason.
    type Told = (String, u64, u64, Reason);

    fn replay(segments: &[Vec<u8>]) -> (usize, Vec<Told>, u64) {
        let mut replay = Replay::new();
        for (number, octets) in segments.iter().enumerate() {
            replay.add(LOG, number as u32, &number.to_string(), octets);
        }
        let live = replay.finish();
        let problems = live.problems.into_iter();
        let problems = problems.map(|problem| (problem.file, problem.offset, problem.length, problem.reason));
        (live.messages.len(), problems.collect(), live.logs[0].torn_octets)
    }

    #[test]
    fn a_bad_segment_header_is_told_once_a_later_batch_shows_that_it_was_written() {
        let mut first = segment(0, &[1]);
        first[20] ^= 1;
        assert_eq!(replay(&[first.clone()]), (1, Vec::new(), 0));
        let expected = vec![("0".to_owned(), 0, BLOCK as u64, Reason::SegmentHeader)];
        assert_eq!(replay(&[first, segment(1, &[2])]), (2, expected.clone(), 0));
        let mut only = segment(0, &[1, 2]);
        only[20] ^= 1;
        assert_eq!(replay(&[only]), (2, expected, 0));
    }

    #[test]
    fn a_bad_header_of_a_segments_last_batch_is_told_in_its_own_file() {
        let mut first = segment(0, &[1, 2]);
        first[2 * BLOCK + 5] ^= 1;
        assert_eq!(replay(&[first.clone()]), (2, Vec::new(), 0));
        let expected = vec![("0".to_owned(), 2 * BLOCK as u64, BATCH_HEADER as u64, Reason::BatchHeader)];
        assert_eq!(replay(&[first, segment(1, &[3])]), (3, expected, 0));
    }

    #[test]
    fn a_bad_header_of_the_only_batch_of_the_first_segment_is_told_and_costs_nothing() {
        let mut first = segment(0, &[FIRST_BATCH]);
        first[BLOCK + 19] ^= 1;
        let expected = vec![("0".to_owned(), BLOCK as u64, BATCH_HEADER as u64, Reason::BatchHeader)];
        assert_eq!(replay(&[first, segment(1, &[FIRST_BATCH + 1])]), (2, expected, 0));
    }

    #[test]
    fn batches_missing_at_the_end_of_a_file_are_told_there() {
        let mut first = segment(0, &[1, 2, 3]);
        first[2 * BLOCK..].fill(0);
        let expected = vec![("0".to_owned(), 2 * BLOCK as u64, 2 * BLOCK as u64, Reason::Batches(2))];
        assert_eq!(replay(&[first, segment(1, &[4])]), (2, expected, 0));
    }

    #[test]
    fn octets_in_front_of_the_first_batch_of_a_log_are_told_though_nobody_knows_how_many_it_were() {
        let mut only = segment(3, &[5, 6]);
        only[BLOCK..BLOCK + 100].fill(9);
        let mut replay = Replay::new();
        replay.add(LOG, 3, "3", &only);
        let live = replay.finish();
        let problem = &live.problems[0];
        assert_eq!((live.messages.len(), live.problems.len()), (1, 1));
        assert_eq!((problem.offset, problem.length, problem.reason), (4096, 4096, Reason::Batches(0)));
        let text = problem.to_string();
        assert_eq!(text, "3 at 4096, 4096 octets: octets that belong to no batch");
    }

    #[test]
    fn a_final_receipt_that_was_delivered_ends_its_message() {
        let (entries, mut octets) = (one_of_each(), Vec::new());
        segment_header(LOG, 0, 1 << 20, &mut octets);
        let mut writer = BatchWriter::new(LOG);
        [0, 1, 4].iter().for_each(|index| writer.append(&entries[*index]));
        let mut undelivered = octets.clone();
        writer.finish(0, 1, &mut undelivered);
        [0, 1, 4].iter().for_each(|index| writer.append(&entries[*index]));
        let how = crate::journal::How::Taken;
        writer.append(&Entry::Delivered(Delivered { number: 8, message: 0, how }));
        writer.finish(0, 1, &mut octets);
        assert_eq!((replay(&[undelivered]).0, replay(&[octets]).0), (1, 0));
    }

    #[test]
    fn the_octets_of_a_torn_tail_are_counted_and_its_messages_are_not_live() {
        let mut only = segment(0, &[1, 2]);
        let whole = only[2 * BLOCK + 4];
        only.truncate(2 * BLOCK + BATCH_HEADER + 10);
        assert_eq!(replay(&[only]), (1, Vec::new(), u64::from(whole)));
    }

    #[test]
    fn a_file_cut_short_in_front_of_a_good_batch_is_damage() {
        let mut first = segment(0, &[1, 2]);
        first.truncate(2 * BLOCK + BATCH_HEADER + 10);
        let (live, problems, torn) = replay(&[first, segment(1, &[3])]);
        assert_eq!((live, torn, problems.len()), (2, 0, 2));
        assert_eq!((&*problems[0].0, problems[0].1, problems[0].3), ("0", 8216, Reason::Record));
        assert_eq!((&*problems[1].0, problems[1].1, problems[1].3), ("0", 8226, Reason::CutShort));
    }

    #[test]
    fn logs_have_numbers_of_their_own() {
        let other = LogName { shard: 1, ..LOG };
        let mut octets = Vec::new();
        segment_header(other, 0, 1 << 20, &mut octets);
        let mut writer = BatchWriter::new(other);
        let entries = one_of_each();
        [0, 1, 4].iter().for_each(|index| writer.append(&entries[*index]));
        writer.finish(0, 1, &mut octets);
        let mut replay = Replay::new();
        replay.add(LOG, 0, "a", &segment(0, &[1, 2]));
        replay.add(other, 0, "b", &octets);
        let live = replay.finish();
        let numbers: Vec<_> = live.messages.iter().map(|message| message.number).collect();
        assert_eq!(numbers, [101, 102, 7]);
        assert_eq!(live.receipts[0].message, Some(2));
        assert_eq!(live.name(live.receipts[0].vendor), b"north");
        assert_eq!((live.logs[0].waiting, live.logs[1].sent, live.logs[1].receipts), (2, 1, 1));
    }

    #[test]
    fn problems_beyond_the_bound_are_counted() {
        let batches: Vec<u64> = (1..=PROBLEMS_KEPT_MAX as u64 + 10).collect();
        let mut octets = segment(0, &batches);
        for at in (BLOCK..octets.len() - BLOCK).step_by(BLOCK) {
            octets[at + BATCH_HEADER + 20] ^= 1;
        }
        let mut replay = Replay::new();
        replay.add(LOG, 0, "a", &octets);
        let live = replay.finish();
        assert_eq!(live.problems.len(), PROBLEMS_KEPT_MAX);
        assert_eq!(live.problem_count, batches.len() as u64 - 1);
        assert_eq!(live.messages.len(), 1);
    }
}
