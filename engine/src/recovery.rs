//! Taking over what the journal holds from earlier starts: read, shared out, written anew, and only then is the old removed.
//!
//! Runs on the main thread, once, at start.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use smpp_control::config::LogLevel;
use smpp_control::{Configuration, Field, Log, RecoveryProgress};
use smpp_shards::journal::{Live, LogName, Replay};
use smpp_shards::restore::{Restored, Shares, Strange, share, strangers};
use smpp_shards::{CustomerId, JournalSetup, ShardId, Snapshot};

use crate::journal::{Appender, Maker, MakerEnd, MakerSettings, StartFolder, Store};
use crate::net::Doorbell;
use crate::start::StartError;
use crate::stop::{LOOK, StartSignals};

const MIB: u64 = 1 << 20;

/// As what these lines stand in the log.
const COMPONENT: &str = "journal";

/// Why what the journal holds cannot be taken over.
#[derive(Debug)]
pub enum RecoveryError {
    /// A segment's file cannot be read.
    Read(PathBuf, io::Error),
    /// Customers that are promised something, are not configured, and find no place.
    Customers(Vec<String>),
    /// A shard ended before it had taken over its share.
    Shard,
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(
                f,
                "the journal's {} cannot be read ({error}): give back the permission or the disk, nothing has been removed",
                path.display()
            ),
            Self::Customers(names) => write!(
                f,
                "the journal holds messages of {}, which no customer of the configuration is, and there is no place left \
                 for more names: put it back, with active = false if it shall not bind, until its messages have reached \
                 their end",
                names.join(", ")
            ),
            Self::Shard => f.write_str("a shard ended while it took over the journal"),
        }
    }
}

impl std::error::Error for RecoveryError {}

/// What one shard gets.
pub(crate) struct Share {
    pub(crate) setup: JournalSetup,
    pub(crate) restored: Restored,
    pub(crate) appender: Appender,
    pub(crate) progress: Arc<RecoveryProgress>,
}

/// A recovery under way.
pub(crate) struct Recovery {
    store: Store,
    /// With which the shards are to be started.
    pub(crate) snapshot: Arc<Snapshot>,
    /// The homes that are fixed by what the journal holds.
    pub(crate) homes: Vec<(CustomerId, ShardId)>,
    shares: std::vec::IntoIter<(u16, MakerEnd, Restored)>,
    maker: Maker,
    progress: Arc<RecoveryProgress>,
    segment_bytes: u64,
    bytes_max: u64,
    commit_wait_us: u32,
    found: Found,
}

/// A journal's folder that is this process's, of which nothing has been read.
pub(crate) struct OldJournal {
    store: Store,
    progress: Arc<RecoveryProgress>,
}

/// The journal of a gateway that runs: its folder, locked, and the thread that makes its files.
#[derive(Debug)]
pub(crate) struct Journal {
    _store: Store,
    maker: Maker,
}

impl Journal {
    /// Waits for the thread's end, once the shards have gone, and lets go of the folder; `false` when it has not ended by
    /// then.
    pub(crate) fn end(self, until: Instant) -> bool {
        self.maker.join_until(until)
    }
}

/// For the log.
struct Found {
    messages: usize,
    receipts: usize,
    torn_octets: u64,
    problems: Vec<String>,
    problem_count: u64,
    read_in: Duration,
    strangers: BTreeMap<String, Strange>,
}

impl OldJournal {
    /// Opens the folder for that many shards.
    pub(crate) fn open(configuration: &Configuration, shards: u16) -> Result<Self, StartError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let store = Store::open(&configuration.gateway.data_dir, u64::try_from(now).unwrap_or(u64::MAX))
            .map_err(StartError::Journal)?;
        let files = store.to_replay().into_iter().flat_map(|folder| &folder.logs).flat_map(|log| &log.segments);
        let (segments, bytes) = files.fold((0, 0), |(segments, bytes), file| (segments + 1, bytes + file.octets));
        let progress = Arc::new(RecoveryProgress::new(segments, bytes, shards));
        Ok(Self { store, progress })
    }

    /// Where it is told how far the taking over is.
    pub(crate) fn progress(&self) -> Arc<RecoveryProgress> {
        Arc::clone(&self.progress)
    }
}

impl Recovery {
    /// Reads what is there and shares it out. `remember` makes places for customers that are not configured any more, and
    /// gives the snapshot with them.
    pub(crate) fn begin(
        old: OldJournal,
        configuration: &Configuration,
        mut snapshot: Arc<Snapshot>,
        bells: &[Arc<Doorbell>],
        signals: &mut StartSignals<'_>,
        remember: impl FnOnce(Vec<String>) -> Option<Arc<Snapshot>>,
    ) -> Result<Self, StartError> {
        let start = Instant::now();
        let OldJournal { store, progress } = old;
        let live = match store.to_replay() {
            Some(folder) => replay(folder, &progress, signals)?,
            None => Live::default(),
        };
        let found = Found {
            messages: live.messages.len(),
            receipts: live.receipts.len(),
            torn_octets: live.logs.iter().map(|log| log.torn_octets).sum(),
            problems: live.problems.iter().map(ToString::to_string).collect(),
            problem_count: live.problem_count,
            read_in: start.elapsed(),
            strangers: strangers(&live, &snapshot),
        };
        if !found.strangers.is_empty()
            && let Some(with_places) = remember(found.strangers.keys().cloned().collect())
        {
            snapshot = with_places;
        }
        let shards = bells.len() as u16;
        let Shares { shards: shares, homes } =
            share(live, &snapshot, shards).map_err(|names| StartError::Recovery(RecoveryError::Customers(names)))?;
        let segment_bytes = u64::from(configuration.journal.segment_mb) * MIB;
        let all_bytes_max = u64::from(configuration.journal.max_mb) * MIB;
        let settings = MakerSettings::bounded(segment_bytes, all_bytes_max, progress.figures().bytes, shards);
        let (maker, ends) = Maker::start(&store, settings, bells)
            .map_err(|error| StartError::Io("no thread for the journal", error))?;
        let shares: Vec<_> =
            (0..shards).zip(ends).zip(shares).map(|((shard, end), restored)| (shard, end, restored)).collect();
        let bytes_max = all_bytes_max / u64::from(shards.max(1));
        let commit_wait_us = configuration.journal.commit_wait_us;
        let shares = shares.into_iter();
        Ok(Self { store, snapshot, homes, shares, maker, progress, segment_bytes, bytes_max, commit_wait_us, found })
    }

    /// The next shard's share, in their order.
    pub(crate) fn next_share(&mut self) -> Option<Share> {
        let (shard, end, restored) = self.shares.next()?;
        let log = LogName { start: self.store.start(), shard };
        let Self { segment_bytes, bytes_max, commit_wait_us, .. } = *self;
        let setup = JournalSetup { log, segment_bytes, bytes_max, commit_wait_us };
        Some(Share { setup, restored, appender: Appender::new(end), progress: Arc::clone(&self.progress) })
    }

    /// Waits until every shard has its share on stable storage, and makes this start's folder the one that counts.
    pub(crate) fn finish(
        mut self,
        restored: &Receiver<()>,
        signals: &mut StartSignals<'_>,
        log: &Log,
    ) -> Result<Journal, StartError> {
        // Each shard tells once; the channel ends early when one has ended.
        let mut left = restored.capacity().unwrap_or(0);
        while left > 0 {
            match restored.recv_timeout(LOOK) {
                Ok(()) => left -= 1,
                // A disk that is full may hold it up for as long as it likes.
                Err(RecvTimeoutError::Timeout) if signals.is_stopped() => {
                    return Err(StartError::Stopped);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(StartError::Recovery(RecoveryError::Shard)),
            }
        }
        let left = self.store.finish_recovery().map_err(StartError::Journal)?;
        self.tell(log);
        for error in left {
            let reason = error.to_string();
            log.write(LogLevel::Warn, COMPONENT, "an older journal stays", &[("reason", Field::Text(&reason))]);
        }
        self.progress.end();
        Ok(Journal { _store: self.store, maker: self.maker })
    }

    fn tell(&self, log: &Log) {
        let found = &self.found;
        for problem in &found.problems {
            log.write(LogLevel::Error, COMPONENT, "damage in the journal", &[("reason", Field::Text(problem))]);
        }
        for (system_id, strange) in &found.strangers {
            let fields = [
                ("smpp_system_id", Field::Text(system_id)),
                ("messages", Field::Number(strange.messages)),
                ("receipts", Field::Number(strange.receipts)),
            ];
            let message = "the journal holds something of a customer that is not configured: its messages go out, its \
                           receipts wait for it until their time is up";
            log.write(LogLevel::Warn, COMPONENT, message, &fields);
        }
        let access = self.store.access().to_string();
        let fields = [
            ("access", Field::Text(&access)),
            ("messages", Field::Number(found.messages as u64)),
            ("receipts", Field::Number(found.receipts as u64)),
            ("torn_octets", Field::Number(found.torn_octets)),
            ("damaged", Field::Number(found.problem_count)),
            ("read_in_ms", Field::Number(found.read_in.as_millis() as u64)),
        ];
        log.write(LogLevel::Info, COMPONENT, "journal taken over", &fields);
    }
}

fn replay(
    folder: &StartFolder,
    progress: &RecoveryProgress,
    signals: &mut StartSignals<'_>,
) -> Result<Live, StartError> {
    let mut replay = Replay::new();
    for files in &folder.logs {
        let log = LogName { start: folder.start, shard: files.shard };
        for file in &files.segments {
            if signals.is_stopped() {
                return Err(StartError::Stopped);
            }
            let octets = fs::read(&file.path)
                .map_err(|error| StartError::Recovery(RecoveryError::Read(file.path.clone(), error)))?;
            replay.add(log, file.segment, &file.path.display().to_string(), &octets);
            progress.read(octets.len() as u64, replay.live_entries() as u64);
        }
    }
    Ok(replay.finish())
}
