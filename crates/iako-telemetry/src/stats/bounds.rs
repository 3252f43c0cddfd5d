//! Which histograms show other boundaries than the usual ones.

use super::StatsRegistry;
use crate::histogram::{Buckets, DURATION};

/// Boundaries for the histograms whose full names are met.
pub(super) struct ChosenBounds {
    meets: NameCheck,
    buckets: &'static Buckets,
}

/// Whether the full name of a statistic is meant.
pub type NameCheck = Box<dyn Fn(&str) -> bool + Send + Sync>;

impl StatsRegistry {
    /// Has histograms whose full names are met show these boundaries, in milliseconds, rising, in place of
    /// the usual ones; the first that is met counts. Called once, before there are statistics: they live as
    /// long as the process. Source: Envoy `StatsConfig.histogram_bucket_settings`.
    pub fn choose_bounds(&self, chosen: Vec<(NameCheck, Vec<f64>)>) {
        let of = |(meets, shown): (NameCheck, Vec<f64>)| ChosenBounds {
            meets,
            buckets: Box::leak(Box::new(Buckets::durations(&shown))),
        };
        self.bounds.get_or_init(|| chosen.into_iter().map(of).collect());
    }

    pub(super) fn buckets_of(&self, name: &str) -> &'static Buckets {
        let mut chosen = self.bounds.get().into_iter().flatten();
        chosen.find(|one| (one.meets)(name)).map_or(&DURATION, |one| one.buckets)
    }
}
