//! Upstreams.

use std::num::NonZeroU32;

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;

use super::{cluster_http, endpoint, lb, metadata, proxy_protocol, wire};
use crate::{
    CircuitBreakers, Cluster, Discovery, DnsFamily, DnsOptions, EndpointSet, OutlierDetection,
    TcpKeepalive, Thresholds, TransportMatch,
};

pub(super) fn cluster(value: &Cluster) -> pb::Cluster {
    let mut message = pb::Cluster {
        name: value.name.clone(),
        alt_stat_name: value.alt_stat_name.clone(),
        connect_timeout: Some(wire::duration(value.connect_timeout)),
        circuit_breakers: circuit_breakers(&value.circuit_breakers),
        outlier_detection: value.outlier_detection.as_ref().map(outlier_detection),
        transport_socket: proxy_protocol::upstream(
            &value.transport,
            value.proxy_protocol.as_deref(),
        ),
        transport_socket_matches: value.transport_matches.iter().map(transport_match).collect(),
        typed_extension_protocol_options: cluster_http::protocol_options(value),
        upstream_connection_options: value.tcp_keepalive.as_ref().map(keepalive),
        upstream_bind_config: value.bind_address.map(|address| core::BindConfig {
            source_address: Some(wire::socket_address(address)),
            ..Default::default()
        }),
        metadata: metadata::of_cluster(&value.metadata),
        ..Default::default()
    };
    dns(&value.dns, &mut message);
    lb::apply(value, &mut message);
    discovery(&value.discovery, &mut message);
    message
}

fn discovery(value: &Discovery, message: &mut pb::Cluster) {
    use pb::cluster::DiscoveryType;
    let mut instances =
        |set: &EndpointSet| message.load_assignment = Some(endpoint::endpoint_set(set));
    let kind = match value {
        Discovery::Static(set) => {
            instances(set);
            DiscoveryType::Static
        }
        Discovery::StrictDns(set) => {
            instances(set);
            DiscoveryType::StrictDns
        }
        Discovery::LogicalDns(set) => {
            instances(set);
            DiscoveryType::LogicalDns
        }
        Discovery::Eds(name) => {
            message.eds_cluster_config = Some(pb::cluster::EdsClusterConfig {
                eds_config: Some(wire::ads()),
                service_name: name.clone(),
            });
            DiscoveryType::Eds
        }
        Discovery::OriginalDst { port_override } => {
            if let Some(port) = port_override {
                let config = pb::cluster::OriginalDstLbConfig {
                    upstream_port_override: Some((*port).into()),
                    ..Default::default()
                };
                message.lb_config = Some(pb::cluster::LbConfig::OriginalDstLbConfig(config));
            }
            DiscoveryType::OriginalDst
        }
    };
    message.cluster_discovery_type = Some(pb::cluster::ClusterDiscoveryType::Type(kind.into()));
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
    (!thresholds.is_empty()).then(|| pb::CircuitBreakers { thresholds, ..Default::default() })
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
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn outlier_detection(value: &OutlierDetection) -> pb::OutlierDetection {
    let enforcing = |counter: Option<NonZeroU32>| Some(if counter.is_some() { 100 } else { 0 });
    pb::OutlierDetection {
        consecutive_5xx: value.consecutive_5xx.map(NonZeroU32::get),
        enforcing_consecutive_5xx: enforcing(value.consecutive_5xx),
        consecutive_gateway_failure: value.consecutive_gateway_failure.map(NonZeroU32::get),
        enforcing_consecutive_gateway_failure: enforcing(value.consecutive_gateway_failure),
        consecutive_local_origin_failure: value
            .consecutive_local_origin_failure
            .map(NonZeroU32::get),
        enforcing_consecutive_local_origin_failure: enforcing(
            value.consecutive_local_origin_failure,
        ),
        split_external_local_origin_errors: value.split_local_origin,
        interval: Some(wire::duration(value.interval)),
        base_ejection_time: Some(wire::duration(value.base_ejection_time)),
        max_ejection_time: Some(wire::duration(value.ejection_time_max)),
        max_ejection_percent: Some(value.ejection_max.parts_per_million() / 10_000),
        // Only failures in a row eject, at an Envoy too.
        enforcing_success_rate: Some(0),
        ..Default::default()
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

fn keepalive(value: &TcpKeepalive) -> pb::UpstreamConnectionOptions {
    let seconds = |value: Option<std::time::Duration>| {
        value.map(|value| u32::try_from(value.as_secs()).unwrap_or(u32::MAX))
    };
    pb::UpstreamConnectionOptions {
        tcp_keepalive: Some(core::TcpKeepalive {
            keepalive_probes: value.probes.map(NonZeroU32::get),
            keepalive_time: seconds(value.time),
            keepalive_interval: seconds(value.interval),
        }),
        ..Default::default()
    }
}

fn dns(value: &DnsOptions, message: &mut pb::Cluster) {
    use pb::cluster::DnsLookupFamily;
    if *value == DnsOptions::default() {
        return;
    }
    message.dns_refresh_rate = Some(wire::duration(value.refresh_rate));
    message.respect_dns_ttl = value.respect_ttl;
    let family = match value.family {
        DnsFamily::Auto => DnsLookupFamily::Auto,
        DnsFamily::V4Only => DnsLookupFamily::V4Only,
        DnsFamily::V6Only => DnsLookupFamily::V6Only,
        DnsFamily::V4Preferred => DnsLookupFamily::V4Preferred,
        DnsFamily::All => DnsLookupFamily::All,
    };
    message.dns_lookup_family = family.into();
}
