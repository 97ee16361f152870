//! One shard's appends: its files, made ahead, and the one batch under way.
//!
//! Lives on the shard's thread, by value in the pump, and never waits: files come from the thread `journal`, writes go
//! through the shard's ring. It must never append to a file on which an append has failed.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;

use smpp_shards::journal::segment_file;

use super::maker::{Answer, MakerEnd, Request};
use super::{BLOCK, Batch};
use crate::net::Net;

/// Segments whose files are asked for before they are needed.
const AHEAD: usize = 2;

/// What came of [`Appender::begin`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a batch that was not begun has to be begun again"]
pub enum Begun {
    /// The batch is under way, its octets copied: [`crate::net::Completion::Appended`] follows.
    Started,
    /// Another batch is under way; begin this one after that.
    Busy,
    /// The segment's file is not there yet ([`Appender::no_file_because`] tells whether something is in its way); begin
    /// the batch again after [`News::File`].
    NoFile,
    /// An append to this segment has failed before: nothing more goes there.
    Condemned,
}

/// How an append has gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The batch is on stable storage.
    Written,
    /// It is not, or nobody knows, and this is why. What it held belongs into a later segment.
    Failed(String),
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
    is_under_way: bool,
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
            is_under_way: false,
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

    /// Whether a batch is under way.
    pub const fn is_under_way(&self) -> bool {
        self.is_under_way
    }

    /// Whether a batch for this segment could begin at once, but for one that is under way.
    pub fn has_file(&self, segment: u32) -> bool {
        self.current.iter().chain(&self.ahead).any(|open| open.segment == segment && !open.is_condemned)
    }

    /// Why the next file could not be made so far; `None` where there is no such trouble, or not any more. The news of it
    /// ([`News::NoFile`]) is told once, when that file is made ahead and its lack holds nothing up yet: whoever meets
    /// [`Begun::NoFile`] finds here whether the file is late or not to be had.
    pub fn no_file_because(&self) -> Option<&str> {
        self.not_made.as_deref()
    }

    /// Begins to write a batch, whose octets are copied.
    ///
    /// # Panics
    /// When the batch is not made of blocks, reaches beyond its segment, holds more than
    /// [`crate::net::APPEND_BYTES_MAX`] octets, or its segment is neither that of the batch before nor the next one.
    pub fn begin(&mut self, net: &mut Net, batch: &Batch) -> Begun {
        let (offset, octets) = (batch.offset, batch.bytes.len());
        assert!(
            octets > 0 && octets.is_multiple_of(BLOCK) && offset.is_multiple_of(BLOCK as u64),
            "a batch is made of blocks: {octets} octets at {offset}"
        );
        assert!(offset + octets as u64 <= self.end.segment_bytes, "a batch ends within its segment");
        if self.is_under_way {
            return Begun::Busy;
        }
        self.move_to(batch.segment);
        let Some(open) = self.current.as_ref().filter(|open| open.segment == batch.segment) else {
            return Begun::NoFile;
        };
        if open.is_condemned {
            return Begun::Condemned;
        }
        net.append(&open.file, offset, &batch.bytes, self.end.durability);
        self.is_under_way = true;
        Begun::Started
    }

    /// Books the end of the batch under way, as [`crate::net::Completion::Appended`] tells it.
    ///
    /// # Panics
    /// When none is under way.
    pub fn completed(&mut self, result: io::Result<()>) -> Outcome {
        assert!(core::mem::take(&mut self.is_under_way), "what completes was begun");
        let open = self.current.as_mut().expect("a batch under way has its file");
        let Err(error) = result else { return Outcome::Written };
        open.is_condemned = true;
        let (shard, segment) = (self.end.shard, open.segment);
        self.send(Request::Condemn { shard, segment });
        Outcome::Failed(format!("{}: {error}", segment_file(shard, segment)))
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

    /// Whether [`Appender::next_news`] has something to tell. A shard looks once more before it sleeps.
    pub fn has_news(&self) -> bool {
        !self.end.answers.is_empty()
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
