//! Where resources come from.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;

use super::wire;
use iako_proxy_config::{ConfigOrigin, ConfigSource, FileSource, GrpcSource};

pub(super) fn config_source(value: &ConfigSource) -> core::ConfigSource {
    use core::config_source::ConfigSourceSpecifier as Specifier;
    let specifier = match &value.origin {
        ConfigOrigin::Ads => Specifier::Ads(core::AggregatedConfigSource::default()),
        ConfigOrigin::Grpc(grpc) => Specifier::ApiConfigSource(grpc_source(grpc)),
        ConfigOrigin::File(file) => Specifier::PathConfigSource(file_source(file)),
    };
    let timeout = value.initial_fetch_timeout;
    let is_default = timeout == Some(ConfigSource::INITIAL_FETCH_TIMEOUT);
    core::ConfigSource {
        config_source_specifier: Some(specifier),
        initial_fetch_timeout: (!is_default)
            .then(|| wire::duration(timeout.unwrap_or(Duration::ZERO))),
        resource_api_version: core::ApiVersion::V3.into(),
        ..Default::default()
    }
}

fn grpc_source(value: &GrpcSource) -> core::ApiConfigSource {
    use core::api_config_source::ApiType;
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    let service = |cluster: &String| core::GrpcService {
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: cluster.clone(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let api_type = if value.delta { ApiType::DeltaGrpc } else { ApiType::Grpc };
    core::ApiConfigSource {
        api_type: api_type.into(),
        transport_api_version: core::ApiVersion::V3.into(),
        grpc_services: value.clusters.iter().map(service).collect(),
        set_node_on_first_message_only: value.node_on_first_message_only,
        rate_limit_settings: value.rate_limit.map(|rate| core::RateLimitSettings {
            max_tokens: Some(rate.burst),
            fill_rate: Some(1000.0 / f64::from(rate.pause_ms)),
        }),
        ..Default::default()
    }
}

fn file_source(value: &FileSource) -> core::PathConfigSource {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    core::PathConfigSource {
        path: text(&value.path),
        watched_directory: value.watched_directory.as_deref().map(|path| core::WatchedDirectory {
            path: text(path),
            watch_modify: value.watch_modify,
        }),
        poll_interval: value.poll_interval.map(wire::duration),
    }
}
