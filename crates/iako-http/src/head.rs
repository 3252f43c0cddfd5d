//! Heads of messages: bytes with an index, whichever protocol they came by.

use bytes::{BufMut, Bytes, BytesMut};

use crate::field::{Field, NameRef};
use crate::known::{Known, KnownSet};
use crate::method::Method;
use crate::scan::{Entries, Entry, Span, narrow};

/// The fields of a head or of trailers, in the order in which they came.
///
/// All names and values are places in one shared buffer; nothing is copied out of it.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(crate) bytes: Bytes,
    /// The same bytes before names were lower-cased, where names keep their case.
    pub(crate) original: Option<Bytes>,
    pub(crate) present: KnownSet,
    pub(crate) entries: Entries,
}

impl Fields {
    /// The fields that travel on: hop-by-hop fields, those that `Connection` nominates and `te` other
    /// than `trailers` are left out (RFC 9110 §7.6.1).
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.entries.iter().filter(|entry| entry.forwarded).map(|entry| self.field(entry))
    }

    /// Every field of the message, those of the connection too.
    pub fn iter_all(&self) -> impl Iterator<Item = Field<'_>> + Clone {
        self.entries.iter().map(|entry| self.field(entry))
    }

    /// Every value of a name, in order.
    pub fn values<'a>(
        &'a self,
        name: impl Into<NameRef<'a>>,
    ) -> impl Iterator<Item = &'a [u8]> + Clone {
        let name = name.into();
        let entries: &[Entry] = if self.may_contain(name) { &self.entries } else { &[] };
        entries
            .iter()
            .filter(move |entry| self.has_name(entry, name))
            .map(|entry| entry.value_span().of(&self.bytes))
    }

    /// Like [`values`](Self::values), without fields that `Connection` nominates: they end here, so
    /// nobody may decide by them what the next hop will not see.
    pub(crate) fn lasting_values<'a, 'n>(
        &'a self,
        name: NameRef<'n>,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.entries_of(name)
            .iter()
            .filter(|entry| entry.forwarded || entry.known.is_some_and(Known::is_hop_by_hop))
            .filter(move |entry| self.has_name(entry, name))
            .map(|entry| entry.value_span().of(&self.bytes))
    }

    fn entries_of(&self, name: NameRef<'_>) -> &[Entry] {
        if self.may_contain(name) { &self.entries } else { &[] }
    }

    /// Like [`values`](Self::values), for a name that lives shorter than the fields.
    fn values_of<'a, 'n>(
        &'a self,
        name: NameRef<'n>,
    ) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.entries_of(name)
            .iter()
            .filter(move |entry| self.has_name(entry, name))
            .map(|entry| entry.value_span().of(&self.bytes))
    }

    /// The first value of a name.
    #[must_use]
    pub fn get<'n>(&self, name: impl Into<NameRef<'n>>) -> Option<&[u8]> {
        self.values_of(name.into()).next()
    }

    /// The first value of a name as text; `None` also when it is not UTF-8.
    #[must_use]
    pub fn text<'n>(&self, name: impl Into<NameRef<'n>>) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// The first value of a name, sharing the head's buffer.
    #[must_use]
    pub fn shared<'n>(&self, name: impl Into<NameRef<'n>>) -> Option<Bytes> {
        let name = name.into();
        let entry = self.entries.iter().find(|entry| self.has_name(entry, name))?;
        Some(self.bytes.slice(entry.value_span().range()))
    }

    /// A value that was read from these fields, sharing their buffer; `None` for any other bytes.
    #[must_use]
    pub fn share(&self, value: &[u8]) -> Option<Bytes> {
        let start = (value.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        let end = start.checked_add(value.len())?;
        (end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }

    /// Whether a field of that name is there.
    #[must_use]
    pub fn contains<'n>(&self, name: impl Into<NameRef<'n>>) -> bool {
        self.get(name).is_some()
    }

    /// Whether one of the comma-separated members of a field's values is `token`, in any case.
    #[must_use]
    pub fn has_token(&self, name: Known, token: &str) -> bool {
        self.values(name)
            .flat_map(list_members)
            .any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Number of fields.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn may_contain(&self, name: NameRef<'_>) -> bool {
        match name {
            NameRef::Known(known) => self.present.contains(known),
            NameRef::Other(_) => true,
        }
    }

    fn has_name(&self, entry: &Entry, name: NameRef<'_>) -> bool {
        match name {
            NameRef::Known(known) => entry.known == Some(known),
            NameRef::Other(other) => {
                entry.known.is_none() && entry.name_span().of(&self.bytes) == other
            }
        }
    }

    fn field(&self, entry: &Entry) -> Field<'_> {
        let name = entry.name_span().of(&self.bytes);
        Field {
            known: entry.known,
            name,
            original_name: self
                .original
                .as_deref()
                .map_or(name, |bytes| entry.name_span().of(bytes)),
            value: entry.value_span().of(&self.bytes),
        }
    }
}

/// Members of a comma-separated list, without blanks and without empty ones.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
}

/// Collects fields that did not come as HTTP/1.1 text: an HTTP/2 stream, a response of our own.
#[derive(Debug, Default)]
pub struct FieldsBuilder {
    buffer: BytesMut,
    present: KnownSet,
    entries: Entries,
}

impl FieldsBuilder {
    /// An empty collection with room for `bytes` bytes of names and values.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(bytes), ..Self::default() }
    }

    /// Adds a field. The name must be a lower-case token and the value without control characters,
    /// which an HTTP/2 decoder has already checked; fields of the connection are left out.
    pub fn push<'a>(&mut self, name: impl Into<NameRef<'a>>, value: &[u8]) {
        let (known, text) = match name.into() {
            NameRef::Known(known) => (Some(known), known.as_str().as_bytes()),
            NameRef::Other(text) => (None, text),
        };
        let Ok(name_len) = u16::try_from(text.len()) else { return };
        if known.is_some_and(Known::is_hop_by_hop) {
            return;
        }
        if let Some(known) = known {
            self.present.insert(known);
        }
        let name = self.append(text);
        let value = self.append(value);
        self.entries.push(Entry {
            name: name.start,
            value: value.start,
            value_len: value.len,
            name_len,
            known,
            forwarded: true,
        });
    }

    /// Ends the collection.
    #[must_use]
    pub fn build(self) -> Fields {
        Fields {
            bytes: self.buffer.freeze(),
            original: None,
            present: self.present,
            entries: self.entries,
        }
    }

    fn append(&mut self, text: &[u8]) -> Span {
        let start = self.buffer.len();
        self.buffer.put_slice(text);
        Span { start: narrow(start), len: narrow(text.len()) }
    }
}

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

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) method: Method,
    pub(crate) version: Version,
    pub(crate) scheme: Option<Scheme>,
    pub(crate) form: TargetForm,
    pub(crate) authority: Span,
    pub(crate) path: Span,
    pub(crate) protocol: Span,
    pub(crate) length: BodyLength,
    pub(crate) persistence: Persistence,
    pub(crate) fields: Fields,
}

impl RequestHead {
    /// A head made of an HTTP/2 stream's parts. `host` must not be among the fields.
    #[must_use]
    pub fn from_parts(parts: RequestParts<'_>, mut fields: FieldsBuilder) -> Self {
        let authority = fields.append(parts.authority);
        let path = fields.append(parts.path);
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
            authority,
            path,
            protocol,
            length: parts.length,
            persistence: Persistence::KeepAlive,
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
        std::str::from_utf8(self.authority.of(&self.fields.bytes)).unwrap_or_default()
    }

    /// The authority, sharing the head's buffer.
    #[must_use]
    pub fn authority_shared(&self) -> Bytes {
        self.fields.bytes.slice(self.authority.range())
    }

    /// Path and query; `*` for the asterisk form, empty for CONNECT.
    #[must_use]
    pub fn path(&self) -> &str {
        std::str::from_utf8(self.path.of(&self.fields.bytes)).unwrap_or_default()
    }

    /// Path and query, sharing the head's buffer.
    #[must_use]
    pub fn path_shared(&self) -> Bytes {
        self.fields.bytes.slice(self.path.range())
    }

    /// `:protocol` of an extended CONNECT, or the first `Upgrade` of an HTTP/1.1 request whose
    /// `Connection` says `upgrade`.
    #[must_use]
    pub fn upgrade(&self) -> Option<&[u8]> {
        if self.protocol.len > 0 {
            return Some(self.protocol.of(&self.fields.bytes));
        }
        if !self.fields.has_token(Known::Connection, "upgrade") {
            return None;
        }
        self.fields.get(Known::Upgrade).filter(|value| !value.is_empty())
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
