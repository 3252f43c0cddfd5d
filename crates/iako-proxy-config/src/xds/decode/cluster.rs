//! Upstreams.

use std::time::Duration;

use iako_xds_api::envoy::config::cluster::v3 as pb;
use iako_xds_api::envoy::config::core::v3 as core;

use super::endpoint::Names;
use super::{
    cluster_http, cluster_limits, endpoint, lb, metadata, proxy_protocol, transport, wire,
};
use crate::xds::problem::{At, Fault};
use crate::{Cluster, Discovery, DnsFamily, DnsOptions, EndpointSet, TcpKeepalive, TransportMatch};

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
    lb::apply(cluster, &mut value, at)?;
    value.circuit_breakers =
        cluster_limits::circuit_breakers(cluster.circuit_breakers.as_ref(), at)?;
    value.outlier_detection =
        cluster_limits::outlier_detection(cluster.outlier_detection.as_ref(), at)?;
    (value.transport, value.proxy_protocol) =
        proxy_protocol::upstream(cluster.transport_socket.as_ref(), &at.field("transport_socket"))?;
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

fn transport_match(
    entry: &pb::cluster::TransportSocketMatch,
    at: &At<'_>,
) -> Result<TransportMatch, Fault> {
    let at_socket = at.field("transport_socket");
    let (transport, proxy_protocol) =
        proxy_protocol::upstream(entry.transport_socket.as_ref(), &at_socket)?;
    Ok(TransportMatch {
        name: entry.name.clone(),
        criteria: entry.r#match.as_ref().map(metadata::texts).unwrap_or_default(),
        transport,
        proxy_protocol,
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
