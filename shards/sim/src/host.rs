//! The host of one shard, as the engine is one: slots, reading, sending, connecting, moving, turns. The shard is the
//! real one. Single thread; decides nothing about SMPP.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use smpp_shards::journal::{Batch, LogName};
use smpp_shards::{
    Action, CloseCause, Conn, ConnectFailure, ConnectStep, LinkId, Output, ReadMode, Shard, ShardId, Time, VendorId,
    bounds,
};

use crate::disk::Written;
use crate::ground::Ground;
use crate::mailbox::{Mail, Wishes};
use crate::network::{NetId, Peer, Readable, Side};
use crate::schedule::Event;

/// Receives of one connection that may wait for their turn.
const QUEUED_RECEIVES_MAX: usize = 3;

/// What came for the shard since its last turn, as io_uring's completions do.
#[derive(Debug)]
enum Completion {
    Accepted(NetId),
    Received(NetId, Vec<u8>),
    Sent(NetId, usize),
    Closed(NetId, CloseCause),
    Connected(LinkId, VendorId, u64),
    Written(Written, Batch),
}

#[derive(Debug)]
struct Slot {
    net: NetId,
    mode: ReadMode,
    queued_receives: usize,
    told_end: bool,
    unsent: Vec<u8>,
    blocked: bool,
    progress_at: Time,
}

/// A connection that the shard has given up and whose last octets are still to go.
#[derive(Debug)]
struct Closing {
    net: NetId,
    unsent: Vec<u8>,
}

/// One shard and everything around it.
pub(crate) struct Host {
    /// Which one.
    pub id: usize,
    shard: Shard,
    out: Output,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    closing: Vec<Closing>,
    connecting: BTreeMap<LinkId, (VendorId, u64)>,
    tickets: u64,
    completions: VecDeque<Completion>,
    mail: VecDeque<Mail>,
    turn_at: Time,
    actions: Vec<Action>,
    dirty: Vec<Conn>,
    bells: Vec<ShardId>,
    /// Which log its shard writes, in journal mode.
    log: Option<LogName>,
    /// The thread that writes has a batch, or has had one that failed and waits for what its shard makes of that.
    is_writing: bool,
    /// The batch that it begins next, by itself.
    offered: Option<Batch>,
}

impl Host {
    /// A host for that shard.
    pub(crate) fn new(id: usize, shard: Shard, log: Option<LogName>) -> Self {
        Self {
            id,
            shard,
            log,
            is_writing: false,
            offered: None,
            out: Output::new(),
            slots: Vec::new(),
            free: Vec::new(),
            closing: Vec::new(),
            connecting: BTreeMap::new(),
            tickets: 0,
            completions: VecDeque::new(),
            mail: VecDeque::new(),
            turn_at: Time::NEVER,
            actions: Vec::new(),
            dirty: Vec::new(),
            bells: Vec::new(),
        }
    }

    /// The shard's first call.
    pub(crate) fn start(&mut self, ground: &mut Ground, wishes: &mut Wishes) {
        self.shard.start(ground.now(), &mut self.out);
        self.drain(ground, wishes);
        self.wake_in(ground, 1);
    }

    /// The first turn of a host whose shard takes over a journal before it starts.
    pub(crate) fn wake(&mut self, ground: &mut Ground) {
        self.wake_in(ground, 1);
    }

    /// Whether something of an older journal is not in this start's yet.
    pub(crate) fn is_restoring(&self) -> bool {
        self.shard.is_restoring()
    }

    /// A write to the journal has ended. The next one begins if all is well, before the shard hears of it.
    pub(crate) fn written(&mut self, written: Written, batch: Batch, ground: &mut Ground) {
        if written == Written::Whole {
            self.is_writing = false;
            if let Some(next) = self.offered.take() {
                self.begin_write(next, ground);
            }
        }
        self.complete(Completion::Written(written, batch), ground);
    }

    /// The first part of a turn, after which the process is killed.
    pub(crate) fn begin_turn(&mut self, completions: usize, ground: &mut Ground) {
        let mut wishes = Wishes::default();
        for _ in 0..completions {
            let Some(completion) = self.completions.pop_front() else { return };
            self.feed(completion, ground);
            self.drain(ground, &mut wishes);
        }
    }

    /// The shard's report.
    pub(crate) fn report(&self) -> smpp_shards::Report {
        self.shard.report()
    }

    /// Octets that wait for a connection's peer, with whose they are.
    pub(crate) fn queued(&self) -> impl Iterator<Item = (NetId, usize)> {
        self.slots.iter().enumerate().filter_map(|(slot, entry)| {
            entry.as_ref().map(|entry| (entry.net, self.out.queued_bytes(Conn(slot as u32))))
        })
    }

    /// A customer's connection has come to this shard's listener.
    pub(crate) fn accept(&mut self, net: NetId, ground: &mut Ground) {
        self.complete(Completion::Accepted(net), ground);
    }

    /// Something for the mailbox; the doorbell is rung.
    pub(crate) fn post(&mut self, mail: Mail, ground: &mut Ground) {
        self.mail.push_back(mail);
        self.ring(ground);
    }

    /// The doorbell.
    pub(crate) fn ring(&mut self, ground: &mut Ground) {
        let micros = ground.turns.spread(1, 60);
        self.wake_in(ground, micros);
    }

    /// An attempt to connect has come to its end.
    pub(crate) fn connected(&mut self, link: LinkId, ticket: u64, ground: &mut Ground) {
        if let Some(&(vendor, open)) = self.connecting.get(&link)
            && open == ticket
        {
            self.complete(Completion::Connected(link, vendor, ticket), ground);
        }
    }

    /// Something came to the near end of a connection of this host.
    pub(crate) fn arrive(&mut self, conn: Conn, ground: &mut Ground) {
        self.receive(conn, ground);
    }

    /// The near end of a connection may write again.
    pub(crate) fn room(&mut self, conn: Conn, ground: &mut Ground) {
        if let Some(Some(slot)) = self.slots.get_mut(conn.index()) {
            slot.blocked = false;
            self.send(conn, ground);
        }
    }

    /// A connection that is being closed may write again, or its time is up.
    pub(crate) fn go_on_closing(&mut self, net: NetId, give_up: bool, ground: &mut Ground) {
        let Some(position) = self.closing.iter().position(|closing| closing.net == net) else { return };
        let closing = &mut self.closing[position];
        let sent = ground.network.write(net, Side::Gateway, &closing.unsent, &mut ground.schedule);
        closing.unsent.drain(..sent);
        if closing.unsent.is_empty() || give_up {
            self.closing.swap_remove(position);
            ground.network.close(net, Side::Gateway, &mut ground.schedule);
        }
    }

    /// Looks whether a connection has taken nothing for too long.
    pub(crate) fn look_at_stall(&mut self, net: NetId, ground: &mut Ground) {
        let Some((_, conn)) = ground.network.owner(net).filter(|(host, _)| *host == self.id) else { return };
        let Some(Some(slot)) = self.slots.get(conn.index()) else { return };
        if slot.net != net || slot.unsent.is_empty() {
            return;
        }
        let due = slot.progress_at.after_ms(bounds::WRITE_STALL_MS_MAX);
        if due <= ground.schedule.now() {
            self.complete(Completion::Closed(net, CloseCause::WriteStalled), ground);
        } else {
            ground.schedule.at(due, Event::Stall(net));
        }
    }

    /// Whether a turn is to be run now; turns that were put forward are not run again at their old time.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        self.turn_at <= now
    }

    /// One turn, in the engine's order.
    pub(crate) fn turn(&mut self, ground: &mut Ground, wishes: &mut Wishes) {
        self.turn_at = Time::NEVER;
        ground.trace.step(1, self.id as u64, ground.schedule.now().0);
        let batch = ground.turns.spread(1, 64) as usize;
        for _ in 0..batch {
            let Some(completion) = self.completions.pop_front() else { break };
            self.feed(completion, ground);
            self.drain(ground, wishes);
        }
        for _ in 0..16 {
            let Some(mail) = self.mail.pop_front() else { break };
            self.open_mail(mail, ground);
            self.drain(ground, wishes);
        }
        let more = self.shard.take_rings(ground.now(), &mut self.out);
        self.drain(ground, wishes);
        self.shard.tick(ground.now(), &mut self.out);
        self.drain(ground, wishes);
        self.write_journal(ground);
        self.bells.clear();
        let is_backed_up = self.shard.flush_rings(&mut self.bells);
        wishes.bells.append(&mut self.bells);
        if more || is_backed_up || !self.completions.is_empty() || !self.mail.is_empty() || self.shard.has_incoming() {
            let micros = ground.turns.spread(1, 100);
            self.wake_in(ground, micros);
        }
        let deadline = self.shard.next_deadline();
        if deadline != Time::NEVER {
            let earliest = Time(ground.schedule.now().0 + 10_000);
            self.wake_at(ground, deadline.max(earliest));
        }
    }

    fn write_journal(&mut self, ground: &mut Ground) {
        if self.shard.has_more_records()
            && let Some(batch) = self.offered.take()
        {
            self.shard.give_back_batch(batch);
        }
        let Some(batch) = self.shard.take_batch(ground.now()) else { return };
        if self.is_writing {
            self.offered = Some(batch);
        } else {
            self.begin_write(batch, ground);
        }
    }

    fn begin_write(&mut self, mut batch: Batch, ground: &mut Ground) {
        let (Some(log), Some(disk)) = (self.log, &mut ground.disk) else {
            panic!("seed {}: shard {} writes a journal that it has not", ground.seed, self.id)
        };
        ground.trace.step(10, u64::from(batch.segment()), batch.offset());
        ground.trace.octets(11, self.id as u64, batch.seal());
        self.is_writing = true;
        let micros = disk.begin(self.id, log, batch);
        ground.schedule.in_micros(micros, Event::Disk { host: self.id, life: ground.life });
    }

    fn journal_written(&mut self, written: Written, batch: Batch, ground: &mut Ground) {
        ground.trace.step(12, self.id as u64, written as u64);
        ground.trace.line(ground.schedule.now(), format_args!("shard {}: the disk says {written:?}", self.id));
        ground.model.disk_said(self.id, written == Written::Whole, ground.schedule.now());
        match written {
            Written::Whole => self.shard.batch_written(batch, ground.now(), &mut self.out),
            Written::Full | Written::Failed => {
                self.is_writing = false;
                if let Some(next) = self.offered.take() {
                    self.shard.give_back_batch(next);
                }
                self.shard.batch_failed(batch, written.reason(), ground.now(), &mut self.out);
            }
        }
    }

    fn wake_in(&mut self, ground: &mut Ground, micros: u64) {
        let pause = if ground.turns.chance(ground.turn_pauses) { ground.turns.spread(100, 20_000) } else { 0 };
        let at = Time(ground.schedule.now().0 + (micros + pause) * 1_000);
        self.wake_at(ground, at);
    }

    fn wake_at(&mut self, ground: &mut Ground, at: Time) {
        if at < self.turn_at {
            self.turn_at = at;
            ground.schedule.at(at, Event::Turn(self.id));
        }
    }

    fn complete(&mut self, completion: Completion, ground: &mut Ground) {
        self.completions.push_back(completion);
        let micros = ground.turns.spread(1, 50);
        self.wake_in(ground, micros);
    }

    /// Receives what the mode allows and queues it as a completion.
    fn receive(&mut self, conn: Conn, ground: &mut Ground) {
        let Some(Some(slot)) = self.slots.get_mut(conn.index()) else { return };
        let (net, schedule) = (slot.net, &mut ground.schedule);
        while slot.mode != ReadMode::Stop && slot.queued_receives < QUEUED_RECEIVES_MAX && !slot.told_end {
            let completion = match ground.network.readable(net, Side::Gateway, schedule.now()) {
                Readable::Nothing => return,
                Readable::Octets(_) => {
                    let octets = ground.network.read(net, Side::Gateway, ground.receive_bytes, schedule);
                    slot.queued_receives += 1;
                    Completion::Received(net, octets)
                }
                Readable::End => Completion::Closed(net, CloseCause::EndOfStream),
                Readable::Reset => Completion::Closed(net, CloseCause::Reset),
            };
            if slot.mode == ReadMode::Once {
                slot.mode = ReadMode::Stop;
            }
            slot.told_end |= matches!(completion, Completion::Closed(..));
            self.completions.push_back(completion);
            let at = Time(schedule.now().0 + ground.turns.spread(1, 50) * 1_000);
            if at < self.turn_at {
                self.turn_at = at;
                schedule.at(at, Event::Turn(self.id));
            }
        }
    }

    /// Hands octets to the kernel, as many as it takes.
    fn send(&mut self, conn: Conn, ground: &mut Ground) {
        let Some(Some(slot)) = self.slots.get_mut(conn.index()) else { return };
        if slot.blocked || slot.unsent.is_empty() {
            return;
        }
        let net = slot.net;
        if ground.network.is_reset(net, Side::Gateway, ground.schedule.now()) {
            if !slot.told_end {
                slot.told_end = true;
                self.complete(Completion::Closed(net, CloseCause::Reset), ground);
            }
            return;
        }
        let sent = ground.network.write(net, Side::Gateway, &slot.unsent, &mut ground.schedule);
        slot.unsent.drain(..sent);
        if sent > 0 {
            slot.progress_at = ground.schedule.now();
        }
        if !slot.unsent.is_empty() {
            slot.blocked = true;
            let due = slot.progress_at.after_ms(bounds::WRITE_STALL_MS_MAX);
            ground.schedule.at(due, Event::Stall(net));
        }
        if sent > 0 {
            self.complete(Completion::Sent(net, sent), ground);
        }
    }

    fn slot_of(&self, net: NetId, ground: &Ground) -> Option<Conn> {
        let (host, conn) = ground.network.owner(net)?;
        (host == self.id).then_some(conn)
    }

    fn open_slot(&mut self, net: NetId, mode: ReadMode, ground: &mut Ground) -> Conn {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let conn = Conn(index);
        self.out.clear(conn);
        let progress_at = ground.schedule.now();
        let slot =
            Slot { net, mode, queued_receives: 0, told_end: false, unsent: Vec::new(), blocked: false, progress_at };
        self.slots[conn.index()] = Some(slot);
        ground.network.set_owner(net, Some((self.id, conn)));
        conn
    }

    fn close_slot(&mut self, conn: Conn, ground: &mut Ground) -> Option<Slot> {
        let slot = self.slots.get_mut(conn.index())?.take()?;
        self.free.push(conn.0);
        self.out.clear(conn);
        ground.network.set_owner(slot.net, None);
        Some(slot)
    }

    fn feed(&mut self, completion: Completion, ground: &mut Ground) {
        match completion {
            Completion::Accepted(net) => {
                let Peer::Session(session) = ground.network.peer(net) else { return };
                let conn = self.open_slot(net, ReadMode::Stop, ground);
                let peer =
                    SocketAddr::from((crate::scenario::session_address(session), 40_000 + net.0 as u16 % 20_000));
                ground.trace.step(2, net.0 as u64, u64::from(conn.0));
                self.shard.accepted(conn, peer, false, ground.now(), &mut self.out);
            }
            Completion::Received(net, octets) => {
                let Some(conn) = self.slot_of(net, ground) else { return };
                ground.trace.octets(3, net.0 as u64, &octets);
                if let Some(Some(slot)) = self.slots.get_mut(conn.index()) {
                    slot.queued_receives -= 1;
                }
                ground.model.fed(net, &octets, ground.schedule.now());
                self.shard.received(conn, &octets, ground.now(), &mut self.out);
                self.receive(conn, ground);
            }
            Completion::Sent(net, sent) => {
                let Some(conn) = self.slot_of(net, ground) else { return };
                self.out.sent(conn, sent);
                self.shard.sent(conn, ground.now(), &mut self.out);
                self.send(conn, ground);
            }
            Completion::Closed(net, cause) => {
                let Some(conn) = self.slot_of(net, ground) else { return };
                ground.trace.step(4, net.0 as u64, u64::from(conn.0));
                ground.model.gateway_lost(net, ground.schedule.now());
                self.shard.closed(conn, cause, ground.now(), &mut self.out);
                self.close_slot(conn, ground);
                ground.network.close(net, Side::Gateway, &mut ground.schedule);
            }
            Completion::Written(written, batch) => self.journal_written(written, batch, ground),
            Completion::Connected(link, vendor, ticket) => self.finish_connecting(link, vendor, ticket, ground),
        }
    }

    fn finish_connecting(&mut self, link: LinkId, vendor: VendorId, ticket: u64, ground: &mut Ground) {
        if self.connecting.get(&link) != Some(&(vendor, ticket)) {
            return;
        }
        self.connecting.remove(&link);
        let is_reachable = ground.vendor_is_reachable[vendor.index()];
        ground.trace.step(5, u64::from(link.0), u64::from(is_reachable));
        if !is_reachable {
            let reason = "connection refused".to_owned();
            let failure = ConnectFailure { step: ConnectStep::Tcp, local: None, reason };
            self.shard.connect_failed(link, failure, ground.now(), &mut self.out);
            return;
        }
        let net = ground.network.open(Peer::Vendor(vendor.index()));
        let conn = self.open_slot(net, ReadMode::Stream, ground);
        ground.model.link_opened(net, vendor.index());
        self.shard.connected(conn, link, None, ground.now(), &mut self.out);
    }

    fn open_mail(&mut self, mail: Mail, ground: &mut Ground) {
        match mail {
            Mail::Verdict(verdict) => self.shard.authenticated(verdict, ground.now(), &mut self.out),
            Mail::Adopt(net, octets, seed) => {
                let conn = self.open_slot(net, ReadMode::Stop, ground);
                ground.trace.step(6, net.0 as u64, u64::from(conn.0));
                self.out.buffer(conn).extend_from_slice(&octets);
                ground.model.adopted(net, octets.len(), ground.schedule.now());
                self.shard.adopted(conn, seed, ground.now(), &mut self.out);
            }
            Mail::Apply(snapshot) => self.shard.apply(snapshot, &mut self.out),
            Mail::Drain(phase) => self.shard.drain(phase, ground.now(), &mut self.out),
        }
    }

    /// Takes out what the shard has put in: octets first, for an action may close their connection.
    fn drain(&mut self, ground: &mut Ground, wishes: &mut Wishes) {
        let mut dirty = core::mem::take(&mut self.dirty);
        self.out.take_dirty(&mut dirty);
        let mut actions = core::mem::take(&mut self.actions);
        self.out.take_actions(&mut actions);
        for action in &actions {
            if let Action::Close { conn, .. } = action
                && let Some(Some(slot)) = self.slots.get(conn.index())
            {
                ground.model.gateway_closing(slot.net);
            }
        }
        for conn in &dirty {
            self.take_octets(*conn, ground);
        }
        for action in actions.drain(..) {
            self.carry_out(action, ground, wishes);
        }
        for conn in dirty.drain(..) {
            self.send(conn, ground);
        }
        (self.dirty, self.actions) = (dirty, actions);
    }

    fn take_octets(&mut self, conn: Conn, ground: &mut Ground) {
        let mut octets = Vec::new();
        self.out.take(conn, &mut octets);
        if octets.is_empty() {
            return;
        }
        let Some(Some(slot)) = self.slots.get_mut(conn.index()) else {
            // The peer's end was told in this very call; what the shard has still written goes nowhere.
            return;
        };
        ground.trace.octets(7, slot.net.0 as u64, &octets);
        ground.model.emitted(slot.net, &octets, ground.schedule.now(), &ground.trace);
        slot.unsent.extend_from_slice(&octets);
    }

    fn carry_out(&mut self, action: Action, ground: &mut Ground, wishes: &mut Wishes) {
        match action {
            Action::Read { conn, mode } => {
                if let Some(Some(slot)) = self.slots.get_mut(conn.index()) {
                    slot.mode = mode;
                    if mode == ReadMode::Stop {
                        ground.model.reading_stopped(slot.net);
                    }
                    self.receive(conn, ground);
                }
            }
            Action::Close { conn, after_flush } => self.close(conn, after_flush, ground),
            Action::Move { conn, to, seed } => {
                let slot = self.close_slot(conn, ground);
                let slot = slot.unwrap_or_else(|| panic!("seed {}: a connection moves that is not there", ground.seed));
                let in_flight = slot.queued_receives > 0 || slot.mode != ReadMode::Stop;
                assert!(!in_flight, "seed {}: a connection moves while it is being read from", ground.seed);
                ground.trace.step(8, slot.net.0 as u64, u64::from(to.0));
                wishes.moves.push((to, Mail::Adopt(slot.net, slot.unsent, seed)));
            }
            Action::Connect { link, vendor } => {
                self.tickets += 1;
                let ticket = self.tickets;
                let before = self.connecting.insert(link, (vendor, ticket));
                assert!(before.is_none(), "seed {}: link {link} connects twice at one time", ground.seed);
                let micros = ground.network.weather.latency_us * 2 + ground.turns.spread(1, 2_000);
                ground.schedule.in_micros(micros, Event::Connected { host: self.id, link, ticket, life: ground.life });
            }
            Action::AbandonConnect { link } => {
                self.connecting.remove(&link);
            }
            Action::Authenticate(request) => wishes.binds.push(request),
            Action::Retire { in_force, .. } => wishes.in_force.push((ShardId(self.id as u16), in_force)),
            Action::ReadSegment { segment } => {
                ground.trace.step(17, self.id as u64, u64::from(segment));
                if let (Some(log), Some(disk)) = (self.log, &ground.disk) {
                    self.shard.segment_read(segment, disk.read(log, segment), &mut self.out);
                }
            }
            Action::FreeSegments { before } => {
                ground.trace.step(13, self.id as u64, u64::from(before));
                if let (Some(log), Some(disk)) = (self.log, &mut ground.disk) {
                    disk.free(log, before);
                }
            }
            // The simulator's control asks nothing, and counts no binds.
            Action::Reply { .. } | Action::BindOver { .. } => {}
            Action::Log(event) => ground.log(self.id, &event),
        }
    }

    fn close(&mut self, conn: Conn, after_flush: bool, ground: &mut Ground) {
        let Some(slot) = self.close_slot(conn, ground) else {
            panic!("seed {}: shard {} closes {conn}, which is not open", ground.seed, self.id);
        };
        let net = slot.net;
        ground.trace.step(9, net.0 as u64, u64::from(after_flush));
        ground.model.gateway_closed(net, ground.schedule.now());
        if after_flush && !slot.unsent.is_empty() {
            self.closing.push(Closing { net, unsent: slot.unsent });
            ground.schedule.in_millis(bounds::CLOSE_FLUSH_MS_MAX, Event::CloseNow(net));
            self.go_on_closing(net, false, ground);
        } else {
            ground.network.close(net, Side::Gateway, &mut ground.schedule);
        }
    }
}
