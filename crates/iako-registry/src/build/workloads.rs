//! Workloads, from pods and from entries made by hand.

use std::sync::Arc;

use iako_resources::{
    Labels, MeshConfig, Object, Pod, WorkloadEntry,
    istio::service_entry::EndpointAddress,
    kubernetes::{pod::ContainerPort, service::Transport},
};
use iako_types::{Locality, SpiffeId};

use super::PodObject;
use crate::{
    APP_ADDRESS_ANNOTATION, OWNER_ANNOTATION, TLS_MODE_LABEL, Workload, WorkloadOwner,
    WorkloadSource,
};

pub(super) fn of_pods(pods: &[PodObject], mesh: &MeshConfig) -> Vec<Workload> {
    pods.iter().map(|pod| of_pod(pod, mesh)).collect()
}

pub(super) fn of_pod(pod: &Object<Pod>, mesh: &MeshConfig) -> Workload {
    let meta = &pod.meta;
    let account = &pod.spec.spec.service_account;
    let owner = owner_of(pod);
    let containers = &pod.spec.spec.containers;
    Workload {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        source: WorkloadSource::Pod,
        address: pod.spec.ip,
        app_address: meta
            .annotations
            .get(APP_ADDRESS_ANNOTATION)
            .and_then(|address| address.parse().ok()),
        service_account: account.clone(),
        identity: SpiffeId::of_service_account(&mesh.trust_domain, &meta.namespace, account),
        ports: containers.iter().flat_map(|container| container.ports.iter().cloned()).collect(),
        ready: pod.spec.ready,
        terminating: pod.spec.terminating,
        mutual_tls: speaks_mutual_tls(&meta.labels),
        canonical_name: canonical_name(&meta.labels, &owner.name),
        canonical_revision: canonical_revision(&meta.labels),
        owner,
        locality: locality_of(&meta.labels),
        node: pod.spec.spec.node.clone(),
        origin: pod.origin.clone(),
        labels: meta.labels.clone(),
        annotations: meta.annotations.clone(),
    }
}

pub(super) fn of_entries(
    entries: &[Arc<Object<WorkloadEntry>>],
    mesh: &MeshConfig,
) -> Vec<Workload> {
    entries.iter().map(|entry| of_entry(entry, mesh)).collect()
}

fn of_entry(entry: &Object<WorkloadEntry>, mesh: &MeshConfig) -> Workload {
    let (meta, spec) = (&entry.meta, &entry.spec);
    let account = spec.service_account.clone().unwrap_or_default();
    let mut labels = meta.labels.clone();
    labels.extend(spec.labels.clone());
    Workload {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        source: WorkloadSource::WorkloadEntry,
        address: match &spec.address {
            EndpointAddress::Ip(address) => Some(*address),
            EndpointAddress::Host(_) | EndpointAddress::Socket(_) | EndpointAddress::Network(_) => {
                None
            }
        },
        app_address: None,
        identity: SpiffeId::of_service_account(&mesh.trust_domain, &meta.namespace, &account),
        service_account: account,
        ports: spec
            .ports
            .iter()
            .map(|(name, port)| ContainerPort {
                name: name.clone(),
                port: *port,
                transport: Transport::Tcp,
            })
            .collect(),
        ready: true,
        terminating: false,
        mutual_tls: speaks_mutual_tls(&labels),
        owner: WorkloadOwner { kind: "WorkloadEntry".to_owned(), name: meta.name.clone() },
        canonical_name: canonical_name(&labels, &meta.name),
        canonical_revision: canonical_revision(&labels),
        locality: spec.locality.clone(),
        node: None,
        origin: entry.origin.clone(),
        annotations: meta.annotations.clone(),
        labels,
    }
}

/// What made a pod: what its annotation says, else its owner; a ReplicaSet stands for the
/// Deployment whose name it carries before its hash.
fn owner_of(pod: &Object<Pod>) -> WorkloadOwner {
    let annotated = pod.meta.annotations.get(OWNER_ANNOTATION).and_then(|it| it.split_once('/'));
    if let Some((kind, name)) = annotated {
        return WorkloadOwner { kind: kind.to_owned(), name: name.to_owned() };
    }
    let hash = pod.meta.labels.get("pod-template-hash");
    match (&pod.spec.owner, hash) {
        (Some((kind, name)), Some(hash)) if kind == "ReplicaSet" => {
            let deployment = name.strip_suffix(hash.as_str()).and_then(|it| it.strip_suffix('-'));
            match deployment {
                Some(name) => {
                    WorkloadOwner { kind: "Deployment".to_owned(), name: name.to_owned() }
                }
                None => WorkloadOwner { kind: kind.clone(), name: name.clone() },
            }
        }
        (Some((kind, name)), _) => WorkloadOwner { kind: kind.clone(), name: name.clone() },
        (None, _) => WorkloadOwner { kind: "Pod".to_owned(), name: pod.meta.name.clone() },
    }
}

fn speaks_mutual_tls(labels: &Labels) -> bool {
    labels.get(TLS_MODE_LABEL).is_some_and(|mode| mode == "istio")
}

fn first_of(labels: &Labels, names: [&str; 3]) -> Option<String> {
    names.into_iter().find_map(|name| labels.get(name)).cloned()
}

/// Source: Istio, canonical service of a workload.
pub(crate) fn canonical_name(labels: &Labels, workload: &str) -> String {
    first_of(labels, ["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"])
        .unwrap_or_else(|| workload.to_owned())
}

/// Source: Istio, canonical revision of a workload.
pub(crate) fn canonical_revision(labels: &Labels) -> String {
    let names = ["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"];
    first_of(labels, names).unwrap_or_else(|| "latest".to_owned())
}

/// A pod's own label counts where its node is not known. Source: Istio, `istio-locality`.
fn locality_of(labels: &Labels) -> Locality {
    let text = labels.get("istio-locality").map(|text| text.replace('.', "/"));
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}
