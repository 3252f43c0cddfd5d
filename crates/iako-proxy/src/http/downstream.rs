//! The client's side of an exchange, whichever protocol it speaks.

pub(crate) mod h1;
pub(crate) mod h2;

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use iako_http::{
    BodyEvent, Fields, HeaderEdits, LengthMismatch, ParseError, ResponseEdits, ResponseHead,
};

use super::grpc_web::NotBase64;

/// Why nothing more can be read from a client or written to it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownstreamError {
    /// It closed, or the connection broke.
    #[error("the client went away")]
    Gone(#[source] Option<io::Error>),
    /// It reset its stream.
    #[error("the client reset the stream")]
    Reset,
    /// What it sent is not HTTP.
    #[error("the client broke the protocol")]
    Protocol(#[from] ParseError),
    /// The response does not fit what its head announced: the fault of whoever made it.
    #[error("the response does not fit its announced length")]
    Length(#[from] LengthMismatch),
    /// The content of its gRPC-Web call is no base64.
    #[error("the client's content is no base64")]
    NotBase64(#[from] NotBase64),
}

/// Whether content follows a head that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// None: the message ends with its head.
    None,
    /// Exactly that many bytes.
    Exact(u64),
    /// Until it ends.
    Streamed,
    /// None follows, but the head speaks of so much (the answer to HEAD, 304).
    Described(Option<u64>),
    /// Opaque bytes both ways.
    Tunnel,
}

/// The client's side of one exchange.
#[derive(Debug)]
pub(crate) enum Downstream<'a> {
    /// A request on an HTTP/1 connection, served in that connection's task.
    Http1(&'a mut h1::Http1Downstream),
    /// A stream of an HTTP/2 connection, in a task of its own.
    Http2(&'a mut h2::Http2Downstream),
}

macro_rules! each {
    ($side:expr, $inner:ident => $call:expr) => {
        match $side {
            Downstream::Http1($inner) => $call,
            Downstream::Http2($inner) => $call,
        }
    };
}

impl Downstream<'_> {
    /// Takes the next piece of the request's content.
    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, DownstreamError>> {
        each!(self, inner => inner.poll_body(context))
    }

    /// Ready when the client is gone; asked while nothing else is read from it.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<DownstreamError> {
        each!(self, inner => inner.poll_gone(context))
    }

    /// An HTTP/1 connection ends with the response that is sent next.
    pub(crate) fn close_after_response(&mut self) {
        if let Downstream::Http1(side) = self {
            side.close_after_response();
        }
    }

    /// Queues an interim response (1xx), which the response itself follows.
    pub(crate) fn send_interim(&mut self, head: &ResponseHead) {
        each!(self, inner => inner.send_interim(head));
    }

    /// Queues the response's head.
    pub(crate) fn send_head(
        &mut self,
        head: &ResponseHead,
        edits: &ResponseEdits,
        content: Content,
    ) -> Result<(), DownstreamError> {
        each!(self, inner => inner.send_head(head, edits, content))
    }

    /// Queues a piece of the response's content.
    pub(crate) fn send_data(&mut self, data: Bytes) -> Result<(), DownstreamError> {
        each!(self, inner => inner.send_data(data))
    }

    /// Queues the end of the response.
    pub(crate) fn send_end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
    ) -> Result<(), DownstreamError> {
        each!(self, inner => inner.send_end(trailers))
    }

    /// Bytes of the response that wait to be written.
    pub(crate) fn queued(&self) -> usize {
        each!(self, inner => inner.queued())
    }

    /// Writes what is queued; ready once all of it is on its way.
    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), DownstreamError>> {
        each!(self, inner => inner.poll_flush(context))
    }

    /// Ends the exchange in a way that tells the client that the response is incomplete.
    pub(crate) fn abort(&mut self) {
        each!(self, inner => inner.abort());
    }
}
