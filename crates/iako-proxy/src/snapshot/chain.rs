//! Listeners and filter chains, compiled.

use std::{sync::Arc, time::Duration};

use iako_proxy_config::{FilterChainMatch, Listener, Rbac};
use iako_traffic::FilterChainTable;

use super::ListenerStats;
use crate::{
    access_log::AccessLogger, drain::Drain, http::HttpService, tcp::TcpService,
    transport::server::ServerTlsSlot,
};

/// Names a filter chain over its life: changed settings keep the name, so that connections find the
/// present ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(pub(crate) u64);

/// A listener's settings, compiled.
#[derive(Debug)]
pub struct ListenerSettings {
    /// As they were sent.
    pub config: Arc<Listener>,
    /// Chooses a chain.
    pub table: FilterChainTable,
    /// The chains, in the order of `config.chains`, the default one last.
    pub chains: Vec<Arc<Chain>>,
    /// Statistics of its first address.
    pub stats: ListenerStats,
    /// Logs of connections that no chain took.
    pub access_log: Vec<AccessLogger>,
}

/// A filter chain, compiled.
#[derive(Debug)]
pub struct Chain {
    /// Its name over changes.
    pub id: ChainId,
    /// For logs; may be empty.
    pub name: Arc<str>,
    /// Which connections it takes; a chain with the same conditions is the same chain, changed.
    pub matcher: FilterChainMatch,
    /// How bytes are read.
    pub transport: ChainTransport,
    /// Longest time for a TLS handshake; without limit when absent.
    pub handshake_timeout: Option<Duration>,
    /// Run in order when the connection is there.
    pub steps: Vec<NetworkStep>,
    /// What carries the connection.
    pub terminal: Terminal,
    /// Told when the chain goes. Shared by all its versions.
    pub drain: Drain,
}

/// How bytes of an accepted connection are read.
#[derive(Debug, Clone)]
pub enum ChainTransport {
    /// As they come.
    Raw,
    /// Through TLS.
    Tls(Arc<ServerTlsSlot>),
}

/// A step on every connection's way, compiled.
#[derive(Debug)]
pub enum NetworkStep {
    /// Lets connections pass or not.
    Rbac(Arc<Rbac>),
    /// Exchanges metadata with the peer when ALPN agreed on this protocol.
    MetadataExchange {
        /// The ALPN name.
        protocol: String,
    },
    /// Counts the connection in Istio's standard metrics.
    Stats,
}

/// What carries a connection.
#[derive(Debug, Clone)]
pub enum Terminal {
    /// HTTP.
    Http(Arc<HttpService>),
    /// Bytes.
    Tcp(Arc<TcpService>),
}

impl Chain {
    /// Whether connections are counted in Istio's standard metrics.
    #[must_use]
    pub fn has_stats(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, NetworkStep::Stats))
    }
}
