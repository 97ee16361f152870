//! The byte stream of one connection: whole PDUs are handled where they lie in the host's buffer; only a PDU cut in two
//! is put together here.

use smpp_pdu::frame::{Deframed, HEADER_LENGTH, Header, deframe};

use crate::bounds::PDU_BYTES_MAX;

/// The beginning of a PDU whose end has not come yet. Empty most of the time.
#[derive(Debug, Default)]
pub struct PartialPdu {
    bytes: Vec<u8>,
}

/// What [`PartialPdu::next`] found at the front of the bytes that came.
#[derive(Debug)]
pub enum Next<'a> {
    /// A whole PDU.
    Pdu(Header, &'a [u8]),
    /// Everything is used up; what is left of a PDU has been kept.
    Drained,
    /// The framing is lost.
    Fatal {
        /// What command_length said.
        command_length: u32,
        /// For the generic_nack.
        sequence_number: u32,
    },
}

impl PartialPdu {
    /// Gives away what is kept, for a connection that moves to another shard.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What is kept.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps `bytes` for later without looking at them.
    pub fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next PDU, from what was kept and then from `bytes`, which shrinks from the front. A PDU that was cut in
    /// two is put together in `whole`, which the caller lends and uses again.
    #[inline(always)]
    pub fn next<'a, 'b: 'a>(&mut self, bytes: &mut &'b [u8], whole: &'a mut Vec<u8>) -> Next<'a> {
        if !self.bytes.is_empty() {
            return self.next_from_kept(bytes, whole);
        }
        match deframe(bytes, PDU_BYTES_MAX) {
            Deframed::Pdu { header, pdu } => {
                *bytes = &bytes[pdu.len()..];
                Next::Pdu(header, pdu)
            }
            Deframed::NeedMore { .. } => {
                self.bytes.extend_from_slice(bytes);
                *bytes = &[];
                Next::Drained
            }
            Deframed::Fatal { command_length, sequence_number } => Next::Fatal { command_length, sequence_number },
        }
    }

    /// Tops the kept beginning up, header first: only as many octets are copied as the PDU needs.
    #[cold]
    fn next_from_kept<'a>(&mut self, bytes: &mut &[u8], whole: &'a mut Vec<u8>) -> Next<'a> {
        loop {
            match deframe(&self.bytes, PDU_BYTES_MAX) {
                Deframed::Pdu { header, pdu } => {
                    let length = pdu.len();
                    whole.clear();
                    whole.extend_from_slice(&self.bytes[..length]);
                    self.bytes.drain(..length);
                    if self.bytes.is_empty() && self.bytes.capacity() > 4 * HEADER_LENGTH * HEADER_LENGTH {
                        self.bytes = Vec::new();
                    }
                    return Next::Pdu(header, whole);
                }
                Deframed::NeedMore { .. } if bytes.is_empty() => return Next::Drained,
                Deframed::NeedMore { missing } => {
                    let taken = missing.min(bytes.len());
                    self.bytes.extend_from_slice(&bytes[..taken]);
                    *bytes = &bytes[taken..];
                }
                Deframed::Fatal { command_length, sequence_number } => {
                    return Next::Fatal { command_length, sequence_number };
                }
            }
        }
    }
}
