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
use iako_telemetry::StatsRegistry;
use iako_traffic::Runtime;

use crate::snapshot::ServedRoutes;

use super::{
    ConfigTask, Told,
    source_stats::{Reception, SourceStats},
    virtual_hosts::Hosts,
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
    /// As it was told last, without virtual hosts that come on their own.
    pub(super) base: Option<Told<RouteConfiguration>>,
    /// Virtual hosts that come on their own; none where the table asks for none.
    pub(super) hosts: Option<Box<Hosts>>,
    /// Who is asked for it, and how that goes; none before it is asked for.
    asked: Option<Asked>,
}

/// A table that is asked for.
#[derive(Debug)]
struct Asked {
    name: SourcedName,
    /// The prefix of the statistics of who asks.
    prefix: String,
    stats: SourceStats,
}

impl RouteEntry {
    /// Whether it is asked for there.
    pub(super) fn is_from(&self, origin: &ConfigOrigin) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.name.source().origin == *origin)
    }

    /// Listeners go on without it.
    pub(super) const fn wait_no_more(&mut self) {
        self.does_not_exist = true;
    }

    /// Its first word is not waited for any longer.
    pub(super) fn give_up(&self) {
        if let Some(asked) = self.asked.as_ref().filter(|_| !self.is_known()) {
            asked.stats.gave_up();
        }
    }

    /// Puts another table in the place of each that `anew` makes anew.
    pub(super) fn tune(
        &mut self,
        anew: impl Fn(&Arc<RouteConfiguration>, &ServedRoutes) -> Option<Arc<ServedRoutes>>,
    ) {
        let waiting = self.waiting.iter_mut().map(|(told, table, _)| (&told.value, table));
        let active = self.active.iter_mut().map(|(told, table)| (&told.value, table));
        for (told, table) in waiting.chain(active) {
            if let Some(new) = anew(told, table) {
                *table = new;
            }
        }
    }

    /// The secrets that filters show or sign with by settings of its routes.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &SourcedName> {
        let waiting = self.waiting.iter().map(|(told, ..)| told);
        let told = waiting.chain(self.active.iter().map(|(told, _)| told));
        told.flat_map(|told| secrets_named(&told.value))
    }

    /// Counts how something was received.
    pub(super) fn note(&self, reception: &Reception) {
        if let Some(asked) = &self.asked {
            asked.stats.note(reception);
        }
    }

    pub(super) fn active(&self) -> Option<&Arc<ServedRoutes>> {
        self.active.as_ref().map(|(_, table)| table)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let clusters = self.waiting.as_ref().map(|(_, _, since)| *since + CLUSTERS_WAIT_MAX);
        let hosts = self.hosts.as_ref().and_then(|hosts| hosts.deadline());
        clusters.into_iter().chain(hosts).min()
    }

    /// Tells who waits for virtual hosts that are published now, and how many wait on.
    pub(super) fn answer_needs(&mut self) -> usize {
        let is_published = self.waiting.is_none();
        self.hosts.as_mut().map_or(0, |hosts| hosts.answer_needs(|| is_published))
    }

    /// Has a table serve once the clusters that it names do.
    pub(super) fn install(
        &mut self,
        told: Told<RouteConfiguration>,
        runtime: &Runtime,
        stats: &StatsRegistry,
    ) {
        let before = self.waiting.as_ref().map(|(_, table, _)| table.as_ref());
        let before = before.or_else(|| self.active().map(Arc::as_ref));
        let table = Arc::new(ServedRoutes::compile(runtime.routes(&told.value), before, stats));
        self.waiting = Some((told, table, clock::now()));
        if let Some(asked) = &self.asked {
            asked.stats.reloaded();
        }
    }

    /// Whether the newest table serves.
    pub(super) const fn is_settled(&self) -> bool {
        self.waiting.is_none()
    }

    /// Whether listeners need not wait for it.
    pub(super) fn is_known(&self) -> bool {
        let has_hosts = self.hosts.as_ref().is_none_or(|hosts| hosts.heard);
        self.does_not_exist || (self.active.is_some() && has_hosts)
    }
}

impl ConfigTask {
    /// Takes a route table; it serves once the clusters that it names do.
    pub(super) fn set_routes(
        &mut self,
        key: &str,
        told: Told<RouteConfiguration>,
    ) -> Result<(), String> {
        let entry = self.routes.entry(key.to_owned()).or_default();
        entry.does_not_exist = false;
        if entry.base.as_ref().is_some_and(|base| base.value == told.value) {
            return Ok(());
        }
        let source = told.value.virtual_host_source.as_ref();
        let known = entry.hosts.as_ref().filter(|hosts| Some(hosts.source()) == source);
        let value = match known {
            Some(hosts) => hosts.written_into(&told.value)?,
            None => Arc::clone(&told.value),
        };
        if known.is_none() {
            let prefix = entry.asked.as_ref().map_or("", |asked| asked.prefix.as_str());
            let scope = format!("http.{prefix}.rds.vhds.{}", told.value.name);
            let stats = || SourceStats::new(&self.shared.stats.scope(&scope));
            entry.hosts = source.map(|source| Box::new(Hosts::new(source, stats())));
        }
        let now = self.runtime.now();
        entry.install(Told { value, ..told.clone() }, now, &self.shared.stats);
        entry.base = Some(told);
        Ok(())
    }

    pub(super) fn routes_do_not_exist(&mut self, key: &str) {
        self.routes.entry(key.to_owned()).or_default().does_not_exist = true;
    }

    /// Lets tables serve whose clusters do.
    pub(super) fn settle_routes(&mut self, now: Instant) {
        let mut ready = Vec::new();
        let hosts = self.routes.values_mut().filter_map(|entry| entry.hosts.as_mut());
        hosts.for_each(|hosts| hosts.look(now));
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
                entry.asked = Some(Asked { name: name.clone(), prefix: prefix.clone(), stats });
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

/// The secrets that filters show or sign with by settings of routes.
pub(super) fn secrets_named(routes: &RouteConfiguration) -> impl Iterator<Item = &SourcedName> {
    let of_hosts = routes.virtual_hosts.iter().flat_map(|host| {
        let of_tree = host.matcher.iter().flat_map(|tree| tree.actions()).flatten();
        let of_routes = host.routes.iter().chain(of_tree).flat_map(|route| {
            let targets: &[_] = match &route.action {
                Action::Forward(action) => match &action.target {
                    ClusterTarget::Weighted(targets) => targets,
                    ClusterTarget::Cluster(_)
                    | ClusterTarget::Header(_)
                    | ClusterTarget::Tree(_) => &[],
                },
                Action::Redirect(_) | Action::Respond(_) => &[],
            };
            let of_targets = targets.iter().flat_map(|target| target.overrides.secrets());
            route.overrides.secrets().chain(of_targets)
        });
        host.overrides.secrets().chain(of_routes)
    });
    routes.overrides.secrets().chain(of_hosts)
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
