//! The provided buffers: memory that the kernel picks from when octets arrive, so that an idle connection holds none.
//!
//! Lives on the shard's thread, shared with the kernel. How many buffers the kernel is offered starts small, so
//! that they stay in the cache, and doubles whenever it ran out, up to a bound.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU16, Ordering};
use std::io;

use io_uring::types::BufRingEntry;

use super::ring::{Ring, SetupError};

/// Octets of one buffer: about 140 submits of 60-octet bodies.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// Buffers at the most: 64 MiB of address space, touched only as far as they are used.
const BUFFERS_MAX: u16 = 4096;

/// Buffers that the kernel is offered at first.
const BUFFERS_FIRST: u16 = 16;

/// The name of the only group.
pub(super) const GROUP: u16 = 0;

/// Octets that arrived, in a buffer that is lent out until [`super::Net::give_back`].
#[derive(Debug)]
#[must_use = "a chunk that is not given back is lost to the kernel"]
pub struct Chunk {
    buffer: u16,
    length: u32,
}

impl Chunk {
    /// How many octets; at least one.
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Never: what has no octets is not a chunk.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// The ring of buffers and the buffers themselves.
pub(super) struct Buffers {
    entries: Mapping,
    memory: Mapping,
    tail: u16,
    offered: u16,
}

impl Buffers {
    /// Maps the memory and registers it with the ring.
    pub(super) fn register(ring: &Ring) -> Result<Self, SetupError> {
        let entries =
            Mapping::new(usize::from(BUFFERS_MAX) * size_of::<BufRingEntry>()).map_err(SetupError::from_io)?;
        let memory = Mapping::new(usize::from(BUFFERS_MAX) * BUFFER_BYTES).map_err(SetupError::from_io)?;
        // SAFETY: the entries are page-aligned, zeroed, large enough for BUFFERS_MAX of them, and are unmapped
        // only by the drop of this value, which its owner holds back until the ring has nothing under way.
        unsafe {
            ring.inner().submitter().register_buf_ring_with_flags(entries.start.as_ptr() as u64, BUFFERS_MAX, GROUP, 0)
        }
        .map_err(SetupError::from_io)?;
        let mut buffers = Self { entries, memory, tail: 0, offered: 0 };
        buffers.offer_up_to(BUFFERS_FIRST);
        Ok(buffers)
    }

    /// The kernel has put `length` octets into `buffer`.
    #[inline]
    pub(super) fn chunk(&self, buffer: u16, length: u32) -> Chunk {
        assert!(buffer < self.offered && length as usize <= BUFFER_BYTES, "the kernel names a buffer it was offered");
        Chunk { buffer, length }
    }

    /// The octets of a chunk.
    #[inline]
    pub(super) fn bytes(&self, chunk: &Chunk) -> &[u8] {
        // SAFETY: `chunk` checked that buffer and length are within the mapping. The kernel does not write to
        // the buffer until it is offered again, which takes the chunk by value.
        unsafe {
            let start = self.memory.start.as_ptr().add(usize::from(chunk.buffer) * BUFFER_BYTES);
            core::slice::from_raw_parts(start, chunk.length as usize)
        }
    }

    /// Offers the chunk's buffer to the kernel again, visibly with the next [`Buffers::publish`].
    #[inline]
    pub(super) fn give_back(&mut self, chunk: Chunk) {
        self.offer(chunk.buffer);
    }

    /// The kernel ran out: offers as many again, up to the bound.
    pub(super) fn grow(&mut self) {
        self.offer_up_to(self.offered.saturating_mul(2).min(BUFFERS_MAX));
    }

    /// Lets the kernel see what was offered since.
    #[inline]
    pub(super) fn publish(&self) {
        // SAFETY: the tail is an aligned u16 inside the first entry of the mapping; the kernel only reads it,
        // and this side writes it through atomics alone.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.start.as_ptr().cast::<BufRingEntry>());
            (*tail.cast::<AtomicU16>()).store(self.tail, Ordering::Release);
        }
    }

    fn offer_up_to(&mut self, count: u16) {
        while self.offered < count {
            self.offer(self.offered);
            self.offered += 1;
        }
        self.publish();
    }

    #[inline]
    fn offer(&mut self, buffer: u16) {
        let index = usize::from(self.tail & (BUFFERS_MAX - 1));
        // SAFETY: the index is within the mapping. The entry is not visible to the kernel before the tail has
        // passed it, and each buffer is offered once at a time, so that the kernel is through with this entry.
        // The tail's octets inside the first entry are not touched by the three setters.
        let entry = unsafe { &mut *self.entries.start.as_ptr().cast::<BufRingEntry>().add(index) };
        entry.set_addr(self.memory.start.as_ptr() as u64 + (usize::from(buffer) * BUFFER_BYTES) as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }
}

/// Anonymous, zeroed, page-aligned memory.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    fn new(length: usize) -> io::Result<Self> {
        // SAFETY: a new private mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { start, length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and nothing borrows from it any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

const _: () = assert!(BUFFERS_MAX.is_power_of_two() && BUFFERS_FIRST <= BUFFERS_MAX);
