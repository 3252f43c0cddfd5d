//! A service decides whether requests pass.

use std::time::Duration;

use iako_types::Percent;
use iako_xds_api::envoy::extensions::filters::http::ext_authz::v3 as pb;
use iako_xds_api::envoy::r#type::matcher::v3::ListStringMatcher;
use iako_xds_api::envoy::r#type::v3::HttpStatus;

use super::{callout, matcher, source, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    AuthzBody, AuthzFailure, AuthzHttp, AuthzService, ExtAuthz, ExtAuthzRoute, StringMatch,
};

/// Envoy's time-out of a gRPC check that names none.
const TIMEOUT: Duration = Duration::from_millis(200);

pub(super) fn filter(config: &pb::ExtAuthz, at: &At<'_>) -> Result<ExtAuthz, Fault> {
    use pb::ext_authz::Services;
    source::version(config.transport_api_version, &at.field("transport_api_version"))?;
    let service = match &config.services {
        Some(Services::GrpcService(service)) => {
            AuthzService::Grpc(callout::grpc(service, Some(TIMEOUT), &at.field("grpc_service"))?)
        }
        Some(Services::HttpService(service)) => {
            AuthzService::Http(Box::new(http(service, &at.field("http_service"))?))
        }
        None => return Err(at.missing("write `grpc_service` or `http_service`")),
    };
    let at_enabled = at.field("filter_enabled_metadata");
    let enabled = config.filter_enabled_metadata.as_ref();
    let allowed = config.allowed_headers.as_ref();
    let rules = config.decoder_header_mutation_rules.as_ref();
    let at_rules = at.field("decoder_header_mutation_rules");
    Ok(ExtAuthz {
        service,
        body: config
            .with_request_body
            .as_ref()
            .map(|body| self::body(*body, &at.field("with_request_body")))
            .transpose()?,
        on_failure: match (config.failure_mode_allow, config.failure_mode_allow_header_add) {
            (false, _) => AuthzFailure::Deny,
            (true, false) => AuthzFailure::Allow,
            (true, true) => AuthzFailure::AllowAndTell,
        },
        status_on_error: status(config.status_on_error.as_ref(), &at.field("status_on_error"))?,
        clear_route_cache: config.clear_route_cache,
        validate_mutations: config.validate_mutations,
        metadata_namespaces: config.metadata_context_namespaces.clone(),
        enabled: wire::runtime_fraction(
            config.filter_enabled.as_ref(),
            Percent::HUNDRED,
            &at.field("filter_enabled"),
        )?,
        enabled_metadata: enabled.map(|it| matcher::metadata(it, &at_enabled)).transpose()?,
        deny_at_disable: wire::runtime_flag(config.deny_at_disable.as_ref()),
        include_peer_certificate: config.include_peer_certificate,
        include_tls_session: config.include_tls_session,
        labels_key: config.bootstrap_metadata_labels_key.clone(),
        stat_prefix: config.stat_prefix.clone(),
        allowed_headers: allowed
            .map(|list| callout::texts(Some(list), &at.field("allowed_headers")))
            .transpose()?
            .filter(|patterns| !patterns.is_empty()),
        disallowed_headers: callout::texts(
            config.disallowed_headers.as_ref(),
            &at.field("disallowed_headers"),
        )?,
        raw_headers: config.encode_raw_headers,
        charges_cluster: config.charge_cluster_response_stats.unwrap_or(true),
        rules: rules.map(|rules| callout::rules(rules, &at_rules).map(Box::new)).transpose()?,
        takes_metadata: config.enable_dynamic_metadata_ingestion.unwrap_or(true),
        refusal_bytes_max: Some(config.max_denied_response_body_bytes).filter(|max| *max > 0),
    })
}

fn status(config: Option<&HttpStatus>, at: &At<'_>) -> Result<u16, Fault> {
    let Some(status) = config else { return Ok(403) };
    let code = u32::try_from(status.code).unwrap_or(0);
    wire::status(code, 100, &at.field("code"))
}

fn body(config: pb::BufferSettings, at: &At<'_>) -> Result<AuthzBody, Fault> {
    let bytes_max = wire::non_zero(config.max_request_bytes, &at.field("max_request_bytes"))?;
    Ok(AuthzBody {
        bytes_max: bytes_max.get(),
        allow_partial: config.allow_partial_message,
        as_bytes: config.pack_as_bytes,
    })
}

fn http(config: &pb::HttpService, at: &At<'_>) -> Result<AuthzHttp, Fault> {
    let (at_request, at_response) =
        (at.field("authorization_request"), at.field("authorization_response"));
    for (path, field) in
        [(&config.path_prefix, "path_prefix"), (&config.path_override, "path_override")]
    {
        if !path.is_empty() && !path.starts_with('/') {
            return Err(at.field(field).invalid("does not begin with a slash", "write `/…`"));
        }
    }
    if !config.path_prefix.is_empty() && !config.path_override.is_empty() {
        let help = "write one of `path_prefix` and `path_override`";
        return Err(at.field("path_override").invalid("stands beside a prefix", help));
    }
    let request = config.authorization_request.clone().unwrap_or_default();
    let response = config.authorization_response.clone().unwrap_or_default();
    let texts = |list: &Option<ListStringMatcher>, field: &'static str| {
        callout::texts(list.as_ref(), &at_response.field(field))
    };
    let client: Vec<StringMatch> =
        texts(&response.allowed_client_headers, "allowed_client_headers")?;
    Ok(AuthzHttp {
        server: callout::uri(config.server_uri.as_ref(), &at.field("server_uri"))?,
        path_prefix: config.path_prefix.clone(),
        path_override: config.path_override.clone(),
        allowed_headers: callout::texts(
            request.allowed_headers.as_ref(),
            &at_request.field("allowed_headers"),
        )?,
        add: callout::headers(&request.headers_to_add, &at_request.field("headers_to_add"))?,
        upstream: texts(&response.allowed_upstream_headers, "allowed_upstream_headers")?,
        upstream_append: texts(
            &response.allowed_upstream_headers_to_append,
            "allowed_upstream_headers_to_append",
        )?,
        client: Some(client).filter(|patterns| !patterns.is_empty()),
        client_on_success: texts(
            &response.allowed_client_headers_on_success,
            "allowed_client_headers_on_success",
        )?,
        metadata: texts(&response.dynamic_metadata_from_headers, "dynamic_metadata_from_headers")?,
    })
}

/// Settings of a route: none where it switches the filter off.
pub(super) fn for_route(
    config: &pb::ExtAuthzPerRoute,
    at: &At<'_>,
) -> Result<Option<ExtAuthzRoute>, Fault> {
    use pb::check_settings::ServiceOverride;
    use pb::ext_authz_per_route::Override;
    let settings = match &config.r#override {
        Some(Override::Disabled(true)) => return Ok(None),
        Some(Override::Disabled(false)) => {
            let help = "leave the entry out, or write `check_settings`";
            return Err(at.field("disabled").invalid("can only be true", help));
        }
        Some(Override::CheckSettings(settings)) => settings,
        None => return Err(at.missing("write `disabled` or `check_settings`")),
    };
    let at = at.field("check_settings");
    let body = settings.with_request_body.as_ref();
    let at_body = at.field("with_request_body");
    if settings.disable_request_body_buffering && body.is_some() {
        let help = "write one of `disable_request_body_buffering` and `with_request_body`";
        return Err(at_body.invalid("is switched off beside", help));
    }
    let service = match &settings.service_override {
        Some(ServiceOverride::GrpcService(service)) => Some(AuthzService::Grpc(callout::grpc(
            service,
            Some(TIMEOUT),
            &at.field("grpc_service"),
        )?)),
        Some(ServiceOverride::HttpService(service)) => {
            Some(AuthzService::Http(Box::new(http(service, &at.field("http_service"))?)))
        }
        None => None,
    };
    Ok(Some(ExtAuthzRoute {
        context: settings.context_extensions.clone(),
        without_body: settings.disable_request_body_buffering,
        body: body.map(|body| self::body(*body, &at_body)).transpose()?,
        service,
    }))
}
