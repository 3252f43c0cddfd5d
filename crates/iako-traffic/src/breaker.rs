//! Limits on what is open to a cluster at once.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use iako_proxy_config::Thresholds;

/// What is open to a cluster at one priority. Limits come with each question, so that new ones
/// count at once.
#[derive(Debug, Default)]
pub struct Breakers {
    connections: AtomicU32,
    pending: AtomicU32,
    requests: AtomicU32,
    retries: AtomicU32,
}

/// Which limit was reached. Envoy: flag `UO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Overflow {
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

/// Holds a place under a limit; dropping it gives the place back.
#[derive(Debug)]
pub struct BreakerGuard {
    breakers: Arc<Breakers>,
    kind: Overflow,
}

impl Breakers {
    /// A place for a connection.
    ///
    /// # Errors
    /// When there are too many.
    pub fn connection(self: &Arc<Self>, limits: &Thresholds) -> Result<BreakerGuard, Overflow> {
        self.take(Overflow::Connections, limits.connections_max)
    }

    /// A place for a request that waits for a connection.
    ///
    /// # Errors
    /// When there are too many.
    pub fn pending(self: &Arc<Self>, limits: &Thresholds) -> Result<BreakerGuard, Overflow> {
        self.take(Overflow::Pending, limits.pending_requests_max)
    }

    /// A place for a request.
    ///
    /// # Errors
    /// When there are too many.
    pub fn request(self: &Arc<Self>, limits: &Thresholds) -> Result<BreakerGuard, Overflow> {
        self.take(Overflow::Requests, limits.requests_max)
    }

    /// A place for a retry: within the budget when there is one, else below the limit.
    ///
    /// # Errors
    /// When there are too many.
    pub fn retry(self: &Arc<Self>, limits: &Thresholds) -> Result<BreakerGuard, Overflow> {
        let max = limits.retry_budget.map_or(limits.retries_max, |budget| {
            let active = self.requests.load(Relaxed).saturating_add(self.pending.load(Relaxed));
            let share = u64::from(active) * u64::from(budget.percent.parts_per_million());
            u32::try_from(share / 1_000_000).unwrap_or(u32::MAX).max(budget.retries_min)
        });
        self.take(Overflow::Retries, max)
    }

    /// How many are open: connections, pending requests, requests, retries.
    #[must_use]
    pub fn open(&self) -> [u32; 4] {
        [&self.connections, &self.pending, &self.requests, &self.retries]
            .map(|count| count.load(Relaxed))
    }

    fn take(self: &Arc<Self>, kind: Overflow, max: u32) -> Result<BreakerGuard, Overflow> {
        let more = |count: u32| count.checked_add(1).filter(|count| *count <= max);
        match self.count(kind).fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(BreakerGuard { breakers: Arc::clone(self), kind }),
            Err(_) => Err(kind),
        }
    }

    const fn count(&self, kind: Overflow) -> &AtomicU32 {
        match kind {
            Overflow::Connections => &self.connections,
            Overflow::Pending => &self.pending,
            Overflow::Requests => &self.requests,
            Overflow::Retries => &self.retries,
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
    use iako_proxy_config::RetryBudget;
    use iako_types::Percent;

    use super::*;

    #[test]
    fn a_place_is_given_back() {
        let breakers = Arc::new(Breakers::default());
        let limits = Thresholds { requests_max: 1, ..Thresholds::default() };
        let first = breakers.request(&limits).unwrap();
        assert_eq!(breakers.request(&limits).unwrap_err(), Overflow::Requests);
        drop(first);
        assert!(breakers.request(&limits).is_ok());
        assert_eq!(breakers.open(), [0; 4]);
    }

    #[test]
    fn a_budget_grows_with_the_requests() {
        let breakers = Arc::new(Breakers::default());
        let budget = RetryBudget { percent: Percent::from_whole(20).unwrap(), retries_min: 1 };
        let limits = Thresholds { retry_budget: Some(budget), ..Thresholds::default() };
        let requests: Vec<_> = (0..10).map(|_| breakers.request(&limits).unwrap()).collect();
        let retries: Vec<_> = (0..3).map(|_| breakers.retry(&limits)).collect();
        assert_eq!(retries.iter().filter(|retry| retry.is_ok()).count(), 2);
        drop((requests, retries));
        let one = breakers.retry(&limits);
        assert!(one.is_ok() && breakers.retry(&limits).is_err());
    }
}
