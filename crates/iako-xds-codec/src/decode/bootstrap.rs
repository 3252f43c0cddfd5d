//! What a proxy starts with.

use iako_xds_api::envoy::config::bootstrap::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::metrics::v3 as metrics;

use super::{
    callout, cluster, endpoint, listener, matcher, overload, runtime, secret, source, tracing, wire,
};
use crate::problem::{At, Fault};
use crate::text;
use iako_proxy_config::{
    AdminAddress, Bootstrap, ConfigOrigin, GrpcService, GrpcSource, HistogramBounds, Node,
};

pub(crate) fn bootstrap(config: &pb::Bootstrap, at: &At<'_>) -> Result<Bootstrap, Fault> {
    let mut value = Bootstrap::default();
    if let Some(config) = &config.node {
        value.node = node(config);
    }
    value.admin = admin(config, at)?;
    if let Some(manager) = &config.cluster_manager {
        value.local_cluster.clone_from(&manager.local_cluster_name);
    }
    if let Some(layers) = &config.layered_runtime {
        value.runtime = Some(runtime::layers(layers, &at.field("layered_runtime"))?);
    }
    if let Some(manager) = &config.overload_manager {
        let at = at.field("overload_manager");
        value.overload = Some(overload::overload_manager(manager, &at)?);
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
    if let Some(resources) = &config.dynamic_resources {
        dynamic(resources, &mut value, &at.field("dynamic_resources"))?;
    }
    if let Some(stats) = &config.stats_config {
        let at = at.field("stats_config");
        let at = at.field("histogram_bucket_settings");
        value.histogram_bounds = wire::list(&stats.histogram_bucket_settings, &at, histogram)?;
    }
    value.tracing = tracing::of_bootstrap(config.tracing.as_ref(), at)?;
    let manager = config.cluster_manager.as_ref();
    if let Some(source) = manager.and_then(|manager| manager.load_stats_config.as_ref()) {
        let at = at.field("cluster_manager");
        value.load_reporting =
            Some(load_reporting(source, &value, &at.field("load_stats_config"))?);
    }
    let outliers = manager.and_then(|manager| manager.outlier_detection.as_ref());
    let path = outliers.map(|outliers| outliers.event_log_path.as_str());
    value.outlier_log = path.filter(|path| !path.is_empty()).map(std::path::PathBuf::from);
    Ok(value)
}

/// Bounds of histograms.
fn histogram(
    config: &metrics::HistogramBucketSettings,
    at: &At<'_>,
) -> Result<HistogramBounds, Fault> {
    let at_match = at.field("match");
    let names = config.r#match.as_ref();
    let names = names.ok_or_else(|| at_match.missing("say which histograms are meant"))?;
    let names = matcher::text(names, &at_match)?;
    let at_buckets = at.field("buckets");
    let mut bounds = config.buckets.clone();
    if bounds.is_empty() {
        return Err(at_buckets.missing("write upper bounds in milliseconds"));
    }
    if !bounds.iter().all(|bound| *bound > 0.0 && bound.is_finite()) {
        return Err(at_buckets.invalid("has a bound that is not more than 0", "write milliseconds"));
    }
    bounds.sort_by(f64::total_cmp);
    if bounds.windows(2).any(|pair| matches!(pair, [one, other] if one >= other)) {
        return Err(at_buckets.invalid("has a bound twice", "write each once"));
    }
    Ok(HistogramBounds { names, bounds })
}

/// Who hears of load: one service, by gRPC.
fn load_reporting(
    source: &core::ApiConfigSource,
    bootstrap: &Bootstrap,
    at: &At<'_>,
) -> Result<GrpcService, Fault> {
    let checked = source::grpc_source(source, at)?;
    let at_services = at.field("grpc_services");
    let [service] = &*source.grpc_services else {
        return Err(at_services.invalid("has more than one service", "write one"));
    };
    known_clusters(Some(&checked), bootstrap, at)?;
    callout::grpc(service, None, &at_services.index(0))
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

/// The control plane, and where listeners and clusters come from.
fn dynamic(
    dynamic: &pb::bootstrap::DynamicResources,
    value: &mut Bootstrap,
    at: &At<'_>,
) -> Result<(), Fault> {
    let from = |config: Option<&core::ConfigSource>, field: &'static str| {
        config.map(|config| source::config_source(config, &at.field(field))).transpose()
    };
    value.listener_source = from(dynamic.lds_config.as_ref(), "lds_config")?;
    value.cluster_source = from(dynamic.cds_config.as_ref(), "cds_config")?;
    let at_ads = at.field("ads_config");
    let ads = dynamic.ads_config.as_ref().map(|ads| source::grpc_source(ads, &at_ads));
    value.ads = ads.transpose()?;
    let sources = [&value.listener_source, &value.cluster_source];
    let over_ads = sources.into_iter().flatten().any(|it| it.origin == ConfigOrigin::Ads);
    if over_ads && value.ads.is_none() {
        return Err(at_ads.missing("say which cluster reaches the management server"));
    }
    known_clusters(value.ads.as_ref(), value, &at_ads)?;
    for (source, field) in sources.into_iter().zip(["lds_config", "cds_config"]) {
        if let Some(ConfigOrigin::Grpc(grpc)) = source.as_ref().map(|it| &it.origin) {
            let at = at.field(field);
            known_clusters(Some(grpc), value, &at.field("api_config_source"))?;
        }
    }
    Ok(())
}

/// A server has to be reachable before there are clusters of its own.
fn known_clusters(
    source: Option<&GrpcSource>,
    bootstrap: &Bootstrap,
    at: &At<'_>,
) -> Result<(), Fault> {
    let names = source.into_iter().flat_map(|source| &source.clusters);
    let unknown = |name: &&String| !bootstrap.clusters.iter().any(|known| known.name == **name);
    let Some(cluster) = names.into_iter().find(unknown) else { return Ok(()) };
    let problem =
        format!("names the cluster `{cluster}`, which is not among static_resources.clusters");
    let at = at.field("grpc_services");
    Err(at.invalid(problem, "add the cluster, or name one that is there"))
}
