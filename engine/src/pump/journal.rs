//! The shard's journal as the pump carries it: batches to the appender, and what came of them back.

use smpp_shards::journal::Batch;

use crate::journal::{Appender, News, Offered, Outcome};

use super::Pump;

/// One shard's journal.
pub(super) struct ShardJournal {
    appender: Appender,
    /// A batch that has been taken from the shard and whose file is not there yet.
    held: Option<Batch>,
}

impl ShardJournal {
    pub(super) fn new(appender: Appender) -> Self {
        Self { appender, held: None }
    }

    #[inline]
    pub(super) fn has_news(&self) -> bool {
        self.appender.has_news()
    }
}

impl Pump {
    /// Gives the appender what the shard wants written.
    #[inline]
    pub(super) fn write_journal(&mut self) {
        if self.journal.is_some() {
            self.take_news();
            self.offer_batch();
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

    /// Gives the appender the next batch, or the one that it has not begun with what has come since.
    #[inline]
    fn offer_batch(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        if (journal.held.is_some() || self.shard.has_more_records())
            && let Some(batch) = journal.held.take().or_else(|| journal.appender.take_back())
        {
            self.shard.give_back_batch(batch);
        }
        let Some(batch) = self.shard.take_batch(self.now) else { return };
        if let Offered::NoFile(batch) = journal.appender.offer(batch) {
            journal.held = Some(batch);
            if let Some(reason) = journal.appender.no_file_because() {
                self.shard.journal_stalled(reason, &mut self.output);
            }
        }
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

    /// Tells the shard what came of its batches; whether there was any.
    #[inline]
    pub(super) fn take_outcomes(&mut self) -> bool {
        let mut any = false;
        while let Some(outcome) = self.journal.as_mut().and_then(|journal| journal.appender.next_outcome()) {
            any = true;
            match outcome {
                Outcome::Written(batch) => self.shard.batch_written(batch, self.now, &mut self.output),
                Outcome::Failed { batch, reason, next } => self.batch_failed(batch, &reason, next),
            }
            self.carry_out();
        }
        any
    }

    #[cold]
    fn batch_failed(&mut self, batch: Batch, reason: &str, next: Option<Batch>) {
        let held = self.journal.as_mut().and_then(|journal| journal.held.take());
        if let Some(next) = next.or(held) {
            self.shard.give_back_batch(next);
        }
        self.shard.batch_failed(batch, reason, self.now, &mut self.output);
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
