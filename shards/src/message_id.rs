//! Our own message ids: a UUIDv7 for each message, and what of it a customer sees.

use smpp_pdu::id::IdText;

use crate::names::ShardId;
use crate::random::Random;
use crate::settings::MessageIdFormat;

/// A message's id. The time is in front, so that ids sort by it; node and shard are a hint only; the last 32 bits
/// count up on each shard, so that every shorter form is unique among a customer's open messages (a
/// customer lives on one shard).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
// With the alignment of words it leaves no gaps in what there are millions of.
#[repr(Rust, packed(8))]
pub struct MessageId(pub u128);

/// How a message's id is written for its customer: fixed when the message is taken in, for its receipts come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdStyle {
    /// 36 characters.
    #[default]
    Uuid,
    /// 16 hexadecimal digits.
    Hex,
    /// At most 19 decimal digits.
    Decimal,
    /// At most 8 hexadecimal digits, for binds of SMPP 3.3.
    Short,
}

impl IdStyle {
    /// The style for a customer's setting and the version its session speaks.
    pub const fn of(format: MessageIdFormat, interface_version: u8) -> Self {
        if interface_version <= 0x33 {
            return Self::Short;
        }
        match format {
            MessageIdFormat::Uuid => Self::Uuid,
            MessageIdFormat::Hex => Self::Hex,
            MessageIdFormat::Decimal => Self::Decimal,
        }
    }

    /// One octet, for ring records.
    pub const fn to_octet(self) -> u8 {
        match self {
            Self::Uuid => 0,
            Self::Hex => 1,
            Self::Decimal => 2,
            Self::Short => 3,
        }
    }

    /// The style of that octet; unknown ones are the default.
    pub const fn from_octet(octet: u8) -> Self {
        match octet {
            1 => Self::Hex,
            2 => Self::Decimal,
            3 => Self::Short,
            _ => Self::Uuid,
        }
    }
}

impl MessageId {
    /// When it was made, Unix milliseconds.
    pub const fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }

    /// The id as its customer sees it.
    #[inline]
    pub fn text(self, style: IdStyle) -> IdText {
        match style {
            IdStyle::Uuid => IdText::uuid(self.0),
            IdStyle::Hex => IdText::hex(self.0 & u128::from(u64::MAX)),
            IdStyle::Decimal => IdText::decimal(self.0 & u128::from(u64::MAX >> 1)),
            IdStyle::Short => IdText::hex(self.0 & u128::from(u32::MAX)),
        }
    }
}

/// Makes the ids of one shard.
#[derive(Debug)]
pub struct MessageIds {
    hint: u64,
    counter: u32,
}

impl MessageIds {
    /// Ids of that node and shard. The counter starts anywhere, and 16 random bits tell this process's ids from
    /// those of one before it.
    pub fn new(node: u8, shard: ShardId, random: &mut Random) -> Self {
        let epoch = random.next_u64() & 0xFFFF;
        let shard = u64::from(shard.0 & 0x3F);
        // Variant 10, then node (8 bits), shard (6), epoch (16), counter (32).
        let hint = 0b10 << 62 | u64::from(node) << 54 | shard << 48 | epoch << 32;
        Self { hint, counter: random.next_u32() }
    }

    /// The next id, for a message of that moment (milliseconds since 1970 UTC).
    #[inline]
    pub fn next(&mut self, unix_ms: u64) -> MessageId {
        self.counter = self.counter.wrapping_add(1);
        let sequence = u64::from(self.counter >> 4 & 0xFFF);
        let high = unix_ms << 16 | 0x7 << 12 | sequence;
        MessageId(u128::from(high) << 64 | u128::from(self.hint | u64::from(self.counter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_7() {
        let id = MessageIds::new(9, ShardId(1), &mut Random::new(1)).next(0x0192_3456_789A).text(IdStyle::Uuid);
        let text = core::str::from_utf8(&id).unwrap();
        assert!(text.starts_with("01923456-789a-7"), "{text}");
        assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
        assert_eq!(text.len(), 36);
    }

    #[test]
    fn every_style_is_unique_and_within_its_length() {
        let mut ids = MessageIds::new(255, ShardId(63), &mut Random::new(2));
        for (style, most) in [(IdStyle::Uuid, 36), (IdStyle::Hex, 16), (IdStyle::Decimal, 19), (IdStyle::Short, 8)] {
            let mut seen = std::collections::HashSet::new();
            for _ in 0..1000 {
                let text = ids.next(1_700_000_000_000).text(style);
                assert!(text.len() <= most && !text.is_empty());
                assert!(seen.insert(text));
            }
        }
    }
}
