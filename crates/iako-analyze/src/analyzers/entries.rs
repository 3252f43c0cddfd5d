//! ServiceEntries: whether what they add can be told apart.

use std::collections::{BTreeMap, BTreeSet};

use iako_registry::{MeshSnapshot, Service, ServiceSource};
use iako_resources::{Code, Diagnostic};
use iako_types::AppProtocol;

use super::findings::Findings;

/// A service of an entry, and what one of its ports speaks.
type Claim<'a> = (&'a Service, AppProtocol);

fn entries(snapshot: &MeshSnapshot) -> impl Iterator<Item = &Service> {
    let services = snapshot.services.iter().map(AsRef::as_ref);
    services.filter(|service: &&Service| service.source == ServiceSource::ServiceEntry)
}

fn about(code: Code, service: &Service, message: String) -> Diagnostic {
    let subject = format!("ServiceEntry {}/{}", service.namespace, service.name);
    Diagnostic::new(code, subject, service.origin.clone(), message)
}

/// Opaque ports of entries without an address.
pub(super) fn without_addresses(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for service in entries(snapshot).filter(|service| service.addresses.is_empty()) {
        for (at, port) in service.ports.iter().enumerate() {
            let opaque = matches!(port.protocol, AppProtocol::Tcp | AppProtocol::Unknown);
            let own = (service.namespace.as_str(), service.name.as_str(), port.number);
            if !opaque || !seen.insert(own) {
                continue;
            }
            let number = port.number;
            let message = format!(
                "port {number} carries opaque bytes and the entry has no addresses: any connection \
                 to port {number} that nobody else claims is taken for it"
            );
            findings.push(
                about(Code::AddressMissing, service, message)
                    .at(format!("spec.ports[{at}]"))
                    .with_help("add spec.addresses, or say which protocol with a host it speaks"),
            );
        }
    }
}

/// Entries that define one host and port with different protocols.
pub(super) fn conflicts(snapshot: &MeshSnapshot, findings: &mut Findings) {
    let mut by_port: BTreeMap<(String, u16), Vec<Claim<'_>>> = BTreeMap::new();
    for service in entries(snapshot) {
        for port in &service.ports {
            let key = (service.host.to_string(), port.number);
            by_port.entry(key).or_default().push((service, port.protocol));
        }
    }
    for ((host, number), found) in &by_port {
        for (at, (service, protocol)) in found.iter().enumerate() {
            let older = found.get(..at).unwrap_or_default();
            let meets = |other: &Service| {
                let both = other.export_to.includes(&service.namespace)
                    || service.export_to.includes(&other.namespace);
                both && (&other.namespace, &other.name) != (&service.namespace, &service.name)
            };
            let clash = older.iter().find(|(other, spoken)| spoken != protocol && meets(other));
            let Some((other, spoken)) = clash else { continue };
            let message = format!(
                "port {number} of {host} speaks {protocol} here, but {spoken} in ServiceEntry {}/{} \
                 at {}, which is older",
                other.namespace, other.name, other.origin
            );
            findings.push(
                about(Code::ServiceEntryConflict, service, message)
                    .at("spec.ports")
                    .with_help("give both the same protocol, or keep one of them"),
            );
        }
    }
}
