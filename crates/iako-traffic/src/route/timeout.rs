//! How long a request may take.

use std::time::Duration;

use iako_proxy_config::{MaxStreamDuration, RetryPolicy, RouteAction};

use crate::{RequestFacts, RequestHead};

/// The times that count for a request; none means without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the end of the request to the end of the response, over all tries. Beyond: 504, flag
    /// `UT`, `response_timeout`.
    pub response: Option<Duration>,
    /// One try, likewise. Beyond: a retry, or 504, `upstream_per_try_timeout`.
    pub per_try: Option<Duration>,
    /// Silence of one try.
    pub per_try_idle: Option<Duration>,
    /// Silence of the stream; `None` leaves it to the connection manager, zero switches it off.
    pub idle: Option<Duration>,
    /// Life of the stream from its first byte, by the route or `grpc-timeout`. Beyond: 504,
    /// `max_duration_timeout`; gRPC: status 4. `None` leaves it to the connection manager, zero
    /// switches it off.
    pub stream: Option<Duration>,
}

/// The times of a route, changed by headers as far as they may.
pub(super) fn of_request(
    action: Option<&RouteAction>,
    retry: Option<&RetryPolicy>,
    facts: &RequestFacts<'_>,
) -> Timeouts {
    let Some(action) = action else { return Timeouts::default() };
    let head = &facts.head;
    let stream = action.max_stream_duration.as_ref();
    let grpc = stream.and_then(|limits| grpc_limit(limits, head));
    let mut timeouts = Timeouts {
        response: action.timeout,
        per_try: retry.and_then(|policy| policy.per_try_timeout),
        per_try_idle: retry.and_then(|policy| policy.per_try_idle_timeout),
        idle: action.idle_timeout,
        stream: grpc.or_else(|| stream.and_then(|limits| limits.limit)),
    };
    // A life of the stream stands in place of the route's timeout. Envoy drops that timeout for
    // every request of such a route; here a request that names no time of its own keeps it.
    let replaced = stream.is_some_and(|limits| limits.limit.is_some() || grpc.is_some());
    if replaced {
        timeouts.response = None;
    }
    if facts.internal {
        let asked = |name| milliseconds(head, name);
        timeouts.response = asked("x-envoy-upstream-rq-timeout-ms").or(timeouts.response);
        timeouts.per_try = asked("x-envoy-upstream-rq-per-try-timeout-ms").or(timeouts.per_try);
    }
    timeouts.response = timeouts.response.filter(|timeout| !timeout.is_zero());
    let shorter = |timeout: &Duration| timeouts.response.is_none_or(|whole| *timeout < whole);
    timeouts.per_try = timeouts.per_try.filter(|timeout| !timeout.is_zero()).filter(shorter);
    timeouts
}

fn milliseconds(head: &RequestHead<'_>, name: &str) -> Option<Duration> {
    head.text(name)?.parse().ok().map(Duration::from_millis)
}

/// What `grpc-timeout` asks for, within the bounds of the route.
fn grpc_limit(limits: &MaxStreamDuration, head: &RequestHead<'_>) -> Option<Duration> {
    let max = limits.grpc_timeout_max?;
    let asked = parse_grpc_timeout(&head.text("grpc-timeout")?)?;
    let capped = if max.is_zero() { asked } else { asked.min(max) };
    // An offset that would leave nothing is not taken off, as in Envoy.
    let offset = limits.grpc_timeout_offset;
    Some(capped.checked_sub(offset).filter(|left| !left.is_zero()).unwrap_or(capped))
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
