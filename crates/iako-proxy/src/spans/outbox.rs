//! Spans that wait in a worker until they are sent.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use iako_proxy_config::Span;

use super::{Tracer, export};
use crate::worker::Worker;

/// Spans that may wait for one collector in a worker; further ones are dropped and counted.
pub(crate) const SPANS_MAX: usize = 8192;

/// How long collectors have for what is left when the process ends.
const PATIENCE: Duration = Duration::from_secs(1);

/// What waits in a worker, by tracer. Empty while nothing is traced.
#[derive(Debug, Default)]
pub(crate) struct Outboxes(RefCell<Vec<Rc<Outbox>>>);

/// What waits for one collector.
#[derive(Debug)]
struct Outbox {
    tracer: Arc<Tracer>,
    spans: RefCell<Vec<Span>>,
    /// Who sends them.
    sender: RefCell<Option<Waker>>,
}

impl Outboxes {
    /// Keeps a span until it is sent; begins to send where nobody does.
    pub(super) fn push(&self, worker: &Rc<Worker>, tracer: &Arc<Tracer>, span: Span) {
        let known = {
            let outboxes = self.0.borrow();
            outboxes.iter().find(|one| Arc::ptr_eq(&one.tracer, tracer)).map(Rc::clone)
        };
        let outbox = known.unwrap_or_else(|| {
            let outbox = Rc::new(Outbox {
                tracer: Arc::clone(tracer),
                spans: RefCell::default(),
                sender: RefCell::default(),
            });
            self.0.borrow_mut().push(Rc::clone(&outbox));
            let sending = send_all(Rc::clone(worker), Rc::clone(&outbox));
            worker.scope.spawn("spans", sending);
            outbox
        });
        let waiting = {
            let mut spans = outbox.spans.borrow_mut();
            if spans.len() >= tracer.spans_max() {
                tracer.stats.spans_dropped.inc();
                return;
            }
            spans.push(span);
            spans.len()
        };
        if u32::try_from(waiting).is_ok_and(|waiting| waiting == tracer.flush().spans_min)
            && let Some(sender) = outbox.sender.borrow_mut().take()
        {
            sender.wake();
        }
    }

    /// Sends what is left, for a moment at most: the process ends.
    pub(crate) async fn finish(&self, worker: &Rc<Worker>) {
        let outboxes = std::mem::take(&mut *self.0.borrow_mut());
        let sending = async {
            for outbox in outboxes {
                let batch = std::mem::take(&mut *outbox.spans.borrow_mut());
                if !batch.is_empty() {
                    Box::pin(export::send(worker, &outbox.tracer, &batch)).await;
                }
            }
        };
        if tokio::time::timeout(PATIENCE, sending).await.is_err() {
            tracing::debug!("collectors did not take what was left in time");
        }
    }

    fn forget(&self, outbox: &Rc<Outbox>) {
        self.0.borrow_mut().retain(|one| !Rc::ptr_eq(one, outbox));
    }
}

impl Outbox {
    fn is_due(&self) -> bool {
        let wanted = usize::try_from(self.tracer.flush().spans_min).unwrap_or(usize::MAX);
        self.spans.borrow().len() >= wanted
    }
}

/// Sends what waits, batch after batch; ends when nothing came for a while.
async fn send_all(worker: Rc<Worker>, outbox: Rc<Outbox>) {
    loop {
        let mut timer = pin!(tokio::time::sleep(outbox.tracer.flush().interval));
        let by_timer = poll_fn(|context| {
            if outbox.is_due() {
                return Poll::Ready(false);
            }
            *outbox.sender.borrow_mut() = Some(context.waker().clone());
            timer.as_mut().poll(context).map(|()| true)
        })
        .await;
        let batch = std::mem::take(&mut *outbox.spans.borrow_mut());
        if batch.is_empty() {
            // Whoever comes next begins anew.
            worker.outboxes.forget(&outbox);
            return;
        }
        if by_timer {
            outbox.tracer.stats.timer_flushed.inc();
        }
        Box::pin(export::send(&worker, &outbox.tracer, &batch)).await;
    }
}
