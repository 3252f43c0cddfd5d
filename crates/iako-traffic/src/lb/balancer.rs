//! A cluster made ready for choosing instances.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    num::NonZeroU32,
    sync::Arc,
    time::Instant,
};

use arc_swap::ArcSwap;
use iako_proxy_config::{
    Cluster, Endpoint, EndpointAddress, EndpointSet, LbPolicy, SubsetFallback,
};
use iako_types::Locality;
use xxhash_rust::xxh64::xxh64;

use super::{
    group::{Choice, find},
    state::{ClusterState, EndpointState},
    view::{Source, View},
};
use crate::outlier::{Ejection, Outcome, OutlierDetector};

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
    /// What it is placed by on rings: its address, or `hash_key` of its `envoy.lb` metadata.
    pub(super) hash_key: String,
}

/// What a choice depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct PickRequest<'a> {
    /// The request's hash, for consistent balancing.
    pub hash: Option<u64>,
    /// Metadata of the subset that the route asks for; every instance when empty.
    pub subset: &'a [(String, String)],
    /// Places ([`Pick::place`]) that were tried already.
    pub excluded: &'a [u32],
    /// Priorities ([`BalancedEndpoint::priority`]) that shall not be tried again as long as another
    /// one can take requests: their load is spread over the others. Source: Envoy's retry priority
    /// `previous_priorities`.
    pub tried_priorities: &'a [u32],
}

/// A chosen instance; borrows from its balancer.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'b> {
    /// The instance.
    pub endpoint: &'b BalancedEndpoint,
    /// Its place in [`Balancer::endpoints`].
    pub place: u32,
    /// Whether too few instances were healthy, so that health did not count.
    pub panic: bool,
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
    seed: u64,
}

impl Balancer {
    /// Compiles a cluster. Instances that `state` knows keep their live numbers. `seed` is any
    /// number; it decides where round robin begins.
    #[must_use]
    pub fn new(
        cluster: Arc<Cluster>,
        set: Arc<EndpointSet>,
        state: Arc<ClusterState>,
        seed: u64,
    ) -> Self {
        let balanced = set.localities.iter().flat_map(|place| {
            let state = &state;
            place.endpoints.iter().map(move |endpoint| BalancedEndpoint {
                endpoint: endpoint.clone(),
                state: state.endpoint(&endpoint.address),
                locality: place.locality.clone(),
                priority: place.priority,
                locality_weight: place.weight,
                hash_key: hash_key(endpoint),
            })
        });
        let endpoints: Vec<BalancedEndpoint> = balanced.collect();
        state.prune();
        let source = Source { cluster: &cluster, set: &set, endpoints: &endpoints, seed };
        let views = ArcSwap::from_pointee(Views::compile(source, state.health_version()));
        Self { cluster, set, state, endpoints, views, seed }
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
        self.take_back(now);
        if self.views.load().version != self.state.health_version() {
            self.refresh();
        }
        let views = self.views.load();
        let view = views.find(request.subset)?;
        let choice = Choice {
            endpoints: &self.endpoints,
            policy: &self.cluster.lb,
            hash: request.hash.filter(|_| hashes(&self.cluster.lb)),
            excluded: request.excluded,
            tried_priorities: request.tried_priorities,
        };
        let (place, panic) = view.choose(&choice, draw)?;
        Some(Pick { endpoint: find(&self.endpoints, place)?, place, panic })
    }

    /// Counts how a try at an instance ended, and ejects the instance if that was once too often.
    pub fn record(
        &self,
        state: &EndpointState,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Ejection> {
        outcome.count(&state.counters);
        self.detector()?.record(state, outcome, now)
    }

    /// Takes back instances whose ejection is over. [`Self::pick`] does so, too; call it from a
    /// timer only to have statistics in time.
    pub fn take_back(&self, now: Instant) {
        if let Some(detector) = self.detector() {
            detector.look(now);
        }
    }

    /// How many instances take traffic: healthy or degraded, and not ejected.
    #[must_use]
    pub fn available(&self) -> usize {
        let takes = |endpoint: &&BalancedEndpoint| {
            let health = endpoint.endpoint.health;
            let willing =
                health.is_healthy() || health == iako_proxy_config::HealthStatus::Degraded;
            willing && !endpoint.state.is_ejected()
        };
        self.endpoints.iter().filter(takes).count()
    }

    fn detector(&self) -> Option<OutlierDetector<'_>> {
        let policy = self.cluster.outlier_detection.as_ref()?;
        Some(OutlierDetector { policy, cluster: &self.state, endpoints: &self.endpoints })
    }

    fn refresh(&self) {
        // Read before the health itself: a change in between is seen at the next choice.
        let version = self.state.health_version();
        let source = Source {
            cluster: &self.cluster,
            set: &self.set,
            endpoints: &self.endpoints,
            seed: self.seed,
        };
        self.views.store(Arc::new(Views::compile(source, version)));
    }
}

/// Whether a policy chooses by the request's hash.
pub(super) const fn hashes(policy: &LbPolicy) -> bool {
    matches!(policy, LbPolicy::RingHash(_) | LbPolicy::Maglev(_))
}

fn hash_key(endpoint: &Endpoint) -> String {
    if let Some(key) = endpoint.metadata.lb.get("hash_key") {
        return key.clone();
    }
    let mut key = String::new();
    let written = match &endpoint.address {
        EndpointAddress::Socket(address) => write!(key, "{address}"),
        EndpointAddress::Host { name, port } => write!(key, "{name}:{port}"),
        EndpointAddress::Pipe(path) => write!(key, "{}", path.display()),
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    key
}

/// The whole cluster and its subsets, as of one version of its health.
#[derive(Debug)]
struct Views {
    version: u64,
    all: View,
    subsets: Option<Subsets>,
}

#[derive(Debug)]
struct Subsets {
    /// By a hash of keys and values that does not depend on their order.
    by_hash: HashMap<u64, Vec<Subset>>,
    fallback: Fallback,
}

#[derive(Debug)]
struct Subset {
    metadata: BTreeMap<String, String>,
    view: View,
}

#[derive(Debug)]
enum Fallback {
    Nobody,
    Anybody,
    Default(View),
}

impl Views {
    fn compile(source: Source<'_>, version: u64) -> Self {
        let all = View::compile(source, &|_| true);
        let subsets = source.cluster.subsets.as_ref().map(|selection| {
            let mut subsets: Vec<BTreeMap<String, String>> = Vec::new();
            for selector in &selection.selectors {
                for endpoint in source.endpoints {
                    let values = selector.keys.iter().map(|key| {
                        let value = endpoint.endpoint.metadata.lb.get(key)?;
                        Some((key.clone(), value.clone()))
                    });
                    if let Some(subset) = values.collect::<Option<BTreeMap<_, _>>>()
                        && !subsets.contains(&subset)
                    {
                        subsets.push(subset);
                    }
                }
            }
            let mut by_hash: HashMap<u64, Vec<Subset>> = HashMap::new();
            for subset in subsets {
                let view = View::compile(source, &|endpoint| fits(endpoint, &subset));
                let slot = by_hash.entry(subset_hash(&subset)).or_default();
                slot.push(Subset { metadata: subset, view });
            }
            let fallback = match selection.fallback {
                SubsetFallback::None => Fallback::Nobody,
                SubsetFallback::AnyEndpoint => Fallback::Anybody,
                SubsetFallback::Default => Fallback::Default(View::compile(source, &|endpoint| {
                    fits(endpoint, &selection.default_subset)
                })),
            };
            Subsets { by_hash, fallback }
        });
        Self { version, all, subsets }
    }

    fn find(&self, wanted: &[(String, String)]) -> Option<&View> {
        let Some(subsets) = &self.subsets else { return Some(&self.all) };
        let hash = subset_hash(wanted.iter().map(|(key, value)| (key, value)));
        let same = |subset: &BTreeMap<String, String>| {
            subset.len() == wanted.len()
                && wanted.iter().all(|(key, value)| subset.get(key) == Some(value))
        };
        let found = subsets.by_hash.get(&hash).and_then(|candidates| {
            candidates.iter().find(|subset| !wanted.is_empty() && same(&subset.metadata))
        });
        match (found, &subsets.fallback) {
            (Some(subset), _) if !subset.view.is_empty() => Some(&subset.view),
            (_, Fallback::Nobody) => None,
            (_, Fallback::Anybody) => Some(&self.all),
            (_, Fallback::Default(view)) => Some(view),
        }
    }
}

fn fits(endpoint: &BalancedEndpoint, subset: &BTreeMap<String, String>) -> bool {
    subset.iter().all(|(key, value)| endpoint.endpoint.metadata.lb.get(key) == Some(value))
}

fn subset_hash<'s>(pairs: impl IntoIterator<Item = (&'s String, &'s String)>) -> u64 {
    let pairs = pairs.into_iter();
    pairs.fold(0, |hash, (key, value)| hash ^ xxh64(value.as_bytes(), xxh64(key.as_bytes(), 0)))
}
