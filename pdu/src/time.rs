//! SMPP times (SMPP 3.4 section 7.1.1) and the calendar they need. Pure functions on the caller's thread: the
//! present is always an argument, no clock is ever read and nothing is allocated.

use crate::message::TIME_LENGTH;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Quarters of an hour that an absolute time may be away from UTC at the most.
const OFFSET_QUARTERS_MAX: u8 = 48;
/// What the two digits of a year are counted from.
const CENTURY: u32 = 2000;

/// A schedule_delivery_time or validity_period as it stands in the 16 characters `YYMMDDhhmmsstnnp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmppTime {
    /// `p` is `+` or `-`: a moment, in the local time of its sender.
    Absolute {
        /// Year, month, day, hour, minute and second on the sender's clock.
        date: DateTime,
        /// Tenths of a second, 0 to 9.
        tenths: u8,
        /// How far the sender's clock is ahead of UTC, in quarters of an hour, -48 to 48.
        offset_quarters: i8,
    },
    /// `p` is `R`: a period from the moment of submission. Each field 0 to 99, whatever the calendar says.
    Relative {
        /// Years.
        years: u8,
        /// Months.
        months: u8,
        /// Days.
        days: u8,
        /// Hours.
        hours: u8,
        /// Minutes.
        minutes: u8,
        /// Seconds.
        seconds: u8,
    },
}

/// A date of the Gregorian calendar with a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime {
    /// 1970 and later.
    pub year: u32,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31, as the month allows.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

/// Why 16 characters are no SMPP time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeError {
    /// Not 16 characters long.
    Length,
    /// Something else than a digit where a digit belongs.
    Digit,
    /// The last character is none of `+`, `-` and `R`.
    Sign,
    /// A field of an absolute time is out of its range, or the month has no such day.
    Range,
}

impl SmppTime {
    /// Reads the 16 characters. The field is empty where the peer left it out; ask that first.
    ///
    /// # Errors
    /// See [`TimeError`]; the answer to the peer is ESME_RINVSCHED or ESME_RINVEXPIRY as the field is.
    pub fn parse(text: &[u8]) -> Result<Self, TimeError> {
        let text: &[u8; TIME_LENGTH] = text.try_into().map_err(|_| TimeError::Length)?;
        let pair = |at: usize| two_digits(text[at], text[at + 1]).ok_or(TimeError::Digit);
        let fields = [pair(0)?, pair(2)?, pair(4)?, pair(6)?, pair(8)?, pair(10)?];
        let tenths = digit(text[12]).ok_or(TimeError::Digit)?;
        let quarters = pair(13)?;
        let [years, months, days, hours, minutes, seconds] = fields;
        match text[15] {
            b'R' | b'r' => Ok(Self::Relative { years, months, days, hours, minutes, seconds }),
            sign @ (b'+' | b'-') => {
                let date = DateTime::new(CENTURY + u32::from(years), months, days, hours, minutes, seconds)
                    .ok_or(TimeError::Range)?;
                if quarters > OFFSET_QUARTERS_MAX {
                    return Err(TimeError::Range);
                }
                let offset_quarters = if sign == b'-' { -(quarters as i8) } else { quarters as i8 };
                Ok(Self::Absolute { date, tenths, offset_quarters })
            }
            _ => Err(TimeError::Sign),
        }
    }

    /// The moment meant, in milliseconds since 1970 UTC, for a PDU that came at `now` (the same unit). Years and
    /// months of a relative time are the calendar's, counted in UTC; a day that the month reached does not have
    /// becomes its last.
    pub fn unix_millis(self, now: u64) -> u64 {
        match self {
            Self::Absolute { date, tenths, offset_quarters } => {
                let local = date.unix_millis() + u64::from(tenths) * 100;
                local.saturating_add_signed(-i64::from(offset_quarters) * 900_000)
            }
            Self::Relative { years, months, days, hours, minutes, seconds } => {
                let months_ahead = u32::from(years) * 12 + u32::from(months);
                let seconds_ahead = ((u64::from(days) * 24 + u64::from(hours)) * 60 + u64::from(minutes)) * 60;
                add_months(now, months_ahead) + (seconds_ahead + u64::from(seconds)) * 1000
            }
        }
    }

    /// The 16 characters.
    pub fn format(self) -> [u8; TIME_LENGTH] {
        let mut text = *b"000000000000000R";
        match self {
            Self::Absolute { date, tenths, offset_quarters } => {
                date.write_short(&mut text);
                put_two(&mut text[10..], date.second);
                text[12] = b'0' + tenths.min(9);
                put_two(&mut text[13..], offset_quarters.unsigned_abs().min(OFFSET_QUARTERS_MAX));
                text[15] = if offset_quarters < 0 { b'-' } else { b'+' };
            }
            Self::Relative { years, months, days, hours, minutes, seconds } => {
                for (index, field) in [years, months, days, hours, minutes, seconds].into_iter().enumerate() {
                    put_two(&mut text[index * 2..], field.min(99));
                }
            }
        }
        text
    }

    /// The absolute time, in UTC, of a moment in milliseconds since 1970; what lies under a tenth of a second
    /// is dropped. The 16 characters have room for the years 2000 to 2099.
    pub fn absolute(unix_millis: u64) -> Self {
        let tenths = (unix_millis % 1000 / 100) as u8;
        Self::Absolute { date: DateTime::from_unix_millis(unix_millis), tenths, offset_quarters: 0 }
    }

    /// The relative time of a period in milliseconds, rounded up to whole seconds, in days and less; what is
    /// longer than 99 days, 23:59:59 becomes that.
    pub fn relative(period_millis: u64) -> Self {
        let seconds = period_millis.div_ceil(1000).min(100 * 86_400 - 1);
        Self::Relative {
            years: 0,
            months: 0,
            days: (seconds / 86_400) as u8,
            hours: (seconds / 3600 % 24) as u8,
            minutes: (seconds / 60 % 60) as u8,
            seconds: (seconds % 60) as u8,
        }
    }
}

impl DateTime {
    /// `None` when a field is out of its range, or the month has no such day.
    pub fn new(year: u32, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Self> {
        let valid = year >= 1970
            && (1..=12).contains(&month)
            && day >= 1
            && day <= days_in_month(year, month)
            && hour < 24
            && minute < 60
            && second < 60;
        valid.then_some(Self { year, month, day, hour, minute, second })
    }

    /// The date in UTC of a moment in milliseconds since 1970. Years count on beyond 9999 without complaint.
    pub fn from_unix_millis(unix_millis: u64) -> Self {
        let (year, month, day) = date_of_day(unix_millis / DAY_MS);
        let seconds = unix_millis % DAY_MS / 1000;
        Self {
            year,
            month,
            day,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
        }
    }

    /// Milliseconds since 1970, the date taken as UTC.
    pub fn unix_millis(self) -> u64 {
        let seconds = (u64::from(self.hour) * 60 + u64::from(self.minute)) * 60 + u64::from(self.second);
        day_of_date(self.year, self.month, self.day) * DAY_MS + seconds * 1000
    }

    /// Reads the date of a delivery receipt (SMPP 3.4 appendix B): `YYMMDDhhmm`, and as vendors write it with
    /// seconds, with a year of four digits, or with separators between. It names no zone; UTC is taken.
    /// `None` for everything else.
    pub fn parse_receipt(text: &[u8]) -> Option<Self> {
        let mut digits = [0; 14];
        let mut count = 0;
        for &octet in text {
            match digit(octet) {
                Some(value) => {
                    *digits.get_mut(count)? = value;
                    count += 1;
                }
                None if matches!(octet, b' ' | b'-' | b'/' | b':' | b'.' | b'T') => {}
                None => return None,
            }
        }
        match count {
            10 => Self::from_digits(&digits, 2),
            // Twelve digits are a short year with seconds or a long year without; only one of them is a date
            // for the years that matter (month 20 does not exist).
            12 => Self::from_digits(&digits, 2).or_else(|| Self::from_digits(&digits, 4)),
            14 => Self::from_digits(&digits, 4),
            _ => None,
        }
    }

    /// `YYMMDDhhmm`, the date of a delivery receipt (SMPP 3.4 appendix B).
    pub fn format_receipt(self) -> [u8; 10] {
        let mut text = [0; 10];
        self.write_short(&mut text);
        text
    }

    fn from_digits(digits: &[u8; 14], year_digits: usize) -> Option<Self> {
        let pair = |index: usize| {
            let at = year_digits + index * 2;
            digits.get(at..at + 2).map_or(0, |two| two[0] * 10 + two[1])
        };
        let leading = u32::from(digits[0]) * 10 + u32::from(digits[1]);
        let year = match year_digits {
            2 => CENTURY + leading,
            _ => leading * 100 + u32::from(digits[2]) * 10 + u32::from(digits[3]),
        };
        Self::new(year, pair(0), pair(1), pair(2), pair(3), pair(4))
    }

    fn write_short(self, text: &mut [u8]) {
        let fields = [(self.year % 100) as u8, self.month, self.day, self.hour, self.minute];
        for (index, field) in fields.into_iter().enumerate() {
            put_two(&mut text[index * 2..], field);
        }
    }
}

fn digit(octet: u8) -> Option<u8> {
    octet.is_ascii_digit().then(|| octet - b'0')
}

fn two_digits(high: u8, low: u8) -> Option<u8> {
    Some(digit(high)? * 10 + digit(low)?)
}

fn put_two(text: &mut [u8], value: u8) {
    text[0] = b'0' + value / 10 % 10;
    text[1] = b'0' + value % 10;
}

fn add_months(unix_millis: u64, months: u32) -> u64 {
    if months == 0 {
        return unix_millis;
    }
    let (year, month, day) = date_of_day(unix_millis / DAY_MS);
    let total = year * 12 + u32::from(month) - 1 + months;
    let (year, month) = (total / 12, (total % 12) as u8 + 1);
    let day = day.min(days_in_month(year, month));
    day_of_date(year, month, day) * DAY_MS + unix_millis % DAY_MS
}

fn days_in_month(year: u32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: u64 = 146_097;
/// Days from the first of March of year 0 to 1970. Years that begin in March have their odd day last.
const EPOCH_DAYS: u64 = 719_468;

/// Days since 1970 of a date from 1970 on.
fn day_of_date(year: u32, month: u8, day: u8) -> u64 {
    let month = u64::from(month);
    let year = u64::from(year) - u64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + u64::from(day) - 1;
    let year_of_era = year % 400;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year / 400 * ERA_DAYS + day_of_era - EPOCH_DAYS
}

/// Year, month and day of a day since 1970.
fn date_of_day(day: u64) -> (u32, u8, u8) {
    let day = day + EPOCH_DAYS;
    let day_of_era = day % ERA_DAYS;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = day / ERA_DAYS * 400 + year_of_era + u64::from(month <= 2);
    (year as u32, month as u8, day_of_month as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    // 2026-11-20 17:44:41 UTC.
    const NOW: u64 = 1_795_196_681_000;

    #[test]
    fn the_calendar_agrees_with_known_moments() {
        let date = DateTime::from_unix_millis(NOW);
        assert_eq!(date, DateTime::new(2026, 11, 20, 17, 44, 41).unwrap());
        assert_eq!(date.unix_millis(), NOW);
        assert_eq!(DateTime::from_unix_millis(0), DateTime::new(1970, 1, 1, 0, 0, 0).unwrap());
        assert_eq!(DateTime::new(2000, 2, 29, 0, 0, 0).unwrap().unix_millis(), 951_782_400_000);
    }

    #[test]
    fn every_day_of_the_century_survives_the_round_trip() {
        let mut expected = 0;
        for year in 1970..2110 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(day_of_date(year, month, day), expected);
                    assert_eq!(date_of_day(expected), (year, month, day));
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn an_absolute_time_counts_its_offset_in_quarter_hours() {
        // The specification's example: 2:35:00 in the morning, one hour ahead of UTC.
        let time = SmppTime::parse(b"261120184441004+").unwrap();
        assert_eq!(time.unix_millis(0), NOW);
        let behind = SmppTime::parse(b"261120121441022-").unwrap();
        assert_eq!(behind.unix_millis(0), NOW);
        assert_eq!(&behind.format(), b"261120121441022-");
    }

    #[test]
    fn tenths_of_a_second_are_kept() {
        assert_eq!(SmppTime::parse(b"261120174441700+").unwrap().unix_millis(0), NOW + 700);
        assert_eq!(&SmppTime::absolute(NOW + 799).format(), b"261120174441700+");
    }

    #[test]
    fn a_relative_time_counts_from_now() {
        // The specification's example: two years, six months, ten days, 23 hours, 34 minutes, 29 seconds.
        let time = SmppTime::parse(b"020610233429000R").unwrap();
        assert_eq!(DateTime::from_unix_millis(time.unix_millis(NOW)), DateTime::new(2029, 5, 31, 17, 19, 10).unwrap());
        assert_eq!(SmppTime::parse(b"000000000030000R").unwrap().unix_millis(NOW), NOW + 30_000);
    }

    #[test]
    fn a_month_too_short_gives_its_last_day() {
        let january = DateTime::new(2027, 1, 31, 12, 0, 0).unwrap().unix_millis();
        let time = SmppTime::parse(b"000100000000000R").unwrap().unix_millis(january);
        assert_eq!(DateTime::from_unix_millis(time), DateTime::new(2027, 2, 28, 12, 0, 0).unwrap());
    }

    #[test]
    fn what_is_no_time_is_told_apart() {
        assert_eq!(SmppTime::parse(b"2611201744410"), Err(TimeError::Length));
        assert_eq!(SmppTime::parse(b""), Err(TimeError::Length));
        assert_eq!(SmppTime::parse(b"26112017444100x+"), Err(TimeError::Digit));
        assert_eq!(SmppTime::parse(b"261120174441000Z"), Err(TimeError::Sign));
        assert_eq!(SmppTime::parse(b"261320174441000+"), Err(TimeError::Range));
        assert_eq!(SmppTime::parse(b"260229174441000+"), Err(TimeError::Range));
        assert_eq!(SmppTime::parse(b"261120244441000+"), Err(TimeError::Range));
        assert_eq!(SmppTime::parse(b"261120174441049+"), Err(TimeError::Range));
    }

    #[test]
    fn a_period_is_written_in_days_and_less_and_stops_at_99_days() {
        assert_eq!(&SmppTime::relative(90_061_000).format(), b"000001010101000R");
        assert_eq!(&SmppTime::relative(1).format(), b"000000000001000R");
        assert_eq!(&SmppTime::relative(u64::MAX).format(), b"000099235959000R");
    }

    #[test]
    fn receipt_dates_come_with_and_without_seconds_and_century() {
        let minute = DateTime::new(2026, 11, 20, 17, 44, 0);
        let second = DateTime::new(2026, 11, 20, 17, 44, 41);
        assert_eq!(DateTime::parse_receipt(b"2611201744"), minute);
        assert_eq!(DateTime::parse_receipt(b"261120174441"), second);
        assert_eq!(DateTime::parse_receipt(b"202611201744"), minute);
        assert_eq!(DateTime::parse_receipt(b"20261120174441"), second);
        assert_eq!(DateTime::parse_receipt(b"2026-11-20 17:44:41"), second);
        assert_eq!(DateTime::parse_receipt(b"26112017"), None);
        assert_eq!(DateTime::parse_receipt(b"tomorrow"), None);
        assert_eq!(DateTime::parse_receipt(b"0000000000"), None);
        assert_eq!(&second.unwrap().format_receipt(), b"2611201744");
    }
}
