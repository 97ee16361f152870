//! One shard's appends: its files, made ahead, and its batches on their way into them.
//!
//! Lives on the shard's thread, by value in the pump, and never waits: files come from the thread `journal`, batches go
//! to the thread `journal-N`. It must never append to a file on which an append has failed.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use smpp_shards::journal::segment_file;

use super::Batch;
use super::maker::{Answer, MakerEnd, Request};
use super::writer::Job;

/// Segments whose files are asked for before they are needed.
const AHEAD: usize = 2;

/// What came of [`Appender::offer`].
#[derive(Debug)]
#[must_use = "a batch that was not taken has to be offered again"]
pub enum Offered {
    /// It will be written after the one before it: [`Appender::next_outcome`] tells how that went.
    Taken,
    /// The segment's file is not there yet ([`Appender::no_file_because`] tells whether something is in its way); offer
    /// the batch again after [`News::File`].
    NoFile(Batch),
}

/// How the writing of a batch has gone.
#[derive(Debug)]
pub enum Outcome {
    /// It is on stable storage.
    Written(Batch),
    /// It is not, or nobody knows, and this is why. What it holds belongs into a later segment.
    Failed {
        /// The batch.
        batch: Batch,
        /// What went wrong, with the file's name.
        reason: String,
        /// The batch after it, which was not begun.
        next: Option<Batch>,
    },
}

/// What the thread `journal` has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A segment's file is there.
    File(u32),
    /// A segment's file could not be made, and why. It is tried again until it is there; told again only when the reason
    /// is another.
    NoFile(u32, String),
    /// A segment as it stands in its file, or why it cannot be read.
    Read(u32, Result<Vec<u8>, String>),
    /// Something for the log: freed files that cannot be removed, for instance. It is tried again with the next ones.
    Trouble(String),
}

#[derive(Debug)]
struct Open {
    segment: u32,
    file: Arc<File>,
    is_condemned: bool,
}

/// The shard's end of its log.
#[derive(Debug)]
pub struct Appender {
    end: MakerEnd,
    /// The segment that is being written to.
    current: Option<Open>,
    /// Those after it, in order.
    ahead: VecDeque<Open>,
    /// The lowest segment that has not been asked for.
    next: u32,
    /// A file has been asked for and has not come.
    is_making: bool,
    /// Why the file that has been asked for could not be made so far.
    not_made: Option<String>,
    is_reading: bool,
    /// Segments below this one are free.
    freed: u32,
    /// What the thread had no room for.
    outbox: VecDeque<Request>,
}

impl Appender {
    /// Asks for the first segment's file.
    pub fn new(end: MakerEnd) -> Self {
        let mut appender = Self {
            end,
            current: None,
            ahead: VecDeque::new(),
            next: 0,
            is_making: false,
            not_made: None,
            is_reading: false,
            freed: 0,
            outbox: VecDeque::new(),
        };
        appender.ask_ahead();
        appender
    }

    /// Octets of a segment's file.
    pub const fn segment_bytes(&self) -> u64 {
        self.end.segment_bytes
    }

    /// Whether a batch for this segment would be taken.
    pub fn has_file(&self, segment: u32) -> bool {
        self.current.iter().chain(&self.ahead).any(|open| open.segment == segment && !open.is_condemned)
    }

    /// Why the next file could not be made so far; `None` where there is no such trouble, or not any more. The news of it
    /// ([`News::NoFile`]) is told once, when that file is made ahead and its lack holds nothing up yet: whoever meets
    /// [`Offered::NoFile`] finds here whether the file is late or not to be had.
    pub fn no_file_because(&self) -> Option<&str> {
        self.not_made.as_deref()
    }

    /// Gives a batch to the thread that writes. It begins it when it is through with the one before; until then
    /// [`Appender::take_back`] gets it back.
    ///
    /// # Panics
    /// When one is offered already, when the batch reaches beyond its segment, when that is neither the segment of the batch
    /// before nor the next one, or its file has failed before.
    pub fn offer(&mut self, batch: Batch) -> Offered {
        let end = batch.offset() + batch.whole_len() as u64;
        assert!(end <= self.end.segment_bytes, "a batch ends within its segment");
        self.move_to(batch.segment());
        let Some(open) = self.current.as_ref().filter(|open| open.segment == batch.segment()) else {
            return Offered::NoFile(batch);
        };
        assert!(!open.is_condemned, "after a failure a file is never written again");
        let sent = self.end.writer.offer.try_send(Job { batch, file: Arc::clone(&open.file) });
        // The thread ends after its shard, unless a panic ended the process.
        sent.expect("one batch is offered at a time, to a thread that is there");
        Offered::Taken
    }

    /// The batch that was offered last, where it has not been begun.
    pub fn take_back(&mut self) -> Option<Batch> {
        self.end.writer.offered.try_recv().ok().map(|job| job.batch)
    }

    /// Whether a batch is offered that has not been begun.
    pub fn has_offered(&self) -> bool {
        !self.end.writer.offered.is_empty()
    }

    /// How the next batch that was taken has gone, when it has.
    pub fn next_outcome(&mut self) -> Option<Outcome> {
        let (batch, result) = self.end.writer.outcomes.try_recv().ok()?;
        Some(match result {
            Ok(()) => Outcome::Written(batch),
            Err(error) => self.failed(batch, &error),
        })
    }

    /// Books a batch that could not be written, and its file with it.
    pub(super) fn failed(&mut self, batch: Batch, error: &io::Error) -> Outcome {
        // The thread waits, so that nothing is begun in between.
        let next = self.take_back();
        let (shard, segment) = (self.end.shard, batch.segment());
        for open in self.current.iter_mut().filter(|open| open.segment == segment) {
            open.is_condemned = true;
        }
        self.send(Request::Condemn { shard, segment });
        let _ = self.end.writer.go_on.try_send(());
        let reason = format!("{}: {error}", segment_file(shard, segment));
        Outcome::Failed { batch, reason, next }
    }

    /// Gives all segments below this one free: their files go, or become later segments.
    ///
    /// # Panics
    /// When the segment that is being written to, or one after it, is among them.
    pub fn free_below(&mut self, segment: u32) {
        let current = self.current.as_ref().map_or(0, |open| open.segment);
        assert!(segment <= current, "what is in use is not free");
        if segment > self.freed {
            self.freed = segment;
            self.send(Request::FreeBelow { shard: self.end.shard, segment });
        }
    }

    /// Asks for what an older segment holds; [`News::Read`] follows. Tells whether it could be asked: one at a time.
    pub fn read(&mut self, segment: u32) -> bool {
        if self.is_reading {
            return false;
        }
        self.is_reading = true;
        self.send(Request::Read { shard: self.end.shard, segment });
        true
    }

    /// Whether [`Appender::next_news`] or [`Appender::next_outcome`] has something to tell. A shard looks once more before it
    /// sleeps.
    pub fn has_news(&self) -> bool {
        !self.end.answers.is_empty() || !self.end.writer.outcomes.is_empty()
    }

    /// What the thread `journal` has told, until `None`. To be called every turn: it also sends what had no room.
    pub fn next_news(&mut self) -> Option<News> {
        self.flush();
        Some(match self.end.answers.try_recv().ok()? {
            Answer::Made { segment, file } => {
                self.is_making = false;
                self.not_made = None;
                self.ahead.push_back(Open { segment, file, is_condemned: false });
                self.ask_ahead();
                News::File(segment)
            }
            Answer::NotMade { segment, reason } => {
                self.not_made = Some(reason.clone());
                News::NoFile(segment, reason)
            }
            Answer::Read { segment, result } => {
                self.is_reading = false;
                News::Read(segment, result)
            }
            Answer::Trouble { reason } => News::Trouble(reason),
        })
    }

    /// Makes this segment the current one where its file is there, and parts with the one before it.
    fn move_to(&mut self, segment: u32) {
        match &self.current {
            Some(open) if open.segment == segment => return,
            Some(open) => assert_eq!(open.segment + 1, segment, "segments are written one after the other"),
            None => assert_eq!(segment, 0, "the first segment is 0"),
        }
        let Some(open) = self.ahead.pop_front() else { return };
        assert_eq!(open.segment, segment, "files come in the order in which they are needed");
        if let Some(passed) = self.current.replace(open) {
            self.send(Request::Close(passed.file));
        }
        self.ask_ahead();
    }

    /// Asks for the next file unless enough are there; one at a time, so that every shard gets its first one soon.
    fn ask_ahead(&mut self) {
        if !self.is_making && self.ahead.len() < AHEAD {
            self.is_making = true;
            let (shard, segment) = (self.end.shard, self.next);
            self.next += 1;
            self.send(Request::Make { shard, segment });
        }
    }

    fn send(&mut self, request: Request) {
        self.outbox.push_back(request);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(request) = self.outbox.pop_front() {
            if let Err(error) = self.end.requests.try_send(request) {
                // A thread that has ended takes the process along; there is nothing to be told apart here.
                self.outbox.push_front(error.into_inner());
                return;
            }
        }
    }
}
