//! A small file system of the tests' own that is really full. Needs the right to mount one.

use std::process::Command;

use super::super::writer::write_through;
use super::*;

/// A tmpfs that goes with the test.
struct SmallDisk(DataDir);

impl SmallDisk {
    /// `None`, with the reason printed, where mounting is not allowed.
    fn mount(kibibytes: usize) -> Option<Self> {
        let dir = DataDir::new();
        let size = format!("size={kibibytes}k");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "smpp-gateway-test"]).arg(&dir.0).output();
        match output {
            Ok(output) if output.status.success() => Some(Self(dir)),
            Ok(output) => {
                eprintln!("skipped, no file system can be mounted: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped, there is no mount: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, since a test that failed may have files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0.0).status();
    }
}

#[test]
fn a_full_disk_is_told_once_and_costs_nothing_that_was_written() {
    let Some(disk) = SmallDisk::mount(1024) else { return };
    let ballast = disk.0.0.join("ballast");
    let (_store, _thread, mut shards) = open(&disk.0.0, small(), 1);
    let shard = &mut shards[0];
    assert!(shard.writes(batch(0, 0, SMALL as usize, 1)));
    while !shard.appender.has_file(2) {
        assert!(matches!(shard.news(), News::File(_)));
    }
    // Whatever is left.
    let _ = fs::write(&ballast, vec![1; 1024 * 1024]);
    assert!(shard.writes(batch(1, 0, SMALL as usize, 2)));
    let News::NoFile(3, reason) = shard.news() else { panic!("the disk is full") };
    assert!(reason.starts_with("shard-0-00000003.seg cannot be made: No space left"), "{reason}");
    assert!(shard.writes(batch(2, 0, SMALL as usize, 3)), "files made ahead have their room");
    assert!(matches!(shard.appender.offer(batch(3, 0, FIRST, 4)), Offered::NoFile(_)));
    assert_eq!(shard.appender.no_file_because(), Some(reason.as_str()), "though it was told long before");
    fs::remove_file(ballast).unwrap();
    assert_eq!(shard.news(), News::File(3), "it is tried again without being asked");
    assert_eq!(shard.appender.no_file_because(), None);
    assert!(shard.writes(batch(3, 0, FIRST, 4)));
    for segment in 0..3 {
        assert!(shard.read(segment).unwrap() == batch(segment, 0, SMALL as usize, segment as u8 + 1).seal());
    }
}

#[test]
fn an_append_that_finds_no_room_fails_whole_though_part_of_it_is_written() {
    let Some(disk) = SmallDisk::mount(256) else { return };
    let file = fs::File::create(disk.0.0.join("file")).unwrap();
    let result = write_through(&file, 0, &[7; 1024 * 1024]);
    assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    assert!(file.metadata().unwrap().len() > 0, "this was to be a short write");
}
