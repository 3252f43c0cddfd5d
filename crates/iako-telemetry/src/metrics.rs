//! Istio's standard metrics: one table of names, one recorder a worker, one text for Prometheus.
//!
//! Source: Istio "standard metrics". The names, labels and their values are a contract with every
//! dashboard and alert that users of Istio have; a new metric is a line in [`METRICS`].

mod family;
mod recorder;
mod rules;
mod series;
mod summary;

pub use recorder::{MeshMetrics, MetricsSettings, WorkerMetrics};
pub use rules::MetricRule;
pub use series::{HttpOutcome, Labels, RequestSample, TcpSeries};
pub use summary::ServiceSummary;

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts of values per bucket, with their sum.
    Histogram,
}

impl MetricKind {
    /// The word in a `# TYPE` line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Which labels the series of a metric carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelSet {
    /// All of [`LABELS`].
    Http,
    /// [`LABELS`] without those that only an HTTP response has.
    Tcp,
    /// Labels of its own, named in the metric's meaning.
    Own,
}

/// One metric, as operators see it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name in the exposition.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: MetricKind,
    /// Unit of the value.
    pub unit: &'static str,
    /// Which labels it has.
    pub labels: LabelSet,
    /// What it counts.
    pub meaning: &'static str,
}

const fn metric(
    name: &'static str,
    kind: MetricKind,
    unit: &'static str,
    labels: LabelSet,
    meaning: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, meaning }
}

pub(crate) const REQUESTS: Metric = metric(
    "istio_requests_total",
    MetricKind::Counter,
    "requests",
    LabelSet::Http,
    "HTTP and gRPC requests that ended, whatever their outcome",
);
pub(crate) const REQUEST_DURATION: Metric = metric(
    "istio_request_duration_milliseconds",
    MetricKind::Histogram,
    "milliseconds",
    LabelSet::Http,
    "from the first byte of the request to the last byte of the response",
);
pub(crate) const REQUEST_BYTES: Metric = metric(
    "istio_request_bytes",
    MetricKind::Histogram,
    "bytes",
    LabelSet::Http,
    "size of the request, body included",
);
pub(crate) const RESPONSE_BYTES: Metric = metric(
    "istio_response_bytes",
    MetricKind::Histogram,
    "bytes",
    LabelSet::Http,
    "size of the response, body included",
);
pub(crate) const REQUEST_MESSAGES: Metric = metric(
    "istio_request_messages_total",
    MetricKind::Counter,
    "messages",
    LabelSet::Http,
    "gRPC messages that the client sent",
);
pub(crate) const RESPONSE_MESSAGES: Metric = metric(
    "istio_response_messages_total",
    MetricKind::Counter,
    "messages",
    LabelSet::Http,
    "gRPC messages that the server sent",
);
pub(crate) const TCP_OPENED: Metric = metric(
    "istio_tcp_connections_opened_total",
    MetricKind::Counter,
    "connections",
    LabelSet::Tcp,
    "TCP connections opened",
);
pub(crate) const TCP_CLOSED: Metric = metric(
    "istio_tcp_connections_closed_total",
    MetricKind::Counter,
    "connections",
    LabelSet::Tcp,
    "TCP connections closed",
);
pub(crate) const TCP_SENT: Metric = metric(
    "istio_tcp_sent_bytes_total",
    MetricKind::Counter,
    "bytes",
    LabelSet::Tcp,
    "bytes sent to the client of a TCP connection",
);
pub(crate) const TCP_RECEIVED: Metric = metric(
    "istio_tcp_received_bytes_total",
    MetricKind::Counter,
    "bytes",
    LabelSet::Tcp,
    "bytes received from the client of a TCP connection",
);
pub(crate) const BUILD: Metric = metric(
    "istio_build",
    MetricKind::Gauge,
    "1",
    LabelSet::Own,
    "which version runs: labels `component` and `tag`",
);
pub(crate) const OVERFLOW: Metric = metric(
    "iako_metric_series_overflow_total",
    MetricKind::Counter,
    "records",
    LabelSet::Own,
    "requests and connections counted under `unknown` labels because the bound on series was \
     reached; no labels",
);

/// Every metric with Istio's labels, in the order of the exposition.
pub static METRICS: &[Metric] = &[
    REQUESTS,
    REQUEST_DURATION,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    REQUEST_MESSAGES,
    RESPONSE_MESSAGES,
    TCP_OPENED,
    TCP_CLOSED,
    TCP_SENT,
    TCP_RECEIVED,
    BUILD,
    OVERFLOW,
];

/// Every label of the standard metrics, in the order of the exposition, with its meaning.
pub static LABELS: &[(&str, &str)] = &[
    ("reporter", "`source` at the client and at gateways, `destination` at the server"),
    ("source_workload", "workload that called"),
    ("source_canonical_service", "its canonical service name"),
    ("source_canonical_revision", "its canonical revision"),
    ("source_workload_namespace", "its namespace"),
    ("source_principal", "its proven SPIFFE identity"),
    ("source_app", "its label `app`"),
    ("source_version", "its label `version`"),
    ("source_cluster", "the Kubernetes cluster it runs in"),
    ("destination_workload", "workload that answered"),
    ("destination_workload_namespace", "its namespace"),
    ("destination_principal", "its proven SPIFFE identity"),
    ("destination_app", "its label `app`"),
    ("destination_version", "its label `version`"),
    ("destination_service", "host of the service that was asked"),
    ("destination_canonical_service", "canonical service name of the workload that answered"),
    ("destination_canonical_revision", "its canonical revision"),
    ("destination_service_name", "short name of the service"),
    ("destination_service_namespace", "namespace of the service"),
    ("destination_cluster", "the Kubernetes cluster of the workload that answered"),
    ("request_protocol", "`http`, `grpc` or `tcp`"),
    ("response_code", "HTTP status, `0` when no response was sent; HTTP only"),
    ("grpc_response_status", "gRPC status number, empty without gRPC; HTTP only"),
    ("response_flags", "why the proxy interfered, `-` when it did not"),
    (
        "connection_security_policy",
        "`mutual_tls` or `none` at the destination, `unknown` at the source",
    ),
];

/// The page `docs/metrics.md`: every name, unit and label of this crate's tables.
#[must_use]
pub fn metrics_page() -> String {
    let mut page = String::from(
        "# Metrics and statistics\n\n\
         <!-- generated by `cargo xtask gen` from crates/iako-telemetry; do not edit -->\n\n\
         A proxy serves these at `/stats/prometheus` on port 15090 and on its admin port.\n\n\
         ## Standard metrics\n\n\
         The names and labels are Istio's, so existing dashboards and alerts work unchanged.\n\n\
         | metric | kind | unit | labels | what it counts |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let labels = match metric.labels {
            LabelSet::Http => "all",
            LabelSet::Tcp => "all but those for HTTP only",
            LabelSet::Own => "its own",
        };
        page.push_str(&format!(
            "| `{}` | {} | {} | {labels} | {} |\n",
            metric.name,
            metric.kind.name(),
            metric.unit,
            metric.meaning
        ));
    }
    let bounds = crate::histogram::EXPOSED_BOUNDS.map(|bound| bound.to_string()).join(", ");
    page.push_str(&format!(
        "\nHistograms have the upper bounds {bounds}.\n\n\
         ### Labels\n\nA fact that is not known is shown as `unknown`.\n\n\
         | label | meaning |\n|---|---|\n",
    ));
    for (name, meaning) in LABELS {
        page.push_str(&format!("| `{name}` | {meaning} |\n"));
    }
    page.push_str(
        "\n## Proxy statistics\n\n\
         The names are Envoy's. `/stats` shows them as written here; `/stats/prometheus` shows them \
         with the prefix `envoy_`, the variable part as a label.\n\n\
         | statistic | Prometheus name | kind | what it counts |\n|---|---|---|---|\n",
    );
    for stat in crate::stats::stats() {
        page.push_str(&stat.row());
    }
    page
}
