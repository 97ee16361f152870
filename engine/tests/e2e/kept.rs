//! The journal's bounds and failures against the real program.

use std::time::Duration;

use rustix::process::Signal;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, Tlvs};

use crate::harness::disk::SmallDisk;
use crate::harness::setup::PASSWORD;
use crate::harness::{Esme, Gateway, Setup, Shards, Vendor, message, receipt, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    a_full_journal_refuses_new_messages_and_goes_on_when_there_is_room,
    a_full_disk_refuses_new_messages_and_loses_none,
    a_start_that_waits_for_a_full_disk_says_so_and_can_be_stopped,
    what_is_kept_of_a_customer_that_is_gone_goes_out_and_waits_for_it,
];

/// Octets of a body: so large that the journal is full after a thousand or so.
const BODY: usize = 60_000;

/// Messages that a gateway may take at the most before its journal must be full.
const MESSAGES_MAX: usize = 4_000;

fn a_full_journal_refuses_new_messages_and_goes_on_when_there_is_room(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = roomy_vendor(Setup::new(shards), &vendor).rows("[journal]\nsegment_mb = 8\nmax_mb = 128\n");
    fill_and_empty(gateway.launch(), &vendor);
}

fn a_full_disk_refuses_new_messages_and_loses_none(shards: Shards) {
    let setup = Setup::new(shards);
    let Some(_disk) = SmallDisk::in_memory(&setup.folder.path().join("data"), 150) else {
        println!("not run: a small file system takes root to mount");
        return;
    };
    let vendor = Vendor::listen();
    let gateway = roomy_vendor(setup, &vendor).rows("[journal]\nsegment_mb = 8\n");
    fill_and_empty(gateway.launch(), &vendor);
}

fn a_start_that_waits_for_a_full_disk_says_so_and_can_be_stopped(shards: Shards) {
    let vendor = Vendor::listen();
    let setup = Setup::new(shards);
    let data_dir = setup.folder.path().join("data");
    let Some(disk) = SmallDisk::in_memory(&data_dir, 150) else {
        println!("not run: a small file system takes root to mount");
        return;
    };
    let setup = roomy_vendor(setup, &vendor).rows("[journal]\nsegment_mb = 8\n");
    let text = setup.text();
    let gateway = setup.launch();
    let link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    assert_eq!(esme.submitted(&message(b"kept")).status, CommandStatus::ESME_ROK);
    let (folder, ports) = gateway.kill();
    drop((link, esme));
    disk.fill();
    // Room for a folder and the look at how files can be written there, and for no segment.
    disk.make_room_of(1);

    let mut gateway = Gateway::launch(folder, ports, &text, None);
    gateway.log.wait_for(1, &["the journal cannot be written"]);
    gateway.wait_for_metric("smpp_gateway_journal_failing", &["0"], |failing| failing == 1.0);
    let health = gateway.get("/health").1;
    assert!(health.contains("the start waits until it can") && health.contains("recovering"), "{health}");
    let ended = gateway.terminate();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.after < Duration::from_secs(10), "{ended:?}");
    let (folder, ports) = gateway.kill();

    let gateway = Gateway::launch(folder, ports, &text, None);
    gateway.log.wait_for(1, &["the journal cannot be written"]);
    disk.make_room();
    let mut link = vendor.accept_bound();
    link.accept_submit("kept");
    gateway.end_well_without(link);
}

fn what_is_kept_of_a_customer_that_is_gone_goes_out_and_waits_for_it(shards: Shards) {
    let vendor = Vendor::listen();
    let setup = Setup::new(shards).journaled().customer("bolt", "").vendor("north", vendor.address(), "");
    let setup = setup.rule("north", "");
    let without = setup.text();
    let setup = setup.customer("acme", "");
    let with = setup.text();
    let gateway = setup.launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    for text in [&b"waits for its receipt"[..], b"waits for its answer"] {
        let asked = ShortMessage { registered_delivery: 1, ..message(text) };
        assert_eq!(esme.submitted(&asked).status, CommandStatus::ESME_ROK);
    }
    link.accept_submit("71");
    link.take_submit();
    gateway.wait_for_metric("smpp_client_submit_sm_total", &["success"], |count| count == 1.0);
    let (folder, ports) = gateway.kill();
    drop((link, esme));

    let gateway = Gateway::launch(folder, ports, &without, None);
    let mut link = vendor.accept_bound();
    gateway.log.wait_for(1, &["of a customer that is not configured", "\"smpp_system_id\":\"acme\"", "\"messages\":2"]);
    link.accept_submit("72");
    for id in ["71", "72"] {
        let delivered = link.deliver(&receipt(format!("id:{id} stat:DELIVRD err:000").as_bytes()));
        link.expect_delivered(delivered, CommandStatus::ESME_ROK);
    }
    let refused = Esme::connect(gateway.address()).bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD).status;
    assert_eq!(refused, CommandStatus::ESME_RINVSYSID);
    let mut other = Esme::bound(&gateway, "bolt");
    let sequence = other.submit(&message(b"of somebody else"));
    link.accept_submit("73");
    other.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);

    gateway.folder.write("gateway.toml", &with);
    gateway.signal(Signal::HUP);
    gateway.log.wait_for(1, &["configuration in force"]);
    let mut esme = Esme::bound(&gateway, "acme");
    for _ in 0..2 {
        esme.take_delivery();
    }
    gateway.end_well_without((esme, other, link));
}

/// A vendor that takes whatever comes into its queue.
fn roomy_vendor(setup: Setup, vendor: &Vendor) -> Setup {
    let keys = "queue_bytes = 1000000000\nqueue_messages = 100000\nwindow_size = 10";
    setup.journaled().customer("acme", "").vendor("north", vendor.address(), keys).rule("north", "")
}

fn fill_and_empty(gateway: Gateway, vendor: &Vendor) {
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let tlv = [&0x0424u16.to_be_bytes()[..], &(BODY as u16).to_be_bytes(), &[b'x'; BODY]].concat();
    let large = ShortMessage { tlvs: Tlvs::new(&tlv), ..message(b"") };
    let mut accepted = 0;
    let refusal = loop {
        match esme.submitted(&large).status {
            CommandStatus::ESME_ROK => accepted += 1,
            // The vendor's shard is behind.
            CommandStatus::ESME_RMSGQFUL => std::thread::sleep(Duration::from_millis(20)),
            refusal => break refusal,
        }
        assert!(accepted < MESSAGES_MAX, "the journal never was full");
    };
    assert_eq!(refusal, CommandStatus::ESME_RSYSERR, "after {accepted}");
    assert!(accepted > 100, "refused after {accepted} already");
    gateway.log.wait_for(1, &["vendor bound"]);
    for number in 0..accepted {
        link.accept_submit(&number.to_string());
    }
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while esme.submitted(&message(b"small")).status != CommandStatus::ESME_ROK {
        assert!(std::time::Instant::now() < until, "still refused when everything was through");
        std::thread::sleep(Duration::from_millis(50));
    }
    link.accept_submit("small");
    esme.send_header(CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, 1_000_000);
    gateway.end_well_without((esme, link));
}
