//! See `iako_resources::fuzz::fuzz_object`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_resources::fuzz::fuzz_object(input));
