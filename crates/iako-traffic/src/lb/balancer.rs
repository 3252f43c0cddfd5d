//! A cluster made ready for choosing instances.

use std::{
    collections::HashMap,
    fmt::Write as _,
    net::SocketAddr,
    num::NonZeroU32,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use iako_proxy_config::{
    ClientWeighted, Cluster, Endpoint, EndpointAddress, EndpointSet, HealthStatus, LbPolicy,
    LoadReport,
};
use iako_types::Locality;
use parking_lot::Mutex;
use xxhash_rust::xxh64::xxh64;

use super::{
    aggregate::Capacity,
    client_weight,
    group::{Choice, Ingredients, find, mixed},
    measure::{Moment, nanos},
    pick::{Pick, PickNotes, PickRequest},
    priority::Availability,
    state::{ClusterState, EndpointState},
    subset::Subsets,
    view::{PlaceWeights, Source, View},
    zone::Neighbourhood,
};
use crate::health::{self, Condition};
use crate::outlier::{Ejection, Look, Outcome, OutlierDetector, Return};

/// An instance and its live numbers.
#[derive(Debug)]
pub struct BalancedEndpoint {
    /// The instance.
    pub endpoint: Endpoint,
    /// Its live numbers, the same over changes of configuration.
    pub state: Arc<EndpointState>,
    /// Where it is.
    pub locality: Locality,
    /// Its priority; 0 is used first.
    pub priority: u32,
    pub(super) locality_weight: Option<NonZeroU32>,
    /// What it is placed by on rings: its address or host name, or `hash_key` of its `envoy.lb`
    /// metadata.
    pub(super) hash_key: String,
    /// Whether this proxy uses it at all.
    pub(super) is_used: bool,
}

impl BalancedEndpoint {
    /// What the control plane says of its health, unless checks or outlier detection found it worse.
    #[must_use]
    pub fn health(&self) -> HealthStatus {
        match (self.condition(), self.endpoint.health) {
            (Condition::Healthy, told) | (Condition::Unhealthy, told @ HealthStatus::Draining) => {
                told
            }
            (Condition::Degraded, _) => HealthStatus::Degraded,
            (Condition::Unhealthy, _) => HealthStatus::Unhealthy,
        }
    }

    /// How it takes traffic; none when it takes none.
    pub(super) fn availability(&self) -> Option<Availability> {
        match self.health() {
            HealthStatus::Unknown | HealthStatus::Healthy => Some(Availability::Healthy),
            HealthStatus::Degraded => Some(Availability::Degraded),
            HealthStatus::Unhealthy | HealthStatus::Draining => None,
        }
    }

    /// Whether it takes traffic: healthy or degraded, and not ejected.
    #[must_use]
    pub fn takes_traffic(&self) -> bool {
        self.availability().is_some()
    }
}

/// What surrounds a balancer when it is made.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Where the proxy stands.
    pub neighbourhood: Arc<Neighbourhood>,
    /// Any number; it decides where turns begin.
    pub seed: u64,
    /// When instances that nobody knew before begin to serve.
    pub now: Instant,
}

/// A [`Cluster`] with its [`EndpointSet`], made ready for questions.
///
/// Everything that a choice needs is compiled anew when the health of an instance changes, which is
/// rare; a choice itself takes no lock and allocates nothing.
#[derive(Debug)]
pub struct Balancer {
    cluster: Arc<Cluster>,
    set: Arc<EndpointSet>,
    state: Arc<ClusterState>,
    endpoints: Vec<BalancedEndpoint>,
    views: ArcSwap<Views>,
    by_address: OnceLock<HashMap<SocketAddr, u32>>,
    setting: Setting,
    /// When reported loads are looked at again.
    weights_due: AtomicU64,
    /// Room for the weights of one priority.
    scratch: Mutex<Vec<u32>>,
}

impl Balancer {
    /// Compiles a cluster. Instances that `state` knows keep their live numbers.
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        set: Arc<EndpointSet>,
        state: Arc<ClusterState>,
        setting: Setting,
    ) -> Self {
        let balanced = set.localities.iter().flat_map(|place| {
            let (state, cluster) = (&state, &cluster);
            place.endpoints.iter().map(move |endpoint| BalancedEndpoint {
                endpoint: endpoint.clone(),
                state: health::beginning(cluster, endpoint, state),
                locality: place.locality.clone(),
                priority: place.priority,
                locality_weight: place.weight,
                hash_key: hash_key(endpoint, &cluster.lb),
                is_used: true,
            })
        });
        let mut endpoints: Vec<BalancedEndpoint> = balanced.collect();
        state.prune();
        if let Some(size) = cluster.random_subset {
            keep_some(&mut endpoints, size, setting.neighbourhood.seed());
        }
        let now = state.nanos(setting.now);
        for one in endpoints.iter().filter(|one| one.availability() == Some(Availability::Healthy))
        {
            one.state.measures.serves(now);
        }
        let balancer = Self {
            views: ArcSwap::from_pointee(Views::default()),
            by_address: OnceLock::new(),
            weights_due: AtomicU64::new(
                client_weights(&cluster)
                    .map_or(u64::MAX, |policy| now.saturating_add(nanos(policy.update_period))),
            ),
            scratch: Mutex::new(Vec::with_capacity(
                client_weights(&cluster).map_or(0, |_| endpoints.len()),
            )),
            cluster,
            set,
            state,
            endpoints,
            setting,
        };
        balancer.refresh(now);
        balancer
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Its live numbers.
    #[must_use]
    pub const fn state(&self) -> &Arc<ClusterState> {
        &self.state
    }

    /// Why the control plane wants requests refused; empty where it does not.
    #[must_use]
    pub fn drop_category(&self) -> &str {
        self.set.drop.as_ref().map_or("", |drop| &drop.category)
    }

    /// All instances, whatever their health.
    #[must_use]
    pub fn endpoints(&self) -> &[BalancedEndpoint] {
        &self.endpoints
    }

    /// An instance for a request; none when no healthy one is there (Envoy: 503, flag `UH`).
    /// `draw` gives even numbers over all of `u64`.
    #[must_use]
    pub fn pick(
        &self,
        request: &PickRequest<'_>,
        now: Instant,
        draw: &mut dyn FnMut() -> u64,
    ) -> Option<Pick<'_>> {
        let now = self.state.nanos(now);
        if self.views.load().version != self.version() {
            self.refresh(now);
        }
        if now >= self.weights_due.load(Relaxed) {
            self.update_weights(now);
        }
        let views = self.views.load();
        let choice = Choice {
            endpoints: &self.endpoints,
            policy: &self.cluster.lb,
            hash: request.hash.filter(|_| hashes(&self.cluster.lb)),
            excluded: request.excluded,
            tried_priorities: request.tried_priorities,
            now,
        };
        let (place, notes) = match &views.subsets {
            Some(subsets) => subsets.choose(request, &choice, draw)?,
            None => views.all.choose(&choice, draw)?,
        };
        Some(Pick { endpoint: find(&self.endpoints, place)?, place, notes })
    }

    /// The instance at an address such as `10.0.0.1:80`, whatever its health.
    #[must_use]
    pub fn named(&self, address: &str) -> Option<Pick<'_>> {
        let address: SocketAddr = address.parse().ok()?;
        let by_address = self.by_address.get_or_init(|| {
            let all =
                (0..).zip(&self.endpoints).filter_map(|(place, one)| match &one.endpoint.address {
                    EndpointAddress::Socket(address) => Some((*address, place)),
                    EndpointAddress::Host { .. }
                    | EndpointAddress::Pipe(_)
                    | EndpointAddress::Internal { .. } => None,
                });
            all.collect()
        });
        let place = *by_address.get(&address)?;
        Some(Pick { endpoint: find(&self.endpoints, place)?, place, notes: PickNotes::NONE })
    }

    /// The instance at an address, if a session may go to it with the health that it has.
    /// Source: `common_lb_config.override_host_status`.
    #[must_use]
    pub fn of_session(&self, address: &str) -> Option<Pick<'_>> {
        let pick = self.named(address)?;
        self.cluster.override_statuses.allow(pick.endpoint.health()).then_some(pick)
    }

    /// Whether [`Self::answered`] and [`Self::reported`] are of use.
    #[must_use]
    pub fn wants(&self) -> Wants {
        match self.cluster.lb {
            LbPolicy::PeakEwma(_) => Wants::ResponseTimes,
            LbPolicy::ClientWeighted(_) => Wants::LoadReports,
            LbPolicy::RoundRobin(_)
            | LbPolicy::LeastRequest(_)
            | LbPolicy::Random
            | LbPolicy::RingHash(_)
            | LbPolicy::Maglev(_)
            | LbPolicy::PickFirst(_)
            | LbPolicy::ClusterProvided => Wants::Nothing,
        }
    }

    /// Counts how long an instance took to answer.
    pub fn answered(&self, state: &EndpointState, took: Duration, now: Instant) {
        if let LbPolicy::PeakEwma(policy) = &self.cluster.lb {
            state.measures.answered(took, self.state.nanos(now), policy);
        }
    }

    /// Takes what an instance reports of its load; a report that makes no weight is left.
    pub fn reported(&self, state: &EndpointState, report: &LoadReport, now: Instant) {
        if let Some(policy) = client_weights(&self.cluster)
            && let Some(weight) = client_weight::of_report(report, policy)
        {
            state.measures.reports(weight, self.state.nanos(now));
        }
    }

    /// Has an instance begin slowly again, which active checks have found healthy again.
    pub fn serves_again(&self, state: &EndpointState, now: Instant) {
        state.measures.serves_again(self.state.nanos(now));
        self.state.health_changed();
    }

    /// What all its instances can take together, for a cluster that stands for several; without those
    /// of the priorities that were `tried`.
    #[must_use]
    pub fn capacity(&self, now: Instant, tried: &[u32]) -> Capacity {
        if self.views.load().version != self.version() {
            self.refresh(self.state.nanos(now));
        }
        let (healthy, degraded) = self.views.load().all.able(tried);
        let instances = u64::try_from(self.endpoints.len()).unwrap_or(u64::MAX);
        Capacity { healthy, degraded, instances }
    }

    /// Counts how a try at an instance ended, and ejects the instance if that was once too often.
    /// Tells of every way in which it was found to be an outlier. `draw` gives even numbers from 0
    /// to below 1.
    pub fn record(
        &self,
        state: &EndpointState,
        outcome: Outcome,
        now: Instant,
        draw: &mut dyn FnMut() -> f64,
    ) -> [Option<Ejection>; 2] {
        outcome.count(&state.counters);
        self.detector().map_or([None; 2], |detector| detector.record(state, outcome, now, draw))
    }

    /// Takes back instances whose ejection is over, and compares instances with each other. Call it
    /// once an interval of outlier detection.
    #[must_use]
    pub fn look(&self, now: Instant, draw: &mut dyn FnMut() -> f64) -> Look {
        self.detector().map_or_else(Look::default, |detector| detector.look(now, draw))
    }

    /// Takes an ejected instance back at once, because it was found to be well; none when it was not
    /// ejected. `place` is its place in [`Self::endpoints`].
    pub fn take_back(&self, place: usize, now: Instant) -> Option<Return> {
        self.detector()?.take_back(place, self.endpoints.get(place)?, now)
    }

    /// How many instances are in this condition.
    #[must_use]
    pub fn count(&self, condition: Condition) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.condition() == condition).count()
    }

    fn detector(&self) -> Option<OutlierDetector<'_>> {
        let policy = self.cluster.outlier_detection.as_ref()?;
        Some(OutlierDetector { policy, cluster: &self.state, endpoints: &self.endpoints })
    }

    /// What views are compiled for: they are out of date when it changes.
    fn version(&self) -> (u64, u64) {
        (self.state.health_version(), self.setting.neighbourhood.version())
    }

    fn refresh(&self, now: Moment) {
        // Read before the health itself: a change in between is seen at the next choice.
        let version = self.version();
        let source = Source {
            cluster: &self.cluster,
            set: &self.set,
            endpoints: &self.endpoints,
            neighbourhood: &self.setting.neighbourhood,
            seed: self.setting.seed,
            now,
        };
        self.views.store(Arc::new(Views::compile(source, version)));
    }

    /// Makes weights of what was reported. One worker does; the others go on with the old ones.
    fn update_weights(&self, now: Moment) {
        let Some(policy) = client_weights(&self.cluster) else { return };
        let Some(mut scratch) = self.scratch.try_lock() else { return };
        self.weights_due.store(now.saturating_add(nanos(policy.update_period)), Relaxed);
        if client_weight::update(&self.endpoints, policy, now, &mut scratch) {
            let Self { endpoints, cluster, setting, .. } = self;
            let policy = &cluster.lb;
            let from = Ingredients { endpoints, policy, seed: setting.seed, now };
            let views = self.views.load();
            let subsets = views.subsets.iter().flat_map(Subsets::views);
            std::iter::once(&views.all).chain(subsets).for_each(|view| view.restart(from));
        }
    }
}

/// What a balancer wants to hear of responses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Nothing: to tell it costs time for no use.
    Nothing,
    /// How long they took.
    ResponseTimes,
    /// What they report of load.
    LoadReports,
}

const fn client_weights(cluster: &Cluster) -> Option<&ClientWeighted> {
    match &cluster.lb {
        LbPolicy::ClientWeighted(policy) => Some(policy),
        LbPolicy::RoundRobin(_)
        | LbPolicy::LeastRequest(_)
        | LbPolicy::Random
        | LbPolicy::RingHash(_)
        | LbPolicy::Maglev(_)
        | LbPolicy::PeakEwma(_)
        | LbPolicy::PickFirst(_)
        | LbPolicy::ClusterProvided => None,
    }
}

/// Uses so many instances of each priority, others for each proxy, and nearly the same when some
/// come or go. Source: gRFC A68.
fn keep_some(endpoints: &mut [BalancedEndpoint], size: NonZeroU32, seed: u64) {
    let levels = endpoints.iter().map(|one| one.priority).max().unwrap_or_default();
    for level in 0..=levels {
        let mut own: Vec<&mut BalancedEndpoint> =
            endpoints.iter_mut().filter(|one| one.priority == level).collect();
        own.sort_by_cached_key(|one| mixed(xxh64(one.hash_key.as_bytes(), seed), 0));
        let size = usize::try_from(size.get()).unwrap_or(usize::MAX);
        own.into_iter().skip(size).for_each(|one| one.is_used = false);
    }
}

/// Whether a policy chooses by the request's hash.
pub(super) const fn hashes(policy: &LbPolicy) -> bool {
    matches!(policy, LbPolicy::RingHash(_) | LbPolicy::Maglev(_))
}

fn hash_key(endpoint: &Endpoint, policy: &LbPolicy) -> String {
    if let Some(key) = endpoint.metadata.lb.get("hash_key").filter(|key| !key.is_empty()) {
        return key.clone();
    }
    let by_name = policy.hashing().is_some_and(|hashing| hashing.use_hostname);
    if by_name && !endpoint.hostname.is_empty() {
        return endpoint.hostname.clone();
    }
    let mut key = String::new();
    let written = match &endpoint.address {
        EndpointAddress::Socket(address) => write!(key, "{address}"),
        EndpointAddress::Host { name, port } => write!(key, "{name}:{port}"),
        EndpointAddress::Pipe(path) => write!(key, "{}", path.display()),
        EndpointAddress::Internal { listener, id } => write!(key, "envoy://{listener}/{id}"),
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    key
}

/// The whole cluster and its subsets, as of one version of its health.
#[derive(Debug, Default)]
struct Views {
    version: (u64, u64),
    all: View,
    subsets: Option<Subsets>,
}

impl Views {
    fn compile(source: Source<'_>, version: (u64, u64)) -> Self {
        let subsets = source.cluster.subsets.as_ref();
        match subsets.map(|selection| Subsets::compile(source, selection)) {
            // Then nobody asks for the whole.
            Some(subsets) => Self { version, all: View::default(), subsets: Some(subsets) },
            None => {
                let all = View::compile(source, PlaceWeights::AsGiven, &|_| true);
                Self { version, all, subsets: None }
            }
        }
    }
}
