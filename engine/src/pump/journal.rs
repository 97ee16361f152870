//! The shard's journal as the pump carries it: one batch at a time to the appender, and what came of it back.

use std::io;

use smpp_shards::journal::Batch;

use crate::journal::{Appender, Begun, News, Outcome};

use super::Pump;

/// One shard's journal.
pub(super) struct ShardJournal {
    appender: Appender,
    batch: Batch,
    /// `batch` has been taken from the shard and could not be begun yet.
    is_held: bool,
}

impl ShardJournal {
    pub(super) fn new(appender: Appender) -> Self {
        Self { appender, batch: Batch::default(), is_held: false }
    }

    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.appender.has_news()
    }
}

impl Pump {
    /// Gives the appender what the shard wants written, when it is through with what it had.
    #[inline]
    pub(super) fn write_journal(&mut self) {
        if self.journal.is_some() {
            self.take_news();
            self.begin_batch();
        }
        if !self.is_open {
            self.tell_recovery();
        }
    }

    /// How far the shard is with what it takes over, and when it is through.
    #[cold]
    fn tell_recovery(&mut self) {
        if let Some(recovery) = &self.recovery {
            let (left, all) = self.shard.to_restore();
            recovery.recorded(self.id.index(), all - left);
            recovery.hold_up(self.id.index(), self.shard.is_restore_held_up());
        }
        if self.journal.is_some() && self.shard.is_restoring() {
            return;
        }
        if let Some(restored) = self.restored.take() {
            // The main thread waits for it.
            let _ = restored.send(());
        }
    }

    #[inline]
    fn begin_batch(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if journal.appender.is_under_way() {
            return;
        }
        if !journal.is_held && !self.shard.take_batch(self.now, &mut journal.batch) {
            return;
        }
        journal.is_held = match journal.appender.begin(&mut self.net, &journal.batch) {
            Begun::Started => false,
            Begun::Busy => true,
            Begun::NoFile => {
                if let Some(reason) = journal.appender.no_file_because() {
                    self.shard.journal_stalled(reason, &mut self.output);
                }
                true
            }
            Begun::Condemned => {
                self.shard.batch_failed("its file failed before", self.now, &mut self.output);
                false
            }
        };
        self.carry_out();
    }

    #[inline]
    fn take_news(&mut self) {
        while let Some(news) = self.journal.as_mut().and_then(|journal| journal.appender.next_news()) {
            match news {
                News::File(_) => self.shard.journal_short(None, &mut self.output),
                News::Read(segment, result) => self.shard.segment_read(segment, result, &mut self.output),
                News::NoFile(_, reason) => self.shard.journal_short(Some(&reason), &mut self.output),
                News::Trouble(reason) => self.control.event(self.id, smpp_shards::Event::JournalTrouble { reason }),
            }
            self.carry_out();
        }
    }

    /// A batch has come to its end.
    pub(super) fn appended(&mut self, result: io::Result<()>) {
        let Some(journal) = &mut self.journal else { return };
        match journal.appender.completed(result) {
            Outcome::Written => self.shard.batch_written(self.now, &mut self.output),
            Outcome::Failed(reason) => self.shard.batch_failed(&reason, self.now, &mut self.output),
        }
    }

    /// What a segment holds is wanted.
    pub(super) fn read_segment(&mut self, segment: u32) {
        if let Some(journal) = &mut self.journal
            && !journal.appender.read(segment)
        {
            let reason = Err("another one is being read".to_owned());
            self.shard.segment_read(segment, reason, &mut self.output);
        }
    }

    /// Segments below that one are not wanted any more.
    pub(super) fn free_segments(&mut self, before: u32) {
        if let Some(journal) = &mut self.journal {
            journal.appender.free_below(before);
        }
    }
}
