//! Checking tokens, and fetching the keys that they are checked with.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use iako_proxy_config::{Jwks, JwtAuthn};
use iako_rt::clock;
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
}

#[derive(Debug)]
struct RemoteKeys {
    provider: String,
    uri: String,
    cluster: String,
    timeout: Duration,
    cache: Duration,
    state: Mutex<KeyState>,
}

#[derive(Debug, Default)]
struct KeyState {
    /// When the keys that are in use were fetched.
    fetched: Option<Instant>,
    /// No fetch begins before.
    next: Option<Instant>,
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
    pub(crate) fn compile(settings: &JwtAuthn) -> Self {
        let verifier = JwtVerifier::compile(Arc::new(settings.clone()));
        let mut remote = Vec::new();
        for wanted in verifier.wanted_jwks() {
            let Jwks::Remote { uri, cluster, timeout, cache } = wanted.jwks else { continue };
            let mut state = KeyState::default();
            let known = FETCHED.lock().get(uri).cloned();
            if let Some((at, text)) = known
                && verifier.update_jwks(wanted.provider, &text).is_ok()
            {
                state = KeyState { fetched: Some(at), next: Some(at + *cache) };
            }
            remote.push(RemoteKeys {
                provider: wanted.provider.to_owned(),
                uri: uri.clone(),
                cluster: cluster.clone(),
                timeout: *timeout,
                cache: *cache,
                state: Mutex::new(state),
            });
        }
        Self { verifier, remote }
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
        let fetched =
            tokio::time::timeout(keys.timeout, fetch::get(worker, &keys.cluster, &keys.uri)).await;
        let problem = match fetched {
            Ok(Ok(body)) => match std::str::from_utf8(&body) {
                Ok(text) => match self.verifier.update_jwks(&keys.provider, text) {
                    Ok(()) => return keys.keep(text),
                    Err(error) => error.to_string(),
                },
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => format!("no answer within {:?}", keys.timeout),
        };
        tracing::warn!(uri = keys.uri, provider = keys.provider, problem, "no keys for tokens");
    }

    /// Decides about a request.
    pub(crate) fn check(&self, facts: &RequestFacts<'_>) -> Result<JwtChanges, Failure> {
        match self.verifier.decide(facts, clock::wall()) {
            JwtDecision::Pass(changes) => Ok(changes),
            JwtDecision::Refuse(refusal) => Err(Failure::Token {
                status: refusal.status,
                message: refusal.rejection.to_string(),
                challenge: refusal.challenge,
            }),
        }
    }
}

impl RemoteKeys {
    /// What has to be fetched now; whoever asks next is told later.
    fn need(&self, now: Instant) -> Need {
        let mut state = self.state.lock();
        if state.next.is_some_and(|next| now < next) {
            return Need::Nothing;
        }
        if state.fetched.is_some() {
            state.next = Some(now + PAUSE_AFTER_FAILURE.max(self.timeout));
            Need::Refresh
        } else {
            // The first requests all wait for keys: without any they would all be refused.
            Need::Keys
        }
    }

    fn keep(&self, text: &str) {
        let now = clock::now();
        *self.state.lock() = KeyState { fetched: Some(now), next: Some(now + self.cache) };
        FETCHED.lock().insert(self.uri.clone(), (now, text.into()));
    }
}
