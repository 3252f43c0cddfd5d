//! The server's side of an exchange, whichever protocol it speaks, and the connections to servers.
//!
//! Start at [`pool::Pool`]; [`Upstream`] is one request on one of its connections.

pub(crate) mod h1;
pub(crate) mod h2;
pub(crate) mod originals;
pub(crate) mod pool;
pub(crate) mod tcp;

pub(crate) use pool::Pools;

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use iako_http::h2::ErrorCode;
use iako_http::{
    BodyEvent, Fields, HeaderEdits, LengthMismatch, ParseError, RequestEdits, RequestHead,
    ResponseHead,
};

use crate::http::downstream::Content;
use crate::http2::StreamPlace;

/// Why a request did not get its response, or not the whole of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// The server closed, or the connection broke.
    #[error("the upstream closed the connection")]
    Closed(#[source] Option<io::Error>),
    /// The server reset the stream.
    #[error("the upstream reset the stream: {0}")]
    Reset(ErrorCode),
    /// The server said that it did not look at the request (`REFUSED_STREAM`, GOAWAY): repeating it is
    /// safe.
    #[error("the upstream refused the stream")]
    Refused,
    /// What it sent is not HTTP.
    #[error("the upstream broke the protocol")]
    Protocol(#[from] ParseError),
    /// The request does not fit what its head announced: the fault of the client.
    #[error("the request does not fit its announced length")]
    Length(#[from] LengthMismatch),
    /// It broke HTTP/2, on this stream or on its connection; Envoy's details for it.
    #[error("the upstream broke HTTP/2: {0}")]
    Http2(&'static str),
    /// The request is an upgrade and the upstream takes no extended CONNECT (RFC 8441).
    #[error("the upstream takes no extended CONNECT")]
    NoExtendedConnect,
}

/// One request on a connection to a server.
#[derive(Debug)]
pub(crate) enum Upstream {
    /// A whole HTTP/1 connection; it goes back to the pool when the response is complete.
    Http1(Box<h1::Http1Upstream>),
    /// A stream of a shared HTTP/2 connection.
    Http2(Box<h2::Http2Upstream>),
    /// A connection without HTTP, on which a tunnel goes on.
    Tcp(Box<tcp::TcpUpstream>),
}

macro_rules! each {
    ($side:expr, $inner:ident => $call:expr) => {
        match $side {
            Upstream::Http1($inner) => $call,
            Upstream::Http2($inner) => $call,
            Upstream::Tcp($inner) => $call,
        }
    };
}

impl Upstream {
    /// Queues the request's head.
    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        content: Content,
    ) -> Result<(), UpstreamError> {
        match self {
            Self::Http1(connection) => connection.send_head(head, edits, content),
            Self::Http2(stream) => stream.send_head(head, edits, content),
            Self::Tcp(connection) => {
                connection.send_head(head);
                Ok(())
            }
        }
    }

    /// Queues a piece of the request's content.
    pub(crate) fn send_data(&mut self, data: Bytes) -> Result<(), UpstreamError> {
        match self {
            Self::Http1(connection) => connection.send_data(data),
            Self::Http2(stream) => {
                stream.send_data(data);
                Ok(())
            }
            Self::Tcp(connection) => {
                connection.send_data(data);
                Ok(())
            }
        }
    }

    /// Queues the end of the request.
    pub(crate) fn send_end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
    ) -> Result<(), UpstreamError> {
        match self {
            Self::Http1(connection) => connection.send_end(trailers),
            Self::Http2(stream) => {
                stream.send_end(trailers);
                Ok(())
            }
            Self::Tcp(connection) => {
                connection.send_end();
                Ok(())
            }
        }
    }

    /// The stream that the request goes on in; none on a connection of its own.
    pub(crate) fn place(&self) -> Option<StreamPlace> {
        match self {
            Self::Http2(stream) => stream.place(),
            Self::Http1(_) | Self::Tcp(_) => None,
        }
    }

    /// Bytes of the request that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        each!(self, inner => inner.queued())
    }

    /// Writes what is queued; ready once all of it is on its way.
    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        each!(self, inner => inner.poll_flush(context))
    }

    /// Takes the next head: interim ones (1xx), then that of the response.
    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamError>> {
        match self {
            Self::Http1(connection) => connection.poll_head(context),
            Self::Http2(stream) => stream.poll_head(context),
            Self::Tcp(connection) => connection.poll_head(),
        }
    }

    /// Takes the response's head; interim ones are passed over.
    pub(crate) fn poll_final_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamError>> {
        loop {
            let head = ready!(self.poll_head(context))?;
            if !head.is_interim() {
                return Poll::Ready(Ok(head));
            }
        }
    }

    /// Takes the next piece of the response's content.
    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, UpstreamError>> {
        each!(self, inner => inner.poll_body(context))
    }

    /// Whether any byte of the request may have reached the server: from then on only requests that
    /// may be repeated are repeated.
    pub(crate) fn has_sent(&self) -> bool {
        each!(self, inner => inner.has_sent())
    }

    /// Whether the server closed before anything of the request reached it.
    pub(crate) fn is_unseen(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_unseen(),
            Self::Http2(stream) => stream.is_unseen(),
            Self::Tcp(_) => false,
        }
    }

    /// Whether the connection had carried requests before: an early close is then the normal race of
    /// an idle connection.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reused(),
            Self::Http2(stream) => stream.is_reused(),
            Self::Tcp(_) => false,
        }
    }
}
