//! Texts that a customer put whole into message_payload, for vendors that take long messages in parts.
//!
//! The parts go one after the other, each when the vendor has taken the one before: the message stays one message, with one
//! slot and one place in the window, and its order is the vendor's order. The customer is answered when the vendor has the
//! last part, and the last part's receipt is the message's. Another vendor gets it from the first part on. Lives in a shard;
//! must never cut inside an escape, a surrogate pair or a unit of UCS-2.

use smpp_pdu::concat::{self, PARTS_MAX, Reference};
use smpp_pdu::message::ESM_UDHI;
use smpp_pdu::{Alphabet, ShortMessage, Tag};

use super::Shard;
use super::rewrite::long_messages;
use crate::names::VendorId;
use crate::output::Output;
use crate::settings::LongMessages;
use crate::snapshot::Vendor;
use crate::time::Now;

/// A text on its way into the short messages of one vendor.
pub(super) struct Pieces<'a> {
    text: &'a [u8],
    alphabet: Alphabet,
    told_by_header: bool,
}

impl<'a> Pieces<'a> {
    /// `None` for a message that is not cut: its text stands in short_message, it says itself how it is put together, or the
    /// vendor takes it as it is.
    pub(super) fn of(message: &ShortMessage<'a>, vendor: &Vendor) -> Option<Self> {
        let told_by_header = match long_messages(vendor) {
            LongMessages::Udh => true,
            LongMessages::Sar => false,
            LongMessages::AsSent | LongMessages::MessagePayload => return None,
        };
        if !message.short_message.is_empty()
            || message.esm_class & ESM_UDHI != 0
            || message.tlvs.find(Tag::SAR_MSG_REF_NUM).is_some()
        {
            return None;
        }
        let text = message.tlvs.find(Tag::MESSAGE_PAYLOAD)?.value;
        Some(Self { text, alphabet: Alphabet::of_data_coding(message.data_coding, Alphabet::Gsm), told_by_header })
    }

    /// Whether there are not more of them than a concatenated message can have (255).
    pub(super) fn fit(&self) -> bool {
        self.counted() <= PARTS_MAX
    }

    /// How many there are, 1 to 255.
    pub(super) fn count(&self) -> u8 {
        self.counted().min(PARTS_MAX) as u8
    }

    /// The text of one of them, from 0 on.
    pub(super) fn piece(&self, part: u8) -> &'a [u8] {
        concat::parts(self.text, self.alphabet, self.reference(0)).nth(usize::from(part)).unwrap_or_default()
    }

    /// Whether a user data header tells the parts, or the sar TLVs.
    pub(super) fn are_told_by_header(&self) -> bool {
        self.told_by_header
    }

    /// What the parts have in common, as wide as the vendor's form has it. How wide a header a vendor makes of the sar TLVs is
    /// its own affair, so that there is room for the wider one.
    pub(super) fn reference(&self, number: u16) -> Reference {
        if self.told_by_header { Reference::Eight(number as u8) } else { Reference::Sixteen(number) }
    }

    fn counted(&self) -> usize {
        concat::part_count(self.text, self.alphabet, self.reference(0))
    }
}

impl Shard {
    /// Whether the vendor is to get more parts of this message than the one it has just taken; none of one that another vendor
    /// turns out to have.
    #[inline]
    pub(super) fn has_more_parts(&self, slot: u32) -> bool {
        let message = self.messages.get(slot);
        message.part + 1 < message.parts && !message.is_settled
    }

    /// The vendor has taken a part: the next one is the first to go out, if the message still has time. If it has not, or
    /// whenever it is given up later, the vendor has some of it: nobody can say what comes of that.
    #[cold]
    pub(super) fn part_taken(&mut self, slot: u32, vendor: VendorId, now: Now, out: &mut Output) {
        let lane = &mut self.lanes[vendor.index()];
        lane.counters.submits_ok += 1;
        lane.unpause();
        let status = self.snapshot.statuses.unknown_outcome;
        let message = self.messages.get_mut(slot);
        message.carried.refusal = status;
        message.part += 1;
        message.attempts = 0;
        message.unknown = 0;
        if message.carried.deadline <= now.mono {
            self.fail(slot, status, now, out);
        } else {
            self.requeue_first(slot, now);
        }
    }
}
