//! See `iako_http::fuzz::fuzz_sections`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_http::fuzz::fuzz_sections(input));
