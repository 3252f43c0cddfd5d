//! Connections that are opened before anybody waits for them.
//!
//! Source: `envoy.config.cluster.v3.Cluster.PreconnectPolicy`.

use std::rc::Rc;

use iako_traffic::HealthFlags;

use super::endpoint::EndpointPool;

/// Connections that one request has opened ahead, at most.
const AT_ONCE_MAX: usize = 3;

impl EndpointPool {
    /// Opens connections beyond those that are needed now, where the cluster wants that.
    pub(super) fn open_ahead(self: &Rc<Self>) {
        let ratio = self.cluster.config.connecting.ahead.per_instance;
        if ratio > 1.0 {
            self.open_ahead_by(ratio);
        }
    }

    /// Opens connections until there are `ratio` times as many places as requests.
    fn open_ahead_by(self: &Rc<Self>, ratio: f64) {
        let unwell = HealthFlags::FAILED_CHECK;
        if self.is_retired() || self.state.is_ejected() || self.state.health().has(unwell) {
            return;
        }
        let Some(worker) = self.worker.upgrade().filter(|worker| !worker.pools.is_closed()) else {
            return;
        };
        for _ in 0..AT_ONCE_MAX {
            if !self.places().is_short(ratio) {
                return;
            }
            let Some(room) = self.room_below_limits() else {
                return self.cluster.stats.cx_overflow.inc();
            };
            self.start(&worker, room);
        }
    }

    /// The requests at the pool, and the places for more.
    fn places(&self) -> Places {
        let idle = self.idle.borrow().len();
        let shared = self.shared.borrow();
        let streams: u32 = shared.iter().map(|shared| shared.streams.get()).sum();
        let open = usize::try_from(self.open.get()).unwrap_or(usize::MAX);
        let own = open.saturating_sub(idle).saturating_sub(shared.len());
        let active = own.saturating_add(usize::try_from(streams).unwrap_or(usize::MAX));
        let connecting = usize::try_from(self.connecting.get()).unwrap_or(usize::MAX);
        // A connection of many requests has room for all that may come.
        let is_roomy = !shared.is_empty() || (self.shares() && connecting > 0);
        let free = if is_roomy { usize::MAX } else { idle.saturating_add(connecting) };
        Places { waiting: self.waiting.len(), active, free }
    }
}

/// Requests, and places for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places {
    waiting: usize,
    active: usize,
    /// On open connections and on those that are being opened.
    free: usize,
}

impl Places {
    /// Whether there are fewer places than `ratio` times the requests.
    fn is_short(self, ratio: f64) -> bool {
        let requests = self.waiting.saturating_add(self.active);
        real(requests) * ratio > real(self.free.saturating_add(self.active))
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are never 2^52 requests")]
const fn real(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_connection_more_than_requests_at_a_ratio_of_one_and_a_half() {
        let places = |waiting, active, free| Places { waiting, active, free };
        assert!(places(1, 0, 1).is_short(1.5), "the first request has two opened");
        assert!(!places(1, 0, 2).is_short(1.5));
        assert!(places(0, 1, 0).is_short(1.5));
        assert!(!places(0, 1, 1).is_short(1.5));
        assert!(!places(0, 0, 0).is_short(3.0), "nothing is opened for nobody");
        assert!(!places(0, 50, usize::MAX).is_short(3.0));
    }
}
