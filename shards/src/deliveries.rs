//! Receipts and MO that wait for a customer of this shard, and what the shard keeps of each customer.

use core::ops::{BitXor, Range};
use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::bounds::{BODY_KEEP_BYTES, MESSAGE_TIMER_STEP_MS};
use crate::deadlines::Deadlines;
use crate::kept::KeptRef;
use crate::lane::Ticket;
use crate::lease::Limit;
use crate::names::{Conn, CustomerId, VendorId};
use crate::report::CustomerCounters;
use crate::settings::CustomerSettings;
use crate::slab::{Slab, lines};
use crate::time::{Now, Time};
use crate::wire::DeliveryOrigin;

/// What a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum DeliveryState {
    /// Nothing: the slot is free.
    #[default]
    Free,
    /// A session with room in its window.
    Waiting,
    /// The customer's answer on that connection.
    Sent(Conn),
    /// The customer refused it for the moment, or is still to be told the id of its message; it is given again later.
    Resting,
    /// Nothing any more: it was given back to the vendor, but the customer's answer may still come, and until
    /// then it counts against the session's window.
    GivenUp(Conn),
}

/// A receipt or MO on its way to a customer. Whole cache lines, so that none is shared with another one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Delivery {
    pub(crate) generation: u32,
    pub(crate) state: DeliveryState,
    pub(crate) customer: CustomerId,
    pub(crate) vendor: VendorId,
    pub(crate) origin: DeliveryOrigin,
    /// The sequence_number it was sent under.
    pub(crate) sequence: u32,
    /// Since when it is here: the lower half of Unix milliseconds.
    pub(crate) since_ms: u32,
    /// Until when the journal has it for its customer, in Unix seconds.
    pub(crate) expires_s: u32,
    /// Counted among those that are held for an absent or silent customer.
    pub(crate) is_held: bool,
    /// Its number in the journal; 0 where its vendor keeps it.
    pub(crate) number: u64,
    /// The kept message that it is a receipt of.
    pub(crate) kept: KeptRef,
    /// And with which that message ends.
    pub(crate) is_final: bool,
    /// Some of its TLVs, or the length of its text, are of SMPP 5.0.
    pub(crate) has_version_5: bool,
    /// The segment in which its record stands, once that is known.
    pub(crate) segment: Option<u32>,
    /// The vendor has our answer.
    pub(crate) is_acknowledged: bool,
    /// The deliver_sm as the customer gets it; a usual receipt stands here itself, so that a delivery is one stretch of
    /// memory.
    pub(crate) pdu: SmallVec<[u8; PDU_IN_PLACE_BYTES]>,
}

/// Octets of a PDU that need no memory of their own: a receipt in the canonical form with its addresses and the TLVs.
const PDU_IN_PLACE_BYTES: usize = 288;

/// The slots of one shard.
#[derive(Debug)]
pub(crate) struct Deliveries {
    slots: Slab<Delivery>,
    due: Deadlines,
    /// Those that a vendor waits for.
    pub(crate) open: u32,
}

impl Delivery {
    /// The kept message that ends with it.
    #[inline]
    pub(crate) const fn ends(&self) -> KeptRef {
        if self.is_final { self.kept } else { KeptRef::NONE }
    }

    /// How long the journal still has it, milliseconds.
    pub(crate) fn kept_ms_left(&self, now: Now) -> u64 {
        (u64::from(self.expires_s) * 1_000).saturating_sub(now.unix_ms)
    }

    #[inline]
    fn warm(&self) -> u64 {
        u64::from(self.generation ^ self.kept.slot) ^ self.number ^ self.origin.awaited ^ self.pdu.len() as u64
    }

    /// Milliseconds since it is here; 0 where the clock was set back, or after 24 days.
    #[inline]
    pub(crate) fn age_ms(&self, now: Now) -> u64 {
        u64::from((now.unix_ms as u32).wrapping_sub(self.since_ms).cast_signed().max(0).cast_unsigned())
    }
}

/// Unix milliseconds as [`Delivery::expires_s`] has them.
#[inline]
pub(crate) const fn expiry(unix_ms: u64) -> u32 {
    (unix_ms / 1_000) as u32
}

impl Deliveries {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(u32::MAX as usize), due: Deadlines::new(MESSAGE_TIMER_STEP_MS), open: 0 }
    }

    /// A slot that waits. How many there may be is bounded for each vendor by its home shard.
    pub(crate) fn allocate(
        &mut self,
        customer: CustomerId,
        vendor: VendorId,
        origin: DeliveryOrigin,
        pdu: &[u8],
        due: Time,
        now: Now,
    ) -> u32 {
        let slot = self.slots.allocate().expect("fewer than there are numbers of slots");
        let delivery = self.slots.get_mut(slot);
        delivery.pdu.clear();
        delivery.pdu.extend_from_slice(pdu);
        delivery.state = DeliveryState::Waiting;
        delivery.customer = customer;
        delivery.vendor = vendor;
        delivery.origin = origin;
        delivery.since_ms = now.unix_ms as u32;
        delivery.is_held = false;
        delivery.number = 0;
        (delivery.kept, delivery.is_final, delivery.has_version_5) = (KeptRef::NONE, false, false);
        delivery.segment = None;
        delivery.is_acknowledged = origin.is_own;
        self.due.set(slot as usize, due);
        self.open += 1;
        slot
    }

    pub(crate) fn free(&mut self, slot: u32) {
        let delivery = self.slots.get_mut(slot);
        debug_assert_ne!(delivery.state, DeliveryState::Free);
        delivery.state = DeliveryState::Free;
        delivery.generation = delivery.generation.wrapping_add(1);
        if delivery.pdu.capacity() > BODY_KEEP_BYTES {
            delivery.pdu = SmallVec::new();
        }
        self.due.set(slot as usize, Time::NEVER);
        self.slots.free(slot);
    }

    /// Reads of a delivery what its end needs, so that its memory is on its way from far when that comes.
    #[inline]
    pub(crate) fn warm(&self, slot: u32) -> u64 {
        self.get(slot).warm()
    }

    /// The same of as many slots as are about to be allocated, and where a usual PDU goes.
    #[inline]
    pub(crate) fn warm_free(&self, count: usize) -> u64 {
        self.slots.warm_free(count, |delivery| lines(&delivery.pdu).fold(delivery.warm(), BitXor::bitxor))
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Delivery {
        self.slots.get(slot)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Delivery {
        self.slots.get_mut(slot)
    }

    pub(crate) fn ticket(&self, slot: u32) -> Ticket {
        Ticket { slot, generation: self.slots.get(slot).generation }
    }

    /// How many slots there are, used or not.
    pub(crate) fn slots(&self) -> u32 {
        self.slots.slots()
    }

    /// Tells the number of each kept one whose record stands in that segment, of those in these slots.
    pub(crate) fn in_segment(&self, slots: Range<u32>, segment: u32, mut tell: impl FnMut(u64, Ticket)) {
        for slot in slots.start..slots.end.min(self.slots()) {
            let delivery = self.get(slot);
            if delivery.state != DeliveryState::Free && delivery.number != 0 && delivery.segment == Some(segment) {
                tell(delivery.number, self.ticket(slot));
            }
        }
    }

    /// How many slots are in use.
    pub(crate) fn in_use(&self) -> usize {
        self.slots.open()
    }

    /// Whether the ticket's delivery is still the one in its slot.
    pub(crate) fn is_open(&self, ticket: Ticket) -> bool {
        let delivery = self.slots.get(ticket.slot);
        delivery.generation == ticket.generation && delivery.state != DeliveryState::Free
    }

    /// Whether the ticket's delivery is still the one in its slot and still waits.
    pub(crate) fn is_waiting(&self, ticket: Ticket) -> bool {
        let delivery = self.slots.get(ticket.slot);
        delivery.generation == ticket.generation && delivery.state == DeliveryState::Waiting
    }

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

    pub(crate) fn expire(&mut self, now: Time, into: &mut Vec<u32>) {
        self.due.expire(now, into);
    }
}

/// What a customer's home shard keeps of it.
#[derive(Debug)]
pub(crate) struct CustomerDesk {
    pub(crate) counters: CustomerCounters,
    pub(crate) limit: Limit,
    /// All of its sessions.
    pub(crate) sessions: Vec<Conn>,
    /// What waits for one of them.
    pub(crate) waiting: VecDeque<Ticket>,
    /// Whose turn it is to receive.
    pub(crate) turn: usize,
    /// When it last took a delivery.
    pub(crate) last_taken: Time,
    /// The other shards have been told that it is at home here.
    pub(crate) is_announced: bool,
}

impl CustomerDesk {
    pub(crate) fn new(settings: &CustomerSettings, now: Time) -> Self {
        Self {
            counters: CustomerCounters::default(),
            limit: Limit::new(settings.smpp_throughput, settings.smpp_burst, now),
            sessions: Vec::new(),
            waiting: VecDeque::new(),
            turn: 0,
            last_taken: now,
            is_announced: false,
        }
    }
}
