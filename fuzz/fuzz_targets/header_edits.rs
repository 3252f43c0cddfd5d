//! See `iako_http::fuzz::fuzz_edits`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_http::fuzz::fuzz_edits(input));
