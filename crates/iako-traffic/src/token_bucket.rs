//! Tokens that come back over time.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Seconds by which a sum may be off.
const ROUNDING: f64 = 1e-6;

/// A bucket of tokens that all workers take from, without a lock.
///
/// Tokens come back evenly, not in steps, as in Envoy. What is kept is the moment at which the bucket
/// was, or would have been, empty: the tokens are the time since then times the rate. Buckets do not
/// share lines of a cache, so that who takes of one does not slow those who take of another.
#[derive(Debug)]
#[repr(align(128))]
pub struct TokenBucket {
    begun: Instant,
    /// Tokens a second.
    rate: f64,
    max: f64,
    /// Seconds since `begun`, as the bits of an `f64`.
    empty_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket of `max` tokens, into which `per_fill` come in each `interval`.
    #[must_use]
    pub fn new(max: u32, per_fill: u32, interval: Duration, now: Instant) -> Self {
        let rate = f64::from(per_fill) / interval.as_secs_f64().max(f64::MIN_POSITIVE);
        let max = f64::from(max);
        let empty_at = AtomicU64::new((-max / rate).to_bits());
        Self { begun: now, rate, max, empty_at }
    }

    /// Takes tokens, all or none; whether they were there.
    #[must_use]
    pub fn take(&self, count: u32, now: Instant) -> bool {
        self.take_part(f64::from(count), now)
    }

    /// The same of a number that need not be whole.
    #[must_use]
    pub fn take_part(&self, count: f64, now: Instant) -> bool {
        let now = self.seconds(now);
        let taken = count / self.rate;
        let step = |empty_at: u64| {
            // What was left over long ago has flowed over.
            let since = f64::from_bits(empty_at).max(now - self.max / self.rate);
            let next = since + taken;
            // Sums of fractions are a little off.
            (next <= now + ROUNDING).then(|| next.to_bits())
        };
        self.empty_at.fetch_update(Relaxed, Relaxed, step).is_ok()
    }

    /// How many tokens there are.
    #[must_use]
    pub fn left(&self, now: Instant) -> f64 {
        let empty_at = f64::from_bits(self.empty_at.load(Relaxed));
        ((self.seconds(now) - empty_at) * self.rate).clamp(0.0, self.max)
    }

    /// The most that there are.
    #[must_use]
    pub const fn max(&self) -> f64 {
        self.max
    }

    /// How many come back in a second.
    #[must_use]
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.begun).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_evenly_up_to_the_most() {
        #[expect(clippy::disallowed_methods, reason = "any time to count from")]
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let bucket = TokenBucket::new(2, 1, Duration::from_secs(10), begun);
        let takes = |now| bucket.take(1, now);
        assert_eq!([takes(at(0)), takes(at(0)), takes(at(0))], [true, true, false]);
        assert_eq!([takes(at(9)), takes(at(10)), takes(at(11))], [false, true, false]);
        assert_eq!([takes(at(1000)), takes(at(1000)), takes(at(1000))], [true, true, false]);
        let odd = begun + Duration::from_nanos(333_333_333);
        assert!(TokenBucket::new(1, 1, Duration::from_secs(60), begun).take(1, odd));
        assert!(!bucket.take(2, at(1010)));
        assert!(bucket.take(2, at(1020)));
    }
}
