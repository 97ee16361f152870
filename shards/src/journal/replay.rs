//! Replay: folds the segments of any number of logs into what is still live in them.
//!
//! Runs on the starting thread (or the operator's command) before there is a shard. It is given one file's octets at a
//! time and keeps none of them but the live entries; it never decides what becomes of those.

use core::fmt;

use super::live::{Live, LiveMessage, LiveReceipt, LiveSent, Table};
use super::record::{Accepted, Delivered, Done, Entry, Receipt, Sent};
use super::segment::{Damage, Doubt, Reason, SegmentReader, Step};
use super::{BLOCK, LogName};

/// Problems that are kept with their places; beyond it they are only counted.
pub const PROBLEMS_KEPT_MAX: usize = 1_000;

/// Octets of a journal that are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Of which log.
    pub log: LogName,
    /// The file, as it was named to the replay.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// How many octets are of no use.
    pub length: u64,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, {} octets: {}", self.file, self.offset, self.length, self.reason)
    }
}

/// Good records by kind, those written again included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages accepted.
    pub accepted: u64,
    /// Sent to a vendor.
    pub sent: u64,
    /// Done.
    pub done: u64,
    /// Receipts and MO taken.
    pub receipts: u64,
    /// Receipts and MO that ended.
    pub delivered: u64,
}

/// What one log held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// Which.
    pub log: LogName,
    /// Files with batches in them.
    pub segments: u64,
    /// Files that were made and never written, or not since their last use.
    pub unused_segments: u64,
    /// Octets of all files.
    pub file_octets: u64,
    /// Octets of them up to the end of the last batch of each.
    pub octets: u64,
    /// Batches.
    pub batches: u64,
    /// Good records.
    pub records: Counts,
    /// Live messages that no vendor has.
    pub waiting: u64,
    /// Live messages that a vendor has.
    pub sent: u64,
    /// Live receipts and MO.
    pub receipts: u64,
    /// When the oldest live message was accepted, or receipt taken.
    pub oldest_unix_ms: Option<u64>,
    /// Octets that were cut off at the end: a write that was never acknowledged.
    pub torn_octets: u64,
    /// Damage.
    pub problems: u64,
}

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
        let mut reader = SegmentReader::new(log, segment, octets, one.expected, false);
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
            }
            Entry::Sent(sent) => {
                records.sent += 1;
                if let Some(message) = one.messages.get_mut(sent.number) {
                    self.note_sent(message, sent);
                }
            }
            Entry::Done(Done { number, .. }) => {
                records.done += 1;
                one.messages.end(*number);
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
        message.sent = Some(Box::new(LiveSent {
            vendor: self.live.names.id(sent.vendor),
            vendor_message_id: sent.vendor_message_id.into(),
            sent_unix_ms: sent.sent_unix_ms,
        }));
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
        Self { summary, messages, receipts, expected: None, doubt: None, last: None }
    }

    /// A receipt has ended, and with a final one its message.
    fn end_receipt(&mut self, delivered: &Delivered) {
        let ended = self.receipts.end(delivered.number);
        let message = match ended {
            Some(kept) if kept.receipt.is_final => kept.message,
            _ => delivered.message,
        };
        if message != 0 {
            self.messages.end(message);
        }
    }
}
