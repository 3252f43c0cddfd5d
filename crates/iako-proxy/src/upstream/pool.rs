//! Connections to upstreams, kept for reuse.

/// One worker's idle and shared connections to upstreams, by version of a cluster and endpoint.
#[derive(Debug, Default)]
pub struct Pools {}
