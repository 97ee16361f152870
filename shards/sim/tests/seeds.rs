//! The seeds that every test run plays: two hundred in a row, and by name those that once found a defect.

use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 200;
const THREADS: usize = 2;

/// Says which seed it was when a run panics, also where the panic's own words do not.
struct Playing(u64);

impl Drop for Playing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("seed {seed} failed; replay it with: cargo run --release -p smpp-sim -- --seed {seed} --verbose");
        }
    }
}

fn play(seed: u64) -> smpp_sim::Outcome {
    let playing = Playing(seed);
    let outcome = smpp_sim::run(seed, false);
    drop(playing);
    outcome
}

#[test]
fn two_hundred_seeds_hold() {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    play(seed);
                }
            });
        }
    });
}

#[test]
fn two_runs_of_one_seed_are_the_same_run() {
    for seed in [1, 3, 13, 25, 99, 1_000_003] {
        let (first, second) = (play(seed), play(seed));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed} is not reproducible");
        assert_eq!(first.events, second.events, "seed {seed} is not reproducible");
    }
}

#[test]
fn different_seeds_are_different_runs() {
    assert_ne!(play(7).trace_hash, play(8).trace_hash);
}

// What a seed means changes with the simulator. When it does, the seeds below are looked for anew: put the defect
// back, and take the first seed that finds it.

/// Text in message_payload was lost on its way to a vendor of version 3.3, which gets no TLVs.
#[test]
fn payload_reaches_a_vendor_without_tlvs() {
    play(3);
}

/// An MO in message_payload was lost on its way to a bind of version 3.3.
#[test]
fn payload_reaches_a_customer_without_tlvs() {
    play(12);
}

/// A receipt that came before its submit_sm_resp reached the customer before the answer that tells its id.
#[test]
fn a_receipt_never_overtakes_the_answer() {
    play(0);
}

/// A drain did not become quiet, for a vendor sent again and again what was held for a customer that had gone.
#[test]
fn a_drain_ends_though_a_customer_is_gone() {
    play(6);
}

/// A message that was sent while others expired was taken for one of them: ESME_RUNKNOWNERR, and one more than the
/// window on the link.
#[test]
fn a_message_does_not_expire_with_those_before_it() {
    play(425);
}

/// The second of two early receipts was never answered when the first had ended the waiting.
#[test]
fn every_early_receipt_is_answered() {
    play(683);
}
