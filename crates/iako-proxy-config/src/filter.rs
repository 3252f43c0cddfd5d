//! What is done to connections and requests on their way.

use std::collections::{BTreeMap, BTreeSet};

pub(crate) mod admission;
pub(crate) mod bandwidth;
pub(crate) mod buffer;
pub(crate) mod cache;
pub(crate) mod composite;
pub(crate) mod compression;
pub(crate) mod concurrency;
pub(crate) mod connection_service;
pub(crate) mod cors;
pub(crate) mod credential_injector;
pub(crate) mod csrf;
pub(crate) mod custom_response;
pub(crate) mod ext_authz;
pub(crate) mod ext_proc;
pub(crate) mod fault;
pub(crate) mod grpc_stats;
pub(crate) mod head;
pub(crate) mod health_check;
pub(crate) mod ip_tagging;
pub(crate) mod json_to_metadata;
pub(crate) mod jwt;
pub(crate) mod local_limit;
pub(crate) mod network;
pub(crate) mod oauth2;
pub(crate) mod opaque;
pub(crate) mod peer_metadata;
pub(crate) mod rate_limit;
pub(crate) mod rbac;
pub(crate) mod request_state;
pub(crate) mod stateful_session;

use crate::{Discovered, DnsCache, DnsOptions, HeaderName, MatchTree, OnDemand, SourcedName};
use admission::AdmissionControl;
use bandwidth::BandwidthLimit;
use buffer::Buffer;
use cache::Cache;
use composite::{Composite, MatchedFilter, SkipFilter};
use compression::{Compressor, CompressorOverride, Decompressor};
use concurrency::AdaptiveConcurrency;
use connection_service::{ConnectionAuthz, GlobalConnectionRate};
use cors::CorsPolicy;
use credential_injector::CredentialInjector;
use csrf::CsrfPolicy;
use custom_response::CustomResponse;
use ext_authz::{ExtAuthz, ExtAuthzRoute};
use ext_proc::{ExtProc, ExtProcRoute};
use fault::Fault;
use grpc_stats::GrpcStats;
use head::{HeaderMutationFilter, HeaderToMetadata, MessageEdits, SetMetadata};
use health_check::HealthAnswers;
use ip_tagging::IpTagging;
use json_to_metadata::JsonToMetadata;
use jwt::JwtAuthn;
use local_limit::LocalRateLimit;
use network::{ConnectionLimit, ConnectionRateLimit, SetConnectionState, SniForward};
use oauth2::OAuth2;
use opaque::OpaqueProtocol;
use peer_metadata::PeerMetadata;
use rate_limit::{GlobalRateLimit, GlobalRateLimitRoute};
use rbac::Rbac;
use request_state::SetRequestState;
use stateful_session::StatefulSession;

/// A named step on every request's way.
/// Source: `envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpFilter {
    /// The name that per-route settings refer to.
    pub name: String,
    /// Whether it is off unless a route switches it on. Envoy default: false.
    pub disabled: bool,
    /// What it does.
    pub kind: HttpFilterKind,
}

/// What an HTTP filter does.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpFilterKind {
    /// Sends the request to its cluster; always last.
    Router(Router),
    /// Delays and aborts, for tests. Settings of a route replace these.
    Fault(Box<Fault>),
    /// Answers browsers' cross-origin questions by the policies of routes.
    Cors,
    /// Checks JSON web tokens.
    JwtAuthn(Box<JwtAuthn>),
    /// Lets requests pass or not.
    Rbac(Box<Rbac>),
    /// Tells the peer who we are, and finds out who it is.
    PeerMetadata(PeerMetadata),
    /// Chooses the TLS application protocol towards the upstream by the request's HTTP version.
    /// Source: `istio.alpn`.
    Alpn,
    /// Counts in Istio's standard metrics. Source: `istio.stats`.
    Stats(StatsFilter),
    /// Lets browsers speak gRPC: trailers travel as the last part of the content, and the whole
    /// content in base64 when the browser asks for it. Source: `envoy.filters.http.grpc_web`.
    GrpcWeb,
    /// Counts gRPC calls and their messages.
    GrpcStats(Box<GrpcStats>),
    /// Keeps sessions with their instances. Settings of a route replace these.
    StatefulSession(Box<StatefulSession>),
    /// Names that requests bring are resolved, for a cluster that forwards to them. Settings of a
    /// route name another host.
    /// Source: `envoy.filters.http.dynamic_forward_proxy`.
    DynamicForward(Box<DynamicForward>),
    /// Gathers the content of requests. Settings of a route replace these.
    Buffer(Buffer),
    /// Compresses content. Routes change single settings.
    Compressor(Box<Compressor>),
    /// Decompresses content.
    Decompressor(Box<Decompressor>),
    /// Holds content back. Settings of a route replace these.
    BandwidthLimit(Box<BandwidthLimit>),
    /// Refuses requests of other origins' pages. Settings of a route replace these.
    Csrf(Box<CsrfPolicy>),
    /// Changes headers and parameters.
    HeaderMutation(Box<HeaderMutationFilter>),
    /// Leaves values of headers for other filters. Settings of a route replace these.
    HeaderToMetadata(Box<HeaderToMetadata>),
    /// Leaves facts for other filters.
    SetMetadata(SetMetadata),
    /// A service decides whether requests pass. Settings of a route go over these.
    ExtAuthz(Box<ExtAuthz>),
    /// A service sees and changes requests and responses. Settings of a route go over these.
    ExtProc(Box<ExtProc>),
    /// A service counts requests. Settings of a route go over these.
    GlobalRateLimit(Box<GlobalRateLimit>),
    /// Requests take tokens. Settings of a route replace these.
    LocalRateLimit(Box<LocalRateLimit>),
    /// Does what requests choose.
    Composite(Box<Composite>),
    /// Is left out for some requests.
    Matched(Box<MatchedFilter>),
    /// Turns requests away while many fail.
    AdmissionControl(Box<AdmissionControl>),
    /// Bounds how many requests are under way.
    AdaptiveConcurrency(Box<AdaptiveConcurrency>),
    /// Has requests wait for virtual hosts and clusters that are not known yet.
    OnDemand(Box<OnDemand>),
    /// Does what is sent on its own. Source: `HttpFilter.config_discovery`.
    Discovered(Box<Discovered<Self>>),
    /// Replaces responses. Settings of a route replace these.
    CustomResponse(Box<CustomResponse>),
    /// Answers with responses that were kept.
    Cache(Box<Cache>),
    /// Leaves values of JSON content for other filters. Settings of a route replace these.
    JsonToMetadata(Box<JsonToMetadata>),
    /// Keeps objects beside requests. Those of a route come after these.
    SetState(Box<SetRequestState>),
    /// Answers health checks, or passes them on.
    HealthCheck(Box<HealthAnswers>),
    /// Writes a credential into requests.
    CredentialInjector(Box<CredentialInjector>),
    /// Has people log in; without settings only where routes have some. Settings of a route replace
    /// these.
    OAuth2(Option<Box<OAuth2>>),
    /// Tags requests by the addresses of their clients.
    IpTagging(Box<IpTagging>),
    /// An optional filter that this proxy does not have; passed over.
    Unsupported(UnsupportedFilter),
}

impl HttpFilterKind {
    /// The secrets that it shows to others or signs with, those of filters that may be chosen included.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SourcedName> {
        if let Self::CredentialInjector(injector) = self {
            vec![injector.source.secret()]
        } else if let Self::OAuth2(login) = self {
            login.iter().flat_map(|login| login.secrets()).collect()
        } else if let Self::Composite(composite) = self {
            let chosen = composite.tree.actions().into_iter().flat_map(|chosen| &chosen.filters);
            chosen.flat_map(|(_, kind)| kind.secrets()).collect()
        } else if let Self::Matched(matched) = self {
            matched.kind.secrets()
        } else {
            Vec::new()
        }
    }
}

/// A filter that resolves names. Source:
/// `envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicForward {
    /// The cache that it shares with the cluster.
    pub cache: DnsCache,
    /// How names are resolved.
    pub dns: DnsOptions,
    /// Whether the objects `envoy.upstream.dynamic_host` and `envoy.upstream.dynamic_port` beside a
    /// request name its host. Source: `allow_dynamic_host_from_filter_state`. Envoy default: false.
    pub host_by_state: bool,
    /// Whether the address of the host is kept beside the request, for rules that ask for it.
    /// Source: `save_upstream_address`. Envoy default: false.
    pub saves_address: bool,
}

/// The host that requests of a route name in place of their own. Source:
/// `envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardHost {
    /// This one, with its port where it has one.
    Literal(String),
    /// The value of this header, of requests that have it.
    Header(HeaderName),
}

/// A filter that this proxy does not have and was allowed to pass over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsupportedFilter {
    /// The protobuf type that was asked for.
    pub type_name: String,
}

/// Settings of the router. Source: `envoy.extensions.filters.http.router.v3.Router`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Router {
    /// Whether `x-envoy-*` headers are left out. Envoy default: false.
    pub suppress_envoy_headers: bool,
    /// `x-envoy-*` headers of requests whose value must be well-formed: 400 if not, flag `IH`.
    pub strict_headers: Vec<StrictHeader>,
    /// Whether `x-envoy-expected-rq-timeout-ms` of a request is its time-out and stays as it is: an
    /// Envoy before us has decided. Envoy default: false.
    pub respect_expected_timeout: bool,
    /// Whether each try of a traced request is a span of its own. Envoy default: false.
    pub child_spans: bool,
}

/// A header whose value can be checked. Source: `Router.strict_check_headers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrictHeader {
    /// `x-envoy-upstream-rq-timeout-ms`: a number.
    Timeout,
    /// `x-envoy-upstream-rq-per-try-timeout-ms`: a number.
    PerTryTimeout,
    /// `x-envoy-max-retries`: a number.
    RetriesMax,
    /// `x-envoy-retry-on`: known conditions.
    RetryOn,
    /// `x-envoy-retry-grpc-on`: known conditions of gRPC.
    RetryGrpcOn,
}

impl StrictHeader {
    /// Every header that can be checked.
    pub const ALL: [Self; 5] =
        [Self::Timeout, Self::PerTryTimeout, Self::RetriesMax, Self::RetryOn, Self::RetryGrpcOn];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timeout => "x-envoy-upstream-rq-timeout-ms",
            Self::PerTryTimeout => "x-envoy-upstream-rq-per-try-timeout-ms",
            Self::RetriesMax => "x-envoy-max-retries",
            Self::RetryOn => "x-envoy-retry-on",
            Self::RetryGrpcOn => "x-envoy-retry-grpc-on",
        }
    }
}

/// Settings of Istio's standard metrics. Source: `stats.PluginConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsFilter {
    /// Changes to single metrics, in order; a later one wins.
    pub overrides: Vec<StatsMetricOverride>,
    /// Whether the host of unknown destinations becomes a label. Istio's inbound and gateways: off.
    pub disable_host_header_fallback: bool,
}

/// A change to one metric or to all. Source: `stats.MetricConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsMetricOverride {
    /// The metric without its prefix `istio_`, such as `requests_total`; all when empty.
    pub metric: String,
    /// Whether it is not counted.
    pub drop: bool,
    /// Labels that are left out.
    pub tags_to_remove: Vec<String>,
}

/// Settings of filters for a virtual host, route or weighted cluster, by the filter's name; the
/// narrowest counts. Source: `typed_per_filter_config`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FilterOverrides {
    /// In place of the filter's own.
    pub settings: BTreeMap<String, FilterSettings>,
    /// Filters that are switched off.
    pub disabled: BTreeSet<String>,
}

/// Settings of one filter for a virtual host, route or weighted cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterSettings {
    /// Other delays and aborts. Source: `envoy.extensions.filters.http.fault.v3.HTTPFault`.
    Fault(Box<Fault>),
    /// The host that is forwarded to.
    DynamicForward(ForwardHost),
    /// A cross-origin policy. Source: `envoy.extensions.filters.http.cors.v3.CorsPolicy`.
    Cors(Box<CorsPolicy>),
    /// Other rules; everything passes without any.
    /// Source: `envoy.extensions.filters.http.rbac.v3.RBACPerRoute`.
    Rbac(Option<Box<Rbac>>),
    /// Other sessions; none without any.
    /// Source: `envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute`.
    StatefulSession(Option<Box<StatefulSession>>),
    /// The name of the requirement that counts in place of the rules.
    /// Source: `envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig.requirement_name`.
    JwtRequirement(String),
    /// Further changes. Source:
    /// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute`.
    HeaderMutation(Box<MessageEdits>),
    /// Other rules. Source: `envoy.extensions.filters.http.header_to_metadata.v3.Config`.
    HeaderToMetadata(Box<HeaderToMetadata>),
    /// Another limit. Source: `envoy.extensions.filters.http.buffer.v3.BufferPerRoute`.
    Buffer(Buffer),
    /// Source: `envoy.extensions.filters.http.compressor.v3.CompressorPerRoute`.
    Compressor(CompressorOverride),
    /// A limit of its own. Source:
    /// `envoy.extensions.filters.http.bandwidth_limit.v3.BandwidthLimit`.
    BandwidthLimit(Box<BandwidthLimit>),
    /// Another policy. Source: `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`.
    Csrf(Box<CsrfPolicy>),
    /// What an authorization service is told and how.
    /// Source: `envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute.check_settings`.
    ExtAuthz(Box<ExtAuthzRoute>),
    /// What a service that sees requests is shown.
    /// Source: `envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute.overrides`.
    ExtProc(Box<ExtProcRoute>),
    /// What a service that counts requests is asked.
    /// Source: `envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute`.
    GlobalRateLimit(Box<GlobalRateLimitRoute>),
    /// Tokens of its own.
    /// Source: `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`.
    LocalRateLimit(Box<LocalRateLimit>),
    /// What is asked for when it is needed. Source:
    /// `envoy.extensions.filters.http.on_demand.v3.PerRouteConfig`.
    OnDemand(Box<OnDemand>),
    /// Other responses. Source: `envoy.extensions.filters.http.custom_response.v3.CustomResponse`.
    CustomResponse(Box<CustomResponse>),
    /// Other rules. Source: `envoy.extensions.filters.http.json_to_metadata.v3.JsonToMetadata`.
    JsonToMetadata(Box<JsonToMetadata>),
    /// Further objects. Source: `envoy.extensions.filters.http.set_filter_state.v3.Config`.
    SetState(Box<SetRequestState>),
    /// Which requests leave the filter out, in place of its own tree. Source:
    /// `envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute`.
    Skip(Box<MatchTree<SkipFilter>>),
    /// Another login. Source: `envoy.extensions.filters.http.oauth2.v3.OAuth2PerRoute`.
    OAuth2(Box<OAuth2>),
}

impl FilterSettings {
    /// Those of a buffer.
    #[must_use]
    pub const fn buffer(&self) -> Option<&Buffer> {
        if let Self::Buffer(own) = self { Some(own) } else { None }
    }

    /// Those of a compressor.
    #[must_use]
    pub const fn compressor(&self) -> Option<&CompressorOverride> {
        if let Self::Compressor(own) = self { Some(own) } else { None }
    }

    /// Those of a limit of bandwidth.
    #[must_use]
    pub fn bandwidth_limit(&self) -> Option<&BandwidthLimit> {
        if let Self::BandwidthLimit(own) = self { Some(own) } else { None }
    }

    /// A policy about pages of other origins.
    #[must_use]
    pub fn csrf(&self) -> Option<&CsrfPolicy> {
        if let Self::Csrf(own) = self { Some(own) } else { None }
    }

    /// Tokens that requests take.
    #[must_use]
    pub fn local_limit(&self) -> Option<&LocalRateLimit> {
        if let Self::LocalRateLimit(own) = self { Some(own) } else { None }
    }

    /// Rules for JSON content.
    #[must_use]
    pub fn json_to_metadata(&self) -> Option<&JsonToMetadata> {
        if let Self::JsonToMetadata(own) = self { Some(own) } else { None }
    }

    /// Objects that are kept beside a request.
    #[must_use]
    pub fn request_state(&self) -> Option<&SetRequestState> {
        if let Self::SetState(own) = self { Some(own) } else { None }
    }

    /// A login.
    #[must_use]
    pub fn oauth2(&self) -> Option<&OAuth2> {
        if let Self::OAuth2(own) = self { Some(own) } else { None }
    }

    /// Responses in place of others.
    #[must_use]
    pub fn custom_response(&self) -> Option<&CustomResponse> {
        if let Self::CustomResponse(own) = self { Some(own) } else { None }
    }
}

impl FilterOverrides {
    /// The secrets that filters show to others or sign with by these settings.
    pub fn secrets(&self) -> impl Iterator<Item = &SourcedName> {
        self.settings.values().filter_map(FilterSettings::oauth2).flat_map(OAuth2::secrets)
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.disabled.is_empty()
    }
}

/// A step on every connection's way. Source: `envoy.config.listener.v3.Filter`.
#[derive(Debug, Clone, PartialEq)]
pub enum NetworkFilter {
    /// Lets connections pass or not. Source: `envoy.extensions.filters.network.rbac.v3.RBAC`.
    Rbac(Box<Rbac>),
    /// Tells the peer who we are by bytes ahead of the connection's own, when ALPN agreed on it.
    /// Source: `envoy.tcp.metadataexchange.config.MetadataExchange`.
    MetadataExchange {
        /// The ALPN name that asks for it, `istio-peer-exchange`.
        protocol: String,
    },
    /// Counts in Istio's standard metrics. Source: `istio.stats` as a network filter.
    Stats(StatsFilter),
    /// Does what is sent on its own. Source: `Filter.config_discovery`.
    Discovered(Box<Discovered<Self>>),
    /// Bounds the connections that are open at once.
    ConnectionLimit(Box<ConnectionLimit>),
    /// Bounds the connections that come in a time.
    RateLimit(Box<ConnectionRateLimit>),
    /// Sends the connection to the cluster of which its server name is the name.
    /// Source: `envoy.extensions.filters.network.sni_cluster.v3.SniCluster`.
    SniCluster,
    /// Sends the connection to the host of which its server name is the name.
    SniForward(Box<SniForward>),
    /// Keeps objects beside the connection.
    SetState(Box<SetConnectionState>),
    /// Asks a service whether the connection passes.
    ExtAuthz(Box<ConnectionAuthz>),
    /// Has a service count the connection.
    GlobalRateLimit(Box<GlobalConnectionRate>),
    /// Looks at when bytes come, and at nothing else.
    Opaque(Box<OpaqueProtocol>),
    /// An optional filter that this proxy does not have; passed over.
    Unsupported(UnsupportedFilter),
}
