//! A small file system of a test's own, which can be made full.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;

/// The step in which the last MiB is filled, octets.
const BLOCK: u64 = 4_096;

/// A file system mounted in a test's folder, for as long as this value lives: a gateway on it ends before.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    mounted: PathBuf,
}

impl SmallDisk {
    /// One in memory; `None` without the right to mount.
    pub(crate) fn in_memory(path: &Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={mib}m");
        is_done(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(path))
            .then(|| Self { mounted: path.to_owned() })
    }

    /// An ext4 in a file beside the path; `None` without the right to mount, or without a loop device.
    pub(crate) fn ext4(path: &Path, mib: u32) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let image = path.with_extension("ext4");
        File::create(&image).unwrap().set_len(u64::from(mib) * MIB).unwrap();
        let is_mounted = is_done(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))
            && is_done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(path));
        is_mounted.then(|| Self { mounted: path.to_owned() })
    }

    /// Takes all the room that there is.
    pub(crate) fn fill(&self) {
        let file = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for step in [MIB, BLOCK] {
            loop {
                let length = file.metadata().unwrap().len();
                match fallocate(&file, FallocateFlags::empty(), length, step) {
                    Ok(()) => {}
                    Err(Errno::NOSPC) => break,
                    Err(error) => panic!("{}: {error}", self.mounted.display()),
                }
            }
        }
    }

    /// Gives back so much of what [`SmallDisk::fill`] took.
    pub(crate) fn make_room_of(&self, mib: u64) {
        let file = File::options().write(true).open(self.ballast()).unwrap();
        file.set_len(file.metadata().unwrap().len() - mib * MIB).unwrap();
    }

    /// Gives back all of it.
    pub(crate) fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let is_unmounted = is_done(Command::new("umount").arg("-l").arg(&self.mounted));
        if is_unmounted && !std::thread::panicking() {
            // The test's folder could not go as long as this was mounted in it.
            let _ = self.mounted.parent().map(fs::remove_dir_all);
        }
    }
}

fn is_done(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
