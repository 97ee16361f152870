//! What the control thread may ask of a shard, and what it is answered: plain values, owned by their message.
//!
//! They cross in the host's bounded channels, a few a second, never beside a message. A shard does a bounded piece of
//! work for each and answers each with [`crate::Action::Reply`]: at once, but for [`Command::Submit`], whose parts are
//! answered when a customer's submit_sm would be.

use std::net::IpAddr;

use smpp_pdu::CommandStatus;

use crate::lease::{Leases, LimitUse};
use crate::message_id::{IdStyle, MessageId};
use crate::names::{Conn, CustomerId, VendorId};
use crate::trace::Traced;

/// Names one session of a shard, and tells it from later ones in the same slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionName {
    /// Its connection's slot.
    pub conn: Conn,
    /// Which use of the slot.
    pub generation: u32,
}

/// Something that the control thread asks. It keeps a ticket for each, by which it knows the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Copies of sessions, in the order of their slots.
    ListSessions {
        /// Of this customer alone.
        customer: Option<CustomerId>,
        /// The first slot to be looked at.
        from: u32,
        /// How many sessions at the most; cut to [`crate::bounds::SESSIONS_LISTED_MAX`].
        limit: usize,
    },
    /// Send unbind to a session and close it when that is answered, or after [`crate::bounds::UNBIND_MS_MAX`].
    EndSession {
        /// Which.
        session: SessionName,
    },
    /// Unbind a vendor's links and bind them anew; those that wait for their next attempt make it now. The shard must be
    /// the vendor's home.
    Reconnect {
        /// Which.
        vendor: VendorId,
    },
    /// Tell of the limits that were looked at since the last time.
    UsedLimits {
        /// How many at the most, cut to [`crate::bounds::LIMITS_TOLD_MAX`]; the others are told the next time.
        limit: usize,
    },
    /// From now on limits count over all nodes, and these are this node's leases.
    Lease(Leases),
    /// Take in a message of a customer as if the customer had sent it. The shard must be the customer's home.
    Submit {
        /// Whose.
        customer: CustomerId,
        /// Its parts, each a whole submit_sm. When one is refused at once, those behind it are not tried.
        parts: Vec<Vec<u8>>,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To [`Command::ListSessions`].
    Sessions {
        /// Copies.
        sessions: Vec<SessionFacts>,
        /// The slot from which the next list goes on; `None` when there is nothing more.
        next: Option<u32>,
    },
    /// To [`Command::EndSession`]: whether the session was there.
    Ended(bool),
    /// To [`Command::Reconnect`].
    Reconnecting {
        /// Links that were bound and have been unbound.
        unbound: u32,
        /// Links that waited and are connected now.
        hastened: u32,
        /// Links that were in the middle of it already.
        busy: u32,
    },
    /// To a [`crate::TraceOrder`]: `None` where there is no such session.
    Traced(Option<Traced>),
    /// To [`Command::UsedLimits`].
    UsedLimits(Vec<LimitUse>),
    /// To [`Command::Lease`].
    Leased,
    /// To [`Command::Submit`], one for each part.
    Submitted {
        /// Which part, from 0.
        part: u16,
        /// The id and how its customer sees it, or the refusal that the customer would have had.
        result: Result<(MessageId, IdStyle), CommandStatus>,
    },
}

/// What is told of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// By which name it can be ended.
    pub name: SessionName,
    /// Whose.
    pub customer: CustomerId,
    /// `bind_transceiver`, `bind_transmitter` or `bind_receiver`.
    pub bind: &'static str,
    /// What the peer says it speaks.
    pub interface_version: u8,
    /// From where.
    pub peer: IpAddr,
    /// `bound`, `leaving` or `unbinding`.
    pub state: &'static str,
    /// When it bound, milliseconds since 1970.
    pub bound_unix_ms: u64,
    /// Milliseconds since the peer last sent something.
    pub silent_ms: u64,
    /// Submits without an answer.
    pub unanswered: u32,
    /// How many there may be.
    pub window: u32,
    /// Receipts and MO that the peer has not answered.
    pub deliveries_unanswered: u32,
    /// Whether we read from it; not while the peer does not take its answers.
    pub is_reading: bool,
}
