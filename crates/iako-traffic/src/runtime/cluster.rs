//! Clusters, whose keys have names of Envoy's own.

use std::{num::NonZeroU32, time::Duration};

use iako_proxy_config::{
    CheckIntervals, Cluster, LbPolicy, LocalityBalancing, OutlierDetection, SlowStart, Thresholds,
};
use iako_types::Percent;

use super::{Runtime, Tune, set};

impl Tune for Cluster {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let name = &self.name;
        let breakers = &mut self.circuit_breakers;
        let mut changed = [
            thresholds(
                &mut breakers.default,
                &format!("circuit_breakers.{name}.default."),
                runtime,
            ),
            thresholds(&mut breakers.high, &format!("circuit_breakers.{name}.high."), runtime),
            set(&mut self.panic_threshold, runtime.percent("upstream.healthy_panic_threshold")),
            set(
                &mut self.maintenance,
                runtime.percent(&format!("upstream.maintenance_mode.{name}")),
            ),
            localities(&mut self.localities, runtime),
            self.lb.tune(runtime),
        ]
        .contains(&true);
        if let Some(outliers) = &mut self.outlier_detection {
            changed |= outliers.tune(runtime);
        }
        if let Some(check) = &mut self.health_check {
            changed |= check.intervals.tune(runtime);
        }
        changed
    }
}

fn thresholds(limits: &mut Thresholds, prefix: &str, runtime: &Runtime) -> bool {
    if runtime.under(prefix).next().is_none() {
        return false;
    }
    let number = |name: &str| runtime.small(&format!("{prefix}{name}"));
    let mut changed = [
        set(&mut limits.connections_max, number("max_connections")),
        set(&mut limits.pending_requests_max, number("max_pending_requests")),
        set(&mut limits.requests_max, number("max_requests")),
        set(&mut limits.retries_max, number("max_retries")),
        set(&mut limits.pools_max, number("max_connection_pools")),
    ]
    .contains(&true);
    if let Some(budget) = &mut limits.retry_budget {
        let percent = runtime.number(&format!("{prefix}retry_budget.budget_percent"));
        let percent = percent.and_then(|percent| Percent::from_f64(percent).ok());
        changed |= set(&mut budget.percent, percent);
        changed |= set(&mut budget.retries_min, number("retry_budget.min_retry_concurrency"));
    }
    changed
}

fn localities(localities: &mut LocalityBalancing, runtime: &Runtime) -> bool {
    let LocalityBalancing::ZoneAware(zones) = localities else { return false };
    let mut changed = [
        set(&mut zones.enabled, runtime.percent("upstream.zone_routing.enabled")),
        set(&mut zones.cluster_size_min, runtime.integer("upstream.zone_routing.min_cluster_size")),
    ]
    .contains(&true);
    if let Some(least) = &mut zones.force_local {
        changed |= set(least, runtime.small("upstream.zone_routing.force_local_zone.min_size"));
    }
    changed
}

impl Tune for LbPolicy {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        match self {
            Self::RoundRobin(slow_start) => slow_start.tune(runtime),
            Self::LeastRequest(policy) => {
                let key = policy.active_request_bias.key.as_deref();
                // Envoy takes 1 where the runtime has less than zero.
                let bias = key.and_then(|key| runtime.number(key));
                let bias = bias.map(|bias| if bias < 0.0 { 1.0 } else { bias });
                let changed = set(&mut policy.active_request_bias.value, bias);
                policy.slow_start.tune(runtime) || changed
            }
            Self::ClientWeighted(policy) => policy.slow_start.tune(runtime),
            Self::Random
            | Self::RingHash(_)
            | Self::Maglev(_)
            | Self::PeakEwma(_)
            | Self::PickFirst(_)
            | Self::ClusterProvided => false,
        }
    }
}

impl Tune for SlowStart {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let number = self.aggression.key.as_deref().and_then(|key| runtime.number(key));
        // Envoy takes 1 where the runtime has nothing above zero.
        let number = number.map(|number| if number > 0.0 { number } else { 1.0 });
        set(&mut self.aggression.value, number)
    }
}

impl Tune for OutlierDetection {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        const PREFIX: &str = "outlier_detection.";
        if runtime.under(PREFIX).next().is_none() {
            return false;
        }
        let before = self.clone();
        let key = |name: &str| format!("{PREFIX}{name}");
        let count = |name: &str| runtime.small(&key(name)).map(NonZeroU32::new);
        let number = |name: &str| runtime.small(&key(name));
        let percent = |name: &str| runtime.percent(&key(name));
        // A look or an ejection of no length at all would be a busy loop.
        let positive =
            |name: &str| runtime.millis(&key(name)).map(|time| time.max(Duration::from_millis(1)));
        set(&mut self.consecutive_5xx, count("consecutive_5xx"));
        set(&mut self.consecutive_gateway_failure, count("consecutive_gateway_failure"));
        set(&mut self.consecutive_local_origin_failure, count("consecutive_local_origin_failure"));
        set(&mut self.success_rate.hosts_min, number("success_rate_minimum_hosts"));
        set(&mut self.success_rate.requests_min, number("success_rate_request_volume"));
        set(&mut self.success_rate.deviations_thousandths, number("success_rate_stdev_factor"));
        let failures = &mut self.failure_percentage;
        set(&mut failures.threshold, percent("failure_percentage_threshold"));
        set(&mut failures.hosts_min, number("failure_percentage_minimum_hosts"));
        set(&mut failures.requests_min, number("failure_percentage_request_volume"));
        let shares = &mut self.enforcing;
        for (share, name) in [
            (&mut shares.consecutive_5xx, "enforcing_consecutive_5xx"),
            (&mut shares.consecutive_gateway_failure, "enforcing_consecutive_gateway_failure"),
            (
                &mut shares.consecutive_local_origin_failure,
                "enforcing_consecutive_local_origin_failure",
            ),
            (&mut shares.success_rate, "enforcing_success_rate"),
            (&mut shares.local_origin_success_rate, "enforcing_local_origin_success_rate"),
            (&mut shares.failure_percentage, "enforcing_failure_percentage"),
            (
                &mut shares.failure_percentage_local_origin,
                "enforcing_failure_percentage_local_origin",
            ),
        ] {
            set(share, percent(name));
        }
        set(&mut self.interval, positive("interval_ms"));
        set(&mut self.base_ejection_time, positive("base_ejection_time_ms"));
        set(&mut self.ejection_time_max, positive("max_ejection_time_ms"));
        set(&mut self.ejection_time_jitter, runtime.millis(&key("max_ejection_time_jitter_ms")));
        set(&mut self.ejection_max, percent("max_ejection_percent"));
        *self != before
    }
}

impl Tune for CheckIntervals {
    fn tune(&mut self, runtime: &Runtime) -> bool {
        let (least, most) = (
            runtime.millis("health_check.min_interval"),
            runtime.millis("health_check.max_interval"),
        );
        if least.is_none() && most.is_none() {
            return false;
        }
        let before = *self;
        let bound = |time: Duration| {
            let time = time.min(most.unwrap_or(Duration::MAX));
            time.max(least.unwrap_or(Duration::ZERO)).max(Duration::from_millis(1))
        };
        self.interval = bound(self.interval);
        self.no_traffic = bound(self.no_traffic);
        for time in [
            &mut self.no_traffic_healthy,
            &mut self.unhealthy,
            &mut self.unhealthy_edge,
            &mut self.healthy_edge,
        ] {
            *time = time.map(bound);
        }
        *self != before
    }
}
