//! Tokens of this proxy's own: asked for when a filter that shows them serves, and again when half of
//! their life is over.

use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use iako_http::{FieldValue, Method};
use iako_proxy_config::{ClientCredentials, SourcedName};
use iako_traffic::{TokenAnswer, TokenProblem, client_credentials_form};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::callout::http::{Question, ask, parts_of};
use crate::callout::{CallError, own_address};
use crate::worker::Worker;

/// Longest answer of an authorization server that is taken.
pub(crate) const TOKEN_ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// What requests for tokens say of themselves, as Envoy's do.
pub(crate) const FORM_FIELDS: [(&str, &[u8]); 2] =
    [("content-type", b"application/x-www-form-urlencoded"), ("accept", b"application/json")];

/// Why a server gave no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The secret that is shown is gone.
    #[error("there is no secret")]
    NoSecret,
    /// The endpoint is no URL.
    #[error("the address is no http or https URL")]
    Address,
    /// It did not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// It refused.
    #[error("the answer has status {0}")]
    Status(u16),
    /// It answered something else.
    #[error(transparent)]
    Answer(#[from] TokenProblem),
    /// It does not say how long the token lives.
    #[error("the answer does not say when the token expires")]
    NoExpiry,
}

/// All tokens that filters show, so that those of a new configuration are there already.
#[derive(Debug, Default)]
pub(crate) struct TokenKeepers(Mutex<Vec<Weak<TokenKeeper>>>);

/// One token, and how it is asked for.
pub(crate) struct TokenKeeper {
    settings: ClientCredentials,
    /// What filters write; none while there is none.
    shown: ArcSwapOption<FieldValue>,
    /// Whether somebody keeps it fresh.
    begun: AtomicBool,
    /// Closed when no filter shows it any more.
    needed: watch::Sender<()>,
}

impl fmt::Debug for TokenKeeper {
    /// The token is a secret: it is not shown.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("TokenKeeper").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl TokenKeepers {
    /// The token that is asked for in this way.
    pub(crate) fn find(&self, settings: &ClientCredentials) -> Arc<TokenKeeper> {
        let mut keepers = self.0.lock();
        keepers.retain(|keeper| keeper.strong_count() > 0);
        let mut known = keepers.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|keeper| keeper.settings == *settings) {
            return known;
        }
        let keeper = Arc::new(TokenKeeper {
            settings: settings.clone(),
            shown: ArcSwapOption::empty(),
            begun: AtomicBool::new(false),
            needed: watch::Sender::new(()),
        });
        keepers.push(Arc::downgrade(&keeper));
        keeper
    }

    /// Those that nobody keeps fresh yet.
    pub(crate) fn idle(&self) -> Vec<Arc<TokenKeeper>> {
        let keepers = self.0.lock();
        let known = keepers.iter().filter_map(Weak::upgrade);
        known.filter(|keeper| !keeper.begun.load(Ordering::Relaxed)).collect()
    }
}

impl TokenKeeper {
    /// What is written into requests; none while there is no token.
    pub(crate) fn shown(&self) -> Option<FieldValue> {
        self.shown.load().as_deref().cloned()
    }

    /// The secret that is shown to the server.
    pub(crate) const fn secret(&self) -> &SourcedName {
        &self.settings.client_secret
    }

    /// Whether the caller is the one who keeps it from now on.
    pub(crate) fn begin(&self) -> bool {
        !self.begun.swap(true, Ordering::Relaxed)
    }
}

/// Keeps a token fresh until no filter shows it any more.
pub(crate) async fn keep(worker: Rc<Worker>, keeper: Arc<TokenKeeper>) {
    let mut needed = keeper.needed.subscribe();
    let settings = keeper.settings.clone();
    let keeper = {
        // Held weakly from here on: filters decide how long it lives.
        let weak = Arc::downgrade(&keeper);
        drop(keeper);
        weak
    };
    loop {
        let fetched = tokio::select! {
            fetched = Box::pin(fetch(&worker, &settings)) => fetched,
            _closed = needed.changed() => return,
        };
        let pause = match fetched {
            Ok((shown, lifetime)) => {
                let Some(keeper) = keeper.upgrade() else { return };
                keeper.shown.store(Some(Arc::new(shown)));
                (lifetime / 2).max(settings.retry_interval)
            }
            Err(error) => {
                let uri = &settings.endpoint.uri;
                tracing::warn!(uri, error = &error as &dyn std::error::Error, "no token");
                settings.retry_interval
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _closed = needed.changed() => return,
        }
    }
}

/// Asks once: what is written into requests, and for how long.
async fn fetch(
    worker: &Rc<Worker>,
    settings: &ClientCredentials,
) -> Result<(FieldValue, Duration), TokenError> {
    let secret = worker.shared.generic_secret(&settings.client_secret);
    let form = client_credentials_form(settings, secret.ok_or(TokenError::NoSecret)?.expose());
    let endpoint = &settings.endpoint;
    let (_, authority, path) = parts_of(&endpoint.uri).ok_or(TokenError::Address)?;
    let (millis, own) = (endpoint.timeout.as_millis().to_string(), own_address().to_string());
    let mut fields = FORM_FIELDS.to_vec();
    fields.push(("user-agent", b"Go-browser"));
    fields.push(("x-envoy-internal", b"true"));
    fields.push(("x-envoy-expected-rq-timeout-ms", millis.as_bytes()));
    fields.push(("x-forwarded-for", own.as_bytes()));
    let question = Question {
        cluster: &endpoint.cluster,
        method: Method::Post,
        authority,
        path,
        fields: &fields,
        body: Some(form.into()),
        limit: Some(endpoint.timeout),
        answer_bytes_max: TOKEN_ANSWER_BYTES_MAX,
    };
    let answer = ask(worker, &question).await?;
    if answer.status != 200 {
        return Err(TokenError::Status(answer.status));
    }
    let answer = TokenAnswer::read(&answer.body)?;
    let lifetime = Duration::from_secs(answer.expires_in.ok_or(TokenError::NoExpiry)?);
    Ok((FieldValue::sanitized(format!("Bearer {}", answer.access_token)), lifetime))
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::{ConfigSource, HttpUri, SecretShown};

    use super::*;

    fn credentials(client_id: &str) -> ClientCredentials {
        let source = ConfigSource::default();
        ClientCredentials {
            endpoint: HttpUri::default(),
            client_id: client_id.to_owned(),
            client_secret: SourcedName::new("secret", source),
            shown: SecretShown::Basic,
            scopes: Vec::new(),
            parameters: Vec::new(),
            retry_interval: Duration::from_secs(2),
        }
    }

    #[test]
    fn filters_that_ask_alike_show_the_same_token_and_one_task_keeps_it() {
        let keepers = TokenKeepers::default();
        let (one, same) = (keepers.find(&credentials("a")), keepers.find(&credentials("a")));
        assert!(Arc::ptr_eq(&one, &same));
        assert!(!Arc::ptr_eq(&one, &keepers.find(&credentials("b"))));
        assert!(one.begin() && !same.begin());
        let idle = keepers.idle().len();
        assert_eq!(idle, 0, "one is kept, the other is shown by no filter");
    }

    #[test]
    fn a_token_that_no_filter_shows_is_forgotten() {
        let keepers = TokenKeepers::default();
        let keeper = keepers.find(&credentials("a"));
        let needed = keeper.needed.subscribe();
        drop(keeper);
        assert!(needed.has_changed().is_err(), "whoever keeps it hears that it is not needed");
        assert_eq!(keepers.idle().len(), 0);
    }
}
