//! What a route changes about the target of a request.

use crate::{HeaderName, Pattern, UriRewrite};

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
    /// The whole path is composed of what the match's template found.
    /// Source: `envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig`.
    Template(UriRewrite),
    /// The whole path is replaced by a text with `%OPERATOR%`s, of which those without a value are
    /// empty. Source: `envoy.config.route.v3.RouteAction.path_rewrite`.
    Format(String),
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
    /// The path without its query, with every match of the pattern replaced.
    /// Source: `host_rewrite_path_regex`.
    PathRegex {
        /// What is replaced.
        pattern: Pattern,
        /// By what.
        substitution: String,
    },
    /// A text with `%OPERATOR%`s, of which those without a value are written `-`.
    /// Source: `envoy.config.route.v3.RouteAction.host_rewrite`.
    Format(String),
}
