//! Starts after starts: what is found, what counts, what goes.

use super::*;

const NOW: u64 = 1_763_000_000_000;

fn folders(dir: &DataDir) -> Vec<String> {
    dir.names("").into_iter().filter(|name| name != "lock").collect()
}

/// A complete folder of an earlier start with these files.
fn earlier(dir: &DataDir, start: u64, files: &[&str]) {
    let folder = dir.0.join("journal").join(start.to_string());
    fs::create_dir_all(&folder).unwrap();
    files.iter().for_each(|name| fs::write(folder.join(name), name).unwrap());
}

#[test]
fn the_first_start_finds_nothing_and_makes_the_folders() {
    let dir = DataDir::new();
    let mut store = Store::open(&dir.0.join("not/yet/there"), NOW).unwrap();
    assert_eq!((store.start(), store.to_replay()), (NOW, None));
    assert!(store.finish_recovery().unwrap().is_empty());
    assert!(dir.0.join("not/yet/there/journal").join(NOW.to_string()).is_dir());
}

#[test]
fn older_folders_stay_until_everything_has_been_taken_over() {
    let dir = DataDir::new();
    earlier(&dir, NOW - 5, &["shard-0-00000003.seg"]);
    let mut store = Store::open(&dir.0, NOW).unwrap();
    assert_eq!(folders(&dir), [format!("{}", NOW - 5), format!("{NOW}.recovering")]);
    assert!(store.finish_recovery().unwrap().is_empty());
    assert_eq!(folders(&dir), [NOW.to_string()]);
    assert_eq!(store.to_replay(), None);
}

#[test]
fn a_start_that_did_not_finish_leaves_nothing_behind() {
    let dir = DataDir::new();
    earlier(&dir, NOW - 5, &["shard-0-00000003.seg"]);
    drop(Store::open(&dir.0, NOW).unwrap());
    let store = Store::open(&dir.0, NOW + 1).unwrap();
    assert_eq!(folders(&dir), [format!("{}", NOW - 5), format!("{}.recovering", NOW + 1)]);
    assert_eq!(store.to_replay().unwrap().start, NOW - 5);
}

#[test]
fn of_several_complete_folders_the_newest_counts_and_the_others_go() {
    let dir = DataDir::new();
    for start in [NOW - 3, NOW - 9, NOW - 6] {
        earlier(&dir, start, &["shard-0-00000000.seg"]);
    }
    let mut store = Store::open(&dir.0, NOW).unwrap();
    assert_eq!(store.to_replay().unwrap().start, NOW - 3);
    store.finish_recovery().unwrap();
    assert_eq!(folders(&dir), [NOW.to_string()]);
}

#[test]
fn logs_are_told_by_shard_and_segment_in_order() {
    let dir = DataDir::new();
    let names = [
        "shard-10-00000000.seg",
        "shard-2-00000011.seg",
        "shard-2-00000009.seg",
        "shard-0-100000000.seg",
        "shard-0-00000001.seg",
        "spare-4",
        "notes.txt",
    ];
    earlier(&dir, NOW - 1, &names);
    fs::create_dir(dir.0.join("journal/lost+found")).unwrap();
    let store = Store::open(&dir.0, NOW).unwrap();
    let told: Vec<(u16, Vec<u32>)> = store
        .to_replay()
        .unwrap()
        .logs
        .iter()
        .map(|log| (log.shard, log.segments.iter().map(|file| file.segment).collect()))
        .collect();
    assert_eq!(told, [(0, vec![1, 100_000_000]), (2, vec![9, 11]), (10, vec![0])]);
    let file = &store.to_replay().unwrap().logs[1].segments[0];
    assert_eq!(fs::read(&file.path).unwrap(), b"shard-2-00000009.seg");
    assert_eq!(file.octets, 20);
}

#[test]
fn a_clock_that_was_set_back_makes_no_start_older_than_the_one_before() {
    let dir = DataDir::new();
    earlier(&dir, NOW, &[]);
    let store = Store::open(&dir.0, NOW - 86_400_000).unwrap();
    assert_eq!(store.start(), NOW + 1);
}

#[test]
fn a_second_gateway_is_told_in_one_sentence() {
    let dir = DataDir::new();
    let store = Store::open(&dir.0, NOW).unwrap();
    let error = Store::open(&dir.0, NOW + 1).unwrap_err().to_string();
    let (journal, process) = (dir.0.join("journal"), std::process::id());
    let expected = format!(
        "the journal in {} is in use by another gateway, process {process}: stop that one, or give this one a data_dir \
         of its own",
        journal.display()
    );
    assert_eq!(error, expected);
    drop(store);
    Store::open(&dir.0, NOW + 1).unwrap();
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let dir = DataDir::new();
    fs::write(dir.0.join("file"), "").unwrap();
    let error = Store::open(&dir.0.join("file"), NOW).unwrap_err().to_string();
    assert!(
        error.starts_with("the journal cannot make the folder ")
            && error.contains("file/journal (")
            && error.contains("data_dir"),
        "{error}"
    );
}

#[test]
fn files_go_on_being_made_and_written_while_the_folder_gets_its_name() {
    let dir = DataDir::new();
    let (mut store, thread, mut shards) = open(&dir.0, small(), 1);
    for segment in 0..3 {
        assert!(shards[0].writes(batch(segment, 0, SMALL as usize, 1)));
    }
    store.finish_recovery().unwrap();
    for segment in 3..9 {
        assert!(shards[0].writes(batch(segment, 0, SMALL as usize, 1)));
    }
    let start = store.start();
    drop((store, shards));
    drop(thread);
    let store = Store::open(&dir.0, NOW).unwrap();
    let found = store.to_replay().unwrap();
    assert_eq!((found.start, found.logs.len()), (start, 1));
    assert!(found.logs[0].segments.len() >= 9);
    for (segment, file) in found.logs[0].segments[..9].iter().enumerate() {
        assert!(fs::read(&file.path).unwrap() == batch(segment as u32, 0, SMALL as usize, 1).seal());
    }
}
