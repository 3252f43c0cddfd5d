//! Replays what the fuzzers have kept: each input once found something, or covers what nothing else does.

#[test]
fn jwks() {
    iako_testkit::corpus::replay("jwks", iako_traffic::fuzz::fuzz_jwks);
}

#[test]
fn tokens() {
    iako_testkit::corpus::replay("jwt", iako_traffic::fuzz::fuzz_jwt);
}
