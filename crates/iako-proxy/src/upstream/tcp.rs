//! A tunnel that ends here: the bytes of a CONNECT request go to the server as they are.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use iako_http::{BodyEvent, BodyLength, Fields, Method, RequestHead, ResponseHead, Version};

use super::UpstreamError;
use crate::http::wire::Wire;
use crate::transport::Stream;

/// A connection to a server that knows nothing of HTTP.
#[derive(Debug)]
pub(crate) struct TcpUpstream {
    wire: Wire,
    /// What the client is answered once the connection is there.
    answer: Option<ResponseHead>,
    has_sent: bool,
    /// The client has nothing more to say.
    is_told: bool,
    /// The server has nothing more to say.
    is_ended: bool,
}

impl TcpUpstream {
    /// Takes a new connection over for the tunnel of `method`.
    pub(crate) fn new(stream: Stream, method: &Method) -> Self {
        // A POST is answered with content, a CONNECT with none: what follows is the tunnel's.
        let length =
            if *method == Method::Connect { BodyLength::Tunnel } else { BodyLength::UntilClose };
        Self {
            wire: Wire::new(stream, Bytes::new()),
            answer: Some(ResponseHead::new(200, Version::Http11, length, Fields::default())),
            has_sent: false,
            is_told: false,
            is_ended: false,
        }
    }

    /// The head is the proxy's alone.
    #[expect(clippy::unused_self, reason = "the other upstreams send it")]
    pub(crate) fn send_head(&self, _: &RequestHead) {}

    pub(crate) fn send_data(&mut self, data: Bytes) {
        self.has_sent = true;
        self.wire.output.push(data);
    }

    pub(crate) fn send_end(&mut self) {
        self.is_told = true;
    }

    pub(crate) fn queued(&self) -> usize {
        self.wire.output.len()
    }

    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        let flushed = if self.is_told {
            self.wire.poll_shutdown(context)
        } else {
            self.wire.poll_flush(context)
        };
        flushed.map_err(|error| UpstreamError::Closed(Some(error)))
    }

    /// The answer, once.
    pub(crate) fn poll_head(&mut self) -> Poll<Result<ResponseHead, UpstreamError>> {
        let answer = self.answer.take().ok_or(UpstreamError::Closed(None));
        Poll::Ready(answer)
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, UpstreamError>> {
        if self.wire.input.is_empty() && !self.is_ended {
            match ready!(self.wire.poll_fill(context)) {
                Ok(read) => self.is_ended = read == 0,
                // TLS without its own end.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    self.is_ended = true;
                }
                Err(error) => return Poll::Ready(Err(UpstreamError::Closed(Some(error)))),
            }
        }
        if self.wire.input.is_empty() {
            return Poll::Ready(Ok(BodyEvent::End));
        }
        Poll::Ready(Ok(BodyEvent::Data(self.wire.input.split().freeze())))
    }

    pub(crate) fn has_sent(&self) -> bool {
        self.has_sent
    }
}

impl Drop for TcpUpstream {
    /// A server must not take a tunnel that broke for one that has ended (RFC 9113 §8.5).
    fn drop(&mut self) {
        if !(self.is_told && self.is_ended && self.wire.output.is_empty()) {
            self.wire.reset_when_closed();
        }
    }
}
