//! Any octets as operations on a process of one or two shards.
#![no_main]

#[path = "../step.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| checks::step(octets));
