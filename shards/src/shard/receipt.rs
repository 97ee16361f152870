//! deliver_sm from a vendor: receipts find their message, MO find their customer.

use smpp_pdu::message::{ESM_INTERMEDIATE, ESM_TYPE_MASK, REGISTERED_INTERMEDIATE, REGISTERED_RECEIPT_MASK};
use smpp_pdu::receipt::{MessageState, Receipt};
use smpp_pdu::{CommandStatus, Header, ShortMessage, Tag, encode};

use super::Shard;
use super::rewrite::VendorReceipt;
use crate::amount::Amount;
use crate::bounds::{DELIVERIES_PER_VENDOR_MAX, EARLY_RECEIPTS_MAX};
use crate::early::EarlyReceipt;
use crate::event::Event;
use crate::kept::KeptRef;
use crate::link::LinkState;
use crate::names::{Conn, CustomerId, LinkId, VendorId};
use crate::output::Output;
use crate::receipts::{Awaited, ReceiptKey};
use crate::settings::{BindType, ReceiptIdFrom};
use crate::time::Now;
use crate::wire::{Deliver, DeliveryOrigin, NOT_AWAITED, Origin, Record, SubmitAnswer};

impl Shard {
    pub(super) fn delivered(
        &mut self,
        link: LinkId,
        conn: Conn,
        header: Header,
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        let (vendor, bind_type) = (self.links[link.index()].vendor, self.links[link.index()].bind_type);
        let origin = DeliveryOrigin {
            shard: self.id,
            slot: conn.0,
            generation: self.connections[conn.index()].generation,
            sequence: header.sequence_number,
            is_own: false,
            awaited: NOT_AWAITED,
        };
        if !self.is_link_bound(link) || bind_type == BindType::Transmitter {
            let status = match (self.links[link.index()].state, bind_type) {
                (_, BindType::Transmitter) => CommandStatus::ESME_RINVBNDSTS,
                // What crosses an unbind was sent in good faith: it is to come again over another bind.
                (LinkState::Unbinding | LinkState::Leaving, _) => CommandStatus::ESME_RX_T_APPN,
                _ => CommandStatus::ESME_RINVBNDSTS,
            };
            self.answer_delivery(origin, status, out);
            return;
        }
        // Read where it was put: see `Shard::admit`.
        let decoded = ShortMessage::decode(pdu);
        let message = match &decoded {
            Ok(message) => message,
            Err(error) => {
                self.answer_delivery(origin, error.status(), out);
                return;
            }
        };
        if self.lanes[vendor.index()].counters.deliveries_waiting >= DELIVERIES_PER_VENDOR_MAX {
            self.answer_delivery(origin, CommandStatus::ESME_RX_T_APPN, out);
        } else if message.is_receipt() {
            self.receipt(origin, vendor, message, pdu, now, out);
        } else {
            self.mobile_originated(origin, vendor, message, pdu, now, out);
        }
    }

    /// A submit of that epoch is through. When it was the last one, the receipts that might have overtaken its answer
    /// are known to match nothing.
    #[inline]
    pub(super) fn landed(&mut self, vendor: VendorId, epoch: u8, now: Now, out: &mut Output) {
        if self.lanes[vendor.index()].landed(epoch) {
            self.end_epoch(vendor, epoch, now, out);
        }
    }

    #[cold]
    fn end_epoch(&mut self, vendor: VendorId, mut epoch: u8, now: Now, out: &mut Output) {
        loop {
            self.give_up_early(vendor, |early| early.epoch == Some(epoch), now, out);
            if !self.lanes[vendor.index()].next_epoch() {
                return;
            }
            epoch = 1 - epoch;
        }
    }

    /// A receipt: known, early, or unknown.
    fn receipt(
        &mut self,
        origin: DeliveryOrigin,
        vendor: VendorId,
        message: &ShortMessage<'_>,
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        let settings = &self.snapshot.vendors[vendor.index()].settings;
        let receipt = Receipt::parse(message.text());
        let raw = receipt_id(message, &receipt, settings.receipt_id_from);
        let key = raw.and_then(|raw| ReceiptKey::new(vendor, raw, settings.receipt_id_format));
        match key.map(|key| (key, self.awaited.find(key))) {
            Some((_, Some(position))) => {
                self.lanes[vendor.index()].counters.receipts_matched += 1;
                let given = VendorReceipt { pdu, message, receipt: &receipt };
                self.pass_receipt(DeliveryOrigin { awaited: position, ..origin }, vendor, given, now, out);
            }
            Some((key, None)) if self.lanes[vendor.index()].counters.in_flight > 0 => {
                self.hold_early(origin, vendor, key, pdu, now, out);
            }
            _ => self.receipt_unmatched(origin, vendor, raw.unwrap_or_default(), pdu, now, out),
        }
    }

    /// Gives a receipt whose message is known to its customer, if that customer wants it.
    pub(super) fn pass_receipt(
        &mut self,
        origin: DeliveryOrigin,
        vendor: VendorId,
        given: VendorReceipt<'_>,
        now: Now,
        out: &mut Output,
    ) {
        let VendorReceipt { message, receipt, .. } = given;
        let Some(awaited) = self.awaited.get(origin.awaited).copied() else { return };
        let state = receipt_state(message, receipt);
        // Whatever an intermediate notification says, the receipt is still to come.
        let is_final = state.is_final() && !is_intermediate(message.esm_class);
        if is_final && awaited.is_passed_on {
            // A vendor whose bind ended before our answer gives it again over another one. Given on as well, the customer would
            // have it twice; when it comes later, what became of the first is known.
            self.answer_delivery(origin, CommandStatus::ESME_RX_T_APPN, out);
            return;
        }
        let counters = &mut self.lanes[vendor.index()].counters;
        counters.receipts[usize::from(state.wire()) - 1] += 1;
        self.note_receipt(vendor, &awaited, state, message, receipt, now);
        if !is_wanted(awaited.registered_delivery, message.esm_class, state) {
            if is_final {
                self.end_awaited(origin.awaited);
                self.end_unseen(vendor, &awaited, now, out);
            }
            self.answer_delivery(origin, CommandStatus::ESME_ROK, out);
            return;
        }
        let origin = if is_final { origin } else { DeliveryOrigin { awaited: NOT_AWAITED, ..origin } };
        self.awaited.set_passed_on(origin.awaited, true);
        let mut pdu = core::mem::take(&mut self.scratch);
        pdu.clear();
        let has_version_5 = super::rewrite::receipt(&mut pdu, &mut self.text, given, &awaited, state, now);
        let Awaited { customer, kept, is_double, .. } = awaited;
        let deliver = Deliver { origin, vendor, customer, kept, is_final, has_version_5, is_double, pdu: &pdu };
        self.lanes[vendor.index()].counters.deliveries_waiting += 1;
        if awaited.customer_home == self.id {
            self.deliver(&deliver, now, out);
        } else {
            self.rings.send(awaited.customer_home, &Record::Deliver(deliver));
        }
        self.scratch = pdu;
    }

    /// A kept message has come to an end that its customer does not want to hear of: its home is told that nothing more
    /// comes.
    fn end_unseen(&mut self, vendor: VendorId, awaited: &Awaited, now: Now, out: &mut Output) {
        if awaited.kept == KeptRef::NONE {
            return;
        }
        let home = awaited.customer_home;
        let origin = Origin::end_of(home, awaited.kept);
        // What it costs was told when the vendor took it.
        let (id, style, status, cost) = (awaited.id, awaited.style, CommandStatus::ESME_ROK, Amount::default());
        self.answer(&SubmitAnswer { origin, status, id, style, vendor, cost, octets: &[] }, now, out);
    }

    /// Its submit_sm_resp may still be on the way: the receipt waits for it.
    fn hold_early(
        &mut self,
        origin: DeliveryOrigin,
        vendor: VendorId,
        key: ReceiptKey,
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        let until = now.mono.after_ms(self.snapshot.gateway.receipt_early_ms);
        let lane = &mut self.lanes[vendor.index()];
        if lane.early.len() >= EARLY_RECEIPTS_MAX {
            self.answer_delivery(origin, CommandStatus::ESME_RX_T_APPN, out);
            return;
        }
        let epoch = lane.epoch_to_wait_for();
        let mut memory = lane.early.memory();
        memory.extend_from_slice(pdu);
        let (conn, generation) = (Conn(origin.slot), origin.generation);
        lane.early.push(EarlyReceipt { key, conn, generation, until, epoch, pdu: memory });
        self.lane_timers.hasten(vendor.index(), until);
    }

    /// A message has got its vendor's id: receipts that were there before it are passed on.
    pub(super) fn match_early(&mut self, vendor: VendorId, key: ReceiptKey, now: Now, out: &mut Output) {
        while let Some(place) = self.lanes[vendor.index()].early.find(key)
            && let Some(early) = self.lanes[vendor.index()].early.take(place)
        {
            self.pass_early(vendor, &early, now, out);
            self.lanes[vendor.index()].early.give_back(early.pdu);
        }
    }

    fn pass_early(&mut self, vendor: VendorId, early: &EarlyReceipt, now: Now, out: &mut Output) {
        let (Some(header), Ok(message)) = (Header::read(&early.pdu), ShortMessage::decode(&early.pdu)) else { return };
        let awaited = self.awaited.find(early.key).unwrap_or(NOT_AWAITED);
        let origin = self.origin_of_early(early, header.sequence_number, awaited);
        if awaited == NOT_AWAITED {
            // A final one that nobody wants was among those before: nothing is awaited any more.
            self.receipt_unknown(origin, vendor, &[], now, out);
            return;
        }
        let counters = &mut self.lanes[vendor.index()].counters;
        counters.receipts_early += 1;
        counters.receipts_matched += 1;
        let receipt = Receipt::parse(message.text());
        let given = VendorReceipt { pdu: &early.pdu, message: &message, receipt: &receipt };
        self.pass_receipt(origin, vendor, given, now, out);
    }

    const fn origin_of_early(&self, early: &EarlyReceipt, sequence: u32, awaited: u64) -> DeliveryOrigin {
        let (slot, generation) = (early.conn.0, early.generation);
        DeliveryOrigin { shard: self.id, slot, generation, sequence, is_own: false, awaited }
    }

    /// Early receipts that have waited long enough match nothing, though some submit is still unanswered.
    pub(super) fn expire_early(&mut self, vendor: VendorId, now: Now, out: &mut Output) {
        self.give_up_early(vendor, |early| early.until <= now.mono, now, out);
        if let Some(until) = self.lanes[vendor.index()].early.iter().map(|early| early.until).min() {
            self.lane_timers.hasten(vendor.index(), until);
        }
    }

    fn give_up_early(&mut self, vendor: VendorId, is_over: impl Fn(&EarlyReceipt) -> bool, now: Now, out: &mut Output) {
        while let Some(place) = self.lanes[vendor.index()].early.first(&is_over)
            && let Some(early) = self.lanes[vendor.index()].early.take(place)
        {
            if let Some(header) = Header::read(&early.pdu) {
                let origin = self.origin_of_early(&early, header.sequence_number, NOT_AWAITED);
                let from = self.snapshot.vendors[vendor.index()].settings.receipt_id_from;
                let id = ShortMessage::decode(&early.pdu).ok().and_then(|message| {
                    let receipt = Receipt::parse(message.text());
                    receipt_id(&message, &receipt, from)
                });
                self.receipt_unmatched(origin, vendor, id.unwrap_or_default(), &early.pdu, now, out);
            }
            self.lanes[vendor.index()].early.give_back(early.pdu);
        }
    }

    pub(super) fn receipt_unknown(
        &mut self,
        origin: DeliveryOrigin,
        vendor: VendorId,
        raw: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        self.lanes[vendor.index()].counters.receipts_unknown += 1;
        self.answer_delivery(origin, CommandStatus::ESME_ROK, out);
        let raw = &raw[..raw.len().min(64)];
        self.log_noise(now, out, || Event::ReceiptUnknown { vendor, message_id: raw.escape_ascii().to_string() });
    }

    fn mobile_originated(
        &mut self,
        origin: DeliveryOrigin,
        vendor: VendorId,
        message: &ShortMessage<'_>,
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        self.lanes[vendor.index()].counters.mobile_originated += 1;
        let customer = self.snapshot.inbound_customer(message.dest.addr);
        let home: Option<(CustomerId, _)> = customer.map(|customer| (customer, self.homes[customer.index()]));
        let status = match home {
            // Nobody is at home for that number.
            None => CommandStatus::ESME_RX_P_APPN,
            // Its customer has not bound yet.
            Some((_, None)) => CommandStatus::ESME_RX_T_APPN,
            Some((customer, Some(shard))) => {
                let whole = message.offsets.tlvs + message.tlvs.whole_length();
                let mut written = core::mem::take(&mut self.scratch);
                let mut pdu = &pdu[..whole];
                if message.has_two_texts() {
                    written.clear();
                    super::rewrite::with_one_text(&mut written, pdu, message);
                    pdu = &written;
                }
                let (kept, is_final, is_double) = (KeptRef::NONE, false, false);
                let has_version_5 = message.has_version_5();
                let deliver = Deliver { origin, vendor, customer, kept, is_final, has_version_5, is_double, pdu };
                self.lanes[vendor.index()].counters.deliveries_waiting += 1;
                if shard == self.id {
                    self.deliver(&deliver, now, out);
                } else {
                    self.rings.send(shard, &Record::Deliver(deliver));
                }
                self.scratch = written;
                return;
            }
        };
        self.answer_delivery(origin, status, out);
        let dest = message.dest.addr;
        self.log_noise(now, out, || Event::DeliverRejected { vendor, dest: dest.escape_ascii().to_string(), status });
    }

    /// A customer's answer to a receipt or MO, or what stands for it, on the vendor's home shard.
    pub(super) fn delivery_resolved(
        &mut self,
        origin: DeliveryOrigin,
        vendor: VendorId,
        status: CommandStatus,
        out: &mut Output,
    ) {
        self.lanes[vendor.index()].counters.deliveries_waiting -= 1;
        if status.is_ok() {
            self.end_awaited(origin.awaited);
        } else {
            self.awaited.set_passed_on(origin.awaited, false);
        }
        self.answer_delivery(origin, status, out);
    }

    /// deliver_sm_resp to the vendor, if that link is still there.
    pub(super) fn answer_delivery(&mut self, origin: DeliveryOrigin, status: CommandStatus, out: &mut Output) {
        if self.connections[origin.slot as usize].generation == origin.generation {
            encode::deliver_sm_resp(out.buffer(Conn(origin.slot)), status, origin.sequence);
        }
    }
}

/// The vendor's message id that a receipt names.
pub(super) fn receipt_id<'a>(
    message: &ShortMessage<'a>,
    receipt: &Receipt<'a>,
    from: ReceiptIdFrom,
) -> Option<&'a [u8]> {
    let in_tlv = || message.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).map(|tlv| tlv.c_octets());
    match from {
        ReceiptIdFrom::Tlv => in_tlv(),
        ReceiptIdFrom::Text => receipt.id,
        ReceiptIdFrom::Both => in_tlv().filter(|id| !id.is_empty()).or(receipt.id),
    }
}

/// What a receipt says of its message; a word that nobody knows counts as unknown, and before the end as enroute.
fn receipt_state(message: &ShortMessage<'_>, receipt: &Receipt<'_>) -> MessageState {
    let otherwise = if is_intermediate(message.esm_class) { MessageState::Enroute } else { MessageState::Unknown };
    receipt
        .state()
        .or_else(|| {
            let value = message.tlvs.find(Tag::MESSAGE_STATE)?.integer()?;
            MessageState::from_wire(u8::try_from(value).ok()?)
        })
        .unwrap_or(otherwise)
}

/// Whether esm_class marks an intermediate notification, which tells of a message before its end.
const fn is_intermediate(esm_class: u8) -> bool {
    esm_class & ESM_TYPE_MASK == ESM_INTERMEDIATE
}

/// Whether registered_delivery (section 5.2.17) asked for such a receipt.
fn is_wanted(registered_delivery: u8, esm_class: u8, state: MessageState) -> bool {
    if is_intermediate(esm_class) || state == MessageState::Enroute {
        return registered_delivery & REGISTERED_INTERMEDIATE != 0;
    }
    let is_success = matches!(state, MessageState::Delivered | MessageState::Accepted);
    match registered_delivery & REGISTERED_RECEIPT_MASK {
        0 => false,
        1 => true,
        2 => !is_success,
        _ => is_success,
    }
}
