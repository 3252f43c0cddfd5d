//! Answers that a route gives by itself.

use crate::{LogFormat, Pattern};

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
    /// A text with `%OPERATOR%`s, of which those without a value are empty.
    /// Source: `path_rewrite`.
    Format(String),
}

/// Answers a request here. Source: `envoy.config.route.v3.DirectResponseAction`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// 200 to 599.
    pub status: u16,
    /// At most 4 KiB by Envoy's default, 1 MiB by Istio's.
    pub body: bytes::Bytes,
    /// How the body is written; as it stands when absent.
    pub format: Option<BodyFormat>,
}

impl DirectResponse {
    /// An answer whose body is written as it stands.
    #[must_use]
    pub const fn new(status: u16, body: bytes::Bytes) -> Self {
        Self { status, body, format: None }
    }
}

/// How a body of ours is written. Source: `envoy.config.core.v3.SubstitutionFormatString`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFormat {
    /// The text or object; `%LOCAL_REPLY_BODY%` stands for the body that would be written without
    /// it.
    pub format: LogFormat,
    /// The content type; `text/plain` or `application/json` when empty.
    pub content_type: String,
}
