//! `DestinationRule`: how clients reach a service.

mod checks;
mod effective;
mod load_balancer;
mod parse;
mod pool;
mod tunnel;

use std::time::Duration;

use iako_types::{HostPattern, Hostname, Locality, Percent};

use super::Visibility;
use crate::Labels;

pub use effective::EffectivePolicy;
pub(crate) use parse::{parse, read_outliers};
pub(crate) use pool::read_connection_pool;

/// How clients reach the services it names. Source: `istio.networking.v1.DestinationRule`.
#[derive(Debug, Clone, PartialEq)]
pub struct DestinationRule {
    /// The service, or services below a domain.
    pub host: HostPattern,
    /// Only these clients of the object's namespace use it; `None` is all.
    pub workload_selector: Option<Labels>,
    /// Who may use it; `None` is the mesh's default.
    pub export_to: Option<Visibility>,
    /// For every endpoint, unless a subset says otherwise.
    pub traffic_policy: TrafficPolicy,
    /// Groups of endpoints by label.
    pub subsets: Vec<Subset>,
}

/// A group of endpoints. Source: `istio.networking.v1.Subset`.
#[derive(Debug, Clone, PartialEq)]
pub struct Subset {
    /// What routes call it.
    pub name: String,
    /// Labels of its endpoints.
    pub labels: Labels,
    /// Where it differs from the rule's own policy.
    pub traffic_policy: TrafficPolicy,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Source: `istio.networking.v1.TrafficPolicy`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrafficPolicy {
    /// For every port without settings of its own.
    pub policy: PortPolicy,
    /// By port of the service. These replace the rest wholly: what they leave out is default.
    pub port_level: Vec<(u16, PortPolicy)>,
    /// Retries at once; not replaced by port settings.
    pub retry_budget: Option<RetryBudget>,
    /// Connections go through a tunnel that a proxy makes.
    pub tunnel: Option<Tunnel>,
    /// The address of the client is told to the service before its first bytes.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

/// A tunnel for opaque connections. Source: `istio.networking.v1.TrafficPolicy.TunnelSettings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunnel {
    /// How it is asked for. Istio's default: `CONNECT`.
    pub method: TunnelMethod,
    /// The host at its end: a name or an address.
    pub target_host: Hostname,
    /// The port at its end.
    pub target_port: u16,
}

/// How a proxy is asked for a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TunnelMethod {
    /// `CONNECT`.
    #[default]
    Connect,
    /// `POST`.
    Post,
}

/// Source: `istio.networking.v1.TrafficPolicy.ProxyProtocol.VERSION`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyProtocolVersion {
    /// The text form. Istio's default.
    #[default]
    V1,
    /// The binary form.
    V2,
}

/// The settings that a port can have of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PortPolicy {
    /// Which endpoint takes the next request.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits.
    pub connection_pool: Option<ConnectionPool>,
    /// When an endpoint is left alone for a while.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS towards the service. Given, it ends automatic mutual TLS.
    pub tls: Option<ClientTlsSettings>,
}

/// Source: `istio.networking.v1.LoadBalancerSettings`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadBalancer {
    /// The algorithm. Istio's default: least request.
    pub algorithm: LoadBalancerAlgorithm,
    /// Preference for near endpoints; `None` is the mesh's.
    pub locality: Option<LocalityLoadBalancer>,
    /// Preference for the own zone, by its share of clients.
    pub zone_aware: Option<ZoneAware>,
    /// New endpoints are spared at first.
    pub warmup: Option<Warmup>,
}

/// Source: `istio.networking.v1.ZoneAwareLoadBalancerSetting`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneAware {
    /// `None` is the mesh's setting.
    pub enabled: Option<bool>,
    /// Regions to fall back to, from and to.
    pub failover: Vec<(String, String)>,
    /// Labels that must agree, in order of importance.
    pub failover_priority: Vec<String>,
    /// Fewer endpoints than these are all used alike. Istio's default: 6.
    pub endpoints_min: Option<u32>,
}

/// Which endpoint takes the next request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LoadBalancerAlgorithm {
    /// The less busy of two. Istio's default.
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// By chance.
    Random,
    /// The address that the client asked for.
    Passthrough,
    /// By a property of the request, so that it stays with one endpoint.
    ConsistentHash(ConsistentHash),
}

/// Source: `istio.networking.v1.LoadBalancerSettings.ConsistentHashLB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistentHash {
    /// The property.
    pub key: HashKey,
    /// The table.
    pub table: HashTable,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// A header, lower-cased.
    Header(String),
    /// A cookie; made when missing if it has a lifetime.
    Cookie {
        /// Its name.
        name: String,
        /// Its path.
        path: Option<String>,
        /// Its lifetime; zero is the browser's session.
        ttl: Option<Duration>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(String),
}

/// How hashes are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTable {
    /// A ring of at least so many entries. Istio's default: 1024.
    Ring {
        /// Entries.
        entries_min: u64,
    },
    /// A table of so many entries, a prime below 5,000,011. Envoy's default: 65537.
    Maglev {
        /// Entries.
        entries: u64,
    },
}

/// Source: `istio.networking.v1.LocalityLoadBalancerSetting`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalityLoadBalancer {
    /// `None` is the mesh's setting.
    pub enabled: Option<bool>,
    /// Shares by locality.
    pub distribute: Vec<LocalityDistribution>,
    /// Regions to fall back to, from and to.
    pub failover: Vec<(String, String)>,
    /// Labels that must agree, in order of importance.
    pub failover_priority: Vec<String>,
}

/// Shares of the traffic that starts in one locality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalityDistribution {
    /// Where it starts; `*` at the end of a part takes any.
    pub from: Locality,
    /// Where it goes and with which percentage; these add up to 100.
    pub to: Vec<(Locality, u32)>,
}

/// Source: `istio.networking.v1.WarmupConfiguration`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warmup {
    /// How long an endpoint is new.
    pub duration: Duration,
    /// Share at the start. Istio's default: 10 %.
    pub minimum: Percent,
    /// Exponent of the growth. Istio's default: 1.
    pub aggression: f64,
}

/// Limits towards one service. `None` is unlimited or Istio's default.
/// Source: `istio.networking.v1.ConnectionPoolSettings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionPool {
    /// Connections at once.
    pub connections_max: Option<u32>,
    /// Longest time to connect. Istio's default: the mesh's, 10 s.
    pub connect_timeout: Option<Duration>,
    /// Longest life of a connection.
    pub connection_duration_max: Option<Duration>,
    /// Longest silence of an opaque connection. Istio's default: 1 h; zero is unlimited.
    pub tcp_idle_timeout: Option<Duration>,
    /// Keep-alive of the operating system.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// Requests that wait for a connection.
    pub http1_pending_requests_max: Option<u32>,
    /// Requests at once, in any protocol.
    pub requests_max: Option<u32>,
    /// Requests on one connection before it is replaced.
    pub requests_per_connection_max: Option<u32>,
    /// Retries at once.
    pub retries_max: Option<u32>,
    /// Longest silence of an HTTP connection. Istio's default: 1 h.
    pub http_idle_timeout: Option<Duration>,
    /// Whether HTTP/1.1 clients reach the service in HTTP/2.
    pub h2_upgrade: H2Upgrade,
    /// The service is reached in the protocol of the client.
    pub use_client_protocol: bool,
    /// Streams at once on one HTTP/2 connection.
    pub concurrent_streams_max: Option<u32>,
    /// Pings of HTTP/2 connections.
    pub http2_keepalive: Option<Http2Keepalive>,
}

/// Source: `istio.networking.v1.ConnectionPoolSettings.HTTPSettings.HTTP2KeepAlive`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Keepalive {
    /// Time between pings; `None` is never.
    pub interval: Option<Duration>,
    /// A ping that is not answered for so long ends the connection.
    pub timeout: Duration,
}

/// Source: `istio.networking.v1.ConnectionPoolSettings.TCPSettings.TcpKeepalive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection is dead.
    pub probes: Option<u32>,
    /// Silence before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// Source: `istio.networking.v1.ConnectionPoolSettings.HTTPSettings.H2UpgradePolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum H2Upgrade {
    /// As the mesh says.
    #[default]
    Default,
    /// Never.
    No,
    /// Always.
    Yes,
}

/// When an endpoint is left alone for a while. `None` is Envoy's default.
/// Source: `istio.networking.v1.OutlierDetection`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Failures in a row, 5xx and broken connections; 0 is off. Default: 5. The old
    /// `consecutiveErrors` means gateway errors and sets the next field.
    pub consecutive_5xx: Option<u32>,
    /// Failures in a row, 502, 503, 504 and broken connections; 0 is off. Default: off.
    pub consecutive_gateway_errors: Option<u32>,
    /// Broken connections are counted apart.
    pub split_external_local_origin_errors: bool,
    /// Broken connections in a row. Default: 5.
    pub consecutive_local_origin_failures: Option<u32>,
    /// How often endpoints are looked at. Default: 10 s.
    pub interval: Option<Duration>,
    /// First rest; the n-th lasts n times as long. Default: 30 s.
    pub base_ejection_time: Option<Duration>,
    /// No more than this share rests at once. Default: 10 %.
    pub max_ejection: Option<Percent>,
    /// Below this share of healthy endpoints all are used. Istio's default: 0, never.
    pub min_health: Percent,
    /// Statuses that count as failures; none given is every 5xx.
    pub error_statuses: Vec<u16>,
}

/// Source: `istio.networking.v1.TrafficPolicy.RetryBudget`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries at once, as a share of requests in flight. Default: 20 %.
    pub percent: Percent,
    /// So many retries are always allowed. Default: 3.
    pub concurrency_min: u32,
    /// Requests of this time count too. Default: those in flight alone.
    pub interval: Option<Duration>,
}

/// TLS towards a service. Source: `istio.networking.v1.ClientTLSSettings`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTlsSettings {
    /// Which TLS.
    pub mode: ClientTlsMode,
    /// The client's certificate, a file in PEM (`MUTUAL`).
    pub client_certificate: Option<String>,
    /// Its key, a file in PEM (`MUTUAL`).
    pub private_key: Option<String>,
    /// Roots that may vouch for the server, a file in PEM; `None` is the system's.
    pub ca_certificates: Option<String>,
    /// A secret that holds certificate, key and roots.
    pub credential_name: Option<String>,
    /// Names of which the server must prove one.
    pub subject_alt_names: Vec<String>,
    /// Server name to ask for; `None` is the request's authority.
    pub sni: Option<String>,
    /// The server's certificate is not checked.
    pub insecure_skip_verify: bool,
}

/// Source: `istio.networking.v1.ClientTLSSettings.TLSmode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientTlsMode {
    /// No TLS.
    #[default]
    Disable,
    /// The server proves itself.
    Simple,
    /// Both prove themselves, with certificates that the user names.
    Mutual,
    /// Both prove themselves with their mesh identities.
    IstioMutual,
}
