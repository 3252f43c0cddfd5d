//! Outbound listeners for captured traffic: one for each port of the services, fed by
//! `virtualOutbound`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use iako_proxy_config::{
    Direction, FilterChainMatch, Listener, ListenerFilter, RouteSource, TcpTarget, Terminal,
};
use iako_resources::istio::sidecar::OutboundTrafficPolicy;
use iako_types::AppProtocol;

use super::{
    OUTBOUND_PORT, any_address,
    hosts::{carries_http, port_routes, service_routes},
    plain_chain,
    stream::{captured_address, fill, stream_ports, tcp_chain},
};
use crate::{
    Plan,
    access_log::Side,
    filters::{connection_manager, network_filters, tcp_proxy},
    inbound::detection_timeout,
    names::{BLACK_HOLE_CLUSTER, PASSTHROUGH_CLUSTER},
    outlook::Outlook,
};

/// What the HTTP inspector calls plain HTTP.
const PLAIN_HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

/// Adds the outbound side of a captured sidecar.
pub(super) fn add(outlook: &Outlook<'_>, plan: &mut Plan) {
    add_virtual_outbound(outlook, plan);
    let mut listeners: BTreeMap<SocketAddr, Listener> = BTreeMap::new();
    add_shared_http(outlook, &mut listeners, plan);
    add_sniffed(outlook, &mut listeners, plan);
    add_streams(outlook, &mut listeners, plan);
    plan.listeners.extend(listeners.into_values());
}

fn add_virtual_outbound(outlook: &Outlook<'_>, plan: &mut Plan) {
    let any = any_address(outlook.scope.address());
    let mut listener = Listener::new("virtualOutbound", SocketAddr::new(any, OUTBOUND_PORT));
    listener.use_original_dst = true;
    listener.inspectors = vec![ListenerFilter::original_dst()];
    listener.direction = Direction::Outbound;
    let black_hole =
        tcp_proxy(outlook, Side::Outbound, TcpTarget::Cluster(BLACK_HOLE_CLUSTER.to_owned()));
    let mut loop_guard =
        plain_chain("virtualOutbound-blackhole".to_owned(), Terminal::Tcp(black_hole.into()));
    loop_guard.matcher.destination_port = Some(OUTBOUND_PORT);
    listener.chains = vec![loop_guard];
    listener.default_chain = Some(unknown_destinations(outlook));
    plan.listeners.push(listener);
}

fn unknown_destinations(outlook: &Outlook<'_>) -> iako_proxy_config::FilterChain {
    let cluster = match outlook.outbound_policy {
        OutboundTrafficPolicy::AllowAny => PASSTHROUGH_CLUSTER,
        OutboundTrafficPolicy::RegistryOnly => BLACK_HOLE_CLUSTER,
    };
    let proxy = tcp_proxy(outlook, Side::Outbound, TcpTarget::Cluster(cluster.to_owned()));
    let name = "virtualOutbound-catchall-tcp".to_owned();
    let mut chain = plain_chain(name, Terminal::Tcp(proxy.into()));
    chain.filters = network_filters(outlook, Side::Outbound);
    chain
}

fn port_listener(outlook: &Outlook<'_>, address: SocketAddr) -> Listener {
    let mut listener = Listener::new(format!("{}_{}", address.ip(), address.port()), address);
    listener.bind = false;
    listener.direction = Direction::Outbound;
    listener.continue_on_inspect_timeout = true;
    listener.inspect_timeout = Some(detection_timeout(outlook));
    listener
}

/// HTTP services of one port share one listener and are told apart by the host of each request.
fn add_shared_http(
    outlook: &Outlook<'_>,
    listeners: &mut BTreeMap<SocketAddr, Listener>,
    plan: &mut Plan,
) {
    let any = any_address(outlook.scope.address());
    let mut numbers: Vec<u16> = outlook
        .services
        .iter()
        .flat_map(|service| {
            let shared = service.ports.iter().filter(|port| {
                port.protocol.is_http()
                    || (port.protocol == AppProtocol::Unknown
                        && has_no_address(outlook, service, port.number))
            });
            shared.map(|port| port.number)
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    for number in numbers {
        let table = port_routes(outlook, number);
        let listener = http_listener(outlook, SocketAddr::new(any, number), &table.name);
        listeners.insert(SocketAddr::new(any, number), listener);
        plan.routes.push(table);
    }
}

fn has_no_address(outlook: &Outlook<'_>, service: &iako_registry::Service, port: u16) -> bool {
    is_unspecified(captured_address(outlook, service, port).ip())
}

const fn is_unspecified(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_unspecified(),
        IpAddr::V6(address) => address.is_unspecified(),
    }
}

/// A listener whose HTTP goes by a route table, and whose other traffic goes where it was meant to.
fn http_listener(outlook: &Outlook<'_>, address: SocketAddr, table: &str) -> Listener {
    let mut listener = port_listener(outlook, address);
    listener.inspectors.push(ListenerFilter::http());
    let prefix = format!("outbound_{address}");
    let routes = RouteSource::Rds(table.into());
    let settings = connection_manager(outlook, Side::Outbound, prefix, routes);
    let mut chain = plain_chain(String::new(), Terminal::Http(settings.into()));
    chain.matcher = FilterChainMatch {
        transport_protocol: Some("raw_buffer".to_owned()),
        application_protocols: PLAIN_HTTP.map(str::to_owned).to_vec(),
        ..FilterChainMatch::default()
    };
    listener.chains = vec![chain];
    listener.default_chain = Some(unknown_destinations(outlook));
    listener
}

/// Ports that do not say what they speak, of services with an address of their own.
fn add_sniffed(
    outlook: &Outlook<'_>,
    listeners: &mut BTreeMap<SocketAddr, Listener>,
    plan: &mut Plan,
) {
    for service in &outlook.services {
        for port in service.ports.iter().filter(|port| carries_http(port)) {
            let address = captured_address(outlook, service, port.number);
            if port.protocol.is_http() || is_unspecified(address.ip()) {
                continue;
            }
            let table = service_routes(outlook, service, port);
            let mut listener = http_listener(outlook, address, &table.name);
            listener.default_chain = Some(tcp_chain(outlook, service, port));
            plan.routes.push(table);
            listeners.entry(address).or_insert(listener);
        }
    }
}

/// TCP services: on their own address, or on every address where they have none.
fn add_streams(
    outlook: &Outlook<'_>,
    listeners: &mut BTreeMap<SocketAddr, Listener>,
    plan: &mut Plan,
) {
    for ports in stream_ports(outlook).into_values() {
        for (service, port) in ports {
            let address = captured_address(outlook, service, port.number);
            let listener =
                listeners.entry(address).or_insert_with(|| port_listener(outlook, address));
            // A listener made for HTTP passes everything else on; a service takes that place.
            if listener.default_chain.as_ref().is_some_and(is_unknown) && !port.protocol.is_tls() {
                listener.default_chain = None;
            }
            fill(outlook, listener, &[(service, port)], plan);
            // What no service of a shared port takes goes where it was meant to.
            if listener.default_chain.is_none() && is_unspecified(address.ip()) {
                listener.default_chain = Some(unknown_destinations(outlook));
            }
        }
    }
}

fn is_unknown(chain: &iako_proxy_config::FilterChain) -> bool {
    chain.name == "virtualOutbound-catchall-tcp"
}
