//! Submits that got no answer in time, for an answer that comes late; and what late answers have settled elsewhere.
//!
//! Lives on a shard, in journal mode alone: where a customer's answer is the vendor's, a late one settles nothing. Both
//! tables are ordered maps, for they are empty nearly always, and what they do depends on nothing but what was put in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::bounds::{LATE_ANSWERS_MAX, SETTLED_MAX};
use crate::kept::KeptRef;
use crate::names::{LinkId, ShardId, VendorId};
use crate::receipts::Awaited;
use crate::time::Time;

/// A submit whose outcome is unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Late {
    /// An answer after that means nothing.
    pub(crate) until: Time,
    pub(crate) vendor: VendorId,
    /// Where the message was on this shard; it may have gone since.
    pub(crate) slot: u32,
    /// The receipt to be awaited when the vendor has the message, but for the key, which the late answer tells.
    pub(crate) awaited: Awaited,
}

/// The submits of all links of one shard that got no answer in time, by link and sequence_number; bounded.
#[derive(Debug, Default)]
pub(crate) struct LateAnswers {
    entries: BTreeMap<(LinkId, u32), (u64, Late)>,
    /// The same, oldest first.
    order: BTreeMap<u64, (LinkId, u32)>,
    next: u64,
}

impl LateAnswers {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Remembers a submit. At the bound the oldest is forgotten; what is too old goes as well.
    pub(crate) fn remember(&mut self, link: LinkId, sequence: u32, late: Late, now: Time) {
        self.forget(link, sequence);
        while let Some((_, &(link, sequence))) = self.order.first_key_value()
            && (self.entries.len() >= LATE_ANSWERS_MAX || self.entries[&(link, sequence)].1.until <= now)
        {
            self.forget(link, sequence);
        }
        self.order.insert(self.next, (link, sequence));
        self.entries.insert((link, sequence), (self.next, late));
        self.next += 1;
    }

    /// The submit that is answered late, if it is remembered: once.
    pub(crate) fn take(&mut self, link: LinkId, sequence: u32, now: Time) -> Option<Late> {
        let (place, late) = self.entries.remove(&(link, sequence))?;
        self.order.remove(&place);
        (late.until > now).then_some(late)
    }

    /// The number is given to another submit.
    pub(crate) fn forget(&mut self, link: LinkId, sequence: u32) {
        if let Some((place, _)) = self.entries.remove(&(link, sequence)) {
            self.order.remove(&place);
        }
    }

    /// The link is lost: over it nothing is answered any more.
    pub(crate) fn forget_link(&mut self, link: LinkId) {
        while let Some((&(_, sequence), _)) = self.entries.range((link, 0)..=(link, u32::MAX)).next() {
            self.forget(link, sequence);
        }
    }
}

/// Kept messages that a late answer has settled while another shard's vendor had them: not to be sent there. Bounded;
/// beyond it the oldest is forgotten, and sent as if its outcome were still unknown.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    messages: BTreeSet<(ShardId, u32, u32)>,
    order: VecDeque<(ShardId, u32, u32)>,
}

impl Settled {
    pub(crate) fn add(&mut self, home: ShardId, kept: KeptRef) {
        let name = (home, kept.slot, kept.generation);
        if !self.messages.insert(name) {
            return;
        }
        self.order.push_back(name);
        if self.order.len() > SETTLED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.messages.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, home: ShardId, kept: KeptRef) -> bool {
        self.messages.contains(&(home, kept.slot, kept.generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message_id::MessageId;
    use crate::receipts::ReceiptKey;

    fn late(slot: u32, until: Time) -> Late {
        Late {
            until,
            vendor: VendorId(0),
            slot,
            awaited: Awaited {
                kept: KeptRef { slot, generation: 0 },
                is_double: true,
                ..Awaited::sample(ReceiptKey::UNKNOWN, MessageId(1))
            },
        }
    }

    #[test]
    fn an_answer_is_taken_once_and_only_while_it_is_young_enough() {
        let mut answers = LateAnswers::default();
        answers.remember(LinkId(0), 7, late(1, Time(100)), Time(0));
        answers.remember(LinkId(1), 7, late(2, Time(100)), Time(0));
        assert_eq!(answers.take(LinkId(0), 7, Time(99)).unwrap().slot, 1);
        assert!(answers.take(LinkId(0), 7, Time(99)).is_none());
        assert!(answers.take(LinkId(1), 7, Time(100)).is_none());
        assert!(answers.is_empty() && answers.order.is_empty());
    }

    #[test]
    fn a_number_used_again_and_a_lost_link_are_forgotten() {
        let mut answers = LateAnswers::default();
        for sequence in 1..=10 {
            answers.remember(LinkId(0), sequence, late(sequence, Time(100)), Time(0));
            answers.remember(LinkId(1), sequence, late(sequence, Time(100)), Time(0));
        }
        answers.forget(LinkId(0), 5);
        assert!(answers.take(LinkId(0), 5, Time(1)).is_none());
        answers.forget_link(LinkId(0));
        assert!(answers.take(LinkId(0), 4, Time(1)).is_none());
        assert_eq!((answers.entries.len(), answers.order.len()), (10, 10));
    }

    #[test]
    fn at_the_bound_the_oldest_is_forgotten() {
        let mut answers = LateAnswers::default();
        for sequence in 0..LATE_ANSWERS_MAX as u32 + 1 {
            answers.remember(LinkId(0), sequence, late(sequence, Time(100)), Time(0));
        }
        assert_eq!((answers.entries.len(), answers.order.len()), (LATE_ANSWERS_MAX, LATE_ANSWERS_MAX));
        assert!(answers.take(LinkId(0), 0, Time(1)).is_none());
        assert!(answers.take(LinkId(0), 1, Time(1)).is_some());
        answers.remember(LinkId(0), 9, late(9, Time(300)), Time(200));
        assert_eq!(answers.entries.len(), 1, "what is too old has gone");
    }

    #[test]
    fn settled_messages_are_bounded() {
        let mut settled = Settled::default();
        let kept = |slot| KeptRef { slot, generation: 3 };
        (0..SETTLED_MAX as u32 + 1).for_each(|slot| settled.add(ShardId(1), kept(slot)));
        settled.add(ShardId(1), kept(1));
        assert!(!settled.contains(ShardId(1), kept(0)) && !settled.contains(ShardId(0), kept(1)));
        assert!(settled.contains(ShardId(1), kept(1)));
        assert_eq!(settled.order.len(), SETTLED_MAX);
    }
}
