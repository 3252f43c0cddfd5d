//! Setting aside instances that fail.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use iako_proxy_config::OutlierDetection;

use crate::{BalancedEndpoint, ClusterState, EndpointCounters, EndpointState};

/// How a try at an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status; for gRPC, the HTTP status that its own status stands for.
    Response(u16),
    /// There was no connection to it, or it was lost before an answer.
    LocalFailure,
    /// It did not answer in time.
    Timeout,
    /// A TCP connection to it was established.
    Connected,
}

impl Outcome {
    /// Counts itself in an instance's numbers.
    pub(crate) fn count(self, counters: &EndpointCounters) {
        let add = |counter: &std::sync::atomic::AtomicU64| {
            counter.fetch_add(1, Relaxed);
        };
        match self {
            Self::Response(status) if status < 500 => add(&counters.successes),
            Self::Response(_) | Self::LocalFailure => add(&counters.errors),
            Self::Timeout => {
                add(&counters.errors);
                add(&counters.timeouts);
            }
            Self::Connected => {}
        }
    }
}

/// An instance was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Why.
    pub cause: EjectionCause,
    /// For how long, up to the next look.
    pub duration: Duration,
    /// How often it was ejected lately, this time included.
    pub times: u32,
}

/// Why an instance was set aside. Source: `envoy.data.cluster.v3.OutlierEjectionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EjectionCause {
    /// Server errors in a row.
    Consecutive5xx,
    /// Gateway failures in a row.
    ConsecutiveGatewayFailure,
    /// Failures to reach it in a row.
    ConsecutiveLocalOriginFailure,
}

/// Outlier detection of one cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutlierDetector<'a> {
    pub(crate) policy: &'a OutlierDetection,
    pub(crate) cluster: &'a ClusterState,
    pub(crate) endpoints: &'a [BalancedEndpoint],
}

impl OutlierDetector<'_> {
    /// Counts how a try ended; ejects the instance when a limit is reached.
    pub(crate) fn record(
        &self,
        state: &EndpointState,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Ejection> {
        let split = self.policy.split_local_origin;
        let cause = match outcome {
            Outcome::Connected | Outcome::Response(0..500) => {
                state.consecutive_local.store(0, Relaxed);
                if outcome != Outcome::Connected {
                    state.consecutive_5xx.store(0, Relaxed);
                    state.consecutive_gateway.store(0, Relaxed);
                }
                None
            }
            Outcome::Response(status) => {
                state.consecutive_local.store(0, Relaxed);
                self.server_error(state, status)
            }
            Outcome::LocalFailure | Outcome::Timeout if split => {
                let limit = self.policy.consecutive_local_origin_failure;
                reaches(&state.consecutive_local, limit.map(std::num::NonZeroU32::get))
                    .then_some(EjectionCause::ConsecutiveLocalOriginFailure)
            }
            // Not counted apart, they stand for 503 and 504.
            Outcome::LocalFailure => self.server_error(state, 503),
            Outcome::Timeout => self.server_error(state, 504),
        };
        self.eject(state, cause?, now)
    }

    fn server_error(&self, state: &EndpointState, status: u16) -> Option<EjectionCause> {
        let limit = |limit: Option<std::num::NonZeroU32>| limit.map(std::num::NonZeroU32::get);
        let gateway_limit = limit(self.policy.consecutive_gateway_failure);
        if !(502..=504).contains(&status) {
            state.consecutive_gateway.store(0, Relaxed);
        } else if reaches(&state.consecutive_gateway, gateway_limit) {
            return Some(EjectionCause::ConsecutiveGatewayFailure);
        }
        reaches(&state.consecutive_5xx, limit(self.policy.consecutive_5xx))
            .then_some(EjectionCause::Consecutive5xx)
    }

    fn eject(&self, state: &EndpointState, cause: EjectionCause, now: Instant) -> Option<Ejection> {
        let ejected = self.endpoints.iter().filter(|endpoint| endpoint.state.is_ejected()).count();
        if ejected >= self.ejections_max() || state.ejected.swap(true, Relaxed) {
            return None;
        }
        let at = self.cluster.nanos(now);
        state.ejected_at.store(at, Relaxed);
        let times = state.ejections.fetch_add(1, Relaxed).saturating_add(1);
        let next_look = at.saturating_add(nanos(self.policy.interval)).max(1);
        // Somebody else's earlier look stays.
        let _earlier = self.cluster.next_look.compare_exchange(0, next_look, Relaxed, Relaxed);
        self.cluster.health_changed();
        Some(Ejection { cause, duration: self.duration(times), times })
    }

    /// How many may be ejected at once: the policy's share, but always one.
    fn ejections_max(&self) -> usize {
        let share = u64::from(self.policy.ejection_max.parts_per_million());
        let count = u64::try_from(self.endpoints.len()).unwrap_or(u64::MAX);
        usize::try_from(count.saturating_mul(share) / 1_000_000).unwrap_or(usize::MAX).max(1)
    }

    fn duration(&self, times: u32) -> Duration {
        let longest = self.policy.ejection_time_max.max(self.policy.base_ejection_time);
        self.policy.base_ejection_time.saturating_mul(times).min(longest)
    }

    /// Takes back instances whose ejection is over, once an interval; forgives one past ejection
    /// of the others for each interval.
    pub(crate) fn look(&self, now: Instant) {
        let due = self.cluster.next_look.load(Relaxed);
        let now = match due {
            0 => return,
            _ => self.cluster.nanos(now),
        };
        if now < due {
            return;
        }
        let interval = nanos(self.policy.interval).max(1);
        let next = now.saturating_add(interval);
        if self.cluster.next_look.compare_exchange(due, next, Relaxed, Relaxed).is_err() {
            return;
        }
        let intervals = (now.saturating_sub(due) / interval).saturating_add(1);
        let (mut changed, mut remembered) = (false, false);
        for endpoint in self.endpoints {
            let state = &endpoint.state;
            let ejections = state.ejections.load(Relaxed);
            if !state.is_ejected() {
                let forgiven = u32::try_from(intervals).unwrap_or(u32::MAX);
                state.ejections.store(ejections.saturating_sub(forgiven), Relaxed);
                remembered |= ejections > forgiven;
                continue;
            }
            remembered = true;
            let over = nanos(self.duration(ejections));
            if now >= state.ejected_at.load(Relaxed).saturating_add(over) {
                state.consecutive_5xx.store(0, Relaxed);
                state.consecutive_gateway.store(0, Relaxed);
                state.consecutive_local.store(0, Relaxed);
                state.ejected.store(false, Relaxed);
                changed = true;
            }
        }
        if !remembered {
            let _later = self.cluster.next_look.compare_exchange(next, 0, Relaxed, Relaxed);
        }
        if changed {
            self.cluster.health_changed();
        }
    }
}

/// Counts one more; whether that reaches the limit, in which case counting begins anew.
fn reaches(counter: &AtomicU32, limit: Option<u32>) -> bool {
    let count = counter.fetch_add(1, Relaxed).saturating_add(1);
    let reached = limit.is_some_and(|limit| count >= limit);
    if reached {
        counter.store(0, Relaxed);
    }
    reached
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
