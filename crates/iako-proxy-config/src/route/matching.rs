//! Which requests a route takes.

use iako_types::{CidrRange, Percent};

use crate::{HeaderMatch, Keyed, MetadataMatch, Pattern, QueryMatch, StringMatch, UriTemplate};

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
    /// On cookies.
    pub cookies: Vec<CookieMatch>,
    /// On what the client showed in its handshake.
    pub tls: Option<TlsContextMatch>,
    /// On facts that filters left (JWT claims).
    pub metadata: Vec<MetadataMatch>,
    /// On objects that filters keep for the connection or the request.
    pub filter_state: Vec<FilterStateMatch>,
    /// Only gRPC requests. Envoy default: false.
    pub grpc_only: bool,
    /// A random share of the requests; all when absent.
    pub share: Option<Keyed<Percent>>,
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
            cookies: Vec::new(),
            tls: None,
            metadata: Vec::new(),
            filter_state: Vec::new(),
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

/// A condition on a cookie. Source: `envoy.config.route.v3.CookieMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieMatch {
    /// The cookie, with its case.
    pub name: String,
    /// What its value must be. The first cookie of the name counts.
    pub value: StringMatch,
    /// Whether the answer is turned round; a missing cookie then meets the condition.
    pub invert: bool,
}

/// A condition on the client's certificate; without TLS there is none.
/// Source: `envoy.config.route.v3.RouteMatch.TlsContextMatchOptions`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsContextMatch {
    /// Whether one was shown.
    pub presented: Option<bool>,
    /// Whether it was verified.
    pub validated: Option<bool>,
}

/// A condition on an object that filters keep.
/// Source: `envoy.type.matcher.v3.FilterStateMatcher`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterStateMatch {
    /// Its name.
    pub key: String,
    /// What it must be; a missing one never meets the condition.
    pub check: FilterStateCheck,
}

/// What an object that filters keep must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterStateCheck {
    /// A text.
    Text(StringMatch),
    /// An address in one of these ranges, or in none when `invert`.
    Address {
        /// Networks.
        ranges: Vec<CidrRange>,
        /// Whether the answer is turned round.
        invert: bool,
    },
}
