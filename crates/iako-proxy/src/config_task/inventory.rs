//! What the proxy was told and what it holds, for the admin endpoint.

use std::{sync::Arc, time::SystemTime};

use iako_proxy_config::{Cluster, Listener, RouteConfiguration};
use iako_rt::clock;
use iako_xds_codec::RawResource;

use super::{BoundAddress, ResourceKind};
use crate::transport::material::Materials;

/// Who told a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Teller {
    /// The bootstrap; the control plane cannot change it.
    Bootstrap,
    /// The control plane.
    ControlPlane,
}

/// A resource, where it came from, and when.
#[derive(Debug, Clone)]
pub(crate) struct Told<T> {
    /// The resource.
    pub(crate) value: Arc<T>,
    /// Who told it.
    pub(crate) teller: Teller,
    /// The version that the control plane gave it; empty for the bootstrap's.
    pub(crate) version: Arc<str>,
    /// When it was taken.
    pub(crate) updated: SystemTime,
}

impl<T> Told<T> {
    /// A resource of the bootstrap.
    pub(crate) fn of_bootstrap(value: T) -> Self {
        Self::new(value, Teller::Bootstrap, "")
    }

    /// A resource of the control plane.
    pub(crate) fn of_control_plane(value: T, version: &str) -> Self {
        Self::new(value, Teller::ControlPlane, version)
    }

    fn new(value: T, teller: Teller, version: &str) -> Self {
        let (value, version) = (Arc::new(value), version.into());
        Self { value, teller, version, updated: clock::wall() }
    }

    /// Whether it is the bootstrap's, which the control plane cannot change.
    #[must_use]
    pub(crate) const fn is_static(&self) -> bool {
        matches!(self.teller, Teller::Bootstrap)
    }
}

/// A resource that was refused; what it would have replaced stays.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Its kind.
    pub(crate) kind: ResourceKind,
    /// Its name.
    pub(crate) name: String,
    /// The version that was refused.
    pub(crate) version: String,
    /// As it was sent.
    pub(crate) body: RawResource,
    /// Why.
    pub(crate) error: String,
    /// When.
    pub(crate) at: SystemTime,
}

impl Refusal {
    /// Whether it is about this resource.
    #[must_use]
    pub(crate) fn is_of(&self, kind: ResourceKind, name: &str) -> bool {
        self.kind == kind && self.name == name
    }
}

/// Everything that the proxy holds, as it was told. Replaced as a whole, like the snapshot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inventory {
    /// Listeners that serve, with the addresses that they are bound to.
    pub(crate) listeners: Vec<(Told<Listener>, Vec<BoundAddress>)>,
    /// Listeners that wait for something.
    pub(crate) warming_listeners: Vec<Told<Listener>>,
    /// The version of the last list of listeners that was taken whole.
    pub(crate) listener_version: Arc<str>,
    /// The version of the last list of clusters that was taken whole.
    pub(crate) cluster_version: Arc<str>,
    /// Clusters that serve.
    pub(crate) clusters: Vec<Told<Cluster>>,
    /// Clusters that wait for something.
    pub(crate) warming_clusters: Vec<Told<Cluster>>,
    /// Route tables.
    pub(crate) routes: Vec<Told<RouteConfiguration>>,
    /// Settings of filters that were sent on their own.
    pub(crate) extensions: Vec<Told<RawResource>>,
    /// Secrets that were looked into.
    pub(crate) materials: Arc<Materials>,
    /// What was refused lately.
    pub(crate) refusals: Vec<Refusal>,
}
