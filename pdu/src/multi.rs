//! submit_multi and its response (SMPP 3.4 section 4.5), in both directions. Views borrow from the PDU on the
//! caller's thread; they never copy or allocate.

use crate::cursor::{DecodeError, Reader};
use crate::frame::HEADER_LENGTH;
use crate::message::{ADDRESS_MAX, Address, MESSAGE_ID_MAX, SERVICE_TYPE_MAX, ShortMessage};
use crate::status::CommandStatus;
use crate::tlv::Tlvs;

/// Destinations of one submit_multi that are sent at the most; SMPP 5.0 peers send 255, which is taken.
pub const DESTS_MAX: usize = 254;
/// Octets of a distribution list's name at the most, its NUL not counted.
pub const DISTRIBUTION_LIST_MAX: usize = 20;

/// dest_flag of an SME address (section 5.2.25).
pub(crate) const FLAG_ADDRESS: u8 = 1;
/// dest_flag of a distribution list's name.
pub(crate) const FLAG_DISTRIBUTION_LIST: u8 = 2;

/// A submit_multi, borrowed from the PDU it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubmitMulti<'a> {
    /// Everything that a submit_sm has too. Its `dest` is empty, and `offsets.dest` is where number_of_dests stands.
    pub message: ShortMessage<'a>,
    /// To whom.
    pub dests: Dests<'a>,
}

/// One destination of a submit_multi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dest<'a> {
    /// One subscriber; at most 20 octets.
    Address(Address<'a>),
    /// Everyone on the list of that name, at most 20 octets.
    DistributionList(&'a [u8]),
}

/// The destinations of a submit_multi, whole and valid; read when iterated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Dests<'a> {
    count: u8,
    bytes: &'a [u8],
}

impl<'a> SubmitMulti<'a> {
    /// Reads a whole submit_multi, header included.
    ///
    /// # Errors
    /// The field that is wrong, destinations included. Stray octets behind the body and broken TLVs are none.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let service_type = reader.c_octets(SERVICE_TYPE_MAX, DecodeError::ServiceType)?;
        let source_at = HEADER_LENGTH + reader.position();
        let source = Address::read(&mut reader, ADDRESS_MAX, DecodeError::SourceAddr)?;
        let dests_at = HEADER_LENGTH + reader.position();
        let dests = Dests::read(&mut reader)?;
        let mut message = ShortMessage { service_type, source, ..ShortMessage::default() };
        message.offsets.source = source_at;
        message.offsets.dest = dests_at;
        message.read_behind_dest(&mut reader)?;
        Ok(Self { message, dests })
    }
}

impl<'a> Dests<'a> {
    /// How many there are, 1 to 255.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none; never so in a submit_multi that was decoded.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let count = reader.u8()?;
        if count == 0 {
            return Err(DecodeError::NumberOfDests);
        }
        let bytes = reader.rest();
        let start = reader.position();
        for _ in 0..count {
            Dest::read(reader)?;
        }
        Ok(Self { count, bytes: &bytes[..reader.position() - start] })
    }
}

impl<'a> IntoIterator for Dests<'a> {
    type Item = Dest<'a>;
    type IntoIter = DestIter<'a>;

    fn into_iter(self) -> DestIter<'a> {
        DestIter { reader: Reader::new(self.bytes) }
    }
}

/// Walks the destinations of one submit_multi.
#[derive(Clone, Debug)]
pub struct DestIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for DestIter<'a> {
    type Item = Dest<'a>;

    fn next(&mut self) -> Option<Dest<'a>> {
        Dest::read(&mut self.reader).ok()
    }
}

impl<'a> Dest<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            FLAG_ADDRESS => Address::read(reader, ADDRESS_MAX, DecodeError::DestAddr).map(Self::Address),
            FLAG_DISTRIBUTION_LIST => {
                reader.c_octets(DISTRIBUTION_LIST_MAX, DecodeError::DistributionList).map(Self::DistributionList)
            }
            _ => Err(DecodeError::DestFlag),
        }
    }
}

/// A submit_multi_resp, borrowed from the PDU it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubmitMultiResp<'a> {
    /// One id for all destinations; empty where the body was left out, as it is on refusals.
    pub message_id: &'a [u8],
    /// Who the message could not be accepted for.
    pub unsuccess: Unsuccess<'a>,
    /// The optional part, unread (SMPP 5.0).
    pub tlvs: Tlvs<'a>,
}

/// One destination that a message was not accepted for (section 4.5.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsuccessSme<'a> {
    /// The destination.
    pub dest: Address<'a>,
    /// Why not.
    pub status: CommandStatus,
}

/// The list of what was not accepted, read when iterated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Unsuccess<'a> {
    count: u8,
    bytes: &'a [u8],
}

impl<'a> SubmitMultiResp<'a> {
    /// Reads a whole submit_multi_resp, header included. Never fails: every form of body is taken, also none,
    /// and of a list that is cut short its whole entries.
    pub fn decode(pdu: &'a [u8]) -> Self {
        let mut reader = Reader::of_body(pdu);
        let message_id = reader.c_octets_lenient(MESSAGE_ID_MAX, DecodeError::MessageId).unwrap_or_default();
        let said = reader.u8().unwrap_or(0);
        let bytes = reader.rest();
        let start = reader.position();
        let (mut count, mut end) = (0, start);
        while count < said && UnsuccessSme::read(&mut reader).is_ok() {
            count += 1;
            end = reader.position();
        }
        // Behind a list that is cut short nothing can be told apart.
        let tlvs = if count == said { Tlvs::new(reader.rest()) } else { Tlvs::default() };
        Self { message_id, unsuccess: Unsuccess { count, bytes: &bytes[..end - start] }, tlvs }
    }
}

impl Unsuccess<'_> {
    /// How many there are, 0 to 255.
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether every destination was accepted.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> IntoIterator for Unsuccess<'a> {
    type Item = UnsuccessSme<'a>;
    type IntoIter = UnsuccessIter<'a>;

    fn into_iter(self) -> UnsuccessIter<'a> {
        UnsuccessIter { reader: Reader::new(self.bytes) }
    }
}

/// Walks the entries of an unsuccess list.
#[derive(Clone, Debug)]
pub struct UnsuccessIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for UnsuccessIter<'a> {
    type Item = UnsuccessSme<'a>;

    fn next(&mut self) -> Option<UnsuccessSme<'a>> {
        UnsuccessSme::read(&mut self.reader).ok()
    }
}

impl<'a> UnsuccessSme<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let dest = Address::read(reader, ADDRESS_MAX, DecodeError::DestAddr)?;
        let status = CommandStatus(reader.u32()?);
        Ok(Self { dest, status })
    }
}
