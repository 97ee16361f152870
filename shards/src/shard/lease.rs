//! Limits that count over all nodes: what the control thread is told of them, and what it gives.
//!
//! Nothing of it lies on a message's way; see [`crate::lease`] for what does.

use super::Shard;
use crate::bounds::LIMITS_TOLD_MAX;
use crate::command::Reply;
use crate::lease::{Leases, LimitKey, LimitUse};
use crate::names::CustomerId;
use crate::output::{Action, Output};
use crate::time::Now;

impl Shard {
    pub(super) fn used_limits(&mut self, limit: usize, now: Now) -> Vec<LimitUse> {
        let Self { leasing, desks, lanes, .. } = self;
        let touched = leasing.take_touched(limit.min(LIMITS_TOLD_MAX));
        let told = touched.into_iter().filter_map(|key| match key {
            LimitKey::Customer(id) => desks[id.index()].limit.tell(key, false, leasing, now.mono),
            LimitKey::Vendor(id) => {
                let lane = &mut lanes[id.index()];
                lane.limit.tell(key, lane.counters.queued > 0, leasing, now.mono)
            }
        });
        told.collect()
    }

    pub(super) fn lease(&mut self, leases: &Leases, now: Now, out: &mut Output) -> Reply {
        self.leasing.renew(leases, now.mono);
        for grant in &leases.grants {
            match grant.key {
                LimitKey::Customer(id) => {
                    let Some(desk) = self.desks.get_mut(id.index()) else { continue };
                    desk.limit.grant(grant, &mut self.leasing);
                }
                LimitKey::Vendor(id) => {
                    let Some(lane) = self.lanes.get_mut(id.index()) else { continue };
                    lane.limit.grant(grant, &mut self.leasing);
                    // Messages may have waited for it.
                    if lane.counters.queued > 0 {
                        self.pump_lane(id, now, out);
                    }
                }
            }
        }
        Reply::Leased
    }

    /// A bind that the control thread has counted is none any more.
    pub(super) fn bind_over(&self, customer: CustomerId, out: &mut Output) {
        if self.leasing.is_on {
            out.push(Action::BindOver { customer });
        }
    }
}
