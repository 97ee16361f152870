//! The table of sockets: what each one has under way with the kernel.
//!
//! Lives on the shard's thread. A slot is free again only when every operation on it has completed, so that the
//! kernel never finds its memory gone or its descriptor used for another connection.

use std::os::fd::OwnedFd;

use socket2::SockAddr;

/// A place in the table: dense, from 0 up, used again after [`super::Net::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

impl Slot {
    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What [`super::Net::remove`] hands back.
#[derive(Debug)]
pub struct Detached {
    /// The socket.
    pub socket: OwnedFd,
    /// Octets that were to be sent and that the kernel has not taken.
    pub unsent: Vec<u8>,
}

/// How a socket is to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Not at all.
    #[default]
    Stopped,
    /// One receive.
    Once,
    /// Receive after receive.
    Stream,
}

/// What receive the kernel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Armed {
    #[default]
    Nothing,
    Single,
    Multishot,
}

#[derive(Default)]
pub(super) struct Entry {
    pub(super) socket: Option<OwnedFd>,
    /// Counts the slot's uses, so that a completion of an earlier one is known as such. 24 bits.
    pub(super) generation: u32,
    /// Operations that have not completed.
    pub(super) under_way: u8,
    pub(super) wanted: Reading,
    pub(super) armed: Armed,
    /// A cancel of the receive is under way.
    pub(super) cancelling: bool,
    /// Nothing new is begun; the owner waits for [`super::Completion::Idle`].
    pub(super) winding_down: bool,
    /// What the kernel is sending. Not touched while `send_under_way`.
    pub(super) sending: Vec<u8>,
    pub(super) sent: usize,
    pub(super) send_under_way: bool,
    pub(super) connect_under_way: bool,
    /// Where a connect goes to. Not touched while `connect_under_way`.
    pub(super) address: Option<Box<SockAddr>>,
}

#[derive(Default)]
pub(super) struct Slots {
    entries: Vec<Entry>,
    free: Vec<Slot>,
}

impl Slots {
    pub(super) fn insert(&mut self, socket: OwnedFd) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            Slot(self.entries.len() as u32 - 1)
        });
        let entry = &mut self.entries[slot.index()];
        entry.socket = Some(socket);
        entry.wanted = Reading::Stopped;
        entry.winding_down = false;
        entry.cancelling = false;
        slot
    }

    /// # Panics
    /// When something is still under way: the caller waits for that.
    pub(super) fn remove(&mut self, slot: Slot) -> Option<Detached> {
        let entry = &mut self.entries[slot.index()];
        assert_eq!(entry.under_way, 0, "a slot is given up when all its operations have completed");
        let socket = entry.socket.take()?;
        let unsent = if entry.sent < entry.sending.len() { entry.sending.split_off(entry.sent) } else { Vec::new() };
        entry.sending.clear();
        entry.sending.shrink_to(KEEP_BYTES);
        entry.sent = 0;
        entry.address = None;
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        self.free.push(slot);
        Some(Detached { socket, unsent })
    }

    #[inline]
    pub(super) fn get(&mut self, slot: Slot) -> &mut Entry {
        &mut self.entries[slot.index()]
    }

    /// The entry of a completion, unless the slot has been used anew since.
    #[inline]
    pub(super) fn current(&mut self, slot: Slot, generation: u32) -> Option<&mut Entry> {
        self.entries.get_mut(slot.index()).filter(|entry| entry.generation == generation && entry.socket.is_some())
    }

    pub(super) fn under_way(&self) -> usize {
        self.entries.iter().map(|entry| usize::from(entry.under_way)).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

/// Bits of a generation within user_data.
pub(super) const GENERATION_MASK: u32 = 0x00FF_FFFF;

/// Capacity of a sending buffer that outlives its connection, octets.
const KEEP_BYTES: usize = 64 * 1024;
