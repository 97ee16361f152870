//! The same octets through this crate and through `rusmpp`, which others wrote: what we write it reads, and writes
//! back octet for octet; what it reads we read too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::LazyLock;

use bytes::BytesMut;
use proptest::prelude::*;
use rusmpp::decode::DecodeWithLength;
use rusmpp::encode::{Encode, Length};
use smpp_pdu::{Body, CommandId, DecodeError, Deframed, deframe};

#[allow(dead_code, reason = "shared with the property tests")]
mod fields;
#[path = "vectors/reader.rs"]
mod reader;

/// Octets of command_length, which rusmpp leaves to its codec.
const LENGTH_FIELD: usize = 4;
const PDU_BYTES_MAX: usize = 65_536;

static VECTORS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(reader::vectors);

proptest! {
    #[test]
    fn what_we_write_rusmpp_reads_and_writes_back(fields in fields::fields(0x1400_u16..0x3FFF)) {
        fields::every_pdu(&fields, |command, octets, _| {
            let theirs = read(octets).unwrap_or_else(|error| panic!("{command}: {error}"));
            assert_eq!(u32::from(theirs.id()), command.0);
            assert_eq!(theirs.sequence_number(), 7);
            assert_eq!(written(&theirs), octets[LENGTH_FIELD..], "{command}");
        });
    }

    #[test]
    fn fields_of_submit_sm_are_the_same(fields in fields::fields(0x1400_u16..0x3FFF)) {
        fields::every_pdu(&fields, |command, octets, _| {
            if command != CommandId::SUBMIT_SM {
                return;
            }
            let theirs = read(octets).unwrap();
            let Some(rusmpp::Pdu::SubmitSm(theirs)) = theirs.pdu() else { panic!("not a submit_sm") };
            let ours = smpp_pdu::ShortMessage::decode(octets).unwrap();
            assert_eq!(theirs.source_addr.as_str().as_bytes(), ours.source.addr);
            assert_eq!(theirs.destination_addr.as_str().as_bytes(), ours.dest.addr);
            assert_eq!(u8::from(theirs.source_addr_ton), ours.source.ton);
            assert_eq!(u8::from(theirs.dest_addr_npi), ours.dest.npi);
            assert_eq!(theirs.protocol_id, ours.protocol_id);
            assert_eq!(u8::from(theirs.data_coding), ours.data_coding);
            assert_eq!(theirs.short_message().as_ref(), ours.short_message);
            assert_eq!(theirs.tlvs().len(), ours.tlvs.into_iter().count());
        });
    }

    #[test]
    fn what_rusmpp_reads_we_read_too(at in any::<prop::sample::Index>(), value in any::<u8>(), which in any::<prop::sample::Index>()) {
        let (name, mut octets) = VECTORS[which.index(VECTORS.len())].clone();
        // Behind command_length and command_id, so that it stays a PDU of its kind.
        let place = 8 + at.index(octets.len().saturating_sub(8).max(1));
        if let Some(octet) = octets.get_mut(place) {
            *octet = value;
        }
        let Deframed::Pdu { header, pdu } = deframe(&octets, PDU_BYTES_MAX) else { return Ok(()) };
        if read(pdu).is_ok() {
            // It takes a submit_multi to nobody.
            let ours = Body::decode(header.command_id, pdu);
            prop_assert!(matches!(ours, Ok(_) | Err(DecodeError::NumberOfDests)), "{}: {:?}", name, ours);
        }
    }
}

#[test]
fn every_vector_of_ours_that_is_good_is_good_to_rusmpp() {
    // Its addresses in data_sm end at 20 octets, as those of SMPP 5.0 do; those of 3.4 at 64.
    let good = |name: &str| !name.starts_with("fail_") && name != "data_sm";
    for (name, octets) in reader::vectors().into_iter().filter(|(name, _)| good(name)) {
        let theirs = read(&octets).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(written(&theirs), octets[LENGTH_FIELD..], "{name}");
    }
}

fn read(pdu: &[u8]) -> Result<rusmpp::Command, rusmpp::decode::DecodeError> {
    let mut octets = BytesMut::from(&pdu[LENGTH_FIELD..]);
    let length = octets.len();
    rusmpp::Command::decode(&mut octets, length).map(|(command, _)| command)
}

fn written(command: &rusmpp::Command) -> Vec<u8> {
    let mut out = vec![0; command.length()];
    command.encode(&mut out);
    out
}
