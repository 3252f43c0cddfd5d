//! Entry points for fuzzers: what strangers say first on a connection. Any bytes in, no panic, and
//! what the first of them were taken for does not change when more come.
//!
//! The targets in `fuzz/` call these; an ordinary test calls them with every input that is kept there.

use std::{fmt::Debug, ops::ControlFlow};

use iako_proxy_config::ProxyProtocol;

use super::{client_hello, proxy_protocol};

/// Beginnings that are looked at by themselves.
const PREFIXES_MAX: usize = 512;

/// Reads the bytes as a header of the PROXY protocol, wanted or optional.
pub fn fuzz_proxy_header(input: &[u8]) {
    for optional in [false, true] {
        let settings = ProxyProtocol { optional, ..ProxyProtocol::default() };
        let verdict = steady(input, |bytes| proxy_protocol::read(bytes, &settings));
        if let ControlFlow::Break(proxy_protocol::Verdict::Header(header)) = verdict {
            debug_assert!(header.length <= input.len(), "a header is longer than what came");
        }
    }
}

/// Reads the bytes as the first message of a TLS client.
pub fn fuzz_client_hello(input: &[u8]) {
    let verdict =
        steady(input, |bytes| client_hello::inspect(bytes, client_hello::HELLO_BYTES_MAX));
    if let ControlFlow::Break(client_hello::Verdict::Tls(hello)) = verdict {
        let name = hello.server_name.unwrap_or_default();
        debug_assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "a name in capitals");
    }
}

/// What all of the bytes are taken for: as soon as a beginning is enough, the rest changes nothing.
fn steady<V: Debug + PartialEq>(
    input: &[u8],
    read: impl Fn(&[u8]) -> ControlFlow<V>,
) -> ControlFlow<V> {
    let whole = read(input);
    for end in 0..input.len().min(PREFIXES_MAX) {
        let part = read(input.get(..end).unwrap_or_default());
        debug_assert!(
            part.is_continue() || part == whole,
            "{end} bytes were {part:?}, all are {whole:?}"
        );
    }
    whole
}
