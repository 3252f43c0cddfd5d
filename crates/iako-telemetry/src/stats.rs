//! Envoy-style statistics: named counters, gauges and histograms behind handles.
//!
//! Names are made when configuration is compiled (`cluster.<name>.upstream_rq_total`); the code on
//! the path holds a handle, and counting is one relaxed addition to the cell of its own worker. A
//! statistic lives as long as somebody holds its handle: [`StatsRegistry::sweep`] forgets those of
//! clusters and listeners that are gone.

mod bounds;
pub(crate) mod exposition;
mod inherit;
mod part;
mod query;
mod render;
mod stat;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use crate::histogram::{AtomicHistogram, Buckets, HistogramSnapshot};
use crate::shard;
pub use bounds::NameCheck;
pub use inherit::StatisticsNow;
pub use query::{HistogramForm, StatsFormat, StatsKind, StatsQuery};
pub use stat::Stat;
pub use table::stats;

/// Cells of one worker: together in memory, apart from those of other workers, so that two workers
/// never write the same cache line.
#[repr(align(128))]
#[derive(Debug)]
struct Cells([AtomicI64; CELLS]);

const CELLS: usize = 64;

/// 64 numbers, each with one cell a worker, and one for all threads that are no worker.
#[derive(Debug)]
struct Block {
    workers: Box<[Cells]>,
    others: Box<Cells>,
}

impl Block {
    fn new(workers: usize) -> Self {
        let cells = || Cells(std::array::from_fn(|_| AtomicI64::new(0)));
        Self { workers: (0..workers.max(1)).map(|_| cells()).collect(), others: Box::new(cells()) }
    }

    fn cells(&self, index: usize) -> impl Iterator<Item = &AtomicI64> {
        let all = self.workers.iter().chain([&*self.others]);
        all.filter_map(move |cells| cells.0.get(index))
    }
}

/// One number: which cell of which block.
#[derive(Debug)]
struct Number {
    block: Arc<Block>,
    index: usize,
    /// Whether all 64 bits are of use, in place of a sign.
    wide: bool,
}

impl Number {
    #[inline]
    fn add(&self, amount: i64) {
        let own = shard::worker().and_then(|worker| self.block.workers.get(worker));
        if let Some(cell) = own.and_then(|cells| cells.0.get(self.index)) {
            // Nobody else writes this cell, so that no locked instruction is needed.
            cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
        } else if let Some(cell) = self.block.others.0.get(self.index) {
            cell.fetch_add(amount, Relaxed);
        }
    }

    fn set(&self, value: i64) {
        for (worker, cell) in self.block.cells(self.index).enumerate() {
            cell.store(if worker == 0 { value } else { 0 }, Relaxed);
        }
    }

    fn value(&self) -> i64 {
        let cells = self.block.cells(self.index).map(|cell| cell.load(Relaxed));
        cells.fold(0, i64::wrapping_add)
    }
}

/// A number that only grows. Copies count into the same statistic.
#[derive(Clone, Debug)]
pub struct Counter(Arc<Number>);

impl Counter {
    /// Counts one.
    #[inline]
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// Counts several at once.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.add(i64::try_from(amount).unwrap_or(i64::MAX));
    }

    /// The sum over all workers.
    #[must_use]
    pub fn value(&self) -> u64 {
        u64::try_from(self.0.value()).unwrap_or(0)
    }
}

/// A number that goes up and down. Copies count into the same statistic.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<Number>);

impl Gauge {
    /// One more.
    #[inline]
    pub fn inc(&self) {
        self.0.add(1);
    }

    /// One less.
    #[inline]
    pub fn dec(&self) {
        self.0.add(-1);
    }

    /// More or, with a negative amount, less.
    #[inline]
    pub fn add(&self, amount: i64) {
        self.0.add(amount);
    }

    /// Replaces the value. For gauges with one writer; mixed with [`Self::inc`] from other threads
    /// it may lose their change.
    pub fn set(&self, value: u64) {
        let most = i64::try_from(value).unwrap_or(i64::MAX);
        self.0.set(if self.0.wide { i64::from_ne_bytes(value.to_ne_bytes()) } else { most });
    }

    /// The sum over all workers; a passing dip below zero is shown as zero.
    #[must_use]
    pub fn value(&self) -> u64 {
        let value = self.0.value();
        let bits = u64::from_ne_bytes(value.to_ne_bytes());
        if self.0.wide { bits } else { u64::try_from(value).unwrap_or(0) }
    }
}

/// Durations. Copies count into the same statistic.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<DurationShards>);

/// One histogram a worker, made when the worker records its first value: most clusters of a large
/// mesh never see one.
#[derive(Debug)]
struct DurationShards {
    shards: Box<[OnceLock<AtomicHistogram>]>,
    buckets: &'static Buckets,
}

impl Histogram {
    fn new(workers: usize, buckets: &'static Buckets) -> Self {
        let shards = (0..workers.max(1)).map(|_| OnceLock::new()).collect();
        Self(Arc::new(DurationShards { shards, buckets }))
    }

    /// Adds one duration; shown in milliseconds.
    #[inline]
    pub fn record(&self, duration: Duration) {
        let DurationShards { shards, buckets } = &*self.0;
        if let Some(own) = shards.get(shard::worker().unwrap_or(0)).or_else(|| shards.first()) {
            let histogram = own.get_or_init(|| AtomicHistogram::new(buckets));
            histogram.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// The value below which the share `quantile` lies, in milliseconds; `None` without values.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        self.snapshot().quantile(quantile)
    }

    fn snapshot(&self) -> HistogramSnapshot {
        let used = self.0.shards.iter().filter_map(OnceLock::get);
        used.fold(HistogramSnapshot::empty(self.0.buckets), |mut sum, shard| {
            sum.merge(&shard.snapshot());
            sum
        })
    }
}

#[derive(Clone, Debug)]
enum Value {
    Counter(Counter),
    Gauge(Gauge),
    Histogram(Histogram),
}

impl Value {
    /// True while nobody but the registry holds the statistic.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Counter(Counter(number)) | Self::Gauge(Gauge(number)) => {
                Arc::strong_count(number) == 1
            }
            Self::Histogram(Histogram(histogram)) => Arc::strong_count(histogram) == 1,
        }
    }
}

/// Where a statistic belongs: the variable part of its name, which Prometheus sees as a label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// Prefix of the plain name, with the final dot; may be empty.
    plain: String,
    /// Prefix of the Prometheus name, with the final underscore.
    prometheus: String,
    /// A label for each variable part of the prefix.
    labels: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug)]
struct Entry {
    place: Arc<Place>,
    /// The name after the prefix.
    leaf: String,
    value: Value,
}

#[derive(Debug)]
struct Entries {
    by_name: BTreeMap<String, Entry>,
    block: Arc<Block>,
    /// First unused cell of `block`.
    next: usize,
    inheritance: inherit::Inheritance,
}

/// All statistics of one process, by name. Copies are the same registry.
///
/// ```
/// use iako_telemetry::{StatsQuery, StatsRegistry};
///
/// let registry = StatsRegistry::new(2);
/// let requests = registry.cluster("outbound|80||cart").counter("upstream_rq_total");
/// requests.inc();
/// let query = StatsQuery::parse([("format", "prometheus")])?;
/// let text = registry.render(&query);
/// assert!(text.contains("{envoy_cluster_name=\"outbound|80||cart\"} 1"));
/// # Ok::<(), String>(())
/// ```
#[derive(Clone)]
pub struct StatsRegistry {
    entries: Arc<Mutex<Entries>>,
    workers: usize,
    bounds: Arc<OnceLock<Vec<bounds::ChosenBounds>>>,
}

impl fmt::Debug for StatsRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statistics = self.entries.lock().by_name.len();
        f.debug_struct("StatsRegistry").field("statistics", &statistics).finish()
    }
}

impl StatsRegistry {
    /// A registry whose numbers have one cell for each of `workers`; see
    /// [`bind_worker`](crate::bind_worker).
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let block = Arc::new(Block::new(workers));
        let by_name = BTreeMap::new();
        let entries = Entries { by_name, block, next: 0, inheritance: Default::default() };
        let bounds = Arc::default();
        Self { entries: Arc::new(Mutex::new(entries)), workers, bounds }
    }

    /// How many workers count apart.
    #[must_use]
    pub const fn workers(&self) -> usize {
        self.workers
    }

    /// `cluster.<name>.`, label `envoy_cluster_name`.
    #[must_use]
    pub fn cluster(&self, name: &str) -> StatsScope {
        self.labelled("cluster", "envoy_cluster_name", name)
    }

    /// `listener.<address>.`, label `envoy_listener_address`.
    #[must_use]
    pub fn listener(&self, address: &str) -> StatsScope {
        self.labelled("listener", "envoy_listener_address", address)
    }

    /// `http.<stat_prefix>.`, label `envoy_http_conn_manager_prefix`.
    #[must_use]
    pub fn http(&self, stat_prefix: &str) -> StatsScope {
        self.labelled("http", "envoy_http_conn_manager_prefix", stat_prefix)
    }

    /// `tcp.<stat_prefix>.`, label `envoy_tcp_prefix`.
    #[must_use]
    pub fn tcp(&self, stat_prefix: &str) -> StatsScope {
        self.labelled("tcp", "envoy_tcp_prefix", stat_prefix)
    }

    /// `udp.<stat_prefix>.`, label `envoy_udp_prefix`.
    #[must_use]
    pub fn udp(&self, stat_prefix: &str) -> StatsScope {
        self.labelled("udp", "envoy_udp_prefix", stat_prefix)
    }

    /// `vhost.<name>.`, label `envoy_virtual_host`. The name stays as it is, as in Envoy.
    #[must_use]
    pub fn virtual_host(&self, name: &str) -> StatsScope {
        let place = Place {
            plain: format!("vhost.{name}."),
            prometheus: "envoy_vhost_".to_owned(),
            labels: vec![("envoy_virtual_host", name.to_owned())],
        };
        StatsScope { registry: self.clone(), place: Arc::new(place) }
    }

    /// `server.`, without a label.
    #[must_use]
    pub fn server(&self) -> StatsScope {
        self.scope("server")
    }

    /// A fixed prefix such as `cluster_manager` or `http_local_rate_limit.limiter`, no label.
    #[must_use]
    pub fn scope(&self, prefix: &str) -> StatsScope {
        let place = Place {
            plain: format!("{}.", sanitize(prefix)),
            prometheus: format!("envoy_{}_", exposition::metric_name(prefix)),
            labels: Vec::new(),
        };
        StatsScope { registry: self.clone(), place: Arc::new(place) }
    }

    /// Forgets the statistics that nobody holds any more. Call after configuration was replaced.
    pub fn sweep(&self) {
        self.entries.lock().by_name.retain(|_, entry| !entry.value.is_abandoned());
    }

    /// Sets every counter back to zero, as Envoy's `/reset_counters` does.
    pub fn reset_counters(&self) {
        for entry in self.entries.lock().by_name.values() {
            if let Value::Counter(Counter(number)) = &entry.value {
                number.set(0);
            }
        }
    }

    /// The value of a counter or gauge by its full name, for tests and for `iako status`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        match &self.entries.lock().by_name.get(name)?.value {
            Value::Counter(counter) => Some(counter.value()),
            Value::Gauge(gauge) => Some(gauge.value()),
            Value::Histogram(_) => None,
        }
    }

    fn labelled(&self, kind: &str, label: &'static str, name: &str) -> StatsScope {
        let name = sanitize(name);
        let place = Place {
            plain: format!("{kind}.{name}."),
            prometheus: format!("envoy_{kind}_"),
            labels: vec![(label, name)],
        };
        StatsScope { registry: self.clone(), place: Arc::new(place) }
    }

    fn snapshot(&self) -> Vec<(String, Entry)> {
        let entries = self.entries.lock();
        entries.by_name.iter().map(|(name, entry)| (name.clone(), entry.clone())).collect()
    }
}

impl Entries {
    #[expect(clippy::fn_params_excessive_bools, reason = "private, with two callers")]
    fn number(&mut self, workers: usize, wide: bool) -> Arc<Number> {
        if self.next >= CELLS {
            self.block = Arc::new(Block::new(workers));
            self.next = 0;
        }
        let number = Number { block: Arc::clone(&self.block), index: self.next, wide };
        self.next = self.next.saturating_add(1);
        Arc::new(number)
    }
}

/// Envoy allows no colon in a name: `127.0.0.1:80` becomes `127.0.0.1_80`.
fn sanitize(name: &str) -> String {
    name.replace(':', "_")
}

/// One prefix of names, such as that of a cluster. Cheap to copy.
#[derive(Clone, Debug)]
pub struct StatsScope {
    registry: StatsRegistry,
    place: Arc<Place>,
}

impl StatsScope {
    /// The counter of this name, made when it is new. A name that is a gauge or histogram already
    /// gives a counter that nobody sees; names are constants of the code, so a test finds it.
    #[must_use]
    pub fn counter(&self, leaf: &str) -> Counter {
        let made = |entries: &mut Entries, workers| {
            Value::Counter(Counter(entries.number(workers, false)))
        };
        match self.entry(leaf, made) {
            Value::Counter(counter) => counter,
            Value::Gauge(Gauge(number)) => Counter(number),
            Value::Histogram(_) => Counter(self.hidden()),
        }
    }

    /// The gauge of this name, made when it is new.
    #[must_use]
    pub fn gauge(&self, leaf: &str) -> Gauge {
        let made =
            |entries: &mut Entries, workers| Value::Gauge(Gauge(entries.number(workers, false)));
        match self.entry(leaf, made) {
            Value::Gauge(gauge) => gauge,
            Value::Counter(Counter(number)) => Gauge(number),
            Value::Histogram(_) => Gauge(self.hidden()),
        }
    }

    /// The gauge of this name that is set to numbers of all 64 bits, such as a hash, made when it is
    /// new. One writer sets it.
    #[must_use]
    pub fn wide_gauge(&self, leaf: &str) -> Gauge {
        let made =
            |entries: &mut Entries, workers| Value::Gauge(Gauge(entries.number(workers, true)));
        match self.entry(leaf, made) {
            Value::Gauge(gauge) => gauge,
            Value::Counter(Counter(number)) => Gauge(number),
            Value::Histogram(_) => Gauge(self.hidden()),
        }
    }

    /// The histogram of durations of this name, made when it is new.
    #[must_use]
    pub fn histogram(&self, leaf: &str) -> Histogram {
        let name = format!("{}{leaf}", self.place.plain);
        let fresh = || Histogram::new(self.registry.workers, self.registry.buckets_of(&name));
        match self.entry(leaf, |_, _| Value::Histogram(fresh())) {
            Value::Histogram(histogram) => histogram,
            Value::Counter(_) | Value::Gauge(_) => fresh(),
        }
    }

    fn entry(&self, leaf: &str, made: impl FnOnce(&mut Entries, usize) -> Value) -> Value {
        let name = format!("{}{leaf}", self.place.plain);
        let mut entries = self.registry.entries.lock();
        if let Some(present) = entries.by_name.get(&name) {
            return present.value.clone();
        }
        let value = made(&mut entries, self.registry.workers);
        entries.inheritance.give(&name, &value);
        let place = Arc::clone(&self.place);
        let entry = Entry { place, leaf: leaf.to_owned(), value: value.clone() };
        entries.by_name.insert(name, entry);
        value
    }

    fn hidden(&self) -> Arc<Number> {
        self.registry.entries.lock().number(self.registry.workers, false)
    }
}

#[cfg(test)]
mod tests;
