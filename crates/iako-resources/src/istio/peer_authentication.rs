//! `PeerAuthentication`: which TLS a workload accepts from others in the mesh.

mod parse;

use std::collections::BTreeMap;

use crate::Labels;

pub(crate) use parse::parse;

/// What the workloads it selects accept. Source: `istio.security.v1.PeerAuthentication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// Labels of the workloads; `None` is the namespace, or the mesh in the root namespace.
    pub selector: Option<Labels>,
    /// For every port; `None` inherits.
    pub mode: Option<MutualTlsMode>,
    /// By port of the workload; `None` inherits.
    pub port_modes: BTreeMap<u16, Option<MutualTlsMode>>,
}

/// Source: `istio.security.v1.PeerAuthentication.MutualTLS.Mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MutualTlsMode {
    /// Plain text only.
    Disable,
    /// Both. Istio's default.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
