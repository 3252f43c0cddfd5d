//! Setting aside instances that fail.
//!
//! Requests count what they see ([`Balancer::record`](crate::Balancer::record)), which may eject at
//! once; once an interval, [`Balancer::look`](crate::Balancer::look) compares instances with each
//! other and takes back those whose time is over.

mod window;

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use iako_proxy_config::OutlierDetection;
use iako_types::Percent;

use crate::{BalancedEndpoint, ClusterState, EndpointCounters, EndpointState};
use window::{Rates, Window};

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
        let add = |counter: &AtomicU64| {
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

/// An instance was found to be an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Why.
    pub cause: EjectionCause,
    /// What became of it.
    pub effect: EjectionEffect,
}

/// What became of an outlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EjectionEffect {
    /// It is set aside.
    Enforced {
        /// For how long, up to the next look.
        duration: Duration,
        /// How often it was ejected since it is known, this time included.
        times: u32,
        /// Time since it was taken back last; none when it never was.
        since_last: Option<Duration>,
    },
    /// It was only counted: the enforcing share left it out.
    NotEnforced,
    /// As many as may be are set aside already.
    Overflow,
}

/// Why an instance is an outlier. Source: `envoy.data.cluster.v3.OutlierEjectionType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EjectionCause {
    /// Server errors in a row.
    Consecutive5xx,
    /// Gateway failures in a row.
    ConsecutiveGatewayFailure,
    /// Failures to reach it in a row.
    ConsecutiveLocalOriginFailure,
    /// Far fewer good answers than the others.
    SuccessRate,
    /// Far fewer successes in reaching it than at the others.
    LocalOriginSuccessRate,
    /// Too many bad answers.
    FailurePercentage,
    /// Too many failures to reach it.
    FailurePercentageLocalOrigin,
}

impl EjectionCause {
    /// The name in statistics: `ejections_detected_<name>`.
    #[must_use]
    pub const fn stat(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            Self::SuccessRate => "success_rate",
            Self::LocalOriginSuccessRate => "local_origin_success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::FailurePercentageLocalOrigin => "failure_percentage_local_origin",
        }
    }

    /// The name in events. Source: `envoy.data.cluster.v3.OutlierEjectionType`.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "CONSECUTIVE_5XX",
            Self::ConsecutiveGatewayFailure => "CONSECUTIVE_GATEWAY_FAILURE",
            Self::ConsecutiveLocalOriginFailure => "CONSECUTIVE_LOCAL_ORIGIN_FAILURE",
            Self::SuccessRate => "SUCCESS_RATE",
            Self::LocalOriginSuccessRate => "SUCCESS_RATE_LOCAL_ORIGIN",
            Self::FailurePercentage => "FAILURE_PERCENTAGE",
            Self::FailurePercentageLocalOrigin => "FAILURE_PERCENTAGE_LOCAL_ORIGIN",
        }
    }

    const fn enforcing(self, policy: &OutlierDetection) -> Percent {
        let shares = &policy.enforcing;
        match self {
            Self::Consecutive5xx => shares.consecutive_5xx,
            Self::ConsecutiveGatewayFailure => shares.consecutive_gateway_failure,
            Self::ConsecutiveLocalOriginFailure => shares.consecutive_local_origin_failure,
            Self::SuccessRate => shares.success_rate,
            Self::LocalOriginSuccessRate => shares.local_origin_success_rate,
            Self::FailurePercentage => shares.failure_percentage,
            Self::FailurePercentageLocalOrigin => shares.failure_percentage_local_origin,
        }
    }
}

/// What outlier detection remembers of an instance.
#[derive(Debug, Default)]
pub(crate) struct OutlierMemory {
    /// When the ejection began, in nanoseconds of the cluster's time.
    ejected_at: AtomicU64,
    /// When it was taken back last; 0 when it never was.
    returned_at: AtomicU64,
    /// How much longer this ejection lasts, in nanoseconds.
    jitter: AtomicU64,
    /// Ejections since it is known.
    ejections: AtomicU32,
    /// How many times the base time an ejection lasts; falls while it is well.
    backoff: AtomicU32,
    consecutive_5xx: AtomicU32,
    consecutive_gateway: AtomicU32,
    consecutive_local: AtomicU32,
    answers: Window,
    connections: Window,
}

impl OutlierMemory {
    pub(crate) fn ejections(&self) -> u32 {
        self.ejections.load(Relaxed)
    }

    /// Its share of good answers in the last interval, in percent; none when it had too few requests.
    pub(crate) fn success_rate(&self) -> Option<f64> {
        self.answers.shown()
    }

    /// The same for reaching it at all.
    pub(crate) fn local_success_rate(&self) -> Option<f64> {
        self.connections.shown()
    }

    fn forget_rows(&self) {
        for row in [&self.consecutive_5xx, &self.consecutive_gateway, &self.consecutive_local] {
            row.store(0, Relaxed);
        }
    }
}

/// An instance was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Return {
    /// Its place in [`Balancer::endpoints`](crate::Balancer::endpoints).
    pub place: usize,
    /// How often it was ejected since it is known.
    pub times: u32,
    /// How long it was away.
    pub away: Duration,
}

/// What a look at all instances found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// Who was taken back.
    pub returns: Vec<Return>,
    /// Who was found to be an outlier, by place, with its rate of success in percent.
    pub ejections: Vec<(usize, Ejection, RateFacts)>,
}

/// What an instance was compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateFacts {
    /// Its own rate of success, in percent.
    pub rate: f64,
    /// The mean of all.
    pub average: f64,
    /// Below this it is an outlier.
    pub threshold: f64,
}

/// Outlier detection of one cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutlierDetector<'a> {
    pub(crate) policy: &'a OutlierDetection,
    pub(crate) cluster: &'a ClusterState,
    pub(crate) endpoints: &'a [BalancedEndpoint],
}

impl OutlierDetector<'_> {
    /// Counts how a try ended; tells of what was found. A response can be one too many in two ways.
    pub(crate) fn record(
        &self,
        state: &EndpointState,
        outcome: Outcome,
        now: Instant,
        draw: &mut dyn FnMut() -> f64,
    ) -> [Option<Ejection>; 2] {
        let split = self.policy.split_local_origin;
        let memory = &state.outlier;
        let causes = match outcome {
            Outcome::Connected => {
                self.reached(memory);
                [None, None]
            }
            Outcome::Response(status) => {
                self.reached(memory);
                self.answered(memory, status)
            }
            Outcome::LocalFailure | Outcome::Timeout if split => {
                if self.compares_connections() {
                    memory.connections.bad();
                }
                let limit = self.policy.consecutive_local_origin_failure;
                let reached = reaches(&memory.consecutive_local, limit);
                [reached.then_some(EjectionCause::ConsecutiveLocalOriginFailure), None]
            }
            // Not counted apart, they stand for 503 and 504.
            Outcome::LocalFailure => self.answered(memory, 503),
            Outcome::Timeout => self.answered(memory, 504),
        };
        // Somebody who is out already is not found again.
        let is_out = state.is_ejected();
        causes
            .map(|cause| cause.filter(|_| !is_out).map(|cause| self.found(state, cause, now, draw)))
    }

    fn reached(&self, memory: &OutlierMemory) {
        if self.policy.split_local_origin {
            if self.compares_connections() {
                memory.connections.good();
            }
            clear(&memory.consecutive_local);
        }
    }

    /// Whether shares of good answers are acted upon; else they are not counted, for all workers
    /// would write the same place at every request.
    fn compares_answers(&self) -> bool {
        let shares = &self.policy.enforcing;
        shares.success_rate != Percent::ZERO || shares.failure_percentage != Percent::ZERO
    }

    fn compares_connections(&self) -> bool {
        let shares = &self.policy.enforcing;
        shares.local_origin_success_rate != Percent::ZERO
            || shares.failure_percentage_local_origin != Percent::ZERO
    }

    fn answered(&self, memory: &OutlierMemory, status: u16) -> [Option<EjectionCause>; 2] {
        if self.compares_answers() {
            if status < 500 {
                memory.answers.good();
            } else {
                memory.answers.bad();
            }
        }
        if status < 500 {
            clear(&memory.consecutive_5xx);
            clear(&memory.consecutive_gateway);
            return [None, None];
        }
        let gateway = if (502..=504).contains(&status) {
            reaches(&memory.consecutive_gateway, self.policy.consecutive_gateway_failure)
        } else {
            clear(&memory.consecutive_gateway);
            false
        };
        let any = reaches(&memory.consecutive_5xx, self.policy.consecutive_5xx);
        [
            gateway.then_some(EjectionCause::ConsecutiveGatewayFailure),
            any.then_some(EjectionCause::Consecutive5xx),
        ]
    }

    /// Ejects an outlier, as far as limits and the enforcing share allow.
    fn found(
        &self,
        state: &EndpointState,
        cause: EjectionCause,
        now: Instant,
        draw: &mut dyn FnMut() -> f64,
    ) -> Ejection {
        let effect = if !self.has_room() {
            EjectionEffect::Overflow
        } else if !by_chance(cause.enforcing(self.policy), draw)
            || state.ejected.swap(true, Relaxed)
        {
            EjectionEffect::NotEnforced
        } else {
            self.eject(&state.outlier, now, draw)
        };
        Ejection { cause, effect }
    }

    fn eject(
        &self,
        memory: &OutlierMemory,
        now: Instant,
        draw: &mut dyn FnMut() -> f64,
    ) -> EjectionEffect {
        let at = self.cluster.nanos(now);
        memory.ejected_at.store(at, Relaxed);
        let times = memory.ejections.fetch_add(1, Relaxed).saturating_add(1);
        let base = self.policy.base_ejection_time;
        let backoff = memory.backoff.load(Relaxed);
        // It stops growing where the limit is passed for certain.
        let longest = self.policy.ejection_time_max.saturating_add(base);
        let grows = base.saturating_mul(backoff) < longest;
        let backoff = if grows { backoff.saturating_add(1) } else { backoff };
        memory.backoff.store(backoff, Relaxed);
        let jitter = self.policy.ejection_time_jitter.mul_f64(draw());
        memory.jitter.store(nanos(jitter), Relaxed);
        self.cluster.health_changed();
        let returned = memory.returned_at.load(Relaxed);
        EjectionEffect::Enforced {
            duration: self.duration(backoff).saturating_add(jitter),
            times,
            since_last: (returned != 0).then(|| Duration::from_nanos(at.saturating_sub(returned))),
        }
    }

    /// Whether one more may be set aside.
    fn has_room(&self) -> bool {
        let ejected = self.endpoints.iter().filter(|one| one.state.is_ejected()).count();
        if ejected == 0 && self.policy.always_eject_one {
            return true;
        }
        let share = u64::from(self.policy.ejection_max.parts_per_million());
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let wanted = count(ejected).saturating_add(1).saturating_mul(1_000_000);
        wanted <= count(self.endpoints.len()).saturating_mul(share)
    }

    fn duration(&self, backoff: u32) -> Duration {
        let base = self.policy.base_ejection_time;
        base.saturating_mul(backoff).min(self.policy.ejection_time_max.max(base))
    }

    /// Takes back instances whose ejection is over, forgives one past ejection of each that was well,
    /// and compares them. Call it once an interval.
    pub(crate) fn look(&self, now: Instant, draw: &mut dyn FnMut() -> f64) -> Look {
        let mut look = Look::default();
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.state.is_ejected() {
                look.returns.extend(self.take_back_if_due(place, endpoint, now));
            } else {
                // Well since the last look: one that returns just now is forgiven nothing yet.
                let backoff = &endpoint.state.outlier.backoff;
                backoff.store(backoff.load(Relaxed).saturating_sub(1), Relaxed);
            }
        }
        let answers = Rates::take(self.policy, self.endpoints, |memory| &memory.answers);
        let connections = Rates::take(self.policy, self.endpoints, |memory| &memory.connections);
        let found = answers
            .outliers(EjectionCause::SuccessRate, EjectionCause::FailurePercentage)
            .into_iter()
            .chain(connections.outliers(
                EjectionCause::LocalOriginSuccessRate,
                EjectionCause::FailurePercentageLocalOrigin,
            ));
        for (place, cause, facts) in found {
            let Some(endpoint) = self.endpoints.get(place) else { continue };
            if !endpoint.state.is_ejected() {
                look.ejections.push((place, self.found(&endpoint.state, cause, now, draw), facts));
            }
        }
        look
    }

    fn take_back_if_due(
        &self,
        place: usize,
        endpoint: &BalancedEndpoint,
        now: Instant,
    ) -> Option<Return> {
        let memory = &endpoint.state.outlier;
        let over = self
            .duration(memory.backoff.load(Relaxed))
            .saturating_add(Duration::from_nanos(memory.jitter.load(Relaxed)));
        let away = self.cluster.nanos(now).saturating_sub(memory.ejected_at.load(Relaxed));
        if !endpoint.state.is_ejected() || away < nanos(over) {
            return None;
        }
        self.take_back(place, endpoint, now)
    }

    /// Takes an instance back at once; none when it was not away.
    pub(crate) fn take_back(
        &self,
        place: usize,
        endpoint: &BalancedEndpoint,
        now: Instant,
    ) -> Option<Return> {
        let (state, memory) = (&endpoint.state, &endpoint.state.outlier);
        if !state.ejected.swap(false, Relaxed) {
            return None;
        }
        memory.forget_rows();
        let now = self.cluster.nanos(now);
        memory.returned_at.store(now.max(1), Relaxed);
        self.cluster.health_changed();
        let away = now.saturating_sub(memory.ejected_at.load(Relaxed));
        Some(Return { place, times: memory.ejections(), away: Duration::from_nanos(away) })
    }
}

/// Whether a chance of this share comes true.
fn by_chance(share: Percent, draw: &mut dyn FnMut() -> f64) -> bool {
    match share {
        Percent::ZERO => false,
        Percent::HUNDRED => true,
        share => draw() * 1e6 < f64::from(share.parts_per_million()),
    }
}

/// Counts one more; whether that reaches the limit, in which case counting begins anew.
fn reaches(counter: &AtomicU32, limit: Option<NonZeroU32>) -> bool {
    let count = counter.fetch_add(1, Relaxed).saturating_add(1);
    let reached = limit.is_some_and(|limit| count >= limit.get());
    if reached {
        counter.store(0, Relaxed);
    }
    reached
}

/// Ends a row; written only where there is one, for most requests are good.
fn clear(row: &AtomicU32) {
    if row.load(Relaxed) != 0 {
        row.store(0, Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
