//! Logs to be checked, and what must be live in them.
//!
//! A script of octets is turned into a log: what was accepted, sent, done, taken and delivered, where batches and
//! segments end, and when live entries are carried forward. A model of a few lines says what must be live.

use std::collections::{BTreeMap, BTreeSet};

use smpp_pdu::MessageState;
use smpp_shards::journal::{
    Accepted, BLOCK, BatchWriter, Delivered, Done, Entry, How, Live, LogName, Receipt, Replay, Sent, reseal,
    segment_file, segment_header,
};
use smpp_shards::message_id::{IdStyle, MessageId};

/// The log that is checked.
pub(super) const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 1 };

const CUSTOMERS: [&[u8]; 3] = [b"acme", b"", b"example"];
const VENDORS: [&[u8]; 2] = [b"north", b"south"];

/// What a record says, its texts made of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Accepted(u64),
    Sent(u64, u64),
    Done(u64),
    Receipt(u64, u64, bool),
    Delivered(u64, u64),
}

impl Operation {
    pub(super) fn with_entry<R>(self, use_it: impl FnOnce(&Entry<'_>) -> R) -> R {
        match self {
            Self::Accepted(number) => use_it(&Entry::Accepted(Accepted {
                number,
                id: MessageId(u128::from(number) << 64 | 7),
                style: IdStyle::from_octet((number % 4) as u8),
                accepted_unix_ms: LOG.start + number,
                expires_unix_ms: LOG.start + 2 * number,
                customer: CUSTOMERS[number as usize % 3],
                pdu: &pdu(number),
            })),
            Self::Sent(number, at) => {
                let id = format!("{at:x}");
                let vendor = VENDORS[at as usize % 2];
                use_it(&Entry::Sent(Sent { number, sent_unix_ms: at, vendor, vendor_message_id: id.as_bytes() }))
            }
            Self::Done(number) => {
                let state = if number.is_multiple_of(2) { None } else { Some(MessageState::Undeliverable) };
                use_it(&Entry::Done(Done { number, state }))
            }
            Self::Receipt(number, message, is_final) => use_it(&Entry::Receipt(Receipt {
                number,
                message,
                is_final,
                taken_unix_ms: LOG.start + number,
                expires_unix_ms: u64::MAX,
                customer: CUSTOMERS[number as usize % 3],
                vendor: VENDORS[number as usize % 2],
                pdu: &pdu(number),
            })),
            Self::Delivered(number, message) => {
                let how = [How::Taken, How::Expired, How::Refused][number as usize % 3];
                use_it(&Entry::Delivered(Delivered { number, message, how }))
            }
        }
    }
}

/// Short ones mostly, some of several blocks.
fn pdu(number: u64) -> Vec<u8> {
    let length = number.wrapping_mul(7919) % if number.is_multiple_of(7) { 9_000 } else { 300 };
    (0..length).map(|at| (at ^ number) as u8).collect()
}

/// Where a record or batch stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) segment: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Of the batch.
    pub(super) number: u64,
}

impl Place {
    pub(super) fn has(&self, at: usize) -> bool {
        (self.start..self.end).contains(&at)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) operation: Operation,
    pub(super) segment: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Written {
    pub(super) fn has(&self, at: usize) -> bool {
        (self.start..self.end).contains(&at)
    }
}

/// A log as it was written.
#[derive(Clone, Debug)]
pub(super) struct Log {
    pub(super) segments: Vec<Vec<u8>>,
    pub(super) batches: Vec<Place>,
    pub(super) records: Vec<Written>,
    pub(super) first_segment: u32,
}

impl Log {
    pub(super) fn write(script: &[u8]) -> Self {
        Self::write_as(script, LOG, 0, 1)
    }

    pub(super) fn write_as(script: &[u8], name: LogName, first_segment: u32, first_batch: u64) -> Self {
        let mut writer = Writer::new(name, first_batch, first_segment);
        let (mut live, mut receipts) = (Vec::new(), Vec::new());
        let (mut number, mut sent) = (0, BTreeMap::new());
        for octet in script {
            let pick = usize::from(octet / 16);
            let picked = (!live.is_empty()).then(|| live[pick % live.len().max(1)]);
            number += 1;
            match (octet % 16, picked) {
                (0..=4, _) => {
                    live.push(number);
                    writer.append(Operation::Accepted(number));
                }
                (5 | 6, Some(message)) => {
                    sent.insert(message, number);
                    writer.append(Operation::Sent(message, number));
                }
                (7 | 8, Some(message)) => {
                    live.retain(|other| *other != message);
                    writer.append(Operation::Done(message));
                }
                (9, _) | (10, None) => {
                    receipts.push((number, 0, false));
                    writer.append(Operation::Receipt(number, 0, false));
                }
                (10, Some(message)) => {
                    receipts.push((number, message, octet & 16 == 0));
                    writer.append(Operation::Receipt(number, message, octet & 16 == 0));
                }
                (11, _) if !receipts.is_empty() => {
                    let (receipt, message, is_final) = receipts.remove(pick % receipts.len());
                    let ends = if is_final { message } else { 0 };
                    live.retain(|other| *other != ends);
                    writer.append(Operation::Delivered(receipt, ends));
                }
                (14, _) => writer.end_segment(),
                (15, _) => {
                    writer.end_segment();
                    for message in &live {
                        writer.append(Operation::Accepted(*message));
                        sent.get(message).iter().for_each(|at| writer.append(Operation::Sent(*message, **at)));
                    }
                    for (receipt, message, is_final) in receipts.iter().filter(|_| octet & 16 == 0) {
                        writer.append(Operation::Receipt(*receipt, *message, *is_final));
                    }
                }
                _ => writer.end_batch(),
            }
        }
        writer.finish()
    }

    pub(super) fn model(&self) -> Model {
        Model::of(self.records.iter().map(|record| record.operation))
    }

    /// The last segment from which on everything that is live still stands somewhere, so that those before may go.
    pub(super) fn free_below(&self) -> usize {
        let last: BTreeMap<_, _> = self.records.iter().map(|record| (record.operation, record.segment)).collect();
        let model = self.model();
        let messages = model.messages.iter().flat_map(|(number, sent)| {
            [Some(Operation::Accepted(*number)), sent.map(|at| Operation::Sent(*number, at))].into_iter().flatten()
        });
        let receipts = model.receipts.iter();
        let receipts = receipts.map(|(number, (message, is_final))| Operation::Receipt(*number, *message, *is_final));
        let places = messages.chain(receipts).map(|operation| last[&operation]);
        places.min().unwrap_or(self.segments.len().saturating_sub(1))
    }

    pub(super) fn replay(&self) -> Live {
        replay(&self.segments, 0)
    }

    pub(super) fn replay_from(&self, first: usize) -> Live {
        replay(&self.segments, first)
    }

    /// The octet that so large a number names, over all segments.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let mut at = at % self.segments.iter().map(Vec::len).sum::<usize>();
        for (segment, octets) in self.segments.iter().enumerate() {
            match at.checked_sub(octets.len()) {
                None => return (segment, at),
                Some(rest) => at = rest,
            }
        }
        unreachable!("it is one of their octets");
    }

    /// The last segment as if the very same records had stood in it when it was another one.
    pub(super) fn older_use(&self) -> Vec<u8> {
        let last = self.segments.len() - 1;
        let mut octets = self.segments[last].clone();
        for batch in self.batches.iter().filter(|batch| batch.segment == last) {
            reseal(LOG, last as u32 + 1_000, batch.number + 1_000, &mut octets[batch.start..batch.end]);
        }
        octets
    }

    /// All records of earlier segments are there, and those of the last one whose octets are good, and no complaint.
    pub(super) fn check_prefix(&self, good: usize, what: &str) {
        let last = self.segments.len() - 1;
        let kept = self.records.iter().filter(|record| record.segment < last || record.end <= good);
        let live = self.replay();
        assert_eq!(live.problem_count, 0, "{what}: {:?}", live.problems);
        assert_eq!(seen(&live), Model::of(kept.map(|record| record.operation)).seen(), "{what}");
    }
}

pub(super) fn replay(segments: &[Vec<u8>], first: usize) -> Live {
    let mut replay = Replay::new();
    for (segment, octets) in segments.iter().enumerate().skip(first) {
        replay.add(LOG, segment as u32, &segment_file(LOG.shard, segment as u32), octets);
    }
    replay.finish()
}

/// Writes a log.
pub(super) struct Writer {
    name: LogName,
    log: Log,
    batch: BatchWriter,
    number: u64,
    open: Vec<(Operation, usize, usize)>,
    is_new: bool,
}

impl Writer {
    pub(super) fn new(name: LogName, first_batch: u64, first_segment: u32) -> Self {
        let (segments, batches, records) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            name,
            log: Log { segments, batches, records, first_segment },
            batch: BatchWriter::new(name),
            number: first_batch,
            open: Vec::new(),
            is_new: true,
        }
    }

    pub(super) fn append(&mut self, operation: Operation) {
        let start = self.batch.len();
        operation.with_entry(|entry| self.batch.append(entry));
        self.open.push((operation, start, self.batch.len()));
    }

    fn end_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if core::mem::take(&mut self.is_new) {
            let mut header = Vec::new();
            let number = self.log.first_segment + self.log.segments.len() as u32;
            segment_header(self.name, number, 1 << 20, &mut header);
            self.log.segments.push(header);
        }
        let segment = self.log.segments.len() - 1;
        let octets = &mut self.log.segments[segment];
        let (start, number) = (octets.len(), self.number);
        assert_eq!(start % BLOCK, 0);
        self.batch.finish(self.log.first_segment + segment as u32, number, octets);
        self.log.batches.push(Place { segment, start, end: octets.len(), number });
        for (operation, from, to) in self.open.drain(..) {
            self.log.records.push(Written { operation, segment, start: start + from, end: start + to });
        }
        self.number += 1;
    }

    fn end_segment(&mut self) {
        self.end_batch();
        self.is_new = true;
    }

    pub(super) fn finish(mut self) -> Log {
        self.end_batch();
        self.log
    }
}

/// What is live, by the rules, in the plainest way.
#[derive(Debug, Default)]
pub(super) struct Model {
    messages: BTreeMap<u64, Option<u64>>,
    receipts: BTreeMap<u64, (u64, bool)>,
    ended_messages: BTreeSet<u64>,
    ended_receipts: BTreeSet<u64>,
}

/// What is live: number, customer, PDU and vendor's id of messages; number, message, PDU of receipts.
pub(super) type Seen = (Vec<(u64, Vec<u8>, Vec<u8>, Option<Vec<u8>>)>, Vec<(u64, Option<u64>, Vec<u8>)>);

impl Model {
    pub(super) fn of(operations: impl Iterator<Item = Operation>) -> Self {
        let mut model = Self::default();
        operations.for_each(|operation| model.apply(operation));
        model
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Accepted(number) if !self.ended_messages.contains(&number) => {
                self.messages.entry(number).or_default();
            }
            Operation::Receipt(number, message, is_final) if !self.ended_receipts.contains(&number) => {
                self.receipts.insert(number, (message, is_final));
            }
            Operation::Accepted(_) | Operation::Receipt(..) => {}
            Operation::Sent(number, at) => {
                if let Some(sent) = self.messages.get_mut(&number) {
                    *sent = (*sent).max(Some(at));
                }
            }
            Operation::Done(number) => self.end(number),
            Operation::Delivered(number, message) => {
                self.ended_receipts.insert(number);
                self.receipts.remove(&number);
                self.end(message);
            }
        }
    }

    fn end(&mut self, message: u64) {
        self.ended_messages.insert(message);
        self.messages.remove(&message);
    }

    pub(super) fn seen(&self) -> Seen {
        let messages = self.messages.iter().map(|(number, sent)| {
            let id = sent.map(|at| format!("{at:x}").into_bytes());
            (*number, CUSTOMERS[*number as usize % 3].to_vec(), pdu(*number), id)
        });
        let receipts = self.receipts.iter().map(|(number, (message, _))| {
            (*number, Some(*message).filter(|message| self.messages.contains_key(message)), pdu(*number))
        });
        (messages.collect(), receipts.collect())
    }
}

pub(super) fn seen(live: &Live) -> Seen {
    let messages = live.messages.iter().map(|message| {
        let id = message.sent.as_ref().map(|sent| sent.vendor_message_id.to_vec());
        (message.number, live.name(message.customer).to_vec(), message.pdu.to_vec(), id)
    });
    let receipts = live.receipts.iter().map(|receipt| {
        let message = receipt.message.map(|index| live.messages[index as usize].number);
        (receipt.number, message, receipt.pdu.to_vec())
    });
    (messages.collect(), receipts.collect())
}
