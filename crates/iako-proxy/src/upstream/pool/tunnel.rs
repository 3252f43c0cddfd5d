//! Connections that belong to one tunnel each and are never shared.

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use iako_http::Method;
use iako_proxy_config::{ConnectEnd, RoutePriority};

use super::connection::{ConnectionFacts, Lease, OpenConnection};
use super::{AcquireError, Pools, Want};
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
        let breakers = &cluster.config.circuit_breakers;
        let limits = match want.priority {
            RoutePriority::Default => &breakers.default,
            RoutePriority::High => &breakers.high,
        };
        let guard = cluster.state.breakers(want.priority).connection(limits).map_err(|_full| {
            cluster.stats.cx_overflow.inc();
            AcquireError::Overflow
        })?;
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
        counters.connections.fetch_add(1, Relaxed);
        counters.connections_active.fetch_add(1, Relaxed);
        let open = OpenConnection {
            facts: Rc::new(ConnectionFacts::of(&connected, want.endpoint, &worker.shared.node)),
            cluster: Arc::clone(cluster),
            state: Arc::clone(want.state),
            pool: Weak::new(),
            generation: want.state.generation(),
            worn_at: None,
            guard: Some(guard),
        };
        let upstream = TcpUpstream::new(connected.stream, method);
        Ok(Lease::of_tunnel(Box::new(upstream), Rc::new(open)))
    }
}
