//! The state of one connection, reached by its driver and by the tasks of its streams.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use iako_http::h2::{Connection, ConnectionError, Ends, ErrorCode, Event, ResetCause, StreamId};

use super::pressure;
use super::proof::Proof;
use super::slot::{Slot, Slots};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer closed it, or it was closed with nothing under way.
    Closed,
    /// It broke.
    Broken(io::ErrorKind),
    /// The peer broke the protocol, or flooded us.
    Refused(ConnectionError),
    /// It was cut by us: the time to drain was over, or a probe was not answered.
    Cut,
    /// It was cut by us because the proxy is overloaded.
    Shed,
}

/// Why nothing more comes or goes on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was reset.
    Reset(ErrorCode, ResetCause),
    /// Its connection ended.
    Connection(Ending),
}

/// One connection. Never borrowed over a call that could come back here.
#[derive(Debug)]
pub(crate) struct Link {
    inner: RefCell<Inner>,
    /// Whether the driver was woken and has not run since.
    told: Cell<bool>,
    /// Which requests a server that closed has not seen.
    proof: Proof,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) connection: Connection,
    pub(super) slots: Slots,
    driver: Option<Waker>,
    /// Whoever waits for the peer's settings.
    waiting: Vec<Waker>,
    greeted: bool,
    ending: Option<Ending>,
}

/// What came of handing an event to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handed {
    /// A task was woken.
    Woken,
    /// Nobody waits for it.
    Kept,
}

impl Link {
    /// A connection that nobody drives yet.
    pub(crate) fn new(connection: Connection) -> Rc<Self> {
        let inner = Inner {
            connection,
            slots: Slots::default(),
            driver: None,
            waiting: Vec::new(),
            greeted: false,
            ending: None,
        };
        Rc::new(Self {
            inner: RefCell::new(inner),
            told: Cell::new(false),
            proof: Proof::default(),
        })
    }

    /// Uses the connection's state machine; what that queues is written at the end of the turn.
    pub(crate) fn with<T>(&self, use_it: impl FnOnce(&mut Connection) -> T) -> T {
        let used = use_it(&mut self.inner.borrow_mut().connection);
        self.rouse();
        used
    }

    /// Looks at the connection's state machine.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Connection) -> T) -> T {
        look(&self.inner.borrow().connection)
    }

    /// How the connection ended, once it has.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.inner.borrow().ending
    }

    /// Streams that tasks use.
    pub(crate) fn open(&self) -> usize {
        self.inner.borrow().slots.len()
    }

    /// Ready once the peer's settings have come, or never will.
    pub(crate) fn poll_greeted(&self, context: &Context<'_>) -> Poll<()> {
        let mut inner = self.inner.borrow_mut();
        if inner.greeted || inner.ending.is_some() {
            return Poll::Ready(());
        }
        if !inner.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            inner.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }

    /// The peer's settings have come.
    pub(crate) fn greeted(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.greeted = true;
        inner.waiting.drain(..).for_each(Waker::wake);
    }

    /// Has the driver run at the end of the turn.
    pub(crate) fn rouse(&self) {
        if self.told.replace(true) {
            return;
        }
        if let Some(driver) = &self.inner.borrow().driver {
            driver.wake_by_ref();
        }
    }

    /// The task that drives the connection runs.
    pub(crate) fn begin_turn(&self, context: &Context<'_>) {
        self.told.set(false);
        let mut inner = self.inner.borrow_mut();
        match &inner.driver {
            Some(driver) if driver.will_wake(context.waker()) => {}
            _ => inner.driver = Some(context.waker().clone()),
        }
    }

    pub(super) fn proof(&self) -> &Proof {
        &self.proof
    }

    /// A request that must not be sent twice is opened; what [`Self::is_unseen`] is asked with.
    pub(crate) fn ask_proof(&self) -> u32 {
        self.proof.ask()
    }

    /// Whether the server ended the connection before anything of the request had reached its system.
    pub(crate) fn is_unseen(&self, note: u32) -> bool {
        self.proof.is_unseen(note)
    }

    pub(super) fn inner(&self) -> &RefCell<Inner> {
        &self.inner
    }

    /// The connection is over: every stream hears of it.
    pub(crate) fn end(&self, ending: Ending) {
        let mut inner = self.inner.borrow_mut();
        if inner.ending.is_some() {
            return;
        }
        inner.ending = Some(ending);
        inner.slots.wake_all();
        inner.waiting.drain(..).for_each(Waker::wake);
    }

    /// Gives a stream its slot.
    pub(super) fn begin(&self, stream: StreamId, ends: Ends) -> usize {
        self.inner.borrow_mut().slots.begin(stream, ends)
    }

    /// A task is done with its stream; what nobody took goes back to the peer's window.
    pub(super) fn finish(&self, stream: StreamId, slot: usize, unreleased: usize) {
        let mut inner = self.inner.borrow_mut();
        let left = inner.slots.finish(stream, slot) + unreleased;
        if left > 0 {
            pressure::release(left);
            inner.connection.release(stream, left);
        }
        let rouses = inner.slots.len() == 0 || inner.connection.output_bytes() > 0;
        drop(inner);
        // The driver may be waiting for the last stream, to close the connection or to let it rest.
        if rouses {
            self.rouse();
        }
    }

    /// Bytes that came on a stream and were not taken, and that wait to be written on it.
    fn held(&self, stream: StreamId) -> usize {
        let mut inner = self.inner.borrow_mut();
        let queued = inner.connection.queued(stream);
        let waits = inner.slots.of(stream).map_or(0, |slot| slot.held());
        queued.saturating_add(waits)
    }

    /// Resets a stream in the place of the task that uses it, which hears of it as of a reset of the peer.
    fn cut(&self, stream: StreamId) {
        let code = ErrorCode::INTERNAL_ERROR;
        let inner = &mut *self.inner.borrow_mut();
        inner.connection.reset(stream, code);
        if let Some(slot) = inner.slots.of(stream) {
            slot.push_reset(code, ResetCause::Peer);
            slot.wake();
        }
    }

    /// Hands what came on a stream to it.
    pub(super) fn hand(&self, stream: StreamId, event: Event) -> Handed {
        let inner = &mut *self.inner.borrow_mut();
        let Some(slot) = inner.slots.of(stream) else {
            // The task has ended: what still comes is not wanted.
            if let Event::Data { bytes, .. } = &event {
                inner.connection.release(stream, bytes.len());
            }
            return Handed::Kept;
        };
        match event {
            Event::Response { head, ends, .. } => slot.push_head(head, ends),
            Event::Data { bytes, ends, .. } => {
                pressure::hold(bytes.len());
                slot.push_data(bytes, ends);
            }
            Event::Trailers { fields, .. } => slot.push_trailers(fields),
            Event::Reset { code, cause, .. } => slot.push_reset(code, cause),
            Event::Writable { .. }
            | Event::Request { .. }
            | Event::Refused { .. }
            | Event::GoAway { .. }
            | Event::Settings(_)
            | Event::SettingsAcknowledged
            | Event::Pong { .. } => {}
        }
        if slot.wake() { Handed::Woken } else { Handed::Kept }
    }

    /// Gives memory back while the connection carries nothing.
    pub(super) fn rest(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.connection.idle();
        inner.slots.idle();
    }
}

/// A stream, as who looks at it from outside of its task sees it.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    link: Rc<Link>,
    stream: StreamId,
}

impl StreamPlace {
    pub(super) const fn new(link: Rc<Link>, stream: StreamId) -> Self {
        Self { link, stream }
    }

    /// Bytes that the stream holds, either way; none of one that has ended.
    pub(crate) fn held(&self) -> usize {
        self.link.held(self.stream)
    }

    /// Resets it.
    pub(crate) fn cut(&self) {
        self.link.cut(self.stream);
        self.link.rouse();
    }
}

impl Inner {
    /// Ready with what `find` finds, or with why it will not come.
    pub(super) fn poll_slot<T>(
        &mut self,
        slot: usize,
        context: &Context<'_>,
        find: impl FnOnce(&mut Slot) -> Option<T>,
    ) -> Poll<Result<T, Lost>> {
        let Some(slot) = self.slots.get(slot) else { return Poll::Pending };
        if let Some(found) = find(slot) {
            return Poll::Ready(Ok(found));
        }
        if let Some((code, cause)) = slot.reset() {
            return Poll::Ready(Err(Lost::Reset(code, cause)));
        }
        if let Some(ending) = self.ending {
            return Poll::Ready(Err(Lost::Connection(ending)));
        }
        slot.wait(context);
        Poll::Pending
    }

    /// Ready once everything that was queued on the stream is on its way.
    pub(super) fn poll_sent(
        &mut self,
        stream: StreamId,
        slot: usize,
        context: &Context<'_>,
    ) -> Poll<Result<(), Lost>> {
        let is_sent = self.ending.is_none() && self.connection.queued(stream) == 0;
        self.poll_slot(slot, context, |slot| match slot.reset() {
            // A peer that has a whole message may reset the rest of its own (RFC 9113 §8.1).
            None | Some((ErrorCode::NO_ERROR, _)) => is_sent.then_some(()),
            Some(_) => None,
        })
    }
}
