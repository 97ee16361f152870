//! Appends to real files, and to a device that is always full.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::*;
use crate::net::{Doorbell, Wait};

const BOTH: [Durability; 2] = [Durability::LinkedSync, Durability::WriteThrough];

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
    for (durability, name) in BOTH.into_iter().zip(["linked", "through"]) {
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
    for (durability, name) in BOTH.into_iter().zip(["after-linked", "after-through"]) {
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
    net.append(&pipe, 0, &octets(4096, 1), Durability::LinkedSync);
    assert_eq!(outcome(&mut net).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    drop(reader);
}

#[test]
fn a_ring_that_is_dropped_waits_for_what_is_under_way() {
    for (durability, name) in BOTH.into_iter().zip(["dropped-linked", "dropped-through"]) {
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
    net.append(&file, 0, &octets(8192, 1), Durability::LinkedSync);
    outcome(&mut net).unwrap();
}

/// An append of three blocks, of which the kernel has taken nothing so far.
fn under_way() -> Append {
    let mut append = Append { under_way: 1, ..Append::default() };
    append.memory.fill(&octets(3 * ALIGNMENT, 0));
    append
}

#[test]
fn a_short_write_goes_on_from_the_last_whole_block() {
    let mut append = under_way();
    append.completed(WRITE, ALIGNMENT as i32 + 100);
    assert!(append.verdict().is_none());
    assert_eq!(append.written, ALIGNMENT);
    append.under_way = 1;
    append.completed(WRITE, 2 * ALIGNMENT as i32);
    assert!(append.verdict().unwrap().is_ok());
}

#[test]
fn a_write_that_gets_nowhere_is_a_failure() {
    for taken in [0, 100] {
        let mut append = under_way();
        append.completed(WRITE, taken);
        assert_eq!(append.verdict().unwrap().unwrap_err().kind(), io::ErrorKind::WriteZero);
    }
}

#[test]
fn want_of_memory_is_tried_again_so_often_and_no_oftener() {
    let mut append = under_way();
    for _ in 0..RETRIES_MAX {
        append.under_way = 1;
        append.completed(WRITE, -libc::EAGAIN);
        assert!(append.verdict().is_none());
    }
    append.under_way = 1;
    append.completed(WRITE, -libc::EAGAIN);
    assert_eq!(append.verdict().unwrap().unwrap_err().raw_os_error(), Some(libc::EAGAIN));
}

#[test]
fn a_sync_that_was_not_run_is_a_failure_whatever_was_written() {
    let mut append = under_way();
    append.under_way = 2;
    append.completed(WRITE, 3 * ALIGNMENT as i32);
    append.completed(SYNC, -libc::ECANCELED);
    assert!(append.verdict().unwrap().is_err());
}
