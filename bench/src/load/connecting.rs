//! How the sessions of a fleet come up, and what happens when one breaks.
//!
//! Part of the fleet's event loop, on the worker's thread.

use mio::Token;
use mio::net::TcpStream;
use smpp_pdu::bind::Bind;
use smpp_pdu::command::CommandId;
use smpp_pdu::encode;

use super::error::{LoadError, Step};
use super::fleet::Fleet;
use super::options::BindType;
use super::session::{RECONNECT_AFTER, Role, State};
use crate::clock;
use crate::wire::Wire;

impl Fleet<'_> {
    /// Connects waiting sessions as far as `connect_parallel` allows.
    pub(super) fn connect_waiting(&mut self, now: u64) {
        let parallel = self.setup.options.connect_parallel;
        for index in 0..self.sessions.len() {
            if self.coming_up >= parallel {
                return;
            }
            if self.sessions[index].state == State::Waiting && self.sessions[index].deadline <= now {
                self.connect(index, now);
            }
        }
    }

    fn connect(&mut self, index: usize, now: u64) {
        let made = TcpStream::connect(self.setup.address).and_then(|socket| {
            socket.set_nodelay(true)?;
            let mut wire = match &self.setup.tls {
                None => Wire::plain(socket),
                Some((config, name)) => Wire::tls_client(socket, config.clone(), name.clone())?,
            };
            wire.register(self.poll.registry(), Token(index))?;
            Ok(wire)
        });
        self.coming_up += 1;
        let session = &mut self.sessions[index];
        session.state = State::Connecting;
        session.deadline = now + clock::from_seconds(self.setup.options.bind_timeout);
        match made {
            Ok(wire) => session.wire = Some(wire),
            Err(error) => self.lose(index, error.to_string()),
        }
    }

    /// A writable edge while connecting: the connection is up or has failed.
    pub(super) fn connected(&mut self, index: usize) {
        let Some(wire) = &self.sessions[index].wire else { return };
        match (wire.socket().take_error(), wire.socket().peer_addr()) {
            (Ok(Some(error)), _) | (Err(error), _) => self.lose(index, error.to_string()),
            (Ok(None), Ok(_)) => self.send_bind(index),
            (Ok(None), Err(_)) => {}
        }
    }

    fn send_bind(&mut self, index: usize) {
        let options = self.setup.options;
        let session = &mut self.sessions[index];
        let command = match (session.role, options.bind_type) {
            (Role::Receiver, _) | (_, BindType::Rx) => CommandId::BIND_RECEIVER,
            (_, BindType::Trx) => CommandId::BIND_TRANSCEIVER,
            (_, BindType::Tx) => CommandId::BIND_TRANSMITTER,
        };
        let (name, password) = (options.customer_name(session.customer), options.customer_password(session.customer));
        let body = Bind {
            system_id: name.as_bytes(),
            password: password.as_bytes(),
            system_type: options.system_type.as_bytes(),
            interface_version: 0x34,
            addr_ton: 0,
            addr_npi: 0,
            address_range: b"",
        };
        session.state = State::Binding;
        session.deadline = clock::now() + clock::from_seconds(options.bind_timeout);
        let sequence = session.take_sequence();
        if let Some(wire) = &mut session.wire {
            encode::bind(&mut wire.out, command, sequence, &body);
        }
        self.push(index);
    }

    /// A session has ended; `detail` says how.
    pub(super) fn lose(&mut self, index: usize, detail: String) {
        let session = &mut self.sessions[index];
        let step = match session.state {
            State::Waiting | State::Closed => return,
            State::Connecting => Step::Tcp,
            State::Binding if session.wire.as_ref().is_some_and(Wire::is_handshaking) => Step::Tls,
            State::Binding => Step::Bind,
            State::Bound | State::Leaving | State::Unbinding => Step::Traffic,
        };
        let asked_for = session.state == State::Unbinding;
        match step {
            Step::Traffic => self.bound -= 1,
            _ => self.coming_up -= 1,
        }
        if let Some(wire) = &mut session.wire {
            wire.say_goodbye();
        }
        session.close(&mut self.book);
        let customer = session.customer;
        if asked_for {
            return;
        }
        self.book.totals.disconnects += u64::from(step == Step::Traffic);
        if self.setting_up {
            if self.fatal.is_none() {
                self.fatal = Some(self.session_error(customer, step, detail));
            }
        } else if self.setup.options.reconnect && !self.closing {
            let session = &mut self.sessions[index];
            session.state = State::Waiting;
            session.deadline = clock::now() + RECONNECT_AFTER;
        } else {
            self.last_loss = Some(self.session_error(customer, step, detail).to_string());
        }
    }

    /// Whether no session is left, nor will be.
    pub(super) fn all_lost(&self) -> bool {
        self.last_loss.is_some() && self.sessions.iter().all(|session| session.state == State::Closed)
    }

    fn session_error(&self, customer: u32, step: Step, detail: String) -> LoadError {
        LoadError::Session {
            target: self.setup.options.target.clone(),
            system_id: self.setup.options.customer_name(customer),
            step,
            detail,
        }
    }
}
