//! Logs that go to a service.

use std::time::Duration;

use crate::{CustomTag, GrpcService};

/// A log that is streamed to a gRPC service.
/// Source: `envoy.extensions.access_loggers.grpc.v3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcLog {
    /// How entries are kept and sent.
    pub stream: LogStreamSettings,
    /// What an entry holds besides what every one does.
    pub fields: GrpcLogFields,
}

/// How entries are kept and sent. Logs with the same settings share a stream.
/// Source: `CommonGrpcAccessLogConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStreamSettings {
    /// What the service is told the log is called.
    pub name: String,
    /// What entries are about.
    pub kind: GrpcLogKind,
    /// The service.
    pub service: GrpcService,
    /// An entry waits at most this long for company. Envoy default: 1 s.
    pub flush_interval: Duration,
    /// Entries of so many bytes together are sent at once; 0 sends each alone. Envoy default: 16384.
    pub buffer_bytes: u32,
    /// How often a stream is begun anew at once. Source: `grpc_stream_retry_policy.num_retries`.
    pub retries: u32,
}

impl LogStreamSettings {
    /// Envoy's default of [`Self::flush_interval`].
    pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
    /// Envoy's default of [`Self::buffer_bytes`].
    pub const BUFFER_BYTES: u32 = 16_384;
}

/// What entries are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcLogKind {
    /// Requests. Source: `HttpGrpcAccessLogConfig`.
    Http,
    /// Connections. Source: `TcpGrpcAccessLogConfig`.
    Tcp,
}

/// What an entry holds besides what every one does. Names of headers are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcLogFields {
    /// Headers of the request.
    pub request_headers: Vec<String>,
    /// Headers of the response.
    pub response_headers: Vec<String>,
    /// Trailers of the response.
    pub response_trailers: Vec<String>,
    /// Objects that filters keep.
    pub states: Vec<String>,
    /// Tags. Source: `CommonGrpcAccessLogConfig.custom_tags`.
    pub tags: Vec<CustomTag>,
}
