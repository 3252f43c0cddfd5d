//! Route tables: virtual hosts, their routes and which requests those take.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::route::v3 as pb;

use super::{http_filter, matcher, metadata, rbac, route_action, wire};
use crate::{
    Action, AppendAction, DirectResponse, HeaderName, HeaderValueOption, PathMatch, Redirect,
    RedirectPath, RedirectScheme, Route, RouteConfiguration, RouteMatch, TlsRequirement,
    VirtualHost,
};

/// Istio's limit of a direct response's body; Envoy's own is 4 KiB.
const BODY_BYTES_MAX: u32 = 1 << 20;

pub(super) fn route_configuration(value: &RouteConfiguration) -> pb::RouteConfiguration {
    pb::RouteConfiguration {
        name: value.name.clone(),
        virtual_hosts: value.virtual_hosts.iter().map(virtual_host).collect(),
        request_headers_to_add: additions(&value.headers.request_add),
        request_headers_to_remove: removals(&value.headers.request_remove),
        response_headers_to_add: additions(&value.headers.response_add),
        response_headers_to_remove: removals(&value.headers.response_remove),
        most_specific_header_mutations_wins: value.most_specific_last,
        ignore_port_in_host_matching: value.ignore_port_in_host,
        validate_clusters: Some(false),
        max_direct_response_body_size_bytes: Some(BODY_BYTES_MAX),
        ..Default::default()
    }
}

fn virtual_host(value: &VirtualHost) -> pb::VirtualHost {
    use pb::virtual_host::TlsRequirementType;
    let require_tls = match value.require_tls {
        TlsRequirement::None => TlsRequirementType::None,
        TlsRequirement::ExternalOnly => TlsRequirementType::ExternalOnly,
        TlsRequirement::All => TlsRequirementType::All,
    };
    pb::VirtualHost {
        name: value.name.clone(),
        domains: value.domains.iter().map(ToString::to_string).collect(),
        routes: value.routes.iter().map(route).collect(),
        require_tls: require_tls.into(),
        request_headers_to_add: additions(&value.headers.request_add),
        request_headers_to_remove: removals(&value.headers.request_remove),
        response_headers_to_add: additions(&value.headers.response_add),
        response_headers_to_remove: removals(&value.headers.response_remove),
        typed_per_filter_config: http_filter::overrides(&value.overrides),
        include_request_attempt_count: value.include_attempt_count,
        retry_policy: value.retry.as_ref().map(route_action::retry_policy),
        metadata: metadata::of_origin(value.origin.as_ref()),
        ..Default::default()
    }
}

fn route(value: &Route) -> pb::Route {
    let action = match &value.action {
        Action::Forward(action) => pb::route::Action::Route(route_action::route_action(action)),
        Action::Redirect(value) => pb::route::Action::Redirect(redirect(value)),
        Action::Respond(value) => pb::route::Action::DirectResponse(direct_response(value)),
    };
    let decorator = || pb::Decorator { operation: value.operation.clone(), ..Default::default() };
    pb::Route {
        name: value.name.clone(),
        r#match: Some(route_match(&value.matcher)),
        action: Some(action),
        metadata: metadata::of_origin(value.origin.as_ref()),
        decorator: (!value.operation.is_empty()).then(decorator),
        typed_per_filter_config: http_filter::overrides(&value.overrides),
        request_headers_to_add: additions(&value.headers.request_add),
        request_headers_to_remove: removals(&value.headers.request_remove),
        response_headers_to_add: additions(&value.headers.response_add),
        response_headers_to_remove: removals(&value.headers.response_remove),
        ..Default::default()
    }
}

pub(super) fn route_match(value: &RouteMatch) -> pb::RouteMatch {
    use pb::route_match::{ConnectMatcher, GrpcRouteMatchOptions, PathSpecifier};
    let path = match &value.path {
        PathMatch::Prefix(prefix) => PathSpecifier::Prefix(prefix.clone()),
        PathMatch::SegmentPrefix(prefix) => PathSpecifier::PathSeparatedPrefix(prefix.clone()),
        PathMatch::Exact(path) => PathSpecifier::Path(path.clone()),
        PathMatch::Regex(pattern) => PathSpecifier::SafeRegex(matcher::regex(pattern)),
        PathMatch::Template(template) => {
            PathSpecifier::PathMatchPolicy(rbac::uri_template(template))
        }
        PathMatch::Connect => PathSpecifier::ConnectMatcher(ConnectMatcher {}),
    };
    pb::RouteMatch {
        path_specifier: Some(path),
        case_sensitive: (!value.case_sensitive).then_some(false),
        headers: matcher::headers(&value.headers),
        query_parameters: value.query.iter().map(matcher::query).collect(),
        dynamic_metadata: value.metadata.iter().map(matcher::metadata).collect(),
        grpc: value.grpc_only.then(GrpcRouteMatchOptions::default),
        runtime_fraction: value.share.map(wire::runtime_fraction),
        ..Default::default()
    }
}

fn direct_response(value: &DirectResponse) -> pb::DirectResponseAction {
    pb::DirectResponseAction {
        status: value.status.into(),
        body: (!value.body.is_empty()).then(|| wire::bytes_source(&value.body)),
        ..Default::default()
    }
}

fn redirect(value: &Redirect) -> pb::RedirectAction {
    use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let code = match value.status {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    };
    pb::RedirectAction {
        host_redirect: value.host.clone().unwrap_or_default(),
        port_redirect: value.port.map(u32::from).unwrap_or_default(),
        response_code: code.into(),
        strip_query: value.strip_query,
        scheme_rewrite_specifier: value.scheme.as_ref().map(|scheme| match scheme {
            RedirectScheme::Https => SchemeRewriteSpecifier::HttpsRedirect(true),
            RedirectScheme::Scheme(scheme) => {
                SchemeRewriteSpecifier::SchemeRedirect(scheme.clone())
            }
        }),
        path_rewrite_specifier: value.path.as_ref().map(|path| match path {
            RedirectPath::Full(path) => PathRewriteSpecifier::PathRedirect(path.clone()),
            RedirectPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix.clone()),
            RedirectPath::Regex { pattern, substitution } => {
                PathRewriteSpecifier::RegexRewrite(matcher::substitution(pattern, substitution))
            }
        }),
    }
}

pub(super) fn additions(values: &[HeaderValueOption]) -> Vec<core::HeaderValueOption> {
    values.iter().map(addition).collect()
}

fn addition(value: &HeaderValueOption) -> core::HeaderValueOption {
    use core::header_value_option::HeaderAppendAction;
    let action = match value.action {
        AppendAction::AppendOrAdd => HeaderAppendAction::AppendIfExistsOrAdd,
        AppendAction::AddIfAbsent => HeaderAppendAction::AddIfAbsent,
        AppendAction::OverwriteOrAdd => HeaderAppendAction::OverwriteIfExistsOrAdd,
        AppendAction::OverwriteIfExists => HeaderAppendAction::OverwriteIfExists,
    };
    core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: value.name.as_str().to_owned(),
            value: value.value.clone(),
            ..Default::default()
        }),
        append_action: action.into(),
        keep_empty_value: value.keep_empty,
        ..Default::default()
    }
}

pub(super) fn removals(values: &[HeaderName]) -> Vec<String> {
    values.iter().map(|name| name.as_str().to_owned()).collect()
}
