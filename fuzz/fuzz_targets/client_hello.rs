//! See `iako_proxy::fuzz::fuzz_client_hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_proxy::fuzz::fuzz_client_hello(input));
