//! Any PDU at all as one value: for traces, tests and whoever is not in a hurry. The hot path asks the header for
//! its command and decodes that view alone. Views borrow from the PDU on the caller's thread.

use crate::bind::{Bind, BindResp};
use crate::command::CommandId;
use crate::cursor::DecodeError;
use crate::data::DataSm;
use crate::encode::{self, Encoder};
use crate::frame::{HEADER_LENGTH, Header};
use crate::manage::{CancelSm, QuerySm, QuerySmResp, ReplaceSm};
use crate::message::{MESSAGE_ID_MAX, MessageResp, ShortMessage};
use crate::multi::{SubmitMulti, SubmitMultiResp};
use crate::notice::{AlertNotification, Outbind};

/// The body of a PDU, by its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// bind_receiver, bind_transmitter, bind_transceiver.
    Bind(Bind<'a>),
    /// Their responses.
    BindResp(BindResp<'a>),
    /// outbind.
    Outbind(Outbind<'a>),
    /// submit_sm, deliver_sm.
    ShortMessage(ShortMessage<'a>),
    /// submit_sm_resp, deliver_sm_resp, data_sm_resp.
    MessageResp(MessageResp<'a>),
    /// data_sm.
    DataSm(DataSm<'a>),
    /// submit_multi.
    SubmitMulti(SubmitMulti<'a>),
    /// submit_multi_resp.
    SubmitMultiResp(SubmitMultiResp<'a>),
    /// query_sm.
    QuerySm(QuerySm<'a>),
    /// query_sm_resp.
    QuerySmResp(QuerySmResp<'a>),
    /// cancel_sm.
    CancelSm(CancelSm<'a>),
    /// replace_sm.
    ReplaceSm(ReplaceSm<'a>),
    /// alert_notification.
    AlertNotification(AlertNotification<'a>),
    /// enquire_link, unbind, generic_nack and the responses that have no body. Octets behind the header are let be.
    HeaderOnly,
    /// A command outside the specification's table. Answer generic_nack with ESME_RINVCMDID and stay open.
    Unknown(&'a [u8]),
}

impl<'a> Body<'a> {
    /// Reads the body of a whole PDU by the command of its header.
    ///
    /// # Errors
    /// The field that is wrong.
    pub fn decode(command: CommandId, pdu: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match command {
            CommandId::BIND_RECEIVER | CommandId::BIND_TRANSMITTER | CommandId::BIND_TRANSCEIVER => {
                Self::Bind(Bind::decode(pdu)?)
            }
            CommandId::BIND_RECEIVER_RESP | CommandId::BIND_TRANSMITTER_RESP | CommandId::BIND_TRANSCEIVER_RESP => {
                Self::BindResp(BindResp::decode(pdu))
            }
            CommandId::OUTBIND => Self::Outbind(Outbind::decode(pdu)?),
            CommandId::SUBMIT_SM | CommandId::DELIVER_SM => Self::ShortMessage(ShortMessage::decode(pdu)?),
            CommandId::SUBMIT_SM_RESP | CommandId::DELIVER_SM_RESP | CommandId::DATA_SM_RESP => {
                Self::MessageResp(MessageResp::decode(pdu))
            }
            CommandId::DATA_SM => Self::DataSm(DataSm::decode(pdu)?),
            CommandId::SUBMIT_MULTI => Self::SubmitMulti(SubmitMulti::decode(pdu)?),
            CommandId::SUBMIT_MULTI_RESP => Self::SubmitMultiResp(SubmitMultiResp::decode(pdu)),
            CommandId::QUERY_SM => Self::QuerySm(QuerySm::decode(pdu)?),
            CommandId::QUERY_SM_RESP => Self::QuerySmResp(QuerySmResp::decode(pdu)),
            CommandId::CANCEL_SM => Self::CancelSm(CancelSm::decode(pdu)?),
            CommandId::REPLACE_SM => Self::ReplaceSm(ReplaceSm::decode(pdu)?),
            CommandId::ALERT_NOTIFICATION => Self::AlertNotification(AlertNotification::decode(pdu)?),
            known if known.name().is_some() => Self::HeaderOnly,
            _ => Self::Unknown(pdu.get(HEADER_LENGTH..).unwrap_or_default()),
        })
    }

    /// Writes the whole PDU at the end of `out`, as this crate sends it: command_length is computed, and a
    /// response that refuses is its header alone (data_sm_resp and deliver_sm_resp excepted: the TLVs of the
    /// one say why, the other always has its NUL).
    pub fn encode(&self, header: Header, out: &mut Vec<u8>) {
        let Header { command_id: command, command_status: status, sequence_number: sequence, .. } = header;
        match self {
            Self::MessageResp(_) if command == CommandId::DELIVER_SM_RESP => {
                encode::deliver_sm_resp(out, status, sequence);
            }
            Self::MessageResp(body) if command == CommandId::DATA_SM_RESP => {
                encode::data_sm_resp(out, status, sequence, body);
            }
            _ if command.is_response() && !status.is_ok() => encode::header_only(out, command, status, sequence),
            Self::Bind(body) => encode::bind(out, command, sequence, body),
            Self::BindResp(body) => {
                encode::bind_resp(out, command, sequence, body.system_id, body.sc_interface_version);
            }
            Self::Outbind(body) => encode::outbind(out, sequence, body),
            Self::ShortMessage(body) => encode::short_message(out, command, sequence, body),
            Self::MessageResp(body) => Encoder::new(out, command, status, sequence)
                .c_octets(body.message_id, MESSAGE_ID_MAX)
                .tlvs(body.tlvs)
                .finish(),
            Self::DataSm(body) => encode::data_sm(out, sequence, body),
            Self::SubmitMulti(body) => encode::submit_multi(out, sequence, &body.message, body.dests),
            Self::SubmitMultiResp(body) => {
                encode::submit_multi_resp(out, sequence, body.message_id, body.unsuccess);
            }
            Self::QuerySm(body) => encode::query_sm(out, sequence, body),
            Self::QuerySmResp(body) => encode::query_sm_resp(out, sequence, body),
            Self::CancelSm(body) => encode::cancel_sm(out, sequence, body),
            Self::ReplaceSm(body) => encode::replace_sm(out, sequence, body),
            Self::AlertNotification(body) => encode::alert_notification(out, sequence, body),
            Self::HeaderOnly => encode::header_only(out, command, status, sequence),
            Self::Unknown(octets) => Encoder::new(out, command, status, sequence).octets(octets).finish(),
        }
    }
}
