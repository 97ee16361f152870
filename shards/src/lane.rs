//! What a shard keeps of one vendor: its queue with bounds, its limit, its links, its counters.

use std::collections::VecDeque;

use crate::bounds::{ALERT_FAILURES, THROTTLE_PAUSE_MS_MAX, THROTTLE_PAUSE_MS_MIN};
use crate::early::EarlyReceipts;
use crate::lease::Limit;
use crate::names::LinkId;
use crate::report::VendorCounters;
use crate::settings::VendorSettings;
use crate::time::Time;

/// The number of priority_flag values (SMPP 3.4 section 5.2.14).
pub(crate) const PRIORITIES: usize = 4;

/// A message slot with the generation that was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A vendor at home on this shard.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) links: Vec<LinkId>,
    pub(crate) counters: VendorCounters,
    pub(crate) limit: Limit,
    /// Nothing is sent before that: the vendor throttled us.
    pub(crate) paused_until: Time,
    pub(crate) alerted: bool,
    /// The vendor is not used: not active, removed, or not known to every shard yet.
    pub(crate) is_off: bool,
    /// Links that are bound and can submit.
    pub(crate) submitting: u32,
    pub(crate) early: EarlyReceipts,
    /// Unanswered submits of the present epoch and of the one before it.
    flights: [u32; 2],
    epoch: u8,
    queues: [VecDeque<Ticket>; PRIORITIES],
    /// By priority: how many of the queue's front the present round has still to look at, see [`Lane::begin_round`].
    round: [usize; PRIORITIES],
    queue_messages: u32,
    queue_bytes: u64,
    pause_ms: u64,
    turn: usize,
    run: u32,
}

impl Lane {
    pub(crate) fn new(settings: &VendorSettings, now: Time) -> Self {
        Self {
            links: Vec::new(),
            counters: VendorCounters::default(),
            limit: Limit::new(settings.throughput, settings.burst, now),
            paused_until: Time::default(),
            alerted: false,
            is_off: false,
            submitting: 0,
            early: EarlyReceipts::new(),
            flights: [0; 2],
            epoch: 0,
            queues: Default::default(),
            round: [0; PRIORITIES],
            queue_messages: settings.queue_messages,
            queue_bytes: settings.queue_bytes,
            pause_ms: THROTTLE_PAUSE_MS_MIN,
            turn: 0,
            run: 0,
        }
    }

    /// One that is not used yet.
    pub(crate) fn unused(settings: &VendorSettings, now: Time) -> Self {
        Self { is_off: true, ..Self::new(settings, now) }
    }

    /// Limits and bounds change; what there is stays.
    pub(crate) fn reshape(&mut self, settings: &VendorSettings, now: Time) {
        self.limit.reshape(settings.throughput, settings.burst, now);
        self.queue_messages = settings.queue_messages;
        self.queue_bytes = settings.queue_bytes;
    }

    /// Forgets a link that is no more.
    pub(crate) fn remove_link(&mut self, link: LinkId) {
        self.links.retain(|other| *other != link);
        self.turn = 0;
        self.run = 0;
    }

    /// A link is bound, so many binds of which were refused or dropped in a row: those go on counting until this one has
    /// stood for a while.
    pub(crate) const fn bound_after(&mut self, refusals: u32) {
        self.counters.failures_in_a_row = refusals;
        self.alerted &= refusals >= ALERT_FAILURES;
    }

    /// Whether a message of that many octets may wait here.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.counters.queued < self.queue_messages && self.counters.queued_bytes + bytes as u64 <= self.queue_bytes
    }

    /// Full for those who choose a vendor: told at the bound, and taken back when a tenth is free again.
    pub(crate) fn looks_full(&self, looked_full: bool) -> bool {
        let (messages, bytes) = (u64::from(self.counters.queued), self.counters.queued_bytes);
        if looked_full {
            messages * 10 > u64::from(self.queue_messages) * 9 || bytes / 9 > self.queue_bytes / 10
        } else {
            messages >= u64::from(self.queue_messages) || bytes >= self.queue_bytes
        }
    }

    pub(crate) fn push_back(&mut self, ticket: Ticket, priority: u8, bytes: usize) {
        self.queues[usize::from(priority) % PRIORITIES].push_back(ticket);
        self.count_in(priority, bytes);
    }

    pub(crate) fn push_front(&mut self, ticket: Ticket, priority: u8, bytes: usize) {
        self.queues[usize::from(priority) % PRIORITIES].push_front(ticket);
        self.count_in(priority, bytes);
    }

    /// The next message, highest priority first, oldest first within one. The caller skips tickets whose message has
    /// gone, and tells [`Lane::count_out`] of those that have not.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Ticket> {
        self.queues.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// Begins a round through all that waits now: each is taken out once, and may be put back behind it.
    pub(crate) fn begin_round(&mut self) {
        for (left, queue) in self.round.iter_mut().zip(&self.queues) {
            *left = queue.len();
        }
    }

    /// The next one of the round, as [`Lane::pop`] gives them.
    pub(crate) fn pop_of_round(&mut self) -> Option<Ticket> {
        let priority = (0..PRIORITIES).rev().find(|priority| self.round[*priority] > 0)?;
        self.round[priority] -= 1;
        // Those that were swept away meanwhile end the round early.
        let ticket = self.queues[priority].pop_front();
        if ticket.is_none() {
            self.round[priority] = 0;
            return self.pop_of_round();
        }
        ticket
    }

    /// Drops tickets from the fronts while `is_gone` says so, that a queue which nothing is taken from does not
    /// grow with messages that have expired.
    pub(crate) fn sweep(&mut self, is_gone: impl Fn(Ticket) -> bool) {
        for queue in &mut self.queues {
            while queue.front().is_some_and(|ticket| is_gone(*ticket)) {
                queue.pop_front();
            }
        }
    }

    fn count_in(&mut self, priority: u8, bytes: usize) {
        self.counters.queued += 1;
        self.counters.queued_by_priority[usize::from(priority) % PRIORITIES] += 1;
        self.counters.queued_bytes += bytes as u64;
    }

    #[inline]
    pub(crate) fn count_out(&mut self, priority: u8, bytes: usize) {
        self.counters.queued -= 1;
        self.counters.queued_by_priority[usize::from(priority) % PRIORITIES] -= 1;
        self.counters.queued_bytes -= bytes as u64;
    }

    /// A submit has been sent: the epoch it belongs to, for [`Lane::landed`].
    #[inline]
    pub(crate) fn took_off(&mut self) -> u8 {
        self.flights[usize::from(self.epoch)] += 1;
        self.epoch
    }

    /// A submit of that epoch has been answered, or its outcome is unknown. `true` when no receipt that waits for that
    /// epoch can match any more: see [`Lane::end_epoch`].
    #[inline]
    pub(crate) fn landed(&mut self, epoch: u8) -> bool {
        let flights = &mut self.flights[usize::from(epoch)];
        *flights -= 1;
        *flights == 0 && epoch != self.epoch && !self.early.is_empty()
    }

    /// The epoch that an early receipt waits for: it can only belong to a submit that is unanswered now. The next
    /// submits belong to another epoch, if the one before is through.
    pub(crate) fn epoch_to_wait_for(&mut self) -> Option<u8> {
        let present = self.epoch;
        (self.flights[usize::from(1 - present)] == 0).then(|| {
            self.epoch = 1 - present;
            present
        })
    }

    /// After an epoch is through: receipts that came later begin to wait for the present one. Tells whether that one
    /// is through already.
    pub(crate) fn next_epoch(&mut self) -> bool {
        if self.early.iter().all(|early| early.epoch.is_some()) {
            return false;
        }
        let Some(epoch) = self.epoch_to_wait_for() else { return false };
        self.early.iter_mut().filter(|early| early.epoch.is_none()).for_each(|early| early.epoch = Some(epoch));
        self.flights[usize::from(epoch)] == 0
    }

    /// Rests after a throttle, longer each time it comes again without an ESME_ROK between.
    pub(crate) fn pause(&mut self, now: Time) -> Time {
        if self.paused_until <= now {
            self.paused_until = now.after_ms(self.pause_ms);
            self.pause_ms = (self.pause_ms * 2).min(THROTTLE_PAUSE_MS_MAX);
        }
        self.paused_until
    }

    /// The vendor takes messages again.
    #[inline]
    pub(crate) fn unpause(&mut self) {
        self.pause_ms = THROTTLE_PAUSE_MS_MIN;
    }

    /// The links in the order in which they are to be asked; a link that has had its run goes to the end.
    #[inline]
    pub(crate) fn pick_link(&mut self, run_max: u32, mut can_take: impl FnMut(LinkId) -> bool) -> Option<LinkId> {
        let count = self.links.len();
        if count == 0 {
            return None;
        }
        if self.run >= run_max {
            self.run = 0;
            self.turn = (self.turn + 1) % count;
        }
        for _ in 0..count {
            let link = self.links[self.turn % count];
            if can_take(link) {
                self.run += 1;
                return Some(link);
            }
            self.run = 0;
            self.turn = (self.turn + 1) % count;
        }
        None
    }
}
