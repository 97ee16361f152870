//! Time: the monotonic clock, CPU time of a thread, and an alarm finer than epoll's milliseconds.
//!
//! Read from any thread; an [`Alarm`] belongs to the event loop whose registry it was made with. Nothing here
//! sleeps or spins.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime, timerfd_create,
    timerfd_settime,
};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds in a microsecond.
pub const MICROSECOND: u64 = 1_000;

/// Nanoseconds of the monotonic clock. Never 0.
#[inline]
pub fn now() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic)).max(1)
}

/// Nanoseconds of CPU time, user and system, that the calling thread has used.
pub fn thread_cpu() -> u64 {
    nanoseconds(clock_gettime(ClockId::ThreadCPUTime))
}

/// Seconds since 1970 by the wall clock.
pub fn unix_seconds() -> u64 {
    nanoseconds(clock_gettime(ClockId::Realtime)) / SECOND
}

/// Seconds as nanoseconds; negative and not-a-number give 0.
pub fn from_seconds(seconds: f64) -> u64 {
    (seconds * SECOND as f64) as u64
}

/// Nanoseconds as seconds.
pub fn to_seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / SECOND as f64
}

/// A moment in UTC as receipts write it (SMPP 3.4 appendix B): YYMMDDhhmm, and the seconds that many put behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptDate(pub [u8; 12]);

impl ReceiptDate {
    /// Of that moment.
    pub fn at(unix_seconds: u64) -> Self {
        let (days, rest) = (unix_seconds / 86_400, unix_seconds % 86_400);
        let (year, month, day) = civil_date(days);
        let mut date = [0; 12];
        for (at, value) in [year % 100, month, day, rest / 3600, rest / 60 % 60, rest % 60].into_iter().enumerate() {
            date[at * 2..at * 2 + 2].copy_from_slice(&two_digits(value));
        }
        Self(date)
    }

    /// To the minute.
    pub fn minutes(&self) -> &[u8] {
        &self.0[..10]
    }
}

/// The wall clock as receipts write it, looked at once for many of them.
#[derive(Debug)]
pub struct Today {
    unix_seconds: u64,
    date: ReceiptDate,
}

impl Today {
    /// Reads the clock.
    pub fn new() -> Self {
        let unix_seconds = unix_seconds();
        Self { unix_seconds, date: ReceiptDate::at(unix_seconds) }
    }

    /// Reads it again.
    pub fn look(&mut self) {
        let now = unix_seconds();
        if now != self.unix_seconds {
            *self = Self { unix_seconds: now, date: ReceiptDate::at(now) };
        }
    }

    /// What it said.
    pub const fn date(&self) -> ReceiptDate {
        self.date
    }
}

impl Default for Today {
    fn default() -> Self {
        Self::new()
    }
}

/// A one-shot timer at an absolute time, delivered through the event loop.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    armed: u64,
}

impl Alarm {
    /// Makes a timer and registers it under `token`.
    ///
    /// # Errors
    /// When the kernel gives no timer or the registry refuses it.
    pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { timer, armed: 0 })
    }

    /// Fires at `at` (nanoseconds of [`now`]), at once when that is past; `None` disarms. Setting the time it
    /// is set to already costs nothing.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&mut self, at: Option<u64>) -> io::Result<()> {
        let at = at.unwrap_or(0);
        if at == self.armed {
            return Ok(());
        }
        self.armed = at;
        let value = Timespec { tv_sec: (at / SECOND) as i64, tv_nsec: (at % SECOND) as i64 };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(())
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}

fn two_digits(value: u64) -> [u8; 2] {
    [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

/// Year, month and day of a count of days since 1970-01-01 (the well-known era arithmetic).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_date_is_utc() {
        assert_eq!(ReceiptDate::at(951_827_696), ReceiptDate(*b"000229123456"));
        assert_eq!(ReceiptDate::at(1_735_689_599).minutes(), b"2412312359");
    }

    #[test]
    fn the_clock_does_not_go_back() {
        let before = now();
        assert!(now() >= before);
    }
}
