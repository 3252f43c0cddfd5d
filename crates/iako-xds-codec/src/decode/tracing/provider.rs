//! Who gets spans.

use std::time::Duration;

use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::config::trace::v3 as pb;
use iako_xds_api::envoy::extensions::tracers::opentelemetry as otel;
use otel::resource_detectors::v3::{
    EnvironmentResourceDetectorConfig, StaticConfigResourceDetectorConfig,
};
use otel::samplers::v3::{
    AlwaysOnSamplerConfig, ParentBasedSamplerConfig, TraceIdRatioBasedSamplerConfig,
};
use prost::Name as _;
use prost_types::Any;

use crate::decode::{callout, header, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    DatadogTracer, HttpUri, OpenTelemetryTracer, OtlpExporter, ResourceDetector, SpanCollector,
    SpanFlush, TraceSampler, TracingProvider, ZipkinFormat, ZipkinTracer,
};

/// Calls to a collector end after this where nothing else is written.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Datadog's library sends when it is time; so many spans do not wait for it.
const DATADOG_SPANS_MIN: u32 = 1000;
/// Samplers within each other. Bounds the stack that a resource can make the decoder use.
const SAMPLERS_MAX: usize = 8;

pub(super) fn provider(config: &pb::tracing::Http, at: &At<'_>) -> Result<TracingProvider, Fault> {
    let at_config = at.field("typed_config");
    let Some(pb::tracing::http::ConfigType::TypedConfig(any)) = &config.config_type else {
        return Err(at_config.missing("write settings with `@type`"));
    };
    let name = pool::full_name(&any.type_url);
    let provider = if name == pb::ZipkinConfig::full_name() {
        TracingProvider::Zipkin(zipkin(&wire::unpack(any, &at_config)?, &at_config)?)
    } else if name == pb::OpenTelemetryConfig::full_name() {
        TracingProvider::OpenTelemetry(opentelemetry(&wire::unpack(any, &at_config)?, &at_config)?)
    } else if name == pb::DatadogConfig::full_name() {
        TracingProvider::Datadog(datadog(&wire::unpack(any, &at_config)?, &at_config)?)
    } else {
        let problem = format!("`{name}` is not supported");
        let help = "use ZipkinConfig, OpenTelemetryConfig or DatadogConfig";
        return Err(at_config.invalid(problem, help));
    };
    Ok(provider)
}

/// A collector that is told by HTTP.
pub(in crate::decode) fn http(
    service: &core::HttpService,
    at: &At<'_>,
) -> Result<SpanCollector, Fault> {
    let uri = callout::uri(service.http_uri.as_ref(), &at.field("http_uri"))?;
    let at_headers = at.field("request_headers_to_add");
    let headers = header::additions(&service.request_headers_to_add, &at_headers)?;
    Ok(SpanCollector::at(&uri, headers))
}

/// A collector of the older form: a cluster, its host and a path.
fn named(cluster: &str, host: &str, path: &str) -> SpanCollector {
    let uri =
        HttpUri { uri: path.to_owned(), cluster: cluster.to_owned(), timeout: Duration::ZERO };
    let mut collector = SpanCollector::at(&uri, Vec::new());
    path.clone_into(&mut collector.path);
    if !host.is_empty() {
        host.clone_into(&mut collector.host);
    }
    collector
}

fn zipkin(config: &pb::ZipkinConfig, at: &At<'_>) -> Result<ZipkinTracer, Fault> {
    use pb::zipkin_config::{CollectorEndpointVersion, TraceContextOption};
    let collector = match &config.collector_service {
        Some(service) => http(service, &at.field("collector_service"))?,
        None if config.collector_cluster.is_empty() => {
            return Err(at.field("collector_cluster").missing("name the collector's cluster"));
        }
        None if config.collector_endpoint.is_empty() => {
            let help = "write the path of the collector, such as `/api/v2/spans`";
            return Err(at.field("collector_endpoint").missing(help));
        }
        None => {
            named(&config.collector_cluster, &config.collector_hostname, &config.collector_endpoint)
        }
    };
    let at_version = at.field("collector_endpoint_version");
    let format = match wire::known(config.collector_endpoint_version, &at_version)? {
        CollectorEndpointVersion::HttpJson => ZipkinFormat::Json,
        CollectorEndpointVersion::HttpProto => ZipkinFormat::Proto,
        CollectorEndpointVersion::DeprecatedAndUnavailableDoNotUse
        | CollectorEndpointVersion::Grpc => {
            return Err(at_version.invalid("is not supported", "use HTTP_JSON or HTTP_PROTO"));
        }
    };
    let at_option = at.field("trace_context_option");
    let with_w3c = match wire::known(config.trace_context_option, &at_option)? {
        TraceContextOption::UseB3 => false,
        TraceContextOption::UseB3WithW3cPropagation => true,
    };
    Ok(ZipkinTracer {
        collector,
        format,
        long_ids: config.trace_id_128bit,
        shares_span: config.shared_span_context.unwrap_or(true),
        splits_spans: config.split_spans_for_request,
        with_w3c,
        timed_ids: config.timestamp_trace_ids,
        flush: SpanFlush::default(),
    })
}

fn opentelemetry(
    config: &pb::OpenTelemetryConfig,
    at: &At<'_>,
) -> Result<OpenTelemetryTracer, Fault> {
    let exporter = match (&config.grpc_service, &config.http_service) {
        (Some(_), Some(_)) => {
            let help = "write one of the two";
            return Err(at.field("http_service").invalid("is set beside grpc_service", help));
        }
        (Some(service), None) => Some(OtlpExporter::Grpc(callout::grpc(
            service,
            Some(TIMEOUT),
            &at.field("grpc_service"),
        )?)),
        (None, Some(service)) => {
            Some(OtlpExporter::Http(http(service, &at.field("http_service"))?))
        }
        (None, None) => None,
    };
    let service_name = match config.service_name.as_str() {
        "" => "unknown_service:envoy",
        name => name,
    };
    let at_detectors = at.field("resource_detectors");
    let at_sampler = at.field("sampler");
    let sampled = config.sampler.as_ref();
    let spans_max = config.max_cache_size.unwrap_or(1024);
    Ok(OpenTelemetryTracer {
        exporter,
        service_name: service_name.to_owned(),
        detectors: wire::list(&config.resource_detectors, &at_detectors, detector)?,
        sampler: sampled.map(|config| sampler(config, SAMPLERS_MAX, &at_sampler)).transpose()?,
        spans_max: wire::non_zero(spans_max, &at.field("max_cache_size"))?.get(),
        names_library: config.set_telemetry_sdk_resource_attributes.unwrap_or(true),
        names_service: config.set_service_name_resource_attribute.unwrap_or(true),
        names_scope: config.set_instrumentation_scope.unwrap_or(true),
        flush: SpanFlush::default(),
    })
}

fn settings<'c>(extension: &'c core::TypedExtensionConfig, at: &At<'_>) -> Result<&'c Any, Fault> {
    let any = extension.typed_config.as_ref();
    any.ok_or_else(|| at.missing("write settings with `@type`"))
}

fn detector(
    extension: &core::TypedExtensionConfig,
    at: &At<'_>,
) -> Result<ResourceDetector, Fault> {
    let at = at.field("typed_config");
    let any = settings(extension, &at)?;
    let name = pool::full_name(&any.type_url);
    if name == EnvironmentResourceDetectorConfig::full_name() {
        return Ok(ResourceDetector::Environment);
    }
    if name == StaticConfigResourceDetectorConfig::full_name() {
        let config: StaticConfigResourceDetectorConfig = wire::unpack(any, &at)?;
        return Ok(ResourceDetector::Static(config.attributes.into_iter().collect()));
    }
    let help = "use EnvironmentResourceDetectorConfig or StaticConfigResourceDetectorConfig";
    Err(at.invalid(format!("`{name}` is not supported"), help))
}

fn sampler(
    extension: &core::TypedExtensionConfig,
    deeper: usize,
    at: &At<'_>,
) -> Result<TraceSampler, Fault> {
    let at = at.field("typed_config");
    let any = settings(extension, &at)?;
    let name = pool::full_name(&any.type_url);
    if name == AlwaysOnSamplerConfig::full_name() {
        return Ok(TraceSampler::AlwaysOn);
    }
    if name == TraceIdRatioBasedSamplerConfig::full_name() {
        let config: TraceIdRatioBasedSamplerConfig = wire::unpack(any, &at)?;
        let at = at.field("sampling_percentage");
        let share = config.sampling_percentage.as_ref();
        let share = share.ok_or_else(|| at.missing("write the share of traces"))?;
        return Ok(TraceSampler::Ratio(wire::parts(share, &at)?));
    }
    if name == ParentBasedSamplerConfig::full_name() {
        let config: ParentBasedSamplerConfig = wire::unpack(any, &at)?;
        let at = at.field("wrapped_sampler");
        let Some(deeper) = deeper.checked_sub(1) else {
            return Err(at.invalid("is nested too deeply", "nest less"));
        };
        let wrapped = config.wrapped_sampler.as_ref();
        let wrapped = wrapped.ok_or_else(|| at.missing("write the sampler of first spans"))?;
        return Ok(TraceSampler::ParentBased(Box::new(sampler(wrapped, deeper, &at)?)));
    }
    let help =
        "use AlwaysOnSamplerConfig, TraceIdRatioBasedSamplerConfig or ParentBasedSamplerConfig";
    Err(at.invalid(format!("`{name}` is not supported"), help))
}

fn datadog(config: &pb::DatadogConfig, at: &At<'_>) -> Result<DatadogTracer, Fault> {
    if config.collector_cluster.is_empty() {
        return Err(at.field("collector_cluster").missing("name the cluster of the agent"));
    }
    if config.service_name.is_empty() {
        return Err(at.field("service_name").missing("name the service"));
    }
    let (cluster, host) = (&config.collector_cluster, &config.collector_hostname);
    Ok(DatadogTracer {
        collector: named(cluster, host, "/v0.4/traces"),
        service_name: config.service_name.clone(),
        flush: SpanFlush {
            spans_min: DATADOG_SPANS_MIN,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
        },
    })
}
