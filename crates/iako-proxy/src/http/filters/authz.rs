//! Asking a service whether a request may pass.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iako_http::{FieldName, FieldValue, Method};
use iako_proxy_config::{
    AuthzBody, AuthzFailure, AuthzHttp, AuthzService, ExtAuthz, ExtAuthzRoute, GrpcService,
};
use iako_rt::clock;
use iako_telemetry::{Counter, ResponseFlag, StatsScope};
use iako_traffic::{
    AuthzAsk, AuthzChanges, AuthzMoment, AuthzRefusal, AuthzRefusalKind, AuthzVerdict, HttpAnswer,
    RouteMatchResult, authz_ask, authz_body, authz_question, authz_service, authz_verdict,
    http_authz_question, http_authz_verdict,
};
use iako_xds_codec::service::check;
use serde_json::{Map, Value};

use crate::callout::{self, CallError};
use crate::http::content::Gathered;
use crate::http::downstream::Downstream;
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::trace::{CalloutName, CalloutSpan};
use crate::shared::Shared;

/// Longest answer of a service that is asked by HTTP.
pub(crate) const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Says to servers that nobody was asked.
const FAILURE_ALLOWED: &str = "x-envoy-auth-failure-mode-allowed";

/// An authorization filter, compiled.
#[derive(Debug)]
pub(crate) struct AuthzStep {
    /// The filter's name, under which it leaves facts.
    name: String,
    settings: Box<ExtAuthz>,
    stats: AuthzStats,
    labels: BTreeMap<String, String>,
}

/// `ext_authz.…` of a connection manager or a cluster.
#[derive(Debug)]
pub(crate) struct AuthzStats {
    ok: Counter,
    denied: Counter,
    error: Counter,
    disabled: Counter,
    failure_mode_allowed: Counter,
    invalid: Counter,
}

impl AuthzStats {
    pub(crate) fn new(scope: &StatsScope, prefix: &str) -> Self {
        let part = scope.part("ext_authz");
        let part = if prefix.is_empty() { part } else { part.part(prefix) };
        Self {
            ok: part.counter("ok"),
            denied: part.counter("denied"),
            error: part.counter("error"),
            disabled: part.counter("disabled"),
            failure_mode_allowed: part.counter("failure_mode_allowed"),
            invalid: part.counter("invalid"),
        }
    }
}

/// What a service said.
struct Decision {
    verdict: AuthzVerdict,
    /// What is kept for other filters.
    metadata: Map<String, Value>,
    took: Duration,
}

impl AuthzStep {
    pub(crate) fn compile(
        name: &str,
        settings: &ExtAuthz,
        scope: &StatsScope,
        shared: &Shared,
    ) -> Self {
        Self {
            name: name.to_owned(),
            stats: AuthzStats::new(scope, &settings.stat_prefix),
            labels: shared.node.labels_under(&settings.labels_key),
            settings: Box::new(settings.clone()),
        }
    }
}

impl Exchange<'_> {
    /// Asks the service of an authorization filter.
    pub(in crate::http) async fn ask_authz(
        &mut self,
        step: &AuthzStep,
        matched: Option<RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let levels = matched.map(|route| route.overrides().authz(&step.name)).unwrap_or_default();
        let ask = {
            let view = self.request.view();
            let facts = self.request.facts(&view, &self.connection.info);
            authz_ask(&step.settings, &facts, self.connection.draw())
        };
        match ask {
            AuthzAsk::Ask => {}
            AuthzAsk::Pass => {
                step.stats.disabled.inc();
                return Ok(Step::Continue);
            }
            AuthzAsk::Refuse => {
                step.stats.disabled.inc();
                return Ok(self.refused(*AuthzRefusal::of_failure(&step.settings)));
            }
        }
        let body = authz_body(&step.settings, &levels).filter(|_| self.may_gather());
        if let Some(body) = body {
            let gathered = self.gather_as_announced(body.bytes_max.into(), downstream).await?;
            if gathered == Gathered::Beyond && !body.allow_partial {
                return Err(Failure::TooLarge);
            }
        }
        let content = body.map(|body| (self.upload.held(), body));
        let asking = self.question(step, &levels, content.as_ref());
        let worker = Rc::clone(&self.connection.worker);
        let span = self.callout_span(asking.name());
        let asking = Box::pin(put(worker, &step.settings, asking, span));
        let mut decision = self.while_waiting(asking, downstream).await?;
        self.keep_metadata(step, &mut decision);
        Ok(self.decided(step, decision.verdict))
    }

    /// What is asked, and of whom.
    fn question<'s>(
        &self,
        step: &'s AuthzStep,
        levels: &[&'s ExtAuthzRoute],
        content: Option<&(Bytes, AuthzBody)>,
    ) -> Asking<'s> {
        let settings = &step.settings;
        let headers = self.told_headers();
        let moment = AuthzMoment {
            time: Some(self.record.start_wall),
            id: self.connection.draw(),
            protocol: self.request.head.version().as_str(),
            content: content.map(|(content, body)| (content.as_ref(), *body)),
            received: self.upload.bytes,
            labels: Some(&step.labels),
        };
        match authz_service(settings, levels) {
            AuthzService::Grpc(service) => {
                let contexts: Vec<_> = levels.iter().rev().map(|level| &level.context).collect();
                let view = self.request.view();
                let facts = self.request.facts(&view, &self.connection.info);
                let question = authz_question(settings, &contexts, &facts, &moment, &headers);
                let message = check::request(&question);
                Asking::Grpc { service, message, path: self.request.path().to_owned() }
            }
            AuthzService::Http(service) => {
                let path = self.request.path();
                let question = http_authz_question(settings, service, path, &moment, &headers);
                let fields = question.headers.into_iter();
                Asking::Http {
                    service,
                    method: self.request.edits.method(&self.request.head).clone(),
                    authority: self.request.authority().to_owned(),
                    path: question.path.into_owned(),
                    headers: fields
                        .map(|(name, value)| (name.to_owned(), value.into_owned()))
                        .collect(),
                    body: Bytes::copy_from_slice(question.body),
                }
            }
        }
    }

    fn keep_metadata(&mut self, step: &AuthzStep, decision: &mut Decision) {
        let metadata = std::mem::take(&mut decision.metadata);
        if metadata.is_empty() || !step.settings.takes_metadata {
            return;
        }
        let took = u64::try_from(decision.took.as_millis()).unwrap_or(u64::MAX);
        let took = ("ext_authz_duration".to_owned(), Value::from(took));
        for (key, value) in metadata.into_iter().chain([took]) {
            self.request.metadata.set(&step.name, &key, value);
        }
    }

    /// Does what was decided, and counts it.
    fn decided(&mut self, step: &AuthzStep, verdict: AuthzVerdict) -> Step {
        let cluster = self.authz_stats(step);
        let count = |which: fn(&AuthzStats) -> &Counter| {
            which(&step.stats).inc();
            if let Some(stats) = &cluster {
                which(stats).inc();
            }
        };
        match verdict {
            AuthzVerdict::Pass(changes) => {
                count(|stats| &stats.ok);
                let reroutes = step.settings.clear_route_cache && changes.is_any();
                self.change_as_told(*changes);
                if reroutes { Step::Reroute } else { Step::Continue }
            }
            AuthzVerdict::Refuse(refusal) => {
                match refusal.kind {
                    AuthzRefusalKind::Error => {
                        count(|stats| &stats.error);
                        if step.settings.on_failure != AuthzFailure::Deny {
                            count(|stats| &stats.failure_mode_allowed);
                            if step.settings.on_failure == AuthzFailure::AllowAndTell {
                                self.request.add_field(FAILURE_ALLOWED, b"true".to_vec());
                            }
                            return Step::Continue;
                        }
                    }
                    AuthzRefusalKind::Denied => {
                        count(|stats| &stats.denied);
                        if step.settings.charges_cluster
                            && let Some(cluster) = &self.record.cluster
                        {
                            cluster.count_response(refusal.status, self.request.origin());
                        }
                    }
                    AuthzRefusalKind::Invalid => step.stats.invalid.inc(),
                    AuthzRefusalKind::InvalidDenied => {
                        count(|stats| &stats.denied);
                        step.stats.invalid.inc();
                    }
                }
                self.refused(*refusal)
            }
        }
    }

    fn authz_stats(&self, step: &AuthzStep) -> Option<Arc<AuthzStats>> {
        let cluster = self.record.cluster.as_ref()?;
        let stats = &self.connection.worker.shared.stats;
        Some(cluster.authz_stats(stats, &step.settings.stat_prefix))
    }

    fn refused(&mut self, refusal: AuthzRefusal) -> Step {
        self.record.flags.insert(ResponseFlag::UnauthorizedExternalService);
        let details = match refusal.kind {
            AuthzRefusalKind::Denied => "ext_authz_denied",
            AuthzRefusalKind::Error => "ext_authz_error",
            AuthzRefusalKind::Invalid | AuthzRefusalKind::InvalidDenied => "ext_authz_invalid",
        };
        let AuthzRefusal { status, headers, body, .. } = refusal;
        let mut reply = Reply::new(status, details).with_body(body);
        for (name, value) in headers {
            if let Ok(name) = FieldName::parse(name.as_bytes()) {
                reply.edits.append(name, FieldValue::sanitized(value));
            }
        }
        Step::Reply(Box::new(reply))
    }

    /// Changes the request, and remembers what is to be done to its response.
    fn change_as_told(&mut self, changes: AuthzChanges) {
        let AuthzChanges { set, add, append, remove, path, response } = changes;
        for (name, value) in set {
            self.request.set_field(&name, value);
        }
        for (name, value) in append {
            self.request.append_to_field(&name, &value);
        }
        for (name, value) in add {
            self.request.add_field(&name, value);
        }
        for name in remove {
            if let Ok(name) = FieldName::parse(name.as_bytes()) {
                self.request.edits.fields.remove(name);
            }
        }
        if let Some(path) = path {
            self.request.edits.path = Some(path.into());
        }
        if !response.is_empty() {
            let said = self.said.get_or_insert_default();
            response.iter().for_each(|(name, value, action)| said.header(name, value, *action));
        }
    }
}

/// A question that is ready to be sent.
enum Asking<'s> {
    Grpc {
        service: &'s GrpcService,
        message: Vec<u8>,
        path: String,
    },
    Http {
        service: &'s AuthzHttp,
        method: Method,
        authority: String,
        path: String,
        headers: Vec<(String, Vec<u8>)>,
        body: Bytes,
    },
}

impl Asking<'_> {
    /// Who is asked, as spans tell it.
    fn name(&self) -> CalloutName<'_> {
        match self {
            Self::Grpc { service, .. } => CalloutName::grpc(service, check::METHOD),
            Self::Http { service, .. } => {
                CalloutName { cluster: &service.server.cluster, host: "", method: "" }
            }
        }
    }
}

/// What spans tell of a decision.
const fn told(verdict: &AuthzVerdict) -> (&'static str, &'static str) {
    let value = match verdict {
        AuthzVerdict::Pass(_) => "ext_authz_ok",
        AuthzVerdict::Refuse(_) => "ext_authz_unauthorized",
    };
    ("ext_authz_status", value)
}

/// Asks; a service that does not answer refuses.
async fn put(
    worker: Rc<crate::worker::Worker>,
    settings: &ExtAuthz,
    asking: Asking<'_>,
    span: Option<CalloutSpan>,
) -> Decision {
    let began = clock::now();
    let asked = match asking {
        Asking::Grpc { service, message, path } => {
            let asked =
                callout::grpc::unary_in(&worker, (service, check::METHOD), &message, span.as_ref());
            let heard = asked.await.and_then(|answer| hear_grpc(settings, &answer, &path));
            if let Some(span) = span {
                let ended = heard.as_ref().map(|_| ());
                span.end_grpc(ended, heard.as_ref().ok().map(|(verdict, _)| told(verdict)));
            }
            heard
        }
        asking @ Asking::Http { .. } => ask_http(&worker, settings, asking, span).await,
    };
    let (verdict, metadata) = asked.unwrap_or_else(|error| {
        tracing::debug!(%error, "an authorization service did not answer");
        (AuthzVerdict::Refuse(AuthzRefusal::of_failure(settings)), Map::new())
    });
    Decision { verdict, metadata, took: clock::now().saturating_duration_since(began) }
}

fn hear_grpc(
    settings: &ExtAuthz,
    answer: &[u8],
    path: &str,
) -> Result<(AuthzVerdict, Map<String, Value>), CallError> {
    let mut answer = check::answer(answer).ok_or(CallError::Broken("the answer is no answer"))?;
    let metadata = std::mem::take(&mut answer.metadata);
    Ok((authz_verdict(settings, answer, path), metadata))
}

async fn ask_http(
    worker: &Rc<crate::worker::Worker>,
    settings: &ExtAuthz,
    asking: Asking<'_>,
    span: Option<CalloutSpan>,
) -> Result<(AuthzVerdict, Map<String, Value>), CallError> {
    let Asking::Http { service, method, authority, path, headers, body } = asking else {
        return Err(CallError::Broken("asked the wrong way"));
    };
    let limit = service.server.timeout;
    let millis = limit.as_millis().to_string();
    let mut fields: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    let trace = span.as_ref().map(CalloutSpan::headers).unwrap_or_default();
    fields.extend(trace.iter().map(|(name, value)| (*name, value.as_bytes())));
    fields.push(("x-envoy-internal", b"true"));
    fields.push(("x-envoy-expected-rq-timeout-ms", millis.as_bytes()));
    let question = callout::http::Question {
        cluster: &service.server.cluster,
        method,
        authority: &authority,
        path: &path,
        fields: &fields,
        body: Some(body),
        limit: Some(limit),
        answer_bytes_max: ANSWER_BYTES_MAX,
    };
    let answer = Box::pin(callout::http::ask(worker, &question)).await?;
    let heard = HttpAnswer { status: answer.status, headers: &answer, body: &answer.body };
    let (verdict, metadata) = http_authz_verdict(settings, service, &heard);
    if let Some(span) = span {
        span.end_http(&answer, &service.server.cluster, told(&verdict));
    }
    Ok((verdict, metadata))
}
