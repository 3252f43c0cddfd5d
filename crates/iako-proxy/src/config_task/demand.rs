//! What requests and connections wait for.

use std::{collections::BTreeMap, mem};

use iako_proxy_config::{ConfigOrigin, SourcedName};
use tokio::sync::oneshot;

use super::{
    ConfigTask, ResourceKind, Subscriptions,
    routes::RouteEntry,
    source_stats::{Reception, SourceStats},
};
use crate::on_demand::{Found, NAMES_MAX, Need, Needed, WAITING_MAX};

/// Who waits for a word about something.
pub(super) type Waiting = Vec<oneshot::Sender<Found>>;

/// Clusters that are asked for by their names, and who waits.
#[derive(Debug, Default)]
pub(super) struct Demand {
    clusters: BTreeMap<String, Asked>,
    stats: Option<SourceStats>,
    /// How many wait, for clusters and virtual hosts together.
    waiting: usize,
}

/// A cluster that was asked for.
#[derive(Debug)]
struct Asked {
    name: SourcedName,
    waiting: Waiting,
}

impl Demand {
    /// Adds the clusters to what is wanted.
    pub(super) fn add_to(&self, wanted: &mut Subscriptions) {
        for asked in self.clusters.values() {
            wanted.want(ResourceKind::Cluster, &asked.name);
        }
    }

    /// There is no such cluster, or no usable one: nobody waits for it any more.
    pub(super) fn refuse(&mut self, name: &str) {
        if let Some(asked) = self.clusters.get_mut(name) {
            answer_all(&mut asked.waiting, Found::Missing);
        }
    }

    /// There is no such cluster. Who needs it later asks again.
    pub(super) fn forget(&mut self, name: &str, origin: &ConfigOrigin) {
        self.refuse(name);
        if self.clusters.get(name).is_some_and(|asked| asked.name.source().origin == *origin) {
            self.clusters.remove(name);
        }
    }

    /// Counts how clusters were received.
    pub(super) fn note(&self, origin: &ConfigOrigin, reception: &Reception) {
        let mut asked = self.clusters.values();
        if asked.any(|asked| asked.name.source().origin == *origin)
            && let Some(stats) = &self.stats
        {
            stats.note(reception);
        }
    }
}

/// Tells everybody who waits.
pub(super) fn answer_all(waiting: &mut Waiting, found: Found) {
    for answer in mem::take(waiting) {
        let _gone: Result<(), Found> = answer.send(found);
    }
}

/// Leaves out who went away.
pub(super) fn forget_gone(waiting: &mut Waiting) {
    waiting.retain(|answer| !answer.is_closed());
}

impl ConfigTask {
    /// Takes a question of a worker. It is dropped, and by that answered, where too many wait.
    pub(super) fn take_need(&mut self, Need { needed, answer }: Need) {
        if self.demand.waiting >= WAITING_MAX {
            tracing::warn!(?needed, "too many requests wait for resources that are not known");
            return;
        }
        self.demand.waiting = self.demand.waiting.saturating_add(1);
        match needed {
            Needed::Cluster(name) => self.need_cluster(name, answer),
            Needed::Host { table, host } => self.need_host(&table, &host, answer),
        }
    }

    fn need_cluster(&mut self, name: SourcedName, answer: oneshot::Sender<Found>) {
        if self.serves(name.name()) {
            let _gone: Result<(), Found> = answer.send(Found::Here);
            return;
        }
        let Demand { clusters, stats, .. } = &mut self.demand;
        if let Some(asked) = clusters.get_mut(name.name()) {
            asked.waiting.push(answer);
            return;
        }
        if clusters.len() >= NAMES_MAX {
            tracing::warn!(cluster = name.name(), "too many clusters are asked for on demand");
            return;
        }
        let scope = || self.shared.stats.scope("cluster_manager.odcds");
        stats.get_or_insert_with(|| SourceStats::new(&scope())).asked(&name.source().origin);
        clusters.insert(name.name().to_owned(), Asked { name, waiting: vec![answer] });
    }

    fn serves(&self, cluster: &str) -> bool {
        let entry = self.clusters.get(cluster);
        entry.is_some_and(|entry| entry.active.is_some() && !entry.is_removed())
    }

    /// Tells who waits for something that is published now.
    pub(super) fn answer_needs(&mut self) {
        let mut waiting = 0_usize;
        let mut clusters = mem::take(&mut self.demand.clusters);
        for (name, asked) in &mut clusters {
            forget_gone(&mut asked.waiting);
            if !asked.waiting.is_empty() && self.serves(name) {
                answer_all(&mut asked.waiting, Found::Here);
            }
            waiting = waiting.saturating_add(asked.waiting.len());
        }
        self.demand.clusters = clusters;
        let hosts = self.routes.values_mut().map(RouteEntry::answer_needs);
        self.demand.waiting = hosts.fold(waiting, usize::saturating_add);
    }
}
