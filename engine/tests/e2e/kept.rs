//! The journal's bounds and failures against the real program.

use std::time::Duration;

use smpp_pdu::{CommandId, CommandStatus, ShortMessage, Tlvs};

use crate::harness::{Esme, Gateway, Setup, Shards, Vendor, message, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    a_full_journal_refuses_new_messages_and_goes_on_when_there_is_room,
    a_full_disk_refuses_new_messages_and_loses_none,
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
    let Some(_disk) = SmallDisk::mounted(&setup.folder.path().join("data"), 150) else {
        println!("not run: a small file system takes root to mount");
        return;
    };
    let vendor = Vendor::listen();
    let gateway = roomy_vendor(setup, &vendor).rows("[journal]\nsegment_mb = 8\n");
    fill_and_empty(gateway.launch(), &vendor);
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

/// A file system of so many MiB in memory, for as long as this value lives.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mounted(path: &std::path::Path, mib: u32) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m");
        let mount = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
