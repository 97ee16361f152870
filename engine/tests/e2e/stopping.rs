//! The way down on SIGTERM: no new work, what is open to its end, everybody told, exit status 0 within 30 s.

use std::time::Duration;

use rustix::process::Signal;
use smpp_pdu::{Address, CommandId, CommandStatus, ShortMessage};

use crate::harness::setup::PASSWORD;
use crate::harness::{
    Esme, Gateway, Link, Setup, Shards, Vendor, ask_until, message, receipt, smsc, with_one_shard_and_with_two,
};

with_one_shard_and_with_two![
    every_submit_under_load_is_answered,
    open_messages_are_finished_and_everybody_is_unbound,
    new_binds_and_connections_are_refused_while_draining,
    a_receipt_in_flight_is_finished,
    an_interrupt_ends_it_too,
    peers_that_answer_nothing_cannot_hold_it_up,
    receipts_for_absent_customers_cannot_hold_it_up,
    a_second_signal_ends_it_at_once,
    an_idle_gateway_ends_at_once,
];

const LIMIT: Duration = Duration::from_secs(30);

/// A gateway whose customer may send from `ACME` alone, its one bind to a scripted vendor, and a session.
fn scripted(shards: Shards) -> (Gateway, Link, Esme) {
    let vendor = Vendor::listen();
    let gateway = Setup::new(shards)
        .customer("acme", "allowed_source_addresses = [\"ACME\"]")
        .vendor("north", vendor.address(), "")
        .rule("north", "")
        .launch();
    let link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let esme = Esme::bound(&gateway, "acme");
    (gateway, link, esme)
}

/// Sends the signal and waits until the customer's shard refuses: a source that is not the customer's is told by
/// another status before.
fn begin_to_drain(gateway: &Gateway, esme: &mut Esme) {
    gateway.signal(Signal::TERM);
    let foreign = ShortMessage { source: Address { ton: 5, npi: 0, addr: b"FOREIGN" }, ..message(b"now?") };
    ask_until("a shard that drains", || match esme.submitted(&foreign).status {
        CommandStatus::ESME_RINVSRCADR => None,
        status => {
            assert_eq!(status, CommandStatus::ESME_RSYSERR);
            Some(())
        }
    });
}

/// Customers in a closed loop that, told to unbind, wait for their last answers before they agree.
fn every_submit_under_load_is_answered(shards: Shards) {
    let vendor = smsc(&["--answer-delay-ms", "5..40"]);
    let mut gateway = Setup::usual(shards, vendor.address()).start();
    let customers: Vec<_> = (0..4)
        .map(|_| {
            let esme = Esme::bound(&gateway, "acme");
            std::thread::spawn(move || submit_until_unbound(esme))
        })
        .collect();
    ask_until("traffic", || (vendor.live().submits() > 2000).then_some(()));
    let ended = gateway.terminate();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.after < LIMIT, "{ended:?}");
    let outcomes: Vec<(u64, u64)> = customers.into_iter().map(|customer| customer.join().unwrap()).collect();
    let accepted: u64 = outcomes.iter().map(|(accepted, _)| accepted).sum();
    println!("{shards:?}: ended after {:?}, accepted and refused {outcomes:?}", ended.after);
    assert!(outcomes.iter().all(|(_, refused)| *refused > 0), "{outcomes:?}");
    assert_eq!(vendor.stop().unwrap().accepted, accepted);
}

/// Keeps fifty submits open until the gateway unbinds; how many were accepted and refused, which together are all.
fn submit_until_unbound(mut esme: Esme) -> (u64, u64) {
    let (mut open, mut accepted, mut refused) = (0, 0, 0);
    let mut unbind = None;
    while unbind.is_none() || open > 0 {
        while unbind.is_none() && open < 50 {
            esme.submit(&message(b"under load"));
            open += 1;
        }
        let pdu = esme.pdu();
        match (pdu.command, pdu.status) {
            (CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_ROK) => accepted += 1,
            (CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_RSYSERR) => refused += 1,
            (CommandId::UNBIND, _) => {
                unbind = Some(pdu.sequence);
                continue;
            }
            _ => panic!("{pdu:?}"),
        }
        open -= 1;
    }
    esme.send_header(CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, unbind.unwrap());
    esme.expect_end();
    (accepted, refused)
}

fn open_messages_are_finished_and_everybody_is_unbound(shards: Shards) {
    let (mut gateway, mut link, mut esme) = scripted(shards);
    let open = esme.submit(&message(b"under way"));
    let submit = link.take_submit();
    begin_to_drain(&gateway, &mut esme);
    assert_eq!(esme.submitted(&message(b"too late")).status, CommandStatus::ESME_RSYSERR);
    esme.expect_nothing_more();
    assert_eq!(gateway.get("/ready").0, 503);
    let (status, health) = gateway.get("/health");
    assert!(status == 200 && health.contains("\"phase\":\"draining\""), "{health}");
    link.answer_submit(&submit, "1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, open, CommandStatus::ESME_ROK);
    let unbind = esme.expect(CommandId::UNBIND);
    esme.send_header(CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, unbind.sequence);
    esme.expect_end();
    let unbind = link.expect(CommandId::UNBIND);
    link.send_header(CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, unbind.sequence);
    link.expect_end();
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

fn new_binds_and_connections_are_refused_while_draining(shards: Shards) {
    let (mut gateway, mut link, mut esme) = scripted(shards);
    let mut early = Esme::connect(gateway.address());
    early.expect_nothing_more();
    let open = esme.submit(&message(b"under way"));
    let submit = link.take_submit();
    begin_to_drain(&gateway, &mut esme);
    assert_eq!(early.bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD).status, CommandStatus::ESME_RSYSERR);
    early.expect_end();
    for _ in 0..4 {
        if let Ok(stream) = std::net::TcpStream::connect(gateway.address()) {
            crate::harness::Wire::new(stream).expect_end();
        }
    }
    link.answer_submit(&submit, "1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, open, CommandStatus::ESME_ROK);
    drop((esme, link));
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

fn a_receipt_in_flight_is_finished(shards: Shards) {
    let (mut gateway, mut link, mut esme) = scripted(shards);
    let sequence = esme.submit(&ShortMessage { registered_delivery: 1, ..message(b"hello") });
    link.accept_submit("77");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    let delivered = link.deliver(&receipt(b"id:77 stat:DELIVRD err:000"));
    let delivery = esme.expect(CommandId::DELIVER_SM);
    begin_to_drain(&gateway, &mut esme);
    esme.answer_delivery(&delivery, CommandStatus::ESME_ROK);
    link.expect_delivered(delivered, CommandStatus::ESME_ROK);
    drop((esme, link));
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

fn an_interrupt_ends_it_too(shards: Shards) {
    let mut gateway = Setup::new(shards).customer("acme", "").start_without_vendors();
    gateway.signal(Signal::INT);
    assert_eq!(gateway.wait_for_end().code(), Some(0));
}

/// Neither the vendor answers submits, nor anybody the unbinds; all timers are longer than the way down may take.
fn peers_that_answer_nothing_cannot_hold_it_up(shards: Shards) {
    let vendor = Vendor::listen();
    let mut gateway = Setup::new(shards)
        .gateway("relay_deadline_ms = 90000")
        .customer("acme", "")
        .vendor("north", vendor.address(), "response_timeout_ms = 90000")
        .rule("north", "")
        .launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let sequence = esme.submit(&message(b"never answered"));
    link.take_submit();
    let customer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(24));
        // Nobody knows what became of it; the answer comes before the unbind.
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RUNKNOWNERR);
    });
    let ended = gateway.terminate();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.after < LIMIT, "{ended:?}");
    customer.join().unwrap();
    println!("{shards:?}: ended after {:?}", ended.after);
}

/// A vendor that sends them again and again.
fn receipts_for_absent_customers_cannot_hold_it_up(shards: Shards) {
    let vendor = smsc(&["--receipt-delay-ms", "300", "--receipt-retry-ms", "300", "--receipt-tries", "255"]);
    let mut gateway = Setup::usual(shards, vendor.address()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    for _ in 0..50 {
        let asked = ShortMessage { registered_delivery: 1, ..message(b"and gone") };
        assert_eq!(esme.submitted(&asked).status, CommandStatus::ESME_ROK);
    }
    drop(esme);
    gateway.wait_for_metric("smpp_gateway_handed_back_total", &[], |count| count > 10.0);
    let ended = gateway.terminate();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.after < LIMIT, "{ended:?}");
    println!("{shards:?}: ended after {:?}", ended.after);
}

fn a_second_signal_ends_it_at_once(shards: Shards) {
    let (mut gateway, mut link, mut esme) = scripted(shards);
    esme.submit(&message(b"open"));
    link.take_submit();
    begin_to_drain(&gateway, &mut esme);
    let start = std::time::Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_for_end().code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

fn an_idle_gateway_ends_at_once(shards: Shards) {
    let mut gateway = Setup::new(shards).customer("acme", "").start_without_vendors();
    let ended = gateway.terminate();
    assert_eq!(ended.status.code(), Some(0));
    assert!(ended.after < Duration::from_secs(3), "{ended:?}");
}
