//! When and how a failed try is repeated.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use iako_types::Percent;

use crate::{HeaderMatch, HeaderName};

/// When a failed try is repeated. Source: `envoy.config.route.v3.RetryPolicy`.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// After which failures.
    pub conditions: RetryConditions,
    /// Statuses for [`RetryOn::RetriableStatusCodes`].
    pub status_codes: Vec<u16>,
    /// Response headers for [`RetryOn::RetriableHeaders`].
    pub headers: Vec<HeaderMatch>,
    /// Which requests are tried again at all: those that meet one of these; every one when empty.
    pub request_headers: Vec<HeaderMatch>,
    /// The share of tries that may be repeated at all. Everything unless the runtime says less
    /// (`upstream.use_retry`); nothing that is sent names it.
    pub share: Percent,
    /// How often beyond the first try. Envoy default: 1.
    pub retries_max: u32,
    /// Longest time of one try; the route's timeout when absent.
    pub per_try_timeout: Option<Duration>,
    /// Longest silence of one try; none when absent.
    pub per_try_idle_timeout: Option<Duration>,
    /// Time between tries.
    pub back_off: BackOff,
    /// Time between tries as the upstream asks for it, where it does; never when absent.
    pub rate_limited: Option<RateLimitedBackOff>,
    /// Whether instances that were tried are passed over. Envoy default: false.
    pub avoid_previous_hosts: bool,
    /// Whether instances are passed over whose metadata says `canary` under `envoy.lb`.
    /// Envoy default: false.
    pub avoid_canary_hosts: bool,
    /// Instances are passed over that have all of one of these under `envoy.lb`.
    /// Source: `envoy.extensions.retry.host.omit_host_metadata.v3`.
    pub avoid_hosts_with: Vec<BTreeMap<String, String>>,
    /// How often another instance is looked for. Envoy default: 1.
    pub host_selection_attempts_max: NonZeroU32,
    /// After this many tries, and each as many again, the priorities of the instances that were
    /// tried are left out until none is left; never when absent.
    pub previous_priorities: Option<NonZeroU32>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            conditions: RetryConditions::default(),
            status_codes: Vec::new(),
            headers: Vec::new(),
            request_headers: Vec::new(),
            share: Percent::HUNDRED,
            retries_max: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            back_off: BackOff::default(),
            rate_limited: None,
            avoid_previous_hosts: false,
            avoid_canary_hosts: false,
            avoid_hosts_with: Vec::new(),
            host_selection_attempts_max: NonZeroU32::MIN,
            previous_priorities: None,
        }
    }
}

/// Time between tries: a random time below a bound that doubles. Source: `RetryPolicy.RetryBackOff`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The first bound. Envoy default: 25 ms.
    pub base: Duration,
    /// The largest bound. Envoy default: ten times the base.
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

/// Time between tries as a response asks for it: the first header of the list that a response has
/// and that asks for no more than the maximum counts.
/// Source: `RetryPolicy.RateLimitedRetryBackOff`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimitedBackOff {
    /// Where a response says when to come back; at least one.
    pub headers: Vec<ResetHeader>,
    /// The most that is waited. Envoy default: 300 s.
    pub max: Duration,
}

/// A header that says when to come back. Source: `RetryPolicy.ResetHeader`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetHeader {
    /// Its name.
    pub name: HeaderName,
    /// How its value is meant.
    pub format: ResetFormat,
}

/// How a header says when to come back. Source: `RetryPolicy.ResetHeaderFormat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResetFormat {
    /// Seconds from now. Envoy default.
    #[default]
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
}

/// Whether slow tries are run beside others. Source: `envoy.config.route.v3.HedgePolicy`.
///
/// Its fields `initial_requests` and `additional_request_chance` have no effect, here and in Envoy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HedgePolicy {
    /// Whether a try that takes longer than the time-out of one try goes on beside the next one.
    /// The first good response is passed on, the others are cancelled. Envoy default: false.
    pub on_per_try_timeout: bool,
}

/// A set of failures after which a try is repeated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryConditions(u32);

impl RetryConditions {
    /// The set with one more member.
    #[must_use]
    pub const fn with(self, condition: RetryOn) -> Self {
        Self(self.0 | condition.bit())
    }

    /// Whether the set has this member.
    #[must_use]
    pub const fn contains(self, condition: RetryOn) -> bool {
        self.0 & condition.bit() != 0
    }

    /// Whether the set has no member.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<RetryOn> for RetryConditions {
    fn from_iter<T: IntoIterator<Item = RetryOn>>(conditions: T) -> Self {
        conditions.into_iter().fold(Self::default(), Self::with)
    }
}

/// A failure after which a try is repeated. Source: Envoy's `x-envoy-retry-on` and
/// `x-envoy-retry-grpc-on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOn {
    /// Any server error, or no response at all.
    FiveXx,
    /// 502, 503 or 504.
    GatewayError,
    /// No response: disconnect, reset or read timeout.
    Reset,
    /// The same, only when nothing of the request was sent.
    ResetBeforeRequest,
    /// No connection.
    ConnectFailure,
    /// The response carries `x-envoy-ratelimited`.
    EnvoyRatelimited,
    /// 409.
    Retriable4xx,
    /// The peer refused the stream (`REFUSED_STREAM`).
    RefusedStream,
    /// A status of the policy's list.
    RetriableStatusCodes,
    /// A response header of the policy's list.
    RetriableHeaders,
    /// An HTTP/3 post-connect failure; never happens here.
    Http3PostConnectFailure,
    /// gRPC status 1.
    Cancelled,
    /// gRPC status 4.
    DeadlineExceeded,
    /// gRPC status 13.
    Internal,
    /// gRPC status 8.
    ResourceExhausted,
    /// gRPC status 14.
    Unavailable,
}

impl RetryOn {
    /// Every condition.
    pub const ALL: [Self; 16] = [
        Self::FiveXx,
        Self::GatewayError,
        Self::Reset,
        Self::ResetBeforeRequest,
        Self::ConnectFailure,
        Self::EnvoyRatelimited,
        Self::Retriable4xx,
        Self::RefusedStream,
        Self::RetriableStatusCodes,
        Self::RetriableHeaders,
        Self::Http3PostConnectFailure,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::Internal,
        Self::ResourceExhausted,
        Self::Unavailable,
    ];

    const fn bit(self) -> u32 {
        1 << (self as u32)
    }

    /// The word in `retry_on`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::FiveXx => "5xx",
            Self::GatewayError => "gateway-error",
            Self::Reset => "reset",
            Self::ResetBeforeRequest => "reset-before-request",
            Self::ConnectFailure => "connect-failure",
            Self::EnvoyRatelimited => "envoy-ratelimited",
            Self::Retriable4xx => "retriable-4xx",
            Self::RefusedStream => "refused-stream",
            Self::RetriableStatusCodes => "retriable-status-codes",
            Self::RetriableHeaders => "retriable-headers",
            Self::Http3PostConnectFailure => "http3-post-connect-failure",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Internal => "internal",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether it is a status of gRPC, named in `x-envoy-retry-grpc-on`.
    #[must_use]
    pub const fn is_grpc(self) -> bool {
        matches!(
            self,
            Self::Cancelled
                | Self::DeadlineExceeded
                | Self::Internal
                | Self::ResourceExhausted
                | Self::Unavailable
        )
    }

    /// The condition that a word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_has_its_word_and_its_bit() {
        for condition in RetryOn::ALL {
            assert_eq!(RetryOn::from_word(condition.word()), Some(condition));
            let set = RetryConditions::default().with(condition);
            assert_eq!(RetryOn::ALL.into_iter().filter(|&c| set.contains(c)).count(), 1);
        }
    }
}
