//! What the simulated SMSC counts.
//!
//! Plain numbers in the event loop; [`Live`] is the little that other threads may look at meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value, json};
use smpp_pdu::CommandStatus;

use crate::table::{layout, thousands};

/// Counters since the start.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections taken.
    pub connections: u64,
    /// Binds taken.
    pub binds: u64,
    /// Binds refused.
    pub binds_refused: u64,
    /// submit_sm received.
    pub submits: u64,
    /// Of these, answered ESME_ROK.
    pub accepted: u64,
    /// Answered with another status, by status.
    pub refused: BTreeMap<u32, u64>,
    /// Left unanswered on purpose.
    pub silent: u64,
    /// Answers that could not be sent because the connection was gone.
    pub answers_undeliverable: u64,
    /// The most submits that were unanswered on one connection at a time.
    pub unanswered_max: u64,
    /// deliver_sm sent with a receipt, repetitions included.
    pub receipts_sent: u64,
    /// Receipts acknowledged with ESME_ROK.
    pub receipts_acknowledged: u64,
    /// Receipts and mobile-originated messages sent again after a temporary refusal.
    pub deliveries_retried: u64,
    /// Receipts put back because the connection broke before the acknowledgement.
    pub receipts_requeued: u64,
    /// Receipts and mobile-originated messages given up: refused for good, or tried too often.
    pub deliveries_refused: u64,
    /// Receipts dropped because the queue was full.
    pub receipts_dropped: u64,
    /// Receipts waiting or unacknowledged at the end.
    pub receipts_open: u64,
    /// Mobile-originated messages sent.
    pub messages_sent: u64,
    /// Mobile-originated messages acknowledged with ESME_ROK.
    pub messages_acknowledged: u64,
    /// Answers to a deliver_sm that was not open.
    pub stray_answers: u64,
    /// enquire_link received.
    pub enquire_links: u64,
    /// Requests answered with generic_nack.
    pub unknown_requests: u64,
    /// Connections lost to bad framing.
    pub bad_frames: u64,
    /// Connections that this side closed on purpose.
    pub drops: u64,
    /// Seconds from the start to the end.
    pub seconds: f64,
    /// CPU seconds of the event loop, user and system.
    pub cpu_seconds: f64,
}

impl Counters {
    /// Each counter with its name in reports.
    pub fn named(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("connections", self.connections),
            ("binds", self.binds),
            ("binds_refused", self.binds_refused),
            ("submits", self.submits),
            ("accepted", self.accepted),
            ("silent", self.silent),
            ("answers_undeliverable", self.answers_undeliverable),
            ("unanswered_max", self.unanswered_max),
            ("receipts_sent", self.receipts_sent),
            ("receipts_acknowledged", self.receipts_acknowledged),
            ("deliveries_retried", self.deliveries_retried),
            ("receipts_requeued", self.receipts_requeued),
            ("deliveries_refused", self.deliveries_refused),
            ("receipts_dropped", self.receipts_dropped),
            ("receipts_open", self.receipts_open),
            ("messages_sent", self.messages_sent),
            ("messages_acknowledged", self.messages_acknowledged),
            ("stray_answers", self.stray_answers),
            ("enquire_links", self.enquire_links),
            ("unknown_requests", self.unknown_requests),
            ("bad_frames", self.bad_frames),
            ("drops", self.drops),
        ]
    }

    /// CPU time per submit, microseconds, everything on the way of a message included.
    pub fn cpu_us_per_message(&self) -> f64 {
        if self.submits > 0 { self.cpu_seconds * 1e6 / self.submits as f64 } else { 0.0 }
    }

    /// Everything as JSON.
    pub fn to_json(&self) -> Value {
        let mut out: Map<String, Value> =
            self.named().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        let refused: Map<String, Value> =
            self.refused.iter().map(|(&status, &count)| (CommandStatus(status).to_string(), json!(count))).collect();
        out.insert("refused".to_owned(), Value::Object(refused));
        out.insert("seconds".to_owned(), json!(self.seconds));
        out.insert("cpu_seconds".to_owned(), json!(self.cpu_seconds));
        out.insert("cpu_us_per_message".to_owned(), json!(self.cpu_us_per_message()));
        Value::Object(out)
    }

    /// Everything that is not zero, as lines of text.
    pub fn to_text(&self) -> String {
        let mut rows: Vec<Vec<String>> = self
            .named()
            .into_iter()
            .filter(|&(name, value)| value > 0 || name == "submits")
            .map(|(name, value)| vec![name.to_owned(), thousands(value)])
            .collect();
        rows.extend(
            self.refused
                .iter()
                .map(|(&status, &count)| vec![format!("refused {}", CommandStatus(status)), thousands(count)]),
        );
        rows.push(vec!["own CPU, µs/submit".to_owned(), format!("{:.3}", self.cpu_us_per_message())]);
        layout(&rows)
    }
}

/// What other threads may read while the loop runs; written at the end of every turn.
#[derive(Debug, Default)]
pub struct Live {
    submits: AtomicU64,
    bound: AtomicU64,
}

impl Live {
    /// submit_sm received so far.
    pub fn submits(&self) -> u64 {
        self.submits.load(Ordering::Acquire)
    }

    /// Binds taken so far.
    pub fn binds(&self) -> u64 {
        self.bound.load(Ordering::Acquire)
    }

    pub(super) fn publish(&self, counters: &Counters) {
        self.submits.store(counters.submits, Ordering::Release);
        self.bound.store(counters.binds, Ordering::Release);
    }
}
