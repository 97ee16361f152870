//! The GSM 03.38 default alphabet with its extension table: characters to septets and back, one septet to an
//! octet as SMPP carries them, and packed seven bits each as the air interface does. Pure functions on the
//! caller's thread; they write at the end of the caller's buffer and never panic on any octets.

/// The septet that announces one of the extension table.
pub const ESCAPE: u8 = 0x1B;

/// A character that the alphabet does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotInAlphabet {
    /// The character.
    pub character: char,
    /// Where it starts in the text, in octets of UTF-8.
    pub at: usize,
}

/// Writes `text` at the end of `out`, one septet to an octet; a character of the extension table takes two.
///
/// # Errors
/// The first character that the alphabet lacks. `out` is left as it was.
pub fn encode(text: &str, out: &mut Vec<u8>) -> Result<(), NotInAlphabet> {
    let start = out.len();
    out.reserve(text.len());
    for (at, character) in text.char_indices() {
        match septets_of(character) {
            Some(Septets::One(septet)) => out.push(septet),
            Some(Septets::Escaped(septet)) => out.extend_from_slice(&[ESCAPE, septet]),
            None => {
                out.truncate(start);
                return Err(NotInAlphabet { character, at });
            }
        }
    }
    Ok(())
}

/// How many septets `text` takes.
///
/// # Errors
/// The first character that the alphabet lacks.
pub fn septet_count(text: &str) -> Result<usize, NotInAlphabet> {
    text.char_indices().try_fold(0, |sum, (at, character)| match septets_of(character) {
        Some(Septets::One(_)) => Ok(sum + 1),
        Some(Septets::Escaped(_)) => Ok(sum + 2),
        None => Err(NotInAlphabet { character, at }),
    })
}

/// Writes the text of `octets`, a septet each, at the end of `out`. What the alphabet leaves open is read as
/// receivers do (GSM 03.38 section 6.2.1.1): an unknown escaped septet is the default table's character, an
/// escape at the end or twice is a space. Bit 8 is not looked at.
pub fn decode(octets: &[u8], out: &mut String) {
    out.reserve(octets.len());
    let mut septets = octets.iter().map(|octet| octet & 0x7F);
    while let Some(septet) = septets.next() {
        if septet != ESCAPE {
            out.push(DEFAULT[usize::from(septet)]);
            continue;
        }
        match septets.next() {
            None | Some(ESCAPE) => out.push(' '),
            Some(escaped) => {
                let extended = EXTENSION.iter().find(|(code, _)| *code == escaped);
                out.push(extended.map_or(DEFAULT[usize::from(escaped)], |&(_, character)| character));
            }
        }
    }
}

/// Packs septets (one to an octet, bit 8 not looked at) into octets, lowest bits first, behind `fill_bits`
/// (0 to 6) zero bits: those that bring text behind a user data header to a septet's boundary
/// (GSM 03.40 section 9.2.3.24). The bits over at the end are zero.
pub fn pack(septets: &[u8], fill_bits: u32, out: &mut Vec<u8>) {
    out.reserve(packed_length(septets.len(), fill_bits));
    let mut held = 0_u16;
    let mut bits = fill_bits.min(6);
    for septet in septets {
        held |= u16::from(septet & 0x7F) << bits;
        bits += 7;
        if bits >= 8 {
            out.push(held as u8);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        out.push(held as u8);
    }
}

/// Unpacks at most `count` septets, one to an octet, from what stands behind `fill_bits` (0 to 6) bits. Without
/// the count, seven bits over at the end could not be told from a septet 0, an `@`. Returns how many there were.
pub fn unpack(packed: &[u8], fill_bits: u32, count: usize, out: &mut Vec<u8>) -> usize {
    let fill_bits = fill_bits.min(6) as usize;
    let count = count.min((packed.len() * 8).saturating_sub(fill_bits) / 7);
    out.extend((0..count).map(|index| {
        let bit = fill_bits + index * 7;
        let low = packed[bit / 8];
        let high = packed.get(bit / 8 + 1).copied().unwrap_or(0);
        (u16::from_le_bytes([low, high]) >> (bit % 8)) as u8 & 0x7F
    }));
    count
}

/// Octets that `septets` take when packed behind `fill_bits`.
pub const fn packed_length(septets: usize, fill_bits: u32) -> usize {
    (septets * 7 + fill_bits as usize).div_ceil(8)
}

/// Zero bits between a user data header of `header_length` octets (its length octet included) and the first
/// septet behind it.
pub const fn fill_bits(header_length: usize) -> u32 {
    ((7 - header_length * 8 % 7) % 7) as u32
}

enum Septets {
    One(u8),
    Escaped(u8),
}

#[inline]
fn septets_of(character: char) -> Option<Septets> {
    if let Some(&septet) = ASCII.get(character as usize)
        && septet != NONE
    {
        return Some(Septets::One(septet));
    }
    rare_septets_of(character)
}

/// The characters beyond ASCII and those of the extension table.
fn rare_septets_of(character: char) -> Option<Septets> {
    if character == DEFAULT[usize::from(ESCAPE)] {
        return None;
    }
    if let Some(&(septet, _)) = EXTENSION.iter().find(|(_, extended)| *extended == character) {
        return Some(Septets::Escaped(septet));
    }
    DEFAULT.iter().position(|&default| default == character).map(|septet| Septets::One(septet as u8))
}

/// Marks an ASCII character that is not a septet of its own.
const NONE: u8 = 0xFF;

/// The septet of each ASCII character.
const ASCII: [u8; 128] = {
    let mut table = [NONE; 128];
    let mut septet = 0;
    while septet < DEFAULT.len() {
        let character = DEFAULT[septet] as usize;
        if character < table.len() {
            table[character] = septet as u8;
        }
        septet += 1;
    }
    table
};

/// The default table (GSM 03.38 section 6.2.1), by septet. The place of the escape holds a no-break space, which
/// is what stands there for receivers that know no extension table; it is never encoded.
const DEFAULT: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', // 0x00
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{A0}', 'Æ', 'æ', 'ß', 'É', // 0x10
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', // 0x20
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', // 0x30
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', // 0x40
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', // 0x50
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', // 0x60
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à', // 0x70
];

/// The extension table (GSM 03.38 section 6.2.1.1).
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(text, &mut out).unwrap();
        out
    }

    fn decoded(octets: &[u8]) -> String {
        let mut out = String::new();
        decode(octets, &mut out);
        out
    }

    #[test]
    fn every_character_of_both_tables_survives_the_round_trip() {
        let mut text: String = DEFAULT.iter().filter(|&&character| character != '\u{A0}').collect();
        text.extend(EXTENSION.iter().map(|&(_, character)| character));
        let octets = encoded(&text);
        assert_eq!(octets.len(), 127 + 20);
        assert_eq!(septet_count(&text), Ok(147));
        assert_eq!(decoded(&octets), text);
    }

    #[test]
    fn well_known_characters_have_their_codes() {
        assert_eq!(encoded("@£$_ÄÖÑÜ§¿à"), [0, 1, 2, 0x11, 0x5B, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x7F]);
        assert_eq!(encoded("{€}"), [0x1B, 0x28, 0x1B, 0x65, 0x1B, 0x29]);
    }

    #[test]
    fn a_character_outside_is_named_and_nothing_is_written() {
        let mut out = vec![7];
        assert_eq!(encode("aé`", &mut out), Err(NotInAlphabet { character: '`', at: 3 }));
        assert_eq!(out, [7]);
        for character in ["ç", "\u{A0}", "ё", "😀", "\t", "`", "\0"] {
            assert!(septet_count(character).is_err(), "{character:?}");
        }
    }

    #[test]
    fn odd_escapes_are_read_as_receivers_do() {
        assert_eq!(decoded(&[0x1B, b'A']), "A");
        assert_eq!(decoded(&[b'A', 0x1B]), "A ");
        assert_eq!(decoded(&[0x1B, 0x1B, b'B']), " B");
        assert_eq!(decoded(&[b'A' | 0x80]), "A");
    }

    #[test]
    fn the_classic_example_packs_to_its_octets() {
        let mut packed = Vec::new();
        pack(&encoded("hellohello"), 0, &mut packed);
        assert_eq!(packed, [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37]);
    }

    #[test]
    fn packing_is_undone_for_every_length_and_every_fill() {
        let septets: Vec<u8> = (0..200_u8).map(|value| value.wrapping_mul(37) & 0x7F).collect();
        for length in 0..septets.len() {
            for fill in 0..7 {
                let mut packed = Vec::new();
                pack(&septets[..length], fill, &mut packed);
                assert_eq!(packed.len(), packed_length(length, fill));
                let mut unpacked = Vec::new();
                assert_eq!(unpack(&packed, fill, length, &mut unpacked), length);
                assert_eq!(unpacked, septets[..length]);
            }
        }
    }

    #[test]
    fn a_count_beyond_the_octets_gives_what_is_there() {
        let mut out = Vec::new();
        assert_eq!(unpack(&[0xFF, 0xFF], 0, 9, &mut out), 2);
        assert_eq!(unpack(&[], 6, 9, &mut out), 0);
        assert_eq!(out, [0x7F, 0x7F]);
    }

    #[test]
    fn text_behind_a_header_starts_at_a_septet() {
        assert_eq!(fill_bits(6), 1);
        assert_eq!(fill_bits(7), 0);
        assert_eq!(fill_bits(0), 0);
    }
}
