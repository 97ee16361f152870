//! The journal's appends: octets written at an offset, told as done when they are on stable storage.
//!
//! Lives on the shard's thread, as part of [`Net`]. At most one append is under way at a time. It must never report
//! an append as done before the kernel has said so of every octet and of their way to the disk.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::types::FsyncFlags;
use io_uring::{opcode, types};

use super::aligned::{ALIGNMENT, AlignedBuffer};
use super::sockets::{Completion, Kind, Net, user_data};

/// Octets of one append at the most.
pub const APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Octets of memory that outlive an append; what a larger one took goes back.
const KEEP_BYTES: usize = 4 * 1024 * 1024;

/// How often an append is tried on when the kernel wrote nothing for want of memory or because of a signal.
const RETRIES_MAX: u8 = 16;

/// How octets get to stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A write, and when all of it has completed an fdatasync, which one of the ring's worker threads runs.
    WriteAndSync,
    /// A write that completes when it is on stable storage (RWF_DSYNC).
    WriteThrough,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    Writing,
    Syncing,
}

/// What an operation that has completed leads to.
#[derive(Debug)]
enum Next {
    /// The kernel has not taken all octets.
    WriteOn,
    Sync,
    Done(io::Result<()>),
}

/// What is being appended, and what has come of it so far.
pub(super) struct Append {
    /// What the kernel reads. Not touched while anything is under way.
    memory: AlignedBuffer,
    /// Held open while anything is under way.
    file: Option<Arc<File>>,
    durability: Durability,
    offset: u64,
    /// Octets that the kernel has taken.
    written: usize,
    stage: Stage,
    retries: u8,
}

impl Default for Append {
    fn default() -> Self {
        Self {
            memory: AlignedBuffer::default(),
            file: None,
            durability: Durability::WriteThrough,
            offset: 0,
            written: 0,
            stage: Stage::Idle,
            retries: 0,
        }
    }
}

impl Append {
    pub(super) fn is_under_way(&self) -> bool {
        self.stage != Stage::Idle
    }

    /// Books the operation under way out, for good.
    pub(super) const fn abandon(&mut self) {
        self.stage = Stage::Idle;
    }

    fn completed(&mut self, result: i32) -> Next {
        let stage = core::mem::take(&mut self.stage);
        assert_ne!(stage, Stage::Idle, "what completes was begun");
        match stage {
            Stage::Syncing if result == 0 => Next::Done(Ok(())),
            // A sync that failed is never tried again: the kernel tells a loss once and then forgets it.
            Stage::Syncing => Next::Done(Err(io::Error::from_raw_os_error(-result))),
            _ if result < 0 => self.write_failed(-result),
            _ => self.taken(result as usize),
        }
    }

    fn write_failed(&mut self, code: i32) -> Next {
        if matches!(code, libc::EINTR | libc::EAGAIN) && self.retries < RETRIES_MAX {
            self.retries += 1;
            return Next::WriteOn;
        }
        Next::Done(Err(io::Error::from_raw_os_error(code)))
    }

    fn taken(&mut self, octets: usize) -> Next {
        let before = self.written;
        self.written += octets;
        if self.written < self.memory.as_slice().len() {
            // The rest begins on a boundary again; the octets before it are written twice.
            self.written -= self.written % ALIGNMENT;
            let is_stuck = self.written == before;
            return if is_stuck { Next::Done(Err(io::ErrorKind::WriteZero.into())) } else { Next::WriteOn };
        }
        match self.durability {
            Durability::WriteAndSync => Next::Sync,
            Durability::WriteThrough => Next::Done(Ok(())),
        }
    }
}

impl Net {
    /// Writes octets at an offset of a file and has them brought to stable storage; [`Completion::Appended`] follows.
    /// The octets are copied. With a file that was opened for direct I/O, offset and length are multiples of
    /// [`ALIGNMENT`]. After a failure nobody knows what the file holds beyond its last good append: do not append to
    /// it again.
    ///
    /// # Panics
    /// When an append is under way, or the octets are none or more than [`APPEND_BYTES_MAX`].
    pub fn append(&mut self, file: &Arc<File>, offset: u64, bytes: &[u8], durability: Durability) {
        let append = &mut self.append;
        assert!(!append.is_under_way(), "one append at a time");
        assert!((1..=APPEND_BYTES_MAX).contains(&bytes.len()), "an append of {} octets", bytes.len());
        append.memory.fill(bytes);
        append.file = Some(file.clone());
        append.durability = durability;
        append.offset = offset;
        append.written = 0;
        append.retries = 0;
        self.push_write();
    }

    /// Whether an append is under way.
    pub fn is_appending(&self) -> bool {
        self.append.is_under_way()
    }

    /// Where the ring's worker threads may run, which do the fdatasyncs and the writes that have to wait.
    ///
    /// # Errors
    /// When there is none, or one among them on which this process may not run.
    pub fn place_workers(&self, cores: &[usize]) -> io::Result<()> {
        if cores.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: a set of cores is a plain array of bits, for which zeros are a value: the empty set.
        let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
        for core in cores.iter().filter(|core| **core < libc::CPU_SETSIZE as usize) {
            // SAFETY: the index is below the number of bits.
            unsafe { libc::CPU_SET(*core, &mut set) };
        }
        self.ring.inner().submitter().register_iowq_aff(&set)
    }

    pub(super) fn append_completed(&mut self, result: i32) -> Option<Completion> {
        match self.append.completed(result) {
            Next::WriteOn => self.push_write(),
            Next::Sync => self.push_sync(),
            Next::Done(outcome) => {
                self.append.file = None;
                self.append.memory.clear(KEEP_BYTES);
                return Some(Completion::Appended(outcome));
            }
        }
        None
    }

    /// Pushes what is not yet written.
    fn push_write(&mut self) {
        let append = &mut self.append;
        let Some(file) = &append.file else { return };
        let rest = &append.memory.as_slice()[append.written..];
        let write = opcode::Write::new(types::Fd(file.as_raw_fd()), rest.as_ptr(), rest.len() as u32)
            .offset(append.offset + append.written as u64)
            .rw_flags(if append.durability == Durability::WriteThrough { libc::RWF_DSYNC } else { 0 })
            .build()
            .user_data(user_data(Kind::Append, 0, 0));
        append.stage = Stage::Writing;
        // SAFETY: the octets are neither touched nor freed, and the file not closed, while anything is under way.
        unsafe { self.ring.push(&write) };
    }

    /// Pushes the sync, and submits it at once: a turn of a busy shard is a good part of what it takes.
    ///
    /// It is not linked to the write in the ring. A link saves nothing, since the ring starts what follows only when the
    /// shard enters it, and one that is cut, because the kernel had memory for only half of it, would sync too early.
    fn push_sync(&mut self) {
        let Some(file) = &self.append.file else { return };
        let sync = opcode::Fsync::new(types::Fd(file.as_raw_fd()))
            .flags(FsyncFlags::DATASYNC)
            .build()
            .user_data(user_data(Kind::Append, 0, 0));
        self.append.stage = Stage::Syncing;
        // SAFETY: a sync points to no memory, and the file is held open.
        unsafe { self.ring.push(&sync) };
        self.ring.submit();
    }
}

#[cfg(test)]
mod tests;
