//! One start's folder and the files in it: made full size, renamed, removed, each step brought to stable storage.
//!
//! Used by the main thread at start and by the thread `journal`: everything here may wait. The folder is held open, so
//! that its being renamed while files are made in it makes no difference.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use smpp_shards::journal::AlignedBuffer;

use super::BLOCK;

/// Octets written at a time when a file is filled.
const FILL_BYTES: usize = 1024 * 1024;

/// The name of the file with which direct I/O is tried.
const PROBE_NAME: &str = "probe";

/// How segment files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Past the page cache (O_DIRECT).
    Direct,
    /// Through the page cache; why not past it.
    Buffered(String),
}

impl Access {
    pub(super) const fn is_direct(&self) -> bool {
        matches!(self, Self::Direct)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("direct I/O"),
            Self::Buffered(reason) => {
                write!(f, "buffered writes with fdatasync, since the file system has no direct I/O ({reason})")
            }
        }
    }
}

/// A start's folder.
#[derive(Debug)]
pub(super) struct Folder {
    descriptor: OwnedFd,
    /// Held as long as anybody may change something in the folder.
    _lock: Arc<File>,
}

impl Folder {
    pub(super) fn open(path: &Path, lock: Arc<File>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { descriptor: rustix::fs::open(path, flags, Mode::empty())?, _lock: lock })
    }

    /// Finds out how files in this folder can be written, by writing a block.
    pub(super) fn probe(&self) -> io::Result<Access> {
        let access = match self.create(PROBE_NAME, true) {
            Ok(file) => match file.write_all_at(AlignedBuffer::zeroed(BLOCK).as_slice(), 0) {
                Ok(()) => Access::Direct,
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Access::Buffered(error.to_string()),
                Err(error) => return Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Access::Buffered(error.to_string()),
            Err(error) => return Err(error),
        };
        // A file system without direct I/O may have made the file before it refused.
        match self.remove(PROBE_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(access),
        }
    }

    /// Makes a file of zeros whose every octet has its place on the disk, so that writing to it changes no metadata.
    /// What is left of it after a failure is removed.
    pub(super) fn make(&self, name: &str, octets: u64, direct: bool) -> io::Result<File> {
        let file = self.create(name, direct)?;
        if let Err(error) = fill(&file, octets).and_then(|()| file.sync_all()).and_then(|()| self.sync()) {
            drop(file);
            let _ = self.remove(name);
            return Err(error);
        }
        Ok(file)
    }

    /// Takes a file into use again under another name. Its first block is zeros before it has that name.
    pub(super) fn reuse(&self, spare: &str, name: &str, direct: bool) -> io::Result<File> {
        let file = self.open_for_writing(spare, direct)?;
        file.write_all_at(AlignedBuffer::zeroed(BLOCK).as_slice(), 0)?;
        file.sync_data()?;
        self.rename(spare, name)?;
        self.sync()?;
        Ok(file)
    }

    /// A whole file, and nothing of it left in the page cache.
    pub(super) fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let descriptor = rustix::fs::openat(&self.descriptor, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut file = File::from(descriptor);
        let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize);
        file.read_to_end(&mut bytes)?;
        // Only advice: where it is not taken, the cache keeps what nobody will ask for again.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(bytes)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.descriptor, from, &self.descriptor, to)?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.descriptor, name, AtFlags::empty())?)
    }

    /// Brings the folder itself, the names in it, to stable storage.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.descriptor)?)
    }

    fn create(&self, name: &str, direct: bool) -> io::Result<File> {
        let flags = writing(direct) | OFlags::CREATE | OFlags::EXCL;
        Ok(rustix::fs::openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn open_for_writing(&self, name: &str, direct: bool) -> io::Result<File> {
        Ok(rustix::fs::openat(&self.descriptor, name, writing(direct), Mode::empty())?.into())
    }
}

/// Brings a folder's names to stable storage.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn writing(direct: bool) -> OFlags {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    if direct { flags | OFlags::DIRECT } else { flags }
}

fn fill(file: &File, octets: u64) -> io::Result<()> {
    // Asking for the space first makes a full disk known before anything is written, and the file one run of blocks.
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, octets) {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = AlignedBuffer::zeroed(FILL_BYTES);
    let mut offset = 0;
    while offset < octets {
        let length = (octets - offset).min(FILL_BYTES as u64);
        file.write_all_at(&zeros.as_slice()[..length as usize], offset)?;
        offset += length;
    }
    Ok(())
}
