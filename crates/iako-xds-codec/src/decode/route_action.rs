//! How a request is sent on.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3::{RoutingPriority, TypedExtensionConfig};
use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use pb::route_action as inner;
use prost::Name as _;

use super::cluster_specifier::{self, Specifiers};
use super::{
    attempt, fault, header, http_filter, matcher, metadata, proxy_protocol, rate_limit, retry, wire,
};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ClusterTarget, ConnectEnd, GrpcTimeout, HostRewrite, MaxStreamDuration, PathRewrite,
    RouteAction, RoutePriority, ShareBy, UpgradeConfig, UriRewrite, WeightedCluster,
};

pub(super) fn route_action(
    config: &pb::RouteAction,
    specifiers: &Specifiers,
    at: &At<'_>,
) -> Result<RouteAction, Fault> {
    let mut value = RouteAction::to(target(config, specifiers, at)?);
    let at_code = at.field("cluster_not_found_response_code");
    use inner::ClusterNotFoundResponseCode as Code;
    value.cluster_not_found_status =
        match wire::known::<Code>(config.cluster_not_found_response_code, &at_code)? {
            Code::ServiceUnavailable => 503,
            Code::NotFound => 404,
            Code::InternalServerError => 500,
        };
    value.path_rewrite = path_rewrite(config, at)?;
    value.host_rewrite = host_rewrite(config, at)?;
    value.append_x_forwarded_host = config.append_x_forwarded_host;
    value.timeout =
        wire::limit(config.timeout.as_ref(), Some(Duration::from_secs(15)), &at.field("timeout"))?;
    value.idle_timeout = wire::optional(config.idle_timeout.as_ref(), &at.field("idle_timeout"))?;
    value.max_stream_duration = max_stream_duration(config, at)?;
    let at_retry = at.field("retry_policy");
    value.retry =
        config.retry_policy.as_ref().map(|policy| retry::policy(policy, &at_retry)).transpose()?;
    value.mirrors = attempt::mirrors(&config.request_mirror_policies, at)?;
    value.hash = wire::list(&config.hash_policy, &at.field("hash_policy"), attempt::hash_policy)?;
    value.share_by = share_by(config, at)?;
    value.grpc_timeout = grpc_timeout(config, at)?;
    value.flush_timeout =
        wire::optional(config.flush_timeout.as_ref(), &at.field("flush_timeout"))?;
    value.hedge = retry::hedge(config.hedge_policy.as_ref());
    value.internal_redirect = attempt::internal_redirect(config, at)?;
    value.upgrades = wire::list(&config.upgrade_configs, &at.field("upgrade_configs"), upgrade)?;
    value.connect_end = connect_end(config, &at.field("upgrade_configs"))?;
    value.priority = match wire::known::<RoutingPriority>(config.priority, &at.field("priority"))? {
        RoutingPriority::Default => RoutePriority::Default,
        RoutingPriority::High => RoutePriority::High,
    };
    (value.subset, value.subset_fallbacks) = metadata::subsets(config.metadata_match.as_ref());
    value.rate_limits = rate_limit::rate_limits(&config.rate_limits, &at.field("rate_limits"))?;
    value.include_host_rate_limits = config.include_vh_rate_limits;
    value.cors = fault::old_cors(config.cors.as_ref(), &at.field("cors"))?;
    if let ClusterTarget::Weighted(targets) = &mut value.target {
        for target in targets.iter_mut().filter(|target| !target.subset.is_empty()) {
            target.subset = merged(&value.subset, &target.subset);
        }
    }
    Ok(value)
}

fn target(
    config: &pb::RouteAction,
    specifiers: &Specifiers,
    at: &At<'_>,
) -> Result<ClusterTarget, Fault> {
    use inner::ClusterSpecifier;
    match &config.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) if !name.is_empty() => {
            Ok(ClusterTarget::Cluster(name.clone()))
        }
        Some(ClusterSpecifier::ClusterHeader(name)) => {
            Ok(ClusterTarget::Header(wire::header_name(name, &at.field("cluster_header"))?))
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            let at = at.field("weighted_clusters");
            let at_clusters = at.field("clusters");
            let mut targets = wire::list(&weighted.clusters, &at_clusters, weighted_cluster)?;
            if !weighted.runtime_key_prefix.is_empty() {
                for (target, config) in targets.iter_mut().zip(&weighted.clusters) {
                    let key = format!("{}.{}", weighted.runtime_key_prefix, config.name);
                    target.weight_key = Some(key.into());
                }
            }
            if targets.iter().all(|target| target.weight == 0) {
                let help = "give at least one cluster a weight";
                return Err(at_clusters.invalid("has no weight above 0", help));
            }
            Ok(ClusterTarget::Weighted(targets))
        }
        Some(ClusterSpecifier::ClusterSpecifierPlugin(name)) => {
            specifiers.find(name, &at.field("cluster_specifier_plugin"))
        }
        Some(ClusterSpecifier::InlineClusterSpecifierPlugin(plugin)) => {
            cluster_specifier::inline(plugin, &at.field("inline_cluster_specifier_plugin"))
        }
        Some(ClusterSpecifier::Cluster(_)) | None => Err(at
            .field("cluster")
            .missing("write `cluster`, `weighted_clusters` or `cluster_header`")),
    }
}

fn weighted_cluster(
    config: &pb::weighted_cluster::ClusterWeight,
    at: &At<'_>,
) -> Result<WeightedCluster, Fault> {
    use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    let cluster_header = match (config.name.is_empty(), config.cluster_header.is_empty()) {
        (true, true) => return Err(at.field("name").missing("name the cluster")),
        (false, false) => {
            let problem = "is set beside `name`";
            return Err(at.field("cluster_header").invalid(problem, "set only one of the two"));
        }
        (true, false) => {
            Some(wire::header_name(&config.cluster_header, &at.field("cluster_header"))?)
        }
        (false, true) => None,
    };
    Ok(WeightedCluster {
        cluster: config.name.clone(),
        cluster_header,
        subset: metadata::subsets(config.metadata_match.as_ref()).0,
        weight: config.weight.unwrap_or(0),
        weight_key: None,
        headers: header::mutations(header::lists!(config), at)?,
        host_rewrite: config
            .host_rewrite_specifier
            .as_ref()
            .map(|HostRewriteSpecifier::HostRewriteLiteral(host)| host.clone()),
        overrides: http_filter::overrides(&config.typed_per_filter_config, at)?,
    })
}

fn share_by(config: &pb::RouteAction, at: &At<'_>) -> Result<ShareBy, Fault> {
    use pb::weighted_cluster::RandomValueSpecifier;
    let Some(inner::ClusterSpecifier::WeightedClusters(weighted)) = &config.cluster_specifier
    else {
        return Ok(ShareBy::Chance);
    };
    let at = at.field("weighted_clusters");
    Ok(match &weighted.random_value_specifier {
        Some(RandomValueSpecifier::HeaderName(name)) => {
            ShareBy::Header(wire::header_name(name, &at.field("header_name"))?)
        }
        Some(RandomValueSpecifier::UseHashPolicy(true)) => ShareBy::Hash,
        Some(RandomValueSpecifier::UseHashPolicy(false)) | None => ShareBy::Chance,
    })
}

/// What a target asks for over what its route asks for, in the order of keys.
fn merged(route: &[(String, String)], own: &[(String, String)]) -> Vec<(String, String)> {
    let both = route.iter().chain(own).cloned();
    both.collect::<std::collections::BTreeMap<_, _>>().into_iter().collect()
}

fn path_rewrite(config: &pb::RouteAction, at: &At<'_>) -> Result<Option<PathRewrite>, Fault> {
    let set = [
        !config.prefix_rewrite.is_empty(),
        config.regex_rewrite.is_some(),
        config.path_rewrite_policy.is_some(),
        !config.path_rewrite.is_empty(),
    ];
    if set.into_iter().filter(|is_set| *is_set).count() > 1 {
        let problem = "has more than one of prefix_rewrite, regex_rewrite, path_rewrite_policy \
                       and path_rewrite";
        return Err(at.invalid(problem, "set only one of them"));
    }
    if let Some(policy) = &config.path_rewrite_policy {
        return rewrite_policy(policy, &at.field("path_rewrite_policy")).map(Some);
    }
    if !config.path_rewrite.is_empty() {
        return Ok(Some(PathRewrite::Format(config.path_rewrite.clone())));
    }
    if let Some(rewrite) = &config.regex_rewrite {
        let (pattern, substitution) = matcher::substitution(rewrite, &at.field("regex_rewrite"))?;
        // What replaces the whole path is written as an expression too, for want of a field.
        if pattern.source() == WHOLE_PATH
            && let Some(path) = literal(&substitution)
        {
            return Ok(Some(PathRewrite::Full(path)));
        }
        return Ok(Some(PathRewrite::Regex { pattern, substitution }));
    }
    Ok((!config.prefix_rewrite.is_empty())
        .then(|| PathRewrite::Prefix(config.prefix_rewrite.clone())))
}

/// The expression with which a whole path is replaced. Istio's control plane writes the same.
pub(crate) const WHOLE_PATH: &str = "/.*";

/// The text of a substitution that names no group.
fn literal(substitution: &str) -> Option<String> {
    let mut text = String::with_capacity(substitution.len());
    let mut chars = substitution.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(chars.next().filter(|escaped| !escaped.is_ascii_digit())?),
            other => text.push(other),
        }
    }
    Some(text)
}

fn rewrite_policy(policy: &TypedExtensionConfig, at: &At<'_>) -> Result<PathRewrite, Fault> {
    let at = at.field("typed_config");
    let any = policy
        .typed_config
        .as_ref()
        .ok_or_else(|| at.missing("write the policy's settings with `@type`"))?;
    let name = pool::full_name(&any.type_url);
    if name != UriTemplateRewriteConfig::full_name() {
        let help = "use UriTemplateRewriteConfig, prefix_rewrite or regex_rewrite";
        return Err(at.invalid(format!("`{name}` is not supported"), help));
    }
    let config: UriTemplateRewriteConfig = wire::unpack(any, &at)?;
    UriRewrite::parse(&config.path_template_rewrite).map(PathRewrite::Template).map_err(|error| {
        let help = "write a path with `{variable}`s of the match's template";
        at.field("path_template_rewrite").invalid(error.to_string(), help)
    })
}

fn host_rewrite(config: &pb::RouteAction, at: &At<'_>) -> Result<Option<HostRewrite>, Fault> {
    use inner::HostRewriteSpecifier;
    Ok(match &config.host_rewrite_specifier {
        None | Some(HostRewriteSpecifier::AutoHostRewrite(false)) => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => {
            Some(HostRewrite::Literal(host.clone()))
        }
        Some(HostRewriteSpecifier::AutoHostRewrite(true)) => Some(HostRewrite::Auto),
        Some(HostRewriteSpecifier::HostRewriteHeader(name)) => {
            Some(HostRewrite::Header(wire::header_name(name, &at.field("host_rewrite_header"))?))
        }
        Some(HostRewriteSpecifier::HostRewritePathRegex(rewrite)) => {
            let at = at.field("host_rewrite_path_regex");
            let (pattern, substitution) = matcher::substitution(rewrite, &at)?;
            Some(HostRewrite::PathRegex { pattern, substitution })
        }
        Some(HostRewriteSpecifier::HostRewrite(format)) => {
            Some(HostRewrite::Format(format.clone()))
        }
    })
}

fn grpc_timeout(config: &pb::RouteAction, at: &At<'_>) -> Result<Option<GrpcTimeout>, Fault> {
    let at_max = at.field("max_grpc_timeout");
    let Some(max) = wire::optional(config.max_grpc_timeout.as_ref(), &at_max)? else {
        return Ok(None);
    };
    let at_offset = at.field("grpc_timeout_offset");
    let offset = wire::optional(config.grpc_timeout_offset.as_ref(), &at_offset)?;
    Ok(Some(GrpcTimeout { max, offset: offset.unwrap_or_default() }))
}

fn max_stream_duration(
    config: &pb::RouteAction,
    at: &At<'_>,
) -> Result<Option<MaxStreamDuration>, Fault> {
    let Some(duration) = &config.max_stream_duration else { return Ok(None) };
    let at = at.field("max_stream_duration");
    let max = wire::optional(
        duration.grpc_timeout_header_max.as_ref(),
        &at.field("grpc_timeout_header_max"),
    )?;
    let offset = wire::optional(
        duration.grpc_timeout_header_offset.as_ref(),
        &at.field("grpc_timeout_header_offset"),
    )?;
    Ok(Some(MaxStreamDuration {
        limit: wire::limit(
            duration.max_stream_duration.as_ref(),
            None,
            &at.field("max_stream_duration"),
        )?,
        grpc_timeout_max: max,
        grpc_timeout_offset: offset.unwrap_or_default(),
    }))
}

fn upgrade(config: &inner::UpgradeConfig, at: &At<'_>) -> Result<UpgradeConfig, Fault> {
    if config.upgrade_type.is_empty() {
        return Err(at.field("upgrade_type").missing("name the protocol, such as websocket"));
    }
    Ok(UpgradeConfig {
        protocol: config.upgrade_type.to_ascii_lowercase(),
        enabled: config.enabled.unwrap_or(true),
    })
}

/// What the entry of CONNECT says about its end. Other upgrades cannot end here.
fn connect_end(config: &pb::RouteAction, at: &At<'_>) -> Result<Option<Box<ConnectEnd>>, Fault> {
    let mut found = None;
    for (index, upgrade) in config.upgrade_configs.iter().enumerate() {
        let Some(connect) = &upgrade.connect_config else { continue };
        let at = at.index(index);
        let at = at.field("connect_config");
        if !upgrade.upgrade_type.eq_ignore_ascii_case("connect") {
            return Err(at.invalid("is only for CONNECT", "remove it, or write CONNECT"));
        }
        let at_header = at.field("proxy_protocol_config");
        let header = connect.proxy_protocol_config.as_ref();
        found = Some(Box::new(ConnectEnd {
            proxy_protocol: header
                .map(|header| proxy_protocol::header(header, &at_header))
                .transpose()?,
            allow_post: connect.allow_post,
        }));
    }
    Ok(found)
}
