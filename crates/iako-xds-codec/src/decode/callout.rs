//! Services that filters ask, and what they may change.

use std::time::Duration;

use iako_xds_api::envoy::config::common::mutation_rules::v3 as rules;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::r#type::matcher::v3 as matcher_pb;

use super::{matcher, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{GrpcService, HeaderMutationRules, HeaderName, HttpUri, StringMatch};

/// A gRPC service; `timeout` is what counts when none is written.
pub(super) fn grpc(
    config: &core::GrpcService,
    timeout: Option<Duration>,
    at: &At<'_>,
) -> Result<GrpcService, Fault> {
    use core::grpc_service::TargetSpecifier;
    let at_target = at.field("envoy_grpc");
    let target = match &config.target_specifier {
        Some(TargetSpecifier::EnvoyGrpc(target)) => target,
        Some(TargetSpecifier::GoogleGrpc(_)) => {
            let help = "use envoy_grpc with a cluster";
            return Err(at.field("google_grpc").invalid("is not supported", help));
        }
        None => return Err(at_target.missing("write `cluster_name`")),
    };
    if target.cluster_name.is_empty() {
        return Err(at_target.field("cluster_name").missing("name the service's cluster"));
    }
    for (policy, at) in [(&config.retry_policy, at), (&target.retry_policy, &at_target)] {
        if policy.is_some() {
            at.field("retry_policy").warn("has no effect: calls are made once");
        }
    }
    let limit = target.max_receive_message_length;
    let at_limit = at_target.field("max_receive_message_length");
    Ok(GrpcService {
        cluster: target.cluster_name.clone(),
        authority: target.authority.clone(),
        timeout: wire::limit(config.timeout.as_ref(), timeout, &at.field("timeout"))?,
        metadata: headers(&config.initial_metadata, &at.field("initial_metadata"))?,
        answer_bytes_max: limit.map(|limit| wire::non_zero(limit, &at_limit)).transpose()?,
        skips_envoy_headers: target.skip_envoy_headers,
    })
}

/// Headers as they are.
pub(super) fn headers(
    list: &[core::HeaderValue],
    at: &At<'_>,
) -> Result<Vec<(HeaderName, String)>, Fault> {
    wire::list(list, at, |header, at| {
        let value = if header.raw_value.is_empty() {
            header.value.clone()
        } else {
            String::from_utf8(header.raw_value.to_vec()).map_err(|_binary| {
                at.field("raw_value").invalid("is not UTF-8 text", "write the value as text")
            })?
        };
        Ok((wire::header_name(&header.key, &at.field("key"))?, value))
    })
}

/// Where requests of this proxy go.
pub(super) fn uri(config: Option<&core::HttpUri>, at: &At<'_>) -> Result<HttpUri, Fault> {
    use core::http_uri::HttpUpstreamType;
    let config = config.ok_or_else(|| at.missing("write `uri`, `cluster` and `timeout`"))?;
    let Some(HttpUpstreamType::Cluster(cluster)) = &config.http_upstream_type else {
        return Err(at.field("cluster").missing("name the cluster that reaches the address"));
    };
    let at_timeout = at.field("timeout");
    let timeout = config.timeout.as_ref();
    let timeout = timeout.ok_or_else(|| at_timeout.missing("write seconds, such as `1s`"))?;
    Ok(HttpUri {
        uri: config.uri.clone(),
        cluster: cluster.clone(),
        timeout: wire::duration(timeout, &at_timeout)?,
    })
}

/// Which headers may be changed.
pub(super) fn rules(
    config: &rules::HeaderMutationRules,
    at: &At<'_>,
) -> Result<HeaderMutationRules, Fault> {
    let pattern = |regex: &Option<matcher_pb::RegexMatcher>, field: &'static str| {
        let at = at.field(field);
        let at = at.field("regex");
        regex.as_ref().map(|regex| matcher::pattern(&regex.regex, &at)).transpose()
    };
    Ok(HeaderMutationRules {
        allow_all_routing: config.allow_all_routing.unwrap_or(false),
        allow_envoy: config.allow_envoy.unwrap_or(false),
        disallow_system: config.disallow_system.unwrap_or(false),
        disallow_all: config.disallow_all.unwrap_or(false),
        allow: pattern(&config.allow_expression, "allow_expression")?,
        disallow: pattern(&config.disallow_expression, "disallow_expression")?,
        disallowed_is_error: config.disallow_is_error.unwrap_or(false),
    })
}

/// Conditions on a text, of which one has to be met.
pub(super) fn texts(
    config: Option<&matcher_pb::ListStringMatcher>,
    at: &At<'_>,
) -> Result<Vec<StringMatch>, Fault> {
    let patterns = config.map_or(&[][..], |list| &list.patterns);
    wire::list(patterns, &at.field("patterns"), matcher::text)
}
