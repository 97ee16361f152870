//! submit_sm and deliver_sm, which share one body (SMPP 3.4 sections 4.4.1 and 4.6.1), and their responses.

use crate::cursor::{DecodeError, Reader};
use crate::frame::HEADER_LENGTH;
use crate::scan::find_nul;
use crate::tlv::{Tag, Tlvs};

/// Octets of service_type at the most, its NUL not counted.
pub const SERVICE_TYPE_MAX: usize = 5;
/// Octets of an address in submit_sm and deliver_sm at the most, its NUL not counted.
pub const ADDRESS_MAX: usize = 20;
/// Octets of a message_id at the most, its NUL not counted.
pub const MESSAGE_ID_MAX: usize = 64;
/// Characters of an SMPP time (section 7.1.1), its NUL not counted.
pub const TIME_LENGTH: usize = 16;
/// Octets of short_message in SMPP 3.4 at the most.
pub const SHORT_MESSAGE_MAX: usize = 254;
/// Digits of a number at the most (E.164).
pub const DIGITS_MAX: usize = 15;
/// Digits of a short code at the most; more are a number of the international plan.
pub const SHORT_CODE_DIGITS_MAX: usize = 6;
/// Characters of an alphanumeric sender at the most (GSM 03.40 section 9.1.2.5).
pub const ALPHANUMERIC_MAX: usize = 11;

/// An address with its type of number and numbering plan (sections 5.2.5 to 5.2.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Address<'a> {
    /// Type of number: 0 unknown, 1 international, 2 national, 3 network, 4 subscriber, 5 alphanumeric, 6 abbreviated.
    pub ton: u8,
    /// Numbering plan: 0 unknown, 1 ISDN (E.163/E.164), …
    pub npi: u8,
    /// The octets without NUL.
    pub addr: &'a [u8],
}

impl<'a> Address<'a> {
    /// Type of number, numbering plan, and an address of at most `max` octets with its NUL.
    #[inline]
    pub(crate) fn read(reader: &mut Reader<'a>, max: usize, long: DecodeError) -> Result<Self, DecodeError> {
        let [ton, npi] = reader.array()?;
        Ok(Self { ton, npi, addr: reader.c_octets(max, long)? })
    }

    /// The number that is written so, with the type of number that its form says: up to 15 digits are one of the international
    /// plan (1/1), up to six without a leading `+` a short code (3/0). The `+` is not part of the address. Nothing for what is
    /// no number.
    pub fn of_number(text: &'a str) -> Option<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let is_number = (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|octet| octet.is_ascii_digit());
        let is_short = digits.len() <= SHORT_CODE_DIGITS_MAX && !text.starts_with('+');
        let (ton, npi) = if is_short { (3, 0) } else { (1, 1) };
        is_number.then_some(Self { ton, npi, addr: digits.as_bytes() })
    }

    /// The alphanumeric sender of that name (5/0): up to eleven printable characters, a letter among them. Nothing for what is
    /// no name.
    pub fn of_name(text: &'a str) -> Option<Self> {
        let is_name = text.len() <= ALPHANUMERIC_MAX
            && text.bytes().all(|octet| octet.is_ascii_graphic() || octet == b' ')
            && text.bytes().any(|octet| octet.is_ascii_alphabetic());
        is_name.then_some(Self { ton: 5, npi: 0, addr: text.as_bytes() })
    }
}

/// Where in the PDU the fields stand that a relay patches in place; offsets from the PDU's first octet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offsets {
    /// source_addr_ton; source_addr_npi and source_addr follow.
    pub source: usize,
    /// dest_addr_ton; dest_addr_npi and destination_addr follow.
    pub dest: usize,
    /// esm_class; protocol_id and priority_flag follow, then schedule_delivery_time.
    pub esm_class: usize,
    /// registered_delivery; replace_if_present_flag, data_coding, sm_default_msg_id and sm_length follow.
    pub registered_delivery: usize,
    /// short_message.
    pub short_message: usize,
    /// The optional part.
    pub tlvs: usize,
}

/// A submit_sm or deliver_sm, borrowed from the PDU it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ShortMessage<'a> {
    /// At most 5 octets (section 5.2.11).
    pub service_type: &'a [u8],
    /// Who sends.
    pub source: Address<'a>,
    /// To whom.
    pub dest: Address<'a>,
    /// Mode, type and features (section 5.2.12); see the `ESM_` constants.
    pub esm_class: u8,
    /// Section 5.2.13.
    pub protocol_id: u8,
    /// 0 (lowest) to 3 (section 5.2.14).
    pub priority_flag: u8,
    /// Empty: at once; else 16 characters (section 7.1.1).
    pub schedule_delivery_time: &'a [u8],
    /// Empty: the SMSC's default; else 16 characters (section 7.1.1).
    pub validity_period: &'a [u8],
    /// Which receipts are asked for (section 5.2.17); see the `REGISTERED_` constants.
    pub registered_delivery: u8,
    /// Section 5.2.18.
    pub replace_if_present_flag: u8,
    /// How short_message is coded (section 5.2.19); 0 is the peer's default alphabet.
    pub data_coding: u8,
    /// Section 5.2.20.
    pub sm_default_msg_id: u8,
    /// Up to 255 octets are taken; empty where message_payload carries the text.
    pub short_message: &'a [u8],
    /// The optional part, unread.
    pub tlvs: Tlvs<'a>,
    /// Where the fields stand, for patching.
    pub offsets: Offsets,
}

/// esm_class, message type bits 5-2: an SMSC delivery receipt.
pub const ESM_RECEIPT: u8 = 0x04;
/// esm_class in deliver_sm: an intermediate delivery notification.
pub const ESM_INTERMEDIATE: u8 = 0x20;
/// The message type bits of esm_class.
pub const ESM_TYPE_MASK: u8 = 0x3C;
/// esm_class: short_message starts with a user data header (UDHI).
pub const ESM_UDHI: u8 = 0x40;
/// esm_class: reply path.
pub const ESM_REPLY_PATH: u8 = 0x80;
/// esm_class, messaging mode bits 1-0.
pub const ESM_MODE_MASK: u8 = 0x03;

/// registered_delivery, the two receipt bits: 0 none, 1 success and failure, 2 failure, 3 success (5.0).
pub const REGISTERED_RECEIPT_MASK: u8 = 0x03;
/// registered_delivery: intermediate notification asked for.
pub const REGISTERED_INTERMEDIATE: u8 = 0x10;

/// Whether registered_delivery asks for the receipt of a final state: 1 of any, 2 of failures, 3 (SMPP 5.0) of
/// deliveries, 0 of none.
#[inline]
pub const fn wants_receipt(registered_delivery: u8, delivered: bool) -> bool {
    match registered_delivery & REGISTERED_RECEIPT_MASK {
        1 => true,
        2 => !delivered,
        3 => delivered,
        _ => false,
    }
}

impl<'a> ShortMessage<'a> {
    /// Reads a whole submit_sm or deliver_sm, header included.
    ///
    /// # Errors
    /// The field that is wrong. Stray octets behind the body and broken TLVs are no error.
    #[inline]
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let service_type = reader.c_octets(SERVICE_TYPE_MAX, DecodeError::ServiceType)?;
        let mut message = Self { service_type, ..Self::default() };
        message.offsets.source = HEADER_LENGTH + reader.position();
        message.source = Address::read(&mut reader, ADDRESS_MAX, DecodeError::SourceAddr)?;
        message.offsets.dest = HEADER_LENGTH + reader.position();
        message.dest = Address::read(&mut reader, ADDRESS_MAX, DecodeError::DestAddr)?;
        message.read_behind_dest(&mut reader)?;
        Ok(message)
    }

    /// Reads what submit_sm, deliver_sm and submit_multi share: all from esm_class on.
    #[inline(always)]
    pub(crate) fn read_behind_dest(&mut self, reader: &mut Reader<'a>) -> Result<(), DecodeError> {
        self.offsets.esm_class = HEADER_LENGTH + reader.position();
        [self.esm_class, self.protocol_id, self.priority_flag] = reader.array()?;
        self.schedule_delivery_time = read_time(reader, DecodeError::ScheduleDeliveryTime)?;
        self.validity_period = read_time(reader, DecodeError::ValidityPeriod)?;
        self.offsets.registered_delivery = HEADER_LENGTH + reader.position();
        let sm_length;
        [self.registered_delivery, self.replace_if_present_flag, self.data_coding, self.sm_default_msg_id, sm_length] =
            reader.array()?;
        self.offsets.short_message = HEADER_LENGTH + reader.position();
        self.short_message = reader.octets(usize::from(sm_length), DecodeError::MessageLength)?;
        self.offsets.tlvs = HEADER_LENGTH + reader.position();
        self.tlvs = Tlvs::new(reader.rest());
        Ok(())
    }

    /// The text wherever it stands: short_message, or message_payload when that is empty (section 5.3.2.32).
    #[inline]
    pub fn text(&self) -> &'a [u8] {
        if !self.short_message.is_empty() {
            return self.short_message;
        }
        self.tlvs.find(Tag::MESSAGE_PAYLOAD).map_or(self.short_message, |tlv| tlv.value)
    }

    /// Whether there is a short_message and a message_payload too, of which a message has one
    /// (section 5.3.2.32); [`ShortMessage::text`] is then the first.
    #[inline]
    pub fn has_two_texts(&self) -> bool {
        !self.short_message.is_empty() && self.tlvs.find(Tag::MESSAGE_PAYLOAD).is_some()
    }

    /// Whether peers before SMPP 5.0 may not know all of it: a TLV of that version, or a short_message of 255 octets.
    pub fn has_version_5(&self) -> bool {
        self.short_message.len() > SHORT_MESSAGE_MAX || self.tlvs.has_version_5()
    }

    /// Whether esm_class marks a delivery receipt or an intermediate notification (deliver_sm only).
    #[inline]
    pub const fn is_receipt(&self) -> bool {
        let kind = self.esm_class & ESM_TYPE_MASK;
        kind == ESM_RECEIPT || kind == ESM_INTERMEDIATE
    }
}

/// An SMPP time as a field: nothing, which is what nearly every message has, or 16 characters.
#[inline]
pub(crate) fn read_time<'a>(reader: &mut Reader<'a>, error: DecodeError) -> Result<&'a [u8], DecodeError> {
    let time = reader.c_octets(TIME_LENGTH, error)?;
    if time.is_empty() || time.len() == TIME_LENGTH { Ok(time) } else { Err(error) }
}

/// The message_id of a submit_sm_resp or deliver_sm_resp (sections 4.4.2 and 4.6.2) in whatever form it came:
/// with or without NUL, with TLVs behind it, or no body at all (empty then). A message_id of more than
/// 64 octets gives its first 64.
#[inline]
pub fn resp_message_id(pdu: &[u8]) -> &[u8] {
    let body = pdu.get(HEADER_LENGTH..).unwrap_or_default();
    let window = &body[..body.len().min(MESSAGE_ID_MAX)];
    match find_nul(window) {
        Some(end) => &window[..end],
        None => window,
    }
}

/// The body of submit_sm_resp, deliver_sm_resp and data_sm_resp (sections 4.4.2, 4.6.2 and 4.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MessageResp<'a> {
    /// The message's id; empty in deliver_sm_resp, and where the body was left out, as it is on refusals.
    pub message_id: &'a [u8],
    /// The optional part, unread: delivery_failure_reason and its like in data_sm_resp, anything in SMPP 5.0.
    pub tlvs: Tlvs<'a>,
}

impl<'a> MessageResp<'a> {
    /// Reads a whole response, header included. Never fails: the body is a message_id with or without its NUL,
    /// TLVs behind it or not, a lone NUL, or nothing. It is not guessed whether a body without a message_id
    /// begins with a TLV at once. Of a message_id of more than 64 octets the first 64 are taken, and no TLVs.
    pub fn decode(pdu: &'a [u8]) -> Self {
        let mut reader = Reader::of_body(pdu);
        match reader.c_octets_lenient(MESSAGE_ID_MAX, DecodeError::MessageId) {
            Ok(message_id) => Self { message_id, tlvs: Tlvs::new(reader.rest()) },
            Err(_) => Self { message_id: &reader.rest()[..MESSAGE_ID_MAX], tlvs: Tlvs::default() },
        }
    }
}
