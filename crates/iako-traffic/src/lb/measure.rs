//! What is known of how an instance does: since when it serves, how fast it answers, what it
//! reports of its load.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use iako_proxy_config::{ClientWeighted, PeakEwma, SlowStart};

/// Nanoseconds of the cluster's time, from 1; 0 is never.
pub(super) type Moment = u64;

/// Numbers that some policies weigh an instance by.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    /// Since when it serves.
    serving_since: AtomicU64,
    /// The moving average of response times, in nanoseconds, as bits of a float; 0 before any.
    response_time: AtomicU64,
    response_time_at: AtomicU64,
    /// The weight by its last report; 0 before any.
    reported: AtomicU32,
    reported_since: AtomicU64,
    reported_at: AtomicU64,
    /// The weight that counts until the next look at reports; 0 before the first.
    weight: AtomicU32,
}

impl Measures {
    /// It serves from now on, unless it did before.
    pub(super) fn serves(&self, now: Moment) {
        let _earlier = self.serving_since.compare_exchange(0, now.max(1), Relaxed, Relaxed);
    }

    /// It begins to serve anew, after checks had found it failing.
    pub(super) fn serves_again(&self, now: Moment) {
        self.serving_since.store(now.max(1), Relaxed);
    }

    /// When its slow start is over.
    pub(super) fn slow_until(&self, slow: &SlowStart) -> Moment {
        match self.serving_since.load(Relaxed) {
            0 => 0,
            since => since.saturating_add(nanos(slow.window)),
        }
    }

    /// The part of its weight that it has now.
    pub(super) fn slow_factor(&self, slow: &SlowStart, now: Moment) -> f64 {
        let since = self.serving_since.load(Relaxed);
        let age = Duration::from_nanos(now.saturating_sub(since));
        if since == 0 || age >= slow.window {
            return 1.0;
        }
        let part = age.max(Duration::from_millis(1)).as_secs_f64() / slow.window.as_secs_f64();
        part.powf(1.0 / slow.aggression.value).max(slow.weight_min.as_f64() / 100.0)
    }

    /// Counts a response time. A rise counts whole and at once, a fall with time: an instance that
    /// becomes slow must be left at once, and one that was slow has to prove itself.
    ///
    /// Source: "peak EWMA" of Finagle's balancer.
    pub(super) fn answered(&self, took: Duration, now: Moment, policy: &PeakEwma) {
        let took = took.as_secs_f64() * 1e9;
        let before = f64::from_bits(self.response_time.load(Relaxed));
        let since = now.saturating_sub(self.response_time_at.swap(now, Relaxed));
        let average = if before == 0.0 || took > before {
            took
        } else {
            let kept =
                (-Duration::from_nanos(since).as_secs_f64() / policy.decay.as_secs_f64()).exp();
            before * kept + took * (1.0 - kept)
        };
        self.response_time.store(average.max(1.0).to_bits(), Relaxed);
    }

    /// What a request to it costs, with so many open.
    pub(super) fn cost(&self, active: u32, policy: &PeakEwma) -> f64 {
        let average = f64::from_bits(self.response_time.load(Relaxed));
        let time = if average == 0.0 { policy.default_rtt.as_secs_f64() * 1e9 } else { average };
        time * (f64::from(active) + 1.0)
    }

    /// Takes a report's weight.
    pub(super) fn reports(&self, weight: u32, now: Moment) {
        self.reported.store(weight.max(1), Relaxed);
        let _earlier = self.reported_since.compare_exchange(0, now.max(1), Relaxed, Relaxed);
        self.reported_at.store(now.max(1), Relaxed);
    }

    /// The weight by reports that are neither too new nor too old.
    pub(super) fn valid_report(&self, policy: &ClientWeighted, now: Moment) -> Option<u32> {
        let at = self.reported_at.load(Relaxed);
        if at == 0 {
            return None;
        }
        if now.saturating_sub(at) > nanos(policy.expiration) {
            // The next reports have to prove themselves again.
            self.reported_since.store(0, Relaxed);
            self.reported_at.store(0, Relaxed);
            return None;
        }
        let since = self.reported_since.load(Relaxed);
        let is_proven = now.saturating_sub(since) >= nanos(policy.blackout);
        is_proven.then(|| self.reported.load(Relaxed))
    }

    /// Sets the weight that counts until the next look; whether it is another one.
    pub(super) fn set_weight(&self, weight: u32) -> bool {
        self.weight.swap(weight.max(1), Relaxed) != weight.max(1)
    }

    /// The weight by reports; none before the first look at them.
    pub(super) fn weight(&self) -> Option<u32> {
        Some(self.weight.load(Relaxed)).filter(|weight| *weight > 0)
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use iako_types::Percent;

    use iako_proxy_config::Keyed;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_new_instance_begins_slowly() {
        let slow = SlowStart::new(Duration::from_secs(60));
        let measures = Measures::default();
        assert_eq!(measures.slow_factor(&slow, 5 * SECOND), 1.0, "nobody said that it is new");
        measures.serves(10 * SECOND);
        let after = |seconds: u64| measures.slow_factor(&slow, (10 + seconds) * SECOND);
        assert_eq!((after(0), after(3)), (0.1, 0.1), "never less than a tenth");
        assert_eq!((after(30), after(60)), (0.5, 1.0));
        measures.serves(20 * SECOND);
        assert_eq!(after(30), 0.5, "it does not begin twice");
        let eager = SlowStart { aggression: Keyed::fixed(2.0), weight_min: Percent::ZERO, ..slow };
        assert!((measures.slow_factor(&eager, 25 * SECOND) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_rise_counts_at_once_and_a_fall_with_time() {
        let policy = PeakEwma::default();
        let measures = Measures::default();
        let millis = Duration::from_millis;
        assert_eq!(measures.cost(0, &policy), 10e6);
        measures.answered(millis(4), SECOND, &policy);
        assert_eq!((measures.cost(0, &policy), measures.cost(2, &policy)), (4e6, 12e6));
        measures.answered(millis(100), SECOND, &policy);
        assert_eq!(measures.cost(0, &policy), 100e6);
        measures.answered(millis(4), 11 * SECOND, &policy);
        let e = 1.0_f64.exp();
        let wanted = 100e6 / e + 4e6 * (1.0 - 1.0 / e);
        assert!((measures.cost(0, &policy) - wanted).abs() < 1.0);
    }

    #[test]
    fn reports_count_when_they_are_neither_too_new_nor_too_old() {
        let policy = ClientWeighted::default();
        let measures = Measures::default();
        assert_eq!(measures.valid_report(&policy, SECOND), None);
        measures.reports(7, SECOND);
        assert_eq!(measures.valid_report(&policy, 10 * SECOND), None, "ten seconds are not over");
        measures.reports(8, 11 * SECOND);
        assert_eq!(measures.valid_report(&policy, 11 * SECOND), Some(8));
        assert_eq!(measures.valid_report(&policy, 192 * SECOND), None, "forgotten");
        measures.reports(9, 193 * SECOND);
        assert_eq!(measures.valid_report(&policy, 194 * SECOND), None, "and proven anew");
    }
}
