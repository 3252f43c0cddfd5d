//! The task that looks at the resources and says what is done.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use iako_proxy_config::{Deed, OverloadManager, OverloadTrigger, ScaledTimer};
use iako_rt::{Scope, clock};
use iako_telemetry::{Counter, Gauge, Histogram, StatsScope};
use iako_traffic::overload_level;
use tokio::time::MissedTickBehavior;

use super::{
    Level,
    measure::{Memory, measure},
};
use crate::shared::Shared;

/// Looks at the resources that the bootstrap names, until the proxy ends.
pub(crate) fn start(scope: &Scope, shared: &Arc<Shared>, manager: Option<&OverloadManager>) {
    if let Some(manager) = manager {
        scope.spawn("overload", watch(Arc::clone(shared), manager.clone()));
    }
}

/// Takes what the bootstrap says and looks at the resources.
fn watch(shared: Arc<Shared>, manager: OverloadManager) -> impl Future<Output = ()> {
    let mut watching = Watching::new(shared, manager);
    async move {
        let mut ticks = tokio::time::interval(watching.manager.refresh);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = clock::now();
        loop {
            ticks.tick().await;
            let now = clock::now();
            watching.delay.record(now.saturating_duration_since(before));
            before = now;
            watching.look();
        }
    }
}

struct Watching {
    shared: Arc<Shared>,
    manager: OverloadManager,
    resources: Vec<Resource>,
    actions: Vec<ActionStats>,
    sheds: Vec<Gauge>,
    delay: Histogram,
    shrinks: Option<Counter>,
    /// Of the last looks.
    pressures: Vec<Option<f64>>,
}

/// `overload.<monitor>.…`.
struct Resource {
    memory: Memory,
    pressure: Gauge,
    failed: Counter,
    /// Looks that did not happen because the one before was not done; never here.
    _skipped: Counter,
}

/// `overload.<action>.…`.
struct ActionStats {
    active: Gauge,
    scale_percent: Gauge,
}

impl ActionStats {
    fn show(&self, level: f64) {
        self.active.set(u64::from(level >= 1.0));
        self.scale_percent.set(percent(level));
    }
}

fn percent(share: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "cut off, as Envoy's"
    )]
    let percent = (share.max(0.0) * 100.0) as u64;
    percent
}

impl Watching {
    fn new(shared: Arc<Shared>, manager: OverloadManager) -> Self {
        let scope = shared.stats.scope("overload");
        let resource = |name: &str| {
            let scope = scope.part(name);
            Resource {
                memory: Memory::default(),
                pressure: scope.gauge("pressure"),
                failed: scope.counter("failed_updates"),
                _skipped: scope.counter("skipped_updates"),
            }
        };
        let resources = manager.monitors.iter().map(|monitor| resource(&monitor.name)).collect();
        let action = |scope: StatsScope| ActionStats {
            active: scope.gauge("active"),
            scale_percent: scope.gauge("scale_percent"),
        };
        let actions = manager.actions.iter().map(|it| action(scope.part(it.deed.name()))).collect();
        let sheds = manager.load_shed.iter().map(|point| {
            let scope = scope.part(point.place.name());
            if let Some(shed) = shared.overload.shed(point.place) {
                // A place stands once.
                shed.count.get_or_init(|| scope.counter("shed_load_count"));
            }
            scope.gauge("scale_percent")
        });
        let sheds = sheds.collect();
        if manager.actions.iter().any(|it| it.deed == Deed::ResetStreams) {
            let count = || shared.stats.scope(Deed::ResetStreams.name()).counter("count");
            shared.overload.reset_count.get_or_init(count);
        }
        let is_shrinking = manager.actions.iter().any(|it| it.deed == Deed::ShrinkHeap);
        let shrinks = || scope.part(Deed::ShrinkHeap.name()).counter("shrink_count");
        let shrinks = is_shrinking.then(shrinks);
        prepare(&shared, &manager);
        let pressures = vec![None; manager.monitors.len()];
        let delay = scope.histogram("refresh_interval_delay");
        Self { shared, manager, resources, actions, sheds, delay, shrinks, pressures }
    }

    fn look(&mut self) {
        let monitors = self.manager.monitors.iter();
        for ((monitor, resource), last) in
            monitors.zip(&mut self.resources).zip(&mut self.pressures)
        {
            match measure(&monitor.measure, &mut resource.memory) {
                Ok(share) => {
                    *last = Some(share);
                    resource.pressure.set(percent(share));
                }
                // What was known last stays, as in Envoy.
                Err(error) => {
                    resource.failed.inc();
                    tracing::debug!(monitor = %monitor.name, %error, "a resource is not known");
                }
            }
        }
        let overload = &self.shared.overload;
        let mut any = 0.0_f64;
        for (action, stats) in self.manager.actions.iter().zip(&self.actions) {
            let level = overload_level(&action.triggers, &self.pressures);
            any = any.max(level);
            overload.set(&action.deed, level);
            stats.show(level);
            if action.deed == Deed::ShrinkHeap && level >= 1.0 {
                iako_rt::memory::give_back();
                self.shrinks.iter().for_each(Counter::inc);
            }
        }
        for (point, gauge) in self.manager.load_shed.iter().zip(&self.sheds) {
            let level = self.level(&point.triggers);
            any = any.max(level);
            gauge.set(percent(level));
            if let Some(shed) = overload.shed(point.place) {
                Level::set(&shed.level, level);
            }
        }
        let is_short = any > 0.0;
        if overload.is_short.swap(is_short, Relaxed) != is_short {
            tracing::warn!(is_short, pressures = ?self.pressures, "resources of the proxy");
        }
    }

    fn level(&self, triggers: &[OverloadTrigger]) -> f64 {
        overload_level(triggers, &self.pressures)
    }
}

/// Tells everybody what does not change.
fn prepare(shared: &Shared, manager: &OverloadManager) {
    let overload = &shared.overload;
    let timers = manager.actions.iter().filter_map(|action| match &action.deed {
        Deed::ReduceTimeouts(timers) => Some(timers),
        Deed::StopAcceptingRequests
        | Deed::DisableKeepalive
        | Deed::StopAcceptingConnections
        | Deed::RejectConnections
        | Deed::ShrinkHeap
        | Deed::ResetStreams
        | Deed::CloseIdle => None,
    });
    let timers: Vec<ScaledTimer> = timers.flatten().copied().collect();
    // There is one manager, which is taken once.
    overload.timers.get_or_init(|| timers);
    if let Some(from) = manager.tracked {
        overload.tracked.get_or_init(|| from);
    }
    if let Some(most) = manager.connections_max {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        overload.connections_max.get_or_init(|| most);
    }
}
