//! New connections of a pool, as many as those that wait need and the circuit breakers allow.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use iako_proxy_config::{ClusterHttp, EndpointAddress, UpstreamTls};
use iako_rt::clock;
use iako_traffic::{BreakerGuard, HostConnection};

use super::connection::{ConnectionFacts, Idle, Lease, OpenConnection, Shared};
use super::endpoint::EndpointPool;
use super::{AcquireError, Speak};
use crate::http::wire::Meter;
use crate::snapshot::{ClosedBy, ClusterTransport, ConnectionEnd, Fate};
use crate::transport::{ConnectError, ConnectOptions, Connected, connect};
use crate::upstream::h1::Http1Upstream;
use crate::upstream::h2::{Farewell, Http2Connection, Server};
use crate::worker::Worker;

/// What was opened.
enum Opened {
    Own(Box<Http1Upstream>, Rc<OpenConnection>),
    Shared,
}

/// Counts a connection as being opened, however the attempt ends.
struct Connecting(Rc<EndpointPool>);

impl Connecting {
    fn new(pool: &Rc<EndpointPool>) -> Self {
        pool.connecting.set(pool.connecting.get() + 1);
        Self(Rc::clone(pool))
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.connecting.set(self.0.connecting.get().saturating_sub(1));
    }
}

/// Room for one more connection, under the breakers or, for a pool that has none, beyond them.
pub(super) struct Room {
    guard: BreakerGuard,
    host: HostConnection,
}

impl EndpointPool {
    /// Opens what those that wait need and is not under way yet.
    pub(super) fn grow(self: &Rc<Self>) {
        if self.waiting.is_empty() {
            return;
        }
        let Some(worker) = self.worker.upgrade().filter(|worker| !worker.pools.is_closed()) else {
            return;
        };
        loop {
            let coming = match self.connecting.get() {
                0 => 0,
                _ if self.shares() => usize::MAX,
                connecting => usize::try_from(connecting).unwrap_or(usize::MAX),
            };
            if self.waiting.len() <= coming {
                return;
            }
            let Some(room) = self.room() else { return };
            self.start(&worker, room);
        }
    }

    /// Opens one connection for whoever comes to need it.
    pub(super) fn start(self: &Rc<Self>, worker: &Rc<Worker>, room: Room) {
        let connecting = Connecting::new(self);
        let pool = Rc::clone(self);
        let opener = Rc::clone(worker);
        let opening = async move {
            let opened = pool.open(&opener, room).await;
            drop(connecting);
            match opened {
                Ok(Opened::Own(connection, open)) => {
                    pool.give_back(Idle { connection, open, since: clock::now() });
                    pool.grow();
                }
                Ok(Opened::Shared) => pool.grow(),
                Err(error) => pool.fail(&error),
            }
        };
        worker.scope.spawn("connect", Box::pin(opening));
    }

    /// Opens a connection for one request alone; `None` when there may be no more of them, or when
    /// it came to be a shared one.
    pub(super) async fn open_own(self: &Rc<Self>) -> Option<Result<Lease, AcquireError>> {
        let worker = self.worker.upgrade()?;
        let room = self.room()?;
        let connecting = Connecting::new(self);
        let opened = self.open(&worker, room).await;
        drop(connecting);
        match opened {
            Ok(Opened::Own(connection, open)) => {
                Some(Lease::of_new(connection, &open).ok_or(AcquireError::Overflow))
            }
            Ok(Opened::Shared) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn room(&self) -> Option<Room> {
        if let Some(room) = self.room_below_limits() {
            return Some(room);
        }
        // A connection that is too old to be used must not be in the way of one that is not.
        let unused = std::mem::take(&mut *self.idle.borrow_mut());
        drop(unused);
        let unused: Vec<_> =
            self.shared.borrow_mut().extract_if(.., |shared| shared.is_idle()).collect();
        drop(unused);
        if let Some(room) = self.room_below_limits() {
            return Some(room);
        }
        self.cluster.stats.cx_overflow.inc();
        // Every pool may have one connection, or its requests would wait for others (as in Envoy).
        if self.open.get() > 0 || self.connecting.get() > 0 {
            return None;
        }
        let host = self.state.connection(u32::MAX)?;
        Some(Room { guard: self.breakers().connection_beyond(), host })
    }

    pub(super) fn room_below_limits(&self) -> Option<Room> {
        let host = self.state.connection(self.cluster.host_connections_max(self.priority))?;
        let guard = self.breakers().connection(self.limits()).ok()?;
        Some(Room { guard, host })
    }

    async fn open(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        room: Room,
    ) -> Result<Opened, AcquireError> {
        let configured = self.client_tls().map_or(&[][..], |tls| &tls.options.alpn);
        let options = ConnectOptions {
            alpn: self.offered(configured),
            host: self.host.as_deref(),
            client: self.client.as_ref(),
            header: None,
        };
        let counters = &self.state.counters;
        let connected = connect(&self.cluster, &self.endpoint, options).await.map_err(|error| {
            counters.connect_failures.fetch_add(1, Relaxed);
            self.count_failure(&error);
            Arc::new(error)
        })?;
        counters.connections.fetch_add(1, Relaxed);
        counters.connections_active.fetch_add(1, Relaxed);
        self.open.set(self.open.get() + 1);
        let settings = &self.cluster.config.http;
        let open = Rc::new(OpenConnection {
            facts: Rc::new(ConnectionFacts::of(&connected, &self.endpoint, &worker.shared.node)),
            cluster: Arc::clone(&self.cluster),
            state: Arc::clone(&self.state),
            pool: Rc::downgrade(self),
            priority: self.priority,
            worker: worker.index,
            worn_at: worn_at(settings, worker),
            generation: self.state.generation(),
            began: clock::now(),
            fate: Fate::default(),
            guard: Some(room.guard),
            _host: room.host,
        });
        let agreed_h2 = connected.alpn.as_deref().is_some_and(|alpn| alpn.ends_with(b"h2"));
        let shares = self.speak == Speak::Http2 || (self.speak == Speak::Agreed && agreed_h2);
        self.shares.set(shares);
        if shares {
            self.share(worker, connected, open);
            return Ok(Opened::Shared);
        }
        self.cluster.stats.cx_http1_total.inc();
        let connection = Http1Upstream::new(connected.stream, settings);
        let connection = Box::new(connection.metered(Meter::of(&self.cluster.stats)));
        Ok(Opened::Own(connection, open))
    }

    fn share(self: &Rc<Self>, worker: &Rc<Worker>, connected: Connected, open: Rc<OpenConnection>) {
        self.cluster.stats.cx_http2_total.inc();
        let other = open.facts.other_address.map(EndpointAddress::Socket);
        let server = Server {
            cluster: Arc::clone(&self.cluster),
            address: other.unwrap_or_else(|| self.endpoint.address.clone()),
            shared: Arc::clone(&worker.shared),
        };
        let (connection, driver) = Http2Connection::begin(connected.stream, server);
        let shared = Rc::new(Shared {
            connection,
            open,
            streams: 0.into(),
            idle_since: clock::now().into(),
        });
        let pool = Rc::downgrade(self);
        // The connection ends with its last user: the driver must not be one.
        let driven = Rc::downgrade(&shared);
        worker.scope.spawn("upstream h2", async move {
            let farewell = driver.await;
            if let (Some(pool), Some(shared)) = (pool.upgrade(), driven.upgrade()) {
                if farewell == Farewell::Silent {
                    shared.open.fate.closed_by_server();
                }
                shared.learn(farewell, clock::now());
                pool.drop_shared(&shared);
            }
        });
        self.shared.borrow_mut().push(Rc::clone(&shared));
        self.has_room(&shared);
    }

    /// Counts a connection that came to nothing by what it would have spoken.
    fn count_failure(&self, error: &ConnectError) {
        match self.speak {
            Speak::Http1 => self.cluster.stats.cx_http1_total.inc(),
            Speak::Http2 => self.cluster.stats.cx_http2_total.inc(),
            Speak::Agreed => {}
        }
        let by_us = error.is_timeout() || error.is_tls();
        let by = if by_us { ClosedBy::Us } else { ClosedBy::Server };
        if let Some(ends) = self.cluster.known_ends() {
            ends.count(ConnectionEnd { by, is_used: false }, Duration::ZERO);
        }
    }

    fn client_tls(&self) -> Option<&UpstreamTls> {
        match self.cluster.transport_for(&self.endpoint) {
            ClusterTransport::Raw => None,
            ClusterTransport::Tls(slot) => Some(slot.settings()),
        }
    }

    /// Application protocols to offer in place of the configured ones.
    fn offered(&self, configured: &[String]) -> Option<&'static [&'static [u8]]> {
        match self.speak {
            Speak::Http1 if self.istio_alpn => Some(ISTIO_HTTP1),
            Speak::Http2 if self.istio_alpn => Some(ISTIO_HTTP2),
            Speak::Http2 if configured.is_empty() => Some(&[b"h2"]),
            Speak::Agreed if configured.is_empty() => Some(&[b"h2", b"http/1.1"]),
            Speak::Http1 | Speak::Http2 | Speak::Agreed => None,
        }
    }
}

const ISTIO_HTTP1: &[&[u8]] = &[b"istio-http/1.1", b"istio", b"http/1.1"];
const ISTIO_HTTP2: &[&[u8]] = &[b"istio-h2", b"istio", b"h2"];

/// When a connection that is made now is too old for more requests.
fn worn_at(settings: &ClusterHttp, worker: &Worker) -> Option<Instant> {
    let age = settings.connection_duration_max?;
    clock::now().checked_add(worker.spread(age, settings.connection_duration_jitter))
}
