//! Services, wherever they were defined, and the endpoints behind their ports.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use iako_resources::{
    Labels, Origin, Timestamp, Visibility, istio::service_entry::EndpointAddress,
    kubernetes::service::TargetPort,
};
use iako_types::{
    AppProtocol, CidrRange, HostPattern, Hostname, Locality, Namespace, SpiffeId, Weight,
};

use crate::Workload;

/// A service as clients see it, from a Kubernetes `Service` or a `ServiceEntry`.
///
/// A ServiceEntry with several hosts makes several of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The full name, such as `cart.shop.svc.cluster.local`. Only a ServiceEntry can have a
    /// wildcard.
    pub host: HostPattern,
    /// Further full names: `ExternalName` services that point here.
    pub aliases: Vec<Hostname>,
    /// The name of the object.
    pub name: String,
    /// The namespace of the object.
    pub namespace: Namespace,
    /// Where it was defined.
    pub source: ServiceSource,
    /// Its labels.
    pub labels: Labels,
    /// Its ports, in the order of the document.
    pub ports: Vec<ServicePort>,
    /// Addresses that clients use for it.
    pub addresses: Vec<CidrRange>,
    /// How a client's proxy finds endpoints.
    pub resolution: ServiceResolution,
    /// Outside the mesh: never mutual TLS by itself.
    pub mesh_external: bool,
    /// Who may see it.
    pub export_to: Visibility,
    /// Names that its servers prove, beside the identities of the endpoints.
    pub subject_alt_names: Vec<String>,
    /// Endpoints by service port. Every port of [`Service::ports`] has an entry.
    pub endpoints: BTreeMap<u16, Vec<Endpoint>>,
    /// Where the object was written.
    pub origin: Origin,
    /// When it was created.
    pub created: Option<Timestamp>,
}

impl Service {
    /// The full name, unless it is a wildcard.
    #[must_use]
    pub const fn hostname(&self) -> Option<&Hostname> {
        match &self.host {
            HostPattern::Exact(host) => Some(host),
            HostPattern::Any | HostPattern::Below(_) => None,
        }
    }

    /// The port of this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// The endpoints behind a port; none when the service has no such port.
    #[must_use]
    pub fn endpoints(&self, port: u16) -> &[Endpoint] {
        self.endpoints.get(&port).map_or(&[], Vec::as_slice)
    }

    /// Whether the service has one name per pod, and no address of its own.
    #[must_use]
    pub const fn is_headless(&self) -> bool {
        matches!(self.resolution, ServiceResolution::Headless)
    }
}

/// Where a service was defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceSource {
    /// A Kubernetes `Service`.
    Kubernetes,
    /// A `ServiceEntry`.
    ServiceEntry,
}

/// How a client's proxy finds the endpoints of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceResolution {
    /// The control plane tells them.
    Endpoints,
    /// Headless: the control plane knows them, clients pick one themselves.
    Headless,
    /// The address that the client asked for.
    Passthrough,
    /// DNS, every address.
    Dns,
    /// DNS, one address at a time.
    DnsRoundRobin,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The number that clients use.
    pub number: u16,
    /// Its name; may be empty.
    pub name: String,
    /// What is spoken, by `appProtocol`, name or well-known number.
    pub protocol: AppProtocol,
    /// The port of the endpoints.
    pub target: TargetPort,
}

/// Something that takes the traffic of a service port.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// Where it is.
    pub address: EndpointAddress,
    /// The port there.
    pub port: u16,
    /// Takes traffic now.
    pub ready: bool,
    /// Its labels, for subsets.
    pub labels: Labels,
    /// Where it runs.
    pub locality: Locality,
    /// Its share.
    pub weight: Weight,
    /// It speaks the mesh's mutual TLS (label `security.istio.io/tlsMode: istio`).
    pub mutual_tls: bool,
    /// The identity that it proves; `None` when not known.
    pub identity: Option<SpiffeId>,
    /// The workload behind it; `None` for an address given by hand.
    pub workload: Option<Arc<Workload>>,
}

impl Endpoint {
    /// The IP address, unless the endpoint is a name.
    #[must_use]
    pub const fn ip(&self) -> Option<IpAddr> {
        match &self.address {
            EndpointAddress::Ip(address) => Some(*address),
            EndpointAddress::Host(_) | EndpointAddress::Socket(_) | EndpointAddress::Network(_) => {
                None
            }
        }
    }
}
