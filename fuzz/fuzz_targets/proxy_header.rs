//! See `iako_proxy::fuzz::fuzz_proxy_header`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_proxy::fuzz::fuzz_proxy_header(input));
