//! The journal's folder as one process has it: locked, with what earlier starts left, and this start's own folder.
//!
//! Used by the main thread at start. A crash at any step leaves a folder that the next start reads to the same effect.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::files::{Access, Folder, sync_folder};
use super::survey::{StartFolder, Survey, recovering_name, start_name, survey};

/// How long the folder may still be held: by a process that is just ending, or by a child of this one between fork and exec,
/// which has all descriptors for that moment.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// From one try to lock to the next.
const LOCK_LOOK: Duration = Duration::from_millis(10);

/// Why the journal cannot be used.
#[derive(Debug)]
pub enum StoreError {
    /// Another gateway has it: the journal's folder, and the process as that one noted it.
    InUse(PathBuf, String),
    /// Something could not be done with a file or folder.
    Io(&'static str, PathBuf, io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path, process) => write!(
                f,
                "the journal in {} is in use by another gateway{}{process}: stop that one, or give this one a data_dir \
                 of its own",
                path.display(),
                if process.is_empty() { "" } else { ", process " },
            ),
            Self::Io(what, path, error) => {
                let cure = match error.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
                    _ => "give [gateway] data_dir a folder in which this user may write",
                };
                write!(f, "the journal cannot {what} {} ({error}): {cure}", path.display())
            }
        }
    }
}

impl core::error::Error for StoreError {}

/// A journal's folder that this process alone uses until this value and the [`super::Maker`]'s thread are gone.
#[derive(Debug)]
pub struct Store {
    journal: PathBuf,
    start: u64,
    folder: Arc<Folder>,
    access: Access,
    found: Survey,
    is_complete: bool,
}

impl Store {
    /// Takes `data_dir/journal` for this process, removes what starts left unfinished, and makes this start's folder,
    /// unfinished. `now_unix_ms` becomes the start's number unless a folder has that or a later one.
    ///
    /// # Errors
    /// When another gateway has the folder, or a file or folder cannot be made, read or removed.
    pub fn open(data_dir: &Path, now_unix_ms: u64) -> Result<Self, StoreError> {
        let journal = data_dir.join("journal");
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::Io(what, path, error)
        };
        make_folders(&journal).map_err(failed("make the folder", &journal))?;
        let lock = Arc::new(lock(&journal)?);
        let found = survey(&journal).map_err(failed("read the folder", &journal))?;
        for path in &found.unfinished {
            fs::remove_dir_all(path).map_err(failed("remove the folder", path))?;
        }
        // A clock that was set back must not make this start older than the one it takes over from.
        let start = found.starts.last().map_or(now_unix_ms, |last| now_unix_ms.max(last.start + 1));
        let path = journal.join(recovering_name(start));
        DirBuilder::new().mode(0o700).create(&path).map_err(failed("make the folder", &path))?;
        sync_folder(&journal).map_err(failed("sync the folder", &journal))?;
        let folder = Folder::open(&path, lock).map_err(failed("open the folder", &path))?;
        let access = folder.probe().map_err(failed("write to the folder", &path))?;
        Ok(Self { journal, start, folder: Arc::new(folder), access, found, is_complete: false })
    }

    /// This start's number: unix milliseconds, later than any other in the folder.
    pub const fn start(&self) -> u64 {
        self.start
    }

    /// How segment files are written, for the log.
    pub const fn access(&self) -> &Access {
        &self.access
    }

    /// The folder that is to be replayed; `None` where there is nothing yet. Older ones that a crash has left are part
    /// of it.
    pub fn to_replay(&self) -> Option<&StartFolder> {
        self.found.starts.last()
    }

    /// Makes this start's folder the one that counts, once all that is live stands in it on stable storage, and removes
    /// older ones. Tells which of those could not be removed: they do no harm but take up space until the next start.
    ///
    /// # Errors
    /// When the folder cannot be renamed or synced; then the older ones still count and stay.
    ///
    /// # Panics
    /// When called twice.
    pub fn finish_recovery(&mut self) -> Result<Vec<StoreError>, StoreError> {
        assert!(!self.is_complete, "a recovery is finished once");
        let (from, to) = (self.journal.join(recovering_name(self.start)), self.journal.join(start_name(self.start)));
        self.folder.sync().map_err(|error| StoreError::Io("sync the folder", from.clone(), error))?;
        fs::rename(&from, &to).map_err(|error| StoreError::Io("rename the folder", from, error))?;
        sync_folder(&self.journal).map_err(|error| StoreError::Io("sync the folder", self.journal.clone(), error))?;
        self.is_complete = true;
        Ok(self.remove_older())
    }

    pub(super) fn folder(&self) -> Arc<Folder> {
        self.folder.clone()
    }

    fn remove_older(&mut self) -> Vec<StoreError> {
        let mut left = Vec::new();
        for older in core::mem::take(&mut self.found.starts) {
            if let Err(error) = fs::remove_dir_all(&older.path) {
                left.push(StoreError::Io("remove the folder", older.path, error));
            }
        }
        left
    }
}

/// Makes a folder and those above it, each name on stable storage: what is acknowledged must not vanish with them.
fn make_folders(journal: &Path) -> io::Result<()> {
    let is_there = |folder: &&Path| folder.as_os_str().is_empty() || folder.exists();
    let missing = journal.ancestors().take_while(|folder| !is_there(folder)).count();
    // What customers write to whom is nobody else's business.
    DirBuilder::new().recursive(true).mode(0o700).create(journal)?;
    // At least the one above: an earlier start may have ended between making this one and syncing that.
    for folder in journal.ancestors().skip(1).take(missing.max(1)) {
        sync_folder(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    }
    Ok(())
}

fn lock(journal: &Path) -> Result<File, StoreError> {
    let path = journal.join("lock");
    let failed = |error| StoreError::Io("lock the file", path.clone(), error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    let until = Instant::now() + LOCK_PATIENCE;
    let locked = loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_LOOK),
            other => break other,
        }
    };
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut process = String::new();
            // Who it is helps and is not needed.
            let _ = (&file).take(20).read_to_string(&mut process);
            return Err(StoreError::InUse(journal.to_owned(), process.trim().to_owned()));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}
