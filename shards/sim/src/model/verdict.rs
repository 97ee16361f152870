//! Which answers a submit may get, told from its sender, its route and what vendors said.

use smpp_pdu::message::{REGISTERED_INTERMEDIATE, REGISTERED_RECEIPT_MASK, SHORT_MESSAGE_MAX, ShortMessage};
use smpp_pdu::{CommandStatus, MessageState, Tag};
use smpp_shards::Time;
use smpp_shards::settings::{LongMessages, VendorSettings};

use super::{Expect, Message, Model, Outcome};
use crate::scenario::JournalPlan;

/// Octets of a text that surely fits into 255 parts.
const TEXT_IN_PARTS_MAX: usize = 255 * 131;

/// Milliseconds that a shard may be late: pauses of hosts, steps of timers, ways over rings.
pub(super) const LATE_MS_MAX: u64 = 500;

impl Message {
    /// Whether it surely passed the customer's rate limit; `full_is_later` says that one which finds all full has.
    pub(crate) fn took_a_token(&self, full_is_later: bool) -> bool {
        if !self.emissions.is_empty() {
            return true;
        }
        let Some(answer) = self.answer else { return false };
        let is_full = answer.status == CommandStatus::ESME_RMSGQFUL && full_is_later;
        self.expect == Expect::Routed && (answer.status.is_ok() || is_full)
    }

    /// Whether it surely stood in its session's window for a while.
    pub(crate) fn was_open(&self) -> bool {
        !self.emissions.is_empty()
    }

    /// Whether its sender wants to be told of that state.
    pub(crate) fn wants(&self, state: MessageState) -> bool {
        if state == MessageState::Enroute {
            return self.registered & REGISTERED_INTERMEDIATE != 0;
        }
        let good = matches!(state, MessageState::Delivered | MessageState::Accepted);
        match self.registered & REGISTERED_RECEIPT_MASK {
            0 => false,
            1 => true,
            2 => !good,
            _ => good,
        }
    }

    /// Whether it may expire.
    pub(super) fn has_validity(&self) -> bool {
        ShortMessage::decode(&self.pdu).is_ok_and(|decoded| !decoded.validity_period.is_empty())
    }

    /// Whether a vendor has said exactly that.
    fn was_told(&self, status: CommandStatus) -> bool {
        self.emissions.iter().any(|emission| match emission.outcome {
            Outcome::Temporary(told) | Outcome::Throttled(told) | Outcome::Permanent(told) => told == status,
            Outcome::Taken => status.is_ok(),
            Outcome::Open | Outcome::PartTaken => false,
        })
    }
}

impl Model {
    /// Whether one of its vendors speaks a version without message_payload, and short_message cannot hold its text, or gets
    /// parts, and cannot be given so many.
    pub(super) fn is_too_long(&self, message: &Message) -> bool {
        let vendors = self.scenario.settings.vendors.iter().enumerate();
        let mut allowed = vendors.filter(|(index, _)| message.vendors & 1 << index != 0);
        // The sar parameters become a header of seven octets.
        let length = ShortMessage::decode(&message.pdu).map_or(0, |decoded| {
            decoded.text().len() + if decoded.tlvs.find(Tag::SAR_MSG_REF_NUM).is_some() { 7 } else { 0 }
        });
        let takes_parts =
            |vendor: &VendorSettings| matches!(vendor.long_messages, LongMessages::Udh | LongMessages::Sar);
        let is_refused_by = |vendor: &VendorSettings| {
            vendor.interface_version <= 0x33 || (length > TEXT_IN_PARTS_MAX && takes_parts(vendor))
        };
        length > SHORT_MESSAGE_MAX && allowed.any(|(_, vendor)| is_refused_by(vendor))
    }

    /// Whether a message that its vendor refused for now was given up before its deadline and with tries left, with
    /// nothing else that ends it.
    fn is_given_up_early(&self, message: &Message, now: Time) -> bool {
        let (Some(last), Some(fed_at)) = (message.emissions.last(), message.fed_at) else { return false };
        let (scenario, gateway) = (&self.scenario, &self.scenario.settings.gateway);
        let vendor = &scenario.settings.vendors[last.vendor];
        let may_end_otherwise = vendor.queue_seconds > 0 || message.has_validity() || scenario.live.is_some();
        let is_late = scenario.journal.is_none() && now.millis_since(fed_at) >= gateway.relay_deadline_ms;
        if may_end_otherwise || is_late {
            return false;
        }
        match last.outcome {
            Outcome::Throttled(_) => true,
            Outcome::Temporary(_) => {
                // A try that comes again needs room in the queue.
                let has_room = u64::from(vendor.queue_messages) >= scenario.messages_max && scenario.heavy == 0;
                let tries = message.emissions.iter().filter(|emission| {
                    let is_unknown = scenario.journal.is_some() && emission.heard_at.is_none();
                    emission.vendor == last.vendor && (is_unknown || matches!(emission.outcome, Outcome::Temporary(_)))
                });
                has_room && vendor.queue_bytes >= 1_000_000 && tries.count() < gateway.retry_count as usize
            }
            _ => false,
        }
    }

    /// Whether so few messages are kept that the bound of them may be reached.
    pub(super) fn keeps_few(&self) -> bool {
        let scenario = &self.scenario;
        scenario.journal.is_some() && u64::from(scenario.settings.gateway.messages_kept) < scenario.messages_max
    }

    /// Milliseconds within which every submit is answered: its deadline, and, where it is with a vendor then, that
    /// vendor's response timer; and what hosts and timers may be late.
    pub(super) fn answer_ms_max(&self, fed_at: Time) -> u64 {
        let settings = &self.scenario.settings;
        if let Some(journal) = &self.scenario.journal {
            return if self.last_failure >= fed_at { u64::MAX } else { commit_ms_max(journal) };
        }
        let response = settings.vendors.iter().map(|vendor| vendor.response_timeout_ms).max().unwrap_or(0);
        settings.gateway.relay_deadline_ms + response + LATE_MS_MAX
    }

    /// Milliseconds within which every delivery of a vendor is answered.
    pub(super) fn delivery_ms_max(&self, fed_at: Time) -> u64 {
        let gateway = &self.scenario.settings.gateway;
        let commit_ms = match &self.scenario.journal {
            Some(_) if self.last_failure >= fed_at => return u64::MAX,
            Some(journal) => commit_ms_max(journal),
            None => 0,
        };
        gateway.receipt_early_ms + gateway.receipt_hold_ms + commit_ms + LATE_MS_MAX
    }

    /// Why that answer is wrong; `None` when it may be given.
    pub(super) fn objection(&self, message: &Message, status: CommandStatus, now: Time) -> Option<&'static str> {
        let settings = &self.scenario.settings.customers[message.customer];
        let is_live = self.scenario.live.is_some();
        let may_submit = message.may_have_been_bound && !is_live;
        if message.must_succeed && !status.is_ok() {
            return Some("faults are over, so it must succeed");
        }
        if status.is_ok() {
            return match message.expect {
                Expect::Routed if self.scenario.journal.is_some() || message.was_told(status) => None,
                Expect::Routed => Some("no vendor has taken it"),
                _ => Some("it must be refused"),
            };
        }
        if message.was_told(status) {
            return self.is_given_up_early(message, now).then_some("there were tries and time left");
        }
        match status {
            CommandStatus::ESME_RINVBNDSTS if may_submit => Some("the session is bound for submits"),
            CommandStatus::ESME_RINVBNDSTS => None,
            // There may have been a limit for a while, or no vendor.
            CommandStatus::ESME_RTHROTTLED if is_live => None,
            CommandStatus::ESME_RINVDSTADR if is_live && message.expect == Expect::Routed => None,
            CommandStatus::ESME_RTHROTTLED if settings.smpp_throughput > 0 || settings.smpp_window > 0 => None,
            CommandStatus::ESME_RTHROTTLED => Some("the customer has no limit"),
            CommandStatus::ESME_RSYSERR if self.draining || !self.failing.is_empty() => None,
            CommandStatus::ESME_RSYSERR => Some("nothing is wrong with the gateway"),
            // What is kept is looked at first.
            CommandStatus::ESME_RMSGQFUL if self.keeps_few() => None,
            _ => match message.expect {
                Expect::Malformed => None,
                Expect::SourceRefused if status == CommandStatus::ESME_RINVSRCADR => None,
                Expect::SourceRefused => Some("its source is not the customer's"),
                Expect::NoRoute if status == CommandStatus::ESME_RINVDSTADR => None,
                Expect::NoRoute => Some("it has no route"),
                Expect::Routed if status == CommandStatus::ESME_RMSGQFUL => None,
                Expect::Routed if status == CommandStatus::ESME_RINVMSGLEN && self.is_too_long(message) => None,
                Expect::Routed if status == CommandStatus::ESME_RINVEXPIRY && message.has_validity() => None,
                Expect::Routed if status == CommandStatus::ESME_RUNKNOWNERR => {
                    message.emissions.is_empty().then_some("it was sent to no vendor")
                }
                Expect::Routed => Some("nothing is wrong with it"),
            },
        }
    }
}

/// Milliseconds until what comes in is on a disk that works: the write that is under way, and the next one.
fn commit_ms_max(journal: &JournalPlan) -> u64 {
    2 * journal.write_us.1 / 1_000 + LATE_MS_MAX
}
