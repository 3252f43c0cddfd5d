//! Who the peer is, as it says of itself.

/// How proxies tell each other their workloads' names, for telemetry only.
/// Source: `io.istio.http.peer_metadata.Config`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerMetadata {
    /// How the client of a request is found out, in order.
    pub downstream_discovery: Vec<PeerDiscovery>,
    /// How the server of a request is found out, in order.
    pub upstream_discovery: Vec<PeerDiscovery>,
    /// Whether responses tell the client who we are.
    pub downstream_propagation: bool,
    /// Whether requests tell the server who we are.
    pub upstream_propagation: bool,
    /// Whether requests to destinations outside of the mesh are spared.
    pub skip_external: bool,
}

/// A way to find out who a peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerDiscovery {
    /// From the headers `x-envoy-peer-metadata` and `x-envoy-peer-metadata-id`, removed after.
    IstioHeaders,
    /// From what the control plane said of the address.
    WorkloadDiscovery,
}
