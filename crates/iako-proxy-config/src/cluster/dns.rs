//! How the names of instances are resolved.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

/// How names are resolved.
/// Source: the `dns_…` fields of `envoy.config.cluster.v3.Cluster`, or
/// `envoy.extensions.clusters.dns.v3.DnsCluster`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsOptions {
    /// Time between resolutions. Envoy default: 5 s; Istio: 60 s.
    pub refresh_rate: Duration,
    /// Shortest time between resolutions where the records' own life counts. Envoy default: none.
    pub refresh_min: Duration,
    /// Whether the records' own life counts in place of `refresh_rate`. Envoy default: false.
    pub respect_ttl: bool,
    /// By chance up to this, a resolution is later. Envoy default: none.
    pub jitter: Duration,
    /// Time until a failed resolution is tried again; `refresh_rate` when absent.
    pub failure_refresh: Option<DnsFailureRefresh>,
    /// Which addresses are used.
    pub family: DnsFamily,
    /// The servers that are asked; those of the system when empty.
    pub resolvers: Vec<SocketAddr>,
    /// Whether they are asked over TCP only. Envoy default: false.
    pub use_tcp: bool,
    /// Whether the system's search domains are left out. Envoy default: false.
    pub no_search: bool,
    /// Longest wait for the answer to one question. Envoy default: 5 s.
    pub query_timeout: Duration,
    /// How often a question is asked. Envoy default: 4.
    pub query_tries: NonZeroU32,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            refresh_rate: Duration::from_secs(5),
            refresh_min: Duration::ZERO,
            respect_ttl: false,
            jitter: Duration::ZERO,
            failure_refresh: None,
            family: DnsFamily::default(),
            resolvers: Vec::new(),
            use_tcp: false,
            no_search: false,
            query_timeout: Duration::from_secs(5),
            query_tries: NonZeroU32::MIN.saturating_add(3),
        }
    }
}

/// Times between tries of a resolution that fails: each up to twice as long as the one before.
/// Source: `Cluster.RefreshRate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DnsFailureRefresh {
    /// The first one.
    pub first: Duration,
    /// None is longer; not below the first. Envoy default: ten times the first.
    pub max: Duration,
}

/// Which addresses of a name are used. Source: `Cluster.DnsLookupFamily`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DnsFamily {
    /// IPv6 if there is any, else IPv4. Envoy default.
    #[default]
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// IPv4 if there is any, else IPv6.
    V4Preferred,
    /// Both.
    All,
}

/// Names that requests bring, and their addresses. How they are resolved stands in the cluster's
/// [`DnsOptions`].
/// Source: `envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsCache {
    /// Filters and clusters with the same name share it.
    pub name: String,
    /// A name that nobody asked for so long is forgotten. Envoy default: 300 s.
    pub host_ttl: Duration,
    /// Names that are held; requests for further ones are refused. Envoy default: 1024.
    pub hosts_max: NonZeroU32,
    /// Requests that wait for a resolution; further ones are refused. Envoy default: 1024.
    pub pending_max: u32,
}

impl DnsCache {
    /// A cache with Envoy's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            host_ttl: Duration::from_secs(300),
            hosts_max: NonZeroU32::MIN.saturating_add(1023),
            pending_max: 1024,
        }
    }
}
