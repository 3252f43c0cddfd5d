//! TCP connections to an endpoint that may have several addresses.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use iako_proxy_config::{AddressOrder, Cluster, FirstFamily};
use iako_traffic::SourceBinding;
use tokio::net::{TcpSocket, TcpStream};

use super::socket::{set_keepalive, set_option};

/// Silence of one address after which the next is tried, too. RFC 8305 §5 recommends it; Envoy waits
/// 300 ms.
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one endpoint that are tried.
pub(crate) const ADDRESSES_MAX: usize = 16;

/// Connects to the first of these addresses that answers. With several, the families take turns, a
/// failure makes room for the next at once, and silence soon does (RFC 8305).
///
/// The caller bounds the time of them all.
///
/// # Errors
/// When no address can be reached, or not from `source`.
pub(super) async fn dial(
    first: SocketAddr,
    others: &[SocketAddr],
    cluster: &Cluster,
    source: Option<SourceBinding>,
) -> io::Result<TcpStream> {
    if others.is_empty() {
        return connect(first, cluster, source).await;
    }
    let mut left = in_turns(first, others, cluster.connecting.addresses).into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match left.next() {
            Some(address) => attempts.push(Box::pin(connect(address, cluster, source))),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        tokio::select! {
            biased;
            ended = attempts.next() => match ended {
                Some(Ok(socket)) => return Ok(socket),
                Some(Err(error)) => failed = error,
                None => {}
            },
            () = tokio::time::sleep(STAGGER), if left.len() > 0 => {}
        }
    }
}

/// Some of the first family, then one of the other, and so on (RFC 8305 §4).
fn in_turns(first: SocketAddr, others: &[SocketAddr], wanted: AddressOrder) -> Vec<SocketAddr> {
    let others = others.iter().copied().filter(|address| *address != first);
    let all: Vec<SocketAddr> = std::iter::once(first).chain(others).collect();
    let is_v4_first = match wanted.first {
        FirstFamily::OfFirst => first.is_ipv4(),
        FirstFamily::V4 => true,
        FirstFamily::V6 => false,
    };
    let of = |family: bool| all.iter().copied().filter(move |address| address.is_ipv4() == family);
    let (mut same, mut other) = (of(is_v4_first), of(!is_v4_first));
    let count = usize::try_from(wanted.count.get()).unwrap_or(usize::MAX);
    let mut order = Vec::with_capacity(all.len());
    loop {
        let before = order.len();
        order.extend(same.by_ref().take(count));
        order.extend(other.next());
        if order.len() == before || order.len() >= ADDRESSES_MAX {
            order.truncate(ADDRESSES_MAX);
            return order;
        }
    }
}

async fn connect(
    address: SocketAddr,
    cluster: &Cluster,
    source: Option<SourceBinding>,
) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_nodelay(true)?;
    let own = cluster.bind_address.iter().chain(&cluster.bind_others);
    if let Some(source) = source {
        bind_to(&socket, source)?;
    } else if let Some(local) = own.copied().find(|local| local.is_ipv4() == address.is_ipv4()) {
        socket.set_reuseaddr(true)?;
        socket.bind(local)?;
    }
    if let Some(keepalive) = &cluster.tcp_keepalive {
        set_keepalive(&socket, keepalive)?;
    }
    socket.connect(address).await
}

/// Has a connection come from an address that need not be ours.
///
/// # Errors
/// When the process may not do that.
fn bind_to(socket: &TcpSocket, source: SourceBinding) -> io::Result<()> {
    let SourceBinding { address, mark } = source;
    let yes = 1_i32.to_ne_bytes();
    if address.is_ipv4() {
        set_option(socket, libc::SOL_IP, libc::IP_TRANSPARENT, &yes)?;
    } else {
        set_option(socket, libc::SOL_IPV6, libc::IPV6_TRANSPARENT, &yes)?;
    }
    if let Some(mark) = mark {
        set_option(socket, libc::SOL_SOCKET, libc::SO_MARK, &mark.get().to_ne_bytes())?;
    }
    if address.port() == 0 {
        // The port is chosen when the other end is known: as many connections as there are ports go
        // to each address, not in all.
        set_option(socket, libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT, &yes)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, num::NonZeroU32};

    use iako_proxy_config::{Discovery, EndpointSet};

    use super::*;

    fn cluster() -> Cluster {
        Cluster::new("c", Discovery::Static(EndpointSet::new("c", Vec::new())))
    }

    #[test]
    fn families_take_turns_from_the_first_address_on_rfc_8305_4() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let others =
            ["[::2]:1", "[::1]:1", "192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(address);
        let usual = AddressOrder::default();
        let order = in_turns(address("[::1]:1"), &others, usual);
        let expected =
            ["[::1]:1", "192.0.2.1:1", "[::2]:1", "192.0.2.2:1", "192.0.2.3:1"].map(address);
        assert_eq!(order, expected);
        let many: Vec<_> = (2..100).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
        assert_eq!(in_turns(address("192.0.2.1:1"), &many, usual).len(), ADDRESSES_MAX);
        let wanted =
            AddressOrder { first: FirstFamily::V4, count: NonZeroU32::MIN.saturating_add(1) };
        let order = in_turns(address("[::1]:1"), &others, wanted);
        let expected =
            ["192.0.2.1:1", "192.0.2.2:1", "[::1]:1", "192.0.2.3:1", "[::2]:1"].map(address);
        assert_eq!(order, expected);
    }

    #[tokio::test]
    async fn an_address_that_refuses_makes_room_for_the_next_at_once_rfc_8305_5() {
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = alive.local_addr().unwrap();
        let socket = dial(dead, &[address], &cluster(), None).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        let error = dial(dead, &[dead], &cluster(), None).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_does_not_hold_up_the_others_rfc_8305_5() {
        // Connections beyond the queue of a listener that accepts none get no answer.
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        full.listen(0).unwrap();
        let silent = full.local_addr().unwrap().as_socket().unwrap();
        let _queued = std::net::TcpStream::connect(silent).unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = alive.local_addr().unwrap();
        let socket = dial(silent, &[address], &cluster(), None).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
    }
}
