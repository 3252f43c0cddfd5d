//! Access logs as the configuration asks for them, compiled for the path.

use std::sync::Arc;

use iako_proxy_config::{self as config, AccessLogFilter, LogComparison, LogFormat};
use iako_telemetry::{
    AccessLogFormat, AccessLogSink, AccessLogs, AccessRecord, LogTarget,
    access_log::{ENVOY_TEXT, FormatError},
};
use serde_json::Value;

/// Why a log cannot be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LogError {
    /// Its format cannot be read.
    #[error("the format of an access log is not usable")]
    Format(#[from] FormatError),
    /// Its file cannot be opened.
    #[error("the access log {path} cannot be opened")]
    Open {
        /// Where it is.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// One log, ready to be written to.
#[derive(Debug)]
pub(crate) struct AccessLogger {
    format: AccessLogFormat,
    sink: Arc<AccessLogSink>,
    filter: Option<AccessLogFilter>,
}

/// What filters look at besides the record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FilterFacts {
    /// A random number, even over all of `u64`.
    pub(crate) draw: u64,
    /// Whether the request is a health check.
    pub(crate) health_check: bool,
    /// `grpc-status` of the response, when the request was gRPC.
    pub(crate) grpc_status: Option<u32>,
}

impl AccessLogger {
    /// Opens the logs of a listener, HTTP connection manager or TCP proxy.
    ///
    /// # Errors
    /// When a format or file is not usable.
    pub(crate) fn open_all(
        logs: &[config::AccessLog],
        sinks: &AccessLogs,
    ) -> Result<Vec<Self>, LogError> {
        logs.iter().map(|log| Self::open(log, sinks)).collect()
    }

    fn open(log: &config::AccessLog, sinks: &AccessLogs) -> Result<Self, LogError> {
        let target = match &log.sink {
            config::AccessLogSink::Stdout => LogTarget::Stdout,
            config::AccessLogSink::Stderr => LogTarget::Stderr,
            config::AccessLogSink::File(path) => LogTarget::from_path(path),
        };
        let sink = sinks
            .open(&target)
            .map_err(|source| LogError::Open { path: format!("{target:?}"), source })?;
        let format = compile(&log.format)?;
        Ok(Self { format, sink, filter: log.filter.clone() })
    }

    /// Writes a line when the log's filter takes the record. Never waits.
    pub(crate) fn log(&self, record: &AccessRecord<'_>, facts: FilterFacts) {
        if self.filter.as_ref().is_none_or(|filter| takes(filter, record, facts)) {
            self.sink.log(&self.format, record);
        }
    }
}

/// Compiles a format of lines or of bodies.
///
/// # Errors
/// When an operator is unknown or malformed.
pub(crate) fn compile(format: &LogFormat) -> Result<AccessLogFormat, FormatError> {
    match format {
        LogFormat::Default => AccessLogFormat::text(ENVOY_TEXT),
        LogFormat::Text(text) => AccessLogFormat::text(text),
        LogFormat::Json { fields, omit_empty } => {
            let pairs =
                fields.iter().map(|(key, format)| (key.clone(), Value::from(format.as_str())));
            let format = AccessLogFormat::json(&Value::Object(pairs.collect()))?;
            Ok(if *omit_empty { format.omitting_empty() } else { format })
        }
    }
}

/// Whether a filter takes a record.
pub(crate) fn takes(
    filter: &AccessLogFilter,
    record: &AccessRecord<'_>,
    facts: FilterFacts,
) -> bool {
    match filter {
        AccessLogFilter::Status(comparison) => {
            compare(comparison.value, u64::from(record.response_code.unwrap_or(0)))
        }
        AccessLogFilter::DurationMs(comparison) => {
            let took = record.duration.map_or(0, |took| took.as_millis());
            compare(comparison.value, u64::try_from(took).unwrap_or(u64::MAX))
        }
        AccessLogFilter::ResponseFlags(wanted) if wanted.is_empty() => !record.flags.is_empty(),
        AccessLogFilter::ResponseFlags(wanted) => {
            let shown = record.flags.to_string();
            shown.split(',').any(|flag| wanted.iter().any(|wanted| wanted == flag))
        }
        AccessLogFilter::NotHealthCheck => !facts.health_check,
        AccessLogFilter::Header(condition) => {
            let name = condition.name.as_str();
            let headers: iako_traffic::HeaderList = record
                .request_headers
                .first_value(name)
                .map(|value| (name, String::from_utf8_lossy(value).into_owned()))
                .into_iter()
                .collect();
            iako_traffic::response_header_matches(condition, &headers)
        }
        AccessLogFilter::Sample(sample) => sample.share.value.takes(facts.draw),
        AccessLogFilter::GrpcStatus { statuses, exclude } => {
            facts.grpc_status.is_some_and(|status| statuses.contains(&status)) != *exclude
        }
        AccessLogFilter::And(all) => all.iter().all(|filter| takes(filter, record, facts)),
        AccessLogFilter::Or(any) => any.iter().any(|filter| takes(filter, record, facts)),
    }
}

fn compare(comparison: LogComparison, value: u64) -> bool {
    match comparison {
        LogComparison::Equal(wanted) => value == u64::from(wanted),
        LogComparison::AtLeast(wanted) => value >= u64::from(wanted),
        LogComparison::AtMost(wanted) => value <= u64::from(wanted),
        LogComparison::NotEqual(wanted) => value != u64::from(wanted),
    }
}
