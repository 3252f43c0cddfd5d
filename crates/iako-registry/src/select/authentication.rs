//! Which TLS a workload accepts.

use std::{collections::BTreeMap, sync::Arc};

use iako_resources::{Object, PeerAuthentication, istio::peer_authentication::MutualTlsMode};

use super::{Reach, Subject, reach};
use crate::MeshSnapshot;

/// The TLS that a workload accepts, port by port, and who decided.
#[derive(Debug, Clone, PartialEq)]
pub struct EffectiveMutualTls {
    /// For every port not named.
    pub mode: MutualTlsMode,
    /// By port of the workload.
    pub ports: BTreeMap<u16, MutualTlsMode>,
    /// The object that decided the mode; `None` is Istio's default, permissive.
    pub decided_by: Option<Arc<Object<PeerAuthentication>>>,
    /// The object that decided the ports.
    pub ports_decided_by: Option<Arc<Object<PeerAuthentication>>>,
}

impl EffectiveMutualTls {
    /// What the workload accepts on a port of its own.
    #[must_use]
    pub fn of_port(&self, port: u16) -> MutualTlsMode {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }
}

/// The TLS that a workload accepts: its own object, else that of its namespace, else that of the
/// root namespace; the oldest of each. `UNSET` inherits. An object with a selector in the root
/// namespace counts only there.
#[must_use]
pub fn peer_authentication(snapshot: &MeshSnapshot, subject: Subject<'_>) -> EffectiveMutualTls {
    let mut by_reach: BTreeMap<Reach, &Arc<Object<PeerAuthentication>>> = BTreeMap::new();
    for object in &snapshot.peer_authentications {
        let namespace = &object.meta.namespace;
        let Some(found) = reach(snapshot, namespace, object.spec.selector.as_ref(), subject) else {
            continue;
        };
        if found == Reach::Workload && namespace != subject.namespace {
            continue;
        }
        by_reach.entry(found).or_insert(object);
    }
    let mut effective = EffectiveMutualTls {
        mode: MutualTlsMode::Permissive,
        ports: BTreeMap::new(),
        decided_by: None,
        ports_decided_by: None,
    };
    for object in by_reach.values() {
        if let Some(mode) = object.spec.mode {
            effective.mode = mode;
            effective.decided_by = Some(Arc::clone(object));
        }
    }
    if let Some(own) = by_reach.get(&Reach::Workload) {
        let set = own.spec.port_modes.iter();
        effective.ports = set.filter_map(|(&port, mode)| Some((port, (*mode)?))).collect();
        effective.ports_decided_by = (!effective.ports.is_empty()).then(|| Arc::clone(own));
    }
    effective
}
