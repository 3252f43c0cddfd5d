//! What spans tell. Names and order are Envoy's.

use std::time::Instant;

use iako_http::{Known, Version};
use iako_proxy_config::{EndpointAddress, RouteTracing, Span, TraceSampler, Tracing};
use iako_telemetry::{AccessRecord, ResponseFlags};
use iako_traffic::Headers as _;
use iako_types::Fraction;

use super::open::OpenSpan;
use super::{ActiveTrace, custom_tags};
use crate::http::error_response;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::record::{self, Finished};
use crate::http::request::{Request, RequestView, ResponseView};
use crate::snapshot::UpstreamCluster;
use crate::tags;

/// By what name a cluster is observed.
pub(super) fn observed(cluster: &UpstreamCluster) -> &str {
    match cluster.config.alt_stat_name.as_str() {
        "" => &cluster.name,
        name => name,
    }
}

/// What a sampler decides; `parent` is what the caller decided.
pub(super) fn sampled(
    sampler: &TraceSampler,
    parent: Option<bool>,
    takes: impl Fn(Fraction) -> bool,
) -> bool {
    let mut sampler = sampler;
    loop {
        match sampler {
            TraceSampler::AlwaysOn => return true,
            TraceSampler::Ratio(share) => return takes(*share),
            TraceSampler::ParentBased(wrapped) => match parent {
                Some(decided) => return decided,
                None => sampler = wrapped,
            },
        }
    }
}

/// What all spans tell at their end.
struct Common<'a> {
    cluster: Option<&'a UpstreamCluster>,
    status: Option<u16>,
    flags: ResponseFlags,
}

fn common(span: &mut Span, facts: &Common<'_>) {
    span.tag("component", "proxy");
    if let Some(cluster) = facts.cluster {
        span.tag("upstream_cluster", &*cluster.name);
        span.tag("upstream_cluster.name", observed(cluster));
    }
    span.tag("http.status_code", facts.status.unwrap_or(0).to_string());
    span.tag("response_flags", facts.flags.to_string());
    if facts.status.is_none_or(|status| status >= 500) {
        span.tag("error", "true");
    }
}

/// What a gRPC server said: not every failure is an error of the server.
fn grpc_answer(span: &mut Span, status: &str, message: Option<&str>) {
    span.tag("grpc.status_code", status);
    if let Some(message) = message {
        span.tag("grpc.message", message);
    }
    // Source: OpenTelemetry's conventions for servers: unknown, deadline, unimplemented, internal,
    // unavailable, data loss; Envoy adds those of resources and of aborted calls.
    if matches!(status, "2" | "4" | "8" | "10" | "12" | "13" | "14" | "15") {
        span.tag("error", "true");
    }
}

fn version(version: Option<Version>) -> &'static str {
    version.map_or("-", Version::as_str)
}

/// The span of a request.
pub(super) fn of_request(
    exchange: &Exchange<'_>,
    (config, trace): (&Tracing, &ActiveTrace),
    finished: &Finished<'_>,
) -> Span {
    let now = exchange.now;
    let mut span = ended(&trace.span, now);
    let node = &exchange.connection.worker.shared.node.node;
    span.tag("node_id", node.id.as_str());
    span.tag("zone", node.locality.zone.as_str());
    request_tags(exchange, config, &mut span);
    span.tag("request_size", finished.upload.bytes.to_string());
    let sent = finished.download.bytes.saturating_add(exchange.record.reply_bytes);
    span.tag("response_size", sent.to_string());
    let facts = Common {
        cluster: exchange.record.cluster.as_deref(),
        status: finished.response.map(|(head, edits)| edits.status(head)),
        flags: exchange.record.flags,
    };
    common(&mut span, &facts);
    if config.verbose {
        events(exchange, trace, &mut span);
    }
    let route = trace.route.as_deref();
    let named = operation(config, route);
    customs(exchange, (config, route), (&mut span, facts.status), named);
    if let Some((head, edits)) = finished.response {
        let view = ResponseView { head, edits };
        let text = |name: &str| view.value(name, 0).map(String::from_utf8_lossy);
        let trailers = finished.download.trailers.as_deref();
        let trailer = |name: &str| trailers.and_then(|fields| fields.text(name));
        if let Some(status) = text("grpc-status") {
            grpc_answer(&mut span, &status, text("grpc-message").as_deref());
        }
        if let Some(status) = trailer("grpc-status") {
            grpc_answer(&mut span, status, trailer("grpc-message"));
        }
    }
    span
}

/// The name that the configuration gives spans; empty where it gives none.
pub(super) fn operation<'c>(config: &'c Tracing, route: Option<&'c RouteTracing>) -> &'c str {
    let own = route.map(|route| route.operation.as_str());
    own.filter(|name| !name.is_empty()).unwrap_or(&config.operation)
}

fn ended(span: &OpenSpan, now: Instant) -> Span {
    let copy = OpenSpan::new(
        span.context.clone(),
        span.kind,
        span.name.clone(),
        (span.started(), span.wall(span.started())),
    );
    let mut told = copy.ended(now);
    told.tags.clone_from(&span.tags);
    told.is_shared = span.is_shared;
    told.parent_is_remote = span.parent_is_remote;
    told
}

fn request_tags(exchange: &Exchange<'_>, config: &Tracing, span: &mut Span) {
    let request = &*exchange.request;
    let text = |name: Known| request.get(name).map(String::from_utf8_lossy);
    let or_dash = |name: Known| match text(name) {
        Some(value) if !value.is_empty() => value.into_owned(),
        Some(_) | None => "-".to_owned(),
    };
    if let Some(id) = text(Known::XRequestId) {
        span.tag("guid:x-request-id", id);
    }
    span.tag("http.url", url(request, config));
    span.tag("http.method", request.edits.method(&request.head).as_str());
    span.tag("downstream_cluster", or_dash(Known::XEnvoyDownstreamServiceCluster));
    span.tag("user_agent", or_dash(Known::UserAgent));
    span.tag("http.protocol", request.head.version().as_str());
    span.tag("peer.address", exchange.connection.info.direct_remote.ip().to_string());
    if let Some(id) = text(Known::XClientTraceId) {
        span.tag("guid:x-client-trace-id", id);
    }
    if request.is_grpc() {
        span.tag("grpc.path", request.path());
        span.tag("grpc.authority", request.authority());
        span.tag("grpc.content_type", or_dash(Known::ContentType));
        let view = request.view();
        if let Some(timeout) = view.value("grpc-timeout", 0) {
            span.tag("grpc.timeout", String::from_utf8_lossy(timeout));
        }
    }
}

/// The address that was asked for, its path cut off where it is too long.
fn url(request: &Request, config: &Tracing) -> String {
    let original = request.text(Known::XEnvoyOriginalPath);
    let path = original.unwrap_or_else(|| request.path());
    let limit = usize::try_from(config.path_bytes_max).unwrap_or(usize::MAX);
    let mut end = limit.min(path.len());
    while !path.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let path = path.split_at_checked(end).map_or(path, |(path, _)| path);
    let scheme = request.text(Known::XForwardedProto).unwrap_or_default();
    format!("{scheme}://{}{path}", request.authority())
}

/// When each step was, as far as it is known: what a server gets is taken for sent when it is queued.
fn events(exchange: &Exchange<'_>, trace: &ActiveTrace, span: &mut Span) {
    let record = &exchange.record;
    let mut tell = |moment: Option<Instant>, name| {
        if let Some(moment) = moment {
            span.events.push((trace.span.wall(moment), name));
        }
    };
    tell(record.request_at.or(Some(record.start)), "last_downstream_rx_byte_received");
    let answered = record.response_at;
    let asked = answered.and(record.request_at);
    tell(asked, "first_upstream_tx_byte_sent");
    tell(asked, "last_upstream_tx_byte_sent");
    tell(answered, "first_upstream_rx_byte_received");
    tell(answered.map(|_| exchange.now), "last_upstream_rx_byte_received");
    if exchange.response.is_some() {
        tell(Some(answered.unwrap_or(exchange.now)), "first_downstream_tx_byte_sent");
        tell(Some(exchange.now), "last_downstream_tx_byte_sent");
    }
}

/// Tags and the name that the configuration asks for.
fn customs(
    exchange: &Exchange<'_>,
    (config, route): (&Tracing, Option<&RouteTracing>),
    (span, status): (&mut Span, Option<u16>),
    operation: &str,
) {
    let mut wanted = custom_tags(config, route).peekable();
    if operation.is_empty() && wanted.peek().is_none() {
        return;
    }
    let view: RequestView<'_> = exchange.request.view();
    let response = exchange.response.as_ref();
    let response = response.map(|head| ResponseView { head, edits: &exchange.response_edits });
    let further = exchange.facts();
    let mut facts: AccessRecord<'_> = record::access_record(&further, &view);
    if let Some(response) = &response {
        facts.response_headers = response;
    }
    facts.response_code = status;
    facts.bytes_received = exchange.upload.bytes;
    facts.bytes_sent = exchange.download.bytes.saturating_add(exchange.record.reply_bytes);
    facts.duration = Some(exchange.now.saturating_duration_since(exchange.record.start));
    for tag in wanted {
        if let Some(value) = tags::value(&tag.value, &facts) {
            span.tag(tag.name.clone(), value);
        }
    }
    if !operation.is_empty() {
        span.name = tags::rendered(operation, &facts);
    }
}

/// The span of a try.
pub(super) fn of_try(
    exchange: &Exchange<'_>,
    (config, route): (&Tracing, Option<&RouteTracing>),
    open: OpenSpan,
    failure: Option<&Failure>,
) -> Span {
    let (status, grpc) = (open.status, open.grpc.clone());
    let (started, began) = (open.wall(open.started()), open.started());
    let mut span = open.ended(exchange.now);
    if let Some((status, message)) = &grpc {
        grpc_answer(&mut span, status, message.as_deref());
    }
    let trailers = exchange.download.trailers.as_deref().filter(|_| failure.is_none());
    if let Some((fields, status)) = trailers.and_then(|it| Some((it, it.text("grpc-status")?))) {
        grpc_answer(&mut span, status, fields.text("grpc-message"));
    }
    if let Some(reason) = failure.and_then(reset_reason) {
        span.tag("error", "true");
        span.tag("error.reason", reason);
    }
    let record = &exchange.record;
    span.tag("http.protocol", version(record.upstream_version));
    if let Some(host) = &record.host {
        peer(&mut span, host);
    }
    let mut flags = ResponseFlags::NONE;
    if let Some(failure) = failure {
        failure.note(&mut flags);
    }
    let cluster = record.cluster.as_deref();
    common(&mut span, &Common { cluster, status, flags });
    if config.verbose {
        let wall = |moment: Instant| {
            started.checked_add(moment.saturating_duration_since(began)).unwrap_or(started)
        };
        let answered = record.response_at.filter(|_| status.is_some());
        let mut tell = |moment: Option<Instant>, name: &'static str| {
            span.events.extend(moment.map(|moment| (wall(moment), name)));
        };
        tell(Some(began), "first_upstream_tx_byte_sent");
        tell(Some(began), "last_upstream_tx_byte_sent");
        tell(answered, "first_upstream_rx_byte_received");
        tell(answered.map(|_| exchange.now), "last_upstream_rx_byte_received");
    }
    let own = route.map(|route| route.upstream_operation.as_str());
    let named = own.filter(|name| !name.is_empty()).unwrap_or(&config.upstream_operation);
    customs(exchange, (config, route), (&mut span, status), named);
    span
}

/// Why a try was reset, in Envoy's words; none where it was not.
fn reset_reason(failure: &Failure) -> Option<String> {
    let details = error_response::reply(failure)?.details;
    let (_, reason) = details.split_once("upstream_reset_before_response_started{")?;
    let reason = reason.split(['|', '}']).next()?;
    Some(reason.replace('_', " "))
}

pub(super) fn peer(span: &mut Span, host: &EndpointAddress) {
    let text = match host {
        EndpointAddress::Socket(address) => address.to_string(),
        EndpointAddress::Host { name, port } => format!("{name}:{port}"),
        EndpointAddress::Pipe(path) => path.display().to_string(),
        EndpointAddress::Internal { .. } => return,
    };
    span.tag("upstream_address", text.as_str());
    span.tag("peer.address", text);
}

/// What is known of a copy at its end.
#[derive(Debug)]
pub(crate) struct CopyFacts<'a> {
    pub(crate) cluster: &'a UpstreamCluster,
    pub(crate) host: Option<&'a EndpointAddress>,
    pub(crate) version: Option<Version>,
    pub(crate) status: Option<u16>,
    pub(crate) now: Instant,
}

/// The span of a copy.
pub(super) fn of_copy(open: OpenSpan, facts: &CopyFacts<'_>) -> Span {
    let mut span = open.ended(facts.now);
    span.tag("http.protocol", version(facts.version));
    if let Some(host) = facts.host {
        peer(&mut span, host);
    }
    let flags = ResponseFlags::NONE;
    common(&mut span, &Common { cluster: Some(facts.cluster), status: facts.status, flags });
    span
}
