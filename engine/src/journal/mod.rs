//! The journal's storage: folders and segment files, made ahead and freed, and the shards' appends to them.
//!
//! What is written and where is decided by the shard; here are octets, files and how it went. [`Store`] is used by the
//! main thread at start, [`Appender`] lives on its shard's thread and never waits there, a thread `journal-N` for each shard
//! writes its batches, and the thread `journal` ([`Maker`]) makes, recycles, removes and reads files. It must never report as
//! written what is not on stable storage, nor append to a file after a failure.
//!
//! ```text
//! data_dir/journal/lock                                  held by the gateway that runs
//! data_dir/journal/<start>.recovering/                   a start that has not taken over everything yet
//! data_dir/journal/<start>/shard-<N>-<SEGMENT>.seg       <start>: unix milliseconds, 13 digits; SEGMENT: 8 digits
//! data_dir/journal/<start>/spare-<N>                     a freed file that waits for its next use
//! ```
//!
//! Of several complete folders the newest holds all that is live. A segment's file exists before it is needed: the first
//! block of one that has not been written to is zeros, whatever stands behind it from an earlier use.

mod appender;
mod files;
mod maker;
mod store;
mod survey;
mod writer;

pub use appender::{Appender, News, Offered, Outcome};
pub use files::Access;
pub use maker::{Maker, MakerEnd, MakerSettings};
pub use store::{Store, StoreError};
pub use survey::{LogFiles, SegmentFile, StartFolder, Survey, survey};

use smpp_shards::journal::{BLOCK, Batch};

/// Octets of a segment file, where nothing else is set.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

const _: () = assert!(SEGMENT_BYTES.is_multiple_of(BLOCK as u64));

#[cfg(test)]
mod tests;
