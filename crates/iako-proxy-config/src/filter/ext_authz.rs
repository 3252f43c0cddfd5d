//! A service decides whether requests pass.

use std::collections::BTreeMap;

use iako_types::Percent;

use crate::{
    GrpcService, HeaderMutationRules, HeaderName, HttpUri, Keyed, MetadataMatch, StringMatch,
};

/// A service decides whether requests pass. Source:
/// `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtAuthz {
    /// Who decides.
    pub service: AuthzService,
    /// Whether the service is told the request's content, and how much of it.
    pub body: Option<AuthzBody>,
    /// What happens when the service does not answer. Envoy default: requests are refused.
    pub on_failure: AuthzFailure,
    /// What is answered when the service does not answer. Envoy default: 403.
    pub status_on_error: u16,
    /// Whether the route is chosen again after the service changed headers. Envoy default: false.
    pub clear_route_cache: bool,
    /// Whether an answer that asks for what no header can be refuses the request. Envoy default:
    /// false.
    pub validate_mutations: bool,
    /// What filters left is told of these.
    pub metadata_namespaces: Vec<String>,
    /// Which share of requests is asked about. Envoy default: all.
    pub enabled: Keyed<Percent>,
    /// Only requests of which filters left this are asked about; all when absent.
    pub enabled_metadata: Option<MetadataMatch>,
    /// Whether requests that are not asked about are refused. Envoy default: false.
    pub deny_at_disable: Keyed<bool>,
    /// Whether the client's certificate is told. Envoy default: false.
    pub include_peer_certificate: bool,
    /// Whether the server name that the client asked for is told. Envoy default: false.
    pub include_tls_session: bool,
    /// Labels of the bootstrap's metadata under this key are told as the destination's; none when
    /// empty.
    pub labels_key: String,
    /// A name of its own in statistics.
    pub stat_prefix: String,
    /// The only headers that are told; all when absent.
    pub allowed_headers: Option<Vec<StringMatch>>,
    /// Headers that are not told.
    pub disallowed_headers: Vec<StringMatch>,
    /// Whether headers are told as they are, one by one, and not joined by name. Envoy default: false.
    pub raw_headers: bool,
    /// Whether refusals count among the responses of the request's cluster. Envoy default: true.
    pub charges_cluster: bool,
    /// Which headers the service may change; all when absent.
    pub rules: Option<Box<HeaderMutationRules>>,
    /// Whether what the service leaves for other filters is kept. Envoy default: true.
    pub takes_metadata: bool,
    /// Most bytes of a refusal's content; without limit when absent.
    pub refusal_bytes_max: Option<u32>,
}

/// What happens to requests when the service does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AuthzFailure {
    /// They are refused.
    #[default]
    Deny,
    /// They pass. Source: `failure_mode_allow`.
    Allow,
    /// They pass and say so in `x-envoy-auth-failure-mode-allowed`. Source:
    /// `failure_mode_allow_header_add`.
    AllowAndTell,
}

/// Who decides.
#[derive(Debug, Clone, PartialEq)]
pub enum AuthzService {
    /// By `envoy.service.auth.v3.Authorization/Check`. Time-out, Envoy default: 200 ms.
    Grpc(GrpcService),
    /// By an HTTP request that looks like the one in question: 200 lets it pass.
    Http(Box<AuthzHttp>),
}

/// A service that is asked by HTTP. Source: `HttpService`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuthzHttp {
    /// Where it is.
    pub server: HttpUri,
    /// Goes before the path of the request.
    pub path_prefix: String,
    /// Takes the place of the path; the request's own when empty.
    pub path_override: String,
    /// Headers of the request that are told besides those that always are.
    pub allowed_headers: Vec<StringMatch>,
    /// Headers of every question.
    pub add: Vec<(HeaderName, String)>,
    /// Headers of a pass that replace those of the request.
    pub upstream: Vec<StringMatch>,
    /// Headers of a pass that are added to those of the request.
    pub upstream_append: Vec<StringMatch>,
    /// Headers of a refusal that the client gets; all when absent.
    pub client: Option<Vec<StringMatch>>,
    /// Headers of a pass that the client gets.
    pub client_on_success: Vec<StringMatch>,
    /// Headers that are kept for other filters.
    pub metadata: Vec<StringMatch>,
}

/// Content that a service is told. Source: `BufferSettings`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthzBody {
    /// Most bytes; requests with more are refused with 413, unless a part will do.
    pub bytes_max: u32,
    /// Whether a part will do. Envoy default: false.
    pub allow_partial: bool,
    /// Whether it is told as bytes, and not as text. Envoy default: false.
    pub as_bytes: bool,
}

/// Settings of a virtual host, route or weighted cluster. Source: `CheckSettings`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExtAuthzRoute {
    /// Told to the service; those of the narrower level go over those of the wider.
    pub context: BTreeMap<String, String>,
    /// Whether the content is not told. Envoy default: false.
    pub without_body: bool,
    /// How content is told, in place of the filter's own.
    pub body: Option<AuthzBody>,
    /// Who decides, in place of the filter's own.
    pub service: Option<AuthzService>,
}
