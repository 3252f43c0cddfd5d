//! Route tables: which serve, and which wait for a cluster.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{
    Action, ClusterTarget, ConfigOrigin, Mirror, MirrorTarget, RouteAction, RouteConfiguration,
    SourcedName,
};
use iako_rt::clock;

use crate::snapshot::ServedRoutes;

use super::{
    ConfigTask, Told,
    source_stats::{Reception, SourceStats},
};

/// How long a new table waits for the clusters that it names before it serves without them.
const CLUSTERS_WAIT_MAX: Duration = Duration::from_secs(5);

/// One route table over its changes.
#[derive(Debug, Default)]
pub(super) struct RouteEntry {
    pub(super) active: Option<(Told<RouteConfiguration>, Arc<ServedRoutes>)>,
    waiting: Option<(Told<RouteConfiguration>, Arc<ServedRoutes>, Instant)>,
    /// The control plane said that there is no such table.
    does_not_exist: bool,
    /// Who is asked for it, and how that goes; none before it is asked for.
    asked: Option<(SourcedName, SourceStats)>,
}

impl RouteEntry {
    /// Whether it is asked for there.
    pub(super) fn is_from(&self, origin: &ConfigOrigin) -> bool {
        self.asked.as_ref().is_some_and(|(name, _)| name.source().origin == *origin)
    }

    /// Listeners go on without it.
    pub(super) const fn wait_no_more(&mut self) {
        self.does_not_exist = true;
    }

    /// Its first word is not waited for any longer.
    pub(super) fn give_up(&self) {
        if let Some((_, stats)) = self.asked.as_ref().filter(|_| !self.is_known()) {
            stats.gave_up();
        }
    }

    /// Counts how something was received.
    pub(super) fn note(&self, reception: &Reception) {
        if let Some((_, stats)) = &self.asked {
            stats.note(reception);
        }
    }

    pub(super) fn active(&self) -> Option<&Arc<ServedRoutes>> {
        self.active.as_ref().map(|(_, table)| table)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|(_, _, since)| *since + CLUSTERS_WAIT_MAX)
    }

    /// Whether the newest table serves.
    pub(super) const fn is_settled(&self) -> bool {
        self.waiting.is_none()
    }

    /// Whether listeners need not wait for it.
    pub(super) const fn is_known(&self) -> bool {
        self.active.is_some() || self.does_not_exist
    }
}

impl ConfigTask {
    /// Takes a route table; it serves once the clusters that it names do.
    pub(super) fn set_routes(&mut self, key: &str, told: Told<RouteConfiguration>) {
        let entry = self.routes.entry(key.to_owned()).or_default();
        entry.does_not_exist = false;
        let newest = entry.waiting.as_ref().map(|(told, _, _)| told);
        let newest = newest.or_else(|| entry.active.as_ref().map(|(told, _)| told));
        if newest.is_some_and(|newest| newest.value == told.value) {
            return;
        }
        let before = entry.waiting.as_ref().map(|(_, table, _)| table.as_ref());
        let before = before.or_else(|| entry.active().map(Arc::as_ref));
        let table = ServedRoutes::compile(Arc::clone(&told.value), before, &self.shared.stats);
        let table = Arc::new(table);
        entry.waiting = Some((told, table, clock::now()));
        if let Some((_, stats)) = &entry.asked {
            stats.reloaded();
        }
    }

    pub(super) fn routes_do_not_exist(&mut self, key: &str) {
        self.routes.entry(key.to_owned()).or_default().does_not_exist = true;
    }

    /// Lets tables serve whose clusters do.
    pub(super) fn settle_routes(&mut self, now: Instant) {
        let mut ready = Vec::new();
        for (name, entry) in &self.routes {
            let Some((told, _, since)) = &entry.waiting else { continue };
            let late = now.saturating_duration_since(*since) >= CLUSTERS_WAIT_MAX;
            let mut named = ClusterNames::default();
            clusters_named(&told.value, &mut named);
            if late || named.iter().all(|cluster| self.serves_or_is_unknown(cluster)) {
                ready.push(name.clone());
            }
        }
        for name in ready {
            let Some(entry) = self.routes.get_mut(&name) else { continue };
            if let Some((told, table, _)) = entry.waiting.take() {
                entry.active = Some((told, table));
                self.dirty = true;
            }
        }
    }

    /// Forgets tables that no listener names any more, and begins to ask for new ones. Each is
    /// wanted by the connection manager of this prefix of statistics.
    pub(super) fn keep_routes(&mut self, wanted: &BTreeMap<String, (SourcedName, String)>) {
        let before = self.routes.len();
        self.routes.retain(|key, _| wanted.contains_key(key));
        for (key, (name, prefix)) in wanted {
            let entry = self.routes.entry(key.clone()).or_default();
            if entry.asked.is_none() {
                let scope = format!("http.{prefix}.rds.{}", name.name());
                let stats = SourceStats::new(&self.shared.stats.scope(&scope));
                stats.asked(&name.source().origin);
                entry.asked = Some((name.clone(), stats));
            }
        }
        self.dirty |= self.routes.len() != before;
    }
}

/// Names of clusters, of which there are fewer than routes that name them.
pub(super) type ClusterNames<'t> = HashSet<&'t str, foldhash::fast::RandomState>;

/// Adds the names of all clusters that a table can send to.
pub(super) fn clusters_named<'t>(routes: &'t RouteConfiguration, named: &mut ClusterNames<'t>) {
    named_by_mirrors(&routes.mirrors, named);
    for host in &routes.virtual_hosts {
        named_by_mirrors(&host.mirrors, named);
        let of_tree = host.matcher.iter().flat_map(|tree| tree.actions()).flatten();
        for route in host.routes.iter().chain(of_tree) {
            if let Action::Forward(action) = &route.action {
                named_by_action(action, named);
            }
        }
    }
}

fn named_by_action<'t>(action: &'t RouteAction, named: &mut ClusterNames<'t>) {
    match &action.target {
        ClusterTarget::Cluster(cluster) => {
            named.insert(cluster);
        }
        ClusterTarget::Weighted(targets) => {
            // A target without weight is not sent to, and may be there before its cluster.
            let used = targets.iter().filter(|target| target.weight > 0);
            let fixed = used.filter(|target| target.cluster_header.is_none());
            named.extend(fixed.map(|target| target.cluster.as_str()));
        }
        ClusterTarget::Header(_) => {}
        ClusterTarget::Tree(tree) => {
            named.extend(tree.actions().into_iter().map(String::as_str));
        }
    }
    named_by_mirrors(&action.mirrors, named);
}

fn named_by_mirrors<'t>(mirrors: &'t [Mirror], named: &mut ClusterNames<'t>) {
    let clusters = mirrors.iter().filter_map(|mirror| match &mirror.target {
        MirrorTarget::Cluster(cluster) => Some(cluster.as_str()),
        MirrorTarget::Header(_) => None,
    });
    named.extend(clusters);
}
