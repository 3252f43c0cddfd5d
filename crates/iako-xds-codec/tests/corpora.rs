//! Replays what the fuzzers have kept: each input once found something, or covers what nothing else does.

#[test]
fn bootstraps() {
    iako_testkit::corpus::replay("bootstrap", iako_xds_codec::fuzz::fuzz_bootstrap);
}

#[test]
fn resources() {
    iako_testkit::corpus::replay("resource", iako_xds_codec::fuzz::fuzz_resource);
}
