//! Opaque connections of the local application: TCP services and TLS told apart by server name.

use std::{collections::BTreeMap, net::SocketAddr};

use iako_proxy_config::{
    Direction, FilterChain, Listener, ListenerFilter, TcpTarget, Terminal, WeightedTcpCluster,
};
use iako_registry::{Service, ServicePort};
use iako_resources::{
    Code, Diagnostic,
    istio::virtual_service::{GatewayRef, RouteDestination},
};
use iako_types::HostPattern;

use super::{PROXY_PORTS, any_address, hosts::claim, plain_chain};
use crate::{
    Plan,
    access_log::{Side, listener_logs},
    cluster::{non_zero, service_kind},
    filters::{network_filters, tcp_proxy},
    names::outbound_cluster,
    outlook::Outlook,
    route::{Place, cluster_of, hash_policy},
};

/// The first port that may be bound without privileges. Source: Linux
/// `net.ipv4.ip_unprivileged_port_start`.
const UNPRIVILEGED_PORT_MIN: u16 = 1024;

/// A TCP port of a service.
pub(super) type StreamPort<'a> = (&'a Service, &'a ServicePort);

/// TCP ports of all services, by number.
pub(super) fn stream_ports<'a>(outlook: &'a Outlook<'a>) -> BTreeMap<u16, Vec<StreamPort<'a>>> {
    let mut by_number: BTreeMap<u16, Vec<StreamPort<'a>>> = BTreeMap::new();
    for service in &outlook.services {
        for port in service.ports.iter().filter(|port| port.protocol.is_tcp()) {
            by_number.entry(port.number).or_default().push((service, port));
        }
    }
    by_number
}

/// Without capture: one listener for each TCP port on the pod's own address, where it is free.
pub(super) fn add_port_listeners(outlook: &Outlook<'_>, plan: &mut Plan) {
    let own = outlook.scope.port_numbers();
    for (number, ports) in stream_ports(outlook) {
        // Without privileges nobody binds a low port, and without capture nobody has privileges.
        let low = number < UNPRIVILEGED_PORT_MIN;
        if low || own.contains(&number) || PROXY_PORTS.contains(&number) {
            plan.diagnostics.extend(ports.iter().map(|&port| not_reachable(outlook, port)));
            continue;
        }
        let address = SocketAddr::new(outlook.scope.address(), number);
        let mut listener = Listener::new(format!("{}_{number}", address.ip()), address);
        listener.direction = Direction::Outbound;
        fill(outlook, &mut listener, &ports, plan);
        plan.listeners.push(listener);
    }
}

/// Gives a listener the chains of the services that share it: those of TLS by server name, and at
/// most one that takes the rest.
pub(super) fn fill(
    outlook: &Outlook<'_>,
    listener: &mut Listener,
    ports: &[StreamPort<'_>],
    plan: &mut Plan,
) {
    for &(service, port) in ports {
        let mut taken = false;
        if port.protocol.is_tls() {
            for chain in tls_chains(outlook, service, port) {
                if !listener.looks_for_tls() {
                    listener.inspectors.insert(0, ListenerFilter::tls());
                }
                listener.chains.push(chain);
                taken = true;
            }
        } else if listener.default_chain.is_none() {
            listener.default_chain = Some(tcp_chain(outlook, service, port));
            taken = true;
        }
        if !taken {
            plan.diagnostics.push(not_reachable(outlook, (service, port)));
        }
    }
    listener.access_log = listener_logs(outlook, Side::Outbound);
}

fn not_reachable(outlook: &Outlook<'_>, (service, port): StreamPort<'_>) -> Diagnostic {
    let subject = format!("{} {}/{}", service_kind(service), service.namespace, service.name);
    let message = format!(
        "port {} of {} cannot be reached through the sidecar of {}/{}: the port is taken there, or \
         below 1024",
        port.number, service.host, outlook.scope.namespace, outlook.scope.name
    );
    Diagnostic::new(Code::NoEffect, subject, service.origin.clone(), message)
        .with_help("without capture each TCP service needs a port of its own on the pod's address")
}

/// The chain of a TCP service, as VirtualService `tcp` rules say.
pub(super) fn tcp_chain(
    outlook: &Outlook<'_>,
    service: &Service,
    port: &ServicePort,
) -> FilterChain {
    let place = Place { outlook, gateway: GatewayRef::Mesh, port: port.number };
    let object = claim(outlook, &service.host, |object| !object.spec.tcp.is_empty());
    let rule = object.and_then(|object| {
        object.spec.tcp.iter().find(|rule| {
            rule.matches.is_empty()
                || rule.matches.iter().any(|matcher| place.takes_stream(matcher))
        })
    });
    let target = match rule {
        Some(rule) => stream_target(outlook, port.number, &rule.route),
        None => TcpTarget::Cluster(outbound_cluster(port.number, "", &service.host.to_string())),
    };
    chain(outlook, (service, port), target)
}

/// The chains of a TLS service, as VirtualService `tls` rules say.
fn tls_chains(outlook: &Outlook<'_>, service: &Service, port: &ServicePort) -> Vec<FilterChain> {
    let place = Place { outlook, gateway: GatewayRef::Mesh, port: port.number };
    let object = claim(outlook, &service.host, |object| !object.spec.tls.is_empty());
    let mut chains = Vec::new();
    for rule in object.iter().flat_map(|object| &object.spec.tls) {
        for matcher in rule.matches.iter().filter(|matcher| place.takes_stream(&matcher.stream)) {
            let target = stream_target(outlook, port.number, &rule.route);
            let mut chain = chain(outlook, (service, port), target);
            chain.matcher.server_names = server_names(&matcher.sni_hosts);
            chains.push(chain);
        }
    }
    if chains.is_empty() {
        let target =
            TcpTarget::Cluster(outbound_cluster(port.number, "", &service.host.to_string()));
        let mut chain = chain(outlook, (service, port), target);
        chain.matcher.server_names = server_names(std::slice::from_ref(&service.host));
        chains.push(chain);
    }
    chains
}

/// Server names as filter chains match them; a name for every host is no condition.
pub(crate) fn server_names(hosts: &[HostPattern]) -> Vec<String> {
    if hosts.contains(&HostPattern::Any) {
        return Vec::new();
    }
    hosts.iter().map(ToString::to_string).collect()
}

/// One cluster, or several by weight.
pub(crate) fn stream_target(
    outlook: &Outlook<'_>,
    port: u16,
    targets: &[RouteDestination],
) -> TcpTarget {
    let name = |target: &RouteDestination| cluster_of(outlook, port, &target.destination);
    match targets {
        [only] => TcpTarget::Cluster(name(only)),
        several => {
            let used = several.iter().filter(|target| target.weight > 0);
            let one = |target| WeightedTcpCluster::new(name(target), target.weight);
            TcpTarget::Weighted(used.map(one).collect())
        }
    }
}

fn chain(outlook: &Outlook<'_>, (service, port): StreamPort<'_>, target: TcpTarget) -> FilterChain {
    let mut proxy = tcp_proxy(outlook, Side::Outbound, target);
    let policy = outlook.rule(service).map(|rule| rule.spec.effective(None, port.number));
    let pool = policy.and_then(|policy| policy.connection_pool);
    if let Some(idle) = pool.and_then(|pool| pool.tcp_idle_timeout) {
        proxy.idle_timeout = non_zero(idle);
    }
    proxy.hash_source_ip = !hash_policy(outlook, service, None, port.number).is_empty();
    let name = outbound_cluster(port.number, "", &service.host.to_string());
    let mut chain = plain_chain(name, Terminal::Tcp(proxy.into()));
    chain.filters = network_filters(outlook, Side::Outbound);
    chain
}

/// The address on which captured connections to a service arrive.
pub(super) fn captured_address(outlook: &Outlook<'_>, service: &Service, port: u16) -> SocketAddr {
    let single =
        service.addresses.iter().find(|range| range.prefix_len() == range.max_prefix_len());
    let address = single.map_or_else(|| any_address(outlook.scope.address()), |range| range.addr());
    SocketAddr::new(address, port)
}
