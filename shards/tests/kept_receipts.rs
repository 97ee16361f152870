//! Journal mode: receipts on their way to a customer that is slow, away, refuses or says nothing.

#![allow(clippy::unwrap_used, reason = "a test may end so")]

mod common;

use common::kept::*;
use common::*;
use smpp_pdu::receipt::MessageState;
use smpp_pdu::{CommandId, CommandStatus};
use smpp_shards::bounds::DELIVER_RESPONSE_MS_MAX;
use smpp_shards::{CloseCause, CustomerId};

const OK: CommandStatus = CommandStatus::ESME_ROK;

#[test]
fn a_receipt_that_was_there_before_the_commit_follows_the_answer_at_once() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    kept.stage.pass_ms(1000);
    assert!(kept.stage.pdus(kept.customer).is_empty(), "the customer does not know the message's id yet");
    kept.commit();
    let commands: Vec<CommandId> = kept.stage.pdus(kept.customer).iter().map(|pdu| pdu.command).collect();
    assert_eq!(commands, [CommandId::SUBMIT_SM_RESP, CommandId::DELIVER_SM]);
}

#[test]
fn what_a_receipt_says_makes_no_difference_to_its_waiting_for_the_answer() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 0x11);
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    for stat in ["ENROUTE", "ACCEPTD", "DELIVRD"] {
        kept.stage.feed(kept.link, &receipt_of("v1", stat));
    }
    assert!(kept.stage.pdus(kept.customer).is_empty(), "the customer does not know the message's id yet");
    kept.commit();
    kept.stage.pass_ms(1000);
    let got: Vec<_> = kept.stage.pdus(kept.customer).iter().map(|pdu| (pdu.command, stat_of(&pdu.bytes))).collect();
    let receipt = |state| (CommandId::DELIVER_SM, Some(state));
    assert_eq!(got[..2], [(CommandId::SUBMIT_SM_RESP, None), receipt(MessageState::Enroute)]);
    assert_eq!(got[2..], [receipt(MessageState::Accepted), receipt(MessageState::Delivered)]);
}

#[test]
fn a_receipt_that_the_customer_took_before_the_commit_is_acknowledged_at_once() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.pdus(kept.customer);
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    let delivered = kept.stage.pdu(kept.customer);
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
    assert_eq!(kept.stage.pdu(kept.link).status, OK);
    kept.commit();
    assert!(kept.stage.pdus(kept.link).is_empty());
    assert_eq!(kept.live(), (0, 0, 0));
}

#[test]
fn receipts_wait_for_a_customer_that_is_away_and_the_vendor_need_not() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.pdus(kept.customer);
    kept.stage.shard.closed(kept.customer, CloseCause::EndOfStream, kept.stage.now, &mut kept.stage.out);
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    kept.commit();
    assert_eq!(kept.stage.pdu(kept.link).status, OK);
    kept.stage.pass_ms(60_000);
    kept.stage.pdus(kept.link);
    kept.customer = kept.stage.accept();
    kept.stage.feed(kept.customer, &bind_pdu(CommandId::BIND_RECEIVER, 1, 0x34));
    kept.stage.verdict(Ok((smpp_shards::CustomerId(0), smpp_shards::ShardId(0))));
    let pdus = kept.stage.pdus(kept.customer);
    let [bound, delivered] = &pdus[..] else { panic!("{pdus:?}") };
    assert_eq!((bound.status, delivered.command), (OK, CommandId::DELIVER_SM));
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
}

#[test]
fn a_receipt_that_is_refused_for_the_moment_is_given_again() {
    let mut kept = Kept::new(settings());
    let sequence = kept.submit(5, 1);
    kept.commit();
    kept.stage.feed(kept.link, &submit_resp(sequence, b"v1"));
    kept.stage.pdus(kept.customer);
    kept.stage.feed(kept.link, &receipt_of("v1", "DELIVRD"));
    let delivered = kept.stage.pdu(kept.customer);
    kept.commit();
    kept.stage.feed(kept.customer, &deliver_resp(delivered.sequence, CommandStatus::ESME_RX_T_APPN));
    assert!(kept.stage.pdus(kept.customer).is_empty());
    kept.stage.pass_ms(6_000);
    let again = kept.stage.pdu(kept.customer);
    kept.stage.feed(kept.customer, &deliver_resp(again.sequence, CommandStatus::ESME_RX_P_APPN));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0), "refused for good");
}

#[test]
fn a_receipt_that_one_bind_leaves_unanswered_goes_to_another() {
    let mut settings = settings();
    (settings.gateway.enquire_link_ms, settings.gateway.inactivity_timeout_ms) = (0, 0);
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    let mute = kept.customer;
    kept.give_receipt("v0");
    let unanswered = kept.deliveries(mute).pop().unwrap();
    let other = kept.stage.bound(0, CommandId::BIND_TRANSCEIVER);
    kept.stage.pass_ms(DELIVER_RESPONSE_MS_MAX - 1_000);
    assert!(kept.deliveries(mute).is_empty() && kept.deliveries(other).is_empty(), "it has its time to answer");
    kept.stage.pass_ms(2_000);
    // It goes to either of them; until it answers something, no more than one at a time goes to the mute one.
    let (mut at_mute, mut at_other) = (0, 0);
    for number in 1..=10 {
        at_mute += kept.deliveries(mute).len();
        for pdu in kept.deliveries(other) {
            assert_eq!(stat_of(&pdu.bytes), Some(MessageState::Delivered));
            kept.stage.feed(other, &deliver_resp(pdu.sequence, OK));
            at_other += 1;
        }
        kept.give_receipt(&format!("v{number}"));
    }
    at_other += kept.deliveries(other).len();
    assert_eq!((at_mute, at_other), (1, 10), "eleven receipts, the first one again");
    kept.stage.feed(mute, &deliver_resp(unanswered.sequence, OK));
    (11..=14).for_each(|number| kept.give_receipt(&format!("v{number}")));
    assert_eq!(kept.deliveries(mute).len(), 2, "it has answered, and has its share again");
}

#[test]
fn a_bind_that_answers_late_gets_at_once_what_waited_for_it() {
    let mut settings = settings();
    (settings.gateway.enquire_link_ms, settings.gateway.inactivity_timeout_ms) = (0, 0);
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    (0..3).for_each(|number| kept.give_receipt(&format!("v{number}")));
    let late = kept.deliveries(kept.customer);
    kept.stage.pass_ms(DELIVER_RESPONSE_MS_MAX + 1_000);
    assert_eq!((late.len(), kept.deliveries(kept.customer).len()), (3, 1));
    kept.stage.feed(kept.customer, &deliver_resp(late[0].sequence, OK));
    assert_eq!(kept.deliveries(kept.customer).len(), 2);
}

#[test]
fn a_receipt_whose_bind_ends_without_an_answer_waits_as_long_as_any() {
    let mut settings = settings();
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    kept.give_receipt("v1");
    assert_eq!(kept.deliveries(kept.customer).len(), 1);
    kept.stage.shard.closed(kept.customer, CloseCause::EndOfStream, kept.stage.now, &mut kept.stage.out);
    kept.stage.pass_ms(10 * DELIVER_RESPONSE_MS_MAX);
    kept.commit();
    assert_eq!(kept.live(), (0, 1, 1));
    kept.customer = kept.stage.accept();
    kept.stage.feed(kept.customer, &bind_pdu(CommandId::BIND_TRANSCEIVER, 1, 0x34));
    kept.stage.verdict(Ok((CustomerId(0), smpp_shards::ShardId(0))));
    let again = kept.deliveries(kept.customer).pop().unwrap();
    kept.stage.feed(kept.customer, &deliver_resp(again.sequence, OK));
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
}

#[test]
fn a_receipt_that_nobody_answers_ends_with_its_validity() {
    let mut settings = settings();
    (settings.gateway.enquire_link_ms, settings.gateway.inactivity_timeout_ms) = (0, 0);
    settings.gateway.validity_hours = 1;
    settings.vendors[0].enquire_link_ms = 0;
    let mut kept = Kept::new(settings);
    kept.give_receipt("v1");
    kept.stage.pass_ms(59 * 60_000);
    assert!(kept.deliveries(kept.customer).len() > 50, "again and again");
    assert_eq!(kept.live(), (0, 1, 1));
    kept.stage.pass_ms(2 * 60_000);
    kept.commit();
    assert_eq!(kept.live(), (0, 0, 0));
    kept.deliveries(kept.customer);
    kept.stage.pass_ms(5 * 60_000);
    assert!(kept.deliveries(kept.customer).is_empty());
}
