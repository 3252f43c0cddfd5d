//! Connections to upstreams, kept for reuse by one worker.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use iako_http::{NameCase, Version};
use iako_identity::PeerIdentity;
use iako_proxy_config::{
    Cluster, Endpoint, EndpointAddress, HttpProtocol, Thresholds, UpstreamTls,
};
use iako_rt::clock;
use iako_telemetry::Principal;
use iako_traffic::{BreakerGuard, Breakers};
use tokio::sync::Notify;

use super::{Upstream, h1::Http1Upstream, h2::Http2Connection};
use crate::shared::LocalNode;
use crate::snapshot::{ClusterTransport, UpstreamCluster};
use crate::transport::{ConnectError, ConnectOptions, Connected, connect};
use crate::worker::Worker;

/// How often idle connections are looked at: closed ones are dropped, old ones closed.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// One worker's idle and shared connections to upstreams, by version of a cluster and endpoint.
///
/// A changed cluster is a new version: its connections are new, those of the old version end with
/// their requests.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: RefCell<HashMap<PoolKey, Rc<EndpointPool>>>,
    sweeping: Cell<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PoolKey {
    cluster: u64,
    address: EndpointAddress,
    speak: Speak,
    /// The host that is sent as the server name, where that depends on the request.
    host: Option<Box<str>>,
}

/// Which protocol a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Speak {
    Http1,
    Http2,
    /// What the server chooses by ALPN.
    Agreed,
}

/// What a request asks of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want<'a> {
    pub(crate) cluster: &'a Arc<UpstreamCluster>,
    pub(crate) endpoint: &'a Endpoint,
    /// What is open to the cluster at the route's priority.
    pub(crate) breakers: &'a Arc<Breakers>,
    /// How much may be.
    pub(crate) limits: &'a Thresholds,
    /// What the client spoke.
    pub(crate) version: Version,
    /// The host of the request.
    pub(crate) host: &'a str,
    /// Whether Istio's names of application protocols are offered. Source: filter `istio.alpn`.
    pub(crate) istio_alpn: bool,
}

/// Why there is no connection. Nothing of the request was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// A circuit breaker is full.
    #[error("a circuit breaker of the cluster is full")]
    Overflow,
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server accepted the connection and did not take HTTP/2.
    #[error("the upstream does not speak HTTP/2")]
    Greeting(#[from] ::h2::Error),
}

/// What is known of a connection, for logs and metrics.
#[derive(Debug)]
pub(crate) struct ConnectionFacts {
    /// The server, when it showed a certificate.
    pub(crate) peer: Option<Arc<PeerIdentity>>,
    /// Our side.
    pub(crate) local: Option<SocketAddr>,
    /// The version of TLS; empty without.
    pub(crate) tls_version: &'static str,
    /// As whom the server proved itself.
    pub(crate) server_principal: Principal,
    /// As whom we proved ourselves to it.
    pub(crate) own_principal: Principal,
}

/// Connections of one worker to one endpoint.
#[derive(Debug, Default)]
struct EndpointPool {
    /// The most recently used last, and taken first: the others may fall idle.
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Shared>>,
    /// Open HTTP/1 connections, idle or not.
    open: Cell<u32>,
    /// A shared connection is being opened; others wait for it.
    opening: Cell<bool>,
    /// Told when a connection was given back, opened or lost.
    changed: Notify,
}

#[derive(Debug)]
struct Idle {
    connection: Box<Http1Upstream>,
    open: OpenConnection,
    since: Instant,
}

#[derive(Debug)]
struct Shared {
    connection: Http2Connection,
    facts: Rc<ConnectionFacts>,
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
struct OpenConnection {
    facts: Rc<ConnectionFacts>,
    cluster: Arc<UpstreamCluster>,
    pool: Rc<EndpointPool>,
    established: Instant,
    _guard: Option<BreakerGuard>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.cluster.stats.closed();
        self.pool.open.set(self.pool.open.get().saturating_sub(1));
        self.pool.changed.notify_one();
    }
}

/// A connection, or a place on a shared one, for one request.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) upstream: Upstream,
    pub(crate) facts: Rc<ConnectionFacts>,
    /// Of an HTTP/1 connection, which is ours alone.
    open: Option<OpenConnection>,
}

impl Lease {
    /// Gives the connection back, if it is clean; otherwise closes it.
    pub(crate) fn release(self) {
        let (Upstream::Http1(mut connection), Some(open)) = (self.upstream, self.open) else {
            return;
        };
        if !connection.is_reusable() {
            return;
        }
        let settings = &open.cluster.config.http;
        let served = connection.rest();
        let now = clock::now();
        let worn = settings.requests_per_connection_max.is_some_and(|max| served >= max.get());
        let aged = settings
            .connection_duration_max
            .is_some_and(|max| now.saturating_duration_since(open.established) >= max);
        if !worn && !aged {
            let pool = Rc::clone(&open.pool);
            pool.idle.borrow_mut().push(Idle { connection, open, since: now });
            pool.changed.notify_one();
        }
    }
}

impl Pools {
    /// A kept connection, at once.
    pub(crate) fn take(worker: &Rc<Worker>, want: &Want<'_>) -> Option<Lease> {
        worker.pools.pool(worker, want, speak(want)).take(want)
    }

    /// A connection for a request: a kept one, else a new one, else the next that is given back.
    ///
    /// # Errors
    /// When a circuit breaker is full or no connection can be made.
    pub(crate) async fn acquire(
        worker: &Rc<Worker>,
        want: &Want<'_>,
    ) -> Result<Lease, AcquireError> {
        let speak = speak(want);
        let pool = worker.pools.pool(worker, want, speak);
        if let Some(lease) = pool.take(want) {
            return Ok(lease);
        }
        let Ok(_pending) = want.breakers.pending(want.limits) else {
            want.cluster.stats.rq_pending_overflow.inc();
            return Err(AcquireError::Overflow);
        };
        want.cluster.stats.rq_pending_total.inc();
        loop {
            if pool.opening.get() {
                pool.changed.notified().await;
            } else if let Some(lease) = pool.open(worker, want, speak).await? {
                return Ok(lease);
            } else {
                pool.changed.notified().await;
            }
            if let Some(lease) = pool.take(want) {
                return Ok(lease);
            }
        }
    }

    /// A connection that was never used and never will be by another request.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub(crate) async fn acquire_fresh(
        worker: &Rc<Worker>,
        want: &Want<'_>,
    ) -> Result<Lease, AcquireError> {
        let speak = speak(want);
        let pool = worker.pools.pool(worker, want, speak);
        match pool.open(worker, want, speak).await? {
            Some(lease) => Ok(lease),
            None => Err(AcquireError::Overflow),
        }
    }

    fn pool(&self, worker: &Rc<Worker>, want: &Want<'_>, speak: Speak) -> Rc<EndpointPool> {
        if !self.sweeping.replace(true) {
            worker.scope.spawn("pool sweep", sweep(Rc::downgrade(worker)));
        }
        let host = client_tls(want).is_some_and(|tls| tls.auto_sni).then(|| want.host.into());
        let key = PoolKey {
            cluster: want.cluster.id,
            address: want.endpoint.address.clone(),
            speak,
            host,
        };
        Rc::clone(self.pools.borrow_mut().entry(key).or_default())
    }

    /// Drops connections that are closed, too old or of clusters that are gone.
    fn sweep(&self, clusters: &HashSet<u64>, now: Instant) {
        self.pools.borrow_mut().retain(|key, pool| {
            if !clusters.contains(&key.cluster) {
                pool.idle.borrow_mut().clear();
                pool.shared.borrow_mut().clear();
            }
            pool.idle.borrow_mut().retain_mut(|idle| idle.is_fresh(now));
            pool.shared.borrow_mut().retain(|shared| shared.is_wanted(now));
            Rc::strong_count(pool) > 1
                || !pool.idle.borrow().is_empty()
                || !pool.shared.borrow().is_empty()
        });
    }
}

async fn sweep(worker: Weak<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(worker) = worker.upgrade() else { return };
        let clusters = worker.snapshot().clusters().map(|cluster| cluster.id).collect();
        worker.pools.sweep(&clusters, clock::now());
    }
}

impl Idle {
    /// Whether the connection can still be used. Looks, and reads nothing that is ours.
    fn is_fresh(&mut self, now: Instant) -> bool {
        let limit = self.open.cluster.config.http.idle_timeout;
        if limit.is_some_and(|limit| now.saturating_duration_since(self.since) >= limit) {
            return false;
        }
        let mut context = Context::from_waker(Waker::noop());
        self.connection.poll_stale(&mut context).is_pending()
    }
}

impl Shared {
    fn is_wanted(&self, now: Instant) -> bool {
        let limit = self.connection.idle_timeout;
        let idle = self.connection.idle_since();
        let too_long = |since: Instant| {
            limit.is_some_and(|limit| now.saturating_duration_since(since) >= limit)
        };
        !self.connection.is_ended() && !idle.is_some_and(too_long)
    }
}

impl EndpointPool {
    fn take(&self, want: &Want<'_>) -> Option<Lease> {
        let now = clock::now();
        let settings = &want.cluster.config.http;
        let mut shared = self.shared.borrow_mut();
        shared.retain(|shared| !shared.connection.is_ended());
        let usable = |shared: &&Shared| {
            let opened = shared.connection.opened();
            let age = now.saturating_duration_since(shared.connection.since);
            shared.connection.has_room()
                && settings.requests_per_connection_max.is_none_or(|max| opened < max.get())
                && settings.connection_duration_max.is_none_or(|max| age < max)
        };
        if let Some(shared) = shared.iter().find(usable) {
            return Some(shared.lease());
        }
        let mut idle = self.idle.borrow_mut();
        while let Some(mut idle) = idle.pop() {
            if idle.is_fresh(now) {
                let facts = Rc::clone(&idle.open.facts);
                let upstream = Upstream::Http1(idle.connection);
                return Some(Lease { upstream, facts, open: Some(idle.open) });
            }
        }
        None
    }

    /// Opens a connection; `None` when there may be no more of them.
    async fn open(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        want: &Want<'_>,
        speak: Speak,
    ) -> Result<Option<Lease>, AcquireError> {
        let guard = want.breakers.connection(want.limits).ok();
        let has_any = self.open.get() > 0 || !self.shared.borrow().is_empty();
        if guard.is_none() {
            want.cluster.stats.cx_overflow.inc();
            // Every pool may have one connection, or its requests would wait for ever (as Envoy).
            if has_any {
                return Ok(None);
            }
        }
        let _opening = (speak == Speak::Http2).then(|| Opening::new(self));
        let configured = client_tls(want).map_or(&[][..], |tls| &tls.options.alpn);
        let options =
            ConnectOptions { alpn: offered(want, speak, configured), host: Some(want.host) };
        let connected = connect(want.cluster, want.endpoint, options).await?;
        let agreed_h2 = connected.alpn.as_deref().is_some_and(|alpn| alpn.ends_with(b"h2"));
        let facts = Rc::new(ConnectionFacts::of(&connected, &worker.shared.node));
        self.open.set(self.open.get() + 1);
        let open = OpenConnection {
            facts,
            cluster: Arc::clone(want.cluster),
            pool: Rc::clone(self),
            established: clock::now(),
            _guard: guard,
        };
        if speak == Speak::Http2 || (speak == Speak::Agreed && agreed_h2) {
            return self.share(worker, connected, open).await.map(Some);
        }
        want.cluster.stats.cx_http1_total.inc();
        let name_case = name_case(&want.cluster.config);
        let upstream = Upstream::Http1(Box::new(Http1Upstream::new(connected.stream, name_case)));
        Ok(Some(Lease { upstream, facts: Rc::clone(&open.facts), open: Some(open) }))
    }

    async fn share(
        self: &Rc<Self>,
        worker: &Rc<Worker>,
        connected: Connected,
        open: OpenConnection,
    ) -> Result<Lease, AcquireError> {
        open.cluster.stats.cx_http2_total.inc();
        let settings = &open.cluster.config.http;
        let (connection, driver) = Http2Connection::greet(connected.stream, settings).await?;
        let shared = Shared { connection, facts: Rc::clone(&open.facts) };
        let lease = shared.lease();
        self.shared.borrow_mut().push(shared);
        self.changed.notify_waiters();
        worker.scope.spawn("upstream h2", async move {
            driver.await;
            drop(open);
        });
        Ok(lease)
    }
}

impl Shared {
    fn lease(&self) -> Lease {
        let upstream = Upstream::Http2(Box::new(self.connection.open()));
        Lease { upstream, facts: Rc::clone(&self.facts), open: None }
    }
}

/// Marks a pool as opening a shared connection, however the attempt ends.
struct Opening(Rc<EndpointPool>);

impl Opening {
    fn new(pool: &Rc<EndpointPool>) -> Self {
        pool.opening.set(true);
        Self(Rc::clone(pool))
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.opening.set(false);
        self.0.changed.notify_waiters();
    }
}

impl ConnectionFacts {
    fn of(connected: &Connected, node: &LocalNode) -> Self {
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
            tls_version: connected.tls_version,
            server_principal: Principal::new(server.map_or("", |server| server.as_str())),
            own_principal: Principal::new(own.as_deref().unwrap_or_default()),
        }
    }
}

fn client_tls<'a>(want: &Want<'a>) -> Option<&'a UpstreamTls> {
    match want.cluster.transport_for(want.endpoint) {
        ClusterTransport::Raw => None,
        ClusterTransport::Tls(slot) => Some(slot.settings()),
    }
}

fn speak(want: &Want<'_>) -> Speak {
    let by_client = if want.version == Version::Http2 { Speak::Http2 } else { Speak::Http1 };
    match want.cluster.config.http.protocol {
        HttpProtocol::Http2 => Speak::Http2,
        HttpProtocol::Downstream => by_client,
        HttpProtocol::Auto if want.cluster.transport_for(want.endpoint).is_tls() => Speak::Agreed,
        HttpProtocol::Http1 | HttpProtocol::Auto => Speak::Http1,
    }
}

const ISTIO_HTTP1: &[&[u8]] = &[b"istio-http/1.1", b"istio", b"http/1.1"];
const ISTIO_HTTP2: &[&[u8]] = &[b"istio-h2", b"istio", b"h2"];

/// Application protocols to offer in place of the configured ones.
fn offered(
    want: &Want<'_>,
    speak: Speak,
    configured: &[String],
) -> Option<&'static [&'static [u8]]> {
    match speak {
        Speak::Http1 if want.istio_alpn => Some(ISTIO_HTTP1),
        Speak::Http2 if want.istio_alpn => Some(ISTIO_HTTP2),
        Speak::Http2 if configured.is_empty() => Some(&[b"h2"]),
        Speak::Agreed if configured.is_empty() => Some(&[b"h2", b"http/1.1"]),
        Speak::Http1 | Speak::Http2 | Speak::Agreed => None,
    }
}

fn name_case(cluster: &Cluster) -> NameCase {
    if cluster.http.preserve_case { NameCase::Preserve } else { NameCase::Lower }
}
