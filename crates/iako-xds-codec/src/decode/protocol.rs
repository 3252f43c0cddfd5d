//! Settings of the HTTP versions, the same towards clients and towards upstreams.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::http::header_formatters::preserve_case::v3::PreserveCaseFormatterConfig;
use prost::Name as _;

use super::wire;
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{HeaderCase, Http1Options, Http2Floods, Http2Options};

pub(super) fn http1(
    options: &core::Http1ProtocolOptions,
    at: &At<'_>,
) -> Result<Http1Options, Fault> {
    use core::http1_protocol_options::header_key_format::HeaderFormat;
    let format =
        options.header_key_format.as_ref().and_then(|format| format.header_format.as_ref());
    let at_format = at.field("header_key_format");
    let name_case = match format {
        None => HeaderCase::Lower,
        Some(HeaderFormat::StatefulFormatter(extension)) => {
            let type_url = extension.typed_config.as_ref().map_or("", |any| any.type_url.as_str());
            if pool::full_name(type_url) != PreserveCaseFormatterConfig::full_name() {
                let problem = format!("the formatter `{}` is not supported", extension.name);
                let at = at_format.field("stateful_formatter");
                return Err(at.invalid(problem, "use the preserve_case formatter"));
            }
            HeaderCase::Preserve
        }
        Some(HeaderFormat::ProperCaseWords(_)) => HeaderCase::ProperWords,
    };
    Ok(Http1Options {
        accept_http_10: options.accept_http_10,
        default_host_for_http_10: options.default_host_for_http_10.clone(),
        name_case,
        trailers: options.enable_trailers,
    })
}

pub(super) fn http2(
    options: &core::Http2ProtocolOptions,
    at: &At<'_>,
) -> Result<Http2Options, Fault> {
    let default = Http2Options::default();
    let window = |value: Option<u32>, default: u32, field: &'static str| {
        let value = value.unwrap_or(default);
        if (65_535..=2_147_483_647).contains(&value) {
            return Ok(value);
        }
        Err(at
            .field(field)
            .invalid(format!("{value} is no window size"), "write 65535 to 2147483647"))
    };
    let at_keepalive = at.field("connection_keepalive");
    let keepalive = options.connection_keepalive.unwrap_or_default();
    let streams = options.max_concurrent_streams.unwrap_or(default.concurrent_streams_max);
    if streams == 0 {
        return Err(at
            .field("max_concurrent_streams")
            .invalid("must be at least 1", "write a number from 1"));
    }
    Ok(Http2Options {
        concurrent_streams_max: streams,
        stream_window_bytes: window(
            options.initial_stream_window_size,
            default.stream_window_bytes,
            "initial_stream_window_size",
        )?,
        connection_window_bytes: window(
            options.initial_connection_window_size,
            default.connection_window_bytes,
            "initial_connection_window_size",
        )?,
        allow_connect: options.allow_connect,
        keepalive_interval: wire::limit(
            keepalive.interval.as_ref(),
            None,
            &at_keepalive.field("interval"),
        )?,
        keepalive_timeout: wire::duration_or(
            keepalive.timeout.as_ref(),
            Duration::from_secs(20),
            &at_keepalive.field("timeout"),
        )?,
        header_table_bytes: options.hpack_table_size.unwrap_or(default.header_table_bytes),
        floods: floods(options),
    })
}

fn floods(options: &core::Http2ProtocolOptions) -> Http2Floods {
    let default = Http2Floods::default();
    Http2Floods {
        outbound_frames_max: options.max_outbound_frames.unwrap_or(default.outbound_frames_max),
        outbound_control_frames_max: options
            .max_outbound_control_frames
            .unwrap_or(default.outbound_control_frames_max),
        empty_frames_max: options
            .max_consecutive_inbound_frames_with_empty_payload
            .unwrap_or(default.empty_frames_max),
        priority_frames_max: options
            .max_inbound_priority_frames_per_stream
            .unwrap_or(default.priority_frames_max),
        window_updates_max: options
            .max_inbound_window_update_frames_per_data_frame_sent
            .unwrap_or(default.window_updates_max),
    }
}
