//! The configuration of one moment, compiled and whole.

mod chain;
mod cluster;
mod health;
mod inspector_stats;
mod request_stats;
mod responses;
mod routes;
mod stats;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

pub(crate) use chain::{Chain, ChainId, ChainTransport, ListenerSettings, Terminal};
pub(crate) use cluster::{ClusterTransport, Failing, UpstreamCluster};
pub(crate) use inspector_stats::{InspectorStats, ProxyProtocolStats};
pub(crate) use request_stats::Tally;
pub(crate) use responses::{
    ClosedBy, ConnectionEnd, ConnectionEnds, Fate, RequestOrigin, ResponseStats,
};
pub(crate) use routes::ServedRoutes;
pub(crate) use stats::{ClusterStats, LbStats, ListenerStats, ListenerWorkerStats, Security};

/// Found by name for each request; names come from configuration.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// What the proxy does at one moment. Immutable; replaced as a whole.
///
/// Load it once a connection and once a request ([`crate::Worker::snapshot`]); a request must never
/// see two. Endpoints and live numbers are not part of it: they change beneath the clusters.
#[derive(Debug, Default)]
pub(crate) struct ProxySnapshot {
    /// Grows by one with each snapshot.
    pub(crate) version: u64,
    /// How many connections of clients all listeners together take; without limit when absent.
    pub(crate) connections_max: Option<u32>,
    pub(crate) listeners: Map<Arc<str>, Arc<ListenerSettings>>,
    pub(crate) chains: Map<ChainId, Arc<Chain>>,
    pub(crate) routes: Map<Arc<str>, Arc<ServedRoutes>>,
    pub(crate) clusters: Map<Arc<str>, Arc<UpstreamCluster>>,
}

impl ProxySnapshot {
    /// The settings of a listener.
    #[must_use]
    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<ListenerSettings>> {
        self.listeners.get(name)
    }

    /// The present settings of the chain that a connection was accepted by; none once it is gone,
    /// and the connection is then draining ([`Chain::drain`]).
    #[must_use]
    pub(crate) fn chain(&self, id: ChainId) -> Option<&Arc<Chain>> {
        self.chains.get(&id)
    }

    /// The route table of an RDS name.
    #[must_use]
    pub(crate) fn routes(&self, name: &str) -> Option<&Arc<ServedRoutes>> {
        self.routes.get(name)
    }

    /// A cluster.
    #[must_use]
    pub(crate) fn cluster(&self, name: &str) -> Option<&Arc<UpstreamCluster>> {
        self.clusters.get(name)
    }

    /// Every cluster, in no order.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Arc<UpstreamCluster>> {
        self.clusters.values()
    }

    /// The listener that takes over connections to `destination` from one with `use_original_dst`:
    /// one at that very address, else one at its port on any address.
    pub(crate) fn listener_at(&self, destination: SocketAddr) -> Option<&Arc<ListenerSettings>> {
        let at = |wanted: SocketAddr| {
            self.listeners.values().find(|listener| listener.config.addresses.contains(&wanted))
        };
        let any: SocketAddr = if destination.is_ipv4() {
            (std::net::Ipv4Addr::UNSPECIFIED, destination.port()).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, destination.port()).into()
        };
        at(destination).or_else(|| at(any))
    }
}
