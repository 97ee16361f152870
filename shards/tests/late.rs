//! Answers that come after the response timer: what they settle, and that nothing is sent because of them.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::receipt::Receipt;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::journal::{Live, LogName, Replay};
use smpp_shards::restore::Restored;
use smpp_shards::settings::{GatewaySettings, LongMessages, VendorSettings};
use smpp_shards::{Amount, CloseCause, Conn, JournalSetup, Report, Settings};

const OK: CommandStatus = CommandStatus::ESME_ROK;
const LOG: LogName = LogName { start: 1_700_000_000_000, shard: 0 };
const TIMEOUT_MS: u64 = 1_000;
const RETRY_MS: u64 = 500;

/// A shard with a journal and two vendors, of which messages go to the first one first.
struct Late {
    stage: Stage,
    links: Vec<Conn>,
    customer: Conn,
    disk: Vec<u8>,
}

fn silent(name: &str) -> VendorSettings {
    VendorSettings { response_timeout_ms: TIMEOUT_MS, enquire_link_ms: 0, ..vendor(name) }
}

fn settings() -> Settings {
    Settings {
        gateway: GatewaySettings { enquire_link_ms: 0, retry_interval_ms: RETRY_MS, ..GatewaySettings::default() },
        customers: vec![customer("acme")],
        vendors: vec![VendorSettings { is_primary: true, ..silent("north") }, silent("south")],
        routing_rules: vec![rule("^1.*", "north"), rule("^1.*", "south")],
        ..Settings::default()
    }
}

impl Late {
    fn new(settings: Settings) -> Self {
        let journal = JournalSetup { log: LOG, segment_bytes: 8 << 20, bytes_max: 64 << 20, commit_wait_us: 0 };
        let mut stage = Stage::with_journal(settings, Some(journal), Restored::default());
        let links = stage.bind_links();
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        Self { stage, links, customer, disk: Vec::new() }
    }

    /// A message that the first vendor does not answer in time, and whose customer has its answer: the number of its submit.
    fn unanswered(&mut self) -> u32 {
        let message = ShortMessage { registered_delivery: 1, ..message(b"late") };
        self.stage.feed(self.customer, &submit(5, &message));
        let sequence = self.stage.pdu(self.links[0]).sequence;
        self.commit();
        assert_eq!(self.stage.pdu(self.customer).status, OK);
        self.stage.pass_ms(TIMEOUT_MS + 50);
        assert_eq!(self.report().vendors[0].unknown_outcomes, 1);
        sequence
    }

    fn commit(&mut self) {
        while let Some(mut batch) = self.stage.shard.take_batch(self.stage.now) {
            self.disk.extend_from_slice(batch.seal());
            self.stage.shard.batch_written(batch, self.stage.now, &mut self.stage.out);
        }
    }

    fn live(&mut self) -> Live {
        self.commit();
        let mut replay = Replay::new();
        replay.add(LOG, 0, "disk", &self.disk);
        replay.finish()
    }

    /// Which vendor the journal says has the one message, and under which id.
    fn sent(&mut self) -> (String, String) {
        let live = self.live();
        let sent = live.messages[0].sent.as_ref().expect("a vendor has it");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        (text(live.name(sent.vendor)), text(&sent.vendor_message_id))
    }

    fn report(&self) -> Report {
        self.stage.shard.report()
    }

    /// The submits that a vendor got since the last look.
    fn submits(&mut self, vendor: usize) -> Vec<u32> {
        let pdus = self.stage.pdus(self.links[vendor]);
        pdus.iter().filter(|pdu| pdu.command == CommandId::SUBMIT_SM).map(|pdu| pdu.sequence).collect()
    }

    fn answers(&mut self, vendor: usize, sequence: u32, id: &[u8]) {
        self.stage.feed(self.links[vendor], &submit_resp(sequence, id));
    }

    fn refuses(&mut self, vendor: usize, sequence: u32) {
        let refusal = answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVDSTADR, sequence);
        self.stage.feed(self.links[vendor], &refusal);
    }

    /// A vendor's final receipt; whether its customer gets it, which takes it then.
    fn receipt(&mut self, vendor: usize, id: &str) -> bool {
        let text =
            format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000");
        let receipt = ShortMessage { esm_class: 0x04, ..message(text.as_bytes()) };
        self.stage.feed(self.links[vendor], &deliver(90, &receipt));
        let got = self.stage.pdus(self.customer);
        for pdu in &got {
            assert!(Receipt::parse(ShortMessage::decode(&pdu.bytes).unwrap().short_message).state().is_some());
            self.stage.feed(self.customer, &deliver_resp(pdu.sequence, OK));
        }
        self.commit();
        let answers = self.stage.pdus(self.links[vendor]);
        assert_eq!(answers.len(), 1, "the vendor is answered once");
        assert_eq!((answers[0].command, answers[0].status), (CommandId::DELIVER_SM_RESP, OK));
        assert!(got.len() <= 1);
        !got.is_empty()
    }

    /// Neither vendor gets anything any more, however long one waits.
    fn nothing_is_sent(&mut self) {
        self.stage.pass_ms(20 * TIMEOUT_MS);
        assert_eq!((self.submits(0), self.submits(1)), (vec![], vec![]));
        assert_eq!(self.report().messages_open, 0);
    }
}

#[test]
fn a_late_answer_cancels_the_retry_that_waits() {
    let mut late = Late::new(settings());
    let sequence = late.unanswered();
    late.answers(0, sequence, b"a1");
    late.nothing_is_sent();
    assert_eq!(late.sent(), ("north".into(), "a1".into()));
    let report = late.report();
    assert_eq!((report.late_answers_reconciled, report.vendors[0].stray_answers), (1, 1));
    assert_eq!(report.possible_duplicates, 0, "it was sent once");
    assert!(late.receipt(0, "a1"));
    assert!(late.live().messages.is_empty());
}

#[test]
fn a_late_answer_takes_its_message_out_of_a_queue() {
    let mut settings = settings();
    settings.vendors[0].window_size = 1;
    let mut late = Late::new(settings);
    let sequence = late.unanswered();
    // Another message has the window when the retry comes.
    late.stage.feed(late.customer, &submit(6, &message(b"in between")));
    let [between] = late.submits(0)[..] else { panic!("the window is free") };
    late.stage.pass_ms(RETRY_MS + 50);
    assert_eq!(late.report().vendors[0].queued, 1);
    late.answers(0, sequence, b"a1");
    let report = late.report();
    assert_eq!((report.vendors[0].queued, report.late_answers_reconciled), (0, 1));
    late.answers(0, between, b"a2");
    late.nothing_is_sent();
    assert!(late.receipt(0, "a1"));
}

#[test]
fn a_late_answer_to_what_was_sent_again_settles_it_and_one_receipt_comes() {
    for (first, second) in [("a1", "a2"), ("a2", "a1")] {
        let mut late = Late::new(settings());
        let sequence = late.unanswered();
        late.stage.pass_ms(RETRY_MS + 50);
        let [again] = late.submits(0)[..] else { panic!("it is tried once more") };
        late.answers(0, sequence, b"a1");
        assert_eq!(late.sent(), ("north".into(), "a1".into()));
        late.answers(0, again, b"a2");
        late.nothing_is_sent();
        assert_eq!(late.sent(), ("north".into(), "a1".into()), "the first answer counts");
        assert!(late.receipt(0, first), "either id matches");
        assert!(!late.receipt(0, second), "once");
        assert_eq!(late.report().possible_duplicates, 1);
        assert!(late.live().messages.is_empty());
    }
}

#[test]
fn what_was_settled_late_is_not_sent_a_third_time_whatever_comes_of_the_second() {
    for end in 0..4 {
        let mut late = Late::new(settings());
        let sequence = late.unanswered();
        late.stage.pass_ms(RETRY_MS + 50);
        let [again] = late.submits(0)[..] else { panic!("it is tried once more") };
        late.answers(0, sequence, b"a1");
        match end {
            0 => late.refuses(0, again),
            1 => {
                let throttle = answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RTHROTTLED, again);
                late.stage.feed(late.links[0], &throttle);
            }
            2 => {}
            _ => {
                let link = late.links[0];
                late.stage.shard.closed(link, CloseCause::Reset, late.stage.now, &mut late.stage.out);
            }
        }
        late.nothing_is_sent();
        assert!(late.stage.pdus(late.customer).is_empty(), "no failure is told");
        assert_eq!(late.sent(), ("north".into(), "a1".into()));
        assert_eq!(late.report().vendors[0].in_flight, 0);
    }
}

#[test]
fn a_late_answer_of_the_first_vendor_settles_what_the_second_has() {
    let mut late = Late::new(settings());
    let sequence = late.unanswered();
    late.stage.pass_ms(RETRY_MS + TIMEOUT_MS + 100);
    assert_eq!(late.submits(0).len(), 1);
    let [other] = late.submits(1)[..] else { panic!("the next vendor gets it") };
    late.answers(0, sequence, b"a1");
    assert_eq!(late.sent(), ("north".into(), "a1".into()));
    late.answers(1, other, b"b1");
    late.nothing_is_sent();
    assert!(late.receipt(1, "b1"));
    assert!(!late.receipt(0, "a1"));
}

#[test]
fn a_message_costs_once_what_the_vendor_asks_whose_answer_came_first() {
    let mut settings = settings();
    for (rule, millionths) in settings.routing_rules.iter_mut().zip([1, 2]) {
        rule.rate_per_msg = Some(Amount::of_millionths(millionths));
    }
    let cost = |late: &Late| late.report().customers[0].cost.millionths();
    let mut waiting = Late::new(settings.clone());
    let sequence = waiting.unanswered();
    assert_eq!(cost(&waiting), 0, "nobody knows whether a vendor has it");
    waiting.answers(0, sequence, b"a1");
    assert_eq!(cost(&waiting), 1);
    for (is_first_late, expected) in [(true, 1), (false, 2)] {
        let mut late = Late::new(settings.clone());
        let sequence = late.unanswered();
        late.stage.pass_ms(RETRY_MS + TIMEOUT_MS + 100);
        assert_eq!(late.submits(0).len(), 1);
        let [other] = late.submits(1)[..] else { panic!("the next vendor gets it") };
        for answers_late in [is_first_late, !is_first_late] {
            let (vendor, sequence) = if answers_late { (0, sequence) } else { (1, other) };
            late.answers(vendor, sequence, b"id");
            assert_eq!(cost(&late), expected, "the first one counts");
        }
        late.nothing_is_sent();
    }
}

#[test]
fn a_late_answer_after_the_second_ones_is_known_by_its_receipt() {
    let mut late = Late::new(settings());
    let sequence = late.unanswered();
    late.stage.pass_ms(RETRY_MS + 50);
    let [again] = late.submits(0)[..] else { panic!("it is tried once more") };
    late.answers(0, again, b"a2");
    late.answers(0, sequence, b"a1");
    assert_eq!(late.sent(), ("north".into(), "a2".into()));
    assert_eq!(late.report().late_answers_reconciled, 0, "it was settled before");
    assert!(late.receipt(0, "a1"));
    assert!(!late.receipt(0, "a2"));
    late.nothing_is_sent();
}

#[test]
fn a_text_in_parts_is_settled_by_a_late_answer_to_its_last_part_alone() {
    let mut settings = settings();
    settings.vendors[0].long_messages = LongMessages::Udh;
    let mut late = Late::new(settings);
    late.stage.feed(late.customer, &submit_payload(5, &[b'x'; 200]));
    let [first] = late.submits(0)[..] else { panic!("one part at a time") };
    late.commit();
    late.stage.pass_ms(TIMEOUT_MS + 50);
    late.answers(0, first, b"a1");
    late.stage.pass_ms(RETRY_MS + 50);
    let [again] = late.submits(0)[..] else { panic!("an answer to the first part settles nothing") };
    late.answers(0, again, b"a1");
    let [last] = late.submits(0)[..] else { panic!("the other part follows") };
    late.stage.pass_ms(TIMEOUT_MS + 50);
    late.answers(0, last, b"a2");
    late.nothing_is_sent();
    assert_eq!(late.sent(), ("north".into(), "a2".into()));
    assert_eq!(late.report().late_answers_reconciled, 1);
    late.stage.pdus(late.customer);
    assert!(late.receipt(0, "a2"));
}

#[test]
fn a_late_answer_to_what_has_ended_is_only_counted() {
    let mut late = Late::new(Settings { routing_rules: vec![rule("^1.*", "north")], ..settings() });
    let sequence = late.unanswered();
    late.stage.pass_ms(RETRY_MS + 50);
    let [again] = late.submits(0)[..] else { panic!("it is tried once more") };
    late.refuses(0, again);
    let failed = late.stage.pdu(late.customer);
    late.stage.feed(late.customer, &deliver_resp(failed.sequence, OK));
    late.answers(0, sequence, b"a1");
    assert!(!late.receipt(0, "a1"), "the customer was told that it failed");
    assert!(late.live().messages.is_empty());
    assert_eq!((late.report().late_answers_reconciled, late.report().vendors[0].stray_answers), (0, 1));
    late.nothing_is_sent();
}

#[test]
fn a_late_refusal_settles_nothing_and_the_retry_decides() {
    let mut late = Late::new(settings());
    let sequence = late.unanswered();
    late.refuses(0, sequence);
    assert!(late.stage.pdus(late.customer).is_empty());
    late.stage.pass_ms(RETRY_MS + 50);
    let [again] = late.submits(0)[..] else { panic!("it is tried once more") };
    // Neither does the answer that contradicts it.
    late.answers(0, sequence, b"a1");
    late.answers(0, again, b"a2");
    assert_eq!(late.sent(), ("north".into(), "a2".into()));
    late.nothing_is_sent();
}

#[test]
fn an_answer_counts_as_long_as_the_setting_says() {
    for (late_answer_ms, is_settled) in [(0, false), (200, false), (300, true)] {
        let mut settings = settings();
        settings.gateway.late_answer_ms = late_answer_ms;
        let mut late = Late::new(settings);
        let sequence = late.unanswered();
        late.stage.pass_ms(200);
        late.answers(0, sequence, b"a1");
        assert_eq!(late.report().late_answers_reconciled == 1, is_settled, "{late_answer_ms}");
    }
}

#[test]
fn nothing_is_answered_over_a_link_that_was_lost() {
    let mut late = Late::new(settings());
    let sequence = late.unanswered();
    let link = late.links[0];
    late.stage.shard.closed(link, CloseCause::Reset, late.stage.now, &mut late.stage.out);
    late.stage.pass_ms(400);
    assert!(late.stage.connects().is_empty(), "it rests");
    late.stage.pass_ms(5_000);
    late.links[0] = late.stage.bind_links()[0];
    late.answers(0, sequence, b"a1");
    assert_eq!(late.report().late_answers_reconciled, 0);
}

#[test]
fn in_relay_mode_a_late_answer_is_counted_and_its_receipt_reaches_nobody() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(5, &ShortMessage { registered_delivery: 1, ..message(b"late") }));
    let sequence = stage.pdu(links[0]).sequence;
    stage.pass_ms(TIMEOUT_MS + 50);
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_RUNKNOWNERR);
    stage.feed(links[0], &submit_resp(sequence, b"a1"));
    let text = b"id:a1 sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000";
    stage.feed(links[0], &deliver(90, &ShortMessage { esm_class: 0x04, ..message(text) }));
    assert!(stage.pdus(customer).is_empty());
    let report = stage.shard.report();
    assert_eq!((report.vendors[0].stray_answers, report.late_answers_reconciled), (1, 0));
}
