//! Connections under the conversation. The caller brings the bytes (TCP, TLS), this brings HTTP/2.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::{
    codegen::{Service, http::Uri},
    transport::{Channel, Endpoint, server::Connected},
};

/// Largest message either side takes, in bytes. Whole-mesh listeners and endpoints reach tens of
/// megabytes; gRPC's usual 4 MiB would cut such proxies off.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How often an idle connection is probed: a control plane that vanished without a word is noticed
/// within this and [`KEEPALIVE_TIMEOUT`].
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a probe may stay unanswered.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long opening a connection may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A gRPC channel over connections that `dial` opens, with keepalive.
///
/// `authority` names the server in requests (`istiod.istio-system.svc:15012`); where it is, and
/// whether it is who it should be, is `dial`'s duty. The first connection is opened here.
///
/// # Errors
/// When `authority` is no authority, or the first connection fails.
pub async fn channel<Dial, Opening, Io>(
    authority: &str,
    dial: Dial,
) -> Result<Channel, tonic::transport::Error>
where
    Dial: FnMut() -> Opening + Send + 'static,
    Opening: Future<Output = io::Result<Io>> + Send + 'static,
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The scheme only shapes `:scheme`; tonic would want TLS of its own for "https".
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true);
    endpoint.connect_with_connector(Dialler { dial }).await
}

/// A tonic server with the keepalive that the other end of [`channel`] expects.
#[must_use]
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_adaptive_window(Some(true))
}

/// A dial function as the service that tonic wants.
struct Dialler<Dial> {
    dial: Dial,
}

impl<Dial, Opening, Io> Service<Uri> for Dialler<Dial>
where
    Dial: FnMut() -> Opening,
    Opening: Future<Output = io::Result<Io>> + Send + 'static,
    Io: AsyncRead + AsyncWrite,
{
    type Response = TokioIo<Io>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Io>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let opening = (self.dial)();
        Box::pin(async move { opening.await.map(TokioIo::new) })
    }
}

/// What a connection has proved about the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// Where it connected from.
    pub address: Option<SocketAddr>,
    /// The verified identities of its certificate (`spiffe://…`); empty without one.
    pub identities: Arc<[String]>,
}

/// An accepted connection with what it has proved, for tonic's `serve_with_incoming`.
///
/// Handlers find the [`Peer`] among a request's extensions.
#[derive(Debug)]
pub struct Accepted<Io> {
    io: Io,
    peer: Peer,
}

impl<Io> Accepted<Io> {
    /// A connection, its TLS handshake done.
    pub const fn new(io: Io, peer: Peer) -> Self {
        Self { io, peer }
    }
}

impl<Io> Connected for Accepted<Io> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Accepted<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Accepted<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
