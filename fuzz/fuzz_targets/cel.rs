//! See `iako_cel::fuzz::fuzz_cel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_cel::fuzz::fuzz_cel(input));
