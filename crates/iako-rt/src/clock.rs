//! What time it is.

use std::time::{Instant, SystemTime};

/// A point of the monotonic clock, for durations and deadlines.
#[must_use]
pub fn now() -> Instant {
    // Under tokio's paused clock this is the paused time, elsewhere the system's.
    tokio::time::Instant::now().into_std()
}

/// The wall clock, for certificates, tokens and log lines. May jump.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the edge that the ban points to")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}
