//! How the proxy finds out by itself whether instances work.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use iako_types::Percent;

use crate::{HeaderName, HeaderValueOption, ProxyProtocolVersion, StringMatch};

/// A check that is made at every instance, again and again.
/// Source: `envoy.config.core.v3.HealthCheck`.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthCheck {
    /// Longest time for one check, connecting included.
    pub timeout: Duration,
    /// Times between checks.
    pub intervals: CheckIntervals,
    /// Failures in a row after which an instance takes no traffic. Answers of HTTP and gRPC that say
    /// "not healthy" count at once.
    pub unhealthy_threshold: NonZeroU32,
    /// Successes in a row after which it does again; the very first check decides alone.
    pub healthy_threshold: NonZeroU32,
    /// Whether a connection is kept for the next check. Envoy default: true.
    pub reuse_connection: bool,
    /// What is written down.
    pub events: HealthEvents,
    /// Application protocols that are offered on TLS in place of the transport's own; those when
    /// empty. Source: `tls_options.alpn_protocols`.
    pub alpn: Vec<String>,
    /// Metadata that chooses among the cluster's transports in place of the instance's own.
    /// Source: `transport_socket_match_criteria`.
    pub transport_criteria: Option<BTreeMap<String, String>>,
    /// What is asked.
    pub kind: HealthCheckKind,
}

/// Times between checks. All but the first two follow from others when absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckIntervals {
    /// Between checks of an instance that is well.
    pub interval: Duration,
    /// The first check waits by chance up to this. Envoy default: 0.
    pub initial_jitter: Duration,
    /// Every interval is longer by chance up to this. Envoy default: 0.
    pub jitter: Duration,
    /// And by up to this share of itself. Envoy default: 0.
    pub jitter_percent: Percent,
    /// While the cluster never had a connection. Envoy default: 60 s.
    pub no_traffic: Duration,
    /// The same, for instances that are well; `no_traffic` when absent.
    pub no_traffic_healthy: Option<Duration>,
    /// After a failure; `interval` when absent.
    pub unhealthy: Option<Duration>,
    /// After a failure that is not yet one too many; `unhealthy` when absent.
    pub unhealthy_edge: Option<Duration>,
    /// After a success that is not yet enough; `interval` when absent.
    pub healthy_edge: Option<Duration>,
}

impl CheckIntervals {
    /// This time between checks, the rest at Envoy's defaults.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval,
            initial_jitter: Duration::ZERO,
            jitter: Duration::ZERO,
            jitter_percent: Percent::ZERO,
            no_traffic: Duration::from_secs(60),
            no_traffic_healthy: None,
            unhealthy: None,
            unhealthy_edge: None,
            healthy_edge: None,
        }
    }
}

/// What is written down about checks, one JSON object a line.
/// Source: `event_log_path`, `event_logger`, `always_log_health_check_failures` and `…_success`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthEvents {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Whether every failure is written, not only the first check's. Envoy default: false.
    pub all_failures: bool,
    /// Whether every success is written. Envoy default: false.
    pub all_successes: bool,
}

/// What is asked. Source: `HealthCheck.health_checker`.
#[derive(Debug, Clone, PartialEq)]
pub enum HealthCheckKind {
    /// An HTTP request.
    Http(Box<HttpCheck>),
    /// A call of `grpc.health.v1.Health/Check`.
    Grpc(GrpcCheck),
    /// A TCP connection, and bytes on it.
    Tcp(TcpCheck),
}

/// Source: `HealthCheck.HttpHealthCheck`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpCheck {
    /// The method. Envoy default: GET.
    pub method: CheckMethod,
    /// The host; the cluster's name when empty. An instance may have its own.
    pub host: String,
    /// The path, with its query.
    pub path: String,
    /// The request's content; none when empty.
    pub send: Vec<u8>,
    /// Texts that the response's content must have, in this order.
    pub receive: Vec<Vec<u8>>,
    /// How much of the response's content is looked at. Envoy default: 1024; 0: all of it, which is
    /// bounded here at 1 MiB.
    pub response_bytes_max: u64,
    /// Headers to add or set.
    pub headers_add: Vec<HeaderValueOption>,
    /// Headers to leave out.
    pub headers_remove: Vec<HeaderName>,
    /// Statuses of an instance that is well. Envoy default: 200.
    pub expected: Vec<StatusRange>,
    /// Statuses of failures that have to be repeated until they count.
    pub retriable: Vec<StatusRange>,
    /// Whether HTTP/2 is spoken. Source: `codec_client_type`.
    pub http2: bool,
    /// What the response's `x-envoy-upstream-healthchecked-cluster` must be.
    pub service_name: Option<StringMatch>,
}

impl HttpCheck {
    /// A GET of this path, the rest at Envoy's defaults.
    #[must_use]
    pub fn of(path: impl Into<String>) -> Self {
        Self {
            method: CheckMethod::Get,
            host: String::new(),
            path: path.into(),
            send: Vec::new(),
            receive: Vec::new(),
            response_bytes_max: 1024,
            headers_add: Vec::new(),
            headers_remove: Vec::new(),
            expected: vec![StatusRange { first: 200, end: 201 }],
            retriable: Vec::new(),
            http2: false,
            service_name: None,
        }
    }
}

/// The method of a check. Source: `envoy.config.core.v3.RequestMethod`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are the methods of HTTP")]
pub enum CheckMethod {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Patch,
}

impl CheckMethod {
    /// As it is written in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
        }
    }
}

/// HTTP statuses from `first` to before `end`. Source: `envoy.type.v3.Int64Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// The first one.
    pub first: u16,
    /// The first one that does not belong; above `first`.
    pub end: u16,
}

impl StatusRange {
    /// Whether a status belongs.
    #[must_use]
    pub const fn contains(self, status: u16) -> bool {
        self.first <= status && status < self.end
    }
}

/// Source: `HealthCheck.GrpcHealthCheck`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcCheck {
    /// The service that is asked for; the server as a whole when empty.
    pub service: String,
    /// The authority; the cluster's name when empty. An instance may have its own.
    pub authority: String,
    /// Metadata to send.
    pub metadata: Vec<HeaderValueOption>,
}

/// Source: `HealthCheck.TcpHealthCheck`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpCheck {
    /// What is sent; nothing when empty.
    pub send: Vec<u8>,
    /// What must come back, in this order; a connection is enough when empty.
    pub receive: Vec<Vec<u8>>,
    /// The header of the PROXY protocol that goes ahead; none when absent.
    pub proxy_protocol: Option<ProxyProtocolVersion>,
}

/// Where and whether one instance is checked. Source: `Endpoint.HealthCheckConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointCheck {
    /// Where it is checked; where it listens when absent.
    pub address: Option<SocketAddr>,
    /// At which port; that of the address when absent.
    pub port: Option<u16>,
    /// The host of the request; that of the check when empty.
    pub hostname: String,
    /// Whether it is not checked, and takes traffic as if it were well.
    pub disabled: bool,
}
