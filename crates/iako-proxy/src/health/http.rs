//! Checks by an HTTP request.

use std::{future::poll_fn, sync::Arc};

use bytes::{Bytes, BytesMut};
use iako_http::{
    BodyEvent, BodyLength, FieldsBuilder, Known, Method, NameRef, RequestEdits, RequestHead,
    RequestParts, ResponseHead, Scheme, Version,
};
use iako_proxy_config::{AppendAction, Endpoint, HeaderValueOption, HealthCheck, HttpCheck};
use iako_traffic::contains_in_order;

use super::check::{Checker, Heard, Unheard, host, value};
use crate::{
    http::downstream::Content,
    snapshot::UpstreamCluster,
    upstream::{Upstream, UpstreamError},
};

/// Most content of a response that is looked at, where the check says "all of it".
const CONTENT_BYTES_MAX: usize = 1 << 20;
/// As whom checks introduce themselves; servers know Envoy's by this name.
const USER_AGENT: &str = "Envoy/HC";
const CHECKED_CLUSTER: &str = "x-envoy-upstream-healthchecked-cluster";

/// Makes one check.
pub(super) async fn ask(
    checker: &mut Checker,
    cluster: &Arc<UpstreamCluster>,
    check: &HealthCheck,
    asked: &HttpCheck,
    endpoint: &Endpoint,
) -> Result<Heard, Unheard> {
    let version = if asked.http2 { Version::Http2 } else { Version::Http11 };
    let mut speaking = checker.speak(cluster, check, endpoint, version).await?;
    let head = request(cluster, asked, endpoint);
    let upstream = &mut speaking.upstream;
    let length = match asked.send.len() {
        0 => Content::None,
        length => Content::Exact(length as u64),
    };
    send(upstream, &head, (length, &asked.send)).await?;
    let response = poll_fn(|context| upstream.poll_final_head(context)).await?;
    let body = read(upstream, limit(asked)).await?;
    let heard = judge(cluster, asked, &response, &body);
    if let Some(kept) = speaking.done() {
        checker.keep(check, kept);
    }
    Ok(heard)
}

/// How much content is looked at.
fn limit(asked: &HttpCheck) -> usize {
    match usize::try_from(asked.response_bytes_max) {
        _ if asked.receive.is_empty() => 0,
        Ok(0) | Err(_) => CONTENT_BYTES_MAX,
        Ok(limit) => limit.min(CONTENT_BYTES_MAX),
    }
}

pub(super) async fn send(
    upstream: &mut Upstream,
    head: &RequestHead,
    (length, content): (Content, &[u8]),
) -> Result<(), UpstreamError> {
    upstream.send_head(head, &RequestEdits::default(), length)?;
    if !content.is_empty() {
        upstream.send_data(Bytes::copy_from_slice(content))?;
    }
    upstream.send_end(None)?;
    poll_fn(|context| upstream.poll_flush(context)).await
}

/// Reads a response to its end; keeps the first bytes.
async fn read(upstream: &mut Upstream, limit: usize) -> Result<Bytes, UpstreamError> {
    let mut kept = BytesMut::new();
    loop {
        match poll_fn(|context| upstream.poll_body(context)).await? {
            BodyEvent::Data(data) => {
                let room = limit.saturating_sub(kept.len()).min(data.len());
                kept.extend_from_slice(data.get(..room).unwrap_or_default());
            }
            BodyEvent::Trailers(_) => {}
            BodyEvent::End => return Ok(kept.freeze()),
        }
    }
}

fn judge(
    cluster: &UpstreamCluster,
    asked: &HttpCheck,
    response: &ResponseHead,
    body: &[u8],
) -> Heard {
    let status = response.status();
    let retriable = asked.retriable.iter().any(|range| range.contains(status));
    if !asked.expected.iter().any(|range| range.contains(status))
        || !contains_in_order(body, &asked.receive)
    {
        return Heard::Unwell { retriable, status: Some(status) };
    }
    if let Some(wanted) = &asked.service_name {
        if let Some(stats) = &cluster.check_stats {
            stats.verify_cluster.inc();
        }
        let name = response.fields().text(CHECKED_CLUSTER.as_bytes()).unwrap_or_default();
        if !wanted.matches(name) {
            return Heard::Unwell { retriable: false, status: Some(status) };
        }
    }
    Heard::Well { degraded: response.fields().contains(Known::XEnvoyDegraded) }
}

fn request(cluster: &UpstreamCluster, asked: &HttpCheck, endpoint: &Endpoint) -> RequestHead {
    let mut fields = vec![("user-agent".to_owned(), USER_AGENT.to_owned())];
    change(&mut fields, &asked.headers_add);
    fields.retain(|(name, _)| asked.headers_remove.iter().all(|gone| gone.as_str() != name));
    let length = match asked.send.len() {
        0 => BodyLength::Empty,
        length => BodyLength::Exact(length as u64),
    };
    let method = Method::parse(asked.method.as_str().as_bytes()).unwrap_or(Method::Get);
    let place = (host(cluster, &asked.host, endpoint), asked.path.as_str());
    head(cluster, endpoint, method, place, (&fields, length))
}

/// Adds and sets headers, as a route would.
pub(super) fn change(fields: &mut Vec<(String, String)>, options: &[HeaderValueOption]) {
    for option in options {
        let (name, value) = (option.name.as_str(), value(option));
        let has = fields.iter().any(|(field, _)| field == name);
        let (add, remove) = match option.action {
            AppendAction::AppendOrAdd => (true, false),
            AppendAction::AddIfAbsent => (!has, false),
            AppendAction::OverwriteOrAdd => (true, true),
            AppendAction::OverwriteIfExists => (has, has),
        };
        if remove {
            fields.retain(|(field, _)| field != name);
        }
        if add && (!value.is_empty() || option.keep_empty) {
            fields.push((name.to_owned(), value));
        }
    }
}

/// The head of a check's request. A header `:authority` or `host` takes the place of the host.
pub(super) fn head(
    cluster: &UpstreamCluster,
    endpoint: &Endpoint,
    method: Method,
    (host, path): (&str, &str),
    (fields, length): (&[(String, String)], BodyLength),
) -> RequestHead {
    let mut authority = host;
    let mut built = FieldsBuilder::with_capacity(256);
    for (name, value) in fields {
        match name.as_str() {
            "host" | ":authority" => authority = value,
            name if name.starts_with(':') => {}
            name => built.push(NameRef::from(name.as_bytes()), value.as_bytes()),
        }
    }
    let tls = cluster.transport_for(endpoint).is_tls();
    let parts = RequestParts {
        method,
        scheme: Some(if tls { Scheme::Https } else { Scheme::Http }),
        authority: authority.as_bytes(),
        path: path.as_bytes(),
        protocol: b"",
        length,
    };
    RequestHead::from_parts(parts, built)
}
