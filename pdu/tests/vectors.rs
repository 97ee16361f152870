//! One vector for each PDU of SMPP 3.4 and for each kind of failure: what is decoded from it, and that the same
//! octets are written from that.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use smpp_pdu::bind::{Bind, BindResp};
use smpp_pdu::data::DataSm;
use smpp_pdu::manage::{CancelSm, QuerySm, QuerySmResp, ReplaceSm};
use smpp_pdu::message::MessageResp;
use smpp_pdu::multi::{Dest, UnsuccessSme};
use smpp_pdu::notice::{AlertNotification, Outbind};
use smpp_pdu::{
    Address, Body, CommandId, CommandStatus, DecodeError, Deframed, Header, MessageState, Receipt, ShortMessage, Tag,
    Tlvs, deframe,
};

#[path = "vectors/reader.rs"]
mod reader;

const PDU_BYTES_MAX: usize = 65_536;

const EXAMPLE: Address<'_> = Address { ton: 5, npi: 0, addr: b"Example" };
const PHONE: Address<'_> = Address { ton: 1, npi: 1, addr: b"447700900123" };

#[test]
fn every_good_vector_is_written_as_it_was_read() {
    for (name, octets) in reader::vectors().into_iter().filter(|(name, _)| !name.starts_with("fail_")) {
        let (header, body) = decoded(&octets).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let mut written = Vec::new();
        body.encode(header, &mut written);
        assert_eq!(written, octets, "{name}");
    }
}

#[test]
fn every_command_has_a_vector() {
    let seen: Vec<CommandId> = reader::vectors()
        .iter()
        .filter_map(|(_, octets)| Header::read(octets))
        .map(|header| header.command_id)
        .collect();
    for command in CommandId::ALL {
        assert!(seen.contains(command), "{command} has no vector");
    }
}

#[test]
fn binds_are_read() {
    let expected = Bind {
        system_id: b"SMPP3TEST",
        password: b"secret08",
        system_type: b"SUBMIT1",
        interface_version: 0x34,
        addr_ton: 1,
        addr_npi: 1,
        address_range: b"",
    };
    check("bind_transmitter", CommandId::BIND_TRANSMITTER, 1, Body::Bind(expected));
    check("bind_transceiver", CommandId::BIND_TRANSCEIVER, 3, Body::Bind(expected));
    let ranged = Bind { address_range: b"^4477", ..expected };
    check("bind_receiver", CommandId::BIND_RECEIVER, 2, Body::Bind(ranged));
}

#[test]
fn bind_responses_are_read() {
    let told = BindResp { system_id: b"SMSC", sc_interface_version: Some(0x34) };
    check("bind_transmitter_resp", CommandId::BIND_TRANSMITTER_RESP, 1, Body::BindResp(told));
    check("bind_transceiver_resp", CommandId::BIND_TRANSCEIVER_RESP, 3, Body::BindResp(told));
    let untold = BindResp { sc_interface_version: None, ..told };
    check("bind_receiver_resp", CommandId::BIND_RECEIVER_RESP, 2, Body::BindResp(untold));
    let refused = BindResp { system_id: b"", sc_interface_version: None };
    let header = check("bind_transceiver_resp_refused", CommandId::BIND_TRANSCEIVER_RESP, 3, Body::BindResp(refused));
    assert_eq!(header.command_status, CommandStatus::ESME_RINVPASWD);
}

#[test]
fn headers_alone_are_read() {
    for (name, command) in [
        ("unbind", CommandId::UNBIND),
        ("unbind_resp", CommandId::UNBIND_RESP),
        ("enquire_link", CommandId::ENQUIRE_LINK),
        ("enquire_link_resp", CommandId::ENQUIRE_LINK_RESP),
        ("cancel_sm_resp", CommandId::CANCEL_SM_RESP),
        ("replace_sm_resp", CommandId::REPLACE_SM_RESP),
    ] {
        check(name, command, 0x7FFF_FFFF, Body::HeaderOnly);
    }
    let header = check("generic_nack", CommandId::GENERIC_NACK, 9, Body::HeaderOnly);
    assert_eq!(header.command_status, CommandStatus::ESME_RINVCMDID);
}

#[test]
fn notices_are_read() {
    let outbind = Outbind { system_id: b"SMSC", password: b"pw" };
    check("outbind", CommandId::OUTBIND, 4, Body::Outbind(outbind));
    let tlvs = Tlvs::new(&[0x04, 0x22, 0, 1, 0]);
    let alert = AlertNotification { source: PHONE, esme: Address { ton: 0, npi: 0, addr: b"SMPP3TEST" }, tlvs };
    check("alert_notification", CommandId::ALERT_NOTIFICATION, 13, Body::AlertNotification(alert));
    assert_eq!(alert.availability(), Some(0));
}

#[test]
fn submit_sm_is_read_with_every_field() {
    let octets = vector("submit_sm");
    let message = ShortMessage::decode(&octets).unwrap();
    assert_fields_of_submit(&message);
    assert_eq!(message.dest, PHONE);
    let tlvs: Vec<_> = message.tlvs.into_iter().map(|tlv| (tlv.tag, tlv.value)).collect();
    assert_eq!(tlvs, [(Tag::USER_MESSAGE_REFERENCE, &[0x12, 0x34][..]), (Tag(0x1400), b"dlt")]);
    let at = message.offsets;
    assert_eq!(&octets[at.source..at.dest], b"\x05\0Example\0");
    assert_eq!(&octets[at.dest..at.esm_class], b"\x01\x01447700900123\0");
    assert_eq!(octets[at.esm_class..at.esm_class + 3], [0, 0, 1]);
    assert_eq!(octets[at.registered_delivery..at.short_message], [1, 0, 0, 0, 5]);
    assert_eq!(&octets[at.short_message..at.tlvs], b"Hello");
}

#[test]
fn message_responses_are_read() {
    let accepted = MessageResp { message_id: b"0a1b2c3d", tlvs: Tlvs::default() };
    check("submit_sm_resp", CommandId::SUBMIT_SM_RESP, 5, Body::MessageResp(accepted));
    let none = MessageResp::default();
    let header = check("submit_sm_resp_refused", CommandId::SUBMIT_SM_RESP, 5, Body::MessageResp(none));
    assert_eq!(header.command_status, CommandStatus::ESME_RTHROTTLED);
    check("deliver_sm_resp", CommandId::DELIVER_SM_RESP, 6, Body::MessageResp(none));
    let failed = MessageResp { message_id: b"88", tlvs: Tlvs::new(&[0x04, 0x25, 0, 1, 1]) };
    let header = check("data_sm_resp_refused", CommandId::DATA_SM_RESP, 8, Body::MessageResp(failed));
    assert_eq!(header.command_status, CommandStatus::ESME_RDELIVERYFAILURE);
}

#[test]
fn a_receipt_is_read_by_text_and_by_tlv() {
    let octets = vector("deliver_sm_receipt");
    let message = ShortMessage::decode(&octets).unwrap();
    assert!(message.is_receipt());
    assert_eq!((message.source, message.dest), (PHONE, EXAMPLE));
    let receipt = Receipt::parse(message.text());
    assert_eq!(receipt.id, Some(&b"0a1b2c3d"[..]));
    assert_eq!(receipt.state(), Some(MessageState::Delivered));
    assert_eq!(message.tlvs.find(Tag::RECEIPTED_MESSAGE_ID).unwrap().c_octets(), b"0a1b2c3d");
    assert_eq!(message.tlvs.find(Tag::MESSAGE_STATE).unwrap().integer(), Some(2));
}

#[test]
fn submit_multi_and_its_response_are_read() {
    let octets = vector("submit_multi");
    let (_, Body::SubmitMulti(multi)) = decoded(&octets).unwrap() else { panic!("no submit_multi") };
    assert_fields_of_submit(&multi.message);
    assert_eq!(multi.dests.len(), 2);
    assert!(multi.dests.into_iter().eq([Dest::Address(PHONE), Dest::DistributionList(b"friends")]));
    assert_eq!(octets[multi.message.offsets.dest], 2);

    let octets = vector("submit_multi_resp");
    let (_, Body::SubmitMultiResp(response)) = decoded(&octets).unwrap() else { panic!("no submit_multi_resp") };
    assert_eq!(response.message_id, b"77");
    assert_eq!(response.unsuccess.len(), 1);
    let refused = UnsuccessSme { dest: PHONE, status: CommandStatus::ESME_RINVDSTADR };
    assert!(response.unsuccess.into_iter().eq([refused]));
}

#[test]
fn data_sm_is_read() {
    let expected = DataSm {
        service_type: b"WAP",
        source: Address { ton: 1, npi: 1, addr: &[b'1'; 64] },
        dest: PHONE,
        esm_class: 0,
        registered_delivery: 1,
        data_coding: 4,
        tlvs: Tlvs::new(&[0x04, 0x24, 0, 2, 0xCA, 0xFE]),
    };
    check("data_sm", CommandId::DATA_SM, 8, Body::DataSm(expected));
    assert_eq!(expected.text(), [0xCA, 0xFE]);
}

#[test]
fn operations_on_earlier_messages_are_read() {
    let query = QuerySm { message_id: b"0a1b2c3d", source: EXAMPLE };
    check("query_sm", CommandId::QUERY_SM, 10, Body::QuerySm(query));
    let done =
        QuerySmResp { message_id: b"0a1b2c3d", final_date: b"261120174500000+", message_state: 2, error_code: 0 };
    check("query_sm_resp", CommandId::QUERY_SM_RESP, 10, Body::QuerySmResp(done));
    let open = QuerySmResp { final_date: b"", message_state: 1, ..done };
    check("query_sm_resp_open", CommandId::QUERY_SM_RESP, 10, Body::QuerySmResp(open));
    let cancel = CancelSm { service_type: b"CMT", message_id: b"0a1b2c3d", source: EXAMPLE, dest: PHONE };
    check("cancel_sm", CommandId::CANCEL_SM, 11, Body::CancelSm(cancel));
    let cancel_all = CancelSm { message_id: b"", ..cancel };
    check("cancel_sm_all", CommandId::CANCEL_SM, 11, Body::CancelSm(cancel_all));
    let replace = ReplaceSm {
        message_id: b"0a1b2c3d",
        source: EXAMPLE,
        validity_period: b"000002000000000R",
        short_message: b"New",
        ..ReplaceSm::default()
    };
    check("replace_sm", CommandId::REPLACE_SM, 12, Body::ReplaceSm(replace));
}

#[test]
fn every_failure_is_told_as_what_it_is() {
    let fatal = |command_length, sequence_number| Deframed::Fatal { command_length, sequence_number };
    assert_eq!(deframe(&vector("fail_length_zero"), PDU_BYTES_MAX), fatal(0, 7));
    assert_eq!(deframe(&vector("fail_length_fifteen"), PDU_BYTES_MAX), fatal(15, 7));
    assert_eq!(deframe(&vector("fail_length_4_gib"), PDU_BYTES_MAX), fatal(u32::MAX, 0));
    assert_eq!(deframe(&vector("fail_header_cut"), PDU_BYTES_MAX), Deframed::NeedMore { missing: 8 });
    let cut = vector("fail_pdu_cut");
    assert_eq!(deframe(&cut, PDU_BYTES_MAX), Deframed::NeedMore { missing: 200 - cut.len() });
    let unknown = vector("fail_command_unknown");
    assert_eq!(decoded(&unknown).unwrap().1, Body::Unknown(&[1, 2, 3]));
}

#[test]
fn every_wrong_field_has_its_error_and_its_status() {
    let expected = [
        ("fail_body_cut", DecodeError::Truncated, CommandStatus::ESME_RINVCMDLEN),
        ("fail_system_id", DecodeError::SystemId, CommandStatus::ESME_RINVSYSID),
        ("fail_password", DecodeError::Password, CommandStatus::ESME_RINVPASWD),
        ("fail_system_type", DecodeError::SystemType, CommandStatus::ESME_RINVSYSTYP),
        ("fail_service_type", DecodeError::ServiceType, CommandStatus::ESME_RINVSERTYP),
        ("fail_source_addr", DecodeError::SourceAddr, CommandStatus::ESME_RINVSRCADR),
        ("fail_destination_addr", DecodeError::DestAddr, CommandStatus::ESME_RINVDSTADR),
        ("fail_schedule_delivery_time", DecodeError::ScheduleDeliveryTime, CommandStatus::ESME_RINVSCHED),
        ("fail_validity_period", DecodeError::ValidityPeriod, CommandStatus::ESME_RINVEXPIRY),
        ("fail_sm_length", DecodeError::MessageLength, CommandStatus::ESME_RINVMSGLEN),
        ("fail_message_id", DecodeError::MessageId, CommandStatus::ESME_RINVMSGID),
        ("fail_number_of_dests", DecodeError::NumberOfDests, CommandStatus::ESME_RINVNUMDESTS),
        ("fail_dest_flag", DecodeError::DestFlag, CommandStatus::ESME_RINVDESTFLAG),
        ("fail_dl_name", DecodeError::DistributionList, CommandStatus::ESME_RINVDLNAME),
        ("fail_dests_cut", DecodeError::Truncated, CommandStatus::ESME_RINVCMDLEN),
    ];
    for (name, error, status) in expected {
        assert_eq!(decoded(&vector(name)).unwrap_err(), error, "{name}");
        assert_eq!(error.status(), status, "{name}");
    }
}

fn assert_fields_of_submit(message: &ShortMessage<'_>) {
    assert_eq!(message.service_type, b"CMT");
    assert_eq!(message.source, EXAMPLE);
    assert_eq!((message.esm_class, message.protocol_id, message.priority_flag), (0, 0, 1));
    assert_eq!(message.schedule_delivery_time, b"261120174441004+");
    assert_eq!(message.validity_period, b"000002000000000R");
    assert_eq!((message.registered_delivery, message.replace_if_present_flag), (1, 0));
    assert_eq!((message.data_coding, message.sm_default_msg_id), (0, 0));
    assert_eq!(message.short_message, b"Hello");
}

#[track_caller]
fn check(name: &str, command: CommandId, sequence_number: u32, expected: Body<'_>) -> Header {
    let octets = vector(name);
    let (header, body) = decoded(&octets).unwrap();
    assert_eq!((header.command_id, header.sequence_number), (command, sequence_number));
    assert_eq!(body, expected);
    header
}

fn vector(name: &str) -> Vec<u8> {
    let found = reader::vectors().into_iter().find(|(other, _)| other == name);
    found.unwrap_or_else(|| panic!("no vector is called {name}")).1
}

fn decoded(octets: &[u8]) -> Result<(Header, Body<'_>), DecodeError> {
    let Deframed::Pdu { header, pdu } = deframe(octets, PDU_BYTES_MAX) else { panic!("no whole PDU") };
    assert_eq!(pdu.len(), octets.len());
    Body::decode(header.command_id, pdu).map(|body| (header, body))
}
