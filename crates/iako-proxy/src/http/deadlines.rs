//! The times that bound one exchange.

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use iako_proxy_config::HttpConnectionManager;
use iako_rt::clock;

use super::failure::Failure;
use super::timer::Timer;

/// Which time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expired {
    /// The whole response, over all tries.
    Response,
    /// One try.
    PerTry,
    /// Silence of one try.
    PerTryIdle,
    /// Life of one try, its response included.
    Upstream,
    /// Silence of the stream.
    Idle,
    /// Life of the stream.
    Stream,
    /// Arrival of the request.
    Request,
}

impl Expired {
    /// What the client is told.
    pub(crate) const fn failure(self) -> Failure {
        match self {
            Self::Response => Failure::ResponseTimeout,
            Self::PerTry => Failure::PerTryTimeout,
            Self::PerTryIdle => Failure::PerTryIdle,
            Self::Upstream => Failure::UpstreamMaxDuration,
            Self::Idle => Failure::StreamIdle,
            Self::Stream => Failure::MaxDuration,
            Self::Request => Failure::RequestTimeout,
        }
    }
}

/// The deadlines of one exchange; whatever is absent never comes.
#[derive(Debug)]
pub(crate) struct Deadlines<'t> {
    timer: &'t mut Timer,
    /// Longest silence of the stream.
    pub(crate) idle: Option<Duration>,
    active: Instant,
    /// End of the whole response.
    pub(crate) response: Option<Instant>,
    /// End of the current try.
    pub(crate) per_try: Option<Instant>,
    /// Longest silence of the current try.
    pub(crate) per_try_idle: Option<Duration>,
    /// End of the current try, its response included.
    pub(crate) upstream: Option<Instant>,
    /// End of the stream.
    pub(crate) stream: Option<Instant>,
    /// Until when the whole request must have arrived.
    pub(crate) request: Option<Instant>,
    /// Longest silence of a client that takes the end of a response.
    pub(crate) flush: Option<Duration>,
}

impl<'t> Deadlines<'t> {
    /// No deadline yet.
    pub(crate) fn new(timer: &'t mut Timer, now: Instant) -> Self {
        Self {
            timer,
            idle: None,
            active: now,
            response: None,
            per_try: None,
            per_try_idle: None,
            upstream: None,
            stream: None,
            request: None,
            flush: None,
        }
    }

    /// The times of a request that is sent elsewhere begin anew.
    pub(crate) fn restart(&mut self, manager: &HttpConnectionManager, now: Instant) {
        self.end_try();
        self.response = None;
        self.active = now;
        self.idle = manager.stream_idle_timeout;
        self.stream = manager.stream_duration_max.map(|limit| now + limit);
    }

    /// Something moved.
    pub(crate) fn touch(&mut self) {
        if self.idle.is_some() || self.per_try_idle.is_some() {
            self.active = clock::now();
        }
    }

    /// Something moved at that time.
    pub(crate) fn touch_at(&mut self, now: Instant) {
        self.active = now;
    }

    /// All of the response is there: from now on only the client can be slow.
    pub(crate) fn begin_flush(&mut self) {
        self.upstream = None;
        if let Some(flush) = self.flush {
            self.idle = Some(flush);
            self.active = clock::now();
        }
    }

    /// A try is answered: what bounds the wait for that is gone.
    pub(crate) fn end_wait(&mut self) {
        self.per_try = None;
        self.per_try_idle = None;
    }

    /// A try ended: its own deadlines are gone.
    pub(crate) fn end_try(&mut self) {
        self.end_wait();
        self.upstream = None;
    }

    /// Ready once a deadline has passed.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Expired> {
        let Some((deadline, expired)) = self.next() else { return Poll::Pending };
        self.timer.set(Some(deadline));
        self.timer.poll(context).map(|()| expired)
    }

    fn next(&self) -> Option<(Instant, Expired)> {
        let after = |silence: Option<Duration>| silence.map(|silence| self.active + silence);
        let all = [
            (self.response, Expired::Response),
            (self.per_try, Expired::PerTry),
            (after(self.per_try_idle), Expired::PerTryIdle),
            (self.upstream, Expired::Upstream),
            (self.stream, Expired::Stream),
            (self.request, Expired::Request),
            (after(self.idle), Expired::Idle),
        ];
        all.into_iter()
            .filter_map(|(deadline, expired)| Some((deadline?, expired)))
            .min_by_key(|(deadline, _)| *deadline)
    }
}
