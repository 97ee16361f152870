//! One customer connection that is bound: its state, and what of it moves from shard to shard.

use std::net::IpAddr;

use smpp_pdu::CommandId;

use crate::message_id::IdStyle;
use crate::names::CustomerId;
use crate::time::Time;
use crate::window::Window;

/// A bind that the control thread has accepted, on its way to the customer's home shard.
#[derive(Debug)]
pub struct SessionSeed {
    /// Whose it is.
    pub customer: CustomerId,
    /// Which of the three binds.
    pub command: CommandId,
    /// The bind's sequence_number: its answer is still to be given.
    pub sequence_number: u32,
    /// What the peer says it speaks.
    pub interface_version: u8,
    /// The peer's address.
    pub peer: IpAddr,
    /// Octets that came behind the bind.
    pub leftover: Vec<u8>,
}

/// How far a session's end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    /// In use.
    Bound,
    /// The peer has unbound and been answered; closes when no submit waits for its answer any more.
    Leaving,
    /// Its customer may not be bound any more; is unbound when no submit waits for its answer any more.
    Dismissed,
    /// We have unbound and wait for the answer.
    Unbinding,
}

/// A bound customer connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) customer: CustomerId,
    pub(crate) command: CommandId,
    pub(crate) interface_version: u8,
    pub(crate) style: IdStyle,
    pub(crate) peer: IpAddr,
    pub(crate) state: SessionState,
    /// Submits without an answer, and how many there may be.
    pub(crate) unanswered: u32,
    pub(crate) window: u32,
    /// deliver_sm without an answer.
    pub(crate) deliver: Window,
    /// When the oldest of the present full window was sent, for telling silent customers.
    pub(crate) last_taken: Time,
    /// It has left a kept delivery without an answer for too long: one at a time goes to it until it answers again.
    pub(crate) is_mute: bool,
    pub(crate) bound_at: Time,
    pub(crate) last_received: Time,
    pub(crate) enquired: bool,
    pub(crate) is_reading: bool,
    /// When a session that is leaving or unbinding is cut off, and one that was dismissed unbound.
    pub(crate) until: Time,
}

impl Session {
    pub(crate) fn new(seed: &SessionSeed, style: IdStyle, window: u32, now: Time) -> Self {
        Self {
            customer: seed.customer,
            command: seed.command,
            interface_version: seed.interface_version,
            style,
            peer: seed.peer,
            state: SessionState::Bound,
            unanswered: 0,
            window,
            deliver: Window::default(),
            last_taken: now,
            is_mute: false,
            bound_at: now,
            last_received: now,
            enquired: false,
            is_reading: true,
            until: Time::NEVER,
        }
    }

    /// Whether submit_sm may come over it.
    #[inline]
    pub(crate) fn can_submit(&self) -> bool {
        self.command != CommandId::BIND_RECEIVER
    }

    /// Whether one more deliver_sm may go over it.
    #[inline]
    pub(crate) fn has_delivery_room(&self, limit: u32) -> bool {
        self.can_receive() && self.deliver.open() < if self.is_mute { 1 } else { limit }
    }

    /// Whether deliver_sm may go over it.
    #[inline]
    pub(crate) fn can_receive(&self) -> bool {
        self.command != CommandId::BIND_TRANSMITTER && self.state == SessionState::Bound
    }
}
