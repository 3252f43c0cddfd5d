//! Active checks and outlier detection.

use std::path::PathBuf;
use std::time::Duration;

use iako_types::Percent;
use iako_xds_api::envoy::config::cluster::v3 as cluster_pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::endpoint::v3 as endpoint_pb;
use iako_xds_api::envoy::extensions::health_check::event_sinks::file::v3::HealthCheckEventFileSink;
use iako_xds_api::envoy::r#type::v3 as kind;
use prost::Name as _;

use super::{header, matcher, metadata, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    CheckIntervals, CheckMethod, EndpointCheck, Enforcing, FailurePercentage, GrpcCheck,
    HealthCheck, HealthCheckKind, HealthEvents, HttpCheck, OutlierDetection, ProxyProtocolVersion,
    StatusRange, SuccessRate, TcpCheck,
};

/// The only check of a cluster; Envoy has no more than one either.
pub(super) fn only_check(
    checks: &[core::HealthCheck],
    at: &At<'_>,
) -> Result<Option<HealthCheck>, Fault> {
    match checks {
        [] => Ok(None),
        [one] => check(one, &at.index(0)).map(Some),
        [..] => Err(at.invalid("has more than one check", "leave one check")),
    }
}

fn check(check: &core::HealthCheck, at: &At<'_>) -> Result<HealthCheck, Fault> {
    let threshold = |value: Option<u32>, field: &'static str| {
        let at = at.field(field);
        wire::non_zero(value.ok_or_else(|| at.missing("write how many checks decide"))?, &at)
    };
    let criteria = check.transport_socket_match_criteria.as_ref();
    Ok(HealthCheck {
        timeout: required(check.timeout.as_ref(), &at.field("timeout"))?,
        intervals: intervals(check, at)?,
        unhealthy_threshold: threshold(check.unhealthy_threshold, "unhealthy_threshold")?,
        healthy_threshold: threshold(check.healthy_threshold, "healthy_threshold")?,
        reuse_connection: check.reuse_connection.unwrap_or(true),
        events: events(check, at)?,
        alpn: check.tls_options.as_ref().map(|tls| tls.alpn_protocols.clone()).unwrap_or_default(),
        transport_criteria: criteria.map(metadata::texts),
        kind: what_is_asked(check, at)?,
    })
}

fn required(value: Option<&prost_types::Duration>, at: &At<'_>) -> Result<Duration, Fault> {
    let value = value.ok_or_else(|| at.missing("write seconds, such as `1s`"))?;
    wire::positive(wire::duration(value, at)?, at)
}

fn intervals(check: &core::HealthCheck, at: &At<'_>) -> Result<CheckIntervals, Fault> {
    let or_zero = |value: Option<&prost_types::Duration>, field: &'static str| {
        wire::duration_or(value, Duration::ZERO, &at.field(field))
    };
    let positive = |value: Option<&prost_types::Duration>, field: &'static str| {
        let at = at.field(field);
        let value = wire::optional(value, &at)?;
        value.map(|value| wire::positive(value, &at)).transpose()
    };
    let at_percent = at.field("interval_jitter_percent");
    let no_traffic = positive(check.no_traffic_interval.as_ref(), "no_traffic_interval")?;
    Ok(CheckIntervals {
        interval: required(check.interval.as_ref(), &at.field("interval"))?,
        initial_jitter: or_zero(check.initial_jitter.as_ref(), "initial_jitter")?,
        jitter: or_zero(check.interval_jitter.as_ref(), "interval_jitter")?,
        jitter_percent: wire::whole_percent(check.interval_jitter_percent, &at_percent)?,
        no_traffic: no_traffic.unwrap_or(Duration::from_secs(60)),
        no_traffic_healthy: positive(
            check.no_traffic_healthy_interval.as_ref(),
            "no_traffic_healthy_interval",
        )?,
        unhealthy: positive(check.unhealthy_interval.as_ref(), "unhealthy_interval")?,
        unhealthy_edge: positive(
            check.unhealthy_edge_interval.as_ref(),
            "unhealthy_edge_interval",
        )?,
        healthy_edge: positive(check.healthy_edge_interval.as_ref(), "healthy_edge_interval")?,
    })
}

fn events(check: &core::HealthCheck, at: &At<'_>) -> Result<HealthEvents, Fault> {
    let mut files = Vec::new();
    if !check.event_log_path.is_empty() {
        files.push(PathBuf::from(&check.event_log_path));
    }
    let at_loggers = at.field("event_logger");
    for (index, logger) in check.event_logger.iter().enumerate() {
        let at = at_loggers.index(index);
        let at = at.field("typed_config");
        let any = logger.typed_config.as_ref().ok_or_else(|| at.missing("write the sink"))?;
        let name = pool::full_name(&any.type_url);
        if name != HealthCheckEventFileSink::full_name() {
            let problem = format!("the sink `{name}` is not supported");
            return Err(at.invalid(problem, "use HealthCheckEventFileSink"));
        }
        let sink: HealthCheckEventFileSink = wire::unpack(any, &at)?;
        files.push(PathBuf::from(sink.event_log_path));
    }
    Ok(HealthEvents {
        files,
        all_failures: check.always_log_health_check_failures,
        all_successes: check.always_log_health_check_success,
    })
}

fn what_is_asked(check: &core::HealthCheck, at: &At<'_>) -> Result<HealthCheckKind, Fault> {
    use core::health_check::HealthChecker;
    let help = "write `http_health_check`, `grpc_health_check` or `tcp_health_check`";
    Ok(match &check.health_checker {
        Some(HealthChecker::HttpHealthCheck(config)) => {
            HealthCheckKind::Http(Box::new(http(config, &at.field("http_health_check"))?))
        }
        Some(HealthChecker::GrpcHealthCheck(config)) => {
            let at = at.field("grpc_health_check");
            HealthCheckKind::Grpc(GrpcCheck {
                service: config.service_name.clone(),
                authority: config.authority.clone(),
                metadata: header::additions(
                    &config.initial_metadata,
                    &at.field("initial_metadata"),
                )?,
            })
        }
        Some(HealthChecker::TcpHealthCheck(config)) => {
            HealthCheckKind::Tcp(tcp(config, &at.field("tcp_health_check"))?)
        }
        Some(HealthChecker::CustomHealthCheck(config)) => {
            let at = at.field("custom_health_check");
            return Err(at.invalid(format!("`{}` is not supported", config.name), help));
        }
        None => return Err(at.missing(help)),
    })
}

fn http(config: &core::health_check::HttpHealthCheck, at: &At<'_>) -> Result<HttpCheck, Fault> {
    let mut value = HttpCheck::of(config.path.clone());
    if !config.path.starts_with('/') {
        return Err(at.field("path").invalid("is no path", "write a path that begins with `/`"));
    }
    value.method = method(config.method, &at.field("method"))?;
    value.host.clone_from(&config.host);
    value.send = payload(config.send.as_ref(), &at.field("send"))?;
    value.receive =
        wire::list(&config.receive, &at.field("receive"), |one, at| payload(Some(one), at))?;
    value.response_bytes_max = config.response_buffer_size.unwrap_or(1024);
    let at_add = at.field("request_headers_to_add");
    value.headers_add = header::additions(&config.request_headers_to_add, &at_add)?;
    let has_operator = |text: &str| text.replace("%%", "").contains('%');
    if let Some(index) = value.headers_add.iter().position(|one| has_operator(&one.value)) {
        let problem = "has an operator; a check has no request that it could tell of";
        return Err(at_add
            .index(index)
            .invalid(problem, "write the value itself, and %% for a percent sign"));
    }
    let at_remove = at.field("request_headers_to_remove");
    value.headers_remove = header::removals(&config.request_headers_to_remove, &at_remove)?;
    if !config.expected_statuses.is_empty() {
        let at = at.field("expected_statuses");
        value.expected = wire::list(&config.expected_statuses, &at, statuses)?;
    }
    let at_retriable = at.field("retriable_statuses");
    value.retriable = wire::list(&config.retriable_statuses, &at_retriable, statuses)?;
    let at_codec = at.field("codec_client_type");
    value.http2 = match wire::known::<kind::CodecClientType>(config.codec_client_type, &at_codec)? {
        kind::CodecClientType::Http1 => false,
        kind::CodecClientType::Http2 => true,
        kind::CodecClientType::Http3 => {
            return Err(at_codec.invalid("HTTP/3 is not spoken", "use HTTP1 or HTTP2"));
        }
    };
    value.service_name = config
        .service_name_matcher
        .as_ref()
        .map(|name| matcher::text(name, &at.field("service_name_matcher")))
        .transpose()?;
    Ok(value)
}

fn method(value: i32, at: &At<'_>) -> Result<CheckMethod, Fault> {
    Ok(match wire::known::<core::RequestMethod>(value, at)? {
        core::RequestMethod::MethodUnspecified | core::RequestMethod::Get => CheckMethod::Get,
        core::RequestMethod::Head => CheckMethod::Head,
        core::RequestMethod::Post => CheckMethod::Post,
        core::RequestMethod::Put => CheckMethod::Put,
        core::RequestMethod::Delete => CheckMethod::Delete,
        core::RequestMethod::Options => CheckMethod::Options,
        core::RequestMethod::Trace => CheckMethod::Trace,
        core::RequestMethod::Patch => CheckMethod::Patch,
        core::RequestMethod::Connect => {
            return Err(at.invalid("CONNECT checks nothing", "use GET or HEAD"));
        }
    })
}

fn statuses(range: &kind::Int64Range, at: &At<'_>) -> Result<StatusRange, Fault> {
    match (u16::try_from(range.start), u16::try_from(range.end)) {
        (Ok(first), Ok(end)) if first >= 100 && first < end && end <= 600 => {
            Ok(StatusRange { first, end })
        }
        _ => Err(at.invalid(
            format!("[{}, {}) is no range of statuses", range.start, range.end),
            "write `start` from 100 and `end` up to 600, which does not belong",
        )),
    }
}

fn tcp(config: &core::health_check::TcpHealthCheck, at: &At<'_>) -> Result<TcpCheck, Fault> {
    use core::proxy_protocol_config::Version;
    let at_proxy = at.field("proxy_protocol_config");
    let proxy_protocol = config.proxy_protocol_config.as_ref().map(|proxy| {
        Ok(match wire::known::<Version>(proxy.version, &at_proxy.field("version"))? {
            Version::V1 => ProxyProtocolVersion::V1,
            Version::V2 => ProxyProtocolVersion::V2,
        })
    });
    Ok(TcpCheck {
        send: payload(config.send.as_ref(), &at.field("send"))?,
        receive: wire::list(&config.receive, &at.field("receive"), |one, at| {
            payload(Some(one), at)
        })?,
        proxy_protocol: proxy_protocol.transpose()?,
    })
}

/// Bytes, or a text of hexadecimal digits that stands for them.
fn payload(payload: Option<&core::health_check::Payload>, at: &At<'_>) -> Result<Vec<u8>, Fault> {
    use core::health_check::payload::Payload;
    match payload.and_then(|payload| payload.payload.as_ref()) {
        None => Ok(Vec::new()),
        Some(Payload::Binary(bytes)) => Ok(bytes.to_vec()),
        Some(Payload::Text(text)) => from_hex(text).ok_or_else(|| {
            at.field("text").invalid("is no text of hexadecimal digits", "write two for each byte")
        }),
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// How one instance is checked.
pub(super) fn of_endpoint(
    config: Option<&endpoint_pb::endpoint::HealthCheckConfig>,
    at: &At<'_>,
) -> Result<EndpointCheck, Fault> {
    let Some(config) = config else { return Ok(EndpointCheck::default()) };
    let address = config.address.as_ref();
    let at_port = at.field("port_value");
    let port = wire::port(config.port_value, &at_port)?;
    Ok(EndpointCheck {
        address: address
            .map(|address| wire::socket_address(Some(address), &at.field("address")))
            .transpose()?,
        port: (port != 0).then_some(port),
        hostname: config.hostname.clone(),
        disabled: config.disable_active_health_check,
    })
}

pub(super) fn outlier_detection(
    detection: Option<&cluster_pb::OutlierDetection>,
    at: &At<'_>,
) -> Result<Option<OutlierDetection>, Fault> {
    let Some(detection) = detection else { return Ok(None) };
    let at = at.field("outlier_detection");
    let default = OutlierDetection::default();
    let positive = |value: Option<&prost_types::Duration>, default, field: &'static str| {
        let at = at.field(field);
        wire::positive(wire::duration_or(value, default, &at)?, &at)
    };
    let base = positive(
        detection.base_ejection_time.as_ref(),
        default.base_ejection_time,
        "base_ejection_time",
    )?;
    let longest = wire::duration_or(
        detection.max_ejection_time.as_ref(),
        default.ejection_time_max,
        &at.field("max_ejection_time"),
    )?;
    // Zero is never reached.
    let count = |count: Option<u32>| std::num::NonZeroU32::new(count.unwrap_or(5));
    let share = |value: Option<u32>, default: Percent, field: &'static str| match value {
        // More than the whole is the whole.
        Some(value) => wire::whole_percent(value.min(100), &at.field(field)),
        None => Ok(default),
    };
    let always = detection.always_eject_one_host;
    Ok(Some(OutlierDetection {
        consecutive_5xx: count(detection.consecutive_5xx),
        consecutive_gateway_failure: count(detection.consecutive_gateway_failure),
        consecutive_local_origin_failure: count(detection.consecutive_local_origin_failure),
        split_local_origin: detection.split_external_local_origin_errors,
        success_rate: success_rate(detection),
        failure_percentage: FailurePercentage {
            threshold: share(
                detection.failure_percentage_threshold,
                default.failure_percentage.threshold,
                "failure_percentage_threshold",
            )?,
            hosts_min: detection.failure_percentage_minimum_hosts.unwrap_or(5),
            requests_min: detection.failure_percentage_request_volume.unwrap_or(50),
        },
        enforcing: enforcing(detection, share)?,
        interval: positive(detection.interval.as_ref(), default.interval, "interval")?,
        base_ejection_time: base,
        // Envoy takes the longer of the two when the maximum is below the base.
        ejection_time_max: longest.max(base),
        ejection_time_jitter: wire::duration_or(
            detection.max_ejection_time_jitter.as_ref(),
            default.ejection_time_jitter,
            &at.field("max_ejection_time_jitter"),
        )?,
        ejection_max: share(
            detection.max_ejection_percent,
            default.ejection_max,
            "max_ejection_percent",
        )?,
        always_eject_one: always.unwrap_or(false),
        uneject_on_good_check: detection
            .successful_active_health_check_uneject_host
            .unwrap_or(true),
    }))
}

fn success_rate(detection: &cluster_pb::OutlierDetection) -> SuccessRate {
    let default = SuccessRate::default();
    SuccessRate {
        hosts_min: detection.success_rate_minimum_hosts.unwrap_or(default.hosts_min),
        requests_min: detection.success_rate_request_volume.unwrap_or(default.requests_min),
        deviations_thousandths: detection
            .success_rate_stdev_factor
            .unwrap_or(default.deviations_thousandths),
    }
}

fn enforcing(
    detection: &cluster_pb::OutlierDetection,
    share: impl Fn(Option<u32>, Percent, &'static str) -> Result<Percent, Fault>,
) -> Result<Enforcing, Fault> {
    let default = Enforcing::default();
    Ok(Enforcing {
        consecutive_5xx: share(
            detection.enforcing_consecutive_5xx,
            default.consecutive_5xx,
            "enforcing_consecutive_5xx",
        )?,
        consecutive_gateway_failure: share(
            detection.enforcing_consecutive_gateway_failure,
            default.consecutive_gateway_failure,
            "enforcing_consecutive_gateway_failure",
        )?,
        consecutive_local_origin_failure: share(
            detection.enforcing_consecutive_local_origin_failure,
            default.consecutive_local_origin_failure,
            "enforcing_consecutive_local_origin_failure",
        )?,
        success_rate: share(
            detection.enforcing_success_rate,
            default.success_rate,
            "enforcing_success_rate",
        )?,
        local_origin_success_rate: share(
            detection.enforcing_local_origin_success_rate,
            default.local_origin_success_rate,
            "enforcing_local_origin_success_rate",
        )?,
        failure_percentage: share(
            detection.enforcing_failure_percentage,
            default.failure_percentage,
            "enforcing_failure_percentage",
        )?,
        failure_percentage_local_origin: share(
            detection.enforcing_failure_percentage_local_origin,
            default.failure_percentage_local_origin,
            "enforcing_failure_percentage_local_origin",
        )?,
    })
}
