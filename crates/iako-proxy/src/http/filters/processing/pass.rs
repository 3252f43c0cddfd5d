//! Showing content piece by piece, and trailers, while they pass.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use iako_http::{BodyEvent, Fields};
use iako_proxy_config::{BodyMode, PartReply, ProcessAnswer, ProcessPart, ProcessReply};
use serde_json::Map;

use super::attributes::Told;
use super::call::Way;
use super::changes::listed;
use super::talk::{TalkFailure, Waiting};
use super::{MISMATCH, Processing, Shared, Shown};
use crate::http::content::ContentError;
use crate::http::pump::KEPT_BYTES_MAX;
use crate::http::wire::queue_bytes_max;

/// Details of an answer to a piece that fits another mode.
const NOT_IN_PIECES: &str = "spurious_message:_Normal_body_mutation_response_is_received_while_body_mode__is_FULL_DUPLEX_STREAMED";

/// How the pieces of content are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pieces {
    /// Not at all, only trailers are.
    Unshown,
    /// Each is answered.
    Answered,
    /// The service writes what it likes.
    Duplex,
    /// Nobody waits for answers.
    Watched,
}

/// Whether the end of the content is told with its last piece, as it comes in HTTP/2, or by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndTold {
    WithLast,
    Alone,
}

/// Whether what came while the head was shown is still being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Burst {
    Reading,
    Over,
}

/// Shows what passes.
#[derive(Debug)]
pub(crate) struct ProcessPass {
    shared: Shared,
    way: Way,
    pieces: Pieces,
    shows_trailers: bool,
    told: Told,
    end_told: EndTold,
    burst: Burst,
    /// A piece that waits to see whether the end comes with it.
    piece: BytesMut,
    trailers: Option<Box<Fields>>,
    /// Everything came.
    has_ended: bool,
    /// Everything was given on, or is in `next`.
    is_done: bool,
    /// The service has written everything that it wants to.
    is_written: bool,
    /// The trailers are shown and not answered.
    asks_trailers: bool,
    /// Pieces that are shown and not answered, the oldest first.
    shown: VecDeque<Bytes>,
    waiting: Option<Waiting>,
    next: VecDeque<BodyEvent>,
}

impl ProcessPass {
    /// Shows what passes one way.
    pub(super) fn new(shared: &Shared, way: Way, end_told: EndTold, told: Told) -> Self {
        let (pieces, shows_trailers) = {
            let processing = shared.borrow();
            let (body, trailers) = processing.mode_of(way);
            let pieces = match body {
                BodyMode::Streamed | BodyMode::Duplex if processing.watches() => Pieces::Watched,
                BodyMode::Streamed => Pieces::Answered,
                BodyMode::Duplex => Pieces::Duplex,
                BodyMode::None | BodyMode::Buffered | BodyMode::BufferedPartial => Pieces::Unshown,
            };
            (pieces, trailers)
        };
        Self {
            shared: Shared::clone(shared),
            way,
            pieces,
            shows_trailers,
            told,
            end_told,
            burst: Burst::Over,
            piece: BytesMut::new(),
            trailers: None,
            has_ended: false,
            is_done: false,
            is_written: false,
            asks_trailers: false,
            shown: VecDeque::new(),
            waiting: None,
            next: VecDeque::new(),
        }
    }

    /// What comes until nothing more is there at once is shown in one piece.
    pub(super) fn in_burst(mut self) -> Self {
        self.burst = Burst::Reading;
        self
    }

    /// Whether what came at once is still being read.
    pub(crate) fn is_in_burst(&self) -> bool {
        self.burst == Burst::Reading && !self.has_ended
    }

    /// What came at once was read.
    pub(crate) fn end_burst(&mut self) {
        self.burst = Burst::Over;
    }

    /// Whether there is room for more.
    pub(crate) fn takes_more(&self) -> bool {
        let held: usize = self.shown.iter().map(Bytes::len).sum();
        let ready = |event: &BodyEvent| match event {
            BodyEvent::Data(data) => data.len(),
            BodyEvent::Trailers(_) | BodyEvent::End => 0,
        };
        let ready: usize = self.next.iter().map(ready).sum();
        !self.has_ended
            && held.saturating_add(ready).saturating_add(self.piece.len()) < KEPT_BYTES_MAX
            && self.shared.borrow_mut().queued() < queue_bytes_max()
    }

    /// Whether everything came.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes an event.
    pub(crate) fn give(&mut self, event: BodyEvent) -> Result<(), ContentError> {
        match event {
            BodyEvent::Data(data) => self.give_data(data),
            BodyEvent::Trailers(trailers) => {
                self.rests()?;
                self.trailers = Some(trailers);
                Ok(())
            }
            BodyEvent::End => {
                self.has_ended = true;
                self.give_end()
            }
        }
    }

    fn give_data(&mut self, data: Bytes) -> Result<(), ContentError> {
        if data.is_empty() || (self.is_written && self.pieces == Pieces::Duplex) {
            return Ok(());
        }
        if self.pieces == Pieces::Unshown || self.is_passed()? {
            self.next.push_back(BodyEvent::Data(data));
            return Ok(());
        }
        if self.pieces == Pieces::Watched {
            self.next.push_back(BodyEvent::Data(data.clone()));
        }
        if self.burst == Burst::Over {
            self.rests()?;
        }
        self.piece.extend_from_slice(&data);
        match (self.burst, self.end_told) {
            (Burst::Over, EndTold::Alone) => self.rests().map(|_| ()),
            (Burst::Reading, _) | (Burst::Over, EndTold::WithLast) => Ok(()),
        }
    }

    fn give_end(&mut self) -> Result<(), ContentError> {
        if self.trailers.is_none() {
            if self.pieces != Pieces::Unshown && !self.is_passed()? && !self.is_written {
                let piece = self.piece.split().freeze();
                self.show(piece, Ends::Here)?;
            }
        } else if self.pieces == Pieces::Duplex && self.shows_trailers {
            self.show_trailers()?;
        }
        Ok(())
    }

    /// Nothing more is there at once: a piece that waited for the end is shown without. Whether there
    /// was one.
    pub(crate) fn rests(&mut self) -> Result<bool, ContentError> {
        if self.piece.is_empty() {
            return Ok(false);
        }
        let piece = self.piece.split().freeze();
        self.show(piece, Ends::Later)?;
        Ok(true)
    }

    fn show(&mut self, piece: Bytes, ends: Ends) -> Result<(), ContentError> {
        if self.is_passed()? {
            if self.pieces != Pieces::Watched && !piece.is_empty() {
                self.next.push_back(BodyEvent::Data(piece));
            }
            return Ok(());
        }
        let ends = ends == Ends::Here;
        let part = match self.way {
            Way::Request => ProcessPart::RequestBody(&piece, ends),
            Way::Response => ProcessPart::ResponseBody(&piece, ends),
        };
        let sent = {
            let mut processing = self.shared.borrow_mut();
            let message = processing.message(part, &self.told, Map::new());
            processing.send(message, self.way)
        };
        if self.pieces == Pieces::Answered {
            self.shown.push_back(piece);
            self.waiting = Some(self.shared.borrow().waiting());
        }
        sent.or_else(|failure| self.failed(&failure))
    }

    fn show_trailers(&mut self) -> Result<(), ContentError> {
        let Some(trailers) = &self.trailers else { return Ok(()) };
        let sent = {
            let mut processing = self.shared.borrow_mut();
            let listed = listed(trailers);
            let shown = processing.shown(&listed);
            let part = match self.way {
                Way::Request => ProcessPart::RequestTrailers(shown),
                Way::Response => ProcessPart::ResponseTrailers(shown),
            };
            let message = processing.message(part, &self.told, Map::new());
            processing.send(message, self.way)
        };
        self.asks_trailers = self.pieces != Pieces::Watched;
        if self.pieces != Pieces::Duplex && self.asks_trailers {
            self.waiting = Some(self.shared.borrow().waiting());
        }
        self.shows_trailers = false;
        sent.or_else(|failure| self.failed(&failure))
    }

    /// The next event; none when it needs another one first.
    pub(crate) fn poll_take(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<BodyEvent>, ContentError>> {
        if let Some(event) = self.next.pop_front() {
            return Poll::Ready(Ok(Some(event)));
        }
        match self.poll_settled(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) => Poll::Ready(Ok(self.next.pop_front())),
            Poll::Pending => match self.next.pop_front() {
                Some(event) => Poll::Ready(Ok(Some(event))),
                None if self.takes_more() => Poll::Ready(Ok(None)),
                None => Poll::Pending,
            },
        }
    }

    /// Ready when nothing that was shown waits for its answer.
    pub(crate) fn poll_settled(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ContentError>> {
        loop {
            if self.is_passed()? {
                self.pass_over();
            }
            if self.awaits() {
                let answer = {
                    let mut processing = self.shared.borrow_mut();
                    match &mut self.waiting {
                        Some(waiting) => waiting.poll(context, &mut processing, self.way),
                        None => processing.poll_answer(context, self.way),
                    }
                };
                match answer {
                    Poll::Ready(Ok(answer)) => self.take(answer)?,
                    Poll::Ready(Err(failure)) => self.failed(&failure)?,
                    Poll::Pending => return Poll::Pending,
                }
            } else if !self.has_ended || self.is_done {
                return self.poll_unasked(context);
            } else if self.trailers.is_some() && self.shows_trailers {
                self.show_trailers()?;
            } else {
                self.finish();
            }
        }
    }

    /// Whether the service is still there and says nothing while it is not asked.
    fn poll_unasked(&self, context: &mut Context<'_>) -> Poll<Result<(), ContentError>> {
        if self.is_done || self.pieces != Pieces::Answered {
            return Poll::Ready(Ok(()));
        }
        let said = self.shared.borrow_mut().poll_answer(context, self.way);
        Poll::Ready(match said {
            Poll::Pending => Ok(()),
            Poll::Ready(Err(failure)) => self.failed(&failure),
            Poll::Ready(Ok(_)) => self.failed(&TalkFailure::Spurious("spurious_message")),
        })
    }

    fn awaits(&self) -> bool {
        if self.is_done {
            return false;
        }
        self.asks_trailers
            || match self.pieces {
                Pieces::Answered => !self.shown.is_empty(),
                Pieces::Duplex => !self.is_written,
                Pieces::Unshown | Pieces::Watched => false,
            }
    }

    fn finish(&mut self) {
        self.is_done = true;
        self.next.extend(self.trailers.take().map(BodyEvent::Trailers));
        self.next.push_back(BodyEvent::End);
    }

    /// Whether the service is asked no more; an error when it has answered the client.
    fn is_passed(&self) -> Result<bool, ContentError> {
        let processing = self.shared.borrow();
        match &processing.reply {
            Some(_) => Err(ContentError::Processed),
            None => Ok(processing.is_over && self.pieces != Pieces::Watched),
        }
    }

    /// What was shown goes on as it is.
    fn pass_over(&mut self) {
        self.waiting = None;
        self.asks_trailers = false;
        self.shows_trailers = false;
        self.is_written = true;
        let shown = self.shown.drain(..).filter(|piece| !piece.is_empty());
        self.next.extend(shown.map(BodyEvent::Data));
        if !self.piece.is_empty() {
            self.next.push_back(BodyEvent::Data(self.piece.split().freeze()));
        }
        self.pieces = Pieces::Unshown;
    }

    fn take(&mut self, answer: ProcessAnswer) -> Result<(), ContentError> {
        self.shared.borrow_mut().leave(&answer);
        let is_trailers = self.asks_trailers;
        match (self.way, answer.reply) {
            (_, ProcessReply::Immediate(reply)) => {
                let shown = self.shared.borrow_mut().immediate(&reply);
                self.becomes(shown)
            }
            (Way::Request, ProcessReply::RequestTrailers(reply))
            | (Way::Response, ProcessReply::ResponseTrailers(reply))
                if is_trailers =>
            {
                self.take_trailers(&reply)
            }
            (Way::Request, ProcessReply::RequestBody(reply))
            | (Way::Response, ProcessReply::ResponseBody(reply))
                if self.pieces == Pieces::Duplex =>
            {
                self.take_written(*reply)
            }
            (Way::Request, ProcessReply::RequestBody(reply))
            | (Way::Response, ProcessReply::ResponseBody(reply))
                if !is_trailers =>
            {
                self.take_answered(*reply)
            }
            (
                _,
                ProcessReply::None
                | ProcessReply::RequestHeaders(_)
                | ProcessReply::ResponseHeaders(_)
                | ProcessReply::RequestBody(_)
                | ProcessReply::ResponseBody(_)
                | ProcessReply::RequestTrailers(_)
                | ProcessReply::ResponseTrailers(_),
            ) => self.failed(&TalkFailure::Spurious("spurious_message")),
        }
    }

    fn take_trailers(&mut self, reply: &PartReply) -> Result<(), ContentError> {
        self.count_received();
        let changes = self.shared.borrow().changes(reply);
        match (changes, self.trailers.take()) {
            (Ok(changes), Some(trailers)) => {
                self.trailers = Some(Box::new(changes.of_trailers(&trailers)));
            }
            (Ok(_), None) => {}
            (Err(details), _) => return self.refuse(details),
        }
        self.asks_trailers = false;
        self.is_written = true;
        self.waiting = None;
        Ok(())
    }

    fn take_written(&mut self, reply: PartReply) -> Result<(), ContentError> {
        let Some((piece, ends)) = reply.piece else {
            return self.failed(&TalkFailure::Spurious(NOT_IN_PIECES));
        };
        self.count_received();
        if !piece.is_empty() {
            self.next.push_back(BodyEvent::Data(piece.into()));
        }
        if ends {
            self.is_written = true;
        }
        Ok(())
    }

    fn take_answered(&mut self, reply: PartReply) -> Result<(), ContentError> {
        self.count_received();
        let Some(piece) = self.shown.pop_front() else { return Ok(()) };
        let taken = self.shared.borrow_mut().take_head_changes(&reply);
        if let Err(details) = taken {
            return self.refuse(details);
        }
        let piece = reply.body.map_or(piece, Bytes::from);
        if !piece.is_empty() {
            self.next.push_back(BodyEvent::Data(piece));
        }
        self.waiting = (!self.shown.is_empty()).then(|| self.shared.borrow().waiting());
        Ok(())
    }

    fn count_received(&self) {
        self.shared.borrow().step.stats.stream_msgs_received.inc();
    }

    fn refuse(&self, details: &'static str) -> Result<(), ContentError> {
        let refused = self.shared.borrow_mut().refused(500, details);
        self.becomes(Shown::Answer(refused))
    }

    fn failed(&self, failure: &TalkFailure) -> Result<(), ContentError> {
        let mut shown = self.shared.borrow_mut().failed(failure);
        if self.pieces == Pieces::Duplex && !self.is_written && matches!(shown, Shown::Passed) {
            // What it was shown is not kept, so that nothing can go on in place of what it writes.
            let mut processing = self.shared.borrow_mut();
            let status = processing.step.settings.status_on_error;
            shown = Shown::Answer(processing.refused(status, "ext_proc_content_lost"));
        }
        self.becomes(shown)
    }

    fn becomes(&self, shown: Shown) -> Result<(), ContentError> {
        match shown {
            Shown::Passed | Shown::Reply(_) => Ok(()),
            Shown::Answer(reply) => {
                self.shared.borrow_mut().reply = Some(reply);
                Err(ContentError::Processed)
            }
        }
    }
}

/// Where content ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Here,
    Later,
}

impl Processing {
    /// Keeps the changes that come with content for a head that is still held. Of another one it is too
    /// late to change anything.
    fn take_head_changes(&mut self, reply: &PartReply) -> Result<(), &'static str> {
        if self.held_head.is_none() {
            return Ok(());
        }
        let changes = self.changes(reply)?;
        let Some(held) = &mut self.held_head else { return Ok(()) };
        let announced = changes.length.or(held.announced);
        held.changes.push(changes);
        match (&reply.body, announced) {
            (Some(body), Some(announced)) if announced != body.len() as u64 => Err(MISMATCH),
            (Some(_) | None, _) => Ok(()),
        }
    }
}
