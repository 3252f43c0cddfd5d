//! `ServiceEntry` and `WorkloadEntry`: services and workloads that Kubernetes does not know.

mod checks;
mod parse;

use std::{collections::BTreeMap, net::IpAddr};

use iako_types::{AppProtocol, CidrRange, HostPattern, Hostname, Locality, ServiceAccount, Weight};

use super::Visibility;
use crate::Labels;

pub(crate) use parse::{parse, parse_workload_entry};

/// A service added by hand. Source: `istio.networking.v1.ServiceEntry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Its names. Never empty.
    pub hosts: Vec<HostPattern>,
    /// Addresses that clients use for it.
    pub addresses: Vec<CidrRange>,
    /// Its ports.
    pub ports: Vec<ServiceEntryPort>,
    /// Inside or outside the mesh.
    pub location: Location,
    /// How its endpoints are found.
    pub resolution: Resolution,
    /// Its endpoints; for DNS none means the hosts themselves.
    pub endpoints: Vec<WorkloadEntry>,
    /// Pods and WorkloadEntries of the same namespace that are its endpoints.
    pub workload_selector: Option<Labels>,
    /// Who may see it; `None` is the mesh's default.
    pub export_to: Option<Visibility>,
    /// Names that its servers prove.
    pub subject_alt_names: Vec<String>,
}

/// Source: `istio.networking.v1.ServicePort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntryPort {
    /// The port that clients use.
    pub number: u16,
    /// Its name, unique in the object.
    pub name: String,
    /// What is spoken.
    pub protocol: AppProtocol,
    /// The port of the endpoints, when it differs.
    pub target_port: Option<u16>,
}

/// Source: `istio.networking.v1.ServiceEntry.Location`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Location {
    /// Outside: no mutual TLS of the mesh. Istio's default.
    #[default]
    MeshExternal,
    /// Inside.
    MeshInternal,
}

/// Source: `istio.networking.v1.ServiceEntry.Resolution`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resolution {
    /// The address that the client asked for. Istio's default.
    #[default]
    None,
    /// The endpoints listed.
    Static,
    /// Every address that DNS gives.
    Dns,
    /// One address that DNS gives at a time.
    DnsRoundRobin,
}

/// A workload added by hand. Source: `istio.networking.v1.WorkloadEntry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadEntry {
    /// Where it is.
    pub address: EndpointAddress,
    /// Its ports, by the name of the service port.
    pub ports: BTreeMap<String, u16>,
    /// Its labels.
    pub labels: Labels,
    /// Where it runs.
    pub locality: Locality,
    /// Its share. Istio's default: 1.
    pub weight: Weight,
    /// The account whose identity it proves.
    pub service_account: Option<ServiceAccount>,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// An address.
    Ip(IpAddr),
    /// A name that the proxy resolves.
    Host(Hostname),
}

impl std::fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(host) => host.fmt(f),
        }
    }
}
