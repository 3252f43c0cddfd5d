//! The two halves of an HTTP/2 stream, with bounded queues.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use iako_http::BodyEvent;

use super::convert;

/// Why a stream ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The peer reset it.
    #[error("the peer reset the stream: {0}")]
    Reset(Reason),
    /// The connection ended under it.
    #[error("the connection ended")]
    Connection(#[source] h2::Error),
}

impl From<h2::Error> for StreamError {
    fn from(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::Reset(reason),
            Some(_) | None => Self::Connection(error),
        }
    }
}

/// Whether a head is the whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Here,
    Later,
}

impl Ends {
    /// Whether nothing comes after the head of what is received.
    pub(crate) fn of(stream: &RecvStream) -> Self {
        if stream.is_end_stream() { Self::Here } else { Self::Later }
    }
}

/// What comes in on a stream.
#[derive(Debug)]
pub(crate) struct Incoming {
    stream: RecvStream,
    state: Reading,
    /// Given back to the peer's window when the next piece is asked for: by then the sink has taken
    /// the last one, so that a slow sink slows the peer.
    unreleased: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Data,
    Trailers,
    Ended,
}

impl Incoming {
    pub(crate) fn new(stream: RecvStream) -> Self {
        let state = if stream.is_end_stream() { Reading::Ended } else { Reading::Data };
        Self { stream, state, unreleased: 0 }
    }

    /// Whether everything was read.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == Reading::Ended
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, StreamError>> {
        let unreleased = std::mem::take(&mut self.unreleased);
        if unreleased > 0 {
            self.stream.flow_control().release_capacity(unreleased)?;
        }
        while self.state == Reading::Data {
            match ready!(self.stream.poll_data(context)).transpose()? {
                // Empty frames carry nothing; the h2 crate bounds how many may come.
                Some(data) if data.is_empty() => {}
                Some(data) => {
                    self.unreleased = data.len();
                    return Poll::Ready(Ok(BodyEvent::Data(data)));
                }
                None => self.state = Reading::Trailers,
            }
        }
        if self.state == Reading::Trailers {
            let trailers = ready!(self.stream.poll_trailers(context))?;
            self.state = Reading::Ended;
            if let Some(trailers) = trailers {
                let fields = convert::fields_from_h2(&trailers);
                return Poll::Ready(Ok(BodyEvent::Trailers(Box::new(fields))));
            }
        }
        Poll::Ready(Ok(BodyEvent::End))
    }
}

/// What goes out on a stream.
#[derive(Debug)]
pub(crate) struct Outgoing {
    stream: SendStream<Bytes>,
    pieces: VecDeque<Bytes>,
    queued: usize,
    end: Ending,
}

#[derive(Debug)]
enum Ending {
    Open,
    /// After the pieces, with these trailers.
    Pending(Option<HeaderMap>),
    Done,
}

impl Outgoing {
    pub(crate) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream, pieces: VecDeque::new(), queued: 0, end: Ending::Open }
    }

    /// The head said already that nothing follows.
    pub(crate) fn already_ended(&mut self) {
        self.end = Ending::Done;
    }

    pub(crate) fn send_data(&mut self, data: Bytes) {
        self.queued += data.len();
        self.pieces.push_back(data);
    }

    pub(crate) fn send_end(&mut self, trailers: Option<HeaderMap>) {
        if !matches!(self.end, Ending::Done) {
            self.end = Ending::Pending(trailers);
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Hands what is queued to the connection as far as the peer's window goes.
    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        while let Some(piece) = self.pieces.front_mut() {
            self.stream.reserve_capacity(piece.len());
            let capacity = self.stream.capacity();
            if capacity == 0 {
                match ready!(self.stream.poll_capacity(context)) {
                    Some(granted) => granted?,
                    None => return Poll::Ready(Err(StreamError::Reset(Reason::CANCEL))),
                };
                continue;
            }
            let part = piece.split_to(capacity.min(piece.len()));
            self.queued -= part.len();
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            let last = self.pieces.is_empty() && matches!(self.end, Ending::Pending(None));
            self.stream.send_data(part, last)?;
            if last {
                self.end = Ending::Done;
            }
        }
        match std::mem::replace(&mut self.end, Ending::Done) {
            Ending::Open => self.end = Ending::Open,
            Ending::Pending(None) => self.stream.send_data(Bytes::new(), true)?,
            Ending::Pending(Some(trailers)) => self.stream.send_trailers(trailers)?,
            Ending::Done => {}
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer resets the stream.
    pub(crate) fn poll_reset(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Reason, h2::Error>> {
        self.stream.poll_reset(context)
    }

    /// Gives the stream up.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.pieces.clear();
        self.queued = 0;
        self.end = Ending::Done;
        self.stream.send_reset(reason);
    }
}
