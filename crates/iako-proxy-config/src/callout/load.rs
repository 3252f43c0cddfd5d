//! What a service hears of the load that this proxy puts on clusters.

use std::time::Duration;

use iako_types::Locality;

use crate::EndpointAddress;

/// What a service wants to hear.
///
/// Source: `envoy.service.load_stats.v3.LoadStatsResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadWish {
    /// Of which clusters.
    pub clusters: WishedClusters,
    /// How often.
    pub interval: Duration,
    /// How finely.
    pub detail: LoadDetail,
}

/// Of which clusters a service wants to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WishedClusters {
    /// Of all. Source: `send_all_clusters`.
    All,
    /// Of these. Source: `clusters`.
    Named(Vec<String>),
}

/// How finely load is told. Source: `report_endpoint_granularity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadDetail {
    /// Of each place.
    Localities,
    /// Of each instance too.
    Endpoints,
}

/// The load of one cluster since the last word about it.
///
/// Source: `envoy.config.endpoint.v3.ClusterStats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterLoad {
    /// The cluster.
    pub name: String,
    /// Its name at the service that tells its instances; empty where that is the same.
    pub service: String,
    /// Places with any load.
    pub localities: Vec<LocalityLoad>,
    /// Requests that this proxy refused in the cluster's name.
    pub refused: u64,
    /// Those of them that the control plane wanted refused, and why.
    pub dropped: Option<(String, u64)>,
    /// The time that it is about.
    pub interval: Duration,
}

/// The load of one place. Source: `envoy.config.endpoint.v3.UpstreamLocalityStats`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalityLoad {
    /// The place.
    pub locality: Locality,
    /// Its priority.
    pub priority: u32,
    /// That of all of its instances.
    pub load: EndpointLoad,
    /// That of each, where the service wants to hear it.
    pub endpoints: Vec<(EndpointAddress, EndpointLoad)>,
}

/// Requests of an interval, at one instance or several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointLoad {
    /// Sent.
    pub issued: u64,
    /// Answered below 500.
    pub succeeded: u64,
    /// Answered with 500 or above, or not at all.
    pub failed: u64,
    /// Under way when the interval ended.
    pub active: u64,
}

impl EndpointLoad {
    /// Whether there was none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            issued: self.issued.saturating_add(other.issued),
            succeeded: self.succeeded.saturating_add(other.succeeded),
            failed: self.failed.saturating_add(other.failed),
            active: self.active.saturating_add(other.active),
        }
    }
}
