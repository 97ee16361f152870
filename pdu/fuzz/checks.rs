//! What must hold for any octets at all. The fuzz targets call these functions with what libFuzzer makes up, and
//! `tests/corpus.rs` with every file of the corpus; whatever does not hold is a panic.

#![allow(dead_code, reason = "each fuzz target calls one of them")]

use smpp_pdu::concat::{self, Part, Reference, UserDataHeader};
use smpp_pdu::receipt::ReceiptText;
use smpp_pdu::time::{DateTime, SmppTime};
use smpp_pdu::{Alphabet, Body, Deframed, Header, IdForm, NormalId, Receipt, ShortMessage, Tlvs, deframe, gsm};

/// The largest PDU taken.
const PDU_BYTES_MAX: usize = 70_000;

/// A byte stream of PDUs: the deframer and every view. What was decoded is written, and from then on decoding and
/// writing change nothing.
pub(crate) fn stream(octets: &[u8]) {
    let mut at = 0;
    while at < octets.len() {
        match deframe(&octets[at..], PDU_BYTES_MAX) {
            Deframed::Pdu { header, pdu } => {
                assert_eq!(pdu.len(), header.command_length as usize);
                assert_eq!(deframe(pdu, PDU_BYTES_MAX), Deframed::Pdu { header, pdu });
                assert!(matches!(deframe(&pdu[..pdu.len() - 1], PDU_BYTES_MAX), Deframed::NeedMore { .. }));
                one_pdu(header, pdu);
                at += pdu.len();
            }
            Deframed::NeedMore { missing } => {
                assert!(missing > 0);
                break;
            }
            Deframed::Fatal { command_length, .. } => {
                assert!(command_length < 16 || command_length as usize > PDU_BYTES_MAX);
                break;
            }
        }
    }
}

fn one_pdu(header: Header, pdu: &[u8]) {
    let Ok(body) = Body::decode(header.command_id, pdu) else { return };
    if let Body::ShortMessage(message) = body {
        let text = message.offsets.short_message;
        assert_eq!(&pdu[text..text + message.short_message.len()], message.short_message);
        assert_eq!(&pdu[message.offsets.tlvs..], message.tlvs.as_bytes());
        let _ = (message.text(), Part::of(&message));
    }
    let first = written(header, &body);
    let Deframed::Pdu { header: again, pdu } = deframe(&first, PDU_BYTES_MAX) else {
        panic!("what was written is no PDU")
    };
    let reread = Body::decode(again.command_id, pdu).expect("what was written can be read");
    assert_eq!(written(again, &reread), first);
}

fn written(header: Header, body: &Body<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    body.encode(header, &mut out);
    out
}

/// A receipt's text, a message id, an SMPP time.
pub(crate) fn receipt(octets: &[u8]) {
    let receipt = Receipt::parse(octets);
    if let Some(range) = receipt.id_range() {
        assert_eq!(Some(&octets[range]), receipt.id);
    }
    let fields = [receipt.sub, receipt.dlvrd, receipt.submit_date, receipt.done_date, receipt.err, receipt.text];
    for field in fields.into_iter().flatten() {
        assert!(!field.is_empty());
        let _ = DateTime::parse_receipt(field).map(DateTime::unix_millis);
    }
    rewritten(&receipt);
    for form in [IdForm::Text, IdForm::Hex, IdForm::Decimal] {
        let id = NormalId::new(octets, form);
        match id {
            NormalId::Number(_) => assert_eq!(NormalId::new(&id.canonical(), IdForm::Hex), id),
            NormalId::Text(text) if text.len() <= 64 => {
                assert_eq!(NormalId::new(&id.canonical(), IdForm::Text), id);
            }
            NormalId::Text(_) => {}
        }
    }
    if let Ok(time) = SmppTime::parse(octets) {
        assert_eq!(SmppTime::parse(&time.format()), Ok(time));
        let _ = time.unix_millis(1_795_196_681_000);
    }
}

/// A receipt of ours with the same id and state reads as it was written.
fn rewritten(receipt: &Receipt<'_>) {
    let (Some(id), Some(state)) = (receipt.id, receipt.state()) else { return };
    if id.contains(&b':') || id.ends_with(b",") || id.ends_with(b";") || id.ends_with(b"|") {
        return;
    }
    let text = receipt.text.unwrap_or_default();
    let date = receipt.done_date.and_then(DateTime::parse_receipt).map_or(0, DateTime::unix_millis);
    let mut out = Vec::new();
    let err = b"000";
    ReceiptText { id, sub: 1, dlvrd: 0, submit_date: date, done_date: date, state, err, text }.encode(&mut out);
    let again = Receipt::parse(&out);
    assert_eq!((again.id, again.state(), again.err), (Some(id), Some(state), Some(&err[..])));
}

/// A text in every alphabet and in parts, packed and unpacked, and a user data header.
pub(crate) fn text(octets: &[u8]) {
    for alphabet in [Alphabet::Gsm, Alphabet::Latin1, Alphabet::Ucs2, Alphabet::Octets] {
        let mut text = String::new();
        alphabet.decode(octets, &mut text);
        let mut encoded = Vec::new();
        if alphabet.encode(&text, &mut encoded).is_ok() {
            let mut again = String::new();
            alphabet.decode(&encoded, &mut again);
            assert_eq!(again, text);
        }
        for reference in [Reference::Eight(1), Reference::Sixteen(1)] {
            in_parts(octets, alphabet, reference);
            in_parts(&encoded, alphabet, reference);
        }
    }
    packed(octets);
    header(octets);
}

fn in_parts(text: &[u8], alphabet: Alphabet, reference: Reference) {
    let parts: Vec<&[u8]> = concat::parts(text, alphabet, reference).collect();
    assert_eq!(parts.concat(), text);
    assert_eq!(concat::part_count(text, alphabet, reference), parts.len().max(1));
    let most = match parts.len() {
        0 | 1 => concat::single_length_max(alphabet),
        _ => concat::part_length_max(alphabet, reference),
    };
    for (index, part) in parts.iter().enumerate() {
        assert!(!part.is_empty() && part.len() <= most);
        if index + 1 < parts.len() {
            let escapes = part.iter().rev().take_while(|&&octet| octet == gsm::ESCAPE).count();
            assert!(alphabet != Alphabet::Gsm || escapes % 2 == 0, "an escape was cut off");
            assert!(alphabet != Alphabet::Ucs2 || part.len() % 2 == 0, "a unit was cut in two");
        }
    }
}

fn packed(octets: &[u8]) {
    let septets: Vec<u8> = octets.iter().map(|octet| octet & 0x7F).collect();
    for fill in 0..7 {
        let mut packed = Vec::new();
        gsm::pack(&septets, fill, &mut packed);
        let mut unpacked = Vec::new();
        gsm::unpack(&packed, fill, septets.len(), &mut unpacked);
        assert_eq!(unpacked, septets);
        let _ = gsm::unpack(octets, fill, usize::MAX, &mut unpacked);
    }
}

fn header(octets: &[u8]) {
    if let Ok((header, rest)) = UserDataHeader::split(octets) {
        assert!(rest.len() < octets.len());
        if let Ok(Some(part)) = header.part() {
            let mut written = Vec::new();
            part.write_header(&mut written);
            let (again, _) = UserDataHeader::split(&written).expect("a header of ours is whole");
            assert_eq!(again.part(), Ok(Some(part)));
        }
    }
    let _ = Part::of_sar(Tlvs::new(octets));
    let message = ShortMessage { esm_class: 0x40, short_message: octets, ..ShortMessage::default() };
    let _ = Part::of(&message);
}
