//! Replays the corpus of every fuzz target through the function that the target calls.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks.rs"]
mod checks;
#[path = "vectors/reader.rs"]
mod reader;

#[test]
fn the_stream_corpus_holds() {
    replay("stream", checks::stream);
}

#[test]
fn the_receipt_corpus_holds() {
    replay("receipt", checks::receipt);
}

#[test]
fn the_text_corpus_holds() {
    replay("text", checks::text);
}

#[test]
fn every_vector_holds_for_every_target_cut_and_changed_anywhere() {
    for (_, octets) in reader::vectors() {
        checks::stream(&octets);
        checks::receipt(&octets);
        checks::text(&octets);
        for end in 0..octets.len() {
            checks::stream(&octets[..end]);
            let mut changed = octets.clone();
            changed[end] ^= 0xFF;
            checks::stream(&changed);
        }
    }
}

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        check(&fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "no corpus for {target}");
}
