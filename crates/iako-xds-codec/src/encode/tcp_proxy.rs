//! What carries bytes of TCP connections.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::network::tcp_proxy::v3 as pb;
use iako_xds_api::envoy::r#type::v3::{HashPolicy, hash_policy};

use super::{access_log, discovered, header, metadata, wire};
use iako_proxy_config::{
    TcpLogTimes, TcpProxy, TcpTarget, TcpTunnel, TunnelMethod, WeightedTcpCluster,
};

pub(super) fn tcp_proxy(value: &TcpProxy) -> pb::TcpProxy {
    let source_ip = HashPolicy {
        policy_specifier: Some(hash_policy::PolicySpecifier::SourceIp(hash_policy::SourceIp {})),
    };
    pb::TcpProxy {
        stat_prefix: value.stat_prefix.clone(),
        cluster_specifier: Some(target(&value.target)),
        metadata_match: metadata::of_subset(&value.subset, &[]),
        idle_timeout: wire::limit(value.idle_timeout),
        max_downstream_connection_duration: value.duration_max.map(wire::duration),
        max_downstream_connection_duration_jitter_percentage: value
            .duration_jitter
            .map(wire::percent),
        max_connect_attempts: Some(value.connect_attempts_max.get())
            .filter(|attempts| *attempts != 1),
        backoff_options: value.connect_back_off.map(|back_off| core::BackoffStrategy {
            base_interval: Some(wire::duration(back_off.base)),
            max_interval: Some(wire::duration(back_off.max)),
        }),
        hash_policy: if value.hash_source_ip { vec![source_ip] } else { Vec::new() },
        tunneling_config: value.tunnel.as_deref().map(tunnel),
        access_log: access_log::logs(&value.access_log),
        access_log_options: log_times(value.access_log_times),
        on_demand: value.on_demand.as_deref().map(discovered::of_tcp),
        ..Default::default()
    }
}

fn target(value: &TcpTarget) -> pb::tcp_proxy::ClusterSpecifier {
    use pb::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    match value {
        TcpTarget::Cluster(name) => ClusterSpecifier::Cluster(name.clone()),
        TcpTarget::Weighted(targets) => {
            let cluster = |target: &WeightedTcpCluster| ClusterWeight {
                name: target.cluster.clone(),
                weight: target.weight,
                metadata_match: metadata::of_subset(&target.subset, &[]),
            };
            // An Envoy refuses a weight of 0; a target without traffic need not be named.
            let used = targets.iter().filter(|target| target.weight > 0);
            ClusterSpecifier::WeightedClusters(WeightedCluster {
                clusters: used.map(cluster).collect(),
            })
        }
    }
}

fn tunnel(value: &TcpTunnel) -> pb::tcp_proxy::TunnelingConfig {
    let (use_post, post_path) = match &value.method {
        TunnelMethod::Connect => (false, String::new()),
        TunnelMethod::Post { path } => (true, path.clone()),
    };
    pb::tcp_proxy::TunnelingConfig {
        hostname: value.hostname.clone(),
        use_post,
        post_path,
        headers_to_add: header::additions(&value.headers),
        ..Default::default()
    }
}

fn log_times(value: TcpLogTimes) -> Option<pb::tcp_proxy::TcpAccessLogOptions> {
    (value != TcpLogTimes::default()).then(|| pb::tcp_proxy::TcpAccessLogOptions {
        access_log_flush_interval: value.interval.map(wire::duration),
        flush_access_log_on_connected: value.on_connected,
        flush_access_log_on_start: value.on_start,
    })
}
