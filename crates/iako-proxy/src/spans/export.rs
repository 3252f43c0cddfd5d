//! Sending one batch of spans.

use std::rc::Rc;
use std::time::SystemTime;

use bytes::Bytes;
use iako_http::Method;
use iako_proxy_config::{OtlpExporter, Span, SpanCollector, TracingProvider};
use iako_rt::clock;
use iako_telemetry::AccessRecord;

use super::Tracer;
use crate::callout::http::{Question, ask};
use crate::callout::{CallError, grpc, own_address};
use crate::http::mutations;
use crate::worker::Worker;

/// Longest answer of a collector that is taken.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Sends spans; what fails is counted and told, and not tried again.
pub(super) async fn send(worker: &Rc<Worker>, tracer: &Tracer, spans: &[Span]) {
    let (body, media_type) = tracer.encoded(spans);
    tracer.stats.spans_sent.add(u64::try_from(spans.len()).unwrap_or(u64::MAX));
    let sent = match &tracer.provider {
        TracingProvider::Zipkin(zipkin) => {
            by_http(worker, tracer, &zipkin.collector, (body, media_type), spans.len()).await
        }
        TracingProvider::Datadog(datadog) => {
            by_http(worker, tracer, &datadog.collector, (body, media_type), spans.len()).await
        }
        TracingProvider::OpenTelemetry(otlp) => match &otlp.exporter {
            None => Ok(200),
            Some(OtlpExporter::Http(collector)) => {
                by_http(worker, tracer, collector, (body, media_type), spans.len()).await
            }
            Some(OtlpExporter::Grpc(service)) => {
                let method = iako_xds_codec::service::span::EXPORT;
                let called = grpc::unary(worker, service, method, &body).await;
                called.map(|answer| {
                    let rejected = iako_xds_codec::service::span::rejected(&answer);
                    if let Some(rejected) = rejected.filter(|rejected| *rejected > 0) {
                        tracing::warn!(rejected, "a collector did not take all spans");
                    }
                    200
                })
            }
        },
    };
    let stats = &tracer.stats;
    match sent {
        Ok(200..=299) => stats.reports_sent.inc(),
        Ok(status) => {
            tracing::debug!(status, "a collector did not take spans");
            stats.reports_dropped.inc();
        }
        Err(CallError::NoCluster(cluster)) => {
            tracing::debug!(cluster, "there is no cluster of the collector of spans");
            stats.no_cluster.inc();
        }
        Err(error) => {
            tracing::debug!(%error, "spans were not sent");
            stats.reports_failed.inc();
        }
    }
}

/// Sends a batch by POST; gives back the status.
async fn by_http(
    worker: &Rc<Worker>,
    tracer: &Tracer,
    collector: &SpanCollector,
    (body, media_type): (Vec<u8>, &'static str),
    count: usize,
) -> Result<u16, CallError> {
    let limit = collector.timeout.unwrap_or_else(|| tracer.flush().timeout);
    let (millis, from) = (limit.as_millis().to_string(), own_address().to_string());
    let count = count.to_string();
    let mut fields: Vec<(&str, &[u8])> = vec![("content-type", media_type.as_bytes())];
    match &tracer.provider {
        TracingProvider::OpenTelemetry(_) => fields.push(("user-agent", USER_AGENT.as_bytes())),
        TracingProvider::Datadog(_) => {
            fields.push(("datadog-meta-lang", b"rust"));
            fields.push(("datadog-meta-tracer-version", env!("CARGO_PKG_VERSION").as_bytes()));
            fields.push(("x-datadog-trace-count", count.as_bytes()));
        }
        TracingProvider::Zipkin(_) => {}
    }
    let added: Vec<_> = {
        // Such headers know of no request; what they name of one is empty.
        let record = AccessRecord::new(now());
        let headers = collector.headers.iter();
        headers.map(|header| (header, mutations::render(&header.value, &record))).collect()
    };
    for (header, value) in &added {
        fields.push((header.name.as_str(), value.as_bytes()));
    }
    fields.push(("x-envoy-internal", b"true"));
    fields.push(("x-forwarded-for", from.as_bytes()));
    fields.push(("x-envoy-expected-rq-timeout-ms", millis.as_bytes()));
    let question = Question {
        cluster: &collector.cluster,
        method: Method::Post,
        authority: &collector.host,
        path: &collector.path,
        fields: &fields,
        body: Some(Bytes::from(body)),
        limit: Some(limit),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    Ok(ask(worker, &question).await?.status)
}

/// Who sends, as OpenTelemetry's specification wants it said.
const USER_AGENT: &str = concat!("OTel-OTLP-Exporter-Iako/", env!("CARGO_PKG_VERSION"));

fn now() -> SystemTime {
    clock::wall()
}
