//! Telling connections to go, and when they must be gone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tokio::sync::watch;

/// How far a filter chain, a listener or the whole proxy is on its way out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DrainPhase {
    /// New work is welcome.
    #[default]
    Serving,
    /// Work in progress ends; connections are closed when they fall idle, and peers are told
    /// (`connection: close`, GOAWAY).
    Draining,
    /// What is left is cut.
    Closing,
}

/// Tells the connections of one filter chain how far its draining is. Clones are the same signal.
///
/// The phase only ever moves forward.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    phase: Arc<watch::Sender<DrainPhase>>,
    /// Whether the phase is beyond serving: asked for each request, so without the lock of the phase.
    leaves: Arc<AtomicBool>,
}

impl Drain {
    /// A signal that says [`DrainPhase::Serving`].
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            phase: Arc::new(watch::Sender::new(DrainPhase::Serving)),
            leaves: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Moves on to `phase`; an earlier phase than the current one changes nothing.
    pub(crate) fn advance(&self, phase: DrainPhase) {
        self.phase.send_if_modified(|current| {
            let moves = *current < phase;
            if moves {
                *current = phase;
                self.leaves.store(true, Relaxed);
            }
            moves
        });
    }

    /// The current phase.
    #[cfg(test)]
    pub(crate) fn phase(&self) -> DrainPhase {
        *self.phase.borrow()
    }

    /// Whether connections are asked to go, or must.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.leaves.load(Relaxed)
    }

    /// Waits until connections are asked to go. Cancellation safe.
    pub(crate) async fn draining(&self) {
        self.reached(DrainPhase::Draining).await;
    }

    /// Waits until what is left must be cut. Cancellation safe.
    pub(crate) async fn closing(&self) {
        self.reached(DrainPhase::Closing).await;
    }

    async fn reached(&self, wanted: DrainPhase) {
        let mut phase = self.phase.subscribe();
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

    #[tokio::test]
    async fn a_drain_moves_forward_only_and_wakes_who_waits() {
        let drain = Drain::new();
        let copy = drain.clone();
        tokio::join!(copy.closing(), async { drain.advance(DrainPhase::Closing) });
        drain.advance(DrainPhase::Draining);
        assert_eq!(drain.phase(), DrainPhase::Closing);
        drain.draining().await;
    }
}
