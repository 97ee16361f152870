//! Any octets as a byte stream of PDUs, each decoded, written and decoded again.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| checks::stream(octets));
