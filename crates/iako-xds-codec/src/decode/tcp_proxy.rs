//! What carries bytes of TCP connections.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::network::tcp_proxy::v3 as pb;

use super::access_log::{self, times};
use super::{header, metadata, on_demand, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    BackOff, TcpLogTimes, TcpProxy, TcpTarget, TcpTunnel, TunnelMethod, WeightedTcpCluster,
};

pub(super) fn tcp_proxy(config: &pb::TcpProxy, at: &At<'_>) -> Result<TcpProxy, Fault> {
    let subset = subset(config.metadata_match.as_ref());
    let mut value = TcpProxy::new(config.stat_prefix.clone(), target(config, &subset, at)?);
    if matches!(value.target, TcpTarget::Cluster(_)) {
        value.subset = subset;
    }
    value.idle_timeout = wire::limit(
        config.idle_timeout.as_ref(),
        Some(Duration::from_secs(3600)),
        &at.field("idle_timeout"),
    )?;
    value.duration_max = wire::limit(
        config.max_downstream_connection_duration.as_ref(),
        None,
        &at.field("max_downstream_connection_duration"),
    )?;
    let at_jitter = at.field("max_downstream_connection_duration_jitter_percentage");
    value.duration_jitter = config
        .max_downstream_connection_duration_jitter_percentage
        .map(|jitter| wire::percent(jitter.value, &at_jitter))
        .transpose()?;
    if let Some(attempts) = config.max_connect_attempts {
        value.connect_attempts_max = wire::non_zero(attempts, &at.field("max_connect_attempts"))?;
    }
    let at_back_off = at.field("backoff_options");
    value.connect_back_off =
        config.backoff_options.as_ref().map(|config| back_off(config, &at_back_off)).transpose()?;
    value.hash_source_ip = hash_source_ip(config, &at.field("hash_policy"))?;
    let at_tunnel = at.field("tunneling_config");
    let tunnel = config.tunneling_config.as_ref();
    value.tunnel =
        tunnel.map(|config| self::tunnel(config, &at_tunnel).map(Box::new)).transpose()?;
    value.access_log = access_log::logs(&config.access_log, &at.field("access_log"))?;
    value.access_log_times = log_times(config, at)?;
    let at_demand = at.field("on_demand");
    let demand = config.on_demand.as_ref().filter(|it| it.odcds_config.is_some());
    let demand = demand.map(|config| on_demand::of_tcp(config, &at_demand).map(Box::new));
    value.on_demand = demand.transpose()?;
    Ok(value)
}

fn target(
    config: &pb::TcpProxy,
    subset: &[(String, String)],
    at: &At<'_>,
) -> Result<TcpTarget, Fault> {
    use pb::tcp_proxy::ClusterSpecifier;
    match &config.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) if !name.is_empty() => {
            Ok(TcpTarget::Cluster(name.clone()))
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let at = at.field("weighted_clusters");
            let one = |target: &pb::tcp_proxy::weighted_cluster::ClusterWeight| {
                let own = self::subset(target.metadata_match.as_ref());
                WeightedTcpCluster {
                    cluster: target.name.clone(),
                    weight: target.weight,
                    subset: merged(subset, own),
                }
            };
            let targets: Vec<_> = weighted.clusters.iter().map(one).collect();
            if targets.iter().all(|target| target.weight == 0) {
                return Err(
                    at.invalid("has no weight above 0", "give at least one cluster a weight")
                );
            }
            Ok(TcpTarget::Weighted(targets))
        }
        Some(ClusterSpecifier::Cluster(_)) | None => {
            Err(at.field("cluster").missing("write `cluster` or `weighted_clusters`"))
        }
    }
}

/// Metadata under `envoy.lb`, in the order of keys.
fn subset(wanted: Option<&core::Metadata>) -> Vec<(String, String)> {
    let fields = wanted.and_then(|wanted| wanted.filter_metadata.get("envoy.lb"));
    fields.map(metadata::texts).into_iter().flatten().collect()
}

/// Of a key that both have, the value of the narrower one counts.
fn merged(wide: &[(String, String)], narrow: Vec<(String, String)>) -> Vec<(String, String)> {
    let mut all: std::collections::BTreeMap<_, _> = wide.iter().cloned().collect();
    all.extend(narrow);
    all.into_iter().collect()
}

fn back_off(config: &core::BackoffStrategy, at: &At<'_>) -> Result<BackOff, Fault> {
    let at_base = at.field("base_interval");
    let base = config.base_interval.as_ref().ok_or_else(|| at_base.missing("write a time"))?;
    let base = wire::positive(wire::duration(base, &at_base)?, &at_base)?;
    let at_max = at.field("max_interval");
    let max = match &config.max_interval {
        Some(max) => wire::duration(max, &at_max)?,
        None => base.saturating_mul(10),
    };
    if max < base {
        return Err(at_max.invalid("is below base_interval", "write a time that is not shorter"));
    }
    Ok(BackOff { base, max })
}

fn hash_source_ip(config: &pb::TcpProxy, at: &At<'_>) -> Result<bool, Fault> {
    use iako_xds_api::envoy::r#type::v3::hash_policy::PolicySpecifier;
    let parts = wire::list(&config.hash_policy, at, |policy, at| match &policy.policy_specifier {
        Some(PolicySpecifier::SourceIp(_)) => Ok(()),
        Some(PolicySpecifier::FilterState(_)) => {
            Err(at.field("filter_state").invalid("is not supported", "use `source_ip`"))
        }
        None => Err(at.missing("write `source_ip: {}`")),
    })?;
    Ok(!parts.is_empty())
}

fn tunnel(config: &pb::tcp_proxy::TunnelingConfig, at: &At<'_>) -> Result<TcpTunnel, Fault> {
    if config.hostname.is_empty() {
        return Err(at.field("hostname").missing("write the authority that is asked for"));
    }
    let at_path = at.field("post_path");
    let method = match (config.use_post, config.post_path.as_str()) {
        (true, "") => TunnelMethod::Post { path: "/".to_owned() },
        (true, path) if path.starts_with('/') => TunnelMethod::Post { path: path.to_owned() },
        (true, _) => return Err(at_path.invalid("is no path", "write a path that begins with /")),
        (false, "") => TunnelMethod::Connect,
        (false, _) => {
            return Err(at_path.invalid("has no effect without use_post", "write `use_post: true`"));
        }
    };
    Ok(TcpTunnel {
        hostname: config.hostname.clone(),
        method,
        headers: header::additions(&config.headers_to_add, &at.field("headers_to_add"))?,
    })
}

/// The options count; the fields that they replaced count where there are none.
fn log_times(config: &pb::TcpProxy, at: &At<'_>) -> Result<TcpLogTimes, Fault> {
    let options = config.access_log_options.as_ref();
    let at_options = at.field("access_log_options");
    let is_beside =
        config.flush_access_log_on_connected || config.access_log_flush_interval.is_some();
    if options.is_some() && is_beside {
        return Err(times::beside(&at_options));
    }
    let interval = match options {
        Some(options) => times::interval(options.access_log_flush_interval.as_ref(), &at_options)?,
        None => times::interval(config.access_log_flush_interval.as_ref(), at)?,
    };
    Ok(TcpLogTimes {
        interval,
        on_connected: options.map_or(config.flush_access_log_on_connected, |options| {
            options.flush_access_log_on_connected
        }),
        on_start: options.is_some_and(|options| options.flush_access_log_on_start),
    })
}
