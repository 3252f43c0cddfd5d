//! Telling connections to go, and when they must be gone.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use iako_rt::clock;
use tokio::sync::watch;

/// How far a filter chain, a listener or the whole proxy is on its way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DrainPhase {
    /// New work is welcome.
    #[default]
    Serving,
    /// No new connections; requests are still answered, and the answers tell peers to go
    /// (`connection: close`, GOAWAY), as the [`DrainStrategy`] says.
    Leaving,
    /// Work in progress ends; connections are closed when they fall idle, and all peers are told.
    Draining,
    /// What is left is cut.
    Closing,
}

/// When peers are told to go over the time of a drain. Source: Envoy's `--drain-strategy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DrainStrategy {
    /// Some of them, the more the nearer the end is, so that they do not all come back at once.
    /// Envoy's default.
    Gradual,
    /// All of them at once. Istio's choice for its proxies, and the default here.
    #[default]
    Immediate,
}

/// How what is removed drains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DrainSettings {
    /// Longest time that connections have to end.
    pub(crate) time: Duration,
    /// When peers are told over that time.
    pub(crate) strategy: DrainStrategy,
}

/// A drain that has begun.
#[derive(Debug, Clone, Copy)]
struct Departure {
    since: Instant,
    settings: DrainSettings,
}

impl Departure {
    /// When a peer is told that draws this share of the time.
    fn told_at(&self, share: f64) -> Instant {
        match self.settings.strategy {
            DrainStrategy::Immediate => self.since,
            DrainStrategy::Gradual => {
                self.since + self.settings.time.mul_f64(share.clamp(0.0, 1.0))
            }
        }
    }
}

/// Tells the connections of one filter chain how far its draining is. Clones are the same signal.
///
/// The phase only ever moves forward.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    phase: watch::Sender<DrainPhase>,
    /// Whether the phase is beyond serving: asked for each request, so without the lock of the phase.
    leaves: AtomicBool,
    departure: OnceLock<Departure>,
    /// Whether an operator took the proxy out of service: peers are told to go as long as that lasts.
    unwell: Arc<AtomicBool>,
}

impl Drain {
    /// A signal that says [`DrainPhase::Serving`].
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::beside(&Arc::default())
    }

    /// The same, of a proxy that this flag takes out of service.
    #[must_use]
    pub(crate) fn beside(unwell: &Arc<AtomicBool>) -> Self {
        let phase = watch::Sender::new(DrainPhase::Serving);
        let (leaves, departure) = (AtomicBool::new(false), OnceLock::new());
        Self { inner: Arc::new(Inner { phase, leaves, departure, unwell: Arc::clone(unwell) }) }
    }

    /// Moves on to [`DrainPhase::Leaving`]: peers are told over the time of the drain.
    pub(crate) fn leave(&self, settings: DrainSettings) {
        // What has begun to leave stays on its way.
        self.inner.departure.get_or_init(|| Departure { since: clock::now(), settings });
        self.advance(DrainPhase::Leaving);
    }

    /// Moves on to `phase`; an earlier phase than the current one changes nothing.
    pub(crate) fn advance(&self, phase: DrainPhase) {
        self.inner.phase.send_if_modified(|current| {
            let moves = *current < phase;
            if moves {
                *current = phase;
                self.inner.leaves.store(true, Relaxed);
            }
            moves
        });
    }

    /// The current phase.
    pub(crate) fn phase(&self) -> DrainPhase {
        *self.inner.phase.borrow()
    }

    /// Whether the peer of an answer is told to go; `share` draws from 0 to 1 where that is a matter
    /// of chance.
    #[must_use]
    pub(crate) fn tells(&self, share: impl FnOnce() -> f64) -> bool {
        if !self.leaves() {
            return self.inner.unwell.load(Relaxed);
        }
        match (self.phase(), self.inner.departure.get()) {
            (DrainPhase::Leaving, Some(departure)) => clock::now() >= departure.told_at(share()),
            _ => true,
        }
    }

    /// Whether the phase is beyond serving.
    #[must_use]
    pub(crate) fn leaves(&self) -> bool {
        self.inner.leaves.load(Relaxed)
    }

    /// Waits until the peer of a connection without end is told to go, which is at this share of the
    /// time of a gradual drain. Cancellation safe.
    pub(crate) async fn told(&self, share: f64) {
        self.reached(DrainPhase::Leaving).await;
        let Some(departure) = self.inner.departure.get() else { return };
        let at = departure.told_at(share);
        if at > clock::now() {
            tokio::select! {
                () = Box::pin(tokio::time::sleep_until(at.into())) => {}
                () = self.draining() => {}
            }
        }
    }

    /// Waits until idle connections are closed. Cancellation safe.
    pub(crate) async fn draining(&self) {
        self.reached(DrainPhase::Draining).await;
    }

    /// Waits until what is left must be cut. Cancellation safe.
    pub(crate) async fn closing(&self) {
        self.reached(DrainPhase::Closing).await;
    }

    async fn reached(&self, wanted: DrainPhase) {
        let mut phase = self.inner.phase.subscribe();
        // The sender lives in `self`, so waiting cannot fail while somebody waits.
        drop(phase.wait_for(|phase| *phase >= wanted).await);
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over_ten_minutes(strategy: DrainStrategy) -> DrainSettings {
        DrainSettings { time: Duration::from_secs(600), strategy }
    }

    #[tokio::test]
    async fn a_drain_moves_forward_only_and_wakes_who_waits() {
        let drain = Drain::new();
        let copy = drain.clone();
        tokio::join!(copy.closing(), async { drain.advance(DrainPhase::Closing) });
        drain.advance(DrainPhase::Draining);
        assert_eq!(drain.phase(), DrainPhase::Closing);
        drain.draining().await;
    }

    #[tokio::test]
    async fn who_leaves_tells_peers_and_keeps_idle_connections() {
        let drain = Drain::new();
        assert!(!drain.tells(|| 0.0));
        drain.leave(over_ten_minutes(DrainStrategy::Immediate));
        assert!(drain.tells(|| 1.0));
        drain.told(1.0).await;
        assert!(drain.phase() < DrainPhase::Draining);
    }

    #[test]
    fn a_gradual_drain_tells_the_more_peers_the_nearer_its_end_is() {
        let drain = Drain::new();
        drain.leave(over_ten_minutes(DrainStrategy::Gradual));
        assert!(drain.tells(|| 0.0));
        assert!(!drain.tells(|| 0.5));
        let departure = *drain.inner.departure.get().unwrap();
        assert_eq!(departure.told_at(0.5) - departure.since, Duration::from_secs(300));
        drain.advance(DrainPhase::Draining);
        assert!(drain.tells(|| 1.0), "the rest is told at the end");
    }
}
