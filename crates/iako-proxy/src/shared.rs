//! What all workers, the configuration task and the admin endpoint share.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime},
};

use arc_swap::ArcSwap;
use iako_proxy_config::{Node, SecretBytes, SourcedName};
use iako_rt::{Rng, clock};
use iako_telemetry::{
    AccessLogs, MeshMetrics, MetricsSettings, StatsRegistry, WorkloadLabels, stats::Counter,
    stats::Gauge, stats::Histogram,
};
use iako_traffic::Neighbourhood;

use crate::{
    config_task::{Inventory, RuntimeView},
    connection::{metadata_exchange, shared_tokens::SharedTokens},
    http::filters::local_limit::LocalLimits,
    http2::Http2Stats,
    listener::OpenDoors,
    listener::crew::Crew,
    on_demand::Needs,
    overload::Overload,
    restart::spares::Spares,
    snapshot::ProxySnapshot,
    spans::Tracers,
    token::TokenKeepers,
};

/// What all parts of one proxy share. Written by the configuration task only, read by everybody.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The configuration of the moment.
    pub(crate) published: ArcSwap<ProxySnapshot>,
    /// Envoy-style statistics.
    pub(crate) stats: Arc<StatsRegistry>,
    /// Istio's standard metrics.
    pub(crate) metrics: Arc<MeshMetrics>,
    /// Who is told of spans.
    pub(crate) tracers: Tracers,
    /// Access logs, one sink a target.
    pub(crate) access_logs: Arc<AccessLogs>,
    /// What the proxy was told, for the admin endpoint.
    pub(crate) inventory: ArcSwap<Inventory>,
    /// Who this proxy is.
    pub(crate) node: Arc<LocalNode>,
    /// Where it stands among its own kind.
    pub(crate) neighbourhood: Arc<Neighbourhood>,
    /// The cluster of its own kind; none when empty.
    pub(crate) local_cluster: String,
    /// Statistics of the whole process.
    pub(crate) server: ServerStats,
    /// What peers do to HTTP/2 connections.
    pub(crate) http2: Http2Stats,
    /// When the proxy was started.
    pub(crate) started: Instant,
    /// The same as a date.
    pub(crate) started_at: SystemTime,
    /// Tokens that several listeners' filters take from.
    pub(crate) shared_tokens: SharedTokens,
    /// Tokens that requests take.
    pub(crate) local_limits: LocalLimits,
    /// Number of workers.
    pub(crate) concurrency: usize,
    /// Who of them carries what.
    pub(crate) crew: Arc<Crew>,
    /// The layers of the runtime, for the admin endpoint.
    pub(crate) runtime: ArcSwap<RuntimeView>,
    /// Connections of clients that count against the limit of all listeners together. Left alone where
    /// there is none: workers would wait for each other's cache lines.
    pub(crate) limited_connections: Arc<AtomicU32>,
    /// Workers whose thread runs.
    pub(crate) workers_running: AtomicUsize,
    /// What is done because something is short.
    pub(crate) overload: Overload,
    /// Panics that the statistics know of.
    panics_seen: AtomicU64,
    /// Sockets at which clients are let in.
    pub(crate) doors: OpenDoors,
    /// Copies of listening sockets for a process that takes over.
    pub(crate) spares: Spares,
    /// Whether an operator took the proxy out of service (`/healthcheck/fail`).
    pub(crate) failed_by_operator: Arc<AtomicBool>,
    /// Tokens of this proxy's own.
    pub(crate) tokens: TokenKeepers,
    /// Where workers ask for what is not known yet.
    pub(crate) needs: Needs,
}

/// Who this proxy is, prepared for the path of requests.
#[derive(Debug)]
pub(crate) struct LocalNode {
    /// As the bootstrap says.
    pub(crate) node: Node,
    /// Labels of its workload.
    pub(crate) labels: WorkloadLabels,
    /// What it says of itself ahead of TCP bytes.
    pub(crate) metadata_frame: Vec<u8>,
}

impl LocalNode {
    /// From the bootstrap's node.
    #[must_use]
    pub(crate) fn new(node: Node) -> Self {
        let metadata = serde_json::Value::Object(node.metadata.clone());
        Self {
            labels: WorkloadLabels::from_node_metadata(&metadata),
            metadata_frame: metadata_exchange::frame(&node.id, &metadata),
            node,
        }
    }

    /// The texts of its metadata under a key, as services are told them as labels.
    pub(crate) fn labels_under(&self, key: &str) -> BTreeMap<String, String> {
        let told = self.node.metadata.get(key).and_then(serde_json::Value::as_object);
        let told = told.into_iter().flatten();
        told.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }
}

/// Statistics of the whole process.
#[derive(Debug)]
pub(crate) struct ServerStats {
    /// 1 while the proxy is not draining.
    pub(crate) live: Gauge,
    /// 0 live, 1 draining, 2 before start, 3 starting.
    pub(crate) state: Gauge,
    /// Connections from clients.
    pub(crate) total_connections: Gauge,
    /// Of these, those of the process that this one took over from.
    pub(crate) parent_connections: Gauge,
    /// Processes that this one took over from, one after the other.
    pub(crate) hot_restart_epoch: Gauge,
    /// Number of workers. Held here, for a statistic that nobody holds is forgotten.
    workers: Gauge,
    /// Panics of the whole process.
    pub(crate) panics: Counter,
    /// Times that a worker went on after a panic that was not of one connection.
    pub(crate) worker_recoveries: Counter,
    pub(crate) uptime: Gauge,
    pub(crate) memory_allocated: Gauge,
    /// What the heap may grow to without asking the system, as far as that is known.
    memory_heap_size: Gauge,
    memory_physical_size: Gauge,
    /// From the start to the first readiness.
    pub(crate) initialization_time: Histogram,
    /// 1 once workers serve.
    pub(crate) workers_started: Gauge,
    /// Listeners that could not be bound.
    pub(crate) listener_create_failure: Counter,
    /// Listeners that an operator or a shutdown stopped.
    pub(crate) listener_stopped: Counter,
    pub(crate) days_until_first_cert_expiring: Gauge,
    pub(crate) connected_state: Gauge,
    pub(crate) active_clusters: Gauge,
    pub(crate) cluster_added: Counter,
    pub(crate) cluster_modified: Counter,
    pub(crate) cluster_removed: Counter,
    pub(crate) total_listeners_active: Gauge,
    pub(crate) listener_added: Counter,
    pub(crate) listener_create_success: Counter,
    pub(crate) listener_in_place_updated: Counter,
    pub(crate) total_listeners_warming: Gauge,
    pub(crate) total_listeners_draining: Gauge,
    pub(crate) total_filter_chains_draining: Gauge,
    pub(crate) warming_clusters: Gauge,
    pub(crate) listener_modified: Counter,
    pub(crate) listener_removed: Counter,
}

impl ServerStats {
    fn new(stats: &StatsRegistry) -> Self {
        let server = stats.server();
        let clusters = stats.scope("cluster_manager");
        let listeners = stats.scope("listener_manager");
        Self {
            live: server.gauge("live"),
            state: server.gauge("state"),
            total_connections: server.gauge("total_connections"),
            parent_connections: server.gauge("parent_connections"),
            hot_restart_epoch: server.gauge("hot_restart_epoch"),
            workers: server.gauge("concurrency"),
            panics: server.counter("panics"),
            worker_recoveries: server.counter("worker_recoveries"),
            uptime: server.gauge("uptime"),
            memory_allocated: server.gauge("memory_allocated"),
            memory_heap_size: server.gauge("memory_heap_size"),
            memory_physical_size: server.gauge("memory_physical_size"),
            initialization_time: server.histogram("initialization_time_ms"),
            workers_started: listeners.gauge("workers_started"),
            listener_create_failure: listeners.counter("listener_create_failure"),
            listener_stopped: listeners.counter("listener_stopped"),
            days_until_first_cert_expiring: server.gauge("days_until_first_cert_expiring"),
            connected_state: stats.scope("control_plane").gauge("connected_state"),
            active_clusters: clusters.gauge("active_clusters"),
            cluster_added: clusters.counter("cluster_added"),
            cluster_modified: clusters.counter("cluster_modified"),
            cluster_removed: clusters.counter("cluster_removed"),
            total_listeners_active: listeners.gauge("total_listeners_active"),
            listener_added: listeners.counter("listener_added"),
            listener_create_success: listeners.counter("listener_create_success"),
            listener_in_place_updated: listeners.counter("listener_in_place_updated"),
            total_listeners_warming: listeners.gauge("total_listeners_warming"),
            total_listeners_draining: listeners.gauge("total_listeners_draining"),
            total_filter_chains_draining: listeners.gauge("total_filter_chains_draining"),
            warming_clusters: clusters.gauge("warming_clusters"),
            listener_modified: listeners.counter("listener_modified"),
            listener_removed: listeners.counter("listener_removed"),
        }
    }
}

impl Shared {
    pub(crate) fn new(
        (node, local_cluster): (Node, String),
        concurrency: usize,
        metrics: MetricsSettings,
    ) -> Self {
        let stats = Arc::new(StatsRegistry::new(concurrency));
        let server = ServerStats::new(&stats);
        server.state.set(2);
        // As long as there is no certificate none expires.
        server.days_until_first_cert_expiring.set(u64::from(u32::MAX));
        server.workers.set(u64::try_from(concurrency).unwrap_or(u64::MAX));
        Self {
            http2: Http2Stats::new(&stats.scope("http2")),
            published: ArcSwap::from_pointee(ProxySnapshot::default()),
            tracers: Tracers::default(),
            metrics: MeshMetrics::new(metrics),
            local_cluster,
            neighbourhood: Neighbourhood::new(node.locality.clone(), Rng::from_system().next_u64()),
            node: Arc::new(LocalNode::new(node)),
            access_logs: AccessLogs::new(concurrency, &stats),
            inventory: ArcSwap::from_pointee(Inventory::default()),
            server,
            stats,
            started: clock::now(),
            started_at: clock::wall(),
            shared_tokens: SharedTokens::default(),
            local_limits: LocalLimits::default(),
            concurrency,
            crew: Crew::new(concurrency),
            runtime: ArcSwap::from_pointee(RuntimeView::default()),
            limited_connections: Arc::default(),
            workers_running: AtomicUsize::new(0),
            overload: Overload::default(),
            panics_seen: AtomicU64::default(),
            doors: OpenDoors::default(),
            spares: Spares::default(),
            failed_by_operator: Arc::default(),
            tokens: TokenKeepers::default(),
            needs: Needs::default(),
        }
    }

    /// Takes the proxy out of service for health checks.
    pub(crate) fn take_out_of_service(&self) {
        self.failed_by_operator.store(true, Ordering::Relaxed);
        self.server.live.set(0);
        self.server.state.set(1);
    }

    /// Takes it back.
    pub(crate) fn take_back(&self) {
        if self.failed_by_operator.swap(false, Ordering::Relaxed) {
            self.server.live.set(1);
            self.server.state.set(0);
        }
    }

    /// Whether no client is left, and none can come.
    pub(crate) fn is_deserted(&self) -> bool {
        self.doors.count() == 0 && self.crew.connections() == 0
    }

    /// The bytes of a secret that filters show or sign with; none while it is not there.
    pub(crate) fn generic_secret(&self, name: &SourcedName) -> Option<SecretBytes> {
        self.inventory.load().materials.generic(name).cloned()
    }

    /// Whether an operator took the proxy out of service.
    pub(crate) fn is_failed_by_operator(&self) -> bool {
        self.failed_by_operator.load(Ordering::Relaxed)
    }

    /// Brings the statistics up to date that nobody counts; the bytes that the process holds.
    pub(crate) fn measure(&self) -> Option<u64> {
        let now = clock::now();
        let panics = iako_rt::panics::count();
        self.server
            .panics
            .add(panics.saturating_sub(self.panics_seen.swap(panics, Ordering::Relaxed)));
        self.published.load().clusters().for_each(|cluster| cluster.show_breakers(now));
        self.server.uptime.set(clock::now().saturating_duration_since(self.started).as_secs());
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let resident = bytes_of(&status, "VmRSS:")?;
        self.server.memory_allocated.set(bytes_of(&status, "RssAnon:").unwrap_or(resident));
        self.server.memory_heap_size.set(bytes_of(&status, "VmData:").unwrap_or(resident));
        self.server.memory_physical_size.set(resident);
        Some(resident)
    }
}

/// The bytes that a line of `/proc/self/status` tells of; none elsewhere than on Linux.
pub(crate) fn bytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
