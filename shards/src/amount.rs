//! Amounts of money: what a rule asks for a short message, what a message costs, what a customer's messages come to.
//!
//! Whole millionths of the operator's currency, whichever that is. Plain values for every thread. A float is read and written
//! where others have one, in TOML and JSON, and is never reckoned with.

use core::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Decimals that an amount may have.
const DECIMALS: usize = 6;

/// Parts of one whole.
const MILLION: u64 = 1_000_000;

/// What may be written.
const WANTED: &str = "a number from 0 to 999999.999999 with at most six decimals";

/// An amount of money, 0 or more, in millionths of the currency's unit. Its `Display` is a decimal number without trailing
/// zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(u64);

impl Amount {
    /// The most that a rule may ask for a short message: what the column `rate_per_msg numeric(12,6)` holds. Times 255, the
    /// most short messages that a text makes, it fits into six octets.
    pub const RATE_MAX: Self = Self(999_999_999_999);

    /// So many millionths.
    pub const fn of_millionths(millionths: u64) -> Self {
        Self(millionths)
    }

    /// How many millionths it is.
    pub const fn millionths(self) -> u64 {
        self.0
    }

    /// Both together, or the most there is.
    #[inline]
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The cost of so many short messages, or the most there is.
    #[inline]
    #[must_use]
    pub const fn times(self, segments: u8) -> Self {
        Self(self.0.saturating_mul(segments as u64))
    }

    /// The amount of a decimal number without sign and exponent; `None` where that has more than six decimals or is none.
    fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let are_digits = whole.bytes().chain(decimals.bytes()).all(|octet| octet.is_ascii_digit());
        if !are_digits || decimals.len() > DECIMALS {
            return None;
        }
        let parts: u64 = format!("{decimals:0<DECIMALS$}").parse().ok()?;
        whole.parse::<u64>().ok()?.checked_mul(MILLION)?.checked_add(parts).map(Self)
    }
}

/// The nearest there is: up to 15 digits it is written as the same decimal number.
impl From<Amount> for f64 {
    fn from(amount: Amount) -> Self {
        amount.0 as Self / MILLION as Self
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, parts) = (self.0 / MILLION, self.0 % MILLION);
        if parts == 0 {
            return write!(f, "{whole}");
        }
        f.write_str(format!("{whole}.{parts:0>DECIMALS$}").trim_end_matches('0'))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((*self).into())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_f64(AmountVisitor)
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<Amount, E> {
        let millionths = whole.checked_mul(MILLION);
        millionths.map(Amount).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(whole), &self))
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<Amount, E> {
        match u64::try_from(whole) {
            Ok(whole) => self.visit_u64(whole),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(whole), &self)),
        }
    }

    /// By its shortest decimal form, which is the one that was written.
    fn visit_f64<E: Error>(self, number: f64) -> Result<Amount, E> {
        Amount::parse(&number.to_string()).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::Error as PlainError;

    fn read(number: f64) -> Result<u64, String> {
        let amount = Amount::deserialize(IntoDeserializer::<PlainError>::into_deserializer(number));
        amount.map(Amount::millionths).map_err(|error| error.to_string())
    }

    #[test]
    fn a_number_is_read_to_its_last_decimal() {
        for (number, millionths) in [
            (0.0, 0),
            (0.0075, 7_500),
            (0.000_001, 1),
            (0.29, 290_000),
            (7.0, 7_000_000),
            (123_456.789_012, 123_456_789_012),
            (999_999.999_999, 999_999_999_999),
        ] {
            assert_eq!(read(number), Ok(millionths), "{number}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused_with_what_would_be_one() {
        for number in [-0.5, -0.0, 0.000_000_1, 0.007_500_1, 1e-300, 1e300, f64::NAN, f64::INFINITY] {
            let said = read(number).unwrap_err();
            assert!(said.starts_with("invalid value: floating point `") && said.ends_with(WANTED), "{number}: {said}");
        }
        let whole = |number: i64| {
            Amount::deserialize(IntoDeserializer::<PlainError>::into_deserializer(number)).map(Amount::millionths)
        };
        assert_eq!(whole(3), Ok(3_000_000));
        assert!(whole(-1).is_err() && whole(i64::MAX).is_err());
    }

    #[test]
    fn an_amount_is_written_as_it_was_read() {
        for (millionths, text) in [
            (0, "0"),
            (1, "0.000001"),
            (7_500, "0.0075"),
            (100_000, "0.1"),
            (20_000_000, "20"),
            (123_456_789_012, "123456.789012"),
            (254_999_999_999_745, "254999999.999745"),
        ] {
            let amount = Amount::of_millionths(millionths);
            assert_eq!(amount.to_string(), text);
            assert_eq!(read(amount.into()), Ok(millionths));
            assert_eq!(Amount::parse(text), Some(amount));
        }
    }

    #[test]
    fn sums_and_products_stop_at_the_most_there_is() {
        let most = Amount::of_millionths(u64::MAX);
        assert_eq!(Amount::of_millionths(7).plus(Amount::of_millionths(5)), Amount::of_millionths(12));
        assert_eq!(most.plus(Amount::of_millionths(1)), most);
        assert_eq!(Amount::of_millionths(7_500).times(3), Amount::of_millionths(22_500));
        assert_eq!(most.times(2), most);
        assert!(Amount::RATE_MAX.times(u8::MAX).millionths() < 1 << 48);
    }
}
