//! What an authorization service is asked of a request, and what its answer means. Source: Envoy
//! `envoy.filters.http.ext_authz`.
//!
//! Whatever is not understood refuses the request.

mod answer;
mod connection;
mod question;

pub use answer::{
    AuthzChanges, AuthzRefusal, AuthzRefusalKind, AuthzVerdict, HttpAnswer, authz_verdict,
    http_authz_verdict,
};
pub use connection::{
    ConnectionMoment, ConnectionVerdict, connection_authz_asks, connection_authz_question,
    connection_authz_verdict,
};
pub use question::{AuthzMoment, HttpQuestion, authz_question, http_authz_question};

use iako_proxy_config::{AuthzBody, AuthzService, ExtAuthz, ExtAuthzRoute};

use crate::{RequestFacts, metadata_matches};

/// Whether the service is asked about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthzAsk {
    /// It is.
    Ask,
    /// It passes without.
    Pass,
    /// It is refused without.
    Refuse,
}

/// Whether the service is asked about a request. `draw` decides where only a share is.
#[must_use]
pub fn authz_ask(settings: &ExtAuthz, facts: &RequestFacts<'_>, draw: u64) -> AuthzAsk {
    let is_meant = settings.enabled.value.takes(draw)
        && settings
            .enabled_metadata
            .as_ref()
            .is_none_or(|condition| metadata_matches(condition, facts.metadata));
    match (is_meant, settings.deny_at_disable.value) {
        (true, _) => AuthzAsk::Ask,
        (false, false) => AuthzAsk::Pass,
        (false, true) => AuthzAsk::Refuse,
    }
}

/// Who is asked; settings of routes stand the narrowest first.
#[must_use]
pub fn authz_service<'s>(settings: &'s ExtAuthz, levels: &[&'s ExtAuthzRoute]) -> &'s AuthzService {
    let own = levels.iter().find_map(|level| level.service.as_ref());
    own.unwrap_or(&settings.service)
}

/// How the content is told; none when it is not. Settings of routes stand the narrowest first.
#[must_use]
pub fn authz_body(settings: &ExtAuthz, levels: &[&ExtAuthzRoute]) -> Option<AuthzBody> {
    match levels.first() {
        Some(level) if level.without_body => None,
        Some(level) => level.body.or(settings.body),
        None => settings.body,
    }
}

/// As whom a certificate proves somebody: by its first URI, else its first name, else its subject.
#[must_use]
pub fn principal<'c>(uris: &'c [String], dns: &'c [String], subject: &'c str) -> &'c str {
    uris.first().or_else(|| dns.first()).map_or(subject, String::as_str)
}
