//! Journal mode on the customer's home shard: what is accepted is kept until it has reached its end, and the customer is
//! answered when it is on disk.

use core::time::Duration;

use smpp_pdu::{CommandStatus, MessageState as Final};

use super::ahead::AHEAD;
use super::{Role, Shard};
use crate::amount::Amount;
use crate::bounds::OVERDUE_PER_TURN;
use crate::deliveries::{DeliveryState, expiry};
use crate::event::Event;
use crate::journal::{Accepted, Batch, Delivered, Done, Entry, How, LogName, Receipt, Sent};
use crate::kept::{Kept, KeptRef, KeptState};
use crate::lane::Ticket;
use crate::ledger::{Ledger, LedgerBounds};
use crate::message_id::{IdStyle, MessageId};
use crate::names::{Conn, CustomerId};
use crate::output::{Action, Output};
use crate::pending::Pending;
use crate::time::{Now, Time};
use crate::wire::{Deliver, DeliveryOrigin, NOT_AWAITED, SubmitAnswer};

/// A shard's journal as its host has prepared it.
#[derive(Clone, Copy, Debug)]
pub struct JournalSetup {
    /// Which log this shard writes.
    pub log: LogName,
    /// Octets of one segment, a multiple of [`crate::journal::BLOCK`] and at least
    /// [`crate::bounds::JOURNAL_SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// Octets of all segments of this shard; beyond it new messages are refused.
    pub bytes_max: u64,
    /// Microseconds for which less than 8 KiB of records wait for more, at the most; 0 for not at all.
    pub commit_wait_us: u32,
}

impl JournalSetup {
    pub(super) fn ledger(self) -> Ledger {
        let commit_wait = Duration::from_micros(self.commit_wait_us.into());
        let (segment_bytes, bytes_max) = (self.segment_bytes, self.bytes_max);
        Ledger::new(self.log, LedgerBounds { segment_bytes, bytes_max, commit_wait })
    }
}

/// A session's message that is about to be accepted.
pub(super) struct Accepting<'a> {
    pub(super) conn: Conn,
    pub(super) conn_generation: u32,
    pub(super) sequence: u32,
    pub(super) customer: CustomerId,
    pub(super) id: MessageId,
    pub(super) style: IdStyle,
    pub(super) pdu: &'a [u8],
}

impl Shard {
    /// The host's side, once a turn: what is to be written to the journal next; `None` when there is nothing, or the host has
    /// enough. It writes one batch after the other, in the order in which it was given them, and tells what came of each with
    /// [`Shard::batch_written`] or [`Shard::batch_failed`]; it is given one more while it writes.
    #[inline]
    pub fn take_batch(&mut self, now: Now) -> Option<Batch> {
        self.ledger.as_mut().and_then(|ledger| ledger.take(now.mono))
    }

    /// Whether there are records that are in none of the host's batches. One that it has not begun is better given back
    /// ([`Shard::give_back_batch`]) then, and taken anew.
    #[inline]
    pub fn has_more_records(&self) -> bool {
        self.ledger.as_ref().is_some_and(Ledger::has_more)
    }

    /// The host parts with the batch that it was given last, which it has not begun.
    pub fn give_back_batch(&mut self, batch: Batch) {
        if let Some(ledger) = &mut self.ledger {
            ledger.give_back(batch);
        }
    }

    /// The batch is on stable storage: customers get their answers, vendors theirs to receipts.
    pub fn batch_written(&mut self, batch: Batch, now: Now, out: &mut Output) {
        let Some(ledger) = &mut self.ledger else { return };
        let was_failing = ledger.is_failing();
        ledger.written(&batch);
        if was_failing && !ledger.is_short() {
            out.push(Action::Log(Event::JournalWorks));
        }
        for some in batch.pending.chunks(AHEAD) {
            self.look_at_kept(some.iter().filter_map(Pending::message));
            self.look_at_deliveries(some.iter().filter_map(Pending::delivery));
            for pending in some {
                self.committed(*pending, batch.segment(), now, out);
            }
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.recycle(batch);
        }
        self.free_segments(out);
    }

    /// Something whose record is in the batch is on stable storage.
    #[inline]
    fn committed(&mut self, pending: Pending, segment: u32, now: Now, out: &mut Output) {
        match pending {
            Pending::Message(meant) => self.message_committed(meant, segment, now, out),
            Pending::Sent(meant) => self.sent_committed(meant, segment, now),
            Pending::Delivery(ticket) => self.delivery_committed(ticket, segment, out),
        }
    }

    fn delivery_committed(&mut self, ticket: Ticket, segment: u32, out: &mut Output) {
        if !self.deliveries.is_open(ticket) {
            return;
        }
        let delivery = self.deliveries.get_mut(ticket.slot);
        let (before, ends) = (delivery.segment.replace(segment), delivery.ends());
        self.recount(before, segment);
        if let Some(message) = self.kept.find(ends) {
            message.is_final_safe = true;
        }
        self.acknowledge(ticket.slot, CommandStatus::ESME_ROK, out);
    }

    /// The batch could not be written, or nobody knows how much of it was. Nothing of it is acknowledged; it is given out
    /// again, for another segment. The batch after it, where the host has one, is given back first.
    pub fn batch_failed(&mut self, batch: Batch, reason: &str, now: Now, out: &mut Output) {
        let Some(ledger) = &mut self.ledger else { return };
        if !ledger.is_in_trouble() {
            out.push(Action::Log(Event::JournalFails { reason: reason.to_owned() }));
        }
        ledger.failed(batch, now.mono);
    }

    /// The file of a segment to come cannot be made, and why: what room there is is left to what was accepted before, and
    /// what is new is refused. `None` when it could be made after all.
    pub fn journal_short(&mut self, reason: Option<&str>, out: &mut Output) {
        let Some(ledger) = &mut self.ledger else { return };
        if ledger.set_short(reason.is_some()) && !ledger.is_failing() {
            out.push(Action::Log(match reason {
                Some(reason) => Event::JournalFails { reason: reason.to_owned() },
                None => Event::JournalWorks,
            }));
        }
    }

    /// There is nowhere to write a batch to: what is new is refused until one is written again.
    pub fn journal_stalled(&mut self, reason: &str, out: &mut Output) {
        let Some(ledger) = &mut self.ledger else { return };
        if !ledger.is_in_trouble() {
            out.push(Action::Log(Event::JournalFails { reason: reason.to_owned() }));
        }
        ledger.stall();
    }

    /// Why no message can be accepted now, apart from what it says; `None` where nothing stands against it.
    #[inline]
    pub(super) fn journal_refusal(&self) -> Option<CommandStatus> {
        let ledger = self.ledger.as_ref()?;
        if !ledger.has_room() {
            return Some(self.snapshot.statuses.unavailable);
        }
        let is_full = self.kept.open() >= self.snapshot.gateway.messages_kept as usize;
        is_full.then_some(self.snapshot.statuses.queue_full)
    }

    /// Begins to keep a message; nothing where the answer is the vendor's.
    #[inline]
    pub(super) fn keep(&mut self, accepting: &Accepting<'_>, until: Time, now: Now) -> Option<KeptRef> {
        let ledger = self.ledger.as_mut()?;
        let number = ledger.number();
        let meant = self.kept.begin(Kept {
            style: accepting.style,
            customer: accepting.customer,
            conn: accepting.conn,
            conn_generation: accepting.conn_generation,
            sequence: accepting.sequence,
            number,
            id: accepting.id,
            ..Kept::default()
        })?;
        let customer = &self.snapshot.customers[accepting.customer.index()];
        let entry = Entry::Accepted(Accepted {
            number,
            id: accepting.id,
            style: accepting.style,
            accepted_unix_ms: now.unix_ms,
            expires_unix_ms: now.unix_ms + until.millis_since(now.mono),
            customer: customer.settings.smpp_system_id.as_bytes(),
            pdu: accepting.pdu,
        });
        ledger.begin(&entry, Pending::Message(meant));
        Some(meant)
    }

    fn message_committed(&mut self, meant: KeptRef, segment: u32, now: Now, out: &mut Output) {
        let Some(kept) = self.kept.find(meant) else { return };
        if kept.is_over_when_committed() {
            let (conn, generation, sequence) = (kept.conn, kept.conn_generation, kept.sequence);
            let (id, style, status, cost) = (kept.id, kept.style, CommandStatus::ESME_ROK, Amount::default());
            self.kept.end(meant);
            self.ledger.iter_mut().for_each(|ledger| ledger.segments().count_over(segment));
            self.answer_session(conn, generation, sequence, status, id, style, cost, now, out);
            return;
        }
        kept.is_committed = true;
        let before = kept.segment.replace(segment);
        let is_told = core::mem::replace(&mut kept.is_answered, true);
        self.recount(before, segment);
        if !is_told {
            self.answer_kept(meant, CommandStatus::ESME_ROK, now, out);
        }
        self.end_if_through(meant, out);
    }

    /// From now on its receipt is awaited, if it has not come by now: those that are that quick need no place among the awaited.
    fn sent_committed(&mut self, meant: KeptRef, segment: u32, now: Now) {
        if let Some(kept) = self.kept.find(meant) {
            let before = kept.sent_segment.replace(segment);
            if kept.state == KeptState::Sent {
                self.kept.await_receipt(meant, now.mono.after_ms(self.snapshot.gateway.validity_ms()));
            }
            self.recount(before, segment);
        }
    }

    fn answer_kept(&mut self, meant: KeptRef, status: CommandStatus, now: Now, out: &mut Output) {
        let Some(kept) = self.kept.find(meant) else { return };
        let (conn, generation, sequence) = (kept.conn, kept.conn_generation, kept.sequence);
        let (id, style, receipt) = (kept.id, kept.style, kept.receipt.take());
        // Its cost counts when a vendor has it.
        self.answer_session(conn, generation, sequence, status, id, style, Amount::default(), now, out);
        if let Some(slot) = receipt {
            self.told(meant, slot, now, out);
        }
    }

    /// The vendors' final answer to a kept message.
    pub(super) fn kept_answered(&mut self, answer: &SubmitAnswer<'_>, now: Now, out: &mut Output) {
        let meant = answer.origin.kept;
        let Some(ledger) = &mut self.ledger else { return };
        let Some(kept) = self.kept.find(meant) else { return };
        // Of one that a vendor has, that is: its end has come, and the customer does not want to hear of it.
        let is_end = kept.state == KeptState::Sent && answer.origin.is_end();
        if kept.state != KeptState::Open && !is_end {
            return;
        }
        let number = kept.number;
        if answer.status.is_ok() {
            // While nothing can be written, that a vendor has it is as safe as it gets.
            let counters = &mut self.desks[kept.customer.index()].counters;
            counters.cost = counters.cost.plus(answer.cost);
            let is_told = ledger.is_failing() && !core::mem::replace(&mut kept.is_answered, true);
            if answer.octets.is_empty() {
                kept.state = KeptState::Through;
                ledger.append(&Entry::Done(Done { number, state: None }));
            } else {
                kept.state = KeptState::Sent;
                let sent = Sent {
                    number,
                    sent_unix_ms: now.unix_ms,
                    vendor: self.snapshot.vendors[answer.vendor.index()].settings.instance_name.as_bytes(),
                    vendor_message_id: answer.octets,
                };
                ledger.begin(&Entry::Sent(sent), Pending::Sent(meant));
            }
            if is_told {
                self.answer_kept(meant, CommandStatus::ESME_ROK, now, out);
            }
        } else if !core::mem::replace(&mut kept.is_answered, true) {
            kept.state = KeptState::Through;
            ledger.append(&Entry::Done(Done { number, state: Some(Final::Rejected) }));
            self.answer_kept(meant, answer.status, now, out);
        } else if answer.octets.is_empty() {
            kept.state = KeptState::Through;
            ledger.append(&Entry::Done(Done { number, state: Some(Final::Undeliverable) }));
        } else {
            // The customer has been told that we have it: now it is told that it failed.
            kept.state = KeptState::Sent;
            let customer = kept.customer;
            let origin = DeliveryOrigin { is_own: true, awaited: NOT_AWAITED, ..DeliveryOrigin::default() };
            let (vendor, pdu) = (answer.vendor, answer.octets);
            let (kept, is_final, has_version_5, is_double) = (meant, true, false, false);
            let deliver = Deliver { origin, vendor, customer, kept, is_final, has_version_5, is_double, pdu };
            self.deliver(&deliver, now, out);
        }
        self.end_if_through(meant, out);
    }

    /// Messages whose receipts never came have awaited them long enough: no more is known of them than that a vendor has
    /// them. At most so many a turn.
    pub(super) fn end_overdue(&mut self, now: Now, out: &mut Output) {
        for _ in 0..OVERDUE_PER_TURN {
            let Some(meant) = self.kept.next_overdue(now.mono) else { return };
            if let (Some(kept), Some(ledger)) = (self.kept.find(meant), &mut self.ledger) {
                kept.state = KeptState::Through;
                ledger.append(&Entry::Done(Done { number: kept.number, state: None }));
            }
            self.end_if_through(meant, out);
        }
    }

    #[inline]
    fn end_if_through(&mut self, meant: KeptRef, out: &mut Output) {
        if let Some(kept) = self.kept.find(meant)
            && kept.state == KeptState::Through
            && kept.is_answered
        {
            let (segment, sent_segment) = (kept.segment.get(), kept.sent_segment.get());
            self.kept.end(meant);
            self.discount(segment, out);
            self.discount(sent_segment, out);
        }
    }

    /// Begins to keep a receipt or MO, with which the message of that number ends (0 for none); `false` where its vendor keeps it
    /// until the customer has taken it.
    pub(super) fn keep_delivery(&mut self, slot: u32, deliver: &Deliver<'_>, message: u64, now: Now) -> bool {
        let must_be_kept = deliver.origin.is_own;
        let Some(ledger) = self.ledger.as_mut().filter(|ledger| must_be_kept || ledger.has_room()) else {
            return false;
        };
        let number = ledger.number();
        let kept_ms = self.snapshot.gateway.validity_ms();
        let customer = &self.snapshot.customers[deliver.customer.index()];
        let expires_unix_ms = now.unix_ms.saturating_add(kept_ms);
        let entry = Entry::Receipt(Receipt {
            number,
            message,
            is_final: message != 0,
            taken_unix_ms: now.unix_ms,
            expires_unix_ms,
            customer: customer.settings.smpp_system_id.as_bytes(),
            vendor: self
                .snapshot
                .vendors
                .get(deliver.vendor.index())
                .map_or(&b""[..], |vendor| vendor.settings.instance_name.as_bytes()),
            pdu: deliver.pdu,
        });
        ledger.begin(&entry, Pending::Delivery(self.deliveries.ticket(slot)));
        let delivery = self.deliveries.get_mut(slot);
        (delivery.number, delivery.expires_s) = (number, expiry(expires_unix_ms));
        self.deliveries.set_due(slot, now.mono.after_ms(kept_ms));
        true
    }

    /// A receipt or MO has come to its end here, and the message of a final receipt with it. One that is not kept and was
    /// not taken is its vendor's again.
    pub(super) fn delivery_ended(&mut self, slot: u32, how: How, out: &mut Output) {
        let delivery = self.deliveries.get_mut(slot);
        let (number, ends, segment) = (delivery.number, delivery.ends(), delivery.segment.take());
        delivery.number = 0;
        let Some(ledger) = self.ledger.as_mut().filter(|_| number != 0 || how != How::Expired) else {
            if let Some(message) = self.kept.find(ends) {
                message.has_final = false;
            }
            return;
        };
        let message = self.kept.find(ends).map_or(0, |message| {
            message.state = KeptState::Through;
            message.number
        });
        if number != 0 {
            ledger.append(&Entry::Delivered(Delivered { number, message, how }));
        } else if message != 0 {
            ledger.append(&Entry::Done(Done { number: message, state: None }));
        }
        self.end_if_through(ends, out);
        self.discount(segment, out);
    }

    /// What a customer's refusal of a kept receipt or MO means: `None` when it is to be given again later.
    pub(super) const fn end_of(status: CommandStatus) -> Option<How> {
        match status {
            CommandStatus::ESME_ROK => Some(How::Taken),
            CommandStatus::ESME_RX_T_APPN
            | CommandStatus::ESME_RMSGQFUL
            | CommandStatus::ESME_RTHROTTLED
            | CommandStatus::ESME_RSYSERR => None,
            _ => Some(How::Refused),
        }
    }

    /// A record stands in that segment now, and no longer where it stood before.
    fn recount(&mut self, before: Option<u32>, segment: u32) {
        if let Some(ledger) = &mut self.ledger {
            ledger.segments().count(segment);
            if let Some(before) = before {
                ledger.segments().discount(before);
            }
        }
    }

    /// Whether the disk is behind, so that what need not be written now waits.
    pub(super) fn is_journal_behind(&self) -> bool {
        self.ledger.as_ref().is_some_and(Ledger::is_behind)
    }

    fn discount(&mut self, segment: Option<u32>, out: &mut Output) {
        if let (Some(ledger), Some(segment)) = (&mut self.ledger, segment) {
            ledger.segments().discount(segment);
            self.free_segments(out);
        }
    }

    fn free_segments(&mut self, out: &mut Output) {
        if let Some(before) = self.ledger.as_mut().and_then(|ledger| ledger.segments().freed()) {
            out.push(Action::FreeSegments { before });
        }
    }

    /// Whether everything that a stop waits for in journal mode is through: what is at a vendor or at a customer, and
    /// the disk. What waits is safe.
    pub(super) fn is_journal_quiet(&self) -> bool {
        self.ledger.as_ref().is_none_or(Ledger::is_idle)
            && self.lanes.iter().all(|lane| lane.counters.in_flight == 0)
            && self.connections.iter().all(|connection| match &connection.role {
                Role::Session(session) => session.deliver.open() == 0 && session.unanswered == 0,
                _ => true,
            })
    }

    pub(super) fn is_kept(&self, slot: u32) -> bool {
        let delivery = self.deliveries.get(slot);
        delivery.number != 0 && delivery.state != DeliveryState::Free
    }
}
