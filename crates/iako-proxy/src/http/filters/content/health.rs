//! Answers to health checks of this proxy, compiled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use iako_http::FieldValue;
use iako_proxy_config::{HealthAnswers, HealthMode};
use iako_traffic::{HealthAnswer, Members, RequestHead, header_matches, health_of_clusters};

use crate::shared::Shared;
use crate::snapshot::ProxySnapshot;

/// A filter that answers health checks, compiled.
#[derive(Debug)]
pub(crate) struct HealthStep {
    settings: HealthAnswers,
    cached: Option<Cached>,
    /// The cluster that this proxy is of, as it says with its answers.
    pub(crate) own_cluster: FieldValue,
}

/// The last answer, which counts until the clock's next tick.
#[derive(Debug)]
struct Cached {
    began: Instant,
    every: Duration,
    /// The tick in which it came, whether it said degraded, and its status; 0 before the first.
    last: AtomicU64,
}

/// What a check was answered by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptAnswer {
    pub(crate) status: u16,
    pub(crate) degraded: bool,
}

/// Bits of a status and of a mark beneath the number of a tick.
const STATUS_BITS: u32 = 16;
const TICK_BITS: u32 = 17;

impl Cached {
    /// Counted from one, so that nothing is of no tick.
    fn tick(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began).as_nanos();
        let ticks = since / self.every.as_nanos().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX >> TICK_BITS).saturating_add(1)
    }

    fn answer(&self, now: Instant) -> Option<KeptAnswer> {
        let last = self.last.load(Ordering::Relaxed);
        let status = u16::try_from(last & 0xffff).ok()?;
        let answer = KeptAnswer { status, degraded: last >> STATUS_BITS & 1 == 1 };
        (last >> TICK_BITS == self.tick(now)).then_some(answer)
    }

    fn keep(&self, answer: KeptAnswer, now: Instant) {
        let mark = u64::from(answer.degraded) << STATUS_BITS | u64::from(answer.status);
        self.last.store(self.tick(now) << TICK_BITS | mark, Ordering::Relaxed);
    }
}

/// What a check is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnAnswer {
    pub(crate) status: u16,
    pub(crate) degraded: bool,
    pub(crate) details: &'static str,
}

impl From<HealthAnswer> for OwnAnswer {
    fn from(answer: HealthAnswer) -> Self {
        Self { status: answer.status(), degraded: false, details: answer.details() }
    }
}

impl HealthStep {
    pub(super) fn compile(settings: &HealthAnswers, shared: &Shared) -> Self {
        let cached = match &settings.mode {
            HealthMode::Pass(Some(every)) => {
                Some(Cached { began: shared.started, every: *every, last: AtomicU64::new(0) })
            }
            HealthMode::Pass(None) | HealthMode::Answer(_) => None,
        };
        let own_cluster = FieldValue::sanitized(shared.node.node.cluster.clone());
        Self { settings: settings.clone(), cached, own_cluster }
    }

    /// Whether a request is a check.
    pub(crate) fn is_check(&self, head: &RequestHead<'_>) -> bool {
        self.settings.headers.iter().all(|condition| header_matches(condition, head))
    }

    /// What a check is answered here; nothing when it goes on.
    pub(crate) fn answer(
        &self,
        snapshot: &ProxySnapshot,
        shared: &Shared,
        now: Instant,
    ) -> Option<OwnAnswer> {
        if shared.is_failed_by_operator() {
            return Some(HealthAnswer::Failed.into());
        }
        let clusters = match &self.settings.mode {
            HealthMode::Pass(_) => {
                let KeptAnswer { status, degraded } = self.cached.as_ref()?.answer(now)?;
                return Some(OwnAnswer { status, degraded, details: "health_check_cached" });
            }
            HealthMode::Answer(clusters) => clusters,
        };
        let members = |name: &str| {
            let stats = &snapshot.cluster(name)?.stats;
            let usable = stats.membership_healthy.value() + stats.membership_degraded.value();
            Some(Members { all: stats.membership_total.value(), usable })
        };
        let asked = clusters.iter().map(|(name, least)| (members(name), *least));
        Some(health_of_clusters(asked).into())
    }

    /// Keeps what a check was answered.
    pub(crate) fn keep(&self, answer: KeptAnswer, now: Instant) {
        if let Some(cached) = &self.cached {
            cached.keep(answer, now);
        }
    }
}
