//! HTTP connection managers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_connection_manager as inner;

use super::{
    access_log, cluster_http, http_client, http_filter, local_reply, route, scoped, source,
    tracing, wire,
};
use iako_proxy_config::{
    CodecType, EscapedSlashes, ForwardedScheme, HttpConnectionManager, RouteSource, StripPort,
    UnderscoreHeaders, UpgradeConfig,
};

pub(super) fn manager(value: &HttpConnectionManager) -> pb::HttpConnectionManager {
    let codec = match value.codec {
        CodecType::Auto => inner::CodecType::Auto,
        CodecType::Http1 => inner::CodecType::Http1,
        CodecType::Http2 => inner::CodecType::Http2,
    };
    let mut message = pb::HttpConnectionManager {
        codec_type: codec.into(),
        stat_prefix: value.stat_prefix.clone(),
        route_specifier: Some(routes(&value.routes)),
        http_filters: value.filters.iter().map(http_filter::filter).collect(),
        tracing: value.tracing.as_ref().map(tracing::tracing),
        request_id_extension: tracing::request_id(value.request_id_traces),
        http_protocol_options: cluster_http::http1(&value.http1),
        http2_protocol_options: cluster_http::http2(&value.http2),
        access_log: access_log::logs(&value.access_log),
        access_log_options: access_log::http_times(value.access_log_times),
        upgrade_configs: value.upgrades.iter().map(upgrade).collect(),
        proxy_100_continue: value.proxy_100_continue,
        append_x_forwarded_port: value.append_x_forwarded_port,
        forward_proto_config: forward_proto(&value.scheme_by_port),
        local_reply_config: local_reply::local_reply(&value.local_reply),
        ..Default::default()
    };
    http_client::client(value, &mut message);
    paths(value, &mut message);
    limits(value, &mut message);
    message
}

fn routes(value: &RouteSource) -> inner::RouteSpecifier {
    match value {
        RouteSource::Rds(name) => inner::RouteSpecifier::Rds(pb::Rds {
            config_source: Some(source::config_source(name.source())),
            route_config_name: name.name().to_owned(),
        }),
        RouteSource::Inline(table) => {
            inner::RouteSpecifier::RouteConfig(route::route_configuration(table))
        }
        RouteSource::Scoped(routes) => {
            inner::RouteSpecifier::ScopedRoutes(scoped::scoped_routes(routes))
        }
    }
}

fn paths(value: &HttpConnectionManager, message: &mut pb::HttpConnectionManager) {
    use inner::PathWithEscapedSlashesAction as Slashes;
    message.normalize_path = Some(value.normalize_path);
    message.merge_slashes = value.merge_slashes;
    message.strip_trailing_host_dot = value.strip_trailing_dot;
    message.path_with_escaped_slashes_action = match value.escaped_slashes {
        EscapedSlashes::Keep => Slashes::KeepUnchanged,
        EscapedSlashes::Reject => Slashes::RejectRequest,
        EscapedSlashes::UnescapeAndRedirect => Slashes::UnescapeAndRedirect,
        EscapedSlashes::UnescapeAndForward => Slashes::UnescapeAndForward,
    }
    .into();
    match value.strip_port {
        StripPort::Keep => {}
        StripPort::Matching => message.strip_matching_host_port = true,
        StripPort::Any => {
            message.strip_port_mode = Some(inner::StripPortMode::StripAnyHostPort(true));
        }
    }
}

fn limits(value: &HttpConnectionManager, message: &mut pb::HttpConnectionManager) {
    use core::http_protocol_options::HeadersWithUnderscoresAction as Underscores;
    message.stream_idle_timeout = wire::limit(value.stream_idle_timeout);
    message.request_timeout = value.request_timeout.map(wire::duration);
    message.request_headers_timeout = value.request_headers_timeout.map(wire::duration);
    message.delayed_close_timeout = Some(wire::duration(value.delayed_close_timeout));
    message.drain_timeout = Some(wire::duration(value.drain_timeout));
    message.max_request_headers_kb = Some(value.request_head_kib_max);
    let underscores = match value.underscore_headers {
        UnderscoreHeaders::Allow => Underscores::Allow,
        UnderscoreHeaders::Reject => Underscores::RejectRequest,
        UnderscoreHeaders::Drop => Underscores::DropHeader,
    };
    message.common_http_protocol_options = Some(core::HttpProtocolOptions {
        idle_timeout: wire::limit(value.idle_timeout),
        max_connection_duration: value.connection_duration_max.map(wire::duration),
        max_connection_duration_jitter: value.connection_duration_jitter.map(wire::percent),
        max_headers_count: Some(value.headers_max),
        max_stream_duration: value.stream_duration_max.map(wire::duration),
        headers_with_underscores_action: underscores.into(),
        max_requests_per_connection: value.requests_per_connection_max.map(NonZeroU32::get),
        ..Default::default()
    });
}

fn upgrade(value: &UpgradeConfig) -> inner::UpgradeConfig {
    inner::UpgradeConfig {
        upgrade_type: value.protocol.clone(),
        enabled: (!value.enabled).then_some(false),
        ..Default::default()
    }
}

fn forward_proto(schemes: &BTreeMap<u16, ForwardedScheme>) -> Option<pb::ForwardProtoConfig> {
    let ports = |wanted| {
        let of_scheme = schemes.iter().filter(move |(_, scheme)| **scheme == wanted);
        of_scheme.map(|(port, _)| u32::from(*port)).collect()
    };
    (!schemes.is_empty()).then(|| pb::ForwardProtoConfig {
        https_destination_ports: ports(ForwardedScheme::Https),
        http_destination_ports: ports(ForwardedScheme::Http),
    })
}
