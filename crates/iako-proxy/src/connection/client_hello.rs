//! What a TLS client says first, read without answering.

use std::ops::ControlFlow;

/// Largest `ClientHello` that is waited for, record headers included. Envoy's limit is the same.
pub(crate) const HELLO_BYTES_MAX: usize = 16 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const MESSAGE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_ALPN: u16 = 16;

/// The part of a `ClientHello` that chooses a filter chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hello {
    /// Lower-cased; none when the client sent none.
    pub(super) server_name: Option<String>,
    /// Best first.
    pub(super) alpn: Vec<String>,
}

/// What the first bytes of a connection turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// TLS, and what its first message says.
    Tls(Hello),
    /// Something else.
    NotTls,
    /// TLS, by its first record, but more than is waited for.
    TooLarge,
}

/// Looks at the first bytes of a connection; `Continue` asks for more of them.
///
/// Source: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3, RFC 7301 §3.1.
pub(super) fn inspect(bytes: &[u8], bytes_max: usize) -> ControlFlow<Verdict> {
    let mut message = Vec::new();
    let mut rest = bytes;
    while let Some((&kind, _)) = rest.split_first() {
        if kind != RECORD_HANDSHAKE || rest.get(1).is_some_and(|major| *major != 3) {
            return ControlFlow::Break(Verdict::NotTls);
        }
        let Some([_, _, _, high, low]) = rest.first_chunk::<5>() else { break };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(body) = rest.get(5..) else { break };
        message.extend_from_slice(body.get(..length).unwrap_or(body));
        if message.first().is_some_and(|kind| *kind != MESSAGE_CLIENT_HELLO) || length == 0 {
            return ControlFlow::Break(Verdict::NotTls);
        }
        if let Some(hello) = whole_message(&message) {
            return ControlFlow::Break(read_hello(hello).map_or(Verdict::NotTls, Verdict::Tls));
        }
        let Some(next) = body.get(length..) else { break };
        rest = next;
    }
    if bytes.len() >= bytes_max {
        return ControlFlow::Break(Verdict::TooLarge);
    }
    ControlFlow::Continue(())
}

/// The body of the handshake message, once all of it is there.
fn whole_message(message: &[u8]) -> Option<&[u8]> {
    let [_, a, b, c] = message.first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).ok()?;
    message.get(4..)?.get(..length)
}

fn read_hello(body: &[u8]) -> Option<Hello> {
    let mut reader = Reader { rest: body };
    reader.take(2 + 32)?;
    reader.short_vector()?;
    reader.long_vector()?;
    reader.short_vector()?;
    let mut hello = Hello::default();
    if reader.rest.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader { rest: reader.long_vector()? };
    while !extensions.rest.is_empty() {
        let kind = extensions.number()?;
        let content = Reader { rest: extensions.long_vector()? };
        match kind {
            EXTENSION_SERVER_NAME => hello.server_name = read_server_name(content)?,
            EXTENSION_ALPN => hello.alpn = read_alpn(content)?,
            _ => {}
        }
    }
    Some(hello)
}

/// The outer option is a broken extension, the inner one a list without a DNS name.
#[expect(clippy::option_option, reason = "broken and absent are different")]
fn read_server_name(mut extension: Reader<'_>) -> Option<Option<String>> {
    let mut list = Reader { rest: extension.long_vector()? };
    while !list.rest.is_empty() {
        let kind = list.take(1)?;
        let name = list.long_vector()?;
        if kind == [0] {
            return Some(Some(std::str::from_utf8(name).ok()?.to_ascii_lowercase()));
        }
    }
    Some(None)
}

fn read_alpn(mut extension: Reader<'_>) -> Option<Vec<String>> {
    let mut list = Reader { rest: extension.long_vector()? };
    let mut names = Vec::new();
    while !list.rest.is_empty() {
        names.push(String::from_utf8_lossy(list.short_vector()?).into_owned());
    }
    Some(names)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes(*bytes.first_chunk::<2>()?))
    }

    /// A vector whose length is one byte.
    fn short_vector(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(*self.take(1)?.first()?);
        self.take(length)
    }

    /// A vector whose length is two bytes.
    fn long_vector(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.number()?);
        self.take(length)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = HELLO_BYTES_MAX;

    /// The first bytes that rustls sends for this name and these protocols.
    pub(in crate::connection) fn hello(name: &str, alpn: &[&str]) -> Vec<u8> {
        let mut tls = iako_identity::ClientTls::believing(iako_identity::Trust::Unverified);
        tls.alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let config = std::sync::Arc::clone(tls.build().unwrap().config());
        let name = rustls_pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(config, name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_real_hello_gives_its_name_and_protocols_once_it_is_whole() {
        let bytes = hello("Cart.Example.com", &["istio", "h2"]);
        for length in 0..bytes.len() {
            assert_eq!(inspect(&bytes[..length], MAX), ControlFlow::Continue(()), "{length}");
        }
        let expected = Hello {
            server_name: Some("cart.example.com".to_owned()),
            alpn: vec!["istio".to_owned(), "h2".to_owned()],
        };
        assert_eq!(inspect(&bytes, MAX), ControlFlow::Break(Verdict::Tls(expected)));
    }

    #[test]
    fn a_hello_split_over_records_is_put_together() {
        let bytes = hello("cart.example.com", &[]);
        let (first, second) = bytes[5..].split_at(100);
        let record = |body: &[u8]| {
            let length = u16::try_from(body.len()).unwrap().to_be_bytes();
            [&[22, 3, 1][..], &length, body].concat()
        };
        let split = [record(first), record(second)].concat();
        assert_eq!(inspect(&split, MAX), inspect(&bytes, MAX));
        assert_eq!(inspect(&split[..90], 80), ControlFlow::Break(Verdict::TooLarge));
    }

    #[test]
    fn other_protocols_are_told_apart_by_their_first_bytes() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x02", b"\x16\x03\x01\x00\x01\x02"] {
            assert_eq!(inspect(bytes, MAX), ControlFlow::Break(Verdict::NotTls), "{bytes:?}");
        }
        assert_eq!(inspect(b"", MAX), ControlFlow::Continue(()));
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), tls: bool) {
            if tls {
                bytes.splice(0..0, [22, 3, 1, 2, 0, 1, 0, 1, 0xfc]);
            }
            let _verdict = inspect(&bytes, MAX);
        }
    }
}
