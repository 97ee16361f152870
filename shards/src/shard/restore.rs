//! Taking over what a journal held at start: recorded anew in this start's journal, then sent or waited for as before.
//!
//! A bounded amount a turn, so that ten million messages neither stop the shard nor fill a ring.

use std::collections::VecDeque;

use smpp_pdu::ShortMessage;

use super::Shard;
use crate::amount::Amount;
use crate::bounds::{RESTORE_AGAIN_MS, RESTORED_PER_TURN, RESTORED_STAGED_BYTES};
use crate::deliveries::expiry;
use crate::facts::Facts;
use crate::journal::{Accepted, Entry, Receipt, Sent};
use crate::kept::{Kept, KeptRef, KeptState};
use crate::messages::MessageState;
use crate::names::{Conn, ShardId, VendorId};
use crate::output::Output;
use crate::pending::Pending;
use crate::restore::{Restored, RestoredMessage, RestoredReceipt};
use crate::time::{Now, Time};
use crate::tried::Tried;
use crate::wire::{Await, Carried, DeliveryOrigin, NOT_AWAITED, Origin, Submit};

/// What has not been taken over yet.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    messages: std::vec::IntoIter<RestoredMessage>,
    receipts: std::vec::IntoIter<RestoredReceipt>,
    /// The kept messages of this start, by their place in what was to be taken over.
    kept: Vec<KeptRef>,
    /// Messages for which no vendor has room yet.
    waiting: VecDeque<(Carried, Box<[u8]>)>,
    /// When those are offered again.
    again_at: Option<Time>,
    count: u64,
}

impl Restoring {
    pub(super) fn new(restored: Restored) -> Self {
        let kept = Vec::with_capacity(restored.messages.len());
        let count = (restored.messages.len() + restored.receipts.len()) as u64;
        Self {
            messages: restored.messages.into_iter(),
            receipts: restored.receipts.into_iter(),
            kept,
            count,
            ..Self::default()
        }
    }

    fn is_recorded(&self) -> bool {
        self.messages.len() == 0 && self.receipts.len() == 0
    }

    /// How much is still to be recorded, and how much there was.
    pub(super) fn progress(&self) -> (u64, u64) {
        ((self.messages.len() + self.receipts.len()) as u64, self.count)
    }

    /// Messages for which no vendor has room yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn next_due(&self) -> Time {
        if self.is_recorded() { self.again_at.unwrap_or(Time::NEVER) } else { Time::default() }
    }
}

impl Shard {
    /// Whether something that an older journal held is not on disk in this start's yet: the older one is still needed.
    pub fn is_restoring(&self) -> bool {
        !self.restoring.is_recorded() || self.is_restore_uncommitted
    }

    /// Of what an older journal held: how much is still to be recorded, and how much there was.
    pub fn to_restore(&self) -> (u64, u64) {
        self.restoring.progress()
    }

    /// When there is more to take over. Behind a disk that does not keep up it waits for what that disk tells.
    pub(super) fn restoring_due(&self) -> Time {
        let waits_for_disk = !self.restoring.is_recorded() && self.is_journal_behind();
        if waits_for_disk { Time::NEVER } else { self.restoring.next_due() }
    }

    /// Whether the journal cannot be written, so that taking over what an older one held waits for it.
    pub fn is_restore_held_up(&self) -> bool {
        self.is_restoring() && self.ledger.as_ref().is_some_and(crate::ledger::Ledger::is_failing)
    }

    /// Takes over some of it; `true` when there is more to take over at once.
    pub(super) fn restore(&mut self, now: Now, out: &mut Output) {
        if !self.restoring.is_recorded() {
            self.is_restore_uncommitted = true;
            self.record_restored(now, out);
        } else if self.is_restore_uncommitted && self.ledger.as_ref().is_some_and(crate::ledger::Ledger::is_idle) {
            self.is_restore_uncommitted = false;
            self.restoring.kept = Vec::new();
        }
        if self.restoring.again_at.is_some_and(|again_at| again_at <= now.mono) {
            self.offer_restored(now, out);
        }
    }

    fn record_restored(&mut self, now: Now, out: &mut Output) {
        let staged_most = (0..self.rings.shards() as u16).map(|shard| self.rings.staged_bytes(ShardId(shard))).max();
        if staged_most.unwrap_or(0) > RESTORED_STAGED_BYTES
            || self.ledger.as_ref().is_none_or(|ledger| ledger.is_behind())
        {
            return;
        }
        for _ in 0..RESTORED_PER_TURN {
            if let Some(message) = self.restoring.messages.next() {
                self.restore_message(message, now);
            } else if let Some(receipt) = self.restoring.receipts.next() {
                self.restore_receipt(receipt, now, out);
            } else {
                return;
            }
        }
    }

    fn restore_message(&mut self, message: RestoredMessage, now: Now) {
        let Some(ledger) = &mut self.ledger else { return };
        let number = ledger.number();
        let kept = Kept {
            is_answered: true,
            style: message.style,
            customer: message.customer,
            conn: Conn(u32::MAX),
            number,
            id: message.id,
            ..Kept::default()
        };
        let Some(meant) = self.kept.begin(kept) else {
            panic!("the journal holds more messages than a shard can keep; start with more shards")
        };
        self.restoring.kept.push(meant);
        let name = self.snapshot.customers[message.customer.index()].settings.smpp_system_id.as_bytes();
        let entry = Entry::Accepted(Accepted {
            number,
            id: message.id,
            style: message.style,
            accepted_unix_ms: message.accepted_unix_ms,
            expires_unix_ms: message.expires_unix_ms,
            customer: name,
            pdu: &message.pdu,
        });
        ledger.begin(&entry, Pending::Message(meant));
        let left_ms = message.expires_unix_ms.saturating_sub(now.unix_ms);
        let carried = Carried {
            origin: Origin { shard: self.id, via: self.id, slot: u32::MAX, kept: meant, ..Origin::default() },
            id: message.id,
            style: message.style,
            customer: message.customer,
            customer_home: self.id,
            deadline: now.mono.after_ms(left_ms),
            tried: Tried::default(),
            facts: Facts::restored(&message.pdu, message.accepted_unix_ms, now),
            ..Carried::default()
        };
        if message.is_sent {
            self.restore_sent(&message, meant, &carried, now);
        } else {
            self.restoring.waiting.push_back((carried, message.pdu));
            self.restoring.again_at = Some(now.mono);
        }
    }

    /// A vendor has it: its receipts are awaited as before.
    fn restore_sent(&mut self, message: &RestoredMessage, meant: KeptRef, carried: &Carried, now: Now) {
        if let Some(kept) = self.kept.find(meant) {
            kept.state = KeptState::Sent;
        }
        self.kept.await_receipt(meant, now.mono.after_ms(self.snapshot.gateway.validity_ms()));
        let (Some(sent), Some(ledger)) = (&message.sent, &mut self.ledger) else { return };
        let entry = Entry::Sent(Sent {
            number: ledger_number(&mut self.kept, meant),
            sent_unix_ms: now.unix_ms,
            vendor: &sent.name,
            vendor_message_id: &sent.vendor_message_id,
        });
        ledger.begin(&entry, Pending::Sent(meant));
        // From a vendor that is no longer configured no receipt comes.
        let Some(vendor) = sent.vendor else { return };
        let configured = &self.snapshot.vendors[vendor.index()];
        let carried = Carried { rate_per_msg: self.rate_in_force(carried, &message.pdu, vendor), ..*carried };
        let submit = Submit { vendor, carried, pdu: &message.pdu };
        let awaited = Await { submit, vendor_message_id: &sent.vendor_message_id };
        if configured.home == self.id {
            self.take_over_awaited(&awaited);
        } else {
            self.rings.send_await(configured.home, &awaited);
        }
    }

    /// What the rules ask now for a message that the vendor took before this start: for the message store alone, which is told
    /// it again with the receipts.
    fn rate_in_force(&self, carried: &Carried, pdu: &[u8], vendor: VendorId) -> Amount {
        let (true, Ok(message)) = (self.feed.is_some(), ShortMessage::decode(pdu)) else { return Amount::default() };
        let candidates = self.snapshot.candidates(carried.customer, &message, || 0);
        self.snapshot.routes.rate_of(&candidates, vendor)
    }

    /// Another start's message that one of this shard's vendors has.
    pub(super) fn take_over_awaited(&mut self, awaited: &Await<'_>) {
        let Await { submit, vendor_message_id } = awaited;
        self.insert_awaited(submit.vendor, &submit.carried, submit.pdu, vendor_message_id, submit.carried.id.unix_ms());
    }

    fn restore_receipt(&mut self, receipt: RestoredReceipt, now: Now, out: &mut Output) {
        let Some(ledger) = &mut self.ledger else { return };
        let number = ledger.number();
        let kept = receipt.ends.map_or(KeptRef::NONE, |place| self.restoring.kept[place as usize]);
        let message = self.kept.find(kept).map_or(0, |kept| kept.number);
        let origin = DeliveryOrigin { is_own: true, awaited: NOT_AWAITED, ..DeliveryOrigin::default() };
        let due = now.mono.after_ms(receipt.expires_unix_ms.saturating_sub(now.unix_ms));
        let slot = self.deliveries.allocate(receipt.customer, receipt.vendor, origin, &receipt.pdu, due, now);
        let delivery = self.deliveries.get_mut(slot);
        (delivery.number, delivery.expires_s) = (number, expiry(receipt.expires_unix_ms));
        (delivery.kept, delivery.is_final) = (kept, kept != KeptRef::NONE);
        delivery.has_version_5 = ShortMessage::decode(&receipt.pdu).is_ok_and(|message| message.has_version_5());
        if let Some(kept) = self.kept.find(kept) {
            kept.has_final = true;
        }
        let ticket = self.deliveries.ticket(slot);
        ledger.begin(
            &Entry::Receipt(Receipt {
                number,
                message,
                is_final: message != 0,
                taken_unix_ms: now.unix_ms,
                expires_unix_ms: receipt.expires_unix_ms,
                customer: self.snapshot.customers[receipt.customer.index()].settings.smpp_system_id.as_bytes(),
                vendor: self
                    .snapshot
                    .vendors
                    .get(receipt.vendor.index())
                    .map_or(&b""[..], |vendor| vendor.settings.instance_name.as_bytes()),
                pdu: &receipt.pdu,
            }),
            Pending::Delivery(ticket),
        );
        let desk = &mut self.desks[receipt.customer.index()];
        desk.waiting.push_back(ticket);
        desk.counters.deliveries_waiting += 1;
        self.pump_deliveries(receipt.customer, now, out);
    }

    /// Gives the messages that no vendor has to vendors, as far as these have room. Those for which none has any do not
    /// keep others from theirs.
    fn offer_restored(&mut self, now: Now, out: &mut Output) {
        let offered = if self.refusing { 0 } else { self.restoring.waiting.len().min(RESTORED_PER_TURN) };
        let mut placed = 0;
        for _ in 0..offered {
            let Some((carried, pdu)) = self.restoring.waiting.pop_front() else { break };
            if self.place_restored(&carried, &pdu, now, out) {
                placed += 1;
            } else {
                self.restoring.waiting.push_back((carried, pdu));
            }
        }
        let again_at = if placed > offered / 8 { now.mono } else { now.mono.after_ms(RESTORE_AGAIN_MS) };
        self.restoring.again_at = (!self.restoring.waiting.is_empty()).then_some(again_at);
    }

    fn place_restored(&mut self, carried: &Carried, pdu: &[u8], now: Now, out: &mut Output) -> bool {
        // It was decoded when it came in.
        let Ok(message) = ShortMessage::decode(pdu) else { return true };
        if carried.deadline <= now.mono {
            return self.expire_restored(carried, pdu, now, out);
        }
        let random = &mut self.random;
        let candidates = self.snapshot.candidates(carried.customer, &message, || random.next_u32());
        let Some(vendor) = self.choose(candidates.as_slice(), &Tried::default(), pdu.len()) else { return false };
        let rate_per_msg = self.snapshot.routes.rate_of(&candidates, vendor);
        let origin = Origin { via: self.snapshot.vendors[vendor.index()].home, ..carried.origin };
        let carried = Carried { origin, rate_per_msg, ..*carried };
        self.possible_duplicates += 1;
        self.place(&Submit { vendor, carried, pdu }, now, out);
        true
    }

    /// Its time was up before any vendor had room for it: it ends as any other that expires.
    fn expire_restored(&mut self, carried: &Carried, pdu: &[u8], now: Now, out: &mut Output) -> bool {
        let Some(slot) = self.messages.allocate(pdu) else { return false };
        let message = self.messages.get_mut(slot);
        message.state = MessageState::Retrying;
        message.vendor = VendorId::default();
        message.carried = *carried;
        self.give_up(slot, now, out);
        true
    }
}

fn ledger_number(kept: &mut crate::kept::KeptMessages, meant: KeptRef) -> u64 {
    kept.find(meant).map_or(0, |kept| kept.number)
}
