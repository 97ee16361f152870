//! The pump: the one task of a shard's thread. It owns the shard, its output and its ring by value and turns.
//!
//! A turn: send what is dirty, enter the ring once, feed the shard what has come, empty the inboxes, let timers run. What there is
//! for other shards goes to them with each buffer of octets and at the turn's end. It waits nowhere but in the ring and decides
//! nothing about SMPP.

mod closing;
mod connecting;
mod inbox;
mod journal;
mod moving;
mod receiving;
mod sending;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use smpp_control::{ControlSender, ControlWaker, Log, RecoveryProgress, ToShard};
use smpp_pdu::CommandStatus;
use smpp_shards::histogram::Histogram;
use smpp_shards::{
    Action, Conn, DrainPhase, Now, Output, ReadMode, Report, Shard, ShardId, ShardSetup, Snapshot, Time, Verdict,
};

use crate::certificates::TlsConfigs;
use crate::clock::Clock;
use crate::connections::Connections;
use crate::courtesy::Courtesy;
use crate::journal::Appender;
use crate::mail::{Mail, MovedConnection, Post};
use crate::net::{Doorbell, Net, Reading, SetupError, Slot, Wait};
use crate::platform;
use crate::resolve::Resolver;

use self::connecting::Links;
use self::journal::ShardJournal;

/// Completions that one turn handles; what is left comes with the next, after what these have caused was sent.
const COMPLETIONS_PER_TURN: usize = 4096;

/// TLS handshake steps that one turn makes: the dearest takes about a millisecond.
const HANDSHAKE_STEPS_PER_TURN: usize = 2;

/// From one report to the next.
const REPORT_MS: u64 = 1_000;

/// From one look at the drain to the next.
const DRAIN_LOOK_MS: u64 = 20;

/// How long connections that are closing may hold up the end of the shard's thread.
const STOP_MS: u64 = 1_000;

/// The longest wait in the ring, a bound for mistakes.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Tells the main thread how far a drain has come: once when a shard has entered a phase, once when it is through.
#[derive(Debug)]
pub(crate) struct DrainNews {
    pub(crate) shard: ShardId,
    pub(crate) phase: DrainPhase,
    pub(crate) is_through: bool,
}

/// What a pump is made of.
pub(crate) struct PumpSetup {
    pub(crate) shard: ShardSetup,
    pub(crate) bell: Arc<Doorbell>,
    pub(crate) post: Post,
    pub(crate) mail: Receiver<Mail>,
    pub(crate) commands: Receiver<ToShard>,
    pub(crate) control: ControlSender,
    /// Says whether PDUs are shown in it.
    pub(crate) log: Log,
    pub(crate) resolver: Resolver,
    pub(crate) drain_news: Sender<DrainNews>,
    /// In journal mode.
    pub(crate) appender: Option<Appender>,
    /// Told once, when what older journals held is on stable storage in this start's.
    pub(crate) restored: Sender<()>,
    /// Where to tell how much of it is recorded.
    pub(crate) recovery: Option<Arc<RecoveryProgress>>,
    pub(crate) tls: Arc<TlsConfigs>,
    pub(crate) origin: Instant,
    pub(crate) spin: Duration,
    /// Rung when the shard has told the message store something.
    pub(crate) store_bell: ControlWaker,
}

/// What a timer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A connection's deadline, and which use of the slot was meant.
    Connection { slot: u32, used: u32 },
    /// A listener that may try again.
    Listener(usize),
    /// A name that is being looked up.
    Name { link: u32, ticket: u32 },
}

pub(crate) struct Pump {
    id: ShardId,
    shard: Shard,
    output: Output,
    net: Net,
    connections: Connections,
    links: Links,
    /// Configurations that the control thread had no room to take back yet.
    retired: Vec<Arc<Snapshot>>,
    tls: Arc<TlsConfigs>,
    /// By listener number.
    listeners_tls: Vec<bool>,
    clock: Clock,
    now: Now,
    turns: Histogram,
    bell: Arc<Doorbell>,
    post: Post,
    mail: Receiver<Mail>,
    commands: Receiver<ToShard>,
    control: ControlSender,
    log: Log,
    resolver: Resolver,
    drain_news: Sender<DrainNews>,
    journal: Option<ShardJournal>,
    /// Taken when it has been told.
    restored: Option<Sender<()>>,
    recovery: Option<Arc<RecoveryProgress>>,
    /// Customers and vendors may come.
    is_open: bool,
    courtesy: Courtesy,
    spin: Duration,
    store_bell: ControlWaker,
    timers: BinaryHeap<Reverse<(Time, Timer)>>,
    /// Connections to be sent from at the turn's end though nothing new was written to them.
    ready: Vec<Slot>,
    handshakes: VecDeque<Slot>,
    /// Moved connections for which the other shard had no room.
    outbox: VecDeque<(ShardId, Box<MovedConnection>)>,
    /// See [`platform::accepted_descriptors_end`].
    descriptors_end: u64,
    accept_failure_told: Option<Time>,
    next_report: Time,
    draining: Option<DrainPhase>,
    next_drain_look: Time,
    stop_at: Time,
    // Scratch, kept for its memory.
    dirty: Vec<Conn>,
    actions: Vec<Action>,
    bells: Vec<ShardId>,
    plain: Vec<u8>,
}

impl Pump {
    /// Sets the ring up; must run on the shard's own thread.
    pub(crate) fn new(setup: PumpSetup) -> Result<Self, SetupError> {
        let mut clock = Clock::new(setup.origin);
        let now = clock.read();
        let net = Net::new(setup.bell.clone())?;
        Ok(Self {
            id: setup.shard.shard,
            shard: Shard::new(setup.shard, now),
            output: Output::new(),
            net,
            connections: Connections::default(),
            links: Links::default(),
            retired: Vec::new(),
            tls: setup.tls,
            listeners_tls: Vec::new(),
            clock,
            now,
            turns: Histogram::default(),
            bell: setup.bell,
            post: setup.post,
            mail: setup.mail,
            commands: setup.commands,
            control: setup.control,
            log: setup.log,
            resolver: setup.resolver,
            drain_news: setup.drain_news,
            journal: setup.appender.map(ShardJournal::new),
            restored: Some(setup.restored),
            recovery: setup.recovery,
            is_open: false,
            courtesy: Courtesy::new(),
            spin: setup.spin,
            store_bell: setup.store_bell,
            timers: BinaryHeap::new(),
            ready: Vec::new(),
            handshakes: VecDeque::new(),
            outbox: VecDeque::new(),
            descriptors_end: platform::accepted_descriptors_end(),
            accept_failure_told: None,
            next_report: now.mono,
            draining: None,
            next_drain_look: Time::NEVER,
            stop_at: Time::NEVER,
            dirty: Vec::new(),
            actions: Vec::new(),
            bells: Vec::new(),
            plain: Vec::new(),
        })
    }

    /// Turns until it is told to stop.
    ///
    /// # Panics
    /// When the ring fails, which leaves the shard without any connection.
    pub(crate) fn run(mut self) {
        let mut busy = true;
        let mut began = Time::NEVER;
        while !self.is_finished() {
            self.send_all();
            let idle_from = self.enter(busy);
            self.now = self.clock.read();
            self.turns.add_nanos(idle_from.unwrap_or(self.now.mono).nanos_since(began));
            began = self.now.mono;
            busy = self.take_completions();
            busy |= self.shake_hands();
            busy |= self.take_inboxes();
            busy |= self.take_outcomes();
            busy |= self.shard.take_rings(self.now, &mut self.output);
            self.carry_out();
            self.run_timers();
            self.shard.tick(self.now, &mut self.output);
            self.carry_out();
            self.write_journal();
            busy |= self.pass_on();
            if self.shard.flush_store() {
                self.store_bell.wake();
            }
            if self.shard.read_back(self.now, &mut self.output) {
                self.carry_out();
                self.control.traced();
            }
            self.report();
        }
    }

    /// Puts what there is for other shards into their rings, and wakes those that sleep: they work at it while this one goes on with
    /// its turn. Tells whether some found no room.
    #[inline]
    fn pass_on(&mut self) -> bool {
        let is_backed_up = self.shard.flush_rings(&mut self.bells);
        for shard in self.bells.drain(..) {
            self.post.ring(shard);
        }
        is_backed_up
    }

    /// Submits everything; waits for something to happen unless there is work already. Tells since when it had nothing to do,
    /// where it had not.
    fn enter(&mut self, busy: bool) -> Option<Time> {
        let has_work = busy || self.net.has_untaken() || self.has_mail();
        let mut idle_from = None;
        let wait = if has_work || (!self.spin.is_zero() && self.spin_for_work(&mut idle_from)) {
            Wait::No
        } else {
            self.bell.going_to_sleep();
            // Once more, for what came before the flag could be seen.
            if self.shard.has_incoming() || self.has_mail() {
                Wait::No
            } else {
                let now = self.clock.mono();
                idle_from.get_or_insert(now);
                Wait::AtMost(self.time_to_wait(now))
            }
        };
        let result = self.net.enter(wait);
        self.bell.awake();
        if let Err(error) = result {
            panic!("the io_uring of shard {} failed: {error}", self.id);
        }
        idle_from
    }

    /// Looks for work for as long as the setting says; what is queued is submitted first.
    #[cold]
    fn spin_for_work(&mut self, idle_from: &mut Option<Time>) -> bool {
        if self.net.enter(Wait::No).is_err() {
            return true;
        }
        let start = self.clock.mono();
        *idle_from = Some(start);
        let end = start + self.spin;
        loop {
            if self.net.is_ready() || self.shard.has_incoming() || self.has_mail() {
                return true;
            }
            let now = self.clock.mono();
            if now >= end || now >= self.next_deadline() {
                return false;
            }
            for _ in 0..32 {
                core::hint::spin_loop();
            }
        }
    }

    #[inline]
    fn has_mail(&self) -> bool {
        !self.mail.is_empty() || !self.commands.is_empty() || self.journal.as_ref().is_some_and(ShardJournal::has_news)
    }

    fn next_deadline(&self) -> Time {
        let timer = self.timers.peek().map_or(Time::NEVER, |Reverse((at, _))| *at);
        let report = if self.is_open { self.next_report } else { Time::NEVER };
        self.shard.next_deadline().min(timer).min(report).min(self.next_drain_look).min(self.stop_at)
    }

    fn time_to_wait(&self, now: Time) -> Duration {
        if !self.outbox.is_empty() {
            return Duration::from_millis(1);
        }
        Duration::from_nanos(self.next_deadline().nanos_since(now)).min(WAIT_MAX)
    }

    /// Carries out what the shard has asked for, until it asks for nothing more.
    #[inline]
    fn carry_out(&mut self) {
        loop {
            let mut actions = core::mem::take(&mut self.actions);
            self.output.take_actions(&mut actions);
            if actions.is_empty() {
                self.actions = actions;
                return;
            }
            for action in actions.drain(..) {
                self.act(action);
            }
            self.actions = actions;
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Read { conn, mode } => self.set_reading(Slot(conn.0), mode),
            Action::Close { conn, after_flush } => self.close(Slot(conn.0), after_flush),
            Action::Move { conn, to, seed } => self.leave(Slot(conn.0), to, seed),
            Action::Connect { link, vendor } => self.connect(link, vendor),
            Action::AbandonConnect { link } => self.abandon_connect(link),
            Action::Authenticate(mut request) => {
                let tls = &self.connections.get(Slot(request.conn.0)).tls;
                request.certificate = tls.as_ref().and_then(|tls| tls.peer_certificate());
                if let Err(request) = self.control.try_authenticate(request) {
                    let (conn, ticket) = (request.conn, request.ticket);
                    let verdict = Verdict { conn, ticket, result: Err(CommandStatus::ESME_RSYSERR), reason: None };
                    self.shard.authenticated(verdict, self.now, &mut self.output);
                }
            }
            Action::ReadSegment { segment } => self.read_segment(segment),
            Action::FreeSegments { before } => self.free_segments(before),
            Action::Reply { ticket, reply } => self.control.reply(ticket, reply),
            Action::BindOver { customer } => self.control.bind_over(customer),
            Action::Retire { in_force, snapshot } => self.retire(in_force, snapshot),
            Action::Log(event) => self.control.event(self.id, event),
        }
    }

    /// Does what is due at the engine itself.
    fn run_timers(&mut self) {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied()
            && at <= self.now.mono
        {
            self.timers.pop();
            match timer {
                Timer::Connection { slot, used } => self.deadline_passed(Slot(slot), used),
                Timer::Listener(number) => self.net.listen_again(number),
                Timer::Name { link, ticket } => self.name_took_too_long(link, ticket),
            }
            self.carry_out();
        }
    }

    /// Once a second: the counters for the control thread, and connections whose peers take nothing.
    fn report(&mut self) {
        if self.is_open && self.now.mono >= self.next_report {
            self.next_report = self.now.mono.after_ms(REPORT_MS);
            let report = Box::new(Report { turns: self.turns, ..self.shard.report() });
            for snapshot in core::mem::take(&mut self.retired) {
                self.retire(report.snapshot_version, snapshot);
            }
            self.control.report(report);
            self.courtesy.look(self.now.mono);
            let (of_customers, of_vendors) = self.log.shows_pdus();
            self.shard.show_pdus(of_customers, of_vendors, &mut self.output);
            self.cut_off_stalled();
            self.carry_out();
        }
        if self.now.mono >= self.next_drain_look {
            self.look_at_drain();
        }
    }

    /// Gives a configuration back; one that the control thread has no room for is kept until the next report.
    #[cold]
    fn retire(&mut self, in_force: u64, snapshot: Arc<Snapshot>) {
        if let Err(snapshot) = self.control.retire(self.id, in_force, snapshot) {
            self.retired.push(snapshot);
        }
    }

    fn look_at_drain(&mut self) {
        self.next_drain_look = self.now.mono.after_ms(DRAIN_LOOK_MS);
        if let Some(phase) = self.draining
            && self.shard.is_quiet()
        {
            self.draining = None;
            self.next_drain_look = Time::NEVER;
            // The main thread waits for this with a deadline of its own.
            let _ = self.drain_news.try_send(DrainNews { shard: self.id, phase, is_through: true });
        }
    }

    fn is_finished(&self) -> bool {
        self.stop_at != Time::NEVER && (self.net.is_empty() || self.now.mono >= self.stop_at)
    }
}

/// What the socket is to do where there is no TLS in between.
const fn reading_of(mode: ReadMode) -> Reading {
    match mode {
        ReadMode::Stop => Reading::Stopped,
        ReadMode::Once => Reading::Once,
        ReadMode::Stream => Reading::Stream,
    }
}

#[cfg(test)]
mod tests;
