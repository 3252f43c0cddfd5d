//! Choosing one of several by weight.

use iako_proxy_config::{TcpProxy, TcpTarget};

/// One of `items`, each as often as its weight says; none when all weigh nothing.
pub(crate) fn by_weight<T>(items: &[T], weight: impl Fn(&T) -> u64, draw: u64) -> Option<&T> {
    let total: u64 = items.iter().map(&weight).fold(0, u64::saturating_add);
    let mut left = draw.checked_rem(total)?;
    items.iter().find(|item| match left.checked_sub(weight(item)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    })
}

/// A cluster, and the metadata of a subset of it.
pub type ClusterSubset<'a> = (&'a str, &'a [(String, String)]);

/// The cluster that a TCP connection goes to, and the metadata of the subset of it. `draw` decides
/// between weighted ones.
#[must_use]
pub fn tcp_cluster(proxy: &TcpProxy, draw: u64) -> Option<ClusterSubset<'_>> {
    match &proxy.target {
        TcpTarget::Cluster(cluster) => Some((cluster, &proxy.subset)),
        TcpTarget::Weighted(targets) => {
            let chosen = by_weight(targets, |target| u64::from(target.weight), draw)?;
            Some((&chosen.cluster, &chosen.subset))
        }
    }
}
