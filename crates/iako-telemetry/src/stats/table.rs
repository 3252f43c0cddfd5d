//! The statistics that the proxy keeps, with their meaning: the second half of `docs/metrics.md`.

macro_rules! stats {
    ($($scope:literal { $($kind:ident $leaf:literal $meaning:literal;)* })*) => {
        /// Statistics with a fixed name, by prefix.
        pub(super) static STATS: &[crate::stats::Stat] = &[$($(crate::stats::Stat {
            scope: $scope,
            leaf: $leaf,
            kind: crate::metrics::MetricKind::$kind,
            meaning: $meaning,
        },)*)*];
    };
}

mod cluster;
mod http;
mod process;

use super::Stat;

/// Every statistic with a fixed name, by prefix.
pub fn stats() -> impl Iterator<Item = &'static Stat> {
    [cluster::STATS, http::STATS, process::STATS].into_iter().flatten()
}
