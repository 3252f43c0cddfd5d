//! Gateways: listeners of the servers that Gateway objects give them, and the routes of the
//! VirtualServices bound to those.

mod hosts;
mod tls;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use iako_proxy_config::{
    Direction, DownstreamTransport, FilterChain, Listener, ListenerFilter, RouteSource, Terminal,
};
use iako_registry::select::{self, BoundGateway};
use iako_resources::{
    Code, Diagnostic, Kind,
    istio::{
        gateway::{ServerProtocol, ServerTlsMode},
        virtual_service::GatewayRef,
    },
    kubernetes::service::TargetPort,
};
use iako_types::HostPattern;

use crate::{
    Interception, Plan,
    access_log::{Side, listener_logs},
    filters::{connection_manager, network_filters, tcp_proxy},
    origin::rule_origin,
    outbound::{any_address, plain_chain, server_names, stream_target},
    outlook::Outlook,
    route::Place,
};

/// Longest time for a TLS handshake at the edge. Source: Istio.
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

/// A server of a Gateway object, and the port on which it is bound here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BoundServer<'a> {
    pub(crate) bound: BoundGateway<'a>,
    /// The port that is listened on.
    pub(crate) port: u16,
}

impl BoundServer<'_> {
    /// The Gateway object as VirtualServices name it.
    pub(crate) fn gateway_ref(&self) -> GatewayRef {
        GatewayRef::Gateway {
            namespace: self.bound.gateway.meta.namespace.clone(),
            name: self.bound.gateway.meta.name.clone(),
        }
    }

    fn mode(&self) -> ServerTlsMode {
        self.bound.server.tls.as_ref().map(|tls| tls.mode).unwrap_or_default()
    }

    /// Whether TLS passes through to be told apart by server name.
    fn passes_through(&self) -> bool {
        matches!(self.bound.server.protocol, ServerProtocol::Https | ServerProtocol::Tls)
            && matches!(self.mode(), ServerTlsMode::Passthrough | ServerTlsMode::AutoPassthrough)
    }

    /// Whether requests are told apart, with or without TLS.
    fn carries_http(&self) -> bool {
        let protocol = self.bound.server.protocol;
        protocol.is_plain_http() || (protocol == ServerProtocol::Https && !self.passes_through())
    }

    /// The name of its route table.
    pub(crate) fn route_name(&self) -> String {
        let gateway = self.bound.gateway;
        if self.bound.server.protocol.is_plain_http() {
            return format!("http.{}", self.port);
        }
        let name = &self.bound.server.port_name;
        let (object, namespace) = (&gateway.meta.name, &gateway.meta.namespace);
        format!("https.{}.{name}.{object}.{namespace}", self.port)
    }
}

/// The servers of a gateway with the ports on which they are bound, oldest object first.
pub(crate) fn bound_servers<'a>(outlook: &Outlook<'a>) -> Vec<BoundServer<'a>> {
    select::gateways_for(outlook.snapshot, outlook.scope.subject())
        .into_iter()
        .map(|bound| BoundServer { bound, port: bound_port(outlook, bound.server.port) })
        .collect()
}

/// The port that is listened on for a port of a Gateway object: shifted where low ports need
/// privileges, else the target port of the gateway's own Service.
fn bound_port(outlook: &Outlook<'_>, number: u16) -> u16 {
    if let Some(shift) = outlook.scope.port_shift {
        return if number < 1024 { number.saturating_add(shift) } else { number };
    }
    let scope = outlook.scope;
    let Some(workload) = outlook.snapshot.workload(&scope.namespace, &scope.name) else {
        return number;
    };
    let services = outlook.snapshot.services_of(workload).into_iter();
    let target =
        services.filter(|(_, port, _)| *port == number).map(
            |(service, port, target)| match service.port(port).map(|port| &port.target) {
                Some(TargetPort::Number(target)) => *target,
                Some(TargetPort::Name(_)) | None => target,
            },
        );
    target.min().unwrap_or(number)
}

/// Adds what a gateway is told.
pub(crate) fn add(outlook: &Outlook<'_>, plan: &mut Plan) {
    let mut by_address: BTreeMap<SocketAddr, Vec<BoundServer<'_>>> = BTreeMap::new();
    let mut tables: BTreeMap<String, Vec<BoundServer<'_>>> = BTreeMap::new();
    for server in bound_servers(outlook) {
        let address = SocketAddr::new(bind_address(outlook, server.bound.server.bind), server.port);
        by_address.entry(address).or_default().push(server);
        if server.carries_http() {
            tables.entry(server.route_name()).or_default().push(server);
        }
    }
    for (address, servers) in by_address {
        let listener = listener(outlook, address, &servers, plan);
        plan.listeners.extend(listener);
    }
    for (name, servers) in tables {
        plan.routes.push(hosts::route_table(outlook, name, &servers));
    }
}

fn bind_address(outlook: &Outlook<'_>, bind: Option<IpAddr>) -> IpAddr {
    let scope = outlook.scope;
    let local = scope.interception == Interception::None || scope.port_shift.is_some();
    let own = if local { scope.address() } else { any_address(scope.address()) };
    bind.unwrap_or(own)
}

fn listener(
    outlook: &Outlook<'_>,
    address: SocketAddr,
    servers: &[BoundServer<'_>],
    plan: &mut Plan,
) -> Option<Listener> {
    let mut listener = Listener::new(format!("{}_{}", address.ip(), address.port()), address);
    listener.direction = Direction::Outbound;
    for server in servers {
        if server.bound.server.protocol.is_plain_http() {
            // All plain HTTP servers of a port share one chain and one route table.
            if listener.default_chain.is_none() {
                listener.default_chain = Some(http_chain(outlook, server));
            } else if !is_http(listener.default_chain.as_ref()) {
                plan.diagnostics.push(port_conflict(server));
            }
        } else if server.bound.server.protocol == ServerProtocol::Tcp {
            let chain = tcp_chain(outlook, server);
            match (&listener.default_chain, chain) {
                (None, chain) => listener.default_chain = chain,
                (Some(_), Some(_)) => plan.diagnostics.push(port_conflict(server)),
                (Some(_), None) => {}
            }
        } else {
            listener.inspectors = vec![ListenerFilter::tls()];
            listener.chains.extend(tls_chains(outlook, server, plan));
        }
    }
    drop_repeated_chains(&mut listener);
    listener.access_log = listener_logs(outlook, Side::Gateway);
    (listener.default_chain.is_some() || !listener.chains.is_empty()).then_some(listener)
}

/// Two chains with the same conditions cannot be told apart: the older one counts.
fn drop_repeated_chains(listener: &mut Listener) {
    let mut seen = Vec::new();
    listener.chains.retain(|chain| {
        let new = !seen.contains(&chain.matcher);
        if new {
            seen.push(chain.matcher.clone());
        }
        new
    });
}

fn is_http(chain: Option<&FilterChain>) -> bool {
    chain.is_some_and(|chain| matches!(chain.terminal, Terminal::Http(_)))
}

fn port_conflict(server: &BoundServer<'_>) -> Diagnostic {
    let gateway = server.bound.gateway;
    let subject = format!("Gateway {}/{}", gateway.meta.namespace, gateway.meta.name);
    let message = format!(
        "port {} is taken by an older Gateway with another protocol; this server is not started",
        server.bound.server.port
    );
    let origin = gateway.origin_at(server.bound.server.line);
    Diagnostic::new(Code::GatewayConflict, subject, origin, message)
}

fn http_chain(outlook: &Outlook<'_>, server: &BoundServer<'_>) -> FilterChain {
    let name = server.route_name();
    let prefix = format!("outbound_0.0.0.0_{}", server.port);
    let routes = RouteSource::Rds(name.as_str().into());
    let settings = connection_manager(outlook, Side::Gateway, prefix, routes);
    plain_chain(name, Terminal::Http(settings.into()))
}

fn tls_chains(
    outlook: &Outlook<'_>,
    server: &BoundServer<'_>,
    plan: &mut Plan,
) -> Vec<FilterChain> {
    if server.passes_through() {
        return passthrough_chains(outlook, server);
    }
    let Some(settings) = &server.bound.server.tls else { return Vec::new() };
    let mut chain = if server.carries_http() {
        http_chain(outlook, server)
    } else {
        match tcp_chain(outlook, server) {
            Some(chain) => chain,
            None => return Vec::new(),
        }
    };
    let hosts: Vec<HostPattern> =
        server.bound.server.hosts.iter().map(|host| host.host.clone()).collect();
    chain.matcher.server_names = server_names(&hosts);
    chain.matcher.transport_protocol = Some("tls".to_owned());
    chain.handshake_timeout = Some(HANDSHAKE_TIMEOUT);
    let alpn: &[&str] = if server.carries_http() { &["h2", "http/1.1"] } else { &[] };
    let transport = tls::terminate(settings, alpn, plan);
    chain.transport = DownstreamTransport::Tls(Box::new(transport));
    vec![chain]
}

/// TLS that is not ended here: the rules `tls` of the VirtualServices, by server name.
fn passthrough_chains(outlook: &Outlook<'_>, server: &BoundServer<'_>) -> Vec<FilterChain> {
    let gateway = server.gateway_ref();
    let place = Place { outlook, gateway, port: server.bound.server.port };
    let mut chains = Vec::new();
    for object in hosts::virtual_services(outlook, server) {
        for rule in &object.spec.tls {
            for matcher in rule.matches.iter().filter(|found| place.takes_stream(&found.stream)) {
                let served: Vec<HostPattern> = matcher
                    .sni_hosts
                    .iter()
                    .flat_map(|host| hosts::served(server, &object.meta.namespace, host))
                    .collect();
                if served.is_empty() {
                    continue;
                }
                let target = stream_target(outlook, place.port, &rule.route);
                let proxy = tcp_proxy(outlook, Side::Gateway, target);
                let origin = rule_origin(Kind::VirtualService, object, rule.line);
                let name = format!("{} {}/{}", origin.kind, origin.namespace, origin.name);
                let mut chain = plain_chain(name, Terminal::Tcp(proxy.into()));
                chain.matcher.server_names = server_names(&served);
                chain.matcher.transport_protocol = Some("tls".to_owned());
                chain.filters = network_filters(outlook, Side::Gateway);
                chains.push(chain);
            }
        }
    }
    chains
}

/// Opaque connections: the first rule `tcp` of the VirtualServices that exists here.
fn tcp_chain(outlook: &Outlook<'_>, server: &BoundServer<'_>) -> Option<FilterChain> {
    let gateway = server.gateway_ref();
    let place = Place { outlook, gateway, port: server.bound.server.port };
    let rules = hosts::virtual_services(outlook, server)
        .into_iter()
        .flat_map(|object| object.spec.tcp.iter().map(move |rule| (object, rule)));
    let mut found = rules.filter(|(_, rule)| {
        rule.matches.is_empty() || rule.matches.iter().any(|matcher| place.takes_stream(matcher))
    });
    let (object, rule) = found.next()?;
    let target = stream_target(outlook, place.port, &rule.route);
    let proxy = tcp_proxy(outlook, Side::Gateway, target);
    let name = format!("VirtualService {}/{}", object.meta.namespace, object.meta.name);
    let mut chain = plain_chain(name, Terminal::Tcp(proxy.into()));
    chain.filters = network_filters(outlook, Side::Gateway);
    Some(chain)
}
