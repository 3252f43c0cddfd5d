//! Which routes and which client settings count for a proxy.

use std::sync::Arc;

use iako_resources::{
    DestinationRule, Gateway, Object, VirtualService, Visibility,
    istio::{gateway::Server, virtual_service::GatewayRef},
    selects,
};
use iako_types::{HostPattern, Namespace};

use super::Subject;
use crate::{MeshSnapshot, Service};

/// The VirtualServices of the sidecars in `namespace`: first those that only this namespace sees,
/// then those exported to it by name, then public ones; each oldest first. For one host the first
/// one counts alone.
#[must_use]
pub fn virtual_services_for_sidecar<'a>(
    snapshot: &'a MeshSnapshot,
    namespace: &Namespace,
) -> Vec<&'a Arc<Object<VirtualService>>> {
    let rank = |object: &Object<VirtualService>| {
        if !object.spec.gateways.contains(&GatewayRef::Mesh) {
            return None;
        }
        match visibility(object, snapshot) {
            Visibility::Nobody => None,
            Visibility::Mesh => Some(2),
            Visibility::Namespaces(list) if !list.contains(namespace) => None,
            Visibility::Namespaces(list) => {
                Some(u8::from(list.len() > 1 || object.meta.namespace != *namespace))
            }
        }
    };
    let mut found: Vec<_> = snapshot
        .virtual_services
        .iter()
        .filter_map(|object| Some((rank(object)?, object)))
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, object)| object).collect()
}

/// The VirtualServices bound to one Gateway object, oldest first, that a gateway workload in
/// `workload_namespace` may see. Rules of several for one host count together.
#[must_use]
pub fn virtual_services_for_gateway<'a>(
    snapshot: &'a MeshSnapshot,
    gateway: &Object<Gateway>,
    workload_namespace: &Namespace,
) -> Vec<&'a Arc<Object<VirtualService>>> {
    let own = GatewayRef::Gateway {
        namespace: gateway.meta.namespace.clone(),
        name: gateway.meta.name.clone(),
    };
    let bound = snapshot.virtual_services.iter().filter(|object| {
        object.spec.gateways.contains(&own)
            && visibility(object, snapshot).includes(workload_namespace)
    });
    bound.collect()
}

fn visibility<'a>(
    object: &'a Object<VirtualService>,
    snapshot: &'a MeshSnapshot,
) -> &'a Visibility {
    object.spec.export_to.as_ref().unwrap_or(&snapshot.mesh.default_virtual_service_export_to)
}

/// A server of a Gateway object that runs on a workload.
#[derive(Debug, Clone, Copy)]
pub struct BoundGateway<'a> {
    /// The object.
    pub gateway: &'a Arc<Object<Gateway>>,
    /// One of its servers.
    pub server: &'a Server,
}

/// The servers that a gateway workload runs, of the oldest object first.
#[must_use]
pub fn gateways_for<'a>(snapshot: &'a MeshSnapshot, subject: Subject<'_>) -> Vec<BoundGateway<'a>> {
    let selected =
        snapshot.gateways.iter().filter(|object| selects(&object.spec.selector, subject.labels));
    selected
        .flat_map(|gateway| {
            let servers = gateway.spec.servers.iter().filter(|server| server.is_applied());
            servers.map(move |server| BoundGateway { gateway, server })
        })
        .collect()
}

/// The DestinationRule that a client uses for a service.
///
/// Namespaces are asked in this order, and the first that has any rule for the host ends the
/// search: the client's, the service's, the root. In it the most specific host wins, a rule that
/// selects the client before one for all. Rules for the same host are merged: subsets by name, the
/// traffic policy of the oldest that has one.
#[must_use]
pub fn destination_rule(
    snapshot: &MeshSnapshot,
    client: Subject<'_>,
    service: &Service,
) -> Option<Arc<Object<DestinationRule>>> {
    let root = &snapshot.mesh.root_namespace;
    let in_client = (client.namespace != root || &service.namespace == root)
        .then(|| best_rule(snapshot, client, &service.host, client.namespace))
        .flatten();
    in_client
        .or_else(|| best_rule(snapshot, client, &service.host, &service.namespace))
        .or_else(|| best_rule(snapshot, client, &service.host, root))
}

fn best_rule(
    snapshot: &MeshSnapshot,
    client: Subject<'_>,
    host: &HostPattern,
    namespace: &Namespace,
) -> Option<Arc<Object<DestinationRule>>> {
    let default = &snapshot.mesh.default_destination_rule_export_to;
    let usable: Vec<_> = snapshot
        .destination_rules
        .iter()
        .filter(|rule| &rule.meta.namespace == namespace && rule.spec.host.covers(host))
        .filter(|rule| {
            namespace == client.namespace
                || rule.spec.export_to.as_ref().unwrap_or(default).includes(client.namespace)
        })
        .filter(|rule| {
            rule.spec.workload_selector.as_ref().is_none_or(|labels| {
                namespace == client.namespace && selects(labels, client.labels)
            })
        })
        .collect();
    let rank = |rule: &Object<DestinationRule>| {
        (rule.spec.host.specificity(), rule.spec.workload_selector.is_some())
    };
    let best = usable.iter().map(|rule| rank(rule)).max()?;
    let mut same = usable.into_iter().filter(|rule| rank(rule) == best);
    let first = same.next()?;
    let others: Vec<_> =
        same.filter(|other| other.spec.export_to == first.spec.export_to).collect();
    if others.is_empty() {
        return Some(Arc::clone(first));
    }
    Some(Arc::new(merged(first, &others)))
}

fn merged(
    first: &Object<DestinationRule>,
    others: &[&Arc<Object<DestinationRule>>],
) -> Object<DestinationRule> {
    let mut object = first.clone();
    for other in others {
        for subset in &other.spec.subsets {
            if object.spec.subset(&subset.name).is_none() {
                object.spec.subsets.push(subset.clone());
            }
        }
        if object.spec.traffic_policy
            == iako_resources::istio::destination_rule::TrafficPolicy::default()
        {
            object.spec.traffic_policy = other.spec.traffic_policy.clone();
        }
    }
    object
}
