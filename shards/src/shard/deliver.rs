//! Receipts and MO on their customer's home shard: to a bind that can receive, kept for a while where there is none,
//! and the customer's answer back to the vendor's shard.

use smpp_pdu::concat::Part;
use smpp_pdu::encode::Encoder;
use smpp_pdu::frame::HEADER_LENGTH;
use smpp_pdu::message::{ESM_UDHI, SHORT_MESSAGE_MAX};
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, Tag, Tlvs, encode};

use super::rewrite::VERSION_5;
use super::{Role, Shard};
use crate::bounds::{
    CUSTOMER_SILENT_MS, DELIVER_RESPONSE_MS_MAX, DELIVERIES_HELD_PER_VENDOR_MAX, DELIVERY_REST_MS,
    SESSION_OUTPUT_BYTES_MAX, UNTOLD_REST_MS,
};
use crate::deliveries::DeliveryState;
use crate::journal::How;
use crate::kept::{KeptRef, KeptState};
use crate::names::{Conn, CustomerId};
use crate::output::Output;
use crate::time::{Now, Time};
use crate::wire::{Deliver, Record};

/// What a delivery finds of the kept message that it is a receipt of; as here where it is of none.
#[derive(Clone, Copy, Debug, Default)]
struct Subject {
    /// The number in the journal of the message that ends with it; 0 where none does.
    number: u64,
    /// The customer has not been told the id of the message yet: the disk still works at it. The answer goes first.
    is_untold: bool,
}

impl Shard {
    /// Takes a receipt or MO for a customer that is at home here.
    pub(super) fn deliver(&mut self, deliver: &Deliver<'_>, now: Now, out: &mut Output) {
        let subject = match self.subject_of(deliver) {
            Ok(subject) => subject,
            Err(status) => {
                self.answer_double(deliver, status, out);
                return;
            }
        };
        let due = now.mono.after_ms(self.snapshot.gateway.receipt_hold_ms);
        let slot = self.deliveries.allocate(deliver.customer, deliver.vendor, deliver.origin, deliver.pdu, due, now);
        let delivery = self.deliveries.get_mut(slot);
        (delivery.kept, delivery.is_final) = (deliver.kept, deliver.is_final);
        delivery.has_version_5 = deliver.has_version_5;
        let is_kept = self.may_keep_delivery(deliver) && self.keep_delivery(slot, deliver, subject.number, now);
        if subject.is_untold {
            self.wait_until_told(slot, now);
            return;
        }
        if !(is_kept && self.refusing) && self.give_at_once(deliver.customer, slot, now, out) {
            return;
        }
        if !is_kept && self.is_out_of_reach(deliver.customer, now) {
            let held = &mut self.held[deliver.vendor.index()];
            // While the gateway stops nobody can bind any more: waiting would only hold up the stopping.
            if *held >= DELIVERIES_HELD_PER_VENDOR_MAX || self.refusing {
                self.resolve(slot, CommandStatus::ESME_RX_T_APPN, out);
                return;
            }
            *held += 1;
            self.deliveries.get_mut(slot).is_held = true;
        }
        let ticket = self.deliveries.ticket(slot);
        let desk = &mut self.desks[deliver.customer.index()];
        desk.waiting.push_back(ticket);
        desk.counters.deliveries_waiting += 1;
    }

    /// What a delivery finds of the kept message that it is a receipt of; notes a final one. For a second final receipt of a
    /// message that was sent twice, what its vendor is told: it comes again where the first one might still be lost.
    fn subject_of(&mut self, deliver: &Deliver<'_>) -> Result<Subject, CommandStatus> {
        let Some(message) = self.kept.find(deliver.kept) else {
            let is_second = deliver.kept != KeptRef::NONE && deliver.is_final && deliver.is_double;
            return if is_second { Err(CommandStatus::ESME_ROK) } else { Ok(Subject::default()) };
        };
        let is_untold = !message.is_answered;
        if !deliver.is_final {
            return Ok(Subject { number: 0, is_untold });
        }
        if core::mem::replace(&mut message.has_final, true) && deliver.is_double {
            let is_safe = message.is_final_safe || message.state == KeptState::Through;
            return Err(if is_safe { CommandStatus::ESME_ROK } else { CommandStatus::ESME_RX_T_APPN });
        }
        Ok(Subject { number: message.number, is_untold })
    }

    /// The vendor of a second final receipt is answered; the customer does not get it.
    fn answer_double(&mut self, deliver: &Deliver<'_>, status: CommandStatus, out: &mut Output) {
        let Deliver { origin, vendor, .. } = *deliver;
        if origin.shard == self.id {
            self.delivery_resolved(origin, vendor, status, out);
        } else {
            self.rings.send(origin.shard, &Record::DeliverAnswer { origin, vendor, status });
        }
    }

    /// Whether the journal may take this one over from its vendor. One that the shard wrote itself has no vendor.
    fn may_keep_delivery(&self, deliver: &Deliver<'_>) -> bool {
        deliver.origin.is_own || self.deliveries.in_use() <= self.snapshot.gateway.receipts_kept as usize
    }

    /// See [`Subject::is_untold`].
    fn is_untold(&mut self, slot: u32) -> bool {
        let kept = self.deliveries.get(slot).kept;
        self.kept.find(kept).is_some_and(|message| !message.is_answered)
    }

    /// The receipt rests until its message's customer is told. Another one may be there before it, from a vendor that gives
    /// several: this one looks again after a while.
    fn wait_until_told(&mut self, slot: u32, now: Now) {
        let delivery = self.deliveries.get_mut(slot);
        delivery.state = DeliveryState::Resting;
        if let Some(message) = self.kept.find(delivery.kept)
            && message.receipt.get().is_none()
        {
            message.receipt.replace(slot);
        }
        self.deliveries.set_due(slot, now.mono.after_ms(UNTOLD_REST_MS));
    }

    /// The customer has just been told the id of a kept message: its receipt, which waited for that in this slot, follows.
    pub(super) fn told(&mut self, meant: KeptRef, slot: u32, now: Now, out: &mut Output) {
        let delivery = self.deliveries.get(slot);
        if delivery.state == DeliveryState::Resting && delivery.kept == meant {
            self.give_again(slot, now, out);
        }
    }

    /// A delivery that rested waits for a session again.
    fn give_again(&mut self, slot: u32, now: Now, out: &mut Output) {
        let delivery = self.deliveries.get_mut(slot);
        let customer = delivery.customer;
        delivery.state = DeliveryState::Waiting;
        let is_kept = delivery.number != 0;
        let hold_ms = if is_kept { delivery.kept_ms_left(now) } else { self.snapshot.gateway.receipt_hold_ms };
        self.deliveries.set_due(slot, now.mono.after_ms(hold_ms));
        if !self.holds_deliveries() && self.give_at_once(customer, slot, now, out) {
            return;
        }
        let ticket = self.deliveries.ticket(slot);
        let desk = &mut self.desks[customer.index()];
        desk.waiting.push_back(ticket);
        desk.counters.deliveries_waiting += 1;
        self.pump_deliveries(customer, now, out);
    }

    /// Gives a delivery to its customer where nothing waits before it and a session has room; tells whether it could.
    fn give_at_once(&mut self, customer: CustomerId, slot: u32, now: Now, out: &mut Output) -> bool {
        if !self.desks[customer.index()].waiting.is_empty() {
            return false;
        }
        let Some(conn) = self.free_receiver(customer, out) else { return false };
        self.transmit_delivery(conn, slot, now, out);
        true
    }

    /// Whether what waits for a customer stays where it is: the gateway stops, and the journal has it.
    fn holds_deliveries(&self) -> bool {
        self.refusing && self.ledger.is_some()
    }

    /// Whether the customer has no bind that can receive, or has not answered for a while.
    fn is_out_of_reach(&mut self, customer: CustomerId, now: Now) -> bool {
        let desk = &self.desks[customer.index()];
        let mut receivers = 0;
        let mut oldest = Time::NEVER;
        for conn in &desk.sessions {
            if let Role::Session(session) = &self.connections[conn.index()].role
                && session.can_receive()
            {
                receivers += 1;
                oldest = oldest.min(session.last_taken);
            }
        }
        let last_sign = desk.last_taken.max(if oldest == Time::NEVER { Time::default() } else { oldest });
        receivers == 0 || now.mono.millis_since(last_sign) >= CUSTOMER_SILENT_MS
    }

    /// The next session of the customer, in turn, that can take a deliver_sm.
    fn free_receiver(&mut self, customer: CustomerId, out: &Output) -> Option<Conn> {
        let limit = self.deliver_window();
        let desk = &mut self.desks[customer.index()];
        let count = desk.sessions.len();
        for _ in 0..count {
            desk.turn = if desk.turn + 1 < count { desk.turn + 1 } else { 0 };
            let conn = desk.sessions[desk.turn];
            if has_room(&self.connections[conn.index()].role, conn, limit, out) {
                return Some(conn);
            }
        }
        None
    }

    fn transmit_delivery(&mut self, conn: Conn, slot: u32, now: Now, out: &mut Output) {
        let limit = self.deliver_window();
        let Role::Session(session) = &mut self.connections[conn.index()].role else { return };
        let is_plain = session.interface_version <= 0x33;
        if is_plain && !fits_without_tlvs(&self.deliveries.get(slot).pdu) {
            self.resolve(slot, CommandStatus::ESME_RX_P_APPN, out);
            return;
        }
        if session.deliver.open() == 0 {
            session.last_taken = now.mono;
        }
        let sequence = session.deliver.open_request(slot, limit);
        let delivery = self.deliveries.get_mut(slot);
        delivery.state = DeliveryState::Sent(conn);
        delivery.sequence = sequence;
        let is_kept = delivery.number != 0;
        self.latencies.delivery.add_ms(delivery.age_ms(now));
        if core::mem::take(&mut delivery.is_held) {
            self.held[delivery.vendor.index()] -= 1;
        }
        if is_kept {
            self.deliveries.set_due(slot, now.mono.after_ms(DELIVER_RESPONSE_MS_MAX));
        }
        let delivery = self.deliveries.get(slot);
        let buffer = out.buffer(conn);
        let start = buffer.len();
        if is_plain {
            write_without_tlvs(buffer, &delivery.pdu);
        } else if session.interface_version < VERSION_5 && delivery.has_version_5 {
            write_for_version(buffer, &delivery.pdu, session.interface_version);
        } else {
            buffer.extend_from_slice(&delivery.pdu);
            buffer[start..start + 4].copy_from_slice(&(delivery.pdu.len() as u32).to_be_bytes());
        }
        buffer[start + 8..start + 12].fill(0);
        buffer[start + 12..start + HEADER_LENGTH].copy_from_slice(&sequence.to_be_bytes());
    }

    /// Sends what waits for a customer, as far as its windows allow.
    pub(super) fn pump_deliveries(&mut self, customer: CustomerId, now: Now, out: &mut Output) {
        if self.holds_deliveries() {
            return;
        }
        while !self.desks[customer.index()].waiting.is_empty() {
            let Some(conn) = self.free_receiver(customer, out) else { return };
            self.give_next(customer, conn, now, out);
        }
    }

    /// One session of a customer has room again: it takes what waits. Where nobody had room before, nobody else needs to be
    /// asked.
    fn pump_session(&mut self, customer: CustomerId, conn: Conn, now: Now, out: &mut Output) {
        if self.holds_deliveries() {
            return;
        }
        let limit = self.deliver_window();
        while !self.desks[customer.index()].waiting.is_empty() {
            if !has_room(&self.connections[conn.index()].role, conn, limit, out) {
                return;
            }
            self.give_next(customer, conn, now, out);
        }
    }

    /// Gives the first delivery that waits to a session that has room.
    fn give_next(&mut self, customer: CustomerId, conn: Conn, now: Now, out: &mut Output) {
        let desk = &mut self.desks[customer.index()];
        if let Some(ticket) = desk.waiting.pop_front()
            && self.deliveries.is_waiting(ticket)
        {
            desk.counters.deliveries_waiting -= 1;
            self.transmit_delivery(conn, ticket.slot, now, out);
        }
    }

    /// deliver_sm_resp from a customer.
    pub(super) fn delivery_answered(
        &mut self,
        conn: Conn,
        sequence: u32,
        status: CommandStatus,
        now: Now,
        out: &mut Output,
    ) {
        let Some(session) = self.session_mut(conn) else { return };
        let was_mute = core::mem::take(&mut session.is_mute);
        let customer = session.customer;
        let Some(slot) = session.deliver.close_request(sequence) else {
            // One that was taken back is answered after all: what waits need not wait for the next answer.
            if was_mute {
                self.pump_session(customer, conn, now, out);
            }
            return;
        };
        session.last_taken = now.mono;
        self.desks[customer.index()].last_taken = now.mono;
        match self.deliveries.get(slot).state {
            DeliveryState::Sent(_) if self.is_kept(slot) && Self::end_of(status).is_none() => self.rest(slot, now),
            DeliveryState::Sent(_) => self.resolve(slot, status, out),
            _ => self.deliveries.free(slot),
        }
        self.pump_session(customer, conn, now, out);
    }

    /// The customer cannot take it now: it is given again after a while.
    fn rest(&mut self, slot: u32, now: Now) {
        self.deliveries.get_mut(slot).state = DeliveryState::Resting;
        self.deliveries.set_due(slot, now.mono.after_ms(DELIVERY_REST_MS));
    }

    /// The vendor is told how a delivery ended; the slot is free again.
    fn resolve(&mut self, slot: u32, status: CommandStatus, out: &mut Output) {
        self.delivery_ended(slot, Self::end_of(status).unwrap_or(How::Expired), out);
        self.give_back(slot, status, out);
        self.deliveries.free(slot);
    }

    fn give_back(&mut self, slot: u32, status: CommandStatus, out: &mut Output) {
        let delivery = self.deliveries.get_mut(slot);
        let (vendor, customer) = (delivery.vendor, delivery.customer);
        if core::mem::take(&mut delivery.is_held) {
            self.held[vendor.index()] -= 1;
        }
        self.deliveries.open -= 1;
        let counters = &mut self.desks[customer.index()].counters;
        if status.is_ok() {
            counters.delivered += 1;
        } else {
            counters.undelivered += 1;
        }
        self.acknowledge(slot, status, out);
    }

    /// The vendor gets its answer, if it has not got it yet.
    pub(super) fn acknowledge(&mut self, slot: u32, status: CommandStatus, out: &mut Output) {
        let delivery = self.deliveries.get_mut(slot);
        if core::mem::replace(&mut delivery.is_acknowledged, true) {
            return;
        }
        let (origin, vendor) = (delivery.origin, delivery.vendor);
        if origin.shard == self.id {
            self.delivery_resolved(origin, vendor, status, out);
        } else {
            self.rings.send(origin.shard, &Record::DeliverAnswer { origin, vendor, status });
        }
    }

    /// A kept delivery has had no answer for too long: it goes to the customer again, by another bind where there is one.
    #[cold]
    fn take_back(&mut self, conn: Conn, slot: u32, now: Now, out: &mut Output) {
        let sequence = self.deliveries.get(slot).sequence;
        if let Some(session) = self.session_mut(conn) {
            session.deliver.close_request(sequence);
            session.is_mute = true;
        }
        self.give_again(slot, now, out);
    }

    /// A delivery's time is up: the vendor shall send it again later.
    pub(super) fn delivery_due(&mut self, slot: u32, now: Now, out: &mut Output) {
        let is_untold = self.is_untold(slot);
        let delivery = self.deliveries.get_mut(slot);
        let lasts = delivery.number != 0 && delivery.kept_ms_left(now) > 0;
        match delivery.state {
            DeliveryState::Free => {}
            DeliveryState::Resting if is_untold => {
                self.deliveries.set_due(slot, now.mono.after_ms(UNTOLD_REST_MS));
            }
            DeliveryState::Resting => self.give_again(slot, now, out),
            // It came back from a session that ended: its time to be answered there is over, its own is not.
            DeliveryState::Waiting if lasts => {
                let due = now.mono.after_ms(delivery.kept_ms_left(now));
                self.deliveries.set_due(slot, due);
            }
            DeliveryState::Waiting => {
                let customer = delivery.customer;
                self.resolve(slot, CommandStatus::ESME_RX_T_APPN, out);
                let deliveries = &self.deliveries;
                let desk = &mut self.desks[customer.index()];
                desk.counters.deliveries_waiting -= 1;
                while desk.waiting.front().is_some_and(|ticket| !deliveries.is_waiting(*ticket)) {
                    desk.waiting.pop_front();
                }
            }
            DeliveryState::Sent(conn) if lasts => self.take_back(conn, slot, now, out),
            DeliveryState::Sent(conn) => {
                delivery.state = DeliveryState::GivenUp(conn);
                self.delivery_ended(slot, How::Expired, out);
                self.give_back(slot, CommandStatus::ESME_RX_T_APPN, out);
                self.deliveries.set_due(slot, now.mono.after_ms(DELIVER_RESPONSE_MS_MAX));
            }
            DeliveryState::GivenUp(conn) => {
                let (sequence, customer) = (delivery.sequence, delivery.customer);
                if let Some(session) = self.session_mut(conn) {
                    session.deliver.close_request(sequence);
                }
                self.deliveries.free(slot);
                self.pump_deliveries(customer, now, out);
            }
        }
    }

    /// A session has ended with deliveries unanswered: they go to the front of the customer's queue, in their order.
    pub(super) fn return_deliveries(&mut self, customer: CustomerId, slots: &[u32]) {
        for &slot in slots.iter().rev() {
            match self.deliveries.get(slot).state {
                DeliveryState::Sent(_) => {
                    self.deliveries.get_mut(slot).state = DeliveryState::Waiting;
                    let ticket = self.deliveries.ticket(slot);
                    let desk = &mut self.desks[customer.index()];
                    desk.waiting.push_front(ticket);
                    desk.counters.deliveries_waiting += 1;
                }
                _ => self.deliveries.free(slot),
            }
        }
    }
}

/// Whether a connection's session can take one more deliver_sm.
#[inline]
fn has_room(role: &Role, conn: Conn, limit: u32, out: &Output) -> bool {
    let Role::Session(session) = role else { return false };
    session.has_delivery_room(limit) && out.queued_bytes(conn) < SESSION_OUTPUT_BYTES_MAX
}

/// Whether a deliver_sm can go to a peer of version 3.3, which knows no message_payload.
fn fits_without_tlvs(pdu: &[u8]) -> bool {
    ShortMessage::decode(pdu).is_ok_and(|message| message.text().len() <= SHORT_MESSAGE_MAX)
}

/// Writes a deliver_sm for a peer of version 3.3: no TLV, the text in short_message wherever it stood, and a part of a longer
/// message told by a user data header.
fn write_without_tlvs(out: &mut Vec<u8>, pdu: &[u8]) {
    // It was decoded when it came in.
    let Ok(message) = ShortMessage::decode(pdu) else { return out.extend_from_slice(pdu) };
    let mut plain = ShortMessage { short_message: message.text(), tlvs: Tlvs::default(), ..message };
    let mut with_header = Vec::new();
    if message.esm_class & ESM_UDHI == 0
        && let Ok(Some(part)) = Part::of_sar(message.tlvs)
        && part.reference.header_length() + plain.short_message.len() <= SHORT_MESSAGE_MAX
    {
        part.write_header(&mut with_header);
        with_header.extend_from_slice(plain.short_message);
        plain.short_message = &with_header;
        plain.esm_class |= ESM_UDHI;
    }
    encode::short_message(out, CommandId::DELIVER_SM, 0, &plain);
}

/// Writes a deliver_sm for a peer of that version, which may not know all of its TLVs, nor a short_message of 255 octets.
#[cold]
fn write_for_version(out: &mut Vec<u8>, pdu: &[u8], interface_version: u8) {
    // It was decoded when it came in.
    let Ok(message) = ShortMessage::decode(pdu) else { return out.extend_from_slice(pdu) };
    let is_long = message.short_message.len() > SHORT_MESSAGE_MAX;
    let mut written = Encoder::new(out, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, 0);
    if is_long {
        written = written.octets(&pdu[HEADER_LENGTH..message.offsets.short_message - 1]).u8(0);
    } else {
        written = written.octets(&pdu[HEADER_LENGTH..message.offsets.tlvs]);
    }
    written = written.tlvs_for(message.tlvs, interface_version);
    if is_long {
        written = written.tlv(Tag::MESSAGE_PAYLOAD, message.short_message);
    }
    written.finish();
}
