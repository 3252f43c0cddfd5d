//! How this crate looks at headers without knowing how a proxy stores them.

/// Headers (or trailers) of one message, looked up by lower-case name.
///
/// HTTP/1 and HTTP/2 keep heads differently; log formats and trace propagation only look names up.
pub trait HeaderLookup {
    /// The first value of `name`, or `None` when the header is absent.
    ///
    /// `name` is lower case. Request heads also answer `:method`, `:path`, `:authority` and
    /// `:scheme`, response heads `:status`.
    fn first_value(&self, name: &str) -> Option<&[u8]>;
}

/// No headers at all: connections that carry no HTTP, or a response that never came.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHeaders;

impl HeaderLookup for NoHeaders {
    fn first_value(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

impl HeaderLookup for [(&str, &str)] {
    fn first_value(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(present, _)| present.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_bytes())
    }
}

impl<const N: usize> HeaderLookup for [(&str, &str); N] {
    fn first_value(&self, name: &str) -> Option<&[u8]> {
        self.as_slice().first_value(name)
    }
}

/// A header's value as text when it is ASCII or UTF-8, trimmed of optional white space.
pub(crate) fn text<'a>(headers: &'a (impl HeaderLookup + ?Sized), name: &str) -> Option<&'a str> {
    headers.first_value(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
}
