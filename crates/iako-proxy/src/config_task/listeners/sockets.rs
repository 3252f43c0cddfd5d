//! The sockets of listeners: bound at every address that is wanted, closed where it no longer is.

use std::{
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    time::Duration,
};

use iako_proxy_config::{Listener, ListenerKind, PipeAddress};
use iako_rt::clock;

use crate::{
    config_task::{ConfigTask, Entrance},
    listener::{
        ListenerHandle, ListeningSocket, OpenDoor,
        socket::{self, BindError},
    },
    restart::spares::{Spare, Spares},
    worker::Command,
};

/// Time between attempts to bind an address that is taken.
const BIND_AGAIN: Duration = Duration::from_secs(1);

/// The sockets of one address.
#[derive(Debug)]
pub(super) struct Bound {
    /// As configured; its port may be 0.
    configured: Place,
    /// As bound.
    pub(super) actual: BoundAddress,
    pub(super) handle: Arc<ListenerHandle>,
    /// Copies of them for a next process; gone before they are closed.
    pub(super) spare: Option<Spare>,
}

/// Where a listener is told to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Socket(SocketAddr),
    Pipe(PipeAddress),
}

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BoundAddress {
    /// At an address; its port is the one that the system chose where 0 was asked for.
    Socket(SocketAddr),
    /// In the file system.
    Pipe(String),
}

impl BoundAddress {
    /// The address; none in the file system.
    pub(crate) const fn socket(&self) -> Option<SocketAddr> {
        match self {
            Self::Socket(address) => Some(*address),
            Self::Pipe(_) => None,
        }
    }
}

impl std::fmt::Display for BoundAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Pipe(path) => f.write_str(path),
        }
    }
}

impl ConfigTask {
    /// Opens sockets for addresses that are new, and closes those of addresses that are gone.
    pub(in crate::config_task) async fn bind_listeners(&mut self) {
        if !self.accepting {
            return;
        }
        let mut opened = false;
        let names: Vec<String> = self.listeners.keys().cloned().collect();
        for name in names {
            for (listener, place) in self.places_to_open(&name) {
                opened |= self.open(&name, &listener, place).await;
            }
        }
        if opened {
            self.publish_inventory();
        }
    }

    /// The places of a listener that have no sockets yet; those that it no longer has are closed.
    fn places_to_open(&mut self, name: &str) -> Vec<(Arc<Listener>, Place)> {
        let now = clock::now();
        let Some(entry) = self.listeners.get_mut(name) else { return Vec::new() };
        if entry.stopped || entry.unbound.as_ref().is_some_and(|(_, at)| *at > now) {
            return Vec::new();
        }
        let Some((told, _)) = &entry.active else { return Vec::new() };
        let listener = Arc::clone(&told.value);
        let mut wanted = places(&listener);
        entry.sockets.retain_mut(|bound| {
            let stays = wanted.contains(&bound.configured);
            if !stays {
                bound.spare = None;
                bound.handle.stop_accepting();
            }
            stays
        });
        entry.unbound = None;
        wanted.retain(|place| entry.sockets.iter().all(|bound| bound.configured != *place));
        wanted.into_iter().map(|place| (Arc::clone(&listener), place)).collect()
    }

    /// Opens the sockets of one place, those of the process before where it has any; whether that
    /// could be.
    async fn open(&mut self, name: &str, listener: &Listener, place: Place) -> bool {
        let asked_by = asked_by(listener, &place);
        let lent = match &self.entrance {
            Entrance::Behind(behind) => behind.predecessor.borrow(&asked_by).await,
            Entrance::Open => Vec::new(),
        };
        let Some(entry) = self.listeners.get_mut(name) else { return false };
        let balance = listener.socket.balance;
        let handle = Arc::new(ListenerHandle::new(name.into(), &entry.connections, balance));
        let made = if lent.is_empty() {
            make(listener, &place, self.workers.len())
        } else {
            take(listener, &place, lent, self.workers.len())
        };
        match made {
            Ok((actual, sockets)) => {
                tracing::info!(listener = %name, address = %actual, "listening");
                let spare = keep(&self.shared.spares, &asked_by, listener, &sockets);
                for (index, socket) in sockets.into_iter().enumerate() {
                    // A worker may have several, where the process before had more workers.
                    let worker = index.checked_rem(self.workers.len()).unwrap_or(0);
                    let command = socket.command(&handle, self.shared.doors.open());
                    self.unopened.push((worker, command));
                }
                entry.sockets.push(Bound { configured: place, actual, handle, spare });
                true
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(listener = %name, %error, cause, "listener cannot serve");
                self.shared.server.listener_create_failure.inc();
                entry.unbound = Some((error, clock::now() + BIND_AGAIN));
                false
            }
        }
    }
}

/// Every place at which a listener has sockets of its own.
fn places(listener: &Listener) -> Vec<Place> {
    if !listener.bind {
        return Vec::new();
    }
    let sockets = listener.addresses.iter().copied().map(Place::Socket);
    sockets.chain(listener.pipes.iter().cloned().map(Place::Pipe)).collect()
}

/// What the sockets of a place are asked for by. A port that the system chooses belongs to one listener.
fn asked_by(listener: &Listener, place: &Place) -> String {
    match (place, &listener.kind) {
        (Place::Socket(address), ListenerKind::Udp(_)) => match address.port() {
            0 => format!("udp {address} of {}", listener.name),
            _ => format!("udp {address}"),
        },
        (Place::Socket(address), ListenerKind::Stream | ListenerKind::Internal) => {
            match address.port() {
                0 => format!("tcp {address} of {}", listener.name),
                _ => format!("tcp {address}"),
            }
        }
        (Place::Pipe(pipe), _) => format!("pipe {}", pipe.path.display()),
    }
}

/// A socket for a worker.
#[derive(Debug)]
enum NewSocket {
    Listening(ListeningSocket),
    Datagrams(std::net::UdpSocket),
}

impl NewSocket {
    fn command(self, listener: &Arc<ListenerHandle>, open: OpenDoor) -> Command {
        let listener = Arc::clone(listener);
        match self {
            Self::Listening(socket) => Command::Listen { listener, socket: (socket, open) },
            Self::Datagrams(socket) => Command::Datagrams { listener, socket: (socket, open) },
        }
    }
}

impl AsFd for NewSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listening(ListeningSocket::Tcp(socket)) => socket.as_fd(),
            Self::Listening(ListeningSocket::Pipe(socket)) => socket.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}

/// Keeps what a next process needs of these sockets. Those that are one socket for all workers are kept
/// once.
fn keep(spares: &Spares, name: &str, listener: &Listener, sockets: &[NewSocket]) -> Option<Spare> {
    let is_one = match sockets.first()? {
        NewSocket::Listening(ListeningSocket::Tcp(_)) => !listener.socket.reuse_port,
        NewSocket::Listening(ListeningSocket::Pipe(_)) => true,
        NewSocket::Datagrams(_) => false,
    };
    let count = if is_one { 1 } else { sockets.len() };
    spares.keep(name, sockets.iter().take(count))
}

/// New sockets, one for each worker.
fn make(
    listener: &Listener,
    place: &Place,
    workers: usize,
) -> Result<(BoundAddress, Vec<NewSocket>), BindError> {
    Ok(match (place, &listener.kind) {
        (Place::Socket(address), ListenerKind::Udp(_)) => {
            let sockets = socket::bind_datagrams(listener, *address, workers)?;
            let first = sockets.first().and_then(|socket| socket.local_addr().ok());
            let sockets = sockets.into_iter().map(NewSocket::Datagrams).collect();
            (BoundAddress::Socket(first.unwrap_or(*address)), sockets)
        }
        (Place::Socket(address), ListenerKind::Stream | ListenerKind::Internal) => {
            let sockets = socket::bind(listener, *address, workers)?;
            let first = sockets.first().and_then(|socket| socket.local_addr().ok());
            let sockets = sockets.into_iter().map(ListeningSocket::Tcp);
            let sockets = sockets.map(NewSocket::Listening).collect();
            (BoundAddress::Socket(first.unwrap_or(*address)), sockets)
        }
        (Place::Pipe(pipe), _) => {
            let sockets = socket::bind_pipe(listener, pipe, workers)?;
            let sockets = sockets.into_iter().map(ListeningSocket::Pipe);
            let sockets = sockets.map(NewSocket::Listening).collect();
            (BoundAddress::Pipe(pipe.path.display().to_string()), sockets)
        }
    })
}

/// The sockets of the process before, at least one for each worker.
fn take(
    listener: &Listener,
    place: &Place,
    lent: Vec<OwnedFd>,
    workers: usize,
) -> Result<(BoundAddress, Vec<NewSocket>), BindError> {
    let failed = |source| match place {
        Place::Socket(address) => BindError::Address { address: *address, source },
        Place::Pipe(pipe) => BindError::Pipe { path: pipe.path.clone(), source },
    };
    let lent = socket::one_for_each(lent, workers).map_err(failed)?;
    let is_udp = matches!(listener.kind, ListenerKind::Udp(_));
    let sockets: Vec<NewSocket> = lent
        .into_iter()
        .map(|socket| match place {
            Place::Socket(_) if is_udp => NewSocket::Datagrams(socket.into()),
            Place::Socket(_) => NewSocket::Listening(ListeningSocket::Tcp(socket.into())),
            Place::Pipe(_) => NewSocket::Listening(ListeningSocket::Pipe(socket.into())),
        })
        .collect();
    let actual = match (place, sockets.first()) {
        (Place::Pipe(pipe), _) => BoundAddress::Pipe(pipe.path.display().to_string()),
        (Place::Socket(_), Some(NewSocket::Listening(ListeningSocket::Tcp(socket)))) => {
            socket::listen_anew(socket, listener).map_err(failed)?;
            BoundAddress::Socket(socket.local_addr().map_err(failed)?)
        }
        (Place::Socket(_), Some(NewSocket::Datagrams(socket))) => {
            BoundAddress::Socket(socket.local_addr().map_err(failed)?)
        }
        (Place::Socket(address), Some(NewSocket::Listening(ListeningSocket::Pipe(_))) | None) => {
            BoundAddress::Socket(*address)
        }
    };
    Ok((actual, sockets))
}
