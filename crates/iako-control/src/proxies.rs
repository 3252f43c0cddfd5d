//! The proxies that are connected: who may be, and for whom plans are made.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iako_translate::ProxyScope;
use iako_types::SpiffeId;
use iako_xds::{Gate, Opening, Refusal, StreamId};
use iako_xds_codec::decode;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::authenticate::Authenticator;

/// Most proxies of one control plane; beyond, others should take them.
const PROXIES_MAX: usize = 20_000;

/// The proxies that are connected.
#[derive(Debug, Default)]
pub(crate) struct Proxies {
    by_node: Mutex<BTreeMap<Arc<str>, Connected>>,
    /// Told when a proxy comes or goes.
    pub(crate) changed: Notify,
}

/// A connected proxy.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    /// For whom its plan is made.
    pub(crate) scope: Arc<ProxyScope>,
    streams: BTreeSet<StreamId>,
}

impl Proxies {
    /// Every connected proxy by the name of its node.
    pub(crate) fn connected(&self) -> BTreeMap<Arc<str>, Arc<ProxyScope>> {
        let by_node = self.by_node.lock();
        by_node.iter().map(|(node, one)| (Arc::clone(node), Arc::clone(&one.scope))).collect()
    }

    fn open(&self, node: &str, scope: ProxyScope, stream: StreamId) -> Result<(), Refusal> {
        let mut by_node = self.by_node.lock();
        if by_node.len() >= PROXIES_MAX && !by_node.contains_key(node) {
            return Err(Refusal::Overloaded);
        }
        let scope = Arc::new(scope);
        let entry = by_node
            .entry(node.into())
            .or_insert_with(|| Connected { scope: Arc::clone(&scope), streams: BTreeSet::new() });
        // The newest stream knows best what the proxy is.
        entry.scope = scope;
        entry.streams.insert(stream);
        drop(by_node);
        self.changed.notify_one();
        Ok(())
    }

    fn close(&self, node: &str, stream: StreamId) {
        let mut by_node = self.by_node.lock();
        if let Some(connected) = by_node.get_mut(node) {
            connected.streams.remove(&stream);
            if connected.streams.is_empty() {
                by_node.remove(node);
            }
        }
        drop(by_node);
        self.changed.notify_one();
    }
}

/// Lets proxies in.
#[derive(Debug)]
pub(crate) struct Door {
    proxies: Arc<Proxies>,
    /// Absent on the plaintext port, which only this machine can reach.
    authenticator: Option<Arc<Authenticator>>,
}

impl Door {
    /// For the TLS port: a proxy proves who it is, and may only be a proxy of its own account.
    pub(crate) const fn guarded(proxies: Arc<Proxies>, authenticator: Arc<Authenticator>) -> Self {
        Self { proxies, authenticator: Some(authenticator) }
    }

    /// For the plaintext port.
    pub(crate) const fn open(proxies: Arc<Proxies>) -> Self {
        Self { proxies, authenticator: None }
    }
}

impl Gate for Door {
    fn admit(&self, opening: &Opening<'_>) -> Result<(), Refusal> {
        let caller = self
            .authenticator
            .as_ref()
            .map(|known| known.caller(opening.peer, opening.bearer, iako_rt::clock::wall()))
            .transpose()
            .map_err(|reason| Refusal::Unauthenticated(reason.to_string()))?;
        let scope = ProxyScope::from_node(&decode::node(opening.node))
            .map_err(|error| Refusal::InvalidNode(error.to_string()))?;
        if let Some(caller) = caller {
            check(&caller, &scope)?;
        }
        self.proxies.open(&opening.node.id, scope, opening.stream)
    }

    fn closed(&self, node_id: &str, stream: StreamId) {
        self.proxies.close(node_id, stream);
    }
}

/// A proxy may only be told what concerns its own namespace and account.
fn check(caller: &SpiffeId, scope: &ProxyScope) -> Result<(), Refusal> {
    let own = caller.workload().is_some_and(|workload| {
        workload.namespace == scope.namespace && workload.service_account == scope.service_account
    });
    if own {
        return Ok(());
    }
    Err(Refusal::PermissionDenied(format!(
        "{caller} is no proxy of service account {} in namespace {}",
        scope.service_account, scope.namespace
    )))
}
