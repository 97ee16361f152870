//! What the control thread asks: sessions listed and ended, vendors reconnected, messages taken in for a customer.
//!
//! Nothing of it lies on a message's way. A message of the control port passes the same checks as a customer's, is kept
//! and answered by the same code; only its answer goes to the control thread instead of a session.

use smpp_pdu::{CommandId, CommandStatus, Header, encode};

use super::submit::{Sender, Submitted};
use super::{Role, Shard};
use crate::amount::Amount;
use crate::bounds::{CONTROL_SUBMITS_MAX, SESSION_SLOTS_PER_LIST, SESSIONS_LISTED_MAX};
use crate::command::{Command, Reply, SessionFacts, SessionName};
use crate::event::EndReason;
use crate::link::LinkState;
use crate::message_id::{IdStyle, MessageId};
use crate::names::{Conn, CustomerId, LinkId, VendorId};
use crate::output::{Action, Output};
use crate::session::{Session, SessionState};
use crate::slab::Slab;
use crate::time::Now;

/// In place of a connection: the answer goes to the control thread. No host has that many connections.
pub(super) const CONTROL: Conn = Conn(u32::MAX - 1);

/// A message of the control port that waits for its answer.
#[derive(Debug, Default)]
struct Waiting {
    generation: u32,
    is_open: bool,
    ticket: u64,
    part: u16,
    customer: CustomerId,
}

/// The messages of the control port that wait for their answers.
#[derive(Debug)]
pub(super) struct ControlSubmits {
    slots: Slab<Waiting>,
}

impl ControlSubmits {
    pub(super) const fn new() -> Self {
        Self { slots: Slab::new(CONTROL_SUBMITS_MAX) }
    }

    /// The slot and its use, for an answer to find its way; `None` at the bound.
    fn begin(&mut self, ticket: u64, part: u16, customer: CustomerId) -> Option<(u32, u32)> {
        let slot = self.slots.allocate()?;
        let place = self.slots.get_mut(slot);
        let generation = place.generation;
        *place = Waiting { generation, is_open: true, ticket, part, customer };
        Some((slot, generation))
    }

    /// Ends one that is there.
    fn end(&mut self, slot: u32, generation: u32) -> Option<(u64, u16, CustomerId)> {
        if slot >= self.slots.slots() {
            return None;
        }
        let place = self.slots.get_mut(slot);
        if !place.is_open || place.generation != generation {
            return None;
        }
        place.is_open = false;
        place.generation = place.generation.wrapping_add(1);
        let (ticket, part, customer) = (place.ticket, place.part, place.customer);
        self.slots.free(slot);
        Some((ticket, part, customer))
    }
}

impl Shard {
    /// The control thread asks something. Each command is answered with [`Action::Reply`] under its ticket.
    pub fn command(&mut self, ticket: u64, command: Command, now: Now, out: &mut Output) {
        let reply = match command {
            Command::ListSessions { customer, from, limit } => self.list_sessions(customer, from, limit, now),
            Command::EndSession { session } => self.end_session(session, now, out),
            Command::Reconnect { vendor } => self.reconnect(vendor, now, out),
            Command::UsedLimits { limit } => Reply::UsedLimits(self.used_limits(limit, now)),
            Command::Lease(leases) => self.lease(&leases, now, out),
            Command::Submit { customer, parts } => {
                return self.submit_for_control(ticket, customer, &parts, now, out);
            }
        };
        out.push(Action::Reply { ticket, reply });
    }

    fn list_sessions(&self, customer: Option<CustomerId>, from: u32, limit: usize, now: Now) -> Reply {
        let limit = limit.clamp(1, SESSIONS_LISTED_MAX);
        let mut sessions = Vec::new();
        let end = self.connections.len().min(from as usize + SESSION_SLOTS_PER_LIST);
        for index in from as usize..end {
            let Role::Session(session) = &self.connections[index].role else { continue };
            if customer.is_some_and(|only| only != session.customer) {
                continue;
            }
            if sessions.len() == limit {
                return Reply::Sessions { sessions, next: Some(index as u32) };
            }
            let name = SessionName { conn: Conn(index as u32), generation: self.connections[index].generation };
            sessions.push(session_facts(name, session, now));
        }
        let next = (end < self.connections.len()).then_some(end as u32);
        Reply::Sessions { sessions, next }
    }

    fn end_session(&mut self, session: SessionName, now: Now, out: &mut Output) -> Reply {
        let is_there = self.session_named(session).is_some();
        if is_there {
            self.unbind_session(session.conn, now, out);
        }
        Reply::Ended(is_there)
    }

    fn reconnect(&mut self, vendor: VendorId, now: Now, out: &mut Output) -> Reply {
        let (mut unbound, mut hastened, mut busy) = (0, 0, 0);
        let links = self.lanes.get(vendor.index()).map(|lane| lane.links.clone()).unwrap_or_default();
        for link in links {
            match self.links[link.index()].state {
                LinkState::Bound => {
                    self.rebind(link, now, out);
                    unbound += 1;
                }
                LinkState::Waiting => {
                    let waiting = &mut self.links[link.index()];
                    (waiting.refusals, waiting.unreached) = (0, 0);
                    self.link_timers.set(link.index(), now.mono);
                    hastened += 1;
                }
                LinkState::Off => {}
                LinkState::Connecting
                | LinkState::Binding
                | LinkState::Leaving
                | LinkState::Retiring
                | LinkState::Unbinding => busy += 1,
            }
        }
        Reply::Reconnecting { unbound, hastened, busy }
    }

    /// Sends unbind over a bound link. Nothing more is submitted there; answers that are due may still come; then it closes
    /// and comes back.
    fn rebind(&mut self, link_id: LinkId, now: Now, out: &mut Output) {
        let link = &mut self.links[link_id.index()];
        let Some(conn) = link.conn else { return };
        let sequence = link.window.next_sequence();
        link.refusals = 0;
        encode::header_only(out.buffer(conn), CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
        self.leave_link(link_id, conn, EndReason::Ended, now, out);
    }

    fn submit_for_control(&mut self, ticket: u64, customer: CustomerId, parts: &[Vec<u8>], now: Now, out: &mut Output) {
        let mut refusal = None;
        for (part, pdu) in parts.iter().enumerate() {
            let part = part as u16;
            let result = match refusal {
                Some(status) => Err(status),
                None => self.submit_part(ticket, part, customer, pdu, now, out),
            };
            if let Err(status) = result {
                refusal = Some(status);
                out.push(Action::Reply { ticket, reply: Reply::Submitted { part, result: Err(status) } });
            }
        }
    }

    /// One part through a customer's checks. What is accepted is answered by [`Shard::answer_control`].
    fn submit_part(
        &mut self,
        ticket: u64,
        part: u16,
        customer: CustomerId,
        pdu: &[u8],
        now: Now,
        out: &mut Output,
    ) -> Result<(), CommandStatus> {
        let unavailable = self.snapshot.statuses.unavailable;
        if self.snapshot.customer(customer).is_none_or(|known| !known.is_active()) || Header::read(pdu).is_none() {
            return Err(unavailable);
        }
        let admitted = self.may_accept().and_then(|()| self.admit(customer, pdu, now));
        let waits = admitted.and_then(|admitted| {
            let queue_full = self.snapshot.statuses.queue_full;
            let waiting = self.control_submits.begin(ticket, part, customer).ok_or(queue_full)?;
            Ok((admitted, waiting))
        });
        let (admitted, (slot, generation)) = waits.inspect_err(|_| self.count_refusal(customer))?;
        let style = self.style_of(customer, 0x34);
        let sender = Sender { conn: CONTROL, generation, sequence: slot, style };
        self.take_on(Submitted { customer, pdu, admitted }, sender, now, out);
        Ok(())
    }

    /// The answer to a message of the control port. Unknown ones, of messages from before a restart, are passed over.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "they are those of the session's answer")]
    pub(super) fn answer_control(
        &mut self,
        generation: u32,
        slot: u32,
        status: CommandStatus,
        id: MessageId,
        style: IdStyle,
        cost: Amount,
        out: &mut Output,
    ) {
        let Some((ticket, part, customer)) = self.control_submits.end(slot, generation) else { return };
        let counters = &mut self.desks[customer.index()].counters;
        let result = if status.is_ok() {
            counters.submits_ok += 1;
            counters.cost = counters.cost.plus(cost);
            Ok((id, style))
        } else {
            counters.submits_failed += 1;
            Err(status)
        };
        out.push(Action::Reply { ticket, reply: Reply::Submitted { part, result } });
    }
}

fn session_facts(name: SessionName, session: &Session, now: Now) -> SessionFacts {
    SessionFacts {
        name,
        customer: session.customer,
        bind: session.command.name().unwrap_or_default(),
        interface_version: session.interface_version,
        peer: session.peer,
        state: match session.state {
            SessionState::Bound => "bound",
            SessionState::Leaving => "leaving",
            SessionState::Dismissed | SessionState::Unbinding => "unbinding",
        },
        bound_unix_ms: now.unix_ms.saturating_sub(now.mono.millis_since(session.bound_at)),
        silent_ms: now.mono.millis_since(session.last_received),
        unanswered: session.unanswered,
        window: session.window,
        deliveries_unanswered: session.deliver.open(),
        is_reading: session.is_reading,
    }
}
