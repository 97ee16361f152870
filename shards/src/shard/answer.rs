//! Answers: the vendor's to our submits, and ours to the customer's.

use smpp_pdu::message::{REGISTERED_RECEIPT_MASK, resp_message_id};
use smpp_pdu::receipt::MessageState as Final;
use smpp_pdu::{CommandId, CommandStatus, Header, encode};

use super::{Role, Shard};
use crate::amount::Amount;
use crate::kept::KeptRef;
use crate::message_id::{IdStyle, MessageId};
use crate::messages::MessageState;
use crate::names::{Conn, LinkId, VendorId};
use crate::output::Output;
use crate::receipts::{Awaited, KeptAddress, KeptCost, ReceiptKey};
use crate::session::SessionState;
use crate::time::Now;
use crate::wire::{Carried, SubmitAnswer};

/// From registered_delivery to data_coding: replace_if_present_flag stands in between.
const DATA_CODING_BEHIND: usize = 2;

/// What a vendor's refusal means for the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The vendor cannot take it now: the lane rests, no try is used up.
    Throttled,
    /// Try again.
    Temporary,
    /// Never.
    Permanent,
}

impl Shard {
    /// submit_sm_resp from a vendor, or a generic_nack in its place.
    #[inline]
    pub(super) fn submit_answered(&mut self, link_id: LinkId, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        let vendor = link.vendor;
        let Some(slot) = link.window.close_request(header.sequence_number) else {
            self.answered_late(link_id, header, pdu, now, out);
            return;
        };
        let status = match (header.command_id, header.command_status) {
            (CommandId::GENERIC_NACK, CommandStatus::ESME_ROK) => CommandStatus::ESME_RUNKNOWNERR,
            (_, status) => status,
        };
        let message = self.messages.get(slot);
        let epoch = message.epoch;
        self.latencies.vendor_answer.add_ms(now.unix_ms.saturating_sub(message.carried.id.unix_ms()));
        self.note_answer(slot, vendor, status, now, out);
        let lane = &mut self.lanes[vendor.index()];
        lane.counters.in_flight -= 1;
        if status.is_ok() && self.has_more_parts(slot) {
            self.part_taken(slot, vendor, now, out);
        } else if status.is_ok() {
            let lane = &mut self.lanes[vendor.index()];
            lane.counters.submits_ok += 1;
            lane.unpause();
            let raw = resp_message_id(pdu);
            let key = self.await_receipt(slot, vendor, raw, now);
            self.note_sent(slot, vendor, raw, now);
            // The customer learns the id before the receipts that carry it.
            self.finish(slot, status, if key.is_some() { raw } else { &[] }, now, out);
            if let Some(key) = key
                && !self.lanes[vendor.index()].early.is_empty()
            {
                self.match_early(vendor, key, now, out);
            }
        } else {
            self.refused(slot, vendor, status, now, out);
        }
        self.landed(vendor, epoch, now, out);
        if self.lanes[vendor.index()].counters.queued > 0 {
            self.pump_lane(vendor, now, out);
        }
        self.close_if_left(link_id, now, out);
    }

    #[cold]
    fn refused(&mut self, slot: u32, vendor: VendorId, status: CommandStatus, now: Now, out: &mut Output) {
        let lane = &mut self.lanes[vendor.index()];
        lane.counters.last_refusal = Some(status);
        let refusal = self.classify(vendor, status);
        if self.messages.get(slot).is_settled {
            self.lanes[vendor.index()].counters.submits_failed += 1;
            self.messages.free(slot);
            return;
        }
        let message = self.messages.get_mut(slot);
        message.carried.refusal = status;
        match refusal {
            Refusal::Throttled => {
                let lane = &mut self.lanes[vendor.index()];
                lane.counters.throttled += 1;
                let until = lane.pause(now.mono);
                self.lane_timers.hasten(vendor.index(), until);
                let message = self.messages.get_mut(slot);
                message.attempts -= 1;
                if message.carried.deadline <= now.mono {
                    self.fail(slot, status, now, out);
                } else {
                    self.requeue_first(slot, now);
                    if self.lanes[vendor.index()].is_off {
                        self.begin_leaving(vendor);
                    }
                }
            }
            Refusal::Permanent => {
                self.lanes[vendor.index()].counters.submits_failed += 1;
                self.fail(slot, status, now, out);
            }
            Refusal::Temporary => {
                self.lanes[vendor.index()].counters.submits_failed += 1;
                let gateway = &self.snapshot.gateway;
                let again = now.mono.after_ms(gateway.retry_interval_ms);
                if message.attempts >= gateway.retry_count {
                    self.fail_over(slot, now, out);
                } else {
                    message.state = MessageState::Retrying;
                    let due = again.min(message.carried.deadline);
                    self.messages.set_due(slot, due);
                }
            }
        }
    }

    fn classify(&self, vendor: VendorId, status: CommandStatus) -> Refusal {
        let settings = &self.snapshot.vendors[vendor.index()].settings;
        if settings.permanent_statuses.contains(&status.0) {
            return Refusal::Permanent;
        }
        if settings.temporary_statuses.contains(&status.0) {
            return Refusal::Temporary;
        }
        match status {
            CommandStatus::ESME_RTHROTTLED | CommandStatus::ESME_RMSGQFUL => Refusal::Throttled,
            CommandStatus::ESME_RSYSERR
            | CommandStatus::ESME_RSUBMITFAIL
            | CommandStatus::ESME_RINVBNDSTS
            | CommandStatus::ESME_RX_T_APPN
            | CommandStatus::ESME_RUNKNOWNERR => Refusal::Temporary,
            _ => Refusal::Permanent,
        }
    }

    /// Notes under which id the vendor knows the message, where receipts will come; gives the key they are found by.
    #[inline]
    fn await_receipt(&mut self, slot: u32, vendor: VendorId, raw: &[u8], now: Now) -> Option<ReceiptKey> {
        let configured = &self.snapshot.vendors[vendor.index()];
        if self.messages.get(slot).carried.facts.registered_delivery == 0 && !configured.always_receipts() {
            return None;
        }
        let message = self.messages.get(slot);
        let awaited = self.awaited_of(vendor, &message.carried, message.segments(), &message.pdu, raw, now.unix_ms)?;
        self.insert(vendor, awaited);
        Some(awaited.key)
    }

    /// Notes a message that a vendor has. The submitted time is for receipts without a text of their own.
    pub(super) fn insert_awaited(
        &mut self,
        vendor: VendorId,
        carried: &Carried,
        pdu: &[u8],
        raw: &[u8],
        submitted_unix_ms: u64,
    ) {
        let segments = carried.facts.segments;
        if let Some(awaited) = self.awaited_of(vendor, carried, segments, pdu, raw, submitted_unix_ms) {
            self.insert(vendor, awaited);
        }
    }

    #[inline]
    fn awaited_of(
        &self,
        vendor: VendorId,
        carried: &Carried,
        segments: u8,
        pdu: &[u8],
        raw: &[u8],
        submitted_unix_ms: u64,
    ) -> Option<Awaited> {
        let format = self.snapshot.vendors[vendor.index()].settings.message_id_format;
        self.awaited_under(ReceiptKey::new(vendor, raw, format)?, carried, segments, pdu, submitted_unix_ms)
    }

    /// The receipt of that message to be awaited, under that key.
    #[inline]
    pub(super) fn awaited_under(
        &self,
        key: ReceiptKey,
        carried: &Carried,
        segments: u8,
        pdu: &[u8],
        submitted_unix_ms: u64,
    ) -> Option<Awaited> {
        let facts = &carried.facts;
        Some(Awaited {
            key,
            id: carried.id,
            style: carried.style,
            registered_delivery: facts.registered_delivery,
            data_coding: *pdu.get(usize::from(facts.registered_at) + DATA_CODING_BEHIND)?,
            segments,
            cost: KeptCost::new(carried.rate_per_msg.times(segments)),
            customer: carried.customer,
            customer_home: carried.customer_home,
            kept: carried.origin.kept,
            is_double: carried.is_doubtful,
            is_passed_on: false,
            submitted_unix_ms,
            source: KeptAddress::in_pdu(pdu, facts.addresses.source())?,
            dest: KeptAddress::in_pdu(pdu, facts.addresses.dest())?,
        })
    }

    #[inline]
    pub(super) fn insert(&mut self, vendor: VendorId, awaited: Awaited) {
        if self.awaited.insert(awaited).is_some() {
            self.lanes[vendor.index()].counters.receipts_forgotten += 1;
        }
    }

    /// A message that got no answer in time, or whose link broke: nobody knows whether the vendor has it. One whose customer
    /// is answered by the vendor alone is not sent again; one that is kept is, for it must not be lost, and counts as a
    /// possible duplicate then. A late answer may settle it until then: see `late.rs`.
    pub(super) fn outcome_unknown(&mut self, slot: u32, vendor: VendorId, now: Now, out: &mut Output) {
        let message = self.messages.get_mut(slot);
        let epoch = message.epoch;
        let counters = &mut self.lanes[vendor.index()].counters;
        counters.in_flight -= 1;
        counters.unknown_outcomes += 1;
        if message.carried.origin.kept == KeptRef::NONE {
            self.finish(slot, self.snapshot.statuses.unknown_outcome, &[], now, out);
        } else if message.is_settled {
            self.messages.free(slot);
        } else {
            message.carried.is_doubtful = true;
            message.unknown += 1;
            message.carried.refusal = self.snapshot.statuses.unknown_outcome;
            let gateway = &self.snapshot.gateway;
            if message.unknown > gateway.unknown_outcome_retries {
                self.fail_over(slot, now, out);
            } else {
                message.state = MessageState::Retrying;
                let due = now.mono.after_ms(gateway.retry_interval_ms).min(message.carried.deadline);
                self.messages.set_due(slot, due);
            }
        }
        self.landed(vendor, epoch, now, out);
    }

    /// The message has failed for good. A customer that was told that we have a message is told this by a receipt, if it
    /// wants to know.
    pub(super) fn fail(&mut self, slot: u32, status: CommandStatus, now: Now, out: &mut Output) {
        if self.messages.get(slot).carried.origin.kept != KeptRef::NONE {
            self.note_failed(slot, status, now);
        }
        let message = self.messages.get(slot);
        let carried = &message.carried;
        if carried.origin.kept == KeptRef::NONE || !wants_failures(carried.facts.registered_delivery) {
            return self.finish(slot, status, &[], now, out);
        }
        let statuses = &self.snapshot.statuses;
        let state = match status {
            status if status == statuses.expired => Final::Expired,
            // The last that is known of it is that a vendor may have it.
            status if status == statuses.unknown_outcome && carried.is_doubtful => Final::Unknown,
            _ => Final::Undeliverable,
        };
        let mut pdu = core::mem::take(&mut self.scratch);
        pdu.clear();
        super::rewrite::own_receipt(&mut pdu, &mut self.text, &message.pdu, carried, state, status, now);
        self.finish(slot, status, &pdu, now, out);
        self.scratch = pdu;
    }

    /// The message is through on this shard: whoever waits for it is told. See [`SubmitAnswer::octets`].
    #[inline]
    pub(super) fn finish(&mut self, slot: u32, status: CommandStatus, octets: &[u8], now: Now, out: &mut Output) {
        let cost = if status.is_ok() { self.messages.get(slot).cost() } else { Amount::default() };
        self.finish_at(slot, status, cost, octets, now, out);
    }

    /// [`Shard::finish`] of a message at that cost.
    #[inline]
    pub(super) fn finish_at(
        &mut self,
        slot: u32,
        status: CommandStatus,
        cost: Amount,
        octets: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        let message = self.messages.get(slot);
        let Carried { origin, id, style, .. } = message.carried;
        let answer = SubmitAnswer { origin, status, id, style, vendor: message.vendor, cost, octets };
        let is_settled = message.is_settled;
        self.messages.free(slot);
        if !is_settled {
            self.answer(&answer, now, out);
        }
    }

    /// Gives the answer to where the message came from: a session or the journal here, or another shard.
    #[inline]
    pub(super) fn answer(&mut self, answer: &SubmitAnswer<'_>, now: Now, out: &mut Output) {
        let origin = answer.origin;
        if origin.shard != self.id {
            self.rings.send_answer(origin.shard, answer);
            return;
        }
        if origin.via != self.id {
            self.outstanding[origin.via.index()] -= 1;
        }
        if origin.kept == KeptRef::NONE {
            let (conn, generation) = (Conn(origin.slot), origin.generation);
            let SubmitAnswer { status, id, style, cost, .. } = *answer;
            self.answer_session(conn, generation, origin.sequence, status, id, style, cost, now, out);
        } else {
            self.kept_answered(answer, now, out);
        }
    }

    #[inline]
    #[expect(clippy::too_many_arguments, reason = "all of them go into one PDU")]
    pub(super) fn answer_session(
        &mut self,
        conn: Conn,
        generation: u32,
        sequence: u32,
        status: CommandStatus,
        id: MessageId,
        style: IdStyle,
        cost: Amount,
        now: Now,
        out: &mut Output,
    ) {
        // A message of the control port, or from before a restart, has no session here.
        let Some(connection) = self.connections.get_mut(conn.index()) else {
            if conn == super::commands::CONTROL {
                self.answer_control(generation, sequence, status, id, style, cost, out);
            }
            return;
        };
        let session = match &mut connection.role {
            Role::Session(session) if connection.generation == generation => session,
            _ => {
                self.answers_without_session += 1;
                return;
            }
        };
        session.unanswered -= 1;
        self.latencies.submit_response.add_ms(now.unix_ms.saturating_sub(id.unix_ms()));
        let counters = &mut self.desks[session.customer.index()].counters;
        let buffer = out.buffer(conn);
        if status.is_ok() {
            counters.submits_ok += 1;
            counters.cost = counters.cost.plus(cost);
            match style {
                IdStyle::Uuid => encode::submit_sm_resp_uuid(buffer, sequence, id.0),
                _ => encode::submit_sm_resp(buffer, sequence, &id.text(style)),
            }
        } else {
            counters.submits_failed += 1;
            encode::header_only(buffer, CommandId::SUBMIT_SM_RESP, status, sequence);
        }
        if session.state != SessionState::Bound {
            self.close_if_drained(conn, now, out);
        }
    }
}

/// Whether registered_delivery (section 5.2.17) asks for a receipt when a message fails.
const fn wants_failures(registered_delivery: u8) -> bool {
    matches!(registered_delivery & REGISTERED_RECEIPT_MASK, 1 | 2)
}
