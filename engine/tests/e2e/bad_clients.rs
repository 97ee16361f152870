//! Customers that misbehave once they are bound: they take nothing, answer nothing, crawl, or flood. They get what
//! they have coming, memory stays bounded, and other customers do not feel it.

use std::io;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use smpp_pdu::{CommandId, CommandStatus, ShortMessage, encode};

use crate::harness::bench::{assert_clean, clean_load};
use crate::harness::esme::bind_pdu;
use crate::harness::message::submit_sm;
use crate::harness::setup::PASSWORD;
use crate::harness::{
    Background, Esme, Gateway, PATIENCE, Setup, Shards, Vendor, ask_until, assert_goes_to, load, message, receipt,
    smsc, with_one_shard_and_with_two,
};

with_one_shard_and_with_two![
    a_client_that_never_reads_its_answers_is_no_longer_read,
    a_client_that_never_reads_enquire_link_answers_is_no_longer_read,
    many_clients_that_never_read_leave_memory_bounded,
    a_client_that_takes_nothing_for_half_a_minute_is_cut_off,
    more_clients_than_files_are_closed_and_vendors_come_back,
    a_client_that_reads_late_gets_every_answer,
    receipts_that_are_never_answered_go_back_to_the_vendor,
    a_client_that_sends_an_octet_a_second_holds_nobody_up,
    a_bind_that_crawls_in_is_cut_off_by_the_bind_timer,
    submits_beyond_the_window_are_throttled,
    submits_beyond_the_rate_are_throttled,
    a_burst_up_to_the_stated_size_is_taken,
    enquire_link_is_answered_while_the_window_is_full,
    a_silent_client_is_asked_and_then_closed,
    a_client_that_leaves_without_its_answers_harms_nobody,
];

/// The customer under test, a good one, and a vendor that answers everything.
fn good_and_bad(shards: Shards, vendor: std::net::SocketAddr) -> Setup {
    Setup::usual(shards, vendor).customer("good", "")
}

/// Writes until the peer has taken nothing for two seconds, or `octets_max` are written; how many it took.
fn push(stream: &mut TcpStream, octets: &[u8], octets_max: usize) -> usize {
    use std::io::Write;
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut taken = 0;
    while taken < octets_max {
        match stream.write(&octets[taken % octets.len()..]) {
            Ok(count) => taken += count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) => panic!("the peer has closed after {taken} octets: {error}"),
        }
    }
    taken
}

const MIB: usize = 1 << 20;

fn tell_memory(what: &str, shards: Shards, gateway: &Gateway) {
    let mib = |octets: u64| octets as f64 / MIB as f64;
    println!(
        "{what}, {shards:?}: resident {:.1} MiB, at most {:.1} MiB",
        mib(gateway.resident_bytes()),
        mib(gateway.resident_bytes_max())
    );
}

fn flood_of_submits() -> Vec<u8> {
    let one = submit_sm(7, &message(&[b'x'; 150]));
    one.repeat(1000)
}

fn flood_of_enquiries() -> Vec<u8> {
    let mut one = Vec::new();
    encode::header_only(&mut one, CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, 7);
    one.repeat(1000)
}

fn a_client_that_never_reads_its_answers_is_no_longer_read(shards: Shards) {
    check_flood(shards, &flood_of_submits());
}

fn a_client_that_never_reads_enquire_link_answers_is_no_longer_read(shards: Shards) {
    check_flood(shards, &flood_of_enquiries());
}

fn check_flood(shards: Shards, flood: &[u8]) {
    let vendor = smsc(&[]);
    let gateway = good_and_bad(shards, vendor.address()).start();
    clean_load(gateway.address(), &["--system-id", "good", "--count", "2000"]);
    let before = gateway.resident_bytes();
    let bad = Esme::bound(&gateway, "acme");
    let mut stream = bad.tcp().try_clone().unwrap();
    let taken = push(&mut stream, flood, 512 * MIB);
    assert!(taken < 512 * MIB, "reading never stopped");
    tell_memory("a client that never reads", shards, &gateway);
    let grown = gateway.resident_bytes_max() as usize - before as usize;
    assert!(grown < 24 * MIB, "grown by {grown} octets");
    clean_load(gateway.address(), &["--system-id", "good", "--count", "5000", "--receipts"]);
    gateway.end_well_without(bad);
}

fn a_client_that_takes_nothing_for_half_a_minute_is_cut_off(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = good_and_bad(shards, vendor.address()).start();
    let bad = Esme::bound(&gateway, "acme");
    push(&mut bad.tcp().try_clone().unwrap(), &flood_of_enquiries(), 512 * MIB);
    let stalled = std::time::Instant::now();
    gateway.log.wait_for_within(Duration::from_secs(60), 1, &["customer's session ended", "acme"]);
    assert!(stalled.elapsed() > Duration::from_secs(20), "cut off after {:?}", stalled.elapsed());
    clean_load(gateway.address(), &["--system-id", "good", "--count", "1000"]);
    gateway.end_well_without(bad);
}

fn more_clients_than_files_are_closed_and_vendors_come_back(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = good_and_bad(shards, vendor.address()).files(100).launch();
    let link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let idle: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(gateway.address()).unwrap()).collect();
    gateway.log.wait_for(1, &["connections cannot be accepted", "open files"]);
    drop(link);
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    drop(idle);
    let mut esme = ask_until("a bind", || {
        let mut esme = Esme::connect(gateway.address());
        esme.try_send(&bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "good", PASSWORD, 0x34)).ok()?;
        esme.receive().filter(|answer| answer.status == CommandStatus::ESME_ROK).map(|_| esme)
    });
    assert_goes_to(&mut esme, &mut link, &message(b"as ever"));
    gateway.end_well_without((esme, link));
}

fn many_clients_that_never_read_leave_memory_bounded(shards: Shards) {
    const CLIENTS: usize = 40;
    let vendor = smsc(&[]);
    let gateway = good_and_bad(shards, vendor.address()).start();
    clean_load(gateway.address(), &["--system-id", "good", "--count", "2000"]);
    let before = gateway.resident_bytes();
    let flood = flood_of_enquiries();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let mut bad = Esme::bound(&gateway, "acme");
            let flood = &flood;
            scope.spawn(move || {
                let mut stream = bad.tcp().try_clone().unwrap();
                push(&mut stream, flood, 512 * MIB);
                // Held until all have been full at the same time.
                bad.sequence()
            });
        }
    });
    tell_memory("40 clients that never read", shards, &gateway);
    let grown = gateway.resident_bytes_max() as usize - before as usize;
    // The pool of receive buffers grows up to 64 MiB a shard when many connections bring much at the same time.
    let pool = 64 * MIB * if shards == Shards::One { 1 } else { 2 };
    assert!(grown < CLIENTS * 4 * MIB + pool, "grown by {grown} octets");
    clean_load(gateway.address(), &["--system-id", "good", "--count", "5000", "--receipts"]);
    gateway.end_well();
}

fn a_client_that_reads_late_gets_every_answer(shards: Shards) {
    const COUNT: usize = 100_000;
    let vendor = smsc(&[]);
    let gateway = good_and_bad(shards, vendor.address()).start();
    let mut late = Esme::bound(&gateway, "acme");
    let mut stream = late.tcp().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        use std::io::Write;
        let one = submit_sm(7, &message(b"an answer to each"));
        stream.write_all(&one.repeat(COUNT)).unwrap();
    });
    clean_load(gateway.address(), &["--system-id", "good", "--count", "5000"]);
    for _ in 0..COUNT {
        let answer = late.expect(CommandId::SUBMIT_SM_RESP);
        assert!(matches!(answer.status, CommandStatus::ESME_ROK | CommandStatus::ESME_RTHROTTLED), "{answer:?}");
    }
    writer.join().unwrap();
    late.expect_nothing_more();
    late.unbind();
    gateway.end_well();
}

/// The vendor gets its receipts back as ESME_RX_T_APPN after `receipt_hold_ms`, and meanwhile and afterwards the
/// receipts of another customer pass.
fn receipts_that_are_never_answered_go_back_to_the_vendor(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = good_and_bad(shards, vendor.address()).gateway("receipt_hold_ms = 700").launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut silent = Esme::bound(&gateway, "acme");
    let mut good = Esme::bound(&gateway, "good");
    let asked = ShortMessage { registered_delivery: 1, ..message(b"hello") };
    for (esme, id) in [(&mut silent, "1001"), (&mut good, "2001")] {
        let sequence = esme.submit(&asked);
        link.accept_submit(id);
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    }
    let lost = link.deliver(&receipt(b"id:1001 stat:DELIVRD err:000"));
    let unanswered = silent.expect(CommandId::DELIVER_SM);
    let taken = link.deliver(&receipt(b"id:2001 stat:DELIVRD err:000"));
    good.take_delivery();
    link.expect_delivered(taken, CommandStatus::ESME_ROK);
    link.expect_delivered(lost, CommandStatus::ESME_RX_T_APPN);
    // An answer that comes too late counts for nothing; sent again, the receipt is delivered again.
    silent.answer_delivery(&unanswered, CommandStatus::ESME_ROK);
    silent.expect_nothing_more();
    let again = link.deliver(&receipt(b"id:1001 stat:DELIVRD err:000"));
    silent.take_delivery();
    link.expect_delivered(again, CommandStatus::ESME_ROK);
    gateway.end_well_without((silent, good, link));
}

fn a_client_that_sends_an_octet_a_second_holds_nobody_up(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = good_and_bad(shards, vendor.address()).start();
    let slow =
        Background::start(gateway.address(), &["--sessions", "10", "--slow-bytes", "--duration", "3", "--quiet"]);
    let report = clean_load(gateway.address(), &["--system-id", "good", "--rate", "1000", "--duration", "2"]);
    // Not a matter of speed: whoever is held up waits for seconds, and the median does not move with a busy machine.
    let median = Duration::from_nanos(report.answer_latency.at_percentile(50.0));
    assert!(median < Duration::from_secs(1), "median {median:?}");
    slow.wait();
    gateway.end_well();
}

fn a_bind_that_crawls_in_is_cut_off_by_the_bind_timer(shards: Shards) {
    let gateway = Setup::new(shards).customer("acme", "").smpp("bind_timeout_ms = 1000").start_without_vendors();
    let mut esme = Esme::connect(gateway.address());
    let start = Instant::now();
    let mut cut_off = false;
    for octet in bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "acme", PASSWORD, 0x34) {
        cut_off |= esme.try_send(&[octet]).is_err();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(cut_off || esme.receive().is_none(), "the bind was taken after {:?}", start.elapsed());
    gateway.end_well();
}

/// A vendor that answers nothing: exactly the window is open, and what is beyond it is refused at once.
fn submits_beyond_the_window_are_throttled(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::new(shards)
        .customer("acme", "smpp_window = 10")
        .vendor("north", vendor.address(), "")
        .rule("north", "")
        .launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let sequences: Vec<u32> = (0..25).map(|_| esme.submit(&message(b"window"))).collect();
    for &sequence in &sequences[10..] {
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RTHROTTLED);
    }
    for &sequence in &sequences[..10] {
        link.accept_submit("1");
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    }
    let again = esme.submit(&message(b"room again"));
    link.accept_submit("2");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, again, CommandStatus::ESME_ROK);
    link.expect_nothing_more();
    gateway.wait_for_metric("smpp_gateway_window_exceeded_total", &[], |count| count == 15.0);
    gateway.end_well_without((esme, link));
}

/// Two binds together get their rate and not twice that, and everything is answered.
fn submits_beyond_the_rate_are_throttled(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::new(shards)
        .customer("acme", "smpp_throughput = 200\nsmpp_burst = 20")
        .vendor("north", vendor.address(), "")
        .rule("north", "")
        .start();
    let report = load(gateway.address(), &["--sessions", "2", "--rate", "1000", "--duration", "3"]);
    assert_eq!(report.lost(), 0);
    let throttled = report.statuses.get(&CommandStatus::ESME_RTHROTTLED.0).copied().unwrap_or_default();
    assert_eq!(report.totals.accepted + throttled, report.totals.sent, "{}", report.to_text());
    let seconds = report.totals.sent as f64 / 1000.0;
    let most = 20.0 + 200.0 * (seconds + 0.1);
    assert!((report.totals.accepted as f64) <= most, "{} in {seconds} s", report.totals.accepted);
    assert!((report.totals.accepted as f64) >= 200.0 * seconds * 0.9, "{} in {seconds} s", report.totals.accepted);
    assert_eq!(vendor.live().submits(), report.totals.accepted);
    gateway.end_well();
}

fn a_burst_up_to_the_stated_size_is_taken(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::new(shards)
        .customer("acme", "smpp_throughput = 1\nsmpp_burst = 50")
        .vendor("north", vendor.address(), "")
        .rule("north", "")
        .start();
    let mut esme = Esme::bound(&gateway, "acme");
    let burst: Vec<u8> = (1..=100).flat_map(|sequence| submit_sm(sequence, &message(b"burst"))).collect();
    let start = Instant::now();
    esme.send(&burst);
    let mut accepted = 0;
    for _ in 0..100 {
        let answer = esme.expect(CommandId::SUBMIT_SM_RESP);
        if answer.status.is_ok() {
            accepted += 1;
        } else {
            assert_eq!(answer.status, CommandStatus::ESME_RTHROTTLED);
        }
    }
    let later = 1 + start.elapsed().as_secs();
    assert!((50..=50 + later).contains(&accepted), "{accepted} were taken");
    gateway.end_well_without(esme);
}

fn enquire_link_is_answered_while_the_window_is_full(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::new(shards)
        .gateway("relay_deadline_ms = 2000")
        .customer("acme", "smpp_window = 5")
        .vendor("north", vendor.address(), "window_size = 2")
        .rule("north", "")
        .launch();
    let link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    for _ in 0..5 {
        esme.submit(&message(b"open"));
    }
    let start = Instant::now();
    esme.expect_nothing_more();
    assert!(start.elapsed() < PATIENCE / 6);
    gateway.end_well_without((esme, link));
}

fn a_silent_client_is_asked_and_then_closed(shards: Shards) {
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .smpp("enquire_link_ms = 300\ninactivity_timeout_ms = 1000")
        .start_without_vendors();
    let mut silent = Esme::bound(&gateway, "acme");
    let mut alive = Esme::bound(&gateway, "acme");
    let keeper = std::thread::spawn(move || {
        let start = Instant::now();
        let mut asked = 0;
        while start.elapsed() < Duration::from_secs(2) {
            let request = alive.expect(CommandId::ENQUIRE_LINK);
            alive.send_header(CommandId::ENQUIRE_LINK_RESP, CommandStatus::ESME_ROK, request.sequence);
            asked += 1;
        }
        (alive, asked)
    });
    silent.expect(CommandId::ENQUIRE_LINK);
    silent.expect(CommandId::UNBIND);
    silent.expect_end();
    let (alive, asked) = keeper.join().unwrap();
    assert!((3..=8).contains(&asked), "asked {asked} times in 2 s");
    drop(alive);
    gateway.end_well();
}

fn a_client_that_leaves_without_its_answers_harms_nobody(shards: Shards) {
    let vendor = smsc(&["--answer-delay-ms", "50..200"]);
    let gateway = good_and_bad(shards, vendor.address()).start();
    let good = Background::start(gateway.address(), &["--system-id", "good", "--rate", "500", "--duration", "3"]);
    for _ in 0..100 {
        let mut esme = Esme::bound(&gateway, "acme");
        for _ in 0..10 {
            esme.submit(&message(b"and gone"));
        }
    }
    assert_clean(&good.wait());
    gateway.wait_for_metric("smpp_gateway_answers_without_session_total", &[], |count| count > 0.0);
    gateway.wait_for_metric("smpp_gateway_sessions", &[], |count| count == 0.0);
    gateway.wait_for_metric("smpp_gateway_messages_open", &[], |count| count == 0.0);
    gateway.end_well();
}
