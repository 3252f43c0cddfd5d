//! The PROXY protocol, versions 1 and 2: who the client is, as the load balancer in front says.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::ControlFlow,
    sync::Arc,
};

use iako_proxy_config::{PassThroughTlvs, ProxyProtocol, TlvEncoding};
use iako_traffic::{ConnectionInfo, ProxyTlv};
use serde_json::Value;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// How a line of version 1 begins.
const WORD: &[u8; 6] = b"PROXY ";
/// Longest line of version 1, its end included. Source: PROXY protocol §2.1.
const LINE_BYTES_MAX: usize = 107;

/// Under this name values are kept as one object, where they are filter state.
const TLV_STATE: &str = "envoy.network.proxy_protocol.tlv";

/// The most that a header can take: its length is a number of 16 bits.
pub(crate) const HEADER_BYTES_MAX: usize = 16 + 65_535;

/// A header that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProxyHeader {
    /// 1 or 2.
    pub(super) version: Version,
    /// Source and destination; none for `LOCAL` and `UNKNOWN`: the connection's own addresses count
    /// then.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
    /// What came after them, in order.
    pub(super) tlvs: Vec<ProxyTlv>,
    /// Bytes that it took; the connection's own begin after them.
    pub(super) length: usize,
}

/// Which form a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// A line of text.
    One,
    /// Binary.
    Two,
}

/// What the first bytes of a connection turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A header.
    Header(ProxyHeader),
    /// Something else.
    Absent,
    /// The beginning of a header of a version that is not allowed.
    Disallowed(Version),
    /// The beginning of a header that is none.
    Malformed(Version),
}

/// Reads a header; `Continue` asks for more bytes.
pub(super) fn read(bytes: &[u8], settings: &ProxyProtocol) -> ControlFlow<Verdict> {
    let begins = |with: &[u8]| {
        let common = bytes.len().min(with.len());
        bytes.get(..common) == with.get(..common)
    };
    // A version that is not allowed is not even looked for where headers are optional.
    let looks = |allowed: bool| allowed || !settings.optional;
    let version = if looks(settings.version_2) && begins(SIGNATURE) {
        Version::Two
    } else if looks(settings.version_1) && begins(WORD) {
        Version::One
    } else {
        return ControlFlow::Break(Verdict::Absent);
    };
    let (mark, allowed) = match version {
        Version::One => (WORD.len(), settings.version_1),
        Version::Two => (SIGNATURE.len(), settings.version_2),
    };
    if bytes.len() < mark {
        return ControlFlow::Continue(());
    }
    if !allowed {
        return ControlFlow::Break(Verdict::Disallowed(version));
    }
    let read = match version {
        Version::One => read_line(bytes),
        Version::Two => read_binary(bytes),
    };
    match read {
        ControlFlow::Continue(()) => ControlFlow::Continue(()),
        ControlFlow::Break(Some(header)) => ControlFlow::Break(Verdict::Header(header)),
        ControlFlow::Break(None) => ControlFlow::Break(Verdict::Malformed(version)),
    }
}

/// Keeps what a header says of a connection.
pub(super) fn keep(header: ProxyHeader, settings: &ProxyProtocol, info: &mut ConnectionInfo) {
    if let Some((source, destination)) = header.addresses {
        info.remote = source;
        info.original_destination = destination;
    }
    let mut objects = serde_json::Map::new();
    for rule in &settings.rules {
        // The first of its type counts.
        let Some(tlv) = header.tlvs.iter().find(|tlv| tlv.kind == rule.kind) else { continue };
        let text = match rule.encoding {
            TlvEncoding::Utf8 => sanitized(&tlv.value),
            TlvEncoding::Base64 => super::metadata_exchange::encode_base64(&tlv.value),
        };
        if settings.in_filter_state {
            objects.insert(rule.key.clone(), Value::String(text));
        } else {
            info.metadata.set(&rule.namespace, &rule.key, Value::String(text));
        }
    }
    if !objects.is_empty() {
        info.metadata.set_state(TLV_STATE, Value::Object(objects).to_string());
    }
    info.proxy_tlvs = match &settings.pass_through {
        PassThroughTlvs::None => Arc::default(),
        PassThroughTlvs::All => header.tlvs.into(),
        PassThroughTlvs::Only(kinds) => {
            header.tlvs.into_iter().filter(|tlv| kinds.contains(&tlv.kind)).collect()
        }
    };
}

/// UTF-8, in which every byte that is none becomes `!`, as Envoy writes it.
fn sanitized(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '!'));
    }
    text
}

type Addresses = Option<(SocketAddr, SocketAddr)>;

fn read_line(bytes: &[u8]) -> ControlFlow<Option<ProxyHeader>> {
    let window = bytes.get(..bytes.len().min(LINE_BYTES_MAX)).unwrap_or_default();
    match window.windows(2).position(|pair| pair == b"\r\n") {
        Some(end) => {
            let line = window.get(WORD.len()..end).unwrap_or_default();
            ControlFlow::Break(addresses_of_line(line).map(|addresses| ProxyHeader {
                version: Version::One,
                addresses,
                tlvs: Vec::new(),
                length: end.saturating_add(2),
            }))
        }
        None if bytes.len() >= LINE_BYTES_MAX => ControlFlow::Break(None),
        None => ControlFlow::Continue(()),
    }
}

fn addresses_of_line(line: &[u8]) -> Option<Addresses> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split(' ');
    let is_v4 = match words.next()? {
        "UNKNOWN" => return Some(None),
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let mut ip = || words.next()?.parse::<IpAddr>().ok();
    let (source, destination) = (ip()?, ip()?);
    let mut port = || words.next()?.parse::<u16>().ok();
    let (from, to) = (port()?, port()?);
    let fits = source.is_ipv4() == is_v4 && destination.is_ipv4() == is_v4;
    (fits && words.next().is_none())
        .then(|| Some((SocketAddr::new(source, from), SocketAddr::new(destination, to))))
}

fn read_binary(bytes: &[u8]) -> ControlFlow<Option<ProxyHeader>> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        return ControlFlow::Continue(());
    };
    let [.., command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || command & 0xf > 1 {
        return ControlFlow::Break(None);
    }
    let Some(body) = rest.get(..length) else { return ControlFlow::Continue(()) };
    let is_local = command & 0xf == 0;
    // Streams and datagrams are told apart by the low half, which does not matter here.
    // A proxy that speaks for itself names nobody; what it sends beside that is not looked at.
    let nobody: &[u8] = &[];
    let read = match family {
        _ if is_local => Some((None, nobody)),
        0x11 | 0x12 => v4_addresses(body),
        0x21 | 0x22 => v6_addresses(body),
        _ => None,
    };
    let header = read.and_then(|(addresses, rest)| {
        let length = length.saturating_add(16);
        Some(ProxyHeader { version: Version::Two, addresses, tlvs: tlvs(rest)?, length })
    });
    ControlFlow::Break(header)
}

fn v4_addresses(body: &[u8]) -> Option<(Addresses, &[u8])> {
    let (head, rest) = body.split_first_chunk::<12>()?;
    let [a, b, c, d, e, f, g, h, p0, p1, q0, q1] = *head;
    let at = |ip: [u8; 4], port: [u8; 2]| {
        SocketAddr::new(Ipv4Addr::from(ip).into(), u16::from_be_bytes(port))
    };
    Some((Some((at([a, b, c, d], [p0, p1]), at([e, f, g, h], [q0, q1]))), rest))
}

fn v6_addresses(body: &[u8]) -> Option<(Addresses, &[u8])> {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let ([p0, p1, q0, q1], rest) = rest.split_first_chunk::<4>()?;
    let at = |ip: [u8; 16], port: [u8; 2]| {
        SocketAddr::new(Ipv6Addr::from(ip).into(), u16::from_be_bytes(port))
    };
    Some((Some((at(*source, [*p0, *p1]), at(*destination, [*q0, *q1]))), rest))
}

/// The type-length-values at the end of a header; none when they are broken.
fn tlvs(mut rest: &[u8]) -> Option<Vec<ProxyTlv>> {
    let mut tlvs = Vec::new();
    while !rest.is_empty() {
        let ([kind, high, low], tail) = rest.split_first_chunk::<3>()?;
        let (value, tail) =
            tail.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        tlvs.push(ProxyTlv { kind: *kind, value: value.to_vec() });
        rest = tail;
    }
    Some(tlvs)
}

#[cfg(test)]
mod tests {
    use iako_proxy_config::TlvRule;
    use proptest::prelude::*;

    use super::*;

    fn verdict(bytes: &[u8]) -> Verdict {
        match read(bytes, &ProxyProtocol::default()) {
            ControlFlow::Break(verdict) => verdict,
            ControlFlow::Continue(()) => panic!("more bytes are asked for"),
        }
    }

    fn header(bytes: &[u8]) -> ProxyHeader {
        match verdict(bytes) {
            Verdict::Header(header) => header,
            other @ (Verdict::Absent | Verdict::Disallowed(_) | Verdict::Malformed(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn addresses(source: &str, destination: &str) -> Addresses {
        Some((source.parse().unwrap(), destination.parse().unwrap()))
    }

    /// A header of version 2 from 192.0.2.1:1234 to 198.51.100.2:443, with these bytes at its end.
    fn binary(command: u8, end: &[u8]) -> Vec<u8> {
        let length = u8::try_from(12 + end.len()).unwrap();
        let ends = [192, 0, 2, 1, 198, 51, 100, 2, 4, 210, 1, 187];
        [&SIGNATURE[..], &[command, 0x11, 0, length], &ends, end].concat()
    }

    #[test]
    fn the_line_of_version_1_names_both_ends() {
        let line = b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\nGET /";
        let found = header(line);
        assert_eq!(found.addresses, addresses("192.0.2.1:1234", "198.51.100.2:443"));
        assert_eq!(found.length, line.len() - 5);
        assert_eq!(header(b"PROXY UNKNOWN\r\n").addresses, None);
        assert_eq!(header(b"PROXY UNKNOWN what ever\r\n").addresses, None);
        let settings = ProxyProtocol::default();
        assert_eq!(read(b"PROXY TCP4 192", &settings), ControlFlow::Continue(()));
        assert_eq!(verdict(b"GET / HTTP/1.1"), Verdict::Absent);
        for wrong in [
            "a b 1 2",
            "192.0.2.1 198.51.100.2 1 65536",
            "192.0.2.1 198.51.100.2 1",
            "192.0.2.1 198.51.100.2 1 2 3",
            "::1 ::2 1 2",
        ] {
            let line = format!("PROXY TCP4 {wrong}\r\n");
            assert_eq!(verdict(line.as_bytes()), Verdict::Malformed(Version::One), "{wrong}");
        }
        let endless = [b"PROXY ".as_slice(), &[b' '; 200]].concat();
        assert_eq!(verdict(&endless), Verdict::Malformed(Version::One));
    }

    #[test]
    fn version_2_names_both_ends_and_what_follows_them() {
        let bytes = binary(0x21, &[4, 0, 1, 7]);
        assert_eq!(read(&bytes[..20], &ProxyProtocol::default()), ControlFlow::Continue(()));
        let found = header(&bytes);
        assert_eq!(found.addresses, addresses("192.0.2.1:1234", "198.51.100.2:443"));
        assert_eq!(found.tlvs, [ProxyTlv { kind: 4, value: vec![7] }]);
        assert_eq!(found.length, bytes.len());
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 0]].concat();
        assert_eq!(header(&local).addresses, None);
        assert_eq!(header(&binary(0x20, &[9])).addresses, None, "with whatever it has");
        let malformed = Verdict::Malformed(Version::Two);
        assert_eq!(verdict(&binary(0x31, &[])), malformed, "version 3");
        assert_eq!(verdict(&binary(0x22, &[])), malformed, "an unknown command");
        assert_eq!(verdict(&binary(0x21, &[4, 0, 9, 7])), malformed, "a value that is too short");
    }

    #[test]
    fn versions_are_disallowed_and_headers_left_out_only_where_the_settings_say_so() {
        let line = b"PROXY UNKNOWN\r\n";
        let strict = ProxyProtocol { version_1: false, ..ProxyProtocol::default() };
        assert_eq!(read(line, &strict), ControlFlow::Break(Verdict::Disallowed(Version::One)));
        let lax = ProxyProtocol { optional: true, ..strict };
        assert_eq!(read(line, &lax), ControlFlow::Break(Verdict::Absent));
        assert_eq!(read(b"\r\n\r\n", &lax), ControlFlow::Continue(()));
    }

    #[test]
    fn values_are_kept_for_later_as_the_rules_say() {
        let end = [0xea, 0, 3, b'a', 0xff, b'b', 2, 0, 1, b'x', 0xea, 0, 1, b'c'];
        let rule = |kind, key: &str, encoding| TlvRule {
            kind,
            namespace: "ns".to_owned(),
            key: key.to_owned(),
            encoding,
        };
        let settings = ProxyProtocol {
            rules: vec![
                rule(0xea, "text", TlvEncoding::Utf8),
                rule(0xea, "base64", TlvEncoding::Base64),
                rule(9, "absent", TlvEncoding::Utf8),
            ],
            pass_through: PassThroughTlvs::Only(vec![2]),
            ..ProxyProtocol::default()
        };
        let end_of_test = "127.0.0.1:1".parse().unwrap();
        let mut info = ConnectionInfo::plain(end_of_test, end_of_test);
        keep(header(&binary(0x21, &end)), &settings, &mut info);
        assert_eq!(info.remote.to_string(), "192.0.2.1:1234");
        let found = |key: &str| info.metadata.find("ns", &[key.to_owned()]).cloned();
        assert_eq!(found("text"), Some(Value::from("a!b")));
        assert_eq!(found("base64"), Some(Value::from("Yf9i")));
        assert_eq!(found("absent"), None);
        assert_eq!(*info.proxy_tlvs, [ProxyTlv { kind: 2, value: b"x".to_vec() }]);
        let objects = ProxyProtocol { in_filter_state: true, ..settings };
        let mut info = ConnectionInfo::plain(end_of_test, end_of_test);
        keep(header(&binary(0x21, &end)), &objects, &mut info);
        let kept: Value = serde_json::from_str(info.metadata.state(TLV_STATE).unwrap()).unwrap();
        assert_eq!(kept, serde_json::json!({"base64": "Yf9i", "text": "a!b"}));
        assert!(info.metadata.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0..3) {
            let start: &[u8] = match kind { 0 => b"PROXY TCP6 ", 1 => SIGNATURE, _ => b"" };
            let bytes = [start, &bytes].concat();
            let read = read(&bytes, &ProxyProtocol::default());
            if let ControlFlow::Break(Verdict::Header(header)) = read {
                prop_assert!(header.length <= bytes.len());
            }
        }
    }
}
