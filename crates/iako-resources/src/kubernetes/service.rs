//! `Service`.

mod parse;

use std::net::IpAddr;

use iako_types::Hostname;

use crate::{Labels, Visibility};

pub(crate) use parse::{parse, read_transport};

/// A name for a group of pods. Source: Kubernetes `v1.Service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its own address.
    pub cluster_ip: ClusterIp,
    /// `ExternalName`: another name for this host.
    pub external_name: Option<Hostname>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Labels of its pods; empty means that Endpoints are given by hand.
    pub selector: Labels,
    /// Pods count before they are ready.
    pub publish_not_ready_addresses: bool,
    /// Who may see it (annotation `networking.istio.io/exportTo`); `None` is the mesh's default.
    pub export_to: Option<Visibility>,
}

/// The address of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterIp {
    /// Not given yet: files rarely say.
    Unassigned,
    /// These.
    Addresses(Vec<IpAddr>),
    /// `None`: headless, clients pick a pod themselves.
    Headless,
}

/// A port of a service. Source: Kubernetes `v1.ServicePort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty when the service has one port.
    pub name: String,
    /// Number that clients use.
    pub port: u16,
    /// Port of the pods.
    pub target_port: TargetPort,
    /// Transport.
    pub transport: Transport,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// Which port of a pod takes the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// This one.
    Number(u16),
    /// The container port of this name.
    Name(String),
}

/// Transport of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// The default.
    #[default]
    Tcp,
    /// Datagrams.
    Udp,
    /// Neither.
    Sctp,
}
