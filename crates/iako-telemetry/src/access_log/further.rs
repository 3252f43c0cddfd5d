//! Facts that few formats ask for: found by whoever keeps them, only when a format asks.

use std::borrow::Cow;
use std::fmt;
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value as Json};

/// Which of the two connections of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client's.
    Downstream,
    /// The server's.
    Upstream,
}

/// Whose certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// That of the other end.
    Peer,
    /// The one that this proxy showed.
    Own,
}

/// What a certificate says. Lists are joined by commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFact {
    /// Alternative names that are addresses.
    Ips,
    /// Alternative names of DNS.
    Dns,
    /// Alternative names that are URIs.
    Uris,
    /// Alternative names that are mail addresses.
    Emails,
    /// Alternative names of other kinds.
    Others,
    /// The subject, in RFC 2253 form.
    Subject,
    /// The issuer, in RFC 2253 form.
    Issuer,
    /// The serial number, lower-case hexadecimal.
    Serial,
    /// SHA-256 of the certificate, lower-case hexadecimal.
    Sha256,
    /// SHA-1 of the certificate, lower-case hexadecimal.
    Sha1,
    /// Serial numbers of all certificates that were shown.
    ChainSerials,
    /// SHA-256 of all certificates that were shown.
    ChainSha256,
    /// SHA-1 of all certificates that were shown.
    ChainSha1,
    /// The serial number of its issuer's certificate.
    IssuerSerial,
    /// SHA-256 of its issuer's certificate.
    IssuerSha256,
    /// PEM, URL-encoded.
    Pem,
}

/// What was agreed on in a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFact {
    /// `TLSv1.3` or `TLSv1.2`.
    Version,
    /// The cipher suite by its OpenSSL name.
    Cipher,
    /// The group of the key agreement.
    Group,
    /// The id of the session, lower-case hexadecimal.
    SessionId,
    /// The server name that was sent.
    ServerName,
}

/// Facts that are texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFact {
    /// Of a certificate.
    Certificate(Side, Holder, CertificateFact),
    /// Of a handshake.
    Tls(Side, TlsFact),
    /// The endpoint, where it is no address of a socket: the path of a pipe, an internal listener.
    UpstreamHost,
    /// Addresses of all endpoints that were tried, by commas.
    HostsAttempted,
    /// The same without ports.
    HostIpsAttempted,
    /// Names of all endpoints that were tried, by commas.
    HostNamesAttempted,
    /// The same without ports.
    HostNamesAttemptedWithoutPort,
    /// Numbers of all connections that were tried, by commas.
    ConnectionIdsAttempted,
    /// The endpoint id of an internal address.
    EndpointId(Side),
    /// How the other end was seen to close.
    CloseType(Side),
    /// Why this proxy closed the connection to the server.
    UpstreamLocalCloseReason,
    /// The name of the filter chain.
    FilterChain,
    /// Fingerprint of the client's hello, JA3.
    Ja3,
    /// Fingerprint of the client's hello, JA4.
    Ja4,
    /// A name that nothing else has: 36 characters.
    UniqueId,
    /// The name of the stream: for HTTP the request id.
    StreamId,
    /// Number of the active span, 16 hexadecimal digits.
    SpanId,
    /// What filters flagged, by commas.
    CustomFlags,
    /// The name of the virtual host.
    VirtualHost,
    /// Where the endpoint is.
    Locality(Area),
    /// Who this proxy is.
    Node(NodeFact),
}

/// How large a part of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    /// The region.
    Region,
    /// The zone in it.
    Zone,
    /// The part of the zone.
    SubZone,
}

/// What a proxy says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeFact {
    /// Its name.
    Id,
    /// The cluster that it is a part of.
    Cluster,
    /// Where it is.
    Locality(Area),
}

/// Facts that are numbers; 0 where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFact {
    /// Bytes of names and values of the request's head.
    RequestHeaders,
    /// Bytes of names and values of the response's head.
    ResponseHeaders,
    /// Bytes of names and values of the response's trailers.
    ResponseTrailers,
    /// Number of the connection to the server.
    UpstreamConnection,
    /// How many endpoints the cluster has.
    Endpoints,
    /// The listener's direction, by Envoy's number: 0 without one, 1 inbound, 2 outbound.
    Direction,
    /// Bytes on a connection for this exchange.
    Wire(Side, Way),
    /// Bytes of heads on a connection for this exchange.
    Headers(Side, Way),
    /// The same before compression.
    PlainHeaders(Side, Way),
}

/// Towards this proxy or away from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// What it received.
    Received,
    /// What it sent.
    Sent,
}

/// Moments in the life of an exchange. Source: Envoy `COMMON_DURATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimePoint {
    /// The request begins to arrive, or the connection was accepted.
    DownstreamReceiveBegin,
    /// The whole request arrived.
    DownstreamReceiveEnd,
    /// A connection to the server is begun.
    ConnectBegin,
    /// The server accepted it.
    ConnectEnd,
    /// TLS with the server is ready.
    HandshakeEnd,
    /// The request begins to be sent.
    UpstreamSendBegin,
    /// The whole request was sent.
    UpstreamSendEnd,
    /// The response begins to arrive.
    UpstreamReceiveBegin,
    /// The response's content begins to arrive.
    UpstreamContentBegin,
    /// The whole response arrived.
    UpstreamReceiveEnd,
    /// The response begins to be sent.
    DownstreamSendBegin,
    /// The whole response was sent.
    DownstreamSendEnd,
    /// The client's connection was accepted.
    ConnectionBegin,
    /// The client's connection ended.
    ConnectionEnd,
    /// TLS with the client is ready.
    DownstreamHandshakeEnd,
    /// A server is wanted.
    TryBegin,
}

impl TimePoint {
    /// The point that `COMMON_DURATION` knows by this name. Others are kept by nobody here.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "DS_RX_BEG" => Self::DownstreamReceiveBegin,
            "DS_RX_END" => Self::DownstreamReceiveEnd,
            "US_CX_BEG" => Self::ConnectBegin,
            "US_CX_END" => Self::ConnectEnd,
            "US_HS_END" => Self::HandshakeEnd,
            "US_TX_BEG" => Self::UpstreamSendBegin,
            "US_TX_END" => Self::UpstreamSendEnd,
            "US_RX_BEG" => Self::UpstreamReceiveBegin,
            "US_RX_BODY_BEG" => Self::UpstreamContentBegin,
            "US_RX_END" => Self::UpstreamReceiveEnd,
            "DS_TX_BEG" => Self::DownstreamSendBegin,
            "DS_TX_END" => Self::DownstreamSendEnd,
            "DS_CX_BEG" => Self::ConnectionBegin,
            "DS_CX_END" => Self::ConnectionEnd,
            _ => return None,
        })
    }
}

/// The ends of a certificate's validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Valid from then on.
    Begin,
    /// Valid up to then.
    End,
}

/// Whose metadata. Source: Envoy `METADATA(TYPE:…)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataOf {
    /// What filters left.
    Dynamic,
    /// The cluster's.
    Cluster,
    /// The route's.
    Route,
    /// The endpoint's.
    Endpoint,
    /// The listener's.
    Listener,
    /// The filter chain's.
    FilterChain,
    /// The virtual host's.
    VirtualHost,
}

impl MetadataOf {
    /// The one that Envoy knows by this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "DYNAMIC" => Self::Dynamic,
            "CLUSTER" => Self::Cluster,
            "ROUTE" => Self::Route,
            "UPSTREAM_HOST" => Self::Endpoint,
            "LISTENER" => Self::Listener,
            "LISTENER_FILTER_CHAIN" => Self::FilterChain,
            "VIRTUAL_HOST" => Self::VirtualHost,
            _ => return None,
        })
    }
}

/// Where facts come from that few formats ask for. Everything is absent unless it is told.
pub trait FurtherFacts {
    /// A text; an empty one counts as absent.
    fn text(&self, fact: TextFact) -> Option<Cow<'_, str>> {
        let _: TextFact = fact;
        None
    }

    /// A number.
    fn number(&self, fact: NumberFact) -> u64 {
        let _: NumberFact = fact;
        0
    }

    /// When something happened.
    fn time_point(&self, point: TimePoint) -> Option<Instant> {
        let _: TimePoint = point;
        None
    }

    /// From when or up to when the peer's certificate is valid.
    fn validity(&self, side: Side, end: Validity) -> Option<SystemTime> {
        let _: (Side, Validity) = (side, end);
        None
    }

    /// Metadata under a namespace.
    fn metadata(&self, of: MetadataOf, namespace: &str) -> Option<Cow<'_, Map<String, Json>>> {
        let _: (MetadataOf, &str) = (of, namespace);
        None
    }

    /// The namespaces of somebody's metadata; none where there is nobody who could have any.
    fn namespaces(&self, of: MetadataOf) -> Option<Vec<String>> {
        let _: MetadataOf = of;
        None
    }

    /// What this proxy says of itself besides.
    fn node_metadata(&self) -> Option<&Map<String, Json>> {
        None
    }

    /// What filters left, by namespace.
    fn dynamic_metadata(&self) -> Vec<(String, Map<String, Json>)> {
        Vec::new()
    }

    /// An object of filters, as the text that it prints as.
    fn state(&self, side: Side, key: &str) -> Option<Cow<'_, str>> {
        let _: (Side, &str) = (side, key);
        None
    }
}

impl fmt::Debug for dyn FurtherFacts + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FurtherFacts")
    }
}

/// Nothing more is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingFurther;

impl FurtherFacts for NothingFurther {}
