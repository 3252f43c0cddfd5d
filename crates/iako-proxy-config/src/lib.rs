//! What a proxy can be told, as values that cannot be wrong.
//!
//! This is the one model in the middle of Iako: the control plane plans it, the proxy holds it,
//! `explain` and `analyze` read it. The wire (Envoy protobuf, Envoy bootstrap YAML and JSON) is a
//! codec at the rim, in `iako-xds-codec`; nothing here knows a protobuf type.
//!
//! Names are Envoy's where Envoy has one. Fields are public because each type admits only valid
//! values; what spans several resources (a route that names a cluster that does not exist) is no
//! matter of this crate, for Envoy accepts it too.
//!
//! Not here: deciding (`iako-traffic`), moving bytes (`iako-proxy`), Istio's documents
//! (`iako-resources`).
//!
//! Start with [`Listener`], follow it to [`HttpConnectionManager`], [`RouteConfiguration`] and
//! [`Cluster`].

mod access_log;
mod callout;
mod cluster;
mod discovered;
mod endpoint;
mod filter;
mod header;
mod health;
mod http;
mod listener;
mod matcher;
mod metadata;
mod node;
mod on_demand;
mod origin;
mod outlier;
mod overload;
mod proxy_protocol;
mod retry;
mod route;
mod runtime;
mod secret;
mod source;
mod tcp;
mod tls;
mod tracing;
mod udp;

pub use access_log::{
    AccessLog, AccessLogFilter, AccessLogSink, GrpcLog, GrpcLogFields, GrpcLogKind, HttpLogTimes,
    JsonFormat, LogComparison, LogDraw, LogFormat, LogSample, LogStreamSettings, OtelLabels,
    OtelLog, OtelStreamSettings,
};
pub use callout::{
    AskedHeader, GrpcService, HeaderMutationRules, HttpUri, ServiceHeader,
    check::{
        CheckAnswer, CheckDetails, CheckPass, CheckPeer, CheckQuestion, CheckRefusal,
        CheckedRequest,
    },
    limit::{RateAnswer, RateCurrent, RateDescriptor, RateStatus},
    load::{ClusterLoad, EndpointLoad, LoadDetail, LoadWish, LocalityLoad, WishedClusters},
    processing::{
        ImmediateReply, PartReply, ProcessAnswer, ProcessModes, ProcessPart, ProcessQuestion,
        ProcessReply,
    },
    span::{Span, SpanKind, SpanOrigin},
};
pub use cluster::{
    AddressOrder, CircuitBreakers, ClientWeighted, Cluster, ClusterHttp, ClusterMetadata,
    Connecting, ConsistentHashing, Discovery, DnsCache, DnsFailureRefresh, DnsFamily, DnsOptions,
    FirstFamily, HashFunction, HttpProtocol, LbPolicy, LeastRequest, LoadReport, LocalityBalancing,
    LocalityBasis, MaglevTable, Membership, MetadataPath, OverrideHost, OverrideSource,
    OverrideStatuses, PeakEwma, PickFirst, Preconnect, RetryBudget, RingHash, SelectorFallback,
    ServiceReference, SlowStart, SubsetFallback, SubsetSelection, SubsetSelector, TcpKeepalive,
    Thresholds, TransportMatch, ZoneAware,
};
pub use discovered::Discovered;
pub use endpoint::{
    DropOverload, Endpoint, EndpointAddress, EndpointMetadata, EndpointSet, HealthStatus,
    LocalityEndpoints, WorkloadLabel,
};
pub use filter::{
    DynamicForward, FilterOverrides, FilterSettings, ForwardHost, HttpFilter, HttpFilterKind,
    NetworkFilter, Router, StatsFilter, StatsMetricOverride, StrictHeader, UnsupportedFilter,
    admission::{AdmissionControl, SuccessCriteria},
    bandwidth::{BandwidthLimit, BandwidthMode},
    buffer::Buffer,
    cache::{Cache, CacheKey},
    composite::{ChosenFilters, Composite, MatchedFilter, SkipFilter},
    compression::{
        BrotliMode, Coding, CompressedContent, CompressedResponse, Compression, Compressor,
        CompressorLibrary, CompressorOverride, DecompressedContent, Decompressor,
    },
    concurrency::{AdaptiveConcurrency, ConcurrencyGradient, LeastTime},
    connection_service::{ConnectionAuthz, GlobalConnectionRate},
    cors::CorsPolicy,
    credential_injector::{ClientCredentials, CredentialInjector, CredentialSource, SecretShown},
    csrf::CsrfPolicy,
    custom_response::{
        CustomResponse, LocalResponse, RedirectedResponse, ResponseDetails, ResponsePolicy,
        ResponseTarget,
    },
    ext_authz::{AuthzBody, AuthzFailure, AuthzHttp, AuthzService, ExtAuthz, ExtAuthzRoute},
    ext_proc::{BodyMode, ExtProc, ExtProcRoute, ProcessedFact, ProcessingMode, RouteCacheAction},
    fault::{Abort, AbortStatus, ClientFault, Delay, Fault, FaultKeys, ResponseRate},
    grpc_stats::{CountedMethods, GRPC_STATS_STATE, GrpcServiceMethods, GrpcStats},
    head::{
        HeaderFact, HeaderFactKind, HeaderFactRule, HeaderFactSource, HeaderMutationFilter,
        HeaderToMetadata, MessageEdits, MetadataEntry, QueryEdit, SetMetadata,
    },
    health_check::{HealthAnswers, HealthMode},
    ip_tagging::{IpTag, IpTagHeader, IpTagging, TaggedRequests},
    json_to_metadata::{
        JSON_MEDIA_TYPE, JSON_METADATA, JsonFact, JsonFactKind, JsonRule, JsonRules, JsonToMetadata,
    },
    jwt::{
        ClaimToHeader, FetchRetry, Jwks, JwtAuthn, JwtHeader, JwtProvider, JwtRequirement, JwtRule,
        JwtStateRules,
    },
    local_limit::{DYNAMIC_BUCKETS_MAX, LocalBuckets, LocalDescriptor, LocalRateLimit},
    network::{
        ConnectionLimit, ConnectionRateLimit, ConnectionTokens, FilterStateValue, STATE_FACTORIES,
        SetConnectionState, SharedState, SniForward,
    },
    oauth2::{
        AfterLogout, LoginClient, LoginCookie, LoginCookies, LoginRequests, LoginSecretShown,
        LoginServer, LoginTokens, OAuth2, SameSite, UnkeptTokens,
    },
    opaque::{OpaqueKind, OpaqueProtocol},
    peer_metadata::{PeerDiscovery, PeerMetadata},
    rate_limit::{
        GlobalRateLimit, GlobalRateLimitRoute, HostLimits, LimitedRequests, RATE_LIMIT_TIMEOUT,
    },
    rbac::{
        Double, MetadataMatch, MetadataValueMatch, Permission, Policy, Principal, Rbac, RbacAction,
        RbacChoice, RbacMatcher, RbacRules, UpstreamAddress,
    },
    request_state::SetRequestState,
    stateful_session::{SessionCookie, SessionState, StatefulSession},
};
pub use header::{
    AppendAction, HeaderEdit, HeaderMutations, HeaderName, HeaderNameError, HeaderValueOption,
};
pub use health::{
    CheckIntervals, CheckMethod, EndpointCheck, GrpcCheck, HealthCheck, HealthCheckKind,
    HealthEvents, HttpCheck, StatusRange, TcpCheck,
};
pub use http::{
    ClientCertDetails, CodecType, EscapedSlashes, ForwardClientCert, ForwardedScheme, HeaderCase,
    Http1Options, Http2Floods, Http2Options, HttpConnectionManager, RouteSource, ServerHeader,
    StripPort, UnderscoreHeaders, UpgradeConfig,
    client::{ForwardClientCertRule, IpDetection, SchemeChange},
    local_reply::{LocalReply, ReplyMapper},
};
pub use listener::{
    Direction, FilterChain, FilterChainMatch, Listener, ListenerKind, SourceType, Terminal,
    filter::{
        ConnectionPredicate, ListenerFilter, ListenerFilterKind, OriginalSrc, PassThroughTlvs,
        ProxyProtocol, TlsInspector, TlvEncoding, TlvRule,
    },
    socket::{
        ConnectionBalance, PipeAddress, SocketOption, SocketOptionValue, SocketSettings,
        SocketState,
    },
};
pub use matcher::{
    HeaderCheck, HeaderMatch, Pattern, PatternError, QueryCheck, QueryMatch, StringMatch,
    template::{UriRewrite, UriTemplate, UriTemplateError},
    tree::{
        ChainMatcher, ConnectionInput, MatchCheck, MatchInput, MatchNode, MatchOutcome,
        MatchPredicate, MatchRule, MatchThen, MatchTree, ResponseInput,
    },
};
pub use metadata::FilterMetadata;
pub use node::{AdminAddress, Bootstrap, HistogramBounds, Node};
pub use on_demand::{OnDemand, OnDemandClusters};
pub use origin::RuleOrigin;
pub use outlier::{Enforcing, FailurePercentage, OutlierDetection, SuccessRate};
pub use overload::{
    Deed, Least, LoadShedPoint, Measure, OverloadAction, OverloadManager, OverloadTrigger,
    ResourceMonitor, ScaledTimer, ShedPlace, Timer, TrackedFrom, TriggerRule,
};
pub use proxy_protocol::{PassedTlvs, ProxyProtocolHeader, ProxyProtocolTlv, ProxyProtocolVersion};
pub use retry::{
    BackOff, HedgePolicy, RateLimitedBackOff, ResetFormat, ResetHeader, RetryConditions, RetryOn,
    RetryPolicy,
};
pub use route::{
    Action, ClusterTarget, ConnectEnd, CookieAttribute, GrpcTimeout, HashPolicy, HashSource,
    InternalRedirectPolicy, MaxStreamDuration, Mirror, MirrorTarget, RedirectPredicate, Route,
    RouteAction, RouteConfiguration, RouteList, RoutePriority, ShareBy, TlsRequirement,
    VirtualCluster, VirtualHost, WeightedCluster,
    answer::{BodyFormat, DirectResponse, Redirect, RedirectPath, RedirectScheme},
    domain::{Domain, DomainError},
    matching::{
        CookieMatch, FilterStateCheck, FilterStateMatch, PathMatch, RouteMatch, TlsContextMatch,
    },
    rate_limit::{
        MetadataPlace, RateLimit, RateLimitAction, RateLimitEntry, RateLimitHits,
        RateLimitMetadataSource, RateLimitOverride, RateLimitUnit,
    },
    rewrite::{HostRewrite, PathRewrite},
    scoped::{Scope, ScopeElement, ScopeFragment, ScopeSource, ScopeTable, ScopedRoutes},
};
pub use runtime::{
    Keyed, LayeredRuntime, RuntimeDirectory, RuntimeLayer, RuntimeResource, RuntimeSource,
    RuntimeValue, RuntimeValues, RuntimeWritten,
};
pub use secret::{OcspResponse, Pem, PrivateKey, Secret, SecretBytes, SecretKind};
pub use source::{ConfigOrigin, ConfigSource, FileSource, GrpcSource, RequestRate, SourcedName};
pub use tcp::{TcpLogTimes, TcpProxy, TcpTarget, TcpTunnel, TunnelMethod, WeightedTcpCluster};
pub use tls::{
    CertificateSource, Curve, DownstreamTls, DownstreamTransport, OcspPolicy, SessionResumption,
    SessionTickets, TicketKey, TlsKeyLog, TlsOptions, TlsVersion, UpstreamTls, UpstreamTransport,
    validation::{PeerChainRules, SanKind, SanMatch, Trust, Validation},
};
pub use tracing::{
    CustomTag, Decorator, RequestIdTraces, RouteTracing, TagMetadata, TagValue, TraceSampling,
    Tracing,
    provider::{
        DatadogTracer, OpenTelemetryTracer, OtlpExporter, ResourceDetector, SpanCollector,
        SpanFlush, TraceSampler, TracingProvider, ZipkinFormat, ZipkinTracer,
    },
};
pub use udp::{UdpHash, UdpProxy};
