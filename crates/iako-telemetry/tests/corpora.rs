//! What the fuzzer kept, run again.

#[test]
fn every_kept_format_is_rendered() {
    let run = iako_telemetry::access_log::fuzz::fuzz_access_log_format;
    iako_testkit::corpus::replay("access_log_format", run);
}
