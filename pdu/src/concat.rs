//! Long messages: the user data header (GSM 03.40 section 9.2.3.24), the sar_* TLVs (SMPP 3.4 sections 5.3.2.22 to
//! 5.3.2.24), and cutting an encoded text into parts. Pure functions on the caller's thread; parts borrow.

use crate::coding::Alphabet;
use crate::encode::Encoder;
use crate::gsm::ESCAPE;
use crate::message::{ESM_UDHI, ShortMessage};
use crate::tlv::{Tag, Tlvs};

/// Octets of text and header that one short message carries on the air.
pub const USER_DATA_MAX: usize = 140;
/// Parts of one message at the most.
pub const PARTS_MAX: usize = 255;

/// Information element of a concatenation with a reference of 8 bits.
const IE_CONCAT_8: u8 = 0x00;
/// Information element of a concatenation with a reference of 16 bits.
const IE_CONCAT_16: u8 = 0x08;

/// Which part of which message a short message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// The same in all parts of a message.
    pub reference: Reference,
    /// How many parts there are, 1 to 255.
    pub total: u8,
    /// Which one this is, 1 to `total`.
    pub number: u8,
}

/// The reference number that parts of a message share, and how wide it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// Information element 0.
    Eight(u8),
    /// Information element 8, and sar_msg_ref_num.
    Sixteen(u16),
}

/// What is wrong with how a message says that it is a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartError {
    /// The user data header is longer than the text, or an element is longer than the header.
    Header,
    /// total is 0, or number is 0 or above total.
    Numbers,
    /// Some of the three sar_* TLVs are there and others are not.
    SarIncomplete,
    /// A user data header and sar_* TLVs at once.
    Both,
}

/// A user data header, borrowed from the text that it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserDataHeader<'a> {
    elements: &'a [u8],
}

/// One information element of a user data header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Which element (GSM 03.40 section 9.2.3.24).
    pub identifier: u8,
    /// Its octets.
    pub data: &'a [u8],
}

impl<'a> UserDataHeader<'a> {
    /// Splits a text whose message has [`ESM_UDHI`] into its header and what follows.
    ///
    /// # Errors
    /// [`PartError::Header`] when the text is shorter than the header says.
    #[inline]
    pub fn split(text: &'a [u8]) -> Result<(Self, &'a [u8]), PartError> {
        let (&length, rest) = text.split_first().ok_or(PartError::Header)?;
        let (elements, rest) = rest.split_at_checked(usize::from(length)).ok_or(PartError::Header)?;
        Ok((Self { elements }, rest))
    }

    /// Its elements. Reading stops at the first that does not fit.
    pub fn elements(&self) -> impl Iterator<Item = Element<'a>> {
        let mut rest = self.elements;
        core::iter::from_fn(move || {
            let (&[identifier, length], behind) = rest.split_first_chunk()?;
            let (data, behind) = behind.split_at_checked(usize::from(length))?;
            rest = behind;
            Some(Element { identifier, data })
        })
    }

    /// Which part its concatenation element makes of the message; `None` without one. Where there are several
    /// the last counts (GSM 03.40 section 9.2.3.24).
    ///
    /// # Errors
    /// [`PartError::Header`] when that element has another length than its own, [`PartError::Numbers`] when its
    /// numbers cannot be. (Receivers then take the text as one message without parts.)
    pub fn part(&self) -> Result<Option<Part>, PartError> {
        let element = self.elements().filter(|one| matches!(one.identifier, IE_CONCAT_8 | IE_CONCAT_16)).last();
        let Some(Element { identifier, data }) = element else { return Ok(None) };
        let (reference, total, number) = match (identifier, data) {
            (IE_CONCAT_8, &[reference, total, number]) => (Reference::Eight(reference), total, number),
            (IE_CONCAT_16, &[high, low, total, number]) => {
                (Reference::Sixteen(u16::from_be_bytes([high, low])), total, number)
            }
            _ => return Err(PartError::Header),
        };
        Part { reference, total, number }.checked().map(Some)
    }
}

impl Part {
    /// Which part a submit_sm or deliver_sm is, by whichever way it says so; `None` when it is none.
    ///
    /// # Errors
    /// See [`PartError`]; the answer to a submit_sm is ESME_RINVESMCLASS for [`PartError::Header`] and
    /// ESME_RINVOPTPARAMVAL for the rest.
    pub fn of(message: &ShortMessage<'_>) -> Result<Option<Part>, PartError> {
        let sar = Self::of_sar(message.tlvs)?;
        if message.esm_class & ESM_UDHI == 0 {
            return Ok(sar);
        }
        let (header, _) = UserDataHeader::split(message.text())?;
        match (header.part()?, sar) {
            (Some(_), Some(_)) => Err(PartError::Both),
            (Some(part), None) | (None, Some(part)) => Ok(Some(part)),
            (None, None) => Ok(None),
        }
    }

    /// Which part the sar_* TLVs say; `None` without any of them. Peers send sar_msg_ref_num with one octet too.
    ///
    /// # Errors
    /// [`PartError::SarIncomplete`] or [`PartError::Numbers`].
    pub fn of_sar(tlvs: Tlvs<'_>) -> Result<Option<Part>, PartError> {
        let (mut reference, mut total, mut number) = (None, None, None);
        for tlv in tlvs {
            match tlv.tag {
                Tag::SAR_MSG_REF_NUM => reference = tlv.integer(),
                Tag::SAR_TOTAL_SEGMENTS => total = tlv.integer(),
                Tag::SAR_SEGMENT_SEQNUM => number = tlv.integer(),
                _ => {}
            }
        }
        match (reference, total, number) {
            (None, None, None) => Ok(None),
            (Some(reference), Some(total), Some(number)) => {
                let octet = |value: u32| u8::try_from(value).map_err(|_| PartError::Numbers);
                let reference = Reference::Sixteen(reference as u16);
                Part { reference, total: octet(total)?, number: octet(number)? }.checked().map(Some)
            }
            _ => Err(PartError::SarIncomplete),
        }
    }

    /// Writes the user data header for this part: 6 octets, or 7 with a reference of 16 bits. The message then
    /// needs [`ESM_UDHI`].
    pub fn write_header(self, out: &mut Vec<u8>) {
        match self.reference {
            Reference::Eight(reference) => {
                out.extend_from_slice(&[5, IE_CONCAT_8, 3, reference, self.total, self.number]);
            }
            Reference::Sixteen(reference) => {
                let [high, low] = reference.to_be_bytes();
                out.extend_from_slice(&[6, IE_CONCAT_16, 4, high, low, self.total, self.number]);
            }
        }
    }

    /// Writes the three sar_* TLVs for this part.
    pub fn write_sar(self, pdu: Encoder<'_>) -> Encoder<'_> {
        let reference = match self.reference {
            Reference::Eight(reference) => u16::from(reference),
            Reference::Sixteen(reference) => reference,
        };
        pdu.tlv(Tag::SAR_MSG_REF_NUM, &reference.to_be_bytes())
            .tlv(Tag::SAR_TOTAL_SEGMENTS, &[self.total])
            .tlv(Tag::SAR_SEGMENT_SEQNUM, &[self.number])
    }

    fn checked(self) -> Result<Self, PartError> {
        if self.number >= 1 && self.number <= self.total { Ok(self) } else { Err(PartError::Numbers) }
    }
}

impl Reference {
    /// Octets of the user data header that carries it, the length octet included.
    pub const fn header_length(self) -> usize {
        match self {
            Self::Eight(_) => 6,
            Self::Sixteen(_) => 7,
        }
    }
}

/// Octets of an encoded text (septets unpacked, one to an octet) that a single short message carries:
/// 160 for GSM, 140 (70 units of UCS-2) for the rest.
pub const fn single_length_max(alphabet: Alphabet) -> usize {
    part_length(alphabet, 0)
}

/// Octets of an encoded text (septets unpacked, one to an octet) in each part behind a header for `reference`:
/// 153 or 152 for GSM, 134 or 132 (67 or 66 units) for UCS-2, 134 or 133 for the rest.
pub const fn part_length_max(alphabet: Alphabet, reference: Reference) -> usize {
    part_length(alphabet, reference.header_length())
}

const fn part_length(alphabet: Alphabet, header_length: usize) -> usize {
    let octets = USER_DATA_MAX - header_length;
    match alphabet {
        Alphabet::Gsm => octets * 8 / 7,
        Alphabet::Ucs2 => octets / 2 * 2,
        Alphabet::Latin1 | Alphabet::Octets => octets,
    }
}

/// How many short messages an encoded text needs: 1 as long as it fits into one, also for an empty text.
/// More than [`PARTS_MAX`] cannot be sent as one message.
pub fn part_count(text: &[u8], alphabet: Alphabet, reference: Reference) -> usize {
    parts(text, alphabet, reference).count().max(1)
}

/// Cuts an encoded text (septets unpacked, one to an octet) into the pieces that go into its short messages,
/// without their headers: the text itself where it fits into one, else pieces of at most [`part_length_max`]
/// octets, never cut inside an escape and its septet, a surrogate pair, or a unit of UCS-2. An empty text has
/// no pieces.
pub fn parts(text: &[u8], alphabet: Alphabet, reference: Reference) -> impl Iterator<Item = &[u8]> {
    let single = text.len() <= single_length_max(alphabet);
    let length_max = if single { text.len() } else { part_length_max(alphabet, reference) };
    let mut rest = text;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, behind) = rest.split_at(cut(rest, length_max, alphabet));
        rest = behind;
        Some(piece)
    })
}

/// Where to end the piece at the front of `rest`: `length_max`, or a little before it.
fn cut(rest: &[u8], length_max: usize, alphabet: Alphabet) -> usize {
    if rest.len() <= length_max {
        return rest.len();
    }
    match alphabet {
        Alphabet::Gsm => {
            // Of a run of escapes every second one is an escaped septet, so the run's length decides.
            let escapes = rest[..length_max].iter().rev().take_while(|&&septet| septet == ESCAPE).count();
            length_max - escapes % 2
        }
        Alphabet::Ucs2 => {
            let is_high = (0xD8..0xDC).contains(&rest[length_max - 2]);
            let is_pair = is_high && (0xDC..0xE0).contains(&rest[length_max]);
            length_max - if is_pair { 2 } else { 0 }
        }
        Alphabet::Latin1 | Alphabet::Octets => length_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: Reference = Reference::Eight(0x42);
    const SIXTEEN: Reference = Reference::Sixteen(0x1234);

    fn lengths(text: &[u8], alphabet: Alphabet, reference: Reference) -> Vec<usize> {
        parts(text, alphabet, reference).map(<[u8]>::len).collect()
    }

    #[test]
    fn segment_sizes_are_the_well_known_ones() {
        assert_eq!(single_length_max(Alphabet::Gsm), 160);
        assert_eq!(single_length_max(Alphabet::Ucs2), 140);
        assert_eq!(single_length_max(Alphabet::Octets), 140);
        assert_eq!(part_length_max(Alphabet::Gsm, EIGHT), 153);
        assert_eq!(part_length_max(Alphabet::Gsm, SIXTEEN), 152);
        assert_eq!(part_length_max(Alphabet::Ucs2, EIGHT), 134);
        assert_eq!(part_length_max(Alphabet::Ucs2, SIXTEEN), 132);
        assert_eq!(part_length_max(Alphabet::Octets, EIGHT), 134);
        assert_eq!(part_length_max(Alphabet::Octets, SIXTEEN), 133);
    }

    #[test]
    fn a_text_is_cut_only_when_it_does_not_fit() {
        assert_eq!(lengths(&[b'a'; 160], Alphabet::Gsm, EIGHT), [160]);
        assert_eq!(lengths(&[b'a'; 161], Alphabet::Gsm, EIGHT), [153, 8]);
        assert_eq!(lengths(&[0; 140], Alphabet::Ucs2, EIGHT), [140]);
        assert_eq!(lengths(&[0; 142], Alphabet::Ucs2, EIGHT), [134, 8]);
        assert_eq!(lengths(b"", Alphabet::Gsm, EIGHT), [0; 0]);
        assert_eq!(part_count(b"", Alphabet::Gsm, EIGHT), 1);
        assert_eq!(part_count(&[b'a'; 307], Alphabet::Gsm, EIGHT), 3);
    }

    #[test]
    fn an_escape_stays_with_its_septet() {
        let mut text = vec![b'a'; 200];
        text[152] = ESCAPE;
        text[153] = 0x65;
        assert_eq!(lengths(&text, Alphabet::Gsm, EIGHT), [152, 48]);
        text[151] = ESCAPE;
        assert_eq!(lengths(&text, Alphabet::Gsm, EIGHT), [153, 47]);
    }

    #[test]
    fn a_surrogate_pair_stays_whole() {
        let mut text = Vec::new();
        let emoji = "x".repeat(66) + "😀" + &"y".repeat(20);
        Alphabet::Ucs2.encode(&emoji, &mut text).unwrap();
        assert_eq!(lengths(&text, Alphabet::Ucs2, EIGHT), [132, 44]);
        assert_eq!(lengths(&text, Alphabet::Ucs2, SIXTEEN), [132, 44]);
    }

    #[test]
    fn both_kinds_of_header_are_written_and_read() {
        for (reference, octets) in [(EIGHT, &[5, 0, 3, 0x42, 3, 2][..]), (SIXTEEN, &[6, 8, 4, 0x12, 0x34, 3, 2][..])] {
            let part = Part { reference, total: 3, number: 2 };
            let mut text = Vec::new();
            part.write_header(&mut text);
            assert_eq!(text, octets);
            assert_eq!(text.len(), reference.header_length());
            text.extend_from_slice(b"rest");
            let (header, rest) = UserDataHeader::split(&text).unwrap();
            assert_eq!(header.part(), Ok(Some(part)));
            assert_eq!(rest, b"rest");
        }
    }

    #[test]
    fn other_elements_are_stepped_over() {
        let text = [11, 5, 4, 0x15, 0x82, 0, 0, 0, 3, 9, 2, 1, b'x'];
        let (header, rest) = UserDataHeader::split(&text).unwrap();
        assert_eq!(header.elements().count(), 2);
        assert_eq!(header.part(), Ok(Some(Part { reference: Reference::Eight(9), total: 2, number: 1 })));
        assert_eq!(rest, b"x");
    }

    #[test]
    fn wrong_header_lengths_and_part_numbers_are_told() {
        assert_eq!(UserDataHeader::split(&[]), Err(PartError::Header));
        assert_eq!(UserDataHeader::split(&[5, 0, 3]), Err(PartError::Header));
        let part = |text: &[u8]| UserDataHeader::split(text).unwrap().0.part();
        assert_eq!(part(&[4, 0, 2, 1, 1]), Err(PartError::Header));
        assert_eq!(part(&[5, 0, 3, 1, 0, 0]), Err(PartError::Numbers));
        assert_eq!(part(&[5, 0, 3, 1, 2, 0]), Err(PartError::Numbers));
        assert_eq!(part(&[5, 0, 3, 1, 2, 3]), Err(PartError::Numbers));
        assert_eq!(part(&[0]), Ok(None));
        // The element says more than the header holds: there is no whole element to read.
        assert_eq!(part(&[3, 0, 9, 1]), Ok(None));
    }

    #[test]
    fn sar_tlvs_come_back_as_they_were_written() {
        use crate::{CommandId, CommandStatus};
        let part = Part { reference: SIXTEEN, total: 4, number: 4 };
        let mut out = Vec::new();
        part.write_sar(Encoder::new(&mut out, CommandId::SUBMIT_SM, CommandStatus::ESME_ROK, 1)).finish();
        assert_eq!(Part::of_sar(Tlvs::new(&out[16..])), Ok(Some(part)));
    }

    #[test]
    fn a_sar_reference_of_one_octet_is_taken_and_a_missing_tlv_told() {
        let tlvs = [0x02, 0x0C, 0, 1, 7, 0x02, 0x0E, 0, 1, 2, 0x02, 0x0F, 0, 1, 1];
        let part = Part { reference: Reference::Sixteen(7), total: 2, number: 1 };
        assert_eq!(Part::of_sar(Tlvs::new(&tlvs)), Ok(Some(part)));
        assert_eq!(Part::of_sar(Tlvs::new(&tlvs[..10])), Err(PartError::SarIncomplete));
        assert_eq!(Part::of_sar(Tlvs::new(&[])), Ok(None));
    }
}
