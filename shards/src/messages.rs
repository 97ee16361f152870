//! The messages that wait for a vendor on this shard: in its queue, in a window, or for a retry.

use core::ops::BitXor;

use smallvec::SmallVec;

use crate::amount::Amount;
use crate::bounds::{BODY_KEEP_BYTES, MESSAGE_TIMER_STEP_MS, MESSAGES_MAX};
use crate::deadlines::Deadlines;
use crate::lane::Ticket;
use crate::names::{LinkId, VendorId};
use crate::slab::{Slab, lines};
use crate::time::Time;
use crate::wire::Carried;

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum MessageState {
    /// Nothing: the slot is free.
    #[default]
    Free,
    /// A place in a link's window.
    Queued,
    /// The vendor's answer, on that link under that sequence_number.
    InFlight(LinkId, u32),
    /// The time of its next try.
    Retrying,
}

/// A message on its way to a vendor.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub(crate) generation: u32,
    pub(crate) state: MessageState,
    /// The vendor whose turn it is.
    pub(crate) vendor: VendorId,
    /// Tries at the present vendor.
    pub(crate) attempts: u32,
    /// How often its outcome at the present vendor is unknown.
    pub(crate) unknown: u32,
    /// A late answer has settled it: what comes of its present flight means nothing to its customer.
    pub(crate) is_settled: bool,
    /// Of its flight to the vendor: see `Lane::took_off`.
    pub(crate) epoch: u8,
    /// Which of its parts the present vendor gets next, or has and does not answer yet; from 0.
    pub(crate) part: u8,
    /// In how many parts the present vendor gets it: 1, but for texts that are cut, see `shard/parts.rs`.
    pub(crate) parts: u8,
    pub(crate) carried: Carried,
    /// The submit_sm as the customer sent it; a usual one stands here itself, so that a message is one stretch of memory.
    pub(crate) pdu: SmallVec<[u8; PDU_IN_PLACE_BYTES]>,
}

impl Message {
    /// Its way to another vendor, or a first one, begins.
    #[inline]
    pub(crate) fn goes_to(&mut self, vendor: VendorId) {
        self.vendor = vendor;
        self.attempts = 0;
        self.unknown = 0;
        self.part = 0;
        self.parts = 1;
    }

    #[inline]
    fn warm(&self) -> u64 {
        let Carried { id, origin, facts, .. } = &self.carried;
        u64::from(self.epoch) ^ id.unix_ms() ^ u64::from(origin.slot) ^ u64::from(facts.registered_delivery)
    }

    /// The short messages that the present vendor makes of it, or gets: where a vendor makes the header of each part itself, a
    /// text may be cut into one part more.
    #[inline]
    pub(crate) fn segments(&self) -> u8 {
        self.carried.facts.segments.max(self.parts)
    }

    /// What it costs when the present vendor takes it.
    #[inline]
    pub(crate) fn cost(&self) -> Amount {
        self.carried.rate_per_msg.times(self.segments())
    }
}

/// Octets of a PDU that need no memory of their own: a text of about 120 octets with its addresses.
const PDU_IN_PLACE_BYTES: usize = 176;

/// Lines of a PDU in which its addresses and what follows them usually stand.
const ADDRESS_LINES: usize = 2;

/// The slots of one shard.
#[derive(Debug)]
pub(crate) struct Messages {
    slots: Slab<Message>,
    due: Deadlines,
}

impl Messages {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(MESSAGES_MAX), due: Deadlines::new(MESSAGE_TIMER_STEP_MS) }
    }

    /// How many slots are in use.
    pub(crate) fn open(&self) -> usize {
        self.slots.open()
    }

    /// A slot with the body filled in and everything else as its last user left it; `None` at the bound.
    #[inline]
    pub(crate) fn allocate(&mut self, pdu: &[u8]) -> Option<u32> {
        let slot = self.slots.allocate()?;
        let message = self.get_mut(slot);
        debug_assert_eq!(message.state, MessageState::Free);
        message.pdu.clear();
        message.pdu.extend_from_slice(pdu);
        Some(slot)
    }

    /// The time of all that are open is over: their slots, those that wait for a vendor before those that wait for its answer.
    pub(crate) fn end_all(&mut self, now: Time) -> Vec<u32> {
        let (mut ended, mut in_flight) = (Vec::new(), Vec::new());
        for slot in 0..self.slots.slots() {
            let message = self.slots.get_mut(slot);
            match message.state {
                MessageState::Free => continue,
                MessageState::InFlight(..) => in_flight.push(slot),
                MessageState::Queued | MessageState::Retrying => ended.push(slot),
            }
            message.carried.deadline = now;
            self.due.set(slot as usize, Time::NEVER);
        }
        ended.append(&mut in_flight);
        ended
    }

    /// Frees a slot.
    #[inline]
    pub(crate) fn free(&mut self, slot: u32) {
        let message = self.get_mut(slot);
        debug_assert_ne!(message.state, MessageState::Free);
        message.state = MessageState::Free;
        message.is_settled = false;
        message.generation = message.generation.wrapping_add(1);
        if message.pdu.capacity() > BODY_KEEP_BYTES {
            message.pdu = SmallVec::new();
        }
        self.due.set(slot as usize, Time::NEVER);
        self.slots.free(slot);
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Message {
        self.slots.get(slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Message {
        self.slots.get_mut(slot)
    }

    /// Reads of a message what its answer needs, so that its memory is on its way from far when that comes.
    #[inline]
    pub(crate) fn warm(&self, slot: u32) -> u64 {
        self.get(slot).warm()
    }

    /// The same of as many slots as are about to be allocated, and where a usual PDU goes.
    #[inline]
    pub(crate) fn warm_free(&self, count: usize) -> u64 {
        self.slots.warm_free(count, |message| lines(&message.pdu).fold(message.warm(), BitXor::bitxor))
    }

    /// Reads the addresses of a message whose receipt will be awaited.
    #[inline]
    pub(crate) fn warm_addresses(&self, slot: u32) -> u64 {
        let message = self.get(slot);
        let count = if message.carried.facts.registered_delivery == 0 { 0 } else { ADDRESS_LINES };
        lines(&message.pdu).take(count).fold(0, BitXor::bitxor)
    }

    /// Whether the ticket's message is still the one in its slot and still queued.
    #[inline]
    pub(crate) fn is_queued(&self, ticket: Ticket) -> bool {
        let message = self.get(ticket.slot);
        message.generation == ticket.generation && message.state == MessageState::Queued
    }

    #[inline]
    pub(crate) fn ticket(&self, slot: u32) -> Ticket {
        Ticket { slot, generation: self.get(slot).generation }
    }

    #[inline]
    pub(crate) fn set_due(&mut self, slot: u32, due: Time) {
        self.due.set(slot as usize, due);
    }

    /// Whether a slot that expired got a new deadline since: it was sent, or freed and used again.
    pub(crate) fn is_due_later(&self, slot: u32) -> bool {
        self.due.is_set(slot as usize)
    }

    pub(crate) fn next_due(&self) -> Time {
        self.due.next()
    }

    #[inline]
    pub(crate) fn expire(&mut self, now: Time, into: &mut Vec<u32>) {
        self.due.expire(now, into);
    }
}
