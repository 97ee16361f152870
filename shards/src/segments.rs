//! Which segments of a shard's journal are still wanted: how much of what began in each has not ended.
//!
//! Lives on the shard's thread, as part of its ledger. They go in order, the oldest first, so that a record that ends something is
//! never gone before the one that began it.

use std::collections::VecDeque;

/// The segments from the oldest one that is wanted to the present one; there is always one.
#[derive(Debug)]
pub(crate) struct Segments {
    first: u32,
    each: VecDeque<Segment>,
}

/// What began in one segment.
#[derive(Clone, Copy, Debug, Default)]
struct Segment {
    /// How much.
    begun: u32,
    /// How much of it has not ended, nor been carried forward.
    live: u32,
}

impl Segments {
    pub(crate) fn new() -> Self {
        Self { first: 0, each: VecDeque::from([Segment::default()]) }
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.each.len()
    }

    /// The one after the present one begins.
    pub(crate) fn begin(&mut self) {
        self.each.push_back(Segment::default());
    }

    /// Something that began in that segment has not ended yet.
    #[inline]
    pub(crate) fn count(&mut self, segment: u32) {
        let segment = self.get_mut(segment);
        segment.begun += 1;
        segment.live += 1;
    }

    /// Something that began in that segment has ended before it was counted.
    #[inline]
    pub(crate) fn count_over(&mut self, segment: u32) {
        self.get_mut(segment).begun += 1;
    }

    /// Something that began in that segment, and was counted, has ended.
    #[inline]
    pub(crate) fn discount(&mut self, segment: u32) {
        self.get_mut(segment).live -= 1;
    }

    #[inline]
    fn get_mut(&mut self, segment: u32) -> &mut Segment {
        &mut self.each[(segment - self.first) as usize]
    }

    /// The oldest one, where at most so many tenths of what began there are live, or of what began in all of them: one that lasts as
    /// a whole, as when a vendor gave no receipts for a while, holds up what is dead behind it. `None` as well while it is one of
    /// the last two.
    pub(crate) fn to_carry(&self, tenths: u64) -> Option<u32> {
        let is_worth_it = self.each.len() > 2
            && (is_live_to(tenths, self.each.iter().take(1)) || is_live_to(tenths, self.each.iter()));
        is_worth_it.then_some(self.first)
    }

    /// The first segment that is still wanted, when that has changed since the last call.
    pub(crate) fn freed(&mut self) -> Option<u32> {
        let before = self.first;
        // The one before the present one may be that of a batch that the host has.
        while self.each.len() > 2 && self.each[0].live == 0 {
            self.each.pop_front();
            self.first += 1;
        }
        (self.first != before).then_some(self.first)
    }
}

/// Whether at most so many tenths of what began in these segments are live.
fn is_live_to<'a>(tenths: u64, segments: impl Iterator<Item = &'a Segment>) -> bool {
    let (begun, live) = segments
        .fold((0, 0), |(begun, live), segment| (begun + u64::from(segment.begun), live + u64::from(segment.live)));
    live * 10 <= begun * tenths
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments in each of which ten things began, and so many of them last.
    fn with_lasting<const COUNT: usize>(lasting: [u32; COUNT]) -> Segments {
        let mut segments = Segments::new();
        (1..COUNT).for_each(|_| segments.begin());
        for (segment, lasting) in (0..).zip(lasting) {
            (0..10).for_each(|_| segments.count(segment));
            (lasting..10).for_each(|_| segments.discount(segment));
        }
        segments
    }

    #[test]
    fn the_oldest_is_carried_when_it_or_all_of_them_are_mostly_dead() {
        assert_eq!(with_lasting([3, 10, 10, 10, 10]).to_carry(5), Some(0));
        assert_eq!(with_lasting([10, 0, 0, 0, 0]).to_carry(5), Some(0), "it holds up what is dead behind it");
        assert_eq!(with_lasting([10, 10, 10, 10, 10]).to_carry(9), None);
        assert_eq!(with_lasting([10, 5, 5, 5, 5]).to_carry(5), None);
        assert_eq!(with_lasting([10, 5, 5, 5, 5]).to_carry(9), Some(0), "room is dearer");
        assert_eq!(with_lasting([1, 1]).to_carry(9), None, "the last two stay");
    }

    #[test]
    fn what_has_ended_before_it_was_counted_is_dead() {
        let mut segments = with_lasting([10, 10, 10]);
        (0..30).for_each(|_| segments.count_over(2));
        assert_eq!(segments.to_carry(5), Some(0));
    }

    #[test]
    fn they_go_from_the_oldest_on_and_the_last_two_stay() {
        let mut segments = with_lasting([1, 0, 0, 0, 0]);
        assert_eq!(segments.freed(), None);
        segments.discount(0);
        assert_eq!(segments.freed(), Some(3));
        assert_eq!(segments.freed(), None, "told once");
        assert_eq!(segments.len(), 2);
        segments.count(4);
        segments.begin();
        assert_eq!(segments.freed(), Some(4));
    }
}
