//! What has come on a stream and was not taken yet.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::Bytes;
use iako_http::h2::{Ends, ErrorCode, ResetCause, StreamId};
use iako_http::{BodyEvent, Fields, ResponseHead};

/// Room that a queue may keep for the next stream in its place.
const KEPT_PIECES_MAX: usize = 16;

/// One stream that a task uses.
#[derive(Debug, Default)]
pub(super) struct Slot {
    waker: Option<Waker>,
    /// The head of the response, or of an interim one.
    head: Option<Box<ResponseHead>>,
    /// Heads behind the first.
    later_heads: VecDeque<Box<ResponseHead>>,
    pieces: VecDeque<Bytes>,
    trailers: Option<Box<Fields>>,
    ended: bool,
    reset: Option<(ErrorCode, ResetCause)>,
}

impl Slot {
    pub(super) fn begin(&mut self, ends: Ends) {
        self.ended = ends.here();
    }

    /// Forgets what the stream left; how many bytes of content nobody took.
    pub(super) fn clear(&mut self) -> usize {
        let held = self.held();
        self.waker = None;
        self.head = None;
        self.later_heads.clear();
        self.pieces.clear();
        self.pieces.shrink_to(KEPT_PIECES_MAX);
        self.trailers = None;
        self.ended = false;
        self.reset = None;
        held
    }

    /// Bytes of content that nobody took.
    pub(super) fn held(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    pub(super) fn push_head(&mut self, head: Box<ResponseHead>, ends: Ends) {
        if self.head.is_none() {
            self.head = Some(head);
        } else {
            self.later_heads.push_back(head);
        }
        self.ended |= ends.here();
    }

    pub(super) fn push_data(&mut self, bytes: Bytes, ends: Ends) {
        self.ended |= ends.here();
        if !bytes.is_empty() {
            self.pieces.push_back(bytes);
        }
    }

    pub(super) fn push_trailers(&mut self, fields: Box<Fields>) {
        self.trailers = Some(fields);
        self.ended = true;
    }

    /// The stream ended early. What came before stays: a whole message is one, whatever follows it.
    pub(super) fn push_reset(&mut self, code: ErrorCode, cause: ResetCause) {
        self.reset = Some((code, cause));
    }

    pub(super) fn reset(&self) -> Option<(ErrorCode, ResetCause)> {
        self.reset
    }

    pub(super) fn take_head(&mut self) -> Option<Box<ResponseHead>> {
        let head = self.head.take()?;
        self.head = self.later_heads.pop_front();
        Some(head)
    }

    /// The next part of the content; `None` while it has not come.
    pub(super) fn take_body(&mut self) -> Option<BodyEvent> {
        if let Some(bytes) = self.pieces.pop_front() {
            return Some(BodyEvent::Data(bytes));
        }
        if let Some(fields) = self.trailers.take() {
            return Some(BodyEvent::Trailers(fields));
        }
        self.ended.then_some(BodyEvent::End)
    }

    /// Whether the peer has ended its half.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Remembers whom to wake.
    pub(super) fn wait(&mut self, context: &Context<'_>) {
        match &self.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            _ => self.waker = Some(context.waker().clone()),
        }
    }

    /// Wakes whoever uses the stream; whether there is one.
    pub(super) fn wake(&self) -> bool {
        match &self.waker {
            Some(waker) => {
                waker.wake_by_ref();
                true
            }
            None => false,
        }
    }
}

/// The streams of a connection that tasks use. A slot outlives its stream: the last content of a
/// message waits in it after the connection has forgotten the stream and given its place to another.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// By place of a stream in its connection: the stream's number and its slot.
    places: Vec<(u32, usize)>,
}

impl Slots {
    /// Number of streams that tasks use.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Gives a stream a slot.
    pub(super) fn begin(&mut self, stream: StreamId, ends: Ends) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        if let Some(slot) = self.slots.get_mut(index) {
            slot.begin(ends);
        }
        let place = stream.place();
        if self.places.len() <= place {
            self.places.resize(place + 1, (0, 0));
        }
        if let Some(known) = self.places.get_mut(place) {
            *known = (stream.number(), index);
        }
        index
    }

    /// Takes a slot back; how many bytes of content nobody took.
    pub(super) fn finish(&mut self, stream: StreamId, index: usize) -> usize {
        let held = self.slots.get_mut(index).map_or(0, Slot::clear);
        self.free.push(index);
        if let Some(known) = self.places.get_mut(stream.place())
            && known.0 == stream.number()
        {
            *known = (0, 0);
        }
        held
    }

    pub(super) fn get(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    /// The slot of a stream of which the connection speaks; `None` when no task uses it any more.
    pub(super) fn of(&mut self, stream: StreamId) -> Option<&mut Slot> {
        let (number, index) = *self.places.get(stream.place())?;
        if number == stream.number() { self.slots.get_mut(index) } else { None }
    }

    /// Wakes everybody.
    pub(super) fn wake_all(&self) {
        for slot in &self.slots {
            slot.wake();
        }
    }

    /// Gives memory back while no task uses a stream.
    pub(super) fn idle(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
        }
    }
}
