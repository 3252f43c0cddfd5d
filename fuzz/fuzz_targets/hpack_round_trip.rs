//! See `iako_http::fuzz::fuzz_hpack_round_trip`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_http::fuzz::fuzz_hpack_round_trip(input));
