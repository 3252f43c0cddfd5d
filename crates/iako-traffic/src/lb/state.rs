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
use crate::Breakers;

/// What is known of a cluster while the proxy runs. Keep one a cluster name, for the life of the
/// process; balancers come and go with the configuration.
#[derive(Debug)]
pub struct ClusterState {
    epoch: Instant,
    endpoints: Mutex<HashMap<EndpointAddress, Weak<EndpointState>>>,
    /// Raised whenever an instance is ejected or taken back, so that balancers notice.
    health_version: AtomicU64,
    /// When ejected instances are looked at again, in nanoseconds since `epoch`.
    pub(crate) next_look: AtomicU64,
    default: Arc<Breakers>,
    high: Arc<Breakers>,
}

impl ClusterState {
    /// A cluster of which nothing is known yet. `now` is the beginning of its time.
    #[must_use]
    pub fn new(now: Instant) -> Arc<Self> {
        Arc::new(Self {
            epoch: now,
            endpoints: Mutex::default(),
            health_version: AtomicU64::new(0),
            next_look: AtomicU64::new(0),
            default: Arc::default(),
            high: Arc::default(),
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
        let mut endpoints = self.endpoints.lock();
        if let Some(state) = endpoints.get(address).and_then(Weak::upgrade) {
            return state;
        }
        let state = Arc::new(EndpointState::default());
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

    pub(crate) fn health_changed(&self) {
        self.health_version.fetch_add(1, Relaxed);
    }
}

/// Live numbers of one instance.
#[derive(Debug, Default)]
pub struct EndpointState {
    active: AtomicU32,
    /// What was counted since the instance is known.
    pub counters: EndpointCounters,
    /// How long it lets connections idle.
    pub idle: IdleLearning,
    pub(super) measures: Measures,
    pub(crate) ejected: AtomicBool,
    /// When the ejection began, in nanoseconds of the cluster's time.
    pub(crate) ejected_at: AtomicU64,
    /// How often it was ejected lately; each ejection lasts as many times the base.
    pub(crate) ejections: AtomicU32,
    pub(crate) consecutive_5xx: AtomicU32,
    pub(crate) consecutive_gateway: AtomicU32,
    pub(crate) consecutive_local: AtomicU32,
}

impl EndpointState {
    /// Requests (or TCP connections) under way.
    #[must_use]
    pub fn active_requests(&self) -> u32 {
        self.active.load(Relaxed)
    }

    /// Whether outlier detection has set it aside.
    #[must_use]
    pub fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// How often it was ejected lately.
    #[must_use]
    pub fn ejections(&self) -> u32 {
        self.ejections.load(Relaxed)
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
