//! What active checks say of an instance: the state machine, without doing any check.
//!
//! Source: Envoy, "Health checking", with the rules of its first check.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use iako_proxy_config::{Cluster, Endpoint, HealthCheck, HealthStatus};

use crate::{BalancedEndpoint, ClusterState, EndpointState};

/// What is wrong with an instance, each fact apart. Shown by the admin page `/clusters`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HealthFlags(u32);

impl HealthFlags {
    /// It fails its active checks.
    pub const FAILED_CHECK: Self = Self(1);
    /// It passes them and says that it is degraded.
    pub const DEGRADED_CHECK: Self = Self(1 << 1);
    /// It was not checked yet, and does not count until then.
    pub const PENDING_CHECK: Self = Self(1 << 2);
    /// Its last check had no answer in time.
    pub const CHECK_TIMEOUT: Self = Self(1 << 3);
    /// It asked to be left alone at once (`x-envoy-immediate-health-check-fail`).
    pub const EXCLUDED: Self = Self(1 << 4);
    /// Discovery no longer names it; it stays while it passes its checks.
    pub const PENDING_REMOVAL: Self = Self(1 << 5);

    /// Whether all of these hold.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These as well.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// But not these.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// The flags of an instance, read on every choice that is compiled anew and written by its checks.
#[derive(Debug, Default)]
pub(crate) struct FlagCell(AtomicU32);

impl FlagCell {
    pub(crate) fn load(&self) -> HealthFlags {
        HealthFlags(self.0.load(Relaxed))
    }

    /// Sets some and clears others; whether that changed anything.
    pub(crate) fn change(&self, set: HealthFlags, clear: HealthFlags) -> bool {
        let change = |flags: u32| Some((flags & !clear.0) | set.0);
        let before = self.0.fetch_update(Relaxed, Relaxed, change);
        before.is_ok_and(|before| (before & !clear.0) | set.0 != before)
    }
}

/// The state of an instance: a new one of a checked cluster takes no traffic before its first check.
/// One that is known keeps what is known, and where there are no checks nothing is.
pub(crate) fn beginning(
    cluster: &Cluster,
    endpoint: &Endpoint,
    state: &ClusterState,
) -> Arc<EndpointState> {
    let checked = cluster.health_check.is_some() && !endpoint.check.disabled;
    let initial = match (checked, cluster.membership.ignore_new_until_checked) {
        (false, _) => HealthFlags::default(),
        (true, false) => HealthFlags::FAILED_CHECK,
        (true, true) => HealthFlags::FAILED_CHECK.with(HealthFlags::PENDING_CHECK),
    };
    let instance = state.endpoint_or(&endpoint.address, initial);
    if !checked {
        instance.change_health(HealthFlags::default(), HealthFlags(u32::MAX));
    }
    instance
}

/// Whether an instance takes traffic, all facts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It takes its full share.
    Healthy,
    /// It takes traffic when the healthy ones are not enough.
    Degraded,
    /// It takes none.
    Unhealthy,
}

impl BalancedEndpoint {
    /// Whether it takes traffic: what the control plane says, active checks, and ejection.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let flags = self.state.health();
        let told = self.endpoint.health;
        let is_out = matches!(told, HealthStatus::Unhealthy | HealthStatus::Draining)
            || flags.has(HealthFlags::FAILED_CHECK)
            || self.state.is_ejected();
        if is_out {
            Condition::Unhealthy
        } else if told == HealthStatus::Degraded || flags.has(HealthFlags::DEGRADED_CHECK) {
            Condition::Degraded
        } else {
            Condition::Healthy
        }
    }

    /// Whether it is left out of the counts that panic is decided by: it is new and unchecked, it
    /// asked to be left alone, or it drains.
    #[must_use]
    pub fn is_excluded(&self) -> bool {
        let flags = self.state.health();
        flags.has(HealthFlags::PENDING_CHECK)
            || flags.has(HealthFlags::EXCLUDED)
            || self.endpoint.health == HealthStatus::Draining
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckResult {
    /// The instance is well.
    Passed {
        /// It says that it is degraded (`x-envoy-degraded`).
        degraded: bool,
    },
    /// It is not.
    Failed {
        /// How that showed.
        cause: CheckFailure,
        /// Whether it has to fail as often as the threshold says although it answered.
        retriable: bool,
    },
}

/// How a failure showed. Source: `envoy.data.core.v3.HealthCheckFailureType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckFailure {
    /// It answered that it is not well.
    Active,
    /// A response to somebody's request said so.
    Passive,
    /// There was no connection, or it was lost.
    Network,
    /// There was no answer in time.
    NetworkTimeout,
}

impl CheckFailure {
    /// The name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Passive => "PASSIVE",
            Self::Network => "NETWORK",
            Self::NetworkTimeout => "NETWORK_TIMEOUT",
        }
    }

    const fn is_network(self) -> bool {
        matches!(self, Self::Network | Self::NetworkTimeout)
    }
}

/// Whether a result changed what the instance counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// No.
    Unchanged,
    /// Yes.
    Changed,
    /// Not yet: more results of this kind are needed.
    Pending,
}

/// Something worth writing down. Source: `envoy.data.core.v3.HealthCheckEvent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckEvent {
    /// It takes no traffic from now on.
    Ejected(CheckFailure),
    /// It does from now on; whether that was its first check.
    Added {
        /// Whether it was the first.
        first: bool,
    },
    /// A check passed, and that is no news; only where every success is written.
    Passed,
    /// A check failed; only the first, or where every failure is written.
    Failed {
        /// How.
        cause: CheckFailure,
        /// Whether it was the first.
        first: bool,
    },
    /// It is degraded from now on.
    Degraded,
    /// It no longer is.
    NoLongerDegraded,
}

/// What follows from a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckVerdict {
    /// Flags to set.
    pub set: HealthFlags,
    /// Flags to clear.
    pub clear: HealthFlags,
    /// Whether that is a change.
    pub transition: Transition,
    /// Whether the check passed.
    pub passed: bool,
    /// What is written down, in order.
    pub events: Vec<CheckEvent>,
}

/// What is remembered of one instance between its checks.
#[derive(Debug, Clone, Default)]
pub struct CheckHistory {
    checked: bool,
    passed_in_a_row: u32,
    failed_in_a_row: u32,
}

impl CheckHistory {
    /// Whether a result has come.
    #[must_use]
    pub const fn is_checked(&self) -> bool {
        self.checked
    }

    /// Takes a result. `flags` is what the instance has now.
    pub fn record(
        &mut self,
        check: &HealthCheck,
        flags: HealthFlags,
        result: CheckResult,
    ) -> CheckVerdict {
        let mut verdict = match result {
            CheckResult::Passed { .. } => self.passed(check, flags, result),
            CheckResult::Failed { cause, .. } => self.failed(check, flags, (cause, result)),
        };
        if flags.has(HealthFlags::PENDING_CHECK) {
            verdict.clear = verdict.clear.with(HealthFlags::PENDING_CHECK);
            // Even where it did not come to count as well or unwell, it now counts at all.
            verdict.transition = Transition::Changed;
        }
        self.checked = true;
        verdict
    }

    fn passed(
        &mut self,
        check: &HealthCheck,
        flags: HealthFlags,
        result: CheckResult,
    ) -> CheckVerdict {
        let degraded = result == CheckResult::Passed { degraded: true };
        let mut verdict = CheckVerdict { passed: true, ..CheckVerdict::NOTHING };
        self.failed_in_a_row = 0;
        if flags.has(HealthFlags::FAILED_CHECK) {
            self.passed_in_a_row = self.passed_in_a_row.saturating_add(1);
            // The very first check decides alone, so that a proxy is soon of use.
            if !self.checked || self.passed_in_a_row == check.healthy_threshold.get() {
                verdict.clear = HealthFlags::FAILED_CHECK
                    .with(HealthFlags::CHECK_TIMEOUT)
                    .with(HealthFlags::EXCLUDED);
                verdict.transition = Transition::Changed;
                verdict.events.push(CheckEvent::Added { first: !self.checked });
            } else {
                verdict.transition = Transition::Pending;
            }
        }
        if check.events.all_successes && verdict.events.is_empty() {
            verdict.events.push(CheckEvent::Passed);
        }
        if degraded != flags.has(HealthFlags::DEGRADED_CHECK) {
            if degraded {
                verdict.set = HealthFlags::DEGRADED_CHECK;
                verdict.events.push(CheckEvent::Degraded);
            } else {
                verdict.clear = verdict.clear.with(HealthFlags::DEGRADED_CHECK);
                verdict.events.push(CheckEvent::NoLongerDegraded);
            }
            if verdict.transition == Transition::Unchanged {
                verdict.transition = Transition::Changed;
            }
        }
        verdict
    }

    fn failed(
        &mut self,
        check: &HealthCheck,
        flags: HealthFlags,
        (cause, result): (CheckFailure, CheckResult),
    ) -> CheckVerdict {
        let retriable = result == CheckResult::Failed { cause, retriable: true };
        let mut verdict = CheckVerdict::NOTHING;
        self.passed_in_a_row = 0;
        if !flags.has(HealthFlags::FAILED_CHECK) {
            self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            let says_so = !retriable && !cause.is_network();
            if says_so || self.failed_in_a_row == check.unhealthy_threshold.get() {
                verdict.set = HealthFlags::FAILED_CHECK;
                verdict.transition = Transition::Changed;
                verdict.events.push(CheckEvent::Ejected(cause));
            } else {
                verdict.transition = Transition::Pending;
            }
        }
        if cause == CheckFailure::NetworkTimeout {
            verdict.set = verdict.set.with(HealthFlags::CHECK_TIMEOUT);
        } else {
            verdict.clear = HealthFlags::CHECK_TIMEOUT;
        }
        if !self.checked || check.events.all_failures {
            verdict.events.push(CheckEvent::Failed { cause, first: !self.checked });
        }
        verdict
    }
}

impl CheckVerdict {
    const NOTHING: Self = Self {
        set: HealthFlags(0),
        clear: HealthFlags(0),
        transition: Transition::Unchanged,
        passed: false,
        events: Vec::new(),
    };
}

/// Whether a cluster ever had a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// It had none: nobody minds what is known late.
    Never,
    /// It had one.
    Some,
}

/// How long to wait until the next check. `draw` gives even numbers from 0 to below 1.
#[must_use]
pub fn next_check(
    check: &HealthCheck,
    verdict: &CheckVerdict,
    traffic: Traffic,
    draw: &mut dyn FnMut() -> f64,
) -> Duration {
    let times = &check.intervals;
    let pending = verdict.transition == Transition::Pending;
    let unhealthy = times.unhealthy.unwrap_or(times.interval);
    let time = match (traffic, verdict.passed, pending) {
        (Traffic::Some, true, false) => times.interval,
        (Traffic::Some, true, true) => times.healthy_edge.unwrap_or(times.interval),
        (Traffic::Some, false, false) => unhealthy,
        (Traffic::Some, false, true) => times.unhealthy_edge.unwrap_or(unhealthy),
        (Traffic::Never, true, false) => times.no_traffic_healthy.unwrap_or(times.no_traffic),
        (Traffic::Never, ..) => times.no_traffic,
    };
    let share = f64::from(times.jitter_percent.parts_per_million()) / 1e6;
    let by_share = time.mul_f64(share * draw());
    time.saturating_add(by_share).saturating_add(times.jitter.mul_f64(draw()))
}

/// How long the very first check waits.
#[must_use]
pub fn first_check(check: &HealthCheck, draw: &mut dyn FnMut() -> f64) -> Duration {
    check.intervals.initial_jitter.mul_f64(draw())
}

/// Whether `segments` stand in `bytes`, one after the other.
#[must_use]
pub fn contains_in_order(bytes: &[u8], segments: &[Vec<u8>]) -> bool {
    let mut rest = bytes;
    segments.iter().all(|segment| {
        if segment.is_empty() {
            return true;
        }
        let found = rest.windows(segment.len()).position(|window| window == segment);
        let after = found.and_then(|at| rest.get(at.saturating_add(segment.len())..));
        rest = after.unwrap_or_default();
        after.is_some()
    })
}

impl EndpointState {
    /// What active checks found.
    #[must_use]
    pub fn health(&self) -> HealthFlags {
        self.flags.load()
    }

    /// Sets and clears flags; whether anything changed. Tell the cluster with
    /// [`ClusterState::health_changed`](crate::ClusterState::health_changed).
    pub fn change_health(&self, set: HealthFlags, clear: HealthFlags) -> bool {
        self.flags.change(set, clear)
    }
}

#[cfg(test)]
mod tests;
