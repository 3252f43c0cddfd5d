//! Room for content that may pass no faster than allowed.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Room for a number of bytes a second, at most for one second at once. Shared by all who are held to
/// it; time is passed in, as nanoseconds since any beginning.
#[derive(Debug)]
pub struct BandwidthBucket {
    bytes_per_second: NonZeroU64,
    /// When the bucket was empty, had nothing been taken since: what it holds grows from there.
    empty_at: AtomicU64,
}

const SECOND: u128 = 1_000_000_000;

impl BandwidthBucket {
    /// A bucket that holds at first what comes within `first`.
    #[must_use]
    pub fn new(kib_per_second: NonZeroU64, now: u64, first: Duration) -> Self {
        let first = u64::try_from(first.as_nanos()).unwrap_or(u64::MAX);
        Self {
            bytes_per_second: kib_per_second.saturating_mul(NonZeroU64::MIN.saturating_add(1023)),
            empty_at: AtomicU64::new(now.saturating_sub(first)),
        }
    }

    /// Takes room for up to `wanted` bytes; how much there was.
    pub fn take(&self, wanted: u64, now: u64) -> u64 {
        let mut granted = 0;
        let updated =
            self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |empty_at| {
                let rate = u128::from(self.bytes_per_second.get());
                let empty_at = empty_at.max(now.saturating_sub(1_000_000_000));
                let since = u128::from(now.saturating_sub(empty_at));
                let room = since.saturating_mul(rate).checked_div(SECOND).unwrap_or_default();
                granted = u64::try_from(room).unwrap_or(u64::MAX).min(wanted);
                let cost = u128::from(granted).saturating_mul(SECOND).div_ceil(rate);
                Some(empty_at.saturating_add(u64::try_from(cost).unwrap_or(u64::MAX)))
            });
        // The closure always has an answer.
        updated.map_or(0, |_before| granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: u64 = 100_000_000;

    #[test]
    fn room_comes_with_time_and_is_kept_for_a_second_at_most() {
        let rate = NonZeroU64::new(10).unwrap();
        let start = 5_000_000_000;
        let bucket = BandwidthBucket::new(rate, start, Duration::from_millis(100));
        assert_eq!(bucket.take(5000, start), 1024);
        assert_eq!(bucket.take(5000, start), 0);
        assert_eq!(bucket.take(5000, start + TENTH), 1024);
        assert_eq!(bucket.take(10, start + 2 * TENTH), 10);
        assert_eq!(bucket.take(u64::MAX, start + 100 * TENTH), 10 * 1024);
        assert_eq!(bucket.take(1, start), 0, "time never runs back");
    }

    #[test]
    fn what_passes_in_a_while_is_what_may() {
        let rate = NonZeroU64::new(3).unwrap();
        let bucket = BandwidthBucket::new(rate, 0, Duration::ZERO);
        let passed: u64 = (0..10_000).map(|step| bucket.take(700, step * 1_000_000)).sum();
        assert!((29_000..=30_720).contains(&passed), "{passed}");
    }
}
