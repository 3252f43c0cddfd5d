//! How a request is sent on, and when a failed try is repeated.

use iako_xds_api::envoy::config::core::v3::RoutingPriority;
use iako_xds_api::envoy::config::route::v3 as pb;
use iako_xds_api::envoy::extensions::path::rewrite::uri_template::v3::UriTemplateRewriteConfig;
use iako_xds_api::envoy::extensions::retry::{
    host::previous_hosts::v3::PreviousHostsPredicate,
    priority::previous_priorities::v3::PreviousPrioritiesConfig,
};
use pb::route_action as inner;

use super::{header, http_filter, matcher, metadata, proxy_protocol, rate_limit, wire};
use crate::xds::decode::WHOLE_PATH;
use crate::{
    ClusterTarget, HashPolicy, HashSource, HostRewrite, MaxStreamDuration, Mirror, PathRewrite,
    RetryOn, RetryPolicy, RouteAction, RoutePriority, UpgradeConfig, WeightedCluster,
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
        cluster_specifier: Some(target(&value.target)),
        cluster_not_found_response_code: not_found.into(),
        metadata_match: metadata::of_subset(&value.subset, &value.subset_fallbacks),
        host_rewrite_specifier: value.host_rewrite.as_ref().map(host_rewrite),
        append_x_forwarded_host: value.append_x_forwarded_host,
        timeout: wire::limit(value.timeout),
        idle_timeout: value.idle_timeout.map(wire::duration),
        retry_policy: value.retry.as_ref().map(retry_policy),
        request_mirror_policies: value.mirrors.iter().map(mirror).collect(),
        priority: priority.into(),
        hash_policy: value.hash.iter().map(hash_policy).collect(),
        rate_limits: value.rate_limits.iter().map(rate_limit::rate_limit).collect(),
        include_vh_rate_limits: value.include_host_rate_limits,
        cors: value.cors.as_ref().map(|policy| http_filter::old_cors(policy)),
        upgrade_configs: upgrades(value),
        max_stream_duration: value.max_stream_duration.map(max_stream_duration),
        ..Default::default()
    };
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

fn target(value: &ClusterTarget) -> inner::ClusterSpecifier {
    match value {
        ClusterTarget::Cluster(name) => inner::ClusterSpecifier::Cluster(name.clone()),
        ClusterTarget::Header(name) => {
            inner::ClusterSpecifier::ClusterHeader(name.as_str().to_owned())
        }
        ClusterTarget::Weighted(targets) => {
            inner::ClusterSpecifier::WeightedClusters(pb::WeightedCluster {
                clusters: targets.iter().map(weighted_cluster).collect(),
                ..Default::default()
            })
        }
    }
}

fn weighted_cluster(value: &WeightedCluster) -> pb::weighted_cluster::ClusterWeight {
    use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier;
    pb::weighted_cluster::ClusterWeight {
        name: value.cluster.clone(),
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
        ..Default::default()
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

pub(super) fn retry_policy(value: &RetryPolicy) -> pb::RetryPolicy {
    use pb::retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority};
    use pb::retry_policy::{retry_host_predicate, retry_priority};
    let words = RetryOn::ALL.into_iter().filter(|condition| value.conditions.contains(*condition));
    let words: Vec<_> = words.map(RetryOn::word).collect();
    let previous_hosts = || RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(wire::any(
            &PreviousHostsPredicate::default(),
        ))),
    };
    let priorities = |tries: std::num::NonZeroU32| RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(retry_priority::ConfigType::TypedConfig(wire::any(
            &PreviousPrioritiesConfig {
                update_frequency: i32::try_from(tries.get()).unwrap_or(i32::MAX),
            },
        ))),
    };
    pb::RetryPolicy {
        retry_on: words.join(","),
        num_retries: Some(value.retries_max),
        per_try_timeout: value.per_try_timeout.map(wire::duration),
        per_try_idle_timeout: value.per_try_idle_timeout.map(wire::duration),
        retry_priority: value.previous_priorities.map(priorities),
        retry_host_predicate: if value.avoid_previous_hosts {
            vec![previous_hosts()]
        } else {
            Vec::new()
        },
        host_selection_retry_max_attempts: value.host_selection_attempts_max.get().into(),
        retriable_status_codes: value.status_codes.iter().copied().map(u32::from).collect(),
        retriable_headers: matcher::headers(&value.headers),
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(wire::duration(value.back_off.base)),
            max_interval: Some(wire::duration(value.back_off.max)),
        }),
        ..Default::default()
    }
}

fn mirror(value: &Mirror) -> inner::RequestMirrorPolicy {
    inner::RequestMirrorPolicy {
        cluster: value.cluster.clone(),
        runtime_fraction: Some(wire::runtime_fraction(value.share)),
        disable_shadow_host_suffix_append: value.keep_host,
        ..Default::default()
    }
}

pub(super) fn hash_policy(value: &HashPolicy) -> inner::HashPolicy {
    use inner::hash_policy::{
        ConnectionProperties, Cookie, Header, PolicySpecifier, QueryParameter,
    };
    let specifier = match &value.source {
        HashSource::Header(name) => PolicySpecifier::Header(Header {
            header_name: name.as_str().to_owned(),
            ..Default::default()
        }),
        HashSource::Cookie { name, ttl, path } => PolicySpecifier::Cookie(Cookie {
            name: name.clone(),
            ttl: ttl.map(wire::duration),
            path: path.clone(),
            ..Default::default()
        }),
        HashSource::SourceIp => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashSource::QueryParameter(name) => {
            PolicySpecifier::QueryParameter(QueryParameter { name: name.clone() })
        }
    };
    inner::HashPolicy { terminal: value.terminal, policy_specifier: Some(specifier) }
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
