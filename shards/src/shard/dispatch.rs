//! A message that has been taken in finds its vendor: choosing, queues, windows, limits, retries and failover.

use smpp_pdu::frame::HEADER_LENGTH;
use smpp_pdu::message::TIME_LENGTH;
use smpp_pdu::time::SmppTime;
use smpp_pdu::{CommandStatus, ShortMessage};

use super::Shard;
use crate::amount::Amount;
use crate::bounds::{
    LINK_OUTPUT_BYTES_MAX, LINK_RUN, MOVE_ON_AGAIN_MS, RING_OUTSTANDING_MAX, RING_STAGED_BYTES_MAX, VALIDITY_STEP_MS,
};
use crate::kept::KeptRef;
use crate::lane::Ticket;
use crate::lease::LimitKey;
use crate::link::LinkState;
use crate::messages::{Message, MessageState};
use crate::names::{LinkId, ShardId, VendorId};
use crate::output::Output;
use crate::settings::BindType;
use crate::time::{Now, Time};
use crate::tried::Tried;
use crate::wire::{Carried, Record, Submit, SubmitAnswer};

impl Shard {
    /// The first of the candidates that is up and has room; else the first with room, for its vendor may come back.
    #[inline]
    pub(super) fn choose(&self, candidates: &[VendorId], tried: &Tried, bytes: usize) -> Option<VendorId> {
        let usable = |vendor: &&VendorId| !tried.contains(**vendor) && self.may_take(**vendor, bytes);
        let up = candidates.iter().filter(usable).find(|vendor| self.views[vendor.index()].is_up);
        up.or_else(|| candidates.iter().find(usable)).copied()
    }

    #[inline]
    fn may_take(&self, vendor: VendorId, bytes: usize) -> bool {
        let Some(configured) = self.snapshot.vendor(vendor) else { return false };
        // One that is only received from will never have a bind that can submit: what waited for it would wait for good.
        if self.views[vendor.index()].is_full || configured.settings.bind_type == BindType::Receiver {
            return false;
        }
        let home = configured.home;
        home == self.id
            || (self.outstanding[home.index()] < RING_OUTSTANDING_MAX
                && self.rings.staged_bytes(home) + bytes < RING_STAGED_BYTES_MAX)
    }

    /// Gives a message of a customer here to the shard of its vendor, by way of which its origin says it goes.
    // In place, so that what stays here goes into its slot field by field: see `Shard::admit`.
    #[inline(always)]
    pub(super) fn place(&mut self, submit: &Submit<'_>, now: Now, out: &mut Output) {
        let home = submit.carried.origin.via;
        debug_assert_eq!(home, self.snapshot.vendors[submit.vendor.index()].home);
        if home == self.id {
            self.take_in(submit, now, out);
        } else {
            self.outstanding[home.index()] += 1;
            let copy = *submit;
            self.rings.send_submit(home, &copy);
        }
    }

    /// Takes a message for a vendor that is at home here, from a session here or from another shard.
    #[inline(always)]
    pub(super) fn take_in(&mut self, submit: &Submit<'_>, now: Now, out: &mut Output) {
        let Some(slot) = self.messages.allocate(submit.pdu) else {
            let Carried { origin, id, style, .. } = submit.carried;
            let status = self.snapshot.statuses.queue_full;
            let cost = Amount::default();
            let answer = SubmitAnswer { origin, status, id, style, vendor: submit.vendor, cost, octets: &[] };
            self.answer(&answer, now, out);
            return;
        };
        let message = self.messages.get_mut(slot);
        message.state = MessageState::Retrying;
        message.goes_to(submit.vendor);
        message.carried = submit.carried;
        self.offer(slot, now, out);
    }

    /// While the gateway stops, messages that the journal keeps go to no vendor any more: they stay for the next start.
    #[inline]
    fn is_put_by(&self, slot: u32) -> bool {
        self.refusing && self.messages.get(slot).carried.origin.kept != KeptRef::NONE
    }

    /// Offers a message to its vendor, then to the route's next ones, until one sends or queues it; else it is refused.
    pub(super) fn offer(&mut self, slot: u32, now: Now, out: &mut Output) {
        if self.is_put_by(slot) || self.send_or_queue(slot, now, out) {
            return;
        }
        let vendor = self.messages.get(slot).vendor;
        self.lanes[vendor.index()].counters.queue_full += 1;
        self.fail_over(slot, now, out);
    }

    /// The message's present vendor has had its tries: on to the next one of its route, or refuse; the latter also when its
    /// own time is up.
    pub(super) fn fail_over(&mut self, slot: u32, now: Now, out: &mut Output) {
        if self.is_put_by(slot) {
            // It is on no link any more, and waits for nothing that this process will see.
            self.messages.get_mut(slot).state = MessageState::Retrying;
            self.messages.set_due(slot, Time::NEVER);
            return;
        }
        if self.messages.get(slot).carried.deadline <= now.mono {
            return self.give_up(slot, now, out);
        }
        if self.move_on(slot, now, out) {
            return;
        }
        let status = match self.messages.get(slot).carried.refusal {
            CommandStatus::ESME_ROK => self.snapshot.statuses.queue_full,
            refusal => refusal,
        };
        self.fail(slot, status, now, out);
    }

    /// Gives a message to the next vendors of its route, one after the other, until one sends or queues it; `false` when none
    /// does.
    pub(super) fn move_on(&mut self, slot: u32, now: Now, out: &mut Output) -> bool {
        while let Some((vendor, rate_per_msg)) = self.next_vendor(slot) {
            let message = self.messages.get_mut(slot);
            message.goes_to(vendor);
            message.carried.rate_per_msg = rate_per_msg;
            if !self.is_home(vendor) {
                self.hand_on(slot);
                return true;
            }
            if self.send_or_queue(slot, now, out) {
                return true;
            }
            self.lanes[vendor.index()].counters.queue_full += 1;
        }
        false
    }

    /// [`Shard::move_on`] of a message that is its present vendor's as before when no other one takes it.
    pub(super) fn move_on_or_stay(&mut self, slot: u32, now: Now, out: &mut Output) -> bool {
        let message = self.messages.get(slot);
        let (vendor, rate_per_msg) = (message.vendor, message.carried.rate_per_msg);
        let is_gone = self.move_on(slot, now, out);
        if !is_gone {
            let message = self.messages.get_mut(slot);
            message.vendor = vendor;
            message.carried.rate_per_msg = rate_per_msg;
        }
        is_gone
    }

    /// Marks the present vendor as tried and gives the next usable one of the route, and its rule's rate.
    fn next_vendor(&mut self, slot: u32) -> Option<(VendorId, Amount)> {
        let message = self.messages.get_mut(slot);
        if !message.carried.tried.add(message.vendor) {
            return None;
        }
        let (customer, tried) = (message.carried.customer, message.carried.tried);
        let message = self.messages.get(slot);
        let view = ShortMessage::decode(&message.pdu).ok()?;
        let random = &mut self.random;
        let candidates = self.snapshot.candidates(customer, &view, || random.next_u32());
        let vendor = self.choose(candidates.as_slice(), &tried, view.offsets.tlvs)?;
        Some((vendor, self.snapshot.routes.rate_of(&candidates, vendor)))
    }

    /// Hands a message to another shard, whose vendor is next; its answer goes from there to where it came from.
    fn hand_on(&mut self, slot: u32) {
        let message = self.messages.get_mut(slot);
        let home = self.snapshot.vendors[message.vendor.index()].home;
        let origin = &mut message.carried.origin;
        if origin.shard == self.id && origin.via == self.id {
            origin.via = home;
            self.outstanding[home.index()] += 1;
        }
        self.rings.send_submit(home, &Submit { vendor: message.vendor, carried: message.carried, pdu: &message.pdu });
        self.messages.free(slot);
    }

    /// Sends the message at once where the lane is free, else queues it; `false` when there is no room, or when this
    /// vendor cannot be given it.
    #[inline]
    fn send_or_queue(&mut self, slot: u32, now: Now, out: &mut Output) -> bool {
        let (vendor, bytes, priority) = {
            let message = self.messages.get(slot);
            (message.vendor, message.pdu.len(), message.carried.facts.priority)
        };
        if self.messages.get(slot).carried.is_doubtful && self.end_if_settled(slot, now, out) {
            return true;
        }
        if !super::rewrite::can_carry(&self.messages.get(slot).pdu, &self.snapshot.vendors[vendor.index()]) {
            self.messages.get_mut(slot).carried.refusal = CommandStatus::ESME_RINVMSGLEN;
            return false;
        }
        let lane = &mut self.lanes[vendor.index()];
        if lane.counters.queued == 0
            && lane.paused_until <= now.mono
            && let Some(link) = self.free_link(vendor, out)
        {
            let lane = &mut self.lanes[vendor.index()];
            if lane.limit.take(LimitKey::Vendor(vendor), &mut self.leasing, now.mono) {
                self.transmit(link, slot, now, out);
                return true;
            }
            let again = lane.limit.next_at(&self.leasing, now.mono);
            self.lane_timers.hasten(vendor.index(), again);
        }
        if self.lanes[vendor.index()].is_off && self.leave_off_vendor(slot, vendor, now, out) {
            return true;
        }
        let lane = &mut self.lanes[vendor.index()];
        if !lane.has_room(bytes) {
            self.refresh_view(vendor);
            return false;
        }
        let ticket = self.messages.ticket(slot);
        lane.push_back(ticket, priority, bytes);
        self.mark_queued(slot, now);
        self.refresh_view(vendor);
        true
    }

    /// A message has come for a vendor that is not used any more: another one gets it. `false` when there is none: then it
    /// waits here, as what was here before.
    #[cold]
    fn leave_off_vendor(&mut self, slot: u32, vendor: VendorId, now: Now, out: &mut Output) -> bool {
        let is_gone = self.move_on_or_stay(slot, now, out);
        if !is_gone {
            self.lane_timers.hasten(vendor.index(), now.mono.after_ms(MOVE_ON_AGAIN_MS));
        }
        is_gone
    }

    /// Puts a message that the vendor throttled back to the front of its queue: the order is kept.
    pub(super) fn requeue_first(&mut self, slot: u32, now: Now) {
        let ticket = self.messages.ticket(slot);
        let message = self.messages.get(slot);
        let (vendor, bytes, priority) = (message.vendor, message.pdu.len(), message.carried.facts.priority);
        self.lanes[vendor.index()].push_front(ticket, priority, bytes);
        self.mark_queued(slot, now);
    }

    fn mark_queued(&mut self, slot: u32, now: Now) {
        let message = self.messages.get_mut(slot);
        message.state = MessageState::Queued;
        let mut due = message.carried.deadline;
        let longest = self.snapshot.vendors[message.vendor.index()].settings.queue_seconds;
        if longest != 0 {
            due = due.min(now.mono.after_ms(u64::from(longest) * 1000));
        }
        self.messages.set_due(slot, due);
    }

    /// Sends what waits in a lane, as far as windows and limits allow.
    pub(super) fn pump_lane(&mut self, vendor: VendorId, now: Now, out: &mut Output) {
        while self.ledger.is_none() || !self.refusing {
            let lane = &self.lanes[vendor.index()];
            if lane.counters.queued == 0 || lane.paused_until > now.mono {
                break;
            }
            let Some(link) = self.free_link(vendor, out) else { break };
            let lane = &mut self.lanes[vendor.index()];
            if !lane.limit.take(LimitKey::Vendor(vendor), &mut self.leasing, now.mono) {
                let again = lane.limit.next_at(&self.leasing, now.mono);
                self.lane_timers.hasten(vendor.index(), again);
                break;
            }
            let Some(slot) = self.pop_queued(vendor) else { break };
            if self.messages.get(slot).carried.is_doubtful && self.end_if_settled(slot, now, out) {
                continue;
            }
            self.transmit(link, slot, now, out);
        }
        self.refresh_view(vendor);
    }

    fn pop_queued(&mut self, vendor: VendorId) -> Option<u32> {
        loop {
            let Ticket { slot, generation } = self.lanes[vendor.index()].pop()?;
            if self.messages.is_queued(Ticket { slot, generation }) {
                let message = self.messages.get(slot);
                self.lanes[vendor.index()].count_out(message.carried.facts.priority, message.pdu.len());
                return Some(slot);
            }
        }
    }

    /// Takes a message out of its queue that is not to wait there any longer; its ticket stays behind and is skipped.
    pub(super) fn unqueue(&mut self, slot: u32) {
        let message = self.messages.get_mut(slot);
        debug_assert_eq!(message.state, MessageState::Queued);
        message.state = MessageState::Retrying;
        message.generation = message.generation.wrapping_add(1);
        let (vendor, bytes, priority) = (message.vendor, message.pdu.len(), message.carried.facts.priority);
        let lane = &mut self.lanes[vendor.index()];
        lane.count_out(priority, bytes);
        let messages = &self.messages;
        lane.sweep(|ticket| !messages.is_queued(ticket));
    }

    #[inline]
    fn free_link(&mut self, vendor: VendorId, out: &Output) -> Option<LinkId> {
        let links = &self.links;
        self.lanes[vendor.index()].pick_link(LINK_RUN, |link| {
            let link = &links[link.index()];
            link.can_take() && link.conn.is_some_and(|conn| out.queued_bytes(conn) < LINK_OUTPUT_BYTES_MAX)
        })
    }

    /// Writes the message to a link that has room for it.
    #[inline]
    fn transmit(&mut self, link_id: LinkId, slot: u32, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        let Some(conn) = link.conn else { return };
        let sequence = link.window.open_request(slot, link.window_size);
        if !self.late.is_empty() {
            self.late.forget(link_id, sequence);
        }
        let message = self.messages.get_mut(slot);
        message.state = MessageState::InFlight(link_id, sequence);
        message.attempts += 1;
        if message.carried.facts.valid_until != Time::NEVER {
            shorten_validity(message, now);
        }
        let vendor = &self.snapshot.vendors[message.vendor.index()];
        let customer = &self.snapshot.customers[message.carried.customer.index()];
        let forced = customer.settings.force_source_address.as_deref();
        let buffer = out.buffer(conn);
        let start = buffer.len();
        if vendor.rewrites || message.carried.facts.is_untidy || forced.is_some() {
            let reference = message.carried.id.0 as u16;
            message.parts = super::rewrite::submit_sm(buffer, &message.pdu, vendor, forced, message.part, reference);
        } else {
            buffer.extend_from_slice(&message.pdu);
            if vendor.always_receipts() {
                let asked = message.carried.facts.registered_delivery;
                buffer[start + usize::from(message.carried.facts.registered_at)] = vendor.registered_delivery(asked);
            }
        }
        // command_status is 0 in a request, whatever the customer put there; then our sequence_number.
        buffer[start + 8..start + 12].fill(0);
        buffer[start + 12..start + HEADER_LENGTH].copy_from_slice(&sequence.to_be_bytes());
        let due = now.mono.after_ms(vendor.settings.response_timeout_ms);
        let lane = &mut self.lanes[message.vendor.index()];
        lane.counters.submits += 1;
        lane.counters.routed_ms += now.unix_ms.saturating_sub(message.carried.id.unix_ms());
        lane.counters.in_flight += 1;
        lane.counters.possible_duplicates += u64::from(message.carried.is_doubtful);
        message.epoch = lane.took_off();
        self.messages.set_due(slot, due);
    }

    /// Tells every shard, this one included, when a vendor comes up or goes down, or its queue fills or empties.
    #[inline]
    pub(super) fn refresh_view(&mut self, vendor: VendorId) {
        let lane = &self.lanes[vendor.index()];
        let view = self.views[vendor.index()];
        let is_full = lane.looks_full(view.is_full);
        let is_up = lane.submitting > 0;
        if view.is_full != is_full || view.is_up != is_up {
            self.change_view(vendor, is_up, is_full);
        }
    }

    #[cold]
    fn change_view(&mut self, vendor: VendorId, is_up: bool, is_full: bool) {
        self.views[vendor.index()] = super::VendorView { is_up, is_full };
        for shard in (0..self.rings.shards() as u16).map(ShardId).filter(|shard| *shard != self.id) {
            self.rings.send(shard, &Record::VendorView { vendor, is_up, is_full });
        }
    }

    /// Whether receipts and MO may come over a link.
    pub(super) fn is_link_bound(&self, link: LinkId) -> bool {
        matches!(self.links[link.index()].state, LinkState::Bound | LinkState::Retiring)
    }
}

/// A relative validity_period (section 7.1.1) counts from when its vendor takes the message: what has passed here is taken off.
#[cold]
fn shorten_validity(message: &mut Message, now: Now) {
    let facts = &message.carried.facts;
    if now.unix_ms.saturating_sub(message.carried.id.unix_ms()) < VALIDITY_STEP_MS {
        return;
    }
    // It is the field before registered_delivery, and ends with a NUL.
    let end = usize::from(facts.registered_at).saturating_sub(1);
    let left_ms = facts.valid_until.millis_since(now.mono).max(1);
    if let Some(text) = message.pdu.get_mut(end.saturating_sub(TIME_LENGTH)..end)
        && text.last() == Some(&b'R')
    {
        text.copy_from_slice(&SmppTime::relative(left_ms).format());
    }
}
