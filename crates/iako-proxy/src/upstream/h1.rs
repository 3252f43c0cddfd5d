//! A request on an HTTP/1 connection.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use iako_http::{
    BodyEncoder, BodyEvent, ConnectionField, Fields, Framing, HeaderEdits, Limits, Method,
    NameCase, ParseError, Persistence, RequestEdits, RequestHead, ResponseDecoder, ResponseHead,
    ResponseTo, Wire as WireForm, write_request_head,
};

use super::UpstreamError;
use crate::http::downstream::Content;
use crate::http::wire::Wire;
use crate::transport::Stream;

/// The client's half of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Http1Upstream {
    wire: Wire,
    decoder: ResponseDecoder,
    encoder: BodyEncoder,
    name_case: NameCase,
    /// Requests before the current one.
    served: u32,
    sent: Sent,
    persistence: Persistence,
    tunnel: Tunnel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Nothing,
    /// Bytes may have reached the server.
    Part,
    /// All but what is queued.
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    No,
    Open,
    Ended,
}

/// Bounds on responses. Envoy's for upstream heads are the same 60 KiB; servers that sign many cookies
/// send more fields than clients do.
pub(crate) fn response_limits(name_case: NameCase) -> Limits {
    Limits { fields_max: 200, name_case, ..Limits::default() }
}

impl Http1Upstream {
    /// Takes a new connection over.
    pub(crate) fn new(stream: Stream, name_case: NameCase) -> Self {
        Self {
            wire: Wire::new(stream, Bytes::new()),
            decoder: ResponseDecoder::new(response_limits(name_case)),
            encoder: BodyEncoder::Empty,
            name_case,
            served: 0,
            sent: Sent::Nothing,
            persistence: Persistence::KeepAlive,
            tunnel: Tunnel::No,
        }
    }

    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        content: Content,
    ) -> Result<(), UpstreamError> {
        let method = edits.method(head);
        let upgrade = head.upgrade().filter(|_| content == Content::Tunnel);
        let (framing, encoder) = match content {
            Content::None if !method.is_bodiless() => (Framing::Length(0), BodyEncoder::Empty),
            Content::Exact(length) => (Framing::Length(length), BodyEncoder::Exact(length)),
            Content::Streamed => (Framing::Chunked, BodyEncoder::Chunked),
            // What follows is the tunnel's, once the server has agreed to one.
            Content::None | Content::Described(_) | Content::Tunnel => {
                (Framing::Silent, BodyEncoder::Empty)
            }
        };
        self.encoder = encoder;
        self.sent = Sent::Nothing;
        self.decoder.expect(match content {
            Content::Tunnel if upgrade.is_some() => ResponseTo::Upgrade,
            Content::Tunnel => ResponseTo::Connect,
            Content::None | Content::Exact(_) | Content::Streamed | Content::Described(_) => {
                if *method == Method::Head {
                    ResponseTo::Head
                } else {
                    ResponseTo::Plain
                }
            }
        });
        let form = WireForm {
            framing,
            connection: upgrade.map_or(ConnectionField::Omit, ConnectionField::Upgrade),
            name_case: self.name_case,
        };
        write_request_head(head, edits, form, self.wire.output.tail());
        Ok(())
    }

    pub(crate) fn send_data(&mut self, data: Bytes) -> Result<(), UpstreamError> {
        let after = self.encoder.data(data.len(), self.wire.output.tail())?;
        self.wire.output.push(data);
        self.wire.output.tail().extend_from_slice(after);
        Ok(())
    }

    pub(crate) fn send_end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
    ) -> Result<(), UpstreamError> {
        self.encoder.end(trailers, self.wire.output.tail())?;
        if self.tunnel == Tunnel::Open {
            self.tunnel = Tunnel::Ended;
        }
        self.encoder = BodyEncoder::Empty;
        self.sent = Sent::Whole;
        Ok(())
    }

    pub(crate) fn queued(&self) -> usize {
        self.wire.output.len()
    }

    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        if self.sent == Sent::Nothing && !self.wire.output.is_empty() {
            self.sent = Sent::Part;
        }
        let flushed = match self.tunnel {
            Tunnel::Ended => self.wire.poll_shutdown(context),
            Tunnel::No | Tunnel::Open => self.wire.poll_flush(context),
        };
        flushed.map_err(|error| UpstreamError::Closed(Some(error)))
    }

    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamError>> {
        loop {
            match self.decoder.head(&mut self.wire.input)? {
                Some(head) if head.is_interim() => return Poll::Ready(Ok(head)),
                Some(head) => {
                    self.begin_response(&head);
                    return Poll::Ready(Ok(head));
                }
                None => ready!(self.poll_more(context))?,
            }
        }
    }

    fn begin_response(&mut self, head: &ResponseHead) {
        self.persistence = head.persistence();
        if head.length() == iako_http::BodyLength::Tunnel {
            self.tunnel = Tunnel::Open;
            self.encoder = BodyEncoder::Raw;
        }
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, UpstreamError>> {
        loop {
            if let Some(event) = self.decoder.body(&mut self.wire.input)? {
                return Poll::Ready(Ok(event));
            }
            ready!(self.poll_more(context))?;
        }
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        match ready!(self.wire.poll_fill(context)) {
            Ok(0) if self.wire.input.is_empty() && self.decoder.is_body_done() => {
                Poll::Ready(Err(UpstreamError::Closed(None)))
            }
            Ok(0) => Poll::Ready(self.decoder.eof(&self.wire.input).map_err(closed_or_protocol)),
            Ok(_) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(UpstreamError::Closed(Some(error)))),
        }
    }

    pub(crate) fn has_sent(&self) -> bool {
        self.sent != Sent::Nothing
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.served > 0
    }

    /// Whether the connection is clean and may carry another request.
    pub(crate) fn is_reusable(&self) -> bool {
        self.persistence == Persistence::KeepAlive
            && self.decoder.is_body_done()
            && self.sent == Sent::Whole
            && self.wire.input.is_empty()
            && self.wire.output.is_empty()
            && self.tunnel == Tunnel::No
    }

    /// Counts the finished request and gives back memory until the next one.
    pub(crate) fn rest(&mut self) -> u32 {
        self.served += 1;
        self.sent = Sent::Nothing;
        self.wire.rest();
        self.served
    }

    /// Ready when an idle connection can no longer be used: the server closed it, or sent something
    /// that nobody asked for.
    pub(crate) fn poll_stale(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wire.poll_fill(context).map(|_| ())
    }
}

fn closed_or_protocol(error: ParseError) -> UpstreamError {
    if error == ParseError::Truncated { UpstreamError::Closed(None) } else { error.into() }
}
