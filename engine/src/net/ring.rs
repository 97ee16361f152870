//! The io_uring instance: set-up with the flags that the hot path needs, submission, waiting.
//!
//! One per shard, used by the thread that made it alone (`SINGLE_ISSUER`). Completions are run only when that
//! thread asks for them (`DEFER_TASKRUN`), so that a turn's worth of them comes with one system call.

use core::fmt;
use core::time::Duration;
use std::io;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};

/// Submissions that one system call can take along; more are submitted in between.
const SUBMISSIONS: u32 = 4096;

/// Completions that wait at the most without the kernel having to keep a list of its own.
const COMPLETIONS: u32 = 16_384;

/// The operations that the hot path uses, with their names for `check`.
pub const REQUIRED_OPERATIONS: [(u8, &str); 7] = [
    (opcode::Accept::CODE, "accept"),
    (opcode::Recv::CODE, "recv"),
    (opcode::Send::CODE, "send"),
    (opcode::Connect::CODE, "connect"),
    (opcode::Read::CODE, "read"),
    (opcode::AsyncCancel::CODE, "cancel"),
    (opcode::Close::CODE, "close"),
];

/// How long [`Ring::enter`] may wait for a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: submit, and take what is there.
    No,
    /// Until one is there, at most that long.
    AtMost(Duration),
}

/// Why the ring could not be set up.
#[derive(Debug)]
pub enum SetupError {
    /// The kernel or a seccomp filter forbids io_uring.
    Forbidden(io::Error),
    /// The kernel knows no io_uring, or not these flags.
    TooOld(io::Error),
    /// No room for the ring's memory.
    Memory(io::Error),
    /// An operation that the hot path needs is missing.
    Missing(&'static str),
    /// Anything else.
    Other(io::Error),
}

impl SetupError {
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden(error),
            Some(libc::EINVAL | libc::ENOSYS) => Self::TooOld(error),
            Some(libc::ENOMEM) => Self::Memory(error),
            _ => Self::Other(error),
        }
    }
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(error) => write!(
                f,
                "io_uring is forbidden ({error}): a container's seccomp profile or kernel.io_uring_disabled blocks it; \
                 allow io_uring_setup, io_uring_enter and io_uring_register, and set kernel.io_uring_disabled = 0"
            ),
            Self::TooOld(error) => write!(
                f,
                "io_uring cannot be set up as needed ({error}): run Linux 6.1 or later, with io_uring compiled in"
            ),
            Self::Memory(error) => write!(
                f,
                "no memory for the io_uring ring ({error}): raise RLIMIT_MEMLOCK (ulimit -l) or the memory limit of \
                 the container"
            ),
            Self::Missing(operation) => {
                write!(f, "this kernel's io_uring lacks the operation {operation}: run Linux 6.1 or later")
            }
            Self::Other(error) => write!(f, "io_uring cannot be set up: {error}"),
        }
    }
}

impl core::error::Error for SetupError {}

/// Sets a small ring up as the shards do and asks for every operation they use.
///
/// # Errors
/// What is missing, with its cure.
pub fn probe() -> Result<(), SetupError> {
    let ring = build(8, 16)?;
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).map_err(SetupError::from_io)?;
    match REQUIRED_OPERATIONS.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(SetupError::Missing(name)),
        None => Ok(()),
    }
}

fn build(submissions: u32, completions: u32) -> Result<IoUring, SetupError> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completions)
        .build(submissions)
        .map_err(SetupError::from_io)
}

/// The ring itself. What is pushed is submitted by the next [`Ring::enter`], or before when there is no room.
pub(super) struct Ring {
    inner: IoUring,
}

impl Ring {
    pub(super) fn new() -> Result<Self, SetupError> {
        Ok(Self { inner: build(SUBMISSIONS, COMPLETIONS)? })
    }

    pub(super) const fn inner(&self) -> &IoUring {
        &self.inner
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// The memory that the entry points to must stay valid, and unshared where the kernel writes, until the
    /// operation's last completion has been taken.
    #[inline]
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: the caller vouches for the entry's memory.
            if unsafe { self.inner.submission().push(entry) }.is_ok() {
                return;
            }
            // No room: what is queued goes in now. Should the kernel refuse for want of memory, it does so to
            // the next attempt as well, and the entry is tried until there is room.
            let _ = self.inner.submit();
        }
    }

    /// Submits what is queued, waits as told, and lets the kernel post what is complete.
    ///
    /// # Errors
    /// Those of `io_uring_enter` that are not a matter of trying again.
    #[inline]
    pub(super) fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let result = match wait {
            Wait::No if self.has_nothing_to_enter_for() => return Ok(()),
            Wait::No => self.inner.submit(),
            Wait::AtMost(duration) => {
                let timespec = Timespec::from(duration);
                self.inner.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec))
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // The deadline, a signal, a full completion queue (it is about to be emptied), or memory that
                // is short for the moment.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Whether a completion is there, or could be had by an [`Ring::enter`] that does not wait.
    #[inline]
    pub(super) fn is_ready(&mut self) -> bool {
        !self.inner.completion().is_empty() || self.inner.submission().taskrun()
    }

    /// Moves all completions that are there to `into`.
    #[inline]
    pub(super) fn take(&mut self, into: &mut Vec<cqueue::Entry>) {
        into.extend(self.inner.completion());
    }

    /// Cancels whatever is under way; each operation still completes.
    pub(super) fn cancel_all(&mut self) {
        let _ = self.inner.submit();
        let _ = self.inner.submitter().register_sync_cancel(Some(Timespec::new()), CancelBuilder::any());
    }

    #[inline]
    fn has_nothing_to_enter_for(&mut self) -> bool {
        let submission = self.inner.submission();
        submission.is_empty() && !submission.taskrun() && !submission.cq_overflow()
    }
}
