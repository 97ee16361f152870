//! Writing PDUs into a caller's buffer. Nothing here can fail: what is too long for its field is cut.

use crate::bind::{ADDRESS_RANGE_MAX, Bind, PASSWORD_LENIENT_MAX, SYSTEM_ID_MAX, SYSTEM_TYPE_MAX};
use crate::command::CommandId;
use crate::data::{DataSm, LONG_ADDRESS_MAX};
use crate::frame::HEADER_LENGTH;
use crate::id::{IdText, uuid_words};
use crate::manage::{CancelSm, QuerySm, QuerySmResp, ReplaceSm};
use crate::message::{ADDRESS_MAX, Address, MESSAGE_ID_MAX, MessageResp, SERVICE_TYPE_MAX, ShortMessage, TIME_LENGTH};
use crate::multi::{DESTS_MAX, DISTRIBUTION_LIST_MAX, Dest, FLAG_ADDRESS, FLAG_DISTRIBUTION_LIST, UnsuccessSme};
use crate::notice::{AlertNotification, Outbind};
use crate::scan::find_nul;
use crate::status::CommandStatus;
use crate::tlv::{Tag, Tlvs};

/// One PDU being written at the end of a buffer. [`Encoder::finish`] puts command_length in.
#[derive(Debug)]
#[must_use = "command_length is written by finish"]
pub struct Encoder<'b> {
    out: &'b mut Vec<u8>,
    start: usize,
}

impl<'b> Encoder<'b> {
    /// Writes the header.
    #[inline]
    pub fn new(out: &'b mut Vec<u8>, command: CommandId, status: CommandStatus, sequence_number: u32) -> Self {
        let start = out.len();
        out.extend_from_slice(&header(0, command, status, sequence_number));
        Self { out, start }
    }

    /// One octet.
    #[inline]
    pub fn u8(self, value: u8) -> Self {
        self.out.push(value);
        self
    }

    /// Octets as they are.
    #[inline]
    pub fn octets(self, value: &[u8]) -> Self {
        self.out.extend_from_slice(value);
        self
    }

    /// A C-octet string: `value` up to its first NUL, cut to `max` octets, and a NUL.
    #[inline]
    pub fn c_octets(self, value: &[u8], max: usize) -> Self {
        let value = c_octets_of(value, max);
        self.out.extend_from_slice(value);
        self.out.push(0);
        self
    }

    /// Type of number, numbering plan, and the address cut to `max` octets.
    #[inline]
    pub fn address(self, address: Address<'_>, max: usize) -> Self {
        self.u8(address.ton).u8(address.npi).c_octets(address.addr, max)
    }

    /// sm_length and short_message, cut to 255 octets.
    #[inline]
    pub fn short_octets(self, value: &[u8]) -> Self {
        let value = &value[..value.len().min(usize::from(u8::MAX))];
        self.u8(value.len() as u8).octets(value)
    }

    /// One TLV; a value above 65,535 octets is cut.
    #[inline]
    pub fn tlv(self, tag: Tag, value: &[u8]) -> Self {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.out.extend_from_slice(&tag.0.to_be_bytes());
        self.out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.out.extend_from_slice(value);
        self
    }

    /// One TLV whose value is an id as a C-octet string.
    #[inline]
    pub fn c_octets_tlv(self, tag: Tag, id: &IdText) -> Self {
        let [first, second] = tag.0.to_be_bytes();
        let [high, low] = (id.len() as u16 + 1).to_be_bytes();
        self.out.extend_from_slice(&[first, second, high, low]);
        id.append(self.out);
        self.out.push(0);
        self
    }

    /// What the caller writes itself at the end of the buffer.
    #[inline]
    pub fn written_by(self, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        write(self.out);
        self
    }

    /// The whole TLVs of another PDU, octet for octet; stray octets behind them are left out.
    #[inline]
    pub fn tlvs(self, tlvs: Tlvs<'_>) -> Self {
        let whole = tlvs.whole_length();
        self.out.extend_from_slice(&tlvs.as_bytes()[..whole]);
        self
    }

    /// The whole TLVs of another PDU as far as a peer of this interface_version takes any: all of them from 0x50
    /// (SMPP 5.0) on, those that are not of 5.0 from 0x34 on, none before.
    pub fn tlvs_for(self, tlvs: Tlvs<'_>, interface_version: u8) -> Self {
        match interface_version {
            0x50.. => self.tlvs(tlvs),
            0x34.. => tlvs
                .into_iter()
                .filter(|tlv| !tlv.tag.is_version_5())
                .fold(self, |pdu, tlv| pdu.tlv(tlv.tag, tlv.value)),
            _ => self,
        }
    }

    /// Writes command_length; the PDU is complete.
    #[inline]
    pub fn finish(self) {
        let length = (self.out.len() - self.start) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// A PDU that is its header alone: enquire_link, unbind, their responses, generic_nack, and every response
/// with an error status (SMPP 3.4 section 4.4.2: no body then).
#[inline]
pub fn header_only(out: &mut Vec<u8>, command: CommandId, status: CommandStatus, sequence_number: u32) {
    Encoder::new(out, command, status, sequence_number).finish();
}

/// submit_sm_resp with ESME_ROK and a message_id of at most 64 octets (section 4.4.2).
#[inline]
pub fn submit_sm_resp(out: &mut Vec<u8>, sequence_number: u32, message_id: &[u8]) {
    let message_id = c_octets_of(message_id, MESSAGE_ID_MAX);
    // The response to every message: its length is known before, so nothing is patched afterwards.
    let length = HEADER_LENGTH + message_id.len() + 1;
    out.reserve(length);
    let command_length = length as u32;
    out.extend_from_slice(&header(command_length, CommandId::SUBMIT_SM_RESP, CommandStatus::ESME_ROK, sequence_number));
    out.extend_from_slice(message_id);
    out.push(0);
}

/// submit_sm_resp with ESME_ROK and as message_id the 36 characters of a UUID in lower case (section 4.4.2). It is what
/// most messages are answered with, so it goes from registers to the buffer a word at a time.
#[inline]
pub fn submit_sm_resp_uuid(out: &mut Vec<u8>, sequence_number: u32, message_id: u128) {
    const LENGTH: usize = HEADER_LENGTH + 36 + 1;
    let (words, last) = uuid_words(message_id);
    out.reserve(LENGTH);
    out.extend_from_slice(&((LENGTH as u64) << 32 | u64::from(CommandId::SUBMIT_SM_RESP.0)).to_be_bytes());
    out.extend_from_slice(&u64::from(sequence_number).to_be_bytes());
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.extend_from_slice(&last.to_be_bytes());
    out.push(0);
}

/// deliver_sm_resp, whose message_id is unused and a single NUL (section 4.6.2).
#[inline]
pub fn deliver_sm_resp(out: &mut Vec<u8>, status: CommandStatus, sequence_number: u32) {
    const LENGTH: usize = HEADER_LENGTH + 1;
    let mut pdu = [0; LENGTH];
    pdu[..HEADER_LENGTH].copy_from_slice(&header(LENGTH as u32, CommandId::DELIVER_SM_RESP, status, sequence_number));
    out.extend_from_slice(&pdu);
}

/// A bind request (section 4.1); `command` is one of the three bind commands.
pub fn bind(out: &mut Vec<u8>, command: CommandId, sequence_number: u32, body: &Bind<'_>) {
    Encoder::new(out, command, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(body.system_id, SYSTEM_ID_MAX)
        .c_octets(body.password, PASSWORD_LENIENT_MAX)
        .c_octets(body.system_type, SYSTEM_TYPE_MAX)
        .u8(body.interface_version)
        .u8(body.addr_ton)
        .u8(body.addr_npi)
        .c_octets(body.address_range, ADDRESS_RANGE_MAX)
        .finish();
}

/// A bind response with ESME_ROK: `command` is the response's command_id, `sc_interface_version` is given to
/// peers of version 3.4 and later only (section 5.3.2.25). A refusal is [`header_only`].
pub fn bind_resp(
    out: &mut Vec<u8>,
    command: CommandId,
    sequence_number: u32,
    system_id: &[u8],
    sc_interface_version: Option<u8>,
) {
    let pdu = Encoder::new(out, command, CommandStatus::ESME_ROK, sequence_number).c_octets(system_id, SYSTEM_ID_MAX);
    match sc_interface_version {
        Some(version) => pdu.tlv(Tag::SC_INTERFACE_VERSION, &[version]).finish(),
        None => pdu.finish(),
    }
}

/// A whole submit_sm or deliver_sm from its fields. `message.offsets` is not looked at; short_message is cut
/// to 255 octets.
pub fn short_message(out: &mut Vec<u8>, command: CommandId, sequence_number: u32, message: &ShortMessage<'_>) {
    let pdu = Encoder::new(out, command, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(message.service_type, SERVICE_TYPE_MAX)
        .address(message.source, ADDRESS_MAX)
        .address(message.dest, ADDRESS_MAX);
    behind_dest(pdu, message).finish();
}

/// A whole submit_multi (section 4.5.1) from the fields of a submit_sm, whose `dest` is not looked at, and its
/// destinations, of which the first 254 are taken.
pub fn submit_multi<'d>(
    out: &mut Vec<u8>,
    sequence_number: u32,
    message: &ShortMessage<'_>,
    dests: impl IntoIterator<Item = Dest<'d>>,
) {
    let mut pdu = Encoder::new(out, CommandId::SUBMIT_MULTI, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(message.service_type, SERVICE_TYPE_MAX)
        .address(message.source, ADDRESS_MAX)
        .u8(0);
    let count_at = pdu.out.len() - 1;
    for dest in dests.into_iter().take(DESTS_MAX) {
        pdu.out[count_at] += 1;
        pdu = match dest {
            Dest::Address(address) => pdu.u8(FLAG_ADDRESS).address(address, ADDRESS_MAX),
            Dest::DistributionList(name) => pdu.u8(FLAG_DISTRIBUTION_LIST).c_octets(name, DISTRIBUTION_LIST_MAX),
        };
    }
    behind_dest(pdu, message).finish();
}

/// A submit_multi_resp with ESME_ROK (section 4.5.2); of `unsuccess` the first 254 are taken.
pub fn submit_multi_resp<'d>(
    out: &mut Vec<u8>,
    sequence_number: u32,
    message_id: &[u8],
    unsuccess: impl IntoIterator<Item = UnsuccessSme<'d>>,
) {
    let mut pdu = Encoder::new(out, CommandId::SUBMIT_MULTI_RESP, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(message_id, MESSAGE_ID_MAX)
        .u8(0);
    let count_at = pdu.out.len() - 1;
    for entry in unsuccess.into_iter().take(DESTS_MAX) {
        pdu.out[count_at] += 1;
        pdu = pdu.address(entry.dest, ADDRESS_MAX).octets(&entry.status.0.to_be_bytes());
    }
    pdu.finish();
}

/// A whole data_sm (section 4.7.1).
pub fn data_sm(out: &mut Vec<u8>, sequence_number: u32, message: &DataSm<'_>) {
    Encoder::new(out, CommandId::DATA_SM, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(message.service_type, SERVICE_TYPE_MAX)
        .address(message.source, LONG_ADDRESS_MAX)
        .address(message.dest, LONG_ADDRESS_MAX)
        .u8(message.esm_class)
        .u8(message.registered_delivery)
        .u8(message.data_coding)
        .tlvs(message.tlvs)
        .finish();
}

/// A data_sm_resp with its message_id and TLVs (section 4.7.2); with an error status the TLVs say why.
pub fn data_sm_resp(out: &mut Vec<u8>, status: CommandStatus, sequence_number: u32, body: &MessageResp<'_>) {
    Encoder::new(out, CommandId::DATA_SM_RESP, status, sequence_number)
        .c_octets(body.message_id, MESSAGE_ID_MAX)
        .tlvs(body.tlvs)
        .finish();
}

/// A query_sm (section 4.8.1).
pub fn query_sm(out: &mut Vec<u8>, sequence_number: u32, query: &QuerySm<'_>) {
    Encoder::new(out, CommandId::QUERY_SM, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(query.message_id, MESSAGE_ID_MAX)
        .address(query.source, ADDRESS_MAX)
        .finish();
}

/// A query_sm_resp with ESME_ROK (section 4.8.2).
pub fn query_sm_resp(out: &mut Vec<u8>, sequence_number: u32, answer: &QuerySmResp<'_>) {
    Encoder::new(out, CommandId::QUERY_SM_RESP, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(answer.message_id, MESSAGE_ID_MAX)
        .c_octets(answer.final_date, TIME_LENGTH)
        .u8(answer.message_state)
        .u8(answer.error_code)
        .finish();
}

/// A cancel_sm (section 4.9.1). Its response is [`header_only`].
pub fn cancel_sm(out: &mut Vec<u8>, sequence_number: u32, cancel: &CancelSm<'_>) {
    Encoder::new(out, CommandId::CANCEL_SM, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(cancel.service_type, SERVICE_TYPE_MAX)
        .c_octets(cancel.message_id, MESSAGE_ID_MAX)
        .address(cancel.source, ADDRESS_MAX)
        .address(cancel.dest, ADDRESS_MAX)
        .finish();
}

/// A replace_sm (section 4.10.1); short_message is cut to 255 octets. Its response is [`header_only`].
pub fn replace_sm(out: &mut Vec<u8>, sequence_number: u32, replace: &ReplaceSm<'_>) {
    Encoder::new(out, CommandId::REPLACE_SM, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(replace.message_id, MESSAGE_ID_MAX)
        .address(replace.source, ADDRESS_MAX)
        .c_octets(replace.schedule_delivery_time, TIME_LENGTH)
        .c_octets(replace.validity_period, TIME_LENGTH)
        .u8(replace.registered_delivery)
        .u8(replace.sm_default_msg_id)
        .short_octets(replace.short_message)
        .tlvs(replace.tlvs)
        .finish();
}

/// An outbind (section 4.1.7).
pub fn outbind(out: &mut Vec<u8>, sequence_number: u32, outbind: &Outbind<'_>) {
    Encoder::new(out, CommandId::OUTBIND, CommandStatus::ESME_ROK, sequence_number)
        .c_octets(outbind.system_id, SYSTEM_ID_MAX)
        .c_octets(outbind.password, PASSWORD_LENIENT_MAX)
        .finish();
}

/// An alert_notification (section 4.12.1).
pub fn alert_notification(out: &mut Vec<u8>, sequence_number: u32, alert: &AlertNotification<'_>) {
    Encoder::new(out, CommandId::ALERT_NOTIFICATION, CommandStatus::ESME_ROK, sequence_number)
        .address(alert.source, LONG_ADDRESS_MAX)
        .address(alert.esme, LONG_ADDRESS_MAX)
        .tlvs(alert.tlvs)
        .finish();
}

/// What submit_sm, deliver_sm and submit_multi share: all from esm_class on.
fn behind_dest<'b>(pdu: Encoder<'b>, message: &ShortMessage<'_>) -> Encoder<'b> {
    pdu.u8(message.esm_class)
        .u8(message.protocol_id)
        .u8(message.priority_flag)
        .c_octets(message.schedule_delivery_time, TIME_LENGTH)
        .c_octets(message.validity_period, TIME_LENGTH)
        .u8(message.registered_delivery)
        .u8(message.replace_if_present_flag)
        .u8(message.data_coding)
        .u8(message.sm_default_msg_id)
        .short_octets(message.short_message)
        .tlvs(message.tlvs)
}

#[inline]
fn header(length: u32, command: CommandId, status: CommandStatus, sequence_number: u32) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[..4].copy_from_slice(&length.to_be_bytes());
    header[4..8].copy_from_slice(&command.0.to_be_bytes());
    header[8..12].copy_from_slice(&status.0.to_be_bytes());
    header[12..].copy_from_slice(&sequence_number.to_be_bytes());
    header
}

/// What of `value` goes into a C-octet string of at most `max` octets.
#[inline]
fn c_octets_of(value: &[u8], max: usize) -> &[u8] {
    let value = &value[..value.len().min(max)];
    &value[..find_nul(value).unwrap_or(value.len())]
}
