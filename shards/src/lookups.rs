//! The receipts of one shard whose message is being looked up in the store; bounded.
//!
//! Lives on the shard's thread. Holds what is needed to go on once the store has answered; decides nothing.

use crate::bounds::{LOOKUPS_MAX, RECEIPTS_ENDED};
use crate::deadlines::Deadlines;
use crate::names::VendorId;
use crate::slab::Slab;
use crate::time::Time;
use crate::wire::DeliveryOrigin;

/// What a look-up waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum LookupState {
    /// Nothing: the slot is free.
    #[default]
    Free,
    /// The store's first answer.
    Asked,
    /// The time to ask once more.
    Resting,
    /// The store's second answer.
    AskedAgain,
}

/// A receipt that is being looked up.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    generation: u32,
    pub(crate) state: LookupState,
    pub(crate) origin: DeliveryOrigin,
    pub(crate) vendor: VendorId,
    /// When the vendor gets its answer, whatever the store has said by then.
    pub(crate) until: Time,
    /// The whole deliver_sm.
    pub(crate) pdu: Vec<u8>,
}

/// The look-ups of one shard.
#[derive(Debug)]
pub(crate) struct Lookups {
    slots: Slab<Lookup>,
    due: Deadlines,
    /// By vendor: how many are looked up once more.
    pub(crate) again: Vec<u32>,
    pub(crate) asked: u64,
    pub(crate) found: u64,
    pub(crate) unanswered: u64,
    /// Marks of receipts that were the last of their message, each in its own row until as many newer ones are there as a row has
    /// places; the newest first.
    ended: Vec<[u64; ENDED_ROW]>,
}

/// Marks of one row: half a cache line. With one place for each mark, one of forty was gone after 1,600 others.
const ENDED_ROW: usize = 4;
const ENDED_ROWS: usize = RECEIPTS_ENDED / ENDED_ROW;

impl Lookups {
    /// Without a store nothing is looked up, and nothing need be remembered.
    pub(crate) fn new(vendors: usize, has_store: bool) -> Self {
        Self {
            slots: Slab::new(LOOKUPS_MAX),
            due: Deadlines::new(5),
            again: vec![0; vendors],
            asked: 0,
            found: 0,
            unanswered: 0,
            ended: vec![[0; ENDED_ROW]; if has_store { ENDED_ROWS } else { 0 }],
        }
    }

    /// The last receipt of a message has been passed on.
    #[inline]
    pub(crate) fn note_end(&mut self, mark: u64) {
        if let Some(row) = self.ended.get_mut(mark as usize % ENDED_ROWS) {
            row.rotate_right(1);
            row[0] = mark;
        }
    }

    /// Whether that was so not long ago.
    pub(crate) fn has_ended(&self, mark: u64) -> bool {
        self.ended.get(mark as usize % ENDED_ROWS).is_some_and(|row| row.contains(&mark))
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.slots.open()
    }

    /// A slot for a receipt; `None` at the bound.
    pub(crate) fn begin(&mut self, origin: DeliveryOrigin, vendor: VendorId, pdu: &[u8], until: Time) -> Option<u32> {
        let slot = self.slots.allocate()?;
        let lookup = self.slots.get_mut(slot);
        lookup.state = LookupState::Asked;
        lookup.origin = origin;
        lookup.vendor = vendor;
        lookup.until = until;
        lookup.pdu.clear();
        lookup.pdu.extend_from_slice(pdu);
        self.due.set(slot as usize, until);
        Some(slot)
    }

    /// What the store hands back for that slot.
    pub(crate) fn ticket(&self, slot: u32) -> u64 {
        u64::from(self.slots.get(slot).generation) << 32 | u64::from(slot)
    }

    /// The slot of a ticket, if it is still the same look-up.
    pub(crate) fn find(&self, ticket: u64) -> Option<u32> {
        let (slot, generation) = (ticket as u32, (ticket >> 32) as u32);
        let is_there = slot < self.slots.slots() && {
            let lookup = self.slots.get(slot);
            lookup.generation == generation && lookup.state != LookupState::Free
        };
        is_there.then_some(slot)
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Lookup {
        self.slots.get_mut(slot)
    }

    pub(crate) fn set_due(&mut self, slot: u32, due: Time) {
        self.due.set(slot as usize, due);
    }

    /// Frees the slot and gives the receipt out.
    pub(crate) fn end(&mut self, slot: u32) -> (DeliveryOrigin, VendorId, Vec<u8>) {
        let lookup = self.slots.get_mut(slot);
        if lookup.state != LookupState::Asked {
            self.again[lookup.vendor.index()] -= 1;
        }
        lookup.state = LookupState::Free;
        lookup.generation = lookup.generation.wrapping_add(1);
        let ended = (lookup.origin, lookup.vendor, core::mem::take(&mut lookup.pdu));
        self.due.set(slot as usize, Time::NEVER);
        self.slots.free(slot);
        ended
    }

    pub(crate) fn next_due(&self) -> Time {
        self.due.next()
    }

    pub(crate) fn expire(&mut self, now: Time, into: &mut Vec<u32>) {
        self.due.expire(now, into);
    }

    /// Whether a slot that expired got a new deadline since, or was freed.
    pub(crate) fn is_due_later(&self, slot: u32) -> bool {
        self.due.is_set(slot as usize) || self.slots.get(slot).state == LookupState::Free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_one_row_are_remembered_side_by_side_until_newer_ones_fill_it() {
        let mut lookups = Lookups::new(1, true);
        let mark = |turn: u64| 7 + turn * RECEIPTS_ENDED as u64;
        let newest = ENDED_ROW as u64;
        (0..=newest).for_each(|turn| lookups.note_end(mark(turn)));
        assert!((1..=newest).all(|turn| lookups.has_ended(mark(turn))));
        assert!(!lookups.has_ended(mark(0)));
        assert!(!Lookups::new(1, false).has_ended(mark(1)), "nothing is looked up, nothing remembered");
    }
}
