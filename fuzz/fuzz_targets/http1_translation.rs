//! See `judge_http1`: what other readers accept and we refuse has a name, and what we translate they
//! accept.
#![no_main]

#[path = "../../crates/iako-http/tests/second_opinion/differences.rs"]
mod differences;
#[path = "../../crates/iako-http/tests/second_opinion/judge.rs"]
mod judge;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    judge::judge_http1(input);
});
