//! A service decides whether requests pass.

use iako_types::Percent;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::http::ext_authz::v3 as pb;
use iako_xds_api::envoy::r#type::v3::HttpStatus;

use super::{callout, matcher, wire};
use iako_proxy_config::{
    AuthzBody, AuthzFailure, AuthzHttp, AuthzService, ExtAuthz, ExtAuthzRoute,
};

pub(super) fn filter(value: &ExtAuthz) -> pb::ExtAuthz {
    use pb::ext_authz::Services;
    pb::ExtAuthz {
        transport_api_version: core::ApiVersion::V3.into(),
        services: Some(match &value.service {
            AuthzService::Grpc(service) => Services::GrpcService(callout::grpc(service)),
            AuthzService::Http(service) => Services::HttpService(http(service)),
        }),
        with_request_body: value.body.map(body),
        failure_mode_allow: value.on_failure != AuthzFailure::Deny,
        failure_mode_allow_header_add: value.on_failure == AuthzFailure::AllowAndTell,
        status_on_error: (value.status_on_error != 403)
            .then(|| HttpStatus { code: value.status_on_error.into() }),
        clear_route_cache: value.clear_route_cache,
        validate_mutations: value.validate_mutations,
        metadata_context_namespaces: value.metadata_namespaces.clone(),
        filter_enabled: (value.enabled != Percent::HUNDRED.into())
            .then(|| wire::runtime_fraction(&value.enabled)),
        filter_enabled_metadata: value.enabled_metadata.as_ref().map(matcher::metadata),
        deny_at_disable: (value.deny_at_disable != false.into())
            .then(|| wire::runtime_flag(&value.deny_at_disable)),
        include_peer_certificate: value.include_peer_certificate,
        include_tls_session: value.include_tls_session,
        bootstrap_metadata_labels_key: value.labels_key.clone(),
        stat_prefix: value.stat_prefix.clone(),
        allowed_headers: value.allowed_headers.as_deref().and_then(callout::texts),
        disallowed_headers: callout::texts(&value.disallowed_headers),
        encode_raw_headers: value.raw_headers,
        charge_cluster_response_stats: (!value.charges_cluster).then_some(false),
        decoder_header_mutation_rules: value.rules.as_deref().map(callout::rules),
        enable_dynamic_metadata_ingestion: (!value.takes_metadata).then_some(false),
        max_denied_response_body_bytes: value.refusal_bytes_max.unwrap_or(0),
        ..Default::default()
    }
}

fn body(value: AuthzBody) -> pb::BufferSettings {
    pb::BufferSettings {
        max_request_bytes: value.bytes_max,
        allow_partial_message: value.allow_partial,
        pack_as_bytes: value.as_bytes,
    }
}

fn http(value: &AuthzHttp) -> pb::HttpService {
    pb::HttpService {
        server_uri: Some(callout::uri(&value.server)),
        path_prefix: value.path_prefix.clone(),
        path_override: value.path_override.clone(),
        authorization_request: Some(pb::AuthorizationRequest {
            allowed_headers: callout::texts(&value.allowed_headers),
            headers_to_add: callout::headers(&value.add),
        }),
        authorization_response: Some(pb::AuthorizationResponse {
            allowed_upstream_headers: callout::texts(&value.upstream),
            allowed_upstream_headers_to_append: callout::texts(&value.upstream_append),
            allowed_client_headers: value.client.as_deref().and_then(callout::texts),
            allowed_client_headers_on_success: callout::texts(&value.client_on_success),
            dynamic_metadata_from_headers: callout::texts(&value.metadata),
        }),
        ..Default::default()
    }
}

/// Settings of a route.
pub(super) fn for_route(value: &ExtAuthzRoute) -> pb::ExtAuthzPerRoute {
    use pb::check_settings::ServiceOverride;
    use pb::ext_authz_per_route::Override;
    let settings = pb::CheckSettings {
        context_extensions: value.context.clone(),
        disable_request_body_buffering: value.without_body,
        with_request_body: value.body.map(body),
        service_override: value.service.as_ref().map(|service| match service {
            AuthzService::Grpc(service) => ServiceOverride::GrpcService(callout::grpc(service)),
            AuthzService::Http(service) => ServiceOverride::HttpService(http(service)),
        }),
        ..Default::default()
    };
    pb::ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) }
}
