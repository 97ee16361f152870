//! Measures a replay: writes a journal of so many live messages, segment after segment into memory, and folds each
//! into a replay as a start would. `replay [--entries N] [--dead N] [--receipts]`: N live messages, so many that are
//! done for each live one, and a receipt for each. Nothing is read from a disk; what is counted is the replay alone.
//!
//! With `--folder DIR` the journal is written below DIR instead, as a gateway would have left it there (`perf/compare/replay.py`
//! starts one on it), and nothing is measured.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smpp_pdu::{Address, CommandId, ShortMessage, encode};
use smpp_shards::journal::{
    Accepted, BatchWriter, Done, Entry, FIRST_BATCH, LogName, NEVER_UNIX_MS, Receipt, Replay, Sent, segment_file,
    segment_header,
};
use smpp_shards::message_id::{IdStyle, MessageId};

/// Octets of a segment, about.
const SEGMENT_BYTES: usize = 64 << 20;

/// Octets of a batch, about: what is committed at a time under load.
const BATCH_BYTES: usize = 256 << 10;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number_of = |name: &str, default: u64| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    let has_receipts = arguments.iter().any(|argument| argument == "--receipts");
    let mut journal = Journal::new(number_of("--dead", 0), has_receipts);
    let entries = number_of("--entries", 1_000_000);
    if let Some(place) = arguments.iter().position(|argument| argument == "--folder") {
        let folder = arguments.get(place + 1).expect("--folder wants a path");
        journal.write_folder(Path::new(folder), entries).expect("the folder can be written to");
        return;
    }
    let before = resident_kib();
    let mut replay = Replay::new();
    let (mut written, mut octets, mut spent, mut writing) = (0, 0, Duration::ZERO, Duration::ZERO);
    while written < entries {
        let begun = Instant::now();
        written += journal.write_segment(entries - written);
        writing += begun.elapsed();
        octets += journal.octets.len();
        let begun = Instant::now();
        replay.add(journal.log, journal.segment, &segment_file(0, journal.segment), &journal.octets);
        spent += begun.elapsed();
        journal.segment += 1;
    }
    let begun = Instant::now();
    let live = replay.finish();
    spent += begun.elapsed();
    assert_eq!((live.messages.len() as u64, live.problem_count), (entries, 0));
    let records = live.logs[0].records;
    let all = records.accepted + records.sent + records.done + records.receipts;
    let seconds = spent.as_secs_f64();
    println!("{entries} live messages, {all} records, {} MiB, {} segments", octets >> 20, live.logs[0].segments);
    println!("written in {:.2} s, {:.0} ns a record", writing.as_secs_f64(), writing.as_nanos() as f64 / all as f64);
    println!("replayed in {seconds:.2} s, {:.0} ns a record", spent.as_nanos() as f64 / all as f64);
    println!("{:.0} MiB/s", octets as f64 / f64::from(1 << 20) / seconds);
    if let Some((before, after)) = before.zip(resident_kib()) {
        let kept = (after.saturating_sub(before) << 10).saturating_sub(journal.octets.capacity() as u64);
        let pdus = live.messages.iter().map(|message| message.pdu.len());
        let pdus: usize = pdus.chain(live.receipts.iter().map(|receipt| receipt.pdu.len())).sum();
        let all = (live.messages.len() + live.receipts.len()) as u64;
        println!("{} octets of memory a live entry, its PDU of {} included", kept / all, pdus as u64 / all);
    }
}

/// A log in the writing, one segment at a time.
struct Journal {
    log: LogName,
    segment: u32,
    batch: u64,
    number: u64,
    dead: u64,
    has_receipts: bool,
    pdu: Vec<u8>,
    writer: BatchWriter,
    octets: Vec<u8>,
}

impl Journal {
    fn new(dead: u64, has_receipts: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let log = LogName { start: now as u64, shard: 0 };
        let mut pdu = Vec::new();
        let message = ShortMessage {
            source: Address { ton: 5, npi: 0, addr: b"Example" },
            dest: Address { ton: 1, npi: 1, addr: b"447700900123" },
            registered_delivery: 1,
            short_message: &[b'x'; 100],
            ..ShortMessage::default()
        };
        encode::short_message(&mut pdu, CommandId::SUBMIT_SM, 1, &message);
        let (writer, octets) = (BatchWriter::new(log), Vec::with_capacity(SEGMENT_BYTES + BATCH_BYTES));
        Self { log, segment: 0, batch: FIRST_BATCH, number: 0, dead, has_receipts, pdu, writer, octets }
    }

    /// Writes so many live messages as a complete start's folder.
    fn write_folder(&mut self, folder: &Path, entries: u64) -> io::Result<()> {
        let start = folder.join("journal").join(format!("{:013}", self.log.start));
        fs::create_dir_all(&start)?;
        let mut written = 0;
        while written < entries {
            written += self.write_segment(entries - written);
            fs::write(start.join(segment_file(0, self.segment)), &self.octets)?;
            self.segment += 1;
        }
        Ok(())
    }

    /// Writes a segment with so many live messages at the most; gives how many.
    fn write_segment(&mut self, live_max: u64) -> u64 {
        self.octets.clear();
        segment_header(self.log, self.segment, SEGMENT_BYTES as u64, &mut self.octets);
        let mut live = 0;
        while live < live_max && self.octets.len() < SEGMENT_BYTES {
            while live < live_max && self.writer.len() < BATCH_BYTES {
                for _ in 0..self.dead {
                    self.write_message();
                    self.writer.append(&Entry::Done(Done { number: self.number, state: None }));
                }
                self.write_message();
                live += 1;
            }
            self.writer.finish(self.segment, self.batch, &mut self.octets);
            self.batch += 1;
        }
        live
    }

    fn write_message(&mut self) {
        self.number += 1;
        let number = self.number;
        self.writer.append(&Entry::Accepted(Accepted {
            number,
            id: MessageId(u128::from(self.log.start) << 80 | u128::from(number)),
            style: IdStyle::Uuid,
            accepted_unix_ms: self.log.start + number / 100,
            expires_unix_ms: self.log.start + 48 * 3_600_000,
            customer: CUSTOMERS[number as usize % CUSTOMERS.len()],
            pdu: &self.pdu,
        }));
        self.writer.append(&Entry::Sent(Sent {
            number,
            sent_unix_ms: self.log.start + number / 100 + 100,
            vendor: b"north",
            vendor_message_id: &hexadecimal(number),
        }));
        if self.has_receipts {
            self.writer.append(&Entry::Receipt(Receipt {
                number,
                message: number,
                is_final: true,
                taken_unix_ms: self.log.start,
                expires_unix_ms: NEVER_UNIX_MS,
                customer: CUSTOMERS[number as usize % CUSTOMERS.len()],
                vendor: b"north",
                pdu: &self.pdu,
            }));
        }
    }
}

/// As vendors like to write their ids.
fn hexadecimal(number: u64) -> [u8; 16] {
    core::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15])
}

const CUSTOMERS: [&[u8]; 3] = [b"acme", b"example", b"a-longer-name"];

/// Memory of this process that is in use, where the system tells it.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
}
