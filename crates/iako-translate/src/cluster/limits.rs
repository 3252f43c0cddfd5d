//! Limits towards a service: pools, budgets, ejection.

use std::{num::NonZeroU32, time::Duration};

use iako_proxy_config::{
    CircuitBreakers, Cluster, Enforcing, OutlierDetection, RetryBudget, TcpKeepalive, Thresholds,
};
use iako_resources::istio::destination_rule::{
    ConnectionPool, OutlierDetection as Outlier, RetryBudget as Budget,
};
use iako_types::Percent;

/// Istio's circuit breakers: there in name only.
pub(crate) const fn unlimited() -> CircuitBreakers {
    let thresholds = Thresholds {
        connections_max: u32::MAX,
        pending_requests_max: u32::MAX,
        requests_max: u32::MAX,
        retries_max: u32::MAX,
        retry_budget: None,
        pools_max: u32::MAX,
        track_remaining: false,
    };
    CircuitBreakers {
        default: thresholds,
        high: thresholds,
        host_connections_max: None,
        high_host_connections_max: None,
    }
}

/// Applies what the user said of pools. The same settings size the server's own cluster.
pub(crate) fn apply_pool(cluster: &mut Cluster, pool: &ConnectionPool) {
    for thresholds in [&mut cluster.circuit_breakers.default, &mut cluster.circuit_breakers.high] {
        let set = |target: &mut u32, value: Option<u32>| *target = value.unwrap_or(*target);
        set(&mut thresholds.connections_max, pool.connections_max);
        set(&mut thresholds.pending_requests_max, pool.http1_pending_requests_max);
        set(&mut thresholds.requests_max, pool.requests_max);
        set(&mut thresholds.retries_max, pool.retries_max);
    }
    if let Some(timeout) = pool.connect_timeout {
        cluster.connect_timeout = timeout;
    }
    cluster.http.connection_duration_max = pool.connection_duration_max;
    if let Some(idle) = pool.http_idle_timeout {
        cluster.http.idle_timeout = non_zero(idle);
    }
    cluster.http.requests_per_connection_max =
        pool.requests_per_connection_max.and_then(NonZeroU32::new);
    if let Some(streams) = pool.concurrent_streams_max {
        cluster.http.http2.concurrent_streams_max = streams;
    }
    cluster.tcp_keepalive = pool.tcp_keepalive.map(|keepalive| TcpKeepalive {
        probes: keepalive.probes.and_then(NonZeroU32::new),
        time: keepalive.time,
        interval: keepalive.interval,
    });
}

/// A duration of which zero means none.
pub(crate) fn non_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

pub(super) fn apply_retry_budget(cluster: &mut Cluster, budget: Option<&Budget>) {
    if let Some(budget) = budget {
        let budget = RetryBudget {
            percent: budget.percent,
            retries_min: budget.concurrency_min,
            interval: Duration::ZERO,
        };
        cluster.circuit_breakers.default.retry_budget = Some(budget);
    }
}

pub(super) fn apply_outlier(cluster: &mut Cluster, outlier: &Outlier) {
    let defaults = OutlierDetection::default();
    let failures = |given: Option<u32>, default: Option<NonZeroU32>| match given {
        Some(count) => NonZeroU32::new(count),
        None => default,
    };
    cluster.panic_threshold = outlier.min_health;
    cluster.outlier_detection = Some(OutlierDetection {
        consecutive_5xx: failures(outlier.consecutive_5xx, defaults.consecutive_5xx),
        consecutive_gateway_failure: failures(outlier.consecutive_gateway_errors, None),
        consecutive_local_origin_failure: failures(
            outlier.consecutive_local_origin_failures,
            defaults.consecutive_local_origin_failure,
        ),
        split_local_origin: outlier.split_external_local_origin_errors,
        interval: outlier.interval.unwrap_or(defaults.interval),
        base_ejection_time: outlier.base_ejection_time.unwrap_or(defaults.base_ejection_time),
        ejection_time_max: defaults
            .ejection_time_max
            .max(outlier.base_ejection_time.unwrap_or_default()),
        ejection_max: outlier.max_ejection.unwrap_or(defaults.ejection_max),
        // Only failures in a row are what Istio's users can ask for.
        enforcing: Enforcing {
            consecutive_gateway_failure: Percent::HUNDRED,
            success_rate: Percent::ZERO,
            local_origin_success_rate: Percent::ZERO,
            ..Enforcing::default()
        },
        ..defaults
    });
}
