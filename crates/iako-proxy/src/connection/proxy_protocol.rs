//! The PROXY protocol, versions 1 and 2: who the client is, as the load balancer in front says.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::ControlFlow,
};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, its end included. Source: PROXY protocol §2.1.
const LINE_BYTES_MAX: usize = 107;
/// Largest body of version 2 that is taken, its TLVs included.
const BODY_BYTES_MAX: usize = 4096;

/// The most that a header can take.
pub(crate) const HEADER_BYTES_MAX: usize = 16 + BODY_BYTES_MAX;

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProxyHeader {
    /// Source and destination; none for `LOCAL`, `UNKNOWN` and other families: the connection's own
    /// addresses count then.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    /// Bytes that it took; the connection's own begin after them.
    pub(super) length: usize,
}

/// The bytes are no PROXY protocol header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with a PROXY protocol header")]
pub(super) struct NotProxyProtocol;

/// Reads a header; `Continue` asks for more bytes.
pub(super) fn read(bytes: &[u8]) -> ControlFlow<Result<ProxyHeader, NotProxyProtocol>> {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes.get(..common) == SIGNATURE.get(..common) {
        return match bytes.first_chunk::<16>() {
            None => ControlFlow::Continue(()),
            Some(head) => read_binary(head, bytes.get(16..).unwrap_or_default()),
        };
    }
    let common = bytes.len().min(6);
    if bytes.get(..common) != b"PROXY ".get(..common) {
        return ControlFlow::Break(Err(NotProxyProtocol));
    }
    let window = bytes.get(..bytes.len().min(LINE_BYTES_MAX)).unwrap_or_default();
    match window.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => ControlFlow::Break(
            read_line(window.get(6..end).unwrap_or_default())
                .map(|addresses| ProxyHeader { addresses, length: end.saturating_add(2) }),
        ),
        None if bytes.len() >= LINE_BYTES_MAX => ControlFlow::Break(Err(NotProxyProtocol)),
        None => ControlFlow::Continue(()),
    }
}

type Addresses = Option<(SocketAddr, SocketAddr)>;

fn read_line(line: &[u8]) -> Result<Addresses, NotProxyProtocol> {
    let line = std::str::from_utf8(line).ok().ok_or(NotProxyProtocol)?;
    let mut words = line.split(' ');
    match words.next() {
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4" | "TCP6") => {}
        Some(_) | None => return Err(NotProxyProtocol),
    }
    let mut ip = || words.next().and_then(|word| word.parse::<IpAddr>().ok());
    let (source, destination) = (ip(), ip());
    let mut port = || words.next().and_then(|word| word.parse::<u16>().ok());
    match (source, destination, port(), port(), words.next()) {
        (Some(source), Some(destination), Some(from), Some(to), None)
            if source.is_ipv4() == destination.is_ipv4() =>
        {
            Ok(Some((SocketAddr::new(source, from), SocketAddr::new(destination, to))))
        }
        _ => Err(NotProxyProtocol),
    }
}

fn read_binary(head: &[u8; 16], rest: &[u8]) -> ControlFlow<Result<ProxyHeader, NotProxyProtocol>> {
    let [.., command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || command & 0xf > 1 || length > BODY_BYTES_MAX {
        return ControlFlow::Break(Err(NotProxyProtocol));
    }
    let Some(body) = rest.get(..length) else { return ControlFlow::Continue(()) };
    let is_local = command & 0xf == 0;
    let addresses = match family {
        _ if is_local => Ok(None),
        0x11 => v4_addresses(body).map(Some).ok_or(NotProxyProtocol),
        0x21 => v6_addresses(body).map(Some).ok_or(NotProxyProtocol),
        _ => Ok(None),
    };
    let length = length.saturating_add(16);
    ControlFlow::Break(addresses.map(|addresses| ProxyHeader { addresses, length }))
}

fn v4_addresses(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let [a, b, c, d, e, f, g, h, p0, p1, q0, q1] = *body.first_chunk::<12>()?;
    let at = |ip: [u8; 4], port: [u8; 2]| {
        SocketAddr::new(Ipv4Addr::from(ip).into(), u16::from_be_bytes(port))
    };
    Some((at([a, b, c, d], [p0, p1]), at([e, f, g, h], [q0, q1])))
}

fn v6_addresses(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let [p0, p1, q0, q1] = *rest.first_chunk::<4>()?;
    let at = |ip: [u8; 16], port: [u8; 2]| {
        SocketAddr::new(Ipv6Addr::from(ip).into(), u16::from_be_bytes(port))
    };
    Some((at(*source, [p0, p1]), at(*destination, [q0, q1])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(bytes: &[u8]) -> Result<ProxyHeader, NotProxyProtocol> {
        match read(bytes) {
            ControlFlow::Break(result) => result,
            ControlFlow::Continue(()) => panic!("more bytes are asked for"),
        }
    }

    fn addresses(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    #[test]
    fn the_line_of_version_1_names_both_ends() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\nGET /";
        let expected = addresses("192.0.2.1:1234", "198.51.100.2:443");
        assert_eq!(taken(line), Ok(ProxyHeader { addresses: expected, length: line.len() - 5 }));
        assert_eq!(taken(b"PROXY UNKNOWN\r\n").unwrap().addresses, None);
        assert_eq!(read(b"PROXY TCP4 192"), ControlFlow::Continue(()));
        for wrong in [&b"GET / HTTP/1.1"[..], b"PROXY TCP4 a b 1 2\r\n", b"PROXY TCP9 \r\n"] {
            assert_eq!(taken(wrong), Err(NotProxyProtocol));
        }
        assert_eq!(taken(&[b"PROXY ".as_slice(), &[b' '; 200]].concat()), Err(NotProxyProtocol));
    }

    #[test]
    fn version_2_names_both_ends_and_skips_what_follows_them() {
        let mut header = [&SIGNATURE[..], &[0x21, 0x11, 0, 15]].concat();
        header.extend([192, 0, 2, 1, 198, 51, 100, 2, 4, 210, 1, 187, 4, 0, 0]);
        let expected = addresses("192.0.2.1:1234", "198.51.100.2:443");
        assert_eq!(read(&header[..20]), ControlFlow::Continue(()));
        assert_eq!(taken(&header), Ok(ProxyHeader { addresses: expected, length: header.len() }));
        header[12] = 0x20;
        assert_eq!(taken(&header).unwrap().addresses, None);
        header[12] = 0x31;
        assert_eq!(taken(&header), Err(NotProxyProtocol));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
            let start: &[u8] = match kind { 0 => b"PROXY TCP6 ", 1 => SIGNATURE, _ => b"" };
            let bytes = [start, &bytes].concat();
            if let ControlFlow::Break(Ok(header)) = read(&bytes) {
                prop_assert!(header.length <= bytes.len());
            }
        }
    }
}
