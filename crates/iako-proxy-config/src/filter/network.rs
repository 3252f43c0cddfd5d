//! Steps on a connection's way that look at nothing but the connection.

use crate::Keyed;
use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use crate::{DnsCache, DnsOptions, LogFormat};

/// Bounds the connections of a filter chain.
/// Source: `envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimit {
    /// Between `connection_limit.` and the names of its statistics.
    pub stat_prefix: String,
    /// Connections that are open at once; what is beyond is closed.
    pub connections_max: NonZeroU64,
    /// How long a connection beyond that stays open, unread. Envoy default: none.
    pub delay: Option<Duration>,
    /// Whether it counts at all. Source: `runtime_enabled`. Envoy default: true.
    pub enabled: Keyed<bool>,
}

/// Bounds how many connections come in a time.
/// Source: `envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionRateLimit {
    /// Between `local_rate_limit.` and the names of its statistics.
    pub stat_prefix: String,
    /// What a connection takes one of; without any left it is closed.
    pub tokens: ConnectionTokens,
    /// Whether it counts at all. Source: `runtime_enabled`. Envoy default: true.
    pub enabled: Keyed<bool>,
    /// Filters with the same key and the same tokens share them; empty shares with nobody.
    pub share_key: String,
}

/// Tokens that come back over time. Source: `envoy.type.v3.TokenBucket`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionTokens {
    /// The most that there are, and how many there are at first.
    pub max: NonZeroU32,
    /// How many come at once. Envoy default: 1.
    pub per_fill: NonZeroU32,
    /// Time from one fill to the next; at least 50 ms, as in Envoy.
    pub interval: Duration,
}

/// Sends a connection to the host that its server name names, through a cluster that resolves it.
/// Source: `envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3.FilterConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SniForward {
    /// The cache that it shares with the cluster.
    pub cache: DnsCache,
    /// How names are resolved.
    pub dns: DnsOptions,
    /// The port that is reached there. Envoy default: 443.
    pub port: u16,
}

/// Keeps objects beside a connection, for who comes after.
/// Source: `envoy.extensions.filters.network.set_filter_state.v3.Config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetConnectionState {
    /// When the connection is there.
    pub on_connection: Vec<FilterStateValue>,
    /// When TLS is agreed on; never without TLS.
    pub on_handshake: Vec<FilterStateValue>,
    /// When the client has sent something.
    pub on_bytes: Vec<FilterStateValue>,
}

/// An object that is kept by a name. Source:
/// `envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterStateValue {
    /// Under what.
    pub key: String,
    /// What makes the object of the text, where that is not `key` itself; empty if it is.
    pub factory: String,
    /// The text, with operators of access logs.
    pub value: LogFormat,
    /// Whether an empty text keeps nothing. Envoy default: false.
    pub skips_empty: bool,
    /// Whether what is kept is not to change. Envoy does not hold it: what is kept later counts.
    /// Envoy default: false.
    pub read_only: bool,
    /// Whether connections to upstreams have it too.
    pub shared: SharedState,
}

/// Whether connections to upstreams have an object too.
/// Source: `FilterStateValue.SharedWithUpstream`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SharedState {
    /// No. Envoy default.
    #[default]
    No,
    /// The next one.
    Once,
    /// Those of internal listeners behind it too.
    Transitive,
}

/// What makes objects of texts, by name, as Envoy knows them.
pub const STATE_FACTORIES: &[&str] = &[
    "envoy.bool",
    "envoy.filters.listener.original_dst.local_ip",
    "envoy.filters.listener.original_dst.remote_ip",
    "envoy.hashable_string",
    "envoy.network.application_protocols",
    "envoy.network.ip",
    "envoy.network.network_namespace",
    "envoy.network.transport_socket.original_dst_address",
    "envoy.network.upstream_server_name",
    "envoy.network.upstream_subject_alt_names",
    "envoy.ratelimit.hits_addend",
    "envoy.string",
    "envoy.tcp_proxy.cluster",
    "envoy.tcp_proxy.disable_tunneling",
    "envoy.tcp_proxy.per_connection_idle_timeout_ms",
    "envoy.upstream.dynamic_host",
    "envoy.upstream.dynamic_port",
];
