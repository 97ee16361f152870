//! submit_sm from a customer: every check that refuses, then the route. Order as in spec.md, "Routing and checks".

use smpp_pdu::{CommandId, CommandStatus, Header, ShortMessage, encode};

use super::journal::Accepting;
use super::{Role, Shard};
use crate::amount::Amount;
use crate::facts::Facts;
use crate::kept::KeptRef;
use crate::lease::LimitKey;
use crate::message_id::IdStyle;
use crate::names::{Conn, CustomerId, VendorId};
use crate::output::Output;
use crate::session::SessionState;
use crate::time::Now;
use crate::tried::Tried;
use crate::wire::{Carried, Origin, Submit};

/// A message that has passed every check that refuses.
#[derive(Clone, Copy)]
pub(super) struct Admitted {
    /// Who gets it first, and what the rule asks that says so.
    vendor: VendorId,
    rate_per_msg: Amount,
    facts: Facts,
}

/// A message to be taken on, and whose it is.
pub(super) struct Submitted<'a> {
    pub(super) customer: CustomerId,
    pub(super) pdu: &'a [u8],
    pub(super) admitted: Admitted,
}

/// Who waits for a message's answer.
#[derive(Clone, Copy)]
pub(super) struct Sender {
    pub(super) conn: Conn,
    pub(super) generation: u32,
    pub(super) sequence: u32,
    pub(super) style: IdStyle,
}

impl Shard {
    #[inline]
    pub(super) fn submit(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        if let Err((customer, status)) = self.try_submit(conn, header, pdu, now, out) {
            self.count_refusal(customer);
            encode::header_only(out.buffer(conn), CommandId::SUBMIT_SM_RESP, status, header.sequence_number);
        }
    }

    pub(super) fn count_refusal(&mut self, customer: CustomerId) {
        let counters = &mut self.desks[customer.index()].counters;
        counters.submits += 1;
        counters.submits_failed += 1;
    }

    #[inline]
    fn try_submit(
        &mut self,
        conn: Conn,
        header: Header,
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) -> Result<(), (CustomerId, CommandStatus)> {
        let may_accept = self.may_accept();
        let connection = &mut self.connections[conn.index()];
        let Role::Session(session) = &mut connection.role else { return Ok(()) };
        let customer = session.customer;
        let refuse = |status| Err((customer, status));
        let is_unbound_by_stop = session.state == SessionState::Unbinding && self.refusing;
        if !session.can_submit() || session.state != SessionState::Bound && !is_unbound_by_stop {
            return refuse(CommandStatus::ESME_RINVBNDSTS);
        }
        if let Err(status) = may_accept {
            return refuse(status);
        }
        if session.unanswered >= session.window {
            self.desks[customer.index()].counters.throttled_window += 1;
            return refuse(self.snapshot.statuses.throttled);
        }
        session.unanswered += 1;
        let (style, generation) = (session.style, connection.generation);
        match self.admit(customer, pdu, now) {
            Ok(admitted) => {
                let sender = Sender { conn, generation, sequence: header.sequence_number, style };
                self.take_on(Submitted { customer, pdu, admitted }, sender, now, out);
                Ok(())
            }
            Err(status) => {
                self.session_mut(conn).into_iter().for_each(|session| session.unanswered -= 1);
                refuse(status)
            }
        }
    }

    /// Whether anything can be accepted now, whatever it says.
    #[inline]
    pub(super) fn may_accept(&self) -> Result<(), CommandStatus> {
        if self.refusing {
            return Err(self.snapshot.statuses.unavailable);
        }
        self.journal_refusal().map_or(Ok(()), Err)
    }

    /// Every check of the message itself, in the order of spec.md; nothing has been begun when one of them refuses.
    #[inline(always)]
    pub(super) fn admit(&mut self, id: CustomerId, pdu: &[u8], now: Now) -> Result<Admitted, CommandStatus> {
        let statuses = &self.snapshot.statuses;
        // Read where it was put: a copy made right after would wait for every one of its fields to be written.
        let decoded = ShortMessage::decode(pdu);
        let message = decoded.as_ref().map_err(|error| error.status())?;
        let facts = Facts::read(message, statuses, now)?;
        let customer = &self.snapshot.customers[id.index()];
        if !customer.sources.allows(message.source.addr) {
            return Err(statuses.source_not_allowed);
        }
        let desk = &mut self.desks[id.index()];
        if !desk.limit.take(LimitKey::Customer(id), &mut self.leasing, now.mono) {
            desk.counters.throttled_rate += 1;
            return Err(statuses.throttled);
        }
        let source = match &customer.settings.force_source_address {
            Some(forced) => forced.as_bytes(),
            None => message.source.addr,
        };
        let random = &mut self.random;
        let candidates = self.snapshot.routes.candidates(id, source, message.dest.addr, || random.next_u32());
        if candidates.as_slice().is_empty() {
            return Err(statuses.no_route);
        }
        match self.choose(candidates.as_slice(), &Tried::default(), pdu.len()) {
            Some(vendor) => {
                Ok(Admitted { vendor, rate_per_msg: self.snapshot.routes.rate_of(&candidates, vendor), facts })
            }
            None => Err(self.snapshot.statuses.queue_full),
        }
    }

    /// Takes a message on: keeps it where there is a journal, and gives it to its vendor.
    #[inline(always)]
    pub(super) fn take_on(&mut self, submitted: Submitted<'_>, sender: Sender, now: Now, out: &mut Output) {
        let Submitted { customer: id, pdu, admitted: Admitted { vendor, rate_per_msg, facts } } = submitted;
        let Sender { conn, generation: conn_generation, sequence, style } = sender;
        self.desks[id.index()].counters.submits += 1;
        let message_id = self.ids.next(now.unix_ms);
        let longest_ms = match self.ledger {
            None => self.snapshot.gateway.relay_deadline_ms,
            Some(_) => self.snapshot.gateway.validity_ms(),
        };
        let deadline = now.mono.after_ms(longest_ms).min(facts.valid_until);
        let accepting = Accepting { conn, conn_generation, sequence, customer: id, id: message_id, style, pdu };
        let kept = self.keep(&accepting, deadline, now).unwrap_or(KeptRef::NONE);
        let via = self.snapshot.vendors[vendor.index()].home;
        let origin = Origin { shard: self.id, via, slot: conn.0, generation: conn_generation, sequence, kept };
        // Put together where it is read: see `admit`.
        let carried = Carried {
            origin,
            id: message_id,
            style,
            customer: id,
            customer_home: self.id,
            deadline,
            refusal: CommandStatus::ESME_ROK,
            tried: Tried::default(),
            rate_per_msg,
            is_doubtful: false,
            facts,
        };
        let submit = Submit { vendor, carried, pdu };
        if kept != KeptRef::NONE {
            self.note_accepted(&submit.carried, pdu, now);
        }
        self.place(&submit, now, out);
    }
}
