//! The sessions of one worker and their event loop: connecting, reading, writing, timers.
//!
//! Runs on the worker's thread, which waits in epoll and nowhere else. Per readiness one read, per turn and
//! connection one write. Time is read once after every read, so that an answer is stamped when it was there
//! and not when the loop began its turn.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use smpp_pdu::command::CommandId;
use smpp_pdu::{CommandStatus, Deframed, deframe, encode};

use super::book::{Book, Progress};
use super::error::LoadError;
use super::message::Composer;
use super::options::LoadOptions;
use super::pacer::Pacer;
use super::session::{Outcome, Role, Session, State, first_enquire};
use crate::clock::{self, Alarm, MILLISECOND, SECOND};
use crate::stop::Stop;
use crate::wire::{INBOX_BYTES, PDU_BYTES_MAX, Wire};

const ALARM: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
/// Why a session ended that the server has unbound.
const SERVER_UNBOUND: &str = "the server unbound the session";
/// How often timers of sessions are looked at.
const HOUSEKEEPING_EVERY: u64 = 100 * MILLISECOND;
/// Bound sessions are kept alive once a second each, so many parts of them one after the other: all of ten thousand at once take
/// milliseconds, in which no answer is read.
const PARTS: usize = (SECOND / HOUSEKEEPING_EVERY) as usize;

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
    pub(super) setup: &'a Setup<'a>,
    progress: &'a Progress,
    pub(super) poll: Poll,
    pub(super) alarm: Alarm,
    pub(super) sessions: Vec<Session>,
    /// The sessions that submit, by index.
    pub(super) submitters: Vec<usize>,
    /// The submitter whose turn it is at a steady rate.
    pub(super) cursor: usize,
    pub(super) composer: Composer,
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
    /// Sessions that have something to write, within a turn.
    pub(super) touched: Vec<usize>,
    next_housekeeping: u64,
    next_interval: u64,
    /// The part of the sessions that is kept alive next.
    next_part: usize,
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
            touched: Vec::new(),
            next_housekeeping: now,
            next_interval: now + SECOND,
            next_part: 0,
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
        let mut readable = readable;
        if writable && self.sessions[index].wire.as_ref().is_some_and(Wire::blocked) {
            self.flush(index);
            readable |= self.sessions[index].wire.as_mut().is_some_and(Wire::take_held);
            self.refill(index, clock::now());
            self.push(index);
        }
        if readable && !(self.setup.options.never_read && self.sessions[index].state == State::Bound) {
            self.receive(index, closed, inbox);
        }
    }

    fn receive(&mut self, index: usize, closed: bool, inbox: &mut [u8]) {
        loop {
            let session = &mut self.sessions[index];
            let Some(wire) = &mut session.wire else { return };
            let received =
                match wire.holds_back().and_then(|held| if held { Ok(None) } else { wire.receive(inbox).map(Some) }) {
                    Ok(Some(received)) => received,
                    Ok(None) => return,
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
            if self.sessions[index].has_left() {
                return self.lose(index, SERVER_UNBOUND.to_owned());
            }
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
                self.sessions[index].leave();
                Ok(())
            }
            Outcome::Unbound => Err("unbound".to_owned()),
        }
    }

    /// Writes what a session has to say, unless the socket is known to be full.
    #[inline]
    pub(super) fn push(&mut self, index: usize) {
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

    fn housekeep(&mut self, now: u64) {
        self.next_housekeeping = now + HOUSEKEEPING_EVERY;
        if now >= self.next_interval {
            self.next_interval = now + SECOND;
            self.progress.publish_latency(self.book.answers.end_interval());
        }
        if (self.bound as usize) < self.sessions.len() {
            self.look_after_unbound(now);
        }
        let count = self.sessions.len();
        let part = count * self.next_part / PARTS..count * (self.next_part + 1) / PARTS;
        self.next_part = (self.next_part + 1) % PARTS;
        let give_up = now.saturating_sub(clock::from_seconds(self.setup.options.answer_timeout));
        for index in part {
            if matches!(self.sessions[index].state, State::Bound | State::Leaving) {
                self.keep_alive(index, now, give_up);
            }
        }
        self.publish();
    }

    /// Gives up what has taken too long to connect or bind, and connects what waits.
    fn look_after_unbound(&mut self, now: u64) {
        for index in 0..self.sessions.len() {
            let session = &self.sessions[index];
            if matches!(session.state, State::Connecting | State::Binding) && session.deadline <= now {
                self.lose(index, format!("no answer within {} s", self.setup.options.bind_timeout));
            }
        }
        if self.coming_up < self.setup.options.connect_parallel {
            self.connect_waiting(now);
        }
    }

    fn keep_alive(&mut self, index: usize, now: u64, give_up: u64) {
        let options = self.setup.options;
        let session = &mut self.sessions[index];
        session.give_up_before(give_up, &mut self.book);
        if session.has_left() {
            return self.lose(index, SERVER_UNBOUND.to_owned());
        }
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
