//! How an instance of a cluster is chosen.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use iako_types::Percent;

use crate::{HashPolicy, HeaderName, HealthStatus, Keyed};

/// How an instance is chosen. Source: `envoy.config.cluster.v3.Cluster.LbPolicy`, and the policies
/// of `envoy.extensions.load_balancing_policies`.
#[derive(Debug, Clone, PartialEq)]
pub enum LbPolicy {
    /// In turn, weighted; new instances slowly, when a slow start is given.
    RoundRobin(Option<SlowStart>),
    /// The least busy of a few taken by chance.
    LeastRequest(LeastRequest),
    /// By chance; weights of instances do not count.
    Random,
    /// By a hash of the request, on a ring.
    RingHash(RingHash),
    /// By a hash of the request, in a table.
    Maglev(MaglevTable),
    /// In turn, weighted by what instances report of their load.
    ClientWeighted(Box<ClientWeighted>),
    /// The faster of two taken by chance.
    PeakEwma(PeakEwma),
    /// Always the first that serves.
    PickFirst(PickFirst),
    /// What the kind of the cluster gives (original destination).
    ClusterProvided,
}

impl LbPolicy {
    /// How consistent hashing is done, where it is.
    #[must_use]
    pub const fn hashing(&self) -> Option<&ConsistentHashing> {
        match self {
            Self::RingHash(ring) => Some(&ring.hashing),
            Self::Maglev(table) => Some(&table.hashing),
            Self::RoundRobin(_)
            | Self::LeastRequest(_)
            | Self::Random
            | Self::ClientWeighted(_)
            | Self::PeakEwma(_)
            | Self::PickFirst(_)
            | Self::ClusterProvided => None,
        }
    }

    /// How new instances begin; at once when absent.
    #[must_use]
    pub const fn slow_start(&self) -> Option<&SlowStart> {
        match self {
            Self::RoundRobin(slow_start) => slow_start.as_ref(),
            Self::LeastRequest(policy) => policy.slow_start.as_ref(),
            Self::ClientWeighted(policy) => policy.slow_start.as_ref(),
            Self::Random
            | Self::RingHash(_)
            | Self::Maglev(_)
            | Self::PeakEwma(_)
            | Self::PickFirst(_)
            | Self::ClusterProvided => None,
        }
    }
}

/// A new instance gets a growing part of its weight. Source: `SlowStartConfig`.
///
/// After the time `t` its weight is multiplied by `max(weight_min, (t / window)^(1 / aggression))`.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowStart {
    /// How long it takes. More than zero.
    pub window: Duration,
    /// How fast the beginning is: above 1 faster, below slower. More than zero. Envoy default: 1.
    pub aggression: Keyed<f64>,
    /// The least part of the weight. Envoy default: 10 %.
    pub weight_min: Percent,
}

impl SlowStart {
    /// A slow start with Envoy's defaults.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        let weight_min = Percent::from_whole(10).unwrap_or(Percent::ZERO);
        Self { window, aggression: Keyed::fixed(1.0), weight_min }
    }
}

/// Source: `envoy.config.cluster.v3.Cluster.LeastRequestLbConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct LeastRequest {
    /// How many instances are compared. At least 2; Envoy default: 2.
    pub choices: NonZeroU32,
    /// Whether all instances are compared, in place of a few. Envoy default: false.
    pub full_scan: bool,
    /// How much open requests count where weights differ: the weight is divided by the number of
    /// open requests and one, to this power. Zero or more; Envoy default: 1.
    pub active_request_bias: Keyed<f64>,
    /// How new instances begin.
    pub slow_start: Option<SlowStart>,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self {
            choices: NonZeroU32::MIN.saturating_add(1),
            full_scan: false,
            active_request_bias: Keyed::fixed(1.0),
            slow_start: None,
        }
    }
}

/// Source: `envoy.config.cluster.v3.Cluster.RingHashLbConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingHash {
    /// Fewest entries of the ring, up to 8,388,608. Envoy default: 1024.
    pub ring_size_min: NonZeroU64,
    /// Most entries of the ring. Envoy default: 8,388,608.
    pub ring_size_max: NonZeroU64,
    /// The hash of instances.
    pub function: HashFunction,
    /// What both kinds of consistent hashing have in common.
    pub hashing: ConsistentHashing,
}

/// The hash that places instances on a ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HashFunction {
    /// xxHash64. Envoy default.
    #[default]
    XxHash,
    /// `MurmurHash2`, 64 bit.
    Murmur2,
}

/// Source: `envoy.config.cluster.v3.Cluster.MaglevLbConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaglevTable {
    /// A prime, at most 5,000,011. Envoy default: 65,537.
    pub table_size: NonZeroU64,
    /// What both kinds of consistent hashing have in common.
    pub hashing: ConsistentHashing,
}

/// Source: `ConsistentHashingLbConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsistentHashing {
    /// Whether instances are placed by their host names. Envoy default: false, by address.
    pub use_hostname: bool,
    /// Most requests of an instance, in percent of the average by its weight; who has more passes
    /// requests to others. At least 100; without limit when absent.
    pub balance_factor: Option<NonZeroU32>,
    /// What of a request is hashed, in place of what its route says; the route's when empty.
    pub policies: Vec<HashPolicy>,
}

/// Source: `envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3`.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientWeighted {
    /// Reports count only after having come for so long. Envoy default: 10 s.
    pub blackout: Duration,
    /// A report is forgotten after this. Envoy default: 180 s.
    pub expiration: Duration,
    /// Time between new weights. At least 100 ms; Envoy default: 1 s.
    pub update_period: Duration,
    /// How much errors lower a weight: this times errors a request is added to the utilization.
    /// Zero or more; Envoy default: 0.
    pub error_penalty: f64,
    /// Metrics whose greatest is the utilization, where the application reports none of its own:
    /// such as `named_metrics.foo`, `utilization.*`, `mem_utilization`.
    pub metrics: Vec<String>,
    /// How new instances begin.
    pub slow_start: Option<SlowStart>,
}

impl Default for ClientWeighted {
    fn default() -> Self {
        Self {
            blackout: Duration::from_secs(10),
            expiration: Duration::from_secs(180),
            update_period: Duration::from_secs(1),
            error_penalty: 0.0,
            metrics: Vec::new(),
            slow_start: None,
        }
    }
}

/// The faster of two, by a moving average of response times that follows a rise at once.
/// Source: `envoy.extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeakEwma {
    /// After this time an old response time counts for the e-th part. Envoy default: 10 s.
    pub decay: Duration,
    /// What an instance counts as that has not answered yet. Envoy default: 10 ms.
    pub default_rtt: Duration,
}

impl Default for PeakEwma {
    fn default() -> Self {
        Self { decay: Duration::from_secs(10), default_rtt: Duration::from_millis(10) }
    }
}

/// Source: `envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PickFirst {
    /// Whether each proxy has an order of its own. Envoy default: false, the order as sent.
    pub shuffle: bool,
}

/// How the places of one priority share traffic.
/// Source: `locality_config_specifier` of `CommonLbConfig`, and `LocalityLbConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalityBalancing {
    /// Near instances first, where the bootstrap names the cluster that this proxy is a part of;
    /// else places do not count. Envoy default.
    ZoneAware(ZoneAware),
    /// By the weights of places.
    Weighted,
}

impl Default for LocalityBalancing {
    fn default() -> Self {
        Self::ZoneAware(ZoneAware::default())
    }
}

/// Source: `envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneAware {
    /// The share of requests for which places count. Envoy default: 100 %.
    pub enabled: Percent,
    /// Fewer instances than this are used without regard to places. Envoy default: 6.
    pub cluster_size_min: u64,
    /// Whether requests fail where too few instances are healthy. Envoy default: false.
    pub fail_on_panic: bool,
    /// All requests stay in the own place while at least so many of its instances are healthy.
    /// Source: `force_local_zone.min_size` (1 by default), `force_locality_direct_routing`.
    pub force_local: Option<u32>,
    /// How the capacity of a place is measured.
    pub basis: LocalityBasis,
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self {
            enabled: Percent::HUNDRED,
            cluster_size_min: 6,
            fail_on_panic: false,
            force_local: None,
            basis: LocalityBasis::default(),
        }
    }
}

/// How the capacity of a place is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LocalityBasis {
    /// By the number of healthy instances. Envoy default.
    #[default]
    Count,
    /// By the sum of their weights.
    Weight,
}

/// Choosing among a part of the instances. Source: `envoy.config.cluster.v3.Cluster.LbSubsetConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubsetSelection {
    /// By which metadata instances are grouped, in order.
    pub selectors: Vec<SubsetSelector>,
    /// What happens when no group fits.
    pub fallback: SubsetFallback,
    /// The metadata of [`SubsetFallback::Default`] and [`SelectorFallback::Default`].
    pub default_subset: BTreeMap<String, String>,
    /// Whether weights of places count within a subset. Envoy default: false.
    pub locality_weight_aware: bool,
    /// Whether a place's weight shrinks to the part of its instances that the subset has; only
    /// with `locality_weight_aware`. Envoy default: false.
    pub scale_locality_weight: bool,
    /// Whether any instance is used when the fallback has none that serves. Envoy default: false.
    pub panic_mode_any: bool,
    /// Whether an instance belongs to a subset for each value of a list. Envoy default: false.
    pub list_as_any: bool,
    /// Whether a route may name several subsets, of which the first that serves is used.
    /// Source: `metadata_fallback_policy: FALLBACK_LIST`.
    pub metadata_fallback: bool,
    /// Whether a route may name more keys than a selector has. Envoy default: false.
    pub allow_redundant_keys: bool,
}

/// Metadata by which instances are grouped. Source: `LbSubsetConfig.LbSubsetSelector`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubsetSelector {
    /// The keys, in their order and once each.
    pub keys: Vec<String>,
    /// What happens when a request names these keys, but no such group has instances; the general
    /// fallback when absent.
    pub fallback: Option<SelectorFallback>,
    /// Whether a group is its first instance only, whatever its health. Envoy default: false.
    pub single_host: bool,
}

impl SubsetSelector {
    /// A selector by keys, with the general fallback.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut keys: Vec<String> = keys.into_iter().map(Into::into).collect();
        keys.sort_unstable();
        keys.dedup();
        Self { keys, fallback: None, single_host: false }
    }
}

/// What happens when no group of a selector fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorFallback {
    /// The request fails: no healthy upstream.
    None,
    /// Any instance.
    Any,
    /// The default subset.
    Default,
    /// The group of these keys alone; fewer than those of the selector, and not none.
    Keys(Vec<String>),
}

/// What happens when no subset fits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SubsetFallback {
    /// The request fails: no healthy upstream. Envoy default.
    #[default]
    None,
    /// Any instance.
    AnyEndpoint,
    /// The default subset.
    Default,
}

/// Requests that name their instance. Source:
/// `envoy.extensions.load_balancing_policies.override_host.v3.OverrideHost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideHost {
    /// Where a request names instances, as addresses with commas between; all sources count, in
    /// order, and each try takes the next instance. Not empty.
    pub sources: Vec<OverrideSource>,
    /// Where the address of the chosen instance is written in the request's metadata.
    pub selected_key: Option<MetadataPath>,
}

/// Where a request names instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OverrideSource {
    /// In the first value of a header.
    Header(HeaderName),
    /// In its dynamic metadata.
    Metadata(MetadataPath),
}

/// A value in dynamic metadata. Source: `envoy.type.metadata.v3.MetadataKey`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataPath {
    /// The filter whose metadata it is.
    pub filter: String,
    /// The keys that lead to it; not empty.
    pub path: Vec<String>,
}

/// With which health an instance is used that a session names. Source:
/// `envoy.config.cluster.v3.Cluster.CommonLbConfig.override_host_status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverrideStatuses(u8);

impl OverrideStatuses {
    /// Exactly these.
    #[must_use]
    pub fn of(statuses: impl IntoIterator<Item = HealthStatus>) -> Self {
        Self(statuses.into_iter().fold(0, |bits, status| bits | bit(status)))
    }

    /// Whether an instance of this health is used.
    #[must_use]
    pub const fn allow(self, status: HealthStatus) -> bool {
        self.0 & bit(status) != 0
    }
}

impl Default for OverrideStatuses {
    /// Envoy default: unknown, healthy and degraded.
    fn default() -> Self {
        Self::of([HealthStatus::Unknown, HealthStatus::Healthy, HealthStatus::Degraded])
    }
}

const fn bit(status: HealthStatus) -> u8 {
    match status {
        HealthStatus::Unknown => 1,
        HealthStatus::Healthy => 2,
        HealthStatus::Unhealthy => 4,
        HealthStatus::Draining => 8,
        HealthStatus::Degraded => 16,
    }
}
