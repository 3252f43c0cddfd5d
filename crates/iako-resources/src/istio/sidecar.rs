//! `Sidecar`: what a workload's proxy knows of the mesh.

mod ingress;
mod parse;

use std::net::IpAddr;

use iako_types::{AppProtocol, HostPattern, Namespace};

use super::{
    destination_rule::ConnectionPool, gateway::ServerTlsSettings, virtual_service::Destination,
};
use crate::Labels;

pub(crate) use parse::{parse, read_policy};

/// What the proxies it selects know. Source: `istio.networking.v1.Sidecar`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sidecar {
    /// Labels of the workloads; `None` is every workload of the namespace.
    pub workload_selector: Option<Labels>,
    /// What they may reach; `None` is every service that they may see.
    pub egress: Option<Vec<EgressHost>>,
    /// What happens to traffic for unknown hosts; `None` is the mesh's setting.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
    /// Where traffic for unknown hosts goes instead. Not applied yet.
    pub egress_proxy: Option<Destination>,
    /// The listeners that `egress` is written as. Their hosts count; the rest is not applied yet.
    pub egress_listeners: Vec<EgressListener>,
    /// Listeners towards the application, in place of those made from its services. Not applied
    /// yet.
    pub ingress: Vec<IngressListener>,
    /// Limits towards the application. Not applied yet.
    pub inbound_connection_pool: Option<ConnectionPool>,
}

/// Source: `istio.networking.v1.IstioEgressListener`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressListener {
    /// Its port; `None` is every port.
    pub port: Option<SidecarPort>,
    /// Where it listens; `None` is derived from its services.
    pub bind: Option<SidecarBind>,
    /// Whether connections are captured.
    pub capture: CaptureMode,
    /// What can be reached there.
    pub hosts: Vec<EgressHost>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Source: `istio.networking.v1.IstioIngressListener`.
#[derive(Debug, Clone, PartialEq)]
pub struct IngressListener {
    /// Its port.
    pub port: SidecarPort,
    /// The address it listens on; `None` is the workload's.
    pub bind: Option<IpAddr>,
    /// Whether connections are captured.
    pub capture: CaptureMode,
    /// Where connections go; `None` is the same port of the workload.
    pub target: Option<IngressTarget>,
    /// TLS that ends here.
    pub tls: Option<ServerTlsSettings>,
    /// Limits towards the application; `None` is that of the object.
    pub connection_pool: Option<ConnectionPool>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Source: `istio.networking.v1.SidecarPort`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SidecarPort {
    /// The number; 0 on a Unix socket.
    pub number: u16,
    /// What is spoken.
    pub protocol: AppProtocol,
    /// The name; may be missing.
    pub name: Option<String>,
}

/// Where an egress listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SidecarBind {
    /// An address.
    Ip(IpAddr),
    /// A Unix socket: an absolute path, or `@name`.
    Socket(String),
}

/// Source: `istio.networking.v1.CaptureMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CaptureMode {
    /// As the environment does it.
    #[default]
    Default,
    /// By rules of the kernel.
    Iptables,
    /// Not: the application connects to the listener itself.
    None,
}

/// Where an ingress listener sends connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IngressTarget {
    /// A port of the loopback interface.
    Loopback(u16),
    /// A port of the workload's address.
    Instance(u16),
    /// A Unix socket: an absolute path, or `@name`.
    Socket(String),
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
