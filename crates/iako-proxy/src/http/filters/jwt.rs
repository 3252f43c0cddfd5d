//! Checking tokens, and fetching the keys that they are checked with.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use iako_proxy_config::{FetchRetry, Jwks, JwtAuthn};
use iako_rt::clock;
use iako_telemetry::{Counter, StatsScope};
use iako_traffic::{JwtChanges, JwtDecision, JwtVerifier, RequestFacts};
use parking_lot::Mutex;

use crate::http::failure::Failure;
use crate::http::fetch;
use crate::worker::Worker;

/// After a failed fetch the next one waits so long.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Key sets of the process by address, so that a change of the configuration does not wait for them
/// again. Bounded by the addresses that configuration names.
static FETCHED: LazyLock<Mutex<Fetched>> = LazyLock::new(Mutex::default);

/// Key sets with the time of their fetch, by address.
type Fetched = HashMap<String, (Instant, Arc<str>)>;

/// A JWT filter, compiled.
#[derive(Debug)]
pub(crate) struct JwtStep {
    verifier: JwtVerifier,
    remote: Vec<RemoteKeys>,
    stats: JwtStats,
}

/// `http.<prefix>.jwt_authn.<prefix of the filter>.…`; the names are documented in
/// `iako-telemetry`'s table.
#[derive(Debug)]
struct JwtStats {
    allowed: Counter,
    denied: Counter,
    cors_preflight_bypassed: Counter,
    jwks_fetch_success: Counter,
    jwks_fetch_failed: Counter,
}

#[derive(Debug)]
struct RemoteKeys {
    provider: String,
    uri: String,
    cluster: String,
    timeout: Duration,
    cache: Duration,
    retry: Option<FetchRetry>,
    state: KeyState,
}

/// When keys are fetched; requests of all workers look at it.
#[derive(Debug)]
struct KeyState {
    /// What `next` counts from.
    start: Instant,
    /// Whether there are keys.
    is_there: AtomicBool,
    /// No fetch begins before; milliseconds.
    next: AtomicU64,
}

impl KeyState {
    /// Keys that are due for a fetch at a time; without one, that are not there.
    fn new(due: Option<Instant>) -> Self {
        let start = clock::now();
        let state = Self { start, is_there: AtomicBool::new(due.is_some()), next: 0.into() };
        state.put_off(due.unwrap_or(start));
        state
    }

    fn millis(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn put_off(&self, until: Instant) {
        self.next.store(self.millis(until), Ordering::Relaxed);
    }
}

/// What a fetch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    /// There are keys, but they are old.
    Refresh,
    /// There are none.
    Keys,
}

impl JwtStep {
    /// Compiles the settings; keys that the process has already are taken over.
    pub(crate) fn compile(settings: &JwtAuthn, manager: &StatsScope) -> Self {
        let verifier = JwtVerifier::compile(Arc::new(settings.clone()));
        let mut remote = Vec::new();
        for wanted in verifier.wanted_jwks() {
            let Jwks::Remote { uri, cluster, timeout, cache, retry } = wanted.jwks else {
                continue;
            };
            let mut due = None;
            let known = FETCHED.lock().get(uri).cloned();
            if let Some((at, text)) = known
                && verifier.update_jwks(wanted.provider, &text).is_ok()
            {
                due = Some(at + *cache);
            }
            remote.push(RemoteKeys {
                provider: wanted.provider.to_owned(),
                uri: uri.clone(),
                cluster: cluster.clone(),
                timeout: *timeout,
                cache: *cache,
                retry: *retry,
                state: KeyState::new(due),
            });
        }
        let scope = match settings.stat_prefix.trim_end_matches('.') {
            "" => manager.part("jwt_authn"),
            prefix => manager.part("jwt_authn").part(prefix),
        };
        let stats = JwtStats {
            allowed: scope.counter("allowed"),
            denied: scope.counter("denied"),
            cors_preflight_bypassed: scope.counter("cors_preflight_bypassed"),
            jwks_fetch_success: scope.counter("jwks_fetch_success"),
            jwks_fetch_failed: scope.counter("jwks_fetch_failed"),
        };
        Self { verifier, remote, stats }
    }

    /// Whether [`Self::ready`] may have something to do.
    pub(crate) fn may_wait(&self) -> bool {
        !self.remote.is_empty()
    }

    /// Gets keys that are missing, and has old ones fetched anew beside the request.
    pub(crate) async fn ready(self: &Arc<Self>, worker: &Rc<Worker>) {
        for (place, keys) in self.remote.iter().enumerate() {
            match keys.need(clock::now()) {
                Need::Nothing => {}
                Need::Keys => self.fetch(place, worker).await,
                Need::Refresh => {
                    let (step, on) = (Arc::clone(self), Rc::clone(worker));
                    worker.scope.spawn("jwks", async move { step.fetch(place, &on).await });
                }
            }
        }
    }

    async fn fetch(&self, place: usize, worker: &Rc<Worker>) {
        let Some(keys) = self.remote.get(place) else { return };
        let (mut tries, mut pause) = (0, keys.retry.map_or(Duration::ZERO, |retry| retry.pause));
        let problem = loop {
            let problem = match self.fetch_once(keys, worker).await {
                Ok(()) => return self.stats.jwks_fetch_success.inc(),
                Err(problem) => problem,
            };
            tries += 1;
            let Some(retry) = keys.retry.filter(|retry| tries <= retry.retries_max) else {
                break problem;
            };
            tokio::time::sleep(pause.min(retry.pause_max)).await;
            pause = pause.saturating_mul(2);
        };
        self.stats.jwks_fetch_failed.inc();
        tracing::warn!(uri = keys.uri, provider = keys.provider, problem, "no keys for tokens");
    }

    async fn fetch_once(&self, keys: &RemoteKeys, worker: &Rc<Worker>) -> Result<(), String> {
        let fetch = fetch::get(worker, &keys.cluster, &keys.uri);
        let body = match tokio::time::timeout(keys.timeout, fetch).await {
            Ok(fetched) => fetched.map_err(|error| error.to_string())?,
            Err(_elapsed) => return Err(format!("no answer within {:?}", keys.timeout)),
        };
        let text = std::str::from_utf8(&body).map_err(|error| error.to_string())?;
        self.verifier.update_jwks(&keys.provider, text).map_err(|error| error.to_string())?;
        keys.keep(text);
        Ok(())
    }

    /// Decides about a request, by the requirement that its route names if it names one. What its
    /// tokens leave for logs is there even when it is refused.
    pub(crate) fn check(
        &self,
        facts: &RequestFacts<'_>,
        named: Option<&str>,
        worker: &Worker,
    ) -> (JwtChanges, Result<(), Failure>) {
        let now = clock::wall();
        let decision = worker.with_tokens(|tokens| self.verifier.decide(facts, named, now, tokens));
        let refusal = match decision {
            JwtDecision::Pass(changes) => {
                self.stats.allowed.inc();
                if changes.is_preflight {
                    self.stats.cors_preflight_bypassed.inc();
                }
                return (changes, Ok(()));
            }
            JwtDecision::Refuse(refusal) => refusal,
            JwtDecision::Misnamed(misnamed) => {
                self.stats.denied.inc();
                let message = misnamed.to_string();
                let body = format!("Failed JWT authentication: {message}");
                let failure =
                    Failure::Token { status: 403, message, body, challenge: String::new() };
                return (JwtChanges::default(), Err(failure));
            }
        };
        self.stats.denied.inc();
        let message = refusal.rejection.to_string();
        let (body, challenge) = if refusal.is_stripped {
            (String::new(), String::new())
        } else {
            (message.clone(), refusal.challenge)
        };
        let failure = Failure::Token { status: refusal.status, message, body, challenge };
        (refusal.changes, Err(failure))
    }
}

impl RemoteKeys {
    /// What has to be fetched now; of requests that ask at the same time one fetches anew.
    fn need(&self, now: Instant) -> Need {
        let state = &self.state;
        let due = state.next.load(Ordering::Relaxed);
        if !state.is_there.load(Ordering::Relaxed) {
            // The first requests all wait for keys: without any they would all be refused.
            return Need::Keys;
        }
        if state.millis(now) < due {
            return Need::Nothing;
        }
        let pause = PAUSE_AFTER_FAILURE.max(self.timeout);
        let next = state.millis(now + pause);
        let won = state.next.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if won.is_ok() { Need::Refresh } else { Need::Nothing }
    }

    fn keep(&self, text: &str) {
        let now = clock::now();
        self.state.put_off(now + self.cache);
        self.state.is_there.store(true, Ordering::Relaxed);
        FETCHED.lock().insert(self.uri.clone(), (now, text.into()));
    }
}
