//! The sessions of one worker and their event loop: connecting, reading, writing, timers.
//!
//! Runs on the worker's thread, which waits in epoll and nowhere else. Per readiness one read, per turn and
//! connection one write. Time is read once after every read, so that an answer is stamped when it was there
//! and not when the loop began its turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use smpp_pdu::bind::Bind;
use smpp_pdu::command::CommandId;
use smpp_pdu::{CommandStatus, Deframed, deframe, encode};

use super::book::{Book, Progress};
use super::error::{LoadError, Step};
use super::message::Composer;
use super::options::{BindType, LoadOptions};
use super::pacer::Pacer;
use super::session::{Outcome, RECONNECT_AFTER, Role, Session, State, first_enquire};
use crate::clock::{self, Alarm, MILLISECOND, SECOND};
use crate::stop::Stop;
use crate::wire::{INBOX_BYTES, PDU_BYTES_MAX, Wire};

const ALARM: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// How often timers of sessions are looked at.
const HOUSEKEEPING_EVERY: u64 = 100 * MILLISECOND;

/// What all workers of a run share and none changes.
#[derive(Debug)]
pub(super) struct Setup<'a> {
    pub(super) options: &'a LoadOptions,
    pub(super) address: SocketAddr,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) stop: &'a Stop,
}

/// The buffers of an event loop, apart from the fleet so that both can be borrowed at once.
#[derive(Debug)]
pub(super) struct Buffers {
    events: Events,
    inbox: Vec<u8>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self { events: Events::with_capacity(1024), inbox: vec![0; INBOX_BYTES] }
    }
}

/// The sessions of one worker.
#[derive(Debug)]
pub(super) struct Fleet<'a> {
    setup: &'a Setup<'a>,
    progress: &'a Progress,
    poll: Poll,
    alarm: Alarm,
    pub(super) sessions: Vec<Session>,
    /// The sessions that submit, by index.
    submitters: Vec<usize>,
    /// The submitter whose turn it is at a steady rate.
    cursor: usize,
    composer: Composer,
    pub(super) book: Book,
    /// Messages still to be sent; `u64::MAX` for no end.
    pub(super) budget: u64,
    /// Whether submits are made at all.
    pub(super) sending: bool,
    pub(super) pacer: Option<Pacer>,
    /// Sessions between connect and bind_resp.
    pub(super) coming_up: u32,
    pub(super) bound: u32,
    /// Whether a session that breaks now ends the whole run.
    pub(super) setting_up: bool,
    /// Why the run cannot go on.
    pub(super) fatal: Option<LoadError>,
    /// How the last session that broke was lost.
    pub(super) last_loss: Option<String>,
    /// Whether the end has come: what breaks now is not connected again.
    pub(super) closing: bool,
    next_housekeeping: u64,
    next_interval: u64,
}

impl<'a> Fleet<'a> {
    pub(super) fn new(
        setup: &'a Setup<'a>,
        progress: &'a Progress,
        sessions: Vec<Session>,
        composer: Composer,
    ) -> Result<Self, LoadError> {
        let poll = Poll::new().map_err(LoadError::system("making an epoll instance"))?;
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(LoadError::system("making a timer"))?;
        let waker = mio::Waker::new(poll.registry(), WAKER).map_err(LoadError::system("making a waker"))?;
        setup.stop.wakes(waker);
        let is_submitter = |&index: &usize| sessions[index].role == Role::Submitter;
        let submitters = (0..sessions.len()).filter(is_submitter).collect();
        let now = clock::now();
        Ok(Self {
            setup,
            progress,
            poll,
            alarm,
            submitters,
            sessions,
            cursor: 0,
            composer,
            book: Book::new(setup.options.receipts),
            budget: u64::MAX,
            sending: false,
            pacer: None,
            coming_up: 0,
            bound: 0,
            setting_up: true,
            fatal: None,
            last_loss: None,
            closing: false,
            next_housekeeping: now,
            next_interval: now + SECOND,
        })
    }

    /// One turn: waits for events until `until` at the longest, handles them, sends what is due. Returns the
    /// time at its end.
    pub(super) fn turn(&mut self, buffers: &mut Buffers, until: u64) -> Result<u64, LoadError> {
        let now = clock::now();
        let wait = until.min(self.next_housekeeping).saturating_sub(now);
        match self.poll.poll(&mut buffers.events, Some(Duration::from_nanos(wait))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(LoadError::System { what: "waiting for events", error });
            }
            _ => {}
        }
        for event in &buffers.events {
            let Token(index) = event.token();
            if index < self.sessions.len() {
                let closed = event.is_read_closed() || event.is_error();
                self.on_event(index, event.is_readable() || closed, event.is_writable(), closed, &mut buffers.inbox);
            }
        }
        let mut now = clock::now();
        if self.pacer.is_some() {
            self.pace(now)?;
        }
        if now >= self.next_housekeeping {
            self.housekeep(now);
            now = clock::now();
        }
        match self.fatal.take() {
            Some(error) => Err(error),
            None => Ok(now),
        }
    }

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

    /// Lets every submitter fill its window: the start of a closed loop.
    pub(super) fn refill_all(&mut self) {
        let now = clock::now();
        for index in self.submitters.clone() {
            self.refill(index, now);
            self.push(index);
        }
    }

    /// Submits without an answer.
    pub(super) fn outstanding(&self) -> u64 {
        self.submitters.iter().map(|&index| u64::from(self.sessions[index].outstanding)).sum()
    }

    /// Sends unbind on every bound session.
    pub(super) fn unbind_all(&mut self) {
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            if session.state == State::Bound {
                let sequence = session.take_sequence();
                session.state = State::Unbinding;
                if let Some(wire) = &mut session.wire {
                    encode::header_only(&mut wire.out, CommandId::UNBIND, CommandStatus::ESME_ROK, sequence);
                }
                self.push(index);
            }
        }
    }

    /// Whether any session still waits for unbind_resp.
    pub(super) fn is_unbinding(&self) -> bool {
        self.sessions.iter().any(|session| session.state == State::Unbinding)
    }

    /// Writes the counters where the watching thread reads them.
    pub(super) fn publish(&self) {
        self.progress.publish(u64::from(self.bound), &self.book.totals);
    }

    fn on_event(&mut self, index: usize, readable: bool, writable: bool, closed: bool, inbox: &mut [u8]) {
        if self.sessions[index].state == State::Connecting {
            if !(writable || closed) {
                return;
            }
            self.connected(index);
        }
        if writable && self.sessions[index].wire.as_ref().is_some_and(Wire::blocked) {
            self.flush(index);
            self.refill(index, clock::now());
            self.push(index);
        }
        if readable && !(self.setup.options.never_read && self.sessions[index].state == State::Bound) {
            self.receive(index, closed, inbox);
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
    fn connected(&mut self, index: usize) {
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

    fn receive(&mut self, index: usize, closed: bool, inbox: &mut [u8]) {
        loop {
            let session = &mut self.sessions[index];
            let Some(wire) = &mut session.wire else { return };
            let received = match wire.receive(inbox) {
                Ok(received) => received,
                Err(error) => return self.lose(index, error.to_string()),
            };
            let now = clock::now();
            let (used, end) = self.take_pdus(index, &inbox[..received.filled], now);
            match end {
                Ok(()) => {}
                Err(why) => return self.lose(index, why),
            }
            if let Some(wire) = &mut self.sessions[index].wire {
                wire.keep(&inbox[used..received.filled]);
            }
            self.refill(index, now);
            self.push(index);
            if received.closed {
                return self.lose(index, "the server closed the connection".to_owned());
            }
            if received.idle || !(received.more || closed) {
                return;
            }
        }
    }

    /// Handles every whole PDU at the front of `octets`; says how many octets that were, and why the session
    /// must end if it must.
    #[inline]
    fn take_pdus(&mut self, index: usize, octets: &[u8], now: u64) -> (usize, Result<(), String>) {
        let mut used = 0;
        loop {
            match deframe(&octets[used..], PDU_BYTES_MAX) {
                Deframed::Pdu { header, pdu } => {
                    used += pdu.len();
                    let outcome = self.sessions[index].on_pdu(header, pdu, now, &mut self.book);
                    if outcome != Outcome::Nothing
                        && let Err(why) = self.act(index, outcome, now)
                    {
                        return (used, Err(why));
                    }
                }
                Deframed::NeedMore { .. } => {
                    self.book.totals.octets_in += used as u64;
                    return (used, Ok(()));
                }
                Deframed::Fatal { command_length, .. } => {
                    return (used, Err(format!("the server sent a PDU with command_length {command_length}")));
                }
            }
        }
    }

    fn act(&mut self, index: usize, outcome: Outcome, now: u64) -> Result<(), String> {
        match outcome {
            Outcome::Nothing => Ok(()),
            Outcome::Bound => {
                let interval = clock::from_seconds(self.setup.options.enquire_interval);
                let count = self.sessions.len();
                let session = &mut self.sessions[index];
                session.state = State::Bound;
                session.deadline = u64::MAX;
                session.next_enquire = first_enquire(now, interval, index, count);
                self.coming_up -= 1;
                self.bound += 1;
                self.book.totals.reconnects += u64::from(!self.setting_up);
                Ok(())
            }
            Outcome::Refused(status) => {
                let session = &self.sessions[index];
                if self.setting_up {
                    self.fatal = Some(LoadError::Refused {
                        target: self.setup.options.target.clone(),
                        system_id: self.setup.options.customer_name(session.customer),
                        status,
                    });
                }
                Err(format!("refused with {status}"))
            }
            Outcome::ServerUnbinds => {
                self.push(index);
                Err("the server unbound the session".to_owned())
            }
            Outcome::Unbound => Err("unbound".to_owned()),
        }
    }

    /// Closed loop: sends as many as the window takes.
    #[inline]
    fn refill(&mut self, index: usize, now: u64) {
        if !self.sending || self.pacer.is_some() {
            return;
        }
        let session = &mut self.sessions[index];
        if session.role != Role::Submitter {
            return;
        }
        let count = u64::from(session.room()).min(self.budget);
        if count == 0 {
            return;
        }
        session.submit(&mut self.composer, count as u32, now);
        self.book.totals.sent += count;
        if self.budget != u64::MAX {
            self.budget -= count;
        }
    }

    /// Steady rate: sends what is due at `now`, round the sessions that have room, and sets the alarm.
    fn pace(&mut self, now: u64) -> Result<(), LoadError> {
        let Some(mut pacer) = self.pacer.take() else { return Ok(()) };
        let first = self.cursor;
        let mut stalled = false;
        let mut sent = 0;
        while self.sending && sent < self.budget && pacer.next() <= now {
            let Some(index) = self.next_with_room() else {
                stalled = true;
                break;
            };
            self.sessions[index].submit(&mut self.composer, 1, pacer.next());
            pacer.advance();
            sent += 1;
        }
        self.book.totals.sent += sent;
        if self.budget != u64::MAX {
            self.budget -= sent;
        }
        let touched = (sent as usize).min(self.submitters.len());
        // The round robin skips sessions without room, so that more than `sent` may have been passed over.
        let passed =
            if touched == self.submitters.len() || stalled { self.submitters.len() } else { self.passed_since(first) };
        for step in 0..if sent == 0 { 0 } else { passed } {
            let index = self.submitters[(first + step) % self.submitters.len()];
            self.push(index);
        }
        let due = (self.sending && self.budget > 0 && !stalled).then(|| pacer.next());
        self.pacer = Some(pacer);
        self.alarm.set(due).map_err(LoadError::system("setting a timer"))
    }

    /// How far the cursor has moved since it was at `first`, a whole round counted as one.
    fn passed_since(&self, first: usize) -> usize {
        let count = self.submitters.len();
        match (self.cursor + count - first) % count {
            0 => count,
            steps => steps,
        }
    }

    fn next_with_room(&mut self) -> Option<usize> {
        let count = self.submitters.len();
        for _ in 0..count {
            let index = self.submitters[self.cursor];
            self.cursor = (self.cursor + 1) % count;
            if self.sessions[index].room() > 0 {
                return Some(index);
            }
        }
        None
    }

    /// Writes what a session has to say, unless the socket is known to be full.
    #[inline]
    fn push(&mut self, index: usize) {
        if self.sessions[index].wire.as_ref().is_some_and(|wire| wire.unsent() > 0 && !wire.blocked()) {
            self.flush(index);
        }
    }

    fn flush(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let Some(wire) = &mut session.wire else { return };
        let limit = if self.setup.options.slow_bytes && session.state == State::Bound { 0 } else { usize::MAX };
        if let Err(error) = wire.flush_up_to(limit) {
            self.lose(index, error.to_string());
        }
    }

    /// A session has ended; `detail` says how.
    fn lose(&mut self, index: usize, detail: String) {
        let session = &mut self.sessions[index];
        let step = match session.state {
            State::Waiting | State::Closed => return,
            State::Connecting => Step::Tcp,
            State::Binding if session.wire.as_ref().is_some_and(Wire::is_handshaking) => Step::Tls,
            State::Binding => Step::Bind,
            State::Bound | State::Unbinding => Step::Traffic,
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

    fn housekeep(&mut self, now: u64) {
        self.next_housekeeping = now + HOUSEKEEPING_EVERY;
        let second = now >= self.next_interval;
        if second {
            self.next_interval = now + SECOND;
            self.progress.publish_latency(self.book.answers.end_interval());
        }
        let give_up = now.saturating_sub(clock::from_seconds(self.setup.options.answer_timeout));
        for index in 0..self.sessions.len() {
            let session = &mut self.sessions[index];
            match session.state {
                State::Connecting | State::Binding if session.deadline <= now => {
                    self.lose(index, format!("no answer within {} s", self.setup.options.bind_timeout));
                }
                State::Bound if second => self.keep_alive(index, now, give_up),
                _ => {}
            }
        }
        if self.coming_up < self.setup.options.connect_parallel {
            self.connect_waiting(now);
        }
        self.publish();
    }

    fn keep_alive(&mut self, index: usize, now: u64, give_up: u64) {
        let options = self.setup.options;
        let session = &mut self.sessions[index];
        session.give_up_before(give_up, &mut self.book);
        if session.next_enquire <= now && !options.misbehaves() {
            session.next_enquire = now + clock::from_seconds(options.enquire_interval);
            let sequence = session.take_sequence();
            if let Some(wire) = &mut session.wire {
                encode::header_only(&mut wire.out, CommandId::ENQUIRE_LINK, CommandStatus::ESME_ROK, sequence);
            }
        }
        self.refill(index, now);
        if options.slow_bytes {
            self.push_one_octet(index);
        } else {
            self.push(index);
        }
    }

    fn push_one_octet(&mut self, index: usize) {
        if let Some(wire) = &mut self.sessions[index].wire
            && let Err(error) = wire.flush_up_to(1)
        {
            self.lose(index, error.to_string());
        }
    }
}
