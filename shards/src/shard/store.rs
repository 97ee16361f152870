//! What happens to messages, told to the message store where there is one.
//!
//! Without a store every call is one branch that is never taken. With one a note is put together and copied, nothing is
//! waited for, and what finds no room is left out and counted.

use smpp_pdu::receipt::{MessageState, Receipt};
use smpp_pdu::{CommandStatus, ShortMessage};

use super::Shard;
use super::receipt::receipt_id;
use crate::amount::Amount;
use crate::feed::{FeedReport, Happening, Note};
use crate::names::VendorId;
use crate::receipts::Awaited;
use crate::settings::{CustomerSettings, VendorIdFormat, VendorSettings};
use crate::time::Now;
use crate::wire::Carried;

impl Shard {
    /// Moves what the turn has told the store into its ring. `true` when the store's thread is to be woken.
    #[inline]
    pub fn flush_store(&mut self) -> bool {
        self.feed.as_mut().is_some_and(crate::feed::Feed::flush)
    }

    /// The journal has begun to keep a message.
    #[inline(always)]
    pub(super) fn note_accepted(&mut self, carried: &Carried, pdu: &[u8], now: Now) {
        if self.feed.is_some()
            && let Ok(message) = ShortMessage::decode(pdu)
        {
            let copy = *carried;
            self.put_accepted(&copy, &message, now);
        }
    }

    /// A vendor has taken the message in that slot.
    #[inline]
    pub(super) fn note_sent(&mut self, slot: u32, vendor: VendorId, raw: &[u8], now: Now) {
        if self.feed.is_some() {
            self.put_slot(slot, Happening::Sent, vendor, raw, now);
        }
    }

    /// The message in that slot has failed, and its customer was told that we have it.
    #[inline]
    pub(super) fn note_failed(&mut self, slot: u32, status: CommandStatus, now: Now) {
        if self.feed.is_some() {
            let is_expired = status == self.snapshot.statuses.expired;
            let vendor = self.messages.get(slot).vendor;
            self.put_slot(slot, Happening::Failed { status: status.0, is_expired }, vendor, &[], now);
        }
    }

    /// A receipt has told of a message.
    #[inline]
    pub(super) fn note_receipt(
        &mut self,
        vendor: VendorId,
        awaited: &Awaited,
        state: MessageState,
        message: &ShortMessage<'_>,
        receipt: &Receipt<'_>,
        now: Now,
    ) {
        let Some(feed) = &mut self.feed else { return };
        let configured = &self.snapshot.vendors[vendor.index()].settings;
        let customer = &self.snapshot.customers[awaited.customer.index()].settings;
        feed.note(&Note {
            happening: Happening::Receipt(state.wire()),
            at_unix_ms: now.unix_ms,
            id: awaited.id,
            style: awaited.style,
            registered_delivery: awaited.registered_delivery,
            data_coding: awaited.data_coding,
            segments: awaited.segments,
            cost: awaited.cost.amount(),
            sent_unix_ms: awaited.submitted_unix_ms,
            source: awaited.source.address(),
            dest: awaited.dest.address(),
            customer: customer.smpp_system_id.as_bytes(),
            account: account_of(customer),
            vendor: configured.instance_name.as_bytes(),
            vendor_id: id_of(configured),
            vendor_id_format: configured.receipt_id_format,
            vendor_message_id: receipt_id(message, receipt, configured.receipt_id_from).unwrap_or_default(),
        });
    }

    /// What the store was told and asked; `None` without one.
    pub(super) fn feed_report(&self) -> Option<FeedReport> {
        let (records, skipped) = self.feed.as_ref()?.counts();
        Some(FeedReport {
            records,
            skipped,
            lookups: self.lookups.asked,
            found: self.lookups.found,
            unanswered: self.lookups.unanswered,
            open: self.lookups.open() as u32,
        })
    }

    fn put_slot(&mut self, slot: u32, happening: Happening, vendor: VendorId, raw: &[u8], now: Now) {
        let stored = self.messages.get(slot);
        let Ok(message) = ShortMessage::decode(&stored.pdu) else { return };
        let mut note = note_of(&stored.carried, &message, happening, now);
        note.vendor_message_id = raw;
        note.segments = stored.segments();
        if happening == Happening::Sent {
            note.cost = stored.cost();
        }
        let Some(feed) = &mut self.feed else { return };
        // One that expired before any vendor had room may name none that is there.
        if let Some(configured) = self.snapshot.vendor(vendor) {
            note.vendor = configured.settings.instance_name.as_bytes();
            note.vendor_id = id_of(&configured.settings);
            note.vendor_id_format = configured.settings.message_id_format;
        }
        let customer = &self.snapshot.customers[stored.carried.customer.index()].settings;
        note.customer = customer.smpp_system_id.as_bytes();
        note.account = account_of(customer);
        feed.note(&note);
    }

    fn put_accepted(&mut self, carried: &Carried, message: &ShortMessage<'_>, now: Now) {
        let Some(feed) = &mut self.feed else { return };
        let settings = &self.snapshot.customers[carried.customer.index()].settings;
        let (customer, account) = (settings.smpp_system_id.as_bytes(), account_of(settings));
        feed.note(&Note { customer, account, ..note_of(carried, message, Happening::Accepted, now) });
    }
}

fn account_of(customer: &CustomerSettings) -> &[u8] {
    customer.account_id.as_deref().unwrap_or_default().as_bytes()
}

/// Empty where the vendor has no id but its instance_name.
fn id_of(vendor: &VendorSettings) -> &[u8] {
    vendor.id.as_deref().unwrap_or_default().as_bytes()
}

/// All of a note that does not depend on the configuration.
#[inline]
fn note_of<'a>(carried: &Carried, message: &ShortMessage<'a>, happening: Happening, now: Now) -> Note<'a> {
    Note {
        happening,
        at_unix_ms: now.unix_ms,
        id: carried.id,
        style: carried.style,
        registered_delivery: carried.facts.registered_delivery,
        data_coding: message.data_coding,
        segments: carried.facts.segments,
        cost: Amount::default(),
        sent_unix_ms: if happening == Happening::Sent { now.unix_ms } else { 0 },
        source: message.source,
        dest: message.dest,
        customer: &[],
        account: &[],
        vendor: &[],
        vendor_id: &[],
        vendor_id_format: VendorIdFormat::Text,
        vendor_message_id: &[],
    }
}
