//! Access logs.

use iako_types::FractionDenominator;
use iako_xds_api::envoy::config::accesslog::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::access_loggers as loggers;
use prost::Name as _;
use prost_types::{Struct, Value, value::Kind};

use super::{matcher, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    AccessLog, AccessLogFilter, AccessLogSink, BodyFormat, Keyed, LogComparison, LogFormat,
    LogSample,
};

/// The logs of a listener, connection manager or TCP proxy. A kind of log that we do not have is
/// left out with a warning: no request goes elsewhere for it.
pub(super) fn logs(logs: &[pb::AccessLog], at: &At<'_>) -> Result<Vec<AccessLog>, Fault> {
    Ok(wire::list(logs, at, log)?.into_iter().flatten().collect())
}

fn log(log: &pb::AccessLog, at: &At<'_>) -> Result<Option<AccessLog>, Fault> {
    use loggers::{
        file::v3::FileAccessLog, stream::v3::StderrAccessLog, stream::v3::StdoutAccessLog,
    };
    let at_config = at.field("typed_config");
    let Some(pb::access_log::ConfigType::TypedConfig(any)) = &log.config_type else {
        return Err(at_config.missing("write the log's settings with `@type`"));
    };
    let name = pool::full_name(&any.type_url);
    let (sink, format) = if name == FileAccessLog::full_name() {
        file(&wire::unpack::<FileAccessLog>(any, &at_config)?, &at_config)?
    } else if name == StdoutAccessLog::full_name() {
        use loggers::stream::v3::stdout_access_log::AccessLogFormat::LogFormat as Written;
        let config: StdoutAccessLog = wire::unpack(any, &at_config)?;
        let written = config.access_log_format.as_ref().map(|Written(format)| format);
        (AccessLogSink::Stdout, log_format(written, &at_config.field("log_format"))?)
    } else if name == StderrAccessLog::full_name() {
        use loggers::stream::v3::stderr_access_log::AccessLogFormat::LogFormat as Written;
        let config: StderrAccessLog = wire::unpack(any, &at_config)?;
        let written = config.access_log_format.as_ref().map(|Written(format)| format);
        (AccessLogSink::Stderr, log_format(written, &at_config.field("log_format"))?)
    } else {
        at_config
            .warn(format!("the access log `{name}` is not supported; nothing is written there"));
        return Ok(None);
    };
    let filter = match &log.filter {
        Some(written) => filter(written, &at.field("filter"))?,
        None => None,
    };
    Ok(Some(AccessLog { sink, format, filter }))
}

fn file(
    config: &loggers::file::v3::FileAccessLog,
    at: &At<'_>,
) -> Result<(AccessLogSink, LogFormat), Fault> {
    use loggers::file::v3::file_access_log::AccessLogFormat;
    let sink = match config.path.as_str() {
        "" => return Err(at.field("path").missing("write a file name, such as /dev/stdout")),
        "/dev/stdout" => AccessLogSink::Stdout,
        "/dev/stderr" => AccessLogSink::Stderr,
        path => AccessLogSink::File(path.to_owned()),
    };
    let format = match &config.access_log_format {
        None => LogFormat::Default,
        Some(AccessLogFormat::Format(text)) if text.is_empty() => LogFormat::Default,
        Some(AccessLogFormat::Format(text)) => LogFormat::Text(text.clone()),
        Some(AccessLogFormat::JsonFormat(fields)) => {
            LogFormat::Json { fields: json(fields, &at.field("json_format")), omit_empty: false }
        }
        Some(AccessLogFormat::TypedJsonFormat(fields)) => LogFormat::Json {
            fields: json(fields, &at.field("typed_json_format")),
            omit_empty: false,
        },
        Some(AccessLogFormat::LogFormat(format)) => {
            log_format(Some(format), &at.field("log_format"))?
        }
    };
    Ok((sink, format))
}

pub(super) fn log_format(
    format: Option<&core::SubstitutionFormatString>,
    at: &At<'_>,
) -> Result<LogFormat, Fault> {
    use core::substitution_format_string::Format;
    let Some(written) = format else { return Ok(LogFormat::Default) };
    Ok(match &written.format {
        None => LogFormat::Default,
        Some(Format::TextFormat(text)) => LogFormat::Text(text.clone()),
        Some(Format::TextFormatSource(source)) => {
            LogFormat::Text(wire::text_source(source, &at.field("text_format_source"))?)
        }
        Some(Format::JsonFormat(fields)) => LogFormat::Json {
            fields: json(fields, &at.field("json_format")),
            omit_empty: written.omit_empty_values,
        },
    })
}

/// How a body of ours is written; none when nothing is said.
pub(super) fn body_format(
    format: Option<&core::SubstitutionFormatString>,
    at: &At<'_>,
) -> Result<Option<BodyFormat>, Fault> {
    let Some(written) = format else { return Ok(None) };
    Ok(match log_format(format, at)? {
        LogFormat::Default => None,
        format @ (LogFormat::Text(_) | LogFormat::Json { .. }) => {
            Some(BodyFormat { format, content_type: written.content_type.clone() })
        }
    })
}

/// One text a key; what is nested gets dots in its key. The schema keeps no order, so that keys
/// stand in the order of their names.
fn json(fields: &Struct, at: &At<'_>) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (key, value) in &fields.fields {
        flatten(key.clone(), value, &mut out, &at.key(key));
    }
    out
}

fn flatten(key: String, value: &Value, out: &mut Vec<(String, String)>, at: &At<'_>) {
    match &value.kind {
        Some(Kind::StringValue(text)) => out.push((key, text.clone())),
        Some(Kind::NumberValue(number)) => out.push((key, number.to_string())),
        Some(Kind::BoolValue(value)) => out.push((key, value.to_string())),
        Some(Kind::StructValue(inner)) => {
            at.warn("is written with dots in its keys, not as an object");
            for (name, value) in &inner.fields {
                flatten(format!("{key}.{name}"), value, out, at);
            }
        }
        Some(Kind::ListValue(_)) => at.warn("lists are not supported; the key is left out"),
        Some(Kind::NullValue(_)) | None => {}
    }
}

/// A filter, or nothing where everything passes. A condition that we cannot check passes, with a
/// warning: a line too many in a log is better than one that is missing.
pub(super) fn filter(
    filter: &pb::AccessLogFilter,
    at: &At<'_>,
) -> Result<Option<AccessLogFilter>, Fault> {
    use pb::access_log_filter::FilterSpecifier as Kind;
    let unsupported = |field: &'static str| {
        at.field(field)
            .warn("has no effect: this condition is not supported, and all requests meet it");
        Ok(None)
    };
    let value = match &filter.filter_specifier {
        None => return Ok(None),
        Some(Kind::StatusCodeFilter(filter)) => {
            let at = at.field("status_code_filter");
            AccessLogFilter::Status(comparison(
                filter.comparison.as_ref(),
                &at.field("comparison"),
            )?)
        }
        Some(Kind::DurationFilter(filter)) => {
            let at = at.field("duration_filter");
            AccessLogFilter::DurationMs(comparison(
                filter.comparison.as_ref(),
                &at.field("comparison"),
            )?)
        }
        Some(Kind::ResponseFlagFilter(filter)) => {
            AccessLogFilter::ResponseFlags(filter.flags.clone())
        }
        Some(Kind::NotHealthCheckFilter(_)) => AccessLogFilter::NotHealthCheck,
        Some(Kind::HeaderFilter(filter)) => {
            let at = at.field("header_filter");
            let at = at.field("header");
            let header = filter.header.as_ref().ok_or_else(|| at.missing("write which header"))?;
            AccessLogFilter::Header(matcher::header(header, &at)?)
        }
        Some(Kind::RuntimeFilter(filter)) => {
            AccessLogFilter::Sample(sample(filter, &at.field("runtime_filter"))?)
        }
        Some(Kind::GrpcStatusFilter(filter)) => {
            grpc_status(filter, &at.field("grpc_status_filter"))?
        }
        Some(Kind::AndFilter(filter)) => return all(&filter.filters, &at.field("and_filter")),
        Some(Kind::OrFilter(filter)) => return any(&filter.filters, &at.field("or_filter")),
        Some(Kind::TraceableFilter(_)) => return unsupported("traceable_filter"),
        Some(Kind::ExtensionFilter(_)) => return unsupported("extension_filter"),
        Some(Kind::MetadataFilter(_)) => return unsupported("metadata_filter"),
        Some(Kind::LogTypeFilter(_)) => return unsupported("log_type_filter"),
    };
    Ok(Some(value))
}

fn all(filters: &[pb::AccessLogFilter], at: &At<'_>) -> Result<Option<AccessLogFilter>, Fault> {
    let mut checked: Vec<_> =
        wire::list(filters, &at.field("filters"), filter)?.into_iter().flatten().collect();
    Ok(match checked.len() {
        0 => None,
        1 => checked.pop(),
        _ => Some(AccessLogFilter::And(checked)),
    })
}

fn any(filters: &[pb::AccessLogFilter], at: &At<'_>) -> Result<Option<AccessLogFilter>, Fault> {
    let checked: Option<Vec<_>> =
        wire::list(filters, &at.field("filters"), filter)?.into_iter().collect();
    Ok(checked.map(AccessLogFilter::Or))
}

/// Keys that stand where an Envoy wants one and nobody sets it.
pub(crate) const NO_KEYS: [&str; 2] = ["iako.access_log_sample", "iako.access_log_comparison"];

/// A key; empty where it only fills the place.
fn own_key(key: &str) -> &str {
    if NO_KEYS.contains(&key) { "" } else { key }
}

/// A share; none where nothing is said.
fn sample(filter: &pb::RuntimeFilter, at: &At<'_>) -> Result<LogSample, Fault> {
    use iako_xds_api::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
    let none = FractionalPercent::default();
    let written = filter.percent_sampled.as_ref().unwrap_or(&none);
    let share = wire::fraction(written, &at.field("percent_sampled"))?;
    let parts = match written.denominator() {
        DenominatorType::Hundred => FractionDenominator::Hundred,
        DenominatorType::TenThousand => FractionDenominator::TenThousand,
        DenominatorType::Million => FractionDenominator::Million,
    };
    Ok(LogSample { share: Keyed::new(share, own_key(&filter.runtime_key)), parts })
}

fn comparison(
    comparison: Option<&pb::ComparisonFilter>,
    at: &At<'_>,
) -> Result<Keyed<LogComparison>, Fault> {
    use pb::comparison_filter::Op;
    let comparison = comparison.ok_or_else(|| at.missing("write `op` and `value`"))?;
    let key = comparison.value.as_ref().map_or("", |value| own_key(&value.runtime_key));
    let value = comparison.value.as_ref().map_or(0, |value| value.default_value);
    let comparison = match wire::known::<Op>(comparison.op, &at.field("op"))? {
        Op::Eq => LogComparison::Equal(value),
        Op::Ge => LogComparison::AtLeast(value),
        Op::Le => LogComparison::AtMost(value),
        Op::Ne => LogComparison::NotEqual(value),
    };
    Ok(Keyed::new(comparison, key))
}

fn grpc_status(filter: &pb::GrpcStatusFilter, at: &At<'_>) -> Result<AccessLogFilter, Fault> {
    let statuses = wire::list(&filter.statuses, &at.field("statuses"), |status, at| {
        match u32::try_from(*status) {
            Ok(status @ 0..=16) => Ok(status),
            _ => Err(at.invalid(format!("{status} is not a gRPC status"), "use 0 to 16")),
        }
    })?;
    Ok(AccessLogFilter::GrpcStatus { statuses, exclude: filter.exclude })
}
