//! A group of instances that can stand for each other, and how to talk to them.

mod connecting;
mod dns;
mod lb;
mod load_report;

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, time::Duration};

use iako_types::Percent;

pub use connecting::{AddressOrder, Connecting, FirstFamily, Preconnect};
pub use dns::{DnsCache, DnsFailureRefresh, DnsFamily, DnsOptions};
pub use lb::{
    ClientWeighted, ConsistentHashing, HashFunction, LbPolicy, LeastRequest, LocalityBalancing,
    LocalityBasis, MaglevTable, MetadataPath, OverrideHost, OverrideSource, OverrideStatuses,
    PeakEwma, PickFirst, RingHash, SelectorFallback, SlowStart, SubsetFallback, SubsetSelection,
    SubsetSelector, ZoneAware,
};
pub use load_report::LoadReport;

use crate::{
    EndpointSet, FilterMetadata, HeaderCase, HeaderName, HealthCheck, Http2Options,
    OutlierDetection, ProxyProtocolHeader, RuleOrigin, SourcedName, UpstreamTransport,
};

/// An upstream. Source: `envoy.config.cluster.v3.Cluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// What routes refer to; in Istio's form `outbound|<port>|<subset>|<host>`.
    pub name: String,
    /// The name in statistics; `name` when empty.
    pub alt_stat_name: String,
    /// Where its instances are found.
    pub discovery: Discovery,
    /// Longest time to establish a connection, TLS included. Envoy default: 5 s; Istio: 10 s.
    pub connect_timeout: Duration,
    /// How an instance is chosen.
    pub lb: LbPolicy,
    /// Choosing among a part of the instances by their metadata; all of them when absent.
    pub subsets: Option<SubsetSelection>,
    /// Below this share of healthy instances all are used; 0 switches that off. Envoy default: 50 %.
    pub panic_threshold: Percent,
    /// The share of requests that is refused because an operator has the cluster in maintenance.
    /// Nothing unless the runtime says more (`upstream.maintenance_mode.<cluster>`); nothing that
    /// is sent names it.
    pub maintenance: Percent,
    /// How places share traffic.
    pub localities: LocalityBalancing,
    /// Where requests name the instance that they want; nowhere when absent.
    pub override_host: Option<OverrideHost>,
    /// With which health an instance is used that a session names.
    pub override_statuses: OverrideStatuses,
    /// This proxy uses only so many of the instances; all when absent. Source:
    /// `envoy.extensions.load_balancing_policies.random_subsetting.v3.RandomSubsetting`.
    pub random_subset: Option<NonZeroU32>,
    /// Limits on what is open at once.
    pub circuit_breakers: CircuitBreakers,
    /// When instances are set aside; never when absent.
    pub outlier_detection: Option<OutlierDetection>,
    /// How the proxy finds out by itself whether instances work; not at all when absent.
    pub health_check: Option<HealthCheck>,
    /// What happens when instances come, go, or change their health.
    pub membership: Membership,
    /// How HTTP is spoken to it.
    pub http: ClusterHttp,
    /// How bytes are sent, when no match below fits.
    pub transport: UpstreamTransport,
    /// The PROXY protocol header that goes ahead of them, outside of TLS.
    pub proxy_protocol: Option<Box<ProxyProtocolHeader>>,
    /// How bytes are sent to instances with certain metadata; the first that fits counts.
    pub transport_matches: Vec<TransportMatch>,
    /// Probes on idle connections; the operating system's choice when absent.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// The local address to connect from; any when absent.
    pub bind_address: Option<SocketAddr>,
    /// Further ones, of which the first is used that has the family of the instance, where the
    /// first has another. Source: `extra_source_addresses`.
    pub bind_others: Vec<SocketAddr>,
    /// When connections are opened, and who shares them.
    pub connecting: Connecting,
    /// How names are resolved, for DNS clusters.
    pub dns: DnsOptions,
    /// Facts for telemetry and explanations.
    pub metadata: ClusterMetadata,
}

impl Cluster {
    /// A cluster with Envoy's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            alt_stat_name: String::new(),
            discovery,
            connect_timeout: Duration::from_secs(5),
            lb: LbPolicy::RoundRobin(None),
            subsets: None,
            panic_threshold: Percent::from_whole(50).unwrap_or(Percent::ZERO),
            maintenance: Percent::ZERO,
            localities: LocalityBalancing::default(),
            override_host: None,
            override_statuses: OverrideStatuses::default(),
            random_subset: None,
            circuit_breakers: CircuitBreakers::default(),
            outlier_detection: None,
            health_check: None,
            membership: Membership::default(),
            http: ClusterHttp::default(),
            transport: UpstreamTransport::Raw,
            proxy_protocol: None,
            transport_matches: Vec::new(),
            tcp_keepalive: None,
            bind_address: None,
            bind_others: Vec::new(),
            connecting: Connecting::default(),
            dns: DnsOptions::default(),
            metadata: ClusterMetadata::default(),
        }
    }

    /// The name under which statistics are kept.
    #[must_use]
    pub fn stat_name(&self) -> &str {
        if self.alt_stat_name.is_empty() { &self.name } else { &self.alt_stat_name }
    }
}

/// Where instances are found. Source: `envoy.config.cluster.v3.Cluster.DiscoveryType`.
#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    /// Written in the configuration.
    Static(EndpointSet),
    /// Sent under this name. Source: `Cluster.EdsClusterConfig`.
    Eds(SourcedName),
    /// Every address that the names resolve to.
    StrictDns(EndpointSet),
    /// One address that the single name resolves to, taken anew for each connection.
    LogicalDns(EndpointSet),
    /// The address that the client meant to reach.
    OriginalDst {
        /// This port in place of the original one.
        port_override: Option<u16>,
        /// The request header that names the address and port in place of the client's connection;
        /// none of them. Source: `use_http_header` and `http_header_name`.
        header: Option<HeaderName>,
        /// Metadata that names them, before a header does. Source: `metadata_key`.
        metadata: Option<MetadataPath>,
    },
    /// The instances of other clusters, by their names, in this order: the first one takes all
    /// traffic as long as it can. Source: `envoy.extensions.clusters.aggregate.v3.ClusterConfig`.
    Aggregate(Vec<String>),
    /// The host that the request names, resolved when it is asked for.
    /// Source: `envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig`.
    DynamicForward(DnsCache),
}

/// What happens when instances come, go, or change their health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Membership {
    /// Whether an instance goes when discovery no longer names it, even if it passes its active
    /// checks. Source: `ignore_health_on_host_removal`. Envoy default: false.
    pub ignore_health_on_removal: bool,
    /// Whether all connections are closed when the set of instances changes.
    /// Source: `common_lb_config.close_connections_on_host_set_change`. Envoy default: false.
    pub close_on_set_change: bool,
    /// Whether instances do not count, not even as unhealthy, before their first check.
    /// Source: `common_lb_config.ignore_new_hosts_until_first_hc`. Envoy default: false.
    pub ignore_new_until_checked: bool,
    /// Whether the cluster waits for the first check of all its instances before it serves.
    /// Source: `wait_for_warm_on_init`. Envoy default: true.
    pub wait_for_checks: bool,
}

impl Default for Membership {
    fn default() -> Self {
        Self {
            ignore_health_on_removal: false,
            close_on_set_change: false,
            ignore_new_until_checked: false,
            wait_for_checks: true,
        }
    }
}

/// Limits on what is open at once, by priority of the route.
/// Source: `envoy.config.cluster.v3.CircuitBreakers`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CircuitBreakers {
    /// For routes of default priority.
    pub default: Thresholds,
    /// For routes of high priority.
    pub high: Thresholds,
    /// Connections to one instance, for routes of default priority; without limit when absent.
    /// Source: `per_host_thresholds`.
    pub host_connections_max: Option<u32>,
    /// The same for routes of high priority.
    pub high_host_connections_max: Option<u32>,
}

/// Limits of one priority; beyond them requests are refused with the flag `UO`.
/// Source: `envoy.config.cluster.v3.CircuitBreakers.Thresholds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Connections. Envoy default: 1024; Istio: 2^32 - 1.
    pub connections_max: u32,
    /// Requests that wait for a connection. Envoy default: 1024.
    pub pending_requests_max: u32,
    /// Requests. Envoy default: 1024.
    pub requests_max: u32,
    /// Retries, when no budget is set. Envoy default: 3.
    pub retries_max: u32,
    /// Retries as a share of active requests, in place of `retries_max`.
    pub retry_budget: Option<RetryBudget>,
    /// Pools of connections: one an instance and kind of connection, for each worker that uses it.
    /// Envoy default: 2^32 - 1.
    pub pools_max: u32,
    /// Whether statistics tell how much is left. Envoy default: false.
    pub track_remaining: bool,
}

/// Source: `envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Share of active and pending requests. Envoy default: 20 %.
    pub percent: Percent,
    /// Retries that are always allowed. Envoy default: 3.
    pub retries_min: u32,
    /// Requests are counted that began within this time, in place of those that are active; those
    /// that are active when zero. Envoy default: zero.
    pub interval: Duration,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            pending_requests_max: 1024,
            requests_max: 1024,
            retries_max: 3,
            retry_budget: None,
            pools_max: u32::MAX,
            track_remaining: false,
        }
    }
}

/// How HTTP is spoken to a cluster. Source: `envoy.extensions.upstreams.http.v3.HttpProtocolOptions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterHttp {
    /// The version.
    pub protocol: HttpProtocol,
    /// An unused connection is closed after this; never when absent. Envoy default: 1 h.
    pub idle_timeout: Option<Duration>,
    /// A connection is closed at this age once its requests end; never when absent.
    pub connection_duration_max: Option<Duration>,
    /// By up to this share of that age, a connection may be older; drawn for each. Envoy default:
    /// none.
    pub connection_duration_jitter: Option<Percent>,
    /// A try is given up at this age, however far its response is; never when absent.
    /// Source: `max_stream_duration`.
    pub stream_duration_max: Option<Duration>,
    /// Requests a connection; without limit when absent.
    pub requests_per_connection_max: Option<NonZeroU32>,
    /// Settings of HTTP/2.
    pub http2: Http2Options,
    /// In which letters header names are written on HTTP/1.
    pub name_case: HeaderCase,
    /// Whether trailers pass on HTTP/1. Source: `enable_trailers`. Envoy default: false.
    pub http1_trailers: bool,
    /// The header that names the server for TLS in place of the host, where names come from
    /// requests; the host where it is missing or empty. Source: `override_auto_sni_header`.
    pub server_name_header: Option<HeaderName>,
}

impl Default for ClusterHttp {
    fn default() -> Self {
        Self {
            protocol: HttpProtocol::Http1,
            idle_timeout: Some(Duration::from_secs(3600)),
            connection_duration_max: None,
            connection_duration_jitter: None,
            stream_duration_max: None,
            requests_per_connection_max: None,
            http2: Http2Options::default(),
            name_case: HeaderCase::Lower,
            http1_trailers: false,
            server_name_header: None,
        }
    }
}

/// The version of HTTP spoken to a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HttpProtocol {
    /// HTTP/1.1. Envoy default.
    #[default]
    Http1,
    /// HTTP/2.
    Http2,
    /// What ALPN chooses.
    Auto,
    /// What the client spoke.
    Downstream,
}

/// How bytes are sent to instances with certain metadata.
/// Source: `envoy.config.cluster.v3.Cluster.TransportSocketMatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportMatch {
    /// A name for people.
    pub name: String,
    /// Metadata that the instance must have; an empty map fits every instance.
    pub criteria: BTreeMap<String, String>,
    /// How bytes are sent.
    pub transport: UpstreamTransport,
    /// The PROXY protocol header that goes ahead of them, outside of TLS.
    pub proxy_protocol: Option<Box<ProxyProtocolHeader>>,
}

/// Probes on an idle connection. Source: `envoy.config.core.v3.TcpKeepalive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    /// Unanswered probes before the connection counts as dead.
    pub probes: Option<NonZeroU32>,
    /// Idle time before the first probe.
    pub time: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
}

/// Facts about a cluster, for telemetry and explanations. Source: filter metadata `istio`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMetadata {
    /// The services that it stands for. Source: `istio.services`.
    pub services: Vec<ServiceReference>,
    /// The subset of the `DestinationRule`; empty for the whole service. Source: `istio.subset`.
    pub subset: String,
    /// Whether the destination is outside of the mesh. Source: `istio.external`.
    pub external: bool,
    /// Whether the TLS application protocol is chosen for each request. Source:
    /// `istio.alpn_override`, where `"false"` switches it off.
    pub alpn_override: bool,
    /// The object that shaped it. Source: `istio.config`.
    pub origin: Option<RuleOrigin>,
    /// Everything else that is said of it.
    pub rest: FilterMetadata,
}

/// A service. Source: an entry of `istio.services`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ServiceReference {
    /// Fully qualified, such as `cart-service.shop.svc.cluster.local`.
    pub host: String,
    /// The short name.
    pub name: String,
    /// The namespace.
    pub namespace: String,
}
