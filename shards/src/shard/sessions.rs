//! A bound customer session: which PDU goes where, its timers, its end.

use smpp_pdu::{CommandId, CommandStatus, Header, encode};

use super::{Role, Shard};
use crate::bounds::{DELIVER_WINDOW_MAX, SESSION_TIMER_STEP_MS, UNBIND_MS_MAX};
use crate::event::{EndReason, Event};
use crate::names::{Conn, CustomerId, ShardId};
use crate::output::{Action, Output};
use crate::session::{Session, SessionState};
use crate::time::{Now, Time};
use crate::wire::Record;

impl Shard {
    #[inline]
    pub(super) fn session_pdu(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        match header.command_id {
            CommandId::SUBMIT_SM => self.submit(conn, header, pdu, now, out),
            CommandId::DELIVER_SM_RESP => {
                self.delivery_answered(conn, header.sequence_number, header.command_status, now, out);
            }
            _ => self.session_other(conn, header, now, out),
        }
    }

    #[cold]
    fn session_other(&mut self, conn: Conn, header: Header, now: Now, out: &mut Output) {
        let sequence = header.sequence_number;
        let answer = match header.command_id {
            CommandId::ENQUIRE_LINK => (CommandId::ENQUIRE_LINK_RESP, CommandStatus::ESME_ROK),
            CommandId::ENQUIRE_LINK_RESP => return,
            CommandId::UNBIND => return self.session_unbound(conn, sequence, now, out),
            CommandId::UNBIND_RESP => return self.unbind_answered(conn, now, out),
            CommandId::GENERIC_NACK => {
                // It counts as the answer to the request of that number, if there is one.
                let status = match header.command_status {
                    CommandStatus::ESME_ROK => CommandStatus::ESME_RUNKNOWNERR,
                    status => status,
                };
                return self.delivery_answered(conn, sequence, status, now, out);
            }
            CommandId::OUTBIND | CommandId::ALERT_NOTIFICATION => return,
            command if command.is_response() => return,
            command if command.is_bind() => (command.response(), CommandStatus::ESME_RALYBND),
            CommandId::DELIVER_SM => (CommandId::DELIVER_SM_RESP, CommandStatus::ESME_RINVBNDSTS),
            command if command.name().is_some() => (command.response(), CommandStatus::ESME_RINVCMDID),
            _ => (CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDID),
        };
        encode::header_only(out.buffer(conn), answer.0, answer.1, sequence);
    }

    /// The customer is at home here from now on; the other shards are told once.
    pub(super) fn open_desk(&mut self, customer: CustomerId, conn: Conn) {
        let desk = &mut self.desks[customer.index()];
        desk.sessions.push(conn);
        desk.counters.sessions += 1;
        desk.counters.binds += 1;
        if !desk.is_announced {
            desk.is_announced = true;
            self.homes[customer.index()] = Some(self.id);
            for shard in (0..self.rings.shards() as u16).map(ShardId).filter(|shard| *shard != self.id) {
                self.rings.send(shard, &Record::CustomerHome { customer });
            }
        }
    }

    /// unbind from the customer: answered at once; answers that are still due follow, then the connection closes.
    fn session_unbound(&mut self, conn: Conn, sequence: u32, now: Now, out: &mut Output) {
        encode::header_only(out.buffer(conn), CommandId::UNBIND_RESP, CommandStatus::ESME_ROK, sequence);
        let longest_ms = self.snapshot.gateway.relay_deadline_ms + UNBIND_MS_MAX;
        let Some(session) = self.session_mut(conn) else { return };
        if session.state == SessionState::Leaving {
            return;
        }
        session.state = SessionState::Leaving;
        session.until = now.mono.after_ms(longest_ms);
        let (customer, unanswered) = (session.customer, session.unanswered);
        self.leave_desk(customer, conn, out);
        if unanswered == 0 {
            self.hang_up(conn, EndReason::Unbound, now, out);
        } else {
            self.connection_timers.hasten(conn.index(), now.mono.after_ms(longest_ms));
        }
    }

    fn unbind_answered(&mut self, conn: Conn, now: Now, out: &mut Output) {
        if self.session_mut(conn).is_some_and(|session| session.state == SessionState::Unbinding) {
            let reason = self.unbind_reason(conn);
            self.hang_up(conn, reason, now, out);
        }
    }

    /// Why we unbind a session: the gateway stops, the configuration has its customer no more, or an operator wants it.
    fn unbind_reason(&mut self, conn: Conn) -> EndReason {
        if self.phase.is_some() {
            return EndReason::Draining;
        }
        let customer = self.session_mut(conn).map(|session| session.customer);
        match customer.and_then(|customer| self.snapshot.customer(customer)) {
            Some(customer) if customer.is_active() => EndReason::Ended,
            _ => EndReason::Removed,
        }
    }

    /// Sends unbind; the session closes when it is answered, or soon after.
    pub(super) fn unbind_session(&mut self, conn: Conn, now: Now, out: &mut Output) {
        let Some(session) = self.session_mut(conn) else { return };
        if session.state == SessionState::Unbinding {
            return;
        }
        session.state = SessionState::Unbinding;
        session.until = now.mono.after_ms(UNBIND_MS_MAX);
        let until = session.until;
        let sequence = session.deliver.next_sequence();
        encode::header_only(out.buffer(conn), CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
        self.connection_timers.hasten(conn.index(), until);
    }

    pub(super) fn leave_desk(&mut self, customer: CustomerId, conn: Conn, out: &mut Output) {
        let desk = &mut self.desks[customer.index()];
        if let Some(place) = desk.sessions.iter().position(|other| *other == conn) {
            desk.sessions.swap_remove(place);
            desk.counters.sessions -= 1;
            self.bind_over(customer, out);
        }
    }

    pub(super) fn session_ended(
        &mut self,
        conn: Conn,
        mut session: Session,
        reason: EndReason,
        now: Now,
        out: &mut Output,
    ) {
        self.session_count -= 1;
        self.leave_desk(session.customer, conn, out);
        let mut slots = Vec::new();
        session.deliver.close_all(&mut slots);
        self.return_deliveries(session.customer, &slots);
        let (customer, peer) = (session.customer, session.peer);
        self.log_noise(now, out, || Event::SessionClosed { customer, peer, reason });
        self.pump_deliveries(customer, now, out);
    }

    /// Sets the session's timer to the earliest thing that it may have to do.
    pub(super) fn session_timer(&mut self, conn: Conn, now: Now) {
        let gateway = &self.snapshot.gateway;
        let (enquire_ms, inactivity_ms) = (gateway.enquire_link_ms, gateway.inactivity_timeout_ms);
        let Some(session) = self.session_mut(conn) else { return };
        let mut due = session.until;
        if enquire_ms != 0 && !session.enquired {
            due = due.min(session.last_received.after_ms(enquire_ms));
        }
        if inactivity_ms != 0 {
            due = due.min(session.last_received.after_ms(inactivity_ms));
        }
        if enquire_ms != 0 && session.enquired {
            // Whether the answer has come shows at the next look.
            due = due.min(now.mono.after_ms(enquire_ms));
        }
        if due != Time::NEVER {
            due = due.max(now.mono.after_ms(SESSION_TIMER_STEP_MS));
        }
        self.connection_timers.set(conn.index(), due);
    }

    pub(super) fn session_due(&mut self, conn: Conn, now: Now, out: &mut Output) {
        let gateway = &self.snapshot.gateway;
        let (enquire_ms, inactivity_ms) = (gateway.enquire_link_ms, gateway.inactivity_timeout_ms);
        let Some(session) = self.session_mut(conn) else { return };
        let silent_ms = now.mono.millis_since(session.last_received);
        if session.until <= now.mono {
            match session.state {
                SessionState::Dismissed => self.unbind_session(conn, now, out),
                SessionState::Unbinding => {
                    let reason = self.unbind_reason(conn);
                    self.hang_up(conn, reason, now, out);
                }
                SessionState::Bound | SessionState::Leaving => self.hang_up(conn, EndReason::Unbound, now, out),
            }
            return;
        }
        // A session whose reading we stopped is not silent by its own fault; the host cuts off peers that take nothing.
        if inactivity_ms != 0 && silent_ms >= inactivity_ms && session.is_reading {
            let sequence = session.deliver.next_sequence();
            encode::header_only(out.buffer(conn), CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
            self.hang_up(conn, EndReason::Inactive, now, out);
            return;
        }
        if enquire_ms != 0 && silent_ms >= enquire_ms && !session.enquired {
            session.enquired = true;
            let sequence = session.deliver.next_sequence();
            encode::header_only(out.buffer(conn), CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence);
        }
        self.session_timer(conn, now);
    }

    /// Closes a session that has left and got its last answer; unbinds one that was dismissed and has got it.
    #[cold]
    pub(super) fn close_if_drained(&mut self, conn: Conn, now: Now, out: &mut Output) {
        let Some(session) = self.session_mut(conn).filter(|session| session.unanswered == 0) else { return };
        match session.state {
            SessionState::Leaving => self.hang_up(conn, EndReason::Unbound, now, out),
            SessionState::Dismissed => self.unbind_session(conn, now, out),
            SessionState::Bound | SessionState::Unbinding => {}
        }
    }

    /// How many deliver_sm one session may have open.
    pub(super) fn deliver_window(&self) -> u32 {
        self.snapshot.gateway.deliver_window.clamp(1, DELIVER_WINDOW_MAX / 2)
    }

    /// Closes everything that is still in the lobby, and sends unbind to every session.
    pub(super) fn unbind_customers(&mut self, now: Now, out: &mut Output) {
        for index in 0..self.connections.len() {
            let conn = Conn(index as u32);
            match &self.connections[index].role {
                Role::Session(_) => self.unbind_session(conn, now, out),
                Role::Lobby(_) => {
                    self.end_connection(conn, EndReason::Draining, now, out);
                    out.push(Action::Close { conn, after_flush: false });
                }
                Role::Link(_) | Role::Free => {}
            }
        }
    }
}
