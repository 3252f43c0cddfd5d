//! Network filters.

use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::network::{
    rbac::v3 as rbac_pb, tcp_proxy::v3 as tcp,
};
use iako_xds_api::envoy::tcp::metadataexchange::config::MetadataExchange;
use iako_xds_api::envoy::r#type::v3::{HashPolicy, hash_policy};
use iako_xds_api::udpa::r#type::v1::TypedStruct;
use prost_types::Any;

use super::{access_log, http, http_filter, rbac, wire};
use crate::{NetworkFilter, TcpProxy, TcpTarget, Terminal};

pub(super) fn filters(steps: &[NetworkFilter], last: &Terminal) -> Vec<pb::Filter> {
    let last = match last {
        Terminal::Http(manager) => filter(
            "envoy.filters.network.http_connection_manager",
            wire::any(&http::manager(manager)),
        ),
        Terminal::Tcp(proxy) => {
            filter("envoy.filters.network.tcp_proxy", wire::any(&tcp_proxy(proxy)))
        }
    };
    steps.iter().filter_map(step).chain([last]).collect()
}

fn filter(name: &str, any: Any) -> pb::Filter {
    pb::Filter {
        name: name.to_owned(),
        config_type: Some(pb::filter::ConfigType::TypedConfig(any)),
    }
}

fn step(value: &NetworkFilter) -> Option<pb::Filter> {
    Some(match value {
        NetworkFilter::Rbac(value) => {
            let config = rbac_pb::Rbac {
                rules: value.rules.as_ref().map(rbac::rules),
                shadow_rules: value.shadow_rules.as_ref().map(rbac::rules),
                shadow_rules_stat_prefix: value.shadow_prefix.clone(),
                stat_prefix: value.stat_prefix.clone(),
                ..Default::default()
            };
            filter("envoy.filters.network.rbac", wire::any(&config))
        }
        NetworkFilter::MetadataExchange { protocol } => {
            let config = MetadataExchange { protocol: protocol.clone(), enable_discovery: false };
            filter("istio.metadata_exchange", wire::any(&config))
        }
        NetworkFilter::Stats(stats) => filter("istio.stats", http_filter::stats(stats)),
        // Network filters are never optional on the wire: what was passed over stays out.
        NetworkFilter::Unsupported(_) => return None,
    })
}

fn tcp_proxy(value: &TcpProxy) -> tcp::TcpProxy {
    use tcp::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let target = match &value.target {
        TcpTarget::Cluster(name) => ClusterSpecifier::Cluster(name.clone()),
        TcpTarget::Weighted(targets) => {
            let cluster = |(name, weight): &(String, u32)| ClusterWeight {
                name: name.clone(),
                weight: *weight,
                ..Default::default()
            };
            ClusterSpecifier::WeightedClusters(WeightedCluster {
                // An Envoy refuses a weight of 0; a target without traffic need not be named.
                clusters: targets.iter().filter(|(_, weight)| *weight > 0).map(cluster).collect(),
            })
        }
    };
    let source_ip = HashPolicy {
        policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp {})),
    };
    tcp::TcpProxy {
        stat_prefix: value.stat_prefix.clone(),
        cluster_specifier: Some(target),
        idle_timeout: wire::limit(value.idle_timeout),
        max_downstream_connection_duration: value.duration_max.map(wire::duration),
        max_downstream_connection_duration_jitter_percentage: value
            .duration_jitter
            .map(wire::percent),
        max_connect_attempts: Some(value.connect_attempts_max.get())
            .filter(|attempts| *attempts != 1),
        hash_policy: if value.hash_source_ip { vec![source_ip] } else { Vec::new() },
        access_log: access_log::logs(&value.access_log),
        ..Default::default()
    }
}

/// A structure beside the name of its type, for extensions without a schema here.
pub(super) fn typed_struct(type_name: &str, fields: prost_types::Struct) -> Any {
    wire::any(&TypedStruct {
        type_url: format!("type.googleapis.com/{type_name}"),
        value: Some(fields),
    })
}
