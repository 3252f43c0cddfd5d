//! Services that filters ask, and what they may change.

use iako_xds_api::envoy::config::common::mutation_rules::v3 as rules;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::r#type::matcher::v3 as matcher_pb;

use super::{matcher, wire};
use iako_proxy_config::{GrpcService, HeaderMutationRules, HeaderName, HttpUri, StringMatch};

pub(super) fn grpc(value: &GrpcService) -> core::GrpcService {
    use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
    core::GrpcService {
        timeout: wire::limit(value.timeout),
        initial_metadata: headers(&value.metadata),
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(EnvoyGrpc {
            cluster_name: value.cluster.clone(),
            authority: value.authority.clone(),
            max_receive_message_length: value.answer_bytes_max.map(std::num::NonZero::get),
            skip_envoy_headers: value.skips_envoy_headers,
            ..Default::default()
        })),
        ..Default::default()
    }
}

pub(super) fn headers(list: &[(HeaderName, String)]) -> Vec<core::HeaderValue> {
    let header = |(name, value): &(HeaderName, String)| core::HeaderValue {
        key: name.as_str().to_owned(),
        value: value.clone(),
        ..Default::default()
    };
    list.iter().map(header).collect()
}

pub(super) fn uri(value: &HttpUri) -> core::HttpUri {
    core::HttpUri {
        uri: value.uri.clone(),
        timeout: Some(wire::duration(value.timeout)),
        http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(value.cluster.clone())),
    }
}

pub(super) fn rules(value: &HeaderMutationRules) -> rules::HeaderMutationRules {
    let flag = |flag: bool| flag.then_some(true);
    rules::HeaderMutationRules {
        allow_all_routing: flag(value.allow_all_routing),
        allow_envoy: flag(value.allow_envoy),
        disallow_system: flag(value.disallow_system),
        disallow_all: flag(value.disallow_all),
        allow_expression: value.allow.as_ref().map(matcher::regex),
        disallow_expression: value.disallow.as_ref().map(matcher::regex),
        disallow_is_error: flag(value.disallowed_is_error),
    }
}

/// Nothing where there are no conditions.
pub(super) fn texts(values: &[StringMatch]) -> Option<matcher_pb::ListStringMatcher> {
    let patterns: Vec<_> = values.iter().map(matcher::text).collect();
    (!patterns.is_empty()).then_some(matcher_pb::ListStringMatcher { patterns })
}
