//! `VirtualService`: where requests and connections to a host go.

mod checks;
mod destination;
mod http;
mod matches;
mod parse;
mod policy;
mod stream;

use std::time::Duration;

use iako_types::{CidrRange, HostPattern, Hostname, Namespace, Percent, Weight};

use super::{Pattern, StringMatch, Visibility};
use crate::Labels;

pub(crate) use destination::{is_header_name, read_one as read_destination};
pub(crate) use parse::parse;
pub(crate) use policy::read_retries;

/// Routing of the hosts it names. Source: `istio.networking.v1.VirtualService`.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualService {
    /// The hosts, short names completed to full ones. None in a delegate: its routes count where
    /// another object names it.
    pub hosts: Vec<HostPattern>,
    /// Where the routes take effect. Never empty; Istio's default is the sidecars alone.
    pub gateways: Vec<GatewayRef>,
    /// Who may see it; `None` is the mesh's default.
    pub export_to: Option<Visibility>,
    /// Rules for requests, first match wins.
    pub http: Vec<HttpRoute>,
    /// Rules for TLS that is passed through, by server name.
    pub tls: Vec<TlsRoute>,
    /// Rules for opaque connections.
    pub tcp: Vec<TcpRoute>,
}

/// A place where routes take effect.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GatewayRef {
    /// `mesh`: every sidecar.
    Mesh,
    /// A Gateway object.
    Gateway {
        /// Its namespace.
        namespace: Namespace,
        /// Its name.
        name: String,
    },
}

/// One rule for requests. Source: `istio.networking.v1.HTTPRoute`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// Name for access logs and statistics.
    pub name: Option<String>,
    /// One of these must match; none means every request.
    pub matches: Vec<HttpMatch>,
    /// What happens to the request.
    pub action: HttpAction,
    /// Headers changed for every destination.
    pub headers: HeaderOperations,
    /// Path and authority as the destination sees them.
    pub rewrite: Option<Rewrite>,
    /// Longest time for the whole exchange, retries included; `None` and zero are unlimited.
    pub timeout: Option<Duration>,
    /// Retries; `None` is the mesh's default, not none.
    pub retries: Option<Retries>,
    /// Faults put in on purpose.
    pub fault: Option<Fault>,
    /// Copies of the request that nobody waits for.
    pub mirrors: Vec<Mirror>,
    /// Cross-origin rules for browsers.
    pub cors: Option<CorsPolicy>,
    /// Line of the rule in its file, from 1.
    pub line: u32,
}

impl VirtualService {
    /// Whether other objects take these rules over: it has no hosts of its own.
    #[must_use]
    pub const fn is_delegate(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The objects that rules are delegated to, with the line of the rule.
    pub fn delegates(&self) -> impl Iterator<Item = (&Delegate, u32)> {
        self.http.iter().filter_map(|rule| match &rule.action {
            HttpAction::Delegate(delegate) => Some((delegate, rule.line)),
            HttpAction::Route(_) | HttpAction::Redirect(_) | HttpAction::DirectResponse(_) => None,
        })
    }
}

/// What happens to a request that a rule takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpAction {
    /// It goes to one of these, by weight. Never empty.
    Route(Vec<RouteDestination>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The proxy answers itself.
    DirectResponse(DirectResponse),
    /// The rules of another object, which has no hosts, take the place of this one.
    Delegate(Delegate),
}

/// The object whose rules stand for a rule. Source: `istio.networking.v1.Delegate`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace; that of the object that delegates when it was not written.
    pub namespace: Namespace,
}

/// What a request must be like; every part given must hold.
/// Source: `istio.networking.v1.HTTPMatchRequest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpMatch {
    /// Name for statistics.
    pub name: Option<String>,
    /// The path, without the query for exact and regex.
    pub uri: Option<StringMatch>,
    /// Exact and prefix comparison of the path ignore case.
    pub ignore_uri_case: bool,
    /// `:scheme`.
    pub scheme: Option<StringMatch>,
    /// `:method`.
    pub method: Option<StringMatch>,
    /// `:authority`, with the port if the client sent one.
    pub authority: Option<StringMatch>,
    /// Headers that must match.
    pub headers: Vec<(HeaderKey, StringMatch)>,
    /// Headers that must not match.
    pub without_headers: Vec<(HeaderKey, StringMatch)>,
    /// Query parameters that must match.
    pub query_params: Vec<(String, StringMatch)>,
    /// The rule exists only on this listener port.
    pub port: Option<u16>,
    /// The rule exists only for clients with these labels.
    pub source_labels: Labels,
    /// The rule exists only for clients of this namespace.
    pub source_namespace: Option<Namespace>,
    /// The rule exists only here; empty is wherever the object takes effect.
    pub gateways: Vec<GatewayRef>,
    /// Prefix for statistics of the route.
    pub stat_prefix: Option<String>,
    /// Line of the match in its file, from 1.
    pub line: u32,
}

/// What a header match looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HeaderKey {
    /// A header, lower-cased.
    Header(String),
    /// A claim of the verified token, as a path. Written `@request.auth.claims.a.b` or
    /// `@request.auth.claims[a][b]`; works on gateways.
    Claim(Vec<String>),
}

/// A service to send to. Source: `istio.networking.v1.Destination`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The service, short names completed.
    pub host: Hostname,
    /// A subset that a DestinationRule names.
    pub subset: Option<String>,
    /// The port of the service; `None` is its only port, else that of the listener.
    pub port: Option<u16>,
}

/// One of several destinations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteDestination {
    /// Where to.
    pub destination: Destination,
    /// Share relative to its siblings. A single destination takes all, whatever its weight.
    pub weight: Weight,
    /// Headers changed for this destination, after those of the rule.
    pub headers: HeaderOperations,
    /// Line in its file, from 1.
    pub line: u32,
}

/// Changes to headers. Source: `istio.networking.v1.Headers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderOperations {
    /// On the way to the destination.
    pub request: HeaderEdits,
    /// On the way back.
    pub response: HeaderEdits,
}

/// Changes to one head; `set` comes before `add`, names lower-cased and sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Overwritten. `host` and `:authority` rewrite the authority (requests only).
    pub set: Vec<(String, String)>,
    /// Appended.
    pub add: Vec<(String, String)>,
    /// Removed.
    pub remove: Vec<String>,
}

/// What the destination sees instead. Source: `istio.networking.v1.HTTPRewrite`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The new path.
    pub path: Option<PathRewrite>,
    /// The new authority.
    pub authority: Option<String>,
}

/// How a path is rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// Replaces the matched prefix, or the whole path when the match is exact or a regex.
    Uri(String),
    /// Replaces what the expression finds; `\1` stands for a group.
    Regex {
        /// What to find. RE2 syntax; finds anywhere in the path.
        find: Pattern,
        /// What to put there.
        replacement: String,
    },
}

/// An answer that sends the client elsewhere. Source: `istio.networking.v1.HTTPRedirect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// The new path.
    pub path: Option<RedirectPath>,
    /// The new authority.
    pub authority: Option<String>,
    /// `http` or `https`.
    pub scheme: Option<String>,
    /// The new port.
    pub port: Option<RedirectPort>,
    /// 301, 302, 303, 307 or 308. Istio's default: 301.
    pub status: u16,
}

/// The path of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPath {
    /// Replaces the whole path; the query stays.
    Whole(String),
    /// Replaces the matched prefix.
    Prefix(String),
}

/// The port of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectPort {
    /// This one.
    Number(u16),
    /// The default port of the scheme.
    FromProtocolDefault,
    /// The port that the request came to.
    FromRequest,
}

/// An answer that the proxy gives itself. Source: `istio.networking.v1.HTTPDirectResponse`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// Status, 200 to 599.
    pub status: u16,
    /// The body, at most 1 MiB.
    pub body: Vec<u8>,
}

/// Retries of a rule. Source: `istio.networking.v1.HTTPRetry`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retries {
    /// Further tries after the first; 0 is none.
    pub attempts: u32,
    /// Longest time for one try.
    pub per_try_timeout: Option<Duration>,
    /// When to retry; `None` is Istio's default list.
    pub retry_on: Option<RetryOn>,
    /// Retries may leave the locality.
    pub remote_localities: bool,
    /// Retries avoid hosts already tried. Istio's default: yes.
    pub ignore_previous_hosts: bool,
    /// First wait between tries; doubles. Envoy's default: 25 ms.
    pub backoff: Option<Duration>,
}

/// Conditions of a retry. Source: Envoy `x-envoy-retry-on` and `x-envoy-retry-grpc-on`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// Envoy's names of conditions.
    pub conditions: Vec<String>,
    /// Statuses that are retried.
    pub status_codes: Vec<u16>,
}

/// Faults put in on purpose. Source: `istio.networking.v1.HTTPFaultInjection`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Requests that wait.
    pub delay: Option<FaultDelay>,
    /// Requests that fail.
    pub abort: Option<FaultAbort>,
}

/// Requests that wait before they go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultDelay {
    /// How long.
    pub duration: Duration,
    /// Which share. Not given in the document is none.
    pub percentage: Percent,
}

/// Requests that the proxy answers with a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultAbort {
    /// With what.
    pub status: AbortStatus,
    /// Which share. Not given in the document is none.
    pub percentage: Percent,
}

/// The failure of an abort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortStatus {
    /// An HTTP status, 200 to 600.
    Http(u16),
    /// A gRPC status, 0 to 16.
    Grpc(u8),
}

/// A copy of requests. Source: `istio.networking.v1.HTTPMirrorPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where the copies go.
    pub destination: Destination,
    /// Which share is copied. Istio's default: all.
    pub percentage: Percent,
}

/// Cross-origin rules. Source: `istio.networking.v1.CorsPolicy`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsPolicy {
    /// Origins that may call; none means no CORS headers.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`.
    pub allow_methods: Vec<String>,
    /// `access-control-allow-headers`.
    pub allow_headers: Vec<String>,
    /// `access-control-expose-headers`.
    pub expose_headers: Vec<String>,
    /// `access-control-max-age`, whole seconds.
    pub max_age: Option<Duration>,
    /// `access-control-allow-credentials`.
    pub allow_credentials: Option<bool>,
    /// Preflights of other origins reach the destination. Istio's default: yes.
    pub forward_unmatched_preflights: bool,
}

/// One rule for TLS by server name. Source: `istio.networking.v1.TLSRoute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsRoute {
    /// One of these must match. Never empty.
    pub matches: Vec<TlsMatch>,
    /// Where the connection goes, by weight. Never empty.
    pub route: Vec<RouteDestination>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// What a TLS connection must be like. Source: `istio.networking.v1.TLSMatchAttributes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsMatch {
    /// Server names. Never empty.
    pub sni_hosts: Vec<HostPattern>,
    /// What else must hold.
    pub stream: StreamMatch,
}

/// One rule for opaque connections. Source: `istio.networking.v1.TCPRoute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpRoute {
    /// One of these must match; none means every connection.
    pub matches: Vec<StreamMatch>,
    /// Where the connection goes, by weight. Never empty.
    pub route: Vec<RouteDestination>,
    /// Line in its file, from 1.
    pub line: u32,
}

/// What a connection must be like. Source: `istio.networking.v1.L4MatchAttributes`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamMatch {
    /// Addresses that the client asked for, any of them; none is any address.
    pub destination_subnets: Vec<CidrRange>,
    /// The listener port.
    pub port: Option<u16>,
    /// Labels of the client.
    pub source_labels: Labels,
    /// Namespace of the client.
    pub source_namespace: Option<Namespace>,
    /// Where the rule takes effect; empty is wherever the object does.
    pub gateways: Vec<GatewayRef>,
}
