//! Receipts whose message this shard does not know: asked of the message store, where there is one.
//!
//! Such a message was sent before a restart, by another node, or so long ago that the index has forgotten it. While the
//! store has not said that it knows of none, the vendor gets no ESME_ROK: it is asked to send the receipt again.

use smpp_pdu::receipt::Receipt;
use smpp_pdu::{Address, CommandStatus, ShortMessage};

use super::Shard;
use super::receipt::receipt_id;
use super::rewrite::VendorReceipt;
use crate::bounds::{LOOKUP_AGAIN_MS, LOOKUPS_AGAIN_PER_VENDOR_MAX};
use crate::feed::{Question, Remembered, StoreAnswer, StoreFinding};
use crate::kept::KeptRef;
use crate::lookups::LookupState;
use crate::names::VendorId;
use crate::output::Output;
use crate::receipts::{Awaited, KeptAddress, KeptCost, ReceiptKey};
use crate::time::Now;
use crate::wire::DeliveryOrigin;

impl Shard {
    /// A receipt that nothing here knows: the store is asked, if there is one, else it is unknown. `raw` is the id that it
    /// names, `pdu` the whole of it.
    pub(super) fn receipt_unmatched(
        &mut self,
        origin: DeliveryOrigin,
        vendor: VendorId,
        raw: &[u8],
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        if self.feed.is_none() || !self.may_be_stored(vendor, raw) {
            return self.receipt_unknown(origin, vendor, raw, now, out);
        }
        let until = now.mono.after_ms(self.snapshot.gateway.receipt_hold_ms);
        let is_asked = match self.lookups.begin(origin, vendor, pdu, until) {
            None => false,
            Some(slot) => {
                self.lookups.asked += 1;
                let is_asked = self.ask_store(slot, vendor, raw);
                if !is_asked {
                    self.lookups.end(slot);
                }
                is_asked
            }
        };
        if !is_asked {
            self.lookups.unanswered += 1;
            self.answer_delivery(origin, CommandStatus::ESME_RX_T_APPN, out);
        }
    }

    /// What the store has found.
    pub fn store_answered(&mut self, answer: StoreAnswer, now: Now, out: &mut Output) {
        let Some(slot) = self.lookups.find(answer.ticket) else { return };
        match answer.finding {
            StoreFinding::Found(remembered) => self.message_found(slot, &remembered, now, out),
            StoreFinding::Away => self.lookup_failed(slot, out),
            StoreFinding::NotThere => self.message_not_there(slot, now, out),
        }
    }

    /// A look-up's time has come: to ask once more, or to give up.
    pub(super) fn lookup_due(&mut self, slot: u32, now: Now, out: &mut Output) {
        let lookup = self.lookups.get_mut(slot);
        if lookup.state != LookupState::Resting || lookup.until <= now.mono {
            return self.lookup_failed(slot, out);
        }
        lookup.state = LookupState::AskedAgain;
        let (vendor, until, pdu) = (lookup.vendor, lookup.until, core::mem::take(&mut lookup.pdu));
        let is_asked = self.raw_of(vendor, &pdu).is_some_and(|raw| self.ask_store(slot, vendor, raw));
        self.lookups.get_mut(slot).pdu = pdu;
        if is_asked {
            self.lookups.set_due(slot, until);
        } else {
            self.lookup_failed(slot, out);
        }
    }

    /// A message's last receipt has been passed on, or needed not be: nothing more is awaited.
    #[inline]
    pub(super) fn end_awaited(&mut self, position: u64) {
        if self.feed.is_some()
            && let Some(awaited) = self.awaited.get(position)
        {
            self.lookups.note_end(self.awaited.mark_of(awaited.key));
        }
        self.awaited.remove(position);
    }

    /// Not without an id, nor when the receipt has come before: then it is a repetition.
    fn may_be_stored(&self, vendor: VendorId, raw: &[u8]) -> bool {
        let format = self.snapshot.vendors[vendor.index()].settings.receipt_id_format;
        let key = ReceiptKey::new(vendor, raw, format);
        key.is_some_and(|key| !self.lookups.has_ended(self.awaited.mark_of(key)))
    }

    fn ask_store(&mut self, slot: u32, vendor: VendorId, raw: &[u8]) -> bool {
        let settings = &self.snapshot.vendors[vendor.index()].settings;
        let question = Question {
            ticket: self.lookups.ticket(slot),
            vendor: settings.instance_name.as_bytes(),
            vendor_id_format: settings.receipt_id_format,
            vendor_message_id: raw,
        };
        self.feed.as_mut().is_some_and(|feed| feed.ask(&question))
    }

    /// Nobody knows whether the store knows it: the vendor keeps it.
    fn lookup_failed(&mut self, slot: u32, out: &mut Output) {
        self.lookups.unanswered += 1;
        let (origin, _, _) = self.lookups.end(slot);
        self.answer_delivery(origin, CommandStatus::ESME_RX_T_APPN, out);
    }

    /// The store knows of none. It is asked once more a little later, for another node may be about to write it.
    fn message_not_there(&mut self, slot: u32, now: Now, out: &mut Output) {
        let again_at = now.mono.after_ms(LOOKUP_AGAIN_MS);
        let lookup = self.lookups.get_mut(slot);
        match lookup.state {
            LookupState::Asked => {
                let vendor = lookup.vendor;
                if self.lookups.again[vendor.index()] >= LOOKUPS_AGAIN_PER_VENDOR_MAX {
                    return self.lookup_failed(slot, out);
                }
                self.lookups.again[vendor.index()] += 1;
                self.lookups.get_mut(slot).state = LookupState::Resting;
                self.lookups.set_due(slot, again_at);
            }
            LookupState::AskedAgain => {
                let (origin, vendor, pdu) = self.lookups.end(slot);
                let raw = self.raw_of(vendor, &pdu).unwrap_or_default();
                self.receipt_unknown(origin, vendor, raw, now, out);
            }
            LookupState::Free | LookupState::Resting => {}
        }
    }

    /// The store knows the message: it is awaited from here on, as if it had been sent by this shard.
    fn message_found(&mut self, slot: u32, remembered: &Remembered, now: Now, out: &mut Output) {
        let (origin, vendor, pdu) = self.lookups.end(slot);
        let settings = &self.snapshot.vendors[vendor.index()].settings;
        let format = settings.receipt_id_format;
        // It was decoded when it came in.
        let Ok(message) = ShortMessage::decode(&pdu) else { return };
        let receipt = Receipt::parse(message.text());
        let raw = receipt_id(&message, &receipt, settings.receipt_id_from).unwrap_or_default();
        let customer = self.snapshot.customer_by_system_id(&remembered.customer).map(|customer| customer.id);
        let (Some(key), Some(customer)) = (ReceiptKey::new(vendor, raw, format), customer) else {
            return self.receipt_unknown(origin, vendor, raw, now, out);
        };
        self.lookups.found += 1;
        let is_for_customer = remembered.registered_delivery != 0;
        let customer_home = match self.homes[customer.index()] {
            Some(home) => home,
            // Its customer has not bound at this node: the vendor keeps the receipt.
            None if is_for_customer => return self.answer_delivery(origin, CommandStatus::ESME_RX_T_APPN, out),
            None => self.id,
        };
        let address = |(ton, npi, addr): &(u8, u8, Vec<u8>)| KeptAddress::new(Address { ton: *ton, npi: *npi, addr });
        let awaited = Awaited {
            key,
            id: remembered.id,
            style: remembered.style,
            registered_delivery: remembered.registered_delivery,
            data_coding: remembered.data_coding,
            segments: remembered.segments,
            cost: KeptCost::new(remembered.cost),
            customer,
            customer_home,
            kept: KeptRef::NONE,
            is_double: false,
            is_passed_on: false,
            submitted_unix_ms: remembered.sent_unix_ms,
            source: address(&remembered.source),
            dest: address(&remembered.dest),
        };
        // Another receipt of the same message may have been looked up at the same time.
        let position = match self.awaited.find(key) {
            Some(position) => position,
            None => {
                self.insert(vendor, awaited);
                let Some(position) = self.awaited.find(key) else { return };
                position
            }
        };
        self.lanes[vendor.index()].counters.receipts_matched += 1;
        let given = VendorReceipt { pdu: &pdu, message: &message, receipt: &receipt };
        self.pass_receipt(DeliveryOrigin { awaited: position, ..origin }, vendor, given, now, out);
    }

    /// The id that a receipt names.
    fn raw_of<'a>(&self, vendor: VendorId, pdu: &'a [u8]) -> Option<&'a [u8]> {
        let message = ShortMessage::decode(pdu).ok()?;
        let receipt = Receipt::parse(message.text());
        receipt_id(&message, &receipt, self.snapshot.vendors[vendor.index()].settings.receipt_id_from)
    }
}
