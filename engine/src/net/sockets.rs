//! [`Net`]: a shard's sockets over its ring, and what has become of them as [`Completion`]s.
//!
//! Lives on the shard's thread. The caller pushes work, enters the ring once a turn, and takes completions until
//! there are none. Nothing here waits except [`Net::enter`].

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;

use io_uring::{cqueue, opcode, squeue, types};
use socket2::SockAddr;

use super::buffers::{Buffers, Chunk};
use super::doorbell::Doorbell;
use super::ring::{Ring, SetupError, Wait};
use super::slots::{Detached, GENERATION_MASK, Reading, Slot, Slots};

/// Something that has happened.
#[derive(Debug)]
pub enum Completion {
    /// A listener (by its number) has a new connection, whose reading has not begun.
    Accepted(usize, OwnedFd),
    /// A listener cannot accept, for want of descriptors for instance. It is silent until [`Net::listen_again`].
    AcceptFailed(usize, io::Error),
    /// A connect has come to its end.
    Connected(Slot, io::Result<()>),
    /// Octets; give them back when through with them.
    Received(Slot, Chunk),
    /// The peer has closed its sending side.
    EndOfStream(Slot),
    /// The connection broke while reading.
    ReceiveFailed(Slot, io::Error),
    /// The kernel has taken so many octets; once all of them, [`Net::can_send`] holds again.
    Sent(Slot, usize),
    /// The connection broke while sending.
    SendFailed(Slot, io::Error),
    /// A slot that winds down has nothing under way any more: [`Net::remove`] or [`Net::close`] it.
    Idle(Slot),
    /// The doorbell was rung.
    Bell,
}

/// What an operation is, as its user_data says: kind (8 bits), generation (24 bits), slot or listener (32 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Of no interest when it completes.
    Ignored = 0,
    Accept = 1,
    Receive = 2,
    Send = 3,
    Connect = 4,
    Bell = 5,
}

#[inline]
pub(super) const fn user_data(kind: Kind, generation: u32, index: u32) -> u64 {
    (kind as u64) << 56 | (generation as u64) << 32 | index as u64
}

struct Listener {
    socket: OwnedFd,
    accepting: bool,
    closing: bool,
}

/// A shard's sockets.
pub struct Net {
    pub(super) ring: Ring,
    pub(super) slots: Slots,
    /// `None` only while this value is dropped.
    pub(super) buffers: Option<Buffers>,
    listeners: Vec<Listener>,
    bell: Arc<Doorbell>,
    /// Where the kernel puts the doorbell's count.
    bell_count: Box<[u8; 8]>,
    bell_armed: bool,
    completions: Vec<cqueue::Entry>,
    next: usize,
    /// Slots that became idle by something that has to be told first.
    pub(super) idle: Vec<Slot>,
}

impl Net {
    /// Sets the ring up on the calling thread, which must be the one that uses it, and listens to the doorbell.
    ///
    /// # Errors
    /// What the kernel lacks or forbids.
    pub fn new(bell: Arc<Doorbell>) -> Result<Self, SetupError> {
        let ring = Ring::new()?;
        let buffers = Buffers::register(&ring)?;
        let mut net = Self {
            ring,
            slots: Slots::default(),
            buffers: Some(buffers),
            listeners: Vec::new(),
            bell,
            bell_count: Box::new([0; 8]),
            bell_armed: false,
            completions: Vec::new(),
            next: 0,
            idle: Vec::new(),
        };
        net.listen_to_bell();
        Ok(net)
    }

    /// Accepts from a listening socket; tells its number. The socket must be in blocking mode.
    pub fn listen(&mut self, socket: OwnedFd) -> usize {
        self.listeners.push(Listener { socket, accepting: false, closing: false });
        let number = self.listeners.len() - 1;
        self.listen_again(number);
        number
    }

    /// Accepts again after [`Completion::AcceptFailed`].
    pub fn listen_again(&mut self, listener: usize) {
        let state = &mut self.listeners[listener];
        if state.accepting || state.closing {
            return;
        }
        state.accepting = true;
        let entry = opcode::AcceptMulti::new(types::Fd(state.socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(user_data(Kind::Accept, 0, listener as u32));
        // SAFETY: accept without an address to fill points to no memory.
        unsafe { self.ring.push(&entry) };
    }

    /// Stops accepting for good: from now on connections to these addresses are refused.
    pub fn close_listeners(&mut self) {
        for number in 0..self.listeners.len() {
            let listener = &mut self.listeners[number];
            if core::mem::replace(&mut listener.closing, true) {
                continue;
            }
            // A listener that has been shut down refuses new connections at once.
            let _ = socket2::SockRef::from(&listener.socket).shutdown(std::net::Shutdown::Both);
            self.cancel(user_data(Kind::Accept, 0, number as u32));
        }
    }

    /// Takes a connected socket in blocking mode, or one to be connected, into the table.
    pub fn insert(&mut self, socket: OwnedFd) -> Slot {
        self.slots.insert(socket)
    }

    /// The socket of a slot in use.
    pub fn socket(&mut self, slot: Slot) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.slots.get(slot).socket.as_ref().map(AsFd::as_fd)
    }

    /// How many slots are in use.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Connects a slot's socket; [`Completion::Connected`] follows.
    pub fn connect(&mut self, slot: Slot, address: SockAddr) {
        let entry = self.slots.get(slot);
        let Some(socket) = &entry.socket else { return };
        if entry.connect_under_way || entry.winding_down {
            return;
        }
        let address = entry.address.insert(Box::new(address));
        let operation = opcode::Connect::new(types::Fd(socket.as_raw_fd()), address.as_ptr().cast(), address.len())
            .build()
            .user_data(user_data(Kind::Connect, entry.generation, slot.0));
        entry.connect_under_way = true;
        entry.under_way += 1;
        // SAFETY: the boxed address is neither moved nor replaced while `connect_under_way`, and the entry is not
        // removed before the operation has completed.
        unsafe { self.ring.push(&operation) };
    }

    /// Begins nothing new on a slot and cancels what is under way; octets may still come in. Tells whether the
    /// slot is idle already; if not, [`Completion::Idle`] follows.
    pub fn wind_down(&mut self, slot: Slot) -> bool {
        let entry = self.slots.get(slot);
        entry.winding_down = true;
        entry.wanted = Reading::Stopped;
        if entry.under_way == 0 {
            return true;
        }
        let generation = entry.generation;
        let (receives, sends, connects) =
            (entry.armed != super::slots::Armed::Nothing, entry.send_under_way, entry.connect_under_way);
        for (is, kind) in [(receives, Kind::Receive), (sends, Kind::Send), (connects, Kind::Connect)] {
            if is {
                self.cancel(user_data(kind, generation, slot.0));
            }
        }
        false
    }

    /// Takes an idle slot out of the table.
    ///
    /// # Panics
    /// When the slot is not in use or has something under way.
    pub fn remove(&mut self, slot: Slot) -> Detached {
        self.slots.remove(slot).expect("a slot is removed once")
    }

    /// Closes an idle slot's socket and frees the slot.
    ///
    /// # Panics
    /// As [`Net::remove`].
    pub fn close(&mut self, slot: Slot) {
        let socket = self.remove(slot).socket.into_raw_fd();
        let entry = opcode::Close::new(types::Fd(socket))
            .build()
            .user_data(user_data(Kind::Ignored, 0, 0))
            .flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: close points to no memory, and the descriptor has no other owner.
        unsafe { self.ring.push(&entry) };
    }

    /// Submits everything and, where told so, waits for a completion. Afterwards [`Net::next`] gives what there is.
    ///
    /// # Errors
    /// When the ring itself fails, which nothing mends.
    #[inline]
    pub fn enter(&mut self, wait: Wait) -> io::Result<()> {
        if let Some(buffers) = &self.buffers {
            buffers.publish();
        }
        self.ring.enter(wait)?;
        // What is untaken goes first; until then the kernel keeps what is new.
        if self.next == self.completions.len() {
            self.completions.clear();
            self.next = 0;
            self.ring.take(&mut self.completions);
        }
        Ok(())
    }

    /// Whether completions wait to be taken.
    #[inline]
    pub fn has_untaken(&self) -> bool {
        self.next < self.completions.len() || !self.idle.is_empty()
    }

    /// Whether an [`Net::enter`] that does not wait would find something. For spinning.
    #[inline]
    pub fn is_ready(&mut self) -> bool {
        self.has_untaken() || self.ring.is_ready()
    }

    /// What has happened next, until `None`.
    #[inline]
    #[expect(clippy::should_implement_trait, reason = "an iterator would borrow what its completions are used with")]
    pub fn next(&mut self) -> Option<Completion> {
        loop {
            if let Some(slot) = self.idle.pop() {
                return Some(Completion::Idle(slot));
            }
            let entry = self.completions.get(self.next)?;
            let (data, result, flags) = (entry.user_data(), entry.result(), entry.flags());
            self.next += 1;
            if let Some(completion) = self.understand(data, result, flags) {
                return Some(completion);
            }
        }
    }

    /// The octets of a chunk.
    #[inline]
    pub fn bytes(&self, chunk: &Chunk) -> &[u8] {
        self.buffers.as_ref().map_or(&[], |buffers| buffers.bytes(chunk))
    }

    /// Gives a chunk's buffer back to the kernel.
    #[inline]
    pub fn give_back(&mut self, chunk: Chunk) {
        if let Some(buffers) = &mut self.buffers {
            buffers.give_back(chunk);
        }
    }

    #[inline]
    fn understand(&mut self, data: u64, result: i32, flags: u32) -> Option<Completion> {
        let (kind, generation, index) = ((data >> 56) as u8, (data >> 32) as u32 & GENERATION_MASK, data as u32);
        match kind {
            kind if kind == Kind::Receive as u8 => self.receive_completed(Slot(index), generation, result, flags),
            kind if kind == Kind::Send as u8 => self.send_completed(Slot(index), generation, result),
            kind if kind == Kind::Accept as u8 => self.accept_completed(index as usize, result, flags),
            kind if kind == Kind::Connect as u8 => self.connect_completed(Slot(index), generation, result),
            kind if kind == Kind::Bell as u8 => {
                self.bell_armed = false;
                self.listen_to_bell();
                Some(Completion::Bell)
            }
            _ => None,
        }
    }

    fn accept_completed(&mut self, number: usize, result: i32, flags: u32) -> Option<Completion> {
        let listener = &mut self.listeners[number];
        if !cqueue::more(flags) {
            listener.accepting = false;
        }
        if result >= 0 {
            // SAFETY: the kernel has just made this descriptor for this completion alone.
            let socket = unsafe { OwnedFd::from_raw_fd(result) };
            if listener.closing {
                return None;
            }
            self.listen_again(number);
            return Some(Completion::Accepted(number, socket));
        }
        if listener.closing {
            return None;
        }
        match -result {
            // The peer was gone before it was accepted, or the kernel ended the multishot.
            libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::ECANCELED | libc::EPROTO => {
                self.listen_again(number);
                None
            }
            code => Some(Completion::AcceptFailed(number, io::Error::from_raw_os_error(code))),
        }
    }

    fn connect_completed(&mut self, slot: Slot, generation: u32, result: i32) -> Option<Completion> {
        let entry = self.slots.current(slot, generation)?;
        entry.connect_under_way = false;
        entry.under_way -= 1;
        self.note_idle(slot);
        let outcome = if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) };
        Some(Completion::Connected(slot, outcome))
    }

    /// Remembers to tell that a slot which winds down has nothing under way any more.
    #[inline]
    pub(super) fn note_idle(&mut self, slot: Slot) {
        let entry = self.slots.get(slot);
        if entry.winding_down && entry.under_way == 0 {
            self.idle.push(slot);
        }
    }

    pub(super) fn cancel(&mut self, target: u64) {
        let entry = opcode::AsyncCancel::new(target)
            .build()
            .user_data(user_data(Kind::Ignored, 0, 0))
            .flags(squeue::Flags::SKIP_SUCCESS);
        // SAFETY: cancel points to no memory.
        unsafe { self.ring.push(&entry) };
    }

    fn listen_to_bell(&mut self) {
        use std::os::fd::AsFd;
        let entry = opcode::Read::new(types::Fd(self.bell.as_fd().as_raw_fd()), self.bell_count.as_mut_ptr(), 8)
            .build()
            .user_data(user_data(Kind::Bell, 0, 0));
        self.bell_armed = true;
        // SAFETY: the boxed count and the doorbell live as long as this value, whose drop waits for the read's end;
        // nobody else touches the count.
        unsafe { self.ring.push(&entry) };
    }

    fn operations_under_way(&self) -> bool {
        self.bell_armed || self.listeners.iter().any(|listener| listener.accepting) || self.slots.under_way() > 0
    }

    /// Ends everything under way; tells whether all of it has completed.
    fn settle(&mut self) -> bool {
        for listener in &mut self.listeners {
            listener.closing = true;
        }
        for _ in 0..SETTLE_ROUNDS {
            if !self.operations_under_way() {
                return true;
            }
            self.ring.cancel_all();
            if self.ring.enter(Wait::AtMost(SETTLE_WAIT)).is_err() {
                return false;
            }
            let mut completions = Vec::new();
            self.ring.take(&mut completions);
            for entry in &completions {
                self.settled(entry);
            }
        }
        !self.operations_under_way()
    }

    /// Books one completion out without beginning anything anew.
    fn settled(&mut self, entry: &cqueue::Entry) {
        let (data, result, more) = (entry.user_data(), entry.result(), cqueue::more(entry.flags()));
        let (kind, generation, index) = ((data >> 56) as u8, (data >> 32) as u32 & GENERATION_MASK, data as u32);
        if kind == Kind::Bell as u8 {
            self.bell_armed = false;
        } else if kind == Kind::Accept as u8 {
            let _ = self.accept_completed(index as usize, result, entry.flags());
        } else if kind != Kind::Ignored as u8
            && !more
            && let Some(entry) = self.slots.current(Slot(index), generation)
        {
            entry.under_way -= 1;
        }
    }
}

/// How often a ring that is dropped looks whether everything has completed, and for how long each time.
const SETTLE_ROUNDS: usize = 50;
const SETTLE_WAIT: core::time::Duration = core::time::Duration::from_millis(10);

impl Drop for Net {
    fn drop(&mut self) {
        // What the kernel may still write to or read from must not be freed under it.
        while self.next < self.completions.len() {
            let entry = self.completions[self.next].clone();
            self.next += 1;
            self.settled(&entry);
        }
        if !self.settle() {
            core::mem::forget(core::mem::take(&mut self.slots));
            core::mem::forget(self.buffers.take());
            core::mem::forget(core::mem::take(&mut self.bell_count));
        }
    }
}
