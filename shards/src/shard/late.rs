//! Answers of vendors that come after the response timer: what they settle, and that nothing is sent because of them.
//!
//! A late ESME_ROK settles the message wherever it is, if nothing else has. On this shard it is found at once: waiting for
//! its next try it ends, and unanswered at a vendor again it is answered, and what comes of that submit means nothing but
//! other receipts. A message that was handed to another shard is settled by its home, which tells all shards, so that
//! whoever has it in a queue does not send it. A late refusal settles nothing: the tries that it had do.

use smpp_pdu::message::resp_message_id;
use smpp_pdu::{CommandId, CommandStatus, Header};

use super::Shard;
use crate::kept::{KeptRef, KeptState};
use crate::late::Late;
use crate::messages::MessageState;
use crate::names::{LinkId, ShardId};
use crate::output::Output;
use crate::receipts::{Awaited, ReceiptKey};
use crate::time::Now;
use crate::wire::{Origin, Record, SubmitAnswer};

impl Shard {
    /// A kept message's submit gets no answer in time: one may come yet.
    pub(super) fn remember_late(&mut self, slot: u32, link: LinkId, sequence: u32, now: Now) {
        let message = self.messages.get(slot);
        let carried = &message.carried;
        let late_ms = self.snapshot.gateway.late_answer_ms;
        // Of a text that goes in parts the vendor has all when it has the last one; no other part settles anything.
        let is_last = message.part + 1 == message.parts;
        if carried.origin.kept == KeptRef::NONE || message.is_settled || !is_last || late_ms == 0 {
            return;
        }
        let awaited = self.awaited_under(ReceiptKey::UNKNOWN, carried, message.segments(), &message.pdu, now.unix_ms);
        // It was decoded when it came in.
        let Some(awaited) = awaited else { return };
        let awaited = Awaited { is_double: true, ..awaited };
        let late = Late { until: now.mono.after_ms(late_ms), vendor: message.vendor, slot, awaited };
        self.late.remember(link, sequence, late, now.mono);
    }

    /// An answer to no submit that waits for one.
    #[cold]
    pub(super) fn answered_late(&mut self, link: LinkId, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        let vendor = self.links[link.index()].vendor;
        self.lanes[vendor.index()].counters.stray_answers += 1;
        let Some(late) = self.late.take(link, header.sequence_number, now.mono) else { return };
        if header.command_id != CommandId::SUBMIT_SM_RESP || !header.command_status.is_ok() {
            return;
        }
        let raw = resp_message_id(pdu);
        let key = self.await_late(&late, raw);
        self.settle(&late, if key.is_some() { raw } else { &[] }, now, out);
        if let Some(key) = key
            && !self.lanes[vendor.index()].early.is_empty()
        {
            self.match_early(vendor, key, now, out);
        }
    }

    /// Receipts under the late id count as those under any other; of all of them the customer gets one that is final.
    fn await_late(&mut self, late: &Late, raw: &[u8]) -> Option<ReceiptKey> {
        let configured = &self.snapshot.vendors[late.vendor.index()];
        if late.awaited.registered_delivery == 0 && !configured.always_receipts() {
            return None;
        }
        let key = ReceiptKey::new(late.vendor, raw, configured.settings.message_id_format)?;
        self.insert(late.vendor, Awaited { key, ..late.awaited });
        Some(key)
    }

    fn settle(&mut self, late: &Late, octets: &[u8], now: Now, out: &mut Output) {
        let message = self.messages.get(late.slot);
        let carried = &message.carried;
        let is_here = message.state != MessageState::Free
            && (carried.customer_home, carried.origin.kept) == (late.awaited.customer_home, late.awaited.kept);
        if is_here {
            self.settle_here(late, octets, now, out);
            return;
        }
        let Late { vendor, awaited: Awaited { id, style, kept, customer_home: home, cost, .. }, .. } = *late;
        let origin = Origin { shard: home, via: home, slot: u32::MAX, kept, ..Origin::default() };
        let (status, cost) = (CommandStatus::ESME_ROK, cost.amount());
        let answer = SubmitAnswer { origin, status, id, style, vendor, cost, octets };
        if home == self.id {
            self.settle_at_home(&answer, now, out);
        } else {
            self.rings.send(home, &Record::LateAnswer(answer));
        }
    }

    fn settle_here(&mut self, late: &Late, octets: &[u8], now: Now, out: &mut Output) {
        let message = self.messages.get_mut(late.slot);
        let (state, present) = (message.state, message.vendor);
        let (status, cost) = (CommandStatus::ESME_ROK, late.awaited.cost.amount());
        if message.is_settled {
            return;
        }
        self.late_answers_reconciled += 1;
        if matches!(state, MessageState::InFlight(..)) {
            message.is_settled = true;
            let (origin, id, style) = (message.carried.origin, late.awaited.id, late.awaited.style);
            self.answer(&SubmitAnswer { origin, status, id, style, vendor: late.vendor, cost, octets }, now, out);
            return;
        }
        if state == MessageState::Queued {
            self.unqueue(late.slot);
            self.refresh_view(present);
        }
        self.messages.get_mut(late.slot).vendor = late.vendor;
        self.finish_at(late.slot, status, cost, octets, now, out);
    }

    /// On the message's home: the vendor that answered late is not on the shard that has the message now, if any has it.
    pub(super) fn settle_at_home(&mut self, answer: &SubmitAnswer<'_>, now: Now, out: &mut Output) {
        let meant = answer.origin.kept;
        if self.kept.find(meant).is_none_or(|kept| kept.state != KeptState::Open) {
            return;
        }
        self.late_answers_reconciled += 1;
        self.kept_answered(answer, now, out);
        self.settled.add(self.id, meant);
        for shard in (0..self.rings.shards() as u16).map(ShardId).filter(|shard| *shard != self.id) {
            self.rings.send(shard, &Record::Settled { kept: meant });
        }
    }

    /// Ends a message that a late answer has settled while it waited here; `false` when it is still to be sent.
    #[cold]
    pub(super) fn end_if_settled(&mut self, slot: u32, now: Now, out: &mut Output) -> bool {
        let carried = &self.messages.get(slot).carried;
        let is_settled = self.settled.contains(carried.customer_home, carried.origin.kept);
        if is_settled {
            // Its home knows, and takes no second answer; but the credit that it holds goes back.
            self.finish(slot, CommandStatus::ESME_ROK, &[], now, out);
        }
        is_settled
    }
}
