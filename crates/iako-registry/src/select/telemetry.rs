//! What a workload reports.

use std::sync::Arc;

use iako_resources::{
    Object, Telemetry,
    istio::telemetry::{AccessLogging, Metrics, MetricsOverride, TelemetryMode, Tracing},
};

use super::{Reach, Subject, reach};
use crate::MeshSnapshot;

/// What a workload reports, all levels taken together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EffectiveTelemetry {
    /// Traces: each field from the most specific level that has it.
    pub tracing: Tracing,
    /// Changes to metrics, widest level first; the last one that matches wins.
    pub metrics_overrides: Vec<MetricsOverride>,
    /// Names of providers for metrics, from the most specific level that names any; empty is the
    /// mesh's default.
    pub metrics_providers: Vec<String>,
    /// Access logs of the most specific level that has any; `None` means that no object says
    /// anything, so that only the mesh's settings count.
    pub access_logging: Option<Vec<AccessLogging>>,
    /// The objects that count, widest first.
    pub objects: Vec<Arc<Object<Telemetry>>>,
}

/// What a workload reports: the objects of the root namespace, its namespace and itself in this
/// order; of several without a selector in one namespace the oldest.
#[must_use]
pub fn telemetry(snapshot: &MeshSnapshot, subject: Subject<'_>) -> EffectiveTelemetry {
    let mut objects: Vec<(Reach, &Arc<Object<Telemetry>>)> = Vec::new();
    for object in &snapshot.telemetries {
        let namespace = &object.meta.namespace;
        let Some(found) = reach(snapshot, namespace, object.spec.selector.as_ref(), subject) else {
            continue;
        };
        let repeated = found != Reach::Workload && objects.iter().any(|(other, _)| *other == found);
        if !repeated {
            objects.push((found, object));
        }
    }
    objects.sort_by_key(|(reach, _)| *reach);
    let mut effective = EffectiveTelemetry::default();
    for (_, object) in objects {
        fold(&mut effective, &object.spec);
        effective.objects.push(Arc::clone(object));
    }
    effective
}

fn fold(effective: &mut EffectiveTelemetry, telemetry: &Telemetry) {
    if let Some(tracing) = &telemetry.tracing {
        let target = &mut effective.tracing;
        if !tracing.providers.is_empty() {
            target.providers.clone_from(&tracing.providers);
        }
        if tracing.mode != TelemetryMode::ClientAndServer {
            target.mode = tracing.mode;
        }
        target.random_sampling = tracing.random_sampling.or(target.random_sampling);
    }
    for Metrics { providers, overrides, .. } in &telemetry.metrics {
        if !providers.is_empty() {
            effective.metrics_providers.clone_from(providers);
        }
        effective.metrics_overrides.extend(overrides.iter().cloned());
    }
    if !telemetry.access_logging.is_empty() {
        let mut entries = telemetry.access_logging.clone();
        // An entry that names no provider keeps those of the level above.
        let above = effective.access_logging.as_deref().unwrap_or_default();
        let inherited: Vec<String> =
            above.iter().flat_map(|entry| entry.providers.iter().cloned()).collect();
        for entry in entries.iter_mut().filter(|entry| entry.providers.is_empty()) {
            entry.providers.clone_from(&inherited);
        }
        effective.access_logging = Some(entries);
    }
}
