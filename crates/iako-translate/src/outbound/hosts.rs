//! Virtual hosts of the services that the local application may call.

use std::{collections::BTreeSet, sync::Arc};

use iako_proxy_config::{Domain, Route, RouteConfiguration, RuleOrigin, VirtualHost};
use iako_registry::{Service, ServicePort};
use iako_resources::{
    Kind, Object, VirtualService,
    istio::{sidecar::OutboundTrafficPolicy, virtual_service::GatewayRef},
};
use iako_types::{AppProtocol, CidrRange, HostPattern};

use crate::{
    Interception,
    names::{HTTP_PROXY_ROUTES, PASSTHROUGH_CLUSTER, host_aliases},
    origin::object_origin,
    outlook::Outlook,
    route::{Place, answer, forward_to, routes_of, service_origin, service_route},
};

/// The port of a URL that names none.
const HTTP_PORT: u16 = 80;

/// Which spelling of a host with a port a table knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// With the port; port 80 without it too. For one table of all ports.
    WithPort,
    /// Without it. For a table of one port, which does not look at ports in hosts.
    Bare,
}

/// Whether requests can be told apart on a port.
pub(super) const fn carries_http(port: &ServicePort) -> bool {
    port.protocol.is_http() || matches!(port.protocol, AppProtocol::Unknown)
}

/// The one table of the explicit proxy: all services, all ports.
pub(super) fn http_proxy_routes(outlook: &Outlook<'_>) -> RouteConfiguration {
    let mut hosts = Hosts::new(outlook, Spelling::WithPort);
    for service in &outlook.services {
        for port in service.ports.iter().filter(|port| carries_http(port)) {
            hosts.add_service(service, port);
        }
    }
    hosts.add_hosts_of_rules();
    for service in &outlook.services {
        hosts.add_port_hint(service);
    }
    hosts.finish(HTTP_PROXY_ROUTES.to_owned())
}

/// The table of one port, for captured traffic.
pub(super) fn port_routes(outlook: &Outlook<'_>, number: u16) -> RouteConfiguration {
    let mut hosts = Hosts::new(outlook, Spelling::Bare);
    for service in &outlook.services {
        for port in service.ports.iter().filter(|port| carries_http(port)) {
            if port.number == number {
                hosts.add_service(service, port);
            }
        }
    }
    if number == HTTP_PORT {
        hosts.add_hosts_of_rules();
    }
    let mut table = hosts.finish(number.to_string());
    table.ignore_port_in_host = true;
    table
}

/// The table of one port of one service that has an address of its own.
pub(super) fn service_routes(
    outlook: &Outlook<'_>,
    service: &Service,
    port: &ServicePort,
) -> RouteConfiguration {
    let mut hosts = Hosts::new(outlook, Spelling::Bare);
    hosts.add_service(service, port);
    let mut table = hosts.finish(format!("{}:{}", service.host, port.number));
    table.ignore_port_in_host = true;
    // Who reached this address meant this service, whatever it calls it.
    let only = table.virtual_hosts.first_mut();
    if let Some(only) = only.filter(|_| !service.addresses.is_empty()) {
        Arc::make_mut(only).domains = vec![Domain::Any];
        table.virtual_hosts.truncate(1);
    }
    table
}

struct Hosts<'a> {
    outlook: &'a Outlook<'a>,
    spelling: Spelling,
    taken: BTreeSet<Domain>,
    virtual_hosts: Vec<VirtualHost>,
}

impl<'a> Hosts<'a> {
    const fn new(outlook: &'a Outlook<'a>, spelling: Spelling) -> Self {
        Self { outlook, spelling, taken: BTreeSet::new(), virtual_hosts: Vec::new() }
    }

    fn add_service(&mut self, service: &Service, port: &ServicePort) {
        let names = self.names(service);
        let (routes, origin) = self.service_rules(service, port);
        self.push(&names, port.number, routes, origin);
    }

    /// The routes of a service: those of the VirtualService that claims its host, unless it has none
    /// for this client.
    fn service_rules(&self, service: &Service, port: &ServicePort) -> (Vec<Route>, RuleOrigin) {
        let place = Place { outlook: self.outlook, gateway: GatewayRef::Mesh, port: port.number };
        if let Some(object) = claimant(self.outlook, &service.host) {
            let routes = routes_of(&place, object);
            if !routes.is_empty() {
                return (routes, object_origin(Kind::VirtualService, object));
            }
        }
        (vec![service_route(self.outlook, service, port)], service_origin(service))
    }

    /// Hosts that only a VirtualService names, no registry: known on port 80.
    fn add_hosts_of_rules(&mut self) {
        let place = Place { outlook: self.outlook, gateway: GatewayRef::Mesh, port: HTTP_PORT };
        for object in &self.outlook.virtual_services {
            let unknown = object.spec.hosts.iter().filter(|host| {
                !self.outlook.services.iter().any(|service| host.covers(&service.host))
            });
            for host in unknown {
                let routes = routes_of(&place, object);
                if !routes.is_empty() {
                    let origin = object_origin(Kind::VirtualService, object);
                    self.push(&[host.to_string()], HTTP_PORT, routes, origin);
                }
            }
        }
    }

    /// A URL without a port means port 80. A service without that port says which ones it has.
    fn add_port_hint(&mut self, service: &Service) {
        let ports: Vec<String> = service
            .ports
            .iter()
            .filter(|port| carries_http(port))
            .map(|port| port.number.to_string())
            .collect();
        if ports.is_empty() || service.port(HTTP_PORT).is_some() {
            return;
        }
        let sentence =
            format!("{} has no port 80; name its port: {}\n", service.host, ports.join(", "));
        let mut route = answer("port_not_found", 502, sentence);
        route.origin = Some(service_origin(service));
        let names = self.names(service);
        self.push(&names, HTTP_PORT, vec![route], service_origin(service));
    }

    fn names(&self, service: &Service) -> Vec<String> {
        let scope = self.outlook.scope;
        let domain = &self.outlook.mesh().cluster_domain;
        let mut names = match service.hostname() {
            Some(host) => host_aliases(host, scope.namespace.as_str(), domain),
            None => vec![service.host.to_string()],
        };
        for alias in &service.aliases {
            names.extend(host_aliases(alias, scope.namespace.as_str(), domain));
        }
        if service.is_headless() {
            let pods: Vec<String> = names.iter().map(|name| format!("*.{name}")).collect();
            names.extend(pods);
        }
        names.extend(service.addresses.iter().filter_map(single_address));
        names
    }

    fn push(&mut self, names: &[String], port: u16, routes: Vec<Route>, origin: RuleOrigin) {
        let spelled = names.iter().flat_map(|name| {
            let bare = self.spelling == Spelling::Bare || port == HTTP_PORT;
            let with_port = self.spelling == Spelling::WithPort;
            [bare.then(|| name.clone()), with_port.then(|| format!("{name}:{port}"))]
        });
        let parsed: Vec<Domain> = spelled.flatten().filter_map(|name| name.parse().ok()).collect();
        // Of two that claim one name the first counts: a name may stand in one host only.
        let domains: Vec<Domain> =
            parsed.into_iter().filter(|domain| self.taken.insert(domain.clone())).collect();
        if domains.is_empty() {
            return;
        }
        let first = names.first().map(String::as_str).unwrap_or_default();
        self.virtual_hosts.push(VirtualHost {
            name: format!("{first}:{port}"),
            domains,
            routes: routes.into_iter().map(Arc::new).collect(),
            include_attempt_count: true,
            origin: Some(origin),
            ..VirtualHost::default()
        });
    }

    fn finish(mut self, name: String) -> RouteConfiguration {
        self.virtual_hosts.push(catch_all(self.outlook));
        RouteConfiguration::new(name, self.virtual_hosts)
    }
}

/// The VirtualService with rules for requests that claims a host: the most specific of its hosts
/// wins, then the order of the objects.
pub(super) fn claimant<'a>(
    outlook: &Outlook<'a>,
    host: &HostPattern,
) -> Option<&'a Object<VirtualService>> {
    claim(outlook, host, |object| !object.spec.http.is_empty())
}

pub(super) fn claim<'a>(
    outlook: &Outlook<'a>,
    host: &HostPattern,
    wanted: impl Fn(&Object<VirtualService>) -> bool,
) -> Option<&'a Object<VirtualService>> {
    let mut best = None;
    for object in outlook.virtual_services.iter().filter(|object| wanted(object)) {
        let covering = object.spec.hosts.iter().filter(|pattern| pattern.covers(host));
        let Some(specificity) = covering.map(HostPattern::specificity).max() else { continue };
        if best.is_none_or(|(other, _): (_, &Object<VirtualService>)| specificity > other) {
            best = Some((specificity, object));
        }
    }
    best.map(|(_, object)| object)
}

/// An address range of one address, as it stands in a URL.
fn single_address(range: &CidrRange) -> Option<String> {
    let single = range.prefix_len() == range.max_prefix_len();
    single.then(|| match range.addr() {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => format!("[{address}]"),
    })
}

/// What happens to hosts that nobody knows.
fn catch_all(outlook: &Outlook<'_>) -> VirtualHost {
    let captured = outlook.scope.interception == Interception::Redirect;
    let (name, route) = match outlook.outbound_policy {
        OutboundTrafficPolicy::RegistryOnly => (
            "block_all",
            answer(
                "block_all",
                502,
                "no service of the mesh has this host, and the outbound policy is REGISTRY_ONLY\n"
                    .to_owned(),
            ),
        ),
        OutboundTrafficPolicy::AllowAny if captured => {
            ("allow_any", forward_to("allow_any", PASSTHROUGH_CLUSTER))
        }
        // The address that the application would have reached is not known here, and a proxy that
        // resolves any name for anybody is not what ALLOW_ANY asks for.
        OutboundTrafficPolicy::AllowAny => (
            "allow_any",
            answer(
                "allow_any",
                502,
                "no service of the mesh has this host; without capture a ServiceEntry must name \
                 hosts outside of the mesh\n"
                    .to_owned(),
            ),
        ),
    };
    VirtualHost {
        name: name.to_owned(),
        domains: vec![Domain::Any],
        routes: vec![Arc::new(route)],
        include_attempt_count: true,
        ..VirtualHost::default()
    }
}
