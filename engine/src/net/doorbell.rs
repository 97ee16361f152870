//! The doorbell of a shard: how other threads wake it, and only when it sleeps.
//!
//! Rung from any thread; heard by the shard's ring through a read of the eventfd. The protocol: who puts something
//! into an inbox rings afterwards; the shard says that it sleeps, then looks at its inboxes once more, then waits. With
//! a full fence on both sides at least one of the two sees the other.

use core::sync::atomic::{AtomicBool, Ordering, fence};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crossbeam_utils::CachePadded;
use rustix::event::{EventfdFlags, eventfd};

/// An eventfd and the flag that says whether ringing is needed.
#[derive(Debug)]
pub struct Doorbell {
    sleeping: CachePadded<AtomicBool>,
    event: OwnedFd,
}

impl Doorbell {
    /// A new one; its shard is awake.
    ///
    /// # Errors
    /// When there is no file descriptor to be had.
    pub fn new() -> io::Result<Self> {
        // Blocking, since io_uring fails a read of a non-blocking file instead of waiting for it.
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { sleeping: CachePadded::new(AtomicBool::new(false)), event })
    }

    /// Wakes the shard if it sleeps. Call it after what it is to find is in its inbox.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            // One write per sleep cannot overflow the counter, and nothing else can fail.
            let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
        }
    }

    /// The shard is about to sleep. It must look at its inboxes once more before it does.
    #[inline]
    pub fn going_to_sleep(&self) {
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The shard is awake and needs no ringing.
    #[inline]
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
