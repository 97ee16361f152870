//! Random field values, and every kind of PDU made of them.

use proptest::collection::vec;
use proptest::prelude::*;
use smpp_pdu::bind::{Bind, BindResp};
use smpp_pdu::data::DataSm;
use smpp_pdu::manage::{CancelSm, QuerySm, QuerySmResp, ReplaceSm};
use smpp_pdu::message::MessageResp;
use smpp_pdu::multi::{Dest, UnsuccessSme};
use smpp_pdu::notice::{AlertNotification, Outbind};
use smpp_pdu::{Address, Body, CommandId, CommandStatus, Encoder, Header, ShortMessage, Tag, Tlvs, encode};

/// A type of number, a numbering plan and an address.
type AnyAddress = (u8, u8, Vec<u8>);

/// Values for every field that any PDU has, each as long as its field allows.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    system_id: Vec<u8>,
    password: Vec<u8>,
    system_type: Vec<u8>,
    address_range: Vec<u8>,
    service_type: Vec<u8>,
    message_id: Vec<u8>,
    source: AnyAddress,
    dest: AnyAddress,
    dests: Vec<(Option<AnyAddress>, Vec<u8>)>,
    unsuccess: Vec<(AnyAddress, u32)>,
    schedule: Vec<u8>,
    validity: Vec<u8>,
    octets: [u8; 8],
    version: u8,
    text: Vec<u8>,
    tlvs: Vec<u8>,
}

/// Any fields; their C-octet strings are ASCII, their TLVs have the tags given.
pub(crate) fn fields(tag: impl Strategy<Value = u16>) -> impl Strategy<Value = Fields> {
    let names = (string(15), string(8), string(12), string(40), string(5), string(64));
    let address = || (any::<u8>(), any::<u8>(), string(20));
    let dests = vec((proptest::option::of(address()), string(20)), 1..6);
    let unsuccess = vec((address(), any::<u32>()), 0..4);
    let texts = (time(), time(), any::<[u8; 8]>(), any::<u8>(), vec(any::<u8>(), 0..=255), tlvs(tag));
    (names, address(), address(), dests, unsuccess, texts).prop_map(|(names, source, dest, dests, unsuccess, texts)| {
        let (system_id, password, system_type, address_range, service_type, message_id) = names;
        let (schedule, validity, octets, version, text, tlvs) = texts;
        Fields {
            system_id,
            password,
            system_type,
            address_range,
            service_type,
            message_id,
            source,
            dest,
            dests,
            unsuccess,
            schedule,
            validity,
            octets,
            version,
            text,
            tlvs,
        }
    })
}

/// Every kind of PDU, written with these fields and read again, `check` being given command, octets and what was read.
pub(crate) fn every_pdu(fields: &Fields, mut check: impl FnMut(CommandId, &[u8], Option<Body<'_>>)) {
    for (command, body) in bodies(fields) {
        let mut out = Vec::new();
        let header = Header {
            command_length: 0,
            command_id: command,
            command_status: CommandStatus::ESME_ROK,
            sequence_number: 7,
        };
        body.encode(header, &mut out);
        check(command, &out, Some(body));
    }
    for (command, out) in lists(fields) {
        check(command, &out, None);
    }
}

/// The PDUs whose view can be made without octets to borrow a list from.
fn bodies(fields: &Fields) -> Vec<(CommandId, Body<'_>)> {
    let bind = Bind {
        system_id: &fields.system_id,
        password: &fields.password,
        system_type: &fields.system_type,
        interface_version: fields.version,
        addr_ton: fields.octets[0],
        addr_npi: fields.octets[1],
        address_range: &fields.address_range,
    };
    let bind_resp = BindResp { system_id: &fields.system_id, sc_interface_version: Some(fields.version) };
    let resp = MessageResp { message_id: &fields.message_id, tlvs: Tlvs::new(&fields.tlvs) };
    let message = message(fields);
    let (message_id, source, dest) = (&fields.message_id[..], message.source, message.dest);
    let data = DataSm {
        service_type: &fields.service_type,
        source,
        dest,
        esm_class: fields.octets[0],
        registered_delivery: fields.octets[1],
        data_coding: fields.octets[2],
        tlvs: message.tlvs,
    };
    let answer =
        QuerySmResp { message_id, final_date: &fields.schedule, message_state: fields.octets[0], error_code: 0 };
    let replace = ReplaceSm {
        message_id,
        source,
        schedule_delivery_time: &fields.schedule,
        validity_period: &fields.validity,
        registered_delivery: fields.octets[0],
        sm_default_msg_id: fields.octets[1],
        short_message: &fields.text,
        tlvs: Tlvs::default(),
    };
    let cancel = CancelSm { service_type: &fields.service_type, message_id, source, dest };
    let outbind = Outbind { system_id: &fields.system_id, password: &fields.password };
    let alert = AlertNotification { source, esme: dest, tlvs: Tlvs::default() };
    vec![
        (CommandId::BIND_RECEIVER, Body::Bind(bind)),
        (CommandId::BIND_TRANSMITTER, Body::Bind(bind)),
        (CommandId::BIND_TRANSCEIVER, Body::Bind(bind)),
        (CommandId::BIND_TRANSCEIVER_RESP, Body::BindResp(bind_resp)),
        (CommandId::OUTBIND, Body::Outbind(outbind)),
        (CommandId::SUBMIT_SM, Body::ShortMessage(message)),
        (CommandId::DELIVER_SM, Body::ShortMessage(message)),
        (CommandId::SUBMIT_SM_RESP, Body::MessageResp(resp)),
        (CommandId::DATA_SM_RESP, Body::MessageResp(resp)),
        (CommandId::DELIVER_SM_RESP, Body::MessageResp(MessageResp::default())),
        (CommandId::DATA_SM, Body::DataSm(data)),
        (CommandId::QUERY_SM, Body::QuerySm(QuerySm { message_id, source })),
        (CommandId::QUERY_SM_RESP, Body::QuerySmResp(answer)),
        (CommandId::CANCEL_SM, Body::CancelSm(cancel)),
        (CommandId::REPLACE_SM, Body::ReplaceSm(replace)),
        (CommandId::ALERT_NOTIFICATION, Body::AlertNotification(alert)),
        (CommandId::ENQUIRE_LINK, Body::HeaderOnly),
        (CommandId::GENERIC_NACK, Body::HeaderOnly),
    ]
}

/// submit_multi and its response, whose lists are written one by one.
fn lists(fields: &Fields) -> [(CommandId, Vec<u8>); 2] {
    let (mut multi, mut resp) = (Vec::new(), Vec::new());
    encode::submit_multi(&mut multi, 7, &message(fields), dests(fields));
    encode::submit_multi_resp(&mut resp, 7, &fields.message_id, unsuccess(fields));
    [(CommandId::SUBMIT_MULTI, multi), (CommandId::SUBMIT_MULTI_RESP, resp)]
}

/// The destinations of the submit_multi.
pub(crate) fn dests(fields: &Fields) -> impl Iterator<Item = Dest<'_>> {
    fields.dests.iter().map(|(single, list)| match single {
        Some(single) => Dest::Address(address(single)),
        None => Dest::DistributionList(list),
    })
}

/// The list of the submit_multi_resp.
pub(crate) fn unsuccess(fields: &Fields) -> impl Iterator<Item = UnsuccessSme<'_>> {
    fields.unsuccess.iter().map(|(dest, status)| UnsuccessSme { dest: address(dest), status: CommandStatus(*status) })
}

/// The short message that submit_sm, deliver_sm and submit_multi carry; `offsets` is left empty.
pub(crate) fn message(fields: &Fields) -> ShortMessage<'_> {
    let [esm_class, protocol_id, priority_flag, registered_delivery, replace_if_present_flag, data_coding, canned, _] =
        fields.octets;
    ShortMessage {
        service_type: &fields.service_type,
        source: address(&fields.source),
        dest: address(&fields.dest),
        esm_class,
        protocol_id,
        priority_flag,
        schedule_delivery_time: &fields.schedule,
        validity_period: &fields.validity,
        registered_delivery,
        replace_if_present_flag,
        data_coding,
        sm_default_msg_id: canned,
        short_message: &fields.text,
        tlvs: Tlvs::new(&fields.tlvs),
        ..ShortMessage::default()
    }
}

fn address((ton, npi, addr): &AnyAddress) -> Address<'_> {
    Address { ton: *ton, npi: *npi, addr }
}

fn string(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8..0x80, 0..=max)
}

fn time() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(Vec::new()), vec(b'0'..=b'9', 16)]
}

fn tlvs(tag: impl Strategy<Value = u16>) -> impl Strategy<Value = Vec<u8>> {
    vec((tag, vec(any::<u8>(), 0..40)), 0..5).prop_map(|tlvs| {
        let mut out = Vec::new();
        let pdu = Encoder::new(&mut out, CommandId::SUBMIT_SM, CommandStatus::ESME_ROK, 0);
        tlvs.iter().fold(pdu, |pdu, (tag, value)| pdu.tlv(Tag(*tag), value)).finish();
        out.split_off(16)
    })
}
