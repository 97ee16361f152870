//! What the SMSC sends by itself: receipts in the manners of different vendors, and messages.
//!
//! Made in the event loop without allocation: addresses and the front of the text are kept by value.

use smpp_pdu::command::CommandId;
use smpp_pdu::message::{Address, ESM_RECEIPT, ShortMessage};
use smpp_pdu::tlv::Tag;
use smpp_pdu::{CommandStatus, Encoder};

use super::options::{MessageIdFormat, ReceiptFormat, SmscOptions};
use crate::clock::{self, ReceiptDate};

const ADDRESS_BYTES: usize = 20;
const TEXT_BYTES: usize = 20;

/// An address kept by value.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    ton: u8,
    npi: u8,
    length: u8,
    octets: [u8; ADDRESS_BYTES],
}

impl Number {
    fn new(address: Address<'_>) -> Self {
        let mut octets = [0; ADDRESS_BYTES];
        let length = address.addr.len().min(ADDRESS_BYTES);
        octets[..length].copy_from_slice(&address.addr[..length]);
        Self { ton: address.ton, npi: address.npi, length: length as u8, octets }
    }

    fn address(&self) -> Address<'_> {
        Address { ton: self.ton, npi: self.npi, addr: &self.octets[..usize::from(self.length)] }
    }
}

/// One receipt or one mobile-originated message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    /// The message that a receipt is about; 0 for a message.
    id: u64,
    source: Number,
    dest: Number,
    text_length: u8,
    text: [u8; TEXT_BYTES],
    delivered: bool,
    /// When it was submitted.
    submitted: ReceiptDate,
    /// How often it has been sent.
    pub(super) tries: u8,
}

impl Delivery {
    /// The receipt of a message that was taken under `id`.
    pub(super) fn receipt(id: u64, message: &ShortMessage<'_>, delivered: bool, submitted: ReceiptDate) -> Self {
        let mut text = [0; TEXT_BYTES];
        let octets = message.text();
        let length = octets.len().min(TEXT_BYTES);
        text[..length].copy_from_slice(&octets[..length]);
        Self {
            id,
            source: Number::new(message.dest),
            dest: Number::new(message.source),
            text_length: length as u8,
            text,
            delivered,
            submitted,
            tries: 0,
        }
    }

    /// A mobile-originated message, with the addresses and the text of the options.
    pub(super) fn message(options: &SmscOptions) -> Self {
        let number = |text: &str| Number::new(Address { ton: 1, npi: 1, addr: text.as_bytes() });
        Self {
            id: 0,
            source: number(&options.mo_from),
            dest: number(&options.mo_to),
            text_length: 0,
            text: [0; TEXT_BYTES],
            delivered: true,
            submitted: ReceiptDate([b'0'; 12]),
            tries: 0,
        }
    }

    /// Whether this is a receipt.
    pub(super) fn is_receipt(&self) -> bool {
        self.id != 0
    }

    /// Appends the deliver_sm; a receipt says that it was done at `done`.
    pub(super) fn encode(&self, out: &mut Vec<u8>, sequence: u32, done: ReceiptDate, options: &SmscOptions) {
        if !self.is_receipt() {
            self.encode_message(out, sequence, options);
            return;
        }
        let id = self.receipt_id(options);
        let pdu = self.head(out, sequence, ESM_RECEIPT).u8(0).written_by(|out| {
            let start = out.len();
            if options.receipt_format != ReceiptFormat::TlvOnly {
                self.write_text(out, id.as_bytes(), done, options.receipt_format);
            }
            // With the longest id there are some 160.
            out[start - 1] = (out.len() - start) as u8;
        });
        if matches!(options.receipt_format, ReceiptFormat::Standard | ReceiptFormat::TlvOnly) {
            let state = if self.delivered { 2 } else { 5 };
            pdu.tlv(Tag::MESSAGE_STATE, &[state]).tlv(Tag::RECEIPTED_MESSAGE_ID, id.with_nul()).finish();
        } else {
            pdu.finish();
        }
    }

    fn encode_message(&self, out: &mut Vec<u8>, sequence: u32, options: &SmscOptions) {
        let text = options.mo_text.as_bytes();
        self.head(out, sequence, 0).u8(text.len() as u8).octets(text).finish();
    }

    /// Everything of a deliver_sm before sm_length.
    fn head<'b>(&self, out: &'b mut Vec<u8>, sequence: u32, esm_class: u8) -> Encoder<'b> {
        Encoder::new(out, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, sequence)
            .u8(0)
            .address(self.source.address(), ADDRESS_BYTES)
            .address(self.dest.address(), ADDRESS_BYTES)
            .octets(&[esm_class, 0, 0, 0, 0, 0, 0, 0, 0])
    }

    /// The message id as this vendor writes it in receipts.
    fn receipt_id(&self, options: &SmscOptions) -> Text {
        let mut id = Text::default();
        match options.receipt_format {
            ReceiptFormat::HexInRespDecimalInReceipt => write_id(&mut id, self.id, MessageIdFormat::Decimal),
            ReceiptFormat::LeadingZeros => {
                id.push(b"0000");
                write_id(&mut id, self.id, options.message_id_format);
            }
            ReceiptFormat::OddCase => {
                write_id(&mut id, self.id, options.message_id_format);
                id.octets[..id.length].make_ascii_uppercase();
            }
            _ => write_id(&mut id, self.id, options.message_id_format),
        }
        id
    }

    fn write_text(&self, out: &mut Vec<u8>, id: &[u8], done: ReceiptDate, format: ReceiptFormat) {
        let (delivered, state) = match self.delivered {
            true => (b" sub:001 dlvrd:001", b" stat:DELIVRD err:000"),
            false => (b" sub:001 dlvrd:000", b" stat:UNDELIV err:001"),
        };
        out.extend_from_slice(b"id:");
        out.extend_from_slice(id);
        if format != ReceiptFormat::NoSub {
            out.extend_from_slice(delivered);
        }
        out.extend_from_slice(b" submit date:");
        write_date(out, &self.submitted, format);
        out.extend_from_slice(b" done date:");
        write_date(out, &done, format);
        out.extend_from_slice(state);
        if format != ReceiptFormat::NoSub {
            out.extend_from_slice(b" text:");
            out.extend_from_slice(&self.text[..usize::from(self.text_length)]);
        }
    }
}

fn write_date(out: &mut Vec<u8>, date: &ReceiptDate, format: ReceiptFormat) {
    match format {
        ReceiptFormat::ShortDates => out.extend_from_slice(date.minutes()),
        _ => out.extend_from_slice(&date.0),
    }
}

/// The id that submit_sm_resp tells.
pub(super) fn answer_id(id: u64, options: &SmscOptions) -> Text {
    let mut text = Text::default();
    let format = match options.receipt_format {
        ReceiptFormat::HexInRespDecimalInReceipt => MessageIdFormat::Hex,
        _ => options.message_id_format,
    };
    write_id(&mut text, id, format);
    text
}

/// The first message id of a process: ids go up from here and do not come again after a restart, as long as
/// fewer than four million a second were used.
pub(super) fn first_id() -> u64 {
    clock::unix_seconds() << 22
}

/// Octets of an id, and of its NUL: a UUID behind four zeros.
const ID_BYTES: usize = 41;

/// An id by value; what does not fit is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    octets: [u8; ID_BYTES],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { octets: [0; ID_BYTES], length: 0 }
    }
}

impl Text {
    /// The text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    /// The text and a NUL. (What is written here is always shorter than the room.)
    fn with_nul(&self) -> &[u8] {
        &self.octets[..(self.length + 1).min(self.octets.len())]
    }

    #[inline(always)]
    fn push(&mut self, octets: &[u8]) {
        let count = octets.len().min(self.octets.len() - 1 - self.length);
        self.octets[self.length..self.length + count].copy_from_slice(&octets[..count]);
        self.length += count;
    }
}

fn write_id(text: &mut Text, id: u64, format: MessageIdFormat) {
    match format {
        MessageIdFormat::Hex => text.push(&digits::<14>(id, 16)),
        MessageIdFormat::Decimal => text.push(&digits::<16>(id, 10)),
        MessageIdFormat::Uuid => {
            let spread = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let (high, low) = (digits::<16>(id, 16), digits::<16>(spread, 16));
            text.push(&high[..8]);
            text.push(b"-");
            text.push(&high[8..12]);
            text.push(b"-4");
            text.push(&high[13..]);
            text.push(b"-8");
            text.push(&high[12..13]);
            text.push(&low[..2]);
            text.push(b"-");
            text.push(&low[2..14]);
        }
    }
}

/// The last `N` digits of a number.
fn digits<const N: usize>(mut number: u64, base: u64) -> [u8; N] {
    let mut out = [b'0'; N];
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number % base) as usize];
        number /= base;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> SmscOptions {
        let arguments: Vec<&str> = ["--listen", "h:0"].iter().chain(arguments).copied().collect();
        SmscOptions::from_arguments(&arguments).unwrap()
    }

    fn receipt(format: &str) -> (Vec<u8>, String) {
        let options = options(&["--receipt-format", format]);
        let mut submit = Vec::new();
        Encoder::new(&mut submit, CommandId::SUBMIT_SM, CommandStatus::ESME_ROK, 1)
            .octets(&[0, 1, 1, b'1', 0, 1, 1, b'2', 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
            .u8(2)
            .octets(b"hi")
            .finish();
        let submitted = ReceiptDate::at(1_735_689_599);
        let delivery = Delivery::receipt(0x4F_2A00, &ShortMessage::decode(&submit).unwrap(), true, submitted);
        let mut out = Vec::new();
        delivery.encode(&mut out, 5, submitted, &options);
        let text = String::from_utf8(ShortMessage::decode(&out).unwrap().short_message.to_vec()).unwrap();
        (out, text)
    }

    #[test]
    fn the_standard_receipt_is_that_of_the_specification() {
        let (pdu, text) = receipt("standard");
        let message = ShortMessage::decode(&pdu).unwrap();
        assert!(message.is_receipt());
        assert_eq!((message.source.addr, message.dest.addr), (&b"2"[..], &b"1"[..]));
        assert_eq!(message.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).unwrap().c_octets(), b"000000004f2a00");
        assert!(text.starts_with("id:000000004f2a00 sub:001 dlvrd:001 submit date:241231235959 done date:"), "{text}");
        assert!(text.ends_with(" stat:DELIVRD err:000 text:hi"), "{text}");
    }

    #[test]
    fn each_format_differs_as_it_says() {
        assert!(!receipt("no-sub").1.contains("sub:"));
        assert!(receipt("short-dates").1.contains("submit date:2412312359 done"));
        assert!(receipt("hex-in-resp-decimal-in-receipt").1.starts_with("id:0000000005188096 "));
        assert!(receipt("tlv-only").1.is_empty());
        assert!(ShortMessage::decode(&receipt("text-only").0).unwrap().tlvs.as_bytes().is_empty());
        assert!(receipt("odd-case").1.starts_with("id:000000004F2A00 "));
        assert!(receipt("leading-zeros").1.starts_with("id:0000000000004f2a00 "));
    }

    #[test]
    fn ids_have_the_length_that_they_should() {
        let id = |format: &str| answer_id(first_id(), &options(&["--message-id-format", format])).as_bytes().len();
        assert_eq!((id("hex"), id("decimal"), id("uuid")), (14, 16, 36));
    }

    #[test]
    fn neighbouring_ids_make_different_uuids() {
        let options = options(&["--message-id-format", "uuid"]);
        let text = |id| answer_id(id, &options).as_bytes().to_vec();
        let made: std::collections::HashSet<_> = (0..1000).map(|step| text(first_id() + step)).collect();
        assert_eq!(made.len(), 1000);
    }
}
