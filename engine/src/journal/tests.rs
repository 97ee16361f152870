//! The journal's storage with real files, rings and threads, below the folder for temporary files.

mod appending;
mod disk_full;
mod making;
mod recovering;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use smpp_shards::journal::{Done, Entry, LogName};

use super::*;
use crate::net::{Doorbell, Net, Wait};

const PATIENCE: Duration = Duration::from_secs(20);

/// Small segments, so that tests go through many.
const SMALL: u64 = 64 * 1024;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// An empty folder that goes when the test ends well.
struct DataDir(PathBuf);

impl DataDir {
    fn new() -> Self {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("smpp-gateway-journal-{}-{count}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The names in a folder of the journal, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.0.join("journal").join(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// What one shard has of the journal.
struct Shard {
    bell: Arc<Doorbell>,
    net: Net,
    appender: Appender,
}

impl Shard {
    /// Writes a batch, waiting for its file.
    fn write(&mut self, mut batch: Batch) -> Outcome {
        while let Offered::NoFile(back) = self.appender.offer(batch) {
            assert!(matches!(self.news(), News::File(_)));
            batch = back;
        }
        self.outcome()
    }

    /// Whether a batch can be written.
    fn writes(&mut self, batch: Batch) -> bool {
        let place = place(&batch);
        matches!(self.write(batch), Outcome::Written(back) if self::place(&back) == place)
    }

    /// Offers a batch whose file is there.
    fn offers(&mut self, batch: Batch) -> bool {
        matches!(self.appender.offer(batch), Offered::Taken)
    }

    /// Waits for the next outcome.
    fn outcome(&mut self) -> Outcome {
        self.wait("outcome", Appender::next_outcome)
    }

    /// Waits for the thread's next news.
    fn news(&mut self) -> News {
        self.wait("news", Appender::next_news)
    }

    /// Waits as a shard does: asleep in its ring, woken by its doorbell.
    fn wait<T>(&mut self, what: &str, next: fn(&mut Appender) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(next) = next(&mut self.appender) {
                return next;
            }
            assert!(start.elapsed() < PATIENCE, "no {what}");
            self.bell.going_to_sleep();
            let wait = if self.appender.has_news() { Wait::No } else { Wait::AtMost(PATIENCE) };
            self.net.enter(wait).unwrap();
            self.bell.awake();
            while self.net.next().is_some() {}
        }
    }

    fn read(&mut self, segment: u32) -> Result<Vec<u8>, String> {
        assert!(self.appender.read(segment));
        assert!(!self.appender.read(segment));
        loop {
            if let News::Read(of, result) = self.news() {
                assert_eq!(of, segment);
                return result;
            }
        }
    }
}

/// The thread, whose end is waited for: nothing is made any more in a folder that is about to be removed.
struct Thread(Option<Maker>);

impl Drop for Thread {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.take().into_iter().for_each(Maker::join);
        }
    }
}

/// Opens the journal and starts its thread for so many shards. The shards are to be dropped before the thread.
fn open(data_dir: &Path, settings: MakerSettings, shards: usize) -> (Store, Thread, Vec<Shard>) {
    let store = Store::open(data_dir, 1_763_000_000_000).unwrap();
    let bells: Vec<Arc<Doorbell>> = (0..shards).map(|_| Arc::new(Doorbell::new().unwrap())).collect();
    let (maker, ends) = Maker::start(&store, settings, &bells).unwrap();
    let shard = |(end, bell): (MakerEnd, Arc<Doorbell>)| {
        let net = Net::new(bell.clone()).unwrap();
        Shard { bell, net, appender: Appender::new(end) }
    };
    let shards = ends.into_iter().zip(bells).map(shard).collect();
    (store, Thread(Some(maker)), shards)
}

fn small() -> MakerSettings {
    MakerSettings { segment_bytes: SMALL, ..MakerSettings::default() }
}

const LOG: LogName = LogName { start: 1_763_000_000_000, shard: 0 };

/// A batch that takes so many octets in its segment, the segment's header included where it is the first.
fn batch(segment: u32, offset: u64, octets: usize, seed: u8) -> Batch {
    let mut batch = Batch::new(LOG, SMALL).at(segment, offset, 1);
    let record = Entry::Done(Done { number: 1 + u64::from(seed), state: None });
    while batch.records() == 0 || batch.whole_len() < octets {
        batch.append(&record);
    }
    assert_eq!(batch.whole_len(), octets);
    batch
}

/// By what a batch is known again.
fn place(batch: &Batch) -> (u32, u64, u32) {
    (batch.segment(), batch.offset(), batch.records())
}

/// The smallest batch at the front of a segment: that one's header and a block.
const FIRST: usize = 2 * BLOCK;
