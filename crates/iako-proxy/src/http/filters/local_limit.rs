//! Requests take tokens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use iako_http::{FieldName, FieldValue, HeaderEdits};
use iako_proxy_config::{FilterSettings, LocalBuckets, LocalRateLimit, RateDescriptor};
use iako_telemetry::{Counter, ResponseFlag, StatsRegistry, StatsScope};
use iako_traffic::{
    CountMoment, CountedLimits, DescriptorFacts, EffectiveOverrides, LocalAnswer, LocalBucket,
    LocalLimiter, LocalQuestion, RouteMatchResult,
};

use super::global_limit::RESOURCE_EXHAUSTED;
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::{mutations, record};
use crate::shared::Shared;

/// What a request without a token is told, and what logs say.
const REFUSED: &str = "local_rate_limited";

/// A filter that takes tokens, compiled.
#[derive(Debug)]
pub(crate) struct LocalLimitStep {
    name: String,
    settings: Box<LocalRateLimit>,
    own: Arc<LocalLimit>,
    own_cluster: String,
}

/// Buckets, with what is counted of them.
#[derive(Debug)]
struct LocalLimit {
    /// Whose they are. While it is held nothing else is where it is.
    of: Arc<LocalBuckets>,
    limiter: LocalLimiter,
    stats: LocalLimitStats,
}

/// `<prefix>.http_local_rate_limit.…`; the names are documented in `iako-telemetry`'s table.
#[derive(Debug)]
struct LocalLimitStats {
    enabled: Counter,
    enforced: Counter,
    rate_limited: Counter,
    ok: Counter,
    shadow_mode: Counter,
}

impl LocalLimitStats {
    fn new(scope: &StatsScope) -> Self {
        Self {
            enabled: scope.counter("enabled"),
            enforced: scope.counter("enforced"),
            rate_limited: scope.counter("rate_limited"),
            ok: scope.counter("ok"),
            shadow_mode: scope.counter("shadow_mode"),
        }
    }
}

/// The buckets of all filters and routes, by where their settings are: who goes on with the same
/// settings goes on with the same tokens, whoever asks. Read without a lock; those that nobody has
/// settings for any more are forgotten when others come.
#[derive(Debug, Default)]
pub(crate) struct LocalLimits(ArcSwap<Known>);

type Known = HashMap<usize, Arc<LocalLimit>, foldhash::fast::RandomState>;

impl LocalLimits {
    fn find(
        &self,
        settings: &LocalRateLimit,
        stats: &StatsRegistry,
        now: Instant,
    ) -> Arc<LocalLimit> {
        let place = Arc::as_ptr(&settings.buckets).addr();
        if let Some(limit) = self.0.load().get(&place) {
            return Arc::clone(limit);
        }
        let scope = stats.scope(&format!("{}.http_local_rate_limit", settings.stat_prefix));
        let made = Arc::new(LocalLimit {
            of: Arc::clone(&settings.buckets),
            limiter: LocalLimiter::new(&settings.buckets, now),
            stats: LocalLimitStats::new(&scope),
        });
        self.0.rcu(|known| {
            let mut known = Known::clone(known);
            known.retain(|_, limit| Arc::strong_count(&limit.of) > 1);
            known.entry(place).or_insert_with(|| Arc::clone(&made));
            known
        });
        self.0.load().get(&place).map_or(made, Arc::clone)
    }
}

impl LocalLimitStep {
    pub(super) fn compile(name: &str, settings: &LocalRateLimit, shared: &Shared) -> Self {
        let now = iako_rt::clock::now();
        Self {
            name: name.to_owned(),
            own: shared.local_limits.find(settings, &shared.stats, now),
            settings: Box::new(settings.clone()),
            own_cluster: shared.node.node.cluster.clone(),
        }
    }
}

/// The settings of a route for the filter of this name.
fn of_route<'t>(
    name: &str,
    overrides: Option<&EffectiveOverrides<'t>>,
) -> Option<&'t LocalRateLimit> {
    overrides?.settings(name).and_then(FilterSettings::local_limit)
}

impl Exchange<'_> {
    /// Takes the tokens of a request.
    pub(in crate::http) fn take_tokens(
        &mut self,
        step: &LocalLimitStep,
        matched: Option<&RouteMatchResult<'_>>,
        overrides: Option<&EffectiveOverrides<'_>>,
    ) -> Step {
        let shared = &self.connection.worker.shared;
        let of_route = of_route(&step.name, overrides);
        let (settings, limit) = of_route.map_or_else(
            || (&*step.settings, Arc::clone(&step.own)),
            |own| (own, shared.local_limits.find(own, &shared.stats, self.now)),
        );
        if !settings.enabled.value.takes(self.connection.draw()) {
            return Step::Continue;
        }
        limit.stats.enabled.inc();
        let descriptors = self.local_descriptors(step, settings, matched);
        let answer = self.ask_limiter(&limit, settings, &descriptors);
        let is_shadow = answer.bucket.as_ref().is_some_and(|bucket| bucket.is_shadow());
        if let Some(bucket) = answer.bucket.filter(|_| answer.headers.unwrap_or(settings.headers)) {
            self.said.get_or_insert_default().buckets.push(bucket);
        }
        if answer.allowed {
            limit.stats.ok.inc();
            return Step::Continue;
        }
        limit.stats.rate_limited.inc();
        if is_shadow {
            limit.stats.shadow_mode.inc();
            return Step::Continue;
        }
        if !settings.enforced.value.takes(self.connection.draw()) {
            self.mark_unenforced(settings);
            return Step::Continue;
        }
        limit.stats.enforced.inc();
        let mut reply = Reply::new(settings.status, REFUSED).with_body(REFUSED);
        reply.late_flag = Some(ResponseFlag::RateLimited);
        reply.grpc_status = settings.as_resource_exhausted.then_some(RESOURCE_EXHAUSTED);
        if !settings.add_to_response.is_empty() {
            let view = self.request.view();
            let further = self.facts();
            let record = record::access_record(&further, &view);
            let added = mutations::rendered(&settings.add_to_response, &record);
            mutations::add_all(&mut reply.edits, &added);
        }
        Step::Reply(Box::new(reply))
    }

    fn ask_limiter(
        &self,
        limit: &LocalLimit,
        settings: &LocalRateLimit,
        descriptors: &[RateDescriptor],
    ) -> LocalAnswer {
        let instances = if limit.of.shared_by_cluster { self.instances() } else { 1 };
        let asked = LocalQuestion { descriptors, instances, now: self.now };
        if settings.per_connection {
            return self.connection.limiter(&limit.of, self.now).ask(&asked);
        }
        limit.limiter.ask(&asked)
    }

    /// How many instances the local cluster has; 1 where there is none.
    fn instances(&self) -> u32 {
        let name = &self.connection.worker.shared.local_cluster;
        let cluster = self.snapshot.cluster(name).filter(|_| !name.is_empty());
        let count = cluster.map_or(1, |cluster| cluster.balancer().endpoints().len());
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    fn local_descriptors(
        &self,
        step: &LocalLimitStep,
        settings: &LocalRateLimit,
        matched: Option<&RouteMatchResult<'_>>,
    ) -> Vec<RateDescriptor> {
        if settings.buckets.descriptors.is_empty() {
            return Vec::new();
        }
        let view = self.request.view();
        let request = self.request.facts(&view, &self.connection.info);
        let format = |format: &str| self.formatted(format, mutations::Absent::Empty);
        let cluster = self.record.cluster.as_ref().map_or("", |cluster| &*cluster.name);
        let own_cluster = &step.own_cluster;
        let facts = DescriptorFacts { request: &request, own_cluster, cluster, format: &format };
        let limits = CountedLimits::local(settings, matched);
        limits.descriptors(settings.stage, CountMoment::Begin, &facts)
    }

    /// Says to the server that the request should have been refused.
    fn mark_unenforced(&mut self, settings: &LocalRateLimit) {
        if settings.add_to_request.is_empty() {
            return;
        }
        let added = {
            let view = self.request.view();
            let further = self.facts();
            let record = record::access_record(&further, &view);
            mutations::rendered(&settings.add_to_request, &record)
        };
        mutations::add_to_request(&mut self.request, &added);
    }
}

/// Tells what is left in a bucket.
pub(super) fn tell(bucket: &LocalBucket, now: Instant, edits: &mut HeaderEdits) {
    let left = bucket.left(now);
    let fields = [
        ("x-ratelimit-limit", left.limit),
        ("x-ratelimit-remaining", left.remaining),
        ("x-ratelimit-reset", left.reset),
    ];
    for (name, value) in fields {
        if let Ok(name) = FieldName::parse(name.as_bytes()) {
            edits.append(name, FieldValue::from(value));
        }
    }
}
