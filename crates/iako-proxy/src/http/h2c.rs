//! The change from HTTP/1.1 to HTTP/2 on a plain connection (RFC 7540 §3.2).
//!
//! Envoy takes HTTP/2 on plain connections by prior knowledge only; some clients ask first.

use iako_http::{BodyLength, Known, RequestHead, Version, list_members};
use iako_proxy_config::CodecType;

use super::connection::HttpConnection;
use super::grpc_web::Decoder;

/// The settings of a client whose request asks for HTTP/2 in a way that can be granted: on a plain
/// connection, without content, with exactly one well-formed `HTTP2-Settings` that `Connection`
/// nominates. Anybody else goes on in HTTP/1.1.
pub(super) fn settings(connection: &HttpConnection, head: &RequestHead) -> Option<Vec<u8>> {
    let codec = connection.last_service().manager.codec;
    let asks = head.upgrade().is_some_and(|protocols| {
        list_members(protocols).any(|member| member.eq_ignore_ascii_case(b"h2c"))
    });
    if !asks
        || codec == CodecType::Http1
        || connection.info.tls.is_some()
        || head.version() != Version::Http11
        || !matches!(head.length(), BodyLength::Empty | BodyLength::Exact(0))
        || !head.fields().has_token(Known::Connection, "http2-settings")
    {
        return None;
    }
    let mut sent = head.fields().values(Known::Http2Settings);
    let text = sent.next().filter(|_| sent.next().is_none())?;
    decode(text)
}

/// Reads base64url without padding (RFC 4648 §5).
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let plain = text.iter().map(|letter| match letter {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    });
    let mut plain: Vec<u8> = plain.collect();
    while !plain.len().is_multiple_of(4) {
        plain.push(b'=');
    }
    let mut decoder = Decoder::default();
    let bytes = decoder.decode(&plain).ok()?;
    decoder.is_whole().then(|| bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_base64url_without_padding() {
        // MAX_CONCURRENT_STREAMS 100 and INITIAL_WINDOW_SIZE 1 GiB - 1.
        let settings = [0, 3, 0, 0, 0, 100, 0, 4, 0x3f, 0xff, 0xff, 0xff];
        assert_eq!(decode(b"AAMAAABkAAQ_____").as_deref(), Some(&settings[..]));
        assert_eq!(decode(b"").as_deref(), Some(&[][..]));
        assert_eq!(decode(b"AAM").as_deref(), Some(&[0, 3][..]));
        for wrong in [&b"A"[..], b"AA M", b"AA*A"] {
            assert_eq!(decode(wrong), None);
        }
    }
}
