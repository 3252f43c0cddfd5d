//! The bytes of a connection, plain or through TLS, towards clients and towards upstreams.

/// Writing to a wrapper of a socket is writing to the socket: only reading differs.
macro_rules! write_through {
    ($wrapper:ident, $inner:ident) => {
        impl<S: AsyncWrite + Unpin> AsyncWrite for $wrapper<S> {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().$inner).poll_write(context, bytes)
            }

            fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().$inner).poll_flush(context)
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.get_mut().$inner).poll_shutdown(context)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.get_mut().$inner).poll_write_vectored(context, slices)
            }

            fn is_write_vectored(&self) -> bool {
                self.$inner.is_write_vectored()
            }
        }
    };
}

pub(crate) mod client;
pub(crate) mod connect;
mod counted;
mod details;
pub(crate) mod dial;
pub(crate) mod failure;
mod key_log;
pub(crate) mod material;
mod prefixed;
mod proxy_header;
pub(crate) mod read_ahead;
pub(crate) mod server;
pub(crate) mod socket;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

pub(crate) use connect::{ConnectError, ConnectOptions, Connected, connect};
pub(crate) use counted::{Count, Counted};
pub(crate) use details::TlsDetails;
pub(crate) use prefixed::Prefixed;
pub(crate) use proxy_header::Proxied;
pub(crate) use read_ahead::ReadAhead;

/// Plaintext that TLS encrypts before it is written: all of it in one system call. Also bounds what is
/// held, encrypted, of a connection whose peer does not read.
pub(crate) const TLS_WRITE_BYTES: usize = 256 * 1024;

/// A connection, whatever carries it.
///
/// An enum and no trait object, so that the plain variants stay reachable for system calls that
/// only sockets have.
#[derive(Debug)]
pub(crate) enum Stream {
    /// A TCP socket, with what was already read from it.
    Tcp(Prefixed<TcpStream>),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS terminated here.
    ServerTls(Box<tokio_rustls::server::TlsStream<ReadAhead<Prefixed<TcpStream>>>>),
    /// TLS originated here.
    ClientTls(Box<tokio_rustls::client::TlsStream<ReadAhead<TcpStream>>>),
    /// TLS originated here, over a Unix socket.
    ClientTlsUnix(Box<tokio_rustls::client::TlsStream<UnixStream>>),
    /// Any of them, its bytes counted.
    Counted(Box<Counted>),
}

impl Stream {
    /// A plain TCP connection from which nothing was read yet.
    #[must_use]
    pub(crate) const fn tcp(socket: TcpStream) -> Self {
        Self::Tcp(Prefixed::new(socket, Bytes::new()))
    }

    /// Takes what was read from a plain connection before it came here; empty for TLS. A caller
    /// that parses it need not read it again.
    pub(crate) fn take_prefix(&mut self) -> Bytes {
        match self {
            Self::Tcp(stream) => stream.take_prefix(),
            Self::Counted(counted) => {
                let prefix = counted.stream.take_prefix();
                counted.count.add_received(u64::try_from(prefix.len()).unwrap_or(u64::MAX));
                prefix
            }
            Self::Unix(_) | Self::ServerTls(_) | Self::ClientTls(_) | Self::ClientTlsUnix(_) => {
                Bytes::new()
            }
        }
    }

    /// The TCP connection beneath; none on a Unix socket.
    pub(crate) fn tcp_socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream.get_ref()),
            Self::ServerTls(stream) => Some(stream.get_ref().0.get_ref().get_ref()),
            Self::ClientTls(stream) => Some(stream.get_ref().0.get_ref()),
            Self::Counted(counted) => counted.stream.tcp_socket(),
            Self::Unix(_) | Self::ClientTlsUnix(_) => None,
        }
    }

    /// The socket, when what is read from it and written to it are the bytes of the connection, and
    /// none were read ahead.
    pub(crate) fn plain_socket(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) if !stream.has_prefix() => Some(stream.get_ref()),
            Self::Tcp(_)
            | Self::Unix(_)
            | Self::ServerTls(_)
            | Self::ClientTls(_)
            | Self::ClientTlsUnix(_)
            | Self::Counted(_) => None,
        }
    }

    /// Ready once the client of an accepted connection has said something, or ended: with the bytes
    /// that are there, which stay to be read.
    pub(crate) fn poll_first_bytes(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_fill(context),
            Self::ServerTls(stream) => {
                Pin::new(&mut **stream).poll_fill_buf(context).map_ok(<[u8]>::len)
            }
            Self::Counted(counted) => counted.stream.poll_first_bytes(context),
            // Nobody waits for a server to begin.
            Self::Unix(_) | Self::ClientTls(_) | Self::ClientTlsUnix(_) => Poll::Ready(Ok(0)),
        }
    }

    /// Whether the other end has broken the connection; else the task is woken when it does. TLS tells
    /// that only to who reads.
    pub(crate) fn poll_gone(&self, context: &mut Context<'_>) -> bool {
        match self {
            Self::Tcp(stream) => {
                let mut byte = [0];
                let mut buffer = ReadBuf::new(&mut byte);
                matches!(stream.get_ref().poll_peek(context, &mut buffer), Poll::Ready(Err(_)))
            }
            Self::Counted(counted) => counted.stream.poll_gone(context),
            Self::ServerTls(_) | Self::Unix(_) | Self::ClientTls(_) | Self::ClientTlsUnix(_) => {
                false
            }
        }
    }

    /// Bytes of the client that are here already, without waiting for any.
    pub(crate) fn bytes_at_hand(&mut self) -> u64 {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match self.poll_first_bytes(&mut context) {
            Poll::Ready(Ok(bytes)) => u64::try_from(bytes).unwrap_or(u64::MAX),
            Poll::Ready(Err(_)) | Poll::Pending => 0,
        }
    }

    /// The same, its bytes counted.
    pub(crate) fn counted(self, count: std::sync::Arc<Count>) -> Self {
        Self::Counted(Box::new(Counted { stream: self, count }))
    }

    /// Whether bytes are encrypted on the wire.
    #[must_use]
    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::ServerTls(_) | Self::ClientTls(_) | Self::ClientTlsUnix(_) => true,
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Counted(counted) => counted.stream.is_tls(),
        }
    }
}

/// Why a handshake failed, when that was because of a certificate and not of the connection.
pub(crate) fn certificate_error(error: &io::Error) -> Option<&rustls::Error> {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.filter(|error| {
        matches!(
            error,
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
        )
    })
}

macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            Stream::Unix($inner) => $call,
            Stream::ServerTls($inner) => $call,
            Stream::ClientTls($inner) => $call,
            Stream::ClientTlsUnix($inner) => $call,
            Stream::Counted($inner) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, inner => inner.is_write_vectored())
    }
}
