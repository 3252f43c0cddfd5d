//! Network filters: what is done to a connection, and what carries it.

use std::sync::Arc;
use std::time::Duration;

use iako_xds_api::envoy::config::listener::v3 as pb;
use iako_xds_api::envoy::extensions::filters::network;
use iako_xds_api::envoy::tcp::metadataexchange::config::MetadataExchange;
use prost::Name as _;

use super::typed_struct::{self, Extension};
use super::{access_log, http, http_filter, rbac, wire};
use crate::xds::problem::{At, Fault};
use crate::{NetworkFilter, TcpProxy, TcpTarget, Terminal};

/// The filters of a chain: all but the last are steps, the last one carries the connection.
pub(super) fn filters(
    filters: &[pb::Filter],
    at: &At<'_>,
) -> Result<(Vec<NetworkFilter>, Terminal), Fault> {
    let Some((last, steps)) = filters.split_last() else {
        return Err(at.missing("end the list with http_connection_manager or tcp_proxy"));
    };
    let steps = wire::list(steps, at, step)?;
    Ok((steps, terminal(last, &at.index(filters.len().saturating_sub(1)))?))
}

fn extension(filter: &pb::Filter, at: &At<'_>) -> Result<Extension, Fault> {
    use pb::filter::ConfigType;
    match &filter.config_type {
        Some(ConfigType::TypedConfig(any)) => typed_struct::unwrap(any, &at.field("typed_config")),
        Some(ConfigType::ConfigDiscovery(_)) => {
            Err(at.field("config_discovery").invalid("is not supported", "write `typed_config`"))
        }
        None => Err(at.field("typed_config").missing("write the filter's settings with `@type`")),
    }
}

fn unsupported(filter: &pb::Filter, extension: &Extension, at: &At<'_>) -> Fault {
    let problem = format!(
        "the network filter `{}` ({}) is not supported",
        filter.name,
        extension.type_name()
    );
    at.field("typed_config")
        .invalid(problem, "remove the filter; docs/xds-support.md lists those there are")
}

fn step(filter: &pb::Filter, at: &At<'_>) -> Result<NetworkFilter, Fault> {
    let extension = extension(filter, at)?;
    let Extension::Message(any) = &extension else {
        return Err(unsupported(filter, &extension, at));
    };
    let at_config = at.field("typed_config");
    let name = extension.type_name();
    if name == network::rbac::v3::Rbac::full_name() {
        let config: network::rbac::v3::Rbac = wire::unpack(any, &at_config)?;
        return Ok(NetworkFilter::Rbac(Box::new(rbac::network(&config, &at_config)?)));
    }
    if name == MetadataExchange::full_name() {
        let config: MetadataExchange = wire::unpack(any, &at_config)?;
        return Ok(NetworkFilter::MetadataExchange { protocol: config.protocol });
    }
    if name == iako_xds_api::stats::PluginConfig::full_name() {
        return Ok(NetworkFilter::Stats(http_filter::stats(&wire::unpack(any, &at_config)?)));
    }
    Err(unsupported(filter, &extension, at))
}

fn terminal(filter: &pb::Filter, at: &At<'_>) -> Result<Terminal, Fault> {
    use network::http_connection_manager::v3::HttpConnectionManager;
    use network::tcp_proxy::v3::TcpProxy;
    let extension = extension(filter, at)?;
    let Extension::Message(any) = &extension else {
        return Err(unsupported(filter, &extension, at));
    };
    let at_config = at.field("typed_config");
    let name = extension.type_name();
    if name == HttpConnectionManager::full_name() {
        let config: HttpConnectionManager = wire::unpack(any, &at_config)?;
        return Ok(Terminal::Http(Arc::new(http::manager(&config, &at_config)?)));
    }
    if name == TcpProxy::full_name() {
        let config: TcpProxy = wire::unpack(any, &at_config)?;
        return Ok(Terminal::Tcp(Arc::new(tcp_proxy(&config, &at_config)?)));
    }
    Err(unsupported(filter, &extension, at))
}

fn tcp_proxy(config: &network::tcp_proxy::v3::TcpProxy, at: &At<'_>) -> Result<TcpProxy, Fault> {
    let mut value = TcpProxy::new(config.stat_prefix.clone(), tcp_target(config, at)?);
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
    value.hash_source_ip = hash_source_ip(config, &at.field("hash_policy"))?;
    value.access_log = access_log::logs(&config.access_log, &at.field("access_log"))?;
    Ok(value)
}

fn hash_source_ip(config: &network::tcp_proxy::v3::TcpProxy, at: &At<'_>) -> Result<bool, Fault> {
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

fn tcp_target(config: &network::tcp_proxy::v3::TcpProxy, at: &At<'_>) -> Result<TcpTarget, Fault> {
    use network::tcp_proxy::v3::tcp_proxy::ClusterSpecifier;
    match &config.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) if !name.is_empty() => {
            Ok(TcpTarget::Cluster(name.clone()))
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let at = at.field("weighted_clusters");
            let targets: Vec<_> = weighted
                .clusters
                .iter()
                .map(|target| (target.name.clone(), target.weight))
                .collect();
            if targets.iter().all(|(_, weight)| *weight == 0) {
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
