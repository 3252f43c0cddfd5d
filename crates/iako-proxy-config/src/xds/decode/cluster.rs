//! Upstreams.

use std::num::NonZeroU64;
use std::time::Duration;

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::load_balancing_policies as policies;
use prost::Name as _;

use super::endpoint::Names;
use super::{cluster_http, cluster_limits, endpoint, metadata, transport, wire};
use crate::xds::pool;
use crate::xds::problem::{At, Fault};
use crate::{
    Cluster, Discovery, DnsFamily, DnsOptions, EndpointSet, HashFunction, LbPolicy, LeastRequest,
    MaglevTable, RingHash, SubsetFallback, SubsetSelection, TcpKeepalive, TransportMatch,
};

/// Envoy's default and limit of a ring's size.
const RING_SIZE_MAX: u64 = 8_388_608;
const METADATA_EXCHANGE: &str = "envoy.tcp.metadataexchange.config.MetadataExchange";

pub(super) fn cluster(cluster: &pb::Cluster, at: &At<'_>) -> Result<Cluster, Fault> {
    if cluster.name.is_empty() {
        return Err(at.field("name").missing("write the name that routes refer to"));
    }
    let mut value = Cluster::new(cluster.name.clone(), discovery(cluster, at)?);
    value.alt_stat_name.clone_from(&cluster.alt_stat_name);
    let at_connect = at.field("connect_timeout");
    let connect =
        wire::duration_or(cluster.connect_timeout.as_ref(), value.connect_timeout, &at_connect)?;
    value.connect_timeout = wire::positive(connect, &at_connect)?;
    value.lb = lb_policy(cluster, at)?;
    value.subsets = subsets(cluster, at)?;
    common_lb(cluster, &mut value, at)?;
    value.circuit_breakers =
        cluster_limits::circuit_breakers(cluster.circuit_breakers.as_ref(), at)?;
    value.outlier_detection =
        cluster_limits::outlier_detection(cluster.outlier_detection.as_ref(), at)?;
    value.transport =
        transport::upstream(cluster.transport_socket.as_ref(), &at.field("transport_socket"))?;
    value.transport_matches = wire::list(
        &cluster.transport_socket_matches,
        &at.field("transport_socket_matches"),
        transport_match,
    )?;
    cluster_http::apply(cluster, &mut value, at)?;
    value.tcp_keepalive = keepalive(cluster, at)?;
    value.bind_address = bind_address(cluster, at)?;
    value.dns = dns(cluster, at)?;
    value.metadata = metadata::cluster(cluster.metadata.as_ref());
    wire::list(&cluster.filters, &at.field("filters"), filter)?;
    Ok(value)
}

fn discovery(cluster: &pb::Cluster, at: &At<'_>) -> Result<Discovery, Fault> {
    use pb::cluster::{ClusterDiscoveryType, DiscoveryType};
    let at_type = at.field("type");
    let kind = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => wire::known::<DiscoveryType>(*kind, &at_type)?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            let problem = format!("the cluster type `{}` is not supported", custom.name);
            return Err(at
                .field("cluster_type")
                .invalid(problem, "use one of the values of `type`"));
        }
        None => DiscoveryType::Static,
    };
    Ok(match kind {
        DiscoveryType::Static => Discovery::Static(instances(cluster, Names::Refused, at)?),
        DiscoveryType::StrictDns => Discovery::StrictDns(instances(cluster, Names::Allowed, at)?),
        DiscoveryType::LogicalDns => {
            let set = instances(cluster, Names::Allowed, at)?;
            if set.endpoints().count() != 1 {
                let help = "write one endpoint, or use STRICT_DNS";
                return Err(at
                    .field("load_assignment")
                    .invalid("must have exactly one endpoint", help));
            }
            Discovery::LogicalDns(set)
        }
        DiscoveryType::Eds => {
            let at = at.field("eds_cluster_config");
            let eds = cluster
                .eds_cluster_config
                .as_ref()
                .ok_or_else(|| at.missing("write `eds_config: {ads: {}}`"))?;
            if let Some(source) = &eds.eds_config {
                transport::config_source(source, &at.field("eds_config"))?;
            }
            let name = if eds.service_name.is_empty() { &cluster.name } else { &eds.service_name };
            Discovery::Eds(name.clone())
        }
        DiscoveryType::OriginalDst => {
            Discovery::OriginalDst { port_override: port_override(cluster, at)? }
        }
    })
}

fn port_override(cluster: &pb::Cluster, at: &At<'_>) -> Result<Option<u16>, Fault> {
    let Some(pb::cluster::LbConfig::OriginalDstLbConfig(config)) = &cluster.lb_config else {
        return Ok(None);
    };
    let at = at.field("original_dst_lb_config");
    let at = at.field("upstream_port_override");
    config.upstream_port_override.map(|port| wire::port(port, &at)).transpose()
}

fn instances(cluster: &pb::Cluster, names: Names, at: &At<'_>) -> Result<EndpointSet, Fault> {
    let at = at.field("load_assignment");
    let mut set = match &cluster.load_assignment {
        Some(assignment) => endpoint::endpoint_set(assignment, names, &at)?,
        None => EndpointSet::new(cluster.name.clone(), Vec::new()),
    };
    if set.name.is_empty() {
        set.name.clone_from(&cluster.name);
    }
    Ok(set)
}

fn lb_policy(cluster: &pb::Cluster, at: &At<'_>) -> Result<LbPolicy, Fault> {
    use pb::cluster::{LbConfig, LbPolicy as Kind};
    if let Some(policy) = &cluster.load_balancing_policy {
        return listed_policy(policy, &at.field("load_balancing_policy"));
    }
    let at_policy = at.field("lb_policy");
    Ok(match wire::known::<Kind>(cluster.lb_policy, &at_policy)? {
        Kind::RoundRobin => LbPolicy::RoundRobin,
        Kind::Random => LbPolicy::Random,
        Kind::ClusterProvided => LbPolicy::ClusterProvided,
        Kind::LeastRequest => {
            let mut choices = None;
            if let Some(LbConfig::LeastRequestLbConfig(config)) = &cluster.lb_config {
                choices = config.choice_count;
            }
            least_request(choices, &at.field("least_request_lb_config"))?
        }
        Kind::RingHash => match &cluster.lb_config {
            Some(LbConfig::RingHashLbConfig(config)) => {
                use pb::cluster::ring_hash_lb_config::HashFunction as Function;
                let at = at.field("ring_hash_lb_config");
                let at_function = at.field("hash_function");
                let function = match wire::known::<Function>(config.hash_function, &at_function)? {
                    Function::XxHash => HashFunction::XxHash,
                    Function::MurmurHash2 => HashFunction::Murmur2,
                };
                ring_hash(config.minimum_ring_size, config.maximum_ring_size, function, &at)?
            }
            _ => ring_hash(None, None, HashFunction::XxHash, at)?,
        },
        Kind::Maglev => match &cluster.lb_config {
            Some(LbConfig::MaglevLbConfig(config)) => {
                maglev(config.table_size, &at.field("maglev_lb_config"))?
            }
            _ => maglev(None, at)?,
        },
        Kind::LoadBalancingPolicyConfig => {
            return Err(at
                .field("load_balancing_policy")
                .missing("write a policy there, or use another `lb_policy`"));
        }
    })
}

fn least_request(choices: Option<u32>, at: &At<'_>) -> Result<LbPolicy, Fault> {
    let mut policy = LeastRequest::default();
    if let Some(choices) = choices {
        if choices < 2 {
            return Err(at
                .field("choice_count")
                .invalid("must be at least 2", "write a number from 2"));
        }
        policy.choices = wire::non_zero(choices, at)?;
    }
    Ok(LbPolicy::LeastRequest(policy))
}

fn ring_hash(
    least: Option<u64>,
    most: Option<u64>,
    function: HashFunction,
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
    }))
}

fn maglev(size: Option<u64>, at: &At<'_>) -> Result<LbPolicy, Fault> {
    let at = at.field("table_size");
    let table_size: NonZeroU64 = wire::non_zero_long(size.unwrap_or(65_537), &at)?;
    if table_size.get() > 5_000_011 || !is_prime(table_size.get()) {
        return Err(
            at.invalid("must be a prime of at most 5000011", "write a prime, such as 65537")
        );
    }
    Ok(LbPolicy::Maglev(MaglevTable { table_size }))
}

fn is_prime(number: u64) -> bool {
    number > 1
        && (2..)
            .take_while(|d: &u64| d.saturating_mul(*d) <= number)
            .all(|d| !number.is_multiple_of(d))
}

/// The first policy of the list that we have, as in Envoy.
fn listed_policy(policy: &pb::LoadBalancingPolicy, at: &At<'_>) -> Result<LbPolicy, Fault> {
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
        if let Some(known) = typed_policy(any, &at)? {
            return Ok(known);
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

fn typed_policy(any: &prost_types::Any, at: &At<'_>) -> Result<Option<LbPolicy>, Fault> {
    use policies::{
        cluster_provided::v3::ClusterProvided, least_request::v3::LeastRequest as Least,
        maglev::v3::Maglev, random::v3::Random, ring_hash::v3 as ring, round_robin::v3::RoundRobin,
    };
    let name = pool::full_name(&any.type_url);
    Ok(Some(if name == RoundRobin::full_name() {
        LbPolicy::RoundRobin
    } else if name == Random::full_name() {
        LbPolicy::Random
    } else if name == ClusterProvided::full_name() {
        LbPolicy::ClusterProvided
    } else if name == Least::full_name() {
        least_request(wire::unpack::<Least>(any, at)?.choice_count, at)?
    } else if name == Maglev::full_name() {
        maglev(wire::unpack::<Maglev>(any, at)?.table_size, at)?
    } else if name == ring::RingHash::full_name() {
        let config: ring::RingHash = wire::unpack(any, at)?;
        use ring::ring_hash::HashFunction as Function;
        let function =
            match wire::known::<Function>(config.hash_function, &at.field("hash_function"))? {
                Function::DefaultHash | Function::XxHash => HashFunction::XxHash,
                Function::MurmurHash2 => HashFunction::Murmur2,
            };
        ring_hash(config.minimum_ring_size, config.maximum_ring_size, function, at)?
    } else {
        return Ok(None);
    }))
}

fn subsets(cluster: &pb::Cluster, at: &At<'_>) -> Result<Option<SubsetSelection>, Fault> {
    use pb::cluster::lb_subset_config::LbSubsetFallbackPolicy as Fallback;
    let Some(config) = &cluster.lb_subset_config else { return Ok(None) };
    let at = at.field("lb_subset_config");
    let fallback =
        match wire::known::<Fallback>(config.fallback_policy, &at.field("fallback_policy"))? {
            Fallback::NoFallback => SubsetFallback::None,
            Fallback::AnyEndpoint => SubsetFallback::AnyEndpoint,
            Fallback::DefaultSubset => SubsetFallback::Default(
                config.default_subset.as_ref().map(metadata::texts).unwrap_or_default(),
            ),
        };
    let selectors = config
        .subset_selectors
        .iter()
        .map(|selector| {
            let mut keys = selector.keys.clone();
            keys.sort_unstable();
            keys.dedup();
            keys
        })
        .collect();
    Ok(Some(SubsetSelection { selectors, fallback }))
}

fn common_lb(cluster: &pb::Cluster, value: &mut Cluster, at: &At<'_>) -> Result<(), Fault> {
    use pb::cluster::common_lb_config::LocalityConfigSpecifier;
    let Some(common) = &cluster.common_lb_config else { return Ok(()) };
    let at = at.field("common_lb_config");
    if let Some(threshold) = &common.healthy_panic_threshold {
        value.panic_threshold =
            wire::percent(threshold.value, &at.field("healthy_panic_threshold"))?;
    }
    value.locality_weighted = matches!(
        common.locality_config_specifier,
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))
    );
    Ok(())
}

fn transport_match(
    entry: &pb::cluster::TransportSocketMatch,
    at: &At<'_>,
) -> Result<TransportMatch, Fault> {
    Ok(TransportMatch {
        name: entry.name.clone(),
        criteria: entry.r#match.as_ref().map(metadata::texts).unwrap_or_default(),
        transport: transport::upstream(
            entry.transport_socket.as_ref(),
            &at.field("transport_socket"),
        )?,
    })
}

fn keepalive(cluster: &pb::Cluster, at: &At<'_>) -> Result<Option<TcpKeepalive>, Fault> {
    let options = cluster.upstream_connection_options.as_ref();
    let Some(keepalive) = options.and_then(|options| options.tcp_keepalive.as_ref()) else {
        return Ok(None);
    };
    let at = at.field("upstream_connection_options");
    let at = at.field("tcp_keepalive");
    let seconds = |value: Option<u32>| {
        value.filter(|value| *value > 0).map(|value| Duration::from_secs(value.into()))
    };
    Ok(Some(TcpKeepalive {
        probes: keepalive
            .keepalive_probes
            .filter(|probes| *probes > 0)
            .map(|probes| wire::non_zero(probes, &at.field("keepalive_probes")))
            .transpose()?,
        time: seconds(keepalive.keepalive_time),
        interval: seconds(keepalive.keepalive_interval),
    }))
}

fn bind_address(cluster: &pb::Cluster, at: &At<'_>) -> Result<Option<std::net::SocketAddr>, Fault> {
    let address: Option<&core::SocketAddress> =
        cluster.upstream_bind_config.as_ref().and_then(|bind| bind.source_address.as_ref());
    let at = at.field("upstream_bind_config");
    address.map(|address| wire::ip_and_port(address, &at.field("source_address"))).transpose()
}

fn dns(cluster: &pb::Cluster, at: &At<'_>) -> Result<DnsOptions, Fault> {
    use pb::cluster::DnsLookupFamily;
    let default = DnsOptions::default();
    let at_rate = at.field("dns_refresh_rate");
    let rate =
        wire::duration_or(cluster.dns_refresh_rate.as_ref(), default.refresh_rate, &at_rate)?;
    let at_family = at.field("dns_lookup_family");
    Ok(DnsOptions {
        refresh_rate: wire::positive(rate, &at_rate)?,
        respect_ttl: cluster.respect_dns_ttl,
        family: match wire::known::<DnsLookupFamily>(cluster.dns_lookup_family, &at_family)? {
            DnsLookupFamily::Auto => DnsFamily::Auto,
            DnsLookupFamily::V4Only => DnsFamily::V4Only,
            DnsLookupFamily::V6Only => DnsFamily::V6Only,
            DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
            DnsLookupFamily::All => DnsFamily::All,
        },
    })
}

/// Filters on the way to an upstream. Istio's tells the peer who we are, for telemetry only.
fn filter(filter: &pb::Filter, at: &At<'_>) -> Result<(), Fault> {
    let any = filter.typed_config.as_ref();
    let name = any.map(super::typed_struct::type_name).unwrap_or_default();
    if name == METADATA_EXCHANGE {
        at.warn(
            "has no effect: TCP upstreams are not told who we are, which only telemetry misses",
        );
        return Ok(());
    }
    let problem = format!("the upstream filter `{}` ({name}) is not supported", filter.name);
    Err(at.invalid(problem, "remove the filter"))
}
