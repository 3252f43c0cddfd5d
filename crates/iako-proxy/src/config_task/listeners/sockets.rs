//! The sockets of listeners: bound at every address that is wanted, closed where it no longer is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use iako_proxy_config::{Listener, ListenerKind, PipeAddress};
use iako_rt::clock;

use crate::{
    config_task::ConfigTask,
    listener::{
        ListenerHandle, ListeningSocket,
        socket::{self, BindError},
    },
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
        let now = clock::now();
        let workers = self.workers.len();
        let mut commands = Vec::new();
        for (name, entry) in &mut self.listeners {
            if entry.stopped || entry.unbound.as_ref().is_some_and(|(_, at)| *at > now) {
                continue;
            }
            let Some((told, _)) = &entry.active else { continue };
            let listener = Arc::clone(&told.value);
            let wanted = places(&listener);
            entry.sockets.retain(|bound| {
                let stays = wanted.contains(&bound.configured);
                if !stays {
                    bound.handle.stop_accepting();
                }
                stays
            });
            entry.unbound = None;
            for place in wanted {
                if entry.sockets.iter().any(|bound| bound.configured == place) {
                    continue;
                }
                let handle = ListenerHandle::new(
                    name.as_str().into(),
                    &entry.connections,
                    listener.socket.balance,
                );
                match bind(&listener, place, workers, Arc::new(handle)) {
                    Ok((bound, sockets)) => {
                        tracing::info!(listener = %name, address = %bound.actual, "listening");
                        commands.extend(sockets.into_iter().enumerate());
                        entry.sockets.push(bound);
                    }
                    Err(error) => {
                        let cause = std::error::Error::source(&error).map(ToString::to_string);
                        tracing::error!(listener = %name, %error, cause, "listener cannot serve");
                        entry.unbound = Some((error, now + BIND_AGAIN));
                    }
                }
            }
        }
        if commands.is_empty() {
            return;
        }
        for (worker, command) in commands {
            if let Some(worker) = self.workers.get(worker) {
                worker.send(command).await;
            }
        }
        self.publish_inventory();
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

fn bind(
    listener: &Listener,
    place: Place,
    workers: usize,
    handle: Arc<ListenerHandle>,
) -> Result<(Bound, Vec<Command>), BindError> {
    let of = || Arc::clone(&handle);
    let listen = |socket| Command::Listen { listener: of(), socket };
    let (actual, commands) = match (&place, &listener.kind) {
        (Place::Socket(address), ListenerKind::Udp(_)) => {
            let sockets = socket::bind_datagrams(listener, *address, workers)?;
            let first = sockets.first().and_then(|socket| socket.local_addr().ok());
            let each = |socket| Command::Datagrams { listener: of(), socket };
            let commands = sockets.into_iter().map(each).collect();
            (BoundAddress::Socket(first.unwrap_or(*address)), commands)
        }
        (Place::Socket(address), ListenerKind::Stream | ListenerKind::Internal) => {
            let sockets = socket::bind(listener, *address, workers)?;
            let first = sockets.first().and_then(|socket| socket.local_addr().ok());
            let commands = sockets.into_iter().map(ListeningSocket::Tcp).map(listen).collect();
            (BoundAddress::Socket(first.unwrap_or(*address)), commands)
        }
        (Place::Pipe(pipe), _) => {
            let sockets = socket::bind_pipe(listener, pipe, workers)?;
            let commands = sockets.into_iter().map(ListeningSocket::Pipe).map(listen).collect();
            (BoundAddress::Pipe(pipe.path.display().to_string()), commands)
        }
    };
    Ok((Bound { configured: place, actual, handle }, commands))
}
