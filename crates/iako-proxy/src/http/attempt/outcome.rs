//! How a try ended: for the client, for outlier detection, for statistics.

use iako_http::{Known, ResponseHead, Version};
use iako_traffic::{Outcome, Overflow};

use super::{End, Target, TryFailure};
use crate::http::deadlines::Expired;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::forward::Plan;
use crate::http::record::Tried;
use crate::upstream::pool::{AcquireError, Lease};
use crate::upstream::{Upstream, UpstreamError};

/// Endpoints that a log tells of one request at most.
const TRIES_MAX: usize = 64;

impl Exchange<'_> {
    /// Remembers an endpoint for logs that tell all of them.
    pub(super) fn note_try(&mut self, lease: &Lease) {
        let Some(address) = self.record.host.clone() else { return };
        let hostname = self.record.hostname();
        let connection = Some(lease.facts().id);
        let tried = &mut self.record.tried;
        if tried.len() < TRIES_MAX {
            tried.push(Tried { address, hostname, connection });
        }
    }

    /// A time is over while a response is waited for.
    pub(super) fn too_late(
        &self,
        expired: Expired,
        plan: &Plan<'_>,
        upstream: &Upstream,
    ) -> TryFailure {
        let stats = &plan.counted().stats;
        let failure = expired.failure();
        match expired {
            Expired::PerTry | Expired::PerTryIdle => {
                let written = upstream.has_sent();
                if plan.hedged && self.upload.is_told_whole() {
                    return TryFailure::Repeatable { failure, end: End::Slow, written };
                }
                if expired == Expired::PerTry {
                    stats.rq_per_try_timeout.inc();
                } else {
                    stats.rq_per_try_idle_timeout.inc();
                }
                TryFailure::Repeatable { failure, end: End::Timeout, written }
            }
            Expired::Upstream => {
                stats.rq_max_duration_reached.inc();
                let written = upstream.has_sent();
                TryFailure::Repeatable { failure, end: End::Reset, written }
            }
            Expired::Response => {
                self.count_late(plan);
                TryFailure::Final(failure)
            }
            Expired::Idle | Expired::Stream | Expired::Request => TryFailure::Final(failure),
        }
    }

    /// What it means for a try that it got no connection.
    pub(super) fn no_connection(&mut self, error: AcquireError) -> TryFailure {
        match error {
            AcquireError::Overflow => TryFailure::Final(Failure::Overflow(Overflow::Requests)),
            AcquireError::Shed => {
                self.record.host = None;
                TryFailure::Final(Failure::Overflow(Overflow::Connections))
            }
            AcquireError::Pending => {
                // No endpoint was asked.
                self.record.host = None;
                TryFailure::Final(Failure::Overflow(Overflow::Pending))
            }
            AcquireError::Pools => {
                self.record.host = None;
                TryFailure::Final(Failure::NoHealthyUpstream)
            }
            AcquireError::Connect(error) => connect_failed(Failure::Connect(error)),
        }
    }

    /// Counts that every try that is under way has taken too long, one that waits for its connection
    /// among them.
    pub(super) fn count_late(&self, plan: &Plan<'_>) {
        let late = 1 + self.rivals.len() as u64;
        plan.counted().stats.rq_timeout.add(late);
        self.record.tally.add(late, |stats| &stats.timeout);
    }

    /// Counts the head of a response that is passed on.
    pub(in crate::http) fn count_response(&self, plan: &Plan<'_>, head: &ResponseHead) {
        if self.record.is_health_check {
            return;
        }
        plan.counted().count_response(head.status(), self.request.origin());
    }

    /// Tells outlier detection and the statistics how the try ended.
    pub(super) fn report(
        &self,
        plan: &Plan<'_>,
        target: &Target,
        ended: Result<&ResponseHead, &TryFailure>,
    ) {
        let stats = &plan.cluster.stats;
        let outcome = match ended {
            Ok(head) => {
                if head.fields().contains(Known::XEnvoyImmediateHealthCheckFail) {
                    plan.cluster.accuse(&target.state);
                }
                Outcome::Response(grpc_as_http(head).unwrap_or_else(|| head.status()))
            }
            Err(
                TryFailure::Repeatable { end: End::Timeout | End::Slow, .. }
                | TryFailure::Final(Failure::ResponseTimeout),
            ) => Outcome::Timeout,
            Err(TryFailure::Repeatable { failure, .. }) => {
                if is_reset(failure) {
                    stats.rq_rx_reset.inc();
                }
                Outcome::LocalFailure
            }
            Err(TryFailure::Final(_)) => return,
        };
        let worker = &self.connection.worker;
        let mut draw = || worker.with_rng(iako_rt::Rng::unit);
        let when = (self.now, &mut draw as &mut dyn FnMut() -> f64);
        plan.cluster.record(&target.balancer, &target.state, outcome, when);
    }
}

/// The HTTP status that a gRPC status in the head stands for, so that outlier detection sees failures
/// that gRPC hides behind 200.
fn grpc_as_http(head: &ResponseHead) -> Option<u16> {
    match crate::http::grpc::status(head.fields())? {
        0 => None,
        4 => Some(504),
        14 => Some(503),
        2 | 13 | 15 => Some(500),
        _ => Some(400),
    }
}

/// Whether a server gave up one stream of many.
const fn is_reset(failure: &Failure) -> bool {
    matches!(failure, Failure::Upstream(UpstreamError::Reset(_)))
}

pub(super) const fn connect_failed(failure: Failure) -> TryFailure {
    TryFailure::Repeatable { failure, end: End::ConnectFailed, written: false }
}

pub(super) fn lost(error: UpstreamError, upstream: &Upstream) -> TryFailure {
    let end = match &error {
        UpstreamError::Refused => End::Refused,
        UpstreamError::Closed(_)
        | UpstreamError::Reset(_)
        | UpstreamError::Protocol(_)
        | UpstreamError::Http2(_) => End::Reset,
        UpstreamError::Length(_) | UpstreamError::NoExtendedConnect => {
            return TryFailure::Final(Failure::Upstream(error));
        }
    };
    let written = upstream.has_sent() && !upstream.is_unseen();
    TryFailure::Repeatable { failure: Failure::Upstream(error), end, written }
}

/// What was spoken on a connection.
impl Upstream {
    pub(crate) const fn version(&self) -> Version {
        match self {
            Self::Http1(_) | Self::Tcp(_) => Version::Http11,
            Self::Http2(_) => Version::Http2,
        }
    }
}
