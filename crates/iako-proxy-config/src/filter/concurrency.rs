//! How many requests may be under way, found out from how long they take.

use std::{num::NonZeroU32, time::Duration};

use iako_types::Percent;

use crate::Keyed;

/// Bounds how many requests are under way at once, by how long they take.
/// Source: `envoy.extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency`.
#[derive(Debug, Clone, PartialEq)]
pub struct AdaptiveConcurrency {
    /// Whether it counts at all. Envoy default: true.
    pub enabled: Keyed<bool>,
    /// What a request beyond the bound is answered; below 400 it is 503. Envoy default: 503.
    pub status: u16,
    /// How the bound is found.
    pub gradient: ConcurrencyGradient,
}

/// How the bound is found: by how much longer requests take than they would have to.
/// Source: `GradientControllerConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConcurrencyGradient {
    /// Which of the times of a while stands for all. Envoy default: 50 %.
    pub percentile: Percent,
    /// The largest bound. Envoy default: 1000.
    pub limit_max: NonZeroU32,
    /// The smallest bound, also while the least time is measured. Envoy default: 3.
    pub limit_min: NonZeroU32,
    /// How often the bound is found anew.
    pub update_interval: Duration,
    /// The time that a request has to take.
    pub least: LeastTime,
    /// How much longer a request may take before the bound falls. Envoy default: 25 %.
    pub buffer: Percent,
}

/// The time that a request has to take. Source: `MinimumRTTCalculationParams`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeastTime {
    /// This.
    Fixed(Duration),
    /// It is measured, while only few requests are let through.
    Measured {
        /// How long a measurement counts.
        interval: Duration,
        /// How much is added to that at most, by chance. Envoy default: 15 %.
        jitter: Percent,
        /// How many requests are measured. Envoy default: 50.
        requests: NonZeroU32,
    },
}
