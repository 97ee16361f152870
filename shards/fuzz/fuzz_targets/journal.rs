//! Any octets as a journal, and as a script by which one is written and damaged.
#![no_main]

#[path = "../journal.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| checks::journal(octets));
