//! `Sidecar`: what a workload's proxy knows of the mesh.

mod parse;

use iako_types::{HostPattern, Namespace};

use crate::Labels;

pub(crate) use parse::{parse, read_policy};

/// What the proxies it selects know. Source: `istio.networking.v1.Sidecar`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Labels of the workloads; `None` is every workload of the namespace.
    pub workload_selector: Option<Labels>,
    /// What they may reach; `None` is every service that they may see.
    pub egress: Option<Vec<EgressHost>>,
    /// What happens to traffic for unknown hosts; `None` is the mesh's setting.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// Hosts that a proxy may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressHost {
    /// Services of which namespaces.
    pub namespace: EgressNamespace,
    /// Which of them.
    pub host: HostPattern,
    /// `~ns/host`: these are left out instead.
    pub excluded: bool,
}

/// The namespace part of an egress host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressNamespace {
    /// `*`.
    Any,
    /// One, `.` resolved to the object's own.
    Named(Namespace),
    /// `~`: none.
    Nothing,
}

/// What happens to traffic for hosts that no registry knows.
/// Source: `istio.networking.v1.OutboundTrafficPolicy.Mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutboundTrafficPolicy {
    /// It passes. Istio's default for the mesh.
    #[default]
    AllowAny,
    /// It is refused.
    RegistryOnly,
}
