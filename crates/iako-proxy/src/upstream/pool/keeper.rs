//! Watches a pool's unused connections: notices when the server closes them, and closes those that are
//! too old.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use iako_rt::clock;
use tokio::time::Sleep;

use super::connection::{Idle, Shared};
use super::endpoint::EndpointPool;

/// What the pool and its keeper, a task of the worker, tell each other.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// Wakes the task; none while there is none. Idle connections are read with it.
    waker: RefCell<Option<Waker>>,
    /// When the task will look again by itself.
    alarm: Cell<Option<Instant>>,
}

impl Keeper {
    fn is_running(&self) -> bool {
        self.waker.borrow().is_some()
    }

    /// Has the task look, unless it will in time.
    fn call(&self, due: Option<Instant>) {
        let Some(due) = due else { return };
        if self.alarm.get().is_none_or(|alarm| alarm > due)
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The task finds its pool gone, and ends.
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl EndpointPool {
    /// Keeps a connection for later.
    pub(super) fn rest(self: &Rc<Self>, mut idle: Idle) {
        if !self.keeper.is_running() {
            self.start_keeper();
        } else if let Some(waker) = &*self.keeper.waker.borrow()
            && idle.connection.poll_stale(&mut Context::from_waker(waker)).is_ready()
        {
            idle.learn(idle.since);
            return;
        }
        let due = self.due(idle.since, idle.open.worn_at);
        self.idle.borrow_mut().push(idle);
        self.keeper.call(due);
    }

    /// A shared connection has no request any more.
    pub(super) fn rest_shared(self: &Rc<Self>, shared: &Shared) {
        if !self.keeper.is_running() {
            self.start_keeper();
        }
        self.keeper.call(self.due(shared.idle_since.get(), shared.open.worn_at));
    }

    /// When an unused connection is closed.
    fn due(&self, since: Instant, worn_at: Option<Instant>) -> Option<Instant> {
        let limit = since.checked_add(self.idle_limit());
        limit.into_iter().chain(worn_at).min()
    }

    fn start_keeper(self: &Rc<Self>) {
        let Some(worker) = self.worker.upgrade().filter(|worker| !worker.pools.is_closed()) else {
            return;
        };
        // Until the task has run, nobody is woken; it looks at everything then.
        self.keeper.waker.replace(Some(Waker::noop().clone()));
        let pool = Rc::downgrade(self);
        worker.scope.spawn("pool keeper", async move {
            let mut timer: Pin<Box<Sleep>> =
                Box::pin(tokio::time::sleep(std::time::Duration::ZERO));
            poll_fn(|context| match pool.upgrade() {
                Some(pool) => pool.poll_keep(timer.as_mut(), context),
                None => Poll::Ready(()),
            })
            .await;
        });
    }

    /// Looks after the unused connections; ready when there are none.
    fn poll_keep(
        self: &Rc<Self>,
        mut timer: Pin<&mut Sleep>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.keeper.waker.replace(Some(context.waker().clone()));
        loop {
            let now = clock::now();
            let due = self.tend(now, context);
            let rests = !self.idle.borrow().is_empty()
                || self.shared.borrow().iter().any(|shared| shared.is_idle());
            if !rests {
                self.keeper.waker.replace(None);
                self.keeper.alarm.set(None);
                return Poll::Ready(());
            }
            self.keeper.alarm.set(due);
            let Some(due) = due else { return Poll::Pending };
            timer.as_mut().reset(due.into());
            if timer.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Closes what is not to be kept; says when the next one is due.
    fn tend(self: &Rc<Self>, now: Instant, context: &mut Context<'_>) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        let mut wake_at = |due: Option<Instant>| next = next.into_iter().chain(due).min();
        let resting = std::mem::take(&mut *self.idle.borrow_mut());
        let mut kept = Vec::with_capacity(resting.len());
        let mut has_witness = false;
        for mut idle in resting {
            if idle.connection.poll_stale(context).is_ready() {
                idle.learn(now);
                continue;
            }
            let age = idle.age(now);
            let configured = self.cluster.config.http.idle_timeout;
            let is_over = configured.is_some_and(|limit| age >= limit);
            if let Some(ends) = self.cluster.known_ends().filter(|_| is_over) {
                ends.idle_timeout.inc();
            }
            if is_over || idle.open.is_worn(now) {
                continue;
            }
            let due = self.due(idle.since, idle.open.worn_at);
            if due.is_some_and(|due| due > now) {
                wake_at(due);
            } else {
                // Too old by what was learned. One is kept, and not used, to see whether that is true.
                self.state.idle.outlived(age);
                if has_witness || !idle.connection.is_reused() {
                    continue;
                }
                has_witness = true;
                wake_at(self.doubt_at(idle.since, idle.open.worn_at));
            }
            kept.push(idle);
        }
        self.idle.replace(kept);
        self.tend_shared(now, &mut wake_at);
        next
    }

    /// As for the others: what was learned is doubted by keeping one that is too old, unused.
    fn tend_shared(self: &Rc<Self>, now: Instant, wake_at: &mut impl FnMut(Option<Instant>)) {
        let mut closing = Vec::new();
        let mut has_witness = false;
        let configured = self.cluster.config.http.idle_timeout;
        self.shared.borrow_mut().retain(|shared| {
            if !shared.is_idle() {
                return true;
            }
            let (since, age) = (shared.idle_since.get(), shared.age(now));
            let worn_at = shared.open.worn_at;
            let due = self.due(since, worn_at);
            if due.is_none_or(|due| due > now) {
                wake_at(due);
                return true;
            }
            let is_over = shared.open.is_worn(now) || configured.is_some_and(|limit| age >= limit);
            if !is_over {
                self.state.idle.outlived(age);
            }
            if is_over || has_witness || !shared.was_used() {
                closing.push(Rc::clone(shared));
                return false;
            }
            has_witness = true;
            wake_at(self.doubt_at(since, worn_at));
            true
        });
        drop(closing);
    }

    /// When a connection that is too old by what was learned is looked at again.
    fn doubt_at(&self, since: Instant, worn_at: Option<Instant>) -> Option<Instant> {
        let doubt = self.state.idle.outlived_at().and_then(|doubt| since.checked_add(doubt));
        let configured = self.cluster.config.http.idle_timeout;
        let configured = configured.and_then(|limit| since.checked_add(limit));
        doubt.into_iter().chain(configured).chain(worn_at).min()
    }
}
