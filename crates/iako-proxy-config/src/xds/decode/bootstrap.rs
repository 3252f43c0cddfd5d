//! What a proxy starts with.

use iako_xds_api::envoy::config::bootstrap::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;

use super::{cluster, endpoint, listener, secret, transport, wire};
use crate::xds::problem::{At, Fault};
use crate::xds::text;
use crate::{AdminAddress, AdsConfig, Bootstrap, Node};

pub(crate) fn bootstrap(config: &pb::Bootstrap, at: &At<'_>) -> Result<Bootstrap, Fault> {
    let mut value = Bootstrap::default();
    if let Some(config) = &config.node {
        value.node = node(config);
    }
    value.admin = admin(config, at)?;
    if let Some(manager) = &config.cluster_manager {
        value.local_cluster.clone_from(&manager.local_cluster_name);
    }
    if let Some(resources) = &config.static_resources {
        let at = at.field("static_resources");
        value.secrets = wire::list(&resources.secrets, &at.field("secrets"), secret::secret)?;
        value.clusters = wire::list(&resources.clusters, &at.field("clusters"), cluster::cluster)?;
        value.listeners =
            wire::list(&resources.listeners, &at.field("listeners"), listener::listener)?;
        let names = |at: At<'_>, names: Vec<&str>| names_stand_once(&names, &at);
        names(
            at.field("clusters"),
            value.clusters.iter().map(|cluster| cluster.name.as_str()).collect(),
        )?;
        names(
            at.field("listeners"),
            value.listeners.iter().map(|one| one.name.as_str()).collect(),
        )?;
        names(
            at.field("secrets"),
            value.secrets.iter().map(|secret| secret.name.as_str()).collect(),
        )?;
    }
    if let Some(dynamic) = &config.dynamic_resources {
        value.ads = ads(dynamic, &value, &at.field("dynamic_resources"))?;
    }
    let manager = config.cluster_manager.as_ref();
    let outliers = manager.and_then(|manager| manager.outlier_detection.as_ref());
    let path = outliers.map(|outliers| outliers.event_log_path.as_str());
    value.outlier_log = path.filter(|path| !path.is_empty()).map(std::path::PathBuf::from);
    Ok(value)
}

fn names_stand_once(names: &[&str], at: &At<'_>) -> Result<(), Fault> {
    for (index, name) in names.iter().enumerate() {
        if names.iter().take(index).any(|earlier| earlier == name) {
            let at = at.index(index);
            return Err(at
                .field("name")
                .invalid(format!("`{name}` is used twice"), "give each one its own name"));
        }
    }
    Ok(())
}

pub(super) fn node(config: &core::Node) -> Node {
    Node {
        id: config.id.clone(),
        cluster: config.cluster.clone(),
        locality: config.locality.as_ref().map(endpoint::locality_name).unwrap_or_default(),
        metadata: config.metadata.as_ref().map(text::struct_to_json).unwrap_or_default(),
    }
}

fn admin(config: &pb::Bootstrap, at: &At<'_>) -> Result<Option<AdminAddress>, Fault> {
    let at = at.field("admin");
    match &config.admin {
        Some(admin) if admin.address.is_some() => {
            listener::admin_address(admin.address.as_ref(), &at.field("address")).map(Some)
        }
        Some(_) | None => Ok(None),
    }
}

fn ads(
    dynamic: &pb::bootstrap::DynamicResources,
    bootstrap: &Bootstrap,
    at: &At<'_>,
) -> Result<Option<AdsConfig>, Fault> {
    let over_ads = |source: Option<&core::ConfigSource>, field: &'static str| match source {
        None => Ok(false),
        Some(source) => ads_source(source, &at.field(field)).map(|()| true),
    };
    let listeners = over_ads(dynamic.lds_config.as_ref(), "lds_config")?;
    let clusters = over_ads(dynamic.cds_config.as_ref(), "cds_config")?;
    let at_ads = at.field("ads_config");
    let Some(source) = &dynamic.ads_config else {
        if listeners || clusters {
            return Err(at_ads.missing("say which cluster reaches the management server"));
        }
        return Ok(None);
    };
    let delta = is_delta(source, &at_ads)?;
    let cluster = management_cluster(source, &at_ads)?;
    if !bootstrap.clusters.iter().any(|known| known.name == cluster) {
        let problem =
            format!("names the cluster `{cluster}`, which is not among static_resources.clusters");
        return Err(at_ads
            .field("grpc_services")
            .invalid(problem, "add the cluster, or name one that is there"));
    }
    Ok(Some(AdsConfig { cluster, delta, listeners, clusters }))
}

fn ads_source(source: &core::ConfigSource, at: &At<'_>) -> Result<(), Fault> {
    use core::config_source::ConfigSourceSpecifier as Specifier;
    match &source.config_source_specifier {
        Some(Specifier::Ads(_)) => Ok(()),
        Some(Specifier::ApiConfigSource(_) | Specifier::Self_(_)) => Err(at.invalid(
            "a stream of its own is not supported",
            "write `ads: {}` and configure ads_config",
        )),
        Some(Specifier::Path(_) | Specifier::PathConfigSource(_)) => {
            transport::config_source(source, at)
        }
        None => Err(at.missing("write `ads: {}`")),
    }
}

fn is_delta(source: &core::ApiConfigSource, at: &At<'_>) -> Result<bool, Fault> {
    use core::api_config_source::ApiType;
    let at_type = at.field("api_type");
    match wire::known::<ApiType>(source.api_type, &at_type)? {
        ApiType::Grpc | ApiType::AggregatedGrpc => Ok(false),
        ApiType::DeltaGrpc | ApiType::AggregatedDeltaGrpc => Ok(true),
        ApiType::DeprecatedAndUnavailableDoNotUse | ApiType::Rest => {
            Err(at_type.invalid("is not supported", "use GRPC or DELTA_GRPC"))
        }
    }
}

fn management_cluster(source: &core::ApiConfigSource, at: &At<'_>) -> Result<String, Fault> {
    use core::grpc_service::TargetSpecifier;
    let at = at.field("grpc_services");
    let service =
        source.grpc_services.first().and_then(|service| service.target_specifier.as_ref());
    let at_first = at.index(0);
    match service {
        Some(TargetSpecifier::EnvoyGrpc(target)) if !target.cluster_name.is_empty() => {
            Ok(target.cluster_name.clone())
        }
        Some(TargetSpecifier::GoogleGrpc(_)) => Err(at_first
            .field("google_grpc")
            .invalid("is not supported", "use envoy_grpc with a static cluster")),
        Some(TargetSpecifier::EnvoyGrpc(_)) | None => {
            Err(at.missing("write `envoy_grpc: {cluster_name: …}`"))
        }
    }
}
