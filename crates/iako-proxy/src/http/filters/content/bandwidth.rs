//! Limits of bandwidth, with buckets that all exchanges of a filter or route share.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use iako_proxy_config::{BandwidthLimit, FilterSettings};
use iako_telemetry::{Counter, StatsRegistry, StatsScope};
use iako_traffic::EffectiveOverrides;

use crate::http::content::{DelayUse, Delays, Throttle, ThrottleStats, TimedBucket};

/// Limits of routes that one filter keeps buckets for. Routes that were replaced leave theirs behind;
/// beyond this all are forgotten, and begin anew.
const ROUTE_LIMITS_MAX: usize = 4096;

type Limits = HashMap<BandwidthLimit, Arc<Limit>, foldhash::fast::RandomState>;

/// A limit, compiled.
#[derive(Debug)]
pub(crate) struct BandwidthStep {
    own: Arc<Limit>,
    stats: StatsRegistry,
    /// Those of routes, made when the first request comes to them.
    of_routes: ArcSwap<Limits>,
}

/// One limit with its bucket, which both directions share.
#[derive(Debug)]
struct Limit {
    settings: BandwidthLimit,
    bucket: Option<Arc<TimedBucket>>,
    request: DirectionStats,
    response: DirectionStats,
}

#[derive(Debug)]
struct DirectionStats {
    enabled: Counter,
    throttle: ThrottleStats,
}

impl DirectionStats {
    fn of_requests(scope: &StatsScope) -> Self {
        Self {
            enabled: scope.counter("request_enabled"),
            throttle: ThrottleStats {
                enforced: scope.counter("request_enforced"),
                pending: scope.gauge("request_pending"),
                incoming: scope.counter("request_incoming_total_size"),
                allowed: scope.counter("request_allowed_total_size"),
            },
        }
    }

    fn of_responses(scope: &StatsScope) -> Self {
        Self {
            enabled: scope.counter("response_enabled"),
            throttle: ThrottleStats {
                enforced: scope.counter("response_enforced"),
                pending: scope.gauge("response_pending"),
                incoming: scope.counter("response_incoming_total_size"),
                allowed: scope.counter("response_allowed_total_size"),
            },
        }
    }
}

impl Limit {
    fn compile(settings: &BandwidthLimit, stats: &StatsRegistry) -> Arc<Self> {
        let scope = stats.scope(&format!("{}.http_bandwidth_limit", settings.stat_prefix));
        let bucket = settings.kib_per_second.filter(|_| settings.enabled.value);
        Arc::new(Self {
            bucket: bucket.map(|rate| Arc::new(TimedBucket::new(rate, settings.fill_interval))),
            request: DirectionStats::of_requests(&scope),
            response: DirectionStats::of_responses(&scope),
            settings: settings.clone(),
        })
    }

    fn throttle(&self, stats: &DirectionStats, delay_use: DelayUse) -> Option<Throttle> {
        let bucket = Arc::clone(self.bucket.as_ref()?);
        stats.enabled.inc();
        let counted = Some(stats.throttle.clone());
        Some(Throttle::new(bucket, self.settings.fill_interval, counted, delay_use))
    }
}

impl BandwidthStep {
    pub(crate) fn compile(settings: &BandwidthLimit, stats: &StatsRegistry) -> Self {
        let own = Limit::compile(settings, stats);
        Self { own, stats: stats.clone(), of_routes: ArcSwap::default() }
    }

    fn limit(&self, name: &str, overrides: Option<&EffectiveOverrides<'_>>) -> Arc<Limit> {
        let own = overrides.and_then(|overrides| overrides.settings(name));
        let Some(settings) = own.and_then(FilterSettings::bandwidth_limit) else {
            return Arc::clone(&self.own);
        };
        if let Some(limit) = self.of_routes.load().get(settings) {
            return Arc::clone(limit);
        }
        let made = Limit::compile(settings, &self.stats);
        self.of_routes.rcu(|limits| {
            let mut limits = Limits::clone(limits);
            if limits.len() >= ROUTE_LIMITS_MAX {
                limits.clear();
            }
            limits.entry(settings.clone()).or_insert_with(|| Arc::clone(&made));
            limits
        });
        self.of_routes.load().get(settings).map_or(made, Arc::clone)
    }

    /// Holds the content of a request back. Its delays are left for the response.
    pub(crate) fn request(
        &self,
        name: &str,
        overrides: Option<&EffectiveOverrides<'_>>,
        delays: &Rc<Cell<Delays>>,
    ) -> Option<Throttle> {
        let limit = self.limit(name, overrides);
        if !limit.settings.mode.takes_requests() {
            return None;
        }
        // Requests without content count too.
        limit.throttle(&limit.request, DelayUse::Leave(Rc::clone(delays)))
    }

    /// Holds the content of a response back.
    pub(crate) fn response(
        &self,
        name: &str,
        overrides: Option<&EffectiveOverrides<'_>>,
        delays: &Rc<Cell<Delays>>,
    ) -> Option<Throttle> {
        let limit = self.limit(name, overrides);
        if !limit.settings.mode.takes_responses() {
            return None;
        }
        let delay_use = if limit.settings.tells_delays {
            let prefix = limit.settings.trailer_prefix.clone();
            DelayUse::Tell { prefix, request: Rc::clone(delays) }
        } else {
            DelayUse::Forget
        };
        limit.throttle(&limit.response, delay_use)
    }
}
