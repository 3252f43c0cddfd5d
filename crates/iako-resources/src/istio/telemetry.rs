//! `Telemetry`: what proxies report.

mod parse;

use std::time::Duration;

use iako_types::Percent;

use super::TargetRef;
use crate::Labels;

pub(crate) use parse::parse;

/// What the workloads it selects report. Source: `istio.telemetry.v1.Telemetry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// Labels of the workloads; `None` is the namespace, or the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// Traces; only the first entry of the document counts.
    pub tracing: Option<Tracing>,
    /// Metrics; later entries win.
    pub metrics: Vec<Metrics>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
    /// What it is for instead of workloads by label. Objects with targets are not applied yet.
    pub targets: Vec<TargetRef>,
}

/// Which side of an exchange reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TelemetryMode {
    /// Both.
    #[default]
    ClientAndServer,
    /// The proxy of the client, and gateways.
    Client,
    /// The proxy of the server.
    Server,
}

/// Source: `istio.telemetry.v1.Tracing`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracing {
    /// Names of extension providers.
    pub providers: Vec<String>,
    /// Which side.
    pub mode: TelemetryMode,
    /// Share of traces that are kept. Istio's default: 1 %.
    pub random_sampling: Option<Percent>,
    /// Spans are not sent; the trace context is passed on.
    pub disable_span_reporting: Option<bool>,
    /// The trace context is not passed on.
    pub disable_context_propagation: bool,
    /// Further tags of spans, by name.
    pub custom_tags: Vec<(String, CustomTag)>,
    /// The decision to sample is written into the request's id. Istio's default: yes.
    pub use_request_id_for_sampling: Option<bool>,
    /// Spans have Istio's tags. Istio's default: yes.
    pub enable_istio_tags: Option<bool>,
}

/// Where the value of a tag comes from. Source: `istio.telemetry.v1.Tracing.CustomTag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomTag {
    /// This text.
    Literal(String),
    /// A variable of the proxy's environment.
    Environment {
        /// Its name.
        name: String,
        /// The value without it.
        default: Option<String>,
    },
    /// A header of the request.
    Header {
        /// Its name.
        name: String,
        /// The value without it.
        default: Option<String>,
    },
    /// A format string of access logs.
    Format(String),
}

/// Source: `istio.telemetry.v1.Metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Names of extension providers; none is the default provider.
    pub providers: Vec<String>,
    /// Changes, in order.
    pub overrides: Vec<MetricsOverride>,
    /// How often metrics of open connections are written. Istio's default: 5 s.
    pub reporting_interval: Option<Duration>,
}

/// Source: `istio.telemetry.v1.MetricsOverrides`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsOverride {
    /// Which metric.
    pub metric: MetricSelector,
    /// Which side.
    pub mode: TelemetryMode,
    /// Not reported at all.
    pub disabled: Option<bool>,
    /// Labels that are left out.
    pub removed_tags: Vec<String>,
    /// Labels that are added or replaced, each with an expression. Not applied yet.
    pub set_tags: Vec<(String, String)>,
}

/// Which metrics an override is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricSelector {
    /// Every one.
    All,
    /// One of Istio's, by its Prometheus name, such as `istio_requests_total`.
    Standard(&'static str),
    /// One by its own name.
    Custom(String),
}

/// Source: `istio.telemetry.v1.AccessLogging`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessLogging {
    /// Names of extension providers; none is the default provider.
    pub providers: Vec<String>,
    /// Which side.
    pub mode: TelemetryMode,
    /// Switched off.
    pub disabled: Option<bool>,
    /// An expression; only what it holds for is logged. Not applied yet.
    pub filter: Option<String>,
}
