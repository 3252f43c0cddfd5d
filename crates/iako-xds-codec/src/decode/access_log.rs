//! Access logs.

mod otel;
mod service;
pub(super) mod times;

use iako_cel::Options;
use iako_types::FractionDenominator;
use iako_xds_api::envoy::config::accesslog::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::data::accesslog::v3::AccessLogType;
use iako_xds_api::envoy::extensions::access_loggers as loggers;
use prost::Name as _;
use prost_types::Struct;
use serde_json::{Map, Value as Json};

use super::{expression, matcher, wire};
use crate::problem::{At, Fault};
use crate::{pool, text};
use iako_proxy_config::{
    AccessLog, AccessLogFilter, AccessLogSink, BodyFormat, JsonFormat, Keyed, LogComparison,
    LogDraw, LogFormat, LogSample,
};

/// The logs of a listener, connection manager or TCP proxy. A kind of log that we do not have is
/// left out with a warning: no request goes elsewhere for it.
pub(super) fn logs(logs: &[pb::AccessLog], at: &At<'_>) -> Result<Vec<AccessLog>, Fault> {
    Ok(wire::list(logs, at, log)?.into_iter().flatten().collect())
}

fn log(log: &pb::AccessLog, at: &At<'_>) -> Result<Option<AccessLog>, Fault> {
    use loggers::{
        file::v3::FileAccessLog,
        grpc::v3::{HttpGrpcAccessLogConfig, TcpGrpcAccessLogConfig},
        open_telemetry::v3::OpenTelemetryAccessLogConfig,
        stream::v3::{StderrAccessLog, StdoutAccessLog},
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
    } else if name == HttpGrpcAccessLogConfig::full_name() {
        let config: HttpGrpcAccessLogConfig = wire::unpack(any, &at_config)?;
        (AccessLogSink::Grpc(Box::new(service::http(&config, &at_config)?)), LogFormat::Default)
    } else if name == TcpGrpcAccessLogConfig::full_name() {
        let config: TcpGrpcAccessLogConfig = wire::unpack(any, &at_config)?;
        (AccessLogSink::Grpc(Box::new(service::tcp(&config, &at_config)?)), LogFormat::Default)
    } else if name == OpenTelemetryAccessLogConfig::full_name() {
        let config: OpenTelemetryAccessLogConfig = wire::unpack(any, &at_config)?;
        let log = otel::log(&config, &at_config)?;
        (AccessLogSink::OpenTelemetry(Box::new(log)), LogFormat::Default)
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
        Some(AccessLogFormat::JsonFormat(fields) | AccessLogFormat::TypedJsonFormat(fields)) => {
            LogFormat::Json(JsonFormat { fields: json(fields), ..JsonFormat::default() })
        }
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
    let options = formatters(&written.formatters, &at.field("formatters"))?;
    let format = match &written.format {
        None => LogFormat::Default,
        Some(Format::TextFormat(text)) => text_format(text.clone(), written),
        Some(Format::TextFormatSource(source)) => {
            let text = wire::text_source(source, &at.field("text_format_source"))?;
            text_format(text, written)
        }
        Some(Format::JsonFormat(fields)) => LogFormat::Json(JsonFormat {
            fields: json(fields),
            omit_empty: written.omit_empty_values,
            sort: written.json_format_options.is_some_and(|options| options.sort_properties),
        }),
    };
    Ok(if options == Options::default() {
        format
    } else {
        LogFormat::Calling(Box::new(format), options)
    })
}

fn text_format(text: String, written: &core::SubstitutionFormatString) -> LogFormat {
    if written.omit_empty_values {
        LogFormat::TextOmittingEmpty(text)
    } else {
        LogFormat::Text(text)
    }
}

/// What expressions may call by the sets of commands that a format names.
fn formatters(extensions: &[core::TypedExtensionConfig], at: &At<'_>) -> Result<Options, Fault> {
    let found = wire::list(extensions, at, formatter)?;
    let set = found.into_iter().find(|options| *options != Options::default());
    Ok(set.unwrap_or_default())
}

/// A set of commands that a format names, and what its expressions may call. Those that there are need
/// no naming here.
fn formatter(extension: &core::TypedExtensionConfig, at: &At<'_>) -> Result<Options, Fault> {
    use iako_xds_api::envoy::extensions::formatter;
    let any = extension.typed_config.as_ref();
    let name = any.map_or("", |any| pool::full_name(&any.type_url));
    let known = [
        formatter::metadata::v3::Metadata::full_name(),
        formatter::req_without_query::v3::ReqWithoutQuery::full_name(),
    ];
    if known.iter().any(|one| one == name) {
        return Ok(Options::default());
    }
    if let Some(any) = any.filter(|_| name == formatter::cel::v3::Cel::full_name()) {
        let config: formatter::cel::v3::Cel = wire::unpack(any, &at.field("typed_config"))?;
        return Ok(expression::options(config.cel_config.as_ref()));
    }
    let problem = format!("the formatter `{name}` is not supported");
    Err(at.field("typed_config").invalid(problem, "use only metadata, cel or req_without_query"))
}

/// How a body of ours is written; none when nothing is said.
pub(super) fn body_format(
    format: Option<&core::SubstitutionFormatString>,
    at: &At<'_>,
) -> Result<Option<BodyFormat>, Fault> {
    let Some(written) = format else { return Ok(None) };
    Ok(match log_format(format, at)? {
        LogFormat::Default => None,
        format @ (LogFormat::Text(_)
        | LogFormat::TextOmittingEmpty(_)
        | LogFormat::Json(_)
        | LogFormat::Calling(..)) => {
            Some(BodyFormat { format, content_type: written.content_type.clone() })
        }
    })
}

/// The schema keeps no order, so that names stand in their own order.
fn json(fields: &Struct) -> Map<String, Json> {
    text::struct_to_json(fields)
}

/// A filter, or nothing where everything passes. A condition that we cannot check passes, with a
/// warning: a line too many in a log is better than one that is missing.
pub(super) fn filter(
    filter: &pb::AccessLogFilter,
    at: &At<'_>,
) -> Result<Option<AccessLogFilter>, Fault> {
    use pb::access_log_filter::FilterSpecifier as Kind;
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
            let at = at.field("response_flag_filter");
            AccessLogFilter::ResponseFlags(wire::list(&filter.flags, &at.field("flags"), flag)?)
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
        Some(Kind::TraceableFilter(_)) => AccessLogFilter::Traceable,
        Some(Kind::ExtensionFilter(filter)) => {
            return extension(filter, &at.field("extension_filter"));
        }
        Some(Kind::MetadataFilter(filter)) => {
            let at = at.field("metadata_filter");
            let condition = filter.matcher.as_ref();
            let condition =
                condition.map(|matcher| matcher::metadata(matcher, &at.field("matcher")));
            AccessLogFilter::Metadata {
                condition: condition.transpose()?,
                pass_absent: filter.match_if_key_not_found.unwrap_or(true),
            }
        }
        Some(Kind::LogTypeFilter(filter)) => {
            let at = at.field("log_type_filter");
            let kind = |number: &i32, at: &At<'_>| {
                wire::known::<AccessLogType>(*number, at).map(|_known| *number)
            };
            AccessLogFilter::LogType {
                types: wire::list(&filter.types, &at.field("types"), kind)?,
                exclude: filter.exclude,
            }
        }
    };
    Ok(Some(value))
}

/// A condition of another kind: an expression.
fn extension(filter: &pb::ExtensionFilter, at: &At<'_>) -> Result<Option<AccessLogFilter>, Fault> {
    use loggers::filters::cel::v3::ExpressionFilter;
    let at_config = at.field("typed_config");
    let Some(pb::extension_filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
        return Err(at_config.missing("write the condition's settings with `@type`"));
    };
    if pool::full_name(&any.type_url) != ExpressionFilter::full_name() {
        at.warn("has no effect: this condition is not supported, and all requests meet it");
        return Ok(None);
    }
    let config: ExpressionFilter = wire::unpack(any, &at_config)?;
    let options = expression::options(config.cel_config.as_ref());
    let found = expression::text(&config.expression, options, &at_config.field("expression"))?;
    Ok(Some(AccessLogFilter::Expression(found)))
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
    let draw =
        if filter.use_independent_randomness { LogDraw::Independent } else { LogDraw::RequestId };
    Ok(LogSample { share: Keyed::new(share, own_key(&filter.runtime_key)), parts, draw })
}

/// Flags that Envoy knows by these names.
const FLAGS: [&str; 29] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC",
    "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR",
];

fn flag(flag: &String, at: &At<'_>) -> Result<String, Fault> {
    if FLAGS.contains(&flag.as_str()) || flag == "UDO" {
        return Ok(flag.clone());
    }
    Err(at.invalid(format!("`{flag}` is no response flag"), "use short names such as UF"))
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
