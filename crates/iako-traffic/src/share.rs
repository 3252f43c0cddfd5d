//! Choosing one of several by weight.

use iako_proxy_config::TcpTarget;

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

/// The cluster that a TCP connection goes to. `draw` decides between weighted ones.
#[must_use]
pub fn tcp_cluster(target: &TcpTarget, draw: u64) -> Option<&str> {
    match target {
        TcpTarget::Cluster(cluster) => Some(cluster),
        TcpTarget::Weighted(targets) => by_weight(targets, |(_, weight)| u64::from(*weight), draw)
            .map(|(cluster, _)| cluster.as_str()),
    }
}
