//! PDUs shown in the log: what comes from bound customers and vendors, while their component's level is DEBUG.
//!
//! Off it is one branch for each PDU. On it shows [`SHOWN_PER_SECOND_MAX`] a second, cut to [`SAMPLE_BYTES_MAX`] octets, with the
//! passwords of binds masked; what is handled is the same.

use smpp_pdu::Header;

use super::{Role, Shard};
use crate::bounds::{SAMPLE_BYTES_MAX, SHOWN_PER_SECOND_MAX};
use crate::bucket::TokenBucket;
use crate::event::{Event, PduSender};
use crate::names::Conn;
use crate::output::{Action, Output};
use crate::time::{Now, Time};
use crate::trace::without_password;

/// Whose PDUs are shown.
#[derive(Debug)]
pub(super) struct Showing {
    of_customers: bool,
    of_vendors: bool,
    lines: TokenBucket,
}

impl Showing {
    pub(super) fn new(now: Time) -> Self {
        Self { of_customers: false, of_vendors: false, lines: TokenBucket::new(SHOWN_PER_SECOND_MAX, 0, now) }
    }

    /// Whether anybody's are.
    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.of_customers || self.of_vendors
    }
}

impl Shard {
    /// Shows the PDUs that customers and vendors send from now on, or does not.
    pub fn show_pdus(&mut self, of_customers: bool, of_vendors: bool) {
        self.showing.of_customers = of_customers;
        self.showing.of_vendors = of_vendors;
    }

    /// A PDU has come over a connection, and is about to be handled.
    #[cold]
    pub(super) fn show_received(&mut self, conn: Conn, header: Header, pdu: &[u8], now: Now, out: &mut Output) {
        let from = match &self.connections[conn.index()].role {
            Role::Session(session) if self.showing.of_customers => PduSender::Customer(session.customer),
            Role::Link(link) if self.showing.of_vendors => PduSender::Vendor(self.links[link.index()].vendor),
            _ => return,
        };
        if !self.showing.lines.take(now.mono) {
            return;
        }
        let mut masked = Vec::new();
        let (shown, _) = without_password(pdu, &mut masked);
        let pdu = shown[..shown.len().min(SAMPLE_BYTES_MAX)].into();
        let (command, sequence_number) = (header.command_id, header.sequence_number);
        out.push(Action::Log(Event::PduReceived {
            from,
            command,
            status: header.command_status,
            sequence_number,
            pdu,
        }));
    }
}
