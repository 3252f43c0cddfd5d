//! Resources that are asked for when somebody needs them.

use std::time::Duration;

use crate::ConfigSource;

/// Clusters that are asked for by name when a request or connection needs one that is not known.
///
/// Source: `envoy.extensions.filters.http.on_demand.v3.OnDemandCds` and
/// `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.OnDemand`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDemandClusters {
    /// Who is asked.
    pub source: ConfigSource,
    /// How long a request or connection waits before it is served without: 503 with flag `NC`, or
    /// closed. Envoy default: [`Self::REQUEST_TIMEOUT`] and [`Self::CONNECTION_TIMEOUT`].
    pub timeout: Duration,
}

impl OnDemandClusters {
    /// How long a request waits where nothing else is said.
    pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
    /// How long a connection waits where nothing else is said.
    pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
}

/// Has requests wait for virtual hosts and clusters that are not known yet.
///
/// Virtual hosts are waited for where the route table is told by `vhds`. Settings of a route replace
/// those of the filter. Source: `envoy.extensions.filters.http.on_demand.v3.OnDemand`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnDemand {
    /// Clusters that are asked for; none are when absent. Source: `odcds`.
    pub clusters: Option<OnDemandClusters>,
}
