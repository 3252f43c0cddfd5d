//! Cross-origin policy.

use iako_types::Percent;

use crate::{Keyed, StringMatch};

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
    /// Whether credentials are allowed; what a wider policy says when absent, and no at last.
    pub allow_credentials: Option<bool>,
    /// Whether pages of public networks may use a private one; as above.
    pub allow_private_network: Option<bool>,
    /// Whether preflights of other origins go on to the upstream; as above, and yes at last.
    pub forward_unmatched_preflights: Option<bool>,
    /// Share of requests to which the policy is applied. Envoy default: 100 %.
    pub enabled: Keyed<Percent>,
    /// Share of the other requests that are only counted by it. Envoy default: 0 %.
    pub shadow_enabled: Keyed<Percent>,
}

impl Default for CorsPolicy {
    fn default() -> Self {
        Self {
            allow_origins: Vec::new(),
            allow_methods: String::new(),
            allow_headers: String::new(),
            expose_headers: String::new(),
            max_age: String::new(),
            allow_credentials: None,
            allow_private_network: None,
            forward_unmatched_preflights: None,
            enabled: Keyed::fixed(Percent::HUNDRED),
            shadow_enabled: Keyed::fixed(Percent::ZERO),
        }
    }
}
