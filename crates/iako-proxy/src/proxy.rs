//! A whole proxy: started, asked, drained, stopped.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use iako_identity::IdentitySource;
use iako_proxy_config::{Bootstrap, ConfigSource};
use iako_rt::Scope;
use iako_telemetry::{MetricsSettings, ServiceSummary};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    admin,
    ads::{self, ControlPlane},
    config_task::{
        BoundAddress, ConfigError, ConfigParts, ConfigTask, DrainReach, DrainWish, EVENTS_MAX,
        Event, RuntimeChange, Subscriptions,
    },
    drain::{DrainSettings, DrainStrategy},
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
        let concurrency = settings.workers();
        let node = settings.bootstrap.node.clone();
        let local_cluster = settings.bootstrap.local_cluster.clone();
        let shared = Shared::new((node, local_cluster), concurrency, MetricsSettings::default());
        let shared = Arc::new(shared);
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
        });
        let scope = Scope::new();
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
        let control = Control { shared, events, ready: is_ready, stopped: has_stopped };
        let endpoints = admin::Endpoints::start(&scope, &settings, &control).await?;
        Ok(ProxyHandle { control, scope, endpoints, drain_time: settings.drain_time })
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
        let connections = &self.control.shared.server.total_connections;
        let gone = async {
            while connections.value() > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        if tokio::time::timeout(self.drain_time, gone).await.is_err() {
            tracing::info!(connections = connections.value(), "drain time is over");
        }
        self.control.stop().await;
        self.stopped().await;
        self.control.shared.access_logs.flush();
        self.scope.stop();
    }
}
