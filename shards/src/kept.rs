//! The messages that this shard's customers have given and the journal keeps: from the accepted record to the last one.
//!
//! Lives on the customer's home shard, in journal mode alone. What a message says is not here: it is in the journal, and
//! with the vendor's shard while it waits for a vendor.

use core::ops::Range;

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

/// The number of a segment or slot, once that is known: half the room of an `Option`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Noted(u32);

impl Noted {
    const UNKNOWN: u32 = u32::MAX;

    #[inline]
    pub(crate) fn get(self) -> Option<u32> {
        (self.0 != Self::UNKNOWN).then_some(self.0)
    }

    /// Notes the number; gives the one before.
    #[inline]
    pub(crate) fn replace(&mut self, number: u32) -> Option<u32> {
        core::mem::replace(self, Self(number)).get()
    }

    /// Forgets the number; gives it.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<u32> {
        core::mem::take(self).get()
    }
}

impl Default for Noted {
    fn default() -> Self {
        Self(Self::UNKNOWN)
    }
}

/// A kept message. There may be millions, each looked at several times: one cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
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
    pub(crate) segment: Noted,
    /// Likewise its sent record, if there is one.
    pub(crate) sent_segment: Noted,
    /// The slot of a receipt that waits until the customer has its submit_sm_resp, if one does.
    pub(crate) receipt: Noted,
    /// Its number in the journal.
    pub(crate) number: u64,
    pub(crate) id: MessageId,
}

impl Kept {
    /// Whether nothing more comes of it but its accepted record's commit and the customer's answer: no receipt waits for that, and
    /// no record of it was counted yet. So it is with most messages without receipts, whose vendors are quicker than the disk.
    #[inline]
    pub(crate) fn is_over_when_committed(&self) -> bool {
        self.state == KeptState::Through
            && !self.is_answered
            && [self.segment, self.sent_segment, self.receipt].iter().all(|noted| noted.get().is_none())
    }
}

const _: () = assert!(size_of::<Kept>() == 64);

/// The kept messages of one shard.
#[derive(Debug)]
pub(crate) struct KeptMessages {
    slots: Slab<Kept>,
    /// Those whose final receipt is awaited.
    awaiting: Awaiting,
}

impl KeptMessages {
    pub(crate) const fn new(most: usize) -> Self {
        Self { slots: Slab::new(most), awaiting: Awaiting::new() }
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

    /// Reads of a message what its answer needs, so that its memory is on its way from far when that comes.
    #[inline]
    pub(crate) fn warm(&self, meant: KeptRef) -> u32 {
        if meant == KeptRef::NONE { 0 } else { self.slots.get(meant.slot).generation }
    }

    /// The same of as many slots as are about to be allocated.
    #[inline]
    pub(crate) fn warm_free(&self, count: usize) -> u64 {
        self.slots.warm_free(count, |kept| u64::from(kept.generation))
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
            let stands_there = kept.segment.get() == Some(segment) || kept.sent_segment.get() == Some(segment);
            if kept.state != KeptState::Free && stands_there {
                tell(kept.number, KeptRef { slot, generation: kept.generation });
            }
        }
    }

    /// A vendor has it. Its receipt is awaited until then, or as long as that of the one before if that is longer.
    #[inline]
    pub(crate) fn await_receipt(&mut self, meant: KeptRef, until: Time) {
        self.awaiting.push(meant.slot, until);
    }

    /// When [`KeptMessages::next_overdue`] has something.
    #[inline]
    pub(crate) fn next_due(&self) -> Time {
        self.awaiting.next_due()
    }

    /// The next one that has awaited its receipt in vain.
    pub(crate) fn next_overdue(&mut self, now: Time) -> Option<KeptRef> {
        while self.next_due() <= now {
            let slot = self.awaiting.first;
            self.awaiting.remove(slot);
            let kept = self.slots.get(slot);
            if kept.state == KeptState::Sent {
                return Some(KeptRef { slot, generation: kept.generation });
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
        self.awaiting.remove(meant.slot);
        self.slots.free(meant.slot);
    }
}

const NOBODY: u32 = u32::MAX;

/// The slots whose receipts are awaited, in the order in which that ends: a list through a table by slot, so that what has
/// ended leaves nothing behind.
#[derive(Debug)]
struct Awaiting {
    places: Vec<Place>,
    first: u32,
    last: u32,
}

/// A slot's neighbours; `until` is [`Time::NEVER`] where it is in no list.
#[derive(Clone, Copy, Debug)]
struct Place {
    until: Time,
    before: u32,
    after: u32,
}

impl Awaiting {
    const fn new() -> Self {
        Self { places: Vec::new(), first: NOBODY, last: NOBODY }
    }

    #[inline]
    fn next_due(&self) -> Time {
        self.places.get(self.first as usize).map_or(Time::NEVER, |place| place.until)
    }

    /// Adds a slot behind all others. One that is there already keeps its place.
    #[inline]
    fn push(&mut self, slot: u32, until: Time) {
        if self.places.len() <= slot as usize {
            self.places.resize(slot as usize + 1, Place { until: Time::NEVER, before: NOBODY, after: NOBODY });
        }
        if self.places[slot as usize].until != Time::NEVER {
            return;
        }
        let mut place = Place { until: Time(until.0.min(Time::NEVER.0 - 1)), before: self.last, after: NOBODY };
        match self.places.get_mut(self.last as usize) {
            Some(last) => {
                last.after = slot;
                place.until = place.until.max(last.until);
            }
            None => self.first = slot,
        }
        self.places[slot as usize] = place;
        self.last = slot;
    }

    /// Takes a slot out, if it is there.
    #[inline]
    fn remove(&mut self, slot: u32) {
        let Some(place) = self.places.get_mut(slot as usize).filter(|place| place.until != Time::NEVER) else { return };
        let Place { before, after, .. } = *place;
        place.until = Time::NEVER;
        match self.places.get_mut(before as usize) {
            Some(before) => before.after = after,
            None => self.first = after,
        }
        match self.places.get_mut(after as usize) {
            Some(after) => after.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(messages: &mut KeptMessages) -> KeptRef {
        let meant = messages.begin(Kept::default()).unwrap();
        messages.find(meant).unwrap().state = KeptState::Sent;
        meant
    }

    #[test]
    fn what_awaits_in_vain_comes_in_the_order_of_time_and_once() {
        let mut messages = KeptMessages::new(1000);
        let all: Vec<KeptRef> = (0..100u64)
            .map(|time| {
                let meant = kept(&mut messages);
                messages.await_receipt(meant, Time(10 + time / 2));
                meant
            })
            .collect();
        for ended in all.iter().step_by(3) {
            messages.end(*ended);
        }
        let mut overdue = Vec::new();
        for time in 0..=60 {
            while let Some(meant) = messages.next_overdue(Time(time)) {
                assert_eq!(meant, all[overdue.len() / 2 * 3 + 1 + overdue.len() % 2]);
                overdue.push(meant);
            }
            assert!(messages.next_due() > Time(time));
        }
        assert_eq!(overdue.len(), 66);
        assert_eq!(messages.next_due(), Time::NEVER);
    }

    #[test]
    fn what_has_ended_leaves_nothing_behind() {
        let mut messages = KeptMessages::new(1 << 20);
        let stuck = kept(&mut messages);
        messages.await_receipt(stuck, Time(7));
        for time in 0..100_000 {
            let meant = kept(&mut messages);
            messages.await_receipt(meant, Time(8 + time));
            messages.end(meant);
        }
        assert!(messages.awaiting.places.len() <= 1024);
        assert_eq!(messages.next_overdue(Time(1_000_000)), Some(stuck));
        assert_eq!(messages.next_overdue(Time(1_000_000)), None);
    }

    #[test]
    fn a_shorter_time_waits_for_the_longer_one_before_it() {
        let mut messages = KeptMessages::new(1000);
        let (long, short) = (kept(&mut messages), kept(&mut messages));
        messages.await_receipt(long, Time(50));
        messages.await_receipt(short, Time(20));
        assert_eq!(messages.next_overdue(Time(49)), None);
        assert_eq!(messages.next_overdue(Time(50)), Some(long));
        assert_eq!(messages.next_overdue(Time(50)), Some(short));
    }
}
