//! Which object counts for which workload: pure functions of a snapshot.
//!
//! Source: Istio's rules of selection, ordering and visibility.

mod authentication;
mod routing;
mod telemetry;

use std::sync::Arc;

use iako_resources::{
    AuthorizationPolicy, Labels, Object, RequestAuthentication, Sidecar, selects,
};
use iako_types::Namespace;

pub use authentication::{EffectiveMutualTls, peer_authentication};
pub use routing::{
    BoundGateway, destination_rule, gateways_for, virtual_services_for_gateway,
    virtual_services_for_sidecar,
};
pub use telemetry::{EffectiveTelemetry, telemetry};

use crate::{MeshSnapshot, Workload};

/// A workload as policies see it: its namespace and its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Its namespace.
    pub namespace: &'a Namespace,
    /// Its labels.
    pub labels: &'a Labels,
}

impl<'a> From<&'a Workload> for Subject<'a> {
    fn from(workload: &'a Workload) -> Self {
        Self { namespace: &workload.namespace, labels: &workload.labels }
    }
}

/// How wide an object reaches, widest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Mesh,
    Namespace,
    Workload,
}

/// How an object with this selector reaches the subject; `None` when it does not.
fn reach(
    snapshot: &MeshSnapshot,
    namespace: &Namespace,
    selector: Option<&Labels>,
    subject: Subject<'_>,
) -> Option<Reach> {
    let is_root = *namespace == snapshot.mesh.root_namespace;
    if !is_root && namespace != subject.namespace {
        return None;
    }
    match selector.filter(|labels| !labels.is_empty()) {
        Some(labels) => selects(labels, subject.labels).then_some(Reach::Workload),
        None if is_root => Some(Reach::Mesh),
        None => Some(Reach::Namespace),
    }
}

/// Every AuthorizationPolicy of a workload: those of the mesh, the namespace and the workload
/// together. None overrides another.
#[must_use]
pub fn authorization_policies<'a>(
    snapshot: &'a MeshSnapshot,
    subject: Subject<'_>,
) -> Vec<&'a Arc<Object<AuthorizationPolicy>>> {
    let mut found: Vec<_> = snapshot
        .authorization_policies
        .iter()
        .filter_map(|policy| {
            let selector = policy.spec.selector.as_ref();
            Some((reach(snapshot, &policy.meta.namespace, selector, subject)?, policy))
        })
        .collect();
    found.sort_by_key(|(reach, _)| *reach);
    found.into_iter().map(|(_, policy)| policy).collect()
}

/// Every RequestAuthentication of a workload; their rules count together.
#[must_use]
pub fn request_authentications<'a>(
    snapshot: &'a MeshSnapshot,
    subject: Subject<'_>,
) -> Vec<&'a Arc<Object<RequestAuthentication>>> {
    let mut found: Vec<_> = snapshot
        .request_authentications
        .iter()
        .filter_map(|object| {
            let selector = object.spec.selector.as_ref();
            Some((reach(snapshot, &object.meta.namespace, selector, subject)?, object))
        })
        .collect();
    found.sort_by_key(|(reach, _)| *reach);
    found.into_iter().map(|(_, object)| object).collect()
}

/// The Sidecar object of a workload: one that selects it, else that of its namespace, else that of
/// the root namespace; the oldest of each. `None` means that it knows every service it may see.
#[must_use]
pub fn sidecar<'a>(
    snapshot: &'a MeshSnapshot,
    subject: Subject<'_>,
) -> Option<&'a Arc<Object<Sidecar>>> {
    let rank = |object: &Object<Sidecar>| {
        let own = &object.meta.namespace == subject.namespace;
        match &object.spec.workload_selector {
            Some(labels) => (own && selects(labels, subject.labels)).then_some(0),
            None if own => Some(1),
            None => (object.meta.namespace == snapshot.mesh.root_namespace).then_some(2),
        }
    };
    let ranked = snapshot.sidecars.iter().filter_map(|object| Some((rank(object)?, object)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, object)| object)
}
