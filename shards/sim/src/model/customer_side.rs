//! What shards write to customers: binds within their bound, every submit answered once and for a cause, receipts and
//! MO to their own customer only, within its window.

use smpp_pdu::bind::BindResp;
use smpp_pdu::message::{ESM_TYPE_MASK, ShortMessage, resp_message_id};
use smpp_pdu::{CommandId, CommandStatus, Header, MessageState, Receipt, Tag};
use smpp_shards::{Time, bounds};

use super::{Answer, AttemptKind, Message, Model, Offer, WireSide, tlvs_of, violation};
use crate::network::NetId;

impl Model {
    /// A customer writes a request that wants an answer.
    pub(crate) fn customer_requests(&mut self, net: NetId, command: CommandId, sequence: u32) {
        self.customer_wire(net).requests.insert(sequence, command);
    }

    /// A customer writes octets that are no PDUs: whatever it gets for them is right.
    pub(crate) fn customer_sends_garbage(&mut self, net: NetId) {
        self.customer_wire(net).sent_garbage = true;
    }

    /// A customer writes a submit_sm; gives the message's number.
    pub(crate) fn customer_submits(&mut self, message: Message) -> usize {
        let number = self.messages.len();
        let (net, sequence) = (message.net, message.sequence);
        self.messages.push(message);
        let wire = self.customer_wire(net);
        wire.requests.insert(sequence, CommandId::SUBMIT_SM);
        wire.submits.insert(sequence, number);
        number
    }

    /// A customer writes its answer to a deliver_sm.
    pub(crate) fn customer_answers(&mut self, net: NetId, sequence: u32, status: CommandStatus) {
        let Some((offer, _)) = self.customer_wire(net).offers.remove(&sequence) else { return };
        let is_final = |attempt: usize| match self.attempts[attempt].kind {
            AttemptKind::Receipt(message, state) if state.is_final() => message,
            _ => None,
        };
        let message = match offer {
            Offer::Attempt(attempt) => is_final(attempt),
            Offer::Own(message) => message,
        };
        let is_for_now = status == CommandStatus::ESME_RX_T_APPN;
        if let Some(message) = message.map(|message| &mut self.messages[message]) {
            message.receipts_taken += u32::from(status.is_ok());
            message.receipts_refused += u32::from(!status.is_ok() && !is_for_now);
            if offer == Offer::Own(None) || (matches!(offer, Offer::Own(_)) && is_for_now) {
                message.own_over = None;
            }
        }
        if let Offer::Attempt(attempt) = offer {
            let attempt = &mut self.attempts[attempt];
            attempt.is_refused |= !status.is_ok() && !is_for_now;
            attempt.taken |= status.is_ok();
            if status.is_ok() {
                attempt.taken_over = Some(net);
            }
        }
        if !status.is_ok() {
            return;
        }
        self.counts.add("deliveries answered ESME_ROK", 1);
    }

    pub(super) fn emitted_to_customer(&mut self, net: NetId, header: Header, pdu: &[u8], now: Time) {
        match header.command_id {
            CommandId::SUBMIT_SM_RESP => self.submit_answered(net, header, pdu, now),
            CommandId::DELIVER_SM => self.offered(net, header, pdu, now),
            CommandId::ENQUIRE_LINK | CommandId::UNBIND => {
                if self.customer_wire(net).bound.is_none() {
                    violation!(self, "{} gets {:?} before it is bound", self.name(net), header.command_id);
                }
            }
            CommandId::GENERIC_NACK => self.nacked(net, header, now),
            command if command.is_response() => self.answered(net, header, pdu, now),
            command => violation!(self, "{} gets {command:?}, which no customer gets", self.name(net)),
        }
    }

    fn take_request(&mut self, net: NetId, header: Header) -> CommandId {
        match self.customer_wire(net).requests.remove(&header.sequence_number) {
            Some(command) => command,
            None => violation!(self, "{} gets {header:?} to no request, or a second time", self.name(net)),
        }
    }

    fn nacked(&mut self, net: NetId, header: Header, now: Time) {
        // To garbage; which may have had the sequence_number of a request.
        if self.customer_wire(net).sent_garbage {
            return;
        }
        if self.take_request(net, header) == CommandId::SUBMIT_SM {
            self.answer_message(net, header, now);
        }
    }

    fn answered(&mut self, net: NetId, header: Header, pdu: &[u8], now: Time) {
        let request = self.take_request(net, header);
        if request.response() != header.command_id {
            violation!(self, "{} asked {request:?} and gets {header:?}", self.name(net));
        }
        match request {
            CommandId::UNBIND => self.customer_wire(net).leaving = true,
            CommandId::ENQUIRE_LINK if header.command_status.is_ok() => {}
            _ if request.is_bind() => {
                if header.command_status.is_ok() {
                    self.bound(net, request, pdu, now);
                } else {
                    self.check_bind_refusal(net, header.command_status);
                }
            }
            _ if header.command_status.is_ok() => {
                violation!(self, "{} gets ESME_ROK for {request:?}, which is not served", self.name(net));
            }
            _ => {}
        }
    }

    fn check_bind_refusal(&mut self, net: NetId, status: CommandStatus) {
        let wire = self.customer_wire(net);
        let (customer, refusal, is_second) = (wire.customer, wire.refusal, wire.bound.is_some());
        let has_bound = self.scenario.settings.customers[customer].smpp_max_binds > 0;
        let is_right = match status {
            CommandStatus::ESME_RALYBND => is_second,
            // The control thread is busy, or the gateway stops.
            CommandStatus::ESME_RSYSERR => true,
            CommandStatus::ESME_RBINDFAIL if has_bound && !is_second => true,
            // The customer may have been removed.
            CommandStatus::ESME_RINVSYSID if self.scenario.live.is_some() && !is_second => true,
            status => refusal == Some(status) && !is_second,
        };
        if !is_right {
            violation!(self, "a bind of {} is refused with {status:?} instead of {refusal:?}", self.name(net));
        }
    }

    fn bound(&mut self, net: NetId, request: CommandId, pdu: &[u8], now: Time) {
        let wire = self.customer_wire(net);
        let customer = wire.customer;
        let (may_bind, was_bound) = (wire.refusal.is_none(), wire.bound.is_some());
        let version = if BindResp::decode(pdu).sc_interface_version.is_some() { 0x34 } else { 0x33 };
        wire.bound = Some((request, version));
        let early: Vec<usize> = wire.submits.values().copied().collect();
        if was_bound || !may_bind {
            violation!(self, "{} binds, but must not", self.name(net));
        }
        // What came behind the bind is looked at only now.
        for message in early {
            let fed_at = &mut self.messages[message].fed_at;
            *fed_at = fed_at.map(|_| now);
        }
        self.counts.add("binds of customers", 1);
        let most = self.scenario.settings.customers[customer].smpp_max_binds;
        let sessions = self.wires.values().filter(|wire| match &wire.side {
            WireSide::Customer(other) => {
                other.customer == customer && other.bound.is_some() && !other.leaving && !wire.gone && !wire.closing
            }
            WireSide::Vendor(_) => false,
        });
        let sessions = sessions.count();
        // Sessions that are about to be unbound, for their customer was not in use for a while, do not count.
        if most > 0 && sessions > most as usize && self.scenario.live.is_none() {
            violation!(self, "customer {customer} has {sessions} binds of at most {most}");
        }
    }

    fn submit_answered(&mut self, net: NetId, header: Header, pdu: &[u8], now: Time) {
        let request = self.take_request(net, header);
        if request != CommandId::SUBMIT_SM {
            violation!(self, "{} asked {request:?} and gets {header:?}", self.name(net));
        }
        let Some(number) = self.answer_message(net, header, now) else { return };
        if !header.command_status.is_ok() {
            if pdu.len() != 16 {
                violation!(self, "an error answer to {} has a body", self.name(net));
            }
            return;
        }
        let id = resp_message_id(pdu).to_vec();
        if id.is_empty() {
            violation!(self, "message {number} is accepted without an id");
        }
        self.tie_id(number, id);
    }

    fn answer_message(&mut self, net: NetId, header: Header, now: Time) -> Option<usize> {
        let number = self.customer_wire(net).submits.remove(&header.sequence_number)?;
        let status = header.command_status;
        let message = &self.messages[number];
        if message.answer.is_some() {
            violation!(self, "message {number} is answered a second time: {header:?}");
        }
        if let Some(why) = self.objection(message, status, now) {
            violation!(self, "message {number} of {} is answered {status:?}, but {why}: {message:?}", self.name(net));
        }
        if status.is_ok() {
            self.check_customer_in_use(number);
        }
        if let Some(fed_at) = self.messages[number].fed_at {
            let waited = now.millis_since(fed_at);
            let most = self.answer_ms_max(fed_at);
            if waited > most {
                violation!(self, "message {number} is answered {status:?} after {waited} ms of at most {most}");
            }
        }
        self.counts.answered(status);
        self.messages[number].was_told_unwritten = !self.failing.is_empty();
        self.messages[number].answer = Some(Answer { status, at: now });
        Some(number)
    }

    /// An id is one message's of one customer, in its answer and in its receipts.
    pub(super) fn tie_id(&mut self, number: usize, id: Vec<u8>) {
        let customer = self.messages[number].customer;
        match &self.messages[number].id {
            Some(known) if *known != id => {
                violation!(self, "message {number} has the id {} and also {}", known.escape_ascii(), id.escape_ascii())
            }
            Some(_) => return,
            None => {}
        }
        if let Some(other) = self.ids.insert((customer, id.clone()), number)
            && other != number
        {
            violation!(self, "messages {other} and {number} of customer {customer} have one id");
        }
        self.messages[number].id = Some(id);
    }

    /// A deliver_sm goes to a customer.
    fn offered(&mut self, net: NetId, header: Header, pdu: &[u8], now: Time) {
        let Ok(delivered) = ShortMessage::decode(pdu) else {
            violation!(self, "{} gets a deliver_sm that cannot be read", self.name(net));
        };
        let wire = self.customer_wire(net);
        let (customer, bound) = (wire.customer, wire.bound);
        let Some((command, version)) = bound else {
            violation!(self, "{} gets a delivery before it is bound", self.name(net));
        };
        if command == CommandId::BIND_TRANSMITTER {
            violation!(self, "{} gets a delivery on a transmitter's bind", self.name(net));
        }
        let offer = match self.attempt_named(&delivered) {
            Some(number) => {
                self.offered_attempt(net, number, customer, version, &delivered);
                Offer::Attempt(number)
            }
            None if self.scenario.journal.is_some() && delivered.service_type.is_empty() => {
                let number = self.own_receipt(net, customer, &delivered);
                if let Some(number) = number {
                    self.messages[number].own_over = Some(net);
                }
                Offer::Own(number)
            }
            None => violation!(self, "{} gets a delivery that no vendor sent: {delivered:?}", self.name(net)),
        };
        self.note_offer(net, header.sequence_number, offer, now);
    }

    fn offered_attempt(
        &mut self,
        net: NetId,
        number: usize,
        customer: usize,
        version: u8,
        delivered: &ShortMessage<'_>,
    ) {
        let attempt = self.attempts[number].clone();
        // That it has ended may not have been on disk when the process was killed.
        let is_from_before = self.life > 0 && attempt.fed_at.is_some_and(|fed_at| fed_at <= self.crashed_at);
        let is_safe = self.scenario.journal.is_some()
            && (attempt.acknowledged == Some(CommandStatus::ESME_ROK) || is_from_before);
        if attempt.taken_over.is_some_and(|before| !self.is_gone(before)) {
            violation!(self, "attempt {number} is offered again to a customer that took it: {attempt:?}");
        }
        if let Some(status) = attempt.acknowledged.filter(|_| !is_safe) {
            violation!(self, "attempt {number} is offered after its vendor was told {status:?}");
        }
        if let Some(before) = attempt.offered
            && self
                .wires
                .get(&before)
                .is_some_and(|wire| !wire.gone && !wire.closing && self.is_offered(before, number))
        {
            violation!(self, "attempt {number} is offered to two sessions at one time");
        }
        match attempt.kind {
            AttemptKind::Mobile(owner) => {
                if owner != Some(customer) {
                    violation!(self, "{} gets an MO of customer {owner:?}: attempt {number}", self.name(net));
                }
                self.check_mobile(number, delivered, version);
            }
            AttemptKind::Receipt(message, state) => {
                let Some(message) = message else {
                    violation!(self, "{} gets a receipt for no message: attempt {number}", self.name(net));
                };
                self.check_receipt(net, customer, message, state, delivered);
                self.check_told_once(net, number, message, state);
            }
        }
        if self.attempts[number].offered.replace(net).is_some() {
            self.counts.add("deliveries offered again", 1);
        }
    }

    /// Of a message that was sent more than once, the customer gets one final receipt, whichever vendor's comes first.
    fn check_told_once(&self, net: NetId, number: usize, message: usize, state: MessageState) {
        let this = &self.attempts[number];
        // What a start has taken over stands in its journal without the other submits.
        let is_of_this_life =
            |fed_at: Option<Time>| fed_at.is_some_and(|fed_at| self.life == 0 || fed_at > self.crashed_at);
        if self.scenario.journal.is_none() || !state.is_final() || !is_of_this_life(this.fed_at) {
            return;
        }
        let before = self.attempts.iter().position(|other| {
            matches!(other.kind, AttemptKind::Receipt(Some(of), state) if of == message && state.is_final())
                && (other.vendor, other.id) != (this.vendor, this.id)
                && other.offered.is_some()
                && other.acknowledged == Some(CommandStatus::ESME_ROK)
                && is_of_this_life(other.fed_at)
        });
        if let Some(before) = before {
            let message = &self.messages[message];
            violation!(
                self,
                "{} gets attempt {number} after attempt {before}, both final: {message:?}",
                self.name(net)
            );
        }
    }

    fn note_offer(&mut self, net: NetId, sequence: u32, offer: Offer, now: Time) {
        let wire = self.customer_wire(net);
        if wire.offers.insert(sequence, (offer, now)).is_some() {
            violation!(self, "{} gets sequence_number {sequence} twice", self.name(net));
        }
        let wire = self.customer_wire(net);
        let still_counts = |at: Time| now.millis_since(at) < bounds::DELIVER_RESPONSE_MS_MAX;
        let open = wire.offers.values().filter(|(_, at)| still_counts(*at)).count();
        let window = self.scenario.settings.gateway.deliver_window as usize;
        if open > window {
            violation!(self, "{} has {open} open deliveries in a window of {window}", self.name(net));
        }
    }

    fn is_offered(&self, net: NetId, attempt: usize) -> bool {
        match self.wires.get(&net).map(|wire| &wire.side) {
            Some(WireSide::Customer(wire)) => {
                wire.offers.values().any(|(offered, _)| *offered == Offer::Attempt(attempt))
            }
            _ => false,
        }
    }

    /// Which attempt of a vendor it is; `None` when it says so of none.
    pub(super) fn attempt_named(&self, delivered: &ShortMessage<'_>) -> Option<usize> {
        let name = core::str::from_utf8(delivered.service_type).ok()?;
        usize::from_str_radix(name, 16).ok().filter(|number| *number < self.attempts.len())
    }

    fn check_mobile(&self, number: usize, delivered: &ShortMessage<'_>, version: u8) {
        let Ok(sent) = ShortMessage::decode(&self.attempts[number].pdu) else { return };
        let same = sent.source == delivered.source
            && sent.dest == delivered.dest
            && sent.esm_class == delivered.esm_class
            && sent.data_coding == delivered.data_coding
            && sent.text() == delivered.text()
            && (version <= 0x33 || tlvs_of(&sent, &[]) == tlvs_of(delivered, &[]));
        if !same {
            violation!(self, "MO attempt {number} was changed on its way: {sent:?} became {delivered:?}");
        }
    }

    fn check_receipt(
        &mut self,
        net: NetId,
        customer: usize,
        number: usize,
        state: MessageState,
        delivered: &ShortMessage<'_>,
    ) {
        let message = &self.messages[number];
        if message.customer != customer {
            violation!(self, "{} gets the receipt of customer {}'s message {number}", self.name(net), message.customer);
        }
        if !message.wants(state) {
            violation!(self, "{} gets a receipt {state:?} that message {number} did not ask for", self.name(net));
        }
        // Over another session it may come in any order.
        let is_told = message.answer.is_some() || message.net != net;
        if !is_told {
            violation!(self, "{} gets the receipt of message {number} before its answer: {message:?}", self.name(net));
        }
        if delivered.esm_class & ESM_TYPE_MASK == 0 {
            violation!(self, "the receipt of message {number} is not marked as one: {delivered:?}");
        }
        let receipt = Receipt::parse(delivered.text());
        let in_text = receipt.id.map(<[u8]>::to_vec);
        let in_parameter = delivered.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).map(|tlv| tlv.c_octets().to_vec());
        if in_text.is_none() && in_parameter.is_none() {
            violation!(self, "the receipt of message {number} names no id: {delivered:?}");
        }
        for id in [in_text, in_parameter].into_iter().flatten() {
            self.tie_id(number, id);
        }
        if receipt.state().is_some_and(|said| said != state) {
            violation!(self, "the receipt of message {number} says {:?} for {state:?}", receipt.state());
        }
    }
}
