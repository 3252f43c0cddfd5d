//! Whether a client speaks HTTP, from its first bytes.

use std::ops::ControlFlow;

/// Longest request line that is waited for.
pub(crate) const LINE_BYTES_MAX: usize = 8 * 1024;
/// Longest method that is known, with room for extensions such as WebDAV's.
const METHOD_BYTES_MAX: usize = 24;
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The application protocol that filter chains are matched against: `h2c`, `http/1.1`, `http/1.0`;
/// `None` when it is not HTTP. `Continue` asks for more bytes.
///
/// Source: `envoy.filters.listener.http_inspector`.
pub(super) fn inspect(bytes: &[u8]) -> ControlFlow<Option<&'static str>> {
    let common = bytes.len().min(PREFACE.len());
    if bytes.get(..common) == PREFACE.get(..common) {
        return if common == PREFACE.len() {
            ControlFlow::Break(Some("h2c"))
        } else {
            ControlFlow::Continue(())
        };
    }
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let method = bytes.iter().take_while(|byte| is_method(byte)).count();
    match bytes.get(method) {
        Some(b' ') if (1..=METHOD_BYTES_MAX).contains(&method) => {}
        None if method <= METHOD_BYTES_MAX => return ControlFlow::Continue(()),
        Some(_) | None => return ControlFlow::Break(None),
    }
    let window = bytes.get(..bytes.len().min(LINE_BYTES_MAX)).unwrap_or_default();
    match window.iter().position(|byte| *byte == b'\n') {
        Some(end) => {
            let line = window.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            ControlFlow::Break(if line.ends_with(b" HTTP/1.1") {
                Some("http/1.1")
            } else if line.ends_with(b" HTTP/1.0") {
                Some("http/1.0")
            } else {
                None
            })
        }
        None if bytes.len() >= LINE_BYTES_MAX => ControlFlow::Break(None),
        None => ControlFlow::Continue(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_named_once_its_first_line_is_whole() {
        type Case = (&'static [u8], ControlFlow<Option<&'static str>>);
        let cases: [Case; 8] = [
            (b"GET / HTTP/1.1\r\n", ControlFlow::Break(Some("http/1.1"))),
            (b"M-SEARCH * HTTP/1.0\n", ControlFlow::Break(Some("http/1.0"))),
            (b"GET / HT", ControlFlow::Continue(())),
            (b"PRI * HTTP/2.0\r\n\r\n", ControlFlow::Continue(())),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ControlFlow::Break(Some("h2c"))),
            (b"\x16\x03\x01", ControlFlow::Break(None)),
            (b"HELO mail\r\n", ControlFlow::Break(None)),
            (b"", ControlFlow::Continue(())),
        ];
        for (bytes, expected) in cases {
            assert_eq!(inspect(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(inspect(&[b'A'; 100]), ControlFlow::Break(None));
    }
}
