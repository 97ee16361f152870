//! What the control thread and the shards' hosts say to each other: rare values over bounded channels, with a
//! bell on either side.
//!
//! Lives on both sides. The shards' side ([`ControlSender`]) must never wait: everything here is `try_`, and each
//! bound has its answer. Nothing per message goes this way.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use smpp_shards::{
    AuthRequest, Command, CustomerId, DrainPhase, Event, Reply, Report, ShardId, Snapshot, StoreAnswer, TraceOrder,
    Verdict,
};
use tokio::sync::Notify;

use crate::store::StoreChannels;

/// Values that may wait for one shard. A shard's lobby cannot have more binds being checked than it has room for,
/// so that verdicts always find a place; a verdict that does not is dropped and the bind timer ends that bind.
pub const TO_SHARD_MAX: usize = 8_192;

/// Values of all shards that may wait for the control thread, of whatever kind. Reports have the last of it to
/// themselves; one that finds no room is dropped, for the next one tells all of it again.
pub const TO_CONTROL_MAX: usize = 16_384;

/// Binds waiting to be looked at: above this many values in the channel a bind is answered ESME_RSYSERR.
pub const AUTHENTICATE_WAITING_MAX: usize = 16_000;

/// Above this many values in the channel events are dropped and counted, so that a flood of them does not keep
/// binds and reports out.
pub const EVENTS_WAITING_MAX: usize = 8_000;

const _: () = {
    assert!(TO_SHARD_MAX > smpp_shards::bounds::LOBBY_MAX + smpp_shards::bounds::LOOKUPS_MAX);
    assert!(EVENTS_WAITING_MAX < AUTHENTICATE_WAITING_MAX);
    assert!(AUTHENTICATE_WAITING_MAX < TO_CONTROL_MAX);
};

/// From the control thread (or, on the way down, the program's main thread) to one shard.
pub enum ToShard {
    /// The answer to a bind.
    Verdict(Verdict),
    /// What the message store has found.
    StoreAnswer(StoreAnswer),
    /// A configuration to put in force.
    Snapshot(Arc<Snapshot>),
    /// The next phase of the way down.
    Drain(DrainPhase),
    /// Something to do or to tell, and the ticket under which it is answered.
    Command(u64, Box<Command>),
    /// A session to be traced, and the ticket under which that is answered.
    Trace(u64, Box<TraceOrder>),
    /// End the shard's thread.
    Stop,
}

/// Without the snapshot's content, for there are passwords in it.
impl fmt::Debug for ToShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(verdict) => f.debug_tuple("Verdict").field(verdict).finish(),
            Self::StoreAnswer(answer) => f.debug_tuple("StoreAnswer").field(&answer.ticket).finish(),
            Self::Snapshot(snapshot) => f.debug_tuple("Snapshot").field(&snapshot.version).finish(),
            Self::Drain(phase) => f.debug_tuple("Drain").field(phase).finish(),
            Self::Command(ticket, _) => f.debug_tuple("Command").field(ticket).finish(),
            Self::Trace(ticket, order) => f.debug_tuple("Trace").field(ticket).field(&order.target).finish(),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// From a shard to the control thread.
pub enum ToControl {
    /// A bind to check; answered by [`ToShard::Verdict`].
    Authenticate(AuthRequest),
    /// A line for the log.
    Event(ShardId, Event),
    /// The counters of one shard, once a second.
    Report(Box<Report>),
    /// The answer to a [`ToShard::Command`].
    Reply(u64, Reply),
    /// A bind that was let pass, and counted over all nodes, is over or has come to nothing.
    BindOver(CustomerId),
    /// A shard has done with a configuration.
    Retired {
        /// Which shard.
        shard: ShardId,
        /// The version that is in force there now.
        in_force: u64,
        /// To be freed on the control's side, for that takes longer than a shard's turn may.
        snapshot: Arc<Snapshot>,
    },
}

/// Without the snapshot's content, for there are passwords in it.
impl fmt::Debug for ToControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authenticate(request) => f.debug_tuple("Authenticate").field(request).finish(),
            Self::Event(shard, event) => f.debug_tuple("Event").field(shard).field(event).finish(),
            Self::Report(report) => f.debug_tuple("Report").field(report).finish(),
            Self::Reply(ticket, reply) => f.debug_tuple("Reply").field(ticket).field(reply).finish(),
            Self::BindOver(customer) => f.debug_tuple("BindOver").field(customer).finish(),
            Self::Retired { shard, in_force, .. } => f.debug_tuple("Retired").field(shard).field(in_force).finish(),
        }
    }
}

/// Wakes a shard that may be asleep.
pub trait Bell: Send + Sync {
    /// Rings: the shard looks into its channel soon. Cheap when the shard is awake; never waits.
    fn ring(&self);
}

/// How to reach one shard.
#[derive(Clone)]
pub struct ShardHandle {
    /// Into its channel, bounded by [`TO_SHARD_MAX`].
    pub sender: Sender<ToShard>,
    /// To be rung after each send.
    pub bell: Arc<dyn Bell>,
}

impl ShardHandle {
    /// Sends one value and rings the bell; never waits.
    ///
    /// # Errors
    /// The value, when the channel is full or the shard has gone.
    pub fn send(&self, value: ToShard) -> Result<(), ToShard> {
        let result = self.sender.try_send(value);
        self.bell.ring();
        result.map_err(TrySendError::into_inner)
    }
}

/// A channel towards one shard: the sender for its [`ShardHandle`], the receiver for its host.
pub fn shard_channel() -> (Sender<ToShard>, Receiver<ToShard>) {
    bounded(TO_SHARD_MAX)
}

/// Wakes the control thread from any thread.
#[derive(Clone, Debug, Default)]
pub struct ControlWaker {
    shared: Arc<WakerState>,
}

#[derive(Debug, Default)]
struct WakerState {
    woken: AtomicBool,
    notify: Notify,
}

impl ControlWaker {
    /// Makes the control thread look into its channel. Of many calls before it looks only the first costs more
    /// than one atomic exchange.
    pub fn wake(&self) {
        if !self.shared.woken.swap(true, Ordering::AcqRel) {
            self.shared.notify.notify_one();
        }
    }

    /// The control thread's side: waits until woken, and arms the waker again. What was sent before the wake is
    /// seen by whoever drains the channel after this returns.
    pub async fn woken(&self) {
        self.shared.notify.notified().await;
        self.shared.woken.swap(false, Ordering::AcqRel);
    }
}

/// The control thread's ends of all channels.
pub struct ControlChannels {
    /// By [`ShardId`].
    pub shards: Vec<ShardHandle>,
    /// What the shards send.
    pub incoming: Receiver<ToControl>,
    /// Rung by the shards.
    pub waker: ControlWaker,
    /// Events that found no room so far; the same counter as the sender's.
    pub dropped_events: Arc<AtomicU64>,
    /// Where the shards have rings to a message store.
    pub store: Option<StoreChannels>,
}

/// The shards' end of the channel to the control thread. Each host keeps a clone.
#[derive(Clone, Debug)]
pub struct ControlSender {
    sender: Sender<ToControl>,
    waker: ControlWaker,
    dropped_events: Arc<AtomicU64>,
}

impl ControlSender {
    /// Asks for a bind to be checked. The verdict comes through the asking shard's channel.
    ///
    /// # Errors
    /// The request, when the channel is full or the control thread has gone: the host answers with ESME_RSYSERR
    /// as the verdict.
    pub fn try_authenticate(&self, request: AuthRequest) -> Result<(), Box<AuthRequest>> {
        if self.sender.len() >= AUTHENTICATE_WAITING_MAX {
            return Err(Box::new(request));
        }
        let result = self.sender.try_send(ToControl::Authenticate(request));
        self.waker.wake();
        result.map_err(|error| match error.into_inner() {
            ToControl::Authenticate(request) => Box::new(request),
            _ => unreachable!("what comes back is what was sent"),
        })
    }

    /// Hands over a line for the log; drops and counts it where there is no room.
    pub fn event(&self, shard: ShardId, event: Event) {
        let has_room = self.sender.len() < EVENTS_WAITING_MAX;
        if !has_room || self.sender.try_send(ToControl::Event(shard, event)).is_err() {
            self.dropped_events.fetch_add(1, Ordering::Relaxed);
        }
        self.waker.wake();
    }

    /// Hands over a shard's counters; one that finds no room is dropped.
    pub fn report(&self, report: Box<Report>) {
        // A lost report is made good by the next one, so nothing is done about it.
        let _ = self.sender.try_send(ToControl::Report(report));
        self.waker.wake();
    }

    /// Hands over the answer to a command; one that finds no room is dropped, and whoever asked stops waiting.
    pub fn reply(&self, ticket: u64, reply: Reply) {
        let _ = self.sender.try_send(ToControl::Reply(ticket, reply));
        self.waker.wake();
    }

    /// Tells that the ring of a trace is to be read.
    pub fn traced(&self) {
        self.waker.wake();
    }

    /// Tells that a counted bind is over. One that finds no room is dropped: the count is set right from a later report.
    pub fn bind_over(&self, customer: CustomerId) {
        let _ = self.sender.try_send(ToControl::BindOver(customer));
        self.waker.wake();
    }

    /// Gives a configuration back that is not used any more, and tells which one is in force.
    ///
    /// # Errors
    /// The configuration, when the channel is full: to be tried again later.
    pub fn retire(&self, shard: ShardId, in_force: u64, snapshot: Arc<Snapshot>) -> Result<(), Arc<Snapshot>> {
        let result = self.sender.try_send(ToControl::Retired { shard, in_force, snapshot });
        self.waker.wake();
        result.map_err(|error| match error.into_inner() {
            ToControl::Retired { snapshot, .. } => snapshot,
            _ => unreachable!("what comes back is what was sent"),
        })
    }

    /// Events that found no room so far.
    pub fn dropped_events(&self) -> u64 {
        self.dropped_events.load(Ordering::Relaxed)
    }
}

/// Makes the channel towards the control thread: its ends for [`crate::Control::start`], and the sender for the
/// shards' hosts.
pub fn control_channels(shards: Vec<ShardHandle>) -> (ControlChannels, ControlSender) {
    let (sender, incoming) = bounded(TO_CONTROL_MAX);
    let waker = ControlWaker::default();
    let dropped_events = Arc::new(AtomicU64::new(0));
    let channels = ControlChannels {
        shards,
        incoming,
        waker: waker.clone(),
        dropped_events: Arc::clone(&dropped_events),
        store: None,
    };
    (channels, ControlSender { sender, waker, dropped_events })
}

#[cfg(test)]
mod tests {
    use super::*;
    use smpp_shards::{Conn, EndReason};
    use std::net::{IpAddr, Ipv4Addr};

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn request() -> AuthRequest {
        AuthRequest {
            shard: ShardId(0),
            conn: Conn(1),
            ticket: 7,
            system_id: b"acme".to_vec(),
            password: b"secret12".to_vec(),
            peer: PEER,
            tls: false,
            certificate: None,
        }
    }

    fn event() -> Event {
        Event::LobbyClosed { peer: PEER, reason: EndReason::BindTimer }
    }

    #[test]
    fn events_beyond_their_share_are_dropped_and_counted_while_binds_still_pass() {
        let (channels, sender) = control_channels(Vec::new());
        for _ in 0..EVENTS_WAITING_MAX + 3 {
            sender.event(ShardId(0), event());
        }
        assert_eq!(sender.dropped_events(), 3);
        assert_eq!(channels.incoming.len(), EVENTS_WAITING_MAX);
        assert!(sender.try_authenticate(request()).is_ok());
        sender.report(Box::default());
        assert_eq!(channels.incoming.len(), EVENTS_WAITING_MAX + 2);
    }

    #[test]
    fn a_bind_that_finds_the_channel_full_comes_back() {
        let (channels, sender) = control_channels(Vec::new());
        for _ in 0..AUTHENTICATE_WAITING_MAX {
            assert!(sender.try_authenticate(request()).is_ok());
        }
        let refused = sender.try_authenticate(request());
        assert_eq!(refused.map_err(|request| request.ticket), Err(7));
        drop(channels);
    }

    #[test]
    fn a_wake_before_the_wait_is_not_lost() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let waker = ControlWaker::default();
        waker.wake();
        waker.wake();
        runtime.block_on(waker.woken());
        waker.wake();
        runtime.block_on(waker.woken());
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let waker = ControlWaker::default();
        let other = waker.clone();
        let thread = std::thread::spawn(move || other.wake());
        runtime.block_on(waker.woken());
        thread.join().unwrap();
    }
}
