//! A whole proxy: started, asked, drained, stopped.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use iako_identity::IdentitySource;
use iako_proxy_config::{Bootstrap, ConfigSource, HistogramBounds};
use iako_rt::Scope;
use iako_telemetry::{MetricsSettings, NameCheck, ServiceSummary};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    admin,
    ads::{self, ControlPlane},
    config_task::{
        Behind, BoundAddress, ConfigError, ConfigParts, ConfigTask, DrainReach, DrainWish,
        EVENTS_MAX, Entrance, Event, RuntimeChange, Subscriptions,
    },
    drain::{DrainSettings, DrainStrategy},
    overload,
    restart::{
        self, HotRestart, RestartError,
        predecessor::{self, Beginning},
        spares::Spares,
    },
    shared::Shared,
    sources::{self, SourceParts},
    worker::WorkerHandle,
};

/// Most workers of a sidecar, unless more are asked for: it shares the machine with its
/// application.
const SIDECAR_WORKERS_MAX: usize = 2;
/// Time between looks at whether the last connection has gone.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// Changes the level of the process's own log; `Err` says why the text is no level. Called by
/// `POST /logging?level=…`.
pub type LogLevelHook = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// With what a proxy is started.
#[derive(Clone)]
pub struct ProxySettings {
    /// What it is told at its start.
    pub bootstrap: Bootstrap,
    /// Worker threads. Default: the CPUs that the container may use, at most 2 for a sidecar (a
    /// node whose id begins with `sidecar~`).
    pub concurrency: Option<usize>,
    /// The workload's own identity, which answers to the secrets `default` and `ROOTCA`.
    pub identity: Option<Arc<IdentitySource>>,
    /// The control plane, in place of the cluster that the bootstrap names; listeners and clusters
    /// come from it then.
    pub control_plane: Option<ControlPlane>,
    /// Longest time that connections have to end when the proxy or a part of it goes. Istio's
    /// default for the whole proxy: 5 s, Envoy's for a listener: 600 s. Default: 5 s.
    pub drain_time: Duration,
    /// When clients are told to go over that time, as parts of the proxy go. Default: at once.
    pub drain_strategy: DrainStrategy,
    /// Where `/healthz/ready` is answered for health checks from outside (15021).
    pub health: Option<SocketAddr>,
    /// Where `/stats/prometheus` is answered besides the admin endpoint (15090, 15020).
    pub prometheus: Vec<SocketAddr>,
    /// Changes the level of the process's own log.
    pub log_level: Option<LogLevelHook>,
    /// How this process takes over from another one, and is taken over from. Default: neither.
    pub hot_restart: Option<HotRestart>,
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxySettings")
            .field("node", &self.bootstrap.node.id)
            .field("concurrency", &self.concurrency)
            .field("control_plane", &self.control_plane)
            .finish_non_exhaustive()
    }
}

impl ProxySettings {
    /// A proxy of this bootstrap, the rest at its default.
    #[must_use]
    pub const fn new(bootstrap: Bootstrap) -> Self {
        Self {
            bootstrap,
            concurrency: None,
            identity: None,
            control_plane: None,
            drain_time: Duration::from_secs(5),
            drain_strategy: DrainStrategy::Immediate,
            health: None,
            prometheus: Vec::new(),
            log_level: None,
            hot_restart: None,
        }
    }

    fn workers(&self) -> usize {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let sidecar = self.bootstrap.node.id.starts_with("sidecar~");
        let default = if sidecar { available.min(SIDECAR_WORKERS_MAX) } else { available };
        self.concurrency.unwrap_or(default).max(1)
    }
}

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The bootstrap cannot be served.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The system gave no thread or event queue.
    #[error("no worker could be started")]
    Worker(#[source] std::io::Error),
    /// Another process cannot be taken over from, or what the next one needs cannot be had.
    #[error(transparent)]
    Restart(#[from] RestartError),
    /// An endpoint for operators cannot be listened on.
    #[error("the {what} endpoint cannot listen on {address}")]
    Endpoint {
        /// Which one.
        what: &'static str,
        /// Where.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Starts proxies.
#[derive(Debug)]
pub struct Proxy;

impl Proxy {
    /// Starts a proxy; its listeners of the bootstrap serve when this returns, those of the control
    /// plane when [`ProxyHandle::ready`] says so. Needs a tokio runtime, which carries everything
    /// but traffic.
    ///
    /// # Errors
    /// When the bootstrap cannot be served: an address that is taken, a certificate that cannot be
    /// used.
    pub async fn start(settings: ProxySettings) -> Result<ProxyHandle, StartError> {
        // Starting holds the whole configuration; its callers need not make room for that.
        Box::pin(Self::start_all(settings)).await
    }

    async fn start_all(settings: ProxySettings) -> Result<ProxyHandle, StartError> {
        let beginning = match &settings.hot_restart {
            Some(restart) => Some(predecessor::find(restart).await?),
            None => None,
        };
        let concurrency = settings.workers();
        let shared = Arc::new(new_shared(&settings, beginning.as_ref()));
        let (entrance, prepared) = entrance_of(beginning.as_ref());
        let workers = (0..concurrency).map(|index| WorkerHandle::start(index, &shared));
        let workers = workers.collect::<Result<Vec<_>, _>>().map_err(StartError::Worker)?;
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let subscriptions = watch::Sender::new(Subscriptions::default());
        let subscribed = subscriptions.subscribe();
        let ready = watch::Sender::new(false);
        let is_ready = ready.subscribe();
        let mut task = ConfigTask::new(ConfigParts {
            shared: Arc::clone(&shared),
            workers,
            identity: settings.identity.clone(),
            drain_settings: DrainSettings {
                time: settings.drain_time,
                strategy: settings.drain_strategy,
            },
            events: events.clone(),
            subscriptions,
            ready,
            entrance,
        });
        let scope = Scope::new();
        overload::start(&scope, &shared, settings.bootstrap.overload.as_ref());
        let mut bootstrap = settings.bootstrap.clone();
        let control_plane = choose_control_plane(&settings, &shared, &mut bootstrap);
        if let Err(error) = task.take_bootstrap(bootstrap).await {
            drop(events.send(Event::Stop).await);
            Box::pin(task.run(receiver)).await;
            return Err(error.into());
        }
        let stopped = watch::Sender::new(false);
        let has_stopped = stopped.subscribe();
        scope.spawn("configuration", async move {
            Box::pin(task.run(receiver)).await;
            stopped.send_replace(true);
        });
        if let Some(identity) = &settings.identity {
            scope.spawn("identity", tell_of_identity(Arc::clone(identity), events.clone()));
        }
        let parts = SourceParts {
            shared: Arc::clone(&shared),
            control_plane,
            events: events.clone(),
            subscriptions: subscribed,
        };
        scope.spawn("configuration sources", sources::follow(scope.clone(), parts));
        let access_logs = Arc::clone(&shared.access_logs);
        scope.spawn("access log rotation", async move {
            if let Err(error) = access_logs.reopen_on_sigusr1().await {
                tracing::warn!(%error, "SIGUSR1 does not reopen access logs");
            }
        });
        let answers = Answers::from_start(beginning.as_ref());
        let control = Control { shared, events, ready: is_ready, stopped: has_stopped, answers };
        let before = beginning.as_ref().and_then(|it| it.predecessor.as_deref());
        let endpoints = admin::Endpoints::start(&scope, (&settings, before), &control).await?;
        if let (Some(beginning), Some(restart)) = (beginning, &settings.hot_restart) {
            let life = restart::live(beginning, control.clone(), prepared, restart.cut);
            scope.spawn("hot restart", life);
        }
        Ok(ProxyHandle { control, scope, endpoints, drain_time: settings.drain_time })
    }
}

fn new_shared(settings: &ProxySettings, beginning: Option<&Beginning>) -> Shared {
    let node = settings.bootstrap.node.clone();
    let local_cluster = settings.bootstrap.local_cluster.clone();
    let metrics = MetricsSettings::default();
    let mut shared = Shared::new((node, local_cluster), settings.workers(), metrics);
    let bounds = settings.bootstrap.histogram_bounds.iter().cloned();
    let chosen = bounds.map(|HistogramBounds { names, bounds }| {
        let meets: NameCheck = Box::new(move |name| names.matches(name));
        (meets, bounds)
    });
    shared.stats.choose_bounds(chosen.collect());
    if let Some(provider) = &settings.bootstrap.tracing {
        shared.tracers.set_general(Arc::clone(provider));
    }
    if let Some(beginning) = beginning {
        shared.spares = Spares::kept();
        shared.server.hot_restart_epoch.set(u64::from(beginning.epoch));
    }
    shared
}

/// Whether clients are let in at once, and what tells that everything is ready to let them in.
fn entrance_of(beginning: Option<&Beginning>) -> (Entrance, watch::Receiver<bool>) {
    let prepared = watch::Sender::new(false);
    let is_prepared = prepared.subscribe();
    let predecessor = beginning.and_then(|beginning| beginning.predecessor.as_ref());
    let entrance = predecessor.map_or(Entrance::Open, |predecessor| {
        Entrance::Behind(Behind { predecessor: Arc::clone(predecessor), prepared })
    });
    (entrance, is_prepared)
}

/// Which process answers operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// The one before this.
    Before,
    /// This one.
    This,
    /// The one after this.
    After,
}

impl Answers {
    fn from_start(beginning: Option<&Beginning>) -> Arc<watch::Sender<Self>> {
        let is_second = beginning.is_some_and(|beginning| beginning.predecessor.is_some());
        Arc::new(watch::Sender::new(if is_second { Self::Before } else { Self::This }))
    }
}

/// The control plane of the settings, else the one of the bootstrap.
fn choose_control_plane(
    settings: &ProxySettings,
    shared: &Arc<Shared>,
    bootstrap: &mut Bootstrap,
) -> Option<ControlPlane> {
    if let Some(control_plane) = &settings.control_plane {
        bootstrap.listener_source = Some(ConfigSource::default());
        bootstrap.cluster_source = Some(ConfigSource::default());
        return Some(control_plane.clone());
    }
    bootstrap.ads.as_ref().map(|ads| ads::by_cluster(shared, ads))
}

async fn tell_of_identity(identity: Arc<IdentitySource>, events: mpsc::Sender<Event>) {
    let mut changes = identity.changes();
    // What was published before this began may have been missed.
    changes.mark_changed();
    while changes.changed().await.is_ok() {
        if events.send(Event::IdentityChanged).await.is_err() {
            return;
        }
    }
}

/// What the owner and the admin endpoint steer a proxy by.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) shared: Arc<Shared>,
    events: mpsc::Sender<Event>,
    ready: watch::Receiver<bool>,
    stopped: watch::Receiver<bool>,
    answers: Arc<watch::Sender<Answers>>,
}

impl Control {
    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow() && !self.shared.is_failed_by_operator()
    }

    pub(crate) async fn drain(&self, wish: DrainWish, reach: DrainReach) {
        // A proxy that has stopped has drained.
        drop(self.events.send(Event::Drain(wish, reach)).await);
    }

    /// Sets values of the runtime; says why not where that cannot be.
    pub(crate) async fn modify_runtime(&self, values: Vec<(String, String)>) -> Result<(), String> {
        let (verdict, answer) = oneshot::channel();
        let change = RuntimeChange::Modify { values, verdict };
        let stopped = |()| "the proxy has stopped".to_owned();
        self.events.send(Event::Runtime(change)).await.map_err(|_gone| stopped(()))?;
        answer.await.unwrap_or_else(|_gone| Err(stopped(())))
    }

    pub(crate) async fn stop(&self) {
        drop(self.events.send(Event::Stop).await);
    }

    /// Leaves clients and operators to another process; returns when no client is let in any more.
    pub(crate) async fn hand_over(&self) {
        let (done, is_done) = oneshot::channel();
        if self.events.send(Event::HandOver(done)).await.is_ok() {
            // A proxy that stops in this moment lets nobody in either.
            drop(is_done.await);
        }
        self.answers.send_replace(Answers::After);
    }

    /// Lets clients and operators in: the process before does not any more.
    pub(crate) async fn open(&self) {
        drop(self.events.send(Event::Open).await);
        self.answers.send_replace(Answers::This);
    }

    /// Cuts every connection that is left.
    pub(crate) async fn close(&self) {
        self.drain(DrainWish::Close, DrainReach::All).await;
    }

    /// Waits until this process answers operators. Cancellation safe.
    pub(crate) async fn answers_operators(&self) {
        self.reached(|answers| *answers != Answers::Before).await;
    }

    /// Waits until another process answers operators. Cancellation safe.
    pub(crate) async fn left_operators(&self) {
        self.reached(|answers| *answers == Answers::After).await;
    }

    async fn reached(&self, is_reached: impl FnMut(&Answers) -> bool) {
        let mut answers = self.answers.subscribe();
        // The sender lives in `self`.
        drop(answers.wait_for(is_reached).await);
    }
}

/// A running proxy. Dropping it cuts everything off; [`Self::shutdown`] is the gentle way.
#[derive(Debug)]
pub struct ProxyHandle {
    control: Control,
    scope: Scope,
    endpoints: admin::Endpoints,
    drain_time: Duration,
}

impl ProxyHandle {
    /// Waits until the first configuration serves.
    pub async fn ready(&self) {
        let mut ready = self.control.ready.clone();
        // The configuration task holds the other end; when it is gone nothing will be ready.
        drop(ready.wait_for(|ready| *ready).await);
    }

    /// Whether the proxy serves, and no operator took it out of service.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.control.is_ready()
    }

    /// Waits until the proxy has stopped, such as by `POST /quitquitquit`.
    pub async fn stopped(&self) {
        let mut stopped = self.control.stopped.clone();
        drop(stopped.wait_for(|stopped| *stopped).await);
    }

    /// Where a listener is bound; the first of its addresses.
    #[must_use]
    pub fn listener_address(&self, name: &str) -> Option<SocketAddr> {
        let inventory = self.control.shared.inventory.load();
        let mut listeners = inventory.listeners.iter();
        let (_, bound) = listeners.find(|(told, _)| told.value.name == name)?;
        bound.iter().find_map(BoundAddress::socket)
    }

    /// Every listener with the addresses that it is bound to.
    #[must_use]
    pub fn addresses(&self) -> Vec<(String, Vec<SocketAddr>)> {
        let inventory = self.control.shared.inventory.load();
        let listeners = inventory.listeners.iter();
        let sockets =
            |bound: &[BoundAddress]| bound.iter().filter_map(BoundAddress::socket).collect();
        listeners.map(|(told, bound)| (told.value.name.clone(), sockets(bound))).collect()
    }

    /// Where the admin endpoint is bound.
    #[must_use]
    pub const fn admin_address(&self) -> Option<SocketAddr> {
        self.endpoints.admin
    }

    /// Where health checks are answered.
    #[must_use]
    pub const fn health_address(&self) -> Option<SocketAddr> {
        self.endpoints.health
    }

    /// What the proxy saw of services, by its metrics.
    #[must_use]
    pub fn summaries(&self) -> Vec<ServiceSummary> {
        self.control.shared.metrics.summaries()
    }

    /// Asks connections to go, and takes no new ones; what is left goes on until the drain time is
    /// over.
    pub async fn drain(&self) {
        self.control.drain(DrainWish::StopAccepting, DrainReach::All).await;
    }

    /// Takes no new connections, waits until the old ones have ended or the drain time is over,
    /// and stops.
    pub async fn shutdown(&self) {
        self.drain().await;
        let shared = &self.control.shared;
        let gone = async {
            while !shared.is_deserted() {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        if tokio::time::timeout(self.drain_time, gone).await.is_err() {
            tracing::info!(connections = shared.crew.connections(), "drain time is over");
        }
        self.control.stop().await;
        self.stopped().await;
        self.control.shared.access_logs.flush();
        self.scope.stop();
    }
}
