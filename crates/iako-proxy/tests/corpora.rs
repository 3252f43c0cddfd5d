//! Replays what the fuzzers have kept: each input once found something, or covers what nothing else does.

#[test]
fn proxy_headers() {
    iako_testkit::corpus::replay("proxy_header", iako_proxy::fuzz::fuzz_proxy_header);
}

#[test]
fn client_hellos() {
    iako_testkit::corpus::replay("client_hello", iako_proxy::fuzz::fuzz_client_hello);
}
