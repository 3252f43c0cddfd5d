//! How many requests may be under way, found out from how long they take. Source: Envoy
//! `envoy.filters.http.adaptive_concurrency`, gradient controller.

mod times;

use std::{
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
    time::{Duration, Instant},
};

use iako_proxy_config::{ConcurrencyGradient, LeastTime};
use iako_types::Percent;

use times::Times;

/// How often in a row the bound may be its least before the least time is measured again.
const LEAST_IN_A_ROW: u32 = 5;

/// Finds the bound. All workers share it, and none ever waits: who is first where something is to be
/// found out does so, and the others go on by what was known.
#[derive(Debug)]
pub struct ConcurrencyController {
    settings: ConcurrencyGradient,
    begun: Instant,
    under_way: UnderWay,
    limit: AtomicU32,
    times: Times,
    /// Somebody finds something out.
    busy: AtomicBool,
    /// Whether the least time is being measured.
    measuring: AtomicBool,
    /// When the measurement began, in microseconds since `begun`: requests from before do not count.
    epoch: AtomicU64,
    /// When the least time is measured next.
    next_measurement: AtomicU64,
    /// When the bound is found next.
    next_update: AtomicU64,
    /// The bound from before the measurement.
    deferred: AtomicU32,
    /// Microseconds.
    least: AtomicU64,
    least_in_a_row: AtomicU32,
}

/// How many requests are under way, on a line of a cache of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct UnderWay(AtomicU32);

/// What was found out, for statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConcurrencyFound {
    /// The bound.
    pub limit: u32,
    /// Whether the least time is being measured.
    pub measuring: bool,
    /// The least time, once it is known.
    pub least: Option<Duration>,
    /// The time that stands for those of the last while, with the thousandfold of the gradient and the
    /// room for bursts that came of it.
    pub update: Option<(Duration, u64, u64)>,
}

/// Whether a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConcurrencyVerdict {
    /// It is counted as under way.
    Pass,
    /// Too many are under way.
    Block,
}

impl ConcurrencyController {
    /// Begins with the least bound, and measures, unless the least time is given.
    #[must_use]
    pub fn new(settings: &ConcurrencyGradient, now: Instant) -> Self {
        let measures = matches!(settings.least, LeastTime::Measured { .. });
        let least = if let LeastTime::Fixed(least) = settings.least { micros(least) } else { 0 };
        let limit = settings.limit_min.get();
        Self {
            begun: now,
            under_way: UnderWay::default(),
            limit: AtomicU32::new(limit),
            times: Times::default(),
            busy: AtomicBool::new(false),
            measuring: AtomicBool::new(measures),
            epoch: AtomicU64::new(0),
            next_measurement: AtomicU64::new(u64::MAX),
            next_update: AtomicU64::new(micros(settings.update_interval)),
            deferred: AtomicU32::new(limit),
            least: AtomicU64::new(least),
            least_in_a_row: AtomicU32::new(0),
            settings: settings.clone(),
        }
    }

    /// What is known at first.
    #[must_use]
    pub fn known(&self) -> ConcurrencyFound {
        let least = Some(self.least.load(Relaxed)).filter(|least| *least > 0);
        ConcurrencyFound {
            limit: self.limit.load(Relaxed),
            measuring: self.measuring.load(Relaxed),
            least: least.map(Duration::from_micros),
            update: None,
        }
    }

    /// Whether a request may go on. Each that may is [done](Self::done) or [gone](Self::gone) later.
    pub fn ask(&self) -> ConcurrencyVerdict {
        let limit = self.limit.load(Relaxed);
        let step = |count: u32| (count < limit).then(|| count.saturating_add(1));
        match self.under_way.0.fetch_update(Relaxed, Relaxed, step) {
            Ok(_) => ConcurrencyVerdict::Pass,
            Err(_) => ConcurrencyVerdict::Block,
        }
    }

    /// A request has ended without an answer: it tells nothing.
    pub fn gone(&self) {
        let step = |count: u32| Some(count.saturating_sub(1));
        let _before = self.under_way.0.fetch_update(Relaxed, Relaxed, step);
    }

    /// Notes how long a request took that was answered.
    pub fn done(&self, since: Instant, now: Instant) {
        self.gone();
        if self.place(since) < self.epoch.load(Relaxed) {
            return;
        }
        self.times.note(micros(now.saturating_duration_since(since)));
    }

    /// Finds out what is due; none where nothing is, or where somebody else does. `draw` spreads
    /// measurements.
    pub fn turn(&self, now: Instant, draw: u64) -> Option<ConcurrencyFound> {
        let now = self.place(now);
        if !self.is_due(now) || self.busy.swap(true, Acquire) {
            return None;
        }
        // Somebody else may have been quicker.
        let found = self.is_due(now).then(|| self.find(now, draw));
        self.busy.store(false, Release);
        found
    }

    fn is_due(&self, now: u64) -> bool {
        if let (true, LeastTime::Measured { requests, .. }) =
            (self.measuring.load(Relaxed), self.settings.least)
        {
            return self.times.count() >= u64::from(requests.get());
        }
        now >= self.next_measurement.load(Relaxed) || now >= self.next_update.load(Relaxed)
    }

    fn find(&self, now: u64, draw: u64) -> ConcurrencyFound {
        let mut update = None;
        if self.measuring.load(Relaxed) {
            self.end_measurement(now, draw);
        } else if now >= self.next_measurement.load(Relaxed) {
            self.begin_measurement(now);
        } else {
            update = self.update(now);
        }
        ConcurrencyFound { update, ..self.known() }
    }

    fn begin_measurement(&self, now: u64) {
        self.deferred.store(self.limit.load(Relaxed), Relaxed);
        self.measuring.store(true, Relaxed);
        self.set_limit(self.settings.limit_min.get(), now);
        self.times.clear();
        self.epoch.store(now, Relaxed);
    }

    fn end_measurement(&self, now: u64, draw: u64) {
        let LeastTime::Measured { interval, jitter, .. } = self.settings.least else { return };
        self.least.store(self.times.take(self.settings.percentile).unwrap_or_default(), Relaxed);
        // Of the end it counts as within the measurement.
        self.set_limit(self.deferred.load(Relaxed), now);
        self.measuring.store(false, Relaxed);
        let next = now.saturating_add(micros(spread(interval, jitter, draw)));
        self.next_measurement.store(next, Relaxed);
        self.wait_for_update(now);
    }

    fn wait_for_update(&self, now: u64) {
        let next = now.saturating_add(micros(self.settings.update_interval));
        self.next_update.store(next, Relaxed);
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "all are small and not below zero; fractions are to be cut off"
    )]
    fn update(&self, now: u64) -> Option<(Duration, u64, u64)> {
        self.wait_for_update(now);
        let taken = self.times.take(self.settings.percentile)?;
        let least = self.least.load(Relaxed) as f64;
        let allowed = least + least * self.settings.buffer.as_f64() / 100.0;
        let gradient = (allowed / (taken.max(1) as f64)).clamp(0.5, 2.0);
        let limit = f64::from(self.limit.load(Relaxed)) * gradient;
        let burst = limit.sqrt();
        let (least, most) = (self.settings.limit_min.get(), self.settings.limit_max.get());
        self.set_limit(((limit + burst) as u32).min(most).max(least), now);
        Some((Duration::from_micros(taken), (gradient * 1000.0) as u64, burst as u64))
    }

    /// Sets the bound. When it is the least one again and again, what is held for the least time may be
    /// wrong: it is measured again.
    fn set_limit(&self, limit: u32, now: u64) {
        let before = self.limit.swap(limit, Relaxed);
        let least = self.settings.limit_min.get();
        let stays = !self.measuring.load(Relaxed) && before == least && limit == least;
        let in_a_row = if stays { self.least_in_a_row.load(Relaxed).saturating_add(1) } else { 0 };
        self.least_in_a_row.store(in_a_row, Relaxed);
        let measures = matches!(self.settings.least, LeastTime::Measured { .. });
        if measures && in_a_row >= LEAST_IN_A_ROW {
            self.next_measurement.store(now, Relaxed);
        }
    }

    fn place(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.begun))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// An interval with something added by chance, in whole milliseconds.
fn spread(interval: Duration, jitter: Percent, draw: u64) -> Duration {
    let range = interval.mul_f64(jitter.as_f64() / 100.0).as_millis();
    let range = u64::try_from(range).unwrap_or(u64::MAX);
    let more = draw.checked_rem(range.saturating_add(1)).unwrap_or_default();
    interval.saturating_add(Duration::from_millis(more))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn settings(least: LeastTime) -> ConcurrencyGradient {
        let count = |count| NonZeroU32::new(count).unwrap();
        ConcurrencyGradient {
            percentile: Percent::from_whole(50).unwrap(),
            limit_max: count(100),
            limit_min: count(3),
            update_interval: Duration::from_millis(100),
            least,
            buffer: Percent::ZERO,
        }
    }

    fn measured() -> LeastTime {
        LeastTime::Measured {
            interval: Duration::from_secs(60),
            jitter: Percent::ZERO,
            requests: NonZeroU32::new(5).unwrap(),
        }
    }

    struct Clock {
        controller: ConcurrencyController,
        now: Instant,
    }

    impl Clock {
        fn new(least: LeastTime) -> Self {
            #[expect(clippy::disallowed_methods, reason = "any time to count from")]
            let now = Instant::now();
            Self { controller: ConcurrencyController::new(&settings(least), now), now }
        }

        /// Requests that take so long, one after the other.
        fn serve(&mut self, count: u32, millis: u64) -> Option<ConcurrencyFound> {
            let mut found = None;
            for _ in 0..count {
                assert_eq!(self.controller.ask(), ConcurrencyVerdict::Pass);
                let since = self.now;
                self.now += Duration::from_millis(millis);
                self.controller.done(since, self.now);
                found = self.controller.turn(self.now, 0).or(found);
            }
            found
        }
    }

    #[test]
    fn no_more_than_the_bound_are_under_way() {
        let clock = Clock::new(measured());
        let ask = || clock.controller.ask();
        assert_eq!([ask(), ask(), ask()], [ConcurrencyVerdict::Pass; 3]);
        assert_eq!(ask(), ConcurrencyVerdict::Block);
        clock.controller.gone();
        assert_eq!(ask(), ConcurrencyVerdict::Pass);
    }

    #[test]
    fn the_bound_grows_while_requests_are_quick_and_falls_when_they_are_not() {
        let mut clock = Clock::new(measured());
        let found = clock.serve(5, 10).unwrap();
        assert!(!found.measuring);
        assert_eq!(found.least.unwrap().as_millis(), 10);
        let found = clock.serve(10, 10).unwrap();
        let (taken, gradient, burst) = found.update.unwrap();
        assert_eq!((taken.as_millis(), gradient / 100, burst), (10, 10, 1));
        assert_eq!(found.limit, 4);
        for _ in 0..20 {
            clock.serve(10, 10);
        }
        let before = clock.controller.known().limit;
        assert!(before > 20);
        let found = clock.serve(1, 200).unwrap();
        assert_eq!(found.update.unwrap().1, 500);
        assert!(found.limit < before);
    }

    #[test]
    fn the_least_time_is_measured_again_with_the_least_bound() {
        let mut clock = Clock::new(measured());
        clock.serve(5, 10);
        for _ in 0..20 {
            clock.serve(10, 10);
        }
        let before = clock.controller.known().limit;
        clock.now += Duration::from_secs(61);
        let found = clock.controller.turn(clock.now, 0).unwrap();
        assert!(found.measuring && found.limit == 3);
        let found = clock.serve(5, 30).unwrap();
        assert_eq!((found.limit, found.least.unwrap().as_millis()), (before, 30));
    }

    #[test]
    fn a_bound_that_stays_the_least_has_the_time_measured_again() {
        let mut clock = Clock::new(measured());
        clock.serve(5, 10);
        let found = (0..9).find_map(|_| clock.serve(1, 150).filter(|found| found.measuring));
        assert!(found.is_some());
    }

    #[test]
    fn a_given_time_is_never_measured() {
        let mut clock = Clock::new(LeastTime::Fixed(Duration::from_millis(10)));
        assert!(!clock.controller.known().measuring);
        assert_eq!(clock.serve(10, 10).unwrap().limit, 4);
        for _ in 0..9 {
            clock.serve(1, 150);
        }
        assert!(!clock.controller.known().measuring);
    }
}
