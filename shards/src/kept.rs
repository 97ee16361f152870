//! The messages that this shard's customers have given and the journal keeps: from the accepted record to the last one.
//!
//! Lives on the customer's home shard, in journal mode alone. What a message says is not here: it is in the journal, and
//! with the vendor's shard while it waits for a vendor.

use core::ops::Range;
use std::collections::VecDeque;

use crate::message_id::{IdStyle, MessageId};
use crate::names::{Conn, CustomerId};
use crate::slab::Slab;
use crate::time::Time;

/// How far a kept message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum KeptState {
    /// The slot is free.
    #[default]
    Free,
    /// No vendor has given its final answer.
    Open,
    /// A vendor has it; its final receipt is awaited.
    Sent,
    /// Nothing more comes; only the customer's answer may still wait for the commit.
    Through,
}

/// Names a kept message, and tells it from later ones in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptRef {
    /// The slot at the customer's home.
    pub slot: u32,
    /// Its use.
    pub generation: u32,
}

impl KeptRef {
    /// Of what belongs to no kept message: relay mode, MO.
    pub const NONE: KeptRef = KeptRef { slot: u32::MAX, generation: 0 };
}

impl Default for KeptRef {
    fn default() -> Self {
        Self::NONE
    }
}

/// A kept message.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) generation: u32,
    pub(crate) state: KeptState,
    /// The customer has its submit_sm_resp.
    pub(crate) is_answered: bool,
    /// A final receipt for it is on its way to the customer.
    pub(crate) has_final: bool,
    /// And is on disk.
    pub(crate) is_final_safe: bool,
    /// The accepted record is on disk.
    pub(crate) is_committed: bool,
    pub(crate) style: IdStyle,
    pub(crate) customer: CustomerId,
    /// The session that waits for the answer.
    pub(crate) conn: Conn,
    pub(crate) conn_generation: u32,
    /// The customer's sequence_number.
    pub(crate) sequence: u32,
    /// The segment in which its accepted record stands, once that is known.
    pub(crate) segment: Option<u32>,
    /// Likewise its sent record, if there is one.
    pub(crate) sent_segment: Option<u32>,
    /// Its number in the journal.
    pub(crate) number: u64,
    pub(crate) id: MessageId,
}

/// The kept messages of one shard.
#[derive(Debug)]
pub(crate) struct KeptMessages {
    slots: Slab<Kept>,
    /// Those whose final receipt is awaited, and until when, in the order of time; with those among them that have ended.
    awaiting: VecDeque<(Time, KeptRef)>,
}

impl KeptMessages {
    pub(crate) const fn new(most: usize) -> Self {
        Self { slots: Slab::new(most), awaiting: VecDeque::new() }
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.slots.open()
    }

    /// A slot for a message that begins; `None` at the bound.
    #[inline]
    pub(crate) fn begin(&mut self, mut kept: Kept) -> Option<KeptRef> {
        let slot = self.slots.allocate()?;
        let place = self.slots.get_mut(slot);
        kept.generation = place.generation;
        kept.state = KeptState::Open;
        *place = kept;
        Some(KeptRef { slot, generation: place.generation })
    }

    /// The message that is meant, if it is still there.
    #[inline]
    pub(crate) fn find(&mut self, meant: KeptRef) -> Option<&mut Kept> {
        if meant.slot == KeptRef::NONE.slot {
            return None;
        }
        let kept = self.slots.get_mut(meant.slot);
        (kept.generation == meant.generation && kept.state != KeptState::Free).then_some(kept)
    }

    /// How many slots there are, used or not.
    pub(crate) fn slots(&self) -> u32 {
        self.slots.slots()
    }

    /// Tells the number of each whose accepted or sent record stands in that segment, of those in these slots.
    pub(crate) fn in_segment(&self, slots: Range<u32>, segment: u32, mut tell: impl FnMut(u64, KeptRef)) {
        for slot in slots.start..slots.end.min(self.slots()) {
            let kept = self.slots.get(slot);
            let stands_there = kept.segment == Some(segment) || kept.sent_segment == Some(segment);
            if kept.state != KeptState::Free && stands_there {
                tell(kept.number, KeptRef { slot, generation: kept.generation });
            }
        }
    }

    /// A vendor has it. Its receipt is awaited until then, which is never earlier than for the one before.
    #[inline]
    pub(crate) fn await_receipt(&mut self, meant: KeptRef, until: Time) {
        self.awaiting.push_back((until, meant));
    }

    /// When [`KeptMessages::next_overdue`] has something at the earliest.
    #[inline]
    pub(crate) fn next_due(&self) -> Time {
        self.awaiting.front().map_or(Time::NEVER, |(until, _)| *until)
    }

    /// The next one that has awaited its receipt in vain.
    pub(crate) fn next_overdue(&mut self, now: Time) -> Option<KeptRef> {
        while self.next_due() <= now {
            let (_, meant) = self.awaiting.pop_front()?;
            if self.find(meant).is_some_and(|kept| kept.state == KeptState::Sent) {
                return Some(meant);
            }
        }
        None
    }

    /// Ends one that is there.
    #[inline]
    pub(crate) fn end(&mut self, meant: KeptRef) {
        let kept = self.slots.get_mut(meant.slot);
        debug_assert_eq!(kept.generation, meant.generation);
        kept.state = KeptState::Free;
        kept.generation = kept.generation.wrapping_add(1);
        self.slots.free(meant.slot);
    }
}
