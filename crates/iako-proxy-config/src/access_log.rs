//! Which requests and connections are written down, where and how.

mod otel;
mod service;

use std::time::Duration;

use iako_cel::{Expression, Options};
use iako_types::{FractionDenominator, Percent};
use serde_json::{Map, Value};

use crate::{HeaderMatch, Keyed, MetadataMatch};

pub use otel::{OtelLabels, OtelLog, OtelStreamSettings};
pub use service::{GrpcLog, GrpcLogFields, GrpcLogKind, LogStreamSettings};

/// One log. Source: `envoy.config.accesslog.v3.AccessLog`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// Where lines go.
    pub sink: AccessLogSink,
    /// What a line holds.
    pub format: LogFormat,
    /// Which requests are written; all when absent.
    pub filter: Option<AccessLogFilter>,
}

/// When lines are written besides the one at the end of a request.
/// Source: `HttpConnectionManager.HcmAccessLogOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HttpLogTimes {
    /// Again and again after this time; at least 1 ms. Envoy default: never.
    pub interval: Option<Duration>,
    /// When the request is there. Envoy default: false.
    pub on_start: bool,
    /// When a tunnel was made for the client. Envoy default: false.
    pub on_tunnel: bool,
}

impl HttpLogTimes {
    /// Whether there is one line at the end, and no other.
    #[must_use]
    pub const fn is_last_only(&self) -> bool {
        self.interval.is_none() && !self.on_start && !self.on_tunnel
    }
}

/// Where log lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogSink {
    /// Standard output. Source: `envoy.extensions.access_loggers.stream.v3.StdoutAccessLog`.
    Stdout,
    /// Standard error. Source: `envoy.extensions.access_loggers.stream.v3.StderrAccessLog`.
    Stderr,
    /// A file, appended to; `/dev/stdout` and `/dev/stderr` become the variants above.
    /// Source: `envoy.extensions.access_loggers.file.v3.FileAccessLog`.
    File(String),
    /// A gRPC service, which gets entries in place of lines.
    Grpc(Box<GrpcLog>),
    /// A collector of OpenTelemetry, which gets records in place of lines.
    OpenTelemetry(Box<OtelLog>),
}

/// What a log line holds. Source: `envoy.config.core.v3.SubstitutionFormatString`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Envoy's own default text.
    #[default]
    Default,
    /// Text with `%OPERATOR%`s; its line end is part of the text.
    Text(String),
    /// The same, where an operator without a value shows nothing in place of `-`. Source:
    /// `omit_empty_values`.
    TextOmittingEmpty(String),
    /// One JSON object a line; each text in it may hold `%OPERATOR%`s, and a value that is one
    /// operator alone keeps the operator's type.
    Json(JsonFormat),
    /// One of the others, whose expressions may call more than they otherwise may. Source:
    /// `envoy.extensions.formatter.cel.v3.Cel.cel_config`.
    Calling(Box<Self>, Options),
}

impl LogFormat {
    /// JSON of one level, with texts.
    #[must_use]
    pub fn json(fields: impl IntoIterator<Item = (String, String)>) -> Self {
        let fields = fields.into_iter().map(|(name, text)| (name, Value::from(text)));
        Self::Json(JsonFormat { fields: fields.collect(), ..JsonFormat::default() })
    }
}

/// A line of JSON. Source: `envoy.config.core.v3.SubstitutionFormatString.json_format`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonFormat {
    /// Names and their formats: texts with operators, nested objects and lists, and constants.
    pub fields: Map<String, Value>,
    /// Whether a name without a value is left out. Envoy default: false, `null` is written.
    pub omit_empty: bool,
    /// Whether names are sorted in every object. Envoy default: false.
    pub sort: bool,
}

/// Which requests are written. Source: `envoy.config.accesslog.v3.AccessLogFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogFilter {
    /// By response status.
    Status(Keyed<LogComparison>),
    /// By duration in milliseconds.
    DurationMs(Keyed<LogComparison>),
    /// Only those with one of these response flags (Envoy's short names); any flag when empty.
    ResponseFlags(Vec<String>),
    /// Only requests that are no health checks.
    NotHealthCheck,
    /// Only those whose header meets a condition.
    Header(HeaderMatch),
    /// Only those for which an expression is true.
    /// Source: `envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter`.
    Expression(Expression),
    /// Only requests that a service forces to be traced.
    /// Source: `envoy.config.accesslog.v3.TraceableFilter`.
    Traceable,
    /// A random share. Source: `envoy.config.accesslog.v3.RuntimeFilter`.
    Sample(LogSample),
    /// Only those for which filters left something. Source: `envoy.config.accesslog.v3.MetadataFilter`.
    Metadata {
        /// What it must be; nothing that is there meets no condition.
        condition: Option<MetadataMatch>,
        /// Whether requests pass for which nothing was left there. Envoy default: true.
        pass_absent: bool,
    },
    /// Only lines that are written for one of these reasons, or for all others when `exclude`.
    /// Source: `envoy.config.accesslog.v3.LogTypeFilter`.
    LogType {
        /// Numbers of `envoy.data.accesslog.v3.AccessLogType`.
        types: Vec<i32>,
        /// Whether the list names what is left out.
        exclude: bool,
    },
    /// Only gRPC responses with one of these status codes, or all others when `exclude`.
    GrpcStatus {
        /// gRPC status codes, 0 to 16.
        statuses: Vec<u32>,
        /// Whether the list names what is left out.
        exclude: bool,
    },
    /// All of these.
    And(Vec<Self>),
    /// One of these.
    Or(Vec<Self>),
}

/// A random share of the requests. Source: `envoy.config.accesslog.v3.RuntimeFilter`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSample {
    /// The share. A number of the runtime counts parts of the size below.
    pub share: Keyed<Percent>,
    /// The size of those parts.
    pub parts: FractionDenominator,
    /// What decides.
    pub draw: LogDraw,
}

/// What decides whether a request is in a random share.
/// Source: `envoy.config.accesslog.v3.RuntimeFilter.use_independent_randomness`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogDraw {
    /// The request id, so that all logs and proxies that see it decide alike; chance without one.
    #[default]
    RequestId,
    /// Chance alone.
    Independent,
}

impl LogSample {
    /// A share that nothing can change.
    #[must_use]
    pub const fn fixed(share: Percent) -> Self {
        Self {
            share: Keyed::fixed(share),
            parts: FractionDenominator::Hundred,
            draw: LogDraw::RequestId,
        }
    }
}

/// A comparison with a number. Source: `envoy.config.accesslog.v3.ComparisonFilter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogComparison {
    /// The same.
    Equal(u32),
    /// The same or more.
    AtLeast(u32),
    /// The same or less.
    AtMost(u32),
    /// Different.
    NotEqual(u32),
}
