//! What a shard has to tell an operator: the lines of the log, as values.
//!
//! The control thread turns them into JSON lines. Nothing here is made per message, but for one of so many where an operator
//! asks for that: a busy gateway does not log a line for each.

use std::net::{IpAddr, SocketAddr};

use smpp_pdu::{CommandId, CommandStatus};

use crate::names::{CustomerId, LinkId, VendorId};
use crate::output::{CloseCause, ConnectFailure};
use crate::trace::Direction;

/// Why a session or link ended, or a bind came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The peer unbound.
    Unbound,
    /// The connection went away.
    Connection(CloseCause),
    /// No bind within the bind timer.
    BindTimer,
    /// The peer answered no enquire_link and sent nothing else.
    Inactive,
    /// The framing was lost: a command_length that cannot be.
    Framing {
        /// What it said.
        command_length: u32,
    },
    /// The peer answered a bind with that status.
    BindRefused(CommandStatus),
    /// The peer did not answer the bind in time.
    BindUnanswered,
    /// The gateway stops.
    Draining,
    /// An operator has ended it.
    Ended,
    /// The configuration no longer has it, or has it as not active.
    Removed,
    /// A vendor's link whose settings have changed: it is bound anew.
    Changed,
}

/// With whom a PDU is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PduPeer {
    /// A customer, over a session.
    Customer(CustomerId),
    /// A vendor, over a link.
    Vendor(VendorId),
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A listener could not accept; it tries again on its own, and those who connect wait meanwhile.
    AcceptFailed {
        /// Why.
        reason: String,
    },
    /// The journal cannot be written: nothing new is accepted until it can.
    JournalFails {
        /// Why.
        reason: String,
    },
    /// Something about the journal's files that holds nothing up.
    JournalTrouble {
        /// What.
        reason: String,
    },
    /// The journal is written again.
    JournalWorks,
    /// The journal takes up all the room it may have: nothing new is accepted until some of it is free. Told once, however
    /// often it is full and not full again before [`Event::JournalHasRoom`].
    JournalFull {
        /// Octets of this shard's segments, as many as it may have or more.
        bytes: u64,
        /// Octets that it may have.
        bytes_max: u64,
    },
    /// The journal was full, and has had room for [`crate::bounds::JOURNAL_ROOM_MS`].
    JournalHasRoom {
        /// Octets of this shard's segments.
        bytes: u64,
        /// Octets that it may have.
        bytes_max: u64,
    },
    /// A customer bound.
    SessionBound {
        /// Who.
        customer: CustomerId,
        /// From where.
        peer: IpAddr,
        /// `bind_transceiver`, `bind_transmitter` or `bind_receiver`.
        bind: &'static str,
        /// What the peer says it speaks.
        interface_version: u8,
    },
    /// A bind was refused.
    BindRejected {
        /// As the peer named itself, escaped.
        system_id: String,
        /// From where.
        peer: IpAddr,
        /// The answer it got.
        status: CommandStatus,
        /// Why, in words.
        reason: &'static str,
    },
    /// A connection ended that was never bound.
    LobbyClosed {
        /// From where.
        peer: IpAddr,
        /// Why.
        reason: EndReason,
    },
    /// A customer's connection did not get through the TLS handshake; the host's own, no shard tells it.
    HandshakeFailed {
        /// From where; `None` where the peer is gone already.
        peer: Option<IpAddr>,
        /// Why, in words.
        reason: String,
    },
    /// A customer's session ended.
    SessionClosed {
        /// Whose.
        customer: CustomerId,
        /// From where.
        peer: IpAddr,
        /// Why.
        reason: EndReason,
    },
    /// A vendor's link is bound.
    LinkBound {
        /// Whose.
        vendor: VendorId,
        /// Which of its binds.
        link: LinkId,
        /// From which local address.
        local: Option<SocketAddr>,
    },
    /// A vendor's link could not be connected.
    LinkConnectFailed {
        /// Whose.
        vendor: VendorId,
        /// Which of its binds.
        link: LinkId,
        /// At which step and why.
        failure: ConnectFailure,
        /// When it is tried again, in milliseconds.
        again_ms: u64,
    },
    /// A vendor's link ended or its bind was refused.
    LinkDown {
        /// Whose.
        vendor: VendorId,
        /// Which of its binds.
        link: LinkId,
        /// From which local address.
        local: Option<SocketAddr>,
        /// Why.
        reason: EndReason,
        /// When it is tried again, in milliseconds; `None` is never.
        again_ms: Option<u64>,
        /// Submits that were without an answer: their outcome is unknown.
        unanswered: u32,
    },
    /// A vendor failed five times in a row; told once until it is back.
    VendorAlert {
        /// Which.
        vendor: VendorId,
        /// How often in a row.
        failures: u32,
    },
    /// A PDU has come over a customer's session or a vendor's link, or was written to it; where the log's level asks for it,
    /// see [`crate::Shard::show_pdus`].
    PduShown {
        /// Which way it goes.
        direction: Direction,
        /// From whom, or to whom.
        peer: PduPeer,
        /// What it is.
        command: CommandId,
        /// The status of a response.
        status: CommandStatus,
        /// Its number.
        sequence_number: u32,
        /// The PDU without a bind's password, [`crate::bounds::SAMPLE_BYTES_MAX`] octets of it at the most.
        pdu: Box<[u8]>,
    },
    /// A vendor has answered a message: one of so many, as [`crate::GatewaySettings::log_sample`] asks for.
    MessageAnswered {
        /// Whose message.
        customer: CustomerId,
        /// Which vendor.
        vendor: VendorId,
        /// Our id, a UUID.
        message_id: String,
        /// The sender as the customer gave it, escaped.
        source: String,
        /// The destination, likewise.
        dest: String,
        /// Short messages that it makes on the air.
        segments: u8,
        /// From the customer's submit_sm to this answer.
        latency_ms: u64,
        /// The answer.
        status: CommandStatus,
        /// The submit_sm as it waits for its vendor, [`crate::bounds::SAMPLE_BYTES_MAX`] octets of it at the most.
        pdu: Box<[u8]>,
    },
    /// A receipt matches no message: answered ESME_ROK.
    ReceiptUnknown {
        /// From which vendor.
        vendor: VendorId,
        /// The id it names, escaped and cut to 64 characters.
        message_id: String,
    },
    /// A deliver_sm that cannot be understood or has no inbound route.
    DeliverRejected {
        /// From which vendor.
        vendor: VendorId,
        /// To which address, escaped.
        dest: String,
        /// The answer it got.
        status: CommandStatus,
    },
}
