//! Receipts and mobile-originated messages between the load generator and the simulated SMSC.

mod support;

use smpp_pdu::command::CommandId;
use smpp_pdu::message::ShortMessage;
use smpp_pdu::{CommandStatus, encode};
use support::{Esme, load, smsc};

#[test]
fn receipts_of_every_format_are_matched_exactly_once() {
    let formats = [
        "standard",
        "no-sub",
        "short-dates",
        "hex-in-resp-decimal-in-receipt",
        "tlv-only",
        "text-only",
        "odd-case",
        "leading-zeros",
    ];
    for format in formats {
        for ids in ["hex", "decimal", "uuid"] {
            let smsc = smsc(&["--receipt-format", format, "--message-id-format", ids]);
            let report = load(&smsc, &["--sessions", "3", "--window", "20", "--count", "600", "--receipts"]);
            assert_eq!(report.problems, Vec::<String>::new(), "{format}, {ids}");
            assert_eq!(report.totals.receipts, 600, "{format}, {ids}");
            assert_eq!(report.receipt_states["DELIVRD"], 600, "{format}, {ids}");
            let counters = smsc.stop().unwrap();
            assert_eq!((counters.receipts_acknowledged, counters.receipts_open), (600, 0), "{format}, {ids}");
        }
    }
}

#[test]
fn receipts_before_the_answer_are_matched() {
    let smsc = smsc(&["--receipts-early", "--receipt-format", "hex-in-resp-decimal-in-receipt"]);
    let report = load(&smsc, &["--sessions", "2", "--window", "50", "--count", "2000", "--receipts"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.totals.receipts, 2000);
}

#[test]
fn a_receipt_comes_after_its_delay() {
    let smsc = smsc(&["--receipt-delay-ms", "100..150", "--answer-delay-ms", "10"]);
    let report = load(&smsc, &["--sessions", "1", "--count", "100", "--receipts"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.receipt_latency.at_percentile(0.0) >= 109_000_000, "{}", report.receipt_latency.at_percentile(0.0));
}

#[test]
fn a_receipt_that_comes_twice_is_told() {
    let smsc = smsc(&["--double-receipt-percent", "100"]);
    let report = load(&smsc, &["--sessions", "1", "--count", "50", "--receipts"]);
    assert_eq!(report.totals.receipts, 50);
    assert!(report.problems.iter().any(|problem| problem.contains("double or unknown")), "{:?}", report.problems);
}

#[test]
fn a_receipt_that_does_not_come_is_told() {
    let smsc = smsc(&["--receipts", "none"]);
    let report = load(&smsc, &["--sessions", "1", "--count", "50", "--receipts", "--receipt-wait", "0.2"]);
    assert_eq!(report.receipts_missing, 50);
    assert!(report.problems.iter().any(|problem| problem.contains("no receipt")), "{:?}", report.problems);
}

#[test]
fn failed_messages_have_a_receipt_that_says_so() {
    let smsc = smsc(&["--undelivered-percent", "100"]);
    let report = load(&smsc, &["--sessions", "1", "--count", "50", "--receipts"]);
    assert_eq!(report.receipt_states["UNDELIV"], 50);
}

#[test]
fn a_transmitter_has_its_receipts_on_a_receiver() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--sessions", "2", "--bind-type", "tx", "--count", "500", "--receipts"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.totals.receipts, 500);
    assert_eq!(smsc.stop().unwrap().binds, 3);
}

#[test]
fn many_customers_have_their_own_receipts() {
    let smsc = smsc(&[]);
    let arguments = ["--sessions", "8", "--customers", "4", "--threads", "2", "--count", "1000", "--receipts"];
    let report = load(&smsc, &arguments);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.totals.receipts, 1000);
}

#[test]
fn messages_reach_receivers_at_their_rate() {
    let smsc = smsc(&["--mo-rate", "200"]);
    let report = load(&smsc, &["--sessions", "2", "--bind-type", "rx", "--duration", "1"]);
    assert!((120..=300).contains(&report.totals.messages), "{}", report.totals.messages);
}

#[test]
fn a_receipt_refused_for_now_comes_again() {
    let smsc = smsc(&["--receipt-retry-ms", "50"]);
    let mut esme = Esme::bound(smsc.address(), CommandId::BIND_TRANSCEIVER);
    esme.submit(1);
    assert_eq!(esme.receive().unwrap().0.command_id, CommandId::SUBMIT_SM_RESP);
    let (first, pdu) = esme.receive().unwrap();
    let text = ShortMessage::decode(&pdu).unwrap().short_message.to_vec();
    let mut answer = Vec::new();
    encode::deliver_sm_resp(&mut answer, CommandStatus::ESME_RX_T_APPN, first.sequence_number);
    esme.send(&answer);
    let (second, pdu) = esme.receive().unwrap();
    assert_ne!(first.sequence_number, second.sequence_number);
    assert_eq!(ShortMessage::decode(&pdu).unwrap().short_message[..40], text[..40]);
    answer.clear();
    encode::deliver_sm_resp(&mut answer, CommandStatus::ESME_ROK, second.sequence_number);
    encode::header_only(&mut answer, CommandId::UNBIND, CommandStatus::ESME_ROK, 9);
    esme.send(&answer);
    assert_eq!(esme.receive().unwrap().0.command_id, CommandId::UNBIND_RESP);
    let counters = smsc.stop().unwrap();
    assert_eq!((counters.deliveries_retried, counters.receipts_acknowledged, counters.receipts_open), (1, 1, 0));
}

#[test]
fn an_unacknowledged_receipt_goes_to_the_next_bind() {
    let smsc = smsc(&[]);
    let mut first = Esme::bound(smsc.address(), CommandId::BIND_TRANSCEIVER);
    first.submit(1);
    first.receive().unwrap();
    assert_eq!(first.receive().unwrap().0.command_id, CommandId::DELIVER_SM);
    drop(first);
    let mut second = Esme::bound(smsc.address(), CommandId::BIND_RECEIVER);
    assert_eq!(second.receive().unwrap().0.command_id, CommandId::DELIVER_SM);
}

#[test]
fn the_deliver_window_is_never_exceeded() {
    let smsc = smsc(&["--deliver-window", "3", "--receipts", "always"]);
    let mut esme = Esme::bound(smsc.address(), CommandId::BIND_TRANSCEIVER);
    for _ in 0..10 {
        esme.submit(0);
    }
    let mut delivered = Vec::new();
    let mut answered = 0;
    while answered < 10 || delivered.len() < 3 {
        let (header, _) = esme.receive().unwrap();
        match header.command_id {
            CommandId::DELIVER_SM => delivered.push(header.sequence_number),
            _ => answered += 1,
        }
    }
    // Whatever is in the pipe comes before the answer to this.
    let mut enquire = Vec::new();
    encode::header_only(&mut enquire, CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, 99);
    esme.send(&enquire);
    assert_eq!(esme.receive().unwrap().0.command_id, CommandId::ENQUIRE_LINK_RESP);
    let mut answer = Vec::new();
    encode::deliver_sm_resp(&mut answer, CommandStatus::ESME_ROK, delivered[0]);
    esme.send(&answer);
    assert_eq!(esme.receive().unwrap().0.command_id, CommandId::DELIVER_SM);
}
