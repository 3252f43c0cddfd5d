//! Where the instances of a cluster are found.

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;
use iako_xds_api::envoy::extensions::clusters::{
    aggregate::v3::ClusterConfig as Aggregate, common::dns::v3::DnsLookupFamily as Family,
    dns::v3 as dns_pb, dynamic_forward_proxy::v3 as forward_pb,
    original_dst::v3::OriginalDstCluster,
};
use iako_xds_api::envoy::extensions::common::dynamic_forward_proxy::v3::{
    DnsCacheCircuitBreakers, DnsCacheConfig,
};
use iako_xds_api::envoy::extensions::filters::http::dynamic_forward_proxy::v3 as filter_pb;
use iako_xds_api::envoy::extensions::network::dns_resolver::cares::v3::CaresDnsResolverConfig;

use super::{endpoint, lb, source, wire};
use iako_proxy_config::{
    Cluster, Discovery, DnsCache, DnsFailureRefresh, DnsFamily, DnsOptions, DynamicForward,
    EndpointSet, ForwardHost,
};

pub(super) fn apply(value: &Cluster, message: &mut pb::Cluster) {
    use pb::cluster::DiscoveryType;
    let mut instances =
        |set: &EndpointSet| message.load_assignment = Some(endpoint::endpoint_set(set));
    let kind = match &value.discovery {
        Discovery::Static(set) => {
            instances(set);
            DiscoveryType::Static
        }
        Discovery::StrictDns(set) => {
            instances(set);
            DiscoveryType::StrictDns
        }
        Discovery::LogicalDns(set) => {
            instances(set);
            DiscoveryType::LogicalDns
        }
        Discovery::Eds(name) => {
            message.eds_cluster_config = Some(pb::cluster::EdsClusterConfig {
                eds_config: Some(source::config_source(name.source())),
                service_name: name.name().to_owned(),
            });
            DiscoveryType::Eds
        }
        Discovery::OriginalDst { port_override, header, metadata } => {
            if let (None, None, None) = (port_override, header, metadata) {
                DiscoveryType::OriginalDst
            } else {
                let config = OriginalDstCluster {
                    use_http_header: header.is_some(),
                    http_header_name: header.as_ref().map(ToString::to_string).unwrap_or_default(),
                    upstream_port_override: port_override.map(Into::into),
                    metadata_key: metadata.as_ref().map(lb::metadata_key),
                };
                return extension("envoy.clusters.original_dst", &config, message);
            }
        }
        Discovery::Aggregate(clusters) => {
            let config = Aggregate { clusters: clusters.clone() };
            return extension("envoy.clusters.aggregate", &config, message);
        }
        Discovery::DynamicForward(cache) => {
            use forward_pb::cluster_config::ClusterImplementationSpecifier as Kind;
            let config = forward_pb::ClusterConfig {
                cluster_implementation_specifier: Some(Kind::DnsCacheConfig(dns_cache(
                    cache, &value.dns,
                ))),
                ..Default::default()
            };
            return extension("envoy.clusters.dynamic_forward_proxy", &config, message);
        }
    };
    if needs_extension(value, message) {
        return;
    }
    message.cluster_discovery_type = Some(pb::cluster::ClusterDiscoveryType::Type(kind.into()));
    dns(&value.dns, message);
}

/// Only the extension can say how often records are asked for at most.
fn needs_extension(value: &Cluster, message: &mut pb::Cluster) -> bool {
    let logical = match &value.discovery {
        _ if value.dns.refresh_min.is_zero() => return false,
        Discovery::StrictDns(_) => false,
        Discovery::LogicalDns(_) => true,
        Discovery::Static(_)
        | Discovery::Eds(_)
        | Discovery::OriginalDst { .. }
        | Discovery::Aggregate(_)
        | Discovery::DynamicForward(_) => return false,
    };
    let dns = &value.dns;
    let config = dns_pb::DnsCluster {
        dns_refresh_rate: Some(wire::duration(dns.refresh_rate)),
        dns_failure_refresh_rate: dns.failure_refresh.map(|rate| {
            dns_pb::dns_cluster::RefreshRate {
                base_interval: Some(wire::duration(rate.first)),
                max_interval: Some(wire::duration(rate.max)),
            }
        }),
        respect_dns_ttl: dns.respect_ttl,
        dns_jitter: Some(wire::duration(dns.jitter)),
        typed_dns_resolver_config: resolver(dns),
        dns_lookup_family: match dns.family {
            DnsFamily::Auto => Family::Auto,
            DnsFamily::V4Only => Family::V4Only,
            DnsFamily::V6Only => Family::V6Only,
            DnsFamily::V4Preferred => Family::V4Preferred,
            DnsFamily::All => Family::All,
        }
        .into(),
        all_addresses_in_single_endpoint: logical,
        dns_min_refresh_rate: Some(wire::duration(dns.refresh_min)),
    };
    extension("envoy.clusters.dns", &config, message);
    true
}

fn extension<M: prost::Message + prost::Name>(name: &str, config: &M, message: &mut pb::Cluster) {
    let kind = pb::cluster::CustomClusterType {
        name: name.to_owned(),
        typed_config: Some(wire::any(config)),
    };
    message.cluster_discovery_type = Some(pb::cluster::ClusterDiscoveryType::ClusterType(kind));
}

fn dns(value: &DnsOptions, message: &mut pb::Cluster) {
    if *value == DnsOptions::default() {
        return;
    }
    message.dns_refresh_rate = Some(wire::duration(value.refresh_rate));
    message.respect_dns_ttl = value.respect_ttl;
    message.dns_jitter = (!value.jitter.is_zero()).then(|| wire::duration(value.jitter));
    message.dns_failure_refresh_rate = value.failure_refresh.map(refresh);
    message.dns_lookup_family = family(value.family).into();
    message.typed_dns_resolver_config = resolver(value);
}

fn refresh(value: DnsFailureRefresh) -> pb::cluster::RefreshRate {
    pb::cluster::RefreshRate {
        base_interval: Some(wire::duration(value.first)),
        max_interval: Some(wire::duration(value.max)),
    }
}

const fn family(value: DnsFamily) -> pb::cluster::DnsLookupFamily {
    use pb::cluster::DnsLookupFamily;
    match value {
        DnsFamily::Auto => DnsLookupFamily::Auto,
        DnsFamily::V4Only => DnsLookupFamily::V4Only,
        DnsFamily::V6Only => DnsLookupFamily::V6Only,
        DnsFamily::V4Preferred => DnsLookupFamily::V4Preferred,
        DnsFamily::All => DnsLookupFamily::All,
    }
}

/// Who is asked, and how; nothing where that is the system's choice.
fn resolver(value: &DnsOptions) -> Option<core::TypedExtensionConfig> {
    let default = DnsOptions::default();
    let plain = value.resolvers.is_empty()
        && !value.use_tcp
        && !value.no_search
        && value.query_timeout == default.query_timeout
        && value.query_tries == default.query_tries;
    let config = CaresDnsResolverConfig {
        resolvers: value.resolvers.iter().copied().map(wire::address).collect(),
        dns_resolver_options: Some(core::DnsResolverOptions {
            use_tcp_for_dns_lookups: value.use_tcp,
            no_default_search_domain: value.no_search,
        }),
        query_timeout_seconds: Some(value.query_timeout.as_secs()),
        query_tries: Some(value.query_tries.get()),
        ..Default::default()
    };
    (!plain).then(|| wire::extension("envoy.network.dns_resolver.cares", &config))
}

pub(super) fn forward_filter(value: &DynamicForward) -> filter_pb::FilterConfig {
    use filter_pb::filter_config::ImplementationSpecifier as Kind;
    filter_pb::FilterConfig {
        implementation_specifier: Some(Kind::DnsCacheConfig(dns_cache(&value.cache, &value.dns))),
        allow_dynamic_host_from_filter_state: value.host_by_state,
        save_upstream_address: value.saves_address,
    }
}

/// The host that a route names for the filter.
pub(super) fn forward_host(value: &ForwardHost) -> filter_pb::PerRouteConfig {
    use filter_pb::per_route_config::HostRewriteSpecifier as Kind;
    let host = match value {
        ForwardHost::Literal(host) => Kind::HostRewriteLiteral(host.clone()),
        ForwardHost::Header(name) => Kind::HostRewriteHeader(name.as_str().to_owned()),
    };
    filter_pb::PerRouteConfig { host_rewrite_specifier: Some(host) }
}

/// A cache of names.
pub(super) fn dns_cache(cache: &DnsCache, dns: &DnsOptions) -> DnsCacheConfig {
    DnsCacheConfig {
        name: cache.name.clone(),
        dns_lookup_family: family(dns.family).into(),
        dns_refresh_rate: Some(wire::duration(dns.refresh_rate)),
        dns_min_refresh_rate: Some(wire::duration(dns.refresh_min)),
        host_ttl: Some(wire::duration(cache.host_ttl)),
        max_hosts: Some(cache.hosts_max.get()),
        dns_failure_refresh_rate: dns.failure_refresh.map(refresh),
        dns_cache_circuit_breaker: Some(DnsCacheCircuitBreakers {
            max_pending_requests: Some(cache.pending_max),
        }),
        typed_dns_resolver_config: resolver(dns),
        dns_query_timeout: Some(wire::duration(dns.query_timeout)),
        ..Default::default()
    }
}
