//! How far a start is with taking over what the journal holds: told by the main thread, which reads it, and by the shards,
//! which write it anew; read by the control port.
//!
//! Plain counters, so that telling costs nothing and whoever asks never holds it up.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The progress of one start.
#[derive(Debug)]
pub struct RecoveryProgress {
    segments: u64,
    bytes: u64,
    segments_read: AtomicU64,
    bytes_read: AtomicU64,
    entries: AtomicU64,
    /// By shard.
    recorded: Box<[AtomicU64]>,
    /// By shard: whether its journal cannot be written.
    held_up: Box<[AtomicBool]>,
    is_over: AtomicBool,
}

/// What a start has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryFigures {
    /// Segments that the journal had at start.
    pub segments: u64,
    /// Those of them that have been read.
    pub segments_read: u64,
    /// Octets of all of them.
    pub bytes: u64,
    /// Octets that have been read.
    pub bytes_read: u64,
    /// Messages, receipts and MO found live so far.
    pub entries_live: u64,
    /// Those of them that stand in the batches of this start's journal.
    pub entries_recorded: u64,
}

impl RecoveryProgress {
    /// Of a journal with so many segments, of so many octets together, for that many shards.
    pub fn new(segments: u64, bytes: u64, shards: u16) -> Self {
        Self {
            segments,
            bytes,
            segments_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            recorded: (0..shards).map(|_| AtomicU64::new(0)).collect(),
            held_up: (0..shards).map(|_| AtomicBool::new(false)).collect(),
            is_over: AtomicBool::new(false),
        }
    }

    /// One more segment has been read, of so many octets; so many entries are live by now.
    pub fn read(&self, bytes: u64, entries_live: u64) {
        self.segments_read.fetch_add(1, Ordering::Relaxed);
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        self.entries.store(entries_live, Ordering::Relaxed);
    }

    /// That shard has recorded so many entries of its share by now. One that there is not is passed over.
    pub fn recorded(&self, shard: usize, entries: u64) {
        if let Some(recorded) = self.recorded.get(shard) {
            recorded.store(entries, Ordering::Relaxed);
        }
    }

    /// Whether that shard's journal cannot be written, so that the start waits for it. One that there is not is passed over.
    pub fn hold_up(&self, shard: usize, is_held_up: bool) {
        if let Some(held_up) = self.held_up.get(shard) {
            held_up.store(is_held_up, Ordering::Relaxed);
        }
    }

    /// By shard, whether its journal cannot be written.
    pub fn held_up(&self) -> impl Iterator<Item = bool> {
        self.held_up.iter().map(|held_up| held_up.load(Ordering::Relaxed))
    }

    /// All of it is on stable storage in this start's journal.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// Whether the start is through with it.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// How far it is.
    pub fn figures(&self) -> RecoveryFigures {
        RecoveryFigures {
            segments: self.segments,
            segments_read: self.segments_read.load(Ordering::Relaxed),
            bytes: self.bytes,
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            entries_live: self.entries.load(Ordering::Relaxed),
            entries_recorded: self.recorded.iter().map(|recorded| recorded.load(Ordering::Relaxed)).sum(),
        }
    }
}
