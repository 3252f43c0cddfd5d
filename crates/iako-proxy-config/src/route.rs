//! Which request goes where.

pub(crate) mod answer;
pub(crate) mod domain;
mod hash;
mod internal_redirect;
pub(crate) mod matching;
mod mirror;
pub(crate) mod rate_limit;
pub(crate) mod rewrite;
pub(crate) mod scoped;
mod virtual_cluster;

use std::{sync::Arc, time::Duration};

use iako_types::Weight;

use crate::{
    ConfigSource, CorsPolicy, Decorator, FilterMetadata, FilterOverrides, HeaderMutations,
    HeaderName, HedgePolicy, MatchTree, ProxyProtocolHeader, RetryPolicy, RouteTracing, RuleOrigin,
    UpgradeConfig,
};
use answer::{DirectResponse, Redirect};
use domain::Domain;
use matching::RouteMatch;
use rate_limit::RateLimit;
use rewrite::{HostRewrite, PathRewrite};

pub use hash::{CookieAttribute, HashPolicy, HashSource};
pub use internal_redirect::{InternalRedirectPolicy, RedirectPredicate};
pub use mirror::{Mirror, MirrorTarget};
pub use virtual_cluster::VirtualCluster;

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
    /// Copies of the requests of routes that have none, and whose virtual host has none.
    pub mirrors: Vec<Mirror>,
    /// Who tells further virtual hosts, some of them only when they are asked for; they are named
    /// by the table and a host, `table/host`. Source: `vhds`.
    pub virtual_host_source: Option<ConfigSource>,
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
            mirrors: Vec::new(),
            virtual_host_source: None,
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
    /// Whether upstreams are told that a try follows one that took too long. Envoy default: false.
    pub include_timeout_retry: bool,
    /// Whether slow tries are run beside others, for routes that do not say.
    pub hedge: Option<HedgePolicy>,
    /// Copies of the requests of routes that have none.
    pub mirrors: Vec<Mirror>,
    /// How much of a request is kept for another try, in bytes; see [`Route::body_bytes_kept_max`].
    pub body_bytes_kept_max: Option<u64>,
    /// Sorts of requests that are counted apart; the first that a request is of counts.
    pub virtual_clusters: Vec<VirtualCluster>,
    /// Settings of filters for every route.
    pub overrides: FilterOverrides,
    /// The object that claimed the hosts.
    pub origin: Option<RuleOrigin>,
    /// What is said of it besides. Source: `metadata`.
    pub metadata: FilterMetadata,
}

/// Routes that are tried in order. Source: `envoy.config.route.v3.RouteList`.
pub type RouteList = Vec<Arc<Route>>;

/// No part of it differs from itself. Versions of a table are then compared by pointers first.
impl Eq for VirtualHost {}

/// As [`VirtualHost`].
impl Eq for Route {}

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
    /// What its requests are called in traces; nothing of their own when absent.
    pub decorator: Option<Decorator>,
    /// What it changes of tracing. Shared with the requests that it takes.
    pub tracing: Option<Arc<RouteTracing>>,
    /// How much of a request is kept for another try, an internal redirect or a mirror, in bytes;
    /// beyond it there is none of them. The virtual host's when absent, else 1 MiB.
    /// Source: `request_body_buffer_limit`, `per_request_buffer_limit_bytes`.
    pub body_bytes_kept_max: Option<u64>,
    /// The name under which its requests are counted apart; they are not when empty.
    /// Source: `stat_prefix`.
    pub stat_prefix: String,
    /// The rule that it was made from.
    pub origin: Option<RuleOrigin>,
    /// What is said of it besides. Source: `metadata`.
    pub metadata: FilterMetadata,
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
            decorator: None,
            tracing: None,
            body_bytes_kept_max: None,
            stat_prefix: String::new(),
            origin: None,
            metadata: FilterMetadata::default(),
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
    /// What decides between weighted targets.
    pub share_by: ShareBy,
    /// What `grpc-timeout` may ask for in place of `timeout`; the header is not read when absent.
    /// Counts only without `max_stream_duration`. Source: `max_grpc_timeout`.
    pub grpc_timeout: Option<GrpcTimeout>,
    /// Longest silence of a client that takes the end of a response; the connection manager's
    /// when absent, none when zero. Source: `flush_timeout`.
    pub flush_timeout: Option<Duration>,
    /// Whether slow tries are run beside others; the virtual host's policy when absent.
    pub hedge: Option<HedgePolicy>,
    /// Which redirects of the upstream are followed here; none when absent.
    pub internal_redirect: Option<InternalRedirectPolicy>,
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
            share_by: ShareBy::Chance,
            grpc_timeout: None,
            flush_timeout: None,
            hedge: None,
            internal_redirect: None,
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
    /// The one that this tree names; there is none when it names none.
    /// Source: `envoy.extensions.router.cluster_specifiers.matcher.v3.MatcherClusterSpecifier`.
    Tree(Arc<MatchTree<String>>),
}

/// What decides between weighted targets.
/// Source: `envoy.config.route.v3.WeightedCluster.random_value_specifier`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ShareBy {
    /// Chance. Envoy default.
    #[default]
    Chance,
    /// The number in this header; chance when there is none.
    Header(HeaderName),
    /// The hash that the route's hash policies give; chance when they give none.
    Hash,
}

/// One of several targets. Source: `envoy.config.route.v3.WeightedCluster.ClusterWeight`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WeightedCluster {
    /// The cluster; unused when `cluster_header` is set.
    pub cluster: String,
    /// The header that names the cluster.
    pub cluster_header: Option<HeaderName>,
    /// Metadata that chooses a subset of this target: what its own `metadata_match` says over what
    /// the route's says. The route's counts when empty.
    pub subset: Vec<(String, String)>,
    /// Its share, relative to its siblings.
    pub weight: Weight,
    /// The key of the runtime that changes the share; none when absent.
    /// Source: `WeightedCluster.runtime_key_prefix` and the cluster's name.
    pub weight_key: Option<Box<str>>,
    /// Header edits for this target only.
    pub headers: HeaderMutations,
    /// Change of the host for this target only.
    pub host_rewrite: Option<String>,
    /// Settings of filters for this target only.
    pub overrides: FilterOverrides,
}

/// What `grpc-timeout` may ask for in place of the route's timeout.
/// Source: `envoy.config.route.v3.RouteAction.max_grpc_timeout`, `grpc_timeout_offset`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GrpcTimeout {
    /// The most; any value counts when zero.
    pub max: Duration,
    /// Taken off the header's value.
    pub offset: Duration,
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
