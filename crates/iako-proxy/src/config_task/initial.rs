//! What the first configuration waits for.

use std::{sync::Arc, time::Instant};

use iako_proxy_config::ConfigSource;
use iako_rt::clock;

use super::{
    ConfigTask, Entrance, ListenerEntry, ResourceKind, RouteEntry, WARMING_MAX,
    source_stats::SourceStats,
};

/// Where everything comes from that others refer to.
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    pub(super) clusters: Option<ConfigSource>,
    pub(super) listeners: Option<ConfigSource>,
}

/// Versions of the last lists that were taken whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Versions {
    pub(super) clusters: Arc<str>,
    pub(super) listeners: Arc<str>,
}

/// What the first configuration still waits for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Initial {
    pub(super) clusters: bool,
    pub(super) listeners: bool,
    pub(super) clusters_warm: bool,
}

impl ConfigTask {
    /// Says that the first configuration serves; it stays said.
    pub(super) fn note_ready(&self) {
        if *self.ready.borrow() {
            return;
        }
        let told = self.initial.clusters && self.initial.listeners;
        // Envoy gives up waiting for its control plane and serves nothing. A sidecar must not: its
        // application would start without a mesh around it.
        let may_give_up = told || self.identity.is_none();
        let now = clock::now();
        let late = may_give_up
            && self.is_late(now, self.sources.clusters.as_ref())
            && self.is_late(now, self.sources.listeners.as_ref());
        let listeners_serve = self.listeners.values().all(ListenerEntry::serves);
        let routes_serve = self.routes.values().all(RouteEntry::is_settled);
        let all_serve = told && self.initial.clusters_warm && listeners_serve && routes_serve;
        if all_serve || late {
            if let Entrance::Behind(behind) = &self.entrance {
                behind.prepared.send_replace(true);
                return;
            }
            let told = [
                (ResourceKind::Cluster, self.initial.clusters),
                (ResourceKind::Listener, self.initial.listeners),
            ];
            let silent = told.iter().filter(|(_, told)| !told);
            silent
                .filter_map(|(kind, _)| self.source_stats.of(*kind))
                .for_each(SourceStats::gave_up);
            let took = now.saturating_duration_since(self.shared.started);
            self.shared.server.initialization_time.record(took);
            self.shared.server.workers_started.set(1);
            self.shared.server.state.set(0);
            self.shared.server.live.set(1);
            self.ready.send_replace(true);
        }
    }

    /// Whether the first word of a source was waited for long enough.
    pub(super) fn is_late(&self, now: Instant, source: Option<&ConfigSource>) -> bool {
        if !self.runtime.is_settled() {
            return false;
        }
        let longest = source.map_or(Some(WARMING_MAX), |source| source.initial_fetch_timeout);
        longest.is_some_and(|longest| now.saturating_duration_since(self.started) >= longest)
    }
}
