//! What shards write to vendors: binds within their bound, messages only where their route leads, unchanged, within
//! window and rate, and never again after an unknown outcome; receipts acknowledged only when the customer took them.

use smpp_pdu::concat::{self, Part, Reference, UserDataHeader};
use smpp_pdu::message::{ESM_UDHI, REGISTERED_RECEIPT_MASK, SHORT_MESSAGE_MAX, ShortMessage};
use smpp_pdu::time::SmppTime;
use smpp_pdu::{Alphabet, CommandId, CommandStatus, Header, Tag};
use smpp_shards::Time;
use smpp_shards::settings::{BindType, LongMessages, RequestReceipts};

use super::{Attempt, AttemptKind, Emission, Model, Open, Outcome, WireSide, tlvs_of, token_in, violation};
use crate::network::NetId;
use crate::trace::Trace;

/// What a vendor may get in a form of its own: the text and what tells the parts of long messages.
const TEXT_AND_PARTS: [Tag; 4] =
    [Tag::MESSAGE_PAYLOAD, Tag::SAR_MSG_REF_NUM, Tag::SAR_TOTAL_SEGMENTS, Tag::SAR_SEGMENT_SEQNUM];

/// A message's content without regard to the form of its parts.
struct Shape<'a> {
    /// Reference, total and number.
    part: Option<(u16, u8, u8)>,
    text: &'a [u8],
    esm_class: u8,
}

impl<'a> Shape<'a> {
    fn of(message: &ShortMessage<'a>) -> Self {
        let part = Part::of(message).ok().flatten().map(|part| {
            let reference = match part.reference {
                Reference::Eight(reference) => u16::from(reference),
                Reference::Sixteen(reference) => reference,
            };
            (reference, part.total, part.number)
        });
        let (mut text, mut esm_class) = (message.text(), message.esm_class);
        if part.is_some()
            && esm_class & ESM_UDHI != 0
            && let Ok((_, behind)) = UserDataHeader::split(text)
        {
            (text, esm_class) = (behind, esm_class & !ESM_UDHI);
        }
        Self { part, text, esm_class }
    }
}

impl Model {
    /// A vendor accepts a bind.
    pub(crate) fn vendor_binds(&mut self, net: NetId) {
        self.vendor_wire(net).bound = true;
    }

    /// The number of the message that a vendor got under that sequence_number and has not answered yet.
    pub(crate) fn submitted_at(&self, net: NetId, sequence: u32) -> Option<usize> {
        match &self.wires.get(&net)?.side {
            WireSide::Vendor(wire) => wire.submits.get(&sequence).map(|open| open.message),
            WireSide::Customer(_) => None,
        }
    }

    /// A vendor answers a submit for the first time.
    pub(crate) fn vendor_answers(
        &mut self,
        net: NetId,
        sequence: u32,
        outcome: Outcome,
        (id, response_id): (u64, Vec<u8>),
        now: Time,
        trace: &Trace,
    ) {
        let wire = self.vendor_wire(net);
        let Some(open) = wire.submits.remove(&sequence) else { return };
        wire.answers.insert(sequence, (open.message, open.emission));
        trace.line(now, format_args!("{} answers {sequence}: {outcome:?}", self.name(net)));
        let emission = &mut self.messages[open.message].emissions[open.emission];
        if matches!(outcome, Outcome::Throttled(_)) {
            self.throttled_at = now;
        }
        let outcome = if emission.is_part && outcome == Outcome::Taken { Outcome::PartTaken } else { outcome };
        (emission.outcome, emission.id, emission.response_id) = (outcome, id, response_id);
    }

    /// A vendor is about to write a deliver_sm: its number.
    pub(crate) fn next_attempt(&self) -> usize {
        self.attempts.len()
    }

    /// A vendor writes a deliver_sm.
    pub(crate) fn vendor_delivers(&mut self, sequence: u32, attempt: Attempt) {
        let (net, number) = (attempt.net, self.attempts.len());
        self.attempts.push(attempt);
        self.vendor_wire(net).attempts.insert(sequence, number);
    }

    pub(super) fn emitted_to_vendor(&mut self, net: NetId, header: Header, pdu: &[u8], now: Time) {
        match header.command_id {
            CommandId::SUBMIT_SM => self.submitted(net, header, pdu, now),
            CommandId::DELIVER_SM_RESP => self.acknowledged(net, header, now),
            command if command.is_bind() => self.binds(net, command),
            CommandId::ENQUIRE_LINK
            | CommandId::ENQUIRE_LINK_RESP
            | CommandId::UNBIND
            | CommandId::UNBIND_RESP
            | CommandId::GENERIC_NACK => {}
            command => violation!(self, "{} gets {command:?}, which no vendor gets", self.name(net)),
        }
    }

    fn binds(&mut self, net: NetId, command: CommandId) {
        let vendor = self.vendor_wire(net).vendor;
        let settings = &self.scenario.settings.vendors[vendor];
        let expected = match settings.bind_type {
            BindType::Transceiver => CommandId::BIND_TRANSCEIVER,
            BindType::Transmitter => CommandId::BIND_TRANSMITTER,
            BindType::Receiver => CommandId::BIND_RECEIVER,
        };
        if command != expected {
            violation!(self, "{} gets {command:?} for {expected:?}", self.name(net));
        }
        let links = self.wires.values().filter(|wire| match &wire.side {
            WireSide::Vendor(other) => other.vendor == vendor && !wire.gone && !wire.closing,
            WireSide::Customer(_) => false,
        });
        let links = links.count();
        if links > settings.binds as usize {
            violation!(self, "vendor {vendor} has {links} links of at most {}", settings.binds);
        }
    }

    fn submitted(&mut self, net: NetId, header: Header, pdu: &[u8], now: Time) {
        let Ok(sent) = ShortMessage::decode(pdu) else {
            violation!(self, "{} gets a submit_sm that cannot be read", self.name(net));
        };
        let Some(number) = self.number_of(net, &sent).filter(|number| *number < self.messages.len()) else {
            violation!(self, "{} gets a submit_sm that no customer sent: {sent:?}", self.name(net));
        };
        let wire = self.vendor_wire(net);
        let (vendor, is_bound) = (wire.vendor, wire.bound);
        if !is_bound {
            violation!(self, "{} gets message {number} before it is bound", self.name(net));
        }
        self.check_route(vendor, number);
        self.check_vendor_in_use(vendor, number);
        self.check_not_doubled(vendor, number, now);
        self.check_content(vendor, number, &sent);
        if !self.buckets[vendor].take(now) {
            let rate = self.scenario.settings.vendors[vendor].throughput;
            violation!(self, "vendor {vendor} gets more than its {rate} messages/s with message {number}");
        }
        let is_part = self.cut_of(number, &sent).is_some_and(|(part, _)| part.number < part.total);
        self.counts.add("parts of texts that were cut", u64::from(is_part));
        let emission = self.messages[number].emissions.len();
        self.messages[number].emissions.push(Emission {
            vendor,
            at: now,
            outcome: Outcome::Open,
            is_part,
            life: self.life,
            net,
            id: 0,
            response_id: Vec::new(),
            heard_at: None,
            may_be_heard: false,
            late_at: None,
            known_at: None,
        });
        self.counts.add("submits to vendors", 1);
        if let Some(before) = self.messages[number].emissions[..emission].last() {
            self.counts.add(if before.vendor == vendor { "retries" } else { "failovers" }, 1);
        }
        let wire = self.vendor_wire(net);
        let open = Open { message: number, emission, at: now };
        if wire.submits.insert(header.sequence_number, open).is_some() {
            violation!(self, "{} gets sequence_number {} twice", self.name(net), header.sequence_number);
        }
        self.check_link_window(net, vendor, now);
    }

    /// The message's number, from its text; the end of one that was cut may hold none, but follows upon parts that do.
    fn number_of(&mut self, net: NetId, sent: &ShortMessage<'_>) -> Option<usize> {
        let vendor = self.vendor_wire(net).vendor;
        let shape = Shape::of(sent);
        let found = token_in(shape.text);
        let Some((reference, ..)) = shape.part else { return found };
        let name = (vendor, reference, sent.source.addr.to_vec(), sent.dest.addr.to_vec());
        match found {
            Some(number) => {
                let numbers = self.cut.entry(name).or_default();
                numbers.retain(|other| *other != number);
                numbers.push(number);
                found
            }
            None => {
                // A reference is given again after so many texts, and by another process.
                let numbers = self.cut.get(&name)?;
                let is_piece =
                    |number: &&usize| self.cut_of(**number, sent).is_some_and(|(_, text)| text == shape.text);
                numbers.iter().find(is_piece).or(numbers.last()).copied()
            }
        }
    }

    /// Which part of that message this is, and its text, where the gateway has cut it.
    fn cut_of<'a>(&'a self, number: usize, sent: &ShortMessage<'_>) -> Option<(Part, &'a [u8])> {
        let original = ShortMessage::decode(&self.messages[number].pdu).ok()?;
        if Part::of(&original).ok()?.is_some() || !original.short_message.is_empty() {
            return None;
        }
        let part = Part::of(sent).ok()??;
        let alphabet = Alphabet::of_data_coding(original.data_coding, Alphabet::Gsm);
        let mut pieces = concat::parts(original.text(), alphabet, part.reference);
        Some((part, pieces.nth(usize::from(part.number) - 1)?))
    }

    fn check_route(&self, vendor: usize, number: usize) {
        let message = &self.messages[number];
        if message.vendors & 1 << vendor == 0 {
            violation!(self, "message {number} goes to vendor {vendor}, where no rule leads: {message:?}");
        }
        // A refusal before the commit may be lost in a crash; what was accepted is sent whenever that is.
        let may_be_sent = |status: CommandStatus| status.is_ok() || message.life != self.life;
        let answer = message.answer.filter(|answer| self.scenario.journal.is_none() || !may_be_sent(answer.status));
        if let Some(answer) = answer {
            violation!(self, "message {number} goes to vendor {vendor} after its answer {:?}", answer.status);
        }
    }

    fn check_not_doubled(&self, vendor: usize, number: usize, now: Time) {
        if self.scenario.journal.is_some() {
            return self.check_sent_again(vendor, number, now);
        }
        let gateway = &self.scenario.settings.gateway;
        let mut tries = 1;
        let counts_since = self.tries_count_since(vendor);
        for emission in &self.messages[number].emissions {
            let is_here = emission.vendor == vendor && counts_since.is_some_and(|since| emission.at >= since);
            match emission.outcome {
                Outcome::Throttled(_) => {}
                Outcome::PartTaken if is_here => tries = 1,
                Outcome::PartTaken => {}
                Outcome::Temporary(_) => {
                    if is_here {
                        tries += 1;
                        let waited = now.millis_since(emission.at);
                        if waited < gateway.retry_interval_ms {
                            violation!(self, "message {number} is tried again after only {waited} ms");
                        }
                    }
                }
                outcome => violation!(
                    self,
                    "message {number} goes to vendor {vendor} although vendor {} had it: {outcome:?}",
                    emission.vendor
                ),
            }
        }
        if tries > gateway.retry_count {
            violation!(self, "message {number} is tried {tries} times at vendor {vendor}");
        }
    }

    fn check_content(&self, vendor: usize, number: usize, sent: &ShortMessage<'_>) {
        let message = &self.messages[number];
        let Ok(original) = ShortMessage::decode(&message.pdu) else {
            violation!(self, "message {number}, which cannot be read, goes to vendor {vendor}");
        };
        let settings = &self.scenario.settings.vendors[vendor];
        let customer = &self.scenario.settings.customers[message.customer];
        let forced = customer.force_source_address.as_deref().map(str::as_bytes);
        let source_ok = sent.source.addr == forced.unwrap_or(original.source.addr)
            && (forced.is_some() || sent.source.ton == settings.source_ton.unwrap_or(original.source.ton))
            && (forced.is_some() || sent.source.npi == settings.source_npi.unwrap_or(original.source.npi));
        let dest_ok = sent.dest.addr == original.dest.addr
            && sent.dest.ton == settings.dest_ton.unwrap_or(original.dest.ton)
            && sent.dest.npi == settings.dest_npi.unwrap_or(original.dest.npi);
        let coding = match (original.data_coding, settings.default_data_coding) {
            (0, Some(coding)) => coding,
            (coding, _) => coding,
        };
        let asked = sent.registered_delivery & REGISTERED_RECEIPT_MASK;
        let cut = self.cut_of(number, sent);
        let is_part = cut.is_some_and(|(part, _)| part.number < part.total);
        let receipts_ok = match settings.request_receipts {
            // The last part's receipt is the message's.
            _ if is_part => asked == 0,
            RequestReceipts::AsAsked => sent.registered_delivery == original.registered_delivery,
            RequestReceipts::Always => asked == 1,
        };
        let service_type = settings.service_type.as_deref().map_or(original.service_type, str::as_bytes);
        let (as_sent, mut as_asked) = (Shape::of(sent), Shape::of(&original));
        if let Some((_, piece)) = cut {
            (as_asked.part, as_asked.text) = (as_sent.part, piece);
        }
        let rest_ok = as_sent.part == as_asked.part
            && as_sent.text == as_asked.text
            && as_sent.esm_class == as_asked.esm_class
            && sent.data_coding == coding
            && sent.protocol_id == original.protocol_id
            && sent.priority_flag == original.priority_flag
            && sent.service_type == service_type
            && is_validity_of(sent.validity_period, original.validity_period);
        let form_ok = settings.long_messages != LongMessages::AsSent
            || settings.interface_version <= 0x33
            || sent.short_message == original.short_message;
        let tlvs_ok =
            settings.interface_version <= 0x33 || tlvs_of(sent, &TEXT_AND_PARTS) == tlvs_of(&original, &TEXT_AND_PARTS);
        if !(source_ok && dest_ok && receipts_ok && rest_ok && form_ok && tlvs_ok) {
            violation!(self, "message {number} reaches vendor {vendor} changed: {original:?} became {sent:?}");
        }
    }

    fn check_link_window(&mut self, net: NetId, vendor: usize, now: Time) {
        let settings = &self.scenario.settings.vendors[vendor];
        let (window, timeout) = (settings.window_size as usize, settings.response_timeout_ms);
        let wire = self.vendor_wire(net);
        let open = wire.submits.values().filter(|open| now.millis_since(open.at) < timeout).count();
        if open > window {
            violation!(self, "{} has {open} open submits in a window of {window}", self.name(net));
        }
    }

    fn acknowledged(&mut self, net: NetId, header: Header, now: Time) {
        let Some(number) = self.vendor_wire(net).attempts.remove(&header.sequence_number) else {
            violation!(self, "{} gets {header:?} to nothing, or a second time", self.name(net));
        };
        let status = header.command_status;
        let attempt = &self.attempts[number];
        let is_safe = status.is_ok() && self.scenario.journal.is_some();
        if is_safe {
            self.promise(number);
        } else if status.is_ok()
            && !attempt.taken
            && let Some(why) = self.must_have_been_taken(number)
        {
            violation!(self, "attempt {number} is acknowledged, and no customer took it: {why}: {attempt:?}");
        }
        let fed_at = self.attempts[number].fed_at.unwrap_or(now);
        let (waited, most) = (now.millis_since(fed_at), self.delivery_ms_max(fed_at));
        if waited > most {
            violation!(self, "attempt {number} is answered {status:?} after {waited} ms of at most {most}");
        }
        self.attempts[number].acknowledged = Some(status);
    }

    /// A vendor is told that its delivery is safe: in journal mode the customer need not have taken it yet.
    fn promise(&mut self, number: usize) {
        let attempt = &self.attempts[number];
        match attempt.kind {
            AttemptKind::Mobile(_) => {
                // What is too long for a customer of version 3.3 ends there.
                let fits = ShortMessage::decode(&attempt.pdu).is_ok_and(|sent| sent.text().len() <= SHORT_MESSAGE_MAX);
                self.attempts[number].is_promised = fits;
            }
            AttemptKind::Receipt(Some(message), state) => {
                let is_known = self.is_known(attempt.vendor, message, attempt.id, attempt.fed_at);
                let message = &mut self.messages[message];
                message.is_promised |= is_known && state.is_final() && message.wants(state);
            }
            AttemptKind::Receipt(None, _) => {}
        }
    }

    /// Why a delivery that no customer took must not be acknowledged; `None` where it is rightly unknown or unwanted.
    fn must_have_been_taken(&self, number: usize) -> Option<&'static str> {
        let attempt = &self.attempts[number];
        match attempt.kind {
            AttemptKind::Mobile(_) => Some("it is an MO"),
            AttemptKind::Receipt(None, _) => None,
            AttemptKind::Receipt(Some(message), state) => {
                let message = &self.messages[message];
                // Without an answer that reached the shard before the receipt, the id may be unknown to it; after a
                // final receipt it is forgotten.
                let answer = message.answer.filter(|answer| answer.status.is_ok())?;
                let known = attempt.fed_at.is_some_and(|fed| answer.at < fed);
                let wanted = message.wants(state) && state.is_final();
                (known && wanted && message.receipts_taken == 0).then_some("its message waits for it")
            }
        }
    }

    /// Whether a vendor's refusal of that status is one for now, as its settings say.
    pub(crate) fn outcome_of(status: CommandStatus) -> Outcome {
        match status.0 {
            0 => Outcome::Taken,
            0x58 | 0x14 => Outcome::Throttled(status),
            crate::scenario::TEMPORARY => Outcome::Temporary(status),
            _ => Outcome::Permanent(status),
        }
    }
}

/// Whether a vendor may get that validity_period: what has passed of a relative one is taken off it.
fn is_validity_of(sent: &[u8], original: &[u8]) -> bool {
    let millis = |text: &[u8]| SmppTime::parse(text).ok().map(|time| time.unix_millis(0));
    let is_relative = sent.last() == Some(&b'R') && original.last() == Some(&b'R');
    sent == original || is_relative && (Some(1)..millis(original)).contains(&millis(sent))
}
