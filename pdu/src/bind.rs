//! Bind requests and responses (SMPP 3.4 section 4.1).

use crate::cursor::{DecodeError, Reader};
use crate::tlv::{Tag, Tlvs};

/// Octets of system_id at the most, its NUL not counted.
pub const SYSTEM_ID_MAX: usize = 15;
/// Octets of password by the specification. Peers with longer ones exist; [`PASSWORD_LENIENT_MAX`] is taken.
pub const PASSWORD_MAX: usize = 8;
/// Octets of password that a reader takes at the most.
pub const PASSWORD_LENIENT_MAX: usize = 64;
/// Octets of system_type at the most, its NUL not counted.
pub const SYSTEM_TYPE_MAX: usize = 12;
/// Octets of address_range at the most, its NUL not counted.
pub const ADDRESS_RANGE_MAX: usize = 40;

/// The body of bind_receiver, bind_transmitter and bind_transceiver (sections 4.1.1, 4.1.3, 4.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Who binds; at most 15 octets.
    pub system_id: &'a [u8],
    /// At most 8 octets by the specification, [`PASSWORD_LENIENT_MAX`] taken.
    pub password: &'a [u8],
    /// At most 12 octets.
    pub system_type: &'a [u8],
    /// 0x33 and below is SMPP 3.3, 0x34 is 3.4, 0x50 is 5.0.
    pub interface_version: u8,
    /// Type of number of address_range.
    pub addr_ton: u8,
    /// Numbering plan of address_range.
    pub addr_npi: u8,
    /// At most 40 octets.
    pub address_range: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Reads a whole bind PDU, header included. Octets behind the last field are let be.
    ///
    /// # Errors
    /// The field that is too long, or [`DecodeError::Truncated`]. A body that ends behind
    /// interface_version is taken: address fields are then zero and empty.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        Ok(Self {
            system_id: reader.c_octets(SYSTEM_ID_MAX, DecodeError::SystemId)?,
            password: reader.c_octets(PASSWORD_LENIENT_MAX, DecodeError::Password)?,
            system_type: reader.c_octets(SYSTEM_TYPE_MAX, DecodeError::SystemType)?,
            interface_version: reader.u8()?,
            addr_ton: reader.u8().unwrap_or(0),
            addr_npi: reader.u8().unwrap_or(0),
            address_range: reader.c_octets_lenient(ADDRESS_RANGE_MAX, DecodeError::Truncated)?,
        })
    }
}

/// The body of the three bind responses (sections 4.1.2, 4.1.4, 4.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindResp<'a> {
    /// The SMSC's name; empty where the body was left out, as it is on refusals.
    pub system_id: &'a [u8],
    /// sc_interface_version, when the peer told it.
    pub sc_interface_version: Option<u8>,
}

impl<'a> BindResp<'a> {
    /// Reads a whole bind response, header included. Never fails: every form of body is taken, also none.
    pub fn decode(pdu: &'a [u8]) -> Self {
        let mut reader = Reader::of_body(pdu);
        let system_id = reader.c_octets_lenient(SYSTEM_ID_MAX, DecodeError::SystemId).unwrap_or_default();
        let version = Tlvs::new(reader.rest()).find(Tag::SC_INTERFACE_VERSION);
        Self { system_id, sc_interface_version: version.and_then(|tlv| tlv.value.first().copied()) }
    }
}
