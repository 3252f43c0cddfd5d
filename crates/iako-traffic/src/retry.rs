//! Whether a failed try is repeated.

use std::{sync::Arc, time::Duration};

use iako_proxy_config::{RetryConditions, RetryOn, RetryPolicy, Thresholds};
use smallvec::SmallVec;

use crate::{
    BreakerGuard, Breakers, Headers, RequestFacts, matching::header_texts, response_header_matches,
};

/// How one try ended.
#[derive(Clone, Copy)]
pub enum TryEnd<'a> {
    /// The upstream answered; nothing of it was passed on yet.
    Response {
        /// The status.
        status: u16,
        /// The headers.
        headers: &'a dyn Headers,
    },
    /// There was no connection. Nothing was sent.
    ConnectFailed,
    /// The upstream said that it did not process the request: `REFUSED_STREAM`, or a stream
    /// beyond the last one that GOAWAY names.
    Refused,
    /// The connection or stream was lost.
    Reset,
    /// The try took too long.
    TryTimeout,
}

impl std::fmt::Debug for TryEnd<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Response { status, .. } => write!(f, "Response({status})"),
            Self::ConnectFailed => f.write_str("ConnectFailed"),
            Self::Refused => f.write_str("Refused"),
            Self::Reset => f.write_str("Reset"),
            Self::TryTimeout => f.write_str("TryTimeout"),
        }
    }
}

/// What of a try can not be undone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TryTraces {
    /// Whether any byte of the request was written to the upstream.
    pub request_written: bool,
    /// Whether a part of the request's body is gone, so that it cannot be sent again.
    pub body_lost: bool,
    /// Whether any byte of the response was passed on to the client.
    pub response_started: bool,
}

/// What is done after a failed try.
#[derive(Debug)]
pub enum RetryDecision {
    /// It is the answer.
    Stop(StopReason),
    /// Another try, after a pause. The guard is kept until that try ends.
    Retry {
        /// How long to wait.
        after: Duration,
        /// The retry's place under the cluster's limit.
        guard: BreakerGuard,
    },
}

/// Why a try is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It did not fail, or not in a way that the policy names.
    NotNamed,
    /// The request may have had its effect already, and repeating it could double that.
    Unsafe,
    /// The body is gone, or the response has begun.
    TooLate,
    /// As many retries as allowed were made. Envoy: flag `URX`.
    LimitReached,
    /// Too many retries to the cluster. Envoy: flag `UO`.
    Overflow,
}

/// The retries of one request.
///
/// A try is repeated only when that is safe: the method is idempotent (RFC 9110 §9.2.2), or nothing
/// was written to the upstream, or the upstream said that it did not process the request. No
/// policy widens this; default retries that repeat a POST have paid people twice.
#[derive(Debug)]
pub struct RetryState<'p> {
    policy: Option<&'p RetryPolicy>,
    conditions: RetryConditions,
    /// Statuses that an internal client named.
    extra_statuses: SmallVec<[u16; 2]>,
    /// Response headers that an internal client named.
    extra_headers: Vec<String>,
    retries_max: u32,
    retries: u32,
    idempotent: bool,
    tried: SmallVec<[u32; 4]>,
}

impl<'p> RetryState<'p> {
    /// The retries that a request may have, by its route and, from internal clients only, by its
    /// headers `x-envoy-retry-on`, `x-envoy-retry-grpc-on`, `x-envoy-max-retries`,
    /// `x-envoy-retriable-status-codes` and `x-envoy-retriable-header-names`. None when none.
    #[must_use]
    pub fn new(policy: Option<&'p RetryPolicy>, facts: &RequestFacts<'_>) -> Option<Self> {
        let head = &facts.head;
        let idempotent =
            matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE");
        let mut state = Self {
            policy,
            conditions: policy.map(|policy| policy.conditions).unwrap_or_default(),
            extra_statuses: SmallVec::new(),
            extra_headers: Vec::new(),
            retries_max: policy.map_or(1, |policy| policy.retries_max),
            retries: 0,
            idempotent,
            tried: SmallVec::new(),
        };
        if facts.internal {
            state.read_headers(facts);
        }
        (!state.conditions.is_empty() && state.retries_max > 0).then_some(state)
    }

    fn read_headers(&mut self, facts: &RequestFacts<'_>) {
        let head = &facts.head;
        for name in ["x-envoy-retry-on", "x-envoy-retry-grpc-on"] {
            for text in header_texts(head, name) {
                let words = text.split(',').filter_map(|word| RetryOn::from_word(word.trim()));
                self.conditions = words.fold(self.conditions, RetryConditions::with);
            }
        }
        if let Some(max) = head.text("x-envoy-max-retries").and_then(|text| text.parse().ok()) {
            self.retries_max = max;
        }
        for text in header_texts(head, "x-envoy-retriable-status-codes") {
            let statuses = text.split(',').filter_map(|status| status.trim().parse::<u16>().ok());
            self.extra_statuses.extend(statuses);
        }
        for text in header_texts(head, "x-envoy-retriable-header-names") {
            let names = text.split(',').map(|name| name.trim().to_ascii_lowercase());
            self.extra_headers.extend(names);
        }
    }

    /// Remembers that an instance was tried, by [`crate::Pick::place`].
    pub fn tried(&mut self, place: u32) {
        self.tried.push(place);
    }

    /// Instances that the next try should avoid; none unless the policy says so. Places count for
    /// one balancer only: forget them with [`Self::forget_tried`] when it was replaced.
    #[must_use]
    pub fn excluded(&self) -> &[u32] {
        let avoids = self.policy.is_some_and(|policy| policy.avoid_previous_hosts);
        if avoids { &self.tried } else { &[] }
    }

    /// Forgets which instances were tried.
    pub fn forget_tried(&mut self) {
        self.tried.clear();
    }

    /// Retries made so far.
    #[must_use]
    pub const fn retries(&self) -> u32 {
        self.retries
    }

    /// Whether a further try may be asked for at all; when not, a body need not be kept.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        self.retries < self.retries_max
    }

    /// What is done after a try that ended so. `draw` decides how long to wait.
    pub fn decide(
        &mut self,
        end: &TryEnd<'_>,
        traces: TryTraces,
        breakers: (&Arc<Breakers>, &Thresholds),
        draw: u64,
    ) -> RetryDecision {
        if let Err(reason) = self.allowed(end, traces) {
            return RetryDecision::Stop(reason);
        }
        let (breakers, limits) = breakers;
        let Ok(guard) = breakers.retry(limits) else {
            return RetryDecision::Stop(StopReason::Overflow);
        };
        let after = self.pause(draw);
        self.retries = self.retries.saturating_add(1);
        RetryDecision::Retry { after, guard }
    }

    fn allowed(&self, end: &TryEnd<'_>, traces: TryTraces) -> Result<(), StopReason> {
        if !self.named(end, traces) {
            return Err(StopReason::NotNamed);
        }
        if traces.body_lost || traces.response_started {
            return Err(StopReason::TooLate);
        }
        if !(self.idempotent || !traces.request_written || not_processed(end)) {
            return Err(StopReason::Unsafe);
        }
        if self.may_retry() { Ok(()) } else { Err(StopReason::LimitReached) }
    }

    /// Whether the policy names such an end.
    fn named(&self, end: &TryEnd<'_>, traces: TryTraces) -> bool {
        let on = |condition| self.conditions.contains(condition);
        let lost = on(RetryOn::FiveXx) || on(RetryOn::GatewayError) || on(RetryOn::Reset);
        match end {
            TryEnd::Response { status, headers } => self.names_response(*status, *headers),
            TryEnd::ConnectFailed => {
                lost || on(RetryOn::ConnectFailure) || on(RetryOn::ResetBeforeRequest)
            }
            TryEnd::Refused => {
                lost || on(RetryOn::RefusedStream)
                    || (on(RetryOn::ResetBeforeRequest) && !traces.request_written)
            }
            TryEnd::Reset => lost || (on(RetryOn::ResetBeforeRequest) && !traces.request_written),
            TryEnd::TryTimeout => lost,
        }
    }

    fn names_response(&self, status: u16, headers: &dyn Headers) -> bool {
        let on = |condition| self.conditions.contains(condition);
        // A rate limiter's answer is repeated only when asked for by name.
        if headers.value("x-envoy-ratelimited", 0).is_some() {
            return on(RetryOn::EnvoyRatelimited);
        }
        let listed = |status: u16| {
            self.extra_statuses.contains(&status)
                || self.policy.is_some_and(|policy| policy.status_codes.contains(&status))
        };
        (on(RetryOn::FiveXx) && status >= 500)
            || (on(RetryOn::GatewayError) && (502..=504).contains(&status))
            || (on(RetryOn::Retriable4xx) && status == 409)
            || (on(RetryOn::RetriableStatusCodes) && listed(status))
            || (on(RetryOn::RetriableHeaders) && self.names_header(headers))
            || grpc_condition(headers).is_some_and(on)
    }

    fn names_header(&self, headers: &dyn Headers) -> bool {
        let own = self.policy.map_or(&[][..], |policy| &policy.headers);
        own.iter().any(|rule| response_header_matches(rule, headers))
            || self.extra_headers.iter().any(|name| headers.value(name, 0).is_some())
    }

    /// A random time below a bound that doubles with each retry.
    fn pause(&self, draw: u64) -> Duration {
        let back_off = self.policy.map(|policy| policy.back_off).unwrap_or_default();
        let factor = 1_u32.checked_shl(self.retries).unwrap_or(u32::MAX);
        let bound = back_off.base.saturating_mul(factor).min(back_off.max);
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(draw.checked_rem(nanos).unwrap_or_default())
    }
}

/// Whether the upstream said that it did not process the request: it refused the stream, or a
/// proxy answered in its place because of a limit.
fn not_processed(end: &TryEnd<'_>) -> bool {
    match end {
        TryEnd::Refused | TryEnd::ConnectFailed => true,
        TryEnd::Response { headers, .. } => ["x-envoy-ratelimited", "x-envoy-overloaded"]
            .iter()
            .any(|name| headers.value(name, 0).is_some()),
        TryEnd::Reset | TryEnd::TryTimeout => false,
    }
}

/// The condition that a gRPC status in the response's head meets.
fn grpc_condition(headers: &dyn Headers) -> Option<RetryOn> {
    match headers.value("grpc-status", 0)? {
        b"1" => Some(RetryOn::Cancelled),
        b"4" => Some(RetryOn::DeadlineExceeded),
        b"8" => Some(RetryOn::ResourceExhausted),
        b"13" => Some(RetryOn::Internal),
        b"14" => Some(RetryOn::Unavailable),
        _ => None,
    }
}
