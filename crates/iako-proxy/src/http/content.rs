//! What is done to content while it passes: a list of steps for each direction, empty for most
//! exchanges. A step takes events and gives others; it is asked for more only when what it has was
//! taken, so that nothing piles up.

mod compress;
mod decompress;
mod throttle;

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use iako_http::{BodyEvent, Fields};

use super::grpc_web::{self, Coding as WebCoding};
pub(crate) use compress::{Compress, CompressedBytes};
pub(crate) use decompress::{Decompress, DecompressedBytes};
pub(crate) use throttle::{DelayUse, Delays, Throttle, ThrottleStats, TimedBucket};

/// Content that a step cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    /// That of a gRPC-Web call is no base64.
    #[error("the content is no base64")]
    NotBase64,
    /// It is not what its coding says.
    #[error("the content is not what its coding says")]
    Corrupt,
    /// Decompressed it grows beyond the allowed ratio.
    #[error("the content grows beyond the allowed ratio")]
    Inflates,
}

/// One change to content.
#[derive(Debug)]
pub(crate) enum ContentStep {
    /// Keeps what came until it is known where it goes.
    Held(VecDeque<BodyEvent>),
    /// Reads the base64 of a browser.
    WebText(WebText),
    /// Writes as a browser reads gRPC: trailers become the last part of the content.
    WebFrames(WebFrames),
    /// Compresses.
    Compress(Box<Compress>),
    /// Decompresses.
    Decompress(Box<Decompress>),
    /// Lets it pass no faster than allowed.
    Throttle(Box<Throttle>),
}

impl ContentStep {
    /// Takes an event; asked only after there was nothing to give.
    fn give(&mut self, event: BodyEvent) -> Result<(), ContentError> {
        match self {
            Self::Held(events) => events.push_back(event),
            Self::WebText(step) => step.give(event)?,
            Self::WebFrames(step) => step.give(event),
            Self::Compress(step) => step.give(event)?,
            Self::Decompress(step) => step.give(event),
            Self::Throttle(step) => step.give(event),
        }
        Ok(())
    }

    /// The next event; none when it needs another one first.
    fn poll_take(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<BodyEvent>, ContentError>> {
        Poll::Ready(Ok(match self {
            Self::Held(events) => events.pop_front(),
            Self::WebText(step) => step.next.take(),
            Self::WebFrames(step) => step.next.pop_front(),
            Self::Compress(step) => step.take(),
            Self::Decompress(step) => step.take()?,
            Self::Throttle(step) => return step.poll_take(context).map(Ok),
        }))
    }
}

/// The steps of one direction, the first one nearest to where content comes from.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<ContentStep>);

/// What came of gathering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gathered {
    /// All of it.
    Whole,
    /// More came than was asked for; what came is kept, the rest follows.
    Beyond,
}

impl Steps {
    /// Adds one behind the others.
    pub(crate) fn push(&mut self, step: ContentStep) {
        self.0.push(step);
    }

    /// The next event behind all steps.
    pub(crate) fn poll_next<E: From<ContentError>>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut dyn FnMut(&mut Context<'_>) -> Poll<Result<BodyEvent, E>>,
    ) -> Poll<Result<BodyEvent, E>> {
        poll_behind(&mut self.0, context, source)
    }

    /// Reads until the content is whole, or more than `bytes_max` came; the last step has to be
    /// [`ContentStep::Held`] and keeps it.
    pub(crate) fn poll_gather<E: From<ContentError>>(
        &mut self,
        context: &mut Context<'_>,
        bytes_max: u64,
        source: &mut dyn FnMut(&mut Context<'_>) -> Poll<Result<BodyEvent, E>>,
    ) -> Poll<Result<Gathered, E>> {
        let Some((ContentStep::Held(events), before)) = self.0.split_last_mut() else {
            return Poll::Ready(Ok(Gathered::Whole));
        };
        let mut bytes = bytes_of(events);
        loop {
            if bytes > bytes_max {
                return Poll::Ready(Ok(Gathered::Beyond));
            }
            let event = ready!(poll_behind(before, context, source))?;
            if let BodyEvent::Data(data) = &event {
                bytes += data.len() as u64;
            }
            let ends = matches!(event, BodyEvent::End);
            events.push_back(event);
            if ends {
                return Poll::Ready(Ok(Gathered::Whole));
            }
        }
    }

    /// Whether the last step keeps what comes.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.0.last(), Some(ContentStep::Held(_)))
    }

    /// The content that the last step keeps.
    pub(crate) fn held(&self) -> Bytes {
        match self.0.last() {
            Some(ContentStep::Held(events)) => content_of(events),
            Some(_) | None => Bytes::new(),
        }
    }

    /// Puts other content in the place of what the last step keeps.
    pub(crate) fn replace_held(&mut self, content: Bytes, gathered: Gathered) {
        if let Some(ContentStep::Held(events)) = self.0.last_mut() {
            replace(events, content, gathered);
        }
    }

    /// Bytes that the last step holds.
    pub(crate) fn held_bytes(&self) -> u64 {
        match self.0.last() {
            Some(ContentStep::Held(events)) => bytes_of(events),
            Some(_) | None => 0,
        }
    }
}

/// The content of events, in one piece.
pub(crate) fn content_of(events: &VecDeque<BodyEvent>) -> Bytes {
    let mut content = BytesMut::new();
    for event in events {
        if let BodyEvent::Data(data) = event {
            content.extend_from_slice(data);
        }
    }
    content.freeze()
}

/// Puts other content in the place of that of events; trailers stay.
pub(crate) fn replace(events: &mut VecDeque<BodyEvent>, content: Bytes, gathered: Gathered) {
    events.retain(|event| !matches!(event, BodyEvent::Data(_)));
    if !content.is_empty() {
        events.push_front(BodyEvent::Data(content));
    }
    if gathered == Gathered::Whole && !events.iter().any(|it| matches!(it, BodyEvent::End)) {
        events.push_back(BodyEvent::End);
    }
}

fn bytes_of(events: &VecDeque<BodyEvent>) -> u64 {
    let length = |event: &BodyEvent| match event {
        BodyEvent::Data(data) => data.len() as u64,
        BodyEvent::Trailers(_) | BodyEvent::End => 0,
    };
    events.iter().map(length).sum()
}

fn poll_behind<E: From<ContentError>>(
    steps: &mut [ContentStep],
    context: &mut Context<'_>,
    source: &mut dyn FnMut(&mut Context<'_>) -> Poll<Result<BodyEvent, E>>,
) -> Poll<Result<BodyEvent, E>> {
    let Some((last, before)) = steps.split_last_mut() else { return source(context) };
    loop {
        if let Some(event) = ready!(last.poll_take(context))? {
            return Poll::Ready(Ok(event));
        }
        let event = ready!(poll_behind(before, context, source))?;
        last.give(event)?;
    }
}

/// Reads the base64 of a browser.
#[derive(Debug, Default)]
pub(crate) struct WebText {
    decoder: grpc_web::Decoder,
    next: Option<BodyEvent>,
}

impl WebText {
    fn give(&mut self, event: BodyEvent) -> Result<(), ContentError> {
        self.next = match event {
            BodyEvent::Data(data) => {
                let data = self.decoder.decode(&data).map_err(|_wrong| ContentError::NotBase64)?;
                (!data.is_empty()).then_some(BodyEvent::Data(data))
            }
            BodyEvent::End if !self.decoder.is_whole() => return Err(ContentError::NotBase64),
            BodyEvent::Trailers(_) | BodyEvent::End => Some(event),
        };
        Ok(())
    }
}

/// Writes as a browser reads gRPC.
#[derive(Debug)]
pub(crate) struct WebFrames {
    coding: WebCoding,
    trailers: Option<Box<Fields>>,
    next: VecDeque<BodyEvent>,
}

impl WebFrames {
    /// Writes in that coding.
    pub(crate) fn new(coding: WebCoding) -> Self {
        Self { coding, trailers: None, next: VecDeque::new() }
    }

    fn give(&mut self, event: BodyEvent) {
        match event {
            BodyEvent::Data(data) => self.next.push_back(self.coded(data)),
            BodyEvent::Trailers(trailers) => self.trailers = Some(trailers),
            BodyEvent::End => {
                let frame = grpc_web::trailers_frame(self.trailers.as_deref());
                let frame = self.coded(frame);
                self.next.extend([frame, BodyEvent::End]);
            }
        }
    }

    fn coded(&self, data: Bytes) -> BodyEvent {
        BodyEvent::Data(match self.coding {
            WebCoding::Text => grpc_web::encode(&data),
            WebCoding::Binary => data,
        })
    }
}
