//! Bounds of connections, from the configuration.

use iako_http::Limits;
use iako_http::h2::{ConnectProtocol, H2Limits, InvalidMessage};
use iako_proxy_config::{ClusterHttp, Http2Options};

use super::pressure;
use crate::http::HttpService;

/// Bounds on what a client may do.
pub(crate) fn server(service: &HttpService) -> H2Limits {
    let options = &service.manager.http2;
    H2Limits {
        connect_protocol: if options.allow_connect {
            ConnectProtocol::Accept
        } else {
            ConnectProtocol::Refuse
        },
        ..limits(options, service.limits)
    }
}

/// Bounds on what a server may do.
pub(crate) fn client(settings: &ClusterHttp, head: Limits) -> H2Limits {
    limits(&settings.http2, head)
}

fn limits(options: &Http2Options, head: Limits) -> H2Limits {
    let floods = &options.floods;
    let mut default = H2Limits::default();
    // What a peer was told that it may send cannot be taken back: while memory is short, new connections
    // are told less from the beginning.
    if pressure::is_high() {
        (default.stream_window_bytes_start, default.connection_window_bytes_start) =
            pressure::SHORT_WINDOWS;
    }
    H2Limits {
        head,
        concurrent_streams_max: options.concurrent_streams_max,
        stream_window_bytes_max: options.stream_window_bytes,
        connection_window_bytes_max: options.connection_window_bytes,
        header_table_bytes: options.header_table_bytes,
        // RFC 9113 §8.1.1: the other streams of the connection are none the worse for it.
        invalid_message: InvalidMessage::ResetStream,
        outbound_frames_max: floods.outbound_frames_max,
        outbound_control_frames_max: floods.outbound_control_frames_max,
        empty_frames_max: floods.empty_frames_max,
        priority_frames_per_stream_max: floods.priority_frames_max,
        window_updates_per_data_frame_max: floods.window_updates_max,
        ..default
    }
}
