//! Everything that is due, in one place and one order.

use super::{Role, Shard};
use crate::kept::KeptRef;
use crate::messages::MessageState;
use crate::names::{Conn, LinkId, VendorId};
use crate::output::Output;
use crate::time::Now;

impl Shard {
    pub(super) fn run_timers(&mut self, now: Now, out: &mut Output) {
        if self.next_deadline() > now.mono {
            return;
        }
        let mut expired = core::mem::take(&mut self.expired);
        self.messages.expire(now.mono, &mut expired);
        for slot in expired.drain(..) {
            // Handling the one before may have sent this one, or used its slot anew.
            if !self.messages.is_due_later(slot) {
                self.message_due(slot, now, out);
            }
        }
        self.deliveries.expire(now.mono, &mut expired);
        for slot in expired.drain(..) {
            if !self.deliveries.is_due_later(slot) {
                self.delivery_due(slot, now, out);
            }
        }
        self.lookups.expire(now.mono, &mut expired);
        for slot in expired.drain(..) {
            if !self.lookups.is_due_later(slot) {
                self.lookup_due(slot, now, out);
            }
        }
        self.lane_timers.expire(now.mono, &mut expired);
        expired.drain(..).for_each(|index| self.lane_due(VendorId(index), now, out));
        self.link_timers.expire(now.mono, &mut expired);
        expired.drain(..).for_each(|index| self.link_due(LinkId(index), now, out));
        self.connection_timers.expire(now.mono, &mut expired);
        expired.drain(..).for_each(|index| self.connection_due(Conn(index), now, out));
        self.expired = expired;
    }

    pub(super) fn message_due(&mut self, slot: u32, now: Now, out: &mut Output) {
        let message = self.messages.get(slot);
        let (vendor, is_late) = (message.vendor, message.carried.deadline <= now.mono);
        match message.state {
            MessageState::Free => {}
            MessageState::InFlight(link, sequence) => {
                self.links[link.index()].window.close_request(sequence);
                self.remember_late(slot, link, sequence, now);
                self.outcome_unknown(slot, vendor, now, out);
                self.pump_lane(vendor, now, out);
                self.close_if_left(link, now, out);
            }
            MessageState::Queued => {
                self.unqueue(slot);
                if is_late {
                    self.give_up(slot, now, out)
                } else {
                    self.fail_over(slot, now, out)
                }
                self.refresh_view(vendor);
            }
            MessageState::Retrying if is_late => self.give_up(slot, now, out),
            MessageState::Retrying => self.offer(slot, now, out),
        }
    }

    /// The message's own time is up: the last refusal is its answer, or that it has expired, or that no vendor had
    /// room.
    pub(super) fn give_up(&mut self, slot: u32, now: Now, out: &mut Output) {
        let message = self.messages.get(slot);
        let statuses = &self.snapshot.statuses;
        let is_kept = message.carried.origin.kept != KeptRef::NONE;
        let status = if is_kept || message.carried.facts.valid_until <= now.mono {
            statuses.expired
        } else if message.carried.refusal.is_ok() {
            statuses.queue_full
        } else {
            message.carried.refusal
        };
        self.fail(slot, status, now, out);
    }

    /// A lane's pause is over, its limit has a token again, or an early receipt has waited long enough.
    fn lane_due(&mut self, vendor: VendorId, now: Now, out: &mut Output) {
        self.expire_early(vendor, now, out);
        if self.lanes[vendor.index()].is_off {
            self.begin_leaving(vendor);
        }
        let paused_until = self.lanes[vendor.index()].paused_until;
        if paused_until > now.mono {
            self.lane_timers.hasten(vendor.index(), paused_until);
        } else {
            self.pump_lane(vendor, now, out);
        }
    }

    fn connection_due(&mut self, conn: Conn, now: Now, out: &mut Output) {
        match &self.connections[conn.index()].role {
            Role::Lobby(_) => self.lobby_timer(conn, now, out),
            Role::Session(_) => self.session_due(conn, now, out),
            Role::Link(_) | Role::Free => {}
        }
    }
}
