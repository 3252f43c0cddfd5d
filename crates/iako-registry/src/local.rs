//! Local pods: which processes `iako up` runs for a directory of YAML, and on which addresses.

mod document;
mod findings;
mod plan;

use std::net::Ipv4Addr;

use iako_resources::{
    Labels, Origin,
    kubernetes::pod::{Container, ContainerPort},
};
use iako_types::{Namespace, ServiceAccount};

pub use document::Readiness;
pub use findings::local_findings;
pub(crate) use plan::imagined_pods;
pub use plan::{Allocated, local_pods};

use crate::WorkloadOwner;

/// A pod that runs as processes of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPod {
    /// Its name, made of the workload's name and a number.
    pub name: String,
    /// Its namespace.
    pub namespace: Namespace,
    /// Labels of the pod template, and those that Istio's injector adds.
    pub labels: Labels,
    /// Annotations of the pod template.
    pub annotations: Labels,
    /// Its account.
    pub service_account: ServiceAccount,
    /// What made it.
    pub owner: WorkloadOwner,
    /// The address on which its proxy listens.
    pub address: Ipv4Addr,
    /// The address on which its application listens.
    pub app_address: Ipv4Addr,
    /// What runs.
    pub role: LocalPodRole,
    /// Ports that it declares.
    pub ports: Vec<ContainerPort>,
    /// Where the workload was written.
    pub origin: Origin,
}

/// What runs in a local pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalPodRole {
    /// A sidecar and the commands of these containers. Never empty.
    Application(Vec<Container>),
    /// A proxy that is a gateway, and nothing else.
    Gateway,
}
