//! data_sm (SMPP 3.4 section 4.7.1), in both directions. Its response is a [`crate::message::MessageResp`].
//! Views borrow from the PDU on the caller's thread; they never copy or allocate.

use crate::cursor::{DecodeError, Reader};
use crate::message::{Address, ESM_INTERMEDIATE, ESM_RECEIPT, ESM_TYPE_MASK, SERVICE_TYPE_MAX};
use crate::tlv::{Tag, Tlvs};

/// Octets of an address in data_sm and alert_notification at the most, its NUL not counted.
pub const LONG_ADDRESS_MAX: usize = 64;

/// A data_sm, borrowed from the PDU it came in. Its text is the message_payload TLV alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DataSm<'a> {
    /// At most 5 octets (section 5.2.11).
    pub service_type: &'a [u8],
    /// Who sends; at most 64 octets.
    pub source: Address<'a>,
    /// To whom; at most 64 octets.
    pub dest: Address<'a>,
    /// Section 5.2.12; see the `ESM_` constants in [`crate::message`].
    pub esm_class: u8,
    /// Section 5.2.17; see the `REGISTERED_` constants in [`crate::message`].
    pub registered_delivery: u8,
    /// Section 5.2.19.
    pub data_coding: u8,
    /// The optional part, unread.
    pub tlvs: Tlvs<'a>,
}

impl<'a> DataSm<'a> {
    /// Reads a whole data_sm, header included.
    ///
    /// # Errors
    /// The field that is wrong. Stray octets behind the body and broken TLVs are no error.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let service_type = reader.c_octets(SERVICE_TYPE_MAX, DecodeError::ServiceType)?;
        let source = Address::read(&mut reader, LONG_ADDRESS_MAX, DecodeError::SourceAddr)?;
        let dest = Address::read(&mut reader, LONG_ADDRESS_MAX, DecodeError::DestAddr)?;
        let [esm_class, registered_delivery, data_coding] = reader.array()?;
        let tlvs = Tlvs::new(reader.rest());
        Ok(Self { service_type, source, dest, esm_class, registered_delivery, data_coding, tlvs })
    }

    /// The text: the value of message_payload, empty without it.
    #[inline]
    pub fn text(&self) -> &'a [u8] {
        self.tlvs.find(Tag::MESSAGE_PAYLOAD).map_or(&[], |tlv| tlv.value)
    }

    /// Whether esm_class marks a delivery receipt or an intermediate notification.
    #[inline]
    pub const fn is_receipt(&self) -> bool {
        matches!(self.esm_class & ESM_TYPE_MASK, ESM_RECEIPT | ESM_INTERMEDIATE)
    }
}
