//! Answers that come after the response timer, with two shards: the customer lives on one, its first vendor on the other, and
//! the vendor that a message is handed to on either.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use std::sync::Arc;

use common::*;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::journal::{Live, LogName, Replay};
use smpp_shards::restore::Restored;
use smpp_shards::settings::{GatewaySettings, RuleSettings, VendorSettings};
use smpp_shards::{Amount, Conn, JournalSetup, Report, Settings, ShardId, ShardSetup, Snapshot, mesh};

const OK: CommandStatus = CommandStatus::ESME_ROK;
const TIMEOUT_MS: u64 = 1_000;
const RETRY_MS: u64 = 500;

/// Where the customer lives; vendors live in turn on shard 0 and 1.
const HOME: usize = 0;
const FIRST: usize = 1;

fn log(shard: usize) -> LogName {
    LogName { start: 1_700_000_000_000, shard: shard as u16 }
}

/// Two shards with journals, and what their peers and disks have of them.
struct Pair {
    stages: Vec<Stage>,
    disks: Vec<Vec<u8>>,
    customer: Conn,
    /// The only link of each vendor, on the vendor's home.
    links: Vec<Conn>,
    second: usize,
}

impl Pair {
    /// Messages go to vendor 1, on the other shard than the customer's, and then to `second`.
    fn new(second: usize) -> Self {
        let silent = |number: usize| VendorSettings {
            response_timeout_ms: TIMEOUT_MS,
            enquire_link_ms: 0,
            is_primary: number == FIRST,
            ..vendor(&name(number))
        };
        let settings = Settings {
            gateway: GatewaySettings { enquire_link_ms: 0, retry_interval_ms: RETRY_MS, ..GatewaySettings::default() },
            customers: vec![customer("acme")],
            vendors: (0..=FIRST.max(second)).map(silent).collect(),
            routing_rules: [FIRST, second].map(priced).into(),
            ..Settings::default()
        };
        let snapshot = Arc::new(Snapshot::build(settings, 2, 1).unwrap());
        let stages: Vec<Stage> = mesh(2)
            .into_iter()
            .enumerate()
            .map(|(index, rings)| {
                let journal =
                    JournalSetup { log: log(index), segment_bytes: 8 << 20, bytes_max: 64 << 20, commit_wait_us: 0 };
                Stage::of(ShardSetup {
                    shard: ShardId(index as u16),
                    shards: 2,
                    seed: 7,
                    snapshot: snapshot.clone(),
                    rings,
                    journal: Some(journal),
                    restored: Restored::default(),
                    store: None,
                })
            })
            .collect();
        let mut pair = Self { stages, disks: vec![Vec::new(); 2], customer: Conn(0), links: Vec::new(), second };
        let mut bound: Vec<_> = pair.stages.iter_mut().map(|stage| stage.bind_links().into_iter()).collect();
        pair.links = snapshot.vendors.iter().map(|vendor| bound[vendor.home.index()].next().unwrap()).collect();
        pair.customer = pair.stages[HOME].bound(0, CommandId::BIND_TRANSCEIVER);
        // The other shard hears which vendors can be given messages.
        pair.pass_ms(10);
        pair
    }

    /// Lets time pass on both shards, whose rings and disks are emptied at each step.
    fn pass_ms(&mut self, millis: u64) {
        for _ in 0..millis.div_ceil(5) {
            self.stages.iter_mut().for_each(|stage| stage.pass_ms(5));
            self.exchange();
        }
    }

    /// What one shard has for the other arrives there, and all there is to write is written.
    fn exchange(&mut self) {
        for _ in 0..4 {
            for (stage, disk) in self.stages.iter_mut().zip(&mut self.disks) {
                stage.shard.take_rings(stage.now, &mut stage.out);
                while let Some(mut batch) = stage.shard.take_batch(stage.now) {
                    disk.extend_from_slice(batch.seal());
                    stage.shard.batch_written(batch, stage.now, &mut stage.out);
                }
                stage.shard.flush_rings(&mut Vec::new());
            }
        }
    }

    fn feed(&mut self, shard: usize, conn: Conn, octets: &[u8]) {
        self.stages[shard].feed(conn, octets);
        self.exchange();
    }

    /// What a vendor got since the last look.
    fn submits(&mut self, vendor: usize) -> Vec<u32> {
        let pdus = self.stages[vendor % 2].pdus(self.links[vendor]);
        pdus.iter().filter(|pdu| pdu.command == CommandId::SUBMIT_SM).map(|pdu| pdu.sequence).collect()
    }

    fn answers(&mut self, vendor: usize, sequence: u32, id: &[u8]) {
        self.feed(vendor % 2, self.links[vendor], &submit_resp(sequence, id));
    }

    /// A message that the first vendor has not answered in time: the number of its submit.
    fn unanswered(&mut self) -> u32 {
        let asked = ShortMessage { registered_delivery: 1, ..message(b"late") };
        self.feed(HOME, self.customer, &submit(5, &asked));
        let [sequence] = self.submits(FIRST)[..] else { panic!("the other shard's vendor gets it") };
        assert_eq!(self.stages[HOME].pdu(self.customer).status, OK);
        self.pass_ms(TIMEOUT_MS + 50);
        assert_eq!(self.report(FIRST % 2).vendors[FIRST].unknown_outcomes, 1);
        sequence
    }

    /// As [`Pair::unanswered`], until the second vendor has it: the numbers of the first submit and of that.
    fn handed_on(&mut self) -> (u32, u32) {
        let first = self.unanswered();
        self.pass_ms(RETRY_MS + TIMEOUT_MS + 100);
        assert_eq!(self.submits(FIRST).len(), 1, "it is tried once more");
        let [other] = self.submits(self.second)[..] else { panic!("the next vendor gets it") };
        (first, other)
    }

    fn report(&self, shard: usize) -> Report {
        self.stages[shard].shard.report()
    }

    fn reconciled(&self) -> u64 {
        (0..2).map(|shard| self.report(shard).late_answers_reconciled).sum()
    }

    /// The vendor whose rate the customer's one message has cost.
    fn paid(&self) -> u64 {
        self.report(HOME).customers[0].cost.millionths()
    }

    fn live(&self) -> Live {
        let mut replay = Replay::new();
        replay.add(log(HOME), 0, "disk", &self.disks[HOME]);
        replay.finish()
    }

    /// Which vendor the journal of the customer's home says has the one message, and under which id.
    fn sent(&self) -> (String, String) {
        let live = self.live();
        let sent = live.messages[0].sent.as_ref().expect("a vendor has it");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (text(live.name(sent.vendor)), text(&sent.vendor_message_id))
    }

    /// A vendor's final receipt; whether its customer gets it, which takes it then.
    fn receipt(&mut self, vendor: usize, id: &str) -> bool {
        let text =
            format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000");
        let receipt = ShortMessage { esm_class: 0x04, ..message(text.as_bytes()) };
        self.feed(vendor % 2, self.links[vendor], &deliver(90, &receipt));
        let got = self.stages[HOME].pdus(self.customer);
        for pdu in &got {
            self.feed(HOME, self.customer, &deliver_resp(pdu.sequence, OK));
        }
        let answers = self.stages[vendor % 2].pdus(self.links[vendor]);
        assert_eq!(answers.len(), 1, "the vendor is answered once");
        assert_eq!((answers[0].command, answers[0].status), (CommandId::DELIVER_SM_RESP, OK));
        assert!(got.len() <= 1);
        !got.is_empty()
    }

    /// No vendor gets anything any more, however long one waits, and the customer is told of no failure.
    fn nothing_is_sent(&mut self) {
        self.pass_ms(20 * TIMEOUT_MS);
        assert_eq!((self.submits(FIRST), self.submits(self.second)), (vec![], vec![]));
        assert!(self.stages[HOME].pdus(self.customer).is_empty());
        assert_eq!((self.report(0).messages_open, self.report(1).messages_open), (0, 0));
    }
}

fn name(number: usize) -> String {
    format!("vendor{number}")
}

/// The rule to a vendor, which asks its number.
fn priced(number: usize) -> RuleSettings {
    RuleSettings { rate_per_msg: Some(Amount::of_millionths(number as u64)), ..rule("^1.*", &name(number)) }
}

/// The second vendor on the customer's shard, and on the first vendor's.
const SECONDS: [usize; 2] = [2, 3];

#[test]
fn a_late_answer_cancels_the_retry_that_waits_on_the_other_shard() {
    for second in SECONDS {
        let mut pair = Pair::new(second);
        let sequence = pair.unanswered();
        pair.answers(FIRST, sequence, b"a1");
        pair.nothing_is_sent();
        assert_eq!(pair.sent(), (name(FIRST), "a1".into()));
        assert_eq!((pair.reconciled(), pair.paid()), (1, FIRST as u64));
        assert!(pair.receipt(FIRST, "a1"));
        assert!(pair.live().messages.is_empty());
    }
}

#[test]
fn a_late_answer_settles_what_another_vendor_has_wherever_that_lives() {
    for second in SECONDS {
        for (first_receipt, second_receipt) in [(FIRST, second), (second, FIRST)] {
            let mut pair = Pair::new(second);
            let (first, other) = pair.handed_on();
            pair.answers(FIRST, first, b"a1");
            assert_eq!(pair.sent(), (name(FIRST), "a1".into()), "{second}");
            pair.answers(second, other, b"b1");
            pair.nothing_is_sent();
            assert_eq!(pair.sent(), (name(FIRST), "a1".into()), "the first answer counts");
            assert_eq!((pair.reconciled(), pair.paid()), (1, FIRST as u64), "once");
            let id = |vendor| if vendor == FIRST { "a1" } else { "b1" };
            assert!(pair.receipt(first_receipt, id(first_receipt)), "either matches");
            assert!(!pair.receipt(second_receipt, id(second_receipt)), "once");
            assert!(pair.live().messages.is_empty());
        }
    }
}

#[test]
fn what_was_settled_late_is_sent_to_nobody_when_the_second_vendor_does_not_answer() {
    for second in SECONDS {
        let mut pair = Pair::new(second);
        let (first, _) = pair.handed_on();
        pair.answers(FIRST, first, b"a1");
        pair.nothing_is_sent();
        assert_eq!(pair.sent(), (name(FIRST), "a1".into()), "{second}");
        assert!(pair.receipt(FIRST, "a1"));
        assert!(pair.live().messages.is_empty());
    }
}

#[test]
fn a_late_answer_after_the_second_vendor_s_is_known_by_its_receipt() {
    for second in SECONDS {
        let mut pair = Pair::new(second);
        let (first, other) = pair.handed_on();
        pair.answers(second, other, b"b1");
        pair.answers(FIRST, first, b"a1");
        assert_eq!(pair.sent(), (name(second), "b1".into()));
        assert_eq!((pair.reconciled(), pair.paid()), (0, second as u64), "it was settled before");
        assert!(pair.receipt(FIRST, "a1"));
        assert!(!pair.receipt(second, "b1"));
        pair.nothing_is_sent();
    }
}

#[test]
fn a_late_answer_takes_a_message_out_of_the_second_vendor_s_queue() {
    for second in SECONDS {
        let mut pair = Pair::new(second);
        let first = pair.unanswered();
        // Nothing can be given to the second vendor: its link is gone for longer than the first one's tries take.
        let shard = second % 2;
        let now = pair.stages[shard].now;
        let link = pair.links[second];
        let stage = &mut pair.stages[shard];
        stage.shard.closed(link, smpp_shards::CloseCause::Reset, now, &mut stage.out);
        pair.exchange();
        pair.pass_ms(RETRY_MS + TIMEOUT_MS + 100);
        assert_eq!(pair.submits(FIRST).len(), 1);
        pair.answers(FIRST, first, b"a1");
        assert_eq!((pair.sent(), pair.reconciled()), ((name(FIRST), "a1".into()), 1), "{second}");
        assert_eq!(pair.paid(), FIRST as u64);
        pair.stages[shard].connects();
        pair.pass_ms(5_000);
        let bound = pair.stages[shard].bind_links();
        pair.pass_ms(5_000);
        for link in bound {
            assert!(pair.stages[shard].pdus(link).iter().all(|pdu| pdu.command != CommandId::SUBMIT_SM));
        }
        assert!(pair.receipt(FIRST, "a1"));
        assert!(pair.live().messages.is_empty());
    }
}
