//! The thread `journal`: makes segment files ahead, uses freed ones again, removes what is too many, reads old ones.
//!
//! Everything here may wait for the disk; a shard asks through a bounded channel and hears by another and its
//! doorbell. Files are freed in the order of their segments, each step on stable storage before the next, so that no
//! crash brings a message back without the record of its end, which stands in a later segment.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use smpp_shards::journal::segment_file;

use super::files::Folder;
use super::store::Store;
use super::writer::{self, WriterEnd};
use super::{BLOCK, SEGMENT_BYTES};
use crate::net::Doorbell;

/// Requests of one shard that may wait; what finds no room is kept by the shard and tried again.
const REQUESTS_PER_SHARD: usize = 16;

/// Answers to one shard that may wait: one file and one reading at the most, and notes.
const ANSWERS_MAX: usize = 16;

/// Files that a shard has ahead of the present one at the most.
const AHEAD_PER_SHARD: u64 = 2;

/// From one attempt to make a file that could not be made to the next.
const RETRY: Duration = Duration::from_secs(1);

/// How many files there are and how large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MakerSettings {
    /// Octets of a segment file; a multiple of [`BLOCK`].
    pub segment_bytes: u64,
    /// Files of all shards at the most, in use, ahead and spare. Beyond it none is made until one is freed.
    pub files_max: usize,
    /// Freed files that are kept for their next use at the most; more are removed.
    pub spares_max: usize,
}

impl Default for MakerSettings {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, files_max: usize::MAX, spares_max: 4 }
    }
}

impl MakerSettings {
    /// For a journal that refuses new messages once its segments take `bytes_max` octets, in equal parts for the shards,
    /// and that takes over one of `bytes_found` octets.
    ///
    /// Beyond that bound there is half as much again, and not less than four files for each shard, for what becomes of that
    /// which was accepted before. An older journal that is larger than the bound, as after a change of it, counts as the
    /// bound: what it holds must find room.
    pub fn bounded(segment_bytes: u64, bytes_max: u64, bytes_found: u64, shards: u16) -> Self {
        let shards = u64::from(shards.max(1));
        let accepted = (bytes_max / shards).div_ceil(segment_bytes) * shards;
        let found = bytes_found.div_ceil(segment_bytes) + shards;
        let most = accepted.max(found);
        let settings = Self { segment_bytes, ..Self::default() };
        let files = most + (most / 2).max(4 * shards) + AHEAD_PER_SHARD * shards + settings.spares_max as u64;
        Self { files_max: usize::try_from(files).unwrap_or(usize::MAX), ..settings }
    }
}

/// What a shard asks for.
#[derive(Debug)]
pub(super) enum Request {
    /// A segment's file. One at a time.
    Make { shard: u16, segment: u32 },
    /// A file to be closed, since a close may wait.
    Close(Arc<File>),
    /// An append to this segment failed: its file is never used again.
    Condemn { shard: u16, segment: u32 },
    /// No segment below this one is needed any more.
    FreeBelow { shard: u16, segment: u32 },
    /// What a segment's file holds. One at a time.
    Read { shard: u16, segment: u32 },
}

/// What a shard hears.
#[derive(Debug)]
pub(super) enum Answer {
    Made { segment: u32, file: Arc<File> },
    NotMade { segment: u32, reason: String },
    Read { segment: u32, result: Result<Vec<u8>, String> },
    Trouble { reason: String },
}

/// One shard's line to the thread, and to the one that writes for it; an [`super::Appender`] is made of it.
#[derive(Debug)]
pub struct MakerEnd {
    pub(super) shard: u16,
    pub(super) segment_bytes: u64,
    pub(super) writer: WriterEnd,
    pub(super) requests: Sender<Request>,
    pub(super) answers: Receiver<Answer>,
}

/// The thread.
#[derive(Debug)]
pub struct Maker {
    thread: JoinHandle<()>,
    /// Nothing is ever sent here: it ends with the thread.
    ended: Receiver<()>,
}

impl Maker {
    /// Starts it for as many shards as there are doorbells, with a thread that writes for each. It ends when the last
    /// [`MakerEnd`] (or the appender made of it) is gone and nothing is being written any more, and holds the store's
    /// lock until then.
    ///
    /// # Errors
    /// When there is no thread to be had.
    ///
    /// # Panics
    /// When a segment would hold no batch, or is no multiple of [`BLOCK`].
    pub fn start(store: &Store, settings: MakerSettings, bells: &[Arc<Doorbell>]) -> io::Result<(Self, Vec<MakerEnd>)> {
        let segment_bytes = settings.segment_bytes;
        assert!(segment_bytes > 0 && segment_bytes.is_multiple_of(BLOCK as u64), "a segment is blocks");
        let (requests, asked) = bounded(bells.len().max(1) * REQUESTS_PER_SHARD);
        let mut ends = Vec::new();
        let mut shards = Vec::new();
        for (shard, bell) in bells.iter().enumerate() {
            let (sender, answers) = bounded(ANSWERS_MAX);
            let requests = requests.clone();
            let writer = writer::start(shard as u16, bell.clone(), requests.clone())?;
            ends.push(MakerEnd { shard: shard as u16, segment_bytes, writer, requests, answers });
            shards.push(Shard { answers: sender, bell: bell.clone(), freed: 0, condemned: BTreeSet::new() });
        }
        let mut work = Work {
            folder: store.folder(),
            direct: store.access().is_direct(),
            settings,
            shards,
            files: 0,
            spares: Vec::new(),
            spares_named: 0,
            wanted: VecDeque::new(),
            retry_at: Instant::now(),
        };
        let (end, ended) = bounded(0);
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || {
            work.run(&asked);
            // With the folder and its lock, before anybody hears of the end.
            drop(work);
            drop(end);
        })?;
        Ok((Self { thread, ended }, ends))
    }

    /// As [`Maker::join`], but not longer than until then; whether it has ended. A disk that hangs keeps it from that.
    pub fn join_until(self, until: Instant) -> bool {
        let has_ended = matches!(self.ended.recv_deadline(until), Err(RecvTimeoutError::Disconnected));
        if has_ended {
            self.join();
        }
        has_ended
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        // A panic of the thread has ended the process.
        let _ = self.thread.join();
    }
}

struct Shard {
    answers: Sender<Answer>,
    bell: Arc<Doorbell>,
    /// Segments below this one have been freed.
    freed: u32,
    condemned: BTreeSet<u32>,
}

/// A file that a shard waits for, and why it is not there, as the shard was told.
struct Wanted {
    shard: u16,
    segment: u32,
    told: Option<String>,
}

struct Work {
    folder: Arc<Folder>,
    direct: bool,
    settings: MakerSettings,
    shards: Vec<Shard>,
    /// Segment files that exist, spares among them.
    files: usize,
    spares: Vec<String>,
    spares_named: u64,
    wanted: VecDeque<Wanted>,
    retry_at: Instant,
}

impl Work {
    fn run(&mut self, asked: &Receiver<Request>) {
        loop {
            let request = if self.wanted.is_empty() {
                asked.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                asked.recv_deadline(self.retry_at)
            };
            match request {
                Ok(request) => self.carry_out(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.retry_at <= Instant::now() {
                self.make_wanted();
            }
        }
    }

    fn carry_out(&mut self, request: Request) {
        match request {
            Request::Make { shard, segment } => {
                self.wanted.push_back(Wanted { shard, segment, told: None });
                self.retry_at = Instant::now();
            }
            Request::Close(file) => drop(file),
            Request::Condemn { shard, segment } => {
                self.shards[usize::from(shard)].condemned.insert(segment);
            }
            Request::FreeBelow { shard, segment } => {
                self.free(shard, segment);
                self.retry_at = Instant::now();
            }
            Request::Read { shard, segment } => {
                let name = segment_file(shard, segment);
                let result = self.folder.read(&name).map_err(|error| format!("{name}: {error}"));
                self.tell(shard, Answer::Read { segment, result });
            }
        }
    }

    /// Makes what is wanted, in turn; what cannot be made stays wanted.
    fn make_wanted(&mut self) {
        for mut wanted in core::mem::take(&mut self.wanted) {
            let (shard, segment) = (wanted.shard, wanted.segment);
            match self.make(&segment_file(shard, segment)) {
                Ok(file) => self.tell(shard, Answer::Made { segment, file: Arc::new(file) }),
                Err(reason) => {
                    if wanted.told.as_ref() != Some(&reason)
                        && self.note(shard, Answer::NotMade { segment, reason: reason.clone() })
                    {
                        wanted.told = Some(reason);
                    }
                    self.wanted.push_back(wanted);
                }
            }
        }
        self.retry_at = Instant::now() + RETRY;
    }

    fn make(&mut self, name: &str) -> Result<File, String> {
        while let Some(spare) = self.spares.pop() {
            match self.folder.reuse(&spare, name, self.direct) {
                Ok(file) => return Ok(file),
                Err(_) => {
                    // It may have either name by now. A new one is made in its place.
                    let _ = self.folder.remove(&spare);
                    let _ = self.folder.remove(name);
                    self.files -= 1;
                }
            }
        }
        if self.files >= self.settings.files_max {
            return Err(format!("the journal has its {} segment files, and none is free", self.files));
        }
        let file = self.folder.make(name, self.settings.segment_bytes, self.direct);
        let file = file.map_err(|error| format!("{name} cannot be made: {error}"))?;
        self.files += 1;
        Ok(file)
    }

    fn free(&mut self, shard: u16, below: u32) {
        for segment in self.shards[usize::from(shard)].freed..below {
            let name = segment_file(shard, segment);
            if let Err(error) = self.free_one(shard, segment, &name) {
                // The next call tries it again: nothing above it may go before it.
                self.note(shard, Answer::Trouble { reason: format!("{name} cannot be freed: {error}") });
                return;
            }
            self.shards[usize::from(shard)].freed = segment + 1;
        }
    }

    fn free_one(&mut self, shard: u16, segment: u32, name: &str) -> io::Result<()> {
        let is_condemned = self.shards[usize::from(shard)].condemned.contains(&segment);
        let is_kept = !is_condemned && self.spares.len() < self.settings.spares_max;
        let spare = format!("spare-{}", self.spares_named);
        let result = if is_kept { self.folder.rename(name, &spare) } else { self.folder.remove(name) };
        match result {
            Ok(()) => {}
            // An earlier call got this far, and then the folder could not be synced.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.folder.sync(),
            Err(error) => return Err(error),
        }
        self.shards[usize::from(shard)].condemned.remove(&segment);
        if is_kept {
            self.spares_named += 1;
            self.spares.push(spare);
        } else {
            self.files -= 1;
        }
        self.folder.sync()
    }

    /// Answers; there is room, since a shard asks for one thing of a kind at a time. A shard that has ended needs none.
    fn tell(&self, shard: u16, answer: Answer) {
        let shard = &self.shards[usize::from(shard)];
        let _ = shard.answers.send(answer);
        shard.bell.ring();
    }

    /// Tells what there will be occasion to tell again; whether there was room.
    fn note(&self, shard: u16, answer: Answer) -> bool {
        let shard = &self.shards[usize::from(shard)];
        let is_told = shard.answers.try_send(answer).is_ok();
        shard.bell.ring();
        is_told
    }
}
