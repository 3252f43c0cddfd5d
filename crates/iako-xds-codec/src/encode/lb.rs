//! How instances are chosen: in the fields of clusters where these can say it, which every version
//! of Envoy reads, else as a list of policies.

mod policies;

use iako_types::Percent;
use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;

use super::{metadata, wire};
use iako_proxy_config::{
    Cluster, ConsistentHashing, HashFunction, HealthStatus, Keyed, LbPolicy, LeastRequest,
    LocalityBalancing, OverrideStatuses, SelectorFallback, SlowStart, SubsetFallback,
    SubsetSelection, SubsetSelector, ZoneAware,
};

pub(super) use policies::metadata_key;

/// Writes everything that decides how an instance of a cluster is chosen.
pub(super) fn apply(value: &Cluster, message: &mut pb::Cluster) {
    if needs_list(value) {
        message.lb_policy = pb::cluster::LbPolicy::LoadBalancingPolicyConfig.into();
        message.load_balancing_policy = Some(policies::list(value));
        message.common_lb_config = common(value, None, None);
        return;
    }
    lb_policy(&value.lb, message);
    message.lb_subset_config = value.subsets.as_ref().map(subsets);
    message.common_lb_config = common(value, locality(&value.localities), value.lb.hashing());
}

/// Whether the older fields cannot say it.
fn needs_list(value: &Cluster) -> bool {
    let policy = match &value.lb {
        LbPolicy::ClientWeighted(_) | LbPolicy::PeakEwma(_) | LbPolicy::PickFirst(_) => true,
        LbPolicy::LeastRequest(policy) => policy.full_scan,
        LbPolicy::RingHash(_)
        | LbPolicy::Maglev(_)
        | LbPolicy::RoundRobin(_)
        | LbPolicy::Random
        | LbPolicy::ClusterProvided => {
            value.lb.hashing().is_some_and(|hashing| !hashing.policies.is_empty())
        }
    };
    let zones = match value.localities {
        LocalityBalancing::ZoneAware(zones) => {
            zones.force_local.is_some() || zones.basis != ZoneAware::default().basis
        }
        LocalityBalancing::Weighted => false,
    };
    let redundant = value.subsets.as_ref().is_some_and(|subsets| subsets.allow_redundant_keys);
    let empty = value.subsets.as_ref().is_some_and(|subsets| {
        subsets.selectors.is_empty() && subsets.fallback == SubsetFallback::None
    });
    policy
        || zones
        || redundant
        || empty
        || value.override_host.is_some()
        || value.random_subset.is_some()
}

fn lb_policy(value: &LbPolicy, message: &mut pb::Cluster) {
    use pb::cluster::{LbConfig, LbPolicy as Kind};
    let (kind, config) = match value {
        LbPolicy::RoundRobin(slow) => {
            let config = pb::cluster::RoundRobinLbConfig {
                slow_start_config: slow.as_ref().map(slow_start),
            };
            (Kind::RoundRobin, slow.as_ref().map(|_| LbConfig::RoundRobinLbConfig(config)))
        }
        LbPolicy::Random => (Kind::Random, None),
        LbPolicy::LeastRequest(policy) => {
            let is_default = *policy == LeastRequest::default();
            (
                Kind::LeastRequest,
                (!is_default).then(|| LbConfig::LeastRequestLbConfig(least(policy))),
            )
        }
        LbPolicy::RingHash(policy) => {
            use pb::cluster::ring_hash_lb_config::HashFunction as Function;
            let function = match policy.function {
                HashFunction::XxHash => Function::XxHash,
                HashFunction::Murmur2 => Function::MurmurHash2,
            };
            let config = pb::cluster::RingHashLbConfig {
                minimum_ring_size: Some(policy.ring_size_min.get()),
                hash_function: function.into(),
                maximum_ring_size: Some(policy.ring_size_max.get()),
            };
            (Kind::RingHash, Some(LbConfig::RingHashLbConfig(config)))
        }
        LbPolicy::Maglev(table) => {
            let config = pb::cluster::MaglevLbConfig { table_size: Some(table.table_size.get()) };
            (Kind::Maglev, Some(LbConfig::MaglevLbConfig(config)))
        }
        // The last three are written as a list.
        LbPolicy::ClusterProvided
        | LbPolicy::ClientWeighted(_)
        | LbPolicy::PeakEwma(_)
        | LbPolicy::PickFirst(_) => (Kind::ClusterProvided, None),
    };
    message.lb_policy = kind.into();
    message.lb_config = config;
}

fn least(value: &LeastRequest) -> pb::cluster::LeastRequestLbConfig {
    pb::cluster::LeastRequestLbConfig {
        choice_count: Some(value.choices.get()).filter(|choices| *choices != 2),
        active_request_bias: double(&value.active_request_bias, 1.0),
        slow_start_config: value.slow_start.as_ref().map(slow_start),
    }
}

/// A number, unless it is the default.
#[expect(clippy::float_cmp, reason = "a default is exactly itself")]
fn double(value: &Keyed<f64>, default: f64) -> Option<core::RuntimeDouble> {
    (value.value != default || value.key.is_some()).then(|| core::RuntimeDouble {
        default_value: value.value,
        runtime_key: value.key().to_owned(),
    })
}

fn slow_start(value: &SlowStart) -> pb::cluster::SlowStartConfig {
    pb::cluster::SlowStartConfig {
        slow_start_window: Some(wire::duration(value.window)),
        aggression: double(&value.aggression, 1.0),
        min_weight_percent: Some(wire::percent(value.weight_min)),
    }
}

fn locality(
    value: &LocalityBalancing,
) -> Option<pb::cluster::common_lb_config::LocalityConfigSpecifier> {
    use pb::cluster::common_lb_config::{LocalityConfigSpecifier as Specifier, ZoneAwareLbConfig};
    match value {
        LocalityBalancing::Weighted => {
            Some(Specifier::LocalityWeightedLbConfig(Default::default()))
        }
        LocalityBalancing::ZoneAware(zones) if *zones == ZoneAware::default() => None,
        LocalityBalancing::ZoneAware(zones) => {
            Some(Specifier::ZoneAwareLbConfig(ZoneAwareLbConfig {
                routing_enabled: Some(wire::percent(zones.enabled)),
                min_cluster_size: Some(zones.cluster_size_min),
                fail_traffic_on_panic: zones.fail_on_panic,
            }))
        }
    }
}

fn common(
    value: &Cluster,
    localities: Option<pb::cluster::common_lb_config::LocalityConfigSpecifier>,
    hashing: Option<&ConsistentHashing>,
) -> Option<pb::cluster::CommonLbConfig> {
    use pb::cluster::common_lb_config::ConsistentHashingLbConfig;
    let default = Percent::from_whole(50).unwrap_or(Percent::ZERO);
    let hashing = hashing.filter(|hashing| **hashing != ConsistentHashing::default());
    let message = pb::cluster::CommonLbConfig {
        healthy_panic_threshold: (value.panic_threshold != default)
            .then(|| wire::percent(value.panic_threshold)),
        consistent_hashing_lb_config: hashing.map(|hashing| ConsistentHashingLbConfig {
            use_hostname_for_hashing: hashing.use_hostname,
            hash_balance_factor: hashing.balance_factor.map(std::num::NonZeroU32::get),
        }),
        override_host_status: statuses(value.override_statuses),
        locality_config_specifier: localities,
        close_connections_on_host_set_change: value.membership.close_on_set_change,
        ignore_new_hosts_until_first_hc: value.membership.ignore_new_until_checked,
        ..Default::default()
    };
    (message != pb::cluster::CommonLbConfig::default()).then_some(message)
}

fn statuses(value: OverrideStatuses) -> Option<core::HealthStatusSet> {
    use core::HealthStatus as Status;
    let pairs = [
        (HealthStatus::Unknown, Status::Unknown),
        (HealthStatus::Healthy, Status::Healthy),
        (HealthStatus::Unhealthy, Status::Unhealthy),
        (HealthStatus::Draining, Status::Draining),
        (HealthStatus::Degraded, Status::Degraded),
    ];
    let allowed = pairs.into_iter().filter(|(status, _)| value.allow(*status));
    (value != OverrideStatuses::default()).then(|| core::HealthStatusSet {
        statuses: allowed.map(|(_, status)| status.into()).collect(),
    })
}

fn subsets(value: &SubsetSelection) -> pb::cluster::LbSubsetConfig {
    pb::cluster::LbSubsetConfig {
        fallback_policy: fallback(value.fallback),
        default_subset: (!value.default_subset.is_empty())
            .then(|| metadata::texts(&value.default_subset)),
        subset_selectors: value.selectors.iter().map(selector).collect(),
        locality_weight_aware: value.locality_weight_aware,
        scale_locality_weight: value.scale_locality_weight,
        panic_mode_any: value.panic_mode_any,
        list_as_any: value.list_as_any,
        metadata_fallback_policy: value.metadata_fallback.into(),
    }
}

/// Both messages that configure subsets have the same numbers.
fn fallback(value: SubsetFallback) -> i32 {
    use pb::cluster::lb_subset_config::LbSubsetFallbackPolicy as Policy;
    match value {
        SubsetFallback::None => Policy::NoFallback,
        SubsetFallback::AnyEndpoint => Policy::AnyEndpoint,
        SubsetFallback::Default => Policy::DefaultSubset,
    }
    .into()
}

fn selector(value: &SubsetSelector) -> pb::cluster::lb_subset_config::LbSubsetSelector {
    let (fallback_policy, fallback_keys_subset) = selector_fallback(value);
    pb::cluster::lb_subset_config::LbSubsetSelector {
        keys: value.keys.clone(),
        single_host_per_subset: value.single_host,
        fallback_policy,
        fallback_keys_subset,
    }
}

fn selector_fallback(value: &SubsetSelector) -> (i32, Vec<String>) {
    use pb::cluster::lb_subset_config::lb_subset_selector::LbSubsetSelectorFallbackPolicy as Policy;
    let (policy, keys) = match &value.fallback {
        None => (Policy::NotDefined, Vec::new()),
        Some(SelectorFallback::None) => (Policy::NoFallback, Vec::new()),
        Some(SelectorFallback::Any) => (Policy::AnyEndpoint, Vec::new()),
        Some(SelectorFallback::Default) => (Policy::DefaultSubset, Vec::new()),
        Some(SelectorFallback::Keys(keys)) => (Policy::KeysSubset, keys.clone()),
    };
    (policy.into(), keys)
}
