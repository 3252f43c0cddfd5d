//! One accepted connection: what is found out about it, which filter chain it gets, TLS, and who
//! carries it.

pub(crate) mod client_hello;
pub mod fuzz;
pub(crate) mod http_sniff;
mod inspect;
pub(crate) mod log;
pub(crate) mod metadata_exchange;
mod nobody;
pub(crate) mod proxy_protocol;
pub(crate) mod shared_tokens;
pub(crate) mod steps;

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use iako_identity::{PeerError, PeerIdentity};
use iako_proxy_config::{Direction, Timer};
use iako_rt::clock;
use iako_telemetry::{AccessRecord, ResponseFlag, WorkloadLabels};
use iako_traffic::{ConnectionInfo, PeerCertificate, TlsFacts};
use tokio::net::TcpStream;

use crate::{
    drain::Drain,
    http,
    listener::{ConnectionSlot, crew::Seat},
    snapshot::{Chain, ChainTransport, ListenerSettings, ProxySnapshot, Terminal},
    tcp,
    transport::{
        Count, Prefixed, Stream, TlsDetails, certificate_error, failure, server::AcceptError,
    },
    worker::Worker,
};
use inspect::{InspectError, Inspection, turn_away};
use log::{ConnectionLog, HttpNotes};
use steps::{Ending, Gate, LimitPlace};

/// Longest time of a TLS handshake where none is configured (Envoy `transport_socket_connect_timeout`,
/// which has no default there): a client that connects and says nothing must not stay.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection whose filter chain is chosen and whose handshake is done.
#[derive(Debug)]
pub(crate) struct Downstream {
    /// Its bytes, decrypted.
    pub(crate) stream: Stream,
    /// What decisions look at.
    pub(crate) info: Arc<ConnectionInfo>,
    /// The client, when it showed a certificate.
    pub(crate) peer: Option<Arc<PeerIdentity>>,
    /// Who the client says it is, from the metadata exchange ahead of TCP bytes.
    pub(crate) peer_workload: Option<Arc<WorkloadLabels>>,
    /// What was agreed on in the TLS handshake.
    pub(crate) tls: Option<Arc<TlsDetails>>,
    /// Its number in this process.
    pub(crate) id: u64,
    /// The chain as it was when the connection was accepted.
    pub(crate) chain: Arc<Chain>,
    /// Towards or from the local workload.
    pub(crate) direction: Direction,
    /// When the connection was accepted.
    pub(crate) accepted: Instant,
    /// The same on the wall clock.
    pub(crate) accepted_wall: SystemTime,
    /// What waits for the client's first bytes; none where nothing does.
    pub(crate) gate: Option<Box<Gate>>,
    /// Its places below limits of filters.
    held: Vec<LimitPlace>,
    place: Place,
}

impl Downstream {
    /// Told when the connection has to go.
    #[must_use]
    pub(crate) fn drain(&self) -> &Drain {
        &self.chain.drain
    }

    /// Nobody reads what the client has said: resets the connection, as a system does with one that is
    /// closed before it is read.
    pub(crate) fn turn_away(&self) {
        if let Stream::Tcp(stream) = &self.stream {
            turn_away(stream.get_ref(), stream.prefix());
        }
    }

    /// Tells the listener's log something, where there is one.
    pub(crate) fn note(&mut self, tell: impl FnOnce(&mut ConnectionLog)) {
        if let Some(log) = &mut self.place.log {
            tell(log);
        }
    }

    /// Writes the line of the listener's log, by what its carrier knows.
    pub(crate) fn log_as(&mut self, with_record: impl FnOnce(&mut dyn FnMut(&AccessRecord<'_>))) {
        if let Some(log) = self.place.log.take() {
            with_record(&mut |record| log.write_as(record));
        }
    }

    /// Where requests are noted for the listener's log, where there is one.
    pub(crate) fn http_notes(&self) -> Option<Rc<HttpNotes>> {
        self.place.log.as_ref().map(|log| Rc::clone(&log.http))
    }

    /// A filter ends the connection; these bytes of the client went nowhere.
    pub(crate) fn denied(&mut self, ending: Ending, received: u64) {
        tracing::debug!(chain = %self.chain.name, remote = %self.info.remote, ?ending, "denied");
        let info = Arc::clone(&self.info);
        self.note(|log| {
            log.ending = ending;
            log.info = info;
            if let Some(count) = &log.count {
                count.add_received(received);
            }
        });
    }
}

/// The number of a connection in this process, of either side.
pub(crate) fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).saturating_add(1)
}

/// What is given back when a connection ends, however it ends.
#[derive(Debug)]
struct Place {
    _slots: (ConnectionSlot, Option<ConnectionSlot>),
    _seat: Seat,
    settings: Arc<ListenerSettings>,
    worker: Rc<Worker>,
    /// Written when the connection has ended.
    log: Option<Box<ConnectionLog>>,
}

impl Place {
    fn new(
        slots: (ConnectionSlot, Option<ConnectionSlot>),
        seat: Seat,
        settings: Arc<ListenerSettings>,
        worker: Rc<Worker>,
    ) -> Self {
        settings.stats.cx_total.inc();
        settings.stats.cx_active.inc();
        if let Some(own) = settings.workers.get(worker.index) {
            own.cx_total.inc();
            own.cx_active.inc();
        }
        worker.shared.server.total_connections.inc();
        Self { _slots: slots, _seat: seat, settings, worker, log: None }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(log) = self.log.take() {
            log.write();
        }
        self.settings.stats.cx_active.dec();
        if let Some(own) = self.settings.workers.get(self.worker.index) {
            own.cx_active.dec();
        }
        self.settings.stats.cx_destroy.inc();
        self.worker.shared.server.total_connections.dec();
    }
}

/// A connection that was just accepted.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// Its place in the count of its listener, and in that of the whole proxy where there is a limit.
    pub(crate) slots: (ConnectionSlot, Option<ConnectionSlot>),
    /// Its place in the count of its worker.
    pub(crate) seat: Seat,
    /// The settings of its listener.
    pub(crate) settings: Arc<ListenerSettings>,
    /// Its bytes.
    pub(crate) socket: TcpStream,
    /// The other end.
    pub(crate) remote: SocketAddr,
}

/// Carries one connection from accept to close.
pub(crate) async fn serve(worker: Rc<Worker>, snapshot: Arc<ProxySnapshot>, arrival: Arrival) {
    // Large parts of the way live in boxed futures of their own, so that a connection that relays
    // for days does not hold the memory of its handshake.
    let prepared = Box::pin(prepare(Rc::clone(&worker), snapshot, arrival));
    let Some(downstream) = prepared.await else { return };
    match downstream.chain.terminal.clone() {
        Terminal::Http(service) => {
            Box::pin(http::serve_connection(worker, downstream, service)).await;
        }
        // Boxed: a connection of HTTP does not hold the room of this.
        Terminal::Tcp(service) => {
            Box::pin(tcp::exchange::serve(worker, downstream, service)).await;
        }
        Terminal::Direct(bytes) => Box::pin(nobody::say(downstream, bytes)).await,
        Terminal::Echo => Box::pin(nobody::echo(downstream)).await,
    }
}

async fn prepare(
    worker: Rc<Worker>,
    snapshot: Arc<ProxySnapshot>,
    arrival: Arrival,
) -> Option<Downstream> {
    let Arrival { slots, seat, mut settings, mut socket, remote } = arrival;
    let (accepted, accepted_wall) = (clock::now(), clock::wall());
    // A connection within this machine has no address.
    let local = socket.local_addr().unwrap_or(remote);
    // Small writes of a request must not wait for the acknowledgement of earlier ones.
    drop(socket.set_nodelay(true));
    let mut info = ConnectionInfo::plain(local, remote);
    let mut inspection = Inspection::new(&mut socket, &mut info);
    if let Err(error) = inspect(&mut inspection, &mut settings, &snapshot).await {
        count_unrecognised(&settings, &error);
        tracing::debug!(listener = %settings.config.name, %remote, %error, "connection closed");
        inspection.turn_away();
        let failure = matches!(error, InspectError::NotTls).then(|| inspection.not_tls());
        let info = Arc::new(info);
        let log = ConnectionLog::begin(&settings, &worker, &info, (accepted, accepted_wall));
        log_refused(log, |log| log.failure = failure);
        return None;
    }
    let prefix = inspection.into_bytes();
    let info = Arc::new(info);
    let log = ConnectionLog::begin(&settings, &worker, &info, (accepted, accepted_wall));
    let Some(chain) = settings.chain_for(&info) else {
        turn_away(&socket, &prefix);
        settings.stats.no_chain.inc();
        log_refused(log, |log| {
            log.details = Some("filter_chain_not_found");
            log.ending.flag = Some(ResponseFlag::NoRouteFound);
        });
        return None;
    };
    let mut place = Place::new(slots, seat, Arc::clone(&settings), Rc::clone(&worker));
    let chain = Arc::clone(chain);
    place.log = log;
    if let Some(log) = &mut place.log {
        log.chain = Some(Arc::clone(&chain));
    }
    let downstream = Downstream {
        stream: Stream::Tcp(Prefixed::new(socket, prefix)),
        info,
        peer: None,
        peer_workload: None,
        tls: None,
        id: next_number(),
        direction: settings.config.direction,
        chain,
        accepted,
        accepted_wall,
        gate: None,
        held: Vec::new(),
        place,
    };
    let downstream = secure(downstream, &settings).await?.counted();
    if downstream.chain.steps.is_empty() {
        return Some(downstream);
    }
    Box::pin(pass_steps(&worker, downstream)).await
}

/// Runs what the chain's filters do when the connection is there.
async fn pass_steps(worker: &Rc<Worker>, mut downstream: Downstream) -> Option<Downstream> {
    let Err(ending) = steps::at_connection(worker, &mut downstream).await else {
        return Some(downstream);
    };
    let received = match &downstream.chain.terminal {
        // Who carries bytes reads none before it has somebody to give them to.
        Terminal::Tcp(service) => {
            tcp::exchange::log_unserved(worker, &downstream, service, &ending);
            0
        }
        Terminal::Http(_) | Terminal::Direct(_) | Terminal::Echo => {
            downstream.stream.bytes_at_hand()
        }
    };
    downstream.denied(ending, received);
    None
}

fn log_refused(log: Option<Box<ConnectionLog>>, tell: impl FnOnce(&mut ConnectionLog)) {
    if let Some(mut log) = log {
        tell(&mut log);
        log.write();
    }
}

/// Finds out about a connection what its listener asks for, and what the listener asks for that it
/// was meant to reach.
async fn inspect(
    inspection: &mut Inspection<'_>,
    settings: &mut Arc<ListenerSettings>,
    snapshot: &ProxySnapshot,
) -> Result<(), InspectError> {
    let found = inspection.run(settings).await?;
    if !settings.config.use_original_dst || !found.destination {
        return Ok(());
    }
    let destination = inspection.info.original_destination;
    let other = snapshot.listener_at(destination);
    if let Some(other) = other.filter(|other| other.config.name != settings.config.name) {
        *settings = Arc::clone(other);
        inspection.run(settings).await?;
    }
    Ok(())
}

/// Makes the TLS handshake that the chain asks for.
async fn secure(mut downstream: Downstream, settings: &ListenerSettings) -> Option<Downstream> {
    let ChainTransport::Tls(tls) = downstream.chain.transport.clone() else {
        return Some(downstream);
    };
    let Stream::Tcp(socket) = downstream.stream else { return None };
    let limit = downstream.chain.handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT);
    let overload = &downstream.place.worker.shared.overload;
    let limit = overload.time(Timer::Handshake, Some(limit));
    let is_logged = downstream.place.log.is_some();
    let first = if is_logged { Bytes::copy_from_slice(socket.prefix()) } else { Bytes::new() };
    let accepted = match tls.accept(socket, limit).await {
        Ok(accepted) => accepted,
        Err(error) => {
            count_failure(settings, &error);
            let remote = downstream.info.remote;
            if let Some(log) = &mut downstream.place.log {
                log.failure = failure::reason(&error, &first);
                if matches!(error, AcceptError::Timeout(_)) {
                    log.ending = Ending::of_handshake_time();
                }
            }
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::debug!(listener = %settings.config.name, %remote, %error, cause, "TLS refused");
            return None;
        }
    };
    settings.stats.ssl_handshake.inc();
    if accepted.is_resumed {
        settings.stats.ssl_session_reused.inc();
    }
    if accepted.peer.is_none() {
        settings.stats.ssl_no_certificate.inc();
    }
    let info = Arc::make_mut(&mut downstream.info);
    if let Some(name) = accepted.server_name {
        info.server_name = name.to_ascii_lowercase();
    }
    "tls".clone_into(&mut info.transport_protocol);
    info.tls = Some(TlsFacts {
        alpn: accepted
            .alpn
            .map(|alpn| String::from_utf8_lossy(&alpn).into_owned())
            .unwrap_or_default(),
        peer: accepted.peer.as_deref().map(|peer| certificate_facts(peer, &downstream.chain)),
        local_uris: tls.own_uris(),
    });
    downstream.peer = accepted.peer;
    downstream.tls = Some(Arc::clone(&accepted.details));
    downstream.stream = accepted.stream;
    let info = Arc::clone(&downstream.info);
    downstream.note(|log| (log.info, log.tls) = (info, Some(accepted.details)));
    Some(downstream)
}

fn count_unrecognised(settings: &ListenerSettings, error: &InspectError) {
    match error {
        InspectError::Timeout(_) => settings.stats.pre_cx_timeout.inc(),
        InspectError::Ended | InspectError::Broken(_) => {
            settings.stats.filter_remote_close.inc();
        }
        InspectError::NoFilterConfig => settings.stats.filter_config_missing.inc(),
        InspectError::ProxyProtocol | InspectError::HelloTooLarge | InspectError::NotTls => {
            settings.stats.filter_error.inc();
        }
    }
}

fn count_failure(settings: &ListenerSettings, error: &AcceptError) {
    match error {
        AcceptError::Peer(error) => count_refusal(settings, Some(error)),
        AcceptError::Handshake(cause) => match certificate_error(cause) {
            Some(rustls::Error::NoCertificatesPresented) => {
                settings.stats.ssl_fail_verify_no_cert.inc();
            }
            Some(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(reason))) => {
                count_refusal(settings, reason.0.downcast_ref::<PeerError>());
            }
            Some(_) => count_refusal(settings, None),
            None => settings.stats.ssl_connection_error.inc(),
        },
        AcceptError::Timeout(_) => settings.stats.handshake_timeout.inc(),
        AcceptError::NoCertificate | AcceptError::NoServerName => {
            settings.stats.ssl_connection_error.inc();
        }
    }
}

fn count_refusal(settings: &ListenerSettings, reason: Option<&PeerError>) {
    let stats = &settings.stats;
    match reason {
        Some(PeerError::NotExpected { .. }) => stats.ssl_fail_verify_san.inc(),
        Some(PeerError::NotPinned) => stats.ssl_fail_verify_cert_hash.inc(),
        Some(_) | None => stats.ssl_fail_verify_error.inc(),
    }
}

fn certificate_facts(peer: &PeerIdentity, chain: &Chain) -> PeerCertificate {
    // Only HTTP hands certificates on, in a header.
    let (pem, chain_pem) = match &chain.terminal {
        Terminal::Http(_) => (peer.leaf_pem(), peer.chain_pem()),
        Terminal::Tcp(_) | Terminal::Direct(_) | Terminal::Echo => Default::default(),
    };
    PeerCertificate {
        uris: peer.facts.uri_sans.clone(),
        dns: peer.facts.dns_sans.clone(),
        subject: peer.facts.subject.clone(),
        sha256: peer.sha256_hex(),
        untrusted: peer.untrusted,
        pem,
        chain_pem,
    }
}

impl Downstream {
    /// Has its bytes counted, where the listener's log asks for them and the carrier does not count.
    fn counted(mut self) -> Self {
        let Some(log) = &mut self.place.log else { return self };
        if !matches!(self.chain.terminal, Terminal::Tcp(_)) {
            let count = Arc::<Count>::default();
            log.count = Some(Arc::clone(&count));
            self.stream = self.stream.counted(count);
        }
        self
    }
}

impl ListenerSettings {
    /// The chain that takes a connection.
    fn chain_for(&self, info: &ConnectionInfo) -> Option<&Arc<Chain>> {
        self.chains.get(self.table.position(info)?)
    }
}
