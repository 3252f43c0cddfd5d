//! Replays what the fuzzers have kept: each input once found something, or covers what nothing else does.

use iako_testkit::corpus::replay;

#[test]
fn http1_requests() {
    replay("http1_request", iako_http::fuzz::fuzz_request);
}

#[test]
fn http1_responses() {
    replay("http1_response", iako_http::fuzz::fuzz_response);
}

#[test]
fn hpack_blocks() {
    replay("hpack_decode", iako_http::fuzz::fuzz_hpack_decode);
}

#[test]
fn hpack_round_trips() {
    replay("hpack_round_trip", iako_http::fuzz::fuzz_hpack_round_trip);
}

#[test]
fn http2_sections() {
    replay("http2_sections", iako_http::fuzz::fuzz_sections);
}

#[test]
fn http2_frames() {
    replay("http2_frames", iako_http::fuzz::fuzz_frames);
}

#[test]
fn header_edits() {
    replay("header_edits", iako_http::fuzz::fuzz_edits);
}
