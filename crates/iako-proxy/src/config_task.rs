//! The one owner of the configuration: hears what changed, and publishes what follows.
//!
//! Make before break: a cluster serves once its endpoints and secrets are there, a listener once
//! its routes and secrets are, a new route table once the clusters that it names are; until then
//! the old ones do. What is refused never replaces what works.

mod clusters;
mod compile;
mod demand;
mod entrance;
mod extensions;
mod initial;
mod inventory;
mod leaving;
mod listeners;
mod metric_rules;
mod residence;
mod routes;
mod runtime;
mod scopes;
mod secrets;
mod source_stats;
mod subscriptions;
mod update;
mod virtual_hosts;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use iako_identity::IdentitySource;
use iako_proxy_config::{Bootstrap, ConfigOrigin, EndpointSet};
use iako_rt::{Scope, clock};
use tokio::sync::{mpsc, oneshot, watch};

pub(crate) use inventory::{Inventory, Refusal, Told};
pub(crate) use leaving::{DrainReach, DrainWish};
pub(crate) use listeners::BoundAddress;
pub(crate) use runtime::{RuntimeChange, RuntimeView};
pub(crate) use source_stats::Reception;
pub(crate) use update::{ResourceKind, ResourceUpdate, Subscriptions, Wanted, WantedOfOrigin};

use crate::{
    dns::{Resolution, Resolver},
    drain::DrainSettings,
    health::HealthThread,
    listener::socket::BindError,
    on_demand::Need,
    shared::Shared,
    snapshot::ProxySnapshot,
    worker::{Command, WorkerHandle},
};
use clusters::ClusterEntry;
use demand::Demand;
pub(crate) use entrance::{Behind, Entrance};
use extensions::ExtensionStore;
use initial::{Initial, Sources, Versions};
use leaving::Departing;
use listeners::ListenerEntry;
use residence::Residence;
use routes::RouteEntry;
use scopes::ScopeStore;
use secrets::SecretStore;
use source_stats::OwnSourceStats;

/// Events that may wait for the task; senders wait when it is full.
pub(crate) const EVENTS_MAX: usize = 1024;
/// Time after which a cluster or listener serves without what it waits for. Envoy default: 15 s.
const WARMING_MAX: Duration = Duration::from_secs(15);
/// Time between looks at what changes by itself (uptime, certificates' age, failed sockets).
const TICK: Duration = Duration::from_secs(5);
/// Time from the start to the first of them.
const FIRST_TICK: Duration = Duration::from_secs(1);

/// Everything that can change the configuration or the life of the proxy.
#[derive(Debug)]
pub(crate) enum Event {
    /// The control plane told something; the verdict goes back to it.
    Update(ResourceUpdate),
    /// A server of configuration was reached or lost.
    Connected {
        /// Which.
        origin: ConfigOrigin,
        /// Whether it was reached.
        connected: bool,
    },
    /// A file was read that tells nothing new.
    Heard {
        /// What it should hold.
        kind: ResourceKind,
        /// The file.
        origin: ConfigOrigin,
        /// How it counts.
        reception: Reception,
    },
    /// The workload's identity was renewed.
    IdentityChanged,
    /// The names of a DNS cluster were resolved.
    Resolved {
        /// The version of the cluster that asked.
        cluster: u64,
        /// What came of it.
        resolution: Resolution,
    },
    /// Every instance of a version of a cluster was checked once.
    Checked {
        /// The version.
        cluster: u64,
    },
    /// A request or connection needs something that nobody asked for yet.
    Need(Need),
    /// A layer of the runtime changes.
    Runtime(RuntimeChange),
    /// Connections are asked to go.
    Drain(DrainWish, DrainReach),
    /// Another process takes clients in from now on; told when none is let in here any more.
    HandOver(oneshot::Sender<()>),
    /// The process before takes in no clients any more: this one does.
    Open,
    /// Everything ends; answered by closing the channel.
    Stop,
}

/// The configuration task.
#[derive(Debug)]
pub(crate) struct ConfigTask {
    shared: Arc<Shared>,
    workers: Vec<WorkerHandle>,
    scope: Scope,
    resolver: Resolver,
    health: HealthThread,
    /// Where events of outlier detection are written.
    outlier_log: Option<std::path::PathBuf>,
    identity: Option<Arc<IdentitySource>>,
    drain_settings: DrainSettings,
    events: mpsc::Sender<Event>,
    subscriptions: watch::Sender<Subscriptions>,
    ready: watch::Sender<bool>,
    clusters: BTreeMap<String, ClusterEntry>,
    endpoints: BTreeMap<String, Arc<EndpointSet>>,
    /// When of these are forgotten that must be sent again.
    stale_at: BTreeMap<String, Instant>,
    routes: BTreeMap<String, RouteEntry>,
    scopes: ScopeStore,
    extensions: ExtensionStore,
    demand: Demand,
    listeners: BTreeMap<String, ListenerEntry>,
    secrets: SecretStore,
    /// Drains under way, with the time at which what is left is cut.
    leaving: Vec<Departing>,
    /// Until when removed listeners drain.
    listeners_leaving: Vec<Instant>,
    /// Numbers that are never used twice: of clusters' versions and of chains.
    next_id: u64,
    /// Whether anything changed that a snapshot shows.
    dirty: bool,
    started: Instant,
    next_tick: Instant,
    /// Snapshots that some request may still see.
    replaced: Vec<Arc<ProxySnapshot>>,
    /// Whether the control plane told anything since the last tick.
    told: bool,
    residence: Residence,
    sources: Sources,
    source_stats: OwnSourceStats,
    runtime: runtime::Layers,
    /// Whether the update that is being taken changed a cluster.
    reloaded: bool,
    versions: Versions,
    initial: Initial,
    accepting: bool,
    /// Whether clients are let in.
    entrance: Entrance,
    /// Sockets at which no clients were let in yet, and whose worker each is.
    unopened: Vec<(usize, Command)>,
    /// When a graceful drain closes the sockets, and which.
    stop_accepting_at: Option<(Instant, DrainReach)>,
}

/// What the task is made of at its start.
#[derive(Debug)]
pub(crate) struct ConfigParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) identity: Option<Arc<IdentitySource>>,
    pub(crate) drain_settings: DrainSettings,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) subscriptions: watch::Sender<Subscriptions>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) entrance: Entrance,
}

/// Why the proxy cannot start with its bootstrap.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A listener has no socket.
    #[error("the listener {name:?} cannot serve")]
    Bind {
        /// The listener.
        name: String,
        /// Which address, and why.
        source: BindError,
    },
    /// A part of the bootstrap cannot be used.
    #[error("the bootstrap cannot be used: {0}")]
    Refused(String),
}

impl ConfigTask {
    pub(crate) fn new(parts: ConfigParts) -> Self {
        let ConfigParts { shared, workers, identity, drain_settings, .. } = parts;
        let ConfigParts { events, subscriptions, ready, entrance, .. } = parts;
        let source_stats = OwnSourceStats::new(&shared);
        shared.needs.open(events.clone());
        let runtime = runtime::Layers::new(&shared.stats.scope("runtime"));
        Self {
            health: HealthThread::new(events.clone(), Arc::clone(&shared)),
            shared,
            workers,
            scope: Scope::new(),
            resolver: Resolver::default(),
            outlier_log: None,
            identity,
            drain_settings,
            events,
            subscriptions,
            ready,
            clusters: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            stale_at: BTreeMap::new(),
            routes: BTreeMap::new(),
            scopes: ScopeStore::default(),
            extensions: ExtensionStore::default(),
            demand: Demand::default(),
            listeners: BTreeMap::new(),
            secrets: SecretStore::default(),
            leaving: Vec::new(),
            listeners_leaving: Vec::new(),
            next_id: 0,
            dirty: true,
            started: clock::now(),
            // What was needed to start is let go of when the first requests are served.
            next_tick: clock::now() + FIRST_TICK,
            replaced: Vec::new(),
            told: false,
            residence: Residence::default(),
            sources: Sources::default(),
            source_stats,
            runtime,
            reloaded: false,
            versions: Versions::default(),
            initial: Initial::default(),
            accepting: true,
            entrance,
            unopened: Vec::new(),
            stop_accepting_at: None,
        }
    }

    /// Takes what the bootstrap holds, and serves what can be served.
    ///
    /// # Errors
    /// When a part cannot be used, or an address cannot be listened on.
    pub(crate) async fn take_bootstrap(&mut self, bootstrap: Bootstrap) -> Result<(), ConfigError> {
        if let Some(source) = &self.identity {
            self.secrets.await_identity();
            self.secrets.set_identity(source.current());
        }
        self.take_layers(bootstrap.runtime).await;
        self.outlier_log = bootstrap.outlier_log;
        self.initial.clusters = bootstrap.cluster_source.is_none();
        self.initial.listeners = bootstrap.listener_source.is_none();
        self.sources =
            Sources { clusters: bootstrap.cluster_source, listeners: bootstrap.listener_source };
        for (kind, source) in [
            (ResourceKind::Cluster, &self.sources.clusters),
            (ResourceKind::Listener, &self.sources.listeners),
        ] {
            if let (Some(source), Some(stats)) = (source, self.source_stats.of(kind)) {
                stats.asked(&source.origin);
            }
        }
        let refused = |error: String| ConfigError::Refused(error);
        let load_reporting = bootstrap.load_reporting;
        for secret in bootstrap.secrets {
            self.secrets.set_static(&secret).map_err(refused)?;
        }
        for cluster in bootstrap.clusters {
            self.set_cluster(cluster, Told::of_bootstrap).map_err(refused)?;
        }
        for listener in bootstrap.listeners {
            self.set_listener(listener, Told::of_bootstrap).map_err(refused)?;
        }
        self.reconcile().await;
        for (name, entry) in &mut self.listeners {
            if let Some(source) = entry.take_bind_error() {
                return Err(ConfigError::Bind { name: name.clone(), source });
            }
        }
        if let (Some(service), Some(worker)) = (load_reporting, self.workers.first()) {
            worker.send(Command::ReportLoad(Arc::new(service))).await;
        }
        Ok(())
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        loop {
            let wake = self.next_wake();
            let event = tokio::select! {
                event = events.recv() => event,
                () = tokio::time::sleep_until(wake.into()) => {
                    if self.next_tick <= clock::now() {
                        self.tick();
                    }
                    self.reconcile().await;
                    continue;
                }
            };
            let Some(event) = event else { break };
            if matches!(event, Event::Stop) {
                break;
            }
            self.apply(event);
            // What is waiting is taken together: one snapshot for a burst of changes.
            while let Ok(event) = events.try_recv() {
                if matches!(event, Event::Stop) {
                    return self.stop().await;
                }
                self.apply(event);
            }
            self.reconcile().await;
        }
        self.stop().await;
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Update(update) => {
                self.told = true;
                self.take_update(update);
            }
            Event::Connected { origin, connected } => self.note_connected(&origin, connected),
            Event::Heard { kind, origin, reception } => self.hear(kind, &origin, &reception),
            Event::IdentityChanged => {
                let identity = self.identity.as_ref().and_then(|source| source.current());
                self.secrets.set_identity(identity);
                self.refresh_tls();
            }
            Event::Resolved { cluster, resolution } => self.take_resolved(cluster, resolution),
            Event::Checked { cluster } => self.take_checked(cluster),
            Event::Need(need) => self.take_need(need),
            Event::Runtime(change) => self.change_runtime(change),
            Event::Drain(wish, reach) => self.drain(wish, reach),
            Event::HandOver(done) => self.hand_over(done),
            Event::Open => self.entrance = Entrance::Open,
            // Handled by the loop.
            Event::Stop => {}
        }
    }

    /// Lets everything that has become ready serve, and publishes the result.
    async fn reconcile(&mut self) {
        let now = clock::now();
        self.forget_stale(now);
        self.settle_runtime(now);
        self.settle_clusters(now);
        self.settle_routes(now);
        self.settle_listeners(now);
        self.drop_unused_clusters(now);
        if std::mem::take(&mut self.dirty) {
            self.publish();
            self.tell_metric_rules();
        }
        self.answer_needs();
        self.bind_listeners().await;
        self.let_in().await;
        self.cut_what_is_left(now);
        self.count_draining(now);
        self.publish_subscriptions();
        self.keep_tokens().await;
        self.note_ready();
    }

    /// Has tokens fetched that nobody keeps yet, once it is known what is shown for them.
    async fn keep_tokens(&self) {
        let Some(worker) = self.workers.first() else { return };
        for keeper in self.shared.tokens.idle() {
            if self.secrets.has_generic(keeper.secret()) && keeper.begin() {
                worker.send(Command::KeepToken(keeper)).await;
            }
        }
    }

    /// When something changes by itself next.
    fn next_wake(&self) -> Instant {
        let tick = self.next_tick;
        let clusters = self.clusters.values().filter_map(ClusterEntry::deadline);
        let listeners = self.listeners.values().filter_map(ListenerEntry::deadline);
        let routes = self.routes.values().filter_map(RouteEntry::deadline);
        let leaving =
            self.leaving.iter().map(|it| it.at).chain(self.stop_accepting_at.map(|(at, _)| at));
        let leaving = leaving.chain(self.stale_at.values().copied());
        let leaving = leaving.chain(self.runtime.deadline(self.started));
        clusters.chain(listeners).chain(routes).chain(leaving).chain([tick]).min().unwrap_or(tick)
    }

    fn tick(&mut self) {
        self.next_tick = clock::now() + TICK;
        let held = self.shared.measure();
        if let Some(days) = self.secrets.days_until_first_expiry(clock::wall()) {
            self.shared.server.days_until_first_cert_expiring.set(days);
        }
        for cluster in self.clusters.values().flat_map(ClusterEntry::versions) {
            cluster.count_members();
        }
        self.free_replaced();
        self.shared.stats.sweep();
        // Once nothing changes any more, what only reading configuration needs is let go.
        let released = !std::mem::take(&mut self.told) && iako_xds_codec::release_pool();
        if held.is_some_and(|held| self.residence.look(held)) || released {
            iako_rt::memory::give_back();
        }
        if released {
            iako_rt::memory::let_go_of_program();
        }
    }

    async fn stop(mut self) {
        self.drain(DrainWish::Close, DrainReach::All);
        self.scope.stop();
        for worker in self.workers.drain(..) {
            worker.stop().await;
        }
    }

    fn take_id(&mut self) -> u64 {
        self.next_id = self.next_id.wrapping_add(1);
        self.next_id
    }
}
