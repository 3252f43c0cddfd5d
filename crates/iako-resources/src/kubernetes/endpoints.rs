//! `Endpoints` and `EndpointSlice`: addresses of a service, given by hand or by Kubernetes.

mod parse;

use std::net::IpAddr;

use super::service::Transport;

pub(crate) use parse::{parse_endpoints, parse_slice};

/// Addresses of the service of the same name. Source: Kubernetes `v1.Endpoints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Groups of addresses with the same ports.
    pub subsets: Vec<EndpointSlice>,
}

/// Addresses of a service with the same ports. Source: Kubernetes `discovery.v1.EndpointSlice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The service, from label `kubernetes.io/service-name`; of `Endpoints` the object's name.
    pub service: String,
    /// Its addresses.
    pub addresses: Vec<SliceAddress>,
    /// Its ports.
    pub ports: Vec<SlicePort>,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceAddress {
    /// The address.
    pub address: IpAddr,
    /// Takes traffic.
    pub ready: bool,
    /// The pod behind it.
    pub pod: Option<String>,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    /// Name of the service port.
    pub name: String,
    /// Number at the addresses.
    pub port: u16,
    /// Transport.
    pub transport: Transport,
}
