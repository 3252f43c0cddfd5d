//! Asking a service that counts requests.

use std::rc::Rc;
use std::sync::Arc;

use iako_http::{FieldName, FieldValue, HeaderEdits};
use iako_proxy_config::{AppendAction, GlobalRateLimit, GrpcService, RateAnswer, RateDescriptor};
use iako_telemetry::{Counter, ResponseFlag, StatsScope};
use iako_traffic::{
    CountMoment, CountedLimits, DescriptorFacts, RouteMatchResult, counts_request,
    rate_limit_headers,
};
use iako_xds_codec::service::limit;

use crate::callout::{self, CallError};
use crate::http::downstream::Downstream;
use crate::http::error_response::Reply;
use crate::http::exchange::{Exchange, Step};
use crate::http::failure::Failure;
use crate::http::trace::{CalloutName, CalloutSpan};
use crate::http::{mutations, record};
use crate::worker::Worker;

/// gRPC's status for a limit that was met.
pub(super) const RESOURCE_EXHAUSTED: u32 = 8;

/// A filter that counts requests at a service, compiled.
#[derive(Debug)]
pub(crate) struct LimitStep {
    name: String,
    settings: Box<GlobalRateLimit>,
    own_cluster: String,
}

/// `cluster.<name>.ratelimit.…`.
#[derive(Debug)]
pub(crate) struct LimitStats {
    ok: Counter,
    error: Counter,
    over_limit: Counter,
    failure_mode_allowed: Counter,
}

impl LimitStats {
    pub(crate) fn new(scope: &StatsScope, prefix: &str) -> Self {
        let part = scope.part("ratelimit");
        let part = if prefix.is_empty() { part } else { part.part(prefix) };
        Self {
            ok: part.counter("ok"),
            error: part.counter("error"),
            over_limit: part.counter("over_limit"),
            failure_mode_allowed: part.counter("failure_mode_allowed"),
        }
    }
}

impl LimitStep {
    pub(crate) fn compile(name: &str, settings: &GlobalRateLimit, own_cluster: &str) -> Self {
        Self {
            name: name.to_owned(),
            settings: Box::new(settings.clone()),
            own_cluster: own_cluster.to_owned(),
        }
    }
}

impl Exchange<'_> {
    /// Asks whether a request is one too many.
    pub(in crate::http) async fn ask_limit(
        &mut self,
        step: &LimitStep,
        matched: Option<RouteMatchResult<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Step, Failure> {
        let settings = &step.settings;
        let Some(route) = matched else { return Ok(Step::Continue) };
        // Only requests of a route to a cluster are counted.
        let Some(cluster) = self.record.cluster.clone() else { return Ok(Step::Continue) };
        if !settings.enabled.value.takes(self.connection.draw()) {
            return Ok(Step::Continue);
        }
        let is_counted = {
            let view = self.request.view();
            let facts = self.request.facts(&view, &self.connection.info);
            counts_request(settings.requests, &facts)
        };
        if !is_counted {
            return Ok(Step::Continue);
        }
        let typed = route.overrides().global_limit(&step.name);
        let limits = CountedLimits::of(settings, typed, &route);
        let domain = typed.map(|typed| typed.domain.as_str()).filter(|domain| !domain.is_empty());
        let domain = domain.unwrap_or(&settings.domain);
        let later = self.descriptors(step, &limits, CountMoment::Done, &cluster.name);
        if !later.is_empty() {
            let message = limit::request(domain, &later, 0);
            self.said.get_or_insert_default().count_later(&settings.service, message);
        }
        let descriptors = self.descriptors(step, &limits, CountMoment::Begin, &cluster.name);
        if descriptors.is_empty() {
            return Ok(Step::Continue);
        }
        let worker = Rc::clone(&self.connection.worker);
        let message = limit::request(domain, &descriptors, 0);
        let span = self.callout_span(CalloutName::grpc(&settings.service, limit::METHOD));
        let asking = Box::pin(put(worker, &settings.service, message, span));
        let answer = self.while_waiting(asking, downstream).await?;
        let stats = &self.connection.worker.shared.stats;
        let stats: Arc<LimitStats> = cluster.limit_stats(stats, &settings.stat_prefix);
        match answer {
            Ok(answer) if answer.over == Some(true) => {
                stats.over_limit.inc();
                cluster.count_response(settings.status, self.request.origin());
                Ok(self.one_too_many(step, answer))
            }
            Ok(answer) => {
                stats.ok.inc();
                self.counted(step, &answer);
                for header in &answer.request_headers {
                    let name = header.name.to_ascii_lowercase();
                    self.request.add_field(&name, header.value.clone());
                }
                Ok(Step::Continue)
            }
            Err(error) => {
                tracing::debug!(%error, "a service that counts requests did not answer");
                stats.error.inc();
                if !settings.failure_deny.value.takes(self.connection.draw()) {
                    stats.failure_mode_allowed.inc();
                    return Ok(Step::Continue);
                }
                self.record.flags.insert(ResponseFlag::RateLimitServiceError);
                Ok(Step::Reply(Box::new(Reply::new(
                    settings.status_on_error,
                    "rate_limiter_error",
                ))))
            }
        }
    }

    fn descriptors(
        &self,
        step: &LimitStep,
        limits: &CountedLimits<'_>,
        moment: CountMoment,
        cluster: &str,
    ) -> Vec<RateDescriptor> {
        let view = self.request.view();
        let request = self.request.facts(&view, &self.connection.info);
        let format = |format: &str| self.formatted(format, mutations::Absent::Empty);
        let facts = DescriptorFacts {
            request: &request,
            own_cluster: &step.own_cluster,
            cluster,
            format: &format,
        };
        limits.descriptors(step.settings.stage, moment, &facts)
    }

    /// What the response says of what is left.
    fn counted(&mut self, step: &LimitStep, answer: &RateAnswer) {
        self.keep_count(step, answer);
        let headers = step.settings.headers.then(|| rate_limit_headers(&answer.statuses)).flatten();
        if headers.is_none() && answer.response_headers.is_empty() {
            return;
        }
        let said = self.said.get_or_insert_default();
        for (name, value) in headers.iter().flatten() {
            said.header(name, value.as_bytes(), AppendAction::OverwriteOrAdd);
        }
        for header in &answer.response_headers {
            let name = header.name.to_ascii_lowercase();
            said.header(&name, &header.value, AppendAction::AppendOrAdd);
        }
    }

    fn keep_count(&mut self, step: &LimitStep, answer: &RateAnswer) {
        let name = &step.settings.metadata_namespace;
        let name = if name.is_empty() { &step.name } else { name };
        for (key, value) in &answer.metadata {
            self.request.metadata.set(name, key, value.clone());
        }
    }

    fn one_too_many(&mut self, step: &LimitStep, answer: RateAnswer) -> Step {
        let settings = &step.settings;
        if !settings.enforced.value.takes(self.connection.draw()) {
            self.counted(step, &answer);
            if settings.tells {
                let said = self.said.get_or_insert_default();
                said.header(RATELIMITED, b"true", AppendAction::OverwriteOrAdd);
            }
            return Step::Continue;
        }
        self.keep_count(step, &answer);
        self.record.flags.insert(ResponseFlag::RateLimited);
        let mut reply = Reply::new(settings.status, "request_rate_limited").with_body(answer.body);
        if settings.as_resource_exhausted {
            reply.grpc_status = Some(RESOURCE_EXHAUSTED);
        }
        for header in &answer.response_headers {
            add(&mut reply.edits, &header.name, header.value.clone());
        }
        let told = settings.headers.then(|| rate_limit_headers(&answer.statuses)).flatten();
        for (name, value) in told.into_iter().flatten() {
            add(&mut reply.edits, name, value.into_bytes());
        }
        if settings.tells {
            add(&mut reply.edits, RATELIMITED, b"true".to_vec());
        }
        let resets = answer.statuses.iter().filter(|status| status.remaining == 0);
        let reset = resets.filter_map(|status| status.until_reset).max();
        if let Some(reset) = reset.filter(|_| settings.retry_after) {
            add(&mut reply.edits, "retry-after", reset.as_secs().to_string().into_bytes());
        }
        let more = {
            let view = self.request.view();
            let further = self.facts();
            let record = record::access_record(&further, &view);
            mutations::rendered(&settings.add, &record)
        };
        mutations::add_all(&mut reply.edits, &more);
        Step::Reply(Box::new(reply))
    }
}

/// Says that it was this filter that refused.
const RATELIMITED: &str = "x-envoy-ratelimited";

fn add(edits: &mut HeaderEdits, name: &str, value: Vec<u8>) {
    if let Ok(name) = FieldName::parse(name.to_ascii_lowercase().as_bytes()) {
        edits.append(name, FieldValue::sanitized(value));
    }
}

async fn put(
    worker: Rc<Worker>,
    service: &GrpcService,
    message: Vec<u8>,
    span: Option<CalloutSpan>,
) -> Result<RateAnswer, CallError> {
    let asked = (service, limit::METHOD);
    let answer = callout::grpc::unary_in(&worker, asked, &message, span.as_ref()).await;
    let broken = CallError::Broken("the answer is no answer");
    let answer = answer.and_then(|answer| limit::answer(&answer).ok_or(broken));
    if let Some(span) = span {
        let told = |answer: &RateAnswer| {
            let is_over = answer.over == Some(true);
            ("ratelimit_status", if is_over { "over_limit" } else { "ok" })
        };
        span.end_grpc(answer.as_ref().map(|_| ()), answer.as_ref().ok().map(told));
    }
    answer
}

/// Counts a request that is done; nobody waits for the answer.
pub(super) fn count_done(worker: &Rc<Worker>, service: GrpcService, message: Vec<u8>) {
    let on = Rc::clone(worker);
    worker.scope.spawn("rate limit", async move {
        if let Err(error) = callout::grpc::unary(&on, &service, limit::METHOD, &message).await {
            tracing::debug!(%error, "a request that is done was not counted");
        }
    });
}
