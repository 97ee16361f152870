//! What one worker counts.
//!
//! Plain numbers on the worker's own thread; [`Progress`] is the copy that the watching thread reads, written
//! ten times a second.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use smpp_pdu::CommandStatus;
use smpp_pdu::message::ShortMessage;

use super::receipts::{Match, State, Tracker};
use crate::latency::Recorder;

/// Counters of messages and sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// submit_sm sent.
    pub sent: u64,
    /// Answers that belong to a submit, whatever they say.
    pub answered: u64,
    /// Of these, ESME_ROK.
    pub accepted: u64,
    /// Submits without an answer within the time for it.
    pub unanswered: u64,
    /// Submits open on a session when it broke.
    pub cut_off: u64,
    /// Answers that belong to no open submit.
    pub stray_answers: u64,
    /// Final receipts that closed a message.
    pub receipts: u64,
    /// ENROUTE, ACCEPTD and intermediate notifications.
    pub receipts_intermediate: u64,
    /// Receipts in which no message id was found.
    pub receipts_unreadable: u64,
    /// deliver_sm and data_sm that are not receipts.
    pub messages: u64,
    /// enquire_link of the server, answered.
    pub enquire_links: u64,
    /// Sessions that ended without our asking.
    pub disconnects: u64,
    /// Sessions bound again after that.
    pub reconnects: u64,
    /// Octets received.
    pub octets_in: u64,
}

impl Totals {
    /// Each counter with its name in reports.
    pub fn named(&self) -> [(&'static str, u64); 14] {
        [
            ("sent", self.sent),
            ("answered", self.answered),
            ("accepted", self.accepted),
            ("unanswered", self.unanswered),
            ("cut_off", self.cut_off),
            ("stray_answers", self.stray_answers),
            ("receipts", self.receipts),
            ("receipts_intermediate", self.receipts_intermediate),
            ("receipts_unreadable", self.receipts_unreadable),
            ("messages", self.messages),
            ("enquire_links", self.enquire_links),
            ("disconnects", self.disconnects),
            ("reconnects", self.reconnects),
            ("octets_in", self.octets_in),
        ]
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Totals) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.cut_off += other.cut_off;
        self.stray_answers += other.stray_answers;
        self.receipts += other.receipts;
        self.receipts_intermediate += other.receipts_intermediate;
        self.receipts_unreadable += other.receipts_unreadable;
        self.messages += other.messages;
        self.enquire_links += other.enquire_links;
        self.disconnects += other.disconnects;
        self.reconnects += other.reconnects;
        self.octets_in += other.octets_in;
    }
}

/// Everything that a worker keeps about messages.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) totals: Totals,
    /// Answers by status, ESME_ROK left out: that is `totals.accepted`.
    pub(super) refusals: BTreeMap<u32, u64>,
    pub(super) receipt_states: BTreeMap<State, u64>,
    /// submit_sm to its answer.
    pub(super) answers: Recorder,
    /// submit_sm to its final receipt.
    pub(super) receipts: Recorder,
    pub(super) tracker: Option<Tracker>,
}

impl Book {
    pub(super) fn new(track_receipts: bool) -> Self {
        Self {
            totals: Totals::default(),
            refusals: BTreeMap::new(),
            receipt_states: BTreeMap::new(),
            answers: Recorder::new(),
            receipts: Recorder::new(),
            tracker: track_receipts.then(Tracker::default),
        }
    }

    /// The answer, come at `now`, to a submit that was sent (or was due) at `sent`.
    #[inline]
    pub(super) fn answered(&mut self, status: CommandStatus, pdu: &[u8], sent: u64, now: u64) {
        self.totals.answered += 1;
        self.answers.record(now.saturating_sub(sent));
        if !status.is_ok() {
            *self.refusals.entry(status.0).or_default() += 1;
            return;
        }
        self.totals.accepted += 1;
        if let Some(tracker) = &mut self.tracker
            && let Some(received) = tracker.accepted(smpp_pdu::message::resp_message_id(pdu), sent)
        {
            self.totals.receipts += 1;
            self.receipts.record(received.saturating_sub(sent));
        }
    }

    /// A deliver_sm, come at `now`.
    pub(super) fn delivered(&mut self, pdu: &[u8], now: u64) {
        let message = match ShortMessage::decode(pdu) {
            Ok(message) if message.is_receipt() => message,
            _ => {
                self.totals.messages += 1;
                return;
            }
        };
        let state = State::of(&message);
        *self.receipt_states.entry(state).or_default() += 1;
        let Some(tracker) = &mut self.tracker else { return };
        match tracker.receipt(&message, state, now) {
            Match::Closed(sent) => {
                self.totals.receipts += 1;
                self.receipts.record(now.saturating_sub(sent));
            }
            Match::Early => {}
            Match::Intermediate => self.totals.receipts_intermediate += 1,
            Match::Unreadable => self.totals.receipts_unreadable += 1,
        }
    }
}

/// One worker's counters as the watching thread sees them.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) bound: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) accepted: AtomicU64,
    pub(super) receipts: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) p50: AtomicU64,
    pub(super) p99: AtomicU64,
}

impl Progress {
    pub(super) fn publish(&self, bound: u64, totals: &Totals) {
        self.bound.store(bound, Ordering::Relaxed);
        self.sent.store(totals.sent, Ordering::Relaxed);
        self.answered.store(totals.answered, Ordering::Relaxed);
        self.accepted.store(totals.accepted, Ordering::Relaxed);
        self.receipts.store(totals.receipts, Ordering::Relaxed);
        self.lost.store(totals.unanswered + totals.cut_off, Ordering::Relaxed);
    }

    pub(super) fn publish_latency(&self, (p50, p99): (u64, u64)) {
        self.p50.store(p50, Ordering::Relaxed);
        self.p99.store(p99, Ordering::Relaxed);
    }
}
