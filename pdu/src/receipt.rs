//! Delivery receipts as text (SMPP 3.4 appendix B) and message states (section 5.2.28). Pure functions on the
//! caller's thread: parsing borrows and cannot fail, since the format is each vendor's own.

use core::ops::Range;

use crate::scan::{find, find_blank_or_colon};
use crate::time::DateTime;

/// The octets of the message's own text that a receipt repeats at the most.
pub const TEXT_MAX: usize = 20;

/// Where a message is on its way (section 5.2.28). The number is the octet of the message_state TLV.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MessageState {
    /// On its way still; the only state here, with [`MessageState::Accepted`], that another one may follow.
    Enroute = 1,
    /// Delivered to its destination.
    Delivered = 2,
    /// Its validity period ended.
    Expired = 3,
    /// Deleted, by cancel_sm for example.
    Deleted = 4,
    /// It cannot be delivered.
    Undeliverable = 5,
    /// Accepted, read by customer service for the subscriber say.
    Accepted = 6,
    /// The message centre does not know.
    Unknown = 7,
    /// Rejected.
    Rejected = 8,
}

impl MessageState {
    /// Every state, in the order of the specification's table.
    pub const ALL: [MessageState; 8] = [
        Self::Enroute,
        Self::Delivered,
        Self::Expired,
        Self::Deleted,
        Self::Undeliverable,
        Self::Accepted,
        Self::Unknown,
        Self::Rejected,
    ];

    /// The octet of a message_state field or TLV.
    #[inline]
    pub const fn wire(self) -> u8 {
        self as u8
    }

    /// The state of that octet; `None` outside 1 to 8. (SMPP 5.0 adds 0, scheduled, and 9, skipped.)
    #[inline]
    pub const fn from_wire(value: u8) -> Option<Self> {
        match value {
            1..=8 => Some(Self::ALL[value as usize - 1]),
            _ => None,
        }
    }

    /// The seven characters of it in a receipt's `stat` field.
    #[inline]
    pub const fn stat(self) -> &'static str {
        match self {
            Self::Enroute => "ENROUTE",
            Self::Delivered => "DELIVRD",
            Self::Expired => "EXPIRED",
            Self::Deleted => "DELETED",
            Self::Undeliverable => "UNDELIV",
            Self::Accepted => "ACCEPTD",
            Self::Unknown => "UNKNOWN",
            Self::Rejected => "REJECTD",
        }
    }

    /// The state that a `stat` field means, in any case, cut short anywhere after the letters that decide, or
    /// written out (`DELIVERED`, `UNDELIVERABLE`). `None` for a word that is none of these: what the vendor
    /// means by it is for the caller to decide.
    #[inline]
    pub fn from_stat(stat: &[u8]) -> Option<Self> {
        // What most receipts say, as they say it.
        if stat == b"DELIVRD" {
            return Some(Self::Delivered);
        }
        Self::from_any_stat(stat)
    }

    fn from_any_stat(stat: &[u8]) -> Option<Self> {
        const WORDS: [(&[u8], usize, MessageState); 15] = [
            (b"DELIVRD", 4, MessageState::Delivered),
            (b"DELIVERED", 4, MessageState::Delivered),
            (b"UNDELIV", 3, MessageState::Undeliverable),
            (b"UNDELIVERABLE", 3, MessageState::Undeliverable),
            (b"UNDELIVERED", 3, MessageState::Undeliverable),
            (b"UNDELIVRD", 3, MessageState::Undeliverable),
            (b"UNDLVRD", 3, MessageState::Undeliverable),
            (b"EXPIRED", 3, MessageState::Expired),
            (b"REJECTD", 3, MessageState::Rejected),
            (b"REJECTED", 3, MessageState::Rejected),
            (b"DELETED", 4, MessageState::Deleted),
            (b"ACCEPTD", 3, MessageState::Accepted),
            (b"ACCEPTED", 3, MessageState::Accepted),
            (b"ENROUTE", 3, MessageState::Enroute),
            (b"UNKNOWN", 3, MessageState::Unknown),
        ];
        let fits = |word: &[u8]| word.get(..stat.len()).is_some_and(|start| start.eq_ignore_ascii_case(stat));
        let found = WORDS.iter().find(|(word, enough, _)| stat.len() >= *enough && fits(word));
        found.map(|&(_, _, state)| state)
    }

    /// Whether no other state follows. ENROUTE is not final, nor is ACCEPTD: vendors send it for a message
    /// that the next network has taken, and DELIVRD or UNDELIV after it.
    #[inline]
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Enroute | Self::Accepted)
    }
}

/// A receipt's text, read. Every field may be missing, and each is as it stands there, without its padding:
/// use [`MessageState::from_stat`], [`crate::id::NormalId`] and [`DateTime::parse_receipt`] on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Receipt<'a> {
    /// The message centre's id of the message that this is about.
    pub id: Option<&'a [u8]>,
    /// How many messages were submitted.
    pub sub: Option<&'a [u8]>,
    /// How many of them were delivered.
    pub dlvrd: Option<&'a [u8]>,
    /// When it was submitted.
    pub submit_date: Option<&'a [u8]>,
    /// When it reached its state.
    pub done_date: Option<&'a [u8]>,
    /// The state.
    pub stat: Option<&'a [u8]>,
    /// The network's or message centre's error code: text, not a number.
    pub err: Option<&'a [u8]>,
    /// The first characters of the message.
    pub text: Option<&'a [u8]>,
    id_start: usize,
}

impl<'a> Receipt<'a> {
    /// Reads a receipt in any of the forms that vendors write: fields missing, in another order, in any case,
    /// with blanks around the colon or none between fields, `status` for `stat`, `error` for `err`,
    /// `submit_date` for `submit date`. Of a field that comes twice the first counts, and nothing behind
    /// `text:` counts once a state has been seen, since what stands there is the message's author's.
    #[inline]
    pub fn parse(text: &'a [u8]) -> Self {
        // Filled in where it stays: what was just written in small pieces is slow to be copied.
        let mut receipt = Self::default();
        if receipt.read_canonical(text).is_none() {
            receipt = Self::parse_any(text);
        }
        receipt
    }

    /// The form of appendix B, field after field with one blank between: what most vendors send, read without looking
    /// for keys. `None` for anything that [`Receipt::parse_any`] might read differently; nothing is filled in then.
    #[inline]
    fn read_canonical(&mut self, text: &'a [u8]) -> Option<()> {
        let mut rest = text.strip_prefix(b"id:")?;
        let id = plain_value(&mut rest)?;
        let (counted, date) = if let Some(counted) = rest.first_chunk().filter(|octets| MINUTES.fits(octets)) {
            (&counted[..], 10)
        } else {
            (&rest.first_chunk().filter(|octets| SECONDS.fits(octets))?[..], 12)
        };
        rest = &rest[counted.len()..];
        let stat = plain_value(&mut rest)?;
        rest = behind(rest, b" err:")?;
        let err = plain_value(&mut rest)?;
        rest = behind(rest, b" text:").or_else(|| behind(rest, b" Text:"))?;
        let end = rest.iter().rposition(|&octet| !is_padding(octet)).map_or(0, |last| last + 1);
        let start = rest[..end].iter().position(|&octet| !is_padding(octet)).unwrap_or(end);
        let author = &rest[start..end];
        self.id = Some(id);
        self.sub = Some(&counted[5..8]);
        self.dlvrd = Some(&counted[15..18]);
        self.submit_date = Some(&counted[31..31 + date]);
        self.done_date = Some(&counted[42 + date..42 + 2 * date]);
        self.stat = Some(stat);
        self.err = Some(err);
        self.text = (!author.is_empty()).then_some(author);
        self.id_start = 3;
        Some(())
    }

    fn parse_any(text: &'a [u8]) -> Self {
        let mut receipt = Self::default();
        let mut open: Option<(Field, usize)> = None;
        let mut at = 0;
        while let Some(colon) = find(&text[at..], b':').map(|found| at + found) {
            at = colon + 1;
            let Some((field, start)) = key_before(text, colon, open.map_or(0, |(_, from)| from)) else { continue };
            if let Some((field, from)) = open {
                receipt.set(field, text, from, start);
            }
            open = Some((field, at));
            if field == Field::Text && receipt.stat.is_some() {
                break;
            }
        }
        if let Some((field, from)) = open {
            receipt.set(field, text, from, text.len());
        }
        receipt
    }

    /// Where in the text the id stands, so that another can be put there.
    #[inline]
    pub fn id_range(&self) -> Option<Range<usize>> {
        self.id.map(|id| self.id_start..self.id_start + id.len())
    }

    /// The state that `stat` says; `None` where it is missing or not a known word.
    #[inline]
    pub fn state(&self) -> Option<MessageState> {
        self.stat.and_then(MessageState::from_stat)
    }

    fn set(&mut self, field: Field, text: &'a [u8], from: usize, to: usize) {
        let raw = &text[from..to];
        let start = raw.iter().position(|&octet| !is_padding(octet)).unwrap_or(raw.len());
        let mut value = &raw[start..];
        while let [rest @ .., last] = value
            && (is_padding(*last) || (field != Field::Text && is_separator(*last)))
        {
            value = rest;
        }
        if field.is_one_word() {
            let end = value.iter().position(|&octet| is_padding(octet)).unwrap_or(value.len());
            value = &value[..end];
        }
        let slot = match field {
            Field::Id => &mut self.id,
            Field::Sub => &mut self.sub,
            Field::Dlvrd => &mut self.dlvrd,
            Field::SubmitDate => &mut self.submit_date,
            Field::DoneDate => &mut self.done_date,
            Field::Stat => &mut self.stat,
            Field::Err => &mut self.err,
            Field::Text => &mut self.text,
        };
        if slot.is_some() || value.is_empty() {
            return;
        }
        *slot = Some(value);
        if field == Field::Id {
            self.id_start = from + start;
        }
    }
}

/// What stands between the values of `id` and `stat` where every vendor writes it with as many digits: `0` stands for
/// any digit, every other octet for itself.
struct Form<const LENGTH: usize> {
    octets: [u8; LENGTH],
    /// How far an octet may be from the one in its place, as exclusive or: 9 for a digit.
    apart_max: [u8; LENGTH],
}

/// With dates to the minute, as in the specification.
const MINUTES: Form<68> = Form::new(b" sub:000 dlvrd:000 submit date:0000000000 done date:0000000000 stat:");

/// With dates to the second.
const SECONDS: Form<72> = Form::new(b" sub:000 dlvrd:000 submit date:000000000000 done date:000000000000 stat:");

impl<const LENGTH: usize> Form<LENGTH> {
    const fn new(octets: &[u8; LENGTH]) -> Self {
        let mut apart_max = [0; LENGTH];
        let mut at = 0;
        while at < LENGTH {
            if octets[at] == b'0' {
                apart_max[at] = 9;
            }
            at += 1;
        }
        Self { octets: *octets, apart_max }
    }

    /// Without a branch for each octet this is a few instructions for sixteen.
    #[inline]
    fn fits(&self, octets: &[u8; LENGTH]) -> bool {
        let apart = octets.iter().zip(&self.octets).map(|(octet, wanted)| octet ^ wanted);
        let too_far = apart.zip(&self.apart_max).map(|(apart, most)| apart.saturating_sub(*most));
        too_far.fold(0, |all, one| all | one) == 0
    }
}

/// The value in front of the first blank, which stays, where nothing in it could be taken for padding, a separator or the
/// end of another key.
#[inline]
fn plain_value<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = find_blank_or_colon(rest)?;
    let (value, behind) = rest.split_at(length);
    // A separator counts at the end alone.
    if behind[0] != b' ' || is_separator(*value.last()?) {
        return None;
    }
    *rest = behind;
    Some(value)
}

/// What stands behind `key`, if it begins with that.
#[inline]
fn behind<'a, const LENGTH: usize>(rest: &'a [u8], key: &[u8; LENGTH]) -> Option<&'a [u8]> {
    let (start, behind) = rest.split_first_chunk()?;
    (start == key).then_some(behind)
}

/// What a receipt that we write says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptText<'a> {
    /// The message id as its customer knows it.
    pub id: &'a [u8],
    /// How many messages were submitted, 0 to 999.
    pub sub: u16,
    /// How many of them were delivered, 0 to 999.
    pub dlvrd: u16,
    /// When it was submitted, milliseconds since 1970 UTC.
    pub submit_date: u64,
    /// When it reached its state, milliseconds since 1970 UTC.
    pub done_date: u64,
    /// The state.
    pub state: MessageState,
    /// The error code, three characters in the specification, `000` for none.
    pub err: &'a [u8],
    /// The beginning of the message; cut to 20 octets.
    pub text: &'a [u8],
}

impl ReceiptText<'_> {
    /// Writes the canonical form (appendix B) at the end of `out`:
    /// `id:… sub:001 dlvrd:001 submit date:YYMMDDhhmm done date:YYMMDDhhmm stat:DELIVRD err:000 text:…`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"id:");
        out.extend_from_slice(self.id);
        out.extend_from_slice(b" sub:");
        out.extend_from_slice(&three_digits(self.sub));
        out.extend_from_slice(b" dlvrd:");
        out.extend_from_slice(&three_digits(self.dlvrd));
        out.extend_from_slice(b" submit date:");
        out.extend_from_slice(&DateTime::from_unix_millis(self.submit_date).format_receipt());
        out.extend_from_slice(b" done date:");
        out.extend_from_slice(&DateTime::from_unix_millis(self.done_date).format_receipt());
        out.extend_from_slice(b" stat:");
        out.extend_from_slice(self.state.stat().as_bytes());
        out.extend_from_slice(b" err:");
        out.extend_from_slice(self.err);
        out.extend_from_slice(b" text:");
        out.extend_from_slice(&self.text[..self.text.len().min(TEXT_MAX)]);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Sub,
    Dlvrd,
    SubmitDate,
    DoneDate,
    Stat,
    Err,
    Text,
}

impl Field {
    /// Whether its value ends at the first blank; what follows before the next key is not part of it.
    const fn is_one_word(self) -> bool {
        !matches!(self, Self::SubmitDate | Self::DoneDate | Self::Text)
    }
}

/// The field whose key ends before `colon`, and where that key begins; nothing before `floor` is looked at.
#[inline]
fn key_before(text: &[u8], colon: usize, floor: usize) -> Option<(Field, usize)> {
    let mut key = &text[floor..colon];
    while let [rest @ .., b' ' | b'\t'] = key {
        key = rest;
    }
    let last = *key.last()?;
    let (field, rest) = match last | 0x20 {
        b'd' => match strip_word(key, b"dlvrd") {
            Some(rest) => (Field::Dlvrd, rest),
            // Only these two letters may well end an id that has no blank behind it.
            None => (Field::Id, strip_word(key, b"id").filter(|rest| !ends_in_letter_or_digit(rest))?),
        },
        b'b' => (Field::Sub, strip_word(key, b"sub")?),
        b't' => match strip_word(key, b"stat") {
            Some(rest) => (Field::Stat, rest),
            None => (Field::Text, strip_word(key, b"text")?),
        },
        b'r' => (Field::Err, strip_word(key, b"err").or_else(|| strip_word(key, b"error"))?),
        b's' => (Field::Stat, strip_word(key, b"status")?),
        b'e' => match strip_word(key, b"date") {
            Some(rest) => date_key(rest)?,
            None => (Field::Stat, strip_word(key, b"state")?),
        },
        _ => return None,
    };
    Some((field, floor + rest.len()))
}

/// Which date it is, from what stands before `date`.
fn date_key(mut before: &[u8]) -> Option<(Field, &[u8])> {
    while let [rest @ .., b' ' | b'\t' | b'_' | b'-'] = before {
        before = rest;
    }
    if let Some(rest) = strip_word(before, b"done") {
        return Some((Field::DoneDate, rest));
    }
    let rest = strip_word(before, b"submit").or_else(|| strip_word(before, b"submitted"))?;
    Some((Field::SubmitDate, rest))
}

/// What stands before `word` (lower-case letters) at the end of `key`.
#[inline]
fn strip_word<'k>(key: &'k [u8], word: &[u8]) -> Option<&'k [u8]> {
    let (rest, end) = key.split_at_checked(key.len().checked_sub(word.len())?)?;
    end.iter().zip(word).all(|(octet, letter)| octet | 0x20 == *letter).then_some(rest)
}

fn ends_in_letter_or_digit(text: &[u8]) -> bool {
    text.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[inline]
const fn is_padding(octet: u8) -> bool {
    octet <= b' '
}

#[inline]
const fn is_separator(octet: u8) -> bool {
    matches!(octet, b',' | b';' | b'|')
}

fn three_digits(value: u16) -> [u8; 3] {
    let value = value.min(999);
    [b'0' + (value / 100) as u8, b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(value: Option<&[u8]>) -> &str {
        value.map_or("-", |octets| core::str::from_utf8(octets).unwrap())
    }

    fn all(text: &str) -> [&str; 8] {
        let receipt = Receipt::parse(text.as_bytes());
        if let Some(range) = receipt.id_range() {
            assert_eq!(&text[range], string(receipt.id));
        }
        [
            receipt.id,
            receipt.sub,
            receipt.dlvrd,
            receipt.submit_date,
            receipt.done_date,
            receipt.stat,
            receipt.err,
            receipt.text,
        ]
        .map(string)
    }

    #[test]
    fn the_specifications_form_is_read() {
        assert_eq!(
            all(
                "id:0123456789 sub:001 dlvrd:001 submit date:0809011130 done date:0809011131 stat:DELIVRD err:000 Text:Hello you"
            ),
            ["0123456789", "001", "001", "0809011130", "0809011131", "DELIVRD", "000", "Hello you"]
        );
    }

    #[test]
    fn sub_dlvrd_and_text_may_be_missing() {
        assert_eq!(
            all("id:c449ab9744f47b6af1879e49e75e4f40 submit date:0610191018 done date:0610191018 stat:ACCEPTD err:0"),
            ["c449ab9744f47b6af1879e49e75e4f40", "-", "-", "0610191018", "0610191018", "ACCEPTD", "0", "-"]
        );
        assert_eq!(all("id:1 stat:DELIVRD"), ["1", "-", "-", "-", "-", "DELIVRD", "-", "-"]);
    }

    #[test]
    fn dates_of_twelve_digits_and_with_blanks_are_kept_whole() {
        let fields = all("id:7 submit date:261120174441 done date:2026-11-20 17:44:41 stat:DELIVRD err:0000");
        assert_eq!(fields[3..], ["261120174441", "2026-11-20 17:44:41", "DELIVRD", "0000", "-"]);
    }

    #[test]
    fn err_is_text() {
        assert_eq!(all("id:7 stat:UNDELIV err:0x4B text:")[6], "0x4B");
        assert_eq!(all("id:7 stat:UNDELIV err:E21A")[6], "E21A");
    }

    #[test]
    fn odd_spacing_and_case_make_no_difference() {
        let expected = ["99", "001", "000", "2611201744", "2611201745", "Expired", "1", "x y"];
        for text in [
            "ID : 99  Sub: 001 DLVRD :000 Submit Date: 2611201744 Done Date : 2611201745 Stat :Expired ERR: 1 TEXT: x y",
            "id:99sub:001dlvrd:000submit date:2611201744done date:2611201745stat:Expirederr:1text:x y",
            "id:99,sub:001,dlvrd:000,submit_date:2611201744,done_date:2611201745,status:Expired,error:1,text:x y\0",
            "\0 id:99\r\nsub:001\r\ndlvrd:000\r\nsubmitdate:2611201744\r\ndonedate:2611201745\r\nstate:Expired\r\nerr:1\r\ntext:x y",
        ] {
            assert_eq!(all(text), expected, "{text}");
        }
    }

    #[test]
    fn another_order_is_read_too() {
        let fields = all("stat:REJECTD err:8 done date:2611201745 id:abc-1 submit date:2611201744");
        assert_eq!(fields, ["abc-1", "-", "-", "2611201744", "2611201745", "REJECTD", "8", "-"]);
    }

    #[test]
    fn the_messages_own_words_are_no_fields() {
        let fields = all("id:5 stat:UNDELIV err:1 text:stat:DELIVRD id:6");
        assert_eq!(fields, ["5", "-", "-", "-", "-", "UNDELIV", "1", "stat:DELIVRD id:6"]);
    }

    #[test]
    fn a_text_before_the_state_does_not_hide_it() {
        let fields = all("id:5 text:Hi stat:DELIVRD err:0");
        assert_eq!(fields, ["5", "-", "-", "-", "-", "DELIVRD", "0", "Hi"]);
    }

    #[test]
    fn an_id_that_ends_in_id_stays_whole() {
        assert_eq!(all("id:abcid sub:001 stat:DELIVRD")[0], "abcid");
        assert_eq!(all("message_id:44 stat:DELIVRD")[0], "44");
    }

    #[test]
    fn what_is_no_receipt_has_no_fields() {
        for text in ["", ":", "::::", "Hello: world", "id", "id:", "id:   \0", "\0\0"] {
            assert_eq!(Receipt::parse(text.as_bytes()), Receipt::default(), "{text:?}");
        }
    }

    #[test]
    fn states_are_known_by_number_and_by_word() {
        for state in MessageState::ALL {
            assert_eq!(MessageState::from_wire(state.wire()), Some(state));
            assert_eq!(state.stat().len(), 7);
            assert_eq!(MessageState::from_stat(state.stat().as_bytes()), Some(state));
            assert_eq!(MessageState::from_stat(state.stat().to_lowercase().as_bytes()), Some(state));
            assert_eq!(MessageState::from_stat(&state.stat().as_bytes()[..5]), Some(state));
        }
        assert_eq!(MessageState::from_wire(0), None);
        assert_eq!(MessageState::from_wire(9), None);
    }

    #[test]
    fn states_written_out_are_known_and_others_are_not_guessed() {
        assert_eq!(MessageState::from_stat(b"Delivered"), Some(MessageState::Delivered));
        assert_eq!(MessageState::from_stat(b"UNDELIVERABLE"), Some(MessageState::Undeliverable));
        assert_eq!(MessageState::from_stat(b"REJECTED"), Some(MessageState::Rejected));
        for word in [&b""[..], b"DEL", b"UN", b"DELIVERY_FAILED", b"DELIVRDX", b"FAILED"] {
            assert_eq!(MessageState::from_stat(word), None, "{}", word.escape_ascii());
        }
    }

    #[test]
    fn only_enroute_and_accepted_are_not_final() {
        let open: Vec<_> = MessageState::ALL.into_iter().filter(|state| !state.is_final()).collect();
        assert_eq!(open, [MessageState::Enroute, MessageState::Accepted]);
    }

    #[test]
    fn a_receipt_written_is_read_again() {
        let receipt = ReceiptText {
            id: b"018f4e2a-7c3b-7def-8123-456789abcdef",
            sub: 1,
            dlvrd: 1,
            submit_date: 1_795_196_681_000,
            done_date: 1_795_196_741_000,
            state: MessageState::Delivered,
            err: b"000",
            text: b"A text of more than twenty octets",
        };
        let mut out = Vec::new();
        receipt.encode(&mut out);
        assert_eq!(
            out,
            b"id:018f4e2a-7c3b-7def-8123-456789abcdef sub:001 dlvrd:001 submit date:2611201744 \
              done date:2611201745 stat:DELIVRD err:000 text:A text of more than "
        );
        let read = Receipt::parse(&out);
        assert_eq!(read.id, Some(receipt.id));
        assert_eq!(read.state(), Some(MessageState::Delivered));
        assert_eq!(DateTime::parse_receipt(read.done_date.unwrap()).unwrap().unix_millis() / 60_000, 29_919_945);
    }

    #[test]
    fn the_canonical_form_is_read_as_any_form_is() {
        let to_the_minute =
            "id:0123abcd sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000 text: hi ";
        let to_the_second = to_the_minute.replace("2213", "221359").replace("2214", "221401");
        for canonical in [to_the_minute, &to_the_second] {
            let mut texts =
                vec![canonical.to_owned(), canonical.replace("text:", "Text:"), canonical.replace(" hi ", "")];
            // Every octet of it replaced by each that means something to the reader, and every prefix of it.
            for at in 0..canonical.len() {
                texts.push(canonical[..at].to_owned());
                for octet in [" ", ":", ",", "\0", "\t", "x", "9", "/"] {
                    texts.push(format!("{}{octet}{}", &canonical[..at], &canonical[at + 1..]));
                    texts.push(format!("{}{octet}{}", &canonical[..at], &canonical[at..]));
                }
            }
            for text in &texts {
                assert_eq!(Receipt::parse(text.as_bytes()), Receipt::parse_any(text.as_bytes()), "{text:?}");
            }
            assert!(Receipt::default().read_canonical(canonical.as_bytes()).is_some());
        }
    }
}
