//! `smpp-gateway journal inspect`: what it tells of a gateway that runs, of one that was killed, and of damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use smpp_pdu::{CommandId, CommandStatus, ShortMessage};

use crate::harness::gateway::PROGRAM;
use crate::harness::{
    Esme, Gateway, Link, Setup, Shards, Vendor, ask_until, message, receipt, with_one_shard_and_with_two,
};

with_one_shard_and_with_two![
    a_journal_is_told_while_the_gateway_runs_and_after_a_kill,
    damage_is_told_with_its_file_and_offset,
    a_start_that_took_nothing_over_is_named,
    the_control_port_tells_the_progress_while_a_journal_is_read,
];

/// Octets of a block of the journal: a segment begins with one of its own, each batch with the next one.
const BLOCK: usize = 4096;

/// What stands in front of a batch's first record.
const BATCH_HEADER: usize = 24;

/// A gateway with small segments that has accepted three messages, of which one waits at the vendor, one for its receipt,
/// and one has its receipt, which the customer does not answer.
fn with_messages(shards: Shards) -> (Gateway, Link, Esme) {
    let vendor = Vendor::listen();
    let gateway =
        Setup::usual(shards, vendor.address()).journaled().rows("[journal]\nsegment_mb = 8\nmax_mb = 64").launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let asked = |text| ShortMessage { registered_delivery: 1, ..message(text) };
    for text in [&b"waits for its answer"[..], b"waits for its receipt", b"has its receipt"] {
        assert_eq!(esme.submitted(&asked(text)).status, CommandStatus::ESME_ROK);
    }
    link.take_submit();
    link.accept_submit("71");
    link.accept_submit("72");
    let delivered = link.deliver(&receipt(b"id:72 stat:DELIVRD err:000"));
    esme.expect(CommandId::DELIVER_SM);
    // The vendor is told when the receipt is on disk, and with it all that came before.
    link.expect_delivered(delivered, CommandStatus::ESME_ROK);
    (gateway, link, esme)
}

/// Exit status and standard output of an inspection.
fn inspect(data_dir: &Path) -> (i32, String) {
    let output = Command::new(PROGRAM).args(["journal", "inspect", "--data-dir"]).arg(data_dir).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The file of the customer's log: the only one that has been written to.
fn written_segment(data_dir: &Path) -> PathBuf {
    let journal = fs::read_dir(data_dir.join("journal")).unwrap();
    let start = journal.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let mut segments = fs::read_dir(start).unwrap().map(|entry| entry.unwrap().path());
    let is_written = |path: &PathBuf| fs::read(path).unwrap()[BLOCK..2 * BLOCK].iter().any(|octet| *octet != 0);
    segments.find(is_written).unwrap()
}

fn a_journal_is_told_while_the_gateway_runs_and_after_a_kill(shards: Shards) {
    let (gateway, link, esme) = with_messages(shards);
    let data_dir = gateway.folder.path().join("data");
    let (status, running) = inspect(&data_dir);
    assert_eq!(status, 0, "{running}");
    for line in [
        "  records: 3 accepted, 2 sent, 0 done, 1 receipt, 0 delivered",
        "  live: 3 messages (1 waiting, 2 sent), 1 receipts",
        "  oldest live: ",
    ] {
        assert!(running.contains(line), "{running}");
    }
    let (folder, _) = gateway.kill();
    drop((link, esme));
    let (status, killed) = inspect(&data_dir);
    assert_eq!(status, 0, "{killed}");
    let live =
        |text: &str| text.lines().filter(|line| line.starts_with("  live: ")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(live(&killed), live(&running));
    let by_configuration =
        Command::new(PROGRAM).args(["journal", "inspect", "--config"]).arg(folder.path().join("gateway.toml")).output();
    assert_eq!(String::from_utf8(by_configuration.unwrap().stdout).unwrap(), killed);
}

fn damage_is_told_with_its_file_and_offset(shards: Shards) {
    let (gateway, link, esme) = with_messages(shards);
    let (folder, _) = gateway.kill();
    drop((link, esme));
    let data_dir = folder.path().join("data");
    let path = written_segment(&data_dir);
    let mut octets = fs::read(&path).unwrap();
    let record = 2 * BLOCK + BATCH_HEADER;
    octets[record + 16] ^= 1;
    fs::write(&path, octets).unwrap();
    let (status, text) = inspect(&data_dir);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains(&format!("  damage: {} at {record}, ", path.display())), "{text}");
    assert!(text.contains(": a record is damaged\n"), "{text}");
}

fn the_control_port_tells_the_progress_while_a_journal_is_read(shards: Shards) {
    let (gateway, link, esme) = with_messages(shards);
    let (folder, ports) = gateway.kill();
    drop((link, esme));
    let text = fs::read_to_string(folder.path().join("gateway.toml")).unwrap();
    // The last segment, which is not read to its end before this test writes it.
    let pipe = written_segment(&folder.path().join("data")).with_file_name("shard-9-00000000.seg");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let gateway = Gateway::launch(folder, ports, &text, None);
    let health = |gateway: &Gateway| {
        let (_, body) = gateway.try_get(gateway.ports.control, "/health", "")?;
        serde_json::from_str::<serde_json::Value>(&body).ok()
    };
    let waiting = ask_until("a journal that is read but for its last segment", || {
        health(&gateway).filter(|told| {
            told["recovery"]["entries_live"] == 4
                && told["recovery"]["segments"].as_u64()
                    == told["recovery"]["segments_read"].as_u64().map(|read| read + 1)
        })
    });
    assert_eq!((&waiting["phase"], &waiting["recovery"]["entries_recorded"]), (&"recovering".into(), &0.into()));
    assert_eq!(waiting["recovery"]["bytes"], waiting["recovery"]["bytes_read"], "the last one has none");
    assert_eq!(gateway.get("/ready").0, 503);
    assert_eq!(gateway.metric("smpp_gateway_recovering", &[]), 1.0);
    drop(fs::File::options().write(true).open(&pipe).unwrap());
    gateway.wait_until_accepting();
    assert_eq!(health(&gateway).unwrap().get("recovery"), None);
    assert_eq!(gateway.metric("smpp_gateway_recovering", &[]), 0.0);
    assert_eq!(gateway.metric("smpp_gateway_recovery_recorded_entries", &[]), 4.0);
    gateway.end_well();
}

fn a_start_that_took_nothing_over_is_named(shards: Shards) {
    let (gateway, link, esme) = with_messages(shards);
    let (folder, _) = gateway.kill();
    drop((link, esme));
    let data_dir = folder.path().join("data");
    let unfinished = data_dir.join("journal/1763000000000.recovering");
    fs::create_dir(&unfinished).unwrap();
    let (status, text) = inspect(&data_dir);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(&format!("unfinished: {}", unfinished.display())), "{text}");
    assert_eq!(inspect(&data_dir.join("nowhere")), (2, String::new()));
}
