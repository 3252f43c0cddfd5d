//! Which request goes where.

pub(crate) mod answer;
pub(crate) mod domain;
pub(crate) mod matching;
pub(crate) mod rate_limit;
pub(crate) mod rewrite;
pub(crate) mod scoped;

use std::{sync::Arc, time::Duration};

use iako_types::{Percent, Weight};

use crate::{
    CorsPolicy, FilterOverrides, HeaderMutations, HeaderName, MatchTree, ProxyProtocolHeader,
    RetryPolicy, RuleOrigin, UpgradeConfig,
};
use answer::{DirectResponse, Redirect};
use domain::Domain;
use matching::RouteMatch;
use rate_limit::RateLimit;
use rewrite::{HostRewrite, PathRewrite};

/// A table of routes. Source: `envoy.config.route.v3.RouteConfiguration`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteConfiguration {
    /// The RDS name.
    pub name: String,
    /// Routes by host. No domain stands in two of them. Versions of a table share what did not
    /// change.
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
    /// Header edits for every route; applied last, unless `most_specific_last`.
    pub headers: HeaderMutations,
    /// Whether the edits of wider levels are applied before those of narrower ones.
    /// Source: `most_specific_header_mutations_wins`. Envoy default: false.
    pub most_specific_last: bool,
    /// Whether a port in the host is left out of the search. Envoy default: false.
    pub ignore_port_in_host: bool,
    /// The header that names the host to search for, in place of the request's own; none matches
    /// when a request lacks it. Source: `vhost_header`.
    pub host_header: Option<HeaderName>,
    /// Whether paths are matched up to their first semicolon.
    /// Source: `ignore_path_parameters_in_path_matching`. Envoy default: false.
    pub ignore_path_parameters: bool,
    /// Headers that only internal clients may send; removed from everybody else's requests.
    pub internal_only_headers: Vec<HeaderName>,
    /// Settings of filters for every route; the widest level.
    pub overrides: FilterOverrides,
}

impl RouteConfiguration {
    /// A table with Envoy's defaults.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        virtual_hosts: impl IntoIterator<Item = VirtualHost>,
    ) -> Self {
        Self {
            name: name.into(),
            virtual_hosts: virtual_hosts.into_iter().map(Arc::new).collect(),
            headers: HeaderMutations::default(),
            most_specific_last: false,
            ignore_port_in_host: false,
            host_header: None,
            ignore_path_parameters: false,
            internal_only_headers: Vec::new(),
            overrides: FilterOverrides::default(),
        }
    }
}

/// The routes of some hosts. Source: `envoy.config.route.v3.VirtualHost`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct VirtualHost {
    /// For people and statistics.
    pub name: String,
    /// Which hosts.
    pub domains: Vec<Domain>,
    /// In order; the first that matches counts. Versions of a virtual host share what did not
    /// change.
    pub routes: Vec<Arc<Route>>,
    /// Chooses the routes that are tried, in place of `routes`, which are then empty.
    pub matcher: Option<Box<MatchTree<RouteList>>>,
    /// Whether plain requests are sent to HTTPS.
    pub require_tls: TlsRequirement,
    /// Header edits for every route.
    pub headers: HeaderMutations,
    /// Retries for routes that set none.
    pub retry: Option<RetryPolicy>,
    /// Whether upstreams are told how often a request was tried. Envoy default: false.
    pub include_attempt_count: bool,
    /// Whether clients are told how often their request was tried. Envoy default: false.
    pub attempt_count_in_response: bool,
    /// What the request counts as, for limits of rates.
    pub rate_limits: Vec<RateLimit>,
    /// Cross-origin policy of the old form; counts where no level has settings of the filter.
    pub cors: Option<Box<CorsPolicy>>,
    /// Settings of filters for every route.
    pub overrides: FilterOverrides,
    /// The object that claimed the hosts.
    pub origin: Option<RuleOrigin>,
}

/// Routes that are tried in order. Source: `envoy.config.route.v3.RouteList`.
pub type RouteList = Vec<Arc<Route>>;

/// Whether plain requests are sent to HTTPS.
/// Source: `envoy.config.route.v3.VirtualHost.TlsRequirementType`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TlsRequirement {
    /// No.
    #[default]
    None,
    /// Those from outside, with 301.
    ExternalOnly,
    /// All, with 301.
    All,
}

/// One rule. Source: `envoy.config.route.v3.Route`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// For logs and statistics; may be empty.
    pub name: String,
    /// Which requests.
    pub matcher: RouteMatch,
    /// What is done with them.
    pub action: Action,
    /// Header edits.
    pub headers: HeaderMutations,
    /// Settings of filters for this route.
    pub overrides: FilterOverrides,
    /// The operation name in traces. Source: `Decorator.operation`.
    pub operation: String,
    /// The rule that it was made from.
    pub origin: Option<RuleOrigin>,
}

impl Route {
    /// A route without edits, overrides or name.
    #[must_use]
    pub fn new(matcher: RouteMatch, action: Action) -> Self {
        Self {
            name: String::new(),
            matcher,
            action,
            headers: HeaderMutations::default(),
            overrides: FilterOverrides::default(),
            operation: String::new(),
            origin: None,
        }
    }
}

/// What is done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It is sent to a cluster.
    Forward(Box<RouteAction>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered here.
    Respond(DirectResponse),
}

/// How a request is sent on. Source: `envoy.config.route.v3.RouteAction`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteAction {
    /// To which cluster.
    pub target: ClusterTarget,
    /// The status when there is no such cluster. Envoy default: 503.
    pub cluster_not_found_status: u16,
    /// Change of the path.
    pub path_rewrite: Option<PathRewrite>,
    /// Change of the host.
    pub host_rewrite: Option<HostRewrite>,
    /// Whether the old host goes into `x-forwarded-host`. Envoy default: false.
    pub append_x_forwarded_host: bool,
    /// From the end of the request to the end of the response, over all tries; none when absent.
    /// Envoy default: 15 s; Istio: none.
    pub timeout: Option<Duration>,
    /// Longest silence of the stream; the connection manager's when absent, none when zero.
    pub idle_timeout: Option<Duration>,
    /// Longest life of the stream, and what `grpc-timeout` may ask for.
    pub max_stream_duration: Option<MaxStreamDuration>,
    /// When a failed try is repeated; the virtual host's policy when absent.
    pub retry: Option<RetryPolicy>,
    /// Copies for others; their answers are dropped.
    pub mirrors: Vec<Mirror>,
    /// What the hash for consistent balancing is made of.
    pub hash: Vec<HashPolicy>,
    /// Upgrades allowed or forbidden here; the connection manager's list decides on others.
    pub upgrades: Vec<UpgradeConfig>,
    /// Whether tunnels end here, their bytes going to the cluster as they are.
    pub connect_end: Option<Box<ConnectEnd>>,
    /// Which circuit breakers count.
    pub priority: RoutePriority,
    /// Metadata that chooses a subset of the cluster. Source: `metadata_match` under `envoy.lb`.
    pub subset: Vec<(String, String)>,
    /// Subsets of which the first that serves is used in place of `subset`, where the cluster
    /// allows that. Source: `fallback_list` in that metadata.
    pub subset_fallbacks: Vec<Vec<(String, String)>>,
    /// What the request counts as, for limits of rates.
    pub rate_limits: Vec<RateLimit>,
    /// Whether the virtual host's descriptors count beside the route's own. Envoy default: only
    /// where the route has none.
    pub include_host_rate_limits: Option<bool>,
    /// Cross-origin policy of the old form; counts where no level has settings of the filter.
    pub cors: Option<Box<CorsPolicy>>,
}

impl RouteAction {
    /// Sends to one cluster, with Envoy's defaults.
    #[must_use]
    pub fn to(target: ClusterTarget) -> Self {
        Self {
            target,
            cluster_not_found_status: 503,
            path_rewrite: None,
            host_rewrite: None,
            append_x_forwarded_host: false,
            timeout: Some(Duration::from_secs(15)),
            idle_timeout: None,
            max_stream_duration: None,
            retry: None,
            mirrors: Vec::new(),
            hash: Vec::new(),
            upgrades: Vec::new(),
            connect_end: None,
            priority: RoutePriority::Default,
            subset: Vec::new(),
            subset_fallbacks: Vec::new(),
            rate_limits: Vec::new(),
            include_host_rate_limits: None,
            cors: None,
        }
    }
}

/// Ends tunnels at this proxy. Source: `RouteAction.UpgradeConfig.ConnectConfig`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectEnd {
    /// Tells the server who the client is, ahead of the tunnel's bytes.
    pub proxy_protocol: Option<ProxyProtocolHeader>,
    /// Whether POST requests carry tunnels, too. Envoy default: false.
    pub allow_post: bool,
}

/// Which circuit breakers count. Source: `envoy.config.core.v3.RoutingPriority`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RoutePriority {
    /// The default ones.
    #[default]
    Default,
    /// Those for high priority.
    High,
}

/// To which cluster a request goes.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterTarget {
    /// This one.
    Cluster(String),
    /// One of these, by weight. At least one has a weight above 0.
    Weighted(Vec<WeightedCluster>),
    /// The one that this header names.
    Header(HeaderName),
}

/// One of several targets. Source: `envoy.config.route.v3.WeightedCluster.ClusterWeight`.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedCluster {
    /// The cluster.
    pub cluster: String,
    /// Its share, relative to its siblings.
    pub weight: Weight,
    /// Header edits for this target only.
    pub headers: HeaderMutations,
    /// Change of the host for this target only.
    pub host_rewrite: Option<String>,
    /// Settings of filters for this target only.
    pub overrides: FilterOverrides,
}

/// Longest life of a stream. Source: `envoy.config.route.v3.RouteAction.MaxStreamDuration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MaxStreamDuration {
    /// Longest life; none when absent.
    pub limit: Option<Duration>,
    /// What `grpc-timeout` may ask for at most; the header is not read when absent, and any value
    /// counts when zero.
    pub grpc_timeout_max: Option<Duration>,
    /// Taken off the header's value.
    pub grpc_timeout_offset: Duration,
}

/// A copy of requests for somebody else.
/// Source: `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Who gets the copies.
    pub cluster: String,
    /// Which share of requests is copied.
    pub share: Percent,
    /// Whether the copy's host is left as it is, without `-shadow`. Envoy default: false.
    pub keep_host: bool,
}

/// A part of the hash for consistent balancing.
/// Source: `envoy.config.route.v3.RouteAction.HashPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPolicy {
    /// What is hashed.
    pub source: HashSource,
    /// Whether later parts are left out once this one gave a hash.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashSource {
    /// All values of a header.
    Header(HeaderName),
    /// A cookie; with a life given, one is made when it is missing.
    Cookie {
        /// Its name.
        name: String,
        /// Life of a made cookie; zero makes a session cookie; none is made when absent.
        ttl: Option<Duration>,
        /// Path of a made cookie.
        path: String,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(String),
}
