//! How long requests took, as a histogram that all workers write to.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use iako_types::Percent;

/// Decades of microseconds that are told apart: up to 10^11, more than a day.
const DECADES: usize = 10;
/// Steps of a decade: two digits count.
const STEPS: usize = 90;

/// Counts of times, to two digits.
#[derive(Debug)]
pub(super) struct Times {
    counts: Box<[AtomicU32]>,
    count: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        let counts = (0..DECADES.saturating_mul(STEPS)).map(|_| AtomicU32::new(0));
        Self { counts: counts.collect(), count: AtomicU64::new(0) }
    }
}

impl Times {
    /// Notes a time in microseconds.
    pub(super) fn note(&self, micros: u64) {
        let (mut digits, mut decade) = (micros.max(10), 0_usize);
        while digits > 99 && decade < DECADES.saturating_sub(1) {
            digits = digits.checked_div(10).unwrap_or_default();
            decade = decade.saturating_add(1);
        }
        let step = usize::try_from(digits.min(99)).unwrap_or(99).saturating_sub(10);
        let place = decade.saturating_mul(STEPS).saturating_add(step);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
            self.count.fetch_add(1, Relaxed);
        }
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Forgets all.
    pub(super) fn clear(&self) {
        self.counts.iter().for_each(|count| count.store(0, Relaxed));
        self.count.store(0, Relaxed);
    }

    /// The time below which this share of all is, in microseconds, and forgets all; none without any.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are small, and times not below zero"
    )]
    pub(super) fn take(&self, share: Percent) -> Option<u64> {
        self.count.store(0, Relaxed);
        let counts: Vec<u32> = self.counts.iter().map(|count| count.swap(0, Relaxed)).collect();
        let all: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return None;
        }
        let mut wanted = (all as f64) * share.as_f64() / 100.0;
        let filled = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let mut last = None;
        for (place, count) in filled {
            let (start, width) = span(place)?;
            let count = f64::from(*count);
            if wanted <= count {
                return Some((start + width * (wanted / count)) as u64);
            }
            wanted -= count;
            last = Some((start + width) as u64);
        }
        last
    }
}

/// Where the times of a place begin, and how far they go.
fn span(place: usize) -> Option<(f64, f64)> {
    let decade = i32::try_from(place.checked_div(STEPS)?).ok()?;
    let digits = u32::try_from(place.checked_rem(STEPS)?.saturating_add(10)).ok()?;
    let width = 10_f64.powi(decade);
    Some((f64::from(digits) * width, width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_share_stays_below_is_found() {
        let half = Percent::from_whole(50).unwrap();
        let times = Times::default();
        assert_eq!(times.take(half), None);
        [10_000, 10_000, 500_000].into_iter().for_each(|time| times.note(time));
        assert_eq!(times.count(), 3);
        assert!((10_000..11_000).contains(&times.take(half).unwrap()));
        assert_eq!(times.count(), 0);
        times.note(u64::MAX);
        assert!(times.take(half).unwrap() > 10_000_000_000);
    }
}
