//! Who gets spans, and how traces travel in headers.

use std::time::Duration;

use iako_types::Fraction;

use crate::{GrpcService, HeaderValueOption, HttpUri};

/// Who gets spans. Source: `envoy.config.trace.v3.Tracing.Http`.
#[derive(Debug, Clone, PartialEq)]
pub enum TracingProvider {
    /// Source: `envoy.config.trace.v3.ZipkinConfig`.
    Zipkin(ZipkinTracer),
    /// Source: `envoy.config.trace.v3.OpenTelemetryConfig`.
    OpenTelemetry(OpenTelemetryTracer),
    /// Source: `envoy.config.trace.v3.DatadogConfig`.
    Datadog(DatadogTracer),
}

/// An HTTP service that takes spans. Source: `envoy.config.core.v3.HttpService`, or the fields of
/// older forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanCollector {
    /// Its cluster.
    pub cluster: String,
    /// The host of requests.
    pub host: String,
    /// Path and query of requests.
    pub path: String,
    /// Longest time of one request; the provider's own when absent.
    pub timeout: Option<Duration>,
    /// Further headers of requests.
    pub headers: Vec<HeaderValueOption>,
}

impl SpanCollector {
    /// A collector at an address, which is a path alone or a whole URL.
    #[must_use]
    pub fn at(uri: &HttpUri, headers: Vec<HeaderValueOption>) -> Self {
        let (host, path) = match uri.uri.split_once("://") {
            Some((_, rest)) => {
                let at = rest.find('/').unwrap_or(rest.len());
                rest.split_at_checked(at).unwrap_or((rest, ""))
            }
            None if uri.uri.starts_with('/') => ("", uri.uri.as_str()),
            None => {
                let at = uri.uri.find('/').unwrap_or(uri.uri.len());
                uri.uri.split_at_checked(at).unwrap_or(("", uri.uri.as_str()))
            }
        };
        let or = |text: &str, other: &str| if text.is_empty() { other } else { text }.to_owned();
        let timeout = (!uri.timeout.is_zero()).then_some(uri.timeout);
        Self {
            host: or(host, &uri.cluster),
            path: or(path, "/"),
            cluster: uri.cluster.clone(),
            timeout,
            headers,
        }
    }
}

/// When spans are sent. Source: runtime keys `tracing.<provider>.min_flush_spans`,
/// `tracing.<provider>.flush_interval_ms`, `tracing.zipkin.request_timeout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanFlush {
    /// As soon as so many wait in a worker. Envoy default: 5.
    pub spans_min: u32,
    /// And after this, however few there are. Envoy default: 5 s.
    pub interval: Duration,
    /// Longest time of one request to the collector. Envoy default: 5 s.
    pub timeout: Duration,
}

impl Default for SpanFlush {
    fn default() -> Self {
        let time = Duration::from_secs(5);
        Self { spans_min: 5, interval: time, timeout: time }
    }
}

/// Spans in Zipkin's format, and B3 headers. Source: `envoy.config.trace.v3.ZipkinConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct ZipkinTracer {
    /// Where spans go.
    pub collector: SpanCollector,
    /// How they are written.
    pub format: ZipkinFormat,
    /// Whether traces that begin here have ids of 128 bits, in place of 64. Envoy default: false.
    pub long_ids: bool,
    /// Whether a server's span has the id of its client's. Envoy default: true.
    pub shares_span: bool,
    /// Whether this proxy is a hop of its own. Source: `split_spans_for_request`. Envoy default: false.
    pub splits_spans: bool,
    /// Whether `traceparent` is read and written beside B3. Source: `trace_context_option`. Envoy
    /// default: false.
    pub with_w3c: bool,
    /// Whether new ids begin with the time. Source: `timestamp_trace_ids`. Envoy default: false.
    pub timed_ids: bool,
    /// When spans are sent.
    pub flush: SpanFlush,
}

/// How spans of Zipkin are written. Source: `ZipkinConfig.CollectorEndpointVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ZipkinFormat {
    /// `HTTP_JSON`.
    Json,
    /// `HTTP_PROTO`.
    Proto,
}

/// Spans in OpenTelemetry's format, and W3C headers.
/// Source: `envoy.config.trace.v3.OpenTelemetryConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenTelemetryTracer {
    /// Where spans go; nowhere when absent.
    pub exporter: Option<OtlpExporter>,
    /// The name of the service. Envoy default: `unknown_service:envoy`.
    pub service_name: String,
    /// What further says who the service is, in order.
    pub detectors: Vec<ResourceDetector>,
    /// Decides in place of the request id; none when absent.
    pub sampler: Option<TraceSampler>,
    /// Spans that may wait; further ones are dropped. Source: `max_cache_size`. Envoy default: 1024.
    pub spans_max: u32,
    /// Whether the library is named. Source: `set_telemetry_sdk_resource_attributes`. Envoy default:
    /// true.
    pub names_library: bool,
    /// Whether the service is named. Source: `set_service_name_resource_attribute`. Envoy default: true.
    pub names_service: bool,
    /// Whether the scope is named. Source: `set_instrumentation_scope`. Envoy default: true.
    pub names_scope: bool,
    /// When spans are sent.
    pub flush: SpanFlush,
}

/// A collector of OpenTelemetry's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OtlpExporter {
    /// By gRPC.
    Grpc(GrpcService),
    /// By HTTP.
    Http(SpanCollector),
}

/// What says who a service is. Source: `envoy.extensions.tracers.opentelemetry.resource_detectors.v3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceDetector {
    /// The variable `OTEL_RESOURCE_ATTRIBUTES`.
    Environment,
    /// These.
    Static(Vec<(String, String)>),
}

/// Decides whether a trace is kept. Source: `envoy.extensions.tracers.opentelemetry.samplers.v3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceSampler {
    /// All.
    AlwaysOn,
    /// A share, by the trace's id.
    Ratio(Fraction),
    /// As the caller decided; this where nobody did.
    ParentBased(Box<Self>),
}

/// Spans for Datadog's agent, and its headers. Source: `envoy.config.trace.v3.DatadogConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct DatadogTracer {
    /// Where spans go.
    pub collector: SpanCollector,
    /// The name of the service.
    pub service_name: String,
    /// When spans are sent.
    pub flush: SpanFlush,
}
