//! Where the instances of a cluster are found.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::clusters::{
    aggregate::v3::ClusterConfig as Aggregate, common::dns::v3::DnsLookupFamily as Family,
    dns::v3 as dns_pb, dynamic_forward_proxy::v3 as forward_pb,
    original_dst::v3::OriginalDstCluster,
};
use iako_xds_api::envoy::extensions::common::dynamic_forward_proxy::v3::DnsCacheConfig;
use iako_xds_api::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as filter_pb;
use iako_xds_api::envoy::extensions::network::dns_resolver::{
    cares::v3::CaresDnsResolverConfig, getaddrinfo::v3::GetAddrInfoDnsResolverConfig,
};
use prost::Name as _;
use prost_types::Any;

use super::cluster::instances;
use super::endpoint::Names;
use super::{lb, source, wire};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    Discovery, DnsCache, DnsFailureRefresh, DnsFamily, DnsOptions, DynamicForward, ForwardHost,
};

/// The header that names the destination where the configuration names no other.
const ORIGINAL_DST_HEADER: &str = "x-envoy-original-dst-host";

pub(super) fn discovery(
    cluster: &pb::Cluster,
    at: &At<'_>,
) -> Result<(Discovery, DnsOptions), Fault> {
    use pb::cluster::{ClusterDiscoveryType, DiscoveryType};
    let at_type = at.field("type");
    let kind = match &cluster.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(kind)) => wire::known::<DiscoveryType>(*kind, &at_type)?,
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            return extension(cluster, custom, at);
        }
        None => DiscoveryType::Static,
    };
    let dns = dns(cluster, at)?;
    let discovery = match kind {
        DiscoveryType::Static => Discovery::Static(instances(cluster, Names::Refused, at)?),
        DiscoveryType::StrictDns => Discovery::StrictDns(instances(cluster, Names::Allowed, at)?),
        DiscoveryType::LogicalDns => logical(cluster, at)?,
        DiscoveryType::Eds => eds(cluster, at)?,
        DiscoveryType::OriginalDst => original(cluster, at)?,
    };
    Ok((discovery, dns))
}

fn eds(cluster: &pb::Cluster, at: &At<'_>) -> Result<Discovery, Fault> {
    let at = at.field("eds_cluster_config");
    let eds = cluster
        .eds_cluster_config
        .as_ref()
        .ok_or_else(|| at.missing("write `eds_config: {ads: {}}`"))?;
    let name = if eds.service_name.is_empty() { &cluster.name } else { &eds.service_name };
    let places = (&at.field("service_name"), &at.field("eds_config"));
    Ok(Discovery::Eds(source::sourced_name(name, eds.eds_config.as_ref(), places)?))
}

fn logical(cluster: &pb::Cluster, at: &At<'_>) -> Result<Discovery, Fault> {
    let set = instances(cluster, Names::Allowed, at)?;
    if set.endpoints().count() != 1 {
        let help = "write one endpoint, or use STRICT_DNS";
        return Err(at.field("load_assignment").invalid("must have exactly one endpoint", help));
    }
    Ok(Discovery::LogicalDns(set))
}

fn original(cluster: &pb::Cluster, at: &At<'_>) -> Result<Discovery, Fault> {
    let Some(pb::cluster::LbConfig::OriginalDstLbConfig(config)) = &cluster.lb_config else {
        return Ok(Discovery::OriginalDst { port_override: None, header: None, metadata: None });
    };
    let config = OriginalDstCluster {
        use_http_header: config.use_http_header,
        http_header_name: config.http_header_name.clone(),
        upstream_port_override: config.upstream_port_override,
        metadata_key: config.metadata_key.clone(),
    };
    original_of(&config, &at.field("original_dst_lb_config"))
}

fn original_of(config: &OriginalDstCluster, at: &At<'_>) -> Result<Discovery, Fault> {
    let (at_port, at_key) = (at.field("upstream_port_override"), at.field("metadata_key"));
    let header = config.use_http_header.then(|| {
        let own = config.http_header_name.as_str();
        let name = if own.is_empty() { ORIGINAL_DST_HEADER } else { own };
        wire::header_name(name, &at.field("http_header_name"))
    });
    let key = config.metadata_key.as_ref();
    Ok(Discovery::OriginalDst {
        port_override: config
            .upstream_port_override
            .map(|port| wire::port(port, &at_port))
            .transpose()?,
        header: header.transpose()?,
        metadata: key.map(|key| lb::metadata_path(key, &at_key)).transpose()?,
    })
}

/// A kind of cluster that is an extension of Envoy.
fn extension(
    cluster: &pb::Cluster,
    custom: &pb::cluster::CustomClusterType,
    at: &At<'_>,
) -> Result<(Discovery, DnsOptions), Fault> {
    let at_cluster = at;
    let at = at.field("cluster_type");
    let at = at.field("typed_config");
    let Some(any) = &custom.typed_config else {
        return by_name(cluster, custom, at_cluster);
    };
    let name = pool::full_name(&any.type_url);
    if name == dns_pb::DnsCluster::full_name() {
        let config: dns_pb::DnsCluster = wire::unpack(any, &at)?;
        let discovery = if config.all_addresses_in_single_endpoint {
            logical(cluster, at_cluster)?
        } else {
            Discovery::StrictDns(instances(cluster, Names::Allowed, at_cluster)?)
        };
        return Ok((discovery, dns_extension(&config, &at)?));
    }
    if name == Aggregate::full_name() {
        let config: Aggregate = wire::unpack(any, &at)?;
        if config.clusters.is_empty() {
            return Err(at.field("clusters").missing("name the clusters"));
        }
        return Ok((Discovery::Aggregate(config.clusters), DnsOptions::default()));
    }
    if name == OriginalDstCluster::full_name() {
        let config: OriginalDstCluster = wire::unpack(any, &at)?;
        return Ok((original_of(&config, &at)?, DnsOptions::default()));
    }
    if name == forward_pb::ClusterConfig::full_name() {
        return forward(&wire::unpack(any, &at)?, &at);
    }
    Err(unknown(custom, at_cluster))
}

/// Kinds that have a name besides their value of `type`, without any settings.
fn by_name(
    cluster: &pb::Cluster,
    custom: &pb::cluster::CustomClusterType,
    at: &At<'_>,
) -> Result<(Discovery, DnsOptions), Fault> {
    let dns = dns(cluster, at)?;
    let discovery = match custom.name.as_str() {
        "envoy.cluster.static" => Discovery::Static(instances(cluster, Names::Refused, at)?),
        "envoy.cluster.strict_dns" | "envoy.clusters.dns" => {
            Discovery::StrictDns(instances(cluster, Names::Allowed, at)?)
        }
        "envoy.cluster.logical_dns" => logical(cluster, at)?,
        "envoy.cluster.eds" => eds(cluster, at)?,
        "envoy.cluster.original_dst" => original(cluster, at)?,
        _ => return Err(unknown(custom, at)),
    };
    Ok((discovery, dns))
}

fn unknown(custom: &pb::cluster::CustomClusterType, at: &At<'_>) -> Fault {
    let problem = format!("the cluster type `{}` is not supported", custom.name);
    at.field("cluster_type").invalid(problem, "use one of the values of `type`")
}

fn dns(cluster: &pb::Cluster, at: &At<'_>) -> Result<DnsOptions, Fault> {
    use pb::cluster::DnsLookupFamily;
    let default = DnsOptions::default();
    let at_rate = at.field("dns_refresh_rate");
    let rate =
        wire::duration_or(cluster.dns_refresh_rate.as_ref(), default.refresh_rate, &at_rate)?;
    let at_family = at.field("dns_lookup_family");
    let failure = cluster.dns_failure_refresh_rate.as_ref();
    let at_failure = at.field("dns_failure_refresh_rate");
    let mut options = DnsOptions {
        refresh_rate: wire::positive(rate, &at_rate)?,
        respect_ttl: cluster.respect_dns_ttl,
        jitter: jitter(cluster.dns_jitter.as_ref(), at)?,
        failure_refresh: failure
            .map(|rate| {
                failure_refresh(
                    rate.base_interval.as_ref(),
                    rate.max_interval.as_ref(),
                    &at_failure,
                )
            })
            .transpose()?,
        family: match wire::known::<DnsLookupFamily>(cluster.dns_lookup_family, &at_family)? {
            DnsLookupFamily::Auto => DnsFamily::Auto,
            DnsLookupFamily::V4Only => DnsFamily::V4Only,
            DnsLookupFamily::V6Only => DnsFamily::V6Only,
            DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
            DnsLookupFamily::All => DnsFamily::All,
        },
        use_tcp: cluster.use_tcp_for_dns_lookups,
        ..default
    };
    let at_old = at.field("dns_resolvers");
    options.resolvers = addresses(&cluster.dns_resolvers, &at_old)?;
    if let Some(config) = &cluster.dns_resolution_config {
        let at = at.field("dns_resolution_config");
        options.resolvers = addresses(&config.resolvers, &at.field("resolvers"))?;
        resolver_options(config.dns_resolver_options.as_ref(), &mut options);
    }
    resolver(cluster.typed_dns_resolver_config.as_ref(), &mut options, at)?;
    Ok(options)
}

fn dns_extension(config: &dns_pb::DnsCluster, at: &At<'_>) -> Result<DnsOptions, Fault> {
    let default = DnsOptions::default();
    let at_rate = at.field("dns_refresh_rate");
    let rate = wire::duration_or(config.dns_refresh_rate.as_ref(), default.refresh_rate, &at_rate)?;
    let at_family = at.field("dns_lookup_family");
    let failure = config.dns_failure_refresh_rate.as_ref();
    let at_failure = at.field("dns_failure_refresh_rate");
    let mut options = DnsOptions {
        refresh_rate: wire::positive(rate, &at_rate)?,
        refresh_min: wire::duration_or(
            config.dns_min_refresh_rate.as_ref(),
            default.refresh_min,
            &at.field("dns_min_refresh_rate"),
        )?,
        respect_ttl: config.respect_dns_ttl,
        jitter: jitter(config.dns_jitter.as_ref(), at)?,
        failure_refresh: failure
            .map(|rate| {
                failure_refresh(
                    rate.base_interval.as_ref(),
                    rate.max_interval.as_ref(),
                    &at_failure,
                )
            })
            .transpose()?,
        family: match wire::known::<Family>(config.dns_lookup_family, &at_family)? {
            Family::Unspecified | Family::Auto => DnsFamily::Auto,
            Family::V4Only => DnsFamily::V4Only,
            Family::V6Only => DnsFamily::V6Only,
            Family::V4Preferred => DnsFamily::V4Preferred,
            Family::All => DnsFamily::All,
        },
        ..default
    };
    resolver(config.typed_dns_resolver_config.as_ref(), &mut options, at)?;
    Ok(options)
}

fn jitter(value: Option<&prost_types::Duration>, at: &At<'_>) -> Result<Duration, Fault> {
    wire::duration_or(value, Duration::ZERO, &at.field("dns_jitter"))
}

fn failure_refresh(
    base: Option<&prost_types::Duration>,
    max: Option<&prost_types::Duration>,
    at: &At<'_>,
) -> Result<DnsFailureRefresh, Fault> {
    let at_base = at.field("base_interval");
    let base = base.ok_or_else(|| at_base.missing("write seconds, such as `1s`"))?;
    let first = wire::positive(wire::duration(base, &at_base)?, &at_base)?;
    let at_max = at.field("max_interval");
    let max = wire::duration_or(max, first.saturating_mul(10), &at_max)?;
    if max < first {
        return Err(at_max.invalid("is below `base_interval`", "write a longer time"));
    }
    Ok(DnsFailureRefresh { first, max })
}

fn addresses(list: &[core::Address], at: &At<'_>) -> Result<Vec<SocketAddr>, Fault> {
    wire::list(list, at, |address, at| {
        let mut address = wire::socket_address(Some(address), at)?;
        if address.port() == 0 {
            address.set_port(53);
        }
        Ok(address)
    })
}

fn resolver_options(config: Option<&core::DnsResolverOptions>, options: &mut DnsOptions) {
    if let Some(config) = config {
        options.use_tcp |= config.use_tcp_for_dns_lookups;
        options.no_search |= config.no_default_search_domain;
    }
}

fn resolver(
    extension: Option<&core::TypedExtensionConfig>,
    options: &mut DnsOptions,
    at: &At<'_>,
) -> Result<(), Fault> {
    let any: Option<&Any> = extension.and_then(|extension| extension.typed_config.as_ref());
    let Some(any) = any else { return Ok(()) };
    let at = at.field("typed_dns_resolver_config");
    let at = at.field("typed_config");
    let name = pool::full_name(&any.type_url);
    if name == GetAddrInfoDnsResolverConfig::full_name() {
        // The system's servers are asked, without its library.
        return Ok(());
    }
    if name != CaresDnsResolverConfig::full_name() {
        let help = "use CaresDnsResolverConfig, or leave it out";
        return Err(at.invalid(format!("`{name}` is not supported"), help));
    }
    let config: CaresDnsResolverConfig = wire::unpack(any, &at)?;
    options.resolvers = addresses(&config.resolvers, &at.field("resolvers"))?;
    resolver_options(config.dns_resolver_options.as_ref(), options);
    if let Some(seconds) = config.query_timeout_seconds.filter(|seconds| *seconds > 0) {
        options.query_timeout = Duration::from_secs(seconds);
    }
    if let Some(tries) = config.query_tries.and_then(NonZeroU32::new) {
        options.query_tries = tries;
    }
    Ok(())
}

fn forward(
    config: &forward_pb::ClusterConfig,
    at: &At<'_>,
) -> Result<(Discovery, DnsOptions), Fault> {
    use forward_pb::cluster_config::ClusterImplementationSpecifier as Kind;
    match &config.cluster_implementation_specifier {
        Some(Kind::DnsCacheConfig(cache)) => {
            let (cache, dns) = dns_cache(cache, &at.field("dns_cache_config"))?;
            Ok((Discovery::DynamicForward(cache), dns))
        }
        Some(Kind::SubClustersConfig(_)) => Err(at
            .field("sub_clusters_config")
            .invalid("is not supported", "write a `dns_cache_config`")),
        None => Err(at.field("dns_cache_config").missing("write the cache with its name")),
    }
}

pub(super) fn forward_filter(
    config: &filter_pb::FilterConfig,
    at: &At<'_>,
) -> Result<DynamicForward, Fault> {
    use filter_pb::filter_config::ImplementationSpecifier as Kind;
    match &config.implementation_specifier {
        Some(Kind::DnsCacheConfig(cache)) => {
            let (cache, dns) = dns_cache(cache, &at.field("dns_cache_config"))?;
            let host_by_state = config.allow_dynamic_host_from_filter_state;
            let saves_address = config.save_upstream_address;
            Ok(DynamicForward { cache, dns, host_by_state, saves_address })
        }
        Some(Kind::SubClusterConfig(_)) => Err(at
            .field("sub_cluster_config")
            .invalid("is not supported", "write a `dns_cache_config`")),
        None => Err(at.field("dns_cache_config").missing("write the cache with its name")),
    }
}

/// The host that a route names for the filter; none without.
pub(super) fn forward_host(
    config: &filter_pb::PerRouteConfig,
    at: &At<'_>,
) -> Result<Option<ForwardHost>, Fault> {
    use filter_pb::per_route_config::HostRewriteSpecifier as Kind;
    Ok(match &config.host_rewrite_specifier {
        Some(Kind::HostRewriteLiteral(host)) if host.is_empty() => None,
        Some(Kind::HostRewriteLiteral(host)) => Some(ForwardHost::Literal(host.clone())),
        Some(Kind::HostRewriteHeader(name)) if name.is_empty() => None,
        Some(Kind::HostRewriteHeader(name)) => {
            let name = wire::header_name(name, &at.field("host_rewrite_header"))?;
            Some(ForwardHost::Header(name))
        }
        None => None,
    })
}

/// A cache of names that requests bring, and how they are resolved.
pub(super) fn dns_cache(
    config: &DnsCacheConfig,
    at: &At<'_>,
) -> Result<(DnsCache, DnsOptions), Fault> {
    use pb::cluster::DnsLookupFamily;
    let mut cache = DnsCache::new(config.name.clone());
    if config.name.is_empty() {
        return Err(at.field("name").missing("name the cache"));
    }
    let at_ttl = at.field("host_ttl");
    let ttl = wire::duration_or(config.host_ttl.as_ref(), cache.host_ttl, &at_ttl)?;
    cache.host_ttl = wire::positive(ttl, &at_ttl)?;
    if let Some(hosts) = config.max_hosts {
        cache.hosts_max = wire::non_zero(hosts, &at.field("max_hosts"))?;
    }
    let breaker = config.dns_cache_circuit_breaker.as_ref();
    cache.pending_max =
        breaker.and_then(|breaker| breaker.max_pending_requests).unwrap_or(cache.pending_max);
    let default = DnsOptions::default();
    let at_rate = at.field("dns_refresh_rate");
    let rate =
        wire::duration_or(config.dns_refresh_rate.as_ref(), Duration::from_secs(60), &at_rate)?;
    let failure = config.dns_failure_refresh_rate.as_ref();
    let at_failure = at.field("dns_failure_refresh_rate");
    let at_family = at.field("dns_lookup_family");
    let mut options = DnsOptions {
        refresh_rate: wire::positive(rate, &at_rate)?,
        // Names that clients bring are kept as long as their records say.
        respect_ttl: true,
        refresh_min: wire::duration_or(
            config.dns_min_refresh_rate.as_ref(),
            Duration::from_secs(5),
            &at.field("dns_min_refresh_rate"),
        )?,
        failure_refresh: failure
            .map(|rate| {
                failure_refresh(
                    rate.base_interval.as_ref(),
                    rate.max_interval.as_ref(),
                    &at_failure,
                )
            })
            .transpose()?,
        family: match wire::known::<DnsLookupFamily>(config.dns_lookup_family, &at_family)? {
            DnsLookupFamily::Auto => DnsFamily::Auto,
            DnsLookupFamily::V4Only => DnsFamily::V4Only,
            DnsLookupFamily::V6Only => DnsFamily::V6Only,
            DnsLookupFamily::V4Preferred => DnsFamily::V4Preferred,
            DnsLookupFamily::All => DnsFamily::All,
        },
        use_tcp: config.use_tcp_for_dns_lookups,
        query_timeout: wire::duration_or(
            config.dns_query_timeout.as_ref(),
            default.query_timeout,
            &at.field("dns_query_timeout"),
        )?,
        ..default
    };
    if let Some(config) = &config.dns_resolution_config {
        let at = at.field("dns_resolution_config");
        options.resolvers = addresses(&config.resolvers, &at.field("resolvers"))?;
        resolver_options(config.dns_resolver_options.as_ref(), &mut options);
    }
    resolver(config.typed_dns_resolver_config.as_ref(), &mut options, at)?;
    Ok((cache, options))
}
