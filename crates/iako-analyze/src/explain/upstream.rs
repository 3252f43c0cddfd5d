//! From the cluster to the server: instances, TLS, and a client without a sidecar.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use iako_proxy_config::{
    Cluster, Discovery, Endpoint, EndpointAddress, EndpointSet, HealthStatus, HttpProtocol,
    StringMatch, UpstreamTls, UpstreamTransport,
};
use iako_registry::{Service, Workload};
use iako_traffic::{ConnectionInfo, Metadata, PeerCertificate, TlsFacts};
use iako_types::{Hostname, Namespace, SpiffeId};

use super::{Decision, Outcome, Walk, hop::Hop, http::ClientProxy, why};

const CLIENT_PORT: u16 = 40_001;
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// What the ALPN filter offers for a request. Source: `istio.alpn`.
const OVER_HTTP1: [&str; 3] = ["istio-http/1.1", "istio", "http/1.1"];
const OVER_HTTP2: [&str; 3] = ["istio-h2", "istio", "h2"];

impl Walk<'_> {
    /// The request goes to a cluster.
    pub(super) fn upstream(
        &mut self,
        proxy: &ClientProxy<'_>,
        name: &str,
        not_found: u16,
        mut hop: Hop,
    ) {
        let Some((cluster, endpoint)) = self.choose(proxy, name, not_found) else { return };
        let http2 = cluster.http.protocol == HttpProtocol::Http2;
        let alpn = if http2 { OVER_HTTP2 } else { OVER_HTTP1 };
        let connection = self.connection(proxy, &cluster, &endpoint, &alpn);
        hop.connection = connection;
        hop.scheme = "http";
        hop.metadata = Metadata::default();
        self.server(&endpoint, Some(hop), None);
    }

    /// Finds the cluster and an instance, and tells about both.
    pub(super) fn choose(
        &mut self,
        proxy: &ClientProxy<'_>,
        name: &str,
        not_found: u16,
    ) -> Option<(Cluster, Endpoint)> {
        self.explanation.cluster = Some(name.to_owned());
        let Some(cluster) = proxy.plan.cluster(name) else {
            let why = format!(
                "the proxy has no cluster {name}: the service, its port or the subset does not exist"
            );
            self.step("cluster", Outcome::Answered, None, why);
            self.respond(not_found);
            return None;
        };
        let origin = cluster.metadata.origin.as_ref();
        self.step(
            "cluster",
            Outcome::Chosen,
            origin,
            format!("it goes to {}", why::service(cluster)),
        );
        let set = match &cluster.discovery {
            Discovery::Eds(name) => proxy.plan.endpoint_set(name.name()),
            Discovery::Static(set) | Discovery::StrictDns(set) | Discovery::LogicalDns(set) => {
                Some(set)
            }
            Discovery::OriginalDst { .. }
            | Discovery::DynamicForward(_)
            | Discovery::Aggregate(_) => {
                let why = "it goes to the address that the client meant";
                self.step("endpoints", Outcome::Passed, None, why);
                self.explanation.decision = Decision::Passthrough;
                return None;
            }
        };
        let usable = set.map(usable).unwrap_or_default();
        self.explanation.endpoints = usable.iter().map(|found| written(&found.address)).collect();
        let Some(first) = usable.first() else {
            let why = format!("no instance of {} is ready", why::service(cluster));
            self.step("endpoints", Outcome::Answered, None, why);
            self.respond(503);
            return None;
        };
        let why = match usable.len() {
            1 => "one instance is ready".to_owned(),
            count => format!("{count} instances are ready; what follows is asked of the first"),
        };
        self.step("endpoints", Outcome::Chosen, None, why);
        Some((cluster.clone(), (*first).clone()))
    }

    /// The connection to an instance, as the instance's proxy sees it.
    pub(super) fn connection(
        &mut self,
        proxy: &ClientProxy<'_>,
        cluster: &Cluster,
        endpoint: &Endpoint,
        alpn: &[&str],
    ) -> ConnectionInfo {
        let matching = cluster.transport_matches.iter().find(|candidate| {
            let own = &endpoint.metadata.transport_match;
            candidate.criteria.iter().all(|(key, value)| own.get(key) == Some(value))
        });
        let transport = matching.map_or(&cluster.transport, |found| &found.transport);
        let remote = SocketAddr::new(proxy.workload.address.unwrap_or(NOWHERE.ip()), CLIENT_PORT);
        let mut connection = ConnectionInfo::plain(socket(endpoint), remote);
        let automatic = !cluster.transport_matches.is_empty();
        match transport {
            UpstreamTransport::Raw => {
                let why = if automatic {
                    "plain text: the instance does not take the mesh's mutual TLS"
                } else if cluster.metadata.external {
                    "the mesh adds no TLS: the service is outside of it"
                } else {
                    "plain text"
                };
                self.step("tls", Outcome::Chosen, cluster.metadata.origin.as_ref(), why);
            }
            UpstreamTransport::Tls(tls) => {
                let origin = cluster.metadata.origin.as_ref().filter(|_| !automatic);
                let offered: Vec<String> = if cluster.metadata.alpn_override {
                    alpn.iter().map(|&name| name.to_owned()).collect()
                } else {
                    tls.options.alpn.clone()
                };
                let because = if automatic { ", because the instance takes it" } else { "" };
                let why = tls_sentence(tls, &proxy.workload.identity, because);
                self.step("tls", Outcome::Chosen, origin, why);
                "tls".clone_into(&mut connection.transport_protocol);
                connection.server_name = tls.sni.clone().unwrap_or_default();
                connection.application_protocols = offered;
                connection.tls = Some(client_facts(tls, &proxy.workload.identity));
            }
        }
        connection
    }

    /// A workload without a sidecar sends the request: straight to an instance, in plain text.
    pub(super) fn send_plain(&mut self, workload: &Workload) {
        let name = format!("{}/{}", workload.namespace, workload.name);
        let why = format!("{name} has no sidecar: nothing routes or protects what it sends");
        self.step("client", Outcome::Chosen, None, why);
        let Some(endpoint) = self.plain_endpoint(&workload.namespace) else {
            let why = format!("no service is called {}", self.target.host);
            self.step("host", Outcome::Refused, None, why);
            self.close();
            return;
        };
        self.explanation.endpoints = vec![endpoint.to_string()];
        let remote = SocketAddr::new(workload.address.unwrap_or(NOWHERE.ip()), CLIENT_PORT);
        let hop = Hop {
            method: self.request.method.to_ascii_uppercase(),
            scheme: "http",
            authority: self.target.authority.clone(),
            path_and_query: self.target.path_and_query.clone(),
            headers: self.request.headers.clone(),
            connection: ConnectionInfo::plain(endpoint, remote),
            metadata: Metadata::default(),
        };
        let planned = Endpoint::at(endpoint);
        self.step("tls", Outcome::Chosen, None, "plain text: there is no sidecar to protect it");
        self.server(&planned, Some(hop), None);
    }

    fn plain_endpoint(&self, namespace: &Namespace) -> Option<SocketAddr> {
        let service = self.asked_service(namespace)?;
        let endpoints = service.endpoints(self.target.port);
        let ready = endpoints.iter().find(|endpoint| endpoint.ready)?;
        Some(SocketAddr::new(ready.ip()?, ready.port))
    }

    /// The service that the host of the URL means to a client in `namespace`.
    pub(super) fn asked_service(&self, namespace: &Namespace) -> Option<&Service> {
        let domain = &self.snapshot.mesh.cluster_domain;
        let host = &self.target.host;
        let full = match host.split('.').count() {
            1 => format!("{host}.{namespace}.svc.{domain}"),
            2 => format!("{host}.svc.{domain}"),
            3 if host.ends_with(".svc") => format!("{host}.{domain}"),
            _ => host.clone(),
        };
        let service = self.snapshot.service(&full.parse::<Hostname>().ok()?, namespace)?;
        Some(service.as_ref())
    }
}

fn tls_sentence(tls: &UpstreamTls, identity: &SpiffeId, because: &str) -> String {
    if tls.options.certificates.is_empty() {
        return "TLS that the client's proxy speaks, without a certificate of its own".to_owned();
    }
    let servers: Vec<String> = tls
        .options
        .validation
        .subject_alt_names
        .iter()
        .map(|name| match &name.matcher {
            StringMatch::Exact { value, .. } => value.clone(),
            StringMatch::Prefix { .. }
            | StringMatch::Suffix { .. }
            | StringMatch::Contains { .. }
            | StringMatch::Regex(_) => "somebody of a pattern".to_owned(),
        })
        .collect();
    let expected = match servers.len() {
        0 => String::new(),
        _ => format!("; the server must be {}", servers.join(" or ")),
    };
    format!("mutual TLS{because}: the client proves {identity}{expected}")
}

fn client_facts(tls: &UpstreamTls, identity: &SpiffeId) -> TlsFacts {
    let peer = (!tls.options.certificates.is_empty()).then(|| PeerCertificate {
        uris: vec![identity.to_string()],
        ..PeerCertificate::default()
    });
    TlsFacts { peer, ..TlsFacts::default() }
}

/// Instances of the best priority that take traffic.
fn usable(set: &EndpointSet) -> Vec<&Endpoint> {
    let ready = |endpoint: &&Endpoint| {
        matches!(
            endpoint.health,
            HealthStatus::Unknown | HealthStatus::Healthy | HealthStatus::Degraded
        )
    };
    let best = set
        .localities
        .iter()
        .filter(|place| place.endpoints.iter().any(|endpoint| ready(&endpoint)))
        .map(|place| place.priority)
        .min();
    let nearest = set.localities.iter().filter(|place| Some(place.priority) == best);
    nearest.flat_map(|place| place.endpoints.iter().filter(ready)).collect()
}

fn written(address: &EndpointAddress) -> String {
    match address {
        EndpointAddress::Socket(address) => address.to_string(),
        EndpointAddress::Host { name, port } => format!("{name}:{port}"),
        EndpointAddress::Pipe(path) => path.display().to_string(),
        EndpointAddress::Internal { listener, id } => format!("envoy://{listener}/{id}"),
    }
}

/// The address of an instance; none that means anything while a name is not resolved.
pub(super) fn socket(endpoint: &Endpoint) -> SocketAddr {
    match &endpoint.address {
        EndpointAddress::Socket(address) => *address,
        EndpointAddress::Host { port, .. } => SocketAddr::new(NOWHERE.ip(), *port),
        EndpointAddress::Pipe(_) | EndpointAddress::Internal { .. } => NOWHERE,
    }
}
