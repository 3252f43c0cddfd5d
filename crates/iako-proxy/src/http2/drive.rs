//! Moves a connection's bytes, turn by turn.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use iako_http::h2::{Connection, Event, ResetCause, Tally, Violation};
use iako_rt::clock;
use tokio::io::AsyncWrite as _;

use super::link::{Ending, Handed, Link};
use super::pressure;
use crate::http::timer::Timer;
use crate::http::wire::{self, Meter};
use crate::transport::{Stream, socket};

/// Slices of one gathered write.
const SLICES_MAX: usize = 64;

/// Reads of one turn; then others have theirs. The second costs no system call unless the first filled
/// its buffer.
const READS_MAX: usize = 2;

/// A connection on which nothing moves and that carries no stream gives its memory back after so long,
/// twice as long at most.
pub(crate) const REST_AFTER: Duration = Duration::from_secs(1);

/// What is done with events that are not of a stream.
pub(crate) trait Listen {
    /// Takes a request, or news of the connection itself.
    fn hear(&mut self, link: &Rc<Link>, event: Event);

    /// Whether the connection is closed in place of reading what came, which was told to the peer.
    fn turns_away(&mut self, _link: &Rc<Link>) -> bool {
        false
    }

    /// The connection has counted something more.
    fn counted(&mut self, more: Tally);

    /// The peer lost a stream because it broke a rule on it.
    fn broken(&mut self, violation: Violation);
}

/// The task of a connection owns one.
#[derive(Debug)]
pub(crate) struct Driver {
    stream: Stream,
    /// Read and not yet understood.
    input: BytesMut,
    /// The last read filled its buffer: content flows.
    flows: bool,
    /// The connection is over; [`Self::close`] writes what is queued.
    last_words: Option<Ending>,
    /// The peer has said that nothing more comes.
    is_ended: bool,
    /// Whether something came or went in this turn.
    moved: bool,
    /// Whether the windows were made small.
    pressed: bool,
    queued: pressure::Queued,
    /// What the connection had counted when that was told last.
    told: Tally,
    /// Counts what comes and goes.
    meter: Option<Meter>,
    rest: Rest,
}

/// When a connection comes to rest. Looked at once an interval: a turn of a busy connection asks no
/// clock for it.
#[derive(Debug)]
struct Rest {
    interval: Duration,
    timer: Timer,
    /// The timer is armed.
    looks: bool,
    /// Something moved since the last look.
    active: bool,
    /// The connection rests, since then.
    since: Option<Instant>,
}

impl Driver {
    /// Takes a connection over; `read` was read from it already.
    pub(crate) fn new(mut stream: Stream, read: Bytes, rests_after: Duration) -> Self {
        let mut input = BytesMut::from(read);
        // What inspection read lies beneath what the driver read of it.
        input.extend_from_slice(&stream.take_prefix());
        Self {
            stream,
            input,
            flows: false,
            last_words: None,
            is_ended: false,
            moved: false,
            pressed: false,
            queued: pressure::Queued::default(),
            told: Tally::default(),
            meter: None,
            rest: Rest {
                interval: rests_after,
                timer: Timer::default(),
                looks: false,
                active: true,
                since: None,
            },
        }
    }

    /// Whether something came or went in the last turn; if not, something else woke the task.
    pub(crate) fn has_moved(&self) -> bool {
        self.moved
    }

    /// Since when the connection has carried nothing, as far as it was looked at.
    pub(crate) fn rests_since(&self) -> Option<Instant> {
        self.rest.since
    }

    /// Whether a frame has begun to arrive and has not arrived whole.
    pub(crate) fn is_inside_frame(&self) -> bool {
        !self.input.is_empty()
    }

    /// One turn: writes what the streams queued since the last one, reads, hands out what came. Ready
    /// when the connection is over.
    pub(crate) fn poll_turn(
        &mut self,
        context: &mut Context<'_>,
        link: &Rc<Link>,
        listener: &mut impl Listen,
    ) -> Poll<Ending> {
        link.begin_turn(context);
        self.moved = false;
        self.mind_pressure(link);
        let turned = self.turn(context, link, listener);
        self.tell(link, listener);
        let ending = match turned {
            Poll::Pending => {
                self.queued.tell(link.look(Connection::queued_by_all));
                self.let_rest(context, link);
                return Poll::Pending;
            }
            Poll::Ready(Ok(ending)) => ending,
            Poll::Ready(Err(error)) => {
                self.hear_out(context, link, listener);
                Ending::Broken(error.kind())
            }
        };
        let acknowledged = || self.stream.tcp_socket().and_then(socket::bytes_acknowledged);
        let is_ended = self.is_ended || ending == Ending::Closed;
        link.proof().ended(is_ended.then(acknowledged).flatten());
        link.end(ending);
        Poll::Ready(ending)
    }

    /// Tells what the connection has counted since the last time.
    fn tell(&mut self, link: &Link, listener: &mut impl Listen) {
        let now = link.look(Connection::tally);
        if now != self.told {
            listener.counted(now.since(self.told));
            self.told = now;
        }
    }

    /// A connection that takes nothing more may have said why: a peer that closes meets what is written
    /// meanwhile with a reset.
    fn hear_out(&mut self, context: &mut Context<'_>, link: &Rc<Link>, listener: &mut impl Listen) {
        while self.last_words.is_none() {
            match self.poll_fill(context) {
                Poll::Ready(Ok(1..)) => {
                    self.understand(link, listener);
                }
                Poll::Ready(Ok(_)) => {
                    self.is_ended = true;
                    return;
                }
                Poll::Ready(Err(error)) => {
                    self.is_ended = error.kind() == io::ErrorKind::UnexpectedEof;
                    return;
                }
                Poll::Pending => return,
            }
        }
    }

    fn turn(
        &mut self,
        context: &mut Context<'_>,
        link: &Rc<Link>,
        listener: &mut impl Listen,
    ) -> Poll<io::Result<Ending>> {
        let mut handed = Handed::Kept;
        // What inspection read is there before the first readable event.
        if !self.input.is_empty() && self.last_words.is_none() {
            handed = self.understand(link, listener);
        }
        let mut written = self.poll_write(context, link, listener)?;
        if let Some(ending) = self.last_words {
            return Poll::Ready(Ok(ending));
        }
        for round in 0..=READS_MAX {
            if round == READS_MAX {
                context.waker().wake_by_ref();
                break;
            }
            match self.poll_fill(context) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Ending::Closed)),
                Poll::Ready(Ok(_)) => self.moved = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
            if self.understand(link, listener) == Handed::Woken {
                handed = Handed::Woken;
            }
            if self.last_words.is_none() && link.look(Connection::is_paused) {
                written = self.poll_write(context, link, listener)?;
            }
            if self.last_words.is_some() {
                break;
            }
        }
        match self.last_words {
            Some(ending) => Poll::Ready(Ok(ending)),
            None if written.is_pending() => Poll::Pending,
            // The streams run before this task runs again, and their frames go with ours.
            None if handed == Handed::Woken => {
                if link.inner().borrow_mut().connection.prepare() {
                    link.rouse();
                }
                Poll::Pending
            }
            None => {
                let _sent: Poll<()> = self.poll_write(context, link, listener)?;
                Poll::Pending
            }
        }
    }

    /// Takes everything that the input holds, and what the connection has to say of itself.
    fn understand(&mut self, link: &Rc<Link>, listener: &mut impl Listen) -> Handed {
        let mut handed = Handed::Kept;
        if self.last_words == Some(Ending::Shed) {
            return handed;
        }
        if !self.input.is_empty() && listener.turns_away(link) {
            self.last_words = Some(Ending::Shed);
            link.end(Ending::Shed);
            return Handed::Woken;
        }
        link.inner().borrow_mut().connection.at(clock::now());
        loop {
            let received = link.inner().borrow_mut().connection.receive(&mut self.input);
            match received {
                Ok(None) => return handed,
                Ok(Some(event)) => {
                    if pass(link, listener, event) == Handed::Woken {
                        handed = Handed::Woken;
                    }
                }
                Err(error) => {
                    let ending = Ending::Refused(error);
                    self.last_words = Some(ending);
                    link.end(ending);
                    return Handed::Woken;
                }
            }
        }
    }

    /// Reads once. 0 is the end of the stream.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() && !self.flows {
            let count = ready!(wire::poll_read_little(&mut self.stream, &mut self.input, context))?;
            self.flows = count >= wire::READ_BYTES / 4;
            self.measure(count);
            return Poll::Ready(Ok(count));
        }
        let count = ready!(wire::poll_read_much(&mut self.stream, &mut self.input, context))?;
        self.flows = count >= wire::READ_BYTES / 8;
        self.measure(count);
        Poll::Ready(Ok(count))
    }

    /// Counts what comes and goes from now on, and what was read already.
    pub(crate) fn measure_as(&mut self, meter: Meter) {
        meter.read(self.input.len());
        self.meter = Some(meter);
    }

    fn measure(&self, read: usize) {
        if let Some(meter) = &self.meter {
            meter.read(read);
        }
    }

    /// Writes what is queued; ready once all of it is on its way.
    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        link: &Rc<Link>,
        listener: &mut impl Listen,
    ) -> Poll<io::Result<()>> {
        link.proof().note(|| self.stream.tcp_socket().and_then(socket::bytes_acknowledged));
        let mut wrote = false;
        while ready!(self.poll_drain(context, link))? == Drained::Some {
            wrote = true;
            // Streams whose content has gone can take more, and input may have waited for this.
            self.understand(link, listener);
        }
        if wrote || self.stream.is_tls() {
            return Pin::new(&mut self.stream).poll_flush(context);
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is queued, whatever can be queued then; whether there was anything.
    fn poll_drain(&mut self, context: &mut Context<'_>, link: &Link) -> Poll<io::Result<Drained>> {
        let mut drained = Drained::Nothing;
        while link.inner().borrow_mut().connection.prepare() {
            let mut inner = link.inner().borrow_mut();
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = inner.connection.slices(&mut slices);
            let stream = Pin::new(&mut self.stream);
            let written = match slices.get(..filled).unwrap_or_default() {
                [] => break,
                [only] => ready!(stream.poll_write(context, only))?,
                several => ready!(stream.poll_write_vectored(context, several))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            inner.connection.advance(written);
            drained = Drained::Some;
            self.moved = true;
            if let Some(meter) = &self.meter {
                meter.wrote(written);
            }
        }
        Poll::Ready(Ok(drained))
    }

    /// Makes windows small while the worker's memory is short.
    fn mind_pressure(&mut self, link: &Link) {
        let pressed = pressure::is_high();
        if pressed != self.pressed {
            self.pressed = pressed;
            let (stream, connection) =
                if pressed { pressure::SHORT_WINDOWS } else { (u32::MAX, u32::MAX) };
            link.inner().borrow_mut().connection.window_ceilings(stream, connection);
        }
    }

    /// Gives memory back once the connection has had no stream for a while.
    fn let_rest(&mut self, context: &mut Context<'_>, link: &Link) {
        let rest = &mut self.rest;
        if self.moved {
            rest.active = true;
            rest.since = None;
        }
        if rest.looks {
            if !rest.timer.is_due() {
                return;
            }
        } else if !rest.active {
            return;
        }
        loop {
            if !rest.looks {
                rest.looks = true;
                rest.active = false;
                rest.timer.set(Some(clock::now() + rest.interval));
            }
            if rest.timer.poll(context).is_pending() {
                return;
            }
            rest.looks = false;
            if !rest.active {
                break;
            }
        }
        if link.open() > 0 {
            return;
        }
        rest.since = Some(clock::now());
        rest.timer = Timer::default();
        link.rest();
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Writes what is queued, says that nothing follows, and reads what the peer still sends, so that the
    /// last frames are not lost to a reset. A peer that does not read has as long as all of it may take.
    pub(crate) async fn close(mut self, link: &Link, time_max: Duration) {
        let closing = poll_fn(|context| {
            let _all: Drained = ready!(self.poll_drain(context, link))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            loop {
                self.input.clear();
                self.flows = false;
                if ready!(self.poll_fill(context))? == 0 {
                    return Poll::Ready(Ok::<_, io::Error>(()));
                }
            }
        });
        if let Ok(Err(error)) = tokio::time::timeout(time_max, closing).await {
            tracing::trace!(%error, "the peer was gone before the connection closed");
        }
    }
}

/// Whether anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    Some,
    Nothing,
}

fn pass(link: &Rc<Link>, listener: &mut impl Listen, event: Event) -> Handed {
    match &event {
        Event::Response { stream, .. }
        | Event::Data { stream, .. }
        | Event::Trailers { stream, .. }
        | Event::Reset { stream, .. }
        | Event::Writable { stream } => {
            let stream = *stream;
            if let Event::Reset { cause: ResetCause::Violation(violation), .. } = &event {
                listener.broken(*violation);
            }
            link.hand(stream, event)
        }
        Event::Request { .. } => {
            listener.hear(link, event);
            Handed::Woken
        }
        Event::Settings(_) => {
            link.greeted();
            listener.hear(link, event);
            Handed::Kept
        }
        Event::Refused { .. }
        | Event::GoAway { .. }
        | Event::SettingsAcknowledged
        | Event::Pong { .. } => {
            listener.hear(link, event);
            Handed::Kept
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // An idle connection holds these, its task and its socket; what it needs while it works is given
    // back when it rests.
    #[test]
    fn an_idle_connection_is_small() {
        let sizes = (size_of::<Driver>(), size_of::<Link>());
        assert!(sizes.0 <= 320 && sizes.1 <= 2048, "{sizes:?}");
    }
}
