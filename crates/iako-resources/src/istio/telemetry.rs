//! `Telemetry`: what proxies report.

mod parse;

use iako_types::Percent;

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
}

/// Source: `istio.telemetry.v1.Metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Names of extension providers; none is the default provider.
    pub providers: Vec<String>,
    /// Changes, in order.
    pub overrides: Vec<MetricsOverride>,
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
}
