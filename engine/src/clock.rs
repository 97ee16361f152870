//! The two clocks, read once a turn.
//!
//! Each shard's thread has its own; all share one origin, since times move between shards with their connections.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use smpp_shards::{Now, Time};

/// Nanoseconds after which the wall clock is read anew, so that a clock that is set is followed.
const WALL_REFRESH_NANOS: u64 = 1_000_000_000;

/// A shard's clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall_ms: u64,
    wall_read: Time,
}

impl Clock {
    /// Clocks whose monotonic time counts from `origin`.
    pub fn new(origin: Instant) -> Self {
        let mut clock = Self { origin, wall_ms: 0, wall_read: Time(0) };
        clock.read_wall(clock.mono());
        clock
    }

    /// Reads both.
    #[inline]
    pub fn read(&mut self) -> Now {
        let mono = self.mono();
        if mono.nanos_since(self.wall_read) >= WALL_REFRESH_NANOS {
            self.read_wall(mono);
        }
        Now { mono, unix_ms: self.wall_ms + mono.millis_since(self.wall_read) }
    }

    /// The monotonic one alone.
    #[inline]
    pub fn mono(&self) -> Time {
        Time(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    #[cold]
    fn read_wall(&mut self, mono: Time) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.wall_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.wall_read = mono;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_go_forward_from_one_origin() {
        let origin = Instant::now();
        let (mut first, mut second) = (Clock::new(origin), Clock::new(origin));
        let one = first.read();
        let other = second.read();
        assert!(other.mono >= one.mono);
        assert!(other.mono.millis_since(one.mono) < 1_000);
        assert!(one.unix_ms > 1_700_000_000_000);
    }
}
