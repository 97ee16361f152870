//! Clients and a vendor that nobody here wrote, through the real program: python-smpplib and node-smpp.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::bench::clean_load;
use crate::harness::folder::Folder;
use crate::harness::{Gateway, Setup, Shards, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    python_smpplib_sends_long_messages_and_receives_receipts,
    node_smpp_sends_long_messages_and_receives_receipts,
    node_smpp_is_a_vendor,
];

/// Where `make test-packages` has installed them.
fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("interop").join(name);
    assert!(path.exists(), "{} is not there: run `make test-packages`", path.display());
    path
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

fn node() -> Command {
    let mut command = Command::new("node");
    command.env("NODE_PATH", installed("node_modules"));
    command
}

/// What is checked of each client: every message was accepted and reached the vendor as it was sent, each has its
/// receipt, and a message from the street came in.
fn check_client(shards: Shards, mut client: Command, parts: &[(&str, usize)]) {
    let folder = Folder::new();
    let record = folder.path().join("submits");
    let record_option = record.to_str().unwrap().to_owned();
    let vendor = smsc(&["--mo-rate", "5", "--mo-to", "12025550123", "--record", &record_option]);
    let gateway = Setup::new(shards)
        .customer("acme", "allowed_source_addresses = [\"12025550100\"]")
        .vendor("north", vendor.address(), "binds = 2")
        .rule("north", "")
        .inbound("12025550123", "acme")
        .start();
    let outcome = run_client(&gateway, &mut client);
    let sent = outcome["sent"].as_object().unwrap();
    for (name, count) in parts {
        assert_eq!(sent[*name].as_array().unwrap().len(), *count, "{name}");
    }
    let mut ids: Vec<&str> =
        sent.values().flat_map(|ids| ids.as_array().unwrap()).map(|id| id.as_str().unwrap()).collect();
    let receipts = outcome["receipts"].as_array().unwrap();
    let mut told: Vec<&str> = receipts.iter().map(|receipt| receipt["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    told.sort_unstable();
    assert_eq!(ids, told, "each message has its receipt");
    assert!(receipts.iter().all(|receipt| receipt["text"].as_str().unwrap().contains("stat:DELIVRD")), "{receipts:?}");
    assert_eq!(outcome["refused"], serde_json::json!([0x0A]));
    assert_eq!(outcome["from_street"][0], "hello");
    gateway.end_well();
    assert_eq!(vendor.stop().unwrap().submits as usize, ids.len());
    check_parts(&fs::read_to_string(&record).unwrap());
}

fn run_client(gateway: &Gateway, client: &mut Command) -> Value {
    let address = gateway.address();
    let output = client
        .args([&address.ip().to_string(), &address.port().to_string(), "acme", "secret12"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complaint}");
    serde_json::from_str(said.lines().last().unwrap()).unwrap()
}

/// The long message reached the vendor whole: its parts, put together by their user data headers, are the text.
fn check_parts(record: &str) {
    let long = format!("A long message in parts: {}", "0123456789".repeat(40));
    let mut messages: HashMap<String, Vec<(u8, String)>> = HashMap::new();
    for line in record.lines() {
        let Some(text) = line.split_whitespace().find(|word| word.starts_with("050003")) else { continue };
        let octets: Vec<u8> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
        let (reference, number) = (format!("{} of {}", octets[3], octets[4]), octets[5]);
        let text = String::from_utf8_lossy(&octets[6..]).into_owned();
        messages.entry(reference).or_default().push((number, text));
    }
    let whole = messages.into_values().map(|mut parts| {
        parts.sort();
        parts.into_iter().map(|(_, text)| text).collect::<String>()
    });
    assert!(whole.into_iter().any(|text| text == long), "{record}");
}

fn python_smpplib_sends_long_messages_and_receives_receipts(shards: Shards) {
    let mut client = Command::new(installed("python/bin/python"));
    client.arg(script("client.py"));
    check_client(shards, client, &[("short", 1), ("long", 3), ("unicode", 3), ("payload", 1)]);
}

fn node_smpp_sends_long_messages_and_receives_receipts(shards: Shards) {
    let mut client = node();
    client.arg(script("client.js"));
    check_client(shards, client, &[("short", 1), ("long", 3), ("unicode", 1), ("payload", 1)]);
}

fn node_smpp_is_a_vendor(shards: Shards) {
    let mut child = node().arg(script("vendor.js")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let port: u16 = said.next().unwrap().unwrap().parse().unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let gateway = Setup::new(shards)
        .customer("acme", "")
        .vendor("node", address, "binds = 2\nenquire_link_ms = 500")
        .rule("node", "")
        .start();
    gateway.wait_until_bound(2);
    clean_load(gateway.address(), &["--count", "1000", "--receipts", "--sessions", "4", "--window", "20"]);
    clean_load(gateway.address(), &["--count", "20", "--receipts", "--body", "1000", "--sessions", "1"]);
    gateway.end_well();
    drop(child.stdin.take());
    let counters: Value = serde_json::from_str(&said.next().unwrap().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(counters["submits"], 1020, "{counters}");
    assert_eq!(counters["octets"], 1000 * 60 + 20 * 1000, "{counters}");
    assert_eq!(counters["receipts_taken"], 1020, "{counters}");
    assert_eq!((&counters["binds"], &counters["unbinds"]), (&Value::from(2), &Value::from(2)), "{counters}");
}
