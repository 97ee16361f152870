//! One process of one or two shards whose peers, disk, clock and control thread are played by a script.
//!
//! What is checked at every octet that comes out: it is whole PDUs; each request of a customer is answered once and no
//! other; windows hold; a vendor's deliver_sm is answered once; a slot is closed once. At rest nothing waits for anything.

#[path = "step_settings.rs"]
mod settings;
#[path = "step_trace.rs"]
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use settings::{CUSTOMERS, DELIVER_WINDOW, RESPONSE_MS, WINDOW, snapshot};
use smpp_pdu::bind::Bind;
use smpp_pdu::encode::{self, Encoder};
use smpp_pdu::{Address, CommandId, CommandStatus, Deframed, Header, ShortMessage, Tlvs, deframe};
use smpp_shards::bounds::{DELIVER_RESPONSE_MS_MAX, LOBBY_MAX, PDU_BYTES_MAX};
use smpp_shards::journal::{Batch, LogName, Replay};
use smpp_shards::restore::{Restored, share};
use smpp_shards::routing::Patterns;
use smpp_shards::{
    Action, AuthRequest, CloseCause, Conn, ConnectFailure, ConnectStep, CustomerId, DrainPhase, JournalSetup, LinkId,
    Now, Output, ReadMode, Shard, ShardId, ShardSetup, Snapshot, Time, VendorId, Verdict, mesh,
};

const START_UNIX_MS: u64 = 1_700_000_000_000;
/// Connections of one shard at the most.
const SLOTS_MAX: usize = 24;
/// Octets that wait to be handed to a shard, per connection.
const INBOUND_MAX: usize = 8_192;

/// A connection as its peer sees it.
struct Slot {
    vendor: Option<VendorId>,
    mode: ReadMode,
    /// Octets that the shard has not been given yet.
    inbound: Vec<u8>,
    /// Octets that the peer has not taken yet.
    untaken: usize,
    /// What was sent is no sequence of PDUs any more: answers may be to anything.
    is_garbled: bool,
    sequence: u32,
    /// Requests of ours that are unanswered.
    asked: BTreeSet<u32>,
    /// Requests of the gateway's that may be answered, and since when they are open; not known of those that were answered and
    /// may be once more.
    open: BTreeMap<u32, (CommandId, Option<Time>)>,
    trace: Option<trace::Watched>,
}

struct Host {
    shard: Shard,
    out: Output,
    slots: Vec<Option<Slot>>,
    asking: Vec<AuthRequest>,
    connecting: Vec<(LinkId, VendorId)>,
    writing: Option<Batch>,
    /// The batch after it, which is not begun.
    next_batch: Option<Batch>,
    log: LogName,
}

/// Everything.
pub(super) struct World {
    setup: u8,
    now: Now,
    hosts: Vec<Host>,
    snapshot: Arc<Snapshot>,
    homes: Vec<ShardId>,
    /// Segments by log.
    disk: BTreeMap<LogName, Vec<Vec<u8>>>,
    starts: u64,
    ids: u32,
    is_draining: bool,
}

impl World {
    /// As the bits say: two shards, a journal, late answers forgotten, receipts always asked for.
    pub(super) fn new(setup: u8) -> Self {
        let now = Now { mono: Time(1_000_000_000), unix_ms: START_UNIX_MS };
        let shards = 1 + u16::from(setup & 1);
        let mut world = Self {
            setup,
            now,
            hosts: Vec::new(),
            snapshot: snapshot(setup, shards, 1),
            homes: homes(shards),
            disk: BTreeMap::new(),
            starts: 0,
            ids: 0,
            is_draining: false,
        };
        world.begin(shards, (0..shards).map(|_| Restored::default()).collect());
        world
    }

    fn begin(&mut self, shards: u16, restored: Vec<Restored>) {
        self.starts += 1;
        self.is_draining = false;
        self.hosts.clear();
        for (index, (rings, restored)) in mesh(shards).into_iter().zip(restored).enumerate() {
            let log = LogName { start: START_UNIX_MS + self.starts, shard: index as u16 };
            let journal = self.has_journal().then_some(JournalSetup {
                log,
                segment_bytes: 8 << 20,
                bytes_max: 64 << 20,
                commit_wait_us: 0,
            });
            let (shard, seed) = (ShardId(index as u16), u64::from(self.setup) + self.starts);
            let snapshot = self.snapshot.clone();
            let setup = ShardSetup { shard, shards, seed, snapshot, rings, journal, restored, store: None };
            self.hosts.push(Host {
                shard: Shard::new(setup, self.now),
                out: Output::new(),
                slots: Vec::new(),
                asking: Vec::new(),
                connecting: Vec::new(),
                writing: None,
                next_batch: None,
                log,
            });
        }
        for _ in 0..1_000 {
            if !self.hosts.iter().any(|host| host.shard.is_restoring()) {
                break;
            }
            self.turn(true);
        }
        assert!(!self.hosts.iter().any(|host| host.shard.is_restoring()), "taking over ends");
        for index in 0..self.hosts.len() {
            let host = &mut self.hosts[index];
            host.shard.start(self.now, &mut host.out);
            self.carry_out(index);
        }
    }

    fn has_journal(&self) -> bool {
        self.setup & 2 != 0
    }

    fn host(&self, place: u8) -> usize {
        usize::from(place >> 7) % self.hosts.len()
    }

    /// The connection that a place means, of those of that kind.
    fn slot(&mut self, place: u8, is_vendor: Option<bool>) -> Option<(usize, usize)> {
        let host = self.host(place);
        let of_kind = |slot: &Option<Slot>| {
            slot.as_ref().is_some_and(|slot| is_vendor.is_none_or(|is_vendor| slot.vendor.is_some() == is_vendor))
        };
        let slots = &self.hosts[host].slots;
        let places: Vec<usize> = (0..slots.len()).filter(|index| of_kind(&slots[*index])).collect();
        let index = usize::from(place & 0x7F).checked_rem(places.len())?;
        Some((host, places[index]))
    }

    fn open_slot(&mut self, host: usize, vendor: Option<VendorId>, mode: ReadMode) -> Option<Conn> {
        let slots = &mut self.hosts[host].slots;
        let index = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        if index == slots.len() {
            slots.push(None);
        }
        slots[index] = Some(Slot {
            vendor,
            mode,
            inbound: Vec::new(),
            untaken: 0,
            is_garbled: false,
            sequence: 0,
            asked: BTreeSet::new(),
            open: BTreeMap::new(),
            trace: None,
        });
        let conn = Conn(index as u32);
        self.hosts[host].out.clear(conn);
        Some(conn)
    }

    /// A customer connects.
    pub(super) fn accept(&mut self, place: u8) {
        let host = self.host(place);
        if self.hosts[host].slots.iter().flatten().count() >= SLOTS_MAX {
            return;
        }
        let peer = SocketAddr::from(([192, 0, 2, place], 40_000));
        let Some(conn) = self.open_slot(host, None, ReadMode::Stop) else { return };
        let Host { shard, out, .. } = &mut self.hosts[host];
        shard.accepted(conn, peer, false, self.now, out);
        self.carry_out(host);
    }

    /// A peer writes octets that may be anything.
    pub(super) fn garble(&mut self, place: u8, octets: &[u8]) {
        let Some((host, slot)) = self.slot(place, None) else { return };
        let Some(slot) = &mut self.hosts[host].slots[slot] else { return };
        slot.is_garbled = true;
        slot.inbound.extend_from_slice(octets);
    }

    /// A peer asks something, if it has not asked too much already; what it writes comes with [`World::hand_over`].
    fn ask(&mut self, place: u8, is_vendor: Option<bool>, write: impl FnOnce(&mut Vec<u8>, u32)) {
        let Some((host, slot)) = self.slot(place, is_vendor) else { return };
        let Some(slot) = &mut self.hosts[host].slots[slot] else { return };
        if slot.inbound.len() < INBOUND_MAX {
            slot.sequence += 1;
            slot.asked.insert(slot.sequence);
            write(&mut slot.inbound, slot.sequence);
        }
    }

    pub(super) fn bind(&mut self, place: u8, command: CommandId) {
        let bind = Bind {
            system_id: b"customer0",
            password: b"secret12",
            system_type: b"",
            interface_version: if place.is_multiple_of(5) { 0x33 } else { 0x34 },
            addr_ton: 0,
            addr_npi: 0,
            address_range: b"",
        };
        self.ask(place, Some(false), |out, sequence| encode::bind(out, command, sequence, &bind));
    }

    pub(super) fn submit(&mut self, place: u8, shape: u8, length: u8) {
        let dest: &[u8] = [&b"1555"[..], b"44", b"1777", b"99"][usize::from(shape & 3)];
        let text = vec![b't'; usize::from(length)];
        let message = ShortMessage {
            source: Address { ton: 5, npi: 0, addr: b"ACME" },
            dest: Address { ton: 1, npi: 1, addr: dest },
            registered_delivery: shape >> 2 & 3,
            priority_flag: shape >> 4 & 3,
            validity_period: if shape >> 6 == 3 { b"000000000003000R" } else { b"" },
            ..blank(&text)
        };
        self.ask(place, Some(false), |out, sequence| {
            encode::short_message(out, CommandId::SUBMIT_SM, sequence, &message);
        });
    }

    /// Any side asks something that has no body.
    pub(super) fn request(&mut self, place: u8, command: CommandId) {
        if command == CommandId::GENERIC_NACK {
            let Some((host, slot)) = self.slot(place, None) else { return };
            let Some(slot) = &mut self.hosts[host].slots[slot] else { return };
            let sequence = slot.open.keys().next().copied().unwrap_or(0);
            slot.open.remove(&sequence);
            encode::header_only(&mut slot.inbound, command, CommandStatus::ESME_RSYSERR, sequence);
            return;
        }
        self.ask(place, None, |out, sequence| encode::header_only(out, command, CommandStatus::ESME_ROK, sequence));
    }

    /// The connection that a place means, of those whose peer may answer such a request, on whatever shard.
    fn asked_slot(&mut self, place: u8, command: CommandId) -> Option<&mut Slot> {
        let slots = self.hosts.iter_mut().flat_map(|host| &mut host.slots).flatten();
        let mut asked: Vec<&mut Slot> =
            slots.filter(|slot| slot.open.values().any(|(open, _)| *open == command)).collect();
        let index = usize::from(place & 0x7F).checked_rem(asked.len())?;
        Some(asked.swap_remove(index))
    }

    pub(super) fn vendor_binds(&mut self, place: u8, is_taken: bool) {
        let Some((host, slot)) = self.slot(place, Some(true)) else { return };
        let Some(slot) = &mut self.hosts[host].slots[slot] else { return };
        let Some((&sequence, &(command, _))) = slot.open.iter().find(|(_, (command, _))| command.is_bind()) else {
            return;
        };
        slot.open.remove(&sequence);
        if is_taken {
            encode::bind_resp(&mut slot.inbound, command.response(), sequence, b"smsc", Some(0x34));
        } else {
            let status = CommandStatus::ESME_RBINDFAIL;
            encode::header_only(&mut slot.inbound, command.response(), status, sequence);
        }
    }

    pub(super) fn vendor_answers(&mut self, place: u8, choice: u8, status: CommandStatus) {
        let id = self.ids + 1;
        let Some(slot) = self.asked_slot(place, CommandId::SUBMIT_SM) else { return };
        let Some(sequence) = answerable(slot, choice, CommandId::SUBMIT_SM) else { return };
        if status.is_ok() {
            encode::submit_sm_resp(&mut slot.inbound, sequence, id.to_string().as_bytes());
            self.ids = id;
        } else {
            encode::header_only(&mut slot.inbound, CommandId::SUBMIT_SM_RESP, status, sequence);
        }
    }

    /// A receipt for an id that was given, or is not given yet; or an MO.
    pub(super) fn vendor_delivers(&mut self, place: u8, back: u8, state: u8) {
        let id = (self.ids + 2).saturating_sub(u32::from(back));
        let stat = ["DELIVRD", "UNDELIV", "ENROUTE", "nonsense"][usize::from(state & 3)];
        let text = format!("id:{id} sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:{stat} err:000");
        let esm_class = if state < 0xE0 { 0x04 } else { 0 };
        let message = ShortMessage { esm_class, ..blank(text.as_bytes()) };
        self.ask(place, Some(true), |out, sequence| {
            encode::short_message(out, CommandId::DELIVER_SM, sequence, &message);
        });
    }

    pub(super) fn customer_takes(&mut self, place: u8, choice: u8, status: CommandStatus) {
        let Some(slot) = self.asked_slot(place, CommandId::DELIVER_SM) else { return };
        if let Some(sequence) = answerable(slot, choice, CommandId::DELIVER_SM) {
            encode::deliver_sm_resp(&mut slot.inbound, status, sequence);
        }
    }

    /// So many of the octets that a peer has written reach the shard, if it reads.
    pub(super) fn hand_over(&mut self, place: u8, most: usize) {
        if let Some((host, slot)) = self.slot(place, None) {
            self.give(host, slot, most);
        }
    }

    fn give(&mut self, host: usize, index: usize, most: usize) {
        let Host { shard, out, slots, .. } = &mut self.hosts[host];
        let Some(slot) = &mut slots[index] else { return };
        if slot.mode == ReadMode::Stop || slot.inbound.is_empty() {
            return;
        }
        if slot.mode == ReadMode::Once {
            slot.mode = ReadMode::Stop;
        }
        let octets: Vec<u8> = slot.inbound.drain(..most.min(slot.inbound.len())).collect();
        shard.received(Conn(index as u32), &octets, self.now, out);
        self.carry_out(host);
    }

    /// Time passes, and every shard gets a turn after it.
    pub(super) fn pass_ms(&mut self, millis: u64) {
        self.now = Now { mono: self.now.mono.after_ms(millis), unix_ms: self.now.unix_ms + millis };
        for host in 0..self.hosts.len() {
            self.tick(host);
        }
    }

    fn tick(&mut self, host: usize) {
        let Host { shard, out, .. } = &mut self.hosts[host];
        shard.tick(self.now, out);
        self.carry_out(host);
    }

    /// A peer takes some of what waits for it.
    pub(super) fn take(&mut self, place: u8, most: usize) {
        if let Some((host, slot)) = self.slot(place, None) {
            self.take_from(host, slot, most);
        }
    }

    fn take_from(&mut self, host: usize, index: usize, most: usize) {
        let Host { shard, out, slots, .. } = &mut self.hosts[host];
        let Some(slot) = &mut slots[index] else { return };
        let taken = most.min(slot.untaken);
        if taken > 0 {
            slot.untaken -= taken;
            out.sent(Conn(index as u32), taken);
            shard.sent(Conn(index as u32), self.now, out);
            self.carry_out(host);
        }
    }

    /// A connection ends from outside.
    pub(super) fn lose(&mut self, place: u8) {
        let Some((host, index)) = self.slot(place, None) else { return };
        let causes = [CloseCause::EndOfStream, CloseCause::Reset, CloseCause::Tls, CloseCause::WriteStalled];
        let Host { shard, out, slots, .. } = &mut self.hosts[host];
        slots[index] = None;
        let conn = Conn(index as u32);
        shard.closed(conn, causes[usize::from(place) % 4], self.now, out);
        out.clear(conn);
        self.carry_out(host);
    }

    /// The control thread has looked at a bind.
    pub(super) fn verdict(&mut self, place: u8) {
        let host = self.host(place);
        let Some(request) = self.hosts[host].asking.pop() else { return };
        let customer = CustomerId(u32::from(place >> 4 & 1) % CUSTOMERS);
        let home = self.homes.get(customer.index()).copied().unwrap_or_default();
        let result = if place % 8 == 7 { Err(CommandStatus::ESME_RINVPASWD) } else { Ok((customer, home)) };
        let Host { shard, out, .. } = &mut self.hosts[host];
        shard.authenticated(
            Verdict { conn: request.conn, ticket: request.ticket, result, reason: None },
            self.now,
            out,
        );
        self.carry_out(host);
    }

    /// An attempt to reach a vendor has come to its end.
    pub(super) fn connect(&mut self, place: u8) {
        let host = self.host(place);
        let Some((link, vendor)) = self.hosts[host].connecting.pop() else { return };
        if place % 8 == 7 {
            let failure = ConnectFailure { step: ConnectStep::Tcp, local: None, reason: "refused".to_owned() };
            let Host { shard, out, .. } = &mut self.hosts[host];
            shard.connect_failed(link, failure, self.now, out);
        } else if let Some(conn) = self.open_slot(host, Some(vendor), ReadMode::Stream) {
            let Host { shard, out, .. } = &mut self.hosts[host];
            shard.connected(conn, link, None, self.now, out);
        }
        self.carry_out(host);
    }

    /// A batch is begun, or the one under way is through or fails, or the one after it is taken, or taken anew.
    pub(super) fn disk(&mut self, place: u8) {
        let host = self.host(place);
        let Host { shard, out, writing, next_batch, log, .. } = &mut self.hosts[host];
        match writing.take() {
            None => *writing = shard.take_batch(self.now),
            Some(batch) if place % 16 == 15 => {
                if let Some(next) = next_batch.take() {
                    shard.give_back_batch(next);
                }
                shard.batch_failed(batch, "no space left", self.now, out);
            }
            Some(batch) if place % 16 >= 8 => {
                if let Some(next) = next_batch.take() {
                    shard.give_back_batch(next);
                }
                *next_batch = shard.take_batch(self.now);
                *writing = Some(batch);
            }
            Some(mut batch) => {
                let segments = self.disk.entry(*log).or_default();
                segments.resize(segments.len().max(batch.segment() as usize + 1), Vec::new());
                let file = &mut segments[batch.segment() as usize];
                assert_eq!(file.len() as u64, batch.offset(), "batches follow one another");
                file.extend_from_slice(batch.seal());
                *writing = next_batch.take();
                shard.batch_written(batch, self.now, out);
            }
        }
        self.carry_out(host);
    }

    /// The process is killed and started again from what the disk has.
    pub(super) fn restart(&mut self, place: u8) {
        if !self.has_journal() {
            return;
        }
        let mut replay = Replay::new();
        let start = START_UNIX_MS + self.starts;
        for (log, segments) in self.disk.iter().filter(|(log, _)| log.start == start) {
            for (segment, octets) in segments.iter().enumerate().filter(|(_, octets)| !octets.is_empty()) {
                replay.add(*log, segment as u32, "disk", octets);
            }
        }
        let live = replay.finish();
        assert_eq!(live.problem_count, 0, "the disk is whole: {:?}", live.problems);
        let shards = 1 + u16::from(place & 1);
        self.snapshot = snapshot(self.setup, shards, self.snapshot.version + 1);
        let shares = share(live, &self.snapshot, shards).expect("the customers are the same");
        self.homes = homes(shards);
        for (customer, home) in shares.homes {
            self.homes[customer.index()] = home;
        }
        self.begin(shards, shares.shards);
        self.disk.retain(|log, _| log.start == START_UNIX_MS + self.starts);
    }

    /// Another configuration: limits differ, customers and vendors are the same.
    pub(super) fn reconfigure(&mut self, place: u8) {
        let setup = self.setup & 0x0F | place & 0xF0;
        let next = self.snapshot.succeed(settings::settings(setup), &mut Patterns::default());
        self.snapshot = Arc::new(next.expect("the settings are all right"));
        for host in &mut self.hosts {
            host.shard.apply(self.snapshot.clone(), &mut host.out);
        }
    }

    /// The gateway begins to stop, or goes on with it.
    pub(super) fn drain(&mut self, phase: DrainPhase) {
        self.is_draining = true;
        for host in 0..self.hosts.len() {
            let Host { shard, out, .. } = &mut self.hosts[host];
            shard.drain(phase, self.now, out);
            self.carry_out(host);
        }
    }

    /// Everybody does what is expected, so many turns long.
    pub(super) fn let_run(&mut self, turns: usize) {
        for _ in 0..turns {
            self.turn(false);
        }
    }

    /// One turn of each shard, of the control thread and of the disk; of the peers as well, if they are `at_rest`.
    fn turn(&mut self, at_rest: bool) {
        self.pass_ms(if at_rest { 200 } else { 1 });
        let mut bells = Vec::new();
        for host in 0..self.hosts.len() {
            let place = (host as u8) << 7;
            self.connect(place);
            self.verdict(place);
            self.disk(place);
            self.disk(place);
            for index in 0..self.hosts[host].slots.len() {
                self.take_from(host, index, usize::MAX);
                self.give(host, index, usize::MAX);
            }
            let Host { shard, out, .. } = &mut self.hosts[host];
            shard.take_rings(self.now, out);
            shard.flush_rings(&mut bells);
            self.carry_out(host);
        }
    }

    /// Faults are over and nothing new comes: every request of a customer that is still there gets its answer.
    pub(super) fn come_to_rest(&mut self) {
        for _ in 0..400 {
            self.turn(true);
        }
        self.check();
        for host in &self.hosts {
            for (index, slot) in host.slots.iter().enumerate() {
                let Some(slot) = slot else { continue };
                let is_through = slot.is_garbled || slot.asked.is_empty() || slot.vendor.is_some();
                assert!(is_through, "connection {index} waits for {:?}", slot.asked);
            }
        }
    }

    /// What holds at any time.
    pub(super) fn check(&self) {
        for host in &self.hosts {
            let report = host.shard.report();
            let slots = host.slots.iter().flatten().count();
            assert!(report.sessions as usize + report.lobby as usize <= slots, "{report:?}");
            assert!(report.lobby as usize <= LOBBY_MAX);
            for (vendor, counters) in report.vendors.iter().enumerate() {
                let settings = &self.snapshot.vendors[vendor].settings;
                assert!(counters.in_flight <= settings.window_size.max(WINDOW) * settings.binds, "{counters:?}");
                assert!(counters.links_bound <= settings.binds, "{counters:?}");
                let is_told = counters.submits_ok + counters.submits_failed + counters.throttled;
                assert!(is_told + counters.unknown_outcomes <= counters.submits, "{counters:?}");
            }
            for customer in &report.customers {
                assert!(customer.submits_ok <= customer.submits, "{customer:?}");
            }
        }
    }

    /// Takes out what a shard has put in: octets first, for an action may close their connection.
    fn carry_out(&mut self, host: usize) {
        let (mut dirty, mut actions) = (Vec::new(), Vec::new());
        loop {
            let Host { shard, out, .. } = &mut self.hosts[host];
            shard.read_back(self.now, out);
            self.hosts[host].out.take_dirty(&mut dirty);
            self.hosts[host].out.take_actions(&mut actions);
            if dirty.is_empty() && actions.is_empty() {
                return;
            }
            for conn in dirty.drain(..) {
                let mut octets = Vec::new();
                let Host { out, slots, .. } = &mut self.hosts[host];
                out.take(conn, &mut octets);
                if let Some(Some(slot)) = slots.get_mut(conn.index()) {
                    slot.untaken += octets.len();
                    slot.trace.iter_mut().for_each(|trace| trace.written(&octets));
                    look_at(slot, &octets, self.now.mono);
                }
            }
            self.hosts[host]
                .slots
                .iter_mut()
                .flatten()
                .for_each(|slot| slot.trace.iter_mut().for_each(trace::Watched::look));
            for action in core::mem::take(&mut actions) {
                self.act(host, action);
            }
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        let host = &mut self.hosts[index];
        match action {
            Action::Read { conn, mode } => {
                if let Some(Some(slot)) = host.slots.get_mut(conn.index()) {
                    slot.mode = mode;
                }
            }
            Action::Close { conn, .. } => {
                assert!(host.slots[conn.index()].take().is_some(), "{conn} is closed twice");
                host.out.clear(conn);
            }
            Action::Move { conn, to, seed } => {
                let slot = host.slots[conn.index()].take().expect("what moves is there");
                assert_eq!(slot.mode, ReadMode::Stop, "nothing is in flight when a connection moves");
                host.out.clear(conn);
                let to = to.index();
                let Some(conn) = self.open_slot(to, None, ReadMode::Stop) else { return };
                self.hosts[to].slots[conn.index()] = Some(Slot { untaken: 0, ..slot });
                let Host { shard, out, .. } = &mut self.hosts[to];
                shard.adopted(conn, seed, self.now, out);
                self.carry_out(to);
            }
            Action::Connect { link, vendor } => {
                assert!(host.connecting.iter().all(|(other, _)| *other != link), "{link} connects twice at one time");
                host.connecting.push((link, vendor));
            }
            Action::AbandonConnect { link } => host.connecting.retain(|(other, _)| *other != link),
            Action::Authenticate(request) => host.asking.push(request),
            Action::ReadSegment { segment } => {
                let octets = self.disk.get(&host.log).and_then(|segments| segments.get(segment as usize)).cloned();
                let octets = octets.ok_or_else(|| "it was never written".to_owned());
                host.shard.segment_read(segment, octets, &mut host.out);
            }
            Action::FreeSegments { before } => {
                let segments = self.disk.entry(host.log).or_default();
                segments.iter_mut().take(before as usize).for_each(Vec::clear);
            }
            Action::Log(_) | Action::Retire { .. } | Action::Reply { .. } | Action::BindOver { .. } => {}
        }
    }
}

/// Octets that a shard has written to a connection.
fn look_at(slot: &mut Slot, mut octets: &[u8], now: Time) {
    while !octets.is_empty() {
        let Deframed::Pdu { header, pdu } = deframe(octets, PDU_BYTES_MAX) else {
            panic!("a shard writes what is no whole PDU: {octets:02X?}")
        };
        octets = &octets[pdu.len()..];
        let Header { command_id, sequence_number, .. } = header;
        let is_nack = command_id == CommandId::GENERIC_NACK;
        if command_id.is_response() || is_nack {
            let is_known = slot.asked.remove(&sequence_number);
            assert!(is_known || slot.is_garbled, "{header:?} answers nothing, or a second time");
        } else {
            let before = slot.open.insert(sequence_number, (command_id, Some(now)));
            assert!(before.is_none() || slot.is_garbled, "{header:?} has the number of an open request");
            check_window(slot, command_id, now);
        }
    }
}

/// The sequence_number of a request of that kind which the peer may answer; it may have been answered before.
fn answerable(slot: &mut Slot, choice: u8, kind: CommandId) -> Option<u32> {
    let of_kind: Vec<u32> =
        slot.open.iter().filter(|(_, (command, _))| *command == kind).map(|(sequence, _)| *sequence).collect();
    let sequence = *of_kind.get(usize::from(choice & 0x7F).checked_rem(of_kind.len())?)?;
    // Now and then the same is answered twice, and the second time late.
    if choice < 0xC0 {
        slot.open.remove(&sequence);
    } else if let Some((_, since)) = slot.open.get_mut(&sequence) {
        *since = None;
    }
    Some(sequence)
}

/// A request still counts until the gateway has given it up; a garbled peer may have answered without our knowing.
fn check_window(slot: &Slot, command: CommandId, now: Time) {
    let (limit, longest_ms) = match command {
        CommandId::SUBMIT_SM => (WINDOW, RESPONSE_MS),
        CommandId::DELIVER_SM => (DELIVER_WINDOW, DELIVER_RESPONSE_MS_MAX),
        _ => return,
    };
    let counts = |(open, since): &&(CommandId, Option<Time>)| {
        *open == command && since.is_some_and(|since| now.millis_since(since) < longest_ms)
    };
    let open = slot.open.values().filter(counts).count();
    assert!(slot.is_garbled || open <= limit as usize, "{open} of {command:?} are open in a window of {limit}");
}

/// The homes of customers that have nothing in the journal.
fn homes(shards: u16) -> Vec<ShardId> {
    (0..CUSTOMERS).map(|customer| ShardId((customer % u32::from(shards)) as u16)).collect()
}

/// A message with that text and nothing else.
fn blank(text: &[u8]) -> ShortMessage<'_> {
    let mut pdu = Vec::new();
    Encoder::new(&mut pdu, CommandId::SUBMIT_SM, CommandStatus::ESME_ROK, 1).octets(&[0; 17]).finish();
    let blank = ShortMessage::decode(&pdu).expect("seventeen zeros are an empty submit_sm");
    ShortMessage {
        service_type: b"",
        source: Address { ton: 5, npi: 0, addr: b"1555" },
        dest: Address { ton: 1, npi: 1, addr: b"1777" },
        schedule_delivery_time: b"",
        validity_period: b"",
        short_message: text,
        tlvs: Tlvs::default(),
        ..blank
    }
}
