//! Whether a failed try is repeated.

mod avoid;
mod strict;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use iako_proxy_config::{
    RateLimitedBackOff, ResetFormat, RetryConditions, RetryOn, RetryPolicy, Thresholds,
};
use smallvec::SmallVec;

use crate::{
    Balancer, BreakerGuard, Breakers, EndpointState, Headers, RequestFacts, header_matches,
    matching::header_texts, response_header_matches,
};

pub use avoid::Avoid;
use avoid::Tried;
pub use strict::{StrictProblem, strict_problem};

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
    /// The try takes too long, and goes on beside the next one.
    TryHedged,
}

impl std::fmt::Debug for TryEnd<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Response { status, .. } => write!(f, "Response({status})"),
            Self::ConnectFailed => f.write_str("ConnectFailed"),
            Self::Refused => f.write_str("Refused"),
            Self::Reset => f.write_str("Reset"),
            Self::TryTimeout => f.write_str("TryTimeout"),
            Self::TryHedged => f.write_str("TryHedged"),
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
        /// What decided on that.
        pace: Pace,
        /// The retry's place under the cluster's limit.
        guard: BreakerGuard,
    },
}

/// What decided on the pause before a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The policy's back-off.
    BackOff,
    /// The upstream asked for it.
    RateLimited,
}

/// What a decision depends on besides the try itself.
#[derive(Debug, Clone, Copy)]
pub struct RetryMoment<'a> {
    /// What is open to the cluster.
    pub breakers: &'a Arc<Breakers>,
    /// Its limits.
    pub limits: &'a Thresholds,
    /// Now.
    pub now: Instant,
    /// Seconds since 1970.
    pub unix_seconds: u64,
    /// Decides how long to wait.
    pub draw: u64,
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
    tried: Tried,
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
            tried: Tried::default(),
        };
        if facts.internal {
            state.read_headers(facts);
        }
        let is_wanted = policy.is_none_or(|policy| {
            let rules = &policy.request_headers;
            rules.is_empty() || rules.iter().any(|rule| header_matches(rule, head))
        });
        (is_wanted && !state.conditions.is_empty()).then_some(state)
    }

    fn read_headers(&mut self, facts: &RequestFacts<'_>) {
        let head = &facts.head;
        for (name, is_grpc) in [("x-envoy-retry-on", false), ("x-envoy-retry-grpc-on", true)] {
            for text in header_texts(head, name) {
                let words = text.split(',').filter_map(|word| RetryOn::from_word(word.trim()));
                let words = words.filter(|word| word.is_grpc() == is_grpc);
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

    /// Remembers that an instance was tried.
    pub fn tried(&mut self, endpoint: &Arc<EndpointState>) {
        self.tried.push(endpoint, self.policy);
    }

    /// What the next try should avoid among the instances of this moment; nothing unless the policy
    /// asks for it.
    #[must_use]
    pub fn avoid(&mut self, balancer: &Arc<Balancer>) -> Avoid {
        self.pass_members(std::slice::from_ref(balancer));
        self.avoid_in(0, balancer)
    }

    /// Finds out which priorities the next try leaves out, of a cluster or of those that it stands
    /// for. Once a try.
    pub fn pass_members(&mut self, members: &[Arc<Balancer>]) {
        if let Some(policy) = self.policy {
            self.tried.pass_priorities(policy, members);
        }
    }

    /// The priorities that the next try leaves out, of the cluster at a place.
    pub fn passed_priorities(&self, member: usize) -> impl Iterator<Item = u32> {
        self.tried.priorities_of(member)
    }

    /// What the next try avoids among the instances of the cluster at a place.
    #[must_use]
    pub fn avoid_in(&self, member: usize, balancer: &Balancer) -> Avoid {
        self.policy.map(|policy| self.tried.avoid(policy, member, balancer)).unwrap_or_default()
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

    /// Whether a try that ended so would be made again if retries were left: it is not the answer as
    /// long as another one may be better.
    #[must_use]
    pub fn is_failure(&self, end: &TryEnd<'_>) -> bool {
        self.named(end, TryTraces { request_written: true, ..TryTraces::default() })
    }

    /// What is done after a try that ended so.
    pub fn decide(
        &mut self,
        end: &TryEnd<'_>,
        traces: TryTraces,
        moment: &RetryMoment<'_>,
    ) -> RetryDecision {
        if let Err(reason) = self.allowed(end, traces) {
            return RetryDecision::Stop(reason);
        }
        // What overflows counts as made, as in Envoy.
        let nth = self.retries;
        self.retries = self.retries.saturating_add(1);
        let Ok(guard) = moment.breakers.retry(moment.limits, moment.now) else {
            return RetryDecision::Stop(StopReason::Overflow);
        };
        if self.policy.is_some_and(|policy| !policy.share.takes(moment.draw)) {
            return RetryDecision::Stop(StopReason::NotNamed);
        }
        let asked = match end {
            TryEnd::Response { headers, .. } => self.asked_pause(*headers, moment),
            TryEnd::ConnectFailed
            | TryEnd::Refused
            | TryEnd::Reset
            | TryEnd::TryTimeout
            | TryEnd::TryHedged => None,
        };
        match asked {
            Some(after) => RetryDecision::Retry { after, pace: Pace::RateLimited, guard },
            None => {
                let after = self.pause(nth, moment.draw);
                RetryDecision::Retry { after, pace: Pace::BackOff, guard }
            }
        }
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
            // A slow try says nothing about its end, so that no condition can name it.
            TryEnd::TryHedged => true,
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

    /// The pause that a response asks for, and by chance up to half of it more, so that those who
    /// were told the same do not all come back at once.
    fn asked_pause(&self, headers: &dyn Headers, moment: &RetryMoment<'_>) -> Option<Duration> {
        let rule = self.policy?.rate_limited.as_ref()?;
        let asked = asked_by(rule, headers, moment.unix_seconds)?;
        let millis = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
        let jitter = moment.draw.checked_rem(millis / 2).unwrap_or_default();
        Some(asked.saturating_add(Duration::from_millis(jitter)))
    }

    /// A random time below a bound that doubles with each retry.
    fn pause(&self, nth: u32, draw: u64) -> Duration {
        let back_off = self.policy.map(|policy| policy.back_off).unwrap_or_default();
        let factor = 1_u32.checked_shl(nth).unwrap_or(u32::MAX);
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
        TryEnd::Reset | TryEnd::TryTimeout | TryEnd::TryHedged => false,
    }
}

/// When a response wants to be asked again.
fn asked_by(rule: &RateLimitedBackOff, headers: &dyn Headers, unix: u64) -> Option<Duration> {
    let asked = rule.headers.iter().filter_map(|header| {
        let value = headers.value(header.name.as_str(), 0)?;
        let number: u64 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
        let seconds = match header.format {
            ResetFormat::Seconds => number,
            ResetFormat::UnixTimestamp => number.checked_sub(unix)?,
        };
        Some(Duration::from_secs(seconds))
    });
    let mut fitting = asked.filter(|asked| !asked.is_zero() && *asked <= rule.max);
    fitting.next()
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
