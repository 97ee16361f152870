//! The demonstration: a vendor, the gateway, and customers, on free loopback ports, with every message checked.
//!
//! The gateway runs as a child process, the vendor on a thread, the load on the calling thread. What holds at
//! the end: every submit was answered ESME_ROK, every accepted message had its receipt exactly once, the
//! vendor saw each message once, and the gateway ended with status 0 when told to.

mod gateway;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use serde_json::{Value, json};

use crate::load::{self, LoadError, LoadOptions, LoadReport, Tick};
use crate::smsc::{Counters, Smsc, SmscError, SmscOptions};
use crate::stop::Stop;
use crate::table::{layout, thousands};
pub use gateway::GatewayError;
use gateway::{Gateway, Usage};

/// How long the gateway may take until a vendor is bound.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take to end; its own bound is 30 s.
const EXIT_WITHIN: Duration = Duration::from_secs(35);
const CUSTOMER: (&str, &str) = ("acme", "secret12");
const VENDOR: (&str, &str) = ("gateway", "gateway1");

/// A gateway between a load and a simulated vendor, with a live view and a check of every message.
#[derive(Clone, Debug, Parser)]
#[command(name = "smpp-bench demo", disable_version_flag = true)]
pub struct DemoOptions {
    /// The gateway's program; left out: smpp-gateway beside this one
    #[arg(long, value_name = "FILE")]
    pub gateway: Option<PathBuf>,
    /// Sessions of the customer
    #[arg(long, default_value_t = 10)]
    pub sessions: u32,
    /// Unanswered submits of a session at the most
    #[arg(long, default_value_t = 100)]
    pub window: u32,
    /// Messages a second; left out: as fast as the answers come
    #[arg(long, value_name = "MSG/S")]
    pub rate: Option<f64>,
    /// How long, seconds
    #[arg(long, default_value_t = 8.0, value_name = "SECONDS")]
    pub duration: f64,
    /// The cores that the gateway's shards run on, one shard each
    #[arg(long, value_delimiter = ',', default_values_t = [0u32])]
    pub cores: Vec<u32>,
    /// Write the report as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the percentiles as a picture
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// No progress lines
    #[arg(long)]
    pub quiet: bool,
}

/// Something worth showing while the demonstration runs.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A step has been reached.
    Step(&'a str),
    /// The load's progress.
    Tick(&'a Tick),
}

/// Why there is no report.
#[derive(Debug)]
pub enum DemoError {
    /// The gateway did not start, or did not end.
    Gateway(GatewayError),
    /// The vendor did not start.
    Vendor(SmscError),
    /// The load did not start.
    Load(LoadError, PathBuf),
    /// An option is wrong.
    Options(String),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(error) => error.fmt(f),
            Self::Vendor(error) => write!(f, "the simulated vendor: {error}"),
            Self::Load(error, log) => write!(f, "the load: {error} (the gateway's log: {})", log.display()),
            Self::Options(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for DemoError {}

/// What came of it.
#[derive(Debug)]
pub struct DemoReport {
    /// The customers' side.
    pub load: LoadReport,
    /// The vendor's side.
    pub vendor: Counters,
    /// What the gateway used.
    pub usage: Usage,
    /// What does not hold; empty when all does.
    pub problems: Vec<String>,
}

/// Runs the demonstration.
///
/// # Errors
/// When one of the three did not start: see [`DemoError`].
pub fn run(options: &DemoOptions, stop: &Stop, watch: &mut dyn FnMut(Event<'_>)) -> Result<DemoReport, DemoError> {
    let program = gateway::find(options.gateway.as_ref()).map_err(DemoError::Gateway)?;
    let vendor = start_vendor()?;
    watch(Event::Step(&format!("vendor listens on {}", vendor.address())));
    let mut gateway = Gateway::start(&program, &configuration(options, &vendor)).map_err(DemoError::Gateway)?;
    gateway.wait_until_ready(READY_WITHIN).map_err(DemoError::Gateway)?;
    watch(Event::Step(&format!("gateway {} is ready on {}", program.display(), gateway.smpp_address())));
    let load_options = load_options(options, &gateway)?;
    let report = match load::run(&load_options, stop, &mut |tick| watch(Event::Tick(tick))) {
        Ok(report) => report,
        Err(error) => return Err(DemoError::Load(error, gateway.keep_log())),
    };
    let usage = gateway.usage();
    let ended = gateway.terminate(EXIT_WITHIN).map_err(DemoError::Gateway)?;
    let counters = vendor.stop().map_err(DemoError::Vendor)?;
    let mut problems = find_problems(&report, &counters);
    if ended != Some(0) {
        problems.push(match ended {
            Some(status) => format!("the gateway ended with status {status} on SIGTERM"),
            None => "the gateway was ended by a signal instead of ending by itself".to_owned(),
        });
    }
    if !problems.is_empty() {
        problems.push(format!("the gateway's log is kept: {}", gateway.keep_log().display()));
    }
    Ok(DemoReport { load: report, vendor: counters, usage, problems })
}

impl DemoReport {
    /// The report as a page of text.
    pub fn to_text(&self) -> String {
        let messages = self.load.totals.answered.max(1);
        let rows = vec![
            vec![
                "gateway CPU, µs/message".to_owned(),
                format!("{:.2}", self.usage.cpu_seconds * 1e6 / messages as f64),
            ],
            vec![
                "gateway memory at most, MiB".to_owned(),
                format!("{:.1}", self.usage.memory_bytes_max as f64 / 1048576.0),
            ],
            vec!["submits at the vendor".to_owned(), thousands(self.vendor.submits)],
            vec!["receipts from the vendor".to_owned(), thousands(self.vendor.receipts_sent)],
            vec!["receipts at the customer".to_owned(), thousands(self.load.totals.receipts)],
        ];
        let mut out = self.load.to_text() + "\n" + &layout(&rows) + "\n";
        for problem in &self.problems {
            out += &format!("DOES NOT HOLD: {problem}\n");
        }
        if self.problems.is_empty() {
            out += "Every submit was answered ESME_ROK, every receipt came exactly once, the gateway ended cleanly.\n";
        }
        out
    }

    /// Everything as JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "load": self.load.to_json(),
            "vendor": self.vendor.to_json(),
            "gateway": {
                "cpu_seconds": self.usage.cpu_seconds,
                "memory_bytes_max": self.usage.memory_bytes_max,
            },
            "problems": self.problems,
        })
    }
}

fn start_vendor() -> Result<Smsc, DemoError> {
    let arguments =
        ["--listen", "127.0.0.1:0", "--system-id", VENDOR.0, "--password", VENDOR.1, "--deliver-window", "1000"];
    Smsc::start(SmscOptions::from_arguments(&arguments).map_err(DemoError::Options)?).map_err(DemoError::Vendor)
}

/// The gateway's configuration but for its own ports, which are found when it is started.
fn configuration(options: &DemoOptions, vendor: &Smsc) -> gateway::Configuration {
    gateway::Configuration {
        cores: options.cores.clone(),
        customer: CUSTOMER,
        window: options.window,
        vendor: VENDOR,
        vendor_address: vendor.address(),
    }
}

fn load_options(options: &DemoOptions, gateway: &Gateway) -> Result<LoadOptions, DemoError> {
    let target = gateway.smpp_address().to_string();
    let arguments = ["--target", &target, "--system-id", CUSTOMER.0, "--password", CUSTOMER.1, "--receipts"];
    let mut load = LoadOptions::from_arguments(&arguments).map_err(DemoError::Options)?;
    load.sessions = options.sessions;
    load.window = options.window;
    load.rate = options.rate;
    load.duration = Some(options.duration);
    load.check().map_err(DemoError::Options)?;
    Ok(load)
}

fn find_problems(load: &LoadReport, vendor: &Counters) -> Vec<String> {
    let mut problems = load.problems.clone();
    let mut expect = |what: &str, left: u64, right: u64| {
        if left != right {
            problems.push(format!("{what}: {} and {} differ", thousands(left), thousands(right)));
        }
    };
    expect("submits sent and answered ESME_ROK", load.totals.sent, load.totals.accepted);
    expect("submits accepted and submits at the vendor", load.totals.accepted, vendor.submits);
    expect("submits accepted and receipts at the customer", load.totals.accepted, load.totals.receipts);
    expect("receipts sent and acknowledged at the vendor", vendor.receipts_sent, vendor.receipts_acknowledged);
    if load.totals.accepted == 0 {
        problems.push("no message went through".to_owned());
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Totals;

    fn load(sent: u64, accepted: u64, receipts: u64) -> LoadReport {
        let totals = Totals { sent, answered: sent, accepted, receipts, ..Totals::default() };
        LoadReport { totals, ..LoadReport::default() }
    }

    fn vendor(submits: u64, receipts: u64) -> Counters {
        Counters { submits, receipts_sent: receipts, receipts_acknowledged: receipts, ..Counters::default() }
    }

    #[test]
    fn nothing_is_wrong_when_all_numbers_agree() {
        assert_eq!(find_problems(&load(10, 10, 10), &vendor(10, 10)), Vec::<String>::new());
    }

    #[test]
    fn every_difference_is_told() {
        let told = |load, vendor| find_problems(&load, &vendor).len();
        assert_eq!(told(load(10, 9, 9), vendor(9, 9)), 1, "a refusal");
        assert_eq!(told(load(10, 10, 10), vendor(11, 10)), 1, "a double at the vendor");
        assert_eq!(told(load(10, 10, 9), vendor(10, 10)), 1, "a receipt short");
        assert_eq!(told(load(0, 0, 0), vendor(0, 0)), 1, "nothing at all");
    }
}
