//! Active checks and outlier detection.

use std::num::NonZeroU32;

use iako_types::Percent;
use iako_xds_api::envoy::config::cluster::v3 as cluster_pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::endpoint::v3 as endpoint_pb;
use iako_xds_api::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;
use iako_xds_api::envoy::r#type::v3 as kind;

use super::{header, matcher, metadata, wire};
use iako_proxy_config::{
    CheckMethod, EndpointCheck, HealthCheck, HealthCheckKind, HttpCheck, OutlierDetection,
    ProxyProtocolVersion, StatusRange, TcpCheck,
};

pub(super) fn check(value: &HealthCheck) -> core::HealthCheck {
    let intervals = &value.intervals;
    let optional = |duration: Option<_>| duration.map(wire::duration);
    let sink = |path: &std::path::PathBuf| {
        let path = path.to_string_lossy().into_owned();
        wire::extension("file", &HealthCheckEventFileSink { event_log_path: path })
    };
    core::HealthCheck {
        timeout: Some(wire::duration(value.timeout)),
        interval: Some(wire::duration(intervals.interval)),
        initial_jitter: Some(wire::duration(intervals.initial_jitter)),
        interval_jitter: Some(wire::duration(intervals.jitter)),
        interval_jitter_percent: whole(intervals.jitter_percent),
        unhealthy_threshold: Some(value.unhealthy_threshold.get()),
        healthy_threshold: Some(value.healthy_threshold.get()),
        reuse_connection: Some(value.reuse_connection),
        no_traffic_interval: Some(wire::duration(intervals.no_traffic)),
        no_traffic_healthy_interval: optional(intervals.no_traffic_healthy),
        unhealthy_interval: optional(intervals.unhealthy),
        unhealthy_edge_interval: optional(intervals.unhealthy_edge),
        healthy_edge_interval: optional(intervals.healthy_edge),
        event_logger: value.events.files.iter().map(sink).collect(),
        always_log_health_check_failures: value.events.all_failures,
        always_log_health_check_success: value.events.all_successes,
        tls_options: (!value.alpn.is_empty())
            .then(|| core::health_check::TlsOptions { alpn_protocols: value.alpn.clone() }),
        transport_socket_match_criteria: value.transport_criteria.as_ref().map(metadata::texts),
        health_checker: Some(what_is_asked(&value.kind)),
        ..Default::default()
    }
}

fn what_is_asked(value: &HealthCheckKind) -> core::health_check::HealthChecker {
    use core::health_check::{GrpcHealthCheck, HealthChecker};
    match value {
        HealthCheckKind::Http(check) => HealthChecker::HttpHealthCheck(http(check)),
        HealthCheckKind::Tcp(check) => HealthChecker::TcpHealthCheck(tcp(check)),
        HealthCheckKind::Grpc(check) => HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
            service_name: check.service.clone(),
            authority: check.authority.clone(),
            initial_metadata: header::additions(&check.metadata),
        }),
    }
}

fn http(value: &HttpCheck) -> core::health_check::HttpHealthCheck {
    let method = match value.method {
        CheckMethod::Get => core::RequestMethod::Get,
        CheckMethod::Head => core::RequestMethod::Head,
        CheckMethod::Post => core::RequestMethod::Post,
        CheckMethod::Put => core::RequestMethod::Put,
        CheckMethod::Delete => core::RequestMethod::Delete,
        CheckMethod::Options => core::RequestMethod::Options,
        CheckMethod::Trace => core::RequestMethod::Trace,
        CheckMethod::Patch => core::RequestMethod::Patch,
    };
    let codec =
        if value.http2 { kind::CodecClientType::Http2 } else { kind::CodecClientType::Http1 };
    let statuses = |ranges: &[StatusRange]| {
        let range = |range: &StatusRange| kind::Int64Range {
            start: range.first.into(),
            end: range.end.into(),
        };
        ranges.iter().map(range).collect()
    };
    core::health_check::HttpHealthCheck {
        host: value.host.clone(),
        path: value.path.clone(),
        send: payload(&value.send),
        receive: value.receive.iter().filter_map(|bytes| payload(bytes)).collect(),
        response_buffer_size: Some(value.response_bytes_max),
        request_headers_to_add: header::additions(&value.headers_add),
        request_headers_to_remove: header::removals(&value.headers_remove),
        expected_statuses: statuses(&value.expected),
        retriable_statuses: statuses(&value.retriable),
        codec_client_type: codec.into(),
        service_name_matcher: value.service_name.as_ref().map(matcher::text),
        method: method.into(),
    }
}

fn tcp(value: &TcpCheck) -> core::health_check::TcpHealthCheck {
    use core::proxy_protocol_config::Version;
    core::health_check::TcpHealthCheck {
        send: payload(&value.send),
        receive: value.receive.iter().filter_map(|bytes| payload(bytes)).collect(),
        proxy_protocol_config: value.proxy_protocol.map(|version| core::ProxyProtocolConfig {
            version: match version {
                ProxyProtocolVersion::V1 => Version::V1.into(),
                ProxyProtocolVersion::V2 => Version::V2.into(),
            },
            ..Default::default()
        }),
    }
}

/// Bytes; none when empty.
fn payload(bytes: &[u8]) -> Option<core::health_check::Payload> {
    use core::health_check::{Payload, payload};
    let payload = payload::Payload::Binary(bytes::Bytes::copy_from_slice(bytes));
    (!bytes.is_empty()).then_some(Payload { payload: Some(payload) })
}

pub(super) fn of_endpoint(
    value: &EndpointCheck,
) -> Option<endpoint_pb::endpoint::HealthCheckConfig> {
    (*value != EndpointCheck::default()).then(|| endpoint_pb::endpoint::HealthCheckConfig {
        port_value: value.port.unwrap_or(0).into(),
        hostname: value.hostname.clone(),
        address: value.address.map(wire::address),
        disable_active_health_check: value.disabled,
    })
}

pub(super) fn outlier_detection(value: &OutlierDetection) -> cluster_pb::OutlierDetection {
    // Zero in a row is never reached.
    let count = |count: Option<NonZeroU32>| Some(count.map_or(0, NonZeroU32::get));
    let share = |share: Percent| Some(whole(share));
    let (enforcing, rate, failures) =
        (&value.enforcing, &value.success_rate, &value.failure_percentage);
    cluster_pb::OutlierDetection {
        consecutive_5xx: count(value.consecutive_5xx),
        consecutive_gateway_failure: count(value.consecutive_gateway_failure),
        consecutive_local_origin_failure: count(value.consecutive_local_origin_failure),
        split_external_local_origin_errors: value.split_local_origin,
        interval: Some(wire::duration(value.interval)),
        base_ejection_time: Some(wire::duration(value.base_ejection_time)),
        max_ejection_time: Some(wire::duration(value.ejection_time_max)),
        max_ejection_time_jitter: Some(wire::duration(value.ejection_time_jitter)),
        max_ejection_percent: share(value.ejection_max),
        always_eject_one_host: Some(value.always_eject_one),
        successful_active_health_check_uneject_host: Some(value.uneject_on_good_check),
        enforcing_consecutive_5xx: share(enforcing.consecutive_5xx),
        enforcing_consecutive_gateway_failure: share(enforcing.consecutive_gateway_failure),
        enforcing_consecutive_local_origin_failure: share(
            enforcing.consecutive_local_origin_failure,
        ),
        enforcing_success_rate: share(enforcing.success_rate),
        enforcing_local_origin_success_rate: share(enforcing.local_origin_success_rate),
        enforcing_failure_percentage: share(enforcing.failure_percentage),
        enforcing_failure_percentage_local_origin: share(enforcing.failure_percentage_local_origin),
        success_rate_minimum_hosts: Some(rate.hosts_min),
        success_rate_request_volume: Some(rate.requests_min),
        success_rate_stdev_factor: Some(rate.deviations_thousandths),
        failure_percentage_threshold: share(failures.threshold),
        failure_percentage_minimum_hosts: Some(failures.hosts_min),
        failure_percentage_request_volume: Some(failures.requests_min),
        ..Default::default()
    }
}

/// A share in whole percent: the wire has no finer ones here.
fn whole(share: Percent) -> u32 {
    share.parts_per_million() / 10_000
}
