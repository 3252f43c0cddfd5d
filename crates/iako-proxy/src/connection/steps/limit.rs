//! How many connections there may be.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use iako_proxy_config::{ConnectionLimit, ConnectionRateLimit};
use iako_rt::clock;
use iako_telemetry::{Counter, Gauge, ResponseFlag, StatsRegistry};
use iako_traffic::TokenBucket;

use super::{Ending, NetworkStep};
use crate::shared::Shared;

/// Bounds the connections that are open at once; counts over the life of its chain.
#[derive(Debug)]
pub(crate) struct Limit {
    config: ConnectionLimit,
    open: AtomicU64,
    active: Gauge,
    limited: Counter,
}

/// A connection's place below a limit; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Limit>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.active.dec();
    }
}

impl Limit {
    /// The limit as it was, where its settings did not change.
    pub(super) fn compile(
        config: &ConnectionLimit,
        previous: &[NetworkStep],
        stats: &StatsRegistry,
    ) -> Arc<Self> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "one step is looked for")]
        let same = previous.iter().find_map(|step| match step {
            NetworkStep::Limit(limit) if limit.config == *config => Some(Arc::clone(limit)),
            _ => None,
        });
        same.unwrap_or_else(|| {
            let scope = stats.scope(&format!("connection_limit.{}", config.stat_prefix));
            Arc::new(Self {
                config: config.clone(),
                open: AtomicU64::new(0),
                active: scope.gauge("active_connections"),
                limited: scope.counter("limited_connections"),
            })
        })
    }

    /// A place for a connection; one that has none stays a while, unread, where that is asked for.
    pub(super) async fn admit(self: &Arc<Self>) -> Result<Place, Ending> {
        let before = self.open.fetch_add(1, Relaxed);
        self.active.inc();
        let place = Place(Arc::clone(self));
        if !self.config.enabled.value || before < self.config.connections_max.get() {
            return Ok(place);
        }
        drop(place);
        self.limited.inc();
        if let Some(delay) = self.config.delay {
            tokio::time::sleep(delay).await;
        }
        Err(Ending::because("over_connection_limit"))
    }
}

/// Bounds the connections that come in a time.
#[derive(Debug)]
pub(crate) struct Rate {
    config: ConnectionRateLimit,
    tokens: Arc<TokenBucket>,
    limited: Counter,
}

impl Rate {
    /// The limit as it was, where its settings did not change.
    pub(super) fn compile(
        config: &ConnectionRateLimit,
        previous: &[NetworkStep],
        shared: &Shared,
    ) -> Arc<Self> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "one step is looked for")]
        let same = previous.iter().find_map(|step| match step {
            NetworkStep::Rate(rate) if rate.config == *config => Some(Arc::clone(rate)),
            _ => None,
        });
        same.unwrap_or_else(|| {
            let scope = shared.stats.scope(&format!("local_rate_limit.{}", config.stat_prefix));
            let new = || {
                let tokens = &config.tokens;
                let (max, per_fill) = (tokens.max.get(), tokens.per_fill.get());
                Arc::new(TokenBucket::new(max, per_fill, tokens.interval, clock::now()))
            };
            let tokens = if config.share_key.is_empty() {
                new()
            } else {
                shared.shared_tokens.find(&config.share_key, &config.tokens, new)
            };
            Arc::new(Self {
                config: config.clone(),
                tokens,
                limited: scope.counter("rate_limited"),
            })
        })
    }

    pub(super) fn admit(&self) -> Result<(), Ending> {
        if !self.config.enabled.value || self.tokens.take(1, clock::now()) {
            return Ok(());
        }
        self.limited.inc();
        // Envoy's flag for this, whatever it says otherwise.
        let flag = Some(ResponseFlag::UpstreamRetryLimitExceeded);
        Err(Ending { flag, ..Ending::because("local_ratelimit_close_over_limit") })
    }
}
