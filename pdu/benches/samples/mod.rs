//! The PDUs that the codec is measured with, shared by the benchmark and the instruction count.

#![allow(dead_code, reason = "each of the two programs uses what it measures")]

use smpp_pdu::{Address, CommandId, CommandStatus, Encoder, ShortMessage, Tag, Tlvs, encode};

/// A receipt in the specification's form.
pub(crate) const RECEIPT: &[u8] = b"id:018f4e2a-7c3b-7def-8123-456789abcdef sub:001 dlvrd:001 submit date:2611201744 \
    done date:2611201745 stat:DELIVRD err:000 text:Your code is 123456.";

/// Octets of text in the submit_sm.
const TEXT: &[u8] = b"Your code is 123456. It is valid for ten minutes, don't share it";

/// A submit_sm with every mandatory field of a usual size, 60 octets of text and two TLVs.
pub(crate) fn submit_sm() -> Vec<u8> {
    let mut tlvs = Vec::new();
    tlvs.extend_from_slice(&[0x02, 0x04, 0x00, 0x02, 0x12, 0x34]);
    tlvs.extend_from_slice(&[0x14, 0x00, 0x00, 0x0A, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x30]);
    let message = ShortMessage {
        source: Address { ton: 5, npi: 0, addr: b"Example" },
        dest: Address { ton: 1, npi: 1, addr: b"447700900123" },
        registered_delivery: 1,
        short_message: &TEXT[..60],
        tlvs: Tlvs::new(&tlvs),
        ..ShortMessage::default()
    };
    let mut out = Vec::new();
    encode::short_message(&mut out, CommandId::SUBMIT_SM, 7, &message);
    out
}

/// A submit_sm_resp with a UUID for its message_id.
pub(crate) fn submit_sm_resp() -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out, CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_ROK, 7)
        .c_octets(b"018f4e2a-7c3b-7def-8123-456789abcdef", 64)
        .finish();
    out
}

/// What a relay looks at in a submit_sm: header, every mandatory field, and both TLVs.
#[inline]
pub(crate) fn decode_submit_sm(bytes: &[u8]) -> usize {
    let smpp_pdu::Deframed::Pdu { header, pdu } = smpp_pdu::deframe(bytes, 65_536) else { return 0 };
    let Ok(message) = ShortMessage::decode(pdu) else { return 0 };
    let message = core::hint::black_box(&message);
    let mut sum = header.sequence_number as usize + message.short_message.len();
    for tlv in message.tlvs {
        sum += usize::from(tlv.tag.0) + tlv.value.len() + usize::from(tlv.tag == Tag::MESSAGE_PAYLOAD);
    }
    sum
}
