//! Connections to the control plane, with or without TLS, and what they prove.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use iako_identity::TlsServer;
use iako_rt::Scope;
use iako_xds::transport::{Accepted, Peer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

/// Longest time for a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Handshakes at once; further connections wait in the kernel's queue.
const HANDSHAKES_MAX: usize = 256;

/// A connection to the control plane.
#[derive(Debug)]
pub(crate) enum Connection {
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
    /// Without.
    Plaintext(TcpStream),
}

/// What the servers take connections from.
pub(crate) type Incoming = ReceiverStream<io::Result<Accepted<Connection>>>;

/// Connections that arrive on `listener`, after their TLS handshakes; `tls` may change, and counts
/// for new connections.
pub(crate) fn tls(
    listener: TcpListener,
    tls: watch::Receiver<Arc<TlsServer>>,
    scope: &Scope,
) -> Incoming {
    let (ready, incoming) = mpsc::channel(64);
    let handshakes = Scope::new();
    scope.spawn("tls connections", async move {
        let slots = Arc::new(Semaphore::new(HANDSHAKES_MAX));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let Some((stream, address)) = accept(&listener).await else { continue };
            let (server, ready) = (Arc::clone(&tls.borrow()), ready.clone());
            handshakes.spawn("tls handshake", async move {
                match handshake(&server, stream, address).await {
                    Ok(connection) => {
                        if ready.send(Ok(connection)).await.is_err() {
                            tracing::debug!("the server is gone");
                        }
                    }
                    Err(error) => tracing::debug!(%error, "tls handshake failed"),
                }
                drop(slot);
            });
        }
    });
    ReceiverStream::new(incoming)
}

/// Connections that arrive on `listener`, as they are.
pub(crate) fn plaintext(listener: TcpListener, scope: &Scope) -> Incoming {
    let (ready, incoming) = mpsc::channel(64);
    scope.spawn("plaintext connections", async move {
        loop {
            let Some((stream, address)) = accept(&listener).await else { continue };
            let peer = Peer { address: Some(address), ..Peer::default() };
            let accepted = Accepted::new(Connection::Plaintext(stream), peer);
            if ready.send(Ok(accepted)).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(incoming)
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, address)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection was gone at once");
            }
            Some((stream, address))
        }
        Err(error) => {
            // Usually too many open files: wait for some to close.
            tracing::warn!(%error, "a connection could not be taken");
            time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}

async fn handshake(
    server: &TlsServer,
    stream: TcpStream,
    address: SocketAddr,
) -> io::Result<Accepted<Connection>> {
    let acceptor = TlsAcceptor::from(Arc::clone(server.config()));
    let stream = time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream))
        .await
        .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))??;
    let peer = server.peer(stream.get_ref().1, iako_rt::clock::wall()).map_err(io::Error::other)?;
    let id = peer.and_then(|peer| peer.spiffe_id.as_ref().map(ToString::to_string));
    let peer = Peer { address: Some(address), identities: id.into_iter().collect() };
    Ok(Accepted::new(Connection::Tls(Box::new(stream)), peer))
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Plaintext(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Plaintext(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
            Self::Plaintext(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Plaintext(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
