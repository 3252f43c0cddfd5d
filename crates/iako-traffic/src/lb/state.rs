//! Live numbers of clusters and instances, kept across changes of configuration.

use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use iako_proxy_config::{EndpointAddress, RoutePriority};
use parking_lot::Mutex;

use super::{idle::IdleLearning, measure::Measures};
use crate::{Breakers, HealthFlags, health::FlagCell, outlier::OutlierMemory};

/// What is known of a cluster while the proxy runs. Keep one a cluster name, for the life of the
/// process; balancers come and go with the configuration.
#[derive(Debug)]
pub struct ClusterState {
    epoch: Instant,
    endpoints: Mutex<HashMap<EndpointAddress, Weak<EndpointState>>>,
    /// Raised whenever the health of an instance changes, so that balancers notice.
    health_version: AtomicU64,
    default: Arc<Breakers>,
    high: Arc<Breakers>,
}

impl ClusterState {
    /// A cluster of which nothing is known yet. `now` is the beginning of its time.
    #[must_use]
    pub fn new(now: Instant) -> Arc<Self> {
        Self::for_workers(1, now)
    }

    /// The same for so many workers, each of which counts its requests for itself.
    #[must_use]
    pub fn for_workers(workers: usize, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            epoch: now,
            endpoints: Mutex::default(),
            health_version: AtomicU64::new(0),
            default: Arc::new(Breakers::new(workers)),
            high: Arc::new(Breakers::new(workers)),
        })
    }

    /// What is open at once, for routes of this priority.
    #[must_use]
    pub const fn breakers(&self, priority: RoutePriority) -> &Arc<Breakers> {
        match priority {
            RoutePriority::Default => &self.default,
            RoutePriority::High => &self.high,
        }
    }

    /// The state of the instance at an address: the one that somebody still holds, or a new one.
    #[must_use]
    pub fn endpoint(&self, address: &EndpointAddress) -> Arc<EndpointState> {
        self.endpoint_or(address, HealthFlags::default())
    }

    /// The same; a new one begins with these flags.
    pub(crate) fn endpoint_or(
        &self,
        address: &EndpointAddress,
        initial: HealthFlags,
    ) -> Arc<EndpointState> {
        let mut endpoints = self.endpoints.lock();
        if let Some(state) = endpoints.get(address).and_then(Weak::upgrade) {
            return state;
        }
        let state = Arc::new(EndpointState::default());
        state.change_health(initial, HealthFlags::default());
        endpoints.insert(address.clone(), Arc::downgrade(&state));
        state
    }

    /// Forgets instances that nobody holds.
    pub(crate) fn prune(&self) {
        self.endpoints.lock().retain(|_, state| state.strong_count() > 0);
    }

    /// Nanoseconds from the beginning of this cluster's time to `now`.
    pub(crate) fn nanos(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn health_version(&self) -> u64 {
        self.health_version.load(Relaxed)
    }

    /// Says that the health of an instance has changed: the next choice looks at all of them anew.
    pub fn health_changed(&self) {
        self.health_version.fetch_add(1, Relaxed);
    }
}

/// Live numbers of one instance.
#[derive(Debug, Default)]
pub struct EndpointState {
    active: AtomicU32,
    /// Connections that are open or being opened.
    connections: AtomicU32,
    /// What was counted since the instance is known.
    pub counters: EndpointCounters,
    /// How long it lets connections idle.
    pub idle: IdleLearning,
    pub(super) measures: Measures,
    pub(crate) ejected: AtomicBool,
    pub(crate) flags: FlagCell,
    /// How often its connections were asked to drain.
    drains: AtomicU32,
    pub(crate) outlier: OutlierMemory,
}

impl EndpointState {
    /// Requests (or TCP connections) under way.
    #[must_use]
    pub fn active_requests(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Counts a connection, open or being opened, until the guard is dropped; none when there are
    /// `max` of them. Source: Envoy `per_host_thresholds`.
    #[must_use]
    pub fn connection(self: &Arc<Self>, max: u32) -> Option<HostConnection> {
        let more = |count: u32| count.checked_add(1).filter(|count| *count <= max);
        self.connections.fetch_update(Relaxed, Relaxed, more).ok()?;
        Some(HostConnection(Arc::clone(self)))
    }

    /// Whether outlier detection has set it aside.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// Asks its connections to carry no further requests: it was found to be unwell.
    pub fn drain_connections(&self) {
        self.drains.fetch_add(1, Relaxed);
    }

    /// Tells connections that were opened before from those opened after such a wish: they differ in
    /// this number.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.drains.load(Relaxed)
    }

    /// How often it was ejected since it is known.
    #[must_use]
    pub fn ejections(&self) -> u32 {
        self.outlier.ejections()
    }

    /// Its share of good answers in the last interval of outlier detection, in percent; none where
    /// it had too few requests.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        self.outlier.success_rate()
    }

    /// The same for the attempts to reach it.
    #[must_use]
    pub fn local_success_rate(&self) -> Option<f64> {
        self.outlier.local_success_rate()
    }

    /// Counts a request (or TCP connection) as under way until the guard is dropped.
    #[must_use]
    pub fn begin(self: &Arc<Self>) -> ActiveRequest {
        self.active.fetch_add(1, Relaxed);
        self.counters.requests.fetch_add(1, Relaxed);
        ActiveRequest(Arc::clone(self))
    }
}

/// Counts since an instance is known, as the admin page `/clusters` shows them.
#[derive(Debug, Default)]
pub struct EndpointCounters {
    /// Connections opened. `cx_total`.
    pub connections: AtomicU64,
    /// Connections that failed to open. `cx_connect_fail`.
    pub connect_failures: AtomicU64,
    /// Connections open now. `cx_active`.
    pub connections_active: AtomicU32,
    /// Requests that wait for a connection now. `rq_pending_active`.
    pub pending_active: AtomicU32,
    /// Requests sent. `rq_total`.
    pub requests: AtomicU64,
    /// Requests answered below 500. `rq_success`.
    pub successes: AtomicU64,
    /// Requests answered with 500 or above, or not at all. `rq_error`.
    pub errors: AtomicU64,
    /// Requests that took too long. `rq_timeout`.
    pub timeouts: AtomicU64,
}

/// A request under way; dropping it ends it.
#[derive(Debug)]
pub struct ActiveRequest(Arc<EndpointState>);

impl ActiveRequest {
    /// The instance.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<EndpointState> {
        &self.0
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

/// A connection to an instance; dropping it ends it.
#[derive(Debug)]
pub struct HostConnection(Arc<EndpointState>);

impl Drop for HostConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Relaxed);
    }
}
