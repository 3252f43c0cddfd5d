//! What follows from the configuration: what to ask for, and what to publish.

use std::{collections::HashSet, sync::Arc};

use iako_rt::clock;

use super::{
    ConfigTask, Inventory, ResourceKind, Subscriptions, clusters::ClusterEntry, inventory::Refusal,
    listeners::ListenerEntry,
};
use crate::{drain::DrainPhase, snapshot::ProxySnapshot};

/// Refusals kept for the admin endpoint.
const REFUSALS_MAX: usize = 32;

impl ConfigTask {
    /// Tells the control plane's client which names are wanted now.
    pub(super) fn publish_subscriptions(&mut self) {
        let mut wanted = Subscriptions::default();
        let clusters = self.clusters.values().flat_map(ClusterEntry::versions);
        for cluster in clusters {
            wanted.endpoints.extend(cluster.eds_name().cloned());
            let names = cluster.tls_slots().flat_map(|slot| slot.secrets());
            wanted
                .secrets
                .extend(names.filter(|name| !self.secrets.is_own(name)).map(str::to_owned));
        }
        for listener in self.listeners.values() {
            listener.routes_named(&mut wanted.routes);
            let names = listener.tls_slots().flat_map(|slot| slot.secrets());
            wanted
                .secrets
                .extend(names.filter(|name| !self.secrets.is_own(name)).map(str::to_owned));
        }
        self.keep_routes(&wanted.routes);
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
        for (name, entry) in &self.clusters {
            if let Some((_, cluster)) = &entry.active {
                snapshot.clusters.insert(name.as_str().into(), Arc::clone(cluster));
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
        let until = clock::now() + self.drain_time;
        let mut gone: Vec<_> =
            old.chains.values().filter(|chain| !kept.contains(&chain.id)).collect();
        gone.sort_by_key(|chain| chain.id);
        for chain in gone {
            chain.drain.advance(DrainPhase::Draining);
            self.leaving.push((until, chain.drain.clone()));
        }
        self.publish_inventory();
    }

    /// Publishes what the proxy holds, for the admin endpoint.
    pub(super) fn publish_inventory(&self) {
        let active = |entry: &ListenerEntry| {
            entry.told().map(|told| (told.clone(), entry.bound_addresses()))
        };
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
            endpoints: self.endpoints.values().map(Arc::clone).collect(),
            materials: Arc::clone(self.secrets.materials()),
            refusals: self.shared.inventory.load().refusals.clone(),
        };
        self.shared.inventory.store(Arc::new(inventory));
    }

    /// Keeps a refusal for the admin endpoint.
    pub(super) fn note_refusal(&self, kind: ResourceKind, name: &str, error: &str) {
        let mut inventory = Inventory::clone(&self.shared.inventory.load());
        inventory.refusals.push(Refusal {
            resource: format!("{kind:?} {name}"),
            error: error.to_owned(),
            at: clock::wall(),
        });
        let surplus = inventory.refusals.len().saturating_sub(REFUSALS_MAX);
        inventory.refusals.drain(..surplus);
        self.shared.inventory.store(Arc::new(inventory));
    }
}
