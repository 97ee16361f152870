//! The table of connections: what the pump knows of each beside what its socket has under way.
//!
//! Lives on the shard's thread, by the same index as the sockets' slots and the shard's [`smpp_shards::Conn`].

use std::net::SocketAddr;

use smpp_shards::{LinkId, ReadMode, SessionSeed, ShardId, Time, VendorId};

use crate::net::Slot;
use crate::tls::TlsSession;

/// Where a connection stands.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    /// The slot is not in use.
    #[default]
    Free,
    /// The shard knows it.
    Open,
    /// Towards a vendor, and not handed to the shard yet: TCP, or the TLS handshake.
    Connecting(Box<Attempt>),
    /// The shard has done with it; its last octets are being sent.
    Flushing,
    /// Our side is closed; what still comes is thrown away, so that no reset overtakes our last octets. With the octets that
    /// may still come.
    Lingering(usize),
    /// Waits for the kernel to end what is under way; then it is closed.
    Closing,
    /// Waits for the same; then it goes to another shard.
    Moving(Box<Departure>),
}

/// One try to reach a vendor.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) link: LinkId,
    pub(crate) vendor: VendorId,
    /// The address being tried.
    pub(crate) address: SocketAddr,
    /// Those to be tried when it fails, the next one last.
    pub(crate) others: Vec<SocketAddr>,
    /// When the whole of it has failed.
    pub(crate) give_up: Time,
    /// TCP stands; the TLS handshake goes on.
    pub(crate) is_connected: bool,
}

/// A connection about to move.
#[derive(Debug)]
pub(crate) struct Departure {
    pub(crate) to: ShardId,
    pub(crate) seed: Box<SessionSeed>,
    /// Octets off the wire that came after the shard had let go.
    pub(crate) received: Vec<u8>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    pub(crate) tls: Option<Box<TlsSession>>,
    /// What the shard asked for last. With TLS a receive may bring it nothing, and is then repeated.
    pub(crate) reading: ReadMode,
    /// With TLS: plain octets within the send under way.
    pub(crate) plain_under_way: usize,
    /// When the send under way last got on.
    pub(crate) progress: Time,
    /// When the present phase ends by force; [`Time::NEVER`] when it does not.
    pub(crate) deadline: Time,
    /// Counts the uses of the slot, so that a timer of an earlier one is known as such.
    pub(crate) used: u32,
    /// The peer has closed its side.
    pub(crate) end_seen: bool,
    /// It waits for its turn to shake hands.
    pub(crate) shaking: bool,
}

impl Default for Connection {
    fn default() -> Self {
        Self {
            phase: Phase::Free,
            tls: None,
            reading: ReadMode::Stop,
            plain_under_way: 0,
            progress: Time::default(),
            deadline: Time::NEVER,
            used: 0,
            end_seen: false,
            shaking: false,
        }
    }
}

/// All of a shard's connections, by slot.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    entries: Vec<Connection>,
}

impl Connections {
    /// Begins a new use of a slot.
    pub(crate) fn open(&mut self, slot: Slot, phase: Phase, tls: Option<Box<TlsSession>>) {
        if slot.index() >= self.entries.len() {
            self.entries.resize_with(slot.index() + 1, Connection::default);
        }
        let entry = &mut self.entries[slot.index()];
        debug_assert!(matches!(entry.phase, Phase::Free));
        *entry = Connection { phase, tls, used: entry.used, ..Connection::default() };
    }

    /// Ends the present use; hands its TLS state back.
    pub(crate) fn release(&mut self, slot: Slot) -> Option<Box<TlsSession>> {
        let entry = &mut self.entries[slot.index()];
        let used = entry.used.wrapping_add(1);
        core::mem::replace(entry, Connection { used, ..Connection::default() }).tls
    }

    #[inline]
    pub(crate) fn get(&mut self, slot: Slot) -> &mut Connection {
        &mut self.entries[slot.index()]
    }

    /// The slots there are, used or not.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        (0..self.entries.len() as u32).map(Slot)
    }
}
