//! Listeners and filter chains, compiled.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use iako_proxy_config::{FilterChainMatch, FilterMetadata, Listener};
use iako_traffic::FilterChainTable;

use super::{InspectorStats, ListenerStats, ListenerWorkerStats};
use crate::{
    access_log::AccessLogger, connection::steps::NetworkStep, drain::Drain, http::HttpService,
    listener::ListenerHandle, tcp::TcpService, transport::server::ServerTlsSlot, udp::UdpService,
};

/// Names a filter chain over its life: changed settings keep the name, so that connections find the
/// present ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChainId(pub(crate) u64);

/// A listener's settings, compiled.
#[derive(Debug)]
pub(crate) struct ListenerSettings {
    /// As they were sent.
    pub(crate) config: Arc<Listener>,
    /// Chooses a chain.
    pub(crate) table: FilterChainTable,
    /// The chains, in the order of `config.chains`, the default one last.
    pub(crate) chains: Vec<Arc<Chain>>,
    /// Statistics of its first address.
    pub(crate) stats: ListenerStats,
    /// The same of each worker, by its number.
    pub(crate) workers: Box<[ListenerWorkerStats]>,
    /// Open connections; without limit when absent.
    pub(crate) connections_max: Option<u32>,
    /// What its filters count.
    pub(crate) inspectors: InspectorStats,
    /// Logs of connections.
    pub(crate) access_log: Vec<AccessLogger>,
    /// What carries datagrams, for a listener of these.
    pub(crate) datagrams: Option<Arc<UdpService>>,
    /// Counts the connections of a listener within the proxy.
    pub(crate) internal: Option<Arc<ListenerHandle>>,
}

/// A filter chain, compiled.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Its name over changes.
    pub(crate) id: ChainId,
    /// For logs; may be empty.
    pub(crate) name: Arc<str>,
    /// The listener's name, for what an operator is told.
    pub(crate) listener: Arc<str>,
    /// What is said of it, for logs.
    pub(crate) metadata: FilterMetadata,
    /// What is said of its listener.
    pub(crate) of_listener: FilterMetadata,
    /// Which connections it takes; a chain with the same conditions is the same chain, changed.
    pub(crate) matcher: FilterChainMatch,
    /// How bytes are read.
    pub(crate) transport: ChainTransport,
    /// Longest time for a TLS handshake; without limit when absent.
    pub(crate) handshake_timeout: Option<Duration>,
    /// Run in order when the connection is there.
    pub(crate) steps: Vec<NetworkStep>,
    /// What carries the connection.
    pub(crate) terminal: Terminal,
    /// Told when the chain goes. Shared by all its versions.
    pub(crate) drain: Drain,
}

/// How bytes of an accepted connection are read.
#[derive(Debug, Clone)]
pub(crate) enum ChainTransport {
    /// As they come.
    Raw,
    /// Through TLS.
    Tls(Arc<ServerTlsSlot>),
}

/// What carries a connection.
#[derive(Debug, Clone)]
pub(crate) enum Terminal {
    /// HTTP.
    Http(Arc<HttpService>),
    /// Bytes.
    Tcp(Arc<TcpService>),
    /// Nobody: these bytes are the answer.
    Direct(Bytes),
    /// Nobody: what comes goes back.
    Echo,
}

impl Chain {
    /// Whether connections are counted in Istio's standard metrics.
    #[must_use]
    pub(crate) fn has_stats(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, NetworkStep::Stats))
    }
}
