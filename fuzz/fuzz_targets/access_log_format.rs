//! See `iako_telemetry::access_log::fuzz::fuzz_access_log_format`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    iako_telemetry::access_log::fuzz::fuzz_access_log_format(input);
});
