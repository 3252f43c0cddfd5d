//! Faults on purpose.

use std::num::NonZeroU64;
use std::time::Duration;

use iako_proxy_config::{Fault, FilterSettings};
use iako_telemetry::{Counter, Gauge, StatsScope};
use iako_traffic::{FaultAbort, RequestFacts, fault, response_rate};

use crate::http::failure::Failure;

/// Delays and aborts, with how many are under way.
#[derive(Debug)]
pub(crate) struct FaultStep {
    settings: Box<Fault>,
    stats: FaultStats,
}

/// `http.<prefix>.fault.…`; the names are documented in `iako-telemetry`'s table.
#[derive(Debug)]
struct FaultStats {
    active: Gauge,
    overflow: Counter,
    delays: Counter,
    aborts: Counter,
    rate_limits: Counter,
}

/// A fault under way; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct ActiveFault(Gauge);

impl Drop for ActiveFault {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What is done to a request on purpose.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    pub(crate) delay: Option<Duration>,
    pub(crate) abort: Option<Failure>,
    /// How fast the content of the response may pass, in KiB a second.
    pub(crate) response_rate: Option<NonZeroU64>,
    /// Counts the fault as under way.
    pub(crate) active: Option<ActiveFault>,
}

impl FaultStep {
    pub(super) fn new(settings: Box<Fault>, manager: &StatsScope) -> Self {
        let scope = manager.part("fault");
        let stats = FaultStats {
            active: scope.gauge("active_faults"),
            overflow: scope.counter("faults_overflow"),
            delays: scope.counter("delays_injected"),
            aborts: scope.counter("aborts_injected"),
            rate_limits: scope.counter("response_rl_injected"),
        };
        Self { settings, stats }
    }

    /// Decides about a request towards `cluster`; settings of the route stand in place of the
    /// filter's.
    pub(crate) fn plan(
        &self,
        of_route: Option<&FilterSettings>,
        facts: &RequestFacts<'_>,
        cluster: &str,
        draw: &mut dyn FnMut() -> u64,
    ) -> FaultPlan {
        let settings = match of_route {
            Some(FilterSettings::Fault(own)) => own,
            Some(_) | None => &self.settings,
        };
        let decision = fault(settings, &facts.head, cluster, draw);
        let response_rate = if settings.response_rate.is_none() {
            None
        } else {
            response_rate(settings, &facts.head, cluster, draw())
        };
        if decision.delay.is_none() && decision.abort.is_none() && response_rate.is_none() {
            return FaultPlan::default();
        }
        if settings.active_max.is_some_and(|most| self.stats.active.value() >= u64::from(most)) {
            self.stats.overflow.inc();
            return FaultPlan::default();
        }
        self.stats.active.inc();
        if decision.delay.is_some() {
            self.stats.delays.inc();
        }
        if decision.abort.is_some() {
            self.stats.aborts.inc();
        } else if response_rate.is_some() {
            self.stats.rate_limits.inc();
        }
        FaultPlan {
            delay: decision.delay,
            abort: decision.abort.map(|abort| match abort {
                FaultAbort::Http(status) => Failure::FaultAbort { status, grpc: None },
                FaultAbort::Grpc(status) => Failure::FaultAbort { status: 200, grpc: Some(status) },
            }),
            response_rate,
            active: Some(ActiveFault(self.stats.active.clone())),
        }
    }
}
