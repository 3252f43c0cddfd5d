//! Connections of one worker to one endpoint.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iako_proxy_config::{Endpoint, RoutePriority, ShedPlace, Thresholds};
use iako_rt::{Rng, clock};
use iako_traffic::{BreakerGuard, Breakers, EndpointState};

use super::connection::{Idle, Lease, Shared};
use super::keeper::Keeper;
use super::waiting::{Queue, Ticket};
use super::{AcquireError, Owner, Repeat, Speak, Want, speak};
use crate::snapshot::UpstreamCluster;
use crate::transport::Proxied;
use crate::worker::Worker;

/// Connections of one worker to one endpoint, opened with one set of options.
#[derive(Debug)]
pub(super) struct EndpointPool {
    pub(super) worker: Weak<Worker>,
    pub(super) cluster: Arc<UpstreamCluster>,
    pub(super) endpoint: Endpoint,
    pub(super) state: Arc<EndpointState>,
    pub(super) priority: RoutePriority,
    /// Counts it among the cluster's pools.
    _place: BreakerGuard,
    pub(super) speak: Speak,
    pub(super) istio_alpn: bool,
    /// The server name, where the cluster takes it from requests.
    pub(super) host: Option<Box<str>>,
    /// The client, where servers are told of it.
    pub(super) client: Option<Proxied>,
    /// The client connection that alone uses it, if one does.
    owner: Option<Weak<Owner>>,
    /// The most recently used last, and taken first: the others may fall idle.
    pub(super) idle: RefCell<Vec<Idle>>,
    pub(super) shared: RefCell<Vec<Rc<Shared>>>,
    pub(super) waiting: Queue,
    pub(super) keeper: Keeper,
    /// Open connections, in use or not.
    pub(super) open: Cell<u32>,
    /// Connections that are being opened.
    pub(super) connecting: Cell<u32>,
    /// Whether many requests use one connection.
    pub(super) shares: Cell<bool>,
    retired: Cell<bool>,
}

impl EndpointPool {
    pub(super) fn new(worker: &Rc<Worker>, want: &Want<'_>, place: BreakerGuard) -> Self {
        let speak = speak(want);
        let _ends = want.cluster.ends(&worker.shared.stats);
        Self {
            worker: Rc::downgrade(worker),
            cluster: Arc::clone(want.cluster),
            endpoint: want.endpoint.clone(),
            state: Arc::clone(want.state),
            priority: want.priority,
            _place: place,
            speak,
            istio_alpn: want.istio_alpn,
            host: want.cluster.sends_hosts().then(|| want.host.into()),
            client: want.client.cloned(),
            owner: want.owner.map(Rc::downgrade),
            idle: RefCell::default(),
            shared: RefCell::default(),
            waiting: Queue::default(),
            keeper: Keeper::default(),
            open: Cell::new(0),
            connecting: Cell::new(0),
            // Until the server has chosen, one connection is hoped to carry all that wait.
            shares: Cell::new(speak != Speak::Http1),
            retired: Cell::new(false),
        }
    }

    pub(super) fn breakers(&self) -> &Arc<Breakers> {
        self.cluster.state.breakers(self.priority)
    }

    pub(super) fn limits(&self) -> &Thresholds {
        self.cluster.limits(self.priority)
    }

    /// Whether many requests use one connection, as far as is known.
    pub(super) fn shares(&self) -> bool {
        self.shares.get()
    }

    /// Whether it can be forgotten.
    pub(super) fn is_unused(&self) -> bool {
        self.open.get() == 0 && self.connecting.get() == 0 && self.waiting.is_empty()
    }

    /// Whether the client connection is gone that alone used it.
    pub(super) fn is_orphan(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.strong_count() == 0)
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// Closes what is idle and keeps nothing more.
    pub(super) fn retire(&self) {
        self.retired.set(true);
        // What is dropped looks into the pool.
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
        let shared = std::mem::take(&mut *self.shared.borrow_mut());
        drop(shared);
    }

    /// For how long a connection may idle and still be used.
    pub(super) fn idle_limit(&self) -> Duration {
        let configured = self.cluster.config.http.idle_timeout.unwrap_or(Duration::MAX);
        self.state.idle.usable_for().map_or(configured, |learned| learned.min(configured))
    }

    /// A kept connection, at once.
    ///
    /// # Errors
    /// When there is one, but there are too many requests.
    pub(super) fn take(&self, repeat: Repeat, now: Instant) -> Result<Option<Lease>, AcquireError> {
        if let Some(lease) = self.take_shared(repeat, now)? {
            return Ok(Some(lease));
        }
        loop {
            let Some(mut idle) = self.idle.borrow_mut().pop() else { return Ok(None) };
            if idle.age(now) >= self.idle_limit() {
                // The others are older still. The keeper closes them.
                self.idle.borrow_mut().push(idle);
                return Ok(None);
            }
            if idle.open.is_worn(now) {
                continue;
            }
            if idle.connection.is_stale() {
                idle.learn(now);
                continue;
            }
            if repeat == Repeat::Unsafe && !idle.is_safe(now) {
                // Good enough for others, if it lives.
                self.idle.borrow_mut().push(idle);
                return Ok(None);
            }
            return match idle.lend(now) {
                Ok(lease) => Ok(Some(lease)),
                Err(idle) => {
                    self.idle.borrow_mut().push(*idle);
                    Err(AcquireError::Overflow)
                }
            };
        }
    }

    fn take_shared(&self, repeat: Repeat, now: Instant) -> Result<Option<Lease>, AcquireError> {
        let shared = self.shared.borrow();
        if shared.is_empty() {
            return Ok(None);
        }
        let idle_limit = self.idle_limit();
        let found = shared.iter().find(|shared| shared.takes(repeat, idle_limit, now));
        found.map(|shared| shared.lend(now).ok_or(AcquireError::Overflow)).transpose()
    }

    /// A place in the queue for a request that found no connection.
    pub(super) fn queue(self: &Rc<Self>, repeat: Repeat) -> Result<Ticket, AcquireError> {
        let stats = &self.cluster.stats;
        let Ok(pending) = self.breakers().pending(self.limits()) else {
            stats.rq_pending_overflow.inc();
            return Err(AcquireError::Pending);
        };
        stats.rq_pending_total.inc();
        if self.connecting.get() == 0 && self.sheds() {
            return Err(AcquireError::Shed);
        }
        let ticket = Ticket::new(self, repeat, pending);
        self.grow();
        Ok(ticket)
    }

    /// Whether no connection is opened, because the proxy is overloaded.
    fn sheds(&self) -> bool {
        self.worker.upgrade().is_some_and(|worker| {
            let draw = || worker.with_rng(Rng::unit);
            worker.shared.overload.sheds(ShedPlace::NewConnection, draw)
        })
    }

    /// Takes a connection back that is clean: for who waits first, else for later.
    pub(super) fn give_back(self: &Rc<Self>, idle: Idle) {
        // Where nobody waits, nobody asks for the exact time.
        let now = if self.waiting.is_empty() { idle.since } else { clock::now() };
        if idle.open.is_worn(now) {
            return;
        }
        let mut idle = Box::new(idle);
        loop {
            match self.waiting.first() {
                Some(waiter) if waiter.repeat == Repeat::Safe || idle.is_safe(now) => {
                    match idle.lend(now) {
                        Ok(lease) => return waiter.answer(Ok(lease)),
                        Err(unused) => {
                            waiter.answer(Err(AcquireError::Overflow));
                            idle = unused;
                        }
                    }
                }
                Some(waiter) => {
                    self.waiting.stay_first(waiter);
                    self.rest(*idle);
                    return self.grow();
                }
                None if self.is_retired() => return,
                None => return self.rest(*idle),
            }
        }
    }

    /// A shared connection may have room again.
    pub(super) fn has_room(self: &Rc<Self>, shared: &Rc<Shared>) {
        if !self.waiting.is_empty() {
            self.serve();
        }
        if !shared.is_idle() {
            return;
        }
        if self.is_retired() || !shared.has_room(clock::now()) {
            self.drop_shared(shared);
        } else {
            self.rest_shared(shared);
        }
    }

    /// Forgets a shared connection that takes no more requests.
    pub(super) fn drop_shared(self: &Rc<Self>, shared: &Rc<Shared>) {
        // The caller has one more: nothing is dropped while the list is borrowed.
        self.shared.borrow_mut().retain(|other| !Rc::ptr_eq(other, shared));
        self.serve();
    }

    /// A connection has ended: there is room for another one.
    pub(super) fn lost(self: &Rc<Self>) {
        self.open.set(self.open.get().saturating_sub(1));
        self.grow();
    }

    /// Gives what there is to those that wait, and opens what is missing.
    pub(super) fn serve(self: &Rc<Self>) {
        let now = clock::now();
        loop {
            let Some(waiter) = self.waiting.first() else { return };
            match self.take(waiter.repeat, now) {
                Ok(Some(lease)) => waiter.answer(Ok(lease)),
                Err(overflow) => waiter.answer(Err(overflow)),
                Ok(None) => {
                    self.waiting.stay_first(waiter);
                    break;
                }
            }
        }
        self.grow();
    }

    /// No connection could be opened: the first of those that wait hears of it. Where nothing is left
    /// that could serve the others, so do they (as in Envoy). But the time of an attempt is up only for
    /// those that have waited as long: the others have their own, in the next attempt.
    pub(super) fn fail(self: &Rc<Self>, error: &AcquireError) {
        let is_late = matches!(error, AcquireError::Connect(cause) if cause.is_timeout());
        let least = if is_late { self.cluster.config.connect_timeout } else { Duration::ZERO };
        let most = if self.open.get() == 0 && self.connecting.get() == 0 { usize::MAX } else { 1 };
        let is_lost = matches!(error, AcquireError::Connect(_));
        let ends = self.cluster.known_ends().filter(|_| is_lost);
        for waiter in self.waiting.since(least, clock::now(), most) {
            if let Some(ends) = ends {
                ends.pending_failure.inc();
            }
            waiter.answer(Err(error.clone()));
        }
        self.grow();
    }
}
