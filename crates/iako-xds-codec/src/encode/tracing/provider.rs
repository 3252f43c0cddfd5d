//! Who gets spans.

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::trace::v3 as pb;
use iako_xds_api::envoy::extensions::tracers::opentelemetry as otel;
use otel::resource_detectors::v3::{
    EnvironmentResourceDetectorConfig, StaticConfigResourceDetectorConfig,
};
use otel::samplers::v3::{
    AlwaysOnSamplerConfig, ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig,
};

use crate::encode::{callout, header, wire};
use iako_proxy_config::{
    DatadogTracer, HttpUri, OpenTelemetryTracer, OtlpExporter, ResourceDetector, SpanCollector,
    TraceSampler, TracingProvider, ZipkinFormat, ZipkinTracer,
};

pub(super) fn provider(value: &TracingProvider) -> pb::tracing::Http {
    let (name, config) = match value {
        TracingProvider::Zipkin(tracer) => ("envoy.tracers.zipkin", wire::any(&zipkin(tracer))),
        TracingProvider::OpenTelemetry(tracer) => {
            ("envoy.tracers.opentelemetry", wire::any(&opentelemetry(tracer)))
        }
        TracingProvider::Datadog(tracer) => ("envoy.tracers.datadog", wire::any(&datadog(tracer))),
    };
    let config = pb::tracing::http::ConfigType::TypedConfig(config);
    pb::tracing::Http { name: name.to_owned(), config_type: Some(config) }
}

/// A collector that is told by HTTP.
pub(in crate::encode) fn http(value: &SpanCollector) -> core::HttpService {
    let uri = HttpUri {
        uri: if value.host == value.cluster {
            value.path.clone()
        } else {
            format!("http://{}{}", value.host, value.path)
        },
        cluster: value.cluster.clone(),
        timeout: value.timeout.unwrap_or_default(),
    };
    core::HttpService {
        http_uri: Some(callout::uri(&uri)),
        request_headers_to_add: header::additions(&value.headers),
        ..Default::default()
    }
}

fn zipkin(value: &ZipkinTracer) -> pb::ZipkinConfig {
    use pb::zipkin_config::{CollectorEndpointVersion, TraceContextOption};
    let format = match value.format {
        ZipkinFormat::Json => CollectorEndpointVersion::HttpJson,
        ZipkinFormat::Proto => CollectorEndpointVersion::HttpProto,
    };
    let context = match value.with_w3c {
        true => TraceContextOption::UseB3WithW3cPropagation,
        false => TraceContextOption::UseB3,
    };
    pb::ZipkinConfig {
        trace_id_128bit: value.long_ids,
        shared_span_context: (!value.shares_span).then_some(false),
        collector_endpoint_version: format.into(),
        split_spans_for_request: value.splits_spans,
        trace_context_option: context.into(),
        collector_service: Some(http(&value.collector)),
        timestamp_trace_ids: value.timed_ids,
        ..Default::default()
    }
}

fn opentelemetry(value: &OpenTelemetryTracer) -> pb::OpenTelemetryConfig {
    let (grpc, by_http) = match &value.exporter {
        Some(OtlpExporter::Grpc(service)) => (Some(callout::grpc(service)), None),
        Some(OtlpExporter::Http(collector)) => (None, Some(http(collector))),
        None => (None, None),
    };
    let unless = |named: bool| (!named).then_some(false);
    pb::OpenTelemetryConfig {
        grpc_service: grpc,
        http_service: by_http,
        service_name: value.service_name.clone(),
        resource_detectors: value.detectors.iter().map(detector).collect(),
        sampler: value.sampler.as_ref().map(sampler),
        max_cache_size: Some(value.spans_max),
        set_telemetry_sdk_resource_attributes: unless(value.names_library),
        set_service_name_resource_attribute: unless(value.names_service),
        set_instrumentation_scope: unless(value.names_scope),
        ..Default::default()
    }
}

fn detector(value: &ResourceDetector) -> core::TypedExtensionConfig {
    let name = |name: &str| format!("envoy.tracers.opentelemetry.resource_detectors.{name}");
    match value {
        ResourceDetector::Environment => {
            wire::extension(&name("environment"), &EnvironmentResourceDetectorConfig {})
        }
        ResourceDetector::Static(attributes) => {
            let attributes = attributes.iter().cloned().collect();
            let config = StaticConfigResourceDetectorConfig { attributes };
            wire::extension(&name("static_config"), &config)
        }
    }
}

fn sampler(value: &TraceSampler) -> core::TypedExtensionConfig {
    let name = |name: &str| format!("envoy.tracers.opentelemetry.samplers.{name}");
    match value {
        TraceSampler::AlwaysOn => wire::extension(&name("always_on"), &AlwaysOnSamplerConfig {}),
        TraceSampler::Ratio(share) => wire::extension(
            &name("trace_id_ratio_based"),
            &TraceIdRatioBasedSamplerConfig { sampling_percentage: Some(wire::parts(*share)) },
        ),
        TraceSampler::ParentBased(wrapped) => {
            let config = ParentBasedSamplerConfig { wrapped_sampler: Some(sampler(wrapped)) };
            wire::extension(&name("parent_based"), &config)
        }
    }
}

fn datadog(value: &DatadogTracer) -> pb::DatadogConfig {
    let SpanCollector { cluster, host, .. } = &value.collector;
    pb::DatadogConfig {
        collector_cluster: cluster.clone(),
        service_name: value.service_name.clone(),
        collector_hostname: if host == cluster { String::new() } else { host.clone() },
        ..Default::default()
    }
}
