//! The runtime: its layers, and what follows when one of them changes.

mod disk;

use std::{sync::Arc, time::Instant};

use iako_proxy_config::{
    ConfigOrigin, ConfigSource, LayeredRuntime, RuntimeDirectory, RuntimeResource, RuntimeSource,
    RuntimeValues, SourcedName,
};
use iako_rt::clock;
use iako_telemetry::{StatsScope, stats::Counter, stats::Gauge};
use iako_traffic::Runtime;
use iako_xds_codec::decode;
use tokio::sync::oneshot;

use super::{
    ConfigTask, Event,
    source_stats::{Reception, SourceStats},
};
use crate::snapshot::ServedRoutes;

/// The layers as they are now, for the admin endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuntimeView {
    /// Names and values, in order. A layer whose directory is missing or wrong is left out.
    pub(crate) layers: Vec<(String, Arc<RuntimeValues>)>,
}

/// Something that changes the runtime.
#[derive(Debug)]
pub(crate) enum RuntimeChange {
    /// `POST /runtime_modify`: values by key; an empty one takes back what was set before.
    Modify {
        /// The keys and what they are set to.
        values: Vec<(String, String)>,
        /// Whether that was done, and why not.
        verdict: oneshot::Sender<Result<(), String>>,
    },
    /// A directory was read.
    Read {
        /// The layer.
        layer: usize,
        /// What is in it.
        content: Content,
    },
}

/// What a layer holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// These values.
    Values(Arc<RuntimeValues>),
    /// There is no such directory.
    Absent,
    /// The directory cannot be used.
    Failed,
}

#[derive(Debug)]
struct Layer {
    name: String,
    source: RuntimeSource,
    content: Content,
    /// Whether the first word about it came, where it is discovered.
    heard: bool,
}

/// All layers, and what they amount to.
#[derive(Debug)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    now: Arc<Runtime>,
    stats: RuntimeStats,
    /// How asking for discovered layers goes.
    asked: SourceStats,
    /// Whether clusters and listeners are asked for: not before the first word about every layer.
    settled: bool,
}

impl Layers {
    pub(super) fn new(scope: &StatsScope) -> Self {
        Self {
            layers: Vec::new(),
            now: Arc::default(),
            stats: RuntimeStats::new(scope),
            asked: SourceStats::new(scope),
            settled: false,
        }
    }

    /// What counts now.
    pub(super) const fn now(&self) -> &Arc<Runtime> {
        &self.now
    }

    /// Whether whoever waits for the first values can go on.
    pub(super) const fn is_settled(&self) -> bool {
        self.settled
    }

    /// Layers of a discovery service.
    pub(super) fn discovered(&self) -> impl Iterator<Item = &SourcedName> {
        self.layers.iter().filter_map(|layer| layer.discovered())
    }

    pub(super) fn note(&self, reception: &Reception) {
        self.asked.note(reception);
    }

    /// A file or server said something, or that there is nothing.
    pub(super) fn heard(&mut self, origin: &ConfigOrigin) {
        for layer in &mut self.layers {
            if layer.discovered().is_some_and(|name| name.source().origin == *origin) {
                layer.heard = true;
            }
        }
    }

    /// When the first word about a layer is not waited for any longer.
    pub(super) fn deadline(&self, started: Instant) -> Option<Instant> {
        if self.settled {
            return None;
        }
        let waited = self.layers.iter().filter(|layer| !layer.heard);
        let longest = waited.filter_map(|layer| layer.wait()?.initial_fetch_timeout);
        longest.max().map(|longest| started + longest)
    }

    /// Puts the layers on each other; the one that nobody can read is left out.
    fn load(&mut self) -> RuntimeView {
        let of = |layer: &Layer| match &layer.content {
            Content::Values(values) => Some((layer.name.clone(), Arc::clone(values))),
            Content::Absent | Content::Failed => None,
        };
        let view = RuntimeView { layers: self.layers.iter().filter_map(of).collect() };
        self.now = Arc::new(Runtime::of_layers(view.layers.iter().map(|(_, values)| &**values)));
        let failed = self.layers.iter().any(|layer| layer.content == Content::Failed);
        let on_disk = |layer: &&Layer| {
            matches!((&layer.source, &layer.content), (RuntimeSource::Disk(_), Content::Values(_)))
        };
        let stats = &self.stats;
        if failed {
            stats.load_error.inc();
        } else {
            stats.load_success.inc();
        }
        if self.layers.iter().filter(on_disk).count() > 1 {
            stats.override_dir_exists.inc();
        } else {
            stats.override_dir_not_exists.inc();
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        stats.layers.set(count(view.layers.len()));
        stats.keys.set(count(self.now.len()));
        view
    }

    /// Sets keys of the admin's layer.
    fn modify(&mut self, values: Vec<(String, String)>) -> Result<(), String> {
        let is_admin = |layer: &&mut Layer| matches!(layer.source, RuntimeSource::Admin);
        let Some(layer) = self.layers.iter_mut().find(is_admin) else {
            return Err("No admin layer specified".to_owned());
        };
        let mut set = match &layer.content {
            Content::Values(values) => RuntimeValues::clone(values),
            Content::Absent | Content::Failed => RuntimeValues::new(),
        };
        for (key, text) in values {
            if text.is_empty() {
                set.remove(&key);
            } else {
                let value = decode::runtime_value(&text)
                    .map_err(|error| format!("`{text}` is no value of the runtime: {error}"))?;
                set.insert(key, value);
            }
        }
        if set.len() > KEYS_MAX {
            return Err(format!("more than {KEYS_MAX} keys cannot be set by hand"));
        }
        self.stats.admin_overrides_active.set(u64::from(!set.is_empty()));
        layer.content = Content::Values(Arc::new(set));
        Ok(())
    }
}

/// Keys that can be set by hand.
const KEYS_MAX: usize = 4096;

impl Layer {
    fn discovered(&self) -> Option<&SourcedName> {
        match &self.source {
            RuntimeSource::Discovered(name) => Some(name),
            RuntimeSource::Static(_) | RuntimeSource::Disk(_) | RuntimeSource::Admin => None,
        }
    }

    fn wait(&self) -> Option<&ConfigSource> {
        self.discovered().map(SourcedName::source)
    }
}

/// `runtime.…`, under Envoy's names.
#[derive(Debug)]
struct RuntimeStats {
    admin_overrides_active: Gauge,
    keys: Gauge,
    layers: Gauge,
    load_error: Counter,
    load_success: Counter,
    override_dir_exists: Counter,
    override_dir_not_exists: Counter,
    /// Deprecated fields are not counted here; who looks for the numbers finds them.
    _deprecated: (Counter, Gauge),
}

impl RuntimeStats {
    fn new(scope: &StatsScope) -> Self {
        Self {
            admin_overrides_active: scope.gauge("admin_overrides_active"),
            keys: scope.gauge("num_keys"),
            layers: scope.gauge("num_layers"),
            load_error: scope.counter("load_error"),
            load_success: scope.counter("load_success"),
            override_dir_exists: scope.counter("override_dir_exists"),
            override_dir_not_exists: scope.counter("override_dir_not_exists"),
            _deprecated: (
                scope.counter("deprecated_feature_use"),
                scope.gauge("deprecated_feature_seen_since_process_start"),
            ),
        }
    }
}

impl ConfigTask {
    /// Takes the layers of the bootstrap and begins to watch directories.
    pub(super) async fn take_layers(&mut self, config: Option<LayeredRuntime>) {
        let layers = config.unwrap_or_default().layers;
        for (index, layer) in layers.into_iter().enumerate() {
            let content = match &layer.source {
                RuntimeSource::Static(values) => Content::Values(Arc::new(values.clone())),
                RuntimeSource::Disk(directory) => self.watch_layer(index, directory).await,
                RuntimeSource::Admin => Content::Values(Arc::default()),
                RuntimeSource::Discovered(name) => {
                    self.runtime.asked.asked(&name.source().origin);
                    Content::Values(Arc::default())
                }
            };
            let heard = !matches!(layer.source, RuntimeSource::Discovered(_));
            let layer = Layer { name: layer.name, source: layer.source, content, heard };
            self.runtime.layers.push(layer);
        }
        self.load_runtime();
    }

    async fn watch_layer(&self, layer: usize, directory: &RuntimeDirectory) -> Content {
        let cluster = &self.shared.node.node.cluster;
        let place = disk::Place::new(directory, cluster);
        let content = disk::read(place.clone()).await;
        let events = self.events.clone();
        self.scope.spawn(
            "runtime directory",
            disk::watch(place, content.clone(), move |content| {
                let events = events.clone();
                let change = RuntimeChange::Read { layer, content };
                async move { events.send(Event::Runtime(change)).await.is_ok() }
            }),
        );
        content
    }

    pub(super) fn change_runtime(&mut self, change: RuntimeChange) {
        match change {
            RuntimeChange::Modify { values, verdict } => {
                let done = self.runtime.modify(values);
                if done.is_ok() {
                    self.load_runtime();
                }
                // Who asked may have gone.
                drop(verdict.send(done));
            }
            RuntimeChange::Read { layer, content } => {
                if let Some(layer) = self.runtime.layers.get_mut(layer) {
                    layer.content = content;
                    self.load_runtime();
                }
            }
        }
    }

    /// Takes the values of a discovered layer; none when it is gone.
    pub(super) fn set_layer(&mut self, key: &str, told: Option<RuntimeResource>) {
        let values = Arc::new(told.map(|told| told.values).unwrap_or_default());
        for layer in &mut self.runtime.layers {
            if layer.discovered().is_some_and(|name| name.key() == key) {
                layer.content = Content::Values(Arc::clone(&values));
                layer.heard = true;
            }
        }
        self.load_runtime();
    }

    /// Lets go on who waited for the first word about every layer.
    pub(super) fn settle_runtime(&mut self, now: Instant) {
        if self.runtime.settled {
            return;
        }
        let layers = self.runtime.layers.iter();
        let silent = layers.filter(|layer| !layer.heard).count();
        let late = self.runtime.deadline(self.started).is_some_and(|until| until <= now);
        if silent > 0 && !late {
            return;
        }
        for _ in 0..silent {
            self.runtime.asked.gave_up();
        }
        self.runtime.settled = true;
        // What began to wait now counts its time from here.
        self.started = clock::now();
        self.load_runtime();
    }

    /// Makes a new runtime of the layers, and everything anew that it changes.
    fn load_runtime(&mut self) {
        let before = Arc::clone(self.runtime.now());
        let view = self.runtime.load();
        self.shared.runtime.store(Arc::new(view));
        if *before == **self.runtime.now() {
            return;
        }
        self.dirty = true;
        self.tune_routes();
        self.tune_clusters();
        self.tune_listeners();
    }

    fn tune_routes(&mut self) {
        let runtime = Arc::clone(self.runtime.now());
        let stats = &self.shared.stats;
        for entry in self.routes.values_mut() {
            entry.tune(|told, table| {
                let routes = runtime.routes(told);
                let changed = routes != *table.table().configuration();
                changed.then(|| Arc::new(ServedRoutes::compile(routes, Some(table), stats)))
            });
        }
    }

    fn tune_clusters(&mut self) {
        let names: Vec<String> = self.clusters.keys().cloned().collect();
        for name in names {
            if let Err(error) = self.tune_cluster(&name) {
                tracing::error!(cluster = %name, error, "the runtime does not change the cluster");
            }
        }
    }

    fn tune_listeners(&mut self) {
        let now = |told: &_| self.written_now(told);
        let changed = self.listeners.iter().filter(|(_, entry)| entry.is_other_than(now));
        let names: Vec<String> = changed.map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Err(error) = self.make_listener_anew(&name) {
                tracing::error!(listener = %name, error, "the runtime does not change the listener");
            }
        }
    }
}
