//! A new configuration while the shard is at work: room is made for who is new, the snapshot is swapped, and then what has
//! changed is brought up to date, customer by customer and vendor by vendor.
//!
//! A bounded amount a turn, so that ten thousand customers and a thousand vendors hold no message up. Nothing of it runs on
//! a message's way. The snapshot before is handed back to the host with [`Action::Retire`]: freeing it takes longer than a
//! turn may.
//!
//! Shards swap at different times, and a record that one of them sends must name nobody whom another one does not know. So
//! each tells the others up to which version it knows everybody, and a new vendor's home connects it, and lets others give
//! messages to it, when all of them do. (New customers are let in by the control thread when all shards have swapped.)

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Role, Shard, VendorView};
use crate::bounds::{
    CHANGES_LOOKED_AT_PER_TURN, CUSTOMERS_CHANGED_PER_TURN, MOVE_ON_AGAIN_MS, MOVED_ON_PER_TURN, PLACES_PER_TURN,
    UNBIND_MS_MAX, VENDORS_CHANGED_PER_TURN,
};
use crate::deliveries::CustomerDesk;
use crate::lane::Lane;
use crate::messages::MessageState;
use crate::names::{Conn, CustomerId, ShardId, VendorId};
use crate::output::{Action, Output};
use crate::session::SessionState;
use crate::snapshot::Snapshot;
use crate::time::{Now, Time};
use crate::wire::Record;

/// How far the change to another snapshot has come.
#[derive(Debug)]
pub(super) struct Changing {
    /// The next snapshot, while room is made for who is new in it.
    coming: Option<Arc<Snapshot>>,
    /// The one before, while what differs from it is brought up to date.
    going: Option<Going>,
    /// The version that is in force altogether.
    in_force: u64,
    /// By shard: the version up to which it knows every customer and vendor.
    known: Vec<u64>,
    /// Vendors at home here that not every shard knows yet, and the version they came with.
    unopened: Vec<(VendorId, u64)>,
    /// Vendors that are no longer used, while the messages in their queues are given to others.
    leaving: VecDeque<Leaving>,
}

#[derive(Debug)]
struct Going {
    previous: Arc<Snapshot>,
    next_customer: usize,
    next_vendor: usize,
    next_conn: usize,
}

/// One round through a vendor's queue.
#[derive(Debug)]
struct Leaving {
    vendor: VendorId,
    /// Messages looked at since the last one that another vendor took.
    in_vain: usize,
}

impl Changing {
    pub(super) fn new(version: u64, shards: u16) -> Self {
        Self {
            coming: None,
            going: None,
            in_force: version,
            known: vec![version; usize::from(shards)],
            unopened: Vec::new(),
            leaving: VecDeque::new(),
        }
    }

    /// Whether [`Shard::change_on`] has something to do.
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        self.coming.is_some() || self.going.is_some() || !self.leaving.is_empty()
    }

    /// When [`Shard::change_on`] has something to do: at once or never.
    pub(super) fn next_due(&self) -> Time {
        if self.has_work() { Time::default() } else { Time::NEVER }
    }

    /// The version that is in force altogether.
    pub(super) fn in_force(&self) -> u64 {
        self.in_force
    }

    fn all_know(&self, version: u64) -> bool {
        self.known.iter().all(|known| *known >= version)
    }
}

impl Shard {
    /// Puts a new configuration in force: a successor ([`Snapshot::succeed`]) of the one before. It happens with the next
    /// calls of [`Shard::tick`], some of it with each.
    ///
    /// While the gateway stops nothing is put in force any more.
    pub fn apply(&mut self, snapshot: Arc<Snapshot>, out: &mut Output) {
        let is_stale = self.phase.is_some() || snapshot.version <= self.snapshot.version;
        let passed_over = if is_stale { Some(snapshot) } else { self.changing.coming.replace(snapshot) };
        if let Some(snapshot) = passed_over {
            out.push(Action::Retire { in_force: self.changing.in_force, snapshot });
        }
    }

    /// The snapshot that look-ups are made in: the host needs it for the vendors that it connects.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The next step of the change to another snapshot.
    #[cold]
    pub(super) fn change_on(&mut self, now: Now, out: &mut Output) {
        if self.changing.going.is_some() {
            self.bring_up_to_date(now, out);
        } else if let Some(coming) = self.changing.coming.take() {
            if self.make_room(&coming, now) {
                self.swap(coming, now, out);
            } else {
                self.changing.coming = Some(coming);
            }
        }
        if !self.changing.leaving.is_empty() {
            self.move_some_on(now, out);
        }
    }

    /// Makes places for who is new; `true` when there are all of them.
    fn make_room(&mut self, coming: &Snapshot, now: Now) -> bool {
        let mut room = PLACES_PER_TURN;
        while room > 0
            && let Some(customer) = coming.customers.get(self.desks.len())
        {
            self.desks.push(CustomerDesk::new(&customer.settings, now.mono));
            room -= 1;
        }
        while room > 0
            && let Some(vendor) = coming.vendors.get(self.lanes.len())
        {
            self.lanes.push(Lane::unused(&vendor.settings, now.mono));
            // Full for everybody until its home says otherwise: not every shard knows it yet.
            self.views.push(VendorView { is_up: false, is_full: true });
            self.held.push(0);
            self.lookups.again.push(0);
            room -= 1;
        }
        self.desks.len() >= coming.customers.len() && self.lanes.len() >= coming.vendors.len()
    }

    fn swap(&mut self, coming: Arc<Snapshot>, now: Now, out: &mut Output) {
        let version = coming.version;
        self.homes.resize(self.homes.len().max(coming.customers.len()), None);
        let previous = core::mem::replace(&mut self.snapshot, coming);
        self.changing.going = Some(Going { previous, next_customer: 0, next_vendor: 0, next_conn: 0 });
        for shard in (0..self.rings.shards() as u16).map(ShardId).filter(|shard| *shard != self.id) {
            self.rings.send(shard, &Record::SnapshotKnown { version });
        }
        self.snapshot_known(self.id, version, now, out);
    }

    /// A shard knows every customer and vendor of that version from now on.
    pub(super) fn snapshot_known(&mut self, shard: ShardId, version: u64, now: Now, out: &mut Output) {
        let known = &mut self.changing.known[shard.index()];
        *known = version.max(*known);
        let mut unopened = core::mem::take(&mut self.changing.unopened);
        unopened.retain(|(vendor, since)| {
            let is_known = self.changing.all_know(*since);
            if is_known {
                self.open_lane(*vendor, now, out);
            }
            !is_known
        });
        self.changing.unopened = unopened;
    }

    /// Whether a vendor that is at home here waits for other shards to know it.
    pub(super) fn is_unopened(&self, vendor: VendorId) -> bool {
        self.changing.unopened.iter().any(|(unopened, _)| *unopened == vendor)
    }

    fn bring_up_to_date(&mut self, now: Now, out: &mut Output) {
        let Some(mut going) = self.changing.going.take() else { return };
        let is_done = self.update_vendors(&mut going, now, out)
            && self.update_customers(&mut going, now, out)
            && self.update_sessions(&mut going, now);
        if !is_done {
            self.changing.going = Some(going);
            return;
        }
        self.changing.in_force = self.snapshot.version;
        out.push(Action::Retire { in_force: self.changing.in_force, snapshot: going.previous });
    }

    fn update_vendors(&mut self, going: &mut Going, now: Now, out: &mut Output) -> bool {
        let snapshot = Arc::clone(&self.snapshot);
        let (mut looks, mut changes) = (CHANGES_LOOKED_AT_PER_TURN, VENDORS_CHANGED_PER_TURN);
        while let Some(vendor) = snapshot.vendors.get(going.next_vendor) {
            if looks == 0 || changes == 0 {
                return false;
            }
            looks -= 1;
            if vendor.changed_in > going.previous.version {
                changes -= 1;
                self.vendor_changed(vendor, &going.previous, now, out);
            }
            going.next_vendor += 1;
        }
        true
    }

    fn vendor_changed(&mut self, vendor: &crate::snapshot::Vendor, previous: &Snapshot, now: Now, out: &mut Output) {
        if vendor.home != self.id {
            return;
        }
        self.lanes[vendor.id.index()].reshape(&vendor.settings, now.mono);
        if self.is_unopened(vendor.id) {
            return;
        }
        let before = previous.vendor(vendor.id);
        if before.is_none() && !self.changing.all_know(vendor.changed_in) {
            self.changing.unopened.push((vendor.id, vendor.changed_in));
            return;
        }
        let needs_rebind = before.is_some_and(|before| !vendor.has_same_binds(&before.settings));
        let answered_ms = before.map_or(0, |before| before.settings.response_timeout_ms);
        let longest_ms = answered_ms.max(vendor.settings.response_timeout_ms);
        self.set_links(vendor.id, needs_rebind, longest_ms, now, out);
        if self.lanes[vendor.id.index()].is_off {
            self.begin_leaving(vendor.id);
        } else {
            // A limit may have been raised.
            self.pump_lane(vendor.id, now, out);
        }
    }

    fn update_customers(&mut self, going: &mut Going, now: Now, out: &mut Output) -> bool {
        let snapshot = Arc::clone(&self.snapshot);
        let (mut looks, mut changes) = (CHANGES_LOOKED_AT_PER_TURN, CUSTOMERS_CHANGED_PER_TURN);
        while let Some(customer) = snapshot.customers.get(going.next_customer) {
            if looks == 0 || changes == 0 {
                return false;
            }
            looks -= 1;
            if customer.changed_in > going.previous.version {
                changes -= 1;
                if !self.customer_changed(customer.id, &mut changes, now, out) {
                    return false;
                }
            }
            going.next_customer += 1;
        }
        true
    }

    /// `false` when sessions are left for the next turn.
    fn customer_changed(&mut self, id: CustomerId, changes: &mut usize, now: Now, out: &mut Output) -> bool {
        let customer = &self.snapshot.customers[id.index()];
        let (is_active, window) = (customer.is_active(), customer.window);
        let desk = &mut self.desks[id.index()];
        desk.limit.reshape(customer.settings.smpp_throughput, customer.settings.smpp_burst, now.mono);
        if is_active {
            for place in 0..self.desks[id.index()].sessions.len() {
                let conn = self.desks[id.index()].sessions[place];
                let Some(version) = self.session_mut(conn).map(|session| session.interface_version) else { continue };
                let style = self.style_of(id, version);
                if let Some(session) = self.session_mut(conn) {
                    (session.window, session.style) = (window, style);
                }
            }
            return true;
        }
        while let Some(conn) = self.desks[id.index()].sessions.last().copied() {
            if *changes == 0 {
                return false;
            }
            *changes -= 1;
            self.dismiss(id, conn, now, out);
        }
        true
    }

    /// The customer may not be bound any more: nothing new is taken from this session, what is unanswered gets its answer,
    /// then it is unbound.
    fn dismiss(&mut self, customer: CustomerId, conn: Conn, now: Now, out: &mut Output) {
        self.leave_desk(customer, conn, out);
        let longest_ms = self.snapshot.gateway.relay_deadline_ms + UNBIND_MS_MAX;
        let Some(session) = self.session_mut(conn).filter(|session| session.state == SessionState::Bound) else {
            return;
        };
        session.state = SessionState::Dismissed;
        session.until = now.mono.after_ms(longest_ms);
        if session.unanswered == 0 {
            self.unbind_session(conn, now, out);
        } else {
            self.connection_timers.hasten(conn.index(), now.mono.after_ms(longest_ms));
        }
    }

    /// Where the gateway's own timers have changed they hold for sessions that are bound, too.
    fn update_sessions(&mut self, going: &mut Going, now: Now) -> bool {
        let (before, after) = (&going.previous.gateway, &self.snapshot.gateway);
        if (before.enquire_link_ms, before.inactivity_timeout_ms)
            == (after.enquire_link_ms, after.inactivity_timeout_ms)
        {
            return true;
        }
        let end = self.connections.len().min(going.next_conn + CHANGES_LOOKED_AT_PER_TURN);
        for index in going.next_conn..end {
            if matches!(self.connections[index].role, Role::Session(_)) {
                self.session_timer(Conn(index as u32), now);
            }
        }
        going.next_conn = end;
        end == self.connections.len()
    }

    /// A vendor is not used any more: what waits for it is offered to others.
    pub(super) fn begin_leaving(&mut self, vendor: VendorId) {
        let is_under_way = self.changing.leaving.iter().any(|leaving| leaving.vendor == vendor);
        let lane = &mut self.lanes[vendor.index()];
        if lane.counters.queued > 0 && !is_under_way {
            lane.begin_round();
            self.changing.leaving.push_back(Leaving { vendor, in_vain: 0 });
        }
    }

    /// Gives messages from queues of vendors that are no longer used to their routes' next vendors. Those that no vendor has
    /// room for stay where they are, and are offered again after a while: until their time is up, or a vendor comes.
    fn move_some_on(&mut self, now: Now, out: &mut Output) {
        // What the journal keeps goes to no vendor while the gateway stops.
        if self.refusing && self.ledger.is_some() {
            self.changing.leaving.clear();
            return;
        }
        let mut left = MOVED_ON_PER_TURN;
        while left > 0
            && let Some(mut leaving) = self.changing.leaving.pop_front()
        {
            let vendor = leaving.vendor;
            let is_over = loop {
                if left == 0 {
                    break false;
                }
                let Some(slot) = self.next_of_round(vendor) else { break true };
                left -= 1;
                if self.move_on_or_back(slot, vendor, now, out) {
                    leaving.in_vain = 0;
                } else {
                    leaving.in_vain += 1;
                }
                if leaving.in_vain >= MOVED_ON_PER_TURN {
                    break true;
                }
            };
            if !is_over {
                self.changing.leaving.push_front(leaving);
            } else if self.lanes[vendor.index()].counters.queued > 0 {
                self.lane_timers.hasten(vendor.index(), now.mono.after_ms(MOVE_ON_AGAIN_MS));
            }
            self.refresh_view(vendor);
        }
    }

    /// The next message of the present round through a queue, taken out of it; `None` at the round's end, or when the vendor
    /// is used again.
    fn next_of_round(&mut self, vendor: VendorId) -> Option<u32> {
        loop {
            let lane = &mut self.lanes[vendor.index()];
            let ticket = lane.is_off.then(|| lane.pop_of_round()).flatten()?;
            if self.messages.is_queued(ticket) {
                let message = self.messages.get(ticket.slot);
                self.lanes[vendor.index()].count_out(message.carried.facts.priority, message.pdu.len());
                return Some(ticket.slot);
            }
        }
    }

    /// Gives a message that was taken out of a queue to the next vendor; `false` when it is back in the queue.
    fn move_on_or_back(&mut self, slot: u32, vendor: VendorId, now: Now, out: &mut Output) -> bool {
        self.messages.get_mut(slot).state = MessageState::Retrying;
        if self.move_on_or_stay(slot, now, out) {
            return true;
        }
        let message = self.messages.get_mut(slot);
        message.state = MessageState::Queued;
        let (bytes, priority) = (message.pdu.len(), message.carried.facts.priority);
        let ticket = self.messages.ticket(slot);
        self.lanes[vendor.index()].push_back(ticket, priority, bytes);
        false
    }
}
