//! Whether a request is turned away because others failed. Source: Envoy
//! `envoy.filters.http.admission_control`.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use iako_proxy_config::{AdmissionControl, SuccessCriteria};

/// Parts that a window is remembered in at most.
const PARTS_MAX: u32 = 4096;
/// The shortest part.
const PART_MIN: Duration = Duration::from_secs(1);
/// Draws are compared to this accuracy.
const ACCURACY: u16 = 10_000;

/// What became of the requests of a while. Each worker has its own, as in Envoy.
#[derive(Debug)]
pub struct AdmissionWindow {
    length: Duration,
    part: Duration,
    parts: VecDeque<Part>,
    requests: u64,
    successes: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionOutcome {
    /// What the settings call a success.
    Success,
    /// Anything else.
    Failure,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    begun: Instant,
    requests: u64,
    successes: u64,
}

impl AdmissionWindow {
    /// An empty one.
    #[must_use]
    pub fn new(length: Duration) -> Self {
        let part = length.checked_div(PARTS_MAX).unwrap_or_default().max(PART_MIN);
        Self { length, part, parts: VecDeque::new(), requests: 0, successes: 0 }
    }

    /// Remembers what became of a request.
    pub fn record(&mut self, outcome: AdmissionOutcome, now: Instant) {
        self.turn(now);
        let age = |part: &Part| now.saturating_duration_since(part.begun);
        if self.parts.back().is_none_or(|newest| age(newest) >= self.part) {
            self.parts.push_back(Part { begun: now, requests: 0, successes: 0 });
        }
        let success = u64::from(outcome == AdmissionOutcome::Success);
        self.requests = self.requests.saturating_add(1);
        self.successes = self.successes.saturating_add(success);
        if let Some(newest) = self.parts.back_mut() {
            newest.requests = newest.requests.saturating_add(1);
            newest.successes = newest.successes.saturating_add(success);
        }
    }

    /// Whether a request is turned away; `draw` decides where chance does.
    pub fn rejects(&mut self, settings: &AdmissionControl, draw: u64, now: Instant) -> bool {
        if self.rate(now) < u64::from(settings.rate_threshold.value) {
            return false;
        }
        self.turn(now);
        let share = self.share(settings);
        let drawn = draw.checked_rem(u64::from(ACCURACY)).unwrap_or_default();
        u16::try_from(drawn).is_ok_and(|drawn| f64::from(ACCURACY) * share > f64::from(drawn))
    }

    /// The share of requests that is turned away.
    #[expect(clippy::cast_precision_loss, reason = "more than 2^52 requests do not come")]
    fn share(&self, settings: &AdmissionControl) -> f64 {
        let (requests, successes) = (self.requests as f64, self.successes as f64);
        let threshold = settings.success_threshold.value.as_f64() / 100.0;
        let share = (requests - successes / threshold) / (requests + 1.0);
        let aggression = settings.aggression.value.max(1.0);
        // A root of what is below zero is none, and turns nothing away.
        let most = settings.rejected_max.value.as_f64() / 100.0;
        let share = if aggression > 1.0 { share.powf(aggression.recip()) } else { share };
        if share.is_nan() { 0.0 } else { share.min(most).max(0.0) }
    }

    /// Requests a second, over the whole window.
    fn rate(&self, now: Instant) -> u64 {
        let Some(oldest) = self.parts.front() else { return 0 };
        let age = now.saturating_duration_since(oldest.begun).max(self.length);
        self.requests.checked_div(age.as_secs()).unwrap_or_default()
    }

    /// Forgets what is too old.
    fn turn(&mut self, now: Instant) {
        while let Some(oldest) = self.parts.front().copied() {
            if now.saturating_duration_since(oldest.begun) < self.length {
                break;
            }
            self.requests = self.requests.saturating_sub(oldest.requests);
            self.successes = self.successes.saturating_sub(oldest.successes);
            self.parts.pop_front();
        }
    }
}

/// Whether a status is a success.
#[must_use]
pub fn is_http_success(criteria: &SuccessCriteria, status: u16) -> bool {
    criteria.http.as_ref().map_or(status < 500, |ranges| {
        ranges.iter().any(|(first, beyond)| (*first..*beyond).contains(&status))
    })
}

/// Whether a status of gRPC is a success: when nothing is said, all but those that tell of a server in
/// trouble (`DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED`, `ABORTED`, `INTERNAL`, `UNAVAILABLE`,
/// `DATA_LOSS`).
#[must_use]
pub fn is_grpc_success(criteria: &SuccessCriteria, status: u32) -> bool {
    let usual = || !matches!(status, 4 | 8 | 10 | 13..=15) && status <= 16;
    criteria.grpc.as_ref().map_or_else(usual, |statuses| statuses.contains(&status))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iako_proxy_config::Keyed;
    use iako_types::Percent;

    use super::*;
    use AdmissionOutcome::{Failure, Success};

    fn settings() -> AdmissionControl {
        let percent = |percent| Keyed::fixed(Percent::from_whole(percent).unwrap());
        AdmissionControl {
            enabled: Keyed::fixed(true),
            criteria: Arc::default(),
            window: Duration::from_secs(10),
            aggression: Keyed::fixed(1.0),
            success_threshold: percent(50),
            rate_threshold: Keyed::fixed(0),
            rejected_max: percent(80),
        }
    }

    fn begun() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any time to count from")]
        Instant::now()
    }

    fn close(share: f64, wanted: f64) -> bool {
        (share - wanted).abs() < 1e-9
    }

    #[test]
    fn the_more_fail_the_more_are_turned_away_up_to_the_most() {
        let (now, mut settings) = (begun(), settings());
        let mut window = AdmissionWindow::new(settings.window);
        assert!(!window.rejects(&settings, 0, now));
        window.record(Success, now);
        (0..3).for_each(|_| window.record(Failure, now));
        assert!(close(window.share(&settings), 2.0 / 5.0));
        settings.aggression = Keyed::fixed(2.0);
        assert!(close(window.share(&settings), (2.0_f64 / 5.0).sqrt()));
        (0..96).for_each(|_| window.record(Failure, now));
        assert!(close(window.share(&settings), 0.8));
        assert!(window.rejects(&settings, 7_999, now) && !window.rejects(&settings, 8_000, now));
        (0..1000).for_each(|_| window.record(Success, now));
        assert!(close(window.share(&settings), 0.0), "there is no root of what is below zero");
    }

    #[test]
    fn what_is_old_and_what_is_rare_turns_nothing_away() {
        let (now, mut settings) = (begun(), settings());
        let mut window = AdmissionWindow::new(settings.window);
        (0..50).for_each(|_| window.record(Failure, now));
        settings.rate_threshold = Keyed::fixed(5);
        assert!(window.rejects(&settings, 0, now));
        settings.rate_threshold = Keyed::fixed(6);
        assert!(!window.rejects(&settings, 0, now));
        settings.rate_threshold = Keyed::fixed(0);
        assert!(window.rejects(&settings, 0, now + Duration::from_secs(9)));
        assert!(!window.rejects(&settings, 0, now + Duration::from_secs(10)));
    }

    #[test]
    fn successes_are_what_is_said_or_what_is_usual() {
        let usual = SuccessCriteria::default();
        assert!(is_http_success(&usual, 499) && !is_http_success(&usual, 500));
        assert!(is_grpc_success(&usual, 2) && !is_grpc_success(&usual, 14));
        let own = SuccessCriteria { http: Some(vec![(200, 300)]), grpc: Some(vec![0]) };
        assert!(is_http_success(&own, 299) && !is_http_success(&own, 300));
        assert!(is_grpc_success(&own, 0) && !is_grpc_success(&own, 1));
    }
}
