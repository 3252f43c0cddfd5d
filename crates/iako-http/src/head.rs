//! Heads of messages: bytes with an index, whichever protocol they came by.

mod fields;

pub use fields::{Fields, FieldsBuilder, list_members};

use crate::known::Known;
use crate::method::Method;
use crate::scan::Span;

/// The protocol a message came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

impl Version {
    /// The name as in access logs and `via`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// The scheme that the request target named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// The scheme of its text in any case.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.eq_ignore_ascii_case(b"http") {
            Some(Self::Http)
        } else if text.eq_ignore_ascii_case(b"https") {
            Some(Self::Https)
        } else {
            None
        }
    }

    /// The scheme's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// The form in which an HTTP/1.1 request named its target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`; HTTP/2 requests too.
    Origin,
    /// `http://authority/path`: what a client sends that knows it speaks to a proxy.
    Absolute,
    /// `host:port`, for CONNECT.
    Authority,
    /// `*`, for OPTIONS.
    Asterisk,
}

/// How much content follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// None.
    Empty,
    /// Exactly that many bytes; may be 0 when the peer said so.
    Exact(u64),
    /// Unknown until it ends; may carry trailers.
    Chunked,
    /// All bytes until the peer closes (HTTP/1 responses only).
    UntilClose,
    /// The connection is no longer HTTP after this head: opaque bytes both ways.
    Tunnel,
}

/// Whether the connection carries another message after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// It stays open.
    KeepAlive,
    /// It closes.
    Close,
}

/// The pseudo parts of a request that did not come as HTTP/1.1 text.
#[derive(Clone, Debug)]
pub struct RequestParts<'a> {
    /// The method.
    pub method: Method,
    /// `:scheme`.
    pub scheme: Option<Scheme>,
    /// `:authority`, else the value of `host`.
    pub authority: &'a [u8],
    /// `:path`; empty for CONNECT.
    pub path: &'a [u8],
    /// `:protocol` of an extended CONNECT (RFC 8441); else empty.
    pub protocol: &'a [u8],
    /// How much content follows.
    pub length: BodyLength,
}

/// Authority and path, one after the other, as text: found out once to be text, they are asked for
/// by every decision about a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct TargetText {
    text: Box<str>,
    authority_len: usize,
}

impl TargetText {
    /// What is no text becomes empty; parsers have refused it before.
    pub(crate) fn new(authority: &[u8], path: &[u8]) -> Self {
        let (Ok(authority), Ok(path)) = (std::str::from_utf8(authority), std::str::from_utf8(path))
        else {
            return Self::default();
        };
        let mut text = String::with_capacity(authority.len() + path.len());
        text.push_str(authority);
        text.push_str(path);
        Self { text: text.into_boxed_str(), authority_len: authority.len() }
    }

    fn authority(&self) -> &str {
        self.text.get(..self.authority_len).unwrap_or_default()
    }

    fn path(&self) -> &str {
        self.text.get(self.authority_len..).unwrap_or_default()
    }
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) form: TargetForm,
    pub(crate) target: TargetText,
    pub(crate) protocol: Span,
    pub(crate) length: BodyLength,
    pub(crate) persistence: Persistence,
    /// `Host` in the client's letters, where those are kept.
    pub(crate) host_name: Option<[u8; 4]>,
    pub(crate) fields: Fields,
}

impl RequestHead {
    /// A head made of an HTTP/2 stream's parts. `host` must not be among the fields.
    #[must_use]
    pub fn from_parts(parts: RequestParts<'_>, mut fields: FieldsBuilder) -> Self {
        let target = TargetText::new(parts.authority, parts.path);
        let protocol = fields.append(parts.protocol);
        let form = if parts.method == Method::Connect && parts.path.is_empty() {
            TargetForm::Authority
        } else {
            TargetForm::Origin
        };
        Self {
            method: parts.method,
            version: Version::Http2,
            scheme: parts.scheme,
            form,
            target,
            protocol,
            length: parts.length,
            persistence: Persistence::KeepAlive,
            host_name: None,
            fields: fields.build(),
        }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The protocol the request came by.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The scheme, when the target named one.
    #[must_use]
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The form of the target.
    #[must_use]
    pub fn form(&self) -> TargetForm {
        self.form
    }

    /// Host and port as the client named them; empty when an HTTP/1.0 request named none.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.target.authority()
    }

    /// Path and query; `*` for the asterisk form, empty for CONNECT.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// `:protocol` of an extended CONNECT, or the first `Upgrade` of an HTTP/1.1 request whose
    /// `Connection` says `upgrade`.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        if self.protocol.len > 0 {
            return Some(self.protocol.of(&self.fields.bytes));
        }
        // RFC 9110 §7.8: HTTP/1.0 knows no upgrades, and one without `Connection` is for nobody.
        let protocol = self.fields.get(Known::Upgrade).filter(|value| !value.is_empty())?;
        let is_asked =
            self.version == Version::Http11 && self.fields.has_token(Known::Connection, "upgrade");
        is_asked.then_some(protocol)
    }

    /// How much content follows.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.length
    }

    /// Whether the client wants to send another request on this connection.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// Whether the client waits for `100 Continue` before it sends content (RFC 9110 §10.1.1).
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.version != Version::Http10
            && self
                .fields
                .get(Known::Expect)
                .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// The fields. `host` is not among them: it is [`authority`](Self::authority).
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}

/// The head of a response.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) length: BodyLength,
    pub(crate) persistence: Persistence,
    pub(crate) fields: Fields,
}

impl ResponseHead {
    /// A head made of an HTTP/2 stream's parts, or of our own.
    #[must_use]
    pub fn new(status: u16, version: Version, length: BodyLength, fields: Fields) -> Self {
        Self { status, version, length, persistence: Persistence::KeepAlive, fields }
    }

    /// The status, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another head for the same request follows (1xx other than 101).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// The protocol the response came by.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// How much content follows, with the request's method taken into account.
    #[must_use]
    pub fn length(&self) -> BodyLength {
        self.length
    }

    /// Whether the connection can carry another request afterwards.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        self.persistence
    }

    /// The fields.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        &self.fields
    }
}
