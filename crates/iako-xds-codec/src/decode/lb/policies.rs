//! Lists of policies, of which the first that we have is taken.

use std::time::Duration;

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::extensions::load_balancing_policies as list;
use iako_xds_api::envoy::r#type::metadata::v3 as metadata_pb;
use list::common::v3 as shared;
use prost::Name as _;
use prost_types::Any;

use super::super::{attempt, wire};
use super::{SlowStartParts, subset};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    ClientWeighted, Cluster, ConsistentHashing, HashFunction, LbPolicy, LeastRequest,
    LocalityBalancing, LocalityBasis, MetadataPath, OverrideHost, OverrideSource, PeakEwma,
    PickFirst, SlowStart, SubsetSelection, ZoneAware,
};

/// Takes the first policy of the list that we have, as Envoy does.
pub(super) fn apply(
    policy: &pb::LoadBalancingPolicy,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<(), Fault> {
    let at_list = at.field("policies");
    for (index, entry) in policy.policies.iter().enumerate() {
        let at = at_list.index(index);
        let at = at.field("typed_extension_config");
        let at = at.field("typed_config");
        let Some(any) =
            entry.typed_extension_config.as_ref().and_then(|config| config.typed_config.as_ref())
        else {
            continue;
        };
        if chooser(any, value, &at)? || around(any, value, &at)? {
            return Ok(());
        }
        at.warn(format!(
            "`{}` is not known; the next policy of the list counts",
            pool::full_name(&any.type_url)
        ));
    }
    Err(at_list.invalid(
        "names no policy that is supported",
        "add round_robin, least_request, random, ring_hash or maglev",
    ))
}

/// Policies that choose instances themselves; false for others.
fn chooser(any: &Any, value: &mut Cluster, at: &At<'_>) -> Result<bool, Fault> {
    let name = pool::full_name(&any.type_url);
    value.lb = if name == list::round_robin::v3::RoundRobin::full_name() {
        let config: list::round_robin::v3::RoundRobin = wire::unpack(any, at)?;
        localities(config.locality_lb_config.as_ref(), value, at)?;
        LbPolicy::RoundRobin(slow_start(config.slow_start_config.as_ref(), at)?)
    } else if name == list::random::v3::Random::full_name() {
        let config: list::random::v3::Random = wire::unpack(any, at)?;
        localities(config.locality_lb_config.as_ref(), value, at)?;
        LbPolicy::Random
    } else if name == list::cluster_provided::v3::ClusterProvided::full_name() {
        LbPolicy::ClusterProvided
    } else if name == list::least_request::v3::LeastRequest::full_name() {
        least_request(&wire::unpack(any, at)?, value, at)?
    } else if name == list::maglev::v3::Maglev::full_name() {
        let config: list::maglev::v3::Maglev = wire::unpack(any, at)?;
        weighted(config.locality_weighted_lb_config.as_ref(), value);
        let hashing = hashing(config.consistent_hashing_lb_config.as_ref(), at)?;
        super::maglev(config.table_size, hashing, at)?
    } else if name == list::ring_hash::v3::RingHash::full_name() {
        ring_hash(&wire::unpack(any, at)?, value, at)?
    } else if name
        == list::client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin::full_name()
    {
        LbPolicy::ClientWeighted(Box::new(client_weighted(&wire::unpack(any, at)?, at)?))
    } else if name == list::peak_ewma::v3alpha::PeakEwma::full_name() {
        LbPolicy::PeakEwma(peak_ewma(&wire::unpack(any, at)?, at)?)
    } else if name == list::pick_first::v3::PickFirst::full_name() {
        let config: list::pick_first::v3::PickFirst = wire::unpack(any, at)?;
        LbPolicy::PickFirst(PickFirst { shuffle: config.shuffle_address_list })
    } else {
        return Ok(false);
    };
    Ok(true)
}

/// Policies that change what another one chooses among; false for others.
fn around(any: &Any, value: &mut Cluster, at: &At<'_>) -> Result<bool, Fault> {
    let name = pool::full_name(&any.type_url);
    if name == list::wrr_locality::v3::WrrLocality::full_name() {
        let config: list::wrr_locality::v3::WrrLocality = wire::unpack(any, at)?;
        inner(
            config.endpoint_picking_policy.as_ref(),
            value,
            &at.field("endpoint_picking_policy"),
        )?;
        value.localities = LocalityBalancing::Weighted;
    } else if name == list::subset::v3::Subset::full_name() {
        let config: list::subset::v3::Subset = wire::unpack(any, at)?;
        once(value.subsets.as_ref(), at)?;
        value.subsets = Some(subsets(&config, at)?);
        inner(config.subset_lb_policy.as_ref(), value, &at.field("subset_lb_policy"))?;
    } else if name == list::override_host::v3::OverrideHost::full_name() {
        let config: list::override_host::v3::OverrideHost = wire::unpack(any, at)?;
        once(value.override_host.as_ref(), at)?;
        value.override_host = Some(override_host(&config, at)?);
        inner(config.fallback_policy.as_ref(), value, &at.field("fallback_policy"))?;
    } else if name == list::random_subsetting::v3::RandomSubsetting::full_name() {
        let config: list::random_subsetting::v3::RandomSubsetting = wire::unpack(any, at)?;
        once(value.random_subset.as_ref(), at)?;
        let at_size = at.field("subset_size");
        let size = config
            .subset_size
            .ok_or_else(|| at_size.missing("write how many instances this proxy uses"))?;
        value.random_subset = Some(wire::non_zero(size, &at_size)?);
        inner(config.child_policy.as_ref(), value, &at.field("child_policy"))?;
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn inner(
    policy: Option<&pb::LoadBalancingPolicy>,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<(), Fault> {
    let policy = policy.ok_or_else(|| at.missing("write the policy that chooses instances"))?;
    apply(policy, value, at)
}

fn once<T>(known: Option<&T>, at: &At<'_>) -> Result<(), Fault> {
    if known.is_some() {
        return Err(at.invalid("stands inside of itself", "write this policy once"));
    }
    Ok(())
}

fn weighted(
    config: Option<&shared::locality_lb_config::LocalityWeightedLbConfig>,
    value: &mut Cluster,
) {
    if config.is_some() {
        value.localities = LocalityBalancing::Weighted;
    }
}

fn localities(
    config: Option<&shared::LocalityLbConfig>,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<(), Fault> {
    use shared::locality_lb_config::{
        LocalityConfigSpecifier, zone_aware_lb_config::LocalityBasis as Basis,
    };
    let Some(config) = config.and_then(|config| config.locality_config_specifier.as_ref()) else {
        return Ok(());
    };
    let at = at.field("locality_lb_config");
    let config = match config {
        LocalityConfigSpecifier::LocalityWeightedLbConfig(_) => {
            value.localities = LocalityBalancing::Weighted;
            return Ok(());
        }
        LocalityConfigSpecifier::ZoneAwareLbConfig(config) => config,
    };
    let at = at.field("zone_aware_lb_config");
    let mut zones =
        ZoneAware { fail_on_panic: config.fail_traffic_on_panic, ..ZoneAware::default() };
    if let Some(enabled) = &config.routing_enabled {
        zones.enabled = wire::percent(enabled.value, &at.field("routing_enabled"))?;
    }
    zones.cluster_size_min = config.min_cluster_size.unwrap_or(zones.cluster_size_min);
    zones.force_local = match &config.force_local_zone {
        Some(force) => Some(force.min_size.unwrap_or(1)),
        None => config.force_locality_direct_routing.then_some(1),
    };
    zones.basis = match wire::known::<Basis>(config.locality_basis, &at.field("locality_basis"))? {
        Basis::HealthyHostsNum => LocalityBasis::Count,
        Basis::HealthyHostsWeight => LocalityBasis::Weight,
    };
    value.localities = LocalityBalancing::ZoneAware(zones);
    Ok(())
}

fn slow_start(
    config: Option<&shared::SlowStartConfig>,
    at: &At<'_>,
) -> Result<Option<SlowStart>, Fault> {
    let Some(config) = config else { return Ok(None) };
    let parts = SlowStartParts {
        window: config.slow_start_window.as_ref(),
        aggression: config.aggression.as_ref(),
        weight_min: config.min_weight_percent.as_ref().map(|percent| percent.value),
    };
    super::slow_start(&parts, &at.field("slow_start_config"))
}

fn least_request(
    config: &list::least_request::v3::LeastRequest,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<LbPolicy, Fault> {
    use list::least_request::v3::least_request::SelectionMethod;
    let mut policy = LeastRequest::default();
    super::choices(config.choice_count, &mut policy, at)?;
    super::bias(config.active_request_bias.as_ref(), &mut policy, at)?;
    policy.slow_start = slow_start(config.slow_start_config.as_ref(), at)?;
    localities(config.locality_lb_config.as_ref(), value, at)?;
    let at_method = at.field("selection_method");
    let method = wire::known::<SelectionMethod>(config.selection_method, &at_method)?;
    policy.full_scan = method == SelectionMethod::FullScan || config.enable_full_scan == Some(true);
    Ok(LbPolicy::LeastRequest(policy))
}

fn hashing(
    config: Option<&shared::ConsistentHashingLbConfig>,
    at: &At<'_>,
) -> Result<ConsistentHashing, Fault> {
    let Some(config) = config else { return Ok(ConsistentHashing::default()) };
    let at = at.field("consistent_hashing_lb_config");
    Ok(ConsistentHashing {
        use_hostname: config.use_hostname_for_hashing,
        balance_factor: super::balance_factor(config.hash_balance_factor, &at)?,
        policies: wire::list(&config.hash_policy, &at.field("hash_policy"), attempt::hash_policy)?,
    })
}

fn ring_hash(
    config: &list::ring_hash::v3::RingHash,
    value: &mut Cluster,
    at: &At<'_>,
) -> Result<LbPolicy, Fault> {
    use list::ring_hash::v3::ring_hash::HashFunction as Function;
    let at_function = at.field("hash_function");
    let function = match wire::known::<Function>(config.hash_function, &at_function)? {
        Function::DefaultHash | Function::XxHash => HashFunction::XxHash,
        Function::MurmurHash2 => HashFunction::Murmur2,
    };
    weighted(config.locality_weighted_lb_config.as_ref(), value);
    let hashing = match &config.consistent_hashing_lb_config {
        Some(common) => hashing(Some(common), at)?,
        None => ConsistentHashing {
            use_hostname: config.use_hostname_for_hashing,
            balance_factor: super::balance_factor(config.hash_balance_factor, at)?,
            policies: Vec::new(),
        },
    };
    let sizes = (config.minimum_ring_size, config.maximum_ring_size);
    super::ring_hash(sizes, function, hashing, at)
}

fn client_weighted(
    config: &list::client_side_weighted_round_robin::v3::ClientSideWeightedRoundRobin,
    at: &At<'_>,
) -> Result<ClientWeighted, Fault> {
    let default = ClientWeighted::default();
    let blackout = at.field("blackout_period");
    let expiration = at.field("weight_expiration_period");
    let update = at.field("weight_update_period");
    let period =
        wire::duration_or(config.weight_update_period.as_ref(), default.update_period, &update)?;
    let error_penalty = config.error_utilization_penalty.map_or(default.error_penalty, f64::from);
    if !error_penalty.is_finite() || error_penalty < 0.0 {
        let at = at.field("error_utilization_penalty");
        return Err(at.invalid("must be a number of zero or more", "write 1.0, or 0"));
    }
    Ok(ClientWeighted {
        blackout: wire::duration_or(config.blackout_period.as_ref(), default.blackout, &blackout)?,
        expiration: wire::duration_or(
            config.weight_expiration_period.as_ref(),
            default.expiration,
            &expiration,
        )?,
        // More often would cost more than it tells.
        update_period: period.max(Duration::from_millis(100)),
        error_penalty,
        metrics: config.metric_names_for_computing_utilization.clone(),
        slow_start: slow_start(config.slow_start_config.as_ref(), at)?,
    })
}

fn peak_ewma(config: &list::peak_ewma::v3alpha::PeakEwma, at: &At<'_>) -> Result<PeakEwma, Fault> {
    let default = PeakEwma::default();
    let (at_decay, at_rtt) = (at.field("decay_time"), at.field("default_rtt"));
    let decay = wire::duration_or(config.decay_time.as_ref(), default.decay, &at_decay)?;
    let rtt = wire::duration_or(config.default_rtt.as_ref(), default.default_rtt, &at_rtt)?;
    Ok(PeakEwma {
        decay: wire::positive(decay, &at_decay)?,
        default_rtt: wire::positive(rtt, &at_rtt)?,
    })
}

fn subsets(config: &list::subset::v3::Subset, at: &At<'_>) -> Result<SubsetSelection, Fault> {
    use list::subset::v3::subset::LbSubsetFallbackPolicy as Policy;
    let fallback = wire::known::<Policy>(config.fallback_policy, &at.field("fallback_policy"))?;
    let at_selectors = at.field("subset_selectors");
    let selectors = wire::list(&config.subset_selectors, &at_selectors, |selector, at| {
        let parts = subset::Selector {
            keys: &selector.keys,
            fallback: selector.fallback_policy,
            fallback_keys: &selector.fallback_keys_subset,
            single_host: selector.single_host_per_subset,
        };
        subset::selector(&parts, at)
    })?;
    Ok(SubsetSelection {
        selectors,
        fallback: subset::fallback(fallback.into()),
        default_subset: subset::default(config.default_subset.as_ref()),
        locality_weight_aware: config.locality_weight_aware,
        scale_locality_weight: config.scale_locality_weight,
        panic_mode_any: config.panic_mode_any,
        list_as_any: config.list_as_any,
        metadata_fallback: config.metadata_fallback_policy != 0,
        allow_redundant_keys: config.allow_redundant_keys,
    })
}

fn override_host(
    config: &list::override_host::v3::OverrideHost,
    at: &At<'_>,
) -> Result<OverrideHost, Fault> {
    let at_sources = at.field("override_host_sources");
    if config.override_host_sources.is_empty() {
        return Err(at_sources.missing("name a header or metadata"));
    }
    let sources = wire::list(&config.override_host_sources, &at_sources, |source, at| {
        match (&source.metadata, source.header.as_str()) {
            (Some(key), "") => {
                metadata_path(key, &at.field("metadata")).map(OverrideSource::Metadata)
            }
            (None, header) if !header.is_empty() => {
                wire::header_name(header, &at.field("header")).map(OverrideSource::Header)
            }
            _ => Err(at.invalid("names not exactly one source", "write `header` or `metadata`")),
        }
    })?;
    let at_key = at.field("selected_host_key");
    let selected_key =
        config.selected_host_key.as_ref().map(|key| metadata_path(key, &at_key)).transpose()?;
    Ok(OverrideHost { sources, selected_key })
}

/// A place in metadata.
pub(in crate::decode) fn metadata_path(
    key: &metadata_pb::MetadataKey,
    at: &At<'_>,
) -> Result<MetadataPath, Fault> {
    use metadata_pb::metadata_key::path_segment::Segment;
    if key.key.is_empty() {
        return Err(at.field("key").missing("name the filter whose metadata it is"));
    }
    let at_path = at.field("path");
    if key.path.is_empty() {
        return Err(at_path.missing("name the key"));
    }
    let path = wire::list(&key.path, &at_path, |segment, at| match &segment.segment {
        Some(Segment::Key(key)) if !key.is_empty() => Ok(key.clone()),
        _ => Err(at.invalid("is not a key", "write `key`")),
    })?;
    Ok(MetadataPath { filter: key.key.clone(), path })
}
