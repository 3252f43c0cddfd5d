//! Connections to upstreams, kept for reuse by one worker.
//!
//! [`Pools::take`] is on the path of every request: one look into a table by integers, no allocation,
//! no lock. Only a request that finds no connection waits ([`Pools::acquire`]), in order, for what its
//! own worker opens or gets back; workers never wait for each other.

mod ahead;
mod connection;
mod endpoint;
mod keeper;
mod opening;
pub(crate) mod table;
mod tunnel;
mod waiting;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iako_http::Version;
use iako_proxy_config::{Endpoint, HttpProtocol, RoutePriority};
use iako_rt::clock;
use iako_traffic::{BreakerGuard, EndpointState};

pub(crate) use connection::{ConnectionFacts, Lease};

use crate::snapshot::UpstreamCluster;
use crate::transport::{ConnectError, Proxied};
use crate::worker::Worker;
use endpoint::EndpointPool;
use table::{PoolKey, PoolTable, TableFull};

/// How often pools that nobody uses any more are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Longest wait for a connection, whatever the route allows. The same as Envoy's default for a stream
/// on which nothing moves.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// One worker's idle and shared connections to upstreams, by version of a cluster and endpoint.
///
/// A changed cluster is a new version: its connections are new, those of the old version end with
/// their requests.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    table: RefCell<PoolTable>,
    sweeping: Cell<bool>,
    closed: Cell<bool>,
}

/// Which protocol a connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speak {
    Http1,
    Http2,
    /// What the server chooses by ALPN.
    Agreed,
}

/// Whether a request may be sent again when it is lost without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Safe,
    /// It may have been processed: a kept connection is looked at twice before it gets this request.
    Unsafe,
}

/// A client connection with upstream connections of its own, which end with it.
#[derive(Debug)]
pub(crate) struct Owner(u64);

impl Owner {
    /// `id` is the number of the client connection.
    pub(crate) const fn new(id: u64) -> Self {
        Self(id)
    }

    const fn id(&self) -> u64 {
        self.0
    }
}

/// What a request asks of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want<'a> {
    pub(crate) cluster: &'a Arc<UpstreamCluster>,
    pub(crate) endpoint: &'a Endpoint,
    /// The live numbers of the endpoint.
    pub(crate) state: &'a Arc<EndpointState>,
    /// The priority of the route, which has circuit breakers of its own.
    pub(crate) priority: RoutePriority,
    /// What the client spoke.
    pub(crate) version: Version,
    /// The host of the request; read only where the cluster sends hosts as server names.
    pub(crate) host: &'a str,
    /// The client, where servers are told of it.
    pub(crate) client: Option<&'a Proxied>,
    /// The client connection that alone may use the connection; any when absent.
    /// Source: `connection_pool_per_downstream_connection`.
    pub(crate) owner: Option<&'a Rc<Owner>>,
    /// Whether Istio's names of application protocols are offered. Source: filter `istio.alpn`.
    pub(crate) istio_alpn: bool,
    pub(crate) repeat: Repeat,
}

/// Why there is no connection. Nothing of the request was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AcquireError {
    /// There are too many requests, or the wait for room was too long.
    #[error("a circuit breaker of the cluster is full")]
    Overflow,
    /// Too many requests wait for a connection.
    #[error("too many requests wait for a connection to the cluster")]
    Pending,
    /// No connection is opened, because the proxy is overloaded.
    #[error("the proxy is overloaded and opens no connection")]
    Shed,
    /// There are too many pools of connections to the cluster.
    #[error("there are too many pools of connections to the cluster")]
    Pools,
    /// No connection could be made.
    #[error(transparent)]
    Connect(#[from] Arc<ConnectError>),
}

impl From<TableFull> for AcquireError {
    fn from(_: TableFull) -> Self {
        Self::Overflow
    }
}

impl Pools {
    /// A kept connection, at once.
    ///
    /// # Errors
    /// When a circuit breaker is full.
    pub(crate) fn take(
        worker: &Rc<Worker>,
        want: &Want<'_>,
        now: Instant,
    ) -> Result<Option<Lease>, AcquireError> {
        let pool = worker.pools.pool(worker, want)?;
        let taken = pool.take(want.repeat, now);
        pool.open_ahead();
        taken
    }

    /// A connection for a request: a kept one, else the next that is opened or given back.
    ///
    /// # Errors
    /// When a circuit breaker is full or no connection can be made.
    pub(crate) async fn acquire(
        worker: &Rc<Worker>,
        want: &Want<'_>,
    ) -> Result<Lease, AcquireError> {
        let pool = worker.pools.pool(worker, want)?;
        if let Some(lease) = pool.take(want.repeat, clock::now())? {
            return Ok(lease);
        }
        let ticket = pool.queue(want.repeat)?;
        pool.open_ahead();
        tokio::time::timeout(WAIT_MAX, ticket).await.unwrap_or(Err(AcquireError::Overflow))
    }

    /// A connection for a request whose kept connection turned out to be closed: one that was never
    /// used before, or a place on a shared one that is alive.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    pub(crate) async fn acquire_again(
        worker: &Rc<Worker>,
        want: &Want<'_>,
    ) -> Result<Lease, AcquireError> {
        let pool = worker.pools.pool(worker, want)?;
        if !pool.shares()
            && let Some(opened) = pool.open_own().await
        {
            return opened;
        }
        Self::acquire(worker, want).await
    }

    /// Closes what is idle and opens nothing more: the worker ends.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        let table = std::mem::take(&mut *self.table.borrow_mut());
        table.pools().for_each(|pool| pool.retire());
    }

    fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn pool(&self, worker: &Rc<Worker>, want: &Want<'_>) -> Result<Rc<EndpointPool>, AcquireError> {
        let key = PoolKey::of(want);
        if let Some(pool) = self.table.borrow().find(key, want) {
            return Ok(Rc::clone(pool));
        }
        if !self.sweeping.replace(true) {
            worker.scope.spawn("pool sweep", sweep(Rc::downgrade(worker)));
        }
        let place = self.place(want)?;
        let pool = Rc::new(EndpointPool::new(worker, want, place));
        Ok(self.table.borrow_mut().insert(key, want, pool)?)
    }

    /// A place for one more pool; where there is none, pools without connections give way.
    fn place(&self, want: &Want<'_>) -> Result<BreakerGuard, AcquireError> {
        let breakers = want.cluster.state.breakers(want.priority);
        let limits = want.cluster.limits(want.priority);
        if let Ok(place) = breakers.pool(limits) {
            return Ok(place);
        }
        // What a dropped pool does to the table must find it free.
        let unused = self.table.borrow_mut().remove_unused();
        drop(unused);
        breakers.pool(limits).map_err(|_full| {
            want.cluster.stats.cx_pool_overflow.inc();
            AcquireError::Pools
        })
    }

    /// Retires pools of clusters that are gone, and forgets those that nobody uses.
    fn sweep(&self, worker: &Worker) {
        worker.originals.sweep(clock::now());
        let snapshot = worker.snapshot();
        let is_current = |cluster: &UpstreamCluster| {
            snapshot.cluster(&cluster.name).is_some_and(|current| current.id == cluster.id)
        };
        let gone: Vec<Rc<EndpointPool>> = {
            let table = self.table.borrow();
            let is_gone = |pool: &EndpointPool| !is_current(&pool.cluster) || pool.is_orphan();
            table.pools().filter(|pool| is_gone(pool)).map(Rc::clone).collect()
        };
        gone.iter().for_each(|pool| pool.retire());
        // A server may have allowed more streams meanwhile.
        let waited_at: Vec<Rc<EndpointPool>> = {
            let table = self.table.borrow();
            table.pools().filter(|pool| !pool.waiting.is_empty()).map(Rc::clone).collect()
        };
        waited_at.iter().for_each(|pool| pool.serve());
        // What a dropped pool does to the table must find it free.
        let unused = self.table.borrow_mut().remove_unused();
        drop(unused);
    }
}

async fn sweep(worker: Weak<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(worker) = worker.upgrade() else { return };
        worker.pools.sweep(&worker);
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
