//! query_sm, cancel_sm and replace_sm (SMPP 3.4 sections 4.8 to 4.10): operations on a message submitted earlier, in
//! both directions. Views borrow from the PDU on the caller's thread; they never copy or allocate. The responses
//! of cancel_sm and replace_sm are headers alone.

use crate::cursor::{DecodeError, Reader};
use crate::message::{ADDRESS_MAX, Address, MESSAGE_ID_MAX, SERVICE_TYPE_MAX, read_time};
use crate::receipt::MessageState;
use crate::tlv::Tlvs;

/// A query_sm (section 4.8.1). The message is the one with this id and this source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QuerySm<'a> {
    /// The id that submit_sm_resp gave.
    pub message_id: &'a [u8],
    /// The source address of the message.
    pub source: Address<'a>,
}

/// A query_sm_resp (section 4.8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct QuerySmResp<'a> {
    /// The id asked for.
    pub message_id: &'a [u8],
    /// When the message reached its final state: 16 characters (section 7.1.1), empty while it has not.
    pub final_date: &'a [u8],
    /// The octet of message_state, a mandatory field here; see [`QuerySmResp::state`].
    pub message_state: u8,
    /// The network's error code, 0 for none (section 5.2.31).
    pub error_code: u8,
}

/// A cancel_sm (section 4.9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CancelSm<'a> {
    /// At most 5 octets; empty for any.
    pub service_type: &'a [u8],
    /// The message's id; empty to cancel everything from `source` to `dest` of that service_type.
    pub message_id: &'a [u8],
    /// The source address of the message.
    pub source: Address<'a>,
    /// The destination of the message; may be empty where message_id is there.
    pub dest: Address<'a>,
}

/// A replace_sm (section 4.10.1). There is no data_coding: the new text is in the old one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ReplaceSm<'a> {
    /// The id that submit_sm_resp gave.
    pub message_id: &'a [u8],
    /// The source address of the message.
    pub source: Address<'a>,
    /// Empty: unchanged; else 16 characters (section 7.1.1).
    pub schedule_delivery_time: &'a [u8],
    /// Empty: unchanged; else 16 characters (section 7.1.1).
    pub validity_period: &'a [u8],
    /// Section 5.2.17.
    pub registered_delivery: u8,
    /// Section 5.2.20.
    pub sm_default_msg_id: u8,
    /// The new text, up to 255 octets.
    pub short_message: &'a [u8],
    /// The optional part, unread; SMPP 3.4 has none here, 5.0 has message_payload.
    pub tlvs: Tlvs<'a>,
}

impl<'a> QuerySm<'a> {
    /// Reads a whole query_sm, header included. Octets behind the last field are let be.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let message_id = reader.c_octets(MESSAGE_ID_MAX, DecodeError::MessageId)?;
        let source = Address::read(&mut reader, ADDRESS_MAX, DecodeError::SourceAddr)?;
        Ok(Self { message_id, source })
    }
}

impl<'a> QuerySmResp<'a> {
    /// Reads a whole query_sm_resp, header included. Never fails: what a peer left out, on refusals all of it,
    /// is empty or zero, and a final_date longer than a time is none.
    pub fn decode(pdu: &'a [u8]) -> Self {
        let mut reader = Reader::of_body(pdu);
        Self::read(&mut reader).unwrap_or_default()
    }

    /// What message_state says; `None` for a value outside the table (section 5.2.28).
    pub const fn state(&self) -> Option<MessageState> {
        MessageState::from_wire(self.message_state)
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let message_id = reader.c_octets_lenient(MESSAGE_ID_MAX, DecodeError::MessageId)?;
        let Ok(final_date) = read_time(reader, DecodeError::Truncated) else {
            return Ok(Self { message_id, ..Self::default() });
        };
        let message_state = reader.u8().unwrap_or(0);
        let error_code = reader.u8().unwrap_or(0);
        Ok(Self { message_id, final_date, message_state, error_code })
    }
}

impl<'a> CancelSm<'a> {
    /// Reads a whole cancel_sm, header included. Octets behind the last field are let be.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let service_type = reader.c_octets(SERVICE_TYPE_MAX, DecodeError::ServiceType)?;
        let message_id = reader.c_octets(MESSAGE_ID_MAX, DecodeError::MessageId)?;
        let source = Address::read(&mut reader, ADDRESS_MAX, DecodeError::SourceAddr)?;
        let dest = Address::read(&mut reader, ADDRESS_MAX, DecodeError::DestAddr)?;
        Ok(Self { service_type, message_id, source, dest })
    }
}

impl<'a> ReplaceSm<'a> {
    /// Reads a whole replace_sm, header included.
    ///
    /// # Errors
    /// The field that is wrong. Stray octets behind the body are no error.
    pub fn decode(pdu: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::of_body(pdu);
        let message_id = reader.c_octets(MESSAGE_ID_MAX, DecodeError::MessageId)?;
        let source = Address::read(&mut reader, ADDRESS_MAX, DecodeError::SourceAddr)?;
        let schedule_delivery_time = read_time(&mut reader, DecodeError::ScheduleDeliveryTime)?;
        let validity_period = read_time(&mut reader, DecodeError::ValidityPeriod)?;
        let [registered_delivery, sm_default_msg_id, sm_length] = reader.array()?;
        let short_message = reader.octets(usize::from(sm_length), DecodeError::MessageLength)?;
        Ok(Self {
            message_id,
            source,
            schedule_delivery_time,
            validity_period,
            registered_delivery,
            sm_default_msg_id,
            short_message,
            tlvs: Tlvs::new(reader.rest()),
        })
    }
}
