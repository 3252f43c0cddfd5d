//! A count with a limit that many workers take from without writing to the same memory.
//!
//! Every worker sets a few places aside for itself and gives them out; only when it has none left it
//! takes more from the common count. Places that are set aside count as taken there, so that never
//! more than the limit are given out; and nobody is refused before the places that others set aside
//! are taken back, so that all of the limit can be used by anybody.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Places that a worker sets aside at once, at most.
const BATCH_MAX: u32 = 32;
/// Places that a worker keeps when they are given back, at most.
const KEPT_MAX: u32 = 64;

#[derive(Debug)]
pub(super) struct Shares {
    /// Places that are given out or set aside.
    taken: Padded<AtomicU32>,
    shares: Box<[Padded<AtomicU64>]>,
}

/// Alone on its cache lines; processors fetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded<T>(T);

/// What one worker has set aside, and under which limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    limit: u32,
    spare: u32,
}

impl Share {
    const fn of(packed: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = packed.to_le_bytes();
        Self { limit: u32::from_le_bytes([a, b, c, d]), spare: u32::from_le_bytes([e, f, g, h]) }
    }

    fn packed(self) -> u64 {
        u64::from(self.limit) | u64::from(self.spare) << 32
    }
}

impl Shares {
    pub(super) fn new(workers: usize) -> Self {
        let shares = (0..workers.max(1)).map(|_| Padded::default()).collect();
        Self { taken: Padded::default(), shares }
    }

    /// Takes a place for a worker, if fewer than `max` are given out.
    pub(super) fn take(&self, max: u32, worker: usize) -> bool {
        let Some(share) = self.share(worker) else { return false };
        // Read by all, written seldom. More may be taken than `max` under another limit.
        while self.taken.0.load(Relaxed) <= max {
            let seen = share.load(Acquire);
            let Share { limit, spare } = Share::of(seen);
            let Some(spare) = spare.checked_sub(1).filter(|_| limit == max) else { break };
            let left = Share { limit, spare }.packed();
            if share.compare_exchange_weak(seen, left, AcqRel, Relaxed).is_ok() {
                return true;
            }
        }
        self.take_more(max, share)
    }

    /// Takes a place from the common count, and sets some more aside.
    fn take_more(&self, max: u32, share: &AtomicU64) -> bool {
        loop {
            let taken = self.taken.0.load(Acquire);
            let free = max.saturating_sub(taken);
            if free == 0 {
                if self.collect() == 0 {
                    return false;
                }
                continue;
            }
            let workers = u32::try_from(self.shares.len()).unwrap_or(u32::MAX);
            // Some for everybody, none when there are few.
            let fair = free.checked_div(workers.saturating_mul(2)).unwrap_or_default();
            let batch = fair.clamp(1, BATCH_MAX);
            let more = taken.saturating_add(batch);
            if self.taken.0.compare_exchange_weak(taken, more, AcqRel, Relaxed).is_ok() {
                self.set_aside(share, max, batch.saturating_sub(1));
                return true;
            }
        }
    }

    fn set_aside(&self, share: &AtomicU64, max: u32, more: u32) {
        let kept = |seen: u64| {
            let Share { limit, spare } = Share::of(seen);
            // What was set aside under another limit must be gone before a new one counts.
            let fits = limit == max || spare == 0;
            fits.then(|| Share { limit: max, spare: spare.saturating_add(more) }.packed())
        };
        if share.fetch_update(AcqRel, Acquire, kept).is_err() {
            self.taken.0.fetch_sub(more, AcqRel);
        }
    }

    /// Takes back what everybody has set aside; tells how much it was.
    fn collect(&self) -> u32 {
        let mut found: u32 = 0;
        for Padded(share) in &self.shares {
            let spare = Share::of(share.swap(0, AcqRel)).spare;
            found = found.saturating_add(spare);
        }
        if found > 0 {
            self.taken.0.fetch_sub(found, AcqRel);
        }
        found
    }

    /// Gives a place back: the worker keeps it, unless it has enough or too many are taken.
    pub(super) fn give_back(&self, worker: usize) {
        let Some(share) = self.share(worker) else { return };
        let taken = self.taken.0.load(Relaxed);
        let kept = |seen: u64| {
            let Share { limit, spare } = Share::of(seen);
            let fits = taken <= limit && spare < KEPT_MAX;
            fits.then(|| Share { limit, spare: spare.saturating_add(1) }.packed())
        };
        if share.fetch_update(AcqRel, Acquire, kept).is_err() {
            self.taken.0.fetch_sub(1, AcqRel);
        }
    }

    /// How many are given out.
    pub(super) fn used(&self) -> u32 {
        let spare = |Padded(share): &Padded<AtomicU64>| Share::of(share.load(Acquire)).spare;
        let aside = self.shares.iter().map(spare).fold(0, u32::saturating_add);
        self.taken.0.load(Acquire).saturating_sub(aside)
    }

    fn share(&self, worker: usize) -> Option<&AtomicU64> {
        let place = worker.checked_rem(self.shares.len())?;
        self.shares.get(place).map(|Padded(share)| share)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_of_a_limit_can_be_used_by_one_worker_whatever_others_set_aside() {
        let shares = Shares::new(4);
        for worker in 0..4 {
            (0..40).for_each(|_| assert!(shares.take(1000, worker)));
            (0..40).for_each(|_| shares.give_back(worker));
        }
        let aside = shares.shares.iter().map(|share| Share::of(share.0.load(Relaxed)).spare);
        assert!(aside.sum::<u32>() > 100, "nobody has set anything aside");
        (0..1000).for_each(|_| assert!(shares.take(1000, 2)));
        assert!(!shares.take(1000, 2) && !shares.take(1000, 0));
        shares.give_back(2);
        assert!(shares.take(1000, 3), "a place that another worker gave back");
    }

    #[test]
    fn a_request_writes_only_to_its_own_share() {
        let shares = Shares::new(2);
        assert!(shares.take(1024, 0));
        let (taken, other) = (shares.taken.0.load(Relaxed), shares.shares[1].0.load(Relaxed));
        for _ in 0..1000 {
            assert!(shares.take(1024, 0));
            shares.give_back(0);
        }
        assert_eq!(shares.taken.0.load(Relaxed), taken);
        assert_eq!(shares.shares[1].0.load(Relaxed), other);
    }

    // Every thread holds as many as it gets; the sum is counted apart.
    #[test]
    fn a_limit_is_never_exceeded_and_nothing_is_lost_under_contention() {
        const WORKERS: usize = 4;
        for limit in [1, 3, 100] {
            let shares = Arc::new(Shares::new(WORKERS));
            let held = Arc::new(AtomicU32::new(0));
            let start = Arc::new(Barrier::new(WORKERS));
            let threads: Vec<_> = (0..WORKERS)
                .map(|worker| {
                    let (shares, held) = (Arc::clone(&shares), Arc::clone(&held));
                    let start = Arc::clone(&start);
                    std::thread::spawn(move || {
                        start.wait();
                        let mut own = 0_u32;
                        for turn in 0..20_000_u32 {
                            // Mostly takes for a while, then mostly gives back.
                            if turn / 50 % 2 == 0 && shares.take(limit, worker) {
                                own += 1;
                                let now = held.fetch_add(1, AcqRel) + 1;
                                assert!(now <= limit, "{now} of {limit}");
                            } else if own > 0 {
                                own -= 1;
                                held.fetch_sub(1, AcqRel);
                                shares.give_back(worker);
                            }
                        }
                        (0..own).for_each(|_| {
                            held.fetch_sub(1, AcqRel);
                            shares.give_back(worker);
                        });
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(shares.used(), 0);
            (0..limit).for_each(|_| assert!(shares.take(limit, 1)));
            assert!(!shares.take(limit, 1));
        }
    }

    proptest! {
        // One after the other, the answers are those of a plain counter, whatever the limits.
        #[test]
        fn answers_are_those_of_one_counter(
            steps in proptest::collection::vec((0_usize..3, 0_u32..3, any::<bool>()), 1..400),
        ) {
            let shares = Shares::new(3);
            let mut used = 0_u32;
            for (worker, limit, takes) in steps {
                let max = [2, 30, 400][limit as usize];
                if takes {
                    prop_assert_eq!(shares.take(max, worker), used < max);
                    used += u32::from(used < max);
                } else if used > 0 {
                    shares.give_back(worker);
                    used -= 1;
                }
                prop_assert_eq!(shares.used(), used);
            }
        }
    }
}
