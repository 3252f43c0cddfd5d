//! How a request is sent on, and when a failed try is repeated.

use iako_xds_api::envoy::config::core::v3::RoutingPriority;
use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use iako_xds_api::envoy::extensions::router::cluster_specifiers::matcher::v3 as ext;
use pb::route_action as inner;

use super::{
    attempt, header, http_filter, match_tree, matcher, metadata, proxy_protocol, rate_limit, wire,
};
use crate::decode::WHOLE_PATH;
use iako_proxy_config::{
    ClusterTarget, HostRewrite, MatchTree, MaxStreamDuration, PathRewrite, RouteAction,
    RoutePriority, ShareBy, UpgradeConfig, WeightedCluster,
};

pub(super) fn route_action(value: &RouteAction) -> pb::RouteAction {
    use inner::ClusterNotFoundResponseCode as Code;
    let not_found = match value.cluster_not_found_status {
        404 => Code::NotFound,
        500 => Code::InternalServerError,
        _ => Code::ServiceUnavailable,
    };
    let priority = match value.priority {
        RoutePriority::Default => RoutingPriority::Default,
        RoutePriority::High => RoutingPriority::High,
    };
    let mut message = pb::RouteAction {
        cluster_specifier: Some(target(&value.target, &value.share_by)),
        cluster_not_found_response_code: not_found.into(),
        metadata_match: metadata::of_subset(&value.subset, &value.subset_fallbacks),
        host_rewrite_specifier: value.host_rewrite.as_ref().map(host_rewrite),
        append_x_forwarded_host: value.append_x_forwarded_host,
        timeout: wire::limit(value.timeout),
        idle_timeout: value.idle_timeout.map(wire::duration),
        retry_policy: value.retry.as_ref().map(attempt::retry_policy),
        request_mirror_policies: value.mirrors.iter().map(attempt::mirror).collect(),
        priority: priority.into(),
        hash_policy: value.hash.iter().map(attempt::hash_policy).collect(),
        rate_limits: value.rate_limits.iter().map(rate_limit::rate_limit).collect(),
        include_vh_rate_limits: value.include_host_rate_limits,
        cors: value.cors.as_ref().map(|policy| http_filter::old_cors(policy)),
        upgrade_configs: upgrades(value),
        max_stream_duration: value.max_stream_duration.map(max_stream_duration),
        flush_timeout: value.flush_timeout.map(wire::duration),
        hedge_policy: value.hedge.map(attempt::hedge),
        internal_redirect_policy: value.internal_redirect.as_ref().map(attempt::internal_redirect),
        ..Default::default()
    };
    if let Some(grpc) = value.grpc_timeout {
        message.max_grpc_timeout = Some(wire::duration(grpc.max));
        message.grpc_timeout_offset = (!grpc.offset.is_zero()).then(|| wire::duration(grpc.offset));
    }
    match &value.path_rewrite {
        None => {}
        Some(PathRewrite::Prefix(prefix)) => message.prefix_rewrite.clone_from(prefix),
        Some(PathRewrite::Regex { pattern, substitution }) => {
            message.regex_rewrite = Some(matcher::substitution(pattern, substitution));
        }
        Some(PathRewrite::Full(path)) => message.regex_rewrite = Some(whole_path(path)),
        Some(PathRewrite::Format(format)) => message.path_rewrite.clone_from(format),
        Some(PathRewrite::Template(rewrite)) => {
            let config =
                UriTemplateRewriteConfig { path_template_rewrite: rewrite.source().to_owned() };
            let name = "envoy.path.rewrite.uri_template.uri_template_rewriter";
            message.path_rewrite_policy = Some(wire::extension(name, &config));
        }
    }
    message
}

/// There is no field for the whole path, but an expression that takes it.
fn whole_path(path: &str) -> iako_xds_api::envoy::r#type::matcher::v3::RegexMatchAndSubstitute {
    use iako_xds_api::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
    RegexMatchAndSubstitute {
        pattern: Some(RegexMatcher { regex: WHOLE_PATH.to_owned(), ..Default::default() }),
        substitution: path.replace('\\', r"\\"),
    }
}

fn target(value: &ClusterTarget, share_by: &ShareBy) -> inner::ClusterSpecifier {
    use pb::weighted_cluster::RandomValueSpecifier;
    match value {
        ClusterTarget::Cluster(name) => inner::ClusterSpecifier::Cluster(name.clone()),
        ClusterTarget::Tree(tree) => {
            inner::ClusterSpecifier::InlineClusterSpecifierPlugin(cluster_specifier(tree))
        }
        ClusterTarget::Header(name) => {
            inner::ClusterSpecifier::ClusterHeader(name.as_str().to_owned())
        }
        ClusterTarget::Weighted(targets) => {
            inner::ClusterSpecifier::WeightedClusters(pb::WeightedCluster {
                clusters: targets.iter().map(weighted_cluster).collect(),
                random_value_specifier: match share_by {
                    ShareBy::Chance => None,
                    ShareBy::Header(name) => {
                        Some(RandomValueSpecifier::HeaderName(name.as_str().to_owned()))
                    }
                    ShareBy::Hash => Some(RandomValueSpecifier::UseHashPolicy(true)),
                },
                runtime_key_prefix: key_prefix(targets),
                ..Default::default()
            })
        }
    }
}

/// What the keys of all weights begin with.
fn key_prefix(targets: &[WeightedCluster]) -> String {
    let prefix = targets.first().and_then(|target| {
        target.weight_key.as_deref()?.strip_suffix(&*target.cluster)?.strip_suffix('.')
    });
    prefix.unwrap_or_default().to_owned()
}

fn weighted_cluster(value: &WeightedCluster) -> pb::weighted_cluster::ClusterWeight {
    use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    pb::weighted_cluster::ClusterWeight {
        name: value.cluster.clone(),
        cluster_header: value.cluster_header.as_ref().map(ToString::to_string).unwrap_or_default(),
        metadata_match: metadata::of_subset(&value.subset, &[]),
        weight: Some(value.weight),
        request_headers_to_add: header::additions(&value.headers.request_add),
        request_headers_to_remove: header::removals(&value.headers.request_remove),
        response_headers_to_add: header::additions(&value.headers.response_add),
        response_headers_to_remove: header::removals(&value.headers.response_remove),
        typed_per_filter_config: http_filter::overrides(&value.overrides),
        host_rewrite_specifier: value
            .host_rewrite
            .clone()
            .map(HostRewriteSpecifier::HostRewriteLiteral),
    }
}

fn host_rewrite(value: &HostRewrite) -> inner::HostRewriteSpecifier {
    match value {
        HostRewrite::Literal(host) => inner::HostRewriteSpecifier::HostRewriteLiteral(host.clone()),
        HostRewrite::Auto => inner::HostRewriteSpecifier::AutoHostRewrite(true),
        HostRewrite::Header(name) => {
            inner::HostRewriteSpecifier::HostRewriteHeader(name.as_str().to_owned())
        }
        HostRewrite::PathRegex { pattern, substitution } => {
            let rewrite = matcher::substitution(pattern, substitution);
            inner::HostRewriteSpecifier::HostRewritePathRegex(rewrite)
        }
        HostRewrite::Format(format) => inner::HostRewriteSpecifier::HostRewrite(format.clone()),
    }
}

fn max_stream_duration(value: MaxStreamDuration) -> inner::MaxStreamDuration {
    let offset = value.grpc_timeout_offset;
    inner::MaxStreamDuration {
        max_stream_duration: wire::limit(value.limit),
        grpc_timeout_header_max: value.grpc_timeout_max.map(wire::duration),
        grpc_timeout_header_offset: (!offset.is_zero()).then(|| wire::duration(offset)),
    }
}

fn upgrades(value: &RouteAction) -> Vec<inner::UpgradeConfig> {
    let mut configs: Vec<_> = value.upgrades.iter().map(upgrade).collect();
    if let Some(end) = &value.connect_end {
        let connect = inner::upgrade_config::ConnectConfig {
            proxy_protocol_config: end.proxy_protocol.as_ref().map(proxy_protocol::header),
            allow_post: end.allow_post,
        };
        // The decoder takes both from one entry.
        if let Some(config) = configs.iter_mut().find(|config| config.upgrade_type == "connect") {
            config.connect_config = Some(connect);
        }
    }
    configs
}

fn upgrade(value: &UpgradeConfig) -> inner::UpgradeConfig {
    inner::UpgradeConfig {
        upgrade_type: value.protocol.clone(),
        enabled: (!value.enabled).then_some(false),
        ..Default::default()
    }
}

fn cluster_specifier(tree: &MatchTree<String>) -> pb::ClusterSpecifierPlugin {
    let cluster = |name: &String| wire::any(&ext::ClusterAction { cluster: name.clone() });
    let specifier =
        ext::MatcherClusterSpecifier { cluster_matcher: Some(match_tree::tree(tree, &cluster)) };
    pb::ClusterSpecifierPlugin {
        extension: Some(wire::extension("matcher", &specifier)),
        is_optional: false,
    }
}
