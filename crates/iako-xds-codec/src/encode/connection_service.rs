//! Network filters that ask a service about a connection.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::{
    common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    filters::network::{
        ext_authz::v3::ExtAuthz as AuthzMessage, ratelimit::v3::RateLimit as LimitMessage,
    },
};

use super::{callout, global_limit, matcher, wire};
use iako_proxy_config::{AuthzFailure, ConnectionAuthz, GlobalConnectionRate};

pub(super) fn authz(value: &ConnectionAuthz) -> AuthzMessage {
    AuthzMessage {
        stat_prefix: value.stat_prefix.clone(),
        grpc_service: Some(callout::grpc(&value.service)),
        failure_mode_allow: value.on_failure != AuthzFailure::Deny,
        include_peer_certificate: value.include_peer_certificate,
        transport_api_version: core::ApiVersion::V3.into(),
        filter_enabled_metadata: value.enabled_metadata.as_ref().map(matcher::metadata),
        bootstrap_metadata_labels_key: value.labels_key.clone(),
        include_tls_session: value.include_tls_session,
        metadata_context_namespaces: value.metadata_namespaces.clone(),
        shadow_mode: value.only_watches,
        ..Default::default()
    }
}

pub(super) fn rate(value: &GlobalConnectionRate) -> LimitMessage {
    let entry = |(key, value): &(String, String)| Entry { key: key.clone(), value: value.clone() };
    let descriptors = value.descriptors.iter().map(|entries| RateLimitDescriptor {
        entries: entries.iter().map(entry).collect(),
        ..Default::default()
    });
    LimitMessage {
        stat_prefix: value.stat_prefix.clone(),
        domain: value.domain.clone(),
        descriptors: descriptors.collect(),
        timeout: wire::limit(value.service.timeout),
        failure_mode_deny: value.failure_denies,
        rate_limit_service: Some(global_limit::service(&value.service)),
    }
}
