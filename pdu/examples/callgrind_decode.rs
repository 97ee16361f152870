//! Runs one operation of the codec a number of times and nothing else, so that callgrind can count its
//! instructions: `callgrind_decode OPERATION TIMES`. Without arguments it names the operations.
//! `perf/instructions/count.sh` is what calls it.

use core::hint::black_box;

use smpp_pdu::{Deframed, IdForm, NormalId, Receipt, deframe, encode};

#[path = "../benches/samples/mod.rs"]
mod samples;

const OPERATIONS: [&str; 5] =
    ["decode_submit_sm", "encode_submit_sm_resp", "decode_submit_sm_resp", "parse_receipt", "normalise_id"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(operation) = arguments.next() else {
        println!("{}", OPERATIONS.join("\n"));
        return;
    };
    let times = arguments.next().and_then(|times| times.parse().ok()).unwrap_or(1);
    let submit = samples::submit_sm();
    let response = samples::submit_sm_resp();
    let mut out = Vec::with_capacity(256);
    match operation.as_str() {
        "decode_submit_sm" => repeat(times, || {
            black_box(samples::decode_submit_sm(black_box(&submit)));
        }),
        "encode_submit_sm_resp" => repeat(times, || {
            out.clear();
            encode::submit_sm_resp(black_box(&mut out), black_box(7), black_box(&response[16..52]));
        }),
        "decode_submit_sm_resp" => repeat(times, || {
            if let Deframed::Pdu { header, pdu } = deframe(black_box(&response), 65_536) {
                black_box((header, smpp_pdu::message::resp_message_id(pdu)));
            }
        }),
        "parse_receipt" => repeat(times, || {
            black_box(Receipt::parse(black_box(samples::RECEIPT)));
        }),
        "normalise_id" => repeat(times, || {
            black_box(NormalId::new(black_box(b"00018f4e2a7c3b7def"), IdForm::Hex));
        }),
        _ => {
            eprintln!("no operation is called {operation}");
            std::process::exit(2);
        }
    }
}

#[inline(always)]
fn repeat(times: u32, mut operation: impl FnMut()) {
    for _ in 0..times {
        operation();
    }
}
