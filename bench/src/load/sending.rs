//! When the sessions of a fleet submit: at once in closed loop, when it is due at a steady rate.
//!
//! Part of the fleet's event loop, on the worker's thread.

use super::error::LoadError;
use super::fleet::Fleet;
use super::session::Role;
use crate::clock;

impl Fleet<'_> {
    /// Lets every submitter fill its window: the start of a closed loop.
    pub(super) fn refill_all(&mut self) {
        let now = clock::now();
        for index in self.submitters.clone() {
            self.refill(index, now);
            self.push(index);
        }
    }

    /// Closed loop: sends as many as the window takes.
    #[inline]
    pub(super) fn refill(&mut self, index: usize, now: u64) {
        if !self.sending || self.pacer.is_some() {
            return;
        }
        let session = &mut self.sessions[index];
        if session.role != Role::Submitter {
            return;
        }
        let count = u64::from(session.room()).min(self.budget);
        if count == 0 {
            return;
        }
        session.submit(&mut self.composer, count as u32, now);
        self.count_sent(count);
    }

    /// Steady rate: sends what is due at `now`, round the sessions that have room, and sets the alarm.
    pub(super) fn pace(&mut self, now: u64) -> Result<(), LoadError> {
        let Some(mut pacer) = self.pacer.take() else { return Ok(()) };
        let mut stalled = false;
        while self.sending && self.budget > 0 && pacer.next() <= now {
            let Some(index) = self.next_with_room() else {
                stalled = true;
                break;
            };
            self.sessions[index].submit(&mut self.composer, 1, pacer.next());
            self.touched.push(index);
            pacer.advance();
            self.count_sent(1);
        }
        while let Some(index) = self.touched.pop() {
            self.push(index);
        }
        let due = (self.sending && self.budget > 0 && !stalled).then(|| pacer.next());
        self.pacer = Some(pacer);
        self.alarm.set(due).map_err(LoadError::system("setting a timer"))
    }

    #[inline]
    fn count_sent(&mut self, count: u64) {
        self.book.totals.sent += count;
        if self.budget != u64::MAX {
            self.budget -= count;
        }
    }

    fn next_with_room(&mut self) -> Option<usize> {
        let count = self.submitters.len();
        for _ in 0..count {
            let index = self.submitters[self.cursor];
            self.cursor = (self.cursor + 1) % count;
            if self.sessions[index].room() > 0 {
                return Some(index);
            }
        }
        None
    }
}
