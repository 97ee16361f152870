//! Token buckets: so many messages a second, and so many at once.

use crate::time::Time;

/// Nanoseconds in a second: the unit in which the bucket counts a message's worth.
const SECOND: u64 = 1_000_000_000;

/// A limit of `rate` messages a second with bursts of up to `burst`; bursts are allowed, never a minimum gap.
///
/// Counts in units of 1/rate nanoseconds, so nothing is ever rounded away.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    rate: u64,
    full: u64,
    level: u64,
    filled_at: Time,
}

impl TokenBucket {
    /// A full bucket. `rate` 0 is no limit; `burst` 0 is one second's worth.
    pub fn new(rate: u32, burst: u32, now: Time) -> Self {
        let burst = if burst == 0 { rate } else { burst };
        let full = u64::from(burst) * SECOND;
        Self { rate: u64::from(rate), full, level: full, filled_at: now }
    }

    /// Messages a second; 0 is no limit.
    #[inline]
    pub const fn rate(&self) -> u32 {
        self.rate as u32
    }

    /// Messages that may come at once.
    pub const fn burst(&self) -> u32 {
        (self.full / SECOND) as u32
    }

    /// Takes the right to send one message; `false` when there is none.
    #[inline]
    pub fn take(&mut self, now: Time) -> bool {
        if self.rate == 0 {
            return true;
        }
        self.fill(now);
        if self.level < SECOND {
            return false;
        }
        self.level -= SECOND;
        true
    }

    /// When the next message may go, given that none is taken before.
    pub fn next_at(&mut self, now: Time) -> Time {
        if self.rate == 0 {
            return now;
        }
        self.fill(now);
        match SECOND.saturating_sub(self.level) {
            0 => now,
            missing => Time(now.0 + missing.div_ceil(self.rate)),
        }
    }

    /// Changes the limit; what has been saved up stays, cut to the new burst.
    pub fn reshape(&mut self, rate: u32, burst: u32, now: Time) {
        self.fill(now);
        let level = self.level;
        let was_unlimited = self.rate == 0;
        *self = Self::new(rate, burst, now);
        if !was_unlimited {
            self.level = level.min(self.full);
        }
    }

    #[inline]
    fn fill(&mut self, now: Time) {
        let nanos = now.nanos_since(self.filled_at);
        if nanos > 0 {
            self.level = nanos.saturating_mul(self.rate).saturating_add(self.level).min(self.full);
            self.filled_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_no_more_than_a_burst() {
        let mut bucket = TokenBucket::new(100, 0, Time(0));
        assert_eq!((0..200).filter(|_| bucket.take(Time(1))).count(), 100);
    }

    #[test]
    fn over_a_long_time_exactly_the_rate_passes() {
        let mut bucket = TokenBucket::new(333, 2, Time(0));
        let passed = (0..1_000_000u64).filter(|step| bucket.take(Time(step * 10_000))).count();
        assert!((3330..=3332).contains(&passed), "{passed}");
    }

    #[test]
    fn the_next_time_is_when_a_message_passes() {
        let mut bucket = TokenBucket::new(7, 1, Time(0));
        assert!(bucket.take(Time(0)));
        let at = bucket.next_at(Time(1000));
        assert!(!bucket.take(Time(at.0 - 1)));
        assert!(bucket.take(at));
    }

    #[test]
    fn no_limit_lets_everything_pass() {
        let mut bucket = TokenBucket::new(0, 0, Time(0));
        assert!((0..10_000).all(|_| bucket.take(Time(0))));
        assert_eq!(bucket.next_at(Time(3)), Time(3));
    }
}
