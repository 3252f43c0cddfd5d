//! Shares of success within an interval, and which of them stand out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use iako_proxy_config::OutlierDetection;

use super::{EjectionCause, OutlierMemory, RateFacts};
use crate::BalancedEndpoint;

/// What was counted since the last look.
#[derive(Debug, Default)]
pub(super) struct Window {
    successes: AtomicU64,
    total: AtomicU64,
    /// The rate that the last look found, in millionths of a percent and one more; 0 for none.
    shown: AtomicU64,
}

impl Window {
    /// Counts a success.
    pub(super) fn good(&self) {
        self.successes.fetch_add(1, Relaxed);
        self.bad();
    }

    /// Counts a failure.
    pub(super) fn bad(&self) {
        self.total.fetch_add(1, Relaxed);
    }

    pub(super) fn shown(&self) -> Option<f64> {
        let shown = self.shown.load(Relaxed).checked_sub(1)?;
        #[expect(clippy::cast_precision_loss, reason = "at most a hundred millions")]
        Some(shown as f64 / 1e6)
    }

    fn show(&self, rate: Option<f64>) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is between 0 and 100"
        )]
        let shown = rate.map_or(0, |rate| (rate * 1e6) as u64 + 1);
        self.shown.store(shown, Relaxed);
    }

    /// The rate of success in percent and the number of requests; begins anew.
    fn take(&self) -> Option<(f64, u64)> {
        let (successes, total) = (self.successes.swap(0, Relaxed), self.total.swap(0, Relaxed));
        if total == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "requests of one interval")]
        let rate = successes.min(total) as f64 * 100.0 / total as f64;
        Some((rate, total))
    }
}

/// The rates of those instances that had enough requests, by place.
pub(super) struct Rates<'a> {
    policy: &'a OutlierDetection,
    for_success_rate: Vec<(usize, f64)>,
    for_failures: Vec<(usize, f64)>,
}

impl<'a> Rates<'a> {
    /// Ends the interval of all instances.
    pub(super) fn take(
        policy: &'a OutlierDetection,
        endpoints: &[BalancedEndpoint],
        window: impl Fn(&OutlierMemory) -> &Window,
    ) -> Self {
        let mut rates = Self { policy, for_success_rate: Vec::new(), for_failures: Vec::new() };
        let for_success_rate = u64::from(policy.success_rate.requests_min);
        let for_failures = u64::from(policy.failure_percentage.requests_min);
        for (place, endpoint) in endpoints.iter().enumerate() {
            let window = window(&endpoint.state.outlier);
            let taken = window.take().filter(|_| !endpoint.state.is_ejected());
            let shown = taken.filter(|(_, count)| *count >= for_success_rate.min(for_failures));
            window.show(shown.map(|(rate, _)| rate));
            let Some((rate, count)) = taken else { continue };
            if count >= for_success_rate {
                rates.for_success_rate.push((place, rate));
            }
            if count >= for_failures {
                rates.for_failures.push((place, rate));
            }
        }
        rates
    }

    pub(super) fn outliers(
        &self,
        by_rate: EjectionCause,
        by_failures: EjectionCause,
    ) -> Vec<(usize, EjectionCause, RateFacts)> {
        let mut found = Vec::new();
        if enough(&self.for_success_rate, self.policy.success_rate.hosts_min) {
            let (average, threshold) = self.threshold();
            for &(place, rate) in &self.for_success_rate {
                if rate < threshold {
                    found.push((place, by_rate, RateFacts { rate, average, threshold }));
                }
            }
        }
        if enough(&self.for_failures, self.policy.failure_percentage.hosts_min) {
            let limit = self.policy.failure_percentage.threshold.as_f64();
            for &(place, rate) in &self.for_failures {
                if 100.0 - rate >= limit {
                    let facts = RateFacts { rate, average: -1.0, threshold: 100.0 - limit };
                    found.push((place, by_failures, facts));
                }
            }
        }
        found
    }

    /// The mean, and what lies so many standard deviations below.
    fn threshold(&self) -> (f64, f64) {
        let rates = || self.for_success_rate.iter().map(|(_, rate)| *rate);
        #[expect(clippy::cast_precision_loss, reason = "instances of a cluster")]
        let count = self.for_success_rate.len() as f64;
        let mean = rates().sum::<f64>() / count;
        let variance = rates().map(|rate| (rate - mean).powi(2)).sum::<f64>() / count;
        let factor = f64::from(self.policy.success_rate.deviations_thousandths) / 1000.0;
        (mean, mean - factor * variance.sqrt())
    }
}

fn enough(rates: &[(usize, f64)], hosts_min: u32) -> bool {
    !rates.is_empty() && rates.len() >= usize::try_from(hosts_min).unwrap_or(usize::MAX)
}
