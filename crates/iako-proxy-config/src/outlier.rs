//! When instances that fail are set aside.

use std::{num::NonZeroU32, time::Duration};

use iako_types::Percent;

/// When to set an instance aside, and for how long.
/// Source: `envoy.config.cluster.v3.OutlierDetection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// Server errors in a row before ejection; `None` switches this off. Envoy default: 5.
    pub consecutive_5xx: Option<NonZeroU32>,
    /// Gateway failures (502, 503, 504) in a row; `None` switches this off. Envoy default: 5, which
    /// are counted but not enforced.
    pub consecutive_gateway_failure: Option<NonZeroU32>,
    /// Failures to reach the instance in a row, when they are counted apart. Envoy default: 5.
    pub consecutive_local_origin_failure: Option<NonZeroU32>,
    /// Whether failures to reach the instance are counted apart from its answers.
    pub split_local_origin: bool,
    /// Whose share of good answers is far below that of the others.
    pub success_rate: SuccessRate,
    /// Whose share of bad answers is too high.
    pub failure_percentage: FailurePercentage,
    /// How much of what is found is acted upon.
    pub enforcing: Enforcing,
    /// Time between looks at all instances. Envoy default: 10 s.
    pub interval: Duration,
    /// First ejection lasts this long; the n-th lasts n times as long. Envoy default: 30 s.
    pub base_ejection_time: Duration,
    /// No ejection lasts longer, but for the jitter. Envoy default: 300 s.
    pub ejection_time_max: Duration,
    /// By chance up to this, an ejection lasts longer. Envoy default: 0.
    pub ejection_time_jitter: Duration,
    /// No more than this share is set aside at once. Envoy default: 10 %.
    pub ejection_max: Percent,
    /// Whether one may be set aside however small that share is. Envoy default: false.
    pub always_eject_one: bool,
    /// Whether a good active check takes an instance back. Envoy default: true.
    pub uneject_on_good_check: bool,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: NonZeroU32::new(5),
            consecutive_gateway_failure: NonZeroU32::new(5),
            consecutive_local_origin_failure: NonZeroU32::new(5),
            split_local_origin: false,
            success_rate: SuccessRate::default(),
            failure_percentage: FailurePercentage::default(),
            enforcing: Enforcing::default(),
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            ejection_time_max: Duration::from_secs(300),
            ejection_time_jitter: Duration::ZERO,
            ejection_max: Percent::from_whole(10).unwrap_or(Percent::ZERO),
            always_eject_one: false,
            uneject_on_good_check: true,
        }
    }
}

/// An instance is an outlier when its share of good answers is below the mean of all by so many
/// standard deviations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessRate {
    /// Instances that must have enough requests. Envoy default: 5.
    pub hosts_min: u32,
    /// Requests in an interval that are enough. Envoy default: 100.
    pub requests_min: u32,
    /// Standard deviations, in thousandths. Envoy default: 1900.
    pub deviations_thousandths: u32,
}

impl Default for SuccessRate {
    fn default() -> Self {
        Self { hosts_min: 5, requests_min: 100, deviations_thousandths: 1900 }
    }
}

/// An instance is an outlier when its share of bad answers reaches a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailurePercentage {
    /// The share. Envoy default: 85 %.
    pub threshold: Percent,
    /// Instances that must have enough requests. Envoy default: 5.
    pub hosts_min: u32,
    /// Requests in an interval that are enough. Envoy default: 50.
    pub requests_min: u32,
}

impl Default for FailurePercentage {
    fn default() -> Self {
        let threshold = Percent::from_whole(85).unwrap_or(Percent::HUNDRED);
        Self { threshold, hosts_min: 5, requests_min: 50 }
    }
}

/// The share of outliers of each kind that are set aside; the others are only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforcing {
    /// Envoy default: 100 %.
    pub consecutive_5xx: Percent,
    /// Envoy default: 0.
    pub consecutive_gateway_failure: Percent,
    /// Envoy default: 100 %.
    pub consecutive_local_origin_failure: Percent,
    /// Envoy default: 100 %.
    pub success_rate: Percent,
    /// Envoy default: 100 %.
    pub local_origin_success_rate: Percent,
    /// Envoy default: 0.
    pub failure_percentage: Percent,
    /// Envoy default: 0.
    pub failure_percentage_local_origin: Percent,
}

impl Default for Enforcing {
    fn default() -> Self {
        Self {
            consecutive_5xx: Percent::HUNDRED,
            consecutive_gateway_failure: Percent::ZERO,
            consecutive_local_origin_failure: Percent::HUNDRED,
            success_rate: Percent::HUNDRED,
            local_origin_success_rate: Percent::HUNDRED,
            failure_percentage: Percent::ZERO,
            failure_percentage_local_origin: Percent::ZERO,
        }
    }
}
