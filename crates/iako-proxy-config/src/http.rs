//! How HTTP is taken from clients.

pub(crate) mod client;
pub(crate) mod local_reply;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use iako_types::{CidrRange, Percent};

use crate::{
    AccessLog, HeaderEdit, HttpFilter, HttpLogTimes, MatchTree, RequestIdTraces,
    RouteConfiguration, ScopedRoutes, SourcedName, Tracing,
};
use client::{ForwardClientCertRule, IpDetection, SchemeChange};
use local_reply::LocalReply;

/// What clients of a port speak. Source: `ForwardProtoConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedScheme {
    /// HTTP in clear.
    Http,
    /// HTTP in TLS, which somebody else ended.
    Https,
}

/// Settings of one HTTP listener.
///
/// Source: `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConnectionManager {
    /// Prefix of its statistics.
    pub stat_prefix: String,
    /// Which version is read.
    pub codec: CodecType,
    /// Where its routes come from.
    pub routes: RouteSource,
    /// In order; the router is last.
    pub filters: Vec<HttpFilter>,
    /// Value of the `server` header. Envoy default: `envoy`.
    pub server_name: String,
    /// When `server_name` is written.
    pub server_header: ServerHeader,
    /// Whether the connection's address, not `x-forwarded-for`, tells who the client is; the proxy
    /// is then at the edge and appends to that header. Envoy default: false.
    pub use_remote_address: bool,
    /// How many entries of `x-forwarded-for`, from the right, are trusted proxies. Envoy default: 0.
    pub xff_trusted_hops: u32,
    /// Whether `x-forwarded-for` is left as it is. Envoy default: false.
    pub skip_xff_append: bool,
    /// Addresses that count as internal. Envoy 1.40 default: none.
    pub internal_addresses: Vec<CidrRange>,
    /// Value added to `via`; none when empty.
    pub via: String,
    /// What becomes of `x-forwarded-client-cert`.
    pub forward_client_cert: ForwardClientCert,
    /// Which facts of the client's certificate are written into it.
    pub client_cert_details: ClientCertDetails,
    /// What becomes of it for some requests, in place of the two fields above.
    pub client_cert_rules: Option<Box<MatchTree<ForwardClientCertRule>>>,
    /// Ways to find out who the client is, in place of the fields about `x-forwarded-for`.
    pub ip_detection: Vec<IpDetection>,
    /// What is done to the headers of a request before anything else looks at them.
    /// Source: `early_header_mutation_extensions`.
    pub early_headers: Vec<HeaderEdit>,
    /// Whether requests without `user-agent` get the name of this proxy's service cluster as one.
    /// Envoy default: false.
    pub add_user_agent: bool,
    /// What the scheme of requests becomes.
    pub scheme: SchemeChange,
    /// Whether dot segments and percent-encoded unreserved characters are resolved. Envoy default:
    /// false; Istio: true.
    pub normalize_path: bool,
    /// Whether repeated slashes become one. Envoy default: false.
    pub merge_slashes: bool,
    /// What happens to `%2F` and `%5C` in paths.
    pub escaped_slashes: EscapedSlashes,
    /// What happens to the port in the host.
    pub strip_port: StripPort,
    /// Whether a dot at the end of the host goes. Envoy default: false.
    pub strip_trailing_dot: bool,
    /// Whether requests without `x-request-id` get one. Envoy default: true.
    pub generate_request_id: bool,
    /// Whether an outside client's `x-request-id` is kept. Envoy default: false.
    pub preserve_external_request_id: bool,
    /// Whether responses carry the request's id. Envoy default: false.
    pub request_id_in_response: bool,
    /// What the id has to do with traces. Source: `request_id_extension`.
    pub request_id_traces: RequestIdTraces,
    /// Longest silence of a stream; none when absent. Envoy default: 5 min; Istio: none.
    pub stream_idle_timeout: Option<Duration>,
    /// Longest time for a whole request to arrive; none when absent.
    pub request_timeout: Option<Duration>,
    /// Longest time for a request's head to arrive; none when absent.
    pub request_headers_timeout: Option<Duration>,
    /// A connection without requests is closed after this; never when absent. Envoy default: 1 h.
    pub idle_timeout: Option<Duration>,
    /// A connection is closed at this age; never when absent.
    pub connection_duration_max: Option<Duration>,
    /// By up to this share of that age, a connection may be older; drawn for each. Envoy default:
    /// none.
    pub connection_duration_jitter: Option<Percent>,
    /// A stream is ended at this age; never when absent.
    pub stream_duration_max: Option<Duration>,
    /// Requests a connection; without limit when absent.
    pub requests_per_connection_max: Option<NonZeroU32>,
    /// Time that a closing connection is still read from. Envoy default: 1 s.
    pub delayed_close_timeout: Duration,
    /// Time between telling a client to go and refusing its streams. Envoy default: 5 s.
    pub drain_timeout: Duration,
    /// Largest head of a request, in KiB, 1 to 8192. Envoy default: 60.
    pub request_head_kib_max: u32,
    /// Most headers of a request. Envoy default: 100.
    pub headers_max: u32,
    /// What happens to headers with an underscore.
    pub underscore_headers: UnderscoreHeaders,
    /// Settings of HTTP/1.
    pub http1: Http1Options,
    /// Settings of HTTP/2.
    pub http2: Http2Options,
    /// Upgrades that are passed on, such as `websocket`; others are refused with 403.
    pub upgrades: Vec<UpgradeConfig>,
    /// Whether `100 Continue` is asked of the upstream, not answered here. Envoy default: false.
    pub proxy_100_continue: bool,
    /// Whether `x-forwarded-port` is appended. Envoy default: false.
    pub append_x_forwarded_port: bool,
    /// What `x-forwarded-proto` says of connections that were passed on, by the port that the client
    /// meant to reach. Source: `forward_proto_config`.
    pub scheme_by_port: BTreeMap<u16, ForwardedScheme>,
    /// Logs of requests.
    pub access_log: Vec<AccessLog>,
    /// When lines are written besides the one at the end of a request.
    pub access_log_times: HttpLogTimes,
    /// Changes to answers of the proxy itself.
    pub local_reply: LocalReply,
    /// Whether and which requests are traced; trace headers pass untouched when absent.
    pub tracing: Option<Tracing>,
}

impl HttpConnectionManager {
    /// Settings with Envoy's defaults.
    #[must_use]
    pub fn new(stat_prefix: impl Into<String>, routes: RouteSource) -> Self {
        Self {
            stat_prefix: stat_prefix.into(),
            codec: CodecType::Auto,
            routes,
            filters: Vec::new(),
            server_name: "envoy".to_owned(),
            server_header: ServerHeader::Overwrite,
            use_remote_address: false,
            xff_trusted_hops: 0,
            skip_xff_append: false,
            internal_addresses: Vec::new(),
            via: String::new(),
            forward_client_cert: ForwardClientCert::Sanitize,
            client_cert_details: ClientCertDetails::default(),
            client_cert_rules: None,
            ip_detection: Vec::new(),
            early_headers: Vec::new(),
            add_user_agent: false,
            scheme: SchemeChange::Keep,
            normalize_path: false,
            merge_slashes: false,
            escaped_slashes: EscapedSlashes::Keep,
            strip_port: StripPort::Keep,
            strip_trailing_dot: false,
            generate_request_id: true,
            preserve_external_request_id: false,
            request_id_in_response: false,
            request_id_traces: RequestIdTraces::default(),
            stream_idle_timeout: Some(Duration::from_secs(300)),
            request_timeout: None,
            request_headers_timeout: None,
            idle_timeout: Some(Duration::from_secs(3600)),
            connection_duration_max: None,
            connection_duration_jitter: None,
            stream_duration_max: None,
            requests_per_connection_max: None,
            delayed_close_timeout: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(5),
            request_head_kib_max: 60,
            headers_max: 100,
            underscore_headers: UnderscoreHeaders::Allow,
            http1: Http1Options::default(),
            http2: Http2Options::default(),
            upgrades: Vec::new(),
            proxy_100_continue: false,
            append_x_forwarded_port: false,
            scheme_by_port: BTreeMap::new(),
            access_log: Vec::new(),
            access_log_times: HttpLogTimes::default(),
            local_reply: LocalReply::default(),
            tracing: None,
        }
    }
}

/// Which version of HTTP is read. Source: `HttpConnectionManager.CodecType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CodecType {
    /// What ALPN or the first bytes say.
    #[default]
    Auto,
    /// HTTP/1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Where routes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteSource {
    /// Sent under this name. Source: `Rds`.
    Rds(SourcedName),
    /// Written in the listener.
    Inline(Arc<RouteConfiguration>),
    /// One of several tables, by a key made of the request.
    Scoped(Arc<ScopedRoutes>),
}

/// When the `server` header is written.
/// Source: `HttpConnectionManager.ServerHeaderTransformation`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServerHeader {
    /// Always, over the upstream's.
    #[default]
    Overwrite,
    /// Only when the upstream sent none.
    AppendIfAbsent,
    /// Never; the upstream's stays.
    PassThrough,
}

/// What becomes of `x-forwarded-client-cert`.
/// Source: `HttpConnectionManager.ForwardClientCertDetails`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardClientCert {
    /// Removed.
    #[default]
    Sanitize,
    /// Kept when the connection is mutual TLS, else removed.
    ForwardOnly,
    /// Appended to when the connection is mutual TLS, else removed.
    AppendForward,
    /// Replaced when the connection is mutual TLS, else removed.
    SanitizeSet,
    /// Kept always.
    AlwaysForwardOnly,
}

/// Which facts of a certificate are written. `By` and `Hash` always are.
/// Source: `HttpConnectionManager.SetCurrentClientCertDetails`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCertDetails {
    /// The subject.
    pub subject: bool,
    /// The certificate, URL-encoded PEM.
    pub cert: bool,
    /// The chain, URL-encoded PEM.
    pub chain: bool,
    /// DNS names.
    pub dns: bool,
    /// URIs.
    pub uri: bool,
}

/// What happens to `%2F`, `%2f`, `%5C` and `%5c` in paths.
/// Source: `HttpConnectionManager.PathWithEscapedSlashesAction`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// They stay. Envoy default.
    #[default]
    Keep,
    /// The request is refused with 400.
    Reject,
    /// They become slashes and the client is sent there with 307.
    UnescapeAndRedirect,
    /// They become slashes.
    UnescapeAndForward,
}

/// What happens to the port in the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StripPort {
    /// It stays. Envoy default.
    #[default]
    Keep,
    /// It goes when it is the listener's. Source: `strip_matching_host_port`.
    Matching,
    /// It goes. Source: `strip_any_host_port`.
    Any,
}

/// What happens to headers with an underscore in their name.
/// Source: `HttpProtocolOptions.HeadersWithUnderscoresAction`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnderscoreHeaders {
    /// They pass. Envoy default.
    #[default]
    Allow,
    /// The request is refused with 400.
    Reject,
    /// They are removed.
    Drop,
}

/// Settings of HTTP/1. Source: `envoy.config.core.v3.Http1ProtocolOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http1Options {
    /// Whether HTTP/1.0 is answered. Envoy default: false, 426.
    pub accept_http_10: bool,
    /// Host for an HTTP/1.0 request without one; refused when empty.
    pub default_host_for_http_10: String,
    /// In which letters header names are written.
    pub name_case: HeaderCase,
    /// Whether trailers pass. Source: `enable_trailers`. Envoy default: false, they are dropped.
    pub trailers: bool,
}

/// In which letters header names are written.
/// Source: `envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderCase {
    /// Small ones. Envoy default.
    #[default]
    Lower,
    /// Those in which they came. Source: `PreserveCaseFormatterConfig`.
    Preserve,
    /// Capitals at the start of each word: `Content-Type`. Source: `proper_case_words`.
    ProperWords,
}

/// Settings of HTTP/2. Source: `envoy.config.core.v3.Http2ProtocolOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Options {
    /// Streams a connection at once. Envoy 1.40 default: 1024.
    pub concurrent_streams_max: u32,
    /// Bytes that a stream may be ahead, 65,535 to 2^31 - 1. Envoy 1.40 default: 16 MiB.
    pub stream_window_bytes: u32,
    /// Bytes that a connection may be ahead. Envoy 1.40 default: 24 MiB.
    pub connection_window_bytes: u32,
    /// Whether extended CONNECT is allowed (RFC 8441). Envoy default: false.
    pub allow_connect: bool,
    /// Time between probes of an idle connection; none when absent.
    pub keepalive_interval: Option<Duration>,
    /// Time to answer a probe.
    pub keepalive_timeout: Duration,
    /// Bytes of fields that a peer may have us remember. Source: `hpack_table_size`. Envoy default:
    /// 4096.
    pub header_table_bytes: u32,
    /// What an inattentive or hostile peer may cause before its connection is closed.
    pub floods: Http2Floods,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            concurrent_streams_max: 1024,
            stream_window_bytes: 16 << 20,
            connection_window_bytes: 24 << 20,
            allow_connect: false,
            keepalive_interval: None,
            keepalive_timeout: Duration::from_secs(20),
            header_table_bytes: 4096,
            floods: Http2Floods::default(),
        }
    }
}

/// Bounds on what costs us more than the peer that sends it. Source:
/// `envoy.config.core.v3.Http2ProtocolOptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Floods {
    /// Frames of any kind that wait for a peer that does not read. Source: `max_outbound_frames`.
    /// Envoy default: 10,000.
    pub outbound_frames_max: u32,
    /// PING, SETTINGS and RST_STREAM frames among them. Source: `max_outbound_control_frames`. Envoy
    /// default: 1,000.
    pub outbound_control_frames_max: u32,
    /// Frames in a row that hold nothing and end nothing. Source:
    /// `max_consecutive_inbound_frames_with_empty_payload`. Envoy default: 1.
    pub empty_frames_max: u32,
    /// PRIORITY frames for each stream. Source: `max_inbound_priority_frames_per_stream`. Envoy
    /// default: 100.
    pub priority_frames_max: u32,
    /// WINDOW_UPDATE frames for each DATA frame that was sent. Source:
    /// `max_inbound_window_update_frames_per_data_frame_sent`. Envoy default: 10.
    pub window_updates_max: u32,
}

impl Default for Http2Floods {
    fn default() -> Self {
        Self {
            outbound_frames_max: 10_000,
            outbound_control_frames_max: 1_000,
            empty_frames_max: 1,
            priority_frames_max: 100,
            window_updates_max: 10,
        }
    }
}

/// An upgrade that is passed on or refused. Source: `HttpConnectionManager.UpgradeConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeConfig {
    /// Value of the `upgrade` header, lower-cased, such as `websocket`; or `connect`.
    pub protocol: String,
    /// Whether it is passed on. Envoy default: true.
    pub enabled: bool,
}
