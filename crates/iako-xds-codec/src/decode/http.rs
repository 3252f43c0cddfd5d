//! HTTP connection managers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as pb;
use pb::http_connection_manager as inner;

use super::{
    access_log, http_client, http_filter, local_reply, protocol, route, scoped, source, tracing,
    wire,
};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    CodecType, EscapedSlashes, ForwardedScheme, HttpConnectionManager, RouteSource, StripPort,
    UnderscoreHeaders, UpgradeConfig,
};

pub(super) fn manager(
    config: &pb::HttpConnectionManager,
    at: &At<'_>,
) -> Result<HttpConnectionManager, Fault> {
    let mut value = HttpConnectionManager::new(config.stat_prefix.clone(), routes(config, at)?);
    value.codec = match wire::known::<inner::CodecType>(config.codec_type, &at.field("codec_type"))?
    {
        inner::CodecType::Auto => CodecType::Auto,
        inner::CodecType::Http1 => CodecType::Http1,
        inner::CodecType::Http2 => CodecType::Http2,
        inner::CodecType::Http3 => {
            return Err(at
                .field("codec_type")
                .invalid("HTTP3 is not supported", "use AUTO, HTTP1 or HTTP2"));
        }
    };
    value.filters = http_filter::filters(&config.http_filters, &at.field("http_filters"))?;
    value.access_log = access_log::logs(&config.access_log, &at.field("access_log"))?;
    value.access_log_times = access_log::times::http_times(config, at)?;
    value.upgrades = wire::list(&config.upgrade_configs, &at.field("upgrade_configs"), upgrade)?;
    value.proxy_100_continue = config.proxy_100_continue;
    value.append_x_forwarded_port = config.append_x_forwarded_port;
    value.scheme_by_port = scheme_by_port(config.forward_proto_config.as_ref(), at)?;
    if let Some(config) = &config.local_reply_config {
        value.local_reply = local_reply::local_reply(config, &at.field("local_reply_config"))?;
    }
    http_client::client(config, &mut value, at)?;
    paths(config, &mut value, at)?;
    times(config, &mut value, at)?;
    limits(config, &mut value, at)?;
    if let Some(options) = &config.http_protocol_options {
        value.http1 = protocol::http1(options, &at.field("http_protocol_options"))?;
    }
    if let Some(options) = &config.http2_protocol_options {
        value.http2 = protocol::http2(options, &at.field("http2_protocol_options"))?;
    }
    let at_tracing = at.field("tracing");
    let traced = config.tracing.as_ref();
    value.tracing = traced.map(|config| tracing::tracing(config, &at_tracing)).transpose()?;
    let at_id = at.field("request_id_extension");
    value.request_id_traces = tracing::request_id(config.request_id_extension.as_ref(), &at_id)?;
    Ok(value)
}

fn routes(config: &pb::HttpConnectionManager, at: &At<'_>) -> Result<RouteSource, Fault> {
    use inner::RouteSpecifier;
    match &config.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => {
            let at = at.field("rds");
            if rds.route_config_name.is_empty() {
                return Err(at.field("route_config_name").missing("name the route configuration"));
            }
            let places = (&at.field("route_config_name"), &at.field("config_source"));
            let (name, from) = (&rds.route_config_name, rds.config_source.as_ref());
            Ok(RouteSource::Rds(source::sourced_name(name, from, places)?))
        }
        Some(RouteSpecifier::RouteConfig(config)) => {
            let at = at.field("route_config");
            let mut table = route::route_configuration(config, &at)?;
            if table.virtual_host_source.take().is_some() {
                at.field("vhds").warn("has no effect: only tables that RDS sends ask for more");
            }
            Ok(RouteSource::Inline(Arc::new(table)))
        }
        Some(RouteSpecifier::ScopedRoutes(config)) => {
            let scoped = scoped::scoped_routes(config, &at.field("scoped_routes"))?;
            Ok(RouteSource::Scoped(Arc::new(scoped)))
        }
        None => Err(at.missing("write `rds`, `route_config` or `scoped_routes`")),
    }
}

fn paths(
    config: &pb::HttpConnectionManager,
    value: &mut HttpConnectionManager,
    at: &At<'_>,
) -> Result<(), Fault> {
    use inner::PathWithEscapedSlashesAction as Slashes;
    value.normalize_path = config.normalize_path.unwrap_or(false);
    value.merge_slashes = config.merge_slashes;
    let at_slashes = at.field("path_with_escaped_slashes_action");
    value.escaped_slashes =
        match wire::known::<Slashes>(config.path_with_escaped_slashes_action, &at_slashes)? {
            Slashes::ImplementationSpecificDefault | Slashes::KeepUnchanged => EscapedSlashes::Keep,
            Slashes::RejectRequest => EscapedSlashes::Reject,
            Slashes::UnescapeAndRedirect => EscapedSlashes::UnescapeAndRedirect,
            Slashes::UnescapeAndForward => EscapedSlashes::UnescapeAndForward,
        };
    let strip_any =
        matches!(config.strip_port_mode, Some(inner::StripPortMode::StripAnyHostPort(true)));
    value.strip_port = match (strip_any, config.strip_matching_host_port) {
        (true, true) => {
            let help = "set only one of the two";
            return Err(at
                .field("strip_any_host_port")
                .invalid("is set beside strip_matching_host_port", help));
        }
        (true, false) => StripPort::Any,
        (false, true) => StripPort::Matching,
        (false, false) => StripPort::Keep,
    };
    value.strip_trailing_dot = config.strip_trailing_host_dot;
    Ok(())
}

fn times(
    config: &pb::HttpConnectionManager,
    value: &mut HttpConnectionManager,
    at: &At<'_>,
) -> Result<(), Fault> {
    value.stream_idle_timeout = wire::limit(
        config.stream_idle_timeout.as_ref(),
        value.stream_idle_timeout,
        &at.field("stream_idle_timeout"),
    )?;
    value.request_timeout =
        wire::limit(config.request_timeout.as_ref(), None, &at.field("request_timeout"))?;
    value.request_headers_timeout = wire::limit(
        config.request_headers_timeout.as_ref(),
        None,
        &at.field("request_headers_timeout"),
    )?;
    value.delayed_close_timeout = wire::duration_or(
        config.delayed_close_timeout.as_ref(),
        value.delayed_close_timeout,
        &at.field("delayed_close_timeout"),
    )?;
    // Zero means the default, as in Envoy.
    let drain = wire::limit(config.drain_timeout.as_ref(), None, &at.field("drain_timeout"))?;
    value.drain_timeout = drain.unwrap_or(value.drain_timeout);
    Ok(())
}

fn limits(
    config: &pb::HttpConnectionManager,
    value: &mut HttpConnectionManager,
    at: &At<'_>,
) -> Result<(), Fault> {
    if let Some(kib) = config.max_request_headers_kb {
        if !(1..=8192).contains(&kib) {
            return Err(at
                .field("max_request_headers_kb")
                .invalid("is out of range", "write 1 to 8192"));
        }
        value.request_head_kib_max = kib;
    }
    let Some(common) = &config.common_http_protocol_options else { return Ok(()) };
    let at = at.field("common_http_protocol_options");
    value.idle_timeout = wire::limit(
        common.idle_timeout.as_ref(),
        Some(Duration::from_secs(3600)),
        &at.field("idle_timeout"),
    )?;
    value.connection_duration_max = wire::limit(
        common.max_connection_duration.as_ref(),
        None,
        &at.field("max_connection_duration"),
    )?;
    value.connection_duration_jitter = common
        .max_connection_duration_jitter
        .map(|jitter| wire::percent(jitter.value, &at.field("max_connection_duration_jitter")))
        .transpose()?;
    value.stream_duration_max =
        wire::limit(common.max_stream_duration.as_ref(), None, &at.field("max_stream_duration"))?;
    value.requests_per_connection_max =
        common.max_requests_per_connection.and_then(NonZeroU32::new);
    if let Some(count) = common.max_headers_count {
        value.headers_max = wire::non_zero(count, &at.field("max_headers_count"))?.get();
    }
    use core::http_protocol_options::HeadersWithUnderscoresAction as Underscores;
    let at_underscores = at.field("headers_with_underscores_action");
    value.underscore_headers = match wire::known::<Underscores>(
        common.headers_with_underscores_action,
        &at_underscores,
    )? {
        Underscores::Allow => UnderscoreHeaders::Allow,
        Underscores::RejectRequest => UnderscoreHeaders::Reject,
        Underscores::DropHeader => UnderscoreHeaders::Drop,
    };
    Ok(())
}

fn upgrade(config: &inner::UpgradeConfig, at: &At<'_>) -> Result<UpgradeConfig, Fault> {
    if config.upgrade_type.is_empty() {
        return Err(at.field("upgrade_type").missing("name the protocol, such as websocket"));
    }
    Ok(UpgradeConfig {
        protocol: config.upgrade_type.to_ascii_lowercase(),
        enabled: config.enabled.unwrap_or(true),
    })
}

fn scheme_by_port(
    config: Option<&pb::ForwardProtoConfig>,
    at: &At<'_>,
) -> Result<BTreeMap<u16, ForwardedScheme>, Fault> {
    let mut schemes = BTreeMap::new();
    let Some(config) = config else { return Ok(schemes) };
    let at = at.field("forward_proto_config");
    let lists = [
        ("https_destination_ports", &config.https_destination_ports, ForwardedScheme::Https),
        ("http_destination_ports", &config.http_destination_ports, ForwardedScheme::Http),
    ];
    for (field, ports, scheme) in lists {
        let at = at.field(field);
        for (index, port) in ports.iter().enumerate() {
            let at = at.index(index);
            if schemes.insert(wire::port(*port, &at)?, scheme).is_some_and(|other| other != scheme)
            {
                return Err(at.invalid("is in the other list too", "write it in one of the two"));
            }
        }
    }
    Ok(schemes)
}
