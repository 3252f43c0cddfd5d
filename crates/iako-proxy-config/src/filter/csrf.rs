//! Requests that pages of other origins make.

use iako_types::Percent;

use crate::{Keyed, StringMatch};

/// Refuses requests that change something and come from a page of another origin.
/// Source: `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsrfPolicy {
    /// Share of requests that are refused. Envoy: must be set.
    pub enabled: Keyed<Percent>,
    /// Share of the others that are only counted. Envoy default: 0 %.
    pub shadow_enabled: Keyed<Percent>,
    /// Origins that may, besides the host's own: host and port without a scheme.
    pub additional_origins: Vec<StringMatch>,
}
