//! The journal's format: what stands in a shard's segment files, written and read back as octets.
//!
//! Runs on whichever thread has octets to write or to read: a shard's while the gateway runs, the starting thread when
//! it recovers, the operator's command when it inspects. It never touches a file, a clock or another thread; it never
//! panics over octets that it reads, and what it allocates is bounded by what it reads.
//!
//! **A log** is what one shard wrote since one start ([`LogName`]): segment files counted from 0, in them batches
//! counted over the whole log, in them records. Everything stands in blocks of [`BLOCK`] octets, the unit that a disk
//! writes. All integers are little-endian.
//!
//! ```text
//! segment  one block of segment header, then batches
//!   header   magic 8 | version u16 | shard u16 | segment u32 | start u64 | segment's octets u64 | crc32c u32 | zeros
//! batch    begins and ends with a block: header, records, zeros
//!   header   magic u32 | octets of all records u32 | batch number u64 | count of records u32 | crc32c u32
//! record   crc32c u32 | octets of the payload 3 | kind 1 | payload
//! ```
//!
//! **Salt.** Segment files are used again, so good octets of an older use stand behind what was written last. The crc
//! of a batch header begins with start, shard and segment, that of a record with the batch number too; the same
//! octets under another of them never validate. Record crcs are therefore reckoned when the batch is written, by whoever writes it.
//!
//! **Numbers.** Batches are numbered without a gap, which is how a missing one is noticed. A batch whose write
//! failed is written again to a new segment with the number that it had, so that its leftovers are not taken for
//! damage. Messages and receipts count up from 1 in one log.
//!
//! **What is bad** at the end of a log was never acknowledged and is cut (a torn tail). What is bad while a later batch
//! is good is damage: it is reported with file and offset and costs itself alone.

mod aligned;
mod batch;
mod inspect;
mod live;
mod record;
mod replay;
mod salvage;
mod segment;
mod summary;

pub use aligned::AlignedBuffer;
pub(crate) use batch::Part;
pub use batch::{BATCH_HEADER, Batch, BatchWriter, reseal};
pub use inspect::{Inspection, Inspector};
pub use live::{Live, LiveMessage, LiveReceipt, LiveSent, NameId};
pub use record::{Accepted, Delivered, Done, Entry, How, Receipt, Sent};
pub use replay::Replay;
pub use segment::{Damage, Doubt, Reason, SegmentReader, Step, parse_segment_file, segment_file, segment_header};
pub use summary::{Counts, LogSummary, Problem};

/// Octets of a block: everything that is written begins and ends at a multiple of it.
pub const BLOCK: usize = 4096;

/// The format that this version writes, and the only one that it reads.
pub const VERSION: u16 = 1;

/// Octets of one record's payload at the most; a length beyond it is damage.
pub const RECORD_BYTES_MAX: usize = crate::bounds::PDU_BYTES_MAX + 1024;

/// A time that never comes, where an entry's expiry is left open.
pub const NEVER_UNIX_MS: u64 = u64::MAX;

/// The number of a log's first batch, which its segment 0 begins with.
pub const FIRST_BATCH: u64 = 1;

/// Which log: what one shard wrote since one start of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName {
    /// When the process started, Unix milliseconds.
    pub start: u64,
    /// The shard, counted from 0.
    pub shard: u16,
}

impl LogName {
    /// What the crcs of batch headers in that segment begin with.
    fn segment_seed(self, segment: u32) -> u32 {
        let crc = crc32c::crc32c(&self.start.to_le_bytes());
        let crc = crc32c::crc32c_append(crc, &self.shard.to_le_bytes());
        crc32c::crc32c_append(crc, &segment.to_le_bytes())
    }

    /// What the crcs of records in that batch begin with.
    fn record_seed(self, segment: u32, batch: u64) -> u32 {
        crc32c::crc32c_append(self.segment_seed(segment), &batch.to_le_bytes())
    }
}

/// `length` rounded up to whole blocks.
const fn whole_blocks(length: usize) -> usize {
    length.div_ceil(BLOCK) * BLOCK
}
