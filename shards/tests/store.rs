//! The message store as a shard sees it: what it is told, and the receipts that only it can match.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use std::sync::Arc;

use common::*;
use smpp_pdu::message::resp_message_id;
use smpp_pdu::receipt::Receipt;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::bounds::{LOOKUP_AGAIN_MS, LOOKUPS_AGAIN_PER_VENDOR_MAX, LOOKUPS_MAX};
use smpp_shards::feed::{FeedRecord, Happening, Remembered};
use smpp_shards::journal::LogName;
use smpp_shards::message_id::{IdStyle, MessageId};
use smpp_shards::routing::Patterns;
use smpp_shards::{Amount, Conn, FeedEnd, JournalSetup, Settings, StoreAnswer, StoreFinding};

const OK: CommandStatus = CommandStatus::ESME_ROK;
const AGAIN: CommandStatus = CommandStatus::ESME_RX_T_APPN;
const OUR_ID: u128 = 0x0192_3456_789a_7000_8000_0000_0000_0001;

struct Stored {
    stage: Stage,
    store: FeedEnd,
    link: Conn,
    customer: Conn,
}

/// What the store was told or asked, without borrowing.
#[derive(Debug, PartialEq)]
enum Seen {
    Note {
        happening: Happening,
        id: MessageId,
        customer: String,
        vendor: String,
        vendor_id: String,
        vendor_message_id: String,
        cost: u64,
    },
    Question {
        ticket: u64,
        vendor: String,
        vendor_message_id: String,
    },
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).unwrap()
}

impl Stored {
    fn new(settings: Settings) -> Self {
        Self::with_journal(settings, None)
    }

    fn with_journal(settings: Settings, journal: Option<JournalSetup>) -> Self {
        let (mut stage, store) = Stage::with_store(settings, journal);
        let link = stage.bind_links()[0];
        let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
        Self { stage, store, link, customer }
    }

    fn seen(&mut self) -> Vec<Seen> {
        self.stage.shard.flush_store();
        let mut seen = Vec::new();
        self.store.take(usize::MAX, |record| {
            seen.push(match record {
                FeedRecord::Note(note) => Seen::Note {
                    happening: note.happening,
                    id: note.id,
                    customer: text(note.customer),
                    vendor: text(note.vendor),
                    vendor_id: text(note.vendor_id),
                    vendor_message_id: text(note.vendor_message_id),
                    cost: note.cost.millionths(),
                },
                FeedRecord::Question(question) => Seen::Question {
                    ticket: question.ticket,
                    vendor: text(question.vendor),
                    vendor_message_id: text(question.vendor_message_id),
                },
            });
        });
        seen
    }

    /// The tickets of what was asked since the last look.
    fn asked(&mut self) -> Vec<u64> {
        let tickets = self.seen().into_iter().filter_map(|seen| match seen {
            Seen::Question { ticket, .. } => Some(ticket),
            Seen::Note { .. } => None,
        });
        tickets.collect()
    }

    fn answer(&mut self, ticket: u64, finding: StoreFinding) {
        let answer = StoreAnswer { ticket, finding };
        self.stage.shard.store_answered(answer, self.stage.now, &mut self.stage.out);
    }

    fn receipt(&mut self, sequence: u32, id: &str) {
        let text =
            format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000");
        let receipt = ShortMessage { esm_class: 4, ..message(text.as_bytes()) };
        self.stage.feed(self.link, &deliver(sequence, &receipt));
    }

    /// The statuses that the vendor got for its receipts since the last look.
    fn told(&mut self) -> Vec<CommandStatus> {
        self.stage.pdus(self.link).iter().map(|pdu| pdu.status).collect()
    }
}

fn found(customer: &str, registered_delivery: u8) -> StoreFinding {
    StoreFinding::Found(Box::new(Remembered {
        id: MessageId(OUR_ID),
        style: IdStyle::Uuid,
        registered_delivery,
        data_coding: 0,
        segments: 3,
        cost: Amount::of_millionths(22_500),
        customer: customer.as_bytes().to_vec(),
        sent_unix_ms: 1_699_999_000_000,
        source: (5, 0, b"ACME".to_vec()),
        dest: (1, 1, b"15551234567".to_vec()),
    }))
}

#[test]
fn in_relay_mode_the_store_is_told_what_a_vendor_took_and_what_its_receipt_says() {
    let mut settings = settings();
    settings.vendors[0].id = Some("row-7".into());
    let mut stored = Stored::new(settings);
    let one = ShortMessage { registered_delivery: 1, ..message(b"hello") };
    stored.stage.feed(stored.customer, &submit(5, &one));
    assert_eq!(stored.seen(), [], "the customer has not been told anything");
    let sent = stored.stage.pdu(stored.link);
    stored.stage.feed(stored.link, &submit_resp(sent.sequence, b"AB1"));
    let ours = text(resp_message_id(&stored.stage.pdu(stored.customer).bytes));
    let seen = stored.seen();
    let [Seen::Note { happening, id, customer, vendor, vendor_id, vendor_message_id, cost: 0 }] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(*happening, Happening::Sent);
    assert_eq!(text(&id.text(IdStyle::Uuid)), ours);
    assert_eq!((&customer[..], &vendor[..], &vendor_message_id[..]), ("acme", "north", "AB1"));
    assert_eq!(vendor_id, "row-7");
    stored.receipt(9, "ab1");
    let seen = stored.seen();
    let [Seen::Note { happening, id: of_receipt, vendor_id, .. }] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((*happening, of_receipt, &vendor_id[..]), (Happening::Receipt(2), id, "row-7"));
}

#[test]
fn in_journal_mode_the_store_is_told_of_acceptance_and_failure_too() {
    let log = LogName { start: 1_700_000_000_000, shard: 0 };
    let journal = JournalSetup { log, segment_bytes: 8 << 20, bytes_max: 64 << 20, commit_wait_us: 0 };
    let mut stored = Stored::with_journal(settings(), Some(journal));
    stored.stage.feed(stored.customer, &submit(5, &message(b"hello")));
    let batch = stored.stage.shard.take_batch(stored.stage.now).unwrap();
    stored.stage.shard.batch_written(batch, stored.stage.now, &mut stored.stage.out);
    let sent = stored.stage.pdu(stored.link);
    let refusal = CommandStatus::ESME_RINVDSTADR;
    stored.stage.feed(stored.link, &answer(CommandId::SUBMIT_SM_RESP, refusal, sent.sequence));
    let happenings: Vec<Happening> = stored
        .seen()
        .into_iter()
        .map(|seen| match seen {
            Seen::Note { happening, .. } => happening,
            question @ Seen::Question { .. } => panic!("{question:?}"),
        })
        .collect();
    assert_eq!(happenings, [Happening::Accepted, Happening::Failed { status: refusal.0, is_expired: false }]);
}

#[test]
fn a_receipt_that_only_the_store_can_match_reaches_its_customer() {
    let mut stored = Stored::new(settings());
    stored.receipt(9, "77");
    let seen = stored.seen();
    let [Seen::Question { ticket, vendor, vendor_message_id }] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&vendor[..], &vendor_message_id[..]), ("north", "77"));
    assert_eq!(stored.told(), [], "not before the store has answered");
    stored.answer(*ticket, found("acme", 1));
    let delivered = stored.stage.pdu(stored.customer);
    let seen = ShortMessage::decode(&delivered.bytes).unwrap();
    assert_eq!(Receipt::parse(seen.short_message).id, Some(&*MessageId(OUR_ID).text(IdStyle::Uuid)));
    assert_eq!((seen.source.addr, seen.dest.addr), (&b"15551234567"[..], &b"ACME"[..]));
    assert_eq!(stored.told(), [], "not before the customer has it");
    let noted = stored.seen();
    let [Seen::Note { happening: Happening::Receipt(2), cost, .. }] = &noted[..] else { panic!("{noted:?}") };
    assert_eq!(*cost, 22_500, "what the store knows of its cost is told again");
    stored.stage.feed(stored.customer, &deliver_resp(delivered.sequence, OK));
    assert_eq!(stored.told(), [OK]);
    let report = stored.stage.shard.report().store.unwrap();
    assert_eq!((report.lookups, report.found, report.unanswered, report.open), (1, 1, 0, 0));
}

#[test]
fn a_receipt_that_comes_again_after_it_was_taken_is_not_looked_up() {
    let mut stored = Stored::new(settings());
    stored.receipt(9, "77");
    let ticket = stored.asked()[0];
    stored.answer(ticket, found("acme", 1));
    let delivered = stored.stage.pdu(stored.customer);
    stored.stage.feed(stored.customer, &deliver_resp(delivered.sequence, OK));
    assert_eq!(stored.told(), [OK]);
    stored.receipt(10, "77");
    assert_eq!((stored.told(), stored.asked()), (vec![OK], vec![]));
    assert_eq!(stored.stage.pdus(stored.customer), []);
}

#[test]
fn a_receipt_of_a_vendor_that_was_added_is_looked_up_as_any_other() {
    let mut stored = Stored::new(settings());
    let mut more = settings();
    more.vendors.push(vendor("south"));
    let next = stored.stage.shard.snapshot().succeed(more, &mut Patterns::default()).unwrap();
    stored.stage.shard.apply(Arc::new(next), &mut stored.stage.out);
    stored.stage.pass_ms(50);
    stored.link = stored.stage.bind_links()[0];
    stored.receipt(9, "77");
    for _ in 0..2 {
        let asked = stored.asked();
        stored.answer(asked[0], StoreFinding::NotThere);
        stored.stage.pass_ms(LOOKUP_AGAIN_MS + 10);
    }
    assert_eq!(stored.told(), [OK]);
}

#[test]
fn a_receipt_is_unknown_only_when_the_store_has_said_so_twice() {
    let mut stored = Stored::new(settings());
    stored.receipt(9, "77");
    let first = stored.asked()[0];
    stored.answer(first, StoreFinding::NotThere);
    assert_eq!(stored.told(), []);
    stored.stage.pass_ms(LOOKUP_AGAIN_MS + 10);
    let second = stored.asked()[0];
    stored.answer(second, StoreFinding::NotThere);
    assert_eq!(stored.told(), [OK]);
    let report = stored.stage.shard.report();
    assert_eq!(report.vendors[0].receipts_unknown, 1);
    assert_eq!(report.store.unwrap().open, 0);
}

#[test]
fn a_message_that_another_node_writes_meanwhile_is_found_at_the_second_look() {
    let mut stored = Stored::new(settings());
    stored.receipt(9, "77");
    let first = stored.asked()[0];
    stored.answer(first, StoreFinding::NotThere);
    stored.stage.pass_ms(LOOKUP_AGAIN_MS + 10);
    let second = stored.asked()[0];
    stored.answer(second, found("acme", 1));
    assert_eq!(stored.stage.pdus(stored.customer).len(), 1);
}

#[test]
fn while_the_store_is_away_or_silent_the_vendor_keeps_the_receipt() {
    let mut settings = settings();
    settings.gateway.receipt_hold_ms = 1_000;
    let mut stored = Stored::new(settings);
    stored.receipt(9, "77");
    let ticket = stored.asked()[0];
    stored.answer(ticket, StoreFinding::Away);
    assert_eq!(stored.told(), [AGAIN]);
    stored.receipt(10, "77");
    stored.stage.pass_ms(990);
    assert_eq!(stored.told(), []);
    stored.stage.pass_ms(30);
    assert_eq!(stored.told(), [AGAIN]);
    let late = stored.asked()[0];
    stored.answer(late, found("acme", 1));
    assert_eq!(stored.stage.pdus(stored.customer), [], "its answer comes too late");
    assert_eq!(stored.stage.shard.report().store.unwrap().unanswered, 2);
}

#[test]
fn beyond_the_bounds_the_vendor_keeps_its_receipts() {
    let mut stored = Stored::new(settings());
    for number in 0..LOOKUPS_MAX as u32 + 3 {
        stored.receipt(number + 1, &number.to_string());
    }
    assert_eq!(stored.told(), [AGAIN; 3]);
    let tickets = stored.asked();
    assert_eq!(tickets.len(), LOOKUPS_MAX);
    for ticket in tickets {
        stored.answer(ticket, StoreFinding::NotThere);
    }
    assert_eq!(stored.told().len(), LOOKUPS_MAX - LOOKUPS_AGAIN_PER_VENDOR_MAX as usize);
    assert_eq!(stored.stage.shard.report().store.unwrap().open, LOOKUPS_AGAIN_PER_VENDOR_MAX);
}

#[test]
fn a_message_of_a_customer_that_has_not_bound_here_stays_with_the_vendor() {
    let mut settings = settings();
    settings.customers.push(customer("other"));
    let mut stored = Stored::new(settings);
    let cases = [("77", "other", 1, AGAIN), ("78", "other", 0, OK), ("79", "gone", 1, OK)];
    for (id, customer, registered_delivery, told) in cases {
        stored.receipt(9, id);
        let ticket = stored.asked()[0];
        stored.answer(ticket, found(customer, registered_delivery));
        assert_eq!(stored.told(), [told], "{customer}");
    }
}

#[test]
fn without_a_store_a_receipt_that_matches_nothing_is_unknown_at_once() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let text = b"id:77 sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000";
    stage.feed(links[0], &deliver(3, &ShortMessage { esm_class: 4, ..message(text) }));
    assert_eq!(stage.pdu(links[0]).status, OK);
    assert_eq!(stage.shard.report().store, None);
}
