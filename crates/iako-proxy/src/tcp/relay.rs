//! Two connections, byte by byte, until both are done.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use iako_proxy_config::ShedPlace;
use iako_rt::{Rng, clock};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Sleep;

use super::{
    far::Far,
    way::{Broken, Way},
};
use crate::{
    connection::{
        Downstream,
        steps::{Denied, FirstBytes, Gate, first_bytes},
    },
    worker::Worker,
};

/// Bytes of a client that are read before its connection is closed because the proxy is overloaded.
const SHED_BYTES: usize = 4096;

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
    /// The proxy is overloaded.
    Shed,
    /// The instance was found to be unwell.
    Failed,
    /// The client's side broke.
    Downstream,
    /// The upstream's side broke.
    Upstream(io::Error),
    /// A filter did not let the client's bytes through.
    Denied(Box<Denied>),
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
/// Holds no buffer while nothing moves: bytes go through the worker's buffer, or bulk between plain
/// sockets through a pipe of its, and only what a slow receiver leaves is kept, at most one move of it.
/// A move gathers what there is, the more the more comes, and is written at once.
pub(super) async fn relay(
    worker: &Worker,
    (downstream, upstream): (&mut Downstream, &mut Far),
    limits: Limits,
    mut report: impl FnMut(Moved),
) -> End {
    let drain = downstream.drain().clone();
    let mut relay = Relay {
        worker,
        gate: downstream.gate.take(),
        first_bytes: first_bytes(&downstream.chain),
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

struct Relay<'a> {
    worker: &'a Worker,
    /// Holds back the client's bytes until it is passed.
    gate: Option<Box<Gate>>,
    /// What is told when bytes come; mostly nothing.
    first_bytes: Box<[FirstBytes]>,
    downstream: &'a mut Downstream,
    upstream: &'a mut Far,
    up: Way,
    down: Way,
    last: Instant,
    moved: Moved,
}

impl Relay<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let before = self.moved;
        if let Poll::Ready(end) = self.poll_shed(context) {
            return Poll::Ready(end);
        }
        let memory = &self.worker.relay_memory;
        let up = match self.poll_gate(context) {
            Poll::Ready(Err(denied)) => return Poll::Ready(End::Denied(Box::new(denied))),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => {
                let streams = (&mut self.downstream.stream, &mut *self.upstream);
                self.up.poll(memory, streams, &mut self.moved.received, context)
            }
        };
        if let Poll::Ready(Err(broken)) = up {
            return Poll::Ready(match broken {
                Broken::Source(_) => End::Downstream,
                Broken::Target(error) => End::Upstream(error),
            });
        }
        let streams = (&mut *self.upstream, &mut self.downstream.stream);
        let down = self.down.poll(memory, streams, &mut self.moved.sent, context);
        if self.moved != before {
            self.last = clock::now();
            for first in &mut self.first_bytes {
                let moved = (self.moved.received, self.moved.sent);
                first.note(moved, self.downstream.accepted, self.last);
            }
        }
        match (up, down) {
            (_, Poll::Ready(Err(Broken::Source(error)))) => Poll::Ready(End::Upstream(error)),
            (_, Poll::Ready(Err(Broken::Target(_)))) => Poll::Ready(End::Downstream),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(End::Done),
            _ => Poll::Pending,
        }
    }

    /// Ready when bytes of the client came while the proxy is overloaded: they go nowhere.
    fn poll_shed(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let overload = &self.worker.shared.overload;
        if !overload.would_shed(ShedPlace::TcpData, || self.worker.with_rng(Rng::unit)) {
            return Poll::Pending;
        }
        let mut room = [0; SHED_BYTES];
        let mut buffer = ReadBuf::new(&mut room);
        let read = Pin::new(&mut self.downstream.stream).poll_read(context, &mut buffer);
        match ready!(read) {
            Ok(()) if buffer.filled().is_empty() => Poll::Pending,
            Ok(()) => {
                overload.note_shed(ShedPlace::TcpData);
                self.moved.received += buffer.filled().len() as u64;
                Poll::Ready(End::Shed)
            }
            Err(_) => Poll::Ready(End::Downstream),
        }
    }

    fn poll_gate(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Denied>> {
        let Some(gate) = &mut self.gate else { return Poll::Ready(Ok(())) };
        let passed = ready!(gate.poll(&mut self.downstream.passing(), context));
        self.gate = None;
        Poll::Ready(passed)
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
