//! Requests of an HTTP/1 client.

use std::io;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use iako_http::{
    BodyEncoder, BodyEvent, BodyLength, ConnectionField, Fields, Framing, HeaderEdits, Known,
    Limits, ParseError, Persistence, RequestDecoder, RequestHead, ResponseEdits, ResponseHead,
    Version, Wire as WireForm, capitalize_names, write_interim, write_response_head,
};
use iako_proxy_config::{HeaderCase, Http1Options};
use iako_rt::clock;

use super::{Content, DownstreamError};
use crate::http::wire::{Meter, QUEUE_BYTES_MAX, Wire};
use crate::transport::Stream;

/// The server's half of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Http1Downstream {
    wire: Wire,
    decoder: RequestDecoder,
    encoder: BodyEncoder,
    /// Whether trailers come from the client and go to it.
    passes_trailers: bool,
    /// Whether names of fields are written with capitals.
    capitalizes: bool,
    version: Version,
    /// The client waits for `100 Continue` and has not been told.
    continue_owed: bool,
    /// Whether the connection serves another request.
    persistence: Persistence,
    upgrade: Option<Bytes>,
    /// The client asked for a tunnel; refused one, it would not know how to go on.
    wants_tunnel: bool,
    tunnel: Tunnel,
    /// When it has become too old for another request.
    close_at: Option<Instant>,
}

/// How far the connection is a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tunnel {
    No,
    Open,
    /// Nothing more is sent to the client.
    Ended,
}

impl Http1Downstream {
    /// Takes a connection over; `read` was read from it already.
    pub(crate) fn new(stream: Stream, read: Bytes, limits: Limits, options: &Http1Options) -> Self {
        Self {
            wire: Wire::new(stream, read),
            decoder: RequestDecoder::new(limits),
            encoder: BodyEncoder::Empty,
            passes_trailers: options.trailers,
            capitalizes: options.name_case == HeaderCase::ProperWords,
            version: Version::Http11,
            continue_owed: false,
            persistence: Persistence::KeepAlive,
            upgrade: None,
            wants_tunnel: false,
            tunnel: Tunnel::No,
            close_at: None,
        }
    }

    /// The same, with its bytes counted.
    pub(crate) fn metered(mut self, meter: Meter) -> Self {
        self.wire.measure(meter);
        self
    }

    /// Reads the next head. `None`: the client closed between two requests.
    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<RequestHead>, DownstreamError>> {
        loop {
            if let Some(head) = self.decoder.head(&mut self.wire.input)? {
                self.begin(&head);
                return Poll::Ready(Ok(Some(head)));
            }
            if self.wire.input.is_empty() {
                self.wire.rest();
            }
            match ready!(self.wire.poll_fill(context)) {
                Ok(0) if self.wire.input.is_empty() => return Poll::Ready(Ok(None)),
                Ok(0) => return Poll::Ready(Err(DownstreamError::Gone(None))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(DownstreamError::Gone(Some(error)))),
            }
        }
    }

    fn begin(&mut self, head: &RequestHead) {
        self.version = head.version();
        self.continue_owed = head.expects_continue();
        self.persistence = head.persistence();
        // Who would rather speak HTTP/2 goes on in HTTP/1.1 just as well.
        let is_tunnel = |protocol: &[u8]| !protocol.eq_ignore_ascii_case(b"h2c");
        self.wants_tunnel =
            head.length() == BodyLength::Tunnel || head.upgrade().is_some_and(is_tunnel);
        self.upgrade = head.fields().shared(Known::Upgrade).filter(|_| head.upgrade().is_some());
    }

    /// Whether a head has begun to arrive.
    pub(crate) fn is_inside_head(&self) -> bool {
        self.decoder.is_inside_head(&self.wire.input)
    }

    /// Whether the connection serves another request, once the current response is complete.
    pub(crate) fn is_reusable(&self) -> bool {
        self.persistence == Persistence::KeepAlive
            && self.decoder.is_body_done()
            && matches!(self.encoder, BodyEncoder::Empty)
            && self.tunnel == Tunnel::No
    }

    /// Queues the answer after which the connection speaks HTTP/2 (RFC 7540 §3.2).
    pub(crate) fn switch_to_http2(&mut self) {
        self.wire.output.tail().extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n",
        );
    }

    /// The connection, with what was read from it and not understood.
    pub(crate) fn into_stream(self) -> (Stream, Bytes) {
        self.wire.into_stream()
    }

    /// Tells a client that waits for it to go on, at once, as Envoy does unless `proxy_100_continue`.
    pub(crate) fn tell_continue(&mut self) {
        if std::mem::take(&mut self.continue_owed) {
            write_interim(100, self.wire.output.tail());
        }
    }

    /// The connection ends with the response that is sent next.
    pub(crate) fn close_after_response(&mut self) {
        self.persistence = Persistence::Close;
    }

    /// From then on no response keeps the connection.
    pub(crate) fn close_at(&mut self, at: Option<Instant>) {
        self.close_at = at;
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, DownstreamError>> {
        loop {
            match self.decoder.body(&mut self.wire.input)? {
                Some(BodyEvent::Trailers(_)) if !self.passes_trailers => continue,
                Some(event) => return Poll::Ready(Ok(event)),
                None => {}
            }
            // A client that waits for `100 Continue` sends nothing before it has it.
            if !self.wire.output.is_empty()
                && let Poll::Ready(Err(error)) = self.wire.poll_flush(context)
            {
                return Poll::Ready(Err(DownstreamError::Gone(Some(error))));
            }
            match ready!(self.wire.poll_fill(context)) {
                Ok(0) => self.decoder.eof(&self.wire.input).map_err(gone_or_protocol)?,
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(DownstreamError::Gone(Some(error)))),
            }
        }
    }

    /// A client that closes its half while it waits counts as gone, as with Envoy: HTTP/1 knows no
    /// other way to give a request up.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<DownstreamError> {
        // A pipelined request stays unread beyond a small bound, so that it cannot fill memory.
        while self.wire.input.len() < QUEUE_BYTES_MAX / 4 {
            match ready!(self.wire.poll_fill(context)) {
                Ok(0) => return Poll::Ready(DownstreamError::Gone(None)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(DownstreamError::Gone(Some(error))),
            }
        }
        Poll::Pending
    }

    /// HTTP/1.0 knows no interim responses (RFC 9110 §15.2).
    pub(crate) fn send_interim(&mut self, head: &ResponseHead) {
        if self.version == Version::Http10 {
            return;
        }
        let form = WireForm { framing: Framing::Silent, connection: ConnectionField::Omit };
        let edits = ResponseEdits::default();
        write_response_head(head, &edits, self.version, form, self.wire.output.tail());
    }

    pub(crate) fn send_head(
        &mut self,
        head: &ResponseHead,
        edits: &ResponseEdits,
        content: Content,
    ) -> Result<(), DownstreamError> {
        if self.close_at.is_some_and(|at| at <= clock::now()) {
            self.close_after_response();
        }
        let old = self.version == Version::Http10;
        let (framing, encoder) = match content {
            Content::None if is_silent(edits.status(head)) => (Framing::Silent, BodyEncoder::Empty),
            Content::None => (Framing::Length(0), BodyEncoder::Empty),
            Content::Exact(length) => (Framing::Length(length), BodyEncoder::Exact(length)),
            Content::Streamed if old => (Framing::Silent, BodyEncoder::Raw),
            Content::Streamed => (Framing::Chunked, BodyEncoder::Chunked),
            Content::Described(Some(length)) => (Framing::Length(length), BodyEncoder::Empty),
            Content::Described(None) if is_silent(edits.status(head)) => {
                (Framing::Silent, BodyEncoder::Empty)
            }
            // What GET would be answered with.
            Content::Described(None) if !old => (Framing::Chunked, BodyEncoder::Empty),
            Content::Described(None) => (Framing::Silent, BodyEncoder::Empty),
            Content::Tunnel => (Framing::Silent, BodyEncoder::Raw),
        };
        if content == Content::Tunnel {
            self.decoder.switch_to_tunnel();
            self.tunnel = Tunnel::Open;
        } else if encoder == BodyEncoder::Raw || self.wants_tunnel || !self.decoder.is_body_done() {
            // A response that comes before the whole request is followed by unread content, which
            // nobody should have to skip.
            self.persistence = Persistence::Close;
        }
        self.encoder = encoder;
        let agreed = head.fields().get(Known::Upgrade);
        let connection = match (content, self.persistence, &self.upgrade) {
            (Content::Tunnel, _, Some(asked)) => ConnectionField::Upgrade(agreed.unwrap_or(asked)),
            (Content::Tunnel, _, None) => ConnectionField::Omit,
            (_, Persistence::Close, _) => ConnectionField::Close,
            (_, Persistence::KeepAlive, _) if old => ConnectionField::KeepAlive,
            (_, Persistence::KeepAlive, _) => ConnectionField::Omit,
        };
        let form = WireForm { framing, connection };
        let out = self.wire.output.tail();
        let start = out.len();
        write_response_head(head, edits, self.version, form, out);
        if self.capitalizes {
            capitalize_names(start, out);
        }
        Ok(())
    }

    pub(crate) fn send_data(&mut self, data: Bytes) -> Result<(), DownstreamError> {
        let after = self.encoder.data(data.len(), self.wire.output.tail())?;
        self.wire.output.push(data);
        self.wire.output.tail().extend_from_slice(after);
        Ok(())
    }

    pub(crate) fn send_end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
    ) -> Result<(), DownstreamError> {
        let trailers = trailers.filter(|_| self.passes_trailers);
        self.encoder.end(trailers, self.wire.output.tail())?;
        match self.tunnel {
            Tunnel::Open => self.tunnel = Tunnel::Ended,
            Tunnel::No | Tunnel::Ended => {}
        }
        self.encoder = BodyEncoder::Empty;
        Ok(())
    }

    pub(crate) fn queued(&self) -> usize {
        self.wire.output.len()
    }

    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), DownstreamError>> {
        let flushed = match self.tunnel {
            Tunnel::Ended => self.wire.poll_shutdown(context),
            Tunnel::No | Tunnel::Open => self.wire.poll_flush(context),
        };
        flushed.map_err(|error| DownstreamError::Gone(Some(error)))
    }

    /// An HTTP/1 message is given up by closing the connection.
    pub(crate) fn abort(&mut self) {
        self.persistence = Persistence::Close;
        self.encoder = BodyEncoder::Empty;
    }

    /// Says that nothing follows and reads what the client still sends, so that the last response is
    /// not lost to a reset; the caller bounds the time.
    pub(crate) fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.wire.poll_shutdown(context))?;
        loop {
            self.wire.input.clear();
            if ready!(self.wire.poll_fill(context))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

/// Statuses that never have content and so never announce its length.
fn is_silent(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

fn gone_or_protocol(error: ParseError) -> DownstreamError {
    if error == ParseError::Truncated { DownstreamError::Gone(None) } else { error.into() }
}

/// How much content a request announces, for whoever sends it on.
pub(crate) fn content_of(length: BodyLength) -> Content {
    match length {
        BodyLength::Empty => Content::None,
        BodyLength::Exact(length) => Content::Exact(length),
        BodyLength::Chunked | BodyLength::UntilClose => Content::Streamed,
        BodyLength::Tunnel => Content::Tunnel,
    }
}
