//! Probes of a connection whose peer may have vanished without a word.

use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use iako_proxy_config::Http2Options;
use iako_rt::clock;

use super::link::Link;
use crate::http::timer::Timer;

/// What a probe carries.
const PROBE: u64 = u64::from_be_bytes(*b"keepaliv");

/// Sends PING every so often and gives the connection up when the answer does not come. Source: Envoy
/// `connection_keepalive`.
#[derive(Debug)]
pub(crate) struct Keepalive {
    interval: Option<Duration>,
    timeout: Duration,
    timer: Timer,
    due: Option<Instant>,
    awaits: bool,
}

impl Keepalive {
    /// Probes as configured.
    pub(crate) fn new(options: &Http2Options) -> Self {
        Self {
            interval: options.keepalive_interval,
            timeout: options.keepalive_timeout,
            timer: Timer::default(),
            due: None,
            awaits: false,
        }
    }

    /// A probe was answered.
    pub(crate) fn answered(&mut self) {
        self.awaits = false;
        self.due = None;
    }

    /// Ready when a probe was not answered in time.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>, link: &Link) -> Poll<()> {
        let Some(interval) = self.interval else { return Poll::Pending };
        loop {
            let due = *self.due.get_or_insert_with(|| clock::now() + interval);
            self.timer.set(Some(due));
            ready!(self.timer.poll(context));
            if self.awaits {
                return Poll::Ready(());
            }
            self.awaits = true;
            self.due = Some(clock::now() + self.timeout);
            link.with(|connection| connection.ping(PROBE));
        }
    }
}
