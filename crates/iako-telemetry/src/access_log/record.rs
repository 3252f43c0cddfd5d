//! The facts of one finished exchange or connection, borrowed for as long as a line is rendered.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::further::{FurtherFacts, NothingFurther};
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
    /// Body of a response that this proxy made up itself.
    pub local_reply_body: Option<&'a str>,
    /// Name of the machine.
    pub hostname: Option<&'a str>,
    /// The client's side.
    pub downstream: DownstreamFacts<'a>,
    /// The upstream's side.
    pub upstream: UpstreamFacts<'a>,
    /// Why the line is written now.
    pub log_type: LogType,
    /// Where more is known, for formats that ask.
    pub further: &'a dyn FurtherFacts,
}

/// Why a line is written. Source: `envoy.data.accesslog.v3.AccessLogType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogType {
    /// Nobody said.
    #[default]
    NotSet,
    /// A TCP proxy has its connection to the server.
    TcpUpstreamConnected,
    /// A TCP connection goes on.
    TcpPeriodic,
    /// A TCP connection ended.
    TcpConnectionEnd,
    /// A request arrived.
    DownstreamStart,
    /// A request goes on.
    DownstreamPeriodic,
    /// A request ended.
    DownstreamEnd,
    /// A try has its connection.
    UpstreamPoolReady,
    /// A try goes on.
    UpstreamPeriodic,
    /// A try ended.
    UpstreamEnd,
    /// A tunnel was made for a client.
    TunnelEstablished,
    /// Datagrams have their tunnel.
    UdpTunnelConnected,
    /// A session of datagrams goes on.
    UdpPeriodic,
    /// A session of datagrams ended.
    UdpSessionEnd,
    /// A TCP proxy took a connection.
    TcpConnectionStart,
}

impl LogType {
    /// Its name in Envoy.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
            Self::DownstreamStart => "DownstreamStart",
            Self::DownstreamPeriodic => "DownstreamPeriodic",
            Self::DownstreamEnd => "DownstreamEnd",
            Self::UpstreamPoolReady => "UpstreamPoolReady",
            Self::UpstreamPeriodic => "UpstreamPeriodic",
            Self::UpstreamEnd => "UpstreamEnd",
            Self::TunnelEstablished => "DownstreamTunnelSuccessfullyEstablished",
            Self::UdpTunnelConnected => "UdpTunnelUpstreamConnected",
            Self::UdpPeriodic => "UdpPeriodic",
            Self::UdpSessionEnd => "UdpSessionEnd",
            Self::TcpConnectionStart => "TcpConnectionStart",
        }
    }

    /// Whether nothing follows of what the line is about.
    #[must_use]
    pub const fn is_last(self) -> bool {
        match self {
            Self::TcpUpstreamConnected
            | Self::TcpPeriodic
            | Self::TcpConnectionStart
            | Self::DownstreamStart
            | Self::DownstreamPeriodic
            | Self::UpstreamPoolReady
            | Self::UpstreamPeriodic
            | Self::TunnelEstablished
            | Self::UdpTunnelConnected
            | Self::UdpPeriodic => false,
            Self::NotSet
            | Self::TcpConnectionEnd
            | Self::DownstreamEnd
            | Self::UpstreamEnd
            | Self::UdpSessionEnd => true,
        }
    }

    /// Its number in Envoy.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::NotSet => 0,
            Self::TcpUpstreamConnected => 1,
            Self::TcpPeriodic => 2,
            Self::TcpConnectionEnd => 3,
            Self::DownstreamStart => 4,
            Self::DownstreamPeriodic => 5,
            Self::DownstreamEnd => 6,
            Self::UpstreamPoolReady => 7,
            Self::UpstreamPeriodic => 8,
            Self::UpstreamEnd => 9,
            Self::TunnelEstablished => 10,
            Self::UdpTunnelConnected => 11,
            Self::UdpPeriodic => 12,
            Self::UdpSessionEnd => 13,
            Self::TcpConnectionStart => 14,
        }
    }
}

/// What is known about the connection to the client.
#[derive(Clone, Copy, Debug, Default)]
pub struct DownstreamFacts<'a> {
    /// Address that the client connected to; behind a redirect, the original destination.
    pub local_address: Option<SocketAddr>,
    /// Address of this end of the connection.
    pub direct_local_address: Option<SocketAddr>,
    /// Address of the client, from trusted forwarding headers where there are such.
    pub remote_address: Option<SocketAddr>,
    /// Address of the other end of the connection.
    pub direct_remote_address: Option<SocketAddr>,
    /// Server name of the TLS hello.
    pub server_name: Option<&'a str>,
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
    /// The address that was connected to, once there is a connection.
    pub remote: Option<SocketAddr>,
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
            local_reply_body: None,
            hostname: None,
            downstream: DownstreamFacts::default(),
            upstream: UpstreamFacts::default(),
            log_type: LogType::NotSet,
            further: &NothingFurther,
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
