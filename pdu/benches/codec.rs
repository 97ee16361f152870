//! How many PDUs a second one core decodes and encodes: `cargo bench -p smpp-pdu`. Prints the median of several
//! rounds for each operation, in millions a second; a word as argument picks the operations that contain it.

use core::hint::black_box;
use std::time::{Duration, Instant};

use smpp_pdu::{Deframed, NormalId, Receipt, deframe, encode};

mod samples;

/// Rounds of each operation; their median is printed.
const ROUNDS: usize = 15;
/// How long a round lasts.
const ROUND: Duration = Duration::from_millis(40);
/// Operations between two looks at the clock.
const BATCH: u32 = 4096;

fn main() {
    // Cargo passes `--bench`; whatever is no flag is a filter.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let submit = samples::submit_sm();
    let response = samples::submit_sm_resp();
    let mut out = Vec::with_capacity(1 << 16);
    let operations: [(&str, &mut dyn FnMut()); 5] = [
        ("decode submit_sm, two TLVs", &mut || {
            repeat(|| {
                black_box(samples::decode_submit_sm(black_box(&submit)));
            });
        }),
        ("encode submit_sm_resp", &mut || {
            repeat(|| {
                out.clear();
                encode::submit_sm_resp(black_box(&mut out), black_box(7), black_box(&response[16..52]));
            });
        }),
        ("decode submit_sm_resp", &mut || {
            repeat(|| {
                if let Deframed::Pdu { header, pdu } = deframe(black_box(&response), 65_536) {
                    black_box((header, smpp_pdu::message::resp_message_id(pdu)));
                }
            });
        }),
        ("parse receipt", &mut || {
            repeat(|| {
                black_box(Receipt::parse(black_box(samples::RECEIPT)));
            });
        }),
        ("normalise message id", &mut || {
            repeat(|| {
                black_box(NormalId::new(black_box(b"00018f4e2a7c3b7def"), black_box(smpp_pdu::IdForm::Hex)));
            });
        }),
    ];
    for (name, run) in operations {
        if name.contains(&filter) {
            println!("{name:<30} {:>8.1} M/s", median(run) / 1e6);
        }
    }
}

#[inline(always)]
fn repeat(mut operation: impl FnMut()) {
    for _ in 0..BATCH {
        operation();
    }
}

/// Operations a second, the median of the rounds behind one that warms up.
fn median(run: &mut dyn FnMut()) -> f64 {
    let mut rates: Vec<f64> = (0..=ROUNDS)
        .map(|_| {
            let start = Instant::now();
            let mut batches = 0_u32;
            while start.elapsed() < ROUND {
                run();
                batches += 1;
            }
            f64::from(batches) * f64::from(BATCH) / start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
