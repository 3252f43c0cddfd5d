//! Entry points for fuzzers. Any bytes in, no panic, and what was accepted is what was signed.
//!
//! The targets in `fuzz/` call these; an ordinary test calls them with every input that is kept there.

use std::time::{Duration, SystemTime};

use super::keys::{JwtMemory, KeySet};

/// Reads the bytes as a JSON Web Key Set.
pub fn fuzz_jwks(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // Refused is as good as taken here.
    drop(KeySet::parse(text));
}

/// Reads the bytes as a token and, after a line's end, as the keys that are asked about it.
pub fn fuzz_jwt(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (token, keys) = text.split_once('\n').unwrap_or((text, ""));
    let mut memory = JwtMemory::default();
    let Ok(read) = memory.read(token) else { return };
    let token = &read.token;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    // Whoever allows more accepts no less.
    let timely = |skew| token.check_time(now, Duration::from_secs(skew)).is_ok();
    debug_assert!(!timely(0) || timely(60), "more time is less");
    let is_for = |allowed: &[String]| token.check_audience(allowed).is_ok();
    let one = ["a".to_owned()];
    let both = ["a".to_owned(), token.issuer().to_owned()];
    debug_assert!(!is_for(&one) || is_for(&both), "more audiences are fewer");
    let Ok(keys) = KeySet::parse(keys) else { return };
    let first = keys.verify(&read, &mut memory);
    let Ok(again) = memory.read(token.text()) else {
        unreachable!("what was read can be read again")
    };
    let again = keys.verify(&again, &mut memory);
    debug_assert!(first.is_ok() == again.is_ok(), "what is remembered differs");
}
