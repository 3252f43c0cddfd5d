//! How HTTP is spoken, towards upstreams and towards clients.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use iako_xds_api::envoy::extensions::upstreams::http::v3 as pb;
use prost::Name as _;
use prost_types::Any;

use super::wire;
use iako_proxy_config::{
    Cluster, ClusterHttp, HeaderCase, Http1Options, Http2Options, HttpProtocol, UpstreamTransport,
};

/// The protocol options of a cluster, when they differ from the defaults.
pub(super) fn protocol_options(value: &Cluster) -> BTreeMap<String, Any> {
    let names = automatic_names(value);
    let mut options = BTreeMap::new();
    if value.http == ClusterHttp::default() && names.is_none() {
        return options;
    }
    let message = pb::HttpProtocolOptions {
        common_http_protocol_options: Some(core::HttpProtocolOptions {
            idle_timeout: wire::limit(value.http.idle_timeout),
            max_connection_duration: value.http.connection_duration_max.map(wire::duration),
            max_connection_duration_jitter: value
                .http
                .connection_duration_jitter
                .map(wire::percent),
            max_stream_duration: value.http.stream_duration_max.map(wire::duration),
            max_requests_per_connection: value
                .http
                .requests_per_connection_max
                .map(NonZeroU32::get),
            ..Default::default()
        }),
        upstream_http_protocol_options: names,
        upstream_protocol_options: Some(versions(&value.http)),
        ..Default::default()
    };
    options.insert(pb::HttpProtocolOptions::full_name(), wire::any(&message));
    options
}

/// Server names taken from requests.
fn automatic_names(value: &Cluster) -> Option<core::UpstreamHttpProtocolOptions> {
    let matches = value.transport_matches.iter().map(|entry| &entry.transport);
    let mut names = core::UpstreamHttpProtocolOptions::default();
    for transport in matches.chain([&value.transport]) {
        if let UpstreamTransport::Tls(tls) = transport {
            names.auto_sni |= tls.auto_sni;
            names.auto_san_validation |= tls.auto_sni && tls.auto_san_validation;
        }
    }
    if let Some(header) = &value.http.server_name_header {
        header.as_str().clone_into(&mut names.override_auto_sni_header);
    }
    (names.auto_sni || !names.override_auto_sni_header.is_empty()).then_some(names)
}

fn versions(value: &ClusterHttp) -> pb::http_protocol_options::UpstreamProtocolOptions {
    use pb::http_protocol_options::{
        AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions as Kind,
        UseDownstreamHttpConfig, explicit_http_config::ProtocolConfig,
    };
    let http_1 = http1(&Http1Options {
        name_case: value.name_case,
        trailers: value.http1_trailers,
        ..Http1Options::default()
    });
    let http_2 = http2(&value.http2);
    match value.protocol {
        HttpProtocol::Http1 => Kind::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::HttpProtocolOptions(http_1.unwrap_or_default())),
        }),
        HttpProtocol::Http2 => Kind::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http_2.unwrap_or_default())),
        }),
        HttpProtocol::Auto => Kind::AutoConfig(AutoHttpConfig {
            http_protocol_options: http_1,
            http2_protocol_options: http_2,
            ..Default::default()
        }),
        HttpProtocol::Downstream => Kind::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(http_1.unwrap_or_default()),
            http2_protocol_options: Some(http_2.unwrap_or_default()),
            ..Default::default()
        }),
    }
}

/// Settings of HTTP/1, when they differ from the defaults.
pub(super) fn http1(value: &Http1Options) -> Option<core::Http1ProtocolOptions> {
    use core::http1_protocol_options::{
        HeaderKeyFormat,
        header_key_format::{HeaderFormat, ProperCaseWords},
    };
    if *value == Http1Options::default() {
        return None;
    }
    let format = match value.name_case {
        HeaderCase::Lower => None,
        HeaderCase::ProperWords => Some(HeaderFormat::ProperCaseWords(ProperCaseWords {})),
        HeaderCase::Preserve => Some(HeaderFormat::StatefulFormatter(wire::extension(
            "preserve_case",
            &PreserveCaseFormatterConfig::default(),
        ))),
    };
    Some(core::Http1ProtocolOptions {
        accept_http_10: value.accept_http_10,
        default_host_for_http_10: value.default_host_for_http_10.clone(),
        enable_trailers: value.trailers,
        header_key_format: format.map(|format| HeaderKeyFormat { header_format: Some(format) }),
        ..Default::default()
    })
}

/// Settings of HTTP/2, when they differ from the defaults.
pub(super) fn http2(value: &Http2Options) -> Option<core::Http2ProtocolOptions> {
    let default = Http2Options::default();
    if *value == default {
        return None;
    }
    let keeps_alive =
        value.keepalive_interval.is_some() || value.keepalive_timeout != default.keepalive_timeout;
    Some(core::Http2ProtocolOptions {
        max_concurrent_streams: Some(value.concurrent_streams_max),
        initial_stream_window_size: Some(value.stream_window_bytes),
        initial_connection_window_size: Some(value.connection_window_bytes),
        allow_connect: value.allow_connect,
        connection_keepalive: keeps_alive.then(|| core::KeepaliveSettings {
            interval: value.keepalive_interval.map(wire::duration),
            timeout: Some(wire::duration(value.keepalive_timeout)),
            ..Default::default()
        }),
        hpack_table_size: Some(value.header_table_bytes),
        max_outbound_frames: Some(value.floods.outbound_frames_max),
        max_outbound_control_frames: Some(value.floods.outbound_control_frames_max),
        max_consecutive_inbound_frames_with_empty_payload: Some(value.floods.empty_frames_max),
        max_inbound_priority_frames_per_stream: Some(value.floods.priority_frames_max),
        max_inbound_window_update_frames_per_data_frame_sent: Some(value.floods.window_updates_max),
        ..Default::default()
    })
}
