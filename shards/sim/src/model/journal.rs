//! What must hold across crashes, where the gateway keeps a journal: whatever was acknowledged reaches an end that its
//! customer can see, or is still in the journal; what has ended, or is with a vendor, is sent no more.

use std::collections::{BTreeMap, BTreeSet};

use smpp_pdu::message::ShortMessage;
use smpp_pdu::{CommandStatus, MessageState, Receipt, Tag};
use smpp_shards::Time;
use smpp_shards::journal::Live;
use smpp_shards::settings::BindType;

use super::{AttemptKind, Emission, Message, Model, Outcome, ReferenceBucket, Wire, token_in, violation};
use crate::network::NetId;

/// What a journal holds, in the model's numbers.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Messages, with the vendor that has them, if one has.
    messages: BTreeMap<usize, Option<WithVendor>>,
    /// Messages whose final receipt is there.
    pub(super) receipts: BTreeSet<usize>,
    /// Vendors' deliveries.
    pub(super) attempts: BTreeSet<usize>,
}

/// Which vendor has a message.
#[derive(Debug)]
struct WithVendor {
    name: Vec<u8>,
    /// Its id for the message.
    id: Vec<u8>,
}

impl Model {
    /// A write of that shard has ended.
    pub(crate) fn disk_said(&mut self, host: usize, is_whole: bool, now: Time) {
        if is_whole {
            self.failing.remove(&host);
            self.counts.add("journal: batches", 1);
        } else {
            self.failing.insert(host);
            self.last_failure = now;
            self.counts.add("journal: failed writes", 1);
        }
    }

    /// The process is gone, and with it every connection, limit and memory.
    pub(crate) fn crashed(&mut self, now: Time) {
        self.life += 1;
        self.crashed_at = now;
        self.all_in_use();
        self.failing.clear();
        self.wires.values_mut().for_each(|wire| wire.gone = true);
        let vendors = self.scenario.settings.vendors.iter();
        self.buckets =
            vendors.map(|vendor| ReferenceBucket::starting_at(vendor.throughput, vendor.burst, now)).collect();
        for message in &mut self.messages {
            message.emissions.iter_mut().for_each(|emission| emission.known_at = None);
        }
    }

    /// A process finds that in the journal.
    pub(crate) fn restarted(&mut self, live: &Live, now: Time) {
        let found = self.found(live);
        self.counts.add("journal: messages taken over", found.messages.len() as u64);
        self.counts.add("journal: receipts taken over", live.receipts.len() as u64);
        self.check_found(&found);
        self.let_go_after_days(&found);
        for number in 0..self.messages.len() {
            let is_unsent =
                found.messages.get(&number).is_some_and(Option::is_none) && !found.receipts.contains(&number);
            let message = &mut self.messages[number];
            if message.is_over && is_unsent && !message.is_damaged {
                violation!(self, "message {number} would be sent again, though it was through before: {message:?}");
            }
            message.is_over = !is_unsent;
            let Some(Some(WithVendor { name, id })) = found.messages.get(&number) else { continue };
            let vendors = &self.scenario.settings.vendors;
            let is_it = |emission: &&mut Emission| {
                vendors[emission.vendor].instance_name.as_bytes() == name && emission.response_id == *id
            };
            let Some(emission) = message.emissions.iter_mut().find(is_it) else {
                violation!(self, "message {number} was never given to vendor {}", name.escape_ascii());
            };
            emission.known_at = Some(now);
        }
    }

    /// When everything is quiet: nothing stays in the journal whose end has come.
    pub(crate) fn check_rest(&self, live: &Live) {
        let found = self.found_in(live);
        for (&number, sent) in &found.messages {
            let message = &self.messages[number];
            if message.is_damaged {
                continue;
            }
            let vendors = self.scenario.settings.vendors.iter().enumerate();
            let mut allowed = vendors.filter(|(index, _)| message.vendors & 1 << index != 0);
            if sent.is_none() && allowed.all(|(_, vendor)| vendor.bind_type != BindType::Receiver) {
                violation!(self, "message {number} goes nowhere though everything works: {message:?}");
            }
            let ended = self.attempts.iter().position(|attempt| {
                matches!(attempt.kind, AttemptKind::Receipt(Some(of), state) if of == number && state.is_final())
                    && attempt.acknowledged == Some(CommandStatus::ESME_ROK)
                    && self.is_known(attempt.vendor, number, attempt.id, attempt.fed_at)
            });
            if let Some(attempt) = ended {
                violation!(
                    self,
                    "message {number} is kept, though attempt {attempt} was its final receipt: {message:?}"
                );
            }
        }
    }

    /// At the very end.
    pub(crate) fn check_journal(&mut self, live: &Live) {
        let found = self.found(live);
        self.counts.add("journal: messages at the end", found.messages.len() as u64);
        self.check_found(&found);
    }

    /// As [`Model::found_in`]; and notes the ids of messages whose answers nobody has seen.
    fn found(&mut self, live: &Live) -> Found {
        for message in &live.messages {
            if let Some(number) = number_of(&message.pdu) {
                let id = message.id.text(message.style).to_vec();
                self.tie_id(number, id);
            }
        }
        self.found_in(live)
    }

    fn found_in(&self, live: &Live) -> Found {
        self.check_damage(&live.problems);
        let mut found = Found::default();
        for message in &live.messages {
            let Some(number) = number_of(&message.pdu).filter(|number| *number < self.messages.len()) else {
                violation!(self, "the journal holds a message that no customer sent: {message:?}");
            };
            let sent = message.sent.as_ref().map(|sent| {
                let (name, id) = (live.name(sent.vendor).to_vec(), sent.vendor_message_id.to_vec());
                WithVendor { name, id }
            });
            if found.messages.insert(number, sent).is_some() {
                violation!(self, "the journal holds message {number} twice");
            }
        }
        for receipt in &live.receipts {
            let Ok(delivered) = ShortMessage::decode(&receipt.pdu) else {
                violation!(self, "the journal holds a receipt that cannot be read");
            };
            if let Some(attempt) = self.attempt_named(&delivered) {
                found.attempts.insert(attempt);
            }
            if receipt.is_final
                && let Some(number) = receipt.message.and_then(|place| number_of(&live.messages[place as usize].pdu))
            {
                found.receipts.insert(number);
            }
        }
        found
    }

    fn check_found(&self, found: &Found) {
        for (number, message) in self.messages.iter().enumerate() {
            if let Some(why) = self.why_lost(number, message, found) {
                violation!(self, "message {number} is lost: {why}: {message:?}");
            }
        }
        for (number, attempt) in self.attempts.iter().enumerate() {
            let is_through =
                attempt.taken || attempt.is_refused || attempt.is_let_go || found.attempts.contains(&number);
            if attempt.is_promised && !is_through {
                violation!(self, "MO attempt {number} was acknowledged and is lost: {attempt:?}");
            }
        }
    }

    /// Why a message that was acknowledged has come to no end; `None` when all is well with it.
    fn why_lost(&self, number: usize, message: &Message, found: &Found) -> Option<&'static str> {
        message.answer.filter(|answer| answer.status.is_ok())?;
        let is_told = message.receipts_taken > 0 || message.receipts_refused > 0 || message.is_receipt_expired;
        if is_told || message.is_damaged {
            return None;
        }
        // Of two that the submits of one message came to, the one that was not wanted may have been its end.
        let may_be_second = message.emissions.len() > 1 && self.had_unwanted_end(number);
        if message.is_promised && !may_be_second && !found.receipts.contains(&number) {
            return Some("its receipt was acknowledged, and the customer has not got it");
        }
        if found.messages.contains_key(&number) {
            return None;
        }
        let is_with_vendor =
            message.emissions.iter().any(|emission| emission.outcome == Outcome::Taken && emission.may_be_heard);
        if is_with_vendor {
            // Its answer was the vendor's, and nothing could be written; or no receipt was to come.
            let is_all = message.was_told_unwritten || message.registered == 0;
            let may_be_over =
                self.had_unwanted_end(number) || self.may_fail_unseen(message) || self.has_awaited_for_days(message);
            return (!is_all && !may_be_over).then_some("a vendor has it, and its receipt is awaited no more");
        }
        if message.wants(MessageState::Undeliverable) {
            return Some("no vendor has it, and the customer was not told");
        }
        (!self.may_fail_unseen(message)).then_some("no vendor has it")
    }

    /// A final receipt came that its customer did not want. It ends its message though its link may be gone by the time that
    /// it finds it, so that nobody is told.
    fn had_unwanted_end(&self, number: usize) -> bool {
        let message = &self.messages[number];
        self.attempts.iter().any(|attempt| {
            matches!(attempt.kind, AttemptKind::Receipt(Some(of), state)
                if of == number && state.is_final() && !message.wants(state))
                && (attempt.acknowledged.is_some() || attempt.fed_at.is_some())
        })
    }

    /// Whether it may have failed, and its customer wanted no word of that.
    fn may_fail_unseen(&self, message: &Message) -> bool {
        !message.wants(MessageState::Undeliverable) && self.may_fail(message)
    }

    /// Whether anything can have kept it from every vendor.
    pub(super) fn may_fail(&self, message: &Message) -> bool {
        let refused = message.emissions.iter().any(|emission| {
            !matches!(emission.outcome, Outcome::Taken | Outcome::PartTaken | Outcome::Throttled(_))
                || emission.heard_at.is_none()
        });
        let scenario = &self.scenario;
        let vendors = scenario.settings.vendors.iter().enumerate();
        let mut allowed = vendors.filter(|(index, _)| message.vendors & 1 << index != 0);
        let has_small_queue = allowed.any(|(_, vendor)| {
            vendor.queue_seconds > 0
                || u64::from(vendor.queue_messages) < scenario.messages_max
                || vendor.queue_bytes < 1_000_000
                || scenario.heavy > 0
        });
        refused || has_small_queue || message.has_validity() || self.is_too_long(message) || self.is_past(message)
    }

    /// Whether the gateway knew, when it got that receipt, that the vendor has the message under that id.
    pub(super) fn is_known(&self, vendor: usize, message: usize, id: u64, fed_at: Option<Time>) -> bool {
        let Some(fed_at) = fed_at else { return false };
        self.messages[message].emissions.iter().any(|emission| {
            emission.vendor == vendor
                && emission.id == id
                && emission.known_at.is_some_and(|known_at| known_at < fed_at)
        })
    }

    /// Whether a message may go to that vendor once more, after what became of it before: journal mode.
    pub(super) fn check_sent_again(&self, vendor: usize, number: usize, now: Time) {
        let message = &self.messages[number];
        if self.is_past(message) {
            violation!(self, "message {number} goes to vendor {vendor} days after it was accepted: {message:?}");
        }
        if message.is_over && !message.is_damaged {
            violation!(
                self,
                "message {number} goes to vendor {vendor}, though it was through before a crash: {message:?}"
            );
        }
        if let (Some(until), true) = (self.valid_until(message), message.has_validity())
            && until.after_ms(super::verdict::LATE_MS_MAX) < now
        {
            violation!(self, "message {number} goes to vendor {vendor} when its validity is over: {message:?}");
        }
        let gateway = &self.scenario.settings.gateway;
        let (mut tries, mut unknown, mut unsure) = (1, 0, 0);
        let counts_since = self.tries_count_since(vendor);
        for emission in message.emissions.iter().filter(|emission| emission.life == self.life) {
            let is_here = emission.vendor == vendor && counts_since.is_some_and(|since| emission.at >= since);
            let waited = now.millis_since(emission.at);
            if self.must_be_settled(emission, now) {
                let before = emission.vendor;
                violation!(self, "message {number} goes to vendor {vendor} after vendor {before} has it: {message:?}");
            }
            let Some(_) = emission.heard_at else {
                let timeout = self.scenario.settings.vendors[emission.vendor].response_timeout_ms;
                if waited < timeout && !self.is_gone(emission.net) {
                    violation!(
                        self,
                        "message {number} goes to vendor {vendor} after {waited} of {timeout} ms without an answer: {message:?}"
                    );
                }
                // An answer that is so little late may have been in time.
                if is_here && emission.may_be_heard {
                    (tries, unknown, unsure) = match emission.outcome {
                        Outcome::PartTaken => (1, 0, 0),
                        _ => (tries + 1, unknown, unsure + 1),
                    };
                } else {
                    (tries, unknown) = (tries + u32::from(is_here), unknown + u32::from(is_here));
                }
                continue;
            };
            match emission.outcome {
                Outcome::Throttled(_) => {}
                Outcome::PartTaken if is_here => (tries, unknown, unsure) = (1, 0, 0),
                Outcome::PartTaken => {}
                Outcome::Temporary(_) if is_here && waited < gateway.retry_interval_ms => {
                    violation!(self, "message {number} is tried again after only {waited} ms");
                }
                Outcome::Temporary(_) => tries += u32::from(is_here),
                outcome => violation!(
                    self,
                    "message {number} goes to vendor {vendor} although vendor {} said {outcome:?}: {message:?}",
                    emission.vendor
                ),
            }
        }
        if tries > gateway.retry_count.max(gateway.unknown_outcome_retries + 1) + unknown + unsure {
            violation!(self, "message {number} is tried {tries} times at vendor {vendor}: {message:?}");
        }
        if unknown > gateway.unknown_outcome_retries {
            violation!(self, "message {number} goes to vendor {vendor} after {unknown} unknown outcomes: {message:?}");
        }
    }

    /// Whether a late answer has reached every shard that may have the message. On the vendor's own it counts at once.
    fn must_be_settled(&self, emission: &Emission, now: Time) -> bool {
        let on_the_way_ms = if self.scenario.shards == 1 { 0 } else { super::verdict::LATE_MS_MAX };
        emission.late_at.is_some_and(|late_at| late_at.after_ms(on_the_way_ms) < now)
    }

    pub(super) fn is_gone(&self, net: NetId) -> bool {
        self.wires.get(&net).is_none_or(|wire: &Wire| wire.gone || wire.closing)
    }

    /// A failure that the gateway itself tells a customer of.
    pub(super) fn own_receipt(&mut self, net: NetId, customer: usize, delivered: &ShortMessage<'_>) -> Option<usize> {
        let receipt = Receipt::parse(delivered.text());
        let in_parameter = delivered.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).map(|tlv| tlv.c_octets());
        let (Some(id), Some(state)) = (receipt.id, receipt.state()) else {
            violation!(self, "{} gets a receipt without id or state: {delivered:?}", self.name(net));
        };
        if in_parameter.is_some_and(|other| other != id) {
            violation!(self, "{} gets a receipt with two ids: {delivered:?}", self.name(net));
        }
        if !matches!(state, MessageState::Undeliverable | MessageState::Expired | MessageState::Unknown) {
            violation!(self, "{} gets a receipt {state:?} that no vendor sent", self.name(net));
        }
        let Some(&number) = self.ids.get(&(customer, id.to_vec())) else {
            // The answer that would have told its id found its session gone.
            let is_possible = self.messages.iter().any(|message| {
                message.customer == customer && message.answer.is_none() && message.id.is_none() && message.wants(state)
            });
            if !is_possible {
                violation!(self, "{} gets a receipt for no message: {delivered:?}", self.name(net));
            }
            return None;
        };
        let message = &self.messages[number];
        if state == MessageState::Unknown && message.emissions.is_empty() {
            violation!(self, "{} is told UNKNOWN of message {number}, which no vendor was given", self.name(net));
        }
        if !message.wants(state) || !self.may_fail(message) {
            violation!(self, "{} gets {state:?} for message {number}: {message:?}", self.name(net));
        }
        let is_with_vendor = message.emissions.iter().any(|emission| emission.known_at.is_some());
        if is_with_vendor {
            violation!(self, "{} gets {state:?} for message {number}, which a vendor has: {message:?}", self.name(net));
        }
        let may_be_untold = message.net != net;
        if message.answer.is_none_or(|answer| !answer.status.is_ok()) && !may_be_untold {
            violation!(self, "{} gets {state:?} for message {number} before its answer: {message:?}", self.name(net));
        }
        if message.own_over.is_some_and(|before| !self.is_gone(before)) {
            violation!(self, "{} gets {state:?} for message {number} twice", self.name(net));
        }
        self.counts.add("receipts of the gateway's own", 1);
        Some(number)
    }

    /// When a message's validity ends; all that have one have the same.
    fn valid_until(&self, message: &Message) -> Option<Time> {
        message.fed_at.map(|fed_at| fed_at.after_ms(3_000))
    }
}

/// The number that stands in the text of a model customer's submit_sm.
pub(super) fn number_of(pdu: &[u8]) -> Option<usize> {
    token_in(ShortMessage::decode(pdu).ok()?.text())
}
