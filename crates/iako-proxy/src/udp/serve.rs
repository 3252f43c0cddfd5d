//! One socket of one worker: its datagrams, and the sessions that they belong to.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use iako_proxy_config::{RoutePriority, UdpHash};
use iako_rt::{Rng, clock, panics};
use iako_telemetry::{AccessRecord, ResponseFlag};
use iako_traffic::{PickRequest, hash_of_ip, hash_of_text};
use socket2::SockRef;
use tokio::{net::UdpSocket, sync::Notify};

use super::{
    UdpService,
    session::{Session, Upstream},
};
use crate::{
    access_log::FilterFacts,
    listener::{ListenerHandle, OpenDoor},
    snapshot::UpstreamCluster,
    worker::Worker,
};

/// Bytes of the largest datagram that there is.
const DATAGRAM_BYTES_MAX: usize = 64 * 1024;
/// Datagrams in one go before other tasks get their turn.
const TURN_MAX: u32 = 64;
/// Sessions of one socket. The circuit breaker of the cluster (`max_connections`) is the limit that
/// operators set.
const SESSIONS_MAX: usize = 65_536;
/// How long reading rests after an error that lasts.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// What tells sessions apart: the client, and the instance where every datagram chooses one.
type Key = (SocketAddr, Option<SocketAddr>);

/// A socket with its sessions.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) worker: Rc<Worker>,
    pub(super) socket: UdpSocket,
    local: SocketAddr,
    sessions: RefCell<HashMap<Key, Rc<Session>>>,
    /// Told when a session ends.
    ended: Notify,
}

impl Door {
    /// Forgets a session that has ended.
    pub(super) fn forget(&self, session: &Session) {
        self.sessions.borrow_mut().remove(&session.key);
        self.ended.notify_one();
    }
}

/// Carries the datagrams of one listener on one worker until the listener stops accepting. The sessions
/// end with it.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    listener: Arc<ListenerHandle>,
    (socket, _open): (std::net::UdpSocket, OpenDoor),
) {
    let (socket, local) = match open(socket) {
        Ok(opened) => opened,
        Err(error) => {
            tracing::error!(listener = %listener.name, %error, "socket not usable");
            return;
        }
    };
    let door =
        Rc::new(Door { worker, socket, local, sessions: RefCell::default(), ended: Notify::new() });
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice();
    let mut accepting = listener.subscribe();
    let mut last = None;
    loop {
        let readable = tokio::select! {
            biased;
            _ = accepting.wait_for(|accepting| !accepting) => break,
            readable = door.socket.readable() => readable,
        };
        if let Err(error) = readable {
            tracing::warn!(listener = %listener.name, %error, "receiving pauses");
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        }
        // The settings of this turn.
        let snapshot = door.worker.snapshot();
        let Some(settings) = snapshot.listener(&listener.name) else { continue };
        let Some(service) = settings.datagrams.clone() else { continue };
        let cluster = snapshot.cluster(&service.config.cluster).map(Arc::clone);
        for _ in 0..TURN_MAX {
            match door.socket.try_recv_from(&mut buffer) {
                Ok((length, client)) => {
                    let datagram = buffer.get(..length).unwrap_or_default();
                    // A panic concerns nobody else: the socket stays open for others.
                    let take = || door.take(&service, cluster.as_ref(), client, datagram);
                    if panics::contained(take).is_none() {
                        service.stats.rx_dropped.inc();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => service.stats.rx_errors.inc(),
            }
        }
        last = Some(service);
        tokio::task::yield_now().await;
    }
    if listener.is_handed_over() {
        // Datagrams go to another process now; answers that are still to come go through this one.
        while !door.sessions.borrow().is_empty() {
            door.ended.notified().await;
        }
    }
    let sessions = std::mem::take(&mut *door.sessions.borrow_mut());
    drop(sessions);
    if let Some(service) = last {
        write_end(&door, &service);
    }
}

fn open(socket: std::net::UdpSocket) -> io::Result<(UdpSocket, SocketAddr)> {
    let local = socket.local_addr()?;
    Ok((UdpSocket::from_std(socket)?, local))
}

/// The line of the whole proxy.
fn write_end(door: &Door, service: &UdpService) {
    let mut record = AccessRecord::new(clock::wall());
    record.downstream.local_address = Some(door.local);
    let draw = door.worker.with_rng(Rng::next_u64);
    for log in &service.proxy_access_log {
        log.log(&record, FilterFacts { draw, ..FilterFacts::default() });
    }
}

impl Door {
    /// Sends a client's datagram on.
    fn take(
        self: &Rc<Self>,
        service: &Arc<UdpService>,
        cluster: Option<&Arc<UpstreamCluster>>,
        client: SocketAddr,
        datagram: &[u8],
    ) {
        if datagram.len() > usize::from(service.config.datagram_bytes_max.get()) {
            service.stats.rx_dropped.inc();
            return;
        }
        let session = if service.config.per_datagram {
            self.session_of_datagram(service, cluster, client)
        } else {
            self.session(service, cluster, client)
        };
        if let Some(session) = session {
            service.stats.rx_datagrams.inc();
            service.stats.rx_bytes.add(datagram.len() as u64);
            session.send(datagram);
        }
    }

    /// The session of a client; a new one where there is none, or where its instance serves no more.
    fn session(
        self: &Rc<Self>,
        service: &Arc<UdpService>,
        cluster: Option<&Arc<UpstreamCluster>>,
        client: SocketAddr,
    ) -> Option<Rc<Session>> {
        let key = (client, None);
        let known = self.sessions.borrow().get(&key).map(Rc::clone);
        if let Some(known) = known {
            if known.is_of(cluster) {
                return Some(known);
            }
            self.end(&known);
        }
        let upstream = self.choose(service, cluster, client)?;
        self.begin(service, key, upstream)
    }

    /// The session of a client with the instance that this datagram goes to.
    fn session_of_datagram(
        self: &Rc<Self>,
        service: &Arc<UdpService>,
        cluster: Option<&Arc<UpstreamCluster>>,
        client: SocketAddr,
    ) -> Option<Rc<Session>> {
        let upstream = self.choose(service, cluster, client)?;
        let key = (client, Some(upstream.address));
        let known = self.sessions.borrow().get(&key).map(Rc::clone);
        match known {
            Some(known) => Some(known),
            None => self.begin(service, key, upstream),
        }
    }

    fn end(&self, session: &Session) {
        self.forget(session);
        session.end();
    }

    fn choose(
        &self,
        service: &UdpService,
        cluster: Option<&Arc<UpstreamCluster>>,
        client: SocketAddr,
    ) -> Option<Upstream> {
        let Some(cluster) = cluster else {
            service.stats.no_route.inc();
            return None;
        };
        let hash = service.config.hash.as_ref().map(|hash| match hash {
            UdpHash::SourceIp => hash_of_ip(client.ip()),
            UdpHash::Key(key) => hash_of_text(key),
        });
        let balancer = cluster.balancer();
        let request = PickRequest { hash, ..PickRequest::default() };
        let pick = self
            .worker
            .with_rng(|rng| balancer.pick(&request, clock::now(), &mut || rng.next_u64()));
        let upstream = pick.and_then(|pick| Upstream::new(cluster, pick.endpoint));
        if upstream.is_none() {
            cluster.stats.cx_none_healthy.inc();
        }
        upstream
    }

    fn begin(
        self: &Rc<Self>,
        service: &Arc<UdpService>,
        key: Key,
        upstream: Upstream,
    ) -> Option<Rc<Session>> {
        let cluster = &upstream.cluster;
        let breakers = cluster.state.breakers(RoutePriority::Default);
        let room = breakers.connection(&cluster.config.circuit_breakers.default).ok();
        let room = room.filter(|_| self.sessions.borrow().len() < SESSIONS_MAX);
        let Some(room) = room else {
            cluster.stats.cx_overflow.inc();
            self.refuse(service, key.0);
            return None;
        };
        let socket = match upstream.open() {
            Ok(socket) => socket,
            Err(error) => {
                tracing::warn!(cluster = %cluster.name, %error, "no socket for a session");
                return None;
            }
        };
        let session = Rc::new(Session::new(
            (key, self.local),
            (&self.worker, service),
            upstream,
            (socket, room),
        ));
        self.sessions.borrow_mut().insert(key, Rc::clone(&session));
        let task = Rc::clone(&session).carry(Rc::downgrade(self));
        self.worker.scope.spawn("udp session", task);
        Some(session)
    }

    /// Counts and logs a session for which there is no room.
    fn refuse(&self, service: &UdpService, client: SocketAddr) {
        service.stats.sessions_total.inc();
        let mut record = AccessRecord::new(clock::wall());
        record.flags.insert(ResponseFlag::UpstreamOverflow);
        record.downstream.local_address = Some(self.local);
        record.downstream.remote_address = Some(client);
        record.downstream.direct_remote_address = Some(client);
        service.log(&self.worker, &record);
    }

    /// Sends a server's datagram to the client of its session.
    pub(super) fn answer(&self, client: SocketAddr, datagram: &[u8]) -> io::Result<usize> {
        SockRef::from(&self.socket).send_to(datagram, &client.into())
    }
}

/// The socket of a session, as long as it is open.
pub(super) type DoorOfSession = Weak<Door>;
