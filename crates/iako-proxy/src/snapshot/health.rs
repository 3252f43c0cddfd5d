//! What the proxy finds out about the instances of a cluster, and what follows from it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use iako_proxy_config::{Discovery, EndpointAddress, EndpointSet, HealthStatus, LocalityEndpoints};
use iako_rt::clock;
use iako_telemetry::{Counter, Gauge, StatsScope};
use iako_traffic::{
    BalancedEndpoint, Balancer, CheckFailure, CheckResult, Condition, Ejection, EjectionCause,
    EjectionEffect, EndpointState, HealthFlags, Outcome, RateFacts, Return,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{UpstreamCluster, stats::handles};

/// Instances that may be accused at once; what comes beyond is dropped: the next response accuses
/// again.
const ACCUSED_MAX: usize = 1024;

handles! {
    /// `cluster.<name>.health_check.…`; only where there are checks.
    CheckStats {
        attempt: Counter = counter "health_check.attempt",
        success: Counter = counter "health_check.success",
        failure: Counter = counter "health_check.failure",
        passive_failure: Counter = counter "health_check.passive_failure",
        network_failure: Counter = counter "health_check.network_failure",
        verify_cluster: Counter = counter "health_check.verify_cluster",
        healthy: Gauge = gauge "health_check.healthy",
        degraded: Gauge = gauge "health_check.degraded",
    }
}

impl CheckStats {
    /// Counts a result.
    pub(crate) fn count(&self, result: CheckResult) {
        match result {
            CheckResult::Passed { .. } => self.success.inc(),
            CheckResult::Failed { cause, .. } => {
                self.failure.inc();
                match cause {
                    CheckFailure::Network | CheckFailure::NetworkTimeout => {
                        self.network_failure.inc();
                    }
                    CheckFailure::Passive => self.passive_failure.inc(),
                    CheckFailure::Active => {}
                }
            }
        }
    }
}

handles! {
    /// `cluster.<name>.outlier_detection.…`; only where outliers are looked for.
    OutlierTotals {
        active: Gauge = gauge "outlier_detection.ejections_active",
        total: Counter = counter "outlier_detection.ejections_total",
        enforced_total: Counter = counter "outlier_detection.ejections_enforced_total",
        overflow: Counter = counter "outlier_detection.ejections_overflow",
        consecutive_5xx: Counter = counter "outlier_detection.ejections_consecutive_5xx",
        success_rate: Counter = counter "outlier_detection.ejections_success_rate",
    }
}

/// Statistics of outlier detection, by cause too.
#[derive(Debug)]
pub(crate) struct OutlierStats {
    totals: OutlierTotals,
    by_cause: Vec<(EjectionCause, Counter, Counter)>,
}

impl OutlierStats {
    pub(crate) fn new(scope: &StatsScope) -> Self {
        let causes = [
            (
                EjectionCause::Consecutive5xx,
                "outlier_detection.ejections_detected_consecutive_5xx",
                "outlier_detection.ejections_enforced_consecutive_5xx",
            ),
            (
                EjectionCause::ConsecutiveGatewayFailure,
                "outlier_detection.ejections_detected_consecutive_gateway_failure",
                "outlier_detection.ejections_enforced_consecutive_gateway_failure",
            ),
            (
                EjectionCause::ConsecutiveLocalOriginFailure,
                "outlier_detection.ejections_detected_consecutive_local_origin_failure",
                "outlier_detection.ejections_enforced_consecutive_local_origin_failure",
            ),
            (
                EjectionCause::SuccessRate,
                "outlier_detection.ejections_detected_success_rate",
                "outlier_detection.ejections_enforced_success_rate",
            ),
            (
                EjectionCause::LocalOriginSuccessRate,
                "outlier_detection.ejections_detected_local_origin_success_rate",
                "outlier_detection.ejections_enforced_local_origin_success_rate",
            ),
            (
                EjectionCause::FailurePercentage,
                "outlier_detection.ejections_detected_failure_percentage",
                "outlier_detection.ejections_enforced_failure_percentage",
            ),
            (
                EjectionCause::FailurePercentageLocalOrigin,
                "outlier_detection.ejections_detected_local_origin_failure_percentage",
                "outlier_detection.ejections_enforced_local_origin_failure_percentage",
            ),
        ];
        let counters = |(cause, detected, enforced): (EjectionCause, &str, &str)| {
            (cause, scope.counter(detected), scope.counter(enforced))
        };
        Self { totals: OutlierTotals::of(scope), by_cause: causes.map(counters).into() }
    }

    fn count(&self, ejection: &Ejection) {
        let totals = &self.totals;
        match ejection.cause {
            EjectionCause::Consecutive5xx => totals.consecutive_5xx.inc(),
            EjectionCause::SuccessRate => totals.success_rate.inc(),
            EjectionCause::ConsecutiveGatewayFailure
            | EjectionCause::ConsecutiveLocalOriginFailure
            | EjectionCause::LocalOriginSuccessRate
            | EjectionCause::FailurePercentage
            | EjectionCause::FailurePercentageLocalOrigin => {}
        }
        let old =
            matches!(ejection.cause, EjectionCause::Consecutive5xx | EjectionCause::SuccessRate);
        // Envoy keeps this one for those two causes only.
        if old && ejection.effect != EjectionEffect::Overflow {
            totals.total.inc();
        }
        let enforced = matches!(ejection.effect, EjectionEffect::Enforced { .. });
        match ejection.effect {
            EjectionEffect::Enforced { .. } => totals.enforced_total.inc(),
            EjectionEffect::Overflow => totals.overflow.inc(),
            EjectionEffect::NotEnforced => {}
        }
        for (cause, found, enforcements) in &self.by_cause {
            if *cause == ejection.cause {
                found.inc();
                if enforced {
                    enforcements.inc();
                }
            }
        }
    }
}

/// What the configuration task, the workers and the thread of checks tell each other of a cluster.
#[derive(Debug, Default)]
pub(super) struct Noticeboard {
    /// What discovery says; none until it has said something.
    told: Mutex<Option<Arc<EndpointSet>>>,
    accused: Mutex<Vec<Arc<EndpointState>>>,
    changed: Notify,
    retired: AtomicBool,
}

impl UpstreamCluster {
    /// Whether somebody has to look after its instances.
    #[must_use]
    pub(crate) fn is_watched(&self) -> bool {
        self.config.health_check.is_some() || self.config.outlier_detection.is_some()
    }

    /// Nobody has to look after its instances any more.
    pub(crate) fn retire(&self) {
        self.board.retired.store(true, Relaxed);
        self.board.changed.notify_one();
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.board.retired.load(Relaxed)
    }

    /// Whether discovery has said anything.
    pub(crate) fn is_told(&self) -> bool {
        self.board.told.lock().is_some()
    }

    /// What discovery said last.
    pub(crate) fn told_endpoints(&self) -> Option<Arc<EndpointSet>> {
        self.board.told.lock().clone()
    }

    /// Waits until its instances change, one is accused, or it is retired.
    pub(crate) async fn changed(&self) {
        self.board.changed.notified().await;
    }

    /// Replaces the instances; those that stay keep their live numbers and connections. Those that
    /// discovery no longer names stay while they pass their checks, unless configured otherwise.
    pub(crate) fn set_endpoints(&self, endpoints: &Arc<EndpointSet>) {
        // Held until the new ones are published: who lets one go must not bring back older ones.
        let mut told = self.board.told.lock();
        let is_new = told.as_ref().is_none_or(|before| before != endpoints);
        let changes = changed_priorities(told.as_deref(), endpoints);
        *told = Some(Arc::clone(endpoints));
        let endpoints = self.with_lingering(endpoints);
        self.publish_endpoints(&endpoints);
        drop(told);
        self.stats.membership_change.add(changes);
        if is_new && self.config.membership.close_on_set_change {
            let balancer = self.balancer();
            balancer.endpoints().iter().for_each(|listed| listed.state.drain_connections());
        }
        self.count_members();
        self.board.changed.notify_one();
    }

    /// Lets instances go that discovery no longer names and that fail their checks now.
    pub(crate) fn let_go(&self) {
        let told = self.board.told.lock().clone();
        if let Some(told) = told {
            self.set_endpoints(&told);
        }
    }

    /// The instances that discovery names, and those that it named and that still pass their checks.
    fn with_lingering(&self, endpoints: &Arc<EndpointSet>) -> Arc<EndpointSet> {
        let dynamic = matches!(self.config.discovery, Discovery::Eds(_) | Discovery::StrictDns(_));
        let checked = self.config.health_check.is_some();
        if !dynamic || !checked || self.config.membership.ignore_health_on_removal {
            return Arc::clone(endpoints);
        }
        let named: HashSet<_> = endpoints.endpoints().map(|endpoint| &endpoint.address).collect();
        let balancer = self.balancer();
        let mut all = Arc::clone(endpoints);
        for listed in balancer.endpoints() {
            let pending = HealthFlags::PENDING_REMOVAL;
            if named.contains(&listed.endpoint.address) {
                listed.state.change_health(HealthFlags::default(), pending);
            } else if stays(listed) {
                listed.state.change_health(pending, HealthFlags::default());
                linger(Arc::make_mut(&mut all), listed);
            }
        }
        all
    }

    /// Shows how many instances there are in each condition.
    pub(crate) fn count_members(&self) {
        let balancer = self.balancer();
        let endpoints = balancer.endpoints();
        let count = |keep: &dyn Fn(&BalancedEndpoint) -> bool| {
            let kept = endpoints.iter().filter(|endpoint| keep(endpoint)).count();
            u64::try_from(kept).unwrap_or(u64::MAX)
        };
        let stats = &self.stats;
        stats.membership_total.set(count(&|_| true));
        stats.membership_healthy.set(count(&|one| one.condition() == Condition::Healthy));
        stats.membership_degraded.set(count(&|one| one.condition() == Condition::Degraded));
        stats.membership_excluded.set(count(&BalancedEndpoint::is_excluded));
        if let Some(outliers) = &self.outlier_stats {
            outliers.totals.active.set(count(&|one| one.state.is_ejected()));
        }
        if let Some(checks) = &self.check_stats {
            let has = |one: &BalancedEndpoint, flag| one.state.health().has(flag);
            let checked = |one: &BalancedEndpoint| !one.endpoint.check.disabled;
            checks.healthy.set(count(&|one| checked(one) && !has(one, HealthFlags::FAILED_CHECK)));
            checks.degraded.set(count(&|one| has(one, HealthFlags::DEGRADED_CHECK)));
        }
    }

    /// Counts how a try at an instance ended; what was found of the instance is counted and written
    /// down. `draw` gives even numbers from 0 to below 1.
    pub(crate) fn record(
        &self,
        balancer: &Balancer,
        state: &EndpointState,
        outcome: Outcome,
        (now, draw): (Instant, &mut dyn FnMut() -> f64),
    ) {
        for ejection in balancer.record(state, outcome, now, draw).into_iter().flatten() {
            let listed = balancer.endpoints().iter().find(|one| std::ptr::eq(&*one.state, state));
            if let Some(listed) = listed {
                self.found(listed, &ejection, None);
            }
        }
    }

    /// Looks at all instances, once an interval of outlier detection.
    pub(crate) fn look(&self, now: Instant, draw: &mut dyn FnMut() -> f64) {
        let balancer = self.balancer();
        let look = balancer.look(now, draw);
        let endpoint = |place: usize| balancer.endpoints().get(place);
        for back in &look.returns {
            self.returned(endpoint(back.place), back);
        }
        for (place, ejection, facts) in &look.ejections {
            if let Some(endpoint) = endpoint(*place) {
                self.found(endpoint, ejection, Some(facts));
            }
        }
        if !look.returns.is_empty() {
            self.count_members();
        }
    }

    /// A check found an instance well: an ejection ends then, unless configured otherwise.
    pub(crate) fn found_well(&self, state: &Arc<EndpointState>, now: Instant) {
        let policy = self.config.outlier_detection.as_ref();
        if !state.is_ejected() || !policy.is_some_and(|policy| policy.uneject_on_good_check) {
            return;
        }
        let balancer = self.balancer();
        let place = balancer.endpoints().iter().position(|one| Arc::ptr_eq(&one.state, state));
        if let Some(back) = place.and_then(|place| balancer.take_back(place, now)) {
            self.returned(balancer.endpoints().get(back.place), &back);
            self.count_members();
        }
    }

    /// A response asked to leave its instance alone at once.
    pub(crate) fn accuse(&self, state: &Arc<EndpointState>) {
        if self.config.health_check.is_none() {
            return;
        }
        let mut accused = self.board.accused.lock();
        let is_known = accused.iter().any(|other| Arc::ptr_eq(other, state));
        if !is_known && accused.len() < ACCUSED_MAX {
            accused.push(Arc::clone(state));
        }
        drop(accused);
        self.board.changed.notify_one();
    }

    /// Who was accused since the last time.
    pub(crate) fn take_accused(&self) -> Vec<Arc<EndpointState>> {
        std::mem::take(&mut *self.board.accused.lock())
    }

    /// An instance takes no traffic any more: its connections drain.
    pub(crate) fn failed(&self, state: &EndpointState) {
        state.drain_connections();
        self.tell_failure();
    }

    fn found(&self, endpoint: &BalancedEndpoint, ejection: &Ejection, facts: Option<&RateFacts>) {
        if let Some(stats) = &self.outlier_stats {
            stats.count(ejection);
        }
        self.logs.ejected(&self.name, endpoint, (ejection, facts), clock::wall());
        if matches!(ejection.effect, EjectionEffect::Enforced { .. }) {
            self.failed(&endpoint.state);
            self.count_members();
            let host = crate::transport::connect::name_of(&endpoint.endpoint.address);
            tracing::warn!(
                cluster = %self.name,
                host,
                cause = ejection.cause.stat(),
                "an endpoint is set aside"
            );
        }
    }

    fn returned(&self, endpoint: Option<&BalancedEndpoint>, back: &Return) {
        if let Some(endpoint) = endpoint {
            self.logs.returned(&self.name, endpoint, back, clock::wall());
        }
    }
}

/// In how many priorities instances came or went: each is a change of its own, as in Envoy.
fn changed_priorities(before: Option<&EndpointSet>, now: &EndpointSet) -> u64 {
    let members = |set: Option<&EndpointSet>, priority: u32| -> HashSet<EndpointAddress> {
        let places = set.into_iter().flat_map(|set| &set.localities);
        let own = places.filter(|place| place.priority == priority);
        own.flat_map(|place| &place.endpoints).map(|one| one.address.clone()).collect()
    };
    let all = before.into_iter().chain([now]).flat_map(|set| &set.localities);
    let priorities: BTreeSet<u32> = all.map(|place| place.priority).collect();
    let is_changed = |priority: &u32| members(before, *priority) != members(Some(now), *priority);
    u64::try_from(priorities.iter().filter(|one| is_changed(one)).count()).unwrap_or(u64::MAX)
}

/// Whether an instance that discovery no longer names stays.
fn stays(listed: &BalancedEndpoint) -> bool {
    listed.endpoint.health != HealthStatus::Unhealthy
        && !listed.state.health().has(HealthFlags::FAILED_CHECK)
}

/// Puts an instance back into its place, or into a place like it.
fn linger(set: &mut EndpointSet, listed: &BalancedEndpoint) {
    // Priorities have no gap: where the whole priority is gone, the last one takes it.
    let last = set.localities.iter().map(|place| place.priority).max().unwrap_or(0);
    let priority = listed.priority.min(last);
    let same = |place: &&mut LocalityEndpoints| {
        place.priority == priority && place.locality == listed.locality
    };
    if let Some(place) = set.localities.iter_mut().find(same) {
        place.endpoints.push(listed.endpoint.clone());
        return;
    }
    set.localities.push(LocalityEndpoints {
        locality: listed.locality.clone(),
        priority,
        endpoints: vec![listed.endpoint.clone()],
        ..LocalityEndpoints::default()
    });
}
