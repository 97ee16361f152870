//! What messages have to wait for, as the shard's report has it.

mod common;

use common::*;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};
use smpp_shards::histogram::Histogram;
use smpp_shards::{Action, Event};

/// One time of so many milliseconds.
fn one_of(millis: u64) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add_ms(millis);
    histogram
}

#[test]
fn the_times_of_a_message_and_its_receipt_are_counted() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSMITTER);
    stage.feed(customer, &submit(5, &ShortMessage { registered_delivery: 1, ..message(b"hello") }));
    let sent = stage.pdu(links[0]);
    stage.pass_ms(20);
    stage.feed(links[0], &submit_resp(sent.sequence, b"abc1"));
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_ROK);
    let latencies = stage.shard.report().latencies;
    assert_eq!((latencies.submit_response, latencies.vendor_answer), (one_of(20), one_of(20)));
    assert_eq!(latencies.delivery, Histogram::default());

    let text = b"id:abc1 sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000 text:";
    stage.feed(links[0], &deliver(70, &ShortMessage { esm_class: 0x04, ..message(text) }));
    stage.pass_ms(300);
    assert_eq!(stage.shard.report().latencies.delivery, Histogram::default(), "it waits for a bind");
    let receiver = stage.accept();
    stage.feed(receiver, &bind_pdu(CommandId::BIND_RECEIVER, 1, 0x34));
    stage.verdict(Ok(Default::default()));
    assert_eq!(stage.pdus(receiver).last().map(|pdu| pdu.command), Some(CommandId::DELIVER_SM));
    assert_eq!(stage.shard.report().latencies.delivery, one_of(300));
}

#[test]
fn every_answer_of_a_vendor_counts_from_the_submit_and_the_customer_s_once() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(5, &message(b"hello")));
    let first = stage.pdu(links[0]);
    stage.pass_ms(4);
    stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RSYSERR, first.sequence));
    stage.pass_ms(1_000);
    let second = stage.pdu(links[0]);
    stage.feed(links[0], &submit_resp(second.sequence, b"abc1"));
    assert_eq!(stage.pdu(customer).status, CommandStatus::ESME_ROK);
    let latencies = stage.shard.report().latencies;
    let mut both = one_of(4);
    both.merge(&one_of(1_004));
    assert_eq!((latencies.vendor_answer, latencies.submit_response), (both, one_of(1_004)));
}

#[test]
fn what_is_refused_at_once_has_no_time() {
    let (mut stage, links) = Stage::with_vendors(settings());
    let customer = stage.bound(0, CommandId::BIND_TRANSCEIVER);
    stage.feed(customer, &submit(5, &ShortMessage { dest: Default::default(), ..message(b"hello") }));
    assert_ne!(stage.pdu(customer).status, CommandStatus::ESME_ROK);
    assert!(stage.pdus(links[0]).is_empty());
    assert_eq!(stage.shard.report().latencies, smpp_shards::histogram::Latencies::default());
}

/// The lines of single messages that two answered submits come to.
fn sampled(log_sample: u32) -> Vec<Event> {
    let mut settings = settings();
    settings.gateway.log_sample = log_sample;
    let (mut stage, links) = Stage::with_vendors(settings);
    let customer = stage.bound(0, CommandId::BIND_TRANSMITTER);
    let mut lines = Vec::new();
    for (number, status) in [CommandStatus::ESME_ROK, CommandStatus::ESME_RINVDSTADR].into_iter().enumerate() {
        stage.feed(customer, &submit(5 + number as u32, &message(b"hello")));
        let sent = stage.pdu(links[0]);
        stage.pass_ms(20);
        stage.feed(links[0], &answer(CommandId::SUBMIT_SM_RESP, status, sent.sequence));
        stage.drain_actions();
        lines.extend(stage.actions.drain(..).filter_map(|action| match action {
            Action::Log(event @ Event::MessageAnswered { .. }) => Some(event),
            _ => None,
        }));
    }
    lines
}

#[test]
fn one_message_of_as_many_as_asked_for_has_a_line() {
    assert_eq!(sampled(0), []);
    assert_eq!(sampled(1).len(), 2);
    let lines = sampled(2);
    let [Event::MessageAnswered { status, latency_ms, segments, dest, message_id, pdu, .. }] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!((*status, *latency_ms, *segments), (CommandStatus::ESME_RINVDSTADR, 20, 1));
    assert_eq!((&dest[..], message_id.len()), ("15551234567", 36));
    assert_eq!(ShortMessage::decode(pdu).unwrap().short_message, b"hello");
}
