//! Route tables: virtual hosts, their routes and which requests those take.

use iako_xds_api::envoy::config::route::v3 as pb;

use prost_types::Any;

use super::{
    answer, attempt, header, http_filter, match_tree, matcher, metadata, rate_limit, rbac,
    route_action, source, tracing, wire,
};
use iako_proxy_config::{
    Action, PathMatch, Route, RouteConfiguration, RouteList, RouteMatch, TlsRequirement,
    VirtualCluster, VirtualHost,
};

/// Istio's limit of a direct response's body; Envoy's own is 4 KiB.
const BODY_BYTES_MAX: u32 = 1 << 20;

pub(super) fn route_configuration(value: &RouteConfiguration) -> pb::RouteConfiguration {
    pb::RouteConfiguration {
        name: value.name.clone(),
        virtual_hosts: value.virtual_hosts.iter().map(|host| virtual_host(host)).collect(),
        request_headers_to_add: header::additions(&value.headers.request_add),
        request_headers_to_remove: header::removals(&value.headers.request_remove),
        response_headers_to_add: header::additions(&value.headers.response_add),
        response_headers_to_remove: header::removals(&value.headers.response_remove),
        most_specific_header_mutations_wins: value.most_specific_last,
        ignore_port_in_host_matching: value.ignore_port_in_host,
        vhost_header: value.host_header.as_ref().map(ToString::to_string).unwrap_or_default(),
        ignore_path_parameters_in_path_matching: value.ignore_path_parameters,
        internal_only_headers: header::removals(&value.internal_only_headers),
        typed_per_filter_config: http_filter::overrides(&value.overrides),
        request_mirror_policies: value.mirrors.iter().map(attempt::mirror).collect(),
        validate_clusters: Some(false),
        max_direct_response_body_size_bytes: Some(BODY_BYTES_MAX),
        vhds: value
            .virtual_host_source
            .as_ref()
            .map(|source| pb::Vhds { config_source: Some(source::config_source(source)) }),
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
        routes: value.routes.iter().map(|one| route(one)).collect(),
        matcher: value.matcher.as_ref().map(|tree| match_tree::tree(tree, &routes_action)),
        require_tls: require_tls.into(),
        request_headers_to_add: header::additions(&value.headers.request_add),
        request_headers_to_remove: header::removals(&value.headers.request_remove),
        response_headers_to_add: header::additions(&value.headers.response_add),
        response_headers_to_remove: header::removals(&value.headers.response_remove),
        typed_per_filter_config: http_filter::overrides(&value.overrides),
        include_request_attempt_count: value.include_attempt_count,
        include_attempt_count_in_response: value.attempt_count_in_response,
        rate_limits: value.rate_limits.iter().map(rate_limit::rate_limit).collect(),
        cors: value.cors.as_ref().map(|policy| http_filter::old_cors(policy)),
        include_is_timeout_retry_header: value.include_timeout_retry,
        hedge_policy: value.hedge.map(attempt::hedge),
        request_mirror_policies: value.mirrors.iter().map(attempt::mirror).collect(),
        request_body_buffer_limit: value.body_bytes_kept_max,
        retry_policy: value.retry.as_ref().map(attempt::retry_policy),
        virtual_clusters: value.virtual_clusters.iter().map(virtual_cluster).collect(),
        metadata: metadata::of_rule(value.origin.as_ref(), &value.metadata),
        ..Default::default()
    }
}

fn virtual_cluster(value: &VirtualCluster) -> pb::VirtualCluster {
    pb::VirtualCluster { name: value.name.clone(), headers: matcher::headers(&value.headers) }
}

/// The action of a tree: one route is written as itself, several as a list.
fn routes_action(routes: &RouteList) -> Any {
    match routes.as_slice() {
        [only] => wire::any(&route(only)),
        several => {
            wire::any(&pb::RouteList { routes: several.iter().map(|one| route(one)).collect() })
        }
    }
}

fn route(value: &Route) -> pb::Route {
    let action = match &value.action {
        Action::Forward(action) => pb::route::Action::Route(route_action::route_action(action)),
        Action::Redirect(value) => pb::route::Action::Redirect(answer::redirect(value)),
        Action::Respond(value) => pb::route::Action::DirectResponse(answer::direct_response(value)),
    };
    pb::Route {
        name: value.name.clone(),
        r#match: Some(route_match(&value.matcher)),
        action: Some(action),
        metadata: metadata::of_rule(value.origin.as_ref(), &value.metadata),
        decorator: value.decorator.as_ref().map(tracing::decorator),
        tracing: value.tracing.as_deref().map(tracing::of_route),
        typed_per_filter_config: http_filter::overrides(&value.overrides),
        request_headers_to_add: header::additions(&value.headers.request_add),
        request_headers_to_remove: header::removals(&value.headers.request_remove),
        response_headers_to_add: header::additions(&value.headers.response_add),
        response_headers_to_remove: header::removals(&value.headers.response_remove),
        request_body_buffer_limit: value.body_bytes_kept_max,
        stat_prefix: value.stat_prefix.clone(),
        ..Default::default()
    }
}

pub(super) fn route_match(value: &RouteMatch) -> pb::RouteMatch {
    use pb::route_match::{
        ConnectMatcher, GrpcRouteMatchOptions, PathSpecifier, TlsContextMatchOptions,
    };
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
        cookies: value.cookies.iter().map(matcher::cookie).collect(),
        tls_context: value.tls.map(|wanted| TlsContextMatchOptions {
            presented: wanted.presented,
            validated: wanted.validated,
        }),
        filter_state: value.filter_state.iter().map(matcher::filter_state).collect(),
        grpc: value.grpc_only.then(GrpcRouteMatchOptions::default),
        runtime_fraction: value.share.as_ref().map(wire::runtime_fraction),
    }
}
