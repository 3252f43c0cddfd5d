//! Sending a request on: what is changed about it, how often it is tried, where it goes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iako_http::{BodyLength, FieldValue, Known, Method, Version};
use iako_proxy_config::{ClusterTarget, ConnectEnd, RouteAction, RoutePriority, Thresholds};
use iako_rt::clock;
use iako_telemetry::ResponseFlag;
use iako_traffic::{
    BreakerGuard, HostChange, Overflow, RetryDecision, RetryState, RouteMatchResult, StopReason,
    Timeouts, TryTraces,
};

use super::attempt::{Attempt, TryFailure};
use super::downstream::h1::content_of;
use super::downstream::{Content, Downstream};
use super::exchange::Exchange;
use super::failure::Failure;
use super::filters::FilterKind;
use super::grpc_web::Coding;
use super::pump::{Repeatable, Upload};
use super::request::ResponseView;
use super::{headers, mirror, mutations, record, target};
use crate::snapshot::UpstreamCluster;

/// What all tries of a request have in common.
#[derive(Debug)]
pub(super) struct Plan<'r> {
    pub(super) action: &'r RouteAction,
    pub(super) cluster: Arc<UpstreamCluster>,
    pub(super) content: Content,
    pub(super) timeouts: Timeouts,
    pub(super) hash: Option<u64>,
    /// Whether the host becomes that of the chosen endpoint.
    pub(super) endpoint_host: bool,
    pub(super) istio_alpn: bool,
    pub(super) idempotent: bool,
    /// The tunnel ends here.
    pub(super) connect_end: Option<&'r ConnectEnd>,
}

impl Plan<'_> {
    pub(super) fn limits(&self) -> &Thresholds {
        let breakers = &self.cluster.config.circuit_breakers;
        match self.action.priority {
            RoutePriority::Default => &breakers.default,
            RoutePriority::High => &breakers.high,
        }
    }

    pub(super) fn breakers(&self) -> &Arc<iako_traffic::Breakers> {
        self.cluster.state.breakers(self.action.priority)
    }
}

impl Exchange<'_> {
    /// Sends the request to the route's cluster and the response back.
    pub(super) async fn forward(
        &mut self,
        route: &RouteMatchResult<'_>,
        action: &RouteAction,
        downstream: &mut Downstream<'_>,
    ) -> Result<(), Failure> {
        self.service.stats.routed.inc();
        let plan = self.plan(route, action)?;
        // A cluster that stands for others is what is told of.
        if !self.record.cluster.as_ref().is_some_and(|cluster| cluster.is_aggregate()) {
            self.record.cluster = Some(Arc::clone(&plan.cluster));
        }
        let (mut retry, mirrors) = {
            let view = self.request.view();
            let facts = self.request.facts(&view, &self.connection.info);
            let mut draw = || self.connection.draw();
            let mirrors: Vec<_> = route.mirrors(&mut draw).collect();
            (RetryState::new(route.retry_policy(), &facts), mirrors)
        };
        // Even a request that is not retried may be lost before the server saw it.
        self.upload = Upload::new(Repeatable::Yes);
        if matches!(plan.content, Content::None | Content::Tunnel) {
            self.upload.skip();
        }
        if self.request.web.is_some_and(|web| web.request == Coding::Text) {
            self.upload.decode_text();
        }
        if self.request.is_grpc() {
            self.upload.messages.enable();
            self.download.messages.enable();
        }
        self.begin_deadlines(&plan);
        self.change_request(route, &plan);
        for policy in mirrors {
            mirror::start(self, policy, plan.content);
        }
        let attempt = self.tries(route, &plan, retry.as_mut(), downstream).await?;
        let Attempt { mut lease, head, open } = attempt;
        self.respond(route, head, &mut lease, downstream).await?;
        self.take_late_report(&plan);
        drop(open);
        if self.upload.is_told_whole() {
            lease.release();
        }
        Ok(())
    }

    fn plan<'r>(
        &mut self,
        route: &RouteMatchResult<'r>,
        action: &'r RouteAction,
    ) -> Result<Plan<'r>, Failure> {
        let content = self.content(route)?;
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        let missing = Failure::NoCluster { status: action.cluster_not_found_status };
        // Found when the route was; only a header may have come to name another one since.
        let found = match (&action.target, &self.record.cluster) {
            (ClusterTarget::Cluster(_) | ClusterTarget::Weighted(_), Some(cluster)) => {
                Some(cluster)
            }
            _ => route.cluster(&facts.head).and_then(|name| self.snapshot.cluster(&name)),
        };
        let Some(named) = found else { return Err(missing) };
        let draw = if named.is_aggregate() { self.connection.draw() } else { 0 };
        let member = target::member_of(named, &self.snapshot, self.now, draw);
        let Some(cluster) = member else { return Err(Failure::NoHealthyUpstream) };
        let hash = if action.hash.is_empty() {
            None
        } else {
            let hash = route.hash(&facts, self.connection.draw());
            let cookies = hash.set_cookies.into_iter().map(|cookie| ("set-cookie", cookie));
            self.annotations.extend(cookies);
            hash.hash
        };
        Ok(Plan {
            action,
            cluster: Arc::clone(cluster),
            content,
            timeouts: route.timeouts(&facts),
            hash,
            endpoint_host: matches!(
                route.host_change(&facts.head),
                Some(HostChange::EndpointHostname)
            ),
            istio_alpn: self.service.traits.istio_alpn && cluster.config.metadata.alpn_override,
            idempotent: self.request.head.method().is_idempotent(),
            connect_end: self.connect_end(action, content),
        })
    }

    /// Whether the request is a tunnel that ends here. One of HTTP/2 that stands for an upgrade is none.
    fn connect_end<'r>(&self, action: &'r RouteAction, content: Content) -> Option<&'r ConnectEnd> {
        let end = action.connect_end.as_deref()?;
        let head = &self.request.head;
        let ends = match head.method() {
            Method::Connect => content == Content::Tunnel && head.upgrade().is_none(),
            method => end.allow_post && *method == Method::Post,
        };
        ends.then_some(end)
    }

    /// What follows the head; upgrades and CONNECT only where they are configured.
    fn content(&self, route: &RouteMatchResult<'_>) -> Result<Content, Failure> {
        let head = &self.request.head;
        let general = &self.service.manager.upgrades;
        let is_extended = head.version() == Version::Http2 && head.upgrade().is_some();
        if head.length() == BodyLength::Tunnel && !is_extended {
            let allowed = route.allows_upgrade("connect", general);
            return if allowed { Ok(Content::Tunnel) } else { Err(Failure::UpgradeRefused) };
        }
        let protocol = head.upgrade().map(<[u8]>::to_ascii_lowercase);
        match protocol.as_deref().map(std::str::from_utf8) {
            // A client that would rather speak HTTP/2 goes on in HTTP/1.1 (RFC 9113 dropped this).
            None | Some(Ok("h2c")) => {
                let content = content_of(head.length());
                // Decoded, the content has another length.
                let is_recoded =
                    self.request.web.is_some() && matches!(content, Content::Exact(1..));
                Ok(if is_recoded { Content::Streamed } else { content })
            }
            Some(Ok(protocol)) if route.allows_upgrade(protocol, general) => Ok(Content::Tunnel),
            Some(_) => Err(Failure::UpgradeRefused),
        }
    }

    fn begin_deadlines(&mut self, plan: &Plan<'_>) {
        let nonzero = |limit: Option<Duration>| limit.filter(|limit| !limit.is_zero());
        if let Some(idle) = plan.timeouts.idle {
            self.deadlines.idle = nonzero(Some(idle));
        }
        if let Some(stream) = plan.timeouts.stream {
            self.deadlines.stream = nonzero(Some(stream)).map(|limit| self.record.start + limit);
        }
        if plan.content == Content::Tunnel {
            self.deadlines.request = None;
        }
    }

    /// The edits of the route and of the mesh, made once for all tries.
    fn change_request(&mut self, route: &RouteMatchResult<'_>, plan: &Plan<'_>) {
        for level in route.header_mutations() {
            if level.request_add.is_empty() && level.request_remove.is_empty() {
                continue;
            }
            let additions = {
                let view = self.request.view();
                let facts =
                    record::access_record(self.connection, &self.record, &self.request, &view);
                mutations::rendered(&level.request_add, &facts)
            };
            mutations::edit_request(&mut self.request, &additions, level);
        }
        self.rewrite(route);
        for filter in self.service.filters.iter().filter(|filter| !filter.is_off(None)) {
            if let FilterKind::PeerMetadata(step) = &filter.kind {
                let cluster = &plan.cluster.config.metadata;
                step.tell_server(cluster, &mut self.request.edits.fields);
            }
        }
    }

    fn rewrite(&mut self, route: &RouteMatchResult<'_>) {
        let rewritten = match route.path_format() {
            Some(format) => {
                let path = self.formatted(format, mutations::Absent::Empty);
                let query = self.request.path().split_once('?').map(|(_, query)| query);
                Some(query.map_or_else(|| path.clone(), |query| format!("{path}?{query}")))
            }
            None => route.rewritten_path(self.request.path()),
        };
        if let Some(path) = rewritten {
            let original = Bytes::copy_from_slice(self.request.path().as_bytes());
            if !self.service.traits.suppresses_envoy_headers {
                let value = FieldValue::sanitized(original);
                self.request.edits.fields.set(Known::XEnvoyOriginalPath, value);
            }
            self.request.edits.path = Some(path.into());
        }
        let host = {
            let view = self.request.view();
            let facts = self.request.facts(&view, &self.connection.info);
            match route.host_change(&facts.head) {
                Some(HostChange::To(host)) => Some(host.into_owned()),
                Some(HostChange::Format(format)) => {
                    Some(self.formatted(format, mutations::Absent::Dash))
                }
                Some(HostChange::EndpointHostname) | None => None,
            }
        };
        if let (Some(host), Some(action)) = (host, route.forward()) {
            self.set_host(host.into(), action);
        }
    }

    /// Replaces the host and says what it was, as far as the route and the router want.
    pub(super) fn set_host(&mut self, host: Box<str>, action: &RouteAction) {
        let original = self.request.authority().to_owned();
        if *original == *host {
            return;
        }
        let told = !self.service.traits.suppresses_envoy_headers;
        let fields = &mut self.request.edits.fields;
        if action.append_x_forwarded_host {
            fields.append(Known::XForwardedHost, FieldValue::sanitized(original.clone()));
        }
        if told {
            fields.add_if_absent(Known::XEnvoyOriginalHost, FieldValue::sanitized(original));
        }
        self.request.edits.authority = Some(host);
    }

    /// Tries until there is a response to pass on, or no further try is allowed.
    async fn tries(
        &mut self,
        route: &RouteMatchResult<'_>,
        plan: &Plan<'_>,
        mut retry: Option<&mut RetryState<'_>>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Attempt, Failure> {
        let mut place: Option<BreakerGuard> = None;
        loop {
            self.record.attempts += 1;
            self.tell_attempt(route, plan);
            let excluded = retry.as_deref().map_or(&[][..], RetryState::excluded);
            let tried = self.attempt(plan, excluded, downstream).await;
            drop(place.take());
            let Some(state) = retry.as_deref_mut() else {
                return tried.map_err(TryFailure::into_failure);
            };
            if let Some((_, tried)) = &self.record.endpoint {
                state.tried(*tried);
            }
            let decision = self.decide(state, plan, &tried);
            let (after, guard) = match decision {
                RetryDecision::Retry { after, guard } => (after, guard),
                RetryDecision::Stop(reason) => {
                    self.note_stop(reason, state, plan);
                    return tried.map_err(TryFailure::into_failure);
                }
            };
            plan.cluster.stats.rq_retry.inc();
            drop(tried);
            place = Some(guard);
            self.rewind(plan);
            self.deadlines.end_try();
            self.pause(after, downstream).await?;
            self.now = clock::now();
        }
    }

    /// Has the request's content begin anew, for another try.
    pub(super) fn rewind(&mut self, plan: &Plan<'_>) {
        self.upload.rewind();
        if matches!(plan.content, Content::None | Content::Tunnel) {
            self.upload.skip();
        }
    }

    fn decide(
        &self,
        state: &mut RetryState<'_>,
        plan: &Plan<'_>,
        tried: &Result<Attempt, TryFailure>,
    ) -> RetryDecision {
        let draw = self.connection.draw();
        let limits = (plan.breakers(), plan.limits());
        let body_lost = !self.upload.can_repeat();
        match tried {
            Ok(attempt) => {
                let view = ResponseView { head: &attempt.head, edits: &self.response_edits };
                let end = iako_traffic::TryEnd::Response {
                    status: attempt.head.status(),
                    headers: &view,
                };
                let traces =
                    TryTraces { request_written: true, body_lost, response_started: false };
                state.decide(&end, traces, limits, draw)
            }
            Err(TryFailure::Repeatable { end, written, .. }) => {
                let traces =
                    TryTraces { request_written: *written, body_lost, response_started: false };
                state.decide(&end.as_end(), traces, limits, draw)
            }
            Err(TryFailure::Final(_)) => RetryDecision::Stop(StopReason::NotNamed),
        }
    }

    fn note_stop(&mut self, reason: StopReason, state: &RetryState<'_>, plan: &Plan<'_>) {
        match reason {
            StopReason::LimitReached => {
                self.record.flags.insert(ResponseFlag::UpstreamRetryLimitExceeded);
                plan.cluster.stats.rq_retry_limit_exceeded.inc();
            }
            StopReason::Overflow => {
                self.record.flags.insert(ResponseFlag::UpstreamOverflow);
                plan.cluster.stats.rq_retry_overflow.inc();
            }
            StopReason::NotNamed if state.retries() > 0 => {
                plan.cluster.stats.rq_retry_success.inc();
            }
            StopReason::NotNamed | StopReason::Unsafe | StopReason::TooLate => {}
        }
    }

    /// Tells the server how often the request was tried and how long we wait.
    fn tell_attempt(&mut self, route: &RouteMatchResult<'_>, plan: &Plan<'_>) {
        if self.service.traits.suppresses_envoy_headers {
            return;
        }
        let elapsed = self.now.saturating_duration_since(self.record.start);
        let fields = &mut self.request.edits.fields;
        if route.virtual_host.include_attempt_count {
            let attempts = u64::from(self.record.attempts);
            fields.set(Known::XEnvoyAttemptCount, FieldValue::from(attempts));
        }
        let whole = plan.timeouts.response.map(|limit| {
            // The first try is told the whole time, later ones what is left of it.
            if self.record.attempts > 1 { limit.saturating_sub(elapsed) } else { limit }
        });
        let expected = match (plan.timeouts.per_try, whole) {
            (Some(per_try), Some(whole)) => Some(per_try.min(whole)),
            (per_try, whole) => per_try.or(whole),
        };
        if let Some(expected) = expected {
            let millis = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
            fields.set(Known::XEnvoyExpectedRequestTimeout, headers::number(millis));
        }
    }
}

impl From<Overflow> for TryFailure {
    fn from(overflow: Overflow) -> Self {
        Self::Final(Failure::Overflow(overflow))
    }
}
