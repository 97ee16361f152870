//! Damage in the middle of a log, between a crash and the start that follows: one octet of one record is another one. It is
//! reported with its place, and costs that record alone. Single thread; part of the disk.

use std::collections::BTreeMap;

use smpp_shards::journal::{Entry, Live, LogName, Reason, Replay, SegmentReader, Step, segment_file};

use crate::disk::Disk;
use crate::random::Stream;

/// Octets at the front of a record: checksum, length, kind and number. None is shorter.
const FRONT: u64 = 14;

/// What damage may cost.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// The submit_sm of the message that the record is about, where anything of it is known.
    pub message: Option<Vec<u8>>,
    /// The deliver_sm of the receipt or MO that the record is about, likewise.
    pub receipt: Option<Vec<u8>>,
    /// What must not be and is; a sentence.
    pub objection: Option<String>,
}

/// Numbers of a log that a record is about.
#[derive(Clone, Copy, Debug)]
struct Subject {
    message: Option<u64>,
    receipt: Option<u64>,
}

impl Disk {
    /// Turns one bit of one record that is not in the last batch of its log; `None` where there is no such record.
    pub(crate) fn damage(&mut self, random: &mut Stream) -> Option<Cost> {
        let records = self.records();
        if records.is_empty() {
            return None;
        }
        let (log, segment, offset, subject) = *random.pick(&records);
        let before = self.replayed_log(log);
        let at = offset + random.below(FRONT);
        self.flip(log, segment, at as usize, 1 << random.below(8));
        let after = self.replayed_log(log);
        let pdu_of = |live: &Live, number: Option<u64>| {
            live.messages.iter().find(|message| Some(message.number) == number).map(|message| message.pdu.to_vec())
        };
        let receipt_of = |live: &Live, number: Option<u64>| {
            live.receipts.iter().find(|receipt| Some(receipt.number) == number).map(|receipt| receipt.pdu.to_vec())
        };
        Some(Cost {
            message: pdu_of(&before, subject.message).or_else(|| pdu_of(&after, subject.message)),
            receipt: receipt_of(&before, subject.receipt).or_else(|| receipt_of(&after, subject.receipt)),
            objection: objection(&before, &after, subject, (segment, offset)),
        })
    }

    /// Every record that is surely on the disk, and behind which a whole batch of its log stands.
    fn records(&self) -> Vec<(LogName, u32, u64, Subject)> {
        let mut found = Vec::new();
        for ((log, segment), octets) in self.complete_files() {
            let mut reader = SegmentReader::new(log, segment, octets, None, true);
            while let Some(step) = reader.step(octets) {
                if let Step::Entry { offset, entry } = step
                    && self.is_in_the_middle(log, segment, offset)
                {
                    found.push((log, segment, offset, subject(&entry)));
                }
            }
        }
        found
    }

    fn replayed_log(&self, log: LogName) -> Live {
        let mut replay = Replay::new();
        for ((of, segment), octets) in self.complete_files().filter(|((of, _), _)| *of == log) {
            replay.add(of, segment, &segment_file(of.shard, segment), octets);
        }
        replay.finish()
    }
}

fn subject(entry: &Entry<'_>) -> Subject {
    let some = |number: u64| (number != 0).then_some(number);
    let (message, receipt) = match entry {
        Entry::Accepted(accepted) => (accepted.number, 0),
        Entry::Sent(sent) => (sent.number, 0),
        Entry::Done(done) => (done.number, 0),
        Entry::Receipt(receipt) => (receipt.message, receipt.number),
        Entry::Delivered(delivered) => (delivered.message, delivered.number),
    };
    Subject { message: some(message), receipt: some(receipt) }
}

/// What is wrong with how the damage was taken; `None` when nothing is.
fn objection(before: &Live, after: &Live, subject: Subject, place: (u32, u64)) -> Option<String> {
    let told = after.problems.iter().filter(|problem| !before.problems.contains(problem)).collect::<Vec<_>>();
    let is_told = |told: &&smpp_shards::journal::Problem| {
        let file = segment_file(told.log.shard, place.0);
        told.reason == Reason::Record && told.file == file && told.offset == place.1
    };
    if told.len() != 1 || !told.iter().all(is_told) {
        return Some(format!("a damaged record at {place:?} is told as {told:?}"));
    }
    if before.logs.first().map(|log| log.torn_octets) != after.logs.first().map(|log| log.torn_octets) {
        return Some(format!("a damaged record at {place:?} changes what counts as torn"));
    }
    let messages = |live: &Live| -> BTreeMap<u64, (u128, bool)> {
        live.messages.iter().map(|message| (message.number, (message.id.0, message.sent.is_some()))).collect()
    };
    let receipts = |live: &Live| -> BTreeMap<u64, Vec<u8>> {
        live.receipts.iter().map(|receipt| (receipt.number, receipt.pdu.to_vec())).collect()
    };
    let others = differing(&messages(before), &messages(after), subject.message);
    let other_receipts = differing(&receipts(before), &receipts(after), subject.receipt);
    (!others.is_empty() || !other_receipts.is_empty()).then(|| {
        format!(
            "the damaged record of {subject:?} at {place:?} costs messages {others:?} and receipts {other_receipts:?}"
        )
    })
}

/// The numbers, but for that one, under which there is not the same in both.
fn differing<T: PartialEq>(before: &BTreeMap<u64, T>, after: &BTreeMap<u64, T>, but: Option<u64>) -> Vec<u64> {
    let mut numbers: Vec<u64> = before.keys().chain(after.keys()).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.retain(|number| Some(*number) != but && before.get(number) != after.get(number));
    numbers
}
