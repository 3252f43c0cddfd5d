//! What one proxy can see of the mesh.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use iako_registry::{
    MeshSnapshot, Service,
    select::{self, EffectiveTelemetry},
};
use iako_resources::{
    DestinationRule, MeshConfig, Object, Sidecar, VirtualService,
    istio::{
        sidecar::{EgressHost, EgressNamespace, OutboundTrafficPolicy},
        virtual_service::{Destination, HttpAction},
    },
};
use iako_types::{HostPattern, Hostname, Namespace};

use crate::{ProxyRole, ProxyScope};

/// What one proxy can see of the mesh.
#[derive(Debug)]
pub(crate) struct Outlook<'a> {
    pub(crate) snapshot: &'a MeshSnapshot,
    pub(crate) scope: &'a ProxyScope,
    /// Services that it may use, oldest first.
    pub(crate) services: Vec<&'a Arc<Service>>,
    /// VirtualServices of sidecars, in the order in which they claim hosts.
    pub(crate) virtual_services: Vec<&'a Arc<Object<VirtualService>>>,
    /// Client settings by host of the service.
    rules: BTreeMap<String, Arc<Object<DestinationRule>>>,
    /// What happens to hosts that nobody knows.
    pub(crate) outbound_policy: OutboundTrafficPolicy,
    telemetry: OnceLock<EffectiveTelemetry>,
}

impl<'a> Outlook<'a> {
    pub(crate) fn new(snapshot: &'a MeshSnapshot, scope: &'a ProxyScope) -> Self {
        let sidecar = match scope.role {
            ProxyRole::Sidecar => select::sidecar(snapshot, scope.subject()),
            ProxyRole::Gateway => None,
        };
        let mut services = snapshot.services_visible_to(&scope.namespace);
        let mut virtual_services = match scope.role {
            ProxyRole::Sidecar => select::virtual_services_for_sidecar(snapshot, &scope.namespace),
            ProxyRole::Gateway => Vec::new(),
        };
        if let Some(egress) = sidecar.and_then(|object| object.spec.egress.as_deref()) {
            virtual_services.retain(|object| {
                object.spec.hosts.iter().any(|host| imports(egress, &object.meta.namespace, host))
            });
            let wanted = destinations(&virtual_services);
            services.retain(|service| {
                imports(egress, &service.namespace, &service.host)
                    || service.hostname().is_some_and(|host| wanted.contains(&host))
            });
        }
        let rule = |service: &&Arc<Service>| {
            let rule = select::destination_rule(snapshot, scope.subject(), service)?;
            Some((service.host.to_string(), rule))
        };
        Self {
            snapshot,
            scope,
            rules: services.iter().filter_map(rule).collect(),
            services,
            virtual_services,
            outbound_policy: outbound_policy(snapshot, sidecar),
            telemetry: OnceLock::new(),
        }
    }

    pub(crate) fn mesh(&self) -> &'a MeshConfig {
        &self.snapshot.mesh
    }

    /// The client settings for a service.
    pub(crate) fn rule(&self, service: &Service) -> Option<&Arc<Object<DestinationRule>>> {
        self.rules.get(&service.host.to_string())
    }

    /// The service of a host, if this proxy may use it.
    pub(crate) fn service(&self, host: &Hostname) -> Option<&'a Arc<Service>> {
        let exact = self.services.iter().find(|service| service.hostname() == Some(host));
        let covering = || {
            let wide = self.services.iter().filter(|service| service.host.matches(host));
            wide.max_by_key(|service| service.host.specificity())
        };
        exact.or_else(covering).copied()
    }

    /// What the proxy reports.
    pub(crate) fn telemetry(&self) -> &EffectiveTelemetry {
        self.telemetry.get_or_init(|| select::telemetry(self.snapshot, self.scope.subject()))
    }
}

fn outbound_policy(
    snapshot: &MeshSnapshot,
    sidecar: Option<&Arc<Object<Sidecar>>>,
) -> OutboundTrafficPolicy {
    sidecar
        .and_then(|object| object.spec.outbound_traffic_policy)
        .unwrap_or(snapshot.mesh.outbound_traffic_policy)
}

fn imports(egress: &[EgressHost], namespace: &Namespace, host: &HostPattern) -> bool {
    let takes = |entry: &EgressHost| {
        let near = match &entry.namespace {
            EgressNamespace::Any => true,
            EgressNamespace::Named(named) => named == namespace,
            EgressNamespace::Nothing => false,
        };
        near && (entry.host.covers(host) || host.covers(&entry.host))
    };
    egress.iter().any(|entry| !entry.excluded && takes(entry))
        && !egress.iter().any(|entry| entry.excluded && takes(entry))
}

/// The hosts that routes of these objects send to: a proxy that knows a route knows its target.
fn destinations<'a>(objects: &[&'a Arc<Object<VirtualService>>]) -> Vec<&'a Hostname> {
    let mut found = Vec::new();
    let mut add = |destination: &'a Destination| found.push(&destination.host);
    for object in objects {
        for rule in &object.spec.http {
            if let HttpAction::Route(targets) = &rule.action {
                targets.iter().for_each(|target| add(&target.destination));
            }
            rule.mirrors.iter().for_each(|mirror| add(&mirror.destination));
        }
        let streams = object.spec.tls.iter().flat_map(|rule| &rule.route);
        let streams = streams.chain(object.spec.tcp.iter().flat_map(|rule| &rule.route));
        streams.for_each(|target| add(&target.destination));
    }
    found
}
