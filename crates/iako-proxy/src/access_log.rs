//! Access logs as the configuration asks for them, compiled for the path.

mod client;
mod entry;
mod otel;
mod stream;

use std::cell::RefCell;
use std::sync::Arc;

use iako_cel::Options;
use iako_proxy_config::{
    self as config, AccessLogFilter, GrpcLogFields, LogComparison, LogDraw, LogFormat, LogSample,
    LogStreamSettings,
};
use iako_rt::Rng;
use iako_telemetry::{
    AccessLogFormat, AccessLogSink, AccessRecord, Counter, LogTarget, StatsScope,
    access_log::{ENVOY_TEXT, FormatError, further::MetadataOf, grpc_code},
    request_id,
    trace::TraceReason,
};
use iako_traffic::value_matches;
use serde_json::Value;

use crate::shared::Shared;
use crate::worker;

pub(crate) use client::ClientSide;
use otel::Records;
pub(crate) use stream::LogStreams;
use stream::StreamSettings;

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
    target: Target,
    filter: Option<AccessLogFilter>,
}

/// Where what is written goes.
#[derive(Debug)]
enum Target {
    /// Lines, to a file.
    Lines(AccessLogFormat, Arc<AccessLogSink>),
    /// Entries, to a service.
    Entries(Box<Entries>),
    /// Records, to a collector.
    Records(Box<Records>, LogCounters),
}

#[derive(Debug)]
struct Entries {
    stream: Arc<LogStreamSettings>,
    fields: GrpcLogFields,
    counters: LogCounters,
}

/// What is counted of all entries to services.
#[derive(Clone, Debug)]
pub(crate) struct LogCounters {
    pub(crate) written: Counter,
    pub(crate) dropped: Counter,
}

/// What filters look at besides the record.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FilterFacts {
    /// A random number, even over all of `u64`.
    pub(crate) draw: u64,
    /// Whether the request is a health check.
    pub(crate) health_check: bool,
    /// Whether requests are traced here.
    pub(crate) traced: bool,
}

impl AccessLogger {
    /// Opens the logs of a listener, HTTP connection manager or TCP proxy.
    ///
    /// # Errors
    /// When a format or file is not usable.
    pub(crate) fn open_all(
        logs: &[config::AccessLog],
        shared: &Shared,
    ) -> Result<Vec<Self>, LogError> {
        logs.iter().map(|log| Self::open(log, shared)).collect()
    }

    fn open(log: &config::AccessLog, shared: &Shared) -> Result<Self, LogError> {
        let target = match &log.sink {
            config::AccessLogSink::Stdout => LogTarget::Stdout,
            config::AccessLogSink::Stderr => LogTarget::Stderr,
            config::AccessLogSink::File(path) => LogTarget::from_path(path),
            config::AccessLogSink::OpenTelemetry(otel) => {
                let scope = shared.stats.scope("access_logs.open_telemetry_access_log");
                let scope = match otel.stat_prefix.trim_end_matches('.') {
                    "" => scope,
                    prefix => scope.part(prefix),
                };
                let counters = LogCounters::new(&scope);
                let target = Target::Records(Box::new(Records::compile(otel)?), counters);
                return Ok(Self { target, filter: log.filter.clone() });
            }
            config::AccessLogSink::Grpc(grpc) => {
                let scope = shared.stats.scope("access_logs.grpc_access_log");
                let entries = Entries {
                    stream: Arc::new(grpc.stream.clone()),
                    fields: grpc.fields.clone(),
                    counters: LogCounters::new(&scope),
                };
                let target = Target::Entries(Box::new(entries));
                return Ok(Self { target, filter: log.filter.clone() });
            }
        };
        let sink = shared
            .access_logs
            .open(&target)
            .map_err(|source| LogError::Open { path: format!("{target:?}"), source })?;
        let format = compile(&log.format)?;
        Ok(Self { target: Target::Lines(format, sink), filter: log.filter.clone() })
    }

    /// Whether it tells every endpoint that was tried.
    pub(crate) fn tells_tries(&self) -> bool {
        match &self.target {
            Target::Lines(format, _) => format.tells_tries(),
            Target::Entries(_) => false,
            Target::Records(records, _) => records.tells_tries(),
        }
    }

    /// Writes a line when the log's filter takes the record. Never waits.
    pub(crate) fn log(&self, record: &AccessRecord<'_>, facts: FilterFacts) {
        if !self.filter.as_ref().is_none_or(|filter| takes(filter, record, facts)) {
            return;
        }
        match &self.target {
            Target::Lines(format, sink) => sink.log(format, record),
            Target::Entries(entries) => entries.leave(record),
            Target::Records(records, counters) => {
                let settings = StreamSettings::Records(Arc::clone(&records.stream));
                leave(&settings, counters, || records.encode(record));
            }
        }
    }
}

impl Entries {
    /// Leaves an entry with this thread's worker.
    fn leave(&self, record: &AccessRecord<'_>) {
        let settings = StreamSettings::Entries(Arc::clone(&self.stream));
        leave(&settings, &self.counters, || entry::encode(record, self.stream.kind, &self.fields));
    }
}

/// Leaves bytes with this thread's worker.
fn leave(settings: &StreamSettings, counters: &LogCounters, encode: impl FnOnce() -> Vec<u8>) {
    let Some(worker) = worker::current() else { return counters.dropped.inc() };
    worker.log_streams.push(&worker, settings, counters, encode());
}

impl LogCounters {
    fn new(scope: &StatsScope) -> Self {
        Self { written: scope.counter("logs_written"), dropped: scope.counter("logs_dropped") }
    }
}

/// Compiles a format of lines or of bodies.
///
/// # Errors
/// When an operator is unknown or malformed.
pub(crate) fn compile(format: &LogFormat) -> Result<AccessLogFormat, FormatError> {
    compile_with(format, Options::default())
}

/// The same, where expressions may call more than they otherwise may.
fn compile_with(format: &LogFormat, options: Options) -> Result<AccessLogFormat, FormatError> {
    match format {
        LogFormat::Default => AccessLogFormat::text(ENVOY_TEXT),
        LogFormat::Text(text) => AccessLogFormat::text_with(text, options),
        LogFormat::TextOmittingEmpty(text) => {
            AccessLogFormat::text_with(text, options).map(AccessLogFormat::omitting_empty)
        }
        LogFormat::Json(json) => {
            let fields = Value::Object(json.fields.clone());
            let format = AccessLogFormat::json_with(&fields, options)?;
            Ok(if json.omit_empty { format.omitting_empty() } else { format })
        }
        LogFormat::Calling(format, options) => compile_with(format, *options),
    }
}

/// A name that nothing else has.
pub(crate) fn unique_id() -> String {
    thread_local! {
        static RNG: RefCell<Rng> = RefCell::new(Rng::from_system());
    }
    RNG.with_borrow_mut(|rng| {
        let halves = [rng.next_u64(), rng.next_u64()].map(u128::from);
        request_id::uuid(halves[0] << 64 | halves[1])
    })
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
        AccessLogFilter::Expression(expression) => expression.is_met(record),
        AccessLogFilter::Traceable => {
            facts.traced
                && request_id_of(record).map(request_id::trace_reason) == Some(TraceReason::Forced)
        }
        AccessLogFilter::Metadata { condition, pass_absent } => {
            let Some(condition) = condition else { return *pass_absent };
            let found = record.further.metadata(MetadataOf::Dynamic, &condition.filter);
            let mut path = condition.path.iter();
            let value = found.as_deref().zip(path.next()).and_then(|(found, first)| {
                path.try_fold(found.get(first)?, |value, key| value.get(key))
            });
            value.map_or(*pass_absent, |value| value_matches(&condition.value, Some(value)))
        }
        AccessLogFilter::LogType { types, exclude } => {
            types.contains(&record.log_type.number()) != *exclude
        }
        AccessLogFilter::Sample(sample) => is_sampled(sample, record, facts.draw),
        AccessLogFilter::GrpcStatus { statuses, exclude } => {
            // What is unknown counts as `Unknown`.
            let status = grpc_code(record).unwrap_or(2);
            statuses.iter().any(|one| u64::from(*one) == status) != *exclude
        }
        AccessLogFilter::And(all) => all.iter().all(|filter| takes(filter, record, facts)),
        AccessLogFilter::Or(any) => any.iter().any(|filter| takes(filter, record, facts)),
    }
}

fn request_id_of<'a>(record: &'a AccessRecord<'_>) -> Option<&'a str> {
    std::str::from_utf8(record.request_headers.first_value("x-request-id")?).ok()
}

/// Source: Envoy `RuntimeFilter::evaluate`: the first eight digits of the request id, by modulo.
fn is_sampled(sample: &LogSample, record: &AccessRecord<'_>, draw: u64) -> bool {
    let of_id = || u64::from_str_radix(request_id_of(record)?.get(..8)?, 16).ok();
    let draw = match sample.draw {
        LogDraw::Independent => draw,
        LogDraw::RequestId => of_id().unwrap_or(draw),
    };
    let parts = u64::from(sample.parts.parts());
    let taken = u64::from(sample.share.value.parts_per_million()).saturating_mul(parts) / 1_000_000;
    draw % parts.max(1) < taken
}

fn compare(comparison: LogComparison, value: u64) -> bool {
    match comparison {
        LogComparison::Equal(wanted) => value == u64::from(wanted),
        LogComparison::AtLeast(wanted) => value >= u64::from(wanted),
        LogComparison::AtMost(wanted) => value <= u64::from(wanted),
        LogComparison::NotEqual(wanted) => value != u64::from(wanted),
    }
}
