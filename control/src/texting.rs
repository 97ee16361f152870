//! From a text to the submit_sm of its parts: alphabet, splitting, addresses.
//!
//! Pure functions; the gateway's own short messages are made here, for the control port.

use smpp_pdu::coding::Alphabet;
use smpp_pdu::concat::{PARTS_MAX, Part, Reference, parts};
use smpp_pdu::message::{ALPHANUMERIC_MAX, DIGITS_MAX, ESM_UDHI};
use smpp_pdu::{Address, CommandId, ShortMessage, encode};

/// A message as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Texted {
    /// In which alphabet.
    pub(crate) alphabet: Alphabet,
    /// A whole submit_sm for each part, in order; never empty.
    pub(crate) parts: Vec<Vec<u8>>,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// The sender: a number, a short code or a name.
    pub(crate) from: &'a str,
    /// The destination: a number or a short code.
    pub(crate) to: &'a str,
    pub(crate) content: &'a str,
    /// Whether a receipt is wanted.
    pub(crate) dlr_requested: bool,
    /// What the parts of a long message share.
    pub(crate) reference: u8,
}

/// Which field is at fault, and a sentence.
pub(crate) type Fault = (&'static str, String);

/// Encodes and splits a text: GSM 03.38 where it has every character, else UCS-2; one part, or parts behind a user data
/// header of a concatenation with an 8-bit reference.
pub(crate) fn compose(text: Text<'_>) -> Result<Texted, Fault> {
    let source = source_address(text.from)?;
    let dest = dest_address(text.to)?;
    if text.content.is_empty() {
        return Err(("content", "Is empty; give at least one character.".into()));
    }
    let alphabet = Alphabet::for_text(text.content);
    let mut octets = Vec::with_capacity(text.content.len() * 2);
    alphabet.encode(text.content, &mut octets).map_err(|error| {
        let reason = format!("Holds {:?}, which cannot be encoded.", error.character);
        ("content", reason)
    })?;
    let reference = Reference::Eight(text.reference);
    let pieces: Vec<&[u8]> = parts(&octets, alphabet, reference).collect();
    if pieces.len() > PARTS_MAX {
        let reason = format!("Needs {} short messages; at most {PARTS_MAX} make one.", pieces.len());
        return Err(("content", reason));
    }
    let total = pieces.len() as u8;
    let parts = pieces.into_iter().zip(1..=total).map(|(piece, number)| {
        let part = (total > 1).then_some(Part { reference, total, number });
        submit_sm(source, dest, alphabet, piece, part, text.dlr_requested)
    });
    Ok(Texted { alphabet, parts: parts.collect() })
}

fn submit_sm(
    source: Address<'_>,
    dest: Address<'_>,
    alphabet: Alphabet,
    piece: &[u8],
    part: Option<Part>,
    dlr_requested: bool,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(piece.len() + 6);
    if let Some(part) = part {
        part.write_header(&mut text);
    }
    text.extend_from_slice(piece);
    let message = ShortMessage {
        source,
        dest,
        esm_class: if part.is_some() { ESM_UDHI } else { 0 },
        registered_delivery: u8::from(dlr_requested),
        data_coding: alphabet.data_coding(),
        short_message: &text,
        ..ShortMessage::default()
    };
    let mut pdu = Vec::new();
    encode::short_message(&mut pdu, CommandId::SUBMIT_SM, 0, &message);
    pdu
}

/// The sender, with the type of number that its form says.
pub(crate) fn source_address(from: &str) -> Result<Address<'_>, Fault> {
    Address::of_number(from).or_else(|| Address::of_name(from)).ok_or_else(|| {
        let reason = format!(
            "Is no sender; give a number of at most {DIGITS_MAX} digits, or a name of at most {ALPHANUMERIC_MAX} letters, digits and blanks."
        );
        ("from", reason)
    })
}

/// The destination.
pub(crate) fn dest_address(to: &str) -> Result<Address<'_>, Fault> {
    Address::of_number(to)
        .ok_or_else(|| ("to", format!("Is no number; give at most {DIGITS_MAX} digits, with or without a leading +.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(content: &str) -> Texted {
        let text = Text { from: "ACME", to: "+15551234567", content, dlr_requested: true, reference: 7 };
        compose(text).unwrap()
    }

    fn lengths(texted: &Texted) -> Vec<usize> {
        texted.parts.iter().map(|pdu| ShortMessage::decode(pdu).unwrap().short_message.len()).collect()
    }

    #[test]
    fn a_short_text_is_one_message_in_the_gsm_alphabet() {
        let texted = composed("Grüße, 5 €");
        let message = ShortMessage::decode(&texted.parts[0]).unwrap();
        assert_eq!((texted.alphabet, message.data_coding, message.esm_class), (Alphabet::Gsm, 0, 0));
        assert_eq!((message.source.ton, message.source.addr), (5, &b"ACME"[..]));
        assert_eq!((message.dest.ton, message.dest.npi, message.dest.addr), (1, 1, &b"15551234567"[..]));
        assert_eq!((message.registered_delivery, message.short_message.len()), (1, 11));
    }

    #[test]
    fn texts_are_split_where_they_no_longer_fit() {
        assert_eq!(lengths(&composed(&"x".repeat(160))), [160]);
        assert_eq!(lengths(&composed(&"x".repeat(161))), [6 + 153, 6 + 8]);
        assert_eq!(lengths(&composed(&"€".repeat(80))), [160]);
        assert_eq!(lengths(&composed(&"€".repeat(81))), [6 + 152, 6 + 10], "an escape stays with its septet");
        assert_eq!(lengths(&composed(&"ж".repeat(70))), [140]);
        assert_eq!(lengths(&composed(&"ж".repeat(71))), [6 + 134, 6 + 8]);
        assert_eq!(lengths(&composed(&"😀".repeat(36))), [6 + 132, 6 + 12], "a surrogate pair stays whole");
    }

    #[test]
    fn parts_say_of_how_many_they_are_which() {
        let texted = composed(&"x".repeat(400));
        for (number, pdu) in (1..).zip(&texted.parts) {
            let message = ShortMessage::decode(pdu).unwrap();
            let part = Part::of(&message).unwrap().unwrap();
            assert_eq!(part, Part { reference: Reference::Eight(7), total: 3, number });
        }
    }

    #[test]
    fn what_cannot_be_sent_names_its_field() {
        let text = Text { from: "ACME", to: "15551234567", content: "x", dlr_requested: false, reference: 0 };
        let long = "x".repeat(153 * 255 + 1);
        for (text, field) in [
            (Text { from: "", ..text }, "from"),
            (Text { from: "much too long a name", ..text }, "from"),
            (Text { from: "1234567890123456", ..text }, "from"),
            (Text { from: "Grüße", ..text }, "from"),
            (Text { to: "", ..text }, "to"),
            (Text { to: "ACME", ..text }, "to"),
            (Text { to: "+", ..text }, "to"),
            (Text { content: "", ..text }, "content"),
            (Text { content: &long, ..text }, "content"),
        ] {
            assert_eq!(compose(text).unwrap_err().0, field, "{text:?}");
        }
        assert_eq!(compose(Text { content: &long[1..], ..text }).unwrap().parts.len(), 255);
        assert_eq!(source_address("12345").unwrap().ton, 3);
        assert_eq!(source_address("+12345").unwrap().ton, 1);
    }
}
