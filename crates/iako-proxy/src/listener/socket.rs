//! Listening sockets, one a worker for each address, or one for all.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::PathBuf,
};

use iako_proxy_config::{Listener, PipeAddress, SocketState};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::transport::socket::{set_keepalive, set_option};

/// Why a listener has no sockets.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A socket in the file system cannot be made.
    #[error("cannot listen on {}", path.display())]
    Pipe {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An option was refused.
    #[error("cannot set the socket option {option} for {address}")]
    Option {
        /// The address.
        address: SocketAddr,
        /// Level, name and description of the option.
        option: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Binds the sockets of `address`, one for each of so many workers. A port of 0 is chosen by the
/// system, the same for all.
///
/// # Errors
/// When the address is taken, by another process of ours too, or is not ours; or when an option is
/// refused.
pub(crate) fn bind(
    listener: &Listener,
    address: SocketAddr,
    workers: usize,
) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError::Address { address, source };
    if !listener.socket.reuse_port {
        let socket = listen(listener, address, open(listener, address, Sharing::Alone)?)?;
        let mut sockets = Vec::new();
        while sockets.len().saturating_add(1) < workers {
            sockets.push(socket.try_clone().map_err(failed)?);
        }
        sockets.push(socket);
        return Ok(sockets);
    }
    // Sockets that share a port share it with every process of this user. A first one that does
    // not share finds out whether the port is free. It never listens: a client that it let in would
    // be reset when it closes.
    if address.port() != 0 {
        drop(open(listener, address, Sharing::Alone)?);
    }
    let first = open(listener, address, Sharing::WithWorkers)?;
    let bound = first.local_addr().map_err(failed)?;
    let address = bound.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    while sockets.len() < workers {
        sockets.push(open(listener, address, Sharing::WithWorkers)?);
    }
    // None listens before all are bound, for the same reason.
    sockets.into_iter().map(|socket| listen(listener, address, socket)).collect()
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
    let failed = |source| BindError::Address { address, source };
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

/// Makes a socket in the file system and hands out one view of it for each worker. A file that an
/// earlier process left there, at which nobody listens, is replaced.
///
/// # Errors
/// When the path is taken, or may not be written.
pub(crate) fn bind_pipe(
    listener: &Listener,
    pipe: &PipeAddress,
    workers: usize,
) -> Result<Vec<UnixListener>, BindError> {
    let open = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let name = pipe.path.to_str().and_then(|path| path.strip_prefix('@'));
        match name {
            // A name without a file begins with a zero byte.
            Some(name) => socket.bind(&SockAddr::unix(format!("\0{name}"))?)?,
            None => {
                remove_abandoned(pipe)?;
                socket.bind(&SockAddr::unix(&pipe.path)?)?;
                set_mode(pipe)?;
            }
        }
        socket.listen(i32::try_from(listener.backlog.get()).unwrap_or(i32::MAX))?;
        let first = UnixListener::from(socket);
        let mut sockets = Vec::new();
        while sockets.len().saturating_add(1) < workers {
            sockets.push(first.try_clone()?);
        }
        sockets.push(first);
        Ok(sockets)
    };
    open().map_err(|source| BindError::Pipe { path: pipe.path.clone(), source })
}

/// Sockets that another process listens at, too: copies where there are fewer than workers, so that each
/// has one.
///
/// # Errors
/// When the system gives no copy.
pub(crate) fn one_for_each(mut lent: Vec<OwnedFd>, workers: usize) -> io::Result<Vec<OwnedFd>> {
    let count = lent.len();
    for index in count..workers {
        let of = index.checked_rem(count).and_then(|index| lent.get(index));
        let copy = of.map(OwnedFd::try_clone).transpose()?;
        lent.extend(copy);
    }
    Ok(lent)
}

/// Gives a socket that listens already the queue that its listener asks for now.
///
/// # Errors
/// When the system refuses.
pub(crate) fn listen_anew(socket: &TcpListener, listener: &Listener) -> io::Result<()> {
    let backlog = i32::try_from(listener.backlog.get()).unwrap_or(i32::MAX);
    socket2::SockRef::from(socket).listen(backlog)
}

fn remove_abandoned(pipe: &PipeAddress) -> io::Result<()> {
    use std::os::unix::{fs::FileTypeExt as _, net::UnixStream};
    let Ok(file) = std::fs::symlink_metadata(&pipe.path) else { return Ok(()) };
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    if file.file_type().is_socket() && UnixStream::connect(&pipe.path).is_err_and(refused) {
        return std::fs::remove_file(&pipe.path);
    }
    Ok(())
}

fn set_mode(pipe: &PipeAddress) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if pipe.mode == 0 {
        return Ok(());
    }
    std::fs::set_permissions(&pipe.path, std::fs::Permissions::from_mode(pipe.mode))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    WithWorkers,
}

/// A socket that is bound, and does not listen yet.
fn open(listener: &Listener, address: SocketAddr, sharing: Sharing) -> Result<Socket, BindError> {
    let failed = |source| BindError::Address { address, source };
    let socket = new_socket(listener, address, sharing).map_err(failed)?;
    set_options(&socket, listener, address, SocketState::Prebind)?;
    socket.bind(&address.into()).map_err(failed)?;
    set_options(&socket, listener, address, SocketState::Bound)?;
    Ok(socket)
}

/// Lets clients in: from now on they wait in the queue of the socket.
fn listen(
    listener: &Listener,
    address: SocketAddr,
    socket: Socket,
) -> Result<TcpListener, BindError> {
    let failed = |source| BindError::Address { address, source };
    let backlog = i32::try_from(listener.backlog.get()).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(failed)?;
    set_options(&socket, listener, address, SocketState::Listening)?;
    Ok(socket.into())
}

/// A socket with everything that is set before it is bound.
fn new_socket(listener: &Listener, address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let settings = &listener.socket;
    let protocol = if settings.multipath { Protocol::MPTCP } else { Protocol::TCP };
    let domain = Domain::for_address(address);
    let socket = match Socket::new(domain, Type::STREAM, Some(protocol)) {
        // A system without it still speaks plain TCP.
        Err(_) if settings.multipath => Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?,
        made => made?,
    };
    socket.set_reuse_address(true)?;
    if sharing == Sharing::WithWorkers {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if listener.transparent {
        if address.is_ipv4() {
            socket.set_ip_transparent_v4(true)?;
        } else {
            set_option(&socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT, &1_i32.to_ne_bytes())?;
        }
    }
    if listener.freebind {
        if address.is_ipv4() {
            socket.set_freebind_v4(true)?;
        } else {
            socket.set_freebind_v6(true)?;
        }
    }
    if let Some(keepalive) = &settings.keepalive {
        // Accepted connections inherit it.
        set_keepalive(&socket, keepalive)?;
    }
    if let Some(length) = settings.fast_open_queue {
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_FASTOPEN, &length.to_ne_bytes())?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn set_options(
    socket: &Socket,
    listener: &Listener,
    address: SocketAddr,
    state: SocketState,
) -> Result<(), BindError> {
    use iako_proxy_config::SocketOptionValue;
    for option in listener.socket.options.iter().filter(|option| option.state == state) {
        let set = match &option.value {
            SocketOptionValue::Number(number) => {
                set_option(socket, option.level, option.name, &number.to_ne_bytes())
            }
            SocketOptionValue::Bytes(bytes) => set_option(socket, option.level, option.name, bytes),
        };
        set.map_err(|source| {
            let option = format!("{}/{} {}", option.level, option.name, option.description);
            BindError::Option { address, option: option.trim_end().to_owned(), source }
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use iako_proxy_config::{SocketOption, SocketOptionValue, TcpKeepalive};

    use super::*;

    fn any() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn workers_share_a_port_that_nobody_else_can_take() {
        let any = any();
        for reuse_port in [true, false] {
            let mut listener = Listener::new("test", any);
            listener.socket.reuse_port = reuse_port;
            let sockets = bind(&listener, any, 2).unwrap();
            let address = sockets[0].local_addr().unwrap();
            assert_eq!(sockets[1].local_addr().unwrap(), address);
            assert!(bind(&listener, address, 1).is_err());
            drop(sockets);
            assert!(bind(&listener, address, 1).is_ok());
        }
    }

    #[test]
    fn a_client_that_gets_in_while_a_listener_binds_waits_in_the_queue_of_a_socket_that_stays() {
        use std::net::TcpStream;
        // Clients come from 127.0.0.1, and so never meet themselves.
        let any = SocketAddr::from(([127, 61, 0, 7], 0));
        let address = bind(&Listener::new("test", any), any, 1).unwrap()[0].local_addr().unwrap();
        let mut listener = Listener::new("test", address);
        // Setting these takes so long that a client is sure to find any socket that listens.
        let option = SocketOption {
            description: String::new(),
            level: libc::SOL_SOCKET,
            name: libc::SO_KEEPALIVE,
            value: SocketOptionValue::Number(1),
            state: SocketState::Listening,
        };
        listener.socket.options = vec![option; 50_000];
        let (refused, was_refused) = std::sync::mpsc::sync_channel(1);
        let client = std::thread::spawn(move || {
            loop {
                match TcpStream::connect(address) {
                    Ok(stream) => return stream,
                    Err(_) => drop(refused.try_send(())),
                }
            }
        });
        was_refused.recv().unwrap();
        let sockets = bind(&listener, address, 2).unwrap();
        let client = client.join().unwrap();
        let from = client.local_addr().unwrap();
        let mut queues = sockets.iter().flat_map(|it| std::iter::from_fn(|| it.accept().ok()));
        assert!(queues.any(|(_, remote)| remote == from), "the client was reset");
    }

    #[test]
    fn a_socket_has_what_its_listener_says() {
        let mut listener = Listener::new("test", any());
        listener.freebind = true;
        listener.socket.keepalive = Some(TcpKeepalive {
            probes: NonZeroU32::new(7),
            time: Some(Duration::from_secs(33)),
            interval: Some(Duration::from_secs(5)),
        });
        listener.socket.fast_open_queue = Some(5);
        listener.socket.options = vec![SocketOption {
            description: "buffer".to_owned(),
            level: libc::SOL_SOCKET,
            name: libc::SO_RCVBUF,
            value: SocketOptionValue::Number(65_536),
            state: SocketState::Prebind,
        }];
        let sockets = bind(&listener, any(), 1).unwrap();
        let socket = socket2::SockRef::from(&sockets[0]);
        assert!(socket.freebind_v4().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(33));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 7);
        // Linux gives twice what is asked for.
        assert_eq!(socket.recv_buffer_size().unwrap(), 2 * 65_536);
    }

    #[test]
    fn an_option_that_the_system_refuses_is_named() {
        let mut listener = Listener::new("test", any());
        listener.socket.options = vec![SocketOption {
            description: "odd".to_owned(),
            level: 6,
            name: 9999,
            value: SocketOptionValue::Bytes(vec![1].into()),
            state: SocketState::Bound,
        }];
        let error = bind(&listener, any(), 1).unwrap_err();
        assert!(error.to_string().contains("socket option 6/9999 odd"), "{error}");
    }

    #[test]
    fn a_file_that_nobody_listens_at_is_replaced_and_one_that_is_in_use_is_not() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let pipe = PipeAddress { path: folder.path().join("l.sock"), mode: 0o640 };
        let listener = Listener::new("test", any());
        let sockets = bind_pipe(&listener, &pipe, 2).unwrap();
        let mode = std::fs::metadata(&pipe.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert!(bind_pipe(&listener, &pipe, 1).is_err());
        drop(sockets);
        assert!(bind_pipe(&listener, &pipe, 1).is_ok());
    }
}
