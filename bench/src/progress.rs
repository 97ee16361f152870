//! Lines that show how a run stands: one that is written over on a terminal, plain ones elsewhere.
//!
//! Written by the watching thread to standard error, so that standard output holds the report alone.

use std::io::{IsTerminal, Write, stderr};

use smpp_bench::latency::milliseconds;
use smpp_bench::load::Tick;
use smpp_bench::smsc::Counters;
use smpp_bench::table::thousands;

/// The progress of a load.
#[derive(Debug)]
pub(crate) struct Line {
    quiet: bool,
    over: bool,
    shown: bool,
}

impl Line {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet, over: stderr().is_terminal(), shown: false }
    }

    pub(crate) fn show(&mut self, tick: &Tick) {
        if self.quiet {
            return;
        }
        self.shown = true;
        let text = load_line(tick);
        let mut out = stderr().lock();
        // Nobody is there to be told when standard error is gone.
        let _ = if self.over { write!(out, "\r{text}\x1b[K") } else { writeln!(out, "{text}") };
        let _ = out.flush();
    }

    /// Moves on to a fresh line.
    pub(crate) fn end(&mut self) {
        if self.shown && self.over {
            eprintln!();
        }
    }
}

fn load_line(tick: &Tick) -> String {
    if tick.seconds <= 0.0 {
        return format!("binding: {} of {} sessions", tick.bound, tick.sessions);
    }
    let mut line = format!("{:6.1} s  {} msg/s", tick.seconds, thousands(tick.rate as u64));
    if tick.p99 > 0 {
        line += &format!("  p50 {} ms  p99 {} ms", milliseconds(tick.p50), milliseconds(tick.p99));
    }
    line += &format!("  answered {}", thousands(tick.answered));
    for (name, value) in [
        ("refused", tick.answered - tick.accepted.min(tick.answered)),
        ("receipts", tick.receipts),
        ("lost", tick.lost),
    ] {
        if value > 0 {
            line += &format!("  {name} {}", thousands(value));
        }
    }
    line
}

/// The progress of a simulated SMSC.
pub(crate) fn vendor_line(counters: &Counters, rate: f64) -> String {
    format!(
        "{:6.1} s  {} submits/s  submits {}  receipts acknowledged {}  messages acknowledged {}",
        counters.seconds,
        thousands(rate as u64),
        thousands(counters.submits),
        thousands(counters.receipts_acknowledged),
        thousands(counters.messages_acknowledged)
    )
}
