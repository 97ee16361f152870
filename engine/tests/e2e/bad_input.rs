//! What no peer should send: broken frames, unknown commands, PDUs out of their turn. Each gets the answer that the
//! specification names, and no other session feels it.

use std::time::{Duration, Instant};

use smpp_pdu::encode::Encoder;
use smpp_pdu::{CommandId, CommandStatus, ShortMessage, Tag, Tlvs};

use crate::harness::esme::bind_pdu;
use crate::harness::message::submit_sm;
use crate::harness::setup::PASSWORD;
use crate::harness::{Esme, Gateway, Setup, Shards, Vendor, message, smsc, with_one_shard_and_with_two};

with_one_shard_and_with_two![
    a_submit_before_the_bind_is_refused,
    a_second_bind_is_refused,
    a_submit_on_a_receiver_bind_is_refused,
    garbage_closes_its_connection_alone,
    a_peer_that_goes_on_after_its_end_is_cut_off,
    half_a_header_is_waited_for,
    half_a_header_and_the_end_closes,
    a_command_length_of_zero_ends_the_connection,
    a_command_length_of_fifteen_ends_the_connection,
    a_command_length_of_four_gibibytes_ends_the_connection,
    an_unknown_command_is_refused_and_the_session_stays,
    operations_that_are_not_served_are_refused_by_name,
    responses_that_nobody_asked_for_are_passed_over,
    a_submit_that_cannot_be_read_is_refused_and_the_session_stays,
    octets_that_come_one_at_a_time_make_the_same_pdus,
    a_thousand_pdus_in_one_write_are_all_answered,
    unknown_and_broken_tlvs_do_no_harm,
    sequence_numbers_come_back_as_they_were_sent,
];

fn gateway_and_witness(shards: Shards) -> (Gateway, Esme) {
    let gateway = Setup::new(shards).customer("acme", "").start_without_vendors();
    let witness = Esme::bound(&gateway, "acme");
    (gateway, witness)
}

/// The other session is there and is answered; the gateway ends as it should.
fn end(gateway: Gateway, mut witness: Esme) {
    witness.expect_nothing_more();
    witness.unbind();
    gateway.end_well();
}

fn a_submit_before_the_bind_is_refused(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::connect(gateway.address());
    assert_eq!(esme.submitted(&message(b"too soon")).status, CommandStatus::ESME_RINVBNDSTS);
    assert_eq!(esme.bind(CommandId::BIND_TRANSCEIVER, "acme", PASSWORD).status, CommandStatus::ESME_ROK);
    esme.unbind();
    end(gateway, witness);
}

fn a_second_bind_is_refused(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::bound(&gateway, "acme");
    for command in [CommandId::BIND_TRANSCEIVER, CommandId::BIND_TRANSMITTER, CommandId::BIND_RECEIVER] {
        assert_eq!(esme.bind(command, "acme", PASSWORD).status, CommandStatus::ESME_RALYBND);
    }
    esme.expect_nothing_more();
    esme.unbind();
    end(gateway, witness);
}

fn a_submit_on_a_receiver_bind_is_refused(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::bound_as(&gateway, "acme", CommandId::BIND_RECEIVER);
    assert_eq!(esme.submitted(&message(b"no")).status, CommandStatus::ESME_RINVBNDSTS);
    esme.unbind();
    end(gateway, witness);
}

fn garbage_closes_its_connection_alone(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut noise = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..50 {
        let mut esme = if round % 2 == 0 { Esme::connect(gateway.address()) } else { Esme::bound(&gateway, "acme") };
        let octets: Vec<u8> = (0..4096)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (noise >> 56) as u8
            })
            .collect();
        // A first octet of 0xFF is a length beyond all bounds, whatever follows.
        let _ = esme.try_send(&[&[0xFF], &octets[..]].concat());
        if let Some(pdu) = esme.receive() {
            assert_eq!((pdu.command, pdu.status), (CommandId::GENERIC_NACK, CommandStatus::ESME_RINVCMDLEN));
            esme.expect_end();
        }
    }
    let mut http = Esme::connect(gateway.address());
    let _ = http.try_send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while http.receive().is_some() {}
    end(gateway, witness);
}

fn a_peer_that_goes_on_after_its_end_is_cut_off(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::connect(gateway.address());
    let block = vec![0xFF; 1 << 16];
    let (mut taken, start) = (0, Instant::now());
    while esme.try_send(&block).is_ok() {
        taken += block.len();
        assert!(start.elapsed() < Duration::from_secs(10), "{taken} octets taken");
    }
    // What the sockets hold is beside the bound, and the kernel may hold megabytes.
    assert!(taken < 32 << 20, "{taken} octets taken");
    end(gateway, witness);
}

fn half_a_header_is_waited_for(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::bound(&gateway, "acme");
    esme.send(&[0, 0, 0, 16, 0, 0, 0, 0x15]);
    esme.expect_silence(Duration::from_millis(200));
    esme.send(&[0, 0, 0, 0, 0, 0, 0, 9]);
    esme.expect_answer(CommandId::ENQUIRE_LINK_RESP, 9, CommandStatus::ESME_ROK);
    end(gateway, witness);
}

fn half_a_header_and_the_end_closes(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    for bound in [false, true] {
        let mut esme = if bound { Esme::bound(&gateway, "acme") } else { Esme::connect(gateway.address()) };
        esme.send(&[0, 0, 0, 16, 0, 0]);
        esme.finish();
        esme.expect_end();
    }
    end(gateway, witness);
}

fn a_command_length_of_zero_ends_the_connection(shards: Shards) {
    check_command_length(shards, 0);
}

fn a_command_length_of_fifteen_ends_the_connection(shards: Shards) {
    check_command_length(shards, 15);
}

fn a_command_length_of_four_gibibytes_ends_the_connection(shards: Shards) {
    check_command_length(shards, u32::MAX);
}

/// generic_nack with ESME_RINVCMDLEN, then the end, before the bind and behind it; memory stays where it was.
fn check_command_length(shards: Shards, command_length: u32) {
    let (gateway, witness) = gateway_and_witness(shards);
    let before = gateway.resident_bytes();
    for bound in [false, true] {
        let mut esme = if bound { Esme::bound(&gateway, "acme") } else { Esme::connect(gateway.address()) };
        let mut octets = command_length.to_be_bytes().to_vec();
        octets.extend([0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 7]);
        esme.send(&octets);
        let nack = esme.expect(CommandId::GENERIC_NACK);
        assert_eq!((nack.status, nack.sequence), (CommandStatus::ESME_RINVCMDLEN, 7));
        esme.expect_end();
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 4 << 20, "grown by {grown} octets");
    end(gateway, witness);
}

fn an_unknown_command_is_refused_and_the_session_stays(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    for bound in [false, true] {
        let mut esme = if bound { Esme::bound(&gateway, "acme") } else { Esme::connect(gateway.address()) };
        let mut pdu = Vec::new();
        Encoder::new(&mut pdu, CommandId(0x0001_0203), CommandStatus::ESME_ROK, 77).octets(&[1; 40]).finish();
        esme.send(&pdu);
        esme.expect_answer(CommandId::GENERIC_NACK, 77, CommandStatus::ESME_RINVCMDID);
        esme.expect_nothing_more();
    }
    end(gateway, witness);
}

fn operations_that_are_not_served_are_refused_by_name(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::bound(&gateway, "acme");
    for command in
        [CommandId::DATA_SM, CommandId::SUBMIT_MULTI, CommandId::QUERY_SM, CommandId::CANCEL_SM, CommandId::REPLACE_SM]
    {
        let sequence = esme.sequence();
        let mut pdu = Vec::new();
        Encoder::new(&mut pdu, command, CommandStatus::ESME_ROK, sequence).octets(&[0; 40]).finish();
        esme.send(&pdu);
        esme.expect_answer(command.response(), sequence, CommandStatus::ESME_RINVCMDID);
    }
    esme.unbind();
    end(gateway, witness);
}

fn responses_that_nobody_asked_for_are_passed_over(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::bound(&gateway, "acme");
    for command in [
        CommandId::SUBMIT_SM_RESP,
        CommandId::DELIVER_SM_RESP,
        CommandId::ENQUIRE_LINK_RESP,
        CommandId::UNBIND_RESP,
        CommandId::BIND_TRANSCEIVER_RESP,
        CommandId::GENERIC_NACK,
    ] {
        esme.send_header(command, CommandStatus::ESME_ROK, 4711);
        esme.send_header(command, CommandStatus::ESME_RSYSERR, 0);
    }
    esme.expect_nothing_more();
    esme.unbind();
    end(gateway, witness);
}

fn a_submit_that_cannot_be_read_is_refused_and_the_session_stays(shards: Shards) {
    let (gateway, witness) = gateway_and_witness(shards);
    let mut esme = Esme::bound(&gateway, "acme");
    let whole = submit_sm(1, &message(b"a message that is cut"));
    for length in [16, 17, 20, 30, 45, whole.len() - 1] {
        let sequence = esme.sequence();
        let mut cut = whole[..length].to_vec();
        cut[..4].copy_from_slice(&(length as u32).to_be_bytes());
        cut[12..16].copy_from_slice(&sequence.to_be_bytes());
        esme.send(&cut);
        let answer = esme.expect(CommandId::SUBMIT_SM_RESP);
        assert_eq!((answer.sequence, answer.bytes.len()), (sequence, 16));
        assert!(!answer.status.is_ok());
    }
    let long = [b'9'; 40];
    let too_long = ShortMessage { service_type: b"WAP", ..message(b"x") };
    let sequence = esme.sequence();
    let mut pdu = Vec::new();
    // A destination of 40 octets where 20 may stand.
    Encoder::new(&mut pdu, CommandId::SUBMIT_SM, CommandStatus::ESME_ROK, sequence)
        .c_octets(too_long.service_type, 5)
        .address(too_long.source, 20)
        .u8(1)
        .u8(1)
        .c_octets(&long, 40)
        .octets(&[0; 10])
        .finish();
    esme.send(&pdu);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_RINVDSTADR);
    esme.expect_nothing_more();
    esme.unbind();
    end(gateway, witness);
}

fn octets_that_come_one_at_a_time_make_the_same_pdus(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut esme = Esme::connect(gateway.address());
    let mut octets = bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "acme", PASSWORD, 0x34);
    octets.extend(submit_sm(2, &message(b"slowly")));
    for octet in octets {
        esme.send(&[octet]);
    }
    esme.expect_answer(CommandId::BIND_TRANSCEIVER_RESP, 1, CommandStatus::ESME_ROK);
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, 2, CommandStatus::ESME_ROK);
    gateway.end_well_without(esme);
}

/// Bind and submits in one write: what stands behind the bind is kept while the bind is being checked, and moves with
/// the connection.
fn a_thousand_pdus_in_one_write_are_all_answered(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut esme = Esme::connect(gateway.address());
    let mut octets = bind_pdu(CommandId::BIND_TRANSCEIVER, 1, "acme", PASSWORD, 0x34);
    for sequence in 2..=1001 {
        octets.extend(submit_sm(sequence, &message(b"all at once")));
    }
    esme.send(&octets);
    esme.expect_answer(CommandId::BIND_TRANSCEIVER_RESP, 1, CommandStatus::ESME_ROK);
    let mut answered: Vec<u32> = (2..=1001)
        .map(|_| {
            let answer = esme.expect(CommandId::SUBMIT_SM_RESP);
            assert_eq!(answer.status, CommandStatus::ESME_ROK);
            answer.sequence
        })
        .collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(2..=1001));
    gateway.end_well_without(esme);
}

fn unknown_and_broken_tlvs_do_no_harm(shards: Shards) {
    let vendor = Vendor::listen();
    let gateway = Setup::usual(shards, vendor.address()).launch();
    let mut link = vendor.accept_bound();
    gateway.wait_until_bound(1);
    let mut esme = Esme::bound(&gateway, "acme");
    let mut tlvs = vec![0x14, 0x00, 0, 3, b'd', b'l', b't'];
    tlvs.extend([0x02, 0x04, 0, 1, 9]);
    let whole = tlvs.len();
    // A TLV that says 200 octets and has two.
    tlvs.extend([0x15, 0x55, 0, 200, 1, 2]);
    let sequence = esme.submit(&message(b"tlv"));
    link.accept_submit("1");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    let mut pdu = submit_sm(50, &message(b"tlv"));
    pdu.extend(&tlvs);
    let length = pdu.len() as u32;
    pdu[..4].copy_from_slice(&length.to_be_bytes());
    esme.send(&pdu);
    let submit = link.accept_submit("2");
    assert_eq!(submit.message().tlvs.as_bytes(), &tlvs[..whole], "the whole ones pass, the broken one does not");
    assert_eq!(Tlvs::new(&tlvs).find(Tag(0x1400)).unwrap().value, b"dlt");
    esme.expect_answer(CommandId::SUBMIT_SM_RESP, 50, CommandStatus::ESME_ROK);
    esme.unbind();
    gateway.end_well_without(link);
}

fn sequence_numbers_come_back_as_they_were_sent(shards: Shards) {
    let vendor = smsc(&[]);
    let gateway = Setup::usual(shards, vendor.address()).start();
    let mut esme = Esme::bound(&gateway, "acme");
    for sequence in [0, 0x7FFF_FFFF, 0x8000_0000, u32::MAX, 1, 1] {
        esme.send(&submit_sm(sequence, &message(b"odd")));
        esme.expect_answer(CommandId::SUBMIT_SM_RESP, sequence, CommandStatus::ESME_ROK);
    }
    esme.unbind();
    gateway.end_well();
}
