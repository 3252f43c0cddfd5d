//! A stream as the task that uses it sees it, in either role.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use iako_http::h2::{Ends, ErrorCode, StreamId};
use iako_http::{BodyEvent, Fields, HeaderEdits, ResponseHead};

use super::codes;
use super::link::{Link, Lost, StreamPlace};
use super::pressure;
use super::slot::Slot;

/// One stream of a connection. Dropped, it gives up what is not complete.
#[derive(Debug)]
pub(crate) struct StreamHandle {
    link: Rc<Link>,
    stream: StreamId,
    slot: usize,
    /// Content that was handed out and is given back to the peer's window when the next piece is asked
    /// for: by then the sink has taken it, so that a slow sink slows the peer.
    unreleased: usize,
    receiving: Half,
    sending: Half,
    /// Whether our whole message is on its way: what comes of the stream later changes nothing for it.
    is_gone: bool,
    side: Side,
}

/// Which end of the stream a handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It answers. After a whole answer the rest of the request is not wanted (RFC 9113 §8.1); an
    /// answer that is not whole is an error of ours.
    Server,
    /// It asks, and cancels what it no longer wants.
    Client,
}

/// How far one direction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Open,
    Ended,
}

impl StreamHandle {
    /// Takes a stream; `ends` tells whether the peer's message is over with its head.
    pub(crate) fn new(link: &Rc<Link>, stream: StreamId, ends: Ends, side: Side) -> Self {
        Self {
            slot: link.begin(stream, ends),
            link: Rc::clone(link),
            stream,
            unreleased: 0,
            receiving: Half::Open,
            sending: Half::Open,
            is_gone: false,
            side,
        }
    }

    pub(crate) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// The stream as others may look at it.
    pub(crate) fn place(&self) -> StreamPlace {
        StreamPlace::new(Rc::clone(&self.link), self.stream)
    }

    pub(crate) fn id(&self) -> StreamId {
        self.stream
    }

    /// Our message ended with what was sent otherwise.
    pub(crate) fn end_sending(&mut self) {
        self.sending = Half::Ended;
        self.is_gone = self.queued() == 0;
    }

    /// Takes the next head that the peer sent.
    pub(crate) fn poll_head(&self, context: &Context<'_>) -> Poll<Result<Box<ResponseHead>, Lost>> {
        self.link.inner().borrow_mut().poll_slot(self.slot, context, Slot::take_head)
    }

    /// Takes the next part of the peer's content.
    pub(crate) fn poll_body(&mut self, context: &Context<'_>) -> Poll<Result<BodyEvent, Lost>> {
        if self.receiving == Half::Ended {
            return Poll::Ready(Ok(BodyEvent::End));
        }
        self.release();
        let mut inner = self.link.inner().borrow_mut();
        let event = ready!(inner.poll_slot(self.slot, context, Slot::take_body))?;
        match &event {
            BodyEvent::Data(bytes) => self.unreleased = bytes.len(),
            BodyEvent::Trailers(_) => {}
            BodyEvent::End => self.receiving = Half::Ended,
        }
        Poll::Ready(Ok(event))
    }

    /// Gives the content that was handed out back to the peer's window.
    fn release(&mut self) {
        let bytes = std::mem::take(&mut self.unreleased);
        if bytes == 0 {
            return;
        }
        pressure::release(bytes);
        let mut inner = self.link.inner().borrow_mut();
        inner.connection.release(self.stream, bytes);
        let tells = inner.connection.output_bytes() > 0;
        drop(inner);
        if tells {
            self.link.rouse();
        }
    }

    /// Ready when the stream is lost.
    pub(crate) fn poll_lost(&self, context: &Context<'_>) -> Poll<Lost> {
        let mut inner = self.link.inner().borrow_mut();
        match inner.poll_slot(self.slot, context, |_| None::<()>) {
            Poll::Ready(Err(lost)) => Poll::Ready(lost),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    /// Queues a piece of our content.
    pub(crate) fn send_data(&self, data: Bytes) {
        if self.sending == Half::Open && !data.is_empty() {
            self.link.with(|connection| connection.data(self.stream, data, Ends::Later));
        }
    }

    /// Queues the end of our message.
    pub(crate) fn send_end(&mut self, trailers: Option<(&Fields, &HeaderEdits)>) {
        if self.sending == Half::Ended {
            return;
        }
        // A stream that was reset meanwhile has dropped what was queued on it.
        let is_live = self.link.look(|connection| connection.is_open(self.stream));
        self.link.with(|connection| match trailers {
            Some((fields, edits)) => connection.trailers(self.stream, fields, edits),
            None => connection.data(self.stream, Bytes::new(), Ends::Here),
        });
        self.sending = Half::Ended;
        self.is_gone = is_live && self.queued() == 0;
    }

    /// Bytes that wait for the peer's windows.
    pub(crate) fn queued(&self) -> usize {
        self.link.look(|connection| connection.queued(self.stream))
    }

    /// Ready once everything that was queued is on its way.
    pub(crate) fn poll_sent(&self, context: &Context<'_>) -> Poll<Result<(), Lost>> {
        if self.is_gone {
            return Poll::Ready(Ok(()));
        }
        self.link.inner().borrow_mut().poll_sent(self.stream, self.slot, context)
    }

    /// Gives the stream up.
    pub(crate) fn reset(&mut self, code: ErrorCode) {
        self.sending = Half::Ended;
        self.receiving = Half::Ended;
        self.link.with(|connection| connection.reset(self.stream, code));
    }

    fn is_complete(&self) -> bool {
        self.sending == Half::Ended && {
            let mut inner = self.link.inner().borrow_mut();
            self.receiving == Half::Ended
                || inner.slots.get(self.slot).is_none_or(|slot| slot.has_ended())
        }
    }
}

impl Drop for StreamHandle {
    fn drop(&mut self) {
        if !self.is_complete() {
            match self.side {
                Side::Server if self.sending == Half::Ended => {
                    self.link.with(|connection| connection.refuse_rest(self.stream));
                }
                Side::Server => self.reset(ErrorCode::INTERNAL_ERROR),
                Side::Client => self.reset(codes::TO_UPSTREAM),
            }
        }
        self.link.finish(self.stream, self.slot, self.unreleased);
    }
}
