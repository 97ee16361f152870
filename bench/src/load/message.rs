//! The submit_sm that a worker sends: encoded once, then copied and patched.
//!
//! One composer per worker thread. Per message it touches the sequence number and the last digits of the
//! destination, and copies the PDU behind the others of the batch.

use smpp_pdu::command::CommandId;
use smpp_pdu::frame::SEQUENCE_OFFSET;
use smpp_pdu::message::{Address, SHORT_MESSAGE_MAX, ShortMessage};
use smpp_pdu::tlv::{Tag, Tlvs};
use smpp_pdu::{encode, frame};

use super::LoadOptions;

/// A submit_sm with its places to patch.
#[derive(Clone, Debug)]
pub(super) struct Composer {
    pdu: Vec<u8>,
    /// Where the counting digits of the destination begin and end.
    digits: std::ops::Range<usize>,
}

impl Composer {
    /// The message that the options ask for. Worker `index` of `workers` counts destinations up from its own
    /// share of the numbers.
    pub(super) fn new(options: &LoadOptions, index: u32, workers: u32) -> Result<Self, String> {
        let text = text(options)?;
        let places = options.destination_digits - options.destination_prefix.len();
        let first = 10u64.saturating_pow(places as u32) / u64::from(workers) * u64::from(index);
        let dest = format!("{}{first:0places$}", options.destination_prefix);
        let payload = payload_tlv(&text);
        let message = ShortMessage {
            source: address(options.source.as_bytes()),
            dest: address(dest.as_bytes()),
            registered_delivery: u8::from(options.receipts),
            data_coding: options.data_coding,
            short_message: if text.len() > SHORT_MESSAGE_MAX { &[] } else { &text },
            tlvs: Tlvs::new(if text.len() > SHORT_MESSAGE_MAX { &payload } else { &[] }),
            ..empty()
        };
        let mut pdu = Vec::new();
        encode::short_message(&mut pdu, CommandId::SUBMIT_SM, 1, &message);
        // Behind the header: service_type (a NUL), the source's type, plan, octets and NUL, and the
        // destination's type and plan.
        let digits_end = frame::HEADER_LENGTH + 1 + 2 + options.source.len() + 1 + 2 + dest.len();
        Ok(Self { pdu, digits: digits_end - places..digits_end })
    }

    /// Appends one message and counts the destination up.
    #[inline]
    pub(super) fn append(&mut self, out: &mut Vec<u8>, sequence_number: u32) {
        self.pdu[SEQUENCE_OFFSET..SEQUENCE_OFFSET + 4].copy_from_slice(&sequence_number.to_be_bytes());
        out.extend_from_slice(&self.pdu);
        for digit in self.pdu[self.digits.clone()].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
}

/// Type and plan as most peers want them: letters are alphanumeric, up to 6 digits are a short code, more
/// are an international number.
fn address(octets: &[u8]) -> Address<'_> {
    let digits = octets.iter().all(|octet| octet.is_ascii_digit() || *octet == b'+');
    let (ton, npi) = match (digits, octets.len()) {
        (_, 0) => (0, 0),
        (false, _) => (5, 0),
        (true, 1..=6) => (3, 1),
        (true, _) => (1, 1),
    };
    Address { ton, npi, addr: octets }
}

fn text(options: &LoadOptions) -> Result<Vec<u8>, String> {
    const FILLING: &[u8] = b"The quick brown fox jumps over the lazy dog 0123456789. ";
    let Some(text) = &options.text else {
        return Ok(FILLING.iter().copied().cycle().take(options.body).collect());
    };
    match options.data_coding {
        8 => Ok(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        3 => text
            .chars()
            .map(|character| u8::try_from(u32::from(character)))
            .collect::<Result<_, _>>()
            .map_err(|_| "--text: not in Latin-1; --data-coding 8 takes it".to_owned()),
        _ if text.is_ascii() => Ok(text.clone().into_bytes()),
        _ => Err("--text: not ASCII; --data-coding 8 (UCS-2) or 3 (Latin-1) takes it".to_owned()),
    }
}

fn payload_tlv(text: &[u8]) -> Vec<u8> {
    let mut tlv = Tag::MESSAGE_PAYLOAD.0.to_be_bytes().to_vec();
    tlv.extend_from_slice(&(text.len() as u16).to_be_bytes());
    tlv.extend_from_slice(text);
    tlv
}

/// Every field empty or zero.
fn empty() -> ShortMessage<'static> {
    const BARE: [u8; frame::HEADER_LENGTH + 17] = [0; frame::HEADER_LENGTH + 17];
    ShortMessage::decode(&BARE).unwrap_or_else(|_| unreachable!("17 zero octets are a whole body"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(arguments: &[&str], count: usize) -> Vec<Vec<u8>> {
        let arguments: Vec<&str> = ["--target", "h:1"].iter().chain(arguments).copied().collect();
        let mut composer = Composer::new(&LoadOptions::from_arguments(&arguments).unwrap(), 0, 1).unwrap();
        let mut made = Vec::new();
        for sequence in 0..count {
            let mut out = Vec::new();
            composer.append(&mut out, sequence as u32 + 1);
            made.push(out);
        }
        made
    }

    #[test]
    fn destinations_count_up_and_wrap() {
        let made = composed(&["--destination-prefix", "44", "--destination-digits", "3"], 11);
        let dest = |at: usize| ShortMessage::decode(&made[at]).unwrap().dest.addr;
        assert_eq!((dest(0), dest(1), dest(9), dest(10)), (&b"440"[..], &b"441"[..], &b"449"[..], &b"440"[..]));
    }

    #[test]
    fn the_sequence_number_is_patched() {
        let made = composed(&[], 2);
        assert_eq!(smpp_pdu::Header::read(&made[1]).unwrap().sequence_number, 2);
        assert_eq!(ShortMessage::decode(&made[1]).unwrap().short_message.len(), 60);
    }

    #[test]
    fn a_long_body_goes_as_message_payload() {
        let made = composed(&["--body", "255"], 1);
        let message = ShortMessage::decode(&made[0]).unwrap();
        assert!(message.short_message.is_empty());
        assert_eq!(message.text().len(), 255);
    }

    #[test]
    fn text_is_coded_as_data_coding_says() {
        let made = composed(&["--text", "Grüße", "--data-coding", "3"], 1);
        assert_eq!(ShortMessage::decode(&made[0]).unwrap().short_message, b"Gr\xFC\xDFe");
        let made = composed(&["--text", "да", "--data-coding", "8"], 1);
        assert_eq!(ShortMessage::decode(&made[0]).unwrap().short_message, [4, 0x34, 4, 0x30]);
        let options = LoadOptions::from_arguments(&["--target", "h:1", "--text", "да"]).unwrap();
        assert!(Composer::new(&options, 0, 1).is_err());
    }
}
