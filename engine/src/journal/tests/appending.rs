//! Batches on their way into segment files.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::super::maker::{Answer, Request};
use super::*;

#[test]
fn batches_stand_in_their_segments_at_their_offsets_and_read_back() {
    let dir = DataDir::new();
    let (_store, _thread, mut shards) = open(&dir.0, small(), 2);
    for (number, shard) in shards.iter_mut().enumerate() {
        for segment in 0..4u32 {
            let mut expected = Vec::new();
            for octets in [8192, 4096, 40_960] {
                let offset = expected.len() as u64;
                let outcome = shard.write(batch(segment, offset, octets, (number as u8) << 4 | segment as u8));
                let Outcome::Written(mut batch) = outcome else { panic!("{outcome:?}") };
                expected.extend_from_slice(batch.seal());
            }
            expected.resize(SMALL as usize, 0);
            assert!(shard.read(segment).unwrap() == expected, "what was not written is zeros");
        }
    }
}

#[test]
fn a_file_has_its_whole_size_on_the_disk_before_it_is_written_to() {
    let dir = DataDir::new();
    let (store, _thread, mut shards) = open(&dir.0, small(), 1);
    assert_eq!(shards[0].news(), News::File(0));
    let path = dir.0.join(format!("journal/{}.recovering/shard-0-00000000.seg", store.start()));
    let metadata = path.metadata().unwrap();
    assert_eq!(metadata.len(), SMALL);
    assert!(metadata.blocks() * 512 >= SMALL);
}

#[test]
fn a_batch_waits_while_its_file_is_not_there() {
    let dir = DataDir::new();
    let (_store, _thread, mut shards) = open(&dir.0, small(), 1);
    let shard = &mut shards[0];
    let Offered::NoFile(first) = shard.appender.offer(batch(0, 0, FIRST, 1)) else { panic!("it has its file") };
    assert!(!shard.appender.has_file(0));
    assert_eq!(shard.news(), News::File(0));
    assert!(shard.appender.has_file(0));
    assert!(shard.writes(first));
}

#[test]
fn the_next_batch_is_begun_without_the_shard() {
    let dir = DataDir::new();
    let (_store, _thread, mut shards) = open(&dir.0, small(), 1);
    let shard = &mut shards[0];
    assert_eq!(shard.news(), News::File(0));
    assert!(shard.offers(batch(0, 0, FIRST, 1)));
    // The thread takes the first one, and leaves room for the second by that.
    while shard.appender.has_offered() {
        std::thread::yield_now();
    }
    assert!(shard.offers(batch(0, FIRST as u64, 4096, 2)));
    while shard.appender.has_offered() {
        std::thread::yield_now();
    }
    assert!(shard.appender.take_back().is_none(), "it is begun");
    for offset in [0, FIRST as u64] {
        let Outcome::Written(batch) = shard.outcome() else { panic!("the disk is sound") };
        assert_eq!(batch.offset(), offset);
    }
}

fn hand_made(bell: &Arc<Doorbell>, requests: Sender<Request>, answers: Receiver<Answer>) -> MakerEnd {
    let writer = super::super::writer::start(0, bell.clone(), requests.clone()).unwrap();
    MakerEnd { shard: 0, segment_bytes: SMALL, writer, requests, answers }
}

/// A shard whose files come from the test.
fn hand_fed() -> (Shard, Receiver<Request>, Sender<Answer>) {
    let (requests, asked) = bounded(16);
    let (answering, answers) = bounded(16);
    let bell = Arc::new(Doorbell::new().unwrap());
    let net = Net::new(bell.clone()).unwrap();
    let appender = Appender::new(hand_made(&bell, requests, answers));
    (Shard { bell, net, appender }, asked, answering)
}

fn feed(shard: &mut Shard, answering: &Sender<Answer>, segment: u32, file: File) {
    answering.send(Answer::Made { segment, file: Arc::new(file) }).unwrap();
    assert_eq!(shard.news(), News::File(segment));
}

#[test]
fn after_a_failure_a_file_is_never_written_again_and_the_next_one_is() {
    let dir = DataDir::new();
    let (mut shard, asked, answering) = hand_fed();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    feed(&mut shard, &answering, 0, full);
    feed(&mut shard, &answering, 1, File::create(dir.0.join("next")).unwrap());
    let Outcome::Failed { batch: back, reason, next } = shard.write(batch(0, 0, FIRST, 1)) else {
        panic!("a full device takes nothing")
    };
    assert!(back.segment() == 0 && next.is_none());
    assert_eq!(reason, "shard-0-00000000.seg: No space left on device (os error 28)");
    assert!(!shard.appender.has_file(0));
    assert!(shard.writes(batch(1, 0, FIRST, 1)));
    let requests: Vec<Request> = asked.try_iter().collect();
    assert!(requests.iter().any(|request| matches!(request, Request::Condemn { shard: 0, segment: 0 })));
    assert!(requests.iter().any(|request| matches!(request, Request::Close(_))));
}

#[test]
fn nothing_is_begun_after_a_failure_before_the_shard_has_heard_of_it() {
    let dir = DataDir::new();
    let (mut shard, _asked, answering) = hand_fed();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    feed(&mut shard, &answering, 0, full);
    feed(&mut shard, &answering, 1, File::create(dir.0.join("next")).unwrap());
    assert!(shard.offers(batch(0, 0, FIRST, 1)));
    while !shard.appender.has_news() {
        std::thread::yield_now();
    }
    assert!(shard.offers(batch(1, 0, FIRST, 2)));
    let Outcome::Failed { batch: back, next, .. } = shard.outcome() else { panic!("a full device takes nothing") };
    let next = next.expect("both come back");
    assert_eq!((back.segment(), next.segment()), (0, 1));
    assert!(shard.writes(next), "and the thread goes on");
}

#[test]
fn what_the_thread_has_no_room_for_is_sent_later() {
    let dir = DataDir::new();
    let (requests, asked) = bounded(1);
    let (answering, answers) = bounded(16);
    let bell = Arc::new(Doorbell::new().unwrap());
    let net = Net::new(bell.clone()).unwrap();
    let appender = Appender::new(hand_made(&bell, requests, answers));
    let mut shard = Shard { bell, net, appender };
    feed(&mut shard, &answering, 0, File::create(dir.0.join("first")).unwrap());
    assert!(shard.appender.read(0));
    let mut seen = Vec::new();
    while let Ok(request) = asked.try_recv() {
        seen.push(format!("{request:?}"));
        assert_eq!(shard.appender.next_news(), None);
    }
    assert_eq!(seen.len(), 3, "the first file, the second, the reading: {seen:?}");
}
