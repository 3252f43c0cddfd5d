//! Requests that are turned away while too many of them fail.

use std::{sync::Arc, time::Duration};

use iako_types::Percent;

use crate::Keyed;

/// Turns requests away while many of them fail, the more of them the more fail.
/// Source: `envoy.extensions.filters.http.admission_control.v3.AdmissionControl`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdmissionControl {
    /// Whether it counts at all. Envoy default: true.
    pub enabled: Keyed<bool>,
    /// What is a success. Settings that differ in nothing else go on with the same counts.
    pub criteria: Arc<SuccessCriteria>,
    /// How long requests are remembered, in whole seconds. Envoy default: 30 s.
    pub window: Duration,
    /// How soon many are turned away; what is below 1 counts as 1. Envoy default: 1.
    pub aggression: Keyed<f64>,
    /// The share of successes below which requests are turned away. Envoy default: 95 %.
    pub success_threshold: Keyed<Percent>,
    /// Requests a second below which none is turned away. Envoy default: 0.
    pub rate_threshold: Keyed<u32>,
    /// The largest share that is turned away. Envoy default: 80 %.
    pub rejected_max: Keyed<Percent>,
}

/// What is a success. Source: `AdmissionControl.SuccessCriteria`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuccessCriteria {
    /// Statuses, each range to below its second number; all below 500 when absent.
    pub http: Option<Vec<(u16, u16)>>,
    /// Statuses of gRPC; all that do not tell of a server in trouble when absent.
    pub grpc: Option<Vec<u32>>,
}
