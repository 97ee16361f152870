//! What comes out of a shard: octets per connection, and actions for the host to carry out.
//!
//! The host owns the [`Output`] and lends it with every call. After each call (or each turn of several calls)
//! it drains: takes the dirty connections' octets to send, and carries the actions out in their order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::command::Reply;
use crate::event::Event;
use crate::names::{Conn, CustomerId, LinkId, ShardId, VendorId};
use crate::session::SessionSeed;
use crate::snapshot::Snapshot;

/// How the host shall read from a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Not at all, until told otherwise. What is already on its way (a completion not yet handled) may still
    /// be handed in.
    Stop,
    /// One receive, then stop: the lobby, so that nothing is in flight when the connection moves.
    Once,
    /// Receive after receive.
    Stream,
}

/// A bind for the control thread to check. It answers with a [`Verdict`].
#[derive(Clone, PartialEq, Eq)]
pub struct AuthRequest {
    /// The asking shard.
    pub shard: ShardId,
    /// The asking connection.
    pub conn: Conn,
    /// Tells this asking from earlier ones on the same slot; to be handed back.
    pub ticket: u32,
    /// As sent by the peer, at most 15 octets.
    pub system_id: Vec<u8>,
    /// As sent by the peer, at most 64 octets. Never to be logged.
    pub password: Vec<u8>,
    /// The peer's address.
    pub peer: IpAddr,
    /// Whether the connection came in over TLS.
    pub tls: bool,
    /// The certificate that the peer has shown for itself over TLS (DER), which the host has checked against the authorities
    /// of the listener. The shard leaves it empty; the host fills it in.
    pub certificate: Option<Box<[u8]>>,
}

impl core::fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AuthRequest")
            .field("shard", &self.shard)
            .field("conn", &self.conn)
            .field("ticket", &self.ticket)
            .field("system_id", &self.system_id.escape_ascii().to_string())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The control thread's answer to an [`AuthRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// From the request.
    pub conn: Conn,
    /// From the request.
    pub ticket: u32,
    /// The customer and its home shard, or the command_status of the refusal.
    pub result: Result<(CustomerId, ShardId), smpp_pdu::CommandStatus>,
    /// Why it is refused, where the status alone does not tell; for the log.
    pub reason: Option<&'static str>,
}

/// Something for the host to do.
#[derive(Debug)]
pub enum Action {
    /// Change how a connection is read.
    Read {
        /// Which connection.
        conn: Conn,
        /// From now on.
        mode: ReadMode,
    },
    /// Close a connection. The shard has already forgotten it and must not be told of it again; the slot may
    /// be used anew once the host is through with it.
    Close {
        /// Which connection.
        conn: Conn,
        /// Send what is in its buffer first (bounded by the host: a peer that does not take it in 5 s is cut off).
        after_flush: bool,
    },
    /// Hand the connection, its TLS state and what TLS has left over to another shard, whose host calls
    /// [`crate::Shard::adopted`] with the seed. Here the slot is free afterwards. Octets in the output buffer
    /// (none, or answers to enquire_link) move along.
    Move {
        /// Which connection.
        conn: Conn,
        /// Where to.
        to: ShardId,
        /// What the new shard must know.
        seed: Box<SessionSeed>,
    },
    /// Resolve, connect and (for TLS) shake hands; then call [`crate::Shard::connected`] or
    /// [`crate::Shard::connect_failed`] for this link, exactly one of them. Reading starts with
    /// [`ReadMode::Stream`] at once.
    Connect {
        /// For which link.
        link: LinkId,
        /// Of which vendor: address, TLS and time limits stand in the snapshot.
        vendor: VendorId,
    },
    /// Give up connecting that link; neither `connected` nor `connect_failed` follows.
    AbandonConnect {
        /// Which link.
        link: LinkId,
    },
    /// Ask the control thread about a bind. Where its queue is full the host answers with
    /// ESME_RSYSERR as the verdict.
    Authenticate(AuthRequest),
    /// One of the journal's segments is wanted: [`crate::Shard::segment_read`].
    ReadSegment {
        /// Which.
        segment: u32,
    },
    /// The journal's segments below that one hold nothing any more that is wanted.
    FreeSegments {
        /// The first segment that is still wanted.
        before: u32,
    },
    /// Where limits count over all nodes: a bind that the control thread has let pass is over, or has come to nothing.
    BindOver {
        /// Whose.
        customer: CustomerId,
    },
    /// A configuration that this shard has done with: the one before, or one that was passed over. To be given back to the
    /// control thread, and not freed here.
    Retire {
        /// The version that is in force on this shard now.
        in_force: u64,
        /// What is to be freed elsewhere.
        snapshot: Arc<Snapshot>,
    },
    /// The answer to [`crate::Shard::command`]; dropped when the control thread cannot take it, whose patience then ends.
    Reply {
        /// From the command.
        ticket: u64,
        /// The answer.
        reply: Reply,
    },
    /// Something for the log; may be dropped (and counted) when the log cannot take it.
    Log(Event),
}

/// At which step connecting to a vendor failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStep {
    /// Resolving the host name.
    Name,
    /// The TCP connection.
    Tcp,
    /// The TLS handshake.
    Tls,
}

impl ConnectStep {
    /// As it stands in logs and status answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

/// Why a connection to a vendor did not come about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectFailure {
    /// At which step.
    pub step: ConnectStep,
    /// From which local address, where there was one.
    pub local: Option<SocketAddr>,
    /// The cause in words.
    pub reason: String,
}

/// Why a connection is gone, told by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer closed its sending side.
    EndOfStream,
    /// An error on the socket, such as a reset.
    Reset,
    /// TLS broke: a bad record or alert.
    Tls,
    /// The peer took nothing of what was to be sent for `bounds::WRITE_STALL_MS_MAX`.
    WriteStalled,
}

#[derive(Debug, Default)]
struct Buffer {
    filling: Vec<u8>,
    in_flight: usize,
    /// So much of `filling` has been handed out by [`Output::take_written`].
    read_back: usize,
    dirty: bool,
}

/// Octets and actions that wait for the host. One per shard, owned by the host, lent to every call.
#[derive(Debug, Default)]
pub struct Output {
    buffers: Vec<Buffer>,
    dirty: Vec<Conn>,
    actions: Vec<Action>,
}

impl Output {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The buffer to which PDUs for this connection are appended; marks it dirty.
    #[inline]
    pub fn buffer(&mut self, conn: Conn) -> &mut Vec<u8> {
        let index = conn.index();
        if index >= self.buffers.len() {
            self.buffers.resize_with(index + 1, Buffer::default);
        }
        let buffer = &mut self.buffers[index];
        if !buffer.dirty {
            buffer.dirty = true;
            self.dirty.push(conn);
        }
        &mut buffer.filling
    }

    /// Octets of this connection that the peer's kernel has not been given yet: those being filled and those
    /// handed to the host for sending.
    #[inline]
    pub fn queued_bytes(&self, conn: Conn) -> usize {
        self.buffers.get(conn.index()).map_or(0, |buffer| buffer.filling.len() + buffer.in_flight)
    }

    /// What was written to this connection since the last call, as far as it has not been taken to be sent; beside it the
    /// waiting actions.
    pub(crate) fn take_written(&mut self, conn: Conn) -> (&[u8], &mut Vec<Action>) {
        let Some(buffer) = self.buffers.get_mut(conn.index()) else { return (&[], &mut self.actions) };
        let from = core::mem::replace(&mut buffer.read_back, buffer.filling.len());
        (&buffer.filling[from..], &mut self.actions)
    }

    /// [`Output::take_written`] for every connection, without looking at it.
    pub(crate) fn pass_over_written(&mut self) {
        for buffer in &mut self.buffers {
            buffer.read_back = buffer.filling.len();
        }
    }

    /// The connections with new octets since the host's last [`Output::take_dirty`], by their places in its order.
    pub(crate) fn dirty(&self, place: usize) -> Option<Conn> {
        self.dirty.get(place).copied()
    }

    /// Adds an action.
    #[inline]
    pub fn push(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// The host's side: the connections with new octets since the last call, in first-written order, swapped
    /// into `into` (which must be empty). A connection whose octets the host leaves in place must be asked for
    /// again by [`Output::pending`] when its sending ends.
    pub fn take_dirty(&mut self, into: &mut Vec<Conn>) {
        debug_assert!(into.is_empty());
        core::mem::swap(&mut self.dirty, into);
        for conn in into.iter() {
            self.buffers[conn.index()].dirty = false;
        }
    }

    /// The host's side: octets waiting in the filling buffer.
    #[inline]
    pub fn pending(&self, conn: Conn) -> usize {
        self.buffers.get(conn.index()).map_or(0, |buffer| buffer.filling.len())
    }

    /// The host's side: swaps the filled buffer against `empty`, to be sent while the other one fills. Counts
    /// its octets as in flight until [`Output::sent`].
    pub fn take(&mut self, conn: Conn, empty: &mut Vec<u8>) {
        debug_assert!(empty.is_empty());
        if let Some(buffer) = self.buffers.get_mut(conn.index()) {
            core::mem::swap(&mut buffer.filling, empty);
            buffer.in_flight += empty.len();
            buffer.read_back = 0;
        }
    }

    /// The host's side: `bytes` of what was taken have been handed to the kernel. Call
    /// [`crate::Shard::sent`] afterwards.
    pub fn sent(&mut self, conn: Conn, bytes: usize) {
        if let Some(buffer) = self.buffers.get_mut(conn.index()) {
            buffer.in_flight = buffer.in_flight.saturating_sub(bytes);
        }
    }

    /// The host's side: forgets what waits for this connection; its slot is about to be used anew.
    pub fn clear(&mut self, conn: Conn) {
        if let Some(buffer) = self.buffers.get_mut(conn.index()) {
            buffer.filling.clear();
            buffer.filling.shrink_to(crate::bounds::OUTPUT_KEEP_BYTES);
            buffer.in_flight = 0;
            buffer.read_back = 0;
        }
    }

    /// The host's side: swaps the waiting actions into `into`, which must be empty.
    pub fn take_actions(&mut self, into: &mut Vec<Action>) {
        debug_assert!(into.is_empty());
        core::mem::swap(&mut self.actions, into);
    }

    /// The host's side: whether there is anything to carry out.
    pub fn is_idle(&self) -> bool {
        self.dirty.is_empty() && self.actions.is_empty()
    }
}
