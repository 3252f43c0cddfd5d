//! Copies of requests.

use iako_types::Percent;

use crate::{HeaderEdit, HeaderName, Keyed};

/// A copy of requests for somebody else.
/// Source: `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mirror {
    /// Who gets the copies.
    pub target: MirrorTarget,
    /// Which share of requests is copied.
    pub share: Keyed<Percent>,
    /// Whether the copy's host is left as it is, without `-shadow`. Envoy default: false.
    pub keep_host: bool,
    /// The copy's host in place of the request's; then nothing is appended to it.
    pub host: Option<String>,
    /// Whether the copy's span is kept, whatever the request's is; as that when absent.
    /// Source: `trace_sampled`.
    pub traced: Option<bool>,
    /// Changes of the copy's headers, in order.
    pub edits: Vec<HeaderEdit>,
}

impl Mirror {
    /// A copy of every request for one cluster, with Envoy's defaults.
    #[must_use]
    pub fn to(cluster: impl Into<String>) -> Self {
        Self {
            target: MirrorTarget::Cluster(cluster.into()),
            share: Keyed::fixed(Percent::HUNDRED),
            keep_host: false,
            host: None,
            traced: None,
            edits: Vec::new(),
        }
    }
}

/// Who gets copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorTarget {
    /// This cluster.
    Cluster(String),
    /// The cluster that this header of the request names; nobody when it names none.
    Header(HeaderName),
}
