//! Carrying forward: what is live in the oldest segment of the journal is recorded again in the present one, so that the
//! oldest can go though something that began there has not ended.
//!
//! It begins when the journal has taken up half of its room, one segment after the other, and a bounded amount a turn. First
//! it is noted which of the kept messages and receipts stand in that segment; then the host reads the segment, and of each
//! that is still live the record is written again, under the number it has.

use hashbrown::HashMap;

use super::Shard;
use crate::bounds::{CARRY_LOOK_PER_TURN, CARRY_RECORDS_PER_TURN};
use crate::event::Event;
use crate::journal::{Entry, SegmentReader, Step};
use crate::kept::KeptRef;
use crate::lane::Ticket;
use crate::output::{Action, Output};
use crate::pending::Pending;

/// How far the carrying of a segment has come.
#[derive(Debug, Default)]
pub(super) enum Carrying {
    /// Nothing is carried.
    #[default]
    Idle,
    /// What stands in that segment is being looked for, in the slots from there on.
    Looking { segment: u32, next: u32, live: Live },
    /// The host reads it.
    Reading { segment: u32, live: Live },
    /// Its records are gone through.
    Copying { segment: u32, live: Live, octets: Vec<u8>, reader: Box<SegmentReader> },
    /// All of that segment was written again, or cannot be; it goes when the writing is through.
    Done { segment: u32 },
}

/// What stands in the segment, by number.
#[derive(Debug, Default)]
pub(super) struct Live {
    messages: HashMap<u64, KeptRef>,
    receipts: HashMap<u64, Ticket>,
}

impl Shard {
    /// The next step of carrying forward, if there is one to make.
    pub(super) fn carry(&mut self, out: &mut Output) {
        let Some(ledger) = &self.ledger else { return };
        if ledger.is_behind() {
            return;
        }
        self.carrying = match core::mem::take(&mut self.carrying) {
            Carrying::Idle => match ledger.to_carry() {
                Some(segment) => Carrying::Looking { segment, next: 0, live: Live::default() },
                None => Carrying::Idle,
            },
            Carrying::Done { segment } if ledger.to_carry() == Some(segment) => Carrying::Done { segment },
            Carrying::Done { .. } => Carrying::Idle,
            Carrying::Looking { segment, next, live } => self.look(segment, next, live, out),
            Carrying::Copying { segment, live, octets, reader } => self.copy(segment, live, octets, reader),
            reading @ Carrying::Reading { .. } => reading,
        };
    }

    /// Whether there is a step to make at once.
    pub(super) fn has_to_carry(&self) -> bool {
        match self.carrying {
            Carrying::Idle => self.ledger.as_ref().is_some_and(|ledger| ledger.to_carry().is_some()),
            Carrying::Looking { .. } | Carrying::Copying { .. } => true,
            Carrying::Reading { .. } => false,
            Carrying::Done { segment } => self.ledger.as_ref().is_some_and(|ledger| ledger.to_carry() != Some(segment)),
        }
    }

    fn look(&mut self, segment: u32, next: u32, mut live: Live, out: &mut Output) -> Carrying {
        let end = next.saturating_add(CARRY_LOOK_PER_TURN);
        self.kept.in_segment(next..end, segment, |number, meant| {
            live.messages.insert(number, meant);
        });
        self.deliveries.in_segment(next..end, segment, |number, ticket| {
            live.receipts.insert(number, ticket);
        });
        if end < self.kept.slots().max(self.deliveries.slots()) {
            return Carrying::Looking { segment, next: end, live };
        }
        out.push(Action::ReadSegment { segment });
        Carrying::Reading { segment, live }
    }

    /// The host has read a segment, or cannot.
    pub fn segment_read(&mut self, segment: u32, result: Result<Vec<u8>, String>, out: &mut Output) {
        let Some(ledger) = &self.ledger else { return };
        self.carrying = match (core::mem::take(&mut self.carrying), result) {
            (Carrying::Reading { segment: asked, live }, Ok(octets)) if asked == segment => {
                let reader = SegmentReader::new(ledger.log(), segment, &octets, None, true);
                Carrying::Copying { segment, live, octets, reader: Box::new(reader) }
            }
            (Carrying::Reading { segment: asked, .. }, Err(reason)) if asked == segment => {
                out.push(Action::Log(Event::JournalTrouble { reason }));
                Carrying::Done { segment }
            }
            (other, _) => other,
        };
    }

    fn copy(&mut self, segment: u32, live: Live, octets: Vec<u8>, mut reader: Box<SegmentReader>) -> Carrying {
        let Some(ledger) = &mut self.ledger else { return Carrying::Idle };
        for _ in 0..CARRY_RECORDS_PER_TURN {
            let entry = match reader.step(&octets) {
                Some(Step::Entry { entry, .. }) => entry,
                Some(_) => continue,
                None => return Carrying::Done { segment },
            };
            match entry {
                Entry::Accepted(accepted) => {
                    if let Some(meant) = live.messages.get(&accepted.number)
                        && self.kept.find(*meant).is_some_and(|kept| kept.segment.get() == Some(segment))
                    {
                        ledger.begin(&entry, Pending::Message(*meant));
                    }
                }
                Entry::Sent(sent) => {
                    if let Some(meant) = live.messages.get(&sent.number)
                        && self.kept.find(*meant).is_some_and(|kept| kept.sent_segment.get() == Some(segment))
                    {
                        ledger.begin(&entry, Pending::Sent(*meant));
                    }
                }
                Entry::Receipt(receipt) => {
                    if let Some(ticket) = live.receipts.get(&receipt.number)
                        && self.deliveries.is_open(*ticket)
                        && self.deliveries.get(ticket.slot).number == receipt.number
                    {
                        ledger.begin(&entry, Pending::Delivery(*ticket));
                    }
                }
                Entry::Done(_) | Entry::Delivered(_) => {}
            }
        }
        Carrying::Copying { segment, live, octets, reader }
    }
}
