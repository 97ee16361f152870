//! What comes from other shards, and goes to them.

use super::ahead::AHEAD;
use super::{Shard, VendorView};
use crate::names::ShardId;
use crate::output::Output;
use crate::time::Now;
use crate::wire::{Record, Submit};

impl Shard {
    /// Handles what other shards have sent, a bounded amount from each. `true` when there is more to take.
    pub fn take_rings(&mut self, now: Now, out: &mut Output) -> bool {
        for index in 0..self.rings.shards() as u16 {
            let from = ShardId(index);
            let Some(mut inbound) = self.rings.take(from) else { continue };
            let mut ahead = 0;
            inbound.for_each(|record| match Submit::read_if(record) {
                Some(submit) => {
                    if ahead == 0 {
                        ahead = AHEAD;
                        self.look_at_free(ahead);
                    }
                    ahead -= 1;
                    self.take_in(&submit, now, out);
                }
                None => self.take_record(from, Record::read(record), now, out),
            });
            self.rings.give_back(from, inbound);
        }
        self.rings.has_incoming()
    }

    /// Puts what the turn has produced for other shards into their rings. The doorbells of those in `bells` are to be
    /// rung if they sleep. `true` when something found no room in a full ring: come back without sleeping.
    pub fn flush_rings(&mut self, bells: &mut Vec<ShardId>) -> bool {
        self.rings.flush(bells);
        self.rings.is_backed_up()
    }

    /// Whether another shard has sent something: to look once more before sleeping.
    pub fn has_incoming(&self) -> bool {
        self.rings.has_incoming()
    }

    #[inline]
    fn take_record(&mut self, from: ShardId, record: Record<'_>, now: Now, out: &mut Output) {
        match record {
            Record::Submit(submit) => self.take_in(&submit, now, out),
            Record::SubmitAnswer(answer) => self.answer(&answer, now, out),
            Record::LateAnswer(answer) => self.settle_at_home(&answer, now, out),
            Record::Settled { kept } => self.settled.add(from, kept),
            Record::Await(awaited) => self.take_over_awaited(&awaited),
            Record::Deliver(deliver) => self.deliver(&deliver, now, out),
            Record::DeliverAnswer { origin, vendor, status } => self.delivery_resolved(origin, vendor, status, out),
            Record::VendorView { vendor, is_up, is_full } => {
                self.views[vendor.index()] = VendorView { is_up, is_full };
            }
            Record::CustomerHome { customer } => self.homes[customer.index()] = Some(from),
            Record::SnapshotKnown { version } => self.snapshot_known(from, version, now, out),
        }
    }
}
