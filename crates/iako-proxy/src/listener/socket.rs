//! Listening sockets, one a worker for each address.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use iako_proxy_config::Listener;
use socket2::{Domain, Protocol, Socket, Type};

/// Why a listener has no sockets.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Binds one socket a worker to `address`. A port of 0 is chosen by the system, the same for all.
///
/// # Errors
/// When the address is taken, by another process of ours too, or is not ours.
pub(crate) fn bind(
    listener: &Listener,
    address: SocketAddr,
    workers: usize,
) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError { address, source };
    // Sockets that share a port share it with every process of this user. A first one that does
    // not share finds out whether the port is free.
    if address.port() != 0 {
        drop(open(listener, address, Sharing::Alone).map_err(failed)?);
    }
    let first = open(listener, address, Sharing::WithWorkers).map_err(failed)?;
    let address = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(open(listener, address, Sharing::WithWorkers).map_err(failed)?);
    }
    Ok(sockets)
}

/// Binds one socket for datagrams a worker to `address`. The system keeps each client with one of them.
///
/// # Errors
/// When the address is taken, by another process of ours too, or is not ours.
pub(crate) fn bind_datagrams(
    listener: &Listener,
    address: SocketAddr,
    workers: usize,
) -> Result<Vec<UdpSocket>, BindError> {
    let failed = |source| BindError { address, source };
    if address.port() != 0 {
        drop(open_datagrams(listener, address, Sharing::Alone).map_err(failed)?);
    }
    let first = open_datagrams(listener, address, Sharing::WithWorkers).map_err(failed)?;
    let address = first.local_addr().map_err(failed)?;
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(open_datagrams(listener, address, Sharing::WithWorkers).map_err(failed)?);
    }
    Ok(sockets)
}

fn open_datagrams(
    listener: &Listener,
    address: SocketAddr,
    sharing: Sharing,
) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if sharing == Sharing::WithWorkers {
        socket.set_reuse_port(true)?;
    }
    if listener.transparent {
        socket.set_ip_transparent_v4(true)?;
    }
    if listener.freebind {
        socket.set_freebind_v4(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    WithWorkers,
}

fn open(listener: &Listener, address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if sharing == Sharing::WithWorkers {
        socket.set_reuse_port(true)?;
    }
    if listener.transparent {
        socket.set_ip_transparent_v4(true)?;
    }
    if listener.freebind {
        socket.set_freebind_v4(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(listener.backlog.get()).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_share_a_port_that_nobody_else_can_take() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listener = Listener::new("test", any);
        let sockets = bind(&listener, any, 2).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert_eq!(sockets[1].local_addr().unwrap(), address);
        assert!(bind(&listener, address, 1).is_err());
        drop(sockets);
        assert!(bind(&listener, address, 1).is_ok());
    }
}
