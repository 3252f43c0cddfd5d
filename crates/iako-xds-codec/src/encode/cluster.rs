//! Upstreams.

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;

use super::{
    cluster_connecting, cluster_http, discovery, health, lb, metadata, proxy_protocol, wire,
};
use iako_proxy_config::{CircuitBreakers, Cluster, Thresholds, TransportMatch};

pub(super) fn cluster(value: &Cluster) -> pb::Cluster {
    let mut message = pb::Cluster {
        name: value.name.clone(),
        alt_stat_name: value.alt_stat_name.clone(),
        connect_timeout: Some(wire::duration(value.connect_timeout)),
        circuit_breakers: circuit_breakers(&value.circuit_breakers),
        outlier_detection: value.outlier_detection.as_ref().map(health::outlier_detection),
        health_checks: value.health_check.iter().map(health::check).collect(),
        ignore_health_on_host_removal: value.membership.ignore_health_on_removal,
        wait_for_warm_on_init: (!value.membership.wait_for_checks).then_some(false),
        transport_socket: proxy_protocol::upstream(
            &value.transport,
            value.proxy_protocol.as_deref(),
        ),
        transport_socket_matches: value.transport_matches.iter().map(transport_match).collect(),
        typed_extension_protocol_options: cluster_http::protocol_options(value),
        upstream_bind_config: value.bind_address.map(|address| core::BindConfig {
            source_address: Some(wire::socket_address(address)),
            extra_source_addresses: value
                .bind_others
                .iter()
                .map(|other| core::ExtraSourceAddress {
                    address: Some(wire::socket_address(*other)),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }),
        metadata: metadata::of_cluster(&value.metadata),
        ..Default::default()
    };
    cluster_connecting::apply(value, &mut message);
    lb::apply(value, &mut message);
    discovery::apply(value, &mut message);
    message
}

fn circuit_breakers(value: &CircuitBreakers) -> Option<pb::CircuitBreakers> {
    let default = Thresholds::default();
    let entries = [
        (value.default, core::RoutingPriority::Default),
        (value.high, core::RoutingPriority::High),
    ];
    let thresholds: Vec<_> = entries
        .into_iter()
        .filter(|(entry, _)| *entry != default)
        .map(|(entry, priority)| thresholds(entry, priority))
        .collect();
    let hosts = [
        (value.host_connections_max, core::RoutingPriority::Default),
        (value.high_host_connections_max, core::RoutingPriority::High),
    ];
    let limited = hosts.into_iter().filter_map(|(max, priority)| Some((max?, priority)));
    let per_host_thresholds: Vec<_> = limited
        .map(|(max, priority)| pb::circuit_breakers::Thresholds {
            priority: priority.into(),
            max_connections: Some(max),
            ..Default::default()
        })
        .collect();
    let is_default = thresholds.is_empty() && per_host_thresholds.is_empty();
    (!is_default).then_some(pb::CircuitBreakers { thresholds, per_host_thresholds })
}

fn thresholds(
    value: Thresholds,
    priority: core::RoutingPriority,
) -> pb::circuit_breakers::Thresholds {
    use pb::circuit_breakers::thresholds::RetryBudget;
    pb::circuit_breakers::Thresholds {
        priority: priority.into(),
        max_connections: Some(value.connections_max),
        max_pending_requests: Some(value.pending_requests_max),
        max_requests: Some(value.requests_max),
        max_retries: Some(value.retries_max),
        retry_budget: value.retry_budget.map(|budget| RetryBudget {
            budget_percent: Some(wire::percent(budget.percent)),
            min_retry_concurrency: Some(budget.retries_min),
            budget_interval: (!budget.interval.is_zero()).then(|| wire::duration(budget.interval)),
        }),
        max_connection_pools: (value.pools_max != u32::MAX).then_some(value.pools_max),
        track_remaining: value.track_remaining,
    }
}

fn transport_match(value: &TransportMatch) -> pb::cluster::TransportSocketMatch {
    pb::cluster::TransportSocketMatch {
        name: value.name.clone(),
        r#match: Some(metadata::texts(&value.criteria)),
        transport_socket: Some(proxy_protocol::upstream_or_raw(
            &value.transport,
            value.proxy_protocol.as_deref(),
        )),
    }
}
