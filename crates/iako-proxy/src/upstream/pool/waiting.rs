//! Requests that wait for a connection, served in their order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use iako_rt::clock;
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
    since: Instant,
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

    /// Takes out those that have waited for at least so long, at most so many; first who came first.
    pub(super) fn since(&self, least: Duration, now: Instant, most: usize) -> Vec<Rc<Waiter>> {
        let mut queue = self.0.borrow_mut();
        let waited = |waiter: &Rc<Waiter>| now.saturating_duration_since(waiter.since) >= least;
        // In the order in which they came: whoever came later has waited less.
        let late = queue.iter().take(most).take_while(|waiter| waited(waiter)).count();
        queue.drain(..late).collect()
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
    /// Whoever waited has the answer.
    is_told: bool,
    _pending: BreakerGuard,
}

impl Ticket {
    pub(super) fn new(pool: &Rc<EndpointPool>, repeat: Repeat, pending: BreakerGuard) -> Self {
        let waiter = Rc::new(Waiter {
            repeat,
            since: clock::now(),
            answer: RefCell::default(),
            waker: RefCell::default(),
        });
        pool.waiting.0.borrow_mut().push_back(Rc::clone(&waiter));
        pool.state.counters.pending_active.fetch_add(1, Relaxed);
        if let Some(ends) = pool.cluster.known_ends() {
            ends.pending_active.inc();
        }
        Self { pool: Rc::clone(pool), waiter, is_told: false, _pending: pending }
    }
}

impl Future for Ticket {
    type Output = Result<Lease, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(answer) = self.waiter.answer.take() {
            self.is_told = true;
            return Poll::Ready(answer);
        }
        self.waiter.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pool.state.counters.pending_active.fetch_sub(1, Relaxed);
        if let Some(ends) = self.pool.cluster.known_ends() {
            ends.pending_active.dec();
        }
        match self.waiter.answer.take() {
            Some(Ok(lease)) => lease.give_back_unused(),
            Some(Err(_)) => {}
            None if self.is_told => {}
            None => {
                self.pool.waiting.leave(&self.waiter);
                self.pool.cluster.stats.rq_cancelled.inc();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_attempt_is_up_only_for_those_that_have_waited_as_long() {
        let (timeout, start) = (Duration::from_secs(3), clock::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let waiter = |seconds| {
            Rc::new(Waiter {
                repeat: Repeat::Safe,
                since: at(seconds),
                answer: RefCell::default(),
                waker: RefCell::default(),
            })
        };
        let queue = Queue(RefCell::new([waiter(0), waiter(1), waiter(2)].into()));
        let late = |now, most| queue.since(timeout, at(now), most).len();
        assert_eq!(late(2, usize::MAX), 0, "nobody has waited as long");
        assert_eq!(late(3, usize::MAX), 1, "the first has");
        assert_eq!(queue.len(), 2, "the others have an attempt of their own");
        assert_eq!(late(5, 1), 1, "no more than asked for");
        assert_eq!(late(5, usize::MAX), 1, "whoever came last has waited as long now");
        assert!(queue.is_empty());
    }
}
