//! What holds for all PDUs and for any octets: reading undoes writing, the deframer does not care how a stream is
//! cut, nothing panics.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use proptest::collection::vec;
use proptest::prelude::*;
use smpp_pdu::message::MESSAGE_ID_MAX;
use smpp_pdu::multi::{SubmitMulti, SubmitMultiResp};
use smpp_pdu::time::{DateTime, SmppTime};
use smpp_pdu::{Body, CommandId, Deframed, IdForm, IdText, NormalId, deframe, encode, id};

#[path = "../fuzz/checks.rs"]
mod checks;
#[allow(dead_code, reason = "shared with the differential test")]
mod fields;

const PDU_BYTES_MAX: usize = 65_536;

proptest! {
    #[test]
    fn the_answer_with_a_uuid_is_the_one_with_its_text(uuid in any::<u128>(), sequence in any::<u32>(), before in vec(any::<u8>(), 0..80)) {
        let (mut words, mut text) = (before.clone(), before);
        encode::submit_sm_resp_uuid(&mut words, sequence, uuid);
        encode::submit_sm_resp(&mut text, sequence, &IdText::uuid(uuid));
        prop_assert_eq!(words, text);
    }

    #[test]
    fn reading_undoes_writing(fields in fields::fields(any::<u16>())) {
        fields::every_pdu(&fields, |command, octets, written| {
            let read = Body::decode(command, octets).unwrap();
            match (read, written) {
                (Body::ShortMessage(mut message), _) => {
                    message.offsets = Default::default();
                    assert_eq!(message, fields::message(&fields));
                }
                (read, Some(written)) => assert_eq!(read, written),
                (Body::SubmitMulti(multi), None) => assert_multi(&fields, multi),
                (Body::SubmitMultiResp(response), None) => assert_multi_resp(&fields, response),
                (read, None) => panic!("{command} was read as {read:?}"),
            }
        });
    }

    #[test]
    fn the_deframer_finds_the_same_pdus_however_the_stream_is_cut(
        fields in fields::fields(any::<u16>()),
        cuts in vec(1_usize..200, 1..60),
    ) {
        let mut stream = Vec::new();
        let mut lengths = Vec::new();
        fields::every_pdu(&fields, |_, octets, _| {
            stream.extend_from_slice(octets);
            lengths.push(octets.len());
        });
        prop_assert_eq!(lengths_found(&stream, &cuts), lengths);
    }

    #[test]
    fn the_deframer_asks_for_no_more_than_the_pdu_lacks(fields in fields::fields(any::<u16>()), at in any::<usize>()) {
        fields::every_pdu(&fields, |_, octets, _| {
            let end = at % octets.len();
            let Deframed::NeedMore { missing } = deframe(&octets[..end], PDU_BYTES_MAX) else { panic!("{end}") };
            let header_or_all = if end < 16 { 16 } else { octets.len() };
            assert_eq!(end + missing, header_or_all);
        });
    }

    #[test]
    fn no_octets_make_any_reader_panic(octets in vec(any::<u8>(), 0..300)) {
        checks::receipt(&octets);
        checks::text(&octets);
        let mut pdu = vec![0; 16];
        pdu.extend_from_slice(&octets);
        let length = (pdu.len() as u32).to_be_bytes();
        pdu[..4].copy_from_slice(&length);
        for command in CommandId::ALL {
            pdu[4..8].copy_from_slice(&command.0.to_be_bytes());
            checks::stream(&pdu);
        }
        checks::stream(&octets);
    }

    #[test]
    fn receipts_put_together_at_random_are_read(text in receipt_like()) {
        checks::receipt(text.as_bytes());
    }

    #[test]
    fn a_text_is_put_together_from_its_parts(text in "[a-zA-Z0-9€\\[\\]{}~\u{10000}-\u{10FFFF}]{0,300}") {
        checks::text(text.as_bytes());
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        checks::text(&units);
        let mut septets = Vec::new();
        if smpp_pdu::gsm::encode(&text, &mut septets).is_ok() {
            prop_assert_eq!(smpp_pdu::gsm::septet_count(&text), Ok(septets.len()));
            checks::text(&septets);
        }
    }

    #[test]
    fn numbers_are_the_same_id_in_every_form(value in any::<u128>(), zeros in 0_usize..10) {
        let padded = |text: IdText| [&vec![b'0'; zeros][..], &text, b" \0"].concat();
        let hex = padded(IdText::hex(value));
        let decimal = padded(IdText::decimal(value));
        prop_assert_eq!(NormalId::new(&hex, IdForm::Hex), NormalId::Number(value));
        prop_assert_eq!(NormalId::new(&decimal, IdForm::Decimal), NormalId::Number(value));
        prop_assert_eq!(id::parse_uuid(&IdText::uuid(value)), Some(value));
        prop_assert!(IdText::decimal(value).len() <= MESSAGE_ID_MAX);
    }

    #[test]
    fn moments_survive_their_formats(unix_millis in 946_684_800_000_u64..4_102_444_800_000) {
        let SmppTime::Absolute { .. } = SmppTime::absolute(unix_millis) else { panic!("not absolute") };
        let time = SmppTime::parse(&SmppTime::absolute(unix_millis).format()).unwrap();
        prop_assert_eq!(time.unix_millis(0), unix_millis / 100 * 100);
        let date = DateTime::from_unix_millis(unix_millis);
        prop_assert_eq!(DateTime::parse_receipt(&date.format_receipt()).unwrap().unix_millis(), unix_millis / 60_000 * 60_000);
    }
}

fn assert_multi(fields: &fields::Fields, mut multi: SubmitMulti<'_>) {
    assert!(multi.dests.into_iter().eq(fields::dests(fields)));
    multi.message.offsets = Default::default();
    let expected = fields::message(fields);
    assert_eq!(multi.message, smpp_pdu::ShortMessage { dest: Default::default(), ..expected });
}

fn assert_multi_resp(fields: &fields::Fields, response: SubmitMultiResp<'_>) {
    assert!(response.unsuccess.into_iter().eq(fields::unsuccess(fields)));
    assert_eq!(response.unsuccess.len(), fields::unsuccess(fields).count());
}

/// Feeds the stream in pieces of these lengths, over and over, and notes the length of each PDU found.
fn lengths_found(stream: &[u8], cuts: &[usize]) -> Vec<usize> {
    let mut lengths = Vec::new();
    let (mut start, mut end) = (0, 0);
    for cut in cuts.iter().cycle() {
        while let Deframed::Pdu { pdu, .. } = deframe(&stream[start..end], PDU_BYTES_MAX) {
            lengths.push(pdu.len());
            start += pdu.len();
        }
        if end == stream.len() {
            break;
        }
        end = stream.len().min(end + cut);
    }
    assert_eq!(start, stream.len());
    lengths
}

/// Keys, colons, blanks and values in any order.
fn receipt_like() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "id",
        "ID",
        "sub",
        "dlvrd",
        "submit date",
        "Submit_Date",
        "done date",
        "date",
        "stat",
        "status",
        "err",
        "error",
        "text",
        "Text",
        ":",
        ":",
        ":",
        " ",
        " ",
        "\0",
        ",",
        "DELIVRD",
        "undeliv",
        "2611201744",
        "0",
        "001",
        "1a2b",
    ]);
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}
