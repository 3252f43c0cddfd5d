//! Copies of requests for others, whose answers nobody waits for.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use iako_http::{BodyEvent, FieldName, Fields, HeaderEdits, RequestEdits, RequestHead, Version};
use iako_proxy_config::{EndpointAddress, HeaderEdit, Mirror, MirrorTarget, RoutePriority};
use iako_rt::clock;
use iako_traffic::{Headers as _, PickRequest};
use tokio::sync::mpsc;

use super::downstream::Content;
use super::exchange::Exchange;
use super::trace::CopyFacts;
use super::{mutations, record};
use crate::snapshot::UpstreamCluster;
use crate::upstream::Upstream;
use crate::upstream::pool::{Pools, Repeat, Want};
use crate::worker::Worker;

/// Pieces of content that may wait for a slow mirror; a mirror that falls behind further is given up.
const PIECES_MAX: usize = 64;

/// Longest life of a copy.
const COPY_TIME_MAX: Duration = Duration::from_secs(60);

/// Starts a copy of the request beside it.
pub(super) fn start(exchange: &mut Exchange<'_>, policy: &Mirror, content: Content) {
    if content == Content::Tunnel {
        return;
    }
    let Some(cluster) = target(exchange, policy) else { return };
    let mut edits = exchange.request.edits.clone();
    if let Some(host) = &policy.host {
        edits.authority = Some(host.as_str().into());
    } else if !policy.keep_host {
        edits.authority = Some(shadow(exchange.request.authority()).into());
    }
    if !policy.edits.is_empty() {
        change(exchange, policy, &mut edits);
    }
    let traced = exchange.mirror_context(policy.traced);
    if let (Some((tracer, span)), true) = (&traced, exchange.propagates()) {
        span.inject(tracer, &mut edits);
    }
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let copy = Copy {
        worker: Rc::clone(&exchange.connection.worker),
        cluster: Arc::clone(cluster),
        head: exchange.request.head.clone(),
        edits,
        content,
    };
    if content != Content::None {
        exchange.upload.mirror_to(sender);
    }
    let worker = Rc::clone(&exchange.connection.worker);
    worker.scope.spawn("mirror", async move {
        let mut seen = Seen::default();
        let sending = copy.send(pieces, &mut seen);
        if tokio::time::timeout(COPY_TIME_MAX, sending).await.is_err() {
            tracing::debug!("a mirror took too long");
        }
        if let Some((tracer, span)) = traced {
            let facts = CopyFacts {
                cluster: &copy.cluster,
                host: seen.host.as_ref(),
                version: seen.version,
                status: seen.status,
                now: clock::now(),
            };
            if let Some(span) = span.end(&facts) {
                tracer.report(&copy.worker, span);
            }
        }
    });
}

/// Who gets the copy.
fn target<'e>(exchange: &Exchange<'e>, policy: &Mirror) -> Option<&'e Arc<UpstreamCluster>> {
    let named;
    let name = match &policy.target {
        MirrorTarget::Cluster(name) => name.as_str(),
        MirrorTarget::Header(header) => {
            let view = exchange.request.view();
            let value = view.value(header.as_str(), 0)?;
            named = String::from_utf8_lossy(value).into_owned();
            &named
        }
    };
    let cluster = exchange.snapshot.cluster(name);
    if cluster.is_none() {
        tracing::debug!(cluster = name, "a mirror names a cluster that does not exist");
    }
    cluster
}

/// Makes the policy's changes of the copy's headers.
fn change(exchange: &Exchange<'_>, policy: &Mirror, edits: &mut RequestEdits) {
    let request = &exchange.request;
    let view = request.view();
    let further = exchange.facts();
    let record = record::access_record(&further, &view);
    for edit in &policy.edits {
        match edit {
            HeaderEdit::Add(option) => {
                mutations::add_to_copy(request.head.fields(), edits, option, &record);
            }
            HeaderEdit::Remove(name) => {
                if let Ok(name) = FieldName::parse(name.as_str().as_bytes()) {
                    edits.fields.remove(name);
                }
            }
            HeaderEdit::RemoveMatching(condition) => {
                let mut names = Vec::new();
                for field in iako_http::edited_fields(request.head.fields(), &edits.fields) {
                    let text = std::str::from_utf8(field.name).unwrap_or_default();
                    if condition.matches(text) {
                        names.extend(FieldName::parse(field.name).ok());
                    }
                }
                names.into_iter().for_each(|name| edits.fields.remove(name));
            }
        }
    }
}

/// The host of a copy, so that its receiver can tell it from the request. Source: Envoy
/// `RequestMirrorPolicy`.
fn shadow(authority: &str) -> String {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{host}-shadow:{port}")
        }
        Some(_) | None => format!("{authority}-shadow"),
    }
}

/// What was seen of a copy, for its span.
#[derive(Debug, Default)]
struct Seen {
    host: Option<EndpointAddress>,
    version: Option<Version>,
    status: Option<u16>,
}

struct Copy {
    worker: Rc<Worker>,
    cluster: Arc<UpstreamCluster>,
    head: RequestHead,
    edits: RequestEdits,
    content: Content,
}

impl Copy {
    async fn send(&self, pieces: mpsc::Receiver<BodyEvent>, seen: &mut Seen) {
        if let Err(problem) = self.try_send(pieces, seen).await {
            tracing::debug!(cluster = %self.cluster.name, problem, "a mirror failed");
        }
    }

    async fn try_send(
        &self,
        mut pieces: mpsc::Receiver<BodyEvent>,
        seen: &mut Seen,
    ) -> Result<(), String> {
        let balancer = self.cluster.balancer();
        let mut draw = || self.worker.with_rng(iako_rt::Rng::next_u64);
        let pick = balancer.pick(&PickRequest::default(), clock::now(), &mut draw);
        let pick = pick.ok_or("no endpoint takes requests")?;
        let want = Want {
            cluster: &self.cluster,
            endpoint: &pick.endpoint.endpoint,
            state: &pick.endpoint.state,
            priority: RoutePriority::Default,
            version: self.head.version(),
            host: self.edits.authority(&self.head),
            client: None,
            istio_alpn: self.cluster.config.metadata.alpn_override,
            owner: None,
            repeat: Repeat::Unsafe,
        };
        seen.host = Some(pick.endpoint.endpoint.address.clone());
        let text = |error: &dyn std::error::Error| error.to_string();
        let mut lease = Pools::acquire(&self.worker, &want).await.map_err(|e| text(&e))?;
        let upstream = &mut lease.upstream;
        seen.version = Some(upstream.version());
        upstream.send_head(&self.head, &self.edits, self.content).map_err(|e| text(&e))?;
        poll_fn(|context| upstream.poll_flush(context)).await.map_err(|e| text(&e))?;
        let trailers =
            if self.content == Content::None { None } else { relay(&mut pieces, upstream).await? };
        let edits = HeaderEdits::default();
        let trailers = trailers.as_deref().map(|fields| (fields, &edits));
        upstream.send_end(trailers).map_err(|e| text(&e))?;
        poll_fn(|context| upstream.poll_flush(context)).await.map_err(|e| text(&e))?;
        let head = poll_fn(|context| upstream.poll_final_head(context)).await;
        seen.status = Some(head.map_err(|e| text(&e))?.status());
        loop {
            match poll_fn(|context| upstream.poll_body(context)).await.map_err(|e| text(&e))? {
                BodyEvent::End => break,
                BodyEvent::Data(_) | BodyEvent::Trailers(_) => {}
            }
        }
        lease.release();
        Ok(())
    }
}

/// Passes the content of a copy on; gives back its trailers.
async fn relay(
    pieces: &mut mpsc::Receiver<BodyEvent>,
    upstream: &mut Upstream,
) -> Result<Option<Box<Fields>>, String> {
    let mut trailers = None;
    loop {
        match pieces.recv().await {
            Some(BodyEvent::Data(data)) => {
                upstream.send_data(data).map_err(|error| error.to_string())?;
            }
            Some(BodyEvent::Trailers(fields)) => trailers = Some(fields),
            Some(BodyEvent::End) => return Ok(trailers),
            None => return Err("the request was given up, or the mirror fell behind".to_owned()),
        }
        let flushed = poll_fn(|context| upstream.poll_flush(context)).await;
        flushed.map_err(|error| error.to_string())?;
    }
}
