//! The shard: its state by value, and the calls of its host.
//!
//! Each file below holds one phase of a connection's or message's life; this one holds the state and takes the
//! calls apart.

mod ahead;
mod answer;
mod carry;
mod commands;
mod connect;
mod deliver;
mod dispatch;
mod drain;
mod journal;
mod late;
mod lease;
mod links;
mod live;
mod lobby;
mod log;
mod lookup;
mod parts;
mod peers;
mod receipt;
mod restore;
mod rewrite;
mod sessions;
mod show;
mod store;
mod submit;
mod timers;
mod trace;

use std::net::SocketAddr;
use std::sync::Arc;

use smpp_pdu::{CommandId, CommandStatus, Header, encode};

use crate::bounds::{LINK_OUTPUT_BYTES_MAX, MESSAGES_KEPT_MAX, SESSION_OUTPUT_BYTES_MAX, SESSION_TIMER_STEP_MS};
use crate::bucket::TokenBucket;
use crate::deadlines::Deadlines;
use crate::deliveries::{CustomerDesk, Deliveries};
use crate::event::EndReason;
use crate::feed::Feed;
use crate::histogram::{Histogram, Latencies};
use crate::kept::KeptMessages;
use crate::lane::Lane;
use crate::late::{LateAnswers, Settled};
use crate::lease::Leasing;
use crate::ledger::Ledger;
use crate::link::Link;
use crate::lookups::Lookups;
use crate::message_id::MessageIds;
use crate::messages::Messages;
use crate::names::{Conn, CustomerId, LinkId, ShardId, VendorId};
use crate::output::{Action, CloseCause, Output, ReadMode};
use crate::random::Random;
use crate::receipts::AwaitedReceipts;
use crate::report::Report;
use crate::restore::Restored;
use crate::ring::Rings;
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::stream::{Next, PartialPdu};
use crate::time::{Now, Time};

use carry::Carrying;
use commands::ControlSubmits;
use live::Changing;
use restore::Restoring;
use show::Showing;
use trace::Tracing;

pub use drain::DrainPhase;
pub use journal::JournalSetup;
use lobby::Lobby;

/// What a shard is made of.
pub struct ShardSetup {
    /// Which one it is.
    pub shard: ShardId,
    /// How many there are in this process.
    pub shards: u16,
    /// For jitter, weights and message ids; from the host's random source.
    pub seed: u64,
    /// The configuration to start with.
    pub snapshot: Arc<Snapshot>,
    /// This shard's of [`crate::mesh`].
    pub rings: Rings,
    /// Where what it accepts is kept; `None` where a customer's answer is the vendor's.
    pub journal: Option<JournalSetup>,
    /// What older journals held for it, see [`crate::restore`]; nothing without a journal.
    pub restored: Restored,
    /// The ring to the message store; `None` without one.
    pub store: Option<Feed>,
}

/// What stands in a connection slot.
enum Role {
    Free,
    Lobby(Box<Lobby>),
    Session(Box<Session>),
    Link(LinkId),
}

struct Connection {
    /// Counts up with each use of the slot, so that late answers find nobody instead of a stranger.
    generation: u32,
    role: Role,
    partial: PartialPdu,
}

/// What a shard knows of any vendor, wherever its home is.
#[derive(Clone, Copy, Debug, Default)]
struct VendorView {
    is_up: bool,
    is_full: bool,
}

/// One shard. See the crate's documentation for its contract, and each method for who calls it when.
pub struct Shard {
    id: ShardId,
    snapshot: Arc<Snapshot>,
    changing: Changing,
    rings: Rings,
    random: Random,
    ids: MessageIds,

    connections: Vec<Connection>,
    connection_timers: Deadlines,
    lobby_count: usize,
    session_count: u32,
    tickets: u32,

    views: Vec<VendorView>,
    lanes: Vec<Lane>,
    lane_timers: Deadlines,
    links: Vec<Link>,
    /// Of links that are no more.
    free_links: Vec<LinkId>,
    /// Vendors may be connected.
    is_started: bool,
    link_timers: Deadlines,
    messages: Messages,
    awaited: AwaitedReceipts,
    /// To the message store, where there is one.
    feed: Option<Feed>,
    lookups: Lookups,
    late: LateAnswers,
    settled: Settled,
    late_answers_reconciled: u64,
    samples: log::Samples,
    showing: Showing,

    desks: Vec<CustomerDesk>,
    homes: Vec<Option<ShardId>>,
    deliveries: Deliveries,
    /// Deliveries held for absent or silent customers, by vendor.
    held: Vec<u32>,
    /// In journal mode.
    ledger: Option<Ledger>,
    kept: KeptMessages,
    restoring: Restoring,
    /// Something was taken over that may not be on disk yet.
    is_restore_uncommitted: bool,
    carrying: Carrying,
    /// Messages from before this start that were sent again.
    possible_duplicates: u64,
    /// Submits that each other shard has not answered yet.
    outstanding: Vec<u32>,

    control_submits: ControlSubmits,
    /// New submits are refused: draining.
    refusing: bool,
    phase: Option<DrainPhase>,
    binds_refused: u64,
    answers_without_session: u64,
    latencies: Latencies,
    /// Limits log lines that a peer could cause at will.
    noise: TokenBucket,
    /// Whether limits count over all nodes.
    leasing: Leasing,
    tracing: Tracing,

    whole: Vec<u8>,
    scratch: Vec<u8>,
    text: Vec<u8>,
    expired: Vec<u32>,
}

impl Shard {
    /// A shard that does nothing yet.
    pub fn new(setup: ShardSetup, now: Now) -> Self {
        let mut random = Random::new(setup.seed);
        let snapshot = setup.snapshot;
        let desks = snapshot.customers.iter().map(|customer| CustomerDesk::new(&customer.settings, now.mono));
        let lanes = snapshot.vendors.iter().map(|vendor| Lane::new(&vendor.settings, now.mono));
        Self {
            id: setup.shard,
            ids: MessageIds::new(snapshot.gateway.node, setup.shard, &mut random),
            random,
            connections: Vec::new(),
            connection_timers: Deadlines::new(SESSION_TIMER_STEP_MS),
            lobby_count: 0,
            session_count: 0,
            tickets: 0,
            views: vec![VendorView::default(); snapshot.vendors.len()],
            lanes: lanes.collect(),
            lane_timers: Deadlines::new(1),
            links: Vec::new(),
            free_links: Vec::new(),
            is_started: false,
            link_timers: Deadlines::new(1),
            messages: Messages::new(),
            awaited: AwaitedReceipts::new(snapshot.gateway.receipts_awaited as usize, setup.seed),
            lookups: Lookups::new(snapshot.vendors.len(), setup.store.is_some()),
            feed: setup.store,
            late: LateAnswers::default(),
            settled: Settled::default(),
            late_answers_reconciled: 0,
            samples: log::Samples::new(now.mono),
            showing: Showing::new(now.mono),
            desks: desks.collect(),
            homes: vec![None; snapshot.customers.len()],
            deliveries: Deliveries::new(),
            held: vec![0; snapshot.vendors.len()],
            outstanding: vec![0; usize::from(setup.shards)],
            ledger: setup.journal.map(JournalSetup::ledger),
            kept: KeptMessages::new(MESSAGES_KEPT_MAX as usize),
            restoring: Restoring::new(setup.restored),
            changing: Changing::new(snapshot.version, setup.shards),
            is_restore_uncommitted: false,
            carrying: Carrying::Idle,
            possible_duplicates: 0,
            control_submits: ControlSubmits::new(),
            refusing: false,
            phase: None,
            binds_refused: 0,
            answers_without_session: 0,
            latencies: Latencies::default(),
            noise: TokenBucket::new(20, 100, now.mono),
            leasing: Leasing::off(),
            tracing: Tracing::default(),
            whole: Vec::new(),
            scratch: Vec::new(),
            text: Vec::new(),
            expired: Vec::new(),
            rings: setup.rings,
            snapshot,
        }
    }

    /// The first call: the vendors that are at home here begin to be connected.
    pub fn start(&mut self, now: Now, out: &mut Output) {
        self.start_lanes(now, out);
    }

    /// A customer has connected. The first answer is how to read from it, or to close it.
    pub fn accepted(&mut self, conn: Conn, peer: SocketAddr, tls: bool, now: Now, out: &mut Output) {
        self.enter_lobby(conn, peer, tls, now, out);
    }

    /// Octets have come, split in any way. What is left of a PDU is kept here.
    pub fn received(&mut self, conn: Conn, bytes: &[u8], now: Now, out: &mut Output) {
        let Some(connection) = self.connections.get_mut(conn.index()) else { return };
        match &mut connection.role {
            Role::Free => return,
            Role::Session(session) => {
                session.last_received = now.mono;
                session.enquired = false;
            }
            Role::Link(link) => {
                let link = &mut self.links[link.index()];
                link.last_received = now.mono;
                link.enquired_at = None;
            }
            Role::Lobby(_) => {}
        }
        if self.tracing.is_on() {
            self.trace_received(conn, bytes, now, out);
        }
        self.take_apart(conn, bytes, now, out);
        self.watch_output(conn, out);
        self.lobby_read_on(conn, out);
    }

    /// Some of the connection's output has been sent: there is room again.
    pub fn sent(&mut self, conn: Conn, now: Now, out: &mut Output) {
        let Some(connection) = self.connections.get_mut(conn.index()) else { return };
        let queued = out.queued_bytes(conn);
        match &mut connection.role {
            Role::Session(session) => {
                if !session.is_reading && queued <= SESSION_OUTPUT_BYTES_MAX / 2 {
                    session.is_reading = true;
                    out.push(Action::Read { conn, mode: ReadMode::Stream });
                }
                let customer = session.customer;
                if !self.desks[customer.index()].waiting.is_empty() {
                    self.pump_deliveries(customer, now, out);
                }
            }
            Role::Link(link) => {
                let link = &mut self.links[link.index()];
                if !link.is_reading && queued <= LINK_OUTPUT_BYTES_MAX / 2 {
                    link.is_reading = true;
                    out.push(Action::Read { conn, mode: ReadMode::Stream });
                }
                let vendor = link.vendor;
                if self.lanes[vendor.index()].counters.queued > 0 {
                    self.pump_lane(vendor, now, out);
                }
            }
            Role::Lobby(_) => self.lobby_sent(conn, out),
            Role::Free => {}
        }
    }

    /// The connection has ended from outside. Not called for one that the shard itself closed or moved.
    pub fn closed(&mut self, conn: Conn, cause: CloseCause, now: Now, out: &mut Output) {
        self.end_connection(conn, EndReason::Connection(cause), now, out);
    }

    /// Everything that is due. Call it every turn; it is cheap when nothing is.
    pub fn tick(&mut self, now: Now, out: &mut Output) {
        self.run_timers(now, out);
        if self.changing.has_work() {
            self.change_on(now, out);
        }
        if self.has_to_carry() {
            self.carry(out);
        }
        if self.kept.next_due() <= now.mono {
            self.end_overdue(now, out);
        }
        if self.restoring.next_due() <= now.mono || self.is_restore_uncommitted {
            self.restore(now, out);
        }
        if let Some(event) = self.ledger.as_mut().and_then(|ledger| ledger.look_at_room(now.mono)) {
            out.push(Action::Log(event));
        }
    }

    /// When [`Shard::tick`] has something to do next; [`Time::NEVER`] when nothing is waited for.
    pub fn next_deadline(&self) -> Time {
        self.messages
            .next_due()
            .min(self.deliveries.next_due())
            .min(self.connection_timers.next())
            .min(self.lane_timers.next())
            .min(self.link_timers.next())
            .min(self.restoring_due())
            .min(self.changing.next_due())
            .min(self.kept.next_due())
            .min(self.lookups.next_due())
            .min(if self.has_to_carry() && !self.is_journal_behind() { Time::default() } else { Time::NEVER })
            .min(self.ledger.as_ref().map_or(Time::NEVER, Ledger::again_at))
    }

    /// Everything this shard tells about itself, copied.
    pub fn report(&self) -> Report {
        Report {
            shard: self.id,
            snapshot_version: self.changing.in_force(),
            sessions: self.session_count,
            lobby: self.lobby_count as u32,
            binds_refused: self.binds_refused,
            answers_without_session: self.answers_without_session,
            messages_open: (self.messages.open() + self.restoring.waiting()) as u32,
            deliveries_open: self.deliveries.open,
            receipts_awaited: self.awaited.len() as u32,
            messages_kept: self.kept.open() as u64,
            receipts_kept: self.deliveries.in_use() as u64,
            to_restore: self.restoring.progress(),
            possible_duplicates: self.possible_duplicates
                + self.lanes.iter().map(|lane| lane.counters.possible_duplicates).sum::<u64>(),
            late_answers_reconciled: self.late_answers_reconciled,
            latencies: self.latencies,
            turns: Histogram::default(),
            journal: self.ledger.as_ref().map(Ledger::report),
            store: self.feed_report(),
            is_quiet: self.is_quiet(),
            customers: self.desks.iter().map(|desk| desk.counters.clone()).collect(),
            vendors: self.lanes.iter().map(|lane| lane.counters.clone()).collect(),
        }
    }

    /// Cuts PDUs out of what came and handles each, until the connection ends or stops being read.
    fn take_apart(&mut self, conn: Conn, mut bytes: &[u8], now: Now, out: &mut Output) {
        let connection = &mut self.connections[conn.index()];
        let generation = connection.generation;
        let mut partial = core::mem::take(&mut connection.partial);
        let mut whole = core::mem::take(&mut self.whole);
        let mut ahead = 0;
        loop {
            match partial.next(&mut bytes, &mut whole) {
                Next::Pdu(header, pdu) => {
                    if ahead == 0 {
                        ahead = self.look_ahead(conn, bytes);
                    } else {
                        ahead -= 1;
                    }
                    self.handle(conn, header, pdu, now, out);
                }
                Next::Drained => break,
                Next::Fatal { command_length, sequence_number } => {
                    let status = CommandStatus::ESME_RINVCMDLEN;
                    encode::header_only(out.buffer(conn), CommandId::GENERIC_NACK, status, sequence_number);
                    self.hang_up(conn, EndReason::Framing { command_length }, now, out);
                    break;
                }
            }
            let connection = &self.connections[conn.index()];
            if connection.generation != generation {
                break;
            }
            if matches!(&connection.role, Role::Lobby(lobby) if lobby.is_asking()) {
                partial.keep(bytes);
                break;
            }
        }
        self.whole = whole;
        let connection = &mut self.connections[conn.index()];
        if connection.generation == generation {
            connection.partial = partial;
        }
    }

    #[inline]
    fn handle(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        if self.showing.is_on() {
            self.show_received(conn, header, pdu, now, out);
        }
        match &self.connections[conn.index()].role {
            Role::Session(_) => self.session_pdu(conn, header, pdu, now, out),
            Role::Link(link) => {
                let link = *link;
                self.link_pdu(link, conn, header, pdu, now, out);
            }
            Role::Lobby(_) => self.lobby_pdu(conn, header, pdu, now, out),
            Role::Free => {}
        }
    }

    /// Stops reading from a connection whose output is not taken.
    fn watch_output(&mut self, conn: Conn, out: &mut Output) {
        let queued = out.queued_bytes(conn);
        if queued <= SESSION_OUTPUT_BYTES_MAX {
            return;
        }
        let is_reading = match &mut self.connections[conn.index()].role {
            Role::Session(session) => &mut session.is_reading,
            Role::Link(link) if queued > LINK_OUTPUT_BYTES_MAX => &mut self.links[link.index()].is_reading,
            _ => return,
        };
        if core::mem::replace(is_reading, false) {
            out.push(Action::Read { conn, mode: ReadMode::Stop });
        }
    }

    /// Puts a role into a connection's slot, which must be free.
    fn occupy(&mut self, conn: Conn, role: Role) -> u32 {
        let index = conn.index();
        while self.connections.len() <= index {
            self.connections.push(Connection { generation: 0, role: Role::Free, partial: PartialPdu::default() });
        }
        let connection = &mut self.connections[index];
        debug_assert!(matches!(connection.role, Role::Free), "the host gives out free slots");
        connection.role = role;
        connection.generation
    }

    /// Forgets a connection: whatever still refers to it finds nobody.
    fn vacate(&mut self, conn: Conn) -> Role {
        let connection = &mut self.connections[conn.index()];
        connection.generation = connection.generation.wrapping_add(1);
        connection.partial = PartialPdu::default();
        self.connection_timers.set(conn.index(), Time::NEVER);
        core::mem::replace(&mut connection.role, Role::Free)
    }

    /// Ends a connection from our side, after what waits for it has been sent.
    fn hang_up(&mut self, conn: Conn, reason: EndReason, now: Now, out: &mut Output) {
        self.end_connection(conn, reason, now, out);
        out.push(Action::Close { conn, after_flush: true });
    }

    /// Whoever the connection was is told that it is no more.
    fn end_connection(&mut self, conn: Conn, reason: EndReason, now: Now, out: &mut Output) {
        if conn.index() >= self.connections.len() {
            return;
        }
        if self.tracing.reads_back {
            self.read_back_the_last(conn, now, out);
        }
        match self.vacate(conn) {
            Role::Free => {}
            Role::Lobby(lobby) => self.lobby_ended(&lobby, reason, now, out),
            Role::Session(session) => self.session_ended(conn, *session, reason, now, out),
            Role::Link(link) => self.link_ended(link, reason, now, out),
        }
    }

    /// The session on a connection.
    #[inline]
    fn session_mut(&mut self, conn: Conn) -> Option<&mut Session> {
        match self.connections.get_mut(conn.index()).map(|connection| &mut connection.role) {
            Some(Role::Session(session)) => Some(session),
            _ => None,
        }
    }

    fn is_home(&self, vendor: VendorId) -> bool {
        self.snapshot.vendor(vendor).is_some_and(|vendor| vendor.home == self.id)
    }

    fn style_of(&self, customer: CustomerId, interface_version: u8) -> crate::message_id::IdStyle {
        let format = self.snapshot.customers[customer.index()].settings.message_id_format;
        crate::message_id::IdStyle::of(format, interface_version)
    }
}
