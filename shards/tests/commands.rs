//! What the control thread asks of a shard: sessions listed and ended, vendors reconnected, messages taken in.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::*;
use smpp_pdu::receipt::Receipt;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::journal::LogName;
use smpp_shards::message_id::IdStyle;
use smpp_shards::restore::Restored;
use smpp_shards::{
    Action, Command, CustomerId, DrainPhase, EndReason, Event, JournalSetup, Reply, SessionFacts, Settings, ShardId,
    VendorId,
};

const OK: CommandStatus = CommandStatus::ESME_ROK;

impl Stage {
    fn ask(&mut self, ticket: u64, command: Command) -> Vec<(u64, Reply)> {
        self.shard.command(ticket, command, self.now, &mut self.out);
        self.replies()
    }

    fn replies(&mut self) -> Vec<(u64, Reply)> {
        self.drain_actions();
        let (replies, others) = self.actions.drain(..).partition(|action| matches!(action, Action::Reply { .. }));
        self.actions = others;
        let replies: Vec<Action> = replies;
        replies
            .into_iter()
            .map(|action| match action {
                Action::Reply { ticket, reply } => (ticket, reply),
                _ => unreachable!("only replies were taken"),
            })
            .collect()
    }

    fn list(&mut self, customer: Option<u32>, from: u32, limit: usize) -> (Vec<SessionFacts>, Option<u32>) {
        let command = Command::ListSessions { customer: customer.map(CustomerId), from, limit };
        match self.ask(1, command).remove(0) {
            (1, Reply::Sessions { sessions, next }) => (sessions, next),
            other => panic!("no list: {other:?}"),
        }
    }

    fn submit_parts(&mut self, ticket: u64, customer: u32, parts: usize, registered_delivery: u8) -> Vec<(u64, Reply)> {
        let part = submit(0, &ShortMessage { registered_delivery, ..message(b"from the port") });
        self.ask(ticket, Command::Submit { customer: CustomerId(customer), parts: vec![part; parts] })
    }
}

fn accepted(reply: &(u64, Reply)) -> (u64, u16, String) {
    match reply {
        (ticket, Reply::Submitted { part, result: Ok((id, style)) }) => {
            (*ticket, *part, String::from_utf8(id.text(*style).to_vec()).unwrap())
        }
        other => panic!("not accepted: {other:?}"),
    }
}

fn refused(reply: &(u64, Reply)) -> (u64, u16, CommandStatus) {
    match reply {
        (ticket, Reply::Submitted { part, result: Err(status) }) => (*ticket, *part, *status),
        other => panic!("not refused: {other:?}"),
    }
}

fn journaled() -> Stage {
    let log = LogName { start: 1_700_000_000_000, shard: 0 };
    let journal = JournalSetup { log, segment_bytes: 8 << 20, bytes_max: 64 << 20, commit_wait_us: 0 };
    Stage::with_journal(settings(), Some(journal), Restored::default())
}

fn commit(stage: &mut Stage) {
    while let Some(batch) = stage.shard.take_batch(stage.now) {
        stage.shard.batch_written(batch, stage.now, &mut stage.out);
    }
}

#[test]
fn sessions_are_listed_in_pages_with_what_is_known_of_them() {
    let (mut stage, _) =
        Stage::with_vendors(Settings { customers: vec![customer("acme"), customer("beta")], ..settings() });
    let first = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let other = stage.bound(1, CommandId::BIND_RECEIVER);
    let last = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.pass_ms(1_500);
    stage.feed(first, &submit(1, &message(b"waits")));
    let (all, next) = stage.list(None, 0, 100);
    let conns: Vec<_> = all.iter().map(|session| session.name.conn).collect();
    assert_eq!((conns, next), (vec![first, other, last], None));
    assert_eq!((all[0].bind, all[0].state, all[0].unanswered, all[0].silent_ms), ("bind_transceiver", "bound", 1, 0));
    assert_eq!((all[1].customer, all[1].bind, all[1].silent_ms), (CustomerId(1), "bind_receiver", 1_500));
    assert_eq!(all[2].bound_unix_ms, stage.now.unix_ms - 1_500);
    let (page, next) = stage.list(None, 0, 2);
    assert_eq!((page.len(), next), (2, Some(last.0)));
    let (rest, end) = stage.list(None, next.unwrap(), 2);
    assert_eq!((rest.len(), rest[0].name.conn, end), (1, last, None));
    let (own, _) = stage.list(Some(1), 0, 100);
    assert_eq!(own.len(), 1);
    assert_eq!(stage.list(None, 70_000, 100), (Vec::new(), None));
}

#[test]
fn a_session_that_is_ended_gets_unbind_and_is_closed_when_it_answers() {
    let (mut stage, _) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let session = stage.list(None, 0, 1).0[0].name;
    assert_eq!(stage.ask(7, Command::EndSession { session }), [(7, Reply::Ended(true))]);
    let unbind = stage.pdu(customer);
    assert_eq!(unbind.command, CommandId::UNBIND);
    assert_eq!(stage.list(None, 0, 1).0[0].state, "unbinding");
    stage.feed(customer, &header_only(CommandId::UNBIND_RESP, unbind.sequence));
    assert!(stage.was_closed(customer));
    let told = |action: &Action| matches!(action, Action::Log(Event::SessionClosed { reason: EndReason::Ended, .. }));
    assert!(stage.actions.iter().any(told));
    assert_eq!(stage.ask(8, Command::EndSession { session }), [(8, Reply::Ended(false))]);
}

#[test]
fn a_session_that_does_not_answer_its_unbind_is_closed_all_the_same() {
    let (mut stage, _) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let session = stage.list(None, 0, 1).0[0].name;
    stage.ask(7, Command::EndSession { session });
    stage.pass_ms(2_100);
    assert!(stage.was_closed(customer));
    assert_eq!(stage.list(None, 0, 1).0, []);
}

#[test]
fn the_name_of_a_session_does_not_end_the_next_one_in_its_slot() {
    let (mut stage, _) = Stage::with_vendors(settings());
    stage.bound(0, CommandId::BIND_TRANSCEIVER);
    let mut session = stage.list(None, 0, 1).0[0].name;
    session.generation += 1;
    assert_eq!(stage.ask(1, Command::EndSession { session }), [(1, Reply::Ended(false))]);
    assert_eq!(stage.list(None, 0, 1).0[0].state, "bound");
}

#[test]
fn a_vendor_that_is_reconnected_is_unbound_and_comes_back() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let reply = Reply::Reconnecting { unbound: 1, hastened: 0, busy: 0 };
    assert_eq!(stage.ask(3, Command::Reconnect { vendor: VendorId(0) }), [(3, reply)]);
    assert_eq!(stage.pdu(links[0]).command, CommandId::UNBIND);
    assert!(stage.was_closed(links[0]));
    let reply = Reply::Reconnecting { unbound: 0, hastened: 1, busy: 0 };
    assert_eq!(stage.ask(4, Command::Reconnect { vendor: VendorId(0) }), [(4, reply)]);
    stage.pass_ms(5);
    assert_eq!(stage.bind_links().len(), 1, "at once, for it was asked again");
    assert_eq!(stage.shard.report().vendors[0].links_bound, 1);
}

#[test]
fn answers_that_are_due_still_come_over_a_link_that_is_reconnected() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(9, &message(b"on its way")));
    let sent = stage.pdu(links[0]);
    stage.ask(3, Command::Reconnect { vendor: VendorId(0) });
    assert_eq!(stage.pdu(links[0]).command, CommandId::UNBIND);
    assert!(!stage.was_closed(links[0]));
    stage.feed(links[0], &submit_resp(sent.sequence, b"v1"));
    assert_eq!(stage.pdu(customer).status, OK);
    assert!(stage.was_closed(links[0]));
    let told = |action: &Action| matches!(action, Action::Log(Event::LinkDown { reason: EndReason::Ended, .. }));
    assert!(stage.actions.iter().any(told), "{:?}", stage.actions);
    stage.pass_ms(2_000);
    assert_eq!(stage.connects().len(), 1);
}

#[test]
fn a_vendor_that_is_not_there_has_nothing_to_reconnect() {
    let mut stage = Stage::new(settings());
    let reply = Reply::Reconnecting { unbound: 0, hastened: 0, busy: 0 };
    assert_eq!(stage.ask(3, Command::Reconnect { vendor: VendorId(9) }), [(3, reply)]);
}

#[test]
fn a_message_of_the_port_goes_to_the_vendor_and_is_answered_with_its_answer() {
    let (mut stage, links) = Stage::with_vendors(settings());
    assert!(stage.submit_parts(5, 0, 2, 0).is_empty(), "the vendor has not answered");
    let sent = stage.pdus(links[0]);
    assert_eq!(sent.len(), 2);
    assert_eq!(ShortMessage::decode(&sent[0].bytes).unwrap().short_message, b"from the port");
    stage.feed(links[0], &submit_resp(sent[0].sequence, b"v1"));
    stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RINVDSTADR, sent[1].sequence));
    let replies = stage.replies();
    assert_eq!((accepted(&replies[0]).0, accepted(&replies[0]).1), (5, 0));
    assert_eq!(refused(&replies[1]), (5, 1, CommandStatus::ESME_RINVDSTADR));
    let counters = &stage.shard.report().customers[0];
    assert_eq!((counters.submits, counters.submits_ok, counters.submits_failed), (2, 1, 1));
}

#[test]
fn a_message_of_the_port_passes_its_customer_s_checks() {
    let limited =
        smpp_shards::settings::CustomerSettings { allowed_source_addresses: vec!["OTHER".into()], ..customer("acme") };
    let slow = smpp_shards::settings::CustomerSettings { smpp_throughput: 2, ..customer("slow") };
    let off = smpp_shards::settings::CustomerSettings { active: false, ..customer("off") };
    let (mut stage, links) = Stage::with_vendors(Settings { customers: vec![limited, slow, off], ..settings() });
    assert_eq!(refused(&stage.submit_parts(1, 0, 1, 0)[0]), (1, 0, CommandStatus::ESME_RINVSRCADR));
    let replies = stage.submit_parts(2, 1, 4, 0);
    let parts: Vec<_> = replies.iter().map(refused).collect();
    assert_eq!(parts, [(2, 2, CommandStatus::ESME_RTHROTTLED), (2, 3, CommandStatus::ESME_RTHROTTLED)]);
    assert_eq!(stage.pdus(links[0]).len(), 2);
    assert_eq!(stage.shard.report().customers[1].throttled_rate, 1, "what follows a refused part is not tried");
    assert_eq!(refused(&stage.submit_parts(3, 2, 1, 0)[0]).2, CommandStatus::ESME_RSYSERR);
    assert_eq!(refused(&stage.submit_parts(4, 99, 1, 0)[0]).2, CommandStatus::ESME_RSYSERR);
    stage.shard.drain(DrainPhase::Refuse, stage.now, &mut stage.out);
    assert_eq!(refused(&stage.submit_parts(5, 1, 1, 0)[0]).2, CommandStatus::ESME_RSYSERR);
}

#[test]
fn octets_that_are_no_message_are_refused() {
    let (mut stage, _) = Stage::with_vendors(settings());
    for (ticket, part) in [vec![], vec![0; 16], header_only(CommandId::SUBMIT_SM, 1)].into_iter().enumerate() {
        let replies = stage.ask(ticket as u64, Command::Submit { customer: CustomerId(0), parts: vec![part] });
        assert!(!refused(&replies[0]).2.is_ok());
    }
}

#[test]
fn with_a_journal_a_message_of_the_port_is_answered_after_the_commit() {
    let mut stage = journaled();
    let link = stage.bind_links()[0];
    assert!(stage.submit_parts(6, 0, 1, 1).is_empty());
    commit(&mut stage);
    let replies = stage.replies();
    let (ticket, part, id) = accepted(&replies[0]);
    assert_eq!((ticket, part), (6, 0));
    let sent = stage.pdu(link);
    stage.feed(link, &submit_resp(sent.sequence, b"0000ABC1"));
    assert!(stage.replies().is_empty(), "answered once");
    // Its receipt goes to the customer's bind, which comes later.
    let text = b"id:0000abc1 sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000 text:x";
    stage.feed(link, &deliver(1, &ShortMessage { esm_class: 4, ..message(text) }));
    commit(&mut stage);
    let customer = stage.accept();
    stage.feed(customer, &bind_pdu(CommandId::BIND_RECEIVER, 1, 0x34));
    stage.verdict(Ok((CustomerId(0), ShardId(0))));
    let delivered = stage.pdus(customer).pop().unwrap();
    assert_eq!(delivered.command, CommandId::DELIVER_SM);
    let seen = ShortMessage::decode(&delivered.bytes).unwrap();
    assert_eq!(Receipt::parse(seen.short_message).id, Some(id.as_bytes()));
    assert_eq!(stage.shard.report().customers[0].submits_ok, 1);
}

#[test]
fn messages_of_the_port_that_wait_are_bounded() {
    let mut stage = Stage::new(settings());
    let most = smpp_shards::bounds::CONTROL_SUBMITS_MAX;
    assert!(stage.submit_parts(1, 0, most, 0).is_empty());
    assert_eq!(refused(&stage.submit_parts(2, 0, 1, 0)[0]).2, CommandStatus::ESME_RMSGQFUL);
    stage.pass_ms(11_000);
    assert_eq!(stage.replies().len(), most, "the deadline of relay mode ends them");
    assert!(stage.submit_parts(3, 0, 1, 0).is_empty());
}

#[test]
fn a_message_s_id_is_in_its_customer_s_form() {
    let hex = smpp_shards::settings::CustomerSettings {
        message_id_format: smpp_shards::settings::MessageIdFormat::Hex,
        ..customer("acme")
    };
    let (mut stage, links) = Stage::with_vendors(Settings { customers: vec![hex], ..settings() });
    stage.submit_parts(1, 0, 1, 0);
    let sent = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(sent.sequence, b"v1"));
    let replies = stage.replies();
    let (_, Reply::Submitted { result: Ok((id, IdStyle::Hex)), .. }) = replies[0] else { panic!("{replies:?}") };
    assert_eq!(id.text(IdStyle::Uuid).len(), 36);
}
