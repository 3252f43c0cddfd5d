//! What the mesh tells its operators: metrics, statistics, access logs, trace context.
//!
//! Duty: every name that an operator can see in a metric, a statistic or a log line stands in one
//! table here, and recording it costs a few relaxed atomic additions on the request path.
//!
//! Not here: when something is recorded (that is `iako-proxy`), how long a request took (the
//! caller measures; nothing in this crate reads a clock), the process's own diagnostics (those go
//! through `tracing`), and where metrics are served (the admin endpoint of the proxy).
//!
//! Where to start:
//! - [`MeshMetrics`] and [`WorkerMetrics`]: Istio's standard metrics, one recorder a worker.
//! - [`StatsRegistry`]: Envoy-style statistics behind handles, and their renderings.
//! - [`AccessLogFormat`], [`AccessRecord`], [`AccessLogs`]: from a finished exchange to a line.
//! - [`TraceContext`] and [`request_id`]: what is passed on so that traces and logs connect.
//! - [`WorkloadLabels`]: what is said about a workload, and how peers tell it to each other.
//!
//! Invariants: the number of metric series is bounded; no lock is held while a request is
//! recorded except on the first sight of a set of labels; a full log buffer drops lines and counts
//! them, it never makes a request wait.
//!
//! Tested by what operators notice: the exposition text, the log lines, the headers passed on.

pub mod access_log;
pub mod flags;
pub mod headers;
pub mod histogram;
pub mod labels;
pub mod metrics;
pub mod peer;
pub mod request_id;
pub mod shard;
pub mod stats;
pub mod trace;

pub use access_log::{AccessLogFormat, AccessLogSink, AccessLogs, AccessRecord, LogTarget};
pub use flags::{ResponseFlag, ResponseFlags};
pub use headers::HeaderLookup;
pub use labels::{
    Principal, Reporter, RequestProtocol, SecurityPolicy, ServiceLabels, WorkloadLabels,
};
pub use metrics::{
    HttpOutcome, Labels, MeshMetrics, MetricRule, MetricsSettings, RequestSample, ServiceSummary,
    TcpSeries, WorkerMetrics, metrics_page,
};
pub use shard::bind_worker;
pub use stats::{
    Counter, Gauge, Histogram, HistogramForm, NameCheck, StatisticsNow, StatsFormat, StatsKind,
    StatsQuery, StatsRegistry, StatsScope,
};
pub use trace::TraceContext;
