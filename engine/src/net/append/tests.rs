//! Appends to real files, and to a device that is always full.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::net::{Doorbell, Wait};

const BOTH: [Durability; 2] = [Durability::WriteAndSync, Durability::WriteThrough];

fn net() -> Net {
    Net::new(Arc::new(Doorbell::new().unwrap())).unwrap()
}

/// A new file of a test's own, which has no name any more.
fn file(name: &str) -> Arc<File> {
    let path: PathBuf = std::env::temp_dir().join(format!("smpp-gateway-append-{}-{name}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(path).unwrap();
    Arc::new(file)
}

fn outcome(net: &mut Net) -> io::Result<()> {
    let start = Instant::now();
    loop {
        if let Some(completion) = net.next() {
            let Completion::Appended(outcome) = completion else { panic!("{completion:?}") };
            return outcome;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "nothing came");
        net.enter(Wait::AtMost(Duration::from_millis(100))).unwrap();
    }
}

fn octets(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn appends_stand_where_they_were_told_to() {
    for (durability, name) in BOTH.into_iter().zip(["synced", "through"]) {
        let (mut net, file) = (net(), file(name));
        let mut expected = Vec::new();
        for (seed, count) in [4096, 262_144, 8192, 6 * 1024 * 1024, 4096].into_iter().enumerate() {
            let bytes = octets(count, seed as u8);
            net.append(&file, expected.len() as u64, &bytes, durability);
            assert!(net.is_appending());
            outcome(&mut net).unwrap();
            assert!(!net.is_appending());
            expected.extend_from_slice(&bytes);
        }
        let mut back = vec![0; expected.len()];
        file.read_exact_at(&mut back, 0).unwrap();
        assert!(back == expected, "{durability:?}");
        assert_eq!(file.metadata().unwrap().len(), expected.len() as u64);
    }
}

#[test]
fn a_full_device_is_a_failure_and_the_next_append_elsewhere_is_none() {
    for (durability, name) in BOTH.into_iter().zip(["after-synced", "after-through"]) {
        let mut net = net();
        let full = Arc::new(OpenOptions::new().write(true).open("/dev/full").unwrap());
        net.append(&full, 0, &octets(8192, 1), durability);
        assert_eq!(outcome(&mut net).unwrap_err().raw_os_error(), Some(libc::ENOSPC), "{durability:?}");
        assert_eq!(Arc::strong_count(&full), 1);
        let file = file(name);
        net.append(&file, 0, &octets(8192, 1), durability);
        outcome(&mut net).unwrap();
    }
}

#[test]
fn a_file_that_cannot_be_synced_is_a_failure_though_all_was_written() {
    let (mut net, (reader, writer)) = (net(), std::io::pipe().unwrap());
    let pipe = Arc::new(File::from(std::os::fd::OwnedFd::from(writer)));
    net.append(&pipe, 0, &octets(4096, 1), Durability::WriteAndSync);
    assert_eq!(outcome(&mut net).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    drop(reader);
}

#[test]
fn a_ring_that_is_dropped_waits_for_what_is_under_way() {
    for (durability, name) in BOTH.into_iter().zip(["dropped-synced", "dropped-through"]) {
        let (mut net, file) = (net(), file(name));
        net.append(&file, 0, &octets(1024 * 1024, 7), durability);
        net.enter(Wait::No).unwrap();
        drop(net);
        assert_eq!(Arc::strong_count(&file), 1);
    }
}

#[test]
fn workers_that_have_been_given_a_core_do_their_work() {
    let (mut net, file) = (net(), file("placed"));
    assert!(net.place_workers(&[]).is_err());
    net.place_workers(&crate::platform::allowed_cores()[..1]).unwrap();
    net.append(&file, 0, &octets(8192, 1), Durability::WriteAndSync);
    outcome(&mut net).unwrap();
}

/// An append of three blocks, of which the kernel has taken nothing so far.
fn writing(durability: Durability) -> Append {
    let mut append = Append { durability, stage: Stage::Writing, ..Append::default() };
    append.memory.fill(&octets(3 * ALIGNMENT, 0));
    append
}

#[test]
fn a_short_write_goes_on_from_the_last_whole_block() {
    let mut append = writing(Durability::WriteThrough);
    assert!(matches!(append.completed(ALIGNMENT as i32 + 100), Next::WriteOn));
    assert_eq!(append.written, ALIGNMENT);
    append.stage = Stage::Writing;
    assert!(matches!(append.completed(2 * ALIGNMENT as i32), Next::Done(Ok(()))));
}

#[test]
fn a_write_that_gets_nowhere_is_a_failure() {
    for taken in [0, 100] {
        let Next::Done(Err(error)) = writing(Durability::WriteAndSync).completed(taken) else { panic!("{taken}") };
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}

#[test]
fn want_of_memory_is_tried_again_so_often_and_no_oftener() {
    let mut append = writing(Durability::WriteThrough);
    for _ in 0..RETRIES_MAX {
        assert!(matches!(append.completed(-libc::EAGAIN), Next::WriteOn));
        append.stage = Stage::Writing;
    }
    let Next::Done(Err(error)) = append.completed(-libc::EAGAIN) else { panic!("for ever") };
    assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
}

#[test]
fn a_sync_that_failed_is_a_failure_whatever_was_written_and_is_not_tried_again() {
    for code in [libc::EIO, libc::EINTR, libc::ECANCELED] {
        let mut append = writing(Durability::WriteAndSync);
        assert!(matches!(append.completed(3 * ALIGNMENT as i32), Next::Sync));
        append.stage = Stage::Syncing;
        let Next::Done(Err(error)) = append.completed(-code) else { panic!("{code}") };
        assert_eq!(error.raw_os_error(), Some(code));
    }
}
