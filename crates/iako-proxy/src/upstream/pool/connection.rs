//! One connection of a pool, and its loan to a request.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use iako_http::ParseError;
use iako_identity::PeerIdentity;
use iako_proxy_config::{Endpoint, EndpointAddress, RoutePriority};
use iako_rt::clock;
use iako_telemetry::Principal;
use iako_traffic::{BreakerGuard, EndpointState, HostConnection};

use super::Repeat;
use super::endpoint::EndpointPool;
use crate::shared::LocalNode;
use crate::snapshot::{Fate, UpstreamCluster};
use crate::transport::{Connected, TlsDetails};
use crate::upstream::h1::Http1Upstream;
use crate::upstream::h2::{Farewell, Http2Connection};
use crate::upstream::tcp::TcpUpstream;
use crate::upstream::{Upstream, UpstreamError};

/// What is known of a connection, for logs and metrics.
#[derive(Debug)]
pub(crate) struct ConnectionFacts {
    /// The server, when it showed a certificate.
    pub(crate) peer: Option<Arc<PeerIdentity>>,
    /// Our side.
    pub(crate) local: Option<SocketAddr>,
    /// The server's address, where it is not the endpoint's first.
    pub(crate) other_address: Option<SocketAddr>,
    /// Its number in this process.
    pub(crate) id: u64,
    /// What was agreed on in the TLS handshake.
    pub(crate) tls: Option<Arc<TlsDetails>>,
    /// The server's address.
    pub(crate) remote: Option<SocketAddr>,
    /// When it was begun.
    pub(crate) began: Instant,
    /// When the server accepted it.
    pub(crate) accepted: Instant,
    /// As whom the server proved itself.
    pub(crate) server_principal: Principal,
    /// As whom we proved ourselves to it.
    pub(crate) own_principal: Principal,
}

impl ConnectionFacts {
    pub(super) fn of(connected: &Connected, endpoint: &Endpoint, node: &LocalNode) -> Self {
        let is_other = |remote: &SocketAddr| endpoint.address != EndpointAddress::Socket(*remote);
        let server = connected.peer.as_ref().and_then(|peer| peer.spiffe_id.as_ref());
        let metadata = |name: &str| node.node.metadata.get(name).and_then(|value| value.as_str());
        let own = server.and_then(|server| {
            let domain = server.as_str().strip_prefix("spiffe://")?.split('/').next()?;
            let (namespace, account) = (metadata("NAMESPACE")?, metadata("SERVICE_ACCOUNT")?);
            Some(format!("spiffe://{domain}/ns/{namespace}/sa/{account}"))
        });
        Self {
            peer: connected.peer.clone(),
            local: connected.local,
            other_address: connected.remote.filter(is_other),
            id: crate::connection::next_number(),
            tls: connected.tls.clone(),
            remote: connected.remote,
            began: connected.began,
            accepted: connected.accepted,
            server_principal: Principal::new(server.map_or("", |server| server.as_str())),
            own_principal: Principal::new(own.as_deref().unwrap_or_default()),
        }
    }
}

/// An open connection; counts as open until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    pub(super) facts: Rc<ConnectionFacts>,
    pub(super) cluster: Arc<UpstreamCluster>,
    pub(super) state: Arc<EndpointState>,
    pub(super) pool: Weak<EndpointPool>,
    /// The priority of the requests that it carries, which has circuit breakers of its own.
    pub(super) priority: RoutePriority,
    /// The worker that carries them.
    pub(super) worker: usize,
    /// From then on it takes no more requests.
    pub(super) worn_at: Option<Instant>,
    /// That of its endpoint when it was opened.
    pub(super) generation: u32,
    pub(super) guard: Option<BreakerGuard>,
    /// When it was opened.
    pub(super) began: Instant,
    /// How it ends, as far as is known.
    pub(super) fate: Fate,
    /// Counts it among the connections to its instance.
    pub(super) _host: HostConnection,
}

impl OpenConnection {
    /// Whether it is too old for further requests, or its endpoint was found to be unwell since.
    pub(super) fn is_worn(&self, now: Instant) -> bool {
        self.worn_at.is_some_and(|worn_at| now >= worn_at)
            || self.generation != self.state.generation()
    }

    /// Whether it carried as many requests as it may.
    pub(super) fn is_full(&self, served: u32) -> bool {
        let settings = &self.cluster.config.http;
        settings.requests_per_connection_max.is_some_and(|max| served >= max.get())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.cluster.stats.closed();
        if let Some(ends) = self.cluster.known_ends() {
            ends.count(self.fate.get(), clock::now().saturating_duration_since(self.began));
        }
        self.state.counters.connections_active.fetch_sub(1, Relaxed);
        // Room for another one, before anybody is told.
        drop(self.guard.take());
        if let Some(pool) = self.pool.upgrade() {
            pool.lost();
        }
    }
}

/// A connection that no request uses.
#[derive(Debug)]
pub(super) struct Idle {
    pub(super) connection: Box<Http1Upstream>,
    pub(super) open: Rc<OpenConnection>,
    pub(super) since: Instant,
}

impl Idle {
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    /// The server closed it, or broke the silence: that is how long it lets connections idle. Of a
    /// connection that was never used it proves nothing.
    pub(super) fn learn(&self, now: Instant) {
        self.open.fate.closed_by_server();
        if self.connection.is_reused() {
            self.open.state.idle.closed_after(self.age(now), now);
        }
    }

    /// Whether a request can be entrusted to it that must not be sent twice. Costs a system call.
    pub(super) fn is_safe(&self, now: Instant) -> bool {
        let may_end = self.connection.is_reused() && self.open.state.idle.is_erratic(now);
        !may_end && self.connection.is_quiet()
    }

    /// Gives the connection to a request, or back when there are too many requests.
    pub(super) fn lend(self, now: Instant) -> Result<Lease, Box<Self>> {
        let Some(carried) = Carried::begin(&self.open) else { return Err(Box::new(self)) };
        let idle_for = now.saturating_duration_since(self.since);
        let upstream = Upstream::Http1(self.connection);
        Ok(Lease { upstream, carried, _place: None, idle_for })
    }
}

/// A connection that many requests use at once.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) connection: Http2Connection,
    pub(super) open: Rc<OpenConnection>,
    pub(super) streams: Cell<u32>,
    pub(super) idle_since: Cell<Instant>,
}

impl Shared {
    /// Whether another request may be put on it, when it may be unused for so long. One that was never
    /// used may be new, and is there for whoever waits even where a server closes after every answer, so
    /// that no time at all was learned; its keeper closes it when it is old.
    pub(super) fn takes(&self, repeat: Repeat, idle_limit: Duration, now: Instant) -> bool {
        self.has_room(now)
            && (!self.is_idle() || !self.was_used() || self.age(now) < idle_limit)
            && (repeat == Repeat::Safe || self.is_safe(now))
    }

    /// Whether it may carry more requests.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.connection.has_room()
            && !self.open.is_worn(now)
            && !self.open.is_full(self.connection.opened())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.streams.get() == 0
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.idle_since.get())
    }

    /// Whether it carried any request.
    pub(super) fn was_used(&self) -> bool {
        self.connection.opened() > 0
    }

    /// Whether the server may close it for want of requests.
    fn may_end(&self) -> bool {
        self.is_idle() && self.was_used()
    }

    /// How long the server lets unused connections be: known when it closed this one without a word.
    pub(super) fn learn(&self, farewell: Farewell, now: Instant) {
        if farewell == Farewell::Silent && self.may_end() {
            self.open.state.idle.closed_after(self.age(now), now);
        }
    }

    /// Whether a request can be entrusted to it that must not be sent twice.
    fn is_safe(&self, now: Instant) -> bool {
        !(self.may_end() && self.open.state.idle.is_erratic(now))
    }

    /// Gives a place to a request; none when there are too many requests.
    pub(super) fn lend(self: &Rc<Self>, now: Instant) -> Option<Lease> {
        let carried = Carried::begin(&self.open)?;
        let idle_for = if self.is_idle() { self.age(now) } else { Duration::ZERO };
        self.streams.set(self.streams.get().saturating_add(1));
        let upstream = Upstream::Http2(Box::new(self.connection.open()));
        Some(Lease { upstream, carried, _place: Some(Place(Rc::clone(self))), idle_for })
    }
}

/// A request's place on a shared connection.
#[derive(Debug)]
struct Place(Rc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        let left = self.0.streams.get().saturating_sub(1);
        self.0.streams.set(left);
        if left == 0 {
            self.0.idle_since.set(clock::now());
            // What its end cut off is remembered.
            if !self.0.connection.is_ended() {
                self.0.open.fate.rest();
            }
        }
        if let Some(pool) = self.0.open.pool.upgrade() {
            pool.has_room(&self.0);
        }
    }
}

/// Counts a request as under way until its response has ended: `upstream_rq_active`, and the circuit
/// breaker on requests.
#[derive(Debug)]
struct Carried(Rc<OpenConnection>);

impl Carried {
    /// None when there are too many requests.
    fn begin(open: &Rc<OpenConnection>) -> Option<Self> {
        let cluster = &open.cluster;
        let limits = cluster.limits(open.priority);
        let begun = cluster.state.breakers(open.priority).begin_request(limits, open.worker);
        if begun.is_err() {
            return None;
        }
        cluster.stats.rq_total.inc();
        cluster.stats.rq_active.inc();
        open.fate.use_it();
        Some(Self(Rc::clone(open)))
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.cluster.stats.rq_active.dec();
        self.0.cluster.state.breakers(self.0.priority).end_request(self.0.worker);
    }
}

/// A connection, or a place on a shared one, for one request. What is not given back is closed.
#[derive(Debug)]
pub(crate) struct Lease {
    // Dropped in this order: a stream ends before its place is given to another request.
    pub(crate) upstream: Upstream,
    carried: Carried,
    _place: Option<Place>,
    /// How long the connection had been idle before.
    idle_for: Duration,
}

impl Lease {
    /// A new connection for one request; none when there are too many requests.
    pub(super) fn of_new(
        connection: Box<Http1Upstream>,
        open: &Rc<OpenConnection>,
    ) -> Option<Self> {
        let carried = Carried::begin(open)?;
        let upstream = Upstream::Http1(connection);
        Some(Self { upstream, carried, _place: None, idle_for: Duration::ZERO })
    }

    /// A connection that carries a tunnel; none when there are too many requests.
    pub(super) fn of_tunnel(
        connection: Box<TcpUpstream>,
        open: &Rc<OpenConnection>,
    ) -> Option<Self> {
        let carried = Carried::begin(open)?;
        let upstream = Upstream::Tcp(connection);
        Some(Self { upstream, carried, _place: None, idle_for: Duration::ZERO })
    }

    /// What is known of the connection.
    pub(crate) fn facts(&self) -> &Rc<ConnectionFacts> {
        &self.carried.0.facts
    }

    /// Gives the connection back, if it is clean; otherwise closes it.
    pub(crate) fn release(self) {
        let Self { upstream: Upstream::Http1(mut connection), carried, .. } = self else { return };
        carried.0.fate.rest();
        let ends = carried.0.cluster.known_ends();
        if !connection.is_reusable() {
            if let Some(ends) = ends.filter(|_| connection.is_told_to_close()) {
                ends.close_notify.inc();
            }
            return;
        }
        let Some(pool) = carried.0.pool.upgrade() else { return };
        let open = Rc::clone(&carried.0);
        drop(carried);
        if let Some(limit) = connection.announced_idle() {
            open.state.idle.announced(limit);
        }
        let since = connection.done_at();
        let served = connection.rest();
        if !open.is_full(served) {
            pool.give_back(Idle { connection, open, since });
        } else if let Some(ends) = open.cluster.known_ends() {
            ends.max_requests.inc();
        }
    }

    /// Remembers for the statistics of its connection how a request was lost.
    pub(crate) fn note_end(&self, error: &UpstreamError) {
        let open = &self.carried.0;
        match error {
            UpstreamError::Closed(_) => open.fate.closed_by_server(),
            UpstreamError::Protocol(error) => {
                if *error == ParseError::Truncated {
                    open.fate.closed_by_server();
                }
                if let Some(ends) = open.cluster.known_ends() {
                    ends.protocol_error.inc();
                }
            }
            UpstreamError::Reset(_)
            | UpstreamError::Refused
            | UpstreamError::Length(_)
            | UpstreamError::Http2(_)
            | UpstreamError::NoExtendedConnect => {}
        }
    }

    /// Gives a connection back of which nothing was made.
    pub(super) fn give_back_unused(self) {
        let Self { upstream: Upstream::Http1(connection), carried, idle_for, .. } = self else {
            return;
        };
        carried.0.fate.rest();
        let open = Rc::clone(&carried.0);
        let now = clock::now();
        if let Some(pool) = open.pool.upgrade() {
            let since = now.checked_sub(idle_for).unwrap_or(now);
            pool.give_back(Idle { connection, open, since });
        }
    }

    /// Tells the pool how a request ended that got no response: what is closed is used no more, and how
    /// long the server had let it idle is remembered.
    pub(crate) fn failed(&self, error: &UpstreamError) {
        if !matches!(error, UpstreamError::Closed(_)) {
            return;
        }
        match &self.upstream {
            Upstream::Http1(connection) if connection.is_reused() => {
                self.carried.0.state.idle.closed_after(self.idle_for, clock::now());
            }
            Upstream::Http1(_) | Upstream::Tcp(_) => {}
            Upstream::Http2(stream) => {
                if stream.is_reused() && !self.idle_for.is_zero() && !stream.is_leaving() {
                    self.carried.0.state.idle.closed_after(self.idle_for, clock::now());
                }
                stream.retire();
            }
        }
    }
}
