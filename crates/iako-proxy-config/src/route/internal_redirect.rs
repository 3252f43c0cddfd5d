//! Redirects of upstreams that are followed here.

use crate::HeaderName;

/// Which redirects of an upstream are followed here, in place of the client.
/// Source: `envoy.config.route.v3.InternalRedirectPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalRedirectPolicy {
    /// How many of them one request may take. Envoy default: 1.
    pub redirects_max: u32,
    /// Statuses that are followed, of 301, 302, 303, 307 and 308. Envoy default: 302.
    pub statuses: Vec<u16>,
    /// What the new target must meet.
    pub predicates: Vec<RedirectPredicate>,
    /// Whether it may have another scheme. Envoy default: false.
    pub cross_scheme: bool,
    /// Headers of the redirect that become the new request's; those it lacks are removed.
    pub copied_headers: Vec<HeaderName>,
}

impl Default for InternalRedirectPolicy {
    fn default() -> Self {
        Self {
            redirects_max: 1,
            statuses: vec![302],
            predicates: Vec::new(),
            cross_scheme: false,
            copied_headers: Vec::new(),
        }
    }
}

/// What the target of a redirect must meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPredicate {
    /// Its route has one of these names.
    /// Source: `envoy.extensions.internal_redirect.allow_listed_routes.v3`.
    AllowListedRoutes(Vec<String>),
    /// The request has not been redirected to its route before.
    /// Source: `envoy.extensions.internal_redirect.previous_routes.v3`.
    PreviousRoutes,
    /// A plain request is not sent to `https`, which it could not have asked for itself.
    /// Source: `envoy.extensions.internal_redirect.safe_cross_scheme.v3`.
    SafeCrossScheme,
}
