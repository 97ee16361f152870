//! outbind and alert_notification (SMPP 3.4 sections 4.1.7 and 4.12.1), which no response belongs to, in both
//! directions. Views borrow from the PDU on the caller's thread; they never copy or allocate.

use crate::bind::{PASSWORD_LENIENT_MAX, SYSTEM_ID_MAX};
use crate::cursor::{DecodeError, Reader};
use crate::data::LONG_ADDRESS_MAX;
use crate::message::Address;
use crate::tlv::{Tag, Tlvs};

/// An outbind: a message centre asks an ESME to bind as a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Outbind<'a> {
    /// Who asks; at most 15 octets.
    pub system_id: &'a [u8],
    /// At most 8 octets by the specification, [`PASSWORD_LENIENT_MAX`] taken.
    pub password: &'a [u8],
}

/// An alert_notification: a subscriber can be reached again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AlertNotification<'a> {
    /// The subscriber; at most 64 octets.
    pub source: Address<'a>,
    /// Who asked to be told; at most 64 octets.
    pub esme: Address<'a>,
    /// The optional part, unread.
    pub tlvs: Tlvs<'a>,
}

impl<'a> Outbind<'a> {
    /// Reads a whole outbind, header included. A password that is missing or without NUL is taken.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let system_id = reader.c_octets(SYSTEM_ID_MAX, DecodeError::SystemId)?;
        let password = reader.c_octets_lenient(PASSWORD_LENIENT_MAX, DecodeError::Password)?;
        Ok(Self { system_id, password })
    }
}

impl<'a> AlertNotification<'a> {
    /// Reads a whole alert_notification, header included.
    ///
    /// # Errors
    /// The field that is wrong. Stray octets behind the body and broken TLVs are no error.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let source = Address::read(&mut reader, LONG_ADDRESS_MAX, DecodeError::SourceAddr)?;
        let esme = Address::read(&mut reader, LONG_ADDRESS_MAX, DecodeError::DestAddr)?;
        Ok(Self { source, esme, tlvs: Tlvs::new(reader.rest()) })
    }

    /// ms_availability_status (section 5.3.2.30): 0 available, 1 denied, 2 unavailable; `None` when it is not told.
    pub fn availability(&self) -> Option<u8> {
        self.tlvs.find(Tag::MS_AVAILABILITY_STATUS).and_then(|tlv| tlv.value.first().copied())
    }
}
