//! Takes one shard through one kind of message a number of times and nothing else, so that callgrind can count the
//! instructions of a step: `callgrind_step OPERATION TIMES`. Without arguments it names the operations.
//! `perf/instructions/count.sh` is what calls it. What the customer and the vendor send is prepared outside the count
//! as far as it can be; the rest (patching sequence numbers) is a few instructions a message.

use smpp_pdu::frame::{SEQUENCE_OFFSET, patch_sequence};
use smpp_pdu::{CommandId, CommandStatus, Deframed, ShortMessage, deframe};
use smpp_shards::Conn;

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Stage, deliver, deliver_resp, message, settings, submit, submit_resp};

const OPERATIONS: [&str; 2] = ["shard_submit_and_answer", "shard_submit_answer_receipt"];

/// Messages of one turn.
const BATCH: u32 = 50;

/// A receipt's text; the id is filled in.
const STAT: &[u8] =
    b"id:00000000 sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000 text:x";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(operation) = arguments.next() else {
        println!("{}", OPERATIONS.join("\n"));
        return;
    };
    let times: u32 = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let receipts = match OPERATIONS.iter().position(|known| *known == operation) {
        Some(place) => place == 1,
        None => {
            eprintln!("no operation is called {operation}");
            std::process::exit(2);
        }
    };
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut peers = Peers::new(receipts);
    for _ in 0..times.div_ceil(BATCH) {
        peers.turn(&mut stage, customer, links[0]);
    }
    let report = stage.shard.report();
    assert_eq!(report.customers[0].submits_ok, u64::from(times.div_ceil(BATCH) * BATCH));
}

/// The customer's and the vendor's octets.
struct Peers {
    submits: Vec<u8>,
    answer: Vec<u8>,
    receipt: Vec<u8>,
    taken: Vec<u8>,
    receipts: bool,
    written: Vec<u8>,
    feed: Vec<u8>,
    dirty: Vec<Conn>,
}

impl Peers {
    fn new(receipts: bool) -> Self {
        let text = [b'x'; 60];
        let one = ShortMessage { registered_delivery: u8::from(receipts), ..message(&text) };
        let submits = (1..=BATCH).flat_map(|sequence| submit(sequence, &one)).collect();
        Self {
            submits,
            answer: submit_resp(1, b"00000000"),
            receipt: deliver(1, &ShortMessage { esm_class: 4, ..message(STAT) }),
            taken: deliver_resp(1, CommandStatus::ESME_ROK),
            receipts,
            written: Vec::new(),
            feed: Vec::new(),
            dirty: Vec::new(),
        }
    }

    fn turn(&mut self, stage: &mut Stage, customer: Conn, link: Conn) {
        stage.shard.received(customer, &self.submits, stage.now, &mut stage.out);
        self.answer_with(stage, link, Kind::Answer);
        stage.shard.received(link, &self.feed, stage.now, &mut stage.out);
        if self.receipts {
            self.number_receipts();
            stage.shard.received(link, &self.feed, stage.now, &mut stage.out);
            self.answer_with(stage, customer, Kind::Taken);
            stage.shard.received(customer, &self.feed, stage.now, &mut stage.out);
            self.take(stage, link);
        } else {
            self.take(stage, customer);
        }
        stage.now.mono = stage.now.mono.after_ms(1);
        stage.shard.tick(stage.now, &mut stage.out);
    }

    fn take(&mut self, stage: &mut Stage, conn: Conn) {
        self.written.clear();
        stage.out.take(conn, &mut self.written);
        stage.out.sent(conn, self.written.len());
        self.dirty.clear();
        stage.out.take_dirty(&mut self.dirty);
    }

    /// Prepares the answers to the requests that the shard has written to a connection.
    fn answer_with(&mut self, stage: &mut Stage, conn: Conn, kind: Kind) {
        self.take(stage, conn);
        self.feed.clear();
        let (wanted, template) = match kind {
            Kind::Answer => (CommandId::SUBMIT_SM, &self.answer),
            Kind::Taken => (CommandId::DELIVER_SM, &self.taken),
        };
        let mut rest = &self.written[..];
        while let Deframed::Pdu { header, pdu } = deframe(rest, 1 << 16) {
            rest = &rest[pdu.len()..];
            if header.command_id == wanted {
                let start = self.feed.len();
                self.feed.extend_from_slice(template);
                patch_sequence(&mut self.feed[start..], header.sequence_number);
                if matches!(kind, Kind::Answer) {
                    let id = &mut self.feed[start + SEQUENCE_OFFSET + 4..];
                    write_hex(id, header.sequence_number);
                }
            }
        }
    }

    /// The receipts of the messages whose answers are in `feed`.
    fn number_receipts(&mut self) {
        let mut receipts = core::mem::take(&mut self.written);
        receipts.clear();
        let mut rest = &self.feed[..];
        while let Deframed::Pdu { header, pdu } = deframe(rest, 1 << 16) {
            rest = &rest[pdu.len()..];
            let start = receipts.len();
            receipts.extend_from_slice(&self.receipt);
            patch_sequence(&mut receipts[start..], header.sequence_number);
            let text = self.receipt.len() - STAT.len() + 3;
            write_hex(&mut receipts[start + text..], header.sequence_number);
        }
        core::mem::swap(&mut self.feed, &mut receipts);
        self.written = receipts;
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Answer,
    Taken,
}

fn write_hex(into: &mut [u8], number: u32) {
    for (place, octet) in into[..8].iter_mut().enumerate() {
        *octet = b"0123456789abcdef"[(number >> (28 - 4 * place) & 0xF) as usize];
    }
}
