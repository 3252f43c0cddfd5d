//! `ServiceEntry` and `WorkloadEntry`: services and workloads that Kubernetes does not know.

mod checks;
mod parse;

use std::{collections::BTreeMap, net::IpAddr};

use iako_types::{AppProtocol, CidrRange, HostPattern, Hostname, Locality, ServiceAccount, Weight};

use super::Visibility;
use crate::Labels;

pub(crate) use parse::{
    check_ports, parse, parse_workload_entry, read_address, read_ports, read_protocol,
};

/// A service added by hand. Source: `istio.networking.v1.ServiceEntry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Its names; those with a star inside a label are left out.
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
    /// The address that DNS gives for the name that each request asks for; hosts are wildcards.
    DynamicDns,
}

impl ServiceEntry {
    /// Whether the control plane acts on it: it has a host, and endpoints that proxies can reach.
    /// What is not applied is read and checked.
    #[must_use]
    pub fn is_applied(&self) -> bool {
        !self.hosts.is_empty()
            && self.resolution != Resolution::DynamicDns
            && self.endpoints.iter().all(WorkloadEntry::is_applied)
    }
}

impl WorkloadEntry {
    /// Whether proxies can reach it; Unix sockets and gateways of other networks are read, not yet
    /// applied.
    #[must_use]
    pub const fn is_applied(&self) -> bool {
        matches!(self.address, EndpointAddress::Ip(_) | EndpointAddress::Host(_))
    }
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
    /// The network it is in; `None` is that of the mesh.
    pub network: Option<String>,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointAddress {
    /// An address.
    Ip(IpAddr),
    /// A name that the proxy resolves.
    Host(Hostname),
    /// A Unix socket: an absolute path, or `@name`.
    Socket(String),
    /// The gateway of a network, whatever the workload's own address is there.
    Network(String),
}

impl std::fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host(host) => host.fmt(f),
            Self::Socket(path) => write!(f, "unix://{path}"),
            Self::Network(network) => write!(f, "network {network}"),
        }
    }
}
