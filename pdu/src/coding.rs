//! data_coding (SMPP 3.4 section 5.2.19): which alphabet a text is in, and text to octets and back in each. Pure
//! functions on the caller's thread; they write at the end of the caller's buffer and never panic on any octets.

use crate::gsm;

/// The alphabets that a short message is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// GSM 03.38 default alphabet with extension table, one septet to an octet.
    Gsm,
    /// ISO 8859-1, and with it ASCII.
    Latin1,
    /// UCS-2, the most significant octet first; surrogate pairs are taken and sent, as all phones do.
    Ucs2,
    /// Octets without a meaning known here.
    Octets,
}

/// A text that has no form in the alphabet asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEncodable {
    /// The first character that it lacks.
    pub character: char,
    /// Where that starts in the text, in octets of UTF-8.
    pub at: usize,
}

impl Alphabet {
    /// The alphabet of a data_coding, with `default` for 0: what that means is agreed with each peer. Takes the
    /// specification's values and the GSM 03.38 groups above them; what is neither is octets.
    pub const fn of_data_coding(data_coding: u8, default: Alphabet) -> Alphabet {
        match data_coding {
            0x00 => default,
            // IA5 and Latin-1; a text of the first reads the same in the second.
            0x01 | 0x03 => Self::Latin1,
            0x08 => Self::Ucs2,
            // General data coding and automatic deletion groups: bits 3 and 2 are the alphabet; bit 5 set is
            // a compressed text, which nobody can read here.
            0x10..=0x1F | 0x40..=0x5F => Self::of_group_bits(data_coding),
            // Message waiting: discard and store in the default alphabet, store in UCS-2.
            0xC0..=0xDF => Self::Gsm,
            0xE0..=0xEF => Self::Ucs2,
            // Data coding and message class group: bit 2 is the alphabet.
            0xF0..=0xFF if data_coding & 0x04 == 0 => Self::Gsm,
            _ => Self::Octets,
        }
    }

    /// The data_coding to send it with where the peer has no wish of its own.
    pub const fn data_coding(self) -> u8 {
        match self {
            Self::Gsm => 0x00,
            Self::Latin1 => 0x03,
            Self::Ucs2 => 0x08,
            Self::Octets => 0x04,
        }
    }

    /// The shortest alphabet for a text: GSM where it has every character, else UCS-2.
    pub fn for_text(text: &str) -> Alphabet {
        if gsm::septet_count(text).is_ok() { Self::Gsm } else { Self::Ucs2 }
    }

    /// The platform's name for it: `gsm7`, `latin1`, `ucs2` or `binary`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gsm => "gsm7",
            Self::Latin1 => "latin1",
            Self::Ucs2 => "ucs2",
            Self::Octets => "binary",
        }
    }

    /// Writes `text` at the end of `out`. As [`Alphabet::Octets`] its UTF-8 is written.
    ///
    /// # Errors
    /// The first character that the alphabet lacks (UCS-2 and octets lack none). `out` is left as it was.
    pub fn encode(self, text: &str, out: &mut Vec<u8>) -> Result<(), NotEncodable> {
        match self {
            Self::Gsm => {
                gsm::encode(text, out).map_err(|missing| NotEncodable { character: missing.character, at: missing.at })
            }
            Self::Latin1 => encode_latin1(text, out),
            Self::Ucs2 => {
                out.extend(text.encode_utf16().flat_map(u16::to_be_bytes));
                Ok(())
            }
            Self::Octets => {
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    /// Writes the text of `octets` at the end of `out`. Nothing is an error: a surrogate without its other half,
    /// half a UCS-2 unit at the end, and octets that are no UTF-8 become U+FFFD.
    pub fn decode(self, octets: &[u8], out: &mut String) {
        match self {
            Self::Gsm => gsm::decode(octets, out),
            Self::Latin1 => out.extend(octets.iter().map(|&octet| char::from(octet))),
            Self::Ucs2 => decode_ucs2(octets, out),
            Self::Octets => out.push_str(&String::from_utf8_lossy(octets)),
        }
    }

    const fn of_group_bits(data_coding: u8) -> Alphabet {
        match data_coding >> 2 & 0x03 {
            0 => Self::Gsm,
            2 => Self::Ucs2,
            _ => Self::Octets,
        }
    }
}

fn encode_latin1(text: &str, out: &mut Vec<u8>) -> Result<(), NotEncodable> {
    let start = out.len();
    for (at, character) in text.char_indices() {
        match u8::try_from(u32::from(character)) {
            Ok(octet) => out.push(octet),
            Err(_) => {
                out.truncate(start);
                return Err(NotEncodable { character, at });
            }
        }
    }
    Ok(())
}

fn decode_ucs2(octets: &[u8], out: &mut String) {
    let units = octets.chunks_exact(2);
    let odd = !units.remainder().is_empty();
    let units = units.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    out.extend(char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)));
    if odd {
        out.push(char::REPLACEMENT_CHARACTER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(alphabet: Alphabet, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        alphabet.encode(text, &mut out).unwrap();
        out
    }

    fn decoded(alphabet: Alphabet, octets: &[u8]) -> String {
        let mut out = String::new();
        alphabet.decode(octets, &mut out);
        out
    }

    #[test]
    fn data_coding_0_is_what_was_agreed() {
        assert_eq!(Alphabet::of_data_coding(0, Alphabet::Gsm), Alphabet::Gsm);
        assert_eq!(Alphabet::of_data_coding(0, Alphabet::Latin1), Alphabet::Latin1);
    }

    #[test]
    fn data_codings_1_3_and_8_are_told_apart() {
        assert_eq!(Alphabet::of_data_coding(1, Alphabet::Gsm), Alphabet::Latin1);
        assert_eq!(Alphabet::of_data_coding(3, Alphabet::Gsm), Alphabet::Latin1);
        assert_eq!(Alphabet::of_data_coding(8, Alphabet::Gsm), Alphabet::Ucs2);
        assert_eq!(Alphabet::of_data_coding(2, Alphabet::Gsm), Alphabet::Octets);
        assert_eq!(Alphabet::of_data_coding(4, Alphabet::Gsm), Alphabet::Octets);
    }

    #[test]
    fn message_classes_of_gsm_keep_their_alphabet() {
        for (data_coding, alphabet) in [
            (0x10, Alphabet::Gsm),
            (0x18, Alphabet::Ucs2),
            (0x14, Alphabet::Octets),
            (0x50, Alphabet::Gsm),
            (0x58, Alphabet::Ucs2),
            (0x30, Alphabet::Octets),
            (0xC8, Alphabet::Gsm),
            (0xE8, Alphabet::Ucs2),
            (0xF0, Alphabet::Gsm),
            (0xF3, Alphabet::Gsm),
            (0xF5, Alphabet::Octets),
        ] {
            assert_eq!(Alphabet::of_data_coding(data_coding, Alphabet::Latin1), alphabet, "{data_coding:#04x}");
        }
    }

    #[test]
    fn ucs2_is_big_endian_with_surrogate_pairs() {
        assert_eq!(encoded(Alphabet::Ucs2, "Я😀"), [0x04, 0x2F, 0xD8, 0x3D, 0xDE, 0x00]);
        assert_eq!(decoded(Alphabet::Ucs2, &[0x04, 0x2F, 0xD8, 0x3D, 0xDE, 0x00]), "Я😀");
    }

    #[test]
    fn broken_ucs2_is_marked_and_not_lost() {
        assert_eq!(decoded(Alphabet::Ucs2, &[0xD8, 0x3D, 0x00, 0x41, 0x00]), "\u{FFFD}A\u{FFFD}");
    }

    #[test]
    fn latin1_is_one_octet_a_character() {
        assert_eq!(encoded(Alphabet::Latin1, "Aé"), [0x41, 0xE9]);
        assert_eq!(decoded(Alphabet::Latin1, &[0x41, 0xE9]), "Aé");
        let mut out = vec![1];
        assert_eq!(Alphabet::Latin1.encode("é€", &mut out), Err(NotEncodable { character: '€', at: 2 }));
        assert_eq!(out, [1]);
    }

    #[test]
    fn the_shortest_alphabet_is_chosen() {
        assert_eq!(Alphabet::for_text("Hello {€}"), Alphabet::Gsm);
        assert_eq!(Alphabet::for_text("Привет"), Alphabet::Ucs2);
        assert_eq!(Alphabet::for_text("ç"), Alphabet::Ucs2);
    }

    #[test]
    fn every_alphabet_comes_back_from_its_data_coding() {
        for alphabet in [Alphabet::Gsm, Alphabet::Latin1, Alphabet::Ucs2, Alphabet::Octets] {
            assert_eq!(Alphabet::of_data_coding(alphabet.data_coding(), Alphabet::Gsm), alphabet);
        }
    }
}
