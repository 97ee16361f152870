//! The load generator against the simulated SMSC over loopback: messages, windows, rates, faults.

mod support;

use smpp_pdu::CommandStatus;
use smpp_pdu::command::CommandId;
use support::{Server, load, smsc, try_load};

const THROTTLED: u32 = CommandStatus::ESME_RTHROTTLED.0;

#[test]
fn a_closed_loop_sends_exactly_the_count_and_all_is_answered() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--sessions", "3", "--window", "7", "--count", "5000"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!((report.totals.sent, report.totals.accepted), (5000, 5000));
    assert_eq!((report.sent, report.answered), (5000, 5000), "all of it is measured, the first windows too");
    assert_eq!(report.answer_latency.count(), 5000);
    let counters = smsc.stop().unwrap();
    assert_eq!((counters.submits, counters.accepted, counters.binds), (5000, 5000, 3));
}

#[test]
fn a_steady_rate_is_kept_within_three_percent() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--sessions", "10", "--window", "100", "--rate", "4000", "--duration", "3"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert!((report.rate() - 4000.0).abs() < 120.0, "{}", report.rate());
    assert!(report.totals.sent.abs_diff(12_000) < 360, "{}", report.totals.sent);
}

#[test]
fn a_steady_rate_begins_at_once() {
    let smsc = smsc(&[]);
    // All of them are due within 10 ms; begun at the next housekeeping, they are late by most of its 100 ms.
    let report = load(&smsc, &["--sessions", "1", "--window", "100", "--rate", "1000", "--count", "10"]);
    assert_eq!(report.totals.accepted, 10);
    assert!(report.answer_latency.at_percentile(1.0) < 40_000_000, "{}", report.answer_latency.at_percentile(1.0));
}

#[test]
fn a_steady_rate_counts_the_wait_for_the_window() {
    let smsc = smsc(&["--answer-delay-ms", "50"]);
    // One message at a time takes 50 ms, ten times what the rate allows: the last ones wait for seconds.
    let report = load(&smsc, &["--sessions", "1", "--window", "1", "--rate", "200", "--count", "40"]);
    assert_eq!(report.totals.accepted, 40);
    assert!(report.answer_latency.max() > 1_500_000_000, "{}", report.answer_latency.max());
    assert!(report.answer_latency.at_percentile(1.0) < 500_000_000);
}

#[test]
fn a_window_is_filled_and_never_exceeded() {
    let smsc = smsc(&["--answer-delay-ms", "5..15"]);
    let report = load(&smsc, &["--sessions", "2", "--window", "10", "--count", "500"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(smsc.stop().unwrap().unanswered_max, 10);
    assert!(report.answer_latency.at_percentile(1.0) >= 4_900_000);
}

#[test]
fn a_flood_goes_beyond_the_window() {
    let smsc = smsc(&["--answer-delay-ms", "200"]);
    let report = load(&smsc, &["--sessions", "1", "--window", "10", "--flood", "--count", "500"]);
    assert_eq!(report.totals.accepted, 500);
    assert!(smsc.stop().unwrap().unanswered_max > 10);
}

#[test]
fn statuses_are_counted_one_by_one() {
    let smsc = smsc(&["--throttle-percent", "20", "--fail-percent", "10", "--fail-status", "ESME_RINVDSTADR"]);
    let report = load(&smsc, &["--sessions", "2", "--count", "5000"]);
    let counters = smsc.stop().unwrap();
    assert_eq!(report.statuses.values().sum::<u64>(), 5000);
    assert_eq!(report.statuses[&THROTTLED], counters.refused[&THROTTLED]);
    assert_eq!(report.statuses[&CommandStatus::ESME_RINVDSTADR.0], counters.refused[&CommandStatus::ESME_RINVDSTADR.0]);
    assert_eq!(report.statuses[&0], counters.accepted);
    assert!((800..1200).contains(&report.statuses[&THROTTLED]), "{:?}", report.statuses);
}

#[test]
fn a_capacity_throttles_what_is_above_it() {
    let smsc = smsc(&["--capacity-rate", "500"]);
    let report = load(&smsc, &["--sessions", "2", "--rate", "2000", "--duration", "1"]);
    let accepted = report.statuses[&0];
    assert!((450..900).contains(&accepted), "{:?}", report.statuses);
    assert_eq!(report.statuses[&THROTTLED] + accepted, report.totals.sent);
}

#[test]
fn submits_left_unanswered_are_told() {
    let smsc = smsc(&["--silent-percent", "10"]);
    let report = load(&smsc, &["--sessions", "1", "--window", "200", "--count", "500", "--answer-timeout", "0.5"]);
    let silent = smsc.stop().unwrap().silent;
    assert!(silent > 0);
    assert_eq!((report.totals.unanswered, report.totals.accepted), (silent, 500 - silent));
    assert!(report.problems[0].contains("never answered"), "{:?}", report.problems);
}

#[test]
fn answers_that_belong_to_nothing_are_told() {
    let smsc = smsc(&["--twice-percent", "100"]);
    let report = load(&smsc, &["--sessions", "1", "--window", "5", "--count", "100"]);
    assert_eq!((report.totals.accepted, report.totals.stray_answers), (100, 100));
    assert!(report.problems[0].contains("no open submit"), "{:?}", report.problems);
}

#[test]
fn an_answer_under_an_unknown_sequence_number_answers_nothing() {
    let smsc = smsc(&["--unknown-sequence-percent", "100"]);
    let report = load(&smsc, &["--sessions", "1", "--window", "50", "--count", "50", "--answer-timeout", "0.2"]);
    assert_eq!((report.totals.unanswered, report.totals.stray_answers), (50, 50));
}

#[test]
fn a_dropped_session_is_told_with_what_was_open() {
    let smsc = smsc(&["--drop-after", "100", "--answer-delay-ms", "20"]);
    let report = load(&smsc, &["--sessions", "1", "--window", "10", "--duration", "20"]);
    assert_eq!(report.totals.disconnects, 1);
    assert_eq!(report.totals.sent, report.totals.accepted + report.totals.cut_off);
    assert!(report.problems.iter().any(|problem| problem.contains("closed the connection")), "{:?}", report.problems);
}

#[test]
fn a_dropped_session_is_bound_again_when_told_so() {
    let smsc = smsc(&["--drop-after", "100"]);
    let report = load(&smsc, &["--sessions", "4", "--window", "10", "--count", "700", "--reconnect"]);
    assert!(report.totals.reconnects > 0);
    assert_eq!(report.totals.sent, 700);
    assert_eq!(report.totals.accepted + report.totals.cut_off, 700);
    assert!(smsc.stop().unwrap().binds > 4);
}

#[test]
fn an_answer_cut_in_the_middle_is_no_answer() {
    let smsc = smsc(&["--cut-after", "1"]);
    let report = load(&smsc, &["--sessions", "1", "--window", "1", "--count", "5"]);
    assert_eq!((report.totals.sent, report.totals.accepted, report.totals.cut_off), (1, 0, 1));
}

#[test]
fn every_connection_is_dropped_at_the_interval() {
    let smsc = smsc(&["--drop-every", "0.3"]);
    let report = load(&smsc, &["--sessions", "2", "--rate", "100", "--duration", "2.2", "--reconnect"]);
    assert!(report.totals.disconnects >= 2 && report.totals.reconnects >= 2, "{:?}", report.totals);
}

#[test]
fn a_client_that_never_reads_ends_by_its_time() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--sessions", "1", "--never-read", "--flood", "--body", "140", "--duration", "0.5"]);
    assert_eq!(report.totals.answered, 0);
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(smsc.stop().unwrap().submits > 0);
}

#[test]
fn a_client_of_slow_octets_sends_one_a_second() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--sessions", "1", "--slow-bytes", "--duration", "2.5"]);
    assert_eq!(report.totals.answered, 0);
    assert_eq!(smsc.stop().unwrap().submits, 0);
}

#[test]
fn idle_sessions_are_kept_alive() {
    let smsc = smsc(&[]);
    let arguments =
        ["--sessions", "1", "--rate", "100", "--duration", "3", "--idle-sessions", "20", "--enquire-interval", "1"];
    let report = load(&smsc, &arguments);
    assert_eq!(report.problems, Vec::<String>::new());
    let counters = smsc.stop().unwrap();
    assert_eq!(counters.binds, 21);
    assert!(counters.enquire_links >= 21, "{}", counters.enquire_links);
}

#[test]
fn the_servers_enquire_link_is_answered() {
    let smsc = smsc(&["--enquire-interval", "0.2"]);
    let report = load(&smsc, &["--sessions", "2", "--rate", "100", "--duration", "1"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.totals.enquire_links >= 4, "{}", report.totals.enquire_links);
}

#[test]
fn two_threads_share_the_work() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--sessions", "5", "--threads", "2", "--count", "5001"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.totals.accepted, 5001);
}

#[test]
fn long_bodies_go_through() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--sessions", "2", "--body", "20000", "--count", "300"]);
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.totals.accepted, 300);
}

#[test]
fn a_warm_up_is_sent_but_not_measured() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--rate", "1000", "--warmup", "0.5", "--duration", "0.5"]);
    assert!(report.totals.sent.abs_diff(1000) < 150, "{}", report.totals.sent);
    assert!(report.answered.abs_diff(500) < 150, "{}", report.answered);
}

#[test]
fn a_count_that_the_warm_up_uses_up_is_a_problem() {
    let smsc = smsc(&[]);
    let report = load(&smsc, &["--count", "100", "--warmup", "0.5"]);
    assert_eq!(report.problems, ["--count was used up within the warm-up: nothing was measured"]);
}

#[test]
fn what_is_open_when_the_server_unbinds_may_still_be_answered() {
    let server = Server::listen();
    let address = server.address();
    let server = std::thread::spawn(move || {
        let mut session = server.accept_bound();
        let submits: Vec<u32> = (0..3).map(|_| session.expect(CommandId::SUBMIT_SM)).collect();
        session.send(CommandId::UNBIND, 77);
        assert_eq!(session.expect(CommandId::UNBIND_RESP), 77);
        for sequence in submits {
            session.send(CommandId::SUBMIT_SM_RESP, sequence);
        }
        assert!(session.receive().is_none(), "the client goes when all is answered, and submits no more");
    });
    let report = try_load(address, &["--sessions", "1", "--window", "3", "--count", "100"]).unwrap();
    server.join().unwrap();
    assert_eq!((report.totals.answered, report.totals.cut_off, report.totals.disconnects), (3, 0, 1));
    assert!(report.problems[0].contains("the server unbound the session"), "{:?}", report.problems);
}

#[test]
fn a_second_listener_serves_as_well() {
    let smsc = smsc(&["--listen", "127.0.0.1:0"]);
    assert_eq!(try_load(smsc.addresses()[1], &["--count", "100"]).unwrap().totals.accepted, 100);
}
