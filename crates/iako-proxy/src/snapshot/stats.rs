//! Handles of Envoy's statistics, found once when configuration is compiled.

use std::time::{Duration, Instant};

use iako_proxy_config::Thresholds;
use iako_telemetry::{Counter, Gauge, Histogram, StatsRegistry};
use iako_traffic::{BreakerCounts, Breakers, PickNotes};

use crate::transport::ConnectError;

macro_rules! handles {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ident = $method:ident $leaf:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name { $(pub(crate) $field: $kind,)* }

        impl $name {
            pub(super) fn of(scope: &iako_telemetry::StatsScope) -> Self {
                Self { $($field: scope.$method($leaf),)* }
            }
        }
    };
}

pub(super) use handles;

handles! {
    /// `cluster.<name>.…`; see the page of metrics for what each one counts.
    ClusterStats {
        cx_total: Counter = counter "upstream_cx_total",
        cx_active: Gauge = gauge "upstream_cx_active",
        cx_http1_total: Counter = counter "upstream_cx_http1_total",
        cx_http2_total: Counter = counter "upstream_cx_http2_total",
        cx_connect_fail: Counter = counter "upstream_cx_connect_fail",
        cx_connect_timeout: Counter = counter "upstream_cx_connect_timeout",
        cx_connect_attempts_exceeded: Counter = counter "upstream_cx_connect_attempts_exceeded",
        cx_overflow: Counter = counter "upstream_cx_overflow",
        cx_destroy: Counter = counter "upstream_cx_destroy",
        cx_rx_bytes: Counter = counter "upstream_cx_rx_bytes_total",
        cx_tx_bytes: Counter = counter "upstream_cx_tx_bytes_total",
        cx_connect_ms: Histogram = histogram "upstream_cx_connect_ms",
        cx_none_healthy: Counter = counter "upstream_cx_none_healthy",
        rq_total: Counter = counter "upstream_rq_total",
        rq_active: Gauge = gauge "upstream_rq_active",
        rq_pending_total: Counter = counter "upstream_rq_pending_total",
        rq_pending_overflow: Counter = counter "upstream_rq_pending_overflow",
        rq_cancelled: Counter = counter "upstream_rq_cancelled",
        rq_maintenance_mode: Counter = counter "upstream_rq_maintenance_mode",
        rq_timeout: Counter = counter "upstream_rq_timeout",
        rq_per_try_timeout: Counter = counter "upstream_rq_per_try_timeout",
        rq_max_duration_reached: Counter = counter "upstream_rq_max_duration_reached",
        rq_rx_reset: Counter = counter "upstream_rq_rx_reset",
        rq_tx_reset: Counter = counter "upstream_rq_tx_reset",
        rq_retry_backoff_exponential: Counter = counter "upstream_rq_retry_backoff_exponential",
        rq_retry_backoff_ratelimited: Counter = counter "upstream_rq_retry_backoff_ratelimited",
        rq_per_try_idle_timeout: Counter = counter "upstream_rq_per_try_idle_timeout",
        retry_or_shadow_abandoned: Counter = counter "retry_or_shadow_abandoned",
        redirect_succeeded: Counter = counter "upstream_internal_redirect_succeeded_total",
        redirect_failed: Counter = counter "upstream_internal_redirect_failed_total",
        cx_pool_overflow: Counter = counter "upstream_cx_pool_overflow",
        rq_retry: Counter = counter "upstream_rq_retry",
        rq_retry_success: Counter = counter "upstream_rq_retry_success",
        rq_retry_overflow: Counter = counter "upstream_rq_retry_overflow",
        rq_retry_limit_exceeded: Counter = counter "upstream_rq_retry_limit_exceeded",
        membership_total: Gauge = gauge "membership_total",
        membership_healthy: Gauge = gauge "membership_healthy",
        membership_degraded: Gauge = gauge "membership_degraded",
        membership_excluded: Gauge = gauge "membership_excluded",
        membership_change: Counter = counter "membership_change",
        ssl_handshake: Counter = counter "ssl.handshake",
        ssl_connection_error: Counter = counter "ssl.connection_error",
        ssl_fail_verify_san: Counter = counter "ssl.fail_verify_san",
        update_attempt: Counter = counter "update_attempt",
        update_success: Counter = counter "update_success",
        update_failure: Counter = counter "update_failure",
        update_no_rebuild: Counter = counter "update_no_rebuild",
        assignment_timeout_received: Counter = counter "assignment_timeout_received",
        assignment_stale: Counter = counter "assignment_stale",
        original_dst_host_invalid: Counter = counter "original_dst_host_invalid",
    }
}

handles! {
    /// `cluster.<name>.lb_…`; see the page of metrics for what each one counts.
    LbStats {
        healthy_panic: Counter = counter "lb_healthy_panic",
        zone_direct: Counter = counter "lb_zone_routing_all_directly",
        zone_sampled: Counter = counter "lb_zone_routing_sampled",
        zone_cross: Counter = counter "lb_zone_routing_cross_zone",
        zone_no_capacity: Counter = counter "lb_zone_no_capacity_left",
        subsets_selected: Counter = counter "lb_subsets_selected",
        subsets_fallback: Counter = counter "lb_subsets_fallback",
        subsets_fallback_panic: Counter = counter "lb_subsets_fallback_panic",
    }
}

impl LbStats {
    pub(crate) fn new(stats: &StatsRegistry, name: &str) -> Self {
        Self::of(&stats.cluster(name))
    }

    /// Counts what led to a choice.
    pub(crate) fn count(&self, notes: PickNotes) {
        let each = [
            (PickNotes::PANIC, &self.healthy_panic),
            (PickNotes::ZONE_DIRECT, &self.zone_direct),
            (PickNotes::ZONE_SAMPLED, &self.zone_sampled),
            (PickNotes::ZONE_CROSS, &self.zone_cross),
            (PickNotes::ZONE_NO_CAPACITY, &self.zone_no_capacity),
            (PickNotes::SUBSET, &self.subsets_selected),
            (PickNotes::SUBSET_FALLBACK, &self.subsets_fallback),
            (PickNotes::SUBSET_PANIC, &self.subsets_fallback_panic),
        ];
        each.iter().filter(|(note, _)| notes.has(*note)).for_each(|(_, counter)| counter.inc());
    }
}

/// `cluster.<name>.circuit_breakers.<priority>.…`.
#[derive(Debug, Clone)]
pub(crate) struct BreakerStats {
    open: [Gauge; 5],
    /// Where that is tracked.
    remaining: Option<[Gauge; 5]>,
}

impl BreakerStats {
    pub(crate) fn new(
        stats: &StatsRegistry,
        cluster: &str,
        priority: &str,
        limits: &Thresholds,
    ) -> Self {
        let scope = stats.cluster(cluster);
        let gauge = |leaf: &str| scope.gauge(&format!("circuit_breakers.{priority}.{leaf}"));
        let open = ["cx_open", "cx_pool_open", "rq_pending_open", "rq_open", "rq_retry_open"];
        let left = [
            "remaining_cx",
            "remaining_cx_pools",
            "remaining_pending",
            "remaining_rq",
            "remaining_retries",
        ];
        let wide = |leaf: &str| scope.wide_gauge(&format!("circuit_breakers.{priority}.{leaf}"));
        Self { open: open.map(gauge), remaining: limits.track_remaining.then(|| left.map(wide)) }
    }

    /// Shows which breakers are full, and what is left.
    pub(crate) fn show(&self, breakers: &Breakers, limits: &Thresholds, now: Instant) {
        let left = breakers.remaining(limits, now);
        let open = breakers.open();
        let counts = |counts: BreakerCounts| {
            let BreakerCounts { pools, connections, pending, requests, retries } = counts;
            [connections, pools, pending, requests, retries].map(u64::from)
        };
        for ((gauge, left), open) in self.open.iter().zip(counts(left)).zip(counts(open)) {
            // A breaker that never lets anything through is not shown as open, as in Envoy.
            gauge.set(u64::from(left == 0 && open > 0));
        }
        if let Some(remaining) = &self.remaining {
            let [connections, mut pools, others @ ..] = counts(left);
            if limits.pools_max == u32::MAX {
                // Without a limit Envoy counts down from the greatest number of 64 bits.
                pools = u64::MAX.saturating_sub(u64::from(open.pools));
            }
            let left = [connections, pools].into_iter().chain(others);
            for (gauge, left) in remaining.iter().zip(left) {
                gauge.set(left);
            }
        }
    }
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    Plain,
    Tls,
}

impl ClusterStats {
    pub(crate) fn new(stats: &StatsRegistry, name: &str) -> Self {
        Self::of(&stats.cluster(name))
    }

    /// Counts a connection that was made; who made it counts its end with [`Self::closed`].
    pub(crate) fn connected(&self, took: Duration, security: Security) {
        if security == Security::Tls {
            self.ssl_handshake.inc();
        }
        self.cx_total.inc();
        self.cx_active.inc();
        self.cx_connect_ms.record(took);
    }

    /// Counts the end of a connection.
    pub(crate) fn closed(&self) {
        self.cx_active.dec();
        self.cx_destroy.inc();
    }

    pub(crate) fn connect_failed(&self, error: &ConnectError) {
        self.cx_total.inc();
        self.cx_destroy.inc();
        self.cx_connect_fail.inc();
        match error {
            ConnectError::Timeout { .. } => self.cx_connect_timeout.inc(),
            ConnectError::Peer { .. } => self.ssl_fail_verify_san.inc(),
            error if error.is_tls() => self.ssl_connection_error.inc(),
            ConnectError::Connect { .. }
            | ConnectError::Unresolved { .. }
            | ConnectError::Handshake { .. }
            | ConnectError::Settings(_)
            | ConnectError::ServerName(_) => {}
        }
    }
}

handles! {
    /// `listener.<address>.…`; see the page of metrics for what each one counts.
    ListenerStats {
        cx_total: Counter = counter "downstream_cx_total",
        cx_active: Gauge = gauge "downstream_cx_active",
        cx_destroy: Counter = counter "downstream_cx_destroy",
        overflow: Counter = counter "downstream_cx_overflow",
        global_overflow: Counter = counter "downstream_global_cx_overflow",
        overload_reject: Counter = counter "downstream_cx_overload_reject",
        pre_cx_timeout: Counter = counter "downstream_pre_cx_timeout",
        filter_error: Counter = counter "downstream_listener_filter_error",
        filter_remote_close: Counter = counter "downstream_listener_filter_remote_close",
        handshake_timeout: Counter = counter "downstream_cx_transport_socket_connect_timeout",
        no_chain: Counter = counter "no_filter_chain_match",
        filter_config_missing: Counter = counter "extension_config_missing",
        network_config_missing: Counter = counter "network_extension_config_missing",
        ssl_handshake: Counter = counter "ssl.handshake",
        ssl_connection_error: Counter = counter "ssl.connection_error",
        ssl_fail_verify_error: Counter = counter "ssl.fail_verify_error",
        ssl_fail_verify_no_cert: Counter = counter "ssl.fail_verify_no_cert",
        ssl_fail_verify_san: Counter = counter "ssl.fail_verify_san",
        ssl_fail_verify_cert_hash: Counter = counter "ssl.fail_verify_cert_hash",
        ssl_no_certificate: Counter = counter "ssl.no_certificate",
        ssl_session_reused: Counter = counter "ssl.session_reused",
    }
}

impl ListenerStats {
    pub(crate) fn new(stats: &StatsRegistry, address: &str) -> Self {
        Self::of(&stats.listener(address))
    }
}

handles! {
    /// `listener.<address>.worker_<number>.…`: how connections spread over workers.
    ListenerWorkerStats {
        cx_total: Counter = counter "downstream_cx_total",
        cx_active: Gauge = gauge "downstream_cx_active",
    }
}

impl ListenerWorkerStats {
    /// Those of a listener, one for each worker.
    pub(crate) fn of_all(stats: &StatsRegistry, address: &str, workers: usize) -> Box<[Self]> {
        let listener = stats.listener(address);
        let of = |worker| Self::of(&listener.numbered_part("worker", "envoy_worker_id", worker));
        (0..workers).map(of).collect()
    }
}
