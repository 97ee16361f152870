//! The journal's appends: one write at an offset that is on stable storage when it completes.
//!
//! Lives on the shard's thread, as part of [`Net`]. At most one append is under way at a time. It must never report
//! an append as done before the kernel has said so of every octet and of their way to the disk.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::types::FsyncFlags;
use io_uring::{opcode, squeue, types};

use super::aligned::{ALIGNMENT, AlignedBuffer};
use super::sockets::{Completion, Kind, Net, user_data};

/// Octets of one append at the most.
pub const APPEND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Octets of memory that outlive an append; what a larger one took goes back.
const KEEP_BYTES: usize = 4 * 1024 * 1024;

/// How often an append is tried on when the kernel wrote nothing for want of memory or because of a signal.
const RETRIES_MAX: u8 = 16;

/// How octets get from the file to stable storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A write, and an fdatasync linked to it, which one of the ring's worker threads runs.
    LinkedSync,
    /// A write that completes when it is on stable storage (RWF_DSYNC).
    WriteThrough,
}

/// Which operation of an append, as the index of its user_data says.
const WRITE: u32 = 0;
const SYNC: u32 = 1;

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
    /// Operations that have not completed.
    under_way: u8,
    write_result: i32,
    sync_result: i32,
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
            under_way: 0,
            write_result: 0,
            sync_result: 0,
            retries: 0,
        }
    }
}

impl Append {
    pub(super) const fn is_under_way(&self) -> bool {
        self.under_way > 0
    }

    /// Books one operation out.
    pub(super) fn completed(&mut self, index: u32, result: i32) {
        self.under_way -= 1;
        match index {
            WRITE => self.write_result = result,
            _ => self.sync_result = result,
        }
    }

    /// Whether the kernel has to be asked for more, or how the whole has gone. Nothing is under way.
    fn verdict(&mut self) -> Option<io::Result<()>> {
        match self.write_result {
            code if code == -libc::EINTR || code == -libc::EAGAIN => {
                self.retries += 1;
                (self.retries > RETRIES_MAX).then(|| Err(io::Error::from_raw_os_error(-code)))
            }
            code if code < 0 => Some(Err(io::Error::from_raw_os_error(-code))),
            count => {
                let before = self.written;
                self.written += count as usize;
                if self.written >= self.memory.as_slice().len() {
                    return Some(self.sync_verdict());
                }
                // The rest begins on a boundary again; the octets before it are written twice.
                self.written -= self.written % ALIGNMENT;
                (self.written == before).then(|| Err(io::Error::from(io::ErrorKind::WriteZero)))
            }
        }
    }

    /// A link that broke (ECANCELED) after a write of all octets is a failure like any other.
    fn sync_verdict(&self) -> io::Result<()> {
        if self.sync_result < 0 { Err(io::Error::from_raw_os_error(-self.sync_result)) } else { Ok(()) }
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
        self.push_append();
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

    pub(super) fn append_completed(&mut self, index: u32, result: i32) -> Option<Completion> {
        self.append.completed(index, result);
        if self.append.is_under_way() {
            return None;
        }
        let Some(outcome) = self.append.verdict() else {
            self.push_append();
            return None;
        };
        self.append.file = None;
        self.append.memory.clear(KEEP_BYTES);
        Some(Completion::Appended(outcome))
    }

    /// Pushes what is not yet written.
    fn push_append(&mut self) {
        let append = &mut self.append;
        let Some(file) = &append.file else { return };
        let descriptor = types::Fd(file.as_raw_fd());
        let rest = &append.memory.as_slice()[append.written..];
        let write = opcode::Write::new(descriptor, rest.as_ptr(), rest.len() as u32)
            .offset(append.offset + append.written as u64);
        append.write_result = 0;
        append.sync_result = 0;
        match append.durability {
            Durability::WriteThrough => {
                append.under_way = 1;
                let write = write.rw_flags(libc::RWF_DSYNC).build().user_data(user_data(Kind::Append, 0, WRITE));
                // SAFETY: the octets are neither touched nor freed, and the file not closed, while `under_way`.
                unsafe { self.ring.push(&write) };
            }
            Durability::LinkedSync => {
                append.under_way = 2;
                let write = write.build().flags(squeue::Flags::IO_LINK).user_data(user_data(Kind::Append, 0, WRITE));
                let sync = opcode::Fsync::new(descriptor).flags(FsyncFlags::DATASYNC).build().user_data(user_data(
                    Kind::Append,
                    0,
                    SYNC,
                ));
                // SAFETY: as above; the sync points to no memory.
                unsafe { self.ring.push_linked(&[write, sync]) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
