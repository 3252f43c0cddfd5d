//! What follows from the configuration: what to ask for, and what to publish.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use iako_rt::clock;

use super::{
    ConfigTask, Inventory, ResourceKind, Subscriptions, clusters::ClusterEntry, inventory::Refusal,
    leaving::Departing, listeners::ListenerEntry, routes::RouteEntry, scopes, update::Incoming,
};
use crate::snapshot::ProxySnapshot;

/// Refusals kept for the admin endpoint.
const REFUSALS_MAX: usize = 32;
/// Most snapshots that are kept until no request sees them any more.
const REPLACED_MAX: usize = 16;

impl ConfigTask {
    /// Tells the control plane's client which names are wanted now.
    pub(super) fn publish_subscriptions(&mut self) {
        let mut wanted = Subscriptions::default();
        let sources = [
            (ResourceKind::Cluster, &self.sources.clusters),
            (ResourceKind::Listener, &self.sources.listeners),
        ];
        for (kind, source) in sources {
            // Both are compiled with what the runtime says, and wait for its first word.
            let source = source.iter().filter(|_| self.runtime.is_settled());
            source.for_each(|source| wanted.want_all(kind, &source.origin));
        }
        for layer in self.runtime.discovered() {
            wanted.want(ResourceKind::Runtime, layer);
        }
        let mut routes = BTreeMap::new();
        let clusters = self.clusters.values().flat_map(ClusterEntry::versions);
        for cluster in clusters {
            cluster.eds_name().iter().for_each(|it| wanted.want(ResourceKind::Endpoints, it));
            let names = cluster.tls_slots().flat_map(|slot| slot.secrets());
            let names = names.filter(|name| !self.secrets.is_own(name));
            names.for_each(|name| wanted.want(ResourceKind::Secret, name));
        }
        for listener in self.listeners.values() {
            let told = listener.told().into_iter().chain(listener.warming_told());
            for source in told.flat_map(|told| scopes::sources_of(&told.value)) {
                wanted.want_all(ResourceKind::Scopes, &source.origin);
            }
            for (name, prefix) in listener.routes_named() {
                wanted.want(ResourceKind::Routes, &name);
                let asked = || (name.clone(), prefix.to_owned());
                routes.entry(name.key().to_owned()).or_insert_with(asked);
            }
            let names = listener.tls_slots().flat_map(|slot| slot.secrets());
            let names = names.chain(listener.filter_secrets());
            let names = names.filter(|name| !self.secrets.is_own(name));
            names.for_each(|name| wanted.want(ResourceKind::Secret, name));
        }
        for name in self.routes.values().flat_map(RouteEntry::secrets) {
            if !self.secrets.is_own(name) {
                wanted.want(ResourceKind::Secret, name);
            }
        }
        self.keep_routes(&routes);
        for hosts in self.routes.values().filter_map(|entry| entry.hosts.as_ref()) {
            let (kind, origin) = (ResourceKind::VirtualHost, &hosts.source().origin);
            wanted.want_all(kind, origin);
            hosts.names().for_each(|name| wanted.want_name(kind, origin, name));
        }
        self.ask_for_extensions(&mut wanted);
        self.demand.add_to(&mut wanted);
        self.subscriptions.send_if_modified(|current| {
            let changed = *current != wanted;
            *current = wanted;
            changed
        });
    }

    /// Publishes what serves now, and sends connections of chains that are gone on their way.
    pub(super) fn publish(&mut self) {
        let old = self.shared.published.load_full();
        let mut snapshot =
            ProxySnapshot { version: old.version.wrapping_add(1), ..ProxySnapshot::default() };
        let by_runtime = || self.runtime.now().connections_max();
        snapshot.connections_max = self.shared.overload.connections_max().or_else(by_runtime);
        snapshot.clusters.reserve(self.clusters.len());
        for entry in self.clusters.values() {
            if let Some((_, cluster)) = &entry.active {
                snapshot.clusters.insert(Arc::clone(&cluster.name), Arc::clone(cluster));
            }
        }
        for (name, entry) in &self.routes {
            if let Some(table) = entry.active() {
                snapshot.routes.insert(name.as_str().into(), Arc::clone(table));
            }
        }
        for (name, entry) in &self.listeners {
            let Some(settings) = entry.active() else { continue };
            let chains = settings.chains.iter().map(|chain| (chain.id, Arc::clone(chain)));
            snapshot.chains.extend(chains);
            snapshot.listeners.insert(name.as_str().into(), Arc::clone(settings));
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.shared.server.active_clusters.set(count(snapshot.clusters.len()));
        self.shared.server.total_listeners_active.set(count(snapshot.listeners.len()));
        let kept: HashSet<_> = snapshot.chains.keys().copied().collect();
        self.shared.published.store(Arc::new(snapshot));
        let until = clock::now() + self.drain_settings.time;
        let mut gone: Vec<_> =
            old.chains.values().filter(|chain| !kept.contains(&chain.id)).collect();
        gone.sort_by_key(|chain| chain.id);
        for chain in gone {
            chain.drain.leave(self.drain_settings);
            self.leaving.push(Departing::cut(until, chain.drain.clone()));
        }
        // Freed here once no request sees it any more, not by the last of them.
        self.replaced.push(old);
        self.free_replaced();
        self.publish_inventory();
    }

    /// Frees the snapshots that nobody sees any more. Those that requests see for long are left to
    /// them when there are too many.
    pub(super) fn free_replaced(&mut self) {
        self.replaced.retain(|old| Arc::strong_count(old) > 1);
        let surplus = self.replaced.len().saturating_sub(REPLACED_MAX);
        self.replaced.drain(..surplus);
    }

    /// Publishes what the proxy holds, for the admin endpoint.
    pub(super) fn publish_inventory(&self) {
        let active = |entry: &ListenerEntry| {
            entry.told().map(|told| (told.clone(), entry.bound_addresses()))
        };
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let clusters = self.clusters.values().filter(|entry| entry.warming.is_some());
        self.shared.server.warming_clusters.set(count(clusters.count()));
        let listeners = self.listeners.values().filter(|entry| entry.warming_told().is_some());
        self.shared.server.total_listeners_warming.set(count(listeners.count()));
        let inventory = Inventory {
            listeners: self.listeners.values().filter_map(active).collect(),
            warming_listeners: self
                .listeners
                .values()
                .filter_map(|entry| entry.warming_told().cloned())
                .collect(),
            clusters: self
                .clusters
                .values()
                .filter_map(|entry| entry.active.as_ref().map(|(told, _)| told.clone()))
                .collect(),
            warming_clusters: self
                .clusters
                .values()
                .filter_map(|entry| entry.warming.as_ref().map(|(told, _, _)| told.clone()))
                .collect(),
            routes: self
                .routes
                .values()
                .filter_map(|entry| entry.active.as_ref().map(|(told, _)| told.clone()))
                .collect(),
            materials: Arc::clone(self.secrets.materials()),
            extensions: self.extensions.all(),
            refusals: self.shared.inventory.load().refusals.clone(),
            listener_version: Arc::clone(&self.versions.listeners),
            cluster_version: Arc::clone(&self.versions.clusters),
        };
        self.shared.inventory.store(Arc::new(inventory));
    }

    /// Keeps a refusal for the admin endpoint, in place of an earlier one of the same resource.
    pub(super) fn note_refusal(&self, told: &Incoming<'_>, error: &str) {
        let mut inventory = Inventory::clone(&self.shared.inventory.load());
        inventory.refusals.retain(|one| !one.is_of(told.kind, told.name));
        inventory.refusals.push(Refusal {
            kind: told.kind,
            name: told.name.to_owned(),
            version: told.version.to_owned(),
            body: told.body.clone(),
            error: error.to_owned(),
            at: clock::wall(),
        });
        let surplus = inventory.refusals.len().saturating_sub(REFUSALS_MAX);
        inventory.refusals.drain(..surplus);
        self.shared.inventory.store(Arc::new(inventory));
    }

    /// What was refused is told no more once a newer version was taken, or it is gone.
    pub(super) fn forget_refusal(&self, kind: ResourceKind, name: &str) {
        let inventory = self.shared.inventory.load();
        if inventory.refusals.iter().any(|one| one.is_of(kind, name)) {
            let mut inventory = Inventory::clone(&inventory);
            inventory.refusals.retain(|one| !one.is_of(kind, name));
            self.shared.inventory.store(Arc::new(inventory));
        }
    }
}
