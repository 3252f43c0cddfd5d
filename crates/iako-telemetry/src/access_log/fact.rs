//! Operators without an argument, by name, and the fact that each stands for.

use super::further::{
    CertificateFact as Of, Holder, NumberFact, Side, TextFact, TimePoint, TlsFact, Way,
};
use super::operator::Value;
use super::record::AccessRecord;

macro_rules! facts {
    ($($name:literal $variant:ident |$record:pat_param| $value:expr;)*) => {
        /// An operator without an argument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Fact { $($variant,)* }

        impl Fact {
            /// The operator of this name, without its percent signs.
            pub(super) fn from_name(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            pub(super) fn value<'a>(self, record: &'a AccessRecord<'_>) -> Option<Value<'a>> {
                match self {
                    $(Self::$variant => { let $record = record; $value })*
                }
            }
        }
    };
}

fn peer<'a>(record: &'a AccessRecord<'_>, side: Side, fact: Of) -> Option<Value<'a>> {
    Value::told(record.further.text(TextFact::Certificate(side, Holder::Peer, fact)))
}

fn own<'a>(record: &'a AccessRecord<'_>, side: Side, fact: Of) -> Option<Value<'a>> {
    Value::told(record.further.text(TextFact::Certificate(side, Holder::Own, fact)))
}

fn tls<'a>(record: &'a AccessRecord<'_>, side: Side, fact: TlsFact) -> Option<Value<'a>> {
    Value::told(record.further.text(TextFact::Tls(side, fact)))
}

fn told<'a>(record: &'a AccessRecord<'_>, fact: TextFact) -> Option<Value<'a>> {
    Value::told(record.further.text(fact))
}

fn number<'a>(record: &AccessRecord<'_>, fact: NumberFact) -> Option<Value<'a>> {
    Some(Value::Number(record.further.number(fact)))
}

/// Milliseconds between two moments.
fn between<'a>(record: &AccessRecord<'_>, from: TimePoint, to: TimePoint) -> Option<Value<'a>> {
    let (from, to) = (record.further.time_point(from)?, record.further.time_point(to)?);
    Value::millis(Some(to.checked_duration_since(from)?))
}

/// A host without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            name.trim_start_matches('[').trim_end_matches(']')
        }
        Some(_) | None => host,
    }
}

use Side::{Downstream as Down, Upstream as Up};

facts! {
    "PROTOCOL" Protocol |r| Value::text(r.protocol);
    "RESPONSE_CODE" ResponseCode |r| Some(Value::Number(r.response_code.map_or(0, u64::from)));
    "RESPONSE_CODE_DETAILS" ResponseCodeDetails |r| Value::joined(r.response_code_details);
    "CONNECTION_TERMINATION_DETAILS" TerminationDetails
        |r| Value::text(r.connection_termination_details);
    "RESPONSE_FLAGS" Flags |r| Some(Value::Flags(r.flags));
    "RESPONSE_FLAGS_LONG" FlagsLong |r| Some(Value::LongFlags(r.flags));
    "CUSTOM_FLAGS" CustomFlags
        |r| Some(Value::Text(r.further.text(TextFact::CustomFlags).unwrap_or_default()));
    "BYTES_RECEIVED" BytesReceived |r| Some(Value::Number(r.bytes_received));
    "BYTES_SENT" BytesSent |r| Some(Value::Number(r.bytes_sent));
    "BYTES_RETRANSMITTED" BytesRetransmitted |_| Some(Value::Number(0));
    "PACKETS_RETRANSMITTED" PacketsRetransmitted |_| Some(Value::Number(0));
    "REQUEST_HEADERS_BYTES" RequestHeadersBytes |r| number(r, NumberFact::RequestHeaders);
    "RESPONSE_HEADERS_BYTES" ResponseHeadersBytes |r| number(r, NumberFact::ResponseHeaders);
    "RESPONSE_TRAILERS_BYTES" ResponseTrailersBytes |r| number(r, NumberFact::ResponseTrailers);
    "UPSTREAM_WIRE_BYTES_SENT" UpWireSent |r| number(r, NumberFact::Wire(Up, Way::Sent));
    "UPSTREAM_WIRE_BYTES_RECEIVED" UpWireReceived
        |r| number(r, NumberFact::Wire(Up, Way::Received));
    "UPSTREAM_HEADER_BYTES_SENT" UpHeaderSent |r| number(r, NumberFact::Headers(Up, Way::Sent));
    "UPSTREAM_HEADER_BYTES_RECEIVED" UpHeaderReceived
        |r| number(r, NumberFact::Headers(Up, Way::Received));
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" UpPlainSent
        |r| number(r, NumberFact::PlainHeaders(Up, Way::Sent));
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" UpPlainReceived
        |r| number(r, NumberFact::PlainHeaders(Up, Way::Received));
    "DOWNSTREAM_WIRE_BYTES_SENT" DownWireSent |r| number(r, NumberFact::Wire(Down, Way::Sent));
    "DOWNSTREAM_WIRE_BYTES_RECEIVED" DownWireReceived
        |r| number(r, NumberFact::Wire(Down, Way::Received));
    "DOWNSTREAM_HEADER_BYTES_SENT" DownHeaderSent
        |r| number(r, NumberFact::Headers(Down, Way::Sent));
    "DOWNSTREAM_HEADER_BYTES_RECEIVED" DownHeaderReceived
        |r| number(r, NumberFact::Headers(Down, Way::Received));
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT" DownPlainSent
        |r| number(r, NumberFact::PlainHeaders(Down, Way::Sent));
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED" DownPlainReceived
        |r| number(r, NumberFact::PlainHeaders(Down, Way::Received));
    "DURATION" Duration |r| Value::millis(r.duration);
    "REQUEST_DURATION" RequestDuration |r| Value::millis(r.request_duration);
    "REQUEST_TX_DURATION" RequestTxDuration |r| Value::millis(r.request_tx_duration);
    "RESPONSE_DURATION" ResponseDuration |r| Value::millis(r.response_duration);
    "RESPONSE_TX_DURATION" ResponseTxDuration |r| Value::millis(r.response_tx_duration);
    // The last acknowledgement of a client is known of QUIC only.
    "ROUNDTRIP_DURATION" RoundtripDuration |_| None;
    "DOWNSTREAM_HANDSHAKE_DURATION" HandshakeDuration
        |r| between(r, TimePoint::ConnectionBegin, TimePoint::DownstreamHandshakeEnd);
    "UPSTREAM_CONNECTION_POOL_READY_DURATION" PoolDuration
        |r| between(r, TimePoint::TryBegin, TimePoint::UpstreamSendBegin);
    "ROUTE_NAME" RouteName |r| Value::text(r.route_name);
    "VIRTUAL_CLUSTER_NAME" VirtualCluster |r| Value::text(r.virtual_cluster);
    "FILTER_CHAIN_NAME" FilterChain |r| told(r, TextFact::FilterChain);
    "ACCESS_LOG_TYPE" LogType |r| Value::text(Some(r.log_type.name()));
    "TRACE_ID" TraceId |r| Value::text(r.trace_id);
    "SPAN_ID" SpanId |r| told(r, TextFact::SpanId);
    "STREAM_ID" StreamId |r| told(r, TextFact::StreamId);
    "UNIQUE_ID" UniqueId |r| told(r, TextFact::UniqueId);
    "HOSTNAME" Hostname |r| Value::text(r.hostname);
    "LOCAL_REPLY_BODY" LocalReplyBody
        |r| Some(Value::Text(r.local_reply_body.unwrap_or_default().into()));
    "UPSTREAM_HOST" UpstreamHost
        |r| r.upstream.host.map(Value::Address).or_else(|| told(r, TextFact::UpstreamHost));
    "UPSTREAM_HOST_NAME" UpstreamHostName
        |r| Value::text(r.upstream.host_name)
            .or_else(|| r.upstream.host.map(Value::Address))
            .or_else(|| told(r, TextFact::UpstreamHost));
    "UPSTREAM_HOST_NAME_WITHOUT_PORT" UpstreamHostNameWithoutPort
        |r| Value::text(r.upstream.host_name.map(without_port))
            .or_else(|| Value::ip(r.upstream.host))
            .or_else(|| told(r, TextFact::UpstreamHost));
    "UPSTREAM_HOSTS_ATTEMPTED" HostsAttempted |r| told(r, TextFact::HostsAttempted);
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT" HostIpsAttempted
        |r| told(r, TextFact::HostIpsAttempted);
    "UPSTREAM_HOST_NAMES_ATTEMPTED" HostNamesAttempted |r| told(r, TextFact::HostNamesAttempted);
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT" HostNamesAttemptedWithoutPort
        |r| told(r, TextFact::HostNamesAttemptedWithoutPort);
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED" ConnectionIdsAttempted
        |r| told(r, TextFact::ConnectionIdsAttempted);
    "UPSTREAM_CONNECTION_ID" UpstreamConnection |r| number(r, NumberFact::UpstreamConnection);
    "UPSTREAM_REMOTE_ADDRESS" UpstreamRemote |r| r.upstream.remote.map(Value::Address);
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" UpstreamRemoteIp |r| Value::ip(r.upstream.remote);
    "UPSTREAM_REMOTE_PORT" UpstreamRemotePort |r| Value::port(r.upstream.remote);
    "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID" UpstreamEndpointId
        |r| r.upstream.remote.map(|_| Value::Text("".into()))
            .or_else(|| told(r, TextFact::EndpointId(Up)));
    "UPSTREAM_CLUSTER" UpstreamCluster
        |r| Value::text(r.upstream.cluster_alias.or(r.upstream.cluster));
    "UPSTREAM_CLUSTER_RAW" UpstreamClusterRaw |r| Value::text(r.upstream.cluster);
    "UPSTREAM_LOCAL_ADDRESS" UpstreamLocal |r| r.upstream.local_address.map(Value::Address);
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" UpstreamLocalIp
        |r| Value::ip(r.upstream.local_address);
    "UPSTREAM_LOCAL_PORT" UpstreamLocalPort |r| Value::port(r.upstream.local_address);
    "UPSTREAM_TRANSPORT_FAILURE_REASON" UpstreamFailure
        |r| Value::joined(r.upstream.transport_failure_reason);
    "UPSTREAM_DETECTED_CLOSE_TYPE" UpstreamCloseType |r| told(r, TextFact::CloseType(Up));
    "UPSTREAM_LOCAL_CLOSE_REASON" UpstreamLocalClose
        |r| told(r, TextFact::UpstreamLocalCloseReason);
    "UPSTREAM_REQUEST_ATTEMPT_COUNT" UpstreamAttempts
        |r| Some(Value::Number(u64::from(r.upstream.attempts)));
    "UPSTREAM_PROTOCOL" UpstreamProtocol |r| Value::text(r.upstream.protocol);
    "UPSTREAM_TLS_VERSION" UpstreamTls |r| tls(r, Up, TlsFact::Version);
    "UPSTREAM_TLS_CIPHER" UpstreamCipher |r| tls(r, Up, TlsFact::Cipher);
    "UPSTREAM_TLS_GROUP" UpstreamGroup |r| tls(r, Up, TlsFact::Group);
    "UPSTREAM_TLS_SESSION_ID" UpstreamSession |r| tls(r, Up, TlsFact::SessionId);
    "UPSTREAM_SERVER_NAME" UpstreamServerName |r| tls(r, Up, TlsFact::ServerName);
    "UPSTREAM_PEER_SUBJECT" UpPeerSubject |r| peer(r, Up, Of::Subject);
    "UPSTREAM_PEER_ISSUER" UpPeerIssuer |r| peer(r, Up, Of::Issuer);
    "UPSTREAM_PEER_CERT" UpPeerPem |r| peer(r, Up, Of::Pem);
    "UPSTREAM_PEER_URI_SAN" UpPeerUris |r| peer(r, Up, Of::Uris);
    "UPSTREAM_PEER_DNS_SAN" UpPeerDns |r| peer(r, Up, Of::Dns);
    "UPSTREAM_PEER_IP_SAN" UpPeerIps |r| peer(r, Up, Of::Ips);
    "UPSTREAM_LOCAL_URI_SAN" UpOwnUris |r| own(r, Up, Of::Uris);
    "UPSTREAM_LOCAL_DNS_SAN" UpOwnDns |r| own(r, Up, Of::Dns);
    "UPSTREAM_LOCAL_IP_SAN" UpOwnIps |r| own(r, Up, Of::Ips);
    "DOWNSTREAM_LOCAL_ADDRESS" DownstreamLocal |r| r.downstream.local_address.map(Value::Address);
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" DownstreamLocalIp
        |r| Value::ip(r.downstream.local_address);
    "DOWNSTREAM_LOCAL_PORT" DownstreamLocalPort |r| Value::port(r.downstream.local_address);
    "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID" DownstreamEndpointId
        |r| Some(Value::Text(r.further.text(TextFact::EndpointId(Down)).unwrap_or_default()));
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS" DownstreamDirectLocal
        |r| r.downstream.direct_local_address.map(Value::Address);
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT" DownstreamDirectLocalIp
        |r| Value::ip(r.downstream.direct_local_address);
    "DOWNSTREAM_DIRECT_LOCAL_PORT" DownstreamDirectLocalPort
        |r| Value::port(r.downstream.direct_local_address);
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID" DownstreamDirectEndpointId
        |r| Some(Value::Text(r.further.text(TextFact::EndpointId(Down)).unwrap_or_default()));
    "DOWNSTREAM_REMOTE_ADDRESS" DownstreamRemote |r| r.downstream.remote_address.map(Value::Address);
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" DownstreamRemoteIp
        |r| Value::ip(r.downstream.remote_address);
    "DOWNSTREAM_REMOTE_PORT" DownstreamRemotePort |r| Value::port(r.downstream.remote_address);
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS" DownstreamDirect
        |r| r.downstream.direct_remote_address.map(Value::Address);
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT" DownstreamDirectIp
        |r| Value::ip(r.downstream.direct_remote_address);
    "DOWNSTREAM_DIRECT_REMOTE_PORT" DownstreamDirectPort
        |r| Value::port(r.downstream.direct_remote_address);
    "DOWNSTREAM_LOCAL_IP_SAN" OwnIps |r| own(r, Down, Of::Ips);
    "DOWNSTREAM_LOCAL_DNS_SAN" OwnDns |r| own(r, Down, Of::Dns);
    "DOWNSTREAM_LOCAL_URI_SAN" OwnUris |r| own(r, Down, Of::Uris);
    "DOWNSTREAM_LOCAL_EMAIL_SAN" OwnEmails |r| own(r, Down, Of::Emails);
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN" OwnOthers |r| own(r, Down, Of::Others);
    "DOWNSTREAM_LOCAL_SUBJECT" OwnSubject |r| own(r, Down, Of::Subject);
    "DOWNSTREAM_PEER_IP_SAN" PeerIps |r| peer(r, Down, Of::Ips);
    "DOWNSTREAM_PEER_DNS_SAN" PeerDns |r| peer(r, Down, Of::Dns);
    "DOWNSTREAM_PEER_URI_SAN" PeerUris |r| peer(r, Down, Of::Uris);
    "DOWNSTREAM_PEER_EMAIL_SAN" PeerEmails |r| peer(r, Down, Of::Emails);
    "DOWNSTREAM_PEER_OTHERNAME_SAN" PeerOthers |r| peer(r, Down, Of::Others);
    "DOWNSTREAM_PEER_SUBJECT" PeerSubject |r| peer(r, Down, Of::Subject);
    "DOWNSTREAM_PEER_ISSUER" PeerIssuer |r| peer(r, Down, Of::Issuer);
    "DOWNSTREAM_PEER_SERIAL" PeerSerial |r| peer(r, Down, Of::Serial);
    "DOWNSTREAM_PEER_FINGERPRINT_256" PeerSha256 |r| peer(r, Down, Of::Sha256);
    "DOWNSTREAM_PEER_FINGERPRINT_1" PeerSha1 |r| peer(r, Down, Of::Sha1);
    "DOWNSTREAM_PEER_CHAIN_SERIALS" PeerChainSerials |r| peer(r, Down, Of::ChainSerials);
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256" PeerChainSha256 |r| peer(r, Down, Of::ChainSha256);
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1" PeerChainSha1 |r| peer(r, Down, Of::ChainSha1);
    "DOWNSTREAM_PEER_ISSUER_SERIAL" PeerIssuerSerial |r| peer(r, Down, Of::IssuerSerial);
    "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256" PeerIssuerSha256
        |r| peer(r, Down, Of::IssuerSha256);
    "DOWNSTREAM_PEER_CERT" PeerPem |r| peer(r, Down, Of::Pem);
    "DOWNSTREAM_TLS_VERSION" TlsVersion |r| tls(r, Down, TlsFact::Version);
    "DOWNSTREAM_TLS_CIPHER" TlsCipher |r| tls(r, Down, TlsFact::Cipher);
    "DOWNSTREAM_TLS_GROUP" TlsGroup |r| tls(r, Down, TlsFact::Group);
    "DOWNSTREAM_TLS_SESSION_ID" TlsSession |r| tls(r, Down, TlsFact::SessionId);
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON" DownstreamFailure
        |r| Value::joined(r.downstream.transport_failure_reason);
    "DOWNSTREAM_LOCAL_CLOSE_REASON" LocalCloseReason
        |r| Value::text(r.downstream.local_close_reason);
    "DOWNSTREAM_DETECTED_CLOSE_TYPE" DownstreamCloseType |r| told(r, TextFact::CloseType(Down));
    "TLS_JA3_FINGERPRINT" Ja3 |r| told(r, TextFact::Ja3);
    "TLS_JA4_FINGERPRINT" Ja4 |r| told(r, TextFact::Ja4);
    // Envoy shows what QUIC measured; TCP has nothing to show.
    "DOWNSTREAM_CX_RTT" DownstreamRtt |_| Some(Value::Number(0));
    "CONNECTION_ID" ConnectionId
        |r| Some(Value::Number(r.downstream.connection_id.unwrap_or_default()));
}

impl Fact {
    /// Whether it is about all tries of a request.
    pub(super) const fn is_of_tries(self) -> bool {
        matches!(
            self,
            Self::HostsAttempted
                | Self::HostIpsAttempted
                | Self::HostNamesAttempted
                | Self::HostNamesAttemptedWithoutPort
                | Self::ConnectionIdsAttempted
        )
    }

    /// Whether it is an address without a port, which may be shown as a network.
    pub(super) const fn is_plain_address(self) -> bool {
        matches!(
            self,
            Self::UpstreamRemoteIp
                | Self::UpstreamLocalIp
                | Self::DownstreamLocalIp
                | Self::DownstreamDirectLocalIp
                | Self::DownstreamRemoteIp
                | Self::DownstreamDirectIp
        )
    }
}
