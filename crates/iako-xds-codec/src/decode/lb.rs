//! How instances are chosen: the fields of clusters, and lists of policies.

mod policies;
mod subset;

use std::num::NonZeroU64;

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;

use super::{endpoint, wire};
use crate::problem::{At, Fault};
use iako_proxy_config::{
    Cluster, ConsistentHashing, HashFunction, Keyed, LbPolicy, LeastRequest, LocalityBalancing,
    MaglevTable, OverrideStatuses, RingHash, SlowStart, SubsetSelection, ZoneAware,
};

/// Envoy's default and limit of a ring's size.
const RING_SIZE_MAX: u64 = 8_388_608;

pub(super) use policies::metadata_path;

/// Everything that decides how an instance of a cluster is chosen.
pub(super) fn apply(cluster: &pb::Cluster, value: &mut Cluster, at: &At<'_>) -> Result<(), Fault> {
    common(cluster, value, at)?;
    if let Some(policy) = &cluster.load_balancing_policy {
        // A list of policies replaces the older fields as a whole, as in Envoy.
        value.localities = LocalityBalancing::default();
        return policies::apply(policy, value, &at.field("load_balancing_policy"));
    }
    value.lb = lb_policy(cluster, at)?;
    value.subsets = subsets(cluster, at)?;
    Ok(())
}

fn common(cluster: &pb::Cluster, value: &mut Cluster, at: &At<'_>) -> Result<(), Fault> {
    use pb::cluster::common_lb_config::LocalityConfigSpecifier;
    let Some(common) = &cluster.common_lb_config else { return Ok(()) };
    let at = at.field("common_lb_config");
    if let Some(threshold) = &common.healthy_panic_threshold {
        value.panic_threshold =
            wire::percent(threshold.value, &at.field("healthy_panic_threshold"))?;
    }
    value.localities = match &common.locality_config_specifier {
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => LocalityBalancing::Weighted,
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(config)) => {
            let at = at.field("zone_aware_lb_config");
            let mut zones =
                ZoneAware { fail_on_panic: config.fail_traffic_on_panic, ..ZoneAware::default() };
            if let Some(enabled) = &config.routing_enabled {
                zones.enabled = wire::percent(enabled.value, &at.field("routing_enabled"))?;
            }
            zones.cluster_size_min = config.min_cluster_size.unwrap_or(zones.cluster_size_min);
            LocalityBalancing::ZoneAware(zones)
        }
        None => LocalityBalancing::default(),
    };
    if let Some(set) = &common.override_host_status {
        let at = at.field("override_host_status");
        let statuses = wire::list(&set.statuses, &at.field("statuses"), |status, at| {
            endpoint::health_status(*status, at)
        })?;
        value.override_statuses = OverrideStatuses::of(statuses);
    }
    Ok(())
}

fn lb_policy(cluster: &pb::Cluster, at: &At<'_>) -> Result<LbPolicy, Fault> {
    use pb::cluster::{LbConfig, LbPolicy as Kind};
    let config = cluster.lb_config.as_ref();
    Ok(match wire::known::<Kind>(cluster.lb_policy, &at.field("lb_policy"))? {
        Kind::RoundRobin => {
            let mut slow_start = None;
            if let Some(LbConfig::RoundRobinLbConfig(config)) = config {
                let at = at.field("round_robin_lb_config");
                slow_start = legacy_slow_start(config.slow_start_config.as_ref(), &at)?;
            }
            LbPolicy::RoundRobin(slow_start)
        }
        Kind::Random => LbPolicy::Random,
        Kind::ClusterProvided => LbPolicy::ClusterProvided,
        Kind::LeastRequest => {
            let at = at.field("least_request_lb_config");
            let mut policy = LeastRequest::default();
            if let Some(LbConfig::LeastRequestLbConfig(config)) = config {
                choices(config.choice_count, &mut policy, &at)?;
                bias(config.active_request_bias.as_ref(), &mut policy, &at)?;
                policy.slow_start = legacy_slow_start(config.slow_start_config.as_ref(), &at)?;
            }
            LbPolicy::LeastRequest(policy)
        }
        Kind::RingHash => {
            let hashing = legacy_hashing(cluster, at)?;
            let Some(LbConfig::RingHashLbConfig(config)) = config else {
                return ring_hash((None, None), HashFunction::XxHash, hashing, at);
            };
            use pb::cluster::ring_hash_lb_config::HashFunction as Function;
            let at = at.field("ring_hash_lb_config");
            let at_function = at.field("hash_function");
            let function = match wire::known::<Function>(config.hash_function, &at_function)? {
                Function::XxHash => HashFunction::XxHash,
                Function::MurmurHash2 => HashFunction::Murmur2,
            };
            let sizes = (config.minimum_ring_size, config.maximum_ring_size);
            ring_hash(sizes, function, hashing, &at)?
        }
        Kind::Maglev => {
            let hashing = legacy_hashing(cluster, at)?;
            let size = match config {
                Some(LbConfig::MaglevLbConfig(config)) => config.table_size,
                _ => None,
            };
            maglev(size, hashing, &at.field("maglev_lb_config"))?
        }
        Kind::LoadBalancingPolicyConfig => {
            return Err(at
                .field("load_balancing_policy")
                .missing("write a policy there, or use another `lb_policy`"));
        }
    })
}

fn legacy_hashing(cluster: &pb::Cluster, at: &At<'_>) -> Result<ConsistentHashing, Fault> {
    let at = at.field("common_lb_config");
    let common = cluster.common_lb_config.as_ref();
    let Some(config) = common.and_then(|common| common.consistent_hashing_lb_config.as_ref())
    else {
        return Ok(ConsistentHashing::default());
    };
    let at = at.field("consistent_hashing_lb_config");
    Ok(ConsistentHashing {
        use_hostname: config.use_hostname_for_hashing,
        balance_factor: balance_factor(config.hash_balance_factor, &at)?,
        policies: Vec::new(),
    })
}

fn balance_factor(factor: Option<u32>, at: &At<'_>) -> Result<Option<std::num::NonZeroU32>, Fault> {
    let at = at.field("hash_balance_factor");
    let Some(factor) = factor.filter(|factor| *factor > 0) else { return Ok(None) };
    if factor < 100 {
        return Err(at.invalid("must be at least 100", "write a number from 100, such as 125"));
    }
    wire::non_zero(factor, &at).map(Some)
}

fn choices(count: Option<u32>, policy: &mut LeastRequest, at: &At<'_>) -> Result<(), Fault> {
    let Some(count) = count else { return Ok(()) };
    let at = at.field("choice_count");
    if count < 2 {
        return Err(at.invalid("must be at least 2", "write a number from 2"));
    }
    policy.choices = wire::non_zero(count, &at)?;
    Ok(())
}

fn bias(
    bias: Option<&core::RuntimeDouble>,
    policy: &mut LeastRequest,
    at: &At<'_>,
) -> Result<(), Fault> {
    let Some(bias) = bias else { return Ok(()) };
    if !bias.default_value.is_finite() || bias.default_value < 0.0 {
        let at = at.field("active_request_bias");
        return Err(at.field("default_value").invalid(
            "must be a number of zero or more",
            "write 1.0, or 0 to ignore open requests",
        ));
    }
    policy.active_request_bias = Keyed::new(bias.default_value, &bias.runtime_key);
    Ok(())
}

/// The parts of both messages of this name, which are the same.
struct SlowStartParts<'a> {
    window: Option<&'a prost_types::Duration>,
    aggression: Option<&'a core::RuntimeDouble>,
    weight_min: Option<f64>,
}

fn legacy_slow_start(
    config: Option<&pb::cluster::SlowStartConfig>,
    at: &At<'_>,
) -> Result<Option<SlowStart>, Fault> {
    let Some(config) = config else { return Ok(None) };
    let parts = SlowStartParts {
        window: config.slow_start_window.as_ref(),
        aggression: config.aggression.as_ref(),
        weight_min: config.min_weight_percent.as_ref().map(|percent| percent.value),
    };
    slow_start(&parts, &at.field("slow_start_config"))
}

fn slow_start(parts: &SlowStartParts<'_>, at: &At<'_>) -> Result<Option<SlowStart>, Fault> {
    let window = wire::optional(parts.window, &at.field("slow_start_window"))?;
    let Some(window) = window.filter(|window| !window.is_zero()) else { return Ok(None) };
    let mut value = SlowStart::new(window);
    if let Some(aggression) = parts.aggression {
        value.aggression = Keyed::new(aggression.default_value, &aggression.runtime_key);
        if !aggression.default_value.is_finite() || aggression.default_value <= 0.0 {
            let at = at.field("aggression");
            return Err(at
                .field("default_value")
                .invalid("must be a number above zero", "write 1.0, or more for a faster start"));
        }
    }
    if let Some(weight_min) = parts.weight_min {
        value.weight_min = wire::percent(weight_min, &at.field("min_weight_percent"))?;
    }
    Ok(Some(value))
}

fn ring_hash(
    (least, most): (Option<u64>, Option<u64>),
    function: HashFunction,
    hashing: ConsistentHashing,
    at: &At<'_>,
) -> Result<LbPolicy, Fault> {
    let (least, most) = (least.unwrap_or(1024), most.unwrap_or(RING_SIZE_MAX));
    let at_least = at.field("minimum_ring_size");
    if least > most || most > RING_SIZE_MAX {
        let help = format!("write at most {RING_SIZE_MAX}, and the minimum not above the maximum");
        return Err(at_least.invalid("does not fit below the maximum", help));
    }
    Ok(LbPolicy::RingHash(RingHash {
        ring_size_min: wire::non_zero_long(least, &at_least)?,
        ring_size_max: wire::non_zero_long(most, &at.field("maximum_ring_size"))?,
        function,
        hashing,
    }))
}

fn maglev(size: Option<u64>, hashing: ConsistentHashing, at: &At<'_>) -> Result<LbPolicy, Fault> {
    let at = at.field("table_size");
    let table_size: NonZeroU64 = wire::non_zero_long(size.unwrap_or(65_537), &at)?;
    if table_size.get() > 5_000_011 || !is_prime(table_size.get()) {
        return Err(
            at.invalid("must be a prime of at most 5000011", "write a prime, such as 65537")
        );
    }
    Ok(LbPolicy::Maglev(MaglevTable { table_size, hashing }))
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|d: &u64| d.saturating_mul(*d) <= number)
            .all(|d| !number.is_multiple_of(d))
}

fn subsets(cluster: &pb::Cluster, at: &At<'_>) -> Result<Option<SubsetSelection>, Fault> {
    use pb::cluster::lb_subset_config::LbSubsetFallbackPolicy;
    let Some(config) = &cluster.lb_subset_config else { return Ok(None) };
    let at = at.field("lb_subset_config");
    let fallback = &at.field("fallback_policy");
    let policy = wire::known::<LbSubsetFallbackPolicy>(config.fallback_policy, fallback)?;
    let selectors =
        wire::list(&config.subset_selectors, &at.field("subset_selectors"), |selector, at| {
            let parts = subset::Selector {
                keys: &selector.keys,
                fallback: selector.fallback_policy,
                fallback_keys: &selector.fallback_keys_subset,
                single_host: selector.single_host_per_subset,
            };
            subset::selector(&parts, at)
        })?;
    let selection = SubsetSelection {
        selectors,
        fallback: subset::fallback(policy.into()),
        default_subset: subset::default(config.default_subset.as_ref()),
        locality_weight_aware: config.locality_weight_aware,
        scale_locality_weight: config.scale_locality_weight,
        panic_mode_any: config.panic_mode_any,
        list_as_any: config.list_as_any,
        metadata_fallback: config.metadata_fallback_policy != 0,
        allow_redundant_keys: false,
    };
    // Without a selector and a fallback there is nothing to choose among, as in Envoy.
    let chooses = !selection.selectors.is_empty() || config.fallback_policy != 0;
    Ok(chooses.then_some(selection))
}
