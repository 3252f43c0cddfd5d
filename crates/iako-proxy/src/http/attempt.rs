//! One try: an endpoint, a connection, the request, and the head of the response.

mod hedge;
mod outcome;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use iako_http::ResponseHead;
use iako_proxy_config::{Discovery, Endpoint, EndpointAddress};
use iako_rt::clock;
use iako_traffic::{
    ActiveRequest, Avoid, Balancer, EndpointState, PickRequest, TryEnd, Wants, load_report,
};
use iako_xds_codec::decode;

use super::downstream::{Content, Downstream};
use super::exchange::Exchange;
use super::failure::Failure;
use super::forward::Plan;
use super::pump::PumpError;
use super::request::ResponseView;
use super::steering::Steered;
use super::target::Unlisted;
use super::wire::QUEUE_BYTES_MAX;
use crate::transport::Proxied;
use crate::upstream::pool::{AcquireError, Lease, Pools, Repeat, Want};
use crate::upstream::{Upstream, UpstreamError};
pub(super) use hedge::Rival;
use outcome::lost;

/// How often a request is sent again within one try, because its connection lost it.
const REPEATS_MAX: u32 = 2;

/// A try that brought the head of a response.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) lease: Lease,
    pub(super) head: ResponseHead,
    pub(super) open: Open,
}

/// Counts a request as under way at its endpoint.
pub(super) type Open = ActiveRequest;

/// A try that brought none.
#[derive(Debug)]
pub(super) enum TryFailure {
    /// Another try may be made.
    Repeatable { failure: Failure, end: End, written: bool },
    /// Nothing that another try would change.
    Final(Failure),
}

/// How a try without a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    ConnectFailed,
    Refused,
    Reset,
    Timeout,
    /// It takes longer than one try should, and goes on beside the next one.
    Slow,
}

impl End {
    pub(super) const fn as_end(self) -> TryEnd<'static> {
        match self {
            Self::ConnectFailed => TryEnd::ConnectFailed,
            Self::Refused => TryEnd::Refused,
            Self::Reset => TryEnd::Reset,
            Self::Timeout => TryEnd::TryTimeout,
            Self::Slow => TryEnd::TryHedged,
        }
    }
}

impl TryFailure {
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Repeatable { failure, .. } | Self::Final(failure) => failure,
        }
    }
}

/// The endpoint of a try.
#[derive(Debug)]
struct Target {
    balancer: Arc<Balancer>,
    state: Arc<EndpointState>,
    endpoint: TargetEndpoint,
}

#[derive(Debug)]
enum TargetEndpoint {
    /// One of the cluster's.
    Listed(u32),
    /// One that is made for the request.
    Original(Box<Endpoint>),
}

impl Target {
    fn endpoint(&self) -> Option<&Endpoint> {
        match &self.endpoint {
            TargetEndpoint::Original(endpoint) => Some(endpoint),
            TargetEndpoint::Listed(place) => {
                let place = usize::try_from(*place).ok()?;
                self.balancer.endpoints().get(place).map(|listed| &listed.endpoint)
            }
        }
    }
}

impl Exchange<'_> {
    /// Makes one try.
    pub(super) async fn attempt(
        &mut self,
        plan: &Plan<'_>,
        avoid: &Avoid,
        downstream: &mut Downstream<'_>,
    ) -> Result<Attempt, TryFailure> {
        let target = match &plan.cluster.config.discovery {
            Discovery::DynamicForward(_) => {
                let named = Box::pin(self.named_target(plan, downstream)).await?;
                Some(self.unlisted_target(plan, named))
            }
            Discovery::OriginalDst { port_override, header, metadata } => {
                let names = (header.as_ref(), metadata.as_ref());
                let original = self.original_target(plan, *port_override, names);
                original.map(|original| self.unlisted_target(plan, original))
            }
            Discovery::Static(_)
            | Discovery::Eds(_)
            | Discovery::StrictDns(_)
            | Discovery::LogicalDns(_)
            | Discovery::Aggregate(_) => self.target(plan, avoid),
        };
        let Some(target) = target else {
            plan.counted().stats.cx_none_healthy.inc();
            return Err(TryFailure::Final(self.nobody()));
        };
        let Some(endpoint) = target.endpoint() else {
            return Err(TryFailure::Final(Failure::NoHealthyUpstream));
        };
        self.record.host = Some(endpoint.address.clone());
        if plan.cluster.config.override_host.is_some() {
            self.note_chosen(&plan.cluster.config, &endpoint.address);
        }
        if plan.endpoint_host && !endpoint.hostname.is_empty() {
            self.set_host(endpoint.hostname.as_str().into(), plan.action);
        }
        if self.record.trace.is_some() {
            self.trace_try(plan);
        }
        let open = target.state.begin();
        let began = self.now;
        let ended = self.send(plan, &target, endpoint, downstream).await;
        self.report(plan, &target, ended.as_ref().map(|(_, head)| head).map_err(|(end, _)| end));
        if let Ok((_, head)) = &ended
            && plan.cluster.wants != Wants::Nothing
        {
            let balancer = &target.balancer;
            balancer.answered(&target.state, self.now.saturating_duration_since(began), self.now);
            if let Some(report) = load_report(
                &ResponseView { head, edits: &self.response_edits },
                decode::load_report,
            ) {
                balancer.reported(&target.state, &report, self.now);
            }
        }
        match ended {
            Ok((lease, head)) => Ok(Attempt { lease, head, open }),
            Err((failure, lease)) => {
                if let TryFailure::Repeatable { end: End::Slow, .. } = &failure
                    && let Some(lease) = lease
                {
                    self.keep_slow(lease, open);
                }
                Err(failure)
            }
        }
    }

    fn unlisted_target(&mut self, plan: &Plan<'_>, (endpoint, state): Unlisted) -> Target {
        self.record.endpoint = None;
        let endpoint = TargetEndpoint::Original(endpoint);
        Target { balancer: plan.cluster.balancer(), state, endpoint }
    }

    /// Chooses an endpoint.
    fn target(&mut self, plan: &Plan<'_>, avoid: &Avoid) -> Option<Target> {
        let balancer = plan.cluster.balancer();
        let is_steered = self.steering.is_some() || plan.cluster.config.override_host.is_some();
        let request = PickRequest {
            hash: plan.hash,
            subset: plan.subset,
            subset_fallbacks: &plan.action.subset_fallbacks,
            excluded: &avoid.places,
            tried_priorities: &avoid.priorities,
        };
        let steered = if is_steered { self.steer(plan, &balancer) } else { Steered::Anywhere };
        let (place, state) = match steered {
            Steered::To(place, state) => (place, state),
            Steered::Nowhere => return None,
            Steered::Anywhere => {
                let mut draw = || self.connection.draw();
                let Some(pick) = balancer.pick(&request, self.now, &mut draw) else {
                    plan.cluster.note_nobody(&balancer);
                    return None;
                };
                plan.cluster.note_pick(pick.notes);
                (pick.place, Arc::clone(&pick.endpoint.state))
            }
        };
        self.record.endpoint = Some((Arc::clone(&balancer), place));
        Some(Target { balancer, state, endpoint: TargetEndpoint::Listed(place) })
    }

    /// Gets a connection, sends the request and waits for the head. A request that its connection
    /// lost goes to another one of the same endpoint, where it certainly was not processed or may be
    /// processed twice.
    async fn send(
        &mut self,
        plan: &Plan<'_>,
        target: &Target,
        endpoint: &Endpoint,
        downstream: &mut Downstream<'_>,
    ) -> Result<(Lease, ResponseHead), (TryFailure, Option<Lease>)> {
        let host = plan.cluster.sends_hosts().then(|| self.server_name(plan));
        let host = host.unwrap_or_default();
        let info = &self.connection.info;
        let client = match plan.connect_end {
            None => Proxied::towards(&plan.cluster, info),
            Some(_) => Some(Proxied::of(info)),
        };
        let want = Want {
            cluster: &plan.cluster,
            endpoint,
            state: &target.state,
            priority: plan.action.priority,
            version: self.request.head.version(),
            host: &host,
            client: client.as_ref(),
            istio_alpn: plan.istio_alpn,
            owner: plan.cluster.config.connecting.per_client.then(|| self.connection.owner()),
            repeat: if plan.idempotent { Repeat::Safe } else { Repeat::Unsafe },
        };
        let alone = |failure| (failure, None);
        let kept = match plan.connect_end {
            None => Pools::take(&self.connection.worker, &want, self.now),
            Some(_) => Ok(None),
        };
        let mut lease = match kept {
            Ok(Some(lease)) => lease,
            Ok(None) => self.acquire(plan, &want, downstream).await.map_err(alone)?,
            Err(error) => return Err(alone(self.no_connection(error))),
        };
        self.record.tally.count(|stats| &stats.total);
        for _ in 0..REPEATS_MAX {
            let (ended, used) = self.ask(plan, lease, downstream).await;
            if !self.is_lost(plan, &ended, &used) {
                return match ended {
                    Ok(head) => Ok((used, head)),
                    Err(failure) => Err((failure, Some(used))),
                };
            }
            drop(used);
            self.record.attempts += 1;
            self.rewind(plan);
            let worker = std::rc::Rc::clone(&self.connection.worker);
            let acquiring = Box::pin(Pools::acquire_again(&worker, &want));
            lease = self.connected(acquiring, plan, downstream).await.map_err(alone)?;
        }
        let (ended, lease) = self.ask(plan, lease, downstream).await;
        match ended {
            Ok(head) => Ok((lease, head)),
            Err(failure) => Err((failure, Some(lease))),
        }
    }

    /// Whether a request has to be sent once more, and can be: the server refused it, or closed a
    /// connection that had been idle while the request was on its way.
    fn is_lost(
        &self,
        plan: &Plan<'_>,
        ended: &Result<ResponseHead, TryFailure>,
        lease: &Lease,
    ) -> bool {
        let Err(TryFailure::Repeatable { failure, end, written }) = ended else { return false };
        if let Failure::Upstream(error) = failure {
            lease.note_end(error);
            lease.failed(error);
        }
        let is_safe = match end {
            End::Refused => true,
            // Closed, without a word about this request: a server that reset it, or answered
            // nonsense, has seen it.
            End::Reset => {
                let is_closed = matches!(failure, Failure::Upstream(UpstreamError::Closed(_)));
                !written || (is_closed && plan.idempotent && lease.upstream.is_reused())
            }
            End::ConnectFailed | End::Timeout | End::Slow => false,
        };
        is_safe && self.upload.can_repeat()
    }

    /// Waits for a connection; the time that the response may take runs.
    async fn acquire(
        &mut self,
        plan: &Plan<'_>,
        want: &Want<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Lease, TryFailure> {
        self.note_request_end(plan, self.now);
        self.deadlines.per_try = None;
        let worker = std::rc::Rc::clone(&self.connection.worker);
        if let Some(end) = plan.connect_end {
            let method = self.request.head.method().clone();
            let opening = Box::pin(Pools::open_tunnel(&worker, want, &method, end));
            return self.connected(opening, plan, downstream).await;
        }
        let acquiring = Box::pin(Pools::acquire(&worker, want));
        self.connected(acquiring, plan, downstream).await
    }

    async fn connected(
        &mut self,
        acquiring: impl Future<Output = Result<Lease, AcquireError>>,
        plan: &Plan<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Lease, TryFailure> {
        let mut acquiring = pin!(acquiring);
        let acquired = poll_fn(|context| {
            if let Poll::Ready(acquired) = acquiring.as_mut().poll(context) {
                return Poll::Ready(Ok(acquired));
            }
            if self.poll_rivals(context, plan).is_ready() {
                return Poll::Ready(Err(Failure::Overtaken));
            }
            self.poll_interrupted(context, downstream).map(Err)
        })
        .await;
        self.now = clock::now();
        match acquired {
            Err(failure) => {
                if matches!(failure, Failure::ResponseTimeout) {
                    self.count_late(plan);
                }
                Err(TryFailure::Final(failure))
            }
            Ok(Ok(lease)) => Ok(lease),
            Ok(Err(error)) => Err(self.no_connection(error)),
        }
    }

    /// Sends the request on a connection and waits for the head of its response.
    async fn ask(
        &mut self,
        plan: &Plan<'_>,
        mut lease: Lease,
        downstream: &mut Downstream<'_>,
    ) -> (Result<ResponseHead, TryFailure>, Lease) {
        let version = lease.upstream.version();
        if let Some(address) = lease.facts().other_address {
            self.record.host = Some(EndpointAddress::Socket(address));
        }
        self.record.upstream = Some(std::rc::Rc::clone(lease.facts()));
        self.record.upstream_version = Some(version);
        self.record.sent_at = Some(self.now);
        if self.service.traits.tells_tries {
            self.note_try(&lease);
        }
        if let Some(method) = self.tunnel_method(plan.content, version) {
            self.request.edits.method = Some(method);
            self.ask_for_websocket();
        }
        let upstream = &mut lease.upstream;
        let begun = upstream.send_head(&self.request.head, &self.request.edits, plan.content);
        let begun = begun.and_then(|()| {
            if plan.content == Content::None { upstream.send_end(None) } else { Ok(()) }
        });
        if let Some(account) = downstream.account() {
            account.goes_on(upstream.place());
        }
        let ended = match begun {
            Ok(()) => {
                self.begin_try(plan);
                let ended = poll_fn(|context| {
                    self.poll_answer(context, plan, &mut lease.upstream, downstream)
                })
                .await;
                self.now = clock::now();
                if ended.is_ok() {
                    self.record.response_at = Some(self.now);
                }
                ended
            }
            // Its connection may have ended between being lent and being used.
            Err(error) => Err(lost(error, &lease.upstream)),
        };
        (ended, lease)
    }

    fn begin_try(&mut self, plan: &Plan<'_>) {
        self.deadlines.per_try_idle = plan.timeouts.per_try_idle;
        let whole = plan.cluster.config.http.stream_duration_max;
        self.deadlines.upstream = whole.map(|limit| self.now + limit);
        self.deadlines.touch_at(self.now);
        self.note_request_end(plan, self.now);
        let per_try = plan.timeouts.per_try.filter(|_| self.upload.is_read_whole());
        self.deadlines.per_try = per_try.map(|limit| self.now + limit);
    }

    /// Once the whole request is here, the times for the response begin.
    fn note_request_end(&mut self, plan: &Plan<'_>, now: Instant) {
        if self.record.request_at.is_some() || !self.upload.is_read_whole() {
            return;
        }
        self.record.request_at = Some(now);
        self.deadlines.request = None;
        if plan.content != Content::Tunnel {
            self.deadlines.response = plan.timeouts.response.map(|limit| now + limit);
            self.deadlines.per_try = plan.timeouts.per_try.map(|limit| now + limit);
        }
    }

    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        plan: &Plan<'_>,
        upstream: &mut Upstream,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<ResponseHead, TryFailure>> {
        if !self.upload.has_failed() {
            let before = self.upload.bytes;
            match self.upload.poll(context, downstream, upstream) {
                Poll::Ready(Err(PumpError::Downstream(error))) => {
                    return Poll::Ready(Err(TryFailure::Final(Failure::Client(error))));
                }
                Poll::Ready(Err(PumpError::Content(error))) => {
                    return Poll::Ready(Err(TryFailure::Final(Failure::ResponseContent(error))));
                }
                Poll::Ready(Err(PumpError::Upstream(error @ UpstreamError::Length(_)))) => {
                    return Poll::Ready(Err(lost(error, upstream)));
                }
                // The server may have answered before it stopped reading.
                Poll::Ready(Err(PumpError::Upstream(_))) => self.upload.fail(),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if self.upload.bytes != before {
                self.deadlines.touch();
            }
            if self.record.request_at.is_none() && self.upload.is_read_whole() {
                self.note_request_end(plan, clock::now());
            }
        }
        while let Poll::Ready(head) = upstream.poll_head(context) {
            match head {
                Ok(head) if head.is_interim() => self.pass_interim(context, &head, downstream),
                Ok(head) => return Poll::Ready(Ok(head)),
                Err(error) => return Poll::Ready(Err(lost(error, upstream))),
            }
        }
        if self.poll_rivals(context, plan).is_ready() {
            return Poll::Ready(Err(TryFailure::Final(Failure::Overtaken)));
        }
        if let Poll::Ready(expired) = self.poll_deadline(context) {
            return Poll::Ready(Err(self.too_late(expired, plan, upstream)));
        }
        if self.upload.is_read_whole() {
            let gone = downstream.poll_gone(context);
            return gone.map(|error| Err(TryFailure::Final(Failure::Client(error))));
        }
        Poll::Pending
    }

    /// Passes an interim response on, such as 103 with early hints. `100 Continue` is answered here
    /// unless the manager leaves that to the server: passed on too, the client would see it twice.
    /// A client that reads nothing gets no more of them than fit a bounded queue.
    fn pass_interim(
        &mut self,
        context: &mut Context<'_>,
        head: &ResponseHead,
        downstream: &mut Downstream<'_>,
    ) {
        self.deadlines.touch();
        let is_wanted = head.status() != 100 || self.service.manager.proxy_100_continue;
        if !is_wanted || downstream.queued() >= QUEUE_BYTES_MAX {
            return;
        }
        downstream.send_interim(head);
        // Whether the client still takes anything is found out by the response itself.
        drop(downstream.poll_flush(context));
    }
}
