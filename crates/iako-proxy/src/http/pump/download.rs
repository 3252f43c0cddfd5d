//! A response's content on its way to the client.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use iako_http::{BodyEvent, Fields, HeaderEdits};

use super::PumpError;
use crate::http::content::{ContentStep, Gathered, Source, Steps};
use crate::http::downstream::{Downstream, DownstreamError};
use crate::http::grpc::MessageCounter;
use crate::http::wire::queue_bytes_max;
use crate::upstream::Upstream;

/// A response's content on its way to the client.
#[derive(Debug, Default)]
pub(crate) struct Download {
    ended: bool,
    /// What is done to it on its way; nothing for most.
    steps: Option<Box<DownloadSteps>>,
    /// Trailers of the response.
    pub(crate) trailers: Option<Box<Fields>>,
    /// Content bytes sent to the client.
    pub(crate) bytes: u64,
    /// gRPC messages sent to the client.
    pub(crate) messages: MessageCounter,
    /// Counts pieces, so that the caller sees that something moved.
    pub(crate) pieces: u64,
}

/// Steps of a response's content, with the trailers that come out of them.
#[derive(Debug, Default)]
struct DownloadSteps {
    steps: Steps,
    trailers: Option<Box<Fields>>,
}

impl Download {
    /// Adds a step to its way.
    pub(crate) fn push_step(&mut self, step: ContentStep) {
        self.steps.get_or_insert_default().steps.push(step);
    }

    /// The content is another one: nothing is done to it any more.
    pub(crate) fn drop_steps(&mut self) {
        self.steps = None;
    }

    /// Whether the content is not what came.
    pub(crate) fn has_steps(&self) -> bool {
        self.steps.is_some()
    }

    /// Reads content and keeps it in the last step, until it is whole or there is more of it than
    /// `bytes_max`.
    pub(crate) fn poll_gather(
        &mut self,
        context: &mut Context<'_>,
        bytes_max: u64,
        source: &mut Source<'_, PumpError>,
    ) -> Poll<Result<Gathered, PumpError>> {
        let Self { steps: Some(own), trailers, messages, .. } = self else {
            return Poll::Ready(Ok(Gathered::Whole));
        };
        let mut noted = |context: &mut Context<'_>| {
            let event = source(context);
            note(&event, messages, trailers);
            event
        };
        own.steps.poll_gather(context, bytes_max, &mut noted)
    }

    /// Has what comes be kept until it is known where it goes.
    pub(crate) fn hold(&mut self) {
        let steps = &mut self.steps.get_or_insert_default().steps;
        if !steps.holds() {
            steps.push(ContentStep::Held(VecDeque::new()));
        }
    }

    /// Puts other content in the place of what is kept; trailers stay.
    pub(crate) fn replace_held(&mut self, content: Bytes, gathered: Gathered) {
        if let Some(own) = &mut self.steps {
            own.steps.replace_held(content, gathered);
        }
    }

    /// Whether trailers stand behind the content that is kept.
    pub(crate) fn holds_trailers(&self) -> bool {
        self.steps.as_ref().is_some_and(|own| own.steps.holds_trailers())
    }

    /// Has the last step show what comes, without sending anything on; ready when that was all.
    pub(crate) fn poll_feed(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Source<'_, PumpError>,
    ) -> Poll<Result<(), PumpError>> {
        let Self { steps: Some(own), trailers, messages, .. } = self else {
            return Poll::Ready(Ok(()));
        };
        own.steps.poll_feed(context, &mut |context| {
            let event = source(context);
            note(&event, messages, trailers);
            event
        })
    }

    /// Has the last step show what is there; ready when nothing of it waits for an answer.
    pub(crate) fn poll_settle(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Source<'_, PumpError>,
    ) -> Poll<Result<(), PumpError>> {
        let Self { steps: Some(own), trailers, messages, .. } = self else {
            return Poll::Ready(Ok(()));
        };
        own.steps.poll_settle(context, &mut |context| {
            let event = source(context);
            note(&event, messages, trailers);
            event
        })
    }

    /// The content that the last step keeps.
    pub(crate) fn held(&self) -> Bytes {
        self.steps.as_ref().map(|own| own.steps.held()).unwrap_or_default()
    }

    /// Whether all of it waits for the client, or is on its way.
    pub(crate) fn is_told_whole(&self) -> bool {
        self.ended
    }

    /// Moves content; ready once the client has been told everything.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        upstream: &mut Upstream,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<(), PumpError>> {
        self.poll_from(
            context,
            |context| upstream.poll_body(context).map_err(PumpError::Upstream),
            downstream,
        )
    }

    /// Moves content that is ours; `own` is what is left of it.
    pub(crate) fn poll_own(
        &mut self,
        context: &mut Context<'_>,
        own: &mut VecDeque<BodyEvent>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<(), PumpError>> {
        let source =
            |_: &mut Context<'_>| Poll::Ready(Ok(own.pop_front().unwrap_or(BodyEvent::End)));
        self.poll_from(context, source, downstream)
    }

    fn poll_from(
        &mut self,
        context: &mut Context<'_>,
        mut source: impl FnMut(&mut Context<'_>) -> Poll<Result<BodyEvent, PumpError>>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<(), PumpError>> {
        loop {
            let queue_max = queue_bytes_max();
            let mut moved = downstream.queued() >= queue_max;
            while !self.ended && downstream.queued() < queue_max {
                let event = match &self.steps {
                    None => source(context),
                    Some(_) => self.poll_steps(context, &mut source),
                };
                let Poll::Ready(event) = event else { break };
                self.tell(event?, downstream).map_err(PumpError::Downstream)?;
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

    /// The next event behind the steps; what came is noted on the way.
    #[inline(never)]
    fn poll_steps(
        &mut self,
        context: &mut Context<'_>,
        source: &mut Source<'_, PumpError>,
    ) -> Poll<Result<BodyEvent, PumpError>> {
        let Self { steps: Some(own), trailers, messages, .. } = self else {
            return source(context);
        };
        own.steps.poll_next(context, &mut |context| {
            let event = source(context);
            note(&event, messages, trailers);
            event
        })
    }

    fn tell(
        &mut self,
        event: BodyEvent,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), DownstreamError> {
        self.pieces += 1;
        match (event, &mut self.steps) {
            (BodyEvent::Data(data), steps) => {
                if steps.is_none() {
                    self.messages.count(&data);
                }
                self.bytes += data.len() as u64;
                downstream.send_data(data)
            }
            (BodyEvent::Trailers(trailers), None) => {
                self.trailers = Some(trailers);
                Ok(())
            }
            (BodyEvent::Trailers(trailers), Some(own)) => {
                own.trailers = Some(trailers);
                Ok(())
            }
            (BodyEvent::End, steps) => {
                self.ended = true;
                let edits = HeaderEdits::default();
                let trailers = match steps {
                    None => self.trailers.as_deref(),
                    Some(own) => own.trailers.as_deref(),
                };
                downstream.send_end(trailers.map(|trailers| (trailers, &edits)))
            }
        }
    }
}

/// Notes what came, before steps change it.
fn note(
    event: &Poll<Result<BodyEvent, PumpError>>,
    messages: &mut MessageCounter,
    trailers: &mut Option<Box<Fields>>,
) {
    match event {
        Poll::Ready(Ok(BodyEvent::Data(data))) => messages.count(data),
        Poll::Ready(Ok(BodyEvent::Trailers(came))) => *trailers = Some(came.clone()),
        Poll::Ready(Ok(BodyEvent::End) | Err(_)) | Poll::Pending => {}
    }
}
