//! Listeners and connections on their way out.

use std::time::Instant;

use iako_rt::clock;
use tokio::sync::oneshot;

use super::ConfigTask;
use crate::drain::{Drain, DrainPhase};

/// How listeners are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainWish {
    /// Sockets close; connections are asked to go.
    StopAccepting,
    /// Connections are asked to go, new ones too; sockets close at the end of the drain time.
    Graceful,
    /// Connections are asked to go, new ones too; sockets stay open.
    TellOnly,
    /// What is left is cut.
    Close,
}

/// Which listeners are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DrainReach {
    /// All of them.
    All,
    /// Those for traffic to the workload.
    Inbound,
}

/// Connections of a chain that are on their way out.
#[derive(Debug)]
pub(super) struct Departing {
    pub(super) at: Instant,
    /// What becomes of them then.
    phase: DrainPhase,
    drain: Drain,
}

impl Departing {
    /// They are cut then.
    pub(super) const fn cut(at: Instant, drain: Drain) -> Self {
        Self { at, phase: DrainPhase::Closing, drain }
    }
}

impl ConfigTask {
    pub(super) fn drain(&mut self, wish: DrainWish, reach: DrainReach) {
        let until = clock::now() + self.drain_settings.time;
        if reach == DrainReach::All && wish != DrainWish::TellOnly {
            self.shared.server.live.set(0);
            self.shared.server.state.set(1);
        }
        match (wish, reach) {
            (DrainWish::Graceful, _) => self.stop_accepting_at = Some((until, reach)),
            (DrainWish::StopAccepting | DrainWish::Close, DrainReach::All) => {
                self.accepting = false;
            }
            (DrainWish::StopAccepting | DrainWish::Close, DrainReach::Inbound)
            | (DrainWish::TellOnly, _) => {}
        }
        for entry in self.listeners.values_mut().filter(|entry| entry.is_within(reach)) {
            if matches!(wish, DrainWish::StopAccepting | DrainWish::Close) {
                entry.stop_for_good();
                self.shared.server.listener_stopped.inc();
            }
            for drain in entry.drains() {
                match wish {
                    DrainWish::Close => drain.advance(DrainPhase::Closing),
                    DrainWish::StopAccepting => drain.advance(DrainPhase::Draining),
                    DrainWish::Graceful | DrainWish::TellOnly => drain.leave(self.drain_settings),
                }
                if matches!(wish, DrainWish::StopAccepting | DrainWish::Graceful) {
                    self.leaving.push(Departing::cut(until, drain));
                }
            }
        }
        if wish == DrainWish::Close {
            for departing in self.leaving.drain(..) {
                departing.drain.advance(DrainPhase::Closing);
            }
        }
    }

    pub(super) fn cut_what_is_left(&mut self, now: Instant) {
        if let Some((_, reach)) = self.stop_accepting_at.take_if(|(at, _)| *at <= now) {
            self.accepting &= reach != DrainReach::All;
            let entries = self.listeners.values_mut().filter(|entry| entry.is_within(reach));
            for entry in entries {
                entry.stop_for_good();
                self.shared.server.listener_stopped.inc();
            }
        }
        self.leaving.retain(|departing| {
            let waits = departing.at > now;
            if !waits {
                departing.drain.advance(departing.phase);
            }
            waits
        });
    }

    pub(super) fn count_draining(&mut self, now: Instant) {
        self.listeners_leaving.retain(|until| *until > now);
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.shared.server.total_listeners_draining.set(count(self.listeners_leaving.len()));
        self.shared.server.total_filter_chains_draining.set(count(self.leaving.len()));
    }

    /// Leaves all sockets to another process. Clients are told to go with their next answer; idle
    /// connections stay until the drain time is over, for one that is closed may carry a request already.
    pub(super) fn hand_over(&mut self, done: oneshot::Sender<()>) {
        let until = clock::now() + self.drain_settings.time;
        self.shared.server.live.set(0);
        self.shared.server.state.set(1);
        self.accepting = false;
        // A copy would keep sockets open that the other process does not have.
        self.shared.spares.clear();
        for entry in self.listeners.values_mut() {
            entry.hand_over();
            for drain in entry.drains() {
                drain.leave(self.drain_settings);
                self.leaving.push(Departing { at: until, phase: DrainPhase::Draining, drain });
            }
        }
        if done.send(()).is_err() {
            tracing::debug!("who was to take over did not wait");
        }
    }
}
