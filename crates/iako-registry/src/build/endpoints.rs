//! Who takes the traffic of a service port.

use std::sync::Arc;

use iako_resources::{
    EndpointSlice, Labels, Object, Service as ServiceObject, ServiceEntry, WorkloadEntry,
    istio::service_entry::{EndpointAddress, Resolution},
    kubernetes::service::TargetPort,
    selects,
};
use iako_types::{HostPattern, SpiffeId};

use super::{Parts, services::named};
use crate::{Endpoint, MeshSnapshot, ServicePort, TLS_MODE_LABEL, Workload, WorkloadSource};

/// Endpoints of a Kubernetes service: the pods that it selects, or those that documents name.
pub(super) fn of_service(
    object: &Object<ServiceObject>,
    port: &ServicePort,
    parts: &Parts,
    snapshot: &MeshSnapshot,
) -> Vec<Endpoint> {
    let spec = &object.spec;
    if let Some(target) = &spec.external_name {
        return vec![by_hand(named(target), target_number(port))];
    }
    if spec.selector.is_empty() {
        return of_documents(object, port, parts, snapshot);
    }
    let selected = snapshot.workloads.iter().filter(|workload| {
        workload.namespace == object.meta.namespace && selects(&spec.selector, &workload.labels)
    });
    selected
        .filter_map(|workload| {
            let mut endpoint = of_workload(workload, port)?;
            endpoint.ready |= spec.publish_not_ready_addresses;
            Some(endpoint)
        })
        .collect()
}

/// A workload as the endpoint of a port; none while it has no address, or is going away.
fn of_workload(workload: &Arc<Workload>, port: &ServicePort) -> Option<Endpoint> {
    let address = workload.address.filter(|_| !workload.terminating)?;
    // An entry made by hand names its ports after those of the service.
    let by_service_port = (workload.source == WorkloadSource::WorkloadEntry)
        .then(|| workload.named_port(&port.name))
        .flatten();
    let number = match &port.target {
        TargetPort::Number(number) => by_service_port.unwrap_or(*number),
        TargetPort::Name(name) => by_service_port.or_else(|| workload.named_port(name))?,
    };
    Some(Endpoint {
        address: EndpointAddress::Ip(address),
        port: number,
        ready: workload.ready,
        labels: workload.labels.clone(),
        locality: workload.locality.clone(),
        weight: 1,
        mutual_tls: workload.mutual_tls,
        identity: Some(workload.identity.clone()),
        workload: Some(Arc::clone(workload)),
    })
}

/// What `EndpointSlice` and `Endpoints` documents say; slices count where there are any.
fn of_documents(
    object: &Object<ServiceObject>,
    port: &ServicePort,
    parts: &Parts,
    snapshot: &MeshSnapshot,
) -> Vec<Endpoint> {
    let (name, namespace) = (&object.meta.name, &object.meta.namespace);
    let slices: Vec<&EndpointSlice> = parts
        .slices
        .iter()
        .filter(|slice| slice.meta.namespace == *namespace && slice.spec.service == *name)
        .map(|slice| &slice.spec)
        .collect();
    let found: Vec<&EndpointSlice> = if slices.is_empty() {
        let own = parts.endpoints.iter().filter(|endpoints| {
            endpoints.meta.namespace == *namespace && endpoints.meta.name == *name
        });
        own.flat_map(|endpoints| &endpoints.spec.subsets).collect()
    } else {
        slices
    };
    let mut endpoints = Vec::new();
    for slice in found {
        let Some(number) = slice.ports.iter().find(|it| it.name == port.name).map(|it| it.port)
        else {
            continue;
        };
        for address in &slice.addresses {
            let workload = snapshot.workloads.iter().find(|it| it.address == Some(address.address));
            let mut endpoint = match workload {
                Some(workload) => {
                    let exact = ServicePort { target: TargetPort::Number(number), ..port.clone() };
                    let Some(endpoint) = of_workload(workload, &exact) else { continue };
                    endpoint
                }
                None => by_hand(EndpointAddress::Ip(address.address), number),
            };
            endpoint.ready = address.ready;
            endpoints.push(endpoint);
        }
    }
    endpoints
}

/// Endpoints of a service added by hand.
pub(super) fn of_entry(
    object: &Object<ServiceEntry>,
    host: &HostPattern,
    port: &ServicePort,
    (parts, snapshot): (&Parts, &MeshSnapshot),
) -> Vec<Endpoint> {
    let spec = &object.spec;
    if spec.resolution == Resolution::None {
        return Vec::new();
    }
    if let Some(selector) = &spec.workload_selector {
        let selected = snapshot.workloads.iter().filter(|workload| {
            workload.namespace == object.meta.namespace && selects(selector, &workload.labels)
        });
        let mut found: Vec<Endpoint> =
            selected.filter_map(|workload| of_workload(workload, port)).collect();
        found.extend(of_names(object, selector, port, (parts, snapshot)));
        return found;
    }
    if !spec.endpoints.is_empty() {
        return spec
            .endpoints
            .iter()
            .map(|entry| of_written(entry, object, port, snapshot))
            .collect();
    }
    match host {
        HostPattern::Exact(host) => vec![by_hand(named(host), target_number(port))],
        HostPattern::Any | HostPattern::Below(_) => Vec::new(),
    }
}

/// Selected entries whose address is a name, which the client's proxy resolves.
fn of_names(
    object: &Object<ServiceEntry>,
    selector: &Labels,
    port: &ServicePort,
    (parts, snapshot): (&Parts, &MeshSnapshot),
) -> Vec<Endpoint> {
    let named = parts.workload_entries.iter().filter(|entry| {
        let mut labels = entry.meta.labels.clone();
        labels.extend(entry.spec.labels.clone());
        entry.meta.namespace == object.meta.namespace
            && matches!(entry.spec.address, EndpointAddress::Host(_))
            && selects(selector, &labels)
    });
    named.map(|entry| of_written(&entry.spec, object, port, snapshot)).collect()
}

fn of_written(
    entry: &WorkloadEntry,
    object: &Object<ServiceEntry>,
    port: &ServicePort,
    snapshot: &MeshSnapshot,
) -> Endpoint {
    let number = entry.ports.get(&port.name).copied().unwrap_or_else(|| target_number(port));
    let identity = entry.service_account.as_ref().map(|account| {
        SpiffeId::of_service_account(&snapshot.mesh.trust_domain, &object.meta.namespace, account)
    });
    Endpoint {
        labels: entry.labels.clone(),
        locality: entry.locality.clone(),
        weight: entry.weight,
        mutual_tls: entry.labels.get(TLS_MODE_LABEL).is_some_and(|mode| mode == "istio"),
        identity,
        ..by_hand(entry.address.clone(), number)
    }
}

fn by_hand(address: EndpointAddress, port: u16) -> Endpoint {
    Endpoint {
        address,
        port,
        ready: true,
        labels: Labels::new(),
        locality: iako_types::Locality::default(),
        weight: 1,
        mutual_tls: false,
        identity: None,
        workload: None,
    }
}

fn target_number(port: &ServicePort) -> u16 {
    match port.target {
        TargetPort::Number(number) => number,
        TargetPort::Name(_) => port.number,
    }
}
