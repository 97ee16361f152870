//! What age and damage may change: messages and receipts that the journal has held for longer than anything is kept, and
//! those of which a record was damaged.

use smpp_pdu::message::ShortMessage;
use smpp_shards::Time;

use super::journal::{Found, number_of};
use super::verdict::LATE_MS_MAX;
use super::{AttemptKind, Message, Model, violation};
use crate::damage::Cost;

impl Model {
    /// The process is down, and for so long that all it has is older than anything is kept.
    pub(crate) fn was_off(&mut self, now: Time) {
        self.off_at = Some(now);
        self.counts.add("days off", 1);
    }

    /// All is held still, for so long that all the process has is older than anything is kept.
    pub(crate) fn was_held(&mut self, now: Time, until: Time) {
        (self.held_at, self.held_until) = (Some(now), until);
        self.counts.add("days held still", 1);
    }

    /// Whether everybody's timers have ended just now, all at once: nobody had the time to answer anybody.
    pub(super) fn is_just_held(&self, now: Time) -> bool {
        self.held_at.is_some() && now < self.held_until.after_ms(LATE_MS_MAX)
    }

    /// That record is damaged in the journal that the next process finds.
    pub(crate) fn damaged(&mut self, cost: &Cost) {
        self.damages += 1;
        self.counts.add("damaged records", 1);
        let message = cost.message.as_deref().and_then(number_of);
        let delivered = cost.receipt.as_deref().and_then(|pdu| ShortMessage::decode(pdu).ok());
        let attempt = delivered.as_ref().and_then(|delivered| self.attempt_named(delivered));
        let of_attempt = attempt.and_then(|attempt| match self.attempts[attempt].kind {
            AttemptKind::Receipt(of, _) => of,
            AttemptKind::Mobile(_) => None,
        });
        if let Some(attempt) = attempt {
            self.attempts[attempt].is_let_go = true;
        }
        for number in message.into_iter().chain(of_attempt) {
            if let Some(message) = self.messages.get_mut(number) {
                message.is_damaged = true;
            }
        }
    }

    /// What was found is written anew: the damage is behind it.
    pub(crate) fn journal_is_whole(&mut self) {
        self.damages = 0;
    }

    /// How much of a journal may be bad.
    pub(super) fn check_damage(&self, problems: &[smpp_shards::journal::Problem]) {
        if problems.len() as u64 != self.damages {
            violation!(self, "the journal is damaged in {} places and tells {problems:?}", self.damages);
        }
    }

    /// The receipts that a process finds after days in which it was off reach nobody any more.
    pub(super) fn let_go_after_days(&mut self, found: &Found) {
        if self.off_at.is_none_or(|off_at| off_at < self.crashed_at) {
            return;
        }
        for number in &found.receipts {
            self.messages[*number].is_receipt_expired = true;
        }
        for number in &found.attempts {
            self.attempts[*number].is_let_go = true;
        }
    }

    /// Whether no vendor may get it any more: it was accepted days ago.
    pub(super) fn is_past(&self, message: &Message) -> bool {
        let is_before = |at: Option<Time>| at.is_some_and(|at| message.fed_at.is_some_and(|fed_at| fed_at <= at));
        is_before(self.off_at) || is_before(self.held_at)
    }

    /// Whether what it awaited of its vendor may be awaited no more.
    pub(super) fn has_awaited_for_days(&self, message: &Message) -> bool {
        self.held_at.is_some_and(|held_at| message.fed_at.is_some_and(|fed_at| fed_at <= held_at))
    }
}
