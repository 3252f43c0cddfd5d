//! Sessions that stay with one instance.

use std::time::Duration;

use crate::HeaderName;

/// Sends the requests of a session to the instance that served it first.
/// Source: `envoy.extensions.filters.http.stateful_session.v3.StatefulSession`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatefulSession {
    /// Where a session is remembered; nowhere when absent.
    pub state: Option<SessionState>,
    /// Whether a request fails whose instance does not serve any more. Envoy default: false,
    /// another instance takes it.
    pub strict: bool,
    /// The status of such a failure. Envoy default: 503.
    pub status_gone: u16,
}

impl Default for StatefulSession {
    fn default() -> Self {
        Self { state: None, strict: false, status_gone: 503 }
    }
}

/// Where a session is remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionState {
    /// In a cookie of the client.
    /// Source: `envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState`.
    Cookie(SessionCookie),
    /// In a header, that the client sends back.
    /// Source: `envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState`.
    Header(HeaderName),
    /// In a header of the upstream's own, beside its value.
    /// Source: `envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState`.
    Envelope(HeaderName),
}

/// A cookie that remembers a session. Source: `envoy.type.http.v3.Cookie`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCookie {
    /// Its name; not empty.
    pub name: String,
    /// Requests below this path have sessions; all when empty.
    pub path: String,
    /// Its life; that of the browser when absent.
    pub ttl: Option<Duration>,
    /// Further attributes, with their values, which may be empty.
    pub attributes: Vec<(String, String)>,
}
