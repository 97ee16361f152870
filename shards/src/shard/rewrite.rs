//! PDUs that cannot be passed on octet for octet: submits for vendors with ways of their own, receipts in our words.

use core::ops::Range;

use smpp_pdu::concat::{Part, UserDataHeader};
use smpp_pdu::encode::Encoder;
use smpp_pdu::frame::HEADER_LENGTH;
use smpp_pdu::id::IdText;
use smpp_pdu::message::{
    ADDRESS_MAX, ESM_RECEIPT, ESM_UDHI, REGISTERED_RECEIPT_MASK, SERVICE_TYPE_MAX, SHORT_MESSAGE_MAX, TIME_LENGTH,
};
use smpp_pdu::receipt::{MessageState, Receipt, ReceiptText};
use smpp_pdu::{Address, CommandId, CommandStatus, ShortMessage, Tag};

use super::parts::Pieces;
use crate::receipts::Awaited;
use crate::settings::LongMessages;
use crate::snapshot::Vendor;
use crate::time::Now;
use crate::wire::Carried;

/// The address that stands for the customer's own, with the type of number that its form says; what is neither a number nor a
/// name keeps the customer's.
fn forced_address<'a>(forced: &'a str, own: Address<'_>) -> Address<'a> {
    Address::of_number(forced).or_else(|| Address::of_name(forced)).unwrap_or(Address {
        ton: own.ton,
        npi: own.npi,
        addr: forced.as_bytes(),
    })
}

/// Writes the customer's submit_sm, or that part of it (from 0), as this vendor wants it, and tells how many parts there are;
/// `reference` is what they have in common. sequence_number is filled in by the caller.
pub(super) fn submit_sm(
    out: &mut Vec<u8>,
    pdu: &[u8],
    vendor: &Vendor,
    forced_source: Option<&str>,
    part: u8,
    reference: u16,
) -> u8 {
    // It was decoded when it came in.
    let Ok(message) = ShortMessage::decode(pdu) else {
        out.extend_from_slice(pdu);
        return 1;
    };
    let settings = &vendor.settings;
    let source = forced_source.map_or(message.source, |forced| forced_address(forced, message.source));
    let source = Address {
        ton: settings.source_ton.unwrap_or(source.ton),
        npi: settings.source_npi.unwrap_or(source.npi),
        addr: source.addr,
    };
    let dest = Address {
        ton: settings.dest_ton.unwrap_or(message.dest.ton),
        npi: settings.dest_npi.unwrap_or(message.dest.npi),
        addr: message.dest.addr,
    };
    let service_type = settings.service_type.as_deref().map_or(message.service_type, str::as_bytes);
    let data_coding = match (message.data_coding, settings.default_data_coding) {
        (0, Some(coding)) => coding,
        (coding, _) => coding,
    };
    let mut registered = vendor.registered_delivery(message.registered_delivery);
    let has_tlvs = takes_tlvs(vendor);
    let mut parts = 1;
    let mut form = match Pieces::of(&message, vendor) {
        Some(pieces) => {
            parts = pieces.count();
            Form::of_piece(&message, &pieces, part, reference)
        }
        None => Form::of(&message, long_messages(vendor)),
    };
    let text_most = if settings.interface_version >= VERSION_5 { usize::from(u8::MAX) } else { SHORT_MESSAGE_MAX };
    if has_tlvs && form.header.len() + form.text.len() > text_most {
        form = Form::of(&message, LongMessages::MessagePayload);
    }
    if part + 1 < parts {
        // The last part's receipt is the message's.
        registered &= !REGISTERED_RECEIPT_MASK;
    }
    if !has_tlvs && form.text.is_empty() {
        let text = message.text();
        form.text = &text[..text.len().min(SHORT_MESSAGE_MAX - form.header.len())];
    }
    let pdu = Encoder::new(out, CommandId::SUBMIT_SM, CommandStatus::ESME_ROK, 0)
        .c_octets(service_type, SERVICE_TYPE_MAX)
        .address(source, ADDRESS_MAX)
        .address(dest, ADDRESS_MAX)
        .u8(form.esm_class)
        .u8(message.protocol_id)
        .u8(message.priority_flag)
        .c_octets(message.schedule_delivery_time, TIME_LENGTH)
        .c_octets(message.validity_period, TIME_LENGTH)
        .u8(registered)
        .u8(message.replace_if_present_flag)
        .u8(data_coding)
        .u8(message.sm_default_msg_id)
        .u8((form.header.len() + form.text.len()) as u8)
        .octets(&form.header)
        .octets(form.text);
    if !has_tlvs {
        pdu.finish();
        return parts;
    }
    let mut pdu = pdu;
    let takes_version_5 = settings.interface_version >= VERSION_5;
    // Beside a text it is empty.
    let drops_payload = form.drops_payload || !message.short_message.is_empty();
    for tlv in message.tlvs.into_iter().filter(|tlv| takes_version_5 || !tlv.tag.is_version_5()) {
        if !(form.drops_sar && is_sar(tlv.tag) || drops_payload && tlv.tag == Tag::MESSAGE_PAYLOAD) {
            pdu = pdu.tlv(tlv.tag, tlv.value);
        }
    }
    if let Some(part) = form.sar {
        pdu = part.write_sar(pdu);
    }
    if let Some(payload) = form.payload {
        pdu = pdu.tlv(Tag::MESSAGE_PAYLOAD, payload);
    }
    pdu.finish();
    parts
}

/// Whether this vendor can be given the message at all: a text can be cut into so many parts and no more, and one of version
/// 3.3 has no message_payload, so that what stands there and cannot be cut must fit into short_message.
pub(super) fn can_carry(pdu: &[u8], vendor: &Vendor) -> bool {
    if !vendor.rewrites || matches!(long_messages(vendor), LongMessages::AsSent | LongMessages::MessagePayload) {
        return true;
    }
    ShortMessage::decode(pdu).is_ok_and(|message| {
        if let Some(pieces) = Pieces::of(&message, vendor) {
            return pieces.fit();
        }
        if takes_tlvs(vendor) {
            return true;
        }
        let has_sar = message.tlvs.find(Tag::SAR_MSG_REF_NUM).is_some();
        message.text().len() + if has_sar { SAR_HEADER_LENGTH } else { 0 } <= SHORT_MESSAGE_MAX
    })
}

/// The interface_version from which on a peer is given the TLVs of SMPP 5.0.
pub(super) const VERSION_5: u8 = 0x50;

/// Octets of the longest user data header that replaces sar TLVs (a 16-bit reference).
const SAR_HEADER_LENGTH: usize = 7;

/// Whether the vendor's version knows TLVs.
pub(super) fn takes_tlvs(vendor: &Vendor) -> bool {
    vendor.settings.interface_version > 0x33
}

/// The form in which the vendor gets long messages. No TLV goes to a peer of version 3.3: parts are told by a header, and the
/// text stands in short_message.
pub(super) fn long_messages(vendor: &Vendor) -> LongMessages {
    if takes_tlvs(vendor) { vendor.settings.long_messages } else { LongMessages::Udh }
}

/// How the text of one part goes to a vendor.
struct Form<'a> {
    esm_class: u8,
    header: Vec<u8>,
    text: &'a [u8],
    drops_sar: bool,
    drops_payload: bool,
    sar: Option<Part>,
    payload: Option<&'a [u8]>,
}

impl<'a> Form<'a> {
    /// A piece of what the customer put into message_payload, in short_message.
    fn of_piece(message: &ShortMessage<'a>, pieces: &Pieces<'a>, part: u8, reference: u16) -> Self {
        let mut form = Self {
            esm_class: message.esm_class,
            header: Vec::new(),
            text: pieces.piece(part),
            drops_sar: false,
            drops_payload: true,
            sar: None,
            payload: None,
        };
        let total = pieces.count();
        if total > 1 {
            let part = Part { reference: pieces.reference(reference), total, number: part + 1 };
            if pieces.are_told_by_header() {
                form.header.reserve_exact(part.reference.header_length());
                part.write_header(&mut form.header);
                form.esm_class |= ESM_UDHI;
            } else {
                form.sar = Some(part);
            }
        }
        form
    }

    /// The form the vendor wants. What cannot be brought into it (a header with other elements) goes as the customer sent
    /// it.
    fn of(message: &ShortMessage<'a>, wanted: LongMessages) -> Self {
        let as_sent = Self {
            esm_class: message.esm_class,
            header: Vec::new(),
            text: message.short_message,
            drops_sar: false,
            drops_payload: false,
            sar: None,
            payload: None,
        };
        let has_header = message.esm_class & ESM_UDHI != 0;
        match wanted {
            LongMessages::AsSent => as_sent,
            LongMessages::Udh => match Part::of_sar(message.tlvs) {
                Ok(Some(part)) if part.reference.header_length() + message.short_message.len() <= SHORT_MESSAGE_MAX => {
                    let mut header = Vec::with_capacity(part.reference.header_length());
                    part.write_header(&mut header);
                    Self { esm_class: message.esm_class | ESM_UDHI, header, drops_sar: true, ..as_sent }
                }
                _ => as_sent,
            },
            LongMessages::Sar if has_header => match UserDataHeader::split(message.short_message) {
                Ok((header, text)) if header.elements().count() == 1 => match header.part() {
                    Ok(Some(part)) => {
                        Self { esm_class: message.esm_class & !ESM_UDHI, text, sar: Some(part), ..as_sent }
                    }
                    _ => as_sent,
                },
                _ => as_sent,
            },
            LongMessages::Sar => as_sent,
            LongMessages::MessagePayload if message.short_message.is_empty() => as_sent,
            LongMessages::MessagePayload => Self { text: &[], payload: Some(message.short_message), ..as_sent },
        }
    }
}

fn is_sar(tag: Tag) -> bool {
    matches!(tag, Tag::SAR_MSG_REF_NUM | Tag::SAR_TOTAL_SEGMENTS | Tag::SAR_SEGMENT_SEQNUM)
}

/// A receipt as its vendor gave it.
#[derive(Clone, Copy)]
pub(super) struct VendorReceipt<'a> {
    /// The whole deliver_sm.
    pub(super) pdu: &'a [u8],
    /// What was read of it.
    pub(super) message: &'a ShortMessage<'a>,
    /// And of its text.
    pub(super) receipt: &'a Receipt<'a>,
}

/// Writes a vendor's receipt as its customer shall see it: our id in the text and in receipted_message_id, the
/// addresses as the customer gave them; tells whether it has TLVs of SMPP 5.0. `text` is lent for the text.
#[inline]
pub(super) fn receipt(
    out: &mut Vec<u8>,
    text: &mut Vec<u8>,
    given: VendorReceipt<'_>,
    awaited: &Awaited,
    state: MessageState,
    now: Now,
) -> bool {
    let id = awaited.id.text(awaited.style);
    let message = given.message;
    let mut pdu = Encoder::new(out, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, 0);
    pdu = match given.receipt.id_range() {
        Some(id_at) if is_short(message.short_message, &id_at, &id) => with_our_id(pdu, given, id_at, awaited, &id),
        _ => in_our_words(pdu, text, given, awaited, &id, state, now),
    };
    let mut has_version_5 = false;
    for tlv in message.tlvs {
        has_version_5 |= tlv.tag.is_version_5();
        if !matches!(tlv.tag, Tag::RECEIPTED_MESSAGE_ID | Tag::MESSAGE_PAYLOAD | Tag::MESSAGE_STATE) {
            pdu = pdu.tlv(tlv.tag, tlv.value);
        }
    }
    pdu.c_octets_tlv(Tag::RECEIPTED_MESSAGE_ID, &id).tlv(Tag::MESSAGE_STATE, &[state.wire()]).finish();
    has_version_5
}

/// Whether the text stands in short_message, and still does with our id in place of the vendor's.
#[inline]
fn is_short(short_message: &[u8], id_at: &Range<usize>, id: &IdText) -> bool {
    !short_message.is_empty() && short_message.len() - id_at.len() + id.len() <= SHORT_MESSAGE_MAX
}

/// Nearly every receipt: the vendor's octets as they stand, with the customer's addresses, and our id for the vendor's.
#[inline(always)]
fn with_our_id<'b>(
    written: Encoder<'b>,
    given: VendorReceipt<'_>,
    id_at: Range<usize>,
    awaited: &Awaited,
    id: &IdText,
) -> Encoder<'b> {
    let VendorReceipt { pdu, message, .. } = given;
    let offsets = &message.offsets;
    let text_at = offsets.short_message - offsets.esm_class;
    let behind_addresses = &pdu[offsets.esm_class..offsets.tlvs];
    let length = message.short_message.len() - id_at.len() + id.len();
    written.octets(&pdu[HEADER_LENGTH..offsets.source]).written_by(|out| {
        awaited.dest.append(out);
        awaited.source.append(out);
        let start = out.len();
        out.extend_from_slice(&behind_addresses[..text_at + id_at.start]);
        out[start + text_at - 1] = length as u8;
        id.append(out);
        out.extend_from_slice(&behind_addresses[text_at + id_at.end..]);
    })
}

/// Any other receipt, field by field: one that names no id, whose text is in message_payload, or gets too long.
#[cold]
fn in_our_words<'b>(
    written: Encoder<'b>,
    text: &mut Vec<u8>,
    given: VendorReceipt<'_>,
    awaited: &Awaited,
    id: &IdText,
    state: MessageState,
    now: Now,
) -> Encoder<'b> {
    let VendorReceipt { message, receipt, .. } = given;
    text.clear();
    receipt_text(text, message.text(), receipt, id, awaited, state, now);
    text.truncate(SHORT_MESSAGE_MAX);
    // What the vendor says of its text does not hold for one of ours.
    let (esm_class, data_coding) = match receipt.id {
        Some(_) => (message.esm_class, message.data_coding),
        None => (message.esm_class & !ESM_UDHI, 0),
    };
    written
        .c_octets(message.service_type, SERVICE_TYPE_MAX)
        .address(awaited.dest.address(), ADDRESS_MAX)
        .address(awaited.source.address(), ADDRESS_MAX)
        .u8(esm_class)
        .u8(message.protocol_id)
        .u8(message.priority_flag)
        .c_octets(message.schedule_delivery_time, TIME_LENGTH)
        .c_octets(message.validity_period, TIME_LENGTH)
        .u8(message.registered_delivery)
        .u8(message.replace_if_present_flag)
        .u8(data_coding)
        .u8(message.sm_default_msg_id)
        .u8(text.len() as u8)
        .octets(text)
}

/// Writes a deliver_sm that has two texts with the one that counts.
pub(super) fn with_one_text(out: &mut Vec<u8>, pdu: &[u8], message: &ShortMessage<'_>) {
    let mut pdu = Encoder::new(out, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, 0)
        .octets(&pdu[HEADER_LENGTH..message.offsets.tlvs]);
    for tlv in message.tlvs.into_iter().filter(|tlv| tlv.tag != Tag::MESSAGE_PAYLOAD) {
        pdu = pdu.tlv(tlv.tag, tlv.value);
    }
    pdu.finish();
}

/// Writes a receipt of our own, for a message that failed after its customer was told that we have it.
pub(super) fn own_receipt(
    out: &mut Vec<u8>,
    text: &mut Vec<u8>,
    submit: &[u8],
    carried: &Carried,
    state: MessageState,
    status: CommandStatus,
    now: Now,
) {
    // It was decoded when it came in.
    let Ok(message) = ShortMessage::decode(submit) else { return };
    let id = carried.id.text(carried.style);
    let err = status.0.min(999);
    let digits = [b'0' + (err / 100) as u8, b'0' + (err / 10 % 10) as u8, b'0' + (err % 10) as u8];
    text.clear();
    ReceiptText {
        id: &id,
        sub: 1,
        dlvrd: 0,
        submit_date: carried.id.unix_ms(),
        done_date: now.unix_ms,
        state,
        err: &digits,
        text: b"",
    }
    .encode(text);
    Encoder::new(out, CommandId::DELIVER_SM, CommandStatus::ESME_ROK, 0)
        .c_octets(b"", SERVICE_TYPE_MAX)
        .address(message.dest, ADDRESS_MAX)
        .address(message.source, ADDRESS_MAX)
        .u8(ESM_RECEIPT)
        .u8(0)
        .u8(0)
        .c_octets(b"", TIME_LENGTH)
        .c_octets(b"", TIME_LENGTH)
        .u8(0)
        .u8(0)
        .u8(0)
        .u8(0)
        .u8(text.len() as u8)
        .octets(text)
        .c_octets_tlv(Tag::RECEIPTED_MESSAGE_ID, &id)
        .tlv(Tag::MESSAGE_STATE, &[state.wire()])
        .finish();
}

/// The vendor's text with our id in place of its own; where it names none, a text in the canonical form.
fn receipt_text(
    out: &mut Vec<u8>,
    text: &[u8],
    receipt: &Receipt<'_>,
    id: &[u8],
    awaited: &Awaited,
    state: MessageState,
    now: Now,
) {
    if let Some(range) = receipt.id_range() {
        out.extend_from_slice(&text[..range.start]);
        out.extend_from_slice(id);
        out.extend_from_slice(&text[range.end..]);
        return;
    }
    let delivered = u16::from(state == MessageState::Delivered);
    ReceiptText {
        id,
        sub: 1,
        dlvrd: delivered,
        submit_date: awaited.submitted_unix_ms,
        done_date: now.unix_ms,
        state,
        err: b"000",
        text: b"",
    }
    .encode(out);
}
