//! Replays what the fuzzers have kept: each input once found something, or covers what nothing else does.

#![expect(clippy::expect_used, reason = "tests may be blunt")]

use std::fs;
use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut inputs = 0;
    for entry in fs::read_dir(&corpus).expect("the corpus is part of the repository") {
        let path = entry.expect("a directory entry").path();
        run(&fs::read(&path).expect("a file of the corpus"));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", corpus.display());
}

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
