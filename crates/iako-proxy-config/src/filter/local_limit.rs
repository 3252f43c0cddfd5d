//! Buckets of tokens that requests take from.

use std::{num::NonZeroU32, sync::Arc};

use iako_types::Percent;

use super::{network::ConnectionTokens, rate_limit::HostLimits};
use crate::{HeaderValueOption, Keyed, RateLimit};

/// Bounds how many requests come in a time, by tokens of this proxy's own.
/// Source: `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalRateLimit {
    /// Before `.http_local_rate_limit.` and the names of its statistics.
    pub stat_prefix: String,
    /// What a request without a token is answered. Envoy default: 429.
    pub status: u16,
    /// The tokens. Settings that differ in nothing else go on with the same ones.
    pub buckets: Arc<LocalBuckets>,
    /// Which share of requests takes tokens. Envoy default: none.
    pub enabled: Keyed<Percent>,
    /// Which share of refusals counts. Envoy default: none.
    pub enforced: Keyed<Percent>,
    /// Headers of requests that go on although they had no token.
    pub add_to_request: Vec<HeaderValueOption>,
    /// Headers of refusals.
    pub add_to_response: Vec<HeaderValueOption>,
    /// Only limits of routes of this stage are looked at, 0 to 10. Envoy default: 0.
    pub stage: u32,
    /// Whether every connection of a client has tokens of its own. Envoy default: false.
    pub per_connection: bool,
    /// Whether `x-ratelimit` headers say what is left. Envoy default: false.
    pub headers: bool,
    /// What becomes of the limits of the virtual host.
    pub host_limits: HostLimits,
    /// Whether a gRPC call is told `RESOURCE_EXHAUSTED` in place of `UNAVAILABLE`. Envoy default: false.
    pub as_resource_exhausted: bool,
    /// Limits in place of those of routes; none when empty.
    pub limits: Vec<RateLimit>,
}

/// The buckets of one occurrence of the filter, or of its settings for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalBuckets {
    /// What every request takes of; none when absent.
    pub default: Option<ConnectionTokens>,
    /// What requests take of by what they count as.
    pub descriptors: Vec<LocalDescriptor>,
    /// Whether requests that took of another bucket take of the one of all too. Envoy default: true.
    pub always_default: bool,
    /// How many buckets one entry of `descriptors` without all values may make at a time. Envoy
    /// default: 20.
    pub dynamic_max: NonZeroU32,
    /// Whether instances of the local cluster share the tokens evenly. Envoy default: false.
    pub shared_by_cluster: bool,
}

/// A bucket for requests that count as something.
/// Source: `envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDescriptor {
    /// Keys and values, in order. An empty value stands for any, each of which has a bucket.
    pub entries: Vec<(String, String)>,
    /// The tokens.
    pub tokens: ConnectionTokens,
    /// Whether what it refuses is only counted. Envoy default: false.
    pub shadow: bool,
}

/// The most buckets that one entry without all values makes, when nothing is said.
pub const DYNAMIC_BUCKETS_MAX: NonZeroU32 = NonZeroU32::new(20).unwrap();
