//! The store's thread as a whole, with the embedded store and one pretended shard.

use std::path::PathBuf;
use std::time::Instant;

use smpp_shards::feed::{Feed, Happening, Question, StoreAnswer, StoreFinding, feed};
use smpp_shards::settings::VendorIdFormat;

use super::message::tests::note;
use super::*;
use crate::channel::{Bell, ToShard, shard_channel};
use crate::config::LogSettings;

/// An unoptimised store on a busy machine takes its time for tens of thousands of messages.
const PATIENCE: Duration = Duration::from_secs(300);

struct Silent;

impl Bell for Silent {
    fn ring(&self) {}
}

struct Bench {
    folder: PathBuf,
    feed: Feed,
    bell: ControlWaker,
    answers: crossbeam_channel::Receiver<ToShard>,
    store: Store,
    thread: Option<StoreThread>,
}

impl Bench {
    fn start(name: &str, is_in_the_way: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("smpp-store-thread-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        if is_in_the_way {
            std::fs::write(folder.join("store"), "no folder").unwrap();
        }
        let (feed, end) = feed();
        let bell = ControlWaker::default();
        let channels = StoreChannels { feeds: vec![end], bell: bell.clone() };
        let (sender, answers) = shard_channel();
        let shards = vec![ShardHandle { sender, bell: Arc::new(Silent) }];
        let log = Log::to(LogSettings::default(), Box::new(io::sink())).unwrap();
        let kind = StoreKind::Embedded(folder.join("store"));
        let (store, thread) = Store::start(kind, channels, shards, log).unwrap();
        Self { folder, feed, bell, answers, store, thread: Some(thread) }
    }

    /// Notes a message that was sent just now, and gives its id.
    fn sent(&mut self, number: u64) -> MessageId {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let id = MessageId(now << 80 | 0x7 << 76 | 1 << 63 | u128::from(number));
        let theirs = number.to_string();
        let mut sent = note(number, Happening::Sent);
        sent.id = id;
        sent.vendor_id_format = VendorIdFormat::Decimal;
        sent.vendor_message_id = theirs.as_bytes();
        self.feed.note(&sent);
        id
    }

    fn flush(&mut self) {
        if self.feed.flush() {
            self.bell.wake();
        }
    }

    fn ask(&mut self, ticket: u64, theirs: &str) -> StoreFinding {
        let question = Question {
            ticket,
            vendor: b"north",
            vendor_id_format: VendorIdFormat::Hex,
            vendor_message_id: theirs.as_bytes(),
        };
        assert!(self.feed.ask(&question));
        self.flush();
        match self.answers.recv_timeout(PATIENCE).unwrap() {
            ToShard::StoreAnswer(StoreAnswer { ticket: answered, finding }) if answered == ticket => finding,
            other => panic!("{other:?}"),
        }
    }

    fn message(&self, id: MessageId) -> Option<StoredMessage<'static>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(self.store.message(id)).unwrap()
    }

    fn wait_until(&self, what: &str, mut is_so: impl FnMut(&StoreStats) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self.store.stats()) {
            assert!(Instant::now() < until, "{what} did not come about: {:?}", self.store.stats());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            assert!(thread.stop(PATIENCE) || std::thread::panicking());
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_shards_notes_are_written_and_found_by_both_ids() {
    let mut bench = Bench::start("found", false);
    let id = bench.sent(0xAB);
    bench.flush();
    bench.wait_until("a note in the store", |stats| stats.records() == 1);
    assert_eq!(bench.message(id).map(|message| message.status), Some(MessageStatus::Sent));
    assert_eq!(bench.message(MessageId(id.0 + 1)), None);
    match bench.ask(7, "00ab") {
        StoreFinding::Found(found) => assert_eq!((found.id, &found.customer[..]), (id, &b"acme"[..])),
        other => panic!("{other:?}"),
    }
    assert_eq!(bench.ask(8, "ac"), StoreFinding::NotThere);
    assert_eq!((bench.store.stats().trouble(), bench.store.stats().waiting()), (None, 0));
}

#[test]
fn with_a_store_that_fails_memory_is_bounded_and_all_that_was_taken_is_written_once_it_works() {
    let mut bench = Bench::start("fails", true);
    bench.wait_until("trouble that is told", |stats| stats.trouble().is_some());
    let id = bench.sent(1);
    bench.flush();
    bench.wait_until("a note that waits", |stats| stats.waiting() == 1);
    assert_eq!(bench.message(id).map(|message| message.status), Some(MessageStatus::Sent), "not written yet");
    assert_eq!(bench.ask(7, "1"), StoreFinding::Away);
    let mut number = 1;
    while bench.feed.counts().1 == 0 {
        number += 1;
        bench.sent(number);
        bench.flush();
    }
    let (given, _) = bench.feed.counts();
    let waiting = bench.store.stats().waiting();
    // A batch and the one being collected; what one turn of a ring holds may go beyond.
    assert!((1..=40_000).contains(&waiting), "{waiting}");
    assert!(given > 20_000, "{given}");
    std::fs::remove_file(bench.folder.join("store")).unwrap();
    let until = Instant::now() + PATIENCE;
    while bench.store.stats().records() < given {
        assert!(Instant::now() < until, "{given} notes are not in the store: {:?}", bench.store.stats());
        // As a shard does with what its ring had no room for.
        bench.flush();
        bench.bell.wake();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.store.stats().records(), given);
    // So many at once may have taken long; the next look does not.
    bench.wait_until("a store without trouble", |stats| stats.trouble().is_none());
    assert!(bench.store.stats().failures() > 0);
}

#[test]
fn what_was_noted_last_is_written_when_the_thread_ends() {
    let mut bench = Bench::start("ends", false);
    bench.wait_until("a store that works", |stats| stats.trouble().is_none());
    for number in 1..=1000 {
        bench.sent(number);
    }
    assert!(bench.feed.flush());
    assert!(bench.thread.take().unwrap().stop(PATIENCE));
    assert_eq!(bench.store.stats().records(), 1000);
}
