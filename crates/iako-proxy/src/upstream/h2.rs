//! A request on a shared HTTP/2 connection.

use std::cell::Cell;
use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use iako_http::{BodyEvent, Fields, HeaderEdits, RequestEdits, RequestHead, ResponseHead};
use iako_proxy_config::ClusterHttp;

use super::UpstreamError;
use crate::http::convert;
use crate::http::downstream::Content;
use crate::http::stream::{Ends, Incoming, Outgoing, StreamError};
use crate::transport::Stream;

/// Why an HTTP/2 connection could not begin.
pub(crate) type GreetingError = h2::Error;

/// An HTTP/2 connection that many requests of a worker share. Its driver is a task of the worker.
#[derive(Debug)]
pub(crate) struct Http2Connection {
    sender: SendRequest<Bytes>,
    live: Rc<Live>,
    streams_max: usize,
}

/// What requests and the driver tell each other.
#[derive(Debug, Default)]
struct Live {
    streams: Cell<usize>,
    opened: Cell<u32>,
    ended: Cell<bool>,
}

impl Http2Connection {
    /// Greets the server; the second value drives the connection and must be run as a task.
    ///
    /// # Errors
    /// When the greeting cannot be written.
    pub(crate) async fn greet(
        stream: Stream,
        settings: &ClusterHttp,
    ) -> Result<(Self, impl Future<Output = ()> + use<>), h2::Error> {
        let options = &settings.http2;
        let (sender, connection) = Builder::new()
            .initial_window_size(options.stream_window_bytes)
            .initial_connection_window_size(options.connection_window_bytes)
            .max_concurrent_reset_streams(1024)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await?;
        let live = Rc::new(Live::default());
        let told = Rc::clone(&live);
        let driver = async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an upstream HTTP/2 connection ended");
            }
            told.ended.set(true);
        };
        let streams_max = usize::try_from(options.concurrent_streams_max).unwrap_or(usize::MAX);
        Ok((Self { sender, live, streams_max }, driver))
    }

    /// Whether another request can be put on it now.
    pub(crate) fn has_room(&self) -> bool {
        let peer_max = self.sender.current_max_send_streams();
        !self.live.ended.get() && self.live.streams.get() < self.streams_max.min(peer_max)
    }

    /// Requests that it carried.
    pub(crate) fn opened(&self) -> u32 {
        self.live.opened.get()
    }

    /// Makes room for one request.
    pub(crate) fn open(&self) -> Http2Upstream {
        let is_reused = self.live.opened.get() > 0;
        self.live.opened.set(self.live.opened.get().saturating_add(1));
        self.live.streams.set(self.live.streams.get() + 1);
        Http2Upstream {
            sender: self.sender.clone(),
            slot: Slot(Rc::clone(&self.live)),
            is_reused,
            state: State::Fresh,
            outgoing: None,
            incoming: None,
        }
    }
}

/// A request's place on its connection, given back when dropped.
#[derive(Debug)]
struct Slot(Rc<Live>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
    }
}

/// The client's half of a stream.
#[derive(Debug)]
pub(crate) struct Http2Upstream {
    sender: SendRequest<Bytes>,
    slot: Slot,
    is_reused: bool,
    state: State,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
}

#[derive(Debug)]
enum State {
    Fresh,
    /// The head waits until the peer takes another stream.
    Queued(Box<http::Request<()>>, Ends),
    Sent(ResponseFuture),
    Answered,
}

impl Http2Upstream {
    pub(crate) fn send_head(
        &mut self,
        head: &RequestHead,
        edits: &RequestEdits,
        content: Content,
    ) -> Result<(), UpstreamError> {
        let request = convert::request_to_h2(head, edits, content)?;
        let ends = if content == Content::None { Ends::Here } else { Ends::Later };
        self.state = State::Queued(Box::new(request), ends);
        Ok(())
    }

    pub(crate) fn send_data(&mut self, data: Bytes) -> Result<(), UpstreamError> {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.send_data(data);
        }
        Ok(())
    }

    pub(crate) fn send_end(
        &mut self,
        trailers: Option<(&Fields, &HeaderEdits)>,
    ) -> Result<(), UpstreamError> {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.send_end(trailers.map(|(fields, edits)| convert::fields_to_h2(fields, edits)));
        }
        Ok(())
    }

    /// Content is taken only once the head has its stream.
    pub(crate) fn queued(&self) -> usize {
        self.outgoing.as_ref().map_or(usize::MAX, Outgoing::queued)
    }

    pub(crate) fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), UpstreamError>> {
        if matches!(self.state, State::Queued(..)) {
            ready!(self.sender.poll_ready(context)).map_err(failed)?;
            let State::Queued(request, ends) = std::mem::replace(&mut self.state, State::Answered)
            else {
                return Poll::Ready(Ok(()));
            };
            let ended = ends == Ends::Here;
            let (response, stream) = self.sender.send_request(*request, ended).map_err(failed)?;
            let mut outgoing = Outgoing::new(stream);
            if ended {
                outgoing.already_ended();
            }
            self.outgoing = Some(outgoing);
            self.state = State::Sent(response);
        }
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_flush(context).map_err(UpstreamError::from),
            None => Poll::Ready(Ok(())),
        }
    }

    pub(crate) fn poll_head(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, UpstreamError>> {
        let State::Sent(response) = &mut self.state else { return Poll::Pending };
        let response = ready!(Pin::new(response).poll(context)).map_err(failed)?;
        self.state = State::Answered;
        let (parts, body): (_, RecvStream) = response.into_parts();
        let head = convert::response_from_h2(&parts, Ends::of(&body));
        self.incoming = Some(Incoming::new(body));
        Poll::Ready(Ok(head))
    }

    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<BodyEvent, UpstreamError>> {
        match &mut self.incoming {
            Some(incoming) => incoming.poll_body(context).map_err(UpstreamError::from),
            None => Poll::Pending,
        }
    }

    pub(crate) fn has_sent(&self) -> bool {
        self.outgoing.is_some()
    }

    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// Keeps further requests off the connection; those under way go on.
    pub(crate) fn retire(&self) {
        self.slot.0.ended.set(true);
    }

    /// Gives the stream up.
    pub(crate) fn cancel(&mut self) {
        if let Some(outgoing) = &mut self.outgoing {
            outgoing.reset(Reason::CANCEL);
        }
    }
}

fn failed(error: h2::Error) -> UpstreamError {
    // A stream above the last one that a GOAWAY names was not looked at (RFC 9113 §6.8).
    let refused = error.reason() == Some(Reason::REFUSED_STREAM)
        || (error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR));
    if refused { UpstreamError::Refused } else { StreamError::from(error).into() }
}

impl From<StreamError> for UpstreamError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Reset(Reason::REFUSED_STREAM) => Self::Refused,
            StreamError::Reset(reason) => Self::Reset(reason),
            StreamError::Connection(error) => Self::Closed(error.into_io()),
        }
    }
}
