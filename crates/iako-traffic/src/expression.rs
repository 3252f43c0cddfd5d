//! What expressions ask about a request before it is sent on, or about a connection.
//!
//! Source: Envoy "Attributes". What a proxy does not know when it asks rules is refused with the
//! configuration.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "each function knows a part of the attributes; any other is another's"
)]

use std::borrow::Cow;

use iako_cel::{Attribute, Expression, Facts, HeadersOf, MetadataOf, StateOf, Value};
use serde_json::{Map, Value as Json};

use crate::{ConnectionInfo, Metadata, RequestFacts};

/// A request, or a connection alone, as expressions see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    connection: &'a ConnectionInfo,
    request: Option<&'a RequestFacts<'a>>,
}

impl<'a> Asked<'a> {
    pub(crate) const fn of_connection(connection: &'a ConnectionInfo) -> Self {
        Self { connection, request: None }
    }

    pub(crate) const fn of_request(request: &'a RequestFacts<'a>) -> Self {
        Self { connection: request.connection, request: Some(request) }
    }

    /// Whether an expression is true of it.
    pub(crate) fn meets(&self, expression: &Expression) -> bool {
        expression.is_met(self)
    }

    fn left(&self) -> &'a Metadata {
        self.request.map_or(&self.connection.metadata, |facts| facts.metadata)
    }

    fn text(&self, name: &str) -> Option<Value<'a>> {
        let value = self.request?.head.value(name, 0)?;
        (!value.is_empty()).then(|| Value::Text(String::from_utf8_lossy(value)))
    }

    fn of_request_head(&self, attribute: Attribute) -> Option<Value<'a>> {
        let facts = self.request?;
        let head = &facts.head;
        match attribute {
            Attribute::RequestPath => self.text(":path"),
            Attribute::RequestUrlPath => {
                let path = head.path_and_query;
                Some(Value::text(path.split('?').next().unwrap_or(path)))
            }
            Attribute::RequestQuery => Some(Value::text(head.query())),
            Attribute::RequestHost => self.text(":authority"),
            Attribute::RequestScheme => self.text(":scheme"),
            Attribute::RequestMethod => self.text(":method"),
            Attribute::RequestReferer => self.text("referer"),
            Attribute::RequestUserAgent => self.text("user-agent"),
            Attribute::RequestId => self.text("x-request-id"),
            _ => None,
        }
    }

    fn of_certificates(&self, attribute: Attribute) -> Option<Value<'a>> {
        let tls = self.connection.tls.as_ref()?;
        let peer = tls.peer.as_ref();
        let first = |names: &'a [String]| names.first().map(|name| Value::text(name));
        match attribute {
            Attribute::SubjectPeer => {
                Some(Value::text(peer.map_or("", |peer| peer.subject.as_str())))
            }
            Attribute::UriSanLocal => first(&tls.local_uris),
            Attribute::UriSanPeer => first(&peer?.uris),
            Attribute::DnsSanPeer => first(&peer?.dns),
            Attribute::Sha256Peer => {
                peer.map(|peer| Value::text(&peer.sha256)).filter(|sha| *sha != Value::text(""))
            }
            _ => None,
        }
    }
}

impl Facts for Asked<'_> {
    fn attribute(&self, attribute: Attribute) -> Option<Value<'_>> {
        let connection = self.connection;
        let address = |address: std::net::SocketAddr| Some(Value::Text(address.to_string().into()));
        let port = |address: std::net::SocketAddr| Some(Value::Int(i64::from(address.port())));
        // Of a client that only a header tells, nobody knows the port.
        let source = || match self.request {
            Some(facts) if facts.client != connection.remote.ip() => (facts.client, 0).into(),
            Some(_) | None => connection.remote,
        };
        match attribute {
            Attribute::SourceAddress => address(source()),
            Attribute::SourcePort => port(source()),
            Attribute::DestinationAddress => address(connection.original_destination),
            Attribute::DestinationPort => port(connection.original_destination),
            Attribute::ConnectionMtls => Some(Value::Bool(connection.peer().is_some())),
            Attribute::ServerName => Some(Value::text(&connection.server_name)),
            other => self.of_request_head(other).or_else(|| self.of_certificates(other)),
        }
    }

    fn header(&self, of: HeadersOf, name: &str) -> Option<Cow<'_, str>> {
        let head = self.request.filter(|_| of == HeadersOf::Request)?.head;
        let mut values = (0..).map_while(|nth| head.value(name, nth)).map(String::from_utf8_lossy);
        let first = values.next().filter(|first| !name.starts_with(':') || !first.is_empty())?;
        Some(values.fold(first, |all, value| Cow::Owned(format!("{all},{value}"))))
    }

    fn headers(&self, of: HeadersOf) -> Vec<(String, String)> {
        let Some(facts) = self.request.filter(|_| of == HeadersOf::Request) else {
            return Vec::new();
        };
        let mut names: Vec<String> =
            [":authority", ":method", ":path", ":scheme"].map(str::to_owned).into();
        facts.head.headers.each(&mut |name, _| {
            if !names.iter().any(|own| own == name) {
                names.push(name.to_owned());
            }
        });
        let found = names.into_iter().filter_map(|name| {
            let value = self.header(of, &name)?.into_owned();
            Some((name, value))
        });
        found.collect()
    }

    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Json>>> {
        if of != MetadataOf::Dynamic {
            return None;
        }
        let own = self.left().all(namespace);
        own.or_else(|| self.connection.metadata.all(namespace)).map(Cow::Borrowed)
    }

    fn namespaces(&self, of: MetadataOf) -> Vec<String> {
        if of != MetadataOf::Dynamic {
            return Vec::new();
        }
        let mut names: Vec<String> = self.left().iter().map(|(name, _)| name.to_owned()).collect();
        let before = self.connection.metadata.iter().map(|(name, _)| name.to_owned());
        let before: Vec<String> = before.filter(|name| !names.contains(name)).collect();
        names.extend(before);
        names
    }

    fn state(&self, of: StateOf, key: &str) -> Option<Cow<'_, str>> {
        if of == StateOf::Upstream {
            return None;
        }
        let own = self.left().state(key);
        own.or_else(|| self.connection.metadata.state(key)).map(Cow::Borrowed)
    }
}
