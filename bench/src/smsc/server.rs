//! The simulated SMSC's event loop: listeners, connections, timers.
//!
//! Runs on the thread that calls [`Server::run`], which waits in epoll and nowhere else. Per readiness one
//! read, per turn and connection one write, no allocation per message once warm. What a PDU means is in
//! `protocol`; what it sends by itself in `account`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use rustls::ServerConfig;
use smpp_pdu::command::CommandId;
use smpp_pdu::{CommandStatus, encode};

use super::account::Account;
use super::connection::{Bound, Connection};
use super::counters::{Counters, Live};
use super::delivery::{self, Delivery};
use super::options::SmscOptions;
use super::{Bucket, SmscError};
use crate::clock::{self, Alarm, MILLISECOND, Today};
use crate::random::Random;
use crate::stop::Stop;
use crate::tls;
use crate::wheel::Wheel;
use crate::wire::{INBOX_BYTES, Wire};

const ALARM: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);
const LISTENERS: usize = usize::MAX - 1024;
/// How often slow timers are looked at.
const HOUSEKEEPING_EVERY: u64 = 100 * MILLISECOND;

/// Something to do later.
#[derive(Clone, Copy, Debug)]
pub(super) enum Later {
    /// Answer a submit.
    Answer { connection: usize, generation: u32, sequence: u32, status: CommandStatus, id: u64 },
    /// Put a receipt into an account's queue.
    Deliver { account: usize, delivery: Delivery },
}

/// A simulated SMSC that listens and is ready to run.
#[derive(Debug)]
pub struct Server {
    pub(super) options: SmscOptions,
    /// Whether submits are simply answered.
    pub(super) plain: bool,
    poll: Poll,
    alarm: Alarm,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
    tls: Option<Arc<ServerConfig>>,
    pub(super) connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    generation: u32,
    pub(super) accounts: Vec<Account>,
    pub(super) accounts_by_name: HashMap<Vec<u8>, usize>,
    pub(super) wheel: Wheel<Later>,
    due: Vec<Later>,
    /// Accounts whose queue may move.
    pub(super) to_pump: Vec<usize>,
    dirty: Vec<usize>,
    pub(super) random: Random,
    pub(super) bucket: Option<Bucket>,
    pub(super) record: Option<BufWriter<File>>,
    pub(super) counters: Counters,
    live: Arc<Live>,
    pub(super) next_id: u64,
    pub(super) started: u64,
    /// Looked at once a turn.
    pub(super) today: Today,
    next_message: Option<u64>,
    message_account: usize,
    next_drop: Option<u64>,
    next_housekeeping: u64,
    next_stats: u64,
}

impl Server {
    /// Opens the listeners.
    ///
    /// # Errors
    /// A wrong option, an address that cannot be listened on, a file that cannot be opened.
    pub fn bind(options: SmscOptions) -> Result<Self, SmscError> {
        options.check().map_err(SmscError::Options)?;
        crate::load::raise_descriptor_limit();
        let tls = match (&options.tls_cert, &options.tls_key) {
            (Some(certificate), Some(key)) => Some(tls::server(certificate, key).map_err(SmscError::Options)?),
            _ => None,
        };
        let poll = Poll::new().map_err(SmscError::system("making an epoll instance"))?;
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(SmscError::system("making a timer"))?;
        let record = match &options.record {
            Some(path) => {
                let fail = |error| SmscError::System { what: path.display().to_string(), error };
                Some(BufWriter::new(File::create(path).map_err(fail)?))
            }
            None => None,
        };
        let now = clock::now();
        let mut server = Self {
            plain: options.is_plain(),
            poll,
            alarm,
            listeners: Vec::new(),
            addresses: Vec::new(),
            tls,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            accounts: Vec::new(),
            accounts_by_name: HashMap::new(),
            wheel: Wheel::new(now),
            due: Vec::new(),
            to_pump: Vec::new(),
            dirty: Vec::new(),
            random: Random::new(options.seed),
            bucket: options.capacity_rate.map(|rate| Bucket::new(rate, now)),
            record,
            counters: Counters::default(),
            live: Arc::default(),
            next_id: delivery::first_id(),
            started: now,
            today: Today::new(),
            next_message: options.mo_rate.map(|_| now),
            message_account: 0,
            next_drop: options.drop_every.map(|seconds| now + clock::from_seconds(seconds)),
            next_housekeeping: now + HOUSEKEEPING_EVERY,
            next_stats: now + clock::from_seconds(options.stats_interval),
            options,
        };
        server.listen()?;
        Ok(server)
    }

    /// Where it listens, in the order of the options; with the ports that were picked.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Counters that other threads may read meanwhile.
    pub fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// Serves until `stop` is asked for; then gives the counters. `watch` is called every `--stats-interval`.
    ///
    /// # Errors
    /// When the machine refuses what the loop needs.
    pub fn run(mut self, stop: &Stop, watch: &mut dyn FnMut(&Counters)) -> Result<Counters, SmscError> {
        let waker = mio::Waker::new(self.poll.registry(), WAKER).map_err(SmscError::system("making a waker"))?;
        stop.wakes(waker);
        let mut events = Events::with_capacity(1024);
        let mut inbox = vec![0; INBOX_BYTES];
        let began_cpu = clock::thread_cpu();
        while !stop.asked() {
            self.turn(&mut events, &mut inbox)?;
            self.counters.seconds = clock::to_seconds(clock::now() - self.started);
            if self.options.stats_interval > 0.0 && clock::now() >= self.next_stats {
                self.next_stats += clock::from_seconds(self.options.stats_interval);
                self.counters.cpu_seconds = clock::to_seconds(clock::thread_cpu() - began_cpu);
                watch(&self.counters);
            }
        }
        self.counters.cpu_seconds = clock::to_seconds(clock::thread_cpu() - began_cpu);
        self.finish()
    }

    fn listen(&mut self) -> Result<(), SmscError> {
        for place in self.options.listen.clone() {
            let fail = |error| SmscError::Listen { place: place.clone(), error };
            let mut found = place.to_socket_addrs().map_err(fail)?;
            let address = found.next().ok_or_else(|| fail(io::ErrorKind::AddrNotAvailable.into()))?;
            let mut listener = TcpListener::bind(address).map_err(fail)?;
            let token = Token(LISTENERS + self.listeners.len());
            self.poll.registry().register(&mut listener, token, Interest::READABLE).map_err(fail)?;
            self.addresses.push(listener.local_addr().map_err(fail)?);
            self.listeners.push(listener);
        }
        Ok(())
    }

    fn turn(&mut self, events: &mut Events, inbox: &mut [u8]) -> Result<(), SmscError> {
        let deadline = [self.wheel.next_due(), self.next_message].into_iter().flatten().min();
        self.alarm.set(deadline).map_err(SmscError::system("setting a timer"))?;
        let wait = self.next_housekeeping.min(self.next_stats_due()).saturating_sub(clock::now());
        match self.poll.poll(events, Some(Duration::from_nanos(wait))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(SmscError::System { what: "waiting for events".to_owned(), error });
            }
            _ => {}
        }
        self.today.look();
        for event in &*events {
            let Token(token) = event.token();
            if token < self.connections.len() {
                let closed = event.is_read_closed() || event.is_error();
                self.on_event(token, event.is_readable() || closed, event.is_writable(), closed, inbox);
            } else if (LISTENERS..LISTENERS + self.listeners.len()).contains(&token) {
                self.accept(token - LISTENERS);
            }
        }
        let now = clock::now();
        self.do_what_is_due(now);
        if now >= self.next_housekeeping {
            self.housekeep(now);
        }
        while !(self.to_pump.is_empty() && self.dirty.is_empty()) {
            self.pump_accounts();
            self.flush_dirty();
        }
        if let Some(record) = &mut self.record {
            record.flush().map_err(SmscError::system("writing the record"))?;
        }
        self.live.publish(&self.counters);
        Ok(())
    }

    fn next_stats_due(&self) -> u64 {
        if self.options.stats_interval > 0.0 { self.next_stats } else { u64::MAX }
    }

    fn accept(&mut self, listener: usize) {
        loop {
            let socket = match self.listeners[listener].accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Nothing more, or a connection that is gone again, or no descriptors: the next edge tells.
                Err(_) => return,
            };
            self.counters.connections += 1;
            // What fails here is the peer's loss of this one connection, which it sees.
            let _ = self.add(socket);
        }
    }

    fn add(&mut self, socket: TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        let mut wire = match &self.tls {
            None => Wire::plain(socket),
            Some(config) => Wire::tls_server(socket, config.clone())?,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        if let Err(error) = wire.register(self.poll.registry(), Token(index)) {
            self.free.push(index);
            return Err(error);
        }
        self.generation = self.generation.wrapping_add(1);
        self.connections[index] = Some(Box::new(Connection::new(wire, self.generation)));
        Ok(())
    }

    fn on_event(&mut self, index: usize, readable: bool, writable: bool, closed: bool, inbox: &mut [u8]) {
        // Out of its place while it is worked on, so that the rest of the server can be borrowed beside it.
        let Some(mut connection) = self.connections[index].take() else { return };
        let mut open = true;
        let mut readable = readable;
        if writable && connection.wire.blocked() {
            open = connection.wire.flush().is_ok();
            readable |= connection.wire.take_held();
            self.wake_account(&connection);
        }
        if open && readable {
            open = self.receive(index, &mut connection, closed, inbox);
        }
        let receipts_follow = connection.can_receive() && self.accounts[connection.account].wants_pump;
        if open && receipts_follow && !connection.closing {
            // The same write then carries the answers and the receipts.
            Self::mark_dirty(&mut self.dirty, index, &mut connection);
        } else {
            open = open && connection.wire.flush().is_ok() && !(connection.closing && connection.wire.unsent() == 0);
        }
        if open {
            self.connections[index] = Some(connection);
        } else {
            self.forget(index, &mut connection);
        }
    }

    /// Reads and handles what has come; false when the connection must end.
    fn receive(&mut self, index: usize, connection: &mut Connection, closed: bool, inbox: &mut [u8]) -> bool {
        loop {
            match connection.wire.holds_back() {
                Ok(true) => return true,
                Ok(false) => {}
                Err(_) => return false,
            }
            let Ok(received) = connection.wire.receive(inbox) else { return false };
            let now = clock::now();
            let used = self.take_pdus(index, connection, &inbox[..received.filled], now);
            connection.wire.keep(&inbox[used..received.filled]);
            if received.closed || connection.closing {
                return !received.closed;
            }
            if received.idle || !(received.more || closed) {
                return true;
            }
            if connection.wire.flush().is_err() {
                return false;
            }
        }
    }

    /// Has a connection's output written at the end of the turn.
    pub(super) fn mark_dirty(dirty: &mut Vec<usize>, index: usize, connection: &mut Connection) {
        if !connection.dirty {
            connection.dirty = true;
            dirty.push(index);
        }
    }

    fn flush_dirty(&mut self) {
        while let Some(index) = self.dirty.pop() {
            let Some(connection) = &mut self.connections[index] else { continue };
            connection.dirty = false;
            let broken = !connection.wire.blocked() && connection.wire.flush().is_err();
            if (broken || (connection.closing && connection.wire.unsent() == 0))
                && let Some(mut connection) = self.connections[index].take()
            {
                self.forget(index, &mut connection);
            }
        }
    }

    /// The end of a connection: what was not acknowledged goes back into its account's queue.
    fn forget(&mut self, index: usize, connection: &mut Connection) {
        // The last words, as far as the socket takes them at once.
        let _ = connection.wire.flush();
        connection.wire.say_goodbye();
        if connection.bound != Bound::No {
            let account = &mut self.accounts[connection.account];
            account.receivers.retain(|&receiver| receiver != index);
            for delivery in connection.take_open() {
                self.counters.receipts_requeued += u64::from(delivery.is_receipt());
                account.queue.push_back(delivery);
            }
            self.pump_later(connection.account);
        }
        self.free.push(index);
    }

    fn do_what_is_due(&mut self, now: u64) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.take_due(now, &mut due);
        for later in due.drain(..) {
            match later {
                Later::Answer { connection, generation, sequence, status, id } => {
                    self.answer_late(connection, generation, sequence, status, id);
                }
                Later::Deliver { account, delivery } => self.enqueue(account, delivery),
            }
        }
        self.due = due;
        while let (Some(at), Some(rate)) = (self.next_message, self.options.mo_rate)
            && at <= now
        {
            self.next_message = Some(at + (1e9 / rate).max(1.0) as u64);
            self.originate_message();
        }
    }

    fn answer_late(&mut self, index: usize, generation: u32, sequence: u32, status: CommandStatus, id: u64) {
        let slot = self.connections.get_mut(index).and_then(Option::take);
        match slot {
            Some(mut connection) if connection.generation == generation => {
                self.answer(&mut connection, sequence, status, id);
                Self::mark_dirty(&mut self.dirty, index, &mut connection);
                self.connections[index] = Some(connection);
            }
            other => {
                self.counters.answers_undeliverable += 1;
                if let Some(connection) = other {
                    self.connections[index] = Some(connection);
                }
            }
        }
    }

    /// One mobile-originated message, to the next account that is bound for receiving.
    fn originate_message(&mut self) {
        for _ in 0..self.accounts.len() {
            self.message_account = (self.message_account + 1) % self.accounts.len();
            if !self.accounts[self.message_account].receivers.is_empty() {
                return self.enqueue(self.message_account, Delivery::message(&self.options));
            }
        }
    }

    /// Sends what waits in the accounts' queues, as far as windows allow.
    fn pump_accounts(&mut self) {
        while let Some(index) = self.to_pump.pop() {
            self.accounts[index].wants_pump = false;
            let account = &mut self.accounts[index];
            while !account.queue.is_empty() {
                let Some(receiver) = account.next_receiver(&self.connections, &self.options) else { break };
                let Some(connection) = &mut self.connections[receiver] else { break };
                let Some(delivery) = account.queue.pop_front() else { break };
                self.counters.count_sent(&delivery);
                connection.deliver(delivery, self.today.date(), &self.options);
                Self::mark_dirty(&mut self.dirty, receiver, connection);
            }
        }
    }

    fn housekeep(&mut self, now: u64) {
        self.next_housekeeping = now + HOUSEKEEPING_EVERY;
        if let (Some(at), Some(seconds)) = (self.next_drop, self.options.drop_every)
            && now >= at
        {
            self.next_drop = Some(now + clock::from_seconds(seconds));
            self.drop_all();
        }
        if self.options.enquire_interval <= 0.0 {
            return;
        }
        for index in 0..self.connections.len() {
            let Some(connection) = &mut self.connections[index] else { continue };
            if connection.next_enquire <= now {
                connection.next_enquire = now + clock::from_seconds(self.options.enquire_interval);
                let sequence = connection.take_sequence();
                let ok = CommandStatus::ESME_ROK;
                encode::header_only(&mut connection.wire.out, CommandId::ENQUIRE_LINK, ok, sequence);
                Self::mark_dirty(&mut self.dirty, index, connection);
            }
        }
    }

    fn drop_all(&mut self) {
        for index in 0..self.connections.len() {
            if let Some(mut connection) = self.connections[index].take() {
                self.counters.drops += 1;
                self.forget(index, &mut connection);
            }
        }
    }

    fn finish(mut self) -> Result<Counters, SmscError> {
        if let Some(record) = &mut self.record {
            record.flush().map_err(SmscError::system("writing the record"))?;
        }
        let unacknowledged: u64 =
            self.connections.iter_mut().flatten().map(|connection| connection.take_open().count() as u64).sum();
        let waiting: u64 = self.accounts.iter().map(|account| account.queue.len() as u64).sum();
        self.counters.receipts_open = unacknowledged + waiting + self.wheel.len() as u64;
        Ok(self.counters)
    }
}
