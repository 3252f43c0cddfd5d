//! Requests that wait for a connection, served in their order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use iako_traffic::BreakerGuard;

use super::connection::Lease;
use super::endpoint::EndpointPool;
use super::{AcquireError, Repeat};

/// Who waits at one pool; bounded by the cluster's `max_pending_requests`.
#[derive(Debug, Default)]
pub(super) struct Queue(RefCell<VecDeque<Rc<Waiter>>>);

/// One that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) repeat: Repeat,
    answer: RefCell<Option<Result<Lease, AcquireError>>>,
    waker: RefCell<Option<Waker>>,
}

impl Waiter {
    pub(super) fn answer(&self, answer: Result<Lease, AcquireError>) {
        self.answer.replace(Some(answer));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn first(&self) -> Option<Rc<Waiter>> {
        self.0.borrow_mut().pop_front()
    }

    /// Puts back who was taken out and could not be served.
    pub(super) fn stay_first(&self, waiter: Rc<Waiter>) {
        self.0.borrow_mut().push_front(waiter);
    }

    pub(super) fn all(&self) -> VecDeque<Rc<Waiter>> {
        std::mem::take(&mut *self.0.borrow_mut())
    }

    fn leave(&self, waiter: &Rc<Waiter>) {
        self.0.borrow_mut().retain(|other| !Rc::ptr_eq(other, waiter));
    }
}

/// A place in the queue; ready with a connection, or with why there is none.
#[derive(Debug)]
pub(super) struct Ticket {
    pool: Rc<EndpointPool>,
    waiter: Rc<Waiter>,
    _pending: BreakerGuard,
}

impl Ticket {
    pub(super) fn new(pool: &Rc<EndpointPool>, repeat: Repeat, pending: BreakerGuard) -> Self {
        let waiter =
            Rc::new(Waiter { repeat, answer: RefCell::default(), waker: RefCell::default() });
        pool.waiting.0.borrow_mut().push_back(Rc::clone(&waiter));
        Self { pool: Rc::clone(pool), waiter, _pending: pending }
    }
}

impl Future for Ticket {
    type Output = Result<Lease, AcquireError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(answer) = self.waiter.answer.take() {
            return Poll::Ready(answer);
        }
        self.waiter.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match self.waiter.answer.take() {
            Some(Ok(lease)) => lease.give_back_unused(),
            Some(Err(_)) => {}
            None => self.pool.waiting.leave(&self.waiter),
        }
    }
}
