//! Which requests and connections are written down, where and how.

use iako_types::{FractionDenominator, Percent};

use crate::{HeaderMatch, Keyed};

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
}

/// What a log line holds. Source: `envoy.config.core.v3.SubstitutionFormatString`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Envoy's own default text.
    #[default]
    Default,
    /// Text with `%OPERATOR%`s; its line end is part of the text.
    Text(String),
    /// One JSON object a line; each value is a text with `%OPERATOR%`s, and a value that is one
    /// operator alone keeps the operator's type.
    Json {
        /// Keys in the order in which they are written, with their formats.
        fields: Vec<(String, String)>,
        /// Whether a key without a value is left out. Envoy default: false, `null` is written.
        omit_empty: bool,
    },
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
    /// A random share. Source: `envoy.config.accesslog.v3.RuntimeFilter`.
    Sample(LogSample),
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
}

impl LogSample {
    /// A share that nothing can change.
    #[must_use]
    pub const fn fixed(share: Percent) -> Self {
        Self { share: Keyed::fixed(share), parts: FractionDenominator::Hundred }
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
