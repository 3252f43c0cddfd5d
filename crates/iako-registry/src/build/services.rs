//! Services, from `Service` and `ServiceEntry`.

use std::collections::BTreeMap;

use iako_resources::{
    Object, Service as ServiceObject, ServiceEntry,
    istio::service_entry::{EndpointAddress, Location, Resolution},
    kubernetes::service::{ClusterIp, TargetPort, Transport},
};
use iako_types::{AppProtocol, CidrRange, HostPattern, Hostname};

use super::{Parts, endpoints, protocol::protocol};
use crate::{MeshSnapshot, Service, ServicePort, ServiceResolution, ServiceSource};

pub(super) fn services(parts: &Parts, snapshot: &MeshSnapshot) -> Vec<Service> {
    let mut services: Vec<Service> =
        parts.services.iter().filter_map(|object| of_service(object, parts, snapshot)).collect();
    for entry in &parts.service_entries {
        services
            .extend(entry.spec.hosts.iter().map(|host| of_entry(entry, host, (parts, snapshot))));
    }
    add_aliases(&mut services, parts, snapshot);
    services
}

/// The full name of a `Service`.
fn host_of(object: &Object<ServiceObject>, snapshot: &MeshSnapshot) -> Option<Hostname> {
    let (name, namespace) = (&object.meta.name, &object.meta.namespace);
    format!("{name}.{namespace}.svc.{}", snapshot.mesh.cluster_domain).parse().ok()
}

fn of_service(
    object: &Object<ServiceObject>,
    parts: &Parts,
    snapshot: &MeshSnapshot,
) -> Option<Service> {
    let spec = &object.spec;
    let host = host_of(object, snapshot)?;
    let (resolution, addresses) = match &spec.cluster_ip {
        _ if spec.external_name.is_some() => (ServiceResolution::Dns, Vec::new()),
        ClusterIp::Headless => (ServiceResolution::Headless, Vec::new()),
        ClusterIp::Unassigned => (ServiceResolution::Endpoints, Vec::new()),
        ClusterIp::Addresses(addresses) => {
            let addresses = addresses.iter().copied().map(CidrRange::from).collect();
            (ServiceResolution::Endpoints, addresses)
        }
    };
    let ports: Vec<ServicePort> = spec
        .ports
        .iter()
        .filter(|port| port.transport != Transport::Sctp)
        .map(|port| ServicePort {
            number: port.port,
            name: port.name.clone(),
            protocol: protocol(port.transport, port.app_protocol.as_deref(), &port.name, port.port),
            target: port.target_port.clone(),
        })
        .collect();
    let endpoints = ports
        .iter()
        .map(|port| (port.number, endpoints::of_service(object, port, parts, snapshot)))
        .collect();
    Some(Service {
        host: HostPattern::Exact(host),
        aliases: Vec::new(),
        name: object.meta.name.clone(),
        namespace: object.meta.namespace.clone(),
        source: ServiceSource::Kubernetes,
        labels: object.meta.labels.clone(),
        ports,
        addresses,
        resolution,
        mesh_external: spec.external_name.is_some(),
        export_to: spec
            .export_to
            .clone()
            .unwrap_or_else(|| snapshot.mesh.default_service_export_to.clone()),
        subject_alt_names: Vec::new(),
        endpoints,
        origin: object.origin.clone(),
        created: object.meta.creation_timestamp,
    })
}

fn of_entry(
    object: &Object<ServiceEntry>,
    host: &HostPattern,
    (parts, snapshot): (&Parts, &MeshSnapshot),
) -> Service {
    let spec = &object.spec;
    let ports: Vec<ServicePort> = spec
        .ports
        .iter()
        .map(|port| ServicePort {
            number: port.number,
            name: port.name.clone(),
            protocol: if port.protocol == AppProtocol::Unknown {
                protocol(Transport::Tcp, None, &port.name, port.number)
            } else {
                port.protocol
            },
            target: TargetPort::Number(port.target_port.unwrap_or(port.number)),
        })
        .collect();
    let mut endpoints: BTreeMap<_, _> = ports
        .iter()
        .map(|port| (port.number, endpoints::of_entry(object, host, port, (parts, snapshot))))
        .collect();
    let mesh_external = spec.location == Location::MeshExternal;
    if mesh_external {
        // What is outside never speaks the mesh's mutual TLS, whatever its labels say.
        let outside = endpoints.values_mut().flatten();
        outside.for_each(|endpoint| endpoint.mutual_tls = false);
    }
    Service {
        host: host.clone(),
        aliases: Vec::new(),
        name: object.meta.name.clone(),
        namespace: object.meta.namespace.clone(),
        source: ServiceSource::ServiceEntry,
        labels: object.meta.labels.clone(),
        ports,
        addresses: spec.addresses.clone(),
        resolution: match spec.resolution {
            Resolution::None => ServiceResolution::Passthrough,
            Resolution::Static => ServiceResolution::Endpoints,
            // Names of wildcards are resolved as they are asked for; such objects wait.
            Resolution::Dns | Resolution::DynamicDns => ServiceResolution::Dns,
            Resolution::DnsRoundRobin => ServiceResolution::DnsRoundRobin,
        },
        mesh_external,
        export_to: spec
            .export_to
            .clone()
            .unwrap_or_else(|| snapshot.mesh.default_service_export_to.clone()),
        subject_alt_names: spec.subject_alt_names.clone(),
        endpoints,
        origin: object.origin.clone(),
        created: object.meta.creation_timestamp,
    }
}

/// `ExternalName` services become further names of the service that they point to; one that points
/// outside of every registry stays a service of its own, found by DNS.
fn add_aliases(services: &mut Vec<Service>, parts: &Parts, snapshot: &MeshSnapshot) {
    for object in &parts.services {
        let (Some(target), Some(alias)) = (&object.spec.external_name, host_of(object, snapshot))
        else {
            continue;
        };
        let pointed = services.iter_mut().find(|service| service.hostname() == Some(target));
        if let Some(service) = pointed {
            service.aliases.push(alias.clone());
            services.retain(|service| service.hostname() != Some(&alias));
        }
    }
}

/// The address of a name that the client's proxy resolves.
pub(super) fn named(host: &Hostname) -> EndpointAddress {
    EndpointAddress::Host(host.clone())
}
