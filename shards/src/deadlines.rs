//! A table of deadlines by slot: one fixed place each, no heap of cancellable timers.
//!
//! A deadline that moves is one store. The table knows a lower bound of the earliest one; only when that bound has
//! come is the table scanned, at most once per step, and the new bound found on the way. Scanning ten
//! thousand slots takes a few microseconds, so a step of tens of milliseconds costs nothing.

use crate::time::Time;

/// Deadlines of slots 0 and up.
#[derive(Debug)]
pub struct Deadlines {
    due: Vec<Time>,
    bound: Time,
    step_ms: u64,
}

impl Deadlines {
    /// An empty table that is scanned at most every `step_ms` milliseconds: deadlines fire up to that late.
    pub fn new(step_ms: u64) -> Self {
        Self { due: Vec::new(), bound: Time::NEVER, step_ms }
    }

    /// Sets the deadline of a slot, whatever it was; [`Time::NEVER`] clears it.
    #[inline]
    pub fn set(&mut self, slot: usize, due: Time) {
        if slot >= self.due.len() {
            self.due.resize(slot + 1, Time::NEVER);
        }
        self.due[slot] = due;
        if due < self.bound {
            self.bound = due;
        }
    }

    /// Makes the deadline of a slot earlier; does nothing when it is early enough.
    #[inline]
    pub fn hasten(&mut self, slot: usize, due: Time) {
        if self.due.get(slot).is_none_or(|present| due < *present) {
            self.set(slot, due);
        }
    }

    /// Whether a slot has a deadline. A slot that [`Deadlines::expire`] gave and that has one again was set anew
    /// since, while others of the same list were handled: its old deadline means nothing any more.
    #[inline]
    pub fn is_set(&self, slot: usize) -> bool {
        self.due.get(slot).is_some_and(|due| *due != Time::NEVER)
    }

    /// No deadline comes before this.
    #[inline]
    pub const fn next(&self) -> Time {
        self.bound
    }

    /// Appends the slots whose deadline has come to `into` and clears their deadlines.
    #[inline]
    pub fn expire(&mut self, now: Time, into: &mut Vec<u32>) {
        if self.bound <= now {
            self.scan(now, into);
        }
    }

    #[cold]
    fn scan(&mut self, now: Time, into: &mut Vec<u32>) {
        let mut earliest = Time::NEVER;
        for (slot, due) in self.due.iter_mut().enumerate() {
            if *due <= now {
                *due = Time::NEVER;
                into.push(slot as u32);
            } else if *due < earliest {
                earliest = *due;
            }
        }
        self.bound = if earliest == Time::NEVER { earliest } else { earliest.max(now.after_ms(self.step_ms)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deadline_fires_once_and_not_early() {
        let mut table = Deadlines::new(10);
        for slot in 0..1000 {
            table.set(slot, Time::default().after_ms(1 + (slot as u64 * 7919) % 500));
        }
        let mut fired = vec![None; 1000];
        let mut expired = Vec::new();
        for millis in 0..600 {
            table.expire(Time::default().after_ms(millis), &mut expired);
            for slot in expired.drain(..) {
                assert_eq!(fired[slot as usize].replace(millis), None);
            }
        }
        for (slot, at) in fired.iter().enumerate() {
            let due = 1 + (slot as u64 * 7919) % 500;
            let at = at.unwrap();
            assert!(at >= due && at <= due + 10, "slot {slot} due {due} fired {at}");
        }
        assert_eq!(table.next(), Time::NEVER);
    }

    #[test]
    fn a_cleared_deadline_does_not_fire() {
        let mut table = Deadlines::new(1);
        table.set(3, Time(5));
        table.set(3, Time::NEVER);
        let mut expired = Vec::new();
        table.expire(Time(10), &mut expired);
        assert!(expired.is_empty());
    }

    #[test]
    fn hasten_never_puts_a_deadline_off() {
        let mut table = Deadlines::new(1);
        table.set(0, Time(50));
        table.hasten(0, Time(70));
        table.hasten(0, Time(20));
        let mut expired = Vec::new();
        table.expire(Time(20), &mut expired);
        assert_eq!(expired, [0]);
    }
}
