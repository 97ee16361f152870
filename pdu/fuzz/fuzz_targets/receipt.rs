//! Any octets as a receipt's text, a message id and an SMPP time.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| checks::receipt(octets));
