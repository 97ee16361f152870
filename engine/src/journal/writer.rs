//! The threads `journal-N`: one for each shard, which brings its batches to stable storage, one after the other.
//!
//! A thread of its own because nothing else is as quick on a busy core: it seals a batch, writes and syncs it,
//! and begins the next one at once, though its shard be in the middle of a turn. In the shard's ring each of
//! these steps would wait for the shard to look. It never waits for its shard but after a failure, and must never begin
//! another batch then before the shard has been told of it and has taken back what it had given.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use smpp_shards::bounds::JOURNAL_BATCHES_OUT;

use super::maker::Request;
use super::{BLOCK, Batch};
use crate::net::Doorbell;

/// A batch on its way, with the file that it belongs into.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) file: Arc<File>,
}

/// A shard's line to its thread.
#[derive(Debug)]
pub(super) struct WriterEnd {
    /// Room for one that is not begun.
    pub(super) offer: Sender<Job>,
    /// The thread's end of it as well, to take one back.
    pub(super) offered: Receiver<Job>,
    pub(super) outcomes: Receiver<(Batch, io::Result<()>)>,
    /// Says that the thread may go on after a failure.
    pub(super) go_on: Sender<()>,
}

struct Writer {
    offered: Receiver<Job>,
    outcomes: Sender<(Batch, io::Result<()>)>,
    may_go_on: Receiver<()>,
    bell: Arc<Doorbell>,
    /// Held for as long as something may be written: the thread `journal`, and the lock with it, does not end before.
    _maker: Sender<Request>,
}

/// Starts the thread of that shard. It ends with the shard's end of the line.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn start(shard: u16, bell: Arc<Doorbell>, maker: Sender<Request>) -> io::Result<WriterEnd> {
    let (offer, offered) = bounded(1);
    let (outcomes, told) = bounded(JOURNAL_BATCHES_OUT);
    let (go_on, may_go_on) = bounded(1);
    let writer = Writer { offered: offered.clone(), outcomes, may_go_on, bell, _maker: maker };
    std::thread::Builder::new().name(format!("journal-{shard}")).spawn(move || writer.run())?;
    Ok(WriterEnd { offer, offered, outcomes: told, go_on })
}

impl Writer {
    fn run(self) {
        while let Ok(Job { mut batch, file }) = self.offered.recv() {
            let offset = batch.offset();
            let result = write_through(&file, offset, batch.seal());
            // Before the shard hears of it: it may part with the file then.
            drop(file);
            let has_failed = result.is_err();
            // There is room for as many as a shard gives out.
            if self.outcomes.send((batch, result)).is_err() {
                return;
            }
            self.bell.ring();
            if has_failed && self.may_go_on.recv().is_err() {
                return;
            }
        }
    }
}

/// Writes octets at an offset and has them brought to stable storage, by an fdatasync behind the write. With a file that was
/// opened for direct I/O, memory, offset and length are multiples of [`BLOCK`].
///
/// # Errors
/// Whatever the kernel says. Nobody knows what the file holds beyond its last good batch then.
pub(super) fn write_through(file: &File, offset: u64, octets: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < octets.len() {
        let before = written;
        match file.write_at(&octets[written..], offset + written as u64) {
            Ok(taken) => written = gone_on(written + taken, octets.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if written == before {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    // One that failed is never tried again: the kernel tells a loss once and then forgets it.
    file.sync_data()
}

/// Where a write that the kernel has taken so much of goes on: on a boundary, though octets are written twice by that.
const fn gone_on(taken: usize, length: usize) -> usize {
    if taken < length { taken - taken % BLOCK } else { taken }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn octets_stand_where_they_were_told_to() {
        let path = std::env::temp_dir().join(format!("smpp-gateway-writer-{}", std::process::id()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let mut expected = Vec::new();
        for (seed, count) in [4096, 262_144, 8192, 6 * 1024 * 1024, 4096].into_iter().enumerate() {
            let octets: Vec<u8> = (0..count).map(|index: usize| (index as u8).wrapping_add(seed as u8)).collect();
            write_through(&file, expected.len() as u64, &octets).unwrap();
            expected.extend_from_slice(&octets);
        }
        let mut back = vec![0; expected.len()];
        file.read_exact_at(&mut back, 0).unwrap();
        assert!(back == expected);
    }

    #[test]
    fn a_full_device_is_a_failure() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(write_through(&full, 0, &[1; 8192]).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_a_failure() {
        let file = File::open("/dev/null").unwrap();
        assert!(write_through(&file, 0, &[1; 4096]).is_err());
    }

    #[test]
    fn a_file_that_cannot_be_synced_is_a_failure_though_all_was_written() {
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert_eq!(write_through(&null, 0, &[1; 4096]).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_short_write_goes_on_from_the_last_whole_block() {
        assert_eq!(gone_on(BLOCK + 100, 3 * BLOCK), BLOCK);
        assert_eq!(gone_on(3 * BLOCK, 3 * BLOCK), 3 * BLOCK);
        assert_eq!(gone_on(100, 3 * BLOCK), 0, "which is no progress");
    }
}
