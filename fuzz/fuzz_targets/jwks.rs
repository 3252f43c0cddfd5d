//! See `iako_traffic::fuzz::fuzz_jwks`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_traffic::fuzz::fuzz_jwks(input));
