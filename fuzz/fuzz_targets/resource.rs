//! See `iako_xds_codec::fuzz::fuzz_resource`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| iako_xds_codec::fuzz::fuzz_resource(input));
