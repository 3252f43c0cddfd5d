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

    /// The `nth` value of `name`, from 0.
    fn nth_value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        if nth == 0 { self.first_value(name) } else { None }
    }

    /// Calls `visit` with every name, lower case and no pseudo-header, and its value, in order.
    fn each_value(&self, _visit: &mut dyn FnMut(&str, &[u8])) {}
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

    fn nth_value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        let mut named = self.iter().filter(|(present, _)| present.eq_ignore_ascii_case(name));
        named.nth(nth).map(|(_, value)| value.as_bytes())
    }

    fn each_value(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in self.iter().filter(|(name, _)| !name.starts_with(':')) {
            visit(&name.to_ascii_lowercase(), value.as_bytes());
        }
    }
}

impl<const N: usize> HeaderLookup for [(&str, &str); N] {
    fn first_value(&self, name: &str) -> Option<&[u8]> {
        self.as_slice().first_value(name)
    }

    fn nth_value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        self.as_slice().nth_value(name, nth)
    }

    fn each_value(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.as_slice().each_value(visit);
    }
}

/// A header's value as text when it is ASCII or UTF-8, trimmed of optional white space.
pub(crate) fn text<'a>(headers: &'a (impl HeaderLookup + ?Sized), name: &str) -> Option<&'a str> {
    headers.first_value(name).and_then(|value| std::str::from_utf8(value).ok()).map(str::trim)
}
