//! Groups of requests with statistics of their own.

use crate::HeaderMatch;

/// Requests of a virtual host that are counted together, as `vhost.<host>.vcluster.<name>.…`.
/// Source: `envoy.config.route.v3.VirtualCluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualCluster {
    /// The name in statistics.
    pub name: String,
    /// Which requests; all conditions must hold.
    pub headers: Vec<HeaderMatch>,
}
