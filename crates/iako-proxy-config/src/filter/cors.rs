//! Cross-origin policy.

use iako_types::Percent;

use crate::StringMatch;

/// Which pages of other origins may use a route.
/// Source: `envoy.extensions.filters.http.cors.v3.CorsPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsPolicy {
    /// Origins that may; none when empty.
    pub allow_origins: Vec<StringMatch>,
    /// Value of `access-control-allow-methods`; not written when empty.
    pub allow_methods: String,
    /// Value of `access-control-allow-headers`; not written when empty.
    pub allow_headers: String,
    /// Value of `access-control-expose-headers`; not written when empty.
    pub expose_headers: String,
    /// Value of `access-control-max-age`; not written when empty.
    pub max_age: String,
    /// Whether credentials are allowed. Default: false.
    pub allow_credentials: bool,
    /// Whether preflights of other origins go on to the upstream. Envoy default: true.
    pub forward_unmatched_preflights: bool,
    /// Share of requests to which the policy is applied. Envoy default: 100 %.
    pub enabled: Percent,
}

impl Default for CorsPolicy {
    fn default() -> Self {
        Self {
            allow_origins: Vec::new(),
            allow_methods: String::new(),
            allow_headers: String::new(),
            expose_headers: String::new(),
            max_age: String::new(),
            allow_credentials: false,
            forward_unmatched_preflights: true,
            enabled: Percent::HUNDRED,
        }
    }
}
