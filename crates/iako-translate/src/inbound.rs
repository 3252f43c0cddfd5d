//! The inbound side of a sidecar: requests and connections to the local application.
//!
//! Without capture there is one listener for each port, on the pod's address, and the application
//! listens elsewhere. With capture one listener, `virtualInbound`, has the chains of every port.

mod chains;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use iako_proxy_config::{
    Cluster, Direction, Discovery, Endpoint, EndpointSet, HttpProtocol, LbPolicy, Listener,
    ListenerFilter, LocalityEndpoints, ServiceReference, TcpTarget, Terminal,
};
use iako_registry::{
    Service, Workload,
    select::{self, EffectiveMutualTls},
};
use iako_resources::istio::peer_authentication::MutualTlsMode;
use iako_types::AppProtocol;

use crate::{
    Interception, Plan,
    access_log::{Side, listener_logs},
    cluster::{apply_pool, service_reference, unlimited},
    filters::tcp_proxy,
    names::{BLACK_HOLE_CLUSTER, INBOUND_PASSTHROUGH_CLUSTER, inbound_cluster},
    outbound::{PROXY_PORTS, any_address, plain_chain},
    outlook::Outlook,
};

/// Where a sidecar takes captured traffic for the application.
const INBOUND_PORT: u16 = 15006;
/// Longest silence of a client whose protocol has to be found out, where the server may speak first.
/// Istio waits for ever by default; a server that speaks first would then never be heard.
const DETECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// A port of the local workload.
#[derive(Debug, Clone)]
struct InboundPort<'a> {
    number: u16,
    protocol: AppProtocol,
    /// The services that send traffic to it, oldest first, with their own ports.
    services: Vec<(&'a Service, u16)>,
}

/// Longest silence of a client whose protocol has to be found out.
pub(crate) fn detection_timeout(outlook: &Outlook<'_>) -> Duration {
    outlook.mesh().protocol_detection_timeout.unwrap_or(DETECTION_TIMEOUT)
}

/// Adds the inbound side of a sidecar.
pub(crate) fn add(outlook: &Outlook<'_>, plan: &mut Plan) {
    let ports = ports(outlook);
    let accepted = select::peer_authentication(outlook.snapshot, outlook.scope.subject());
    for port in ports.values() {
        plan.clusters.push(local_cluster(outlook, port));
    }
    match outlook.scope.interception {
        Interception::None => {
            let listeners =
                ports.values().map(|port| listener(outlook, port, accepted.of_port(port.number)));
            plan.listeners.extend(listeners);
        }
        Interception::Redirect => {
            plan.listeners.push(virtual_inbound(outlook, &ports, &accepted));
        }
    }
}

/// Ports of the workload: those that services send to, and those that it declares.
fn ports<'a>(outlook: &Outlook<'a>) -> BTreeMap<u16, InboundPort<'a>> {
    let mut ports: BTreeMap<u16, InboundPort<'a>> = BTreeMap::new();
    if let Some(workload) = workload(outlook) {
        for (service, number, target) in outlook.snapshot.services_of(workload) {
            let Some(port) = service.port(number) else { continue };
            if port.protocol == AppProtocol::Udp {
                continue;
            }
            let protocol = port.protocol;
            // Of several services that disagree about a port the oldest one counts.
            let entry = ports.entry(target).or_insert_with(|| InboundPort {
                number: target,
                protocol,
                services: Vec::new(),
            });
            entry.services.push((service, number));
        }
    }
    for port in &outlook.scope.ports {
        let protocol = AppProtocol::from_word(port.name.split('-').next().unwrap_or_default());
        let protocol = protocol.unwrap_or(AppProtocol::Unknown);
        let declared = InboundPort { number: port.number, protocol, services: Vec::new() };
        ports.entry(port.number).or_insert(declared);
    }
    ports.retain(|number, port| !PROXY_PORTS.contains(number) && port.protocol != AppProtocol::Udp);
    ports
}

fn workload<'a>(outlook: &Outlook<'a>) -> Option<&'a Workload> {
    let scope = outlook.scope;
    let by_name = outlook.snapshot.workload(&scope.namespace, &scope.name);
    let by_address = || outlook.snapshot.workload_at(scope.address());
    by_name.or_else(by_address).map(AsRef::as_ref)
}

/// The address from which passed-through traffic is sent to the application, so that the capture
/// rules know it. Source: Istio.
pub(crate) const fn passthrough_source(address: IpAddr) -> SocketAddr {
    match address {
        IpAddr::V4(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6)), 0),
        IpAddr::V6(_) => SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)), 0),
    }
}

/// The cluster of a port of the application.
fn local_cluster(outlook: &Outlook<'_>, port: &InboundPort<'_>) -> Cluster {
    let name = inbound_cluster(port.number);
    let captured = outlook.scope.interception == Interception::Redirect;
    let discovery = if captured {
        Discovery::OriginalDst { port_override: None, header: None, metadata: None }
    } else {
        let address = SocketAddr::new(outlook.scope.app_address, port.number);
        let place = LocalityEndpoints {
            endpoints: vec![Endpoint::at(address)],
            ..LocalityEndpoints::default()
        };
        Discovery::Static(EndpointSet::new(name.clone(), vec![place]))
    };
    let mut cluster = Cluster::new(name, discovery);
    cluster.connect_timeout = outlook.mesh().connect_timeout;
    cluster.circuit_breakers = unlimited();
    if captured {
        cluster.lb = LbPolicy::ClusterProvided;
        cluster.bind_address = Some(passthrough_source(outlook.scope.address()));
    }
    cluster.http.protocol = if port.protocol.is_http2() {
        HttpProtocol::Http2
    } else if port.protocol == AppProtocol::Unknown {
        HttpProtocol::Downstream
    } else {
        HttpProtocol::Http1
    };
    if let Some((service, number)) = port.services.first()
        && let Some(rule) = outlook.rule(service)
        && let Some(pool) = rule.spec.effective(None, *number).connection_pool
    {
        apply_pool(&mut cluster, pool);
    }
    let mut services: Vec<ServiceReference> = Vec::new();
    for (service, _) in &port.services {
        let reference = service_reference(service);
        if !services.contains(&reference) {
            services.push(reference);
        }
    }
    cluster.metadata.services = services;
    cluster
}

/// Without capture: the listener of one port.
fn listener(outlook: &Outlook<'_>, port: &InboundPort<'_>, mode: MutualTlsMode) -> Listener {
    let address = SocketAddr::new(outlook.scope.address(), port.number);
    let mut listener = Listener::new(format!("{}_{}", address.ip(), port.number), address);
    listener.direction = Direction::Inbound;
    let kind = chains::PortKind::of(port.protocol);
    if mode != MutualTlsMode::Disable {
        listener.inspectors.push(ListenerFilter::tls());
    }
    if kind == chains::PortKind::Detect {
        listener.inspectors.push(ListenerFilter::http());
    }
    // Where the server may speak first, silence is an answer: the client speaks no TLS.
    if kind != chains::PortKind::Http && mode != MutualTlsMode::Strict {
        listener.inspect_timeout = Some(detection_timeout(outlook));
        listener.continue_on_inspect_timeout = true;
    }
    listener.chains = chains::of_port(outlook, &local_target(port), mode, None);
    listener.access_log = listener_logs(outlook, Side::Inbound);
    listener
}

fn local_target(port: &InboundPort<'_>) -> chains::LocalTarget {
    let operation = port.services.first().map_or_else(
        || format!(":{}/*", port.number),
        |(service, number)| format!("{}:{number}/*", service.host),
    );
    chains::LocalTarget {
        name: inbound_cluster(port.number),
        cluster: inbound_cluster(port.number),
        kind: chains::PortKind::of(port.protocol),
        grpc: port.protocol == AppProtocol::Grpc,
        operation,
        origin: port.services.first().map(|(service, _)| crate::route::service_origin(service)),
    }
}

/// With capture: one listener for all ports, and for those that nobody declared.
fn virtual_inbound(
    outlook: &Outlook<'_>,
    ports: &BTreeMap<u16, InboundPort<'_>>,
    accepted: &EffectiveMutualTls,
) -> Listener {
    let any = any_address(outlook.scope.address());
    let mut listener = Listener::new("virtualInbound", SocketAddr::new(any, INBOUND_PORT));
    listener.direction = Direction::Inbound;
    listener.inspectors =
        vec![ListenerFilter::original_dst(), ListenerFilter::tls(), ListenerFilter::http()];
    listener.inspect_timeout = Some(detection_timeout(outlook));
    listener.continue_on_inspect_timeout = true;
    let black_hole =
        tcp_proxy(outlook, Side::Inbound, TcpTarget::Cluster(BLACK_HOLE_CLUSTER.to_owned()));
    let mut loop_guard =
        plain_chain("virtualInbound-blackhole".to_owned(), Terminal::Tcp(black_hole.into()));
    loop_guard.matcher.destination_port = Some(INBOUND_PORT);
    listener.chains.push(loop_guard);
    for port in ports.values() {
        let mode = accepted.of_port(port.number);
        let target = local_target(port);
        listener.chains.extend(chains::of_port(outlook, &target, mode, Some(port.number)));
    }
    let passthrough = chains::LocalTarget {
        name: "virtualInbound".to_owned(),
        cluster: INBOUND_PASSTHROUGH_CLUSTER.to_owned(),
        kind: chains::PortKind::Detect,
        grpc: false,
        operation: String::new(),
        origin: None,
    };
    for (&number, &mode) in accepted.ports.iter().filter(|(number, _)| !ports.contains_key(number))
    {
        listener.chains.extend(chains::of_port(outlook, &passthrough, mode, Some(number)));
    }
    listener.chains.extend(chains::of_port(outlook, &passthrough, accepted.mode, None));
    listener.access_log = listener_logs(outlook, Side::Inbound);
    listener
}
