//! Sending a request on: what is changed about it, how often it is tried, where it goes.

mod redirect;
mod tries;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use iako_http::{BodyLength, FieldValue, Known, KnownSet, Method, Version};
use iako_proxy_config::{ClusterTarget, ConnectEnd, RouteAction, ShedPlace, Thresholds};
use iako_rt::Rng;
use iako_traffic::{
    HostChange, RetryState, RouteMatchResult, TimeoutRules, Timeouts, hash_of_request,
};
use iako_types::Percent;

use super::attempt::Attempt;
use super::downstream::h1::content_of;
use super::downstream::{Content, Downstream};
use super::exchange::Exchange;
use super::failure::Failure;
use super::filters::FilterKind;
use super::pump::{REPLAY_BYTES_MAX, Repeatable, UploadLength};
use super::request::Request;
use super::{mirror, mutations, record, target};
use crate::snapshot::UpstreamCluster;

/// What internal clients ask of us by headers.
const CONSUMED: &[Known] = &[
    Known::XEnvoyRetryOn,
    Known::XEnvoyRetryGrpcOn,
    Known::XEnvoyMaxRetries,
    Known::XEnvoyRetriableStatusCodes,
    Known::XEnvoyRetriableHeaderNames,
    Known::XEnvoyHedgeOnPerTryTimeout,
    Known::XEnvoyUpstreamAltStatName,
    Known::XEnvoyUpstreamRequestTimeout,
    Known::XEnvoyUpstreamRequestPerTryTimeout,
    Known::XEnvoyUpstreamRequestTimeoutAltResponse,
];

const CONSUMED_SET: KnownSet = KnownSet::of(CONSUMED);

/// How far a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client has its response.
    Answered,
    /// The server sent it elsewhere, and it goes there from here.
    Redirected,
    /// What it lacked came, and it begins anew.
    Renewed,
}

/// What all tries of a request have in common.
#[derive(Debug)]
pub(super) struct Plan<'r> {
    pub(super) action: &'r RouteAction,
    pub(super) cluster: Arc<UpstreamCluster>,
    /// The cluster that stands for it and counts what was answered; none for most.
    pub(super) aggregate: Option<Arc<UpstreamCluster>>,
    pub(super) content: Content,
    pub(super) timeouts: Timeouts,
    pub(super) hash: Option<u64>,
    /// Metadata that the chosen instance must have.
    pub(super) subset: &'r [(String, String)],
    /// Further tries; none when the request may have none.
    pub(super) retry: RefCell<Option<RetryState<'r>>>,
    /// Whether a slow try goes on beside the next one.
    pub(super) hedged: bool,
    /// Whether the host becomes that of the chosen endpoint.
    pub(super) endpoint_host: bool,
    pub(super) istio_alpn: bool,
    pub(super) idempotent: bool,
    /// The tunnel ends here.
    pub(super) connect_end: Option<&'r ConnectEnd>,
}

impl Plan<'_> {
    /// The cluster in whose name clients are answered.
    pub(super) fn counted(&self) -> &Arc<UpstreamCluster> {
        self.aggregate.as_ref().unwrap_or(&self.cluster)
    }

    pub(super) fn limits(&self) -> &Thresholds {
        self.counted().limits(self.action.priority)
    }

    pub(super) fn breakers(&self) -> &Arc<iako_traffic::Breakers> {
        self.counted().state.breakers(self.action.priority)
    }
}

impl Exchange<'_> {
    /// Sends the request to the route's cluster and the response back.
    pub(super) async fn forward<'r>(
        &mut self,
        route: &RouteMatchResult<'r>,
        action: &'r RouteAction,
        downstream: &mut Downstream<'_>,
    ) -> Result<Progress, Failure> {
        // An upgrade that is refused does not come to the router, in Envoy's count.
        let content = self.content(route)?;
        self.service.stats.routed.inc();
        self.check_strict_headers()?;
        let mut plan = self.plan(route, action, content)?;
        self.begin_tally(route);
        // A cluster that stands for others is what is told of.
        if !self.record.cluster.as_ref().is_some_and(|cluster| cluster.is_aggregate()) {
            self.record.cluster = Some(Arc::clone(&plan.cluster));
        }
        self.check_maintenance(&plan)?;
        self.check_dropped(&plan)?;
        self.check_shed()?;
        plan.breakers().note_request(plan.limits(), self.now);
        self.begin_content(route, &plan);
        self.begin_deadlines(&plan);
        self.consume_headers();
        self.change_request(route, &plan);
        let mut draw = || self.connection.draw();
        let mirrors: Vec<_> = route.mirrors(&mut draw).collect();
        if !mirrors.is_empty() {
            self.tell_time(&plan);
        }
        for policy in mirrors {
            mirror::start(self, policy, plan.content);
        }
        let attempt = self.tries(route, &mut plan, downstream).await?;
        let Attempt { mut lease, head, open } = attempt;
        if let Some(policy) = &action.internal_redirect
            && policy.statuses.contains(&head.status())
            && self.redirects(&plan, policy, &head)
        {
            drop((lease, open));
            return Ok(Progress::Redirected);
        }
        let responded = self.respond(route, head, &mut lease, downstream).await;
        self.count_abandoned(&plan);
        responded?;
        self.take_late_report(&plan);
        drop(open);
        if self.upload.is_told_whole() {
            lease.release();
        }
        Ok(Progress::Answered)
    }

    /// Finds where the request is counted apart from the rest of its cluster.
    fn begin_tally(&mut self, route: &RouteMatchResult<'_>) {
        if route.virtual_host.virtual_clusters.is_empty() && route.route.stat_prefix.is_empty() {
            return;
        }
        let view = self.request.view();
        let served = self.service.routes(self.snapshot, &self.request);
        let tally = served.map(|served| served.tally(route, &self.request.head(&view)));
        self.record.tally = tally.unwrap_or_default();
    }

    /// Prepares for the content of the request.
    fn begin_content(&mut self, route: &RouteMatchResult<'_>, plan: &Plan<'_>) {
        // Even a request that is not retried may be lost before the server saw it.
        let is_wanted = plan.retry.borrow().is_some() || plan.action.internal_redirect.is_some();
        let usual = self.service.kept_bytes_max;
        let usual = if is_wanted { usual } else { usual.min(REPLAY_BYTES_MAX as u64) };
        let kept_max = route.body_bytes_kept_max().unwrap_or(usual);
        self.upload.begin(Repeatable::UpTo(kept_max));
        if matches!(plan.content, Content::None | Content::Tunnel) {
            self.upload.skip();
        }
        if self.request.is_grpc() {
            self.upload.messages.enable();
            self.download.messages.enable();
        }
    }

    /// Counts a request whose content was too large to be kept, where it would have been needed.
    fn count_abandoned(&self, plan: &Plan<'_>) {
        if self.upload.was_abandoned()
            && (plan.retry.borrow().is_some() || plan.action.internal_redirect.is_some())
        {
            plan.counted().stats.retry_or_shadow_abandoned.inc();
        }
    }

    /// Refuses the share of requests that an operator wants refused.
    fn check_maintenance(&self, plan: &Plan<'_>) -> Result<(), Failure> {
        let share = plan.cluster.config.maintenance;
        if share == Percent::ZERO || !share.takes(self.connection.draw()) {
            return Ok(());
        }
        plan.counted().stats.rq_maintenance_mode.inc();
        Err(Failure::Maintenance)
    }

    /// Refuses the share of requests that the control plane wants refused.
    fn check_dropped(&self, plan: &Plan<'_>) -> Result<(), Failure> {
        // A cluster that stands for others takes no such word from them, as in Envoy.
        let failure = match plan.cluster.dropped() {
            0 => return Ok(()),
            _ if plan.aggregate.is_some() => return Ok(()),
            1_000_000.. => Failure::AllDropped,
            share if self.connection.draw() % 1_000_000 < u64::from(share) => Failure::Dropped,
            _ => return Ok(()),
        };
        plan.cluster.count_dropped();
        Err(failure)
    }

    /// Refuses requests while the proxy is overloaded.
    fn check_shed(&mut self) -> Result<(), Failure> {
        let worker = &self.connection.worker;
        let draw = || worker.with_rng(Rng::unit);
        if worker.shared.overload.sheds(ShedPlace::Filters, draw) {
            // As in Envoy, which counts it as a try.
            self.record.attempts = 1;
            self.service.stats.rq_overload_reply.inc();
            return Err(Failure::Shed);
        }
        Ok(())
    }

    /// Refuses requests whose headers are not what the router insists on.
    fn check_strict_headers(&self) -> Result<(), Failure> {
        let strict = &self.service.router.strict_headers;
        if strict.is_empty() {
            return Ok(());
        }
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        match iako_traffic::strict_problem(strict, &facts.head) {
            Some(problem) => Err(Failure::StrictHeader(problem)),
            None => Ok(()),
        }
    }

    /// Takes out what a client asks of us by headers: it was read, and is not for the server.
    fn consume_headers(&mut self) {
        let Request { head, edits, internal, .. } = &mut *self.request;
        if !*internal || !head.fields().contains_any(CONSUMED_SET) {
            return;
        }
        let sent = head.fields();
        let asked = Known::XEnvoyUpstreamRequestTimeoutAltResponse;
        self.wants_alt_response = edits.fields.get(sent, asked).is_some();
        let keeps_time = self.service.router.respect_expected_timeout
            && edits.fields.get(sent, Known::XEnvoyExpectedRequestTimeout).is_some();
        for name in CONSUMED.iter().filter(|name| sent.contains(**name)) {
            if *name != Known::XEnvoyUpstreamRequestTimeout || !keeps_time {
                edits.fields.remove(*name);
            }
        }
    }

    fn plan<'r>(
        &mut self,
        route: &RouteMatchResult<'r>,
        action: &'r RouteAction,
        content: Content,
    ) -> Result<Plan<'r>, Failure> {
        let view = self.request.view();
        let facts = self.request.facts(&view, &self.connection.info);
        let missing = Failure::NoCluster { status: action.cluster_not_found_status };
        // Found when the route was; only a header may have come to name another one since.
        let is_fixed = match &action.target {
            ClusterTarget::Cluster(_) => true,
            ClusterTarget::Weighted(_) => {
                route.weighted.is_some_and(|target| target.cluster_header.is_none())
            }
            ClusterTarget::Header(_) | ClusterTarget::Tree(_) => false,
        };
        let found = match &self.record.cluster {
            Some(cluster) if is_fixed => Some(cluster),
            Some(_) | None => route.cluster(&facts).and_then(|name| self.snapshot.cluster(&name)),
        };
        let Some(named) = found else { return Err(missing) };
        let draw = if named.is_aggregate() { self.connection.draw() } else { 0 };
        let member = target::member_of(named, self.snapshot, self.now, draw);
        let Some(cluster) = member else { return Err(Failure::NoHealthyUpstream) };
        // A cluster's own policies stand in place of the route's.
        let own = cluster.config.lb.hashing().map_or(&[][..], |hashing| &hashing.policies);
        let policies = if own.is_empty() { action.hash.as_slice() } else { own };
        let hash = if policies.is_empty() {
            None
        } else {
            let hash = hash_of_request(policies, &facts, Some(self.connection.draw()));
            let cookies = hash.set_cookies.into_iter().map(|cookie| ("set-cookie", cookie));
            self.annotations.extend(cookies);
            hash.hash
        };
        let rules =
            TimeoutRules { respects_expected: self.service.router.respect_expected_timeout };
        let asked = facts.internal.then(|| self.request.get(Known::XEnvoyHedgeOnPerTryTimeout));
        let hedged = match asked.flatten() {
            Some(b"true") => true,
            Some(b"false") => false,
            Some(_) | None => route.hedge().on_per_try_timeout,
        };
        Ok(Plan {
            action,
            cluster: Arc::clone(cluster),
            aggregate: named.is_aggregate().then(|| Arc::clone(named)),
            content,
            timeouts: route.timeouts(&facts, rules),
            hash,
            subset: route.subset(),
            retry: RefCell::new(RetryState::new(route.retry_policy(), &facts)),
            hedged,
            endpoint_host: matches!(
                route.host_change(&facts.head),
                Some(HostChange::EndpointHostname)
            ),
            istio_alpn: self.service.traits.istio_alpn && cluster.config.metadata.alpn_override,
            idempotent: self.request.edits.method(&self.request.head).is_idempotent(),
            connect_end: self.connect_end(action, content),
        })
    }

    /// Whether the request is a tunnel that ends here. One of HTTP/2 that stands for an upgrade is none.
    fn connect_end<'r>(&self, action: &'r RouteAction, content: Content) -> Option<&'r ConnectEnd> {
        let end = action.connect_end.as_deref()?;
        let head = &self.request.head;
        let ends = match head.method() {
            Method::Connect => content == Content::Tunnel && head.upgrade().is_none(),
            Method::Post => end.allow_post,
            Method::Get
            | Method::Head
            | Method::Put
            | Method::Delete
            | Method::Options
            | Method::Trace
            | Method::Patch
            | Method::Other(_) => false,
        };
        ends.then_some(end)
    }

    /// What follows the head; upgrades and CONNECT only where they are configured.
    fn content(&self, route: &RouteMatchResult<'_>) -> Result<Content, Failure> {
        if let Some(content) = self.said.as_ref().and_then(|said| said.content) {
            return Ok(content);
        }
        if self.request.without_content {
            return Ok(Content::None);
        }
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
                let has_content = matches!(content, Content::Exact(1..) | Content::Streamed);
                Ok(match self.upload.length() {
                    UploadLength::Known(length) if has_content => Content::Exact(length),
                    UploadLength::Unknown if has_content => Content::Streamed,
                    UploadLength::Announced | UploadLength::Known(_) | UploadLength::Unknown => {
                        content
                    }
                })
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
        if let Some(flush) = plan.timeouts.flush {
            self.deadlines.flush = nonzero(Some(flush));
        }
        if let Some(stream) = plan.timeouts.grpc_stream {
            self.tell_grpc_timeout(stream);
        }
    }

    /// The edits of the route and of the mesh, made once for all tries.
    fn change_request(&mut self, route: &RouteMatchResult<'_>, plan: &Plan<'_>) {
        for level in route.header_mutations() {
            if level.request_add.is_empty() && level.request_remove.is_empty() {
                continue;
            }
            mutations::remove(&mut self.request.edits.fields, &level.request_remove);
            let additions = {
                let view = self.request.view();
                let further = self.facts();
                let facts = record::access_record(&further, &view);
                mutations::rendered(&level.request_add, &facts)
            };
            mutations::add_to_request(&mut self.request, &additions);
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
            // What comes out empty is no path: it stays as it is.
            Some(format) => {
                let path = self.formatted(format, mutations::Absent::Empty);
                let query = self.request.path().split_once('?').map(|(_, query)| query);
                let whole = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
                (!path.is_empty()).then_some(whole)
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
        let Some(host) = host else { return };
        if route.weighted.is_some_and(|target| target.host_rewrite.is_some()) {
            // What a target says of its host is told to nobody, in Envoy either.
            self.request.edits.authority = Some(host.into());
        } else if let Some(action) = route.forward() {
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
            let value = FieldValue::sanitized(original.clone());
            let joined = KnownSet::JOINED_IN_REQUESTS;
            fields.add(self.request.head.fields(), Known::XForwardedHost, value, joined);
        }
        if told {
            fields.add_if_absent(Known::XEnvoyOriginalHost, FieldValue::sanitized(original));
        }
        self.request.edits.authority = Some(host);
    }
}
