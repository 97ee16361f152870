//! What waits for a record to be on stable storage.
//!
//! Plain values, put beside a record by a shard and handed back to it with the batch that the record was written with.

use crate::kept::KeptRef;
use crate::lane::Ticket;

/// Something whose record is in a batch, and that wants to know when it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pending {
    /// An accepted message.
    Message(KeptRef),
    /// A vendor's id for a message.
    Sent(KeptRef),
    /// A receipt or MO taken from a vendor.
    Delivery(Ticket),
}

impl Pending {
    /// The kept message, where it is one.
    #[inline]
    pub(crate) const fn message(&self) -> Option<KeptRef> {
        match self {
            Self::Message(meant) | Self::Sent(meant) => Some(*meant),
            Self::Delivery(_) => None,
        }
    }

    /// The delivery's slot, where it is one.
    #[inline]
    pub(crate) const fn delivery(&self) -> Option<u32> {
        match self {
            Self::Delivery(ticket) => Some(ticket.slot),
            Self::Message(_) | Self::Sent(_) => None,
        }
    }
}
