//! Statistics of what is told: by whom, how often, and whether it was taken.

use iako_proxy_config::ConfigOrigin;
use iako_telemetry::{StatsScope, stats::Counter, stats::Gauge};
use iako_xds::Version;

use super::{ConfigTask, ResourceKind, clusters::ClusterEntry, routes::RouteEntry};
use crate::shared::Shared;

/// `update_…` of one subscription, under Envoy's names.
#[derive(Debug)]
pub(super) struct SourceStats {
    attempt: Counter,
    success: Counter,
    failure: Counter,
    rejected: Counter,
    empty: Counter,
    reload: Counter,
    init_fetch_timeout: Counter,
    version: Gauge,
}

impl SourceStats {
    pub(super) fn new(scope: &StatsScope) -> Self {
        Self {
            attempt: scope.counter("update_attempt"),
            success: scope.counter("update_success"),
            failure: scope.counter("update_failure"),
            rejected: scope.counter("update_rejected"),
            empty: scope.counter("update_empty"),
            reload: scope.counter("config_reload"),
            init_fetch_timeout: scope.counter("init_fetch_timeout"),
            version: scope.wide_gauge("version"),
        }
    }

    /// Resources were asked for. Reading a file is an attempt; a server is asked first.
    pub(super) fn asked(&self, origin: &ConfigOrigin) {
        if !matches!(origin, ConfigOrigin::File(_)) {
            self.attempt.inc();
        }
    }

    /// Something is in use that was not before.
    pub(super) fn reloaded(&self) {
        self.reload.inc();
    }

    /// The first word was not waited for any longer.
    pub(super) fn gave_up(&self) {
        self.init_fetch_timeout.inc();
    }
}

/// Statistics of the subscriptions that a proxy has once.
#[derive(Debug)]
pub(super) struct OwnSourceStats {
    clusters: SourceStats,
    listeners: SourceStats,
}

impl OwnSourceStats {
    pub(super) fn new(shared: &Shared) -> Self {
        let of = |prefix: &str| SourceStats::new(&shared.stats.scope(prefix));
        Self { clusters: of("cluster_manager.cds"), listeners: of("listener_manager.lds") }
    }

    pub(super) fn of(&self, kind: ResourceKind) -> Option<&SourceStats> {
        match kind {
            ResourceKind::Cluster => Some(&self.clusters),
            ResourceKind::Listener => Some(&self.listeners),
            ResourceKind::Scopes
            | ResourceKind::Endpoints
            | ResourceKind::Routes
            | ResourceKind::VirtualHost
            | ResourceKind::Secret
            | ResourceKind::Extension
            | ResourceKind::Runtime => None,
        }
    }
}

/// How what a source told was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reception {
    /// All of it is in use, and this is its version.
    Taken(String),
    /// There was nothing in this version, which says nothing.
    Empty(String),
    /// Something of it is not in use.
    Refused,
    /// It could not be read, or the server is gone.
    Failed,
}

impl SourceStats {
    pub(super) fn note(&self, reception: &Reception) {
        self.attempt.inc();
        match reception {
            Reception::Taken(version) | Reception::Empty(version) => {
                self.success.inc();
                self.version.set(Version::from(version.as_str()).number());
                if matches!(reception, Reception::Empty(_)) {
                    self.empty.inc();
                }
            }
            Reception::Refused => self.rejected.inc(),
            Reception::Failed => self.failure.inc(),
        }
    }
}

impl ConfigTask {
    /// A server was reached or lost.
    #[expect(clippy::fn_params_excessive_bools, reason = "it is the event's only fact")]
    pub(super) fn note_connected(&self, origin: &ConfigOrigin, connected: bool) {
        if *origin == ConfigOrigin::Ads {
            self.shared.server.connected_state.set(u64::from(connected));
        }
        if connected {
            return;
        }
        for kind in ResourceKind::ALL {
            self.note_reception(kind, origin, None, &Reception::Failed);
        }
    }

    /// A file was read that tells nothing new. Whoever waits for what it should hold goes on
    /// without, as Envoy does.
    pub(super) fn hear(&mut self, kind: ResourceKind, origin: &ConfigOrigin, told: &Reception) {
        self.note_reception(kind, origin, None, told);
        match kind {
            ResourceKind::Cluster => self.initial.clusters |= self.tells_all_clusters(origin),
            ResourceKind::Listener => self.initial.listeners = true,
            ResourceKind::Routes => {
                let routes = self.routes.values_mut().filter(|entry| entry.is_from(origin));
                routes.for_each(RouteEntry::wait_no_more);
            }
            ResourceKind::Endpoints => {
                let clusters = self.clusters.values_mut().filter(|entry| entry.is_from(origin));
                clusters.for_each(ClusterEntry::wait_no_more);
            }
            ResourceKind::Scopes => {
                self.scopes.heard(origin);
                self.rewrite_scopes(origin);
            }
            ResourceKind::Extension => self.extensions_do_not_come(origin),
            ResourceKind::Runtime => self.runtime.heard(origin),
            // A file cannot tell virtual hosts.
            ResourceKind::VirtualHost | ResourceKind::Secret => {}
        }
    }

    /// Counts how something was received: by the subscription to this resource, or by all of the
    /// kind and origin.
    pub(super) fn note_reception(
        &self,
        kind: ResourceKind,
        origin: &ConfigOrigin,
        key: Option<&str>,
        reception: &Reception,
    ) {
        let source = match kind {
            ResourceKind::Cluster => self.sources.clusters.as_ref(),
            ResourceKind::Listener => self.sources.listeners.as_ref(),
            ResourceKind::Scopes
            | ResourceKind::Endpoints
            | ResourceKind::Routes
            | ResourceKind::VirtualHost
            | ResourceKind::Secret
            | ResourceKind::Extension
            | ResourceKind::Runtime => None,
        };
        if source.is_some_and(|source| source.origin == *origin)
            && let Some(stats) = self.source_stats.of(kind)
        {
            stats.note(reception);
        }
        if kind == ResourceKind::Cluster {
            self.demand.note(origin, reception);
        }
        if kind == ResourceKind::Extension {
            self.extensions.note(origin, key, reception);
        }
        if kind == ResourceKind::VirtualHost {
            let hosts = self.routes.values().filter_map(|entry| entry.hosts.as_ref());
            let hosts = hosts.filter(|hosts| hosts.source().origin == *origin);
            hosts.for_each(|hosts| hosts.note(reception));
        }
        if kind == ResourceKind::Endpoints {
            let clusters = self.clusters.values().filter(|entry| entry.is_from(origin));
            clusters.for_each(|entry| entry.note(key, reception));
        }
        if kind == ResourceKind::Runtime {
            self.runtime.note(reception);
        }
        if kind == ResourceKind::Routes {
            let routes = self.routes.iter().filter(|(name, _)| key.is_none_or(|key| key == *name));
            for (_, entry) in routes.filter(|(_, entry)| entry.is_from(origin)) {
                entry.note(reception);
            }
        }
    }
}
