//! The PROXY protocol header that tells a server who its client is.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use iako_proxy_config::{PassedTlvs, ProxyProtocolHeader, ProxyProtocolVersion};
use iako_traffic::{ConnectionInfo, ProxyTlv, SourceBinding};

use crate::snapshot::UpstreamCluster;

/// First bytes of version 2. Source: PROXY protocol §2.2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The connection is the proxy's own: nobody is told of.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

/// The client for whom a connection is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxied {
    /// The client's address.
    pub(crate) source: SocketAddr,
    /// The address that it meant to reach.
    pub(crate) destination: SocketAddr,
    /// Further values of the header by which we were told of it.
    pub(crate) tlvs: Arc<[ProxyTlv]>,
    /// From where the connection comes, where that is not left to the system.
    pub(crate) binding: Option<SourceBinding>,
}

impl Proxied {
    /// The client of a connection.
    pub(crate) fn of(info: &ConnectionInfo) -> Self {
        Self {
            source: info.remote,
            destination: info.original_destination,
            tlvs: Arc::clone(&info.proxy_tlvs),
            binding: info.source,
        }
    }

    /// The client of a connection, as far as connections to a cluster differ by it.
    pub(crate) fn towards(cluster: &UpstreamCluster, info: &ConnectionInfo) -> Option<Self> {
        if cluster.tells_clients() {
            return Some(Self::of(info));
        }
        // Nothing else of the client, so that those with the same address share connections.
        info.source.map(|binding| Self {
            source: binding.address,
            destination: binding.address,
            tlvs: Arc::default(),
            binding: Some(binding),
        })
    }
}

/// Writes a header. Without a client, as for a check of health, version 1 tells of our own `ends`
/// (local and remote), and version 2 says that nobody is behind the connection.
pub(crate) fn encode(
    header: &ProxyProtocolHeader,
    client: Option<&Proxied>,
    ends: (SocketAddr, SocketAddr),
) -> Vec<u8> {
    match (header.version, client) {
        (ProxyProtocolVersion::V1, client) => {
            let (source, destination) =
                client.map_or(ends, |client| (client.source, client.destination));
            line(source, destination).into_bytes()
        }
        (ProxyProtocolVersion::V2, None) => {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([LOCAL, 0, 0, 0]);
            bytes
        }
        (ProxyProtocolVersion::V2, Some(client)) => binary(header, client),
    }
}

fn line(source: SocketAddr, destination: SocketAddr) -> String {
    let (from, to) = of_one_family(source.ip(), destination.ip());
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
}

fn binary(header: &ProxyProtocolHeader, client: &Proxied) -> Vec<u8> {
    let (from, to) = of_one_family(client.source.ip(), client.destination.ip());
    let mut body = Vec::new();
    let mut put = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => body.extend(ip.octets()),
        IpAddr::V6(ip) => body.extend(ip.octets()),
    };
    put(from);
    put(to);
    body.extend(client.source.port().to_be_bytes());
    body.extend(client.destination.port().to_be_bytes());
    let added = header.added.iter().map(|tlv| (tlv.kind, &*tlv.value));
    let is_passed = |kind: u8| match &header.passed {
        PassedTlvs::All => true,
        PassedTlvs::Listed(kinds) => kinds.contains(&kind),
    };
    let is_added = |kind: u8| header.added.iter().any(|tlv| tlv.kind == kind);
    let passed = client.tlvs.iter().filter(|tlv| is_passed(tlv.kind) && !is_added(tlv.kind));
    for (kind, value) in added.chain(passed.map(|tlv| (tlv.kind, &*tlv.value))) {
        let Ok(length) = u16::try_from(value.len()) else { continue };
        // What does not fit any more is left out: the addresses matter most.
        if body.len() + 3 + value.len() > usize::from(u16::MAX) {
            continue;
        }
        body.push(kind);
        body.extend(length.to_be_bytes());
        body.extend_from_slice(value);
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([PROXY, if from.is_ipv4() { TCP4 } else { TCP6 }]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A header has one family: where the two ends differ, IPv4 is written as IPv6 (RFC 4291 §2.5.5.2).
fn of_one_family(from: IpAddr, to: IpAddr) -> (IpAddr, IpAddr) {
    let mapped = |ip: IpAddr| -> Ipv6Addr {
        match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        }
    };
    if from.is_ipv4() == to.is_ipv4() {
        (from, to)
    } else {
        (mapped(from).into(), mapped(to).into())
    }
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::ProxyProtocolTlv;

    use super::*;

    fn client(source: &str, destination: &str) -> Proxied {
        let tlv = |kind, value: &[u8]| ProxyTlv { kind, value: value.to_vec() };
        let tlvs = Arc::from([tlv(0xe0, b"z"), tlv(2, b"host")]);
        Proxied {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            tlvs,
            binding: None,
        }
    }

    fn ends() -> (SocketAddr, SocketAddr) {
        ("127.0.0.1:5".parse().unwrap(), "127.0.0.2:6".parse().unwrap())
    }

    #[test]
    fn version_1_is_a_line_of_one_family() {
        let header = ProxyProtocolHeader::default();
        let told =
            |client: Option<&Proxied>| String::from_utf8(encode(&header, client, ends())).unwrap();
        let v4 = client("192.0.2.1:1234", "198.51.100.2:443");
        assert_eq!(told(Some(&v4)), "PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n");
        let mixed = client("192.0.2.1:1", "[2001:db8::1]:2");
        assert_eq!(told(Some(&mixed)), "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::1 1 2\r\n");
        assert_eq!(told(None), "PROXY TCP4 127.0.0.1 127.0.0.2 5 6\r\n");
    }

    #[test]
    fn version_2_adds_values_of_its_own_and_passes_those_listed() {
        let header = ProxyProtocolHeader {
            version: ProxyProtocolVersion::V2,
            passed: PassedTlvs::Listed(vec![0xe0, 0xe1]),
            added: vec![ProxyProtocolTlv { kind: 0xe1, value: "own".into() }],
        };
        let bytes = encode(&header, Some(&client("192.0.2.1:258", "198.51.100.2:772")), ends());
        let mut expected = [&SIGNATURE[..], &[0x21, 0x11, 0, 22]].concat();
        expected.extend([192, 0, 2, 1, 198, 51, 100, 2, 1, 2, 3, 4]);
        expected.extend([0xe1, 0, 3, b'o', b'w', b'n', 0xe0, 0, 1, b'z']);
        assert_eq!(bytes, expected);
        let local = encode(&header, None, ends());
        assert_eq!(local[12..], [0x20, 0, 0, 0]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_header_stays_whole() {
        let large = |kind| ProxyProtocolTlv { kind, value: vec![0; 40_000].into() };
        let header = ProxyProtocolHeader {
            version: ProxyProtocolVersion::V2,
            passed: PassedTlvs::All,
            added: vec![large(0xe1), large(0xe2)],
        };
        let bytes = encode(&header, Some(&client("192.0.2.1:1", "192.0.2.2:2")), ends());
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        assert_eq!(bytes.len(), 16 + length);
        assert_eq!(length, 12 + 3 + 40_000 + 4 + 7);
    }
}
