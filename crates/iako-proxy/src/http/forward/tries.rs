//! Trying until there is a response to pass on.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use iako_http::{BodyEvent, FieldName, FieldValue, Known};
use iako_rt::clock;
use iako_telemetry::ResponseFlag;
use iako_traffic::{
    Avoid, BreakerGuard, Pace, RetryDecision, RetryMoment, RetryState, RouteMatchResult,
    StopReason, Timeouts, TryTraces,
};

use super::Plan;
use crate::http::attempt::{Attempt, End, TryFailure};
use crate::http::downstream::{Content, Downstream};
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::headers;
use crate::http::request::ResponseView;
use crate::http::target;
use crate::snapshot::UpstreamCluster;

/// A pause before the next try.
struct Pause {
    after: Duration,
    pace: Pace,
    /// The retry's place under the cluster's limit.
    place: BreakerGuard,
}

impl Exchange<'_> {
    /// Tries until there is a response to pass on, or no further try is allowed.
    pub(super) async fn tries(
        &mut self,
        route: &RouteMatchResult<'_>,
        plan: &mut Plan<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Attempt, Failure> {
        let mut place: Option<BreakerGuard> = None;
        let mut avoid = Avoid::default();
        loop {
            self.record.attempts += 1;
            self.tell_attempt(route, plan);
            let tried = self.attempt(plan, &avoid, downstream).await;
            if self.record.trace.is_some() {
                self.trace_tried(&tried);
            }
            drop(place.take());
            if let Some(winner) = self.winner.take() {
                return Ok(*winner);
            }
            let pause = match self.decide(plan, &tried, &mut avoid) {
                Ok(pause) => pause,
                Err(reason) => {
                    if let Ok(attempt) = &tried {
                        self.count_response(plan, &attempt.head);
                    }
                    return match self.stopped(reason, plan, tried) {
                        Some(tried) => tried.map_err(TryFailure::into_failure),
                        None => Box::pin(self.await_rivals(plan, downstream)).await,
                    };
                }
            };
            self.tell_cause(route, &tried);
            if let Ok(attempt) = &tried {
                plan.counted().responses.count_retried(attempt.head.status());
            }
            self.give_up(tried);
            if self.record.trace.is_some() {
                self.trace_given_up();
            }
            place = Some(pause.place);
            self.count_retry(pause.pace, plan);
            self.rewind(plan);
            self.deadlines.end_try();
            if let Some(winner) = self.wait_between(pause.after, plan, downstream).await? {
                return Ok(winner);
            }
            self.choose_again(plan, &mut avoid);
        }
    }

    /// Lets go of a try in whose place another one is made. A response without content leaves its
    /// connection as good as before.
    fn give_up(&self, tried: Result<Attempt, TryFailure>) {
        let Ok(Attempt { mut lease, open, .. }) = tried else { return };
        drop(open);
        let ended = lease.upstream.poll_body(&mut Context::from_waker(Waker::noop()));
        if matches!(ended, Poll::Ready(Ok(BodyEvent::End))) && self.upload.is_told_whole() {
            lease.release();
        }
    }

    /// A cluster that stands for others may give the next try to another one of them.
    fn choose_again(&self, plan: &mut Plan<'_>, avoid: &mut Avoid) {
        let Some(aggregate) = &plan.aggregate else { return };
        let mut retry = plan.retry.borrow_mut();
        let Some(state) = retry.as_mut() else { return };
        let members: Vec<_> =
            target::members(aggregate, self.snapshot).map(|member| member.balancer()).collect();
        state.pass_members(&members);
        let capacity = |member: &UpstreamCluster, place: usize| {
            let passed: Vec<u32> = state.passed_priorities(place).collect();
            target::capacity_of(member, self.now, &passed)
        };
        let draw = self.connection.draw();
        let chosen = target::choose_member(aggregate, self.snapshot, capacity, draw);
        if let Some((place, member)) = chosen {
            *avoid = state.avoid_in(place, &member.balancer());
            plan.cluster = Arc::clone(member);
        }
    }

    fn count_retry(&self, pace: Pace, plan: &Plan<'_>) {
        let stats = &plan.counted().stats;
        stats.rq_retry.inc();
        self.record.tally.count(|stats| &stats.retry);
        match pace {
            Pace::BackOff => stats.rq_retry_backoff_exponential.inc(),
            Pace::RateLimited => stats.rq_retry_backoff_ratelimited.inc(),
        }
    }

    /// What is passed on after the last try; none when a slow one may still bring better.
    fn stopped(
        &mut self,
        reason: StopReason,
        plan: &Plan<'_>,
        tried: Result<Attempt, TryFailure>,
    ) -> Option<Result<Attempt, TryFailure>> {
        self.note_stop(reason, plan);
        if self.rivals.is_empty() {
            return Some(tried);
        }
        let is_good = tried.is_ok() && reason == StopReason::NotNamed;
        let is_over = matches!(&tried, Err(TryFailure::Final(_)));
        if is_good || is_over {
            return Some(tried);
        }
        drop(tried);
        self.deadlines.end_try();
        None
    }

    /// Waits before the next try; a slow one may bring its answer meanwhile.
    async fn wait_between(
        &mut self,
        after: Duration,
        plan: &Plan<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Option<Attempt>, Failure> {
        let waited = if self.rivals.is_empty() {
            self.pause(after, downstream).await
        } else {
            let mut sleep = Box::pin(tokio::time::sleep(after));
            poll_fn(|context| {
                if self.poll_rivals(context, plan).is_ready()
                    || sleep.as_mut().poll(context).is_ready()
                {
                    return Poll::Ready(Ok(()));
                }
                self.poll_interrupted(context, downstream).map(Err)
            })
            .await
        };
        self.now = clock::now();
        waited?;
        Ok(self.winner.take().map(|winner| *winner))
    }

    /// Has the request's content begin anew, for another try.
    pub(in crate::http) fn rewind(&mut self, plan: &Plan<'_>) {
        self.upload.rewind();
        if matches!(plan.content, Content::None | Content::Tunnel) {
            self.upload.skip();
        }
    }

    /// Whether there is another try, and what it avoids.
    fn decide(
        &self,
        plan: &Plan<'_>,
        tried: &Result<Attempt, TryFailure>,
        avoid: &mut Avoid,
    ) -> Result<Pause, StopReason> {
        let mut retry = plan.retry.borrow_mut();
        let Some(state) = retry.as_mut() else { return Err(StopReason::NotNamed) };
        match self.ask_state(state, plan, tried) {
            RetryDecision::Stop(reason) => Err(reason),
            RetryDecision::Retry { after, pace, guard } => {
                if let Some((balancer, tried)) = &self.record.endpoint {
                    let endpoints = balancer.endpoints();
                    let tried = usize::try_from(*tried).ok().and_then(|place| endpoints.get(place));
                    if let Some(endpoint) = tried {
                        state.tried(&endpoint.state);
                    }
                    if plan.aggregate.is_none() {
                        *avoid = state.avoid(&plan.cluster.balancer());
                    }
                }
                Ok(Pause { after, pace, place: guard })
            }
        }
    }

    fn ask_state(
        &self,
        state: &mut RetryState<'_>,
        plan: &Plan<'_>,
        tried: &Result<Attempt, TryFailure>,
    ) -> RetryDecision {
        let unix = clock::wall().duration_since(std::time::UNIX_EPOCH);
        let moment = RetryMoment {
            breakers: plan.breakers(),
            limits: plan.limits(),
            now: self.now,
            unix_seconds: unix.map_or(0, |since| since.as_secs()),
            draw: self.connection.draw(),
        };
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
                state.decide(&end, traces, &moment)
            }
            Err(TryFailure::Repeatable { end, written, .. }) => {
                let traces =
                    TryTraces { request_written: *written, body_lost, response_started: false };
                state.decide(&end.as_end(), traces, &moment)
            }
            Err(TryFailure::Final(_)) => RetryDecision::Stop(StopReason::NotNamed),
        }
    }

    fn note_stop(&mut self, reason: StopReason, plan: &Plan<'_>) {
        match reason {
            StopReason::LimitReached => {
                self.record.flags.insert(ResponseFlag::UpstreamRetryLimitExceeded);
                plan.counted().stats.rq_retry_limit_exceeded.inc();
                self.record.tally.count(|stats| &stats.retry_limit_exceeded);
            }
            StopReason::Overflow => {
                self.record.flags.insert(ResponseFlag::UpstreamOverflow);
                plan.counted().stats.rq_retry_overflow.inc();
                self.record.tally.count(|stats| &stats.retry_overflow);
            }
            StopReason::NotNamed => {
                if plan.retry.borrow().as_ref().is_some_and(|state| state.retries() > 0) {
                    plan.counted().stats.rq_retry_success.inc();
                    self.record.tally.count(|stats| &stats.retry_success);
                }
            }
            StopReason::Unsafe | StopReason::TooLate => {}
        }
    }

    /// Tells the server how often the request was tried and how long we wait.
    fn tell_attempt(&mut self, route: &RouteMatchResult<'_>, plan: &Plan<'_>) {
        if self.service.traits.suppresses_envoy_headers {
            return;
        }
        if route.virtual_host.include_attempt_count {
            let attempts = u64::from(self.record.attempts);
            let fields = &mut self.request.edits.fields;
            fields.set(Known::XEnvoyAttemptCount, FieldValue::from(attempts));
        }
        self.tell_time(plan);
    }

    /// Tells how long we wait.
    pub(super) fn tell_time(&mut self, plan: &Plan<'_>) {
        if self.service.traits.suppresses_envoy_headers {
            return;
        }
        // The first try is told the whole time, later ones what is left of it.
        let elapsed = if self.record.attempts > 1 {
            self.now.saturating_duration_since(self.record.start)
        } else {
            Duration::ZERO
        };
        // A slow try that is hedged goes on, so that the time of one try is not told.
        let per_try = plan.timeouts.per_try.filter(|_| !plan.hedged);
        let timeouts = Timeouts { per_try, ..plan.timeouts };
        if let Some(millis) = timeouts.told(elapsed) {
            let fields = &mut self.request.edits.fields;
            fields.set(Known::XEnvoyExpectedRequestTimeout, headers::number(millis));
            if plan.timeouts.tells_grpc {
                self.tell_grpc_timeout(Duration::from_millis(millis));
            }
        }
    }

    /// Tells a gRPC server how long it may take. Source: gRPC over HTTP/2, `Timeout`: at most eight
    /// digits.
    pub(super) fn tell_grpc_timeout(&mut self, time: Duration) {
        let Ok(name) = FieldName::parse(b"grpc-timeout") else { return };
        let text = match time.as_millis() {
            millis @ 0..=99_999_999 => format!("{millis}m"),
            _ => format!("{}S", time.as_secs().min(99_999_999)),
        };
        self.request.edits.fields.set(name, FieldValue::sanitized(text));
    }

    /// Tells the next try's server whether the one before took too long, where that is wanted.
    fn tell_cause(&mut self, route: &RouteMatchResult<'_>, tried: &Result<Attempt, TryFailure>) {
        if !route.virtual_host.include_timeout_retry {
            return;
        }
        let Ok(name) = FieldName::parse(b"x-envoy-is-timeout-retry") else { return };
        let is_timeout =
            matches!(tried, Err(TryFailure::Repeatable { end: End::Timeout | End::Slow, .. }));
        let value = FieldValue::from_static(if is_timeout { "true" } else { "false" });
        self.request.edits.fields.set(name, value);
    }
}
