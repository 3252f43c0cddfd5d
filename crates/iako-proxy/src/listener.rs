//! Taking connections: one socket a worker and address, so that workers never wait for each other.

pub(crate) mod crew;
pub(crate) mod socket;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use iako_proxy_config::ConnectionBalance;
use iako_rt::{Rng, panics};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{mpsc::error::TrySendError, watch};

use crate::{
    connection::{self, Arrival},
    snapshot::{ListenerSettings, ProxySnapshot},
    worker::{self, Command, Worker},
};
use crew::Seat;

/// How long accepting rests after an error that lasts, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are still taken from the queue of a socket that closes.
pub(crate) const LAST_ACCEPTS_MAX: usize = 4096;

/// Whom a connection within the proxy comes from when no client is known.
const NEARBY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A bound listener over its life: its settings change in the snapshot, its sockets stay.
#[derive(Debug)]
pub(crate) struct ListenerHandle {
    /// Its unique name, under which the snapshot holds its settings.
    pub(crate) name: Arc<str>,
    /// How its connections are spread over workers.
    balance: ConnectionBalance,
    /// Open connections over all workers and addresses.
    connections: Arc<AtomicU32>,
    accepting: watch::Sender<bool>,
    /// Whether another process takes clients in at its sockets.
    handed_over: AtomicBool,
    /// Its settings when it was removed, for clients that wait in the queues of its sockets.
    last: OnceLock<Arc<ListenerSettings>>,
}

/// How many sockets are open at which clients are let in, over all workers.
#[derive(Debug, Clone, Default)]
pub(crate) struct OpenDoors(Arc<AtomicUsize>);

/// One of them; counted until it is dropped.
#[derive(Debug)]
pub(crate) struct OpenDoor(OpenDoors);

impl OpenDoors {
    /// One more.
    pub(crate) fn open(&self) -> OpenDoor {
        self.0.fetch_add(1, Ordering::Relaxed);
        OpenDoor(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A socket at which connections are taken.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    /// At an address.
    Tcp(std::net::TcpListener),
    /// In the file system.
    Pipe(std::os::unix::net::UnixListener),
}

impl ListeningSocket {
    /// A client that waits already.
    fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, remote) = socket.accept()?;
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, remote))
            }
            Self::Pipe(socket) => Ok((without_addresses(socket.accept()?.0)?, NEARBY)),
        }
    }
}

/// The same, on its worker.
#[derive(Debug)]
enum Door {
    Tcp(TcpListener),
    Pipe(UnixListener),
}

impl Door {
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match self {
            Self::Tcp(socket) => socket.accept().await,
            Self::Pipe(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((without_addresses(stream.into_std()?)?, NEARBY))
            }
        }
    }

    /// Leaves the event queue of the worker.
    fn into_queue(self) -> io::Result<ListeningSocket> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(ListeningSocket::Tcp),
            Self::Pipe(socket) => socket.into_std().map(ListeningSocket::Pipe),
        }
    }
}

impl ListenerHandle {
    pub(crate) fn new(
        name: Arc<str>,
        connections: &Arc<AtomicU32>,
        balance: ConnectionBalance,
    ) -> Self {
        let connections = Arc::clone(connections);
        Self {
            name,
            balance,
            connections,
            accepting: watch::Sender::new(true),
            handed_over: AtomicBool::new(false),
            last: OnceLock::new(),
        }
    }

    /// Tells when it stops accepting.
    pub(crate) fn subscribe(&self) -> watch::Receiver<bool> {
        self.accepting.subscribe()
    }

    /// Closes the sockets of every worker; connections live on.
    pub(crate) fn stop_accepting(&self) {
        self.accepting.send_replace(false);
    }

    /// Leaves the sockets to another process, which takes clients in at the same ones.
    pub(crate) fn hand_over(&self) {
        self.handed_over.store(true, Ordering::Relaxed);
        self.stop_accepting();
    }

    /// Whether another process takes clients in at its sockets.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Relaxed)
    }

    /// Closes the sockets of a listener that is removed; clients that they let in are still served, by
    /// the settings that it had.
    pub(crate) fn retire(&self, settings: Option<&Arc<ListenerSettings>>) {
        if let Some(settings) = settings {
            // A listener is removed once.
            drop(self.last.set(Arc::clone(settings)));
        }
        self.stop_accepting();
    }

    /// Whether its clients are let in whatever the proxy runs short of.
    fn ignores_overload(&self, worker: &Worker) -> bool {
        let snapshot = worker.snapshot();
        self.settings(&snapshot).is_some_and(|settings| settings.config.ignores_overload)
    }

    /// Its settings, the last ones when it is removed.
    fn settings<'s>(&'s self, snapshot: &'s ProxySnapshot) -> Option<&'s Arc<ListenerSettings>> {
        self.last.get().or_else(|| snapshot.listener(&self.name))
    }
}

/// One connection's place in the count of its listener; given back when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    connections: Arc<AtomicU32>,
}

impl ConnectionSlot {
    /// Takes a place, unless `limit` connections are open already.
    pub(crate) fn take(connections: &Arc<AtomicU32>, limit: Option<u32>) -> Option<Self> {
        let open = connections.fetch_add(1, Ordering::Relaxed);
        let slot = Self { connections: Arc::clone(connections) };
        // Dropping the slot gives the place back.
        limit.is_none_or(|limit| open < limit).then_some(slot)
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Accepts connections of one listener on one worker until the listener stops accepting.
pub(crate) async fn accept_loop(
    worker: Rc<Worker>,
    listener: Arc<ListenerHandle>,
    (socket, _open): (ListeningSocket, OpenDoor),
) {
    let opened = match socket {
        ListeningSocket::Tcp(socket) => TcpListener::from_std(socket).map(Door::Tcp),
        ListeningSocket::Pipe(socket) => UnixListener::from_std(socket).map(Door::Pipe),
    };
    let socket = match opened {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(listener = %listener.name, %error, "socket not usable");
            return;
        }
    };
    let mut accepting = listener.accepting.subscribe();
    let mut rests = worker.shared.overload.subscribe();
    loop {
        let let_in = async {
            // The sender lives as long as the worker.
            drop(rests.wait_for(|rests| !rests || listener.ignores_overload(&worker)).await);
            socket.accept().await
        };
        let accepted = tokio::select! {
            biased;
            _ = accepting.wait_for(|accepting| !accepting) => break,
            accepted = let_in => accepted,
        };
        match accepted {
            Ok((stream, remote)) => take_in(&worker, &listener, stream, remote),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(listener = %listener.name, %error, "accepting pauses");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // The system has shaken hands with clients that wait in the queue of this socket; closing it
    // would reset them.
    match socket.into_queue() {
        Ok(queue) => empty(&worker, &listener, &queue),
        Err(error) => tracing::warn!(listener = %listener.name, %error, "clients may be reset"),
    }
}

/// Takes who waits at a socket that is about to close. It asks the system itself: the event queue of the
/// worker may not have heard of the last ones, and lets a task have only so many at once.
fn empty(worker: &Rc<Worker>, listener: &Arc<ListenerHandle>, queue: &ListeningSocket) {
    for _ in 0..LAST_ACCEPTS_MAX {
        match queue.accept() {
            Ok((stream, remote)) => take_in(worker, listener, stream, remote),
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => return,
        }
    }
}

/// Lets one client in. A panic concerns nobody else: the socket stays open for others.
fn take_in(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerHandle>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    if panics::contained(|| seat(worker, listener, stream, remote)).is_none() {
        tracing::error!(listener = %listener.name, %remote, "a connection is lost by a panic");
    }
}

/// Finds the worker that carries a new connection.
fn seat(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerHandle>,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let crew = &worker.shared.crew;
    let Some((seat, door)) = crew.better_than(worker.index, listener.balance) else {
        return start_connection(worker, listener, stream, (remote, crew.seat(worker.index)));
    };
    // A socket leaves the event queue of this worker before it joins that of another.
    let Ok(socket) = stream.into_std() else { return };
    let handed = Command::Carry { listener: Arc::clone(listener), socket, remote, seat };
    // A worker that takes nothing because it ends, ends with the proxy.
    if let Err(TrySendError::Full(Command::Carry { socket, .. })) = door.try_send(handed) {
        take_over(worker, listener, socket, (remote, crew.seat(worker.index)));
    }
}

/// Carries a connection that comes from another worker.
pub(crate) fn take_over(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerHandle>,
    socket: std::net::TcpStream,
    of: (SocketAddr, Seat),
) {
    match TcpStream::from_std(socket) {
        Ok(stream) => start_connection(worker, listener, stream, of),
        Err(error) => tracing::warn!(listener = %listener.name, %error, "a connection is lost"),
    }
}

/// Errors that concern the connection that was to be accepted, not the socket.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// Connects to a listener within the proxy; its connection is carried by the worker of this thread. What
/// is on the way is bounded by the buffers of a pair of sockets.
///
/// # Errors
/// When this is no worker, there is no such listener, or the system gives no sockets.
pub(crate) fn connect_within(name: &str, client: Option<SocketAddr>) -> io::Result<TcpStream> {
    let nobody = || io::Error::from(io::ErrorKind::NotConnected);
    let worker = &worker::current().ok_or_else(nobody)?;
    let snapshot = worker.snapshot();
    let handle = snapshot.listener(name).and_then(|settings| settings.internal.as_ref());
    let handle = handle.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
    let (near, far) = UnixStream::pair()?;
    let near = without_addresses(near)?;
    let seat = worker.shared.crew.seat(worker.index);
    let remote = client.unwrap_or(NEARBY);
    start_connection(worker, handle, without_addresses(far)?, (remote, seat));
    Ok(near)
}

/// A socket of this machine as one of TCP. Reading and writing do not differ; what only TCP has, such as
/// addresses and delays, the system refuses, and nobody relies on it.
fn without_addresses(socket: UnixStream) -> io::Result<TcpStream> {
    socket.set_nonblocking(true)?;
    TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(socket)))
}

fn start_connection(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerHandle>,
    stream: TcpStream,
    (remote, seat): (SocketAddr, Seat),
) {
    let snapshot = worker.snapshot();
    let Some(settings) = listener.settings(&snapshot) else { return };
    let Some(slot) = ConnectionSlot::take(&listener.connections, settings.connections_max) else {
        settings.stats.overflow.inc();
        return;
    };
    let shared = &worker.shared;
    let draw = || worker.with_rng(Rng::unit);
    if !settings.config.ignores_overload && shared.overload.rejects_connection(draw) {
        settings.stats.overload_reject.inc();
        return;
    }
    let global = snapshot.connections_max.filter(|_| !settings.config.ignores_global_limit);
    let global = match global {
        None => None,
        limit => match ConnectionSlot::take(&shared.limited_connections, limit) {
            None => {
                settings.stats.global_overflow.inc();
                return;
            }
            slot => slot,
        },
    };
    let settings = Arc::clone(settings);
    let arrival = Arrival { slots: (slot, global), seat, settings, socket: stream, remote };
    let task = connection::serve(Rc::clone(worker), snapshot, arrival);
    worker.scope.spawn("connection", task);
}
