//! The PDU header (SMPP 3.4 section 3.2) and cutting PDUs out of a byte stream.

use crate::command::CommandId;
use crate::status::CommandStatus;

/// Octets of a PDU header.
pub const HEADER_LENGTH: usize = 16;

/// Where sequence_number stands in a PDU.
pub const SEQUENCE_OFFSET: usize = 12;

/// The largest sequence_number that we send (section 3.2); peers' values are echoed whatever they are.
pub const SEQUENCE_MAX: u32 = 0x7FFF_FFFF;

/// The four header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Octets of the whole PDU, this field included.
    pub command_length: u32,
    /// Which operation.
    pub command_id: CommandId,
    /// 0 in requests; the outcome in responses.
    pub command_status: CommandStatus,
    /// Ties a response to its request; each direction counts for itself.
    pub sequence_number: u32,
}

impl Header {
    /// Reads the first 16 octets of `bytes`; `None` when there are fewer. Nothing is checked.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_LENGTH] = bytes.first_chunk()?;
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Header {
            command_length: word(0),
            command_id: CommandId(word(4)),
            command_status: CommandStatus(word(8)),
            sequence_number: word(SEQUENCE_OFFSET),
        })
    }
}

/// What stands at the front of a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deframed<'a> {
    /// A whole PDU; `pdu` holds all `header.command_length` octets, the header first.
    Pdu {
        /// Its header, decoded.
        header: Header,
        /// Header and body.
        pdu: &'a [u8],
    },
    /// The stream ends inside a PDU. `missing` octets more are needed before another look can bring more
    /// (the whole PDU when its length is known, the rest of the header when it is not).
    NeedMore {
        /// How many octets are needed at least.
        missing: usize,
    },
    /// command_length is below 16 or above the limit: the framing is lost and the connection with it.
    /// Answer generic_nack with ESME_RINVCMDLEN, then close.
    Fatal {
        /// What command_length said.
        command_length: u32,
        /// The peer's sequence_number where the header is all there, else 0.
        sequence_number: u32,
    },
}

/// Looks at the front of `bytes` for a PDU of at most `pdu_bytes_max` octets. Nothing is copied; the caller
/// goes on behind the PDU. A bad command_length is told as soon as its four octets are there, so that a peer
/// which sends 4 GiB for a length is not waited for; for the sequence_number the header's 16 are waited for
/// unless the length itself says that they will not come.
#[inline]
pub fn deframe(bytes: &[u8], pdu_bytes_max: usize) -> Deframed<'_> {
    let Some(header) = Header::read(bytes) else { return deframe_partial(bytes, pdu_bytes_max) };
    let length = header.command_length as usize;
    if length < HEADER_LENGTH || length > pdu_bytes_max {
        return Deframed::Fatal { command_length: header.command_length, sequence_number: header.sequence_number };
    }
    match bytes.get(..length) {
        Some(pdu) => Deframed::Pdu { header, pdu },
        None => Deframed::NeedMore { missing: length - bytes.len() },
    }
}

#[cold]
fn deframe_partial(bytes: &[u8], pdu_bytes_max: usize) -> Deframed<'_> {
    if let Some(word) = bytes.first_chunk() {
        let command_length = u32::from_be_bytes(*word);
        if (command_length as usize) < HEADER_LENGTH || command_length as usize > pdu_bytes_max {
            return Deframed::Fatal { command_length, sequence_number: 0 };
        }
    }
    Deframed::NeedMore { missing: HEADER_LENGTH - bytes.len() }
}

/// The sequence_number behind `sequence_number`: 1 to [`SEQUENCE_MAX`], then 1 again.
#[inline]
pub const fn next_sequence(sequence_number: u32) -> u32 {
    if sequence_number >= SEQUENCE_MAX { 1 } else { sequence_number + 1 }
}

/// Replaces sequence_number in an encoded PDU. Does nothing to a slice shorter than a header.
#[inline]
pub fn patch_sequence(pdu: &mut [u8], sequence_number: u32) {
    if let Some(field) = pdu.get_mut(SEQUENCE_OFFSET..HEADER_LENGTH) {
        field.copy_from_slice(&sequence_number.to_be_bytes());
    }
}
