//! How many requests began lately.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// How many parts the time is counted in that is looked back on.
const PARTS: u32 = 16;

/// Requests of the last while, in parts of that time; of the oldest part all count until all of it
/// is past. Touched only where a budget of retries looks back.
#[derive(Debug, Default)]
pub(super) struct Recent(OnceLock<Mutex<Ring>>);

#[derive(Debug)]
struct Ring {
    begin: Instant,
    part: Duration,
    /// The number of the newest part since `begin`.
    newest: u64,
    counts: [u32; PARTS as usize],
}

impl Ring {
    fn new(interval: Duration, now: Instant) -> Self {
        Self { begin: now, part: part_of(interval), newest: 0, counts: [0; PARTS as usize] }
    }

    /// Forgets what is too old at that time, or all of it when the interval has changed.
    fn turn(&mut self, interval: Duration, now: Instant) {
        if self.part != part_of(interval) {
            *self = Self::new(interval, now);
            return;
        }
        let age = now.saturating_duration_since(self.begin).as_nanos();
        let number = age.checked_div(self.part.as_nanos()).unwrap_or_default();
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        let steps = number.saturating_sub(self.newest).min(u64::from(PARTS));
        for step in 1..=steps {
            let place = self.newest.saturating_add(step) % u64::from(PARTS);
            if let Some(count) = usize::try_from(place).ok().and_then(|p| self.counts.get_mut(p)) {
                *count = 0;
            }
        }
        self.newest = self.newest.max(number);
    }
}

fn part_of(interval: Duration) -> Duration {
    (interval / PARTS).max(Duration::from_micros(1))
}

impl Recent {
    pub(super) fn count(&self, interval: Duration, now: Instant) {
        let mut ring = self.0.get_or_init(|| Mutex::new(Ring::new(interval, now))).lock();
        ring.turn(interval, now);
        let place = usize::try_from(ring.newest % u64::from(PARTS)).unwrap_or_default();
        if let Some(count) = ring.counts.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn within(&self, interval: Duration, now: Instant) -> u32 {
        let Some(ring) = self.0.get().filter(|_| !interval.is_zero()) else { return 0 };
        let mut ring = ring.lock();
        ring.turn(interval, now);
        ring.counts.iter().fold(0, |sum: u32, count| sum.saturating_add(*count))
    }
}
