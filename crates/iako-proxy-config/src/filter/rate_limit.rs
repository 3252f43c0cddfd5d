//! A service counts requests, and says when there are too many.

use std::time::Duration;

use iako_types::Percent;

use crate::{GrpcService, HeaderValueOption, Keyed, RateLimit};

/// A service counts requests. Source:
/// `envoy.extensions.filters.http.ratelimit.v3.RateLimit`.
#[derive(Debug, Clone, PartialEq)]
pub struct GlobalRateLimit {
    /// Who counts. Its time-out is the filter's, Envoy default: 20 ms.
    pub service: GrpcService,
    /// Which of the service's configurations counts.
    pub domain: String,
    /// Only limits of this stage are looked at, 0 to 10. Envoy default: 0.
    pub stage: u32,
    /// Which requests are counted. Envoy default: all.
    pub requests: LimitedRequests,
    /// Which share of requests is refused when the service does not answer. Envoy default: none.
    pub failure_deny: Keyed<Percent>,
    /// What is answered then. Envoy default: 500.
    pub status_on_error: u16,
    /// Whether a gRPC call is told `RESOURCE_EXHAUSTED` in place of `UNAVAILABLE`. Envoy default: false.
    pub as_resource_exhausted: bool,
    /// Whether `x-ratelimit` headers say what is left. Envoy default: false.
    pub headers: bool,
    /// Whether `x-envoy-ratelimited` is written. Envoy default: true.
    pub tells: bool,
    /// Whether `retry-after` says when to come back. Envoy default: false.
    pub retry_after: bool,
    /// What a request that is one too many is answered. Envoy default: 429.
    pub status: u16,
    /// Headers of that answer.
    pub add: Vec<HeaderValueOption>,
    /// A name of its own in statistics.
    pub stat_prefix: String,
    /// Which share of requests is asked about. Envoy default: all.
    pub enabled: Keyed<Percent>,
    /// Which share of refusals counts. Envoy default: all.
    pub enforced: Keyed<Percent>,
    /// Limits in place of those of routes; none when empty.
    pub limits: Vec<RateLimit>,
    /// Under which name what the service leaves is kept; the filter's own when empty.
    pub metadata_namespace: String,
}

/// Which requests are counted. Source: `RateLimit.request_type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LimitedRequests {
    /// All.
    #[default]
    Both,
    /// Those of internal clients.
    Internal,
    /// Those of others.
    External,
}

/// Settings of a virtual host, route or weighted cluster. Source: `RateLimitPerRoute`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GlobalRateLimitRoute {
    /// What becomes of the limits of the virtual host.
    pub host_limits: HostLimits,
    /// Limits in place of those of the route; none when empty.
    pub limits: Vec<RateLimit>,
    /// The domain in place of the filter's; that one when empty.
    pub domain: String,
}

/// What becomes of the limits of a virtual host. Source: `RateLimitPerRoute.VhRateLimitsOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HostLimits {
    /// They count where the route has none. Envoy default.
    #[default]
    Override,
    /// They count besides those of the route.
    Include,
    /// They do not count.
    Ignore,
}

/// The time-out of a question that names none.
pub const RATE_LIMIT_TIMEOUT: Duration = Duration::from_millis(20);
