//! The facts of one finished exchange or connection, borrowed for as long as a line is rendered.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::flags::ResponseFlags;
use crate::headers::{HeaderLookup, NoHeaders};

/// What is known about an exchange when it ends. `None` is shown as `-` (text) or `null` (JSON).
#[derive(Clone, Copy)]
pub struct AccessRecord<'a> {
    /// When the first byte of the request arrived, or the connection was accepted.
    pub start_time: SystemTime,
    /// From the start to the last byte of the response sent to the client.
    pub duration: Option<Duration>,
    /// From the start to the last byte of the request received from the client.
    pub request_duration: Option<Duration>,
    /// From the start to the last byte of the request sent to the upstream.
    pub request_tx_duration: Option<Duration>,
    /// From the start to the first byte of the response received from the upstream.
    pub response_duration: Option<Duration>,
    /// From the first byte of the response from the upstream to the last byte sent to the client.
    pub response_tx_duration: Option<Duration>,
    /// Head of the request as it was forwarded, with `x-envoy-original-path` when rewritten.
    pub request_headers: &'a dyn HeaderLookup,
    /// Head of the response as it was sent to the client.
    pub response_headers: &'a dyn HeaderLookup,
    /// Trailers of the response.
    pub response_trailers: &'a dyn HeaderLookup,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2`.
    pub protocol: Option<&'a str>,
    /// Status sent to the client; `None` (shown as 0) when none was sent.
    pub response_code: Option<u16>,
    /// Why the status is what it is, such as `via_upstream` or `route_not_found`.
    pub response_code_details: Option<&'a str>,
    /// Why this proxy ended the connection.
    pub connection_termination_details: Option<&'a str>,
    /// Why the proxy interfered.
    pub flags: ResponseFlags,
    /// Body bytes from the client; for TCP, all bytes.
    pub bytes_received: u64,
    /// Body bytes to the client; for TCP, all bytes.
    pub bytes_sent: u64,
    /// Name of the route that matched.
    pub route_name: Option<&'a str>,
    /// Name of the virtual cluster that the request is of.
    pub virtual_cluster: Option<&'a str>,
    /// Trace id of the request, 32 hexadecimal digits.
    pub trace_id: Option<&'a str>,
    /// Number of the stream on its connection, for HTTP/2.
    pub stream_id: Option<u64>,
    /// Body of a response that this proxy made up itself.
    pub local_reply_body: Option<&'a str>,
    /// Name of the machine.
    pub hostname: Option<&'a str>,
    /// The client's side.
    pub downstream: DownstreamFacts<'a>,
    /// The upstream's side.
    pub upstream: UpstreamFacts<'a>,
}

/// What is known about the connection to the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct DownstreamFacts<'a> {
    /// Address that the client connected to; behind a redirect, the original destination.
    pub local_address: Option<SocketAddr>,
    /// Address of the client, from trusted forwarding headers where there are such.
    pub remote_address: Option<SocketAddr>,
    /// Address of the other end of the connection.
    pub direct_remote_address: Option<SocketAddr>,
    /// Server name of the TLS hello.
    pub server_name: Option<&'a str>,
    /// SPIFFE id, or other URI, of the client's certificate.
    pub peer_uri_san: Option<&'a str>,
    /// The same of this proxy's certificate.
    pub local_uri_san: Option<&'a str>,
    /// Subject of the client's certificate.
    pub peer_subject: Option<&'a str>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub tls_version: Option<&'a str>,
    /// Cipher suite by its OpenSSL name.
    pub tls_cipher: Option<&'a str>,
    /// Number of the connection in this process.
    pub connection_id: Option<u64>,
    /// Why TLS with the client failed.
    pub transport_failure_reason: Option<&'a str>,
    /// Why this proxy closed the connection, in a word.
    pub local_close_reason: Option<&'a str>,
}

/// What is known about the last attempt to reach the upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpstreamFacts<'a> {
    /// The endpoint that was picked.
    pub host: Option<SocketAddr>,
    /// Its name, when it was given by name.
    pub host_name: Option<&'a str>,
    /// The cluster.
    pub cluster: Option<&'a str>,
    /// The cluster's name for statistics, when it has another one there.
    pub cluster_alias: Option<&'a str>,
    /// This proxy's end of the connection.
    pub local_address: Option<SocketAddr>,
    /// Why TLS or the connection failed.
    pub transport_failure_reason: Option<&'a str>,
    /// Attempts made, the first included; 0 when none was made.
    pub attempts: u32,
    /// Protocol spoken to the upstream.
    pub protocol: Option<&'a str>,
    /// SPIFFE id, or other URI, of the upstream's certificate.
    pub peer_uri_san: Option<&'a str>,
    /// `TLSv1.3` or `TLSv1.2`.
    pub tls_version: Option<&'a str>,
}

impl AccessRecord<'_> {
    /// A record of which only the start is known.
    #[must_use]
    pub fn new(start_time: SystemTime) -> Self {
        Self {
            start_time,
            duration: None,
            request_duration: None,
            request_tx_duration: None,
            response_duration: None,
            response_tx_duration: None,
            request_headers: &NoHeaders,
            response_headers: &NoHeaders,
            response_trailers: &NoHeaders,
            protocol: None,
            response_code: None,
            response_code_details: None,
            connection_termination_details: None,
            flags: ResponseFlags::NONE,
            bytes_received: 0,
            bytes_sent: 0,
            route_name: None,
            virtual_cluster: None,
            trace_id: None,
            stream_id: None,
            local_reply_body: None,
            hostname: None,
            downstream: DownstreamFacts::default(),
            upstream: UpstreamFacts::default(),
        }
    }
}

impl fmt::Debug for AccessRecord<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers may hold secrets, so they are not shown.
        f.debug_struct("AccessRecord")
            .field("response_code", &self.response_code)
            .field("flags", &self.flags)
            .field("downstream", &self.downstream)
            .field("upstream", &self.upstream)
            .finish_non_exhaustive()
    }
}
