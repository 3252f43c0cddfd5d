//! Where we refuse what others take: each by name, with what must be seen in a message for it.
//!
//! Every name stands in `docs/differences.md`. What a second reader accepts and we refuse for a reason
//! that is not here, or that the message does not show, is a mistake of ours.

/// A message as the second reader sees it.
#[derive(Debug)]
pub(crate) struct View<'a> {
    /// The protocol it came by.
    pub(crate) protocol: Protocol,
    /// The method.
    pub(crate) method: &'a [u8],
    /// The target of HTTP/1, or `:path`; `None` without `:path`.
    pub(crate) target: Option<&'a [u8]>,
    /// All fields; for HTTP/2 the pseudo-header fields too.
    pub(crate) fields: Vec<(&'a [u8], &'a [u8])>,
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// A difference that is meant.
#[derive(Debug)]
pub(crate) struct Difference {
    /// Its name in `docs/differences.md`.
    pub(crate) name: &'static str,
    /// Whether the message shows it.
    pub(crate) shows: fn(&View<'_>) -> bool,
}

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference { name: "form of the target", shows: odd_target },
    Difference { name: "missing path", shows: missing_path },
    Difference { name: "scheme of the target", shows: foreign_scheme },
    Difference { name: "missing or empty host", shows: |view| view.host_is_missing() },
    Difference {
        name: "malformed authority",
        shows: |view| view.authorities().any(is_odd_authority),
    },
    Difference { name: "repeated host", shows: |view| view.all("host").count() > 1 },
    Difference { name: "malformed content-length", shows: odd_length },
    Difference {
        name: "repeated content-length",
        shows: |view| view.all("content-length").count() > 1,
    },
    Difference { name: "both lengths", shows: both_lengths },
    Difference { name: "transfer coding", shows: odd_coding },
    Difference { name: "content of CONNECT", shows: connect_with_content },
    Difference { name: "nominated fields", shows: odd_nomination },
    Difference { name: "size of a head", shows: is_large },
    Difference { name: "quotation mark in a name", shows: quoted_name },
    Difference { name: "blanks around values", shows: blank_value },
    Difference { name: "malformed scheme or protocol", shows: odd_scheme },
];

impl<'a> View<'a> {
    /// All values of a field.
    pub(crate) fn all<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, '_, 'n> {
        self.fields
            .iter()
            .filter(move |(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    fn is_connect(&self) -> bool {
        self.method == b"CONNECT"
    }

    fn authorities(&self) -> impl Iterator<Item = &'a [u8]> + use<'a, '_> {
        let absolute = self.absolute().map(|(_, authority)| authority);
        let connect = (self.is_connect() && self.protocol != Protocol::Http2)
            .then_some(self.target)
            .flatten();
        self.all("host").chain(self.all(":authority")).chain(absolute).chain(connect)
    }

    /// Scheme and authority of a target in absolute form.
    fn absolute(&self) -> Option<(&'a [u8], &'a [u8])> {
        let target = self.target?;
        let colon = target.windows(3).position(|three| three == b"://")?;
        let (scheme, rest) = target.split_at_checked(colon)?;
        let rest = rest.get(3..)?;
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#'));
        Some((scheme, rest.get(..end.unwrap_or(rest.len()))?))
    }

    fn host_is_missing(&self) -> bool {
        let empty = |value: &[u8]| value.is_empty();
        match self.protocol {
            Protocol::Http10 => false,
            Protocol::Http11 => !self.all("host").any(|host| !empty(host)),
            Protocol::Http2 => {
                let named = self.all(":authority").any(|authority| !empty(authority));
                let host = !self.is_connect() && self.all("host").any(|host| !empty(host));
                !(named || host)
            }
        }
    }
}

fn odd_target(view: &View<'_>) -> bool {
    let Some(target) = view.target else { return false };
    if std::str::from_utf8(target).is_err() {
        return true;
    }
    let is_options = view.method == b"OPTIONS";
    match (view.protocol, target) {
        (_, [b'/', ..]) => view.is_connect() && view.protocol != Protocol::Http2,
        (_, b"*") => !is_options,
        (Protocol::Http2, _) => true,
        _ if view.is_connect() => !is_host_and_port(target),
        _ => view.absolute().is_none_or(|(_, authority)| authority.is_empty()),
    }
}

fn missing_path(view: &View<'_>) -> bool {
    view.protocol == Protocol::Http2 && view.target.is_none() && !view.is_connect()
}

fn is_host_and_port(target: &[u8]) -> bool {
    let Some(colon) = target.iter().rposition(|byte| *byte == b':') else { return false };
    let port = target.get(colon + 1..).and_then(|port| std::str::from_utf8(port).ok());
    let digits = port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    colon > 0 && digits && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

fn foreign_scheme(view: &View<'_>) -> bool {
    let known = |scheme: &[u8]| {
        scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
    };
    view.protocol != Protocol::Http2 && view.absolute().is_some_and(|(scheme, _)| !known(scheme))
}

fn is_odd_authority(text: &[u8]) -> bool {
    let usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    text.is_empty() || !text.iter().all(usual)
}

fn odd_length(view: &View<'_>) -> bool {
    view.all("content-length").any(|value| {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
        !digits || number.is_none()
    })
}

fn both_lengths(view: &View<'_>) -> bool {
    view.all("content-length").next().is_some() && view.all("transfer-encoding").next().is_some()
}

fn odd_coding(view: &View<'_>) -> bool {
    let mut codings = view.all("transfer-encoding");
    let Some(first) = codings.next() else { return false };
    codings.next().is_some()
        || !first.eq_ignore_ascii_case(b"chunked")
        || view.protocol == Protocol::Http10
        || view.is_connect()
}

fn connect_with_content(view: &View<'_>) -> bool {
    view.is_connect() && view.all("content-length").any(|value| value != b"0")
}

fn odd_nomination(view: &View<'_>) -> bool {
    let members = || {
        view.all("connection")
            .flat_map(|value| value.split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|member| !member.is_empty())
    };
    let is = |member: &[u8], names: &[&str]| {
        names.iter().any(|name| member.eq_ignore_ascii_case(name.as_bytes()))
    };
    let nominated = members().filter(|member| !is(member, &["close", "keep-alive", "upgrade"]));
    let refused = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
    nominated.count() > 10
        || members().any(|member| member.first() == Some(&b':') || is(member, &refused))
}

fn is_large(view: &View<'_>) -> bool {
    let bytes: usize = view.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    view.fields.len() > 100 || bytes + view.target.map_or(0, <[u8]>::len) > 60 * 1024
}

fn quoted_name(view: &View<'_>) -> bool {
    view.protocol == Protocol::Http2 && view.fields.iter().any(|(name, _)| name.contains(&b'"'))
}

fn blank_value(view: &View<'_>) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    view.protocol == Protocol::Http2
        && view.fields.iter().any(|(_, value)| blank(value.first()) || blank(value.last()))
}

fn odd_scheme(view: &View<'_>) -> bool {
    let scheme = |text: &[u8]| {
        text.first().is_some_and(u8::is_ascii_alphabetic)
            && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte))
    };
    let token = |text: &[u8]| {
        let usual = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !text.is_empty() && text.iter().all(usual)
    };
    view.all(":scheme").any(|text| !scheme(text)) || view.all(":protocol").any(|text| !token(text))
}
