//! Limits on what is open to a cluster at once.

mod budget;
mod shares;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};
use std::time::Instant;

use iako_proxy_config::Thresholds;

use budget::Recent;
use shares::Shares;

/// What is open to a cluster at one priority. Limits come with each question, so that new ones
/// count at once.
///
/// Requests are counted in shares, one a worker, so that a request costs no cache line that another
/// worker writes; the rest is counted in one place, for it happens only beside a request's way.
#[derive(Debug)]
pub struct Breakers {
    pools: AtomicU32,
    connections: AtomicU32,
    pending: AtomicU32,
    retries: AtomicU32,
    requests: Shares,
    /// Requests that began lately; counted only for budgets that ask for them.
    recent: Recent,
}

/// Which limit was reached. Envoy: flag `UO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overflow {
    /// Too many pools of connections.
    #[error("too many pools of connections to the cluster")]
    Pools,
    /// Too many connections.
    #[error("too many connections to the cluster")]
    Connections,
    /// Too many requests wait for a connection.
    #[error("too many requests wait for a connection to the cluster")]
    Pending,
    /// Too many requests.
    #[error("too many requests to the cluster")]
    Requests,
    /// Too many retries, by number or by budget.
    #[error("too many retries to the cluster")]
    Retries,
}

/// What is open at one moment, or what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BreakerCounts {
    /// Pools of connections.
    pub pools: u32,
    /// Connections.
    pub connections: u32,
    /// Requests that wait for a connection.
    pub pending: u32,
    /// Requests on a connection.
    pub requests: u32,
    /// Retries that are waited for or under way.
    pub retries: u32,
}

/// Holds a place under a limit; dropping it gives the place back.
#[derive(Debug)]
pub struct BreakerGuard {
    breakers: Arc<Breakers>,
    kind: Shared,
}

/// What is counted in one place.
#[derive(Debug, Clone, Copy)]
enum Shared {
    Pools,
    Connections,
    Pending,
    Retries,
}

impl Default for Breakers {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Breakers {
    /// Nothing is open. `workers` is how many count requests, each in a share of its own.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            pools: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            requests: Shares::new(workers),
            recent: Recent::default(),
        }
    }

    /// A place for a pool of connections.
    ///
    /// # Errors
    /// When there are too many.
    pub fn pool(self: &Arc<Self>, limits: &Thresholds) -> Result<BreakerGuard, Overflow> {
        self.take(Shared::Pools, limits.pools_max).ok_or(Overflow::Pools)
    }

    /// A place for a connection.
    ///
    /// # Errors
    /// When there are too many.
    pub fn connection(self: &Arc<Self>, limits: &Thresholds) -> Result<BreakerGuard, Overflow> {
        self.take(Shared::Connections, limits.connections_max).ok_or(Overflow::Connections)
    }

    /// A place for a connection whatever the limit, for who could not go on without.
    #[must_use]
    pub fn connection_beyond(self: &Arc<Self>) -> BreakerGuard {
        self.connections.fetch_add(1, Relaxed);
        BreakerGuard { breakers: Arc::clone(self), kind: Shared::Connections }
    }

    /// A place for a request that waits for a connection.
    ///
    /// # Errors
    /// When there are too many.
    pub fn pending(self: &Arc<Self>, limits: &Thresholds) -> Result<BreakerGuard, Overflow> {
        self.take(Shared::Pending, limits.pending_requests_max).ok_or(Overflow::Pending)
    }

    /// A place for a request of a worker. Whoever gets one gives it back with
    /// [`Self::end_request`], for the same worker.
    ///
    /// # Errors
    /// When there are too many.
    pub fn begin_request(&self, limits: &Thresholds, worker: usize) -> Result<(), Overflow> {
        if self.requests.take(limits.requests_max, worker) {
            Ok(())
        } else {
            Err(Overflow::Requests)
        }
    }

    /// Gives back what [`Self::begin_request`] gave.
    pub fn end_request(&self, worker: usize) {
        self.requests.give_back(worker);
    }

    /// Counts a new request for a budget of retries that looks back; nothing for others.
    pub fn note_request(&self, limits: &Thresholds, now: Instant) {
        if let Some(budget) = limits.retry_budget.filter(|budget| !budget.interval.is_zero()) {
            self.recent.count(budget.interval, now);
        }
    }

    /// A place for a retry: within the budget when there is one, else below the limit.
    ///
    /// # Errors
    /// When there are too many.
    pub fn retry(
        self: &Arc<Self>,
        limits: &Thresholds,
        now: Instant,
    ) -> Result<BreakerGuard, Overflow> {
        let max = self.retries_max(limits, now);
        self.take(Shared::Retries, max).ok_or(Overflow::Retries)
    }

    fn retries_max(&self, limits: &Thresholds, now: Instant) -> u32 {
        limits.retry_budget.map_or(limits.retries_max, |budget| {
            let active = self.requests.used().saturating_add(self.pending.load(Relaxed));
            let recent = self.recent.within(budget.interval, now);
            let share = u64::from(active.max(recent))
                .saturating_mul(u64::from(budget.percent.parts_per_million()));
            u32::try_from(share / 1_000_000).unwrap_or(u32::MAX).max(budget.retries_min)
        })
    }

    /// How many are open.
    #[must_use]
    pub fn open(&self) -> BreakerCounts {
        BreakerCounts {
            pools: self.pools.load(Relaxed),
            connections: self.connections.load(Relaxed),
            pending: self.pending.load(Relaxed),
            requests: self.requests.used(),
            retries: self.retries.load(Relaxed),
        }
    }

    /// How many more may be opened.
    #[must_use]
    pub fn remaining(&self, limits: &Thresholds, now: Instant) -> BreakerCounts {
        let open = self.open();
        BreakerCounts {
            pools: limits.pools_max.saturating_sub(open.pools),
            connections: limits.connections_max.saturating_sub(open.connections),
            pending: limits.pending_requests_max.saturating_sub(open.pending),
            requests: limits.requests_max.saturating_sub(open.requests),
            retries: self.retries_max(limits, now).saturating_sub(open.retries),
        }
    }

    fn take(self: &Arc<Self>, kind: Shared, max: u32) -> Option<BreakerGuard> {
        let more = |count: u32| count.checked_add(1).filter(|count| *count <= max);
        let taken = self.count(kind).fetch_update(Relaxed, Relaxed, more);
        taken.ok().map(|_| BreakerGuard { breakers: Arc::clone(self), kind })
    }

    const fn count(&self, kind: Shared) -> &AtomicU32 {
        match kind {
            Shared::Pools => &self.pools,
            Shared::Connections => &self.connections,
            Shared::Pending => &self.pending,
            Shared::Retries => &self.retries,
        }
    }
}

impl Drop for BreakerGuard {
    fn drop(&mut self) {
        self.breakers.count(self.kind).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iako_proxy_config::RetryBudget;
    use iako_types::Percent;

    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let breakers = Arc::new(Breakers::default());
        let limits = Thresholds { pending_requests_max: 1, ..Thresholds::default() };
        let first = breakers.pending(&limits).unwrap();
        assert_eq!(breakers.pending(&limits).unwrap_err(), Overflow::Pending);
        drop(first);
        assert!(breakers.pending(&limits).is_ok());
        assert_eq!(breakers.open(), BreakerCounts::default());
    }

    #[test]
    fn what_is_left_follows_what_is_open() {
        let breakers = Arc::new(Breakers::new(2));
        let limits = Thresholds { requests_max: 5, pools_max: 2, ..Thresholds::default() };
        let _pool = breakers.pool(&limits).unwrap();
        breakers.begin_request(&limits, 1).unwrap();
        let left = breakers.remaining(&limits, some_time());
        assert_eq!((left.pools, left.requests, left.retries), (1, 4, 3));
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an Instant cannot be made up; only its distance counts"
    )]
    fn some_time() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_budget_grows_with_the_requests() {
        let now = some_time();
        let breakers = Arc::new(Breakers::default());
        let budget = RetryBudget {
            percent: Percent::from_whole(20).unwrap(),
            retries_min: 1,
            interval: Duration::ZERO,
        };
        let limits = Thresholds { retry_budget: Some(budget), ..Thresholds::default() };
        for _ in 0..10 {
            breakers.begin_request(&limits, 0).unwrap();
        }
        let retries: Vec<_> = (0..3).map(|_| breakers.retry(&limits, now)).collect();
        assert_eq!(retries.iter().filter(|retry| retry.is_ok()).count(), 2);
        drop(retries);
        (0..10).for_each(|_| breakers.end_request(0));
        let one = breakers.retry(&limits, now);
        assert!(one.is_ok() && breakers.retry(&limits, now).is_err());
    }

    #[test]
    fn a_budget_that_looks_back_counts_requests_that_have_ended() {
        let now = some_time();
        let breakers = Arc::new(Breakers::default());
        let interval = Duration::from_secs(1);
        let budget =
            RetryBudget { percent: Percent::from_whole(50).unwrap(), retries_min: 0, interval };
        let limits = Thresholds { retry_budget: Some(budget), ..Thresholds::default() };
        assert!(breakers.retry(&limits, now).is_err());
        (0..4).for_each(|_| breakers.note_request(&limits, now));
        let soon = now + interval / 2;
        let retries: Vec<_> = (0..3).map(|_| breakers.retry(&limits, soon)).collect();
        assert_eq!(retries.iter().filter(|retry| retry.is_ok()).count(), 2);
        drop(retries);
        assert!(breakers.retry(&limits, now + interval * 2).is_err());
    }
}
