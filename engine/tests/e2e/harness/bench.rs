//! The load generator and the simulated SMSC, inside the test's process.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};

use smpp_bench::load::{self as bench_load, LoadOptions, LoadReport};
use smpp_bench::smsc::{Smsc, SmscOptions};
use smpp_bench::stop::Stop;

use super::setup::PASSWORD;

/// A simulated SMSC on a free port.
pub(crate) fn smsc(arguments: &[&str]) -> Smsc {
    smsc_at("127.0.0.1:0", arguments)
}

/// A simulated SMSC on that address.
pub(crate) fn smsc_at(address: &str, arguments: &[&str]) -> Smsc {
    let arguments: Vec<&str> = ["--listen", address].iter().chain(arguments).copied().collect();
    Smsc::start(SmscOptions::from_arguments(&arguments).unwrap()).unwrap()
}

/// Runs a load to its end. It binds as `acme` unless the arguments name another.
pub(crate) fn load(address: SocketAddr, arguments: &[&str]) -> LoadReport {
    bench_load::run(&options(address, arguments), &Stop::new(), &mut |_| {}).unwrap()
}

/// [`load`], whose report has no problems and every submit accepted.
pub(crate) fn clean_load(address: SocketAddr, arguments: &[&str]) -> LoadReport {
    let report = load(address, arguments);
    assert_clean(&report);
    report
}

pub(crate) fn assert_clean(report: &LoadReport) {
    let is_clean = report.problems.is_empty() && report.totals.sent == report.totals.accepted;
    assert!(is_clean && report.totals.sent > 0, "{}", report.to_text());
}

/// A load on a thread of its own.
#[derive(Debug)]
pub(crate) struct Background(JoinHandle<LoadReport>);

impl Background {
    pub(crate) fn start(address: SocketAddr, arguments: &[&str]) -> Self {
        let options = options(address, arguments);
        Self(thread::spawn(move || bench_load::run(&options, &Stop::new(), &mut |_| {}).unwrap()))
    }

    /// Waits for its end; what came of it.
    pub(crate) fn wait(self) -> LoadReport {
        self.0.join().unwrap()
    }
}

fn options(address: SocketAddr, arguments: &[&str]) -> LoadOptions {
    let target = address.to_string();
    let mut all = vec!["--target", &target, "--password", PASSWORD];
    if !arguments.contains(&"--system-id") && !arguments.contains(&"--customers") {
        all.extend(["--system-id", "acme"]);
    }
    all.extend(arguments);
    LoadOptions::from_arguments(&all).unwrap()
}
