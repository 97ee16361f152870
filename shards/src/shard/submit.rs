//! submit_sm from a customer: every check that refuses, then the route. Order as in spec.md, "Routing and checks".

use smpp_pdu::{CommandId, CommandStatus, Header, ShortMessage, encode};

use super::journal::Accepting;
use super::{Role, Shard};
use crate::facts::Facts;
use crate::kept::KeptRef;
use crate::names::{Conn, CustomerId};
use crate::output::Output;
use crate::session::SessionState;
use crate::time::Now;
use crate::tried::Tried;
use crate::wire::{Carried, Origin, Submit};

impl Shard {
    #[inline]
    pub(super) fn submit(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        if let Err((customer, status)) = self.try_submit(conn, header, pdu, now, out) {
            let counters = &mut self.desks[customer.index()].counters;
            counters.submits += 1;
            counters.submits_failed += 1;
            encode::header_only(out.buffer(conn), CommandId::SUBMIT_SM_RESP, status, header.sequence_number);
        }
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
        let journal_refusal = self.journal_refusal();
        let connection = &mut self.connections[conn.index()];
        let Role::Session(session) = &mut connection.role else { return Ok(()) };
        let id = session.customer;
        let statuses = &self.snapshot.statuses;
        let refuse = |status| Err((id, status));
        let is_unbound_by_stop = session.state == SessionState::Unbinding && self.refusing;
        if !session.can_submit() || session.state != SessionState::Bound && !is_unbound_by_stop {
            return refuse(CommandStatus::ESME_RINVBNDSTS);
        }
        if self.refusing {
            return refuse(statuses.unavailable);
        }
        if let Some(status) = journal_refusal {
            return refuse(status);
        }
        let desk = &mut self.desks[id.index()];
        if session.unanswered >= session.window {
            desk.counters.throttled_window += 1;
            return refuse(statuses.throttled);
        }
        let message = match ShortMessage::decode(pdu) {
            Ok(message) => message,
            Err(error) => return refuse(error.status()),
        };
        let facts = match Facts::read(&message, statuses, now) {
            Ok(facts) => facts,
            Err(status) => return refuse(status),
        };
        let customer = &self.snapshot.customers[id.index()];
        if !customer.sources.allows(message.source.addr) {
            return refuse(statuses.source_not_allowed);
        }
        if !desk.bucket.take(now.mono) {
            desk.counters.throttled_rate += 1;
            return refuse(statuses.throttled);
        }
        let source = match &customer.settings.force_source_address {
            Some(forced) => forced.as_bytes(),
            None => message.source.addr,
        };
        let random = &mut self.random;
        let candidates = self.snapshot.routes.candidates(id, source, message.dest.addr, || random.next_u32());
        if candidates.as_slice().is_empty() {
            return refuse(statuses.no_route);
        }
        let no_room = statuses.queue_full;
        session.unanswered += 1;
        let style = session.style;
        let conn_generation = connection.generation;
        let Some(vendor) = self.choose(candidates.as_slice(), &Tried::default(), pdu.len()) else {
            self.session_mut(conn).into_iter().for_each(|session| session.unanswered -= 1);
            return refuse(no_room);
        };
        self.desks[id.index()].counters.submits += 1;
        let message_id = self.ids.next(now.unix_ms);
        let longest_ms = match self.ledger {
            None => self.snapshot.gateway.relay_deadline_ms,
            Some(_) => self.snapshot.gateway.validity_ms(),
        };
        let deadline = now.mono.after_ms(longest_ms).min(facts.valid_until);
        let sequence = header.sequence_number;
        let accepting = Accepting { conn, conn_generation, sequence, customer: id, id: message_id, style, pdu };
        let kept = self.keep(&accepting, deadline, now).unwrap_or(KeptRef::NONE);
        let origin = Origin { shard: self.id, via: self.id, slot: conn.0, generation: conn_generation, sequence, kept };
        let carried = Carried {
            origin,
            id: message_id,
            style,
            customer: id,
            customer_home: self.id,
            deadline,
            refusal: CommandStatus::ESME_ROK,
            tried: Tried::default(),
            facts,
        };
        self.place(Submit { vendor, carried, pdu }, now, out);
        Ok(())
    }
}
