//! What the system knows of a TCP connection that reading and writing do not tell.

use std::{io, mem::MaybeUninit, os::fd::AsFd};

use iako_proxy_config::TcpKeepalive;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Whether nothing has come on a connection: no bytes, no end, no error. Asks the system, not the event
/// queue, which tells of an end only in the next turn of the worker's loop.
pub(crate) fn is_quiet(socket: &TcpStream) -> bool {
    let peeked = SockRef::from(socket).peek(&mut [MaybeUninit::uninit()]);
    peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Has the peer see a reset in place of an end when the connection is closed. Where the system refuses,
/// it is closed in the usual way.
pub(crate) fn reset_when_closed(socket: &TcpStream) {
    drop(SockRef::from(socket).set_linger(Some(std::time::Duration::ZERO)));
}

/// How many bytes the peer's system has acknowledged since the connection was made; `None` where the
/// system does not tell.
pub(crate) fn bytes_acknowledged(socket: &TcpStream) -> Option<u64> {
    tcp_info::bytes_acknowledged(socket)
}

/// Sends probes on a connection that is idle, or on those that a listening socket accepts.
///
/// # Errors
/// When the system refuses.
pub(crate) fn set_keepalive(socket: &impl AsFd, settings: &TcpKeepalive) -> io::Result<()> {
    let mut keepalive = socket2::TcpKeepalive::new();
    if let Some(time) = settings.time {
        keepalive = keepalive.with_time(time);
    }
    if let Some(interval) = settings.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(probes) = settings.probes {
        keepalive = keepalive.with_retries(probes.get());
    }
    SockRef::from(socket).set_tcp_keepalive(&keepalive)
}

/// Sets an option by the system's numbers.
///
/// # Errors
/// When the system refuses.
pub(crate) fn set_option(
    socket: &impl AsFd,
    level: i32,
    name: i32,
    value: &[u8],
) -> io::Result<()> {
    options::set(socket, level, name, value)
}

/// Options that an operator writes as numbers.
mod options {
    #![expect(unsafe_code, reason = "no safe wrapper takes an option by its number")]

    use std::{
        io,
        os::fd::{AsFd, AsRawFd as _},
    };

    pub(super) fn set(socket: &impl AsFd, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
        let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
        // SAFETY: the descriptor is borrowed for the call, and the buffer is as long as `length` says.
        let result = unsafe {
            libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, value.as_ptr().cast(), length)
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The other place of this file that needs `unsafe`: no safe wrapper reads this option whole.
#[cfg(target_os = "linux")]
mod tcp_info {
    #![expect(unsafe_code, reason = "TCP_INFO has no safe wrapper")]

    use std::os::fd::{AsFd, AsRawFd as _};

    /// `struct tcp_info` of `linux/tcp.h` up to `tcpi_bytes_acked`, in words of eight bytes.
    const WORDS: usize = 16;

    pub(super) fn bytes_acknowledged(socket: &impl AsFd) -> Option<u64> {
        let mut info = [0_u64; WORDS];
        let mut length = libc::socklen_t::try_from(size_of_val(&info)).ok()?;
        // SAFETY: the descriptor is borrowed for the call, and the buffer is as long as `length` says.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        // An older system fills less than was asked for.
        let filled = usize::try_from(length).ok()?;
        (result == 0 && filled >= size_of_val(&info)).then(|| info.last().copied())?
    }
}

#[cfg(not(target_os = "linux"))]
mod tcp_info {
    pub(super) fn bytes_acknowledged(_socket: &tokio::net::TcpStream) -> Option<u64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_a_closed_peer_did_not_receive_is_not_acknowledged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"first").await.unwrap();
        far.read_exact(&mut [0; 5]).await.unwrap();
        far.write_all(b"answer").await.unwrap();
        near.readable().await.unwrap();
        assert!(!is_quiet(&near));
        near.read_exact(&mut [0; 6]).await.unwrap();
        assert!(is_quiet(&near));
        let before = bytes_acknowledged(&near).unwrap();
        assert!(before >= 5);
        drop(far);
        assert!(!is_quiet(&near), "the end is seen without an event");
        near.write_all(b"second").await.unwrap();
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(bytes_acknowledged(&near), Some(before));
    }

    #[tokio::test]
    async fn what_the_peer_received_before_it_closed_is_acknowledged() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        let before = bytes_acknowledged(&near).unwrap();
        near.write_all(b"request").await.unwrap();
        far.read_exact(&mut [0; 7]).await.unwrap();
        drop(far);
        assert_eq!(near.read(&mut [0; 1]).await.unwrap(), 0);
        assert_eq!(bytes_acknowledged(&near), Some(before + 7));
    }
}
