//! How long a request may take.

use std::time::Duration;

use iako_proxy_config::{GrpcTimeout, MaxStreamDuration, RetryPolicy, RouteAction};

use crate::{RequestFacts, RequestHead};

/// The times that count for a request; none means without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of the request to the end of the response, over all tries. Beyond: 504, flag
    /// `UT`, `response_timeout`.
    pub response: Option<Duration>,
    /// One try, likewise. Beyond: a retry, or 504, `upstream_per_try_timeout`.
    pub per_try: Option<Duration>,
    /// Silence of one try. Beyond: a retry, or 504, `upstream_per_try_idle_timeout`.
    pub per_try_idle: Option<Duration>,
    /// Silence of the stream; `None` leaves it to the connection manager, zero switches it off.
    pub idle: Option<Duration>,
    /// Silence of a client that takes the end of a response; `None` leaves it to the connection
    /// manager, zero switches it off.
    pub flush: Option<Duration>,
    /// Life of the stream from its first byte, by the route or `grpc-timeout`. Beyond: 504,
    /// `max_duration_timeout`; gRPC: status 4. `None` leaves it to the connection manager, zero
    /// switches it off.
    pub stream: Option<Duration>,
    /// Whether the server of each try is told in `grpc-timeout` how long it may take.
    pub tells_grpc: bool,
    /// What the server is told in `grpc-timeout` of the life of the stream.
    pub grpc_stream: Option<Duration>,
}

impl Timeouts {
    /// How long a server is told that it may take, in milliseconds; none when it may take for ever.
    /// `elapsed` is what earlier tries took; the first try is told the whole time.
    ///
    /// Source: Envoy `x-envoy-expected-rq-timeout-ms`.
    #[must_use]
    pub fn told(&self, elapsed: Duration) -> Option<u64> {
        let left = self.response.map(|whole| whole.saturating_sub(elapsed));
        let told = match (self.per_try, left) {
            (Some(per_try), Some(left)) => per_try.min(left),
            (per_try, left) => per_try.or(left)?,
        };
        // Zero would mean for ever.
        Some(u64::try_from(told.as_millis()).unwrap_or(u64::MAX).max(1))
    }
}

/// What a route says of times besides its table's.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeoutRules {
    /// Whether `x-envoy-expected-rq-timeout-ms` of the request is its time-out.
    pub respects_expected: bool,
}

/// The times of a route, changed by headers as far as they may.
pub(super) fn of_request(
    action: Option<&RouteAction>,
    retry: Option<&RetryPolicy>,
    facts: &RequestFacts<'_>,
    rules: TimeoutRules,
) -> Timeouts {
    let Some(action) = action else { return Timeouts::default() };
    let head = &facts.head;
    let stream = action.max_stream_duration.as_ref();
    let asked = stream.and_then(|limits| grpc_limit(limits, head));
    let old = action.grpc_timeout.filter(|_| stream.is_none() && head.is_grpc());
    let mut timeouts = Timeouts {
        response: old.map_or(action.timeout, |limits| grpc_timeout(limits, head)),
        per_try: retry.and_then(|policy| policy.per_try_timeout),
        per_try_idle: retry.and_then(|policy| policy.per_try_idle_timeout),
        idle: action.idle_timeout,
        flush: action.flush_timeout,
        stream: asked.or_else(|| stream.and_then(|limits| limits.limit)),
        tells_grpc: old.is_some(),
        grpc_stream: asked,
    };
    // A life of the stream stands in place of the route's timeout. Envoy drops that timeout for
    // every request of such a route; here a request that names no time of its own keeps it.
    let replaced = stream.is_some_and(|limits| limits.limit.is_some() || asked.is_some());
    if replaced {
        timeouts.response = None;
    }
    let asked = |name| facts.internal.then(|| milliseconds(head, name)).flatten();
    let expected = rules.respects_expected.then(|| asked("x-envoy-expected-rq-timeout-ms"));
    timeouts.response = expected
        .flatten()
        .or_else(|| asked("x-envoy-upstream-rq-timeout-ms"))
        .or(timeouts.response);
    timeouts.per_try = asked("x-envoy-upstream-rq-per-try-timeout-ms").or(timeouts.per_try);
    timeouts.response = timeouts.response.filter(|timeout| !timeout.is_zero());
    let shorter = |timeout: &Duration| timeouts.response.is_none_or(|whole| *timeout < whole);
    timeouts.per_try = timeouts.per_try.filter(|timeout| !timeout.is_zero()).filter(shorter);
    timeouts
}

fn milliseconds(head: &RequestHead<'_>, name: &str) -> Option<Duration> {
    head.text(name)?.trim().parse().ok().map(Duration::from_millis)
}

/// What `grpc-timeout` asks for, within the bounds of the route.
fn grpc_limit(limits: &MaxStreamDuration, head: &RequestHead<'_>) -> Option<Duration> {
    let max = limits.grpc_timeout_max?;
    let asked = parse_grpc_timeout(&head.text("grpc-timeout")?)?;
    let capped = if max.is_zero() { asked } else { asked.min(max) };
    Some(less(capped, limits.grpc_timeout_offset))
}

/// The time-out of a gRPC request where `grpc-timeout` stands in place of the route's: the most that
/// it may ask for when it asks for nothing, and none without such a bound.
fn grpc_timeout(limits: GrpcTimeout, head: &RequestHead<'_>) -> Option<Duration> {
    let asked = head.text("grpc-timeout").and_then(|text| parse_grpc_timeout(&text));
    let asked = asked.map(|asked| less(asked, limits.offset)).filter(|asked| !asked.is_zero());
    let max = (!limits.max.is_zero()).then_some(limits.max);
    match (asked, max) {
        (Some(asked), Some(max)) => Some(asked.min(max)),
        (asked, max) => asked.or(max),
    }
}

/// An offset that would leave nothing is not taken off, as in Envoy.
fn less(time: Duration, offset: Duration) -> Duration {
    time.checked_sub(offset).filter(|left| !left.is_zero()).unwrap_or(time)
}

/// Reads `grpc-timeout`: at most eight digits and a unit. Source: gRPC over HTTP/2, `Timeout`.
fn parse_grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => number.checked_mul(3600).map(Duration::from_secs),
        "M" => number.checked_mul(60).map(Duration::from_secs),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}
