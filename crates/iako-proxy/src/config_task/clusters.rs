//! Clusters: which serve, which still wait, and their endpoints.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{Cluster, ConfigOrigin, Discovery, EndpointSet, SourcedName};
use iako_rt::clock;
use iako_telemetry::LogTarget;
use tokio::task::AbortHandle;

use super::{
    ConfigTask, Event, Told, WARMING_MAX, routes,
    source_stats::{Reception, SourceStats},
};
use crate::{
    dns::{self, Resolution},
    health::HealthLogs,
    snapshot::{ClusterStats, UpstreamCluster},
};

/// How long a removed cluster serves routes that still name it: the routes' own change may come
/// after the cluster's.
const REMOVED_KEPT: Duration = Duration::from_secs(15);

/// One cluster over its changes.
#[derive(Debug)]
pub(super) struct ClusterEntry {
    /// What serves.
    pub(super) active: Option<(Told<Cluster>, Arc<UpstreamCluster>)>,
    /// What is to serve next, and since when it waits.
    pub(super) warming: Option<(Told<Cluster>, Arc<UpstreamCluster>, Instant)>,
    removed: Option<Instant>,
    /// Resolves the names of the newest version.
    resolving: Option<AbortHandle>,
    /// Whether instances of the newest version are known.
    has_endpoints: bool,
    /// Whether they were checked, where the version has checks.
    is_checked: bool,
    /// How asking for instances goes; none when they are not asked for.
    asked: Option<SourceStats>,
}

impl ClusterEntry {
    pub(super) fn deadline(&self) -> Option<Instant> {
        let warming = self
            .warming
            .as_ref()
            .and_then(|(_, cluster, since)| warming_max(cluster).map(|longest| *since + longest));
        warming.or_else(|| self.removed.map(|at| at + REMOVED_KEPT))
    }

    fn newest(&self) -> Option<&Arc<UpstreamCluster>> {
        let warming = self.warming.as_ref().map(|(_, cluster, _)| cluster);
        warming.or_else(|| self.active.as_ref().map(|(_, cluster)| cluster))
    }

    fn newest_told(&self) -> Option<&Told<Cluster>> {
        let warming = self.warming.as_ref().map(|(told, _, _)| told);
        warming.or_else(|| self.active.as_ref().map(|(told, _)| told))
    }

    /// Every version that is held.
    pub(super) fn versions(&self) -> impl Iterator<Item = &Arc<UpstreamCluster>> {
        let active = self.active.iter().map(|(_, cluster)| cluster);
        active.chain(self.warming.iter().map(|(_, cluster, _)| cluster))
    }

    /// Whether instances of the newest version are asked for there.
    pub(super) fn is_from(&self, origin: &ConfigOrigin) -> bool {
        let name = self.newest().and_then(|cluster| cluster.eds_name());
        name.is_some_and(|name| name.source().origin == *origin)
    }

    /// Counts how instances of this key, or of all, were received.
    pub(super) fn note(&self, key: Option<&str>, reception: &Reception) {
        let own = self.newest().and_then(|cluster| cluster.eds_name()).map(SourcedName::key);
        if let Some(stats) = &self.asked
            && (key.is_none() || key == own)
        {
            stats.note(reception);
        }
    }

    /// It goes on without instances.
    pub(super) const fn wait_no_more(&mut self) {
        self.has_endpoints = true;
    }

    pub(super) const fn is_removed(&self) -> bool {
        self.removed.is_some()
    }
}

/// How long a cluster waits for what it needs; for ever when absent.
fn warming_max(cluster: &UpstreamCluster) -> Option<Duration> {
    let secrets = cluster.tls_slots().flat_map(|slot| slot.secrets());
    let mut sources = cluster.eds_name().into_iter().chain(secrets).map(SourcedName::source);
    sources
        .try_fold(Duration::ZERO, |longest, source| {
            source.initial_fetch_timeout.map(|own| own.max(longest))
        })
        // What is resolved, or checked, has no time of its own.
        .map(|longest| if longest.is_zero() { WARMING_MAX } else { longest })
}

impl Drop for ClusterEntry {
    fn drop(&mut self) {
        if let Some(resolving) = &self.resolving {
            resolving.abort();
        }
        self.versions().for_each(|cluster| cluster.retire());
    }
}

impl ConfigTask {
    /// Takes a cluster; it serves once it is warm.
    pub(super) fn set_cluster(
        &mut self,
        cluster: Cluster,
        told: impl FnOnce(Cluster) -> Told<Cluster>,
    ) -> Result<(), String> {
        let name = cluster.name.clone();
        let told = told(cluster);
        let old = self.clusters.get(&name);
        if let Some(newest) = old.and_then(ClusterEntry::newest_told) {
            if newest.is_static() {
                return Err(format!("cluster {name:?} is the bootstrap's and cannot be changed"));
            }
            if newest.value == told.value {
                if let Some(entry) = self.clusters.get_mut(&name) {
                    entry.removed = None;
                }
                return Ok(());
            }
        }
        let before = old.and_then(ClusterEntry::newest).map(Arc::clone);
        let state = before.as_ref().map(|cluster| Arc::clone(&cluster.state));
        let changed = old.is_some();
        let id = self.take_id();
        let logs = self
            .health_logs(&told.value)
            .map_err(|error| format!("cluster {name:?}: event log: {error}"))?;
        let config = self.runtime.now().cluster(&told.value);
        let compiled = UpstreamCluster::new(id, config, &self.shared, state, logs)
            .with_resolver(&self.resolver, &self.shared.stats)
            .continuing(before.as_deref());
        let compiled = Arc::new(compiled);
        for slot in compiled.tls_slots() {
            // What is missing may arrive yet; what can never work is refused now.
            self.secrets
                .refresh_client(slot)
                .map_err(|error| format!("cluster {name:?}: {error}"))?;
        }
        let server = &self.shared.server;
        if changed {
            server.cluster_modified.inc();
        } else {
            server.cluster_added.inc();
        }
        let resolving = self.start_resolving(&compiled);
        let active = self.clusters.get_mut(&name).and_then(|entry| entry.active.take());
        self.health.watch(&compiled);
        let has_endpoints = self.first_endpoints(&compiled);
        let asked = self.ask_for_endpoints(&compiled);
        let warming = Some((told, compiled, clock::now()));
        self.reloaded = true;
        self.clusters.insert(
            name,
            ClusterEntry {
                active,
                warming,
                removed: None,
                resolving,
                has_endpoints,
                is_checked: false,
                asked,
            },
        );
        Ok(())
    }

    /// Makes a cluster anew that the runtime says something else of now. It serves at once: what it
    /// needs is there already.
    pub(super) fn tune_cluster(&mut self, name: &str) -> Result<(), String> {
        let Some(entry) = self.clusters.get(name) else { return Ok(()) };
        let runtime = Arc::clone(self.runtime.now());
        let anew = |told: &Told<Cluster>, old: &Arc<UpstreamCluster>| {
            let config = runtime.cluster(&told.value);
            (config != old.config).then(|| (config, Arc::clone(old)))
        };
        let active = entry.active.as_ref().and_then(|(told, old)| anew(told, old));
        let warming = entry.warming.as_ref().and_then(|(told, old, _)| anew(told, old));
        let active = active.map(|(config, old)| self.remake(config, &old)).transpose()?;
        let warming = warming.map(|(config, old)| self.remake(config, &old)).transpose()?;
        let is_newest = warming.is_some();
        let newest = warming.clone().or_else(|| active.clone());
        let resolving = newest.and_then(|cluster| self.start_resolving(&cluster));
        let Some(entry) = self.clusters.get_mut(name) else { return Ok(()) };
        if is_newest || entry.warming.is_none() {
            if let Some(before) = resolving.and_then(|task| entry.resolving.replace(task)) {
                before.abort();
            }
        } else if let Some(task) = resolving {
            task.abort();
        }
        if let (Some(new), Some((_, place))) = (active, &mut entry.active) {
            std::mem::replace(place, new).retire();
        }
        if let (Some(new), Some((_, place, _))) = (warming, &mut entry.warming) {
            std::mem::replace(place, new).retire();
        }
        Ok(())
    }

    /// The same cluster with other settings, and the instances of the old one.
    fn remake(
        &mut self,
        config: Arc<Cluster>,
        old: &Arc<UpstreamCluster>,
    ) -> Result<Arc<UpstreamCluster>, String> {
        let id = self.take_id();
        let state = Some(Arc::clone(&old.state));
        let logs = self.health_logs(&config).map_err(|error| format!("event log: {error}"))?;
        let new = UpstreamCluster::new(id, config, &self.shared, state, logs)
            .with_resolver(&self.resolver, &self.shared.stats)
            .continuing(Some(&**old));
        let new = Arc::new(new);
        for slot in new.tls_slots() {
            self.secrets.refresh_client(slot)?;
        }
        self.health.watch(&new);
        if let Some(endpoints) = old.told_endpoints() {
            new.set_endpoints(&endpoints);
        }
        Ok(new)
    }

    fn ask_for_endpoints(&self, cluster: &UpstreamCluster) -> Option<SourceStats> {
        let name = cluster.eds_name()?;
        let scope = self.shared.stats.cluster(cluster.config.stat_name());
        let stats = SourceStats::new(&scope);
        stats.asked(&name.source().origin);
        Some(stats)
    }

    fn start_resolving(&self, cluster: &Arc<UpstreamCluster>) -> Option<AbortHandle> {
        let (Discovery::StrictDns(names) | Discovery::LogicalDns(names)) =
            &cluster.config.discovery
        else {
            return None;
        };
        let (id, events) = (cluster.id, self.events.clone());
        let task = dns::keep_resolved(
            self.resolver.clone(),
            Arc::clone(&cluster.config),
            names.clone(),
            move |resolution| {
                let events = events.clone();
                async move { events.send(Event::Resolved { cluster: id, resolution }).await.is_ok() }
            },
        );
        Some(self.scope.spawn("dns", task))
    }

    /// Gives a new version the endpoints that are known; whether there are any to know.
    fn first_endpoints(&self, cluster: &UpstreamCluster) -> bool {
        match &cluster.config.discovery {
            Discovery::Static(endpoints) => {
                cluster.set_endpoints(&Arc::new(endpoints.clone()));
                true
            }
            Discovery::Eds(name) => match self.endpoints.get(name.key()) {
                Some(endpoints) => {
                    cluster.set_endpoints(endpoints);
                    true
                }
                None => false,
            },
            Discovery::StrictDns(_) | Discovery::LogicalDns(_) => false,
            // Their instances are those of others, or come with requests.
            Discovery::OriginalDst { .. }
            | Discovery::Aggregate(_)
            | Discovery::DynamicForward(_) => true,
        }
    }

    /// Takes endpoints of EDS: only these change, connections and live numbers stay.
    pub(super) fn set_endpoints(&mut self, key: &str, endpoints: EndpointSet) {
        let endpoints = Arc::new(endpoints);
        let unchanged = self.endpoints.get(key) == Some(&endpoints);
        for entry in self.clusters.values_mut() {
            let mut newest_knows = false;
            for version in entry.versions() {
                if version.eds_name().is_some_and(|name| name.key() == key) {
                    newest_knows = true;
                    if !unchanged {
                        version.set_endpoints(&endpoints);
                    }
                }
            }
            entry.has_endpoints |= newest_knows;
        }
        self.expect_stale(key, endpoints.stale_after);
        self.endpoints.insert(key.to_owned(), endpoints);
        self.publish_inventory();
    }

    /// Notes until when instances may be used without being sent again.
    /// Source: `ClusterLoadAssignment.Policy.endpoint_stale_after`.
    fn expect_stale(&mut self, key: &str, after: Option<Duration>) {
        match after.and_then(|after| clock::now().checked_add(after)) {
            None => drop(self.stale_at.remove(key)),
            Some(at) => {
                self.stale_at.insert(key.to_owned(), at);
                self.each_of(key, |stats| stats.assignment_timeout_received.inc());
            }
        }
    }

    /// Forgets instances that were not sent again in time.
    pub(super) fn forget_stale(&mut self, now: Instant) {
        let is_due = |(_, at): &(&String, &Instant)| **at <= now;
        let due: Vec<String> =
            self.stale_at.iter().filter(is_due).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.each_of(&key, |stats| stats.assignment_stale.inc());
            let name = self.endpoints.get(&key).map(|set| set.name.clone()).unwrap_or_default();
            self.set_endpoints(&key, EndpointSet::new(name, Vec::new()));
        }
    }

    /// The statistics of every cluster with these instances.
    fn each_of(&self, key: &str, count: impl Fn(&ClusterStats)) {
        let newest = self.clusters.values().filter_map(ClusterEntry::newest);
        let is_meant = |cluster: &&Arc<UpstreamCluster>| {
            cluster.eds_name().is_some_and(|own| own.key() == key)
        };
        newest.filter(is_meant).for_each(|cluster| count(&cluster.stats));
    }

    /// The control plane knows no such endpoints: who waits for them goes on without, who has them
    /// keeps them, as Envoy does.
    pub(super) fn endpoints_do_not_exist(&mut self, name: &str, key: &str) {
        if !self.endpoints.contains_key(key) {
            self.set_endpoints(key, EndpointSet::new(name, Vec::new()));
        }
    }

    /// The files for events about the health of a cluster's instances.
    fn health_logs(&self, cluster: &Cluster) -> std::io::Result<HealthLogs> {
        let sinks = &self.shared.access_logs;
        let open =
            |path: &std::path::PathBuf| sinks.open(&LogTarget::from_path(&path.to_string_lossy()));
        let files = cluster.health_check.iter().flat_map(|check| &check.events.files);
        let outliers = cluster.outlier_detection.as_ref().and(self.outlier_log.as_ref());
        Ok(HealthLogs {
            checks: files.map(open).collect::<std::io::Result<_>>()?,
            outliers: outliers.map(open).transpose()?,
        })
    }

    pub(super) fn take_checked(&mut self, id: u64) {
        for entry in self.clusters.values_mut() {
            if entry.newest().is_some_and(|cluster| cluster.id == id) {
                entry.is_checked = true;
            }
        }
    }

    pub(super) fn take_resolved(&mut self, id: u64, resolution: Resolution) {
        let endpoints = resolution.changed.map(Arc::new);
        for entry in self.clusters.values_mut() {
            let Some(cluster) = entry.newest().filter(|cluster| cluster.id == id) else { continue };
            let stats = &cluster.stats;
            stats.update_attempt.inc();
            match (resolution.complete, &endpoints) {
                (true, _) => stats.update_success.inc(),
                (false, _) => stats.update_failure.inc(),
            }
            match &endpoints {
                Some(endpoints) => cluster.set_endpoints(endpoints),
                None => stats.update_no_rebuild.inc(),
            }
            entry.has_endpoints = true;
        }
    }

    pub(super) fn remove_cluster(&mut self, name: &str) {
        let Some(entry) = self.clusters.get_mut(name) else { return };
        if entry.newest_told().is_some_and(Told::is_static) {
            return;
        }
        entry.removed.get_or_insert_with(clock::now);
        self.shared.server.cluster_removed.inc();
        self.dirty = true;
    }

    /// Lets clusters serve that have what they need, or have waited long enough.
    pub(super) fn settle_clusters(&mut self, now: Instant) {
        for (name, entry) in &mut self.clusters {
            let Some((_, cluster, since)) = &entry.warming else { continue };
            let waited = now.saturating_duration_since(*since);
            let late = warming_max(cluster).is_some_and(|longest| waited >= longest);
            let has_secrets = cluster.tls_slots().all(|slot| slot.is_ready());
            let config = &cluster.config;
            let checks = config.health_check.is_some() && config.membership.wait_for_checks;
            let is_checked = entry.is_checked || !checks;
            let is_warm = entry.has_endpoints && has_secrets && is_checked;
            if !late && !is_warm {
                continue;
            }
            if !is_warm {
                tracing::warn!(
                    cluster = %name,
                    endpoints = entry.has_endpoints,
                    secrets = has_secrets,
                    checked = is_checked,
                    "cluster serves without what it waited for"
                );
            }
            if let Some((told, cluster, _)) = entry.warming.take() {
                if let Some((_, old)) = entry.active.replace((told, cluster)) {
                    old.retire();
                }
                self.dirty = true;
            }
        }
        let waiting = self.clusters.values().any(|entry| entry.warming.is_some());
        let late = self.is_late(now, self.sources.clusters.as_ref());
        if !self.initial.clusters_warm && (late || (self.initial.clusters && !waiting)) {
            self.initial.clusters_warm = true;
        }
    }

    /// Lets go of removed clusters that no route needs any more.
    pub(super) fn drop_unused_clusters(&mut self, now: Instant) {
        if !self.clusters.values().any(ClusterEntry::is_removed) {
            return;
        }
        let named = self.clusters_in_use();
        let before = self.clusters.len();
        self.clusters.retain(|name, entry| {
            entry.removed.is_none_or(|at| {
                named.contains(name) && now.saturating_duration_since(at) < REMOVED_KEPT
            })
        });
        if self.clusters.len() != before {
            self.dirty = true;
        }
        let wanted: BTreeSet<String> = self
            .clusters
            .values()
            .flat_map(ClusterEntry::versions)
            .filter_map(|cluster| Some(cluster.eds_name()?.key().to_owned()))
            .collect();
        self.endpoints.retain(|name, _| wanted.contains(name));
        self.stale_at.retain(|name, _| wanted.contains(name));
    }

    /// Names of clusters that serving routes and listeners refer to.
    fn clusters_in_use(&self) -> BTreeSet<String> {
        let mut named = routes::ClusterNames::default();
        for entry in self.routes.values() {
            if let Some(table) = entry.active() {
                routes::clusters_named(table.table().configuration(), &mut named);
            }
        }
        for entry in self.listeners.values() {
            entry.clusters_named(&mut named);
        }
        let members = named.iter().flat_map(|name| self.members_of(name));
        named.iter().map(|name| (*name).to_owned()).chain(members).collect()
    }

    /// The clusters that a cluster stands for.
    fn members_of(&self, name: &str) -> Vec<String> {
        let newest = self.clusters.get(name).and_then(ClusterEntry::newest);
        match newest.map(|cluster| &cluster.config.discovery) {
            Some(Discovery::Aggregate(names)) => names.clone(),
            Some(_) | None => Vec::new(),
        }
    }

    /// Whether a cluster serves, or is not known at all: a route to an unknown cluster is the
    /// user's mistake and must not hold up the others.
    pub(super) fn serves_or_is_unknown(&self, cluster: &str) -> bool {
        self.clusters.get(cluster).is_none_or(|entry| entry.active.is_some())
    }
}
