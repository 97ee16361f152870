//! Replays the corpus of the fuzz target `step`, and a while of random operations. With FUZZ_SECONDS set, operations are made up
//! from the clock for so long, and what does not hold is printed as a file to be put into the corpus.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smpp_shards::random::Random;

#[path = "../fuzz/step.rs"]
mod checks;

/// Runs from known seeds in each test run.
const RUNS: u64 = 300;

#[test]
fn the_corpus_holds() {
    let inputs = corpus();
    assert!(!inputs.is_empty(), "there is a corpus");
    inputs.iter().for_each(|(_, octets)| checks::step(octets));
}

#[test]
fn operations_in_any_order_hold() {
    let inputs: Vec<Vec<u8>> = corpus().into_iter().map(|(_, octets)| octets).collect();
    let mut random = Random::new(2775);
    for _ in 0..RUNS {
        hold(&mutated(&inputs, &mut random));
    }
}

#[test]
fn operations_made_up_from_the_clock_hold() {
    let Ok(seconds) = std::env::var("FUZZ_SECONDS") else { return };
    let until = Instant::now() + Duration::from_secs(seconds.parse().unwrap());
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let inputs: Vec<Vec<u8>> = corpus().into_iter().map(|(_, octets)| octets).collect();
    let mut random = Random::new(seed);
    let mut runs = 0u64;
    while Instant::now() < until {
        hold(&mutated(&inputs, &mut random));
        runs += 1;
    }
    println!("{runs} runs");
}

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/step");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Checks one input; says which it was where it does not hold.
fn hold(octets: &[u8]) {
    if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| checks::step(octets))) {
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        println!("does not hold; for the corpus: xxd -r -p <<< {hex}");
        panic::resume_unwind(panic);
    }
}

/// A file of the corpus with some of it changed, or operations that nobody has seen.
fn mutated(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let below = |random: &mut Random, bound: usize| random.next_u32() as usize % bound.max(1);
    let mut octets = match below(random, 8) {
        0 => (0..below(random, 1_500)).map(|_| random.next_u32() as u8).collect(),
        1..=4 => {
            let mut octets = inputs[below(random, inputs.len())].clone();
            for _ in 0..below(random, 6) + 1 {
                let other = &inputs[below(random, inputs.len())];
                octets.extend_from_slice(&other[below(random, other.len())..]);
            }
            octets
        }
        _ => inputs[below(random, inputs.len())].clone(),
    };
    for _ in 0..below(random, 40) {
        if octets.is_empty() {
            break;
        }
        let at = below(random, octets.len());
        match below(random, 4) {
            0 => octets.insert(at, random.next_u32() as u8),
            1 => drop(octets.remove(at)),
            2 => {
                let length = below(random, 24).min(octets.len() - at);
                let piece = octets[at..at + length].to_vec();
                let to = below(random, octets.len());
                octets.splice(to..to, piece);
            }
            _ => octets[at] = random.next_u32() as u8,
        }
    }
    octets
}
