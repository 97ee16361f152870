//! Messages to send, with nothing special about them.

use smpp_pdu::message::ESM_RECEIPT;
use smpp_pdu::{Address, CommandId, ShortMessage, encode};

/// Every field empty or zero.
fn blank() -> ShortMessage<'static> {
    static EMPTY: [u8; 33] = [0; 33];
    ShortMessage::decode(&EMPTY).unwrap()
}

/// A message from `ACME` to a number.
pub(crate) fn message(text: &[u8]) -> ShortMessage<'_> {
    ShortMessage {
        source: Address { ton: 5, npi: 0, addr: b"ACME" },
        dest: Address { ton: 1, npi: 1, addr: b"15551234567" },
        short_message: text,
        ..blank()
    }
}

/// The same to that number.
pub(crate) fn to(addr: &[u8]) -> ShortMessage<'_> {
    ShortMessage { dest: Address { ton: 1, npi: 1, addr }, ..message(b"hello") }
}

/// A receipt with that text, as a vendor sends it.
pub(crate) fn receipt(text: &[u8]) -> ShortMessage<'_> {
    ShortMessage {
        source: Address { ton: 1, npi: 1, addr: b"15551234567" },
        dest: Address { ton: 5, npi: 0, addr: b"ACME" },
        esm_class: ESM_RECEIPT,
        short_message: text,
        ..blank()
    }
}

pub(crate) fn submit_sm(sequence: u32, message: &ShortMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::short_message(&mut out, CommandId::SUBMIT_SM, sequence, message);
    out
}

pub(crate) fn deliver_sm(sequence: u32, message: &ShortMessage<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    encode::short_message(&mut out, CommandId::DELIVER_SM, sequence, message);
    out
}
