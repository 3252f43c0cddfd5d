//! When connections to instances are opened, to which of their addresses, and who shares them.

use std::num::NonZeroU32;

/// When connections are opened, and who shares them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Connecting {
    /// Connections that are opened before they are needed.
    pub ahead: Preconnect,
    /// In which order the addresses of an instance are tried.
    pub addresses: AddressOrder,
    /// Whether every client connection has upstream connections of its own.
    /// Source: `connection_pool_per_downstream_connection`. Envoy default: false.
    pub per_client: bool,
    /// Whether connections that carry no HTTP are closed when their instance fails its checks or is
    /// ejected. Source: `close_connections_on_host_health_failure`. Envoy default: false.
    pub close_on_failure: bool,
}

/// Connections that are opened before they are needed.
/// Source: `envoy.config.cluster.v3.Cluster.PreconnectPolicy`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preconnect {
    /// For how many requests an instance has connections, for each request under way to it; from 1
    /// to 3. Source: `per_upstream_preconnect_ratio`. Envoy default: 1.
    pub per_instance: f64,
}

impl Default for Preconnect {
    fn default() -> Self {
        Self { per_instance: 1.0 }
    }
}

/// In which order the addresses of an instance are tried (RFC 8305).
/// Source: `envoy.config.cluster.v3.UpstreamConnectionOptions.HappyEyeballsConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressOrder {
    /// The family of the first one.
    pub first: FirstFamily,
    /// So many of that family are tried before one of the other. Envoy default: 1.
    pub count: NonZeroU32,
}

impl Default for AddressOrder {
    fn default() -> Self {
        Self { first: FirstFamily::default(), count: NonZeroU32::MIN }
    }
}

/// The family of addresses that is tried first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FirstFamily {
    /// That of the first address. Envoy default.
    #[default]
    OfFirst,
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}
