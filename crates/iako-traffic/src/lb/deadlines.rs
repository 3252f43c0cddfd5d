//! Weighted turns of instances whose weights change.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How often a choice is made anew because another worker took the same instance meanwhile. After
/// that it is taken all the same: who is next twice is no harm.
const TRIES_MAX: u32 = 4;

/// When each instance is due: earliest deadline first, as Envoy's scheduler has it. An instance that
/// was taken is due again after the inverse of the weight that it has then.
///
/// Shared by all workers without a lock. Finding the earliest looks at every instance, which for a
/// hundred costs less than a heap behind a lock.
#[derive(Debug, Default)]
pub(super) struct Deadlines(Vec<AtomicU64>);

impl Deadlines {
    /// Every instance is due first after the inverse of its weight.
    pub(super) fn new(weights: impl Iterator<Item = f64>) -> Self {
        Self(weights.map(|weight| AtomicU64::new(after(0.0, weight))).collect())
    }

    /// Begins anew with other weights.
    pub(super) fn restart(&self, weights: impl Iterator<Item = f64>) {
        for (due, weight) in self.0.iter().zip(weights) {
            due.store(after(0.0, weight), Relaxed);
        }
    }

    /// The position of the one that is due, among those that are `free`; its next turn is put off
    /// by its weight.
    pub(super) fn take(
        &self,
        free: impl Fn(usize) -> bool,
        weight: impl Fn(usize) -> f64,
    ) -> Option<usize> {
        let mut taken = None;
        for _ in 0..TRIES_MAX {
            let (position, due) = self.earliest(&free)?;
            taken = Some(position);
            let next = after(f64::from_bits(due), weight(position));
            let slot = self.0.get(position)?;
            if slot.compare_exchange(due, next, Relaxed, Relaxed).is_ok() {
                break;
            }
        }
        taken
    }

    fn earliest(&self, free: impl Fn(usize) -> bool) -> Option<(usize, u64)> {
        let due = self.0.iter().map(|due| due.load(Relaxed)).enumerate();
        // Numbers that are not negative are ordered as their bits are.
        due.filter(|(position, _)| free(*position)).min_by_key(|(_, due)| *due)
    }
}

/// The bits of a deadline. A weight of nothing would never be due again.
fn after(now: f64, weight: f64) -> u64 {
    (now + 1.0 / weight.max(f64::MIN_POSITIVE)).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_the_weights_of_the_moment() {
        let weights = [2.0, 1.0, 1.0];
        let deadlines = Deadlines::new(weights.into_iter());
        let take = || deadlines.take(|_| true, |position| weights[position]).unwrap();
        assert_eq!((0..8).map(|_| take()).collect::<Vec<_>>(), [0, 0, 1, 2, 0, 0, 1, 2]);
        let weights = [1.0, 3.0, 1.0];
        deadlines.restart(weights.into_iter());
        let mut counts = [0; 3];
        for _ in 0..50 {
            counts[deadlines.take(|_| true, |position| weights[position]).unwrap()] += 1;
        }
        assert_eq!(counts, [10, 30, 10]);
    }

    #[test]
    fn who_is_not_free_is_passed_over() {
        let deadlines = Deadlines::new([1.0, 1.0].into_iter());
        assert_eq!(deadlines.take(|position| position == 1, |_| 1.0), Some(1));
        assert_eq!(deadlines.take(|_| false, |_| 1.0), None);
    }
}
