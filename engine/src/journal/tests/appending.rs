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
            for octets in [4096, 8192, 40_960] {
                let batch = batch(segment, expected.len() as u64, octets, (number as u8) << 4 | segment as u8);
                assert_eq!(shard.write(&batch), Outcome::Written);
                expected.extend_from_slice(&batch.bytes);
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
    let first = batch(0, 0, 4096, 1);
    assert_eq!(shard.appender.begin(&mut shard.net, &first), Begun::NoFile);
    assert!(!shard.appender.has_file(0));
    assert_eq!(shard.news(), News::File(0));
    assert!(shard.appender.has_file(0));
    assert_eq!(shard.appender.begin(&mut shard.net, &first), Begun::Started);
    assert_eq!(shard.outcome(), Outcome::Written);
}

#[test]
fn one_batch_is_under_way_at_a_time() {
    let dir = DataDir::new();
    let (_store, _thread, mut shards) = open(&dir.0, small(), 1);
    let shard = &mut shards[0];
    assert_eq!(shard.news(), News::File(0));
    let (first, second) = (batch(0, 0, 4096, 1), batch(0, 4096, 4096, 2));
    assert_eq!(shard.appender.begin(&mut shard.net, &first), Begun::Started);
    assert!(shard.appender.is_under_way());
    assert_eq!(shard.appender.begin(&mut shard.net, &second), Begun::Busy);
    assert_eq!(shard.outcome(), Outcome::Written);
    assert!(!shard.appender.is_under_way());
    assert_eq!(shard.write(&second), Outcome::Written);
}

fn hand_made(requests: Sender<Request>, answers: Receiver<Answer>) -> MakerEnd {
    MakerEnd { shard: 0, segment_bytes: SMALL, durability: Durability::WriteThrough, requests, answers }
}

/// A shard whose files come from the test.
fn hand_fed() -> (Shard, Receiver<Request>, Sender<Answer>) {
    let (requests, asked) = bounded(16);
    let (answering, answers) = bounded(16);
    let bell = Arc::new(Doorbell::new().unwrap());
    let net = Net::new(bell.clone()).unwrap();
    let appender = Appender::new(hand_made(requests, answers));
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
    let Outcome::Failed(reason) = shard.write(&batch(0, 0, 4096, 1)) else { panic!("a full device takes nothing") };
    assert_eq!(reason, "shard-0-00000000.seg: No space left on device (os error 28)");
    assert!(!shard.appender.has_file(0));
    assert_eq!(shard.appender.begin(&mut shard.net, &batch(0, 0, 4096, 1)), Begun::Condemned);
    assert_eq!(shard.write(&batch(1, 0, 4096, 1)), Outcome::Written);
    let requests: Vec<Request> = asked.try_iter().collect();
    assert!(requests.iter().any(|request| matches!(request, Request::Condemn { shard: 0, segment: 0 })));
    assert!(requests.iter().any(|request| matches!(request, Request::Close(_))));
}

#[test]
fn what_the_thread_has_no_room_for_is_sent_later() {
    let dir = DataDir::new();
    let (requests, asked) = bounded(1);
    let (answering, answers) = bounded(16);
    let bell = Arc::new(Doorbell::new().unwrap());
    let net = Net::new(bell.clone()).unwrap();
    let appender = Appender::new(hand_made(requests, answers));
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
