//! What is told of a log besides what is live in it: counts, and what is damaged.
//!
//! Plain values, filled by a replay on whichever thread runs it.

use core::fmt;

use super::LogName;
use super::segment::Reason;

/// Octets of a journal that are damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Of which log.
    pub log: LogName,
    /// The file, as it was named to the replay.
    pub file: String,
    /// Where in the file.
    pub offset: u64,
    /// How many octets are of no use.
    pub length: u64,
    /// What is wrong.
    pub reason: Reason,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}, {} octets: {}", self.file, self.offset, self.length, self.reason)
    }
}

/// Good records by kind, those written again included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages accepted.
    pub accepted: u64,
    /// Sent to a vendor.
    pub sent: u64,
    /// Done.
    pub done: u64,
    /// Receipts and MO taken.
    pub receipts: u64,
    /// Receipts and MO that ended.
    pub delivered: u64,
}

/// What one log held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSummary {
    /// Which.
    pub log: LogName,
    /// Files with batches in them.
    pub segments: u64,
    /// Files that were made and never written, or not since their last use.
    pub unused_segments: u64,
    /// Octets of all files.
    pub file_octets: u64,
    /// Octets of them up to the end of the last batch of each.
    pub octets: u64,
    /// Batches.
    pub batches: u64,
    /// Good records.
    pub records: Counts,
    /// Live messages that no vendor has.
    pub waiting: u64,
    /// Live messages that a vendor has.
    pub sent: u64,
    /// Live receipts and MO.
    pub receipts: u64,
    /// When the oldest live message was accepted, or receipt taken.
    pub oldest_unix_ms: Option<u64>,
    /// Octets that were cut off at the end: a write that was never acknowledged.
    pub torn_octets: u64,
    /// Damage.
    pub problems: u64,
}
