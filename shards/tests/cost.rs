//! What messages cost: counted once, when a vendor has taken all of a message, at the rate of the rule that brought it
//! there.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use std::sync::Arc;

use common::*;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::feed::{FeedRecord, Happening, feed};
use smpp_shards::journal::{LogName, Replay};
use smpp_shards::restore::{Restored, share};
use smpp_shards::routing::Patterns;
use smpp_shards::settings::{LongMessages, RuleSettings};
use smpp_shards::{
    Amount, Command, Conn, CustomerId, FeedEnd, JournalSetup, Settings, ShardId, ShardSetup, Snapshot, mesh,
};

const OK: CommandStatus = CommandStatus::ESME_ROK;
const FOR_NOW: CommandStatus = CommandStatus::ESME_RSYSERR;
const FOR_GOOD: CommandStatus = CommandStatus::ESME_RINVDSTADR;
const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 0 };

/// Millionths that the rules to the first and to the second vendor ask.
const FIRST: u64 = 7_500;
const SECOND: u64 = 20_000;

fn priced(vendor: &str, priority: i32, millionths: u64) -> RuleSettings {
    RuleSettings { priority, rate_per_msg: Some(Amount::of_millionths(millionths)), ..rule("^1.*", vendor) }
}

/// Two vendors, each at its own rate.
fn settings_at(first: u64, second: u64) -> Settings {
    let mut settings = settings();
    settings.vendors.push(vendor("south"));
    settings.routing_rules = vec![priced("north", 1, first), priced("south", 2, second)];
    settings
}

fn journal(start: u64) -> JournalSetup {
    let log = LogName { start, ..LOG };
    JournalSetup { log, segment_bytes: 8 << 20, bytes_max: 64 << 20, commit_wait_us: 0 }
}

/// A shard, its vendors and a customer.
struct Costly {
    stage: Stage,
    links: Vec<Conn>,
    customer: Conn,
    disk: Vec<u8>,
}

impl Costly {
    fn new(settings: Settings) -> Self {
        Self::of(Stage::new(settings))
    }

    fn journaled(settings: Settings, start: u64, restored: Restored) -> Self {
        Self::of(Stage::with_journal(settings, Some(journal(start)), restored))
    }

    fn of(mut stage: Stage) -> Self {
        let links = stage.bind_links();
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        Self { stage, links, customer, disk: Vec::new() }
    }

    /// What the customer's messages cost so far, in millionths.
    fn cost(&self) -> u64 {
        self.stage.shard.report().customers[0].cost.millionths()
    }

    fn submits(&mut self, message: &ShortMessage<'_>) {
        self.stage.feed(self.customer, &submit(5, message));
    }

    /// The vendor answers everything that it has got since the last look; how much that was.
    fn answers(&mut self, vendor: usize, status: CommandStatus) -> usize {
        let got = self.stage.pdus(self.links[vendor]);
        for pdu in &got {
            let answer = match status {
                OK => submit_resp(pdu.sequence, b"id"),
                refusal => answer(CommandId::SUBMIT_SM_RESP, refusal, pdu.sequence),
            };
            self.stage.feed(self.links[vendor], &answer);
        }
        got.len()
    }

    /// What the next process finds in the journal.
    fn restored(&self, settings: &Settings) -> Restored {
        let mut replay = Replay::new();
        replay.add(LOG, 0, "disk", &self.disk);
        let snapshot = Snapshot::build(settings.clone(), 1, 1).unwrap();
        share(replay.finish(), &snapshot, 1).unwrap().shards.remove(0)
    }

    /// Lets the shard take over what it has found.
    fn take_over(&mut self) {
        self.stage.pass_ms(5);
        self.commit();
        self.stage.pass_ms(5);
    }

    fn apply(&mut self, settings: Settings) {
        let next = self.stage.shard.snapshot().succeed(settings, &mut Patterns::default()).unwrap();
        self.stage.shard.apply(Arc::new(next), &mut self.stage.out);
        self.stage.pass_ms(50);
    }

    /// The first vendor's final receipt for the message that it calls `id`.
    fn receipt(&mut self) {
        let text = b"id:id sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000";
        self.stage.feed(self.links[0], &deliver(9, &ShortMessage { esm_class: 4, ..message(text) }));
    }

    fn commit(&mut self) {
        while let Some(mut batch) = self.stage.shard.take_batch(self.stage.now) {
            self.disk.extend_from_slice(batch.seal());
            self.stage.shard.batch_written(batch, self.stage.now, &mut self.stage.out);
        }
    }
}

#[test]
fn a_message_costs_its_rule_s_rate_when_the_vendor_takes_it_and_nothing_when_it_refuses() {
    let mut costly = Costly::new(settings_at(FIRST, SECOND));
    costly.submits(&message(b"hello"));
    assert_eq!(costly.cost(), 0, "no vendor has said that it takes it");
    costly.answers(0, OK);
    assert_eq!(costly.cost(), FIRST);
    costly.submits(&message(b"hello"));
    costly.answers(0, FOR_GOOD);
    assert_eq!(costly.cost(), FIRST);
    let counters = &costly.stage.shard.report().customers[0];
    assert_eq!((counters.submits_ok, counters.submits_failed), (1, 1));
}

#[test]
fn a_rule_without_a_rate_costs_nothing() {
    let mut costly = Costly::new(settings());
    costly.submits(&message(b"hello"));
    costly.answers(0, OK);
    assert_eq!((costly.cost(), costly.stage.shard.report().customers[0].submits_ok), (0, 1));
}

#[test]
fn after_a_failover_the_second_rule_s_rate_counts() {
    let mut costly = Costly::new(settings_at(FIRST, SECOND));
    costly.submits(&message(b"hello"));
    for _ in 0..3 {
        assert_eq!(costly.answers(0, FOR_NOW), 1);
        costly.stage.pass_ms(520);
    }
    assert_eq!((costly.answers(0, OK), costly.answers(1, OK)), (0, 1));
    assert_eq!(costly.cost(), SECOND);
}

#[test]
fn a_message_that_no_other_vendor_takes_stays_at_its_own_vendor_s_rate() {
    let mut narrow = settings_at(FIRST, SECOND);
    narrow.vendors[0].window_size = 1;
    narrow.vendors[1].long_messages = LongMessages::Udh;
    let mut costly = Costly::new(narrow.clone());
    costly.submits(&message(b"in the window"));
    // In more parts than the second vendor can be given.
    costly.stage.feed(costly.customer, &submit_payload(6, &[b'x'; 153 * 255 + 1]));
    let mut off = narrow.clone();
    off.vendors[0].is_active = false;
    costly.apply(off);
    assert_eq!(costly.stage.shard.report().vendors[0].queued, 1, "it was offered to the other one, and is back");
    assert_eq!(costly.answers(0, OK), 1);
    assert_eq!(costly.cost(), FIRST);
    let unbind = costly.stage.pdu(costly.links[0]);
    costly.stage.feed(costly.links[0], &header_only(CommandId::UNBIND_RESP, unbind.sequence));
    assert!(costly.stage.was_closed(costly.links[0]));
    costly.apply(narrow);
    costly.links[0] = costly.stage.bind_links()[0];
    assert_eq!(costly.answers(0, OK), 1);
    assert_eq!(costly.cost(), (1 + u64::from(u8::MAX)) * FIRST);
}

#[test]
fn a_text_costs_each_of_its_short_messages() {
    // By how the vendor takes long texts: octets of text, and how many short messages that is.
    for (form, length, segments) in [
        (LongMessages::Udh, 160, 1),
        (LongMessages::Udh, 400, 3),
        (LongMessages::AsSent, 400, 3),
        (LongMessages::MessagePayload, 400, 3),
        (LongMessages::Udh, 306, 2),
        // The vendor may make a header of seven octets of the TLVs.
        (LongMessages::Sar, 306, 3),
    ] {
        let mut settings = settings_at(FIRST, SECOND);
        settings.vendors[0].long_messages = form;
        let mut costly = Costly::new(settings);
        costly.stage.feed(costly.customer, &submit_payload(5, &vec![b'x'; length]));
        while costly.stage.shard.report().customers[0].submits_ok == 0 {
            assert_eq!(costly.cost(), 0, "{form:?} {length}: the vendor has a part alone");
            assert_eq!(costly.answers(0, OK), 1);
        }
        assert_eq!(costly.cost(), segments * FIRST, "{form:?} {length}");
    }
    let mut costly = Costly::new(settings_at(FIRST, SECOND));
    let part = [&[5, 0, 3, 1, 2, 1][..], &[b'x'; 153]].concat();
    costly.submits(&ShortMessage { esm_class: 0x40, ..message(&part) });
    costly.answers(0, OK);
    assert_eq!(costly.cost(), FIRST, "a part is one");
}

#[test]
fn with_a_journal_it_costs_when_a_vendor_has_it_and_not_when_it_is_accepted() {
    let mut costly = Costly::journaled(settings_at(FIRST, SECOND), LOG.start, Restored::default());
    let counted = |costly: &Costly| (costly.stage.shard.report().customers[0].submits_ok, costly.cost());
    for (number, refusal) in [OK, FOR_GOOD].into_iter().enumerate() {
        costly.submits(&message(b"hello"));
        costly.commit();
        assert_eq!(counted(&costly), (number as u64 + 1, number as u64 * FIRST));
        costly.answers(0, refusal);
        costly.commit();
        assert_eq!(counted(&costly), (number as u64 + 1, FIRST), "what fails costs nothing");
    }
}

#[test]
fn a_message_of_before_a_restart_costs_what_the_rule_then_asks() {
    let mut costly = Costly::journaled(settings_at(FIRST, SECOND), LOG.start, Restored::default());
    costly.submits(&message(b"hello"));
    costly.commit();
    let dearer = settings_at(3 * FIRST, SECOND);
    let restored = costly.restored(&dearer);
    let mut costly = Costly::journaled(dearer, LOG.start + 1, restored);
    costly.take_over();
    assert_eq!(costly.answers(0, OK), 1);
    assert_eq!(costly.cost(), 3 * FIRST);
}

#[test]
fn the_rate_is_the_one_in_force_when_the_message_was_routed() {
    let mut costly = Costly::new(settings_at(FIRST, SECOND));
    costly.submits(&message(b"hello"));
    costly.apply(settings_at(9 * FIRST, SECOND));
    costly.answers(0, OK);
    assert_eq!(costly.cost(), FIRST);
    costly.submits(&message(b"hello"));
    costly.answers(0, OK);
    assert_eq!(costly.cost(), 10 * FIRST);
}

#[test]
fn a_message_of_the_control_port_costs_as_any_other() {
    let mut costly = Costly::new(settings_at(FIRST, SECOND));
    let command = Command::Submit { customer: CustomerId(0), parts: vec![submit(1, &message(b"hello"))] };
    costly.stage.shard.command(1, command, costly.stage.now, &mut costly.stage.out);
    costly.answers(0, OK);
    assert_eq!(costly.cost(), FIRST);
}

/// What the store was told since the last look: what happened, segments, millionths.
fn noted(stage: &mut Stage, store: &mut FeedEnd) -> Vec<(Happening, u8, u64)> {
    stage.shard.flush_store();
    let mut seen = Vec::new();
    store.take(usize::MAX, |record| {
        if let FeedRecord::Note(note) = record {
            seen.push((note.happening, note.segments, note.cost.millionths()));
        }
    });
    seen
}

#[test]
fn the_store_is_told_the_cost_once_a_vendor_has_the_message_and_again_with_its_receipt() {
    let mut settings = settings_at(FIRST, SECOND);
    settings.vendors[0].long_messages = LongMessages::Sar;
    let (stage, mut store) = Stage::with_store(settings, None);
    let mut costly = Costly::of(stage);
    costly.stage.feed(costly.customer, &submit_payload(5, &[b'x'; 306]));
    while costly.answers(0, OK) == 1 {}
    assert_eq!(noted(&mut costly.stage, &mut store), [(Happening::Sent, 3, 3 * FIRST)]);
    costly.receipt();
    assert_eq!(noted(&mut costly.stage, &mut store), [(Happening::Receipt(2), 3, 3 * FIRST)]);
}

#[test]
fn the_receipt_of_a_message_from_before_a_restart_tells_the_store_what_the_rule_then_asks() {
    let mut costly = Costly::journaled(settings_at(FIRST, SECOND), LOG.start, Restored::default());
    costly.submits(&ShortMessage { registered_delivery: 1, ..message(b"hello") });
    costly.answers(0, OK);
    costly.commit();
    let dearer = settings_at(3 * FIRST, SECOND);
    let restored = costly.restored(&dearer);
    assert!(restored.messages[0].is_sent);
    let (store, mut end) = feed();
    let snapshot = Arc::new(Snapshot::build(dearer, 1, 1).unwrap());
    let (rings, journal) = (mesh(1).pop().unwrap(), Some(journal(LOG.start + 1)));
    let setup =
        ShardSetup { shard: ShardId(0), shards: 1, seed: 7, snapshot, rings, journal, restored, store: Some(store) };
    let mut costly = Costly::of(Stage::of(setup));
    costly.take_over();
    costly.receipt();
    assert_eq!(noted(&mut costly.stage, &mut end), [(Happening::Receipt(2), 1, 3 * FIRST)]);
    assert_eq!(costly.cost(), 0, "it was counted in the process before");
}
