//! The datagrams of one client, both ways.

use std::{
    cell::Cell,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use iako_proxy_config::EndpointAddress;
use iako_rt::clock;
use iako_telemetry::AccessRecord;
use iako_traffic::{ActiveRequest, BalancedEndpoint, BreakerGuard, EndpointState};
use socket2::SockRef;
use tokio::{net::UdpSocket, sync::Notify};

use super::{
    UdpService,
    serve::{Door, DoorOfSession},
};
use crate::{snapshot::UpstreamCluster, worker::Worker};

/// The instance of a session.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) cluster: Arc<UpstreamCluster>,
    pub(super) address: SocketAddr,
    state: Arc<EndpointState>,
}

impl Upstream {
    /// An instance with an address; none of other kinds.
    pub(super) fn new(cluster: &Arc<UpstreamCluster>, endpoint: &BalancedEndpoint) -> Option<Self> {
        let EndpointAddress::Socket(address) = endpoint.endpoint.address else { return None };
        let (cluster, state) = (Arc::clone(cluster), Arc::clone(&endpoint.state));
        Some(Self { cluster, address, state })
    }

    /// A socket that sends to it and takes from nobody else.
    pub(super) fn open(&self) -> io::Result<UdpSocket> {
        let any = if self.address.is_ipv4() {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        let own = self.cluster.config.bind_address;
        let own = own.filter(|own| own.is_ipv4() == self.address.is_ipv4());
        let socket = std::net::UdpSocket::bind(own.unwrap_or(any))?;
        socket.connect(self.address)?;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }
}

/// What a session has moved.
#[derive(Debug, Default)]
struct Moved {
    received_bytes: Cell<u64>,
    sent_bytes: Cell<u64>,
}

/// One client's datagrams to one instance and back.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: (SocketAddr, Option<SocketAddr>),
    local: SocketAddr,
    worker: Rc<Worker>,
    service: Arc<UdpService>,
    upstream: Upstream,
    socket: UdpSocket,
    started: Instant,
    started_wall: SystemTime,
    last: Cell<Instant>,
    moved: Moved,
    ending: Notify,
    _active: ActiveRequest,
    _room: BreakerGuard,
}

impl Session {
    pub(super) fn new(
        (key, local): ((SocketAddr, Option<SocketAddr>), SocketAddr),
        (worker, service): (&Rc<Worker>, &Arc<UdpService>),
        upstream: Upstream,
        (socket, room): (UdpSocket, BreakerGuard),
    ) -> Self {
        service.stats.sessions_total.inc();
        service.stats.sessions_active.inc();
        let now = clock::now();
        Self {
            key,
            local,
            worker: Rc::clone(worker),
            service: Arc::clone(service),
            socket,
            started: now,
            started_wall: clock::wall(),
            last: Cell::new(now),
            moved: Moved::default(),
            ending: Notify::new(),
            _active: upstream.state.begin(),
            _room: room,
            upstream,
        }
    }

    /// Whether its instance still is one of this cluster and takes datagrams.
    pub(super) fn is_of(&self, cluster: Option<&Arc<UpstreamCluster>>) -> bool {
        let is_current = cluster.is_some_and(|cluster| cluster.id == self.upstream.cluster.id);
        is_current && !self.upstream.state.is_ejected()
    }

    /// Sends a client's datagram on. What the system does not take at once is lost, as on a network.
    pub(super) fn send(&self, datagram: &[u8]) {
        self.last.set(clock::now());
        match SockRef::from(&self.socket).send(datagram) {
            Ok(sent) => {
                self.service.stats.upstream_tx_datagrams.inc();
                self.upstream.cluster.stats.cx_tx_bytes.add(sent as u64);
                add(&self.moved.received_bytes, sent);
            }
            Err(_) => self.service.stats.upstream_tx_errors.inc(),
        }
    }

    /// Ends the session.
    pub(super) fn end(&self) {
        self.ending.notify_one();
    }

    /// Carries datagrams back to the client until nothing has moved for too long.
    pub(super) async fn carry(self: Rc<Self>, door: DoorOfSession) {
        let bytes_max = usize::from(self.service.config.reply_bytes_max.get());
        let idle = self.service.config.idle_timeout;
        // One byte more shows what is too large.
        let mut buffer = vec![0; bytes_max.saturating_add(1)].into_boxed_slice();
        loop {
            let due = self.last.get() + idle;
            let received = tokio::select! {
                biased;
                () = self.ending.notified() => break,
                received = self.socket.recv(&mut buffer) => received,
                () = tokio::time::sleep_until(due.into()) => {
                    if clock::now() >= self.last.get() + idle {
                        self.service.stats.idle_timeout.inc();
                        break;
                    }
                    continue;
                }
            };
            let Some(door) = door.upgrade() else { break };
            let datagram =
                received.as_ref().map(|length| buffer.get(..*length).unwrap_or_default());
            self.pass_back(&door, datagram);
        }
        if let Some(door) = door.upgrade() {
            door.forget(&self);
        }
    }

    fn pass_back(&self, door: &Door, received: Result<&[u8], &io::Error>) {
        let Ok(datagram) = received else {
            // Such as a port that nobody listens at: the session stays, as the client's does.
            self.service.stats.upstream_rx_errors.inc();
            return;
        };
        if datagram.len() > usize::from(self.service.config.reply_bytes_max.get()) {
            self.service.stats.upstream_rx_dropped.inc();
            return;
        }
        self.last.set(clock::now());
        self.service.stats.upstream_rx_datagrams.inc();
        self.upstream.cluster.stats.cx_rx_bytes.add(datagram.len() as u64);
        match door.answer(self.key.0, datagram) {
            Ok(sent) => {
                self.service.stats.tx_datagrams.inc();
                self.service.stats.tx_bytes.add(sent as u64);
                add(&self.moved.sent_bytes, sent);
            }
            Err(_) => self.service.stats.tx_errors.inc(),
        }
    }

    fn write(&self) {
        if self.service.access_log.is_empty() {
            return;
        }
        let mut record = AccessRecord::new(self.started_wall);
        record.duration = Some(clock::now().saturating_duration_since(self.started));
        record.bytes_received = self.moved.received_bytes.get();
        record.bytes_sent = self.moved.sent_bytes.get();
        record.downstream.local_address = Some(self.local);
        record.downstream.remote_address = Some(self.key.0);
        record.downstream.direct_remote_address = Some(self.key.0);
        record.upstream.host = Some(self.upstream.address);
        record.upstream.local_address = self.socket.local_addr().ok();
        self.service.log(&self.worker, &record);
    }
}

/// However a session ends, its line is written.
impl Drop for Session {
    fn drop(&mut self) {
        self.service.stats.sessions_active.dec();
        self.write();
    }
}

fn add(sum: &Cell<u64>, bytes: usize) {
    sum.set(sum.get().saturating_add(bytes as u64));
}
