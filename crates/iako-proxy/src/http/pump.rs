//! Moves content between the two sides of an exchange, never holding more than a bound.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use iako_http::{BodyEvent, Fields, HeaderEdits};
use tokio::sync::mpsc;

use super::downstream::{Downstream, DownstreamError};
use super::grpc::MessageCounter;
use super::grpc_web::{self, Coding};
use super::wire::queue_bytes_max;
use crate::upstream::{Upstream, UpstreamError};

/// Content of a request that is kept for another try that nobody asked for: a connection may lose
/// the request. Beyond this it is sent once only.
pub(crate) const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// The same where retries or internal redirects are configured. Envoy's
/// `per_connection_buffer_limit_bytes`.
pub(crate) const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// Which side failed.
#[derive(Debug)]
pub(crate) enum PumpError {
    Downstream(DownstreamError),
    Upstream(UpstreamError),
}

/// Whether a request may have to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// As long as its content is not larger than this, in bytes.
    UpTo(u64),
    No,
}

/// A request's content on its way to the server.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Events that were sent, for the next try.
    replay: Option<Vec<BodyEvent>>,
    replay_bytes: u64,
    replay_bytes_max: u64,
    /// The content is too large to be kept.
    abandoned: bool,
    /// How many of them the current try has sent.
    replayed: usize,
    /// The client has said everything.
    read_whole: bool,
    /// The current try has been told everything.
    told_whole: bool,
    /// The current try takes no more; it may have answered already.
    failed: bool,
    trailers: Option<Box<Fields>>,
    /// Who gets a copy.
    mirrors: Vec<mpsc::Sender<BodyEvent>>,
    /// Reads content that a browser writes in base64.
    text: Option<grpc_web::Decoder>,
    /// Content bytes received from the client.
    pub(crate) bytes: u64,
    /// gRPC messages received from the client.
    pub(crate) messages: MessageCounter,
}

impl Upload {
    /// Content that has not begun.
    pub(crate) fn new(repeatable: Repeatable) -> Self {
        let (replay, replay_bytes_max) = match repeatable {
            Repeatable::UpTo(bytes_max) => (Some(Vec::new()), bytes_max),
            Repeatable::No => (None, 0),
        };
        Self {
            replay,
            replay_bytes: 0,
            replay_bytes_max,
            abandoned: false,
            replayed: 0,
            read_whole: false,
            told_whole: false,
            failed: false,
            trailers: None,
            mirrors: Vec::new(),
            text: None,
            bytes: 0,
            messages: MessageCounter::default(),
        }
    }

    /// Content that has not begun, or that is sent again from its beginning after a redirect.
    pub(crate) fn begin(&mut self, repeatable: Repeatable) {
        if self.read_whole {
            self.rewind();
        } else {
            *self = Self::new(repeatable);
        }
    }

    /// The content goes no further: the request is sent on without.
    pub(crate) fn drop_content(&mut self) {
        self.replay = Some(Vec::new());
        self.trailers = None;
    }

    /// Whether the content was too large to be kept.
    pub(crate) fn was_abandoned(&self) -> bool {
        self.abandoned
    }

    /// The client writes its content in base64, which the server does not.
    pub(crate) fn decode_text(&mut self) {
        self.text = Some(grpc_web::Decoder::default());
    }

    /// Whether the current try has been told everything.
    pub(crate) fn is_told_whole(&self) -> bool {
        self.told_whole
    }

    /// Whether the client has said everything.
    pub(crate) fn is_read_whole(&self) -> bool {
        self.read_whole
    }

    /// Whether the request can be sent once more.
    pub(crate) fn can_repeat(&self) -> bool {
        self.replay.is_some() || (self.bytes == 0 && self.trailers.is_none())
    }

    /// There is no content: the request is whole with its head.
    pub(crate) fn skip(&mut self) {
        self.read_whole = true;
        self.told_whole = true;
    }

    /// Starts over, for another try.
    pub(crate) fn rewind(&mut self) {
        self.replayed = 0;
        self.told_whole = false;
        self.failed = false;
        self.trailers = None;
    }

    /// The server takes no more of it.
    pub(crate) fn fail(&mut self) {
        self.failed = true;
    }

    /// Whether the server takes no more of it.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// No other try will follow: what was kept is let go.
    pub(crate) fn forget(&mut self) {
        if self.replay.as_ref().is_some_and(|replay| self.replayed >= replay.len()) {
            self.replay = None;
        }
    }

    /// Moves content; ready once the server has been told everything.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        downstream: &mut Downstream<'_>,
        upstream: &mut Upstream,
    ) -> Poll<Result<(), PumpError>> {
        if upstream.queued() == usize::MAX {
            ready!(upstream.poll_flush(context)).map_err(PumpError::Upstream)?;
        }
        loop {
            // A full queue is not read into, so that after it was written the source is asked again.
            let queue_max = queue_bytes_max();
            let mut moved = upstream.queued() >= queue_max;
            while !self.told_whole && upstream.queued() < queue_max {
                let Poll::Ready(event) = self.poll_next(context, downstream) else { break };
                let event = event.map_err(PumpError::Downstream)?;
                self.tell(event, upstream).map_err(PumpError::Upstream)?;
                moved = true;
            }
            ready!(upstream.poll_flush(context)).map_err(PumpError::Upstream)?;
            if self.told_whole {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    /// The next event for the current try: a kept one, or a new one from the client.
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<BodyEvent, DownstreamError>> {
        if let Some(event) = self.replay.as_ref().and_then(|replay| replay.get(self.replayed)) {
            self.replayed += 1;
            return Poll::Ready(Ok(event.clone()));
        }
        if self.read_whole {
            return Poll::Ready(Ok(BodyEvent::End));
        }
        let event = loop {
            let event = ready!(downstream.poll_body(context))?;
            match (&mut self.text, event) {
                (Some(decoder), BodyEvent::Data(data)) => {
                    let data = decoder.decode(&data)?;
                    if !data.is_empty() {
                        break BodyEvent::Data(data);
                    }
                }
                (Some(decoder), BodyEvent::End) if !decoder.is_whole() => {
                    return Poll::Ready(Err(grpc_web::NotBase64.into()));
                }
                (_, event) => break event,
            }
        };
        self.keep(&event);
        Poll::Ready(Ok(event))
    }

    /// Gives a copy of what comes to somebody else, as long as it keeps up.
    pub(crate) fn mirror_to(&mut self, copy: mpsc::Sender<BodyEvent>) {
        self.mirrors.push(copy);
    }

    fn keep(&mut self, event: &BodyEvent) {
        if !self.mirrors.is_empty() {
            self.mirrors.retain(|mirror| mirror.try_send(event.clone()).is_ok());
        }
        match event {
            BodyEvent::Data(data) => {
                self.bytes += data.len() as u64;
                self.messages.count(data);
                self.replay_bytes += data.len() as u64;
            }
            BodyEvent::Trailers(_) => {}
            BodyEvent::End => self.read_whole = true,
        }
        if self.replay_bytes > self.replay_bytes_max && self.replay.take().is_some() {
            self.abandoned = true;
        }
        if let Some(replay) = self.replay.as_mut()
            && !matches!(event, BodyEvent::End)
        {
            replay.push(event.clone());
            self.replayed += 1;
        }
    }

    fn tell(&mut self, event: BodyEvent, upstream: &mut Upstream) -> Result<(), UpstreamError> {
        match event {
            BodyEvent::Data(data) => upstream.send_data(data),
            BodyEvent::Trailers(trailers) => {
                self.trailers = Some(trailers);
                Ok(())
            }
            BodyEvent::End => {
                self.told_whole = true;
                let edits = HeaderEdits::default();
                let trailers = self.trailers.as_deref();
                upstream.send_end(trailers.map(|trailers| (trailers, &edits)))
            }
        }
    }
}

/// A response's content on its way to the client.
#[derive(Debug, Default)]
pub(crate) struct Download {
    ended: bool,
    /// Trailers become the last part of the content, for a browser.
    web: Option<Coding>,
    /// Trailers of the response.
    pub(crate) trailers: Option<Box<Fields>>,
    /// Content bytes sent to the client.
    pub(crate) bytes: u64,
    /// gRPC messages sent to the client.
    pub(crate) messages: MessageCounter,
    /// Counts pieces, so that the caller sees that something moved.
    pub(crate) pieces: u64,
}

impl Download {
    /// The client is a browser that speaks gRPC-Web, the server speaks gRPC.
    pub(crate) fn encode_web(&mut self, coding: Coding) {
        self.web = Some(coding);
    }

    /// Whether all of it waits for the client, or is on its way.
    pub(crate) fn is_told_whole(&self) -> bool {
        self.ended
    }

    /// Whether the content is not the server's.
    pub(crate) fn is_web(&self) -> bool {
        self.web.is_some()
    }

    /// Moves content; ready once the client has been told everything.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        upstream: &mut Upstream,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            let queue_max = queue_bytes_max();
            let mut moved = downstream.queued() >= queue_max;
            while !self.ended && downstream.queued() < queue_max {
                let Poll::Ready(event) = upstream.poll_body(context) else { break };
                let event = event.map_err(PumpError::Upstream)?;
                self.tell(event, downstream).map_err(PumpError::Downstream)?;
                moved = true;
            }
            ready!(downstream.poll_flush(context)).map_err(PumpError::Downstream)?;
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }

    fn tell(
        &mut self,
        event: BodyEvent,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), DownstreamError> {
        self.pieces += 1;
        match event {
            BodyEvent::Data(data) => {
                self.messages.count(&data);
                self.send(data, downstream)
            }
            BodyEvent::Trailers(trailers) => {
                self.trailers = Some(trailers);
                Ok(())
            }
            BodyEvent::End => {
                self.ended = true;
                if self.web.is_some() {
                    let frame = grpc_web::trailers_frame(self.trailers.as_deref());
                    self.send(frame, downstream)?;
                    return downstream.send_end(None);
                }
                let edits = HeaderEdits::default();
                let trailers = self.trailers.as_deref();
                downstream.send_end(trailers.map(|trailers| (trailers, &edits)))
            }
        }
    }

    fn send(
        &mut self,
        data: Bytes,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), DownstreamError> {
        let data = match self.web {
            Some(Coding::Text) => grpc_web::encode(&data),
            Some(Coding::Binary) | None => data,
        };
        self.bytes += data.len() as u64;
        downstream.send_data(data)
    }
}
