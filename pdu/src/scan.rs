//! Finding an octet in a slice, eight at a time. Fields of PDUs are short: a call into a library's search costs
//! more than the search, and a loop over octets costs several times this one. Pure functions on the caller's thread.

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Where the first NUL stands, if it is among the first `max` + 1 octets. (Whole words are read beyond them
/// where the slice has more: cutting it first would leave most fields to the loop over single octets.)
#[inline(always)]
pub(crate) fn find_nul_within(bytes: &[u8], max: usize) -> Option<usize> {
    let mut at = 0;
    let found = loop {
        let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) else {
            break at + bytes.get(at..)?.iter().position(|&octet| octet == 0)?;
        };
        let matches = zero_octets(u64::from_le_bytes(*eight));
        if matches != 0 {
            break at + (matches.trailing_zeros() / 8) as usize;
        }
        at += 8;
        if at > max {
            return None;
        }
    };
    (found <= max).then_some(found)
}

/// Where the first NUL stands.
#[inline]
pub(crate) fn find_nul(bytes: &[u8]) -> Option<usize> {
    find(bytes, 0)
}

/// Where the first `octet` stands.
#[inline]
pub(crate) fn find(bytes: &[u8], octet: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let matches = zero_octets(u64::from_le_bytes(*eight) ^ (LOW_BITS * u64::from(octet)));
        if matches != 0 {
            return Some(at + (matches.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    // The last eight octets overlap the word before them, in which there was no match.
    if let Some(eight) = bytes.last_chunk::<8>() {
        let matches = zero_octets(u64::from_le_bytes(*eight) ^ (LOW_BITS * u64::from(octet)));
        return (matches != 0).then(|| bytes.len() - 8 + (matches.trailing_zeros() / 8) as usize);
    }
    bytes.iter().position(|&other| other == octet)
}

/// Where the first octet stands that is a blank, a control character or a colon.
#[inline]
pub(crate) fn find_blank_or_colon(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*eight);
        let matches = octets_below(word, b' ' + 1) | zero_octets(word ^ (LOW_BITS * u64::from(b':')));
        if matches != 0 {
            return Some(at + (matches.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    let rest = &bytes[at..];
    rest.iter().position(|&octet| octet <= b' ' || octet == b':').map(|found| at + found)
}

/// The high bit of each octet that is less than `bound`, which is 128 at most. Bits above the first one may be set
/// wrongly by its borrow, so only the lowest one counts.
#[inline]
const fn octets_below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(LOW_BITS * bound as u64) & !word & HIGH_BITS
}

/// The high bit of each octet that is zero. Bits above the first zero octet may be set wrongly by its borrow, so
/// only the lowest one counts.
#[inline]
const fn zero_octets(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_control_characters_and_colons_end_a_word() {
        let mut bytes = [b'a'; 24];
        for at in 0..bytes.len() {
            for octet in 0..=u8::MAX {
                bytes[at] = octet;
                let found = (octet <= b' ' || octet == b':').then_some(at);
                assert_eq!(find_blank_or_colon(&bytes), found, "{octet} at {at}");
            }
            bytes[at] = 0xFF - at as u8;
        }
    }

    #[test]
    fn the_first_match_is_found_wherever_it_stands() {
        for length in 0..40 {
            for at in 0..length {
                let mut bytes = vec![1; length];
                bytes[at] = 0;
                bytes[length - 1] = 0;
                assert_eq!(find_nul(&bytes), Some(at));
                assert_eq!(find_nul_within(&bytes, at), Some(at));
                assert_eq!(find_nul_within(&bytes, 64), Some(at));
                assert!(at == 0 || find_nul_within(&bytes, at - 1).is_none());
                assert_eq!(find(&bytes[at..], 1), if at + 2 < length { Some(1) } else { None });
            }
            assert_eq!(find_nul(&vec![0x80; length]), None);
            assert_eq!(find(&vec![b';'; length], b':'), None);
        }
    }
}
