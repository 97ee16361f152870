//! The program `smpp-bench` as others use it: child processes, signals, files, exit statuses.

#![allow(clippy::unwrap_used, reason = "tests end at what they did not expect")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = env!("CARGO_BIN_EXE_smpp-bench");

struct Vendor {
    child: Child,
    out: BufReader<ChildStdout>,
    address: String,
}

impl Vendor {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["smsc", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, out, address }
    }

    /// Ends it with SIGTERM; exit status and report.
    fn end(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut report = String::new();
        while self.out.read_line(&mut report).unwrap() > 0 {}
        (self.child.wait().unwrap().code(), report)
    }
}

fn load(address: &str, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(["load", "--target", address, "--quiet"]).args(arguments).output().unwrap()
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("smpp-bench-test-{}-{name}", std::process::id()))
}

fn json(path: &PathBuf) -> serde_json::Value {
    let value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    fs::remove_file(path).unwrap();
    value
}

#[test]
fn both_reports_agree_and_both_end_with_0() {
    let (ours, theirs, picture) = (file("load.json"), file("smsc.json"), file("load.svg"));
    let vendor = Vendor::start(&["--json", theirs.to_str().unwrap()]);
    let arguments =
        ["--count", "1000", "--receipts", "--json", ours.to_str().unwrap(), "--svg", picture.to_str().unwrap()];
    let output = load(&vendor.address, &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8(output.stdout).unwrap().contains("submit to receipt"));
    let (status, report) = vendor.end();
    assert_eq!(status, Some(0));
    assert!(report.contains("receipts_acknowledged"), "{report}");
    let (ours, theirs) = (json(&ours), json(&theirs));
    assert_eq!((&ours["totals"]["accepted"], &theirs["accepted"]), (&1000.into(), &1000.into()));
    assert_eq!(ours["statuses"]["ESME_ROK"], 1000);
    assert_eq!(ours["answer_latency"]["count"], 1000);
    assert!(ours["answer_latency"]["p99_us"].as_f64().unwrap() > 0.0);
    assert!(fs::read_to_string(&picture).unwrap().contains("<polyline"));
    fs::remove_file(&picture).unwrap();
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_the_run() {
    let output = load("nothing.invalid:2775", &["--count", "1", "--json", "/nowhere/report.json"]);
    assert_eq!(output.status.code(), Some(2));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains("/nowhere/report.json"), "{sentence}");
}

#[test]
fn lost_answers_end_with_1_and_say_so() {
    let vendor = Vendor::start(&["--silent-percent", "100"]);
    let output = load(&vendor.address, &["--count", "10", "--answer-timeout", "0.2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stdout).unwrap().contains("10 submits were never answered"));
    vendor.end();
}

#[test]
fn a_refused_bind_ends_with_2_and_a_sentence() {
    let vendor = Vendor::start(&["--password", "right"]);
    let output = load(&vendor.address, &["--count", "10", "--password", "wrong"]);
    assert_eq!(output.status.code(), Some(2));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains("bind refused with ESME_RINVPASWD"), "{sentence}");
    assert!(!sentence.contains("wrong"), "the password is told: {sentence}");
    vendor.end();
}

#[test]
fn a_name_that_does_not_exist_ends_with_2() {
    let output = load("nothing.invalid:2775", &["--count", "1"]);
    assert_eq!(output.status.code(), Some(2));
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(sentence.contains("name lookup failed"), "{sentence}");
}

#[test]
fn every_submit_is_recorded_in_a_line() {
    let record = file("record");
    let vendor = Vendor::start(&["--record", record.to_str().unwrap(), "--message-id-format", "decimal"]);
    let arguments = ["--count", "3", "--sessions", "1", "--window", "1", "--text", "hi", "--source", "Acme"];
    assert_eq!(load(&vendor.address, &arguments).status.code(), Some(0));
    vendor.end();
    let lines: Vec<Vec<String>> =
        fs::read_to_string(&record).unwrap().lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
    fs::remove_file(&record).unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0][1..], ["Acme", "15550000000", "6869", "0x00000000"]);
    assert_eq!(lines[2][2], "15550000002");
    assert!(lines[0][0].parse::<u64>().unwrap() > 0);
}

#[test]
fn a_demonstration_without_a_gateway_says_what_to_do() {
    let output = Command::new(PROGRAM).args(["demo", "--gateway", "/nowhere/smpp-gateway"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--gateway"));
}
