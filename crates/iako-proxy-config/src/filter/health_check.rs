//! Answers to health checks.

use std::{collections::BTreeMap, time::Duration};

use iako_types::Percent;

use crate::HeaderMatch;

/// Answers health checks, or passes them on and tells who sent them.
/// Source: `envoy.extensions.filters.http.health_check.v3.HealthCheck`.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthAnswers {
    /// What is done with checks.
    pub mode: HealthMode,
    /// Which requests are checks: all of these hold.
    pub headers: Vec<HeaderMatch>,
}

/// What is done with health checks.
#[derive(Debug, Clone, PartialEq)]
pub enum HealthMode {
    /// They are answered here: healthy when every one of these clusters has at least this share of
    /// endpoints that take requests. Source: `HealthCheck.cluster_min_healthy_percentages`.
    Answer(BTreeMap<String, Percent>),
    /// They go on, and an answer counts for this long. Source: `HealthCheck.cache_time`. Envoy default:
    /// every check goes on.
    Pass(Option<Duration>),
}
