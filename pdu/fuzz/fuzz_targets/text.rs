//! Any octets as a text in every alphabet, cut into parts, and as a user data header.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| checks::text(octets));
