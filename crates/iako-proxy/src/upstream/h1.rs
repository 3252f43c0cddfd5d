//! A request on an HTTP/1 connection.

use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use iako_http::{
    BodyEncoder, BodyEvent, ConnectionField, Fields, Framing, HeaderEdits, Known, Limits, Method,
    NameCase, ParseError, Persistence, RequestEdits, RequestHead, ResponseDecoder, ResponseHead,
    ResponseTo, Wire as WireForm, capitalize_names, write_request_head,
};
use iako_proxy_config::{ClusterHttp, HeaderCase};
use iako_rt::clock;

use super::UpstreamError;
use crate::http::downstream::Content;
use crate::http::wire::{Meter, Wire};
use crate::transport::Stream;

/// The client's half of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Http1Upstream {
    wire: Wire,
    decoder: ResponseDecoder,
    encoder: BodyEncoder,
    /// Whether trailers go to the server and come from it.
    passes_trailers: bool,
    /// Whether names of fields are written with capitals.
    capitalizes: bool,
    /// Requests before the current one.
    served: u32,
    sent: Sent,
    persistence: Persistence,
    tunnel: Tunnel,
    /// When the last response ended.
    done_at: Instant,
    /// For how long the server says it keeps the connection.
    announced_idle: Option<Duration>,
    /// What the server's system had acknowledged before the current request, where that has to be
    /// known.
    acknowledged: Option<u64>,
    /// The server has said that nothing more comes.
    is_ended: bool,
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

/// Bounds on responses: Envoy's defaults, of which those for the bytes of an upstream's head are wider
/// than a client's.
pub(crate) fn response_limits(name_case: NameCase) -> Limits {
    Limits { head_bytes_max: 80 << 10, name_case, ..Limits::default() }
}

impl Http1Upstream {
    /// Takes a new connection over.
    pub(crate) fn new(stream: Stream, settings: &ClusterHttp) -> Self {
        let case = match settings.name_case {
            HeaderCase::Preserve => NameCase::Preserve,
            HeaderCase::Lower | HeaderCase::ProperWords => NameCase::Lower,
        };
        Self {
            wire: Wire::new(stream, Bytes::new()),
            decoder: ResponseDecoder::new(response_limits(case)),
            encoder: BodyEncoder::Empty,
            passes_trailers: settings.http1_trailers,
            capitalizes: settings.name_case == HeaderCase::ProperWords,
            served: 0,
            sent: Sent::Nothing,
            persistence: Persistence::KeepAlive,
            tunnel: Tunnel::No,
            done_at: clock::now(),
            announced_idle: None,
            acknowledged: None,
            is_ended: false,
        }
    }

    /// The same, whose bytes are counted.
    pub(crate) fn metered(mut self, meter: Meter) -> Self {
        self.wire.measure(meter);
        self
    }

    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        content: Content,
    ) -> Result<(), UpstreamError> {
        let method = edits.method(head);
        if !method.is_idempotent() {
            self.acknowledged = self.wire.bytes_acknowledged();
        }
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
        };
        let out = self.wire.output.tail();
        let start = out.len();
        write_request_head(head, edits, form, out);
        if self.capitalizes {
            capitalize_names(start, out);
        }
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
        let trailers = trailers.filter(|_| self.passes_trailers);
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
        self.announced_idle = head.fields().text(Known::KeepAlive).and_then(timeout_in);
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
                if matches!(event, BodyEvent::Trailers(_)) && !self.passes_trailers {
                    continue;
                }
                if matches!(event, BodyEvent::End) {
                    self.done_at = clock::now();
                }
                return Poll::Ready(Ok(event));
            }
            ready!(self.poll_more(context))?;
        }
    }

    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let filled = ready!(self.wire.poll_fill(context));
        self.is_ended = match &filled {
            Ok(count) => *count == 0,
            // TLS without its own end: what matters is that of the connection beneath.
            Err(error) => error.kind() == std::io::ErrorKind::UnexpectedEof,
        };
        match filled {
            Ok(0) if self.wire.input.is_empty() && self.decoder.is_body_done() => {
                Poll::Ready(Err(UpstreamError::Closed(None)))
            }
            // A server that stops within a response speaks no HTTP, as Envoy sees it.
            Ok(0) => Poll::Ready(self.decoder.eof(&self.wire.input).map_err(UpstreamError::from)),
            Ok(_) => Poll::Ready(Ok(())),
            Err(_) if !self.wire.input.is_empty() || !self.decoder.is_body_done() => {
                Poll::Ready(Err(ParseError::Truncated.into()))
            }
            Err(error) => Poll::Ready(Err(UpstreamError::Closed(Some(error)))),
        }
    }

    pub(crate) fn has_sent(&self) -> bool {
        self.sent != Sent::Nothing
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.served > 0
    }

    /// Whether the server closed its side before any byte of the current request had reached its
    /// system, so that it cannot have looked at it.
    ///
    /// The packet that ends the server's side also says what has been received. When that was nothing
    /// of the request, what comes later finds a socket that is closed for good, or one half closed,
    /// on which no answer could be sent. An abort without such an end proves nothing, nor does an
    /// acknowledgement from somebody in between: then the request counts as seen.
    pub(crate) fn is_unseen(&self) -> bool {
        self.is_ended
            && self.wire.input.is_empty()
            && self.acknowledged.is_some()
            && self.acknowledged == self.wire.bytes_acknowledged()
    }

    /// When the last response ended: the server's idle time has run since then.
    pub(crate) fn done_at(&self) -> Instant {
        self.done_at
    }

    /// For how long the server said it keeps the connection, with its last response.
    pub(crate) fn announced_idle(&self) -> Option<Duration> {
        self.announced_idle
    }

    /// Whether the server has said that it closes the connection.
    pub(crate) fn is_told_to_close(&self) -> bool {
        self.persistence != Persistence::KeepAlive
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
        self.acknowledged = None;
        self.wire.rest();
        self.served
    }

    /// Ready when an idle connection can no longer be used: the server closed it, or sent something
    /// that nobody asked for.
    pub(crate) fn poll_stale(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wire.poll_fill(context).map(|_| ())
    }

    /// Whether an idle connection is known to be of no more use.
    pub(crate) fn is_stale(&mut self) -> bool {
        self.poll_stale(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// Whether nothing at all has come, not even what this worker has not been told of yet. Costs a
    /// system call.
    pub(crate) fn is_quiet(&self) -> bool {
        self.wire.is_quiet()
    }
}

impl Drop for Http1Upstream {
    /// A server hears the end of TLS before that of its connection (RFC 9112 §9.8). A tunnel that is cut
    /// must not look as if it had ended.
    fn drop(&mut self) {
        if self.tunnel != Tunnel::Open {
            self.wire.end_tls();
        }
    }
}

/// The `timeout` of a `keep-alive` field, such as `timeout=5, max=100`.
fn timeout_in(field: &str) -> Option<Duration> {
    let mut parameters = field.split(',').filter_map(|parameter| parameter.split_once('='));
    let (_, seconds) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announced_idle_time_is_read() {
        let cases = [
            ("timeout=5", Some(5)),
            ("timeout=5, max=100", Some(5)),
            ("max=100,Timeout = 60", Some(60)),
            ("timeout=", None),
            ("timeout=-1", None),
            ("300", None),
        ];
        for (field, seconds) in cases {
            assert_eq!(timeout_in(field), seconds.map(Duration::from_secs), "{field}");
        }
    }
}
