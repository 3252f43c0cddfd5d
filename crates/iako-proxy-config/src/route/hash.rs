//! What the hash of a request is made of.

use std::time::Duration;

use crate::{HeaderName, Pattern};

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
    Header {
        /// The header.
        name: HeaderName,
        /// Change of each value before it is hashed: the expression, and what replaces its matches.
        rewrite: Option<(Pattern, String)>,
    },
    /// A cookie; with a life given, one is made when it is missing.
    Cookie {
        /// Its name.
        name: String,
        /// Life of a made cookie; zero makes a session cookie; none is made when absent.
        ttl: Option<Duration>,
        /// Path of a made cookie.
        path: String,
        /// Further attributes of a made cookie, in order.
        attributes: Vec<CookieAttribute>,
    },
    /// The client's address.
    SourceIp,
    /// A query parameter.
    QueryParameter(String),
    /// An object that a filter left under this key. No filter of this proxy leaves one that can be
    /// hashed, so this part gives no hash.
    FilterState(String),
}

/// An attribute of a made cookie.
/// Source: `envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieAttribute {
    /// Its name, such as `SameSite`.
    pub name: String,
    /// Its value; empty for one without, such as `Secure`.
    pub value: String,
}
