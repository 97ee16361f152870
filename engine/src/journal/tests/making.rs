//! Files made ahead, used again, removed.

use std::os::unix::fs::MetadataExt;

use super::*;

/// Fills segments `from..to`, one batch each as large as the segment.
fn fill(shard: &mut Shard, from: u32, to: u32) {
    for segment in from..to {
        assert!(shard.writes(batch(segment, 0, SMALL as usize, segment as u8)));
    }
}

fn path(dir: &DataDir, store: &Store, segment: u32) -> PathBuf {
    dir.0.join(format!("journal/{}.recovering/shard-0-{segment:08}.seg", store.start()))
}

/// Waits until files up to this segment are there.
fn await_file(shard: &mut Shard, segment: u32) {
    while !shard.appender.has_file(segment) {
        assert!(matches!(shard.news(), News::File(_)));
    }
}

#[test]
fn a_freed_file_becomes_a_later_segment_that_begins_with_zeros() {
    let dir = DataDir::new();
    let (store, _thread, mut shards) = open(&dir.0, small(), 1);
    let shard = &mut shards[0];
    fill(shard, 0, 1);
    await_file(shard, 2);
    let used = path(&dir, &store, 0).metadata().unwrap().ino();
    assert!(shard.writes(batch(1, 0, FIRST, 1)));
    await_file(shard, 3);
    shard.appender.free_below(1);
    assert!(shard.writes(batch(2, 0, FIRST, 1)));
    await_file(shard, 4);
    assert_eq!(path(&dir, &store, 4).metadata().unwrap().ino(), used);
    let bytes = shard.read(4).unwrap();
    assert!(bytes[..BLOCK].iter().all(|octet| *octet == 0), "nothing of the earlier use's header is left");
    assert_eq!(bytes.len(), SMALL as usize);
    assert!(!path(&dir, &store, 0).exists());
    assert!(shard.read(0).unwrap_err().starts_with("shard-0-00000000.seg: "));
}

#[test]
fn freed_files_beyond_the_bound_of_spares_are_removed() {
    let dir = DataDir::new();
    let settings = MakerSettings { spares_max: 2, ..small() };
    let (store, thread, mut shards) = open(&dir.0, settings, 1);
    let shard = &mut shards[0];
    fill(shard, 0, 7);
    await_file(shard, 8);
    shard.appender.free_below(6);
    // A reading is answered after what was asked before it.
    let _ = shard.read(6);
    let folder = format!("{}.recovering", store.start());
    let segments = ["shard-0-00000006.seg", "shard-0-00000007.seg", "shard-0-00000008.seg"];
    assert_eq!(dir.names(&folder), [&segments[..], &["spare-0", "spare-1"]].concat());
    drop(shards);
    drop(thread);
}

#[test]
fn a_bound_of_files_holds_until_one_is_freed() {
    let dir = DataDir::new();
    let settings = MakerSettings { files_max: 3, ..small() };
    let (_store, _thread, mut shards) = open(&dir.0, settings, 1);
    let shard = &mut shards[0];
    fill(shard, 0, 1);
    while shard.news() != News::File(2) {}
    assert!(shard.writes(batch(1, 0, FIRST, 1)));
    let reason = "the journal has its 3 segment files, and none is free".to_owned();
    assert_eq!(shard.news(), News::NoFile(3, reason));
    shard.appender.free_below(1);
    assert_eq!(shard.news(), News::File(3));
}

#[test]
fn the_bound_of_files_follows_from_that_of_octets_and_from_what_is_taken_over() {
    const MIB: u64 = 1 << 20;
    let files = |max_mb: u64, found_mb: u64, shards: u16| {
        MakerSettings::bounded(64 * MIB, max_mb * MIB, found_mb * MIB, shards).files_max
    };
    // 256 segments, half as many again, two ahead, four spare.
    assert_eq!(files(16_384, 0, 1), 256 + 128 + 2 + 4);
    assert_eq!(files(16_384, 0, 2), 256 + 128 + 4 + 4);
    // Parts that are no whole number of segments are rounded up, for each shard.
    assert_eq!(files(512, 0, 3), 9 + 12 + 6 + 4);
    // What was there before may need more than the bound.
    assert_eq!(files(512, 6_400, 1), 101 + 50 + 2 + 4);
    assert_eq!(files(0, 0, 0), 1 + 4 + 2 + 4, "never none");
}

#[test]
fn the_end_of_the_thread_is_waited_for_and_not_longer_than_that() {
    let dir = DataDir::new();
    let (_store, mut thread, shards) = open(&dir.0, small(), 1);
    let bells = [Arc::new(Doorbell::new().unwrap())];
    let other = DataDir::new();
    let (maker, ends) = Maker::start(&Store::open(&other.0, 1).unwrap(), small(), &bells).unwrap();
    assert!(!maker.join_until(Instant::now()), "a shard may still ask");
    drop((shards, ends));
    assert!(thread.0.take().unwrap().join_until(Instant::now() + PATIENCE));
}

#[test]
fn a_condemned_file_is_removed_and_not_used_again() {
    let dir = DataDir::new();
    let (store, _thread, mut shards) = open(&dir.0, small(), 1);
    let shard = &mut shards[0];
    fill(shard, 0, 2);
    // The disk is sound: that an append has failed is told by the test.
    let Outcome::Written(again) = shard.write(batch(1, 0, FIRST, 1)) else { panic!("the disk is sound") };
    shard.appender.failed(again, &std::io::ErrorKind::Other.into());
    assert!(shard.writes(batch(2, 0, FIRST, 1)));
    await_file(shard, 4);
    shard.appender.free_below(2);
    let _ = shard.read(2);
    let folder = format!("{}.recovering", store.start());
    let spares: Vec<String> = dir.names(&folder).into_iter().filter(|name| name.starts_with("spare")).collect();
    assert_eq!(spares, ["spare-0"], "segment 0 is kept and segment 1 is not");
}

#[test]
fn the_thread_ends_with_the_last_shard_and_lets_go_of_the_journal() {
    let dir = DataDir::new();
    let (store, thread, shards) = open(&dir.0, small(), 3);
    drop(store);
    assert!(matches!(Store::open(&dir.0, 0), Err(StoreError::InUse(_, _))));
    drop(shards);
    drop(thread);
    Store::open(&dir.0, 0).unwrap();
}
