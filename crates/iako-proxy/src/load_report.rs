//! Tells a service how much load comes to clusters, for as long as the proxy runs.
//!
//! Source: `ClusterManager.load_stats_config`; `envoy.service.load_stats.v3`.

use std::{
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{ClusterLoad, Discovery, GrpcService, LoadWish, WishedClusters};
use iako_rt::clock;
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{ClusterCounts, LoadMemory};
use iako_xds_codec::service::load;
use tokio::time::{sleep, sleep_until};

use crate::{
    callout::{CallError, grpc::GrpcStream},
    snapshot::UpstreamCluster,
    worker::Worker,
};

/// The time after which a service that is gone is asked again, as Envoy's.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A service that wants to hear more often hears this often.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// `load_reporter.…`, under Envoy's names.
#[derive(Debug)]
struct LoadStats {
    wishes: Counter,
    reports: Counter,
    errors: Counter,
    retries: Counter,
}

impl LoadStats {
    fn new(scope: &StatsScope) -> Self {
        Self {
            wishes: scope.counter("requests"),
            reports: scope.counter("responses"),
            errors: scope.counter("errors"),
            retries: scope.counter("retries"),
        }
    }
}

/// Tells a service what it wants to hear, and asks again when it goes away.
pub(crate) async fn tell(worker: Rc<Worker>, service: Arc<GrpcService>) {
    let stats = LoadStats::new(&worker.shared.stats.scope("load_reporter"));
    let mut reporter = Reporter { worker, service, stats, memory: LoadMemory::default() };
    loop {
        let ended = Box::pin(reporter.converse()).await;
        reporter.stats.errors.inc();
        let error = ended.err().map(|error| error.to_string());
        tracing::warn!(cluster = %reporter.service.cluster, error, "load is not reported");
        sleep(AGAIN_AFTER).await;
        reporter.stats.retries.inc();
    }
}

#[derive(Debug)]
struct Reporter {
    worker: Rc<Worker>,
    service: Arc<GrpcService>,
    stats: LoadStats,
    memory: LoadMemory,
}

impl Reporter {
    /// One call, to its end.
    async fn converse(&mut self) -> Result<(), CallError> {
        let opening = GrpcStream::open(&self.worker, &self.service, load::METHOD, None);
        let mut stream = opening.await?;
        self.send(&mut stream, &[])?;
        let mut wished: Option<(LoadWish, Instant)> = None;
        loop {
            let due = wished.as_ref().map(|(_, due)| *due);
            let next = poll_fn(|context| stream.poll_next(context));
            tokio::select! {
                biased;
                told = next => {
                    let Some(bytes) = told? else { return Ok(()) };
                    let wish = load::wish(&bytes).ok_or(CallError::Broken("no wish for load"))?;
                    self.stats.wishes.inc();
                    self.begin(&wish);
                    wished = Some(scheduled(wish));
                }
                () = reached(due) => {
                    if let Some((wish, _)) = wished.take() {
                        let loads = self.loads(&wish);
                        self.send(&mut stream, &loads)?;
                        self.begin(&wish);
                        wished = Some(scheduled(wish));
                    }
                }
            }
        }
    }

    fn send(&self, stream: &mut GrpcStream, loads: &[ClusterLoad]) -> Result<(), CallError> {
        stream.send(&load::report(&self.worker.shared.node.node, loads))?;
        self.stats.reports.inc();
        Ok(())
    }

    /// Begins with clusters that are new, and forgets those that are not asked for.
    fn begin(&mut self, wish: &LoadWish) {
        let snapshot = self.worker.snapshot();
        self.memory.keep(|name| is_wished(wish, name) && snapshot.cluster(name).is_some());
        let now = clock::now();
        for cluster in snapshot.clusters().filter(|cluster| is_wished(wish, &cluster.name)) {
            let memory = &mut self.memory;
            with_counts(cluster, |counts| memory.begin(counts, now));
        }
    }

    fn loads(&mut self, wish: &LoadWish) -> Vec<ClusterLoad> {
        let snapshot = self.worker.snapshot();
        let now = clock::now();
        let mut loads: Vec<ClusterLoad> = snapshot
            .clusters()
            .filter_map(|cluster| {
                let memory = &mut self.memory;
                with_counts(cluster, |counts| memory.tell(counts, wish.detail, now))
            })
            .collect();
        loads.sort_by(|one, other| one.name.cmp(&other.name));
        loads
    }
}

/// With the moment of the next report.
fn scheduled(wish: LoadWish) -> (LoadWish, Instant) {
    let now = clock::now();
    let due = now.checked_add(wish.interval.max(INTERVAL_MIN)).unwrap_or(now);
    (wish, due)
}

/// Waits for a moment; without one, for ever.
async fn reached(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

fn is_wished(wish: &LoadWish, name: &str) -> bool {
    match &wish.clusters {
        WishedClusters::All => true,
        WishedClusters::Named(names) => names.iter().any(|wished| wished == name),
    }
}

fn with_counts<T>(cluster: &UpstreamCluster, ask: impl FnOnce(&ClusterCounts<'_>) -> T) -> T {
    let balancer = cluster.balancer();
    let service = match &cluster.config.discovery {
        Discovery::Eds(name) if name.name() != cluster.config.name => name.name(),
        Discovery::Eds(_)
        | Discovery::Static(_)
        | Discovery::StrictDns(_)
        | Discovery::LogicalDns(_)
        | Discovery::OriginalDst { .. }
        | Discovery::Aggregate(_)
        | Discovery::DynamicForward(_) => "",
    };
    let stats = &cluster.stats;
    let dropped = cluster.dropped_count();
    let overflowed =
        stats.rq_pending_overflow.value().saturating_add(stats.cx_pool_overflow.value());
    ask(&ClusterCounts {
        name: &cluster.name,
        service,
        endpoints: balancer.endpoints(),
        refused: dropped.saturating_add(overflowed),
        dropped,
        category: balancer.drop_category(),
    })
}
