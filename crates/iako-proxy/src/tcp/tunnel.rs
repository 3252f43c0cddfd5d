//! Bytes of a TCP connection inside of an HTTP request.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use iako_http::{
    BodyEvent, BodyLength, FieldName, FieldsBuilder, Method, RequestEdits, RequestHead,
    RequestParts, Scheme, Version,
};
use iako_proxy_config::{AppendAction, Endpoint, RoutePriority, TcpTunnel, TunnelMethod};
use iako_telemetry::{AccessRecord, ResponseFlag};
use iako_traffic::EndpointState;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::onward::Onward;
use crate::{
    http::{downstream::Content, mutations::render, wire::QUEUE_BYTES_MAX},
    snapshot::UpstreamCluster,
    transport::Proxied,
    upstream::{
        UpstreamError,
        pool::{AcquireError, ConnectionFacts, Lease, Pools, Repeat, Want},
    },
    worker::Worker,
};

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(super) enum TunnelError {
    /// No connection to the server of the tunnel.
    #[error("no connection for the tunnel")]
    Acquire(#[from] AcquireError),
    /// The request was not answered.
    #[error("the tunnel was not answered")]
    Upstream(#[from] UpstreamError),
    /// The server refused.
    #[error("the tunnel was answered with status {0}")]
    Refused(u16),
    /// It took too long.
    #[error("the tunnel was not answered in time")]
    Timeout,
}

impl TunnelError {
    /// What the log says about it, for `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub(super) fn transport_reason(&self) -> String {
        match self {
            Self::Acquire(AcquireError::Connect(error)) => error.transport_reason(),
            Self::Acquire(
                AcquireError::Overflow
                | AcquireError::Pending
                | AcquireError::Pools
                | AcquireError::Shed,
            ) => String::new(),
            Self::Refused(status) => format!("tunnel_response:{status}"),
            Self::Upstream(_) | Self::Timeout => self.to_string().replace(' ', "_"),
        }
    }

    /// Envoy's flag for it.
    pub(super) const fn response_flag(&self) -> ResponseFlag {
        match self {
            Self::Acquire(AcquireError::Overflow | AcquireError::Pending | AcquireError::Shed) => {
                ResponseFlag::UpstreamOverflow
            }
            Self::Acquire(AcquireError::Pools) => ResponseFlag::NoHealthyUpstream,
            Self::Acquire(AcquireError::Connect(_))
            | Self::Upstream(_)
            | Self::Refused(_)
            | Self::Timeout => ResponseFlag::UpstreamConnectionFailure,
        }
    }
}

/// An endpoint to which a tunnel is opened.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) cluster: &'a Arc<UpstreamCluster>,
    pub(super) endpoint: &'a Endpoint,
    pub(super) state: &'a Arc<EndpointState>,
}

/// The request that a tunnel travels in.
#[derive(Debug)]
pub(super) struct Request {
    head: RequestHead,
    edits: RequestEdits,
    content: Content,
}

impl Request {
    /// Makes it; the facts of `record` are told where the settings ask for them.
    pub(super) fn new(tunnel: &TcpTunnel, record: &AccessRecord<'_>, scheme: Scheme) -> Self {
        let content = match tunnel.method {
            TunnelMethod::Connect => Content::Tunnel,
            TunnelMethod::Post { .. } => Content::Streamed,
        };
        Self { head: head(tunnel, record, scheme), edits: edits(tunnel, record), content }
    }
}

/// Opens a tunnel within the connect timeout of its cluster.
///
/// # Errors
/// When the server cannot be reached, or does not agree.
pub(super) async fn open(
    worker: &Rc<Worker>,
    place: Place<'_>,
    request: &Request,
    client: Option<&Proxied>,
) -> Result<Onward, TunnelError> {
    let limit = place.cluster.config.connect_timeout;
    let opening = ask(worker, place, request, client);
    tokio::time::timeout(limit, opening).await.unwrap_or(Err(TunnelError::Timeout))
}

async fn ask(
    worker: &Rc<Worker>,
    Place { cluster, endpoint, state }: Place<'_>,
    request: &Request,
    client: Option<&Proxied>,
) -> Result<Onward, TunnelError> {
    let want = Want {
        cluster,
        endpoint,
        state,
        priority: RoutePriority::Default,
        // Which the cluster speaks is the cluster's to say.
        version: Version::Http11,
        host: request.head.authority(),
        client,
        istio_alpn: false,
        owner: None,
        repeat: Repeat::Unsafe,
    };
    let mut lease = Pools::acquire(worker, &want).await?;
    let upstream = &mut lease.upstream;
    upstream.send_head(&request.head, &request.edits, request.content)?;
    poll_fn(|context| upstream.poll_flush(context)).await?;
    let answer = poll_fn(|context| upstream.poll_final_head(context)).await?;
    if !(200..300).contains(&answer.status()) {
        return Err(TunnelError::Refused(answer.status()));
    }
    let stream = TunnelStream { lease, rest: Bytes::new(), ends: Ends::default() };
    Ok(Onward::tunnel(stream))
}

fn head(tunnel: &TcpTunnel, record: &AccessRecord<'_>, scheme: Scheme) -> RequestHead {
    let authority = render(&tunnel.hostname, record);
    let (method, scheme, path, length) = match &tunnel.method {
        TunnelMethod::Connect => (Method::Connect, None, "", BodyLength::Tunnel),
        TunnelMethod::Post { path } => {
            (Method::Post, Some(scheme), path.as_str(), BodyLength::Chunked)
        }
    };
    let parts = RequestParts {
        method,
        scheme,
        authority: authority.as_bytes(),
        path: path.as_bytes(),
        protocol: b"",
        length,
    };
    RequestHead::from_parts(parts, FieldsBuilder::with_capacity(0))
}

fn edits(tunnel: &TcpTunnel, record: &AccessRecord<'_>) -> RequestEdits {
    let mut edits = RequestEdits::default();
    for option in &tunnel.headers {
        let value = render(&option.value, record);
        let Ok(name) = FieldName::parse(option.name.as_str().as_bytes()) else { continue };
        if value.as_bytes().is_empty() && !option.keep_empty {
            continue;
        }
        match option.action {
            AppendAction::AppendOrAdd => edits.fields.append(name, value),
            AppendAction::AddIfAbsent => edits.fields.add_if_absent(name, value),
            AppendAction::OverwriteOrAdd => edits.fields.set(name, value),
            // The request has no headers that could be there.
            AppendAction::OverwriteIfExists => {}
        }
    }
    edits
}

/// The bytes of a tunnel.
#[derive(Debug)]
pub(crate) struct TunnelStream {
    lease: Lease,
    /// Received, not yet taken.
    rest: Bytes,
    ends: Ends,
}

/// Which ends of a tunnel are closed.
#[derive(Debug, Default)]
struct Ends {
    received: bool,
    sent: bool,
}

impl TunnelStream {
    /// What is known of the connection that the tunnel's request is on.
    pub(super) fn facts(&self) -> &ConnectionFacts {
        self.lease.facts()
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.rest.is_empty() && !this.ends.received {
            match ready!(this.lease.upstream.poll_body(context)).map_err(io::Error::other)? {
                BodyEvent::Data(data) => this.rest = data,
                BodyEvent::Trailers(_) => {}
                BodyEvent::End => this.ends.received = true,
            }
        }
        let count = this.rest.len().min(buffer.remaining());
        buffer.put_slice(this.rest.get(..count).unwrap_or_default());
        this.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let upstream = &mut self.get_mut().lease.upstream;
        if upstream.queued() >= QUEUE_BYTES_MAX {
            ready!(upstream.poll_flush(context)).map_err(io::Error::other)?;
        }
        let piece = bytes.get(..bytes.len().min(QUEUE_BYTES_MAX)).unwrap_or_default();
        upstream.send_data(Bytes::copy_from_slice(piece)).map_err(io::Error::other)?;
        match upstream.poll_flush(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(io::Error::other(error))),
            // What waits is flushed before more is written.
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(piece.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().lease.upstream.poll_flush(context).map_err(io::Error::other)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ends.sent {
            this.ends.sent = true;
            this.lease.upstream.send_end(None).map_err(io::Error::other)?;
        }
        this.lease.upstream.poll_flush(context).map_err(io::Error::other)
    }
}
