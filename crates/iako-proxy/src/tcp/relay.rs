//! Two connections, byte by byte, until both are done.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use iako_rt::clock;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::buffers::{BUFFER_BYTES, Kept};
use crate::{drain::Drain, worker::Worker};

/// Moves in one go before other connections get their turn.
const TURNS_MAX: u32 = 8;
/// Bytes that one move is worth while little comes, or the receiver is slow.
const REACH_MIN: usize = 16 * 1024;
/// Up to so many bytes that a receiver leaves are copied; for more the buffer is kept.
const COPY_BYTES_MAX: usize = 8 * 1024;
/// Bytes of room without which no further record of TLS is read: the greatest fits.
const RECORD_BYTES: usize = 16 * 1024;

/// What bounds a relay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Longest silence in both directions; none when absent.
    pub(super) idle: Option<Duration>,
    /// When the connection is closed whatever happens; never when absent.
    pub(super) until: Option<Instant>,
    /// Time between reports of the bytes that were moved.
    pub(super) report: Duration,
}

/// Why a relay ended.
#[derive(Debug)]
pub(super) enum End {
    /// Both sides closed.
    Done,
    /// Nothing moved for too long.
    Idle,
    /// The connection reached its age.
    MaxDuration,
    /// The proxy closes.
    Drained,
    /// The client's side broke.
    Downstream,
    /// The upstream's side broke.
    Upstream(io::Error),
}

/// Bytes moved since the last report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moved {
    /// From the client.
    pub(super) received: u64,
    /// To the client.
    pub(super) sent: u64,
}

/// Moves bytes both ways until both directions have ended or a limit is reached. A side that ends
/// is half closed at the other; the rest goes on.
///
/// Holds no buffer while nothing moves: bytes go through the worker's buffer, and only what a slow
/// receiver leaves is kept, at most one move of it. A move gathers what there is, the more the more
/// comes, and is written at once.
pub(super) async fn relay<D, U>(
    worker: &Worker,
    (downstream, upstream): (&mut D, &mut U),
    limits: Limits,
    drain: &Drain,
    mut report: impl FnMut(Moved),
) -> End
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut relay = Relay {
        worker,
        downstream,
        upstream,
        up: Way::default(),
        down: Way::default(),
        last: clock::now(),
        moved: Moved::default(),
    };
    let mut closing = pin!(drain.closing());
    let mut timer = pin!(tokio::time::sleep_until(relay.wake_at(&limits).into()));
    let end = poll_fn(|context| {
        if closing.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::Drained);
        }
        if let Poll::Ready(end) = relay.poll(context) {
            return Poll::Ready(end);
        }
        relay.poll_limits(timer.as_mut(), &limits, &mut report, context)
    })
    .await;
    report(std::mem::take(&mut relay.moved));
    end
}

struct Relay<'a, D, U> {
    worker: &'a Worker,
    downstream: &'a mut D,
    upstream: &'a mut U,
    up: Way,
    down: Way,
    last: Instant,
    moved: Moved,
}

/// One direction.
#[derive(Debug)]
struct Way {
    /// Read, not yet written.
    left: Left,
    stage: Stage,
    /// Bytes of the next move.
    reach: usize,
    /// Nothing more came in this turn than was moved; the source will wake us.
    is_dry: bool,
    /// The source broke behind what was moved.
    broken: Option<io::Error>,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            left: Left::Nothing,
            stage: Stage::Moving,
            reach: REACH_MIN,
            is_dry: false,
            broken: None,
        }
    }
}

/// What a receiver has not taken.
#[derive(Debug)]
enum Left {
    Nothing,
    /// From `written` on.
    Copied {
        bytes: Vec<u8>,
        written: usize,
    },
    Kept(Kept),
}

impl Left {
    fn rest(&self) -> &[u8] {
        match self {
            Self::Nothing => &[],
            Self::Copied { bytes, written } => bytes.get(*written..).unwrap_or_default(),
            Self::Kept(kept) => kept.rest(),
        }
    }

    fn advance(&mut self, bytes: usize) {
        match self {
            Self::Nothing => {}
            Self::Copied { written, .. } => *written = written.saturating_add(bytes),
            Self::Kept(kept) => kept.advance(bytes),
        }
    }
}

/// What one move did.
struct Move {
    /// Bytes read; 0 is the end of the source.
    read: usize,
    /// Bytes of them that the receiver took at once.
    taken: usize,
    /// The buffer was as good as filled.
    filled: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Moving,
    /// The source ended; the rest is written, then the target is half closed.
    Ending,
    Ended,
}

/// Which side of a direction broke.
enum Broken {
    Source(io::Error),
    Target(io::Error),
}

impl<D, U> Relay<'_, D, U>
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let before = self.moved;
        let worker = self.worker;
        let up = self.up.poll(
            worker,
            (Pin::new(&mut *self.downstream), Pin::new(&mut *self.upstream)),
            &mut self.moved.received,
            context,
        );
        if let Poll::Ready(Err(broken)) = up {
            return Poll::Ready(match broken {
                Broken::Source(_) => End::Downstream,
                Broken::Target(error) => End::Upstream(error),
            });
        }
        let down = self.down.poll(
            worker,
            (Pin::new(&mut *self.upstream), Pin::new(&mut *self.downstream)),
            &mut self.moved.sent,
            context,
        );
        if self.moved != before {
            self.last = clock::now();
        }
        match (up, down) {
            (_, Poll::Ready(Err(Broken::Source(error)))) => Poll::Ready(End::Upstream(error)),
            (_, Poll::Ready(Err(Broken::Target(_)))) => Poll::Ready(End::Downstream),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Done),
            _ => Poll::Pending,
        }
    }

    fn wake_at(&self, limits: &Limits) -> Instant {
        let idle = limits.idle.map(|idle| self.last + idle);
        let report = self.last + limits.report;
        let unreported = (self.moved != Moved::default()).then_some(report);
        let times = [idle, limits.until, unreported].into_iter().flatten();
        // Without a limit the timer only looks again now and then.
        times.min().unwrap_or_else(|| clock::now() + Duration::from_secs(86_400))
    }

    fn poll_limits(
        &mut self,
        mut timer: Pin<&mut Sleep>,
        limits: &Limits,
        report: &mut impl FnMut(Moved),
        context: &mut Context<'_>,
    ) -> Poll<End> {
        loop {
            let due = self.wake_at(limits);
            // Bytes that move push the limit back; the timer is only set again when it fires, or
            // when something is due before it.
            if due < timer.deadline().into_std() {
                timer.as_mut().reset(due.into());
            }
            ready!(timer.as_mut().poll(context));
            let now = clock::now();
            if self.moved != Moved::default() {
                report(std::mem::take(&mut self.moved));
            }
            if limits.until.is_some_and(|until| now >= until) {
                return Poll::Ready(End::MaxDuration);
            }
            if limits.idle.is_some_and(|idle| now.saturating_duration_since(self.last) >= idle) {
                return Poll::Ready(End::Idle);
            }
            let due = self.wake_at(limits).max(now + Duration::from_millis(1));
            timer.as_mut().reset(due.into());
        }
    }
}

impl Way {
    fn poll<S: AsyncRead, T: AsyncWrite>(
        &mut self,
        worker: &Worker,
        (mut source, mut target): (Pin<&mut S>, Pin<&mut T>),
        moved: &mut u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        // Only in the turn in which the source was asked last will it wake us.
        self.is_dry = false;
        for _ in 0..TURNS_MAX {
            ready!(self.poll_write_left(target.as_mut(), context))?;
            match self.stage {
                Stage::Ended => return Poll::Ready(Ok(())),
                Stage::Ending => {
                    // A peer that is gone already needs no half close.
                    drop(ready!(target.as_mut().poll_shutdown(context)));
                    self.stage = Stage::Ended;
                    return Poll::Ready(Ok(()));
                }
                Stage::Moving if self.is_dry => return Poll::Pending,
                Stage::Moving => {}
            }
            let moving = worker
                .buffers
                .with(|buffer| self.poll_move(buffer, (source.as_mut(), target.as_mut()), context));
            let done = ready!(moving)?;
            if done.read == 0 {
                self.stage = Stage::Ending;
                continue;
            }
            *moved = moved.saturating_add(u64::try_from(done.read).unwrap_or(u64::MAX));
            self.keep_left(worker, &done);
        }
        // Other connections get their turn; this one comes back at once.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Gathers what there is in the buffer and writes it once.
    fn poll_move<S: AsyncRead, T: AsyncWrite>(
        &mut self,
        buffer: &mut [u8],
        (source, target): (Pin<&mut S>, Pin<&mut T>),
        context: &mut Context<'_>,
    ) -> Poll<Result<Move, Broken>> {
        let reach = self.reach.min(buffer.len());
        let mut buffer = ReadBuf::new(buffer.get_mut(..reach).unwrap_or_default());
        ready!(self.poll_gather(source, &mut buffer, context)).map_err(Broken::Source)?;
        let bytes = buffer.filled();
        let taken = match bytes.is_empty() {
            true => 0,
            false => match target.poll_write(context, bytes) {
                Poll::Ready(written) => written.map_err(Broken::Target)?,
                Poll::Pending => 0,
            },
        };
        let filled = buffer.remaining() < RECORD_BYTES;
        Poll::Ready(Ok(Move { read: buffer.filled().len(), taken, filled }))
    }

    /// Keeps what the receiver did not take at once, and finds out how much the next move is worth.
    fn keep_left(&mut self, worker: &Worker, done: &Move) {
        let left = done.taken..done.read;
        if left.is_empty() {
            if done.filled {
                self.reach = self.reach.saturating_mul(2).min(BUFFER_BYTES);
            }
            return;
        }
        if left.len() > COPY_BYTES_MAX
            && let Some(kept) = worker.buffers.keep(left.clone())
        {
            self.left = Left::Kept(kept);
            return;
        }
        let bytes = worker.buffers.with(|buffer| buffer.get(left).unwrap_or_default().to_vec());
        self.left = Left::Copied { bytes, written: 0 };
        self.reach = self.reach.div_euclid(2).max(REACH_MIN);
    }

    /// Reads until nothing more is there, or the buffer is as good as full.
    fn poll_gather<S: AsyncRead>(
        &mut self,
        mut source: Pin<&mut S>,
        buffer: &mut ReadBuf<'_>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Err(error));
        }
        loop {
            let before = buffer.filled().len();
            match source.as_mut().poll_read(context, buffer) {
                Poll::Ready(Ok(())) => {
                    let is_end = buffer.filled().len() == before;
                    if is_end || buffer.remaining() < RECORD_BYTES {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Err(error)) if before == 0 => return Poll::Ready(Err(error)),
                Poll::Ready(Err(error)) => {
                    self.broken = Some(error);
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending if before == 0 => return Poll::Pending,
                Poll::Pending => {
                    self.is_dry = true;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    fn poll_write_left<T: AsyncWrite>(
        &mut self,
        mut target: Pin<&mut T>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>> {
        while !self.left.rest().is_empty() {
            let rest = self.left.rest();
            let written =
                ready!(target.as_mut().poll_write(context, rest)).map_err(Broken::Target)?;
            if written == 0 {
                return Poll::Ready(Err(Broken::Target(io::ErrorKind::WriteZero.into())));
            }
            self.left.advance(written);
        }
        // A slow receiver must not cost memory once it has caught up.
        self.left = Left::Nothing;
        match target.poll_flush(context) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Broken::Target)),
            Poll::Pending => Poll::Pending,
        }
    }
}
