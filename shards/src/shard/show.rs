//! PDUs shown in the log: what comes from customers and vendors and what is written to them, while their component's level is
//! DEBUG.
//!
//! Off it is one branch for each PDU, and for each turn the one that traces have. What comes is shown before it is handled,
//! what is written when `trace.rs` reads it back. Each way [`SHOWN_PER_SECOND_MAX`] a second are shown, so that neither hides
//! the other, cut to [`SAMPLE_BYTES_MAX`] octets, with the passwords of binds masked; what is handled and sent is the same.

use smpp_pdu::Header;

use super::{Role, Shard};
use crate::bounds::{SAMPLE_BYTES_MAX, SHOWN_PER_SECOND_MAX};
use crate::bucket::TokenBucket;
use crate::event::{Event, PduPeer};
use crate::names::Conn;
use crate::output::{Action, Output};
use crate::time::{Now, Time};
use crate::trace::{Direction, without_password};

/// Whose PDUs are shown.
#[derive(Debug)]
pub(super) struct Showing {
    of_customers: bool,
    of_vendors: bool,
    /// By direction.
    lines: [TokenBucket; 2],
}

impl Showing {
    pub(super) fn new(now: Time) -> Self {
        Self { of_customers: false, of_vendors: false, lines: [TokenBucket::new(SHOWN_PER_SECOND_MAX, 0, now); 2] }
    }

    /// Whether anybody's are.
    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.of_customers || self.of_vendors
    }

    /// A PDU for the log; `None` where there were too many that way.
    pub(super) fn show(
        &mut self,
        peer: PduPeer,
        direction: Direction,
        header: Header,
        pdu: &[u8],
        now: Now,
    ) -> Option<Action> {
        if !self.lines[direction as usize].take(now.mono) {
            return None;
        }
        let mut masked = Vec::new();
        let (shown, _) = without_password(pdu, &mut masked);
        Some(Action::Log(Event::PduShown {
            direction,
            peer,
            command: header.command_id,
            status: header.command_status,
            sequence_number: header.sequence_number,
            pdu: shown[..shown.len().min(SAMPLE_BYTES_MAX)].into(),
        }))
    }
}

impl Shard {
    /// Shows the PDUs exchanged with customers and with vendors from now on, or does not.
    pub fn show_pdus(&mut self, of_customers: bool, of_vendors: bool, out: &mut Output) {
        self.showing.of_customers = of_customers;
        self.showing.of_vendors = of_vendors;
        if self.showing.is_on() {
            self.begin_to_read_back(out);
        }
    }

    /// Whose connection that is, where what goes over it is shown.
    pub(super) fn shown_peer(&self, conn: Conn) -> Option<PduPeer> {
        match &self.connections.get(conn.index())?.role {
            Role::Session(session) if self.showing.of_customers => Some(PduPeer::Customer(session.customer)),
            Role::Link(link) if self.showing.of_vendors => Some(PduPeer::Vendor(self.links[link.index()].vendor)),
            _ => None,
        }
    }

    /// A PDU has come over a connection, and is about to be handled.
    #[cold]
    pub(super) fn show_received(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        if let Some(peer) = self.shown_peer(conn)
            && let Some(action) = self.showing.show(peer, Direction::Received, header, pdu, now)
        {
            out.push(action);
        }
    }
}
