//! The command operators of Envoy's formats: their names, and the fact that each stands for.
//!
//! Source: Envoy "access log usage", command operators.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::record::AccessRecord;
use super::time::TimeFormat;
use crate::flags::ResponseFlags;
use crate::headers::HeaderLookup;

/// One operator of a format, compiled.
#[derive(Clone, Debug)]
pub(super) enum Operator {
    Fact(Fact),
    StartTime(TimeFormat),
    /// `%REQ(A?B)%`: the first header, else the second.
    Request(HeaderNames),
    /// `%REQ_WITHOUT_QUERY(A?B)%`.
    RequestWithoutQuery(HeaderNames),
    Response(HeaderNames),
    Trailer(HeaderNames),
    GrpcStatus(GrpcForm),
}

/// A header and the one to use when it is absent, lower case.
#[derive(Clone, Debug)]
pub(super) struct HeaderNames {
    pub(super) first: String,
    pub(super) otherwise: Option<String>,
}

impl HeaderNames {
    fn find<'a>(&self, headers: &'a dyn HeaderLookup) -> Option<&'a [u8]> {
        let first = headers.first_value(&self.first);
        first.or_else(|| headers.first_value(self.otherwise.as_deref()?))
    }
}

/// How a gRPC status is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GrpcForm {
    Camel,
    Snake,
    Number,
}

/// What an operator found; nothing at all is `None`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// From the wire: any byte may be in it.
    Bytes(&'a [u8]),
    Text(&'a str),
    Number(u64),
    Address(SocketAddr),
    Ip(IpAddr),
    Flags(ResponseFlags),
    LongFlags(ResponseFlags),
    Time(SystemTime, &'a TimeFormat),
}

impl<'a> Value<'a> {
    fn text(text: Option<&'a str>) -> Option<Self> {
        text.filter(|text| !text.is_empty()).map(Self::Text)
    }

    fn millis(duration: Option<Duration>) -> Option<Self> {
        duration.map(|d| Self::Number(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    fn ip(address: Option<SocketAddr>) -> Option<Self> {
        address.map(|address| Self::Ip(address.ip()))
    }

    fn port(address: Option<SocketAddr>) -> Option<Self> {
        address.map(|address| Self::Number(u64::from(address.port())))
    }
}

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

            fn value<'a>(self, record: &'a AccessRecord<'_>) -> Option<Value<'a>> {
                match self {
                    $(Self::$variant => { let $record = record; $value })*
                }
            }
        }
    };
}

facts! {
    "PROTOCOL" Protocol |r| Value::text(r.protocol);
    "RESPONSE_CODE" ResponseCode |r| Some(Value::Number(r.response_code.map_or(0, u64::from)));
    "RESPONSE_CODE_DETAILS" ResponseCodeDetails |r| Value::text(r.response_code_details);
    "CONNECTION_TERMINATION_DETAILS" TerminationDetails
        |r| Value::text(r.connection_termination_details);
    "RESPONSE_FLAGS" Flags |r| Some(Value::Flags(r.flags));
    "RESPONSE_FLAGS_LONG" FlagsLong |r| Some(Value::LongFlags(r.flags));
    "BYTES_RECEIVED" BytesReceived |r| Some(Value::Number(r.bytes_received));
    "BYTES_SENT" BytesSent |r| Some(Value::Number(r.bytes_sent));
    "DURATION" Duration |r| Value::millis(r.duration);
    "REQUEST_DURATION" RequestDuration |r| Value::millis(r.request_duration);
    "REQUEST_TX_DURATION" RequestTxDuration |r| Value::millis(r.request_tx_duration);
    "RESPONSE_DURATION" ResponseDuration |r| Value::millis(r.response_duration);
    "RESPONSE_TX_DURATION" ResponseTxDuration |r| Value::millis(r.response_tx_duration);
    "ROUTE_NAME" RouteName |r| Value::text(r.route_name);
    "VIRTUAL_CLUSTER_NAME" VirtualCluster |r| Value::text(r.virtual_cluster);
    "TRACE_ID" TraceId |r| Value::text(r.trace_id);
    "STREAM_ID" StreamId |r| r.stream_id.map(Value::Number);
    "HOSTNAME" Hostname |r| Value::text(r.hostname);
    "LOCAL_REPLY_BODY" LocalReplyBody |r| r.local_reply_body.map(Value::Text);
    "UPSTREAM_HOST" UpstreamHost |r| r.upstream.host.map(Value::Address);
    "UPSTREAM_HOST_NAME" UpstreamHostName
        |r| r.upstream.host_name.map(Value::Text).or_else(|| r.upstream.host.map(Value::Address));
    "UPSTREAM_REMOTE_ADDRESS" UpstreamRemote |r| r.upstream.host.map(Value::Address);
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" UpstreamRemoteIp |r| Value::ip(r.upstream.host);
    "UPSTREAM_REMOTE_PORT" UpstreamRemotePort |r| Value::port(r.upstream.host);
    "UPSTREAM_CLUSTER" UpstreamCluster
        |r| Value::text(r.upstream.cluster_alias.or(r.upstream.cluster));
    "UPSTREAM_CLUSTER_RAW" UpstreamClusterRaw |r| Value::text(r.upstream.cluster);
    "UPSTREAM_LOCAL_ADDRESS" UpstreamLocal |r| r.upstream.local_address.map(Value::Address);
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" UpstreamLocalIp
        |r| Value::ip(r.upstream.local_address);
    "UPSTREAM_LOCAL_PORT" UpstreamLocalPort |r| Value::port(r.upstream.local_address);
    "UPSTREAM_TRANSPORT_FAILURE_REASON" UpstreamFailure
        |r| Value::text(r.upstream.transport_failure_reason);
    "UPSTREAM_REQUEST_ATTEMPT_COUNT" UpstreamAttempts
        |r| Some(Value::Number(u64::from(r.upstream.attempts)));
    "UPSTREAM_PROTOCOL" UpstreamProtocol |r| Value::text(r.upstream.protocol);
    "UPSTREAM_PEER_URI_SAN" UpstreamPeerUri |r| Value::text(r.upstream.peer_uri_san);
    "UPSTREAM_TLS_VERSION" UpstreamTls |r| Value::text(r.upstream.tls_version);
    "DOWNSTREAM_LOCAL_ADDRESS" DownstreamLocal |r| r.downstream.local_address.map(Value::Address);
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT" DownstreamLocalIp
        |r| Value::ip(r.downstream.local_address);
    "DOWNSTREAM_LOCAL_PORT" DownstreamLocalPort |r| Value::port(r.downstream.local_address);
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
    "REQUESTED_SERVER_NAME" ServerName |r| Value::text(r.downstream.server_name);
    "DOWNSTREAM_PEER_URI_SAN" PeerUri |r| Value::text(r.downstream.peer_uri_san);
    "DOWNSTREAM_LOCAL_URI_SAN" LocalUri |r| Value::text(r.downstream.local_uri_san);
    "DOWNSTREAM_PEER_SUBJECT" PeerSubject |r| Value::text(r.downstream.peer_subject);
    "DOWNSTREAM_TLS_VERSION" TlsVersion |r| Value::text(r.downstream.tls_version);
    "DOWNSTREAM_TLS_CIPHER" TlsCipher |r| Value::text(r.downstream.tls_cipher);
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON" DownstreamFailure
        |r| Value::text(r.downstream.transport_failure_reason);
    "DOWNSTREAM_LOCAL_CLOSE_REASON" LocalCloseReason
        |r| Value::text(r.downstream.local_close_reason);
    "CONNECTION_ID" ConnectionId |r| r.downstream.connection_id.map(Value::Number);
}

impl Operator {
    pub(super) fn value<'a>(&'a self, record: &'a AccessRecord<'_>) -> Option<Value<'a>> {
        match self {
            Self::Fact(fact) => fact.value(record),
            Self::StartTime(format) => Some(Value::Time(record.start_time, format)),
            Self::Request(names) => names.find(record.request_headers).map(Value::Bytes),
            Self::RequestWithoutQuery(names) => {
                let path = names.find(record.request_headers)?;
                path.split(|byte| *byte == b'?').next().map(Value::Bytes)
            }
            Self::Response(names) => names.find(record.response_headers).map(Value::Bytes),
            Self::Trailer(names) => names.find(record.response_trailers).map(Value::Bytes),
            Self::GrpcStatus(form) => grpc_status(record, *form),
        }
    }
}

const GRPC_NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// The status in the trailers, or in the head of a response that has no trailers.
fn grpc_status<'a>(record: &'a AccessRecord<'_>, form: GrpcForm) -> Option<Value<'a>> {
    let in_trailers = record.response_trailers.first_value("grpc-status");
    let bytes = in_trailers.or_else(|| record.response_headers.first_value("grpc-status"))?;
    let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(number) = number else { return Some(Value::Bytes(bytes)) };
    let names = usize::try_from(number).ok().and_then(|index| GRPC_NAMES.get(index));
    Some(match (form, names) {
        (GrpcForm::Camel, Some((camel, _))) => Value::Text(camel),
        (GrpcForm::Snake, Some((_, snake))) => Value::Text(snake),
        (GrpcForm::Number, _) | (_, None) => Value::Number(number),
    })
}
