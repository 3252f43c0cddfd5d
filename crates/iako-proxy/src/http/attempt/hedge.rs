//! Slow tries that go on beside the next ones.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use iako_http::{ResponseEdits, ResponseHead, Version};
use iako_proxy_config::EndpointAddress;
use iako_rt::clock;
use iako_traffic::{Balancer, TryEnd};

use super::{Attempt, Open};
use crate::http::deadlines::Expired;
use crate::http::downstream::Downstream;
use crate::http::exchange::Exchange;
use crate::http::failure::Failure;
use crate::http::forward::Plan;
use crate::http::request::ResponseView;
use crate::upstream::UpstreamError;
use crate::upstream::pool::{ConnectionFacts, Lease};

/// A slow try, with what the record says of it.
#[derive(Debug)]
pub(crate) struct Rival {
    lease: Lease,
    open: Open,
    host: Option<EndpointAddress>,
    endpoint: Option<(Arc<Balancer>, u32)>,
    facts: Option<Rc<ConnectionFacts>>,
    version: Option<Version>,
}

impl Exchange<'_> {
    /// Lets a try go on beside the next ones.
    pub(super) fn keep_slow(&mut self, lease: Lease, open: Open) {
        self.rivals.push(Rival {
            lease,
            open,
            host: self.record.host.clone(),
            endpoint: self.record.endpoint.clone(),
            facts: self.record.upstream.clone(),
            version: self.record.upstream_version,
        });
    }

    /// Ready once a slow try has a good answer, which is kept as the winner. Tries that end badly are
    /// given up: another one is under way.
    pub(in crate::http) fn poll_rivals(
        &mut self,
        context: &mut Context<'_>,
        plan: &Plan<'_>,
    ) -> Poll<()> {
        let mut place = 0;
        while let Some(rival) = self.rivals.get_mut(place) {
            match poll_head(rival, context) {
                Poll::Pending => place += 1,
                Poll::Ready(Ok(head)) => {
                    self.count_response(plan, &head);
                    let rival = self.rivals.swap_remove(place);
                    if !is_failure(plan, &head) {
                        self.winner = Some(Box::new(self.won(rival, head)));
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Err(_)) => drop(self.rivals.swap_remove(place)),
            }
        }
        Poll::Pending
    }

    /// Waits for the slow tries, no other one being under way; the last answer counts whatever it is.
    pub(in crate::http) async fn await_rivals(
        &mut self,
        plan: &Plan<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Result<Attempt, Failure> {
        poll_fn(|context| self.poll_last(context, plan, downstream)).await
    }

    fn poll_last(
        &mut self,
        context: &mut Context<'_>,
        plan: &Plan<'_>,
        downstream: &mut Downstream<'_>,
    ) -> Poll<Result<Attempt, Failure>> {
        if self.rivals.len() > 1 && self.poll_rivals(context, plan).is_ready() {
            let winner = self.winner.take().ok_or(Failure::Overtaken);
            return Poll::Ready(winner.map(|winner| *winner));
        }
        if let [rival] = self.rivals.as_mut_slice()
            && let Poll::Ready(ended) = poll_head(rival, context)
        {
            let Some(rival) = self.rivals.pop() else { return Poll::Pending };
            return Poll::Ready(match ended {
                Ok(head) => {
                    self.count_response(plan, &head);
                    Ok(self.won(rival, head))
                }
                Err(error) => Err(Failure::Upstream(error)),
            });
        }
        if let Poll::Ready(expired) = self.poll_deadline(context) {
            if expired == Expired::Response {
                let late = self.rivals.len() as u64;
                plan.counted().stats.rq_timeout.add(late);
                self.record.tally.add(late, |stats| &stats.timeout);
            }
            return Poll::Ready(Err(expired.failure()));
        }
        downstream.poll_gone(context).map(|error| Err(Failure::Client(error)))
    }

    /// The record tells of the try that won.
    fn won(&mut self, rival: Rival, head: ResponseHead) -> Attempt {
        let Rival { lease, open, host, endpoint, facts, version } = rival;
        self.now = clock::now();
        self.record.response_at = Some(self.now);
        self.record.host = host;
        self.record.endpoint = endpoint;
        self.record.upstream = facts;
        self.record.upstream_version = version;
        Attempt { lease, head, open }
    }
}

fn poll_head(
    rival: &mut Rival,
    context: &mut Context<'_>,
) -> Poll<Result<ResponseHead, UpstreamError>> {
    let upstream = &mut rival.lease.upstream;
    if let Poll::Ready(Err(error)) = upstream.poll_flush(context) {
        return Poll::Ready(Err(error));
    }
    upstream.poll_final_head(context)
}

/// Whether an answer is one that would be tried again.
fn is_failure(plan: &Plan<'_>, head: &ResponseHead) -> bool {
    let edits = ResponseEdits::default();
    let view = ResponseView { head, edits: &edits };
    let end = TryEnd::Response { status: head.status(), headers: &view };
    plan.retry.borrow().as_ref().is_some_and(|state| state.is_failure(&end))
}
