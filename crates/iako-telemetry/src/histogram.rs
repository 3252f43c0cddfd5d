//! Histograms that many threads add to and nobody locks.
//!
//! Two sets of boundaries: what Prometheus is shown (Envoy's defaults, which Istio's dashboards
//! expect), and for durations a finer superset of them, so that a median or a 99th percentile can
//! be given within 6 % instead of a factor of two.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds shown to Prometheus, in milliseconds or bytes. Source: Envoy's default histogram
/// buckets, which Istio does not change.
pub const EXPOSED_BOUNDS: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1_000.0,
    2_500.0,
    5_000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Fine boundaries grow by this factor, so the middle of a bucket is at most 6 % off.
const GROWTH: f64 = 1.12;
/// Fine boundaries reach from 50 µs to one minute; outside, only the exposed ones exist.
const FINE_FROM_MICROS: f64 = 50.0;
const FINE_TO_MICROS: f64 = 60_000_000.0;

/// The boundaries of a histogram and how its raw values relate to the exposed unit.
#[derive(Debug)]
pub struct Buckets {
    /// Inclusive upper bounds of raw values, rising.
    bounds: Vec<u64>,
    /// The bounds that are shown, in the exposed unit, and for each how many of `bounds` lie at or below
    /// it.
    exposed: Vec<(f64, usize)>,
    /// Raw values to one exposed unit: 1,000 for microseconds shown as milliseconds.
    scale: f64,
}

/// Durations: recorded in microseconds, shown in milliseconds.
pub static DURATION: LazyLock<Buckets> = LazyLock::new(|| Buckets::durations(&EXPOSED_BOUNDS));
/// Sizes: recorded and shown in bytes.
pub static BYTES: LazyLock<Buckets> = LazyLock::new(|| Buckets::new(1.0, &[], &EXPOSED_BOUNDS));

fn fine_micros() -> Vec<u64> {
    std::iter::successors(Some(FINE_FROM_MICROS), |bound| Some(bound * GROWTH))
        .take_while(|bound| *bound < FINE_TO_MICROS)
        .map(floor)
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "called with positive numbers; what is too large is the largest"
)]
fn floor(value: f64) -> u64 {
    value as u64
}

fn float(value: u64) -> f64 {
    value as f64
}

impl Buckets {
    /// Boundaries of durations of which these are shown, in milliseconds, rising.
    #[must_use]
    pub fn durations(shown: &[f64]) -> Self {
        Self::new(1_000.0, &fine_micros(), shown)
    }

    fn new(scale: f64, fine: &[u64], shown: &[f64]) -> Self {
        let raw = |bound: &f64| floor(bound * scale);
        let mut bounds: Vec<u64> = fine.iter().copied().chain(shown.iter().map(raw)).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let below = |bound: u64| bounds.partition_point(|candidate| *candidate <= bound);
        let exposed = shown.iter().map(|bound| (*bound, below(raw(bound)))).collect();
        Self { bounds, exposed, scale }
    }

    /// Where a bucket begins and how wide it is, in the exposed unit. The last one is as wide as nothing:
    /// it has no end.
    fn extent(&self, index: usize) -> (f64, f64) {
        let bound = |index: usize| self.bounds.get(index).map(|bound| float(*bound) / self.scale);
        let lower = index.checked_sub(1).and_then(bound).unwrap_or(0.0);
        (lower, bound(index).map_or(0.0, |upper| upper - lower))
    }

    /// The bucket that holds `value`; the last one has no upper bound.
    #[inline]
    fn index(&self, value: u64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    /// The value that stands for a bucket, in the exposed unit.
    fn middle(&self, index: usize) -> f64 {
        let upper =
            self.bounds.get(index).or_else(|| self.bounds.last()).map_or(0.0, |b| float(*b));
        let lower = index.checked_sub(1).and_then(|below| self.bounds.get(below));
        let raw = match lower {
            Some(lower) if *lower > 0 => (float(*lower) * upper).sqrt(),
            _ => upper / 2.0,
        };
        raw / self.scale
    }
}

/// Counts per bucket that any thread adds to with relaxed atomics.
#[derive(Debug)]
pub struct AtomicHistogram {
    buckets: &'static Buckets,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl AtomicHistogram {
    /// An empty histogram over the given boundaries.
    #[must_use]
    pub fn new(buckets: &'static Buckets) -> Self {
        let counts = (0..=buckets.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, counts, sum: AtomicU64::new(0) }
    }

    /// Adds one value: microseconds for [`struct@DURATION`], bytes for [`struct@BYTES`].
    #[inline]
    pub fn record(&self, value: u64) {
        if let Some(count) = self.counts.get(self.buckets.index(value)) {
            count.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(value, Relaxed);
    }

    /// The counts now. Values recorded meanwhile may be half in: a reader of metrics does not mind.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            buckets: self.buckets,
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// The counts of a histogram at one moment; snapshots over the same boundaries add up.
#[derive(Clone, Debug)]
pub struct HistogramSnapshot {
    buckets: &'static Buckets,
    counts: Vec<u64>,
    sum: u64,
}

impl HistogramSnapshot {
    /// No value yet.
    #[must_use]
    pub fn empty(buckets: &'static Buckets) -> Self {
        Self { buckets, counts: vec![0; buckets.bounds.len().saturating_add(1)], sum: 0 }
    }

    /// Rebuilds a snapshot from [`Self::sparse_counts`]; counts outside the boundaries are left out.
    #[must_use]
    pub fn from_sparse(
        buckets: &'static Buckets,
        counts: impl IntoIterator<Item = (usize, u64)>,
        sum: u64,
    ) -> Self {
        let mut snapshot = Self { sum, ..Self::empty(buckets) };
        for (index, count) in counts {
            if let Some(place) = snapshot.counts.get_mut(index) {
                *place = place.saturating_add(count);
            }
        }
        snapshot
    }

    /// How many values were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of the raw values: microseconds or bytes.
    #[must_use]
    pub const fn raw_sum(&self) -> u64 {
        self.sum
    }

    /// The sum in the exposed unit: milliseconds or bytes.
    #[must_use]
    pub fn sum(&self) -> f64 {
        float(self.sum) / self.buckets.scale
    }

    /// Adds another histogram over the same boundaries.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine = mine.saturating_add(*theirs);
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// What was recorded since `earlier`, a snapshot of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts =
            self.counts.iter().zip(&earlier.counts).map(|(now, then)| now.saturating_sub(*then));
        Self {
            buckets: self.buckets,
            counts: counts.collect(),
            sum: self.sum.saturating_sub(earlier.sum),
        }
    }

    /// The value below which the share `quantile` (0 to 1) of the values lies, in the exposed
    /// unit, within 6 % for durations between 50 µs and one minute. `None` without values.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let total = self.count();
        if total == 0 {
            return None;
        }
        let wanted = (quantile.clamp(0.0, 1.0) * float(total)).ceil().max(1.0);
        let mut seen = 0_u64;
        let position = self.counts.iter().position(|count| {
            seen = seen.saturating_add(*count);
            float(seen) >= wanted
        });
        position.map(|index| self.buckets.middle(index))
    }

    /// Cumulative counts at the bounds that Prometheus is shown; the last is `+Inf`.
    #[must_use]
    pub fn exposed(&self) -> Vec<(f64, u64)> {
        let shown = &self.buckets.exposed;
        let mut lines = Vec::with_capacity(shown.len().saturating_add(1));
        for (bound, upto) in shown {
            lines.push((*bound, self.counts.iter().take(*upto).sum()));
        }
        lines.push((f64::INFINITY, self.count()));
        lines
    }

    /// The buckets that hold something: where each begins, how wide it is, and how many values it has.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        self.sparse_counts().map(|(index, count)| {
            let (lower, width) = self.buckets.extent(index);
            (lower, width, count)
        })
    }

    /// The buckets that hold something, by number: a compact form for another process.
    pub fn sparse_counts(&self) -> impl Iterator<Item = (usize, u64)> {
        self.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_durations_are_within_six_percent() {
        for true_value in [60_u64, 333, 1_234, 7_000, 45_600, 990_000, 31_000_000] {
            let histogram = AtomicHistogram::new(&DURATION);
            (0..100).for_each(|_| histogram.record(true_value));
            let given = histogram.snapshot().quantile(0.99).unwrap() * 1_000.0;
            let error = (given / true_value as f64 - 1.0).abs();
            assert!(error < 0.06, "{true_value} µs was given as {given} µs");
        }
    }

    #[test]
    fn bounds_that_are_asked_for_are_exact() {
        let buckets: &'static Buckets = Box::leak(Box::new(Buckets::durations(&[1.5, 70.0])));
        let histogram = AtomicHistogram::new(buckets);
        [1_500, 1_501, 70_000, 70_001].iter().for_each(|micros| histogram.record(*micros));
        let exposed = histogram.snapshot().exposed();
        assert_eq!(exposed, [(1.5, 1), (70.0, 3), (f64::INFINITY, 4)]);
    }

    #[test]
    fn exposed_buckets_are_cumulative_and_inclusive() {
        let histogram = AtomicHistogram::new(&DURATION);
        [400, 500, 501, 5_000, 4_000_000_000].iter().for_each(|micros| histogram.record(*micros));
        let exposed = histogram.snapshot().exposed();
        assert_eq!(exposed[0], (0.5, 2), "500 µs is not more than 0.5 ms");
        assert_eq!(exposed[1], (1.0, 3));
        assert_eq!(exposed[2], (5.0, 4));
        assert_eq!(exposed[18], (3_600_000.0, 4));
        assert_eq!(exposed[19].1, 5);
    }

    #[test]
    fn sparse_counts_carry_a_histogram_between_processes() {
        let histogram = AtomicHistogram::new(&BYTES);
        [0, 1, 17, 1_000_000].iter().for_each(|bytes| histogram.record(*bytes));
        let snapshot = histogram.snapshot();
        let copy =
            HistogramSnapshot::from_sparse(&BYTES, snapshot.sparse_counts(), snapshot.raw_sum());
        assert_eq!(copy.exposed(), snapshot.exposed());
        assert_eq!(copy.sum(), 1_000_018.0);
    }
}
