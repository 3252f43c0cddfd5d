//! Workloads: pods and what was added by hand.

use std::net::IpAddr;

use iako_resources::{Labels, Origin, kubernetes::pod::ContainerPort};
use iako_types::{Locality, Namespace, ServiceAccount, SpiffeId};

/// Something that runs and may have a proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Workload {
    /// The name of the pod or of the `WorkloadEntry`.
    pub name: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// Where it is known from.
    pub source: WorkloadSource,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// The address on which others reach it (its sidecar, if it has one); `None` until known.
    pub address: Option<IpAddr>,
    /// The address on which the application listens when that differs (annotation
    /// `iako.io/app-address`).
    pub app_address: Option<IpAddr>,
    /// Its account.
    pub service_account: ServiceAccount,
    /// The identity that it proves.
    pub identity: SpiffeId,
    /// Ports that its containers declare.
    pub ports: Vec<ContainerPort>,
    /// Takes traffic.
    pub ready: bool,
    /// Being deleted, or ended.
    pub terminating: bool,
    /// It speaks the mesh's mutual TLS (label `security.istio.io/tlsMode: istio`).
    pub mutual_tls: bool,
    /// What made it, such as `Deployment`, `cart-v1`; the pod itself when nothing did.
    pub owner: WorkloadOwner,
    /// Istio's `canonical-name`: what metrics and the dashboard call it.
    pub canonical_name: String,
    /// Istio's `canonical-revision`. Default: `latest`.
    pub canonical_revision: String,
    /// Where it runs.
    pub locality: Locality,
    /// The node that it runs on.
    pub node: Option<String>,
    /// Where it was written.
    pub origin: Origin,
}

/// Where a workload is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadSource {
    /// A `Pod`.
    Pod,
    /// A `WorkloadEntry`.
    WorkloadEntry,
}

/// What made a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadOwner {
    /// Its kind, such as `Deployment`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Label by which a workload says that it speaks the mesh's mutual TLS.
pub const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";
/// Annotation with the address on which the application of a local pod listens.
pub const APP_ADDRESS_ANNOTATION: &str = "iako.io/app-address";
/// Annotation with the workload that made a local pod, as `Kind/name`.
pub const OWNER_ANNOTATION: &str = "iako.io/owner";
/// Annotation of a local pod that runs a gateway (`true`).
pub const GATEWAY_ANNOTATION: &str = "iako.io/gateway";

impl Workload {
    /// The number of the container port of this name.
    #[must_use]
    pub fn named_port(&self, name: &str) -> Option<u16> {
        self.ports.iter().find(|port| port.name == name).map(|port| port.port)
    }
}
