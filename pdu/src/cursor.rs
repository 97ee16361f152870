//! A bounded reader over one PDU body, and what can be wrong with a body.

use crate::frame::HEADER_LENGTH;
use crate::scan::find_nul_within;
use crate::status::CommandStatus;

/// Why a body could not be decoded. Each names the field, so that the answer can be exact:
/// [`DecodeError::status`] is the command_status of SMPP 3.4 section 5.1.3 that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The body ends inside a mandatory field.
    Truncated,
    /// system_id is longer than 15 octets.
    SystemId,
    /// password is longer than the reader allows.
    Password,
    /// system_type is longer than 12 octets.
    SystemType,
    /// service_type is longer than 5 octets.
    ServiceType,
    /// source_addr is longer than the operation allows.
    SourceAddr,
    /// destination_addr is longer than the operation allows.
    DestAddr,
    /// schedule_delivery_time is neither empty nor 16 characters.
    ScheduleDeliveryTime,
    /// validity_period is neither empty nor 16 characters.
    ValidityPeriod,
    /// message_id is longer than 64 octets.
    MessageId,
    /// sm_length says more than the PDU holds.
    MessageLength,
    /// number_of_dests is 0.
    NumberOfDests,
    /// A dest_flag that is neither 1 (SME address) nor 2 (distribution list).
    DestFlag,
    /// A distribution list name is longer than 20 octets.
    DistributionList,
}

impl DecodeError {
    /// The command_status that tells the peer (section 5.1.3).
    pub const fn status(self) -> CommandStatus {
        match self {
            Self::Truncated => CommandStatus::ESME_RINVCMDLEN,
            Self::SystemId => CommandStatus::ESME_RINVSYSID,
            Self::Password => CommandStatus::ESME_RINVPASWD,
            Self::SystemType => CommandStatus::ESME_RINVSYSTYP,
            Self::ServiceType => CommandStatus::ESME_RINVSERTYP,
            Self::SourceAddr => CommandStatus::ESME_RINVSRCADR,
            Self::DestAddr => CommandStatus::ESME_RINVDSTADR,
            Self::ScheduleDeliveryTime => CommandStatus::ESME_RINVSCHED,
            Self::ValidityPeriod => CommandStatus::ESME_RINVEXPIRY,
            Self::MessageId => CommandStatus::ESME_RINVMSGID,
            Self::MessageLength => CommandStatus::ESME_RINVMSGLEN,
            Self::NumberOfDests => CommandStatus::ESME_RINVNUMDESTS,
            Self::DestFlag => CommandStatus::ESME_RINVDESTFLAG,
            Self::DistributionList => CommandStatus::ESME_RINVDLNAME,
        }
    }
}

/// Reads fields front to back out of a slice, never past its end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, length: bytes.len() }
    }

    /// A reader at the body of a whole PDU, behind its header; of nothing where the PDU is shorter.
    #[inline]
    pub fn of_body(pdu: &'a [u8]) -> Self {
        Self::new(pdu.get(HEADER_LENGTH..).unwrap_or_default())
    }

    /// How many octets have been read.
    #[inline]
    pub const fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// What has not been read yet.
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// One octet.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[value]| value)
    }

    /// `N` octets.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (value, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*value)
    }

    /// A 32-bit integer, most significant octet first.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// `length` octets; `short` is the error when there are fewer.
    #[inline]
    pub fn octets(&mut self, length: usize, short: DecodeError) -> Result<&'a [u8], DecodeError> {
        let (value, rest) = self.rest.split_at_checked(length).ok_or(short)?;
        self.rest = rest;
        Ok(value)
    }

    /// A C-octet string of at most `max` octets, returned without its NUL; `long` is the error when the NUL
    /// does not come within that. A string that the end of the body cuts short is [`DecodeError::Truncated`].
    #[inline]
    pub fn c_octets(&mut self, max: usize, long: DecodeError) -> Result<&'a [u8], DecodeError> {
        self.take_c_octets(max).ok_or(if self.rest.len() > max { long } else { DecodeError::Truncated })
    }

    /// The last field of a response, of which peers send every form: a C-octet string, the same without its
    /// NUL, or nothing at all. At most `max` octets; more is an error.
    #[inline]
    pub fn c_octets_lenient(&mut self, max: usize, long: DecodeError) -> Result<&'a [u8], DecodeError> {
        match self.take_c_octets(max) {
            Some(value) => Ok(value),
            None if self.rest.len() <= max => Ok(core::mem::take(&mut self.rest)),
            None => Err(long),
        }
    }

    /// A C-octet string of at most `max` octets; where there is none, nothing is read.
    #[inline]
    fn take_c_octets(&mut self, max: usize) -> Option<&'a [u8]> {
        // Most C-octet strings of most PDUs are empty.
        if let [0, rest @ ..] = self.rest {
            let value = &self.rest[..0];
            self.rest = rest;
            return Some(value);
        }
        let length = find_nul_within(self.rest, max)?;
        // In this order the second look needs no check of its own.
        let behind = self.rest.get(length + 1..)?;
        let value = self.rest.get(..length)?;
        self.rest = behind;
        Some(value)
    }
}
