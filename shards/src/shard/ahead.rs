//! Looking ahead: the messages that the next PDUs of a connection are about, touched before their turn comes.
//!
//! With thousands of messages under way their memory is far from the core, and each PDU would wait for its own. Asked for
//! together, a few of them come in the time of one. It decides nothing and changes nothing.

use smpp_pdu::CommandId;
use smpp_pdu::frame::{Deframed, deframe};

use super::{Role, Shard};
use crate::bounds::PDU_BYTES_MAX;
use crate::names::Conn;

/// PDUs that are looked at together: what a core can have on its way from memory at a time.
const PDUS_AHEAD: usize = 8;

impl Shard {
    /// Touches the messages that the next PDUs are about, or will take up; tells how many PDUs it has looked at.
    #[inline]
    pub(super) fn look_ahead(&self, conn: Conn, mut bytes: &[u8]) -> usize {
        let role = &self.connections[conn.index()].role;
        let (mut pdus, mut submits, mut read) = (0, 0, 0);
        while pdus < PDUS_AHEAD
            && !bytes.is_empty()
            && let Deframed::Pdu { header, pdu } = deframe(bytes, PDU_BYTES_MAX)
        {
            bytes = &bytes[pdu.len()..];
            pdus += 1;
            match (role, header.command_id) {
                (Role::Link(link), CommandId::SUBMIT_SM_RESP) => {
                    let slot = self.links[link.index()].window.slot_of(header.sequence_number);
                    read ^= slot.map_or(0, |slot| self.messages.warm(slot));
                }
                (Role::Session(_), CommandId::SUBMIT_SM) => submits += 1,
                _ => {}
            }
        }
        // Nothing needs the values; the reads must happen all the same.
        core::hint::black_box(read ^ self.messages.warm_free(submits));
        pdus
    }
}
