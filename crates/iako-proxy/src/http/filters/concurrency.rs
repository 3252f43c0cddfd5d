//! How many requests may be under way, found out from how long they take.

use std::sync::Arc;
use std::time::Instant;

use iako_proxy_config::{AdaptiveConcurrency, ConcurrencyGradient};
use iako_rt::clock;
use iako_telemetry::{Counter, Gauge, StatsScope};
use iako_traffic::{ConcurrencyController, ConcurrencyFound, ConcurrencyVerdict};

use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};

/// A filter that bounds how many requests are under way, compiled.
#[derive(Debug)]
pub(crate) struct ConcurrencyStep {
    settings: Box<AdaptiveConcurrency>,
    bound: Arc<Bound>,
}

/// The bound, with what is counted of it.
#[derive(Debug)]
struct Bound {
    controller: ConcurrencyController,
    stats: ConcurrencyStats,
}

/// `http.<prefix>.adaptive_concurrency.gradient_controller.…`
#[derive(Debug)]
struct ConcurrencyStats {
    blocked: Counter,
    burst: Gauge,
    limit: Gauge,
    gradient: Gauge,
    measuring: Gauge,
    least: Gauge,
    sample: Gauge,
}

impl ConcurrencyStats {
    fn new(scope: &StatsScope) -> Self {
        Self {
            blocked: scope.counter("rq_blocked"),
            burst: scope.gauge("burst_queue_size"),
            limit: scope.gauge("concurrency_limit"),
            gradient: scope.gauge("gradient"),
            measuring: scope.gauge("min_rtt_calculation_active"),
            least: scope.gauge("min_rtt_msecs"),
            sample: scope.gauge("sample_rtt_msecs"),
        }
    }

    fn show(&self, found: &ConcurrencyFound) {
        self.limit.set(found.limit.into());
        self.measuring.set(found.measuring.into());
        if let Some(least) = found.least {
            self.least.set(u64::try_from(least.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some((taken, gradient, burst)) = found.update {
            self.sample.set(u64::try_from(taken.as_millis()).unwrap_or(u64::MAX));
            self.gradient.set(gradient);
            self.burst.set(burst);
        }
    }
}

impl Bound {
    /// Finds out what is due.
    fn turn(&self, now: Instant, draw: u64) {
        if let Some(found) = self.controller.turn(now, draw) {
            self.stats.show(&found);
        }
    }
}

impl ConcurrencyStep {
    pub(super) fn compile(settings: &AdaptiveConcurrency, manager: &StatsScope) -> Self {
        let scope = manager.part("adaptive_concurrency").part("gradient_controller");
        let gradient: &ConcurrencyGradient = &settings.gradient;
        let controller = ConcurrencyController::new(gradient, clock::now());
        let stats = ConcurrencyStats::new(&scope);
        stats.show(&controller.known());
        Self { settings: Box::new(settings.clone()), bound: Arc::new(Bound { controller, stats }) }
    }
}

/// A request that is under way; it is not any more when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    bound: Arc<Bound>,
    since: Instant,
    /// Whether it was answered, and told how long that took.
    answered: bool,
}

impl UnderWay {
    /// The request was answered.
    pub(super) fn answered(mut self, now: Instant, draw: u64) {
        self.answered = true;
        self.bound.controller.done(self.since, now);
        self.bound.turn(now, draw);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.answered {
            self.bound.controller.gone();
        }
    }
}

impl Exchange<'_> {
    /// Lets a request go on, if not too many are under way.
    pub(in crate::http) fn bound_concurrency(&mut self, step: &ConcurrencyStep) -> Step {
        if !step.settings.enabled.value {
            return Step::Continue;
        }
        let bound = &step.bound;
        bound.turn(self.now, self.connection.draw());
        match bound.controller.ask() {
            ConcurrencyVerdict::Pass => {
                let under_way =
                    UnderWay { bound: Arc::clone(bound), since: self.now, answered: false };
                self.said.get_or_insert_default().under_way.push(under_way);
                Step::Continue
            }
            ConcurrencyVerdict::Block => {
                bound.stats.blocked.inc();
                let reply = Reply::new(step.settings.status, "reached_concurrency_limit");
                Step::Reply(Box::new(reply.with_body("reached concurrency limit")))
            }
        }
    }
}
