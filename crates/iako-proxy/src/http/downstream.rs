//! The client's side of an exchange, whichever protocol it speaks.

pub(crate) mod h1;
pub(crate) mod h2;

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use iako_http::{
    BodyEvent, Fields, HeaderEdits, LengthMismatch, ParseError, ResponseEdits, ResponseHead,
};

use super::content::ContentError;
use super::failure::Failure;
use crate::http2::codes;
use crate::overload::Account;

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
    /// It broke HTTP/2, on this stream or on its connection; Envoy's details for it.
    #[error("the client broke HTTP/2: {0}")]
    Http2(&'static str),
    /// Its stream held too much memory while that is short.
    #[error("the stream holds too much memory")]
    Overload,
    /// Its connection was closed because the proxy is overloaded.
    #[error("the connection was closed: the proxy is overloaded")]
    Shed,
    /// A filter cannot read its content.
    #[error("the client's content cannot be read")]
    Content(#[from] ContentError),
}

impl DownstreamError {
    /// Envoy's response code details.
    pub(crate) fn details(&self) -> &'static str {
        match self {
            Self::Gone(_) => "downstream_remote_disconnect",
            Self::Reset => "http2.remote_reset",
            Self::Protocol(error) => error.details(),
            Self::Http2(details) => details,
            Self::Length(_) => "http1.codec_error",
            Self::Overload => "overload",
            Self::Shed => "forced_goaway",
            Self::Content(ContentError::NotBase64) => "grpc_base_64_decode_failed",
            Self::Content(ContentError::CutBase64) => "grpc_base_64_decode_failed_bad_size",
            Self::Content(ContentError::Corrupt | ContentError::Inflates) => {
                "request_content_not_decompressed"
            }
            // The service says why.
            Self::Content(ContentError::Processed) => "",
        }
    }
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
    /// What the stream holds, where that is looked at.
    pub(crate) fn account(&self) -> Option<&Account> {
        match self {
            Downstream::Http1(_) => None,
            Downstream::Http2(side) => side.account(),
        }
    }

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
        match self {
            Downstream::Http1(side) => side.send_head(head, edits, content),
            Downstream::Http2(side) => {
                side.send_head(head, edits, content);
                Ok(())
            }
        }
    }

    /// Queues a piece of the response's content.
    pub(crate) fn send_data(&mut self, data: Bytes) -> Result<(), DownstreamError> {
        match self {
            Downstream::Http1(side) => side.send_data(data),
            Downstream::Http2(side) => {
                side.send_data(data);
                Ok(())
            }
        }
    }

    /// Queues the end of the response.
    pub(crate) fn send_end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
    ) -> Result<(), DownstreamError> {
        match self {
            Downstream::Http1(side) => side.send_end(trailers),
            Downstream::Http2(side) => {
                side.send_end(trailers);
                Ok(())
            }
        }
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
    pub(crate) fn abort(&mut self, failure: &Failure) {
        match self {
            Downstream::Http1(side) => side.abort(),
            Downstream::Http2(side) => side.abort(codes::for_client(failure)),
        }
    }
}
