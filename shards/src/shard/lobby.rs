//! From accept to a finished bind. A connection in the lobby is read one receive at a time and not at all while
//! its bind is being checked, so that nothing is in flight when it moves to its customer's home shard.

use std::net::{IpAddr, SocketAddr};

use smpp_pdu::bind::Bind;
use smpp_pdu::{CommandId, CommandStatus, Header, encode};

use super::{Role, Shard};
use crate::bounds::{CONNECTIONS_MAX, LOBBY_MAX, LOBBY_OUTPUT_BYTES_MAX};
use crate::event::{EndReason, Event};
use crate::names::{Conn, CustomerId};
use crate::output::{Action, AuthRequest, Output, ReadMode, Verdict};
use crate::session::{Session, SessionSeed};
use crate::time::{Now, Time};

/// A connection that is not bound yet.
pub(super) struct Lobby {
    peer: IpAddr,
    tls: bool,
    /// When the bind timer ends; a bind that is being checked is not cut off by it.
    until: Time,
    asking: Option<Asking>,
    /// A receive was asked for; not while its answers wait to be taken.
    is_reading: bool,
}

/// A bind that the control thread is checking.
struct Asking {
    ticket: u32,
    command: CommandId,
    sequence_number: u32,
    interface_version: u8,
    system_id: String,
}

impl Lobby {
    /// Whether the control thread has been asked and has not answered.
    pub(super) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }
}

impl Shard {
    pub(super) fn enter_lobby(&mut self, conn: Conn, peer: SocketAddr, tls: bool, now: Now, out: &mut Output) {
        let too_many = self.lobby_count >= LOBBY_MAX || conn.index() >= CONNECTIONS_MAX;
        if too_many || self.refusing {
            out.push(Action::Close { conn, after_flush: false });
            return;
        }
        let until = now.mono.after_ms(self.snapshot.gateway.bind_timeout_ms);
        let peer = peer.ip().to_canonical();
        self.occupy(conn, Role::Lobby(Box::new(Lobby { peer, tls, until, asking: None, is_reading: true })));
        self.lobby_count += 1;
        self.connection_timers.set(conn.index(), until);
        out.push(Action::Read { conn, mode: ReadMode::Once });
    }

    pub(super) fn lobby_pdu(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        let sequence = header.sequence_number;
        match header.command_id {
            command if command.is_bind() => self.ask_control(conn, header, pdu, now, out),
            CommandId::ENQUIRE_LINK => {
                let status = CommandStatus::ESME_ROK;
                encode::header_only(out.buffer(conn), CommandId::ENQUIRE_LINK_RESP, status, sequence);
            }
            CommandId::UNBIND => {
                let status = CommandStatus::ESME_ROK;
                encode::header_only(out.buffer(conn), CommandId::UNBIND_RESP, status, sequence);
                self.hang_up(conn, EndReason::Unbound, now, out);
            }
            // No answer belongs to these, nor to a response that nobody asked for.
            CommandId::OUTBIND | CommandId::ALERT_NOTIFICATION => {}
            command if command.is_response() => {}
            command if command.name().is_some() => {
                let status = CommandStatus::ESME_RINVBNDSTS;
                encode::header_only(out.buffer(conn), command.response(), status, sequence);
            }
            _ => {
                let status = CommandStatus::ESME_RINVCMDID;
                encode::header_only(out.buffer(conn), CommandId::GENERIC_NACK, status, sequence);
            }
        }
    }

    /// After each receive of a lobby connection: read on, unless its bind is being checked or its answers are not taken.
    pub(super) fn lobby_read_on(&mut self, conn: Conn, out: &mut Output) {
        if let Role::Lobby(lobby) = &mut self.connections[conn.index()].role
            && !lobby.is_asking()
        {
            lobby.is_reading = out.queued_bytes(conn) <= LOBBY_OUTPUT_BYTES_MAX;
            if lobby.is_reading {
                out.push(Action::Read { conn, mode: ReadMode::Once });
            }
        }
    }

    /// Some of a lobby connection's answers have been taken.
    pub(super) fn lobby_sent(&mut self, conn: Conn, out: &mut Output) {
        if let Role::Lobby(lobby) = &mut self.connections[conn.index()].role
            && !lobby.is_reading
            && !lobby.is_asking()
            && out.queued_bytes(conn) <= LOBBY_OUTPUT_BYTES_MAX / 2
        {
            lobby.is_reading = true;
            out.push(Action::Read { conn, mode: ReadMode::Once });
        }
    }

    fn ask_control(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        let bind = match Bind::decode(pdu) {
            Ok(bind) => bind,
            Err(error) => {
                self.refuse_bind(conn, header, error.status(), "the bind cannot be read", b"", now, out);
                return;
            }
        };
        if self.refusing {
            let status = self.snapshot.statuses.unavailable;
            self.refuse_bind(conn, header, status, "the gateway is stopping", bind.system_id, now, out);
            return;
        }
        self.tickets = self.tickets.wrapping_add(1);
        let (ticket, shard) = (self.tickets, self.id);
        let Role::Lobby(lobby) = &mut self.connections[conn.index()].role else { return };
        lobby.asking = Some(Asking {
            ticket,
            command: header.command_id,
            sequence_number: header.sequence_number,
            interface_version: bind.interface_version,
            system_id: bind.system_id.escape_ascii().to_string(),
        });
        out.push(Action::Authenticate(AuthRequest {
            shard,
            conn,
            ticket,
            system_id: bind.system_id.to_vec(),
            password: bind.password.to_vec(),
            peer: lobby.peer,
            tls: lobby.tls,
            certificate: None,
        }));
    }

    #[allow(clippy::too_many_arguments)]
    fn refuse_bind(
        &mut self,
        conn: Conn,
        header: Header,
        status: CommandStatus,
        reason: &'static str,
        system_id: &[u8],
        now: Now,
        out: &mut Output,
    ) {
        let Role::Lobby(lobby) = &self.connections[conn.index()].role else { return };
        let peer = lobby.peer;
        let system_id = system_id.escape_ascii().to_string();
        encode::header_only(out.buffer(conn), header.command_id.response(), status, header.sequence_number);
        self.binds_refused += 1;
        self.log_noise(now, out, || Event::BindRejected { system_id, peer, status, reason });
        self.leave_lobby(conn);
        out.push(Action::Close { conn, after_flush: true });
    }

    /// The control thread has checked a bind.
    pub fn authenticated(&mut self, verdict: Verdict, now: Now, out: &mut Output) {
        let conn = verdict.conn;
        if !self.is_asking(conn, verdict.ticket) {
            if let Ok((customer, _)) = verdict.result {
                self.bind_over(customer, out);
            }
            return;
        }
        let connection = &mut self.connections[conn.index()];
        let Role::Lobby(lobby) = &mut connection.role else { return };
        let Some(asking) = lobby.asking.take() else { return };
        let peer = lobby.peer;
        match verdict.result {
            Err(status) => {
                encode::header_only(out.buffer(conn), asking.command.response(), status, asking.sequence_number);
                self.binds_refused += 1;
                let (system_id, reason) = (asking.system_id, verdict.reason.unwrap_or_else(|| refusal_reason(status)));
                self.log_noise(now, out, || Event::BindRejected { system_id, peer, status, reason });
                self.leave_lobby(conn);
                out.push(Action::Close { conn, after_flush: true });
            }
            Ok((customer, home)) => {
                let leftover = core::mem::take(&mut connection.partial).into_bytes();
                let seed = Box::new(SessionSeed {
                    customer,
                    command: asking.command,
                    sequence_number: asking.sequence_number,
                    interface_version: asking.interface_version,
                    peer,
                    leftover,
                });
                self.leave_lobby(conn);
                if home == self.id {
                    self.adopted(conn, seed, now, out);
                } else {
                    out.push(Action::Move { conn, to: home, seed });
                }
            }
        }
    }

    fn is_asking(&self, conn: Conn, ticket: u32) -> bool {
        let role = self.connections.get(conn.index()).map(|connection| &connection.role);
        matches!(role, Some(Role::Lobby(lobby)) if lobby.asking.as_ref().is_some_and(|asking| asking.ticket == ticket))
    }

    /// A connection whose bind has been accepted has arrived on its customer's home shard.
    pub fn adopted(&mut self, conn: Conn, seed: Box<SessionSeed>, now: Now, out: &mut Output) {
        // What waits to be sent was written in a lobby, and may begin within a PDU: it is not read back.
        out.take_written(conn);
        if let Err((status, reason)) = self.may_bind(seed.customer) {
            encode::header_only(out.buffer(conn), seed.command.response(), status, seed.sequence_number);
            self.binds_refused += 1;
            let customer = self.snapshot.customer(seed.customer);
            let system_id = customer.map(|customer| customer.settings.smpp_system_id.clone()).unwrap_or_default();
            let peer = seed.peer;
            self.log_noise(now, out, || Event::BindRejected { system_id, peer, status, reason });
            out.push(Action::Close { conn, after_flush: true });
            self.bind_over(seed.customer, out);
            return;
        }
        let style = self.style_of(seed.customer, seed.interface_version);
        let window = self.snapshot.customers[seed.customer.index()].window;
        let session = Session::new(&seed, style, window, now.mono);
        let version = (seed.interface_version >= 0x34).then_some(0x34);
        encode::bind_resp(
            out.buffer(conn),
            seed.command.response(),
            seed.sequence_number,
            self.snapshot.gateway.system_id.as_bytes(),
            version,
        );
        self.occupy(conn, Role::Session(Box::new(session)));
        self.session_count += 1;
        self.open_desk(seed.customer, conn);
        self.session_timer(conn, now);
        let bind = seed.command.name().unwrap_or_default();
        let (customer, peer, interface_version) = (seed.customer, seed.peer, seed.interface_version);
        self.log_noise(now, out, || Event::SessionBound { customer, peer, bind, interface_version });
        out.push(Action::Read { conn, mode: ReadMode::Stream });
        self.take_apart(conn, &seed.leftover, now, out);
        if self.session_mut(conn).is_some() {
            self.pump_deliveries(customer, now, out);
        }
    }

    fn may_bind(&self, customer: CustomerId) -> Result<(), (CommandStatus, &'static str)> {
        if self.refusing {
            return Err((self.snapshot.statuses.unavailable, "the gateway is stopping"));
        }
        let active = self.snapshot.customer(customer).filter(|customer| customer.is_active());
        let Some(settings) = active.map(|customer| &customer.settings) else {
            return Err((CommandStatus::ESME_RINVSYSID, "the customer is no longer configured, or not active"));
        };
        let bound = self.desks[customer.index()].sessions.len();
        if settings.smpp_max_binds != 0 && bound >= settings.smpp_max_binds as usize {
            return Err((CommandStatus::ESME_RBINDFAIL, "too many binds"));
        }
        Ok(())
    }

    fn leave_lobby(&mut self, conn: Conn) {
        self.vacate(conn);
        self.lobby_count -= 1;
    }

    /// The bind timer of a lobby connection, if it has come.
    pub(super) fn lobby_timer(&mut self, conn: Conn, now: Now, out: &mut Output) {
        let Role::Lobby(lobby) = &self.connections[conn.index()].role else { return };
        if lobby.is_asking() {
            self.connection_timers.set(conn.index(), now.mono.after_ms(1000));
        } else if lobby.until <= now.mono {
            self.hang_up(conn, EndReason::BindTimer, now, out);
        } else {
            let until = lobby.until;
            self.connection_timers.set(conn.index(), until);
        }
    }

    pub(super) fn lobby_ended(&mut self, lobby: &Lobby, reason: EndReason, now: Now, out: &mut Output) {
        self.lobby_count -= 1;
        let peer = lobby.peer;
        self.log_noise(now, out, || Event::LobbyClosed { peer, reason });
    }
}

fn refusal_reason(status: CommandStatus) -> &'static str {
    match status {
        CommandStatus::ESME_RINVSYSID => "unknown or inactive system_id",
        CommandStatus::ESME_RINVPASWD => "wrong password",
        CommandStatus::ESME_RBINDFAIL => "address not allowed",
        CommandStatus::ESME_RSYSERR => "the bind could not be checked now",
        _ => "refused",
    }
}
