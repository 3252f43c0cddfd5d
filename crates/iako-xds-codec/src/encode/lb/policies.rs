//! Lists of policies.

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::extensions::load_balancing_policies as list;
use iako_xds_api::envoy::r#type::metadata::v3 as metadata_pb;
use list::common::v3 as shared;

use super::super::{attempt, metadata, wire};
use super::{double, fallback, selector_fallback};
use iako_proxy_config::{
    ClientWeighted, Cluster, ConsistentHashing, HashFunction, LbPolicy, LeastRequest,
    LocalityBalancing, LocalityBasis, MetadataPath, OverrideHost, OverrideSource, RingHash,
    SlowStart, SubsetSelection, ZoneAware,
};

/// Everything of a cluster's balancing, as a list of one policy.
pub(super) fn list(value: &Cluster) -> pb::LoadBalancingPolicy {
    let mut policy = chooser(value);
    if value.localities == LocalityBalancing::Weighted && !says_localities(&value.lb) {
        policy =
            single(&list::wrr_locality::v3::WrrLocality { endpoint_picking_policy: Some(policy) });
    }
    if let Some(size) = value.random_subset {
        policy = single(&list::random_subsetting::v3::RandomSubsetting {
            subset_size: Some(size.get()),
            child_policy: Some(policy),
        });
    }
    if let Some(value) = &value.subsets {
        policy = single(&subset(value, policy));
    }
    if let Some(value) = &value.override_host {
        policy = single(&override_host(value, policy));
    }
    policy
}

fn single<M: prost::Message + prost::Name>(message: &M) -> pb::LoadBalancingPolicy {
    let name = M::full_name();
    let extension = wire::extension(&name, message);
    pb::LoadBalancingPolicy {
        policies: vec![pb::load_balancing_policy::Policy {
            typed_extension_config: Some(extension),
        }],
    }
}

/// Whether the policy's own message says how places share.
const fn says_localities(lb: &LbPolicy) -> bool {
    match lb {
        LbPolicy::RoundRobin(_)
        | LbPolicy::LeastRequest(_)
        | LbPolicy::Random
        | LbPolicy::RingHash(_)
        | LbPolicy::Maglev(_) => true,
        LbPolicy::ClientWeighted(_)
        | LbPolicy::PeakEwma(_)
        | LbPolicy::PickFirst(_)
        | LbPolicy::ClusterProvided => false,
    }
}

fn chooser(value: &Cluster) -> pb::LoadBalancingPolicy {
    let localities = &value.localities;
    let weighted = (*localities == LocalityBalancing::Weighted)
        .then_some(shared::locality_lb_config::LocalityWeightedLbConfig {});
    match &value.lb {
        LbPolicy::RoundRobin(slow) => single(&list::round_robin::v3::RoundRobin {
            slow_start_config: slow.as_ref().map(slow_start),
            locality_lb_config: locality(localities),
        }),
        LbPolicy::LeastRequest(policy) => single(&least_request(policy, localities)),
        LbPolicy::Random => {
            single(&list::random::v3::Random { locality_lb_config: locality(localities) })
        }
        LbPolicy::RingHash(ring) => single(&ring_hash(ring, weighted)),
        LbPolicy::Maglev(table) => single(&list::maglev::v3::Maglev {
            table_size: Some(table.table_size.get()),
            consistent_hashing_lb_config: hashing(&table.hashing),
            locality_weighted_lb_config: weighted,
        }),
        LbPolicy::ClientWeighted(policy) => single(&client_weighted(policy)),
        LbPolicy::PeakEwma(policy) => single(&list::peak_ewma::v3alpha::PeakEwma {
            decay_time: Some(wire::duration(policy.decay)),
            default_rtt: Some(wire::duration(policy.default_rtt)),
            ..Default::default()
        }),
        LbPolicy::PickFirst(policy) => {
            single(&list::pick_first::v3::PickFirst { shuffle_address_list: policy.shuffle })
        }
        LbPolicy::ClusterProvided => single(&list::cluster_provided::v3::ClusterProvided {}),
    }
}

fn slow_start(value: &SlowStart) -> shared::SlowStartConfig {
    shared::SlowStartConfig {
        slow_start_window: Some(wire::duration(value.window)),
        aggression: double(&value.aggression, 1.0),
        min_weight_percent: Some(wire::percent(value.weight_min)),
    }
}

fn locality(value: &LocalityBalancing) -> Option<shared::LocalityLbConfig> {
    use shared::locality_lb_config::{
        LocalityConfigSpecifier as Specifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
        zone_aware_lb_config::{ForceLocalZone, LocalityBasis as Basis},
    };
    let specifier = match value {
        LocalityBalancing::ZoneAware(zones) if *zones == ZoneAware::default() => return None,
        LocalityBalancing::Weighted => {
            Specifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {})
        }
        LocalityBalancing::ZoneAware(zones) => Specifier::ZoneAwareLbConfig(ZoneAwareLbConfig {
            routing_enabled: Some(wire::percent(zones.enabled)),
            min_cluster_size: Some(zones.cluster_size_min),
            fail_traffic_on_panic: zones.fail_on_panic,
            force_local_zone: zones
                .force_local
                .map(|min_size| ForceLocalZone { min_size: Some(min_size) }),
            locality_basis: match zones.basis {
                LocalityBasis::Count => Basis::HealthyHostsNum,
                LocalityBasis::Weight => Basis::HealthyHostsWeight,
            }
            .into(),
            ..Default::default()
        }),
    };
    Some(shared::LocalityLbConfig { locality_config_specifier: Some(specifier) })
}

fn least_request(
    value: &LeastRequest,
    localities: &LocalityBalancing,
) -> list::least_request::v3::LeastRequest {
    use list::least_request::v3::least_request::SelectionMethod;
    let method =
        if value.full_scan { SelectionMethod::FullScan } else { SelectionMethod::NChoices };
    list::least_request::v3::LeastRequest {
        choice_count: Some(value.choices.get()),
        active_request_bias: double(&value.active_request_bias, 1.0),
        slow_start_config: value.slow_start.as_ref().map(slow_start),
        locality_lb_config: locality(localities),
        selection_method: method.into(),
        ..Default::default()
    }
}

fn hashing(value: &ConsistentHashing) -> Option<shared::ConsistentHashingLbConfig> {
    (*value != ConsistentHashing::default()).then(|| shared::ConsistentHashingLbConfig {
        use_hostname_for_hashing: value.use_hostname,
        hash_balance_factor: value.balance_factor.map(std::num::NonZeroU32::get),
        hash_policy: value.policies.iter().map(attempt::hash_policy).collect(),
    })
}

fn ring_hash(
    value: &RingHash,
    weighted: Option<shared::locality_lb_config::LocalityWeightedLbConfig>,
) -> list::ring_hash::v3::RingHash {
    use list::ring_hash::v3::ring_hash::HashFunction as Function;
    let function = match value.function {
        HashFunction::XxHash => Function::XxHash,
        HashFunction::Murmur2 => Function::MurmurHash2,
    };
    list::ring_hash::v3::RingHash {
        hash_function: function.into(),
        minimum_ring_size: Some(value.ring_size_min.get()),
        maximum_ring_size: Some(value.ring_size_max.get()),
        consistent_hashing_lb_config: hashing(&value.hashing),
        locality_weighted_lb_config: weighted,
        ..Default::default()
    }
}

fn client_weighted(
    value: &ClientWeighted,
) -> list::client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin {
    #[expect(clippy::cast_possible_truncation, reason = "it was read from this type")]
    let penalty = value.error_penalty as f32;
    list::client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin {
        blackout_period: Some(wire::duration(value.blackout)),
        weight_expiration_period: Some(wire::duration(value.expiration)),
        weight_update_period: Some(wire::duration(value.update_period)),
        error_utilization_penalty: Some(penalty),
        metric_names_for_computing_utilization: value.metrics.clone(),
        slow_start_config: value.slow_start.as_ref().map(slow_start),
        ..Default::default()
    }
}

fn subset(value: &SubsetSelection, inner: pb::LoadBalancingPolicy) -> list::subset::v3::Subset {
    let selectors = value.selectors.iter().map(|selector| {
        let (fallback_policy, fallback_keys_subset) = selector_fallback(selector);
        list::subset::v3::subset::LbSubsetSelector {
            keys: selector.keys.clone(),
            single_host_per_subset: selector.single_host,
            fallback_policy,
            fallback_keys_subset,
        }
    });
    list::subset::v3::Subset {
        fallback_policy: fallback(value.fallback),
        default_subset: (!value.default_subset.is_empty())
            .then(|| metadata::texts(&value.default_subset)),
        subset_selectors: selectors.collect(),
        allow_redundant_keys: value.allow_redundant_keys,
        locality_weight_aware: value.locality_weight_aware,
        scale_locality_weight: value.scale_locality_weight,
        panic_mode_any: value.panic_mode_any,
        list_as_any: value.list_as_any,
        metadata_fallback_policy: value.metadata_fallback.into(),
        subset_lb_policy: Some(inner),
    }
}

fn override_host(
    value: &OverrideHost,
    inner: pb::LoadBalancingPolicy,
) -> list::override_host::v3::OverrideHost {
    use list::override_host::v3::override_host::OverrideHostSource;
    let sources = value.sources.iter().map(|source| match source {
        OverrideSource::Header(name) => {
            OverrideHostSource { header: name.as_str().to_owned(), metadata: None }
        }
        OverrideSource::Metadata(path) => {
            OverrideHostSource { header: String::new(), metadata: Some(metadata_key(path)) }
        }
    });
    list::override_host::v3::OverrideHost {
        override_host_sources: sources.collect(),
        selected_host_key: value.selected_key.as_ref().map(metadata_key),
        fallback_policy: Some(inner),
    }
}

/// A place in metadata.
pub(in crate::encode) fn metadata_key(value: &MetadataPath) -> metadata_pb::MetadataKey {
    use metadata_pb::metadata_key::{PathSegment, path_segment::Segment};
    let segment = |key: &String| PathSegment { segment: Some(Segment::Key(key.clone())) };
    metadata_pb::MetadataKey {
        key: value.filter.clone(),
        path: value.path.iter().map(segment).collect(),
    }
}
