//! Sorts of requests that are counted apart.

use crate::HeaderMatch;

/// A sort of requests of a virtual host, counted by a name of its own. Requests of no sort are counted
/// together as `other`, where there is any sort.
///
/// Source: `envoy.config.route.v3.VirtualCluster`.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualCluster {
    /// The name in statistics and logs; not empty.
    pub name: String,
    /// What a request has to have to be of this sort, pseudo-headers included; all of it, and at least
    /// one.
    pub headers: Vec<HeaderMatch>,
}
