//! The mesh at one moment.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use iako_resources::{
    AuthorizationPolicy, ConfigMap, DestinationRule, Diagnostic, Gateway, MeshConfig, Object,
    PeerAuthentication, Pod, RequestAuthentication, Resource, Secret, Sidecar, Telemetry,
    VirtualService, WorkloadTemplate,
};
use iako_types::{Hostname, Namespace};

use crate::{Service, Workload};

/// Everything that is known of the mesh, at one moment; never changed, only replaced.
///
/// Lists of objects are ordered oldest first (creation time, then name, then namespace; objects
/// without a time in the order of file and line), because Istio lets the oldest win everywhere.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MeshSnapshot {
    /// Counts up with every change.
    pub version: u64,
    /// The settings of the whole mesh.
    pub mesh: Arc<MeshConfig>,
    /// Whether the settings were read from a document; otherwise they are Istio's defaults, and what
    /// they do not define may be defined where we cannot look.
    pub mesh_is_written: bool,
    /// `VirtualService` objects.
    pub virtual_services: Vec<Arc<Object<VirtualService>>>,
    /// `DestinationRule` objects.
    pub destination_rules: Vec<Arc<Object<DestinationRule>>>,
    /// `Gateway` objects.
    pub gateways: Vec<Arc<Object<Gateway>>>,
    /// `Sidecar` objects.
    pub sidecars: Vec<Arc<Object<Sidecar>>>,
    /// `PeerAuthentication` objects.
    pub peer_authentications: Vec<Arc<Object<PeerAuthentication>>>,
    /// `RequestAuthentication` objects.
    pub request_authentications: Vec<Arc<Object<RequestAuthentication>>>,
    /// `AuthorizationPolicy` objects.
    pub authorization_policies: Vec<Arc<Object<AuthorizationPolicy>>>,
    /// `Telemetry` objects.
    pub telemetries: Vec<Arc<Object<Telemetry>>>,
    /// Services with their endpoints.
    pub services: Vec<Arc<Service>>,
    /// Workloads.
    pub workloads: Vec<Arc<Workload>>,
    /// What makes pods: `Deployment` and its kin.
    pub templates: Vec<Arc<Object<WorkloadTemplate>>>,
    /// `Pod` objects, those that run and those that ask to.
    pub pods: Vec<Arc<Object<Pod>>>,
    /// `Secret` objects by namespace and name.
    pub secrets: BTreeMap<(Namespace, String), Arc<Object<Secret>>>,
    /// `ConfigMap` objects by namespace and name.
    pub config_maps: BTreeMap<(Namespace, String), Arc<Object<ConfigMap>>>,
    /// `Namespace` objects.
    pub namespaces: BTreeMap<Namespace, Arc<Object<()>>>,
    /// Objects that were read and checked, and that nothing acts on yet.
    pub waiting: Vec<Resource>,
    /// Every problem in the objects as they are now, also of those that were refused.
    pub diagnostics: Vec<Diagnostic>,
    /// Positions in `services` by exact host; several when several namespaces define one host.
    pub(crate) service_index: HashMap<Hostname, Vec<usize>>,
    /// Positions in `workloads` by address.
    pub(crate) workload_index: HashMap<IpAddr, usize>,
}

impl MeshSnapshot {
    /// The service of a host as a client in `namespace` sees it: that of its own namespace, else a
    /// Kubernetes service, else the oldest; only services that it may see.
    ///
    /// A host that no service has exactly may be covered by a ServiceEntry with a wildcard.
    #[must_use]
    pub fn service(&self, host: &Hostname, namespace: &Namespace) -> Option<&Arc<Service>> {
        let exact = self.service_index.get(host).into_iter().flatten();
        let visible = exact
            .filter_map(|&position| self.services.get(position))
            .filter(|service| service.export_to.includes(namespace));
        let best = visible.min_by_key(|service| (&service.namespace != namespace, service.source));
        best.or_else(|| {
            let covering = self.services.iter().filter(|service| {
                service.hostname().is_none()
                    && service.host.matches(host)
                    && service.export_to.includes(namespace)
            });
            covering.max_by_key(|service| service.host.specificity())
        })
    }

    /// The services that a client in `namespace` may see, oldest first, one for each host.
    #[must_use]
    pub fn services_visible_to(&self, namespace: &Namespace) -> Vec<&Arc<Service>> {
        let visible = self.services.iter().filter(|service| {
            service.export_to.includes(namespace)
                && service.hostname().is_none_or(|host| {
                    self.service(host, namespace).is_some_and(|best| Arc::ptr_eq(best, service))
                })
        });
        visible.collect()
    }

    /// The workload of this name.
    #[must_use]
    pub fn workload(&self, namespace: &Namespace, name: &str) -> Option<&Arc<Workload>> {
        self.workloads
            .iter()
            .find(|workload| workload.name == name && &workload.namespace == namespace)
    }

    /// The workload at this address.
    #[must_use]
    pub fn workload_at(&self, address: IpAddr) -> Option<&Arc<Workload>> {
        self.workload_index.get(&address).and_then(|&position| self.workloads.get(position))
    }

    /// The services that send traffic to a workload: service, its port, port of the workload.
    #[must_use]
    pub fn services_of(&self, workload: &Workload) -> Vec<(&Arc<Service>, u16, u16)> {
        let mut found = Vec::new();
        for service in &self.services {
            for (&number, endpoints) in &service.endpoints {
                let own = endpoints.iter().find(|endpoint| {
                    endpoint.workload.as_deref().is_some_and(|other| {
                        other.name == workload.name && other.namespace == workload.namespace
                    })
                });
                found.extend(own.map(|endpoint| (service, number, endpoint.port)));
            }
        }
        found
    }
}
