//! Telling a service that only looks on, beside the exchange and for a while after it.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use iako_proxy_config::GrpcService;
use iako_xds_codec::service::processing;
use tokio::sync::mpsc;

use super::ProcessStep;
use crate::callout::CallError;
use crate::callout::grpc::GrpcStream;
use crate::http::trace::CalloutSpan;
use crate::http::wire::queue_bytes_max;
use crate::worker::Worker;

/// Parts that wait for a service that only looks on; it does not see what comes beyond them.
pub(crate) const WATCHED_MAX: usize = 64;

/// Begins a call that lasts until the sender is dropped, and for `closes_after` beyond that.
pub(super) fn begin(
    worker: &Rc<Worker>,
    service: GrpcService,
    step: &Arc<ProcessStep>,
    (closes_after, span): (Duration, Option<Rc<CalloutSpan>>),
) -> mpsc::Sender<Vec<u8>> {
    let (sender, messages) = mpsc::channel(WATCHED_MAX);
    let (on, step) = (Rc::clone(worker), Arc::clone(step));
    worker.scope.spawn("watched exchange", async move {
        let asked = (&service, processing::METHOD);
        let opening = Box::pin(GrpcStream::open_in(&on, asked, None, span.as_deref()));
        let opened = tokio::time::timeout(closes_after, opening).await;
        let Ok(Ok(stream)) = opened else {
            step.stats.streams_failed.inc();
            return;
        };
        let mut watching = Watching { stream, messages, has_more: true };
        match watching.tell(closes_after).await {
            Ok(()) => step.stats.streams_closed.inc(),
            Err(error) => {
                tracing::debug!(%error, "a service that looks on failed");
                step.stats.streams_failed.inc();
            }
        }
    });
    sender
}

struct Watching {
    stream: GrpcStream,
    messages: mpsc::Receiver<Vec<u8>>,
    has_more: bool,
}

impl Watching {
    async fn tell(&mut self, closes_after: Duration) -> Result<(), CallError> {
        if poll_fn(|context| self.poll(context)).await? == Told::Ended {
            return Ok(());
        }
        let rest = poll_fn(|context| self.poll(context));
        // What is left of the call is of no interest.
        tokio::time::timeout(closes_after, rest).await.map_or(Ok(()), |ended| ended.map(|_| ()))
    }

    /// Tells what there is; ready when the exchange is over, and again when the service ends the call.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Told, CallError>> {
        loop {
            // Its answers are not heard.
            match self.stream.poll_next(context) {
                Poll::Ready(Ok(Some(_))) => continue,
                Poll::Ready(Ok(None)) => return Poll::Ready(Ok(Told::Ended)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            if !self.has_more || self.stream.queued() >= queue_bytes_max() {
                return Poll::Pending;
            }
            match self.messages.poll_recv(context) {
                Poll::Ready(Some(message)) => self.stream.send(&message)?,
                Poll::Ready(None) => {
                    self.has_more = false;
                    return Poll::Ready(Ok(Told::All));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// How far the telling came.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// The exchange is over.
    All,
    /// The service ended the call.
    Ended,
}
