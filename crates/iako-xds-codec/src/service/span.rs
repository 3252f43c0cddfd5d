//! Spans in the formats of collectors.

mod datadog;

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use iako_xds_api::opentelemetry::proto as otel;
use iako_xds_api::zipkin::proto3 as zipkin;
use otel::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use otel::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use otel::resource::v1::Resource;
use otel::trace::v1 as trace;
use prost::Message as _;
use serde_json::{Map, Value, json};

use iako_proxy_config::{Span, SpanKind, SpanOrigin};

pub use datadog::datadog;

/// Where spans are told by gRPC.
pub const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Set in the flags of every span: whether its parent is of another process is known.
const PARENT_KNOWN: u32 = 0x100;
/// It is.
const PARENT_REMOTE: u32 = 0x200;

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn duration_micros(span: &Span) -> u64 {
    u64::try_from(span.duration.as_micros()).unwrap_or(u64::MAX)
}

fn end(span: &Span) -> SystemTime {
    span.start.checked_add(span.duration).unwrap_or(span.start)
}

/// What stands at the end of a span of Zipkin, as its first version had it.
const fn last_event(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Server => "ss",
        SpanKind::Client => "cr",
    }
}

/// A list of spans in Zipkin's JSON, version 2.
#[must_use]
pub fn zipkin_json(origin: &SpanOrigin, spans: &[Span]) -> Vec<u8> {
    let spans: Value = spans.iter().map(|span| zipkin_object(origin, span)).collect();
    spans.to_string().into_bytes()
}

fn zipkin_object(origin: &SpanOrigin, span: &Span) -> Value {
    let trace_id = match span.short_trace_id {
        true => format!("{:016x}", span.trace_id),
        false => format!("{:032x}", span.trace_id),
    };
    let mut endpoint = Map::new();
    endpoint.insert("serviceName".to_owned(), Value::from(origin.service.as_str()));
    if let Some(address) = origin.address {
        let field = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        endpoint.insert(field.to_owned(), Value::from(address.ip().to_string()));
        endpoint.insert("port".to_owned(), Value::from(address.port()));
    }
    let event = |time, value| json!({"timestamp": micros(time), "value": value});
    let last = (end(span), last_event(span.kind));
    let events = span.events.iter().copied().chain([last]).map(|(time, value)| event(time, value));
    // Tags without a value are left out, as with Envoy.
    let tags = span.tags.iter().filter(|(_, value)| !value.is_empty());
    let tags: Map<String, Value> =
        tags.map(|(name, value)| (name.to_string(), Value::from(value.as_str()))).collect();
    let mut object = json!({
        "traceId": trace_id,
        "id": format!("{:016x}", span.id),
        "name": span.name,
        "kind": match span.kind {
            SpanKind::Server => "SERVER",
            SpanKind::Client => "CLIENT",
        },
        "timestamp": micros(span.start),
        "duration": duration_micros(span),
        "localEndpoint": endpoint,
        "annotations": events.collect::<Value>(),
        "tags": tags,
    });
    if let Some(object) = object.as_object_mut() {
        if let Some(parent) = span.parent_id {
            object.insert("parentId".to_owned(), Value::from(format!("{parent:016x}")));
        }
        if span.is_shared {
            object.insert("shared".to_owned(), Value::Bool(true));
        }
    }
    object
}

/// A list of spans in Zipkin's protobuf, version 2.
#[must_use]
pub fn zipkin_proto(origin: &SpanOrigin, spans: &[Span]) -> Vec<u8> {
    let spans = spans.iter().map(|span| zipkin_message(origin, span)).collect();
    zipkin::ListOfSpans { spans }.encode_to_vec()
}

fn zipkin_message(origin: &SpanOrigin, span: &Span) -> zipkin::Span {
    let event = |(time, value): (SystemTime, &str)| zipkin::Annotation {
        timestamp: micros(time),
        value: value.to_owned(),
    };
    let last = (end(span), last_event(span.kind));
    let long = span.trace_id.to_be_bytes();
    let short = long.last_chunk::<8>().map_or(&long[..], |short| &short[..]);
    let tags = span.tags.iter().filter(|(_, value)| !value.is_empty());
    zipkin::Span {
        trace_id: if span.short_trace_id { short.to_vec() } else { long.to_vec() }.into(),
        parent_id: span.parent_id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default().into(),
        id: span.id.to_be_bytes().to_vec().into(),
        kind: match span.kind {
            SpanKind::Server => zipkin::span::Kind::Server,
            SpanKind::Client => zipkin::span::Kind::Client,
        }
        .into(),
        name: span.name.clone(),
        timestamp: micros(span.start),
        duration: duration_micros(span),
        local_endpoint: Some(endpoint(origin)),
        annotations: span.events.iter().copied().chain([last]).map(event).collect(),
        tags: tags.map(|(name, value)| (name.to_string(), value.clone())).collect(),
        shared: span.is_shared,
        ..Default::default()
    }
}

fn endpoint(origin: &SpanOrigin) -> zipkin::Endpoint {
    let mut endpoint =
        zipkin::Endpoint { service_name: origin.service.clone(), ..Default::default() };
    match origin.address {
        Some(SocketAddr::V4(address)) => endpoint.ipv4 = address.ip().octets().to_vec().into(),
        Some(SocketAddr::V6(address)) => endpoint.ipv6 = address.ip().octets().to_vec().into(),
        None => {}
    }
    endpoint.port = origin.address.map_or(0, |address| i32::from(address.port()));
    endpoint
}

/// An `ExportTraceServiceRequest`.
#[must_use]
pub fn otlp(origin: &SpanOrigin, spans: &[Span]) -> Vec<u8> {
    let attributes = origin.attributes.iter().map(|(name, value)| attribute(name, value));
    let scope = origin.scope.as_ref().map(|(name, version)| InstrumentationScope {
        name: name.clone(),
        version: version.clone(),
        ..Default::default()
    });
    let scoped = trace::ScopeSpans {
        scope,
        spans: spans.iter().map(otlp_span).collect(),
        ..Default::default()
    };
    let message = ExportTraceServiceRequest {
        resource_spans: vec![trace::ResourceSpans {
            resource: Some(Resource { attributes: attributes.collect(), ..Default::default() }),
            scope_spans: vec![scoped],
            ..Default::default()
        }],
    };
    message.encode_to_vec()
}

/// How many spans a collector did not take, by its answer; none where it is no answer.
#[must_use]
pub fn rejected(answer: &[u8]) -> Option<u64> {
    let answer = ExportTraceServiceResponse::decode(answer).ok()?;
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
    Some(u64::try_from(rejected).unwrap_or(0))
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.to_owned(), value, ..Default::default() }
}

fn otlp_span(span: &Span) -> trace::Span {
    let kind = match span.kind {
        SpanKind::Server => trace::span::SpanKind::Server,
        SpanKind::Client => trace::span::SpanKind::Client,
    };
    let remote = if span.parent_is_remote { PARENT_REMOTE } else { 0 };
    trace::Span {
        trace_id: span.trace_id.to_be_bytes().to_vec().into(),
        span_id: span.id.to_be_bytes().to_vec().into(),
        trace_state: span.state.clone(),
        parent_span_id: span
            .parent_id
            .map(|id| id.to_be_bytes().to_vec())
            .unwrap_or_default()
            .into(),
        name: span.name.clone(),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.start),
        end_time_unix_nano: nanos(end(span)),
        attributes: span.tags.iter().map(|(name, value)| attribute(name, value)).collect(),
        status: status(span),
        // Only spans that are kept are told.
        flags: 1 | PARENT_KNOWN | remote,
        ..Default::default()
    }
}

/// An error: what failed for a server, and for a client also what it was refused.
fn status(span: &Span) -> Option<trace::Status> {
    let code: u16 = span.tagged("http.status_code")?.parse().ok()?;
    let least = match span.kind {
        SpanKind::Server => 500,
        SpanKind::Client => 400,
    };
    let error = trace::status::StatusCode::Error.into();
    (code >= least).then(|| trace::Status { code: error, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn span() -> Span {
        Span {
            trace_id: 0x10,
            short_trace_id: true,
            id: 0x20,
            parent_id: Some(0x30),
            parent_is_remote: true,
            kind: SpanKind::Client,
            is_shared: false,
            name: "n".to_owned(),
            start: UNIX_EPOCH + Duration::from_secs(1),
            duration: Duration::from_millis(2),
            tags: vec![
                ("http.status_code".into(), "404".to_owned()),
                ("zone".into(), "".to_owned()),
            ],
            events: Vec::new(),
            state: "a=1".to_owned(),
            kept: true,
        }
    }

    #[test]
    fn zipkin_is_told_the_same_in_both_forms() {
        let origin = SpanOrigin { service: "s".to_owned(), ..SpanOrigin::default() };
        let json: Value = serde_json::from_slice(&zipkin_json(&origin, &[span()])).unwrap();
        let expected = json!([{
            "traceId": "0000000000000010", "id": "0000000000000020", "parentId": "0000000000000030",
            "name": "n", "kind": "CLIENT", "timestamp": 1_000_000, "duration": 2_000,
            "localEndpoint": {"serviceName": "s"}, "tags": {"http.status_code": "404"},
            "annotations": [{"timestamp": 1_002_000, "value": "cr"}],
        }]);
        assert_eq!(json, expected);
        let proto = zipkin_proto(&origin, &[span()]);
        let list = zipkin::ListOfSpans::decode(proto.as_slice()).unwrap();
        let told = &list.spans[0];
        assert_eq!(told.trace_id.as_ref(), 0x10_u64.to_be_bytes());
        assert_eq!((told.timestamp, told.duration), (1_000_000, 2_000));
        assert_eq!(told.tags.len(), 1);
    }

    #[test]
    fn a_client_that_was_refused_is_an_error_of_opentelemetry() {
        let bytes = otlp(&SpanOrigin::default(), &[span()]);
        let request = ExportTraceServiceRequest::decode(bytes.as_slice()).unwrap();
        let told = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(told.status.as_ref().unwrap().code, 2);
        assert_eq!(told.flags, 0x301);
        assert_eq!(told.trace_id.as_ref(), 0x10_u128.to_be_bytes());
        assert_eq!(told.end_time_unix_nano, 1_002_000_000);
        assert_eq!(rejected(&[]), Some(0));
    }
}
