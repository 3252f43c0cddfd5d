//! The customers of the shop: requests at a steady rate, and what became of them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use iako_rt::{Rng, Scope};
use parking_lot::Mutex;
use tokio::{
    sync::Semaphore,
    task::AbortHandle,
    time::{self, MissedTickBehavior},
};

use crate::app::{Answer, Client, ClientError};

/// Most requests that are open at once; beyond, customers wait.
const OPEN_MAX: usize = 512;

/// One of this many customers buys; the others look.
const BUYERS: u64 = 10;

/// Who asks for what, where.
#[derive(Debug, Clone)]
pub(crate) struct LoadSettings {
    /// The ingress gateway.
    pub(crate) gateway: SocketAddr,
    /// The host that customers ask for.
    pub(crate) host: String,
    /// Requests a second.
    pub(crate) rate: u32,
    /// The token of a customer who buys; nobody buys without it.
    pub(crate) token: Option<String>,
}

/// Requests at a steady rate, until dropped.
#[derive(Debug)]
pub(crate) struct Load {
    totals: Arc<Totals>,
    generator: AbortHandle,
    requests: Scope,
    _scope: Scope,
}

/// What became of the requests so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LoadTotals {
    /// Answered, or failed.
    pub(crate) requests: u64,
    /// Failed, though no configuration asked for it.
    pub(crate) failed: u64,
    /// Refused or broken because the configuration asks for it: faults on purpose, policies.
    pub(crate) as_configured: u64,
    /// What the last failure looked like.
    pub(crate) last_failure: Option<String>,
}

#[derive(Debug, Default)]
struct Totals {
    requests: AtomicU64,
    failed: AtomicU64,
    as_configured: AtomicU64,
    last_failure: Mutex<Option<String>>,
}

impl Load {
    /// Starts the customers.
    pub(crate) fn start(settings: LoadSettings) -> Self {
        let totals = Arc::new(Totals::default());
        let (scope, requests) = (Scope::new(), Scope::new());
        let generator =
            scope.spawn("load", generate(settings, Arc::clone(&totals), requests.clone()));
        Self { totals, generator, requests, _scope: scope }
    }

    /// What became of the requests so far.
    pub(crate) fn totals(&self) -> LoadTotals {
        self.totals.read()
    }

    /// Sends no more requests and waits for the answers to the open ones.
    pub(crate) async fn finish(self) -> LoadTotals {
        self.generator.abort();
        self.requests.finished().await;
        self.totals()
    }
}

async fn generate(settings: LoadSettings, totals: Arc<Totals>, requests: Scope) {
    let client = Arc::new(Client::new(settings.gateway));
    let open = Arc::new(Semaphore::new(OPEN_MAX));
    let mut rng = Rng::from_system();
    let mut ticks = time::interval(Duration::from_secs(1) / settings.rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { return };
        let token = settings.token.as_deref().filter(|_| rng.below(BUYERS) == 0);
        let request = request(&settings.host, token);
        let (client, totals) = (Arc::clone(&client), Arc::clone(&totals));
        requests.spawn("load request", async move {
            let answer = client.send(request).await;
            totals.record(answer);
            drop(permit);
        });
    }
}

/// A customer who looks, or with a token one who buys.
fn request(host: &str, token: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::new()));
    if let Some(token) = token {
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/checkout");
        if let Ok(value) = HeaderValue::from_str(&format!("Bearer {token}")) {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
    }
    if let Ok(host) = HeaderValue::from_str(host) {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

impl Totals {
    fn read(&self) -> LoadTotals {
        LoadTotals {
            requests: self.requests.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            as_configured: self.as_configured.load(Ordering::Relaxed),
            last_failure: self.last_failure.lock().clone(),
        }
    }

    fn record(&self, answer: Result<Answer, ClientError>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let failure = match answer {
            Ok(answer) if is_good(answer.status) => return,
            Ok(answer) => {
                let body = String::from_utf8_lossy(&answer.body);
                if is_as_configured(answer.status, &body) {
                    self.as_configured.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                format!("{}: {}", answer.status, body.trim().chars().take(300).collect::<String>())
            }
            Err(error) => describe(&error),
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        *self.last_failure.lock() = Some(failure);
    }
}

fn is_good(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

/// Whether somebody wrote that this should happen. The services pass on what a proxy told them, so
/// the words of a fault or a policy deep in the mesh arrive here.
fn is_as_configured(status: StatusCode, body: &str) -> bool {
    let told = ["fault filter abort", "RBAC: access denied", "Jwt "]
        .iter()
        .any(|words| body.contains(words));
    told || (status.is_client_error() && status != StatusCode::NOT_FOUND)
}

fn describe(error: &ClientError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Answer, ClientError> {
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::from(body.to_owned()),
        })
    }

    #[test]
    fn only_what_nobody_asked_for_counts_as_failed() {
        let totals = Totals::default();
        totals.record(answer(200, "{}"));
        totals.record(answer(503, r#"{"calls":[{"body":"fault filter abort"}]}"#));
        totals.record(answer(403, "RBAC: access denied"));
        totals.record(answer(503, "no healthy upstream"));
        totals.record(answer(404, ""));
        let totals = totals.read();
        assert_eq!((totals.requests, totals.failed, totals.as_configured), (5, 2, 2));
        assert!(totals.last_failure.unwrap().contains("404"));
    }
}
