//! Message ids as text: what vendors send in one form and return in another, and our own. Pure functions on the
//! caller's thread; nothing is allocated, an id lives in a small fixed buffer.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;

use crate::message::MESSAGE_ID_MAX;

/// How a peer writes its message ids. A setting of the vendor, for submit_sm_resp and for receipts apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum IdForm {
    /// Opaque text.
    #[default]
    Text,
    /// A number in hexadecimal digits.
    Hex,
    /// A number in decimal digits.
    Decimal,
}

/// A message id reduced to what two spellings of it have in common: padding trimmed, leading zeros dropped, case
/// of letters ignored. Two ids are the same message's when they are equal here.
#[derive(Clone, Copy, Debug)]
pub enum NormalId<'a> {
    /// The id read as a number of the form asked for.
    Number(u128),
    /// Text, because that was asked for or because it is no such number of at most 128 bits. Compared and hashed
    /// without regard to case.
    Text(&'a [u8]),
}

/// A text of at most 64 octets in a buffer of its own: room for any message_id.
#[derive(Clone, Copy)]
pub struct IdText {
    length: u8,
    octets: [u8; MESSAGE_ID_MAX],
}

impl<'a> NormalId<'a> {
    /// Reads `raw`, which the peer wrote as `form`. What is not of that form is kept as text.
    #[inline]
    pub fn new(raw: &'a [u8], form: IdForm) -> Self {
        let id = trim(raw);
        let number = match form {
            IdForm::Text => None,
            IdForm::Hex => parse_hex(id),
            IdForm::Decimal => parse_decimal(id),
        };
        number.map_or(Self::Text(without_zeros(id)), Self::Number)
    }

    /// Whether there is no id at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Text([]))
    }

    /// The one spelling of it: a number in lower-case hexadecimal, a text in lower case. Equal ids have equal
    /// spellings; whoever keeps ids in one table must mind that a number and a text may be spelled alike. A text
    /// is cut to 64 octets.
    #[inline]
    pub fn canonical(&self) -> IdText {
        match *self {
            Self::Number(value) => IdText::hex(value),
            Self::Text(text) => {
                let mut id = IdText::new(text);
                id.octets[..usize::from(id.length)].make_ascii_lowercase();
                id
            }
        }
    }
}

impl PartialEq for NormalId<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(left), Self::Number(right)) => left == right,
            (Self::Text(left), Self::Text(right)) => left.eq_ignore_ascii_case(right),
            _ => false,
        }
    }
}

impl Eq for NormalId<'_> {}

impl Hash for NormalId<'_> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Number(value) => state.write_u128(*value),
            Self::Text(text) => text.iter().for_each(|octet| state.write_u8(octet.to_ascii_lowercase())),
        }
    }
}

impl IdText {
    /// The text, cut to 64 octets.
    #[inline]
    pub fn new(text: &[u8]) -> Self {
        let text = &text[..text.len().min(MESSAGE_ID_MAX)];
        let mut octets = [0; MESSAGE_ID_MAX];
        octets[..text.len()].copy_from_slice(text);
        Self { length: text.len() as u8, octets }
    }

    /// Lower-case hexadecimal digits without leading zeros, 1 to 32 of them.
    #[inline]
    pub fn hex(value: u128) -> Self {
        let digits = (128 - value.leading_zeros()).div_ceil(4).max(1) as usize;
        let mut octets = [0; MESSAGE_ID_MAX];
        for (index, octet) in octets[..digits].iter_mut().enumerate() {
            *octet = hex_digit((value >> (4 * (digits - 1 - index))) as u8);
        }
        Self { length: digits as u8, octets }
    }

    /// Decimal digits without leading zeros, 1 to 39 of them.
    #[inline]
    pub fn decimal(value: u128) -> Self {
        let mut reversed = [0; MESSAGE_ID_MAX];
        let mut length = 0;
        let mut rest = value;
        // Division of 64 bits is a few times faster than of 128, and most ids fit.
        while rest > u128::from(u64::MAX) {
            reversed[length] = b'0' + (rest % 10) as u8;
            rest /= 10;
            length += 1;
        }
        let mut rest = rest as u64;
        loop {
            reversed[length] = b'0' + (rest % 10) as u8;
            rest /= 10;
            length += 1;
            if rest == 0 {
                break;
            }
        }
        reversed[..length].reverse();
        Self { length: length as u8, octets: reversed }
    }

    /// The 36 characters of a UUID in lower case, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    #[inline]
    pub fn uuid(value: u128) -> Self {
        let mut octets = [0; MESSAGE_ID_MAX];
        let (words, last) = uuid_words(value);
        for (octets, word) in octets.chunks_exact_mut(8).zip(words) {
            octets.copy_from_slice(&word.to_be_bytes());
        }
        octets[32..36].copy_from_slice(&last.to_be_bytes());
        Self { length: 36, octets }
    }

    /// The octets.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }

    /// Writes the text at the end of `out`. All of the buffer goes there and what is behind the text is taken back: a length that
    /// is known beforehand is a few stores instead of a call.
    #[inline]
    pub fn append(&self, out: &mut Vec<u8>) {
        let end = out.len() + usize::from(self.length);
        out.extend_from_slice(&self.octets);
        out.truncate(end);
    }
}

impl Deref for IdText {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for IdText {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for IdText {}

impl Hash for IdText {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for IdText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().escape_ascii().fmt(f)
    }
}

/// Reads the 36 characters of a UUID, or its 32 hexadecimal digits, in either case; `None` for anything else.
pub fn parse_uuid(text: &[u8]) -> Option<u128> {
    match text.len() {
        32 => parse_digits(text, 16),
        36 => {
            let mut digits = [0; 32];
            let mut at = 0;
            for (index, &octet) in text.iter().enumerate() {
                match (index, octet) {
                    (8 | 13 | 18 | 23, b'-') => {}
                    (8 | 13 | 18 | 23, _) => return None,
                    _ => {
                        digits[at] = octet;
                        at += 1;
                    }
                }
            }
            parse_digits(&digits, 16)
        }
        _ => None,
    }
}

/// Reads hexadecimal digits, with or without `0x`; `None` when there are none, others, or more than 128 bits.
#[inline]
pub fn parse_hex(text: &[u8]) -> Option<u128> {
    let digits = text.strip_prefix(b"0x").or_else(|| text.strip_prefix(b"0X")).unwrap_or(text);
    parse_digits(digits, 16)
}

/// Reads decimal digits; `None` when there are none, others, or more than 128 bits.
#[inline]
pub fn parse_decimal(text: &[u8]) -> Option<u128> {
    parse_digits(text, 10)
}

/// Digits of `radix`, 10 or 16.
#[inline]
fn parse_digits(text: &[u8], radix: u8) -> Option<u128> {
    if text.is_empty() {
        return None;
    }
    // Sixteen digits of either kind fit into 64 bits, where arithmetic is cheap and cannot overflow.
    let (first, rest) = text.split_at(text.len().min(16));
    let first = parse_short(first, radix)?;
    rest.chunks(16).try_fold(u128::from(first), |value, chunk| {
        let digits = parse_short(chunk, radix)?;
        value.checked_mul(u128::from(radix).pow(chunk.len() as u32))?.checked_add(u128::from(digits))
    })
}

/// At most 16 digits.
#[inline]
fn parse_short(text: &[u8], radix: u8) -> Option<u64> {
    let mut value = 0;
    for &octet in text {
        let digit = DIGITS[usize::from(octet)];
        if digit >= radix {
            return None;
        }
        value = value * u64::from(radix) + u64::from(digit);
    }
    Some(value)
}

/// The value of each octet as a hexadecimal digit; 255 where it is none.
const DIGITS: [u8; 256] = {
    let mut table = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        let character = b"0123456789abcdef"[digit];
        table[character as usize] = digit as u8;
        table[character.to_ascii_uppercase() as usize] = digit as u8;
        digit += 1;
    }
    table
};

/// The 36 characters of a UUID as four words of eight and one of four, the first character in the highest octet.
#[inline]
pub(crate) fn uuid_words(value: u128) -> ([u64; 4], u32) {
    const DASH: u64 = b'-' as u64;
    let [first, second, third, fourth] = [96, 64, 32, 0].map(|shift| eight_hex_digits((value >> shift) as u32));
    let words = [
        first,
        DASH << 56 | second >> 32 << 24 | DASH << 16 | (second >> 16 & 0xFFFF),
        (second & 0xFFFF) << 48 | DASH << 40 | third >> 32 << 8 | DASH,
        third << 32 | fourth >> 32,
    ];
    (words, fourth as u32)
}

/// Eight lower-case hexadecimal digits, leading zeros included, the first in the highest octet, all at once: each octet of a
/// word becomes one digit.
#[inline]
const fn eight_hex_digits(value: u32) -> u64 {
    let mut nibbles = value as u64;
    nibbles = (nibbles | nibbles << 16) & 0x0000_FFFF_0000_FFFF;
    nibbles = (nibbles | nibbles << 8) & 0x00FF_00FF_00FF_00FF;
    nibbles = (nibbles | nibbles << 4) & 0x0F0F_0F0F_0F0F_0F0F;
    // 1 in each octet that holds ten or more.
    let letters = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    nibbles + 0x3030_3030_3030_3030 + letters * (b'a' - b'0' - 10) as u64
}

/// Eight octets with ASCII letters in lower case, all at once: of each octet, whether it is from `A` on and whether it is behind
/// `Z` show in its high bit.
#[inline]
pub const fn in_lower_case(octets: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xFF;
    let seven_bits = octets & (ONES * 0x7F);
    let from_a = seven_bits + ONES * (0x80 - b'A') as u64;
    let behind_z = seven_bits + ONES * (0x7F - b'Z') as u64;
    let is_upper = (from_a ^ behind_z) & !octets & (ONES * 0x80);
    octets | is_upper >> 2
}

#[inline]
fn hex_digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 0xF)]
}

/// Without the spaces, control characters and NULs that peers pad with.
#[inline]
fn trim(raw: &[u8]) -> &[u8] {
    let start = raw.iter().position(|&octet| octet > b' ').unwrap_or(raw.len());
    let end = raw.iter().rposition(|&octet| octet > b' ').map_or(start, |last| last + 1);
    &raw[start..end]
}

/// A trimmed id without leading zeros, of which the last is kept where nothing else would be. Padding between
/// zeros goes with them, so that what is normal stays as it is when it is made normal again.
#[inline]
fn without_zeros(id: &[u8]) -> &[u8] {
    let first = id.iter().position(|&octet| octet > b' ' && octet != b'0');
    &id[first.unwrap_or(id.len().saturating_sub(1))..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_octets_become_lower_case_at_once() {
        for octet in 0..=u8::MAX {
            for at in 0..8 {
                let mut octets = *b"aZ\xff\x80@[0\xda";
                octets[at] = octet;
                let lower = in_lower_case(u64::from_le_bytes(octets)).to_le_bytes();
                assert_eq!(lower, octets.map(|octet| octet.to_ascii_lowercase()));
            }
        }
    }

    #[test]
    fn a_hex_id_and_its_decimal_form_are_the_same() {
        assert_eq!(NormalId::new(b"0001E240", IdForm::Hex), NormalId::new(b"123456", IdForm::Decimal));
        assert_eq!(NormalId::new(b"0x1e240", IdForm::Hex), NormalId::new(b"0000123456", IdForm::Decimal));
        assert_ne!(NormalId::new(b"1e241", IdForm::Hex), NormalId::new(b"123456", IdForm::Decimal));
    }

    #[test]
    fn leading_zeros_case_and_padding_make_no_difference_in_text() {
        let plain = NormalId::new(b"ab-12", IdForm::Text);
        for other in [&b"00AB-12"[..], b" ab-12 ", b"Ab-12\0\0", b"\t0ab-12\r\n"] {
            assert_eq!(plain, NormalId::new(other, IdForm::Text));
            assert_eq!(plain.canonical(), NormalId::new(other, IdForm::Text).canonical());
        }
    }

    #[test]
    fn what_is_not_of_its_form_stays_text() {
        assert_eq!(NormalId::new(b"0abc-1", IdForm::Decimal), NormalId::Text(b"ABC-1"));
        let long = [b'9'; 60];
        assert_eq!(NormalId::new(&long, IdForm::Decimal), NormalId::Text(&long));
    }

    #[test]
    fn zero_is_an_id_and_nothing_is_none() {
        assert_eq!(NormalId::new(b"0000", IdForm::Text), NormalId::Text(b"0"));
        assert_eq!(NormalId::new(b"0000", IdForm::Hex), NormalId::Number(0));
        assert!(NormalId::new(b" \0", IdForm::Text).is_empty());
        assert!(NormalId::new(b"", IdForm::Decimal).is_empty());
    }

    #[test]
    fn equal_ids_hash_alike() {
        use std::hash::{BuildHasher, RandomState};
        let state = RandomState::new();
        let hash = |raw: &'static [u8]| state.hash_one(NormalId::new(raw, IdForm::Text));
        assert_eq!(hash(b"00aBc"), hash(b"AbC "));
    }

    #[test]
    fn numbers_are_written_without_leading_zeros() {
        assert_eq!(&*IdText::hex(0), b"0");
        assert_eq!(&*IdText::hex(0x1E240), b"1e240");
        assert_eq!(&*IdText::hex(u128::MAX), &[b'f'; 32]);
        assert_eq!(&*IdText::decimal(0), b"0");
        assert_eq!(&*IdText::decimal(u128::from(u64::MAX)), b"18446744073709551615");
        assert_eq!(&*IdText::decimal(u128::MAX), b"340282366920938463463374607431768211455");
    }

    #[test]
    fn a_uuid_is_read_and_written() {
        let text = b"018f4e2a-7c3b-7def-8123-456789abcdef";
        let value = 0x018f_4e2a_7c3b_7def_8123_4567_89ab_cdef;
        assert_eq!(&*IdText::uuid(value), text);
        assert_eq!(parse_uuid(text), Some(value));
        assert_eq!(parse_uuid(&text.to_ascii_uppercase()), Some(value));
        assert_eq!(parse_uuid(b"018f4e2a7c3b7def8123456789abcdef"), Some(value));
        assert_eq!(parse_uuid(b"018f4e2a-7c3b-7def-8123_456789abcdef"), None);
        assert_eq!(parse_uuid(b"018f4e2a-7c3b-7def-8123-456789abcdeg"), None);
    }

    #[test]
    fn a_text_too_long_is_cut() {
        assert_eq!(IdText::new(&[b'x'; 80]).as_bytes(), &[b'x'; 64]);
    }
}
