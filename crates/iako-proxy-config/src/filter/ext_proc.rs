//! A service sees and changes requests and responses.

use std::time::Duration;

use crate::{GrpcService, HeaderMutationRules, HeaderName, StringMatch};

/// A service sees and changes requests and responses. Source:
/// `envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtProc {
    /// Who sees them.
    pub service: GrpcService,
    /// What happens when the service fails. Envoy default: the request is refused.
    pub failure_allow: bool,
    /// What it sees.
    pub mode: ProcessingMode,
    /// Whether the service may change what it sees. Envoy default: false.
    pub allow_mode_override: bool,
    /// The only modes that it may change to; any when empty.
    pub override_modes: Vec<ProcessingMode>,
    /// Whether the service may not answer by itself. Envoy default: false.
    pub disable_immediate: bool,
    /// Longest time for one answer of the service. Envoy default: 200 ms.
    pub message_timeout: Duration,
    /// Most that the service may ask for in place of that; it may not ask when absent.
    pub message_timeout_max: Option<Duration>,
    /// A name of its own in statistics.
    pub stat_prefix: String,
    /// Which headers it may change.
    pub rules: HeaderMutationRules,
    /// Which headers it sees: those that meet one of these; all when absent.
    pub shown: Option<Vec<StringMatch>>,
    /// Headers that it does not see.
    pub hidden: Vec<StringMatch>,
    /// Facts that it is told with the request.
    pub request_attributes: Vec<ProcessedFact>,
    /// Facts that it is told with the response.
    pub response_attributes: Vec<ProcessedFact>,
    /// Facts of filters that it is told, by the filter's name.
    pub forwarded_metadata: Vec<String>,
    /// Under which names it may leave facts.
    pub received_metadata: Vec<String>,
    /// When the route is chosen again.
    pub route_cache: RouteCacheAction,
    /// What is answered when the service fails. Envoy default: 500.
    pub status_on_error: u16,
    /// The service only looks on: nobody waits for its answers, nor listens to them. Its call ends so
    /// long after the exchange. Envoy default: it is waited for; 5 s. Source: `observability_mode`,
    /// `deferred_close_timeout`.
    pub only_watches: Option<Duration>,
    /// Whether pieces of content are shown before the head was answered. Envoy default: false.
    /// Source: `send_body_without_waiting_for_header_response`.
    pub shows_body_early: bool,
}

/// What a service sees. Source: `ProcessingMode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessingMode {
    /// Whether it sees the headers of requests. Envoy default: true.
    pub request_headers: bool,
    /// Whether it sees the headers of responses. Envoy default: true.
    pub response_headers: bool,
    /// How it sees the content of requests.
    pub request_body: BodyMode,
    /// How it sees the content of responses.
    pub response_body: BodyMode,
    /// Whether it sees the trailers of requests. Envoy default: false.
    pub request_trailers: bool,
    /// Whether it sees the trailers of responses. Envoy default: false.
    pub response_trailers: bool,
}

impl Default for ProcessingMode {
    fn default() -> Self {
        Self {
            request_headers: true,
            response_headers: true,
            request_body: BodyMode::None,
            response_body: BodyMode::None,
            request_trailers: false,
            response_trailers: false,
        }
    }
}

/// How a service sees content. Source: `ProcessingMode.BodySendMode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BodyMode {
    /// Not at all. Envoy default.
    #[default]
    None,
    /// As a whole.
    Buffered,
    /// As a whole, or the first part of it when it is too large to be kept.
    BufferedPartial,
    /// Piece by piece, each of which is answered.
    Streamed,
    /// Piece by piece, while it writes other content as it likes.
    Duplex,
}

impl BodyMode {
    /// Whether it is shown piece by piece.
    #[must_use]
    pub const fn is_in_pieces(self) -> bool {
        match self {
            Self::Streamed | Self::Duplex => true,
            Self::None | Self::Buffered | Self::BufferedPartial => false,
        }
    }
}

/// When the route is chosen again. Source: `ExternalProcessor.RouteCacheAction`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RouteCacheAction {
    /// When the service says so. Envoy default.
    #[default]
    AsTold,
    /// After every answer to the headers of a request.
    Always,
    /// Never.
    Never,
}

/// A fact that a service is told. Source: Envoy's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessedFact {
    /// `request.path`
    Path,
    /// `request.url_path`
    UrlPath,
    /// `request.query`
    Query,
    /// `request.host`
    Host,
    /// `request.scheme`
    Scheme,
    /// `request.method`
    Method,
    /// `request.protocol`
    Protocol,
    /// `request.id`
    Id,
    /// `request.useragent`
    UserAgent,
    /// `request.referer`
    Referer,
    /// `request.size`
    Size,
    /// `source.address`
    SourceAddress,
    /// `source.port`
    SourcePort,
    /// `destination.address`
    DestinationAddress,
    /// `destination.port`
    DestinationPort,
    /// `connection.mtls`
    Mtls,
    /// `connection.requested_server_name`
    ServerName,
    /// `xds.cluster_name`
    Cluster,
    /// `xds.route_name`
    Route,
    /// `response.code`
    Code,
}

impl ProcessedFact {
    /// Every fact.
    pub const ALL: [Self; 20] = [
        Self::Path,
        Self::UrlPath,
        Self::Query,
        Self::Host,
        Self::Scheme,
        Self::Method,
        Self::Protocol,
        Self::Id,
        Self::UserAgent,
        Self::Referer,
        Self::Size,
        Self::SourceAddress,
        Self::SourcePort,
        Self::DestinationAddress,
        Self::DestinationPort,
        Self::Mtls,
        Self::ServerName,
        Self::Cluster,
        Self::Route,
        Self::Code,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Path => "request.path",
            Self::UrlPath => "request.url_path",
            Self::Query => "request.query",
            Self::Host => "request.host",
            Self::Scheme => "request.scheme",
            Self::Method => "request.method",
            Self::Protocol => "request.protocol",
            Self::Id => "request.id",
            Self::UserAgent => "request.useragent",
            Self::Referer => "request.referer",
            Self::Size => "request.size",
            Self::SourceAddress => "source.address",
            Self::SourcePort => "source.port",
            Self::DestinationAddress => "destination.address",
            Self::DestinationPort => "destination.port",
            Self::Mtls => "connection.mtls",
            Self::ServerName => "connection.requested_server_name",
            Self::Cluster => "xds.cluster_name",
            Self::Route => "xds.route_name",
            Self::Code => "response.code",
        }
    }
}

/// Settings of a virtual host, route or weighted cluster; what is absent is the filter's. Source:
/// `ExtProcOverrides`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExtProcRoute {
    /// What the service sees.
    pub mode: Option<ProcessingMode>,
    /// Who sees it.
    pub service: Option<GrpcService>,
    /// Headers of the call besides those of the service.
    pub metadata: Vec<(HeaderName, String)>,
    /// What happens when the service fails.
    pub failure_allow: Option<bool>,
    /// Facts that it is told with the request; the filter's when empty.
    pub request_attributes: Vec<ProcessedFact>,
    /// Facts that it is told with the response; the filter's when empty.
    pub response_attributes: Vec<ProcessedFact>,
    /// Facts of filters that it is told.
    pub forwarded_metadata: Option<Vec<String>>,
    /// Under which names it may leave facts.
    pub received_metadata: Option<Vec<String>>,
}
