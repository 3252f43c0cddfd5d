//! Where the instances of a service are.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use iako_types::{Locality, Percent};

use crate::{EndpointCheck, FilterMetadata};

/// The instances of a cluster. Source: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSet {
    /// The EDS name, or the cluster's name.
    pub name: String,
    /// Instances by place.
    pub localities: Vec<LocalityEndpoints>,
    /// How far a priority may lose health before the next one takes a share, in percent.
    /// Envoy default: 140.
    pub overprovisioning_factor: NonZeroU32,
    /// Whether the health of a priority is measured by weights of instances in place of their
    /// number. Source: `policy.weighted_priority_health`. Envoy default: false.
    pub weighted_health: bool,
    /// Requests that are refused on purpose, because the control plane found the service overloaded.
    pub drop: Option<DropOverload>,
    /// The set is forgotten so long after it came, unless it comes again; never when absent.
    /// Source: `policy.endpoint_stale_after`.
    pub stale_after: Option<Duration>,
}

/// Requests that are refused on purpose.
/// Source: `envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropOverload {
    /// Why, in the words of the control plane.
    pub category: String,
    /// Their share of all requests.
    pub share: Percent,
}

impl EndpointSet {
    /// A set with Envoy's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, localities: Vec<LocalityEndpoints>) -> Self {
        let overprovisioning_factor = NonZeroU32::MIN.saturating_add(139);
        Self {
            name: name.into(),
            localities,
            overprovisioning_factor,
            weighted_health: false,
            drop: None,
            stale_after: None,
        }
    }

    /// All instances, whatever their place and health.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.localities.iter().flat_map(|locality| &locality.endpoints)
    }
}

/// The instances in one place. Source: `envoy.config.endpoint.v3.LocalityLbEndpoints`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalityEndpoints {
    /// The place.
    pub locality: Locality,
    /// 0 is used first, the next ones as health is lost. Without gaps over the whole set.
    pub priority: u32,
    /// Share of the place among those of the same priority, for locality-weighted balancing.
    pub weight: Option<NonZeroU32>,
    /// The instances.
    pub endpoints: Vec<Endpoint>,
}

/// One instance. Source: `envoy.config.endpoint.v3.LbEndpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: EndpointAddress,
    /// Where else it listens, of the other IP family as a rule. A connection is tried to all of them,
    /// one shortly after the other, and the first that is made is used (RFC 8305).
    pub additional_addresses: Vec<SocketAddr>,
    /// Its host name, for host rewriting; empty when unknown.
    pub hostname: String,
    /// What the control plane knows of its health.
    pub health: HealthStatus,
    /// Share among the instances of its place. Envoy default: 1.
    pub weight: NonZeroU32,
    /// Facts for choosing among instances and transports, and for telemetry.
    pub metadata: EndpointMetadata,
    /// Where and whether it is checked.
    pub check: EndpointCheck,
}

impl Endpoint {
    /// A healthy instance of weight 1 without metadata.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address: EndpointAddress::Socket(address),
            additional_addresses: Vec::new(),
            hostname: String::new(),
            health: HealthStatus::Unknown,
            weight: NonZeroU32::MIN,
            metadata: EndpointMetadata::default(),
            check: EndpointCheck::default(),
        }
    }
}

/// Where an instance listens. Source: `envoy.config.core.v3.Address`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// An IP address and port.
    Socket(SocketAddr),
    /// A name to be resolved; only in DNS clusters.
    Host {
        /// The DNS name.
        name: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Pipe(PathBuf),
    /// A listener of this proxy itself. Source: `envoy.config.core.v3.EnvoyInternalAddress`.
    Internal {
        /// The listener's name.
        listener: String,
        /// Tells endpoints at the same listener apart; may be empty.
        id: String,
    },
}

/// What the control plane knows of an instance's health.
/// Source: `envoy.config.core.v3.HealthStatus`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthStatus {
    /// Nothing; treated as healthy.
    #[default]
    Unknown,
    /// It takes traffic.
    Healthy,
    /// It takes none.
    Unhealthy,
    /// It takes no new traffic and is going away.
    Draining,
    /// It takes traffic only when the healthy ones are not enough.
    Degraded,
}

impl HealthStatus {
    /// Whether the instance takes its full share.
    #[must_use]
    pub const fn is_healthy(self) -> bool {
        matches!(self, Self::Unknown | Self::Healthy)
    }
}

/// Facts about an instance. Source: `LbEndpoint.metadata`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointMetadata {
    /// Chooses among a cluster's transports. Source: filter metadata `envoy.transport_socket_match`.
    pub transport_match: BTreeMap<String, String>,
    /// Chooses subsets. Source: filter metadata `envoy.lb`.
    pub lb: BTreeMap<String, String>,
    /// What of `envoy.lb` is a list of texts, for [`crate::SubsetSelection::list_as_any`].
    pub lb_lists: BTreeMap<String, Vec<String>>,
    /// Who the instance is. Source: filter metadata `istio.workload`.
    pub workload: Option<WorkloadLabel>,
    /// Everything else that is said of it.
    pub rest: FilterMetadata,
}

/// Who an instance is, for telemetry.
/// Source: Istio's `workload;namespace;canonical name;canonical revision;cluster`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct WorkloadLabel {
    /// The workload, usually a Deployment.
    pub workload: String,
    /// Its namespace.
    pub namespace: String,
    /// The canonical service.
    pub canonical_name: String,
    /// The canonical revision, usually the label `version`.
    pub canonical_revision: String,
    /// The Kubernetes cluster.
    pub cluster: String,
}
