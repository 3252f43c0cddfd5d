//! Moves content between the two sides of an exchange, never holding more than a bound.

mod download;

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use iako_http::{BodyEvent, Fields, HeaderEdits};
use tokio::sync::mpsc;

use super::content::{ContentError, ContentStep, Gathered, Steps};
use super::downstream::{Downstream, DownstreamError};
use super::grpc::MessageCounter;
use super::wire::queue_bytes_max;
use crate::upstream::{Upstream, UpstreamError};

pub(crate) use download::Download;

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
    /// Content of a response that a step cannot read.
    Content(ContentError),
}

impl From<ContentError> for PumpError {
    fn from(error: ContentError) -> Self {
        Self::Content(error)
    }
}

/// How much of the content goes on, as far as its steps know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum UploadLength {
    /// As much as was announced.
    #[default]
    Announced,
    /// So many bytes: all of it was gathered.
    Known(u64),
    /// Nobody knows before the end.
    Unknown,
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
    /// What is done to it on its way; nothing for most.
    steps: Option<Box<Steps>>,
    /// How much comes out of the steps.
    length: UploadLength,
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
            steps: None,
            length: UploadLength::Announced,
            bytes: 0,
            messages: MessageCounter::default(),
        }
    }

    /// Content that has not begun, or that is sent again from its beginning after a redirect.
    pub(crate) fn begin(&mut self, repeatable: Repeatable) {
        if self.read_whole {
            self.rewind();
        } else {
            let (steps, length, bytes) = (self.steps.take(), self.length, self.bytes);
            *self = Self { steps, length, bytes, ..Self::new(repeatable) };
        }
    }

    /// Adds a step to its way. `length` says what comes out of it.
    pub(crate) fn push_step(&mut self, step: ContentStep, length: UploadLength) {
        self.steps.get_or_insert_default().push(step);
        if length != UploadLength::Announced {
            self.length = length;
        }
    }

    /// Has what comes be kept until it is known where it goes.
    pub(crate) fn hold(&mut self) {
        let steps = self.steps.get_or_insert_default();
        if !steps.holds() {
            steps.push(ContentStep::Held(VecDeque::new()));
        }
    }

    /// So much goes on, whatever was gathered.
    pub(crate) fn set_length(&mut self, length: UploadLength) {
        self.length = length;
    }

    /// The content that is kept.
    pub(crate) fn held(&self) -> Bytes {
        self.steps.as_ref().map(|steps| steps.held()).unwrap_or_default()
    }

    /// Puts other content in the place of what is kept; trailers stay.
    pub(crate) fn replace_held(&mut self, content: Bytes, gathered: Gathered) {
        self.hold();
        if let Some(steps) = &mut self.steps {
            steps.replace_held(content, gathered);
        }
    }

    /// Nobody is told how much there is.
    pub(crate) fn forget_length(&mut self) {
        self.length = UploadLength::Unknown;
    }

    /// How much of it goes on.
    pub(crate) fn length(&self) -> UploadLength {
        self.length
    }

    /// Reads the content from the client and keeps it, until it is whole or there is more of it than
    /// `bytes_max`. Ready at once when it is on its way already.
    pub(crate) fn poll_gather(
        &mut self,
        context: &mut Context<'_>,
        bytes_max: u64,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<Gathered, DownstreamError>> {
        if self.read_whole {
            return Poll::Ready(Ok(Gathered::Whole));
        }
        let bytes = &mut self.bytes;
        let Some(steps) = &mut self.steps else { return Poll::Ready(Ok(Gathered::Whole)) };
        let mut source = |context: &mut Context<'_>| counted(downstream.poll_body(context), bytes);
        let gathered = steps.poll_gather(context, bytes_max, &mut source);
        if let Some(account) = downstream.account() {
            account.keeps(steps.held_bytes());
        }
        let gathered = ready!(gathered)?;
        if gathered == Gathered::Whole {
            self.length = UploadLength::Known(steps.held_bytes());
        }
        Poll::Ready(Ok(gathered))
    }

    /// Has the last step show what comes, without sending anything on; ready when that was all.
    pub(crate) fn poll_feed(
        &mut self,
        context: &mut Context<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<(), DownstreamError>> {
        let bytes = &mut self.bytes;
        let Some(steps) = &mut self.steps else { return Poll::Ready(Ok(())) };
        let mut source = |context: &mut Context<'_>| counted(downstream.poll_body(context), bytes);
        steps.poll_feed(context, &mut source)
    }

    /// Has the last step show what is there; ready when nothing of it waits for an answer.
    pub(crate) fn poll_settle(
        &mut self,
        context: &mut Context<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<(), DownstreamError>> {
        let bytes = &mut self.bytes;
        let Some(steps) = &mut self.steps else { return Poll::Ready(Ok(())) };
        let mut source = |context: &mut Context<'_>| counted(downstream.poll_body(context), bytes);
        steps.poll_settle(context, &mut source)
    }

    /// Whether trailers stand behind the content that is kept.
    pub(crate) fn holds_trailers(&self) -> bool {
        self.steps.as_ref().is_some_and(|steps| steps.holds_trailers())
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
            if let Some(account) = downstream.account() {
                account.keeps(self.replay_bytes);
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
        let bytes = &mut self.bytes;
        let mut source = |context: &mut Context<'_>| counted(downstream.poll_body(context), bytes);
        let event = match &mut self.steps {
            None => ready!(source(context))?,
            Some(steps) => ready!(steps.poll_next(context, &mut source))?,
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

/// Counts content that came from a client.
fn counted(
    event: Poll<Result<BodyEvent, DownstreamError>>,
    bytes: &mut u64,
) -> Poll<Result<BodyEvent, DownstreamError>> {
    if let Poll::Ready(Ok(BodyEvent::Data(data))) = &event {
        *bytes += data.len() as u64;
    }
    event
}
