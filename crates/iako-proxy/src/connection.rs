//! One accepted connection: what is found out about it, which filter chain it gets, TLS, and who
//! carries it.

mod client_hello;
mod http_sniff;
mod inspect;
mod proxy_protocol;

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use bytes::Bytes;
use iako_identity::PeerIdentity;
use iako_proxy_config::Direction;
use iako_rt::clock;
use iako_telemetry::{AccessRecord, ResponseFlag, WorkloadLabels};
use iako_traffic::{ConnectionInfo, PeerCertificate, TlsFacts};
use tokio::net::TcpStream;

use crate::{
    access_log::FilterFacts,
    drain::Drain,
    http,
    listener::ConnectionSlot,
    snapshot::{
        Chain, ChainId, ChainTransport, ListenerSettings, NetworkStep, ProxySnapshot, Terminal,
    },
    tcp,
    transport::{Prefixed, Stream, server::AcceptError},
    worker::Worker,
};

/// A connection whose filter chain is chosen and whose handshake is done.
#[derive(Debug)]
pub struct Downstream {
    /// Its bytes, decrypted.
    pub stream: Stream,
    /// What decisions look at.
    pub info: Arc<ConnectionInfo>,
    /// The client, when it showed a certificate.
    pub peer: Option<Arc<PeerIdentity>>,
    /// Who the client says it is, from the metadata exchange ahead of TCP bytes.
    pub peer_workload: Option<Arc<WorkloadLabels>>,
    /// The version of TLS, such as `TLSv1.3`; empty without TLS.
    pub tls_version: &'static str,
    /// The cipher suite's name; empty without TLS.
    pub tls_cipher: String,
    /// The chain as it was when the connection was accepted.
    pub chain: Arc<Chain>,
    /// Towards or from the local workload.
    pub direction: Direction,
    /// When the connection was accepted.
    pub accepted: Instant,
    /// The same on the wall clock.
    pub accepted_wall: SystemTime,
    _place: Place,
}

impl Downstream {
    /// Under which name the present settings are found, for each request:
    /// [`ProxySnapshot::chain`].
    #[must_use]
    pub fn chain_id(&self) -> ChainId {
        self.chain.id
    }

    /// Told when the connection has to go.
    #[must_use]
    pub fn drain(&self) -> &Drain {
        &self.chain.drain
    }
}

/// What is given back when a connection ends, however it ends.
#[derive(Debug)]
struct Place {
    _slot: ConnectionSlot,
    settings: Arc<ListenerSettings>,
    worker: Rc<Worker>,
}

impl Place {
    fn new(slot: ConnectionSlot, settings: Arc<ListenerSettings>, worker: Rc<Worker>) -> Self {
        settings.stats.cx_total.inc();
        settings.stats.cx_active.inc();
        worker.shared.server.total_connections.inc();
        Self { _slot: slot, settings, worker }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settings.stats.cx_active.dec();
        self.settings.stats.cx_destroy.inc();
        self.worker.shared.server.total_connections.dec();
    }
}
