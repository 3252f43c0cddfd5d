//! Whether a request is one too many: what the service is asked, and what it answers.
//!
//! Source: `envoy.service.ratelimit.v3`.

use std::time::Duration;

use serde_json::{Map, Value};

use super::ServiceHeader;
use crate::RateLimitUnit;

/// What a request counts as. Source: `envoy.extensions.common.ratelimit.v3.RateLimitDescriptor`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateDescriptor {
    /// Keys and values, in order.
    pub entries: Vec<(String, String)>,
    /// A limit in place of the service's own: so many, in this time.
    pub limit: Option<(u32, RateLimitUnit)>,
    /// How much the request counts; as the question says when absent.
    pub hits: Option<u64>,
    /// Whether the response tells what is left of it; as the filter says when absent.
    pub headers: Option<bool>,
}

/// The answer. Source: `RateLimitResponse`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RateAnswer {
    /// Whether the request is one too many; none when the service does not know.
    pub over: Option<bool>,
    /// What each descriptor came to, in order.
    pub statuses: Vec<RateStatus>,
    /// Headers of the response.
    pub response_headers: Vec<ServiceHeader>,
    /// Headers of the request.
    pub request_headers: Vec<ServiceHeader>,
    /// The content of a refusal.
    pub body: Vec<u8>,
    /// What is kept for other filters and logs.
    pub metadata: Map<String, Value>,
}

/// What a descriptor came to. Source: `RateLimitResponse.DescriptorStatus`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateStatus {
    /// Its limit, where it has one: how many, in this time, under which name.
    pub limit: Option<RateCurrent>,
    /// How many are left.
    pub remaining: u32,
    /// When the count begins anew.
    pub until_reset: Option<Duration>,
}

/// A limit as the service holds it. Source: `RateLimitResponse.RateLimit`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateCurrent {
    /// Its name.
    pub name: String,
    /// How many requests.
    pub requests: u32,
    /// Seconds that they are counted in; none for a unit that is not known.
    pub window: Option<u32>,
}
