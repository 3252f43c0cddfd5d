//! The streams of a connection: a dense table of those that live, and a short memory of the others.

mod past;
mod table;

pub(crate) use past::Past;

use std::collections::VecDeque;

use bytes::Bytes;

use super::event::StreamId;
use super::flow::ReceiveWindow;
use super::output::NOWHERE;
use crate::edits::HeaderEdits;
use crate::head::Fields;
use crate::parse::ResponseTo;
use past::History;
use table::Numbers;

/// How far one side of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Its head has not come.
    Head,
    /// Its head has come, its end has not.
    Open,
    /// It has ended.
    Closed,
}

/// How our half ends once its content has gone.
#[derive(Debug)]
pub(crate) enum Ending {
    /// Not yet.
    Open,
    /// With the last content.
    Data,
    /// With these.
    Trailers(Box<(Fields, HeaderEdits)>),
}

/// A stream that lives.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) remote: Half,
    pub(crate) local: Half,
    /// Bytes that we may send. Negative after the peer made its windows smaller.
    pub(crate) send_window: i64,
    pub(crate) window: ReceiveWindow,
    /// By how much its window's target has grown.
    pub(crate) grown: u32,
    /// Content that waits for windows or for room in the output.
    pub(crate) queue: VecDeque<Bytes>,
    pub(crate) queued: usize,
    pub(crate) ending: Ending,
    /// Content that is still owed by its `content-length`.
    pub(crate) content_left: Option<u64>,
    /// Where the last frame of ours stands in the output.
    pub(crate) last_frame: u64,
    /// Milliseconds of the connection when it was opened.
    pub(crate) opened_at: u32,
    /// Pieces of content that share a read buffer they are small beside, and wait for their reader.
    pub(crate) small: u32,
    /// Tiny DATA frames that wait for their reader.
    pub(crate) tiny: u32,
    /// Interim responses so far.
    pub(crate) interims: u32,
    /// It carries a tunnel, and so no further fields.
    pub(crate) is_tunnel: bool,
    /// What its response answers (client).
    pub(crate) answers: ResponseTo,
    /// It waits in the round of those that may send.
    pub(crate) is_ready: bool,
    /// Its caller waits until its queue is empty.
    pub(crate) wants_writable: bool,
    /// What the peer sends on it is thrown away.
    pub(crate) is_unwanted: bool,
}

impl Stream {
    fn new(id: StreamId, queue: VecDeque<Bytes>, opening: Opening) -> Self {
        Self {
            id,
            remote: opening.remote,
            local: opening.local,
            send_window: opening.send_window,
            window: ReceiveWindow::new(opening.window),
            grown: 0,
            queue,
            queued: 0,
            ending: Ending::Open,
            content_left: None,
            last_frame: NOWHERE,
            opened_at: opening.now,
            small: 0,
            tiny: 0,
            interims: 0,
            is_tunnel: false,
            answers: ResponseTo::Plain,
            is_ready: false,
            wants_writable: false,
            is_unwanted: false,
        }
    }

    /// Whether both halves have ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.remote == Half::Closed && self.local == Half::Closed
    }
}

/// What a stream begins with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) number: u32,
    pub(crate) remote: Half,
    pub(crate) local: Half,
    pub(crate) send_window: i64,
    pub(crate) window: u32,
    pub(crate) now: u32,
}

#[derive(Debug)]
enum Slot {
    Live(Stream),
    /// The queue of the last stream, for the next one.
    Free(VecDeque<Bytes>),
}

/// Pieces for which a queue keeps room between streams.
const QUEUE_KEPT: usize = 16;

/// The streams of a connection.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    slots: Vec<Slot>,
    free: Vec<u32>,
    numbers: Numbers,
    history: History,
}

impl Streams {
    /// Number of streams that live.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn insert(&mut self, opening: Opening) -> StreamId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free(VecDeque::new()));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let id = StreamId { number: opening.number, place };
        self.numbers.insert(id);
        if let Some(slot) = self.slots.get_mut(id.place()) {
            let queue = match slot {
                Slot::Free(queue) => std::mem::take(queue),
                Slot::Live(_) => VecDeque::new(),
            };
            *slot = Slot::Live(Stream::new(id, queue, opening));
        }
        id
    }

    /// The stream of a frame.
    pub(crate) fn find(&self, number: u32) -> Option<StreamId> {
        self.numbers.find(number)
    }

    /// The stream of a caller, unless it is gone.
    pub(crate) fn get(&self, id: StreamId) -> Option<&Stream> {
        match self.slots.get(id.place())? {
            Slot::Live(stream) if stream.id.number == id.number => Some(stream),
            Slot::Live(_) | Slot::Free(_) => None,
        }
    }

    /// As [`get`](Self::get).
    pub(crate) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        match self.slots.get_mut(id.place())? {
            Slot::Live(stream) if stream.id.number == id.number => Some(stream),
            Slot::Live(_) | Slot::Free(_) => None,
        }
    }

    /// Every stream that lives.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Live(stream) => Some(stream),
            Slot::Free(_) => None,
        })
    }

    /// Forgets a stream, but for what its later frames would mean.
    pub(crate) fn remove(&mut self, id: StreamId, past: Past) {
        let Some(slot) = self.slots.get_mut(id.place()) else { return };
        let Slot::Live(stream) = slot else { return };
        if stream.id.number != id.number {
            return;
        }
        let mut queue = std::mem::take(&mut stream.queue);
        queue.clear();
        if queue.capacity() > QUEUE_KEPT {
            queue = VecDeque::new();
        }
        *slot = Slot::Free(queue);
        self.free.push(id.place);
        self.numbers.remove(id.number);
        self.history.note(id.number, past);
    }

    /// Remembers a stream that never lived.
    pub(crate) fn note(&mut self, number: u32, past: Past) {
        self.history.note(number, past);
    }

    /// What is known of a stream that does not live, though streams above it did.
    pub(crate) fn past(&self, number: u32) -> Past {
        self.history.of(number)
    }

    /// Forgets all streams.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives memory back while no stream lives.
    pub(crate) fn idle(&mut self) {
        if self.len() == 0 {
            self.slots = Vec::new();
            self.free = Vec::new();
            self.numbers = Numbers::default();
        }
    }
}
