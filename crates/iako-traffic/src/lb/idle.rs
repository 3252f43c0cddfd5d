//! How long a server lets connections idle, learned from what it does and says.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// Closes that are looked at together.
const SAMPLES: usize = 4;
/// As many closes of one age in a row end the doubt in a server that was erratic: four ages drawn by
/// chance are often alike.
const SAMPLES_TRUSTED: usize = 12;
/// As many closes of one age make a rule.
const SAMPLES_MIN: usize = 2;
/// Closes whose ages differ by no more than this are of one timer, whatever their ratio.
const SPREAD: Duration = Duration::from_millis(20);
/// Time before the server's limit in which a connection is no longer used, on top of an eighth of the
/// limit: the request has to arrive before the server closes.
const MARGIN: Duration = Duration::from_millis(10);
/// A limit is doubted only when a connection outlives it by at least so much.
const DOUBT_MIN: Duration = Duration::from_millis(100);
/// How long a server counts as erratic after it closed connections at different ages.
const ERRATIC_FOR: Duration = Duration::from_secs(60);
const UNKNOWN: u64 = u64::MAX;

/// For how long an unused connection to a server may still be used.
///
/// A request that is written while the server closes is lost without an answer, and only those that
/// may be processed twice can be repeated. So the age at which a server closes unused connections is
/// remembered, and connections near that age are not used.
///
/// Two or more of the last four closes at about one age make a limit. Closes at ages that differ (a
/// server that restarts, or closes by chance) make none: no age is safe for a minute or until twelve
/// closes in a row had one age, and what must not be lost is better sent on a new connection. A connection that outlives the limit by far shows that
/// it was wrong. What the server announces (`keep-alive: timeout=5`) counts at once.
///
/// Reading takes no lock; learning does, and is as rare as closes.
#[derive(Debug)]
pub struct IdleLearning {
    /// Microseconds.
    learned: AtomicU64,
    /// Microseconds.
    announced: AtomicU64,
    closes: Mutex<Vec<Duration>>,
    /// The beginning of its time: when the first close was seen.
    epoch: OnceLock<Instant>,
    /// Microseconds since then; 0 while it is not erratic.
    erratic_until: AtomicU64,
}

impl Default for IdleLearning {
    fn default() -> Self {
        Self {
            learned: AtomicU64::new(UNKNOWN),
            announced: AtomicU64::new(UNKNOWN),
            closes: Mutex::default(),
            epoch: OnceLock::new(),
            erratic_until: AtomicU64::new(0),
        }
    }
}

impl IdleLearning {
    /// For how long a connection may idle and still be used; `None` while nothing is known.
    #[must_use]
    pub fn usable_for(&self) -> Option<Duration> {
        let limit = self.learned.load(Relaxed).min(self.announced.load(Relaxed));
        (limit != UNKNOWN).then(|| {
            let limit = Duration::from_micros(limit);
            let margin = limit.checked_div(8).unwrap_or_default().saturating_add(MARGIN);
            limit.saturating_sub(margin)
        })
    }

    /// Whether the server closes connections at no age that could be learned: then any kept connection
    /// may be closed while a request is on its way.
    #[must_use]
    pub fn is_erratic(&self, now: Instant) -> bool {
        let until = self.erratic_until.load(Relaxed);
        until != 0 && self.epoch.get().is_some_and(|epoch| since(*epoch, now) < until)
    }

    /// The server closed a connection that had been idle for so long.
    pub fn closed_after(&self, idle: Duration, now: Instant) {
        let mut closes = self.closes.lock();
        if closes.len() >= SAMPLES_TRUSTED {
            closes.remove(0);
        }
        closes.push(idle);
        let last = closes.get(closes.len().saturating_sub(SAMPLES)..).unwrap_or_default();
        let limit = one_age(last);
        self.learned.store(limit.map_or(UNKNOWN, micros), Relaxed);
        let epoch = *self.epoch.get_or_init(|| now);
        if limit.is_none() && closes.len() >= SAMPLES_MIN {
            let until = since(epoch, now).saturating_add(micros(ERRATIC_FOR));
            self.erratic_until.store(until, Relaxed);
        } else if closes.len() >= SAMPLES_TRUSTED && one_age(&closes).is_some() {
            self.erratic_until.store(0, Relaxed);
        }
    }

    /// A connection is still open after it idled for so long. From [`Self::outlived_at`] on, what was
    /// learned is forgotten: the server was told otherwise, or what was seen was a restart.
    pub fn outlived(&self, idle: Duration) {
        if self.outlived_at().is_some_and(|limit| idle >= limit) {
            self.closes.lock().clear();
            self.learned.store(UNKNOWN, Relaxed);
        }
    }

    /// When a connection that is kept only to check the limit has outlived it by far; `None` while
    /// nothing was learned.
    #[must_use]
    pub fn outlived_at(&self) -> Option<Duration> {
        let learned = self.learned.load(Relaxed);
        let limit = Duration::from_micros(learned);
        (learned != UNKNOWN).then(|| limit.saturating_add(limit.max(DOUBT_MIN)))
    }

    /// The server says for how long it keeps connections. Source: the response field `keep-alive`,
    /// parameter `timeout` (RFC 2068 §19.7.1.1).
    pub fn announced(&self, limit: Duration) {
        self.announced.store(micros(limit), Relaxed);
    }
}

/// The shortest of the ages, when all of them are about one.
fn one_age(ages: &[Duration]) -> Option<Duration> {
    let (shortest, longest) = ages.iter().min().zip(ages.iter().max())?;
    let half = shortest.checked_div(2).unwrap_or_default();
    let reach = shortest.saturating_add(half).max(shortest.saturating_add(SPREAD));
    (ages.len() >= SAMPLES_MIN && *longest <= reach).then_some(*shortest)
}

fn since(epoch: Instant, now: Instant) -> u64 {
    micros(now.saturating_duration_since(epoch))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any moment will do to count from")]
    fn begin() -> Instant {
        Instant::now()
    }

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn after(closes: &[u64]) -> Option<Duration> {
        let learning = IdleLearning::default();
        for &idle in closes {
            learning.closed_after(millis(idle), begin());
        }
        learning.usable_for()
    }

    #[test]
    fn closes_at_one_age_make_a_limit_with_a_margin() {
        assert_eq!(after(&[]), None);
        assert_eq!(after(&[5000]), None, "one close may be anything");
        assert_eq!(after(&[5000, 5001]), Some(millis(4365)));
        assert_eq!(after(&[301, 300]), Some(Duration::from_micros(252_500)));
        assert_eq!(
            after(&[1, 2, 1]),
            Some(Duration::ZERO),
            "a server that closes after each answer"
        );
    }

    #[test]
    fn closes_at_many_ages_make_no_limit() {
        assert_eq!(after(&[300, 20]), None);
        assert_eq!(after(&[300, 300, 300, 2]), None, "a restart");
        assert_eq!(after(&[2, 300, 300, 300, 300]), Some(Duration::from_micros(252_500)));
    }

    #[test]
    fn closes_at_many_ages_make_a_server_erratic_for_a_while() {
        let learning = IdleLearning::default();
        let start = begin();
        let after = |secs| start.checked_add(Duration::from_secs(secs)).unwrap();
        assert!(!learning.is_erratic(start));
        learning.closed_after(millis(300), start);
        assert!(!learning.is_erratic(start), "one close says nothing");
        learning.closed_after(millis(20), after(1));
        assert!(learning.is_erratic(after(1)) && learning.is_erratic(after(60)));
        assert!(!learning.is_erratic(after(61)));
        for _ in 0..11 {
            learning.closed_after(millis(300), after(2));
            assert!(learning.is_erratic(after(2)), "a few alike may be chance");
        }
        learning.closed_after(millis(300), after(2));
        assert!(!learning.is_erratic(after(2)), "its closes have one age now");
    }

    #[test]
    fn a_connection_that_outlives_the_limit_shows_that_it_was_wrong() {
        let learning = IdleLearning::default();
        learning.closed_after(millis(100), begin());
        learning.closed_after(millis(100), begin());
        assert_eq!(learning.outlived_at(), Some(millis(200)));
        learning.outlived(millis(199));
        assert!(learning.usable_for().is_some());
        learning.outlived(millis(200));
        assert_eq!(learning.usable_for(), None);
    }

    #[test]
    fn what_the_server_announces_counts_at_once_and_the_shorter_time_wins() {
        let learning = IdleLearning::default();
        learning.announced(Duration::from_secs(5));
        assert_eq!(learning.usable_for(), Some(millis(4365)));
        learning.closed_after(millis(1000), begin());
        learning.closed_after(millis(1000), begin());
        assert_eq!(learning.usable_for(), Some(millis(865)));
    }
}
