//! Who runs, and where.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use iako_resources::{
    Gateway, Labels, Object, Origin, Pod, WorkloadTemplate,
    kubernetes::{
        pod::{Container, ContainerPort, PodSpec},
        service::Transport,
    },
    selects,
};
use iako_types::{Namespace, ServiceAccount};

use super::{LocalPod, LocalPodRole};
use crate::{
    MeshSnapshot, TLS_MODE_LABEL, WorkloadOwner,
    build::workloads::{canonical_name, canonical_revision},
};

/// Addresses that pods have already, by namespace and name.
pub type Allocated = BTreeMap<(Namespace, String), Ipv4Addr>;

/// Pods that one /16 holds: 127 times 250, for half of it belongs to the applications.
const PODS_MAX: u16 = 127 * 250;
/// By how much the third octet of an application's address is above that of its pod.
const APP_OCTET: u8 = 128;
/// By how much gateway ports below 1024, which need privileges, are shifted.
const PORT_SHIFT: u16 = 8000;

/// A pod without an address.
struct Draft {
    name: String,
    namespace: Namespace,
    labels: Labels,
    annotations: Labels,
    service_account: ServiceAccount,
    owner: WorkloadOwner,
    role: LocalPodRole,
    ports: Vec<ContainerPort>,
    origin: Origin,
}

/// The pods of the workloads whose containers give a command, and the gateways that `Gateway`
/// objects ask for and no workload is. Gateways first, then in the order of namespace and name.
///
/// A pod keeps the address that it has in `earlier`; a new one gets the first free address of
/// `network`, a /16. What does not fit into the network is left out.
#[must_use]
pub fn local_pods(
    snapshot: &MeshSnapshot,
    network: Ipv4Addr,
    earlier: &Allocated,
) -> Vec<LocalPod> {
    planned(snapshot, network, earlier, Wanted::Runnable)
}

/// The pods that a cluster would run: as [`local_pods`], and one for each workload whose containers
/// leave to their image what to run. For looking at objects; nobody can run these here.
pub(crate) fn imagined_pods(snapshot: &MeshSnapshot, network: Ipv4Addr) -> Vec<LocalPod> {
    planned(snapshot, network, &Allocated::new(), Wanted::All)
}

/// Which pods are planned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// Those that can run on this machine.
    Runnable,
    /// Those of every workload.
    All,
}

fn planned(
    snapshot: &MeshSnapshot,
    network: Ipv4Addr,
    earlier: &Allocated,
    wanted: Wanted,
) -> Vec<LocalPod> {
    let mut drafts: Vec<Draft> = Vec::new();
    for template in &snapshot.templates {
        drafts.extend(of_template(template, snapshot, wanted));
    }
    for pod in &snapshot.pods {
        drafts.extend(of_pod(pod, snapshot, wanted));
    }
    drafts.extend(implicit_gateways(snapshot, &drafts));
    // Gateways first: where people come in stays the same when pods are added.
    drafts.sort_by(|a, b| a.place().cmp(&b.place()));
    drafts.dedup_by(|b, a| a.namespace == b.namespace && a.name == b.name);
    let kept: BTreeSet<Ipv4Addr> = drafts
        .iter()
        .filter_map(|draft| earlier.get(&(draft.namespace.clone(), draft.name.clone())))
        .copied()
        .collect();
    let mut free = (0..PODS_MAX)
        .map(|index| address_of(network, index))
        .filter(|address| !kept.contains(address));
    drafts
        .into_iter()
        .filter_map(|draft| {
            let known = earlier.get(&(draft.namespace.clone(), draft.name.clone()));
            let address = known.copied().or_else(|| free.next())?;
            Some(draft.at(address))
        })
        .collect()
}

fn address_of(network: Ipv4Addr, index: u16) -> Ipv4Addr {
    let [a, b, _, _] = network.octets();
    let octet = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(a, b, octet(1 + index / 250), octet(1 + index % 250))
}

impl Draft {
    fn place(&self) -> (bool, &Namespace, &str) {
        (self.role != LocalPodRole::Gateway, &self.namespace, &self.name)
    }

    fn at(self, address: Ipv4Addr) -> LocalPod {
        let [a, b, c, d] = address.octets();
        LocalPod {
            name: self.name,
            namespace: self.namespace,
            labels: self.labels,
            annotations: self.annotations,
            service_account: self.service_account,
            owner: self.owner,
            address,
            app_address: Ipv4Addr::new(a, b, c | APP_OCTET, d),
            role: self.role,
            ports: self.ports,
            origin: self.origin,
        }
    }
}

fn of_template(
    template: &Object<WorkloadTemplate>,
    snapshot: &MeshSnapshot,
    wanted: Wanted,
) -> Vec<Draft> {
    let (meta, spec) = (&template.meta, &template.spec);
    let runnable = role_of(&spec.pod, &spec.labels, &spec.annotations, snapshot);
    let replicas = if runnable.is_some() { spec.replicas } else { spec.replicas.min(1) };
    let Some((role, ports)) = runnable.or_else(|| imagined(&spec.pod, wanted)) else {
        return Vec::new();
    };
    let kind = spec.kind.kind();
    (0..replicas)
        .map(|number| Draft {
            name: format!("{}-{number}", meta.name),
            namespace: meta.namespace.clone(),
            labels: injected(&spec.labels, &meta.name),
            annotations: spec.annotations.clone(),
            service_account: spec.pod.service_account.clone(),
            owner: WorkloadOwner { kind: kind.to_string(), name: meta.name.clone() },
            role: role.clone(),
            ports: ports.clone(),
            origin: template.origin.clone(),
        })
        .collect()
}

/// What a pod does of which nobody says here what it runs.
fn imagined(spec: &PodSpec, wanted: Wanted) -> Option<(LocalPodRole, Vec<ContainerPort>)> {
    let ports = || spec.containers.iter().flat_map(|it| it.ports.iter().cloned()).collect();
    (wanted == Wanted::All).then(|| (LocalPodRole::Application(Vec::new()), ports()))
}

fn of_pod(pod: &Object<Pod>, snapshot: &MeshSnapshot, wanted: Wanted) -> Option<Draft> {
    let meta = &pod.meta;
    // A pod with an address runs already, here or elsewhere.
    if pod.spec.ip.is_some() {
        return None;
    }
    let runnable = role_of(&pod.spec.spec, &meta.labels, &meta.annotations, snapshot);
    let (role, ports) = runnable.or_else(|| imagined(&pod.spec.spec, wanted))?;
    Some(Draft {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        labels: injected(&meta.labels, &meta.name),
        annotations: meta.annotations.clone(),
        service_account: pod.spec.spec.service_account.clone(),
        owner: WorkloadOwner { kind: "Pod".to_owned(), name: meta.name.clone() },
        role,
        ports,
        origin: pod.origin.clone(),
    })
}

/// What a pod runs here, and its ports; none when no container says what to run.
pub(super) fn role_of(
    spec: &PodSpec,
    labels: &Labels,
    annotations: &Labels,
    snapshot: &MeshSnapshot,
) -> Option<(LocalPodRole, Vec<ContainerPort>)> {
    let with_command: Vec<Container> =
        spec.containers.iter().filter(|it| !it.command.is_empty()).cloned().collect();
    if !with_command.is_empty() {
        let ports = spec.containers.iter().flat_map(|it| it.ports.iter().cloned()).collect();
        return Some((LocalPodRole::Application(with_command), ports));
    }
    let templated = annotations.get("inject.istio.io/templates").map(String::as_str);
    let selected = snapshot.gateways.iter().any(|gateway| is_selected(gateway, labels));
    let gateway = templated == Some("gateway") || selected;
    gateway.then(|| (LocalPodRole::Gateway, gateway_ports(labels, snapshot)))
}

fn is_selected(gateway: &Object<Gateway>, labels: &Labels) -> bool {
    !gateway.spec.selector.is_empty() && selects(&gateway.spec.selector, labels)
}

/// The ports on which a gateway with these labels listens, in their order.
fn gateway_ports(labels: &Labels, snapshot: &MeshSnapshot) -> Vec<ContainerPort> {
    // Without a selector a Gateway takes every gateway, and this is one.
    let selected =
        snapshot.gateways.iter().filter(|gateway| selects(&gateway.spec.selector, labels));
    let numbers: BTreeSet<u16> = selected
        .flat_map(|gateway| {
            gateway.spec.servers.iter().filter(|it| it.is_applied()).map(|it| it.port)
        })
        .collect();
    numbers
        .into_iter()
        .map(|number| ContainerPort {
            name: String::new(),
            port: if number < 1024 { number.saturating_add(PORT_SHIFT) } else { number },
            transport: Transport::Tcp,
        })
        .collect()
}

/// One pod for each selector of `Gateway` objects that no workload carries the labels of. An empty
/// selector takes any gateway; where there is none, it asks for Istio's ingress gateway.
fn implicit_gateways(snapshot: &MeshSnapshot, drafts: &[Draft]) -> Vec<Draft> {
    let ingress = Labels::from([("istio".to_owned(), "ingressgateway".to_owned())]);
    let mut found: BTreeMap<&Labels, Draft> = BTreeMap::new();
    let (any, named): (Vec<_>, Vec<_>) =
        snapshot.gateways.iter().partition(|gateway| gateway.spec.selector.is_empty());
    for gateway in named.into_iter().chain(any) {
        let is_any = gateway.spec.selector.is_empty();
        let selector = if is_any { &ingress } else { &gateway.spec.selector };
        let is_gateway = |draft: &Draft| draft.role == LocalPodRole::Gateway;
        let carried = if is_any {
            !found.is_empty() || drafts.iter().any(is_gateway)
        } else {
            drafts.iter().any(|draft| is_selected(gateway, &draft.labels))
        };
        let runs = snapshot.workloads.iter().any(|workload| selects(selector, &workload.labels));
        if carried || runs || found.contains_key(selector) {
            continue;
        }
        let name = gateway_name(selector);
        let account = format!("{name}-service-account");
        let draft = Draft {
            namespace: snapshot.mesh.root_namespace.clone(),
            labels: injected(selector, &name),
            annotations: Labels::new(),
            service_account: account.parse().unwrap_or_default(),
            owner: WorkloadOwner { kind: "Gateway".to_owned(), name: name.clone() },
            role: LocalPodRole::Gateway,
            ports: gateway_ports(selector, snapshot),
            origin: gateway.origin.clone(),
            name,
        };
        found.insert(selector, draft);
    }
    found.into_values().collect()
}

/// `istio: ingressgateway` becomes `istio-ingressgateway`, as Istio's own gateway is called.
fn gateway_name(selector: &Labels) -> String {
    let parts = selector.iter().flat_map(|(key, value)| {
        let key = key.rsplit('/').next().unwrap_or(key);
        [key.to_owned(), value.clone()]
    });
    let text = parts.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

/// The labels of a pod after injection. Source: Istio's injector.
fn injected(labels: &Labels, workload: &str) -> Labels {
    let mut injected = labels.clone();
    let mut add = |key: &str, value: String| {
        injected.entry(key.to_owned()).or_insert(value);
    };
    add(TLS_MODE_LABEL, "istio".to_owned());
    add("service.istio.io/canonical-name", canonical_name(labels, workload));
    add("service.istio.io/canonical-revision", canonical_revision(labels));
    injected
}
