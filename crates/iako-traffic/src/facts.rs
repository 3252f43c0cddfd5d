//! What is known about a connection and a request when something is decided.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use serde_json::Value;

use crate::text::split_path;

/// What is known about a downstream connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionInfo {
    /// The address that the client meant to reach, before redirection; `local` without one.
    pub original_destination: SocketAddr,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// The other end of the connection, before PROXY protocol.
    pub direct_remote: SocketAddr,
    /// The client as PROXY protocol tells it; `direct_remote` without.
    pub remote: SocketAddr,
    /// `tls` or `raw_buffer`, as far as it was found out.
    pub transport_protocol: String,
    /// SNI, lower-cased; empty when none was sent.
    pub server_name: String,
    /// ALPN names that the client offered, or what the HTTP inspector found (`http/1.1`, `h2c`).
    pub application_protocols: Vec<String>,
    /// What TLS established; none on plain connections and before the handshake.
    pub tls: Option<TlsFacts>,
    /// Facts that listener filters left.
    pub metadata: Metadata,
    /// Values of the PROXY protocol header that the client's proxy sent and that go on to upstreams,
    /// in the header's order.
    pub proxy_tlvs: Arc<[ProxyTlv]>,
    /// From where connections to upstreams come for this client; from an address of the system's choice
    /// when absent.
    pub source: Option<SourceBinding>,
}

/// The address from which connections to upstreams come, which need not be one of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceBinding {
    /// The address; its port is chosen by the system where it is 0.
    pub address: SocketAddr,
    /// The mark of the packets.
    pub mark: Option<NonZeroU32>,
}

/// A type-length-value of a PROXY protocol header of version 2. Source: PROXY protocol §2.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyTlv {
    /// Its type.
    pub kind: u8,
    /// Its bytes.
    pub value: Vec<u8>,
}

impl ConnectionInfo {
    /// A plain connection between two addresses.
    #[must_use]
    pub fn plain(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            original_destination: local,
            local,
            direct_remote: remote,
            remote,
            transport_protocol: "raw_buffer".to_owned(),
            server_name: String::new(),
            application_protocols: Vec::new(),
            tls: None,
            metadata: Metadata::default(),
            proxy_tlvs: Arc::default(),
            source: None,
        }
    }

    /// The client's checked certificate, on mutual TLS only.
    #[must_use]
    pub fn peer(&self) -> Option<&PeerCertificate> {
        self.tls.as_ref().and_then(|tls| tls.peer.as_ref())
    }
}

/// Whether a client is on this machine: it has the address that it meant to reach, or a loopback one.
pub(crate) fn is_local(connection: &ConnectionInfo) -> bool {
    let remote = connection.remote.ip();
    remote == connection.original_destination.ip() || remote.is_loopback()
}

/// What a TLS handshake with a client established.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// The protocol that ALPN chose; empty when none.
    pub alpn: String,
    /// The client's certificate, when it showed one.
    pub peer: Option<PeerCertificate>,
    /// URIs of the certificate that we showed.
    pub local_uris: Vec<String>,
}

/// The certificate of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// URI names, such as SPIFFE IDs.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// The subject in RFC 2253 form; may be empty.
    pub subject: String,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    pub sha256: String,
    /// Whether the peer was let in though nobody vouches for it.
    pub untrusted: bool,
    /// The certificate as PEM; empty when it was not kept.
    pub pem: String,
    /// The whole chain as PEM; empty when it was not kept.
    pub chain_pem: String,
}

/// The headers of a message, wherever they are kept.
pub trait Headers {
    /// The `nth` value, from 0, of the header `name` (lower case, no pseudo-header).
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]>;

    /// Calls `visit` with each name, lower-cased, and value in order.
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8]));
}

/// Headers as a list of names and values; for tests, explanations and local replies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderList(Vec<(String, String)>);

impl HeaderList {
    /// Adds a value.
    pub fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_ascii_lowercase(), value.into()));
    }
}

impl<N: AsRef<str>, V: Into<String>> FromIterator<(N, V)> for HeaderList {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(headers: T) -> Self {
        let lower = |(name, value): (N, V)| (name.as_ref().to_ascii_lowercase(), value.into());
        Self(headers.into_iter().map(lower).collect())
    }
}

impl Headers for HeaderList {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        let mut values = self.0.iter().filter(|(own, _)| own == name);
        values.nth(nth).map(|(_, value)| value.as_bytes())
    }

    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        for (name, value) in &self.0 {
            visit(name, value.as_bytes());
        }
    }
}

/// The head of a request.
#[derive(Clone, Copy)]
pub struct RequestHead<'a> {
    /// In upper case as sent, such as `GET`.
    pub method: &'a str,
    /// `http` or `https`: what `x-forwarded-proto` says where it is trusted, else the connection.
    pub scheme: &'a str,
    /// The host, with its port if one was sent.
    pub authority: &'a str,
    /// The target; empty for CONNECT.
    pub path_and_query: &'a str,
    /// All fields but pseudo-headers and `host`.
    pub headers: &'a dyn Headers,
}

impl std::fmt::Debug for RequestHead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}://{}{}", self.method, self.scheme, self.authority, self.path_and_query)
    }
}

impl<'a> RequestHead<'a> {
    /// The path without query and fragment.
    #[must_use]
    pub fn path(&self) -> &'a str {
        split_path(self.path_and_query).0
    }

    /// The query without its question mark; empty without one.
    #[must_use]
    pub fn query(&self) -> &'a str {
        split_path(self.path_and_query).1
    }

    /// The `nth` value of a header or pseudo-header (`:method`, `:path`, `:authority`, `:scheme`;
    /// `host` stands for `:authority`).
    #[must_use]
    pub fn value(&self, name: &str, nth: usize) -> Option<&'a [u8]> {
        let single = match name {
            ":method" => self.method,
            ":path" if self.path_and_query.is_empty() => return None,
            ":path" => self.path_and_query,
            ":authority" | "host" => self.authority,
            ":scheme" => self.scheme,
            _ => return self.headers.value(name, nth),
        };
        (nth == 0).then_some(single.as_bytes())
    }

    /// The first value of a header as text, bad bytes replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.value(name, 0).map(crate::text::lossy)
    }

    /// Whether this is a gRPC request. Source: gRPC over HTTP/2, `content-type`.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.headers.value("content-type", 0).is_some_and(is_grpc_content_type)
    }
}

/// Whether a content type is gRPC's: `application/grpc`, alone or followed by `+` or `;`.
#[must_use]
pub fn is_grpc_content_type(value: &[u8]) -> bool {
    value
        .strip_prefix(b"application/grpc".as_slice())
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// Facts that filters left for later ones, by the filter's name, and objects that they keep by names
/// of their own (filter state). An empty one costs nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    facts: Vec<(String, serde_json::Map<String, Value>)>,
    states: Vec<(String, StateObject)>,
}

/// An object that a filter keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateObject {
    /// What it prints as.
    pub text: String,
    /// Whether it is an address, and may be compared as one.
    pub is_address: bool,
}

impl Metadata {
    /// Keeps `value` as `key` of `filter`, in place of an older one.
    pub fn set(&mut self, filter: &str, key: &str, value: Value) {
        if let Some((_, facts)) = self.facts.iter_mut().find(|(name, _)| name == filter) {
            facts.insert(key.to_owned(), value);
        } else {
            let facts = serde_json::Map::from_iter([(key.to_owned(), value)]);
            self.facts.push((filter.to_owned(), facts));
        }
    }

    /// What is left under a name.
    pub fn of(&mut self, filter: &str) -> Option<&mut serde_json::Map<String, Value>> {
        self.facts.iter_mut().find(|(name, _)| name == filter).map(|(_, facts)| facts)
    }

    /// Keeps facts under a name that nobody used.
    pub fn leave(&mut self, filter: &str, facts: serde_json::Map<String, Value>) {
        self.facts.push((filter.to_owned(), facts));
    }

    /// Keeps an object under `key`, in place of an older one, as the text that it prints as.
    pub fn set_state(&mut self, key: &str, value: String) {
        self.set_object(key, StateObject { text: value, is_address: false });
    }

    /// Keeps an object under `key`, in place of an older one.
    pub fn set_object(&mut self, key: &str, value: StateObject) {
        if let Some((_, kept)) = self.states.iter_mut().find(|(name, _)| name == key) {
            *kept = value;
        } else {
            self.states.push((key.to_owned(), value));
        }
    }

    /// The object that is kept under `key`.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<&StateObject> {
        self.states.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The object that is kept under `key`, as it prints.
    #[must_use]
    pub fn state(&self, key: &str) -> Option<&str> {
        self.object(key).map(|object| object.text.as_str())
    }

    /// The value under `path`, from the outside in, of what `filter` left.
    #[must_use]
    pub fn find(&self, filter: &str, path: &[String]) -> Option<&Value> {
        let (_, facts) = self.facts.iter().find(|(name, _)| name == filter)?;
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(facts.get(first)?, |value, key| value.get(key))
    }

    /// Everything that `filter` left.
    #[must_use]
    pub fn all(&self, filter: &str) -> Option<&serde_json::Map<String, Value>> {
        self.facts.iter().find(|(name, _)| name == filter).map(|(_, facts)| facts)
    }

    /// Whether no filter left anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// What each filter left, for logs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &serde_json::Map<String, Value>)> {
        self.facts.iter().map(|(name, facts)| (name.as_str(), facts))
    }
}

/// Everything that decisions about one request look at.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The request.
    pub head: RequestHead<'a>,
    /// The connection that it came on.
    pub connection: &'a ConnectionInfo,
    /// What filters left.
    pub metadata: &'a Metadata,
    /// The client, as far as `x-forwarded-for` is trusted; see [`crate::ClientAddress`].
    pub client: IpAddr,
    /// Whether the client counts as internal; see [`crate::ClientAddress`].
    pub internal: bool,
}

impl RequestFacts<'_> {
    /// Where the object `key` is kept: beside the connection, else beside the request.
    #[must_use]
    pub fn states(&self, key: &str) -> &Metadata {
        let of_connection = &self.connection.metadata;
        if of_connection.state(key).is_some() { of_connection } else { self.metadata }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_filters_are_found_from_the_outside_in() {
        let mut metadata = Metadata::default();
        metadata.set("jwt", "payload", serde_json::json!({"a": {"b": 1}}));
        let path = ["payload", "a", "b"].map(str::to_owned);
        assert_eq!(metadata.find("jwt", &path), Some(&Value::from(1)));
        assert_eq!(metadata.find("other", &path), None);
    }

    #[test]
    fn grpc_is_told_by_the_content_type() {
        assert!(is_grpc_content_type(b"application/grpc"));
        assert!(is_grpc_content_type(b"application/grpc+proto"));
        assert!(!is_grpc_content_type(b"application/grpc-web"));
    }
}
