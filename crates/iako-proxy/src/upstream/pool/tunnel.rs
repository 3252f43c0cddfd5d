//! Connections that belong to one tunnel each and are never shared.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use iako_http::Method;
use iako_proxy_config::ConnectEnd;
use iako_rt::clock;

use super::connection::{ConnectionFacts, Lease, OpenConnection};
use super::{AcquireError, Pools, Want};
use crate::snapshot::Fate;
use crate::transport::{ConnectOptions, connect};
use crate::upstream::tcp::TcpUpstream;
use crate::worker::Worker;

impl Pools {
    /// Connects to the server of a tunnel that ends here, and tells it who the client is where `end`
    /// asks for that.
    ///
    /// # Errors
    /// When a circuit breaker is full or no connection can be made.
    pub(crate) async fn open_tunnel(
        worker: &Rc<Worker>,
        want: &Want<'_>,
        method: &Method,
        end: &ConnectEnd,
    ) -> Result<Lease, AcquireError> {
        let cluster = want.cluster;
        let full = || {
            cluster.stats.cx_overflow.inc();
            AcquireError::Overflow
        };
        let host_max = cluster.host_connections_max(want.priority);
        let host = want.state.connection(host_max).ok_or_else(full)?;
        let breakers = cluster.state.breakers(want.priority);
        let guard = breakers.connection(cluster.limits(want.priority)).map_err(|_full| full())?;
        let counters = &want.state.counters;
        let options = ConnectOptions {
            host: Some(want.host),
            client: want.client,
            header: end.proxy_protocol.as_ref(),
            ..ConnectOptions::default()
        };
        let connected = connect(cluster, want.endpoint, options).await.map_err(|error| {
            counters.connect_failures.fetch_add(1, Relaxed);
            Arc::new(error)
        })?;
        let _ends = cluster.ends(&worker.shared.stats);
        counters.connections.fetch_add(1, Relaxed);
        counters.connections_active.fetch_add(1, Relaxed);
        let open = OpenConnection {
            facts: Rc::new(ConnectionFacts::of(&connected, want.endpoint, &worker.shared.node)),
            cluster: Arc::clone(cluster),
            state: Arc::clone(want.state),
            pool: Weak::new(),
            generation: want.state.generation(),
            priority: want.priority,
            worker: worker.index,
            worn_at: None,
            began: clock::now(),
            fate: Fate::default(),
            guard: Some(guard),
            _host: host,
        };
        let upstream = TcpUpstream::new(connected.stream, method);
        Lease::of_tunnel(Box::new(upstream), &Rc::new(open)).ok_or(AcquireError::Overflow)
    }
}
