//! Tracing with everything.

use std::{sync::Arc, time::Duration};

use iako_proxy_config::*;
use iako_types::{Fraction, FractionDenominator};

const fn fraction(numerator: u32, denominator: FractionDenominator) -> Fraction {
    Fraction { numerator, denominator }
}

fn collector() -> SpanCollector {
    SpanCollector {
        cluster: "c".into(),
        host: "spans.test:9411".into(),
        path: "/api/v2/spans?a=1".into(),
        timeout: Some(Duration::from_secs(3)),
        headers: vec![HeaderValueOption {
            name: "x-token".parse().unwrap(),
            value: "t".into(),
            action: AppendAction::OverwriteOrAdd,
            keep_empty: false,
        }],
    }
}

fn zipkin() -> TracingProvider {
    TracingProvider::Zipkin(ZipkinTracer {
        collector: collector(),
        format: ZipkinFormat::Proto,
        long_ids: true,
        shares_span: false,
        splits_spans: true,
        with_w3c: true,
        timed_ids: true,
        flush: SpanFlush::default(),
    })
}

fn opentelemetry(exporter: Option<OtlpExporter>) -> TracingProvider {
    let share = fraction(7, FractionDenominator::TenThousand);
    TracingProvider::OpenTelemetry(OpenTelemetryTracer {
        exporter,
        service_name: "s".into(),
        detectors: vec![
            ResourceDetector::Environment,
            ResourceDetector::Static(vec![("a".into(), "1".into()), ("b".into(), "2".into())]),
        ],
        sampler: Some(TraceSampler::ParentBased(Box::new(TraceSampler::Ratio(share)))),
        spans_max: 77,
        names_library: false,
        names_service: false,
        names_scope: false,
        flush: SpanFlush::default(),
    })
}

/// Every provider.
pub(crate) fn providers() -> Vec<TracingProvider> {
    let service = GrpcService {
        cluster: "g".into(),
        timeout: Some(Duration::from_secs(1)),
        ..GrpcService::default()
    };
    let by_http = SpanCollector { host: "c".into(), timeout: None, ..collector() };
    vec![
        zipkin(),
        opentelemetry(None),
        opentelemetry(Some(OtlpExporter::Grpc(service))),
        opentelemetry(Some(OtlpExporter::Http(by_http))),
        TracingProvider::Datadog(DatadogTracer {
            collector: SpanCollector {
                cluster: "dd".into(),
                host: "agent".into(),
                path: "/v0.4/traces".into(),
                timeout: None,
                headers: Vec::new(),
            },
            service_name: "s".into(),
            flush: SpanFlush {
                spans_min: 1000,
                interval: Duration::from_secs(2),
                timeout: Duration::from_secs(2),
            },
        }),
    ]
}

pub(crate) fn tracing() -> Tracing {
    Tracing {
        sampling: TraceSampling {
            client: fraction(50, FractionDenominator::Hundred),
            random: fraction(123, FractionDenominator::TenThousand),
            overall: fraction(60, FractionDenominator::Hundred),
        },
        provider: Some(Arc::new(zipkin())),
        verbose: true,
        path_bytes_max: 10,
        tags: tags(),
        spawns_upstream: true,
        operation: "op %REQ(:PATH)%".into(),
        upstream_operation: "up".into(),
        propagates: false,
    }
}

/// Tags of every kind.
pub(crate) fn tags() -> Vec<CustomTag> {
    let of_metadata = |source| TagValue::Metadata {
        source,
        place: MetadataPlace { key: "k".into(), path: vec!["p".into()] },
        default: "d".into(),
    };
    let tag = |name: &str, value| CustomTag { name: name.into(), value };
    vec![
        tag("a", TagValue::Literal("1".into())),
        tag("b", TagValue::Environment { name: "HOME".into(), default: "d".into() }),
        tag("c", TagValue::Header { name: "x-c".parse().unwrap(), default: "d".into() }),
        tag("d", of_metadata(TagMetadata::Request)),
        tag("e", TagValue::Format("%PROTOCOL%".into())),
        tag("f", of_metadata(TagMetadata::Route)),
        tag("g", of_metadata(TagMetadata::Cluster)),
        tag("h", of_metadata(TagMetadata::Host)),
    ]
}
