//! Spans on their way to collectors: gathered by each worker, sent in batches beside the requests.

mod export;
mod outbox;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};

use iako_proxy_config::{
    OpenTelemetryTracer, ResourceDetector, Span, SpanFlush, SpanOrigin, TracingProvider,
    ZipkinFormat,
};
use iako_telemetry::trace::Carrier;
use iako_telemetry::{Counter, StatsRegistry};
use parking_lot::Mutex;

use crate::callout::own_address;
use crate::environment;
use crate::shared::LocalNode;
use crate::worker::Worker;

pub(crate) use outbox::{Outboxes, SPANS_MAX};

/// How the library calls itself in `telemetry.sdk.name` and as a scope.
const LIBRARY: &str = "iako";
/// Where the environment says who a service is. Source: OpenTelemetry's specification.
const RESOURCE_VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// One collector, and what it is told about this proxy. Listeners with the same settings share one.
#[derive(Debug)]
pub(crate) struct Tracer {
    pub(crate) provider: TracingProvider,
    origin: SpanOrigin,
    stats: TracerStats,
}

/// `tracing.<provider>.…`; the names are documented in `iako-telemetry`'s table.
#[derive(Debug)]
struct TracerStats {
    spans_sent: Counter,
    spans_dropped: Counter,
    timer_flushed: Counter,
    reports_sent: Counter,
    reports_dropped: Counter,
    reports_failed: Counter,
    no_cluster: Counter,
}

impl TracerStats {
    fn new(provider: &str, stats: &StatsRegistry) -> Self {
        let scope = stats.scope(&format!("tracing.{provider}"));
        Self {
            spans_sent: scope.counter("spans_sent"),
            spans_dropped: scope.counter("spans_dropped"),
            timer_flushed: scope.counter("timer_flushed"),
            reports_sent: scope.counter("reports_sent"),
            reports_dropped: scope.counter("reports_dropped"),
            reports_failed: scope.counter("reports_failed"),
            no_cluster: scope.counter("reports_skipped_no_cluster"),
        }
    }
}

impl Tracer {
    fn new(provider: &TracingProvider, node: &LocalNode, stats: &StatsRegistry) -> Self {
        let (name, origin) = match provider {
            TracingProvider::Zipkin(_) => {
                let service = node.node.cluster.clone();
                let address = Some(SocketAddr::new(own_address(), 0));
                ("zipkin", SpanOrigin { service, address, ..SpanOrigin::default() })
            }
            TracingProvider::OpenTelemetry(tracer) => ("opentelemetry", resource(tracer)),
            TracingProvider::Datadog(tracer) => {
                let service = tracer.service_name.clone();
                ("datadog", SpanOrigin { service, ..SpanOrigin::default() })
            }
        };
        Self { provider: provider.clone(), origin, stats: TracerStats::new(name, stats) }
    }

    /// Which headers carry its traces.
    pub(crate) const fn carrier(&self) -> Carrier {
        match &self.provider {
            TracingProvider::Zipkin(tracer) if tracer.with_w3c => Carrier::B3AndW3c,
            TracingProvider::Zipkin(_) => Carrier::B3,
            TracingProvider::OpenTelemetry(_) => Carrier::W3c,
            TracingProvider::Datadog(_) => Carrier::Datadog,
        }
    }

    const fn flush(&self) -> SpanFlush {
        match &self.provider {
            TracingProvider::Zipkin(tracer) => tracer.flush,
            TracingProvider::OpenTelemetry(tracer) => tracer.flush,
            TracingProvider::Datadog(tracer) => tracer.flush,
        }
    }

    /// Spans that may wait in a worker.
    fn spans_max(&self) -> usize {
        match &self.provider {
            TracingProvider::OpenTelemetry(OpenTelemetryTracer { spans_max, .. }) => {
                usize::try_from(*spans_max).unwrap_or(SPANS_MAX).min(SPANS_MAX)
            }
            TracingProvider::Zipkin(_) | TracingProvider::Datadog(_) => SPANS_MAX,
        }
    }

    /// Hands a span over; it is sent when there are enough, or soon. Dropped and counted when too many
    /// wait.
    pub(crate) fn report(self: &Arc<Self>, worker: &Rc<Worker>, span: Span) {
        worker.outboxes.push(worker, self, span);
    }

    /// The spans as the collector reads them, and the media type of that.
    fn encoded(&self, spans: &[Span]) -> (Vec<u8>, &'static str) {
        use iako_xds_codec::service::span;
        match &self.provider {
            TracingProvider::Zipkin(tracer) => match tracer.format {
                ZipkinFormat::Json => (span::zipkin_json(&self.origin, spans), "application/json"),
                ZipkinFormat::Proto => {
                    (span::zipkin_proto(&self.origin, spans), "application/x-protobuf")
                }
            },
            TracingProvider::OpenTelemetry(_) => {
                (span::otlp(&self.origin, spans), "application/x-protobuf")
            }
            TracingProvider::Datadog(_) => {
                (span::datadog(&self.origin, spans), "application/msgpack")
            }
        }
    }
}

/// Who a service is: what the proxy knows, then what each detector finds, later over earlier.
fn resource(tracer: &OpenTelemetryTracer) -> SpanOrigin {
    let mut attributes: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| {
        if let Some((_, old)) = attributes.iter_mut().find(|(known, _)| known == name) {
            value.clone_into(old);
        } else {
            attributes.push((name.to_owned(), value.to_owned()));
        }
    };
    if tracer.names_library {
        set("telemetry.sdk.name", LIBRARY);
        set("telemetry.sdk.language", "rust");
        set("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    }
    if tracer.names_service {
        set("service.name", &tracer.service_name);
    }
    for detector in &tracer.detectors {
        match detector {
            ResourceDetector::Environment => {
                let text = environment::variable(RESOURCE_VARIABLE).unwrap_or_default();
                for (name, value) in text.split(',').filter_map(|pair| pair.split_once('=')) {
                    set(name.trim(), value.trim());
                }
            }
            ResourceDetector::Static(facts) => {
                facts.iter().for_each(|(name, value)| set(name, value));
            }
        }
    }
    let scope = (LIBRARY.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    SpanOrigin {
        service: tracer.service_name.clone(),
        address: None,
        attributes,
        scope: tracer.names_scope.then_some(scope),
    }
}

/// The tracers of a process.
#[derive(Debug, Default)]
pub(crate) struct Tracers {
    known: Mutex<Vec<Weak<Tracer>>>,
    /// The provider of listeners that name none.
    general: OnceLock<Arc<TracingProvider>>,
}

impl Tracers {
    /// Remembers the provider of listeners that name none. Once, before there is a listener.
    pub(crate) fn set_general(&self, provider: Arc<TracingProvider>) {
        // A second one is of nobody's start.
        drop(self.general.set(provider));
    }

    /// The tracer of a provider, or of the general one; none where there is neither.
    pub(crate) fn of(
        &self,
        provider: Option<&TracingProvider>,
        node: &LocalNode,
        stats: &StatsRegistry,
    ) -> Option<Arc<Tracer>> {
        let provider = provider.or_else(|| self.general.get().map(|general| &**general))?;
        let mut known = self.known.lock();
        known.retain(|tracer| tracer.strong_count() > 0);
        let same = known.iter().filter_map(Weak::upgrade).find(|it| it.provider == *provider);
        if let Some(same) = same {
            return Some(same);
        }
        let tracer = Arc::new(Tracer::new(provider, node, stats));
        known.push(Arc::downgrade(&tracer));
        Some(tracer)
    }
}
