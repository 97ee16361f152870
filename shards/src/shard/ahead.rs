//! Looking ahead: the messages that the next PDUs of a connection or records of a batch are about, touched before their turn
//! comes.
//!
//! With thousands of messages under way their memory is far from the core, and each PDU would wait for its own. Asked for
//! together, a few of them come in the time of one. It decides nothing and changes nothing.

use smallvec::SmallVec;
use smpp_pdu::CommandId;
use smpp_pdu::frame::{Deframed, deframe};

use super::{Role, Shard};
use crate::bounds::PDU_BYTES_MAX;
use crate::kept::KeptRef;
use crate::names::Conn;

/// PDUs, or records, that are looked at together: what a core can have on its way from memory at a time.
pub(super) const AHEAD: usize = 8;

impl Shard {
    /// Touches the messages and deliveries that the next PDUs are about, or will take up; tells how many PDUs it has looked at.
    #[inline]
    pub(super) fn look_ahead(&self, conn: Conn, mut bytes: &[u8]) -> usize {
        let role = &self.connections[conn.index()].role;
        let (mut pdus, mut submits, mut deliveries) = (0, 0, 0);
        let mut answered = SmallVec::<[u32; AHEAD]>::new();
        let mut taken = SmallVec::<[u32; AHEAD]>::new();
        while pdus < AHEAD
            && !bytes.is_empty()
            && let Deframed::Pdu { header, pdu } = deframe(bytes, PDU_BYTES_MAX)
        {
            bytes = &bytes[pdu.len()..];
            pdus += 1;
            match (role, header.command_id) {
                (Role::Link(link), CommandId::SUBMIT_SM_RESP) => {
                    answered.extend(self.links[link.index()].window.slot_of(header.sequence_number));
                }
                (Role::Session(session), CommandId::DELIVER_SM_RESP) => {
                    taken.extend(session.deliver.slot_of(header.sequence_number));
                }
                (Role::Session(_), CommandId::SUBMIT_SM) => submits += 1,
                (Role::Link(_), CommandId::DELIVER_SM) => deliveries += 1,
                _ => {}
            }
        }
        self.look_at_answered(&answered);
        self.look_at_deliveries(taken.iter().copied());
        self.look_at_free(submits);
        // Nothing needs the values; the reads must happen all the same.
        core::hint::black_box(self.deliveries.warm_free(deliveries));
        if self.ledger.is_some() {
            core::hint::black_box(self.kept.warm_free(submits));
        }
        pdus
    }

    /// Touches messages that a vendor has answered, then what their ends are about.
    #[inline]
    fn look_at_answered(&self, slots: &[u32]) {
        core::hint::black_box(slots.iter().fold(0, |read, slot| read ^ self.messages.warm(*slot)));
        // By now it is known whose receipts will come, and where they are kept.
        core::hint::black_box(slots.iter().fold(0, |read, slot| read ^ self.messages.warm_addresses(*slot)));
        if self.ledger.is_some() {
            let origins = slots.iter().map(|slot| self.messages.get(*slot).carried.origin);
            self.look_at_kept(origins.filter(|origin| origin.shard == self.id).map(|origin| origin.kept));
        }
    }

    /// Touches deliveries, then the messages that end with them; at most [`AHEAD`] of them.
    #[inline]
    pub(super) fn look_at_deliveries(&self, slots: impl Iterator<Item = u32> + Clone) {
        let slots = slots.take(AHEAD);
        core::hint::black_box(slots.clone().fold(0, |read, slot| read ^ self.deliveries.warm(slot)));
        let deliveries = || slots.clone().map(|slot| self.deliveries.get(slot));
        let own = deliveries().map(|delivery| delivery.origin).filter(|origin| origin.shard == self.id);
        core::hint::black_box(own.fold(0, |read, origin| read ^ self.awaited.warm(origin.awaited)));
        if self.ledger.is_some() {
            self.look_at_kept(deliveries().map(|delivery| delivery.ends()));
        }
    }

    /// Touches the slots that as many messages will take up.
    #[inline]
    pub(super) fn look_at_free(&self, messages: usize) {
        core::hint::black_box(self.messages.warm_free(messages));
    }

    /// Touches kept messages, at most [`AHEAD`] of them.
    #[inline]
    pub(super) fn look_at_kept(&self, kept: impl Iterator<Item = KeptRef>) {
        core::hint::black_box(kept.take(AHEAD).fold(0, |read, meant| read ^ self.kept.warm(meant)));
    }
}
