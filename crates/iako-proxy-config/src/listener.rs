//! Where connections are taken, and which settings each one gets.

pub(crate) mod filter;
pub(crate) mod socket;

use std::{net::SocketAddr, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use iako_types::CidrRange;

use crate::{
    AccessLog, ChainMatcher, DownstreamTransport, FilterMetadata, HttpConnectionManager,
    NetworkFilter, TcpProxy, UdpProxy,
};
use filter::{ListenerFilter, ListenerFilterKind};
use socket::{PipeAddress, SocketSettings};

/// A listening socket. Source: `envoy.config.listener.v3.Listener`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Unique name.
    pub name: String,
    /// What it takes.
    pub kind: ListenerKind,
    /// Where it listens; at least one, `pipes` included, but none of an internal one. Several share
    /// everything else.
    pub addresses: Vec<SocketAddr>,
    /// Where it listens for processes of this machine.
    pub pipes: Vec<PipeAddress>,
    /// Between `listener.` and the names of its statistics; its address when empty.
    pub stat_prefix: String,
    /// Whether it has a socket of its own. False: it takes connections that another listener with
    /// `use_original_dst` hands over. Envoy default: true.
    pub bind: bool,
    /// Whether a connection whose original destination has a listener of its own goes there.
    /// Envoy default: false.
    pub use_original_dst: bool,
    /// Towards or from the local workload.
    pub direction: Direction,
    /// What is found out before a filter chain is chosen, in this order.
    pub inspectors: Vec<ListenerFilter>,
    /// Longest time for that; none when absent. Envoy default: 15 s.
    pub inspect_timeout: Option<Duration>,
    /// Whether a connection goes on when that time is over. Envoy default: false.
    pub continue_on_inspect_timeout: bool,
    /// The most specific that fits counts, or the one that `chain_matcher` names.
    pub chains: Vec<FilterChain>,
    /// Names the chain in place of the chains' own conditions, which do not count then.
    pub chain_matcher: Option<ChainMatcher>,
    /// When none fits; the connection is closed when absent.
    pub default_chain: Option<FilterChain>,
    /// Logs of connections that no chain took.
    pub access_log: Vec<AccessLog>,
    /// Whether the socket may bind addresses of others (`IP_TRANSPARENT`). Envoy default: false.
    pub transparent: bool,
    /// Whether the address need not exist (`IP_FREEBIND`). Envoy default: false.
    pub freebind: bool,
    /// Connections waiting to be accepted. Envoy default: 4096 (the system's `somaxconn`).
    pub backlog: NonZeroU32,
    /// How its sockets are opened, besides.
    pub socket: SocketSettings,
    /// Open connections; without limit when absent. An Envoy is told by the runtime key
    /// `envoy.resource_limits.listener.NAME.connection_limit`, which counts as well.
    pub connections_max: Option<u32>,
    /// Whether the limit of connections of the whole proxy does not count here. Envoy default: false.
    pub ignores_global_limit: bool,
    /// Whether its connections are let in whatever the proxy runs short of. Source:
    /// `bypass_overload_manager`.
    pub ignores_overload: bool,
    /// How much of a message filters keep that read it whole, and retries of a request, where routes
    /// say nothing else, in bytes. Envoy default: 1 MiB. Source: `per_connection_buffer_limit_bytes`.
    pub kept_bytes_max: Option<NonZeroU32>,
    /// What is said of it besides. Source: `metadata`.
    pub metadata: FilterMetadata,
}

impl Listener {
    /// A listener with Envoy's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            kind: ListenerKind::Stream,
            addresses: vec![address],
            pipes: Vec::new(),
            stat_prefix: String::new(),
            bind: true,
            use_original_dst: false,
            direction: Direction::Unspecified,
            inspectors: Vec::new(),
            inspect_timeout: Some(Duration::from_secs(15)),
            continue_on_inspect_timeout: false,
            chains: Vec::new(),
            chain_matcher: None,
            default_chain: None,
            access_log: Vec::new(),
            transparent: false,
            freebind: false,
            backlog: NonZeroU32::MIN.saturating_add(4095),
            socket: SocketSettings::default(),
            connections_max: None,
            ignores_global_limit: false,
            ignores_overload: false,
            kept_bytes_max: None,
            metadata: FilterMetadata::default(),
        }
    }

    /// Whether some connections are looked at for HTTP.
    #[must_use]
    pub fn looks_for_http(&self) -> bool {
        self.inspectors.iter().any(|filter| filter.kind == ListenerFilterKind::Http)
    }

    /// Whether some connections are looked at for TLS.
    #[must_use]
    pub fn looks_for_tls(&self) -> bool {
        self.inspectors.iter().any(|filter| matches!(filter.kind, ListenerFilterKind::Tls(_)))
    }
}

impl Listener {
    /// One that connections from within the proxy reach by its name, with Envoy's defaults.
    #[must_use]
    pub fn internal(name: impl Into<String>) -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let kind = ListenerKind::Internal;
        Self { kind, addresses: Vec::new(), ..Self::new(name, nowhere) }
    }
}

/// What a listener takes.
#[derive(Debug, Clone, PartialEq)]
pub enum ListenerKind {
    /// Connections from outside.
    Stream,
    /// Connections from within the proxy, to its name. Source: `Listener.internal_listener`.
    Internal,
    /// Datagrams. Source: `Listener.udp_listener_config`, with one `udp_proxy` listener filter.
    Udp(Arc<UdpProxy>),
}

/// Towards or from the local workload. Source: `envoy.config.core.v3.TrafficDirection`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Neither, as at a gateway.
    #[default]
    Unspecified,
    /// Towards the local workload.
    Inbound,
    /// From the local workload.
    Outbound,
}

/// Settings for some of a listener's connections. Source: `envoy.config.listener.v3.FilterChain`.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterChain {
    /// For logs; may be empty.
    pub name: String,
    /// Which connections.
    pub matcher: FilterChainMatch,
    /// How their bytes are read.
    pub transport: DownstreamTransport,
    /// Longest time for a TLS handshake; none when absent. Istio's gateways: 15 s.
    pub handshake_timeout: Option<Duration>,
    /// Run in order when the connection is there.
    pub filters: Vec<NetworkFilter>,
    /// What carries the connection.
    pub terminal: Terminal,
    /// What is said of it besides. Source: `metadata`.
    pub metadata: FilterMetadata,
}

/// Which connections a filter chain takes; an empty field takes all. Compared in Envoy's order:
/// destination port, destination range, SNI, transport, application protocol, direct source, source
/// type, source range, source port. Source: `envoy.config.listener.v3.FilterChainMatch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterChainMatch {
    /// The original destination's port.
    pub destination_port: Option<u16>,
    /// The original destination's address.
    pub destination_ranges: Vec<CidrRange>,
    /// SNI, lower-cased: `a.example.com` or `*.example.com`.
    pub server_names: Vec<String>,
    /// `tls` or `raw_buffer`.
    pub transport_protocol: Option<String>,
    /// One of the ALPN names of the client, or of the HTTP inspector (`http/1.0`, `http/1.1`,
    /// `h2c`).
    pub application_protocols: Vec<String>,
    /// The connection's address, before PROXY protocol.
    pub direct_source_ranges: Vec<CidrRange>,
    /// Where the client is.
    pub source_type: SourceType,
    /// The client's address.
    pub source_ranges: Vec<CidrRange>,
    /// The client's port.
    pub source_ports: Vec<u16>,
}

/// Where a client is. Source: `FilterChainMatch.ConnectionSourceType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SourceType {
    /// Anywhere.
    #[default]
    Any,
    /// On this machine.
    SameIpOrLoopback,
    /// On another.
    External,
}

/// What carries a connection.
#[derive(Debug, Clone, PartialEq)]
pub enum Terminal {
    /// HTTP.
    Http(Arc<HttpConnectionManager>),
    /// Bytes, to a cluster.
    Tcp(Arc<TcpProxy>),
    /// Nobody: the client gets these bytes, and the connection ends. Source:
    /// `envoy.extensions.filters.network.direct_response.v3.Config`.
    Direct(Bytes),
    /// Nobody: the client gets back what it sends. Source:
    /// `envoy.extensions.filters.network.echo.v3.Echo`.
    Echo,
}
