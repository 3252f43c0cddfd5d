//! Access logs.

use iako_types::FractionDenominator;
use iako_xds_api::envoy::config::accesslog::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::access_loggers::{
    file::v3 as file, filters::cel::v3 as filters, grpc::v3 as grpc, open_telemetry::v3 as otel,
    stream::v3 as stream,
};
use iako_xds_api::envoy::extensions::filters::network::http_connection_manager::v3 as manager;
use iako_xds_api::envoy::extensions::formatter::cel::v3 as formatter;
use iako_xds_api::opentelemetry::proto::common::v1::KeyValueList;

use super::{callout, expression, matcher, tracing, wire};
use crate::service::otel_log;
use crate::text;
use iako_proxy_config::{
    AccessLog, AccessLogFilter, AccessLogSink, BodyFormat, GrpcLog, GrpcLogKind, HttpLogTimes,
    Keyed, LogComparison, LogDraw, LogFormat, LogSample, OtelLabels, OtelLog, OtlpExporter,
};

/// When lines of requests are written besides the last one; nothing where they are not.
pub(super) fn http_times(
    value: HttpLogTimes,
) -> Option<manager::http_connection_manager::HcmAccessLogOptions> {
    let options = manager::http_connection_manager::HcmAccessLogOptions {
        access_log_flush_interval: value.interval.map(wire::duration),
        flush_access_log_on_new_request: value.on_start,
        flush_log_on_tunnel_successfully_established: value.on_tunnel,
    };
    (!value.is_last_only()).then_some(options)
}

pub(super) fn logs(values: &[AccessLog]) -> Vec<pb::AccessLog> {
    values.iter().map(log).collect()
}

fn log(value: &AccessLog) -> pb::AccessLog {
    let format = log_format(&value.format);
    let (name, any) = match &value.sink {
        AccessLogSink::Stdout => {
            let access_log_format =
                format.map(stream::stdout_access_log::AccessLogFormat::LogFormat);
            (
                "envoy.access_loggers.stdout",
                wire::any(&stream::StdoutAccessLog { access_log_format }),
            )
        }
        AccessLogSink::Stderr => {
            let access_log_format =
                format.map(stream::stderr_access_log::AccessLogFormat::LogFormat);
            (
                "envoy.access_loggers.stderr",
                wire::any(&stream::StderrAccessLog { access_log_format }),
            )
        }
        AccessLogSink::File(path) => {
            let access_log_format = format.map(file::file_access_log::AccessLogFormat::LogFormat);
            let config = file::FileAccessLog { path: path.clone(), access_log_format };
            ("envoy.access_loggers.file", wire::any(&config))
        }
        AccessLogSink::Grpc(log) => grpc_log(log),
        AccessLogSink::OpenTelemetry(log) => {
            ("envoy.access_loggers.open_telemetry", wire::any(&otel_log(log)))
        }
    };
    pb::AccessLog {
        name: name.to_owned(),
        filter: value.filter.as_ref().map(filter),
        config_type: Some(pb::access_log::ConfigType::TypedConfig(any)),
    }
}

fn grpc_log(value: &GrpcLog) -> (&'static str, prost_types::Any) {
    let stream = &value.stream;
    let fields = &value.fields;
    let common_config = Some(grpc::CommonGrpcAccessLogConfig {
        log_name: stream.name.clone(),
        grpc_service: Some(callout::grpc(&stream.service)),
        transport_api_version: core::ApiVersion::V3.into(),
        buffer_flush_interval: Some(wire::duration(stream.flush_interval)),
        buffer_size_bytes: Some(stream.buffer_bytes),
        filter_state_objects_to_log: fields.states.clone(),
        grpc_stream_retry_policy: (stream.retries > 0).then(|| core::RetryPolicy {
            num_retries: Some(stream.retries),
            ..core::RetryPolicy::default()
        }),
        custom_tags: fields.tags.iter().map(tracing::tag).collect(),
    });
    match stream.kind {
        GrpcLogKind::Http => (
            "envoy.access_loggers.http_grpc",
            wire::any(&grpc::HttpGrpcAccessLogConfig {
                common_config,
                additional_request_headers_to_log: fields.request_headers.clone(),
                additional_response_headers_to_log: fields.response_headers.clone(),
                additional_response_trailers_to_log: fields.response_trailers.clone(),
            }),
        ),
        GrpcLogKind::Tcp => (
            "envoy.access_loggers.tcp_grpc",
            wire::any(&grpc::TcpGrpcAccessLogConfig { common_config }),
        ),
    }
}

fn otel_log(value: &OtelLog) -> otel::OpenTelemetryAccessLogConfig {
    let stream = &value.stream;
    let list = |fields: &serde_json::Map<String, serde_json::Value>| {
        (!fields.is_empty()).then(|| KeyValueList { values: otel_log::named(fields) })
    };
    let (grpc_service, http_service) = match &stream.exporter {
        OtlpExporter::Grpc(service) => (Some(callout::grpc(service)), None),
        OtlpExporter::Http(collector) => (None, Some(tracing::collector(collector))),
    };
    let config = expression::options(value.calling);
    let formatter = |config| {
        let config = formatter::Cel { cel_config: Some(config) };
        wire::extension("envoy.formatter.cel", &config)
    };
    let policy = core::RetryPolicy { num_retries: Some(stream.retries), ..Default::default() };
    let retried = grpc::CommonGrpcAccessLogConfig {
        grpc_stream_retry_policy: Some(policy),
        ..Default::default()
    };
    otel::OpenTelemetryAccessLogConfig {
        common_config: (stream.retries > 0).then_some(retried),
        http_service,
        grpc_service,
        disable_builtin_labels: stream.labels == OtelLabels::None,
        resource_attributes: list(&stream.resource),
        body: value.body.as_ref().map(otel_log::any_value),
        attributes: list(&value.attributes),
        stat_prefix: value.stat_prefix.clone(),
        formatters: config.map(formatter).into_iter().collect(),
        log_name: stream.name.clone(),
        buffer_flush_interval: Some(wire::duration(stream.flush_interval)),
        buffer_size_bytes: Some(stream.buffer_bytes),
        filter_state_objects_to_log: value.states.clone(),
        custom_tags: value.tags.iter().map(tracing::tag).collect(),
        ..Default::default()
    }
}

/// How a body of ours is written.
pub(super) fn body_format(value: &BodyFormat) -> Option<core::SubstitutionFormatString> {
    let mut message = log_format(&value.format)?;
    message.content_type.clone_from(&value.content_type);
    Some(message)
}

/// A format, where it is not the default one.
pub(super) fn log_format(value: &LogFormat) -> Option<core::SubstitutionFormatString> {
    use core::substitution_format_string::Format;
    if let LogFormat::Calling(format, options) = value {
        let config = formatter::Cel { cel_config: expression::options(*options) };
        let mut written = log_format(format)?;
        written.formatters.push(wire::extension("envoy.formatter.cel", &config));
        return Some(written);
    }
    let (format, omit_empty_values) = match value {
        LogFormat::Default | LogFormat::Calling(..) => return None,
        LogFormat::Text(text) => (Format::TextFormatSource(wire::text_source(text)), false),
        LogFormat::TextOmittingEmpty(text) => {
            (Format::TextFormatSource(wire::text_source(text)), true)
        }
        LogFormat::Json(json) => {
            (Format::JsonFormat(text::struct_from_json(&json.fields)), json.omit_empty)
        }
    };
    let sorts = matches!(value, LogFormat::Json(json) if json.sort);
    Some(core::SubstitutionFormatString {
        format: Some(format),
        omit_empty_values,
        json_format_options: sorts.then_some(core::JsonFormatOptions { sort_properties: true }),
        ..Default::default()
    })
}

pub(super) fn filter(value: &AccessLogFilter) -> pb::AccessLogFilter {
    use pb::access_log_filter::FilterSpecifier as Specifier;
    let all = |values: &[AccessLogFilter]| values.iter().map(filter).collect();
    let specifier = match value {
        AccessLogFilter::Status(status) => Specifier::StatusCodeFilter(pb::StatusCodeFilter {
            comparison: Some(comparison(status)),
        }),
        AccessLogFilter::DurationMs(duration) => {
            Specifier::DurationFilter(pb::DurationFilter { comparison: Some(comparison(duration)) })
        }
        AccessLogFilter::ResponseFlags(flags) => {
            Specifier::ResponseFlagFilter(pb::ResponseFlagFilter { flags: flags.clone() })
        }
        AccessLogFilter::NotHealthCheck => {
            Specifier::NotHealthCheckFilter(pb::NotHealthCheckFilter {})
        }
        AccessLogFilter::Header(header) => {
            Specifier::HeaderFilter(pb::HeaderFilter { header: Some(matcher::header(header)) })
        }
        AccessLogFilter::Expression(value) => {
            let config = filters::ExpressionFilter {
                expression: expression::text(value).unwrap_or_default().to_owned(),
                cel_config: expression::options(value.options()),
            };
            let any = wire::any(&config);
            Specifier::ExtensionFilter(pb::ExtensionFilter {
                name: "envoy.access_loggers.extension_filters.cel".to_owned(),
                config_type: Some(pb::extension_filter::ConfigType::TypedConfig(any)),
            })
        }
        AccessLogFilter::Traceable => Specifier::TraceableFilter(pb::TraceableFilter {}),
        AccessLogFilter::Metadata { condition, pass_absent } => {
            Specifier::MetadataFilter(pb::MetadataFilter {
                matcher: condition.as_ref().map(matcher::metadata),
                match_if_key_not_found: Some(*pass_absent),
            })
        }
        AccessLogFilter::LogType { types, exclude } => {
            Specifier::LogTypeFilter(pb::LogTypeFilter { types: types.clone(), exclude: *exclude })
        }
        AccessLogFilter::Sample(sample) => Specifier::RuntimeFilter(self::sample(sample)),
        AccessLogFilter::GrpcStatus { statuses, exclude } => {
            Specifier::GrpcStatusFilter(pb::GrpcStatusFilter {
                statuses: statuses
                    .iter()
                    .filter_map(|status| i32::try_from(*status).ok())
                    .collect(),
                exclude: *exclude,
            })
        }
        AccessLogFilter::And(values) => {
            Specifier::AndFilter(pb::AndFilter { filters: all(values) })
        }
        AccessLogFilter::Or(values) => Specifier::OrFilter(pb::OrFilter { filters: all(values) }),
    };
    pb::AccessLogFilter { filter_specifier: Some(specifier) }
}

fn sample(value: &LogSample) -> pb::RuntimeFilter {
    use iako_xds_api::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
    let denominator = match value.parts {
        FractionDenominator::Hundred => DenominatorType::Hundred,
        FractionDenominator::TenThousand => DenominatorType::TenThousand,
        FractionDenominator::Million => DenominatorType::Million,
    };
    let millionths = u64::from(value.share.value.parts_per_million());
    let numerator = millionths * u64::from(value.parts.parts()) / 1_000_000;
    pb::RuntimeFilter {
        runtime_key: key_or(&value.share, "iako.access_log_sample"),
        percent_sampled: Some(FractionalPercent {
            numerator: u32::try_from(numerator).unwrap_or(u32::MAX),
            denominator: denominator.into(),
        }),
        use_independent_randomness: value.draw == LogDraw::Independent,
    }
}

/// The key. Envoy wants one where there is none here; nobody sets that.
fn key_or<T>(value: &Keyed<T>, otherwise: &str) -> String {
    value.key.as_deref().unwrap_or(otherwise).to_owned()
}

fn comparison(comparison: &Keyed<LogComparison>) -> pb::ComparisonFilter {
    use pb::comparison_filter::Op;
    let (op, value) = match comparison.value {
        LogComparison::Equal(value) => (Op::Eq, value),
        LogComparison::AtLeast(value) => (Op::Ge, value),
        LogComparison::AtMost(value) => (Op::Le, value),
        LogComparison::NotEqual(value) => (Op::Ne, value),
    };
    let runtime_key = key_or(comparison, "iako.access_log_comparison");
    pb::ComparisonFilter {
        op: op.into(),
        value: Some(core::RuntimeUInt32 { default_value: value, runtime_key }),
    }
}
