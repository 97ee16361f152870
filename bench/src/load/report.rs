//! What came of a load: totals, statuses, latencies, and what was not as it should be.
//!
//! Made once, after the workers are through.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use smpp_pdu::CommandStatus;

use super::book::Totals;
use super::options::LoadOptions;
use super::worker::Outcome;
use crate::clock;
use crate::latency::Latencies;
use crate::picture::Picture;
use crate::table::{layout, thousands};

/// The result of [`super::run`].
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// The server as it was given.
    pub target: String,
    /// Sessions that submitted, their window, and messages a second where a rate was set.
    pub shape: (u32, u32, Option<f64>),
    /// Seconds from the first connect to the last unbind.
    pub whole_seconds: f64,
    /// Seconds of the measurement.
    pub seconds: f64,
    /// submit_sm sent within the measurement.
    pub sent: u64,
    /// Answers within the measurement.
    pub answered: u64,
    /// Of these, ESME_ROK.
    pub accepted: u64,
    /// Final receipts within the measurement.
    pub receipts: u64,
    /// CPU seconds (user and system) that the workers used within the measurement.
    pub cpu_seconds: f64,
    /// Counters of the whole run, warm-up and end included.
    pub totals: Totals,
    /// Answers of the whole run by command_status.
    pub statuses: BTreeMap<u32, u64>,
    /// Receipts of the whole run by state, intermediate ones included.
    pub receipt_states: BTreeMap<&'static str, u64>,
    /// Accepted messages whose receipt did not come (0 unless receipts were asked for).
    pub receipts_missing: u64,
    /// Receipts for no open message: doubles or strangers.
    pub receipts_unmatched: u64,
    /// Submits without an answer at the end.
    pub still_open: u64,
    /// submit_sm to its answer.
    pub answer_latency: Latencies,
    /// submit_sm to its final receipt.
    pub receipt_latency: Latencies,
    /// How the last session that broke was lost.
    pub last_loss: Option<String>,
    /// What is not as it should be; empty when every message was answered and every receipt came once.
    pub problems: Vec<String>,
}

impl LoadReport {
    pub(super) fn new(options: &LoadOptions, whole_seconds: f64, outcomes: Vec<Outcome>) -> Self {
        let mut report = Self {
            target: options.target.clone(),
            shape: (options.sessions, options.window, options.rate),
            whole_seconds,
            ..Self::default()
        };
        outcomes.into_iter().for_each(|outcome| report.add(outcome));
        report.problems = report.find_problems(options);
        report
    }

    /// Answers a second within the measurement.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.answered as f64 / self.seconds } else { 0.0 }
    }

    /// The generator's own CPU time per answered message, microseconds.
    pub fn cpu_us_per_message(&self) -> f64 {
        if self.answered > 0 { self.cpu_seconds * 1e6 / self.answered as f64 } else { 0.0 }
    }

    /// Submits that never got an answer.
    pub fn lost(&self) -> u64 {
        self.totals.unanswered + self.totals.cut_off + self.still_open
    }

    /// Everything as JSON.
    pub fn to_json(&self) -> Value {
        let totals: Map<String, Value> =
            self.totals.named().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let statuses: Map<String, Value> =
            self.statuses.iter().map(|(&status, &count)| (CommandStatus(status).to_string(), json!(count))).collect();
        json!({
            "target": self.target,
            "sessions": self.shape.0,
            "window": self.shape.1,
            "rate_asked": self.shape.2,
            "whole_seconds": self.whole_seconds,
            "seconds": self.seconds,
            "messages_per_second": self.rate(),
            "sent": self.sent,
            "answered": self.answered,
            "accepted": self.accepted,
            "receipts": self.receipts,
            "cpu_seconds": self.cpu_seconds,
            "cpu_us_per_message": self.cpu_us_per_message(),
            "totals": totals,
            "statuses": statuses,
            "receipt_states": self.receipt_states,
            "receipts_missing": self.receipts_missing,
            "receipts_unmatched": self.receipts_unmatched,
            "still_open": self.still_open,
            "answer_latency": self.answer_latency.to_json(),
            "receipt_latency": self.receipt_latency.to_json(),
            "problems": self.problems,
        })
    }

    /// Everything as a page of text.
    pub fn to_text(&self) -> String {
        let line = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            line("messages/s", thousands(self.rate() as u64)),
            line("measured, s", format!("{:.3}", self.seconds)),
            line("sent", thousands(self.sent)),
            line("answered", thousands(self.answered)),
            line("accepted", thousands(self.accepted)),
            line("own CPU, µs/message", format!("{:.3}", self.cpu_us_per_message())),
        ];
        if self.receipt_latency.count() > 0 || self.receipts_missing > 0 {
            rows.push(line("receipts", thousands(self.receipts)));
        }
        let mut out = layout(&rows);
        out += "\nwhole run\n";
        let shown = self.totals.named().into_iter().filter(|&(name, value)| value > 0 || name == "unanswered");
        out += &layout(&shown.map(|(name, value)| line(name, thousands(value))).collect::<Vec<_>>());
        out += "\nanswers by status\n";
        let statuses = self.statuses.iter().map(|(&status, &count)| {
            vec![CommandStatus(status).to_string(), format!("0x{status:08X}"), thousands(count)]
        });
        out += &layout(&statuses.collect::<Vec<_>>());
        let mut latencies = vec![Latencies::head(), self.answer_latency.row("submit to answer")];
        if self.receipt_latency.count() > 0 {
            latencies.push(self.receipt_latency.row("submit to receipt"));
        }
        out += "\n";
        out += &layout(&latencies);
        for problem in &self.problems {
            out += &format!("\nPROBLEM: {problem}");
        }
        if self.problems.is_empty() { out } else { out + "\n" }
    }

    /// The percentiles as an SVG picture.
    pub fn to_svg(&self) -> String {
        let title = format!(
            "{} messages/s, {} sessions × window {}",
            thousands(self.rate() as u64),
            self.shape.0,
            self.shape.1
        );
        let mut picture = Picture::new(&title);
        picture.curve("submit to answer", &self.answer_latency);
        picture.curve("submit to receipt", &self.receipt_latency);
        picture.to_svg()
    }

    fn add(&mut self, outcome: Outcome) {
        let [begin, end] = outcome.measured;
        self.seconds = self.seconds.max(clock::to_seconds(outcome.wall));
        self.sent += end.sent - begin.sent;
        self.answered += end.answered - begin.answered;
        self.accepted += end.accepted - begin.accepted;
        self.receipts += end.receipts - begin.receipts;
        self.cpu_seconds += clock::to_seconds(outcome.cpu);
        self.still_open += outcome.still_open;
        let book = outcome.book;
        self.totals.add(&book.totals);
        if book.totals.accepted > 0 {
            *self.statuses.entry(CommandStatus::ESME_ROK.0).or_default() += book.totals.accepted;
        }
        for (status, count) in book.refusals {
            *self.statuses.entry(status).or_default() += count;
        }
        for (state, count) in book.receipt_states {
            *self.receipt_states.entry(state.name()).or_default() += count;
        }
        if let Some(tracker) = &book.tracker {
            self.receipts_missing += tracker.open();
            self.receipts_unmatched += tracker.unmatched();
        }
        self.answer_latency.add(&book.answers.finish());
        self.receipt_latency.add(&book.receipts.finish());
        self.last_loss = outcome.last_loss.or(self.last_loss.take());
    }

    fn find_problems(&self, options: &LoadOptions) -> Vec<String> {
        let mut problems = Vec::new();
        let mut tell = |count: u64, words: &str| {
            if count > 0 {
                problems.push(format!("{} {words}", thousands(count)));
            }
        };
        if !options.misbehaves() {
            tell(self.totals.unanswered + self.still_open, "submits were never answered");
            tell(self.totals.cut_off, "submits were open on sessions that broke");
            tell(self.totals.stray_answers, "answers belong to no open submit (late, double or unknown)");
        }
        tell(self.receipts_missing, "accepted messages have had no receipt");
        tell(self.receipts_unmatched, "receipts belong to no open message (double or unknown)");
        tell(self.totals.receipts_unreadable, "receipts have no message id");
        if !options.reconnect {
            let last = self.last_loss.as_deref().unwrap_or("no reason known");
            tell(self.totals.disconnects, &format!("sessions were lost; the last one: {last}"));
        }
        if options.count.is_some() && options.warmup > 0.0 && self.sent == 0 && self.answered == 0 {
            problems.push("--count was used up within the warm-up: nothing was measured".to_owned());
        }
        if self.totals.answered > 0 && self.totals.accepted == 0 {
            problems.push("no message was accepted".to_owned());
        }
        problems
    }
}
