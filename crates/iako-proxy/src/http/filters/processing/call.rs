//! The call to a service, which both ways of an exchange share.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use iako_proxy_config::{GrpcService, ProcessAnswer, ProcessReply};
use iako_xds_codec::service::processing;
use tokio::sync::mpsc;

use super::talk::TalkFailure;
use super::{ProcessStep, watch};
use crate::callout::CallError;
use crate::callout::grpc::GrpcStream;
use crate::http::trace::CalloutSpan;
use crate::worker::Worker;

/// Answers of one way that are kept while the other one is asked for; more of them fail the call.
const ANSWERS_MAX: usize = 256;

/// One way of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Request,
    Response,
}

type Opening = Pin<Box<dyn Future<Output = Result<GrpcStream, CallError>>>>;

enum Link {
    /// Nothing was asked yet.
    Idle,
    /// It is on its way, and what waits for it.
    Opening(Opening, Vec<Vec<u8>>),
    Open(Box<GrpcStream>),
    /// Nobody waits for answers: a task of its own tells the service.
    Watched(mpsc::Sender<Vec<u8>>),
    Over,
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Idle => "Idle",
            Self::Opening(..) => "Opening",
            Self::Open(_) => "Open",
            Self::Watched(_) => "Watched",
            Self::Over => "Over",
        })
    }
}

/// The call to a service.
#[derive(Debug)]
pub(super) struct ServiceCall {
    worker: Rc<Worker>,
    service: GrpcService,
    link: Link,
    /// Its span, where the request is a part of a trace.
    span: Option<Rc<CalloutSpan>>,
    requests: Kept,
    responses: Kept,
}

/// How many answers a part may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    One,
    Any,
}

/// Answers for one way.
#[derive(Debug, Default)]
struct Kept {
    answers: VecDeque<ProcessAnswer>,
    /// Parts that were shown and not answered.
    awaited: usize,
    /// The service writes what it likes.
    takes_any: bool,
}

impl ServiceCall {
    pub(super) fn new(
        worker: &Rc<Worker>,
        service: GrpcService,
        span: Option<CalloutSpan>,
    ) -> Self {
        Self {
            worker: Rc::clone(worker),
            service,
            link: Link::Idle,
            span: span.map(Rc::new),
            requests: Kept::default(),
            responses: Kept::default(),
        }
    }

    /// A part that is shown will be answered.
    pub(super) fn expect(&mut self, way: Way, answers: Answers) {
        let kept = self.kept(way);
        kept.awaited = kept.awaited.saturating_add(1);
        kept.takes_any |= answers == Answers::Any;
    }

    /// Queues a message; the call begins with the first one.
    pub(super) fn send(
        &mut self,
        message: Vec<u8>,
        step: &std::sync::Arc<ProcessStep>,
    ) -> Result<(), TalkFailure> {
        if matches!(self.link, Link::Idle) {
            step.stats.streams_started.inc();
            self.link = self.begin(step);
        }
        match &mut self.link {
            Link::Opening(_, waiting) => waiting.push(message),
            Link::Open(stream) => {
                stream.send(&message).map_err(TalkFailure::of)?;
                step.stats.stream_msgs_sent.inc();
            }
            // Who only looks on sees no more than it keeps up with.
            Link::Watched(told) => {
                if told.try_send(message).is_ok() {
                    step.stats.stream_msgs_sent.inc();
                }
            }
            Link::Idle | Link::Over => return Err(TalkFailure::Ended),
        }
        Ok(())
    }

    fn begin(&mut self, step: &std::sync::Arc<ProcessStep>) -> Link {
        let (worker, service) = (Rc::clone(&self.worker), self.service.clone());
        if let Some(closes_after) = step.settings.only_watches {
            return Link::Watched(watch::begin(
                &worker,
                service,
                step,
                (closes_after, self.span.take()),
            ));
        }
        let span = self.span.clone();
        let opening = async move {
            let asked = (&service, processing::METHOD);
            Box::pin(GrpcStream::open_in(&worker, asked, None, span.as_deref())).await
        };
        Link::Opening(Box::pin(opening), Vec::new())
    }

    /// Bytes that wait to be sent.
    pub(super) fn queued(&mut self) -> usize {
        match &mut self.link {
            Link::Opening(_, waiting) => waiting.iter().map(Vec::len).sum(),
            Link::Open(stream) => stream.queued(),
            Link::Idle | Link::Watched(_) | Link::Over => 0,
        }
    }

    /// The service ended the call, or failed.
    pub(super) fn end_span(&mut self, ended: Result<(), &CallError>) {
        // What opens the call, and holds the span too, is over.
        self.link = match std::mem::replace(&mut self.link, Link::Over) {
            Link::Opening(..) => Link::Over,
            link @ (Link::Idle | Link::Open(_) | Link::Watched(_) | Link::Over) => link,
        };
        if let Some(span) = self.span.take().and_then(Rc::into_inner) {
            span.end_grpc(ended, None);
        }
    }

    /// Ends the call; whether there was one that is not kept by others.
    pub(super) fn close(&mut self) -> bool {
        if matches!(self.link, Link::Idle)
            && let Some(span) = self.span.take().and_then(Rc::into_inner)
        {
            span.forget();
        }
        self.span = None;
        match std::mem::replace(&mut self.link, Link::Over) {
            Link::Open(_) => true,
            Link::Idle | Link::Opening(..) | Link::Watched(_) | Link::Over => false,
        }
    }

    /// The next answer for one way. What is for the other one is kept.
    pub(super) fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        way: Way,
        step: &ProcessStep,
    ) -> Poll<Result<ProcessAnswer, TalkFailure>> {
        loop {
            if let Some(answer) = self.kept(way).answers.pop_front() {
                return Poll::Ready(Ok(answer));
            }
            let answer = ready!(self.poll_link(context, step))?;
            let named = way_of(&answer.reply);
            let kept = self.kept(named.unwrap_or(way));
            let is_awaited = kept.awaited > 0 || kept.takes_any;
            kept.awaited = kept.awaited.saturating_sub(usize::from(named.is_some()));
            let Some(other) = named.filter(|other| *other != way) else {
                return Poll::Ready(Ok(answer));
            };
            if !is_awaited {
                return Poll::Ready(Err(TalkFailure::Spurious("spurious_message")));
            }
            let kept = &mut self.kept(other).answers;
            if kept.len() >= ANSWERS_MAX {
                let broken = CallError::Broken("too many answers to what was not asked");
                return Poll::Ready(Err(TalkFailure::Call(broken)));
            }
            kept.push_back(answer);
            // The other way may have been asked before this one in the same turn.
            context.waker().wake_by_ref();
        }
    }

    fn kept(&mut self, way: Way) -> &mut Kept {
        match way {
            Way::Request => &mut self.requests,
            Way::Response => &mut self.responses,
        }
    }

    fn poll_link(
        &mut self,
        context: &mut Context<'_>,
        step: &ProcessStep,
    ) -> Poll<Result<ProcessAnswer, TalkFailure>> {
        loop {
            match &mut self.link {
                Link::Opening(opening, waiting) => {
                    let opened = ready!(opening.as_mut().poll(context));
                    let waiting = std::mem::take(waiting);
                    let mut stream = opened.map_err(TalkFailure::of)?;
                    for message in waiting {
                        stream.send(&message).map_err(TalkFailure::of)?;
                        step.stats.stream_msgs_sent.inc();
                    }
                    self.link = Link::Open(Box::new(stream));
                }
                Link::Open(stream) => {
                    let said = ready!(stream.poll_next(context)).map_err(TalkFailure::of)?;
                    let Some(bytes) = said else { return Poll::Ready(Err(TalkFailure::Ended)) };
                    let answer = processing::answer(&bytes);
                    let broken = CallError::Broken("the answer is no answer");
                    return Poll::Ready(answer.ok_or(TalkFailure::Call(broken)));
                }
                Link::Idle | Link::Watched(_) => return Poll::Pending,
                Link::Over => return Poll::Ready(Err(TalkFailure::Ended)),
            }
        }
    }
}

/// To which way an answer belongs; none when it may be any.
fn way_of(reply: &ProcessReply) -> Option<Way> {
    match reply {
        ProcessReply::RequestHeaders(_)
        | ProcessReply::RequestBody(_)
        | ProcessReply::RequestTrailers(_) => Some(Way::Request),
        ProcessReply::ResponseHeaders(_)
        | ProcessReply::ResponseBody(_)
        | ProcessReply::ResponseTrailers(_) => Some(Way::Response),
        ProcessReply::None | ProcessReply::Immediate(_) => None,
    }
}
