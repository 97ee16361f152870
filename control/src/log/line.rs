//! One line of the log, put together.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::LogLevel;

/// A line under construction.
pub(super) struct Line {
    text: String,
}

impl Line {
    /// A line of this moment.
    pub(super) fn new(level: LogLevel, component: &str, message: &str) -> Self {
        let mut line = Self { text: String::with_capacity(256) };
        line.text.push_str("{\"timestamp\":\"");
        line.text.push_str(&rfc3339(unix_ms(SystemTime::now())));
        line.text.push('"');
        line.text("level", level.name());
        line.text("component", component);
        line.text("message", message);
        line
    }

    /// Adds a text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.name(name);
        self.text.push_str(&serde_json::Value::from(value).to_string());
    }

    /// Adds a number.
    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        // Writing into a String cannot fail.
        let _ = write!(self.text, "{value}");
    }

    /// The line with its end.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("}\n");
        self.text
    }

    fn name(&mut self, name: &str) {
        self.text.push_str(",\"");
        self.text.push_str(name);
        self.text.push_str("\":");
    }
}

/// A moment in milliseconds since 1970; 0 for what was before.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// A time in milliseconds since 1970 as RFC 3339 has it, in UTC.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a day counted from 1970-01-01, in years that begin in March so that the leap day comes
/// last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(unix_ms), text);
        }
    }
}
