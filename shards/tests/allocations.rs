//! Once warm, a message costs no allocation: submit, vendor's answer, receipt and its answer, counted by the allocator.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use common::*;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::Conn;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[allow(unsafe_code, reason = "counting allocations needs an allocator")]
// SAFETY: every call goes on to the system's allocator unchanged; counting touches a thread-local `Cell` alone.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The octets of many turns, prepared beforehand, so that only the shard's own work is counted.
struct Traffic {
    submits: Vec<u8>,
    buffer: Vec<u8>,
    answers: Vec<u8>,
    dirty: Vec<Conn>,
    receipts: bool,
    ids: u64,
}

impl Traffic {
    /// One turn: a window of submits, their answers, their receipts, and the answers to those.
    fn turn(&mut self, stage: &mut Stage, customer: Conn, link: Conn) {
        let submits = std::mem::take(&mut self.submits);
        self.count(stage, customer, &submits);
        self.submits = submits;
        self.take(stage, link);
        self.answers.clear();
        let mut rest = &self.buffer[..];
        let mut receipts = Vec::new();
        while let smpp_pdu::Deframed::Pdu { header, pdu } = smpp_pdu::deframe(rest, 1 << 16) {
            rest = &rest[pdu.len()..];
            self.ids += 1;
            let id = format!("{:x}", self.ids);
            self.answers.extend(submit_resp(header.sequence_number, id.as_bytes()));
            if self.receipts {
                let text = format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 stat:DELIVRD err:000 text:x");
                let receipt = ShortMessage { esm_class: 4, ..message(text.as_bytes()) };
                receipts.extend(deliver(header.sequence_number, &receipt));
            }
        }
        let answers = std::mem::take(&mut self.answers);
        self.count(stage, link, &answers);
        self.answers = answers;
        self.take(stage, customer);
        self.count(stage, link, &receipts);
        self.take(stage, customer);
        let mut taken = Vec::new();
        let mut rest = &self.buffer[..];
        while let smpp_pdu::Deframed::Pdu { header, pdu } = smpp_pdu::deframe(rest, 1 << 16) {
            rest = &rest[pdu.len()..];
            if header.command_id == CommandId::DELIVER_SM {
                taken.extend(deliver_resp(header.sequence_number, CommandStatus::ESME_ROK));
            }
        }
        self.count(stage, customer, &taken);
        self.take(stage, link);
        stage.now.mono = stage.now.mono.after_ms(1);
        stage.shard.tick(stage.now, &mut stage.out);
    }

    /// Feeds with the counter on; everything else in a turn is the test's own doing.
    fn count(&mut self, stage: &mut Stage, conn: Conn, bytes: &[u8]) {
        let before = ALLOCATIONS.with(Cell::get);
        stage.feed(conn, bytes);
        COUNTED.with(|counted| counted.set(counted.get() + ALLOCATIONS.with(Cell::get) - before));
    }

    fn take(&mut self, stage: &mut Stage, conn: Conn) {
        self.buffer.clear();
        stage.out.take(conn, &mut self.buffer);
        stage.out.sent(conn, self.buffer.len());
        self.dirty.clear();
        stage.out.take_dirty(&mut self.dirty);
    }
}

thread_local! {
    static COUNTED: Cell<u64> = const { Cell::new(0) };
}

fn allocations_of_warm_turns(receipts: bool, has_store: bool) -> u64 {
    let mut settings = settings();
    settings.gateway.deliver_window = 200;
    let (mut stage, mut store) = match has_store {
        true => {
            let (stage, end) = Stage::with_store(settings, None);
            (stage, Some(end))
        }
        false => (Stage::new(settings), None),
    };
    let links = stage.bind_links();
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let text = [b'x'; 60];
    let one = ShortMessage { registered_delivery: u8::from(receipts), ..message(&text) };
    let submits = (1..=100).flat_map(|sequence| submit(sequence, &one)).collect();
    let mut traffic = Traffic { submits, buffer: Vec::new(), answers: Vec::new(), dirty: Vec::new(), receipts, ids: 0 };
    let mut noted = 0;
    for turn in 0..250 {
        if turn == 50 {
            COUNTED.with(|counted| counted.set(0));
        }
        traffic.turn(&mut stage, customer, links[0]);
        stage.shard.flush_store();
        if let Some(end) = &mut store {
            end.take(usize::MAX, |_| noted += 1);
        }
    }
    assert_eq!(
        noted,
        if !has_store {
            0
        } else if receipts {
            50_000
        } else {
            25_000
        }
    );
    let report = stage.shard.report();
    assert_eq!(report.customers[0].submits_ok, 25_000);
    assert_eq!(report.customers[0].delivered, if receipts { 25_000 } else { 0 });
    COUNTED.with(Cell::get)
}

#[test]
fn a_warm_shard_allocates_nothing_for_a_message() {
    assert_eq!(allocations_of_warm_turns(false, false), 0);
}

#[test]
fn a_warm_shard_allocates_nothing_for_a_receipt() {
    assert_eq!(allocations_of_warm_turns(true, false), 0);
}

#[test]
fn a_warm_shard_with_a_message_store_allocates_nothing_either() {
    assert_eq!(allocations_of_warm_turns(true, true), 0);
}
