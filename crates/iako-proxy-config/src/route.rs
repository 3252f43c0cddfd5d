//! Which request goes where.

use std::{str::FromStr, time::Duration};

use iako_types::{Percent, Weight};

use crate::{
    FilterOverrides, HeaderMatch, HeaderMutations, HeaderName, MetadataMatch, Pattern, QueryMatch,
    RetryPolicy, RuleOrigin, UpgradeConfig, UriTemplate,
};

/// A table of routes. Source: `envoy.config.route.v3.RouteConfiguration`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteConfiguration {
    /// The RDS name.
    pub name: String,
    /// Routes by host. No domain stands in two of them.
    pub virtual_hosts: Vec<VirtualHost>,
    /// Header edits for every route; applied last, unless `most_specific_last`.
    pub headers: HeaderMutations,
    /// Whether the edits of wider levels are applied before those of narrower ones.
    /// Source: `most_specific_header_mutations_wins`. Envoy default: false.
    pub most_specific_last: bool,
    /// Whether a port in the host is left out of the search. Envoy default: false.
    pub ignore_port_in_host: bool,
}

impl RouteConfiguration {
    /// A table with Envoy's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, virtual_hosts: Vec<VirtualHost>) -> Self {
        Self {
            name: name.into(),
            virtual_hosts,
            headers: HeaderMutations::default(),
            most_specific_last: false,
            ignore_port_in_host: false,
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
    /// In order; the first that matches counts.
    pub routes: Vec<Route>,
    /// Whether plain requests are sent to HTTPS.
    pub require_tls: TlsRequirement,
    /// Header edits for every route.
    pub headers: HeaderMutations,
    /// Retries for routes that set none.
    pub retry: Option<RetryPolicy>,
    /// Whether upstreams are told how often a request was tried. Envoy default: false.
    pub include_attempt_count: bool,
    /// Settings of filters for every route.
    pub overrides: FilterOverrides,
    /// The object that claimed the hosts.
    pub origin: Option<RuleOrigin>,
}

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

/// Why a text is no domain of a virtual host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a host, *, *.suffix or prefix.*; {0:?} is none of these")]
pub struct DomainError(String);

/// Hosts of a virtual host, lower-cased. Longest exact, then longest suffix, then longest prefix,
/// then any. Source: `envoy.config.route.v3.VirtualHost.domains`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// `*`.
    Any,
    /// One host, with its port if it names one.
    Exact(String),
    /// `*.example.com` or `*-bar.example.com`: hosts that end so. Kept without the star.
    Suffix(String),
    /// `foo.*`: hosts that start so. Kept without the star.
    Prefix(String),
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DomainError(text.to_owned());
        let lower = text.to_ascii_lowercase();
        if lower.is_empty() || lower.contains(|c: char| c.is_ascii_whitespace()) {
            return Err(wrong());
        }
        if lower == "*" {
            return Ok(Self::Any);
        }
        let (suffix, prefix) = (lower.strip_prefix('*'), lower.strip_suffix('*'));
        let domain = match (suffix, prefix) {
            (Some(suffix), _) => Self::Suffix(suffix.to_owned()),
            (None, Some(prefix)) => Self::Prefix(prefix.to_owned()),
            (None, None) => Self::Exact(lower.clone()),
        };
        match &domain {
            Self::Suffix(text) | Self::Prefix(text) | Self::Exact(text) if text.contains('*') => {
                Err(wrong())
            }
            Self::Any | Self::Suffix(_) | Self::Prefix(_) | Self::Exact(_) => Ok(domain),
        }
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
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

/// Which requests a route takes; all conditions must hold.
/// Source: `envoy.config.route.v3.RouteMatch`.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteMatch {
    /// On the path, without the query.
    pub path: PathMatch,
    /// Whether the case of the path counts (not for expressions). Envoy default: true.
    pub case_sensitive: bool,
    /// On headers.
    pub headers: Vec<HeaderMatch>,
    /// On query parameters.
    pub query: Vec<QueryMatch>,
    /// On facts that filters left (JWT claims).
    pub metadata: Vec<MetadataMatch>,
    /// Only gRPC requests. Envoy default: false.
    pub grpc_only: bool,
    /// A random share of the requests; all when absent.
    pub share: Option<Percent>,
}

impl RouteMatch {
    /// Every request whose path is met by `path`.
    #[must_use]
    pub const fn path(path: PathMatch) -> Self {
        Self {
            path,
            case_sensitive: true,
            headers: Vec::new(),
            query: Vec::new(),
            metadata: Vec::new(),
            grpc_only: false,
            share: None,
        }
    }

    /// Every request.
    #[must_use]
    pub fn any() -> Self {
        Self::path(PathMatch::Prefix("/".to_owned()))
    }
}

/// A condition on a path. Source: `envoy.config.route.v3.RouteMatch.path_specifier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// How it starts, byte by byte: `/foo` takes `/foobar`.
    Prefix(String),
    /// How it starts, segment by segment: `/foo` takes `/foo` and `/foo/x`, not `/foobar`.
    SegmentPrefix(String),
    /// The whole path.
    Exact(String),
    /// An expression for the whole path.
    Regex(Pattern),
    /// A template of segments.
    Template(UriTemplate),
    /// CONNECT requests, whatever their target.
    Connect,
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
    /// Which circuit breakers count.
    pub priority: RoutePriority,
    /// Metadata that chooses a subset of the cluster. Source: `metadata_match` under `envoy.lb`.
    pub subset: Vec<(String, String)>,
    /// Subsets of which the first that serves is used in place of `subset`, where the cluster
    /// allows that. Source: `fallback_list` in that metadata.
    pub subset_fallbacks: Vec<Vec<(String, String)>>,
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
            priority: RoutePriority::Default,
            subset: Vec::new(),
            subset_fallbacks: Vec::new(),
        }
    }
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

/// Change of a path; the query stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// What the match took (prefix or whole path) is replaced.
    Prefix(String),
    /// Every match inside the path is replaced; `\1` names a group.
    Regex {
        /// What is replaced.
        pattern: Pattern,
        /// By what.
        substitution: String,
    },
    /// The whole path is replaced.
    Full(String),
}

/// Change of a host. Source: `envoy.config.route.v3.RouteAction.host_rewrite_specifier`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// This host.
    Literal(String),
    /// The chosen instance's host name.
    Auto,
    /// What this header holds.
    Header(HeaderName),
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

/// Sends the client elsewhere. Source: `envoy.config.route.v3.RedirectAction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// Change of the scheme.
    pub scheme: Option<RedirectScheme>,
    /// Change of the host.
    pub host: Option<String>,
    /// Change of the port.
    pub port: Option<u16>,
    /// Change of the path.
    pub path: Option<RedirectPath>,
    /// 301, 302, 303, 307 or 308. Envoy default: 301.
    pub status: u16,
    /// Whether the query is dropped. Envoy default: false.
    pub strip_query: bool,
}

/// Change of the scheme in a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectScheme {
    /// To `https`; a port 80 is dropped.
    Https,
    /// To this scheme; the default port of the old one is dropped.
    Scheme(String),
}

/// Change of the path in a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPath {
    /// The whole path, with a query if it has one.
    Full(String),
    /// What the match took.
    Prefix(String),
    /// Every match inside the path; `\1` names a group.
    Regex {
        /// What is replaced.
        pattern: Pattern,
        /// By what.
        substitution: String,
    },
}

/// Answers a request here. Source: `envoy.config.route.v3.DirectResponseAction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// At most 4 KiB by Envoy's default, 1 MiB by Istio's.
    pub body: bytes::Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_told_apart() {
        let domain = |text: &str| text.parse::<Domain>();
        assert_eq!(domain("*"), Ok(Domain::Any));
        assert_eq!(domain("*.Example.com"), Ok(Domain::Suffix(".example.com".into())));
        assert_eq!(domain("*-bar.com"), Ok(Domain::Suffix("-bar.com".into())));
        assert_eq!(domain("foo.*"), Ok(Domain::Prefix("foo.".into())));
        assert_eq!(domain("[::1]:80"), Ok(Domain::Exact("[::1]:80".into())));
        assert!(domain("a.*.b").is_err() && domain("").is_err() && domain("*.a.*").is_err());
    }
}
