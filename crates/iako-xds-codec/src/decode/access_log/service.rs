//! Logs that go to a service.

use iako_xds_api::envoy::extensions::access_loggers::grpc::v3 as pb;

use crate::decode::{callout, tracing, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{GrpcLog, GrpcLogFields, GrpcLogKind, LogStreamSettings};

pub(super) fn http(config: &pb::HttpGrpcAccessLogConfig, at: &At<'_>) -> Result<GrpcLog, Fault> {
    let (stream, always) = common(config.common_config.as_ref(), GrpcLogKind::Http, at)?;
    let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
    Ok(GrpcLog {
        stream,
        fields: GrpcLogFields {
            request_headers: lower(&config.additional_request_headers_to_log),
            response_headers: lower(&config.additional_response_headers_to_log),
            response_trailers: lower(&config.additional_response_trailers_to_log),
            ..always
        },
    })
}

pub(super) fn tcp(config: &pb::TcpGrpcAccessLogConfig, at: &At<'_>) -> Result<GrpcLog, Fault> {
    let (stream, fields) = common(config.common_config.as_ref(), GrpcLogKind::Tcp, at)?;
    Ok(GrpcLog { stream, fields })
}

fn common(
    config: Option<&pb::CommonGrpcAccessLogConfig>,
    kind: GrpcLogKind,
    at: &At<'_>,
) -> Result<(LogStreamSettings, GrpcLogFields), Fault> {
    let at = at.field("common_config");
    let config = config.ok_or_else(|| at.missing("write `log_name` and `grpc_service`"))?;
    if config.log_name.is_empty() {
        return Err(at.field("log_name").missing("name the log"));
    }
    let at_service = at.field("grpc_service");
    let service = config.grpc_service.as_ref();
    let service = service.ok_or_else(|| at_service.missing("write which service takes entries"))?;
    let service = callout::grpc(service, None, &at_service)?;
    let default = LogStreamSettings::FLUSH_INTERVAL;
    let at_interval = at.field("buffer_flush_interval");
    let flush_interval =
        wire::duration_or(config.buffer_flush_interval.as_ref(), default, &at_interval)?;
    if flush_interval.is_zero() {
        return Err(at_interval.invalid("0 is no interval", "write a time above 0"));
    }
    let tags = tracing::tags(&config.custom_tags, &at.field("custom_tags"))?;
    let retries = config.grpc_stream_retry_policy.as_ref();
    let retries = retries.map_or(0, |policy| policy.num_retries.unwrap_or(1));
    Ok((
        LogStreamSettings {
            name: config.log_name.clone(),
            kind,
            service,
            flush_interval,
            buffer_bytes: config.buffer_size_bytes.unwrap_or(LogStreamSettings::BUFFER_BYTES),
            retries,
        },
        GrpcLogFields {
            states: config.filter_state_objects_to_log.clone(),
            tags,
            ..GrpcLogFields::default()
        },
    ))
}
