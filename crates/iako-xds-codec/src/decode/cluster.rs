//! Upstreams.

use std::time::Duration;

use iako_xds_api::envoy::config::cluster::v3 as pb;

use super::endpoint::Names;
use super::{
    cluster_connecting, cluster_http, cluster_limits, discovery, endpoint, health, lb, metadata,
    proxy_protocol, wire,
};
use crate::pool;
use crate::problem::{At, Fault};
use iako_proxy_config::{
    Cluster, Discovery, EndpointSet, Membership, TcpKeepalive, TransportMatch,
};

const METADATA_EXCHANGE: &str = "envoy.tcp.metadataexchange.config.MetadataExchange";

pub(super) fn cluster(cluster: &pb::Cluster, at: &At<'_>) -> Result<Cluster, Fault> {
    if cluster.name.is_empty() {
        return Err(at.field("name").missing("write the name that routes refer to"));
    }
    let (discovery, dns) = discovery::discovery(cluster, at)?;
    let mut value = Cluster::new(cluster.name.clone(), discovery);
    value.dns = dns;
    value.alt_stat_name.clone_from(&cluster.alt_stat_name);
    let at_connect = at.field("connect_timeout");
    let connect =
        wire::duration_or(cluster.connect_timeout.as_ref(), value.connect_timeout, &at_connect)?;
    value.connect_timeout = wire::positive(connect, &at_connect)?;
    lb::apply(cluster, &mut value, at)?;
    value.circuit_breakers =
        cluster_limits::circuit_breakers(cluster.circuit_breakers.as_ref(), at)?;
    value.outlier_detection = health::outlier_detection(cluster.outlier_detection.as_ref(), at)?;
    value.health_check = health::only_check(&cluster.health_checks, &at.field("health_checks"))?;
    value.membership = membership(cluster);
    (value.transport, value.proxy_protocol) =
        proxy_protocol::upstream(cluster.transport_socket.as_ref(), &at.field("transport_socket"))?;
    value.transport_matches = wire::list(
        &cluster.transport_socket_matches,
        &at.field("transport_socket_matches"),
        transport_match,
    )?;
    cluster_http::apply(cluster, &mut value, at)?;
    value.tcp_keepalive = keepalive(cluster, at)?;
    bind_addresses(cluster, &mut value, at)?;
    value.connecting = cluster_connecting::connecting(cluster, at)?;
    if matches!(value.discovery, Discovery::DynamicForward(_)) {
        // What a client names is what the server must prove to be.
        cluster_http::names_from_requests(&mut value);
    }
    value.metadata = metadata::cluster(cluster.metadata.as_ref());
    wire::list(&cluster.filters, &at.field("filters"), filter)?;
    Ok(value)
}

/// The local addresses to connect from.
fn bind_addresses(cluster: &pb::Cluster, value: &mut Cluster, at: &At<'_>) -> Result<(), Fault> {
    let Some(bind) = &cluster.upstream_bind_config else { return Ok(()) };
    let at = at.field("upstream_bind_config");
    let first = bind.source_address.as_ref();
    value.bind_address =
        first.map(|address| wire::ip_and_port(address, &at.field("source_address"))).transpose()?;
    let at_extra = at.field("extra_source_addresses");
    value.bind_others = wire::list(&bind.extra_source_addresses, &at_extra, |extra, at| {
        let at = at.field("address");
        let address = extra.address.as_ref().ok_or_else(|| at.missing("write an address"))?;
        wire::ip_and_port(address, &at)
    })?;
    let at_additional = at.field("additional_source_addresses");
    let old = wire::list(&bind.additional_source_addresses, &at_additional, wire::ip_and_port)?;
    value.bind_others.extend(old);
    if value.bind_address.is_none() && !value.bind_others.is_empty() {
        return Err(at.field("source_address").missing("write the first address there"));
    }
    if let Some(selector) = &bind.local_address_selector {
        let at = at.field("local_address_selector");
        let name = selector.typed_config.as_ref().map(|any| pool::full_name(&any.type_url));
        let known = "envoy.config.upstream.local_address_selector.v3.DefaultLocalAddressSelector";
        if name.is_some_and(|name| name != known) {
            return Err(at.invalid("is not supported", "leave it out, or use the default one"));
        }
    }
    Ok(())
}

pub(super) fn instances(
    cluster: &pb::Cluster,
    names: Names,
    at: &At<'_>,
) -> Result<EndpointSet, Fault> {
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

fn membership(cluster: &pb::Cluster) -> Membership {
    let default = Membership::default();
    let common = cluster.common_lb_config.as_ref();
    Membership {
        ignore_health_on_removal: cluster.ignore_health_on_host_removal,
        close_on_set_change: common
            .is_some_and(|common| common.close_connections_on_host_set_change),
        ignore_new_until_checked: common
            .is_some_and(|common| common.ignore_new_hosts_until_first_hc),
        wait_for_checks: cluster.wait_for_warm_on_init.unwrap_or(default.wait_for_checks),
    }
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
