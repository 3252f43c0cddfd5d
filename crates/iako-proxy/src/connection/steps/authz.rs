//! Asking a service whether a connection may pass.

use std::{collections::BTreeMap, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use iako_proxy_config::{AuthzFailure, CheckAnswer, ConnectionAuthz};
use iako_rt::clock;
use iako_telemetry::{Counter, Gauge, ResponseFlag};
use iako_traffic::{
    ConnectionInfo, ConnectionMoment, ConnectionVerdict, connection_authz_asks,
    connection_authz_question, connection_authz_verdict, principal,
};
use iako_xds_codec::service::check;
use serde_json::Value;

use super::Ending;
use crate::{
    callout::{self, CallError},
    shared::Shared,
    transport::TlsDetails,
    worker::Worker,
};

/// Under which name what a service leaves is kept.
const FILTER: &str = "envoy.filters.network.ext_authz";

/// An authorization filter of connections, compiled.
#[derive(Debug)]
pub(crate) struct Authz {
    settings: ConnectionAuthz,
    labels: BTreeMap<String, String>,
    stats: Stats,
}

/// `ext_authz.<stat_prefix>.…`
#[derive(Debug)]
struct Stats {
    total: Counter,
    ok: Counter,
    denied: Counter,
    error: Counter,
    failure_mode_allowed: Counter,
    cx_closed: Counter,
    disabled: Counter,
    active: Gauge,
}

/// A question that is under way, counted as long as it is.
pub(super) struct Asking {
    answer: Pin<Box<dyn Future<Output = Answer>>>,
    authz: Arc<Authz>,
}

/// What came of a question, and how long that took.
pub(super) type Answer = (Result<CheckAnswer, CallError>, Duration);

impl Drop for Asking {
    fn drop(&mut self) {
        self.authz.stats.active.dec();
    }
}

impl Asking {
    /// What comes of it.
    pub(super) fn poll(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<(Arc<Authz>, Answer)> {
        self.answer.as_mut().poll(context).map(|answer| (Arc::clone(&self.authz), answer))
    }
}

impl Authz {
    pub(super) fn compile(settings: &ConnectionAuthz, shared: &Shared) -> Self {
        let scope = shared.stats.scope(&format!("ext_authz.{}", settings.stat_prefix));
        Self {
            labels: shared.node.labels_under(&settings.labels_key),
            stats: Stats {
                total: scope.counter("total"),
                ok: scope.counter("ok"),
                denied: scope.counter("denied"),
                error: scope.counter("error"),
                failure_mode_allowed: scope.counter("failure_mode_allowed"),
                cx_closed: scope.counter("cx_closed"),
                disabled: scope.counter("disabled"),
                active: scope.gauge("active"),
            },
            settings: settings.clone(),
        }
    }

    /// Puts the question about a connection; none where nobody is asked about it.
    pub(super) fn ask(
        self: &Arc<Self>,
        worker: &Rc<Worker>,
        info: &ConnectionInfo,
        tls: Option<&TlsDetails>,
    ) -> Option<Asking> {
        if !connection_authz_asks(&self.settings, &info.metadata) {
            self.stats.disabled.inc();
            return None;
        }
        let own = tls.and_then(|tls| tls.own.as_ref()).map(|own| own.facts());
        let own =
            own.map_or("", |facts| principal(&facts.uri_sans, &facts.dns_sans, &facts.subject));
        let peer = tls.filter(|_| self.settings.include_peer_certificate);
        let peer_pem = peer.and_then(|tls| tls.peer.as_ref()).map(|peer| peer.leaf_pem());
        let moment = ConnectionMoment {
            labels: Some(&self.labels),
            own_principal: own,
            peer_pem: peer_pem.as_deref().unwrap_or_default(),
        };
        let message = check::request(&connection_authz_question(&self.settings, info, &moment));
        self.stats.total.inc();
        self.stats.active.inc();
        let (authz, worker) = (Arc::clone(self), Rc::clone(worker));
        let answer = Box::pin(async move {
            let began = clock::now();
            let service = &authz.settings.service;
            let asked = callout::grpc::unary(&worker, service, check::METHOD, &message).await;
            let answer = asked.and_then(|bytes| {
                check::answer(&bytes).ok_or(CallError::Broken("the answer is no answer"))
            });
            (answer, clock::now().saturating_duration_since(began))
        });
        Some(Asking { answer, authz: Arc::clone(self) })
    }

    /// Does what was answered: keeps what the service left, counts, and ends the connection or not.
    pub(super) fn decide(
        &self,
        (answer, took): Answer,
        info: &mut ConnectionInfo,
    ) -> Result<(), Ending> {
        let verdict = match answer {
            Ok(answer) => {
                let verdict = connection_authz_verdict(&answer);
                for (key, value) in answer.metadata {
                    info.metadata.set(FILTER, &key, value);
                }
                verdict
            }
            Err(error) => {
                tracing::debug!(%error, "an authorization service did not answer");
                ConnectionVerdict::Fail
            }
        };
        let details = match verdict {
            ConnectionVerdict::Pass => {
                self.stats.ok.inc();
                let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                info.metadata.set(FILTER, "ext_authz_duration", Value::from(took));
                return Ok(());
            }
            ConnectionVerdict::Deny => {
                self.stats.denied.inc();
                "ext_authz_denied"
            }
            ConnectionVerdict::Fail => {
                self.stats.error.inc();
                if self.settings.on_failure != AuthzFailure::Deny {
                    self.stats.failure_mode_allowed.inc();
                    return Ok(());
                }
                "ext_authz_error"
            }
        };
        if self.settings.only_watches {
            return Ok(());
        }
        self.stats.cx_closed.inc();
        let flag = Some(ResponseFlag::UnauthorizedExternalService);
        let code_details = Some(details);
        Err(Ending { flag, code_details, ..Ending::because("ext_authz_close") })
    }
}
