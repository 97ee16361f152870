//! Time as the shards see it: handed in by the host with every call, never read from a clock.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point on the host's monotonic clock, in nanoseconds since an origin of the host's choice (process start).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// Later than any time there will be: "no deadline".
    pub const NEVER: Time = Time(u64::MAX);

    /// This point, `millis` milliseconds later; [`Time::NEVER`] where that cannot be told.
    #[inline]
    pub const fn after_ms(self, millis: u64) -> Time {
        Time(self.0.saturating_add(millis.saturating_mul(1_000_000)))
    }

    /// Nanoseconds from `earlier` to this point; 0 when it is later.
    #[inline]
    pub const fn nanos_since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds from `earlier` to this point; 0 when it is later.
    #[inline]
    pub const fn millis_since(self, earlier: Time) -> u64 {
        self.nanos_since(earlier) / 1_000_000
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    #[inline]
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Time {
    type Output = Duration;

    #[inline]
    fn sub(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.nanos_since(earlier))
    }
}

/// The time of one turn: both clocks, read once by the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// For everything that is waited for.
    pub mono: Time,
    /// Milliseconds since 1970-01-01 UTC, for message ids, validity periods and receipts' dates.
    pub unix_ms: u64,
}
