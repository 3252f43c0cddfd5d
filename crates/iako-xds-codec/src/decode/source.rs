//! Where resources come from.

use std::path::PathBuf;

use iako_xds_api::envoy::config::core::v3 as core;

use super::wire;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ConfigOrigin, ConfigSource, FileSource, GrpcSource, RequestRate, SourcedName,
};

/// Names of the xDS transport protocol, in its form for federated control planes.
const URL_SCHEMES: [&str; 2] = ["xdstp:", "xdstp://"];

/// A resource that is named beside the source that it comes from.
pub(super) fn sourced_name(
    name: &str,
    source: Option<&core::ConfigSource>,
    at: (&At<'_>, &At<'_>),
) -> Result<SourcedName, Fault> {
    let (at_name, at_source) = at;
    if URL_SCHEMES.iter().any(|scheme| name.starts_with(scheme)) {
        let help = "name the resource as its server knows it, and its source beside it";
        return Err(at_name.invalid("xdstp names are not supported", help));
    }
    let source = match source {
        Some(source) => config_source(source, at_source)?,
        None => ConfigSource::default(),
    };
    Ok(SourcedName::new(name, source))
}

/// Where resources come from.
pub(super) fn config_source(
    source: &core::ConfigSource,
    at: &At<'_>,
) -> Result<ConfigSource, Fault> {
    use core::config_source::ConfigSourceSpecifier as Specifier;
    version(source.resource_api_version, &at.field("resource_api_version"))?;
    let origin = match &source.config_source_specifier {
        Some(Specifier::Ads(_) | Specifier::Self_(_)) => ConfigOrigin::Ads,
        Some(Specifier::ApiConfigSource(api)) => {
            ConfigOrigin::Grpc(grpc_source(api, &at.field("api_config_source"))?)
        }
        Some(Specifier::Path(path)) => ConfigOrigin::File(FileSource {
            path: file(path, &at.field("path"))?,
            ..Default::default()
        }),
        Some(Specifier::PathConfigSource(config)) => {
            ConfigOrigin::File(file_source(config, &at.field("path_config_source"))?)
        }
        None => {
            return Err(at.missing("write `ads: {}`, `api_config_source` or `path_config_source`"));
        }
    };
    let at_timeout = at.field("initial_fetch_timeout");
    let default = Some(ConfigSource::INITIAL_FETCH_TIMEOUT);
    let timeout = wire::limit(source.initial_fetch_timeout.as_ref(), default, &at_timeout)?;
    Ok(ConfigSource { origin, initial_fetch_timeout: timeout })
}

pub(super) fn version(value: i32, at: &At<'_>) -> Result<(), Fault> {
    match wire::known::<core::ApiVersion>(value, at)? {
        // As Envoy 1.40: AUTO, the default, has no other version left that it could mean.
        core::ApiVersion::V3 | core::ApiVersion::Auto => Ok(()),
        core::ApiVersion::V2 => Err(at.invalid("V2 is no longer spoken", "write V3")),
    }
}

fn file_source(config: &core::PathConfigSource, at: &At<'_>) -> Result<FileSource, Fault> {
    let at_poll = at.field("poll_interval");
    let poll = wire::optional(config.poll_interval.as_ref(), &at_poll)?;
    let directory = config.watched_directory.as_ref();
    Ok(FileSource {
        path: file(&config.path, &at.field("path"))?,
        watched_directory: directory.map(|it| PathBuf::from(&it.path)),
        watch_modify: directory.is_some_and(|it| it.watch_modify),
        poll_interval: poll.map(|every| wire::positive(every, &at_poll)).transpose()?,
    })
}

fn file(path: &str, at: &At<'_>) -> Result<PathBuf, Fault> {
    if path.is_empty() {
        return Err(at.missing("name a file that holds a DiscoveryResponse"));
    }
    if !std::path::Path::new(path).exists() {
        let problem = format!("`{path}` does not exist");
        return Err(at.invalid(problem, "put the file there before it is referred to"));
    }
    Ok(path.into())
}

/// A server that is reached over gRPC.
pub(super) fn grpc_source(
    source: &core::ApiConfigSource,
    at: &At<'_>,
) -> Result<GrpcSource, Fault> {
    use core::api_config_source::ApiType;
    let at_type = at.field("api_type");
    let delta = match wire::known::<ApiType>(source.api_type, &at_type)? {
        ApiType::Grpc | ApiType::AggregatedGrpc => false,
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => true,
        ApiType::DeprecatedAndUnavailableDoNotUse | ApiType::Rest => {
            let problem = "REST is not supported";
            return Err(at_type.invalid(problem, "use GRPC or DELTA_GRPC"));
        }
    };
    version(source.transport_api_version, &at.field("transport_api_version"))?;
    let at_services = at.field("grpc_services");
    let clusters = wire::list(&source.grpc_services, &at_services, management_cluster)?;
    if clusters.is_empty() {
        return Err(at_services.missing("write `envoy_grpc: {cluster_name: …}`"));
    }
    let at_rate = at.field("rate_limit_settings");
    let rate_limit =
        source.rate_limit_settings.as_ref().map(|it| rate(it, &at_rate)).transpose()?;
    Ok(GrpcSource {
        clusters,
        delta,
        node_on_first_message_only: source.set_node_on_first_message_only,
        rate_limit,
    })
}

fn management_cluster(service: &core::GrpcService, at: &At<'_>) -> Result<String, Fault> {
    use core::grpc_service::TargetSpecifier;
    match &service.target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(target)) if !target.cluster_name.is_empty() => {
            without_effect(service, target, at);
            Ok(target.cluster_name.clone())
        }
        Some(TargetSpecifier::GoogleGrpc(_)) => Err(at
            .field("google_grpc")
            .invalid("is not supported", "use envoy_grpc with a static cluster")),
        Some(TargetSpecifier::EnvoyGrpc(_)) | None => {
            Err(at.missing("write `envoy_grpc: {cluster_name: …}`"))
        }
    }
}

/// Names what is set for calls of filters, and means nothing for a stream of resources.
fn without_effect(
    service: &core::GrpcService,
    target: &core::grpc_service::EnvoyGrpc,
    at: &At<'_>,
) {
    let at_target = at.field("envoy_grpc");
    let unread = [
        (service.timeout.is_some(), at, "timeout", "the stream is paced by the proxy itself"),
        (
            !service.initial_metadata.is_empty(),
            at,
            "initial_metadata",
            "no further metadata is sent to a management server",
        ),
        (
            !target.authority.is_empty(),
            &at_target,
            "authority",
            "the cluster's name is the authority",
        ),
        (
            target.max_receive_message_length.is_some(),
            &at_target,
            "max_receive_message_length",
            "the stream is paced by the proxy itself",
        ),
    ];
    for (is_set, at, field, why) in unread {
        if is_set {
            at.field(field).warn(format!("has no effect: {why}"));
        }
    }
}

fn rate(settings: &core::RateLimitSettings, at: &At<'_>) -> Result<RequestRate, Fault> {
    let burst = settings.max_tokens.unwrap_or(100).max(1);
    let per_second = settings.fill_rate.unwrap_or(10.0);
    let at_rate = at.field("fill_rate");
    if !(per_second > 0.0 && per_second.is_finite()) {
        return Err(at_rate.invalid("must be more than zero", "write requests a second"));
    }
    let pause = std::time::Duration::try_from_secs_f64(1.0 / per_second);
    let pause_ms = pause.ok().and_then(|pause| u32::try_from(pause.as_millis()).ok());
    Ok(RequestRate { burst, pause_ms: pause_ms.unwrap_or(u32::MAX).max(1) })
}
