//! What the proxy does when it runs short of something.
//!
//! One task looks at the resources now and then and sets levels; whoever accepts a connection or begins a
//! request reads them. Where nothing is short that is one relaxed load.

mod ledger;
mod measure;
mod watch;

use std::{
    rc::Weak,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use iako_proxy_config::{Deed, ScaledTimer, ShedPlace, Timer, TrackedFrom};
use iako_telemetry::Counter;
use iako_traffic::shortened;
use tokio::sync::watch as channel;

use crate::worker::Worker;

pub(crate) use ledger::{Account, Ledger};
pub(crate) use watch::start;

/// Time between looks at a time that may get shorter.
const LOOK: Duration = Duration::from_millis(250);
/// A level at its full.
const FULL: u32 = 1_000_000;

/// How much of something is done, in millionths.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicU32);

impl Level {
    fn set(&self, level: f64) {
        let millionths = (level.clamp(0.0, 1.0) * f64::from(FULL)).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10^6")]
        self.0.store(millionths as u32, Relaxed);
    }

    fn share(&self) -> f64 {
        f64::from(self.0.load(Relaxed)) / f64::from(FULL)
    }

    /// Whether it is done this time; `draw` is a number from 0 to 1, asked for where that is a matter of
    /// chance.
    fn strikes(&self, draw: impl FnOnce() -> f64) -> bool {
        match self.0.load(Relaxed) {
            0 => false,
            FULL.. => true,
            _ => draw() < self.share(),
        }
    }
}

/// A place at which work is turned away.
#[derive(Debug, Default)]
struct Shed {
    level: Level,
    /// How often it was; none where the place is not configured.
    count: OnceLock<Counter>,
}

/// What is done now. Written by one task, read by everybody.
#[derive(Debug)]
pub(crate) struct Overload {
    /// Whether anything is done at all.
    is_short: AtomicBool,
    requests: Level,
    keepalive: Level,
    rejects: Level,
    timeouts: Level,
    sheds: [Shed; ShedPlace::ALL.len()],
    /// Whether clients wait in the queues of listening sockets.
    rests: channel::Sender<bool>,
    /// The times that get shorter.
    timers: OnceLock<Vec<ScaledTimer>>,
    /// Most connections of clients, over all listeners.
    connections_max: OnceLock<u32>,
    /// From where on the memory of streams is looked at.
    tracked: OnceLock<TrackedFrom>,
    /// How much of the resetting of large streams is done; told with each change.
    resets: channel::Sender<f64>,
    /// `envoy.overload_actions.reset_high_memory_stream.count`.
    reset_count: OnceLock<Counter>,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            is_short: AtomicBool::new(false),
            requests: Level::default(),
            keepalive: Level::default(),
            rejects: Level::default(),
            timeouts: Level::default(),
            sheds: Default::default(),
            rests: channel::Sender::new(false),
            timers: OnceLock::new(),
            connections_max: OnceLock::new(),
            tracked: OnceLock::new(),
            resets: channel::Sender::new(0.0),
            reset_count: OnceLock::new(),
        }
    }
}

impl Overload {
    fn is_short(&self) -> bool {
        self.is_short.load(Relaxed)
    }

    /// Whether a request is answered with 503 in place of being served.
    pub(crate) fn sheds_request(&self, draw: impl Fn() -> f64) -> bool {
        self.is_short() && (self.sheds(ShedPlace::Head, &draw) || self.requests.strikes(draw))
    }

    /// Whether a client is told to close its connection.
    pub(crate) fn ends_keepalive(&self, draw: impl FnOnce() -> f64) -> bool {
        self.is_short() && self.keepalive.strikes(draw)
    }

    /// Whether a connection is closed when it is accepted.
    pub(crate) fn rejects_connection(&self, draw: impl Fn() -> f64) -> bool {
        self.is_short() && (self.sheds(ShedPlace::Accept, &draw) || self.rejects.strikes(draw))
    }

    /// Whether work is turned away at a place; counted.
    pub(crate) fn sheds(&self, place: ShedPlace, draw: impl FnOnce() -> f64) -> bool {
        let strikes = self.would_shed(place, draw);
        if strikes {
            self.note_shed(place);
        }
        strikes
    }

    /// Whether work would be turned away at a place, if there were any.
    pub(crate) fn would_shed(&self, place: ShedPlace, draw: impl FnOnce() -> f64) -> bool {
        self.is_short() && self.shed(place).is_some_and(|shed| shed.level.strikes(draw))
    }

    /// Counts that work was turned away at a place.
    pub(crate) fn note_shed(&self, place: ShedPlace) {
        if let Some(count) = self.shed(place).and_then(|shed| shed.count.get()) {
            count.inc();
        }
    }

    fn shed(&self, place: ShedPlace) -> Option<&Shed> {
        self.sheds.get(ShedPlace::ALL.iter().position(|known| *known == place)?)
    }

    /// Tells whether clients wait in the queues of listening sockets.
    pub(crate) fn subscribe(&self) -> channel::Receiver<bool> {
        self.rests.subscribe()
    }

    /// Most connections of clients at once; no limit when absent.
    pub(crate) fn connections_max(&self) -> Option<u32> {
        self.connections_max.get().copied()
    }

    /// Whether streams are looked at for the memory that they hold.
    pub(crate) fn tracks_streams(&self) -> bool {
        self.tracked.get().is_some()
    }

    /// A time as it is now.
    pub(crate) fn time(&self, timer: Timer, time: Option<Duration>) -> Option<Duration> {
        if !self.is_short() {
            return time;
        }
        let mut timers = self.timers.get().into_iter().flatten();
        match timers.find(|scaled| scaled.timer == timer) {
            Some(scaled) => time.map(|time| shortened(time, scaled.least, self.timeouts.share())),
            None => time,
        }
    }

    /// How often a time is looked at that may get shorter while it is waited for; `None` of one that does
    /// not.
    pub(crate) fn looks_again(&self, timer: Timer) -> Option<Duration> {
        let mut timers = self.timers.get()?.iter();
        timers.any(|scaled| scaled.timer == timer).then_some(LOOK)
    }

    /// Does as much of an action as its level says; memory is given back by the task itself.
    fn set(&self, deed: &Deed, level: f64) {
        match deed {
            Deed::StopAcceptingRequests => self.requests.set(level),
            Deed::DisableKeepalive => self.keepalive.set(level),
            Deed::StopAcceptingConnections => {
                let rests = level >= 1.0;
                self.rests.send_if_modified(|now| std::mem::replace(now, rests) != rests);
            }
            Deed::RejectConnections => self.rejects.set(level),
            Deed::ResetStreams => {
                self.resets.send_if_modified(|now| {
                    let before = std::mem::replace(now, level);
                    before.total_cmp(&level).is_ne()
                });
            }
            // There is no HTTP/3 here, and memory is given back by the task itself.
            Deed::ShrinkHeap | Deed::CloseIdle => {}
            Deed::ReduceTimeouts(_) => self.timeouts.set(level),
        }
    }
}

/// Resets the streams of a worker that hold most whenever there is more pressure, or less, than before; as
/// Envoy, which looks at them when the level of the action changes.
pub(crate) async fn reset_large(worker: Weak<Worker>) {
    let Some(mut levels) = worker.upgrade().map(|it| it.shared.overload.resets.subscribe()) else {
        return;
    };
    while levels.changed().await.is_ok() {
        let level = *levels.borrow_and_update();
        let Some(worker) = worker.upgrade() else { return };
        let overload = &worker.shared.overload;
        let Some(from) = overload.tracked.get().copied().filter(|_| level > 0.0) else { continue };
        let resets = worker.ledger.reset_largest(from, level);
        if resets > 0 {
            tracing::warn!(resets, "streams that hold most memory are reset");
        }
        if let Some(count) = overload.reset_count.get() {
            count.add(resets as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::Least;

    use super::*;

    #[test]
    fn a_level_strikes_as_often_as_it_says() {
        let level = Level::default();
        assert!(!level.strikes(|| 0.0));
        level.set(0.25);
        assert!(level.strikes(|| 0.2) && !level.strikes(|| 0.25));
        level.set(1.0);
        assert!(level.strikes(|| 0.99));
    }

    #[test]
    fn nothing_is_done_while_nothing_is_short() {
        let overload = Overload::default();
        overload.requests.set(1.0);
        assert!(!overload.sheds_request(|| 0.0));
        overload.is_short.store(true, Relaxed);
        assert!(overload.sheds_request(|| 0.0));
        assert!(!overload.rejects_connection(|| 0.0));
    }

    #[test]
    fn only_times_that_are_named_get_shorter() {
        let overload = Overload::default();
        overload.is_short.store(true, Relaxed);
        let least = Least::Time(Duration::from_secs(1));
        let timers = vec![ScaledTimer { timer: Timer::ConnectionIdle, least }];
        overload.timers.set(timers).unwrap();
        overload.timeouts.set(1.0);
        let minute = Some(Duration::from_secs(60));
        assert_eq!(overload.time(Timer::ConnectionIdle, minute), Some(Duration::from_secs(1)));
        assert_eq!(overload.time(Timer::StreamIdle, minute), minute);
        assert_eq!(overload.time(Timer::ConnectionIdle, None), None);
    }
}
