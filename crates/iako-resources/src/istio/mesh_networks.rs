//! The networks of a mesh that spans several.

use std::collections::BTreeMap;

use iako_types::{CidrRange, Hostname, Locality};

use crate::{Code, istio::refer, reader::Cursor};

/// The networks of the mesh, by name. Source: `istio.mesh.v1alpha1.MeshNetworks`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MeshNetworks {
    /// Each network.
    pub networks: BTreeMap<String, Network>,
}

/// One network. Source: `istio.mesh.v1alpha1.Network`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// What belongs to it.
    pub endpoints: Vec<NetworkEndpoints>,
    /// Where it is entered from other networks.
    pub gateways: Vec<NetworkGateway>,
}

/// What belongs to a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkEndpoints {
    /// Addresses.
    Cidr(CidrRange),
    /// Everything of a registry, such as a Kubernetes cluster, by its name.
    Registry(String),
}

/// Where a network is entered. Source: `istio.mesh.v1alpha1.Network.IstioNetworkGateway`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkGateway {
    /// What it is called.
    pub target: NetworkGatewayTarget,
    /// Its port.
    pub port: u16,
    /// Where it runs.
    pub locality: Locality,
}

/// What the gateway of a network is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NetworkGatewayTarget {
    /// A service of the network.
    Service(Hostname),
    /// An address, or a name that is resolved.
    Address(Hostname),
}

/// Reads the text of `data.meshNetworks`.
pub(crate) fn parse(cursor: &Cursor<'_>) -> MeshNetworks {
    let fields = cursor.fields();
    let networks = fields.get("networks").map(|cursor| cursor.entries()).unwrap_or_default();
    let networks =
        networks.into_iter().map(|(name, cursor)| (name.to_owned(), read_network(&cursor)));
    MeshNetworks { networks: networks.collect() }
}

fn read_network(cursor: &Cursor<'_>) -> Network {
    if cursor.node().is_null() {
        return Network::default();
    }
    let fields = cursor.fields();
    let endpoints = fields.list_of("endpoints", read_endpoints);
    let gateways = fields.list_of("gateways", read_gateway);
    Network {
        endpoints: endpoints.into_iter().flatten().collect(),
        gateways: gateways.into_iter().flatten().collect(),
    }
}

fn read_endpoints(cursor: &Cursor<'_>) -> Option<NetworkEndpoints> {
    let fields = cursor.fields();
    let cidr = fields.get("fromCidr").map(|cursor| refer::cidr(&cursor));
    let registry = fields.get("fromRegistry").map(|cursor| {
        let name = cursor.text()?;
        if !refer::is_dns_label(&name) {
            cursor.report(Code::BadValue, format!("{name:?} is no name of a registry"));
        }
        Some(name)
    });
    match (cidr, registry) {
        (Some(_), Some(_)) => {
            let message = "endpoints come from fromCidr or fromRegistry, not from both";
            fields.report("fromRegistry", Code::Conflict, message);
            None
        }
        (Some(cidr), None) => cidr.map(NetworkEndpoints::Cidr),
        (None, Some(registry)) => registry.map(NetworkEndpoints::Registry),
        (None, None) => {
            cursor.report(Code::MissingField, "endpoints need fromCidr or fromRegistry");
            None
        }
    }
}

fn read_gateway(cursor: &Cursor<'_>) -> Option<NetworkGateway> {
    let fields = cursor.fields();
    let name = |cursor: &Cursor<'_>| cursor.parsed::<Hostname>(Code::BadHost);
    let service = fields.get("registryServiceName").map(|cursor| name(&cursor));
    let address = fields.get("address").map(|cursor| name(&cursor));
    let port = fields.required("port").and_then(|cursor| cursor.port());
    let locality = fields.text("locality").and_then(|text| text.parse().ok());
    if service.is_none() && address.is_none() {
        cursor.report(Code::MissingField, "a gateway needs registryServiceName or address");
    } else if service.is_some() && address.is_some() {
        let message = "a gateway has registryServiceName or address, not both";
        fields.report("address", Code::Conflict, message);
    }
    let target = service
        .flatten()
        .map(NetworkGatewayTarget::Service)
        .or_else(|| address.flatten().map(NetworkGatewayTarget::Address));
    Some(NetworkGateway { target: target?, port: port?, locality: locality.unwrap_or_default() })
}
