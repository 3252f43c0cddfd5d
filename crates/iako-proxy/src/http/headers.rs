//! What a proxy does to heads whatever the route says, as Envoy does by default.

use std::cell::RefCell;

use iako_http::{
    FieldName, FieldValue, Known, KnownSet, Method, RequestEdits, RequestHead, ResponseEdits,
    ResponseHead, Scheme, Version, http_date,
};
use iako_proxy_config::{
    ForwardClientCert, ForwardedScheme, HttpConnectionManager, SchemeChange, ServerHeader,
};
use iako_rt::clock;
use iako_telemetry::request_id::{
    Origin, RequestId, RequestIdRule, decide, trace_reason, with_trace_reason,
};
use iako_telemetry::trace::TraceReason;
use iako_traffic::{
    ClientAddress, Metadata, NormalizedTarget, choose_action, host_without_dot, normalize_target,
    stripped_host,
};

use super::connection::{HttpConnection, ToldClientCert};
use super::error_response::Reply;
use super::failure::Failure;
use super::mutations;
use super::record::{self, Record};
use super::request::Request;
use super::service::HttpService;

/// What the client may say only when it counts as internal; removed from everybody else's requests.
const INTERNAL_ONLY: &[Known] = &[
    Known::XEnvoyRetryOn,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyRetriableStatusCodes,
    Known::XEnvoyRetriableHeaderNames,
    Known::XEnvoyUpstreamAltStatName,
    Known::XEnvoyUpstreamRequestTimeout,
    Known::XEnvoyUpstreamRequestPerTryTimeout,
    Known::XEnvoyUpstreamRequestTimeoutAltResponse,
    Known::XEnvoyExpectedRequestTimeout,
    Known::XEnvoyForceTrace,
    Known::XEnvoyHedgeOnPerTryTimeout,
    Known::XEnvoyIpTags,
    Known::XEnvoyOriginalPath,
    Known::XEnvoyOriginalHost,
    Known::XEnvoyOriginalUrl,
    Known::XEnvoyInternal,
];

const INTERNAL_ONLY_SET: KnownSet = KnownSet::of(INTERNAL_ONLY);

/// What comes of looking at a fresh request.
pub(crate) enum Prepared {
    /// It goes on.
    Request(Box<Request>),
    /// It is answered at once.
    Reply(Box<Request>, Reply),
    /// It is refused.
    Refused(Box<Request>, Failure),
}

/// Finds out who sent a request and puts its head in order, before filters and routes look at it.
pub(crate) fn prepare(
    connection: &HttpConnection,
    service: &HttpService,
    head: RequestHead,
) -> Prepared {
    let manager = &*service.manager;
    let mut request = Box::new(Request {
        head,
        edits: RequestEdits::default(),
        scheme: Scheme::Http,
        client: connection.info.remote.ip(),
        internal: false,
        metadata: Metadata::default(),
        without_content: false,
        web: None,
    });
    if *request.head.method() == Method::Connect
        && request.head.version() == Version::Http2
        && request.head.upgrade().is_some()
    {
        // An extended CONNECT is an upgrade, which HTTP/1 asks for by GET: rules and routes see the
        // same request whichever version it came by (as with Envoy).
        request.edits.method = Some(Method::Get);
    }
    if !manager.early_headers.is_empty() {
        edit_early(connection, manager, &mut request);
    }
    let address = ClientAddress::resolve(manager, &connection.info, &request.view());
    if let Some(status) = address.refuse_with {
        let reply = Reply::new(status, "rejecting_because_detection_failed");
        return Prepared::Reply(request, reply);
    }
    request.client = address.client;
    request.internal = address.internal;
    set_scheme(connection, manager, &mut request, &address);
    if request.authority().is_empty() && !manager.http1.default_host_for_http_10.is_empty() {
        let host = manager.http1.default_host_for_http_10.clone();
        request.edits.authority = Some(host.into());
    }
    clean(manager, &mut request, &address);
    if manager.add_user_agent {
        name_ourselves(connection, &mut request);
    }
    set_forwarded(connection, manager, &mut request, &address);
    set_request_id(connection, manager, &mut request, &address);
    if request.authority().is_empty() {
        // HTTP/1.0 may name no host; then nobody can be asked for it (RFC 9112 §3.2).
        return Prepared::Reply(request, Reply::new(400, "missing_host_header"));
    }
    if let Some(reply) = count_forwards(&mut request) {
        return Prepared::Reply(request, reply);
    }
    normalize(connection, manager, request)
}

/// Counts `Max-Forwards` down; at 0 the request ends here (RFC 9110 §7.6.2). TRACE is not reflected: it
/// would show its sender what others have added.
fn count_forwards(request: &mut Request) -> Option<Reply> {
    let status = match request.head.method() {
        Method::Options => 200,
        Method::Trace => 501,
        Method::Get
        | Method::Head
        | Method::Post
        | Method::Put
        | Method::Delete
        | Method::Connect
        | Method::Patch
        | Method::Other(_) => return None,
    };
    let left: u64 = request.head.fields().text("max-forwards")?.parse().ok()?;
    let Some(left) = left.checked_sub(1) else {
        return Some(Reply::new(status, "max_forwards_reached"));
    };
    let name = FieldName::parse(b"max-forwards").ok()?;
    request.edits.fields.set(name, FieldValue::from(left));
    None
}

fn set_scheme(
    connection: &HttpConnection,
    manager: &HttpConnectionManager,
    request: &mut Request,
    address: &ClientAddress,
) {
    let by_connection = match scheme_by_port(connection, manager) {
        Some(scheme) => scheme,
        None if connection.info.tls.is_some() => Scheme::Https,
        None => Scheme::Http,
    };
    let told = request.text(Known::XForwardedProto).map(str::to_owned);
    let told = told.filter(|_| address.trusts_forwarded_proto);
    match told {
        Some(told) => {
            request.scheme = Scheme::parse(told.as_bytes()).unwrap_or(by_connection);
        }
        None => {
            request.scheme = by_connection;
            let value = FieldValue::from_static(by_connection.as_str());
            request.edits.fields.set(Known::XForwardedProto, value);
        }
    }
    // The server is told what the connection has; a target that names a scheme is of that one for all
    // that is decided here.
    request.edits.scheme = Some(request.scheme);
    if let Some(named) = request.head.scheme() {
        request.scheme = named;
    }
    if let SchemeChange::Overwrite(scheme) = &manager.scheme {
        request.scheme = Scheme::parse(scheme.as_bytes()).unwrap_or(request.scheme);
        let value = FieldValue::from_static(request.scheme.as_str());
        request.edits.fields.set(Known::XForwardedProto, value);
        request.edits.scheme = Some(request.scheme);
    }
}

/// The scheme of a connection that was passed on, by the port that the client meant to reach.
fn scheme_by_port(connection: &HttpConnection, manager: &HttpConnectionManager) -> Option<Scheme> {
    let info = &connection.info;
    if manager.scheme_by_port.is_empty() || info.original_destination == info.local {
        return None;
    }
    let scheme = manager.scheme_by_port.get(&info.original_destination.port())?;
    Some(match scheme {
        ForwardedScheme::Http => Scheme::Http,
        ForwardedScheme::Https => Scheme::Https,
    })
}

/// Changes the head before anything else looks at it.
fn edit_early(connection: &HttpConnection, manager: &HttpConnectionManager, request: &mut Request) {
    let rendered = {
        let record = Record::new(clock::now(), clock::wall());
        let view = request.view();
        let further = record::ExchangeFacts::of(connection, &record, request);
        let facts = record::access_record(&further, &view);
        mutations::rendered_early(&manager.early_headers, &facts)
    };
    mutations::edit_early(request, &manager.early_headers, &rendered);
}

fn clean(manager: &HttpConnectionManager, request: &mut Request, address: &ClientAddress) {
    let Request { head, edits, .. } = request;
    let sent = head.fields();
    if !address.internal {
        if sent.contains_any(INTERNAL_ONLY_SET) {
            for name in INTERNAL_ONLY.iter().filter(|name| sent.contains(**name)) {
                edits.fields.remove(*name);
            }
        }
    } else if !sent.contains(Known::XEnvoyInternal) {
        edits.fields.set(Known::XEnvoyInternal, FieldValue::from_static("true"));
    }
    if address.edge {
        for name in [
            Known::XEnvoyDecoratorOperation,
            Known::XEnvoyDownstreamServiceCluster,
            Known::XEnvoyDownstreamServiceNode,
        ] {
            edits.fields.remove(name);
        }
        let client = FieldValue::sanitized(address.client.to_string());
        edits.fields.set(Known::XEnvoyExternalAddress, client);
    }
    // `100 Continue` is answered here, unless the server is asked.
    if !manager.proxy_100_continue && head.expects_continue() {
        edits.fields.remove(Known::Expect);
    }
}

/// Says which proxy a request comes from. Source: Envoy, `add_user_agent`.
fn name_ourselves(connection: &HttpConnection, request: &mut Request) {
    let node = &connection.worker.shared.node.node;
    let cluster = FieldValue::sanitized(node.cluster.clone());
    if request.get(Known::UserAgent).is_none_or(<[u8]>::is_empty) {
        request.edits.fields.set(Known::UserAgent, cluster.clone());
    }
    request.edits.fields.set(Known::XEnvoyDownstreamServiceCluster, cluster);
    if !node.id.is_empty() {
        let id = FieldValue::sanitized(node.id.clone());
        request.edits.fields.set(Known::XEnvoyDownstreamServiceNode, id);
    }
}

fn set_forwarded(
    connection: &HttpConnection,
    manager: &HttpConnectionManager,
    request: &mut Request,
    address: &ClientAddress,
) {
    if let Some(client) = address.append {
        append_to_list(request, Known::XForwardedFor, ",", &client.to_string());
    }
    if manager.append_x_forwarded_port && request.get(Known::XForwardedPort).is_none() {
        let port = u64::from(connection.info.original_destination.port());
        request.edits.fields.set(Known::XForwardedPort, FieldValue::from(port));
    }
    if !manager.via.is_empty() {
        append_to_list(request, Known::Via, ", ", &manager.via);
    }
    let sent = request.text(Known::XForwardedClientCert);
    if sent.is_none() && connection.info.peer().is_none() {
        return;
    }
    let rule = manager.client_cert_rules.as_ref().and_then(|rules| {
        let view = request.view();
        choose_action(rules, &request.facts(&view, &connection.info))
    });
    let (mode, details) = match rule {
        Some(rule) => (rule.forward, rule.details),
        None => (manager.forward_client_cert, manager.client_cert_details),
    };
    let told = match sent {
        Some(sent) if mode == ForwardClientCert::AppendForward => {
            ToldClientCert::compose(mode, details, &connection.info, Some(sent))
        }
        _ => connection.told_client_cert(mode, details),
    };
    match told {
        ToldClientCert::Keep => {}
        ToldClientCert::Remove => request.edits.fields.remove(Known::XForwardedClientCert),
        ToldClientCert::Set(value) => {
            request.edits.fields.set(Known::XForwardedClientCert, value);
        }
    }
}

/// Appends to a list that stands in one line, as Envoy writes it.
fn append_to_list(request: &mut Request, name: Known, separator: &str, text: &str) {
    let sent: Vec<&str> = request
        .edits
        .values(&request.head, name)
        .filter_map(|value| std::str::from_utf8(value).ok())
        .collect();
    let value = if sent.is_empty() { text.to_owned() } else { sent.join(",") + separator + text };
    request.edits.fields.set(name, FieldValue::sanitized(value));
}

fn set_request_id(
    connection: &HttpConnection,
    manager: &HttpConnectionManager,
    request: &mut Request,
    address: &ClientAddress,
) {
    let rule = match (manager.generate_request_id, manager.preserve_external_request_id) {
        (false, _) => RequestIdRule::Never,
        (true, false) => RequestIdRule::Generate,
        (true, true) => RequestIdRule::Preserve,
    };
    let origin = if address.edge { Origin::Edge } else { Origin::Internal };
    let random = u128::from(connection.draw()) << 64 | u128::from(connection.draw());
    match decide(rule, origin, request.get(Known::XRequestId), random) {
        RequestId::Keep => {
            // What an outside client's id says of traces is not for it to say.
            let claims = |id: &&str| trace_reason(id) != TraceReason::None;
            let kept = request.text(Known::XRequestId).filter(|_| address.edge).filter(claims);
            let kept = kept.and_then(|id| with_trace_reason(id, TraceReason::None));
            if let Some(id) = kept.filter(|_| manager.request_id_traces.packs_reason) {
                request.edits.fields.set(Known::XRequestId, FieldValue::sanitized(id));
            }
        }
        RequestId::Set(id) => {
            request.edits.fields.set(Known::XRequestId, FieldValue::sanitized(id));
        }
    }
}

fn normalize(
    connection: &HttpConnection,
    manager: &HttpConnectionManager,
    mut request: Box<Request>,
) -> Prepared {
    let method = request.head.method();
    if *method != Method::Connect && !request.path().starts_with('/') {
        // Such as `*`: no route is meant for it.
        return Prepared::Reply(request, Reply::new(404, "absolute_path_rejected"));
    }
    if method.as_str() == "QUERY" && request.get(Known::ContentType).is_none() {
        let reply = Reply { closes: true, ..Reply::new(400, "query_missing_content_type") };
        return Prepared::Reply(request, reply);
    }
    if manager.strip_trailing_dot
        && let Some(host) = host_without_dot(request.authority())
    {
        request.edits.authority = Some(host.into());
    }
    let port = connection.info.local.port();
    if let Some(host) = stripped_host(manager.strip_port, request.authority(), port) {
        request.edits.authority = Some(host.into());
    }
    match normalize_target(manager, request.path()) {
        NormalizedTarget::Keep => Prepared::Request(request),
        NormalizedTarget::Change(target) => {
            request.edits.path = Some(target.into());
            Prepared::Request(request)
        }
        NormalizedTarget::Refuse => Prepared::Refused(request, Failure::Path),
        NormalizedTarget::Redirect(target) => {
            let location = FieldValue::sanitized(target.clone());
            request.edits.path = Some(target.into());
            let reply =
                Reply::new(307, "path_normalization_failed").with_field(Known::Location, location);
            Prepared::Reply(request, reply)
        }
    }
}

/// Puts the head of a response in order, whoever made it.
pub(crate) fn finish_response(
    service: &HttpService,
    request: &Request,
    head: &ResponseHead,
    edits: &mut ResponseEdits,
) {
    let manager = &*service.manager;
    let sent = head.fields();
    let write_server = match manager.server_header {
        ServerHeader::Overwrite => true,
        ServerHeader::AppendIfAbsent => edits.fields.get(sent, Known::Server).is_none(),
        ServerHeader::PassThrough => false,
    };
    if write_server {
        edits.fields.set(Known::Server, service.server.clone());
    }
    if edits.fields.get(sent, Known::Date).is_none() {
        edits.fields.set(Known::Date, date());
    }
    if !manager.via.is_empty() {
        let before = edits.fields.get(sent, Known::Via).unwrap_or_default();
        let separator: &[u8] = if before.is_empty() { b"" } else { b", " };
        let value = [before, separator, manager.via.as_bytes()].concat();
        edits.fields.set(Known::Via, FieldValue::sanitized(value));
    }
    let is_forced = request.get(Known::XEnvoyForceTrace).is_some();
    if (manager.request_id_in_response || is_forced)
        && let Some(id) = request.text(Known::XRequestId)
    {
        edits.fields.set(Known::XRequestId, FieldValue::sanitized(id.to_owned()));
    }
}

thread_local! {
    /// The last number of [`number`].
    static NUMBER: RefCell<(u64, FieldValue)> = RefCell::new((0, FieldValue::from(0)));
    /// The value of `date`, made once a second.
    static DATE: RefCell<(u64, FieldValue)> = RefCell::default();
}

/// A number that is nearly always the same as for the request before, such as a time-out.
pub(super) fn number(number: u64) -> FieldValue {
    NUMBER.with_borrow_mut(|(made, value)| {
        if *made != number {
            *value = FieldValue::from(number);
            *made = number;
        }
        value.clone()
    })
}

/// The value of `date`.
pub(super) fn date() -> FieldValue {
    let seconds =
        clock::wall().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    DATE.with_borrow_mut(|(made, value)| {
        if *made != seconds {
            *value = FieldValue::sanitized(http_date(seconds));
            *made = seconds;
        }
        value.clone()
    })
}
