//! From objects to a snapshot.

mod endpoints;
mod protocol;
mod services;
pub(crate) mod workloads;

use std::{net::Ipv4Addr, sync::Arc};

use iako_resources::{
    EndpointSlice, Endpoints, IstioOperator, MeshConfig, Object, Pod, Resource,
    Service as ServiceObject, ServiceEntry, WorkloadEntry,
};
use iako_types::HostPattern;

use crate::{LocalPod, MeshSnapshot, Readiness, Workload, local::imagined_pods};

/// Objects that are looked at while a snapshot is made, and are not kept in it.
#[derive(Debug, Default)]
struct Parts {
    services: Vec<Arc<Object<ServiceObject>>>,
    service_entries: Vec<Arc<Object<ServiceEntry>>>,
    workload_entries: Vec<Arc<Object<WorkloadEntry>>>,
    endpoints: Vec<Arc<Object<Endpoints>>>,
    slices: Vec<Arc<Object<EndpointSlice>>>,
    operators: Vec<Arc<Object<IstioOperator>>>,
}

/// Makes a snapshot; version and diagnostics are the caller's.
pub(crate) fn build(mut resources: Vec<Resource>, invented: Option<Ipv4Addr>) -> MeshSnapshot {
    sort_by_age(&mut resources);
    let mut snapshot = MeshSnapshot::default();
    let mut parts = Parts::default();
    for resource in resources {
        sort_in(resource, &mut snapshot, &mut parts);
    }
    let mesh = mesh_config(&snapshot, &parts);
    snapshot.mesh_is_written = mesh.is_some();
    snapshot.mesh = mesh.unwrap_or_default();
    let mut workloads = workloads::of_pods(&snapshot.pods, &snapshot.mesh);
    workloads.extend(workloads::of_entries(&parts.workload_entries, &snapshot.mesh));
    if let Some(network) = invented {
        invent(&mut workloads, &snapshot, network);
    }
    snapshot.workloads = workloads.into_iter().map(Arc::new).collect();
    let services = services::services(&parts, &snapshot);
    snapshot.services = services.into_iter().map(Arc::new).collect();
    index(&mut snapshot);
    snapshot
}

/// Oldest first: by creation time, then name, then namespace; those without a time, which come from
/// files, after them in the order in which they were read.
fn sort_by_age(resources: &mut [Resource]) {
    resources.sort_by(|one, other| {
        let (one, other) = (one.meta(), other.meta());
        match (one.creation_timestamp, other.creation_timestamp) {
            (Some(a), Some(b)) => {
                (a, &one.name, &one.namespace).cmp(&(b, &other.name, &other.namespace))
            }
            (one, other) => one.is_none().cmp(&other.is_none()),
        }
    });
}

fn sort_in(resource: Resource, snapshot: &mut MeshSnapshot, parts: &mut Parts) {
    if !resource.is_applied() {
        snapshot.waiting.push(resource);
        return;
    }
    match resource {
        Resource::VirtualService(object) => snapshot.virtual_services.push(object),
        Resource::DestinationRule(object) => snapshot.destination_rules.push(object),
        Resource::Gateway(object) => snapshot.gateways.push(object),
        Resource::ServiceEntry(object) => parts.service_entries.push(object),
        Resource::WorkloadEntry(object) => parts.workload_entries.push(object),
        Resource::Sidecar(object) => snapshot.sidecars.push(object),
        Resource::PeerAuthentication(object) => snapshot.peer_authentications.push(object),
        Resource::RequestAuthentication(object) => snapshot.request_authentications.push(object),
        Resource::AuthorizationPolicy(object) => snapshot.authorization_policies.push(object),
        Resource::Telemetry(object) => snapshot.telemetries.push(object),
        Resource::Service(object) => parts.services.push(object),
        Resource::Endpoints(object) => parts.endpoints.push(object),
        Resource::EndpointSlice(object) => parts.slices.push(object),
        Resource::Pod(object) => snapshot.pods.push(object),
        Resource::Workload(object) => snapshot.templates.push(object),
        Resource::Secret(object) => {
            let key = (object.meta.namespace.clone(), object.meta.name.clone());
            snapshot.secrets.insert(key, object);
        }
        Resource::ConfigMap(object) => {
            let key = (object.meta.namespace.clone(), object.meta.name.clone());
            snapshot.config_maps.insert(key, object);
        }
        Resource::Namespace(object) => {
            snapshot.namespaces.insert(object.meta.namespace.clone(), object);
        }
        Resource::IstioOperator(object) => parts.operators.push(object),
        // Those that nothing acts on wait.
        Resource::RateLimit(_)
        | Resource::ServiceAccount(_)
        | Resource::WorkloadGroup(_)
        | Resource::EnvoyFilter(_)
        | Resource::ProxyConfig(_)
        | Resource::WasmPlugin(_)
        | Resource::GatewayClass(_)
        | Resource::ApiGateway(_)
        | Resource::ListenerSet(_)
        | Resource::HttpRoute(_)
        | Resource::GrpcRoute(_)
        | Resource::TlsRoute(_)
        | Resource::TcpRoute(_)
        | Resource::UdpRoute(_)
        | Resource::BackendTlsPolicy(_)
        | Resource::ReferenceGrant(_)
        | Resource::TrafficExtension(_) => {}
    }
}

/// The settings of the mesh: of the `ConfigMap` that Istio keeps them in, else of the installation
/// that would write it; `None` when nothing was read of either.
fn mesh_config(snapshot: &MeshSnapshot, parts: &Parts) -> Option<Arc<MeshConfig>> {
    let maps = snapshot.config_maps.values();
    let own = maps.filter(|map| map.meta.name == "istio").filter_map(|map| map.spec.mesh.clone());
    let installed = parts.operators.iter().filter_map(|object| object.spec.mesh.clone());
    own.chain(installed).next().map(Arc::from)
}

/// Adds the pods that `iako up` would run, for workloads that no `Pod` document runs.
fn invent(workloads: &mut Vec<Workload>, snapshot: &MeshSnapshot, network: Ipv4Addr) {
    let runs = |pod: &LocalPod| {
        let same = |workload: &Workload| {
            workload.namespace == pod.namespace
                && (workload.name == pod.name || workload.owner == pod.owner)
        };
        workloads.iter().any(|workload| workload.address.is_some() && same(workload))
    };
    let mut pods = imagined_pods(snapshot, network);
    pods.retain(|pod| !runs(pod));
    for pod in pods {
        workloads.retain(|it| it.namespace != pod.namespace || it.name != pod.name);
        workloads.push(workloads::of_pod(&pod.to_object(Readiness::Ready), &snapshot.mesh));
    }
}

fn index(snapshot: &mut MeshSnapshot) {
    for (place, service) in snapshot.services.iter().enumerate() {
        let own = match &service.host {
            HostPattern::Exact(host) => Some(host),
            HostPattern::Any | HostPattern::Below(_) => None,
        };
        for host in own.into_iter().chain(&service.aliases) {
            snapshot.service_index.entry(host.clone()).or_default().push(place);
        }
    }
    for (place, workload) in snapshot.workloads.iter().enumerate() {
        if let Some(address) = workload.address {
            snapshot.workload_index.entry(address).or_insert(place);
        }
    }
}

/// The pods of a list, as `of_pods` wants them.
type PodObject = Arc<Object<Pod>>;
