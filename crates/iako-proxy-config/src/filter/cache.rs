//! Responses that are kept for the next request.

use crate::{QueryMatch, StringMatch};

/// Keeps responses and answers with them. Source:
/// `envoy.extensions.filters.http.cache.v3.CacheConfig` with
/// `envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cache {
    /// Whether it is off. Envoy default: false.
    pub disabled: bool,
    /// Fields of requests by which responses may vary.
    pub vary_allowed: Vec<StringMatch>,
    /// What tells one resource from another.
    pub key: CacheKey,
    /// Largest content of a response that is kept, in bytes; that of the store when 0.
    pub body_bytes_max: u32,
    /// Whether `cache-control` of requests is passed over. Envoy default: false.
    pub ignores_request_control: bool,
}

/// What tells one resource from another. Source: `CacheConfig.KeyCreatorParams`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CacheKey {
    /// Whether `http` and `https` are one. Envoy default: false.
    pub excludes_scheme: bool,
    /// Whether all hosts are one. Envoy default: false.
    pub excludes_host: bool,
    /// Query parameters that count; all when empty.
    pub query_included: Vec<QueryMatch>,
    /// Query parameters that do not.
    pub query_excluded: Vec<QueryMatch>,
}
